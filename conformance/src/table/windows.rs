//! Primitives that slide windows: convolution and pooling.

use kiln_tensor_core::{ConvSpec, PoolSpec, Shape};

use super::{Oracle, make_rows};
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, NUMBERS};
use crate::strategies::{DISTINCT, Gen, NORMAL, Purpose, Sample};
use crate::{Form, Host};

const EXACT: Tolerance = Tolerance::EXACT;
const SUM: Tolerance = Tolerance::new(4.0, 64.0, "sums of up to 81 products up to 4");
const MEAN: Tolerance = Tolerance::new(4.0, 8.0, "means of numbers up to 2, and sums of them");

/// A convolution: input, weight, result, and how they meet.
struct Conv {
    x: Shape,
    weight: Shape,
    y: Shape,
    spec: ConvSpec,
}

/// Sizes, one to three spatial dims, each with a window that fits.
fn conv(g: &mut Gen) -> Conv {
    if g.purpose == Purpose::Speed {
        let mut spec = ConvSpec::new(2);
        spec.padding.fill(1);
        let [x, weight] = [[8, 32, 28, 28].into(), [32, 32, 3, 3].into()];
        return Conv { y: Shape::clone(&x), x, weight, spec };
    }
    let small = g.purpose == Purpose::Gradient;
    let spatial = 1 + g.below(if small { 2 } else { 3 });
    let mut spec = ConvSpec::new(spatial);
    let channels = [1, 2, 3];
    spec.groups = g.pick(&channels[..if small { 2 } else { 3 }]);
    let (c, o) = (1 + g.below(2), 1 + g.below(if small { 2 } else { 3 }));
    let n = if g.form == Form::Empty { 0 } else { 1 + g.below(2) };
    let mut x: Shape = [n, spec.groups * c].into();
    let mut weight: Shape = [spec.groups * o, c].into();
    for d in 0..spatial {
        let kernel = 1 + g.below(if small { 2 } else { 3 });
        spec.stride[d] = 1 + g.below(3);
        spec.padding[d] = g.below(3);
        spec.dilation[d] = 1 + g.below(2);
        let reach = spec.dilation[d] * (kernel - 1) + 1;
        let least = reach.saturating_sub(2 * spec.padding[d]).max(1);
        let size = least + g.below(if small { 2 } else { 4 });
        x.push(size);
        weight.push(kernel);
    }
    let y = spec.out_shape(&x, &weight).expect("the window fits");
    Conv { x, weight, y, spec }
}

/// A spec and a shape as arguments.
fn encode(spec: &ConvSpec, shape: &Shape) -> Vec<i64> {
    let numbers = [&spec.stride[..], &spec.padding, &spec.dilation, &[spec.groups], shape].concat();
    std::iter::once(spec.stride.len()).chain(numbers).map(|n| n as i64).collect()
}

fn decode(args: &[i64]) -> (ConvSpec, Shape) {
    let numbers: Vec<usize> = args.iter().map(|&n| n as usize).collect();
    let spatial = numbers[0];
    let field = |i: usize| numbers[1 + i * spatial..1 + (i + 1) * spatial].into();
    let spec = ConvSpec {
        stride: field(0),
        padding: field(1),
        dilation: field(2),
        groups: numbers[1 + 3 * spatial],
    };
    (spec, numbers[2 + 3 * spatial..].into())
}

/// Pooling of a shape: the shape, and how.
fn pool(g: &mut Gen, max: bool) -> (Shape, PoolSpec) {
    if g.purpose == Purpose::Speed {
        return ([8, 32, 32, 32].into(), PoolSpec::new(&[2, 2]));
    }
    let small = g.purpose == Purpose::Gradient;
    let spatial = 1 + g.below(if small { 2 } else { 3 });
    let n = if g.form == Form::Empty { 0 } else { 1 + g.below(2) };
    let mut x: Shape = [n, 1 + g.below(2)].into();
    let mut spec = PoolSpec::new(&[1, 1, 1][..spatial]);
    for d in 0..spatial {
        spec.kernel[d] = 1 + g.below(3);
        spec.stride[d] = 1 + g.below(3);
        spec.padding[d] = g.below(spec.kernel[d] / 2 + 1);
        spec.dilation[d] = if max { 1 + g.below(2) } else { 1 };
        let reach = spec.dilation[d] * (spec.kernel[d] - 1) + 1;
        // Every window holds an element: the sizes leave no window in the padding alone.
        x.push(
            reach.saturating_sub(2 * spec.padding[d]).max(2) + g.below(if small { 2 } else { 4 }),
        );
    }
    spec.ceil_mode = g.flip();
    if !max {
        spec.count_include_pad = g.flip();
        spec.divisor = if g.below(3) == 0 { Some(1 + g.below(4)) } else { None };
    }
    (x, spec)
}

