//! What a backend is: a set of primitives on tensors. The file to read first.
//!
//! A backend implements the required tier; the fused tier has defaults written in primitives
//! ([`crate::compose`]) and a backend overrides what it does faster. A backend that wraps another
//! one (`Autograd`, `Any`) forwards every method, fused ones too.
//!
//! Callers of these methods — the user-level ops of this crate — have checked shapes, dtypes, dims
//! and devices. What depends on values (an index out of range) is the backend's to check. Inputs may
//! have any strides. Outputs are contiguous and belong to nobody else, except those of `view`,
//! `clone` and `detach`, which share storage.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::graph::Replay;
use crate::{
    Activation, AttentionSpec, ConvSpec, DType, Error, Factorization, Handle, HostMemory, Kernel,
    Layout, MemoryStats, PoolSpec, Result, Shape, Tensor, ViewOp, compose, raise,
};

/// The tensors that a primitive with several results gives.
pub type Outputs<B> = SmallVec<[Tensor<B>; 1]>;

/// The tensors of the backend inside, for backends that wrap: up to four without a loop, because a small
/// op passes here.
#[inline]
pub fn insides<'a, B: Backend, C: Backend>(
    xs: &[&'a Tensor<C>],
    inside: impl Fn(&'a Tensor<C>) -> &'a Tensor<B>,
) -> SmallVec<[&'a Tensor<B>; 4]> {
    match xs.first() {
        Some(&first) if xs.len() <= 4 => {
            let at = |i: usize| inside(xs.get(i).copied().unwrap_or(first));
            SmallVec::from_buf_and_len([at(0), at(1), at(2), at(3)], xs.len())
        }
        _ => xs.iter().copied().map(inside).collect(),
    }
}

/// Where a backend's tensors live.
pub trait Device:
    Clone + PartialEq + Eq + Hash + Debug + Display + Default + Send + Sync + 'static
{
}

/// How `reduce` combines elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// The sum, 0 for no elements. Narrow floats add up in `f32`.
    Sum,
    /// The product, 1 for no elements.
    Prod,
    /// The largest; NaN if any is.
    Max,
    /// The smallest; NaN if any is.
    Min,
    /// The position of the first largest (the first NaN if there is one), as `i64`.
    ArgMax,
    /// The position of the first smallest (the first NaN if there is one), as `i64`.
    ArgMin,
    /// Whether any is true, as bool; the input is bool.
    Any,
    /// Whether all are true, as bool; the input is bool.
    All,
}

/// How `scan` combines elements along its dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanOp {
    /// Running sum.
    Sum,
    /// Running product.
    Prod,
}

/// How `scatter` combines a written value with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScatterOp {
    /// Overwrite; of several writes to one place the last in row-major order stays.
    Set,
    /// Add, in row-major order of the source.
    Add,
    /// Multiply, in row-major order of the source.
    Mul,
    /// Keep the larger.
    Max,
    /// Keep the smaller.
    Min,
}

