//! A driver whose device is the host: memory is `malloc`, everything is done at once, and there is one
//! kernel, `copy_arguments`. There are two devices, 10 and 11. `FAKE_FAIL=cuMemAlloc_v2=2` makes a function
//! return a code; `FAKE_FAIL=cuLaunchKernel=719@10` only while the context of device 10 is current.
#![allow(non_snake_case)]

use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Mutex;

const KERNEL: &str = "copy_arguments";
const TOTAL: usize = 128 << 20;

static BLOCKS: Mutex<Option<HashMap<u64, usize>>> = Mutex::new(None);

/// The contexts that streams were made in.
static STREAMS: Mutex<Vec<usize>> = Mutex::new(Vec::new());

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// The code that a function is to return, if any.
fn failing(function: &str) -> Option<c_uint> {
    let plan = std::env::var("FAKE_FAIL").ok()?;
    let (name, rest) = plan.split_once('=')?;
    let (code, device) = rest.split_once('@').unwrap_or((rest, ""));
    let here = device.is_empty() || device == CURRENT.get().to_string();
    (name == function && here).then(|| code.parse().unwrap())
}

macro_rules! api {
    ($(fn $name:ident($($param:ident: $ty:ty),*) $body:block)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "system" fn $name($($param: $ty),*) -> c_uint {
            if let Some(code) = failing(stringify!($name)) {
                return code;
            }
            unsafe { $body }
        }
    )*};
}

