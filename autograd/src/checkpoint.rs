//! Memory for time: parts of the graph that are not kept but run again in backward.
//!
//! The graph of the part is recorded as always, only what its operations save is dropped and leaves a
//! [`Place`]. The first one that backward asks for runs the part again, and the tensors that it saves then fill
//! all places. So everything works that works without: `grad`, hooks, parameters inside of the part, derivatives of
//! any order.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_tensor_core::{
    Backend, Draws, Error, Tensor, autocast_dtype, raise, record_draws, repeat_draws, set_autocast,
};
use parking_lot::Mutex;

use crate::meta::inner;
use crate::node::Saved;
use crate::{Autograd, enable_grad, is_grad_enabled};

/// Runs `f` and keeps nothing of it for backward but the inputs: backward runs it again (Chen et al., "Training deep
/// nets with sublinear memory cost", 2016). Costs a second forward, and saves the memory of all that lies between.
///
/// The second run draws the same random numbers, and casts as the first did where that was in an autocast region. What else `f` does happens twice: running statistics are updated
/// twice, for example, as in PyTorch.
///
/// ```
/// use kiln_autograd::{Autograd, Backward, checkpoint};
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_tensor_core::Tensor;
///
/// let x = Tensor::<Autograd<Cpu>>::from_slice(&[0.5, 2.0], [2], &CpuDevice).requires_grad_(true);
/// let y = checkpoint(|[x]| (x.sin() * x).exp(), [&x]);
/// y.sum().backward();
/// assert!(x.grad().is_some());
/// ```
///
/// # Panics
/// What `f` raises; in backward, with [`Error::Autograd`] if an input has been written to since or `f` does something
/// else when it is run again.
#[track_caller]
pub fn checkpoint<B: Backend, const N: usize>(
    f: impl Fn([&Tensor<Autograd<B>>; N]) -> Tensor<Autograd<B>> + Send + Sync + 'static,
    inputs: [&Tensor<Autograd<B>>; N],
) -> Tensor<Autograd<B>> {
    if !is_grad_enabled() {
        return f(inputs);
    }
    let f = Arc::new(f);
    let kept = inputs.map(Clone::clone);
    let versions = inputs.map(|x| B::version(inner(x)));
    let again = {
        let (f, dtype) = (f.clone(), autocast_dtype());
        move || {
            let changed =
                |(x, version): (&Tensor<Autograd<B>>, u64)| B::version(inner(x)) != version;
            if kept.iter().zip(versions).any(changed) {
                refuse("an input has been written to in place since; write to a copy");
            }
            let _region = set_autocast(dtype);
            enable_grad(|| drop(f(kept.each_ref())));
        }
    };
    let part = Arc::new(Part::<B> {
        again: Box::new(again),
        draws: Mutex::new(Draws::default()),
        places: AtomicUsize::new(0),
        saved: Mutex::new(Vec::new()),
    });
    let layer = Entered::new(Layer::Forget(part.clone()));
    let (out, draws) = record_draws(|| f(inputs));
    drop(layer);
    *part.draws.lock() = draws;
    out
}

/// A part of the graph that does not keep what it saves.
pub(crate) struct Part<B: Backend> {
    again: Box<dyn Fn() + Send + Sync>,
    draws: Mutex<Draws>,
    /// How many tensors it has saved.
    places: AtomicUsize,
    /// What it has saved when it ran again, until backward takes it.
    saved: Mutex<Vec<Option<Saved<B>>>>,
}

/// The place of something saved.
pub(crate) struct Place<B: Backend> {
    part: Arc<Part<B>>,
    number: usize,
}

impl<B: Backend> Clone for Place<B> {
    fn clone(&self) -> Self {
        Place { part: self.part.clone(), number: self.number }
    }
}

impl<B: Backend> Place<B> {
    /// What belongs there: the part runs again where that has not happened, or where it has been taken.
    pub(crate) fn fetch(&self) -> Saved<B> {
        let Part { again, draws, places, saved } = &*self.part;
        let mut saved = saved.lock();
        let there = saved.get_mut(self.number).and_then(Option::take);
        there.unwrap_or_else(|| {
            let layer = Entered::new(Layer::Collect(Vec::<Saved<B>>::new()));
            repeat_draws(&draws.lock().clone(), again);
            let collected = layer.leave::<B>();
            let wanted = places.load(Ordering::Relaxed);
            if collected.len() != wanted {
                refuse(&format!(
                    "run again, the function saved {} tensors instead of {wanted}; it has to do the same \
                     each time",
                    collected.len()
                ));
            }
            *saved = collected.into_iter().map(Some).collect();
            saved[self.number].take().expect("all places are filled")
        })
    }
}

fn refuse(why: &str) -> ! {
    raise(Error::Autograd { op: "checkpoint".into(), why: why.into() })
}

/// What becomes of what operations save on this thread.
enum Layer<B: Backend> {
    Forget(Arc<Part<B>>),
    Collect(Vec<Saved<B>>),
}

thread_local! {
    /// `Layer<B>`s, innermost last.
    static LAYERS: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Something that an operation is to save, as it is saved on this thread now.
#[inline]
pub(crate) fn pass<B: Backend>(saved: Saved<B>) -> Saved<B> {
    LAYERS.with_borrow_mut(|layers| match layers.last_mut() {
        None => saved,
        Some(layer) => passed(layer, saved),
    })
}

#[cold]
fn passed<B: Backend>(layer: &mut Box<dyn Any>, saved: Saved<B>) -> Saved<B> {
    match layer.downcast_mut::<Layer<B>>() {
        // Of another backend.
        None => saved,
        Some(Layer::Forget(part)) => {
            let number = part.places.fetch_add(1, Ordering::Relaxed);
            Saved::at(Place { part: part.clone(), number })
        }
        Some(Layer::Collect(collected)) => {
            collected.push(saved.clone());
            saved
        }
    }
}

/// A layer that is there until this is dropped.
struct Entered(());

impl Entered {
    fn new<B: Backend>(layer: Layer<B>) -> Self {
        LAYERS.with_borrow_mut(|layers| layers.push(Box::new(layer)));
        Entered(())
    }

    /// What was collected.
    fn leave<B: Backend>(self) -> Vec<Saved<B>> {
        LAYERS.with_borrow_mut(|layers| {
            match layers.last_mut().and_then(|layer| layer.downcast_mut::<Layer<B>>()) {
                Some(Layer::Collect(collected)) => std::mem::take(collected),
                _ => Vec::new(),
            }
        })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let layer = LAYERS.with_borrow_mut(Vec::pop);
        // It may hold a graph, whose end may come here again.
        drop(layer);
    }
}