/// A set of primitives on tensors; see the module's text for what callers and backends may assume.
pub trait Backend: Sized + Clone + Debug + Send + Sync + 'static {
    /// Names one of the backend's devices.
    type Device: Device;
    /// A tensor, as the backend keeps it.
    type Handle: Handle<Self::Device>;

    // ------------------------------------------------------------------ required: memory

    /// The backend's name in messages.
    fn name() -> &'static str;

    /// A new tensor with these elements, given as native-endian bytes in row-major order.
    fn upload(bytes: &[u8], shape: &Shape, dtype: DType, device: &Self::Device) -> Tensor<Self>;

    /// The elements as native-endian bytes in row-major order. Waits for the device.
    fn download(x: &Tensor<Self>) -> Vec<u8>;

    /// A new tensor whose elements are unspecified: the caller writes all of them before any is read.
    fn empty(shape: &Shape, dtype: DType, device: &Self::Device) -> Tensor<Self>;

    /// The same storage seen through another layout, which is `op` applied to the layout of `x`.
    fn view(x: &Tensor<Self>, op: &ViewOp, layout: Layout) -> Tensor<Self>;

    /// Waits until the device has done all that it was asked to.
    fn sync(device: &Self::Device);

    /// How many times the storage of `x` has been written to in place.
    fn version(x: &Tensor<Self>) -> u64;

    /// Whether both tensors use one storage.
    fn shares_storage(a: &Tensor<Self>, b: &Tensor<Self>) -> bool;

    /// Whether `x` is the only handle to its storage and nothing recorded refers to it, so that its
    /// memory may be reused.
    fn is_unique(x: &Tensor<Self>) -> bool;

    /// What the device's memory holds.
    fn memory(device: &Self::Device) -> MemoryStats;

    /// Makes the current `allocated` the new `peak`.
    fn reset_peak_memory(device: &Self::Device);

    // ------------------------------------------------------------------ required: elementwise

    /// Runs a scalar program over tensors whose shapes broadcast to `shape`; one contiguous output of
    /// `shape` per output of the program. `device` matters where there are no inputs.
    fn map_many(
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        device: &Self::Device,
    ) -> Outputs<Self>;

    /// Like `map_many`, into existing tensors of one shape and of the outputs' dtypes. An output may be one
    /// of the inputs, element for element; any other overlap between an output and an input, or inside
    /// an output, has been excluded by the caller.
    fn map_into(kernel: Kernel<'_>, inputs: &[&Tensor<Self>], outputs: &[&Tensor<Self>]);

    // ------------------------------------------------------------------ required: along dimensions

    /// Combines the results of a one-output program (often the identity) on inputs that broadcast to
    /// `shape`, along `dims` (sorted, distinct), which stay with size 1. `ArgMax` and `ArgMin` take
    /// exactly one dim. The dtype is the program's output dtype, except where the op says otherwise.
    fn reduce(
        op: ReduceOp,
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        dims: &[usize],
    ) -> Tensor<Self>;

    /// Running combination along `dim`, in the input's dtype.
    fn scan(op: ScanOp, x: &Tensor<Self>, dim: usize) -> Tensor<Self>;

    /// The `k` largest (or smallest) values along `dim` and their positions (`i64`), best first;
    /// equal values by position. NaN counts as the largest.
    fn topk(x: &Tensor<Self>, k: usize, dim: usize, largest: bool) -> (Tensor<Self>, Tensor<Self>);

    // ------------------------------------------------------------------ required: products

    /// `[…, m, k] × […, k, n] → […, m, n]`: equal ranks of at least 2 and equal (already expanded)
    /// batch sizes; floats and integers, both of one dtype. Narrow floats add up in `f32`.
    fn matmul(a: &Tensor<Self>, b: &Tensor<Self>) -> Tensor<Self>;

    /// Cross-correlation. `x` `[n, c, spatial…]`, `weight` `[o, c / groups, kernel…]`, 1 to 3 spatial
    /// dims → `[n, o, out…]`. Floats, one dtype.
    fn conv(x: &Tensor<Self>, weight: &Tensor<Self>, spec: &ConvSpec) -> Tensor<Self>;

    /// The gradient of `conv` in `x`, which has shape `input`; also the transposed convolution.
    fn conv_grad_input(
        grad: &Tensor<Self>,
        weight: &Tensor<Self>,
        input: &Shape,
        spec: &ConvSpec,
    ) -> Tensor<Self>;

    /// The gradient of `conv` in the weight, which has shape `weight`.
    fn conv_grad_weight(
        grad: &Tensor<Self>,
        x: &Tensor<Self>,
        weight: &Shape,
        spec: &ConvSpec,
    ) -> Tensor<Self>;

    /// Maxima of windows over the trailing 1 to 3 dims of `[n, c, spatial…]`, and where they were:
    /// row-major positions in the spatial dims, `i64`; the first of equals, NaN counts as the largest.
    fn max_pool(x: &Tensor<Self>, spec: &PoolSpec) -> (Tensor<Self>, Tensor<Self>);

    /// Means of windows over the trailing 1 to 3 dims of `[n, c, spatial…]`.
    fn avg_pool(x: &Tensor<Self>, spec: &PoolSpec) -> Tensor<Self>;

    /// The gradient of `avg_pool` in `x`, which has shape `input`.
    fn avg_pool_grad(grad: &Tensor<Self>, input: &Shape, spec: &PoolSpec) -> Tensor<Self>;

    // ------------------------------------------------------------------ required: by index
    // An index that is out of range is `Error::Index`: here, or, on a device that nothing waits for, from
    // the next `download` or `sync`, with the caller's place in it.

    /// `out[…, i, …] = x[…, index[…, i, …], …]` with `i` at `dim`. `index` is `i64`, of the rank of `x`
    /// and no longer than `x` in the other dims.
    #[track_caller]
    fn gather(x: &Tensor<Self>, dim: usize, index: &Tensor<Self>) -> Tensor<Self>;

    /// A copy of `x` with `src[…, i, …]` combined into place `[…, index[…, i, …], …]` along `dim`.
    /// `index` and `src` have one shape, no longer than `x` in the other dims.
    #[track_caller]
    fn scatter(
        op: ScatterOp,
        x: &Tensor<Self>,
        dim: usize,
        index: &Tensor<Self>,
        src: &Tensor<Self>,
    ) -> Tensor<Self>;

    /// The indices of the elements that differ from zero, `i64` `[count, rank]`, in row-major order.
    fn nonzero(x: &Tensor<Self>) -> Tensor<Self>;

    // ------------------------------------------------------------------ provided: elementwise

    /// `map_many` of a program with one output, which most have: what a small op costs is spent on
    /// the way here, so a backend does well to write it.
    fn map(
        kernel: Kernel<'_>,
        inputs: &[&Tensor<Self>],
        shape: &Shape,
        device: &Self::Device,
    ) -> Tensor<Self> {
        Self::map_many(kernel, inputs, shape, device).remove(0)
    }

    /// `map_into` for many groups of tensors at once, as an optimizer step needs it. No group's outputs are
    /// another's inputs or outputs.
    fn map_each_into(kernel: Kernel<'_>, groups: &[(Vec<&Tensor<Self>>, Vec<&Tensor<Self>>)]) {
        groups.iter().for_each(|(inputs, outputs)| Self::map_into(kernel, inputs, outputs));
    }

    // ------------------------------------------------------------------ provided: by index

    /// Values and their positions (`i64`) in order along `dim`. Stable; NaN counts as the largest.
    fn sort(x: &Tensor<Self>, dim: usize, descending: bool) -> (Tensor<Self>, Tensor<Self>) {
        Self::topk(x, x.dims()[dim], dim, descending)
    }

    /// The slices of `x` along `dim` that a 1-d `i64` index names.
    #[track_caller]
    fn index_select(x: &Tensor<Self>, dim: usize, index: &Tensor<Self>) -> Tensor<Self> {
        compose::index_select(x, dim, index)
    }

    /// A copy of `x` with slice `i` of `src` added to slice `index[i]` along `dim`, in order of `i`.
    #[track_caller]
    fn index_add(
        x: &Tensor<Self>,
        dim: usize,
        index: &Tensor<Self>,
        src: &Tensor<Self>,
    ) -> Tensor<Self> {
        compose::index_add(x, dim, index, src)
    }

    // ------------------------------------------------------------------ provided: memory

    /// Gives the memory that the allocator keeps for reuse back to the system.
    fn empty_cache(device: &Self::Device) {
        let _ = device;
    }

    /// A tensor that shares a buffer of the program, so that a change on either side shows on the other.
    fn adopt(memory: Arc<dyn HostMemory>, shape: &Shape, device: &Self::Device) -> Tensor<Self> {
        let _ = (memory, shape);
        raise(Error::Unsupported {
            op: "from_shared",
            backend: device.to_string(),
            why: "its memory is not the program's; copy the data with Tensor::new".into(),
        })
    }

    /// The adjoint of `view`: zeros of shape `shape` with each element of `grad` added to the place
    /// that `op` sees it at.
    fn view_grad(grad: &Tensor<Self>, op: &ViewOp, shape: &Shape) -> Tensor<Self> {
        compose::view_grad(grad, op, shape)
    }

    /// The elements in new memory of `device`.
    fn to_device(x: &Tensor<Self>, device: &Self::Device) -> Tensor<Self> {
        Self::upload(&Self::download(x), x.shape(), x.dtype(), device)
    }

    /// Tensors joined along `dim`: one dtype, and one size in every other dim.
    fn cat(tensors: &[&Tensor<Self>], dim: usize) -> Tensor<Self> {
        compose::cat(tensors, dim)
    }

    // ------------------------------------------------------------------ provided: graphs

    /// Whether steps on the device can be captured.
    fn has_graphs(device: &Self::Device) -> bool {
        let _ = device;
        false
    }

    /// Calls `step` once, and gives what replays the work that this thread has asked of the device in it; see
    /// [`crate::graph`], whose `capture` is the only caller.
    fn capture(device: &Self::Device, step: &mut dyn FnMut()) -> Result<Box<dyn Replay>> {
        let _ = step;
        let why = "it has no graphs".into();
        Err(Error::Unsupported { op: "graph::capture", backend: device.to_string(), why })
    }

    // ------------------------------------------------------------------ provided: fused

    /// `exp(x − max) / Σ` along `dim`. Floats.
    fn softmax(x: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        compose::softmax(x, dim)
    }

    /// The gradient of `softmax`, from its result.
    fn softmax_grad(grad: &Tensor<Self>, y: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        compose::softmax_grad(grad, y, dim)
    }

    /// `x − max − ln Σ exp(x − max)` along `dim`. Floats.
    fn log_softmax(x: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        compose::log_softmax(x, dim)
    }

    /// The gradient of `log_softmax`, from its result.
    fn log_softmax_grad(grad: &Tensor<Self>, y: &Tensor<Self>, dim: usize) -> Tensor<Self> {
        compose::log_softmax_grad(grad, y, dim)
    }

    /// `−log_softmax(logits)[i, target[i]]` for logits `[n, classes]` and `i64` targets `[n]` → `[n]`;
    /// 0 where the target is `ignore`.
    fn cross_entropy(logits: &Tensor<Self>, target: &Tensor<Self>, ignore: i64) -> Tensor<Self> {
        compose::cross_entropy(logits, target, ignore)
    }

    /// The gradient of `cross_entropy` in the logits; `grad` is `[n]`.
    fn cross_entropy_grad(
        grad: &Tensor<Self>,
        logits: &Tensor<Self>,
        target: &Tensor<Self>,
        ignore: i64,
    ) -> Tensor<Self> {
        compose::cross_entropy_grad(grad, logits, target, ignore)
    }

    /// `x · weightᵀ + bias` for `x` `[…, in]`, `weight` `[out, in]`, `bias` `[out]`.
    fn linear(
        x: &Tensor<Self>,
        weight: &Tensor<Self>,
        bias: Option<&Tensor<Self>>,
    ) -> Tensor<Self> {
        compose::linear(x, weight, bias)
    }

    /// `activation(linear(x, weight, bias))`, and what the activation was applied to, where `keep` asks for
    /// that: gradients of `GeluTanh` need it, `Relu` has all in its result.
    fn linear_act(
        x: &Tensor<Self>,
        weight: &Tensor<Self>,
        bias: Option<&Tensor<Self>>,
        activation: Activation,
        keep: bool,
    ) -> (Tensor<Self>, Option<Tensor<Self>>) {
        compose::linear_act(x, weight, bias, activation, keep)
    }

    /// The gradients of `linear` in weight and bias together: both read `grad`, `[…, out]`; `x` is `[…, in]`.
    fn linear_grad_weight(grad: &Tensor<Self>, x: &Tensor<Self>) -> [Tensor<Self>; 2] {
        compose::linear_grad_weight(grad, x)
    }

    /// Normalisation over the last `dims` dimensions, then `· weight + bias` (both of the shape of
    /// those). Gives the result, and mean and 1/√(variance + eps) with size 1 in those dimensions.
    fn layer_norm(
        x: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        bias: Option<&Tensor<Self>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Self>; 3] {
        compose::layer_norm(x, weight, bias, dims, eps)
    }

    /// The gradients of `layer_norm` in `x`, weight and bias (shaped as a weight would be). A backend
    /// that records works mean and rstd out again from `x` and `eps`, to differentiate them too.
    fn layer_norm_grad(
        grad: &Tensor<Self>,
        x: &Tensor<Self>,
        mean: &Tensor<Self>,
        rstd: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Self>; 3] {
        let _ = eps;
        compose::layer_norm_grad(grad, x, mean, rstd, weight, dims)
    }

    /// Division by the root of the mean square over the last `dims` dimensions, then `· weight` (of the
    /// shape of those). Gives the result, and 1/√(mean square + eps) with size 1 in those dimensions, in
    /// the type that elements are computed in.
    fn rms_norm(
        x: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Self>; 2] {
        compose::rms_norm(x, weight, dims, eps)
    }

    /// The gradients of `rms_norm` in `x` and weight (shaped as a weight would be).
    fn rms_norm_grad(
        grad: &Tensor<Self>,
        x: &Tensor<Self>,
        rstd: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        dims: usize,
        eps: f64,
    ) -> [Tensor<Self>; 2] {
        let _ = eps;
        compose::rms_norm_grad(grad, x, rstd, weight, dims)
    }

    /// Normalisation of each channel (dim 1) by its own mean and biased variance, then
    /// `· weight + bias` (`[channels]`). Gives the result, mean and variance (`[channels]`).
    fn batch_norm(
        x: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        bias: Option<&Tensor<Self>>,
        eps: f64,
    ) -> [Tensor<Self>; 3] {
        compose::batch_norm(x, weight, bias, eps)
    }

    /// The gradients of `batch_norm` in `x`, weight and bias, from its mean and variance.
    fn batch_norm_grad(
        grad: &Tensor<Self>,
        x: &Tensor<Self>,
        mean: &Tensor<Self>,
        var: &Tensor<Self>,
        weight: Option<&Tensor<Self>>,
        eps: f64,
    ) -> [Tensor<Self>; 3] {
        compose::batch_norm_grad(grad, x, mean, var, weight, eps)
    }

    /// `softmax(scale · q · kᵀ + mask) · v` for q `[…, l, e]`, k `[…, s, e]`, v `[…, s, ev]` of equal (already
    /// expanded) leading dims, and a mask `[…, l, s]`: floats to add, of the dtype of `q`, or bools that say
    /// which keys a query sees. Floats. Gives the result, zeros where a query sees no key, and the
    /// logarithm of the softmax's divisor, `[…, l]`, in the type that elements are computed in, −∞ there.
    fn scaled_dot_product_attention(
        q: &Tensor<Self>,
        k: &Tensor<Self>,
        v: &Tensor<Self>,
        mask: Option<&Tensor<Self>>,
        spec: &AttentionSpec,
    ) -> [Tensor<Self>; 2] {
        compose::scaled_dot_product_attention(q, k, v, mask, spec)
    }

    /// The gradients of `scaled_dot_product_attention` in q, k and v, from its two results.
    #[allow(clippy::too_many_arguments, reason = "the operands of the op, and its results")]
    fn scaled_dot_product_attention_grad(
        grad: &Tensor<Self>,
        q: &Tensor<Self>,
        k: &Tensor<Self>,
        v: &Tensor<Self>,
        mask: Option<&Tensor<Self>>,
        out: &Tensor<Self>,
        log: &Tensor<Self>,
        spec: &AttentionSpec,
    ) -> [Tensor<Self>; 3] {
        let _ = (out, log);
        compose::scaled_dot_product_attention_grad(grad, q, k, v, mask, spec)
    }

    /// The gradient of `max_pool` in `x`, which has shape `input`, from the positions of the maxima.
    fn max_pool_grad(grad: &Tensor<Self>, indices: &Tensor<Self>, input: &Shape) -> Tensor<Self> {
        compose::max_pool_grad(grad, indices, input)
    }

    /// The factors of each of the matrices `[…, m, n]`, `f32` or `f64`: what [`Factorization`] says. A batch, m or n
    /// may be 0.
    fn factor(x: &Tensor<Self>, kind: Factorization) -> Outputs<Self> {
        compose::factor(x, kind)
    }

    /// The solution x of `a · x = b` for triangular a `[…, n, n]` and b `[…, n, k]` of equal (already expanded)
    /// leading dims. Reads one triangle of a, without its diagonal if `unit`: that is then ones.
    fn solve_triangular(
        a: &Tensor<Self>,
        b: &Tensor<Self>,
        upper: bool,
        unit: bool,
    ) -> Tensor<Self> {
        compose::solve_triangular(a, b, upper, unit)
    }

    // ------------------------------------------------------------------ provided: tracking
    // A backend that records overrides these; on any other, nothing is tracked.

    /// Whether this backend records operations where a tensor asks for it.
    fn records() -> bool {
        false
    }

    /// Whether operations on `x` are recorded.
    fn requires_grad(x: &Tensor<Self>) -> bool {
        let _ = x;
        false
    }

    /// Starts or stops recording operations on the leaf `x`.
    fn set_requires_grad(x: &Tensor<Self>, on: bool) {
        if on {
            raise(Error::Unsupported {
                op: "requires_grad_",
                backend: x.device().to_string(),
                why: format!("{0} records nothing; use tensors of Autograd<{0}>", Self::name()),
            });
        }
    }

    /// The same storage, without history.
    fn detach(x: &Tensor<Self>) -> Tensor<Self> {
        x.clone()
    }

    /// The gradient that `backward` has accumulated in `x`.
    fn grad(x: &Tensor<Self>) -> Option<Tensor<Self>> {
        let _ = x;
        None
    }

    /// Replaces or drops the accumulated gradient of `x`.
    fn set_grad(x: &Tensor<Self>, grad: Option<Tensor<Self>>) {
        let _ = (x, grad);
    }

    /// Says that `x`, which nobody else has seen, is what the operation `op` has made of `inputs` in several steps: so
    /// graphs call it, and leave out what lies between.
    fn named(x: &Tensor<Self>, op: &'static str, inputs: &[&Tensor<Self>]) {
        let _ = (x, op, inputs);
    }

    /// The name of the operation that made `x`, as in `AddBackward`, if it was recorded.
    fn grad_fn(x: &Tensor<Self>) -> Option<String> {
        let _ = x;
        None
    }
}
