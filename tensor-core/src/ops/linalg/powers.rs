//! Products of many matrices, powers and the exponential.

use super::{identity, inv, square, wrong};
use crate::{Backend, Error, Tensor, raise};

/// The `n`-th power of square matrices, by squaring; a negative one is that of the inverse, the 0th is ones on the diagonal:
/// `torch.linalg.matrix_power`.
///
/// # Panics
/// If the matrices are not square, or not `f32` or `f64`; with [`Error::Singular`] if n is negative and one has no inverse.
#[track_caller]
pub fn matrix_power<B: Backend>(a: &Tensor<B>, n: i64) -> Tensor<B> {
    square("matrix_power", a);
    let (mut base, mut left) = (if n < 0 { inv(a) } else { a.clone() }, n.unsigned_abs());
    let mut power: Option<Tensor<B>> = None;
    while left > 0 {
        if left % 2 == 1 {
            power = Some(power.map_or_else(|| base.clone(), |power| power.matmul(&base)));
        }
        left /= 2;
        if left > 0 {
            base = base.matmul(&base);
        }
    }
    power.unwrap_or_else(|| identity(a).copy())
}

/// The exponential of square matrices, Σ aⁱ / i!: `torch.linalg.matrix_exp`. The series up to degree 19 of the matrix halved
/// until its columns sum to 1 at most, then squared as often. Waits for the device, to know how often.
///
/// # Panics
/// If the matrices are not square, or not `f32` or `f64`.
#[track_caller]
pub fn matrix_exp<B: Backend>(a: &Tensor<B>) -> Tensor<B> {
    square("matrix_exp", a);
    if a.numel() == 0 {
        return a.copy();
    }
    let size = a.detach().norm_dims(1.0, [-2], false).max().item();
    let halvings = if size.is_finite() { size.log2().ceil().max(0.0) } else { 0.0 };
    let a = a * (-halvings).exp2();
    // Paterson and Stockmeyer 1973: blocks of four terms, in powers of a⁴.
    let square = a.matmul(&a);
    let cube = square.matmul(&a);
    let fourth = square.matmul(&square);
    let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
    let block = |at: u32| {
        let of = |i: u32| factorial(4 * at + i).recip();
        identity(&a) * of(0) + &a * of(1) + &square * of(2) + &cube * of(3)
    };
    let series = (0..4).rev().fold(block(4), |sum, at| sum.matmul(&fourth) + block(at));
    (0..halvings as u32).fold(series, |x, _| x.matmul(&x))
}

/// The product of two or more matrices in the order that takes the fewest multiplications; the first and the last may be
/// vectors: `torch.linalg.multi_dot`.
///
/// # Panics
/// If there are fewer than two, one between the ends is not a matrix, or sizes, dtypes or devices do not fit.
#[track_caller]
pub fn multi_dot<B: Backend, T: std::borrow::Borrow<Tensor<B>>>(tensors: &[T]) -> Tensor<B> {
    let [first, middle @ .., last] = tensors else {
        raise(Error::Argument { op: "multi_dot", why: "two or more tensors are wanted".into() })
    };
    let (first, last): (&Tensor<B>, &Tensor<B>) = (first.borrow(), last.borrow());
    let mut chain = vec![if first.rank() == 1 { first.unsqueeze(0) } else { first.clone() }];
    chain.extend(middle.iter().map(|x| x.borrow().clone()));
    chain.push(if last.rank() == 1 { last.unsqueeze(1) } else { last.clone() });
    for x in &chain {
        if x.rank() != 2 {
            wrong("multi_dot", &[x], "matrices are wanted, and vectors at the ends");
        }
    }
    let mut sizes = vec![chain[0].dims()[0]];
    sizes.extend(chain.iter().map(|x| x.dims()[1]));
    let best = cheapest(&sizes);
    let product = multiplied(&chain, &best, 0, chain.len() - 1);
    let product = if first.rank() == 1 { product.squeeze(0) } else { product };
    if last.rank() == 1 { product.squeeze(-1) } else { product }
}

/// Where to cut the chain from matrix `i` to matrix `j`, so that the fewest numbers are multiplied.
fn cheapest(sizes: &[usize]) -> Vec<Vec<usize>> {
    let n = sizes.len() - 1;
    let (mut cost, mut cut) = (vec![vec![0u128; n]; n], vec![vec![0; n]; n]);
    for len in 1..n {
        for i in 0..n - len {
            let j = i + len;
            let split = |k: usize| {
                let last = (sizes[i] * sizes[k + 1]) as u128 * sizes[j + 1] as u128;
                (cost[i][k] + cost[k + 1][j] + last, k)
            };
            (cost[i][j], cut[i][j]) = (i..j).map(split).min().expect("i < j");
        }
    }
    cut
}

#[track_caller]
fn multiplied<B: Backend>(
    chain: &[Tensor<B>],
    cut: &[Vec<usize>],
    i: usize,
    j: usize,
) -> Tensor<B> {
    if i == j {
        return chain[i].clone();
    }
    let k = cut[i][j];
    multiplied(chain, cut, i, k).matmul(&multiplied(chain, cut, k + 1, j))
}

/// The methods that tensors have in PyTorch too.
impl<B: Backend> Tensor<B> {
    /// [`matrix_power`](crate::linalg::matrix_power)
    ///
    /// # Panics
    /// As that.
    #[track_caller]
    pub fn matrix_power(&self, n: i64) -> Self {
        matrix_power(self, n)
    }

    /// [`matrix_exp`](crate::linalg::matrix_exp)
    ///
    /// # Panics
    /// As that.
    #[track_caller]
    pub fn matrix_exp(&self) -> Self {
        matrix_exp(self)
    }
}
