//! Parts of the graph that run again in backward.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_autograd::{
    Autograd, Backward, BackwardOptions, GradOptions, checkpoint, grad, gradcheck, gradgradcheck,
    no_grad,
};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Backend, Tensor, catch, manual_seed, rng_state};
use parking_lot::Mutex;

type T = Tensor<Autograd<Cpu>>;

/// The generator and the memory are the process's.
static ALONE: Mutex<()> = Mutex::new(());

fn leaf<const N: usize>(values: [f64; N]) -> T {
    Tensor::from_slice(&values, [N], &CpuDevice).requires_grad_(true)
}

fn grads(xs: &[&T]) -> Vec<Vec<f64>> {
    xs.iter().map(|x| x.grad().expect("a gradient").to_vec()).collect()
}

fn part(x: &T, w: &T) -> T {
    let hidden = (x * w).sin().exp();
    (&hidden * &hidden + x).tanh()
}

#[test]
fn gradients_are_those_without() {
    let _alone = ALONE.lock();
    let [x, w] = [leaf([0.3, -1.2, 2.0]), leaf([1.5, 0.2, -0.7])];
    let before = &x * 2.0;
    part(&part(&before, &w), &w).sum().backward();
    let want = grads(&[&x, &w]);
    [&x, &w].iter().for_each(|x| x.set_grad(None));

    // The parameter is one of the function's own, not an input.
    let runs = Arc::new(AtomicUsize::new(0));
    let before = &x * 2.0;
    let f = |runs: &Arc<AtomicUsize>, w: &T| {
        let (runs, w) = (runs.clone(), w.clone());
        move |[x]: [&T; 1]| {
            runs.fetch_add(1, Ordering::Relaxed);
            part(x, &w)
        }
    };
    let y = checkpoint(f(&runs, &w), [&before]);
    let loss = checkpoint(f(&runs, &w), [&y]).sum();
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    loss.backward_with(BackwardOptions::new().retain_graph(true));
    assert_eq!(runs.load(Ordering::Relaxed), 4);
    assert_eq!(grads(&[&x, &w]), want);
    // What has been used is gone, and found again.
    loss.backward();
    assert_eq!(runs.load(Ordering::Relaxed), 6);
    let twice = |grads: &[f64]| grads.iter().map(|g| g * 2.0).collect::<Vec<_>>();
    assert_eq!(grads(&[&x, &w]), want.iter().map(|g| twice(g)).collect::<Vec<_>>());
    let text = catch(|| loss.backward()).unwrap_err().to_string();
    assert!(text.contains("retain_graph"), "{text}");
}

#[test]
fn nothing_runs_again_that_is_not_asked_for() {
    let _alone = ALONE.lock();
    let x = leaf([1.0, 2.0]);
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    let f = move |[x]: [&T; 1]| {
        count.fetch_add(1, Ordering::Relaxed);
        x + 1.0
    };
    let y = no_grad(|| checkpoint(f.clone(), [&x]));
    assert!(!y.requires_grad());
    // Sums save nothing.
    checkpoint(f, [&x]).sum().backward();
    assert_eq!((runs.load(Ordering::Relaxed), grads(&[&x])), (2, vec![vec![1.0, 1.0]]));
}

#[test]
fn derivatives_have_any_order() {
    let _alone = ALONE.lock();
    let f = |xs: &[T]| {
        let inside = |[x, w]: [&T; 2]| {
            // A part in a part.
            let deeper = checkpoint(|[x]: [&T; 1]| (x * x).sin(), [x]);
            &deeper * w + x.exp()
        };
        vec![checkpoint(inside, [&xs[0], &xs[1]]) * &xs[0]]
    };
    let xs = [leaf([0.3, -1.2]), leaf([1.5, 0.2])];
    gradcheck(f, &xs).unwrap();
    gradgradcheck(f, &xs).unwrap();

    let x = leaf([2.0]);
    let y = checkpoint(|[x]: [&T; 1]| x * x * x * x, [&x]);
    let options = || GradOptions::new().create_graph(true);
    let first = options().grad(&[&y], &[&x]).remove(0);
    let second = options().grad(&[&first], &[&x]).remove(0);
    let third = grad(&second, &[&x]).remove(0);
    assert_eq!([first.item(), second.item(), third.item()], [32.0, 48.0, 48.0]);
}

#[test]
fn random_numbers_are_drawn_once() {
    let _alone = ALONE.lock();
    let f = |[x]: [&T; 1]| {
        let x = x.dropout(0.5, true);
        checkpoint(|[x]: [&T; 1]| (x * &Tensor::rand_like(x)).dropout(0.3, true), [&x])
    };
    let run = |f: &dyn Fn(&T) -> T| {
        let x = leaf([1.0; 64]);
        manual_seed(5);
        let y = f(&x);
        let after = rng_state(&CpuDevice);
        let between = Tensor::<Cpu>::rand([4], &CpuDevice).to_vec::<f32>();
        y.pow(2.0).sum().backward();
        (y.to_vec::<f64>(), grads(&[&x]), after, between, rng_state(&CpuDevice))
    };
    assert_eq!(run(&|x| f([x])), run(&|x| checkpoint(f, [x])));
}

#[test]
fn memory_is_less() {
    let _alone = ALONE.lock();
    let peak = |kept: bool| {
        let x = Tensor::<Autograd<Cpu>>::ones([1 << 16], &CpuDevice).requires_grad_(true);
        Cpu::reset_peak_memory(&CpuDevice);
        let before = Cpu::memory(&CpuDevice).allocated;
        let deep = |[x]: [&T; 1]| (0..8).fold(x.clone(), |x, _| x.exp().sin());
        let y = (0..4).fold(x, |x, _| if kept { deep([&x]) } else { checkpoint(deep, [&x]) });
        let forward = Cpu::memory(&CpuDevice).allocated - before;
        y.sum().backward();
        (forward, Cpu::memory(&CpuDevice).peak - before)
    };
    let (kept, again) = (peak(true), peak(false));
    assert!(again.0 * 10 < kept.0 && again.1 * 2 < kept.1, "{again:?} of {kept:?}");
}

#[test]
fn what_cannot_be_run_again_is_refused() {
    let _alone = ALONE.lock();
    let x = leaf([1.0, 2.0]);
    let input = &x * 1.0;
    let y = checkpoint(|[x]: [&T; 1]| x.exp(), [&input]);
    input.detach().mul_(2.0);
    let text = catch(|| y.sum().backward()).unwrap_err().to_string();
    assert!(text.contains("checkpoint: an input has been written to in place"), "{text}");

    let runs = AtomicUsize::new(0);
    let y = checkpoint(
        move |[x]: [&T; 1]| match runs.fetch_add(1, Ordering::Relaxed) {
            0 => x.exp(),
            _ => x.exp().sin(),
        },
        [&x],
    );
    let text = catch(|| y.sum().backward()).unwrap_err().to_string();
    assert!(text.contains("saved 2 tensors instead of 1"), "{text}");
}
