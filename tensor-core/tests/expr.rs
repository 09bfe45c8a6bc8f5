//! Scalar programs: what simplifies, what they compute, and derivatives against differences.

mod common;

use common::refused;
use kiln_tensor_core::expr::{Op, UnaryOp, eval};
use kiln_tensor_core::{DType, Error, Expr, Kernel, Scalar, Val};

const F64: DType = DType::F64;
const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

type Function = for<'b> fn(Val<'b>, Val<'b>) -> Val<'b>;

fn program(f: Function) -> Expr {
    Expr::new("f", [F64, F64], |[x, y]| f(x, y))
}

fn value(expr: &Expr, inputs: &[f64]) -> f64 {
    let inputs: Vec<Scalar> = inputs.iter().map(|&x| x.into()).collect();
    eval(Kernel::new(expr), &inputs, 0)[0].to_f64()
}

/// The derivatives in both inputs; 0 where none flows.
fn slopes(expr: &Expr, x: f64, y: f64) -> [f64; 2] {
    let given: [Scalar; 3] = [x.into(), y.into(), 1.0.into()];
    [0, 1].map(|wrt| {
        let gradient = expr.grad(1 << wrt);
        let read: Vec<Scalar> = gradient.reads.iter().map(|&i| given[i]).collect();
        eval(Kernel::new(&gradient.expr), &read, 0)[0].to_f64()
    })
}

#[test]
fn derivatives_agree_with_differences() {
    let functions: &[(&str, Function)] = &[
        ("neg", |x, _| -x),
        ("abs", |x, _| x.abs()),
        ("sign", |x, _| x.sign()),
        ("floor", |x, _| x.floor()),
        ("ceil", |x, _| x.ceil()),
        ("round", |x, _| x.round()),
        ("trunc", |x, _| x.trunc()),
        ("sqrt", |x, _| x.sqrt()),
        ("rsqrt", |x, _| x.rsqrt()),
        ("recip", |x, _| x.recip()),
        ("square", |x, _| x.square()),
        ("exp", |x, _| x.exp()),
        ("expm1", |x, _| x.expm1()),
        ("log", |x, _| x.log()),
        ("log2", |x, _| x.log2()),
        ("log10", |x, _| x.log10()),
        ("log1p", |x, _| x.log1p()),
        ("sin", |x, _| x.sin()),
        ("cos", |x, _| x.cos()),
        ("tan", |x, _| x.tan()),
        ("asin", |x, _| (x / 3.0).asin()),
        ("acos", |x, _| (x / 3.0).acos()),
        ("atan", |x, _| x.atan()),
        ("sinh", |x, _| x.sinh()),
        ("cosh", |x, _| x.cosh()),
        ("tanh", |x, _| x.tanh()),
        ("asinh", |x, _| x.asinh()),
        ("acosh", |x, _| (x + 1.5).acosh()),
        ("atanh", |x, _| (x / 3.0).atanh()),
        ("erf", |x, _| x.erf()),
        ("sigmoid", |x, _| x.sigmoid()),
        ("softplus", |x, _| x.softplus()),
        ("relu", |x, _| x.relu()),
        ("silu", |x, _| x.silu()),
        ("gelu", |x, _| x.gelu()),
        ("clamp", |x, y| x.clamp_min(y).clamp_max(y + 0.5)),
        ("add", |x, y| x + y),
        ("sub", |x, y| x - y),
        ("mul", |x, y| x * y),
        ("div", |x, y| x / y),
        ("fmod", |x, y| x.fmod(y)),
        ("rem", |x, y| -x % y),
        ("floor_div", |x, y| x.floor_div(y)),
        ("pow", |x, y| x.pow(y)),
        ("max", |x, y| x.max(y)),
        ("min", |x, y| x.min(y)),
        ("atan2", |x, y| x.atan2(y)),
        ("select", |x, y| x.lt(y).select(x * x, y * x)),
        ("through f32", |x, y| (x.cast(DType::F32) * y).cast(F64)),
        ("whole numbers are constants", |x, y| x.cast(DType::I64) * y),
    ];
    for (name, f) in functions {
        let expr = program(*f);
        for (x, y) in [(0.7, 0.3), (0.45, 1.9), (2.3, 0.85), (1.2, 1.45)] {
            let step = 1e-6;
            let difference = |dx: f64, dy: f64| {
                let ends = [1.0, -1.0].map(|s| value(&expr, &[x + s * dx, y + s * dy]));
                (ends[0] - ends[1]) / (2.0 * step)
            };
            let wanted = [difference(step, 0.0), difference(0.0, step)];
            for (got, want) in slopes(&expr, x, y).into_iter().zip(wanted) {
                assert!(
                    (got - want).abs() < 1e-7 * want.abs().max(1.0),
                    "{name}({x}, {y}): {got}, {want}"
                );
            }
        }
    }
}

