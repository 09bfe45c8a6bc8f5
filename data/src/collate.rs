//! How items become a batch.

use kiln_tensor_core::{Backend, Error, Tensor, raise};

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
