//! Compiling once: the kernels of a device, by what their source depends on and by the source.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use kiln_tensor_core::Result;
use parking_lot::{Mutex, RwLock};

use crate::{Runtime, Traits, source};

/// The kernels of a device.
#[derive(Debug)]
pub(crate) struct Kernels<R: Runtime> {
    /// By the key of a call. Several keys may lead to one source.
    by_key: RwLock<HashMap<u64, Arc<Slot<R>>>>,
    by_source: Mutex<HashMap<String, Arc<Slot<R>>>>,
}

/// A kernel, once it is compiled; the lock keeps other threads from compiling it as well.
#[derive(Debug)]
pub(crate) struct Slot<R: Runtime> {
    kernel: OnceLock<R::Kernel>,
    compiling: Mutex<()>,
}

impl<R: Runtime> Slot<R> {
    pub(crate) fn kernel(&self) -> &R::Kernel {
        self.kernel.get().expect("`Kernels::get` has compiled it")
    }
}

impl<R: Runtime> Kernels<R> {
    pub(crate) fn new() -> Self {
        Kernels { by_key: RwLock::default(), by_source: Mutex::default() }
    }

    /// The kernel of a key, compiled where that has not been done. `entry` and `key` determine the body.
    pub(crate) fn get(
        &self,
        device: &R::Device,
        traits: &Traits,
        entry: &'static str,
        key: impl Hash,
        body: impl FnOnce() -> String,
    ) -> Result<Arc<Slot<R>>> {
        let mut hasher = DefaultHasher::new();
        (entry, key).hash(&mut hasher);
        let key = hasher.finish();
        let known = self.by_key.read().get(&key).cloned();
        if let Some(slot) = known {
            return Ok(slot);
        }
        let body = body();
        let slot = {
            let new = || Arc::new(Slot { kernel: OnceLock::new(), compiling: Mutex::default() });
            self.by_source.lock().entry(body.clone()).or_insert_with(new).clone()
        };
        let compiling = slot.compiling.lock();
        if slot.kernel.get().is_none() {
            let (kernel, _) = R::compile(device, &source::whole(traits, &body), entry)?;
            let _ = slot.kernel.set(kernel);
        }
        drop(compiling);
        self.by_key.write().insert(key, slot.clone());
        Ok(slot)
    }
}
