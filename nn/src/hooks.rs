//! What every module of PyTorch carries besides its tensors: whether it trains, and its hooks.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use kiln_tensor_core::{Backend, Tensor};
use parking_lot::Mutex;

use crate::Module;

/// A module's training flag and its hooks. Every layer of this crate has one; a struct of your own that
/// wants hooks, or asks whether it trains, has a field `hooks: Hooks<B>`, made by `Hooks::new()`.
///
/// It allocates nothing until the first hook is registered.
pub struct Hooks<B: Backend> {
    eval: AtomicBool,
    lists: OnceLock<Arc<Mutex<Lists<B>>>>,
}

type Pre<B> = dyn Fn(&dyn Module<Backend = B>, &Tensor<B>) -> Option<Tensor<B>> + Send + Sync;
type Post<B> =
    dyn Fn(&dyn Module<Backend = B>, &Tensor<B>, &Tensor<B>) -> Option<Tensor<B>> + Send + Sync;

/// A hook on both sides of `forward`: it gets the input and gives the one to use, and a function for
/// the output. The hook that watches gradients is one.
pub(crate) type Around<B> = dyn Fn(&Tensor<B>) -> (Tensor<B>, After<B>) + Send + Sync;
pub(crate) type After<B> = Box<dyn FnOnce(&Tensor<B>) -> Tensor<B>>;

struct Lists<B: Backend> {
    next: u64,
    pre: List<Pre<B>>,
    around: List<Around<B>>,
    post: List<Post<B>>,
}

type List<F> = Vec<(u64, Arc<F>)>;

impl<B: Backend> Hooks<B> {
    /// No hooks, in training mode.
    pub const fn new() -> Self {
        Hooks { eval: AtomicBool::new(false), lists: OnceLock::new() }
    }

    /// Whether the module trains (`true` at first) or is evaluated.
    pub fn training(&self) -> bool {
        !self.eval.load(Ordering::Relaxed)
    }

    pub(crate) fn set_training(&self, on: bool) {
        self.eval.store(!on, Ordering::Relaxed);
    }

    /// Whether no hook is registered.
    pub fn is_empty(&self) -> bool {
        self.lists.get().is_none_or(|lists| {
            let lists = lists.lock();
            lists.pre.is_empty() && lists.around.is_empty() && lists.post.is_empty()
        })
    }

    pub(crate) fn add_pre(&self, hook: Arc<Pre<B>>) -> HookHandle {
        self.add(|lists| &mut lists.pre, hook)
    }

    pub(crate) fn add_post(&self, hook: Arc<Post<B>>) -> HookHandle {
        self.add(|lists| &mut lists.post, hook)
    }

    pub(crate) fn add_around(&self, hook: Arc<Around<B>>) -> HookHandle {
        self.add(|lists| &mut lists.around, hook)
    }

    fn add<F: ?Sized + 'static>(
        &self,
        list: fn(&mut Lists<B>) -> &mut List<F>,
        hook: Arc<F>,
    ) -> HookHandle {
        let lists = self.lists.get_or_init(Arc::default);
        let id = {
            let mut lists = lists.lock();
            let id = lists.next;
            lists.next += 1;
            list(&mut lists).push((id, hook));
            id
        };
        let lists: Weak<dyn Registry> = Arc::downgrade(lists) as _;
        HookHandle { id, lists }
    }

    /// Pre-hooks, `forward`, hooks. The lists are not locked meanwhile: a hook may remove itself.
    #[track_caller]
    pub(crate) fn run(
        &self,
        module: &dyn Module<Backend = B>,
        x: &Tensor<B>,
        forward: &dyn Fn(&Tensor<B>) -> Tensor<B>,
    ) -> Tensor<B> {
        fn hooks<F: ?Sized>(list: &List<F>) -> Vec<Arc<F>> {
            list.iter().map(|(_, hook)| hook.clone()).collect()
        }
        let Some(lists) = self.lists.get() else { return forward(x) };
        let (pre, around, post) = {
            let lists = lists.lock();
            (hooks(&lists.pre), hooks(&lists.around), hooks(&lists.post))
        };
        let mut x = x.clone();
        for hook in pre {
            if let Some(other) = hook(module, &x) {
                x = other;
            }
        }
        let mut after = Vec::new();
        for hook in around {
            let (input, then) = hook(&x);
            x = input;
            after.push(then);
        }
        let mut y = forward(&x);
        for hook in post {
            if let Some(other) = hook(module, &x, &y) {
                y = other;
            }
        }
        after.into_iter().rev().fold(y, |y, then| then(&y))
    }
}

impl<B: Backend> Hooks<B> {
    /// Like `run`, for a module that gives something else beside the tensor that hooks see.
    #[track_caller]
    pub(crate) fn run_with<T>(
        &self,
        module: &dyn Module<Backend = B>,
        x: &Tensor<B>,
        forward: impl Fn(&Tensor<B>) -> (Tensor<B>, T),
    ) -> (Tensor<B>, T) {
        if self.is_empty() {
            return forward(x);
        }
        let beside = RefCell::new(None);
        let y = self.run(module, x, &|x| {
            let (y, other) = forward(x);
            *beside.borrow_mut() = Some(other);
            y
        });
        (y, beside.into_inner().expect("`run` calls the function"))
    }
}

impl<B: Backend> Default for Hooks<B> {
    fn default() -> Self {
        Hooks::new()
    }
}

impl<B: Backend> Default for Lists<B> {
    fn default() -> Self {
        Lists { next: 0, pre: Vec::new(), around: Vec::new(), post: Vec::new() }
    }
}

impl<B: Backend> fmt::Debug for Hooks<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("training", &self.training())
            .field("is_empty", &self.is_empty())
            .finish()
    }
}

/// Removes a hook. Letting go of the handle leaves the hook where it is, as in PyTorch.
pub struct HookHandle {
    id: u64,
    lists: Weak<dyn Registry>,
}

impl HookHandle {
    /// Removes the hook from its module.
    pub fn remove(self) {
        if let Some(lists) = self.lists.upgrade() {
            lists.remove(self.id);
        }
    }
}

impl fmt::Debug for HookHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookHandle({})", self.id)
    }
}

trait Registry: Send + Sync {
    fn remove(&self, id: u64);
}

impl<B: Backend> Registry for Mutex<Lists<B>> {
    fn remove(&self, id: u64) {
        let mut lists = self.lock();
        lists.pre.retain(|(known, _)| *known != id);
        lists.around.retain(|(known, _)| *known != id);
        lists.post.retain(|(known, _)| *known != id);
    }
}

/// What a hook may return: nothing, or the tensor to use in place of the one it was shown.
pub trait HookResult<B: Backend> {
    /// The replacement, if there is one.
    fn replacement(self) -> Option<Tensor<B>>;
}

impl<B: Backend> HookResult<B> for () {
    fn replacement(self) -> Option<Tensor<B>> {
        None
    }
}

impl<B: Backend> HookResult<B> for Tensor<B> {
    fn replacement(self) -> Option<Tensor<B>> {
        Some(self)
    }
}

impl<B: Backend> HookResult<B> for Option<Tensor<B>> {
    fn replacement(self) -> Option<Tensor<B>> {
        self
    }
}
