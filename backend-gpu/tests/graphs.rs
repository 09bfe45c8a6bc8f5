//! Captured steps: what is recorded, what a replay asks for, whose memory is whose.

mod fake;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::thread;

use kiln_backend_gpu::Arg;
use kiln_tensor_core::graph::{Graph, capture, is_capturing};
use kiln_tensor_core::{Backend, Error, catch, rng_state, set_rng_state};
use parking_lot::Mutex;

use fake::{Buffer, FakeDevice, FakeGpu, Tensor, Verb, WITH_GRAPHS};

/// An argument, to be compared.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Place(usize, std::ops::Range<usize>),
    Bytes(Vec<u8>),
}

type Log = Arc<Mutex<Vec<(String, Vec<Seen>)>>>;

/// What kernels were launched with; each writes 7 to the beginning of its buffers.
fn logged(device: FakeDevice) -> Log {
    let log = Log::default();
    let kept = log.clone();
    device.act(move |entry, args| {
        let seen = |arg: &Arg<'_, Buffer>| match arg {
            Arg::Buffer(buffer) => {
                buffer.with(0, 1, |bytes| bytes[0] = 7);
                let (block, place) = buffer.place();
                Seen::Place(block, place)
            }
            Arg::Bytes(bytes) => Seen::Bytes(bytes.to_vec()),
        };
        kept.lock().push((entry.to_owned(), args.iter().map(seen).collect()));
    });
    log
}

fn captured<T>(device: FakeDevice, step: impl FnOnce() -> T) -> Graph<T> {
    capture::<FakeGpu, T>(&device, step).unwrap()
}

fn launched(device: FakeDevice) -> usize {
    device.machine().launched.load(Ordering::Relaxed)
}

fn some(device: FakeDevice) -> Tensor {
    Tensor::from_slice(&[1.0f32; 100], [100], &device)
}

#[test]
fn a_replay_launches_the_same_kernels_on_the_same_memory() {
    let device = FakeDevice(0);
    let x = some(device);
    let log = logged(device);
    let graph = captured(device, || {
        assert!(is_capturing());
        let y = (&x + 1.0).exp();
        (y.sum(), x.add_(&y))
    });
    assert!(!is_capturing());
    let first = std::mem::take(&mut *log.lock());
    assert!(first.len() >= 4, "{first:?}");
    for _ in 0..3 {
        graph.replay();
        assert_eq!(first, std::mem::take(&mut *log.lock()));
    }
    // Later work goes nowhere.
    drop(&x + 1.0);
    let _ = std::mem::take(&mut *log.lock());
    graph.replay();
    assert_eq!(first, *log.lock());
}

#[test]
fn what_a_replay_writes_has_another_version() {
    let device = FakeDevice(1);
    let (read, written) = (some(device), some(device));
    let graph = captured(device, || {
        written.add_(&read);
        &read * 2.0
    });
    let versions = || [&read, &written, graph.output()].map(FakeGpu::version);
    assert_eq!(versions(), [0, 1, 0]);
    graph.replay();
    graph.replay();
    assert_eq!(versions(), [0, 3, 2]);
}

#[test]
fn a_steps_memory_is_its_own_until_it_is_gone() {
    let device = FakeDevice(2);
    let x = some(device);
    drop([some(device), some(device)]);
    let before = FakeGpu::memory(&device);
    let log = logged(device);
    // Ten times the same size: two blocks do.
    let graph = captured(device, || (0..10).fold(x.exp(), |x, _| x.exp()));
    let memory = FakeGpu::memory(&device);
    assert_eq!(memory.allocated - before.allocated, 400);
    assert_eq!(memory.reserved - before.reserved, 4 << 20, "one segment");
    assert_eq!(memory.reserved, device.machine().held.load(Ordering::Relaxed));
    let places = |log: &Log| -> Vec<_> {
        let mut places: Vec<(usize, usize)> = log
            .lock()
            .iter()
            .flat_map(|(_, args)| args)
            .filter_map(|arg| match arg {
                Seen::Place(block, place) => Some((*block, place.start)),
                Seen::Bytes(_) => None,
            })
            .collect();
        places.sort_unstable();
        places.dedup();
        places
    };
    let own = places(&log);
    assert_eq!(own.len(), 3, "x and two: {own:?}");
    log.lock().clear();
    let others: Vec<Tensor> = (0..50).map(|_| x.exp()).collect();
    let theirs = places(&log);
    assert_eq!(theirs.iter().filter(|place| own.contains(place)).count(), 1, "x alone");
    for _ in 0..100 {
        graph.replay();
    }
    drop(others);
    assert_eq!(FakeGpu::memory(&device).reserved, memory.reserved);
    // What the step gave is still there when the graph is gone, and holds the rest.
    let output = graph.output().clone();
    FakeGpu::empty_cache(&device);
    drop(graph);
    assert_eq!(FakeGpu::memory(&device).reserved, memory.reserved);
    drop(output);
    assert_eq!(FakeGpu::memory(&device), before_without_peak(before, device));
    assert_eq!(before.reserved, device.machine().held.load(Ordering::Relaxed));
}

