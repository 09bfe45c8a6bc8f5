//! What programs rely on without looking: hooks and their order, functions of one's own, threads, deep graphs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use kiln_autograd::{
    Autograd, Backward, BackwardOptions, Function, GradOptions, HookHandle, apply, grad,
    gradgradcheck,
};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Backend, DType, Error, Tensor, catch};

type T = Tensor<Autograd<Cpu>>;

fn leaf(values: &[f64]) -> T {
    T::from_slice(values, [values.len()], &CpuDevice).requires_grad_(true)
}

fn grads(x: &T) -> Vec<f64> {
    x.grad().expect("a gradient").to_vec()
}

fn refused(f: impl FnOnce()) -> String {
    catch(f).expect_err("refuses").to_string()
}

// ---------------------------------------------------------------- hooks

#[test]
fn hooks_run_in_order_and_each_sees_what_the_last_gave() {
    let x = leaf(&[1.0]);
    let y = &x * 2.0;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hook = |change: f64| {
        let seen = seen.clone();
        move |g: &T| {
            seen.lock().unwrap().push(g.item());
            Some(g * change)
        }
    };
    y.retain_grad();
    for change in [3.0, 5.0] {
        y.register_hook(hook(change));
        x.register_hook(hook(change));
    }
    // Twice used: the hook sees the sum, once.
    (&y + &y).sum().backward();
    // Of y 2, then 2·3; of x 2·3·5·2, then that times 3.
    assert_eq!(*seen.lock().unwrap(), [2.0, 6.0, 60.0, 180.0]);
    assert_eq!(grads(&x), [900.0]);
    assert_eq!(grads(&y), [30.0], "kept as the hooks have made it, also those that came later");
}

#[test]
fn a_gradient_is_kept_once_and_adds_up() {
    let x = leaf(&[1.0, 2.0]);
    let y = &x * 3.0;
    y.retain_grad();
    y.retain_grad();
    x.retain_grad();
    let loss = y.sum();
    loss.backward_with(BackwardOptions::new().retain_graph(true));
    assert_eq!(grads(&y), [1.0, 1.0]);
    loss.backward();
    assert_eq!((grads(&y), grads(&x)), (vec![2.0, 2.0], vec![6.0, 6.0]));
}

#[test]
fn hooks_may_remove_themselves_and_others() {
    let x = leaf(&[1.0]);
    let y = &x * 1.0;
    let count = Arc::new(AtomicUsize::new(0));
    let handles: Arc<Mutex<Vec<HookHandle>>> = Arc::default();
    for _ in 0..2 {
        let (count, all) = (count.clone(), handles.clone());
        let handle = y.register_hook(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            all.lock().unwrap().drain(..).for_each(HookHandle::remove);
            None
        });
        handles.lock().unwrap().push(handle);
    }
    let run = || y.sum().backward_with(BackwardOptions::new().retain_graph(true));
    run();
    // Those that the walk has found run to its end.
    assert_eq!(count.swap(0, Ordering::Relaxed), 2);
    run();
    assert_eq!(count.load(Ordering::Relaxed), 0);
    // A handle may outlive what it hooks.
    let z = &x * 2.0;
    let handle = z.register_hook(|_| None);
    drop(z);
    handle.remove();
}

#[test]
fn what_a_hook_gives_must_fit() {
    let x = leaf(&[1.0, 2.0]);
    let y = &x * 2.0;
    y.register_hook(|g| Some(g.sum()));
    assert!(refused(|| y.sum().backward()).contains("a hook may not change"));
    let y = &x * 2.0;
    y.register_hook(|_| panic!("of the user"));
    let text = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| y.sum().backward()));
    assert!(text.is_err());
    (&x * 2.0).sum().backward();
    assert_eq!(grads(&x), [2.0, 2.0], "the next backward is as it should be");
}

// ---------------------------------------------------------------- functions of one's own

/// Gives x², ⌊x⌋ as an integer, and 3x; the gradient of the operand that is not differentiated is nothing.
struct Several;

impl Function for Several {
    fn name(&self) -> &'static str {
        "several"
    }

    fn forward<B: Backend>(&self, x: &[&Tensor<B>]) -> (Vec<Tensor<B>>, Vec<Tensor<B>>) {
        let outputs = vec![x[0] * x[0], x[0].floor().to_dtype(DType::I64), x[0] * 3.0 + x[1]];
        (outputs, vec![x[0].clone()])
    }

    fn backward<B: Backend>(
        &self,
        saved: &[Tensor<B>],
        grads: &[Option<Tensor<B>>],
    ) -> Vec<Option<Tensor<B>>> {
        assert!(grads[1].is_none(), "integers have no gradient");
        let square = grads[0].as_ref().map(|g| g * 2.0 * &saved[0]);
        let triple = grads[2].as_ref().map(|g| g * 3.0);
        let x = match (square, triple) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        vec![x, None]
    }
}

