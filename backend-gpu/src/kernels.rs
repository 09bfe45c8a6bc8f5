//! Compiling once: the kernels of a device, by what their source depends on, by source, and on disk.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use kiln_tensor_core::Result;
use parking_lot::{Mutex, RwLock};

use crate::disk::Entry;
use crate::{Runtime, Traits, source};

/// How many kernels this process has compiled, on all devices: those that were found on disk do not count.
pub fn compilations() -> u64 {
    COMPILATIONS.load(Ordering::Relaxed)
}

static COMPILATIONS: AtomicU64 = AtomicU64::new(0);

/// The kernels of a device.
#[derive(Debug)]
pub(crate) struct Kernels<R: Runtime> {
    /// By the hash of a call's key. Several keys may lead to one source; that two keys meet in one hash takes
    /// more kernels than a program has.
    by_key: RwLock<HashMap<u64, Arc<Slot<R>>>>,
    by_source: Mutex<HashMap<String, Arc<Slot<R>>>>,
    /// Compiled, and not on disk yet.
    unsaved: Mutex<Vec<(Arc<Slot<R>>, Entry)>>,
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
        Kernels {
            by_key: RwLock::default(),
            by_source: Mutex::default(),
            unsaved: Mutex::default(),
        }
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
            if cfg!(debug_assertions) {
                let same =
                    self.by_source.lock().get(&body()).is_some_and(|s| Arc::ptr_eq(s, &slot));
                assert!(same, "the key of `{entry}` leaves out what its source depends on");
            }
            return Ok(slot);
        }
        let body = body();
        let slot = {
            let new = || Arc::new(Slot { kernel: OnceLock::new(), compiling: Mutex::default() });
            self.by_source.lock().entry(body.clone()).or_insert_with(new).clone()
        };
        let compiling = slot.compiling.lock();
        if slot.kernel.get().is_none() {
            let kernel = self.build(device, traits, entry, &body, &slot)?;
            let _ = slot.kernel.set(kernel);
        }
        drop(compiling);
        self.by_key.write().insert(key, slot.clone());
        Ok(slot)
    }

    /// The kernel from the disk, or compiled. What is on disk and does not load is compiled again.
    fn build(
        &self,
        device: &R::Device,
        traits: &Traits,
        entry: &'static str,
        body: &str,
        slot: &Arc<Slot<R>>,
    ) -> Result<R::Kernel> {
        let source = source::whole(traits, body);
        let on_disk = Entry::find(&[R::NAME, &traits.name, &traits.driver, entry, &source]);
        if let Some(binary) = on_disk.as_ref().and_then(Entry::read)
            && let Ok(kernel) = R::load(device, &binary, entry)
        {
            return Ok(kernel);
        }
        let (kernel, binary) = R::compile(device, &source, entry)?;
        COMPILATIONS.fetch_add(1, Ordering::Relaxed);
        match (on_disk, binary) {
            (Some(on_disk), Some(binary)) => on_disk.write(&binary),
            (Some(on_disk), None) => self.unsaved.lock().push((slot.clone(), on_disk)),
            (None, _) => {}
        }
        Ok(kernel)
    }

    /// Writes to disk what was compiled by a driver that makes binaries later. Somebody waits for the device
    /// now, so the kernels have run.
    pub(crate) fn keep(&self, device: &R::Device) {
        if self.unsaved.lock().is_empty() {
            return;
        }
        let unsaved = std::mem::take(&mut *self.unsaved.lock());
        for (slot, on_disk) in unsaved {
            if let Some(binary) = slot.kernel.get().and_then(|kernel| R::binary(device, kernel)) {
                on_disk.write(&binary);
            }
        }
    }
}
