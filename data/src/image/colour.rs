//! Colours of images, as PIL's `ImageEnhance` and `ImageFilter` change them.

use super::Image;

impl Image {
    /// Towards black (0), this image (1) and beyond.
    pub(crate) fn brightness(self, factor: f32) -> Self {
        self.blend(factor, |_| [0; 4])
    }

    /// Towards the mean gray (0), this image (1) and beyond.
    pub(crate) fn contrast(self, factor: f32) -> Self {
        let gray = self.clone().into_gray();
        let sum: f64 = gray.pixels.iter().map(|&v| f64::from(v)).sum();
        let mean = (sum / gray.pixels.len().max(1) as f64 + 0.5) as u8;
        self.blend(factor, |_| [mean; 4])
    }

    /// Towards gray (0), this image (1) and beyond.
    pub(crate) fn saturation(self, factor: f32) -> Self {
        if self.channels < 3 {
            return self;
        }
        self.blend(factor, |pixel| {
            let pixel = Image::new(1, 1, pixel.len(), pixel.to_vec()).into_gray();
            [pixel.pixels[0]; 4]
        })
    }

    /// Colours turned by a share of the circle of hues.
    pub(crate) fn hue(mut self, shift: f64) -> Self {
        if self.channels < 3 {
            return self;
        }
        // Hues are bytes, and turning is adding without a carry.
        let shift = (shift * 255.0) as i32 as u8;
        for pixel in self.pixels.chunks_exact_mut(self.channels) {
            let [hue, saturation, value] = hsv([pixel[0], pixel[1], pixel[2]]);
            pixel[..3].copy_from_slice(&rgb([hue.wrapping_add(shift), saturation, value]));
        }
        self
    }

    /// Blurred by a Gauss curve of `size` pixels' length and `sigma` pixels' width; at the edges the image
    /// is mirrored.
    pub(crate) fn gaussian_blur(self, size: [usize; 2], sigma: f64) -> Self {
        let [height, width, channels] = [self.height, self.width, self.channels];
        let values: Vec<f32> = self.pixels.iter().map(|&v| f32::from(v)).collect();
        // A line of pixels: where it starts, and how far apart they are.
        let across =
            |at: usize| (at / channels / width * width * channels + at % channels, channels);
        let down = |at: usize| (at % (width * channels), width * channels);
        let values =
            blurred(&values, width, size[0], sigma, |at| (across(at), at / channels % width));
        let values =
            blurred(&values, height, size[1], sigma, |at| (down(at), at / channels / width));
        let pixels = values.iter().map(|v| v.round_ties_even().clamp(0.0, 255.0) as u8).collect();
        Image { pixels, ..self }
    }

    /// Between another image (0) and this one (1), and beyond.
    fn blend(mut self, factor: f32, other: impl Fn(&[u8]) -> [u8; 4]) -> Self {
        for pixel in self.pixels.chunks_exact_mut(self.channels) {
            let other = other(pixel);
            for (value, other) in pixel.iter_mut().zip(other) {
                let (from, to) = (f32::from(other), f32::from(*value));
                *value = (from + factor * (to - from)).clamp(0.0, 255.0) as u8;
            }
        }
        self
    }
}

/// Each value as the mean of those on its line around it, weighted by a Gauss curve. `line` gives the start
/// of a value's line, the distance of its values, and the value's place on it.
fn blurred(
    values: &[f32],
    length: usize,
    size: usize,
    sigma: f64,
    line: impl Fn(usize) -> ((usize, usize), usize),
) -> Vec<f32> {
    let half = (size / 2) as isize;
    let weight = |at: isize| (-0.5 * (at as f64 / sigma).powi(2)).exp();
    let sum: f64 = (-half..=half).map(weight).sum();
    let weights: Vec<f32> = (-half..=half).map(|at| (weight(at) / sum) as f32).collect();
    // Mirrored at the centres of the outermost pixels, as often as it takes.
    let last = length as isize - 1;
    let mirror = |at: isize| match last {
        0 => 0,
        _ => {
            let at = at.rem_euclid(2 * last);
            at.min(2 * last - at) as usize
        }
    };
    let value = |at: usize| {
        let ((start, step), place) = line(at);
        let near = |offset: isize| values[start + mirror(place as isize + offset) * step];
        (-half..=half).zip(&weights).map(|(offset, weight)| near(offset) * weight).sum()
    };
    (0..values.len()).map(value).collect()
}

