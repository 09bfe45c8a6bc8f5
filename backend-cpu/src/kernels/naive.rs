//! Elementwise programs, one scalar at a time.

use half::{bf16, f16};
use kiln_tensor_core::{
    DType, Element, Kernel, Layout, ReduceOp, Scalar, ScanOp, Shape, Tensor, expr,
};

use crate::Cpu;
use crate::storage::{Fresh, Locked};

fn at(layout: &Layout, mut i: usize) -> usize {
    let mut place = layout.offset() as isize;
    for (&size, &stride) in layout.shape().iter().zip(layout.strides()).rev() {
        place += (i % size) as isize * stride;
        i /= size;
    }
    place as usize
}

macro_rules! each {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            DType::F64 => {
                type $T = f64;
                $body
            }
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::F16 => {
                type $T = f16;
                $body
            }
            DType::BF16 => {
                type $T = bf16;
                $body
            }
            DType::I64 => {
                type $T = i64;
                $body
            }
            DType::I32 => {
                type $T = i32;
                $body
            }
            DType::I16 => {
                type $T = i16;
                $body
            }
            DType::I8 => {
                type $T = i8;
                $body
            }
            DType::U8 | DType::Bool => {
                type $T = u8;
                $body
            }
        }
    };
}

fn get(locked: &Locked<'_>, x: &Tensor<Cpu>, i: usize) -> Scalar {
    let v = each!(x.dtype(), T => locked.slice::<T>(x)[i].to_scalar());
    if x.dtype() == DType::Bool { Scalar::Bool(v.to_bool()) } else { v }
}

fn put(base: *mut u8, dtype: DType, i: usize, v: Scalar) {
    let v = if dtype == DType::Bool { Scalar::Bool(v.to_bool()) } else { v };
    // SAFETY: the caller's place lies inside the output.
    each!(dtype, T => unsafe { base.cast::<T>().add(i).write(T::from_scalar(v)) });
}

fn values(
    kernel: Kernel<'_>,
    inputs: &[&Tensor<Cpu>],
    layouts: &[Layout],
    locked: &Locked<'_>,
    i: usize,
) -> Vec<Scalar> {
    let values: Vec<Scalar> =
        inputs.iter().zip(layouts).map(|(x, l)| get(locked, x, at(l, i))).collect();
    expr::eval(kernel, &values, i as u64)
}

fn layouts(inputs: &[&Tensor<Cpu>], shape: &Shape) -> Vec<Layout> {
    inputs.iter().map(|x| x.layout().broadcast_to(shape).expect("inputs broadcast")).collect()
}

pub(crate) fn map(kernel: Kernel<'_>, inputs: &[&Tensor<Cpu>], shape: &Shape) -> Vec<Tensor<Cpu>> {
    let mut outs: Vec<Fresh> =
        kernel.expr.outputs().iter().map(|o| Fresh::new(shape, o.dtype)).collect();
    let layouts = layouts(inputs, shape);
    let locked = Locked::read(inputs);
    for i in 0..shape.numel() {
        let v = values(kernel, inputs, &layouts, &locked, i);
        for ((out, o), v) in outs.iter_mut().zip(kernel.expr.outputs()).zip(v) {
            put(out.ptr(), o.dtype, i, v);
        }
    }
    outs.into_iter().map(Fresh::finish).collect()
}

pub(crate) fn map_into(kernel: Kernel<'_>, inputs: &[&Tensor<Cpu>], outputs: &[&Tensor<Cpu>]) {
    let shape = outputs[0].shape();
    let layouts = layouts(inputs, shape);
    let locked = Locked::new(inputs, outputs);
    for i in 0..shape.numel() {
        let v = values(kernel, inputs, &layouts, &locked, i);
        for (out, v) in outputs.iter().zip(v) {
            let place = at(out.layout(), i) as isize - out.layout().offset() as isize;
            put(locked.ptr(out), out.dtype(), place as usize, v);
        }
    }
}

