//! What the tables of PyTorch's results do not hold: kinks, states of nested models, functions.

use kiln_autograd::{Autograd, Backward};
use kiln_conformance::{Reference, ReferenceDevice};
use kiln_nn::functional::{
    GridMode, GridPadding, alpha_dropout, cross_entropy, dropout1d, dropout2d,
    feature_alpha_dropout, grid_sample, gumbel_softmax, l1_loss, mse_loss, nll_loss, normalize,
    softmin,
};
use kiln_nn::init::{Nonlinearity, calculate_gain};
use kiln_nn::*;
use kiln_tensor_core::{Tensor, catch};

type Ad = Autograd<Reference>;
const DEVICE: ReferenceDevice = ReferenceDevice;

fn vector(values: &[f64]) -> Tensor<Ad> {
    Tensor::from_slice(values, values.len(), &DEVICE)
}

/// PyTorch 2.15's derivatives exactly at the kinks.
#[test]
fn derivatives_at_kinks_are_pytorchs() {
    let rows: Vec<(Layer<Ad>, &[f64], &[f64])> = vec![
        (Box::new(ReLU::new()), &[0.0], &[0.0]),
        (Box::new(ReLU6::new()), &[0.0, 6.0], &[0.0, 0.0]),
        (Box::new(LeakyReLU::new().negative_slope(0.2)), &[0.0], &[0.2]),
        (Box::new(PReLU::new((&DEVICE, kiln_tensor_core::DType::F64))), &[0.0], &[0.25]),
        (Box::new(ELU::new().alpha(0.5)), &[0.0], &[0.5]),
        (Box::new(CELU::new().alpha(2.0)), &[0.0], &[1.0]),
        (Box::new(Softsign::new()), &[0.0], &[1.0]),
        (Box::new(Softshrink::new()), &[-0.5, 0.5], &[0.0, 0.0]),
        (Box::new(Hardshrink::new()), &[-0.5, 0.5], &[0.0, 0.0]),
        (Box::new(Threshold::new(0.5, 20.0)), &[0.5], &[0.0]),
        (Box::new(Hardtanh::new()), &[-1.0, 1.0], &[0.0, 0.0]),
        (Box::new(Hardswish::new()), &[-3.0, 3.0], &[0.0, 1.0]),
        (Box::new(Hardsigmoid::new()), &[-3.0, 3.0], &[0.0, 0.0]),
        (Box::new(LogSigmoid::new()), &[0.0], &[0.5]),
    ];
    for (layer, at, slopes) in rows {
        let x = vector(at).requires_grad_(true);
        layer.call(&x).sum().backward();
        assert_eq!(x.grad().unwrap().to_vec::<f64>(), slopes, "{layer:?}");
    }
}

#[test]
fn a_nested_model_has_pytorchs_keys_and_tree() {
    let net = Sequential::<Ad>::new((
        Conv2d::new(1, 2, 3, &DEVICE).padding(1),
        BatchNorm2d::new(2, &DEVICE),
        ReLU::new(),
        Flatten::new(),
        Sequential::new((Linear::new(12, 4, &DEVICE).bias(false), Tanh::new())),
        Dropout::new(0.25),
    ));
    let state = net.state_dict();
    let expected = [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
        "4.0.weight",
    ];
    assert_eq!(state.keys().collect::<Vec<_>>(), expected);
    #[rustfmt::skip]
    let tree = "\
Sequential(
  (0): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (1): BatchNorm2d(2, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
  (2): ReLU()
  (3): Flatten(start_dim=1, end_dim=-1)
  (4): Sequential(
    (0): Linear(in_features=12, out_features=4, bias=False)
    (1): Tanh()
  )
  (5): Dropout(p=0.25, inplace=False)
)";
    assert_eq!(net.to_string(), tree);
}

