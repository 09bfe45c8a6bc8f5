//! The reference backend against the table of ops: against formulas, and in every form and dtype.

mod saved;

use kiln_conformance::{Reference, ReferenceDevice};

kiln_conformance::suite!(Reference, ReferenceDevice, skips: &[], cases: kiln_conformance::suite::ALL_CASES);
