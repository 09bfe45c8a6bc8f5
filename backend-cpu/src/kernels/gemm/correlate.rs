//! Sums of products of rows with shifted rows, in registers: the gradient of a convolution's weight,
//! without a copy of its windows.

use std::ops::Add;

use super::lanes::Lanes;

/// The most rows of the left side that are worked on together, and of the right side's.
pub(crate) const LEFT: usize = 6;
pub(crate) const RIGHT: usize = 4;
/// Vectors of the widest kind hold so many elements.
const WIDEST: usize = 16;

/// Elements that lie side by side on both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) left: usize,
    pub(crate) right: usize,
    pub(crate) len: usize,
}

/// `sums[l][r] += Σ left[l · row + span.left + i] · right[offsets[r] + span.right + i]`, over all `i` of
/// all spans; one sum per lane.
pub(crate) struct Correlation<'a, T> {
    pub(crate) left: *const T,
    pub(crate) row: usize,
    pub(crate) right: *const T,
    pub(crate) offsets: [usize; RIGHT],
    pub(crate) spans: &'a [Span],
}

/// What `Correlation` adds up to.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Sums<T>([[[T; WIDEST]; RIGHT]; LEFT]);

impl<T: Copy + Default + Add<Output = T>> Sums<T> {
    pub(crate) fn zero() -> Self {
        Sums([[[T::default(); WIDEST]; RIGHT]; LEFT])
    }

    /// The sum of all lanes.
    pub(crate) fn total(&self, left: usize, right: usize) -> T {
        let mut lanes = self.0[left][right];
        let mut width = WIDEST;
        while width > 1 {
            width /= 2;
            for i in 0..width {
                lanes[i] = lanes[i] + lanes[i + width];
            }
        }
        lanes[0]
    }
}

/// A kernel of a fixed number of rows on each side.
pub(crate) type Correlate<T> = unsafe fn(&Correlation<'_, T>, &mut Sums<T>);

/// # Safety
/// The machine has the instruction set of `L`, and both sides have the elements.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "sums stay in registers")]
pub(super) unsafe fn correlate<L: Lanes, const A: usize, const B: usize>(
    work: &Correlation<'_, L::T>,
    sums: &mut Sums<L::T>,
) {
    // SAFETY: the caller's; a row of sums has room for the widest vector.
    unsafe {
        let mut acc = [[L::zero(); B]; A];
        for a in 0..A {
            for b in 0..B {
                acc[a][b] = L::load(sums.0[a][b].as_ptr());
            }
        }
        for span in work.spans {
            let (left, right) = (work.left.add(span.left), work.right.add(span.right));
            let whole = span.len / L::N * L::N;
            for i in (0..whole).step_by(L::N) {
                let mut y = [L::zero(); B];
                for b in 0..B {
                    y[b] = L::load(right.add(work.offsets[b] + i));
                }
                for a in 0..A {
                    let x = L::load(left.add(a * work.row + i));
                    for b in 0..B {
                        acc[a][b] = L::fma(x, y[b], acc[a][b]);
                    }
                }
            }
            let rest = span.len - whole;
            if rest > 0 {
                let mut y = [L::zero(); B];
                for b in 0..B {
                    y[b] = L::load_some(right.add(work.offsets[b] + whole), rest);
                }
                for a in 0..A {
                    let x = L::load_some(left.add(a * work.row + whole), rest);
                    for b in 0..B {
                        acc[a][b] = L::fma(x, y[b], acc[a][b]);
                    }
                }
            }
        }
        for a in 0..A {
            for b in 0..B {
                L::store(sums.0[a][b].as_mut_ptr(), acc[a][b]);
            }
        }
    }
}