#[test]
fn running_statistics_follow_the_batches_in_training_only() {
    let norm = BatchNorm1d::<Ad>::new(1, &DEVICE).momentum(None);
    let batch = |values: &[f32]| Tensor::from_slice(values, [values.len(), 1], &DEVICE);
    let statistics = || {
        let mean = norm.running_mean.as_ref().unwrap().tensor().item();
        (mean, norm.running_var.as_ref().unwrap().tensor().item())
    };
    norm.call(&batch(&[1.0, 3.0]));
    // Unbiased: (1² + 1²) / (2 − 1).
    assert_eq!(statistics(), (2.0, 2.0));
    norm.call(&batch(&[4.0, 8.0]));
    assert_eq!(statistics(), (4.0, 5.0));
    norm.eval();
    norm.call(&batch(&[100.0, 200.0]));
    assert_eq!(statistics(), (4.0, 5.0));
    norm.reset_running_stats();
    assert_eq!(statistics(), (0.0, 1.0));
}

/// Values and places that torch 2.15 gives; the first of equals, and NaN before all.
#[test]
fn adaptive_maxima_lie_where_pytorchs_do() {
    let row = Tensor::<Ad>::from_slice(
        &[1.0, 5.0, 5.0, f64::NAN, 2.0, 7.0, 7.0],
        [1, 1, 7],
        &ReferenceDevice,
    );
    let places =
        |x: &Tensor<Ad>, out: &[usize]| x.adaptive_max_pool_with_indices(out).1.to_vec::<i64>();
    assert_eq!(places(&row, &[2]), [3, 3]);
    assert_eq!(places(&row, &[3]), [1, 3, 5]);
    assert_eq!(places(&row, &[5]), [1, 1, 3, 5, 5]);
    assert_eq!(places(&row, &[9]), [0, 1, 1, 3, 3, 3, 5, 5, 6]);
    let image = Tensor::<Ad>::from_slice(
        &[3.0, 1.0, 3.0, 3.0, 3.0, 0.0, 2.0, 2.0, 2.0],
        [1, 3, 3],
        &ReferenceDevice,
    );
    assert_eq!(places(&image, &[2, 2]), [0, 2, 3, 4]);
    let none = image.narrow(1, 0, 0);
    assert_eq!(*none.adaptive_max_pool(&[0, 2]).shape(), [1, 0, 2]);
    let error = catch(|| none.adaptive_max_pool(&[1, 2])).unwrap_err();
    assert!(error.to_string().starts_with("adaptive_max_pool: "), "{error}");
}

#[test]
fn no_gradient_reaches_the_padding_vector() {
    let table = Embedding::<Ad>::new(3, 2, &DEVICE).padding_idx(1);
    let y = table.call(&Tensor::from_slice(&[1i64, 2, 1, 2], [2, 2], &DEVICE));
    assert_eq!(*y.shape(), [2, 2, 2]);
    y.sum().backward();
    let grad = table.weight.grad().unwrap();
    assert_eq!(grad.to_vec::<f32>(), [0.0, 0.0, 0.0, 0.0, 2.0, 2.0]);
}

#[test]
fn loss_functions_have_the_defaults_of_their_modules() {
    let x = Tensor::from_slice(&[1.0, 2.0, 4.0, 0.5], [2, 2], &DEVICE);
    let y = Tensor::from_slice(&[0.0, 1.0, 0.0, 2.0], [2, 2], &DEVICE);
    let classes = Tensor::from_slice(&[1i64, -100], [2], &DEVICE);
    let same = |a: Tensor<Ad>, b: Tensor<Ad>| assert_eq!(a.item(), b.item());
    same(mse_loss(&x, &y), MSELoss::new().call(&x, &y));
    same(l1_loss(&x, &y), L1Loss::new().call(&x, &y));
    same(cross_entropy(&x, &classes), CrossEntropyLoss::new().call(&x, &classes));
    let log = x.log_softmax(1);
    same(nll_loss(&log, &classes), NLLLoss::new().call(&log, &classes));
    same(cross_entropy(&x, &classes), nll_loss(&log, &classes));
}

#[test]
fn gains_are_pytorchs() {
    let gains = [
        (Nonlinearity::Linear, None, 1.0),
        (Nonlinearity::Sigmoid, None, 1.0),
        (Nonlinearity::Tanh, None, 5.0 / 3.0),
        (Nonlinearity::Relu, None, 2f64.sqrt()),
        (Nonlinearity::LeakyRelu, None, (2.0 / 1.0001f64).sqrt()),
        (Nonlinearity::LeakyRelu, Some(0.5), 1.6f64.sqrt()),
        (Nonlinearity::Selu, None, 0.75),
    ];
    for (nonlinearity, param, gain) in gains {
        assert!((calculate_gain(nonlinearity, param) - gain).abs() < 1e-15, "{nonlinearity:?}");
    }
}

