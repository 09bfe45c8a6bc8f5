//! The meaning of a program, one scalar at a time. Slow and plain: it folds constants, is what backends are
//! compared with, and runs programs on backends that have nothing faster. Floats are held in `f64` throughout.

use super::{BinaryOp, CmpOp, Kernel, Op, UnaryOp, special};
use crate::{DType, Scalar, philox};

/// Runs a program on one element after the other, in room that it makes once.
///
/// ```
/// use kiln_tensor_core::expr::Evaluator;
/// use kiln_tensor_core::{DType, Expr, Kernel, Scalar};
/// let square = Expr::new("square", [DType::F32], |[x]| x * x);
/// let mut program = Evaluator::new(Kernel::new(&square));
/// let x = [3.0, 4.0];
/// let squares = [0, 1].map(|i| program.run(i, |_| Scalar::F64(x[i as usize])).next());
/// assert_eq!(squares, [Some(Scalar::F64(9.0)), Some(Scalar::F64(16.0))]);
/// ```
#[derive(Debug)]
pub struct Evaluator<'a> {
    kernel: Kernel<'a>,
    values: Vec<Scalar>,
}

impl<'a> Evaluator<'a> {
    /// Before the first element.
    pub fn new(kernel: Kernel<'a>) -> Self {
        Evaluator { kernel, values: Vec::with_capacity(kernel.expr.instrs().len()) }
    }

    /// The outputs for one element, in order. `index` is its row-major number (for [`Op::Index`] and random
    /// numbers), `input` gives the element of an input tensor. Floats are not rounded between instructions;
    /// outputs come unrounded too, so that the caller may store them or compare them as they are.
    pub fn run(
        &mut self,
        index: u64,
        input: impl Fn(usize) -> Scalar,
    ) -> impl ExactSizeIterator<Item = Scalar> {
        let Evaluator { kernel, values } = self;
        let instrs = kernel.expr.instrs();
        let param = |i: u32| kernel.params[i as usize];
        values.clear();
        for instr in instrs {
            let value = match instr.op {
                Op::Input(i) => input(i as usize),
                Op::Param(i) => convert(param(i), instr.dtype),
                Op::Const(bits) => unbits(bits, instr.dtype),
                Op::Index => Scalar::I64(index as i64),
                Op::Uniform { seed, stream } => Scalar::F64(philox::uniform(
                    param(seed).to_i64() as u64,
                    param(stream).to_i64() as u64,
                    index,
                    instr.dtype,
                )),
                op => {
                    // An operand that is not read is 0, and there is a value 0.
                    let operand = |i: u32| (values[i as usize], instrs[i as usize].dtype);
                    apply(op, instr.dtype, instr.args.map(operand))
                }
            };
            values.push(value);
        }
        kernel.expr.outputs().iter().map(|o| convert(values[o.value as usize], o.dtype))
    }
}

/// Runs a program on one element: `inputs` holds one value per input tensor. Otherwise as [`Evaluator::run`].
pub fn eval(kernel: Kernel<'_>, inputs: &[Scalar], index: u64) -> Vec<Scalar> {
    Evaluator::new(kernel).run(index, |i| inputs[i]).collect()
}

/// The bits that represent `value` in [`Op::Const`].
pub(super) fn bits(value: Scalar, dtype: DType) -> u64 {
    match convert(value, dtype) {
        Scalar::F64(v) if dtype.compute() == DType::F32 => f64::from(v as f32).to_bits(),
        Scalar::F64(v) => v.to_bits(),
        other => other.to_i64() as u64,
    }
}

fn unbits(bits: u64, dtype: DType) -> Scalar {
    match dtype {
        DType::Bool => Scalar::Bool(bits != 0),
        d if d.is_float() => Scalar::F64(f64::from_bits(bits)),
        _ => Scalar::I64(bits as i64),
    }
}

