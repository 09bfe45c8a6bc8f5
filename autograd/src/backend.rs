//! `Autograd<B>`: every method of the trait is the inner call and a record of it.

use std::marker::PhantomData;
use std::sync::Arc;

use kiln_tensor_core::graph::Replay;
use kiln_tensor_core::{
    Activation, AttentionSpec, Backend, ConvSpec, DType, Error, Factorization, HostMemory, Kernel,
    Layout, MemoryStats, Outputs, PoolSpec, ReduceOp, Result, ScanOp, ScatterOp, Shape, Tensor,
    ViewOp, compose, raise,
};
use smallvec::{SmallVec, smallvec};

use crate::composed;
use crate::in_place::{self, inverse};
use crate::meta::{Meta, Tracked, constant, handle, inner, inners, meta};
use crate::node::{Saved, record, record_view, recording, results, wanted};
use crate::records::{activated, factored, keep_some, map_node, normalized, ordered};
use crate::rules::{
    AvgPool, AvgPoolGrad, BatchNorm, Cat, Conv, ConvGradInput, ConvGradWeight, CrossEntropy,
    Gather, IndexAdd, IndexSelect, LayerNorm, Linear, LogSoftmax, Matmul, MaxPool, MaxPoolGrad,
    Pointwise, Reduce, RmsNorm, ScaledDotProductAttention, Scan, Scatter, Softmax, SolveTriangular,
    ToDevice, View, ViewGrad,
};

/// The backend that runs the primitives of `B` and records those whose operands require gradients.
#[derive(Clone, Copy, Debug)]
pub struct Autograd<B>(PhantomData<B>);

type Recorded<B> = Tensor<Autograd<B>>;

/// Keeps inputs as they are.
fn keep<B: Backend>(inputs: &[&Recorded<B>]) -> SmallVec<[Saved<B>; 3]> {
    inputs.iter().map(|x| Saved::input(x)).collect()
}

impl<B: Backend> Backend for Autograd<B> {
    type Device = B::Device;
    type Handle = Tracked<B>;

    // ------------------------------------------------------------------ memory

