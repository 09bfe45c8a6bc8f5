//! Losses and distances that are compositions; those with a program of their own are methods of tensors.

use kiln_tensor_core::{
    Backend, DType, Error, Fused, FusedWith, Reduction, ScatterOp, Shape, Tensor, autocast, raise,
};

/// What becomes of the losses of the elements, which `op` has made of `inputs`.
#[track_caller]
fn reduced<B: Backend>(
    op: &'static str,
    inputs: &[&Tensor<B>],
    losses: Tensor<B>,
    reduction: Reduction,
) -> Tensor<B> {
    match reduction {
        Reduction::None => losses.named(op, inputs),
        Reduction::Mean => losses.mean().named(op, inputs),
        Reduction::Sum => losses.sum().named(op, inputs),
        Reduction::BatchMean => raise(Error::Argument {
            op,
            why: "the batch mean is for kl_div only; use Mean or Sum".into(),
        }),
    }
}

#[track_caller]
fn alike<B: Backend>(op: &'static str, x: &Tensor<B>, others: &[&Tensor<B>]) {
    if others.iter().any(|y| y.shape() != x.shape()) {
        let shapes = std::iter::once(&x).chain(others).map(|x| x.shape().clone()).collect();
        raise(Error::Shape { op, shapes, why: "all operands must have one shape".into() });
    }
}

/// `eˣ − y·x`, or with `log_input` off `x − y·ln(x + eps)`, for counts `y` of a Poisson distribution; `full` adds
/// Stirling's approximation of `ln y!`.
///
/// # Panics
/// If shapes, dtypes or devices differ.
#[track_caller]
pub fn poisson_nll_loss<B: Backend>(
    input: &Tensor<B>,
    target: &Tensor<B>,
    log_input: bool,
    full: bool,
    eps: f64,
    reduction: Reduction,
) -> Tensor<B> {
    if let Some((_inside, [input, target])) = autocast::cast("poisson_nll_loss", [input, target]) {
        return poisson_nll_loss(&input, &target, log_input, full, eps, reduction);
    }
    static LOG: Fused<2> = Fused::new("poisson_nll_loss", |[x, y]| x.exp() - y * x);
    static PLAIN: FusedWith<2, 1> =
        FusedWith::new("poisson_nll_loss", |[x, y], [eps]| x - y * (x + eps).log());
    static STIRLING: Fused<2> = Fused::new("poisson_nll_loss", |[loss, y]| {
        let large = y.gt(1.0);
        let y = large.select(y, y.lit(1.0));
        let more = y * y.log() - y + (y * std::f64::consts::TAU).log() * 0.5;
        loss + large.select(more, more.lit(0.0))
    });
    alike("poisson_nll_loss", input, &[target]);
    let loss = match log_input {
        true => LOG.call([input, target]),
        false => PLAIN.call([input, target], [eps]),
    };
    let loss = if full { STIRLING.call([&loss, target]) } else { loss };
    reduced("poisson_nll_loss", &[input, target], loss, reduction)
}

/// `½·(ln v + (x − y)² / v)` for variances `v` of at least `eps`, which broadcast; `full` adds `½·ln 2π`. The bound
/// stops no gradient.
///
/// # Panics
/// If shapes, dtypes or devices do not fit.
#[track_caller]
pub fn gaussian_nll_loss<B: Backend>(
    input: &Tensor<B>,
    target: &Tensor<B>,
    var: &Tensor<B>,
    full: bool,
    eps: f64,
    reduction: Reduction,
) -> Tensor<B> {
    static LOSS: FusedWith<3, 1> = FusedWith::new("gaussian_nll_loss", |[x, y, v], [more]| {
        (v.log() + (x - y).square() / v) * 0.5 + more
    });
    alike("gaussian_nll_loss", input, &[target]);
    // PyTorch takes one variance for all elements of the last dim without that dim, too.
    let var = match var.rank() + 1 == input.rank() && *var.dims() == input.dims()[..var.rank()] {
        true => var.unsqueeze(-1),
        false => var.clone(),
    };
    let below = (var.clamp_min(eps) - &var).detach();
    let more = if full { std::f64::consts::TAU.ln() * 0.5 } else { 0.0 };
    reduced(
        "gaussian_nll_loss",
        &[input, target, &var],
        LOSS.call([input, target, &(&var + below)], [more]),
        reduction,
    )
}