/// Applies `op` to constants, rounding as the compute type does.
pub(super) fn fold(op: Op, dtype: DType, args: [(u64, DType); 3]) -> u64 {
    bits(apply(op, dtype, args.map(|(b, d)| (unbits(b, d), d))), dtype)
}

/// The value as the compute type of `dtype` would hold it, except that floats stay `f64`.
fn convert(value: Scalar, dtype: DType) -> Scalar {
    match dtype {
        DType::Bool => Scalar::Bool(value.to_bool()),
        d if d.is_float() => Scalar::F64(value.to_f64()),
        d => wrap(value.to_i64(), d, matches!(value, Scalar::F64(_))),
    }
}

/// Keeps an integer in `dtype`: floats saturate at the compute type first, as Rust's `as` does.
fn wrap(v: i64, dtype: DType, from_float: bool) -> Scalar {
    let v = if from_float && dtype != DType::I64 {
        v.clamp(i64::from(i32::MIN), i64::from(i32::MAX))
    } else {
        v
    };
    Scalar::I64(match dtype {
        DType::I32 => i64::from(v as i32),
        DType::I16 => i64::from(v as i16),
        DType::I8 => i64::from(v as i8),
        DType::U8 => i64::from(v as u8),
        _ => v,
    })
}

fn apply(op: Op, dtype: DType, args: [(Scalar, DType); 3]) -> Scalar {
    let [(a, a_dtype), (b, _), (c, _)] = args;
    match op {
        Op::Unary(op) => match a {
            Scalar::F64(x) => float_unary(op, x),
            Scalar::I64(x) => held(int_unary(op, x), dtype),
            Scalar::Bool(x) => Scalar::Bool(if op == UnaryOp::Not { !x } else { x }),
        },
        Op::Binary(op) => match (a, b) {
            (Scalar::F64(x), Scalar::F64(y)) => Scalar::F64(float_binary(op, x, y, dtype)),
            (Scalar::Bool(x), Scalar::Bool(y)) => Scalar::Bool(bool_binary(op, x, y)),
            _ => held(int_binary(op, a.to_i64(), b.to_i64(), dtype), dtype),
        },
        Op::Compare(op) => Scalar::Bool(if a_dtype.is_float() {
            compare(op, &a.to_f64(), &b.to_f64())
        } else {
            compare(op, &a.to_i64(), &b.to_i64())
        }),
        Op::Select => {
            if a.to_bool() {
                b
            } else {
                c
            }
        }
        Op::Cast => held_scalar(a, dtype),
        Op::Wrap => wrap(a.to_i64(), dtype, false),
        Op::Input(_) | Op::Param(_) | Op::Const(_) | Op::Index | Op::Uniform { .. } => {
            unreachable!("leaves have no operands")
        }
    }
}

fn held(v: i64, dtype: DType) -> Scalar {
    wrap(v, dtype.compute(), false)
}

fn held_scalar(v: Scalar, dtype: DType) -> Scalar {
    convert(v, dtype.compute())
}

fn float_unary(op: UnaryOp, x: f64) -> Scalar {
    Scalar::F64(match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Sign if x == 0.0 || x.is_nan() => x,
        UnaryOp::Sign => x.signum(),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Round => x.round_ties_even(),
        UnaryOp::Trunc => x.trunc(),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Expm1 => x.exp_m1(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Log2 => x.log2(),
        UnaryOp::Log10 => x.log10(),
        UnaryOp::Log1p => x.ln_1p(),
        UnaryOp::Sin => x.sin(),
        UnaryOp::Cos => x.cos(),
        UnaryOp::Tan => x.tan(),
        UnaryOp::Asin => x.asin(),
        UnaryOp::Acos => x.acos(),
        UnaryOp::Atan => x.atan(),
        UnaryOp::Sinh => x.sinh(),
        UnaryOp::Cosh => x.cosh(),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Asinh => libm::asinh(x),
        UnaryOp::Acosh => libm::acosh(x),
        UnaryOp::Atanh => libm::atanh(x),
        UnaryOp::Erf => libm::erf(x),
        UnaryOp::Erfc => libm::erfc(x),
        UnaryOp::Erfinv => special::erfinv(x),
        UnaryOp::Lgamma => libm::lgamma(x),
        UnaryOp::Digamma => special::digamma(x),
        UnaryOp::I0e => special::i0e(x),
        UnaryOp::I1e => special::i1e(x),
        UnaryOp::IsNan => return Scalar::Bool(x.is_nan()),
        UnaryOp::IsInf => return Scalar::Bool(x.is_infinite()),
        UnaryOp::Not => unreachable!("not: integers and bools only"),
    })
}

