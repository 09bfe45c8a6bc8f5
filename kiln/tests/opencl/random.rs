//! The same seed gives the same bits on the host and on the device.

use kiln::prelude::*;

use crate::{opencl, seeded};

const FLOATS: [DType; 4] = [F64, F32, F16, BF16];

/// Requires that what `make` draws has the same bits on the host and on the device.
#[track_caller]
fn same_bits(what: &str, make: impl Fn(&Device) -> Tensor) {
    let _alone = seeded(20_261_121);
    // Scalars hold each value exactly; no NaN is drawn.
    let [host, device] = [Device::cpu(), opencl()].map(|device| make(&device).to_scalars());
    let apart: Vec<_> = host.iter().zip(&device).enumerate().filter(|(_, (a, b))| a != b).collect();
    assert_eq!(host.len(), device.len());
    assert!(
        apart.is_empty(),
        "{what}: {} of {} differ: {:?}",
        apart.len(),
        host.len(),
        &apart[..apart.len().min(4)]
    );
}

#[test]
fn masks_of_dropout() {
    for dtype in FLOATS {
        same_bits(&format!("dropout {dtype}"), |device| {
            Tensor::ones([31, 67], (device, dtype)).dropout(0.3, true)
        });
    }
    same_bits("dropout of channels", |device| {
        Tensor::ones([5, 7, 3], device).dropout_channels(0.5, true)
    });
}

#[test]
fn uniform_numbers() {
    for dtype in FLOATS {
        same_bits(&format!("rand {dtype}"), |device| Tensor::rand([31, 67], (device, dtype)));
        same_bits(&format!("uniform_ {dtype}"), |device| {
            Tensor::zeros([2077], (device, dtype)).uniform_(-0.3, 1.7)
        });
        same_bits(&format!("bernoulli {dtype}"), |device| {
            Tensor::full([2077], 0.3, (device, dtype)).bernoulli()
        });
    }
}

#[test]
fn whole_numbers() {
    same_bits("randint", |device| Tensor::randint(-5, 1 << 40, [2077], device));
    same_bits("randperm", |device| Tensor::randperm(999, device));
}

/// What layers begin with: uniform numbers within bounds.
#[test]
fn first_weights_of_layers() {
    type Make = fn(&Device) -> Box<dyn Module<Backend = kiln::DefaultBackend>>;
    let layers: [(&str, Make); 4] = [
        ("Linear", |device| Box::new(Linear::new(31, 67, device))),
        ("Conv2d", |device| Box::new(Conv2d::new(3, 16, 5, device))),
        ("Conv1d", |device| Box::new(Conv1d::new(3, 16, 5, device))),
        ("Bilinear", |device| Box::new(Bilinear::new(3, 16, 5, device))),
    ];
    for (name, make) in layers {
        same_bits(name, |device| {
            let layer = make(device);
            let weights: Vec<Tensor> =
                layer.parameters().iter().map(|p| p.tensor().detach().flatten(0, -1)).collect();
            Tensor::cat(&weights, 0)
        });
    }
    for dtype in FLOATS {
        same_bits(&format!("xavier_uniform_ {dtype}"), |device| {
            let weight = Tensor::zeros([31, 67], (device, dtype));
            init::xavier_uniform_(&weight, 1.0);
            weight
        });
    }
}

/// Normal numbers go through a logarithm and a cosine, which backends compute step by step alike.
#[test]
fn normal_numbers() {
    for dtype in FLOATS {
        same_bits(&format!("randn {dtype}"), |device| Tensor::randn([2077], (device, dtype)));
        // Large work has kernels of its own.
        same_bits(&format!("many randn {dtype}"), |device| {
            Tensor::randn([40_000], (device, dtype))
        });
        same_bits(&format!("xavier_normal_ {dtype}"), |device| {
            let weight = Tensor::zeros([31, 67], (device, dtype));
            init::xavier_normal_(&weight, 1.0);
            weight
        });
    }
}
