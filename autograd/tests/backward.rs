//! Backward, `grad`, switches, hooks, and what they refuse.

mod audit;
mod reference;

use kiln_autograd::{
    Autograd, Backward, BackwardOptions, GradOptions, grad, gradcheck, gradgradcheck, no_grad,
    set_grad_enabled,
};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Error, Fused, Shape, Tensor, ViewOp, catch};

type T = Tensor<Autograd<Cpu>>;

fn leaf(values: &[f64], shape: impl Into<Shape>) -> T {
    constant(values, shape).requires_grad_(true)
}

fn constant(values: &[f64], shape: impl Into<Shape>) -> T {
    Tensor::from_slice(values, shape, &CpuDevice)
}

fn grad_of(x: &T) -> Vec<f64> {
    x.grad().expect("a gradient").to_vec()
}

fn refused(f: impl FnOnce()) -> String {
    catch(f).expect_err("refused").to_string()
}

#[test]
fn gradients_accumulate_until_dropped() {
    let x = leaf(&[1.0, 2.0], [2]);
    (&x * 3.0).sum().backward();
    (&x * &x).sum().backward();
    assert_eq!(grad_of(&x), [5.0, 7.0]);
    x.set_grad(None);
    (&x * 3.0).sum().backward();
    assert_eq!(grad_of(&x), [3.0, 3.0]);
}

/// The gradient of a sum is one number for all elements; a leaf's `grad` is memory that can be written to.
#[test]
fn elements_of_a_gradient_are_its_own() {
    let x = leaf(&[1.0; 300], [2, 150]);
    x.sum().backward();
    x.sum().backward();
    assert!(!x.grad().unwrap().layout().may_overlap());
    x.grad().unwrap().mul_(0.25);
    assert_eq!(grad_of(&x), [0.5; 300]);
}

#[test]
fn leaves_do_not_share_gradients() {
    let (a, b) = (leaf(&[1.0], [1]), leaf(&[2.0], [1]));
    (&a + &b).sum().backward();
    a.grad().unwrap().neg_();
    assert_eq!((grad_of(&a), grad_of(&b)), (vec![-1.0], vec![1.0]));
}

#[test]
fn broadcast_operands_get_sums() {
    let (x, row, one) =
        (leaf(&[1., 2., 3., 4., 5., 6.], [2, 3]), leaf(&[1., 2., 3.], [3]), leaf(&[2.], ()));
    (&x * &row * &one).sum().backward();
    assert_eq!(grad_of(&x), [2., 4., 6., 2., 4., 6.]);
    assert_eq!(grad_of(&row), [10., 14., 18.]);
    assert_eq!(grad_of(&one), [46.]);
}

#[test]
fn an_input_used_twice_gets_both_parts() {
    let x = leaf(&[3.0], [1]);
    let y = &x * &x;
    (&y * &x + &y).sum().backward();
    assert_eq!(grad_of(&x), [33.0]);
}

#[test]
fn third_derivative() {
    let x = leaf(&[2.0], [1]);
    let y = &x * &x * &x * &x;
    let recorded = || GradOptions::new().create_graph(true);
    let first = recorded().grad(&[&y], &[&x]).remove(0);
    let second = recorded().grad(&[&first], &[&x]).remove(0);
    let third = recorded().grad(&[&second], &[&x]).remove(0);
    assert_eq!((first.item(), second.item(), third.item()), (32.0, 48.0, 48.0));
    assert!(x.grad().is_none());
}

#[test]
fn create_graph_gradients_go_through_backward_again() {
    let x = leaf(&[2.0], [1]);
    (&x * &x * &x).sum().backward_with(BackwardOptions::new().create_graph(true));
    let g = x.grad().unwrap();
    assert!(g.requires_grad());
    x.set_grad(None);
    g.sum().backward();
    assert_eq!(grad_of(&x), [12.0]);
}

#[test]
fn only_the_inputs_asked_for_are_touched() {
    let (a, b) = (leaf(&[2.0], [1]), leaf(&[3.0], [1]));
    (&a * &b).sum().backward_with(BackwardOptions::new().inputs(&[&a]));
    assert_eq!(grad_of(&a), [3.0]);
    assert!(b.grad().is_none());
}

