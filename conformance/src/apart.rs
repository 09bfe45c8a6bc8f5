//! Operands on two devices: an op that computes with both refuses, and says where each is.

use kiln_tensor_core::{Backend, DType, Error, catch};

use crate::strategies::{Gen, Purpose};
use crate::table::Row;
use crate::{Form, Host};

/// Rows in which operands never meet: only a shape is looked at, each is worked on alone, or one is moved.
const NEVER_MEET: &[&str] = &[
    "expand_as",
    "view_as",
    "reshape_as",
    "broadcast_tensors",
    "copy_",
    "cov",
    "fill_diagonal_",
    "float_numbers",
    "hsplit",
    "neg",
    "not",
    "map_each_into",
];

/// Operands that are not read: statistics that the default works out again, so as to differentiate them.
const UNREAD: &[(&str, usize)] =
    &[("layer_norm_grad", 2), ("layer_norm_grad", 3), ("batch_norm_grad", 2)];

/// Puts each operand of a row's op in turn on `there` and the others on `here`, and gives how many were tried.
///
/// # Errors
/// What happened where the op did not refuse with [`Error::Device`]. An op that programs call names both
/// devices; a primitive, whose callers have compared them, names one.
pub fn apart<R: Row, B: Backend>(here: &B::Device, there: &B::Device) -> Result<usize, String> {
    let row = R::SPEC;
    if NEVER_MEET.contains(&row.name) {
        return Ok(0);
    }
    let dtype = if row.dtypes.contains(&DType::F32) { DType::F32 } else { row.dtypes[0] };
    let primitive = ["primitives", "fused", "windows"].contains(&row.family);
    let mut tried = 0;
    // A few samples: options decide how many operands there are.
    for seed in 0..4 {
        let sample =
            (row.sample)(&mut Gen::new(dtype, Form::Contiguous, Purpose::Forward, 1, seed));
        let meets = |&i: &usize| {
            // A primitive has nothing to do with an operand of no elements.
            let idle = primitive && sample.inputs[i].values.is_empty();
            sample.inputs.len() > 1 && !idle && !UNREAD.contains(&(row.name, i))
        };
        for moved in (0..sample.inputs.len()).filter(meets) {
            let place =
                |(i, x): (usize, &Host)| x.upload::<B>(if i == moved { there } else { here });
            let inputs: Vec<_> = sample.inputs.iter().enumerate().map(place).collect();
            let what = || format!("{}, operand {moved} elsewhere:", row.name);
            match catch(|| R::run(&inputs, &sample.args)) {
                Err(Error::Device { left, right, .. }) => {
                    let mut named = [left, right];
                    let mut both = [here.to_string(), there.to_string()];
                    named.sort();
                    both.sort();
                    if !primitive && named != both {
                        return Err(format!("{} named {named:?}", what()));
                    }
                }
                Err(other) => return Err(format!("{} {other}", what())),
                Ok(_) => return Err(format!("{} nothing was said", what())),
            }
            tried += 1;
        }
    }
    Ok(tried)
}
