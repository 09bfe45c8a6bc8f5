//! Reading and writing by index. Writes along a dim go in order: a line is one work-item's, so that the same
//! sums come out on every run.

use bytemuck::{Pod, Zeroable};
use kiln_tensor_core::{Backend, DType, Error, ScatterOp, Tensor, raise};

use crate::launch::{Call, supported};
use crate::place::Sizes;
use crate::source::{Operand, Width, locate};
use crate::storage::{copied, fresh, plain};
use crate::{Gpu, Runtime};

type T<R> = Tensor<Gpu<R>>;

/// A shape seen as [before, dim, after]. `Split` of the kernels below.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Split {
    before: i64,
    size: i64,
    after: i64,
}

const SPLIT: &str = "typedef struct { i64 before; i64 size; i64 after; } Split;\n";

fn split(shape: &[usize], dim: usize) -> Split {
    Split {
        before: shape[..dim].iter().product::<usize>() as i64,
        size: shape[dim] as i64,
        after: shape[dim + 1..].iter().product::<usize>() as i64,
    }
}

const GUARD: &str = "if (at < 0 || at >= size) { FAULT(at); return; }";

/// The part of `x` whose other dims are as long as those of `index`.
fn cropped<R: Runtime>(x: &T<R>, dim: usize, index: &[usize]) -> T<R> {
    (0..x.rank()).filter(|&d| d != dim).fold(x.clone(), |x, d| x.narrow(d as isize, 0, index[d]))
}

/// See `Backend::gather`.
#[track_caller]
pub(crate) fn gather<R: Runtime>(x: &T<R>, dim: usize, index: &T<R>) -> T<R> {
    gathered("gather", x, dim, index)
}

#[track_caller]
fn gathered<R: Runtime>(op: &'static str, x: &T<R>, dim: usize, index: &T<R>) -> T<R> {
    let (device, whole) = (x.device(), x.shape());
    let out = fresh::<R>(index.shape(), x.dtype(), device);
    if out.numel() == 0 {
        return out;
    }
    if x.numel() == 0 {
        let index = index.flatten(0, -1).narrow(0, 0, 1).to_vec::<i64>()[0];
        let (size, shape) = (whole[dim], whole.clone());
        raise(Error::Index { op, what: "index", index, size, shape, called: None });
    }
    let (x, index) = (plain(&cropped(x, dim, index.dims())), plain(index));
    let (from, to) = (Operand::moved("x", x.dtype()), Operand::moved("y", x.dtype()));
    let picks = Operand::new("picks", DType::I64, true);
    let body = || {
        format!(
            "{SPLIT}KERNEL void gather(i64 n, i64 size, Split s, {},
    {}, {}, FAULTS) {{
    const i64 item = ITEM;
    if (item >= n) return;
    const i64 at = {};
    {GUARD}
    const i64 line = item / s.after;
    {}
}}
",
            from.read(),
            picks.read(),
            to.write(),
            picks.load("item"),
            to.store(
                "item",
                &from.load("(line / s.size * size + at) * s.after + (item - line * s.after)")
            ),
        )
    };
    Call::<R>::new(device)
        .value(out.numel() as i64)
        .value(x.dims()[dim] as i64)
        .value(split(index.dims(), dim))
        .operand(&from, &x)
        .operand(&picks, &index)
        .operand(&to, &out)
        .watched(op, whole[dim], whole)
        .run("gather", x.dtype(), out.numel(), body);
    out
}

/// See `Backend::index_select`.
#[track_caller]
pub(crate) fn index_select<R: Runtime>(x: &T<R>, dim: usize, index: &T<R>) -> T<R> {
    let mut shape: Vec<isize> = vec![1; x.rank()];
    shape[dim] = index.numel() as isize;
    let wide = x.shape().with(dim, index.numel());
    if index.numel() > 0 && wide.numel() == 0 {
        // No element is read, but an index that names no slice is wrong all the same.
        let wrong = |&i: &i64| i < 0 || i >= x.dims()[dim] as i64;
        if let Some(index) = index.to_vec::<i64>().into_iter().find(wrong) {
            let (size, shape) = (x.dims()[dim], x.shape().clone());
            let (op, what) = ("index_select", "index");
            raise(Error::Index { op, what, index, size, shape, called: None });
        }
        return fresh::<R>(&wide, x.dtype(), x.device());
    }
    let spread = index.view(shape.as_slice()).expand(&wide[..]);
    gathered("index_select", x, dim, &spread)
}

/// See `Backend::scatter`.
#[track_caller]
pub(crate) fn scatter<R: Runtime>(
    op: ScatterOp,
    x: &T<R>,
    dim: usize,
    index: &T<R>,
    src: &T<R>,
) -> T<R> {
    combined("scatter", op, x, dim, index, src)
}

/// See `Backend::index_add`.
#[track_caller]
pub(crate) fn index_add<R: Runtime>(x: &T<R>, dim: usize, index: &T<R>, src: &T<R>) -> T<R> {
    let mut shape: Vec<isize> = vec![1; x.rank()];
    shape[dim] = index.numel() as isize;
    let spread = index.view(shape.as_slice()).expand(src.dims());
    combined("index_add", ScatterOp::Add, x, dim, &spread, src)
}

