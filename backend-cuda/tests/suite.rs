//! The CUDA backend against the table of ops, on the first device.

use kiln_backend_cuda::{Cuda, CudaDevice};

kiln_conformance::suite!(Cuda, CudaDevice(0), skips: &[], cases: kiln_conformance::suite::ALL_CASES);
