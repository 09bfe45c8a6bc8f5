//! Grids, stacks and cuts. The reference backend has their compositions; that these are right is judged by
//! PyTorch's answers, in conformance/tests/pytorch.rs.

use kiln_tensor_core::{DType, Shape, Tensor};

use super::compared;
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, INTS, NUMBERS};
use crate::strategies::{Gen, NORMAL, POSITIVE, Sample};

const EXACT: Tolerance = Tolerance::EXACT;
const POWERS: Tolerance = Tolerance::new(8.0, 0.0, "a power of a few").stored(4.0);
const ALL: &[DType] = &DType::ALL;

fn list(g: &mut Gen) -> Shape {
    if g.form == crate::Form::Empty { [0].into() } else { [1 + g.below(4)].into() }
}

fn any(g: &mut Gen, ranks: std::ops::RangeInclusive<usize>) -> Sample {
    let shape = g.shape(ranks);
    Sample::new([g.values(&shape, NORMAL)])
}

fn two(g: &mut Gen, ranks: std::ops::RangeInclusive<usize>) -> Sample {
    let shape = g.shape(ranks);
    Sample::new([g.values(&shape, NORMAL), g.values(&shape, NORMAL)])
}

compared! { ($) arranged "arranged";
    meshgrid ALL |g| { let shapes = [list(g), list(g)]; Sample::new(shapes.map(|s| g.values(&s, NORMAL))) }; |x, _a| {
        let mut all = Tensor::meshgrid(&[&x[0], &x[1]]);
        all.extend(Tensor::meshgrid_xy(&[&x[0], &x[1]]));
        all.push(Tensor::cartesian_prod(&[&x[0], &x[1]]));
        all.push(Tensor::cartesian_prod(&[&x[0]]));
        all
    }; EXACT 2;
    combinations ALL |g| { let shape = list(g); Sample::new([g.values(&shape, NORMAL)]) }; |x, _a| {
        vec![x[0].combinations(2, false), x[0].combinations(2, true), x[0].combinations(3, false)]
    }; EXACT 2;
    tril_indices NUMBERS |g| any(g, 0..=1); |x, _a| {
        let device = x[0].device();
        vec![
            Tensor::tril_indices(3, 4, 1, device),
            Tensor::tril_indices(4, 2, -1, (device, DType::I32)),
            Tensor::triu_indices(3, 4, 1, device),
            Tensor::triu_indices(4, 2, -1, (device, DType::I32)),
        ]
    }; EXACT 0;
    unravel_index INTS |g| any(g, 0..=2); |x, _a| {
        x[0].abs().unravel_index([2, 3, 5]).iter().map(|place| place.to_dtype(DType::I64)).collect()
    }; EXACT 0;
    argwhere ALL |g| any(g, 0..=3); |x, _a| vec![x[0].argwhere()]; EXACT 0;
    new_full ALL |g| any(g, 0..=4); |x, _a| vec![
        x[0].new_full([2, 1], 1),
        x[0].new_zeros([3]),
        x[0].new_ones([0, 2]),
        x[0].new_empty(()),
        x[0].to_dtype(DType::I64).type_as(&x[0]),
    ]; EXACT 0;
    nan_to_num_ FLOATS |g| any(g, 0..=3); |x, _a| vec![x[0].copy().nan_to_num_(0.5, None, None)]; EXACT 2;
    cumsum_ FLOATS |g| any(g, 1..=3); |x, _a| vec![x[0].copy().cumsum_(-1), x[0].copy().cumprod_(0)]; POWERS 2;
    diagflat ALL |g| any(g, 0..=3); |x, _a| vec![x[0].diagflat(0), x[0].diagflat(-1)]; EXACT 2;
    logspace FLOATS |g| any(g, 0..=1); |x, _a| {
        let options = (x[0].device(), x[0].dtype());
        vec![Tensor::logspace(-1.0, 2.0, 5, 2.0, options), Tensor::logspace(0.0, 1.0, 3, 10.0, options)]
    }; POWERS 0;
    vander FLOATS |g| { let shape = list(g); Sample::new([g.values(&shape, POSITIVE)]) }; |x, _a| {
        vec![x[0].vander(3, false), x[0].vander(4, true)]
    }; POWERS 2;
    diag_embed ALL |g| any(g, 1..=3); |x, _a| {
        vec![x[0].diag_embed(0, -2, -1), x[0].diag_embed(1, -2, -1), x[0].diag_embed(-2, 0, -1), x[0].diag_embed(0, -1, 0)]
    }; EXACT 2;
    block_diag ALL |g| {
            let shapes: [Shape; 3] = [g.shape(2..=2), list(g), [].into()];
            Sample::new(shapes.map(|shape| g.values(&shape, NORMAL)))
        };
        |x, _a| vec![Tensor::block_diag(&[&x[0], &x[1], &x[2]]), Tensor::block_diag(&[&x[1]])];
        EXACT 2;
    hstack ALL |g| two(g, 0..=3); |x, _a| {
        let both = [&x[0], &x[1]];
        vec![Tensor::hstack(&both), Tensor::vstack(&both), Tensor::dstack(&both), Tensor::column_stack(&both)]
    }; EXACT 2;
    atleast_1d ALL |g| any(g, 0..=4); |x, _a| vec![x[0].atleast_1d(), x[0].atleast_2d(), x[0].atleast_3d()]; EXACT 2;
    tensor_split ALL |g| {
            let shape = g.shape(1..=3);
            let dim = g.dim(shape.rank());
            Sample::new([g.values(&shape, NORMAL)]).with([dim])
        };
        |x, a| {
            let mut all = x[0].tensor_split(3, a[0] as isize);
            all.extend(x[0].tensor_split_at(&[1, -1], a[0] as isize));
            all
        };
        EXACT 2;
    hsplit ALL |g| {
            let n = if g.form == crate::Form::Empty { 0 } else { 2 };
            Sample::new([g.values(&[n, 2, 3].into(), NORMAL), g.values(&[4].into(), NORMAL)])
        };
        |x, _a| {
            let mut all = x[0].hsplit(2);
            all.extend(x[1].hsplit(2));
            all.extend(x[0].hsplit_at(&[1]));
            all.extend(x[0].vsplit(2));
            all.extend(x[0].vsplit_at(&[1]));
            all.extend(x[0].dsplit(3));
            all.extend(x[0].dsplit_at(&[-1]));
            all
        };
        EXACT 2;
    broadcast_tensors ALL |g| {
            let (_, shapes) = g.broadcast(2, 0..=4);
            Sample::new([g.values(&shapes[0], NORMAL), g.values(&shapes[1], NORMAL)])
        };
        |x, _a| Tensor::broadcast_tensors(&[&x[0], &x[1]]);
        EXACT 2;
    rot90 ALL |g| any(g, 2..=4); |x, _a| {
        let mut all: Vec<_> = (-1..4).map(|k| x[0].rot90(k, [0, -1])).collect();
        all.extend([
            x[0].fliplr(),
            x[0].flipud(),
            x[0].ravel(),
            x[0].mt(),
            x[0].swapdims(0, -1),
            x[0].moveaxis(0, -1),
            x[0].movedims(&[0, -1], &[1, 0]),
        ]);
        all
    }; EXACT 2;
}
