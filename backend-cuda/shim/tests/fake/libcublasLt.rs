//! cuBLASLt 13.1.2, which computes on the host and is strict about what it is asked for. Each product is a line in the
//! file that `FAKE_LOG` names. `FAKE_CUBLASLT_VERSION` changes what it says that it is; `FAKE_FAIL=cublasLtMatmul=14`
//! makes a function return a status.
#![allow(non_snake_case)]

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::io::Write;

type Attributes = HashMap<c_int, Vec<u8>>;

/// `cublasLtMatrixLayout_t`.
#[derive(Clone)]
struct Layout {
    dtype: c_int,
    rows: usize,
    columns: usize,
    ld: usize,
    more: Attributes,
}

/// `cublasLtMatmulDesc_t`.
#[derive(Clone)]
struct Product {
    compute: c_int,
    scale: c_int,
    more: Attributes,
}

#[repr(C)]
struct Heuristic {
    algorithm: [u64; 8],
    workspace: usize,
    status: c_int,
    waves: f32,
    reserved: [c_int; 4],
}

const HANDLE: usize = 0xb1a5;
const NOT_SUPPORTED: c_int = 15;
const INVALID_VALUE: c_int = 7;
/// Bytes that products with many terms want beside them.
const WORKSPACE: usize = 4096;