#[test]
fn derivatives_at_the_edges_are_pytorchs() {
    let rows: &[(&str, Function, f64, f64, [f64; 2])] = &[
        ("abs", |x, _| x.abs(), 0.0, 0.0, [0.0, 0.0]),
        ("sqrt", |x, _| x.sqrt(), 0.0, 0.0, [INF, 0.0]),
        ("rsqrt", |x, _| x.rsqrt(), 0.0, 0.0, [-INF, 0.0]),
        ("log", |x, _| x.log(), 0.0, 0.0, [INF, 0.0]),
        ("recip", |x, _| x.recip(), 0.0, 0.0, [-INF, 0.0]),
        ("asin", |x, _| x.asin(), 1.0, 0.0, [INF, 0.0]),
        ("acos", |x, _| x.acos(), 1.0, 0.0, [-INF, 0.0]),
        ("acosh", |x, _| x.acosh(), 1.0, 0.0, [INF, 0.0]),
        ("atanh", |x, _| x.atanh(), 1.0, 0.0, [INF, 0.0]),
        ("relu", |x, _| x.relu(), 0.0, 0.0, [0.0, 0.0]),
        ("softplus", |x, _| x.softplus(), 0.0, 0.0, [0.5, 0.0]),
        ("softplus", |x, _| x.softplus(), 1000.0, 0.0, [1.0, 0.0]),
        ("sigmoid", |x, _| x.sigmoid(), 0.0, 0.0, [0.25, 0.0]),
        ("sigmoid", |x, _| x.sigmoid(), -1000.0, 0.0, [0.0, 0.0]),
        ("sigmoid", |x, _| x.sigmoid(), 1000.0, 0.0, [0.0, 0.0]),
        ("sigmoid", |x, _| x.sigmoid(), -INF, 0.0, [0.0, 0.0]),
        ("silu", |x, _| x.silu(), -1000.0, 0.0, [0.0, 0.0]),
        ("gelu", |x, _| x.gelu(), -1000.0, 0.0, [0.0, 0.0]),
        ("max", |x, y| x.max(y), 1.0, 1.0, [0.5, 0.5]),
        ("max", |x, y| x.max(y), NAN, 1.0, [1.0, 1.0]),
        ("min", |x, y| x.min(y), 2.0, 1.0, [0.0, 1.0]),
        ("pow", |x, y| x.pow(y), 0.0, 2.0, [0.0, 0.0]),
        ("pow", |x, y| x.pow(y), 0.0, 0.0, [0.0, 0.0]),
        ("pow", |x, y| x.pow(y), 0.0, 1.0, [1.0, 0.0]),
        ("pow", |x, y| x.pow(y), 0.0, -1.0, [-INF, -INF]),
        ("pow", |x, y| x.pow(y), 0.0, 0.5, [INF, 0.0]),
        ("pow", |x, y| x.pow(y), -2.0, 3.0, [12.0, NAN]),
        ("fmod", |x, y| x.fmod(y), -7.0, 3.0, [1.0, 2.0]),
        ("rem", |x, y| x % y, -7.0, 3.0, [1.0, 3.0]),
        ("atan2", |x, y| x.atan2(y), 0.0, 0.0, [0.0, 0.0]),
    ];
    for (name, f, x, y, wanted) in rows {
        for (got, want) in slopes(&program(*f), *x, *y).into_iter().zip(wanted) {
            let same = got == *want || (got.is_nan() && want.is_nan());
            assert!(same, "{name}({x}, {y}): {got}, wanted {want}");
        }
    }
}

