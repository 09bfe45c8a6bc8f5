//! The living definition of the primitives: naive, slow, no cleverness. Floats are `f64` inside every
//! primitive and are rounded to the tensor's dtype when stored, once. The fused tier is not
//! overridden: it means what `compose` says.

mod index;
mod memory;
mod order;
mod reduce;
mod windows;

use std::fmt;

use kiln_tensor_core::expr::Evaluator;
use kiln_tensor_core::{
    Backend, ConvSpec, DType, Device, Kernel, Layout, MemoryStats, Outputs, Placed, PoolSpec,
    ReduceOp, Scalar, ScanOp, ScatterOp, Shape, Tensor, ViewOp,
};

use crate::host::{decode, encode, indices};
use memory::Array;
pub use memory::ReferenceStorage;

/// The backend that others are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Reference;

/// The only device of [`Reference`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReferenceDevice;

impl Device for ReferenceDevice {}

impl fmt::Display for ReferenceDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reference")
    }
}

type Ref = Tensor<Reference>;

/// The results of a program on every element, one list per output.
fn evaluate(kernel: Kernel<'_>, inputs: &[&Ref], shape: &Shape) -> Vec<Vec<Scalar>> {
    let inputs: Vec<Array> = inputs.iter().map(|x| Array::read(x, Some(shape))).collect();
    let mut outputs = vec![Vec::with_capacity(shape.numel()); kernel.expr.outputs().len()];
    let mut program = Evaluator::new(kernel);
    for i in 0..shape.numel() {
        let results = program.run(i as u64, |input| inputs[input].values[i]);
        for (list, value) in outputs.iter_mut().zip(results) {
            list.push(value);
        }
    }
    outputs
}

impl Backend for Reference {
    type Device = ReferenceDevice;
    type Handle = Placed<ReferenceStorage, ReferenceDevice>;

