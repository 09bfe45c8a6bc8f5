//! What an optimizer updates: parameters, and groups of them with options of their own.

use std::fmt;
use std::sync::Arc;

use kiln_nn::Param;
use kiln_tensor_core::{Backend, Error, Tensor, raise};
use parking_lot::Mutex;

use crate::algorithm::Algorithm;
use crate::options::{Count, Options, OptionsMut};

/// Gives the current tensor of a parameter: another one after the parameter has been moved.
pub type Handle<B> = Arc<dyn Fn() -> Tensor<B> + Send + Sync>;

/// Something that holds a tensor with a gradient: a [`Param`] of a module, or a tensor itself.
pub trait Parameter {
    /// The tensor's backend.
    type Backend: Backend;

    /// The way to the tensor, now and later.
    fn handle(&self) -> Handle<Self::Backend>;
}

impl<B: Backend> Parameter for Tensor<B> {
    type Backend = B;

    fn handle(&self) -> Handle<B> {
        let tensor = self.clone();
        Arc::new(move || tensor.clone())
    }
}

impl<B: Backend> Parameter for Param<B> {
    type Backend = B;

    fn handle(&self) -> Handle<B> {
        let param = self.clone();
        Arc::new(move || param.tensor())
    }
}

impl<P: Parameter> Parameter for &P {
    type Backend = P::Backend;

    fn handle(&self) -> Handle<P::Backend> {
        (**self).handle()
    }
}

type Change<A> = Arc<dyn Fn(&mut A) + Send + Sync>;

/// Parameters that are updated with options of their own: what an optimizer's `group` function gives.
/// Options that the group does not set are those of the optimizer.
pub struct ParamGroup<B: Backend, A> {
    pub(crate) handles: Vec<Handle<B>>,
    pub(crate) states: Vec<State<B>>,
    pub(crate) options: Options<A>,
    pub(crate) initial_lr: Option<f64>,
    own: Vec<Change<A>>,
}

/// What an optimizer keeps for one parameter.
pub(crate) struct State<B: Backend> {
    /// The updates that there were; captured steps count too.
    pub(crate) count: Arc<Mutex<Count>>,
    pub(crate) slots: Vec<(&'static str, Tensor<B>)>,
}

impl<B: Backend> Default for State<B> {
    fn default() -> Self {
        State { count: Arc::default(), slots: Vec::new() }
    }
}

impl<B: Backend, A: Algorithm> ParamGroup<B, A> {
    pub(crate) fn new<P: Parameter<Backend = B>>(params: impl IntoIterator<Item = P>) -> Self {
        let handles: Vec<_> = params.into_iter().map(|param| param.handle()).collect();
        let states = handles.iter().map(|_| State::default()).collect();
        let (options, own) = (Options::new(A::default()), Vec::new());
        ParamGroup { handles, states, options, initial_lr: None, own }
    }

    /// The options that the group is updated with.
    pub fn options(&self) -> &A {
        &self.options
    }

    /// The options, to change from the next step on.
    pub fn options_mut(&mut self) -> OptionsMut<'_, A> {
        OptionsMut(&mut self.options)
    }

    /// The learning rate that schedulers start from, once one has been attached.
    pub fn initial_lr(&self) -> Option<f64> {
        self.initial_lr
    }

    /// The tensors of the parameters.
    pub fn params(&self) -> impl Iterator<Item = Tensor<B>> {
        self.handles.iter().map(|handle| handle())
    }

    /// The name and tensor of everything that the optimizer keeps for parameter `index`; empty before
    /// its first update.
    ///
    /// # Panics
    /// If there is no such parameter.
    pub fn state(&self, index: usize) -> impl Iterator<Item = (&'static str, &Tensor<B>)> {
        self.states[index].slots.iter().map(|(name, tensor)| (*name, tensor))
    }

    #[track_caller]
    pub(crate) fn with_option(mut self, change: impl Fn(&mut A) + Send + Sync + 'static) -> Self {
        self.options.change(&change);
        check(&*self.options);
        self.own.push(Arc::new(change));
        self
    }

    /// Starts from the optimizer's options and applies the group's own.
    pub(crate) fn inherit(&mut self, defaults: &A) {
        self.options.change(|options| {
            *options = defaults.clone();
            self.own.iter().for_each(|change| change(options));
        });
    }
}

/// Requires that each option is in its domain.
#[track_caller]
pub(crate) fn check<A: Algorithm>(options: &A) {
    if let Some(why) = options.invalid() {
        raise(Error::Argument { op: A::NAME, why });
    }
}

impl<B: Backend, A: Algorithm> fmt::Debug for ParamGroup<B, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParamGroup")
            .field("params", &self.handles.len())
            .field("options", &*self.options)
            .finish_non_exhaustive()
    }
}

/// What an optimizer is made of: parameters, which form one group, or whole groups.
pub trait Member<B: Backend, A: Algorithm> {
    /// Adds this to `groups`.
    fn join(self, groups: &mut Vec<ParamGroup<B, A>>);
}

impl<A: Algorithm, P: Parameter> Member<P::Backend, A> for P {
    fn join(self, groups: &mut Vec<ParamGroup<P::Backend, A>>) {
        if groups.is_empty() {
            groups.push(ParamGroup::new(std::iter::empty::<P>()));
        }
        groups[0].handles.push(self.handle());
        groups[0].states.push(State::default());
    }
}

impl<B: Backend, A: Algorithm> Member<B, A> for ParamGroup<B, A> {
    fn join(self, groups: &mut Vec<ParamGroup<B, A>>) {
        groups.push(self);
    }
}
