//! Views, joins and indexing along a dimension: values, sharing, refusals.

mod common;

use common::{DEV, Ref, refused, t, v};
use kiln_tensor_core::{Backend, DType, Error, ScatterOp, Tensor};

fn cube() -> Ref {
    Ref::arange(24, DEV).reshape([2, 3, 4])
}

#[test]
fn parts_share_memory() {
    let x = cube();
    let parts = [
        x.select(1, -1),
        x.slice(2, 1, -1, 1),
        x.flip([0, 2]),
        x.unfold(2, 2, 1),
        x.diagonal(1, 1, 2),
        x.movedim(0, -1),
        x.swapaxes(0, 1),
        x.narrow(0, 0, 1).squeeze_all(),
        x.unflatten(2, [2, -1]),
        x.broadcast_to([5, 2, 3, 4]),
    ];
    for part in &parts {
        assert!(kiln_conformance::Reference::shares_storage(part, &x));
    }
    assert_eq!(v(&parts[0]), [8., 9., 10., 11., 20., 21., 22., 23.]);
    assert_eq!(v(&parts[1].select(0, 0)), [1., 2., 5., 6., 9., 10.]);
    assert_eq!(v(&parts[2])[..5], [15., 14., 13., 12., 19.]);
    assert_eq!(
        (parts[3].dims(), v(&parts[3])[..4].to_vec()),
        (&[2, 3, 3, 2][..], vec![0., 1., 1., 2.])
    );
    assert_eq!((parts[4].dims(), v(&parts[4])), (&[2, 3][..], vec![1., 6., 11., 13., 18., 23.]));
    assert_eq!((parts[5].dims(), v(&parts[5])[..3].to_vec()), (&[3, 4, 2][..], vec![0., 12., 1.]));
    assert_eq!(parts[6].dims(), [3, 2, 4]);
    assert_eq!(parts[7].dims(), [3, 4]);
    assert_eq!(parts[8].dims(), [2, 3, 2, 2]);
    x.select(0, 0).select(0, 0).fill_(-1);
    assert_eq!(v(&x)[..5], [-1., -1., -1., -1., 4.]);
    assert_eq!(v(&x.slice(2, None, None, 3).select(1, 1)), [4., 7., 16., 19.]);
    assert_eq!(x.slice(0, 5, None, 1).dims(), [0, 3, 4]);
    assert!(matches!(refused(|| x.select(0, 2)), Error::Index { op: "select", .. }));
    assert!(matches!(refused(|| x.slice(0, 0, 1, 0)), Error::Argument { .. }));
    assert!(matches!(refused(|| x.unfold(2, 5, 1)), Error::Shape { .. }));
    assert!(matches!(refused(|| x.diagonal(0, 1, -2)), Error::Argument { .. }));
    assert!(matches!(refused(|| x.unflatten(2, [3, -1])), Error::Shape { .. }));
    assert!(matches!(refused(|| x.t()), Error::Shape { .. }));
    assert!(matches!(refused(|| x.transpose(0, 1).view([-1])), Error::Shape { op: "view", .. }));
    assert!(matches!(refused(|| x.expand([2, 3, 8])), Error::Shape { .. }));
    assert!(matches!(refused(|| x.reshape([5, -1])), Error::Shape { .. }));
}

#[test]
fn diagonals() {
    assert_eq!(v(&t([1, 2]).diag(1)), [0., 1., 0., 0., 0., 2., 0., 0., 0.]);
    assert_eq!(v(&t([1, 2]).diag(-1)), [0., 0., 0., 1., 0., 0., 0., 2., 0.]);
    assert_eq!(v(&t([[1, 2], [3, 4]]).diag(0)), [1., 4.]);
    assert_eq!(v(&t([[1, 2], [3, 4]]).trace()), [5.]);
}

