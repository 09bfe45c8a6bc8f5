//! `impl Backend for Cpu`: chooses a kernel and calls it. No loops here.

use std::sync::Arc;

use kiln_tensor_core::{
    Backend, ConvSpec, DType, Error, HostMemory, Kernel, Layout, MemoryStats, Outputs, PoolSpec,
    ReduceOp, ScanOp, ScatterOp, Shape, Tensor, raise,
};

use crate::kernels::naive;
use crate::storage::{self, Fresh, Storage};
use crate::{Cpu, CpuDevice};

fn missing(op: &'static str) -> ! {
    raise(Error::Unsupported {
        op,
        backend: "cpu".into(),
        why: "its kernel is being written".into(),
    })
}

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
        naive::map(kernel, inputs, shape).into_iter().collect()
    }

    fn map_into(kernel: Kernel<'_>, inputs: &[&Tensor<Self>], outputs: &[&Tensor<Self>]) {
        naive::map_into(kernel, inputs, outputs);
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

    fn sort(_x: &Tensor<Self>, _dim: usize, _descending: bool) -> (Tensor<Self>, Tensor<Self>) {
        missing("sort")
    }

    fn topk(
        _x: &Tensor<Self>,
        _k: usize,
        _dim: usize,
        _largest: bool,
    ) -> (Tensor<Self>, Tensor<Self>) {
        missing("topk")
    }

    fn matmul(_a: &Tensor<Self>, _b: &Tensor<Self>) -> Tensor<Self> {
        missing("matmul")
    }

    fn conv(_x: &Tensor<Self>, _weight: &Tensor<Self>, _spec: &ConvSpec) -> Tensor<Self> {
        missing("conv")
    }

    fn conv_grad_input(
        _grad: &Tensor<Self>,
        _weight: &Tensor<Self>,
        _input: &Shape,
        _spec: &ConvSpec,
    ) -> Tensor<Self> {
        missing("conv_grad_input")
    }

    fn conv_grad_weight(
        _grad: &Tensor<Self>,
        _x: &Tensor<Self>,
        _weight: &Shape,
        _spec: &ConvSpec,
    ) -> Tensor<Self> {
        missing("conv_grad_weight")
    }

    fn max_pool(_x: &Tensor<Self>, _spec: &PoolSpec) -> (Tensor<Self>, Tensor<Self>) {
        missing("max_pool")
    }

    fn avg_pool(_x: &Tensor<Self>, _spec: &PoolSpec) -> Tensor<Self> {
        missing("avg_pool")
    }

    fn avg_pool_grad(_grad: &Tensor<Self>, _input: &Shape, _spec: &PoolSpec) -> Tensor<Self> {
        missing("avg_pool_grad")
    }

    fn gather(_x: &Tensor<Self>, _dim: usize, _index: &Tensor<Self>) -> Tensor<Self> {
        missing("gather")
    }

    fn scatter(
        _op: ScatterOp,
        _x: &Tensor<Self>,
        _dim: usize,
        _index: &Tensor<Self>,
        _src: &Tensor<Self>,
    ) -> Tensor<Self> {
        missing("scatter")
    }

    fn index_select(_x: &Tensor<Self>, _dim: usize, _index: &Tensor<Self>) -> Tensor<Self> {
        missing("index_select")
    }

    fn index_add(
        _x: &Tensor<Self>,
        _dim: usize,
        _index: &Tensor<Self>,
        _src: &Tensor<Self>,
    ) -> Tensor<Self> {
        missing("index_add")
    }

    fn nonzero(_x: &Tensor<Self>) -> Tensor<Self> {
        missing("nonzero")
    }
}
