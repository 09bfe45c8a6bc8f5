//! Layers and losses within an autocast region: dtypes, and a training step whose parameters stay `f32`.

use kiln_autograd::{Autograd, Backward};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_nn::functional as F;
use kiln_nn::*;
use kiln_tensor_core::DType::{BF16, F16, F32};
use kiln_tensor_core::autocast::{Policy, policy};
use kiln_tensor_core::{DType, Reduction, autocast};

type B = Autograd<Cpu>;
type Tensor = kiln_tensor_core::Tensor<B>;

fn some(shape: &[usize], dtype: DType) -> Tensor {
    Tensor::rand(shape, (&CpuDevice, F32)).to_dtype(dtype) * 0.5 + 0.25
}

type Op = (&'static str, fn(DType) -> Tensor);

const OPS: &[Op] = &[
    ("RNN", |d| RNN::new(3, 4, &CpuDevice).forward(&some(&[5, 2, 3], d), None).0),
    ("LSTM", |d| {
        let state = (some(&[2, 2, 2], F32), some(&[2, 2, 4], F32));
        LSTM::new(3, 4, &CpuDevice)
            .num_layers(2)
            .proj_size(2)
            .forward(&some(&[5, 2, 3], d), Some(&state))
            .1
            .1
    }),
    ("GRU", |d| {
        GRU::new(3, 4, &CpuDevice).bidirectional(true).forward(&some(&[5, 2, 3], d), None).1
    }),
    ("RNNCell", |d| RNNCell::new(3, 4, &CpuDevice).forward(&some(&[2, 3], d), None)),
    ("LSTMCell", |d| LSTMCell::new(3, 4, &CpuDevice).forward(&some(&[2, 3], d), None).1),
    ("GRUCell", |d| {
        GRUCell::new(3, 4, &CpuDevice).forward(&some(&[2, 3], d), Some(&some(&[2, 4], F32)))
    }),
    ("bilinear", |d| {
        Bilinear::new(3, 4, 5, &CpuDevice).forward(&some(&[2, 3], d), &some(&[2, 4], d))
    }),
    ("interpolate", |d| {
        F::interpolate(
            &some(&[1, 2, 3], d),
            &F::Resize::scale([2.0]),
            F::InterpolateMode::Linear,
            false,
        )
    }),
    ("cosine_similarity", |d| F::cosine_similarity(&some(&[2, 3], d), &some(&[2, 3], d), 1, 1e-8)),
    ("poisson_nll_loss", |d| {
        F::poisson_nll_loss(&some(&[3], d), &some(&[3], F32), true, false, 1e-8, Reduction::Mean)
    }),
    ("hinge_embedding_loss", |d| {
        F::hinge_embedding_loss(&some(&[3], d), &some(&[3], d), 1.0, Reduction::Mean)
    }),
    ("soft_margin_loss", |d| F::soft_margin_loss(&some(&[3], d), &some(&[3], d), Reduction::Mean)),
    ("margin_ranking_loss", |d| {
        let [a, b, y] = [d, d, F32].map(|d| some(&[3], d));
        F::margin_ranking_loss(&a, &b, &y, 0.0, Reduction::Mean)
    }),
    ("multilabel_margin_loss", |d| {
        let target = Tensor::from_slice(&[1i64, -1, 0], [3], &CpuDevice);
        F::multilabel_margin_loss(&some(&[3], d), &target, Reduction::Mean)
    }),
    ("multi_margin_loss", |d| {
        let target = Tensor::from_slice(&[1i64, 0], [2], &CpuDevice);
        F::multi_margin_loss(
            &some(&[2, 3], d),
            &target,
            1,
            1.0,
            Some(&some(&[3], F32)),
            Reduction::Mean,
        )
    }),
    ("cosine_embedding_loss", |d| {
        let [a, b, y] = [&[2, 3][..], &[2, 3], &[2]].map(|shape| some(shape, d));
        F::cosine_embedding_loss(&a, &b, &y, 0.0, Reduction::Mean)
    }),
    ("triplet_margin_loss", |d| {
        let [a, b, c] = [(); 3].map(|()| some(&[2, 3], d));
        TripletMarginLoss::new().call(&a, &b, &c)
    }),
];

#[test]
fn layers_and_losses_run_in_the_dtype_of_the_table() {
    for region in [F16, BF16] {
        for &(name, op) in OPS {
            for operands in [region, F32] {
                let expected = match policy(name).unwrap_or_else(|| panic!("{name} is not listed"))
                {
                    Policy::Narrow => region,
                    Policy::Full => F32,
                    // Weights are f32.
                    Policy::Widest => F32,
                    Policy::Refused => unreachable!("{name}"),
                };
                let found = autocast(region, || op(operands)).dtype();
                assert_eq!(found, expected, "{name} of {operands} in a region of {region}");
            }
        }
    }
}

#[test]
fn a_network_trains_in_mixed_precision() {
    kiln_tensor_core::manual_seed(1);
    let net = Sequential::<B>::new((
        Conv2d::new(1, 4, 3, &CpuDevice),
        BatchNorm2d::new(4, &CpuDevice),
        ReLU::new(),
        MaxPool2d::new(2),
        InstanceNorm2d::new(4, &CpuDevice),
        Flatten::new(),
        LayerNorm::new([36], &CpuDevice),
        Linear::new(36, 5, &CpuDevice),
    ));
    let x = some(&[6, 1, 8, 8], F32);
    let target = Tensor::from_slice(&[0i64, 1, 2, 3, 4, 0], [6], &CpuDevice);
    let losses: Vec<f64> = (0..12)
        .map(|_| {
            let loss = autocast(BF16, || {
                let y = net.call(&x);
                assert_eq!(y.dtype(), BF16);
                F::cross_entropy(&y, &target)
            });
            assert_eq!(loss.dtype(), F32);
            net.zero_grad();
            loss.backward();
            for (name, param) in net.named_parameters() {
                let grad = param.grad().unwrap_or_else(|| panic!("{name} has no gradient"));
                assert_eq!([param.dtype(), grad.dtype()], [F32; 2], "{name}");
                param.tensor().detach().sub_(&(grad * 0.3));
            }
            loss.item()
        })
        .collect();
    assert!(losses[11] < losses[0] / 2.0, "{losses:?}");
    assert!(net.buffers().iter().all(|buffer| buffer.dtype() != BF16));
}

#[test]
fn attention_is_narrow_between_wide_weights() {
    let with = TransformerOptions::new(8, 2).dim_feedforward(16).dropout(0.0);
    let layer = TransformerEncoderLayer::<B>::new(&with, &CpuDevice);
    let x = some(&[5, 2, 8], F32);
    let exact = layer.forward(&x, Masks::new());
    let y = autocast(BF16, || layer.forward(&x, Masks::new()));
    assert!((y.to_dtype(F32) - &exact).abs().max().item() < 0.1);
    let attention = MultiheadAttention::new(8, 2, &CpuDevice);
    let (y, weights) = autocast(BF16, || attention.forward(&x, &x, &x, MultiheadOptions::new()));
    assert_eq!([y.dtype(), weights.expect("wanted").dtype()], [BF16; 2]);
}