fn before_without_peak(
    before: kiln_tensor_core::MemoryStats,
    device: FakeDevice,
) -> kiln_tensor_core::MemoryStats {
    kiln_tensor_core::MemoryStats { peak: FakeGpu::memory(&device).peak, ..before }
}

#[test]
fn what_a_step_reads_is_kept() {
    let device = FakeDevice(3);
    let log = logged(device);
    let graph = {
        let x = some(device);
        captured(device, || x.exp())
    };
    let first = log.lock()[0].clone();
    // Nobody gets its memory.
    let others: Vec<Tensor> = (0..10).map(|_| some(device)).collect();
    let places = |x: &[Seen]| -> Vec<_> {
        x.iter().filter(|arg| matches!(arg, Seen::Place(..))).cloned().collect()
    };
    drop(others[0].exp());
    assert_ne!(places(&log.lock()[1].1)[0], places(&first.1)[0]);
    graph.replay();
    assert_eq!(log.lock()[2], first);
}

#[test]
fn what_the_host_writes_is_written_again() {
    let device = FakeDevice(4);
    // Its block is used before by another tensor of the step, whose kernel writes 7 there.
    let graph = captured(device, || {
        drop(Tensor::from_slice(&[1u8, 1, 1], [3], &device).neg());
        Tensor::from_slice(&[3u8, 2, 1], [3], &device)
    });
    logged(device);
    graph.output().copy_(&Tensor::from_slice(&[5u8, 5, 5], [3], &device));
    for _ in 0..2 {
        graph.replay();
        assert_eq!(graph.output().to_vec::<u8>(), [3, 2, 1]);
    }
}

#[test]
fn each_replay_draws_its_own_random_numbers() {
    let device = FakeDevice(5);
    let log = logged(device);
    let start = rng_state(&device);
    let stream = |at: usize, from: usize| -> u64 {
        let log = log.lock();
        let numbers: Vec<u64> = log[at]
            .1
            .iter()
            .filter_map(|arg| match arg {
                Seen::Bytes(bytes) => bytes.as_slice().try_into().ok().map(u64::from_ne_bytes),
                Seen::Place(..) => None,
            })
            .collect();
        let seed = numbers.iter().position(|&number| number == start.seed).expect("a seed");
        numbers[seed + from]
    };
    let empty = Tensor::zeros([0], &device);
    let graph = captured(device, || {
        let x = Tensor::rand([8], &device);
        // It draws, though there is nothing to do.
        empty.uniform_(0.0, 1.0);
        x.dropout(0.5, true)
    });
    assert_eq!(rng_state(&device).stream, start.stream + 3);
    for replay in 0..3 {
        let draw = start.stream + 3 * replay as u64;
        assert_eq!(stream(2 * replay, 1), draw);
        assert_eq!(stream(2 * replay, 2), draw ^ 1 << 63);
        assert_eq!(stream(2 * replay + 1, 1), draw + 2);
        graph.replay();
    }
    assert_eq!(rng_state(&device).stream, start.stream + 12);
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    let device = FakeDevice(6);
    let x = some(device);
    let before = FakeGpu::memory(&device);
    let reads: [&dyn Fn(); 3] =
        [&|| drop((&x + 1.0).to_vec::<f32>()), &|| FakeGpu::sync(&device), &|| {
            drop(FakeGpu::nonzero(&x));
        }];
    for read in reads {
        let error = catch(|| captured(device, read)).unwrap_err();
        assert!(matches!(error, Error::Capture { .. }), "{error}");
        assert!(error.to_string().contains("return the tensor"), "{error}");
        assert!(!is_capturing());
        // Nothing is left of it.
        x.to_vec::<f32>();
        assert_eq!(FakeGpu::memory(&device), before_without_peak(before, device));
    }
    let graph = captured(device, || {
        let inner = capture::<FakeGpu, _>(&device, || ()).unwrap_err();
        assert!(matches!(inner, Error::Capture { .. }), "{inner}");
        // Another device is not the step's.
        assert_eq!(some(FakeDevice(7)).to_vec::<f32>(), [1.0; 100]);
    });
    let within = catch(|| captured(device, || graph.replay())).unwrap_err();
    assert!(matches!(within, Error::Capture { op: "Graph::replay", .. }), "{within}");
}

