//! Rust's operators: on tensors and numbers, borrowed and given up, and with assignment.
#![allow(clippy::possible_missing_comma, reason = "the operators are arguments of a macro")]

use kiln_tensor_core::{DType, Tensor};

use super::plain::values;
use super::{Oracle, make_rows};
use crate::Form;
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, INTS, NUMBERS};
use crate::strategies::{Fill, Gen, NORMAL, Sample};

const EXACT: Tolerance = Tolerance::EXACT;
const ROUNDED: Tolerance = Tolerance::ROUNDED;
const SUMS: Tolerance = Tolerance::new(4.0, 2.0, "a sum that cancels below 0");
const WHOLE: &[DType] = &[DType::I64, DType::I32, DType::I16, DType::I8, DType::U8, DType::Bool];

const ANY: Fill = NORMAL.special();
const NONZERO: Fill = Fill::within(0.4, 2.0).special().divisor();
/// Whose quotients by each other, and by 3 and of 3, are no integers.
const DIVIDEND: Fill = Fill::within(2.1, 2.4);
const DIVISOR: Fill = Fill::within(1.55, 1.9).divisor();

/// Two operands of one shape.
fn two(g: &mut Gen, left: Fill, right: Fill) -> Sample {
    let shape = g.shape(0..=4);
    Sample::new([g.values(&shape, left), g.values(&shape, right)])
}

/// Every element with its neighbour in the other operand.
fn each(sample: &Sample, f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let [a, b] = [0, 1].map(|i| values(&sample.inputs[i]));
    a.iter().zip(&b).map(|(&a, &b)| f(a, b)).collect()
}

/// Rows of operators: dtypes, what the operands hold, the formula, the tolerance, order. The last
/// result is the left operand, which is to be as it was: a tensor that somebody else holds is not
/// written to though it is given up.
macro_rules! operators {
    (($d:tt) $($name:ident $op:tt $assign:tt $dtypes:ident $left:ident $right:ident
        |$a:ident, $b:ident| $formula:expr, $tolerance:ident, $number:literal, [$($side:literal)?] $order:literal;)*
      @ { $($rest:tt)* }) => {
        make_rows! { ($d) operators "operators"; $($name {
            dtypes: $dtypes,
            sample: |g| two(g, $left, $right),
            run: |x, _| {
                let (a, b) = (&x[0], &x[1]);
                let mut assigned = a.copy() $op b;
                if assigned.dtype() == a.dtype() {
                    assigned = a.copy();
                    assigned $assign b;
                }
                let (given_up, held) = (a.copy(), a.copy());
                vec![
                    a $op b,
                    a $op b.clone(),
                    given_up $op b,
                    held.clone() $op b.clone(),
                    assigned,
                    a $op $number,
                    a.copy() $op $number,
                    $($side $op a, $side $op a.copy(),)?
                    held,
                ]
            },
            oracle: Oracle::Values(|s| {
                let f = |$a: f64, $b: f64| -> f64 { $formula };
                let mut all = vec![each(s, f); 5];
                all.extend(vec![each(s, |a, _| f(a, $number as f64)); 2]);
                $(all.extend(vec![each(s, |a, _| f($side as f64, a)); 2]);)?
                all.push(values(&s.inputs[0]));
                all
            }),
            tolerance: $tolerance,
            kinks: &[],
            order: $order,
        })* $($rest)* }
    };
}

