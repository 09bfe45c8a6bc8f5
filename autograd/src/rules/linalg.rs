//! Factors of matrices. Where a rule divides by the differences of eigenvalues or singular values, equal ones give
//! infinities or NaN.

use kiln_tensor_core::{Backend, DType, Error, Factorization, Fused, Tensor, raise};
use smallvec::smallvec;

use super::{Context, Gradients, Rule, backward_name, name};

/// The rule of `factor`; saves the input of `Pinv`, then all results.
pub(crate) struct Factor(pub(crate) Factorization);

impl Rule for Factor {
    fn name(&self) -> String {
        backward_name(self.0.name())
    }

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let saved = cx.saved;
        let grad = |i: usize| grads.get(i).and_then(Option::as_ref);
        smallvec![match self.0 {
            Factorization::Cholesky => grad(0).map(|g| cholesky(g, &saved[0])),
            Factorization::Lu => grad(0).map(|g| lu(g, &saved[0], &saved[1])),
            Factorization::Qr { complete } => {
                if complete {
                    undetermined(&saved[0]);
                }
                qr([grad(0), grad(1)], &saved[0], &saved[1])
            }
            Factorization::Eigh => eigh([grad(0), grad(1)], &saved[0], &saved[1]),
            Factorization::Svd => svd([grad(0), grad(1), grad(2)], saved),
            Factorization::Pinv { .. } => grad(0).map(|g| pinv(g, &saved[0], &saved[1])),
        }]
    }
}

fn undetermined<T: Backend>(q: &Tensor<T>) {
    raise(Error::Autograd {
        op: backward_name("qr"),
        why: format!(
            "the complete form of more rows than columns has no derivative: not all columns of q {} \
             are determined; use the reduced form",
            q.shape()
        ),
    })
}

/// The rule of `solve_triangular`; saves the matrix and the solution.
pub(crate) struct SolveTriangular {
    pub(crate) upper: bool,
    pub(crate) unit: bool,
}

impl Rule for SolveTriangular {
    name!("solve_triangular");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let (a, x) = (&cx.saved[0], &cx.saved[1]);
        let b = T::solve_triangular(&t(a), super::only(grads), !self.upper, self.unit);
        let a = cx.when(0, || {
            let all = -b.matmul(&t(x));
            let off = isize::from(self.unit);
            if self.upper { all.triu(off) } else { all.tril(-off) }
        });
        smallvec![a, Some(b)]
    }
}

fn t<T: Backend>(x: &Tensor<T>) -> Tensor<T> {
    x.transpose(-2, -1)
}

/// Where the diagonals of square matrices are.
fn diagonal<T: Backend>(like: &Tensor<T>) -> Tensor<T> {
    Tensor::eye(like.size(-1), (like.device(), DType::Bool))
}

/// `a⁻ᵀ · x` and `x · a⁻ᵀ` for triangular a.
fn solve_left<T: Backend>(a: &Tensor<T>, x: &Tensor<T>, upper: bool, unit: bool) -> Tensor<T> {
    T::solve_triangular(&t(a), x, !upper, unit)
}

fn solve_right<T: Backend>(a: &Tensor<T>, x: &Tensor<T>, upper: bool) -> Tensor<T> {
    t(&T::solve_triangular(a, &t(x), upper, false))
}

/// Murray 2016: `l⁻ᵀ · Φ(lᵀ · g) · l⁻¹`, where Φ is the lower triangle with half of its diagonal; made symmetric.
fn cholesky<T: Backend>(grad: &Tensor<T>, l: &Tensor<T>) -> Tensor<T> {
    static HALVE: Fused<2> = Fused::new("halve_diagonal", |[x, on]| on.select(x * 0.5, x));
    let product = t(l).matmul(grad).tril(0);
    let phi = HALVE.call([&product, &diagonal(l)]);
    let left = solve_left(l, &phi, false, false);
    let grad = t(&T::solve_triangular(&t(l), &t(&left), true, false));
    (&grad + t(&grad)) * 0.5
}

/// Walter and Lehmann 2010, "Algorithmic differentiation of linear algebra functions": with the gradients of the two
/// triangles, `pᵀ · l⁻ᵀ · (tril(lᵀ · gₗ, −1) + triu(gᵤ · uᵀ)) · u⁻ᵀ`. A zero on the diagonal of u counts as very little:
/// so the derivative of the determinant is right at rank n − 1, too.
fn lu<T: Backend>(grad: &Tensor<T>, lu: &Tensor<T>, order: &Tensor<T>) -> Tensor<T> {
    static NUDGE: Fused<2> =
        Fused::new("nudge", |[x, on]| (on & x.eq(0.0)).select(x.lit(f64::from(f32::EPSILON)), x));
    static ONES: Fused<2> = Fused::new("unit_diagonal", |[x, on]| on.select(x.lit(1.0), x));
    let on = diagonal(lu);
    let safe = NUDGE.call([lu, &on]);
    let (l, u) = (ONES.call([&lu.tril(0), &on]), safe.triu(0));
    // A triangle of either product reads that triangle of the gradient only.
    let (lower, upper) = (t(&l).matmul(grad).tril(-1), grad.matmul(&t(&u)).triu(0));
    let rows = solve_right(&safe, &solve_left(&safe, &(lower + upper), false, true), true);
    // Row i of the product is row order[i] of the input.
    let order = order.unsqueeze(-1).expand(rows.shape());
    rows.zeros_like().scatter(-2, &order, &rows)
}

