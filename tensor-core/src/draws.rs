//! The draws of random numbers that a function makes, to be made again.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::RngState;
use crate::graph::Live;

type Draw = (RngState, Option<Live>);

/// The draws that a function has made on a thread, on all devices, in order.
#[derive(Clone, Debug, Default)]
pub struct Draws(VecDeque<Draw>);

/// What goes on around a draw on this thread.
enum Layer {
    /// Somebody takes note.
    Record(VecDeque<Draw>),
    /// Somebody repeats these.
    Repeat(VecDeque<Draw>),
}

thread_local! {
    /// Innermost last.
    static LAYERS: RefCell<Vec<Layer>> = const { RefCell::new(Vec::new()) };
}

/// Runs a function, and takes note of the random numbers that it draws on this thread: `rand`, `dropout` and all
/// that is made of them.
///
/// ```
/// use kiln_tensor_core::{Backend, Tensor, record_draws, repeat_draws};
/// fn f<B: Backend>(device: &B::Device) {
///     let (a, draws) = record_draws(|| Tensor::<B>::rand([3], device));
///     let b = repeat_draws(&draws, || Tensor::<B>::rand([3], device));
///     assert!(a.equal(&b));
/// }
/// ```
pub fn record_draws<T>(f: impl FnOnce() -> T) -> (T, Draws) {
    let layer = Entered::new(Layer::Record(VecDeque::new()));
    let result = f();
    (result, Draws(layer.leave()))
}

/// Runs a function with the random numbers that were drawn before: the device's generator stays where it is. What
/// the function draws beyond them is new.
pub fn repeat_draws<T>(draws: &Draws, f: impl FnOnce() -> T) -> T {
    let _layer = Entered::new(Layer::Repeat(draws.0.clone()));
    f()
}

/// A draw, or the one that is to be repeated.
pub(crate) fn repeatable(draw: impl FnOnce() -> Draw) -> Draw {
    LAYERS.with_borrow_mut(|layers| {
        let repeated = layers.iter_mut().enumerate().rev().find_map(|(at, layer)| match layer {
            Layer::Repeat(draws) => Some((at, draws.pop_front()?)),
            Layer::Record(_) => None,
        });
        let (from, draw) = repeated.unwrap_or_else(|| (0, draw()));
        // Whoever is around a repetition will see it repeated by itself.
        for layer in &mut layers[from..] {
            if let Layer::Record(draws) = layer {
                draws.push_back(draw.clone());
            }
        }
        draw
    })
}

/// A layer that is there until this is dropped.
struct Entered(());

impl Entered {
    fn new(layer: Layer) -> Self {
        LAYERS.with_borrow_mut(|layers| layers.push(layer));
        Entered(())
    }

    fn leave(self) -> VecDeque<Draw> {
        LAYERS.with_borrow_mut(|layers| match layers.last_mut() {
            Some(Layer::Record(draws) | Layer::Repeat(draws)) => std::mem::take(draws),
            None => VecDeque::new(),
        })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        LAYERS.with_borrow_mut(Vec::pop);
    }
}
