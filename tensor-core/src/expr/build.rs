//! Building programs: [`Val`] is a scalar that records what is done to it. Constants fold, common
//! subexpressions are shared, and what no output needs is dropped.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Rem, Sub};

use super::{BinaryOp, CmpOp, Expr, Instr, Op, Output, UnaryOp, eval};
use crate::{DType, Error, Scalar, raise};

/// Collects the instructions of a program under construction.
#[derive(Debug)]
pub struct Builder {
    inputs: Vec<DType>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    params: Vec<DType>,
    instrs: Vec<Instr>,
    known: HashMap<Instr, u32>,
}

/// A scalar inside a closure that describes a kernel. Operators and methods record instructions;
/// operands of different dtypes are promoted as tensors are.
#[derive(Clone, Copy)]
pub struct Val<'b> {
    builder: &'b Builder,
    id: u32,
}

impl fmt::Debug for Val<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}: {}", self.id, self.dtype())
    }
}

impl Builder {
    /// Starts a program on tensors of these dtypes.
    pub fn new(inputs: &[DType]) -> Self {
        Builder { inputs: inputs.to_vec(), state: RefCell::default() }
    }

    /// The element of input `i`.
    pub fn input(&self, i: usize) -> Val<'_> {
        self.push(Op::Input(i as u32), self.inputs[i], [0; 3])
    }

    /// The next run-time parameter.
    pub fn param(&self, dtype: DType) -> Val<'_> {
        let i = {
            let mut state = self.state.borrow_mut();
            state.params.push(dtype);
            state.params.len() - 1
        };
        self.push(Op::Param(i as u32), dtype, [0; 3])
    }

    /// A constant of the given dtype.
    pub fn constant(&self, value: impl Into<Scalar>, dtype: DType) -> Val<'_> {
        self.push(Op::Const(eval::bits(value.into(), dtype)), dtype, [0; 3])
    }

    /// The element's row-major number in the shape that the program runs over, an `I64`.
    pub fn index(&self) -> Val<'_> {
        self.push(Op::Index, DType::I64, [0; 3])
    }

    /// A uniform random number in `[0, 1)` per element, drawn with the `I64` parameters `seed` and
    /// `stream`.
    ///
    /// # Panics
    /// If `seed` or `stream` is not a parameter, or `dtype` is not a float.
    pub fn uniform<'b>(&'b self, seed: Val<'b>, stream: Val<'b>, dtype: DType) -> Val<'b> {
        let number = |v: Val<'b>| match v.instr().op {
            Op::Param(i) => i,
            _ => panic!("uniform: seed and stream are parameters of the program"),
        };
        assert!(dtype.is_float(), "uniform: a float dtype");
        let op = Op::Uniform { seed: number(seed), stream: number(stream) };
        self.push(op, dtype, [0; 3])
    }

    /// Records an instruction, or returns the value that is already known to equal it.
    pub(super) fn push(&self, op: Op, dtype: DType, args: [u32; 3]) -> Val<'_> {
        let mut instr = Instr { op, dtype, args };
        let mut state = self.state.borrow_mut();
        if let Some(id) = simplify(&state.instrs, &mut instr) {
            return Val { builder: self, id };
        }
        let State { instrs, known, .. } = &mut *state;
        let id = *known.entry(instr).or_insert_with(|| {
            instrs.push(instr);
            (instrs.len() - 1) as u32
        });
        Val { builder: self, id }
    }

    /// Ends the program: stores each value as the dtype beside it.
    pub fn finish(self, name: impl Into<Cow<'static, str>>, outputs: &[(u32, DType)]) -> Expr {
        let State { params, instrs, .. } = self.state.into_inner();
        // Between dtypes that are computed alike a cast changes nothing but the dtype's name.
        let source = |mut value: u32| {
            loop {
                let instr = instrs[value as usize];
                let from = instrs[instr.args[0] as usize].dtype;
                if instr.op != Op::Cast || from.compute() != instr.dtype.compute() {
                    return value;
                }
                value = instr.args[0];
            }
        };
        // A store wraps by itself, so a wrap just before it is dropped.
        let unwrapped = |value: u32, dtype: DType| {
            let instr = instrs[value as usize];
            if instr.op == Op::Wrap && instr.dtype == dtype { instr.args[0] } else { value }
        };
        let roots: Vec<(u32, DType)> = outputs
            .iter()
            .map(|&(value, dtype)| (source(unwrapped(source(value), dtype)), dtype))
            .collect();
        let mut live = vec![false; instrs.len()];
        roots.iter().for_each(|&(value, _)| live[value as usize] = true);
        for i in (0..instrs.len()).rev() {
            if live[i] {
                instrs[i].args().iter().for_each(|&arg| live[source(arg) as usize] = true);
            }
        }
        let mut renumbered = vec![0u32; instrs.len()];
        let mut kept = Vec::new();
        for (i, instr) in instrs.iter().enumerate().filter(|&(i, _)| live[i]) {
            let mut args = [0; 3];
            for (new, &old) in args.iter_mut().zip(instr.args()) {
                *new = renumbered[source(old) as usize];
            }
            renumbered[i] = kept.len() as u32;
            kept.push(Instr { args, ..*instr });
        }
        let outputs = roots
            .iter()
            .map(|&(value, dtype)| Output { value: renumbered[value as usize], dtype })
            .collect();
        Expr::from_parts(name.into(), self.inputs, params, kept, outputs)
    }
}

