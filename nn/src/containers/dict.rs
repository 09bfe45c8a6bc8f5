//! Modules by name.

use std::fmt;
use std::ops::Index;

use kiln_tensor_core::{Error, raise};

use crate::{Field, Hooks, Module, Visitor};

/// Modules by name, in the order in which they came. `M` is a layer, or
/// `Box<dyn Forward<Backend = B>>` for layers of different types.
pub struct ModuleDict<M: Module> {
    modules: Vec<(String, M)>,
    hooks: Hooks<M::Backend>,
}

impl<M: Module> ModuleDict<M> {
    /// These modules under these names.
    pub fn new<K: Into<String>>(modules: impl IntoIterator<Item = (K, M)>) -> Self {
        let mut dict = ModuleDict { modules: Vec::new(), hooks: Hooks::new() };
        modules.into_iter().for_each(|(name, module)| drop(dict.insert(name, module)));
        dict
    }

    /// Puts a module under a name, and gives the one that was there.
    pub fn insert(&mut self, name: impl Into<String>, module: M) -> Option<M> {
        let name = name.into();
        match self.modules.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => Some(std::mem::replace(old, module)),
            None => {
                self.modules.push((name, module));
                None
            }
        }
    }

    /// Removes a module.
    pub fn remove(&mut self, name: &str) -> Option<M> {
        let at = self.modules.iter().position(|(known, _)| known == name)?;
        Some(self.modules.remove(at).1)
    }

    /// The module of this name.
    pub fn get(&self, name: &str) -> Option<&M> {
        self.iter().find(|(known, _)| *known == name).map(|(_, module)| module)
    }

    /// Names and modules in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &M)> {
        self.modules.iter().map(|(name, module)| (name.as_str(), module))
    }

    /// The number of modules.
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// Whether there is no module.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }
}

impl<M: Module> Index<&str> for ModuleDict<M> {
    type Output = M;

    #[track_caller]
    fn index(&self, name: &str) -> &M {
        self.get(name).unwrap_or_else(|| {
            let names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
            let why = format!("there is no module `{name}`; there are: {}", names.join(", "));
            raise(Error::Argument { op: "ModuleDict", why })
        })
    }
}

impl<M: Module> Module for ModuleDict<M> {
    type Backend = M::Backend;

    fn visit<'a>(&'a self, visitor: &mut dyn Visitor<'a, M::Backend>) {
        self.modules.iter().for_each(|(name, module)| module.visit_field(name, visitor));
    }

    fn as_dyn(&self) -> &dyn Module<Backend = M::Backend> {
        self
    }

    fn type_name(&self) -> &'static str {
        "ModuleDict"
    }

    fn hooks(&self) -> Option<&Hooks<M::Backend>> {
        Some(&self.hooks)
    }
}

impl<M: Module> fmt::Display for ModuleDict<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_dyn().fmt(f)
    }
}

impl<M: Module> fmt::Debug for ModuleDict<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
