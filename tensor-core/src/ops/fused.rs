//! Users' own fused kernels: a closure over scalars becomes one pass over memory.

use parking_lot::Mutex;

use crate::expr::Builder;
use crate::{Backend, DType, Error, Expr, Kernel, ReduceOp, Scalar, Shape, Tensor, Val, raise};

/// An elementwise function of `N` tensors, written as a closure over scalars. It runs as one pass on
/// every backend and is differentiable to any order.
///
/// The closure describes the computation; it runs once per combination of dtypes, not per element.
///
/// ```
/// use kiln_tensor_core::{Fused, DType};
/// let fma = Fused::new("fma", |[a, b, c]| a * b + c);
/// assert_eq!(fma.program([DType::F32; 3]).outputs()[0].dtype, DType::F32);
/// ```
#[derive(Debug)]
pub struct Fused<const N: usize, F = for<'b> fn([Val<'b>; N]) -> Val<'b>> {
    name: &'static str,
    f: F,
    programs: Mutex<Vec<([DType; N], Expr)>>,
}

impl<const N: usize, F: for<'b> Fn([Val<'b>; N]) -> Val<'b>> Fused<N, F> {
    /// Names a function; the name appears in messages, graphs and profiles.
    pub const fn new(name: &'static str, f: F) -> Self {
        Fused { name, f, programs: Mutex::new(Vec::new()) }
    }

    /// The program on tensors of these dtypes.
    pub fn program(&self, dtypes: [DType; N]) -> Expr {
        cached(&self.programs, dtypes, || Expr::new(self.name, dtypes, &self.f))
    }

    /// Runs the function on tensors that broadcast together.
    ///
    /// # Panics
    /// If the shapes do not broadcast or the devices differ.
    #[track_caller]
    pub fn call<B: Backend>(&self, inputs: [&Tensor<B>; N]) -> Tensor<B> {
        let expr = self.program(inputs.map(Tensor::dtype));
        run(self.name, Kernel::new(&expr), &inputs)
    }

    /// Runs the function and combines its results along `dims` (sorted, kept with size 1), without
    /// storing them in between.
    ///
    /// # Panics
    /// If the shapes do not broadcast or the devices differ.
    #[track_caller]
    pub fn reduce<B: Backend>(
        &self,
        op: ReduceOp,
        inputs: [&Tensor<B>; N],
        dims: &[usize],
    ) -> Tensor<B> {
        let expr = self.program(inputs.map(Tensor::dtype));
        run_reduce(self.name, op, Kernel::new(&expr), &inputs, dims)
    }
}

/// Like [`Fused`], with `P` numbers that may change from call to call without making a new kernel.
///
/// ```
/// use kiln_tensor_core::{DType, FusedWith};
/// let scale = FusedWith::new("scale", |[x], [by]| x * by);
/// assert_eq!(scale.program([DType::F32]).params(), [DType::F32]);
/// ```
#[derive(Debug)]
pub struct FusedWith<
    const N: usize,
    const P: usize,
    F = for<'b> fn([Val<'b>; N], [Val<'b>; P]) -> Val<'b>,
> {
    name: &'static str,
    f: F,
    programs: Mutex<Vec<([DType; N], Expr)>>,
}

impl<const N: usize, const P: usize, F> FusedWith<N, P, F>
where
    F: for<'b> Fn([Val<'b>; N], [Val<'b>; P]) -> Val<'b>,
{
    /// Names a function; the name appears in messages, graphs and profiles.
    pub const fn new(name: &'static str, f: F) -> Self {
        FusedWith { name, f, programs: Mutex::new(Vec::new()) }
    }

    /// The program on tensors of these dtypes; the numbers have the float dtype that those meet in.
    pub fn program(&self, dtypes: [DType; N]) -> Expr {
        let number = dtypes.into_iter().reduce(DType::promote).map_or(DType::F32, DType::float);
        cached(&self.programs, dtypes, || {
            let builder = Builder::new(&dtypes);
            let numbers = std::array::from_fn(|_| builder.param(number));
            let out = (self.f)(std::array::from_fn(|i| builder.input(i)), numbers);
            let out = (out.id(), out.dtype());
            builder.finish(self.name, &[out])
        })
    }

    /// Runs the function on tensors that broadcast together.
    ///
    /// # Panics
    /// If the shapes do not broadcast or the devices differ.
    #[track_caller]
    pub fn call<B: Backend>(&self, inputs: [&Tensor<B>; N], numbers: [f64; P]) -> Tensor<B> {
        let expr = self.program(inputs.map(Tensor::dtype));
        run(self.name, Kernel::with(&expr, &numbers.map(Scalar::F64)), &inputs)
    }

    /// Runs the function and combines its results along `dims` (sorted, kept with size 1), without
    /// storing them in between.
    ///
    /// # Panics
    /// If the shapes do not broadcast or the devices differ.
    #[track_caller]
    pub fn reduce<B: Backend>(
        &self,
        op: ReduceOp,
        inputs: [&Tensor<B>; N],
        numbers: [f64; P],
        dims: &[usize],
    ) -> Tensor<B> {
        let expr = self.program(inputs.map(Tensor::dtype));
        let numbers = numbers.map(Scalar::F64);
        run_reduce(self.name, op, Kernel::with(&expr, &numbers), &inputs, dims)
    }
}

/// Like [`Fused`], with `M` results from one pass.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_tensor_core::{FusedMany, Tensor};
/// let both = FusedMany::new("sincos", |[x]| [x.sin(), x.cos()]);
/// let [sin, cos] = both.call([&Tensor::<Cpu>::zeros([2], &CpuDevice)]);
/// assert_eq!((sin.sum().item(), cos.sum().item()), (0.0, 2.0));
/// ```
#[derive(Debug)]
pub struct FusedMany<const N: usize, const M: usize, F = for<'b> fn([Val<'b>; N]) -> [Val<'b>; M]> {
    name: &'static str,
    f: F,
    programs: Mutex<Vec<([DType; N], Expr)>>,
}

