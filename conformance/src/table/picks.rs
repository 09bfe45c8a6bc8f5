//! Reading and writing by index along a dim, by mask, and in place, each against plain loops.

use kiln_tensor_core::{DType, ScatterOp, Shape, Tensor};

use super::plain::{Plain, at, moved, put, shaped, shaped_values, values, with};
use super::primitives::scattered;
use super::{Kink, Oracle, make_rows};
use crate::agree::Tolerance;
use crate::host::indices;
use crate::layouts::NUMBERS;
use crate::strategies::{DISTINCT, Fill, Gen, NORMAL, POSITIVE, Purpose, Sample};
use crate::{Form, Host};

const EXACT: Tolerance = Tolerance::EXACT;
const SUM: Tolerance = Tolerance::new(8.0, 16.0, "a sum of a few numbers").stored(8.0);
const PRODUCT: Tolerance = Tolerance::new(8.0, 0.0, "a product of a few numbers").stored(8.0);
const ALL: &[DType] = &DType::ALL;

/// Rows of ops by index: dtypes, what is drawn, the call, the results that are right, tolerance, order.
macro_rules! picks {
    (($d:tt) $($name:ident $dtypes:ident |$g:ident| $sample:expr; |$x:ident, $a:ident| $call:expr;
        |$h:ident, $args:ident| $right:expr; $tolerance:ident $order:literal;)* @ { $($rest:tt)* }) => {
        make_rows! { ($d) picks "picks";
            $($name {
                dtypes: $dtypes,
                sample: |$g| $sample,
                run: |$x, $a| shaped(vec![$call]),
                oracle: Oracle::Values(|s| {
                    let ($h, $args) = (&s.inputs, &s.args[..]);
                    shaped_values(vec![$right])
                }),
                tolerance: $tolerance,
                kinks: &[],
                order: $order,
            })*
            $($rest)*
        }
    };
}

/// The operands of `scatter`, the dim now and then counted from the end, the source longer than the
/// index.
pub(super) fn scatter(g: &mut Gen, fill: Fill) -> Sample {
    let mut sample = scattered(g, fill, g.purpose == Purpose::Gradient);
    let src = &sample.inputs[2].shape;
    let longer: Shape = src.iter().map(|&n| n + g.below(2)).collect();
    sample.inputs[2] = g.values(&longer, Fill { offset: 0.8, ..fill });
    signed(g, sample)
}

/// The dim counted from the end as often as not.
fn signed(g: &mut Gen, mut sample: Sample) -> Sample {
    if g.flip() {
        sample.args[0] -= sample.inputs[0].shape.rank() as i64;
    }
    sample
}

/// What writing each value of `src` to the place that the index names gives.
fn scattered_by(h: &[Host], dim: i64, f: fn(f64, f64) -> f64) -> Plain {
    written(h, dim, |_, i| h[2].get(i).to_f64(), f)
}

fn written(
    h: &[Host],
    dim: i64,
    value: impl Fn(usize, &[usize]) -> f64,
    f: fn(f64, f64) -> f64,
) -> Plain {
    let (x, index) = (&h[0], &h[1]);
    let dim = at(dim, x.shape.rank());
    let mut out = values(x);
    for (k, i) in indices(&index.shape).iter().enumerate() {
        let to = place(&x.shape, &put(i, dim, index.get(i).to_i64() as usize));
        out[to] = f(out[to], value(k, i));
    }
    (x.shape.clone(), out)
}

/// The row-major number of an element.
fn place(shape: &Shape, index: &[usize]) -> usize {
    index.iter().zip(&shape[..]).fold(0, |at, (&i, &n)| at * n + i)
}

/// A tensor, a list of some of the positions of a dim, and a source of one slice for each.
pub(super) fn listed(g: &mut Gen, fill: Fill, unique: bool) -> Sample {
    let shape = g.nonempty(1..=4);
    let dim = g.below(shape.rank());
    let mut places: Vec<i64> = (0..shape[dim] as i64).collect();
    places = g.shuffled(&places);
    if unique && g.form == Form::Expanded {
        places.truncate(1);
    } else if !unique {
        let again = g.pick(&places);
        places.push(again);
    }
    let count = if g.form == Form::Empty { 0 } else { 1 + g.below(places.len()) };
    let index = Host::indices([count], &places[..count]);
    let src = g.values(&shape.with(dim, count), Fill { offset: 0.8, ..fill });
    let sample = Sample::new([g.values(&shape, fill), index, src]).with([dim as i64]);
    signed(g, sample)
}

