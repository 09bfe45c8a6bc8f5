//! Operands of a product, copied to panels: `width` rows (or columns) side by side for each step of the sum,
//! in the dtype of the sum, zeros where there are no more.

use std::fmt::Write;

use kiln_tensor_core::{DType, Layout, Shape, Tensor};

use super::windows::{SPEC, Spec};
use crate::launch::Call;
use crate::place::walk;
use crate::source::{Operand, computed};
use crate::storage::fresh;
use crate::{Gpu, Runtime};

/// Steps of the sum that one work-item packs.
const STEPS: usize = 64;

/// Panels of one operand, for all matrices of a batch or one for all.
pub(crate) struct Packed<R: Runtime> {
    elements: Tensor<Gpu<R>>,
    step: usize,
}

impl<R: Runtime> Packed<R> {
    fn new(batch: usize, size: usize, k: usize, width: usize, like: &Tensor<Gpu<R>>) -> Self {
        let step = size.div_ceil(width) * width * k;
        let dtype = like.dtype().compute();
        Packed { elements: fresh::<R>(&Shape::from([batch * step]), dtype, like.device()), step }
    }

    pub(crate) fn elements(&self) -> &Tensor<Gpu<R>> {
        &self.elements
    }

    /// From one matrix to the next.
    pub(crate) fn step(&self) -> usize {
        self.step
    }

    /// One for all matrices of a batch.
    pub(crate) fn shared(mut self) -> Self {
        self.step = 0;
        self
    }
}

/// A matrix for each of a batch: `size` rows `along` elements apart, whose step `t` of the sum lies at
/// `t / inner · outer_step + t % inner · inner_step`.
pub(crate) struct Strided {
    pub(crate) batch: Layout,
    pub(crate) size: usize,
    pub(crate) along: isize,
    pub(crate) k: usize,
    pub(crate) inner: usize,
    pub(crate) steps: [isize; 2],
}

/// Packs matrices with any strides.
#[track_caller]
pub(crate) fn strided<R: Runtime>(
    op: &'static str,
    x: &Tensor<Gpu<R>>,
    matrix: &Strided,
    width: usize,
) -> Packed<R> {
    let &Strided { ref batch, size, along, k, inner, steps } = matrix;
    let packed = Packed::<R>::new(batch.shape().numel(), size, k, width, x);
    let (walk, _) = walk(op, batch.shape(), std::slice::from_ref(batch), |_| false);
    let panels = size.div_ceil(width);
    let items = batch.shape().numel() * panels * k.div_ceil(STEPS);
    let from = Operand::new("x", x.dtype(), true);
    // Strides of one become constants: the compiler then copies vectors.
    let (ones, plain) = ((along == 1, steps[1] == 1), inner >= k);
    Call::<R>::new(x.device())
        .value(items as i64)
        .value(panels as i64)
        .value(size as i64)
        .value(k as i64)
        .value(inner as i64)
        .value(walk.sizes)
        .operand(&from, x)
        .value(walk.places[0])
        .value(along as i64)
        .value(steps[0] as i64)
        .value(steps[1] as i64)
        .tensor(&packed.elements)
        .run_groups("pack", (width, x.dtype(), ones, plain), (items, 1), || {
            strided_body(width, x.dtype(), ones, plain, &from)
        });
    packed
}

