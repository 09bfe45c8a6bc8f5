//! Products of matrices that may lie anyhow: convolution is one, of windows. How they are cut depends on the
//! device.

mod library;
mod pack;
mod packed;
mod strided;
mod tiled;

use kiln_tensor_core::{DType, Tensor};

pub(crate) use library::{Also, by_library};
pub(crate) use pack::{Packed, STEPS};
pub(crate) use strided::Strided;
pub(crate) use tiled::Side;

use crate::launch::{Call, traits};
use crate::{Gpu, Runtime};

/// Sizes of a product: `batch` times `[m, k] × [k, n]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) batch: usize,
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
}

/// What an operand's source depends on.
pub(crate) type Key = (&'static str, DType, [bool; 3]);

/// An operand of a product: rows (of the first) or columns (of the second), along the steps of the sum. It has
/// a matrix for each of the batch, or one for all.
pub(crate) trait Matrix<R: Runtime> {
    /// Its rows side by side, `width` of them in each panel.
    fn pack(&self, width: usize) -> Packed<R>;
    /// Its elements where they lie; names begin with `name`.
    fn side(&self, name: &str) -> Side;
    /// Passes what `side` declares.
    fn pass<'a>(&'a self, call: Call<'a, R>) -> Call<'a, R>;
    /// Equal where `side` is.
    fn key(&self) -> Key;
}

/// How a device cuts products.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan {
    Packed(packed::Tile),
    Tiled,
}

impl Plan {
    /// The plan for a product, if it is large enough for one: each element of an operand is used often.
    #[track_caller]
    pub(crate) fn of<R: Runtime>(device: &R::Device, dtype: DType, sizes: Sizes) -> Option<Self> {
        let Sizes { batch, m, n, k } = sizes;
        if m < 4 || n < 16 || k < 4 || batch * m * n * k < 1 << 15 {
            return None;
        }
        let traits = traits::<R>(device);
        if tiled::suits(traits, dtype) {
            return Some(Plan::Tiled);
        }
        packed::Tile::of(traits, dtype).map(Plan::Packed)
    }

    /// Whether operands are copied first.
    pub(crate) fn copies(self) -> bool {
        matches!(self, Plan::Packed(_))
    }

    /// Writes `a · b` to elements `[first, first + batch · m · n)` of `out`.
    #[track_caller]
    pub(crate) fn multiply<R: Runtime>(
        self,
        (a, b): (&impl Matrix<R>, &impl Matrix<R>),
        sizes: Sizes,
        (out, first): (&Tensor<Gpu<R>>, usize),
    ) {
        match self {
            Plan::Packed(tile) => packed::multiply(tile, (a, b), sizes, (out, first)),
            Plan::Tiled => tiled::multiply((a, b), sizes, (out, first)),
        }
    }
}