/// `x` where `y` is 1, `max(0, margin − x)` where it is −1.
///
/// # Panics
/// If shapes, dtypes or devices differ.
#[track_caller]
pub fn hinge_embedding_loss<B: Backend>(
    input: &Tensor<B>,
    target: &Tensor<B>,
    margin: f64,
    reduction: Reduction,
) -> Tensor<B> {
    if let Some((_inside, [input, target])) =
        autocast::cast("hinge_embedding_loss", [input, target])
    {
        return hinge_embedding_loss(&input, &target, margin, reduction);
    }
    static LOSS: FusedWith<2, 1> = FusedWith::new("hinge_embedding_loss", |[x, y], [margin]| {
        let zero = x.lit(0.0);
        y.ne(1.0).select((margin - x).relu(), zero) + y.ne(-1.0).select(x, zero)
    });
    alike("hinge_embedding_loss", input, &[target]);
    reduced(
        "hinge_embedding_loss",
        &[input, target],
        LOSS.call([input, target], [margin]),
        reduction,
    )
}

/// `ln(1 + exp(−y·x))`
///
/// # Panics
/// If shapes, dtypes or devices differ.
#[track_caller]
pub fn soft_margin_loss<B: Backend>(
    input: &Tensor<B>,
    target: &Tensor<B>,
    reduction: Reduction,
) -> Tensor<B> {
    if let Some((_inside, [input, target])) = autocast::cast("soft_margin_loss", [input, target]) {
        return soft_margin_loss(&input, &target, reduction);
    }
    static LOSS: Fused<2> = Fused::new("soft_margin_loss", |[x, y]| (-(x * y)).softplus());
    alike("soft_margin_loss", input, &[target]);
    reduced("soft_margin_loss", &[input, target], LOSS.call([input, target]), reduction)
}

/// `max(0, −y·(x₁ − x₂) + margin)`; operands broadcast.
///
/// # Panics
/// If shapes, dtypes or devices do not fit.
#[track_caller]
pub fn margin_ranking_loss<B: Backend>(
    input1: &Tensor<B>,
    input2: &Tensor<B>,
    target: &Tensor<B>,
    margin: f64,
    reduction: Reduction,
) -> Tensor<B> {
    if let Some((_inside, [input1, input2, target])) =
        autocast::cast("margin_ranking_loss", [input1, input2, target])
    {
        return margin_ranking_loss(&input1, &input2, &target, margin, reduction);
    }
    static LOSS: FusedWith<3, 1> =
        FusedWith::new("margin_ranking_loss", |[a, b, y], [margin]| (margin - y * (a - b)).relu());
    reduced(
        "margin_ranking_loss",
        &[input1, input2, target],
        LOSS.call([input1, input2, target], [margin]),
        reduction,
    )
}

/// The mean over the classes (the last dim) of `−weight·(y·ln sigmoid(x) + (1 − y)·ln sigmoid(−x))`.
///
/// # Panics
/// If shapes, dtypes or devices do not fit.
#[track_caller]
pub fn multilabel_soft_margin_loss<B: Backend>(
    input: &Tensor<B>,
    target: &Tensor<B>,
    weight: Option<&Tensor<B>>,
    reduction: Reduction,
) -> Tensor<B> {
    static LOSS: Fused<2> = Fused::new("multilabel_soft_margin_loss", |[x, y]| {
        y * (-x).softplus() + (y.lit(1.0) - y) * x.softplus()
    });
    alike("multilabel_soft_margin_loss", input, &[target]);
    let loss = LOSS.call([input, target]);
    let loss = weight.map_or(loss.clone(), |weight| loss * weight);
    reduced("multilabel_soft_margin_loss", &[input, target], loss.mean_dims([-1], false), reduction)
}

