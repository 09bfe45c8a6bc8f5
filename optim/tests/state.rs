//! State dicts resume exactly, and what does not fit is refused.

mod common;

use common::{B, params, set_grads};
use kiln_backend_cpu::CpuDevice;
use kiln_nn::{Linear, ModuleExt, StateDict};
use kiln_optim::*;
use kiln_tensor_core::{DType, Tensor, catch};
use serde_json::{Value, json};

/// A state dict as it comes back from a file.
fn through_a_file(state: &StateDict<B>) -> StateDict<B> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    state.save(&path).unwrap();
    StateDict::load(&path, &CpuDevice).unwrap()
}

/// What the state dict holds beside tensors.
fn rest(state: &StateDict<B>) -> Value {
    serde_json::from_str(&state.metadata()["optimizer"]).unwrap()
}

fn resumes<A: Step>(make: impl Fn(&[Tensor<B>]) -> Optimizer<B, A>) {
    let mut ours = params();
    let mut optimizer = make(&ours);
    let run =
        |optimizer: &mut Optimizer<B, A>, params: &[Tensor<B>], steps: std::ops::Range<usize>| {
            for t in steps {
                set_grads(params, t);
                optimizer.step();
            }
        };
    run(&mut optimizer, &ours, 1..5);
    *optimizer.param_groups_mut()[1].options_mut().tuned().0 = 0.1 / 3.0;
    let state = through_a_file(&optimizer.state_dict());
    let theirs: Vec<_> = ours.iter().map(|p| p.detach().copy().requires_grad_(true)).collect();
    run(&mut optimizer, &ours, 5..9);
    let mut resumed = make(&theirs);
    resumed.load_state_dict(&state).unwrap();
    let before = through_a_file(&state);
    run(&mut resumed, &theirs, 5..9);
    for (ours, theirs) in ours.drain(..).zip(theirs) {
        assert_eq!(ours.to_vec::<f64>(), theirs.to_vec::<f64>(), "{}", A::NAME);
    }
    assert_eq!(resumed.state_dict().metadata(), optimizer.state_dict().metadata());
    for (name, tensor) in before.iter() {
        let now = state.get(name).unwrap().to_vec::<f64>();
        assert_eq!(now, tensor.to_vec::<f64>(), "{name}: a state that was loaded is not shared");
    }
}

#[test]
fn a_loaded_optimizer_goes_on_bit_for_bit() {
    macro_rules! grouped {
        ($name:ident) => {
            |p: &[Tensor<B>]| $name::new([$name::group(&p[..2]), $name::group(&p[2..]).lr(0.05)])
        };
    }
    resumes(|p| grouped!(SGD)(p).momentum(0.9).nesterov(true));
    resumes(|p| grouped!(Adam)(p).amsgrad(true).lr(0.1));
    resumes(|p| grouped!(RMSprop)(p).momentum(0.5).centered(true));
    resumes(|p| grouped!(Adagrad)(p).lr_decay(0.1).initial_accumulator_value(0.2));
    resumes(|p| grouped!(NAdam)(p).weight_decay(0.1));
    resumes(|p| grouped!(RAdam)(p).betas(0.9, 0.9));
    resumes(|p| grouped!(Adamax)(p));
    resumes(|p| grouped!(Adadelta)(p));
    resumes(|p| grouped!(Rprop)(p));
    resumes(|p| grouped!(ASGD)(p).t0(2.0).lambd(0.2));
    resumes(|p| grouped!(Lion)(p).weight_decay(0.1));
    resumes(|p| grouped!(Adafactor)(p));
}

#[test]
fn the_state_names_what_it_holds() {
    let params = params();
    let mut adam = Adam::new([Adam::group(&params[..2]), Adam::group(&params[2..]).lr(0.5)]);
    set_grads(&params, 2);
    adam.step();
    let state = adam.state_dict();
    let names: Vec<_> = state.keys().collect();
    let expected =
        ["state.0.exp_avg", "state.0.exp_avg_sq", "state.2.exp_avg", "state.2.exp_avg_sq"];
    assert_eq!(names, expected, "the second parameter had no gradient");
    assert_eq!(rest(&state)["name"], "Adam");
    assert_eq!(rest(&state)["steps"], json!([1, 0, 1]));
    assert_eq!(
        rest(&state)["param_groups"][1],
        json!({"lr": 0.5, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0,
            "amsgrad": false, "maximize": false, "params": [2]})
    );
}

