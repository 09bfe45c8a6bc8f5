//! Running sums and products.

use kiln_tensor_core::{DType, ScanOp, Tensor};

use super::dispatch::{by_number, widen};
use crate::Cpu;
use crate::storage::{Fresh, Locked};
use crate::threads::parallel_pieces;

/// Elements that one chunk of parallel work runs over.
const CHUNK: usize = 1 << 15;

/// How a type adds up: floats in `f64`, integers in themselves.
trait Running: bytemuck::Pod + Send + Sync {
    type Acc: Copy;
    fn start(self) -> Self::Acc;
    fn step(acc: Self::Acc, x: Self, op: ScanOp) -> Self::Acc;
    fn value(acc: Self::Acc) -> Self;
}

macro_rules! running {
    ($($T:ident in $A:ident: $add:path, $mul:path;)*) => {$(
        impl Running for $T {
            type Acc = $A;
            fn start(self) -> $A {
                self as $A
            }
            fn step(acc: $A, x: $T, op: ScanOp) -> $A {
                match op {
                    ScanOp::Sum => $add(acc, x as $A),
                    ScanOp::Prod => $mul(acc, x as $A),
                }
            }
            fn value(acc: $A) -> $T {
                acc as $T
            }
        }
    )*};
}
running! {
    f64 in f64: std::ops::Add::add, std::ops::Mul::mul;
    f32 in f64: std::ops::Add::add, std::ops::Mul::mul;
    i64 in i64: i64::wrapping_add, i64::wrapping_mul;
    i32 in i32: i32::wrapping_add, i32::wrapping_mul;
    i16 in i16: i16::wrapping_add, i16::wrapping_mul;
    i8 in i8: i8::wrapping_add, i8::wrapping_mul;
    u8 in u8: u8::wrapping_add, u8::wrapping_mul;
}

/// See `Backend::scan`.
pub(crate) fn scan(op: ScanOp, x: &Tensor<Cpu>, dim: usize) -> Tensor<Cpu> {
    let wide = widen(x).contiguous();
    let name = if op == ScanOp::Sum { "cumsum" } else { "cumprod" };
    let out = if wide.dtype() == DType::Bool {
        // Bools add up to "any so far" and multiply to "all so far", as they do elementwise.
        let numbers = scan(op, &wide.to_dtype(DType::I64), dim);
        return numbers.to_dtype(DType::Bool);
    } else {
        by_number!(name, wide.dtype(), T => run::<T>(op, &wide, dim))
    };
    out.to_dtype(x.dtype())
}

fn run<T: Running>(op: ScanOp, x: &Tensor<Cpu>, dim: usize) -> Tensor<Cpu> {
    let mut out = Fresh::new(x.shape(), x.dtype());
    let inner: usize = x.dims()[dim + 1..].iter().product();
    let block = inner * x.dims()[dim];
    if x.numel() > 0 {
        let locked = Locked::read(&[x]);
        let from = &locked.slice::<T>(x)[x.layout().offset()..];
        let blocks = (CHUNK / block).max(1);
        parallel_pieces(out.slice_mut::<T>(), blocks * block, |i, out| {
            let mut from = &from[i * blocks * block..][..out.len()];
            let mut out = out;
            if inner == 1 {
                // Several lines in turn, so that no addition waits for the last.
                let whole = out.len() / (4 * block) * (4 * block);
                let (from_whole, from_rest) = from.split_at(whole);
                let (out_whole, out_rest) = out.split_at_mut(whole);
                let fours = from_whole.chunks_exact(4 * block);
                for (from, out) in fours.zip(out_whole.chunks_exact_mut(4 * block)) {
                    four_lines(op, from, out, block);
                }
                (from, out) = (from_rest, out_rest);
            }
            for (from, out) in from.chunks_exact(block).zip(out.chunks_exact_mut(block)) {
                lines(op, from, out, inner);
            }
        });
    }
    out.finish()
}

/// Runs along four lines of `len` elements each.
fn four_lines<T: Running>(op: ScanOp, from: &[T], out: &mut [T], len: usize) {
    let line = |r: usize| &from[r * len..][..len];
    let from = [line(0), line(1), line(2), line(3)];
    let (a, rest) = out.split_at_mut(len);
    let (b, rest) = rest.split_at_mut(len);
    let (c, d) = rest.split_at_mut(len);
    let mut acc = from.map(|line| line[0].start());
    (a[0], b[0], c[0], d[0]) = (from[0][0], from[1][0], from[2][0], from[3][0]);
    for j in 1..len {
        for (acc, line) in acc.iter_mut().zip(from) {
            *acc = T::step(*acc, line[j], op);
        }
        (a[j], b[j]) = (T::value(acc[0]), T::value(acc[1]));
        (c[j], d[j]) = (T::value(acc[2]), T::value(acc[3]));
    }
}

/// Runs along the lines of a block; `inner` of them lie side by side.
fn lines<T: Running>(op: ScanOp, from: &[T], out: &mut [T], inner: usize) {
    let mut acc: Vec<T::Acc> = from[..inner].iter().map(|x| x.start()).collect();
    out[..inner].copy_from_slice(&from[..inner]);
    for (from, out) in from.chunks_exact(inner).zip(out.chunks_exact_mut(inner)).skip(1) {
        for ((acc, &x), out) in acc.iter_mut().zip(from).zip(out) {
            *acc = T::step(*acc, x, op);
            *out = T::value(*acc);
        }
    }
}
