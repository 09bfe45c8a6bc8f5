//! `impl Backend for Cpu`: chooses a kernel and calls it. No loops here.

use std::sync::Arc;

use kiln_tensor_core::{
    Backend, ConvSpec, DType, HostMemory, Kernel, Layout, MemoryStats, Outputs, PoolSpec, ReduceOp,
    ScanOp, ScatterOp, Shape, Tensor,
};

use crate::kernels::{cat, conv, index, map, matmul, naive, nonzero, pool, sort};
use crate::storage::{self, Fresh, Storage};
use crate::{Cpu, CpuDevice};

impl Backend for Cpu {
    type Device = CpuDevice;
    type Storage = Storage;

    fn name() -> &'static str {
        "Cpu"
    }

    fn upload(bytes: &[u8], shape: &Shape, dtype: DType, _: &CpuDevice) -> Tensor<Self> {
        let mut out = Fresh::new(shape, dtype);
        out.bytes_mut().copy_from_slice(bytes);
        out.finish()
    }

    fn download(x: &Tensor<Self>) -> Vec<u8> {
        storage::to_bytes(&x.contiguous())
    }

    fn empty(shape: &Shape, dtype: DType, _: &CpuDevice) -> Tensor<Self> {
        Fresh::new(shape, dtype).finish()
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

    fn adopt(memory: Arc<dyn HostMemory>, shape: &Shape, device: &CpuDevice) -> Tensor<Self> {
        let dtype = memory.dtype();
        let storage = Storage::adopt(memory, shape.numel().saturating_mul(dtype.size()));
        Tensor::from_parts(storage, Layout::contiguous(shape), dtype, *device)
    }

    fn map(
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        _: &CpuDevice,
    ) -> Outputs<Self> {
        map::map(kernel, inputs, shape)
    }

    fn map_into(kernel: Kernel<'_>, inputs: &[&Tensor<Self>], outputs: &[&Tensor<Self>]) {
        map::map_into(kernel, inputs, outputs);
    }

    fn reduce(
        op: ReduceOp,
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        dims: &[usize],
    ) -> Tensor<Self> {
        naive::reduce(op, kernel, inputs, shape, dims)
    }

    fn scan(op: ScanOp, x: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        naive::scan(op, x, dim)
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
}
