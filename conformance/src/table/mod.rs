//! The one table of ops: a row each, primitives and what users call. A row that lacks a part does not
//! compile.
//!
//! | part | meaning |
//! |---|---|
//! | `dtypes` | what results are compared in; gradients are checked in `f64` |
//! | `sample` | draws operands and arguments of one case |
//! | `run` | the op, on any backend |
//! | `oracle` | what is right: a formula on scalars, or [`Oracle::Reference`] |
//! | `tolerance` | how far a result may be from it, and why |
//! | `kinks` | exact gradients where the derivative jumps |
//! | `order` | how often it can be differentiated: 2 where it can, 0 where results have no gradient |

use kiln_tensor_core::{Backend, DType, Tensor};

use crate::agree::Tolerance;
use crate::strategies::{Gen, Purpose, Sample};
use crate::{Form, Reference};

pub mod arranged;
pub mod binary;
pub mod creation;
pub mod functional;
pub mod fused;
pub mod joins;
pub mod linalg;
pub mod losses;
pub mod numbers;
pub mod operators;
pub mod ordered;
pub mod picks;
mod plain;
pub mod pointwise;
pub mod primitives;
pub mod products;
pub mod random;
pub mod ranges;
pub mod reductions;
pub mod replaced;
pub mod shaping;
mod special;
pub mod statistics;
pub mod ternary;
pub mod views;
pub mod windows;

/// What a result is compared with.
#[derive(Clone, Copy, Debug)]
pub enum Oracle {
    /// The formula of one element, from the operands' elements.
    Each(fn(&[f64]) -> f64),
    /// The values of each result, worked out plainly; shapes and dtypes are the reference's.
    Values(fn(&Sample) -> Vec<Vec<f64>>),
    /// The same op on the reference backend in the same dtype: random bits depend on it.
    Native,
    /// The same op on the reference backend: in `f64` for floats, in the dtype itself for integers.
    Reference,
}

/// A point where the derivative jumps, and the gradient of the sum of the first output there.
#[derive(Clone, Copy, Debug)]
pub struct Kink {
    /// One-dimensional operands.
    pub inputs: &'static [&'static [f64]],
    /// The op's arguments.
    pub args: &'static [i64],
    /// The gradient of each operand.
    pub grads: &'static [&'static [f64]],
}

/// One row of the table: its parts, and the op on any backend.
pub trait Row {
    /// The parts.
    const SPEC: Spec;
    /// The op.
    fn run<B: Backend>(x: &[Tensor<B>], args: &[i64]) -> Vec<Tensor<B>>;
}

/// What is to be done with each row, on a backend of its own choice: see [`visit`].
pub trait Visitor {
    /// Called once for each row.
    fn visit<R: Row>(&mut self);
}

/// The parts of a row.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The row's family.
    pub family: &'static str,
    /// The op's name.
    pub name: &'static str,
    /// What results are compared in.
    pub dtypes: &'static [DType],
    /// Draws one case.
    pub sample: fn(&mut Gen) -> Sample,
    /// The op as it is written, which shows the methods that it calls.
    pub source: &'static str,
    /// The op on the reference backend.
    pub reference: fn(&[Tensor<Reference>], &[i64]) -> Vec<Tensor<Reference>>,
    /// What is right.
    pub oracle: Oracle,
    /// How far from it a result may be.
    pub tolerance: Tolerance,
    /// Exact gradients.
    pub kinks: &'static [Kink],
    /// How often the op can be differentiated: 0 or 2.
    pub order: u8,
}

impl Spec {
    /// One case to time the op on, always the same: sizes as in real work where the row leaves them
    /// open, contiguous, `f32` where the row has that.
    pub fn timed(&self) -> Sample {
        let f32 = self.dtypes.iter().find(|&&dtype| dtype == DType::F32);
        let dtype = *f32.unwrap_or(&self.dtypes[0]);
        (self.sample)(&mut Gen::new(dtype, Form::Contiguous, Purpose::Speed, 4, 1))
    }
}

