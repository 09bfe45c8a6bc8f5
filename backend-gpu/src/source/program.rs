//! A program (`Expr`) as C statements: one constant per instruction.

use std::fmt::Write;

use kiln_tensor_core::expr::{BinaryOp, CmpOp, Instr, Op, UnaryOp};
use kiln_tensor_core::{DType, Expr, philox};

use super::{computed, narrow};

/// Statements that define `v0`, `v1`, …; `input` writes the element of an input, parameters are `p0`, …,
/// the element's number is `index`.
pub(crate) fn statements(expr: &Expr, input: impl Fn(usize) -> String) -> String {
    let mut c = String::new();
    for (i, instr) in expr.instrs().iter().enumerate() {
        let value = match instr.op {
            Op::Input(k) => input(k as usize),
            _ => value(expr, instr),
        };
        let _ = writeln!(c, "    const {} v{i} = {value};", computed(instr.dtype));
    }
    c
}

/// Whether a program needs its elements' numbers.
pub(crate) fn numbered(expr: &Expr) -> bool {
    expr.instrs().iter().any(|i| matches!(i.op, Op::Index | Op::Uniform { .. }))
}

fn value(expr: &Expr, instr: &Instr) -> String {
    let arg = |i: usize| format!("v{}", instr.args[i]);
    let of = |i: usize| expr.instrs()[instr.args[i] as usize].dtype;
    let float = instr.dtype.is_float();
    let ty = computed(instr.dtype);
    match instr.op {
        Op::Input(_) => unreachable!("written by the caller"),
        Op::Param(k) => format!("({ty})p{k}"),
        Op::Const(bits) => constant(bits, instr.dtype),
        Op::Index => "index".into(),
        Op::Uniform { seed, stream } if instr.dtype == DType::F64 => {
            format!("uniform_f64(p{seed}, p{stream}, index)")
        }
        Op::Uniform { seed, stream } => {
            let bits = philox::mantissa(instr.dtype);
            format!("uniform_f32(p{seed}, p{stream}, index, {bits})")
        }
        Op::Unary(op) if of(0).is_float() => float_unary(op, &arg(0), computed(of(0))),
        Op::Unary(op) => whole_unary(op, &arg(0), instr.dtype),
        Op::Binary(op) if float => float_binary(op, &arg(0), &arg(1), ty),
        Op::Binary(op) if instr.dtype == DType::Bool => bool_binary(op, &arg(0), &arg(1)),
        Op::Binary(op) => whole_binary(op, &arg(0), &arg(1), ty),
        Op::Compare(op) => format!("({} {} {})", arg(0), sign(op), arg(1)),
        Op::Select => format!("{} ? {} : {}", arg(0), arg(1), arg(2)),
        Op::Cast => cast(&arg(0), of(0), instr.dtype),
        Op::Wrap => wrap(&arg(0), instr.dtype),
    }
}

/// The exact bits, so that NaN and infinity need no case.
fn constant(bits: u64, dtype: DType) -> String {
    match dtype.compute() {
        DType::F64 => format!("BITS_F64((u64)0x{bits:x}UL)"),
        DType::F32 => format!("BITS_F32(0x{:x}u)", (f64::from_bits(bits) as f32).to_bits()),
        DType::I64 => format!("(i64)0x{bits:x}UL"),
        _ => format!("(i32)0x{:x}u", bits as u32),
    }
}

fn cast(x: &str, from: DType, to: DType) -> String {
    let target = computed(to);
    if to == DType::Bool {
        return format!("({x} != 0)");
    }
    if from.is_float() && !to.is_float() {
        return format!("to_{target}_{}({x})", computed(from));
    }
    format!("({target}){x}")
}

fn wrap(x: &str, dtype: DType) -> String {
    let ty = computed(dtype);
    format!("({ty})({}){x}", narrow(dtype).unwrap_or(ty))
}

