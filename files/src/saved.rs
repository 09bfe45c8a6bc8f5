//! What a checkpoint can hold.

use kiln_tensor_core::{Backend, RngState, RngStates, Tensor};
use serde_json::{Map, Value, json};

use crate::StateDict;

/// One entry of a checkpoint.
#[derive(Clone, Debug)]
pub enum Entry<B: Backend> {
    /// Tensors by name, with texts.
    State(StateDict<B>),
    /// A tensor.
    Tensor(Tensor<B>),
    /// Anything else, as JSON.
    Value(Value),
}

/// What goes into a checkpoint and comes out of it: state dicts, tensors, and all that is [`Plain`].
pub trait Saved<B: Backend>: Sized {
    /// The entry that holds it.
    fn into_entry(self) -> Entry<B>;

    /// The value of an entry; nothing if it holds something else.
    fn from_entry(entry: &Entry<B>) -> Option<Self>;
}

impl<B: Backend> Saved<B> for StateDict<B> {
    fn into_entry(self) -> Entry<B> {
        Entry::State(self)
    }

    fn from_entry(entry: &Entry<B>) -> Option<Self> {
        match entry {
            Entry::State(state) => Some(state.clone()),
            _ => None,
        }
    }
}

impl<B: Backend> Saved<B> for Tensor<B> {
    fn into_entry(self) -> Entry<B> {
        Entry::Tensor(self)
    }

    fn from_entry(entry: &Entry<B>) -> Option<Self> {
        match entry {
            Entry::Tensor(tensor) => Some(tensor.clone()),
            _ => None,
        }
    }
}

impl<B: Backend, T: Plain> Saved<B> for T {
    fn into_entry(self) -> Entry<B> {
        Entry::Value(self.to_json())
    }

    fn from_entry(entry: &Entry<B>) -> Option<Self> {
        match entry {
            Entry::Value(value) => T::from_json(value),
            _ => None,
        }
    }
}

/// A value that is no tensor, written as JSON: numbers, texts, lists of them, what schedulers and loaders
/// give. It comes back as it was, bit for bit.
pub trait Plain: Sized {
    /// As JSON.
    fn to_json(&self) -> Value;

    /// From JSON; nothing if it is of another kind.
    fn from_json(value: &Value) -> Option<Self>;
}

impl Plain for Value {
    fn to_json(&self) -> Value {
        self.clone()
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl Plain for bool {
    fn to_json(&self) -> Value {
        json!(self)
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Plain for String {
    fn to_json(&self) -> Value {
        json!(self)
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

macro_rules! integers {
    ($($ty:ty as $get:ident),*) => {$(
        impl Plain for $ty {
            fn to_json(&self) -> Value {
                json!(self)
            }

            fn from_json(value: &Value) -> Option<Self> {
                value.$get()?.try_into().ok()
            }
        }
    )*};
}
integers!(i8 as as_i64, i16 as as_i64, i32 as as_i64, i64 as as_i64, isize as as_i64);
integers!(u8 as as_u64, u16 as as_u64, u32 as as_u64, u64 as as_u64, usize as as_u64);

/// JSON has no infinity and no NaN: they are texts.
impl Plain for f64 {
    fn to_json(&self) -> Value {
        if self.is_finite() { json!(self) } else { json!(self.to_string()) }
    }

    fn from_json(value: &Value) -> Option<Self> {
        match value.as_str() {
            Some("inf") => Some(f64::INFINITY),
            Some("-inf") => Some(f64::NEG_INFINITY),
            Some("NaN") => Some(f64::NAN),
            Some(_) => None,
            None => value.as_f64(),
        }
    }
}

impl Plain for f32 {
    fn to_json(&self) -> Value {
        f64::from(*self).to_json()
    }

    fn from_json(value: &Value) -> Option<Self> {
        f64::from_json(value).map(|value| value as f32)
    }
}

impl<T: Plain> Plain for Vec<T> {
    fn to_json(&self) -> Value {
        self.iter().map(Plain::to_json).collect()
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::from_json).collect()
    }
}

/// Nothing is null.
impl<T: Plain> Plain for Option<T> {
    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, Plain::to_json)
    }

    fn from_json(value: &Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::from_json(value).map(Some) }
    }
}

impl Plain for RngStates {
    fn to_json(&self) -> Value {
        let device = |(name, state): (&String, &RngState)| {
            (name.clone(), json!({"seed": state.seed, "stream": state.stream}))
        };
        json!({"seed": self.seed, "devices": self.devices.iter().map(device).collect::<Map<_, _>>()})
    }

    fn from_json(value: &Value) -> Option<Self> {
        let device = |(name, state): (&String, &Value)| {
            let (seed, stream) = (state["seed"].as_u64()?, state["stream"].as_u64()?);
            Some((name.clone(), RngState { seed, stream }))
        };
        let devices = value["devices"].as_object()?.iter().map(device).collect::<Option<_>>()?;
        Some(RngStates { seed: value["seed"].as_u64()?, devices })
    }
}
