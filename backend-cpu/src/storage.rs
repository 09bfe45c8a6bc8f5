//! Elements in the host's memory: shared handles, locks, and access to the elements as slices.
//!
//! A block is one piece of memory: a header with the count of handles, a lock and a version, then the
//! elements. [`Locked`] is the only way to the elements of a tensor that others may hold; [`Fresh`]
//! is a tensor that nobody else holds yet.

mod blocks;

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use kiln_tensor_core::{DType, Error, HostMemory, Layout, Placed, Shape, Tensor, raise};
use parking_lot::lock_api::RawRwLock as _;
use parking_lot::{MappedRwLockReadGuard, MappedRwLockWriteGuard, RawRwLock};
use smallvec::SmallVec;

pub use blocks::empty_cache;
pub(crate) use blocks::{reset_peak, stats};

use crate::{Cpu, CpuDevice};

/// A handle to elements in the host's memory; clones share them.
pub struct Storage(NonNull<Header>);

/// What precedes the elements of a block.
#[repr(C, align(64))]
struct Header {
    handles: AtomicUsize,
    lock: RawRwLock,
    version: AtomicU64,
    /// Bytes of elements.
    len: usize,
    /// Bytes of the whole block, as the allocator knows it.
    block: usize,
    /// Memory of the program that holds the elements instead of the block.
    shared: Option<Arc<dyn HostMemory>>,
}

const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 64);

// SAFETY: the header is only read, or changed through atomics; elements are reached through the lock.
unsafe impl Send for Storage {}
// SAFETY: as above.
unsafe impl Sync for Storage {}

impl Storage {
    /// Room for `len` bytes of elements, aligned to 64, with unspecified content.
    pub(crate) fn new(len: usize) -> Self {
        Self::with(len, len, None)
    }

    /// Elements in a buffer of the program.
    pub(crate) fn adopt(memory: Arc<dyn HostMemory>, len: usize) -> Self {
        Self::with(0, len, Some(memory))
    }

    fn with(room: usize, len: usize, shared: Option<Arc<dyn HostMemory>>) -> Self {
        let (memory, block) = match room.checked_add(HEADER).and_then(blocks::take) {
            Some(taken) => taken,
            None => out_of_memory(room),
        };
        let header = Header {
            handles: AtomicUsize::new(1),
            lock: RawRwLock::INIT,
            version: AtomicU64::new(0),
            len,
            block,
            shared,
        };
        let at = memory.cast::<Header>();
        // SAFETY: the block has room for a header, is aligned to 64, and belongs to this handle alone.
        unsafe { at.write(header) };
        blocks::count(room);
        Storage(at)
    }

    fn header(&self) -> &Header {
        // SAFETY: the header lives as long as any handle.
        unsafe { self.0.as_ref() }
    }

    /// The block's own elements.
    fn data(&self) -> *mut u8 {
        // SAFETY: the elements follow the header inside the block.
        unsafe { self.0.as_ptr().cast::<u8>().add(HEADER) }
    }

    /// Bytes of elements.
    pub(crate) fn len(&self) -> usize {
        self.header().len
    }

    /// How many times the elements have been written in place.
    pub(crate) fn version(&self) -> u64 {
        self.header().version.load(Ordering::Acquire)
    }

    /// Whether this is the only handle to memory that no program shares.
    pub(crate) fn is_unique(&self) -> bool {
        self.header().handles.load(Ordering::Acquire) == 1 && self.header().shared.is_none()
    }

    /// What both handles to one memory have in common; locks are taken in its order.
    pub(crate) fn key(&self) -> usize {
        match &self.header().shared {
            Some(memory) => Arc::as_ptr(memory).cast::<u8>() as usize,
            None => self.0.as_ptr() as usize,
        }
    }
}

#[cold]
fn out_of_memory(len: usize) -> ! {
    raise(Error::Backend { device: "cpu".into(), why: format!("out of memory: {len} bytes") })
}

impl Clone for Storage {
    fn clone(&self) -> Self {
        let before = self.header().handles.fetch_add(1, Ordering::Relaxed);
        assert!(before < usize::MAX / 2, "too many handles to a storage");
        Storage(self.0)
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // A handle that is alone stays alone, as there is none to clone: no need to count down.
        let handles = &self.header().handles;
        if handles.load(Ordering::Acquire) != 1 && handles.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        // SAFETY: this was the last handle, so nobody reads the header or the elements any more.
        let header = unsafe { self.0.read() };
        if header.shared.is_none() {
            blocks::uncount(header.len);
        }
        // SAFETY: the block came from `take` with this size, and nobody refers to it.
        unsafe { blocks::give(self.0.cast(), header.block) };
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Storage({} bytes, version {})", self.len(), self.version())
    }
}

