//! State dicts: the tensors of a module by path, out of it and into it.

use std::collections::HashMap;
use std::path::Path;

use kiln_files::StateDict;
use kiln_tensor_core::{Backend, Error, Result, Tensor};

use crate::Module;
use crate::module_ext::{Entry, walk};

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