#[test]
fn programs_stay_small() {
    let count = |f: Function| program(f).instrs().len();
    assert_eq!(count(|x, _| x * 1.0), 1, "identities");
    assert_eq!(count(|x, _| x - 0.0), 1, "identities");
    assert_eq!(count(|x, _| -(-x)), 1, "twice negated");
    assert_eq!(count(|x, y| (x + y) * (x + y)), 4, "common subexpressions");
    assert_eq!(count(|x, y| x + y * 0.0), 5, "0 · NaN is not 0");
    assert_eq!(count(|x, _| x + 0.0), 3, "−0 + 0 is 0");
    assert_eq!(count(|x, _| x.lit(2.0).exp() * x.lit(3.0)), 1, "constants fold");
    assert_eq!(count(|x, _| x.pow(2.0)), 2, "squares are products");
    assert_eq!(count(|x, y| x.lt(y).select(x, x)), 1, "both ways alike");
    assert_eq!(
        count(|x, y| {
            let _ = y.exp();
            x
        }),
        1,
        "what no output needs"
    );
    assert!(Expr::new("copy", [F64], |[x]| x).is_identity());
    assert!(!Expr::new("to", [F64], |[x]| x.cast(DType::F32)).is_identity());
    let squares = program(|x, _| x.pow(2.0));
    assert_eq!(squares, program(|x, _| x * x));
    assert_eq!(squares.structure_hash(), program(|x, _| x * x).structure_hash());
    assert_ne!(squares, program(|_, y| y * y));
}

#[test]
fn constants_round_as_their_type() {
    let tenth = Expr::new("tenth", [DType::F32], |[x]| x * 0.1);
    assert_eq!(value(&tenth, &[1.0]), f64::from(0.1f32));
    let folded = Expr::new("folded", [DType::F32], |[x]| x + (x.lit(0.1) + x.lit(0.2)));
    assert_eq!(value(&folded, &[0.0]), f64::from((f64::from(0.1f32) + f64::from(0.2f32)) as f32));
}

#[test]
fn integers_wrap_divide_and_saturate() {
    let on = |dtype: DType, f: Function, x: i64, y: i64| {
        let expr = Expr::new("f", [dtype, dtype], |[x, y]| f(x, y));
        eval(Kernel::new(&expr), &[x.into(), y.into()], 0)[0].to_i64()
    };
    assert_eq!(on(DType::U8, |x, y| x + y, 200, 100), 44);
    assert_eq!(on(DType::I8, |x, _| -x, -128, 0), -128);
    assert_eq!(on(DType::I8, |x, _| x.abs(), -128, 0), -128);
    assert_eq!(on(DType::U8, |x, _| !x, 5, 0), 250);
    assert_eq!(on(DType::I16, |x, y| x * y, 300, 300), 90000 - 65536);
    assert_eq!(on(DType::I32, |x, y| x.pow(y), 3, 21), 3i32.wrapping_pow(21).into());
    assert_eq!(on(DType::I64, |x, y| x.trunc_div(y), -7, 2), -3);
    assert_eq!(on(DType::I64, |x, y| x.floor_div(y), -7, 2), -4);
    assert_eq!(on(DType::I64, |x, y| x % y, -7, 2), 1);
    assert_eq!(on(DType::I64, |x, y| x.trunc_div(y), 7, 0), 0);
    assert_eq!(on(DType::I64, |x, y| x.trunc_div(y), i64::MIN, -1), i64::MIN);
    let narrowed = Expr::new("f", [F64], |[x]| x.cast(DType::I32));
    for (x, wanted) in [(1e20, i64::from(i32::MAX)), (-2.9, -2), (NAN, 0)] {
        assert_eq!(eval(Kernel::new(&narrowed), &[x.into()], 0)[0].to_i64(), wanted);
    }
}

