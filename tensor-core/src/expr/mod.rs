//! Elementwise work as data: a small straight-line program over scalars.
//!
//! Every elementwise op, activation, dropout mask, initialisation and optimizer update is an
//! [`Expr`]; `Backend::map` is the one kernel that runs them all. A program is in single-assignment
//! form: instruction `i` defines value `i`, from values before it.

mod build;
mod eval;
mod grad;
mod operators;
mod print;
pub mod special;
mod val;

use std::any::Any;
use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

pub use build::Builder;
pub use eval::{Evaluator, eval};
pub use operators::IntoVal;
pub use val::Val;

use crate::graph::Live;
use crate::{DType, Scalar};

/// An elementwise program. A cheap handle: clones share the program and what backends cached for it.
#[derive(Clone)]
pub struct Expr(Arc<Program>);

struct Program {
    name: Cow<'static, str>,
    inputs: Vec<DType>,
    params: Vec<DType>,
    instrs: Vec<Instr>,
    outputs: Vec<Output>,
    hash: u64,
    grads: Mutex<Vec<(u64, Arc<Gradient>)>>,
    compiled: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// The derivative of a program, itself a program with the same parameters.
#[derive(Debug)]
pub struct Gradient {
    /// Outputs: the gradients of the wanted inputs, in order, each of its input's dtype.
    pub expr: Expr,
    /// What the inputs of `expr` are: `i < n` is input `i` of the differentiated program (which has
    /// `n`), `n + k` the gradient of its output `k`. Only what is needed appears.
    pub reads: Vec<usize>,
    /// The inputs of the differentiated program among `reads`, as bits.
    pub inputs: u64,
}

/// One instruction: `op` on earlier values, giving a value of type `dtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instr {
    /// What is computed.
    pub op: Op,
    /// The value's dtype. It is held and computed in `dtype.compute()`; narrow integers are wrapped
    /// by an explicit [`Op::Wrap`], narrow floats are rounded only when stored.
    pub dtype: DType,
    /// The operands, as indices of earlier instructions; unused ones are 0.
    pub args: [u32; 3],
}

/// A value that the program stores, rounded or wrapped to `dtype` then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// Index of the instruction whose value is stored.
    pub value: u32,
    /// Stored as this dtype; `dtype.compute()` is the value's compute type.
    pub dtype: DType,
}

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The element of input tensor `i`.
    Input(u32),
    /// Run-time parameter `i`, converted to the instruction's dtype.
    Param(u32),
    /// A constant: the bits of an `f64` for floats (rounded to the compute type), of an `i64` otherwise.
    Const(u64),
    /// The element's own position, an `I64`: its row-major number in the shape that `map` or `reduce`
    /// runs over (for `map_into` the outputs' shape), whatever the inputs' strides.
    Index,
    /// One operand of the same dtype (`IsNan`, `IsInf`: a float operand, giving bool).
    Unary(UnaryOp),
    /// Two operands of the instruction's dtype.
    Binary(BinaryOp),
    /// Two operands of one dtype, giving bool.
    Compare(CmpOp),
    /// `args[0] ? args[1] : args[2]`: a bool and two values of the instruction's dtype.
    Select,
    /// Conversion from the operand's compute type to `dtype.compute()` (so `f16` is not rounded to,
    /// and narrow integers need a `Wrap`): float to integer truncates
    /// towards zero and saturates (NaN gives 0), anything to bool is `!= 0`.
    Cast,
    /// Keeps the low bits of `dtype`, a narrow integer, sign- or zero-extended.
    Wrap,
    /// A uniform random number in `[0, 1)`, one per element; see [`crate::philox`]. `seed` and
    /// `stream` are the numbers of two `I64` parameters.
    Uniform {
        /// Parameter with the generator's seed.
        seed: u32,
        /// Parameter with the number of the draw.
        stream: u32,
    },
}

