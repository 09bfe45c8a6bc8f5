//! Loss scaling follows PyTorch's, refuses what is out of order, and resumes.

mod common;

use common::{B, assert_close, number, numbers, params, set_grads, table};
use kiln_autograd::{Autograd, Backward};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_conformance::Spy;
use kiln_conformance::spy::watch;
use kiln_optim::{Adam, GradScaler, SGD, clip_grad_norm_};
use kiln_tensor_core::{DType, Tensor, catch};
use serde_json::{Value, json};

fn scaler(options: &Value) -> GradScaler<B> {
    let options = options.as_object().unwrap();
    options.iter().fold(GradScaler::new(), |scaler, (name, v)| match name.as_str() {
        "init_scale" => scaler.init_scale(number(v)),
        "growth_factor" => scaler.growth_factor(number(v)),
        "backoff_factor" => scaler.backoff_factor(number(v)),
        "growth_interval" => scaler.growth_interval(v.as_u64().unwrap()),
        "enabled" => scaler.enabled(*v == true),
        _ => panic!("{name}"),
    })
}

/// Overwrites one element of a parameter's gradient.
fn spoil(param: &Tensor<B>, at: usize, value: f64) {
    let mut values = param.grad().unwrap().to_vec::<f64>();
    values[at] = value;
    param.set_grad(Some(Tensor::from_slice(&values, param.dims(), &CpuDevice)));
}

#[test]
fn scales_and_steps_are_those_of_pytorch() {
    let runs = table("scalers");
    assert_eq!(runs.len(), 5);
    for run in &runs {
        let params = params();
        let mut sgd = SGD::new(&params).lr(0.1).momentum(0.5);
        let mut scaler = scaler(&run["options"]);
        let spoilt = numbers(&run["spoilt"]);
        for (i, row) in run["rows"].as_array().unwrap().iter().enumerate() {
            let (t, what) = (i + 1, format!("{}, step {}", run["options"], i + 1));
            set_grads(&params, t);
            for grad in params.iter().filter_map(Tensor::grad) {
                grad.mul_(scaler.get_scale());
            }
            let bad = spoilt.contains(&(t as f64));
            if bad {
                spoil(&params[2], 3, if t % 2 == 1 { f64::INFINITY } else { f64::NAN });
            }
            if t % 3 == 0 {
                scaler.unscale_(&sgd);
                clip_grad_norm_(&params, 1.0, 2.0);
            }
            assert_eq!(scaler.step(&mut sgd), !bad, "{what}");
            scaler.update();
            assert_eq!(scaler.get_scale(), number(&row["scale"]), "{what}");
            for (param, theirs) in params.iter().zip(row["params"].as_array().unwrap()) {
                assert_close(&param.to_vec(), &numbers(theirs), &what);
            }
        }
        assert_eq!(scaler.state_dict(), run["state"], "{}", run["options"]);
    }
}

#[test]
fn a_loaded_scaler_goes_on() {
    let mut first = GradScaler::<B>::new().init_scale(16.0).growth_interval(2);
    let params = params();
    let mut sgd = SGD::new(&params);
    let mut go = |scaler: &mut GradScaler<B>| {
        set_grads(&params, 1);
        scaler.step(&mut sgd);
        scaler.update();
        scaler.get_scale()
    };
    assert_eq!(go(&mut first), 16.0);
    let mut second = GradScaler::new();
    second.load_state_dict(&first.state_dict()).unwrap();
    assert_eq!(go(&mut second), 32.0);
    let wrong = second.load_state_dict(&json!({})).unwrap_err().to_string();
    assert!(wrong.contains("GradScaler"), "{wrong}");
    assert_eq!(second.get_scale(), 32.0);
    let mut off = GradScaler::<B>::new().enabled(false);
    off.load_state_dict(&first.state_dict()).unwrap();
    assert_eq!((off.get_scale(), off.state_dict()), (1.0, json!({})));
}

#[test]
fn what_is_out_of_order_is_refused() {
    let params = params();
    let (mut sgd, mut other) = (SGD::new(&params[..2]), SGD::new(&params[2..]));
    let mut scaler = GradScaler::<B>::new();
    let mut refused = |f: &mut dyn FnMut(&mut GradScaler<B>)| {
        catch(std::panic::AssertUnwindSafe(|| f(&mut scaler))).unwrap_err().to_string()
    };
    assert!(refused(&mut |s| s.update()).contains("no gradients"));
    assert!(refused(&mut |s| assert!(s.step(&mut sgd))).contains("no parameter"));
    let mut scaler = GradScaler::<B>::new();
    set_grads(&params, 1);
    let mut refused = |f: &mut dyn FnMut(&mut GradScaler<B>)| {
        catch(std::panic::AssertUnwindSafe(|| f(&mut scaler))).unwrap_err().to_string()
    };
    assert!(
        refused(&mut |s| {
            s.unscale_(&sgd);
            s.unscale_(&sgd);
        })
        .contains("has been called")
    );
    // Another optimizer has an account of its own.
    assert!(
        refused(&mut |s| {
            s.step(&mut sgd);
            s.step(&mut other);
            s.unscale_(&sgd);
        })
        .contains("before `step`")
    );
    assert!(refused(&mut |s| assert!(s.step(&mut sgd))).contains("since the last `update`"));
    let half = Tensor::<B>::ones([2], (&CpuDevice, DType::F16)).requires_grad_(true);
    half.set_grad(Some(half.detach()));
    let narrow = SGD::new([&half]);
    assert!(refused(&mut |s| s.unscale_(&narrow)).contains("f16"));
    let options = |f: &dyn Fn() -> GradScaler<B>| catch(f).unwrap_err().to_string();
    assert!(options(&|| GradScaler::new().growth_factor(1.0)).contains("growth_factor > 1"));
    assert!(options(&|| GradScaler::new().backoff_factor(1.0)).contains("backoff_factor < 1"));
}

#[test]
fn a_scaled_loss_trains_as_an_unscaled_one() {
    let x = Tensor::<B>::from_slice(&[0.5f32, -1.0], [2], &CpuDevice).requires_grad_(true);
    let mut adam = Adam::new([&x]);
    let mut scaler = GradScaler::new();
    let loss = x.square().sum();
    scaler.scale(&loss).backward();
    assert_eq!(x.grad().unwrap().to_vec::<f32>(), [65536.0, -131072.0]);
    scaler.unscale_(&adam);
    assert_eq!(x.grad().unwrap().to_vec::<f32>(), [1.0, -2.0]);
    assert!(scaler.step(&mut adam));
    scaler.update();
    let half = loss.to_dtype(DType::F16);
    assert_eq!(scaler.scale(&half).dtype(), DType::F16);
}

#[test]
fn gradients_are_scaled_in_one_pass_and_read_once() {
    let count = |each: usize| {
        type Watched = Autograd<Spy<Cpu>>;
        let params: Vec<Tensor<Watched>> = (0..each)
            .map(|_| {
                let param = Tensor::ones([2, 3], &CpuDevice).requires_grad_(true);
                param.set_grad(Some(Tensor::ones([2, 3], &CpuDevice)));
                param
            })
            .collect();
        let mut sgd = SGD::new(&params);
        let mut scaler = GradScaler::new();
        let (_, calls) = watch(|| scaler.step(&mut sgd));
        calls
    };
    let (few, many) = (count(1), count(20));
    for calls in [&few, &many] {
        // One that unscales, and the optimizer's.
        assert_eq!((calls["map_each_into"], calls["download"]), (2, 1), "{calls:?}");
    }
    assert_eq!((few["reduce"], many["reduce"]), (2, 21));
}
