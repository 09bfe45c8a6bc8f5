//! A step: one fused pass over all parameters of a group, or one parameter after the other.

use std::sync::Arc;

use kiln_tensor_core::graph::{Live, is_capturing};
use kiln_tensor_core::{Backend, DType, Error, Expr, Kernel, Scalar, Tensor, raise, set_autocast};
use parking_lot::Mutex;

use crate::algorithm::{Algorithm, Elementwise, Numbers, program};
use crate::options::Count;
use crate::param::{ParamGroup, State};

/// The programs that an optimizer has written, by flags and dtype.
pub(crate) type Programs<A> = Vec<(<A as Algorithm>::Flags, DType, Expr)>;

/// An algorithm that [`Optimizer`](crate::Optimizer) can run: each that is [`Elementwise`], and those that look at a
/// parameter as a whole.
pub trait Step: Algorithm {
    /// Updates the parameters of a group that have a gradient.
    fn step<B: Backend>(pass: Pass<'_, B, Self>);
}

/// A group whose parameters are to be updated.
#[derive(Debug)]
pub struct Pass<'a, B: Backend, A: Algorithm> {
    pub(crate) group: &'a mut ParamGroup<B, A>,
    pub(crate) programs: &'a mut Programs<A>,
}

impl<A: Elementwise> Step for A {
    #[track_caller]
    fn step<B: Backend>(pass: Pass<'_, B, Self>) {
        let Pass { group, programs } = pass;
        let flags = group.options.flags();
        let told = is_capturing().then(|| group.options.told());
        // Parameters that take the same numbers go together; most often that is all of them.
        let mut batches: Vec<Batch<B>> = Vec::new();
        for (handle, state) in group.handles.iter().zip(&mut group.states) {
            let param = handle();
            let Some(grad) = gradient(&param) else { continue };
            let param = param.detach();
            if told.is_some() && !state.is_ready::<A>(flags, &param) {
                let why = "the first update makes state, which a replay would make again; run the step once \
                           before it is captured";
                raise(Error::Capture { op: A::NAME, why: why.into() });
            }
            let fresh = state.prepare(&*group.options, &param);
            let (numbers, count) = {
                let mut count = state.count.lock();
                (group.options.numbers(&mut count.next(fresh)), *count)
            };
            let (dtype, device) = (param.dtype(), param.device().clone());
            let mut targets = vec![param];
            targets.extend(state.slots.iter().map(|(_, slot)| slot.clone()));
            let update = Update { grad, targets };
            // Those that are apart by their counts may part in a replay, with other options.
            let alike = |batch: &&mut Batch<B>| {
                batch.numbers == numbers
                    && batch.dtype == dtype
                    && batch.device == device
                    && (told.is_none() || batch.count == count)
            };
            let batch = match batches.iter_mut().find(alike) {
                Some(batch) => batch,
                None => {
                    let (updates, counts) = (Vec::new(), Vec::new());
                    batches.push(Batch { numbers, dtype, device, count, updates, counts });
                    batches.last_mut().expect("pushed above")
                }
            };
            batch.updates.push(update);
            if told.is_some() {
                batch.counts.push(state.count.clone());
            }
        }
        for Batch { numbers, dtype, updates, counts, .. } in batches {
            let known = programs.iter().position(|(f, d, _)| *f == flags && *d == dtype);
            let at = known.unwrap_or_else(|| {
                programs.push((flags, dtype, program::<A>(flags, dtype, numbers.len())));
                programs.len() - 1
            });
            let numbers: Vec<Scalar> = numbers.iter().map(|&number| number.into()).collect();
            let tensors: Vec<_> = updates.iter().map(Update::tensors).collect();
            let live = told
                .clone()
                .and_then(|told| Live::captured(|| move || told.lock().again(flags, &counts)));
            let kernel = Kernel::with(&programs[at].2, &numbers).live(live.as_ref());
            B::map_each_into(kernel, &tensors);
        }
    }
}

/// What the update of one parameter as a whole is made of.
#[derive(Debug)]
pub(crate) struct Whole<'a, B: Backend, A> {
    pub(crate) options: &'a A,
    /// Without history, to be written to.
    pub(crate) param: Tensor<B>,
    pub(crate) grad: Tensor<B>,
    /// Those of the slots that such a parameter has, in their order, to be written to.
    pub(crate) slots: Vec<Tensor<B>>,
    /// The number of the update; the first is 1.
    pub(crate) step: u64,
}

impl<B: Backend, A: Algorithm> Pass<'_, B, A> {
    /// Updates one parameter after the other.
    #[track_caller]
    pub(crate) fn each(self, update: impl Fn(Whole<'_, B, A>)) {
        let group = self.group;
        for (handle, state) in group.handles.iter().zip(&mut group.states) {
            let param = handle();
            let Some(grad) = gradient(&param) else { continue };
            if is_capturing() {
                let why = "its update is not one kernel whose numbers a replay could set anew; run it outside";
                raise(Error::Capture { op: A::NAME, why: why.into() });
            }
            // Products are in the dtypes that the algorithm says.
            let _dtypes = set_autocast(None);
            let param = param.detach();
            let fresh = state.prepare(&*group.options, &param);
            let step = state.count.lock().next(fresh).step;
            let slots = state.slots.iter().map(|(_, slot)| slot.clone()).collect();
            update(Whole { options: &group.options, param, grad, slots, step });
        }
    }
}

/// Updates that one program does with the same numbers.
struct Batch<B: Backend> {
    numbers: Numbers,
    dtype: DType,
    device: B::Device,
    count: Count,
    updates: Vec<Update<B>>,
    /// The parameters' counts, for the replays of a captured step.
    counts: Vec<Arc<Mutex<Count>>>,
}

/// The tensors of one parameter's update.
struct Update<B: Backend> {
    grad: Tensor<B>,
    /// The parameter, then its state.
    targets: Vec<Tensor<B>>,
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
pub(crate) fn gradient<B: Backend>(param: &Tensor<B>) -> Option<Tensor<B>> {
    let grad = param.grad()?.detach();
    let apart = !B::shares_storage(param, &grad) || param.layout() == grad.layout();
    Some(if apart { grad } else { grad.copy() })
}

impl<B: Backend> State<B> {
    /// Makes what is missing and brings the rest to where the parameter is; slots that the options no
    /// longer use are dropped. True if something was made.
    fn prepare<A: Algorithm>(&mut self, options: &A, param: &Tensor<B>) -> bool {
        let mut fresh = false;
        let mut old = std::mem::take(&mut self.slots);
        for &name in A::slots(options.flags()) {
            let Some(shape) = A::slot_shape(name, param.shape()) else { continue };
            let slot = match old.iter().position(|(known, _)| *known == name) {
                Some(at) => beside(&old.swap_remove(at).1, param),
                None => {
                    fresh = true;
                    Tensor::full(shape, options.initial(name), (param.device(), param.dtype()))
                }
            };
            self.slots.push((name, slot));
        }
        fresh
    }

    /// Whether there is nothing to make or to bring.
    fn is_ready<A: Algorithm>(&self, flags: A::Flags, param: &Tensor<B>) -> bool {
        let ready =
            |slot: &Tensor<B>| slot.device() == param.device() && slot.dtype() == param.dtype();
        (A::slots(flags).iter())
            .all(|&name| self.slots.iter().any(|(n, slot)| *n == name && ready(slot)))
    }
}

/// The tensor on the device and in the dtype of `param`.
pub(crate) fn beside<B: Backend>(x: &Tensor<B>, param: &Tensor<B>) -> Tensor<B> {
    x.to(param.device()).to_dtype(param.dtype())
}
