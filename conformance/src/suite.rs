//! The suite: what each row of the table is put through on a backend.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kiln_autograd::{Autograd, Backward};
use kiln_tensor_core::{Backend, DType, Device, RngState, Scalar, Tensor, set_rng_state};
use parking_lot::Mutex;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::agree::agree;
use crate::host::indices;
use crate::layouts::see;
use crate::strategies::{Purpose, Sample, samples};
use crate::table::{self, Oracle, Row, Spec};
use crate::{Form, Host, Reference, ReferenceDevice, Tolerance};

/// What a backend cannot do, and why.
#[derive(Clone, Copy, Debug)]
pub struct Skip {
    /// The row.
    pub row: &'static str,
    /// Only this dtype, or all of them.
    pub dtype: Option<DType>,
    /// Why.
    pub why: &'static str,
}

fn skipped(skips: &[Skip], row: &str, dtype: DType) -> bool {
    skips.iter().any(|s| s.row == row && s.dtype.is_none_or(|d| d == dtype))
}

/// How many cases run for each row, dtype and form: `KILN_CASES`, or 3.
pub fn cases() -> u32 {
    match std::env::var("KILN_CASES") {
        Ok(text) => text.parse().expect("KILN_CASES is a number"),
        Err(_) => 3,
    }
}

/// Runs `check` on `cases` samples of a row; the same ones each time. Fails with the smallest sample
/// that fails. Counts those that `check` says had elements to look at.
fn run(
    row: &Spec,
    dtype: DType,
    form: Form,
    purpose: Purpose,
    cases: u32,
    check: &dyn Fn(&Sample) -> Result<bool, String>,
) -> usize {
    let mut seed = [0; 32];
    let about = format!("{} {dtype} {form:?} {purpose:?}", row.name);
    about.bytes().enumerate().for_each(|(i, byte)| seed[i % 32] ^= byte.rotate_left(i as u32 / 32));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let (ran, telling) = (Cell::new(0), Cell::new(0));
    let outcome = TestRunner::new_with_rng(config, rng).run(
        &samples(row.sample, dtype, form, purpose),
        |sample| {
            let seen = check(&sample).map_err(TestCaseError::fail)?;
            ran.set(ran.get() + 1);
            telling.set(telling.get() + usize::from(seen));
            Ok(())
        },
    );
    if let Err(TestError::Fail(why, sample)) = outcome {
        let shapes: Vec<_> =
            sample.inputs.iter().map(|x| format!("{}{}", x.dtype, x.shape)).collect();
        panic!(
            "{} in {dtype}, {form:?}, on {} with {:?}: {why}",
            row.name,
            shapes.join(" and "),
            sample.args
        );
    }
    assert_eq!(ran.get(), cases, "{} in {dtype}, {form:?}: cases that ran", row.name);
    telling.get()
}

/// Runs `f`, a panic becoming an error.
fn guarded<T>(what: &str, f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        format!("{what} panicked: {}", text.unwrap_or_default())
    })
}

/// What the reference gives for a sample, on floats of another dtype if one is given.
fn reference(row: &Spec, sample: &Sample, floats: Option<DType>) -> Vec<Host> {
    let upload = |x: &Host| match floats {
        Some(dtype) if x.dtype.is_float() => x.to_dtype(dtype).upload(&ReferenceDevice),
        _ => x.upload(&ReferenceDevice),
    };
    let inputs: Vec<Tensor<Reference>> = sample.inputs.iter().map(upload).collect();
    (row.reference)(&inputs, &sample.args).iter().map(Host::download).collect()
}

/// What is right: shapes and dtypes as the reference has them, values as the oracle has them.
fn expected(row: &Spec, sample: &Sample) -> Vec<Host> {
    let native = reference(row, sample, None);
    match row.oracle {
        Oracle::Native => native,
        Oracle::Reference => {
            let exact = reference(row, sample, Some(DType::F64));
            let keep = |(exact, native): (Host, Host)| Host { dtype: native.dtype, ..exact };
            exact.into_iter().zip(native).map(keep).collect()
        }
        Oracle::Values(work_out) => {
            let fill = |(native, values): (Host, Vec<f64>)| Host {
                values: values.into_iter().map(Scalar::F64).collect(),
                ..native
            };
            native.into_iter().zip(work_out(sample)).map(fill).collect()
        }
        Oracle::Each(formula) => {
            let value = |index: &Vec<usize>| {
                let element = |x: &Host| {
                    let own = &index[index.len() - x.shape.rank()..];
                    let at: Vec<usize> =
                        own.iter().zip(&x.shape[..]).map(|(&i, &n)| i.min(n - 1)).collect();
                    x.get(&at).to_f64()
                };
                let elements: Vec<f64> = sample.inputs.iter().map(element).collect();
                Scalar::F64(formula(&elements))
            };
            let fill = |native: Host| Host {
                values: indices(&native.shape).iter().map(value).collect(),
                ..native
            };
            native.into_iter().map(fill).collect()
        }
    }
}

