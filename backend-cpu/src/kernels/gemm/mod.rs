//! Products of matrices of floats: operands are packed into panels, tiles of the result go to threads,
//! and each sum is taken in blocks of `K_BLOCK` terms whatever the path, so that neither the number
//! of threads nor the way of cutting changes a bit.

mod lanes;
mod micro;
pub(crate) mod pack;

pub(crate) use micro::{Float, Kernels, Tile};
pub(crate) use pack::Source;

use kiln_tensor_core::Shape;

use crate::kernels::workers::Shared;
use crate::storage::Fresh;
use crate::threads::parallel_for;

/// Terms that are added up in registers before they meet the result in memory.
pub(crate) const K_BLOCK: usize = 256;
/// Panels are made for parts of the operands of at most this many rows, columns and terms.
const PART: usize = 2048;
/// Rows and columns of a tile: both operands' blocks fit the second-level cache.
const TILE_ROWS: usize = 144;
const TILE_COLS: usize = 256;
/// Multiplications that are worth handing to another thread.
const GRAIN: usize = 1 << 18;

/// Memory for a kernel's own use, with unspecified content.
pub(crate) fn scratch<T: Float>(len: usize) -> Fresh {
    Fresh::new(&Shape::from([len]), T::DTYPE)
}

/// `c = from + a · b`: `a` has `m` lanes, `b` has `n`, both of `k` terms. Rows of `c` are contiguous.
#[derive(Clone, Copy)]
pub(crate) struct Product<T> {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: Source<T>,
    pub(crate) b: Source<T>,
    pub(crate) c: *mut T,
    /// Distance between two rows of `c`.
    pub(crate) row: isize,
    /// What sums start from, and the distance between its rows; null for 0.
    pub(crate) from: *const T,
    pub(crate) from_row: isize,
}

// SAFETY: describes memory; whoever runs the product vouches for it.
unsafe impl<T: Sync> Sync for Product<T> {}

impl<T: Float> Product<T> {
    /// The same product on operands and a result that lie elsewhere, by as many elements.
    pub(crate) fn moved(&self, a: isize, b: isize, c: usize) -> Self {
        Product {
            a: Source { data: self.a.data.wrapping_offset(a), ..self.a },
            b: Source { data: self.b.data.wrapping_offset(b), ..self.b },
            c: self.c.wrapping_add(c),
            ..*self
        }
    }

    /// Computes the product.
    ///
    /// # Safety
    /// The operands cover what the sizes say, and nobody else touches `c`. `from` may be `c`.
    pub(crate) unsafe fn run(&self) {
        if self.m == 0 || self.n == 0 {
            return;
        }
        if self.k == 0 {
            // SAFETY: the caller's; a product of no terms reads no operand.
            return unsafe { self.part(0, 0, 0) };
        }
        for j in (0..self.n).step_by(PART) {
            for p in (0..self.k).step_by(PART) {
                for i in (0..self.m).step_by(PART) {
                    // SAFETY: the caller's.
                    unsafe { self.part(i, j, p) };
                }
            }
        }
    }

    /// The terms from `p` on of the rows from `i` and the columns from `j` on.
    unsafe fn part(&self, i: usize, j: usize, p: usize) {
        let kernels = T::kernels();
        let [m, n, k] = [self.m - i, self.n - j, self.k - p].map(|size| size.min(PART));
        let c = self.c.wrapping_offset(i as isize * self.row).wrapping_add(j);
        let (from, from_row) = match (p, self.from.is_null()) {
            (0, true) => (self.from, 0),
            (0, false) => {
                let by = i as isize * self.from_row;
                (self.from.wrapping_offset(by).wrapping_add(j), self.from_row)
            }
            _ => (c.cast_const(), self.row),
        };
        let (rows, cols) = (Panels::rows(m, kernels), Panels::cols(n, kernels));
        let (mut a, mut b) = (scratch::<T>(rows.total * k), scratch::<T>(cols.total * k));
        let (a, b) = (Shared(a.ptr().cast::<T>()), Shared(b.ptr().cast::<T>()));
        let (left, right) = (self.a.at(i, p), self.b.at(j, p));

        // Pack both operands, then compute tiles; small products in one go on this thread.
        let whole = m * n * k < 2 * GRAIN;
        let (row_chunk, col_chunk) = if whole {
            (rows.count, cols.count)
        } else {
            (GRAIN / 8 / (rows.width * k) + 1, GRAIN / 8 / (cols.width * k) + 1)
        };
        let (row_chunks, col_chunks) =
            (rows.count.div_ceil(row_chunk), cols.count.div_ceil(col_chunk));
        let pack = |chunk: usize| {
            // SAFETY: each chunk has panels of its own.
            unsafe {
                if chunk < row_chunks {
                    rows.pack(left, k, chunk * row_chunk, row_chunk, &a);
                } else {
                    cols.pack(right, k, (chunk - row_chunks) * col_chunk, col_chunk, &b);
                }
            }
        };
        let (tile_rows, tile_cols) = if whole {
            (rows.count, cols.count)
        } else {
            (TILE_ROWS.div_ceil(rows.width), TILE_COLS.div_ceil(cols.width))
        };
        let (down, across) = (rows.count.div_ceil(tile_rows), cols.count.div_ceil(tile_cols));
        let block = Block {
            kernels,
            rows: &rows,
            cols: &cols,
            k,
            a: a.0,
            b: b.0,
            c,
            row: self.row,
            from,
            from_row,
        };
        let tile = |tile: usize| {
            let (first_row, first_col) = (tile / across * tile_rows, tile % across * tile_cols);
            let row_panels = first_row..(first_row + tile_rows).min(rows.count);
            let col_panels = first_col..(first_col + tile_cols).min(cols.count);
            // SAFETY: tiles do not overlap, and all panels are packed.
            unsafe { block.run(row_panels, col_panels) };
        };
        if whole {
            (0..row_chunks + col_chunks).for_each(pack);
            tile(0);
        } else {
            parallel_for(row_chunks + col_chunks, pack);
            parallel_for(down * across, tile);
        }
    }
}

