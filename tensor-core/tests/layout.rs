//! Layouts against arrays that are shuffled for real.

use kiln_tensor_core::{Layout, Shape, ViewOp};

/// Every index of a shape, in row-major order.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for &size in shape {
        all = all.iter().flat_map(|head| (0..size).map(|i| [&head[..], &[i]].concat())).collect();
    }
    all
}

/// The storage positions that a layout names, in row-major order.
fn positions(layout: &Layout) -> Vec<usize> {
    let place = |index: &Vec<usize>| {
        let steps = index.iter().zip(layout.strides()).map(|(&i, &s)| i as isize * s);
        (layout.offset() as isize + steps.sum::<isize>()) as usize
    };
    indices(layout.shape()).iter().map(place).collect()
}

/// What `op` does, by moving elements.
fn moved(shape: &[usize], values: &[usize], op: &ViewOp) -> (Vec<usize>, Vec<usize>) {
    let all = indices(shape);
    let at = |index: &[usize]| values[all.iter().position(|i| i == index).unwrap()];
    let gather = |to: Vec<usize>, from: &dyn Fn(&[usize]) -> Vec<usize>| {
        let moved = indices(&to).iter().map(|index| at(&from(index))).collect();
        (to, moved)
    };
    match op {
        ViewOp::Reshape(to) => (to.to_vec(), values.to_vec()),
        ViewOp::Permute(perm) => gather(perm.iter().map(|&d| shape[d]).collect(), &|index| {
            let mut from = vec![0; shape.len()];
            perm.iter().zip(index).for_each(|(&d, &i)| from[d] = i);
            from
        }),
        ViewOp::Expand(to) => gather(to.to_vec(), &|index| {
            let kept = &index[index.len() - shape.len()..];
            kept.iter().zip(shape).map(|(&i, &size)| if size == 1 { 0 } else { i }).collect()
        }),
        &ViewOp::Slice { dim, start, len, step } => {
            let mut to = shape.to_vec();
            to[dim] = len;
            gather(to, &|index| {
                let mut from = index.to_vec();
                from[dim] = (start as isize + index[dim] as isize * step) as usize;
                from
            })
        }
        &ViewOp::Diagonal { offset, dim1, dim2 } => {
            let (row, col) = ((-offset).max(0) as usize, offset.max(0) as usize);
            let len = (0..).take_while(|i| row + i < shape[dim1] && col + i < shape[dim2]).count();
            let rest: Vec<usize> = (0..shape.len()).filter(|&d| d != dim1 && d != dim2).collect();
            let to = rest.iter().map(|&d| shape[d]).chain([len]).collect();
            gather(to, &|index| {
                let mut from = vec![0; shape.len()];
                rest.iter().zip(index).for_each(|(&d, &i)| from[d] = i);
                let along = index[index.len() - 1];
                (from[dim1], from[dim2]) = (row + along, col + along);
                from
            })
        }
        &ViewOp::Unfold { dim, size, step } => {
            let mut to = shape.to_vec();
            to[dim] = (shape[dim] - size) / step + 1;
            to.push(size);
            gather(to, &|index| {
                let mut from = index[..shape.len()].to_vec();
                from[dim] = index[dim] * step + index[shape.len()];
                from
            })
        }
    }
}

/// A small generator: the same sequence in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

fn random_op(dice: &mut Dice, shape: &[usize]) -> ViewOp {
    let rank = shape.len();
    let dim = dice.below(rank);
    match dice.below(6) {
        0 => {
            let numel: usize = shape.iter().product();
            let factor = [1, 2, 3, 5][dice.below(4)];
            let to = if factor > 0 && numel.is_multiple_of(factor) {
                vec![factor, 1, numel / factor]
            } else {
                vec![numel]
            };
            ViewOp::Reshape(to.into())
        }
        1 => {
            let mut perm: Vec<usize> = (0..rank).collect();
            (0..rank).for_each(|i| perm.swap(i, dice.below(rank)));
            ViewOp::Permute(perm.into())
        }
        2 => {
            let widened = shape.iter().map(|&s| if s == 1 { 2 } else { s });
            let to: Shape = std::iter::once(1 + dice.below(2)).chain(widened).collect();
            ViewOp::Expand(to)
        }
        3 if rank > 0 => {
            let step = [1isize, 2, -1, -2][dice.below(4)];
            let start = dice.below(shape[dim]);
            let room = if step > 0 { shape[dim] - start.min(shape[dim]) } else { start + 1 };
            let most = if shape[dim] == 0 { 0 } else { room.div_ceil(step.unsigned_abs()) };
            ViewOp::Slice { dim, start, len: dice.below(most + 1), step }
        }
        4 if rank > 1 => {
            let dim2 = (dim + 1 + dice.below(rank - 1)) % rank;
            ViewOp::Diagonal { offset: dice.below(5) as isize - 2, dim1: dim, dim2 }
        }
        5 if rank > 0 && shape[dim] > 0 => {
            ViewOp::Unfold { dim, size: 1 + dice.below(shape[dim]), step: 1 + dice.below(2) }
        }
        _ => ViewOp::Permute((0..rank).collect()),
    }
}

