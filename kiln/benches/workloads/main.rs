//! Workloads that are timed: as criterion groups, or as Kiln's side of `cargo xtask bench --vs torch`.
//!
//! The other side is xtask/src/bench/workloads.py: same names, sizes and order of work.

mod ops;
mod serve;
mod training;

use std::sync::OnceLock;

use criterion::Criterion;
use kiln::Device;

/// What is timed.
type Work = Box<dyn FnMut()>;

/// A name, and how to set the work up.
struct Workload {
    name: &'static str,
    make: fn() -> Work,
}

fn workloads() -> impl Iterator<Item = &'static Workload> {
    ops::WORKLOADS.iter().chain(training::WORKLOADS)
}

static DEVICE: OnceLock<Device> = OnceLock::new();

/// Where workloads run.
fn device() -> &'static Device {
    DEVICE.get_or_init(Device::cpu)
}

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("serve") {
        let threads = args.next().and_then(|text| text.parse().ok());
        let threads = threads.expect("usage: workloads serve THREADS DEVICE");
        if let Some(name) = args.next() {
            let device = name.parse().unwrap_or_else(|error| panic!("{error}"));
            DEVICE.get_or_init(|| device);
        }
        serve::run(threads);
        return;
    }
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    for workload in workloads() {
        criterion.bench_function(workload.name, |bencher| {
            let mut work = (workload.make)();
            bencher.iter(&mut work);
        });
    }
    criterion.final_summary();
}
