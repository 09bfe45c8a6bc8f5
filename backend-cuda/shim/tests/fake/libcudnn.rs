//! cuDNN 9.28.0, which computes on the host and is strict about what it is asked for. Each convolution is a line in the
//! file that `FAKE_LOG` names; `FAKE_FAIL=cudnnConvolutionForward=5000` makes a function return a status.
#![allow(non_snake_case)]

use std::ffi::{c_char, c_int, c_void};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A tensor or a weight.
#[derive(Clone, Default)]
struct Dims {
    dtype: c_int,
    sizes: Vec<usize>,
}

/// `cudnnConvolutionDescriptor_t`.
#[derive(Clone, Default)]
struct Walk {
    compute: c_int,
    padding: Vec<usize>,
    stride: Vec<usize>,
    dilation: Vec<usize>,
    groups: usize,
    math: c_int,
}

#[repr(C)]
struct Candidate {
    algorithm: c_int,
    status: c_int,
    time: f32,
    memory: usize,
    deterministic: c_int,
    math: c_int,
    reserved: [c_int; 3],
}

const HANDLE: usize = 0xd44;
static STREAM: AtomicUsize = AtomicUsize::new(0);
const WORKSPACE: usize = 4096;

fn failing(function: &str) -> Option<c_int> {
    let plan = std::env::var("FAKE_FAIL").ok()?;
    let (name, code) = plan.split_once('=')?;
    (name == function).then(|| code.parse().unwrap())
}

fn log(line: &str) {
    let Ok(file) = std::env::var("FAKE_LOG") else { return };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    writeln!(file, "{line}").unwrap();
}

