//! L-BFGS.

mod line_search;
mod state;

use kiln_tensor_core::{Backend, Error, FusedWith, Tensor, raise};
use line_search::{Point, Search};

use crate::lr_scheduler::{Schedulable, Setting};
use crate::param::{Handle, Parameter};
use state::Memory;

/// How far [`LBFGS`] goes along a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineSearch {
    /// As far as the learning rate says.
    #[default]
    None,
    /// To where the strong Wolfe conditions hold.
    StrongWolfe,
}

/// The quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno with limited memory (Nocedal 1980), for losses
/// without noise: `torch.optim.LBFGS`.
///
/// One step is several iterations, each of which evaluates the loss at least once, so it takes a closure. There is one
/// group of parameters, on one device. The loss and the products of directions are read back at each iteration.
///
/// ```
/// use kiln_autograd::{Autograd, Backward};
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_optim::{LBFGS, LineSearch};
/// use kiln_tensor_core::Tensor;
///
/// let x = Tensor::<Autograd<Cpu>>::from_slice(&[-1.5, 2.0], [2], &CpuDevice).requires_grad_(true);
/// let mut lbfgs = LBFGS::new([&x]).line_search_fn(LineSearch::StrongWolfe);
/// for _ in 0..3 {
///     lbfgs.step_with(|lbfgs| {
///         lbfgs.zero_grad();
///         // Rosenbrock's valley, whose lowest point is (1, 1).
///         let (a, b) = (x.select(0, 0), x.select(0, 1));
///         let loss = (1.0 - &a).square() + (&b - a.square()).square() * 100.0;
///         loss.backward();
///         loss
///     });
/// }
/// assert!((x.detach() - 1.0).abs().max().item() < 1e-4);
/// ```
pub struct LBFGS<B: Backend> {
    handles: Vec<Handle<B>>,
    lr: f64,
    initial_lr: Option<f64>,
    max_iter: usize,
    max_eval: Option<usize>,
    tolerance_grad: f64,
    tolerance_change: f64,
    history_size: usize,
    line_search_fn: LineSearch,
    maximize: bool,
    memory: Memory<B>,
}

impl<B: Backend> std::fmt::Debug for LBFGS<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LBFGS")
            .field("params", &self.handles.len())
            .field("lr", &self.lr)
            .field("line_search_fn", &self.line_search_fn)
            .finish_non_exhaustive()
    }
}

impl<B: Backend> LBFGS<B> {
    /// With learning rate 1, 20 iterations a step, a memory of 100, and no line search.
    ///
    /// # Panics
    /// If there are no parameters, or one is not a float or the result of an operation.
    #[track_caller]
    pub fn new<P: Parameter<Backend = B>>(params: impl IntoIterator<Item = P>) -> Self {
        let handles: Vec<_> = params.into_iter().map(|param| param.handle()).collect();
        require(!handles.is_empty(), "there are no parameters");
        for param in handles.iter().map(|handle| handle()) {
            require(param.dtype().is_float(), "only floats have gradients");
            require(param.grad_fn().is_none(), "only leaves are optimized");
        }
        LBFGS {
            handles,
            lr: 1.0,
            initial_lr: None,
            max_iter: 20,
            max_eval: None,
            tolerance_grad: 1e-7,
            tolerance_change: 1e-9,
            history_size: 100,
            line_search_fn: LineSearch::None,
            maximize: false,
            memory: Memory::default(),
        }
    }

    /// The learning rate: how far to go along a direction, or where the line search looks first.
    ///
    /// # Panics
    /// If it is negative.
    #[must_use]
    #[track_caller]
    pub fn lr(mut self, lr: f64) -> Self {
        require(lr >= 0.0, "the condition is lr >= 0");
        self.lr = lr;
        self
    }

    /// The most iterations in a step.
    #[must_use]
    pub fn max_iter(mut self, max_iter: usize) -> Self {
        self.max_iter = max_iter;
        self
    }

    /// The most evaluations of the loss in a step; by default 1.25 for each iteration.
    #[must_use]
    pub fn max_eval(mut self, max_eval: usize) -> Self {
        self.max_eval = Some(max_eval);
        self
    }

    /// The step ends where no element of the gradient is larger.
    #[must_use]
    pub fn tolerance_grad(mut self, tolerance_grad: f64) -> Self {
        self.tolerance_grad = tolerance_grad;
        self
    }

    /// The step ends where neither parameters nor the loss change by more.
    #[must_use]
    pub fn tolerance_change(mut self, tolerance_change: f64) -> Self {
        self.tolerance_change = tolerance_change;
        self
    }

