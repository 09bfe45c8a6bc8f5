//! Weights that PyTorch has trained and saved, in a module of the same names: no adapter.

use std::path::{Path, PathBuf};

use kiln::files::pt;
use kiln::prelude::*;

#[derive(Module)]
struct Net {
    conv: Conv2d,
    norm: BatchNorm2d,
    fc: Linear,
}

impl Forward for Net {
    fn forward(&self, x: &Tensor) -> Tensor {
        self.fc.call(&self.norm.call(&self.conv.call(x)).flatten(1, -1))
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../files/tests/pytorch").join(name)
}

fn net(device: &Device) -> Net {
    Net {
        conv: Conv2d::new(1, 2, 3, device),
        norm: BatchNorm2d::new(2, device),
        fc: Linear::new(8, 3, device),
    }
}

/// The largest difference between what the module gives and what PyTorch's gave.
fn off(net: &Net, device: &Device) -> f64 {
    let io = pt::load(fixture("net_io.pt"), device).unwrap();
    let tensor = |name: &str| io.get(name).unwrap().as_tensor().unwrap().clone();
    net.eval();
    (net.call(&tensor("x")) - tensor("y")).abs().max().item()
}

#[test]
fn a_module_gives_what_pytorchs_gives() {
    let device = Device::cpu();
    let other = net(&device);
    // Sums of ten products of numbers near 1, in single precision.
    assert!(off(&other, &device) > 1e-2);
    other.load(fixture("net.pt")).unwrap();
    assert!(off(&other, &device) < 1e-6);
    // What it saves under such a name is such a file, and safetensors hold the same.
    let folder = tempfile::tempdir().unwrap();
    for name in ["net.pt", "net.safetensors", "net.npz"] {
        let path = folder.path().join(name);
        other.save(&path).unwrap();
        let again = net(&device);
        again.load(&path).unwrap();
        assert!(off(&again, &device) < 1e-6, "{name}");
    }
}

#[test]
fn the_model_of_a_trainings_dict_is_a_part_of_it() {
    let device = Device::cpu();
    let net = net(&device);
    let error = net.load(fixture("run.pt")).unwrap_err().to_string();
    assert!(error.contains("pt::load") && error.contains("model"), "{error}");
    let run = pt::load(fixture("run.pt"), &device).unwrap();
    net.load_state_dict(&run.get("model").unwrap().state_dict().unwrap(), true).unwrap();
    assert!(off(&net, &device) < 1e-6);
}
