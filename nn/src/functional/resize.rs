//! Images of another size: interpolation, and channels that become space.

use kiln_tensor_core::{Backend, Error, Shape, Tensor, autocast, raise};

/// How values between elements are worked out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InterpolateMode {
    /// The element at `⌊i · scale⌋`, as in PyTorch.
    #[default]
    Nearest,
    /// The element at `⌊(i + ½) · scale⌋`, the nearest one.
    NearestExact,
    /// On a line between the two neighbours; over two dims it is called bilinear, over three trilinear.
    Linear,
    /// On a cubic through four neighbours (Keys 1981, with −0.75), over two dims.
    Bicubic,
    /// The mean of the elements that lie under the new one.
    Area,
}

/// The new sizes of the spatial dims.
#[derive(Clone, Debug, PartialEq)]
pub enum Resize {
    /// Sizes, or one for all.
    Size(Vec<usize>),
    /// Factors, or one for all; sizes are rounded down.
    Scale(Vec<f64>),
}

impl Resize {
    /// These sizes, or one for all dims.
    pub fn size(size: impl Into<Vec<usize>>) -> Self {
        Resize::Size(size.into())
    }

    /// These factors, or one for all dims.
    pub fn scale(factor: impl Into<Vec<f64>>) -> Self {
        Resize::Scale(factor.into())
    }

    /// The sizes that dims of these sizes get, and the factors where they were given.
    fn of(&self, dims: &[usize]) -> Option<Vec<(usize, Option<f64>)>> {
        let one = |count: usize, i: usize| if count == 1 { 0 } else { i };
        let each = dims.iter().enumerate();
        match self {
            Resize::Size(sizes) if [1, dims.len()].contains(&sizes.len()) => {
                Some(each.map(|(i, _)| (sizes[one(sizes.len(), i)], None)).collect())
            }
            Resize::Scale(factors) if [1, dims.len()].contains(&factors.len()) => {
                let of = |(i, &size): (usize, &usize)| {
                    let factor = factors[one(factors.len(), i)];
                    ((size as f64 * factor).floor() as usize, Some(factor))
                };
                Some(each.map(of).collect())
            }
            _ => None,
        }
    }
}

/// Elements to add up for each new one: as many rows as taps, each an index and a weight per new element.
type Taps = Vec<(Vec<i64>, Vec<f64>)>;

/// The taps along a dim of `size` elements that becomes one of `out`.
fn taps(mode: InterpolateMode, size: usize, out: usize, scale: Option<f64>, corners: bool) -> Taps {
    let step = match (corners, scale) {
        (true, _) if out > 1 => (size - 1) as f64 / (out - 1) as f64,
        (true, _) => 0.0,
        (false, Some(scale)) => 1.0 / scale,
        (false, None) => size as f64 / out as f64,
    };
    let at = |i: usize| if corners { i as f64 * step } else { (i as f64 + 0.5) * step - 0.5 };
    let clamp = |i: f64| i.clamp(0.0, (size - 1) as f64) as i64;
    let places = || 0..out;
    match mode {
        // In f32, as PyTorch: factors such as 1/3 decide which element it is.
        InterpolateMode::Nearest => {
            let place = |i: usize| clamp(f64::from((i as f32 * step as f32).floor()));
            vec![(places().map(place).collect(), Vec::new())]
        }
        InterpolateMode::NearestExact => {
            let place = |i: usize| clamp(f64::from(((i as f32 + 0.5) * step as f32).floor()));
            vec![(places().map(place).collect(), Vec::new())]
        }
        InterpolateMode::Bicubic => (0..4)
            .map(|tap| {
                let offset = f64::from(tap) - 1.0;
                let index = places().map(|i| clamp(at(i).floor() + offset)).collect();
                let weight = |i: usize| cubic((at(i) - at(i).floor() - offset).abs());
                (index, places().map(weight).collect())
            })
            .collect(),
        _ => [0.0, 1.0]
            .into_iter()
            .map(|offset| {
                let low = |i: usize| at(i).max(0.0).floor();
                let index = places().map(|i| clamp(low(i) + offset)).collect();
                let weight = |i: usize| 1.0 - (at(i).max(0.0) - low(i) - offset).abs();
                (index, places().map(weight).collect())
            })
            .collect(),
    }
}

/// The cubic's weight at a distance of up to 2.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.75;
    match x {
        x if x <= 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
    }
}