/// `Σ_j max(0, margin − x[y] + x[j])ᵖ · weight[y] / classes` over the classes `j` other than `y`, for `x` `[n, classes]` (or
/// `[classes]`), `y` `[n]` (or 0-d) and `p` 1 or 2.
///
/// # Panics
/// If shapes, dtypes or devices do not fit, or `p` is another.
#[track_caller]
pub fn multi_margin_loss<B: Backend>(
    input: &Tensor<B>,
    target: &Tensor<B>,
    p: i32,
    margin: f64,
    weight: Option<&Tensor<B>>,
    reduction: Reduction,
) -> Tensor<B> {
    if let Some((_inside, [input], [weight])) =
        autocast::cast_given("multi_margin_loss", [input], [weight])
    {
        return multi_margin_loss(&input, target, p, margin, weight.as_ref(), reduction);
    }
    static LOSS: FusedWith<3, 1> = FusedWith::new("multi_margin_loss", |[x, own, is], [margin]| {
        is.select(x.lit(0.0), (margin - own + x).relu())
    });
    let op = "multi_margin_loss";
    if !matches!(p, 1 | 2) {
        raise(Error::Argument { op, why: format!("p is 1 or 2, not {p}") });
    }
    if input.rank() == 1 {
        let target = target.reshape([1]);
        let rows =
            multi_margin_loss(&input.unsqueeze(0), &target, p, margin, weight, Reduction::None);
        return reduced(op, &[input], rows.squeeze(0), reduction);
    }
    let (index, classes) = (target.to_dtype(DType::I64).unsqueeze(1), input.size(1));
    let own = input.gather(1, &index);
    let numbers = Tensor::<B>::arange(classes as i64, (input.device(), DType::I64));
    let terms = LOSS.call([input, &own, &numbers.eq(&index)], [margin]);
    let terms = if p == 2 { terms.square() } else { terms };
    let terms = match weight {
        Some(weight) => terms * weight.index_select(0, &index.squeeze(1)).unsqueeze(1),
        None => terms,
    };
    reduced(op, &[input], terms.mean_dims([1], false), reduction)
}

/// `Σ max(0, 1 − x[t] + x[j]) / classes` over the targets `t` of a sample and the classes `j` that are none, for `x`
/// `[n, classes]` (or `[classes]`) and `i64` targets of that shape, of which those before the first −1 count.
///
/// # Panics
/// If shapes, dtypes or devices do not fit.
#[track_caller]
pub fn multilabel_margin_loss<B: Backend>(
    input: &Tensor<B>,
    target: &Tensor<B>,
    reduction: Reduction,
) -> Tensor<B> {
    if let Some((_inside, [input])) = autocast::cast("multilabel_margin_loss", [input]) {
        return multilabel_margin_loss(&input, target, reduction);
    }
    static LOSS: Fused<4> = Fused::new("multilabel_margin_loss", |[x, own, counts, is]| {
        let zero = x.lit(0.0);
        counts.gt(0.0).select(is.gt(0.0).select(zero, (x.lit(1.0) - own + x).relu()), zero)
    });
    let op = "multilabel_margin_loss";
    alike(op, input, &[target]);
    if input.rank() == 1 {
        let rows =
            multilabel_margin_loss(&input.unsqueeze(0), &target.unsqueeze(0), Reduction::None);
        return reduced(op, &[input], rows.squeeze(0), reduction);
    }
    let (target, dtype) = (target.to_dtype(DType::I64), input.dtype());
    let counts = target.ge(0).to_dtype(DType::I64).cumprod(1);
    let index = &target * &counts;
    let counts = counts.to_dtype(dtype);
    let none = Tensor::zeros(input.shape(), (input.device(), dtype));
    let is = none.scatter_reduce(ScatterOp::Max, 1, &index, &counts);
    let own = input.gather(1, &index).unsqueeze(2);
    let terms = LOSS.call([&input.unsqueeze(1), &own, &counts.unsqueeze(2), &is.unsqueeze(1)]);
    let classes = input.dims()[1] as f64;
    reduced(op, &[input], terms.sum_dims([1, 2], false) / classes, reduction)
}

/// `1 − cos(x₁, x₂)` where `y` is 1, `max(0, cos(x₁, x₂) − margin)` where it is −1, for `x₁` and `x₂` `[n, size]` (or
/// `[size]`).
///
/// # Panics
/// If shapes, dtypes or devices do not fit.
#[track_caller]
pub fn cosine_embedding_loss<B: Backend>(
    input1: &Tensor<B>,
    input2: &Tensor<B>,
    target: &Tensor<B>,
    margin: f64,
    reduction: Reduction,
) -> Tensor<B> {
    if let Some((_inside, [input1, input2, target])) =
        autocast::cast("cosine_embedding_loss", [input1, input2, target])
    {
        return cosine_embedding_loss(&input1, &input2, &target, margin, reduction);
    }
    static LOSS: FusedWith<4, 1> =
        FusedWith::new("cosine_embedding_loss", |[dot, a, b, y], [margin]| {
            let cos = dot / ((a + 1e-12) * (b + 1e-12)).sqrt();
            let zero = cos.lit(0.0);
            y.eq(1.0).select(-cos + 1.0, zero) + y.eq(-1.0).select((cos - margin).relu(), zero)
        });
    let sum = |x: Tensor<B>| x.sum_dims([-1], false);
    let (a, b) = (sum(input1.square()), sum(input2.square()));
    let loss = LOSS.call([&sum(input1 * input2), &a, &b, target], [margin]);
    reduced("cosine_embedding_loss", &[input1, input2, target], loss, reduction)
}

