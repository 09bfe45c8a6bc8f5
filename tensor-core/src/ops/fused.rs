//! Users' own fused kernels: a closure over scalars becomes one pass over memory.

use parking_lot::Mutex;

use super::pointwise::{broadcast, only};
use crate::{Backend, DType, Expr, Kernel, ReduceOp, Shape, Tensor, Val};

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
        let mut programs = self.programs.lock();
        if let Some((_, expr)) = programs.iter().find(|(known, _)| *known == dtypes) {
            return expr.clone();
        }
        let expr = Expr::new(self.name, dtypes, &self.f);
        programs.push((dtypes, expr.clone()));
        expr
    }

    /// Runs the function on tensors that broadcast together.
    ///
    /// # Panics
    /// If the shapes do not broadcast or the devices differ.
    #[track_caller]
    pub fn call<B: Backend>(&self, inputs: [&Tensor<B>; N]) -> Tensor<B> {
        let shape = self.shape(&inputs);
        let expr = self.program(inputs.map(Tensor::dtype));
        only(B::map(Kernel::new(&expr), &inputs, &shape, inputs[0].device()))
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
        let shape = self.shape(&inputs);
        let expr = self.program(inputs.map(Tensor::dtype));
        B::reduce(op, Kernel::new(&expr), &inputs, &shape, dims)
    }

    #[track_caller]
    fn shape<B: Backend>(&self, inputs: &[&Tensor<B>; N]) -> Shape {
        let mut shape = inputs[0].shape().clone();
        for other in &inputs[1..] {
            inputs[0].same_device(self.name, other);
            if *other.shape() != shape {
                shape = match shape.broadcast(other.shape()) {
                    Some(shape) => shape,
                    None => broadcast(self.name, inputs[0], other),
                };
            }
        }
        shape
    }
}
