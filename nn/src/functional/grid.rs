//! Images read at places that a grid names: `affine_grid` and `grid_sample`. Composed of gathering and arithmetic, so they
//! have derivatives of any order on every backend.

use kiln_tensor_core::{Backend, DType, Error, FusedWith, Shape, Tensor, raise};

/// How values between elements are worked out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GridMode {
    /// On a line between the two neighbours along each dim, over three dims too.
    #[default]
    Bilinear,
    /// The nearest element; halves to the even one.
    Nearest,
    /// On a cubic through four neighbours (Keys 1981, with −0.75), of images alone.
    Bicubic,
}

/// What is outside of the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GridPadding {
    /// Zeros.
    #[default]
    Zeros,
    /// The elements at the border.
    Border,
    /// The image again, reflected at its border.
    Reflection,
}

/// Elements to add up along a dim for each place: which they are, as `i64`, and their weights.
type Taps<B> = Vec<(Tensor<B>, Tensor<B>)>;

/// The elements of images `[n, c, h, w]` at the places of a grid `[n, h′, w′, 2]`, or of volumes `[n, c, d, h, w]` at those
/// of `[n, d′, h′, w′, 3]`: `torch.nn.functional.grid_sample`. Places are x, y (and z) from −1 to 1. These are the middles of
/// the outermost elements with `align_corners`, else their outer edges.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::functional::{GridMode, GridPadding, affine_grid, grid_sample};
/// use kiln_tensor_core::Tensor;
///
/// let image = Tensor::<Cpu>::from_slice(&[1.0, 2.0, 3.0, 4.0], [1, 1, 2, 2], &CpuDevice);
/// // Left and right change places.
/// let theta = Tensor::from_slice(&[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [1, 2, 3], &CpuDevice);
/// let grid = affine_grid(&theta, &[1, 1, 2, 2], false);
/// let mirrored = grid_sample(&image, &grid, GridMode::Bilinear, GridPadding::Zeros, false);
/// assert_eq!(mirrored.to_vec::<f64>(), [2.0, 1.0, 4.0, 3.0]);
/// ```
///
/// # Panics
/// If shapes, dtypes or devices do not fit, the image is empty, or the mode is Bicubic for volumes.
#[track_caller]
pub fn grid_sample<B: Backend>(
    x: &Tensor<B>,
    grid: &Tensor<B>,
    mode: GridMode,
    padding: GridPadding,
    align_corners: bool,
) -> Tensor<B> {
    let op = "grid_sample";
    let wrong = |why: &str| -> ! {
        raise(Error::Shape {
            op,
            shapes: vec![x.shape().clone(), grid.shape().clone()],
            why: why.into(),
        })
    };
    let dims = x.rank().saturating_sub(2);
    if !(2..=3).contains(&dims) || grid.rank() != x.rank() || grid.size(-1) != dims {
        wrong(
            "[n, c, h, w] and [n, h′, w′, 2], or [n, c, d, h, w] and [n, d′, h′, w′, 3] are wanted",
        );
    }
    let (n, c, spatial) = (x.dims()[0], x.dims()[1], &x.dims()[2..]);
    if grid.dims()[0] != n || spatial.contains(&0) {
        wrong("as many grids as images, and images with elements, are wanted");
    }
    if !x.dtype().is_float() || x.dtype() != grid.dtype() {
        raise(Error::DType {
            op,
            dtypes: vec![x.dtype(), grid.dtype()],
            why: "image and grid of one floating dtype are wanted".into(),
        });
    }
    if mode == GridMode::Bicubic && dims != 2 {
        raise(Error::Argument { op, why: "Bicubic is there for images [n, c, h, w] alone".into() });
    }
    let out = &grid.dims()[1..=dims];
    let shape: Shape = [n, c].iter().chain(out).copied().collect();
    let places = out.iter().product();
    let of = |i: usize| {
        // The grid's first number is that of the last dim.
        let at = grid.select(-1, (dims - 1 - i) as isize).reshape_to(&[n, 1, places].into());
        taps(&at, spatial[i], mode, padding, align_corners)
    };
    // Each element of one dim with each of the next one.
    let mut all = of(0);
    for (i, &size) in spatial.iter().enumerate().skip(1) {
        let next = of(i);
        let both = |(at, weight): &(Tensor<B>, Tensor<B>)| {
            let row = at * size as i64;
            let with = |(at, by): &(Tensor<B>, Tensor<B>)| (&row + at, weight * by);
            next.iter().map(with).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(both).collect();
    }
    let flat = x.flatten(2, -1);
    let each: Shape = [n, c, places].into();
    let parts = all.iter().map(|(at, weight)| flat.gather(2, &at.expand(&each)) * weight);
    parts.reduce(|a, b| a + b).expect("a mode has at least one tap").reshape_to(&shape)
}

/// The taps along a dim of `size` elements, for places from −1 to 1.
fn taps<B: Backend>(
    at: &Tensor<B>,
    size: usize,
    mode: GridMode,
    padding: GridPadding,
    corners: bool,
) -> Taps<B> {
    let size = size as f64;
    // In elements: 0 is the middle of the first one.
    let at =
        if corners { (at + 1.0) * ((size - 1.0) / 2.0) } else { ((at + 1.0) * size - 1.0) * 0.5 };
    let inside = |at: &Tensor<B>| match padding {
        GridPadding::Zeros => at.clone(),
        GridPadding::Border => clipped(at, size),
        GridPadding::Reflection => clipped(&reflected(at, size, corners), size),
    };
    // An element that does not exist weighs nothing; a place that is not a number has none.
    let tap = |index: &Tensor<B>, weight: &Tensor<B>| {
        let exists = index.ge(0.0).logical_and(index.le(size - 1.0));
        let index = Tensor::where_(&exists, index, 0.0).to_dtype(DType::I64);
        (index, Tensor::where_(&exists, weight, 0.0))
    };
    match mode {
        GridMode::Nearest => {
            let index = inside(&at).detach().round();
            vec![tap(&index, &index.ones_like())]
        }
        GridMode::Bilinear => {
            let at = inside(&at);
            let low = at.detach().floor();
            let high = &low + 1.0;
            vec![tap(&low, &(&high - &at)), tap(&high, &(&at - &low))]
        }
        GridMode::Bicubic => {
            let low = at.detach().floor();
            let rest = &at - &low;
            (0..4)
                .map(|k| {
                    let index = inside(&(&low + (f64::from(k) - 1.0)));
                    tap(&index, &CUBIC[k as usize].call([&rest], [f64::from(k)]))
                })
                .collect()
        }
    }
}

/// The cubic's weights of the four neighbours, from what is left of a place behind the second one.
static CUBIC: [FusedWith<1, 1>; 4] = {
    const A: f64 = -0.75;
    // Of the outer and of the inner neighbours, by the distance.
    const fn outer() -> FusedWith<1, 1> {
        FusedWith::new("cubic_outer", |[t], [k]| {
            let x = (t + 1.0 - k).abs();
            (((x - 5.0) * x + 8.0) * x - 4.0) * A
        })
    }
    const fn inner() -> FusedWith<1, 1> {
        FusedWith::new("cubic_inner", |[t], [k]| {
            let x = (t + 1.0 - k).abs();
            ((x * (A + 2.0) - (A + 3.0)) * x * x) + 1.0
        })
    }
    [outer(), inner(), inner(), outer()]
};

/// Places brought to the border, where their derivative is 0, as in PyTorch.
fn clipped<B: Backend>(at: &Tensor<B>, size: f64) -> Tensor<B> {
    static CLIP: FusedWith<1, 1> = FusedWith::new("grid_clip", |[x], [last]| {
        x.gt(0.0).select(x.ge(last).select(last.cast(x.dtype()), x), x.lit(0.0))
    });
    CLIP.call([at], [size - 1.0])
}

/// Places reflected at the borders until they are inside.
fn reflected<B: Backend>(at: &Tensor<B>, size: f64, corners: bool) -> Tensor<B> {
    static REFLECT: FusedWith<1, 2> = FusedWith::new("grid_reflect", |[x], [low, span]| {
        let x = (x - low).abs();
        let rest = x % span;
        let even = (x / span).floor() % 2.0;
        even.eq(0.0).select(rest, span - rest) + low
    });
    let (low, span) = if corners { (0.0, size - 1.0) } else { (-0.5, size) };
    if span == 0.0 {
        return at * 0.0;
    }
    REFLECT.call([at], [low, span])
}

/// The grid of an affine map: for each place of an output of the shape `size`, `[n, c, h, w]` or `[n, c, d, h, w]`, where
/// `theta` `[n, 2, 3]` or `[n, 3, 4]` takes it: `torch.nn.functional.affine_grid`. For [`grid_sample`], with the same
/// `align_corners`.
///
/// # Panics
/// If the sizes do not fit, or the elements are not floats.
#[track_caller]
pub fn affine_grid<B: Backend>(
    theta: &Tensor<B>,
    size: &[usize],
    align_corners: bool,
) -> Tensor<B> {
    let dims = size.len().saturating_sub(2);
    let fits = (2..=3).contains(&dims) && *theta.dims() == [size[0], dims, dims + 1];
    if !fits || !theta.dtype().is_float() {
        raise(Error::Shape {
            op: "affine_grid",
            shapes: vec![theta.shape().clone(), size.into()],
            why: "floats [n, 2, 3] for a size [n, c, h, w], or [n, 3, 4] for [n, c, d, h, w], are wanted"
                .into(),
        });
    }
    let out = &size[2..];
    let place = |i: usize, count: usize| match (count, align_corners) {
        (1, _) => 0.0,
        (_, true) => 2.0 * i as f64 / (count - 1) as f64 - 1.0,
        (_, false) => (2 * i + 1) as f64 / count as f64 - 1.0,
    };
    let places: usize = out.iter().product();
    let mut base = Vec::with_capacity(places * (dims + 1));
    for at in 0..places {
        let mut left = at;
        for &count in out.iter().rev() {
            base.push(place(left % count, count));
            left /= count;
        }
        base.push(1.0);
    }
    let base =
        Tensor::from_slice(&base, [places, dims + 1], theta.device()).to_dtype(theta.dtype());
    let grid = base.unsqueeze(0).matmul(&theta.transpose(1, 2));
    grid.reshape_to(&size[..1].iter().chain(out).chain(&[dims]).copied().collect())
}
