//! Products of matrices of floats: operands are packed into panels, tiles of the result go to threads,
//! and each sum is taken in blocks of `K_BLOCK` terms whatever the path, so that neither the number
//! of threads nor the way of cutting changes a bit.

#[cfg(feature = "blas")]
mod blas;
pub(crate) mod correlate;
mod few;
mod lanes;
mod micro;
pub(crate) mod pack;
mod vector;

pub(crate) use micro::{Float, Kernels, Tile};
pub(crate) use pack::Source;

use std::ops::Range;

use kiln_tensor_core::Shape;

use self::vector::MatrixVector;

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
        if (self.m == 1 || self.n == 1)
            // SAFETY: the caller's.
            && unsafe { self.matrix_vector().run() }
        {
            return;
        }
        #[cfg(feature = "blas")]
        // SAFETY: the caller's.
        if unsafe { self.run_blas() } {
            return;
        }
        // SAFETY: the caller's.
        if unsafe { self.run_few() } {
            return;
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

    /// The product where one operand is a vector.
    fn matrix_vector(&self) -> MatrixVector<T> {
        let (lanes, matrix, vector) =
            if self.m == 1 { (self.n, self.b, self.a) } else { (self.m, self.a, self.b) };
        let (to_step, from_step) = if self.m == 1 { (1, 1) } else { (self.row, self.from_row) };
        MatrixVector {
            lanes,
            k: self.k,
            matrix,
            vector: vector.data,
            term: vector.term,
            to: self.c,
            to_step,
            from: self.from,
            from_step,
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
        let (tall, wide) = tile_size(m, n, k, &rows, &cols);
        let (down, across) = (rows.count.div_ceil(tall), cols.count.div_ceil(wide));

        // An operand that several tiles use is packed before, by all threads; else its tile packs it.
        let (left, right) = (self.a.at(i, p), self.b.at(j, p));
        let mut a = (across > 1).then(|| scratch::<T>(rows.total * k));
        let mut b = (down > 1).then(|| scratch::<T>(cols.total * k));
        let a = a.as_mut().map_or(std::ptr::null_mut(), |a| a.ptr().cast::<T>());
        let b = b.as_mut().map_or(std::ptr::null_mut(), |b| b.ptr().cast::<T>());
        let block =
            Block { kernels, rows, cols, k, left, right, a, b, c, row: self.row, from, from_row };
        let row_jobs = if across > 1 { down } else { 0 };
        let col_jobs = if down > 1 { across } else { 0 };
        // SAFETY: each job packs panels of its own.
        parallel_for(row_jobs + col_jobs, |job| unsafe {
            if job < row_jobs {
                block.pack_rows(job * tall..(job + 1) * tall);
            } else {
                block.pack_cols((job - row_jobs) * wide..(job - row_jobs + 1) * wide);
            }
        });
        parallel_for(down * across, |tile| {
            let (row, col) = (tile / across * tall, tile % across * wide);
            // SAFETY: tiles do not overlap, and shared panels are packed.
            unsafe { block.run(row..row + tall, col..col + wide) };
        });
    }
}

/// How many panels a tile takes in rows and in columns: as many as the cache holds, but not so many that
/// threads go without work.
fn tile_size(m: usize, n: usize, k: usize, rows: &Panels, cols: &Panels) -> (usize, usize) {
    let tall = TILE_ROWS.div_ceil(rows.width).min(rows.count);
    let wide = TILE_COLS.div_ceil(cols.width).min(cols.count);
    let wanted = (m * n * k / GRAIN).clamp(1, 32);
    let (mut tall, mut wide) = (tall, wide);
    while rows.count.div_ceil(tall) * cols.count.div_ceil(wide) < wanted && tall * wide > 1 {
        if wide * cols.width >= tall * rows.width && wide > 1 || tall == 1 {
            wide = wide.div_ceil(2);
        } else {
            tall = tall.div_ceil(2);
        }
    }
    // As many tiles, but of even size: a thread that is done early has nothing to wait for.
    let even = |count: usize, size: usize| count.div_ceil(count.div_ceil(size));
    (even(rows.count, tall), even(cols.count, wide))
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
    pub(crate) fn padded(&self, panel: usize) -> usize {
        (self.total - panel * self.width).min(self.width).next_multiple_of(self.quantum)
    }

    /// How many rows or columns of a panel exist.
    pub(crate) fn lanes(&self, panel: usize) -> usize {
        (self.len - panel * self.width).min(self.width)
    }

    /// Where the terms from `p` on of a panel lie, in a block of `terms`.
    pub(crate) fn offset(&self, panel: usize, p: usize, terms: usize) -> usize {
        p * self.total + panel * self.width * terms
    }

    /// Packs a block of `terms` of some panels; the first of them lies at `to`.
    ///
    /// # Safety
    /// The source covers them, and `to` has room.
    pub(crate) unsafe fn pack<T: Float>(
        &self,
        source: Source<T>,
        panels: Range<usize>,
        terms: usize,
        to: *mut T,
    ) {
        for panel in panels.start..panels.end.min(self.count) {
            let source = source.at(panel * self.width, 0);
            let to = to.wrapping_add((panel - panels.start) * self.width * terms);
            // SAFETY: the caller's.
            unsafe { pack::panel(source, self.lanes(panel), self.padded(panel), terms, to) };
        }
    }
}

/// Operands, packed or to be packed, and where their product goes.
struct Block<'a, T: 'static> {
    kernels: &'a Kernels<T>,
    rows: Panels,
    cols: Panels,
    k: usize,
    left: Source<T>,
    right: Source<T>,
    /// Panels of all rows and of all columns, in blocks of `K_BLOCK` terms; null where tiles pack.
    a: *mut T,
    b: *mut T,
    c: *mut T,
    row: isize,
    from: *const T,
    from_row: isize,
}

// SAFETY: describes memory; whoever computes with it vouches for it.
unsafe impl<T: Sync> Sync for Block<'_, T> {}

impl<T: Float> Block<'_, T> {
    /// The blocks of terms: where each starts, and its length. No terms still make one block, which
    /// writes what sums start from.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> {
        let k = self.k;
        (0..k.max(1)).step_by(K_BLOCK).map(move |p| (p, K_BLOCK.min(k - p)))
    }

    /// Packs shared panels.
    ///
    /// # Safety
    /// `a` has room for all rows, and nobody else packs these.
    unsafe fn pack_rows(&self, panels: Range<usize>) {
        for (p, terms) in self.blocks() {
            let to = self.a.wrapping_add(self.rows.offset(panels.start, p, terms));
            // SAFETY: the caller's.
            unsafe { self.rows.pack(self.left.at(0, p), panels.clone(), terms, to) };
        }
    }

    /// Packs shared panels.
    ///
    /// # Safety
    /// `b` has room for all columns, and nobody else packs these.
    unsafe fn pack_cols(&self, panels: Range<usize>) {
        for (p, terms) in self.blocks() {
            let to = self.b.wrapping_add(self.cols.offset(panels.start, p, terms));
            // SAFETY: the caller's.
            unsafe { self.cols.pack(self.right.at(0, p), panels.clone(), terms, to) };
        }
    }

    /// Computes the part of the product where these panels meet.
    ///
    /// # Safety
    /// The pointers cover what the sizes say, and nobody else touches this part of `c`.
    unsafe fn run(&self, rows: Range<usize>, cols: Range<usize>) {
        let (rows, cols) =
            (rows.start..rows.end.min(self.rows.count), cols.start..cols.end.min(self.cols.count));
        let deep = K_BLOCK.min(self.k);
        let room = |shared: *mut T, panels: &Range<usize>, width: usize| {
            shared.is_null().then(|| scratch::<T>(panels.len() * width * deep))
        };
        let mut own_a = room(self.a, &rows, self.rows.width);
        let mut own_b = room(self.b, &cols, self.cols.width);
        for (p, terms) in self.blocks() {
            let mut a = self.a.wrapping_add(self.rows.offset(rows.start, p, terms));
            let mut b = self.b.wrapping_add(self.cols.offset(cols.start, p, terms));
            // SAFETY: the rooms hold these panels.
            unsafe {
                if let Some(own) = &mut own_a {
                    a = own.ptr().cast();
                    self.rows.pack(self.left.at(0, p), rows.clone(), terms, a);
                }
                if let Some(own) = &mut own_b {
                    b = own.ptr().cast();
                    self.cols.pack(self.right.at(0, p), cols.clone(), terms, b);
                }
            }
            for col in cols.clone() {
                let j = col * self.cols.width;
                let vectors = self.cols.padded(col) / self.kernels.lanes;
                let b = b.wrapping_add((col - cols.start) * self.cols.width * terms);
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
                        a: a.wrapping_add((row - rows.start) * self.rows.width * terms),
                        b,
                        offsets: std::ptr::null(),
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
