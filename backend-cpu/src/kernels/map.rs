//! `map`, `map_into`, `map_each_into`: programs over whole tensors.

use kiln_tensor_core::{Kernel, Outputs, Shape, Tensor};
use smallvec::SmallVec;

use super::expr::{BLOCK, Job, Operand, Place, Program, Tiles, program};
use super::strides::Merged;
use crate::Cpu;
use crate::storage::{Fresh, Locked, ReadFew};
use crate::threads::parallel_for;

/// See `Backend::map`.
#[inline]
pub(crate) fn map(kernel: Kernel<'_>, inputs: &[&Tensor<Cpu>], shape: &Shape) -> Tensor<Cpu> {
    map_few(program(kernel.expr), kernel, inputs, shape)
        .unwrap_or_else(|| map_many(kernel, inputs, shape).remove(0))
}

/// See `Backend::map_many`.
pub(crate) fn map_many(kernel: Kernel<'_>, inputs: &[&Tensor<Cpu>], shape: &Shape) -> Outputs<Cpu> {
    let program = program(kernel.expr);
    let mut fresh: SmallVec<[Fresh; 1]> =
        kernel.expr.outputs().iter().map(|o| Fresh::beside(inputs, shape, o.dtype)).collect();
    if shape.numel() > 0 {
        let locked = Locked::read(inputs);
        let outputs: SmallVec<[Operand; 1]> = fresh
            .iter_mut()
            .zip(kernel.expr.outputs())
            .map(|(out, o)| Operand { base: out.ptr(), size: o.dtype.size(), place: Place::Flat })
            .collect();
        let (sizes, inputs) = operands(shape, inputs, &locked);
        run(program, kernel, shape.numel(), &sizes, &inputs, &outputs, 0);
    }
    fresh.into_iter().map(Fresh::finish).collect()
}

/// A block of elements or less, lying side by side: preparing the general way would cost several
/// times what computing does. `None` where that is not so.
#[inline]
fn map_few(
    program: &Program,
    kernel: Kernel<'_>,
    inputs: &[&Tensor<Cpu>],
    shape: &Shape,
) -> Option<Tensor<Cpu>> {
    let [output] = kernel.expr.outputs() else { return None };
    let total = shape.numel();
    let flat = |x: &&Tensor<Cpu>| x.is_contiguous() && x.shape() == shape;
    if !(1..=BLOCK).contains(&total) || !kernel.params.is_empty() || !inputs.iter().all(flat) {
        return None;
    }
    let locked = ReadFew::new(inputs)?;
    let mut out = Fresh::beside(inputs, shape, output.dtype);
    let from = |k: usize| inputs.get(k).map(|x| (locked.ptr(x), x.dtype().size()));
    let from = [from(0), from(1), from(2)];
    program.run_few(from, (out.ptr(), output.dtype.size()), total).then(|| out.finish())
}

/// See `Backend::map_into`.
pub(crate) fn map_into(kernel: Kernel<'_>, inputs: &[&Tensor<Cpu>], outputs: &[&Tensor<Cpu>]) {
    let shape = outputs[0].shape();
    if shape.numel() == 0 {
        return;
    }
    let program = program(kernel.expr);
    let locked = Locked::new(inputs, outputs);
    let aside = program.aside(inputs, outputs);
    let all: SmallVec<[&Tensor<Cpu>; 4]> = inputs.iter().chain(outputs).copied().collect();
    let (sizes, all) = operands(shape, &all, &locked);
    let (inputs, outputs) = all.split_at(inputs.len());
    run(program, kernel, shape.numel(), &sizes, inputs, outputs, aside);
}

/// See `Backend::map_each_into`: one parallel pass over the chunks of all groups.
pub(crate) fn map_each_into(kernel: Kernel<'_>, groups: &[(Vec<&Tensor<Cpu>>, Vec<&Tensor<Cpu>>)]) {
    let program = program(kernel.expr);
    let (splats, numbers) = program.arguments(kernel.params);
    let reads: Vec<_> = groups.iter().flat_map(|(inputs, _)| inputs.iter().copied()).collect();
    let writes: Vec<_> = groups.iter().flat_map(|(_, outputs)| outputs.iter().copied()).collect();
    let locked = Locked::new(&reads, &writes);
    let parts: Vec<Part> = groups.iter().map(|group| Part::new(program, group, &locked)).collect();
    let chunk = program.chunk();
    // The first chunk of each group, counted through.
    let mut firsts: Vec<usize> = Vec::with_capacity(parts.len());
    let mut chunks = 0;
    for part in &parts {
        firsts.push(chunks);
        chunks += part.total.div_ceil(chunk);
    }
    let run = |i: usize| {
        let at = firsts.partition_point(|&first| first <= i) - 1;
        let part = &parts[at];
        let start = (i - firsts[at]) * chunk;
        let (inputs, outputs) = part.operands.split_at(part.inputs);
        let (sizes, aside) = (&part.sizes[..], part.aside);
        let (splats, numbers) = (&splats[..], &numbers[..]);
        let job = Job { program, sizes, inputs, outputs, aside, splats, numbers };
        job.run(start, part.total.min(start + chunk));
    };
    if parts.iter().map(|part| part.total).sum::<usize>() <= chunk {
        (0..chunks).for_each(run);
    } else {
        parallel_for(chunks, run);
    }
}

