//! The caching allocator, against a naive model.

mod fake;

use std::sync::atomic::Ordering;
use std::thread;

use kiln_tensor_core::{Backend, DType, Error, MemoryStats, catch};
use proptest::prelude::*;

use fake::{FakeDevice, FakeGpu, LARGEST, Tensor};

/// A tensor of bytes that says who it is at both ends and in between.
fn tagged(bytes: usize, tag: u8, device: FakeDevice) -> Tensor {
    FakeGpu::upload(&vec![tag; bytes], &[bytes].into(), DType::U8, &device)
}

fn is_tagged(x: &Tensor, tag: u8) -> bool {
    x.to_vec::<u8>().iter().all(|&byte| byte == tag)
}

fn held(device: FakeDevice) -> usize {
    device.machine().held.load(Ordering::Relaxed)
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize),
    Give(usize),
    EmptyCache,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sizes = prop_oneof![
        12 => 1usize..5_000,
        6 => 5_000usize..1_100_000,
        2 => 1_000_000usize..9_000_000,
        1 => 8_000_000usize..10_000_000,
    ];
    let step = prop_oneof![
        6 => sizes.prop_map(Step::Take),
        5 => any::<usize>().prop_map(Step::Give),
        1 => Just(Step::EmptyCache),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn blocks_never_overlap_and_the_counts_are_right(steps in steps()) {
        let device = FakeDevice(100);
        let mut live: Vec<(Tensor, u8, usize)> = Vec::new();
        FakeGpu::empty_cache(&device);
        FakeGpu::reset_peak_memory(&device);
        prop_assert_eq!(FakeGpu::memory(&device), MemoryStats::default());
        let mut peak = 0;
        for (i, step) in steps.into_iter().enumerate() {
            match step {
                Step::Take(bytes) => {
                    let tag = i as u8 + 1;
                    live.push((tagged(bytes, tag, device), tag, bytes));
                }
                Step::Give(which) if !live.is_empty() => {
                    let (x, tag, _) = live.swap_remove(which % live.len());
                    prop_assert!(is_tagged(&x, tag));
                }
                Step::Give(_) => {}
                Step::EmptyCache => FakeGpu::empty_cache(&device),
            }
            let allocated = live.iter().map(|(_, _, bytes)| bytes).sum();
            peak = peak.max(allocated);
            let stats = FakeGpu::memory(&device);
            prop_assert_eq!((stats.allocated, stats.peak), (allocated, peak));
            prop_assert!(stats.reserved >= allocated);
            prop_assert_eq!(stats.reserved, held(device));
        }
        for (x, tag, _) in &live {
            prop_assert!(is_tagged(x, *tag));
        }
        // All blocks of a segment come together again, or it could not go.
        live.clear();
        FakeGpu::empty_cache(&device);
        prop_assert_eq!(held(device), 0);
    }
}

#[test]
fn a_block_that_was_given_back_is_used_again() {
    let device = FakeDevice(101);
    for bytes in [100, 70_000, 3_000_000, 50_000_000] {
        drop(tagged(bytes, 1, device));
        let blocks = device.machine().blocks.load(Ordering::Relaxed);
        for _ in 0..10 {
            drop(tagged(bytes, 1, device));
        }
        assert_eq!(device.machine().blocks.load(Ordering::Relaxed), blocks, "{bytes} bytes");
    }
}

#[test]
fn parts_join_to_what_they_were_cut_from() {
    let device = FakeDevice(102);
    let first = tagged(40 << 20, 1, device);
    drop(first);
    let reserved = FakeGpu::memory(&device).reserved;
    let parts: Vec<Tensor> = (0..8).map(|i| tagged(5 << 20, i, device)).collect();
    let small: Vec<Tensor> = (0..900).map(|i| tagged(3600 + i % 400, 1, device)).collect();
    assert_eq!(FakeGpu::memory(&device).reserved - reserved, 4 << 20, "one segment for the small");
    drop(parts);
    drop(tagged(40 << 20, 1, device));
    assert_eq!(FakeGpu::memory(&device).reserved - reserved, 4 << 20);
    // Small blocks stay cut until a larger one is wanted.
    drop(small);
    drop(tagged(1 << 20, 1, device));
    assert_eq!(FakeGpu::memory(&device).reserved - reserved, 4 << 20);
}

#[test]
fn memory_is_counted_per_device() {
    let (one, other) = (FakeDevice(103), FakeDevice(104));
    let x = tagged(1000, 1, one);
    assert_eq!(FakeGpu::memory(&one).allocated, 1000);
    assert_eq!(FakeGpu::memory(&other), MemoryStats::default());
    let view = x.narrow(0, 5, 5);
    drop(x);
    assert_eq!(FakeGpu::memory(&one).allocated, 1000, "a view holds what it is a part of");
    drop(view);
    assert_eq!(FakeGpu::memory(&one).allocated, 0);
    assert_eq!(FakeGpu::memory(&one).peak, 1000);
    FakeGpu::reset_peak_memory(&one);
    assert_eq!(FakeGpu::memory(&one).peak, 0);
}

#[test]
fn a_tensor_without_elements_takes_nothing() {
    let device = FakeDevice(105);
    let x = tagged(0, 1, device);
    assert_eq!(x.to_vec::<u8>(), Vec::<u8>::new());
    assert_eq!(held(device), 0);
}

#[test]
fn idle_memory_is_given_up_before_there_is_none() {
    let device = FakeDevice(106);
    let limit = 100 << 20;
    device.inject(fake::Verb::Allocate, move |bytes| {
        (held(device) + bytes > limit).then(|| device.out_of_memory(bytes))
    });
    drop(tagged(60 << 20, 1, device));
    drop(tagged(30 << 20, 1, device));
    let x = tagged(80 << 20, 7, device);
    assert!(is_tagged(&x, 7));
    assert!(held(device) <= limit);
    let beyond = catch(|| tagged(50 << 20, 1, device)).unwrap_err().to_string();
    let text = "fake:106: out of memory: 50.0 MiB asked for (";
    assert!(beyond.starts_with(text), "{beyond}");
    drop(x);
    drop(tagged(50 << 20, 1, device));
}

#[test]
fn no_block_is_larger_than_the_device_has() {
    let device = FakeDevice(107);
    for size in [LARGEST + 1, usize::MAX / 2] {
        let tried = catch(|| FakeGpu::empty(&[size].into(), DType::F64, &device));
        assert!(matches!(tried, Err(Error::OutOfMemory { .. })), "{size}");
    }
    assert_eq!(FakeGpu::memory(&device).allocated, 0);
}

#[test]
fn threads_take_and_give_at_once() {
    let device = FakeDevice(108);
    thread::scope(|scope| {
        for t in 0..4u8 {
            scope.spawn(move || {
                let mut live: Vec<(Tensor, u8)> = Vec::new();
                let mut state = u64::from(t) + 1;
                for i in 0..400u32 {
                    state =
                        state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let random = (state >> 33) as usize;
                    if live.len() > 20 {
                        let (x, tag) = live.swap_remove(random % live.len());
                        assert!(is_tagged(&x, tag));
                    }
                    let bytes = 1 + random % [300, 3_000, 200_000][i as usize % 3];
                    let tag = (i as u8).wrapping_mul(4).wrapping_add(t);
                    live.push((tagged(bytes, tag, device), tag));
                }
                assert!(live.iter().all(|(x, tag)| is_tagged(x, *tag)));
            });
        }
    });
    assert_eq!(FakeGpu::memory(&device).allocated, 0);
    FakeGpu::empty_cache(&device);
    assert_eq!(held(device), 0);
}
