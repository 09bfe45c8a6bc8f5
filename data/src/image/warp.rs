//! Images turned, moved, scaled and sheared, as PIL's `transform` with `AFFINE` does it.

use super::Image;

impl Image {
    /// The image whose pixel (x, y) is that of this image at (ax + by + c, dx + ey + f), for the matrix
    /// `[a, b, c, d, e, f]` on centres of pixels; of the nearest pixel, or between the nearest four. What
    /// lies outside gets the value `fill`.
    pub(crate) fn affine(&self, matrix: &[f64; 6], bilinear: bool, fill: u8) -> Self {
        let mut pixels = Vec::with_capacity(self.pixels.len());
        if bilinear {
            self.between(matrix, fill, &mut pixels);
        } else {
            self.nearest(matrix, fill, &mut pixels);
        }
        Image { pixels, ..*self }
    }

    fn pixel(&self, x: usize, y: usize) -> &[u8] {
        &self.pixels[(y * self.width + x) * self.channels..][..self.channels]
    }

    fn nearest(&self, matrix: &[f64; 6], fill: u8, pixels: &mut Vec<u8>) {
        // Fixed point with 16 bits after it, as PIL has it: the bits of a rounding are the same.
        let fixed = |value: f64| (value * 65_536.0 + 0.5).floor() as i64;
        let [a, b, c, d, e, f] = *matrix;
        let (step_x, step_y) = ([fixed(a), fixed(d)], [fixed(b), fixed(e)]);
        let mut row = [fixed(c + 0.5 * a + 0.5 * b), fixed(f + 0.5 * d + 0.5 * e)];
        for _ in 0..self.height {
            let [mut x, mut y] = row;
            for _ in 0..self.width {
                let at = (usize::try_from(x >> 16), usize::try_from(y >> 16));
                match at {
                    (Ok(x), Ok(y)) if x < self.width && y < self.height => {
                        pixels.extend(self.pixel(x, y));
                    }
                    _ => pixels.extend(std::iter::repeat_n(fill, self.channels)),
                }
                x += step_x[0];
                y += step_x[1];
            }
            row = [row[0] + step_y[0], row[1] + step_y[1]];
        }
    }

    fn between(&self, matrix: &[f64; 6], fill: u8, pixels: &mut Vec<u8>) {
        let [a, b, c, d, e, f] = *matrix;
        let (width, height) = (self.width as f64, self.height as f64);
        for y in 0..self.height {
            for x in 0..self.width {
                let (x, y) = (x as f64 + 0.5, y as f64 + 0.5);
                let (x, y) = (a * x + b * y + c, d * x + e * y + f);
                if !(0.0..width).contains(&x) || !(0.0..height).contains(&y) {
                    pixels.extend(std::iter::repeat_n(fill, self.channels));
                    continue;
                }
                let (x, y) = (x - 0.5, y - 0.5);
                let (left, top) = (x.floor(), y.floor());
                let (dx, dy) = (x - left, y - top);
                let near = |at: f64, size: usize| (at.max(0.0) as usize).min(size - 1);
                let columns = [near(left, self.width), near(left + 1.0, self.width)];
                let rows = [near(top, self.height), near(top + 1.0, self.height)];
                for channel in 0..self.channels {
                    let value = |x: usize, y: usize| f64::from(self.pixel(x, y)[channel]);
                    let [upper, lower] = rows.map(|y| {
                        let (l, r) = (value(columns[0], y), value(columns[1], y));
                        l + (r - l) * dx
                    });
                    pixels.push((upper + (lower - upper) * dy) as u8);
                }
            }
        }
    }
}
