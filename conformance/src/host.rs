//! Elements in the program's memory: what tensors are made of and compared as.

use kiln_tensor_core::{Backend, DType, Scalar, Shape, Tensor};

/// A tensor's elements as scalars, in row-major order, each as `dtype` holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Sizes.
    pub shape: Shape,
    /// What the elements are stored as.
    pub dtype: DType,
    /// The elements.
    pub values: Vec<Scalar>,
}

impl Host {
    /// Elements rounded to `dtype`.
    pub fn new(
        shape: impl Into<Shape>,
        dtype: DType,
        values: impl IntoIterator<Item = Scalar>,
    ) -> Host {
        let values = values.into_iter().map(|v| rounded(v, dtype)).collect();
        Host { shape: shape.into(), dtype, values }
    }

    /// `f64` elements.
    pub fn floats(shape: impl Into<Shape>, values: &[f64]) -> Host {
        Host::new(shape, DType::F64, values.iter().map(|&v| Scalar::F64(v)))
    }

    /// `i64` elements.
    pub fn indices(shape: impl Into<Shape>, values: &[i64]) -> Host {
        Host::new(shape, DType::I64, values.iter().map(|&v| Scalar::I64(v)))
    }

    /// The elements in another dtype.
    pub fn to_dtype(&self, dtype: DType) -> Host {
        Host::new(self.shape.clone(), dtype, self.values.iter().copied())
    }

    /// Copies the elements to a device.
    pub fn upload<B: Backend>(&self, device: &B::Device) -> Tensor<B> {
        B::upload(&encode(&self.values, self.dtype), &self.shape, self.dtype, device)
    }

    /// Copies the elements of a tensor.
    pub fn download<B: Backend>(x: &Tensor<B>) -> Host {
        let values = decode(&B::download(x), x.dtype());
        Host { shape: x.shape().clone(), dtype: x.dtype(), values }
    }

    /// The element at `index`.
    pub fn get(&self, index: &[usize]) -> Scalar {
        let position = index.iter().zip(&self.shape[..]).fold(0, |at, (&i, &size)| at * size + i);
        self.values[position]
    }
}

/// Every index of a shape, in row-major order.
pub(crate) fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &size in shape {
        all = all.iter().flat_map(|head| (0..size).map(|i| [&head[..], &[i]].concat())).collect();
    }
    all
}

/// The value as an element of `dtype` holds it.
pub(crate) fn rounded(value: Scalar, dtype: DType) -> Scalar {
    let mut element = [0; 8];
    let element = &mut element[..dtype.size()];
    dtype.encode(value, element);
    dtype.decode(element)
}

/// Scalars from native-endian bytes.
pub(crate) fn decode(bytes: &[u8], dtype: DType) -> Vec<Scalar> {
    bytes.chunks_exact(dtype.size()).map(|element| dtype.decode(element)).collect()
}

/// Scalars as native-endian bytes of `dtype`.
pub(crate) fn encode(values: &[Scalar], dtype: DType) -> Vec<u8> {
    let mut bytes = vec![0; values.len() * dtype.size()];
    let elements = bytes.chunks_exact_mut(dtype.size());
    elements.zip(values).for_each(|(element, &value)| dtype.encode(value, element));
    bytes
}
