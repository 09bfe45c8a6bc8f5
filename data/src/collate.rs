//! How items become a batch.

use kiln_tensor_core::{Backend, Error, Scalar, Tensor, raise};

/// An item that batches are made of: tensors are stacked along a new first dimension, numbers beside a
/// tensor become a tensor on its device, tuples go part by part.
#[diagnostic::on_unimplemented(
    message = "items of type `{Self}` do not make a batch by themselves",
    note = "turn images into tensors first (`dataset.transform(ToTensor::new(&device))`), or say how: \
            `DataLoader::with_collate(dataset, |items| …)`"
)]
pub trait Collate: Sized {
    /// What a batch is.
    type Batch: Send + 'static;

    /// Makes a batch of at least one item.
    ///
    /// # Panics
    /// If the items do not fit together.
    fn collate(items: Vec<Self>) -> Self::Batch;
}

/// Stacks: items `[…]` become a batch `[n, …]`.
impl<B: Backend> Collate for Tensor<B> {
    type Batch = Tensor<B>;

    fn collate(items: Vec<Self>) -> Self {
        let first = &items[0];
        if let Some(other) = items.iter().find(|item| item.shape() != first.shape()) {
            raise(Error::Shape {
                op: "collate",
                shapes: vec![first.shape().clone(), other.shape().clone()],
                why: "the items of a batch have one shape; resize or pad them first".into(),
            });
        }
        if let Some(other) = items.iter().find(|item| item.dtype() != first.dtype()) {
            raise(Error::DType {
                op: "collate",
                dtypes: vec![first.dtype(), other.dtype()],
                why: "the items of a batch have one dtype; convert them with `to_dtype`".into(),
            });
        }
        let rows: Vec<Self> = items.iter().map(|item| item.unsqueeze(0)).collect();
        B::cat(&rows.iter().collect::<Vec<_>>(), 0)
    }
}

/// Sequences `[length, …]` of different lengths as one batch `[n, longest, …]` with `value` where they are
/// over, and their lengths (`i64` `[n]`): for [`DataLoader::with_collate`](crate::DataLoader::with_collate).
///
/// ```
/// use kiln_conformance::{Reference, ReferenceDevice};
/// use kiln_data::pad_batch;
/// use kiln_tensor_core::Tensor;
/// let line = |values: &[i64]| Tensor::<Reference>::from_slice(values, [values.len()], &ReferenceDevice);
/// let (batch, lengths) = pad_batch(&[line(&[1, 2, 3]), line(&[4])], 0);
/// assert_eq!(batch.to_vec::<i64>(), [1, 2, 3, 4, 0, 0]);
/// assert_eq!(lengths.to_vec::<i64>(), [3, 1]);
/// ```
///
/// # Panics
/// If there are no sequences, one has no dimensions, or they differ in other sizes than the length, or in
/// dtype.
#[track_caller]
pub fn pad_batch<B: Backend>(
    sequences: &[Tensor<B>],
    value: impl Into<Scalar>,
) -> (Tensor<B>, Tensor<B>) {
    let (Some(first), value) = (sequences.first(), value.into()) else {
        let why = "no sequences make no batch".into();
        raise(Error::Argument { op: "pad_batch", why });
    };
    if let Some(other) = sequences
        .iter()
        .find(|s| s.rank() == 0 || first.rank() == 0 || s.dims()[1..] != first.dims()[1..])
    {
        raise(Error::Shape {
            op: "pad_batch",
            shapes: vec![first.shape().clone(), other.shape().clone()],
            why: "sequences are [length, …] with the same sizes after the first".into(),
        });
    }
    let lengths: Vec<i64> = sequences.iter().map(|s| s.dims()[0] as i64).collect();
    let longest = sequences.iter().map(|s| s.dims()[0]).max().unwrap_or(0);
    let padded = sequences.iter().map(|sequence| {
        let shape = sequence.shape().with(0, longest);
        let padded = Tensor::full(shape, value, (sequence.device(), sequence.dtype()));
        padded.narrow(0, 0, sequence.dims()[0]).copy_(sequence);
        padded
    });
    let batch = Tensor::collate(padded.collect());
    (batch, Tensor::from_slice(&lengths, [lengths.len()], first.device()))
}

impl<A: Collate, C: Collate> Collate for (A, C) {
    type Batch = (A::Batch, C::Batch);

    fn collate(items: Vec<Self>) -> Self::Batch {
        let (a, c) = items.into_iter().unzip();
        (A::collate(a), C::collate(c))
    }
}

impl<A: Collate, C: Collate, D: Collate> Collate for (A, C, D) {
    type Batch = (A::Batch, C::Batch, D::Batch);

    fn collate(items: Vec<Self>) -> Self::Batch {
        let (a, (c, d)): (_, (_, _)) = items.into_iter().map(|(a, c, d)| (a, (c, d))).unzip();
        (A::collate(a), C::collate(c), D::collate(d))
    }
}

macro_rules! numbers {
    ($($ty:ty),*) => {$(
        /// The numbers become a tensor `[n]` on the device of the tensors.
        impl<B: Backend> Collate for (Tensor<B>, $ty) {
            type Batch = (Tensor<B>, Tensor<B>);

            fn collate(items: Vec<Self>) -> Self::Batch {
                let (tensors, numbers): (Vec<Tensor<B>>, Vec<$ty>) = items.into_iter().unzip();
                let numbers = Tensor::from_slice(&numbers, [numbers.len()], tensors[0].device());
                (Tensor::collate(tensors), numbers)
            }
        }
    )*};
}
numbers!(i64, i32, f32, f64, bool);
