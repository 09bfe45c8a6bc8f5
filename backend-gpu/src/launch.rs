//! Passing arguments, launching.

use std::hash::Hash;
use std::panic::Location;

use bytemuck::Pod;
use kiln_tensor_core::graph::Live;
use kiln_tensor_core::{DType, Error, Kernel, Result, Scalar, Shape, Tensor, raise};
use smallvec::SmallVec;

use crate::Gpu;
use crate::faults::Watch;
use crate::opened::Opened;
use crate::runtime::{Runtime, Traits};
use crate::source::{Operand, checked};
use crate::storage::Storage;

/// What a result is, or a panic with the typed error of the device.
#[track_caller]
pub(crate) fn done<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| raise(error))
}

#[track_caller]
pub(crate) fn opened<R: Runtime>(device: &R::Device) -> &'static Opened<R> {
    done(R::opened(device))
}

#[track_caller]
pub(crate) fn traits<R: Runtime>(device: &R::Device) -> &'static Traits {
    opened::<R>(device).traits()
}

/// Requires that the device computes in the dtypes.
#[track_caller]
pub(crate) fn supported<R: Runtime>(
    op: &'static str,
    device: &R::Device,
    dtypes: impl IntoIterator<Item = DType>,
) {
    if dtypes.into_iter().any(|dtype| dtype == DType::F64) && !traits::<R>(device).f64 {
        raise(Error::Unsupported {
            op,
            backend: device.to_string(),
            why: "it has no double precision; convert with `to_dtype(DType::F32)`".into(),
        });
    }
}

/// A launch in the making: arguments in the order of the kernel's parameters.
pub(crate) struct Call<'a, R: Runtime> {
    pub(crate) device: &'a R::Device,
    pub(crate) watch: Option<Watch>,
    pub(crate) live: Option<LiveArgs>,
    pub(crate) args: SmallVec<[Value<'a, R>; 12]>,
}

pub(crate) enum Value<'a, R: Runtime> {
    /// Of a tensor that has some.
    Elements(&'a Storage<R>),
    Bytes(SmallVec<[u8; 80]>),
}

/// Arguments that are worked out anew for each replay of the step that is captured.
#[derive(Clone)]
pub(crate) struct LiveArgs {
    /// See `Live::number`.
    pub(crate) number: usize,
    /// The position of the first.
    pub(crate) first: usize,
    pub(crate) dtypes: SmallVec<[DType; 8]>,
}

impl<'a, R: Runtime> Call<'a, R> {
    pub(crate) fn new(device: &'a R::Device) -> Self {
        Call { device, watch: None, live: None, args: SmallVec::new() }
    }

    /// A number or a struct.
    pub(crate) fn value(mut self, value: impl Pod) -> Self {
        self.args.push(Value::Bytes(SmallVec::from_slice(bytemuck::bytes_of(&value))));
        self
    }

    /// The elements of a tensor, which has some. Drivers do not look where they are: a buffer of another
    /// device ends the process.
    #[track_caller]
    pub(crate) fn tensor(mut self, x: &'a Tensor<Gpu<R>>) -> Self {
        if x.device() != self.device {
            let (left, right) = (self.device.to_string(), x.device().to_string());
            raise(Error::Device { op: "backend", left, right });
        }
        self.args.push(Value::Elements(x.storage()));
        self
    }

    /// The values of a program's parameters, as its kernel declares them.
    pub(crate) fn params(mut self, kernel: Kernel<'_>) -> Self {
        let dtypes = kernel.expr.params();
        self.live = kernel.live.and_then(Live::number).map(|number| LiveArgs {
            number,
            first: self.args.len(),
            dtypes: SmallVec::from_slice(dtypes),
        });
        for (&dtype, &value) in dtypes.iter().zip(kernel.params) {
            self.args.push(Value::Bytes(SmallVec::from_slice(&param(dtype, value))));
        }
        self
    }

    /// The elements of a tensor, as an operand of the kernel declares them.
    #[track_caller]
    pub(crate) fn operand(self, operand: &Operand, x: &'a Tensor<Gpu<R>>) -> Self {
        let mut call = self.tensor(x);
        if let Some(code) = operand.code(x) {
            call = call.value(code);
        }
        match operand.count(x) {
            Some(count) => call.value(count),
            None => call,
        }
    }

    /// The kernel reports an index that is out of range for a dim of this size with `FAULT(index)`, and has
    /// `FAULTS` as its last parameter. The error names the op, what the index is of, and the caller of the functions around this
    /// that have `#[track_caller]`.
    #[track_caller]
    pub(crate) fn watched(
        mut self,
        (op, what): (&'static str, &'static str),
        size: usize,
        shape: &Shape,
    ) -> Self {
        let (shape, at) = (shape.clone(), Location::caller());
        self.watch = Some(Watch { op, what, size, shape, at });
        self
    }

    /// Compiles the kernel where that has not been done, and queues it over so many work-items, in groups of
    /// the size that the device prefers.
    ///
    /// `key` and `entry`, which no other file uses, determine `body`: it is written only when it is to be
    /// compiled.
    #[track_caller]
    pub(crate) fn run(
        self,
        entry: &'static str,
        key: impl Hash,
        items: usize,
        body: impl FnOnce() -> String,
    ) {
        let group = traits::<R>(self.device).group;
        self.run_groups(entry, key, (items.div_ceil(group), group), body);
    }

    /// Like `run`, over so many groups of so many work-items.
    #[track_caller]
    pub(crate) fn run_groups(
        mut self,
        entry: &'static str,
        key: impl Hash,
        (groups, group): (usize, usize),
        body: impl FnOnce() -> String,
    ) {
        if groups == 0 {
            return;
        }
        if checked() && self.watch.is_none() {
            self = self.watched((entry, "element"), 0, &Shape::default());
        }
        let opened = opened::<R>(self.device);
        let kernel = done(opened.kernel(self.device, entry, key, body));
        done(opened.launch((entry, &kernel), (groups, group), self));
    }
}

/// The bytes of a program's parameter, as its kernel declares it.
pub(crate) fn param(dtype: DType, value: Scalar) -> SmallVec<[u8; 8]> {
    match dtype.compute() {
        DType::F64 => SmallVec::from_slice(&value.to_f64().to_ne_bytes()),
        DType::F32 => SmallVec::from_slice(&(value.to_f64() as f32).to_ne_bytes()),
        _ => SmallVec::from_slice(&whole(value, dtype).to_ne_bytes()),
    }
}

/// A number as an integer dtype holds it.
fn whole(value: Scalar, dtype: DType) -> i64 {
    if dtype == DType::Bool {
        return i64::from(value.to_bool());
    }
    let v = value.to_i64();
    let from_float = matches!(value, Scalar::F64(_));
    let v = if from_float && dtype != DType::I64 {
        v.clamp(i64::from(i32::MIN), i64::from(i32::MAX))
    } else {
        v
    };
    match dtype {
        DType::I32 => i64::from(v as i32),
        DType::I16 => i64::from(v as i16),
        DType::I8 => i64::from(v as i8),
        DType::U8 => i64::from(v as u8),
        _ => v,
    }
}
