//! Initialisation on purpose, with PyTorch's names. All write in place and record nothing.

use kiln_tensor_core::{Backend, DType, Error, Fused, ScatterOp, Shape, Tensor, Val, raise};

use crate::{Buffer, Param};

/// What can be initialised: a tensor, [`Param`] or [`Buffer`].
pub trait Target {
    /// The backend of the tensor.
    type Backend: Backend;
    /// The tensor to write to.
    fn tensor(&self) -> Tensor<Self::Backend>;
}

macro_rules! targets {
    ($($ty:ident: |$x:ident| $tensor:expr;)*) => {$(
        impl<B: Backend> Target for $ty<B> {
            type Backend = B;
            fn tensor(&self) -> Tensor<B> {
                let $x = self;
                $tensor
            }
        }
    )*};
}
targets! {
    Tensor: |x| x.detach();
    Param: |x| x.tensor().detach();
    Buffer: |x| x.tensor();
}

/// The function that follows a layer, for [`calculate_gain`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nonlinearity {
    /// None; convolutions count as linear too.
    Linear,
    /// `sigmoid`
    Sigmoid,
    /// `tanh`
    Tanh,
    /// `relu`
    Relu,
    /// `leaky_relu`; its negative slope is the parameter.
    LeakyRelu,
    /// `selu`
    Selu,
}

/// By how much a nonlinearity should be made up for in the standard deviation of the weights.
/// `param` is the negative slope of `LeakyRelu` (0.01 if not given).
pub fn calculate_gain(nonlinearity: Nonlinearity, param: Option<f64>) -> f64 {
    match nonlinearity {
        Nonlinearity::Linear | Nonlinearity::Sigmoid => 1.0,
        Nonlinearity::Tanh => 5.0 / 3.0,
        Nonlinearity::Relu => 2f64.sqrt(),
        Nonlinearity::LeakyRelu => (2.0 / (1.0 + param.unwrap_or(0.01).powi(2))).sqrt(),
        // PyTorch's value, found by experiment; the weights of a self-normalising net want `Linear`.
        Nonlinearity::Selu => 0.75,
    }
}

/// Which way the size of activations is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FanMode {
    /// Forward: by the number of inputs.
    #[default]
    FanIn,
    /// Backward: by the number of outputs.
    FanOut,
}

/// How many inputs and outputs a weight `[out, in, …]` connects.
#[track_caller]
fn fans(op: &'static str, shape: &Shape) -> (f64, f64) {
    if shape.rank() < 2 {
        raise(Error::Shape {
            op,
            shapes: vec![shape.clone()],
            why: "a weight of at least 2 dims is wanted: [out, in, …]".into(),
        });
    }
    let receptive = shape[2..].iter().product::<usize>();
    ((shape[1] * receptive) as f64, (shape[0] * receptive) as f64)
}

/// Uniform numbers in `[low, high)`; PyTorch's defaults are 0 and 1.
pub fn uniform_(target: &impl Target, low: f64, high: f64) {
    target.tensor().uniform_(low, high);
}

/// Normal numbers; PyTorch's defaults are 0 and 1.
pub fn normal_(target: &impl Target, mean: f64, std: f64) {
    target.tensor().normal_(mean, std);
}

/// One number everywhere.
pub fn constant_<T: Target>(target: &T, value: f64) {
    let tensor = target.tensor();
    let dtype = tensor.dtype();
    tensor.copy_(&Tensor::full((), value, (tensor.device(), dtype)));
}

/// Ones.
pub fn ones_(target: &impl Target) {
    constant_(target, 1.0);
}

/// Zeros.
pub fn zeros_(target: &impl Target) {
    constant_(target, 0.0);
}

/// Uniform numbers whose variance suits both directions: `gain · √(6 / (fan_in + fan_out))` (Glorot,
/// Bengio 2010).
///
/// # Panics
/// If there are fewer than two dims.
#[track_caller]
pub fn xavier_uniform_(target: &impl Target, gain: f64) {
    let tensor = target.tensor();
    let (fan_in, fan_out) = fans("xavier_uniform_", tensor.shape());
    let bound = gain * (6.0 / (fan_in + fan_out)).sqrt();
    tensor.uniform_(-bound, bound);
}

/// Normal numbers of standard deviation `gain · √(2 / (fan_in + fan_out))` (Glorot, Bengio 2010).
///
/// # Panics
/// If there are fewer than two dims.
#[track_caller]
pub fn xavier_normal_(target: &impl Target, gain: f64) {
    let tensor = target.tensor();
    let (fan_in, fan_out) = fans("xavier_normal_", tensor.shape());
    tensor.normal_(0.0, gain * (2.0 / (fan_in + fan_out)).sqrt());
}

