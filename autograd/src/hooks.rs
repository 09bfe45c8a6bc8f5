//! Hooks on gradients: look at one on its way, or replace it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use kiln_tensor_core::{Backend, Tensor};

use crate::Autograd;
use crate::meta::Meta;

pub(crate) type Hook<B> =
    Arc<dyn Fn(&Tensor<Autograd<B>>) -> Option<Tensor<Autograd<B>>> + Send + Sync>;

/// The hooks of a leaf, or of one operation's outputs.
pub(crate) struct Hooks<B: Backend> {
    hooks: Vec<(u64, usize, Hook<B>)>,
    /// Outputs whose gradients are kept, and the tensors that keep them.
    keepers: Vec<(usize, Weak<Meta<B>>)>,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl<B: Backend> Hooks<B> {
    pub(crate) fn new() -> Self {
        Hooks { hooks: Vec::new(), keepers: Vec::new() }
    }

    pub(crate) fn add(&mut self, output: usize, hook: Hook<B>) -> u64 {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        self.hooks.push((id, output, hook));
        id
    }

    pub(crate) fn remove(&mut self, id: u64) {
        self.hooks.retain(|(other, ..)| *other != id);
    }

    /// Makes a tensor that is output `output` keep its gradient; once, however often it is told to.
    pub(crate) fn keep(&mut self, output: usize, keeper: &Arc<Meta<B>>) {
        let same = |(_, known): &(usize, Weak<Meta<B>>)| known.as_ptr() == Arc::as_ptr(keeper);
        if !self.keepers.iter().any(same) {
            self.keepers.push((output, Arc::downgrade(keeper)));
        }
    }

    /// The tensors that keep the gradient of output `output`.
    pub(crate) fn keepers(&self, output: usize) -> Vec<Arc<Meta<B>>> {
        let ours = self.keepers.iter().filter(|(at, _)| *at == output);
        ours.filter_map(|(_, keeper)| keeper.upgrade()).collect()
    }

    /// The hooks on the gradient of output `output`, in the order in which they were registered.
    pub(crate) fn of(&self, output: usize) -> Vec<Hook<B>> {
        let ours = self.hooks.iter().filter(|(_, at, _)| *at == output);
        ours.map(|(.., hook)| hook.clone()).collect()
    }
}

/// Takes a hook away again. Dropping it leaves the hook in place.
pub struct HookHandle {
    remove: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl HookHandle {
    pub(crate) fn new(remove: impl FnOnce() + Send + Sync + 'static) -> Self {
        HookHandle { remove: Some(Box::new(remove)) }
    }

    /// Removes the hook.
    pub fn remove(mut self) {
        if let Some(remove) = self.remove.take() {
            remove();
        }
    }
}

impl fmt::Debug for HookHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookHandle")
    }
}
