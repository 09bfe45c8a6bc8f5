//! Eigenvalues and singular values by rotations of Jacobi, n / 2 pairs of columns at once: in each round of a
//! tournament every column meets another one, after n − 1 rounds it has met all. Golub, Van Loan, Matrix
//! Computations, 4th edition, sections 8.5 and 8.6.3.

use super::linalg::{eyes, qr, scaled, shaped, sizes, zeros};
use crate::{Backend, DType, Fused, FusedMany, FusedWith, Kernel, ReduceOp, Tensor, Val};

/// Rotations converge after about log₂ n + 6 sweeps; what needs more is not a number.
const SWEEPS: usize = 40;

/// The distance of 1 to the next number.
fn epsilon(dtype: DType) -> f64 {
    if dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) }
}

/// Who plays against whom: an even number of columns, of which the first half meets the second half after each
/// move of all but the first. Indices for the move.
fn tournament<B: Backend>(m: usize, keep: usize, device: &B::Device) -> Tensor<B> {
    let half = m / 2;
    let first = std::iter::once(0).chain((half > 1).then_some(half)).chain(1..half.max(1) - 1);
    let second = (half + 1..m).chain([half - 1]);
    let second = if half > 1 { second.collect() } else { vec![1] };
    let order: Vec<i64> =
        first.chain(second).chain(m..m + keep).map(|place| place as i64).collect();
    Tensor::from_slice(&order, order.len(), device)
}

/// Sine and cosine that make the off-diagonal element of [[p, off], [off, q]] vanish, by the smaller angle.
fn rotation<'b>(p: Val<'b>, q: Val<'b>, off: Val<'b>, idle: Val<'b>) -> [Val<'b>; 2] {
    let tau = (q - p) / (off * 2.0);
    let t =
        tau.lt(0.0).select(tau.lit(-1.0), tau.lit(1.0)) / (tau.abs() + (tau.square() + 1.0).sqrt());
    let t = idle.select(t.lit(0.0), t);
    let c = (t.square() + 1.0).rsqrt();
    [c, t * c]
}

/// Rotates pairs of rows or columns in place.
fn turn<B: Backend>([left, right]: [&Tensor<B>; 2], [c, s]: [&Tensor<B>; 2]) {
    static TURN: FusedMany<4, 2> =
        FusedMany::new("turn", |[a, b, c, s]| [a * c - b * s, a * s + b * c]);
    let expr = TURN.program([left.dtype(); 4]);
    B::map_into(Kernel::new(&expr), &[left, right, c, s], &[left, right]);
}

fn halves<B: Backend>(x: &Tensor<B>, dim: isize, half: usize) -> [Tensor<B>; 2] {
    [x.narrow(dim, 0, half), x.narrow(dim, half, half)]
}

/// The largest elements of each row of `w`, in order, and the columns of `v` with them.
fn ordered<B: Backend>(
    w: &Tensor<B>,
    v: &[Tensor<B>],
    descending: bool,
) -> (Tensor<B>, Vec<Tensor<B>>) {
    let (w, at) = B::sort(w, w.rank() - 1, descending);
    let columns = |v: &Tensor<B>| B::gather(v, v.rank() - 1, &at.unsqueeze(-2).expand(v.shape()));
    (w, v.iter().map(columns).collect())
}

/// Eigenvalues in ascending order and their vectors: both sides of the matrix are rotated until it is diagonal.
pub(super) fn eigh<B: Backend>(x: &Tensor<B>) -> [Tensor<B>; 2] {
    static ROTATE: FusedMany<3, 2> =
        FusedMany::new("eigh_rotate", |[p, q, off]| rotation(p, q, off, off.eq(0.0)));
    // Whether an element off the diagonal is more than what rounding leaves of it, or not a number to compare.
    static LEFT: FusedWith<3, 1> = FusedWith::new("eigh_left", |[x, on, most], [tolerance]| {
        !on & !(x.abs().le(most * tolerance) & most.lt(f64::INFINITY))
    });
    static ABS: Fused<1> = Fused::new("abs", |[x]| x.abs());
    let [n, _] = sizes(x);
    if x.numel() == 0 || n == 1 {
        return [x.diagonal(0, -2, -1).copy(), eyes(x, [n, n])];
    }
    // A column without an opponent plays against one of zeros.
    let m = n + n % 2;
    let half = m / 2;
    // The matrix, and below it the vectors.
    let mut w = zeros(x, &[2 * m, m]);
    let lower = x.tril(0);
    let corner = |w: &Tensor<B>| w.narrow(-2, 0, n).narrow(-1, 0, n);
    corner(&w).copy_(&(&lower + lower.tril(-1).transpose(-2, -1)));
    w.narrow(-2, m, m).copy_(&eyes(x, [m, m]));
    let on = Tensor::<B>::eye(m, (x.device(), DType::Bool));
    let (columns, rows) = (tournament::<B>(m, 0, x.device()), tournament::<B>(m, m, x.device()));
    let every: Vec<usize> = (0..x.rank()).collect();
    let mut converged = false;
    for _ in 0..SWEEPS {
        let top = w.narrow(-2, 0, m);
        let most = ABS.reduce(ReduceOp::Max, [&top], &every[every.len() - 2..]);
        let tolerance = 8.0 * epsilon(x.dtype());
        if LEFT.reduce(ReduceOp::Any, [&top, &on, &most], [tolerance], &every).item() == 0.0 {
            converged = true;
            break;
        }
        for _ in 0..m - 1 {
            w = B::index_select(&w, x.rank() - 1, &columns);
            w = B::index_select(&w, x.rank() - 2, &rows);
            let top = w.narrow(-2, 0, m);
            let [upper, lower] = halves(&top, -2, half);
            let of = |x: &Tensor<B>, from| x.narrow(-1, from, half).diagonal(0, -2, -1);
            let [c, s] = ROTATE.call([&of(&upper, 0), &of(&lower, half), &of(&upper, half)]);
            let [left, right] = halves(&w, -1, half);
            turn([&left, &right], [&c.unsqueeze(-2), &s.unsqueeze(-2)]);
            turn([&upper, &lower], [&c.unsqueeze(-1), &s.unsqueeze(-1)]);
        }
    }
    let mut values = corner(&w).diagonal(0, -2, -1).contiguous();
    if !converged {
        values = values.full_like(f64::NAN);
    }
    let vectors = w.narrow(-2, m, n).narrow(-1, 0, n);
    let (values, mut vectors) = ordered(&values, &[vectors], false);
    [values, vectors.remove(0)]
}