/// Folds constants and applies identities that hold for every value, NaN and −0 included. Returns the
/// value that replaces the instruction; may also rewrite it into a cheaper one.
fn simplify(instrs: &[Instr], instr: &mut Instr) -> Option<u32> {
    let constant = |id: u32| match instrs[id as usize].op {
        Op::Const(bits) => Some(bits),
        _ => None,
    };
    let [a, b, c] = instr.args;
    let is = |id: u32, value: i64| {
        let dtype = instrs[id as usize].dtype;
        constant(id) == Some(eval::bits(Scalar::I64(value), dtype))
    };
    let whole = !instr.dtype.is_float();
    match instr.op {
        Op::Binary(BinaryOp::Mul) if is(b, 1) => return Some(a),
        Op::Binary(BinaryOp::Mul) if is(a, 1) => return Some(b),
        Op::Binary(BinaryOp::Div) if is(b, 1) => return Some(a),
        Op::Binary(BinaryOp::Pow) if is(b, 1) => return Some(a),
        Op::Binary(BinaryOp::Sub) if is(b, 0) => return Some(a),
        Op::Binary(BinaryOp::Add) if whole && is(b, 0) => return Some(a),
        Op::Binary(BinaryOp::Add) if whole && is(a, 0) => return Some(b),
        Op::Binary(BinaryOp::Pow) if is(b, 2) => {
            *instr = Instr { op: Op::Binary(BinaryOp::Mul), args: [a, a, 0], ..*instr };
        }
        Op::Unary(UnaryOp::Neg) => {
            if let Instr { op: Op::Unary(UnaryOp::Neg), args: [inner, ..], .. } = instrs[a as usize]
            {
                return Some(inner);
            }
        }
        Op::Select if b == c => return Some(b),
        Op::Select if is(a, 1) => return Some(b),
        Op::Select if is(a, 0) => return Some(c),
        _ => {}
    }
    let arity = instr.op.arity();
    if arity > 0 && instr.args().iter().all(|&arg| constant(arg).is_some()) {
        let args = instr.args.map(|arg| (constant(arg).unwrap_or(0), instrs[arg as usize].dtype));
        let bits = eval::fold(instr.op, instr.dtype, args);
        *instr = Instr { op: Op::Const(bits), dtype: instr.dtype, args: [0; 3] };
    }
    None
}

impl<'b> Val<'b> {
    /// Its number in the program, for [`Builder::finish`].
    pub fn id(self) -> u32 {
        self.id
    }

    pub(super) fn instr(self) -> Instr {
        self.builder.state.borrow().instrs[self.id as usize]
    }

    /// The dtype that this value would be stored as.
    pub fn dtype(self) -> DType {
        self.instr().dtype
    }

