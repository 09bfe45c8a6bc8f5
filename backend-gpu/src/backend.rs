//! `impl Backend for Gpu<R>`: chooses an op's file and calls it. No kernels here.

use kiln_tensor_core::graph::Replay;
use kiln_tensor_core::{
    Activation, AttentionSpec, Backend, ConvSpec, DType, Kernel, Layout, MemoryStats, Outputs,
    Placed, PoolSpec, ReduceOp, Result, ScanOp, ScatterOp, Shape, Tensor, ViewOp,
};

use crate::launch::{done, opened};
use crate::ops::{
    attention, conv, index, layer_norm, linear, map, matmul, pool, reduce, scan, scatter, softmax,
    sort,
};
use crate::storage::{Storage, fresh};
use crate::{Gpu, Runtime, graph};

impl<R: Runtime> Backend for Gpu<R> {
    type Device = R::Device;
    type Handle = Placed<Storage<R>, R::Device>;

    fn name() -> &'static str {
        R::NAME
    }

    fn upload(bytes: &[u8], shape: &Shape, dtype: DType, device: &R::Device) -> Tensor<Self> {
        let out = fresh::<R>(shape, dtype, device);
        if bytes.is_empty() {
            return out;
        }
        if dtype == DType::Bool {
            // Kernels rely on 0 and 1.
            let flags: Vec<u8> = bytes.iter().map(|&byte| u8::from(byte != 0)).collect();
            done(opened::<R>(device).write(device, out.storage(), &flags));
        } else {
            done(opened::<R>(device).write(device, out.storage(), bytes));
        }
        out
    }

    fn download(x: &Tensor<Self>) -> Vec<u8> {
        let mut bytes = vec![0; x.numel() * x.dtype().size()];
        if bytes.is_empty() {
            return bytes;
        }
        let x = x.contiguous();
        let from = x.layout().offset() * x.dtype().size();
        done(opened::<R>(x.device()).read(x.device(), (x.storage(), from), &mut bytes));
        bytes
    }

    fn empty(shape: &Shape, dtype: DType, device: &R::Device) -> Tensor<Self> {
        fresh::<R>(shape, dtype, device)
    }

    fn view(x: &Tensor<Self>, _: &ViewOp, layout: Layout) -> Tensor<Self> {
        x.with_layout(layout)
    }

    fn sync(device: &R::Device) {
        done(opened::<R>(device).sync(device));
    }

    fn version(x: &Tensor<Self>) -> u64 {
        x.storage().version()
    }

    fn shares_storage(a: &Tensor<Self>, b: &Tensor<Self>) -> bool {
        a.storage().is(b.storage())
    }

    fn is_unique(x: &Tensor<Self>) -> bool {
        x.storage().is_unique()
    }

    fn memory(device: &R::Device) -> MemoryStats {
        opened::<R>(device).memory()
    }

    fn reset_peak_memory(device: &R::Device) {
        opened::<R>(device).reset_peak_memory();
    }

    fn empty_cache(device: &R::Device) {
        opened::<R>(device).empty_cache();
    }

    fn has_graphs(_: &R::Device) -> bool {
        true
    }

    fn capture(device: &R::Device, step: &mut dyn FnMut()) -> Result<Box<dyn Replay>> {
        graph::capture::<R>(device, step)
    }

    fn map_many(
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        device: &R::Device,
    ) -> Outputs<Self> {
        map::map_many(kernel, inputs, shape, device)
    }

    fn map_into(kernel: Kernel<'_>, inputs: &[&Tensor<Self>], outputs: &[&Tensor<Self>]) {
        map::map_into(kernel, inputs, outputs);
    }

    fn map_each_into(kernel: Kernel<'_>, groups: &[(Vec<&Tensor<Self>>, Vec<&Tensor<Self>>)]) {
        map::map_each_into(kernel, groups);
    }

    fn reduce(
        op: ReduceOp,
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        dims: &[usize],
    ) -> Tensor<Self> {
        reduce::reduce(op, kernel, inputs, shape, dims)
    }

    fn scan(op: ScanOp, x: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        scan::scan(op, x, dim)
    }

    fn sort(x: &Tensor<Self>, dim: usize, descending: bool) -> (Tensor<Self>, Tensor<Self>) {
        sort::sort(x, dim, descending)
    }

    fn topk(x: &Tensor<Self>, k: usize, dim: usize, largest: bool) -> (Tensor<Self>, Tensor<Self>) {
        sort::topk(x, k, dim, largest)
    }

    fn matmul(a: &Tensor<Self>, b: &Tensor<Self>) -> Tensor<Self> {
        matmul::matmul(a, b)
    }

    fn conv(x: &Tensor<Self>, weight: &Tensor<Self>, spec: &ConvSpec) -> Tensor<Self> {
        conv::conv(x, weight, spec)
    }

    fn conv_grad_input(
        grad: &Tensor<Self>,
        weight: &Tensor<Self>,
        input: &Shape,
        spec: &ConvSpec,
    ) -> Tensor<Self> {
        conv::conv_grad_input(grad, weight, input, spec)
    }

    fn conv_grad_weight(
        grad: &Tensor<Self>,
        x: &Tensor<Self>,
        weight: &Shape,
        spec: &ConvSpec,
    ) -> Tensor<Self> {
        conv::conv_grad_weight(grad, x, weight, spec)
    }

    fn max_pool(x: &Tensor<Self>, spec: &PoolSpec) -> (Tensor<Self>, Tensor<Self>) {
        pool::max_pool(x, spec)
    }

    fn avg_pool(x: &Tensor<Self>, spec: &PoolSpec) -> Tensor<Self> {
        pool::avg_pool(x, spec)
    }

    fn avg_pool_grad(grad: &Tensor<Self>, input: &Shape, spec: &PoolSpec) -> Tensor<Self> {
        pool::avg_pool_grad(grad, input, spec)
    }

    fn gather(x: &Tensor<Self>, dim: usize, at: &Tensor<Self>) -> Tensor<Self> {
        index::gather(x, dim, at)
    }

    fn scatter(
        op: ScatterOp,
        x: &Tensor<Self>,
        dim: usize,
        at: &Tensor<Self>,
        src: &Tensor<Self>,
    ) -> Tensor<Self> {
        scatter::scatter(op, x, dim, at, src)
    }

    fn index_select(x: &Tensor<Self>, dim: usize, at: &Tensor<Self>) -> Tensor<Self> {
        index::index_select(x, dim, at)
    }

    fn index_add(
        x: &Tensor<Self>,
        dim: usize,
        at: &Tensor<Self>,
        src: &Tensor<Self>,
    ) -> Tensor<Self> {
        scatter::index_add(x, dim, at, src)
    }

    fn nonzero(x: &Tensor<Self>) -> Tensor<Self> {
        index::nonzero(x)
    }

    fn softmax(x: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        softmax::softmax(x, dim)
    }

    fn softmax_grad(grad: &Tensor<Self>, y: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        softmax::softmax_grad(grad, y, dim)
    }

    fn log_softmax(x: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        softmax::log_softmax(x, dim)
    }

    fn log_softmax_grad(grad: &Tensor<Self>, y: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        softmax::log_softmax_grad(grad, y, dim)
    }

    fn cross_entropy(logits: &Tensor<Self>, target: &Tensor<Self>, ignore: i64) -> Tensor<Self> {
        softmax::cross_entropy(logits, target, ignore)
    }

    fn cross_entropy_grad(
        grad: &Tensor<Self>,
        logits: &Tensor<Self>,
        target: &Tensor<Self>,
        ignore: i64,
    ) -> Tensor<Self> {
        softmax::cross_entropy_grad(grad, logits, target, ignore)
    }

    fn linear(
        x: &Tensor<Self>,
        weight: &Tensor<Self>,
        bias: Option<&Tensor<Self>>,
    ) -> Tensor<Self> {
        linear::linear(x, weight, bias)
    }

    fn linear_act(
        x: &Tensor<Self>,
        weight: &Tensor<Self>,
        bias: Option<&Tensor<Self>>,
        activation: Activation,
        keep: bool,
    ) -> (Tensor<Self>, Option<Tensor<Self>>) {
        linear::linear_act(x, weight, bias, activation, keep)
    }

    fn linear_grad_weight(grad: &Tensor<Self>, x: &Tensor<Self>) -> [Tensor<Self>; 2] {
        linear::linear_grad_weight(grad, x)
    }

    fn scaled_dot_product_attention(
        q: &Tensor<Self>,
        k: &Tensor<Self>,
        v: &Tensor<Self>,
        mask: Option<&Tensor<Self>>,
        spec: &AttentionSpec,
    ) -> [Tensor<Self>; 2] {
        attention::attention(q, k, v, mask, spec)
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
        attention::attention_grad(grad, q, k, v, mask, out, log, spec)
    }

    fn rms_norm(
        x: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Self>; 2] {
        layer_norm::rms_norm(x, weight, dims, eps)
    }

    fn rms_norm_grad(
        grad: &Tensor<Self>,
        x: &Tensor<Self>,
        rstd: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        dims: usize,
        _: f64,
    ) -> [Tensor<Self>; 2] {
        layer_norm::rms_norm_grad(grad, x, rstd, weight, dims)
    }

    fn layer_norm(
        x: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        bias: Option<&Tensor<Self>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Self>; 3] {
        layer_norm::layer_norm(x, weight, bias, dims, eps)
    }

    fn layer_norm_grad(
        grad: &Tensor<Self>,
        x: &Tensor<Self>,
        mean: &Tensor<Self>,
        rstd: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        dims: usize,
        _: f64,
    ) -> [Tensor<Self>; 3] {
        layer_norm::layer_norm_grad(grad, x, mean, rstd, weight, dims)
    }
}
