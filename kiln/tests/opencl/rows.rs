//! Some rows of the table of ops through the facade on a device; the backend's own suite has them all.

use kiln::Any;
use kiln_conformance::suite;
use kiln_conformance::table::{Row, fused, primitives, windows};

use crate::opencl;

fn forward<R: Row>() {
    suite::forward::<R, Any>(&opencl(), &[]);
}

#[test]
fn results() {
    forward::<primitives::map_many>();
    forward::<primitives::gather>();
    forward::<primitives::cat>();
    forward::<primitives::to_device>();
    forward::<windows::max_pool>();
    forward::<fused::linear>();
    forward::<fused::layer_norm>();
}

#[test]
fn gradients() {
    suite::gradcheck::<windows::conv, Any>(&opencl(), &[]);
    suite::gradcheck::<fused::softmax, Any>(&opencl(), &[]);
    suite::gradgradcheck::<primitives::matmul, Any>(&opencl(), &[]);
}
