//! A list of modules.

use std::fmt;
use std::ops::Deref;

use crate::{Field, Hooks, Module, Visitor};

/// Modules in a list, named `0`, `1`, …; use them as you like in `forward`. Dereferences to a slice.
/// `M` is a layer, or `Box<dyn Forward<Backend = B>>` for layers of different types.
pub struct ModuleList<M: Module> {
    modules: Vec<M>,
    hooks: Hooks<M::Backend>,
}

impl<M: Module> ModuleList<M> {
    /// A list of these modules.
    pub fn new(modules: impl IntoIterator<Item = M>) -> Self {
        ModuleList { modules: modules.into_iter().collect(), hooks: Hooks::new() }
    }

    /// Appends a module; PyTorch's `append`.
    pub fn push(&mut self, module: M) -> &mut Self {
        self.modules.push(module);
        self
    }

    /// Inserts a module before place `index`.
    ///
    /// # Panics
    /// If `index` is beyond the end.
    #[track_caller]
    pub fn insert(&mut self, index: usize, module: M) {
        self.modules.insert(index, module);
    }
}

impl<M: Module> Deref for ModuleList<M> {
    type Target = [M];

    fn deref(&self) -> &[M] {
        &self.modules
    }
}

impl<M: Module> Extend<M> for ModuleList<M> {
    fn extend<I: IntoIterator<Item = M>>(&mut self, modules: I) {
        self.modules.extend(modules);
    }
}

impl<M: Module> FromIterator<M> for ModuleList<M> {
    fn from_iter<I: IntoIterator<Item = M>>(modules: I) -> Self {
        ModuleList::new(modules)
    }
}

impl<'a, M: Module> IntoIterator for &'a ModuleList<M> {
    type Item = &'a M;
    type IntoIter = std::slice::Iter<'a, M>;

    fn into_iter(self) -> Self::IntoIter {
        self.modules.iter()
    }
}

impl<M: Module> Module for ModuleList<M> {
    type Backend = M::Backend;

    fn visit<'a>(&'a self, visitor: &mut dyn Visitor<'a, M::Backend>) {
        for (i, module) in self.modules.iter().enumerate() {
            module.visit_field(&i.to_string(), visitor);
        }
    }

    fn as_dyn(&self) -> &dyn Module<Backend = M::Backend> {
        self
    }

    fn type_name(&self) -> &'static str {
        "ModuleList"
    }

    fn hooks(&self) -> Option<&Hooks<M::Backend>> {
        Some(&self.hooks)
    }

    fn folds(&self) -> bool {
        true
    }
}

impl<M: Module> fmt::Display for ModuleList<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_dyn().fmt(f)
    }
}

impl<M: Module> fmt::Debug for ModuleList<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