/// `[n, c, …]` with 1 to 3 spatial dims in other sizes: `torch.nn.functional.interpolate`, without antialiasing. With
/// `align_corners` the outermost elements stay where they are, for the modes Linear and Bicubic.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::functional::{InterpolateMode, Resize, interpolate};
/// use kiln_tensor_core::Tensor;
///
/// let x = Tensor::<Cpu>::arange(3, &CpuDevice).to_dtype(kiln_tensor_core::DType::F64).view([1, 1, 3]);
/// let y = interpolate(&x, &Resize::size([5]), InterpolateMode::Linear, true);
/// assert_eq!(y.to_vec::<f64>(), [0.0, 0.5, 1.0, 1.5, 2.0]);
/// ```
///
/// # Panics
/// If the rank or the sizes do not fit, a size is 0, or `align_corners` has no meaning in the mode.
#[track_caller]
pub fn interpolate<B: Backend>(
    x: &Tensor<B>,
    resize: &Resize,
    mode: InterpolateMode,
    align_corners: bool,
) -> Tensor<B> {
    use InterpolateMode::{Area, Bicubic, Linear};
    if let Some((_inside, [x])) = autocast::cast("interpolate", [x]) {
        return interpolate(&x, resize, mode, align_corners);
    }
    let op = "interpolate";
    let wrong =
        |why: String| -> ! { raise(Error::Shape { op, shapes: vec![x.shape().clone()], why }) };
    let spatial = x.dims().get(2..).unwrap_or_default();
    let Some(sizes) = resize.of(spatial).filter(|_| (1..=3).contains(&spatial.len())) else {
        wrong(format!(
            "[n, c, …] with 1 to 3 spatial dims, and sizes for them, are wanted: {resize:?}"
        ))
    };
    if x.numel() == 0 || sizes.iter().any(|&(size, _)| size == 0) {
        wrong(format!("sizes above 0 are wanted: {resize:?}"));
    }
    if align_corners && !matches!(mode, Linear | Bicubic) || mode == Bicubic && spatial.len() != 2 {
        let why =
            format!("{mode:?} with align_corners = {align_corners} over {} dims", spatial.len());
        raise(Error::Argument { op, why: why + " has no meaning" });
    }
    if mode == Area {
        return x.adaptive_avg_pool(&sizes.iter().map(|&(size, _)| size).collect::<Vec<_>>());
    }
    sizes.into_iter().enumerate().fold(x.clone(), |x, (i, (out, scale))| {
        let (dim, size) = (i + 2, x.dims()[i + 2]);
        if out == size && scale.is_none_or(|scale| scale == 1.0) {
            return x;
        }
        let mut along = vec![1; x.rank()];
        along[dim] = out;
        let pick = |(index, weights): (Vec<i64>, Vec<f64>)| {
            let index = Tensor::from_slice(&index, out, x.device());
            let picked = x.index_select(dim as isize, &index);
            if weights.is_empty() {
                return picked;
            }
            let weights = Tensor::from_slice(&weights, Shape::from(&along[..]), x.device());
            picked * weights.to_dtype(x.dtype())
        };
        let parts = taps(mode, size, out, scale, align_corners).into_iter().map(pick);
        parts.reduce(|a, b| a + b).expect("a mode has at least one tap")
    })
}

/// Channels that become space: `[…, c·r², h, w] → […, c, h·r, w·r]` (Shi et al. 2016).
///
/// # Panics
/// If there are fewer than three dims, or `r²` does not divide the channels.
#[track_caller]
pub fn pixel_shuffle<B: Backend>(x: &Tensor<B>, upscale_factor: usize) -> Tensor<B> {
    let r = upscale_factor;
    let fits = |lead: &[usize]| lead.last().is_some_and(|&c| r > 0 && c.is_multiple_of(r * r));
    match x.dims() {
        &[ref lead @ .., h, w] if fits(lead) => {
            let (outer, c) = (&lead[..lead.len() - 1], lead[lead.len() - 1] / (r * r));
            let n = outer.iter().product();
            let parts = x.reshape_to(&Shape::from([n, c, r, r, h, w])).permute([0, 1, 4, 2, 5, 3]);
            parts.reshape_to(&outer.iter().copied().chain([c, h * r, w * r]).collect())
        }
        _ => wrong_shuffle("pixel_shuffle", x, r),
    }
}

/// Space that becomes channels: `[…, c, h·r, w·r] → […, c·r², h, w]`.
///
/// # Panics
/// If there are fewer than three dims, or `r` does not divide height and width.
#[track_caller]
pub fn pixel_unshuffle<B: Backend>(x: &Tensor<B>, downscale_factor: usize) -> Tensor<B> {
    let r = downscale_factor;
    match x.dims() {
        &[ref outer @ .., c, h, w] if r > 0 && h.is_multiple_of(r) && w.is_multiple_of(r) => {
            let (h, w) = (h / r, w / r);
            let n = outer.iter().product();
            let parts = x.reshape_to(&Shape::from([n, c, h, r, w, r])).permute([0, 1, 3, 5, 2, 4]);
            parts.reshape_to(&outer.iter().copied().chain([c * r * r, h, w]).collect())
        }
        _ => wrong_shuffle("pixel_unshuffle", x, r),
    }
}

/// The channels of each of `groups` groups in turn: `[n, c, …]` (Zhang et al. 2018).
///
/// # Panics
/// If there is no dim 1, or the groups do not divide it.
#[track_caller]
pub fn channel_shuffle<B: Backend>(x: &Tensor<B>, groups: usize) -> Tensor<B> {
    if x.rank() < 2 || groups == 0 || !x.dims()[1].is_multiple_of(groups) {
        wrong_shuffle("channel_shuffle", x, groups);
    }
    x.unflatten(1, [groups as isize, -1]).transpose(1, 2).flatten(1, 2)
}