#[test]
fn states_that_do_not_fit_are_refused_and_change_nothing() {
    let ours = params();
    let mut adam = Adam::new(&ours);
    set_grads(&ours, 1);
    adam.step();
    let good = through_a_file(&adam.state_dict());
    let refused = |state: &StateDict<B>| {
        let mut fresh = Adam::new(params());
        let message = fresh.load_state_dict(state).unwrap_err().to_string();
        assert!(fresh.state_dict().is_empty());
        message
    };
    let with = |text: &str| {
        let mut state = through_a_file(&good);
        state.metadata_mut().insert("optimizer".into(), text.into());
        refused(&state)
    };
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut value = rest(&good);
        change(&mut value);
        with(&value.to_string())
    };
    assert!(refused(&StateDict::new()).contains("not an optimizer's"));
    assert!(with("{").contains("metadata"));
    assert!(with("null").contains("one of null, not of Adam"));
    assert!(changed(&|v| v["name"] = "SGD".into()).contains("one of \"SGD\", not of Adam"));
    assert!(changed(&|v| v["steps"] = json!([1])).contains("1 steps instead of 3"));
    assert!(changed(&|v| v["steps"][1] = json!(-1)).contains("counts"));
    assert!(changed(&|v| v["param_groups"] = json!([0, 0])).contains("2 param_groups"));
    assert!(changed(&|v| v["param_groups"][0]["lr"] = json!(-1.0)).contains("lr"));
    assert!(changed(&|v| v["param_groups"][0]["eps"] = "small".into()).contains("options"));
    let extra = |name: &'static str| {
        let mut state = through_a_file(&good);
        state.insert(name, Tensor::zeros([2], &CpuDevice));
        refused(&state)
    };
    assert!(extra("state.0.exp_avg").contains("shape [2], not [2, 3]"));
    assert!(extra("state.3.exp_avg").contains("1 of 7"));
    assert!(extra("state.0.sum").contains("1 of 7"));
}

#[test]
fn what_cannot_be_optimized_is_refused() {
    let message = |f: &dyn Fn() -> SGD<B>| catch(f).unwrap_err().to_string();
    let x = Tensor::<B>::zeros([2], &CpuDevice).requires_grad_(true);
    assert!(message(&|| SGD::new([] as [&Tensor<B>; 0])).contains("no parameters"));
    assert!(message(&|| SGD::new([&x, &x])).contains("twice"));
    assert!(message(&|| SGD::new([SGD::group([&x]), SGD::group([&x])])).contains("twice"));
    assert!(message(&|| SGD::new([&x * 2.0])).contains("leaves"));
    assert!(message(&|| SGD::new([x.detach().to_dtype(DType::I64)])).contains("floats"));
    assert!(message(&|| SGD::new([x.detach().expand([3, 2])])).contains("share memory"));
    assert!(message(&|| SGD::new([&x]).lr(-1.0)).contains("lr = -1.0"));
    assert!(message(&|| SGD::new([&x]).lr(f64::NAN)).contains("lr = NaN"));
    assert!(message(&|| SGD::new([SGD::group([&x]).momentum(-0.5)])).contains("momentum = -0.5"));
    let mut contradiction = SGD::new([&x]).nesterov(true);
    assert!(catch(|| contradiction.step()).unwrap_err().to_string().contains("nesterov needs"));
}

#[test]
fn closures_and_zero_grad_work_as_in_a_training_loop() {
    let params = params();
    let mut sgd = SGD::new(&params).lr(0.1);
    let loss = sgd.step_with(|sgd| {
        sgd.zero_grad();
        assert!(params.iter().all(|p| p.grad().is_none()));
        set_grads(&params, 1);
        0.5
    });
    assert_eq!(loss, 0.5);
    let version = |p: &Tensor<B>| p.to_vec::<f64>();
    let before: Vec<_> = params.iter().map(version).collect();
    sgd.zero_grad();
    sgd.step();
    assert_eq!(params.iter().map(version).collect::<Vec<_>>(), before, "no gradients, no step");
    assert!(params.iter().all(Tensor::requires_grad), "an update is not recorded");
}

#[test]
fn strided_parameters_and_gradients_are_updated_where_they_are() {
    let base = Tensor::<B>::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3], &CpuDevice);
    let column = base.transpose(0, 1).narrow(0, 1, 2).requires_grad_(true);
    let grad = Tensor::from_slice(&[10.0f32, 20.0, 30.0, 40.0], [2, 2], &CpuDevice);
    column.set_grad(Some(grad.transpose(0, 1)));
    SGD::new([&column]).lr(0.1).step();
    assert_eq!(base.to_vec::<f32>(), [1.0, 1.0, 1.0, 4.0, 2.0, 2.0]);
}

#[test]
fn half_precision_parameters_keep_their_dtype() {
    let x = Tensor::<B>::from_slice(&[1.0f32, -2.0], [2], &CpuDevice).to_dtype(DType::BF16);
    let x = x.detach().requires_grad_(true);
    x.set_grad(Some(Tensor::ones([2], (&CpuDevice, DType::BF16))));
    let mut adam = Adam::new([&x]).lr(0.5);
    adam.step();
    assert_eq!(x.to_dtype(DType::F32).to_vec::<f32>(), [0.5, -2.5]);
    assert!(adam.param_groups()[0].state(0).all(|(_, slot)| slot.dtype() == DType::BF16));
}

#[test]
fn parameters_of_modules_are_followed_and_their_state_with_them() {
    let net = Linear::<B>::new(3, 2, &CpuDevice);
    let mut adam = Adam::new(net.parameters());
    let step = |adam: &mut Adam<B>| {
        for param in net.parameters() {
            let tensor = param.tensor();
            param.set_grad(Some(Tensor::ones(tensor.dims(), (&CpuDevice, tensor.dtype()))));
        }
        adam.step();
    };
    step(&mut adam);
    net.to_dtype(DType::F64);
    let before = net.weight.tensor().to_vec::<f64>();
    step(&mut adam);
    let after = net.weight.tensor().to_vec::<f64>();
    assert!(before.iter().zip(after).all(|(before, after)| (before - after - 1e-3).abs() < 1e-8));
    let slots: Vec<_> = adam.param_groups()[0].state(0).collect();
    assert!(slots.iter().all(|(_, slot)| slot.dtype() == DType::F64));
}
