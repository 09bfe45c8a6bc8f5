//! The fused tier one by one, and views with their adjoints.

use kiln_tensor_core::{Activation, AttentionSpec, Backend, DType, Layout, Shape, Tensor, ViewOp};

use super::{Oracle, make_rows};
use crate::agree::Tolerance;
use crate::layouts::FLOATS;
use crate::strategies::{Gen, NORMAL, POSITIVE, Purpose, Sample};
use crate::{Form, Host};

const EXACT: Tolerance = Tolerance::EXACT;
const SOFTMAX: Tolerance =
    Tolerance::new(8.0, 1.0, "exponentials and a sum of up to 7 of them").stored(3.0);
const LOGARITHM: Tolerance =
    Tolerance::new(8.0, 4.0, "exponentials, a sum of up to 7 and its logarithm").stored(4.0);
const NORM: Tolerance =
    Tolerance::new(32.0, 8.0, "moments of up to 210 numbers up to 2, differences from the mean")
        .stored(8.0);
const NORM_GRAD: Tolerance =
    Tolerance::new(32.0, 128.0, "sums of up to 210 products of normalised numbers").stored(8.0);
const ATTENTION: Tolerance =
    Tolerance::new(32.0, 16.0, "products of up to 20, exponentials, sums of up to 70").stored(2.0);
const ATTENTION_GRAD: Tolerance =
    Tolerance::new(64.0, 128.0, "sums of up to 70 products of sums of up to 20").stored(2.0);
const ALL: &[DType] = &DType::ALL;
/// Large enough that numbers which are all alike are not blown up by 1/√eps.
const EPS: f64 = 0.1;
const IGNORE: i64 = -100;

/// `count` operands of one shape and one of their dims.
fn alike<const N: usize>(g: &mut Gen, fills: [crate::strategies::Fill; N]) -> Sample {
    let shape = g.shape(1..=4);
    let dim = g.below(shape.rank()) as i64;
    Sample::new(fills.map(|fill| g.values(&shape, fill))).with([dim])
}

/// Logits and targets, some of which are ignored.
fn classes(g: &mut Gen) -> [Host; 2] {
    let n = if g.form == Form::Empty { 0 } else { 1 + g.below(5) };
    let c = g.pick(&[2, 3, 7]);
    let mut target = g.index(&[n].into(), c);
    for value in &mut target.values {
        if g.below(4) == 0 {
            *value = kiln_tensor_core::Scalar::I64(IGNORE);
        }
    }
    [g.values(&[n, c].into(), NORMAL), target]
}

/// A shape of which nothing is normalised over no elements: only leading dims may be empty.
fn normalised(g: &mut Gen, dims: usize) -> Shape {
    let mut shape = g.nonempty(dims..=4);
    if g.form == Form::Empty && shape.rank() > dims {
        shape[0] = 0;
    }
    shape
}

/// Operands of a normalisation: `x` (and what comes before it), weight and bias where present.
fn layer(g: &mut Gen, before: usize, biased: bool) -> Sample {
    let dims = 1 + g.below(2);
    let shape = normalised(g, dims);
    let over: Shape = shape[shape.rank() - dims..].into();
    let (weight, bias) = (g.flip(), biased && g.flip());
    let mut inputs: Vec<Host> = (0..=before).map(|_| g.values(&shape, NORMAL)).collect();
    inputs.extend(weight.then(|| g.values(&over, NORMAL)));
    inputs.extend(bias.then(|| g.values(&over, NORMAL)));
    Sample::new(inputs).with([dims as i64, i64::from(weight), i64::from(bias)])
}

fn batch(g: &mut Gen, before: usize) -> Sample {
    let shape = g.nonempty(2..=4);
    let over: Shape = [shape[1]].into();
    let (weight, bias) = (g.flip(), g.flip());
    let mut inputs: Vec<Host> = (0..=before).map(|_| g.values(&shape, NORMAL)).collect();
    inputs.extend(weight.then(|| g.values(&over, NORMAL)));
    inputs.extend(bias.then(|| g.values(&over, NORMAL)));
    Sample::new(inputs).with([0, i64::from(weight), i64::from(bias)])
}

