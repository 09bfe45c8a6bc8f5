//! What a file of PyTorch's holds.

use std::path::Path;
use std::sync::Arc;

use kiln_tensor_core::{Backend, DType, Error, Result, Tensor};

use super::machine::{Id, Object, Objects};
use super::tensors::Storages;
use crate::StateDict;

/// Deeper than this nobody nests, and a walk needs no more stack.
const MAX_DEPTH: usize = 128;

/// A value of a file of PyTorch's. Clones share what they hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value<B: Backend> {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text, or the name of a `torch.device`.
    Str(Arc<str>),
    /// A `torch.dtype`.
    DType(DType),
    /// A list.
    List(Arc<[Value<B>]>),
    /// A tuple, or a `torch.Size`.
    Tuple(Arc<[Value<B>]>),
    /// A dict in its order, keys and values.
    Dict(Arc<[(Value<B>, Value<B>)]>),
    /// A tensor or a parameter.
    Tensor(Tensor<B>),
}

impl<B: Backend> Value<B> {
    /// A dict with texts as keys.
    pub fn dict<K: Into<String>>(entries: impl IntoIterator<Item = (K, Value<B>)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (Value::from(key.into()), value));
        Value::Dict(entries.collect())
    }

    /// The value of a dict at a text; nothing if it is no dict or lacks the key.
    pub fn get(&self, key: &str) -> Option<&Value<B>> {
        let (_, value) =
            self.entries()?.iter().rev().find(|(name, _)| name.as_str() == Some(key))?;
        Some(value)
    }

    /// The keys and values of a dict, in its order.
    pub fn entries(&self) -> Option<&[(Value<B>, Value<B>)]> {
        match self {
            Value::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of a list or a tuple.
    pub fn items(&self) -> Option<&[Value<B>]> {
        match self {
            Value::List(items) | Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The number, also a whole one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(yes) => Some(*yes),
            _ => None,
        }
    }

    /// The tensor.
    pub fn as_tensor(&self) -> Option<&Tensor<B>> {
        match self {
            Value::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// A dict of tensors as a state dict, for `load_state_dict`.
    ///
    /// # Errors
    /// [`Error::Format`] if it is something else; the error says what, and where the tensors may be.
    pub fn state_dict(&self) -> Result<StateDict<B>> {
        self.tensors().map_err(|why| Error::Format { what: "state_dict".into(), why })
    }

    fn tensors(&self) -> std::result::Result<StateDict<B>, String> {
        let Some(entries) = self.entries() else {
            return Err(format!("{}, where a dict of tensors is wanted", self.kind()));
        };
        let pairs: Option<StateDict<B>> = entries
            .iter()
            .map(|(name, value)| Some((name.as_str()?.to_owned(), value.as_tensor()?.clone())))
            .collect();
        pairs.ok_or_else(|| {
            let name = |key: &Value<B>| key.as_str().map_or_else(|| key.kind(), str::to_owned);
            let held = entries.iter().take(12).map(|(k, v)| format!("{} ({})", name(k), v.kind()));
            format!(
                "a dict with other things than tensors: {}; read it with `pt::load` and take a part, \
                 as in `pt::load(path, &device)?.get(\"model\")`",
                held.collect::<Vec<_>>().join(", ")
            )
        })
    }

    fn kind(&self) -> String {
        match self {
            Value::None => "None".into(),
            Value::Bool(_) => "a truth value".into(),
            Value::Int(_) | Value::Float(_) => "a number".into(),
            Value::Str(_) => "a text".into(),
            Value::DType(_) => "a dtype".into(),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Tuple(items) => format!("a tuple of {}", items.len()),
            Value::Dict(entries) => format!("a dict of {}", entries.len()),
            Value::Tensor(tensor) => format!("a tensor {}", tensor.shape()),
        }
    }

    /// As [`Value::state_dict`], for a file.
    pub(crate) fn into_state_dict(self, path: &Path) -> Result<StateDict<B>> {
        self.tensors().map_err(|why| crate::wrong(path, why))
    }
}

macro_rules! from {
    ($($ty:ty: $x:ident => $value:expr;)*) => {$(
        impl<B: Backend> From<$ty> for Value<B> {
            fn from($x: $ty) -> Self {
                $value
            }
        }
    )*};
}

from! {
    bool: x => Value::Bool(x);
    i64: x => Value::Int(x);
    i32: x => Value::Int(x.into());
    f64: x => Value::Float(x);
    f32: x => Value::Float(x.into());
    &str: x => Value::Str(x.into());
    String: x => Value::Str(x.into());
    DType: x => Value::DType(x);
    Tensor<B>: x => Value::Tensor(x);
    Vec<Value<B>>: x => Value::List(x.into());
    // Texts beside the tensors have no place.
    StateDict<B>: x => Value::dict(x.into_iter().map(|(name, tensor)| (name, tensor.into())));
}

/// Makes the values of a pickle's objects. What several share is made once.
pub(super) fn build<B: Backend>(
    objects: &Objects,
    storages: &mut Storages<'_, B>,
) -> std::result::Result<Value<B>, String> {
    let made = (0..objects.all.len()).map(|_| None).collect();
    Builder { objects: &objects.all, storages, made }.value(objects.root, 0)
}

struct Builder<'a, 'b, B: Backend> {
    objects: &'a [Object],
    storages: &'a mut Storages<'b, B>,
    made: Vec<Option<Value<B>>>,
}

impl<B: Backend> Builder<'_, '_, B> {
    fn value(&mut self, id: Id, depth: usize) -> std::result::Result<Value<B>, String> {
        if let Some(made) = &self.made[id] {
            return Ok(made.clone());
        }
        if depth > MAX_DEPTH {
            return Err("its values are nested too deeply, or hold themselves".into());
        }
        let value = match &self.objects[id] {
            Object::None => Value::None,
            Object::Bool(yes) => Value::Bool(*yes),
            Object::Int(number) => Value::Int(*number),
            Object::Float(number) => Value::Float(*number),
            Object::Text(text) => Value::Str(text.clone()),
            Object::DType(dtype) => Value::DType(*dtype),
            Object::List(ids) => Value::List(self.values(ids, depth)?),
            Object::Tuple(ids) => Value::Tuple(self.values(ids, depth)?),
            Object::Dict(pairs) => {
                let pair = |&(key, value): &(Id, Id)| {
                    Ok((self.value(key, depth + 1)?, self.value(value, depth + 1)?))
                };
                Value::Dict(pairs.iter().map(pair).collect::<std::result::Result<_, String>>()?)
            }
            Object::Tensor { storage, offset, sizes, strides } => {
                let Object::Storage { key, dtype, numel } = &self.objects[*storage] else {
                    return Err("a tensor without a storage".into());
                };
                Value::Tensor(self.storages.tensor(
                    (key, *dtype, *numel),
                    *offset,
                    sizes,
                    strides,
                )?)
            }
            Object::Storage { .. } => return Err("it holds a storage without a tensor".into()),
            Object::Class(class) => return Err(format!("it holds a class by itself: {class:?}")),
        };
        self.made[id] = Some(value.clone());
        Ok(value)
    }

    fn values(&mut self, ids: &[Id], depth: usize) -> std::result::Result<Arc<[Value<B>]>, String> {
        ids.iter().map(|&id| self.value(id, depth + 1)).collect()
    }
}