#[test]
fn other_threads_are_not_recorded() {
    let device = FakeDevice(8);
    let x = some(device);
    let (begun, done) = (Barrier::new(2), Barrier::new(2));
    let graph = thread::scope(|scope| {
        scope.spawn(|| {
            begun.wait();
            drop((&x + 1.0).to_vec::<f32>());
            done.wait();
        });
        captured(device, || {
            begun.wait();
            done.wait();
            &x + 1.0
        })
    });
    let before = launched(device);
    graph.replay();
    assert_eq!(launched(device) - before, 1);
}

#[test]
fn an_index_out_of_range_is_told_after_each_replay() {
    let device = FakeDevice(9);
    let x = Tensor::from_slice(&[0f32; 6], [2, 3], &device);
    let index = Tensor::from_slice(&[7i64, 0], [2], &device);
    let graph = captured(device, || {
        let first = x.index_select(1, &index);
        (x.index_select(0, &index), first)
    });
    FakeGpu::sync(&device);
    // The second call of the step finds it.
    let mut calls = 0;
    device.act(move |entry, args| {
        if entry != "gather" {
            return;
        }
        let [.., Arg::Buffer(faults), Arg::Bytes(call)] = args else { return };
        let call = i64::from_ne_bytes((*call).try_into().unwrap()) as usize;
        calls += 1;
        if calls % 2 == 0 {
            assert_eq!(call, 1);
            faults.with(call * 24, 24, |fault| {
                fault[..4].copy_from_slice(&1i32.to_ne_bytes());
                fault[8..16].copy_from_slice(&7i64.to_ne_bytes());
            });
        }
    });
    for _ in 0..2 {
        graph.replay();
        graph.replay();
        // Another thread's is not this one's.
        thread::scope(|scope| {
            scope.spawn(|| x.to_vec::<f32>()).join().unwrap();
        });
        let error = catch(|| x.to_vec::<f32>()).unwrap_err();
        let Error::Index { op: "index_select", index: 7, size: 2, called: Some(at), .. } = error
        else {
            panic!("{error}")
        };
        assert_eq!(at.file(), file!());
        x.to_vec::<f32>();
    }
    graph.replay();
    drop(graph);
    assert!(matches!(catch(|| FakeGpu::sync(&device)), Err(Error::Index { .. })));
}

#[test]
fn a_device_that_fails_in_a_replay_is_a_typed_error() {
    for device in [FakeDevice(10), FakeDevice(WITH_GRAPHS)] {
        let x = some(device);
        let graph = captured(device, || &x + 1.0);
        device.inject(Verb::Launch, move |_| Some(device.broken("bad kernel")));
        let error = catch(|| graph.replay()).unwrap_err();
        assert!(matches!(error, Error::KernelFailed { .. }), "{error}");
        device.mend(Verb::Launch);
        graph.replay();
        device.inject(Verb::Launch, move |_| Some(device.is_lost()));
        assert!(matches!(catch(|| graph.replay()), Err(Error::DeviceLost { .. })));
        device.mend(Verb::Launch);
        assert!(matches!(catch(|| graph.replay()), Err(Error::DeviceLost { .. })));
        let nothing = capture::<FakeGpu, _>(&device, || ()).unwrap_err();
        assert!(matches!(nothing, Error::DeviceLost { .. }), "{nothing}");
    }
}

#[test]
fn a_driver_with_graphs_is_told_what_changed() {
    let device = FakeDevice(WITH_GRAPHS + 1);
    let x = some(device);
    let graph = captured(device, || (&x + 1.0).dropout(0.5, true).copy());
    let before = launched(device);
    graph.replay();
    graph.replay();
    assert_eq!(launched(device), before, "nothing is launched one by one");
    assert_eq!(*device.machine().runs.lock(), [[1], [1]]);
    // What a run that failed was told counts as not told; what is as it was is not told again.
    let state = rng_state(&device);
    device.inject(Verb::Launch, move |_| Some(device.broken("busy")));
    catch(|| graph.replay()).unwrap_err();
    device.mend(Verb::Launch);
    for _ in 0..2 {
        set_rng_state(&device, state);
        graph.replay();
    }
    assert_eq!(*device.machine().runs.lock(), [vec![1], vec![1], vec![1], vec![]]);
}