#[test]
fn values_mix_dtypes_as_tensors_do() {
    let dtype = |a: DType, b: DType| Expr::new("f", [a, b], |[x, y]| x + y).outputs()[0].dtype;
    assert_eq!(dtype(DType::I64, DType::F16), DType::F16);
    assert_eq!(dtype(DType::U8, DType::I8), DType::I16);
    let divided = Expr::new("f", [DType::I64], |[x]| x / 2);
    assert_eq!(divided.outputs()[0].dtype, DType::F32);
    let error = refused(|| Expr::new("f", [DType::Bool], |[x]| -x));
    assert!(matches!(error, Error::DType { .. }) && error.to_string().contains("neg"));
    assert!(matches!(refused(|| program(|x, y| x & y)), Error::DType { .. }));
    assert!(matches!(refused(|| Expr::new("f", [F64], |[x]| !x)), Error::DType { .. }));
}

#[test]
fn leaves_know_their_place() {
    let expr = Expr::with_params("f", [F64], [DType::I64, DType::I64], |[x], [seed, stream]| {
        let _ = (seed, stream);
        [x, x.relu()]
    });
    assert_eq!((expr.outputs().len(), expr.params().len()), (2, 2));
    let position = {
        let builder = kiln_tensor_core::expr::Builder::new(&[]);
        let out = builder.index().id();
        builder.finish("positions", &[(out, DType::I64)])
    };
    assert_eq!(eval(Kernel::new(&position), &[], 41)[0], Scalar::I64(41));
}

#[test]
fn programs_print_one_instruction_a_line() {
    let expr = Expr::new("scaled_relu", [F64, DType::F32], |[x, y]| (x * y + 0.5).relu());
    let text = expr.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "scaled_relu(f64, f32)");
    assert_eq!(lines[1], "  %0: f64 = input 0");
    assert_eq!(*lines.last().unwrap(), format!("  store %{} as f64", expr.instrs().len() - 1));
    assert!(text.contains("= mul %0 %") && text.contains("= 0.5") && text.contains("= select"));
    assert_eq!(lines.len(), expr.instrs().len() + 2);
}

#[test]
fn gradients_read_only_what_they_need() {
    let sum = program(|x, y| x + y);
    assert_eq!(sum.grad(0b01).reads, [2]);
    let product = program(|x, y| x * y);
    assert_eq!(
        (product.grad(0b01).reads.clone(), product.grad(0b11).reads.clone()),
        (vec![1, 2], vec![0, 1, 2])
    );
    let square_root = program(|x, _| x.sqrt());
    let again = square_root.grad(1);
    assert!(again.expr.instrs().iter().any(|i| i.op == Op::Unary(UnaryOp::Sqrt)));
    // Third derivative of x³ is 6, by differentiating the gradient programs themselves.
    let cube = Expr::new("cube", [F64], |[x]| x * x * x);
    let first = cube.grad(1);
    let second = first.expr.grad(1 << first.reads.iter().position(|&r| r == 0).unwrap());
    let given = [Scalar::F64(2.0), Scalar::F64(1.0), Scalar::F64(1.0)];
    let read: Vec<Scalar> = second.reads.iter().map(|&i| given[i]).collect();
    assert_eq!(eval(Kernel::new(&second.expr), &read, 0)[0].to_f64(), 12.0);
}