#[test]
fn functions_with_several_results() {
    let (x, other) = (leaf(&[1.5, -2.0]), leaf(&[1.0, 1.0]));
    let run = || apply(Several, &[&x, &other]);
    let out = run();
    assert_eq!(out[1].to_vec::<i64>(), [1, -2]);
    assert!(out[0].requires_grad() && !out[1].requires_grad() && out[2].requires_grad());
    assert_eq!(out[2].grad_fn().as_deref(), Some("SeveralBackward"));
    (&out[0] + &out[2]).sum().backward();
    assert_eq!(grads(&x), [6.0, -1.0]);
    assert!(other.grad().is_none(), "nothing flows there");
    // One result alone, and an operand without gradient as asked for.
    assert_eq!(grad(&run()[2].sum(), &[&x])[0].to_vec::<f64>(), [3.0, 3.0]);
    let none = GradOptions::new().allow_unused(&[&run()[0].sum()], &[&other]);
    assert!(none[0].is_none());
    let f = |xs: &[T]| vec![apply(Several, &[&xs[0], &xs[0].detach()]).remove(0)];
    gradgradcheck(f, &[x.detach().requires_grad_(true)]).unwrap();

    // What it has saved is watched.
    let middle = &x * 1.0;
    let out = apply(Several, &[&middle, &other]);
    middle.detach().mul_(2.0);
    let text = refused(|| out[0].sum().backward());
    assert!(text.contains("SeveralBackward") && text.contains("written to in place"), "{text}");
}

/// A backward that goes wrong as it is told to.
struct Wrong(fn(usize) -> usize);

impl Function for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }

    fn forward<B: Backend>(&self, x: &[&Tensor<B>]) -> (Vec<Tensor<B>>, Vec<Tensor<B>>) {
        (vec![x[0] * 1.0], vec![])
    }

    fn backward<B: Backend>(
        &self,
        _: &[Tensor<B>],
        grads: &[Option<Tensor<B>>],
    ) -> Vec<Option<Tensor<B>>> {
        match (self.0)(0) {
            0 => vec![grads[0].as_ref().map(Tensor::sum)],
            1 => vec![grads[0].as_ref().map(|g| g.to_dtype(DType::F32))],
            2 => vec![],
            _ => panic!("of the user"),
        }
    }
}

#[test]
fn functions_that_go_wrong_are_named_and_do_no_harm() {
    let x = leaf(&[1.0, 2.0]);
    let cases: [(fn(usize) -> usize, &str); 3] = [
        (|_| 0, "gave a gradient of shape [] and dtype f64 for input 0 of shape [2] and dtype f64"),
        (|_| 1, "gave a gradient of shape [2] and dtype f32 for input 0 of shape [2]"),
        (|_| 2, "gave 0 gradients for 1 inputs"),
    ];
    for (wrong, said) in cases {
        let text = refused(|| apply(Wrong(wrong), &[&x]).remove(0).sum().backward());
        assert!(text.contains("WrongBackward") && text.contains(said), "{text}");
    }
    let y = apply(Wrong(|_| 3), &[&x]).remove(0).sum();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| y.backward()));
    assert!(panicked.is_err() && x.grad().is_none());
    assert!(matches!(catch(|| y.backward()), Err(Error::Autograd { .. })), "its graph is gone");
    // Recording is on as before, and other graphs work.
    (&x * &x).sum().backward();
    assert_eq!(grads(&x), [2.0, 4.0]);
}

// ---------------------------------------------------------------- graphs that are kept, shared, deep

#[test]
fn graphs_are_freed_unless_they_are_kept() {
    let (x, unused) = (leaf(&[2.0]), leaf(&[1.0]));
    let y = (&x * &x * &x).sum();
    let first = GradOptions::new().create_graph(true).grad(&[&y], &[&x]).remove(0);
    // create_graph keeps the graph unless it is told otherwise.
    assert_eq!(grad(&y, &[&x])[0].to_vec::<f64>(), [12.0]);
    assert!(refused(|| drop(grad(&y, &[&x]))).contains("retain_graph(true)"));
    assert!(refused(|| drop(grad(&first, &[&x]))).contains("retain_graph(true)"), "through y");
    let text = refused(|| drop(grad(&(&x * 2.0).sum(), &[&x, &unused])));
    assert!(text.contains("do not depend on input 1 of shape [1]"), "{text}");
    let text = refused(|| drop(GradOptions::new().grad_outputs(vec![]).grad(&[&y], &[&x])));
    assert!(text.contains("0 grad_outputs for 1 outputs"), "{text}");
    assert!(x.grad().is_none() && unused.grad().is_none());
}

#[test]
fn threads_that_share_leaves_lose_nothing() {
    let x = leaf(&[1.0, 2.0]);
    let shared = &x * 2.0;
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let (x, shared) = (&x, &shared);
            threads.spawn(move || {
                for _ in 0..200 {
                    (x * f64::from(thread)).sum().backward();
                    let y = (shared * shared).sum();
                    let kept = BackwardOptions::new().retain_graph(true);
                    y.backward_with(kept);
                }
            });
        }
    });
    // 200·(0 + 1 + 2 + 3), and 800 times the slope of (2x)², 8x.
    assert_eq!(grads(&x), [1200.0 + 6400.0, 1200.0 + 12800.0]);
}

#[test]
fn deep_graphs_are_differentiated_twice() {
    let x = leaf(&[0.5]);
    let mut y = x.clone();
    for _ in 0..100_000 {
        y = &y * 1.0;
    }
    let first = GradOptions::new().create_graph(true).grad(&[&y], &[&x]).remove(0);
    let second = GradOptions::new().allow_unused(&[&(&first * &x).sum()], &[&x]).remove(0);
    assert_eq!(second.unwrap().to_vec::<f64>(), [1.0]);
    drop((first, y));
}
