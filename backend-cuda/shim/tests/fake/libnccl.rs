//! NCCL 2.32.3, whose devices are one host. `FAKE_FAIL=ncclAllReduce=3` makes a function return a status.
#![allow(non_snake_case)]

use std::ffi::{c_char, c_int};
use std::sync::Mutex;

/// What a group has asked for: memory, count, data type, the root of a broadcast, and the rank.
type Call = (usize, usize, c_int, Option<c_int>, usize);

static RANKS: Mutex<usize> = Mutex::new(0);
static CALLS: Mutex<Option<Vec<Call>>> = Mutex::new(None);

fn failing(function: &str) -> Option<c_int> {
    let plan = std::env::var("FAKE_FAIL").ok()?;
    let (name, code) = plan.split_once('=')?;
    (name == function).then(|| code.parse().unwrap())
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
pub unsafe extern "C" fn ncclGetErrorString(_status: c_int) -> *const c_char {
    c"internal error".as_ptr()
}

/// A communicator is 0xc00 and its rank.
fn ask(from: usize, to: usize, count: usize, dtype: c_int, root: Option<c_int>, communicator: usize, stream: usize) -> c_int {
    assert!(from == to && stream == 0x51 && communicator >= 0xc00);
    CALLS.lock().unwrap().as_mut().expect("inside of a group").push((to, count, dtype, root, communicator - 0xc00));
    0
}

api! {
    fn ncclGetVersion(version: *mut c_int) { *version = 23_203; 0 }
    fn ncclCommInitAll(communicators: *mut usize, count: c_int, devices: *const c_int) {
        for rank in 0..count as usize {
            assert_eq!(*devices.add(rank), rank as c_int);
            *communicators.add(rank) = 0xc00 + rank;
        }
        *RANKS.lock().unwrap() = count as usize;
        0
    }
    fn ncclCommDestroy(communicator: usize) { assert!(communicator >= 0xc00); 0 }
    fn ncclGroupStart() { *CALLS.lock().unwrap() = Some(Vec::new()); 0 }
    fn ncclGroupEnd() {
        let calls = CALLS.lock().unwrap().take().expect("a group");
        if calls.len() != *RANKS.lock().unwrap() {
            // Left alone after a failure.
            return 5;
        }
        let (_, count, dtype, root, _) = calls[0];
        assert!(calls.iter().all(|call| (call.1, call.2, call.3) == (count, dtype, root)) && dtype == 7);
        let numbers = |call: &Call| std::slice::from_raw_parts_mut(call.0 as *mut f32, count);
        for i in 0..count {
            let value = match root {
                Some(root) => numbers(calls.iter().find(|call| call.4 == root as usize).unwrap())[i],
                None => calls.iter().map(|call| numbers(call)[i]).sum(),
            };
            calls.iter().for_each(|call| numbers(call)[i] = value);
        }
        0
    }
    fn ncclAllReduce(from: usize, to: usize, count: usize, dtype: c_int, op: c_int, communicator: usize, stream: usize) {
        assert!(op == 0);
        ask(from, to, count, dtype, None, communicator, stream)
    }
    fn ncclBroadcast(from: usize, to: usize, count: usize, dtype: c_int, root: c_int, communicator: usize, stream: usize) {
        ask(from, to, count, dtype, Some(root), communicator, stream)
    }
}
