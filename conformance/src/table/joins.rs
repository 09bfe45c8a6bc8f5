//! Tensors joined, cut into parts, repeated and padded, each against the place that an element comes
//! from.

use kiln_tensor_core::{DType, PadMode, Shape, Tensor};

use super::plain::{Plain, at, moved, put, shaped, shaped_values, sizes, with, with_dim};
use super::{Oracle, make_rows};
use crate::Host;
use crate::agree::Tolerance;
use crate::layouts::NUMBERS;
use crate::strategies::{Gen, NORMAL, Purpose, Sample};

const ALL: &[DType] = &DType::ALL;

/// Rows of ops that only move elements: what is drawn, the call, and the results that are right.
macro_rules! joins {
    (($d:tt) $($name:ident |$g:ident| $sample:expr; |$x:ident, $a:ident| $call:expr;
        |$h:ident, $args:ident| $right:expr;)*) => {
        make_rows! { ($d) joins "joins";
            $($name {
                dtypes: ALL,
                sample: |$g| $sample,
                run: |$x, $a| shaped($call),
                oracle: Oracle::Values(|s| {
                    let ($h, $args) = (&s.inputs, &s.args[..]);
                    shaped_values($right)
                }),
                tolerance: Tolerance::EXACT,
                kinks: &[],
                order: 2,
            })*
        }
    };
}

/// Several operands, now and then of dtypes to be promoted.
fn several(g: &mut Gen, shapes: Vec<Shape>, args: Vec<i64>) -> Sample {
    let mixed = g.purpose == Purpose::Forward && g.dtype != DType::Bool && g.below(3) == 0;
    let operand = |shape: &Shape| {
        let dtype = if mixed { g.pick(NUMBERS) } else { g.dtype };
        g.values_as(dtype, shape, NORMAL)
    };
    Sample::new(shapes.iter().map(operand).collect::<Vec<_>>()).with(args)
}

/// Operands end to end along `dim`; those of shape `[0]` do not count.
fn joined(h: &[Host], dim: i64) -> Plain {
    let counted: Vec<&Host> = h.iter().filter(|x| *x.shape != [0]).collect();
    let Some(first) = counted.first() else { return (Shape::from([0]), vec![]) };
    let dim = at(dim, first.shape.rank());
    let places: Vec<(usize, usize)> =
        (0..counted.len()).flat_map(|k| (0..counted[k].shape[dim]).map(move |i| (k, i))).collect();
    let to = first.shape.with(dim, places.len());
    let element = |i: &Vec<usize>| {
        let (k, own) = places[i[dim]];
        counted[k].get(&put(i, dim, own)).to_f64()
    };
    let values = crate::host::indices(&to).iter().map(element).collect();
    (to, values)
}

/// Parts of some sizes along a dim.
fn parts(x: &Host, dim: i64, sizes: &[usize]) -> Vec<Plain> {
    let dim = at(dim, x.shape.rank());
    let starts = sizes.iter().scan(0, |start, &len| {
        *start += len;
        Some(*start - len)
    });
    let part = |(start, &len)| moved(x, x.shape.with(dim, len), |i| put(i, dim, i[dim] + start));
    starts.zip(sizes).map(part).collect()
}

/// `size` as often as it goes into `n`, then what is left.
fn pieces(n: usize, size: usize) -> Vec<usize> {
    let mut sizes = vec![size; n / size];
    sizes.extend((!n.is_multiple_of(size) || n == 0).then_some(n % size));
    sizes
}

/// Repeats of the dims, with `lead` new ones.
fn repeated(x: &Host, counts: &[i64]) -> Plain {
    let lead = counts.len() - x.shape.rank();
    let sizes = [&vec![1; lead], &x.shape[..]].concat();
    let to = counts.iter().zip(&sizes).map(|(&n, &size)| n as usize * size).collect();
    moved(x, to, |i| (lead..i.len()).map(|d| i[d] % sizes[d]).collect())
}

/// Counts for each of so many dims; none for gradients, which flow through elements.
fn counts(g: &mut Gen, dims: usize) -> Vec<i64> {
    let least = usize::from(g.purpose == Purpose::Gradient);
    (0..dims).map(|_| (least + g.below(3)) as i64).collect()
}

