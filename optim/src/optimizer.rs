//! Groups, state, and one fused pass over all parameters: the same for every algorithm.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use kiln_tensor_core::graph::{Live, is_capturing};
use kiln_tensor_core::{Backend, DType, Error, Expr, Kernel, Scalar, Tensor, raise};

use crate::algorithm::{Algorithm, Numbers, program};
use crate::options::counted;
use crate::param::{Member, ParamGroup, Parameter, State, check};

/// An optimizer that runs algorithm `A`: [`SGD`](crate::SGD), [`Adam`](crate::Adam),
/// [`AdamW`](crate::AdamW), [`RMSprop`](crate::RMSprop), [`Adagrad`](crate::Adagrad).
///
/// A step updates parameters and state in place, in one fused pass over all parameters of a group.
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
    programs: Vec<(A::Flags, DType, Expr)>,
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
        let mut optimizer =
            Optimizer { groups: Vec::new(), defaults: A::default(), programs: Vec::new() };
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
            if let Some(why) = unfit(&param, &known) {
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
            group.step(&mut self.programs);
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

/// The tensors of one parameter's update.
struct Update<B: Backend> {
    grad: Tensor<B>,
    /// The parameter, then its state.
    targets: Vec<Tensor<B>>,
}

impl<B: Backend, A: Algorithm> ParamGroup<B, A> {
    #[track_caller]
    fn step(&mut self, programs: &mut Vec<(A::Flags, DType, Expr)>) {
        if let Some(why) = self.options.conflict() {
            refuse::<A>(why);
        }
        let flags = self.options.flags();
        let told = is_capturing().then(|| self.options.told());
        // Parameters that take the same numbers go together; most often that is all of them.
        let mut batches: Vec<Batch<B>> = Vec::new();
        for (handle, state) in self.handles.iter().zip(&mut self.states) {
            let param = handle();
            let Some(grad) = gradient(&param) else { continue };
            let param = param.detach();
            if told.is_some() && !state.is_ready(A::slots(flags), &param) {
                let why = "the first update makes state, which a replay would make again; run the step once \
                           before it is captured";
                raise(Error::Capture { op: A::NAME, why: why.into() });
            }
            let step = counted(&state.step);
            let fresh = state.prepare(A::slots(flags), &param, self.options.initial());
            let numbers = self.options.numbers(step, fresh);
            let (dtype, device) = (param.dtype(), param.device().clone());
            let mut targets = vec![param];
            targets.extend(state.slots.iter().map(|(_, slot)| slot.clone()));
            let update = Update { grad, targets };
            // Those that are apart by their counts may part in a replay, with other options.
            let alike = |batch: &&mut Batch<B>| {
                batch.numbers == numbers
                    && batch.dtype == dtype
                    && batch.device == device
                    && (told.is_none() || batch.step == step)
            };
            let batch = match batches.iter_mut().find(alike) {
                Some(batch) => batch,
                None => {
                    let (updates, steps) = (Vec::new(), Vec::new());
                    batches.push(Batch { numbers, dtype, device, step, updates, steps });
                    batches.last_mut().expect("pushed above")
                }
            };
            batch.updates.push(update);
            if told.is_some() {
                batch.steps.push(state.step.clone());
            }
        }
        for Batch { numbers, dtype, updates, steps, .. } in batches {
            let known = programs.iter().position(|(f, d, _)| *f == flags && *d == dtype);
            let at = known.unwrap_or_else(|| {
                programs.push((flags, dtype, program::<A>(flags, dtype, numbers.len())));
                programs.len() - 1
            });
            let numbers: Vec<Scalar> = numbers.iter().map(|&number| number.into()).collect();
            let tensors: Vec<_> = updates.iter().map(Update::tensors).collect();
            let live = told
                .clone()
                .and_then(|told| Live::captured(|| move || told.lock().again(flags, &steps)));
            let kernel = Kernel::with(&programs[at].2, &numbers).live(live.as_ref());
            B::map_each_into(kernel, &tensors);
        }
    }
}

/// Updates that one program does with the same numbers.
struct Batch<B: Backend> {
    numbers: Numbers,
    dtype: DType,
    device: B::Device,
    step: u64,
    updates: Vec<Update<B>>,
    /// The parameters' counts, for the replays of a captured step.
    steps: Vec<Arc<AtomicU64>>,
}

impl<B: Backend> Update<B> {
    /// Inputs and outputs of the program.
    fn tensors(&self) -> (Vec<&Tensor<B>>, Vec<&Tensor<B>>) {
        let outputs: Vec<_> = self.targets.iter().collect();
        let mut inputs = outputs.clone();
        inputs.insert(1, &self.grad);
        (inputs, outputs)
    }
}

/// The gradient of a parameter (of its shape and dtype, as `set_grad` has checked), apart from the
/// parameter's memory.
fn gradient<B: Backend>(param: &Tensor<B>) -> Option<Tensor<B>> {
    let grad = param.grad()?.detach();
    let apart = !B::shares_storage(param, &grad) || param.layout() == grad.layout();
    Some(if apart { grad } else { grad.copy() })
}

impl<B: Backend> State<B> {
    /// Makes what is missing and brings the rest to where the parameter is; slots that the options no
    /// longer use are dropped. True if something was made.
    fn prepare(&mut self, names: &[&'static str], param: &Tensor<B>, initial: f64) -> bool {
        let mut fresh = false;
        let mut old = std::mem::take(&mut self.slots);
        for &name in names {
            let slot = match old.iter().position(|(known, _)| *known == name) {
                Some(at) => beside(&old.swap_remove(at).1, param),
                None => {
                    fresh = true;
                    Tensor::full(param.dims(), initial, (param.device(), param.dtype()))
                }
            };
            self.slots.push((name, slot));
        }
        fresh
    }

    /// Whether there is nothing to make or to bring.
    fn is_ready(&self, names: &[&'static str], param: &Tensor<B>) -> bool {
        let ready =
            |slot: &Tensor<B>| slot.device() == param.device() && slot.dtype() == param.dtype();
        names.iter().all(|&name| self.slots.iter().any(|(n, slot)| *n == name && ready(slot)))
    }
}

/// The tensor on the device and in the dtype of `param`.
pub(crate) fn beside<B: Backend>(x: &Tensor<B>, param: &Tensor<B>) -> Tensor<B> {
    x.to(param.device()).to_dtype(param.dtype())
}
