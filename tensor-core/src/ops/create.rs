//! Making tensors.

use super::pointwise::{PerDType, writable};
use crate::expr::Builder;
use crate::{Backend, DType, Element, Error, Expr, Kernel, Scalar, Shape, Shared, Tensor, raise};

/// Where a new tensor lives and what it holds: `&device`, or `(&device, dtype)`. The dtype is `f32`
/// unless given.
#[derive(Debug)]
pub struct Options<'a, B: Backend> {
    /// Where.
    pub device: &'a B::Device,
    /// What, if given.
    pub dtype: Option<DType>,
}

impl<'a, B: Backend<Device = D>, D> From<&'a D> for Options<'a, B> {
    fn from(device: &'a D) -> Self {
        Options { device, dtype: None }
    }
}

impl<'a, B: Backend<Device = D>, D> From<(&'a D, DType)> for Options<'a, B> {
    fn from((device, dtype): (&'a D, DType)) -> Self {
        Options { device, dtype: Some(dtype) }
    }
}

impl<B: Backend> Tensor<B> {
    /// A tensor of `shape` with a copy of `data`, in row-major order; its dtype is that of `T`.
    ///
    /// # Panics
    /// If the shape does not have as many elements as the data.
    #[track_caller]
    pub fn from_slice<T: Element>(data: &[T], shape: impl Into<Shape>, device: &B::Device) -> Self {
        let shape = shape.into();
        if shape.numel() != data.len() {
            raise(Error::Shape {
                op: "from_slice",
                why: format!("{} elements given, {} wanted", data.len(), shape.numel()),
                shapes: vec![shape],
            });
        }
        B::upload(bytemuck::cast_slice(data), &shape, T::DTYPE, device)
    }

    /// A tensor that shares the buffer: a change on either side shows on the other, as with `torch.from_numpy`.
    /// The buffer lives as long as somebody has it, and no operation takes its memory for a result.
    ///
    /// Only devices whose memory is the program's can share: the CPU. On others this is an error; there
    /// `Tensor::new` or `from_slice` copies, and so does `to` of a tensor that shares.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::{Shared, Tensor};
    /// let data = Shared::new(vec![1.0f32, 2.0, 3.0, 4.0]);
    /// let x = Tensor::<Cpu>::from_shared(&data, [2, 2], &CpuDevice);
    /// x.i(0).mul_(10.0);
    /// assert_eq!(*data.read(), [10.0, 20.0, 3.0, 4.0]);
    /// data.write()[3] = 0.5;
    /// assert_eq!(x.i((1, 1)).item(), 0.5);
    /// ```
    ///
    /// # Panics
    /// If the shape does not have as many elements as the buffer; with [`Error::Unsupported`] if the device's
    /// memory is not the program's.
    #[track_caller]
    pub fn from_shared<T: Element + bytemuck::Pod>(
        data: &Shared<T>,
        shape: impl Into<Shape>,
        device: &B::Device,
    ) -> Self {
        let (shape, len) = (shape.into(), data.read().len());
        if shape.numel() != len {
            raise(Error::Shape {
                op: "from_shared",
                why: format!("{len} elements given, {} wanted", shape.numel()),
                shapes: vec![shape],
            });
        }
        B::adopt(data.memory(), &shape, device)
    }

    /// A tensor filled with one number. Its dtype, unless given, is PyTorch's for the number: `f32`,
    /// `i64` or bool.
    pub fn full<'a>(
        shape: impl Into<Shape>,
        value: impl Into<Scalar>,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        let (options, value) = (options.into(), value.into());
        let expr = constant(options.dtype.unwrap_or(value.dtype()));
        B::map(Kernel::with(expr, &[value]), &[], &shape.into(), options.device)
    }

    /// A tensor of zeros.
    pub fn zeros<'a>(shape: impl Into<Shape>, options: impl Into<Options<'a, B>>) -> Self {
        let options = options.into();
        let dtype = options.dtype.unwrap_or(DType::F32);
        Self::full(shape, 0.0, Options { dtype: Some(dtype), ..options })
    }

    /// A tensor of ones.
    pub fn ones<'a>(shape: impl Into<Shape>, options: impl Into<Options<'a, B>>) -> Self {
        let options = options.into();
        let dtype = options.dtype.unwrap_or(DType::F32);
        Self::full(shape, 1.0, Options { dtype: Some(dtype), ..options })
    }

    /// One number in the shape, dtype and device of this tensor.
    pub fn full_like(&self, value: impl Into<Scalar>) -> Self {
        self.new_full(self.shape(), value)
    }

    /// Zeros in the shape, dtype and device of this tensor.
    pub fn zeros_like(&self) -> Self {
        self.full_like(0)
    }

    /// Ones in the shape, dtype and device of this tensor.
    pub fn ones_like(&self) -> Self {
        self.full_like(1)
    }

    /// Overwrites all elements with one number, converted to the tensor's dtype.
    ///
    /// # Panics
    /// If elements of this view share memory.
    #[track_caller]
    pub fn fill_(&self, value: impl Into<Scalar>) -> Self {
        writable("fill_", self, DType::Bool);
        B::map_into(Kernel::with(constant(self.dtype()), &[value.into()]), &[], &[self]);
        self.clone()
    }

    /// Overwrites all elements with zeros.
    ///
    /// # Panics
    /// If elements of this view share memory.
    #[track_caller]
    pub fn zero_(&self) -> Self {
        self.fill_(0)
    }
}

/// The program that stores its one parameter.
fn constant(dtype: DType) -> &'static Expr {
    static PROGRAMS: PerDType = PerDType::new();
    PROGRAMS.get(dtype, || {
        let builder = Builder::new(&[]);
        let out = builder.param(dtype).id();
        builder.finish("full", &[(out, dtype)])
    })
}
