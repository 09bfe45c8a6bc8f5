//! The hyper-parameters of convolution, pooling and attention, and the sizes that follow from them.

use std::ops::Range;

use smallvec::SmallVec;

use crate::Shape;

/// One value per spatial dimension.
pub type Dims = SmallVec<[usize; 3]>;

/// How a convolution walks over its input; one entry per spatial dim in each field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConvSpec {
    /// Distance between two windows.
    pub stride: Dims,
    /// Zeros added on both sides.
    pub padding: Dims,
    /// Distance between two taps of a window.
    pub dilation: Dims,
    /// Number of independent groups of channels.
    pub groups: usize,
}

impl ConvSpec {
    /// Stride 1, no padding, no dilation, one group.
    pub fn new(spatial: usize) -> Self {
        ConvSpec {
            stride: SmallVec::from_elem(1, spatial),
            padding: SmallVec::from_elem(0, spatial),
            dilation: SmallVec::from_elem(1, spatial),
            groups: 1,
        }
    }

    /// The output's size in spatial dim `i`, or `None` where no window fits.
    pub fn out_size(&self, i: usize, input: usize, kernel: usize) -> Option<usize> {
        let reach = self.dilation[i] * kernel.checked_sub(1)? + 1;
        Some((input + 2 * self.padding[i]).checked_sub(reach)? / self.stride[i] + 1)
    }

    /// The shape that a convolution of `x` `[n, c, spatial…]` with `weight` `[o, c / groups, kernel…]` gives, or
    /// `None` where no window fits.
    pub fn out_shape(&self, x: &[usize], weight: &[usize]) -> Option<Shape> {
        let size = |i| self.out_size(i, x[2 + i], weight[2 + i]);
        [Some(x[0]), Some(weight[0])].into_iter().chain((0..x.len() - 2).map(size)).collect()
    }
}

/// How a pooling window walks over its input; one entry per spatial dim in each field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolSpec {
    /// Size of a window.
    pub kernel: Dims,
    /// Distance between two windows.
    pub stride: Dims,
    /// Padding on both sides: −∞ for maxima, zeros for means. At most half of the window.
    pub padding: Dims,
    /// Distance between two taps of a window; 1 for means.
    pub dilation: Dims,
    /// Whether a last window that reaches over the edge counts.
    pub ceil_mode: bool,
    /// Whether padding counts in the divisor of a mean.
    pub count_include_pad: bool,
    /// A fixed divisor of means, instead of the number of elements.
    pub divisor: Option<usize>,
}

impl PoolSpec {
    /// Windows of `kernel` side by side, no padding.
    pub fn new(kernel: &[usize]) -> Self {
        PoolSpec {
            kernel: kernel.into(),
            stride: kernel.into(),
            padding: SmallVec::from_elem(0, kernel.len()),
            dilation: SmallVec::from_elem(1, kernel.len()),
            ceil_mode: false,
            count_include_pad: true,
            divisor: None,
        }
    }

    /// The output's size in spatial dim `i`, or `None` where no window fits. With `ceil_mode`, the
    /// last window starts inside the input or its left padding, as in PyTorch.
    pub fn out_size(&self, i: usize, input: usize) -> Option<usize> {
        let reach = self.dilation[i] * self.kernel[i].checked_sub(1)? + 1;
        let room = (input + 2 * self.padding[i]).checked_sub(reach)?;
        let stride = self.stride[i];
        if !self.ceil_mode {
            return Some(room / stride + 1);
        }
        let count = room.div_ceil(stride) + 1;
        let starts_outside = (count - 1) * stride >= input + self.padding[i];
        Some(if starts_outside { count - 1 } else { count })
    }

    /// The shape that pooling `[n, c, spatial…]` gives, or `None` where no window fits.
    pub fn out_shape(&self, x: &[usize]) -> Option<Shape> {
        let size = |i| self.out_size(i, x[2 + i]);
        [Some(x[0]), Some(x[1])].into_iter().chain((0..x.len() - 2).map(size)).collect()
    }
}

/// The windows of adaptive pooling over a dim of size `size`: number `i` of `out` reaches from
/// `⌊i·size/out⌋` to `⌈(i + 1)·size/out⌉`.
pub fn adaptive_windows(size: usize, out: usize) -> impl Iterator<Item = Range<usize>> {
    (0..out).map(move |i| i * size / out..((i + 1) * size).div_ceil(out))
}

/// An elementwise function that a linear map may be followed by in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `Tensor::relu`.
    Relu,
    /// `Tensor::gelu_tanh`: PyTorch's `gelu(approximate="tanh")`.
    GeluTanh,
}

/// How queries look at keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionSpec {
    /// Whether query `i` sees only keys `0 ..= i`.
    pub causal: bool,
    /// What the products of queries and keys are multiplied by.
    pub scale: f64,
}

/// What `Backend::factor` takes each matrix `[…, m, n]` apart into. Symmetric matrices are read from their lower
/// triangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Factorization {
    /// Symmetric matrices: lower triangular l with `l · lᵀ = x`. Where x is not positive definite, the diagonal
    /// of l has NaN from its first leading minor on that is not.
    Cholesky,
    /// Square matrices: `lu`, whose part below the diagonal is l (with ones on its diagonal) and whose rest is u, and the
    /// rows' order `[…, n]`, `i64`: `l · u = x[order]`, by partial pivoting.
    Lu,
    /// Matrices with m ≥ n: q with orthonormal columns and r upper triangular, `q · r = x`.
    Qr {
        /// q is `[…, m, m]` and r `[…, m, n]`, else `[…, m, n]` and `[…, n, n]`.
        complete: bool,
    },
    /// Symmetric matrices: eigenvalues `[…, n]` in ascending order, and their vectors as columns.
    Eigh,
    /// u `[…, m, k]`, singular values `[…, k]` in descending order, and vᵀ `[…, k, n]`, with k the smaller of m and n.
    Svd,
    /// The inverse of Moore and Penrose, `[…, n, m]`, and the singular values `[…, k]`: those count as 0 that are
    /// no larger than `atol`, or `rtol` times the largest.
    Pinv {
        /// Absolute bound.
        atol: f64,
        /// Relative bound.
        rtol: f64,
    },
}

impl Factorization {
    /// The op's name.
    pub fn name(&self) -> &'static str {
        match self {
            Factorization::Cholesky => "cholesky",
            Factorization::Lu => "lu",
            Factorization::Qr { .. } => "qr",
            Factorization::Eigh => "eigh",
            Factorization::Svd => "svd",
            Factorization::Pinv { .. } => "pinv",
        }
    }
}
