//! Tensors from the program's own numbers: scalars, arrays, slices and vectors, nested as deep as needed.

use super::create::Options;
use crate::{Backend, Element, Error, Shape, Tensor, raise};

/// Nested data of one element type: a number, or an array, slice or `Vec` of such data.
pub trait ArrayData {
    /// The numbers' type.
    type Elem: Element;

    /// The sizes, outermost first; `Err` holds the shapes of two parts that should be alike.
    ///
    /// # Errors
    /// If parts at one depth have different sizes.
    fn sizes(&self) -> Result<Shape, [Shape; 2]>;

    /// Appends the numbers in row-major order.
    fn append(&self, out: &mut Vec<Self::Elem>);
}

macro_rules! scalars {
    ($($ty:ty),*) => {$(
        impl ArrayData for $ty {
            type Elem = $ty;
            fn sizes(&self) -> Result<Shape, [Shape; 2]> {
                Ok(Shape::scalar())
            }
            fn append(&self, out: &mut Vec<$ty>) {
                out.push(*self);
            }
        }
    )*};
}
scalars!(f64, f32, half::f16, half::bf16, i64, i32, i16, i8, u8, bool);

impl<A: ArrayData> ArrayData for [A] {
    type Elem = A::Elem;

    fn sizes(&self) -> Result<Shape, [Shape; 2]> {
        let mut parts = self.iter().map(ArrayData::sizes);
        let mut shape = parts.next().unwrap_or_else(|| Ok(Shape::scalar()))?;
        for part in parts {
            let part = part?;
            if part != shape {
                return Err([shape, part]);
            }
        }
        shape.insert(0, self.len());
        Ok(shape)
    }

    fn append(&self, out: &mut Vec<A::Elem>) {
        self.iter().for_each(|part| part.append(out));
    }
}

impl<A: ArrayData, const N: usize> ArrayData for [A; N] {
    type Elem = A::Elem;
    fn sizes(&self) -> Result<Shape, [Shape; 2]> {
        self[..].sizes()
    }
    fn append(&self, out: &mut Vec<A::Elem>) {
        self[..].append(out);
    }
}

impl<A: ArrayData> ArrayData for Vec<A> {
    type Elem = A::Elem;
    fn sizes(&self) -> Result<Shape, [Shape; 2]> {
        self[..].sizes()
    }
    fn append(&self, out: &mut Vec<A::Elem>) {
        self[..].append(out);
    }
}

impl<A: ArrayData + ?Sized> ArrayData for &A {
    type Elem = A::Elem;
    fn sizes(&self) -> Result<Shape, [Shape; 2]> {
        (**self).sizes()
    }
    fn append(&self, out: &mut Vec<A::Elem>) {
        (**self).append(out);
    }
}

impl<B: Backend> Tensor<B> {
    /// A tensor with a copy of nested data, `torch.tensor`: `Tensor::new([[1f32, 2.], [3., 4.]], &device)`.
    ///
    /// Its dtype is that of the numbers (a bare literal is `f64` or `i32` in Rust), unless another is
    /// asked for: `Tensor::new([1.0, 2.0], (&device, DType::F32))`.
    ///
    /// # Panics
    /// With [`Error::Shape`] if rows of one depth have different lengths.
    #[track_caller]
    pub fn new<'a>(data: impl ArrayData, options: impl Into<Options<'a, B>>) -> Self {
        let options = options.into();
        let shape = match data.sizes() {
            Ok(shape) => shape,
            Err(parts) => raise(Error::Shape {
                op: "new",
                shapes: parts.into(),
                why: "parts of one depth must have one shape".into(),
            }),
        };
        let mut elements = Vec::with_capacity(shape.numel());
        data.append(&mut elements);
        let made = Self::from_slice(&elements, shape, options.device);
        made.to_dtype(options.dtype.unwrap_or(made.dtype()))
    }
}
