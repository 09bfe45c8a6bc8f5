//! Cholesky's factor, a block of columns at a time, and what is left of the matrix less their products. Golub, Van Loan,
//! Matrix Computations, 4th edition, section 4.2.6; LAPACK's potrf.

use super::product::{View, product};
use super::triangular::{BLOCK, substitute};
use super::vectors::{Real, transpose, zeros};
use crate::threads::parallel_pieces;

/// Rows of the matrix that one thread takes.
const ROWS: usize = 64;

/// Turns a matrix, of which the lower triangle is read, into its factor. From the first leading minor on that is not
/// positive, the lower triangle is NaN.
pub(super) fn cholesky<T: Real>(a: &mut [T], n: usize) {
    for first in (0..n).step_by(BLOCK) {
        let end = n.min(first + BLOCK);
        if let Err(failed) = diagonal(&mut a[first * n + first..], n, end - first) {
            failing(a, n, first + failed);
            break;
        }
        if end == n {
            break;
        }
        // What is below the diagonal's block, transposed, and once more with the other sign.
        let (width, height) = (end - first, n - end);
        let mut below = zeros(width * height);
        transpose(&a[end * n + first..], n, [height, width], &mut below, height);
        substitute(&a[first * n + first..], n, false, false, &mut below, height, width);
        transpose(&below, height, [width, height], &mut a[end * n + first..], n);
        let negative: Vec<T> = below.iter().map(|x| T::from_f64(-x.to_f64())).collect();
        let [left, right] = [&negative, &below].map(|x| View::new(x, width, height, height));
        parallel_pieces(&mut a[end * n..], ROWS * n, |piece, rows| {
            let (from, count) = (piece * ROWS, rows.len() / n);
            let to = from + count;
            product(left.cols(from..to).t(), right.cols(0..to), &mut rows[end..], n, true);
        });
    }
    for i in 0..n {
        a[i * n + i + 1..(i + 1) * n].fill(T::default());
    }
}

/// The factor of a small matrix, row by row. An error is the row whose pivot is not positive.
fn diagonal<T: Real>(a: &mut [T], stride: usize, n: usize) -> Result<(), usize> {
    for i in 0..n {
        let (before, row) = a.split_at_mut(i * stride);
        for j in 0..=i {
            let other = if j < i { &before[j * stride..][..j] } else { &row[..j] };
            let products = row[..j].iter().zip(other).map(|(x, y)| x.to_f64() * y.to_f64());
            let sum = products.fold(row[j].to_f64(), |sum, product| sum - product);
            if j < i {
                row[j] = T::from_f64(sum / before[j * stride + j].to_f64());
            } else if sum > 0.0 && sum.is_finite() {
                row[j] = T::from_f64(sum.sqrt());
            } else {
                return Err(i);
            }
        }
    }
    Ok(())
}

/// NaN in the rows from `first` on.
fn failing<T: Real>(a: &mut [T], n: usize, first: usize) {
    for i in first..n {
        a[i * n..][..=i].fill(T::from_f64(f64::NAN));
    }
}
