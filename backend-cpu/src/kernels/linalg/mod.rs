//! Factors of matrices and triangular systems: each matrix of a batch by one thread, a single one's products by all. The
//! same bits for any number of threads.

mod bidiagonal;
mod cholesky;
mod eigh;
mod golub_kahan;
mod lu;
mod product;
mod qr;
mod reflect;
mod rotate;
mod svd;
#[cfg(test)]
mod tests;
mod triangular;
mod tridiagonal;
mod vectors;

use kiln_tensor_core::{DType, Factorization, Outputs, Shape, Tensor, compose};
use smallvec::SmallVec;
use vectors::Real;

use crate::Cpu;
use crate::storage::{Fresh, Locked};
use crate::threads::parallel_pieces;

/// Matrices of a batch that one thread takes at once have about so many elements, times their smaller size.
const GRAIN: usize = 1 << 13;

/// One matrix of a batch, and where its factors go.
struct Parts<'a, T> {
    x: &'a [T],
    /// Rows and columns.
    size: [usize; 2],
    factors: SmallVec<[&'a mut [T]; 3]>,
    /// The order of rows, of LU alone.
    order: &'a mut [i64],
}

/// See `Backend::factor`. What does not converge, or cannot as it is not finite, is NaN.
pub(crate) fn factor(x: &Tensor<Cpu>, kind: Factorization) -> Outputs<Cpu> {
    match (x.dtype(), kind) {
        (_, Factorization::Pinv { .. }) => compose::factor(x, kind),
        _ if x.numel() == 0 => compose::factor(x, kind),
        (DType::F64, _) => batched::<f64>(x, kind),
        _ => batched::<f32>(x, kind),
    }
}

/// See `Backend::solve_triangular`.
pub(crate) fn solve_triangular(
    a: &Tensor<Cpu>,
    b: &Tensor<Cpu>,
    upper: bool,
    unit: bool,
) -> Tensor<Cpu> {
    match b.dtype() {
        _ if b.numel() == 0 => b.copy(),
        DType::F64 => systems::<f64>(a, b, upper, unit),
        _ => systems::<f32>(a, b, upper, unit),
    }
}

fn batched<T: Real>(x: &Tensor<Cpu>, kind: Factorization) -> Outputs<Cpu> {
    let x = x.contiguous();
    let [m, n] = [x.size(-2), x.size(-1)];
    let lead = &x.dims()[..x.rank() - 2];
    let shaped = |last: &[usize]| -> Shape { lead.iter().chain(last).copied().collect() };
    let sizes = sizes(kind, m, n);
    let mut outputs: SmallVec<[Fresh; 3]> =
        sizes.iter().map(|size| Fresh::new(&shaped(size), x.dtype())).collect();
    let mut order = (kind == Factorization::Lu).then(|| Fresh::new(&shaped(&[n]), DType::I64));
    {
        let locked = Locked::read(&[&x]);
        let elements = &locked.slice::<T>(&x)[x.layout().offset()..][..x.numel()];
        let matrices = elements.chunks_exact(m * n);
        let mut all: Vec<Parts<'_, T>> = matrices
            .map(|x| Parts { x, size: [m, n], factors: SmallVec::new(), order: &mut [] })
            .collect();
        for (output, size) in outputs.iter_mut().zip(&sizes) {
            let parts = output.slice_mut::<T>().chunks_exact_mut(size.iter().product());
            all.iter_mut().zip(parts).for_each(|(all, part)| all.factors.push(part));
        }
        if let Some(order) = &mut order {
            let parts = order.slice_mut::<i64>().chunks_exact_mut(n);
            all.iter_mut().zip(parts).for_each(|(all, part)| all.order = part);
        }
        parallel_pieces(&mut all, GRAIN / (m * n * m.min(n)), |_, all| {
            all.iter_mut().for_each(|parts| {
                if take_apart(parts, kind).is_none() {
                    parts.factors.iter_mut().for_each(|factor| factor.fill(T::from_f64(f64::NAN)));
                }
            });
        });
    }
    outputs.into_iter().chain(order).map(Fresh::finish).collect()
}

/// Writes the factors; `None` if they cannot be found.
fn take_apart<T: Real>(parts: &mut Parts<'_, T>, kind: Factorization) -> Option<()> {
    let (x, size) = (parts.x, parts.size);
    match (kind, &mut parts.factors[..]) {
        (Factorization::Cholesky, [l]) => {
            l.copy_from_slice(x);
            cholesky::cholesky(l, size[0]);
        }
        (Factorization::Lu, [lu]) => {
            lu.copy_from_slice(x);
            lu::lu(lu, size[0], parts.order);
        }
        (Factorization::Qr { .. }, [q, r]) => qr::qr(x, size, vectors::scale(x)?, q, r),
        (Factorization::Eigh, [values, v]) => {
            eigh::eigh(x, size[0], vectors::scale(x)?, values, v)?;
        }
        (Factorization::Svd, [u, s, vh]) => svd::svd(x, size, vectors::scale(x)?, u, s, vh)?,
        _ => unreachable!("composed of Svd, or another number of factors"),
    }
    Some(())
}

/// The sizes of each factor of elements.
fn sizes(kind: Factorization, m: usize, n: usize) -> SmallVec<[SmallVec<[usize; 2]>; 3]> {
    let k = m.min(n);
    let sizes: &[&[usize]] = match kind {
        Factorization::Cholesky | Factorization::Lu => &[&[n, n]],
        Factorization::Qr { complete: true } => &[&[m, m], &[m, n]],
        Factorization::Qr { complete: false } => &[&[m, n], &[n, n]],
        Factorization::Eigh => &[&[n], &[n, n]],
        Factorization::Svd => &[&[m, k], &[k], &[k, n]],
        Factorization::Pinv { .. } => unreachable!("composed of Svd"),
    };
    sizes.iter().map(|&size| size.into()).collect()
}

fn systems<T: Real>(a: &Tensor<Cpu>, b: &Tensor<Cpu>, upper: bool, unit: bool) -> Tensor<Cpu> {
    let (a, b) = (a.contiguous(), b.contiguous());
    let [n, k] = [b.size(-2), b.size(-1)];
    let mut out = Fresh::new(b.shape(), b.dtype());
    {
        let locked = Locked::read(&[&a, &b]);
        let left = &locked.slice::<T>(&a)[a.layout().offset()..];
        let x = out.slice_mut::<T>();
        x.copy_from_slice(&locked.slice::<T>(&b)[b.layout().offset()..][..b.numel()]);
        let per = (GRAIN / (n * n * k)).max(1);
        parallel_pieces(x, per * n * k, |piece, x| {
            let left = left[piece * per * n * n..].chunks_exact(n * n);
            x.chunks_exact_mut(n * k)
                .zip(left)
                .for_each(|(x, a)| triangular::solve(a, n, upper, unit, x));
        });
    }
    out.finish()
}
