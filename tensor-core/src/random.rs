//! The generators of random numbers: a seed and a count of draws per device.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
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

/// Where all generators stand: see [`rng_states`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RngStates {
    /// The seed of devices that have not drawn yet.
    pub seed: u64,
    /// The generators of the others, by the name of the device.
    pub devices: BTreeMap<String, RngState>,
}

#[derive(Debug)]
struct Generators {
    seed: u64,
    devices: HashMap<(TypeId, String), RngState>,
    /// Where generators start that have not drawn since these were set.
    restored: BTreeMap<String, RngState>,
}

static GENERATORS: LazyLock<Mutex<Generators>> = LazyLock::new(|| {
    let (devices, restored) = (HashMap::new(), BTreeMap::new());
    Mutex::new(Generators { seed: DEFAULT_SEED, devices, restored })
});

/// Seeds the generators of all devices and starts each at its first draw.
pub fn manual_seed(seed: u64) {
    let mut generators = GENERATORS.lock();
    generators.seed = seed;
    generators.devices.clear();
    generators.restored.clear();
}

fn with_state<D: Device, T>(device: &D, f: impl FnOnce(&mut RngState) -> T) -> T {
    let key = (device.type_id(), device.to_string());
    let mut generators = GENERATORS.lock();
    let start = RngState { seed: generators.seed, stream: 0 };
    let start = generators.restored.get(&key.1).copied().unwrap_or(start);
    f(generators.devices.entry(key).or_insert(start))
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

/// Where the generators of all devices stand, to save with a checkpoint: what `torch.get_rng_state` and
/// `torch.cuda.get_rng_state_all` give together.
///
/// ```
/// use kiln_tensor_core::{manual_seed, rng_states, set_rng_states};
/// manual_seed(7);
/// let states = rng_states();
/// manual_seed(8);
/// set_rng_states(&states);
/// assert_eq!(rng_states().seed, 7);
/// ```
pub fn rng_states() -> RngStates {
    let generators = GENERATORS.lock();
    let mut drawn: BTreeMap<String, RngState> = BTreeMap::new();
    for ((_, name), &state) in &generators.devices {
        // Two types of device may have one name, as `CpuDevice` and a device chosen at run time: the one
        // that has drawn most stands for both.
        let most = drawn.entry(name.clone()).or_insert(state);
        if (most.stream, most.seed) < (state.stream, state.seed) {
            *most = state;
        }
    }
    let mut devices = generators.restored.clone();
    devices.extend(drawn);
    RngStates { seed: generators.seed, devices }
}

/// Puts the generators of all devices where they stood when [`rng_states`] was called. Devices that had not
/// drawn then start anew from the seed.
pub fn set_rng_states(to: &RngStates) {
    let mut generators = GENERATORS.lock();
    generators.seed = to.seed;
    generators.devices.clear();
    generators.restored = to.devices.clone();
}
