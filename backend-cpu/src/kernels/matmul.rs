//! `matmul`: batches of products of matrices.

use kiln_tensor_core::{DType, Shape, Tensor, compose};

use super::dispatch::{by_float, is_narrow, widen, wrong_dtype};
use super::gemm::{Float, Product, Source};
use super::walk::Walk;
use crate::Cpu;
use crate::storage::{Fresh, Locked, Plain};
use crate::threads::{parallel_for, parallel_pieces};

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
            DType::F64 => floats::<f64>(a, b, None, &mut out),
            DType::F32 => floats::<f32>(a, b, None, &mut out),
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

/// See `Backend::linear`.
pub(crate) fn linear(
    x: &Tensor<Cpu>,
    weight: &Tensor<Cpu>,
    bias: Option<&Tensor<Cpu>>,
) -> Tensor<Cpu> {
    let dtype = x.dtype();
    if is_narrow(dtype) {
        let bias = bias.map(widen);
        return linear(&widen(x), &widen(weight), bias.as_ref()).to_dtype(dtype);
    }
    if !dtype.is_float() {
        return compose::linear(x, weight, bias);
    }
    let [outputs, inputs] = [weight.dims()[0], weight.dims()[1]];
    let lead = &x.dims()[..x.rank() - 1];
    let rows = x.reshape_to(&Shape::from([lead.iter().product(), inputs]));
    let mut shape = Shape::from(lead);
    shape.push(outputs);
    let mut out = Fresh::new(&shape, dtype);
    if shape.numel() > 0 {
        by_float!("linear", dtype, T => floats::<T>(&rows, &weight.t(), bias, &mut out));
    }
    out.finish()
}

/// Multiplications from which on the matrices of a batch are computed one after the other, each by all
/// threads.
const LARGE: usize = 1 << 22;

/// `a · b`, plus a row of `bias` if there is one.
fn floats<T: Float>(a: &Tensor<Cpu>, b: &Tensor<Cpu>, bias: Option<&Tensor<Cpu>>, out: &mut Fresh) {
    let rank = a.rank();
    let [m, k, n] = [a.dims()[rank - 2], a.dims()[rank - 1], b.dims()[rank - 1]];
    let bias = bias.map(Tensor::contiguous);
    let mut reads = vec![a, b];
    reads.extend(&bias);
    let locked = Locked::read(&reads);
    let first = Product {
        m,
        n,
        k,
        a: Source {
            data: locked.ptr(a).cast::<T>(),
            lane: a.strides()[rank - 2],
            term: a.strides()[rank - 1],
        },
        b: Source {
            data: locked.ptr(b).cast::<T>(),
            lane: b.strides()[rank - 1],
            term: b.strides()[rank - 2],
        },
        c: out.ptr().cast::<T>(),
        row: n as isize,
        from: bias.as_ref().map_or(std::ptr::null(), |bias| locked.ptr(bias).cast::<T>()),
        from_row: 0,
    };
    let walk =
        Walk::new(&a.dims()[..rank - 2], [&a.strides()[..rank - 2], &b.strides()[..rank - 2]]);
    let count = walk.rows() * walk.len;
    let each = if m * n * k >= LARGE { count } else { (LARGE / 8 / (m * n * k).max(1)).max(1) };
    let run = |chunk: usize| {
        let items = chunk * each..((chunk + 1) * each).min(count);
        let mut item = items.start / walk.len * walk.len;
        walk.each(items.start / walk.len..items.end.div_ceil(walk.len), |[from_a, from_b]| {
            for i in 0..walk.len as isize {
                if items.contains(&item) {
                    let (by_a, by_b) = (from_a + i * walk.step[0], from_b + i * walk.step[1]);
                    let product = first.moved(by_a, by_b, item * m * n);
                    // SAFETY: the layouts place both operands inside their locked storages, and
                    // each item has its own part of the output.
                    unsafe { product.run() };
                }
                item += 1;
            }
        });
    };
    if each >= count { run(0) } else { parallel_for(count.div_ceil(each), run) }
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