/// Queries, keys, values, the gradient of the result if that is wanted, and perhaps a mask.
fn attention(g: &mut Gen, grad: bool) -> Sample {
    let timed = g.purpose == Purpose::Speed;
    let lead = match g.purpose {
        Purpose::Speed => [8].into(),
        Purpose::Gradient => g.shape(0..=1),
        Purpose::Forward => g.shape(0..=2),
    };
    let empty = g.form == Form::Empty && lead.rank() == 0;
    // Gradients need few numbers; else more than a tile of any kernel now and then.
    let large = g.purpose == Purpose::Forward && lead.numel() <= 2 && g.below(4) == 0;
    let [l, s, e, ev] = match large {
        _ if timed => [128, 128, 64, 64],
        // Each number is moved, twice over for derivatives of derivatives.
        _ if grad && g.purpose == Purpose::Gradient => [2, 3, 1 + g.below(2), 2],
        true => [g.pick(&[33, 37]), g.pick(&[34, 66]), g.pick(&[6, 18]), g.pick(&[5, 17])],
        false => [g.pick(&[1, 3, 5]), g.pick(&[2, 7]), g.pick(&[1, 4]), g.pick(&[3, 2])],
    };
    let s = if empty { 0 } else { s };
    let of = |sizes: [usize; 2]| -> Shape { lead.iter().copied().chain(sizes).collect() };
    let mut inputs = vec![
        g.values(&of([l, e]), NORMAL),
        g.values(&of([s, e]), NORMAL),
        g.values(&of([s, ev]), NORMAL),
    ];
    if grad {
        inputs.push(g.values(&of([l, ev]), NORMAL));
    }
    match g.below(3) {
        0 => inputs.push(g.values_as(DType::Bool, &of([l, s]), NORMAL)),
        // The gradient in a mask is a composition's, not a kernel's.
        1 if !(grad && g.purpose == Purpose::Gradient) => {
            inputs.push(g.values(&of([l, s]), NORMAL));
        }
        _ => {}
    }
    Sample::new(inputs).with([g.below(2) as i64])
}

fn attention_spec(args: &[i64]) -> AttentionSpec {
    AttentionSpec { causal: args[0] != 0, scale: 0.5 }
}

/// The weight and the bias among the operands from `at` on.
fn affine<'a, B: Backend>(
    x: &'a [Tensor<B>],
    at: usize,
    args: &[i64],
) -> (Option<&'a Tensor<B>>, Option<&'a Tensor<B>>) {
    let weight = (args[1] != 0).then(|| &x[at]);
    let bias = (args[2] != 0).then(|| &x[at + args[1] as usize]);
    (weight, bias)
}

/// One view of each kind, by number.
fn some_view(g: &mut Gen, kind: usize) -> (Shape, ViewOp) {
    let shape = g.shape(2..=4);
    let rank = shape.rank();
    match kind {
        0 => {
            let mut to: Shape = shape[1..].into();
            to[0] *= shape[0];
            (shape, ViewOp::Reshape(to))
        }
        1 => {
            let order: Vec<usize> = (0..rank).collect();
            let perm = g.shuffled(&order);
            (shape, ViewOp::Permute(perm.as_slice().into()))
        }
        2 => {
            let dim = g.below(rank);
            let mut to = shape.clone();
            to.insert(0, 2);
            (shape.with(dim, 1), ViewOp::Expand(to))
        }
        3 => {
            let dim = g.below(rank);
            let len = shape[dim].div_ceil(2);
            let backwards = g.flip();
            let start = if backwards { shape[dim].saturating_sub(1) } else { 0 };
            let step = if backwards { -2 } else { 2 };
            (shape, ViewOp::Slice { dim, start, len, step })
        }
        4 => {
            let (dim1, dim2) = if g.flip() { (0, rank - 1) } else { (rank - 1, 0) };
            (shape, ViewOp::Diagonal { offset: g.below(3) as isize - 1, dim1, dim2 })
        }
        _ => {
            let dim = g.below(rank);
            let size = 1 + g.below(shape[dim].clamp(1, 3));
            // A dimension without elements has no window.
            let shape = if shape[dim] < size { shape.with(dim, size) } else { shape };
            (shape, ViewOp::Unfold { dim, size, step: 1 + g.below(2) })
        }
    }
}

