//! The derivative of a program: reverse mode over its instructions, one rule per scalar function.

use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, LN_10};

use super::{BinaryOp, Builder, Expr, Gradient, Op, UnaryOp, Val};
use crate::DType;

/// Builds the program of `expr.grad(wrt)`.
pub(super) fn build(expr: &Expr, wrt: u64) -> Gradient {
    let wanted = |i: usize| wrt >> i & 1 == 1;
    let count = expr.inputs().len();
    let floats = expr.outputs().iter().filter(|o| o.dtype.is_float());
    let mut inputs = expr.inputs().to_vec();
    inputs.extend(expr.outputs().iter().map(|o| o.dtype));
    let builder = Builder::new(&inputs);
    for &dtype in expr.params() {
        builder.param(dtype);
    }

    // The forward program again, and which of its values depend on a wanted input.
    let mut values: Vec<Val<'_>> = Vec::with_capacity(expr.instrs().len());
    let mut depends: Vec<bool> = Vec::with_capacity(expr.instrs().len());
    for instr in expr.instrs() {
        let mut args = [0; 3];
        for (new, &old) in args.iter_mut().zip(instr.args()) {
            *new = values[old as usize].id();
        }
        values.push(builder.push(instr.op, instr.dtype, args));
        depends.push(match instr.op {
            Op::Input(i) => wanted(i as usize),
            _ => instr.args().iter().any(|&a| depends[a as usize]),
        });
    }

    let mut adjoints: Vec<Option<Val<'_>>> = vec![None; values.len()];
    for (i, output) in expr.outputs().iter().enumerate() {
        if output.dtype.is_float() {
            let value = output.value as usize;
            let grad = builder.input(count + i).cast(expr.instrs()[value].dtype);
            accumulate(&mut adjoints[value], grad);
        }
    }
    debug_assert!(floats.count() > 0, "{}: no float output, so no gradient", expr.name());
    for (i, instr) in expr.instrs().iter().enumerate().rev() {
        let Some(grad) = adjoints[i].filter(|_| depends[i]) else { continue };
        let args: Vec<Val<'_>> = instr.args().iter().map(|&a| values[a as usize]).collect();
        let parts = derivative(instr.op, &args, values[i], grad);
        for (&arg, part) in instr.args().iter().zip(parts) {
            if let Some(part) = part.filter(|_| depends[arg as usize]) {
                accumulate(&mut adjoints[arg as usize], part.cast(values[arg as usize].dtype()));
            }
        }
    }

    let mut sums: Vec<Option<Val<'_>>> = vec![None; count];
    for (i, instr) in expr.instrs().iter().enumerate() {
        if let (Op::Input(input), Some(adjoint)) = (instr.op, adjoints[i]) {
            accumulate(&mut sums[input as usize], adjoint);
        }
    }
    let outputs: Vec<(u32, DType)> = (0..count)
        .filter(|&i| wanted(i))
        .map(|i| {
            let dtype = expr.inputs()[i];
            assert!(dtype.is_float(), "{}: no gradient flows to a {dtype} input", expr.name());
            let sum = sums[i].unwrap_or_else(|| builder.constant(0.0, dtype));
            (sum.cast(dtype).id(), dtype)
        })
        .collect();
    compact(&builder.finish(format!("{}_backward", expr.name()), &outputs), count)
}

/// Drops the inputs that the program does not read.
fn compact(expr: &Expr, count: usize) -> Gradient {
    let reads: Vec<usize> = (0..expr.inputs().len())
        .filter(|&i| expr.instrs().iter().any(|instr| instr.op == Op::Input(i as u32)))
        .collect();
    let position = |i: u32| reads.iter().position(|&read| read == i as usize).unwrap_or_default();
    let mut instrs = expr.instrs().to_vec();
    for instr in &mut instrs {
        if let Op::Input(i) = instr.op {
            instr.op = Op::Input(position(i) as u32);
        }
    }
    let inputs = reads.iter().map(|&i| expr.inputs()[i]).collect();
    let name = expr.name().to_owned().into();
    let outputs = expr.outputs().to_vec();
    let expr = Expr::from_parts(name, inputs, expr.params().to_vec(), instrs, outputs);
    let inputs = (0..count).filter(|i| reads.contains(i)).map(|i| 1 << i).sum();
    Gradient { expr, reads, inputs }
}

fn accumulate<'b>(sum: &mut Option<Val<'b>>, part: Val<'b>) {
    *sum = Some(sum.map_or(part, |sum| sum + part));
}

