//! Distinct elements. How many there are depends on values, so these wait for the device. No gradients flow.

use crate::{Backend, Scalar, Tensor};

/// Distinct elements or slices, and where they were.
#[derive(Debug)]
pub struct Unique<B: Backend> {
    /// The distinct ones.
    pub values: Tensor<B>,
    /// For each element, the position of its like in `values`, `i64`.
    pub inverse: Tensor<B>,
    /// How often each occurs, `i64`.
    pub counts: Tensor<B>,
}

impl<B: Backend> Tensor<B> {
    /// The distinct elements of the whole tensor, in order; each NaN is one.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    /// let x = Tensor::<Cpu>::new([3i64, 1, 3, 2], &CpuDevice);
    /// assert_eq!(x.unique().to_vec::<i64>(), [1, 2, 3]);
    /// let all = x.unique_all();
    /// assert_eq!(all.counts.to_vec::<i64>(), [1, 1, 2]);
    /// assert_eq!(all.inverse.to_vec::<i64>(), [2, 0, 2, 1]);
    /// ```
    #[must_use]
    pub fn unique(&self) -> Self {
        self.unique_all().values
    }

    /// `unique` with positions and counts: `return_inverse` and `return_counts` of `torch.unique`.
    pub fn unique_all(&self) -> Unique<B> {
        let (sorted, places) = B::sort(&self.detach().reshape([-1]), 0, false);
        self.grouped(&sorted, Some(&places))
    }

    /// The elements without repetitions of the one before, with positions and counts.
    pub fn unique_consecutive(&self) -> Unique<B> {
        self.grouped(&self.detach().reshape([-1]), None)
    }

    /// What runs of equals in a list come to; `places` is where its elements were.
    fn grouped(&self, list: &Self, places: Option<&Self>) -> Unique<B> {
        let n = list.numel();
        let changes = |x: &Self| x.narrow(0, 1, n - 1).ne(x.narrow(0, 0, n - 1));
        let starts = starts(list, n, changes);
        runs(list, &starts, places).map_inverse(|inverse| inverse.reshape_to(self.shape()))
    }

    /// The distinct slices along `dim`, in the order of their elements, with positions and counts. They are put in
    /// order by the program, not by the device.
    ///
    /// # Panics
    /// If the dimension is out of range.
    #[track_caller]
    pub fn unique_dim(&self, dim: isize) -> Unique<B> {
        let (x, at) = self.along("unique_dim", dim);
        let rows = x.rows_of(at);
        let (count, width) = (rows.dims()[0], rows.dims()[1]);
        let elements = rows.to_scalars();
        let row = |i: usize| &elements[i * width..(i + 1) * width];
        let mut order: Vec<i64> = (0..count as i64).collect();
        order.sort_by(|&a, &b| {
            let pairs = row(a as usize).iter().zip(row(b as usize));
            pairs
                .map(|(a, b)| compared(a, b))
                .find(|o| o.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let places = Self::from_slice(&order, count, self.device());
        x.grouped_rows(&B::index_select(&rows, 0, &places), Some(&places), at)
    }

    /// The slices along `dim` without repetitions of the one before, with positions and counts.
    ///
    /// # Panics
    /// If the dimension is out of range.
    #[track_caller]
    pub fn unique_consecutive_dim(&self, dim: isize) -> Unique<B> {
        let (x, at) = self.along("unique_consecutive", dim);
        x.grouped_rows(&x.rows_of(at), None, at)
    }

    /// The slices along a dim, flattened.
    fn rows_of(&self, dim: usize) -> Self {
        let moved = self.detach().movedim(dim as isize, 0);
        let count = moved.dims()[0];
        moved.reshape_to(&[count, self.numel().checked_div(count).unwrap_or(0)].into())
    }

    fn grouped_rows(&self, rows: &Self, places: Option<&Self>, dim: usize) -> Unique<B> {
        let n = rows.dims()[0];
        let changes =
            |x: &Self| x.narrow(0, 1, n - 1).ne(x.narrow(0, 0, n - 1)).any_dims([1], false);
        let starts = starts(rows, n, changes);
        let found = runs(rows, &starts, places);
        let mut shape = self.detach().movedim(dim as isize, 0).shape().clone();
        shape[0] = found.values.dims()[0];
        let values = found.values.reshape_to(&shape).movedim(0, dim as isize).contiguous();
        Unique { values, ..found }
    }
}

impl<B: Backend> Unique<B> {
    fn map_inverse(self, f: impl FnOnce(&Tensor<B>) -> Tensor<B>) -> Self {
        Unique { inverse: f(&self.inverse), ..self }
    }
}

/// Whether an entry differs from the one before; the first does.
fn starts<B: Backend>(
    x: &Tensor<B>,
    n: usize,
    changes: impl FnOnce(&Tensor<B>) -> Tensor<B>,
) -> Tensor<B> {
    let first = Tensor::full([n.min(1)], true, x.device());
    if n < 2 { first } else { B::cat(&[&first, &changes(x)], 0) }
}

/// The entries at which runs begin, the run of each entry, and the runs' lengths.
fn runs<B: Backend>(list: &Tensor<B>, starts: &Tensor<B>, places: Option<&Tensor<B>>) -> Unique<B> {
    let heads = B::nonzero(starts).reshape([-1]);
    let run = if starts.numel() == 0 { heads.clone() } else { starts.cumsum(0) - 1 };
    let inverse = match places {
        Some(places) => run.zeros_like().scatter(0, places, &run),
        None => run,
    };
    let end = Tensor::full([1], starts.numel() as i64, list.device());
    let counts = B::cat(&[&heads, &end], 0).diff(1, 0);
    Unique { values: B::index_select(list, 0, &heads), inverse, counts }
}

/// The order of `sort`: NaN is the largest.
fn compared(a: &Scalar, b: &Scalar) -> std::cmp::Ordering {
    match (a, b) {
        (Scalar::F64(a), Scalar::F64(b)) => {
            a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
        _ => a.to_i64().cmp(&b.to_i64()),
    }
}
