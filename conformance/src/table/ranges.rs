//! Tensors made of positions: ranges, the identity, triangles, one-hot codes. An operand says where and
//! of which dtype.

use kiln_tensor_core::{DType, Shape, Tensor};

use super::plain::{Plain, shaped, shaped_values, with};
use super::{Oracle, make_rows};
use crate::Host;
use crate::agree::Tolerance;
use crate::host::indices;
use crate::layouts::{FLOATS, NUMBERS};
use crate::strategies::{Gen, NORMAL, Sample};

const EXACT: Tolerance = Tolerance::EXACT;
const ALL: &[DType] = &DType::ALL;
const WHOLE: &[DType] = &[DType::I64];

/// An operand that lends its dtype, and arguments.
fn made(g: &mut Gen, args: &[i64]) -> Sample {
    Sample::new([g.values(&[1].into(), NORMAL)]).with(args)
}

/// The numbers from `start` before `end`, walking by `step`.
fn walk(start: i64, end: i64, step: i64) -> Vec<f64> {
    let onwards = |&at: &i64| if step > 0 { at < end } else { at > end };
    std::iter::successors(Some(start), |at| Some(at + step))
        .take_while(onwards)
        .map(|at| at as f64)
        .collect()
}

fn list(values: Vec<f64>) -> Plain {
    (Shape::from([values.len()]), values)
}

/// The elements of the last two dims where `keep(row, column)`, zeros elsewhere.
fn triangle(x: &Host, keep: impl Fn(i64, i64) -> bool) -> Plain {
    let element = |i: &Vec<usize>| {
        let [row, col] = [2, 1].map(|k| i[i.len() - k] as i64);
        if keep(row, col) { x.get(i).to_f64() } else { 0.0 }
    };
    (x.shape.clone(), indices(&x.shape).iter().map(element).collect())
}

make_rows! { ($) ranges "ranges";
    arange {
        dtypes: NUMBERS,
        sample: |g| {
            // Numbers that u8 holds.
            let (low, count, step) = (g.below(5) as i64, g.below(9) as i64, 1 + g.below(3) as i64);
            made(g, &[low, low + count, step])
        },
        run: |x, a| {
            let like = (x[0].device(), x[0].dtype());
            let [low, high, step] = [a[0], a[1], a[2]];
            shaped(vec![
                Tensor::arange(high, like),
                Tensor::arange(low..high, like),
                Tensor::arange((low, high, step), like),
                Tensor::arange((high, low, -step), like),
                Tensor::arange(high, x[0].device()),
                Tensor::arange(high as f32, x[0].device()),
            ])
        },
        oracle: Oracle::Values(|s| {
            let [low, high, step] = [s.args[0], s.args[1], s.args[2]];
            let whole = walk(0, high, 1);
            shaped_values(vec![
                list(whole.clone()),
                list(walk(low, high, 1)),
                list(walk(low, high, step)),
                list(walk(high, low, -step)),
                list(whole.clone()),
                list(whole),
            ])
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    // In quarters, which are exact.
    arange_of_fractions {
        dtypes: FLOATS,
        sample: |g| {
            let (low, count, step) = (g.below(9) as i64 - 4, g.below(20) as i64, 1 + g.below(5) as i64);
            made(g, &[low, low + count, step])
        },
        run: |x, a| {
            let [low, high, step] = [a[0], a[1], a[2]].map(|n| n as f64 / 4.0);
            shaped(vec![Tensor::arange((low, high, step), (x[0].device(), x[0].dtype()))])
        },
        oracle: Oracle::Values(|s| {
            let quarters = walk(s.args[0], s.args[1], s.args[2]);
            shaped_values(vec![list(quarters.iter().map(|n| n / 4.0).collect())])
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    linspace {
        dtypes: FLOATS,
        sample: |g| {
            let (from, to, steps) = (g.below(9) as i64 - 4, g.below(9) as i64 - 4, g.below(12) as i64);
            made(g, &[from, to, steps])
        },
        run: |x, a| {
            let like = (x[0].device(), x[0].dtype());
            shaped(vec![Tensor::linspace(a[0] as f64, a[1] as f64, a[2] as usize, like)])
        },
        oracle: Oracle::Values(|s| {
            let [from, to, steps] = [0, 1, 2].map(|k| s.args[k] as f64);
            let step = (to - from) / (steps - 1.0).max(1.0);
            shaped_values(vec![list((0..s.args[2]).map(|i| from + step * i as f64).collect())])
        }),
        tolerance: Tolerance::new(2.0, 8.0, "a step, its multiple and a sum are rounded"),
        kinks: &[],
        order: 0,
    }
    eye {
        dtypes: ALL,
        sample: |g| {
            let sizes = [g.below(5) as i64, g.below(5) as i64];
            made(g, &sizes)
        },
        run: |x, a| {
            let like = (x[0].device(), x[0].dtype());
            let [rows, cols] = [a[0] as usize, a[1] as usize];
            shaped(vec![Tensor::eye([rows, cols], like), Tensor::eye(rows, like)])
        },
        oracle: Oracle::Values(|s| {
            let eye = |rows: i64, cols: i64| {
                let on = |k: i64| f64::from(u8::from(k / cols == k % cols));
                (Shape::from([rows as usize, cols as usize]), (0..rows * cols).map(on).collect())
            };
            shaped_values(vec![eye(s.args[0], s.args[1]), eye(s.args[0], s.args[0])])
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    tril {
        dtypes: ALL,
        sample: |g| with(g, 2..=4, |g, _| vec![g.below(7) as i64 - 3]),
        run: |x, a| shaped(vec![x[0].tril(a[0] as isize)]),
        oracle: Oracle::Values(|s| {
            shaped_values(vec![triangle(&s.inputs[0], |row, col| col - row <= s.args[0])])
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    triu {
        dtypes: ALL,
        sample: |g| with(g, 2..=4, |g, _| vec![g.below(7) as i64 - 3]),
        run: |x, a| shaped(vec![x[0].triu(a[0] as isize)]),
        oracle: Oracle::Values(|s| {
            shaped_values(vec![triangle(&s.inputs[0], |row, col| col - row >= s.args[0])])
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    one_hot {
        dtypes: WHOLE,
        sample: |g| {
            let (shape, classes) = (g.shape(0..=3), 1 + g.below(5));
            Sample::new([g.index(&shape, classes)]).with([classes as i64])
        },
        run: |x, a| shaped(vec![x[0].one_hot(a[0] as usize)]),
        oracle: Oracle::Values(|s| {
            let x = &s.inputs[0];
            let mut to = x.shape.clone();
            to.push(s.args[0] as usize);
            let class = |v: &kiln_tensor_core::Scalar| {
                let class = v.to_i64();
                (0..s.args[0]).map(move |c| f64::from(u8::from(c == class)))
            };
            shaped_values(vec![(to, x.values.iter().flat_map(class).collect())])
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
}
