//! The crate's own products of matrices, on slices.

use std::ops::Range;

use super::vectors::Real;
use crate::kernels::gemm::{Product, Source};

/// A matrix to read, whose elements lie `row` and `col` apart.
#[derive(Clone, Copy)]
pub(super) struct View<'a, T> {
    data: &'a [T],
    size: [usize; 2],
    step: [usize; 2],
}

impl<'a, T> View<'a, T> {
    /// `rows × cols` elements, rows `stride` apart.
    pub(super) fn new(data: &'a [T], rows: usize, cols: usize, stride: usize) -> Self {
        View { data, size: [rows, cols], step: [stride, 1] }
    }

    /// Some of its columns.
    pub(super) fn cols(self, which: Range<usize>) -> Self {
        View {
            data: &self.data[which.start * self.step[1]..],
            size: [self.size[0], which.len()],
            ..self
        }
    }

    /// The transposed matrix.
    pub(super) fn t(self) -> Self {
        let ([rows, cols], [row, col]) = (self.size, self.step);
        View { size: [cols, rows], step: [col, row], ..self }
    }

    /// Whether all elements are there.
    fn fits(&self) -> bool {
        let [rows, cols] = self.size;
        let last = || (rows - 1) * self.step[0] + (cols - 1) * self.step[1];
        rows == 0 || cols == 0 || last() < self.data.len()
    }
}

/// `c += a · b`, or `c = a · b`; rows of `c` are `stride` apart.
pub(super) fn product<T: Real>(
    a: View<'_, T>,
    b: View<'_, T>,
    c: &mut [T],
    stride: usize,
    add: bool,
) {
    let ([m, k], [inner, n]) = (a.size, b.size);
    assert!(k == inner && a.fits() && b.fits(), "operands of a product");
    if m == 0 || n == 0 {
        return;
    }
    assert!(n <= stride && (m - 1) * stride + n <= c.len(), "the result of a product");
    let c = c.as_mut_ptr();
    let product = Product {
        m,
        n,
        k,
        a: Source { data: a.data.as_ptr(), lane: a.step[0] as isize, term: a.step[1] as isize },
        b: Source { data: b.data.as_ptr(), lane: b.step[1] as isize, term: b.step[0] as isize },
        c,
        row: stride as isize,
        from: if add { c.cast_const() } else { std::ptr::null() },
        from_row: if add { stride as isize } else { 0 },
    };
    // SAFETY: `fits` and the assertion hold all three inside their slices, and `c` is borrowed for this alone.
    unsafe { product.run() }
}