/// One group of tensors that a program runs over.
struct Part {
    total: usize,
    sizes: SmallVec<[usize; 6]>,
    operands: Operands,
    inputs: usize,
    aside: u64,
}

impl Part {
    fn new(
        program: &Program,
        (inputs, outputs): &(Vec<&Tensor<Cpu>>, Vec<&Tensor<Cpu>>),
        locked: &Locked<'_>,
    ) -> Self {
        let shape = outputs[0].shape();
        let all: SmallVec<[&Tensor<Cpu>; 8]> = inputs.iter().chain(outputs).copied().collect();
        let total = shape.numel();
        let (sizes, operands) = match total {
            0 => Default::default(),
            _ => operands(shape, &all, locked),
        };
        let aside = program.aside(inputs, outputs);
        Part { total, sizes, operands, inputs: inputs.len(), aside }
    }
}

type Operands = SmallVec<[Operand; 4]>;

/// The operands of tensors that broadcast to `shape`, and the sizes that their strides are over.
pub(super) fn operands(
    shape: &Shape,
    tensors: &[&Tensor<Cpu>],
    locked: &Locked<'_>,
) -> (SmallVec<[usize; 6]>, Operands) {
    let simple = |x: &Tensor<Cpu>| x.numel() == 1 || (x.shape() == shape && x.is_contiguous());
    let operand = |x: &Tensor<Cpu>, place: Place| Operand {
        base: locked.ptr(x),
        size: x.dtype().size(),
        place,
    };
    let one = shape.numel() == 1;
    if tensors.iter().all(|x| simple(x)) {
        let place = |x: &Tensor<Cpu>| {
            if x.numel() == 1 && !one { Place::One } else { Place::Flat }
        };
        return (SmallVec::new(), tensors.iter().map(|x| operand(x, place(x))).collect());
    }
    let merged = Merged::new(shape, tensors.iter().map(|x| x.layout())).merged();
    let operands = tensors.iter().enumerate().map(|(k, x)| operand(x, place(&merged, k)));
    let operands = operands.collect();
    (merged.sizes, operands)
}

/// How operand `k` lies.
pub(super) fn place(merged: &Merged, k: usize) -> Place {
    if merged.is_flat(k) {
        Place::Flat
    } else if merged.strides[k].iter().all(|&stride| stride == 0) {
        Place::One
    } else {
        Place::Strided(merged.strides[k].clone())
    }
}

fn run(
    program: &Program,
    kernel: Kernel<'_>,
    total: usize,
    sizes: &[usize],
    inputs: &[Operand],
    outputs: &[Operand],
    aside: u64,
) {
    let (splats, numbers) = program.arguments(kernel.params);
    let (splats, numbers) = (&splats[..], &numbers[..]);
    let job = Job { program, sizes, inputs, outputs, aside, splats, numbers };
    let chunk = program.chunk();
    if let Some(tiles) = Tiles::of(&job) {
        let step = (chunk / tiles.elements).max(1);
        return parallel_for(tiles.groups.div_ceil(step), |i| {
            tiles.run(&job, i * step..tiles.groups.min((i + 1) * step));
        });
    }
    if total <= chunk {
        return job.run(0, total);
    }
    parallel_for(total.div_ceil(chunk), |i| job.run(i * chunk, total.min((i + 1) * chunk)));
}

impl Program {
    /// Outputs that are also an input which is read after they are written, as bits.
    fn aside(&self, inputs: &[&Tensor<Cpu>], outputs: &[&Tensor<Cpu>]) -> u64 {
        let mut aside = 0;
        for (o, output) in outputs.iter().enumerate() {
            let key = output.storage().key();
            let read_later = |k: usize| k >= 64 || self.hazards(o) >> k & 1 == 1;
            let clash = |(k, x): (usize, &&Tensor<Cpu>)| read_later(k) && x.storage().key() == key;
            aside |= u64::from(inputs.iter().enumerate().any(clash)) << o;
        }
        aside
    }
}
