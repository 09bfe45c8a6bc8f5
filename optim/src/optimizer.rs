//! Groups of parameters and their options: the same for every algorithm.

use std::sync::atomic::{AtomicU64, Ordering};

use kiln_tensor_core::{Backend, Error, Tensor, raise};

use crate::algorithm::Algorithm;
use crate::param::{Member, ParamGroup, Parameter, check};
use crate::step::{Pass, Programs, Step};

/// An optimizer that runs algorithm `A`, as [`SGD`](crate::SGD) and [`Adam`](crate::Adam) do; each has its name.
///
/// A step updates parameters and state in place, for most algorithms in one fused pass over all parameters of a group.
/// Parameters without a gradient are left alone, and so is their state. State is made at a parameter's
/// first update and follows it to another device or dtype.
///
/// ```no_run
/// # use kiln_tensor_core::{Backend, Tensor};
/// use kiln_optim::{Adam, SGD};
/// # fn f<B: Backend>(weight: &Tensor<B>, base: [Tensor<B>; 2], head: [Tensor<B>; 1]) {
/// let adam = Adam::new([weight]).lr(1e-3).betas(0.9, 0.99);
/// // Groups: what one does not set is the optimizer's.
/// let sgd = SGD::new([SGD::group(base), SGD::group(head).lr(1e-3)]).lr(1e-2).momentum(0.9);
/// # }
/// ```
#[derive(Debug)]
pub struct Optimizer<B: Backend, A: Algorithm> {
    pub(crate) groups: Vec<ParamGroup<B, A>>,
    defaults: A,
    programs: Programs<A>,
    id: u64,
}

impl<B: Backend, A: Algorithm> Optimizer<B, A> {
    /// An optimizer of parameters (`net.parameters()`), or of groups made with
    /// [`Optimizer::group`]. Options are PyTorch's defaults until set.
    ///
    /// # Panics
    /// If there are no parameters, or one comes twice, is not a float, is the result of an operation,
    /// or has elements that share memory.
    #[track_caller]
    pub fn new<M: Member<B, A>>(params: impl IntoIterator<Item = M>) -> Self {
        let mut groups = Vec::new();
        params.into_iter().for_each(|member| member.join(&mut groups));
        if groups.is_empty() {
            refuse::<A>("there are no parameters".into());
        }
        static IDS: AtomicU64 = AtomicU64::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let (defaults, programs) = (A::default(), Vec::new());
        let mut optimizer = Optimizer { groups: Vec::new(), defaults, programs, id };
        for group in groups {
            optimizer.add_param_group(group);
        }
        optimizer
    }

    /// Parameters that get options of their own.
    pub fn group<P: Parameter<Backend = B>>(
        params: impl IntoIterator<Item = P>,
    ) -> ParamGroup<B, A> {
        ParamGroup::new(params)
    }

    /// Adds a group; options that it does not set are the optimizer's.
    ///
    /// # Panics
    /// As [`Optimizer::new`].
    #[track_caller]
    pub fn add_param_group(&mut self, mut group: ParamGroup<B, A>) {
        let mut known: Vec<Tensor<B>> = self.groups.iter().flat_map(ParamGroup::params).collect();
        for param in group.params() {
            if let Some(why) = unfit(&param, &known).or_else(|| A::unfit(param.shape())) {
                refuse::<A>(why);
            }
            known.push(param);
        }
        group.inherit(&self.defaults);
        self.groups.push(group);
    }

    #[track_caller]
    pub(crate) fn with_option(mut self, change: impl Fn(&mut A)) -> Self {
        change(&mut self.defaults);
        check(&self.defaults);
        self.groups.iter_mut().for_each(|group| group.inherit(&self.defaults));
        self
    }

    /// What tells this optimizer from all others.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The groups, in the order in which they were added.
    pub fn param_groups(&self) -> &[ParamGroup<B, A>] {
        &self.groups
    }

    /// The groups, to change their options.
    pub fn param_groups_mut(&mut self) -> &mut [ParamGroup<B, A>] {
        &mut self.groups
    }

    /// The learning rate of each group.
    pub fn get_lr(&self) -> Vec<f64> {
        self.groups.iter().map(|group| *A::clone(&group.options).tuned().0).collect()
    }

    /// Sets the learning rate of all groups.
    pub fn set_lr(&mut self, lr: f64) {
        self.groups
            .iter_mut()
            .for_each(|group| group.options.change(|options| *options.tuned().0 = lr));
    }

    /// Drops all gradients.
    pub fn zero_grad(&self) {
        self.groups.iter().flat_map(ParamGroup::params).for_each(|param| param.set_grad(None));
    }
}

impl<B: Backend, A: Step> Optimizer<B, A> {
    /// Updates each parameter that has a gradient.
    ///
    /// In a step that is captured (see [`kiln_tensor_core::graph`]), each replay counts as an update with the
    /// options that the groups have then.
    ///
    /// # Panics
    /// If options contradict each other; with [`Error::Capture`] in a step that is captured, if there is state
    /// that this is the first update to make.
    #[track_caller]
    pub fn step(&mut self) {
        for group in &mut self.groups {
            if let Some(why) = group.options.conflict() {
                refuse::<A>(why);
            }
            A::step(Pass { group, programs: &mut self.programs });
        }
    }

    /// Evaluates the loss with `closure`, which also computes the gradients, then updates.
    ///
    /// ```no_run
    /// # use kiln_tensor_core::{Backend, Tensor};
    /// # fn f<B: Backend>(sgd: &mut kiln_optim::SGD<B>, forward_and_backward: impl Fn() -> Tensor<B>) {
    /// let loss = sgd.step_with(|sgd| {
    ///     sgd.zero_grad();
    ///     forward_and_backward()
    /// });
    /// # }
    /// ```
    ///
    /// # Panics
    /// As [`Optimizer::step`].
    #[track_caller]
    pub fn step_with<T>(&mut self, closure: impl FnOnce(&Self) -> T) -> T {
        let loss = closure(self);
        self.step();
        loss
    }
}

/// Why a tensor cannot be a parameter beside the known ones.
fn unfit<B: Backend>(param: &Tensor<B>, known: &[Tensor<B>]) -> Option<String> {
    let same = |other: &Tensor<B>| {
        B::shares_storage(other, param) && other.layout() == param.layout() && param.numel() > 0
    };
    if !param.dtype().is_float() {
        Some(format!("a parameter is {}; only floats have gradients", param.dtype()))
    } else if let Some(name) = param.grad_fn() {
        Some(format!("a parameter is the result of {name}; only leaves are optimized"))
    } else if param.layout().may_overlap() {
        Some("elements of a parameter share memory; pass a `copy` of it".into())
    } else {
        known.iter().any(same).then(|| format!("the parameter {param:?} comes twice"))
    }
}

#[track_caller]
fn refuse<A: Algorithm>(why: String) -> ! {
    raise(Error::Argument { op: A::NAME, why })
}