/// Singular values in descending order and their vectors: columns are rotated until they are orthogonal.
pub(super) fn svd<B: Backend>(x: &Tensor<B>) -> [Tensor<B>; 3] {
    let [m, n] = sizes(x);
    let k = m.min(n);
    if x.numel() == 0 {
        return [eyes(x, [m, k]), zeros(x, &[k]), eyes(x, [k, n])];
    }
    if m < n {
        let [u, s, vh] = svd(&x.transpose(-2, -1));
        return [vh.transpose(-2, -1).contiguous(), s, u.transpose(-2, -1).contiguous()];
    }
    let (x, scale) = scaled(x);
    // Of a tall matrix, those of r are the same.
    let (q, square) = if m > n {
        let [q, r] = qr(&x, false);
        (Some(q), r)
    } else {
        (None, x.clone())
    };
    let (rotated, v) = orthogonalized(&square);
    static SQUARE: Fused<1> = Fused::new("square", |[x]| x.square());
    let norms = SQUARE.reduce(ReduceOp::Sum, [&rotated], &[x.rank() - 2]).sqrt().squeeze(-2);
    let (s, columns) = ordered(&norms, &[rotated, v], true);
    // Normed columns would not be orthogonal where a singular value is next to nothing. Reflections are, and leave
    // the columns where they are, but for signs.
    static SIGN: Fused<2> = Fused::new("sign", |[x, r]| r.lt(0.0).select(-x, x));
    let [u, r] = qr(&columns[0], false);
    let u = SIGN.call([&u, &r.diagonal(0, -2, -1).unsqueeze(-2)]);
    let u = q.map_or_else(|| u.clone(), |q| q.matmul(&u));
    let s = (s.unsqueeze(-2) * scale).squeeze(-2);
    [u, s, columns[1].transpose(-2, -1).contiguous()]
}

/// Square matrices times rotations, so that their columns are orthogonal, and the rotations.
fn orthogonalized<B: Backend>(x: &Tensor<B>) -> (Tensor<B>, Tensor<B>) {
    static MUL: Fused<2> = Fused::new("mul", |[a, b]| a * b);
    static ABS: Fused<1> = Fused::new("abs", |[x]| x.abs());
    // Also the largest cosine of two columns so far. Columns of nothing but rounding errors count as orthogonal to all.
    static ROTATE: FusedMany<5, 3> = FusedMany::new("svd_rotate", |[p, q, off, floor, worst]| {
        let idle = off.eq(0.0) | p.le(floor) | q.le(floor);
        let [c, s] = rotation(p, q, off, idle);
        let cosine = idle.select(off.lit(0.0), off.abs() / (p.sqrt() * q.sqrt()));
        [c, s, worst.max(cosine)]
    });
    let [n, _] = sizes(x);
    if n == 1 {
        return (x.clone(), eyes(x, [1, 1]));
    }
    let m = n + n % 2;
    let half = m / 2;
    let mut w = zeros(x, &[n + m, m]);
    w.narrow(-2, 0, n).narrow(-1, 0, n).copy_(x);
    w.narrow(-2, n, m).copy_(&eyes(x, [m, m]));
    let dims = [x.rank() - 2, x.rank() - 1];
    let epsilon = epsilon(x.dtype());
    let floor = (ABS.reduce(ReduceOp::Max, [x], &dims) * epsilon).square();
    let order = tournament::<B>(m, 0, x.device());
    let mut converged = false;
    for _ in 0..SWEEPS {
        let mut worst = Tensor::zeros(shaped(x, &[1, half]), (x.device(), x.dtype()));
        for _ in 0..m - 1 {
            w = B::index_select(&w, dims[1], &order);
            let [left, right] = halves(&w, -1, half);
            let [a, b] = [&left, &right].map(|side| side.narrow(-2, 0, n));
            let dot = |a, b| MUL.reduce(ReduceOp::Sum, [a, b], &dims[..1]);
            let [c, s, next] =
                ROTATE.call([&dot(&a, &a), &dot(&b, &b), &dot(&a, &b), &floor, &worst]);
            worst = next;
            turn([&left, &right], [&c, &s]);
        }
        if worst.gt(epsilon * n.max(8) as f64).any().item() == 0.0 {
            converged = true;
            break;
        }
    }
    if !converged {
        w = w.full_like(f64::NAN);
    }
    (w.narrow(-2, 0, n).narrow(-1, 0, n), w.narrow(-2, n, n).narrow(-1, 0, n))
}
