//! `Any`: the backend that is chosen at run time. Forwards every method of the trait.

use std::sync::Arc;

use kiln_tensor_core::backend::insides;
use kiln_tensor_core::graph::Replay;
use kiln_tensor_core::{
    Activation, AttentionSpec, Backend, ConvSpec, DType, Error, Factorization, HostMemory, Kernel,
    Layout, MemoryStats, Outputs, PoolSpec, ReduceOp, Result, ScanOp, ScatterOp, Shape, Tensor,
    ViewOp, raise,
};
use smallvec::SmallVec;

use crate::variants::{AnyTensor, Device, Variant, on};

/// The backend whose tensors are on whatever device was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Any;

/// The tensor of backend `K` inside.
#[inline]
#[track_caller]
fn inner<K: Variant>(x: &Tensor<Any>) -> &Tensor<K> {
    K::inside(x.handle()).unwrap_or_else(|| elsewhere(K::name(), x))
}

/// The ops that programs call have compared the devices of their operands and name the op; this is what
/// is left to callers of primitives.
#[cold]
#[track_caller]
fn elsewhere(backend: &str, x: &Tensor<Any>) -> ! {
    raise(Error::Device {
        op: "backend",
        left: format!("one of {backend}"),
        right: x.device().to_string(),
    })
}

#[inline]
fn inners<'a, K: Variant>(xs: &[&'a Tensor<Any>]) -> SmallVec<[&'a Tensor<K>; 4]> {
    insides(xs, inner)
}

#[inline]
fn wrap<K: Variant>(inner: Tensor<K>) -> Tensor<Any> {
    Tensor::from_handle(K::outside(inner))
}

fn wrap2<K: Variant>((a, b): (Tensor<K>, Tensor<K>)) -> (Tensor<Any>, Tensor<Any>) {
    (wrap(a), wrap(b))
}

impl Backend for Any {
    type Device = Device;
    type Handle = AnyTensor;

