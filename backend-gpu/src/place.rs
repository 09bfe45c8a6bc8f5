//! Layouts as kernels get them: sizes once, an offset and strides for each operand, with dims merged
//! where all operands allow it.

use bytemuck::{Pod, Zeroable};
use kiln_tensor_core::{Error, Layout, Shape, raise};
use smallvec::SmallVec;

/// How many dims kernels walk over, once they are merged. `MAX_RANK` in the prelude.
pub(crate) const MAX_RANK: usize = 8;

/// `Sizes` of the prelude.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Sizes {
    rank: i64,
    sizes: [i64; MAX_RANK],
}

/// `Place` of the prelude: where an operand's element lies.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Place {
    offset: i64,
    pub(crate) strides: [i64; MAX_RANK],
}

/// Sizes, and the place of each operand.
pub(crate) struct Walk {
    pub(crate) sizes: Sizes,
    pub(crate) places: SmallVec<[Place; 4]>,
}

/// Merges the dims of operands that were broadcast to one shape. Dims that `apart` tells from their left
/// neighbour stay apart.
pub(crate) fn walk(
    op: &'static str,
    shape: &Shape,
    layouts: &[Layout],
    apart: impl Fn(usize) -> bool,
) -> (Walk, SmallVec<[usize; 6]>) {
    let mut sizes: SmallVec<[usize; 8]> = SmallVec::new();
    let mut strides: Vec<SmallVec<[isize; 8]>> = vec![SmallVec::new(); layouts.len()];
    // For each merged dim, the first dim in it.
    let mut firsts: SmallVec<[usize; 6]> = SmallVec::new();
    for (d, &size) in shape.iter().enumerate() {
        if size == 1 {
            continue;
        }
        let joins = |(layout, strides): (&Layout, &SmallVec<[isize; 8]>)| {
            strides.last().is_some_and(|&last| last == layout.strides()[d] * size as isize)
        };
        let same_side = firsts.last().is_some_and(|&first| !(first + 1..=d).any(&apart));
        if same_side && layouts.iter().zip(&strides).all(joins) {
            *sizes.last_mut().expect("just seen") *= size;
            for (layout, strides) in layouts.iter().zip(&mut strides) {
                *strides.last_mut().expect("just seen") = layout.strides()[d];
            }
        } else {
            sizes.push(size);
            firsts.push(d);
            for (layout, strides) in layouts.iter().zip(&mut strides) {
                strides.push(layout.strides()[d]);
            }
        }
    }
    if sizes.len() > MAX_RANK {
        raise(Error::Shape {
            op,
            shapes: vec![shape.clone()],
            why: format!("kernels walk over at most {MAX_RANK} dims that cannot be merged"),
        });
    }
    let place = |(layout, strides): (&Layout, &SmallVec<[isize; 8]>)| {
        let mut place = Place { offset: layout.offset() as i64, strides: [0; MAX_RANK] };
        for (to, &from) in place.strides.iter_mut().zip(strides) {
            *to = from as i64;
        }
        place
    };
    let places = layouts.iter().zip(&strides).map(place).collect();
    (Walk { sizes: Sizes::new(&sizes), places }, firsts)
}

impl Walk {
    /// How many dims are left.
    pub(crate) fn rank(&self) -> usize {
        self.sizes.rank as usize
    }

    /// The size of one of them.
    pub(crate) fn size(&self, dim: usize) -> usize {
        self.sizes.sizes[dim] as usize
    }

    /// Whether each operand lies as one row of elements side by side, or is one element.
    pub(crate) fn is_flat(&self) -> bool {
        self.sizes.rank <= 1 && self.places.iter().all(|p| p.is_one() || p.strides[0] == 1)
    }
}

impl Place {
    pub(crate) fn offset(&self) -> i64 {
        self.offset
    }

    /// Whether it is one element for all indices.
    pub(crate) fn is_one(&self) -> bool {
        self.strides.iter().all(|&stride| stride == 0)
    }
}

impl Sizes {
    pub(crate) fn new(sizes: &[usize]) -> Self {
        let mut all = [1; MAX_RANK];
        for (to, &from) in all.iter_mut().zip(sizes) {
            *to = from as i64;
        }
        Sizes { rank: sizes.len() as i64, sizes: all }
    }
}