/// Functions of one value. Float-only unless noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the functions")]
pub enum UnaryOp {
    /// Any number.
    Neg,
    /// Any number.
    Abs,
    /// −1, 0 or 1, any number; NaN stays.
    Sign,
    /// Bitwise for integers, logical for bool.
    Not,
    Floor,
    Ceil,
    /// Half to even, as in PyTorch.
    Round,
    Trunc,
    Sqrt,
    Exp,
    Expm1,
    Log,
    Log2,
    Log10,
    Log1p,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Erf,
    /// 1 − erf, without cancellation.
    Erfc,
    /// The inverse of erf.
    Erfinv,
    /// ln |Γ|
    Lgamma,
    Digamma,
    /// e^−|x| · I₀(x)
    I0e,
    /// e^−|x| · I₁(x)
    I1e,
    /// Gives bool.
    IsNan,
    /// Gives bool.
    IsInf,
}

/// Functions of two values of one dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `a + b`; integers wrap, bools: or.
    Add,
    /// `a - b`; integers wrap.
    Sub,
    /// `a * b`; integers wrap, bools: and.
    Mul,
    /// `a / b`; integers truncate towards zero, and a divisor of zero gives 0.
    Div,
    /// The remainder with the sign of `a` (C's `fmod`); integers modulo zero give 0.
    Rem,
    /// `a` to the power of `b`; integer powers wrap, negative exponents give 0 unless `a` is ±1.
    Pow,
    /// The larger; NaN if either is.
    Max,
    /// The smaller; NaN if either is.
    Min,
    /// The angle of the point (b, a), floats only.
    Atan2,
    /// Hurwitz' zeta ζ(a, b), floats only; differentiable in b.
    Zeta,
    /// The number after `a` towards `b`, `f64` and `f32` only.
    NextAfter,
    /// The greatest common divisor, integers only.
    Gcd,
    /// Bitwise for integers, logical for bool.
    And,
    /// Bitwise for integers, logical for bool.
    Or,
    /// Bitwise for integers, logical for bool.
    Xor,
}

/// Comparisons; any comparison with NaN is false, except `Ne`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of Rust's traits")]
pub enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Op {
    /// How many of an instruction's `args` the op reads.
    pub const fn arity(self) -> usize {
        match self {
            Op::Input(_) | Op::Param(_) | Op::Const(_) | Op::Index | Op::Uniform { .. } => 0,
            Op::Unary(_) | Op::Cast | Op::Wrap => 1,
            Op::Binary(_) | Op::Compare(_) => 2,
            Op::Select => 3,
        }
    }
}

impl Instr {
    /// The operands that the op reads.
    pub fn args(&self) -> &[u32] {
        &self.args[..self.op.arity()]
    }
}

