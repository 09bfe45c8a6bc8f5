//! `matmul`: batches of products of matrices.

use std::ops::{Add, Mul};

use kiln_tensor_core::{DType, Shape, Tensor};

use super::dispatch::{is_narrow, widen, wrong_dtype};
use crate::Cpu;
use crate::storage::{Fresh, Locked, Plain};
use crate::threads::parallel_pieces;

/// See `Backend::matmul`.
pub(crate) fn matmul(a: &Tensor<Cpu>, b: &Tensor<Cpu>) -> Tensor<Cpu> {
    let dtype = a.dtype();
    if is_narrow(dtype) {
        return matmul(&widen(a), &widen(b)).to_dtype(dtype);
    }
    let rank = a.rank();
    let mut shape: Shape = a.dims()[..rank - 1].into();
    shape.push(b.dims()[rank - 1]);
    let mut out = Fresh::new(&shape, dtype);
    if shape.numel() > 0 {
        match dtype {
            DType::F64 => plain::<f64>(a, b, out.slice_mut(), f64::add, f64::mul),
            DType::F32 => plain::<f32>(a, b, out.slice_mut(), f32::add, f32::mul),
            DType::I64 => plain(a, b, out.slice_mut(), i64::wrapping_add, i64::wrapping_mul),
            DType::I32 => plain(a, b, out.slice_mut(), i32::wrapping_add, i32::wrapping_mul),
            DType::I16 => plain(a, b, out.slice_mut(), i16::wrapping_add, i16::wrapping_mul),
            DType::I8 => plain(a, b, out.slice_mut(), i8::wrapping_add, i8::wrapping_mul),
            DType::U8 => plain(a, b, out.slice_mut(), u8::wrapping_add, u8::wrapping_mul),
            other => wrong_dtype("matmul", other),
        }
    }
    out.finish()
}

/// A row of the result is the sum of rows of `b`. Integers wrap around, as their sums do.
fn plain<T: Plain + Default>(
    a: &Tensor<Cpu>,
    b: &Tensor<Cpu>,
    out: &mut [T],
    add: impl Fn(T, T) -> T + Sync,
    mul: impl Fn(T, T) -> T + Sync,
) {
    let (a, b) = (&a.contiguous(), &b.contiguous());
    let [m, k] = [a.dims()[a.rank() - 2], a.dims()[a.rank() - 1]];
    let n = b.dims()[b.rank() - 1];
    if k == 0 {
        return out.fill(T::default());
    }
    let locked = Locked::read(&[a, b]);
    let (left, right) = (
        &locked.slice::<T>(a)[a.layout().offset()..],
        &locked.slice::<T>(b)[b.layout().offset()..],
    );
    let rows = ((1 << 14) / (n * k)).max(1);
    parallel_pieces(out, rows * n, |piece, out| {
        for (i, out) in out.chunks_exact_mut(n).enumerate() {
            let row = piece * rows + i;
            out.fill(T::default());
            let right = right[row / m * k * n..].chunks_exact(n);
            for (&x, right) in left[row * k..][..k].iter().zip(right) {
                out.iter_mut().zip(right).for_each(|(out, &y)| *out = add(*out, mul(x, y)));
            }
        }
    });
}
