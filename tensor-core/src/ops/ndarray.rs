//! From arrays of the crate `ndarray`, and back; with the feature `ndarray`.

use ndarray::{ArrayD, ArrayRef, Dimension, IxDyn};

use crate::{Backend, Element, Error, Tensor, raise};

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
