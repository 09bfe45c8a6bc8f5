//! Elementwise ops: values and derivatives at the places where they jump, against PyTorch 2.15.

mod common;

use common::{DEV, Ref, close, refused, t, v};
use kiln_tensor_core::{BINARY, DType, Error, Kernel, NUMBERED, Scalar, Takes, UNARY, Unary, expr};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

fn row(name: &str) -> &'static Unary {
    UNARY.iter().chain(NUMBERED).find(|row| row.name == name).expect("a row of this name")
}

/// The value and derivative of a row at `x`.
fn at(name: &str, numbers: &[f64], x: f64) -> [f64; 2] {
    let numbers: Vec<Scalar> = numbers.iter().map(|&n| n.into()).collect();
    let program = row(name).program(DType::F64, &numbers, false);
    let value = expr::eval(Kernel::with(program, &numbers), &[x.into()], 0)[0].to_f64();
    let gradient = program.grad(1);
    let given = [x.into(), 1.0.into()];
    let read: Vec<Scalar> = gradient.reads.iter().map(|&i| given[i]).collect();
    [value, expr::eval(Kernel::with(&gradient.expr, &numbers), &read, 0)[0].to_f64()]
}

#[test]
fn kinks_are_pytorchs() {
    let selu = 1.050_700_987_355_480_5 * 1.673_263_242_354_377_2;
    let rows: &[(&str, &[f64], f64, [f64; 2])] = &[
        ("relu", &[], 0.0, [0.0, 0.0]),
        ("abs", &[], 0.0, [0.0, 0.0]),
        ("relu6", &[], 0.0, [0.0, 0.0]),
        ("relu6", &[], 6.0, [6.0, 0.0]),
        ("hardswish", &[], -3.0, [0.0, 0.0]),
        ("hardswish", &[], 3.0, [3.0, 1.0]),
        ("hardswish", &[], 0.0, [0.0, 0.5]),
        ("hardsigmoid", &[], -3.0, [0.0, 0.0]),
        ("hardsigmoid", &[], 3.0, [1.0, 0.0]),
        ("hardtanh", &[-1.0, 1.0], -1.0, [-1.0, 0.0]),
        ("hardtanh", &[-1.0, 1.0], 1.0, [1.0, 0.0]),
        ("hardshrink", &[0.5], 0.5, [0.0, 0.0]),
        ("softshrink", &[0.5], -0.5, [0.0, 0.0]),
        ("softshrink", &[0.5], 2.0, [1.5, 1.0]),
        ("threshold", &[1.0, 7.0], 1.0, [7.0, 0.0]),
        ("leaky_relu", &[0.01], 0.0, [0.0, 0.01]),
        ("elu", &[2.0], 0.0, [0.0, 2.0]),
        ("elu", &[2.0], 1000.0, [1000.0, 1.0]),
        ("celu", &[2.0], 0.0, [0.0, 1.0]),
        ("celu", &[2.0], 2000.0, [2000.0, 1.0]),
        ("selu", &[], 0.0, [0.0, selu]),
        ("clamp", &[0.0, 1.0], 0.0, [0.0, 0.0]),
        ("clamp", &[0.0, 1.0], 1.0, [1.0, 0.0]),
        ("clamp", &[1.0, 0.0], 0.5, [0.0, 0.0]),
        ("clamp_min", &[0.0], 0.0, [0.0, 0.0]),
        ("clamp_max", &[0.0], 0.0, [0.0, 0.0]),
        ("softplus", &[2.0, 4.0], 2.0, [2.009_074_963_958_904_7, 0.982_013_790_037_908_5]),
        ("softplus", &[1.0, 20.0], 1000.0, [1000.0, 1.0]),
        ("log_sigmoid", &[], 0.0, [-std::f64::consts::LN_2, 0.5]),
        ("mish", &[], 0.0, [0.0, 0.6]),
        ("sinc", &[], 0.0, [1.0, 0.0]),
        ("sinc", &[], 0.5, [std::f64::consts::FRAC_2_PI, -1.273_239_544_735_162_5]),
        ("frac", &[], -1.5, [-0.5, 1.0]),
        ("replace_nonfinite", &[1.0, 2.0, 3.0], NAN, [1.0, 0.0]),
        ("replace_nonfinite", &[1.0, 2.0, 3.0], -INF, [3.0, 0.0]),
    ];
    for &(name, numbers, x, [value, slope]) in rows {
        let [y, d] = at(name, numbers, x);
        assert!((y - value).abs() < 1e-12, "{name}({x}) = {y}, wanted {value}");
        assert!((d - slope).abs() < 1e-9, "{name}'({x}) = {d}, wanted {slope}");
    }
}