/// A Rust type that elements can be seen as: any bytes are a value. Bools are seen as `u8`.
pub(crate) trait Plain: bytemuck::Pod + Send + Sync {}
impl<T: bytemuck::Pod + Send + Sync> Plain for T {}

/// Locks on the storages of some tensors: shared ones to read, exclusive ones to write. Each storage
/// is locked once, in order of address, so that two operations never wait for each other.
pub(crate) struct Locked<'a> {
    held: SmallVec<[Held<'a>; 4]>,
}

struct Held<'a> {
    key: usize,
    write: bool,
    storage: &'a Storage,
    data: *mut u8,
    guard: Guard<'a>,
}

#[allow(dead_code, reason = "guards are kept for their drop")]
enum Guard<'a> {
    None,
    Own,
    Read(MappedRwLockReadGuard<'a, [u8]>),
    Write(MappedRwLockWriteGuard<'a, [u8]>),
}

impl<'a> Locked<'a> {
    /// Locks to read all of `tensors`.
    pub(crate) fn read(tensors: &[&'a Tensor<Cpu>]) -> Self {
        Self::new(tensors, &[])
    }

    /// Locks to read `reads` and to write `writes`, whose versions go up. A storage in both lists is
    /// locked for writing.
    pub(crate) fn new(reads: &[&'a Tensor<Cpu>], writes: &[&'a Tensor<Cpu>]) -> Self {
        let mut held: SmallVec<[Held<'a>; 4]> = SmallVec::new();
        let all = reads.iter().map(|x| (x, false)).chain(writes.iter().map(|x| (x, true)));
        for (x, write) in all {
            let storage = x.storage();
            let key = storage.key();
            let at = held.partition_point(|h| h.key < key);
            if at < held.len() && held[at].key == key {
                held[at].write |= write;
            } else {
                let data = storage.data();
                held.insert(at, Held { key, write, storage, data, guard: Guard::None });
            }
        }
        for h in &mut held {
            h.lock();
        }
        for x in writes {
            x.storage().header().version.fetch_add(1, Ordering::AcqRel);
        }
        Locked { held }
    }

    fn find(&self, x: &Tensor<Cpu>) -> &Held<'a> {
        let key = x.storage().key();
        let at = self.held.binary_search_by_key(&key, |h| h.key);
        &self.held[at.expect("the storage is locked")]
    }

    /// All elements of the storage of `x`, which its layout indexes.
    pub(crate) fn slice<T: Plain>(&self, x: &Tensor<Cpu>) -> &[T] {
        assert_eq!(size_of::<T>(), x.dtype().size());
        let len = x.storage().len() / size_of::<T>();
        let data = self.find(x).data.cast::<T>();
        if len == 0 {
            return &[];
        }
        assert!(data.is_aligned(), "elements are aligned to their size");
        // SAFETY: the storage holds `len` elements, any bytes are a `T`, and the lock excludes
        // writers (or this guard is the only writer and lends its elements through `&self`).
        unsafe { std::slice::from_raw_parts(data, len) }
    }

    /// Where the element at index `[0, 0, …]` of `x` lies.
    pub(crate) fn ptr(&self, x: &Tensor<Cpu>) -> *mut u8 {
        let offset = if x.numel() == 0 { 0 } else { x.layout().offset() * x.dtype().size() };
        self.find(x).data.wrapping_add(offset)
    }
}

impl Held<'_> {
    fn lock(&mut self) {
        let header = self.storage.header();
        self.guard = match (&header.shared, self.write) {
            (None, false) => {
                header.lock.lock_shared();
                Guard::Own
            }
            (None, true) => {
                header.lock.lock_exclusive();
                Guard::Own
            }
            (Some(memory), false) => {
                let guard = memory.read();
                self.data = guard.as_ptr().cast_mut();
                checked_len(guard.len(), header.len);
                Guard::Read(guard)
            }
            (Some(memory), true) => {
                let mut guard = memory.write();
                self.data = guard.as_mut_ptr();
                checked_len(guard.len(), header.len);
                Guard::Write(guard)
            }
        };
    }
}

/// A buffer of the program must not shrink below what tensors refer to.
fn checked_len(has: usize, needed: usize) {
    assert!(has >= needed, "shared memory shrank from {needed} to {has} bytes");
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if matches!(self.guard, Guard::Own) {
            let lock = &self.storage.header().lock;
            // SAFETY: `lock` took it in this mode.
            unsafe { if self.write { lock.unlock_exclusive() } else { lock.unlock_shared() } }
        }
    }
}

/// Locks to read up to three tensors: what [`Locked`] does, without its bookkeeping.
pub(crate) struct ReadFew<'a>([Option<&'a Storage>; 3]);