operators! { ($)
    add + += NUMBERS ANY ANY |a, b| a + b, ROUNDED, 3, [3] 2;
    sub - -= NUMBERS ANY ANY |a, b| a - b, ROUNDED, 3, [3] 2;
    mul * *= NUMBERS ANY ANY |a, b| a * b, ROUNDED, 3, [3] 2;
    div / /= NUMBERS NONZERO NONZERO |a, b| a / b, ROUNDED, 3, [3] 2;
    remainder % %= NUMBERS DIVIDEND DIVISOR |a, b| a - b * (a / b).floor(), SUMS, 3, [3] 2;
    bitwise_and & &= INTS ANY ANY |a, b| (a as i64 & b as i64) as f64, EXACT, 6, [] 0;
    bitwise_or | |= INTS ANY ANY |a, b| (a as i64 | b as i64) as f64, EXACT, 6, [] 0;
    bitwise_xor ^ ^= INTS ANY ANY |a, b| (a as i64 ^ b as i64) as f64, EXACT, 6, [] 0;
    @ {
        float_numbers {
            dtypes: NUMBERS,
            sample: |g| two(g, NONZERO, NORMAL),
            run: |x, _| {
                let a = &x[0];
                vec![
                    a + 0.5, a.copy() + 0.5, 0.5 + a, 0.5 + a.copy(),
                    a - 0.5, a.copy() - 0.5, 0.5 - a, 0.5 - a.copy(),
                    a * 0.5, a.copy() * 0.5, 0.5 * a, 0.5 * a.copy(),
                    a / 0.5, a.copy() / 0.5, 0.5 / a, 0.5 / a.copy(),
                ]
            },
            oracle: Oracle::Values(|s| {
                let formulas: [fn(f64) -> f64; 8] = [
                    |a| a + 0.5, |a| 0.5 + a, |a| a - 0.5, |a| 0.5 - a,
                    |a| a * 0.5, |a| 0.5 * a, |a| a / 0.5, |a| 0.5 / a,
                ];
                formulas.iter().flat_map(|f| vec![each(s, |a, _| f(a)); 2]).collect()
            }),
            tolerance: ROUNDED,
            kinks: &[],
            order: 2,
        }
        neg {
            dtypes: NUMBERS,
            sample: |g| two(g, ANY, ANY),
            run: |x, _| vec![-&x[0], -x[0].copy()],
            oracle: Oracle::Values(|s| vec![each(s, |a, _| -a); 2]),
            tolerance: EXACT,
            kinks: &[],
            order: 2,
        }
        not {
            dtypes: WHOLE,
            sample: |g| two(g, ANY, ANY),
            run: |x, _| vec![!&x[0], !x[0].copy()],
            oracle: Oracle::Values(|s| {
                let bool = s.inputs[0].dtype == DType::Bool;
                vec![each(s, |a, _| if bool { 1.0 - a } else { !(a as i64) as f64 }); 2]
            }),
            tolerance: EXACT,
            kinks: &[],
            order: 0,
        }
        // A smaller right operand broadcasts; a smaller left one is given up in vain.
        broadcast {
            dtypes: FLOATS,
            sample: |g| {
                let shape = g.shape(1..=4);
                Sample::new([g.values(&shape, NORMAL), g.values(&shape.with(0, 1), NORMAL)])
            },
            run: |x, _| {
                let (a, b) = (&x[0], &x[1]);
                let mut assigned = a.copy();
                assigned -= b;
                vec![a.copy() - b, b.copy() - a, assigned]
            },
            oracle: Oracle::Reference,
            tolerance: ROUNDED,
            kinks: &[],
            order: 2,
        }
        // The right operand is the left one under another view.
        aliased {
            dtypes: FLOATS,
            sample: |g| {
                let n = if g.form == Form::Empty { 0 } else { 3 };
                Sample::new([g.values(&[n, n].into(), NORMAL)])
            },
            run: |x, _| {
                let mut own = x[0].copy();
                own += &own.clone();
                let transposed = x[0].copy();
                transposed.add_(transposed.t());
                let flipped = x[0].copy();
                flipped.copy_(&flipped.flip([0]));
                let squared = x[0].copy();
                squared.mul_(&squared);
                vec![own, transposed, flipped, squared]
            },
            oracle: Oracle::Values(|s| {
                let x = &s.inputs[0];
                let n = x.shape[0];
                let at = |i: usize, j: usize| x.get(&[i, j]).to_f64();
                let fill = |f: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
                    (0..n * n).map(|k| f(k / n, k % n)).collect()
                };
                vec![
                    fill(&|i, j| at(i, j) + at(i, j)),
                    fill(&|i, j| at(i, j) + at(j, i)),
                    fill(&|i, j| at(n - 1 - i, j)),
                    fill(&|i, j| at(i, j) * at(i, j)),
                ]
            }),
            tolerance: ROUNDED,
            kinks: &[],
            order: 2,
        }
        // Through views, with nothing recorded: what lies between the elements stays as it is.
        written_views {
            dtypes: NUMBERS,
            sample: |g| {
                let n = if g.form == Form::Empty { 0 } else { 5 };
                Sample::new([g.values(&[4, n].into(), NORMAL)])
            },
            run: |x, _| {
                let written = |write: fn(&Tensor<B>)| {
                    let whole = x[0].detach().copy();
                    write(&whole);
                    whole
                };
                vec![
                    written(|x| drop(x.t().narrow(1, 1, 2).add_(3))),
                    written(|x| drop(x.slice(0, None, None, 2).mul_(2))),
                    written(|x| drop(x.flip([0, 1]).select(0, 1).fill_(1))),
                ]
            },
            oracle: Oracle::Values(|s| {
                let x = &s.inputs[0];
                let each = |f: fn(usize, f64) -> f64| -> Vec<f64> {
                    let rows = x.values.len() / 4;
                    let element = |(k, v): (usize, &kiln_tensor_core::Scalar)| f(k / rows.max(1), v.to_f64());
                    x.values.iter().enumerate().map(element).collect()
                };
                vec![
                    each(|row, v| if row == 1 || row == 2 { v + 3.0 } else { v }),
                    each(|row, v| if row % 2 == 0 { v * 2.0 } else { v }),
                    each(|row, v| if row == 2 { 1.0 } else { v }),
                ]
            }),
            tolerance: ROUNDED,
            kinks: &[],
            order: 0,
        }
    }
}
