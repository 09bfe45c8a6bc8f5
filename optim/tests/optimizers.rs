//! Every optimizer with every combination of options follows PyTorch's trajectory.

mod common;

use common::{B, assert_close, number, numbers, params, set_grads, table};
use kiln_optim::{Adagrad, AdamOptions, Algorithm, Optimizer, RMSprop, SGD};
use kiln_tensor_core::Tensor;
use serde_json::{Map, Value};

fn check<A: Algorithm>(row: &Value, params: &[Tensor<B>], mut optimizer: Optimizer<B, A>) {
    let what = format!("{} {}", row["optimizer"], row["options"]);
    let mut kept = row["params"].as_array().unwrap().iter();
    for t in 1..=8 {
        set_grads(params, t);
        optimizer.step();
        if [1, 2, 5, 8].contains(&t) {
            for (param, theirs) in params.iter().zip(kept.next().unwrap().as_array().unwrap()) {
                assert_close(&param.to_vec(), &numbers(theirs), &format!("{what}, step {t}"));
            }
        }
        if t == 4 {
            optimizer.param_groups_mut().iter_mut().for_each(|g| *g.options_mut().tuned().0 *= 0.5);
        }
    }
    let [first, second] = optimizer.param_groups() else { panic!("two groups") };
    let ours = [(first, 0), (first, 1), (second, 0)].map(|(group, i)| group.state(i));
    for (ours, theirs) in ours.into_iter().zip(row["state"].as_array().unwrap()) {
        let theirs = theirs.as_object().unwrap();
        let ours: Vec<_> = ours.collect();
        assert_eq!(ours.len(), theirs.len(), "{what}: names of the state");
        for (name, tensor) in ours {
            assert_close(&tensor.to_vec(), &numbers(&theirs[name]), &format!("{what}, {name}"));
        }
    }
}

/// The optimizer of two groups, of which the second has two options of its own.
macro_rules! grouped {
    ($optimizer:ty, $params:expr) => {
        <$optimizer>::new([
            <$optimizer>::group(&$params[..2]),
            <$optimizer>::group(&$params[2..]).lr(0.05).weight_decay(0.02),
        ])
    };
}

fn adam<const W: bool>(
    options: &Map<String, Value>,
    p: &[Tensor<B>],
) -> Optimizer<B, AdamOptions<W>> {
    options.iter().fold(grouped!(Optimizer<B, AdamOptions<W>>, p), |o, (name, v)| {
        match name.as_str() {
            "lr" => o.lr(number(v)),
            "betas" => o.betas(number(&v[0]), number(&v[1])),
            "eps" => o.eps(number(v)),
            "weight_decay" => o.weight_decay(number(v)),
            "amsgrad" => o.amsgrad(*v == true),
            "maximize" => o.maximize(*v == true),
            _ => panic!("{name}"),
        }
    })
}

fn sgd(options: &Map<String, Value>, p: &[Tensor<B>]) -> SGD<B> {
    options.iter().fold(grouped!(SGD<B>, p), |o, (name, v)| match name.as_str() {
        "lr" => o.lr(number(v)),
        "momentum" => o.momentum(number(v)),
        "dampening" => o.dampening(number(v)),
        "weight_decay" => o.weight_decay(number(v)),
        "nesterov" => o.nesterov(*v == true),
        "maximize" => o.maximize(*v == true),
        _ => panic!("{name}"),
    })
}

fn rmsprop(options: &Map<String, Value>, p: &[Tensor<B>]) -> RMSprop<B> {
    options.iter().fold(grouped!(RMSprop<B>, p), |o, (name, v)| match name.as_str() {
        "lr" => o.lr(number(v)),
        "alpha" => o.alpha(number(v)),
        "eps" => o.eps(number(v)),
        "weight_decay" => o.weight_decay(number(v)),
        "momentum" => o.momentum(number(v)),
        "centered" => o.centered(*v == true),
        "maximize" => o.maximize(*v == true),
        _ => panic!("{name}"),
    })
}

fn adagrad(options: &Map<String, Value>, p: &[Tensor<B>]) -> Adagrad<B> {
    options.iter().fold(grouped!(Adagrad<B>, p), |o, (name, v)| match name.as_str() {
        "lr" => o.lr(number(v)),
        "lr_decay" => o.lr_decay(number(v)),
        "weight_decay" => o.weight_decay(number(v)),
        "initial_accumulator_value" => o.initial_accumulator_value(number(v)),
        "eps" => o.eps(number(v)),
        "maximize" => o.maximize(*v == true),
        _ => panic!("{name}"),
    })
}

#[test]
fn trajectories_are_those_of_pytorch() {
    let rows = table("optimizers");
    assert_eq!(rows.len(), 101);
    for row in &rows {
        let (params, options) = (params(), row["options"].as_object().unwrap());
        match row["optimizer"].as_str().unwrap() {
            "SGD" => check(row, &params, sgd(options, &params)),
            "Adam" => check(row, &params, adam::<false>(options, &params)),
            "AdamW" => check(row, &params, adam::<true>(options, &params)),
            "RMSprop" => check(row, &params, rmsprop(options, &params)),
            "Adagrad" => check(row, &params, adagrad(options, &params)),
            other => panic!("{other}"),
        }
    }
}
