//! Products that the driver's library does, where it has one that does them.

use kiln_tensor_core::{Activation, Layout, Shape, Tensor, float32_matmul_precision};
use smallvec::SmallVec;

use crate::launch::{done, opened};
use crate::library::{After, Matrices, Product, Task, Vector};
use crate::place::walk;
use crate::{Gpu, Runtime};

/// A batch whose matrices do not lie evenly apart is passed in so many parts at most.
const PARTS: usize = 64;

/// A dim of a batch: its size, and the steps to the next matrix of `a`, of `b` and of the result.
type Dim = (usize, [isize; 3]);

/// What is done beside a product.
pub(crate) enum Also<'a, R: Runtime> {
    /// See `After::Linear`.
    Linear {
        bias: Option<&'a Tensor<Gpu<R>>>,
        activation: Option<Activation>,
        before: Option<&'a Tensor<Gpu<R>>>,
    },
    /// See `After::RowSums`; the product is one of two matrices.
    RowSums(&'a Tensor<Gpu<R>>),
}

impl<R: Runtime> Also<'_, R> {
    pub(crate) const NOTHING: Self = Also::Linear { bias: None, activation: None, before: None };

    fn operands(&self) -> impl Iterator<Item = &Tensor<Gpu<R>>> {
        let all = match self {
            Also::Linear { bias, before, .. } => [*bias, *before],
            Also::RowSums(sums) => [Some(*sums), None],
        };
        all.into_iter().flatten()
    }
}

/// Writes `a · b`, `[…, m, k] × […, k, n]` with equal batches and no size 0, to the contiguous `out`, and does what
/// else is asked for. `false`: no library does it, and what was to be written is to be written by kernels.
#[track_caller]
pub(crate) fn by_library<R: Runtime>(
    a: &Tensor<Gpu<R>>,
    b: &Tensor<Gpu<R>>,
    also: &Also<'_, R>,
    out: &Tensor<Gpu<R>>,
) -> bool {
    let bias = match also {
        Also::Linear { bias, .. } => *bias,
        Also::RowSums(_) => None,
    };
    if !R::LIBRARIES || !a.dtype().is_float() || bias.is_some_and(|bias| !bias.is_contiguous()) {
        return false;
    }
    if [Some(b), bias].into_iter().flatten().any(|x| x.device() != a.device()) {
        // A kernel's launch says so.
        return false;
    }
    let rank = a.rank();
    let (mut m, k, n) = (a.size(-2), a.size(-1), b.size(-1));
    let mut rows = a.strides()[rank - 2];
    let mut dims = batch([a, b, out]);
    // Matrices that share `b` are one where their rows lie evenly apart.
    while let Some(&(size, [step, 0, _])) = dims.last()
        && (m == 1 || step == rows * m as isize)
    {
        rows = if m == 1 { step } else { rows };
        m *= size;
        dims.pop();
    }
    // The largest dim is passed whole, the others step by step.
    let largest = (0..dims.len()).max_by_key(|&d| dims[d].0);
    let (batch, steps) = largest.map_or((1, [0; 3]), |d| dims.remove(d));
    let parts: usize = dims.iter().map(|(size, _)| size).product();
    if parts > PARTS {
        return false;
    }
    let (device, opened) = (a.device(), opened::<R>(a.device()));
    opened.keep([a, b, out].into_iter().chain(also.operands()).map(Tensor::storage));
    (0..parts).all(|part| {
        let at = |x, operand: usize, row| Matrices {
            batch: steps[operand],
            row,
            ..matrices(x, place(&dims, operand, part))
        };
        let behind = place(&dims, 2, part);
        let after = match *also {
            Also::Linear { bias, activation, before } => After::Linear {
                bias: bias.map(|bias| vector(bias, 0)),
                activation,
                before: before.map(|before| vector(before, behind)),
            },
            Also::RowSums(sums) => After::RowSums(vector(sums, 0)),
        };
        let product = Product {
            dtype: a.dtype(),
            precision: float32_matmul_precision(),
            batch,
            m,
            n,
            k,
            a: at(a, 0, rows),
            b: at(b, 1, b.strides()[rank - 2]),
            out: at(out, 2, n as isize),
            after,
        };
        done(opened.library(device, &Task::Product(&product)))
    })
}

/// The dims of a batch, merged where all operands allow it.
#[track_caller]
fn batch<R: Runtime>(operands: [&Tensor<Gpu<R>>; 3]) -> SmallVec<[Dim; 4]> {
    let lead = operands[0].rank() - 2;
    let shape: Shape = operands[0].dims()[..lead].into();
    let layouts = operands
        .map(|x| Layout::new(shape.clone(), x.strides()[..lead].into(), x.layout().offset()));
    let (walk, _) = walk("matmul", &shape, &layouts, |_| false);
    let steps = |d: usize| [0, 1, 2].map(|operand| walk.places[operand].strides[d] as isize);
    (0..walk.rank()).map(|d| (walk.size(d), steps(d))).collect()
}

/// How far the matrix at `part` lies behind the first.
fn place(dims: &[Dim], operand: usize, part: usize) -> isize {
    let mut rest = part;
    let steps = dims.iter().rev().map(|(size, steps)| {
        let at = rest % size;
        rest /= size;
        at as isize * steps[operand]
    });
    steps.sum()
}

/// The matrices of an operand, from the one that lies so far behind the first.
fn matrices<R: Runtime>(x: &Tensor<Gpu<R>>, behind: isize) -> Matrices<'_, R::Buffer> {
    let (buffer, offset) = first(x);
    let (row, column) = (x.strides()[x.rank() - 2], x.strides()[x.rank() - 1]);
    Matrices { buffer, offset: offset.wrapping_add_signed(behind), batch: 0, row, column }
}

fn vector<R: Runtime>(x: &Tensor<Gpu<R>>, behind: isize) -> Vector<'_, R::Buffer> {
    let (buffer, offset) = first(x);
    Vector { buffer, offset: offset.wrapping_add_signed(behind) }
}

/// Where a tensor's first element lies.
fn first<R: Runtime>(x: &Tensor<Gpu<R>>) -> (&R::Buffer, usize) {
    (x.storage().buffer(), x.layout().offset())
}
