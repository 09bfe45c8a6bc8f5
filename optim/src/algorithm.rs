//! What an optimizer is: options, the names of its state, and one update, most often written over scalars.

use std::fmt::Debug;

use kiln_tensor_core::expr::Builder;
use kiln_tensor_core::{DType, Expr, Shape, Val};
use serde::Serialize;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;

/// The run-time parameters of an update.
pub type Numbers = SmallVec<[f64; 8]>;

/// The results of an update: the new parameter, then the new state in the order of the slots.
pub type Updated<'b> = SmallVec<[Val<'b>; 4]>;

/// An optimization algorithm. The implementing type holds its options (one set per parameter group);
/// [`Optimizer`](crate::Optimizer) does the rest: groups, state, state dicts. What an update does is written as
/// [`Elementwise`], or as a [`Step`](crate::Step) of its own where it looks at a parameter as a whole.
pub trait Algorithm:
    Clone + Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The name in messages and state dicts.
    const NAME: &'static str;

    /// What of the options shapes the program of the update, and so selects it; most often bools.
    type Flags: Copy + PartialEq + Debug + Send + Sync;

    /// The flags of these options.
    fn flags(&self) -> Self::Flags;

    /// The names of the tensors that the update keeps per parameter.
    fn slots(flags: Self::Flags) -> &'static [&'static str];

    /// The shape of one of those tensors for a parameter of shape `param`, which is its own for most; `None`
    /// where such a parameter has no need of it.
    fn slot_shape(slot: &str, param: &Shape) -> Option<Shape> {
        let _ = slot;
        Some(param.clone())
    }

    /// What one of those tensors is filled with when it is made.
    fn initial(&self, slot: &str) -> f64 {
        let _ = slot;
        0.0
    }

    /// What schedulers change: the learning rate, and the momentum or first beta if there is one.
    fn tuned(&mut self) -> (&mut f64, Option<&mut f64>);

    /// What is wrong with an option by itself, if anything.
    fn invalid(&self) -> Option<String>;

    /// What is wrong with the options taken together, if anything.
    fn conflict(&self) -> Option<String> {
        None
    }

    /// Why a parameter of this shape cannot be updated, if so.
    fn unfit(param: &Shape) -> Option<String> {
        let _ = param;
        None
    }
}

/// An algorithm that updates element by element: one fused pass over all parameters.
pub trait Elementwise: Algorithm {
    /// The run-time parameters of an update.
    fn numbers(&self, past: &mut Past<'_>) -> Numbers;

    /// The update of one element.
    fn update<'b>(flags: Self::Flags, x: &Element<'b>) -> Updated<'b>;
}

/// What an update knows of those before it.
#[derive(Debug)]
pub struct Past<'a> {
    /// The number of the parameter's update; the first is 1.
    pub step: u64,
    /// Whether its state has just been made.
    pub fresh: bool,
    /// A number that the algorithm may carry from update to update, 0 before the first.
    pub kept: &'a mut f64,
}

