//! State dicts: the tensors of a module by path, out of it and into it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use kiln_tensor_core::{Backend, Error, Result, Tensor};

use crate::module_ext::{Entry, walk};
use crate::{Module, safetensors};

/// Tensors by name, in order: the parameters and persistent buffers of a module, by path.
pub struct StateDict<B: Backend> {
    entries: Vec<(String, Tensor<B>)>,
    metadata: BTreeMap<String, String>,
}

impl<B: Backend> StateDict<B> {
    /// An empty one.
    pub const fn new() -> Self {
        StateDict { entries: Vec::new(), metadata: BTreeMap::new() }
    }

    /// Texts that go with the tensors, in files too.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The texts, to change them.
    pub fn metadata_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.metadata
    }

    /// Appends an entry, or replaces the tensor of the entry that has the name already.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor<B>) {
        let name = name.into();
        match self.entries.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = tensor,
            None => self.entries.push((name, tensor)),
        }
    }

    /// Removes an entry.
    pub fn remove(&mut self, name: &str) -> Option<Tensor<B>> {
        let at = self.entries.iter().position(|(known, _)| known == name)?;
        Some(self.entries.remove(at).1)
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor<B>> {
        self.iter().find(|(known, _)| *known == name).map(|(_, tensor)| tensor)
    }

    /// The names, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    /// Names and tensors, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor<B>)> {
        self.entries.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes a safetensors file: to a temporary file beside it, which then takes its name, so that
    /// whoever reads meanwhile sees the old file or the new one.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        safetensors::save(path.as_ref(), self.iter(), &self.metadata)
    }

    /// Reads a safetensors file, PyTorch's too, onto `device`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Format`] if it is not what it claims to be.
    pub fn load(path: impl AsRef<Path>, device: &B::Device) -> Result<Self> {
        safetensors::load(path.as_ref(), device)
    }
}

impl<B: Backend> Default for StateDict<B> {
    fn default() -> Self {
        StateDict::new()
    }
}

impl<B: Backend> FromIterator<(String, Tensor<B>)> for StateDict<B> {
    fn from_iter<I: IntoIterator<Item = (String, Tensor<B>)>>(entries: I) -> Self {
        StateDict { entries: entries.into_iter().collect(), metadata: BTreeMap::new() }
    }
}

impl<B: Backend> IntoIterator for StateDict<B> {
    type Item = (String, Tensor<B>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<B: Backend> std::fmt::Debug for StateDict<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// What `load_state_dict(…, strict = false)` did not match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncompatibleKeys {
    /// Entries of the module that the state dict lacks.
    pub missing: Vec<String>,
    /// Entries of the state dict that the module lacks.
    pub unexpected: Vec<String>,
}

/// See [`ModuleExt::state_dict`](crate::ModuleExt::state_dict).
pub(crate) fn of<B: Backend>(module: &dyn Module<Backend = B>) -> StateDict<B> {
    let mut entries = Vec::new();
    walk(module, "", &mut |path, entry| match entry {
        Entry::Param(param) => entries.push((path.to_string(), param.tensor().detach())),
        Entry::Buffer(buffer) if buffer.is_persistent() => {
            entries.push((path.to_string(), buffer.tensor()));
        }
        _ => {}
    });
    entries.into_iter().collect()
}

/// See [`ModuleExt::load_state_dict`](crate::ModuleExt::load_state_dict).
pub(crate) fn load_into<B: Backend>(
    module: &dyn Module<Backend = B>,
    state: &StateDict<B>,
    strict: bool,
) -> Result<IncompatibleKeys> {
    let targets = of(module);
    let mut given: HashMap<&str, &Tensor<B>> = state.iter().collect();
    let mut keys = IncompatibleKeys::default();
    let (mut matched, mut problems) = (Vec::new(), Vec::new());
    for (name, target) in targets.iter() {
        match given.remove(name) {
            None => keys.missing.push(name.into()),
            Some(source) if source.shape() != target.shape() => problems.push(format!(
                "size mismatch for {name}: {} in the state dict, {} in the model",
                source.shape(),
                target.shape(),
            )),
            Some(source) => matched.push((target, source)),
        }
    }
    keys.unexpected =
        state.keys().filter(|name| given.contains_key(name)).map(String::from).collect();
    if strict {
        let lists = [("unexpected", &keys.unexpected), ("missing", &keys.missing)];
        for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
            problems.insert(0, format!("{what}: {}", names.join(", ")));
        }
    }
    if !problems.is_empty() {
        let why = format!("{} does not fit: {}", module.type_name(), problems.join("; "));
        return Err(Error::StateDict { why });
    }
    for (target, source) in matched {
        target.copy_(&source.detach());
    }
    Ok(keys)
}

/// See [`ModuleExt::load`](crate::ModuleExt::load).
pub(crate) fn load_file<B: Backend>(module: &dyn Module<Backend = B>, path: &Path) -> Result<()> {
    let targets = of(module);
    let device = match targets.iter().next() {
        Some((_, tensor)) => tensor.device().clone(),
        None => Default::default(),
    };
    load_into(module, &StateDict::load(path, &device)?, true).map(drop)
}
