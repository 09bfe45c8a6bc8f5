//! Tensors made of positions: ranges, the identity matrix, triangles, one-hot codes. Each is a program
//! over the element's own index.

use std::ops::Range;

use super::create::Options;
use super::pointwise::PerDType;
use crate::expr::Builder;
use crate::{Backend, DType, Error, Expr, Kernel, Scalar, Shape, Tensor, Val, raise};

/// The numbers of `arange`: made from an end, a Rust range, `(start, end)` or `(start, end, step)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// The first number.
    pub start: Scalar,
    /// The numbers stop before this one.
    pub end: Scalar,
    /// Distance between two numbers; negative to walk down.
    pub step: Scalar,
}

macro_rules! steps {
    ($($ty:ty),*) => {$(
        impl From<$ty> for Steps {
            fn from(end: $ty) -> Self {
                (0 as $ty, end).into()
            }
        }

        impl From<Range<$ty>> for Steps {
            fn from(range: Range<$ty>) -> Self {
                (range.start, range.end).into()
            }
        }

        impl From<($ty, $ty)> for Steps {
            fn from((start, end): ($ty, $ty)) -> Self {
                (start, end, 1 as $ty).into()
            }
        }

        impl From<($ty, $ty, $ty)> for Steps {
            fn from((start, end, step): ($ty, $ty, $ty)) -> Self {
                Steps { start: start.into(), end: end.into(), step: step.into() }
            }
        }
    )*};
}
steps!(f64, f32, i64, i32, usize);

impl Steps {
    #[track_caller]
    fn count(&self) -> usize {
        let wrong = |why: String| -> ! { raise(Error::Argument { op: "arange", why }) };
        let (start, end, step) = (self.start.to_f64(), self.end.to_f64(), self.step.to_f64());
        if step == 0.0 || !(start.is_finite() && end.is_finite() && step.is_finite()) {
            wrong(format!(
                "start {start}, end {end} and step {step} must be finite, the step not 0"
            ));
        }
        if (end - start) * step.signum() < 0.0 {
            wrong(format!("steps of {step} do not lead from {start} to {end}"));
        }
        if let [Scalar::I64(start), Scalar::I64(end), Scalar::I64(step)] =
            [self.start, self.end, self.step]
        {
            return end.abs_diff(start).div_ceil(step.unsigned_abs()) as usize;
        }
        ((end - start) / step).ceil() as usize
    }
}

/// Programs of two parameters of the type that `dtype` is computed in, over the index.
fn ramp(
    name: &'static str,
    programs: &'static PerDType,
    dtype: DType,
    f: for<'b> fn(Val<'b>, [Val<'b>; 3]) -> Val<'b>,
) -> &'static Expr {
    programs.get(dtype, || {
        let builder = Builder::new(&[]);
        let held = if dtype.is_float() { dtype.compute() } else { DType::I64 };
        let numbers = [builder.param(held), builder.param(held), builder.param(DType::I64)];
        let out = f(builder.index(), numbers).cast(dtype).id();
        builder.finish(name, &[(out, dtype)])
    })
}

