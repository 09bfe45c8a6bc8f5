//! Running values, ranks, distinct elements and places in order. The reference backend has their compositions;
//! that these are right is judged by PyTorch's answers, in conformance/tests/pytorch.rs.

use kiln_tensor_core::{DType, Interpolation, Scalar, Tensor};

use super::compared;
use crate::Host;
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, NUMBERS};
use crate::strategies::{DISTINCT, Fill, Gen, NORMAL, Purpose, Sample};

const EXACT: Tolerance = Tolerance::EXACT;
const SUMS: Tolerance = Tolerance::new(8.0, 8.0, "sums of numbers up to 4").stored(4.0);
const EXPONENTIALS: Tolerance =
    Tolerance::new(16.0, 4.0, "exponentials, sums and logarithms, one after the other").stored(1.0);
const TRAPEZOIDS: Tolerance = Tolerance::new(8.0, 64.0, "sums of products up to 8").stored(4.0);
const BETWEEN: Tolerance = Tolerance::new(8.0, 4.0, "between two numbers up to 4").stored(2.0);
const ALL: &[DType] = &DType::ALL;
const INTERPOLATIONS: [Interpolation; 5] = [
    Interpolation::Linear,
    Interpolation::Lower,
    Interpolation::Higher,
    Interpolation::Nearest,
    Interpolation::Midpoint,
];

/// A tensor with elements along one of its dims; that dim, and whether to keep it.
pub(super) fn along(g: &mut Gen, fill: Fill) -> Sample {
    let mut shape = g.shape(1..=3);
    let dim = g.below(shape.rank());
    shape[dim] = shape[dim].max(1);
    let signed = if g.flip() { dim as i64 } else { dim as i64 - shape.rank() as i64 };
    Sample::new([g.values(&shape, fill)]).with([signed, i64::from(g.flip())])
}

/// `along` with at least two elements there.
fn pairs(g: &mut Gen) -> Sample {
    let mut sample = along(g, NORMAL);
    let mut shape = sample.inputs[0].shape.clone();
    let rank = shape.rank() as i64;
    shape[(sample.args[0].rem_euclid(rank)) as usize] += 1;
    sample.inputs[0] = g.values(&shape, NORMAL);
    sample
}

/// With NaN here and there, where results are compared.
pub(super) fn unknown(g: &mut Gen, mut sample: Sample) -> Sample {
    if g.purpose == Purpose::Forward && sample.inputs[0].dtype.is_float() {
        for value in &mut sample.inputs[0].values {
            if g.below(4) == 0 {
                *value = Scalar::F64(f64::NAN);
            }
        }
    }
    sample
}

/// The elements of each row in order.
fn sorted(mut x: Host) -> Host {
    let n = x.shape[x.shape.rank() - 1].max(1);
    for row in x.values.chunks_mut(n) {
        row.sort_by(|a, b| a.to_f64().total_cmp(&b.to_f64()));
    }
    x
}

fn numbered(g: &mut Gen, fill: Fill) -> Sample {
    let count = if g.form == crate::Form::Empty { 0 } else { 1 + g.below(6) };
    let index = g.index(&[count].into(), 5);
    Sample::new([index, g.values(&[count].into(), fill)])
}

