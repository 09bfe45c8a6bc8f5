//! What backward needs is remembered with its version: an operand or a result that is written to between forward and
//! backward is refused by name, or was not needed and the gradient is the same.

use kiln_autograd::{Autograd, GradOptions};
use kiln_conformance::strategies::{Gen, Purpose};
use kiln_conformance::table::{Row, Visitor, visit};
use kiln_conformance::{Form, Reference, ReferenceDevice};
use kiln_tensor_core::{DType, Error, Tensor, catch};

type T = Tensor<Autograd<Reference>>;
/// The bits of each gradient.
type Bits = Vec<Option<Vec<u64>>>;
/// How many operands and results there were, and what backward gave.
type Seen = ([usize; 2], Result<Bits, Error>);

/// What is written to after forward.
#[derive(Clone, Copy, Debug)]
enum Touched {
    Nothing,
    Operand(usize),
    Result(usize),
}

/// The gradients of a row's operands on one small case; rows that draw random numbers draw the same each time.
fn gradients<R: Row>(touched: Touched) -> Seen {
    let draw = Gen::new(DType::F64, Form::Contiguous, Purpose::Gradient, 4, 7);
    let sample = (R::SPEC.sample)(&mut { draw });
    let operand = |x: &kiln_conformance::Host| {
        let x = x.upload::<Autograd<Reference>>(&ReferenceDevice);
        if x.dtype().is_float() { x.requires_grad_(true) } else { x }
    };
    let operands: Vec<T> = sample.inputs.iter().map(operand).collect();
    let results = R::run(&operands, &sample.args);
    let write = |x: &T| {
        let x = x.detach();
        if x.layout().may_overlap() {
            // Not writable.
        } else if x.dtype() == DType::Bool {
            x.logical_not_();
        } else if x.dtype().is_float() {
            x.mul_(0.5).add_(0.125);
        } else {
            x.zero_();
        }
    };
    match touched {
        Touched::Nothing => {}
        Touched::Operand(i) => write(&operands[i]),
        Touched::Result(i) => write(&results[i]),
    }
    let leaves: Vec<&T> = operands.iter().filter(|x| x.requires_grad()).collect();
    let made: Vec<&T> = results.iter().filter(|x| x.requires_grad()).collect();
    let ones = made.iter().map(|y| T::ones(y.shape(), (y.device(), y.dtype()))).collect();
    let grads = catch(|| GradOptions::new().grad_outputs(ones).allow_unused(&made, &leaves));
    let bits = |grad: T| grad.to_vec::<f64>().into_iter().map(f64::to_bits).collect();
    let all = |grads: Vec<Option<T>>| grads.into_iter().map(|grad| grad.map(bits)).collect();
    ([operands.len(), results.len()], grads.map(all))
}

#[derive(Default)]
struct Audit {
    wrong: Vec<String>,
    refused: usize,
    same: usize,
}

impl Visitor for Audit {
    fn visit<R: Row>(&mut self) {
        if R::SPEC.order == 0 || !R::SPEC.dtypes.contains(&DType::F64) {
            return;
        }
        let name = R::SPEC.name;
        let ([operands, results], want) = gradients::<R>(Touched::Nothing);
        let want = want.unwrap_or_else(|e| panic!("{name}: {e}"));
        let all = (0..operands).map(Touched::Operand).chain((0..results).map(Touched::Result));
        for touched in all {
            match gradients::<R>(touched).1 {
                Ok(got) if got == want => self.same += 1,
                Ok(_) => self.wrong.push(format!("{name}, {touched:?}: another gradient")),
                Err(Error::Autograd { op, why })
                    if op.ends_with("Backward") && why.contains("written to in place") =>
                {
                    self.refused += 1;
                }
                Err(error) => self.wrong.push(format!("{name}, {touched:?}: {error}")),
            }
        }
    }
}

#[test]
fn writes_after_forward_are_refused_or_change_nothing() {
    let mut audit = Audit::default();
    visit(&mut audit);
    assert!(audit.wrong.is_empty(), "{}", audit.wrong.join("\n"));
    assert!(audit.refused > 400 && audit.same > 400, "{} {}", audit.refused, audit.same);
}
