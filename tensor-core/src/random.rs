//! The generators of random numbers: a seed and a count of draws per device.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::LazyLock;

use parking_lot::Mutex;

use crate::Device;

/// PyTorch's seed before anybody sets one.
const DEFAULT_SEED: u64 = 67_280_421_310_721;

/// Where a device's generator stands; saved and restored to resume a run exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RngState {
    /// The key of the random bits.
    pub seed: u64,
    /// How many draws have been made; draw `stream` is independent of all others.
    pub stream: u64,
}

#[derive(Debug)]
struct Generators {
    seed: u64,
    devices: HashMap<(TypeId, String), RngState>,
}

static GENERATORS: LazyLock<Mutex<Generators>> =
    LazyLock::new(|| Mutex::new(Generators { seed: DEFAULT_SEED, devices: HashMap::new() }));

/// Seeds the generators of all devices and starts each at its first draw.
pub fn manual_seed(seed: u64) {
    let mut generators = GENERATORS.lock();
    generators.seed = seed;
    generators.devices.clear();
}

fn with_state<D: Device, T>(device: &D, f: impl FnOnce(&mut RngState) -> T) -> T {
    let key = (device.type_id(), device.to_string());
    let mut generators = GENERATORS.lock();
    let seed = generators.seed;
    f(generators.devices.entry(key).or_insert(RngState { seed, stream: 0 }))
}

/// Takes the next draw of the device's generator.
pub fn next_draw<D: Device>(device: &D) -> RngState {
    with_state(device, |state| {
        let draw = *state;
        state.stream += 1;
        draw
    })
}

/// Where the device's generator stands.
pub fn rng_state<D: Device>(device: &D) -> RngState {
    with_state(device, |state| *state)
}

/// Puts the device's generator where it stood when the state was read.
pub fn set_rng_state<D: Device>(device: &D, to: RngState) {
    with_state(device, |state| *state = to);
}
