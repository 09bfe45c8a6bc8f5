//! Mixed precision: which dtype each op runs in, within a region that asks for it. `torch.autocast`.
//!
//! | PyTorch | Kiln |
//! |---|---|
//! | `with torch.autocast("cuda", dtype=torch.bfloat16): …` | `autocast(DType::BF16, \|\| …)` |
//! | `with torch.autocast("cuda", enabled=False): …` | `no_autocast(\|\| …)` |
//! | `torch.is_autocast_enabled()`, `torch.get_autocast_dtype("cuda")` | `autocast_dtype()` |
//! | `@custom_fwd(cast_inputs=…)`, an op of one's own | [`cast`] |
//!
//! A region holds for all devices of the thread, so there is no `device_type`. What an op does is in one table, PyTorch's
//! for accelerators, on every backend; ops that are not in it run in the dtype of their operands. `f64` is never cast.
//! Casts are operations like others, so gradients come back in the dtype of the parameter.
//!
//! Nothing is cached: a layer casts its weight at each call, a recurrent layer once for all steps.

use std::cell::Cell;

use crate::{Backend, DType, Error, Tensor, raise};

/// What autocast does with the operands of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They are cast to the region's dtype: products, which narrow floats make fast.
    Narrow,
    /// They are cast to `f32`: what loses too much, or overflows, in narrow floats.
    Full,
    /// They are cast to `f32` if one of them is `f32`, else to the region's dtype.
    Widest,
    /// The op is refused: it would be wrong in narrow floats, and `f32` would be too late.
    Refused,
}

/// What is not here runs in the dtype of its operands, promoted where it takes several dtypes.
const TABLE: [(Policy, &[&str]); 4] = [
    (
        Policy::Narrow,
        &[
            "matmul",
            "mm",
            "bmm",
            "mv",
            "addmm",
            "addmv",
            "addr",
            "addbmm",
            "baddbmm",
            "einsum",
            "linear",
            "linear_act",
            "multi_dot",
            "vecdot",
            "conv",
            "conv_transpose",
            "prelu",
            "scaled_dot_product_attention",
            "RNN",
            "LSTM",
            "GRU",
            "RNNCell",
            "LSTMCell",
            "GRUCell",
        ],
    ),
    (
        Policy::Full,
        &[
            "acos",
            "asin",
            "cosh",
            "erfinv",
            "exp",
            "expm1",
            "log",
            "log10",
            "log2",
            "log1p",
            "reciprocal",
            "rsqrt",
            "sinh",
            "tan",
            "pow",
            "softplus",
            "layer_norm",
            "rms_norm",
            "group_norm",
            "norm",
            "nuclear_norm",
            "cosine_similarity",
            "poisson_nll_loss",
            "cosine_embedding_loss",
            "nll_loss",
            "cross_entropy",
            "hinge_embedding_loss",
            "kl_div",
            "l1_loss",
            "smooth_l1_loss",
            "huber_loss",
            "mse_loss",
            "margin_ranking_loss",
            "multilabel_margin_loss",
            "soft_margin_loss",
            "triplet_margin_loss",
            "multi_margin_loss",
            "binary_cross_entropy_with_logits",
            "dist",
            "pdist",
            "cdist",
            "renorm",
            "logsumexp",
            "interpolate",
            "prod",
            "softmax",
            "log_softmax",
            "cumprod",
            "cumsum",
            "sum",
        ],
    ),
    (
        Policy::Widest,
        &[
            "addcdiv",
            "addcmul",
            "atan2",
            "bilinear",
            "cat",
            "cross",
            "dot",
            "vdot",
            "grid_sample",
            "index_put",
            "scatter_add",
            "stack",
            "tensordot",
        ],
    ),
    (Policy::Refused, &["binary_cross_entropy"]),
];