/// What is left of a sample's operands but the last.
fn but_last(mut sample: Sample) -> Sample {
    sample.inputs.pop();
    sample
}

/// The slices that a list names, each combined with `value`.
fn listed_by(
    h: &[Host],
    dim: i64,
    value: impl Fn(&[usize]) -> f64,
    f: fn(f64, f64) -> f64,
) -> Plain {
    let (x, list) = (&h[0], &h[1]);
    let dim = at(dim, x.shape.rank());
    let mut out = values(x);
    for i in indices(&x.shape.with(dim, list.values.len())) {
        let to = place(&x.shape, &put(&i, dim, list.values[i[dim]].to_i64() as usize));
        out[to] = f(out[to], value(&i));
    }
    (x.shape.clone(), out)
}

/// A tensor, and a mask that broadcasts to it; both ways where `either` may be the larger.
fn masked(g: &mut Gen, either: bool) -> Sample {
    let (whole, shapes) = g.broadcast(2, 0..=4);
    let x = if either { shapes[0].clone() } else { whole };
    Sample::new([g.values(&x, NORMAL), g.values_as(DType::Bool, &shapes[1], NORMAL)])
}

/// The element of `x`, broadcast, at `i`.
fn broadcast(x: &Host, i: &[usize]) -> f64 {
    let own = &i[i.len() - x.shape.rank()..];
    x.get(&own.iter().zip(&x.shape[..]).map(|(&i, &n)| i.min(n - 1)).collect::<Vec<_>>()).to_f64()
}

/// `f` of the elements and mask of a sample, broadcast, in row-major order.
fn by_mask(h: &[Host], mut f: impl FnMut(f64, bool) -> f64) -> Plain {
    let shape = h[0].shape.broadcast(&h[1].shape).expect("they were made to broadcast");
    let element = |i: &Vec<usize>| f(broadcast(&h[0], i), broadcast(&h[1], i) != 0.0);
    let values = indices(&shape).iter().map(element).collect();
    (shape, values)
}

fn last(_: f64, new: f64) -> f64 {
    new
}

fn plus(a: f64, b: f64) -> f64 {
    a + b
}

/// A number that every dtype holds.
const SEVEN: f64 = 7.0;

