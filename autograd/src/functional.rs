//! Derivatives of functions of tensors: `torch.autograd.functional`.
//!
//! Each takes a function of `N` tensors and the tensors to differentiate at, as arrays of one length, and runs the
//! function once. An input that the function does not depend on has derivatives of zero.
//!
//! ```
//! use kiln_autograd::{Autograd, functional};
//! use kiln_backend_cpu::{Cpu, CpuDevice};
//! use kiln_tensor_core::Tensor;
//!
//! let x = Tensor::<Autograd<Cpu>>::from_slice(&[1.0, 2.0], [2], &CpuDevice);
//! let [j] = functional::jacobian(|[x]| x * x, [&x]);
//! assert_eq!(j.to_vec::<f64>(), [2.0, 0.0, 0.0, 4.0]);
//! let [[h]] = functional::hessian(|[x]| (x * x * x).sum(), [&x]);
//! assert_eq!(h.to_vec::<f64>(), [6.0, 0.0, 0.0, 12.0]);
//! ```

use kiln_tensor_core::{Backend, Error, Shape, Tensor, raise};

use crate::{Autograd, GradOptions, enable_grad};

type T<B> = Tensor<Autograd<B>>;

/// `J`, the derivatives of each element of `f(inputs)` in each element of each input: shapes
/// `[output…, input…]`. Takes one backward per element of the output; where it has more elements than the inputs,
/// [`jvp`] along each direction is cheaper.
///
/// # Panics
/// If an input or the output is not a float, and with what `f` raises.
#[track_caller]
pub fn jacobian<B: Backend, const N: usize>(
    f: impl FnOnce([&T<B>; N]) -> T<B>,
    inputs: [&T<B>; N],
) -> [T<B>; N] {
    Functional::new().jacobian(f, inputs)
}

/// The second derivatives of a function with one element: `hessian[i][j]` has shape `[input i…, input j…]`.
///
/// # Panics
/// If the output has more than one element; as [`jacobian`].
#[track_caller]
pub fn hessian<B: Backend, const N: usize>(
    f: impl FnOnce([&T<B>; N]) -> T<B>,
    inputs: [&T<B>; N],
) -> [[T<B>; N]; N] {
    Functional::new().hessian(f, inputs)
}

/// `f(inputs)` and `vᵀ · J`: the gradients of the inputs, if that of the output is `v`. One forward and one
/// backward.
///
/// # Panics
/// If `v` has not got the output's shape and dtype; as [`jacobian`].
#[track_caller]
pub fn vjp<B: Backend, const N: usize>(
    f: impl FnOnce([&T<B>; N]) -> T<B>,
    inputs: [&T<B>; N],
    v: &T<B>,
) -> (T<B>, [T<B>; N]) {
    Functional::new().vjp(f, inputs, v)
}

/// `f(inputs)` and `J · v`: how the output changes along `v`. One forward and two backwards: the gradient of a
/// gradient is linear in what the first began with (Townsend, "A new trick for calculating Jacobian vector
/// products", 2017).
///
/// # Panics
/// If the tensors of `v` have not got the inputs' shapes and dtypes; as [`jacobian`].
#[track_caller]
pub fn jvp<B: Backend, const N: usize>(
    f: impl FnOnce([&T<B>; N]) -> T<B>,
    inputs: [&T<B>; N],
    v: [&T<B>; N],
) -> (T<B>, T<B>) {
    Functional::new().jvp(f, inputs, v)
}

/// `f(inputs)`, which has one element, and its Hessian times `v`, which is never stored: one forward and two
/// backwards.
///
/// # Panics
/// If the output has more than one element, or the tensors of `v` have not got the inputs' shapes and dtypes; as
/// [`jacobian`].
#[doc(alias = "vhp")]
#[track_caller]
pub fn hvp<B: Backend, const N: usize>(
    f: impl FnOnce([&T<B>; N]) -> T<B>,
    inputs: [&T<B>; N],
    v: [&T<B>; N],
) -> (T<B>, [T<B>; N]) {
    Functional::new().hvp(f, inputs, v)
}