/// The room of a padding: how much more each mode may add than there is.
fn padding(g: &mut Gen, mode: PadMode) -> Sample {
    let mut shape = g.shape(1..=4);
    let pairs = 1 + g.below(shape.rank().min(3));
    let mut args = Vec::new();
    for dim in (shape.rank() - pairs..shape.rank()).rev() {
        let constant = matches!(mode, PadMode::Constant(_));
        if !constant {
            // Elements to take from; one is enough unless it may not be repeated.
            shape[dim] = shape[dim].max(1);
        }
        let most = match mode {
            PadMode::Reflect => shape[dim] - 1,
            PadMode::Circular => shape[dim],
            _ => 3,
        };
        let cut = shape[dim].min(2);
        let before = if g.below(4) == 0 {
            -(g.below(cut + 1) as i64)
        } else {
            g.below(most.min(3) + 1) as i64
        };
        let left = shape[dim] as i64 + before.min(0);
        let after = if g.below(4) == 0 {
            -(g.below(left as usize + 1) as i64).min(1)
        } else {
            g.below(most.min(3) + 1) as i64
        };
        args.extend([before, after]);
    }
    Sample::new([g.values(&shape, NORMAL)]).with(args)
}

/// What padding gives; `from` says where an element outside of `n` comes from.
fn padded(x: &Host, pad: &[i64], from: fn(i64, i64) -> Option<i64>) -> Plain {
    let rank = x.shape.rank();
    let pair = |d: usize| {
        let k = 2 * (rank - 1 - d);
        if k < pad.len() { (pad[k], pad[k + 1]) } else { (0, 0) }
    };
    let to: Shape =
        (0..rank).map(|d| (x.shape[d] as i64 + pair(d).0 + pair(d).1) as usize).collect();
    let element = |i: &Vec<usize>| {
        let source: Option<Vec<usize>> = (0..rank)
            .map(|d| {
                let (place, n) = (i[d] as i64 - pair(d).0, x.shape[d] as i64);
                let inside = (0..n).contains(&place);
                let place = if inside { Some(place) } else { from(place, n) };
                place.map(|p| p as usize)
            })
            .collect();
        source.map_or(PADDING, |at| x.get(&at).to_f64())
    };
    let values = crate::host::indices(&to).iter().map(element).collect();
    (to, values)
}

/// What a constant padding holds.
const PADDING: f64 = 1.0;