    /// How many past directions are kept, each with two tensors as large as all parameters together.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn history_size(mut self, history_size: usize) -> Self {
        require(history_size > 0, "the condition is history_size > 0");
        self.history_size = history_size;
        self
    }

    /// How far to go along a direction.
    #[must_use]
    pub fn line_search_fn(mut self, line_search_fn: LineSearch) -> Self {
        self.line_search_fn = line_search_fn;
        self
    }

    /// Whether to go uphill.
    #[must_use]
    pub fn maximize(mut self, maximize: bool) -> Self {
        self.maximize = maximize;
        self
    }

    /// The tensors of the parameters.
    pub fn params(&self) -> impl Iterator<Item = Tensor<B>> {
        self.handles.iter().map(|handle| handle())
    }

    /// Drops all gradients.
    pub fn zero_grad(&self) {
        self.params().for_each(|param| param.set_grad(None));
    }

    /// The learning rate.
    pub fn get_lr(&self) -> f64 {
        self.lr
    }

    /// Sets the learning rate.
    pub fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    /// How often the loss has been evaluated.
    pub fn func_evals(&self) -> u64 {
        self.memory.func_evals
    }

    /// Minimizes the loss that `closure` gives, after it has dropped the old gradients and computed new ones; gives
    /// the loss of before.
    ///
    /// # Panics
    /// If the loss is not one number, or parameters are on several devices.
    #[track_caller]
    pub fn step_with(&mut self, mut closure: impl FnMut(&Self) -> Tensor<B>) -> Tensor<B> {
        let max_eval = self.max_eval.unwrap_or(self.max_iter * 5 / 4);
        let sign = if self.maximize { -1.0 } else { 1.0 };
        let before = closure(self);
        let mut loss = sign * before.item();
        let mut evals = 1;
        self.memory.func_evals += 1;
        let mut grad = self.flat_grad();
        let mut flat = largest(&grad) <= self.tolerance_grad;
        let mut iterations = 0;
        while !flat && iterations < self.max_iter {
            iterations += 1;
            let first = self.memory.n_iter == 0;
            self.memory.n_iter += 1;
            let way = self.memory.direction(&grad, self.history_size);
            self.memory.goes(&way, &grad);
            let last_loss = loss;
            self.memory.t =
                if first { self.lr * (1.0 / grad.abs().sum().item()).min(1.0) } else { self.lr };
            let slope = grad.dot(&way).item();
            if slope > -self.tolerance_change {
                break;
            }
            let mut used = 0;
            if self.line_search_fn == LineSearch::StrongWolfe {
                let from: Vec<_> = self.params().map(|param| param.detach().copy()).collect();
                let search = Search {
                    start: Point { t: 0.0, loss, grad, slope },
                    t: self.memory.t,
                    reach: largest(&way),
                    tolerance_change: self.tolerance_change,
                    max_evals: max_eval.saturating_sub(evals),
                };
                let (to, count) = search.run(|t| {
                    self.move_by(t, &way);
                    let loss = sign * closure(self).item();
                    let grad = self.flat_grad();
                    for (param, from) in self.params().zip(&from) {
                        param.detach().copy_(from);
                    }
                    let slope = grad.dot(&way).item();
                    Point { t, loss, grad, slope }
                });
                used = count;
                (loss, grad, self.memory.t) = (to.loss, to.grad, to.t);
                self.move_by(self.memory.t, &way);
                flat = largest(&grad) <= self.tolerance_grad;
            } else {
                self.move_by(self.memory.t, &way);
                // Another step evaluates the loss first, so the last iteration has no need to.
                if iterations < self.max_iter {
                    loss = sign * closure(self).item();
                    grad = self.flat_grad();
                    flat = largest(&grad) <= self.tolerance_grad;
                    used = 1;
                }
            }
            evals += used;
            self.memory.func_evals += used as u64;
            let still = || largest(&way) * self.memory.t.abs() <= self.tolerance_change;
            let enough = iterations == self.max_iter || evals >= max_eval;
            if enough || still() || (loss - last_loss).abs() < self.tolerance_change {
                break;
            }
        }
        before
    }

    /// All gradients in one vector, zeros where there is none, downhill.
    fn flat_grad(&self) -> Tensor<B> {
        let flat = self.params().map(|param| match param.grad() {
            Some(grad) => grad.detach().reshape([-1]),
            None => Tensor::zeros([param.numel()], (param.device(), param.dtype())),
        });
        let flat = Tensor::cat(&flat.collect::<Vec<_>>(), 0);
        if self.maximize { -flat } else { flat }
    }

    /// Adds `t · way` to the parameters.
    fn move_by(&self, t: f64, way: &Tensor<B>) {
        static MOVE: FusedWith<2, 1> = FusedWith::new("LBFGS", |[x, way], [t]| x + way * t);
        let mut start = 0;
        for param in self.params() {
            let (param, count) = (param.detach(), param.numel());
            let part = way.narrow(0, start, count).reshape_to(param.shape());
            param.copy_(&MOVE.call([&param, &part], [t]));
            start += count;
        }
    }
}

impl<B: Backend> Schedulable for LBFGS<B> {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        vec![Setting { lr: &mut self.lr, momentum: None, initial_lr: &mut self.initial_lr }]
    }
}

/// The largest magnitude; 0 where there are no elements.
fn largest<B: Backend>(x: &Tensor<B>) -> f64 {
    if x.numel() == 0 { 0.0 } else { x.abs().max().item() }
}

#[track_caller]
fn require(holds: bool, why: &str) {
    if !holds {
        raise(Error::Argument { op: "LBFGS", why: why.into() });
    }
}