/// Whether some strides give these positions in this shape.
fn expressible(shape: &[usize], values: &[usize]) -> bool {
    let all = indices(shape);
    let stride = |d: usize| {
        let one: Vec<usize> = (0..shape.len()).map(|e| usize::from(e == d)).collect();
        all.iter().position(|i| *i == one).map_or(0, |at| values[at] as isize - values[0] as isize)
    };
    let strides: Vec<isize> = (0..shape.len()).map(stride).collect();
    all.iter().zip(values).all(|(index, &value)| {
        let steps: isize = index.iter().zip(&strides).map(|(&i, &s)| i as isize * s).sum();
        values[0] as isize + steps == value as isize
    })
}

#[test]
fn chains_of_views_name_the_right_elements() {
    let mut dice = Dice(7);
    let mut refused = 0;
    for _ in 0..1500 {
        let base: Shape = [[2, 3, 5], [3, 1, 7], [4, 2, 3]][dice.below(3)].into();
        let mut layout = Layout::contiguous(&base);
        let (mut shape, mut values) = (base.to_vec(), positions(&layout));
        for _ in 0..4 {
            let op = random_op(&mut dice, &shape);
            if values.len() > 400 {
                break;
            }
            let (to, wanted) = moved(&shape, &values, &op);
            let Some(view) = layout.view(&op) else {
                assert!(matches!(op, ViewOp::Reshape(_)), "{op:?} of {layout:?}");
                assert!(!expressible(&to, &wanted), "{op:?} of {layout:?} has strides");
                refused += 1;
                continue;
            };
            assert_eq!(
                (view.shape(), positions(&view)),
                (&Shape::from(&to[..]), wanted.clone()),
                "{op:?} of {layout:?}"
            );
            (layout, shape, values) = (view, to, wanted);
            check_properties(&layout, &values);
        }
    }
    assert!(refused > 50, "only {refused} reshapes of memory that cannot be viewed so");
}

fn check_properties(layout: &Layout, values: &[usize]) {
    let row_major = values.windows(2).all(|pair| pair[1] == pair[0] + 1);
    assert_eq!(layout.is_contiguous(), row_major, "{layout:?}");
    let ends = values.iter().min().copied().zip(values.iter().max().copied());
    assert_eq!(layout.span(), ends, "{layout:?}");
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let twice = sorted.windows(2).any(|pair| pair[0] == pair[1]);
    assert!(!twice || layout.may_overlap(), "{layout:?}");
}

#[test]
fn what_lies_outside_is_no_view() {
    let x = Layout::contiguous([2, 3]);
    let slice = |dim, start, len, step| ViewOp::Slice { dim, start, len, step };
    for op in [
        slice(2, 0, 1, 1),
        slice(1, 3, 1, 1),
        slice(1, 1, 3, 1),
        slice(1, 0, 2, -1),
        slice(1, usize::MAX, 1, 1),
        slice(1, 0, 3, isize::MAX),
        ViewOp::Permute([0, 0].as_slice().into()),
        ViewOp::Permute([0].as_slice().into()),
        ViewOp::Expand([2, 4].into()),
        ViewOp::Expand([3].into()),
        ViewOp::Reshape([5].into()),
        ViewOp::Diagonal { offset: 0, dim1: 1, dim2: 1 },
        ViewOp::Diagonal { offset: 0, dim1: 0, dim2: 2 },
        ViewOp::Unfold { dim: 1, size: 4, step: 1 },
        ViewOp::Unfold { dim: 1, size: 1, step: 0 },
    ] {
        assert_eq!(x.view(&op), None, "{op:?}");
    }
    assert_eq!(x.view(&slice(1, 0, 1, isize::MAX)).unwrap().shape(), &Shape::from([2, 1]));
    assert_eq!(x.view(&ViewOp::Diagonal { offset: 9, dim1: 0, dim2: 1 }).unwrap().numel(), 0);
}

#[test]
fn what_may_be_written_to() {
    let x = Layout::contiguous([2, 3]);
    assert!(!x.may_overlap());
    let flipped = ViewOp::Slice { dim: 1, start: 2, len: 3, step: -1 };
    assert!(!x.view(&flipped).unwrap().may_overlap());
    assert!(!x.view(&ViewOp::Permute([1, 0].as_slice().into())).unwrap().may_overlap());
    assert!(x.view(&ViewOp::Expand([2, 2, 3].into())).unwrap().may_overlap());
    assert!(x.view(&ViewOp::Unfold { dim: 1, size: 2, step: 1 }).unwrap().may_overlap());
    assert!(!x.view(&ViewOp::Unfold { dim: 1, size: 1, step: 2 }).unwrap().may_overlap());
}

#[test]
fn shapes_broadcast_by_numpys_rule() {
    let both = |a: &[usize], b: &[usize]| {
        let (left, right) = (Shape::from(a).broadcast(b), Shape::from(b).broadcast(a));
        assert_eq!(left, right);
        left.map(|shape| shape.to_vec())
    };
    assert_eq!(both(&[2, 1, 5], &[3, 1]), Some(vec![2, 3, 5]));
    assert_eq!(both(&[], &[4]), Some(vec![4]));
    assert_eq!(both(&[0], &[1]), Some(vec![0]));
    assert_eq!(both(&[2, 0], &[1]), Some(vec![2, 0]));
    assert_eq!(both(&[0], &[2]), None);
    assert_eq!(both(&[2, 3], &[2]), None);
    assert_eq!(Shape::from([usize::MAX, 2]).numel(), usize::MAX);
    assert_eq!(Shape::from([usize::MAX, 2, 0]).numel(), 0);
}
