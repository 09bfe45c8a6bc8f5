//! Every layer and loss gives PyTorch's outputs, gradients and statistics, in f64, and prints alike.

use std::collections::BTreeMap;
use std::io::Read;

use kiln_autograd::{Autograd, Backward};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_nn::*;
use kiln_tensor_core::{DType, Reduction, Tensor, manual_seed};
use serde_json::Value;

type B = Autograd<Cpu>;

/// One of the tables that `make.py` has written.
fn table(name: &str) -> Value {
    let path = format!("{}/tests/reference/{name}.json.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The k-th tensor of a case.
fn fill(shape: &[usize], k: usize) -> Tensor<B> {
    filled(shape, k, |value| value / 40.0)
}

/// Like `fill`, between 0 and 1.
fn unit(shape: &[usize], k: usize) -> Tensor<B> {
    filled(shape, k, |value| (value + 51.0) / 103.0)
}

fn filled(shape: &[usize], k: usize, scale: impl Fn(f64) -> f64) -> Tensor<B> {
    let value = |i: usize| scale(((37 * i + 11 * k + 5) % 101) as f64 - 50.0);
    let data: Vec<f64> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_slice(&data, shape, &CpuDevice)
}

fn sizes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

/// An input as `make_input` makes it.
fn input(spec: &Value, k: usize) -> Tensor<B> {
    if spec.is_array() {
        return fill(&sizes(spec), k).requires_grad_(true);
    }
    if spec["unit"].is_array() {
        return unit(&sizes(&spec["unit"]), k).requires_grad_(k == 0);
    }
    let (shape, below) = (sizes(&spec["shape"]), spec["below"].as_i64().unwrap());
    let count = shape.iter().product::<usize>() as i64;
    let data: Vec<i64> = (0..count).map(|i| (7 * i + 3) % below).collect();
    Tensor::from_slice(&data, shape, &CpuDevice)
}

/// Notes what differs by more than 1e-10, relative above 1: sums are added up in another order.
fn compare(ours: &Tensor<B>, theirs: &Value, what: &str, wrong: &mut Vec<String>) {
    // These have constants that PyTorch rounds to f32.
    let rounded = what.starts_with("CELU") || what.starts_with("Hardsigmoid");
    let tolerance = if rounded { 1e-7 } else { 1e-10 };
    if ours.dims() != sizes(&theirs["shape"]) {
        return wrong.push(format!("{what}: {:?}, PyTorch has {}", ours.dims(), theirs["shape"]));
    }
    let ours = ours.detach().to_dtype(DType::F64).to_vec::<f64>();
    let theirs = theirs["data"].as_array().unwrap().iter().map(|b| b.as_f64().unwrap());
    let far = |(a, b): (f64, f64)| (a - b).abs() > tolerance * b.abs().max(1.0) || a.is_nan();
    if let Some((i, (a, b))) = ours.into_iter().zip(theirs).enumerate().find(|(_, pair)| far(*pair))
    {
        wrong.push(format!("{what}[{i}]: {a}, PyTorch has {b}"));
    }
}

/// The gradient; zeros if there is none.
fn grad(x: &Tensor<B>) -> Tensor<B> {
    x.grad().unwrap_or_else(|| Tensor::zeros(x.dims(), (&CpuDevice, x.dtype())))
}

/// A layer or loss, and how it is called.
struct Case<M> {
    module: M,
    run: fn(&M, &[Tensor<B>]) -> Tensor<B>,
}

trait Run {
    fn module(&self) -> &dyn Module<Backend = B>;
    fn run(&self, inputs: &[Tensor<B>]) -> Tensor<B>;
}

impl<M: Module<Backend = B>> Run for Case<M> {
    fn module(&self) -> &dyn Module<Backend = B> {
        self.module.as_dyn()
    }
    fn run(&self, inputs: &[Tensor<B>]) -> Tensor<B> {
        (self.run)(&self.module, inputs)
    }
}

type Cases = BTreeMap<&'static str, Box<dyn Run>>;

/// Rows `text that makes it in PyTorch => what makes it here`, called as `|module, inputs| …`.
macro_rules! cases {
    (|$m:ident, $x:ident| $run:expr; $($name:literal => $module:expr;)*) => {
        [$(($name, Box::new(Case { module: $module, run: |$m, $x| $run }) as Box<dyn Run>)),*]
    };
}

fn layers() -> Cases {
    let f64 = (&CpuDevice, DType::F64);
    Cases::from(cases! {
        |layer, x| layer.call(&x[0]);
        "Linear(5, 3)" => Linear::new(5, 3, f64);
        "Linear(5, 3, bias=False)" => Linear::new(5, 3, f64).bias(false);
        "Identity()" => Identity::new();
        "Flatten()" => Flatten::new();
        "Flatten(0, 1)" => Flatten::new().start_dim(0).end_dim(1);
        "Unflatten(1, (2, 3))" => Unflatten::new(1, [2, 3]);
        "Conv1d(3, 4, 3)" => Conv1d::new(3, 4, 3, f64);
        "Conv1d(4, 6, 2, stride=2, padding=3, dilation=2, groups=2, bias=False)" =>
            Conv1d::new(4, 6, 2, f64).stride(2).padding(3).dilation(2).groups(2).bias(false);
        "Conv1d(2, 3, 4, padding='same', dilation=2)" =>
            Conv1d::new(2, 3, 4, f64).padding(Padding::Same).dilation(2);
        "Conv1d(2, 3, 3, padding=2, padding_mode='circular')" =>
            Conv1d::new(2, 3, 3, f64).padding(2).padding_mode(PaddingMode::Circular);
        "Conv2d(3, 4, 3)" => Conv2d::new(3, 4, 3, f64);
        "Conv2d(3, 5, 2)" => Conv2d::new(3, 5, 2, f64);
        "Conv2d(4, 6, (2, 3), stride=(2, 1), padding=(1, 2), dilation=(2, 1), groups=2)" =>
            Conv2d::new(4, 6, [2, 3], f64).stride([2, 1]).padding([1, 2]).dilation([2, 1]).groups(2);
        "Conv2d(2, 2, 3, padding=1, padding_mode='reflect')" =>
            Conv2d::new(2, 2, 3, f64).padding(1).padding_mode(PaddingMode::Reflect);
        "Conv2d(2, 2, 3, padding=(1, 2), padding_mode='replicate')" =>
            Conv2d::new(2, 2, 3, f64).padding([1, 2]).padding_mode(PaddingMode::Replicate);
        "Conv2d(4, 4, 3, groups=4, padding='same', bias=False)" =>
            Conv2d::new(4, 4, 3, f64).groups(4).padding(Padding::Same).bias(false);
        "Conv3d(2, 3, 2, stride=(1, 2, 1), padding=(0, 1, 0))" =>
            Conv3d::new(2, 3, 2, f64).stride([1, 2, 1]).padding([0, 1, 0]);
        "MaxPool1d(3)" => MaxPool1d::new(3);
        "MaxPool1d(3, stride=2, padding=1, dilation=2, ceil_mode=True)" =>
            MaxPool1d::new(3).stride(2).padding(1).dilation(2).ceil_mode(true);
        "MaxPool2d(2)" => MaxPool2d::new(2);
        "MaxPool2d((3, 2), stride=(2, 1), padding=1)" =>
            MaxPool2d::new([3, 2]).stride([2, 1]).padding(1);
        "MaxPool2d(2, ceil_mode=True)" => MaxPool2d::new(2).ceil_mode(true);
        "MaxPool3d(2, stride=1)" => MaxPool3d::new(2).stride(1);
        "AvgPool1d(2)" => AvgPool1d::new(2);
        "AvgPool2d(3, stride=2, padding=1)" => AvgPool2d::new(3).stride(2).padding(1);
        "AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)" =>
            AvgPool2d::new(3).stride(2).padding(1).ceil_mode(true).count_include_pad(false);
        "AvgPool2d((2, 3), divisor_override=5)" => AvgPool2d::new([2, 3]).divisor_override(5);
        "AvgPool3d(2)" => AvgPool3d::new(2);
        "AdaptiveAvgPool1d(3)" => AdaptiveAvgPool1d::new(3);
        "AdaptiveAvgPool2d(1)" => AdaptiveAvgPool2d::new(1);
        "AdaptiveAvgPool2d((2, 3))" => AdaptiveAvgPool2d::new([2, 3]);
        "AdaptiveAvgPool3d(2)" => AdaptiveAvgPool3d::new(2);
        "AdaptiveMaxPool1d(3)" => AdaptiveMaxPool1d::new(3);
        "AdaptiveMaxPool1d(5)" => AdaptiveMaxPool1d::new(5);
        "AdaptiveMaxPool2d(2)" => AdaptiveMaxPool2d::new(2);
        "AdaptiveMaxPool2d((2, 3))" => AdaptiveMaxPool2d::new((2, 3));
        "AdaptiveMaxPool3d((1, 3, 2))" => AdaptiveMaxPool3d::new((1, 3, 2));
        "BatchNorm1d(4)" => BatchNorm1d::new(4, f64);
        "BatchNorm1d(3)" => BatchNorm1d::new(3, f64);
        "BatchNorm2d(3, eps=0.01, momentum=0.3)" => BatchNorm2d::new(3, f64).eps(0.01).momentum(0.3);
        "BatchNorm2d(3, momentum=None, affine=False)" =>
            BatchNorm2d::new(3, f64).momentum(None).affine(false);
        "BatchNorm2d(3, track_running_stats=False)" =>
            BatchNorm2d::new(3, f64).track_running_stats(false);
        "BatchNorm3d(2)" => BatchNorm3d::new(2, f64);
        "LayerNorm(5)" => LayerNorm::new([5], f64);
        "LayerNorm((3, 4), eps=0.1)" => LayerNorm::new([3, 4], f64).eps(0.1);
        "LayerNorm(4, elementwise_affine=False)" => LayerNorm::new([4], f64).elementwise_affine(false);
        "LayerNorm(4, bias=False)" => LayerNorm::new([4], f64).bias(false);
        "Embedding(6, 3)" => Embedding::new(6, 3, f64);
        "Embedding(6, 3, padding_idx=2)" => Embedding::new(6, 3, f64).padding_idx(2);
        "Embedding(6, 3, max_norm=1.5, norm_type=1.0)" =>
            Embedding::new(6, 3, f64).max_norm(1.5).norm_type(1.0);
        "ReLU()" => ReLU::new();
        "ReLU6()" => ReLU6::new();
        "LeakyReLU()" => LeakyReLU::new();
        "LeakyReLU(negative_slope=0.2)" => LeakyReLU::new().negative_slope(0.2);
        "ELU()" => ELU::new();
        "ELU(alpha=0.7)" => ELU::new().alpha(0.7);
        "SELU()" => SELU::new();
        "CELU(alpha=0.6)" => CELU::new().alpha(0.6);
        "GELU()" => GELU::new();
        "GELU(approximate='tanh')" => GELU::new().approximate(Approximate::Tanh);
        "SiLU()" => SiLU::new();
        "Mish()" => Mish::new();
        "Sigmoid()" => Sigmoid::new();
        "Tanh()" => Tanh::new();
        "Softplus()" => Softplus::new();
        "Softplus(beta=2.0, threshold=1.5)" => Softplus::new().beta(2.0).threshold(1.5);
        "Softsign()" => Softsign::new();
        "Softshrink()" => Softshrink::new();
        "Hardshrink(lambd=0.3)" => Hardshrink::new().lambd(0.3);
        "Tanhshrink()" => Tanhshrink::new();
        "Threshold(0.1, 0.5)" => Threshold::new(0.1, 0.5);
        "Hardtanh()" => Hardtanh::new();
        "Hardtanh(min_val=-0.5, max_val=0.25)" => Hardtanh::new().min_val(-0.5).max_val(0.25);
        "Hardswish()" => Hardswish::new();
        "Hardsigmoid()" => Hardsigmoid::new();
        "LogSigmoid()" => LogSigmoid::new();
        "Softmax(dim=1)" => Softmax::new(1);
        "Softmin(dim=0)" => Softmin::new(0);
        "LogSoftmax(dim=-1)" => LogSoftmax::new(-1);
        "GLU()" => GLU::new();
        "GLU(dim=1)" => GLU::new().dim(1);
        "PReLU()" => PReLU::new(f64);
        "PReLU(num_parameters=3)" => PReLU::new(f64).num_parameters(3);
    })
}

fn losses() -> Cases {
    use Reduction::{BatchMean, None, Sum};
    let (classes, rows) = (|| unit(&[5], 90), || unit(&[3, 1], 90));
    Cases::from(cases! {
        |loss, x| loss.call(&x[0], &x[1]);
        "MSELoss()" => MSELoss::new();
        "MSELoss(reduction='sum')" => MSELoss::new().reduction(Sum);
        "MSELoss(reduction='none')" => MSELoss::new().reduction(None);
        "L1Loss()" => L1Loss::new();
        "L1Loss(reduction='sum')" => L1Loss::new().reduction(Sum);
        "L1Loss(reduction='none')" => L1Loss::new().reduction(None);
        "SmoothL1Loss()" => SmoothL1Loss::new();
        "SmoothL1Loss(reduction='sum')" => SmoothL1Loss::new().reduction(Sum);
        "SmoothL1Loss(reduction='none')" => SmoothL1Loss::new().reduction(None);
        "SmoothL1Loss(beta=0.3)" => SmoothL1Loss::new().beta(0.3);
        "SmoothL1Loss(beta=0.0)" => SmoothL1Loss::new().beta(0.0);
        "HuberLoss()" => HuberLoss::new();
        "HuberLoss(reduction='sum')" => HuberLoss::new().reduction(Sum);
        "HuberLoss(reduction='none')" => HuberLoss::new().reduction(None);
        "HuberLoss(delta=0.4)" => HuberLoss::new().delta(0.4);
        "BCELoss()" => BCELoss::new();
        "BCELoss(weight=unit([4], 90), reduction='none')" =>
            BCELoss::new().weight(unit(&[4], 90)).reduction(None);
        "BCEWithLogitsLoss()" => BCEWithLogitsLoss::new();
        "BCEWithLogitsLoss(weight=unit([3, 1], 90), pos_weight=unit([4], 91), reduction='sum')" =>
            BCEWithLogitsLoss::new().weight(rows()).pos_weight(unit(&[4], 91)).reduction(Sum);
        "CrossEntropyLoss()" => CrossEntropyLoss::new();
        "CrossEntropyLoss(reduction='sum')" => CrossEntropyLoss::new().reduction(Sum);
        "CrossEntropyLoss(weight=unit([5], 90))" => CrossEntropyLoss::new().weight(classes());
        "CrossEntropyLoss(ignore_index=3, reduction='none')" =>
            CrossEntropyLoss::new().ignore_index(3).reduction(None);
        "CrossEntropyLoss(weight=unit([5], 90), ignore_index=3, label_smoothing=0.2)" =>
            CrossEntropyLoss::new().weight(classes()).ignore_index(3).label_smoothing(0.2);
        "CrossEntropyLoss(label_smoothing=0.1)" => CrossEntropyLoss::new().label_smoothing(0.1);
        "CrossEntropyLoss(label_smoothing=0.3)" => CrossEntropyLoss::new().label_smoothing(0.3);
        "NLLLoss()" => NLLLoss::new();
        "NLLLoss(weight=unit([5], 90), ignore_index=1)" =>
            NLLLoss::new().weight(classes()).ignore_index(1);
        "NLLLoss(reduction='none')" => NLLLoss::new().reduction(None);
        "KLDivLoss()" => KLDivLoss::new();
        "KLDivLoss(reduction='batchmean')" => KLDivLoss::new().reduction(BatchMean);
        "KLDivLoss(reduction='sum', log_target=True)" =>
            KLDivLoss::new().reduction(Sum).log_target(true);
    })
}

/// All tensors as one row.
fn flat(parts: &[&Tensor<B>]) -> Tensor<B> {
    Tensor::cat(&parts.iter().map(|x| x.reshape([-1])).collect::<Vec<_>>(), 0)
}

/// What a recurrent layer gives, as one row.
fn row<S: State<B>>((y, state): (Tensor<B>, S)) -> Tensor<B> {
    let mut parts = vec![y];
    state.each(|x, _| {
        parts.push(x.clone());
        x.clone()
    });
    flat(&parts.iter().collect::<Vec<_>>())
}

/// Sequences of several lengths through a recurrent layer.
fn packed<K: Recurrence>(m: &Recurrent<B, K>, x: &Tensor<B>, lengths: &[usize]) -> Tensor<B> {
    let (y, state) = m.forward_packed(&pack_padded_sequence(x, lengths, false, false), None);
    row((pad_packed_sequence(&y, false, 0.5, None).0, state))
}

fn recurrent() -> Cases {
    let f64 = (&CpuDevice, DType::F64);
    let mut all = Cases::from(cases! {
        |m, x| row(m.forward(&x[0], None));
        "RNN(3, 4): flat(m(x[0]))" => RNN::new(3, 4, f64);
        "LSTM(3, 4): flat(m(x[0]))" => LSTM::new(3, 4, f64);
        "LSTM(3, 4, bias=False, bidirectional=True, proj_size=2): flat(m(x[0]))" =>
            LSTM::new(3, 4, f64).bias(false).bidirectional(true).proj_size(2);
        "GRU(3, 4): flat(m(x[0]))" => GRU::new(3, 4, f64);
    });
    all.extend(cases! {
        |m, x| flat(&[&row(m.forward(&x[0], None)), &(&x[0] * 0.0)]);
        "LSTM(3, 4): flat(m(x[0]), 0 * x[0])" => LSTM::new(3, 4, f64);
    });
    all.extend(cases! {
        |m, x| row(m.forward(&x[0], Some(&x[1])));
        "RNN(3, 4, 2, 'relu', bidirectional=True): flat(m(x[0], x[1]))" =>
            RNN::new(3, 4, f64).num_layers(2).nonlinearity(RnnNonlinearity::Relu).bidirectional(true);
        "GRU(3, 4, 2, bidirectional=True): flat(m(x[0], x[1]))" =>
            GRU::new(3, 4, f64).num_layers(2).bidirectional(true);
    });
    all.extend(cases! {
        |m, x| row(m.forward(&x[0], Some(&(x[1].clone(), x[2].clone()))));
        "LSTM(3, 4, 2, batch_first=True, bidirectional=True): flat(m(x[0], (x[1], x[2])))" =>
            LSTM::new(3, 4, f64).num_layers(2).batch_first(true).bidirectional(true);
    });
    all.extend(cases! {
        |m, x| packed(m, &x[0], &[2, 5, 3]);
        "LSTM(3, 4, 2, bidirectional=True): packed(m, x[0], [2, 5, 3])" =>
            LSTM::new(3, 4, f64).num_layers(2).bidirectional(true);
        "GRU(3, 4, bidirectional=True): packed(m, x[0], [2, 5, 3])" =>
            GRU::new(3, 4, f64).bidirectional(true);
    });
    all.extend(cases! {
        |m, x| flat(&[&m.forward(&x[0], x.get(1))]);
        "RNNCell(3, 4): flat(m(x[0]))" => RNNCell::new(3, 4, f64);
        "RNNCell(3, 4, nonlinearity='relu'): flat(m(x[0], x[1]))" =>
            RNNCell::new(3, 4, f64).nonlinearity(RnnNonlinearity::Relu);
        "GRUCell(3, 4, bias=False): flat(m(x[0], x[1]))" => GRUCell::new(3, 4, f64).bias(false);
    });
    all.extend(cases! {
        |m, x| {
            let state = x.get(1).map(|h| (h.clone(), x[2].clone()));
            let (h, c) = m.forward(&x[0], state.as_ref());
            flat(&[&h, &c])
        };
        "LSTMCell(3, 4): flat(m(x[0], (x[1], x[2])))" => LSTMCell::new(3, 4, f64);
        "LSTMCell(3, 4): flat(m(x[0]))" => LSTMCell::new(3, 4, f64);
    });
    all
}

fn attention() -> Cases {
    let f64 = (&CpuDevice, DType::F64);
    let mut all = Cases::from(cases! {
        |m, x| {
            let (y, weights) = m.forward(&x[0], &x[1], &x[2], MultiheadOptions::new());
            flat(&[&y, &weights.unwrap()])
        };
        "MultiheadAttention(8, 2): flat(m(*x))" => MultiheadAttention::new(8, 2, f64);
        "MultiheadAttention(6, 3, kdim=4, vdim=5): flat(m(*x))" =>
            MultiheadAttention::new(6, 3, f64).kdim_vdim(4, 5);
    });
    all.extend(cases! {
        |m, x| {
            let (y, weights) = m.forward(&x[0], &x[0], &x[0], MultiheadOptions::new());
            flat(&[&y, &weights.unwrap()])
        };
        "MultiheadAttention(8, 2): flat(m(x[0], x[0], x[0]))" => MultiheadAttention::new(8, 2, f64);
    });
    all.extend(cases! {
        |m, x| {
            let (padding, hidden) = (x[1].eq(0), x[2].eq(0));
            let options = MultiheadOptions::new().average_attn_weights(false);
            let options = options.key_padding_mask(Some(&padding)).attn_mask(Some(&hidden));
            let (y, weights) = m.forward(&x[0], &x[0], &x[0], options);
            flat(&[&y, &weights.unwrap()])
        };
        "MultiheadAttention(8, 2, bias=False, add_bias_kv=True, add_zero_attn=True, batch_first=True): \
         flat(m(x[0], x[0], x[0], x[1].eq(0), True, x[2].eq(0), False))" =>
            MultiheadAttention::new(8, 2, f64)
                .bias(false).add_bias_kv(true).add_zero_attn(true).batch_first(true);
    });
    all.extend(cases! {
        |m, x| m.forward(&x[0], &x[1], &x[2], MultiheadOptions::new().need_weights(false)).0;
        "MultiheadAttention(8, 4): m(*x, need_weights=False)[0]" => MultiheadAttention::new(8, 4, f64);
    });
    all.extend(cases! {
        |m, x| {
            let (padding, hidden) = (x[1].eq(0), x[2].eq(0));
            let options = MultiheadOptions::new().need_weights(false);
            let options = options.key_padding_mask(Some(&padding)).attn_mask(Some(&hidden));
            m.forward(&x[0], &x[0], &x[0], options).0
        };
        "MultiheadAttention(8, 4, batch_first=True): \
         m(x[0], x[0], x[0], x[1].eq(0), False, x[2].eq(0))[0]" =>
            MultiheadAttention::new(8, 4, f64).batch_first(true);
    });
    all
}

fn transformers() -> Cases {
    let f64 = (&CpuDevice, DType::F64);
    let sizes = TransformerOptions::new(8, 2).dim_feedforward(12).dropout(0.0);
    let mut all = Cases::from(cases! {
        |m, x| m.forward(&x[0], Masks::new());
        "TransformerEncoderLayer(8, 2, 12, dropout=0.0): m(x[0])" =>
            TransformerEncoderLayer::new(&sizes, f64);
        "TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0), 2, nn.LayerNorm(8)): \
         m(x[0])" =>
            TransformerEncoder::new(
                || TransformerEncoderLayer::new(&sizes, f64), 2, Some(LayerNorm::new([8], f64)));
    });
    all.extend(cases! {
        |m, x| {
            let (padding, hidden) = (x[1].eq(0), x[2].eq(0));
            m.forward(&x[0], Masks::new().mask(&hidden).key_padding_mask(&padding))
        };
        "TransformerEncoderLayer(8, 2, 12, dropout=0.0, activation='gelu', batch_first=True, \
         norm_first=True, bias=False): m(x[0], x[2].eq(0), x[1].eq(0))" => {
            let sizes = sizes.activation(TransformerActivation::Gelu).batch_first(true);
            TransformerEncoderLayer::new(&sizes.norm_first(true).bias(false), f64)
        };
    });
    all.extend(cases! {
        |m, x| m.forward(&x[0], &x[1], Masks::new(), Masks::new());
        "TransformerDecoderLayer(8, 2, 12, dropout=0.0): m(x[0], x[1])" =>
            TransformerDecoderLayer::new(&sizes, f64);
        "TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0), 2): m(x[0], x[1])" =>
            TransformerDecoder::new(|| TransformerDecoderLayer::new(&sizes, f64), 2, None);
    });
    all.extend(cases! {
        |m, x| m.forward(&x[0], &x[1], Masks::new().is_causal(true), Masks::new());
        "TransformerDecoderLayer(8, 2, 12, dropout=0.0, norm_first=True): \
         m(x[0], x[1], nn.Transformer.generate_square_subsequent_mask(5))" =>
            TransformerDecoderLayer::new(&sizes.norm_first(true), f64);
    });
    all.extend(cases! {
        |m, x| m.forward(&x[0], &x[1], Masks::new(), Masks::new(), Masks::new());
        "Transformer(8, 2, 1, 2, 12, 0.0): m(x[0], x[1])" => Transformer::new(&sizes, 1, 2, f64);
    });
    all
}

fn bilinear() -> Cases {
    let f64 = (&CpuDevice, DType::F64);
    Cases::from(cases! {
        |layer, x| layer.forward(&x[0], &x[1]);
        "Bilinear(3, 4, 5)" => Bilinear::new(3, 4, 5, f64);
        "Bilinear(3, 4, 2, bias=False)" => Bilinear::new(3, 4, 2, f64).bias(false);
    })
}

/// What differs from a row of the table.
fn check(case: &dyn Run, row: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let (module, name) = (case.module(), row["name"].as_str().unwrap());
    let printed = module.to_string();
    if printed != row["repr"].as_str().unwrap() {
        wrong.push(format!("{name} prints as {printed}, in PyTorch as {}", row["repr"]));
    }
    let params = module.named_parameters();
    for (k, (_, param)) in params.iter().enumerate() {
        param.tensor().detach().copy_(&fill(&param.shape(), k + 10));
    }
    let specs = row["inputs"].as_array().unwrap();
    let inputs: Vec<_> = specs.iter().enumerate().map(|(k, spec)| input(spec, k)).collect();
    let y = case.run(&inputs);
    compare(&y, &row["output"], &format!("{name}: output"), &mut wrong);
    if y.requires_grad() {
        (&y * fill(y.dims(), 50)).sum().backward();
    }
    for (k, x) in inputs.iter().enumerate().filter(|(_, x)| x.requires_grad()) {
        compare(&grad(x), &row["grads"][k], &format!("{name}: gradient {k}"), &mut wrong);
    }
    for (path, param) in &params {
        let what = format!("{name}: gradient of {path}");
        compare(&grad(&param.tensor()), &row["params"][path], &what, &mut wrong);
    }
    let buffers = module.named_buffers();
    for (path, buffer) in &buffers {
        let what = format!("{name}: {path}");
        compare(&buffer.tensor(), &row["buffers"][path], &what, &mut wrong);
    }
    let counts = [params.len(), buffers.len()];
    let theirs = ["params", "buffers"].map(|kind| row[kind].as_object().unwrap().len());
    if counts != theirs {
        wrong.push(format!("{name}: {counts:?} parameters and buffers, PyTorch has {theirs:?}"));
    }
    if !buffers.is_empty() {
        module.eval();
        let what = format!("{name}: output of eval()");
        compare(&case.run(&inputs), &row["eval"], &what, &mut wrong);
    }
    wrong
}

#[test]
fn layers_and_losses_compute_what_pytorchs_do() {
    let mut cases = layers();
    cases.extend(losses());
    cases.extend(bilinear());
    cases.extend(recurrent());
    cases.extend(attention());
    cases.extend(transformers());
    let mut wrong = Vec::new();
    for row in table("layers").as_array().unwrap() {
        let name = row["name"].as_str().unwrap();
        match cases.remove(name) {
            Some(case) => wrong.extend(check(&*case, row)),
            None => wrong.push(format!("{name} is not in the list")),
        }
    }
    wrong.extend(cases.keys().map(|name| format!("{name} is not in the table")));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Notes where the spread of new values is not PyTorch's, as far as their number tells: five standard
/// errors of the mean and the standard deviation, and the bound of uniform numbers.
fn compare_spread(ours: &Tensor<B>, theirs: &Value, name: &str, wrong: &mut Vec<String>) {
    let values = ours.detach().to_dtype(DType::F64).to_vec::<f64>();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let std = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
    let largest = values.iter().fold(0f64, |largest, x| largest.max(x.abs()));
    let [mean2, std2, largest2] = [0, 1, 2].map(|i| theirs[i].as_f64().unwrap());
    let error = 5.0 * std2 / count.sqrt() + 1e-7;
    let normal = name.contains("normal") || name.starts_with("Embedding");
    let bounded = normal || (largest - largest2).abs() <= largest2 * 20.0 / count + 1e-7;
    if (mean - mean2).abs() > error || (std - std2).abs() > error || !bounded {
        wrong.push(format!("{name}: {:?}, PyTorch has {theirs}", [mean, std, largest]));
    }
}

/// One test, because there is one generator.
#[test]
fn new_parameters_spread_as_pytorchs_do() {
    manual_seed(0);
    let mut wrong = Vec::new();
    layers_start(&mut wrong);
    initialisers_spread(&mut wrong);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn layers_start(wrong: &mut Vec<String>) {
    let options = &CpuDevice;
    let mut layers: BTreeMap<_, Box<dyn Module<Backend = B>>> = BTreeMap::new();
    layers.insert("Linear(300, 400)", Box::new(Linear::new(300, 400, options)));
    layers.insert("Conv1d(30, 60, 7)", Box::new(Conv1d::new(30, 60, 7, options)));
    layers.insert(
        "Conv2d(20, 60, (3, 5), groups=4)",
        Box::new(Conv2d::new(20, 60, [3, 5], options).groups(4)),
    );
    layers.insert("Conv3d(8, 50, 3)", Box::new(Conv3d::new(8, 50, 3, options)));
    layers.insert("Bilinear(20, 30, 40)", Box::new(Bilinear::new(20, 30, 40, options)));
    layers.insert("Embedding(200, 90)", Box::new(Embedding::new(200, 90, options)));
    layers.insert("BatchNorm2d(7)", Box::new(BatchNorm2d::new(7, options)));
    layers.insert("LayerNorm(9)", Box::new(LayerNorm::new([9], options)));
    layers.insert("PReLU(5)", Box::new(PReLU::new(options).num_parameters(5)));
    let table = table("init");
    let rows = table["layers"].as_array().unwrap();
    assert_eq!(rows.len(), layers.len());
    for row in rows {
        let name = row["name"].as_str().unwrap();
        for (path, param) in layers[name].named_parameters() {
            let what = format!("{name}: {path}");
            compare_spread(&param.tensor(), &row["params"][&path], &what, wrong);
        }
    }
}

fn initialisers_spread(wrong: &mut Vec<String>) {
    use init::{FanMode::*, Nonlinearity::*, *};
    let functions: BTreeMap<_, fn(&Tensor<B>)> = BTreeMap::from([
        ("uniform_(-0.5, 1.5)", (|w| uniform_(w, -0.5, 1.5)) as fn(&Tensor<B>)),
        ("normal_(0.5, 2.0)", |w| normal_(w, 0.5, 2.0)),
        ("constant_(0.3)", |w| constant_(w, 0.3)),
        ("ones_()", |w| ones_(w)),
        ("zeros_()", |w| zeros_(w)),
        ("xavier_uniform_()", |w| xavier_uniform_(w, 1.0)),
        ("xavier_uniform_(gain=2.0)", |w| xavier_uniform_(w, 2.0)),
        ("xavier_normal_()", |w| xavier_normal_(w, 1.0)),
        ("kaiming_uniform_()", |w| kaiming_uniform_(w, 0.0, FanIn, LeakyRelu)),
        ("kaiming_uniform_(a=0.5, mode='fan_out')", |w| {
            kaiming_uniform_(w, 0.5, FanOut, LeakyRelu);
        }),
        ("kaiming_uniform_(nonlinearity='relu')", |w| kaiming_uniform_(w, 0.0, FanIn, Relu)),
        ("kaiming_normal_()", |w| kaiming_normal_(w, 0.0, FanIn, LeakyRelu)),
        ("kaiming_normal_(mode='fan_out', nonlinearity='tanh')", |w| {
            kaiming_normal_(w, 0.0, FanOut, Tanh);
        }),
    ]);
    let table = table("init");
    let rows = table["functions"].as_array().unwrap();
    assert_eq!(rows.len(), functions.len());
    for row in rows {
        let name = row["name"].as_str().unwrap();
        let weight = Tensor::zeros([60, 40, 5], &CpuDevice);
        functions[name](&weight);
        compare_spread(&weight, &row["spread"], name, wrong);
    }
}
