//! Averaged models follow PyTorch's, are saved like modules, and normalise by their own statistics.

mod common;

use common::{B, assert_close, numbers, table};
use kiln_autograd::Autograd;
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_conformance::Spy;
use kiln_conformance::spy::watch;
use kiln_nn::{
    BatchNorm1d, Buffer, Forward, Linear, Module, ModuleExt, Param, Sequential, update_bn,
};
use kiln_optim::AveragedModel;
use kiln_tensor_core::{Backend, DType, Tensor, catch};

#[derive(Module)]
struct Net<B: Backend> {
    weight: Param<B>,
    mean: Buffer<B>,
    count: Buffer<B>,
}

fn net() -> Net<B> {
    let weight = [1.0, -0.5, 0.25, 0.75, 2.0, -1.5];
    Net {
        weight: Param::new(Tensor::from_slice(&weight, [2, 3], &CpuDevice)),
        mean: Buffer::new(Tensor::from_slice(&[0.5, 1.5], [2], &CpuDevice)),
        count: Buffer::new(Tensor::from_slice(&[3i64], (), &CpuDevice)),
    }
}

#[test]
fn averages_are_those_of_pytorch() {
    let runs = table("averages");
    assert_eq!(runs.len(), 4);
    for run in &runs {
        let name = run["name"].as_str().unwrap();
        let model = net();
        let averaged = AveragedModel::new(net());
        let averaged = match name {
            "ema" => averaged.ema(0.9),
            "own" => averaged.avg_fn(|average, x, n| average * 0.75 + x * (0.25 * n as f64)),
            _ => averaged,
        };
        for (t, row) in run["rows"].as_array().unwrap().iter().enumerate() {
            model.weight.tensor().detach().mul_(1.25).sub_(t as f64 / 8.0);
            model.mean.tensor().add_(t as f64 / 4.0);
            model.count.tensor().add_(1);
            averaged.update_parameters(&model);
            let what = format!("{name}, update {t}");
            let net = &averaged.module;
            assert_close(&net.weight.tensor().to_vec(), &numbers(&row[0]), &what);
            assert_close(&net.mean.tensor().to_vec(), &numbers(&row[1]), &what);
            assert_eq!(net.count.tensor().item(), row[2].as_f64().unwrap(), "{what}");
            assert_eq!(averaged.n_averaged().item(), row[3].as_f64().unwrap(), "{what}");
        }
        let keys: Vec<_> = averaged.state_dict().keys().map(ToOwned::to_owned).collect();
        let theirs: Vec<String> = serde_json::from_value(run["keys"].clone()).unwrap();
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>(), theirs.iter().collect());
    }
}

#[test]
fn buffers_may_be_averaged_too() {
    let model = net();
    let averaged = AveragedModel::new(net()).use_buffers(true);
    averaged.update_parameters(&model);
    model.mean.tensor().add_(3.0);
    model.count.tensor().add_(5);
    averaged.update_parameters(&model);
    averaged.update_parameters(&model);
    assert_close(&averaged.module.mean.tensor().to_vec(), &[2.5, 3.5], "of 0.5, 3.5 and 3.5");
    assert_eq!(averaged.module.count.tensor().item(), 8.0, "what counts is the latest");
    let other = Linear::<B>::new(3, 2, (&CpuDevice, DType::F64));
    assert!(catch(|| averaged.update_parameters(&other)).is_err());
}

#[test]
fn a_loaded_average_goes_on() {
    let model = net();
    let [first, second] = [(); 2].map(|()| AveragedModel::new(net()));
    first.update_parameters(&model);
    model.weight.tensor().detach().mul_(2.0);
    first.update_parameters(&model);
    second.load_state_dict(&first.state_dict(), true).unwrap();
    model.weight.tensor().detach().mul_(2.0);
    [&first, &second].iter().for_each(|averaged| averaged.update_parameters(&model));
    let weights = [&first, &second].map(|a| a.module.weight.tensor().to_vec::<f64>());
    assert_eq!(weights[0], weights[1]);
}

#[test]
fn an_update_is_one_pass_and_reads_nothing() {
    type Watched = Autograd<Spy<Cpu>>;
    let net = || Sequential::<Watched>::new([(); 5].map(|()| Linear::new(3, 3, &CpuDevice)));
    let (model, averaged) = (net(), AveragedModel::new(net()).ema(0.9));
    let (_, calls) = watch(|| averaged.update_parameters(&model));
    assert_eq!(calls["map_each_into"], 1);
    assert!(!calls.contains_key("download"), "{calls:?}");
}

#[test]
fn statistics_are_worked_out_anew() {
    let layers = (Linear::new(3, 2, &CpuDevice), BatchNorm1d::new(2, &CpuDevice).momentum(0.3));
    let net = Sequential::<B>::new(layers);
    let batches: Vec<Tensor<B>> = (0..4).map(|_| Tensor::randn([6, 3], &CpuDevice)).collect();
    net.call(&batches[0]);
    net.eval();
    update_bn(batches.iter().cloned(), &net);
    assert!(!net.training());
    let means = batches.iter().map(|x| net[0].call(x).mean_dims([0], false));
    let mean = means.reduce(|a, b| a + b).unwrap() / 4.0;
    let running = net.get_buffer("1.running_mean").tensor();
    assert!((running - mean.detach()).abs().max().item() < 1e-6);
    assert_eq!(net.get_buffer("1.num_batches_tracked").tensor().item(), 4.0);
    assert!(net.to_string().contains("momentum=0.3"), "the momentum is as it was");
}
