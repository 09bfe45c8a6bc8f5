//! The CPU backend against the table of ops.

use kiln_backend_cpu::Cpu;

kiln_conformance::suite!(Cpu, Cpu::device(), skips: &[], cases: kiln_conformance::suite::ALL_CASES);
