//! L-BFGS, with and without a line search, follows PyTorch's trajectory, and resumes.

mod common;

use common::{B, assert_within, number, numbers, table};
use kiln_autograd::Backward;
use kiln_backend_cpu::CpuDevice;
use kiln_nn::StateDict;
use kiln_optim::{LBFGS, LineSearch};
use kiln_tensor_core::{Tensor, catch};
use serde_json::Value;

/// Rosenbrock's function of `x`, and a bowl of `y`; as in `make.py`.
fn valley(x: &Tensor<B>, y: &Tensor<B>) -> Tensor<B> {
    let (head, tail) = (x.narrow(0, 0, 2), x.narrow(0, 1, 2));
    let steep = ((tail - head.square()).square() * 100.0 + (1.0 - head).square()).sum();
    let scale = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], [2, 2], &CpuDevice);
    steep + ((y - 0.5).square() * scale).sum() + y.sum() * x.sum() / 8.0
}

fn start() -> [Tensor<B>; 2] {
    let x = Tensor::from_slice(&[-1.25, 1.0, 0.5], [3], &CpuDevice);
    let y = Tensor::from_slice(&[1.5, -0.5, 0.25, 2.0], [2, 2], &CpuDevice);
    [x, y].map(|x| x.requires_grad_(true))
}

fn step(lbfgs: &mut LBFGS<B>, [x, y]: &[Tensor<B>; 2], sign: f64) -> f64 {
    let loss = lbfgs.step_with(|lbfgs| {
        lbfgs.zero_grad();
        let loss = valley(x, y) * sign;
        loss.backward();
        loss
    });
    loss.item()
}

fn optimizer(options: &Value, params: &[Tensor<B>; 2]) -> LBFGS<B> {
    let options = options.as_object().unwrap();
    options.iter().fold(LBFGS::new(params), |o, (name, v)| match name.as_str() {
        "lr" => o.lr(number(v)),
        "max_iter" => o.max_iter(number(v) as usize),
        "max_eval" => o.max_eval(number(v) as usize),
        "history_size" => o.history_size(number(v) as usize),
        "tolerance_grad" => o.tolerance_grad(number(v)),
        "tolerance_change" => o.tolerance_change(number(v)),
        "maximize" => o.maximize(*v == true),
        "line_search_fn" => o.line_search_fn(LineSearch::StrongWolfe),
        _ => panic!("{name}"),
    })
}

#[test]
fn trajectories_are_those_of_pytorch() {
    let runs = table("lbfgs");
    assert_eq!(runs.len(), 11);
    for run in &runs {
        let params = start();
        let mut lbfgs = optimizer(&run["options"], &params);
        let sign = if run["options"]["maximize"] == true { -1.0 } else { 1.0 };
        for (i, row) in run["rows"].as_array().unwrap().iter().enumerate() {
            let what = format!("{}, step {i}", run["options"]);
            let loss = step(&mut lbfgs, &params, sign);
            // Products are added up in another order, and each iteration magnifies that in this valley.
            assert_within(1e-7, &[loss], &[number(&row["loss"])], &what);
            assert_eq!(lbfgs.func_evals(), row["evals"].as_u64().unwrap(), "{what}");
            let ours: Vec<f64> = params.iter().flat_map(|p| p.detach().to_vec::<f64>()).collect();
            assert_within(1e-7, &ours, &numbers(&row["params"]), &what);
        }
    }
}

#[test]
fn a_loaded_optimizer_goes_on_bit_for_bit() {
    let ours = start();
    let make = |p: &[Tensor<B>; 2]| {
        LBFGS::new(p).max_iter(3).line_search_fn(LineSearch::StrongWolfe).lr(0.5)
    };
    let mut first = make(&ours);
    for _ in 0..2 {
        step(&mut first, &ours, 1.0);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    first.state_dict().save(&path).unwrap();
    let state = StateDict::load(&path, &CpuDevice).unwrap();
    let theirs = ours.each_ref().map(|p| p.detach().copy().requires_grad_(true));
    let mut second = make(&theirs);
    second.load_state_dict(&state).unwrap();
    for _ in 0..3 {
        let losses = [step(&mut first, &ours, 1.0), step(&mut second, &theirs, 1.0)];
        assert_eq!(losses[0], losses[1]);
    }
    for (a, b) in ours.iter().zip(&theirs) {
        assert_eq!(a.detach().to_vec::<f64>(), b.detach().to_vec::<f64>());
    }
    assert_eq!(first.state_dict().metadata(), second.state_dict().metadata());
}

#[test]
fn what_does_not_fit_is_refused() {
    let params = start();
    let mut lbfgs = LBFGS::new(&params).max_iter(3);
    step(&mut lbfgs, &params, 1.0);
    let state = lbfgs.state_dict();
    let mut fresh = LBFGS::new(&params[..1]);
    assert!(fresh.load_state_dict(&state).unwrap_err().to_string().contains("shape [7], not [3]"));
    assert!(fresh.load_state_dict(&StateDict::new()).unwrap_err().to_string().contains("LBFGS"));
    let mut missing = StateDict::new();
    *missing.metadata_mut() = state.metadata().clone();
    let why = LBFGS::new(&params).load_state_dict(&missing).unwrap_err().to_string();
    assert!(why.contains("d is missing"), "{why}");
    let refused = |f: &dyn Fn() -> LBFGS<B>| catch(f).unwrap_err().to_string();
    assert!(refused(&|| LBFGS::new([] as [&Tensor<B>; 0])).contains("no parameters"));
    assert!(refused(&|| LBFGS::new([&params[0] * 2.0])).contains("leaves"));
    assert!(refused(&|| LBFGS::new(&params).lr(-1.0)).contains("lr >= 0"));
}