fn encode_pool(spec: &PoolSpec, shape: &[usize]) -> Vec<i64> {
    let flags = [
        usize::from(spec.ceil_mode),
        usize::from(spec.count_include_pad),
        spec.divisor.unwrap_or(0),
    ];
    let numbers =
        [&spec.kernel[..], &spec.stride, &spec.padding, &spec.dilation, &flags, shape].concat();
    std::iter::once(spec.kernel.len()).chain(numbers).map(|n| n as i64).collect()
}

fn decode_pool(args: &[i64]) -> (PoolSpec, Shape) {
    let numbers: Vec<usize> = args.iter().map(|&n| n as usize).collect();
    let spatial = numbers[0];
    let field = |i: usize| numbers[1 + i * spatial..1 + (i + 1) * spatial].into();
    let flags = &numbers[1 + 4 * spatial..];
    let spec = PoolSpec {
        kernel: field(0),
        stride: field(1),
        padding: field(2),
        dilation: field(3),
        ceil_mode: flags[0] != 0,
        count_include_pad: flags[1] != 0,
        divisor: (flags[2] > 0).then_some(flags[2]),
    };
    (spec, flags[3..].into())
}

fn pooled(x: &Shape, spec: &PoolSpec) -> Shape {
    spec.out_shape(x).expect("it fits")
}

make_rows! { ($) windows "windows";
    conv {
        dtypes: FLOATS,
        sample: |g| {
            let case = conv(g);
            let operands = [g.values(&case.x, NORMAL), g.values(&case.weight, NORMAL)];
            Sample::new(operands).with(encode(&case.spec, &case.y))
        },
        run: |x, args| vec![B::conv(&x[0], &x[1], &decode(args).0)],
        oracle: Oracle::Reference,
        tolerance: SUM,
        kinks: &[],
        order: 2,
    }
    conv_grad_input {
        dtypes: FLOATS,
        sample: |g| {
            let case = conv(g);
            let operands = [g.values(&case.y, NORMAL), g.values(&case.weight, NORMAL)];
            Sample::new(operands).with(encode(&case.spec, &case.x))
        },
        run: |x, args| {
            let (spec, input) = decode(args);
            vec![B::conv_grad_input(&x[0], &x[1], &input, &spec)]
        },
        oracle: Oracle::Reference,
        tolerance: SUM,
        kinks: &[],
        order: 2,
    }
    conv_grad_weight {
        dtypes: FLOATS,
        sample: |g| {
            let case = conv(g);
            let operands = [g.values(&case.y, NORMAL), g.values(&case.x, NORMAL)];
            Sample::new(operands).with(encode(&case.spec, &case.weight))
        },
        run: |x, args| {
            let (spec, weight) = decode(args);
            vec![B::conv_grad_weight(&x[0], &x[1], &weight, &spec)]
        },
        oracle: Oracle::Reference,
        tolerance: SUM,
        kinks: &[],
        order: 2,
    }
    max_pool {
        dtypes: NUMBERS,
        sample: |g| {
            let (shape, spec) = pool(g, true);
            Sample::new([g.values(&shape, DISTINCT.special())]).with(encode_pool(&spec, &[]))
        },
        run: |x, args| {
            let (values, positions) = B::max_pool(&x[0], &decode_pool(args).0);
            vec![values, positions]
        },
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    max_pool_grad {
        dtypes: FLOATS,
        sample: |g| {
            let (shape, spec) = pool(g, true);
            let y = pooled(&shape, &spec);
            let places = shape[2..].iter().product();
            let index: Host = g.index(&y, places);
            let args: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
            Sample::new([g.values(&y, NORMAL), index]).with(args)
        },
        run: |x, args| {
            let input: Shape = args.iter().map(|&n| n as usize).collect();
            vec![B::max_pool_grad(&x[0], &x[1], &input)]
        },
        oracle: Oracle::Reference,
        tolerance: MEAN.stored(8.0),
        kinks: &[],
        order: 2,
    }
    avg_pool {
        dtypes: FLOATS,
        sample: |g| {
            let (shape, spec) = pool(g, false);
            Sample::new([g.values(&shape, NORMAL)]).with(encode_pool(&spec, &[]))
        },
        run: |x, args| vec![B::avg_pool(&x[0], &decode_pool(args).0)],
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(4.0, 54.0, "a sum of up to 27 numbers up to 2"),
        kinks: &[],
        order: 2,
    }
    avg_pool_grad {
        dtypes: FLOATS,
        sample: |g| {
            let (shape, spec) = pool(g, false);
            let y = pooled(&shape, &spec);
            Sample::new([g.values(&y, NORMAL)]).with(encode_pool(&spec, &shape))
        },
        run: |x, args| {
            let (spec, input) = decode_pool(args);
            vec![B::avg_pool_grad(&x[0], &input, &spec)]
        },
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(4.0, 54.0, "a sum of up to 27 numbers up to 2"),
        kinks: &[],
        order: 2,
    }
}
