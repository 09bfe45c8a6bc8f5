//! `impl Backend for Minimal`: the required tier. All that is not here has a default.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kiln_tensor_core::expr::Evaluator;
use kiln_tensor_core::{
    Backend, ConvSpec, DType, Kernel, Layout, MemoryStats, Outputs, Placed, PoolSpec, ReduceOp,
    Scalar, ScanOp, ScatterOp, Shape, ViewOp,
};

use crate::places::lanes;
use crate::storage::{self, MEMORY, Storage, load, numbers, room, scalars, store, tensor, write};
use crate::windows::{self, average, convolve};
use crate::{Host, Minimal, Tensor, along, index};

/// Runs a program on inputs that broadcast to `shape`: a column of values for each output.
fn run(kernel: Kernel<'_>, inputs: &[&Tensor], shape: &Shape) -> Vec<Vec<Scalar>> {
    let read = |x: &&Tensor| {
        let layout = x.layout().broadcast_to(shape);
        scalars(x, &layout.expect("the caller has checked the shapes"))
    };
    let inputs: Vec<Vec<Scalar>> = inputs.iter().map(read).collect();
    let mut columns = vec![Vec::with_capacity(shape.numel()); kernel.expr.outputs().len()];
    let mut program = Evaluator::new(kernel);
    (0..shape.numel()).for_each(|i| {
        let values = program.run(i as u64, |input| inputs[input][i]);
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    });
    columns
}

impl Backend for Minimal {
    type Device = Host;
    type Handle = Placed<Storage, Host>;

    fn name() -> &'static str {
        "minimal"
    }

    fn upload(bytes: &[u8], shape: &Shape, dtype: DType, _: &Host) -> Tensor {
        tensor(bytes.to_vec(), shape, dtype)
    }

    fn download(x: &Tensor) -> Vec<u8> {
        storage::bytes(x)
    }

    fn empty(shape: &Shape, dtype: DType, _: &Host) -> Tensor {
        tensor(room(shape.numel(), dtype), shape, dtype)
    }

    fn view(x: &Tensor, _: &ViewOp, layout: Layout) -> Tensor {
        x.with_layout(layout)
    }

    fn sync(_: &Host) {}

    fn version(x: &Tensor) -> u64 {
        x.storage().0.version.load(Ordering::Relaxed)
    }

    fn shares_storage(a: &Tensor, b: &Tensor) -> bool {
        Arc::ptr_eq(&a.storage().0, &b.storage().0)
    }

    fn is_unique(x: &Tensor) -> bool {
        Arc::strong_count(&x.storage().0) == 1
    }

    fn memory(_: &Host) -> MemoryStats {
        MEMORY.stats()
    }

    fn reset_peak_memory(_: &Host) {
        MEMORY.reset_peak();
    }

    fn map_many(kernel: Kernel<'_>, inputs: &[&Tensor], shape: &Shape, _: &Host) -> Outputs<Self> {
        let columns = run(kernel, inputs, shape);
        let outputs = columns.iter().zip(kernel.expr.outputs());
        outputs.map(|(column, output)| store(column, shape, output.dtype)).collect()
    }

    fn map_into(kernel: Kernel<'_>, inputs: &[&Tensor], outputs: &[&Tensor]) {
        let columns = run(kernel, inputs, outputs[0].shape());
        outputs.iter().zip(&columns).for_each(|(output, column)| write(output, column));
    }

    fn reduce(
        op: ReduceOp,
        kernel: Kernel<'_>,
        inputs: &[&Tensor],
        shape: &Shape,
        dims: &[usize],
    ) -> Tensor {
        let column = run(kernel, inputs, shape).remove(0);
        let (lanes, dtype) = (lanes(shape, dims), kernel.expr.outputs()[0].dtype);
        let values = numbers!(dtype, along::reduce(op, &column, &lanes));
        let mut out = shape.clone();
        dims.iter().for_each(|&dim| out[dim] = 1);
        match op {
            ReduceOp::ArgMax | ReduceOp::ArgMin => store(&values, &out, DType::I64),
            _ => store(&values, &out, dtype),
        }
    }

    fn scan(op: ScanOp, x: &Tensor, dim: usize) -> Tensor {
        numbers!(x.dtype(), along::scan(op, x, dim))
    }

    fn topk(x: &Tensor, k: usize, dim: usize, largest: bool) -> (Tensor, Tensor) {
        numbers!(x.dtype(), along::topk(x, k, dim, largest))
    }

    fn matmul(a: &Tensor, b: &Tensor) -> Tensor {
        numbers!(a.dtype(), along::matmul(a, b))
    }

    fn conv(x: &Tensor, weight: &Tensor, spec: &ConvSpec) -> Tensor {
        let shape = spec.out_shape(x.dims(), weight.dims()).expect("the caller has checked it");
        let (mut out, a, b) = (vec![0.0; shape.numel()], load::<f64>(x), load::<f64>(weight));
        convolve(x.shape(), weight.shape(), &shape, spec, |x, w, y| out[y] += a[x] * b[w]);
        store(&out, &shape, x.dtype())
    }

    fn conv_grad_input(grad: &Tensor, weight: &Tensor, input: &Shape, spec: &ConvSpec) -> Tensor {
        let (mut out, a, b) = (vec![0.0; input.numel()], load::<f64>(grad), load::<f64>(weight));
        convolve(input, weight.shape(), grad.shape(), spec, |x, w, y| out[x] += a[y] * b[w]);
        store(&out, input, grad.dtype())
    }

    fn conv_grad_weight(grad: &Tensor, x: &Tensor, weight: &Shape, spec: &ConvSpec) -> Tensor {
        let (mut out, a, b) = (vec![0.0; weight.numel()], load::<f64>(grad), load::<f64>(x));
        convolve(x.shape(), weight, grad.shape(), spec, |x, w, y| out[w] += a[y] * b[x]);
        store(&out, weight, x.dtype())
    }

    fn max_pool(x: &Tensor, spec: &PoolSpec) -> (Tensor, Tensor) {
        numbers!(x.dtype(), windows::max_pool(x, spec))
    }

    fn avg_pool(x: &Tensor, spec: &PoolSpec) -> Tensor {
        let shape = spec.out_shape(x.dims()).expect("the caller has checked it");
        let (mut out, values) = (vec![0.0; shape.numel()], load::<f64>(x));
        average(x.shape(), &shape, spec, |x, y, share| out[y] += values[x] * share);
        store(&out, &shape, x.dtype())
    }

    fn avg_pool_grad(grad: &Tensor, input: &Shape, spec: &PoolSpec) -> Tensor {
        let (mut out, values) = (vec![0.0; input.numel()], load::<f64>(grad));
        average(input, grad.shape(), spec, |x, y, share| out[x] += values[y] * share);
        store(&out, input, grad.dtype())
    }

    fn gather(x: &Tensor, dim: usize, at: &Tensor) -> Tensor {
        numbers!(x.dtype(), index::gather(x, dim, at))
    }

    fn scatter(op: ScatterOp, x: &Tensor, dim: usize, at: &Tensor, src: &Tensor) -> Tensor {
        numbers!(x.dtype(), index::scatter(op, x, dim, at, src))
    }

    fn nonzero(x: &Tensor) -> Tensor {
        numbers!(x.dtype(), index::nonzero(x))
    }
}
