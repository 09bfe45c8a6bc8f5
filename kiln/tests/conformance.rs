//! The facade's backend against the table of ops: what `Any` forwards arrives with every operand and
//! argument in its place. Forward only: gradients are made by `Autograd` out of the same methods.

use kiln::{Any, Device};
use kiln_conformance::suite::forward;
use kiln_conformance::table::{Row, Visitor, visit};

struct Forward(usize);

impl Visitor for Forward {
    fn visit<R: Row>(&mut self) {
        forward::<R, Any>(&Device::cpu(), &[]);
        self.0 += 1;
    }
}

#[test]
fn every_row_of_the_table() {
    let mut rows = Forward(0);
    visit(&mut rows);
    assert_eq!(rows.0, kiln_conformance::table::rows().count());
}
