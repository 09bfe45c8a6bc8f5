//! LU with partial pivoting, a block of columns at a time, and what is left of the matrix less their product with the
//! rows above. Golub, Van Loan, Matrix Computations, 4th edition, section 3.4; LAPACK's getrf.

use super::product::{View, product};
use super::triangular::{BLOCK, substitute};
use super::vectors::{PAD, Real, combine, padded, transpose, zeros};

/// Turns a matrix into l and u, whose product is the matrix with its rows in the order that is given.
pub(super) fn lu<T: Real>(a: &mut [T], n: usize, order: &mut [i64]) {
    order.iter_mut().zip(0..).for_each(|(order, i)| *order = i);
    let mut columns = zeros(BLOCK.min(n) * padded(n));
    for first in (0..n).step_by(BLOCK) {
        let end = n.min(first + BLOCK);
        let (width, height) = (end - first, n - first);
        let stride = padded(height);
        let columns = &mut columns[..width * stride];
        transpose(&a[first * n + first..], n, [height, width], columns, stride);
        // What is behind a column's end may not be a number that sums go wrong with.
        columns.chunks_exact_mut(stride).for_each(|column| column[height..].fill(T::default()));
        for (j, pivot) in panel(columns, height, width).into_iter().enumerate() {
            if pivot != j {
                let (j, pivot) = (first + j, first + pivot);
                order.swap(j, pivot);
                let (above, below) = a.split_at_mut(pivot * n);
                above[j * n..][..n].swap_with_slice(&mut below[..n]);
            }
        }
        transpose(columns, stride, [width, height], &mut a[first * n + first..], n);
        let right = n - end;
        if right == 0 {
            break;
        }
        let (above, below) = a.split_at_mut(end * n);
        let mut rows = zeros(width * right);
        for (to, from) in rows.chunks_exact_mut(right).zip(above[first * n..].chunks_exact(n)) {
            to.copy_from_slice(&from[end..]);
        }
        substitute(&above[first * n + first..], n, false, true, &mut rows, right, width);
        for (from, to) in rows.chunks_exact(right).zip(above[first * n..].chunks_exact_mut(n)) {
            to[end..].copy_from_slice(from);
        }
        rows.iter_mut().for_each(|x| *x = T::from_f64(-x.to_f64()));
        let left = View::new(&columns[width..], width, right, stride).t();
        product(left, View::new(&rows, width, right, right), &mut below[end..], n, true);
    }
}

/// Eliminates in columns of `height` elements, which lie in padded rows, from left to right. Gives the row that each one
/// changed places with.
fn panel<T: Real>(columns: &mut [T], height: usize, width: usize) -> Vec<usize> {
    let stride = columns.len() / width;
    let mut pivots = Vec::with_capacity(width);
    let mut weights = zeros(width);
    for j in 0..width {
        let (known, column) = columns.split_at_mut(j * stride);
        let column = &mut column[..stride];
        // The part of u above the diagonal, then all that is below at once.
        for (t, l) in known.chunks_exact(stride).enumerate() {
            let u = column[t].to_f64();
            weights[t] = T::from_f64(-u);
            for i in t + 1..j {
                column[i] = T::from_f64(column[i].to_f64() - l[i].to_f64() * u);
            }
        }
        // Vectors start at multiples of their length: what lies above the diagonal is put back.
        let from = j / PAD * PAD;
        let mut above = [T::default(); PAD];
        above[..j - from].copy_from_slice(&column[from..j]);
        if j > 0 {
            combine(&mut column[from..], &known[from..], stride, &weights[..j]);
        }
        column[from..j].copy_from_slice(&above[..j - from]);
        let pivot = largest(&column[j..height]) + j;
        pivots.push(pivot);
        if pivot != j {
            columns.chunks_exact_mut(stride).for_each(|column| column.swap(j, pivot));
        }
        let column = &mut columns[j * stride..][..height];
        let by = column[j].to_f64();
        if by != 0.0 {
            column[j + 1..].iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() / by));
        }
    }
    pivots
}

/// Where the element with the largest absolute value is, the first of equals; a NaN counts as the largest.
fn largest<T: Real>(x: &[T]) -> usize {
    let mut found = (0, x[0].to_f64().abs());
    for (i, x) in x.iter().enumerate().skip(1) {
        let x = x.to_f64().abs();
        if x > found.1 || x.is_nan() && !found.1.is_nan() {
            found = (i, x);
        }
    }
    found.0
}