fn strided_body(
    width: usize,
    dtype: DType,
    (row_one, step_one): (bool, bool),
    plain: bool,
    from: &Operand,
) -> String {
    let ty = computed(dtype);
    let row = if row_one { "i" } else { "i * along" };
    let step = |t: &str| match (plain, step_one) {
        (true, true) => String::from(t),
        (true, false) => format!("{t} * inner_step"),
        (false, _) => format!("({t}) / inner * outer_step + ({t}) % inner * inner_step"),
    };
    // The loop inside runs over what lies side by side.
    let (by_row, by_step) = ("for (int i = 0; i < count; ++i)", "for (i64 t = from; t < to; ++t)");
    let loops =
        if row_one { format!("{by_step} {by_row}") } else { format!("{by_row} {by_step}") };
    format!(
        "KERNEL void pack(i64 items, i64 panels, i64 size, i64 k, i64 inner, Sizes sizes, {read}, Place place,
    i64 along, i64 outer_step, i64 inner_step, GLOBAL {ty}* y) {{
    const i64 item = ITEM;
    if (item >= items) return;
    const i64 chunks = (k + {last}) / {STEPS}, panel = item / chunks, from = (item - panel * chunks) * {STEPS};
    const i64 to = from + {STEPS} < k ? from + {STEPS} : k;
    i64 rest = panel / panels, first = (panel - rest * panels) * {width}, base = place.offset;
    for (int d = (int)sizes.rank - 1; d >= 0; --d) {{
        const i64 next = rest / sizes.sizes[d];
        base += (rest - next * sizes.sizes[d]) * place.strides[d];
        rest = next;
    }}
    base += first * along;
    GLOBAL {ty}* out = y + panel * {width} * k;
    const i64 left = size - first;
    if (left >= {width}) {{
        const int count = {width};
        {loops} out[t * {width} + i] = {load};
    }} else {{
        const int count = (int)left;
        {loops} out[t * {width} + i] = {load};
        for (i64 t = from; t < to; ++t) for (i64 i = count; i < {width}; ++i) out[t * {width} + i] = 0;
    }}
}}
",
        read = from.read(),
        last = STEPS - 1,
        load = from.load(&format!("base + {row} + {}", step("t"))),
    )
}

/// Which operand of which convolution windows are packed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Windows {
    /// Columns are the output's positions, steps are channels and taps of the input.
    Forward,
    /// Columns are the input's positions, steps are channels and taps of the output's gradient.
    Input,
    /// Columns are channels and taps, steps are the output's positions.
    Weight,
}

/// Packs what the windows of images `[image, image + images)` see of contiguous `x`, for each image and group.
#[track_caller]
pub(crate) fn windows<R: Runtime>(
    which: Windows,
    x: &Tensor<Gpu<R>>,
    spec: Spec,
    (image, images): (usize, usize),
    width: usize,
) -> Packed<R> {
    let of = |sizes: [i64; 3]| sizes.iter().product::<i64>() as usize;
    let (taps, groups) = (of(spec.window), spec.groups as usize);
    let (ins, outs) = (spec.channels as usize / groups, spec.outs as usize / groups);
    let (columns, k) = match which {
        Windows::Forward => (of(spec.output), ins * taps),
        Windows::Input => (of(spec.input), outs * taps),
        Windows::Weight => (ins * taps, of(spec.output)),
    };
    let packed = Packed::<R>::new(images * groups, columns, k, width, x);
    let panels = columns.div_ceil(width);
    let items = images * groups * panels * k.div_ceil(STEPS);
    let from = Operand::new("x", x.dtype(), true);
    let dense = spec.is_dense();
    Call::<R>::new(x.device())
        .value(items as i64)
        .value(panels as i64)
        .value(columns as i64)
        .value(k as i64)
        .value((image * groups) as i64)
        .value(spec)
        .operand(&from, x)
        .tensor(&packed.elements)
        .run_groups("pack_windows", (which, width, x.dtype(), dense), (items, 1), || {
            windows_body(which, width, x.dtype(), dense, &from)
        });
    packed
}

