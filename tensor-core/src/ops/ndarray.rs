//! From arrays of the crate `ndarray`, and back; with the feature `ndarray`.

use ndarray::{Array, ArrayD, ArrayRef, ArrayView, ArrayViewMut, Dimension, IxDyn};

use crate::{Backend, Element, Error, Shared, Tensor, raise};

/// An array that the program and tensors share: a change on either side shows on the other. Clones name the same
/// elements.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_tensor_core::{SharedArray, Tensor};
/// use ndarray::array;
///
/// let shared = SharedArray::new(array![[1.0, 2.0], [3.0, 4.0]]);
/// let x = Tensor::<Cpu>::from_shared_ndarray(&shared, &CpuDevice);
/// shared.with_mut(|mut array| array.column_mut(0).fill(7.0));
/// assert_eq!(x.to_vec::<f64>(), [7.0, 2.0, 7.0, 4.0]);
/// x.neg_();
/// assert_eq!(shared.with(|array| array.sum()), -20.0);
/// ```
#[derive(Clone, Debug)]
pub struct SharedArray<T, D> {
    data: Shared<T>,
    shape: D,
}

impl<T: Element + bytemuck::Pod, D: Dimension> SharedArray<T, D> {
    /// Takes an array over; without copying it, if it lies in row-major order and without gaps.
    pub fn new(array: Array<T, D>) -> Self {
        let shape = array.raw_dim();
        let data = if array.is_standard_layout() && !array.is_empty() {
            let len = array.len();
            let (data, offset) = array.into_raw_vec_and_offset();
            Part { data, start: offset.unwrap_or_default(), len }
        } else {
            Part { data: array.iter().copied().collect(), start: 0, len: array.len() }
        };
        SharedArray { data: Shared::of(data), shape }
    }

    /// Shows the array. Operations that write to its tensors wait meanwhile.
    pub fn with<R>(&self, f: impl FnOnce(ArrayView<'_, T, D>) -> R) -> R {
        let data = self.data.read();
        f(ArrayView::from_shape(self.shape.clone(), &data).expect("the array's own elements"))
    }

    /// Lends the array for changes. Operations on its tensors wait meanwhile, those of `f` for ever.
    pub fn with_mut<R>(&self, f: impl FnOnce(ArrayViewMut<'_, T, D>) -> R) -> R {
        let mut data = self.data.write();
        f(ArrayViewMut::from_shape(self.shape.clone(), &mut data)
            .expect("the array's own elements"))
    }
}

/// The elements of an array inside of its memory.
struct Part<T> {
    data: Vec<T>,
    start: usize,
    len: usize,
}

impl<T> AsRef<[T]> for Part<T> {
    fn as_ref(&self) -> &[T] {
        &self.data[self.start..self.start + self.len]
    }
}

impl<T> AsMut<[T]> for Part<T> {
    fn as_mut(&mut self) -> &mut [T] {
        &mut self.data[self.start..self.start + self.len]
    }
}

impl<B: Backend> Tensor<B> {
    /// A copy of an array, or of a view of one, whatever its order in memory.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    /// use ndarray::{Ix2, array};
    ///
    /// let x = Tensor::<Cpu>::from_ndarray(&array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]].t(), &CpuDevice);
    /// assert_eq!(*x.shape(), [3, 2]);
    /// let y = (x * 10.0).to_ndarray::<f64>().into_dimensionality::<Ix2>().unwrap();
    /// assert_eq!(y, array![[10.0, 40.0], [20.0, 50.0], [30.0, 60.0]]);
    /// ```
    pub fn from_ndarray<T: Element, D: Dimension>(
        array: &ArrayRef<T, D>,
        device: &B::Device,
    ) -> Self {
        match array.as_slice() {
            Some(data) => Tensor::from_slice(data, array.shape(), device),
            None => {
                let data: Vec<T> = array.iter().copied().collect();
                Tensor::from_slice(&data, array.shape(), device)
            }
        }
    }

    /// A tensor that shares the elements of an array; see [`SharedArray`] and [`Tensor::from_shared`].
    ///
    /// # Panics
    /// With [`Error::Unsupported`] if the device's memory is not the program's.
    #[track_caller]
    pub fn from_shared_ndarray<T: Element + bytemuck::Pod, D: Dimension>(
        array: &SharedArray<T, D>,
        device: &B::Device,
    ) -> Self {
        Tensor::from_shared(&array.data, array.shape.slice(), device)
    }

    /// A copy of the elements as an array in row-major order. `into_dimensionality` of ndarray gives it
    /// a fixed number of dimensions.
    ///
    /// # Panics
    /// If `T` is not the tensor's dtype, or the tensor has no elements but sizes whose product is more
    /// than an array may have.
    #[track_caller]
    pub fn to_ndarray<T: Element>(&self) -> ArrayD<T> {
        if T::DTYPE != self.dtype() {
            raise(Error::DType {
                op: "to_ndarray",
                dtypes: vec![self.dtype(), T::DTYPE],
                why: "ask for the tensor's own dtype, or convert with `to_dtype` first".into(),
            });
        }
        ArrayD::from_shape_vec(IxDyn(self.dims()), self.to_vec()).unwrap_or_else(|error| {
            raise(Error::Shape {
                op: "to_ndarray",
                shapes: vec![self.shape().clone()],
                why: error.to_string(),
            })
        })
    }
}
