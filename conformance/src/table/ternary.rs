//! Elementwise ops of three operands, and comparisons within a tolerance.

use kiln_tensor_core::{DType, Tensor};

use super::{Oracle, in_place, make_rows};
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, NUMBERS};
use crate::strategies::{Fill, Gen, NORMAL, POSITIVE, Purpose, Sample};

const EXACT: Tolerance = Tolerance::EXACT;
const SUMS: Tolerance =
    Tolerance::new(4.0, 8.0, "a product and a sum, of numbers up to 4").stored(1.0);
const ALL: &[DType] = &DType::ALL;
const ANY: Fill = NORMAL.special();

/// Operands that broadcast together.
fn three(g: &mut Gen, fills: [Fill; 3]) -> Sample {
    let (_, shapes) = g.broadcast(3, 0..=4);
    let operands = shapes.iter().zip(fills).map(|(shape, fill)| g.values(shape, fill));
    Sample::new(operands.collect::<Vec<_>>())
}

/// Nearly the first operand, or something else.
fn near(g: &mut Gen) -> Sample {
    let shape = g.shape(0..=4);
    let x = g.values(&shape, ANY);
    let mut y = x.clone();
    for value in &mut y.values {
        *value =
            kiln_tensor_core::Scalar::F64(value.to_f64() * g.pick(&[1.0, 1.0 + 1.0 / 64.0, 1.25]));
    }
    let y = crate::Host::new(shape, x.dtype, y.values);
    Sample::new([x, y])
}

fn close(a: f64, b: f64, equal_nan: bool) -> bool {
    a == b
        || (a.is_nan() && b.is_nan() && equal_nan)
        || ((a - b).abs() <= 0.125 + 0.0625 * b.abs() && a.is_finite() && b.is_finite())
}

fn truth(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}

make_rows! { ($) ternary "ternary";
    where_ {
        dtypes: ALL,
        // Two dtypes are promoted, when results are compared.
        sample: |g| {
            let (_, shapes) = g.broadcast(3, 0..=4);
            let mixed = g.purpose == Purpose::Forward && g.flip();
            let other = if mixed { g.pick(ALL) } else { g.dtype };
            Sample::new([
                g.values_as(DType::Bool, &shapes[0], NORMAL),
                g.values(&shapes[1], ANY),
                g.values_as(other, &shapes[2], ANY),
            ])
        },
        run: |x, _| vec![Tensor::where_(&x[0], &x[1], &x[2])],
        oracle: Oracle::Native,
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    where_with_numbers {
        dtypes: ALL,
        sample: |g| {
            let (_, shapes) = g.broadcast(2, 0..=4);
            Sample::new([g.values_as(DType::Bool, &shapes[0], NORMAL), g.values(&shapes[1], ANY)])
        },
        run: |x, _| vec![
            Tensor::where_(&x[0], &x[1], 3),
            Tensor::where_(&x[0], 0.5, &x[1]),
            Tensor::where_(&x[0], 1.0, 0.0),
        ],
        oracle: Oracle::Native,
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    lerp {
        dtypes: FLOATS,
        // The formula changes at a weight of one half; its value and derivative do not.
        sample: |g| three(g, [NORMAL, NORMAL, Fill::within(-0.5, 1.5)]),
        run: |x, _| vec![x[0].lerp(&x[1], &x[2])],
        oracle: Oracle::Each(|x| x[0] + x[2] * (x[1] - x[0])),
        tolerance: SUMS,
        kinks: &[super::Kink { inputs: &[&[1.0], &[2.0], &[0.5]], args: &[], grads: &[&[0.5], &[0.5], &[1.0]] }],
        order: 2,
    }
    lerp_by_a_number {
        dtypes: FLOATS,
        sample: |g| {
            let (_, shapes) = g.broadcast(2, 0..=4);
            Sample::new([g.values(&shapes[0], NORMAL), g.values(&shapes[1], NORMAL)])
        },
        run: |x, _| {
            let y = x[0].lerp(&x[1], 0.75);
            let written = in_place(&x[0], &y, |t| t.lerp_(&x[1], 0.75));
            vec![y, written]
        },
        oracle: Oracle::Each(|x| x[0] + 0.75 * (x[1] - x[0])),
        tolerance: SUMS,
        kinks: &[],
        order: 2,
    }
    addcmul {
        dtypes: FLOATS,
        sample: |g| three(g, [NORMAL; 3]),
        run: |x, _| {
            let y = x[0].addcmul(&x[1], &x[2], 0.5);
            let written = in_place(&x[0], &y, |t| t.addcmul_(&x[1], &x[2], 0.5));
            vec![y, written]
        },
        oracle: Oracle::Each(|x| x[0] + 0.5 * x[1] * x[2]),
        tolerance: SUMS,
        kinks: &[],
        order: 2,
    }
    addcdiv {
        dtypes: FLOATS,
        sample: |g| three(g, [NORMAL, NORMAL, POSITIVE]),
        run: |x, _| {
            let y = x[0].addcdiv(&x[1], &x[2], 0.5);
            let written = in_place(&x[0], &y, |t| t.addcdiv_(&x[1], &x[2], 0.5));
            vec![y, written]
        },
        oracle: Oracle::Each(|x| x[0] + 0.5 * x[1] / x[2]),
        tolerance: SUMS,
        kinks: &[],
        order: 2,
    }
    isclose {
        dtypes: NUMBERS,
        sample: |g| near(g),
        run: |x, _| vec![x[0].isclose(&x[1], 0.0625, 0.125, false)],
        oracle: Oracle::Each(|x| truth(close(x[0], x[1], false))),
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    isclose_with_equal_nan {
        dtypes: FLOATS,
        sample: |g| near(g),
        run: |x, _| vec![x[0].isclose(&x[1], 0.0625, 0.125, true)],
        oracle: Oracle::Each(|x| truth(close(x[0], x[1], true))),
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    // One answer each, here as a 0-d tensor.
    whole_comparisons {
        dtypes: NUMBERS,
        sample: |g| near(g),
        run: |x, _| {
            let answer = |yes: bool| Tensor::full((), yes, x[0].device());
            let flat = x[0].reshape([-1isize]);
            vec![
                answer(x[0].allclose(&x[1], 0.0625, 0.125, false)),
                answer(x[0].allclose(&x[1], 0.0625, 0.125, true)),
                answer(x[0].equal(&x[1])),
                answer(x[0].equal(&flat)),
                answer(x[0].equal(&x[0])),
            ]
        },
        oracle: Oracle::Values(|s| {
            let [a, b] = [0, 1].map(|i| super::plain::values(&s.inputs[i]));
            let every = |f: &dyn Fn(f64, f64) -> bool| vec![truth(a.iter().zip(&b).all(|(&a, &b)| f(a, b)))];
            let itself = a.iter().all(|a| !a.is_nan());
            vec![
                every(&|a, b| close(a, b, false)),
                every(&|a, b| close(a, b, true)),
                every(&|a, b| a == b),
                vec![truth(itself && s.inputs[0].shape.rank() == 1)],
                vec![truth(itself)],
            ]
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
}
