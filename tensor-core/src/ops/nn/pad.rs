//! Padding.

use crate::{Backend, Error, Tensor, raise};

/// What stands in the padding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// One number.
    Constant(f64),
    /// The elements inside, mirrored at the edge, which is not repeated.
    Reflect,
    /// The element at the edge.
    Replicate,
    /// The elements from the other end.
    Circular,
}

impl<B: Backend> Tensor<B> {
    /// Adds elements before and after the trailing dims: `pad` holds `[before, after]` of the last dim,
    /// then of the last but one, and so on, as in `torch.nn.functional.pad`. Negative ones cut off.
    ///
    /// # Panics
    /// If there are more pairs than dims, more is cut off than there is, or a mirrored or circular
    /// padding is larger than what it takes its elements from.
    #[track_caller]
    pub fn pad(&self, pad: &[isize], mode: PadMode) -> Self {
        let wrong = |why: &str| -> ! {
            let shapes = vec![self.shape().clone()];
            raise(Error::Shape { op: "pad", shapes, why: format!("{why}, not {pad:?}") })
        };
        if !pad.len().is_multiple_of(2) || pad.len() / 2 > self.rank() {
            wrong("pairs of numbers, at most one pair for each dim, are wanted");
        }
        let mut x = self.clone();
        for (i, pair) in pad.chunks_exact(2).enumerate() {
            let dim = self.rank() - 1 - i;
            let (before, after, size) = (pair[0], pair[1], self.dims()[dim] as isize);
            let room = match mode {
                PadMode::Constant(_) => isize::MAX,
                PadMode::Reflect => size - 1,
                PadMode::Replicate => {
                    if size > 0 {
                        isize::MAX
                    } else {
                        0
                    }
                }
                PadMode::Circular => size,
            };
            if before.max(after) > room || size + before.min(0) + after.min(0) < 0 {
                wrong("padding that the dim has room for is wanted");
            }
            if (before, after) != (0, 0) {
                x = x.pad_dim(dim, before, after, mode);
            }
        }
        x.named("pad", &[self])
    }

    fn pad_dim(&self, dim: usize, before: isize, after: isize, mode: PadMode) -> Self {
        let size = self.dims()[dim] as isize;
        if let PadMode::Constant(value) = mode {
            let (start, end) = (-before.min(0), size + after.min(0));
            let kept = self.narrow(dim as isize, start as usize, (end - start) as usize);
            let edge = |count: isize| {
                let shape = self.shape().with(dim, count.max(0) as usize);
                Self::full(shape, value, (self.device(), self.dtype()))
            };
            return B::cat(&[&edge(before), &kept, &edge(after)], dim);
        }
        let from = |i: isize| match mode {
            PadMode::Reflect if i < 0 => -i,
            PadMode::Reflect if i >= size => 2 * (size - 1) - i,
            PadMode::Circular => i.rem_euclid(size),
            _ => i.clamp(0, size - 1),
        };
        let index: Vec<i64> = (-before..size + after).map(|i| from(i) as i64).collect();
        let index = Self::from_slice(&index, index.len(), self.device());
        B::index_select(self, dim, &index)
    }
}
