//! Compiling once, passing arguments, launching.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use bytemuck::Pod;
use kiln_tensor_core::{DType, Error, Result, Tensor, raise};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::Gpu;
use crate::runtime::{Arg, Runtime, Traits};
use crate::source::{self, Operand};

type Compiled = HashMap<(TypeId, u64, String), Arc<dyn Any + Send + Sync>>;

/// Every kernel that was compiled, by driver, device and source.
static COMPILED: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);

/// What a result is, or a panic with the typed error of the device.
#[track_caller]
pub(crate) fn done<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| raise(error))
}

#[track_caller]
pub(crate) fn traits<R: Runtime>(device: &R::Device) -> &'static Traits {
    done(R::traits(device))
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
    device: &'a R::Device,
    args: SmallVec<[Value<'a, R>; 12]>,
}

enum Value<'a, R: Runtime> {
    Buffer(&'a R::Buffer),
    Bytes(SmallVec<[u8; 80]>),
}

impl<'a, R: Runtime> Call<'a, R> {
    pub(crate) fn new(device: &'a R::Device) -> Self {
        Call { device, args: SmallVec::new() }
    }

    /// A number or a struct.
    pub(crate) fn value(mut self, value: impl Pod) -> Self {
        self.args.push(Value::Bytes(SmallVec::from_slice(bytemuck::bytes_of(&value))));
        self
    }

    /// The elements of a tensor, which has some.
    pub(crate) fn tensor(mut self, x: &'a Tensor<Gpu<R>>) -> Self {
        self.args.push(Value::Buffer(x.storage().buffer().expect("an element to work on")));
        self
    }

    /// The elements of a tensor, as an operand of the kernel declares them.
    pub(crate) fn operand(self, operand: &Operand, x: &'a Tensor<Gpu<R>>) -> Self {
        let call = self.tensor(x);
        match operand.code(x) {
            Some(code) => call.value(code),
            None => call,
        }
    }

    /// Compiles the kernel where that has not been done, and queues it over so many work-items.
    #[track_caller]
    pub(crate) fn run(self, entry: &str, body: &str, items: usize) {
        if items == 0 {
            return;
        }
        let kernel = compiled::<R>(self.device, entry, body);
        let group = traits::<R>(self.device).group;
        let args: SmallVec<[Arg<'_, R::Buffer>; 12]> = self
            .args
            .iter()
            .map(|arg| match arg {
                Value::Buffer(buffer) => Arg::Buffer(*buffer),
                Value::Bytes(bytes) => Arg::Bytes(bytes),
            })
            .collect();
        done(R::launch(self.device, &kernel, items.div_ceil(group), &args));
    }
}

#[track_caller]
fn compiled<R: Runtime>(device: &R::Device, entry: &str, body: &str) -> Arc<R::Kernel> {
    let mut hasher = DefaultHasher::new();
    device.hash(&mut hasher);
    let key = (TypeId::of::<R>(), hasher.finish(), body.to_owned());
    let known = COMPILED.lock().get(&key).cloned();
    let kernel = known.unwrap_or_else(|| {
        let whole = source::whole(traits::<R>(device), body);
        let kernel: Arc<dyn Any + Send + Sync> = Arc::new(done(R::compile(device, &whole, entry)));
        COMPILED.lock().insert(key, kernel.clone());
        kernel
    });
    kernel.downcast().expect("the key names the driver")
}
