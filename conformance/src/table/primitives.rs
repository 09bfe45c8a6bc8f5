//! The primitives of `Backend` one by one: elementwise, along dimensions, products, by index.

use kiln_tensor_core::{Backend, DType, Expr, Kernel, ReduceOp, ScanOp, ScatterOp, Tensor};

use super::{Kink, Oracle, make_rows};
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, INTS, NUMBERS};
use crate::strategies::{DISTINCT, Gen, NORMAL, POSITIVE, Purpose, Sample};
use crate::{Form, Host};

const EXACT: Tolerance = Tolerance::EXACT;
const ROUNDED: Tolerance = Tolerance::new(1.0, 0.0, "one rounding");
const SUM: Tolerance = Tolerance::new(4.0, 32.0, "a sum in another order, of up to 210 numbers");
const PRODUCT: Tolerance = Tolerance::new(8.0, 1.0, "a product in another order, of a few numbers");
const ALL: &[DType] = &DType::ALL;
const BOOL: &[DType] = &[DType::Bool];

/// Reduces with the identity for a program, as `dtype`.
fn reduce<B: Backend>(op: ReduceOp, x: &Tensor<B>, dtype: DType, dims: &[i64]) -> Vec<Tensor<B>> {
    let program = Expr::new("to_dtype", [x.dtype()], |[x]| x.cast(dtype));
    let mut dims: Vec<usize> = dims.iter().map(|&d| d as usize).collect();
    dims.sort_unstable();
    vec![B::reduce(op, Kernel::new(&program), &[x], x.shape(), &dims)]
}

/// An operand and dims to combine along; with elements where the op needs them.
fn along(g: &mut Gen, fill: crate::strategies::Fill, empty: bool) -> Sample {
    let shape = if empty { g.shape(0..=4) } else { g.nonempty(0..=4) };
    let dims = g.dims(shape.rank());
    Sample::new([g.values(&shape, fill)]).with(dims)
}

/// An operand of at least one dimension, and one of its dims.
fn one_dim(g: &mut Gen, fill: crate::strategies::Fill, empty: bool) -> Sample {
    let shape = if empty { g.shape(1..=4) } else { g.nonempty(1..=4) };
    let dim = g.below(shape.rank()) as i64;
    Sample::new([g.values(&shape, fill)]).with([dim])
}

/// A target, an index and a source of the index's shape.
pub(super) fn scattered(g: &mut Gen, fill: crate::strategies::Fill, unique: bool) -> Sample {
    let shape = g.nonempty(1..=4);
    let dim = g.below(shape.rank());
    let mut short = shape.clone();
    for size in short.iter_mut() {
        *size -= g.below(2.min(*size));
    }
    // What repeats along the dim writes to one place more than once.
    short[dim] = match g.form {
        Form::Empty => 0,
        Form::Expanded if unique => 1,
        _ => short[dim],
    };
    let mut index = g.index(&short, shape[dim]);
    if unique {
        let places: Vec<i64> = (0..shape[dim] as i64).collect();
        let places = g.shuffled(&places);
        let at = crate::host::indices(&short);
        index =
            Host::indices(short.clone(), &at.iter().map(|i| places[i[dim]]).collect::<Vec<_>>());
    }
    // Clearly different from every value of the target, where that matters.
    let offset = crate::strategies::Fill { offset: 0.8, ..fill };
    Sample::new([g.values(&shape, fill), index, g.values(&short, offset)]).with([dim as i64])
}

fn scatter<B: Backend>(op: ScatterOp, x: &[Tensor<B>], args: &[i64]) -> Vec<Tensor<B>> {
    vec![B::scatter(op, &x[0], args[0] as usize, &x[1], &x[2])]
}

