//! Every scheduler follows PyTorch's learning rates and momenta, and goes on where it stopped.

mod common;

use std::collections::BTreeMap;

use common::{B, assert_close, numbers, params, table};
use kiln_optim::lr_scheduler::*;
use kiln_optim::{Adam, Optimizer, SGD, Step};
use serde_json::Value;

/// A scheduler of any kind.
trait Running {
    fn step(&mut self, epoch: usize, optimizer: &mut dyn Schedulable);
    fn get_last_lr(&self) -> &[f64];
    fn state_dict(&self) -> Value;
    fn load_state_dict(&mut self, state: &Value);
}

impl<S: Schedule> Running for Scheduler<S> {
    fn step(&mut self, _: usize, optimizer: &mut dyn Schedulable) {
        self.step(optimizer);
    }
    fn get_last_lr(&self) -> &[f64] {
        self.get_last_lr()
    }
    fn state_dict(&self) -> Value {
        self.state_dict()
    }
    fn load_state_dict(&mut self, state: &Value) {
        self.load_state_dict(state).unwrap();
    }
}

impl Running for ReduceLROnPlateau {
    fn step(&mut self, epoch: usize, optimizer: &mut dyn Schedulable) {
        let metric = [10.0, 8.0, 7.5, 7.5, 7.4999, 7.6, 7.7, 7.7, 7.7, 3.0][epoch % 10];
        self.step(metric - epoch as f64 / 20.0, optimizer);
    }
    fn get_last_lr(&self) -> &[f64] {
        self.get_last_lr()
    }
    fn state_dict(&self) -> Value {
        self.state_dict()
    }
    fn load_state_dict(&mut self, state: &Value) {
        self.load_state_dict(state).unwrap();
    }
}

type Attach = fn(&mut dyn Schedulable) -> Box<dyn Running>;

