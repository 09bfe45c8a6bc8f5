//! Every row of the op table, timed on the CPU: `cargo xtask bench FAMILY/NAME`.
//!
//! A row runs as conformance has it, in all its forms, on one case of its own choice: to see what a
//! change of the kernels does to which op. Kiln and PyTorch are compared in kiln/benches/workloads.

use std::cell::OnceCell;
use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use kiln_backend_cpu::Cpu;
use kiln_conformance::table::{Row, Visitor, visit};
use kiln_tensor_core::Tensor;

struct Bench(Criterion);

impl Visitor for Bench {
    fn visit<R: Row>(&mut self) {
        let case: OnceCell<(Vec<Tensor<Cpu>>, Vec<i64>)> = OnceCell::new();
        let mut group = self.0.benchmark_group(R::SPEC.family);
        group.bench_function(R::SPEC.name, |bencher| {
            // Only for rows that the filter picks.
            let (inputs, args) = case.get_or_init(|| {
                let sample = R::SPEC.timed();
                let upload = sample.inputs.iter().map(|x| x.upload(&Cpu::device()));
                (upload.collect(), sample.args)
            });
            bencher.iter(|| black_box(R::run::<Cpu>(black_box(inputs), args)));
        });
        group.finish();
    }
}

fn main() {
    let short = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
        .configure_from_args();
    let mut bench = Bench(short);
    visit(&mut bench);
    bench.0.final_summary();
}