make_rows! { ($) primitives "primitives";
    map {
        dtypes: FLOATS,
        sample: |g| {
            let (_, shapes) = g.broadcast(2, 0..=4);
            Sample::new(shapes.iter().map(|s| g.values(s, NORMAL)).collect::<Vec<_>>())
        },
        run: |x, _| {
            let dtypes = [x[0].dtype(), x[1].dtype()];
            let program = Expr::with_params("one_result", dtypes, [], |[a, b], []| [a * b + a.sin()]);
            let shape = x[0].shape().broadcast(x[1].shape()).unwrap();
            vec![B::map(Kernel::new(&program), &[&x[0], &x[1]], &shape, x[0].device())]
        },
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(4.0, 8.0, "a sine and two roundings of numbers up to 8"),
        kinks: &[],
        order: 2,
    }
    map_many {
        dtypes: FLOATS,
        sample: |g| {
            let (_, shapes) = g.broadcast(3, 0..=4);
            Sample::new(shapes.iter().map(|s| g.values(s, NORMAL)).collect::<Vec<_>>())
        },
        run: |x, _| {
            let program = Expr::with_params(
                "two_results",
                [x[0].dtype(), x[1].dtype(), x[2].dtype()],
                [],
                |[a, b, c], []| [a * b + c, (a - c) * b.sin()],
            );
            let shape = x[0].shape().broadcast(x[1].shape()).and_then(|s| s.broadcast(x[2].shape()));
            B::map_many(Kernel::new(&program), &[&x[0], &x[1], &x[2]], &shape.unwrap(), x[0].device())
                .to_vec()
        },
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(4.0, 8.0, "a sine and three roundings of numbers up to 8"),
        kinks: &[],
        order: 2,
    }
    map_into {
        dtypes: FLOATS,
        sample: |g| {
            let shape = g.shape(0..=4);
            Sample::new([g.values(&shape, NORMAL), g.values(&shape, NORMAL)])
        },
        run: |x, _| {
            let program = Expr::with_params("mix", [x[0].dtype(), x[1].dtype()], [], |[a, b], []| {
                [a * b, a + b]
            });
            // A copy of each, which the program reads and writes.
            let (a, b) = (x[0].copy(), x[1].copy());
            B::map_into(Kernel::new(&program), &[&a, &b], &[&a, &b]);
            vec![a, b]
        },
        oracle: Oracle::Reference,
        tolerance: ROUNDED,
        kinks: &[],
        order: 2,
    }
    map_each_into {
        dtypes: FLOATS,
        sample: |g| {
            let (a, b) = (g.shape(0..=3), g.shape(0..=3));
            Sample::new([g.values(&a, NORMAL), g.values(&b, NORMAL)])
        },
        run: |x, _| {
            let program = Expr::with_params("decay", [x[0].dtype()], [], |[a], []| [a * 0.5 + 1.0]);
            let (a, b) = (x[0].copy(), x[1].copy());
            let groups = [(vec![&a], vec![&a]), (vec![&b], vec![&b])];
            B::map_each_into(Kernel::new(&program), &groups);
            vec![a, b]
        },
        oracle: Oracle::Reference,
        tolerance: ROUNDED,
        kinks: &[],
        order: 2,
    }
    reduce_sum {
        dtypes: ALL,
        sample: |g| along(g, NORMAL, true),
        run: |x, dims| reduce(ReduceOp::Sum, &x[0], x[0].dtype().sum(), dims),
        oracle: Oracle::Reference,
        tolerance: SUM,
        kinks: &[],
        order: 2,
    }
    reduce_program {
        dtypes: FLOATS,
        sample: |g| {
            let (whole, shapes) = g.broadcast(2, 0..=4);
            let dims = g.dims(whole.rank());
            Sample::new([g.values(&shapes[0], NORMAL), g.values(&shapes[1], NORMAL)]).with(dims)
        },
        run: |x, args| {
            let program = Expr::new("distance", [x[0].dtype(), x[1].dtype()], |[a, b]| (a - b).square());
            let mut dims: Vec<usize> = args.iter().map(|&d| d as usize).collect();
            dims.sort_unstable();
            let shape = x[0].shape().broadcast(x[1].shape()).unwrap();
            vec![B::reduce(ReduceOp::Sum, Kernel::new(&program), &[&x[0], &x[1]], &shape, &dims)]
        },
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(4.0, 256.0, "a sum in another order, of up to 210 numbers up to 16"),
        kinks: &[],
        order: 2,
    }
    reduce_prod {
        dtypes: NUMBERS,
        sample: |g| one_dim(g, POSITIVE, true),
        run: |x, dims| reduce(ReduceOp::Prod, &x[0], x[0].dtype().sum(), dims),
        oracle: Oracle::Reference,
        tolerance: PRODUCT,
        kinks: &[
            Kink { inputs: &[&[2.0, 0.0, 3.0]], args: &[0], grads: &[&[0.0, 6.0, 0.0]] },
            Kink { inputs: &[&[2.0, 0.0, 0.0]], args: &[0], grads: &[&[0.0, 0.0, 0.0]] },
        ],
        order: 2,
    }
    reduce_max {
        dtypes: ALL,
        sample: |g| along(g, DISTINCT.special(), false),
        run: |x, dims| reduce(ReduceOp::Max, &x[0], x[0].dtype(), dims),
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[Kink { inputs: &[&[1.0, 3.0, 3.0]], args: &[0], grads: &[&[0.0, 0.5, 0.5]] }],
        order: 2,
    }
    reduce_min {
        dtypes: ALL,
        sample: |g| along(g, DISTINCT.special(), false),
        run: |x, dims| reduce(ReduceOp::Min, &x[0], x[0].dtype(), dims),
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[Kink { inputs: &[&[1.0, 1.0, 3.0]], args: &[0], grads: &[&[0.5, 0.5, 0.0]] }],
        order: 2,
    }
    reduce_argmax {
        dtypes: ALL,
        sample: |g| one_dim(g, DISTINCT.special(), false),
        run: |x, dims| reduce(ReduceOp::ArgMax, &x[0], x[0].dtype(), dims),
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    reduce_argmin {
        dtypes: ALL,
        sample: |g| one_dim(g, DISTINCT.special(), false),
        run: |x, dims| reduce(ReduceOp::ArgMin, &x[0], x[0].dtype(), dims),
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    reduce_any {
        dtypes: BOOL,
        sample: |g| along(g, NORMAL, true),
        run: |x, dims| reduce(ReduceOp::Any, &x[0], DType::Bool, dims),
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    reduce_all {
        dtypes: BOOL,
        sample: |g| along(g, NORMAL, true),
        run: |x, dims| reduce(ReduceOp::All, &x[0], DType::Bool, dims),
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    scan_sum {
        dtypes: NUMBERS,
        sample: |g| one_dim(g, NORMAL, true),
        run: |x, dim| vec![B::scan(ScanOp::Sum, &x[0], dim[0] as usize)],
        oracle: Oracle::Reference,
        tolerance: SUM,
        kinks: &[],
        order: 2,
    }
    scan_prod {
        dtypes: NUMBERS,
        sample: |g| one_dim(g, POSITIVE, true),
        run: |x, dim| vec![B::scan(ScanOp::Prod, &x[0], dim[0] as usize)],
        oracle: Oracle::Reference,
        tolerance: PRODUCT,
        kinks: &[Kink { inputs: &[&[2.0, 0.0, 3.0]], args: &[0], grads: &[&[1.0, 8.0, 0.0]] }],
        order: 2,
    }
    sort {
        dtypes: ALL,
        sample: |g| {
            let sample = one_dim(g, DISTINCT.special(), true);
            let dim = sample.args[0];
            sample.with([dim, i64::from(g.flip())])
        },
        run: |x, args| {
            let (values, positions) = B::sort(&x[0], args[0] as usize, args[1] != 0);
            vec![values, positions]
        },
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[Kink { inputs: &[&[2.0, 2.0]], args: &[0, 0], grads: &[&[1.0, 1.0]] }],
        order: 2,
    }
    topk {
        dtypes: ALL,
        sample: |g| {
            let sample = one_dim(g, DISTINCT.special(), true);
            let dim = sample.args[0];
            let k = g.below(sample.inputs[0].shape[dim as usize] + 1) as i64;
            // No gradient flows through no elements.
            let k = if g.purpose == Purpose::Gradient { k.max(1) } else { k };
            let k = k.min(sample.inputs[0].shape[dim as usize] as i64);
            sample.with([k, dim, i64::from(g.flip())])
        },
        run: |x, args| {
            let (values, positions) = B::topk(&x[0], args[0] as usize, args[1] as usize, args[2] != 0);
            vec![values, positions]
        },
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[Kink { inputs: &[&[2.0, 2.0]], args: &[1, 0, 1], grads: &[&[1.0, 0.0]] }],
        order: 2,
    }
    matmul {
        dtypes: NUMBERS,
        sample: |g| {
            let batch = if g.purpose == Purpose::Speed { [].into() } else { g.shape(0..=2) };
            let sizes = g.shuffled(match g.purpose {
                Purpose::Forward => &[3, 5, 7],
                Purpose::Gradient => &[1, 2, 3],
                Purpose::Speed => &[256; 3],
            });
            let k = if g.form == Form::Empty && g.flip() { 0 } else { sizes[1] };
            let shape = |m: usize, n: usize| [&batch[..], &[m, n]].concat().into();
            Sample::new([
                g.values(&shape(sizes[0], k), NORMAL),
                g.values(&shape(k, sizes[2]), NORMAL),
            ])
        },
        run: |x, _| vec![B::matmul(&x[0], &x[1])],
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(4.0, 16.0, "sums of up to 7 products up to 4, in another order"),
        kinks: &[],
        order: 2,
    }
    gather {
        dtypes: ALL,
        sample: |g| {
            let sample = scattered(g, NORMAL, false);
            let dim = sample.args;
            Sample::new(&sample.inputs[..2]).with(dim)
        },
        run: |x, dim| vec![B::gather(&x[0], dim[0] as usize, &x[1])],
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    scatter_set {
        dtypes: ALL,
        sample: |g| {
            let unique = g.purpose == Purpose::Gradient;
            scattered(g, NORMAL, unique)
        },
        run: |x, args| scatter(ScatterOp::Set, x, args),
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    scatter_add {
        dtypes: NUMBERS,
        sample: |g| scattered(g, NORMAL, false),
        run: |x, args| scatter(ScatterOp::Add, x, args),
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(8.0, 16.0, "a sum of a few numbers").stored(8.0),
        kinks: &[],
        order: 2,
    }
    scatter_mul {
        dtypes: NUMBERS,
        sample: |g| scattered(g, POSITIVE, false),
        // It has no derivative rule, and says so in backward: nothing is recorded here.
        run: |x, args| {
            let x: Vec<Tensor<B>> = x.iter().map(Tensor::detach).collect();
            scatter(ScatterOp::Mul, &x, args)
        },
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(8.0, 0.0, "a product of a few numbers").stored(8.0),
        kinks: &[],
        order: 0,
    }
    scatter_max {
        dtypes: NUMBERS,
        sample: |g| scattered(g, DISTINCT.special(), false),
        run: |x, args| scatter(ScatterOp::Max, x, args),
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    scatter_min {
        dtypes: NUMBERS,
        sample: |g| scattered(g, DISTINCT.special(), false),
        run: |x, args| scatter(ScatterOp::Min, x, args),
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    index_select {
        dtypes: ALL,
        sample: |g| {
            let shape = g.nonempty(1..=4);
            let dim = g.below(shape.rank());
            let count = if g.form == Form::Empty { 0 } else { 1 + g.below(4) };
            let index = g.index(&[count].into(), shape[dim]);
            Sample::new([g.values(&shape, NORMAL), index]).with([dim as i64])
        },
        run: |x, dim| vec![B::index_select(&x[0], dim[0] as usize, &x[1])],
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    index_add {
        dtypes: NUMBERS,
        sample: |g| {
            let shape = g.nonempty(1..=4);
            let dim = g.below(shape.rank());
            let count = if g.form == Form::Empty { 0 } else { 1 + g.below(4) };
            let index = g.index(&[count].into(), shape[dim]);
            let src = g.values(&shape.with(dim, count), NORMAL);
            Sample::new([g.values(&shape, NORMAL), index, src]).with([dim as i64])
        },
        run: |x, dim| vec![B::index_add(&x[0], dim[0] as usize, &x[1], &x[2])],
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(8.0, 16.0, "a sum of a few numbers").stored(8.0),
        kinks: &[],
        order: 2,
    }
    nonzero {
        dtypes: ALL,
        sample: |g| {
            let shape = g.shape(0..=4);
            Sample::new([g.values(&shape, DISTINCT.special())])
        },
        run: |x, _| vec![B::nonzero(&x[0])],
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    to_device {
        dtypes: ALL,
        sample: |g| {
            let shape = g.shape(0..=4);
            Sample::new([g.values(&shape, NORMAL.special())])
        },
        run: |x, _| vec![B::to_device(&x[0], x[0].device())],
        oracle: Oracle::Each(|x| x[0]),
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    cat {
        dtypes: ALL,
        sample: |g| {
            let shape = g.shape(1..=4);
            let dim = g.below(shape.rank());
            let sizes = [shape[dim], 0, 1 + g.below(3)];
            let operand = |g: &mut Gen, size: usize| g.values(&shape.with(dim, size), NORMAL);
            Sample::new(sizes.map(|size| operand(g, size))).with([dim as i64])
        },
        run: |x, dim| vec![B::cat(&x.iter().collect::<Vec<_>>(), dim[0] as usize)],
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    matmul_integers_wrap {
        dtypes: INTS,
        sample: |g| {
            let wide = crate::strategies::Fill::within(-120.0, 120.0);
            Sample::new([g.values(&[2, 3].into(), wide), g.values(&[3, 2].into(), wide)])
        },
        run: |x, _| vec![B::matmul(&x[0].detach(), &x[1].detach())],
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
}
