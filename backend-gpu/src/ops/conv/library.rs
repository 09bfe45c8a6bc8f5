//! Convolutions that the driver's library does, where it has one that does them; if asked to, where it is faster.

use std::time::Duration;

use kiln_tensor_core::{Result, Shape, Tensor, float32_matmul_precision};

use super::T;
use super::columns::Windows;
use crate::Runtime;
use crate::graph::recording;
use crate::launch::{done, opened};
use crate::library::{Convolution, Pass, Task, Vector, benchmark};
use crate::ops::windows::Spec;
use crate::storage::fresh;

/// The shorter of so many runs counts.
const RUNS: usize = 3;

/// The result, by the library where it does it, else by kernels.
#[track_caller]
pub(super) fn or_kernels<R: Runtime>(
    which: Windows,
    (a, b): (&T<R>, &T<R>),
    sizes: Spec,
    shape: &Shape,
    kernels: impl Fn() -> T<R>,
) -> T<R> {
    if !R::LIBRARIES || a.device() != b.device() {
        return kernels();
    }
    let (device, dtype, precision) = (a.device(), a.dtype(), float32_matmul_precision());
    let opened = opened::<R>(device);
    let key = (which as u8, dtype, precision, bytemuck::bytes_of(&sizes).into());
    // With one channel in a group, as in a depthwise convolution, there is nothing that a product would use twice.
    let alone = sizes.groups > 1 && sizes.groups == sizes.channels;
    let chosen = if benchmark() { opened.choice(&key) } else { Some(!alone) };
    if chosen == Some(false) {
        return kernels();
    }
    let (a, b) = (a.contiguous(), b.contiguous());
    let out = fresh::<R>(shape, dtype, device);
    opened.keep([&a, &b, &out].map(Tensor::storage));
    let (pass, [x, weight, y]) = match which {
        Windows::Forward => (Pass::Forward, [&a, &b, &out]),
        Windows::Input => (Pass::Input, [&out, &b, &a]),
        Windows::Weight => (Pass::Weight, [&b, &out, &a]),
    };
    let three = |sizes: [i64; 3]| sizes.map(|size| size as usize);
    let task = Convolution {
        pass,
        dtype,
        precision,
        batch: sizes.batch as usize,
        channels: sizes.channels as usize,
        outs: sizes.outs as usize,
        groups: sizes.groups as usize,
        input: three(sizes.input),
        window: three(sizes.window),
        output: three(sizes.output),
        stride: three(sizes.stride),
        padding: three(sizes.padding),
        dilation: three(sizes.dilation),
        x: vector(x),
        weight: vector(weight),
        y: vector(y),
    };
    let queue = || opened.library(device, &Task::Convolution(&task));
    if !done(queue()) {
        return kernels();
    }
    if chosen.is_some() || recording(opened, |_| ()).is_some() {
        // Nothing waits for the device while a step is captured.
        return out;
    }
    // Both have run once before they are timed: whatever is made at a first run is made.
    let own = kernels();
    let shortest = |work: &mut dyn FnMut() -> Result<()>| -> Duration {
        let time = |_| done(opened.time(device, work));
        (0..RUNS).map(time).min().expect("at least one")
    };
    let library = shortest(&mut || queue().map(drop))
        <= shortest(&mut || {
            kernels();
            Ok(())
        });
    opened.choose(key, library);
    if library { out } else { own }
}

fn vector<R: Runtime>(x: &T<R>) -> Vector<'_, R::Buffer> {
    Vector { buffer: x.storage().buffer(), offset: x.layout().offset() }
}