    /// A constant of this value's dtype (of a higher category where the number demands it).
    pub fn lit(self, value: impl Into<Scalar>) -> Val<'b> {
        let value = value.into();
        self.builder.constant(value, self.dtype().promote_scalar(value))
    }

    /// Conversion, as `Tensor::to_dtype` does it.
    pub fn cast(self, dtype: DType) -> Val<'b> {
        let from = self.dtype();
        if from == dtype {
            return self;
        }
        let cast = self.builder.push(Op::Cast, dtype, [self.id, 0, 0]);
        let fits = from == DType::Bool || (from == DType::U8 && dtype == DType::I16);
        if dtype.compute() != dtype && dtype.is_int() && !fits { cast.wrapped() } else { cast }
    }

    fn wrapped(self) -> Val<'b> {
        self.builder.push(Op::Wrap, self.dtype(), [self.id, 0, 0])
    }

    #[track_caller]
    fn unary(self, op: UnaryOp) -> Val<'b> {
        let fits = match op {
            UnaryOp::Not => !self.dtype().is_float(),
            UnaryOp::Neg | UnaryOp::Abs => self.dtype() != DType::Bool,
            _ => true,
        };
        if !fits {
            unfit(&format!("{op:?}"), self.dtype());
        }
        self.builder.push(Op::Unary(op), self.dtype(), [self.id, 0, 0])
    }

    /// A function whose result is a float whatever the operand is.
    fn float(self, op: UnaryOp) -> Val<'b> {
        self.cast(self.dtype().float()).unary(op)
    }

    /// A rounding function: integers are left as they are.
    fn rounding(self, op: UnaryOp) -> Val<'b> {
        if self.dtype().is_float() { self.unary(op) } else { self }
    }

    #[track_caller]
    fn binary(self, op: BinaryOp, other: impl IntoVal<'b>) -> Val<'b> {
        let (a, b) = self.promoted(other.into_val(self));
        let fits = match op {
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => !a.dtype().is_float(),
            BinaryOp::Sub | BinaryOp::Div | BinaryOp::Rem | BinaryOp::Pow => {
                a.dtype() != DType::Bool
            }
            _ => true,
        };
        if !fits {
            unfit(&format!("{op:?}"), a.dtype());
        }
        let out = self.builder.push(Op::Binary(op), a.dtype(), [a.id, b.id, 0]);
        let grows = matches!(
            op,
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Pow
        );
        let narrow = out.dtype().is_int() && out.dtype().compute() != out.dtype();
        if grows && narrow { out.wrapped() } else { out }
    }

    fn promoted(self, other: Val<'b>) -> (Val<'b>, Val<'b>) {
        let dtype = self.dtype().promote(other.dtype());
        (self.cast(dtype), other.cast(dtype))
    }

    fn compare(self, op: CmpOp, other: impl IntoVal<'b>) -> Val<'b> {
        let (a, b) = self.promoted(other.into_val(self));
        self.builder.push(Op::Compare(op), DType::Bool, [a.id, b.id, 0])
    }

    /// `self ? yes : no`; `self` is a bool.
    ///
    /// # Panics
    /// If `self` is not a bool.
    pub fn select(self, yes: Val<'b>, no: impl IntoVal<'b>) -> Val<'b> {
        assert_eq!(self.dtype(), DType::Bool, "select: the condition is a bool");
        let (yes, no) = yes.promoted(no.into_val(yes));
        self.builder.push(Op::Select, yes.dtype(), [self.id, yes.id, no.id])
    }

    /// The larger; NaN if either is.
    pub fn max(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.binary(BinaryOp::Max, other)
    }

    /// The smaller; NaN if either is.
    pub fn min(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.binary(BinaryOp::Min, other)
    }

    /// `self` to the power of `other`.
    pub fn pow(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.binary(BinaryOp::Pow, other)
    }

    /// The angle of the point (other, self).
    pub fn atan2(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.cast(self.dtype().float()).binary(BinaryOp::Atan2, other)
    }

    /// Division that gives a float for integers too, as `/` on tensors does.
    pub fn true_div(self, other: impl IntoVal<'b>) -> Val<'b> {
        let (a, b) = self.promoted(other.into_val(self));
        let dtype = a.dtype().float();
        a.cast(dtype).binary(BinaryOp::Div, b.cast(dtype))
    }

    /// Integer division truncated towards zero; plain division for floats.
    pub fn trunc_div(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.binary(BinaryOp::Div, other)
    }

    /// The remainder with the sign of `self` (`torch.fmod`).
    pub fn fmod(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.binary(BinaryOp::Rem, other)
    }

    /// ln(1 + eˣ), without overflow.
    pub fn softplus(self) -> Val<'b> {
        let x = self.cast(self.dtype().float());
        x.max(0.0) + (-x.abs()).exp().log1p()
    }

    /// 1 / (1 + e⁻ˣ)
    pub fn sigmoid(self) -> Val<'b> {
        let x = self.cast(self.dtype().float());
        // The exponential never overflows: an infinite one would make the gradient 0 · ∞.
        let negative = x.lt(0.0);
        let e = negative.select(x, -x).exp();
        negative.select(e, 1.0) / (e + 1.0)
    }

    /// `max(self, 0)`; NaN stays NaN, and the derivative at 0 is 0.
    pub fn relu(self) -> Val<'b> {
        self.le(0).select(self.lit(0), self)
    }

    /// x · sigmoid(x)
    pub fn silu(self) -> Val<'b> {
        self * self.sigmoid()
    }

    /// x · Φ(x), with Φ the standard normal distribution.
    pub fn gelu(self) -> Val<'b> {
        self * 0.5 * ((self * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0)
    }

    /// ⌊a / b⌋, in the dtype that the two promote to.
    pub fn floor_div(self, other: impl IntoVal<'b>) -> Val<'b> {
        let (a, b) = self.promoted(other.into_val(self));
        let r = a.fmod(b);
        let zero = r.lit(0);
        let below = r.ne(zero) & r.lt(zero).ne(b.lt(zero));
        if !a.dtype().is_float() {
            let q = a.trunc_div(b);
            return below.select(q - q.lit(1), q);
        }
        // Rounding the rounded quotient down may miss by one; without the remainder it is whole but for
        // its own rounding.
        let q = ((a - r) / b).round();
        b.eq(zero).select(a / b, below.select(q - 1.0, q))
    }

    /// Whether the value differs from zero.
    pub fn truth(self) -> Val<'b> {
        self.cast(DType::Bool)
    }

    /// `self` where it is above `low`, else `low`; NaN stays NaN, and the derivative at the bound is 0.
    pub fn clamp_min(self, low: impl IntoVal<'b>) -> Val<'b> {
        let low = low.into_val(self);
        self.le(low).select(low, self)
    }

    /// `self` where it is below `high`, else `high`; NaN stays NaN, and the derivative at the bound is 0.
    pub fn clamp_max(self, high: impl IntoVal<'b>) -> Val<'b> {
        let high = high.into_val(self);
        self.ge(high).select(high, self)
    }

    /// 1 / x
    pub fn recip(self) -> Val<'b> {
        let x = self.cast(self.dtype().float());
        x.lit(1.0) / x
    }

    /// 1 / √x
    pub fn rsqrt(self) -> Val<'b> {
        self.sqrt().recip()
    }

    /// x²
    pub fn square(self) -> Val<'b> {
        self * self
    }

    /// Whether the value is NaN; `false` for integers.
    pub fn is_nan(self) -> Val<'b> {
        self.classify(UnaryOp::IsNan)
    }

    /// Whether the value is infinite; `false` for integers.
    pub fn is_inf(self) -> Val<'b> {
        self.classify(UnaryOp::IsInf)
    }

    fn classify(self, op: UnaryOp) -> Val<'b> {
        if self.dtype().is_float() {
            self.builder.push(Op::Unary(op), DType::Bool, [self.id, 0, 0])
        } else {
            self.builder.constant(false, DType::Bool)
        }
    }
}