#[test]
fn intermediates_have_gradients_on_request() {
    let x = leaf(&[2.0], [1]);
    let y = &x * &x;
    let z = &y * 3.0;
    assert_eq!(grad(&z, &[&y]).remove(0).item(), 3.0);

    let y = &x * &x;
    y.retain_grad();
    (&y * 3.0).sum().backward();
    assert_eq!((grad_of(&y), grad_of(&x)), (vec![3.0], vec![12.0]));
}

#[test]
fn unused_inputs() {
    let (a, b) = (leaf(&[1.0], [1]), leaf(&[1.0], [1]));
    let y = (&a * 2.0).sum();
    let grads = GradOptions::new().retain_graph(true).allow_unused(&[&y], &[&a, &b]);
    assert!(grads[0].is_some() && grads[1].is_none());
    assert!(refused(|| drop(grad(&y, &[&b]))).contains("do not depend on input 0"));
}

#[test]
fn switches() {
    let x = leaf(&[1.0], [1]);
    assert!(!no_grad(|| &x * 2.0).requires_grad());
    {
        let _mode = set_grad_enabled(false);
        assert!(!(&x * 2.0).requires_grad());
    }
    assert!((&x * 2.0).requires_grad());
    assert!(!(x.detach() * 2.0).requires_grad());
}

#[test]
fn manual_updates_through_no_grad_and_detach() {
    let w = leaf(&[1.0, 2.0], [2]);
    (&w * &w).sum().backward();
    no_grad(|| w.sub_(w.grad().unwrap() * 0.5));
    assert_eq!(w.to_vec::<f64>(), [0.0, 0.0]);
    assert!(w.requires_grad() && w.is_leaf());
    w.detach().add_(1.0);
    assert_eq!(w.to_vec::<f64>(), [1.0, 1.0]);
}

#[test]
fn recorded_writes_in_place() {
    let x = leaf(&[1.0, -2.0], [2]);
    let h = &x * 3.0;
    h.mul_(&x).relu_();
    h.sum().backward();
    assert_eq!(grad_of(&x), [6.0, -12.0]);
    assert_eq!(h.grad_fn().as_deref(), Some("ReluBackward"));

    let y = &x * 2.0;
    y.copy_(&constant(&[5.0, 5.0], [2]));
    assert_eq!(grad(&(&y * &x).sum(), &[&x]).remove(0).to_vec::<f64>(), [5.0, 5.0]);
}

/// What PyTorch gives for the same lines.
#[test]
fn recorded_writes_through_views() {
    let x = leaf(&[1.0, 2.0, 3.0, 4.0], [2, 2]);
    let h = &x * &x;
    h.select(0, 0).mul_(3.0);
    h.narrow(1, 1, 1).fill_(5.0);
    assert_eq!(h.grad_fn().as_deref(), Some("CopySlicesBackward"));
    (&h * &h).sum().backward();
    // h = [[3 x², 5], [x², 5]]
    assert_eq!(grad_of(&x), [36.0, 0.0, 108.0, 0.0]);

    // Into a buffer, through a chain of views; the view goes on.
    let y = leaf(&[1.0, 2.0], [2]);
    let buffer = constant(&[0.0; 6], [2, 3]);
    let column = buffer.t().select(0, 1);
    column.copy_(&(&y * &y));
    assert!(buffer.requires_grad());
    let both = (&buffer * &buffer).sum() + (&column * 10.0).sum();
    both.backward();
    assert_eq!(grad_of(&y), [4.0 + 20.0, 32.0 + 40.0]);

    // A view reads another one of the same tensor.
    let z = leaf(&[1.0, 2.0, 3.0, 4.0], [4]);
    let h = &z * 2.0;
    h.narrow(0, 0, 2).mul_(h.narrow(0, 2, 2));
    h.sum().backward();
    assert_eq!(grad_of(&z), [12.0, 16.0, 6.0, 10.0]);

    // Twice differentiable.
    let written = |x: &[T]| {
        let h = x[0].sin();
        h.select(0, 1).mul_(x[0].select(0, 0));
        vec![h.exp()]
    };
    gradcheck(written, std::slice::from_ref(&x)).unwrap();
    gradgradcheck(written, &[leaf(&[0.3, -0.7, 1.1, 0.4], [2, 2])]).unwrap();
}

