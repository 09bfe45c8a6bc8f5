//! Matrices to upper bidiagonal ones, by reflections from the left and from the right in turn. Golub, Van Loan, Matrix
//! Computations, 4th edition, section 5.4.8, with two passes over the matrix for each column: Howell, Demmel, Fulton,
//! Hammarling, Marmol 2008, "Cache efficient bidiagonalization using BLAS 2.5 operators".

use super::reflect::Reflections;
use super::vectors::{PAD, Real, dot, dot_of, get, padded, put, zeros};
use crate::kernels::simd::{Arch, Float, Work, dispatch};

/// `u · b · vᵀ`, with u and v as products of reflections: those of v act on what is one further on.
pub(super) struct Bidiagonal<T> {
    pub(super) diagonal: Vec<f64>,
    /// Element `i` is right of diagonal element `i`.
    pub(super) above: Vec<f64>,
    pub(super) u: Reflections<T>,
    pub(super) v: Reflections<T>,
}

/// Takes `m` padded rows of `n` elements apart, for m ≥ n.
pub(super) fn bidiagonal<T: Real>(a: &mut [T], m: usize, n: usize) -> Bidiagonal<T> {
    let stride = padded(n);
    let (mut left, mut right) = (Reflections::new(n, m), Reflections::new(n - 1, n));
    let (mut diagonal, mut above) = (vec![0.0; n], vec![0.0; n - 1]);
    // The last reflections, which the matrix is behind by: it should be less u · yᵀ + z · vᵀ.
    let (mut u, mut z) = (zeros::<T>(m), zeros::<T>(m));
    let (mut y, mut v) = (zeros::<T>(stride), zeros::<T>(stride));
    let mut product = zeros::<T>(stride);
    for k in 0..n {
        let column = left.vector(k);
        for i in k..m {
            let behind = u[i].to_f64() * y[k].to_f64() + z[i].to_f64() * v[k].to_f64();
            column[i] = T::from_f64(a[i * stride + k].to_f64() - behind);
        }
        let (beta, tau) = left.make(k, k);
        diagonal[k] = beta;
        if k + 1 == n {
            break;
        }
        let next = &*left.vector(k);
        product.fill(T::default());
        let rows = &mut a[k * stride..];
        let from = (k + 1) / PAD * PAD;
        let [u_left, z_left] = [&u, &z].map(|x| &x[k..]);
        let mut pass = Update {
            rows,
            stride,
            from,
            u: u_left,
            y: &y,
            z: z_left,
            v: &v,
            next: &next[k..m],
            product: &mut product,
        };
        dispatch(&mut pass);
        for (j, (y, p)) in y.iter_mut().zip(&product).enumerate() {
            *y = if j <= k { T::default() } else { T::from_f64(tau * p.to_f64()) };
        }
        u[k..].copy_from_slice(&next[k..m]);

        let row = right.vector(k);
        for j in k + 1..n {
            row[j] = T::from_f64(a[k * stride + j].to_f64() - y[j].to_f64());
        }
        let (beta, tau) = right.make(k, k + 1);
        above[k] = beta;
        v.copy_from_slice(right.vector(k));
        let by = dot(&y, &v);
        dispatch(Times { rows: &a[(k + 1) * stride..], stride, from, v: &v, to: &mut z[k + 1..] });
        for (z, u) in z[k + 1..].iter_mut().zip(&u[k + 1..]) {
            *z = T::from_f64(tau * (z.to_f64() - u.to_f64() * by));
        }
    }
    Bidiagonal { diagonal, above, u: left, v: right }
}

/// `rows −= u · yᵀ + z · vᵀ`, then `product = nextᵀ · rows`, from column `from` on.
struct Update<'a, T> {
    rows: &'a mut [T],
    stride: usize,
    from: usize,
    u: &'a [T],
    y: &'a [T],
    z: &'a [T],
    v: &'a [T],
    next: &'a [T],
    product: &'a mut [T],
}

impl<T: Real> Work for &mut Update<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let (y, v) = (&self.y[self.from..], &self.v[self.from..]);
        let product = &mut self.product[self.from..];
        let len = product.len();
        let (y, v) = (&y[..len], &v[..len]);
        let each = self.u.iter().zip(self.z).zip(self.next);
        for (row, ((&u, &z), &next)) in self.rows.chunks_exact_mut(self.stride).zip(each) {
            let row = &mut row[self.from..][..len];
            let [u, z] = [u, z].map(|x| T::V::<A>::splat(x).neg());
            let next = T::V::<A>::splat(next);
            for at in (0..len).step_by(T::LANES) {
                let x = z.mul_add(get(v, at), u.mul_add(get(y, at), get(row, at)));
                put(x, row, at);
                put(x.mul_add(next, get(product, at)), product, at);
            }
        }
    }
}

/// `to = rows · v`, from column `from` on.
struct Times<'a, T> {
    rows: &'a [T],
    stride: usize,
    from: usize,
    v: &'a [T],
    to: &'a mut [T],
}

impl<T: Real> Work for Times<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let v = &self.v[self.from..];
        for (row, to) in self.rows.chunks_exact(self.stride).zip(self.to) {
            *to = dot_of::<T::V<A>>(v, &row[self.from..]);
        }
    }
}
