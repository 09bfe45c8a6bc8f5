//! The table is whole: every elementwise op and every primitive has a row.

use std::collections::BTreeSet;

use kiln_conformance::table;
use kiln_tensor_core::{BINARY, UNARY};

fn rows() -> BTreeSet<&'static str> {
    table::rows().map(|row| row.name).collect()
}

#[test]
fn every_elementwise_op_has_a_row() {
    let ops = UNARY.iter().map(|op| op.name).chain(BINARY.iter().map(|op| op.name));
    let missing: Vec<_> = ops.filter(|op| !rows().contains(op)).collect();
    assert!(missing.is_empty(), "no row in conformance/src/table for {missing:?}");
}

/// Methods of `Backend` that compute nothing: `forwarding` and each backend's own tests cover them.
const NO_OPS: &[&str] = &[
    "name",
    "upload",
    "download",
    "empty",
    "sync",
    "version",
    "shares_storage",
    "is_unique",
    "memory",
    "reset_peak_memory",
    "adopt",
    "records",
    "requires_grad",
    "set_requires_grad",
    "detach",
    "grad",
    "set_grad",
    "grad_fn",
];

/// A row, or a row for each way in which the method combines elements (`reduce_sum`, …).
#[test]
fn every_primitive_has_a_row() {
    let source = include_str!("../../tensor-core/src/backend.rs");
    let body = source.split("pub trait Backend").nth(1).expect("the trait");
    let methods = body.split("\n    fn ").skip(1).filter_map(|text| text.split(['(', '<']).next());
    let families = ["primitives", "windows", "fused"];
    let has_row = |method: &str| {
        table::rows().filter(|row| families.contains(&row.family)).any(|row| {
            row.name == method || row.name.strip_prefix(method).is_some_and(|r| r.starts_with('_'))
        })
    };
    let missing: Vec<_> = methods.filter(|m| !NO_OPS.contains(m) && !has_row(m)).collect();
    assert!(missing.is_empty(), "no row in conformance/src/table for {missing:?}");
}

#[test]
fn names_are_unique_in_a_family_and_reasons_are_given() {
    let mut seen = BTreeSet::new();
    for row in table::rows() {
        assert!(seen.insert((row.family, row.name)), "{} appears twice", row.name);
        assert!(!row.tolerance.why.is_empty(), "{}: why this tolerance?", row.name);
        assert!(row.order == 0 || row.order == 2, "{}: order {}", row.name, row.order);
    }
}
