//! Tensors, modules, optimizers and checkpoints from one device to the other.

use kiln::nn::StateDict;
use kiln::prelude::*;

use crate::{digits, net, opencl, seeded};

fn devices() -> [Device; 2] {
    [Device::cpu(), opencl()]
}

#[test]
fn every_dtype_there_and_back() {
    let numbers =
        Tensor::from_slice(&[-2.5f64, 0.0, 1.0, 3.75, 100.0, 7.0], [2, 3], &Device::cpu());
    for dtype in [F64, F32, F16, BF16, I64, I32, I16, I8, U8, Bool] {
        let x = numbers.abs().to_dtype(dtype);
        let there = x.to(&opencl());
        assert_eq!((there.device(), there.dtype(), there.shape()), (&opencl(), dtype, x.shape()));
        assert_eq!(there.to(&Device::cpu()).to_scalars(), x.to_scalars(), "{dtype}");
        // What is moved is what is seen, not the storage.
        assert_eq!(
            x.t().narrow(0, 1, 2).to(&opencl()).to_scalars(),
            x.t().narrow(0, 1, 2).to_scalars()
        );
        assert_eq!(
            there.t().narrow(0, 1, 2).to(&Device::cpu()).to_scalars(),
            x.t().narrow(0, 1, 2).to_scalars()
        );
    }
    let empty = Tensor::zeros([0, 3], &Device::cpu()).to(&opencl());
    assert_eq!((empty.dims(), empty.device()), (&[0, 3][..], &opencl()));
    // To where it is already: the same elements.
    let here = numbers.to(&Device::cpu());
    here.fill_(1.0);
    assert_eq!(numbers.sum().item(), 6.0);
}

#[test]
fn gradients_come_back() {
    for [home, away] in [devices(), {
        let [a, b] = devices();
        [b, a]
    }] {
        let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3], &home).requires_grad_(true);
        let w = Tensor::from_slice(&[4.0f32, 5.0, 6.0], [3], &away).requires_grad_(true);
        let loss = (x.to(&away) * &w).sum().to(&home) * 2.0;
        loss.backward();
        let (dx, dw) = (x.grad().unwrap(), w.grad().unwrap());
        assert_eq!((dx.device(), dw.device()), (&home, &away));
        assert_eq!(dx.to_vec::<f32>(), [8.0, 10.0, 12.0]);
        assert_eq!(dw.to_vec::<f32>(), [2.0, 4.0, 6.0]);
    }
}