/// How these functions run.
///
/// ```
/// use kiln_autograd::{Autograd, Backward, functional::Functional};
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_tensor_core::Tensor;
///
/// // A penalty on the slope: its gradient is a derivative of a derivative.
/// let x = Tensor::<Autograd<Cpu>>::from_slice(&[1.0, 2.0], [2], &CpuDevice).requires_grad_(true);
/// let [slopes] = Functional::new().create_graph(true).jacobian(|[x]| (x * x * x).sum(), [&x]);
/// (&slopes * &slopes).sum().backward();
/// assert_eq!(x.grad().unwrap().to_vec::<f64>(), [36.0, 288.0]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Functional {
    create_graph: bool,
}

impl Functional {
    /// PyTorch's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the results are recorded, to be differentiated in the inputs that require gradients and in all else
    /// that the function uses.
    #[must_use]
    pub fn create_graph(mut self, on: bool) -> Self {
        self.create_graph = on;
        self
    }

    /// See [`jacobian`].
    ///
    /// # Panics
    /// As [`jacobian`].
    #[track_caller]
    pub fn jacobian<B: Backend, const N: usize>(
        self,
        f: impl FnOnce([&T<B>; N]) -> T<B>,
        inputs: [&T<B>; N],
    ) -> [T<B>; N] {
        let run = Run::new(self, "jacobian", f, inputs);
        self.rows(&run.out, &run.inputs)
    }

    /// See [`hessian`].
    ///
    /// # Panics
    /// As [`hessian`].
    #[track_caller]
    pub fn hessian<B: Backend, const N: usize>(
        self,
        f: impl FnOnce([&T<B>; N]) -> T<B>,
        inputs: [&T<B>; N],
    ) -> [[T<B>; N]; N] {
        let run = Run::new(self, "hessian", f, inputs);
        run.gradients("hessian").map(|gradient| self.rows(&gradient, &run.inputs))
    }

    /// See [`vjp`].
    ///
    /// # Panics
    /// As [`vjp`].
    #[track_caller]
    pub fn vjp<B: Backend, const N: usize>(
        self,
        f: impl FnOnce([&T<B>; N]) -> T<B>,
        inputs: [&T<B>; N],
        v: &T<B>,
    ) -> (T<B>, [T<B>; N]) {
        let run = Run::new(self, "vjp", f, inputs);
        let grads = pulled(&run.out, &run.inputs, Some(v), self.create_graph);
        (self.shown(run.out), grads)
    }

    /// See [`jvp`].
    ///
    /// # Panics
    /// As [`jvp`].
    #[track_caller]
    pub fn jvp<B: Backend, const N: usize>(
        self,
        f: impl FnOnce([&T<B>; N]) -> T<B>,
        inputs: [&T<B>; N],
        v: [&T<B>; N],
    ) -> (T<B>, T<B>) {
        let run = Run::new(self, "jvp", f, inputs);
        fitting("jvp", v, inputs);
        // Linear in `began`, whatever that is.
        let began = run.out.detach().zeros_like().requires_grad_(true);
        let grads = pulled(&run.out, &run.inputs, Some(&began), true);
        let along = self.pulled_along(&grads, &[&began], v).remove(0);
        (self.shown(run.out), along)
    }

    /// See [`hvp`].
    ///
    /// # Panics
    /// As [`hvp`].
    #[track_caller]
    pub fn hvp<B: Backend, const N: usize>(
        self,
        f: impl FnOnce([&T<B>; N]) -> T<B>,
        inputs: [&T<B>; N],
        v: [&T<B>; N],
    ) -> (T<B>, [T<B>; N]) {
        let run = Run::new(self, "hvp", f, inputs);
        fitting("hvp", v, inputs);
        let grads = run.gradients("hvp");
        let products = self.pulled_along(&grads, &run.inputs.each_ref(), v);
        (self.shown(run.out), products.try_into().expect("one for each input"))
    }

    /// The derivatives of each element of `out`, stacked.
    #[track_caller]
    fn rows<B: Backend, const N: usize>(self, out: &T<B>, inputs: &[T<B>; N]) -> [T<B>; N] {
        let mut rows: [Vec<T<B>>; N] = std::array::from_fn(|_| Vec::with_capacity(out.numel()));
        let flat = enable_grad(|| out.flatten(0, -1));
        for i in 0..out.numel() {
            let element = enable_grad(|| flat.select(0, i as isize));
            let grads = pulled(&element, inputs, None, self.create_graph);
            rows.iter_mut().zip(grads).for_each(|(rows, grad)| rows.push(grad));
        }
        let mut inputs = inputs.iter();
        rows.map(|rows| {
            let input = inputs.next().expect("as many rows as inputs");
            let shape: Shape = out.shape().iter().chain(input.shape().iter()).copied().collect();
            match rows.is_empty() {
                true => Tensor::zeros(shape, (input.device(), input.dtype())),
                false => Tensor::stack(&rows.iter().collect::<Vec<_>>(), 0).reshape_to(&shape),
            }
        })
    }

