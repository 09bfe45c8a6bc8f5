//! The caching allocator: blocks in size classes, kept per thread while small and in one place when
//! large, never zero-filled. Fresh pages cost more than most kernels, so blocks are kept for reuse.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use kiln_tensor_core::MemoryStats;
use parking_lot::Mutex;

/// From this size on, blocks are whole huge pages.
const HUGE: usize = 2 << 20;
/// Up to this size, freed blocks stay with the thread that freed them.
const LOCAL_MAX: usize = 64 << 10;
/// How many bytes and blocks of one class a thread keeps.
const LOCAL_BYTES: usize = 256 << 10;
const LOCAL_BLOCKS: usize = 64;
/// Idle memory below this is always kept; above it, as much as the program once used.
const KEEP: usize = 256 << 20;
const SMALLEST: usize = 128;
const CLASSES: usize = 4 * (LOCAL_MAX / SMALLEST).ilog2() as usize + 1;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static RESERVED: AtomicUsize = AtomicUsize::new(0);

/// Idle blocks by size.
static IDLE: Mutex<BTreeMap<usize, Vec<Block>>> = Mutex::new(BTreeMap::new());

thread_local! {
    static LOCAL: RefCell<Local> = const { RefCell::new(Local([const { Vec::new() }; CLASSES])) };
}

struct Block(NonNull<u8>);
// SAFETY: an idle block is plain memory that belongs to whoever holds it.
unsafe impl Send for Block {}

/// The idle small blocks of a thread, by class.
struct Local([Vec<Block>; CLASSES]);

impl Drop for Local {
    /// A thread that ends leaves its blocks to the others.
    fn drop(&mut self) {
        let mut idle = IDLE.lock();
        for (class, list) in self.0.iter_mut().enumerate().filter(|(_, list)| !list.is_empty()) {
            idle.entry(class_size(class)).or_default().append(list);
        }
    }
}

/// Rounds up to a size class: four to a power of two, or sixteen of whole huge pages. `None`
/// for sizes that no machine has.
fn rounded(size: usize) -> Option<usize> {
    let size = size.max(SMALLEST);
    let octave = size.checked_next_power_of_two()?;
    let step = if size >= HUGE { (octave / 32).max(HUGE) } else { octave / 8 };
    size.checked_next_multiple_of(step).filter(|&size| size <= isize::MAX as usize - HUGE)
}

/// The number of a class of small blocks: sizes 128, 160, 192, 224, 256, 320, …
fn class(size: usize) -> usize {
    let octave = size.ilog2() as usize;
    4 * (octave - SMALLEST.ilog2() as usize) + ((size >> (octave - 2)) & 3)
}

fn class_size(class: usize) -> usize {
    (SMALLEST << (class / 4)) + (class % 4) * ((SMALLEST << (class / 4)) / 4)
}

/// A block of at least `size` bytes, aligned to 64, and its real size; `None` if there is no memory.
#[inline]
pub(super) fn take(size: usize) -> Option<(NonNull<u8>, usize)> {
    let size = rounded(size)?;
    if size <= LOCAL_MAX {
        let local = LOCAL.try_with(|local| local.borrow_mut().0[class(size)].pop());
        if let Ok(Some(block)) = local {
            return Some((block.0, size));
        }
    }
    take_shared(size).map(|block| (block, size))
}

#[inline(never)]
fn take_shared(size: usize) -> Option<NonNull<u8>> {
    if let Some(block) = IDLE.lock().get_mut(&size).and_then(Vec::pop) {
        return Some(block.0);
    }
    system_alloc(size).or_else(|| {
        empty_cache();
        system_alloc(size)
    })
}

/// Takes a block back.
///
/// # Safety
/// It came from `take` with this real size, and nobody refers to it.
#[inline]
pub(super) unsafe fn give(block: NonNull<u8>, size: usize) {
    if size <= LOCAL_MAX {
        let kept = LOCAL.try_with(|local| {
            let list = &mut local.borrow_mut().0[class(size)];
            let keep = list.len() < LOCAL_BLOCKS && list.len() * size < LOCAL_BYTES;
            if keep {
                list.push(Block(block));
            }
            keep
        });
        if kept == Ok(true) {
            return;
        }
    }
    give_shared(Block(block), size);
}

#[inline(never)]
fn give_shared(block: Block, size: usize) {
    let idle = RESERVED.load(Relaxed).saturating_sub(ALLOCATED.load(Relaxed));
    if idle > KEEP.max(PEAK.load(Relaxed)) {
        system_free(block, size);
    } else {
        IDLE.lock().entry(size).or_default().push(block);
    }
}

/// Gives the memory that no tensor uses back to the system, except for the few small blocks that
/// other threads keep for themselves.
pub fn empty_cache() {
    let _ = LOCAL.try_with(|local| {
        for (class, list) in local.borrow_mut().0.iter_mut().enumerate() {
            list.drain(..).for_each(|block| system_free(block, class_size(class)));
        }
    });
    let idle = std::mem::take(&mut *IDLE.lock());
    for (size, list) in idle {
        list.into_iter().for_each(|block| system_free(block, size));
    }
}

fn system_layout(size: usize) -> Layout {
    let align = if size >= HUGE { HUGE } else { 64 };
    Layout::from_size_align(size, align).expect("a rounded size")
}

fn system_alloc(size: usize) -> Option<NonNull<u8>> {
    // SAFETY: the size is not zero.
    let block = NonNull::new(unsafe { alloc(system_layout(size)) })?;
    RESERVED.fetch_add(size, Relaxed);
    #[cfg(target_os = "linux")]
    if size >= HUGE {
        // SAFETY: advice about pages that are ours; failure changes nothing.
        unsafe { libc::madvise(block.as_ptr().cast(), size, libc::MADV_HUGEPAGE) };
    }
    Some(block)
}

fn system_free(block: Block, size: usize) {
    RESERVED.fetch_sub(size, Relaxed);
    // SAFETY: the block came from `system_alloc` with this size.
    unsafe { dealloc(block.0.as_ptr(), system_layout(size)) };
}

/// Counts bytes of a new tensor.
#[inline]
pub(super) fn count(len: usize) {
    let now = ALLOCATED.fetch_add(len, Relaxed) + len;
    if now > PEAK.load(Relaxed) {
        PEAK.fetch_max(now, Relaxed);
    }
}

/// Takes bytes of a tensor off the count.
#[inline]
pub(super) fn uncount(len: usize) {
    ALLOCATED.fetch_sub(len, Relaxed);
}

/// What tensors hold and what the system gave.
pub(crate) fn stats() -> MemoryStats {
    MemoryStats {
        allocated: ALLOCATED.load(Relaxed),
        reserved: RESERVED.load(Relaxed),
        peak: PEAK.load(Relaxed),
    }
}

/// Starts a new peak at what is allocated now.
pub(crate) fn reset_peak() {
    PEAK.store(ALLOCATED.load(Relaxed), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_sizes_agree() {
        for size in 1..=LOCAL_MAX {
            let up = rounded(size).unwrap();
            assert!(up >= size && up.is_multiple_of(32), "{size} → {up}");
            assert_eq!(class_size(class(up)), up, "{size}");
        }
        assert_eq!(rounded((64 << 20) + 64), Some(68 << 20));
        assert_eq!(rounded(usize::MAX), None);
    }

    #[test]
    fn a_freed_block_is_used_again() {
        let (first, size) = take(1000).unwrap();
        // SAFETY: just taken.
        unsafe { give(first, size) };
        let (second, _) = take(990).unwrap();
        assert_eq!(first, second);
        // SAFETY: just taken.
        unsafe { give(second, size) };
    }
}
