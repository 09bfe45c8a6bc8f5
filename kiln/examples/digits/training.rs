//! The training loop.

use std::error::Error;

use kiln::data::metrics::accuracy;
use kiln::data::transforms::ToTensor;
use kiln::data::{DataLoader, Dataset, History, Image, Progress};
use kiln::graph;
use kiln::optim::lr_scheduler::{OneCycleLR, Schedule};
use kiln::prelude::*;

/// Images and their labels, all in one batch.
pub struct Examples {
    pub x: Tensor,
    pub y: Tensor,
}

impl Examples {
    pub fn all(set: impl Dataset<Item = (Image, i64)> + 'static, device: &Device) -> Self {
        let count = set.len();
        let set = set.transform(ToTensor::new(&Device::cpu()));
        let loader = DataLoader::new(set).batch_size(count);
        let (x, y) = loader.epoch().next().expect("no part of the images is empty");
        Examples { x: x.to(device), y: y.to(device) }
    }
}

/// How to train.
pub struct Training<'a> {
    pub epochs: u64,
    pub lr: f64,
    pub seed: u64,
    pub device: &'a Device,
    /// Whether steps are captured and replayed, where the device has graphs.
    pub graph: bool,
}

impl Training<'_> {
    pub fn run(
        &self,
        net: &Sequential,
        train: impl Dataset<Item = (Tensor, i64)> + 'static,
        validation: &Examples,
    ) -> Result<History, Box<dyn Error>> {
        let loader = DataLoader::new(train).batch_size(64).shuffle(self.seed);
        let mut adam = Adam::new(net.parameters());
        let steps = self.epochs * loader.len() as u64;
        let mut schedule = OneCycleLR::new(self.lr, steps).attach(&mut adam);
        let mut step = graph::Step::new(self.device);
        let (progress, mut history) = (Progress::new(self.epochs as usize), History::new());
        for epoch in 1..=self.epochs {
            net.train();
            let mut bar = progress.epoch(epoch as usize, loader.len());
            for (x, y) in loader.epoch() {
                let (x, y) = (x.to(self.device), y.to(self.device));
                let mut train = |[x, y]: [&Tensor; 2]| {
                    let scores = net.call(x);
                    let loss = cross_entropy(&scores, y);
                    adam.zero_grad();
                    loss.backward();
                    adam.step();
                    (loss.detach(), scores.detach())
                };
                let (loss, scores) =
                    if self.graph { step.run([&x, &y], train) } else { train([&x, &y]) };
                schedule.step(&mut adam);
                let loss = finite(loss.item(), epoch)?;
                bar.step(y.numel(), &[("loss", loss), ("accuracy", accuracy(&scores, &y))]);
            }
            let held_out = scores(net, &validation.x);
            history.push(bar.finish(&[
                ("val loss", cross_entropy(&held_out, &validation.y).item()),
                ("val accuracy", accuracy(&held_out, &validation.y)),
            ]));
        }
        Ok(history)
    }
}

/// The scores of all classes for each image, without recording.
pub fn scores(net: &Sequential, x: &Tensor) -> Tensor {
    net.eval();
    no_grad(|| net.call(x))
}

/// The loss, unless the training has blown up.
fn finite(loss: f64, epoch: u64) -> Result<f64, String> {
    if loss.is_finite() {
        return Ok(loss);
    }
    Err(format!(
        "the loss became {loss} in epoch {epoch}, so the training was stopped; \
         a smaller learning rate often helps (--lr 1e-3)"
    ))
}
