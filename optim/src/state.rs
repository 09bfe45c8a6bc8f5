//! What must be kept of an optimizer to go on exactly where it stopped.

use std::sync::Arc;

use kiln_nn::StateDict;
use kiln_tensor_core::{Backend, Error, Result};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::algorithm::Algorithm;
use crate::optimizer::Optimizer;
use crate::options::Count;
use crate::param::State;
use crate::step::beside;

/// The entry of a state dict's metadata that holds what is not a tensor.
const KEY: &str = "optimizer";

impl<B: Backend, A: Algorithm> Optimizer<B, A> {
    /// The optimizer's state, which a file can hold.
    ///
    /// The tensors are called `state.<parameter>.<name>`, as in `state.0.exp_avg`, with parameters
    /// counted through all groups. The metadata has an entry `optimizer`, a JSON text with its `name`;
    /// `param_groups`, the options of each group and the numbers of its `params`; `steps`, the
    /// number of updates of each parameter; and, where the algorithm carries a number from update to update
    /// (NAdam, ASGD), `kept`, those.
    ///
    /// The tensors are handles to those that the next step writes to, as in PyTorch: save or `copy` them
    /// before it.
    ///
    /// ```no_run
    /// # use kiln_nn::StateDict;
    /// # use kiln_tensor_core::{Backend, Result};
    /// # fn f<B: Backend>(adam: &mut kiln_optim::Adam<B>, device: &B::Device) -> Result<()> {
    /// adam.state_dict().save("adam.safetensors")?;
    /// adam.load_state_dict(&StateDict::load("adam.safetensors", device)?)
    /// # }
    /// ```
    pub fn state_dict(&self) -> StateDict<B> {
        let (mut state_dict, mut groups) = (StateDict::new(), Vec::new());
        let (mut steps, mut kept) = (Vec::new(), Vec::new());
        for group in &self.groups {
            let Ok(Value::Object(mut entry)) = serde_json::to_value(&*group.options) else {
                unreachable!("options are a struct of numbers and flags")
            };
            let first = steps.len();
            entry.insert("params".into(), (first..first + group.states.len()).collect());
            entry.extend(group.initial_lr.map(|lr| ("initial_lr".into(), json!(lr))));
            groups.push(Value::Object(entry));
            let names = A::slots(group.options.flags());
            for state in &group.states {
                for (name, tensor) in state.slots.iter().filter(|(name, _)| names.contains(name)) {
                    state_dict.insert(format!("state.{}.{name}", steps.len()), tensor.clone());
                }
                let count = *state.count.lock();
                steps.push(count.step);
                kept.push(count.kept);
            }
        }
        let mut rest = json!({"name": A::NAME, "param_groups": groups, "steps": steps});
        if kept.iter().any(|&number| number != 0.0) {
            rest["kept"] = json!(kept);
        }
        state_dict.metadata_mut().insert(KEY.into(), rest.to_string());
        state_dict
    }

    /// Takes over a state, options included. The tensors are copied to where the parameters are.
    ///
    /// Load after schedulers have been attached, whose start sets learning rates.
    ///
    /// # Errors
    /// [`Error::StateDict`] if the state is not one of this kind of optimizer with as many groups and
    /// parameters of the same shapes. Nothing has been changed then.
    pub fn load_state_dict(&mut self, state: &StateDict<B>) -> Result<()> {
        let text = state.metadata().get(KEY).ok_or_else(|| wrong("not an optimizer's".into()))?;
        let rest: Value =
            serde_json::from_str(text).map_err(|error| wrong(format!("its metadata: {error}")))?;
        if rest["name"] != A::NAME {
            return Err(wrong(format!("the state is one of {}, not of {}", rest["name"], A::NAME)));
        }
        let entries = list(&rest["param_groups"], self.groups.len(), "param_groups")?;
        let count = self.groups.iter().map(|group| group.states.len()).sum();
        let mut steps = list(&rest["steps"], count, "steps")?.iter();
        let mut kept = match &rest["kept"] {
            Value::Null => vec![0.0; count],
            numbers => list(numbers, count, "kept")?
                .iter()
                .map(|kept| kept.as_f64().ok_or_else(|| wrong("`kept` has no numbers".into())))
                .collect::<Result<_>>()?,
        }
        .into_iter();
        let mut used = 0;
        let mut loaded = Vec::new();
        let mut number = 0;
        for (group, entry) in self.groups.iter().zip(entries) {
            list(&entry["params"], group.states.len(), "params of a group")?;
            let (options, initial_lr) = options::<A>(entry)?;
            let names = A::slots(options.flags());
            let mut states = Vec::new();
            for ((param, step), kept) in group.params().zip(&mut steps).zip(&mut kept) {
                let step = step.as_u64().ok_or_else(|| wrong("`steps` has no counts".into()))?;
                let mut slots = Vec::new();
                for &name in names {
                    let key = format!("state.{number}.{name}");
                    let Some(tensor) = state.get(&key) else { continue };
                    let Some(wanted) = A::slot_shape(name, param.shape()) else { continue };
                    if *tensor.shape() != wanted {
                        let found = tensor.shape();
                        return Err(wrong(format!("{key} has shape {found}, not {wanted}")));
                    }
                    slots.push((name, beside(&tensor.detach().copy(), &param)));
                }
                used += slots.len();
                number += 1;
                let count = Arc::new(Mutex::new(Count { step, kept }));
                states.push(State { count, slots });
            }
            loaded.push((options, initial_lr, states));
        }
        if used != state.len() {
            let total = state.len();
            return Err(wrong(format!(
                "{} of {total} tensors are not the optimizer's",
                total - used
            )));
        }
        for (group, (options, initial_lr, states)) in self.groups.iter_mut().zip(loaded) {
            group.options.replace(options);
            (group.initial_lr, group.states) = (initial_lr, states);
        }
        Ok(())
    }
}

fn wrong(why: String) -> Error {
    Error::StateDict { why }
}

/// The entries of a list that has to have `count` of them.
fn list<'a>(value: &'a Value, count: usize, what: &str) -> Result<&'a Vec<Value>> {
    match value.as_array() {
        Some(list) if list.len() == count => Ok(list),
        Some(list) => Err(wrong(format!("{} {what} instead of {count}", list.len()))),
        None => Err(wrong(format!("there is no list of {what}"))),
    }
}

/// The options of a group and the learning rate that schedulers start from.
fn options<A: Algorithm>(entry: &Value) -> Result<(A, Option<f64>)> {
    let options = A::deserialize(entry).map_err(|error| wrong(format!("options: {error}")))?;
    match options.invalid() {
        Some(why) => Err(wrong(why)),
        None => Ok((options, entry["initial_lr"].as_f64())),
    }
}