fn int_unary(op: UnaryOp, x: i64) -> i64 {
    match op {
        UnaryOp::Neg => x.wrapping_neg(),
        UnaryOp::Abs => x.wrapping_abs(),
        UnaryOp::Sign => x.signum(),
        UnaryOp::Not => !x,
        other => unreachable!("{other:?}: floats only"),
    }
}

fn float_binary(op: BinaryOp, x: f64, y: f64, dtype: DType) -> f64 {
    match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div => x / y,
        BinaryOp::Rem => x % y,
        BinaryOp::Pow => x.powf(y),
        BinaryOp::Max if x.is_nan() || x > y => x,
        BinaryOp::Min if x.is_nan() || x < y => x,
        BinaryOp::Max | BinaryOp::Min => y,
        BinaryOp::Atan2 => x.atan2(y),
        BinaryOp::Zeta => special::zeta(x, y),
        BinaryOp::NextAfter if dtype == DType::F64 => special::next_after(x, y),
        BinaryOp::NextAfter => f64::from(special::next_after_f32(x as f32, y as f32)),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Gcd => {
            unreachable!("{op:?}: integers and bools only")
        }
    }
}

fn int_binary(op: BinaryOp, x: i64, y: i64, dtype: DType) -> i64 {
    match op {
        BinaryOp::Add => x.wrapping_add(y),
        BinaryOp::Sub => x.wrapping_sub(y),
        BinaryOp::Mul => x.wrapping_mul(y),
        BinaryOp::Div | BinaryOp::Rem if y == 0 => 0,
        BinaryOp::Div => x.wrapping_div(y),
        BinaryOp::Rem => x.wrapping_rem(y),
        BinaryOp::Pow => int_pow(x, y, dtype),
        BinaryOp::Max => x.max(y),
        BinaryOp::Min => x.min(y),
        BinaryOp::And => x & y,
        BinaryOp::Or => x | y,
        BinaryOp::Xor => x ^ y,
        BinaryOp::Gcd => special::gcd(x, y),
        BinaryOp::Atan2 | BinaryOp::Zeta | BinaryOp::NextAfter => {
            unreachable!("{op:?}: floats only")
        }
    }
}

fn int_pow(base: i64, exponent: i64, dtype: DType) -> i64 {
    if exponent < 0 {
        return match base {
            1 => 1,
            -1 if exponent % 2 == 0 => 1,
            -1 => -1,
            _ => 0,
        };
    }
    let (mut result, mut square, mut left) = (1i64, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left >>= 1;
    }
    held(result, dtype).to_i64()
}

fn bool_binary(op: BinaryOp, x: bool, y: bool) -> bool {
    match op {
        BinaryOp::Add | BinaryOp::Max | BinaryOp::Or => x | y,
        BinaryOp::Mul | BinaryOp::Min | BinaryOp::And => x & y,
        BinaryOp::Xor | BinaryOp::Sub => x ^ y,
        other => unreachable!("{other:?}: not on bools"),
    }
}

fn compare<T: PartialOrd>(op: CmpOp, x: &T, y: &T) -> bool {
    match op {
        CmpOp::Eq => x == y,
        CmpOp::Ne => x != y,
        CmpOp::Lt => x < y,
        CmpOp::Le => x <= y,
        CmpOp::Gt => x > y,
        CmpOp::Ge => x >= y,
    }
}