/// As PIL: all of hue, saturation and value from 0 to 255.
fn hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    if most == least {
        return [0, 0, most];
    }
    let spread = f32::from(most - least);
    let share = |v: u8| f32::from(most - v) / spread;
    let sixth = if r == most {
        share(b) - share(g)
    } else if g == most {
        2.0 + share(r) - share(b)
    } else {
        4.0 + share(g) - share(r)
    };
    // Kept in single precision, as PIL does: a third of the circle is 85, not 84.
    let hue = (f64::from(sixth) / 6.0 + 1.0).fract() as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(spread / f32::from(most)) * 255.0) as u8, most]
}

fn rgb([h, s, v]: [u8; 3]) -> [u8; 3] {
    let (saturation, value) = (f64::from(s) / 255.0, f64::from(v));
    let sixth = f64::from(h) * 6.0 / 255.0;
    let rest = sixth.fract();
    let part = |of: f64| (value * (1.0 - saturation * of)).round() as u8;
    let (p, q, t) = (part(1.0), part(rest), part(1.0 - rest));
    match sixth as u8 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture and what PIL makes of it: see `tests/images/make.py`.
    fn picture() -> (Image, serde_json::Value) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/images");
        let text = std::fs::read_to_string(format!("{folder}/pixels.json")).unwrap();
        let table: serde_json::Value = serde_json::from_str(&text).unwrap();
        (Image::open(format!("{folder}/rgb.png")).unwrap(), table["changed"].clone())
    }

    #[test]
    fn colours_change_as_in_pil() {
        let (image, wanted) = picture();
        let check = |name: &str, changed: Image| {
            let list = wanted[name].as_array().unwrap();
            let list: Vec<u8> = list.iter().map(|v| v.as_u64().unwrap() as u8).collect();
            assert_eq!(changed.pixels(), list, "{name}");
        };
        check("brightness", image.clone().brightness(1.5));
        check("contrast", image.clone().contrast(0.4));
        check("saturation", image.clone().saturation(1.7));
        check("hue", image.clone().hue(0.2));
        check("hue_back", image.hue(-0.3));
    }

    #[test]
    fn blurring_keeps_the_sum_inside_and_mirrors_at_the_edges() {
        let mut pixels = vec![0; 81];
        pixels[40] = 255;
        let dot = Image::new(9, 9, 1, pixels).gaussian_blur([5, 5], 1.0);
        // exp(−x²/2) at 0, 1, 2 over their sum, worked out by hand.
        let line = [0.054_488_7, 0.244_201_3, 0.402_620_0, 0.244_201_3, 0.054_488_7];
        for (y, a) in line.iter().enumerate() {
            for (x, b) in line.iter().enumerate() {
                let wanted = (255.0f64 * a * b).round();
                assert_eq!(f64::from(dot.pixels()[(y + 2) * 9 + x + 2]), wanted, "{y} {x}");
            }
        }
        let flat = Image::new(1, 4, 3, vec![80; 12]);
        assert_eq!(flat.clone().gaussian_blur([7, 7], 3.0), flat);
        // −2 −1 | 0 1 2: mirrored without the outermost pixel twice.
        let ramp = Image::new(1, 3, 1, vec![0, 100, 200]).gaussian_blur([3, 3], 1e3);
        assert_eq!(ramp.pixels(), [67, 100, 133]);
    }
}
