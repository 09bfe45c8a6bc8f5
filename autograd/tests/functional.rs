//! Jacobians, Hessians and products with them, against formulas.

use kiln_autograd::functional::{Functional, hessian, hvp, jacobian, jvp, vjp};
use kiln_autograd::{Autograd, Backward, no_grad};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{DType, Tensor, catch};

type T = Tensor<Autograd<Cpu>>;

fn tensor<const N: usize>(values: [f64; N]) -> T {
    Tensor::from_slice(&values, [N], &CpuDevice)
}

fn matrix() -> T {
    Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3], &CpuDevice)
}

#[test]
fn the_jacobian_of_a_product_is_the_matrix() {
    let (a, x) = (matrix(), tensor([1.0, 0.0, -1.0]));
    let [j] = jacobian(|[x]| a.matmul(x), [&x]);
    assert_eq!((j.dims(), j.to_vec::<f64>()), (&[2, 3][..], a.to_vec::<f64>()));
    // In the matrix: the vector, in the rows of each output's own row.
    let [ja, jx] = jacobian(|[a, x]| a.matmul(x), [&a, &x]);
    assert_eq!(ja.dims(), [2, 2, 3]);
    let want = [1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0];
    assert_eq!(ja.to_vec::<f64>(), want);
    assert_eq!(jx.to_vec::<f64>(), a.to_vec::<f64>());
    assert!(!ja.requires_grad() && x.grad().is_none());
}

#[test]
fn hessians_have_a_block_for_each_pair() {
    let (x, y) = (tensor([1.0, 2.0]), tensor([3.0]));
    let [[xx, xy], [yx, yy]] = hessian(|[x, y]| (x * x * y).sum(), [&x, &y]);
    assert_eq!((xx.dims(), xx.to_vec::<f64>()), (&[2, 2][..], vec![6.0, 0.0, 0.0, 6.0]));
    assert_eq!((xy.dims(), xy.to_vec::<f64>()), (&[2, 1][..], vec![2.0, 4.0]));
    assert_eq!((yx.dims(), yx.to_vec::<f64>()), (&[1, 2][..], vec![2.0, 4.0]));
    assert_eq!(yy.to_vec::<f64>(), [0.0]);
}

#[test]
fn products_agree_with_the_matrices() {
    let (a, x, v) = (matrix(), tensor([0.5, -1.0, 2.0]), tensor([1.0, 2.0, 3.0]));
    let f = |[x]: [&T; 1]| a.matmul(x).exp();
    let [j] = jacobian(f, [&x]);
    let (out, along) = jvp(f, [&x], [&v]);
    let near = |a: &T, b: &T| assert!(a.allclose(b, 1e-13, 0.0, false), "{a} {b}");
    near(&out, &f([&x]));
    near(&along, &j.matmul(&v));
    let u = tensor([2.0, -1.0]);
    let (_, [back]) = vjp(f, [&x], &u);
    near(&back, &j.t().matmul(&u));
    let loss = |[x]: [&T; 1]| f([x]).sum();
    let [[h]] = hessian(loss, [&x]);
    let (value, [product]) = hvp(loss, [&x], [&v]);
    near(&product, &h.matmul(&v));
    near(&value, &loss([&x]));
    assert!(!product.requires_grad() && !value.requires_grad());
}

/// Nothing is asked of recording outside, and what is not used has no slope.
#[test]
fn constants_have_derivatives_of_zero() {
    let (x, y) = (tensor([1.0, 2.0]), tensor([3.0]));
    no_grad(|| {
        let [jx, jy] = jacobian(|[x, _]| x * 2.0, [&x, &y]);
        assert_eq!(jx.to_vec::<f64>(), [2.0, 0.0, 0.0, 2.0]);
        assert_eq!((jy.dims(), jy.to_vec::<f64>()), (&[2, 1][..], vec![0.0, 0.0]));
    });
    let [[h]] = hessian(|[x]| (x * 3.0).sum(), [&x]);
    assert_eq!(h.to_vec::<f64>(), [0.0; 4]);
    let (_, along) = jvp(|[_]| tensor([1.0]), [&x], [&x]);
    assert_eq!(along.to_vec::<f64>(), [0.0]);
    let (_, [product]) = hvp(|[x]| (x * 3.0).sum(), [&x], [&x]);
    assert_eq!(product.to_vec::<f64>(), [0.0, 0.0]);
    let [none] = jacobian(|[x]| x.narrow(0, 0, 0), [&x]);
    assert_eq!(none.dims(), [0, 2]);
}

#[test]
fn results_can_be_differentiated_where_that_is_asked_for() {
    let recorded = Functional::new().create_graph(true);
    let x = tensor([1.0, 2.0]).requires_grad_(true);
    let w = tensor([2.0]).requires_grad_(true);
    let [j] = recorded.jacobian(|[x]| x * x * &w, [&x]);
    j.sum().backward(); // Σ 2 w x
    assert_eq!(x.grad().unwrap().to_vec::<f64>(), [4.0, 4.0]);
    assert_eq!(w.grad().unwrap().to_vec::<f64>(), [6.0]);

    let x = tensor([3.0]).requires_grad_(true);
    let [[h]] = recorded.hessian(|[x]| x.pow(4.0).sum(), [&x]);
    h.sum().backward(); // 24 x
    assert_eq!(x.grad().unwrap().to_vec::<f64>(), [72.0]);
    let (_, along) = recorded.jvp(|[x]| x.pow(3.0), [&x], [&tensor([1.0])]);
    let [third] = jacobian(|[_]| along.clone(), [&x]);
    assert_eq!(third.to_vec::<f64>(), [0.0], "of another handle");
    x.set_grad(None);
    along.backward(); // 6 x
    assert_eq!(x.grad().unwrap().to_vec::<f64>(), [18.0]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = tensor([1.0, 2.0]);
    let message = |f: &dyn Fn()| catch(f).unwrap_err().to_string();
    let whole = x.to_dtype(DType::I64);
    let text = message(&|| drop(jacobian(|[x]| x * 2.0, [&whole])));
    assert!(text.contains("jacobian: only floats have derivatives"), "{text}");
    let text = message(&|| drop(hessian(|[x]| x * 2.0, [&x])));
    assert!(text.contains("hessian: the function is to give one element"), "{text}");
    let text = message(&|| drop(jvp(|[x]| x * 2.0, [&x], [&tensor([1.0])])));
    assert!(text.contains("jvp: a direction has the shape and dtype of its input"), "{text}");
}