/// Makes rows, the list of them, and the macro that makes their tests. `($)` is the dollar sign, which
/// a macro that writes a macro has to be given.
macro_rules! make_rows {
    (($d:tt) $suite:ident $family:literal; $($name:ident {
        dtypes: $dtypes:expr,
        sample: |$g:ident| $sample:expr,
        run: |$x:ident, $args:pat_param| $run:expr,
        oracle: $oracle:expr,
        tolerance: $tolerance:expr,
        kinks: $kinks:expr,
        order: $order:literal $(,)?
    })*) => {
        $(
            #[doc = concat!("`", stringify!($name), "`")]
            #[allow(non_camel_case_types, reason = "a row has its op's name")]
            #[derive(Debug)]
            pub struct $name {}

            impl $crate::table::Row for $name {
                const SPEC: $crate::table::Spec = $crate::table::Spec {
                    family: $family,
                    name: stringify!($name),
                    dtypes: $dtypes,
                    sample: |$g| $sample,
                    source: stringify!($run),
                    reference: Self::run,
                    oracle: $oracle,
                    tolerance: $tolerance,
                    kinks: $kinks,
                    order: $order,
                };
                fn run<B: kiln_tensor_core::Backend>(
                    $x: &[kiln_tensor_core::Tensor<B>],
                    $args: &[i64],
                ) -> Vec<kiln_tensor_core::Tensor<B>> {
                    $run
                }
            }
        )*

        /// The rows of this family.
        pub const ROWS: &[$crate::table::Spec] = &[$(<$name as $crate::table::Row>::SPEC),*];

        /// Shows the rows of this family to a visitor.
        pub fn visit(visitor: &mut impl $crate::table::Visitor) {
            $(visitor.visit::<$name>();)*
        }

        /// The tests of this family of rows.
        #[doc(hidden)]
        #[macro_export]
        macro_rules! $suite {
            ($d backend:ty, $d device:expr, $d skips:expr) => {$(
                mod $name {
                    #[allow(unused_imports, reason = "the backend may be named by its full path")]
                    use super::*;
                    type Row = $crate::table::$suite::$name;

                    #[test]
                    fn forward() {
                        $crate::suite::forward::<Row, $d backend>(&$d device, $d skips);
                    }

                    #[test]
                    fn gradcheck() {
                        $crate::suite::gradcheck::<Row, $d backend>(&$d device, $d skips);
                    }

                    #[test]
                    fn gradgradcheck() {
                        $crate::suite::gradgradcheck::<Row, $d backend>(&$d device, $d skips);
                    }
                }
            )*};
        }
    };
}
pub(crate) use make_rows;

/// Rows that are compared with their own composition on the reference backend: dtypes, what is drawn, the op,
/// tolerance, order.
macro_rules! compared {
    (($d:tt) $suite:ident $family:literal;
        $($name:ident $dtypes:ident |$g:ident| $sample:expr; |$x:ident, $a:ident| $run:expr; $tolerance:ident $order:literal;)*) => {
        $crate::table::make_rows! { ($d) $suite $family; $($name {
            dtypes: $dtypes,
            sample: |$g| $sample,
            run: |$x, $a| $run,
            oracle: $crate::table::Oracle::Reference,
            tolerance: $tolerance,
            kinks: &[],
            order: $order,
        })* }
    };
}
pub(crate) use compared;

/// A copy of `x` that `write` has written to; `result` where that does not fit, by its shape or by its
/// dtype's category.
fn in_place<B: Backend>(
    x: &Tensor<B>,
    result: &Tensor<B>,
    write: impl FnOnce(&Tensor<B>) -> Tensor<B>,
) -> Tensor<B> {
    if result.shape() != x.shape() || result.dtype().category() > x.dtype().category() {
        return result.clone();
    }
    let target = x.copy();
    write(&target);
    // Of a comparison that is written into a float the gradient is 0, not absent.
    if result.dtype() == DType::Bool { target.detach() } else { target }
}

/// Puts the families together: the list of all rows, their visitor, and the macro that makes all tests.
macro_rules! families {
    (($d:tt) $($family:ident)*) => {
        /// Every row.
        pub fn rows() -> impl Iterator<Item = &'static Spec> {
            [$($family::ROWS),*].into_iter().flatten()
        }

        /// Shows every row to a visitor.
        pub fn visit(visitor: &mut impl Visitor) {
            $($family::visit(visitor);)*
        }

        /// The tests of every row.
        #[doc(hidden)]
        #[macro_export]
        macro_rules! every_family {
            ($d backend:ty, $d device:expr, $d skips:expr) => {$(
                mod $family {
                    use super::*;
                    $crate::$family!($d backend, $d device, $d skips);
                }
            )*};
        }
    };
}

families! { ($)
    pointwise
    binary
    numbers
    operators
    ternary
    creation
    random
    primitives
    windows
    fused
    functional
    shaping
    views
    joins
    picks
    ranges
    losses
    products
    linalg
    reductions
    ordered
    arranged
    statistics
    replaced
}