/// What an update computes with: one element of a parameter, of its gradient and of its state.
#[derive(Debug)]
pub struct Element<'b> {
    /// The parameter.
    pub param: Val<'b>,
    /// Its gradient.
    pub grad: Val<'b>,
    /// The state, in the order of [`Algorithm::slots`].
    pub slots: SmallVec<[Val<'b>; 4]>,
    numbers: SmallVec<[Val<'b>; 8]>,
}

impl<'b> Element<'b> {
    /// The run-time parameters, as [`Elementwise::numbers`] gives them.
    ///
    /// # Panics
    /// If there are not `N` of them.
    pub fn numbers<const N: usize>(&self) -> [Val<'b>; N] {
        self.numbers.as_slice().try_into().expect("one name for each number of the algorithm")
    }

    /// The gradient with its sign turned where the objective is to be maximized, plus `decay · param`
    /// where there is weight decay.
    pub fn gradient(&self, maximize: bool, decay: Option<Val<'b>>) -> Val<'b> {
        let grad = if maximize { -self.grad } else { self.grad };
        decay.map_or(grad, |decay| grad + self.param * decay)
    }

    /// The parameter and its gradient with weight decay by the number that [`decay`] gives: the L2 penalty
    /// in the gradient or, decoupled, a factor of the parameter.
    pub(crate) fn decayed(
        &self,
        maximize: bool,
        decoupled: bool,
        decay: Option<Val<'b>>,
    ) -> (Val<'b>, Val<'b>) {
        match decay {
            Some(decay) if decoupled => (self.param * decay, self.gradient(maximize, None)),
            decay => (self.param, self.gradient(maximize, decay)),
        }
    }

    /// The running means of the gradient and of its square, which are in the first two slots.
    pub(crate) fn moments(
        &self,
        grad: Val<'b>,
        [weight1, beta2, weight2]: [Val<'b>; 3],
        near_end: bool,
    ) -> (Val<'b>, Val<'b>) {
        let mean = lerp(self.slots[0], grad, weight1, near_end);
        (mean, self.slots[1] * beta2 + grad * grad * weight2)
    }
}

/// The run-time parameter of weight decay; see [`Element::decayed`].
pub(crate) fn decay(lr: f64, weight_decay: f64, decoupled: bool) -> f64 {
    if decoupled { 1.0 - lr * weight_decay } else { weight_decay }
}

/// `from + weight · (to − from)`, computed from the nearer end as `torch.lerp` does: `near_end` says
/// that the weight is at least ½.
pub(crate) fn lerp<'b>(from: Val<'b>, to: Val<'b>, weight: Val<'b>, near_end: bool) -> Val<'b> {
    if near_end { to - (to - from) * (1.0 - weight) } else { from + weight * (to - from) }
}

/// The program of an update on parameters of `dtype`. Narrow floats are computed in `f32` and rounded
/// once, when stored.
pub(crate) fn program<A: Elementwise>(flags: A::Flags, dtype: DType, numbers: usize) -> Expr {
    let slots = A::slots(flags).len();
    let builder = Builder::new(&vec![dtype; 2 + slots]);
    let input = |i| builder.input(i).cast(dtype.compute());
    let element = Element {
        param: input(0),
        grad: input(1),
        slots: (2..2 + slots).map(input).collect(),
        numbers: (0..numbers).map(|_| builder.param(dtype.compute())).collect(),
    };
    let updated = A::update(flags, &element);
    debug_assert_eq!(updated.len(), 1 + slots, "{}: one result per slot", A::NAME);
    let outputs: Vec<_> = updated.iter().map(|value| (value.id(), dtype)).collect();
    drop((element, updated));
    builder.finish(A::NAME, &outputs)
}

/// Declares an options struct: one row per option with its default and its domain. Makes the struct,
/// its `Default`, the check of the domains, and builder methods on the optimizer and its groups.
macro_rules! options {
    (
        $(#[$meta:meta])*
        $name:ident $([const $flag:ident])? {$(
            $(#[$doc:meta])*
            $field:ident($($arg:ident: $arg_ty:ty),*): $ty:ty = $default:expr, $domain:expr;
        )*}
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name $(<const $flag: bool>)? {$(
            $(#[$doc])*
            pub $field: $ty,
        )*}

        impl $(<const $flag: bool>)? Default for $name $(<$flag>)? {
            fn default() -> Self {
                $name { $($field: $default),* }
            }
        }

        impl $(<const $flag: bool>)? $name $(<$flag>)? {
            fn out_of_domain(&self) -> Option<String> {
                $({
                    #[allow(unused_parens, unused_variables, reason = "one or several arguments")]
                    let ($($arg),*) = self.$field;
                    let allowed: bool = $domain;
                    if !allowed {
                        return Some(format!(
                            "{} = {:?} is not allowed; the condition is {}",
                            stringify!($field), self.$field, stringify!($domain),
                        ));
                    }
                })*
                None
            }
        }

        impl<B: kiln_tensor_core::Backend $(, const $flag: bool)?>
            crate::Optimizer<B, $name $(<$flag>)?>
        {$(
            $(#[$doc])*
            ///
            /// Sets it for all groups that have not got one of their own.
            ///
            /// # Panics
            /// If the value is outside its domain.
            #[must_use]
            #[track_caller]
            pub fn $field(self, $($arg: $arg_ty),*) -> Self {
                #[allow(unused_parens, reason = "one or several arguments")]
                let value = ($($arg),*);
                self.with_option(move |options| options.$field = value)
            }
        )*}

        impl<B: kiln_tensor_core::Backend $(, const $flag: bool)?>
            crate::ParamGroup<B, $name $(<$flag>)?>
        {$(
            $(#[$doc])*
            ///
            /// Sets it for this group.
            ///
            /// # Panics
            /// If the value is outside its domain.
            #[must_use]
            #[track_caller]
            pub fn $field(self, $($arg: $arg_ty),*) -> Self {
                #[allow(unused_parens, reason = "one or several arguments")]
                let value = ($($arg),*);
                self.with_option(move |options| options.$field = value)
            }
        )*}
    };
}
pub(crate) use options;