macro_rules! api {
    ($(fn $name:ident($($param:ident: $ty:ty),*) $body:block)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($param: $ty),*) -> c_int {
            if let Some(code) = failing(stringify!($name)) {
                return code;
            }
            unsafe { $body }
        }
    )*};
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetVersion() -> usize {
    92_800
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetCudartVersion() -> usize {
    13_000
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetErrorString(status: c_int) -> *const c_char {
    match status {
        1001 => c"CUDNN_STATUS_NOT_INITIALIZED",
        3002 => c"CUDNN_STATUS_NOT_SUPPORTED_SHAPE",
        5000 => c"CUDNN_STATUS_EXECUTION_FAILED",
        _ => c"unknown",
    }
    .as_ptr()
}

unsafe fn load(dtype: c_int, address: usize, i: usize) -> f64 {
    unsafe {
        match dtype {
            0 => (address as *const f32).add(i).read().into(),
            1 => (address as *const f64).add(i).read(),
            9 => f32::from_bits(u32::from((address as *const u16).add(i).read()) << 16).into(),
            _ => panic!("data type {dtype}"),
        }
    }
}

/// The values of the tests are exact in all dtypes, so nothing is rounded.
unsafe fn store(dtype: c_int, address: usize, i: usize, value: f64) {
    unsafe {
        match dtype {
            0 => (address as *mut f32).add(i).write(value as f32),
            1 => (address as *mut f64).add(i).write(value),
            _ => {
                let bits = (value as f32).to_bits();
                assert!(bits & 0xffff == 0, "a value that bf16 has");
                (address as *mut u16).add(i).write((bits >> 16) as u16);
            }
        }
    }
}

unsafe fn list(count: c_int, numbers: *const c_int) -> Vec<usize> {
    let numbers = unsafe { std::slice::from_raw_parts(numbers, count as usize) };
    numbers.iter().map(|&number| usize::try_from(number).unwrap()).collect()
}

/// Requires that sizes fit together.
fn fit(x: &Dims, w: &Dims, walk: &Walk, y: &Dims) {
    let rank = x.sizes.len();
    assert!((4..=5).contains(&rank) && w.sizes.len() == rank && y.sizes.len() == rank);
    assert!(walk.padding.len() == rank - 2 && walk.stride.len() == rank - 2 && walk.dilation.len() == rank - 2);
    assert!(x.dtype == w.dtype && w.dtype == y.dtype);
    assert!(x.sizes[0] == y.sizes[0] && w.sizes[0] == y.sizes[1] && w.sizes[1] * walk.groups == x.sizes[1]);
    for d in 0..rank - 2 {
        let reach = walk.dilation[d] * (w.sizes[2 + d] - 1) + 1;
        assert_eq!((x.sizes[2 + d] + 2 * walk.padding[d] - reach) / walk.stride[d] + 1, y.sizes[2 + d]);
    }
    // FMA for f64; none that rounds f32 unless that is wanted; tensor cores for narrow floats.
    match x.dtype {
        0 => assert!(walk.compute == 0 && [0, 3].contains(&walk.math)),
        1 => assert!(walk.compute == 1 && walk.math == 3),
        _ => assert!(walk.compute == 0 && walk.math == 1),
    }
}

/// Calls `f` with the places of each input, weight and output element that meet.
fn each(x: &Dims, w: &Dims, walk: &Walk, y: &Dims, mut f: impl FnMut(usize, usize, usize)) {
    let three = |sizes: &[usize], fill| {
        let mut all = [fill; 3];
        all[3 - sizes.len()..].copy_from_slice(sizes);
        all
    };
    let (input, window, output) = (three(&x.sizes[2..], 1), three(&w.sizes[2..], 1), three(&y.sizes[2..], 1));
    let (padding, stride, dilation) = (three(&walk.padding, 0), three(&walk.stride, 1), three(&walk.dilation, 1));
    let volume = |sizes: [usize; 3]| sizes.iter().product::<usize>();
    let apart = |i: usize, sizes: [usize; 3]| [i / (sizes[1] * sizes[2]), i / sizes[2] % sizes[1], i % sizes[2]];
    let (outs, ins) = (w.sizes[0], w.sizes[1]);
    for n in 0..x.sizes[0] {
        for o in 0..outs {
            let group = o / (outs / walk.groups);
            for i in 0..ins {
                for at in 0..volume(output) {
                    for tap in 0..volume(window) {
                        let (p, t) = (apart(at, output), apart(tap, window));
                        let place = [0, 1, 2].map(|d| (p[d] * stride[d] + t[d] * dilation[d]).checked_sub(padding[d]));
                        let [Some(a), Some(b), Some(c)] = place else { continue };
                        if a >= input[0] || b >= input[1] || c >= input[2] {
                            continue;
                        }
                        let channel = n * x.sizes[1] + group * ins + i;
                        let from = ((channel * input[0] + a) * input[1] + b) * input[2] + c;
                        f(from, (o * ins + i) * volume(window) + tap, (n * outs + o) * volume(output) + at);
                    }
                }
            }
        }
    }
}

/// What each algorithm is recommended for, the best first: forbidden ones among them.
unsafe fn recommend(order: &[(c_int, c_int)], wanted: c_int, count: *mut c_int, found: *mut Candidate) -> c_int {
    assert!(wanted >= 8);
    for (i, &(algorithm, deterministic)) in order.iter().enumerate() {
        let candidate = Candidate { algorithm, status: 0, time: -1.0, memory: 1, deterministic, math: 0, reserved: [0; 3] };
        unsafe { found.add(i).write(candidate) };
    }
    unsafe { *count = order.len() as c_int };
    0
}

/// Requires that a workspace is as it was asked for, and uses it.
unsafe fn used(algorithm: c_int, workspace: usize, bytes: usize) {
    assert!(algorithm == 1 && bytes >= WORKSPACE && workspace % 256 == 0);
    unsafe { (workspace as *mut u8).write_bytes(0xee, WORKSPACE) };
}

unsafe fn scales(dtype: c_int, alpha: *const c_void, beta: *const c_void) {
    let read = |number: *const c_void| unsafe {
        if dtype == 1 { number.cast::<f64>().read() } else { number.cast::<f32>().read().into() }
    };
    assert!(read(alpha) == 1.0 && read(beta) == 0.0);
}

fn told(what: &str, x: &Dims, w: &Dims, walk: &Walk) {
    let math = match (x.dtype, walk.math) { (0, 0) => " tf32", _ => "" };
    log(&format!("{what} {:?} by {:?} groups {}{math}", x.sizes, w.sizes, walk.groups));
}

unsafe fn size(algorithm: c_int, bytes: *mut usize) -> c_int {
    assert!(algorithm == 1);
    unsafe { *bytes = WORKSPACE };
    0
}

unsafe extern "C" fn run(task: *mut c_void) {
    // A captured task runs at each launch of its graph.
    unsafe { (*task.cast::<Box<dyn Fn()>>())() }
}

/// Does the work, or tells the driver of it where the stream is captured.
unsafe fn queue(work: Box<dyn Fn()>) -> c_int {
    unsafe extern "C" {
        fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
        fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    }
    type LaunchHostFunc = unsafe extern "system" fn(usize, unsafe extern "C" fn(*mut c_void), *mut c_void) -> u32;
    match STREAM.load(Ordering::Relaxed) {
        0x51 => work(),
        0x52 => unsafe {
            let driver = dlopen(c"libcuda.so.1".as_ptr(), 2);
            let launch: LaunchHostFunc = std::mem::transmute(dlsym(driver, c"cuLaunchHostFunc".as_ptr()));
            assert!(launch(0x52, run, Box::into_raw(Box::new(work)).cast()) == 0);
        },
        other => panic!("the stream {other:x}"),
    }
    0
}

api! {
    fn cudnnCreate(handle: *mut usize) { *handle = HANDLE; 0 }
    fn cudnnSetStream(handle: usize, stream: usize) {
        assert!(handle == HANDLE);
        STREAM.store(stream, Ordering::Relaxed);
        0
    }
    fn cudnnCreateTensorDescriptor(tensor: *mut *mut Dims) { *tensor = Box::into_raw(Box::default()); 0 }
    fn cudnnDestroyTensorDescriptor(tensor: *mut Dims) { drop(Box::from_raw(tensor)); 0 }
    fn cudnnSetTensorNdDescriptor(tensor: *mut Dims, dtype: c_int, count: c_int, sizes: *const c_int, strides: *const c_int) {
        let (sizes, strides) = (list(count, sizes), list(count, strides));
        let mut step = 1;
        for (size, stride) in sizes.iter().zip(&strides).rev() {
            assert_eq!(*stride, step, "contiguous");
            step *= size;
        }
        *tensor = Dims { dtype, sizes };
        0
    }
    fn cudnnCreateFilterDescriptor(filter: *mut *mut Dims) { *filter = Box::into_raw(Box::default()); 0 }
    fn cudnnDestroyFilterDescriptor(filter: *mut Dims) { drop(Box::from_raw(filter)); 0 }
    fn cudnnSetFilterNdDescriptor(filter: *mut Dims, dtype: c_int, format: c_int, count: c_int, sizes: *const c_int) {
        assert!(format == 0, "row by row");
        *filter = Dims { dtype, sizes: list(count, sizes) };
        0
    }
    fn cudnnCreateConvolutionDescriptor(walk: *mut *mut Walk) { *walk = Box::into_raw(Box::default()); 0 }
    fn cudnnDestroyConvolutionDescriptor(walk: *mut Walk) { drop(Box::from_raw(walk)); 0 }
    fn cudnnSetConvolutionNdDescriptor(
        walk: *mut Walk, count: c_int, padding: *const c_int, stride: *const c_int, dilation: *const c_int, mode: c_int,
        compute: c_int
    ) {
        assert!(mode == 1, "cross-correlation");
        let [padding, stride, dilation] = [list(count, padding), list(count, stride), list(count, dilation)];
        *walk = Walk { compute, padding, stride, dilation, groups: 1, math: 0 };
        0
    }
    fn cudnnSetConvolutionGroupCount(walk: *mut Walk, groups: c_int) { (*walk).groups = groups as usize; 0 }
    fn cudnnSetConvolutionMathType(walk: *mut Walk, math: c_int) { (*walk).math = math; 0 }
    fn cudnnGetConvolutionForwardAlgorithm_v7(
        handle: usize, x: *const Dims, w: *const Dims, walk: *const Walk, y: *const Dims, wanted: c_int,
        count: *mut c_int, found: *mut Candidate
    ) {
        assert!(handle == HANDLE);
        fit(&*x, &*w, &*walk, &*y);
        // Winograd first; then one that is said not to be deterministic.
        recommend(&[(6, 1), (2, 0), (0, 1), (1, 1)], wanted, count, found)
    }
    fn cudnnGetConvolutionBackwardDataAlgorithm_v7(
        handle: usize, w: *const Dims, y: *const Dims, walk: *const Walk, x: *const Dims, wanted: c_int,
        count: *mut c_int, found: *mut Candidate
    ) {
        assert!(handle == HANDLE);
        fit(&*x, &*w, &*walk, &*y);
        recommend(&[(0, 0), (4, 1), (1, 1)], wanted, count, found)
    }
    fn cudnnGetConvolutionBackwardFilterAlgorithm_v7(
        handle: usize, x: *const Dims, y: *const Dims, walk: *const Walk, w: *const Dims, wanted: c_int,
        count: *mut c_int, found: *mut Candidate
    ) {
        assert!(handle == HANDLE);
        fit(&*x, &*w, &*walk, &*y);
        recommend(&[(3, 0), (0, 1), (5, 1), (1, 1)], wanted, count, found)
    }
    fn cudnnGetConvolutionForwardWorkspaceSize(
        _handle: usize, x: *const Dims, w: *const Dims, walk: *const Walk, y: *const Dims, algorithm: c_int, bytes: *mut usize
    ) {
        fit(&*x, &*w, &*walk, &*y);
        // The first that is recommended cannot do it after all.
        if algorithm == 0 {
            return 3002;
        }
        size(algorithm, bytes)
    }
    fn cudnnGetConvolutionBackwardDataWorkspaceSize(
        _handle: usize, w: *const Dims, y: *const Dims, walk: *const Walk, x: *const Dims, algorithm: c_int, bytes: *mut usize
    ) {
        fit(&*x, &*w, &*walk, &*y);
        size(algorithm, bytes)
    }
    fn cudnnGetConvolutionBackwardFilterWorkspaceSize(
        _handle: usize, x: *const Dims, y: *const Dims, walk: *const Walk, w: *const Dims, algorithm: c_int, bytes: *mut usize
    ) {
        fit(&*x, &*w, &*walk, &*y);
        size(algorithm, bytes)
    }
    fn cudnnConvolutionForward(
        handle: usize, alpha: *const c_void, x_dims: *const Dims, x: usize, w_dims: *const Dims, w: usize,
        walk: *const Walk, algorithm: c_int, workspace: usize, bytes: usize, beta: *const c_void, y_dims: *const Dims, y: usize
    ) {
        assert!(handle == HANDLE);
        let (a, b, c, walk) = (&*x_dims, &*w_dims, &*y_dims, &*walk);
        fit(a, b, walk, c);
        scales(a.dtype, alpha, beta);
        let (a, b, c, walk) = (a.clone(), b.clone(), c.clone(), walk.clone());
        queue(Box::new(move || {
            used(algorithm, workspace, bytes);
            let mut sums = vec![0.0; c.sizes.iter().product()];
            each(&a, &b, &walk, &c, |i, j, k| sums[k] += load(a.dtype, x, i) * load(a.dtype, w, j));
            sums.iter().enumerate().for_each(|(k, &sum)| store(a.dtype, y, k, sum));
            told("forward", &a, &b, &walk);
        }))
    }
    fn cudnnConvolutionBackwardData(
        handle: usize, alpha: *const c_void, w_dims: *const Dims, w: usize, y_dims: *const Dims, y: usize,
        walk: *const Walk, algorithm: c_int, workspace: usize, bytes: usize, beta: *const c_void, x_dims: *const Dims, x: usize
    ) {
        assert!(handle == HANDLE);
        let (a, b, c, walk) = (&*x_dims, &*w_dims, &*y_dims, &*walk);
        fit(a, b, walk, c);
        scales(a.dtype, alpha, beta);
        let (a, b, c, walk) = (a.clone(), b.clone(), c.clone(), walk.clone());
        queue(Box::new(move || {
            used(algorithm, workspace, bytes);
            let mut sums = vec![0.0; a.sizes.iter().product()];
            each(&a, &b, &walk, &c, |i, j, k| sums[i] += load(a.dtype, y, k) * load(a.dtype, w, j));
            sums.iter().enumerate().for_each(|(i, &sum)| store(a.dtype, x, i, sum));
            told("input", &a, &b, &walk);
        }))
    }
    fn cudnnConvolutionBackwardFilter(
        handle: usize, alpha: *const c_void, x_dims: *const Dims, x: usize, y_dims: *const Dims, y: usize,
        walk: *const Walk, algorithm: c_int, workspace: usize, bytes: usize, beta: *const c_void, w_dims: *const Dims, w: usize
    ) {
        assert!(handle == HANDLE);
        let (a, b, c, walk) = (&*x_dims, &*w_dims, &*y_dims, &*walk);
        fit(a, b, walk, c);
        scales(a.dtype, alpha, beta);
        let (a, b, c, walk) = (a.clone(), b.clone(), c.clone(), walk.clone());
        queue(Box::new(move || {
            used(algorithm, workspace, bytes);
            let mut sums = vec![0.0; b.sizes.iter().product()];
            each(&a, &b, &walk, &c, |i, j, k| sums[j] += load(a.dtype, y, k) * load(a.dtype, x, i));
            sums.iter().enumerate().for_each(|(j, &sum)| store(a.dtype, w, j, sum));
            told("weight", &a, &b, &walk);
        }))
    }
}
