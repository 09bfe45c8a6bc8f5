//! `nonzero`: the indices of elements that differ from zero.

use kiln_tensor_core::{DType, Shape, Tensor};

use crate::Cpu;
use crate::kernels::workers::Shared;
use crate::storage::{Fresh, Locked};
use crate::threads::{parallel_for, parallel_pieces};

/// Elements that one thread handles at a time.
const GRAIN: usize = 1 << 16;

/// See `Backend::nonzero`.
pub(crate) fn nonzero(x: &Tensor<Cpu>) -> Tensor<Cpu> {
    let mask = if x.dtype() == DType::Bool { x.contiguous() } else { x.ne(0) };
    let (shape, numel) = (mask.shape().clone(), mask.numel());
    let locked = Locked::read(&[&mask]);
    let mask = locked.slice::<u8>(&mask)[if numel == 0 { 0 } else { mask.layout().offset() }..]
        .split_at(numel)
        .0;

    // First count, then write each part behind those before it.
    let mut starts = vec![0usize; numel.div_ceil(GRAIN) + 1];
    parallel_pieces(&mut starts[1..], 1, |part, count| {
        count[0] = chunk(mask, part).iter().filter(|&&m| m != 0).count();
    });
    (1..starts.len()).for_each(|i| starts[i] += starts[i - 1]);
    let total = starts[starts.len() - 1];

    let rank = shape.rank();
    let mut out = Fresh::new(&Shape::from([total, rank]), DType::I64);
    let to = Shared(out.slice_mut::<i64>().as_mut_ptr());
    parallel_for(starts.len() - 1, |part| {
        let count = starts[part + 1] - starts[part];
        // SAFETY: the parts' ranges follow each other and end with the output.
        let out =
            unsafe { std::slice::from_raw_parts_mut(to.at(starts[part] * rank), count * rank) };
        if rank == 0 {
            return;
        }
        let mut rows = out.chunks_exact_mut(rank);
        let found = chunk(mask, part).iter().enumerate().filter(|&(_, &m)| m != 0);
        for ((i, _), row) in found.zip(&mut rows) {
            let mut rest = part * GRAIN + i;
            for (place, &size) in row.iter_mut().zip(shape.iter()).rev() {
                *place = (rest % size) as i64;
                rest /= size;
            }
        }
    });
    out.finish()
}

fn chunk(mask: &[u8], part: usize) -> &[u8] {
    let first = part * GRAIN;
    &mask[first..(first + GRAIN).min(mask.len())]
}
