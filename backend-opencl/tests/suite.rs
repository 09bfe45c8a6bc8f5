//! The OpenCL backend against the table of ops.

use kiln_backend_opencl::{OpenCl, OpenClDevice};

kiln_conformance::suite!(OpenCl, OpenClDevice(0), skips: &[], cases: kiln_conformance::suite::ALL_CASES);
