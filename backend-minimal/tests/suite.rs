//! The minimal backend against the table of ops.

use kiln_backend_minimal::{Host, Minimal};
use kiln_conformance::suite::ALL_CASES;

kiln_conformance::suite!(Minimal, Host, skips: &[], cases: ALL_CASES);
