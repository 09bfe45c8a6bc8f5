//! What one does with a module, whatever module it is: written once, over the visitor.

use std::any::Any;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use kiln_autograd::Autograd;
use kiln_tensor_core::{Backend, DType, Error, Result, Tensor, raise};

use crate::{
    Buffer, HookHandle, HookResult, Hooks, IncompatibleKeys, Module, Param, StateDict, Visitor,
    backward_hook, state_dict,
};

/// A module on backend `B` with its type forgotten.
pub type DynModule<B> = dyn Module<Backend = B>;

/// The direct contents of a module.
pub(crate) struct Contents<'a, B: Backend> {
    pub params: Vec<(String, &'a Param<B>)>,
    pub buffers: Vec<(String, &'a Buffer<B>)>,
    pub children: Vec<(String, &'a DynModule<B>)>,
}

impl<'a, B: Backend> Contents<'a, B> {
    pub fn of<M: Module<Backend = B> + ?Sized>(module: &'a M) -> Self {
        let mut contents =
            Contents { params: Vec::new(), buffers: Vec::new(), children: Vec::new() };
        module.visit(&mut contents);
        contents
    }
}

impl<'a, B: Backend> Visitor<'a, B> for Contents<'a, B> {
    fn param(&mut self, name: &str, param: &'a Param<B>) {
        self.params.push((name.into(), param));
    }

    fn buffer(&mut self, name: &str, buffer: &'a Buffer<B>) {
        self.buffers.push((name.into(), buffer));
    }

    fn child(&mut self, name: &str, child: &'a DynModule<B>) {
        self.children.push((name.into(), child));
    }
}

/// Everything under a module, with its path: first the module, then its parameters and buffers, then
/// each child in the same way.
pub(crate) enum Entry<'a, B: Backend> {
    Module(&'a DynModule<B>),
    Param(&'a Param<B>),
    Buffer(&'a Buffer<B>),
}

pub(crate) fn walk<'a, B: Backend>(
    module: &'a DynModule<B>,
    path: &str,
    f: &mut dyn FnMut(&str, Entry<'a, B>),
) {
    let join = |name: &str| if path.is_empty() { name.into() } else { format!("{path}.{name}") };
    f(path, Entry::Module(module));
    let contents = Contents::of(module);
    contents.params.iter().for_each(|(name, param)| f(&join(name), Entry::Param(param)));
    contents.buffers.iter().for_each(|(name, buffer)| f(&join(name), Entry::Buffer(buffer)));
    contents.children.iter().for_each(|(name, child)| walk(*child, &join(name), f));
}

/// What one does with a module. Implemented for every [`Module`].
///
/// A parameter, buffer or module that can be reached on several paths (tied weights) is listed once,
/// under the first; only `state_dict` lists it under each, as PyTorch does.
pub trait ModuleExt: Module {
    /// All parameters, of the modules inside too.
    fn parameters(&self) -> Vec<Param<Self::Backend>> {
        self.named_parameters().into_iter().map(|(_, param)| param).collect()
    }

    /// All parameters with their paths, such as `conv.weight`.
    fn named_parameters(&self) -> Vec<(String, Param<Self::Backend>)> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        walk(self.as_dyn(), "", &mut |path, entry| match entry {
            Entry::Param(param) if seen.insert(param.id()) => {
                found.push((path.into(), param.clone()));
            }
            _ => {}
        });
        found
    }

    /// The parameter with this path.
    ///
    /// # Panics
    /// If there is none; the message lists those that there are.
    #[track_caller]
    fn get_parameter(&self, path: &str) -> Param<Self::Backend> {
        pick("get_parameter", "parameter", path, self.named_parameters())
    }

    /// All buffers, of the modules inside too.
    fn buffers(&self) -> Vec<Buffer<Self::Backend>> {
        self.named_buffers().into_iter().map(|(_, buffer)| buffer).collect()
    }

    /// All buffers with their paths.
    fn named_buffers(&self) -> Vec<(String, Buffer<Self::Backend>)> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        walk(self.as_dyn(), "", &mut |path, entry| match entry {
            Entry::Buffer(buffer) if seen.insert(buffer.id()) => {
                found.push((path.into(), buffer.clone()));
            }
            _ => {}
        });
        found
    }

    /// The buffer with this path.
    ///
    /// # Panics
    /// If there is none; the message lists those that there are.
    #[track_caller]
    fn get_buffer(&self, path: &str) -> Buffer<Self::Backend> {
        pick("get_buffer", "buffer", path, self.named_buffers())
    }

    /// The modules directly inside.
    fn children(&self) -> Vec<&DynModule<Self::Backend>> {
        self.named_children().into_iter().map(|(_, child)| child).collect()
    }

    /// The modules directly inside, with their names.
    fn named_children(&self) -> Vec<(String, &DynModule<Self::Backend>)> {
        let mut seen = HashSet::new();
        let children = Contents::of(self).children.into_iter();
        children.filter(|(_, child)| seen.insert(identity(*child))).collect()
    }

    /// This module and all inside, each before what it contains.
    fn modules(&self) -> Vec<&DynModule<Self::Backend>> {
        self.named_modules().into_iter().map(|(_, module)| module).collect()
    }

    /// This module (with the empty path) and all inside, with their paths.
    fn named_modules(&self) -> Vec<(String, &DynModule<Self::Backend>)> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        walk(self.as_dyn(), "", &mut |path, entry| match entry {
            Entry::Module(module) if seen.insert(identity(module)) => {
                found.push((path.into(), module));
            }
            _ => {}
        });
        found
    }

    /// The module with this path; the empty path is this module.
    ///
    /// # Panics
    /// If there is none; the message lists those that there are.
    #[track_caller]
    fn get_submodule(&self, path: &str) -> &DynModule<Self::Backend> {
        pick("get_submodule", "module", path, self.named_modules())
    }

    /// How many numbers are trained.
    fn numel(&self) -> usize {
        self.parameters().iter().filter(|p| p.requires_grad()).map(Param::numel).sum()
    }

    /// Calls `f` on every module, the innermost first and this one last, and gives this module.
    fn apply(&self, mut f: impl FnMut(&DynModule<Self::Backend>)) -> &Self {
        fn inner<B: Backend>(module: &DynModule<B>, f: &mut dyn FnMut(&DynModule<B>)) {
            Contents::of(module).children.iter().for_each(|(_, child)| inner(*child, f));
            f(module);
        }
        inner(self.as_dyn(), &mut f);
        self
    }

    /// Puts the module and all inside into training mode: dropout drops, batch norm uses the batch.
    fn train(&self) -> &Self {
        set_training(self, true)
    }

    /// Puts the module and all inside into evaluation mode.
    fn eval(&self) -> &Self {
        set_training(self, false)
    }

    /// Whether the module trains: its own flag, or that of the first module inside that has one. `true`
    /// where none has. Layers have a flag; a struct of your own has one in a field `hooks: Hooks<B>`.
    fn training(&self) -> bool {
        self.modules().iter().find_map(|m| m.hooks()).is_none_or(Hooks::training)
    }

    /// Freezes all parameters (`false`) or lets them be trained again.
    fn requires_grad_(&self, on: bool) -> &Self {
        self.parameters().iter().for_each(|param| drop(param.requires_grad_(on)));
        self
    }

    /// Drops the gradients of all parameters.
    fn zero_grad(&self) {
        self.parameters().iter().for_each(|param| param.set_grad(None));
    }

    /// Moves all parameters and buffers, in place.
    fn to(&self, device: &<Self::Backend as Backend>::Device) -> &Self {
        self.parameters().iter().for_each(|param| param.replace(|x| x.to(device)));
        self.buffers().iter().for_each(|buffer| buffer.set(buffer.tensor().to(device)));
        self
    }

    /// Converts all parameters and the buffers of floats, in place.
    ///
    /// # Panics
    /// If `dtype` is not a float's.
    #[track_caller]
    fn to_dtype(&self, dtype: DType) -> &Self {
        if !dtype.is_float() {
            raise(Error::DType {
                op: "Module::to_dtype",
                dtypes: vec![dtype],
                why: "the parameters of a module are floats".into(),
            });
        }
        self.parameters().iter().for_each(|param| param.replace(|x| x.to_dtype(dtype)));
        for buffer in self.buffers().iter().filter(|buffer| buffer.dtype().is_float()) {
            buffer.set(buffer.tensor().to_dtype(dtype));
        }
        self
    }

    /// The parameters and persistent buffers by path. The tensors share the module's storage: `copy`
    /// them to keep a state while training goes on.
    fn state_dict(&self) -> StateDict<Self::Backend> {
        state_dict::of(self.as_dyn())
    }

    /// Copies the tensors of a state dict into the parameters and buffers of the same names, converted
    /// to their dtype and device; all handles to them stay valid. Where it fails, nothing was copied.
    ///
    /// `strict` makes missing and unexpected entries an error; otherwise they are returned.
    ///
    /// # Errors
    /// [`Error::StateDict`] with all entries that have another shape, and with `strict` those that are
    /// missing or unexpected.
    fn load_state_dict(
        &self,
        state: &StateDict<Self::Backend>,
        strict: bool,
    ) -> Result<IncompatibleKeys> {
        state_dict::load_into(self.as_dyn(), state, strict)
    }

    /// Writes the state dict to a file: for PyTorch if its name ends in `.pt` or `.pth`, else safetensors;
    /// see [`StateDict::save`].
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.state_dict().save(path)
    }

    /// Loads a file of PyTorch's (`.pt`), a safetensors or an `.npz` file into the module, whose entries it
    /// must have exactly; which it is shows in its content. A file of PyTorch's is one of
    /// `torch.save(model.state_dict(), path)`: nothing that it holds is run. For a part of a file or of a module: [`StateDict::load`], then [`load_state_dict`](Self::load_state_dict).
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Format`] if it is not what it claims to be,
    /// [`Error::StateDict`] if it belongs to another model.
    fn load(&self, path: impl AsRef<Path>) -> Result<()> {
        state_dict::load_file(self.as_dyn(), path.as_ref())
    }

    /// Runs `hook(module, input)` before each call of the module. A tensor that it returns is used in
    /// place of the input.
    ///
    /// # Panics
    /// If the module has no field of type [`Hooks`].
    #[track_caller]
    fn register_forward_pre_hook<F, R>(&self, hook: F) -> HookHandle
    where
        F: Fn(&DynModule<Self::Backend>, &Tensor<Self::Backend>) -> R + Send + Sync + 'static,
        R: HookResult<Self::Backend>,
    {
        let hook = move |module: &_, x: &_| hook(module, x).replacement();
        hooks(self, "register_forward_pre_hook").add_pre(Arc::new(hook))
    }

    /// Runs `hook(module, input, output)` after each call of the module. A tensor that it returns is
    /// the result in place of the output.
    ///
    /// # Panics
    /// If the module has no field of type [`Hooks`].
    #[track_caller]
    fn register_forward_hook<F, R>(&self, hook: F) -> HookHandle
    where
        F: Fn(&DynModule<Self::Backend>, &Tensor<Self::Backend>, &Tensor<Self::Backend>) -> R
            + Send
            + Sync
            + 'static,
        R: HookResult<Self::Backend>,
    {
        let hook = move |module: &_, x: &_, y: &_| hook(module, x, y).replacement();
        hooks(self, "register_forward_hook").add_post(Arc::new(hook))
    }

    /// Runs `hook(grad_input, grad_output)` in each backward that passes a call of the module:
    /// `grad_input` is `None` where the input requires no gradient. A tensor that it returns is used in
    /// place of `grad_input`.
    ///
    /// # Panics
    /// If the module has no field of type [`Hooks`].
    #[track_caller]
    fn register_full_backward_hook<B, F, R>(&self, hook: F) -> HookHandle
    where
        B: Backend,
        Self: Module<Backend = Autograd<B>>,
        F: Fn(Option<&Tensor<Autograd<B>>>, &Tensor<Autograd<B>>) -> R + Send + Sync + 'static,
        R: HookResult<Autograd<B>>,
    {
        let hook = move |input: Option<&_>, output: &_| hook(input, output).replacement();
        hooks(self, "register_full_backward_hook").add_around(backward_hook::around(hook))
    }
}

impl<M: Module + ?Sized> ModuleExt for M {}

/// The module's hooks.
#[track_caller]
pub(crate) fn hooks<'a, M: Module + ?Sized>(
    module: &'a M,
    op: &'static str,
) -> &'a Hooks<M::Backend> {
    module.hooks().unwrap_or_else(|| {
        let name = module.type_name();
        raise(Error::Argument {
            op,
            why: format!(
                "{name} has no place for hooks; add a field `hooks: Hooks` (generic: `Hooks<B>`), \
                 made by `Hooks::new()`"
            ),
        })
    })
}

fn set_training<M: Module + ?Sized>(module: &M, on: bool) -> &M {
    module.modules().iter().filter_map(|m| m.hooks()).for_each(|hooks| hooks.set_training(on));
    module
}

/// What tells a module from all others: a struct and its first field may lie at one address.
pub(crate) fn identity<B: Backend>(module: &DynModule<B>) -> (*const (), std::any::TypeId) {
    let any: &dyn Any = module;
    (std::ptr::from_ref(module).cast(), any.type_id())
}

#[track_caller]
fn pick<T>(op: &'static str, what: &str, path: &str, entries: Vec<(String, T)>) -> T {
    let names: Vec<String> = entries.iter().map(|(name, _)| name.clone()).collect();
    entries.into_iter().find(|(name, _)| name == path).map(|(_, found)| found).unwrap_or_else(
        || {
            let why = format!("there is no {what} `{path}`; there are: {}", names.join(", "));
            raise(Error::Argument { op, why })
        },
    )
}