/// The schedules of the table, by name.
fn schedules() -> BTreeMap<&'static str, Attach> {
    macro_rules! rows {
        ($($name:literal: $schedule:expr;)*) => {
            BTreeMap::from([$(($name, (|o| Box::new($schedule.attach(o))) as Attach)),*])
        };
    }
    rows! {
        "lambda": LambdaLR::new(|e| 1.0 / (1.0 + e as f64));
        "lambda each": LambdaLR::per_group(|group, e| match group {
            0 => 0.95f64.powf(e as f64),
            _ => 1.0 + e as f64 / 8.0,
        });
        "multiplicative": MultiplicativeLR::new(|e| 1.0 - 1.0 / (2.0 + e as f64));
        "step": StepLR::new(7);
        "step gamma": StepLR::new(3).gamma(0.7);
        "multistep": MultiStepLR::new([5, 12, 12, 30]).gamma(0.3);
        "constant": ConstantLR::new();
        "constant options": ConstantLR::new().factor(0.3).total_iters(11);
        "linear": LinearLR::new();
        "linear options": LinearLR::new().start_factor(0.9).end_factor(0.1).total_iters(23);
        "exponential": ExponentialLR::new(0.9);
        "polynomial": PolynomialLR::new();
        "polynomial options": PolynomialLR::new().total_iters(25).power(2.5);
        "cosine": CosineAnnealingLR::new(10);
        "cosine eta_min": CosineAnnealingLR::new(7).eta_min(0.003);
        "warm restarts": CosineAnnealingWarmRestarts::new(6);
        "warm restarts options": CosineAnnealingWarmRestarts::new(4).t_mult(2).eta_min(0.001);
        "cyclic": CyclicLR::new(0.01, 0.2).step_size_up(5);
        "cyclic triangular2": CyclicLR::new([0.01, 0.02], [0.2, 0.1])
            .step_size_up(4)
            .step_size_down(7)
            .mode(CyclicMode::Triangular2)
            .base_momentum(0.6)
            .max_momentum(0.95);
        "cyclic exp_range": CyclicLR::new(0.01, 0.2)
            .step_size_up(6)
            .mode(CyclicMode::ExpRange)
            .gamma(0.97)
            .cycle_momentum(false);
        "cyclic scale_fn":
            CyclicLR::new(0.01, 0.2).step_size_up(6).scale_fn(|x| 1.0 / x, ScaleMode::Cycle);
        "cyclic scale_fn iterations": CyclicLR::new(0.01, 0.2)
            .step_size_up(6)
            .scale_fn(|x| 1.0 / (1.0 + x), ScaleMode::Iterations);
        "one cycle": OneCycleLR::new(0.3, 40);
        "one cycle options": OneCycleLR::new([0.3, 0.5], 40)
            .pct_start(0.4)
            .anneal_strategy(AnnealStrategy::Linear)
            .base_momentum(0.7)
            .max_momentum(0.9)
            .div_factor(10.0)
            .final_div_factor(100.0)
            .three_phase(true);
        "plateau": ReduceLROnPlateau::new().patience(1);
        "plateau options": ReduceLROnPlateau::new()
            .mode(Mode::Max)
            .factor(0.6)
            .patience(2)
            .threshold(0.5)
            .threshold_mode(ThresholdMode::Abs)
            .cooldown(3)
            .min_lr([0.01, 0.005])
            .eps(1e-3);
        "plateau max rel": ReduceLROnPlateau::new().mode(Mode::Max).patience(3).threshold(0.1);
        "plateau min abs": ReduceLROnPlateau::new()
            .patience(3)
            .threshold(0.2)
            .threshold_mode(ThresholdMode::Abs);
        "swa": SWALR::new(0.05);
        "swa options":
            SWALR::new([0.5, 0.001]).anneal_epochs(7).anneal_strategy(AnnealStrategy::Linear);
        "swa at once": SWALR::new(0.05).anneal_epochs(0);
        "sequential": SequentialLR::new(LinearLR::new().start_factor(0.1).total_iters(5))
            .then(5, CosineAnnealingLR::new(12))
            .then(20, StepLR::new(4));
        "sequential others": SequentialLR::new(ConstantLR::new().factor(0.1).total_iters(3))
            .then(4, ExponentialLR::new(0.9))
            .then(10, CosineAnnealingWarmRestarts::new(5))
            .then(22, PolynomialLR::new().total_iters(10).power(2.0))
            .then(34, MultiStepLR::new([2, 4]));
        "sequential lambdas": SequentialLR::new(LambdaLR::new(|e| 1.0 / (2.0 + e as f64)))
            .then(9, MultiplicativeLR::new(|_| 0.9));
        "chained": ChainedScheduler::new(ConstantLR::new().factor(0.1).total_iters(9))
            .and(ExponentialLR::new(0.9));
        "chained cosine": ChainedScheduler::new(LinearLR::new().total_iters(6))
            .and(CosineAnnealingLR::new(15).eta_min(1e-3))
            .and(StepLR::new(10).gamma(0.5));
    }
}

/// The optimizers of a row, fresh.
fn optimizer(row: &Value) -> Box<dyn Schedulable> {
    fn grouped<A: Step>() -> Optimizer<B, A> {
        let params = params();
        let second = Optimizer::<B, A>::group(&params[2..]);
        let mut optimizer = Optimizer::new([Optimizer::group(&params[..2]), second]);
        optimizer.set_lr(0.1);
        *optimizer.param_groups_mut()[1].options_mut().tuned().0 = 0.02;
        optimizer
    }
    if row["optimizer"] == "Adam" {
        let adam: Adam<B> = grouped();
        return Box::new(adam);
    }
    let mut sgd: SGD<B> = grouped();
    sgd.param_groups_mut().iter_mut().for_each(|g| g.options_mut().momentum = 0.5);
    Box::new(sgd)
}

fn settings(optimizer: &mut dyn Schedulable) -> Vec<[f64; 2]> {
    optimizer.settings().into_iter().map(|s| [*s.lr, *s.momentum.unwrap()]).collect()
}

