//! Captured steps: replays leave what the same number of steps leaves, bit for bit.

use std::process::Command;

use kiln::nn::StateDict;
use kiln::optim::lr_scheduler::{ExponentialLR, Schedule};
use kiln::prelude::*;
use kiln::tensor::rng_state;
use kiln::{Error, catch, graph};

use crate::{digits, net, opencl, seeded};

/// The first OpenCL device, or another one that has graphs.
fn device() -> Device {
    match std::env::var("KILN_TEST_DEVICE") {
        Ok(name) => name.parse().expect("a device of this machine"),
        Err(_) => opencl(),
    }
}

/// What training has changed, to be compared.
#[derive(Debug, PartialEq)]
struct Left {
    losses: Vec<f32>,
    model: Vec<(String, Vec<f64>)>,
    optimizer: Vec<(String, Vec<f64>)>,
    rest: Vec<(String, String)>,
    draws: kiln::tensor::RngState,
}

fn values(state: &StateDict<kiln::DefaultBackend>) -> Vec<(String, Vec<f64>)> {
    state.iter().map(|(name, x)| (name.to_string(), x.to_dtype(F64).to_vec::<f64>())).collect()
}

/// Trains the net on parts of the digits; `step` does a step somehow.
fn trained(
    steps: usize,
    mut step: impl FnMut(&Device, [&Tensor; 2], &mut dyn FnMut([&Tensor; 2]) -> Tensor) -> Tensor,
) -> Left {
    let device = device();
    let _alone = seeded(7);
    let (images, labels) = digits(64, &device);
    let net = net(&device);
    let mut adam = AdamW::new(net.parameters()).lr(1e-2);
    let mut scheduler = ExponentialLR::new(0.9).attach(&mut adam);
    let mut losses = Vec::new();
    for i in 0..steps {
        let [x, y] = [&images, &labels].map(|all| all.narrow(0, 8 * (i % 8), 8).copy());
        let loss = step(&device, [&x, &y], &mut |[x, y]| {
            let loss = cross_entropy(&net.call(x), y);
            adam.zero_grad();
            loss.backward();
            adam.step();
            loss.detach()
        });
        losses.push(loss.item() as f32);
        match i % 3 {
            0 => scheduler.step(&mut adam),
            1 => adam.set_lr(2e-3),
            _ => adam.param_groups_mut()[0].options_mut().lr *= 0.5,
        }
    }
    let state = adam.state_dict();
    Left {
        losses,
        model: values(&net.state_dict()),
        optimizer: values(&state),
        rest: state.metadata().iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        draws: rng_state(&device),
    }
}

#[test]
fn replays_leave_what_steps_leave() {
    let eager = trained(9, |_, inputs, step| step(inputs));
    let mut runs = None;
    let replayed = trained(9, |device, inputs, step| {
        runs.get_or_insert_with(|| graph::Step::new(device)).run(inputs, step)
    });
    assert_eq!(eager, replayed);
    assert!(eager.losses[8] < eager.losses[0], "{:?}", eager.losses);
    let text = format!("{runs:?}");
    assert!(text.contains("captured: 1"), "{text}");
}

#[test]
fn gradients_add_up_over_replays() {
    let device = device();
    let _alone = seeded(8);
    let x = Tensor::randn([4, 3], &device);
    let layer = Linear::new(3, 2, &device);
    let step = || layer.call(&x).square().sum().backward();
    let gradient = || layer.weight.grad().unwrap().to_vec::<f32>();
    step();
    let once = gradient();
    let graph = graph::capture(&device, step).unwrap();
    let mut sum = once.clone();
    for _ in 0..4 {
        sum.iter_mut().zip(&once).for_each(|(sum, once)| *sum += once);
        assert_eq!(gradient(), sum);
        graph.replay();
    }
    // A new start, in place.
    layer.weight.grad().unwrap().zero_();
    graph.replay();
    assert_eq!(gradient(), once);
}

#[test]
fn dropout_is_random_and_backward_sees_its_mask() {
    let device = device();
    let _alone = seeded(9);
    let x = Tensor::ones([1000], &device).requires_grad_(true);
    let step = || {
        let y = x.dropout(0.5, true);
        x.set_grad(None);
        y.sum().backward();
        (y.detach(), x.grad().unwrap())
    };
    let graph = graph::capture(&device, step).unwrap();
    let mut masks: Vec<Vec<f32>> = Vec::new();
    for _ in 0..3 {
        let (y, grad) = graph.output();
        assert_eq!(y.to_vec::<f32>(), grad.to_vec::<f32>());
        assert!(!masks.contains(&y.to_vec()));
        masks.push(y.to_vec());
        graph.replay();
    }
    // The same draws as without a graph.
    manual_seed(9);
    for mask in masks {
        assert_eq!(x.dropout(0.5, true).to_vec::<f32>(), mask);
    }
}