pub(crate) fn reduce(
    op: ReduceOp,
    kernel: Kernel<'_>,
    inputs: &[&Tensor<Cpu>],
    shape: &Shape,
    dims: &[usize],
) -> Tensor<Cpu> {
    let x = map(kernel, inputs, shape).remove(0);
    let mut kept = shape.clone();
    dims.iter().for_each(|&d| kept[d] = 1);
    let dtype = match op {
        ReduceOp::ArgMax | ReduceOp::ArgMin => DType::I64,
        ReduceOp::Any | ReduceOp::All => DType::Bool,
        _ => x.dtype(),
    };
    let mut out = Fresh::new(&kept, dtype);
    let mut acc: Vec<Option<(Scalar, usize)>> = vec![None; kept.numel()];
    let place = {
        let l = Layout::contiguous(&kept);
        let strides = l
            .strides()
            .iter()
            .enumerate()
            .map(|(d, &s)| if dims.contains(&d) { 0 } else { s })
            .collect();
        Layout::new(shape.clone(), strides, 0)
    };
    let locked = Locked::read(&[&x]);
    for i in 0..shape.numel() {
        let v = get(&locked, &x, i);
        let slot = &mut acc[at(&place, i)];
        let along = if dims.len() == 1 {
            i / shape[dims[0] + 1..].iter().product::<usize>() % shape[dims[0]]
        } else {
            0
        };
        *slot = Some(match *slot {
            None => (v, along),
            Some((a, j)) => combine(op, (a, j), (v, along)),
        });
    }
    for (i, slot) in acc.into_iter().enumerate() {
        let empty = match op {
            ReduceOp::Prod | ReduceOp::All => Scalar::I64(1),
            ReduceOp::Max => Scalar::F64(f64::NEG_INFINITY),
            ReduceOp::Min => Scalar::F64(f64::INFINITY),
            _ => Scalar::I64(0),
        };
        let v = match (op, slot) {
            (ReduceOp::ArgMax | ReduceOp::ArgMin, Some((_, j))) => Scalar::I64(j as i64),
            (_, Some((v, _))) => v,
            (_, None) => empty,
        };
        put(out.ptr(), dtype, i, v);
    }
    out.finish()
}

fn combine(op: ReduceOp, (a, j): (Scalar, usize), (v, k): (Scalar, usize)) -> (Scalar, usize) {
    let (x, y) = (a.to_f64(), v.to_f64());
    let float = matches!(a, Scalar::F64(_));
    let less = if float { x < y } else { a.to_i64() < v.to_i64() };
    let more = if float { x > y } else { a.to_i64() > v.to_i64() };
    let nan = y.is_nan() && !x.is_nan();
    match op {
        ReduceOp::Sum if float => (Scalar::F64(x + y), j),
        ReduceOp::Sum => (Scalar::I64(a.to_i64().wrapping_add(v.to_i64())), j),
        ReduceOp::Prod if float => (Scalar::F64(x * y), j),
        ReduceOp::Prod => (Scalar::I64(a.to_i64().wrapping_mul(v.to_i64())), j),
        ReduceOp::Max | ReduceOp::ArgMax => {
            if less || nan {
                (v, k)
            } else {
                (a, j)
            }
        }
        ReduceOp::Min | ReduceOp::ArgMin => {
            if more || nan {
                (v, k)
            } else {
                (a, j)
            }
        }
        ReduceOp::Any => (Scalar::Bool(a.to_bool() | v.to_bool()), j),
        ReduceOp::All => (Scalar::Bool(a.to_bool() & v.to_bool()), j),
    }
}

pub(crate) fn scan(op: ScanOp, x: &Tensor<Cpu>, dim: usize) -> Tensor<Cpu> {
    let mut out = Fresh::new(x.shape(), x.dtype());
    let locked = Locked::read(&[x]);
    let inner: usize = x.dims()[dim + 1..].iter().product();
    let mut acc = vec![Scalar::I64(0); inner];
    for i in 0..x.numel() {
        let v = get(&locked, x, at(x.layout(), i));
        let slot = &mut acc[i % inner];
        let op = if op == ScanOp::Sum { ReduceOp::Sum } else { ReduceOp::Prod };
        *slot = if i / inner % x.dims()[dim] == 0 { v } else { combine(op, (*slot, 0), (v, 0)).0 };
        put(out.ptr(), x.dtype(), i, *slot);
    }
    out.finish()
}
