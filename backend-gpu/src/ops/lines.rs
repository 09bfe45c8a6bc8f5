//! Fused work on lines: the elements along one dim. On a GPU a line is a group's, which shares what it adds up
//! in local memory; on the cores of a host it is one work-item's, which keeps many sums side by side.

use std::hash::Hash;

use kiln_tensor_core::{DType, Layout, Tensor};
use smallvec::SmallVec;

use super::beside;
use crate::launch::{Call, supported, traits};
use crate::place::walk;
use crate::runtime::DeviceKind;
use crate::source::{Operand, Shared, Width, computed, locate, room, tree};
use crate::{Gpu, Runtime};

/// Work-items that share a line.
const GROUP: usize = 256;
/// Sums that one work-item keeps side by side.
const LANES: usize = 64;

/// A tensor that a kernel reads or writes line by line.
pub(crate) struct Line<'a, R: Runtime> {
    /// What the kernel calls it.
    pub(crate) name: &'static str,
    pub(crate) tensor: &'a Tensor<Gpu<R>>,
    pub(crate) written: bool,
    /// Whether it has one element for a whole line.
    pub(crate) single: bool,
}

impl<'a, R: Runtime> Line<'a, R> {
    pub(crate) fn read(name: &'static str, tensor: &'a Tensor<Gpu<R>>) -> Self {
        Line { name, tensor, written: false, single: false }
    }

    pub(crate) fn write(name: &'static str, tensor: &'a Tensor<Gpu<R>>) -> Self {
        Line { name, tensor, written: true, single: false }
    }

    /// One element for each line.
    pub(crate) fn single(self) -> Self {
        Line { single: true, ..self }
    }
}

/// Writes the C of a kernel on lines. Element `i` of tensor `x` is `get("x", "i")`.
pub(crate) struct Writer {
    ty: &'static str,
    /// Each tensor's operand, and the text of its element `i`'s place.
    operands: Vec<(Operand, String)>,
    group: bool,
}

impl Writer {
    /// The C type of values.
    pub(crate) fn ty(&self) -> &'static str {
        self.ty
    }

    fn operand(&self, name: &str) -> (&Operand, &str) {
        let known = |(operand, _): &&(Operand, String)| operand.name() == name;
        let (operand, place) = self.operands.iter().find(known).expect("a tensor of the call");
        (operand, place)
    }

    /// Element `i` of a tensor, as a value.
    pub(crate) fn get(&self, name: &str) -> String {
        let (operand, place) = self.operand(name);
        operand.load(place)
    }

    /// A statement that stores element `i`.
    pub(crate) fn set(&self, name: &str, value: &str) -> String {
        let (operand, place) = self.operand(name);
        operand.store(place, value)
    }

    /// Runs statements for each `i` of the line.
    pub(crate) fn each(&self, statements: &str) -> String {
        match self.group {
            true => format!("    for (i64 i = LANE; i < n; i += {GROUP}) {{ {statements} }}\n"),
            false => format!("    INDEPENDENT for (i64 i = 0; i < n; ++i) {{ {statements} }}\n"),
        }
    }

    /// Runs statements once for the line.
    pub(crate) fn once(&self, statements: &str) -> String {
        match self.group {
            true => format!("    if (LANE == 0) {{ {statements} }}\n"),
            false => format!("    {statements}\n"),
        }
    }

    /// Defines `name` as what `combine` (of `acc` and `v`) makes of `value` for each `i`.
    pub(crate) fn fold(&self, name: &str, start: &str, combine: &str, value: &str) -> String {
        let ty = self.ty;
        if self.group {
            let tree = tree(GROUP, &[self.shared()], &format!("acc = {combine};"));
            return format!(
                "    {ty} {name};
    {{
    {ty} acc = {start};
    for (i64 i = LANE; i < n; i += {GROUP}) {{ const {ty} v = {value}; acc = {combine}; }}
{tree}    {name} = acc;
    }}
"
            );
        }
        format!(
            "    {ty} {name} = {start};
    {{
    {ty} lanes[{LANES}];
    const i64 whole = n / {LANES} * {LANES};
    if (whole) {{
    for (int j = 0; j < {LANES}; ++j) lanes[j] = {start};
    for (i64 from = 0; from < whole; from += {LANES}) for (int j = 0; j < {LANES}; ++j) {{
        const i64 i = from + j;
        const {ty} v = {value}, acc = lanes[j];
        lanes[j] = {combine};
    }}
    for (int j = 0; j < {LANES}; ++j) {{ const {ty} v = lanes[j], acc = {name}; {name} = {combine}; }}
    }}
    for (i64 i = whole; i < n; ++i) {{ const {ty} v = {value}, acc = {name}; {name} = {combine}; }}
    }}
"
        )
    }

    fn shared(&self) -> Shared {
        Shared { own: "acc", other: "v", ty: self.ty }
    }

    /// The sum of `value` over the line.
    pub(crate) fn sum(&self, name: &str, value: &str) -> String {
        self.fold(name, "0", "acc + v", value)
    }

    /// The largest of the line; NaN if any is.
    pub(crate) fn max(&self, name: &str, value: &str) -> String {
        self.fold(name, "-INFINITY", "(acc != acc || acc > v) ? acc : v", value)
    }
}

