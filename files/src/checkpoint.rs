//! A whole training in one file, to go on exactly where it stopped.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use kiln_tensor_core::{Backend, Error, Result, Tensor, raise};
use serde_json::{Value, json};

use crate::saved::{Entry, Saved};
use crate::{StateDict, read, safetensors, wrong};

/// The text of the file that says which entries there are.
const KEY: &str = "checkpoint";
const VERSION: u64 = 1;

/// Named parts of a training — model, optimizer, scheduler, random numbers, place in the data, numbers of
/// your own — that are saved and loaded together: the dict that PyTorch's users hand to `torch.save`.
///
/// The file is a safetensors file, so its tensors (`model.fc.weight`, …) can be read by other programs. It
/// is written to a temporary file that then takes its name: a program that is killed while it saves leaves
/// the checkpoint before.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_files::{Checkpoint, StateDict};
/// use kiln_tensor_core::{Tensor, rng_states, set_rng_states};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.safetensors");
/// # let mut model = StateDict::new();
/// # model.insert("weight", Tensor::<Cpu>::from_slice(&[1.0, 2.0], [2], &CpuDevice));
/// Checkpoint::new()
///     .with("model", model) // net.state_dict(); optimizers, schedulers and loaders go alike
///     .with("rng", rng_states())
///     .with("epoch", 3)
///     .with("best loss", f64::INFINITY)
///     .save(&path)?;
///
/// let checkpoint = Checkpoint::<Cpu>::load(&path, &CpuDevice)?;
/// let model: StateDict<Cpu> = checkpoint.get("model")?; // net.load_state_dict(&checkpoint.get("model")?, true)?
/// let epoch: u64 = checkpoint.get("epoch")?;
/// let best: f64 = checkpoint.get("best loss")?;
/// set_rng_states(&checkpoint.get("rng")?);
/// assert_eq!((epoch, best), (3, f64::INFINITY));
/// # assert_eq!(model.len(), 1);
/// # Ok::<(), kiln_tensor_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Checkpoint<B: Backend> {
    entries: Vec<(String, Entry<B>)>,
}

impl<B: Backend> Checkpoint<B> {
    /// An empty one.
    pub const fn new() -> Self {
        Checkpoint { entries: Vec::new() }
    }

    /// The same with one more entry; see [`Checkpoint::insert`].
    #[track_caller]
    pub fn with(mut self, name: &str, value: impl Saved<B>) -> Self {
        self.insert(name, value);
        self
    }

