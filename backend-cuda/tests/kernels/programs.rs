//! Programs: every op of `Expr` on every dtype that it is computed in, each by itself, so that one that does not
//! compile is named by its source.

use kiln_tensor_core::expr::{Builder, Val};
use kiln_tensor_core::{Backend, DType, Expr, Kernel, Scalar, Tensor};

use super::{B, Nowhere, forms, zeros};

/// On tensors of one form: so many in order that kernels are made for the very dtype.
fn map(expr: &Expr, params: &[Scalar]) {
    on(expr, params, 2);
}

fn on(expr: &Expr, params: &[Scalar], form: usize) {
    let inputs: Vec<Tensor<B>> =
        expr.inputs().iter().map(|&dtype| forms(dtype)[form].clone()).collect();
    let inputs: Vec<&Tensor<B>> = inputs.iter().collect();
    let shape = forms(DType::F32)[form].shape().clone();
    B::map_many(Kernel::with(expr, params), &inputs, &shape, &Nowhere);
}

type One = for<'b> fn(Val<'b>) -> Val<'b>;
type Two = for<'b> fn(Val<'b>, Val<'b>) -> Val<'b>;

/// Functions by their names.
macro_rules! functions {
    ($($name:ident)*) => { [$(|x| x.$name()),*] };
}

const COMPUTED: [DType; 5] = [DType::F32, DType::F64, DType::I64, DType::I32, DType::Bool];

/// Every op of `Expr` on every dtype that it is computed in; loads, stores and conversions of all dtypes.
pub fn run() {
    let floats: [One; 31] = functions![
        floor ceil round trunc sqrt exp expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh
        asinh acosh atanh erf sign erfc erfinv lgamma digamma i0e i1e
    ];
    let tests: [One; 2] = functions![is_nan is_inf];
    let numbers: [One; 3] = [|x| -x, |x| x.abs(), |x| x.sign()];
    let binary: [Two; 6] = [
        |a, b| a + b,
        |a, b| a - b,
        |a, b| a * b,
        |a, b| a.max(b),
        |a, b| a.min(b),
        |a, b| a.pow(b),
    ];
    let division: [Two; 4] =
        [|a, b| a.true_div(b), |a, b| a.trunc_div(b), |a, b| a.floor_div(b), |a, b| a.fmod(b)];
    let bits: [Two; 3] = [|a, b| a & b, |a, b| a | b, |a, b| a ^ b];
    let compare: [Two; 6] = [
        |a, b| a.eq(b),
        |a, b| a.ne(b),
        |a, b| a.lt(b),
        |a, b| a.le(b),
        |a, b| a.gt(b),
        |a, b| a.ge(b),
    ];
    for dtype in COMPUTED {
        let one = |f: &One| {
            map(&Expr::new("one", [dtype], |[x]| f(x)), &[]);
        };
        let two = |f: &Two| {
            map(&Expr::new("two", [dtype; 2], |[a, b]| f(a, b)), &[]);
        };
        if dtype.is_float() {
            floats.iter().chain(&tests).for_each(one);
            two(&(atan2 as Two));
            two(&((|a, b| b.zeta(a)) as Two));
            two(&((|a, b| a.next_after(b)) as Two));
        } else {
            one(&(not as One));
            bits.iter().for_each(two);
        }
        if dtype.is_int() {
            two(&((|a, b| a.gcd(b)) as Two));
        }
        if dtype != DType::Bool {
            numbers.iter().for_each(one);
            binary.iter().chain(&division).for_each(two);
        }
        compare.iter().for_each(two);
        map(&Expr::new("pick", [DType::Bool, dtype, dtype], |[c, a, b]| c.select(a, b)), &[]);
        // Constants and parameters, among them those that C has no plain words for.
        let constants = Expr::with_params("constants", [dtype], [dtype], |[x], [p]| {
            let special = if dtype.is_float() { f64::NEG_INFINITY } else { 1.0 };
            [x.eq(p), x.eq(x.lit(special)).select(x, p)]
        });
        map(&constants, &[Scalar::I64(1)]);
    }
    // A kernel loads, converts and stores in steps that do not know of each other: all conversions between
    // what is computed in, and each dtype loaded and stored.
    let computed = COMPUTED.iter().flat_map(|&from| COMPUTED.map(|to| (from, to)));
    let stored = DType::ALL.into_iter().zip(DType::ALL.into_iter().cycle().skip(1));
    for (from, to) in computed.chain(stored) {
        let cast = Expr::new("cast", [from], |[x]| x.cast(to));
        (0..4).for_each(|form| on(&cast, &[], form));
    }
    for from in [DType::F32, DType::I64] {
        for to in [DType::I16, DType::I8, DType::U8, DType::Bool] {
            // A value that goes on being computed with is wrapped, not only stored.
            map(&Expr::new("wrapped", [from], |[x]| x.cast(to).cast(DType::I64) + 1), &[]);
        }
    }
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let builder = Builder::new(&[]);
        let (seed, stream) = (builder.param(DType::I64), builder.param(DType::I64));
        let (number, at) = (builder.uniform(seed, stream, dtype), builder.index());
        let outs = [(number.id(), dtype), (at.id(), DType::I64)];
        map(&builder.finish("uniform", &outs), &[Scalar::I64(1), Scalar::I64(2)]);
    }
    // In place, several groups, many operands.
    let sum = Expr::new("sum", [DType::F32; 3], |[a, b, c]| a * b + c);
    for form in forms(DType::F32) {
        B::map_into(Kernel::new(&sum), &[&form, &form, &form], &[&form]);
        B::map_each_into(
            Kernel::new(&sum),
            &[(vec![&form; 3], vec![&form]), (vec![&form; 3], vec![&form])],
        );
    }
    several();
}

/// One program over several tensors.
fn several() {
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let step = Expr::with_params("step", [dtype; 3], [dtype.compute()], |[a, b, c], [p]| {
            let mean = b * p + c;
            [(a - mean).cast(dtype), mean.cast(dtype)]
        });
        let [a, b, c] = [(); 3].map(|()| zeros(&[5, 3], dtype));
        let group = || (vec![&a, &b, &c], vec![&a, &b]);
        B::map_each_into(Kernel::with(&step, &[Scalar::F64(0.5)]), &[group(), group(), group()]);
    }
}

fn atan2<'b>(a: Val<'b>, b: Val<'b>) -> Val<'b> {
    a.atan2(b)
}

fn not(x: Val<'_>) -> Val<'_> {
    !x
}