/// Runs a kernel over the lines of tensors along `dim`: all have one shape but for `single` ones, whose size
/// there is 1; without elements nothing runs. `write` gives the statements, `numbers` are the kernel's `c0`, `c1`, … .
#[track_caller]
pub(crate) fn lines<R: Runtime>(
    op: &'static str,
    key: impl Hash,
    dim: usize,
    tensors: &[Line<'_, R>],
    numbers: &[f64],
    write: impl Fn(&Writer) -> String,
) {
    run(op, key, dim, tensors, (numbers, false), write);
}

/// Like `lines`, of a kernel that may find an index that is no place in the line: `FAULT(index)`.
#[track_caller]
pub(crate) fn watched_lines<R: Runtime>(
    op: &'static str,
    key: impl Hash,
    dim: usize,
    tensors: &[Line<'_, R>],
    write: impl Fn(&Writer) -> String,
) {
    run(op, key, dim, tensors, (&[], true), write);
}

#[track_caller]
fn run<R: Runtime>(
    op: &'static str,
    key: impl Hash,
    dim: usize,
    tensors: &[Line<'_, R>],
    (numbers, watched): (&[f64], bool),
    write: impl Fn(&Writer) -> String,
) {
    let whole = tensors.iter().find(|x| !x.single).expect("a tensor with lines").tensor;
    let (device, dtype) = (whole.device(), whole.dtype());
    supported::<R>(op, device, [dtype]);
    let (n, mut shape) = (whole.dims()[dim], whole.shape().clone());
    shape.remove(dim);
    let count = shape.numel();
    if count * n == 0 {
        return;
    }
    let layouts: SmallVec<[Layout; 4]> =
        tensors.iter().map(|x| beside(x.tensor, dim, &shape)).collect();
    let (walk, _) = walk(op, &shape, &layouts, |_| false);
    let group = traits::<R>(device).kind != DeviceKind::Cpu;
    let steps: SmallVec<[isize; 4]> =
        tensors.iter().map(|x| if x.single { 0 } else { x.tensor.strides()[dim] }).collect();
    let mut call = Call::<R>::new(device).value(count as i64).value(n as i64).value(walk.sizes);
    let mut operands = Vec::new();
    for ((x, &step), &place) in tensors.iter().zip(&steps).zip(&walk.places) {
        let operand = Operand::new(x.name, x.tensor.dtype(), true);
        call = call.operand(&operand, x.tensor).value(place).value(step as i64);
        operands.push(operand);
    }
    for &number in numbers {
        call = match dtype.compute() {
            DType::F64 => call.value(number),
            _ => call.value(number as f32),
        };
    }
    if watched {
        call = call.watched((op, "class"), n, whole.shape());
    }
    let kinds: SmallVec<[(DType, isize); 4]> = tensors
        .iter()
        .zip(&steps)
        .map(|(x, &s)| (x.tensor.dtype(), if s == 0 || s == 1 { s } else { 2 }))
        .collect();
    let items = if group { GROUP } else { 1 };
    call.run_groups(op, (key, &kinds, group), (count, items), || {
        let element = |(operand, &step): (Operand, &isize)| {
            let name = operand.name();
            let place = match step {
                0 => format!("{name}_at"),
                1 => format!("{name}_at + i"),
                _ => format!("{name}_at + i * {name}_step"),
            };
            (operand, place)
        };
        let operands = operands.into_iter().zip(&steps).map(element).collect();
        let writer = Writer { ty: computed(dtype), operands, group };
        body(op, tensors, (numbers.len(), watched), &writer, &write(&writer))
    });
}

fn body<R: Runtime>(
    op: &str,
    tensors: &[Line<'_, R>],
    (numbers, watched): (usize, bool),
    writer: &Writer,
    statements: &str,
) -> String {
    let ty = writer.ty;
    let mut c = format!("KERNEL void {op}(i64 lines, i64 n, Sizes sizes");
    let names = || writer.operands.iter().map(|(operand, _)| operand.name());
    for (x, (operand, _)) in tensors.iter().zip(&writer.operands) {
        let (name, pointer) = (x.name, if x.written { operand.write() } else { operand.read() });
        c += &format!(", {pointer}, Place {name}_place, i64 {name}_step");
    }
    for k in 0..numbers {
        c += &format!(", {ty} c{k}");
    }
    c += if watched { ", FAULTS) {\n" } else { ") {\n" };
    if writer.group {
        c += &room(GROUP, &[writer.shared()]);
        c += "    const i64 line = GROUP_ID;\n";
    } else {
        c += "    const i64 line = ITEM;\n";
    }
    for name in names() {
        c += &format!("    i64 {name}_at = {name}_place.offset;\n");
    }
    let places = names().map(|name| (format!("{name}_at"), format!("{name}_place.strides")));
    c += &locate("line", "sizes", ["0", "(int)sizes.rank"], Width::Long, places);
    c + statements + "}\n"
}
