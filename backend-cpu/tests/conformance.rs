//! The CPU backend against the table of ops.

use kiln_backend_cpu::Cpu;
use kiln_conformance::suite::Skip;

const UNWRITTEN: &str = "convolution is being written";
const SKIPS: &[Skip] = &[
    Skip { row: "conv", dtype: None, why: UNWRITTEN },
    Skip { row: "conv_grad_input", dtype: None, why: UNWRITTEN },
    Skip { row: "conv_grad_weight", dtype: None, why: UNWRITTEN },
];

kiln_conformance::suite!(Cpu, Cpu::device(), skips: SKIPS, cases: 21_856);
