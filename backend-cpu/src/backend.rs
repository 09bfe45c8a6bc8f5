//! `impl Backend for Cpu`: chooses a kernel and calls it. No loops here.

use std::sync::Arc;

use kiln_tensor_core::{
    AttentionSpec, Backend, ConvSpec, DType, Factorization, HostMemory, Kernel, Layout,
    MemoryStats, Outputs, Placed, PoolSpec, ReduceOp, ScanOp, ScatterOp, Shape, Tensor, ViewOp,
};

use crate::kernels::{
    attention, batch_norm, cat, conv, index, layer_norm, linalg, map, matmul, nonzero, pool,
    reduce, rms_norm, scan, softmax, sort,
};
use crate::storage::{self, Fresh, Storage};
use crate::{Cpu, CpuDevice};

impl Backend for Cpu {
    type Device = CpuDevice;
    type Handle = Placed<Storage, CpuDevice>;

    fn name() -> &'static str {
        "Cpu"
    }

    fn upload(bytes: &[u8], shape: &Shape, dtype: DType, _: &CpuDevice) -> Tensor<Self> {
        let mut out = Fresh::new(shape, dtype);
        out.bytes_mut().copy_from_slice(bytes);
        if dtype == DType::Bool {
            // Kernels rely on 0 and 1.
            out.bytes_mut().iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
        }
        out.finish()
    }

    fn download(x: &Tensor<Self>) -> Vec<u8> {
        storage::to_bytes(&x.contiguous())
    }

    fn empty(shape: &Shape, dtype: DType, _: &CpuDevice) -> Tensor<Self> {
        Fresh::new(shape, dtype).finish()
    }

    fn view(x: &Tensor<Self>, _: &ViewOp, layout: Layout) -> Tensor<Self> {
        x.with_layout(layout)
    }

    fn sync(_: &CpuDevice) {}

    fn version(x: &Tensor<Self>) -> u64 {
        x.storage().version()
    }

    fn shares_storage(a: &Tensor<Self>, b: &Tensor<Self>) -> bool {
        a.storage().key() == b.storage().key()
    }

    fn is_unique(x: &Tensor<Self>) -> bool {
        x.storage().is_unique()
    }

    fn memory(_: &CpuDevice) -> MemoryStats {
        storage::stats()
    }

    fn reset_peak_memory(_: &CpuDevice) {
        storage::reset_peak();
    }

    fn empty_cache(_: &CpuDevice) {
        storage::empty_cache();
    }

    fn adopt(memory: Arc<dyn HostMemory>, shape: &Shape, device: &CpuDevice) -> Tensor<Self> {
        let dtype = memory.dtype();
        let storage = Storage::adopt(memory, shape.numel().saturating_mul(dtype.size()));
        Tensor::from_handle(Placed::new(storage, Layout::contiguous(shape), dtype, *device))
    }

    fn map(
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        _: &CpuDevice,
    ) -> Tensor<Self> {
        map::map(kernel, inputs, shape)
    }

    fn map_many(
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        _: &CpuDevice,
    ) -> Outputs<Self> {
        map::map_many(kernel, inputs, shape)
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

    fn cat(tensors: &[&Tensor<Self>], dim: usize) -> Tensor<Self> {
        cat::cat(tensors, dim)
    }

    fn linear(
        x: &Tensor<Self>,
        weight: &Tensor<Self>,
        bias: Option<&Tensor<Self>>,
    ) -> Tensor<Self> {
        matmul::linear(x, weight, bias)
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

    fn gather(x: &Tensor<Self>, dim: usize, index: &Tensor<Self>) -> Tensor<Self> {
        index::gather(x, dim, index)
    }

    fn scatter(
        op: ScatterOp,
        x: &Tensor<Self>,
        dim: usize,
        index: &Tensor<Self>,
        src: &Tensor<Self>,
    ) -> Tensor<Self> {
        index::scatter(op, x, dim, index, src)
    }

    fn index_select(x: &Tensor<Self>, dim: usize, index: &Tensor<Self>) -> Tensor<Self> {
        index::select(x, dim, index)
    }

    fn index_add(
        x: &Tensor<Self>,
        dim: usize,
        index: &Tensor<Self>,
        src: &Tensor<Self>,
    ) -> Tensor<Self> {
        index::add(x, dim, index, src)
    }

    fn nonzero(x: &Tensor<Self>) -> Tensor<Self> {
        nonzero::nonzero(x)
    }

    fn max_pool_grad(grad: &Tensor<Self>, indices: &Tensor<Self>, input: &Shape) -> Tensor<Self> {
        pool::max_pool_grad(grad, indices, input)
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

    fn rms_norm(
        x: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Self>; 2] {
        rms_norm::rms_norm(x, weight, dims, eps)
    }

    fn rms_norm_grad(
        grad: &Tensor<Self>,
        x: &Tensor<Self>,
        rstd: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        dims: usize,
        _: f64,
    ) -> [Tensor<Self>; 2] {
        rms_norm::rms_norm_grad(grad, x, rstd, weight, dims)
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

    fn batch_norm(
        x: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        bias: Option<&Tensor<Self>>,
        eps: f64,
    ) -> [Tensor<Self>; 3] {
        batch_norm::batch_norm(x, weight, bias, eps)
    }

    fn batch_norm_grad(
        grad: &Tensor<Self>,
        x: &Tensor<Self>,
        mean: &Tensor<Self>,
        var: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        eps: f64,
    ) -> [Tensor<Self>; 3] {
        batch_norm::batch_norm_grad(grad, x, mean, var, weight, eps)
    }

    fn factor(x: &Tensor<Self>, kind: Factorization) -> Outputs<Self> {
        linalg::factor(x, kind)
    }

    fn solve_triangular(
        a: &Tensor<Self>,
        b: &Tensor<Self>,
        upper: bool,
        unit: bool,
    ) -> Tensor<Self> {
        linalg::solve_triangular(a, b, upper, unit)
    }
}