/// A view that was taken before its tensor was recorded, or inside `no_grad`, loses no gradient in silence.
#[test]
fn views_from_before_do_not_lie() {
    let x = leaf(&[1.0, 2.0], [2]);
    let buffer = constant(&[0.0, 0.0], [2]);
    let view = buffer.narrow(0, 0, 1);
    buffer.add_(&x);
    assert!(refused(|| drop(&view * 2.0)).contains("take the view again"));
    let h = &x * 2.0;
    let view = no_grad(|| h.narrow(0, 0, 1));
    assert!(refused(|| drop(view.mul_(3.0))).contains("no_grad"));
    no_grad(|| view.mul_(3.0));
    h.sum().backward();
    assert_eq!(grad_of(&x), [2.0, 2.0]);
}

#[test]
fn refuses_what_would_give_wrong_gradients() {
    let x = leaf(&[1.0, 2.0], [2]);
    assert!(refused(|| drop(x.add_(1.0))).contains("leaf"));
    assert!(refused(|| x.backward()).contains("not a single element"));
    assert!(refused(|| constant(&[1.0], [1]).backward()).contains("does not require gradients"));

    let y = (&x * &x).sum();
    y.backward();
    assert!(refused(|| y.backward()).contains("freed"));

    let h = &x * 1.0;
    let y = (&h * &h).sum();
    h.add_(1.0);
    let message = refused(|| y.backward());
    assert!(message.contains("MulBackward") && message.contains("in place"), "{message}");

    let h = &x * 1.0;
    let view = h.narrow(0, 0, 1);
    h.add_(&x);
    assert!(refused(|| drop(&view * 2.0)).contains("take the view again"));
    assert!(refused(|| drop(view.add_(1.0))).contains("take the view again"));
    assert!(refused(|| drop(x.narrow(0, 0, 1).add_(1.0))).contains("a view of a leaf"));

    assert!(refused(|| drop((&x * 2.0).requires_grad_(true))).contains("not a leaf"));
    let ints = T::from_slice(&[1i64], [1], &CpuDevice);
    assert!(matches!(catch(|| ints.requires_grad_(true)), Err(Error::DType { .. })));
    let plain = Tensor::<Cpu>::from_slice(&[1.0], [1], &CpuDevice);
    assert!(matches!(catch(|| plain.requires_grad_(true)), Err(Error::Unsupported { .. })));
}

#[test]
fn hooks_see_and_replace_gradients() {
    let x = leaf(&[1.0], [1]);
    let y = &x * 2.0;
    let doubled = y.register_hook(|g| Some(g * 10.0));
    let on_leaf = x.register_hook(|g| Some(g + 1.0));
    let run = || {
        x.set_grad(None);
        y.sum().backward_with(BackwardOptions::new().retain_graph(true));
        grad_of(&x)[0]
    };
    assert_eq!(run(), 21.0);
    doubled.remove();
    assert_eq!(run(), 3.0);
    on_leaf.remove();
    assert_eq!(run(), 2.0);
}

#[test]
fn kinks_have_exact_derivatives() {
    let at = |f: fn(&T) -> T| {
        let x = leaf(&[-1.0, 0.0, 1.0], [3]);
        f(&x).sum().backward();
        grad_of(&x)
    };
    assert_eq!(at(T::relu), [0.0, 0.0, 1.0]);
    assert_eq!(at(T::abs), [-1.0, 0.0, 1.0]);
    assert_eq!(at(T::sign), [0.0, 0.0, 0.0]);
    assert_eq!(at(|x| x.maximum(constant(&[0.0], [1]))), [0.0, 0.5, 1.0]);
}