/// What autocast does with the operands of the op of this name; `None` where it leaves them alone.
///
/// ```
/// use kiln_tensor_core::autocast::{Policy, policy};
/// assert_eq!(policy("matmul"), Some(Policy::Narrow));
/// assert_eq!(policy("add"), None);
/// ```
pub const fn policy(op: &str) -> Option<Policy> {
    let mut row = 0;
    while row < TABLE.len() {
        let (policy, names) = TABLE[row];
        let mut i = 0;
        while i < names.len() {
            if same(names[i].as_bytes(), op.as_bytes()) {
                return Some(policy);
            }
            i += 1;
        }
        row += 1;
    }
    None
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

thread_local! {
    static DTYPE: Cell<Option<DType>> = const { Cell::new(None) };
}

/// The dtype of the region that this thread is in.
pub fn autocast_dtype() -> Option<DType> {
    DTYPE.get()
}

/// Runs `f` in mixed precision: products in `dtype`, what needs the range or the digits in `f32`. The backward pass
/// belongs outside; it runs in the dtypes of the forward pass wherever it is called.
///
/// ```
/// use kiln_tensor_core::{Backend, DType, Tensor, autocast};
/// fn f<B: Backend>(x: &Tensor<B>, weight: &Tensor<B>) {
///     let loss = autocast(DType::BF16, || {
///         let y = x.matmul(weight);
///         assert_eq!(y.dtype(), DType::BF16);
///         y.exp().sum()
///     });
///     assert_eq!(loss.dtype(), DType::F32);
/// }
/// ```
///
/// # Panics
/// If the dtype is not `f16` or `bf16`.
#[track_caller]
pub fn autocast<T>(dtype: DType, f: impl FnOnce() -> T) -> T {
    let _region = set_autocast(Some(dtype));
    f()
}

/// Runs `f` without casts, also inside [`autocast`].
pub fn no_autocast<T>(f: impl FnOnce() -> T) -> T {
    let _region = set_autocast(None);
    f()
}

/// Begins a region of this dtype, or one without casts, on this thread; it ends when the guard is dropped.
///
/// ```
/// use kiln_tensor_core::{DType, autocast_dtype, set_autocast};
/// {
///     let _region = set_autocast(Some(DType::F16));
///     assert_eq!(autocast_dtype(), Some(DType::F16));
/// }
/// assert_eq!(autocast_dtype(), None);
/// ```
///
/// # Panics
/// If the dtype is not `f16` or `bf16`.
#[track_caller]
pub fn set_autocast(dtype: Option<DType>) -> Autocast {
    if let Some(dtype) = dtype
        && !matches!(dtype, DType::F16 | DType::BF16)
    {
        raise(Error::DType {
            op: "autocast",
            dtypes: vec![dtype],
            why: "products are to be in a narrow float: f16 or bf16".into(),
        });
    }
    Autocast { previous: DTYPE.replace(dtype) }
}

/// Ends a region when dropped.
#[derive(Debug)]
#[must_use = "the region ends when this is dropped"]
pub struct Autocast {
    previous: Option<DType>,
}

impl Drop for Autocast {
    fn drop(&mut self) {
        DTYPE.set(self.previous);
    }
}

/// For ops that are in the table: within a region the operands as the table wants them, and a guard without which the
/// ops inside of this one would cast again. `None` outside of a region, at the cost of one look.
///
/// ```
/// use kiln_tensor_core::{Backend, Tensor, autocast};
/// fn cosine_similarity<B: Backend>(a: &Tensor<B>, b: &Tensor<B>) -> Tensor<B> {
///     if let Some((_inside, [a, b])) = autocast::cast("cosine_similarity", [a, b]) {
///         return cosine_similarity(&a, &b);
///     }
///     (a * b).sum() / (a.norm() * b.norm())
/// }
/// ```
///
/// # Panics
/// With [`Error::DType`] if the table refuses the op.
#[inline]
#[track_caller]
pub fn cast<B: Backend, const N: usize>(
    op: &'static str,
    operands: [&Tensor<B>; N],
) -> Option<(Autocast, [Tensor<B>; N])> {
    let region = DTYPE.get()?;
    let to = target(op, region, &operands)?;
    Some((set_autocast(None), operands.map(|x| to.of(x))))
}

/// Like [`cast`], for an op with operands that may be missing.
///
/// # Panics
/// As [`cast`].
#[inline]
#[track_caller]
pub fn cast_given<B: Backend, const N: usize, const M: usize>(
    op: &'static str,
    operands: [&Tensor<B>; N],
    given: [Option<&Tensor<B>>; M],
) -> Option<(Autocast, [Tensor<B>; N], [Option<Tensor<B>>; M])> {
    let region = DTYPE.get()?;
    let all: Vec<_> = operands.into_iter().chain(given.into_iter().flatten()).collect();
    let to = target(op, region, &all)?;
    let given = given.map(|x| x.map(|x| to.of(x)));
    Some((set_autocast(None), operands.map(|x| to.of(x)), given))
}

/// What floats become.
struct Target(DType);

impl Target {
    fn of<B: Backend>(&self, x: &Tensor<B>) -> Tensor<B> {
        if eligible(x) { x.to_dtype(self.0) } else { x.clone() }
    }
}

fn eligible<B: Backend>(x: &Tensor<B>) -> bool {
    matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16)
}

#[cold]
#[track_caller]
fn target<B: Backend>(op: &'static str, region: DType, operands: &[&Tensor<B>]) -> Option<Target> {
    let wide = || operands.iter().any(|x| x.dtype() == DType::F32);
    match policy(op)? {
        Policy::Narrow => Some(Target(region)),
        Policy::Full => Some(Target(DType::F32)),
        Policy::Widest => Some(Target(if wide() { DType::F32 } else { region })),
        Policy::Refused => raise(Error::DType {
            op,
            dtypes: operands.iter().map(|x| x.dtype()).collect(),
            why: "probabilities near 0 and 1 are lost in narrow floats before autocast could help; give logits to \
                  binary_cross_entropy_with_logits (BCEWithLogitsLoss), or leave the region with no_autocast"
                .into(),
        }),
    }
}
