//! Linear regression with a layer of one's own, `y = x · W + b`: mean squared error and SGD.
//!
//! `cargo run --release -p kiln --example linear_regression`

use clap::Parser;
use kiln::prelude::*;

/// Finds a linear law in noisy data.
#[derive(Parser)]
struct Args {
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
}

/// What is learnt: a matrix and a vector. The derive finds the parameters by their type, so
/// `parameters()`, `state_dict()`, `save()` and printing work.
#[derive(Module)]
struct Affine {
    weight: Param,
    bias: Param,
}

impl Affine {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        Affine {
            weight: Param::new(Tensor::randn([inputs, outputs], device)),
            bias: Param::new(Tensor::zeros(outputs, device)),
        }
    }
}

impl Forward for Affine {
    fn forward(&self, x: &Tensor) -> Tensor {
        x.matmul(&self.weight.tensor()) + self.bias.tensor()
    }
}

fn main() {
    manual_seed(0);
    let device = Args::parse().device;

    // The law to find, y = x · [2, −3.4, 0.5]ᵀ + 4.2, seen through a little noise.
    let law = Tensor::from_slice(&[2.0f32, -3.4, 0.5], [3, 1], &device);
    let x = Tensor::randn([1000, 3], &device);
    let y = x.matmul(&law) + 4.2 + Tensor::randn([1000, 1], &device) * 0.05;

    let model = Affine::new(3, 1, &device);
    let mut sgd = SGD::new(model.parameters()).lr(0.1);
    let loader = DataLoader::new(TensorDataset::new((x, y))).batch_size(50).shuffle(0);

    for epoch in 1..=5 {
        let mut last = f64::NAN;
        for (x, y) in loader.epoch() {
            let loss = model.call(&x).mse_loss(&y, Reduction::Mean);
            sgd.zero_grad();
            loss.backward();
            sgd.step();
            last = loss.item();
        }
        println!("epoch {epoch}: loss {last:.5}");
    }

    let weight: Vec<f32> = model.weight.tensor().to_vec();
    let bias: Vec<f32> = model.bias.tensor().to_vec();
    println!("found  weight {weight:.3?}  bias {bias:.3?}");
    println!("wanted weight [2.000, -3.400, 0.500]  bias [4.200]");

    // Noise of 0.05 over 1000 rows leaves errors of about 0.002.
    let close = |found: &[f32], wanted: &[f32]| {
        found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 0.02)
    };
    assert!(close(&weight, &[2.0, -3.4, 0.5]) && close(&bias, &[4.2]), "the law was not found");
}
