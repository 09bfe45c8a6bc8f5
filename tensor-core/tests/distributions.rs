//! Random numbers have the moments of their distributions; choices have their weights.

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{DType, Tensor, catch, manual_seed};

type T = Tensor<Cpu>;

const COUNT: usize = 40_000;

fn room() -> T {
    T::zeros([COUNT], (&CpuDevice, DType::F64))
}

/// Within five deviations of what means and variances of so many samples are spread by.
#[track_caller]
fn has(x: &T, mean: f64, var: f64) {
    let got = [x.mean().item(), x.var().item()];
    let spread = (var / COUNT as f64).sqrt() * 5.0;
    assert!((got[0] - mean).abs() < spread, "mean {} where {mean} is right", got[0]);
    // Of skewed distributions the variance is spread wider than of a normal one.
    assert!((got[1] / var - 1.0).abs() < 0.1, "variance {} where {var} is right", got[1]);
}

// One test: the generator is one for all threads.
#[test]
fn moments_and_weights() {
    manual_seed(5);
    has(&room().exponential_(2.0), 0.5, 0.25);
    has(&room().geometric_(0.25), 4.0, 12.0);
    assert_eq!(room().geometric_(0.9).min().item(), 1.0);
    has(&room().log_normal_(0.0, 0.5), 0.125f64.exp(), (0.25f64.exp() - 1.0) * 0.25f64.exp());
    let cauchy = room().cauchy_(3.0, 2.0);
    assert!((cauchy.median().item() - 3.0).abs() < 0.1);
    // A quarter lies beyond one sigma on either side.
    assert!((cauchy.quantile(0.75, 0, false).item() - 5.0).abs() < 0.2);
    has(&room().random_(0, 6), 2.5, 35.0 / 12.0);
    has(&(room() + 7.0).normal(2.0), 7.0, 4.0);
    for rate in [0.5, 4.0, 9.9, 10.1, 60.0, 1e6] {
        has(&(room() + rate).poisson(), rate, rate);
    }
    assert_eq!(room().poisson().sum().item(), 0.0);

    let weights = T::new([0.0, 1.0, 3.0, 0.0, 4.0, 0.0], &CpuDevice);
    let drawn = weights.multinomial(COUNT, true).bincount(None, 6).to_vec::<i64>();
    for (count, weight) in drawn.iter().zip(weights.to_vec::<f64>()) {
        let part = weight / 8.0;
        let spread = (part * (1.0 - part) * COUNT as f64).sqrt();
        assert!((*count as f64 - part * COUNT as f64).abs() <= 5.0 * spread, "{drawn:?}");
    }
    // Without replacement: the first of two is drawn by weight, and never one twice or one of weight 0.
    let rows = weights.unsqueeze(0).expand([COUNT, 6]);
    let pairs = rows.multinomial(2, false);
    assert_eq!(pairs.select(1, 0).eq(pairs.select(1, 1)).any().item(), 0.0);
    let first = pairs.select(1, 0).contiguous().bincount(None, 6).to_vec::<i64>();
    assert!((first[4] as f64 / COUNT as f64 - 0.5).abs() < 0.0125, "{first:?}");
    assert_eq!((first[0], first[3], first[5]), (0, 0, 0));
    let both = pairs.reshape([-1]).bincount(None, 6).to_vec::<i64>();
    // 1/8 + 3/8 · 1/5 + 4/8 · 1/4
    assert!((both[1] as f64 / COUNT as f64 - 0.325).abs() < 0.0125, "{both:?}");
}

#[test]
fn what_is_refused() {
    let weights = T::new([0.0, 1.0, -1.0], &CpuDevice);
    let message = |f: &dyn Fn() -> T| catch(f).unwrap_err().to_string();
    assert!(message(&|| weights.multinomial(1, true)).contains("not negative"));
    assert!(message(&|| weights.abs().multinomial(3, false)).contains("at least 3"));
    assert!(message(&|| weights.poisson()).contains("no rate is -1"));
    assert!(message(&|| room().exponential_(0.0)).contains("above 0"));
    assert!(message(&|| room().geometric_(1.0)).contains("0 < p < 1"));
}