/// The form of each operand: all alike in the first case, then one operand alone.
fn forms(form: Form, operands: usize, case: usize) -> Vec<Form> {
    (0..operands)
        .map(|i| match case % 3 {
            1 if i > 0 => Form::Contiguous,
            2 if i + 1 < operands => Form::Contiguous,
            _ => form,
        })
        .collect()
}

fn compare(got: &[Host], want: &[Host], tolerance: &Tolerance) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!("{} results where {} are right", got.len(), want.len()));
    }
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        if got.dtype != want.dtype {
            return Err(format!("result {i} is {} where {} is right", got.dtype, want.dtype));
        }
        agree(got, want, tolerance).map_err(|why| format!("result {i}: {why}"))?;
    }
    Ok(())
}

type Op<'a, B> = dyn Fn(&[Tensor<B>], &[i64]) -> Vec<Tensor<B>> + 'a;

/// Results of `B` agree with the oracle's, in every dtype and form.
pub fn forward<R: Row, B: Backend>(device: &B::Device, skips: &[Skip]) {
    forward_of::<B>(&R::SPEC, &R::run::<B>, device, skips);
}

fn forward_of<B: Backend>(row: &Spec, op: &Op<'_, B>, device: &B::Device, skips: &[Skip]) {
    let dtypes: Vec<DType> =
        row.dtypes.iter().copied().filter(|&d| !skipped(skips, row.name, d)).collect();
    let mut telling = 0;
    for &dtype in &dtypes {
        for form in Form::ALL {
            let case = Cell::new(0);
            telling += run(row, dtype, form, Purpose::Forward, cases(), &|sample| {
                let forms = forms(form, sample.inputs.len(), case.replace(case.get() + 1));
                let adapt = |(x, form): (&Host, &Form)| form.adapt(x);
                let inputs: Vec<Host> = sample.inputs.iter().zip(&forms).map(adapt).collect();
                let sample = Sample { inputs, args: sample.args.clone() };
                let want = guarded("the reference", || expected(row, &sample))?;
                let got: Vec<Host> = guarded("it", || {
                    let arrange = |(x, form): (&Host, &Form)| form.arrange::<B>(x, device);
                    let inputs: Vec<_> = sample.inputs.iter().zip(&forms).map(arrange).collect();
                    op(&inputs, &sample.args).iter().map(Host::download).collect()
                })?;
                compare(&got, &want, &row.tolerance)?;
                Ok(got.iter().any(|y| !y.values.is_empty()))
            });
        }
    }
    let whole = skips.iter().any(|s| s.row == row.name && s.dtype.is_none());
    assert!(
        telling > 0 || whole,
        "{}: nothing was compared in {dtypes:?}; what cannot be done at all is skipped with `dtype: None`",
        row.name
    );
}

type Recorded<'a, B> = dyn Fn(&[Tensor<Autograd<B>>]) -> Vec<Tensor<Autograd<B>>> + 'a;