fn float_unary(op: UnaryOp, x: &str, ty: &str) -> String {
    let name = match op {
        UnaryOp::Neg => return format!("-{x}"),
        UnaryOp::Sign => return format!("({x} > 0 ? 1 : {x} < 0 ? -1 : {x})"),
        UnaryOp::IsNan => return format!("({x} != {x})"),
        UnaryOp::IsInf => return format!("(isinf({x}) != 0)"),
        UnaryOp::Not => unreachable!("integers and bools only"),
        UnaryOp::Tanh => return format!("tanh_{ty}({x})"),
        UnaryOp::Log => return format!("log_{ty}({x})"),
        UnaryOp::Sin => return format!("sin_{ty}({x})"),
        UnaryOp::Cos => return format!("cos_{ty}({x})"),
        UnaryOp::Abs => "fabs",
        UnaryOp::Floor => "floor",
        UnaryOp::Ceil => "ceil",
        UnaryOp::Round => "rint",
        UnaryOp::Trunc => "trunc",
        UnaryOp::Sqrt => "sqrt",
        UnaryOp::Exp => "exp",
        UnaryOp::Expm1 => "expm1",
        UnaryOp::Log2 => "log2",
        UnaryOp::Log10 => "log10",
        UnaryOp::Log1p => "log1p",
        UnaryOp::Tan => "tan",
        UnaryOp::Asin => "asin",
        UnaryOp::Acos => "acos",
        UnaryOp::Atan => "atan",
        UnaryOp::Sinh => "sinh",
        UnaryOp::Cosh => "cosh",
        UnaryOp::Asinh => "asinh",
        UnaryOp::Acosh => "acosh",
        UnaryOp::Atanh => "atanh",
        UnaryOp::Erf => "erf",
        UnaryOp::Erfc => "erfc",
        UnaryOp::Lgamma => "lgamma",
        UnaryOp::Erfinv => return format!("erfinv_{ty}({x})"),
        UnaryOp::Digamma => return format!("digamma_{ty}({x})"),
        UnaryOp::I0e => return format!("i0e_{ty}({x})"),
        UnaryOp::I1e => return format!("i1e_{ty}({x})"),
    };
    format!("{name}({x})")
}

fn whole_unary(op: UnaryOp, x: &str, dtype: DType) -> String {
    let ty = computed(dtype);
    match op {
        UnaryOp::Not if dtype == DType::Bool => format!("!{x}"),
        UnaryOp::Not => format!("~{x}"),
        UnaryOp::Neg => format!("neg_{ty}({x})"),
        UnaryOp::Abs => format!("abs_{ty}({x})"),
        UnaryOp::Sign => format!("(({x} > 0) - ({x} < 0))"),
        // Of bools the remaining functions are the identity, of integers there are none.
        _ => x.into(),
    }
}

fn float_binary(op: BinaryOp, a: &str, b: &str, ty: &str) -> String {
    match op {
        BinaryOp::Add => format!("{a} + {b}"),
        BinaryOp::Sub => format!("{a} - {b}"),
        BinaryOp::Mul => format!("{a} * {b}"),
        BinaryOp::Div => format!("{a} / {b}"),
        BinaryOp::Rem => format!("fmod({a}, {b})"),
        BinaryOp::Pow => format!("pow({a}, {b})"),
        BinaryOp::Max => format!("({a} != {a} || {a} > {b}) ? {a} : {b}"),
        BinaryOp::Min => format!("({a} != {a} || {a} < {b}) ? {a} : {b}"),
        BinaryOp::Atan2 => format!("atan2({a}, {b})"),
        BinaryOp::Zeta => format!("zeta_{ty}({a}, {b})"),
        BinaryOp::NextAfter => format!("nextafter({a}, {b})"),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Gcd => {
            unreachable!("{op:?}: integers and bools only")
        }
    }
}

fn bool_binary(op: BinaryOp, a: &str, b: &str) -> String {
    let sign = match op {
        BinaryOp::Add | BinaryOp::Max | BinaryOp::Or => "|",
        BinaryOp::Mul | BinaryOp::Min | BinaryOp::And => "&",
        BinaryOp::Xor | BinaryOp::Sub => "^",
        other => unreachable!("{other:?}: not on bools"),
    };
    format!("{a} {sign} {b}")
}

fn whole_binary(op: BinaryOp, a: &str, b: &str, ty: &str) -> String {
    let name = match op {
        BinaryOp::Add => "add",
        BinaryOp::Sub => "sub",
        BinaryOp::Mul => "mul",
        BinaryOp::Div => "div",
        BinaryOp::Rem => "rem",
        BinaryOp::Pow => "pow",
        BinaryOp::Max => return format!("{a} > {b} ? {a} : {b}"),
        BinaryOp::Min => return format!("{a} < {b} ? {a} : {b}"),
        BinaryOp::And => return format!("{a} & {b}"),
        BinaryOp::Or => return format!("{a} | {b}"),
        BinaryOp::Xor => return format!("{a} ^ {b}"),
        BinaryOp::Gcd => "gcd",
        BinaryOp::Atan2 | BinaryOp::Zeta | BinaryOp::NextAfter => unreachable!("floats only"),
    };
    format!("{name}_{ty}({a}, {b})")
}

const fn sign(op: CmpOp) -> &'static str {
    match op {
        CmpOp::Eq => "==",
        CmpOp::Ne => "!=",
        CmpOp::Lt => "<",
        CmpOp::Le => "<=",
        CmpOp::Gt => ">",
        CmpOp::Ge => ">=",
    }
}
