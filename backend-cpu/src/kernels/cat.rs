//! `cat`: tensors one behind the other, copied in runs as long as can be.

use kiln_tensor_core::{Shape, Tensor};

use super::dispatch::by_size;
use crate::Cpu;
use crate::kernels::workers::Shared;
use crate::storage::{Fresh, Locked, Plain};
use crate::threads::parallel_for;

/// Elements that one thread copies at a time.
const GRAIN: usize = 1 << 16;

/// See `Backend::cat`.
pub(crate) fn cat(tensors: &[&Tensor<Cpu>], dim: usize) -> Tensor<Cpu> {
    let first = tensors[0];
    let shape = first.shape().with(dim, tensors.iter().map(|t| t.dims()[dim]).sum());
    let mut out = Fresh::new(&shape, first.dtype());
    if shape.numel() > 0 {
        let tensors: Vec<Tensor<Cpu>> =
            tensors.iter().filter(|t| t.numel() > 0).map(|t| t.contiguous()).collect();
        by_size!(first.dtype(), T => copy::<T>(&tensors, dim, &shape, out.slice_mut()));
    }
    out.finish()
}

/// In each of the outer dims' elements, the tensors' runs follow each other.
fn copy<T: Plain>(tensors: &[Tensor<Cpu>], dim: usize, shape: &Shape, out: &mut [T]) {
    let locked = Locked::read(&tensors.iter().collect::<Vec<_>>());
    let inner: usize = shape[dim + 1..].iter().product();
    let outer: usize = shape[..dim].iter().product();
    let stride = shape[dim] * inner;
    let to = Shared(out.as_mut_ptr());
    let mut start = 0;
    for tensor in tensors {
        let run = tensor.dims()[dim] * inner;
        let from = &locked.slice::<T>(tensor)[tensor.layout().offset()..][..outer * run];
        // A job copies whole runs, or a part of one.
        let (runs, parts) = ((GRAIN / run).max(1), run.div_ceil(GRAIN));
        let piece = run.div_ceil(parts);
        parallel_for(outer.div_ceil(runs) * parts, |job| {
            let (first, part) = (job / parts * runs, job % parts * piece);
            for i in first..(first + runs).min(outer) {
                let len = piece.min(run - part);
                // SAFETY: runs and their parts lie inside the output and do not overlap.
                let to = unsafe {
                    std::slice::from_raw_parts_mut(to.at(i * stride + start + part), len)
                };
                to.copy_from_slice(&from[i * run + part..][..len]);
            }
        });
        start += run;
    }
}