    /// Adds an entry, or replaces the one that has the name already: a state dict (of a module, an
    /// optimizer, …), a scheduler's state, a loader's position, the states of the random numbers, a tensor,
    /// a number, a text, or a list of them.
    ///
    /// Tensors are handles: what is written is what they hold when the checkpoint is saved.
    ///
    /// # Panics
    /// If the name is empty or has a dot, which stands between the names of an entry and its tensors.
    #[track_caller]
    pub fn insert(&mut self, name: &str, value: impl Saved<B>) {
        if name.is_empty() || name.contains('.') {
            let why = format!("`{name}` cannot name an entry: a name is not empty and has no dot");
            raise(Error::Argument { op: "Checkpoint::insert", why });
        }
        let value = value.into_entry();
        match self.entries.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((name.into(), value)),
        }
    }

    /// The value of an entry, as what it is wanted as.
    ///
    /// # Errors
    /// [`Error::StateDict`] if there is no such entry, or it holds something else.
    pub fn get<T: Saved<B>>(&self, name: &str) -> Result<T> {
        let Some((_, entry)) = self.entries.iter().find(|(known, _)| known == name) else {
            let names = self.keys().collect::<Vec<_>>().join(", ");
            let why = format!("the checkpoint has no entry `{name}`; it has: {names}");
            return Err(Error::StateDict { why });
        };
        T::from_entry(entry).ok_or_else(|| {
            let wanted = std::any::type_name::<T>();
            let found = match entry {
                Entry::State(_) => "a state dict".to_owned(),
                Entry::Tensor(_) => "a tensor".to_owned(),
                Entry::Value(value) => value.to_string(),
            };
            let why = format!("entry `{name}` of the checkpoint is {found}, not a {wanted}");
            Error::StateDict { why }
        })
    }

    /// Whether there is an entry of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.keys().any(|known| known == name)
    }

    /// The names of the entries, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// Writes all to one safetensors file: to a temporary file beside it, which then takes its name.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut tensors: Vec<(String, &Tensor<B>)> = Vec::new();
        let mut entries = Vec::new();
        for (name, entry) in &self.entries {
            entries.push(match entry {
                Entry::Value(value) => json!({"name": name, "value": value}),
                Entry::Tensor(tensor) => {
                    tensors.push((name.clone(), tensor));
                    json!({"name": name, "tensor": true})
                }
                Entry::State(state) => {
                    tensors.extend(state.iter().map(|(key, tensor)| (join(name, key), tensor)));
                    let keys: Vec<&str> = state.keys().collect();
                    json!({"name": name, "tensors": keys, "texts": state.metadata()})
                }
            });
        }
        let contents = json!({"version": VERSION, "entries": entries}).to_string();
        let metadata = BTreeMap::from([(KEY.to_owned(), contents)]);
        let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), *tensor));
        safetensors::save(path.as_ref(), tensors, &metadata)
    }

    /// Reads a checkpoint with its tensors on `device`, wherever they were when it was saved.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Format`] if it is no checkpoint or is damaged.
    pub fn load(path: impl AsRef<Path>, device: &B::Device) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(&read(path)?, path, device)
    }

    fn parse(bytes: &[u8], path: &Path, device: &B::Device) -> Result<Self> {
        let state: StateDict<B> = safetensors::parse(bytes, path, device)?;
        let refuse = |why: String| wrong(path, format!("no checkpoint of Kiln's: {why}"));
        let contents = state.metadata().get(KEY).ok_or_else(|| {
            refuse("it holds tensors, but does not say what they are parts of".into())
        })?;
        let contents: Value =
            serde_json::from_str(contents).map_err(|error| refuse(error.to_string()))?;
        if contents["version"] != VERSION {
            return Err(refuse(format!("version {} of the format", contents["version"])));
        }
        let listed = contents["entries"].as_array().ok_or_else(|| refuse("no entries".into()))?;
        let mut tensors: BTreeMap<String, Tensor<B>> = state.into_iter().collect();
        let mut entries = Vec::new();
        for entry in listed {
            let name = entry["name"].as_str().ok_or_else(|| refuse("a nameless entry".into()))?;
            entries
                .push((name.to_owned(), parse_entry(name, entry, &mut tensors).map_err(refuse)?));
        }
        match tensors.keys().next() {
            Some(name) => Err(refuse(format!("tensor {name} belongs to no entry"))),
            None => Ok(Checkpoint { entries }),
        }
    }
}

fn join(entry: &str, key: &str) -> String {
    format!("{entry}.{key}")
}

fn parse_entry<B: Backend>(
    name: &str,
    entry: &Value,
    tensors: &mut BTreeMap<String, Tensor<B>>,
) -> std::result::Result<Entry<B>, String> {
    let mut take =
        |name: String| tensors.remove(&name).ok_or_else(|| format!("there is no tensor {name}"));
    if let Some(value) = entry.get("value") {
        return Ok(Entry::Value(value.clone()));
    }
    if entry.get("tensor").is_some() {
        return Ok(Entry::Tensor(take(name.into())?));
    }
    let odd = || format!("entry {name} is of an unknown kind");
    let keys = entry["tensors"].as_array().ok_or_else(odd)?;
    let state = keys.iter().map(|key| {
        let key = key.as_str().ok_or_else(odd)?;
        Ok((key.to_owned(), take(join(name, key))?))
    });
    let mut state = state.collect::<std::result::Result<StateDict<B>, String>>()?;
    for (key, text) in entry["texts"].as_object().ok_or_else(odd)? {
        let text = text.as_str().ok_or_else(odd)?;
        state.metadata_mut().insert(key.clone(), text.into());
    }
    Ok(Entry::State(state))
}

impl<B: Backend> Default for Checkpoint<B> {
    fn default() -> Self {
        Checkpoint::new()
    }
}

impl<B: Backend> fmt::Debug for Checkpoint<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries.iter().map(|(name, entry)| (name, entry))).finish()
    }
}
