//! Elements in the program's memory: what tensors are made of and compared as.

use kiln_tensor_core::{Backend, DType, Element, Scalar, Shape, Tensor};

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

macro_rules! by_dtype {
    ($dtype:expr, $f:ident($($arg:expr),*)) => {
        match $dtype {
            DType::F64 => $f::<f64>($($arg),*),
            DType::F32 => $f::<f32>($($arg),*),
            DType::F16 => $f::<half::f16>($($arg),*),
            DType::BF16 => $f::<half::bf16>($($arg),*),
            DType::I64 => $f::<i64>($($arg),*),
            DType::I32 => $f::<i32>($($arg),*),
            DType::I16 => $f::<i16>($($arg),*),
            DType::I8 => $f::<i8>($($arg),*),
            DType::U8 => $f::<u8>($($arg),*),
            DType::Bool => $f::<bool>($($arg),*),
        }
    };
}

/// The value as an element of `dtype` holds it.
pub(crate) fn rounded(value: Scalar, dtype: DType) -> Scalar {
    fn through<T: Element>(value: Scalar) -> Scalar {
        T::from_scalar(value).to_scalar()
    }
    by_dtype!(dtype, through(value))
}

/// Scalars from native-endian bytes.
pub(crate) fn decode(bytes: &[u8], dtype: DType) -> Vec<Scalar> {
    fn scalars<T: Element>(bytes: &[u8]) -> Vec<Scalar> {
        T::from_bytes(bytes).into_iter().map(T::to_scalar).collect()
    }
    by_dtype!(dtype, scalars(bytes))
}

/// Scalars as native-endian bytes of `dtype`.
pub(crate) fn encode(values: &[Scalar], dtype: DType) -> Vec<u8> {
    fn bytes<T: Element>(values: &[Scalar]) -> Vec<u8> {
        values.iter().flat_map(|&v| bytemuck::bytes_of(&T::from_scalar(v)).to_vec()).collect()
    }
    by_dtype!(dtype, bytes(values))
}
