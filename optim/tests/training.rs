//! Whole trainings go as PyTorch's do, loss by loss: an MLP, a CNN, an LSTM and a block of a transformer.

mod common;

use common::{B, assert_within, numbers, table};
use kiln_autograd::Backward;
use kiln_backend_cpu::CpuDevice;
use kiln_nn::functional::{cross_entropy, mse_loss};
use kiln_nn::*;
use kiln_optim::lr_scheduler::{OneCycleLR, Schedule, StepLR};
use kiln_optim::*;
use kiln_tensor_core::{DType, Reduction, Tensor};
use serde_json::Value;

const F64: (&CpuDevice, DType) = (&CpuDevice, DType::F64);

fn fill(shape: &[usize], k: usize) -> Tensor<B> {
    let value = |i: usize| (((37 * i + 11 * k + 5) % 101) as f64 - 50.0) / 100.0;
    let data: Vec<f64> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_slice(&data, shape, &CpuDevice)
}

fn classes(count: usize, size: i64, batch: usize) -> Tensor<B> {
    let data: Vec<i64> = (0..count).map(|i| (7 * i + 3 * batch) as i64 % size).collect();
    Tensor::from_slice(&data, [count], &CpuDevice)
}

/// Three batches in turn, as in `make.py`. `step` is what follows the gradients.
fn train<M: Module<Backend = B>>(
    name: &str,
    model: &M,
    loss_of: impl Fn(&M, usize) -> Tensor<B>,
    mut step: impl FnMut(),
) {
    let rows = table("training");
    let row = rows.iter().find(|row| row["name"] == name).unwrap();
    let losses = (0..20).map(|t| {
        let loss = loss_of(model, t % 3);
        model.zero_grad();
        loss.backward();
        step();
        loss.item()
    });
    let losses: Vec<f64> = losses.collect();
    // Sums are added up in another order, which twenty steps magnify.
    assert_within(1e-9, &losses, &numbers(&row["losses"]), name);
    assert!(losses[19] < losses[0], "{name}: {losses:?}");
    let (state, theirs) = (model.state_dict(), row["state"].as_object().unwrap());
    assert_eq!(state.len(), theirs.len());
    for (key, tensor) in state.iter() {
        let ours = tensor.detach().to_dtype(DType::F64).to_vec::<f64>();
        assert_within(1e-8, &ours, &numbers(&theirs[key]), &format!("{name}: {key}"));
    }
}

/// A model with the parameters of `make.py`.
fn filled<M: Module<Backend = B>>(model: M) -> M {
    for (k, param) in model.parameters().iter().enumerate() {
        param.tensor().detach().copy_(&fill(&param.shape(), k));
    }
    model
}

#[test]
fn an_mlp_trains_as_in_pytorch() {
    let layers = (
        Linear::new(4, 6, F64),
        Tanh::new(),
        Linear::new(6, 5, F64),
        GELU::new(),
        Linear::new(5, 3, F64),
    );
    let net = filled(Sequential::<B>::new(layers));
    let mut sgd =
        SGD::new(net.parameters()).lr(0.1).momentum(0.9).nesterov(true).weight_decay(0.01);
    let mut schedule = StepLR::new(5).gamma(0.5).attach(&mut sgd);
    let loss = |net: &Sequential<B>, batch: usize| {
        cross_entropy(&net.call(&fill(&[5, 4], 50 + batch)), &classes(5, 3, batch))
    };
    train("mlp", &net, loss, || {
        sgd.step();
        schedule.step(&mut sgd);
    });
}

#[test]
fn a_cnn_trains_as_in_pytorch() {
    let layers = (
        Conv2d::new(1, 3, 3, F64).padding(1),
        BatchNorm2d::new(3, F64),
        ReLU::new(),
        MaxPool2d::new(2),
        Conv2d::new(3, 4, 2, F64),
        SiLU::new(),
        Flatten::new(),
        Linear::new(16, 3, F64),
    );
    let net = filled(Sequential::<B>::new(layers));
    let mut adam = Adam::new(net.parameters()).lr(0.01);
    let loss = |net: &Sequential<B>, batch: usize| {
        cross_entropy(&net.call(&fill(&[4, 1, 6, 6], 50 + batch)), &classes(4, 3, batch))
    };
    train("cnn", &net, loss, || adam.step());
}

#[derive(Module)]
struct Reader {
    lstm: LSTM<B>,
    head: Linear<B>,
}

#[test]
fn an_lstm_trains_as_in_pytorch() {
    let lstm = LSTM::new(3, 5, F64).num_layers(2).batch_first(true);
    let net = filled(Reader { lstm, head: Linear::new(5, 2, F64) });
    let mut rmsprop = RMSprop::new(net.parameters()).lr(0.01);
    let params = net.parameters();
    let loss = |net: &Reader, batch: usize| {
        let (y, _) = net.lstm.forward(&fill(&[3, 7, 3], 50 + batch), None);
        mse_loss(&net.head.call(&y.select(1, -1)), &fill(&[3, 2], 70 + batch))
    };
    train("lstm", &net, loss, || {
        clip_grad_norm_(&params, 0.5, 2.0);
        rmsprop.step();
    });
}

#[derive(Module)]
struct Attender {
    block: TransformerEncoderLayer<B>,
    head: Linear<B>,
}

#[test]
fn a_transformer_trains_as_in_pytorch() {
    let with = TransformerOptions::new(8, 2)
        .dim_feedforward(16)
        .dropout(0.0)
        .activation(TransformerActivation::Gelu)
        .batch_first(true);
    let block = TransformerEncoderLayer::new(&with, F64);
    let net = filled(Attender { block, head: Linear::new(8, 3, F64) });
    let mut adamw = AdamW::new(net.parameters()).lr(0.01);
    let mut schedule = OneCycleLR::new(0.02, 21).attach(&mut adamw);
    let loss = |net: &Attender, batch: usize| {
        let y = net.block.forward(&fill(&[4, 6, 8], 50 + batch), Masks::new());
        let y = net.head.call(&y.mean_dims([1], false));
        y.cross_entropy(&classes(4, 3, batch), None, -100, 0.1, Reduction::Mean)
    };
    train("transformer", &net, loss, || {
        adamw.step();
        schedule.step(&mut adamw);
    });
}

#[test]
fn every_training_of_the_table_is_here() {
    let names = ["mlp", "cnn", "lstm", "transformer"];
    let theirs = table("training");
    assert_eq!(
        theirs.iter().map(|row: &Value| row["name"].as_str().unwrap()).collect::<Vec<_>>(),
        names
    );
}