#[cold]
#[track_caller]
fn unfit(op: &str, dtype: DType) -> ! {
    raise(Error::DType {
        op: "Expr",
        dtypes: vec![dtype],
        why: format!("{} is not defined on {dtype}; `cast` first", op.to_lowercase()),
    })
}

macro_rules! methods {
    ($through:ident: $($name:ident $op:ident $doc:literal;)*) => {
        impl<'b> Val<'b> {$(
            #[doc = $doc]
            pub fn $name(self) -> Val<'b> {
                self.$through(UnaryOp::$op)
            }
        )*}
    };
}
methods! { unary:
    sign Sign "−1, 0 or 1; NaN stays NaN.";
}
methods! { rounding:
    floor Floor "The integer below.";
    ceil Ceil "The integer above.";
    round Round "The nearest integer, halves to even.";
    trunc Trunc "The integer towards zero.";
}
methods! { float:
    sqrt Sqrt "√x";
    exp Exp "eˣ";
    expm1 Expm1 "eˣ − 1, exact near 0.";
    log Log "ln x";
    log2 Log2 "log₂ x";
    log10 Log10 "log₁₀ x";
    log1p Log1p "ln (1 + x), exact near 0.";
    sin Sin "Sine.";
    cos Cos "Cosine.";
    tan Tan "Tangent.";
    asin Asin "Inverse sine.";
    acos Acos "Inverse cosine.";
    atan Atan "Inverse tangent.";
    sinh Sinh "Hyperbolic sine.";
    cosh Cosh "Hyperbolic cosine.";
    tanh Tanh "Hyperbolic tangent.";
    asinh Asinh "Inverse hyperbolic sine.";
    acosh Acosh "Inverse hyperbolic cosine.";
    atanh Atanh "Inverse hyperbolic tangent.";
    erf Erf "The error function.";
}

