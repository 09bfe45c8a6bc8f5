//! Whether two results agree, and a message that says where they do not.

use kiln_tensor_core::{DType, Scalar};

use crate::Host;
use crate::host::{indices, rounded};

/// How far a result may be from the oracle's.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// In units of the last place of the result's dtype.
    pub ulps: f64,
    /// The magnitude that these units are taken at, if the result is smaller: of intermediate values
    /// that cancel.
    pub scale: f64,
    /// How many intermediate results are stored, which rounds them to narrow floats. Inside of one
    /// primitive these are `f32`.
    pub stored: f64,
    /// Why so far.
    pub why: &'static str,
}

impl Tolerance {
    /// A bound and its reason.
    pub const fn new(ulps: f64, scale: f64, why: &'static str) -> Tolerance {
        Tolerance { ulps, scale, stored: 0.0, why }
    }

    /// With intermediate results that are stored.
    #[must_use]
    pub const fn stored(self, stored: f64) -> Tolerance {
        Tolerance { stored, ..self }
    }

    /// The same bits, but for the sign of zero.
    pub const EXACT: Tolerance = Tolerance::new(0.0, 0.0, "no rounding takes place");
    /// One rounding.
    pub const ROUNDED: Tolerance =
        Tolerance::new(1.0, 0.0, "one rounding; narrow floats round to f32 before");
    /// A function of the library.
    pub const LIBRARY: Tolerance =
        Tolerance::new(4.0, 0.0, "what polynomial kernels of a function reach, relative");

    fn allowed(&self, want: f64, dtype: DType) -> f64 {
        if self.ulps == 0.0 {
            return 0.0;
        }
        let magnitude = want.abs().max(self.scale);
        let inside = self.ulps * (epsilon(dtype.compute()) * magnitude).max(smallest(dtype));
        if dtype.compute() == dtype {
            return inside;
        }
        inside + epsilon(dtype) * (want.abs() + self.stored * magnitude)
    }
}

/// The distance of 1 to the next number.
fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON,
        DType::F32 => f64::from(f32::EPSILON),
        DType::F16 => half::f16::EPSILON.to_f64(),
        DType::BF16 => half::bf16::EPSILON.to_f64(),
        _ => 0.0,
    }
}

/// The smallest positive number.
fn smallest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::from_bits(1),
        DType::F32 => f64::from(f32::from_bits(1)),
        DType::F16 => half::f16::from_bits(1).to_f64(),
        DType::BF16 => half::bf16::from_bits(1).to_f64(),
        _ => 0.0,
    }
}

/// Compares a result with the oracle's, whose values are rounded to the result's dtype first.
///
/// # Errors
/// The first element that differs, by how much, and how many do.
pub fn agree(got: &Host, want: &Host, tolerance: &Tolerance) -> Result<(), String> {
    if got.shape != want.shape || got.values.len() != want.values.len() {
        let count = want.values.len();
        return Err(format!("shape {} where {} of {count} is right", got.shape, want.shape));
    }
    let dtype = got.dtype;
    let excess = |i: usize| {
        let (a, b) = (got.values[i].to_f64(), rounded(want.values[i], dtype).to_f64());
        let same = match (got.values[i], rounded(want.values[i], dtype)) {
            (Scalar::I64(a), Scalar::I64(b)) => a == b,
            _ => a == b || (a.is_nan() && b.is_nan()),
        };
        let exact = want.values[i].to_f64();
        let close = (a - exact).abs() <= tolerance.allowed(exact, dtype)
            || (a - b).abs() <= tolerance.allowed(exact, dtype);
        !(same || close)
    };
    let wrong: Vec<usize> = (0..got.values.len()).filter(|&i| excess(i)).collect();
    let Some(&first) = wrong.first() else { return Ok(()) };
    let (a, b) = (got.values[first], rounded(want.values[first], dtype));
    let ulps =
        (a.to_f64() - b.to_f64()).abs() / (epsilon(dtype) * b.to_f64().abs().max(tolerance.scale));
    let index = &indices(&got.shape)[first];
    let Tolerance { ulps: allowed, scale, why, .. } = tolerance;
    Err(format!(
        "{a:?} at {index:?} where {b:?} is right: {ulps:.1} ulps, {allowed} allowed (at {scale} at \
         least: {why}); {} of {} elements differ",
        wrong.len(),
        got.values.len(),
    ))
}