/// `max(0, d(anchor, positive) − d(anchor, negative) + margin)` for a distance `d`; with `swap` the negative may be as
/// near to the positive instead (Balntas et al. 2016).
///
/// # Panics
/// If shapes, dtypes or devices do not fit.
#[track_caller]
pub fn triplet_margin_with_distance_loss<B: Backend>(
    [anchor, positive, negative]: [&Tensor<B>; 3],
    distance: impl Fn(&Tensor<B>, &Tensor<B>) -> Tensor<B>,
    margin: f64,
    swap: bool,
    reduction: Reduction,
) -> Tensor<B> {
    static LOSS: FusedWith<2, 1> =
        FusedWith::new("triplet_margin_loss", |[near, far], [margin]| (near - far + margin).relu());
    let (near, far) = (distance(anchor, positive), distance(anchor, negative));
    let far = if swap { far.minimum(distance(positive, negative)) } else { far };
    reduced(
        "triplet_margin_loss",
        &[anchor, positive, negative],
        LOSS.call([&near, &far], [margin]),
        reduction,
    )
}

/// How little something is that cannot be: small enough that its exponential is 0, and finite, so that differences
/// and derivatives are numbers.
const NEVER: f64 = -1e30;

/// Connectionist temporal classification (Graves et al. 2006): `−ln` of the probability that `log_probs`
/// `[t, n, classes]` (or `[t, classes]`), of which `input_lengths` steps count, spell `targets`, with blanks and repetitions
/// left out. Targets are `i64` `[n, longest]`, or all in one row, `target_lengths` of each. The mean is over the batch, each
/// loss divided by its target's length. Impossible targets give infinity, or 0 with `zero_infinity`.
///
/// # Panics
/// If shapes, dtypes, lengths or classes do not fit.
#[track_caller]
pub fn ctc_loss<B: Backend>(
    log_probs: &Tensor<B>,
    targets: &Tensor<B>,
    input_lengths: &[usize],
    target_lengths: &[usize],
    blank: usize,
    reduction: Reduction,
    zero_infinity: bool,
) -> Tensor<B> {
    static STEP: Fused<6> = Fused::new("ctc_step", |[stay, next, skip, skips, log_p, active]| {
        let skip = skip + skips;
        let max = stay.max(next).max(skip);
        let sum = (stay - max).exp() + (next - max).exp() + (skip - max).exp();
        let moved = max + sum.log() + log_p;
        active.select(max.lt(NEVER / 2.0).select(max.lit(NEVER), moved), stay)
    });
    static ENDS: Fused<2> = Fused::new("ctc_ends", |[a, b]| {
        let max = a.max(b);
        -(max + ((a - max).exp() + (b - max).exp()).log())
    });
    let op = "ctc_loss";
    if log_probs.rank() == 2 {
        let probs = log_probs.unsqueeze(1);
        let (targets, none) = (targets.reshape([-1]), Reduction::None);
        let loss =
            ctc_loss(&probs, &targets, input_lengths, target_lengths, blank, none, zero_infinity);
        let length = target_lengths.first().copied().unwrap_or(1).max(1) as f64;
        return match reduction {
            Reduction::Mean => loss.squeeze(0) / length,
            reduction => reduced(op, &[log_probs], loss.squeeze(0), reduction),
        };
    }
    let wrong = |why: String| -> ! {
        raise(Error::Shape {
            op,
            shapes: vec![log_probs.shape().clone(), targets.shape().clone()],
            why,
        })
    };
    let &[steps, batch, classes] = log_probs.dims() else {
        wrong("log-probabilities [t, n, classes] are wanted".into())
    };
    let labels = spelled(targets, target_lengths, batch).unwrap_or_else(|| {
        wrong("targets [n, longest] or in one row, and n lengths, are wanted".into())
    });
    let classed = |label: &i64| (0..classes as i64).contains(label) && *label != blank as i64;
    let timely = input_lengths.len() == batch && input_lengths.iter().all(|&t| t <= steps);
    if blank >= classes || !labels.iter().flatten().all(classed) || !timely || steps == 0 {
        wrong(format!(
            "one input length up to {steps} for each, and labels below {classes} other than {blank}, are wanted"
        ));
    }
    // Blanks before, between and after the labels; a label may be reached from the one before if that is another.
    let width = 2 * labels.iter().map(Vec::len).max().unwrap_or(0) + 1;
    let mut states = vec![blank as i64; batch * width];
    let mut skips = vec![NEVER; batch * width];
    let mut starts = vec![NEVER; batch * width];
    for (n, labels) in labels.iter().enumerate() {
        for (i, &label) in labels.iter().enumerate() {
            let at = n * width + 2 * i + 1;
            states[at] = label;
            if i > 0 && labels[i - 1] != label {
                skips[at] = 0.0;
            }
        }
        starts[n * width] = 0.0;
        if !labels.is_empty() {
            starts[n * width + 1] = 0.0;
        }
    }
    let (device, dtype) = (log_probs.device(), log_probs.dtype().compute());
    let shape = Shape::from([batch, width]);
    let floats = |values: &[f64]| Tensor::from_slice(values, shape.clone(), device).to_dtype(dtype);
    let states = Tensor::from_slice(&states, [1, batch, width], device);
    let log_p = log_probs.to_dtype(dtype).gather(2, &states.expand([steps, batch, width]));
    let lengths: Vec<i64> = input_lengths.iter().map(|&t| t as i64).collect();
    let lengths = Tensor::from_slice(&lengths, [batch, 1], device);
    let never = Tensor::full([batch, 2], NEVER, (device, dtype));
    let skips = floats(&skips);
    // Before the first step all are as they start: no step at all spells nothing.
    let first = floats(&starts) + log_p.select(0, 0) * lengths.gt(0).to_dtype(dtype);
    let mut alpha = first.clamp_min(NEVER);
    for t in 1..steps {
        // One and two states back.
        let padded = Tensor::cat(&[&never, &alpha], 1);
        let (next, skip) = (padded.narrow(1, 1, width), padded.narrow(1, 0, width));
        let active = lengths.gt(t as i64);
        let here = log_p.select(0, t as isize);
        alpha = STEP.call([&alpha, &next, &skip, &skips, &here, &active]);
    }
    let ends = |back: usize| -> Tensor<B> {
        let at = labels.iter().map(|labels| (2 * labels.len() + 1).checked_sub(back));
        let at: Vec<i64> = at.map(|at| at.map_or(0, |at| at as i64)).collect();
        let picked = alpha.gather(1, &Tensor::from_slice(&at, [batch, 1], device)).squeeze(1);
        // A target without labels ends in its only blank.
        let missing: Vec<bool> = labels.iter().map(|labels| back > 2 * labels.len() + 1).collect();
        picked.masked_fill(&Tensor::from_slice(&missing, [batch], device), NEVER)
    };
    let losses = ENDS.call([&ends(1), &ends(2)]);
    let impossible = losses.gt(-NEVER / 2.0);
    let fallback = if zero_infinity { 0.0 } else { f64::INFINITY };
    let losses = losses.masked_fill(&impossible, fallback).to_dtype(log_probs.dtype());
    if reduction != Reduction::Mean {
        return reduced(op, &[log_probs], losses, reduction);
    }
    let counts: Vec<f64> = labels.iter().map(|labels| labels.len().max(1) as f64).collect();
    let counts = Tensor::from_slice(&counts, [batch], device).to_dtype(log_probs.dtype());
    (losses / counts).mean().named(op, &[log_probs])
}

/// The labels of each target.
fn spelled<B: Backend>(
    targets: &Tensor<B>,
    lengths: &[usize],
    batch: usize,
) -> Option<Vec<Vec<i64>>> {
    let values = targets.to_dtype(DType::I64).to_vec::<i64>();
    let starts: Vec<usize> = match *targets.dims() {
        [n, longest] if n == batch => (0..n).map(|i| i * longest).collect(),
        [_] => lengths
            .iter()
            .scan(0, |start, &length| {
                *start += length;
                Some(*start - length)
            })
            .collect(),
        _ => return None,
    };
    let fits = lengths.len() == batch && targets.dtype().is_int();
    let longest = targets.dims().get(1).copied().unwrap_or(usize::MAX);
    let each = starts.iter().zip(lengths).map(|(&start, &length)| {
        values.get(start..start + length).filter(|_| length <= longest).map(<[i64]>::to_vec)
    });
    each.collect::<Option<_>>().filter(|_| fits)
}