#[test]
fn joined_and_cut() {
    let (a, b) = (t([[1, 2], [3, 4]]), t([[5.5], [6.5]]));
    let joined = Tensor::cat(&[&a, &b], 1);
    assert_eq!((joined.dtype(), v(&joined)), (DType::F64, vec![1., 2., 5.5, 3., 4., 6.5]));
    assert_eq!(v(&Tensor::cat(&[a.clone(), t([0; 0])], 0)), [1., 2., 3., 4.]);
    assert_eq!(Tensor::stack(&[&a, &a, &a], -1).dims(), [2, 2, 3]);
    assert_eq!(v(&Tensor::stack(&[&a.select(0, 0), &a.select(0, 1)], 1)), [1., 3., 2., 4.]);
    assert!(matches!(refused(|| Tensor::cat(&[&a, &b], 0)), Error::Shape { op: "cat", .. }));
    assert!(matches!(refused(|| Tensor::stack(&[&a, &b], 0)), Error::Shape { op: "stack", .. }));
    assert!(matches!(refused(|| Ref::cat::<&Ref>(&[], 0)), Error::Argument { .. }));
    let x = cube();
    let sizes = |parts: Vec<Ref>| parts.iter().map(|p| p.dims()[2]).collect::<Vec<_>>();
    assert_eq!(sizes(x.split(3, 2)), [3, 1]);
    assert_eq!(sizes(x.split_sizes(&[1, 0, 3], -1)), [1, 0, 3]);
    assert_eq!(sizes(x.chunk(3, 2)), [2, 2]);
    assert_eq!(x.unbind(1).len(), 3);
    assert!(matches!(
        refused(|| x.split_sizes(&[1, 1], 0).len() + x.split_sizes(&[3], 0).len()),
        Error::Shape { .. }
    ));
    assert_eq!(v(&t([1, 2]).repeat([2, 2])), [1., 2., 1., 2., 1., 2., 1., 2.]);
    assert_eq!(v(&a.tile([2])), [1., 2., 1., 2., 3., 4., 3., 4.]);
    assert_eq!(v(&a.repeat_interleave(2, 0)), [1., 2., 1., 2., 3., 4., 3., 4.]);
    assert_eq!(v(&t([0, 1, 2, 3]).roll([1], [0])), [3., 0., 1., 2.]);
    assert_eq!(v(&a.roll([-1, 2], [1, 0])), [2., 1., 4., 3.]);
}

#[test]
fn by_index() {
    let x = t([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let index = t([[2i64, 0], [1, 1]]);
    assert_eq!(v(&x.gather(1, &index)), [3., 1., 5., 5.]);
    let src = t([[10.0, 20.0, 0.0], [30.0, 40.0, 0.0]]);
    assert_eq!(v(&x.scatter(1, &index, &src)), [20., 2., 10., 4., 40., 6.]);
    assert_eq!(v(&x.scatter_value(1, &index, 0)), [0., 2., 0., 4., 0., 6.]);
    assert_eq!(v(&x.scatter_add(1, &index, &src)), [21., 2., 13., 4., 75., 6.]);
    assert_eq!(
        v(&x.scatter_reduce(ScatterOp::Mul, 1, &index, &src)),
        [20., 2., 30., 4., 6000., 6.]
    );
    let rows = t([1i64, 1, 0]);
    assert_eq!(v(&x.index_select(0, &rows).select(1, 0)), [4., 4., 1.]);
    let add = Ref::ones([3, 3], (DEV, DType::F64));
    assert_eq!(v(&x.index_add(0, &rows, &add)), [2., 3., 4., 6., 7., 8.]);
    assert_eq!(v(&x.index_fill(1, &t([0i64, 2]), -1)), [-1., 2., -1., -1., 5., -1.]);
    assert_eq!(
        v(&x.index_copy(1, &t([2i64, 0]), &src.narrow(1, 0, 2))),
        [20., 2., 10., 40., 5., 30.]
    );
    assert_eq!(v(&x.take_along_dim(&t([[2i64], [0]]), 1)), [3., 4.]);
    assert_eq!(v(&x.take_along_dim(&x.argsort(1, true), 1)), [3., 2., 1., 6., 5., 4.]);
    assert_eq!(v(&x.take(&t([[5i64, 0]]))), [6., 1.]);
    assert_eq!(v(&x.masked_select(&x.gt(2))), [3., 4., 5., 6.]);
    assert_eq!(v(&x.masked_select(&t([[true], [false]]))), [1., 2., 3.]);
    assert_eq!(v(&x.masked_scatter(&x.gt(4), &t([7.0, 8.0, 9.0]))), [1., 2., 3., 4., 7., 8.]);
    assert_eq!(v(&x.copy().scatter_(1, &index, &src)), [20., 2., 10., 4., 40., 6.]);
}

#[test]
fn unfit_indices_are_refused() {
    let x = t([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let index = t([[2i64, 0], [1, 1]]);
    let named = |op: &'static str, error: Error| {
        assert!(error.to_string().starts_with(op), "{error} does not name {op}");
        error
    };
    let error = named("gather", refused(|| x.gather(1, &t([[3i64]]))));
    assert!(matches!(error, Error::Index { .. }));
    let error = named("gather", refused(|| x.gather(1, &t([[0]]))));
    assert!(matches!(error, Error::DType { .. }));
    named("gather", refused(|| x.gather(1, &t([0i64]))));
    named("gather", refused(|| x.gather(1, &t([[0i64], [0], [0]]))));
    named("scatter", refused(|| x.scatter(1, &index, &t([[1.0]]))));
    named("scatter", refused(|| x.scatter(1, &index, &t([[1f32, 2.], [3., 4.]]))));
    named("index_select", refused(|| x.index_select(0, &t([[0i64]]))));
    named("index_select", refused(|| x.index_select(0, &t([2i64]))));
    named("index_add", refused(|| x.index_add(0, &t([0i64]), &x)));
    named("masked_select", refused(|| x.masked_select(&x)));
    named("masked_scatter", refused(|| x.masked_scatter(&x.gt(0), &t([1.0]))));
}