/// The status that a function is to return, if any.
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
pub unsafe extern "C" fn cublasLtGetVersion() -> usize {
    std::env::var("FAKE_CUBLASLT_VERSION").map_or(130_102, |version| version.parse().unwrap())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtGetStatusString(status: c_int) -> *const c_char {
    match status {
        1 => c"the library was not initialized",
        14 => c"an internal operation failed",
        15 => c"the requested functionality is not supported",
        _ => c"unknown",
    }
    .as_ptr()
}

fn number(attributes: &Attributes, attribute: c_int, size: usize, default: i64) -> i64 {
    let Some(bytes) = attributes.get(&attribute) else { return default };
    assert_eq!(bytes.len(), size, "the length of attribute {attribute}");
    match size {
        4 => i32::from_ne_bytes(bytes[..].try_into().unwrap()).into(),
        _ => i64::from_ne_bytes(bytes[..].try_into().unwrap()),
    }
}

unsafe fn set(attributes: &mut Attributes, known: &[(c_int, usize)], attribute: c_int, value: *const u8, size: usize) -> c_int {
    assert!(known.contains(&(attribute, size)), "attribute {attribute} of {size} bytes");
    let bytes = unsafe { std::slice::from_raw_parts(value, size) };
    attributes.insert(attribute, bytes.to_vec());
    0
}

fn size(dtype: c_int) -> usize {
    match dtype {
        0 => 4,
        1 => 8,
        2 | 14 => 2,
        _ => panic!("data type {dtype}"),
    }
}

fn half(bits: u16) -> f64 {
    let (sign, exponent, mantissa) = (bits >> 15, i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let value = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 => f64::INFINITY,
        _ => (1024.0 + mantissa) * 2f64.powi(exponent - 25),
    };
    if sign == 1 { -value } else { value }
}

unsafe fn load(dtype: c_int, address: usize) -> f64 {
    unsafe {
        match dtype {
            0 => (address as *const f32).read().into(),
            1 => (address as *const f64).read(),
            2 => half((address as *const u16).read()),
            _ => f32::from_bits(u32::from((address as *const u16).read()) << 16).into(),
        }
    }
}

/// The values of the tests are exact in all dtypes, so nothing is rounded.
unsafe fn store(dtype: c_int, address: usize, value: f64) {
    unsafe {
        match dtype {
            0 => (address as *mut f32).write(value as f32),
            1 => (address as *mut f64).write(value),
            2 => {
                let bits = (0..=u16::MAX).find(|&bits| half(bits) == value);
                (address as *mut u16).write(bits.expect("a value that f16 has"));
            }
            _ => {
                let bits = (value as f32).to_bits();
                assert!(bits & 0xffff == 0, "a value that bf16 has");
                (address as *mut u16).write((bits >> 16) as u16);
            }
        }
    }
}

impl Layout {
    fn count(&self) -> usize { number(&self.more, 5, 4, 1) as usize }
    fn step(&self) -> usize { number(&self.more, 6, 8, 0) as usize }

    /// The address of an element.
    fn at(&self, base: usize, matrix: usize, row: usize, column: usize) -> usize {
        assert!(row < self.rows && column < self.columns && matrix < self.count());
        base + (matrix * self.step() + column * self.ld + row) * size(self.dtype)
    }
}

impl Product {
    fn transposed(&self, side: c_int) -> bool { number(&self.more, 3 + side, 4, 0) == 1 }
    fn epilogue(&self) -> i64 { number(&self.more, 7, 4, 1) }
    fn vector(&self) -> usize { number(&self.more, 8, 8, 0) as usize }

    /// Where element `i` of the memory beside the result lies; its matrices lie like those of `d`.
    fn aux(&self, d: &Layout, matrix: usize, i: usize, j: usize) -> usize {
        let [ld, step] = [12, 13].map(|attribute| number(&self.more, attribute, 8, 0) as usize);
        assert!(ld % 8 == 0 && step % 8 == 0 && ld >= d.rows, "{ld} and {step} apart");
        number(&self.more, 11, 8, 0) as usize + (matrix * step + j * ld + i) * size(d.dtype)
    }
}

/// The sizes `[m, n, k]` of a product that makes sense.
fn sizes(product: &Product, [a, b, d]: [&Layout; 3]) -> [usize; 3] {
    let wanted = |side, x: &Layout| if product.transposed(side) { (x.columns, x.rows) } else { (x.rows, x.columns) };
    let ((m, k), (k2, n)) = (wanted(0, a), wanted(1, b));
    assert_eq!((k, m, n), (k2, d.rows, d.columns), "sizes");
    assert!(a.dtype == b.dtype && b.dtype == d.dtype, "data types");
    assert!(a.count() == b.count() && b.count() == d.count(), "batches");
    // Compute types are 32F, 32F_FAST_16BF, 32F_FAST_TF32 and 64F.
    match d.dtype {
        0 => assert!([68, 75, 77].contains(&product.compute) && product.scale == 0),
        1 => assert!(product.compute == 70 && product.scale == 1),
        _ => assert!(product.compute == 68 && product.scale == 0),
    }
    [m, n, k]
}

/// A product that was asked for.
struct Work {
    product: Product,
    layouts: [Layout; 3],
    sizes: [usize; 3],
    at: [usize; 3],
    workspace: usize,
}

impl Work {
    unsafe fn run(&self) {
        let Work { product, layouts: [x, y, z], sizes: [m, n, k], at: [a, b, d], workspace } = self;
        let [m, n, k, a, b, d] = [*m, *n, *k, *a, *b, *d];
        if k >= 64 {
            // Whoever has this memory for something else will see it.
            unsafe { (*workspace as *mut u8).write_bytes(0xee, WORKSPACE) };
        }
        unsafe {
            for matrix in 0..z.count() {
                for i in 0..m {
                    for j in 0..n {
                        let mut sum = 0.0;
                        for p in 0..k {
                            let (r, c) = if product.transposed(0) { (p, i) } else { (i, p) };
                            let left = load(x.dtype, x.at(a, matrix, r, c));
                            let (r, c) = if product.transposed(1) { (j, p) } else { (p, j) };
                            sum += left * load(y.dtype, y.at(b, matrix, r, c));
                        }
                        if product.epilogue() & 4 != 0 {
                            sum += load(z.dtype, product.vector() + i * size(z.dtype));
                        }
                        if product.epilogue() & 128 != 0 {
                            store(z.dtype, product.aux(z, matrix, i, j), sum);
                        }
                        let value = match product.epilogue() & (2 | 32) {
                            0 => sum,
                            2 => sum.max(0.0),
                            _ => sum / 2.0 * (1.0 + (0.7978845608028654 * (sum + 0.044715 * sum.powi(3))).tanh()),
                        };
                        store(z.dtype, z.at(d, matrix, i, j), value);
                    }
                }
            }
            if product.epilogue() == 512 {
                assert!(z.count() == 1);
                for j in 0..n {
                    let term = |p| load(y.dtype, if product.transposed(1) { y.at(b, 0, j, p) } else { y.at(b, 0, p, j) });
                    store(z.dtype, product.vector() + j * size(z.dtype), (0..k).map(term).sum());
                }
            }
            let precision = match product.compute { 75 => " bf16", 77 => " tf32", _ => "" };
            let batch = if z.count() > 1 { format!("{} times ", z.count()) } else { String::new() };
            log(&format!("run {batch}{m}x{n}x{k} epilogue {}{precision}", product.epilogue()));
        }
    }
}

unsafe extern "C" fn run(work: *mut c_void) {
    unsafe { (*work.cast::<Work>()).run() }
}

/// Work in a stream that is captured: the driver is told of it.
unsafe fn later(work: Work) {
    unsafe extern "C" {
        fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
        fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    }
    type LaunchHostFunc = unsafe extern "system" fn(usize, unsafe extern "C" fn(*mut c_void), *mut c_void) -> u32;
    unsafe {
        let driver = dlopen(c"libcuda.so.1".as_ptr(), 2);
        let launch: LaunchHostFunc = std::mem::transmute(dlsym(driver, c"cuLaunchHostFunc".as_ptr()));
        assert!(launch(0x52, run, Box::into_raw(Box::new(work)).cast()) == 0);
    }
}

api! {
    fn cublasLtCreate(handle: *mut usize) { *handle = HANDLE; 0 }
    fn cublasLtMatrixLayoutCreate(layout: *mut *mut Layout, dtype: c_int, rows: u64, columns: u64, ld: i64) {
        assert!(rows > 0 && columns > 0 && ld >= rows as i64, "{rows} × {columns}, {ld} apart");
        let [rows, columns, ld] = [rows as usize, columns as usize, ld as usize];
        *layout = Box::into_raw(Box::new(Layout { dtype, rows, columns, ld, more: HashMap::new() }));
        0
    }
    fn cublasLtMatrixLayoutSetAttribute(layout: *mut Layout, attribute: c_int, value: *const u8, size: usize) {
        set(&mut (*layout).more, &[(5, 4), (6, 8)], attribute, value, size)
    }
    fn cublasLtMatrixLayoutDestroy(layout: *mut Layout) { drop(Box::from_raw(layout)); 0 }
    fn cublasLtMatmulDescCreate(product: *mut *mut Product, compute: c_int, scale: c_int) {
        *product = Box::into_raw(Box::new(Product { compute, scale, more: HashMap::new() }));
        0
    }
    fn cublasLtMatmulDescSetAttribute(product: *mut Product, attribute: c_int, value: *const u8, size: usize) {
        let known = [(3, 4), (4, 4), (7, 4), (8, 8), (11, 8), (12, 8), (13, 8)];
        set(&mut (*product).more, &known, attribute, value, size)
    }
    fn cublasLtMatmulDescDestroy(product: *mut Product) { drop(Box::from_raw(product)); 0 }
    fn cublasLtMatmulPreferenceCreate(preference: *mut *mut Attributes) {
        *preference = Box::into_raw(Box::default());
        0
    }
    fn cublasLtMatmulPreferenceSetAttribute(preference: *mut Attributes, attribute: c_int, value: *const u8, size: usize) {
        let known = [(1, 8), (3, 4), (5, 4), (6, 4), (7, 4), (8, 4)];
        set(&mut *preference, &known, attribute, value, size)
    }
    fn cublasLtMatmulPreferenceDestroy(preference: *mut Attributes) { drop(Box::from_raw(preference)); 0 }
    fn cublasLtMatmulAlgoGetHeuristic(
        handle: usize, product: *const Product, a: *const Layout, b: *const Layout, c: *const Layout, d: *const Layout,
        preference: *const Attributes, wanted: c_int, results: *mut Heuristic, found: *mut c_int
    ) {
        assert!(handle == HANDLE && wanted == 1 && c == d);
        let (product, preference) = (&*product, &*preference);
        let [m, n, k] = sizes(product, [&*a, &*b, &*d]);
        assert!(number(preference, 1, 8, 0) >= 1 << 20, "workspace");
        // Neither in the result's memory nor in its dtype.
        assert_eq!(number(preference, 3, 4, 7), 2, "reduction schemes");
        let alignment = [5, 6, 7, 8].map(|attribute| number(preference, attribute, 4, 256) as u64);
        if product.epilogue() != 1 && (*d).dtype == 1 {
            return NOT_SUPPORTED;
        }
        let epilogue = product.epilogue();
        assert!([1, 2, 4, 6, 32, 36, 160, 164, 512].contains(&epilogue), "epilogue {epilogue}");
        assert!((epilogue & (4 | 512) != 0) == (product.vector() != 0), "a pointer where there is a vector");
        assert!((epilogue & 128 != 0) == (number(&product.more, 11, 8, 0) != 0), "a pointer where something is kept");
        log(&format!(
            "plan {m}x{n}x{k} {}{} ld {} {} {} aligned {} {} {}",
            if product.transposed(0) { 'T' } else { 'N' },
            if product.transposed(1) { 'T' } else { 'N' },
            (*a).ld, (*b).ld, (*d).ld, alignment[0], alignment[1], alignment[3]
        ));
        let workspace = if k >= 64 { WORKSPACE } else { 0 };
        let algorithm = [m as u64, n as u64, k as u64, alignment[0], alignment[1], alignment[2], alignment[3], 0xa160];
        *results = Heuristic { algorithm, workspace, status: 0, waves: 1.0, reserved: [0; 4] };
        *found = 1;
        0
    }
    fn cublasLtMatmul(
        handle: usize, product: *const Product, alpha: *const c_void, a: usize, a_layout: *const Layout, b: usize,
        b_layout: *const Layout, beta: *const c_void, c: usize, c_layout: *const Layout, d: usize,
        d_layout: *const Layout, algorithm: *const [u64; 8], workspace: usize, bytes: usize, stream: usize
    ) {
        assert!(handle == HANDLE && c == d && c_layout == d_layout);
        let (product, x, y, z) = (&*product, &*a_layout, &*b_layout, &*d_layout);
        let [m, n, k] = sizes(product, [x, y, z]);
        assert!((*algorithm)[..3] == [m as u64, n as u64, k as u64] && (*algorithm)[7] == 0xa160, "the plan's algorithm");
        for (address, alignment) in [a, b, c, d].iter().zip(&(&*algorithm)[3..7]) {
            assert!(address % *alignment as usize == 0, "{address:x} is not aligned to {alignment}");
        }
        if k >= 64 {
            assert!(bytes >= WORKSPACE && workspace % 256 == 0);
        }
        let double = product.scale == 1;
        let scale = |number: *const c_void| if double { number.cast::<f64>().read() } else { number.cast::<f32>().read().into() };
        assert!(scale(alpha) == 1.0 && scale(beta) == 0.0);
        let layouts = [x, y, z].map(Layout::clone);
        let work = Work { product: product.clone(), layouts, sizes: [m, n, k], at: [a, b, d], workspace };
        match stream {
            0x51 => work.run(),
            0x52 => later(work),
            other => panic!("the stream {other:x}"),
        }
        0
    }
}
