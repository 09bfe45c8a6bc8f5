//! A function with a backward of its own: the sign of a weight, through which gradients pass as if it were not
//! there. With it a network learns weights that are only −1 and +1 (Courbariaux et al. 2015).
//!
//! `cargo run --release -p kiln --example custom_function`

use clap::Parser;
use kiln::autograd::{Function, apply};
use kiln::data::metrics::accuracy;
use kiln::data::{Progress, digits};
use kiln::prelude::*;
use kiln::tensor::{self, Backend};

/// Trains a network of binary weights.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 30)]
    epochs: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
}

/// `−1` or `+1`. Its derivative is 0 nearly everywhere, so nothing could be learnt through it; instead the
/// gradient passes straight through, except where the weight has left `[−1, 1]` already.
///
/// Both directions are written for any backend: forward runs without a record, backward on the plain
/// backend, or recorded where somebody asks for a second derivative.
struct BinarySign;

impl Function for BinarySign {
    fn name(&self) -> &'static str {
        "binary_sign"
    }

    fn forward<T: Backend>(
        &self,
        inputs: &[&tensor::Tensor<T>],
    ) -> (Vec<tensor::Tensor<T>>, Vec<tensor::Tensor<T>>) {
        let x = inputs[0];
        let sign = x.ge(0.0).to_dtype(x.dtype()) * 2.0 - 1.0;
        (vec![sign], vec![x.clone()])
    }

    fn backward<T: Backend>(
        &self,
        saved: &[tensor::Tensor<T>],
        grads: &[Option<tensor::Tensor<T>>],
    ) -> Vec<Option<tensor::Tensor<T>>> {
        let inside = saved[0].abs().le(1.0);
        vec![grads[0].as_ref().map(|grad| grad * inside.to_dtype(grad.dtype()))]
    }
}

/// A linear layer that computes with the signs of its weights, scaled to keep the variance.
#[derive(Module)]
struct BinaryLinear {
    weight: Param,
    norm: BatchNorm1d,
}

impl BinaryLinear {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        let weight = Param::new(Tensor::zeros([outputs, inputs], device));
        init::uniform_(&weight, -0.5, 0.5);
        BinaryLinear { weight, norm: BatchNorm1d::new(outputs, device) }
    }

    /// The weights that it computes with.
    fn binary(&self) -> Tensor {
        apply(BinarySign, &[&self.weight.tensor()]).remove(0)
    }
}

impl Forward for BinaryLinear {
    /// `[n, inputs] → [n, outputs]`
    fn forward(&self, x: &Tensor) -> Tensor {
        self.norm.call(&x.matmul(&self.binary().t()))
    }
}

fn main() -> kiln::Result<()> {
    let args = Args::parse();
    manual_seed(args.seed);
    let device = args.device;

    let digits = digits();
    let [train, test] = TensorDataset::new(digits.tensors(&device)).stratified_split(
        digits.labels(),
        [0.8, 0.2],
        args.seed,
    );
    let loader = DataLoader::new(train).batch_size(64).shuffle(args.seed);
    let net = Sequential::new((
        Flatten::new(),
        BinaryLinear::new(64, 128, &device),
        ReLU::new(),
        BinaryLinear::new(128, 10, &device),
    ));

    let mut adam = Adam::new(net.parameters()).lr(5e-3);
    let progress = Progress::new(args.epochs);
    for epoch in 1..=args.epochs {
        net.train();
        let mut bar = progress.epoch(epoch, loader.len());
        for (x, y) in loader.epoch() {
            let logits = net.call(&x);
            let loss = cross_entropy(&logits, &y);
            adam.zero_grad();
            loss.backward();
            adam.step();
            bar.step(x.dims()[0], &[("loss", loss.item()), ("accuracy", accuracy(&logits, &y))]);
        }
        bar.finish(&[]);
    }

    net.eval();
    let (x, y) = test.all()?;
    for module in net.modules() {
        if let Some(layer) = module.downcast_ref::<BinaryLinear>() {
            let weight = layer.binary();
            let positive = weight.gt(0.0).to_dtype(F32).mean().item();
            println!("{} weights, {:.0} % of them +1", weight.numel(), 100.0 * positive);
        }
    }
    println!("test accuracy: {:.1} %", 100.0 * no_grad(|| accuracy(&net.call(&x), &y)));
    Ok(())
}