impl<'b> Val<'b> {
    /// |x|; the smallest integer wraps to itself.
    pub fn abs(self) -> Val<'b> {
        let unsigned = matches!(self.dtype(), DType::U8 | DType::Bool);
        let narrow = self.dtype().is_int() && self.dtype().compute() != self.dtype();
        match (unsigned, narrow) {
            (true, _) => self,
            (_, true) => self.unary(UnaryOp::Abs).wrapped(),
            _ => self.unary(UnaryOp::Abs),
        }
    }
}

macro_rules! comparisons {
    ($($name:ident $op:ident $sign:literal;)*) => {
        impl<'b> Val<'b> {$(
            #[doc = concat!("`self ", $sign, " other`, as a bool.")]
            pub fn $name(self, other: impl IntoVal<'b>) -> Val<'b> {
                self.compare(CmpOp::$op, other)
            }
        )*}
    };
}
comparisons! { eq Eq "=="; ne Ne "!="; lt Lt "<"; le Le "<="; gt Gt ">"; ge Ge ">="; }

/// What may stand on the other side of an operator: a value or a number.
pub trait IntoVal<'b> {
    /// The value; a number takes the dtype that `beside` promotes it to.
    fn into_val(self, beside: Val<'b>) -> Val<'b>;
}

impl<'b> IntoVal<'b> for Val<'b> {
    fn into_val(self, _: Val<'b>) -> Val<'b> {
        self
    }
}

impl<'b> IntoVal<'b> for Scalar {
    fn into_val(self, beside: Val<'b>) -> Val<'b> {
        beside.lit(self)
    }
}

macro_rules! numbers {
    ($($ty:ty),*) => {$(
        impl<'b> IntoVal<'b> for $ty {
            fn into_val(self, beside: Val<'b>) -> Val<'b> {
                beside.lit(self)
            }
        }
        operators_on_number!($ty: Add add, Sub sub, Mul mul, Div div);
    )*};
}

macro_rules! operators_on_number {
    ($ty:ty: $($tr:ident $method:ident),*) => {$(
        impl<'b> $tr<Val<'b>> for $ty {
            type Output = Val<'b>;
            fn $method(self, other: Val<'b>) -> Val<'b> {
                $tr::$method(self.into_val(other), other)
            }
        }
    )*};
}
numbers!(f64, f32, i64, i32);

impl<'b, T: IntoVal<'b>> Div<T> for Val<'b> {
    type Output = Val<'b>;
    fn div(self, other: T) -> Val<'b> {
        self.true_div(other)
    }
}

macro_rules! operators {
    ($($tr:ident $method:ident $op:ident),*) => {$(
        impl<'b, T: IntoVal<'b>> $tr<T> for Val<'b> {
            type Output = Val<'b>;
            fn $method(self, other: T) -> Val<'b> {
                self.binary(BinaryOp::$op, other)
            }
        }
    )*};
}
operators! {
    Add add Add, Sub sub Sub, Mul mul Mul, BitAnd bitand And, BitOr bitor Or, BitXor bitxor Xor
}

/// The remainder with the sign of the divisor, as `%` on tensors (`torch.remainder`).
impl<'b, T: IntoVal<'b>> Rem<T> for Val<'b> {
    type Output = Val<'b>;
    fn rem(self, other: T) -> Val<'b> {
        let (a, b) = self.promoted(other.into_val(self));
        let r = a.fmod(b);
        let zero = r.lit(0);
        (r.ne(zero) & r.lt(zero).ne(b.lt(zero))).select(r + b, r)
    }
}

impl<'b> Neg for Val<'b> {
    type Output = Val<'b>;
    fn neg(self) -> Val<'b> {
        let narrow = self.dtype().is_int() && self.dtype().compute() != self.dtype();
        let out = self.unary(UnaryOp::Neg);
        if narrow { out.wrapped() } else { out }
    }
}

impl<'b> Not for Val<'b> {
    type Output = Val<'b>;
    fn not(self) -> Val<'b> {
        let out = self.unary(UnaryOp::Not);
        if self.dtype() == DType::U8 { out.wrapped() } else { out }
    }
}
