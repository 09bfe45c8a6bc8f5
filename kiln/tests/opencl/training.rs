//! A small net learns the same on both.

use kiln::prelude::*;

use crate::{digits, net, opencl, seeded};

/// The losses of some steps, masks of dropout included, and how many steps were left out.
fn losses(device: &Device, narrow: Option<DType>) -> (Vec<f64>, usize) {
    manual_seed(11);
    let (x, y) = digits(64, device);
    let model = net(device);
    let mut adam = Adam::new(model.parameters()).lr(3e-3);
    // So large that the first gradients overflow `f16`.
    let mut scaler = GradScaler::new().init_scale(2f64.powi(24)).enabled(narrow == Some(F16));
    let mut left_out = 0;
    let losses = (0..12)
        .map(|_| {
            let loss = {
                let _region = set_autocast(narrow);
                cross_entropy(&model.call(&x), &y)
            };
            adam.zero_grad();
            scaler.scale(&loss).backward();
            left_out += usize::from(!scaler.step(&mut adam));
            scaler.update();
            loss.item()
        })
        .collect();
    (losses, left_out)
}

#[test]
fn a_net_learns_the_same() {
    let _alone = seeded(11);
    let [(host, _), (device, _)] = [Device::cpu(), opencl()].map(|device| losses(&device, None));
    assert!(host[11] < 0.8 * host[0], "{host:?}");
    for (step, (a, b)) in host.iter().zip(&device).enumerate() {
        // First weights and masks have the same bits; sums in another order differ by roundings, which
        // Adam's division by small roots makes larger from step to step.
        let within = 1e-5 * 2f64.powi(step as i32);
        assert!((a - b).abs() < within, "step {step}: {a} and {b}");
    }
}

#[test]
fn a_net_learns_the_same_in_mixed_precision() {
    let _alone = seeded(11);
    for narrow in [F16, BF16] {
        let run = |device| losses(&device, Some(narrow));
        let [(host, skipped), (device, as_many)] = [Device::cpu(), opencl()].map(run);
        assert_eq!((skipped, skipped > 0), (as_many, narrow == F16));
        assert!(host[11] < 0.9 * host[0], "{host:?}");
        // A rounding of logits of a few units, which later steps carry on.
        let rounding = if narrow == F16 { 2f64.powi(-10) } else { 2f64.powi(-7) };
        for (step, (a, b)) in host.iter().zip(&device).enumerate() {
            assert!((a - b).abs() < 4.0 * rounding * (step + 1) as f64, "step {step}: {a} and {b}");
        }
    }
}