joins! { ($)
    // With an operand without dims to speak of, which is passed over.
    cat |g| {
            let shape = g.shape(1..=4);
            let dim = g.below(shape.rank());
            let mut shapes = vec![shape.clone(), shape.with(dim, 0), shape.with(dim, 1 + g.below(3))];
            if g.flip() {
                shapes.insert(g.below(3), Shape::from([0]));
            }
            let signed = if g.flip() { dim as i64 } else { dim as i64 - shape.rank() as i64 };
            several(g, shapes, vec![signed])
        };
        |x, a| vec![Tensor::cat(x, a[0] as isize)];
        |h, a| vec![joined(h, a[0])];
    stack |g| {
            let shape = g.shape(0..=3);
            let dim = g.dim(shape.rank() + 1);
            let count = 1 + g.below(3);
            several(g, vec![shape; count], vec![dim])
        };
        |x, a| vec![Tensor::stack(x, a[0] as isize)];
        |h, a| {
            let dim = at(a[0], h[0].shape.rank() + 1);
            let mut to = h[0].shape.clone();
            to.insert(dim, h.len());
            let element = |i: &Vec<usize>| {
                let mut own = i.clone();
                h[own.remove(dim)].get(&own).to_f64()
            };
            let values = crate::host::indices(&to).iter().map(element).collect();
            vec![(to, values)]
        };
    split |g| with(g, 1..=4, |g, s| vec![g.dim(s.rank()), 1 + g.below(3) as i64]);
        |x, a| x[0].split(a[1] as usize, a[0] as isize);
        |h, a| {
            let n = h[0].shape[at(a[0], h[0].shape.rank())];
            parts(&h[0], a[0], &pieces(n, a[1] as usize))
        };
    split_sizes |g| with_dim(g, 1..=4, |g, s, d| {
            let first = g.below(s[d] + 1) as i64;
            vec![first, 0, s[d] as i64 - first]
        });
        |x, a| {
            let sizes: Vec<usize> = a[1..].iter().map(|&n| n as usize).collect();
            x[0].split_sizes(&sizes, a[0] as isize)
        };
        |h, a| parts(&h[0], a[0], &a[1..].iter().map(|&n| n as usize).collect::<Vec<_>>());
    chunk |g| with(g, 1..=4, |g, s| vec![g.dim(s.rank()), 1 + g.below(4) as i64]);
        |x, a| x[0].chunk(a[1] as usize, a[0] as isize);
        |h, a| match h[0].shape[at(a[0], h[0].shape.rank())] {
            0 => parts(&h[0], a[0], &vec![0; a[1] as usize]),
            n => parts(&h[0], a[0], &pieces(n, n.div_ceil(a[1] as usize))),
        };
    unbind |g| with_dim(g, 1..=4, |_, _, _| vec![]);
        |x, a| x[0].unbind(a[0] as isize);
        |h, a| {
            let dim = at(a[0], h[0].shape.rank());
            let slice = |(mut shape, values): Plain| {
                shape.remove(dim);
                (shape, values)
            };
            parts(&h[0], a[0], &vec![1; h[0].shape[dim]]).into_iter().map(slice).collect()
        };
    repeat |g| with(g, 0..=3, |g, s| { let lead = g.below(2); counts(g, s.rank() + lead) });
        |x, a| vec![x[0].repeat(a.iter().map(|&n| n as usize).collect::<Vec<_>>())];
        |h, a| vec![repeated(&h[0], a)];
    tile |g| with(g, 0..=3, |g, s| { let count = g.below(s.rank() + 2); counts(g, count) });
        |x, a| vec![x[0].tile(a.iter().map(|&n| n as usize).collect::<Vec<_>>())];
        |h, a| {
            let missing = h[0].shape.rank().saturating_sub(a.len());
            vec![repeated(&h[0], &[&vec![1; missing], a].concat())]
        };
    repeat_interleave |g| with(g, 1..=4, |g, s| vec![g.dim(s.rank()), counts(g, 1)[0]]);
        |x, a| vec![x[0].repeat_interleave(a[1] as usize, a[0] as isize)];
        |h, a| {
            let (dim, count) = (at(a[0], h[0].shape.rank()), a[1] as usize);
            let to = h[0].shape.with(dim, h[0].shape[dim] * count);
            vec![moved(&h[0], to, |i| put(i, dim, i[dim] / count))]
        };
    // Two dims; the same one twice adds its shifts up.
    roll |g| with(g, 1..=4, |g, s| {
            let shift = |g: &mut Gen| g.below(15) as i64 - 7;
            vec![g.dim(s.rank()), shift(g), g.dim(s.rank()), shift(g)]
        });
        |x, a| vec![x[0].roll(sizes(&[a[1], a[3]]), sizes(&[a[0], a[2]]))];
        |h, a| {
            let shape = h[0].shape.clone();
            let [first, second] = [a[0], a[2]].map(|d| at(d, shape.rank()));
            vec![moved(&h[0], shape.clone(), |i| {
                let mut from = i.to_vec();
                for (dim, shift) in [(first, a[1]), (second, a[3])] {
                    from[dim] = (from[dim] as i64 - shift).rem_euclid(shape[dim] as i64) as usize;
                }
                from
            })]
        };
    pad_constant |g| padding(g, PadMode::Constant(PADDING));
        |x, a| vec![x[0].pad(&sizes(a), PadMode::Constant(PADDING))];
        |h, a| vec![padded(&h[0], a, |_, _| None)];
    pad_reflect |g| padding(g, PadMode::Reflect);
        |x, a| vec![x[0].pad(&sizes(a), PadMode::Reflect)];
        |h, a| vec![padded(&h[0], a, |i, n| Some(if i < 0 { -i } else { 2 * (n - 1) - i }))];
    pad_replicate |g| padding(g, PadMode::Replicate);
        |x, a| vec![x[0].pad(&sizes(a), PadMode::Replicate)];
        |h, a| vec![padded(&h[0], a, |i, n| Some(i.clamp(0, n - 1)))];
    pad_circular |g| padding(g, PadMode::Circular);
        |x, a| vec![x[0].pad(&sizes(a), PadMode::Circular)];
        |h, a| vec![padded(&h[0], a, |i, n| Some(i.rem_euclid(n)))];
}
