//! A small net learns the same on both.

use kiln::prelude::*;

use crate::{digits, net, opencl, seeded};

/// The losses of some steps, masks of dropout included.
fn losses(device: &Device) -> Vec<f64> {
    manual_seed(11);
    let (x, y) = digits(64, device);
    let model = net(device);
    let mut adam = Adam::new(model.parameters()).lr(3e-3);
    (0..12)
        .map(|_| {
            let loss = cross_entropy(&model.call(&x), &y);
            adam.zero_grad();
            loss.backward();
            adam.step();
            loss.item()
        })
        .collect()
}

#[test]
fn a_net_learns_the_same() {
    let _alone = seeded(11);
    let [host, device] = [losses(&Device::cpu()), losses(&opencl())];
    assert!(host[11] < 0.8 * host[0], "{host:?}");
    for (step, (a, b)) in host.iter().zip(&device).enumerate() {
        // First weights and masks have the same bits; sums in another order differ by roundings, which
        // Adam's division by small roots makes larger from step to step.
        let within = 1e-5 * 2f64.powi(step as i32);
        assert!((a - b).abs() < within, "step {step}: {a} and {b}");
    }
}