/// The gradient of each operand, given the operands `x`, the result `y` and its gradient `g`.
/// `None`: the function is constant almost everywhere in that operand.
fn derivative<'b>(op: Op, x: &[Val<'b>], y: Val<'b>, g: Val<'b>) -> [Option<Val<'b>>; 3] {
    match op {
        Op::Unary(op) => [unary(op, x[0], y, g), None, None],
        Op::Binary(op) => {
            let [a, b] = binary(op, x[0], x[1], y, g);
            [a, b, None]
        }
        Op::Select => {
            let zero = g.lit(0.0);
            [None, Some(x[0].select(g, zero)), Some(x[0].select(zero, g))]
        }
        Op::Cast => [x[0].dtype().is_float().then_some(g), None, None],
        Op::Input(_) | Op::Param(_) | Op::Const(_) | Op::Index | Op::Uniform { .. } => [None; 3],
        Op::Compare(_) | Op::Wrap => [None; 3],
    }
}

fn unary<'b>(op: UnaryOp, x: Val<'b>, y: Val<'b>, g: Val<'b>) -> Option<Val<'b>> {
    Some(match op {
        UnaryOp::Neg => -g,
        UnaryOp::Abs => g * x.sign(),
        UnaryOp::Sqrt => g / (y * 2.0),
        UnaryOp::Exp => g * y,
        UnaryOp::Expm1 => g * (y + 1.0),
        UnaryOp::Log => g / x,
        UnaryOp::Log2 => g / (x * LN_2),
        UnaryOp::Log10 => g / (x * LN_10),
        UnaryOp::Log1p => g / (x + 1.0),
        UnaryOp::Sin => g * x.cos(),
        UnaryOp::Cos => -(g * x.sin()),
        UnaryOp::Tan => g * (y * y + 1.0),
        UnaryOp::Asin => g * (x.lit(1.0) - x * x).rsqrt(),
        UnaryOp::Acos => -(g * (x.lit(1.0) - x * x).rsqrt()),
        UnaryOp::Atan => g / (x * x + 1.0),
        UnaryOp::Sinh => g * x.cosh(),
        UnaryOp::Cosh => g * x.sinh(),
        UnaryOp::Tanh => g * (y.lit(1.0) - y * y),
        UnaryOp::Asinh => g * (x * x + 1.0).rsqrt(),
        UnaryOp::Acosh => g * (x * x - 1.0).rsqrt(),
        UnaryOp::Atanh => g / (x.lit(1.0) - x * x),
        UnaryOp::Erf => g * (-(x * x)).exp() * FRAC_2_SQRT_PI,
        UnaryOp::Erfc => -(g * (-(x * x)).exp() * FRAC_2_SQRT_PI),
        UnaryOp::Erfinv => g * (y * y).exp() / FRAC_2_SQRT_PI,
        UnaryOp::Lgamma => g * x.digamma(),
        UnaryOp::Digamma => g * x.zeta(2.0),
        UnaryOp::I0e => g * (x.i1e() - x.sign() * y),
        // I₁(x) / x is ½ at 0.
        UnaryOp::I1e => {
            let zero = x.eq(0.0);
            let slope = zero.select(x.lit(0.5), y / zero.select(x.lit(1.0), x));
            g * (x.i0e() - x.sign() * y - slope)
        }
        UnaryOp::Sign | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => {
            return None;
        }
        UnaryOp::Not | UnaryOp::IsNan | UnaryOp::IsInf => return None,
    })
}

fn binary<'b>(
    op: BinaryOp,
    a: Val<'b>,
    b: Val<'b>,
    y: Val<'b>,
    g: Val<'b>,
) -> [Option<Val<'b>>; 2] {
    let zero = g.lit(0.0);
    match op {
        BinaryOp::Add => [Some(g), Some(g)],
        BinaryOp::Sub => [Some(g), Some(-g)],
        BinaryOp::Mul => [Some(g * b), Some(g * a)],
        BinaryOp::Div => [Some(g / b), Some(-(g * (y / b)))],
        BinaryOp::Rem => [Some(g), Some(-(g * (a / b).trunc()))],
        BinaryOp::Pow => {
            let base = b.eq(0.0).select(zero, g * b * a.pow(b - 1.0));
            let exponent = (a.eq(0.0) & b.ge(0.0)).select(zero, g * y * a.log());
            [Some(base), Some(exponent)]
        }
        // Equal operands share the gradient, as in PyTorch.
        BinaryOp::Max | BinaryOp::Min => {
            let shared = a.eq(b).select(g * 0.5, g);
            let (a_loses, b_loses) =
                if op == BinaryOp::Max { (a.lt(b), a.gt(b)) } else { (a.gt(b), a.lt(b)) };
            [Some(a_loses.select(zero, shared)), Some(b_loses.select(zero, shared))]
        }
        BinaryOp::Atan2 => {
            // 0 at the origin, as in PyTorch.
            let norm = a * a + b * b;
            let scaled = g / norm.eq(0.0).select(norm.lit(1.0), norm);
            [Some(scaled * b), Some(-(scaled * a))]
        }
        // Nothing differentiates zeta in its exponent, which `Val::zeta` takes as a number.
        BinaryOp::Zeta => [None, Some(-(g * a * b.zeta(a + 1.0)))],
        BinaryOp::NextAfter => [Some(g), None],
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Gcd => [None, None],
    }
}
