//! Named products of vectors, matrices and batches, and general contractions.

use super::pointwise::broadcast;
use crate::autocast::cast;
use crate::{Backend, Error, Shape, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// The product of two matrices.
    ///
    /// # Panics
    /// If an operand is not a matrix, or sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn mm(&self, other: &Self) -> Self {
        self.ranks("mm", [2, 2], other);
        self.matmul(other).named("mm", &[self, other])
    }

    /// The products of two batches of matrices, `[b, m, k] × [b, k, n]`.
    ///
    /// # Panics
    /// If an operand is not a batch of matrices, or sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn bmm(&self, other: &Self) -> Self {
        self.ranks("bmm", [3, 3], other);
        if self.dims()[0] != other.dims()[0] {
            self.unfit("bmm", other, "the batch sizes differ; `matmul` broadcasts them");
        }
        self.matmul(other).named("bmm", &[self, other])
    }

    /// The product of a matrix and a vector.
    ///
    /// # Panics
    /// If the operands are not a matrix and a vector, or sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn mv(&self, vector: &Self) -> Self {
        self.ranks("mv", [2, 1], vector);
        self.matmul(vector).named("mv", &[self, vector])
    }

    /// The inner product of two vectors, 0-d.
    ///
    /// # Panics
    /// If an operand is not a vector, or sizes, dtypes or devices differ.
    #[track_caller]
    pub fn dot(&self, other: &Self) -> Self {
        if let Some((_inside, [a, b])) = cast("dot", [self, other]) {
            return a.dot(&b);
        }
        self.ranks("dot", [1, 1], other);
        self.matmul(other).named("dot", &[self, other])
    }

    /// The outer product of two vectors, `out[i, j] = self[i] · other[j]`.
    ///
    /// # Panics
    /// If an operand is not a vector, or devices differ.
    #[track_caller]
    pub fn outer(&self, other: &Self) -> Self {
        self.ranks("outer", [1, 1], other);
        (self.unsqueeze(1) * other).named("outer", &[self, other])
    }

    /// Another name of [`Tensor::outer`].
    ///
    /// # Panics
    /// As that does.
    #[track_caller]
    pub fn ger(&self, other: &Self) -> Self {
        self.outer(other)
    }

    /// `beta · self + alpha · a × b` for matrices `a` and `b`; `self` broadcasts. Where `beta` is 0, what is in
    /// `self` does not count, NaN included.
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn addmm(&self, a: &Self, b: &Self, beta: f64, alpha: f64) -> Self {
        if let Some((_inside, [x, a, b])) = cast("addmm", [self, a, b]) {
            return x.addmm(&a, &b, beta, alpha);
        }
        added("addmm", self, beta, scaled(a.mm(b), alpha)).named("addmm", &[self, a, b])
    }

    /// `beta · self + alpha · a × b` for batches of matrices `a` and `b`; `self` broadcasts. Where `beta` is 0,
    /// what is in `self` does not count, NaN included.
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn baddbmm(&self, a: &Self, b: &Self, beta: f64, alpha: f64) -> Self {
        if let Some((_inside, [x, a, b])) = cast("baddbmm", [self, a, b]) {
            return x.baddbmm(&a, &b, beta, alpha);
        }
        added("baddbmm", self, beta, scaled(a.bmm(b), alpha)).named("baddbmm", &[self, a, b])
    }

    /// [`Tensor::addmm`], in place.
    ///
    /// # Panics
    /// As that does; also if the result is larger than `self`, or elements of this view share memory.
    #[track_caller]
    pub fn addmm_(&self, a: &Self, b: &Self, beta: f64, alpha: f64) -> Self {
        self.copy_(&self.addmm(a, b, beta, alpha))
    }

    /// [`Tensor::baddbmm`], in place.
    ///
    /// # Panics
    /// As that does; also if the result is larger than `self`, or elements of this view share memory.
    #[track_caller]
    pub fn baddbmm_(&self, a: &Self, b: &Self, beta: f64, alpha: f64) -> Self {
        self.copy_(&self.baddbmm(a, b, beta, alpha))
    }

    /// Sums products over pairs of dimensions, `dims[0][i]` of `self` with `dims[1][i]` of `other`;
    /// the remaining dims of both follow each other. `torch.tensordot`.
    ///
    /// # Panics
    /// If the pairs' sizes differ, a dim is out of range or named twice, or dtypes or devices differ.
    #[track_caller]
    pub fn tensordot(&self, other: &Self, dims: [&[isize]; 2]) -> Self {
        if let Some((_inside, [a, b])) = cast("tensordot", [self, other]) {
            return a.tensordot(&b, dims);
        }
        let op = "tensordot";
        let ours: Vec<usize> = self.positions_of(op, dims[0]);
        let theirs: Vec<usize> = other.positions_of(op, dims[1]);
        let distinct =
            |dims: &[usize]| dims.iter().all(|d| dims.iter().filter(|e| *e == d).count() == 1);
        let sizes = |x: &Self, dims: &[usize]| dims.iter().map(|&d| x.dims()[d]).collect::<Shape>();
        let summed = sizes(self, &ours);
        if !distinct(&ours) || !distinct(&theirs) || summed != sizes(other, &theirs) {
            self.unfit(op, other, "the dims must be distinct pairs of equal sizes");
        }
        let rest = |x: &Self, dims: &[usize]| -> Vec<usize> {
            (0..x.rank()).filter(|d| !dims.contains(d)).collect()
        };
        let (kept, their_kept) = (rest(self, &ours), rest(other, &theirs));
        let order = |a: &[usize], b: &[usize]| -> Vec<isize> {
            a.iter().chain(b).map(|&d| d as isize).collect()
        };
        let a = self.permute(order(&kept, &ours));
        let b = other.permute(order(&theirs, &their_kept));
        let (rows, cols) = (sizes(self, &kept), sizes(other, &their_kept));
        let k = summed.numel();
        let a = a.reshape_to(&[rows.numel(), k].into());
        let b = b.reshape_to(&[k, cols.numel()].into());
        let shape: Shape = rows.iter().chain(cols.iter()).copied().collect();
        a.matmul(&b).reshape_to(&shape)
    }

    #[track_caller]
    fn ranks(&self, op: &'static str, ranks: [usize; 2], other: &Self) {
        if [self.rank(), other.rank()] != ranks {
            let why =
                format!("operands of ranks {} and {} are wanted; see `matmul`", ranks[0], ranks[1]);
            self.unfit(op, other, &why);
        }
    }

    #[track_caller]
    #[cold]
    fn unfit(&self, op: &'static str, other: &Self, why: &str) -> ! {
        let shapes = vec![self.shape().clone(), other.shape().clone()];
        raise(Error::Shape { op, shapes, why: why.into() })
    }
}

fn scaled<B: Backend>(x: Tensor<B>, by: f64) -> Tensor<B> {
    if by == 1.0 { x } else { x * by }
}

/// `beta · x + product`.
#[track_caller]
fn added<B: Backend>(op: &'static str, x: &Tensor<B>, beta: f64, product: Tensor<B>) -> Tensor<B> {
    if beta == 0.0 && broadcast(op, x, &product) == *product.shape() {
        return product;
    }
    product + scaled(x.clone(), beta)
}
