//! `map_each_into`: one program over many tensors, as an optimizer's step is. A launch costs more than the work on
//! a small tensor, so several of them share one.

use std::fmt::Write;

use kiln_tensor_core::{Expr, Kernel, Tensor};

use super::kernels::{Pass, Step};
use super::{declare_params, map_into, operands_of};
use crate::launch::{Call, supported};
use crate::source::{Operand, Width};
use crate::{Gpu, Runtime};

/// So many tensors share a launch at most.
const MOST: usize = 8;
/// Drivers take arguments of 1,024 bytes at least. A device's own come on top.
const BYTES: usize = 900;
/// A tensor of so many elements keeps a device busy by itself.
const LARGE: usize = 1 << 16;

type T<R> = Tensor<Gpu<R>>;
/// The inputs and outputs of one run of the program.
type Group<'a, R> = (Vec<&'a T<R>>, Vec<&'a T<R>>);

/// See `Backend::map_each_into`.
#[track_caller]
pub(crate) fn map_each_into<R: Runtime>(kernel: Kernel<'_>, groups: &[Group<'_, R>]) {
    let together = most(kernel.expr);
    let mut waiting: Vec<&Group<'_, R>> = Vec::new();
    for group in groups {
        let (inputs, outputs) = group;
        if together < 2 || !is_small_and_flat::<R>(group) {
            map_into(kernel, inputs, outputs);
            continue;
        }
        if waiting.first().is_some_and(|(_, first)| first[0].device() != outputs[0].device()) {
            share(kernel, together, &waiting);
            waiting.clear();
        }
        waiting.push(group);
        if waiting.len() == together {
            share(kernel, together, &waiting);
            waiting.clear();
        }
    }
    if let [(inputs, outputs)] = waiting[..] {
        map_into(kernel, inputs, outputs);
    } else if !waiting.is_empty() {
        share(kernel, together, &waiting);
    }
}

/// How many groups fit into the arguments of a launch.
fn most(expr: &Expr) -> usize {
    // A pointer, an offset and perhaps a count for each operand; where each group ends.
    let group = 24 * (expr.inputs().len() + expr.outputs().len()) + 8;
    (BYTES.saturating_sub(8 * expr.params().len()) / group).min(MOST)
}

/// Whether the tensors of a group lie as rows of few elements side by side.
fn is_small_and_flat<R: Runtime>((inputs, outputs): &Group<'_, R>) -> bool {
    let shape = outputs[0].shape();
    let flat = |x: &&T<R>| x.shape() == shape && x.is_contiguous();
    (1..LARGE).contains(&shape.numel()) && inputs.iter().chain(outputs).all(flat)
}

/// Runs the program on groups of one device, `most` of them or fewer, in one launch.
#[track_caller]
fn share<R: Runtime>(kernel: Kernel<'_>, most: usize, groups: &[&Group<'_, R>]) {
    let (expr, device) = (kernel.expr, groups[0].1[0].device());
    supported::<R>("map", device, expr.instrs().iter().map(|i| i.dtype));
    groups.iter().flat_map(|(_, outputs)| outputs).for_each(|x| x.storage().written());
    // What is missing has no elements, and is never read.
    let last = groups[groups.len() - 1];
    let padded = || groups.iter().copied().chain(std::iter::repeat(last)).take(most);
    let (mut call, mut end) = (Call::<R>::new(device), 0);
    for (i, (_, outputs)) in padded().enumerate() {
        end += if i < groups.len() { outputs[0].numel() } else { 0 };
        call = call.value(end as i64);
    }
    let operands = operands_of(expr, true, "");
    for (inputs, outputs) in padded() {
        for (operand, x) in operands.iter().zip(inputs.iter().chain(outputs)) {
            call = call.operand(operand, x).value(x.layout().offset() as i64);
        }
    }
    call.params(kernel).run("map_each", (expr, most), end, || body(expr, most));
}

fn body(expr: &Expr, most: usize) -> String {
    let inputs = expr.inputs().len();
    let declared = |operands: &[Operand], of: &str| -> Vec<String> {
        let pointer = |(k, x): (usize, &Operand)| if k < inputs { x.read() } else { x.write() };
        let each = operands.iter().enumerate();
        each.map(|(k, x)| format!("{}, i64 a{k}{of}", pointer((k, x)))).collect()
    };
    let mut c = String::from("KERNEL void map_each(");
    let ends: Vec<String> = (0..most).map(|g| format!("i64 end{g}")).collect();
    c += &ends.join(", ");
    for g in 0..most {
        let of = format!("_{g}");
        for text in declared(&operands_of(expr, true, &of), &of) {
            let _ = write!(c, ",\n    {text}");
        }
    }
    declare_params(&mut c, expr);
    let own = operands_of(expr, true, "");
    let names = declared(&own, "");
    let _ = writeln!(
        c,
        ") {{\n    const i64 item = ITEM;\n    if (item >= end{}) return;\n    i64 index = item;",
        most - 1
    );
    for text in &names {
        let _ = writeln!(c, "    {};", text.replace(", ", "; "));
    }
    // Each variable from that of the item's group.
    let variables: Vec<&str> = names
        .iter()
        .flat_map(|text| text.split(", "))
        .filter_map(|declaration| declaration.rsplit([' ', '*']).next())
        .collect();
    for g in 0..most {
        let condition = if g + 1 < most { format!("if (item < end{g}) ") } else { String::new() };
        let start = if g > 0 { format!("index = item - end{}; ", g - 1) } else { String::new() };
        let of_group = |name: &str| match name.strip_suffix("_n") {
            Some(operand) => format!("{operand}_{g}_n"),
            None => format!("{name}_{g}"),
        };
        let taken: String =
            variables.iter().map(|name| format!("{name} = {}; ", of_group(name))).collect();
        let otherwise = if g > 0 { "else " } else { "" };
        let _ = writeln!(c, "    {otherwise}{condition}{{ {start}{taken}}}");
    }
    let steps = vec![Step::One; own.len()];
    let pass = Pass { expr, operands: &own, steps: &steps, width: Width::Long };
    c + &pass.work_flat() + "}\n"
}
