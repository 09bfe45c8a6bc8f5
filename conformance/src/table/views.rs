//! Other shapes over the same elements, and views of a part, each against the place that an element
//! comes from.

use kiln_tensor_core::{DType, Shape};

use super::plain::{Plain, at, moved, put, shaped, shaped_values, sizes, values, with, with_dim};
use super::{Oracle, make_rows};
use crate::Host;
use crate::agree::Tolerance;
use crate::layouts::NUMBERS;
use crate::strategies::{Gen, NORMAL, Purpose, Sample};

const EXACT: Tolerance = Tolerance::EXACT;
const SUM: Tolerance = Tolerance::new(4.0, 16.0, "a sum of up to 7 numbers up to 2");
const ALL: &[DType] = &DType::ALL;

/// Rows of views: what is drawn, the call, and the elements and sizes that are right.
macro_rules! views {
    (($d:tt) $($name:ident |$g:ident| $sample:expr; |$x:ident, $a:ident| $call:expr;
        |$h:ident, $args:ident| $right:expr;)* @ { $($rest:tt)* }) => {
        make_rows! { ($d) views "views";
            $($name {
                dtypes: ALL,
                sample: |$g| $sample,
                run: |$x, $a| shaped(vec![$call]),
                oracle: Oracle::Values(|s| {
                    let ($h, $args) = (&s.inputs, &s.args[..]);
                    shaped_values(vec![$right])
                }),
                tolerance: EXACT,
                kinks: &[],
                order: 2,
            })*
            $($rest)*
        }
    };
}

/// The dims of `x` in another order.
fn permuted(x: &Host, order: &[usize]) -> Plain {
    let to = order.iter().map(|&d| x.shape[d]).collect();
    moved(x, to, |i| {
        let mut from = i.to_vec();
        order.iter().zip(i).for_each(|(&d, &i)| from[d] = i);
        from
    })
}

fn swapped(x: &Host, args: &[i64]) -> Plain {
    let mut order: Vec<usize> = (0..x.shape.rank()).collect();
    order.swap(at(args[0], x.shape.rank()), at(args[1], x.shape.rank()));
    permuted(x, &order)
}

/// The same elements under other sizes.
fn renamed(x: &Host, to: impl Into<Shape>) -> Plain {
    (to.into(), values(x))
}

/// A tensor, and another of the shape that it is to have.
fn two(g: &mut Gen, from: &Shape, to: &Shape) -> Sample {
    Sample::new([g.values(from, NORMAL), g.values(to, NORMAL)])
}

/// A tensor, and another with as many elements in dims the other way round.
fn reversed(g: &mut Gen) -> Sample {
    let shape = g.shape(0..=4);
    let to: Shape = shape.iter().rev().copied().collect();
    two(g, &shape, &to)
}

/// A tensor with a size of 1 somewhere, and what it expands to.
fn expanding(g: &mut Gen) -> (Shape, Shape) {
    let shape = g.shape(0..=3);
    let dim = g.below(shape.rank().max(1));
    let from = if shape.rank() > 0 { shape.with(dim, 1) } else { shape.clone() };
    let mut to = shape;
    to.insert(0, 2);
    (from, to)
}

fn expanded(x: &Host, to: &Shape) -> Plain {
    let lead = to.rank() - x.shape.rank();
    moved(x, to.clone(), |i| {
        i[lead..].iter().zip(&x.shape[..]).map(|(&i, &n)| i.min(n - 1)).collect()
    })
}

/// What stands for a bound that is not given.
const OPEN: i64 = i64::MAX;

fn bound(arg: i64) -> Option<isize> {
    (arg != OPEN).then_some(arg as isize)
}

/// The positions of a Python slice.
fn sliced(n: usize, start: i64, end: i64, step: i64) -> Vec<usize> {
    let n = n as i64;
    let inside = |b: i64| (if b < 0 { b + n } else { b }).clamp(0, n);
    let start = if start == OPEN { 0 } else { inside(start) };
    let end = if end == OPEN { n } else { inside(end) };
    (start..end).filter(|p| (p - start) % step == 0).map(|p| p as usize).collect()
}