/// The standard deviation of He et al. 2015: `gain / √fan`.
#[track_caller]
fn kaiming_std(
    op: &'static str,
    shape: &Shape,
    a: f64,
    mode: FanMode,
    nonlinearity: Nonlinearity,
) -> f64 {
    let (fan_in, fan_out) = fans(op, shape);
    let fan = if mode == FanMode::FanIn { fan_in } else { fan_out };
    calculate_gain(nonlinearity, Some(a)) / fan.sqrt()
}

/// Uniform numbers in `±gain · √(3 / fan)` (He et al. 2015). `a` is the negative slope where
/// `nonlinearity` is `LeakyRelu`; PyTorch's defaults are 0, `FanIn`, `LeakyRelu`.
///
/// # Panics
/// If there are fewer than two dims.
#[track_caller]
pub fn kaiming_uniform_(target: &impl Target, a: f64, mode: FanMode, nonlinearity: Nonlinearity) {
    let tensor = target.tensor();
    if tensor.numel() == 0 {
        return;
    }
    let std = kaiming_std("kaiming_uniform_", tensor.shape(), a, mode, nonlinearity);
    let bound = 3f64.sqrt() * std;
    tensor.uniform_(-bound, bound);
}

/// Normal numbers of standard deviation `gain / √fan` (He et al. 2015); see [`kaiming_uniform_`].
///
/// # Panics
/// If there are fewer than two dims.
#[track_caller]
pub fn kaiming_normal_(target: &impl Target, a: f64, mode: FanMode, nonlinearity: Nonlinearity) {
    let tensor = target.tensor();
    if tensor.numel() == 0 {
        return;
    }
    tensor.normal_(0.0, kaiming_std("kaiming_normal_", tensor.shape(), a, mode, nonlinearity));
}

/// The identity matrix, as far as the sizes allow.
///
/// # Panics
/// If this is not a matrix.
#[track_caller]
pub fn eye_(target: &impl Target) {
    let tensor = target.tensor();
    let &[rows, columns] = tensor.dims() else { wrong("eye_", &tensor, "a matrix is wanted") };
    let eye: Vec<f64> =
        (0..rows * columns).map(|i| f64::from(i / columns == i % columns)).collect();
    write(&tensor, &eye);
}

/// A convolution's weight `[out, in / groups, …]` that hands channels through unchanged, as far as there
/// are any, group by group; PyTorch's default is one group.
///
/// # Panics
/// If this is no weight of a convolution, or `groups` does not divide its outputs.
#[track_caller]
pub fn dirac_(target: &impl Target, groups: usize) {
    let tensor = target.tensor();
    let dims = tensor.dims();
    if !(3..=5).contains(&dims.len()) || groups == 0 || !dims[0].is_multiple_of(groups) {
        wrong("dirac_", &tensor, "3 to 5 dims, and outputs that the groups divide, are wanted");
    }
    let outputs = dims[0] / groups;
    let taps: usize = dims[2..].iter().product();
    let centre = dims[2..].iter().fold(0, |at, &size| at * size + size / 2);
    let mut values = vec![0.0; tensor.numel()];
    for output in 0..dims[0] {
        let channel = output % outputs;
        if channel < dims[1] && taps > 0 {
            values[(output * dims[1] + channel) * taps + centre] = 1.0;
        }
    }
    write(&tensor, &values);
}

/// Normal numbers cut off at `low` and `high`; PyTorch's defaults are mean 0, standard deviation 1,
/// bounds ±2. Drawn by the inverse of the distribution function, so that none is thrown away.
///
/// # Panics
/// If `low` is above `high` or `std` is not positive.
#[track_caller]
pub fn trunc_normal_(target: &impl Target, mean: f64, std: f64, low: f64, high: f64) {
    static INVERSE_ERF: Fused<1> = Fused::new("erfinv", inverse_erf);
    if low > high || std <= 0.0 {
        raise(Error::Argument {
            op: "trunc_normal_",
            why: format!("low ≤ high and std > 0 are wanted, not {low}, {high}, {std}"),
        });
    }
    let tensor = target.tensor();
    let device = tensor.device();
    // erf of the bounds, computed like the elements.
    let bounds = [low, high].map(|bound| (bound - mean) / (std * 2f64.sqrt()));
    let bounds = like(&tensor, &bounds).erf().to_vec::<f64>();
    let drawn = if tensor.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let x = Tensor::zeros(tensor.shape(), (device, drawn)).uniform_(bounds[0], bounds[1]);
    let x = INVERSE_ERF.call([&x]) * (std * 2f64.sqrt()) + mean;
    tensor.copy_(&x.maximum(low).minimum(high));
}