    /// The derivatives of `Σ v · grads` in `inputs`.
    #[track_caller]
    fn pulled_along<B: Backend, const N: usize>(
        self,
        grads: &[T<B>; N],
        inputs: &[&T<B>],
        v: [&T<B>; N],
    ) -> Vec<T<B>> {
        let (recorded, v): (Vec<&T<B>>, Vec<T<B>>) = grads
            .iter()
            .zip(v)
            .filter(|(grad, _)| grad.requires_grad())
            .map(|(grad, v)| (grad, v.clone()))
            .unzip();
        let found = match recorded.is_empty() {
            true => vec![None; inputs.len()],
            false => GradOptions::new()
                .grad_outputs(v)
                .retain_graph(true)
                .create_graph(self.create_graph)
                .allow_unused(&recorded, inputs),
        };
        found.into_iter().zip(inputs).map(|(grad, x)| or_zeros(grad, x)).collect()
    }

    fn shown<B: Backend>(self, out: T<B>) -> T<B> {
        if self.create_graph { out } else { out.detach() }
    }
}

/// A function that has run.
struct Run<B: Backend, const N: usize> {
    inputs: [T<B>; N],
    out: T<B>,
}

impl<B: Backend, const N: usize> Run<B, N> {
    #[track_caller]
    fn new(
        options: Functional,
        op: &'static str,
        f: impl FnOnce([&T<B>; N]) -> T<B>,
        inputs: [&T<B>; N],
    ) -> Self {
        if let Some(x) = inputs.iter().find(|x| !x.dtype().is_float()) {
            raise(Error::DType {
                op,
                dtypes: vec![x.dtype()],
                why: "only floats have derivatives".into(),
            });
        }
        enable_grad(|| {
            // Handles of their own: the derivatives are in these alone, though the caller's may be in `f` too.
            let inputs = inputs.map(|x| match options.create_graph && x.requires_grad() {
                true => x.view_as(x),
                false => x.detach().requires_grad_(true),
            });
            let out = f(inputs.each_ref());
            Run { inputs, out }
        })
    }

    /// The recorded gradients of one element.
    #[track_caller]
    fn gradients(&self, op: &'static str) -> [T<B>; N] {
        if self.out.numel() != 1 {
            raise(Error::Shape {
                op,
                shapes: vec![self.out.shape().clone()],
                why: "the function is to give one element; `jacobian` takes any number".into(),
            });
        }
        pulled(&self.out, &self.inputs, None, true)
    }
}

/// The gradients of `out` in the inputs, zeros where it does not depend on them.
#[track_caller]
fn pulled<B: Backend, const N: usize>(
    out: &T<B>,
    inputs: &[T<B>; N],
    v: Option<&T<B>>,
    create_graph: bool,
) -> [T<B>; N] {
    let found = match out.requires_grad() {
        false => vec![None; N],
        true => {
            let mut options = GradOptions::new().retain_graph(true).create_graph(create_graph);
            if let Some(v) = v {
                options = options.grad_outputs(vec![v.clone()]);
            }
            options.allow_unused(&[out], &inputs.each_ref())
        }
    };
    let mut found = found.into_iter();
    inputs.each_ref().map(|x| or_zeros(found.next().flatten(), x))
}

fn or_zeros<B: Backend>(grad: Option<T<B>>, like: &T<B>) -> T<B> {
    grad.unwrap_or_else(|| like.detach().zeros_like())
}

/// Requires directions of the inputs' shapes and dtypes.
#[track_caller]
fn fitting<B: Backend, const N: usize>(op: &'static str, v: [&T<B>; N], inputs: [&T<B>; N]) {
    for (v, x) in v.iter().zip(inputs) {
        if v.shape() != x.shape() || v.dtype() != x.dtype() {
            raise(Error::Shape {
                op,
                shapes: vec![x.shape().clone(), v.shape().clone()],
                why: format!(
                    "a direction has the shape and dtype of its input, {} of {}",
                    x.dtype(),
                    x.shape()
                ),
            });
        }
    }
}
