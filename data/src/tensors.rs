//! Datasets whose items are rows of tensors.

use kiln_tensor_core::{Backend, Error, Result, Shape, Tensor, raise};

use crate::Dataset;
use crate::collate::Collate;

/// Tensors with one row per item: a tensor, or a tuple of two or three.
pub trait Rows: Collate<Batch = Self> + Clone + Send + Sync {
    /// The first dimension of each tensor.
    fn rows(&self) -> Vec<usize>;
    /// Row `at` of each tensor, without its first dimension.
    fn row(&self, at: usize) -> Self;
    /// The rows that `index` names.
    fn select(&self, index: &[i64]) -> Self;
}

impl<B: Backend> Rows for Tensor<B> {
    fn rows(&self) -> Vec<usize> {
        vec![self.dims().first().copied().unwrap_or(0)]
    }

    fn row(&self, at: usize) -> Self {
        self.narrow(0, at, 1).squeeze(0)
    }

    fn select(&self, index: &[i64]) -> Self {
        let index = Tensor::from_slice(index, [index.len()], self.device());
        B::index_select(self, 0, &index)
    }
}

macro_rules! tuples {
    ($($name:ident $at:tt),*) => {
        impl<$($name: Rows),*> Rows for ($($name,)*) {
            fn rows(&self) -> Vec<usize> {
                [$(self.$at.rows()),*].concat()
            }
            fn row(&self, at: usize) -> Self {
                ($(self.$at.row(at),)*)
            }
            fn select(&self, index: &[i64]) -> Self {
                ($(self.$at.select(index),)*)
            }
        }
    };
}
tuples!(A 0, C 1);
tuples!(A 0, C 1, D 2);

/// Item `i` is row `i` of each tensor. A batch is one `index_select` per tensor, on their device.
#[derive(Clone, Debug)]
pub struct TensorDataset<T> {
    tensors: T,
    len: usize,
}

impl<T: Rows> TensorDataset<T> {
    /// A dataset of a tensor, `(x, y)`, or three tensors.
    ///
    /// # Panics
    /// If the first dimensions differ, or a tensor has none.
    #[track_caller]
    pub fn new(tensors: T) -> Self {
        let rows = tensors.rows();
        if rows.iter().any(|&n| n != rows[0]) {
            raise(Error::Shape {
                op: "TensorDataset::new",
                shapes: rows.iter().map(|&n| Shape::from([n])).collect(),
                why: "the tensors must have one number of rows".into(),
            });
        }
        TensorDataset { tensors, len: rows[0] }
    }

    /// The tensors.
    pub fn tensors(&self) -> &T {
        &self.tensors
    }
}

impl<T: Rows> Dataset for TensorDataset<T> {
    type Item = T;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> Result<T> {
        Ok(self.tensors.row(index))
    }

    fn batch(&self, indices: &[usize], _epoch: u64) -> Result<T> {
        let index: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
        Ok(self.tensors.select(&index))
    }
}
