//! Views, copies, indexing, and the reductions that everything needs.

use kiln_tensor_core::{DType, Ellipsis, Fused, FusedWith, NewAxis, Shape, Step};

use super::plain::{along, at, picked, sizes, unchanged, values, with};
use super::{Oracle, make_rows};
use crate::Form;
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, NUMBERS};
use crate::strategies::{NORMAL, POSITIVE, Purpose, Sample};

const EXACT: Tolerance = Tolerance::EXACT;
const SUM: Tolerance = Tolerance::new(4.0, 32.0, "a sum in another order, of up to 210 numbers");
const ROUNDED: Tolerance = Tolerance::new(1.0, 0.0, "one rounding");
const ALL: &[DType] = &DType::ALL;

fn swapped(shape: &Shape, a: usize, b: usize) -> Shape {
    let mut to = shape.clone();
    to.swap(a, b);
    to
}

make_rows! { ($) shaping "shaping";
    view {
        dtypes: ALL,
        sample: |g| with(g, 1..=4, |_, shape| {
            let first = if shape[0] == 0 { 0 } else { -1 };
            let rest: usize = shape[1..].iter().product();
            // Without elements nothing can be worked out.
            if shape.numel() == 0 { vec![0, 3] } else { vec![first, rest as i64] }
        }),
        run: |x, args| vec![x[0].contiguous().view(sizes(args))],
        oracle: Oracle::Values(unchanged),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    reshape {
        dtypes: ALL,
        sample: |g| with(g, 0..=4, |_, shape| vec![1, shape.numel() as i64, 1]),
        run: |x, args| vec![x[0].reshape(sizes(args)), x[0].reshape_to(&[x[0].numel()].into())],
        oracle: Oracle::Values(|s| vec![values(&s.inputs[0]); 2]),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    permute {
        dtypes: ALL,
        sample: |g| with(g, 1..=4, |g, shape| {
            let dims: Vec<i64> = (0..shape.rank() as i64).collect();
            g.shuffled(&dims)
        }),
        run: |x, args| vec![x[0].permute(sizes(args))],
        oracle: Oracle::Values(|s| {
            let x = &s.inputs[0];
            let to: Shape = s.args.iter().map(|&d| x.shape[d as usize]).collect();
            vec![picked(x, &to, |i| {
                let mut from = i.to_vec();
                s.args.iter().zip(i).for_each(|(&d, &i)| from[d as usize] = i);
                from
            })]
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    transpose {
        dtypes: ALL,
        sample: |g| with(g, 1..=4, |g, shape| vec![g.dim(shape.rank()), g.dim(shape.rank())]),
        run: |x, args| vec![x[0].transpose(args[0] as isize, args[1] as isize)],
        oracle: Oracle::Values(|s| {
            let x = &s.inputs[0];
            let [a, b] = [0, 1].map(|i| at(s.args[i], x.shape.rank()));
            vec![picked(x, &swapped(&x.shape, a, b), |i| {
                let mut from = i.to_vec();
                from.swap(a, b);
                from
            })]
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    t {
        dtypes: ALL,
        sample: |g| with(g, 0..=2, |_, _| vec![]),
        run: |x, _| vec![x[0].t()],
        oracle: Oracle::Values(|s| {
            let x = &s.inputs[0];
            if x.shape.rank() < 2 {
                return unchanged(s);
            }
            vec![picked(x, &swapped(&x.shape, 0, 1), |i| vec![i[1], i[0]])]
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    narrow {
        dtypes: ALL,
        sample: |g| with(g, 1..=4, |g, shape| {
            let dim = g.dim(shape.rank());
            let size = shape[at(dim, shape.rank())];
            let start = g.below(size.max(1));
            vec![dim, start as i64, (size - start) as i64]
        }),
        run: |x, args| vec![x[0].narrow(args[0] as isize, args[1] as usize, args[2] as usize)],
        oracle: Oracle::Values(|s| {
            let x = &s.inputs[0];
            let dim = at(s.args[0], x.shape.rank());
            vec![picked(x, &x.shape.with(dim, s.args[2] as usize), |i| {
                let mut from = i.to_vec();
                from[dim] += s.args[1] as usize;
                from
            })]
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    expand {
        dtypes: ALL,
        sample: |g| {
            let shape = g.shape(0..=3);
            let dim = g.below(shape.rank().max(1));
            let from = if shape.rank() > 0 { shape.with(dim, 1) } else { shape.clone() };
            let to = std::iter::once(2).chain(shape.iter().copied()).map(|n| n as i64);
            let to: Vec<i64> = to.collect();
            Sample::new([g.values(&from, NORMAL)]).with(to)
        },
        run: |x, args| vec![x[0].expand(args.iter().map(|&n| n as usize).collect::<Shape>())],
        oracle: Oracle::Values(|s| {
            let x = &s.inputs[0];
            let to: Shape = s.args.iter().map(|&n| n as usize).collect();
            vec![picked(x, &to, |i| i[1..].iter().zip(&x.shape[..]).map(|(&i, &n)| i.min(n - 1)).collect())]
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    unsqueeze {
        dtypes: ALL,
        sample: |g| with(g, 0..=4, |g, shape| vec![g.dim(shape.rank() + 1)]),
        run: |x, args| vec![x[0].unsqueeze(args[0] as isize)],
        oracle: Oracle::Values(unchanged),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    squeeze {
        dtypes: ALL,
        sample: |g| with(g, 1..=4, |g, shape| vec![g.dim(shape.rank())]),
        run: |x, args| vec![x[0].squeeze(args[0] as isize)],
        oracle: Oracle::Values(unchanged),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    flatten {
        dtypes: ALL,
        sample: |g| with(g, 0..=4, |g, shape| {
            let start = g.below(shape.rank().max(1));
            vec![start as i64, -1]
        }),
        run: |x, args| vec![x[0].flatten(args[0] as isize, args[1] as isize)],
        oracle: Oracle::Values(unchanged),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    copy {
        dtypes: ALL,
        sample: |g| with(g, 0..=4, |_, _| vec![]),
        run: |x, _| vec![x[0].copy(), x[0].contiguous(), x[0].to(x[0].device())],
        oracle: Oracle::Values(|s| vec![values(&s.inputs[0]); 3]),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    copy_ {
        dtypes: ALL,
        sample: |g| {
            let shape = g.shape(0..=4);
            let dtype = if g.purpose == Purpose::Forward { g.pick(NUMBERS) } else { g.dtype };
            Sample::new([g.values(&shape, POSITIVE), g.values_as(dtype, &shape, POSITIVE)])
        },
        run: |x, _| vec![x[0].copy().copy_(&x[1])],
        oracle: Oracle::Native,
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    to_dtype {
        dtypes: ALL,
        // Differences need f64 all the way.
        sample: |g| with(g, 0..=4, |g, _| {
            let count = if g.purpose == Purpose::Gradient { 1 } else { DType::ALL.len() };
            vec![count as i64]
        }),
        run: |x, args| DType::ALL[..args[0] as usize].iter().map(|&d| x[0].to_dtype(d)).collect(),
        oracle: Oracle::Native,
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    sum {
        dtypes: NUMBERS,
        sample: |g| with(g, 0..=4, |_, _| vec![]),
        run: |x, _| vec![x[0].sum()],
        oracle: Oracle::Values(|s| vec![vec![values(&s.inputs[0]).iter().sum()]]),
        tolerance: SUM,
        kinks: &[],
        order: 2,
    }
    sum_dims {
        dtypes: NUMBERS,
        sample: |g| with(g, 0..=4, |g, shape| {
            let keep = i64::from(g.flip());
            std::iter::once(keep).chain(g.dims(shape.rank())).collect()
        }),
        run: |x, args| vec![x[0].sum_dims(sizes(&args[1..]), args[0] != 0)],
        oracle: Oracle::Values(|s| along(s, |x| x.iter().sum())),
        tolerance: SUM,
        kinks: &[],
        order: 2,
    }
    sum_to {
        dtypes: NUMBERS,
        sample: |g| with(g, 2..=4, |_, shape| vec![shape[shape.rank() - 1] as i64]),
        run: |x, args| vec![x[0].sum_to(&[1, args[0] as usize].into())],
        oracle: Oracle::Reference,
        tolerance: SUM,
        kinks: &[],
        order: 2,
    }
    indexed {
        dtypes: ALL,
        sample: |g| {
            let n = if g.form == Form::Empty { 0 } else { 5 };
            let index = g.index(&[2, 1].into(), 3);
            Sample::new([g.values(&[3, 4, n].into(), NORMAL), index])
        },
        run: |x, _| {
            let (x, index) = (&x[0], &x[1]);
            vec![
                x.i(1),
                x.i((.., -1)),
                x.i((Ellipsis, Step(.., 2))),
                x.i((1.., NewAxis, 2)),
                x.i(index),
                x.i((index, ..)),
                x.i(x.ne(0)),
            ]
        },
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    index_written {
        dtypes: NUMBERS,
        sample: |g| {
            let n = if g.form == Form::Empty { 0 } else { 5 };
            let index = g.index(&[2].into(), 3);
            Sample::new([g.values(&[3, 4, n].into(), NORMAL), index])
        },
        // In place, on copies that nothing records.
        run: |x, _| {
            let (x, index) = (x[0].detach(), &x[1]);
            vec![
                x.copy().set((.., 1), 7),
                x.copy().set((0, Ellipsis), x.i(1)),
                x.copy().set(x.ne(0), 7),
                x.copy().accumulate(index, 1),
            ]
        },
        oracle: Oracle::Reference,
        tolerance: ROUNDED.stored(2.0),
        kinks: &[],
        order: 0,
    }
    fused_closures {
        dtypes: FLOATS,
        sample: |g| {
            let (whole, shapes) = g.broadcast(3, 0..=4);
            let dims = g.dims(whole.rank());
            Sample::new(shapes.iter().map(|s| g.values(s, NORMAL)).collect::<Vec<_>>()).with(dims)
        },
        run: |x, args| {
            static FMA: Fused<3> = Fused::new("fma", |[a, b, c]| a * b + c);
            static SCALED: FusedWith<3, 1> =
                FusedWith::new("scaled", |[a, b, c], [by]| (a - b) * by + c);
            let mut dims: Vec<usize> = args.iter().map(|&d| d as usize).collect();
            dims.sort_unstable();
            let x = [&x[0], &x[1], &x[2]];
            vec![
                FMA.call(x),
                FMA.reduce(kiln_tensor_core::ReduceOp::Sum, x, &dims),
                SCALED.call(x, [0.3]),
                SCALED.reduce(kiln_tensor_core::ReduceOp::Sum, x, [0.3], &dims),
            ]
        },
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(4.0, 256.0, "a sum of up to 210 numbers up to 6"),
        kinks: &[],
        order: 2,
    }
}