/// The diagonal of two dims, where that of `offset` starts, and its length.
fn diagonal(x: &Host, offset: i64, dims: [usize; 2]) -> Plain {
    let (down, right) = ((-offset).max(0) as usize, offset.max(0) as usize);
    let [rows, cols] = dims.map(|d| x.shape[d]);
    let len = rows.saturating_sub(down).min(cols.saturating_sub(right));
    let mut to: Vec<usize> =
        (0..x.shape.rank()).filter(|d| !dims.contains(d)).map(|d| x.shape[d]).collect();
    to.push(len);
    moved(x, to.into(), |i| {
        let (&along, rest) = i.split_last().expect("a diagonal is a dim");
        let mut rest = rest.iter();
        (0..x.shape.rank())
            .map(|d| match d {
                d if d == dims[0] => along + down,
                d if d == dims[1] => along + right,
                _ => *rest.next().expect("as many as other dims"),
            })
            .collect()
    })
}

views! { ($)
    movedim |g| with(g, 1..=4, |g, s| vec![g.dim(s.rank()), g.dim(s.rank())]);
        |x, a| x[0].movedim(a[0] as isize, a[1] as isize);
        |h, a| {
            let rank = h[0].shape.rank();
            let mut order: Vec<usize> = (0..rank).collect();
            let from = order.remove(at(a[0], rank));
            order.insert(at(a[1], rank), from);
            permuted(&h[0], &order)
        };
    swapaxes |g| with(g, 1..=4, |g, s| vec![g.dim(s.rank()), g.dim(s.rank())]);
        |x, a| x[0].swapaxes(a[0] as isize, a[1] as isize);
        |h, a| swapped(&h[0], a);
    unflatten |g| {
            let mut shape = g.shape(1..=3);
            let dim = g.below(shape.rank());
            shape[dim] *= 2;
            let sizes = g.pick(&[[2, -1, 1], [1, 2, -1]]);
            Sample::new([g.values(&shape, NORMAL)]).with([&[dim as i64], &sizes[..]].concat())
        };
        |x, a| x[0].unflatten(a[0] as isize, sizes(&a[1..]));
        |h, a| {
            let (shape, dim) = (&h[0].shape, a[0] as usize);
            let cut = a[1..].iter().map(|&n| if n < 0 { shape[dim] / 2 } else { n as usize });
            let to: Vec<usize> =
                shape[..dim].iter().copied().chain(cut).chain(shape[dim + 1..].iter().copied()).collect();
            renamed(&h[0], to)
        };
    squeeze_all |g| {
            let shape = g.shape(0..=3);
            let ones: Shape = shape.iter().flat_map(|&n| [n, 1]).collect();
            Sample::new([g.values(&ones, NORMAL)])
        };
        |x, _a| x[0].squeeze_all();
        |h, _a| renamed(&h[0], h[0].shape.iter().copied().filter(|&n| n != 1).collect::<Vec<_>>());
    broadcast_to |g| {
            let (from, to) = expanding(g);
            Sample::new([g.values(&from, NORMAL)]).with(to.iter().map(|&n| n as i64).collect::<Vec<_>>())
        };
        |x, a| x[0].broadcast_to(a.iter().map(|&n| n as usize).collect::<Shape>());
        |h, a| expanded(&h[0], &a.iter().map(|&n| n as usize).collect());
    expand_as |g| { let (from, to) = expanding(g); two(g, &from, &to) };
        |x, _a| x[0].expand_as(&x[1]);
        |h, _a| expanded(&h[0], &h[1].shape);
    view_as |g| reversed(g);
        |x, _a| x[0].contiguous().view_as(&x[1]);
        |h, _a| renamed(&h[0], h[1].shape.clone());
    reshape_as |g| reversed(g);
        |x, _a| x[0].reshape_as(&x[1]);
        |h, _a| renamed(&h[0], h[1].shape.clone());
    select |g| with_dim(g, 1..=4, |g, s, d| {
            let index = g.below(s[d]) as i64;
            vec![if g.flip() { index } else { index - s[d] as i64 }]
        });
        |x, a| x[0].select(a[0] as isize, a[1] as isize);
        |h, a| {
            let dim = at(a[0], h[0].shape.rank());
            let (mut to, index) = (h[0].shape.clone(), at(a[1], h[0].shape[dim]));
            to.remove(dim);
            moved(&h[0], to, |i| [&i[..dim], &[index], &i[dim..]].concat())
        };
    slice |g| with_dim(g, 1..=4, |g, s, d| {
            let n = s[d] as i64;
            let mut bound = |low: i64| {
                if g.below(3) == 0 { OPEN } else { low + g.below((n + 2 - low) as usize) as i64 }
            };
            // For gradients something is kept.
            let (start, end) = (bound(-n - 1), bound(-n - 1));
            let step = 1 + g.below(3) as i64;
            let none = g.purpose == Purpose::Gradient && sliced(s[d], start, end, step).is_empty();
            if none { vec![0, OPEN, 2] } else { vec![start, end, step] }
        });
        |x, a| x[0].slice(a[0] as isize, bound(a[1]), bound(a[2]), a[3] as usize);
        |h, a| {
            let dim = at(a[0], h[0].shape.rank());
            let kept = sliced(h[0].shape[dim], a[1], a[2], a[3]);
            moved(&h[0], h[0].shape.with(dim, kept.len()), |i| put(i, dim, kept[i[dim]]))
        };
    flip |g| with(g, 0..=4, |g, s| if s.rank() == 0 { vec![] } else { g.dims(s.rank()) });
        |x, a| x[0].flip(sizes(a));
        |h, a| {
            let turned = |d: usize| a.contains(&(d as i64));
            let shape = h[0].shape.clone();
            moved(&h[0], shape.clone(), |i| {
                (0..i.len()).map(|d| if turned(d) { shape[d] - 1 - i[d] } else { i[d] }).collect()
            })
        };
    unfold |g| with_dim(g, 1..=3, |g, s, d| vec![1 + g.below(s[d]) as i64, 1 + g.below(3) as i64]);
        |x, a| x[0].unfold(a[0] as isize, a[1] as usize, a[2] as usize);
        |h, a| {
            let (dim, size, step) = (at(a[0], h[0].shape.rank()), a[1] as usize, a[2] as usize);
            let mut to = h[0].shape.with(dim, (h[0].shape[dim] - size) / step + 1);
            to.push(size);
            moved(&h[0], to, |i| {
                let (&tap, window) = i.split_last().expect("windows are a dim");
                put(window, dim, window[dim] * step + tap)
            })
        };
    diagonal |g| with(g, 2..=4, |g, s| {
            let dims: Vec<i64> = (0..s.rank() as i64).collect();
            let dims = g.shuffled(&dims);
            vec![g.below(5) as i64 - 2, dims[0], dims[1] - s.rank() as i64]
        });
        |x, a| x[0].diagonal(a[0] as isize, a[1] as isize, a[2] as isize);
        |h, a| diagonal(&h[0], a[0], [1, 2].map(|k| at(a[k], h[0].shape.rank())));
    // Of a vector, the matrix around it.
    diag |g| with(g, 1..=2, |g, _| vec![g.below(5) as i64 - 2]);
        |x, a| x[0].diag(a[0] as isize);
        |h, a| {
            let x = &h[0];
            if x.shape.rank() == 2 {
                return shaped_values(vec![diagonal(x, a[0], [0, 1])]);
            }
            let size = x.shape[0] + a[0].unsigned_abs() as usize;
            let element = |k: usize| {
                let (row, col) = (k / size, k % size);
                let on = row as i64 + a[0] == col as i64;
                if on { x.values[row.min(col)].to_f64() } else { 0.0 }
            };
            (Shape::from([size, size]), (0..size * size).map(element).collect())
        };
    @ {
        trace {
            dtypes: NUMBERS,
            sample: |g| with(g, 2..=2, |_, _| vec![]),
            run: |x, _| shaped(vec![x[0].trace()]),
            oracle: Oracle::Values(|s| {
                shaped_values(vec![(Shape::scalar(), vec![diagonal(&s.inputs[0], 0, [0, 1]).1.iter().sum()])])
            }),
            tolerance: SUM,
            kinks: &[],
            order: 2,
        }
    }
}