compared! { ($) ordered "ordered";
    cummax NUMBERS |g| along(g, DISTINCT); |x, a| {
        let (high, at) = x[0].cummax(a[0] as isize);
        let (low, place) = x[0].cummin(a[0] as isize);
        vec![high, at, low, place]
    }; EXACT 2;
    logcumsumexp FLOATS |g| along(g, NORMAL); |x, a| vec![x[0].logcumsumexp(a[0] as isize)]; EXPONENTIALS 2;
    diff ALL |g| along(g, NORMAL); |x, a| vec![x[0].diff(1, a[0] as isize), x[0].diff(2, a[0] as isize)]; SUMS 2;
    gradient FLOATS |g| pairs(g); |x, a| vec![x[0].gradient(0.5, a[0] as isize)]; SUMS 2;
    trapz FLOATS |g| along(g, NORMAL); |x, a| vec![x[0].trapz(0.5, a[0] as isize)]; TRAPEZOIDS 2;
    trapezoid FLOATS |g| {
            let mut sample = along(g, NORMAL);
            let shape = sample.inputs[0].shape.clone();
            let size = shape[sample.args[0].rem_euclid(shape.rank() as i64) as usize];
            sample.inputs.push(g.values(&[size].into(), NORMAL));
            sample
        };
        |x, a| {
            let dim = a[0] as isize;
            vec![
                x[0].trapezoid(0.5, dim),
                x[0].cumulative_trapezoid(0.5, dim),
                x[0].trapezoid(&x[1], dim),
                x[0].cumulative_trapezoid(&x[1], dim),
            ]
        };
        TRAPEZOIDS 2;
    quantile FLOATS |g| along(g, DISTINCT); |x, a| {
        let (dim, keep) = (a[0] as isize, a[1] != 0);
        let each = |between| x[0].quantiles(&[0.0, 0.35, 1.0], dim, keep, between);
        let mut all = vec![x[0].quantile(0.3, dim, keep)];
        all.extend(INTERPOLATIONS.map(each));
        all
    }; BETWEEN 2;
    nanquantile FLOATS |g| { let sample = along(g, DISTINCT); unknown(g, sample) }; |x, a| {
        let (dim, keep) = (a[0] as isize, a[1] != 0);
        let each = |between| x[0].nanquantiles(&[0.0, 0.375, 1.0], dim, keep, between);
        let mut all = vec![x[0].nanquantile(0.5, dim, keep)];
        all.extend(INTERPOLATIONS.map(each));
        all
    }; BETWEEN 2;
    kthvalue NUMBERS |g| {
            let mut sample = along(g, DISTINCT);
            let shape = &sample.inputs[0].shape;
            let size = shape[sample.args[0].rem_euclid(shape.rank() as i64) as usize];
            sample.args.push(1 + g.below(size) as i64);
            sample
        };
        |x, a| {
            let (values, at) = x[0].kthvalue(a[2] as usize, a[0] as isize, a[1] != 0);
            vec![values, at]
        };
        EXACT 2;
    nanmedian FLOATS |g| {
            let mut sample = along(g, DISTINCT);
            if sample.inputs[0].values.is_empty() { sample = Sample::new([g.values(&[1].into(), DISTINCT)]).with([0, 0]); }
            unknown(g, sample)
        };
        |x, a| {
            let (values, at) = x[0].nanmedian_dim(a[0] as isize, a[1] != 0);
            vec![values, at, x[0].nanmedian()]
        };
        EXACT 2;
    mode NUMBERS |g| along(g, DISTINCT); |x, a| {
        let (values, at) = x[0].mode(a[0] as isize, a[1] != 0);
        vec![values, at]
    }; EXACT 2;
    aminmax NUMBERS |g| {
            let mut sample = along(g, DISTINCT);
            if sample.inputs[0].values.is_empty() { sample = Sample::new([g.values(&[1].into(), DISTINCT)]).with([0, 0]); }
            sample
        };
        |x, a| {
            let (low, high) = x[0].aminmax_dim(a[0] as isize, a[1] != 0);
            let (least, most) = x[0].aminmax();
            vec![x[0].msort(), low, high, least, most]
        };
        EXACT 2;
    unique ALL |g| along(g, DISTINCT); |x, _a| {
        let (all, runs) = (x[0].unique_all(), x[0].unique_consecutive());
        vec![x[0].unique(), all.inverse, all.counts, runs.values, runs.inverse, runs.counts]
    }; EXACT 0;
    unique_dim ALL |g| along(g, Fill { spacing: 1.5, ..DISTINCT }); |x, a| {
        let (all, runs) = (x[0].unique_dim(a[0] as isize), x[0].unique_consecutive_dim(a[0] as isize));
        vec![all.values, all.inverse, all.counts, runs.values, runs.inverse, runs.counts]
    }; EXACT 0;
    searchsorted NUMBERS |g| {
            let shape = g.shape(1..=3);
            let values = g.values(&shape.with(shape.rank() - 1, 4), DISTINCT);
            let list = g.values(&shape, DISTINCT);
            Sample::new([sorted(list), values])
        };
        |x, _a| vec![x[0].searchsorted(&x[1], false), x[0].searchsorted(&x[1], true)];
        EXACT 0;
    bucketize NUMBERS |g| {
            let (size, shape) = (g.below(7), g.shape(0..=3));
            let list = g.values(&[size].into(), DISTINCT);
            Sample::new([sorted(list), g.values(&shape, DISTINCT)])
        };
        |x, _a| vec![x[1].bucketize(&x[0], false), x[1].bucketize(&x[0], true)];
        EXACT 0;
    isin NUMBERS |g| {
            let (shape, test) = (g.shape(0..=3), g.shape(0..=2));
            Sample::new([g.values(&shape, DISTINCT), g.values(&test, DISTINCT)])
        };
        |x, _a| vec![x[0].isin(&x[1])];
        EXACT 0;
    bincount FLOATS |g| numbered(g, NORMAL); |x, _a| {
        vec![x[0].bincount(None, 0), x[0].bincount(Some(&x[1]), 7)]
    }; SUMS 2;
    histc FLOATS |g| along(g, NORMAL); |x, _a| vec![x[0].histc(4, -1.0, 1.0)]; EXACT 0;
    histogram FLOATS |g| {
            let sample = along(g, NORMAL);
            let weight = g.values(&sample.inputs[0].shape.clone(), NORMAL);
            Sample::new([sample.inputs[0].clone(), weight])
        };
        |x, _a| {
            let (counts, edges) = x[0].histogram(4, Some((-1.0, 1.0)), None, false);
            let (sums, _) = x[0].histogram(4, Some((-2.0, 2.0)), Some(&x[1]), false);
            let (density, _) = x[0].detach().ones_like().histogram(2, Some((0.0, 2.0)), None, true);
            let uneven = Tensor::new([-2.0, -0.5, 0.0, 2.0], (x[0].device(), x[0].dtype()));
            vec![counts, edges, sums, density, x[0].histogram_between(&uneven, None, false)]
        };
        SUMS 0;
}
