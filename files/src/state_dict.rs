//! State dicts: tensors by name.

use std::collections::BTreeMap;
use std::path::Path;

use kiln_tensor_core::{Backend, Error, Result, Tensor};

use crate::{npz, pt, read, safetensors, wrong};

/// Tensors by name, in order, and texts that go with them: what PyTorch calls a state dict.
#[derive(Clone)]
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

    /// Writes a file: PyTorch's format if the name ends in `.pt` or `.pth`, NumPy's if it ends in `.npz`,
    /// else safetensors. It is a temporary file beside the wanted one, which then takes its name, so that
    /// whoever reads meanwhile sees the old file or the new one.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written. [`Error::Argument`] if there are texts beside the
    /// tensors, as in an optimizer's state, and the format has no place for them.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if matches!(&*ending, "pt" | "pth" | "npz") && !self.metadata.is_empty() {
            let why = format!(
                "a .{ending} file holds tensors only, and this state has texts too; save it as .safetensors"
            );
            return Err(Error::Argument { op: "StateDict::save", why });
        }
        match &*ending {
            "pt" | "pth" => pt::save(path, &self.clone().into()),
            "npz" => npz::save(path, self),
            _ => safetensors::save(path, self.iter(), &self.metadata),
        }
    }

    /// Reads a file onto `device`: safetensors, a `.pt` file with PyTorch's state dict, or `.npz`. Which it
    /// is shows in its first bytes, not in its name.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Format`] if it is not what it claims to be or
    /// holds something else than tensors by name.
    pub fn load(path: impl AsRef<Path>, device: &B::Device) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(&read(path)?, path, device)
    }

    pub(crate) fn parse(bytes: &[u8], path: &Path, device: &B::Device) -> Result<Self> {
        if pt::is(bytes) {
            return pt::parse(bytes, path, device)?.into_state_dict(path);
        }
        if npz::is(bytes) {
            return npz::parse(bytes, path, device);
        }
        if pt::is_legacy(bytes) {
            return Err(wrong(path, pt::LEGACY));
        }
        safetensors::parse(bytes, path, device)
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
