//! Tensors that are filled with one number, and the dtypes that new tensors have unless asked.

use kiln_tensor_core::{DType, Tensor};

use super::{Oracle, make_rows};
use crate::Host;
use crate::agree::Tolerance;
use crate::layouts::NUMBERS;
use crate::strategies::{Gen, NORMAL, Sample};

const EXACT: Tolerance = Tolerance::EXACT;
const ALL: &[DType] = &DType::ALL;

/// An operand that gives a shape, a dtype and a device.
fn like(g: &mut Gen) -> Sample {
    let shape = g.shape(0..=4);
    Sample::new([g.values(&shape, NORMAL)])
}

make_rows! { ($) creation "creation";
    full {
        dtypes: ALL,
        sample: |g| like(g),
        run: |x, _| {
            let (x, like) = (&x[0], (x[0].device(), x[0].dtype()));
            vec![
                Tensor::full(x.shape(), 3, like),
                x.full_like(3),
                Tensor::zeros(x.shape(), like),
                x.zeros_like(),
                Tensor::ones(x.shape(), like),
                x.ones_like(),
            ]
        },
        oracle: Oracle::Values(|s| {
            let count = s.inputs[0].values.len();
            let three = if s.inputs[0].dtype == DType::Bool { 1.0 } else { 3.0 };
            [three, three, 0.0, 0.0, 1.0, 1.0].map(|n| vec![n; count]).to_vec()
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    // The gradient of what is overwritten is 0.
    fill_ {
        dtypes: NUMBERS,
        sample: |g| like(g),
        run: |x, _| {
            let (filled, zeroed) = (x[0].copy(), x[0].copy());
            filled.fill_(3);
            zeroed.zero_();
            vec![filled, zeroed]
        },
        oracle: Oracle::Values(|s| [3.0, 0.0].map(|n| vec![n; s.inputs[0].values.len()]).to_vec()),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    // The dtype of a number where none is asked for.
    default_dtypes {
        dtypes: &[DType::F64],
        sample: |g| like(g),
        run: |x, _| {
            let device = x[0].device();
            let made = [
                Tensor::full(2, 1.5, device),
                Tensor::full(2, 1, device),
                Tensor::full(2, true, device),
                Tensor::zeros(2, device),
                Tensor::ones(2, device),
                Tensor::arange(2, device),
                Tensor::arange(2.0, device),
                Tensor::linspace(0.0, 1.0, 2, device),
                Tensor::eye(2, device),
            ];
            let dtypes: Vec<i64> = made.iter().map(|x: &Tensor<B>| x.dtype() as i64).collect();
            vec![Host::indices(dtypes.len(), &dtypes).upload(device)]
        },
        oracle: Oracle::Values(|_| {
            use DType::{Bool, F32, I64};
            vec![[F32, I64, Bool, F32, F32, I64, F32, F32, F32].map(|d| d as u8 as f64).to_vec()]
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
}