#[test]
fn copies_into_what_is_elsewhere() {
    let [host, device] = devices();
    let x = Tensor::zeros([2, 3], &device);
    x.copy_(&Tensor::arange(3, (&host, F64)));
    assert_eq!(x.to_vec::<f32>(), [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
    let y = Tensor::zeros([3], &host);
    y.copy_(&x.select(0, 1));
    assert_eq!(y.to_vec::<f32>(), [0.0, 1.0, 2.0]);
}

#[test]
fn a_module_moves_in_place_with_gradients_and_buffers() {
    let _alone = seeded(3);
    let [host, device] = devices();
    let model = net(&host);
    let weights = |model: &Sequential| -> Vec<Vec<f32>> {
        model
            .state_dict()
            .iter()
            .filter(|(_, x)| x.dtype() == F32)
            .map(|(_, x)| x.to_vec())
            .collect()
    };
    let (x, y) = digits(4, &host);
    cross_entropy(&model.call(&x), &y).backward();
    let (before, handle) = (weights(&model), model.parameters()[0].clone());
    let grad: Vec<f32> = handle.grad().unwrap().to_vec();

    model.to(&device);
    assert!(model.state_dict().iter().all(|(_, x)| *x.device() == device));
    assert_eq!(weights(&model), before);
    let there = handle.grad().unwrap();
    assert_eq!((there.device(), there.to_vec::<f32>()), (&device, grad));
    assert!(handle.requires_grad() && handle.tensor().grad_fn().is_none());
    model.call(&x.to(&device)).sum().backward();

    model.to(&host);
    assert!(model.state_dict().iter().all(|(_, x)| *x.device() == host));
    // The second call in training has moved the running means.
    assert_eq!(weights(&model)[0], before[0]);
}

/// Steps of Adam on a fixed gradient, with a move of the module between them where `moves` says so.
fn steps(moves: [Option<Device>; 4], start: &Device) -> Vec<f32> {
    let weight = Param::new(Tensor::arange(6, (start, F32)).view([2, 3]));
    let holder = ParameterList::new([weight.clone()]);
    let mut adam = Adam::new(holder.parameters()).lr(0.1).weight_decay(0.01);
    for to in moves {
        if let Some(device) = to {
            holder.to(&device);
        }
        let w = weight.tensor();
        adam.zero_grad();
        (&w * &w).sum().backward();
        adam.step();
    }
    weight.tensor().to_vec()
}

/// As in PyTorch, the optimizer holds the parameters; here its state follows them, too.
#[test]
fn state_of_an_optimizer_follows_its_parameters() {
    let [host, device] = devices();
    let still = steps([None, None, None, None], &host);
    let (there, back) = (Some(device.clone()), Some(host.clone()));
    for (moved, start) in [
        ([None, None, there.clone(), None], &host),
        ([None, there, None, back.clone()], &host),
        ([None, back, None, None], &device),
    ] {
        for (a, b) in steps(moved, start).iter().zip(&still) {
            // A step is rounded a few times in f32, by each device as it computes roots.
            assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{a} and {b}");
        }
    }
}

#[test]
fn checkpoints_load_on_any_device() {
    let _alone = seeded(5);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    for (from, to) in
        [(devices()[0].clone(), devices()[1].clone()), (devices()[1].clone(), devices()[0].clone())]
    {
        let (x, y) = digits(8, &from);
        let model = net(&from);
        let mut sgd = SGD::new(model.parameters()).lr(0.1).momentum(0.9);
        let step = |model: &Sequential, sgd: &mut SGD, x: &Tensor, y: &Tensor| {
            model.eval();
            sgd.zero_grad();
            cross_entropy(&model.call(x), y).backward();
            sgd.step();
        };
        step(&model, &mut sgd, &x, &y);
        model.save(file("net.safetensors")).unwrap();
        sgd.state_dict().save(file("sgd.safetensors")).unwrap();

        let other = net(&to);
        let mut resumed = SGD::new(other.parameters()).lr(0.1).momentum(0.9);
        other.load(file("net.safetensors")).unwrap();
        resumed.load_state_dict(&StateDict::load(file("sgd.safetensors"), &to).unwrap()).unwrap();
        let (saved, loaded) = (model.state_dict(), other.state_dict());
        for (name, tensor) in saved.iter() {
            let found = loaded.get(name).unwrap();
            assert_eq!(*found.device(), to);
            assert_eq!(found.to_scalars(), tensor.to_scalars(), "{name}");
        }

        // A state dict in memory, too, whatever device it is on; and training goes on as it would have.
        let third = net(&to);
        third.load_state_dict(&saved, true).unwrap();
        let mut third_sgd = SGD::new(third.parameters()).lr(0.1).momentum(0.9);
        third_sgd.load_state_dict(&sgd.state_dict()).unwrap();
        step(&model, &mut sgd, &x, &y);
        let (x, y) = (x.to(&to), y.to(&to));
        step(&other, &mut resumed, &x, &y);
        step(&third, &mut third_sgd, &x, &y);
        for (a, b) in [(&model, &other), (&model, &third)] {
            for (a, b) in a.parameters().iter().zip(b.parameters()) {
                let apart = (a.tensor().to(&to).detach() - b.tensor().detach()).abs().max().item();
                assert!(apart < 1e-5, "{apart:e}");
            }
        }
    }
}
