//! Gradients at kinks and borders; autograd's tests have those of tensors' methods.

#[path = "../../../autograd/tests/reference/cases.rs"]
mod cases;

use kiln_autograd::BackwardOptions;
use kiln_nn::functional as F;
use kiln_tensor_core::Reduction::Mean;

use super::*;
use cases::{same, weights};

type T = Tensor<B>;

/// Where ours differ on purpose, with the reason; docs/autograd.md says the same.
const DIFFERS: &[(&str, &str)] = &[];

fn apply(name: &str, x: &[T]) -> T {
    let fixed = |values: &[f64]| T::from_slice(values, [values.len()], &CpuDevice);
    let rows = |i: usize| x[i].view([-1, 2]);
    match name {
        "normalize" => F::normalize(&x[0], 2.0, 0, 1e-12),
        "cosine_similarity" => F::cosine_similarity(&x[0], &x[1], 0, 1e-8),
        "hinge_embedding_loss" => {
            F::hinge_embedding_loss(&x[0], &fixed(&[-1.0, 1.0, -1.0]), 1.0, Mean)
        }
        "margin_ranking_loss" => {
            F::margin_ranking_loss(&x[0], &x[1], &fixed(&[1.0, 1.0]), 0.0, Mean)
        }
        "multi_margin_loss" => {
            let class = T::from_slice(&[0i64], [1], &CpuDevice);
            F::multi_margin_loss(&x[0].view([1, 3]), &class, 1, 1.0, None, Mean)
        }
        "soft_margin_loss" => F::soft_margin_loss(&x[0], &fixed(&[1.0, -1.0]), Mean),
        "triplet_margin_loss" => {
            let distance = |a: &T, b: &T| F::pairwise_distance(a, b, 2.0, 0.0, false);
            let [a, b, c] = [&x[0], &x[1], &x[2]];
            F::triplet_margin_with_distance_loss([a, b, c], distance, 1.0, false, Mean)
        }
        "cosine_embedding_loss" => {
            F::cosine_embedding_loss(&rows(0), &rows(1), &fixed(&[-1.0]), 0.0, Mean)
        }
        "gaussian_nll_loss" => F::gaussian_nll_loss(&x[0], &x[1], &x[2], false, 1e-6, Mean),
        _ => {
            let p = name.strip_prefix("pairwise_distance_").expect("a function");
            F::pairwise_distance(&rows(0), &rows(1), p.parse().unwrap(), 0.0, false)
        }
    }
}

#[test]
fn gradients_at_kinks() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, operands, want) in cases::cases() {
        let Some(name) = name.strip_prefix("nn::") else { continue };
        count += 1;
        let leaf = |x: &Vec<f64>| T::from_slice(x, [x.len()], &CpuDevice).requires_grad_(true);
        let xs: Vec<T> = operands.iter().map(leaf).collect();
        let y = apply(name, &xs);
        let gradient = T::from_slice(&weights(y.numel()), y.shape(), &CpuDevice);
        y.backward_with(BackwardOptions::new().gradient(gradient));
        let ours: Vec<Vec<f64>> =
            xs.iter().map(|x| x.grad().expect("a gradient").to_vec()).collect();
        let equal = ours.iter().zip(&want).all(|(ours, want)| same(ours, want));
        if equal == DIFFERS.iter().any(|(known, _)| *known == name) {
            wrong.push(format!("{name} of {operands:?}: {ours:?}, PyTorch {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(count, 12);
}