/// Walter and Lehmann 2018: with m = triu(r · gᵣᵀ − gqᵀ · q) made symmetric by its upper part,
/// `(gq + q · m) · r⁻ᵀ`.
fn qr<T: Backend>(
    [gq, gr]: [Option<&Tensor<T>>; 2],
    q: &Tensor<T>,
    r: &Tensor<T>,
) -> Option<Tensor<T>> {
    static HALVE: Fused<2> = Fused::new("halve_diagonal", |[x, on]| on.select(x * 0.5, x));
    let product = match (gr.map(|g| g.matmul(&t(r))), gq.map(|g| t(q).matmul(g))) {
        (Some(r), Some(q)) => r - q,
        (Some(r), None) => r,
        (None, Some(q)) => -q,
        (None, None) => return None,
    };
    let upper = HALVE.call([&product.triu(0), &diagonal(r)]);
    let inside = q.matmul(&(&upper + t(&upper)));
    let inside = match gq {
        Some(gq) => gq + inside,
        None => inside,
    };
    Some(solve_right(r, &inside, true))
}

/// 1 / (yⱼ − yᵢ), and 0 on the diagonal.
fn gaps<T: Backend>(y: &Tensor<T>) -> Tensor<T> {
    static GAP: Fused<3> = Fused::new("gap", |[left, right, on]| {
        let gap = on.select(left.lit(1.0), right - left);
        on.select(left.lit(0.0), gap.recip())
    });
    let on = Tensor::eye(y.size(-1), (y.device(), DType::Bool));
    GAP.call([&y.unsqueeze(-1), &y.unsqueeze(-2), &on])
}

/// Giles 2008: `v · (diag(gλ) + (vᵀ · gv) ∘ f) · vᵀ` with f the reciprocals of the gaps between eigenvalues.
fn eigh<T: Backend>(
    [gw, gv]: [Option<&Tensor<T>>; 2],
    w: &Tensor<T>,
    v: &Tensor<T>,
) -> Option<Tensor<T>> {
    let values = gw.map(|g| (v * g.unsqueeze(-2)).matmul(&t(v)));
    let vectors = gv.map(|g| v.matmul(&(t(v).matmul(g) * gaps(w))).matmul(&t(v)));
    match (values, vectors) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

/// Giles 2008, and Townsend 2016, "Differentiating the singular value decomposition": with f the reciprocals of the gaps
/// between squares of singular values and skew(x) = x − xᵀ,
/// `u · (diag(gₛ) + (skew(uᵀ · gᵤ) ∘ f) · s + s · (skew(vᵀ · gᵥ) ∘ f)) · vᵀ`, and what lies outside of u and v:
/// `(1 − u · uᵀ) · gᵤ · s⁻¹ · vᵀ + u · s⁻¹ · gᵥᵀ · (1 − v · vᵀ)`.
fn svd<T: Backend>(
    [gu, gs, gvh]: [Option<&Tensor<T>>; 3],
    saved: &[Tensor<T>],
) -> Option<Tensor<T>> {
    let (u, s, vh) = (&saved[0], &saved[1], &saved[2]);
    let [row, column] = [s.unsqueeze(-2), s.unsqueeze(-1)];
    let skew = |x: Tensor<T>| &x - t(&x);
    let f = (gu.is_some() || gvh.is_some()).then(|| gaps(&s.square()));
    let f = || f.as_ref().expect("there are gradients of vectors");
    let mut sum: Option<Tensor<T>> = None;
    let mut add =
        |term: Tensor<T>| sum = Some(sum.take().map_or_else(|| term.clone(), |sum| sum + &term));
    if let Some(gs) = gs {
        add((u * gs.unsqueeze(-2)).matmul(vh));
    }
    if let Some(gu) = gu {
        let inside = t(u).matmul(gu);
        add(u.matmul(&(skew(inside.clone()) * f() * &row)).matmul(vh));
        if u.size(-2) != u.size(-1) {
            add(((gu - u.matmul(&inside)) / &row).matmul(vh));
        }
    }
    if let Some(gvh) = gvh {
        let inside = vh.matmul(&t(gvh));
        add(u.matmul(&(skew(inside.clone()) * f() * &column)).matmul(vh));
        if vh.size(-1) != vh.size(-2) {
            add(u.matmul(&((gvh - t(&inside).matmul(vh)) / &column)));
        }
    }
    sum
}

/// Golub and Pereyra 1973:
/// `−pᵀ · g · pᵀ + (1 − a · p) · gᵀ · p · pᵀ + pᵀ · p · gᵀ · (1 − p · a)`.
fn pinv<T: Backend>(grad: &Tensor<T>, a: &Tensor<T>, p: &Tensor<T>) -> Tensor<T> {
    let (pt, gt) = (t(p), t(grad));
    let right = gt.matmul(p).matmul(&pt);
    let left = pt.matmul(p).matmul(&gt);
    let rows = &right - a.matmul(&p.matmul(&right));
    let columns = &left - left.matmul(p).matmul(a);
    rows + columns - pt.matmul(grad).matmul(&pt)
}
