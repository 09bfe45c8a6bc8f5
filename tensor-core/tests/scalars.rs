//! A 0-d tensor counts as a vector of one element where PyTorch lets it: dims 0 and −1 are its own.
//! Each line was held against PyTorch 2.15.

mod common;

use common::{Ref, refused, t, v};
use kiln_tensor_core::{Error, ScatterOp};

fn x() -> Ref {
    t(3.5)
}

/// Requires a 0-d result with this value.
#[track_caller]
fn number(y: Ref, wanted: f64) {
    assert_eq!((y.rank(), v(&y)[0]), (0, wanted));
}

#[test]
fn reductions() {
    for dim in [0, -1] {
        for keep in [false, true] {
            number(x().sum_dims([dim], keep), 3.5);
            number(x().prod_dims([dim], keep), 3.5);
            number(x().mean_dims([dim], keep), 3.5);
            number(x().amax_dims([dim], keep), 3.5);
            number(x().amin_dims([dim], keep), 3.5);
            number(x().var_dims([dim], 0.0, keep), 0.0);
            assert!(x().std_dims([dim], 1.0, keep).item().is_nan());
            number(x().any_dims([dim], keep), 1.0);
            number(x().all_dims([dim], keep), 1.0);
            number(x().norm_dims(1.0, [dim], keep), 3.5);
            number(x().logsumexp([dim], keep), 3.5);
            number(x().argmax(dim, keep), 0.0);
            number(x().argmin(dim, keep), 0.0);
            number(x().max_dim(dim, keep).0, 3.5);
            number(x().min_dim(dim, keep).1, 0.0);
            number(x().median_dim(dim, keep).0, 3.5);
            number(x().median_dim(dim, keep).1, 0.0);
        }
        number(x().count_nonzero_dims([dim]), 1.0);
    }
    assert!(matches!(refused(|| x().sum_dims([0, -1], false)), Error::Argument { .. }));
    assert!(matches!(
        refused(|| x().sum_dims([1], false)),
        Error::Index { op: "sum", what: "dim", index: 1, size: 1, .. }
    ));
}

#[test]
fn along_a_dim() {
    for dim in [0, -1] {
        number(x().softmax(dim), 1.0);
        number(x().log_softmax(dim), 0.0);
        number(x().sort(dim, true).0, 3.5);
        number(x().sort(dim, true).1, 0.0);
        number(x().argsort(dim, false), 0.0);
        number(x().topk(1, dim, true).0, 3.5);
        number(x().topk(1, dim, true).1, 0.0);
        number(x().cumsum(dim), 3.5);
        number(x().cumprod(dim), 3.5);
    }
    assert!(matches!(refused(|| x().topk(2, 0, true)), Error::Index { what: "k", .. }));
    assert!(matches!(refused(|| x().softmax(1)), Error::Index { op: "softmax", .. }));
}

#[test]
fn views() {
    for dim in [0, -1] {
        number(x().squeeze(dim), 3.5);
        number(x().transpose(dim, dim), 3.5);
        number(x().movedim(dim, 0), 3.5);
        number(x().flip([dim]), 3.5);
        assert_eq!(x().unsqueeze(dim).dims(), [1]);
        assert_eq!(x().flatten(dim, -1).dims(), [1]);
        assert_eq!(x().unfold(dim, 1, 1).dims(), [1]);
        assert_eq!(x().unfold(dim, 0, 1).dims(), [0]);
        assert_eq!(v(&Ref::stack(&[x(), x()], dim)), [3.5, 3.5]);
    }
    // These cut a dim, and a number has none to cut; PyTorch refuses them too.
    let refusals: [&dyn Fn() -> Ref; 9] = [
        &|| x().narrow(0, 0, 1),
        &|| x().select(0, 0),
        &|| x().slice(0, 0, 1, 1),
        &|| x().split(1, 0)[0].clone(),
        &|| x().chunk(1, 0)[0].clone(),
        &|| x().unbind(0)[0].clone(),
        &|| x().roll([1], [0]),
        &|| Ref::cat(&[x(), x()], 0),
        &|| x().take_along_dim(&t(0), 0),
    ];
    for (i, refusal) in refusals.iter().enumerate() {
        assert!(matches!(refused(refusal), Error::Index { .. }), "{i}");
    }
    assert!(matches!(refused(|| x().size(0)), Error::Index { .. }));
    assert!(matches!(refused(|| x().flatten(0, 1)), Error::Index { .. }));
}

#[test]
fn by_index() {
    for dim in [0, -1] {
        number(x().gather(dim, &t(0i64)), 3.5);
        assert_eq!(v(&x().gather(dim, &t([0i64, 0]))), [3.5, 3.5]);
        number(x().scatter(dim, &t(0i64), &t(7.0)), 7.0);
        number(x().scatter(dim, &t([0i64]), &t(7.0)), 7.0);
        number(x().scatter_add(dim, &t([0i64, 0]), &t([5.0, 6.0])), 14.5);
        number(x().scatter_reduce(ScatterOp::Max, dim, &t(0i64), &t(1.0)), 3.5);
        number(x().index_select(dim, &t(0i64)), 3.5);
        number(x().index_select(dim, &t([0i64])), 3.5);
        number(x().index_add(dim, &t([0i64]), &t(1.0)), 4.5);
        number(x().index_copy(dim, &t(0i64), &t(2.0)), 2.0);
        number(x().index_fill(dim, &t([0i64]), 2.0), 2.0);
    }
    assert!(matches!(refused(|| x().index_select(0, &t([0i64, 0]))), Error::Shape { .. }));
    let row = t([1.0, 2.0]);
    number(row.gather(0, &t(1i64)), 2.0);
    assert_eq!(v(&row.scatter(0, &t(1i64), &t(3.0))), [1.0, 3.0]);
    assert_eq!(row.index_select(0, &t(1i64)).dims(), [1]);
    let rows = t([[0.0, 1.0], [2.0, 3.0]]);
    assert_eq!(v(&rows.index_fill(0, &t(1i64), 9.0)), [0.0, 1.0, 9.0, 9.0]);
}

#[test]
fn no_dims_are_all_dims() {
    let x = t([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]);
    number(x.sum_dims([], false), 15.0);
    assert_eq!(x.sum_dims([], true).dims(), [1, 1]);
    number(x.prod_dims([], false), 0.0);
    number(x.mean_dims([], false), 2.5);
    number(x.var_dims([], 1.0, false), 3.5);
    number(x.std_dims([], 1.0, false), 3.5f64.sqrt());
    number(x.amax_dims([], false), 5.0);
    number(x.amin_dims([], false), 0.0);
    number(x.count_nonzero_dims([]), 5.0);
    number(x.norm_dims(2.0, [], false), 55f64.sqrt());
    assert_eq!(x.logsumexp([], true).dims(), [1, 1]);
    assert_eq!(v(&x.any_dims([], false)), [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!(x.all_dims([], true).dims(), [2, 3]);
    assert_eq!(v(&x.flip([])), v(&x));
}