/// What a gradient check is run on: leaves that hold the operands, and the op of what is seen of them.
fn recorded<B: Backend>(
    row: &Spec,
    op: &Op<'_, Autograd<B>>,
    device: &B::Device,
    check: &dyn Fn(&Recorded<'_, B>, &[Tensor<Autograd<B>>]) -> Result<(), String>,
) {
    let mut telling = 0;
    for form in Form::ALL {
        telling += run(row, DType::F64, form, Purpose::Gradient, cases().div_ceil(3), &|sample| {
            let adapted: Vec<Host> = sample.inputs.iter().map(|x| form.adapt(x)).collect();
            let (buffers, views): (Vec<_>, Vec<_>) = adapted.iter().map(|x| form.buffer(x)).unzip();
            let leaf = |x: &Host| {
                let leaf = x.upload::<Autograd<B>>(device);
                if x.dtype.is_float() { leaf.requires_grad_(true) } else { leaf }
            };
            let leaves: Vec<_> = buffers.iter().map(leaf).collect();
            let seen = |leaves: &[Tensor<Autograd<B>>]| {
                let seen: Vec<_> = leaves.iter().zip(&views).map(|(x, v)| see(x, v)).collect();
                op(&seen, &sample.args)
            };
            guarded("it", || check(&seen, &leaves))??;
            Ok(sample.inputs.iter().any(|x| !x.values.is_empty()))
        });
    }
    assert!(telling > 0, "{}: no gradient was looked at, for no operand had elements", row.name);
}

/// Backward agrees with differences in every form, and is exact at every kink. Results that have no
/// gradient record nothing.
pub fn gradcheck<R: Row, B: Backend>(device: &B::Device, skips: &[Skip]) {
    gradcheck_of::<B>(&R::SPEC, &R::run::<Autograd<B>>, device, skips);
}

fn gradcheck_of<B: Backend>(
    row: &Spec,
    op: &Op<'_, Autograd<B>>,
    device: &B::Device,
    skips: &[Skip],
) {
    if !row.dtypes.contains(&DType::F64) {
        return assert_eq!(row.order, 0, "{}: gradients are checked in f64", row.name);
    }
    if skipped(skips, row.name, DType::F64) {
        return;
    }
    recorded::<B>(row, op, device, &|op, leaves| {
        let tracked = op(leaves).iter().any(Tensor::requires_grad);
        match (row.order, tracked) {
            (0, false) => Ok(()),
            (0, true) => Err("records a gradient that the table says it has not".into()),
            (_, false) => Err("records no gradient: it would be lost in silence".into()),
            _ => kiln_autograd::gradcheck(op, leaves).map_err(|e| e.to_string()),
        }
    });
    for kink in row.kinks {
        let leaf = |values: &&[f64]| {
            let leaf = Host::floats([values.len()], values).upload::<Autograd<B>>(device);
            leaf.requires_grad_(true)
        };
        let leaves: Vec<_> = kink.inputs.iter().map(leaf).collect();
        op(&leaves, kink.args)[0].sum().backward();
        for (i, (leaf, &want)) in leaves.iter().zip(kink.grads).enumerate() {
            let got = leaf.grad().map(|g| g.to_vec::<f64>());
            let (name, inputs) = (row.name, kink.inputs);
            assert_eq!(got.as_deref(), Some(want), "{name} at {inputs:?}: gradient of operand {i}");
        }
    }
}

/// The derivative of the derivative agrees with differences in every form.
pub fn gradgradcheck<R: Row, B: Backend>(device: &B::Device, skips: &[Skip]) {
    gradgradcheck_of::<B>(&R::SPEC, &R::run::<Autograd<B>>, device, skips);
}

fn gradgradcheck_of<B: Backend>(
    row: &Spec,
    op: &Op<'_, Autograd<B>>,
    device: &B::Device,
    skips: &[Skip],
) {
    if row.order < 2 || skipped(skips, row.name, DType::F64) {
        return;
    }
    recorded::<B>(row, op, device, &|op, leaves| {
        kiln_autograd::gradgradcheck(op, leaves).map_err(|e| e.to_string())
    });
}

/// How many cases the suite has, at the default number for each: one place to change when rows come
/// and go.
pub const ALL_CASES: usize = 87_080;

/// How many cases the suite runs on a backend with these skips, at the default number for each.
pub fn planned(skips: &[Skip]) -> usize {
    let forms = Form::ALL.len();
    let forward = |row: &Spec| {
        row.dtypes.iter().filter(|&&d| !skipped(skips, row.name, d)).count() * forms * 3
    };
    let gradient = |row: &Spec| {
        let checks = if row.order > 0 { 2 } else { 1 };
        let floats = row.dtypes.contains(&DType::F64) && !skipped(skips, row.name, DType::F64);
        if floats { checks * forms } else { 0 }
    };
    table::rows().map(|row| forward(row) + gradient(row)).sum()
}

/// Puts a backend through the table: three tests for each row, named after it.
///
/// `skips` lists what the backend cannot do, with reasons; `cases` is how many cases that leaves of
/// `ALL_CASES`, so that none goes missing unannounced.
///
/// ```ignore
/// kiln_conformance::suite!(Cpu, Cpu::device(), skips: &[], cases: ALL_CASES);
/// ```
#[macro_export]
macro_rules! suite {
    ($backend:ty, $device:expr, skips: $skips:expr, cases: $cases:expr $(,)?) => {
        $crate::every_family!($backend, $device, $skips);

        #[test]
        fn number_of_cases() {
            assert_eq!(
                $crate::suite::planned($skips),
                $cases,
                "the table or the skips have changed: say so here"
            );
        }

        #[test]
        fn skips_have_rows() {
            $crate::suite::check_skips($skips);
        }
    };
}

/// Fails if a skip names no row or gives no reason.
pub fn check_skips(skips: &[Skip]) {
    for skip in skips {
        assert!(table::rows().any(|row| row.name == skip.row), "no row {}", skip.row);
        assert!(!skip.why.is_empty(), "why is {} skipped?", skip.row);
    }
}

/// Where [`seeded`] puts the generator.
pub const FIRST_DRAW: RngState = RngState { seed: 20_261_121, stream: 3 };

/// Runs `f` with the generator of `device` at a fixed place; one at a time, for it is shared by all.
pub fn seeded<D: Device, T>(device: &D, f: impl FnOnce() -> T) -> T {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    set_rng_state(device, FIRST_DRAW);
    f()
}