impl<B: Backend> Tensor<B> {
    /// The numbers `start, start + step, …` before `end`: `arange(5, …)`, `arange(2..5, …)`,
    /// `arange((2, 5), …)`, `arange((1.0, 2.0, 0.25), …)`. The dtype, unless given, is `i64` for integers
    /// and `f32` for floats.
    ///
    /// # Panics
    /// If the step is 0 or leads away from `end`.
    #[track_caller]
    pub fn arange<'a>(steps: impl Into<Steps>, options: impl Into<Options<'a, B>>) -> Self {
        static PROGRAMS: PerDType = PerDType::new();
        let (steps, options) = (steps.into(), options.into());
        let whole = matches!(steps.start, Scalar::I64(_));
        let dtype = options.dtype.unwrap_or(if whole { DType::I64 } else { DType::F32 });
        let expr = ramp("arange", &PROGRAMS, dtype, |i, [start, step, _]| {
            start + i.cast(start.dtype()) * step
        });
        let params = [steps.start, steps.step, Scalar::I64(0)];
        B::map(Kernel::with(expr, &params), &[], &steps.count().into(), options.device)
    }

    /// `steps` numbers from `start` to `end`, both included, evenly spaced.
    pub fn linspace<'a>(
        start: f64,
        end: f64,
        steps: usize,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        static PROGRAMS: PerDType = PerDType::new();
        let options = options.into();
        // Each half is counted from its own end, so that both ends are exact.
        let expr = ramp("linspace", &PROGRAMS, options.dtype.unwrap_or(DType::F32), {
            |i, [start, end, count]| {
                let (last, held) = (count - 1, start.dtype().float());
                let step = (end - start) / last.max(1).cast(held);
                let low = step * i.cast(held) + start;
                let high = step * (i - last).cast(held) + end;
                i.lt(count.trunc_div(2)).select(low, (i.eq(0)).select(start.cast(held), high))
            }
        });
        let params = [start.into(), end.into(), steps.into()];
        B::map(Kernel::with(expr, &params), &[], &steps.into(), options.device)
    }

    /// Ones on the diagonal, zeros elsewhere: `eye(3, …)` is square, `eye([3, 4], …)` is not.
    ///
    /// # Panics
    /// If `size` has more than two sizes.
    #[track_caller]
    pub fn eye<'a>(size: impl Into<Shape>, options: impl Into<Options<'a, B>>) -> Self {
        static PROGRAMS: PerDType = PerDType::new();
        let (size, options) = (size.into(), options.into());
        let [rows, cols] = match size[..] {
            [n] => [n, n],
            [rows, cols] => [rows, cols],
            _ => raise(Error::Shape {
                op: "eye",
                shapes: vec![size],
                why: "a number of rows, or rows and columns, are wanted".into(),
            }),
        };
        let dtype = options.dtype.unwrap_or(DType::F32);
        let expr =
            ramp("eye", &PROGRAMS, dtype, |i, [_, _, cols]| (i % cols).eq(i.trunc_div(cols)));
        let params = [Scalar::I64(0), Scalar::I64(0), cols.into()];
        B::map(Kernel::with(expr, &params), &[], &[rows, cols].into(), options.device)
    }

    /// The lower triangle of matrices `[…, rows, cols]`: elements above diagonal `diagonal` become 0.
    ///
    /// # Panics
    /// If there are fewer than two dims.
    #[track_caller]
    pub fn tril(&self, diagonal: isize) -> Self {
        static PROGRAMS: PerDType = PerDType::new();
        self.triangle("tril", &PROGRAMS, diagonal, |off, diagonal| off.le(diagonal))
    }

    /// The upper triangle of matrices `[…, rows, cols]`: elements below diagonal `diagonal` become 0.
    ///
    /// # Panics
    /// If there are fewer than two dims.
    #[track_caller]
    pub fn triu(&self, diagonal: isize) -> Self {
        static PROGRAMS: PerDType = PerDType::new();
        self.triangle("triu", &PROGRAMS, diagonal, |off, diagonal| off.ge(diagonal))
    }

    /// `tril`, in place.
    ///
    /// # Panics
    /// If there are fewer than two dims, or elements of this view share memory.
    #[track_caller]
    pub fn tril_(&self, diagonal: isize) -> Self {
        self.copy_(&self.tril(diagonal))
    }

    /// `triu`, in place.
    ///
    /// # Panics
    /// If there are fewer than two dims, or elements of this view share memory.
    #[track_caller]
    pub fn triu_(&self, diagonal: isize) -> Self {
        self.copy_(&self.triu(diagonal))
    }

    /// Overwrites the main diagonal of a matrix with one number.
    ///
    /// # Panics
    /// If this is no matrix, or elements of this view share memory.
    #[track_caller]
    pub fn fill_diagonal_(&self, value: impl Into<Scalar>) -> Self {
        let [rows, cols] = *self.dims() else {
            raise(Error::Shape {
                op: "fill_diagonal_",
                shapes: vec![self.shape().clone()],
                why: "a matrix is wanted".into(),
            })
        };
        let filling = Self::full([rows.min(cols)], value, (self.device(), self.dtype()));
        self.copy_(&self.diagonal_scatter(&filling, 0, 0, 1))
    }

    #[track_caller]
    fn triangle(
        &self,
        op: &'static str,
        programs: &'static PerDType,
        diagonal: isize,
        keep: for<'b> fn(Val<'b>, Val<'b>) -> Val<'b>,
    ) -> Self {
        let &[.., rows, cols] = self.dims() else {
            raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone()],
                why: "matrices […, rows, cols] are wanted".into(),
            })
        };
        let expr = programs.get(self.dtype(), || {
            let builder = Builder::new(&[self.dtype()]);
            let [rows, cols, diagonal] = [(); 3].map(|()| builder.param(DType::I64));
            let i = builder.index();
            let off = i % cols - i.trunc_div(cols) % rows;
            let x = builder.input(0);
            let out = keep(off, diagonal).select(x, x.lit(0).cast(x.dtype())).id();
            builder.finish(op, &[(out, self.dtype())])
        });
        let params = [rows.into(), cols.into(), Scalar::I64(diagonal as i64)];
        B::map(Kernel::with(expr, &params), &[self], self.shape(), self.device())
    }

    /// A new last dimension of `classes` with a 1 at the place that each `i64` element names and zeros
    /// elsewhere, `i64` (`torch.nn.functional.one_hot`). Reads the elements to check their range.
    ///
    /// # Panics
    /// If the elements are not `i64`, or one lies outside `0 .. classes`.
    #[track_caller]
    pub fn one_hot(&self, classes: usize) -> Self {
        static PROGRAMS: PerDType = PerDType::new();
        if self.dtype() != DType::I64 {
            raise(Error::DType {
                op: "one_hot",
                dtypes: vec![self.dtype()],
                why: "classes are i64; convert with `to_dtype`".into(),
            });
        }
        if self.numel() > 0 {
            let ends = [self.min().to_scalar().to_i64(), self.max().to_scalar().to_i64()];
            if let Some(&class) = ends.iter().find(|&&c| c < 0 || c >= classes as i64) {
                raise(Error::Index {
                    op: "one_hot",
                    what: "class",
                    index: class,
                    size: classes,
                    shape: self.shape().clone(),
                    called: None,
                });
            }
        }
        let expr = PROGRAMS.get(DType::I64, || {
            let builder = Builder::new(&[DType::I64]);
            let classes = builder.param(DType::I64);
            let out = (builder.index() % classes).eq(builder.input(0)).cast(DType::I64).id();
            builder.finish("one_hot", &[(out, DType::I64)])
        });
        let column = self.unsqueeze(-1);
        let mut shape = self.shape().clone();
        shape.push(classes);
        let params = [classes.into()];
        let kernel = Kernel::with(expr, &params);
        B::map(kernel, &[&column], &shape, self.device())
    }
}
