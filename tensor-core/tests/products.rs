//! Products and contractions, against sums written out.

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Shape, Tensor, catch};

type T = Tensor<Cpu>;

fn numbers(shape: impl Into<Shape>) -> T {
    let shape = shape.into();
    let values: Vec<f64> = (0..shape.numel()).map(|i| (i as f64 * 0.7).sin()).collect();
    T::from_slice(&values, shape, &CpuDevice)
}

fn close(a: &T, b: &T) {
    assert_eq!(a.shape(), b.shape());
    for (x, y) in a.to_vec::<f64>().iter().zip(b.to_vec::<f64>()) {
        assert!((x - y).abs() < 1e-12, "{a} against {b}");
    }
}

#[test]
fn named_products_are_matmul() {
    let (a, b, v) = (numbers([2, 3]), numbers([3, 5]), numbers([3]));
    close(&a.mm(&b), &a.matmul(&b));
    close(&a.mv(&v), &a.matmul(&v));
    close(&v.dot(&v), &(&v * &v).sum());
    close(&v.outer(&numbers([2])), &Tensor::einsum("i,j->ij", &[&v, &numbers([2])]));
    let (x, y) = (numbers([7, 2, 3]), numbers([7, 3, 5]));
    close(&x.bmm(&y), &x.matmul(&y));
    close(&numbers([5]).addmm(&a, &b, 2.0, 3.0), &(a.matmul(&b) * 3.0 + numbers([5]) * 2.0));
    assert!(catch(|| a.mm(&v)).unwrap_err().to_string().contains("mm"));
    assert!(catch(|| a.mm(&a)).unwrap_err().to_string().contains("[2, 3] and [2, 3]"));
}

#[test]
fn contractions() {
    let (a, b) = (numbers([2, 3, 5]), numbers([5, 3, 7]));
    close(&a.tensordot(&b, [&[1, 2], &[1, 0]]), &Tensor::einsum("ijk,kjl->il", &[&a, &b]));
    let square = numbers([3, 3]);
    close(
        &Tensor::einsum("ii->i", &[&square]),
        &T::from_slice(&[0, 4, 8].map(|i| square.to_vec::<f64>()[i]), [3], &CpuDevice),
    );
    close(&Tensor::einsum("ij->ji", &[&square]), &square.t());
    close(&Tensor::einsum("ba", &[&numbers([2, 3])]), &numbers([2, 3]).t());
    let (x, y) = (numbers([2, 1, 3, 5]), numbers([7, 5, 2]));
    close(&Tensor::einsum("...ij,...jk->...ik", &[&x, &y]), &x.matmul(&y));
    let (u, v, w) = (numbers([2]), numbers([2, 3]), numbers([3]));
    let expected = (u.unsqueeze(1) * &v * &w).sum();
    close(&Tensor::einsum("i,ij,j->", &[&u, &v, &w]), &expected);
    close(&Tensor::einsum("ij->", &[&v]), &v.sum());
}

#[test]
fn malformed_equations_are_refused() {
    let a = numbers([2, 3]);
    for equation in ["ij,jk->ik", "i->i", "ij->ik", "ij->ii", "i1->i", "ijk->ijk"] {
        assert!(catch(|| Tensor::einsum(equation, &[&a])).is_err(), "{equation}");
    }
    assert!(catch(|| Tensor::einsum("ij,ij->ij", &[&a, &numbers([2, 5])])).is_err());
}

#[test]
fn an_empty_index_stays_empty() {
    let (x, y) = (numbers([0, 4]), numbers([4, 3]));
    assert_eq!(Tensor::einsum("ij,jk->ik", &[&x, &y]).dims(), [0, 3]);
    assert_eq!(Tensor::einsum("i,j->ij", &[&numbers([2]), &numbers([0])]).dims(), [2, 0]);
    // What an empty index is summed over is 0, of a size of 1 on the other side as well.
    let one = numbers([1, 2]);
    close(&Tensor::einsum("ij,ik->jk", &[&numbers([0, 2]), &one]), &(numbers([2, 2]) * 0.0));
}

/// `torch.addmm(x, a, b, beta=0)` ignores what is in `x`.
#[test]
fn what_is_added_zero_times_does_not_count() {
    let (a, b) = (numbers([2, 3]), numbers([3, 2]));
    let nothing = T::full([2], f64::NAN, &CpuDevice);
    close(&nothing.addmm(&a, &b, 0.0, 2.0), &(a.mm(&b) * 2.0));
    let (a, b) = (a.unsqueeze(0), b.unsqueeze(0));
    close(&nothing.baddbmm(&a, &b, 0.0, 1.0), &a.bmm(&b));
}
