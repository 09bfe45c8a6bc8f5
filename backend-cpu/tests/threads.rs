//! Tensors that threads hand to each other, and kernels that several threads ask for at once: no memory is given out
//! twice or lost, and results are those of one thread alone.

use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Backend, Tensor, manual_seed};

/// Miri takes some thousand times as long.
const THREADS: usize = if cfg!(miri) { 2 } else { 4 };
const ROUNDS: usize = if cfg!(miri) { 3 } else { 200 };

/// Memory is counted for the whole program, so one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many numbers the tensor of a round has: blocks that stay with a thread, that all share, that are large.
fn len(thread: usize, round: usize) -> usize {
    let sizes: &[usize] = if cfg!(miri) { &[1, 40] } else { &[1, 40, 1000, 9000, 20_000, 600_000] };
    sizes[(7 * thread + 5 * round + round / 3) % sizes.len()]
}

/// A number that no other tensor is filled with.
fn mark(thread: usize, round: usize) -> i64 {
    (round * THREADS + thread) as i64
}

#[test]
fn memory_that_threads_pass_on_is_whole() {
    let _alone = alone();
    let before = Cpu::memory(&CpuDevice).allocated;
    // Threads end and others begin: what they kept for themselves goes on to those.
    for generation in 0..3 {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..THREADS).map(|_| mpsc::channel::<Tensor<Cpu>>()).unzip();
        thread::scope(|scope| {
            for (me, from) in receivers.into_iter().enumerate() {
                let to = senders[(me + 1) % THREADS].clone();
                scope.spawn(move || {
                    let last = (me + THREADS - 1) % THREADS;
                    for round in generation * ROUNDS..(generation + 1) * ROUNDS {
                        let full = Tensor::full([len(me, round)], mark(me, round), &CpuDevice);
                        to.send(full).unwrap();
                        let got = from.recv().unwrap().to_vec::<i64>();
                        assert_eq!(got.len(), len(last, round));
                        assert!(got.iter().all(|&x| x == mark(last, round)), "written by another");
                    }
                });
            }
        });
    }
    assert_eq!(Cpu::memory(&CpuDevice).allocated, before);
}

#[test]
fn kernels_that_threads_ask_for_at_once_give_the_same_bits() {
    let _alone = alone();
    let (side, rounds) = if cfg!(miri) { (8, 1) } else { (96, 30) };
    manual_seed(1);
    let x = Tensor::<Cpu>::randn([side, side], &CpuDevice);
    let compute = || {
        let y = x.matmul(&x).softmax(-1);
        let sum = (&y * &x + 1.0).sum_dims([0], false);
        (y.to_vec::<f32>(), sum.to_vec::<f32>(), x.sort(0, true).0.to_vec::<f32>())
    };
    let wanted = compute();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..rounds).for_each(|_| assert_eq!(compute(), wanted)));
        }
    });
}