#[test]
fn backward_of_a_forward_that_was_replayed_is_refused() {
    let device = device();
    let _alone = seeded(10);
    let x = Tensor::ones([10], &device).requires_grad_(true);
    let graph =
        graph::capture(&device, || (x.dropout(0.5, true).sum(), x.exp().exp().sum())).unwrap();
    graph.replay();
    let (dropped, exp) = graph.output();
    let error = catch(|| dropped.backward()).unwrap_err();
    assert!(error.to_string().contains("call backward in the step"), "{error}");
    assert!(matches!(catch(|| exp.backward()), Err(Error::Autograd { .. })));
    // A driver may still compile what nobody waits for, while the process ends.
    device.synchronize();
}

/// In a process of its own: other tests have memory of the device too.
#[test]
fn memory_is_flat_and_nobody_elses() {
    const ALONE: &str = "KILN_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["graphs::memory_is_flat_and_nobody_elses", "--exact"]).env(ALONE, "1");
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let device = device();
    let _alone = seeded(11);
    let x = Tensor::randn([64, 64], &device);
    let graph =
        graph::capture(&device, || (0..8).fold(x.clone(), |y, _| y.matmul(&x).tanh())).unwrap();
    let want = graph.output().to_vec::<f32>();
    let others: Vec<Tensor> = (0..20).map(|_| Tensor::ones([64, 64], &device)).collect();
    let held = || <kiln::Any as kiln::tensor::Backend>::memory(&device);
    let before = held();
    for _ in 0..100 {
        graph.replay();
    }
    assert_eq!(graph.output().to_vec::<f32>(), want);
    assert_eq!(held(), before);
    assert!(others.iter().all(|x| x.to_vec::<f32>().iter().all(|&x| x == 1.0)));
    device.synchronize();
}

#[test]
fn mistakes_are_told_and_typed() {
    let device = device();
    let _alone = seeded(12);
    let cpu = graph::capture(&Device::cpu(), || ()).unwrap_err();
    assert!(matches!(cpu, Error::Unsupported { op: "graph::capture", .. }), "{cpu}");
    assert!(device.has_graphs() && !Device::cpu().has_graphs());
    let x = Tensor::ones([3], &device);
    let read = catch(|| graph::capture(&device, || x.sum().item())).unwrap_err();
    assert!(matches!(read, Error::Capture { .. }), "{read}");
    // State that the first step makes.
    let layer = Linear::new(3, 2, &device);
    let mut adam = Adam::new(layer.parameters());
    let step = |adam: &mut Adam| {
        layer.call(&x).sum().backward();
        adam.step();
    };
    let first = catch(|| graph::capture(&device, || step(&mut adam))).unwrap_err();
    assert!(matches!(first, Error::Capture { op: "Adam", .. }), "{first}");
    step(&mut adam);
    let graph = graph::capture(&device, || step(&mut adam)).unwrap();
    graph.replay();
    // An option that shapes the update's program.
    adam.param_groups_mut()[0].options_mut().weight_decay = 0.1;
    let decays = catch(|| graph.replay()).unwrap_err();
    assert!(matches!(decays, Error::Capture { op: "Adam", .. }), "{decays}");
    adam.param_groups_mut()[0].options_mut().weight_decay = 0.0;
    graph.replay();
    adam.load_state_dict(&adam.state_dict()).unwrap();
    assert!(matches!(catch(|| graph.replay()), Err(Error::Capture { op: "Adam", .. })));
    device.synchronize();
}

#[test]
fn an_index_out_of_range_in_a_replay_is_told() {
    let device = device();
    let x = Tensor::ones([4, 2], &device);
    let index = Tensor::from_slice(&[1i64, 3], [2], &device);
    let graph = graph::capture(&device, || x.index_select(0, &index)).unwrap();
    graph.replay();
    assert_eq!(graph.output().to_vec::<f32>(), [1.0; 4]);
    index.copy_(&Tensor::from_slice(&[1i64, 4], [2], &device));
    graph.replay();
    let error = catch(|| graph.output().to_vec::<f32>()).unwrap_err();
    let Error::Index { op: "index_select", index: 4, size: 4, called: Some(at), .. } = error else {
        panic!("{error}")
    };
    assert_eq!(at.file(), file!());
    index.zero_();
    graph.replay();
    assert_eq!(graph.output().to_vec::<f32>(), [1.0; 4]);
}

#[test]
fn a_step_takes_inputs_of_several_shapes() {
    for device in [Device::cpu(), device()] {
        let _alone = seeded(13);
        let scale = Tensor::full([3], 2.0, &device);
        let mut step = graph::Step::new(&device);
        for i in 0..10u8 {
            let rows = if i % 5 == 4 { 1 } else { 2 };
            let x = Tensor::full([rows, 3], f64::from(i), &device);
            let y = step.run([&x], |[x]| (x * &scale).sum());
            assert_eq!(y.item(), 6.0 * f64::from(i) * rows as f64);
        }
        let leaf = Tensor::ones([3], &device).requires_grad_(true);
        let error = catch(|| step.run([&leaf], |[x]| x.sum())).unwrap_err();
        assert!(matches!(error, Error::Argument { op: "Step::run", .. }), "{error}");
    }
}