picks! { ($)
    gather ALL |g| { let sample = scattered(g, NORMAL, false); signed(g, but_last(sample)) };
        |x, a| x[0].gather(a[0] as isize, &x[1]);
        |h, a| {
            let dim = at(a[0], h[0].shape.rank());
            moved(&h[0], h[1].shape.clone(), |i| put(i, dim, h[1].get(i).to_i64() as usize))
        };
        EXACT 2;
    scatter ALL |g| scatter(g, NORMAL);
        |x, a| x[0].scatter(a[0] as isize, &x[1], &x[2]);
        |h, a| scattered_by(h, a[0], last);
        EXACT 2;
    scatter_ ALL |g| scatter(g, NORMAL);
        |x, a| x[0].copy().scatter_(a[0] as isize, &x[1], &x[2]);
        |h, a| scattered_by(h, a[0], last);
        EXACT 2;
    scatter_value ALL |g| { let sample = scattered(g, NORMAL, false); signed(g, but_last(sample)) };
        |x, a| x[0].scatter_value(a[0] as isize, &x[1], SEVEN);
        |h, a| written(h, a[0], |_, _| SEVEN, last);
        EXACT 2;
    scatter_add NUMBERS |g| scatter(g, NORMAL);
        |x, a| x[0].scatter_add(a[0] as isize, &x[1], &x[2]);
        |h, a| scattered_by(h, a[0], plus);
        SUM 2;
    scatter_add_ NUMBERS |g| scatter(g, NORMAL);
        |x, a| x[0].copy().scatter_add_(a[0] as isize, &x[1], &x[2]);
        |h, a| scattered_by(h, a[0], plus);
        SUM 2;
    // It has no derivative rule, and says so in backward: nothing is recorded here.
    scatter_multiplied NUMBERS |g| scatter(g, POSITIVE);
        |x, a| x[0].detach().scatter_reduce(ScatterOp::Mul, a[0] as isize, &x[1], &x[2].detach());
        |h, a| scattered_by(h, a[0], |a, b| a * b);
        PRODUCT 0;
    index_select ALL |g| { let sample = listed(g, NORMAL, false); but_last(sample) };
        |x, a| x[0].index_select(a[0] as isize, &x[1]);
        |h, a| {
            let (dim, list) = (at(a[0], h[0].shape.rank()), &h[1].values);
            let to = h[0].shape.with(dim, list.len());
            moved(&h[0], to, |i| put(i, dim, list[i[dim]].to_i64() as usize))
        };
        EXACT 2;
    index_add NUMBERS |g| listed(g, NORMAL, false);
        |x, a| x[0].index_add(a[0] as isize, &x[1], &x[2]);
        |h, a| listed_by(h, a[0], |i| h[2].get(i).to_f64(), plus);
        SUM 2;
    index_copy ALL |g| listed(g, NORMAL, true);
        |x, a| x[0].index_copy(a[0] as isize, &x[1], &x[2]);
        |h, a| listed_by(h, a[0], |i| h[2].get(i).to_f64(), last);
        EXACT 2;
    index_fill ALL |g| { let sample = listed(g, NORMAL, false); but_last(sample) };
        |x, a| x[0].index_fill(a[0] as isize, &x[1], SEVEN);
        |h, a| listed_by(h, a[0], |_| SEVEN, last);
        EXACT 2;
    take_along_dim ALL |g| {
            let sample = scattered(g, NORMAL, false);
            let (x, index) = (&sample.inputs[0].shape, &sample.inputs[1].shape);
            // The other dims of one broadcast to the other's.
            let dim = sample.args[0] as usize;
            let alone = |d: usize| if d == dim { index[d] } else { 1 };
            let narrow: Shape = (0..x.rank()).map(alone).collect();
            let whole: Shape = x.with(dim, index[dim]);
            let shape = if g.flip() { narrow } else { whole };
            let index = g.index(&shape, x[dim]);
            signed(g, Sample::new([sample.inputs[0].clone(), index]).with(sample.args))
        };
        |x, a| x[0].take_along_dim(&x[1], a[0] as isize);
        |h, a| {
            let dim = at(a[0], h[0].shape.rank());
            let to = h[0].shape.with(dim, h[1].shape[dim]);
            moved(&h[0], to, |i| put(i, dim, broadcast(&h[1], i) as usize))
        };
        EXACT 2;
    take ALL |g| {
            let shape = g.nonempty(0..=4);
            let to = g.shape(0..=2);
            let index = g.index(&to, shape.numel());
            Sample::new([g.values(&shape, NORMAL), index])
        };
        |x, _a| x[0].take(&x[1]);
        |h, _a| (h[1].shape.clone(), values(&h[1]).iter().map(|&k| h[0].values[k as usize].to_f64()).collect());
        EXACT 2;
    masked_select ALL |g| masked(g, true);
        |x, _a| x[0].masked_select(&x[1]);
        |h, _a| {
            let mut kept = Vec::new();
            by_mask(h, |x, keep| {
                kept.extend(keep.then_some(x));
                x
            });
            (Shape::from([kept.len()]), kept)
        };
        EXACT 2;
    masked_scatter ALL |g| {
            let mut sample = masked(g, false);
            let src = sample.inputs[0].shape.clone();
            sample.inputs.push(g.values(&src, NORMAL));
            sample
        };
        |x, _a| x[0].masked_scatter(&x[1], &x[2]);
        |h, _a| {
            let mut left = values(&h[2]).into_iter();
            by_mask(h, |x, replace| if replace { left.next().unwrap_or(x) } else { x })
        };
        EXACT 2;
    masked_fill ALL |g| masked(g, true);
        |x, _a| x[0].masked_fill(&x[1], true);
        |h, _a| by_mask(h, |x, fill| if fill { 1.0 } else { x });
        EXACT 2;
    masked_fill_ ALL |g| masked(g, false);
        |x, _a| x[0].copy().masked_fill_(&x[1], true);
        |h, _a| by_mask(h, |x, fill| if fill { 1.0 } else { x });
        EXACT 2;
    nonzero ALL |g| {
            let shape = g.shape(0..=4);
            Sample::new([g.values(&shape, DISTINCT.special())])
        };
        |x, _a| x[0].nonzero();
        |h, _a| {
            let all = indices(&h[0].shape);
            let found: Vec<_> = all.iter().filter(|i| h[0].get(i).to_bool()).collect();
            let places = found.iter().flat_map(|i| i.iter().map(|&i| i as f64)).collect();
            (Shape::from([found.len(), h[0].shape.rank()]), places)
        };
        EXACT 0;
    // Written through a view, which the whole shows; a write that is recorded is refused there.
    fill_ ALL |g| with(g, 1..=4, |g, s| vec![g.below(s[0] + 1) as i64]);
        |x, a| {
            let x = x[0].detach().copy();
            x.narrow(0, 0, a[0] as usize).fill_(1);
            x
        };
        |h, a| {
            let x = &h[0];
            let element = |i: &Vec<usize>| if i[0] < a[0] as usize { 1.0 } else { x.get(i).to_f64() };
            (x.shape.clone(), indices(&x.shape).iter().map(element).collect())
        };
        EXACT 0;
    zero_ ALL |g| with(g, 0..=4, |_, _| vec![]);
        |x, _a| x[0].copy().zero_();
        |h, _a| (h[0].shape.clone(), vec![0.0; h[0].values.len()]);
        EXACT 2;
    @ {
        // The index is an argument, so that ties have exact rows. Equal elements share the gradient.
        scatter_largest {
            dtypes: NUMBERS,
            sample: |g| scattered_list(g),
            run: |x, a| shaped(vec![extreme(ScatterOp::Max, x, a)]),
            oracle: Oracle::Values(|s| vec![extreme_values(s, f64::max), vec![s.inputs[0].values.len() as f64]]),
            tolerance: EXACT,
            kinks: &[
                Kink { inputs: &[&[1.0, 2.0], &[3.0, 3.0]], args: &[0, 0], grads: &[&[0.0, 1.0], &[0.5, 0.5]] },
                Kink { inputs: &[&[1.0, 2.0], &[1.0, 0.0]], args: &[0, 0], grads: &[&[0.5, 1.0], &[0.5, 0.0]] },
            ],
            order: 2,
        }
        scatter_smallest {
            dtypes: NUMBERS,
            sample: |g| scattered_list(g),
            run: |x, a| shaped(vec![extreme(ScatterOp::Min, x, a)]),
            oracle: Oracle::Values(|s| vec![extreme_values(s, f64::min), vec![s.inputs[0].values.len() as f64]]),
            tolerance: EXACT,
            kinks: &[
                Kink { inputs: &[&[1.0, 2.0], &[0.0, 0.0]], args: &[0, 0], grads: &[&[0.0, 1.0], &[0.5, 0.5]] },
                Kink { inputs: &[&[1.0, 2.0], &[1.0, 3.0]], args: &[0, 0], grads: &[&[0.5, 1.0], &[0.5, 0.0]] },
            ],
            order: 2,
        }
    }
}

/// A list of elements, another of values, and where each goes.
fn scattered_list(g: &mut Gen) -> Sample {
    let (n, count) = (1 + g.below(4), if g.form == Form::Empty { 0 } else { 1 + g.below(5) });
    let places: Vec<i64> = (0..count).map(|_| g.below(n) as i64).collect();
    let values = [
        g.values(&[n].into(), DISTINCT),
        g.values(&[count].into(), Fill { offset: 0.8, ..DISTINCT }),
    ];
    Sample::new(values).with(places)
}

fn extreme<B: kiln_tensor_core::Backend>(
    op: ScatterOp,
    x: &[Tensor<B>],
    places: &[i64],
) -> Tensor<B> {
    let index = Tensor::from_slice(places, places.len(), x[0].device());
    x[0].scatter_reduce(op, 0, &index, &x[1])
}

fn extreme_values(s: &Sample, f: fn(f64, f64) -> f64) -> Vec<f64> {
    let mut out = values(&s.inputs[0]);
    for (&to, value) in s.args.iter().zip(values(&s.inputs[1])) {
        out[to as usize] = f(out[to as usize], value);
    }
    out
}