    fn name() -> &'static str {
        "Autograd"
    }

    fn upload(bytes: &[u8], shape: &Shape, dtype: DType, device: &B::Device) -> Tensor<Self> {
        constant(B::upload(bytes, shape, dtype, device))
    }

    fn download(x: &Tensor<Self>) -> Vec<u8> {
        B::download(inner(x))
    }

    fn empty(shape: &Shape, dtype: DType, device: &B::Device) -> Tensor<Self> {
        constant(B::empty(shape, dtype, device))
    }

    fn sync(device: &B::Device) {
        B::sync(device);
    }

    fn version(x: &Tensor<Self>) -> u64 {
        B::version(inner(x))
    }

    fn shares_storage(a: &Tensor<Self>, b: &Tensor<Self>) -> bool {
        B::shares_storage(inner(a), inner(b))
    }

    fn is_unique(x: &Tensor<Self>) -> bool {
        Arc::strong_count(meta(x)) == 1 && !meta(x).is_tracked() && B::is_unique(inner(x))
    }

    fn memory(device: &B::Device) -> MemoryStats {
        B::memory(device)
    }

    fn reset_peak_memory(device: &B::Device) {
        B::reset_peak_memory(device);
    }

    fn empty_cache(device: &B::Device) {
        B::empty_cache(device);
    }

    fn has_graphs(device: &B::Device) -> bool {
        B::has_graphs(device)
    }

    fn capture(device: &B::Device, step: &mut dyn FnMut()) -> Result<Box<dyn Replay>> {
        B::capture(device, step)
    }

    // ------------------------------------------------------------------ elementwise

    fn map(
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        device: &B::Device,
    ) -> Tensor<Self> {
        let output = B::map(kernel, &inners(inputs), shape, device);
        if !recording(inputs) || !output.dtype().is_float() {
            return constant(output);
        }
        let node = map_node(kernel, inputs, output.layout(), 1);
        handle(Arc::new(Meta::made_by(output, node, 0, None)))
    }

    fn map_many(
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        device: &B::Device,
    ) -> Outputs<Self> {
        let outputs = B::map_many(kernel, &inners(inputs), shape, device);
        if !recording(inputs) || !outputs.iter().any(|x| x.dtype().is_float()) {
            return outputs.into_iter().map(constant).collect();
        }
        let node = map_node(kernel, inputs, outputs[0].layout(), outputs.len());
        results(&node, outputs)
    }

    fn map_into(kernel: Kernel<'_>, inputs: &[&Tensor<Self>], outputs: &[&Tensor<Self>]) {
        in_place::map_into(kernel, inputs, outputs);
    }

    fn map_each_into(kernel: Kernel<'_>, groups: &[(Vec<&Tensor<Self>>, Vec<&Tensor<Self>>)]) {
        if groups.iter().any(|(inputs, outputs)| recording(inputs) || recording(outputs)) {
            return groups.iter().for_each(|(i, o)| Self::map_into(kernel, i, o));
        }
        let plain =
            |xs: &[&Recorded<B>]| -> Vec<_> { xs.iter().map(|x| inner(x).clone()).collect() };
        let owned: Vec<(Vec<Tensor<B>>, Vec<Tensor<B>>)> =
            groups.iter().map(|(inputs, outputs)| (plain(inputs), plain(outputs))).collect();
        let borrowed: Vec<_> =
            owned.iter().map(|(i, o)| (i.iter().collect(), o.iter().collect())).collect();
        B::map_each_into(kernel, &borrowed);
    }

    // ------------------------------------------------------------------ along dimensions

    fn reduce(
        op: ReduceOp,
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        dims: &[usize],
    ) -> Tensor<Self> {
        let output = B::reduce(op, kernel, &inners(inputs), shape, dims);
        if !recording(inputs) || !output.dtype().is_float() {
            return constant(output);
        }
        let reads = match op {
            ReduceOp::Sum => kernel.expr.grad(wanted(inputs)).inputs,
            _ => (1 << inputs.len()) - 1,
        };
        let pointwise = Pointwise::new(kernel, inputs, Layout::contiguous(shape), reads);
        let saved = |output: &Tensor<B>| {
            let mut saved = keep_some(inputs, reads);
            if op != ReduceOp::Sum {
                saved.push(Saved::output(output, 0));
            }
            saved
        };
        record(inputs, output, saved, || Reduce { op, pointwise, dims: dims.to_vec() })
    }

    fn scan(op: ScanOp, x: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        let saved = |y: &Tensor<B>| match op {
            ScanOp::Sum => smallvec![],
            ScanOp::Prod => smallvec![Saved::input(x), Saved::output(y, 0)],
        };
        record(&[x], B::scan(op, inner(x), dim), saved, || Scan { op, dim })
    }

    fn sort(x: &Tensor<Self>, dim: usize, descending: bool) -> (Tensor<Self>, Tensor<Self>) {
        ordered("sort", x, dim, B::sort(inner(x), dim, descending))
    }

    fn topk(x: &Tensor<Self>, k: usize, dim: usize, largest: bool) -> (Tensor<Self>, Tensor<Self>) {
        ordered("topk", x, dim, B::topk(inner(x), k, dim, largest))
    }

    // ------------------------------------------------------------------ products

    fn matmul(a: &Tensor<Self>, b: &Tensor<Self>) -> Tensor<Self> {
        record(&[a, b], B::matmul(inner(a), inner(b)), |_| keep(&[a, b]), || Matmul)
    }

    fn conv(x: &Tensor<Self>, weight: &Tensor<Self>, spec: &ConvSpec) -> Tensor<Self> {
        let y = B::conv(inner(x), inner(weight), spec);
        record(&[x, weight], y, |_| keep(&[x, weight]), || Conv(spec.clone()))
    }

    fn conv_grad_input(
        grad: &Tensor<Self>,
        weight: &Tensor<Self>,
        input: &Shape,
        spec: &ConvSpec,
    ) -> Tensor<Self> {
        let y = B::conv_grad_input(inner(grad), inner(weight), input, spec);
        record(&[grad, weight], y, |_| keep(&[grad, weight]), || ConvGradInput(spec.clone()))
    }

    fn conv_grad_weight(
        grad: &Tensor<Self>,
        x: &Tensor<Self>,
        weight: &Shape,
        spec: &ConvSpec,
    ) -> Tensor<Self> {
        let y = B::conv_grad_weight(inner(grad), inner(x), weight, spec);
        record(&[grad, x], y, |_| keep(&[grad, x]), || ConvGradWeight(spec.clone()))
    }

    fn max_pool(x: &Tensor<Self>, spec: &PoolSpec) -> (Tensor<Self>, Tensor<Self>) {
        let (y, at) = B::max_pool(inner(x), spec);
        let saved = |_: &Tensor<B>| smallvec![Saved::plain(&at)];
        (record(&[x], y, saved, || MaxPool(x.shape().clone())), constant(at.clone()))
    }

    fn max_pool_grad(grad: &Tensor<Self>, indices: &Tensor<Self>, input: &Shape) -> Tensor<Self> {
        let y = B::max_pool_grad(inner(grad), inner(indices), input);
        record(&[grad], y, |_| keep(&[indices]), || MaxPoolGrad)
    }

    fn avg_pool(x: &Tensor<Self>, spec: &PoolSpec) -> Tensor<Self> {
        let rule = || AvgPool(spec.clone(), x.shape().clone());
        record(&[x], B::avg_pool(inner(x), spec), |_| smallvec![], rule)
    }

    fn avg_pool_grad(grad: &Tensor<Self>, input: &Shape, spec: &PoolSpec) -> Tensor<Self> {
        let y = B::avg_pool_grad(inner(grad), input, spec);
        record(&[grad], y, |_| smallvec![], || AvgPoolGrad(spec.clone()))
    }

    // ------------------------------------------------------------------ by index

    fn gather(x: &Tensor<Self>, dim: usize, index: &Tensor<Self>) -> Tensor<Self> {
        let y = B::gather(inner(x), dim, inner(index));
        let rule = || Gather { dim, input: x.shape().clone() };
        record(&[x], y, |_| keep(&[index]), rule)
    }

    fn scatter(
        op: ScatterOp,
        x: &Tensor<Self>,
        dim: usize,
        index: &Tensor<Self>,
        src: &Tensor<Self>,
    ) -> Tensor<Self> {
        let y = B::scatter(op, inner(x), dim, inner(index), inner(src));
        let saved = |y: &Tensor<B>| match op {
            ScatterOp::Max | ScatterOp::Min => {
                let mut saved = keep(&[index, x, src]);
                saved.push(Saved::output(y, 0));
                saved
            }
            ScatterOp::Set | ScatterOp::Add | ScatterOp::Mul => keep(&[index]),
        };
        record(&[x, src], y, saved, || Scatter { op, dim })
    }

    fn index_select(x: &Tensor<Self>, dim: usize, index: &Tensor<Self>) -> Tensor<Self> {
        let y = B::index_select(inner(x), dim, inner(index));
        let rule = || IndexSelect { dim, input: x.shape().clone() };
        record(&[x], y, |_| keep(&[index]), rule)
    }

    fn index_add(
        x: &Tensor<Self>,
        dim: usize,
        index: &Tensor<Self>,
        src: &Tensor<Self>,
    ) -> Tensor<Self> {
        let y = B::index_add(inner(x), dim, inner(index), inner(src));
        record(&[x, src], y, |_| keep(&[index]), || IndexAdd { dim })
    }

    fn nonzero(x: &Tensor<Self>) -> Tensor<Self> {
        constant(B::nonzero(inner(x)))
    }

    // ------------------------------------------------------------------ memory and views

    fn adopt(memory: Arc<dyn HostMemory>, shape: &Shape, device: &B::Device) -> Tensor<Self> {
        constant(B::adopt(memory, shape, device))
    }

    fn view(x: &Tensor<Self>, op: &ViewOp, layout: Layout) -> Tensor<Self> {
        let y = B::view(inner(x), op, layout);
        let rule = || View { op: op.clone(), input: x.shape().clone() };
        record_view(&[x], y, Some(meta(x).as_base(op.clone())), |_| smallvec![], rule)
    }

    fn view_grad(grad: &Tensor<Self>, op: &ViewOp, shape: &Shape) -> Tensor<Self> {
        let y = B::view_grad(inner(grad), op, shape);
        // The adjoint of a permutation or reshape is a view itself.
        let base = B::shares_storage(&y, inner(grad)).then(|| {
            let back = match op {
                ViewOp::Permute(perm) => ViewOp::Permute(inverse(perm)),
                _ => ViewOp::Reshape(shape.clone()),
            };
            meta(grad).as_base(back)
        });
        // Backward goes to the view as it was, whose target shape the gradient has.
        let op = match op {
            ViewOp::Reshape(_) => ViewOp::Reshape(grad.shape().clone()),
            op => op.clone(),
        };
        record_view(&[grad], y, base, |_| smallvec![], || ViewGrad { op })
    }

    fn to_device(x: &Tensor<Self>, device: &B::Device) -> Tensor<Self> {
        let y = B::to_device(inner(x), device);
        // An empty tensor remembers where the gradient goes back to.
        let home = || B::empty(&Shape::from([0]), x.dtype(), x.device());
        record(&[x], y, |_| smallvec![Saved::plain(&home())], || ToDevice)
    }

    fn cat(tensors: &[&Tensor<Self>], dim: usize) -> Tensor<Self> {
        let rule = || Cat { dim, sizes: tensors.iter().map(|t| t.dims()[dim]).collect() };
        record(tensors, B::cat(&inners(tensors), dim), |_| smallvec![], rule)
    }

    // ------------------------------------------------------------------ fused

    fn softmax(x: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        let saved = |y: &Tensor<B>| smallvec![Saved::output(y, 0)];
        record(&[x], B::softmax(inner(x), dim), saved, || Softmax { dim })
    }

    fn softmax_grad(grad: &Tensor<Self>, y: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        if recording(&[grad, y]) {
            return compose::softmax_grad(grad, y, dim);
        }
        constant(B::softmax_grad(inner(grad), inner(y), dim))
    }

    fn log_softmax(x: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        let saved = |y: &Tensor<B>| smallvec![Saved::output(y, 0)];
        record(&[x], B::log_softmax(inner(x), dim), saved, || LogSoftmax { dim })
    }

    fn log_softmax_grad(grad: &Tensor<Self>, y: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        if recording(&[grad, y]) {
            return compose::log_softmax_grad(grad, y, dim);
        }
        constant(B::log_softmax_grad(inner(grad), inner(y), dim))
    }

    fn cross_entropy(logits: &Tensor<Self>, target: &Tensor<Self>, ignore: i64) -> Tensor<Self> {
        let y = B::cross_entropy(inner(logits), inner(target), ignore);
        record(&[logits], y, |_| keep(&[logits, target]), || CrossEntropy { ignore })
    }

    fn cross_entropy_grad(
        grad: &Tensor<Self>,
        logits: &Tensor<Self>,
        target: &Tensor<Self>,
        ignore: i64,
    ) -> Tensor<Self> {
        if recording(&[grad, logits]) {
            return compose::cross_entropy_grad(grad, logits, target, ignore);
        }
        constant(B::cross_entropy_grad(inner(grad), inner(logits), inner(target), ignore))
    }

    fn linear(
        x: &Tensor<Self>,
        weight: &Tensor<Self>,
        bias: Option<&Tensor<Self>>,
    ) -> Tensor<Self> {
        let y = B::linear(inner(x), inner(weight), bias.map(inner));
        let inputs: SmallVec<[&Tensor<Self>; 3]> = [x, weight].into_iter().chain(bias).collect();
        record(&inputs, y, |_| keep(&[x, weight]), || Linear)
    }

    fn linear_act(
        x: &Tensor<Self>,
        weight: &Tensor<Self>,
        bias: Option<&Tensor<Self>>,
        activation: Activation,
        keep: bool,
    ) -> (Tensor<Self>, Option<Tensor<Self>>) {
        let inputs: SmallVec<[&Tensor<Self>; 3]> = [x, weight].into_iter().chain(bias).collect();
        // The gradient of relu looks at the result.
        let kept = keep || (recording(&inputs) && activation != Activation::Relu);
        let made = B::linear_act(inner(x), inner(weight), bias.map(inner), activation, kept);
        activated(&inputs, made, activation, keep)
    }

    fn linear_grad_weight(grad: &Tensor<Self>, x: &Tensor<Self>) -> [Tensor<Self>; 2] {
        if recording(&[grad, x]) {
            return compose::linear_grad_weight(grad, x);
        }
        B::linear_grad_weight(inner(grad), inner(x)).map(constant)
    }

    fn layer_norm(
        x: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        bias: Option<&Tensor<Self>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Self>; 3] {
        let made = B::layer_norm(inner(x), weight.map(inner), bias.map(inner), dims, eps);
        let rule = || LayerNorm { dims, eps, weight: weight.is_some(), bias: bias.is_some() };
        normalized(x, weight, bias, made, rule)
    }

    fn layer_norm_grad(
        grad: &Tensor<Self>,
        x: &Tensor<Self>,
        mean: &Tensor<Self>,
        rstd: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Self>; 3] {
        let operands: SmallVec<[&Tensor<Self>; 3]> = [grad, x].into_iter().chain(weight).collect();
        if recording(&operands) {
            let [_, mean, rstd] = compose::layer_norm(x, None, None, dims, eps);
            return compose::layer_norm_grad(grad, x, &mean, &rstd, weight, dims);
        }
        let (mean, rstd) = (inner(mean), inner(rstd));
        let weight = weight.map(inner);
        B::layer_norm_grad(inner(grad), inner(x), mean, rstd, weight, dims, eps).map(constant)
    }

    fn rms_norm(
        x: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Self>; 2] {
        let [y, rstd] = B::rms_norm(inner(x), weight.map(inner), dims, eps);
        let inputs: SmallVec<[&Tensor<Self>; 2]> = std::iter::once(x).chain(weight).collect();
        let saved = |_: &Tensor<B>| {
            let mut saved: SmallVec<[Saved<B>; 3]> =
                smallvec![Saved::input(x), Saved::plain(&rstd)];
            saved.extend(weight.map(Saved::input));
            saved
        };
        let y = record(&inputs, y, saved, || RmsNorm { dims, eps });
        [y, constant(rstd)]
    }

    fn rms_norm_grad(
        grad: &Tensor<Self>,
        x: &Tensor<Self>,
        rstd: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Self>; 2] {
        let operands: SmallVec<[&Tensor<Self>; 3]> = [grad, x].into_iter().chain(weight).collect();
        if recording(&operands) {
            let [_, rstd] = compose::rms_norm(x, None, dims, eps);
            return compose::rms_norm_grad(grad, x, &rstd, weight, dims);
        }
        let (rstd, weight) = (inner(rstd), weight.map(inner));
        B::rms_norm_grad(inner(grad), inner(x), rstd, weight, dims, eps).map(constant)
    }

    fn batch_norm(
        x: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        bias: Option<&Tensor<Self>>,
        eps: f64,
    ) -> [Tensor<Self>; 3] {
        let made = B::batch_norm(inner(x), weight.map(inner), bias.map(inner), eps);
        let rule = || BatchNorm { eps, weight: weight.is_some(), bias: bias.is_some() };
        normalized(x, weight, bias, made, rule)
    }

    fn batch_norm_grad(
        grad: &Tensor<Self>,
        x: &Tensor<Self>,
        mean: &Tensor<Self>,
        var: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        eps: f64,
    ) -> [Tensor<Self>; 3] {
        let operands: SmallVec<[&Tensor<Self>; 3]> = [grad, x].into_iter().chain(weight).collect();
        if recording(&operands) {
            let [_, mean, var] = compose::batch_norm(x, None, None, eps);
            return compose::batch_norm_grad(grad, x, &mean, &var, weight, eps);
        }
        let (mean, var) = (inner(mean), inner(var));
        let weight = weight.map(inner);
        B::batch_norm_grad(inner(grad), inner(x), mean, var, weight, eps).map(constant)
    }

    fn scaled_dot_product_attention(
        q: &Tensor<Self>,
        k: &Tensor<Self>,
        v: &Tensor<Self>,
        mask: Option<&Tensor<Self>>,
        spec: &AttentionSpec,
    ) -> [Tensor<Self>; 2] {
        // Kernels give no gradient in the mask.
        if mask.is_some_and(|mask| recording(&[mask])) {
            return compose::scaled_dot_product_attention(q, k, v, mask, spec);
        }
        let (qi, ki, vi) = (inner(q), inner(k), inner(v));
        let [y, log] = B::scaled_dot_product_attention(qi, ki, vi, mask.map(inner), spec);
        let saved = |y: &Tensor<B>| {
            let mut saved = keep(&[q, k, v]);
            saved.extend([Saved::output(y, 0), Saved::plain(&log)]);
            saved.extend(mask.map(Saved::input));
            saved
        };
        let y = record(&[q, k, v], y, saved, || ScaledDotProductAttention { spec: *spec });
        [y, constant(log)]
    }

    fn scaled_dot_product_attention_grad(
        grad: &Tensor<Self>,
        q: &Tensor<Self>,
        k: &Tensor<Self>,
        v: &Tensor<Self>,
        mask: Option<&Tensor<Self>>,
        out: &Tensor<Self>,
        log: &Tensor<Self>,
        spec: &AttentionSpec,
    ) -> [Tensor<Self>; 3] {
        if recording(&[grad, q, k, v]) {
            return compose::scaled_dot_product_attention_grad(grad, q, k, v, mask, spec);
        }
        let (mask, out, log) = (mask.map(inner), inner(out), inner(log));
        let [grad, q, k, v] = [grad, q, k, v].map(inner);
        B::scaled_dot_product_attention_grad(grad, q, k, v, mask, out, log, spec).map(constant)
    }

    fn factor(x: &Tensor<Self>, kind: Factorization) -> Outputs<Self> {
        factored(x, kind, B::factor(inner(x), kind))
    }

    fn solve_triangular(
        a: &Tensor<Self>,
        b: &Tensor<Self>,
        upper: bool,
        unit: bool,
    ) -> Tensor<Self> {
        let x = B::solve_triangular(inner(a), inner(b), upper, unit);
        let saved = |x: &Tensor<B>| smallvec![Saved::input(a), Saved::output(x, 0)];
        record(&[a, b], x, saved, || SolveTriangular { upper, unit })
    }

    // ------------------------------------------------------------------ tracking

    fn records() -> bool {
        true
    }

    fn requires_grad(x: &Tensor<Self>) -> bool {
        meta(x).is_tracked()
    }

    fn set_requires_grad(x: &Tensor<Self>, on: bool) {
        if !meta(x).is_leaf() {
            raise(Error::Autograd {
                op: "requires_grad_".into(),
                why: "this tensor is the result of a recorded operation, not a leaf; use `detach` to \
                      cut it off first"
                    .into(),
            });
        }
        if on && !x.dtype().is_float() {
            raise(Error::DType {
                op: "requires_grad_",
                dtypes: vec![x.dtype()],
                why: "only floats have gradients; convert with `to_dtype` first".into(),
            });
        }
        meta(x).set_leaf(on);
    }

    fn detach(x: &Tensor<Self>) -> Tensor<Self> {
        constant(inner(x).clone())
    }

    fn grad(x: &Tensor<Self>) -> Option<Tensor<Self>> {
        meta(x).state.lock().grad.as_deref().cloned()
    }

    fn set_grad(x: &Tensor<Self>, grad: Option<Tensor<Self>>) {
        meta(x).state.lock().grad = grad.map(Box::new);
    }

    fn named(x: &Tensor<Self>, op: &'static str, inputs: &[&Tensor<Self>]) {
        composed::name(x, op, inputs);
    }

    fn grad_fn(x: &Tensor<Self>) -> Option<String> {
        meta(x).state.lock().node.as_ref().map(|(node, _)| node.name())
    }
}
