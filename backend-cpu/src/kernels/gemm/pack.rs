//! Copies of operands in the order that the innermost loop reads them: panels of a few rows (of `a`)
//! or columns (of `b`), `[k][width]` each, one panel behind the other.

use crate::storage::Plain;

/// A strided matrix, seen as `lanes` (rows of `a`, columns of `b`) of `k` terms.
#[derive(Clone, Copy)]
pub(crate) struct Source<T> {
    pub(crate) data: *const T,
    /// Distance between two lanes, and between two terms.
    pub(crate) lane: isize,
    pub(crate) term: isize,
}

// SAFETY: a read-only view; whoever reads through it vouches for the elements.
unsafe impl<T: Sync> Sync for Source<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Send for Source<T> {}

impl<T> Source<T> {
    /// The same matrix from another lane and term on.
    pub(crate) fn at(self, lane: usize, term: usize) -> Self {
        let by = lane as isize * self.lane + term as isize * self.term;
        Source { data: self.data.wrapping_offset(by), ..self }
    }
}

/// Packs one panel: `to[p · width + l] = source[l, p]`, and 0 for lanes from `lanes` to `width`.
///
/// # Safety
/// The source has `lanes` lanes of `k` terms, `to` room for `k · width` elements.
pub(crate) unsafe fn panel<T: Plain + Default>(
    source: Source<T>,
    lanes: usize,
    width: usize,
    k: usize,
    to: *mut T,
) {
    if k == 0 {
        return; // A panel of no elements, and `to` may be no memory at all.
    }
    // Lanes and terms are taken four by four: one of the two is contiguous, as a rule.
    let whole = lanes / 4 * 4;
    if source.lane == 1 {
        // SAFETY: the lanes exist in the source, and in `to` as columns.
        unsafe { side_by_side(source.data, source.term, whole, k, to, width) };
    }
    for l in (0..whole).step_by(4).filter(|_| source.lane != 1) {
        let from = source.at(l, 0);
        // SAFETY: lanes `l..l + 4` and terms `0..k` exist in the source, and in `to` as columns.
        unsafe {
            if source.term == 1 {
                transpose([0, 1, 2, 3].map(|i| from.at(i, 0).data), k, to.add(l), width);
            } else {
                scattered(from, 4, k, to.add(l), width);
            }
        }
    }
    // SAFETY: as above for the lanes that are left; the rest of `to` lies inside its room.
    unsafe {
        scattered(source.at(whole, 0), lanes - whole, k, to.add(whole), width);
        for p in (0..k).filter(|_| lanes < width) {
            (lanes..width).for_each(|l| to.add(p * width + l).write(T::default()));
        }
    }
}

/// Lanes that lie side by side, a multiple of four of them: term by term, because the lanes of two terms
/// are often a power of two apart, which the cache does not keep at once.
///
/// # Safety
/// The source has `k` terms, `term` apart, of as many lanes, and `to` room for `k` rows.
unsafe fn side_by_side<T: Plain>(
    from: *const T,
    term: isize,
    lanes: usize,
    k: usize,
    to: *mut T,
    width: usize,
) {
    /// # Safety
    /// Both places have `N` elements.
    #[inline(always)]
    unsafe fn copy<T: Copy, const N: usize>(from: *const T, to: *mut T) {
        // SAFETY: the caller's.
        unsafe { to.cast::<[T; N]>().write_unaligned(from.cast::<[T; N]>().read_unaligned()) }
    }
    let long = lanes / 16 * 16;
    for p in 0..k {
        let (from, to) = (from.wrapping_offset(p as isize * term), to.wrapping_add(p * width));
        // SAFETY: the lanes lie inside of both rows.
        unsafe {
            for l in (0..long).step_by(16) {
                copy::<T, 16>(from.add(l), to.add(l));
            }
            for l in (long..lanes).step_by(4) {
                copy::<T, 4>(from.add(l), to.add(l));
            }
        }
    }
}

/// Four lanes whose terms are contiguous, in blocks of four by four: `to[p · width + l] = lanes[l][p]`.
///
/// # Safety
/// Each lane has `k` terms, and `to` room for `k` rows.
#[inline]
pub(crate) unsafe fn transpose<T: Plain>(lanes: [*const T; 4], k: usize, to: *mut T, width: usize) {
    let [a, b, c, d] = lanes;
    let whole = k / 4 * 4;
    // SAFETY: the terms lie inside the `k`.
    unsafe {
        // Without closures, which are not always inlined here: shuffles in registers, once compiled.
        for p in (0..whole).step_by(4) {
            let four = |lane: *const T| lane.add(p).cast::<[T; 4]>().read_unaligned();
            let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (four(a), four(b));
            let ([c0, c1, c2, c3], [d0, d1, d2, d3]) = (four(c), four(d));
            let to = to.add(p * width);
            to.cast::<[T; 4]>().write_unaligned([a0, b0, c0, d0]);
            to.add(width).cast::<[T; 4]>().write_unaligned([a1, b1, c1, d1]);
            to.add(2 * width).cast::<[T; 4]>().write_unaligned([a2, b2, c2, d2]);
            to.add(3 * width).cast::<[T; 4]>().write_unaligned([a3, b3, c3, d3]);
        }
        for p in whole..k {
            let column = [*a.add(p), *b.add(p), *c.add(p), *d.add(p)];
            to.add(p * width).cast::<[T; 4]>().write_unaligned(column);
        }
    }
}

/// Element by element.
///
/// # Safety
/// As for `panel`.
pub(crate) unsafe fn scattered<T: Plain>(
    from: Source<T>,
    lanes: usize,
    k: usize,
    to: *mut T,
    width: usize,
) {
    for p in 0..k {
        for l in 0..lanes {
            // SAFETY: the caller's.
            unsafe { to.add(p * width + l).write(*from.at(l, p).data) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_hold_the_source_in_order() {
        let data: Vec<f32> = (0..1600).map(|i| i as f32).collect();
        for (lane, term) in [(1, 20), (20, 1), (2, 40), (40, 3)] {
            for lanes in [0, 1, 4, 7, 8, 9, 20, 32] {
                for k in [0, 1, 3, 4, 7, 8] {
                    let width = 33;
                    let mut to = vec![-1.0; k * width];
                    let source = Source { data: data.as_ptr(), lane, term };
                    // SAFETY: lanes and terms lie inside `data`.
                    unsafe { panel(source, lanes, width, k, to.as_mut_ptr()) };
                    for (i, &x) in to.iter().enumerate() {
                        let (p, l) = (i / width, i % width);
                        let place = l as isize * lane + p as isize * term;
                        assert_eq!(x, if l < lanes { data[place as usize] } else { 0.0 });
                    }
                }
            }
        }
    }
}