#[track_caller]
fn combined<R: Runtime>(
    op: &'static str,
    how: ScatterOp,
    x: &T<R>,
    dim: usize,
    index: &T<R>,
    src: &T<R>,
) -> T<R> {
    let (dtype, device) = (x.dtype(), x.device());
    supported::<R>(op, device, [dtype]);
    let wide = if dtype == DType::Bool { DType::I32 } else { dtype.compute() };
    if wide != dtype && how != ScatterOp::Set {
        // Sums of narrow numbers are rounded once.
        let sum = combined(op, how, &x.to_dtype(wide), dim, index, &src.to_dtype(wide));
        return sum.to_dtype(dtype);
    }
    let out = copied(x);
    let lines = index.numel() / index.dims()[dim].max(1);
    if lines == 0 {
        return out;
    }
    // Lines that no index touches are left out: the kernel walks over those of `index` in `out`.
    let (index, src) = (plain(index), plain(src));
    let strides: Vec<i64> = out.strides().iter().map(|&s| s as i64).collect();
    let mut places = [0i64; crate::place::MAX_RANK];
    let others: Vec<usize> = (0..x.rank()).filter(|&d| d != dim).collect();
    if others.len() > places.len() {
        raise(Error::Shape {
            op,
            shapes: vec![x.shape().clone()],
            why: format!("at most {} dims beside the indexed one", places.len()),
        });
    }
    for (to, &d) in places.iter_mut().zip(&others) {
        *to = strides[d];
    }
    let sizes: Vec<usize> = others.iter().map(|&d| index.dims()[d]).collect();
    let mut from = [0i64; crate::place::MAX_RANK];
    for (to, &d) in from.iter_mut().zip(&others) {
        *to = index.strides()[d] as i64;
    }
    let operand = |name| match how {
        ScatterOp::Set => Operand::moved(name, dtype),
        _ => Operand::new(name, dtype, true),
    };
    let (source, target) = (operand("src"), operand("y"));
    let picks = Operand::new("picks", DType::I64, true);
    let ty = source.ty();
    let value = match how {
        ScatterOp::Set => "v".into(),
        ScatterOp::Add if dtype.is_int() => format!("add_{ty}(old, v)"),
        ScatterOp::Mul if dtype.is_int() => format!("mul_{ty}(old, v)"),
        ScatterOp::Add => "old + v".into(),
        ScatterOp::Mul => "old * v".into(),
        ScatterOp::Max => "(old != old || old >= v) ? old : v".into(),
        ScatterOp::Min => "(old != old || old <= v) ? old : v".into(),
    };
    let body = || {
        let places = [("base", "to"), ("source", "from")];
        let places = places.map(|(at, steps)| (at.to_owned(), format!("{steps}.by")));
        format!(
            "typedef struct {{ i64 by[MAX_RANK]; }} Steps;
KERNEL void scatter(i64 lines, i64 count, i64 size, Sizes sizes, Steps to, i64 to_step,
    Steps from, i64 from_step, {picks}, {src},
    {y}, FAULTS) {{
    const i64 line = ITEM;
    if (line >= lines) return;
    i64 base = 0, source = 0;
{by_line}    for (i64 i = 0; i < count; ++i) {{
        const i64 at = {at};
        {GUARD}
        const {ty} v = {load}, old = {old};
        {store}
    }}
}}
",
            by_line = locate("line", "sizes", ["0", "(int)sizes.rank"], Width::Long, places),
            picks = picks.read(),
            src = source.read(),
            y = target.write(),
            at = picks.load("source + i * from_step"),
            load = source.load("source + i * from_step"),
            old = target.load("base + at * to_step"),
            store = target.store("base + at * to_step", &value),
        )
    };
    Call::<R>::new(device)
        .value(lines as i64)
        .value(index.dims()[dim] as i64)
        .value(out.dims()[dim] as i64)
        .value(Sizes::new(&sizes))
        .value(places)
        .value(strides[dim])
        .value(from)
        .value(index.strides()[dim] as i64)
        .operand(&picks, &index)
        .operand(&source, &src)
        .operand(&target, &out)
        .watched(op, x.dims()[dim], x.shape())
        .run("scatter", (how, dtype), lines, body);
    out
}

/// See `Backend::nonzero`.
#[track_caller]
pub(crate) fn nonzero<R: Runtime>(x: &T<R>) -> T<R> {
    let (device, rank, n) = (x.device(), x.rank(), x.numel());
    let empty = |count: usize| fresh::<R>(&[count, rank].into(), DType::I64, device);
    if n == 0 {
        return empty(0);
    }
    let flags = plain(&x.ne(0).flatten(0, -1).to_dtype(DType::I64));
    let counts = Gpu::<R>::scan(kiln_tensor_core::ScanOp::Sum, &flags, 0);
    let total = counts.narrow(0, n - 1, 1).to_vec::<i64>()[0] as usize;
    let out = empty(total);
    if out.numel() == 0 {
        return out;
    }
    let body = "KERNEL void nonzero(i64 n, Sizes sizes, const GLOBAL i64* flags,
    const GLOBAL i64* counts, GLOBAL i64* y) {
    i64 rest = ITEM;
    if (rest >= n || !flags[rest]) return;
    const i64 row = (counts[rest] - 1) * sizes.rank;
    for (int d = (int)sizes.rank - 1; d >= 0; --d) {
        const i64 next = rest / sizes.sizes[d];
        y[row + d] = rest - next * sizes.sizes[d];
        rest = next;
    }
}
";
    if rank > crate::place::MAX_RANK {
        raise(Error::Shape {
            op: "nonzero",
            shapes: vec![x.shape().clone()],
            why: format!("at most {} dims", crate::place::MAX_RANK),
        });
    }
    Call::<R>::new(device)
        .value(n as i64)
        .value(Sizes::new(x.dims()))
        .tensor(&flags)
        .tensor(&counts)
        .tensor(&out)
        .run("nonzero", (), n, || body.into());
    out
}