fn windows_body(which: Windows, width: usize, dtype: DType, dense: bool, from: &Operand) -> String {
    let ty = computed(dtype);
    // Positions are taken apart by the sizes of what they are positions in.
    let (lanes, steps) = match which {
        Windows::Forward => ("output", "window"),
        Windows::Input => ("input", "window"),
        Windows::Weight => ("window", "output"),
    };
    let (seen, channels) = match which {
        Windows::Input => ("output", "s.outs"),
        _ => ("input", "s.channels"),
    };
    let decode = |c: &mut String, sizes: &str, name: &str| {
        for d in (0..3).rev() {
            let _ = write!(
                c,
                "{name}{d} = rest % (int)s.{sizes}[{d}]; rest /= (int)s.{sizes}[{d}]; "
            );
        }
    };
    let mut c = format!(
        "{SPEC}KERNEL void pack_windows(i64 items, i64 panels, i64 columns, i64 k, i64 first_matrix, Spec s,
    {read}, GLOBAL {ty}* y) {{
    const i64 item = ITEM;
    if (item >= items) return;
    const i64 chunks = (k + {last}) / {STEPS}, panel = item / chunks, from = (item - panel * chunks) * {STEPS};
    const i64 to = from + {STEPS} < k ? from + {STEPS} : k;
    const i64 matrix = panel / panels, first = (panel - matrix * panels) * {width};
    const i64 image = (first_matrix + matrix) / s.groups, group = (first_matrix + matrix) % s.groups;
    const int h0 = (int)s.{seen}[0], h1 = (int)s.{seen}[1], h2 = (int)s.{seen}[2];
    x += (image * {channels} + group * ({channels} / s.groups)) * h0 * h1 * h2;
    GLOBAL {ty}* out = y + panel * {width} * k;
    int lane_c[{width}], lane_0[{width}], lane_1[{width}], lane_2[{width}];
    const int count = columns - first < {width} ? (int)(columns - first) : {width};
    for (int i = 0; i < {width}; ++i) {{
        int rest = (int)first + (i < count ? i : 0), l0, l1, l2;
        ",
        read = from.read(),
        last = STEPS - 1,
    );
    decode(&mut c, lanes, "l");
    c.push_str("lane_c[i] = rest; ");
    for d in 0..3 {
        let origin = match which {
            Windows::Forward => format!("l{d} * (int)s.stride[{d}] - (int)s.padding[{d}]"),
            Windows::Input => format!("l{d} + (int)s.padding[{d}]"),
            Windows::Weight => format!("l{d} * (int)s.dilation[{d}] - (int)s.padding[{d}]"),
        };
        let _ = write!(c, "lane_{d}[i] = {origin}; ");
    }
    c.push_str("\n    }\n    for (i64 t = from; t < to; ++t) {\n        int rest = (int)t, l0, l1, l2;\n        ");
    decode(&mut c, steps, "l");
    c.push_str("const int step_c = rest;\n        ");
    for d in 0..3 {
        let by = if which == Windows::Weight { "stride" } else { "dilation" };
        let _ = write!(c, "l{d} *= (int)s.{by}[{d}]; ");
    }
    let _ = writeln!(c, "\n        for (int i = 0; i < {width}; ++i) {{");
    let sign = if which == Windows::Input { "-" } else { "+" };
    for d in 0..3 {
        let _ = write!(c, "            int z{d} = lane_{d}[i] {sign} l{d};");
    }
    c.push_str("\n            int inside = i < count;\n");
    if which == Windows::Input && !dense {
        for d in 0..3 {
            let _ = writeln!(
                c,
                "            inside &= z{d} >= 0 && z{d} % (int)s.stride[{d}] == 0; z{d} /= (int)s.stride[{d}];"
            );
        }
    }
    for d in 0..3 {
        let _ = writeln!(c, "            inside &= z{d} >= 0 && z{d} < h{d};");
    }
    let channel = if which == Windows::Weight { "lane_c[i]" } else { "step_c" };
    let _ = writeln!(
        c,
        "            const i64 at = inside ? (((i64){channel} * h0 + z0) * h1 + z1) * h2 + z2 : 0;
            const {ty} v = {};
            out[t * {width} + i] = inside ? v : 0;
        }}
    }}
}}",
        from.load("at")
    );
    c
}