#[test]
fn not_a_number_stays() {
    for row in UNARY.iter().chain(NUMBERED) {
        if row.takes == Takes::Whole || row.name == "replace_nonfinite" {
            continue;
        }
        let numbers: Vec<Scalar> = row.samples.iter().map(|&n| n.into()).collect();
        let y = row.call(&t([NAN]), &numbers);
        if y.dtype() != DType::Bool {
            assert!(v(&y)[0].is_nan(), "{}(NaN) = {y}", row.name);
        }
    }
}

#[test]
fn rows_refuse_dtypes_that_they_do_not_take() {
    for row in UNARY.iter().chain(NUMBERED) {
        for dtype in DType::ALL {
            let numbers: Vec<Scalar> = row.samples.iter().map(|&n| n.into()).collect();
            let common = numbers.iter().fold(dtype, |d, &n| d.promote_scalar(n));
            let x = Ref::ones([2], (DEV, dtype));
            if row.takes.accepts(common) {
                assert_eq!(row.call(&x, &numbers).dims(), [2]);
            } else {
                let error = refused(|| row.call(&x, &numbers));
                assert!(matches!(error, Error::DType { op, .. } if op == row.name));
            }
        }
    }
    for row in BINARY {
        let (flag, float) = (t([true]), t([1.0]));
        let takes = |accepted: bool, f: &dyn Fn() -> Ref| match accepted {
            true => assert_eq!(f().numel(), 1),
            false => assert!(matches!(refused(f), Error::DType { op, .. } if op == row.name)),
        };
        takes(row.takes.accepts(DType::Bool), &|| row.call(&flag, &flag));
        takes(row.takes.accepts(DType::F64), &|| row.call(&float, &2.0));
        takes(row.takes.accepts(DType::F64), &|| row.call_left(2.0, &float));
    }
    assert_eq!((t([true, false]) + 1).to_vec::<i64>(), [2, 1]);
    assert_eq!((t([true, false]) - 1).to_vec::<i64>(), [0, -1]);
}

#[test]
fn powers_by_number() {
    let x = t([4.0, 9.0, -2.0]);
    for n in [2.0, 3.0, -1.0, 0.0, 1.0] {
        close(&x.pow(n), &v(&x).iter().map(|x| x.powf(n)).collect::<Vec<_>>());
    }
    close(&x.pow(0.5), &[2.0, 3.0, NAN]);
    close(&x.pow(-0.5), &[0.5, 1.0 / 3.0, NAN]);
    assert_eq!(t([3, -2]).pow(2).to_vec::<i32>(), [9, 4]);
    assert_eq!(t([3, -2]).pow(2.0).dtype(), DType::F32);
    assert_eq!(v(&x.narrow(0, 0, 2).copy().pow_(2)), [16., 81.]);
}

#[test]
fn integers_have_no_negative_powers() {
    let x = t([2, 1, -1, 0]);
    let refuses = |f: &dyn Fn() -> Ref| {
        assert!(matches!(refused(f), Error::Argument { op: "pow", .. }));
    };
    refuses(&|| x.pow(-1));
    refuses(&|| x.copy().pow_(-2));
    refuses(&|| t([true]).pow(-1));
    refuses(&|| t([5]).to_dtype(DType::U8).pow(-1));
    close(&x.pow(-1.0), &[0.5, 1.0, -1.0, f64::INFINITY]);
    // What stands in a tensor is not looked at: torch.tensor([2, 1, -1, 0]) ** torch.tensor([-1, -2, -3, -1]).
    assert_eq!(v(&x.pow(t([-1, -2, -3, -1]))), [0., 1., -1., 0.]);
    assert_eq!(v(&t([2.0]).pow(-1)), [0.5]);
}