#[test]
fn vectors_are_normalized_and_chosen_from() {
    let x = vector(&[3.0, -4.0, 0.0]);
    assert_eq!(normalize(&x, 2.0, 0, 1e-12).to_vec::<f64>(), [0.6, -0.8, 0.0]);
    assert_eq!(normalize(&(&x * 0.0), 2.0, 0, 1e-12).sum().item(), 0.0);
    assert!(softmin(&x, 0).equal(&(-&x).softmax(0)));
    let logits = vector(&[0.5, -1.0, 2.0]).expand([400, 3]).copy().requires_grad_(true);
    let hard = gumbel_softmax(&logits, 0.5, true, -1);
    // One-hot but for the rounding of the difference that carries the gradient.
    let rows = hard.detach();
    assert!((rows.sum_dims([1], false) - 1.0).abs().max().item() < 1e-12);
    let counts = rows.round().mean_dims([0], false);
    let shares = vector(&[0.5, -1.0, 2.0]).softmax(0);
    // Three standard errors of a share among 400, and more.
    assert!((counts - shares).abs().max().item() < 0.1);
    hard.select(1, 0).sum().backward();
    assert!(logits.grad().unwrap().abs().max().item() > 0.0);
    let soft = gumbel_softmax(&logits, 2.0, false, -1).detach();
    assert!(soft.lt(1.0).all().item() == 1.0 && soft.gt(0.0).all().item() == 1.0);
}

/// Against finite differences, for image and grid, away from where neighbours change.
#[test]
fn grids_have_derivatives_of_second_order() {
    let image: Vec<f64> = (0..24).map(|i| f64::from(i * 7 % 11) / 5.0).collect();
    let image = Tensor::<Ad>::from_slice(&image, [1, 2, 3, 4], &DEVICE);
    let grid: Vec<f64> = (0..8).map(|i| f64::from(i * 5 % 9) / 4.3 - 0.93).collect();
    let grid = Tensor::<Ad>::from_slice(&grid, [1, 2, 2, 2], &DEVICE);
    for mode in [GridMode::Bilinear, GridMode::Bicubic] {
        for padding in [GridPadding::Zeros, GridPadding::Border, GridPadding::Reflection] {
            let sample = |x: &[Tensor<Ad>]| vec![grid_sample(&x[0], &x[1], mode, padding, false)];
            let leaves = [&image, &grid].map(|x| x.copy().requires_grad_(true));
            kiln_autograd::gradcheck(sample, &leaves).unwrap();
            kiln_autograd::gradgradcheck(sample, &leaves).unwrap();
        }
    }
    let wrong = catch(|| {
        grid_sample(&image, &grid.squeeze(0), GridMode::Nearest, GridPadding::Zeros, false)
    });
    assert!(wrong.unwrap_err().to_string().contains("[n, h′, w′, 2]"));
}

#[test]
fn dropout_of_channels_drops_all_of_one() {
    let x = Tensor::<Ad>::ones([4, 50, 6], (&DEVICE, kiln_tensor_core::DType::F64));
    for (y, kept) in
        [(dropout1d(&x, 0.5, true), 2.0), (feature_alpha_dropout(&x, 0.5, true), f64::NAN)]
    {
        let rows: Vec<Vec<f64>> = y.to_vec::<f64>().chunks(6).map(<[f64]>::to_vec).collect();
        assert!(rows.iter().all(|row| row.iter().all(|v| *v == row[0])), "a channel is one");
        assert!(rows.iter().any(|row| row[0] != rows[0][0]), "not all are dropped");
        let large = rows.iter().map(|row| row[0]).fold(f64::MIN, f64::max);
        assert!(kept.is_nan() || large == kept);
    }
    assert_eq!(dropout2d(&x, 0.5, false).to_vec::<f64>(), x.to_vec::<f64>());
    assert_eq!(alpha_dropout(&x, 0.0, true).to_vec::<f64>(), x.to_vec::<f64>());
    assert!(catch(|| alpha_dropout(&x, 1.5, true)).is_err());
}