impl Expr {
    /// Builds a program from a closure over scalars. `inputs` are the dtypes of the tensors that it
    /// will run on; the closure receives one [`Val`] for each.
    ///
    /// ```
    /// use kiln_tensor_core::{DType, Expr};
    /// let e = Expr::new("scaled_relu", [DType::F32, DType::F32], |[x, scale]| (x * scale).max(0.0));
    /// assert_eq!(e.inputs(), [DType::F32, DType::F32]);
    /// assert_eq!(e.outputs()[0].dtype, DType::F32);
    /// ```
    pub fn new<const N: usize>(
        name: impl Into<Cow<'static, str>>,
        inputs: [DType; N],
        f: impl for<'b> FnOnce([Val<'b>; N]) -> Val<'b>,
    ) -> Expr {
        let builder = Builder::new(&inputs);
        let out = f(std::array::from_fn(|i| builder.input(i)));
        let out = (out.id(), out.dtype());
        builder.finish(name, &[out])
    }

    /// Like [`Expr::new`], with run-time parameters of the given dtypes and several outputs.
    pub fn with_params<const N: usize, const P: usize, const M: usize>(
        name: impl Into<Cow<'static, str>>,
        inputs: [DType; N],
        params: [DType; P],
        f: impl for<'b> FnOnce([Val<'b>; N], [Val<'b>; P]) -> [Val<'b>; M],
    ) -> Expr {
        let builder = Builder::new(&inputs);
        let params = params.map(|dtype| builder.param(dtype));
        let outs = f(std::array::from_fn(|i| builder.input(i)), params);
        let outs = outs.map(|out| (out.id(), out.dtype()));
        builder.finish(name, &outs)
    }

    /// The op's name in messages and graphs.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The dtypes of the input tensors.
    pub fn inputs(&self) -> &[DType] {
        &self.0.inputs
    }

    /// The dtypes that run-time parameters are converted to.
    pub fn params(&self) -> &[DType] {
        &self.0.params
    }

    /// The instructions, in order.
    pub fn instrs(&self) -> &[Instr] {
        &self.0.instrs
    }

    /// What is stored.
    pub fn outputs(&self) -> &[Output] {
        &self.0.outputs
    }

    /// Whether the program hands its only input through unchanged: a plain copy.
    pub fn is_identity(&self) -> bool {
        self.0.instrs.len() == 1
            && self.0.inputs.len() == 1
            && self.0.outputs.len() == 1
            && self.0.instrs[0].op == Op::Input(0)
            && self.0.outputs[0].dtype == self.0.inputs[0]
    }

    /// A hash of the structure (not of the name): equal programs have equal hashes in every process.
    pub fn structure_hash(&self) -> u64 {
        self.0.hash
    }

    /// A slot in which one backend may keep what it prepared for this program. `Any`, so a backend
    /// that finds another's type in it must prepare anew.
    pub fn compiled(&self) -> &OnceLock<Box<dyn Any + Send + Sync>> {
        &self.0.compiled
    }

    /// The program that computes the gradients of the inputs whose bits are set in `wrt`. Cached.
    ///
    /// # Panics
    /// If an input in `wrt` is not a float: nothing flows to it.
    pub fn grad(&self, wrt: u64) -> Arc<Gradient> {
        let known = |(bits, _): &&(u64, Arc<Gradient>)| *bits == wrt;
        if let Some((_, gradient)) = self.0.grads.lock().iter().find(known) {
            return gradient.clone();
        }
        let made = Arc::new(grad::build(self, wrt));
        self.0.grads.lock().push((wrt, made.clone()));
        made
    }

    fn from_parts(
        name: Cow<'static, str>,
        inputs: Vec<DType>,
        params: Vec<DType>,
        instrs: Vec<Instr>,
        outputs: Vec<Output>,
    ) -> Expr {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        (&inputs, &params, &instrs, &outputs).hash(&mut hasher);
        let hash = hasher.finish();
        Expr(Arc::new(Program {
            name,
            inputs,
            params,
            instrs,
            outputs,
            hash,
            grads: Mutex::default(),
            compiled: OnceLock::new(),
        }))
    }
}

/// FNV-1a: unlike the standard hasher, the same in every process and Rust version.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Structural equality; names do not count.
impl PartialEq for Expr {
    fn eq(&self, other: &Expr) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash
                && self.0.inputs == other.0.inputs
                && self.0.params == other.0.params
                && self.0.instrs == other.0.instrs
                && self.0.outputs == other.0.outputs)
    }
}

impl Eq for Expr {}

impl Hash for Expr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

/// A program together with the values of its run-time parameters: what a backend is asked to run.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// The program.
    pub expr: &'a Expr,
    /// One value per entry of `expr.params()`.
    pub params: &'a [Scalar],
    /// Where the values come from in a replay, if the kernel is part of a captured step and they change.
    pub live: Option<&'a Live>,
}

impl<'a> Kernel<'a> {
    /// A program without parameters.
    pub fn new(expr: &'a Expr) -> Self {
        Kernel { expr, params: &[], live: None }
    }

    /// A program with parameters.
    pub fn with(expr: &'a Expr, params: &'a [Scalar]) -> Self {
        debug_assert_eq!(expr.params().len(), params.len(), "{}: parameter count", expr.name());
        Kernel { expr, params, live: None }
    }

    /// The same, with other values at each replay of a captured step.
    pub fn live(self, live: Option<&'a Live>) -> Self {
        Kernel { live, ..self }
    }
}
