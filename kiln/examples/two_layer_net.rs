//! A network of two layers with nothing but tensor operations: `mm`, `clamp_min`, `mm`, a squared error,
//! and a backward pass and updates by hand. It fits 64 random points, so the loss goes to nearly 0.
//!
//! `cargo run --release -p kiln --example two_layer_net`

use kiln::cpu::{Cpu, CpuDevice};
use kiln::manual_seed;
use kiln::tensor::{DType, Tensor};

fn main() {
    manual_seed(0);
    let device = CpuDevice;
    let (batch, inputs, hidden, outputs) = (64, 1000, 100, 10);

    let x = Tensor::<Cpu>::randn([batch, inputs], &device);
    let y = Tensor::<Cpu>::randn([batch, outputs], &device);
    let mut w1 = Tensor::<Cpu>::randn([inputs, hidden], &device);
    let mut w2 = Tensor::<Cpu>::randn([hidden, outputs], &device);

    let lr = 1e-6;
    let mut loss = f64::NAN;
    for step in 1..=500 {
        // Forward: y = max(x · w1, 0) · w2.
        let h = x.mm(&w1);
        let relu = h.clamp_min(0.0);
        let found = relu.mm(&w2);

        // The error, summed over everything.
        let miss = &found - &y;
        loss = miss.square().sum().item();
        if step % 100 == 0 {
            println!("step {step}: loss {loss:.3e}");
        }

        // Backward, by the chain rule. Where h was cut off at 0 nothing flows back.
        let grad_found = miss * 2.0;
        let grad_w2 = relu.t().mm(&grad_found);
        let grad_relu = grad_found.mm(&w2.t());
        let grad_h = grad_relu * h.gt(0.0).to_dtype(DType::F32);
        let grad_w1 = x.t().mm(&grad_h);

        // Downhill, in place.
        w1 -= grad_w1 * lr;
        w2 -= grad_w2 * lr;
    }
    assert!(loss < 1e-3, "the network should have learnt the points by heart");
}