/// How rows or columns are cut into panels: all of `width`, but the last as narrow as `quantum` allows.
pub(crate) struct Panels {
    /// Rows or columns.
    pub(crate) len: usize,
    /// Of a panel.
    pub(crate) width: usize,
    /// The last panel's width is a multiple of it.
    quantum: usize,
    /// How many panels there are.
    pub(crate) count: usize,
    /// The sum of all widths.
    pub(crate) total: usize,
}

impl Panels {
    /// Panels of rows, of even height.
    pub(crate) fn rows<T>(m: usize, kernels: &Kernels<T>) -> Self {
        let count = m.div_ceil(kernels.rows()).max(1);
        let width = m.div_ceil(count).max(1);
        Panels { len: m, width, quantum: 1, count: m.div_ceil(width), total: m }
    }

    /// Panels of columns, of whole vectors.
    pub(crate) fn cols<T>(n: usize, kernels: &Kernels<T>) -> Self {
        let (width, quantum) = (kernels.cols(), kernels.lanes);
        Panels {
            len: n,
            width,
            quantum,
            count: n.div_ceil(width),
            total: n.next_multiple_of(quantum),
        }
    }

    /// Width of a panel, padding included.
    fn width(&self, panel: usize) -> usize {
        (self.total - panel * self.width).min(self.width).next_multiple_of(self.quantum)
    }

    /// How many rows or columns of a panel exist.
    fn lanes(&self, panel: usize) -> usize {
        (self.len - panel * self.width).min(self.width)
    }

    /// Where the terms from `p` on of a panel lie, in a block of `terms`.
    fn offset(&self, panel: usize, p: usize, terms: usize) -> usize {
        p * self.total + panel * self.width * terms
    }

    /// Packs some panels of `k` terms in blocks of `K_BLOCK`.
    ///
    /// # Safety
    /// The source covers them, and `to` has room for `total · k` elements.
    unsafe fn pack<T: Float>(
        &self,
        source: Source<T>,
        k: usize,
        first: usize,
        count: usize,
        to: &Shared<T>,
    ) {
        for panel in first..(first + count).min(self.count) {
            for p in (0..k).step_by(K_BLOCK) {
                let terms = K_BLOCK.min(k - p);
                let source = source.at(panel * self.width, p);
                let to = to.at(self.offset(panel, p, terms));
                // SAFETY: the caller's.
                unsafe { pack::panel(source, self.lanes(panel), self.width(panel), terms, to) };
            }
        }
    }
}

/// Packed operands and where their product goes.
struct Block<'a, T: 'static> {
    kernels: &'a Kernels<T>,
    rows: &'a Panels,
    cols: &'a Panels,
    k: usize,
    a: *const T,
    b: *const T,
    c: *mut T,
    row: isize,
    from: *const T,
    from_row: isize,
}

// SAFETY: describes memory; whoever computes with it vouches for it.
unsafe impl<T: Sync> Sync for Block<'_, T> {}

impl<T: Float> Block<'_, T> {
    /// Computes the part of the product where these panels meet.
    ///
    /// # Safety
    /// The pointers cover what the sizes say, and nobody else touches this part of `c`.
    unsafe fn run(&self, rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) {
        // No terms still make one pass, which writes what sums start from.
        for p in (0..self.k.max(1)).step_by(K_BLOCK) {
            let terms = K_BLOCK.min(self.k - p);
            for col in cols.clone() {
                let j = col * self.cols.width;
                let vectors = self.cols.width(col) / self.kernels.lanes;
                for row in rows.clone() {
                    let i = row * self.rows.width;
                    let c = self.c.wrapping_offset(i as isize * self.row).wrapping_add(j);
                    let (from, from_row) = if p > 0 {
                        (c.cast_const(), self.row)
                    } else if self.from.is_null() {
                        (self.from, 0)
                    } else {
                        let by = i as isize * self.from_row;
                        (self.from.wrapping_offset(by).wrapping_add(j), self.from_row)
                    };
                    let tile = Tile {
                        k: terms,
                        a: self.a.wrapping_add(self.rows.offset(row, p, terms)),
                        b: self.b.wrapping_add(self.cols.offset(col, p, terms)),
                        c,
                        c_row: self.row,
                        cols: self.cols.lanes(col),
                        from,
                        from_row,
                    };
                    let kernel = self.kernels.table[self.rows.lanes(row) - 1][vectors - 1];
                    // SAFETY: the caller's; the kernels are those of this machine.
                    unsafe { kernel(&tile) };
                }
            }
        }
    }
}