#[track_caller]
#[cold]
fn wrong_shuffle<B: Backend>(op: &'static str, x: &Tensor<B>, factor: usize) -> ! {
    let why = format!("channels and sizes that {factor} divides as the op needs it are wanted");
    raise(Error::Shape { op, shapes: vec![x.shape().clone()], why })
}

/// How windows lie on an image; one entry per spatial dim in each field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Sizes of a window.
    pub kernel: [usize; 2],
    /// Distance between two taps.
    pub dilation: [usize; 2],
    /// Zeros added on both sides.
    pub padding: [usize; 2],
    /// Distance between two windows.
    pub stride: [usize; 2],
}

impl Windows {
    /// How many windows there are along each dim of an image of this size.
    fn counts(&self, image: [usize; 2]) -> Option<[usize; 2]> {
        let count = |i: usize| {
            let reach = self.dilation[i] * self.kernel[i].checked_sub(1)? + 1;
            Some((image[i] + 2 * self.padding[i]).checked_sub(reach)? / self.stride[i] + 1)
        };
        Some([count(0)?, count(1)?])
    }

    /// For each tap of each window its place in the padded image, row-major.
    fn places(&self, image: [usize; 2], counts: [usize; 2]) -> Vec<i64> {
        let width = image[1] + 2 * self.padding[1];
        let mut places = Vec::new();
        for (ky, kx) in pairs(self.kernel) {
            for (y, x) in pairs(counts) {
                let row = y * self.stride[0] + ky * self.dilation[0];
                let column = x * self.stride[1] + kx * self.dilation[1];
                places.push((row * width + column) as i64);
            }
        }
        places
    }

    #[track_caller]
    fn check<B: Backend>(&self, op: &'static str, x: &Tensor<B>, image: [usize; 2]) -> [usize; 2] {
        let positive = self.stride.iter().chain(&self.dilation).chain(&self.kernel).all(|&s| s > 0);
        match self.counts(image).filter(|_| positive) {
            Some(counts) => counts,
            None => raise(Error::Shape {
                op,
                shapes: vec![x.shape().clone()],
                why: format!("windows that fit into {image:?} are wanted, not {self:?}"),
            }),
        }
    }
}

fn pairs([rows, columns]: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |y| (0..columns).map(move |x| (y, x)))
}

/// The windows of images `[n, c, h, w]` (or `[c, h, w]`) as columns: `[n, c · taps, windows]`.
///
/// # Panics
/// If the rank does not fit, or no window does.
#[track_caller]
pub fn unfold<B: Backend>(x: &Tensor<B>, windows: &Windows) -> Tensor<B> {
    if x.rank() == 3 {
        return unfold(&x.unsqueeze(0), windows).squeeze(0);
    }
    let image = match *x.dims() {
        [_, _, h, w] => [h, w],
        _ => wrong_shuffle("unfold", x, 1),
    };
    let counts = windows.check("unfold", x, image);
    let [top, left] = windows.padding.map(|size| size as isize);
    let padded = x.pad(&[left, left, top, top], kiln_tensor_core::PadMode::Constant(0.0));
    let places = windows.places(image, counts);
    let index = Tensor::from_slice(&places, places.len(), x.device());
    let columns = padded.flatten(2, 3).index_select(2, &index);
    let taps: usize = windows.kernel.iter().product();
    columns.reshape_to(&[x.dims()[0], x.dims()[1] * taps, counts[0] * counts[1]].into())
}

/// Images of a size from columns `[n, c · taps, windows]` (or without `n`), which are added up where windows overlap:
/// the transpose of [`unfold`].
///
/// # Panics
/// If the sizes do not fit together.
#[track_caller]
pub fn fold<B: Backend>(x: &Tensor<B>, output_size: [usize; 2], windows: &Windows) -> Tensor<B> {
    if x.rank() == 2 {
        return fold(&x.unsqueeze(0), output_size, windows).squeeze(0);
    }
    let counts = windows.check("fold", x, output_size);
    let taps: usize = windows.kernel.iter().product();
    let (n, rows) = match *x.dims() {
        [n, rows, columns] if rows.is_multiple_of(taps) && columns == counts[0] * counts[1] => {
            (n, rows)
        }
        _ => wrong_shuffle("fold", x, taps),
    };
    let channels = rows / taps;
    let [top, left] = windows.padding;
    let [height, width] = [output_size[0] + 2 * top, output_size[1] + 2 * left];
    let places = windows.places(output_size, counts);
    let index = Tensor::from_slice(&places, places.len(), x.device());
    let columns = x.reshape_to(&[n, channels, places.len()].into());
    let zeros = Tensor::zeros([n, channels, height * width], (x.device(), x.dtype()));
    let image =
        zeros.index_add(2, &index, &columns).unflatten(2, [height as isize, width as isize]);
    image.narrow(2, top, output_size[0]).narrow(3, left, output_size[1])
}