/// The inverse of erf: Winitzki's approximation (2008), then Newton's steps, whose error squares each
/// time; near ±1, where erf is flat, the approximation stays.
fn inverse_erf([y]: [Val<'_>; 1]) -> Val<'_> {
    const A: f64 = 0.147;
    let log = (-y.square()).log1p();
    let half = log * 0.5 + 2.0 / (std::f64::consts::PI * A);
    let root = ((half.square() - log / A).sqrt() - half).sqrt();
    let start = y.lt(0.0).select(-root, root);
    (0..3).fold(start, |x, _| {
        let slope = (-x.square()).exp() * std::f64::consts::FRAC_2_SQRT_PI;
        let step = (x.erf() - y) / slope;
        slope.gt(1e-6).select(x - step, x)
    })
}

/// A matrix (dims after the first taken together) whose rows, or columns where there are more rows, are
/// orthogonal and of length `gain`, uniformly distributed (Saxe et al. 2013).
///
/// # Panics
/// If there are fewer than two dims.
#[track_caller]
pub fn orthogonal_(target: &impl Target, gain: f64) {
    let tensor = target.tensor();
    if tensor.rank() < 2 {
        wrong("orthogonal_", &tensor, "at least 2 dims are wanted");
    }
    let rows = tensor.dims()[0];
    let columns = tensor.numel() / rows.max(1);
    let (count, length) = (rows.min(columns), rows.max(columns));
    let device = tensor.device();
    // Gram and Schmidt, each vector twice: once is not exact for nearly dependent ones.
    let vectors = Tensor::randn([count, length], (device, DType::F64));
    for i in 0..count {
        let vector = vectors.narrow(0, i, 1);
        let before = vectors.narrow(0, 0, i);
        for _ in 0..2 {
            vector.sub_(vector.matmul(&before.t()).matmul(&before));
        }
        vector.div_(vector.square().sum().sqrt());
    }
    vectors.mul_(gain);
    let matrix = if rows > columns { vectors.t() } else { vectors };
    tensor.copy_(&matrix.reshape_to(tensor.shape()));
}

/// A matrix with a share `sparsity` of each column (rounded up) zero, and normal numbers elsewhere
/// (Martens 2010); PyTorch's default for `std` is 0.01.
///
/// # Panics
/// If this is not a matrix, or the share lies outside `[0, 1]`.
#[track_caller]
pub fn sparse_(target: &impl Target, sparsity: f64, std: f64) {
    let tensor = target.tensor();
    let &[rows, columns] = tensor.dims() else { wrong("sparse_", &tensor, "a matrix is wanted") };
    if !(0.0..=1.0).contains(&sparsity) {
        raise(Error::Argument {
            op: "sparse_",
            why: format!("a share lies in 0..=1, not {sparsity}"),
        });
    }
    let zeros = (sparsity * rows as f64).ceil() as usize;
    tensor.normal_(0.0, std);
    // A random order of the rows for each column; the first ones become zero.
    let order = Tensor::rand([rows, columns], tensor.device());
    zero_first(&tensor, &order, zeros);
}

/// Zeroes the elements of each column where `order` has its `count` largest numbers.
fn zero_first<B: Backend>(tensor: &Tensor<B>, order: &Tensor<B>, count: usize) {
    let (_, places) = B::topk(order, count, 0, true);
    let zeros = Tensor::zeros(places.shape(), (tensor.device(), tensor.dtype()));
    tensor.copy_(&B::scatter(ScatterOp::Set, tensor, 0, &places, &zeros));
}

/// A new vector beside `tensor`.
fn like<B: Backend>(tensor: &Tensor<B>, values: &[f64]) -> Tensor<B> {
    Tensor::from_slice(values, values.len(), tensor.device())
}

fn write<B: Backend>(tensor: &Tensor<B>, values: &[f64]) {
    tensor.copy_(&Tensor::from_slice(values, tensor.shape(), tensor.device()));
}

#[track_caller]
#[cold]
fn wrong<B: Backend>(op: &'static str, tensor: &Tensor<B>, why: &str) -> ! {
    raise(Error::Shape { op, shapes: vec![tensor.shape().clone()], why: why.into() })
}