fn text(code: c_uint) -> Option<(&'static CStr, &'static CStr)> {
    Some(match code {
        0 => (c"CUDA_SUCCESS", c"no error"),
        2 => (c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
        101 => (c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal"),
        719 => (c"CUDA_ERROR_LAUNCH_FAILED", c"unspecified launch failure"),
        222 => (c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", c"the provided PTX was compiled with an unsupported toolchain."),
        _ => return None,
    })
}

fn take(bytes: usize) -> u64 {
    let address = unsafe { alloc(Layout::from_size_align(bytes, 256).unwrap()) } as u64;
    BLOCKS.lock().unwrap().get_or_insert_default().insert(address, bytes);
    address
}

fn give(address: u64) -> c_uint {
    let Some(bytes) = BLOCKS.lock().unwrap().get_or_insert_default().remove(&address) else { return 1 };
    unsafe { dealloc(address as *mut u8, Layout::from_size_align(bytes, 256).unwrap()) };
    0
}

fn used() -> usize {
    BLOCKS.lock().unwrap().get_or_insert_default().values().sum()
}

/// `copy_arguments(GLOBAL u8* out, i64 a, i32 b, { i64; 3 } c)`: writes grid, block and the arguments to `out`.
unsafe fn run(grid: [c_uint; 3], block: [c_uint; 3], params: *mut *mut c_void) -> c_uint {
    unsafe {
        let mut out = params.read().cast::<u64>().read() as *mut u8;
        let sizes = [grid[0], grid[1], grid[2], block[0], block[1], block[2]];
        for size in sizes {
            out.cast::<u32>().write_unaligned(size);
            out = out.add(4);
        }
        for (i, bytes) in [(1, 8), (2, 4), (3, 24)] {
            params.add(i).read().cast::<u8>().copy_to(out, bytes);
            out = out.add(bytes);
        }
    }
    0
}

/// A graph, or one that is ready to be launched: a chain of nodes.
#[derive(Clone, Default)]
struct Graph {
    nodes: Vec<Node>,
}

#[derive(Clone)]
enum Node {
    /// Grid and block, and the arguments' bytes: of the one kernel that there is.
    Kernel([c_uint; 6], [Vec<u8>; 4]),
    /// From, to, bytes.
    Copy(u64, u64, usize),
    /// What a library does: a function, and what it gets.
    Host(unsafe extern "C" fn(*mut c_void), usize),
    Child(Vec<Node>),
}

/// What has been queued in the stream that is captured.
static CAPTURED: Mutex<Option<Vec<Node>>> = Mutex::new(None);

fn launch(nodes: &[Node]) {
    for node in nodes {
        unsafe {
            match node {
                Node::Copy(from, to, bytes) => (*to as *mut u8).copy_from(*from as _, *bytes),
                Node::Kernel([gx, gy, gz, bx, by, bz], arguments) => {
                    let mut arguments = arguments.clone();
                    let mut pointers = arguments.each_mut().map(|bytes| bytes.as_mut_ptr().cast::<c_void>());
                    run([*gx, *gy, *gz], [*bx, *by, *bz], pointers.as_mut_ptr());
                }
                Node::Host(function, data) => function(*data as _),
                Node::Child(nodes) => launch(nodes),
            }
        }
    }
}

/// The sizes of the kernel's arguments.
const ARGUMENTS: [usize; 4] = [8, 8, 4, 24];

/// Graphs by handle; a node's handle is its graph's and its number.
static GRAPHS: Mutex<Option<HashMap<usize, Graph>>> = Mutex::new(None);

fn graphs<T>(f: impl FnOnce(&mut HashMap<usize, Graph>) -> T) -> T {
    f(GRAPHS.lock().unwrap().get_or_insert_default())
}

fn new_graph(graph: Graph) -> *mut c_void {
    graphs(|graphs| {
        let handle = 0x10000 * (1 + graphs.keys().max().unwrap_or(&0) / 0x10000);
        graphs.insert(handle, graph);
        handle as _
    })
}

/// Adds a node, which has to come behind the last.
unsafe fn add(
    out: *mut *mut c_void,
    graph: *mut c_void,
    before: *const *mut c_void,
    count: usize,
    node: Node,
) -> c_uint {
    graphs(|graphs| {
        let nodes = &mut graphs.get_mut(&(graph as usize)).expect("a graph").nodes;
        assert!(count == nodes.len().min(1), "a chain");
        unsafe {
            if count == 1 {
                assert!(before.read() as usize == graph as usize + nodes.len());
            }
            nodes.push(node);
            *out = (graph as usize + nodes.len()) as _;
        }
        0
    })
}

/// `CUDA_KERNEL_NODE_PARAMS_v2`, with the arguments copied.
unsafe fn kernel_node(params: *const c_void) -> Node {
    unsafe {
        let words = params.cast::<u8>();
        assert!(words.cast::<usize>().read() == 0x99, "the function");
        let sizes = words.add(8).cast::<[c_uint; 6]>().read();
        assert!(words.add(32).cast::<c_uint>().read() == 0, "shared memory");
        let arguments = words.add(40).cast::<*const *const u8>().read();
        assert!(words.add(48).cast::<[usize; 3]>().read() == [0; 3], "extra, kernel, context");
        let mut at = 0;
        Node::Kernel(sizes, ARGUMENTS.map(|bytes| {
            let argument = arguments.add(at).read();
            at += 1;
            std::slice::from_raw_parts(argument, bytes).to_vec()
        }))
    }
}

api! {
    fn cuGraphCreate(graph: *mut *mut c_void, flags: c_uint) {
        assert!(CURRENT.get() != 0);
        *graph = new_graph(Graph::default());
        flags
    }
    fn cuGraphAddKernelNode_v2(
        node: *mut *mut c_void, graph: *mut c_void, before: *const *mut c_void, count: usize,
        params: *const c_void
    ) {
        add(node, graph, before, count, kernel_node(params))
    }
    fn cuGraphAddMemcpyNode(
        node: *mut *mut c_void, graph: *mut c_void, before: *const *mut c_void, count: usize,
        copy: *const c_void, context: *mut c_void
    ) {
        assert!(context as usize == CURRENT.get());
        // srcXInBytes … srcLOD, srcMemoryType, srcHost, srcDevice, srcArray, reserved0, srcPitch, srcHeight,
        // the same for dst, WidthInBytes, Height, Depth, as in the header.
        let words = copy.cast::<[usize; 25]>().read();
        let side = |words: &[usize]| {
            assert!(words[..4] == [0; 4] && words[4] as u32 == 2 && words[5] == 0 && words[7..9] == [0; 2]);
            assert!(words[9..] == [copy.cast::<usize>().add(22).read(), 1]);
            words[6] as u64
        };
        let [from, to] = [side(&words[..11]), side(&words[11..22])];
        assert!(words[23..] == [1, 1]);
        add(node, graph, before, count, Node::Copy(from, to, words[22]))
    }
    fn cuGraphInstantiateWithFlags(ready: *mut *mut c_void, graph: *mut c_void, flags: u64) {
        assert!(flags == 0);
        let graph = graphs(|graphs| graphs[&(graph as usize)].clone());
        *ready = new_graph(graph);
        0
    }
    fn cuGraphExecKernelNodeSetParams_v2(ready: *mut c_void, node: *mut c_void, params: *const c_void) {
        let number = node as usize % 0x10000 - 1;
        graphs(|graphs| {
            let node = &mut graphs.get_mut(&(ready as usize)).expect("a graph").nodes[number];
            assert!(matches!(node, Node::Kernel(..)));
            *node = kernel_node(params);
        });
        0
    }
    fn cuGraphLaunch(ready: *mut c_void, stream: *mut c_void) {
        assert!(stream as usize == 0x51);
        launch(&graphs(|graphs| graphs[&(ready as usize)].nodes.clone()));
        0
    }
    fn cuGraphAddChildGraphNode(
        node: *mut *mut c_void, graph: *mut c_void, before: *const *mut c_void, count: usize, child: *mut c_void
    ) {
        let child = graphs(|graphs| graphs[&(child as usize)].nodes.clone());
        add(node, graph, before, count, Node::Child(child))
    }
    fn cuStreamBeginCapture_v2(stream: *mut c_void, mode: c_uint) {
        assert!(stream as usize == 0x52 && mode == 2);
        assert!(CAPTURED.lock().unwrap().replace(Vec::new()).is_none());
        0
    }
    fn cuStreamEndCapture(stream: *mut c_void, graph: *mut *mut c_void) {
        assert!(stream as usize == 0x52);
        let nodes = CAPTURED.lock().unwrap().take().expect("a capture");
        *graph = new_graph(Graph { nodes });
        0
    }
    fn cuLaunchHostFunc(stream: *mut c_void, function: unsafe extern "C" fn(*mut c_void), data: *mut c_void) {
        assert!(stream as usize == 0x52, "nothing runs there");
        CAPTURED.lock().unwrap().as_mut().expect("a capture").push(Node::Host(function, data as usize));
        0
    }
    fn cuGraphExecDestroy(ready: *mut c_void) {
        graphs(|graphs| graphs.remove(&(ready as usize))).expect("a graph");
        0
    }
    fn cuGraphDestroy(graph: *mut c_void) {
        graphs(|graphs| graphs.remove(&(graph as usize))).expect("a graph");
        0
    }
    fn cuInit(flags: c_uint) { flags }
    fn cuDriverGetVersion(version: *mut c_int) {
        *version = std::env::var("FAKE_DRIVER_VERSION").map_or(13000, |version| version.parse().unwrap());
        0
    }
    fn cuDeviceGetCount(count: *mut c_int) { *count = 2; 0 }
    fn cuDeviceGet(device: *mut c_int, number: c_int) {
        *device = number + 10;
        if (0..2).contains(&number) { 0 } else { 101 }
    }
    fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) {
        let text = format!("Fake {}\0", device - 10);
        assert!(text.len() <= length as usize);
        name.cast::<u8>().copy_from(text.as_ptr(), text.len());
        0
    }
    fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_uint, device: c_int) {
        assert!(device >= 10);
        *value = match attribute {
            1 => 1024,      // threads of a block
            8 => 49152,     // shared memory
            10 => 32,       // warp
            16 => 4,        // multiprocessors
            // Compute capability.
            75 => std::env::var("FAKE_CAPABILITY").map_or(9, |major| major.parse().unwrap()),
            76 => 0,
            97 => 232448,   // shared memory that may be asked for
            115 => device - 10, // memory pools: of the second
            _ => return 1,
        };
        0
    }
    fn cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) { *bytes = TOTAL; 0 }
    fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, device: c_int) {
        *context = device as usize as *mut c_void;
        0
    }
    fn cuCtxSetCurrent(context: *mut c_void) { CURRENT.set(context as usize); 0 }
    fn cuGetErrorName(code: c_uint, name: *mut *const c_char) {
        *name = text(code).map_or(std::ptr::null(), |(name, _)| name.as_ptr());
        text(code).map_or(1, |_| 0)
    }
    fn cuGetErrorString(code: c_uint, name: *mut *const c_char) {
        *name = text(code).map_or(std::ptr::null(), |(_, text)| text.as_ptr());
        text(code).map_or(1, |_| 0)
    }
    fn cuStreamCreate(stream: *mut *mut c_void, _flags: c_uint) {
        // The first of a device, and others, where nothing but captures comes.
        let mut known = STREAMS.lock().unwrap();
        let first = !known.contains(&CURRENT.get());
        known.push(CURRENT.get());
        *stream = if first { 0x51 } else { 0x52 } as _;
        0
    }
    fn cuStreamSynchronize(stream: *mut c_void) { assert!(stream as usize == 0x51); 0 }
    fn cuEventCreate(event: *mut *mut c_void, _flags: c_uint) { *event = take(8) as _; 0 }
    fn cuEventRecord(_event: *mut c_void, stream: *mut c_void) { assert!(stream as usize == 0x51); 0 }
    fn cuEventQuery(_event: *mut c_void) { 0 }
    fn cuEventSynchronize(_event: *mut c_void) { 0 }
    fn cuEventElapsedTime_v2(milliseconds: *mut f32, _start: *mut c_void, _end: *mut c_void) {
        *milliseconds = std::env::var("FAKE_MILLISECONDS").map_or(0.0, |time| time.parse().unwrap());
        0
    }
    fn cuEventDestroy_v2(event: *mut c_void) { give(event as u64) }
    fn cuMemAlloc_v2(address: *mut u64, bytes: usize) {
        if bytes > TOTAL - used().min(TOTAL) { return 2 }
        *address = take(bytes);
        0
    }
    fn cuMemAllocAsync(address: *mut u64, bytes: usize, stream: *mut c_void) {
        assert!(stream as usize == 0x51);
        cuMemAlloc_v2(address, bytes)
    }
    fn cuMemFreeAsync(address: u64, stream: *mut c_void) {
        assert!(stream as usize == 0x51);
        give(address)
    }
    fn cuMemFree_v2(address: u64) { give(address) }
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        *free = TOTAL - used().min(TOTAL);
        *total = TOTAL;
        0
    }
    fn cuMemHostAlloc(address: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        *address = take(bytes) as _;
        0
    }
    fn cuMemFreeHost(address: *mut c_void) { give(address as u64) }
    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, _stream: *mut c_void) {
        from.cast::<u8>().copy_to(to as _, bytes);
        0
    }
    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, _stream: *mut c_void) {
        to.cast::<u8>().copy_from(from as _, bytes);
        0
    }
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, _stream: *mut c_void) {
        (to as *mut u8).copy_from(from as _, bytes);
        0
    }
    fn cuModuleLoadData(module: *mut *mut c_void, image: *const c_void) {
        // The compiler's stand-in gives the source as the binary.
        let image = CStr::from_ptr(image.cast()).to_bytes();
        *module = 0x77 as _;
        if image.windows(4).any(|word| word == b"void") { 0 } else { 200 }
    }
    fn cuModuleGetFunction(function: *mut *mut c_void, _module: *mut c_void, name: *const c_char) {
        *function = 0x99 as _;
        if CStr::from_ptr(name).to_str() == Ok(KERNEL) { 0 } else { 500 }
    }
    fn cuModuleUnload(module: *mut c_void) { assert!(module as usize == 0x77); 0 }
    fn cuLaunchKernel(
        function: *mut c_void, gx: c_uint, gy: c_uint, gz: c_uint, bx: c_uint, by: c_uint, bz: c_uint,
        shared: c_uint, stream: *mut c_void, params: *mut *mut c_void, extra: *mut *mut c_void
    ) {
        assert!(function as usize == 0x99 && stream as usize == 0x51 && shared == 0 && extra.is_null());
        run([gx, gy, gz], [bx, by, bz], params)
    }
    fn cuLaunchKernelEx(config: *const c_void, function: *mut c_void, params: *mut *mut c_void, extra: *mut *mut c_void) {
        assert!(function as usize == 0x99 && extra.is_null());
        // gridDimX … sharedMemBytes, hStream, attrs, numAttrs, as in the header.
        let sizes = config.cast::<[c_uint; 7]>().read();
        let attributes = config.cast::<u8>().add(40).cast::<*const c_uint>().read();
        let count = config.cast::<u8>().add(48).cast::<c_uint>().read();
        assert!(config.cast::<u8>().add(32).cast::<usize>().read() == 0x51);
        assert!(count == 2);
        for i in 0..2 {
            // id, padding, value: 72 bytes each.
            let attribute = attributes.add(18 * i);
            assert!(attribute.read() == 4 && attribute.add(2).read() == 2 + i as c_uint);
        }
        run([sizes[0], sizes[1], sizes[2]], [sizes[3], sizes[4], sizes[5]], params)
    }
    fn cuTensorMapEncodeTiled(
        map: *mut u64, dtype: c_uint, rank: c_uint, address: *mut c_void, sizes: *const u64,
        strides: *const u64, tile: *const c_uint, steps: *const c_uint, interleave: c_uint, swizzle: c_uint,
        promotion: c_uint, fill: c_uint
    ) {
        assert!((map as usize).is_multiple_of(64) && rank == 2);
        let numbers = [
            dtype.into(), address as u64, *sizes, *sizes.add(1), *strides, (*tile).into(), (*tile.add(1)).into(),
            (*steps).into(), interleave.into(), swizzle.into(), promotion.into(), fill.into(),
        ];
        for (i, number) in numbers.into_iter().enumerate() {
            map.add(i).write(number);
        }
        0
    }
}