impl<const N: usize, const M: usize, F> FusedMany<N, M, F>
where
    F: for<'b> Fn([Val<'b>; N]) -> [Val<'b>; M],
{
    /// Names a function; the name appears in messages, graphs and profiles.
    pub const fn new(name: &'static str, f: F) -> Self {
        FusedMany { name, f, programs: Mutex::new(Vec::new()) }
    }

    /// The program on tensors of these dtypes.
    pub fn program(&self, dtypes: [DType; N]) -> Expr {
        cached(&self.programs, dtypes, || {
            let builder = Builder::new(&dtypes);
            let outputs = (self.f)(std::array::from_fn(|i| builder.input(i)));
            let outputs = outputs.map(|out| (out.id(), out.dtype()));
            builder.finish(self.name, &outputs)
        })
    }

    /// Runs the function on tensors that broadcast together.
    ///
    /// # Panics
    /// If the shapes do not broadcast or the devices differ.
    #[track_caller]
    pub fn call<B: Backend>(&self, inputs: [&Tensor<B>; N]) -> [Tensor<B>; M] {
        let expr = self.program(inputs.map(Tensor::dtype));
        let shape = shape(self.name, &inputs);
        let made = B::map_many(Kernel::new(&expr), &inputs, &shape, inputs[0].device());
        made.into_vec().try_into().expect("one tensor for each output")
    }
}

fn cached<const N: usize>(
    programs: &Mutex<Vec<([DType; N], Expr)>>,
    dtypes: [DType; N],
    build: impl FnOnce() -> Expr,
) -> Expr {
    let mut programs = programs.lock();
    if let Some((_, expr)) = programs.iter().find(|(known, _)| *known == dtypes) {
        return expr.clone();
    }
    let expr = build();
    programs.push((dtypes, expr.clone()));
    expr
}

#[track_caller]
fn run<B: Backend>(name: &'static str, kernel: Kernel<'_>, inputs: &[&Tensor<B>]) -> Tensor<B> {
    let shape = shape(name, inputs);
    B::map(kernel, inputs, &shape, inputs[0].device())
}

#[track_caller]
fn run_reduce<B: Backend>(
    name: &'static str,
    op: ReduceOp,
    kernel: Kernel<'_>,
    inputs: &[&Tensor<B>],
    dims: &[usize],
) -> Tensor<B> {
    let shape = shape(name, inputs);
    B::reduce(op, kernel, inputs, &shape, dims)
}

/// The shape that all inputs broadcast to.
#[track_caller]
fn shape<B: Backend>(name: &'static str, inputs: &[&Tensor<B>]) -> Shape {
    let mut shape = inputs[0].shape().clone();
    for other in &inputs[1..] {
        inputs[0].same_device(name, other);
        if *other.shape() != shape {
            shape = match shape.broadcast(other.shape()) {
                Some(shape) => shape,
                None => raise(Error::Shape {
                    op: name,
                    shapes: inputs.iter().map(|x| x.shape().clone()).collect(),
                    why:
                        "these do not broadcast: sizes, aligned at the last dim, must be equal or 1"
                            .into(),
                }),
            };
        }
    }
    shape
}
