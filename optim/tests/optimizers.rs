//! Every optimizer with every combination of options follows PyTorch's trajectory.

mod common;

use common::{B, assert_within, number, numbers, params_of, set_grads, table};
use kiln_optim::*;
use kiln_tensor_core::Tensor;
use serde_json::{Map, Value};

fn check<A: Step>(row: &Value, params: &[Tensor<B>], mut optimizer: Optimizer<B, A>) {
    let what = format!("{} {}", row["optimizer"], row["options"]);
    let mut kept = row["params"].as_array().unwrap().iter();
    // bf16 is rounded in another order, and the iteration magnifies that in small singular values, up to 3.4 times each
    // time: a tenth of a direction, times a learning rate of 0.08.
    let rounded = row["optimizer"] == "Muon" && row["options"].get("ns_dtype").is_none();
    let tolerance = if rounded { 2e-2 } else { 1e-12 };
    for t in 1..=8 {
        set_grads(params, t);
        optimizer.step();
        if [1, 2, 5, 8].contains(&t) {
            for (param, theirs) in params.iter().zip(kept.next().unwrap().as_array().unwrap()) {
                let what = format!("{what}, step {t}");
                assert_within(tolerance, &param.to_vec(), &numbers(theirs), &what);
            }
        }
        if t == 4 {
            for group in optimizer.param_groups_mut() {
                let mut options = group.options_mut();
                let (lr, momentum) = options.tuned();
                *lr *= 0.5;
                momentum.into_iter().for_each(|momentum| *momentum *= 0.9);
            }
        }
    }
    let [first, second] = optimizer.param_groups() else { panic!("two groups") };
    let ours = [(first, 0), (first, 1), (second, 0)].map(|(group, i)| group.state(i));
    for (ours, theirs) in ours.into_iter().zip(row["state"].as_array().unwrap()) {
        let theirs = theirs.as_object().unwrap();
        let ours: Vec<_> = ours.collect();
        assert_eq!(ours.len(), theirs.len(), "{what}: names of the state");
        for (name, tensor) in ours {
            let what = format!("{what}, {name}");
            assert_within(tolerance, &tensor.to_vec(), &numbers(&theirs[name]), &what);
        }
    }
}

/// The optimizer of two groups, of which the second has options of its own.
macro_rules! build {
    (
        $optimizer:ident, $options:expr, $p:expr; $($own:ident = $value:expr),*;
        numbers $($number:ident)*; flags $($flag:ident)*; pairs $($pair:ident)*; $($more:pat => $f:expr),*
    ) => {{
        let groups = [$optimizer::group(&$p[..2]), $optimizer::group(&$p[2..]).lr(0.05)$(.$own($value))*];
        let start = $optimizer::<B>::new(groups);
        let options: &Map<String, Value> = $options;
        options.iter().fold(start, |o, (name, v)| match (name.as_str(), v) {
            $((stringify!($number), v) => o.$number(number(v)),)*
            $((stringify!($flag), v) => o.$flag(*v == true),)*
            $((stringify!($pair), v) => o.$pair(number(&v[0]), number(&v[1])),)*
            $($more => $f(o, v),)*
            _ => panic!("{name}"),
        })
    }};
}

fn run(row: &Value) {
    let shapes: Vec<Vec<usize>> = serde_json::from_value(row["shapes"].clone()).unwrap();
    let (p, o) = (params_of(&shapes), row["options"].as_object().unwrap());
    match row["optimizer"].as_str().unwrap() {
        "SGD" => check(
            row,
            &p,
            build!(SGD, o, p; weight_decay = 0.02;
            numbers lr momentum dampening weight_decay; flags nesterov maximize; pairs;),
        ),
        "Adam" => check(
            row,
            &p,
            build!(Adam, o, p; weight_decay = 0.02;
            numbers lr eps weight_decay; flags amsgrad maximize; pairs betas;),
        ),
        "AdamW" => check(
            row,
            &p,
            build!(AdamW, o, p; weight_decay = 0.02;
            numbers lr eps weight_decay; flags amsgrad maximize; pairs betas;),
        ),
        "RMSprop" => check(
            row,
            &p,
            build!(RMSprop, o, p; weight_decay = 0.02;
            numbers lr alpha eps weight_decay momentum; flags centered maximize; pairs;),
        ),
        "Adagrad" => check(
            row,
            &p,
            build!(Adagrad, o, p; weight_decay = 0.02;
            numbers lr lr_decay weight_decay initial_accumulator_value eps; flags maximize; pairs;),
        ),
        "NAdam" => check(
            row,
            &p,
            build!(NAdam, o, p; weight_decay = 0.02;
            numbers lr eps weight_decay momentum_decay; flags decoupled_weight_decay maximize;
            pairs betas;),
        ),
        "RAdam" => check(
            row,
            &p,
            build!(RAdam, o, p; weight_decay = 0.02;
            numbers lr eps weight_decay; flags decoupled_weight_decay maximize; pairs betas;),
        ),
        "Adamax" => check(
            row,
            &p,
            build!(Adamax, o, p; weight_decay = 0.02;
            numbers lr eps weight_decay; flags maximize; pairs betas;),
        ),
        "Adadelta" => check(
            row,
            &p,
            build!(Adadelta, o, p; weight_decay = 0.02;
            numbers lr rho eps weight_decay; flags maximize; pairs;),
        ),
        "Rprop" => check(
            row,
            &p,
            build!(Rprop, o, p; ;
            numbers lr; flags maximize; pairs etas step_sizes;),
        ),
        "ASGD" => check(
            row,
            &p,
            build!(ASGD, o, p; weight_decay = 0.02;
            numbers lr lambd alpha t0 weight_decay; flags maximize; pairs;),
        ),
        "Adafactor" => check(
            row,
            &p,
            build!(Adafactor, o, p; weight_decay = 0.02;
            numbers lr beta2_decay d weight_decay; flags maximize; pairs;
            ("eps", v) => |o: Adafactor<B>, _| o.eps(v[0].as_f64(), number(&v[1]))),
        ),
        "Lion" => check(
            row,
            &p,
            build!(Lion, o, p; weight_decay = 0.02;
            numbers lr weight_decay; flags maximize; pairs betas;),
        ),
        "Muon" => check(
            row,
            &p,
            build!(Muon, o, p; weight_decay = 0.02;
            numbers lr weight_decay momentum eps; flags nesterov; pairs;
            ("ns_steps", v) => |o: Muon<B>, _| o.ns_steps(number(v) as usize),
            ("ns_coefficients", v) => |o: Muon<B>, _| {
                o.ns_coefficients(number(&v[0]), number(&v[1]), number(&v[2]))
            },
            ("adjust_lr_fn", v) => |o: Muon<B>, _| {
                o.adjust_lr_fn(serde_json::from_value(v.clone()).unwrap())
            },
            ("ns_dtype", _) => |o: Muon<B>, _| o.ns_dtype(NsDtype::Parameter)),
        ),
        other => panic!("{other}"),
    }
}

#[test]
fn trajectories_are_those_of_pytorch() {
    let rows = table("optimizers");
    assert_eq!(rows.len(), 335);
    rows.iter().for_each(run);
}