#[test]
fn quotients_round_down_exactly() {
    let (a, b) = (t([1.0, -1.0, 6.0, 0.5, -0.5, 1.0]), t([0.1, 0.1, 0.1, 2.0, 2.0, 0.0]));
    assert_eq!(v(&a.floor_divide(&b)), [9., -10., 59., 0., -1., INF]);
    let (a, b) =
        (t([INF, -INF, 0.5, -0.5, INF, 2.5, NAN]), t([1.0, 0.0, -INF, INF, INF, NAN, 1.0]));
    close(&a.floor_divide(&b), &[NAN, -INF, -1.0, -1.0, NAN, NAN, NAN]);
    assert_eq!(t([7, -7, 7]).floor_divide(t([2, 2, -2])).to_vec::<i32>(), [3, -4, -4]);
}

#[test]
fn two_operands() {
    close(&t([0.0, 0.0, 2.0]).xlogy(t([0.0, NAN, 1.0])), &[0.0, NAN, 0.0]);
    close(&t([3e200, 0.0]).hypot(t([4e200, 0.0])), &[5e200, 0.0]);
    close(&t([1000.0, -INF]).logaddexp(t([1000.0, -INF])), &[1000.0 + 2f64.ln(), -INF]);
    close(&t([NAN, 1.0]).fmax(t([2.0, NAN])), &[2.0, 1.0]);
    assert_eq!((t([6, 3]) & t([3, 5])).to_vec::<i32>(), [2, 1]);
    assert_eq!((t([6, 3]) | 1).to_vec::<i32>(), [7, 3]);
    assert_eq!((!t([true, false]) ^ t([true, true])).to_vec::<bool>(), [true, false]);
    assert_eq!((!t([5u8])).to_vec::<u8>(), [250]);
}

#[test]
fn choices() {
    let cond = t([true, false, true]);
    let (a, b) = (t([1.0, 2.0, 3.0]), t([10.0, 20.0, 30.0]));
    assert_eq!(v(&Ref::where_(&cond, &a, &b)), [1., 20., 3.]);
    assert_eq!(v(&Ref::where_(&cond, &a, 0)), [1., 0., 3.]);
    assert_eq!(Ref::where_(&cond, 1, 0).dtype(), DType::I64);
    assert_eq!(Ref::where_(&cond, t([1f32]), t(2.0)).dtype(), DType::F32);
    assert!(matches!(refused(|| Ref::where_(&a, &a, &b)), Error::DType { .. }));
    assert_eq!(v(&a.masked_fill(&cond, -1)), [-1., 2., -1.]);
    assert_eq!(a.masked_fill(&t([[true], [false]]), 0).dims(), [2, 3]);
    assert_eq!(v(&a.masked_fill_(&cond, 7.5)), [7.5, 2., 7.5]);
    assert!(matches!(refused(|| t([1]).masked_fill(&t([true]), 0.5)), Error::DType { .. }));
    assert!(matches!(refused(|| a.masked_fill_(&t([[true], [false]]), 0)), Error::Shape { .. }));
    close(&b.lerp(&a, 1.0), &v(&a));
    close(&b.lerp(&a, t([0.0, 0.5, 1.0])), &[10.0, 11.0, 7.5]);
    close(&b.addcmul(&a, &a, 2.0), &[122.5, 28.0, 142.5]);
    close(&b.addcdiv(&b, &a, 0.5), &[10.0 + 5.0 / 7.5, 25.0, 32.0]);
    close(&t([NAN, INF, -INF, 1.0]).nan_to_num(0.0, None, Some(-1.0)), &[0.0, f64::MAX, -1.0, 1.0]);
}

#[test]
fn comparisons_with_one_answer() {
    let a = t([1.0, INF, NAN]);
    assert!(!a.allclose(&a, 1e-5, 1e-8, false) && a.allclose(&a, 1e-5, 1e-8, true));
    assert_eq!(v(&a.isclose(&t([1.0 + 5e-6, -INF, 0.0]), 1e-5, 0.0, true)), [1., 0., 0.]);
    assert!(t([1.0]).allclose(&t([1.0 + 1e-6]), 0.0, 1e-5, false));
    assert!(t([1, 2]).equal(&t([1, 2])) && !t([1, 2]).equal(&t([1, 3])));
    assert!(!t([1]).equal(&t([[1]])) && !a.equal(&a));
}
