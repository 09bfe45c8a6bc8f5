//! Rotations of neighbouring rows, collected over many sweeps and then applied to a panel of columns after the other, which
//! stays in the first-level cache. Van Zee, van de Geijn, Quintana-Ortí 2014, "Restructuring the tridiagonal and
//! bidiagonal QR algorithms for performance".

use super::vectors::{Real, get, put};
use crate::kernels::simd::{Arch, Float, Work, dispatch};
use crate::threads::parallel_pieces;

/// Vectors in a row of a panel.
const VECTORS: usize = 2;
/// Rotations times rows that are worth handing to another thread.
const GRAIN: usize = 1 << 12;

/// Rotations of the rows of a matrix that are still to be applied.
pub(super) struct Rotations<T> {
    turns: Vec<[T; 2]>,
    sweeps: Vec<Sweep>,
}

/// Rotations of rows `first` and the next one, then of that one and the one behind it, and so on; downwards or upwards.
struct Sweep {
    first: usize,
    down: bool,
    turns: std::ops::Range<usize>,
}

impl<T: Real> Rotations<T> {
    pub(super) fn new() -> Self {
        Rotations { turns: Vec::new(), sweeps: Vec::new() }
    }

    /// A sweep begins.
    pub(super) fn begin(&mut self, first: usize, down: bool) {
        let at = self.turns.len();
        self.sweeps.push(Sweep { first, down, turns: at..at });
    }

    /// Of the row that is carried, x, and the next one, y: `c·x + s·y` stays, and `c·y − s·x` is carried on.
    pub(super) fn turn(&mut self, c: f64, s: f64) {
        self.turns.push([T::from_f64(c), T::from_f64(s)]);
        let sweep = self.sweeps.last_mut().expect("a sweep has begun");
        sweep.turns.end = self.turns.len();
    }

    /// Applies the rotations if there are many, or `all` that there are.
    pub(super) fn flush(&mut self, to: &mut Panels<T>, all: bool) {
        if self.turns.len() < 32 * to.rows && !all {
            return;
        }
        let len = to.rows * to.width;
        let per = if self.turns.len() < GRAIN { to.elements.len() } else { len };
        parallel_pieces(&mut to.elements, per, |_, panels| {
            for panel in panels.chunks_exact_mut(len) {
                dispatch(Apply { panel, rotations: self });
            }
        });
        self.turns.clear();
        self.sweeps.clear();
    }
}

/// A matrix as panels of a few columns.
pub(super) struct Panels<T> {
    elements: Vec<T>,
    rows: usize,
    /// Columns of a panel.
    width: usize,
}

impl<T: Real> Panels<T> {
    /// Those of `cols` columns of padded rows.
    pub(super) fn new(from: &[T], stride: usize, cols: usize) -> Self {
        let (width, rows) = (VECTORS * T::LANES, from.len() / stride);
        let mut elements = super::vectors::zeros(cols.div_ceil(width) * width * rows);
        for (panel, to) in elements.chunks_exact_mut(width * rows).enumerate() {
            let count = width.min(stride - panel * width);
            for (to, from) in to.chunks_exact_mut(width).zip(from.chunks_exact(stride)) {
                to[..count].copy_from_slice(&from[panel * width..][..count]);
            }
        }
        Panels { elements, rows, width }
    }

    /// Writes some rows as columns of `to`, whose rows are as long as there are of them; each times `sign`.
    pub(super) fn write_columns(&self, rows: &[usize], to: &mut [T]) {
        let (width, len) = (self.width, self.rows * self.width);
        for (i, to) in to.chunks_exact_mut(rows.len()).enumerate() {
            let panel = &self.elements[i / width * len..][..len];
            to.iter_mut().zip(rows).for_each(|(to, row)| *to = panel[row * width + i % width]);
        }
    }

    /// Writes some rows as rows of `cols` elements.
    pub(super) fn write_rows(&self, rows: &[usize], cols: usize, to: &mut [T]) {
        let (width, len) = (self.width, self.rows * self.width);
        for (to, row) in to.chunks_exact_mut(cols).zip(rows) {
            for (panel, to) in to.chunks_mut(width).enumerate() {
                to.copy_from_slice(&self.elements[panel * len + row * width..][..to.len()]);
            }
        }
    }

    /// Changes the sign of a row.
    pub(super) fn negate(&mut self, row: usize) {
        let width = self.width;
        for panel in self.elements.chunks_exact_mut(self.rows * width) {
            panel[row * width..][..width].iter_mut().for_each(|x| *x = T::from_f64(-x.to_f64()));
        }
    }
}

struct Apply<'a, T> {
    panel: &'a mut [T],
    rotations: &'a Rotations<T>,
}

impl<T: Real> Work for Apply<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Apply { panel, rotations } = self;
        let width = VECTORS * T::LANES;
        for sweep in &rotations.sweeps {
            let mut at = sweep.first * width;
            let mut carried: [T::V<A>; VECTORS] =
                std::array::from_fn(|k| get(panel, at + k * T::LANES));
            for &[c, s] in &rotations.turns[sweep.turns.clone()] {
                let next = if sweep.down { at + width } else { at - width };
                let (c, s) = (T::V::<A>::splat(c), T::V::<A>::splat(s));
                for (k, x) in carried.iter_mut().enumerate() {
                    let y: T::V<A> = get(panel, next + k * T::LANES);
                    put(c.mul_add(*x, s.mul(y)), panel, at + k * T::LANES);
                    *x = c.mul(y).sub(s.mul(*x));
                }
                at = next;
            }
            for (k, x) in carried.into_iter().enumerate() {
                put(x, panel, at + k * T::LANES);
            }
        }
    }
}

/// Cosine, sine and length r with `c·f + s·g = r` and `c·g − s·f = 0`.
pub(super) fn rotation(f: f64, g: f64) -> (f64, f64, f64) {
    if g == 0.0 {
        return (1.0, 0.0, f);
    }
    let squares = f * f + g * g;
    // The root of a sum that has lost nothing below the range of f64, which numbers around 1 seldom have.
    let r = if squares > 1e-280 { squares.sqrt() } else { f.hypot(g) };
    (f / r, g / r, r)
}
