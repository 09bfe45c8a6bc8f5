//! Products by the system's BLAS, under the feature `blas`. It is called with one thread for each tile of
//! the result; tiles follow from the shape alone, so the number of threads changes no bit here either.

use std::ffi::c_int;
use std::sync::Once;

use blas_src as _;
use cblas_sys::{CBLAS_TRANSPOSE, CblasNoTrans, CblasRowMajor, CblasTrans};

use super::{Float, GRAIN, Product, Source};
use crate::threads::parallel_for;

/// Rows and columns of the largest tile.
const TILE: usize = 512;
/// Tiles that are enough for any number of threads.
const TILES: usize = 16;

unsafe extern "C" {
    /// OpenBLAS's own thread pool would cut products by the number of threads.
    fn openblas_set_num_threads(count: c_int);
}

/// The routine for a float.
pub(crate) trait Blas: Sized {
    /// `c = a · b + beta · c`, row-major.
    ///
    /// # Safety
    /// The pointers cover what the sizes and leading dimensions say.
    unsafe fn product(
        operands: [Operand<Self>; 2],
        sizes: [c_int; 3],
        beta: Self,
        c: *mut Self,
        row: c_int,
    );
    const ONE: Self;
    const ZERO: Self;
}

/// A matrix as BLAS takes it: transposed or not, with the distance between its lines.
pub(crate) type Operand<T> = (*const T, CBLAS_TRANSPOSE, c_int);

macro_rules! blas {
    ($T:ty, $routine:ident) => {
        impl Blas for $T {
            unsafe fn product(
                [a, b]: [Operand<$T>; 2],
                [m, n, k]: [c_int; 3],
                beta: $T,
                c: *mut $T,
                row: c_int,
            ) {
                let one = Self::ONE;
                // SAFETY: the caller's.
                unsafe {
                    cblas_sys::$routine(
                        CblasRowMajor,
                        a.1,
                        b.1,
                        m,
                        n,
                        k,
                        one,
                        a.0,
                        a.2,
                        b.0,
                        b.2,
                        beta,
                        c,
                        row,
                    );
                }
            }
            const ONE: $T = 1.0;
            const ZERO: $T = 0.0;
        }
    };
}
blas!(f32, cblas_sgemm);
blas!(f64, cblas_dgemm);

/// How BLAS takes `rows × cols` elements that lie `row` and `col` apart, if it does.
fn operand<T>(
    data: *const T,
    rows: usize,
    cols: usize,
    row: isize,
    col: isize,
) -> Option<Operand<T>> {
    let (transposed, line, least) =
        if col == 1 { (CblasNoTrans, row, cols) } else { (CblasTrans, col, rows) };
    let lines_fit = (col == 1 || row == 1) && line >= least.max(1) as isize;
    Some((data, transposed, c_int::try_from(line).ok().filter(|_| lines_fit)?))
}

impl<T: Float> Product<T> {
    /// Computes the product, or says that the operands' strides are not BLAS's.
    ///
    /// # Safety
    /// As for `run`.
    pub(super) unsafe fn run_blas(&self) -> bool {
        static ONE_THREAD: Once = Once::new();
        let &Product { m, n, k, a, b, .. } = self;
        let takes = operand(a.data, m, k, a.lane, a.term).is_some()
            && operand(b.data, k, n, b.term, b.lane).is_some()
            && [m, n, k].into_iter().all(|size| c_int::try_from(size).is_ok())
            && c_int::try_from(self.row).is_ok_and(|row| row >= n as c_int);
        if !takes {
            return false;
        }
        // SAFETY: a setting of the library.
        ONE_THREAD.call_once(|| unsafe { openblas_set_num_threads(1) });
        let (mut tall, mut wide) = (m.min(TILE), n.min(TILE));
        let wanted = (m * n * k / GRAIN).clamp(1, TILES);
        while m.div_ceil(tall) * n.div_ceil(wide) < wanted && tall.max(wide) > 32 {
            if wide >= tall { wide = wide.div_ceil(2) } else { tall = tall.div_ceil(2) }
        }
        let across = n.div_ceil(wide);
        parallel_for(m.div_ceil(tall) * across, |tile| {
            let (i, j) = (tile / across * tall, tile % across * wide);
            // SAFETY: tiles do not overlap, and lie inside the product.
            unsafe { self.tile_blas(i, j, tall.min(m - i), wide.min(n - j)) };
        });
        true
    }

    /// One tile.
    ///
    /// # Safety
    /// As for `run`; `run_blas` has checked the strides.
    unsafe fn tile_blas(&self, i: usize, j: usize, m: usize, n: usize) {
        let c = self.c.wrapping_offset(i as isize * self.row).wrapping_add(j);
        let Source { data: left, lane, term } = self.a.at(i, 0);
        let right = self.b.at(j, 0);
        // A part's lines are no longer than the whole's.
        let operands = [
            operand(left, m, self.k, lane, term).expect("checked"),
            operand(right.data, self.k, n, right.term, right.lane).expect("checked"),
        ];
        // SAFETY: the caller's.
        unsafe {
            if !self.from.is_null() && self.from != self.c.cast_const() {
                for line in 0..m as isize {
                    let from = self.from.offset((i as isize + line) * self.from_row).add(j);
                    from.copy_to_nonoverlapping(c.offset(line * self.row), n);
                }
            }
            let beta = if self.from.is_null() { T::ZERO } else { T::ONE };
            let sizes = [m, n, self.k].map(|size| size as c_int);
            T::product(operands, sizes, beta, c, self.row as c_int);
        }
    }
}
