//! What linear algebra refuses, and its derivatives where they are special.

use kiln_autograd::{Autograd, Backward, grad};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::linalg::{self, Qr};
use kiln_tensor_core::{Error, Shape, Tensor, catch};

type T = Tensor<Autograd<Cpu>>;

fn leaf(values: &[f64], shape: impl Into<Shape>) -> T {
    T::from_slice(values, shape, &CpuDevice).requires_grad_(true)
}

#[test]
fn mistakes_name_the_matrix() {
    let batch = leaf(&[2.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 1.0], [2, 2, 2]);
    assert!(matches!(
        catch(|| batch.cholesky()),
        Err(Error::NotPositiveDefinite { op: "cholesky", batch: Some(1), minor: 2 })
    ));
    let singular = leaf(&[1.0, 2.0, 2.0, 4.0], [2, 2]);
    let vector = leaf(&[1.0, 1.0], [2]);
    assert!(matches!(
        catch(|| linalg::solve(&singular, &vector)),
        Err(Error::Singular { op: "solve", batch: None, pivot: 1 })
    ));
    assert!(matches!(catch(|| singular.inverse()), Err(Error::Singular { op: "inv", .. })));
    let unknown = leaf(&[1.0, 0.0, 0.0, 1.0, 1.0, 0.0, f64::NAN, 1.0], [2, 2, 2]);
    let failed = |op, found| {
        assert!(matches!(found, Err(Error::NotConverged { op: of, batch: Some(1) }) if of == op));
    };
    failed("eigh", catch(|| linalg::eigvalsh(&unknown)));
    failed("svd", catch(|| linalg::svdvals(&unknown)));
    failed("pinv", catch(|| unknown.pinverse()));
    let wide = leaf(&[1.0; 6], [2, 3]);
    assert!(matches!(catch(|| wide.det()), Err(Error::Shape { op: "det", .. })));
    assert!(matches!(catch(|| linalg::solve(&singular, &wide.t())), Err(Error::Shape { .. })));
    let half = T::ones([2, 2], (&CpuDevice, kiln_tensor_core::DType::F16));
    assert!(matches!(catch(|| half.svd()), Err(Error::DType { op: "svd", .. })));
}

/// PyTorch has 0 here; the derivative of a determinant is the adjugate, [[4, −2], [−2, 1]] transposed.
#[test]
fn the_determinant_of_a_singular_matrix_has_a_derivative() {
    let a = leaf(&[1.0, 2.0, 2.0, 4.0], [2, 2]);
    let g = grad(&a.det(), &[&a]).remove(0);
    assert!(g.allclose(
        &T::from_slice(&[4.0, -2.0, -2.0, 1.0], [2, 2], &CpuDevice),
        1e-5,
        1e-5,
        false
    ));
}

#[test]
fn vectors_of_repeated_values_have_no_derivative_and_values_do() {
    let a = leaf(&[2.0, 0.0, 0.0, 2.0], [2, 2]);
    let (w, v) = linalg::eigh(&a);
    let values = grad(&w.sum(), &[&a]).remove(0);
    assert_eq!(values.to_vec::<f64>(), [1.0, 0.0, 0.0, 1.0]);
    let (_, again) = linalg::eigh(&a);
    let g = grad(&(again.select(1, 0) * 3.0).sum(), &[&a]).remove(0);
    assert!(!g.to_vec::<f64>().iter().all(|g| g.is_finite()));
    drop(v);
}

#[test]
fn the_complete_form_of_a_tall_matrix_has_no_derivative() {
    let a = leaf(&[1.0, 2.0, 3.0, 4.0, 5.0, 7.0], [3, 2]);
    let (q, _) = linalg::qr(&a, Qr::Complete);
    let refused = catch(|| q.sum().backward()).unwrap_err().to_string();
    assert!(refused.contains("QrBackward") && refused.contains("reduced"), "{refused}");
}

#[test]
fn ranks_and_least_squares_of_singular_matrices() {
    let a = leaf(&[1.0, 2.0, 2.0, 4.0, 3.0, 6.0], [3, 2]).detach();
    assert_eq!(linalg::matrix_rank(&a, None, None).to_vec::<i64>(), [1]);
    let b = T::from_slice(&[1.0, 2.0, 3.0], [3], &CpuDevice);
    let found = linalg::lstsq(&a, &b, None);
    assert!(found.solution.allclose(
        &T::from_slice(&[0.2, 0.4], [2], &CpuDevice),
        1e-9,
        1e-9,
        false
    ));
    assert_eq!((found.rank.to_vec::<i64>(), found.residuals.numel()), (vec![1], 0));
}

/// Larger than the table's, and of little rank: rotations end, and what is next to nothing keeps orthogonal vectors.
#[test]
fn factors_of_larger_matrices_multiply_to_them() {
    let n = 33;
    let a = T::from_slice(
        &(0..n * n).map(|i| ((i * 7919) % 104_729) as f64 / 1e5 - 0.5).collect::<Vec<_>>(),
        [n, n],
        &CpuDevice,
    );
    let low = a.narrow(1, 0, 5).matmul(&a.narrow(0, 0, 5));
    let eye = T::eye(n, (&CpuDevice, a.dtype()));
    let close = |x: &T, y: &T| assert!(x.allclose(y, 1e-11, 1e-11, false));
    for x in [&a, &low] {
        let (u, s, vh) = x.svd();
        close(&(&u * &s).matmul(&vh), x);
        close(&u.t().matmul(&u), &eye);
        close(&vh.matmul(&vh.t()), &eye);
        let symmetric = x + x.t();
        let (w, v) = linalg::eigh(&symmetric);
        close(&(&v * &w).matmul(&v.t()), &symmetric);
        close(&v.t().matmul(&v), &eye);
    }
    assert_eq!(linalg::matrix_rank(&low, None, None).to_vec::<i64>(), [5]);
}
