//! Scaled dot-product attention in primitives, and its gradients.

use super::safe_max;
use crate::expr::Builder;
use crate::ops::PerDType;
use crate::{AttentionSpec, Backend, DType, Fused, FusedWith, Kernel, ReduceOp, Scalar, Tensor};

/// What goes into the softmax: `scale · q · kᵀ + mask`, −∞ where a query does not see a key. In the type that
/// elements are computed in, where sums of narrow floats fit.
fn scores<B: Backend>(
    q: &Tensor<B>,
    k: &Tensor<B>,
    mask: Option<&Tensor<B>>,
    spec: &AttentionSpec,
) -> Tensor<B> {
    static SCALE: FusedWith<1, 1> = FusedWith::new("attention_scores", |[s], [scale]| s * scale);
    static ADD: FusedWith<2, 1> =
        FusedWith::new("attention_scores", |[s, mask], [scale]| s * scale + mask.cast(s.dtype()));
    static SEE: FusedWith<2, 1> = FusedWith::new("attention_scores", |[s, seen], [scale]| {
        seen.select(s * scale, s.lit(f64::NEG_INFINITY))
    });
    let wide = q.dtype().compute();
    let products = q.to_dtype(wide).matmul(&k.to_dtype(wide).transpose(-2, -1));
    let scores = match mask {
        None => SCALE.call([&products], [spec.scale]),
        Some(seen) if seen.dtype() == DType::Bool => SEE.call([&products, seen], [spec.scale]),
        Some(mask) => ADD.call([&products, mask], [spec.scale]),
    };
    if spec.causal { causal(&scores) } else { scores }
}

/// −∞ where a key comes after the query.
fn causal<B: Backend>(scores: &Tensor<B>) -> Tensor<B> {
    static PROGRAMS: PerDType = PerDType::new();
    let expr = PROGRAMS.get(scores.dtype(), || {
        let builder = Builder::new(&[scores.dtype()]);
        let [queries, keys] = [(); 2].map(|()| builder.param(DType::I64));
        let at = builder.index();
        let x = builder.input(0);
        let seen = (at % keys).le(at.trunc_div(keys) % queries);
        let out = seen.select(x, x.lit(f64::NEG_INFINITY)).id();
        builder.finish("attention_causal", &[(out, scores.dtype())])
    });
    let sizes = &scores.dims()[scores.rank() - 2..];
    let params: [Scalar; 2] = [sizes[0].into(), sizes[1].into()];
    B::map(Kernel::with(expr, &params), &[scores], scores.shape(), scores.device())
}

/// How much of each value every query takes, `[…, l, s]`, and the logarithm of the sum that these are divided
/// by, `[…, l]`, through which no gradient flows. A query that sees no key takes nothing: its row is zeros,
/// and its logarithm −∞. In the type that elements are computed in.
pub fn attention_weights<B: Backend>(
    q: &Tensor<B>,
    k: &Tensor<B>,
    mask: Option<&Tensor<B>>,
    spec: &AttentionSpec,
) -> [Tensor<B>; 2] {
    static EXP: Fused<2> = Fused::new("attention_exp", |[s, max]| (s - max).exp());
    static SHARE: Fused<2> =
        Fused::new("attention_weights", |[e, sum]| e / sum.eq(0.0).select(sum.lit(1.0), sum));
    static LOG: Fused<2> = Fused::new("logsumexp", |[sum, max]| sum.log() + max);
    let scores = scores(q, k, mask, spec);
    let keys = [scores.rank() - 1];
    let max = safe_max(&scores, &keys);
    let exp = EXP.call([&scores, &max]);
    let sum = super::reduce(ReduceOp::Sum, &exp, &keys);
    let log = LOG.call([&sum.detach(), &max]).squeeze(-1);
    [SHARE.call([&exp, &sum]), log]
}

/// See [`Backend::scaled_dot_product_attention`].
pub fn scaled_dot_product_attention<B: Backend>(
    q: &Tensor<B>,
    k: &Tensor<B>,
    v: &Tensor<B>,
    mask: Option<&Tensor<B>>,
    spec: &AttentionSpec,
) -> [Tensor<B>; 2] {
    let [weights, log] = attention_weights(q, k, mask, spec);
    let out = weights.matmul(&v.to_dtype(weights.dtype()));
    [out.to_dtype(q.dtype()), log]
}

/// See [`Backend::scaled_dot_product_attention_grad`]. The weights are worked out again, so that they can be
/// differentiated once more.
pub fn scaled_dot_product_attention_grad<B: Backend>(
    grad: &Tensor<B>,
    q: &Tensor<B>,
    k: &Tensor<B>,
    v: &Tensor<B>,
    mask: Option<&Tensor<B>>,
    spec: &AttentionSpec,
) -> [Tensor<B>; 3] {
    let [weights, _] = attention_weights(q, k, mask, spec);
    let [grad, wide_q, wide_k, wide_v] = [grad, q, k, v].map(|x| x.to_dtype(weights.dtype()));
    let in_weights = grad.matmul(&wide_v.transpose(-2, -1));
    let in_scores = super::softmax_grad(&in_weights, &weights, weights.rank() - 1) * spec.scale;
    let grads = [
        in_scores.matmul(&wide_k),
        in_scores.transpose(-2, -1).matmul(&wide_q),
        weights.transpose(-2, -1).matmul(&grad),
    ];
    grads.map(|x| x.to_dtype(q.dtype()))
}