#[test]
fn products_with_zeros() {
    static ID: Fused<1> = Fused::new("prod", |[x]: [kiln_tensor_core::Val<'_>; 1]| x);
    let f = |xs: &[T]| vec![ID.reduce(kiln_tensor_core::ReduceOp::Prod, [&xs[0]], &[1])];
    for values in [[2.0, 3.0, 5.0], [0.0, 3.0, 5.0], [0.0, 0.0, 5.0]] {
        let all = [values, [1.0, -2.0, 0.5]].concat();
        let x = leaf(&all, [2, 3]);
        gradcheck(f, std::slice::from_ref(&x)).unwrap();
        gradgradcheck(f, &[x]).unwrap();
    }
}

#[test]
fn views_of_every_kind() {
    let x = leaf(&(0..24).map(|i| f64::from(i) * 0.3 - 2.0).collect::<Vec<_>>(), [2, 3, 4]);
    let ops = [
        ViewOp::Reshape([6, 4].into()),
        ViewOp::Permute([2, 0, 1].into_iter().collect()),
        ViewOp::Expand([5, 2, 3, 4].into()),
        ViewOp::Slice { dim: 1, start: 2, len: 2, step: -2 },
        ViewOp::Diagonal { offset: -1, dim1: 2, dim2: 1 },
        ViewOp::Unfold { dim: 2, size: 3, step: 1 },
    ];
    for op in ops {
        let f = |xs: &[T]| {
            let y = xs[0].view_as_op(&op);
            vec![&y * &y]
        };
        gradcheck(f, std::slice::from_ref(&x)).unwrap_or_else(|e| panic!("{op:?}: {e}"));
        gradgradcheck(f, std::slice::from_ref(&x)).unwrap_or_else(|e| panic!("{op:?}: {e}"));
    }
}

#[test]
fn a_million_operations() {
    let x = leaf(&[1.0], [1]);
    let mut y = x.clone();
    for _ in 0..1_000_000 {
        y = &y + 1.0;
    }
    y.sum().backward();
    assert_eq!(grad_of(&x), [1.0]);
    drop(y);

    // Dropped without a backward, the graph is taken apart without recursion too.
    let mut y = x.clone();
    for _ in 0..1_000_000 {
        y = y.sin();
    }
    drop(y);
}

#[test]
fn layers_and_losses_have_two_orders_of_derivative() {
    use kiln_tensor_core::{ConvSpec, PoolSpec, Reduction};
    let values = |n: usize, seed: f64| -> Vec<f64> {
        (0..n).map(|i| ((i as f64 + seed) * 1.7).sin()).collect()
    };
    let target = constant(&[0.0, 1.0, 2.0], [3]).to_dtype(kiln_tensor_core::DType::I64);
    let check = |name: &str, f: &dyn Fn(&[T]) -> T, inputs: &[T]| {
        let f = |xs: &[T]| vec![f(xs)];
        gradcheck(f, inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
        gradgradcheck(f, inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
    };
    let logits = [leaf(&values(15, 0.3), [3, 5])];
    check("softmax", &|x| x[0].softmax(1), &logits);
    check("log_softmax", &|x| x[0].log_softmax(0), &logits);
    for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
        let weight = constant(&[1.0, 0.5, 2.0, 1.5, 0.1], [5]);
        check("cross_entropy", &|x| x[0].cross_entropy(&target, None, 1, 0.0, reduction), &logits);
        let weighted = |x: &[T]| x[0].cross_entropy(&target, Some(&weight), 1, 0.2, reduction);
        check("weighted cross_entropy", &weighted, &logits);
    }
    let x = leaf(&values(2 * 2 * 5 * 7, 0.1), [2, 2, 5, 7]);
    let weight = leaf(&values(3 * 2 * 2 * 3, 0.7), [3, 2, 2, 3]);
    let bias = leaf(&values(3, 0.2), [3]);
    let spec = ConvSpec {
        stride: [2, 1].as_slice().into(),
        padding: [1, 0].as_slice().into(),
        dilation: [1, 2].as_slice().into(),
        groups: 1,
    };
    let operands = [x.clone(), weight, bias];
    check("conv", &|x| x[0].conv(&x[1], Some(&x[2]), &spec), &operands);
    let pool = PoolSpec::new(&[2, 3]);
    check("max_pool", &|x| x[0].max_pool(&pool), &operands[..1]);
    check("avg_pool", &|x| x[0].avg_pool(&pool), &operands[..1]);
    check("adaptive_avg_pool", &|x| x[0].adaptive_avg_pool(&[3, 2]), &operands[..1]);
    let (w, b) = (leaf(&values(2, 0.4), [2]), leaf(&values(2, 0.9), [2]));
    let small = leaf(&values(2 * 2 * 3, 0.1), [2, 2, 3]);
    let inputs = [small, w, b];
    check("batch_norm", &|x| x[0].batch_norm_train(Some(&x[1]), Some(&x[2]), 1e-5).0, &inputs);
    let (w, b) = (leaf(&values(3, 0.4), [3]), leaf(&values(3, 0.9), [3]));
    let inputs = [inputs[0].clone(), w, b];
    check("layer_norm", &|x| x[0].layer_norm([3], Some(&x[1]), Some(&x[2]), 1e-5), &inputs);
}