/// A seed and a kind stand for the view, so that arguments stay numbers.
fn view_of(args: &[i64]) -> (Shape, ViewOp) {
    let form = Form::ALL[args[2] as usize];
    let purpose = if args[3] != 0 { Purpose::Gradient } else { Purpose::Forward };
    let mut g = Gen::new(DType::F64, form, purpose, 4, args[1] as u64);
    some_view(&mut g, args[0] as usize)
}

fn view_args(g: &mut Gen) -> Vec<i64> {
    let form = Form::ALL.iter().position(|&f| f == g.form).unwrap_or_default();
    let gradient = g.purpose == Purpose::Gradient;
    vec![g.below(6) as i64, g.below(1 << 30) as i64, form as i64, i64::from(gradient)]
}

make_rows! { ($) fused "fused";
    softmax {
        dtypes: FLOATS,
        sample: |g| alike(g, [NORMAL]),
        run: |x, dim| vec![B::softmax(&x[0], dim[0] as usize)],
        oracle: Oracle::Reference,
        tolerance: SOFTMAX,
        kinks: &[],
        order: 2,
    }
    softmax_large {
        dtypes: FLOATS,
        sample: |g| alike(g, [crate::strategies::Fill::within(-200.0, 200.0)]),
        run: |x, dim| vec![B::softmax(&x[0].detach(), dim[0] as usize)],
        oracle: Oracle::Reference,
        tolerance: SOFTMAX,
        kinks: &[],
        order: 0,
    }
    softmax_grad {
        dtypes: FLOATS,
        sample: |g| alike(g, [NORMAL, POSITIVE]),
        run: |x, dim| vec![B::softmax_grad(&x[0], &x[1], dim[0] as usize)],
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(8.0, 64.0, "a sum of up to 7 products up to 4, times 2").stored(3.0),
        kinks: &[],
        order: 2,
    }
    log_softmax {
        dtypes: FLOATS,
        sample: |g| alike(g, [NORMAL]),
        run: |x, dim| vec![B::log_softmax(&x[0], dim[0] as usize)],
        oracle: Oracle::Reference,
        tolerance: LOGARITHM,
        kinks: &[],
        order: 2,
    }
    log_softmax_grad {
        dtypes: FLOATS,
        sample: |g| alike(g, [NORMAL, crate::strategies::Fill::within(-3.0, 0.0)]),
        run: |x, dim| vec![B::log_softmax_grad(&x[0], &x[1], dim[0] as usize)],
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(8.0, 16.0, "a sum of up to 7 numbers up to 2").stored(3.0),
        kinks: &[],
        order: 2,
    }
    cross_entropy {
        dtypes: FLOATS,
        sample: |g| Sample::new(classes(g)),
        run: |x, _| vec![B::cross_entropy(&x[0], &x[1], IGNORE)],
        oracle: Oracle::Reference,
        tolerance: LOGARITHM,
        kinks: &[],
        order: 2,
    }
    cross_entropy_grad {
        dtypes: FLOATS,
        sample: |g| {
            let [logits, target] = classes(g);
            Sample::new([g.values(&target.shape, NORMAL), logits, target])
        },
        run: |x, _| vec![B::cross_entropy_grad(&x[0], &x[1], &x[2], IGNORE)],
        oracle: Oracle::Reference,
        tolerance: SOFTMAX,
        kinks: &[],
        order: 2,
    }
    linear {
        dtypes: FLOATS,
        sample: |g| {
            let lead = g.shape(0..=2);
            let (input, output) = (g.pick(&[1, 3, 5]), g.pick(&[2, 4]));
            let x = [&lead[..], &[input]].concat().into();
            let mut inputs = vec![g.values(&x, NORMAL), g.values(&[output, input].into(), NORMAL)];
            if g.flip() {
                inputs.push(g.values(&[output].into(), NORMAL));
            }
            Sample::new(inputs)
        },
        run: |x, _| vec![B::linear(&x[0], &x[1], x.get(2))],
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(4.0, 16.0, "sums of up to 5 products up to 4, and a bias").stored(1.0),
        kinks: &[],
        order: 2,
    }
    linear_act {
        dtypes: FLOATS,
        sample: |g| {
            let lead = g.shape(0..=2);
            let (input, output) = (g.pick(&[1, 3, 5]), g.pick(&[2, 4]));
            let x = [&lead[..], &[input]].concat().into();
            let mut inputs = vec![g.values(&x, NORMAL), g.values(&[output, input].into(), NORMAL)];
            if g.flip() {
                inputs.push(g.values(&[output].into(), NORMAL));
            }
            Sample::new(inputs).with([i64::from(g.flip()), i64::from(g.flip())])
        },
        run: |x, args| {
            let activation = if args[0] == 0 { Activation::Relu } else { Activation::GeluTanh };
            let (y, before) = B::linear_act(&x[0], &x[1], x.get(2), activation, args[1] == 1);
            // The gradients of both results at once are those of their sum.
            let both = before.as_ref().map(|before| &y + before);
            [Some(y), before, both].into_iter().flatten().collect()
        },
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(4.0, 16.0, "sums of up to 5 products up to 4, and a bias").stored(2.0),
        kinks: &[],
        order: 2,
    }
    linear_grad_weight {
        dtypes: FLOATS,
        sample: |g| {
            let lead = g.shape(0..=2);
            let of = |size| [&lead[..], &[size]].concat().into();
            let (input, output) = (g.pick(&[1, 3, 5]), g.pick(&[2, 4]));
            Sample::new([g.values(&of(output), NORMAL), g.values(&of(input), NORMAL)])
        },
        run: |x, _| B::linear_grad_weight(&x[0], &x[1]).to_vec(),
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(8.0, 64.0, "sums of up to 49 products up to 4").stored(1.0),
        kinks: &[],
        order: 2,
    }
    layer_norm {
        dtypes: FLOATS,
        sample: |g| layer(g, 0, true),
        run: |x, args| {
            let (weight, bias) = affine(x, 1, args);
            B::layer_norm(&x[0], weight, bias, args[0] as usize, EPS).to_vec()
        },
        oracle: Oracle::Reference,
        tolerance: NORM,
        kinks: &[],
        order: 2,
    }
    layer_norm_grad {
        dtypes: FLOATS,
        sample: |g| layer(g, 1, true),
        run: |x, args| {
            let (weight, _) = affine(x, 2, args);
            let dims = args[0] as usize;
            let [_, mean, rstd] = B::layer_norm(&x[1], None, None, dims, EPS);
            B::layer_norm_grad(&x[0], &x[1], &mean, &rstd, weight, dims, EPS).to_vec()
        },
        oracle: Oracle::Reference,
        tolerance: NORM_GRAD,
        kinks: &[],
        order: 2,
    }
    rms_norm {
        dtypes: FLOATS,
        sample: |g| layer(g, 0, false),
        run: |x, args| {
            let (weight, _) = affine(x, 1, args);
            B::rms_norm(&x[0], weight, args[0] as usize, EPS).to_vec()
        },
        oracle: Oracle::Reference,
        tolerance: NORM,
        kinks: &[],
        order: 2,
    }
    rms_norm_grad {
        dtypes: FLOATS,
        sample: |g| layer(g, 1, false),
        run: |x, args| {
            let (weight, _) = affine(x, 2, args);
            let dims = args[0] as usize;
            let [_, rstd] = B::rms_norm(&x[1], None, dims, EPS);
            B::rms_norm_grad(&x[0], &x[1], &rstd, weight, dims, EPS).to_vec()
        },
        oracle: Oracle::Reference,
        tolerance: NORM_GRAD,
        kinks: &[],
        order: 2,
    }
    scaled_dot_product_attention {
        dtypes: FLOATS,
        sample: |g| attention(g, false),
        run: |x, args| {
            let (q, k, v) = (&x[0], &x[1], &x[2]);
            B::scaled_dot_product_attention(q, k, v, x.get(3), &attention_spec(args)).to_vec()
        },
        oracle: Oracle::Reference,
        tolerance: ATTENTION,
        kinks: &[],
        order: 2,
    }
    scaled_dot_product_attention_grad {
        dtypes: FLOATS,
        sample: |g| attention(g, true),
        run: |x, args| {
            let ([q, k, v, grad], spec) = ([0, 1, 2, 3].map(|i| &x[i]), attention_spec(args));
            let mask = x.get(4).map(Tensor::detach);
            let mask = mask.as_ref();
            let [y, log] = B::scaled_dot_product_attention(q, k, v, mask, &spec);
            B::scaled_dot_product_attention_grad(grad, q, k, v, mask, &y, &log, &spec).to_vec()
        },
        oracle: Oracle::Reference,
        tolerance: ATTENTION_GRAD,
        kinks: &[],
        order: 2,
    }
    batch_norm {
        dtypes: FLOATS,
        sample: |g| batch(g, 0),
        run: |x, args| {
            let (weight, bias) = affine(x, 1, args);
            B::batch_norm(&x[0], weight, bias, EPS).to_vec()
        },
        oracle: Oracle::Reference,
        tolerance: NORM,
        kinks: &[],
        order: 2,
    }
    batch_norm_grad {
        dtypes: FLOATS,
        sample: |g| batch(g, 1),
        run: |x, args| {
            let (weight, _) = affine(x, 2, args);
            let [_, mean, var] = B::batch_norm(&x[1], None, None, EPS);
            B::batch_norm_grad(&x[0], &x[1], &mean, &var, weight, EPS).to_vec()
        },
        oracle: Oracle::Reference,
        tolerance: NORM_GRAD,
        kinks: &[],
        order: 2,
    }
    view {
        dtypes: ALL,
        sample: |g| {
            let args = view_args(g);
            let (shape, _) = view_of(&args);
            Sample::new([g.values(&shape, NORMAL)]).with(args)
        },
        run: |x, args| {
            let (_, op) = view_of(args);
            // Not every layout can be seen under every shape.
            let x = if matches!(op, ViewOp::Reshape(_)) { x[0].contiguous() } else { x[0].clone() };
            let layout = x.layout().view(&op).expect("the view was made for this shape");
            vec![B::view(&x, &op, layout)]
        },
        oracle: Oracle::Reference,
        tolerance: EXACT,
        kinks: &[],
        order: 2,
    }
    view_grad {
        dtypes: FLOATS,
        sample: |g| {
            let args = view_args(g);
            let (shape, op) = view_of(&args);
            let seen = Layout::contiguous(&shape).view(&op).expect("the view was made for this shape");
            Sample::new([g.values(seen.shape(), NORMAL)]).with(args)
        },
        run: |x, args| {
            let (shape, op) = view_of(args);
            vec![B::view_grad(&x[0], &op, &shape)]
        },
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(4.0, 16.0, "sums of what a view shows more than once").stored(3.0),
        kinks: &[],
        order: 2,
    }
}