impl<'a> ReadFew<'a> {
    /// `None` where there are more tensors, or one in a buffer of the program.
    #[inline]
    pub(crate) fn new(tensors: &[&'a Tensor<Cpu>]) -> Option<Self> {
        let shared = |x: &&Tensor<Cpu>| x.storage().header().shared.is_some();
        if tensors.len() > 3 || tensors.iter().any(shared) {
            return None;
        }
        let mut held = [0, 1, 2].map(|k| tensors.get(k).map(|x| x.storage()));
        let key = |held: Option<&Storage>| held.map_or(0, |storage| storage.0.as_ptr() as usize);
        for (a, b) in [(0, 1), (1, 2), (0, 1)] {
            if key(held[a]) > key(held[b]) {
                held.swap(a, b);
            }
        }
        // A second shared lock on one storage could wait for a writer that waits for the first.
        for k in 0..2 {
            if key(held[k]) == key(held[k + 1]) {
                held[k] = None;
            }
        }
        held.iter().flatten().for_each(|storage| storage.header().lock.lock_shared());
        Some(ReadFew(held))
    }

    /// Where the element at index `[0, 0, …]` of `x`, which is not empty, lies.
    #[inline]
    pub(crate) fn ptr(&self, x: &Tensor<Cpu>) -> *const u8 {
        x.storage().data().wrapping_add(x.layout().offset() * x.dtype().size())
    }
}

impl Drop for ReadFew<'_> {
    #[inline]
    fn drop(&mut self) {
        for storage in self.0.iter().flatten() {
            // SAFETY: `new` took it in this mode.
            unsafe { storage.header().lock.unlock_shared() }
        }
    }
}

/// The bytes of a contiguous tensor's elements.
pub(crate) fn to_bytes(x: &Tensor<Cpu>) -> Vec<u8> {
    debug_assert!(x.is_contiguous());
    let locked = Locked::read(&[x]);
    // SAFETY: the layout names `numel` elements without gaps, all inside the locked storage.
    unsafe { std::slice::from_raw_parts(locked.ptr(x), x.numel() * x.dtype().size()) }.to_vec()
}

/// A contiguous tensor that nobody else holds yet: written without a lock.
pub(crate) struct Fresh(Tensor<Cpu>);

impl Fresh {
    /// A tensor with unspecified elements.
    pub(crate) fn new(shape: &Shape, dtype: DType) -> Self {
        Fresh::with_layout(Layout::contiguous(shape), dtype)
    }

    /// Like `new`, with the layout of one of `inputs` if it is the one that the tensor needs: sharing
    /// it saves an allocation.
    #[inline]
    pub(crate) fn beside(inputs: &[&Tensor<Cpu>], shape: &Shape, dtype: DType) -> Self {
        let fits =
            |x: &&&Tensor<Cpu>| x.is_contiguous() && x.layout().offset() == 0 && x.shape() == shape;
        match inputs.iter().find(fits) {
            Some(x) => Fresh::with_layout(x.layout().clone(), dtype),
            None => Fresh::new(shape, dtype),
        }
    }

    fn with_layout(layout: Layout, dtype: DType) -> Self {
        let storage = Storage::new(layout.numel().saturating_mul(dtype.size()));
        Fresh(Tensor::from_handle(Placed::new(storage, layout, dtype, CpuDevice)))
    }

    /// A copy of `x`.
    pub(crate) fn copy_of(x: &Tensor<Cpu>) -> Self {
        Fresh(x.copy())
    }

    /// The elements in row-major order.
    pub(crate) fn slice_mut<T: Plain>(&mut self) -> &mut [T] {
        assert_eq!(size_of::<T>(), self.0.dtype().size());
        // SAFETY: the storage holds `numel` elements, aligned to 64; any bytes are a `T`; this is
        // the only handle. The allocator's memory is opaque to the compiler, so stale bytes are
        // unspecified, not uninitialised.
        unsafe { std::slice::from_raw_parts_mut(self.0.storage().data().cast(), self.0.numel()) }
    }

    /// The elements in row-major order, once they are written.
    pub(crate) fn slice<T: Plain>(&self) -> &[T] {
        assert_eq!(size_of::<T>(), self.0.dtype().size());
        // SAFETY: as in `slice_mut`.
        unsafe { std::slice::from_raw_parts(self.0.storage().data().cast(), self.0.numel()) }
    }

    /// The elements' bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `slice_mut`.
        unsafe { std::slice::from_raw_parts_mut(self.0.storage().data(), self.0.storage().len()) }
    }

    /// Where the first element lies.
    pub(crate) fn ptr(&mut self) -> *mut u8 {
        self.0.storage().data()
    }

    /// The tensor, once all elements are written.
    pub(crate) fn finish(self) -> Tensor<Cpu> {
        self.0
    }
}
