//! Reading by index.

use kiln_tensor_core::{Backend, DType, Error, Layout, Shape, Tensor, raise};

use crate::launch::Call;
use crate::place::{Sizes, walk};
use crate::source::{Operand, Width, locate};
use crate::storage::{fresh, plain};
use crate::{Gpu, Runtime};

type T<R> = Tensor<Gpu<R>>;

pub(super) const GUARD: &str = "if (at < 0 || at >= size) { FAULT(at); return; }";

/// Reports the first index into a tensor that has no elements.
#[track_caller]
pub(super) fn no_place<R: Runtime>(op: &'static str, index: &T<R>, shape: &Shape, dim: usize) -> ! {
    let index = index.flatten(0, -1).narrow(0, 0, 1).to_vec::<i64>()[0];
    let (size, shape) = (shape[dim], shape.clone());
    raise(Error::Index { op, what: "index", index, size, shape, called: None })
}

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
        no_place(op, index, whole, dim);
    }
    let x = cropped(x, dim, index.dims());
    // Where `x` lies without the dim that the index walks along.
    let mut strides = x.strides().to_vec();
    let step = std::mem::take(&mut strides[dim]);
    let line = Layout::new(index.shape().clone(), strides.as_slice().into(), x.layout().offset());
    let (walk, _) = walk(op, index.shape(), &[line, index.layout().clone()], |_| false);
    let (from, to) = (Operand::moved("x", x.dtype()), Operand::moved("y", x.dtype()));
    let picks = Operand::new("picks", DType::I64, true);
    let width = Width::of(out.numel());
    let body = || {
        let places = [("from", "qx"), ("pick", "qi")];
        let places = places.map(|(at, place)| (at.to_owned(), format!("{place}.strides")));
        format!(
            "KERNEL void gather(i64 n, i64 size, Sizes sizes, {}, Place qx, i64 step,
    {}, Place qi, {}, FAULTS) {{
    const i64 item = ITEM;
    if (item >= n) return;
    i64 from = qx.offset, pick = qi.offset;
{}    const i64 at = {};
    {GUARD}
    {}
}}
",
            from.read(),
            picks.read(),
            to.write(),
            locate("item", "sizes", ["0", "(int)sizes.rank"], width, places),
            picks.load("pick"),
            to.store("item", &from.load("from + at * step")),
        )
    };
    Call::<R>::new(device)
        .value(out.numel() as i64)
        .value(whole[dim] as i64)
        .value(walk.sizes)
        .operand(&from, &x)
        .value(walk.places[0])
        .value(step as i64)
        .operand(&picks, index)
        .value(walk.places[1])
        .operand(&to, &out)
        .watched((op, "index"), whole[dim], whole)
        .run("gather", (x.dtype(), width), out.numel(), body);
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