    fn name() -> &'static str {
        "Any"
    }

    fn upload(bytes: &[u8], shape: &Shape, dtype: DType, device: &Device) -> Tensor<Any> {
        on!(device, K, on => wrap(K::upload(bytes, shape, dtype, on)))
    }

    fn download(x: &Tensor<Any>) -> Vec<u8> {
        on!(x.device(), K, _ => K::download(inner(x)))
    }

    fn empty(shape: &Shape, dtype: DType, device: &Device) -> Tensor<Any> {
        on!(device, K, on => wrap(K::empty(shape, dtype, on)))
    }

    fn sync(device: &Device) {
        on!(device, K, on => K::sync(on));
    }

    fn version(x: &Tensor<Any>) -> u64 {
        on!(x.device(), K, _ => K::version(inner(x)))
    }

    fn shares_storage(a: &Tensor<Any>, b: &Tensor<Any>) -> bool {
        a.device() == b.device() && on!(a.device(), K, _ => K::shares_storage(inner(a), inner(b)))
    }

    fn is_unique(x: &Tensor<Any>) -> bool {
        on!(x.device(), K, _ => K::is_unique(inner(x)))
    }

    fn memory(device: &Device) -> MemoryStats {
        on!(device, K, on => K::memory(on))
    }

    fn reset_peak_memory(device: &Device) {
        on!(device, K, on => K::reset_peak_memory(on));
    }

    fn empty_cache(device: &Device) {
        on!(device, K, on => K::empty_cache(on));
    }

    fn has_graphs(device: &Device) -> bool {
        on!(device, K, on => K::has_graphs(on))
    }

    fn capture(device: &Device, step: &mut dyn FnMut()) -> Result<Box<dyn Replay>> {
        on!(device, K, on => K::capture(on, step))
    }

    fn map(
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Any>],
        shape: &Shape,
        device: &Device,
    ) -> Tensor<Any> {
        on!(device, K, on => wrap(K::map(kernel, &inners(inputs), shape, on)))
    }

    fn map_many(
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Any>],
        shape: &Shape,
        device: &Device,
    ) -> Outputs<Any> {
        on!(device, K, on => {
            K::map_many(kernel, &inners(inputs), shape, on).into_iter().map(wrap::<K>).collect()
        })
    }

    fn map_into(kernel: Kernel<'_>, inputs: &[&Tensor<Any>], outputs: &[&Tensor<Any>]) {
        on!(outputs[0].device(), K, _ => {
            K::map_into(kernel, &inners(inputs), &inners(outputs));
        });
    }

    fn map_each_into(kernel: Kernel<'_>, groups: &[(Vec<&Tensor<Any>>, Vec<&Tensor<Any>>)]) {
        let Some((_, outputs)) = groups.first() else { return };
        if groups.iter().any(|(_, others)| others[0].device() != outputs[0].device()) {
            return groups.iter().for_each(|(i, o)| Self::map_into(kernel, i, o));
        }
        on!(outputs[0].device(), K, _ => {
            let groups: Vec<_> =
                groups.iter().map(|(i, o)| (inners::<K>(i).into_vec(), inners::<K>(o).into_vec())).collect();
            K::map_each_into(kernel, &groups);
        });
    }

    fn reduce(
        op: ReduceOp,
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Any>],
        shape: &Shape,
        dims: &[usize],
    ) -> Tensor<Any> {
        on!(inputs[0].device(), K, _ => {
            wrap(K::reduce(op, kernel, &inners(inputs), shape, dims))
        })
    }

    fn scan(op: ScanOp, x: &Tensor<Any>, dim: usize) -> Tensor<Any> {
        on!(x.device(), K, _ => wrap(K::scan(op, inner(x), dim)))
    }

    fn sort(x: &Tensor<Any>, dim: usize, descending: bool) -> (Tensor<Any>, Tensor<Any>) {
        on!(x.device(), K, _ => wrap2(K::sort(inner(x), dim, descending)))
    }

    fn topk(x: &Tensor<Any>, k: usize, dim: usize, largest: bool) -> (Tensor<Any>, Tensor<Any>) {
        on!(x.device(), K, _ => wrap2(K::topk(inner(x), k, dim, largest)))
    }

    fn matmul(a: &Tensor<Any>, b: &Tensor<Any>) -> Tensor<Any> {
        on!(a.device(), K, _ => wrap(K::matmul(inner(a), inner(b))))
    }

    fn conv(x: &Tensor<Any>, weight: &Tensor<Any>, spec: &ConvSpec) -> Tensor<Any> {
        on!(x.device(), K, _ => wrap(K::conv(inner(x), inner(weight), spec)))
    }

    fn conv_grad_input(
        grad: &Tensor<Any>,
        weight: &Tensor<Any>,
        input: &Shape,
        spec: &ConvSpec,
    ) -> Tensor<Any> {
        on!(grad.device(), K, _ => {
            wrap(K::conv_grad_input(inner(grad), inner(weight), input, spec))
        })
    }

    fn conv_grad_weight(
        grad: &Tensor<Any>,
        x: &Tensor<Any>,
        weight: &Shape,
        spec: &ConvSpec,
    ) -> Tensor<Any> {
        on!(x.device(), K, _ => wrap(K::conv_grad_weight(inner(grad), inner(x), weight, spec)))
    }

    fn max_pool(x: &Tensor<Any>, spec: &PoolSpec) -> (Tensor<Any>, Tensor<Any>) {
        on!(x.device(), K, _ => wrap2(K::max_pool(inner(x), spec)))
    }

    fn max_pool_grad(grad: &Tensor<Any>, indices: &Tensor<Any>, input: &Shape) -> Tensor<Any> {
        on!(grad.device(), K, _ => wrap(K::max_pool_grad(inner(grad), inner(indices), input)))
    }

    fn avg_pool(x: &Tensor<Any>, spec: &PoolSpec) -> Tensor<Any> {
        on!(x.device(), K, _ => wrap(K::avg_pool(inner(x), spec)))
    }

    fn avg_pool_grad(grad: &Tensor<Any>, input: &Shape, spec: &PoolSpec) -> Tensor<Any> {
        on!(grad.device(), K, _ => wrap(K::avg_pool_grad(inner(grad), input, spec)))
    }

    fn gather(x: &Tensor<Any>, dim: usize, index: &Tensor<Any>) -> Tensor<Any> {
        on!(x.device(), K, _ => wrap(K::gather(inner(x), dim, inner(index))))
    }

    fn scatter(
        op: ScatterOp,
        x: &Tensor<Any>,
        dim: usize,
        index: &Tensor<Any>,
        src: &Tensor<Any>,
    ) -> Tensor<Any> {
        on!(x.device(), K, _ => wrap(K::scatter(op, inner(x), dim, inner(index), inner(src))))
    }

    fn index_select(x: &Tensor<Any>, dim: usize, index: &Tensor<Any>) -> Tensor<Any> {
        on!(x.device(), K, _ => wrap(K::index_select(inner(x), dim, inner(index))))
    }

    fn index_add(
        x: &Tensor<Any>,
        dim: usize,
        index: &Tensor<Any>,
        src: &Tensor<Any>,
    ) -> Tensor<Any> {
        on!(x.device(), K, _ => wrap(K::index_add(inner(x), dim, inner(index), inner(src))))
    }

    fn nonzero(x: &Tensor<Any>) -> Tensor<Any> {
        on!(x.device(), K, _ => wrap(K::nonzero(inner(x))))
    }

    fn adopt(memory: Arc<dyn HostMemory>, shape: &Shape, device: &Device) -> Tensor<Any> {
        on!(device, K, on => wrap(K::adopt(memory, shape, on)))
    }

    fn view(x: &Tensor<Any>, op: &ViewOp, layout: Layout) -> Tensor<Any> {
        on!(x.device(), K, _ => wrap(K::view(inner(x), op, layout)))
    }

    fn view_grad(grad: &Tensor<Any>, op: &ViewOp, shape: &Shape) -> Tensor<Any> {
        on!(grad.device(), K, _ => wrap(K::view_grad(inner(grad), op, shape)))
    }

    fn to_device(x: &Tensor<Any>, device: &Device) -> Tensor<Any> {
        on!(device, K, to => wrap(match K::inside(x.handle()) {
            Some(inner) => K::to_device(inner, to),
            // Two backends know no shorter way than over the host.
            None => K::upload(&Any::download(x), x.shape(), x.dtype(), to),
        }))
    }

    fn cat(tensors: &[&Tensor<Any>], dim: usize) -> Tensor<Any> {
        on!(tensors[0].device(), K, _ => wrap(K::cat(&inners(tensors), dim)))
    }

    fn softmax(x: &Tensor<Any>, dim: usize) -> Tensor<Any> {
        on!(x.device(), K, _ => wrap(K::softmax(inner(x), dim)))
    }

    fn softmax_grad(grad: &Tensor<Any>, y: &Tensor<Any>, dim: usize) -> Tensor<Any> {
        on!(grad.device(), K, _ => wrap(K::softmax_grad(inner(grad), inner(y), dim)))
    }

    fn log_softmax(x: &Tensor<Any>, dim: usize) -> Tensor<Any> {
        on!(x.device(), K, _ => wrap(K::log_softmax(inner(x), dim)))
    }

    fn log_softmax_grad(grad: &Tensor<Any>, y: &Tensor<Any>, dim: usize) -> Tensor<Any> {
        on!(grad.device(), K, _ => wrap(K::log_softmax_grad(inner(grad), inner(y), dim)))
    }

    fn cross_entropy(logits: &Tensor<Any>, target: &Tensor<Any>, ignore: i64) -> Tensor<Any> {
        on!(logits.device(), K, _ => wrap(K::cross_entropy(inner(logits), inner(target), ignore)))
    }

    fn cross_entropy_grad(
        grad: &Tensor<Any>,
        logits: &Tensor<Any>,
        target: &Tensor<Any>,
        ignore: i64,
    ) -> Tensor<Any> {
        on!(logits.device(), K, _ => {
            wrap(K::cross_entropy_grad(inner(grad), inner(logits), inner(target), ignore))
        })
    }

    fn linear(x: &Tensor<Any>, weight: &Tensor<Any>, bias: Option<&Tensor<Any>>) -> Tensor<Any> {
        on!(x.device(), K, _ => wrap(K::linear(inner(x), inner(weight), bias.map(inner))))
    }

    fn linear_act(
        x: &Tensor<Any>,
        weight: &Tensor<Any>,
        bias: Option<&Tensor<Any>>,
        activation: Activation,
        keep: bool,
    ) -> (Tensor<Any>, Option<Tensor<Any>>) {
        on!(x.device(), K, _ => {
            let bias = bias.map(inner);
            let (y, before) = K::linear_act(inner(x), inner(weight), bias, activation, keep);
            (wrap(y), before.map(wrap))
        })
    }

    fn linear_grad_weight(grad: &Tensor<Any>, x: &Tensor<Any>) -> [Tensor<Any>; 2] {
        on!(x.device(), K, _ => K::linear_grad_weight(inner(grad), inner(x)).map(wrap))
    }

    fn layer_norm(
        x: &Tensor<Any>,
        weight: Option<&Tensor<Any>>,
        bias: Option<&Tensor<Any>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Any>; 3] {
        on!(x.device(), K, _ => {
            K::layer_norm(inner(x), weight.map(inner), bias.map(inner), dims, eps).map(wrap::<K>)
        })
    }

    fn layer_norm_grad(
        grad: &Tensor<Any>,
        x: &Tensor<Any>,
        mean: &Tensor<Any>,
        rstd: &Tensor<Any>,
        weight: Option<&Tensor<Any>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Any>; 3] {
        on!(x.device(), K, _ => {
            let (mean, rstd, weight) = (inner(mean), inner(rstd), weight.map(inner));
            K::layer_norm_grad(inner(grad), inner(x), mean, rstd, weight, dims, eps).map(wrap::<K>)
        })
    }

    fn rms_norm(
        x: &Tensor<Any>,
        weight: Option<&Tensor<Any>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Any>; 2] {
        on!(x.device(), K, _ => {
            K::rms_norm(inner(x), weight.map(inner), dims, eps).map(wrap::<K>)
        })
    }

    fn rms_norm_grad(
        grad: &Tensor<Any>,
        x: &Tensor<Any>,
        rstd: &Tensor<Any>,
        weight: Option<&Tensor<Any>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Any>; 2] {
        on!(x.device(), K, _ => {
            let (rstd, weight) = (inner(rstd), weight.map(inner));
            K::rms_norm_grad(inner(grad), inner(x), rstd, weight, dims, eps).map(wrap::<K>)
        })
    }

    fn batch_norm(
        x: &Tensor<Any>,
        weight: Option<&Tensor<Any>>,
        bias: Option<&Tensor<Any>>,
        eps: f64,
    ) -> [Tensor<Any>; 3] {
        on!(x.device(), K, _ => {
            K::batch_norm(inner(x), weight.map(inner), bias.map(inner), eps).map(wrap::<K>)
        })
    }

    fn batch_norm_grad(
        grad: &Tensor<Any>,
        x: &Tensor<Any>,
        mean: &Tensor<Any>,
        var: &Tensor<Any>,
        weight: Option<&Tensor<Any>>,
        eps: f64,
    ) -> [Tensor<Any>; 3] {
        on!(x.device(), K, _ => {
            let (mean, var, weight) = (inner(mean), inner(var), weight.map(inner));
            K::batch_norm_grad(inner(grad), inner(x), mean, var, weight, eps).map(wrap::<K>)
        })
    }

    fn scaled_dot_product_attention(
        q: &Tensor<Any>,
        k: &Tensor<Any>,
        v: &Tensor<Any>,
        mask: Option<&Tensor<Any>>,
        spec: &AttentionSpec,
    ) -> [Tensor<Any>; 2] {
        on!(q.device(), K, _ => {
            let (k, v, mask) = (inner(k), inner(v), mask.map(inner));
            K::scaled_dot_product_attention(inner(q), k, v, mask, spec).map(wrap::<K>)
        })
    }

    fn scaled_dot_product_attention_grad(
        grad: &Tensor<Any>,
        q: &Tensor<Any>,
        k: &Tensor<Any>,
        v: &Tensor<Any>,
        mask: Option<&Tensor<Any>>,
        out: &Tensor<Any>,
        log: &Tensor<Any>,
        spec: &AttentionSpec,
    ) -> [Tensor<Any>; 3] {
        on!(q.device(), K, _ => {
            let (grad, q, k, v) = (inner(grad), inner(q), inner(k), inner(v));
            let (mask, out, log) = (mask.map(inner), inner(out), inner(log));
            K::scaled_dot_product_attention_grad(grad, q, k, v, mask, out, log, spec).map(wrap::<K>)
        })
    }

    fn factor(x: &Tensor<Any>, kind: Factorization) -> Outputs<Any> {
        on!(x.device(), K, _ => K::factor(inner(x), kind).into_iter().map(wrap::<K>).collect())
    }

    fn solve_triangular(a: &Tensor<Any>, b: &Tensor<Any>, upper: bool, unit: bool) -> Tensor<Any> {
        on!(a.device(), K, _ => wrap(K::solve_triangular(inner(a), inner(b), upper, unit)))
    }

    // Tracking is Autograd's, which wraps this backend; the backends inside record nothing.

    fn records() -> bool {
        false
    }

    fn requires_grad(_: &Tensor<Any>) -> bool {
        false
    }

    fn set_requires_grad(x: &Tensor<Any>, on: bool) {
        on!(x.device(), K, _ => K::set_requires_grad(inner(x), on));
    }

    fn detach(x: &Tensor<Any>) -> Tensor<Any> {
        x.clone()
    }

    fn grad(_: &Tensor<Any>) -> Option<Tensor<Any>> {
        None
    }

    fn set_grad(_: &Tensor<Any>, _: Option<Tensor<Any>>) {}

    fn named(_: &Tensor<Any>, _: &'static str, _: &[&Tensor<Any>]) {}

    fn grad_fn(_: &Tensor<Any>) -> Option<String> {
        None
    }
}