    fn name() -> &'static str {
        "reference"
    }

    fn upload(bytes: &[u8], shape: &Shape, dtype: DType, _: &ReferenceDevice) -> Ref {
        Array { shape: shape.clone(), values: decode(bytes, dtype) }.store(dtype)
    }

    fn download(x: &Ref) -> Vec<u8> {
        encode(&Array::read(x, None).values, x.dtype())
    }

    /// Elements that no result should ever show: NaN, or a strange number.
    fn empty(shape: &Shape, dtype: DType, _: &ReferenceDevice) -> Ref {
        let unspecified = if dtype.is_float() { Scalar::F64(f64::NAN) } else { Scalar::I64(-85) };
        Array { shape: shape.clone(), values: vec![unspecified; shape.numel()] }.store(dtype)
    }

    fn view(x: &Ref, _: &ViewOp, layout: Layout) -> Ref {
        x.with_layout(layout)
    }

    fn sync(_: &ReferenceDevice) {}

    fn version(x: &Ref) -> u64 {
        x.storage().version()
    }

    fn shares_storage(a: &Ref, b: &Ref) -> bool {
        a.storage().is(b.storage())
    }

    fn is_unique(x: &Ref) -> bool {
        x.storage().is_unique()
    }

    fn memory(_: &ReferenceDevice) -> MemoryStats {
        memory::MEMORY.stats()
    }

    fn reset_peak_memory(_: &ReferenceDevice) {
        memory::MEMORY.reset_peak();
    }

    fn map_many(
        kernel: Kernel<'_>,
        inputs: &[&Ref],
        shape: &Shape,
        _: &ReferenceDevice,
    ) -> Outputs<Self> {
        evaluate(kernel, inputs, shape)
            .into_iter()
            .zip(kernel.expr.outputs())
            .map(|(values, o)| Array { shape: shape.clone(), values }.store(o.dtype))
            .collect()
    }

    fn map_into(kernel: Kernel<'_>, inputs: &[&Ref], outputs: &[&Ref]) {
        let Some(first) = outputs.first() else { return };
        let results = evaluate(kernel, inputs, first.shape());
        for (values, output) in results.iter().zip(outputs) {
            output.storage().write(output.layout(), output.dtype(), values);
        }
    }

    fn reduce(
        op: ReduceOp,
        kernel: Kernel<'_>,
        inputs: &[&Ref],
        shape: &Shape,
        dims: &[usize],
    ) -> Ref {
        let values = evaluate(kernel, inputs, shape).swap_remove(0);
        let dtype = match op {
            ReduceOp::ArgMax | ReduceOp::ArgMin => DType::I64,
            ReduceOp::Any | ReduceOp::All => DType::Bool,
            _ => kernel.expr.outputs()[0].dtype,
        };
        reduce::reduce(op, &Array { shape: shape.clone(), values }, dims).store(dtype)
    }

    fn scan(op: ScanOp, x: &Ref, dim: usize) -> Ref {
        reduce::scan(op, Array::read(x, None), dim).store(x.dtype())
    }

    fn sort(x: &Ref, dim: usize, descending: bool) -> (Ref, Ref) {
        let (values, positions) = order::sort(&Array::read(x, None), dim, descending);
        (values.store(x.dtype()), positions.store(DType::I64))
    }

    fn topk(x: &Ref, k: usize, dim: usize, largest: bool) -> (Ref, Ref) {
        let (values, positions) = order::sort(&Array::read(x, None), dim, largest);
        (values.first(k, dim).store(x.dtype()), positions.first(k, dim).store(DType::I64))
    }

    fn matmul(a: &Ref, b: &Ref) -> Ref {
        let dtype = a.dtype();
        let (m, k, n) = (a.dims()[a.rank() - 2], a.dims()[a.rank() - 1], b.dims()[b.rank() - 1]);
        let (a, b) = (Array::read(a, None), Array::read(b, None));
        let batch = &a.shape[..a.shape.rank() - 2];
        let mut out = Array::zeros([batch, &[m, n]].concat().into(), dtype);
        for lead in indices(batch) {
            for i in indices(&[m, k, n]) {
                let at = |row: usize, col: usize| [&lead[..], &[row, col]].concat();
                let product = reduce::mul(a.get(&at(i[0], i[1])), b.get(&at(i[1], i[2])));
                out.combine(&at(i[0], i[2]), product, reduce::add);
            }
        }
        out.store(dtype)
    }

    fn conv(x: &Ref, weight: &Ref, spec: &ConvSpec) -> Ref {
        let (shape, dtype) = (spec.out_shape(x.dims(), weight.dims()), x.dtype());
        let shape = shape.expect("the caller has checked the sizes");
        let (x, weight) = (Array::read(x, None), Array::read(weight, None));
        let mut y = Array::zeros(shape, dtype);
        let (x_shape, y_shape) = (x.shape.clone(), y.shape.clone());
        windows::conv(&x_shape, &weight.shape, &y_shape, spec, |xi, wi, yi| {
            y.combine(yi, reduce::mul(x.get(xi), weight.get(wi)), reduce::add);
        });
        y.store(dtype)
    }

    fn conv_grad_input(grad: &Ref, weight: &Ref, input: &Shape, spec: &ConvSpec) -> Ref {
        let dtype = grad.dtype();
        let (grad, weight) = (Array::read(grad, None), Array::read(weight, None));
        let mut x = Array::zeros(input.clone(), dtype);
        windows::conv(input, &weight.shape, &grad.shape, spec, |xi, wi, yi| {
            x.combine(xi, reduce::mul(grad.get(yi), weight.get(wi)), reduce::add);
        });
        x.store(dtype)
    }

    fn conv_grad_weight(grad: &Ref, x: &Ref, weight: &Shape, spec: &ConvSpec) -> Ref {
        let dtype = grad.dtype();
        let (grad, x) = (Array::read(grad, None), Array::read(x, None));
        let mut w = Array::zeros(weight.clone(), dtype);
        windows::conv(&x.shape, weight, &grad.shape, spec, |xi, wi, yi| {
            w.combine(wi, reduce::mul(grad.get(yi), x.get(xi)), reduce::add);
        });
        w.store(dtype)
    }

    fn max_pool(x: &Ref, spec: &PoolSpec) -> (Ref, Ref) {
        let (values, positions) = windows::max_pool(&Array::read(x, None), spec);
        (values.store(x.dtype()), positions.store(DType::I64))
    }

    fn avg_pool(x: &Ref, spec: &PoolSpec) -> Ref {
        let shape = windows::pooled(x.shape(), spec);
        let mut y = Array::zeros(shape.clone(), x.dtype());
        let array = Array::read(x, None);
        windows::avg_pool(x.shape(), &shape, spec, |xi, yi, share| {
            let part = Scalar::F64(array.get(xi).to_f64() * share);
            y.combine(yi, part, reduce::add);
        });
        y.store(x.dtype())
    }

    fn avg_pool_grad(grad: &Ref, input: &Shape, spec: &PoolSpec) -> Ref {
        let mut x = Array::zeros(input.clone(), grad.dtype());
        let array = Array::read(grad, None);
        windows::avg_pool(input, grad.shape(), spec, |xi, yi, share| {
            let part = Scalar::F64(array.get(yi).to_f64() * share);
            x.combine(xi, part, reduce::add);
        });
        x.store(grad.dtype())
    }

    fn gather(x: &Ref, dim: usize, index: &Ref) -> Ref {
        index::gather(&Array::read(x, None), dim, &Array::read(index, None)).store(x.dtype())
    }

    fn scatter(op: ScatterOp, x: &Ref, dim: usize, index: &Ref, src: &Ref) -> Ref {
        let (index, src) = (Array::read(index, None), Array::read(src, None));
        index::scatter(op, Array::read(x, None), dim, &index, &src).store(x.dtype())
    }

    fn index_select(x: &Ref, dim: usize, index: &Ref) -> Ref {
        index::select(&Array::read(x, None), dim, &Array::read(index, None)).store(x.dtype())
    }

    fn index_add(x: &Ref, dim: usize, index: &Ref, src: &Ref) -> Ref {
        let (index, src) = (Array::read(index, None), Array::read(src, None));
        index::add(Array::read(x, None), dim, &index, &src).store(x.dtype())
    }

    fn nonzero(x: &Ref) -> Ref {
        index::nonzero(&Array::read(x, None)).store(DType::I64)
    }
}

impl Reference {
    /// The layout that a fresh tensor of this shape has.
    fn layout(shape: &Shape) -> Layout {
        Layout::contiguous(shape)
    }
}