#[test]
fn learning_rates_and_momenta_are_those_of_pytorch() {
    let (rows, schedules) = (table("schedulers"), schedules());
    assert_eq!(rows.len(), schedules.len() + 4, "four schedules run on both optimizers");
    for row in rows {
        let name = row["name"].as_str().unwrap();
        let mut optimizer = optimizer(&row);
        let mut scheduler = schedules[name](&mut *optimizer);
        for (epoch, theirs) in row["rows"].as_array().unwrap().iter().enumerate() {
            let ours = settings(&mut *optimizer);
            for (i, ours) in ours.iter().enumerate() {
                assert_close(ours, &numbers(&theirs[i]), &format!("{name}, epoch {epoch}"));
            }
            let last: Vec<f64> = ours.iter().map(|[lr, _]| *lr).collect();
            assert_eq!(scheduler.get_last_lr(), last, "{name}");
            scheduler.step(epoch, &mut *optimizer);
        }
    }
}

#[test]
fn a_loaded_scheduler_goes_on_bit_for_bit() {
    for row in table("schedulers") {
        let attach = schedules()[row["name"].as_str().unwrap()];
        let mut optimizer = [(); 2].map(|()| optimizer(&row));
        let mut scheduler = optimizer.each_mut().map(|o| attach(&mut **o));
        for epoch in 0..17 {
            scheduler[0].step(epoch, &mut *optimizer[0]);
        }
        let text = scheduler[0].state_dict().to_string();
        scheduler[1].load_state_dict(&serde_json::from_str(&text).unwrap());
        let saved = settings(&mut *optimizer[0]);
        for (setting, [lr, momentum]) in optimizer[1].settings().into_iter().zip(saved) {
            (*setting.lr, *setting.momentum.unwrap()) = (lr, momentum);
        }
        for epoch in 17..40 {
            for (scheduler, optimizer) in scheduler.iter_mut().zip(&mut optimizer) {
                scheduler.step(epoch, &mut **optimizer);
            }
            let [left, right] = optimizer.each_mut().map(|o| settings(&mut **o));
            assert_eq!(left, right, "{}, epoch {epoch}", row["name"]);
        }
    }
}

#[test]
fn states_of_something_else_are_refused() {
    let mut sgd = SGD::new(params());
    let other = LinearLR::new().attach(&mut SGD::new([SGD::group(&params()[..1])]));
    let mut linear = LinearLR::new().attach(&mut sgd);
    assert!(linear.load_state_dict(&other.state_dict()).is_ok());
    let mut two = SGD::new([SGD::group(&params()[..1]), SGD::group(&params()[1..])]);
    assert!(linear.load_state_dict(&LinearLR::new().attach(&mut two).state_dict()).is_err());
    assert!(linear.load_state_dict(&Value::Null).is_err());
    let mut warm = CosineAnnealingWarmRestarts::new(3).attach(&mut sgd);
    assert!(warm.load_state_dict(&linear.state_dict()).is_err());
    let mut sequence = SequentialLR::new(StepLR::new(2)).then(3, StepLR::new(1)).attach(&mut sgd);
    let later = SequentialLR::new(StepLR::new(2)).then(4, StepLR::new(1)).attach(&mut sgd);
    assert!(sequence.load_state_dict(&later.state_dict()).is_err());
    assert!(sequence.load_state_dict(&linear.state_dict()).is_err());
}

#[test]
fn what_does_not_fit_the_optimizer_is_refused() {
    let message = |f: &dyn Fn()| kiln_tensor_core::catch(f).unwrap_err().to_string();
    let attach = |schedule: CyclicLR| {
        message(&|| drop(schedule.clone().attach(&mut kiln_optim::Adagrad::new(params()))))
    };
    assert!(attach(CyclicLR::new(0.1, 0.2)).contains("no momentum"));
    assert!(attach(CyclicLR::new([0.1, 0.2], 0.2)).contains("2 values of base_lr for 1 groups"));
    let past_the_end = message(&|| {
        let mut sgd = SGD::new(params());
        let mut cycle = OneCycleLR::new(0.1, 3).attach(&mut sgd);
        (0..4).for_each(|_| cycle.step(&mut sgd));
    });
    assert!(past_the_end.contains("3 steps"), "{past_the_end}");
}
