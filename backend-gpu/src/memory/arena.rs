//! Segments cut into blocks: which are free, which lie side by side. Knows no driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Blocks up to this size come from small segments, and stay cut for a while when they are given back.
const SMALL: usize = 1 << 20;
const SMALL_SEGMENT: usize = 4 << 20;
/// Blocks up to this size share segments.
const MEDIUM: usize = 8 << 20;
const MEDIUM_SEGMENT: usize = 32 << 20;
/// What would be left of a large block is not worth a block of its own below this size.
const REST: usize = 256 << 10;
const LEAST: usize = 256;

/// The segments of a device, and the blocks that they are cut into.
#[derive(Debug)]
pub(super) struct Arena<B> {
    granule: usize,
    largest: usize,
    segments: Vec<Option<Segment<B>>>,
    blocks: Vec<Block<B>>,
    unused_ids: Vec<usize>,
    /// Small blocks that were given back, by size, not yet joined with their neighbours: the next of the same
    /// size is likely, and its buffer is made already.
    kept: BTreeMap<usize, Vec<usize>>,
    /// Free blocks, by pool and size.
    free: BTreeSet<(Pool, usize, usize)>,
    reserved: usize,
}

/// Small blocks lie apart from large ones, which they would cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pool {
    Small,
    Large,
}

#[derive(Debug)]
struct Segment<B> {
    buffer: Arc<B>,
    bytes: usize,
    pool: Pool,
}

#[derive(Debug)]
struct Block<B> {
    segment: usize,
    offset: usize,
    bytes: usize,
    state: State,
    /// Neighbours in the segment.
    left: Option<usize>,
    right: Option<usize>,
    /// The part of the segment, once somebody wanted it.
    buffer: Option<Arc<B>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live,
    Kept,
    Free,
}

/// A block that was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) id: usize,
}

impl<B> Arena<B> {
    pub(super) fn new(alignment: usize, largest: usize) -> Self {
        Arena {
            granule: alignment.max(LEAST),
            largest,
            segments: Vec::new(),
            blocks: Vec::new(),
            unused_ids: Vec::new(),
            kept: BTreeMap::new(),
            free: BTreeSet::new(),
            reserved: 0,
        }
    }

    /// Bytes of all segments.
    pub(super) fn reserved(&self) -> usize {
        self.reserved
    }

    /// Rounds up to a size class: eight to a power of two, in whole granules.
    fn rounded(&self, bytes: usize) -> usize {
        let step = (bytes.checked_next_power_of_two().unwrap_or(0) / 16).max(self.granule);
        bytes.checked_next_multiple_of(step).unwrap_or(usize::MAX)
    }

    fn pool(size: usize) -> Pool {
        if size <= SMALL { Pool::Small } else { Pool::Large }
    }

    /// The size of a segment for a block of so many bytes: as it should be, and as it must be.
    pub(super) fn segment_for(&self, bytes: usize) -> (usize, usize) {
        let least = self.rounded(bytes);
        let usual = match least {
            _ if least <= SMALL => SMALL_SEGMENT,
            _ if least <= MEDIUM => MEDIUM_SEGMENT,
            _ => least,
        };
        (usual.min(self.largest).max(least), least)
    }

    /// A block of at least `bytes`, if the segments have one.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Taken> {
        let size = self.rounded(bytes);
        if let Some(id) = self.kept.get_mut(&size).and_then(Vec::pop) {
            self.blocks[id].state = State::Live;
            return Some(Taken { id });
        }
        let fitting = |arena: &Self| {
            let pool = Self::pool(size);
            arena.free.range((pool, size, 0)..).next().filter(|found| found.0 == pool).copied()
        };
        let found = fitting(self).or_else(|| {
            if Self::pool(size) == Pool::Large || self.kept.is_empty() {
                return None;
            }
            self.join_kept();
            fitting(self)
        })?;
        self.free.remove(&found);
        Some(self.cut(found.2, size))
    }

    /// Takes a block from a new segment.
    pub(super) fn grow(&mut self, buffer: B, segment_bytes: usize, bytes: usize) -> Taken {
        let size = self.rounded(bytes);
        let segment =
            Segment { buffer: Arc::new(buffer), bytes: segment_bytes, pool: Self::pool(size) };
        self.reserved += segment_bytes;
        let at = match self.segments.iter().position(Option::is_none) {
            Some(at) => at,
            None => {
                self.segments.push(None);
                self.segments.len() - 1
            }
        };
        let buffer = Some(segment.buffer.clone());
        self.segments[at] = Some(segment);
        let id = self.add(Block {
            segment: at,
            offset: 0,
            bytes: segment_bytes,
            state: State::Free,
            left: None,
            right: None,
            buffer,
        });
        self.cut(id, size)
    }

    /// Makes a free block live, and its rest, where that is worth it, a free block.
    fn cut(&mut self, id: usize, size: usize) -> Taken {
        let (segment, offset, bytes, right) = {
            let block = &mut self.blocks[id];
            block.state = State::Live;
            (block.segment, block.offset, block.bytes, block.right)
        };
        let pool = self.segment(segment).pool;
        let rest = bytes - size;
        let worth = if pool == Pool::Small { self.granule } else { REST };
        if rest >= worth {
            let new = self.add(Block {
                segment,
                offset: offset + size,
                bytes: rest,
                state: State::Free,
                left: Some(id),
                right,
                buffer: None,
            });
            if let Some(right) = right {
                self.blocks[right].left = Some(new);
            }
            let block = &mut self.blocks[id];
            (block.bytes, block.right, block.buffer) = (size, Some(new), None);
            self.free.insert((pool, rest, new));
        }
        Taken { id }
    }

    /// The buffer of a block; `slice` makes one of a part of its segment.
    pub(super) fn buffer<E>(
        &mut self,
        taken: &Taken,
        slice: impl FnOnce(&B, usize, usize) -> Result<B, E>,
    ) -> Result<Arc<B>, E> {
        let block = &self.blocks[taken.id];
        if let Some(buffer) = &block.buffer {
            return Ok(buffer.clone());
        }
        let segment = self.segment(block.segment);
        let buffer = if block.bytes == segment.bytes {
            segment.buffer.clone()
        } else {
            Arc::new(slice(&segment.buffer, block.offset, block.bytes)?)
        };
        self.blocks[taken.id].buffer = Some(buffer.clone());
        Ok(buffer)
    }

    /// Takes a block back.
    pub(super) fn give(&mut self, id: usize) {
        let block = &mut self.blocks[id];
        let (size, segment) = (block.bytes, block.segment);
        if self.segment(segment).pool == Pool::Small {
            self.blocks[id].state = State::Kept;
            self.kept.entry(size).or_default().push(id);
        } else {
            self.join(id);
        }
    }

    /// Frees the small blocks that were kept cut.
    fn join_kept(&mut self) {
        for id in std::mem::take(&mut self.kept).into_values().flatten() {
            self.join(id);
        }
    }

    /// Makes one free block of a block and its free neighbours.
    fn join(&mut self, id: usize) {
        let pool = self.segment(self.blocks[id].segment).pool;
        let mut id = id;
        if let Some(left) = self.blocks[id].left.filter(|&left| self.is_free(left)) {
            self.free.remove(&(pool, self.blocks[left].bytes, left));
            self.swallow(left, id);
            id = left;
        }
        if let Some(right) = self.blocks[id].right.filter(|&right| self.is_free(right)) {
            self.free.remove(&(pool, self.blocks[right].bytes, right));
            self.swallow(id, right);
        }
        self.blocks[id].state = State::Free;
        self.free.insert((pool, self.blocks[id].bytes, id));
    }

    fn is_free(&self, id: usize) -> bool {
        self.blocks[id].state == State::Free
    }

    /// `left` becomes as long as both.
    fn swallow(&mut self, left: usize, right: usize) {
        let (bytes, next) = (self.blocks[right].bytes, self.blocks[right].right);
        self.remove(right);
        let block = &mut self.blocks[left];
        block.bytes += bytes;
        block.right = next;
        block.buffer = None;
        if let Some(next) = next {
            self.blocks[next].left = Some(left);
        }
    }

    /// Takes the segments out that no tensor uses.
    pub(super) fn release(&mut self) -> Vec<Arc<B>> {
        self.join_kept();
        let whole = |&&(_, bytes, id): &&(Pool, usize, usize)| {
            bytes == self.segment(self.blocks[id].segment).bytes
        };
        let idle: Vec<_> = self.free.iter().filter(whole).copied().collect();
        idle.into_iter()
            .map(|entry| {
                self.free.remove(&entry);
                let segment = self.segments[self.blocks[entry.2].segment].take();
                let segment = segment.expect("a block's segment");
                self.remove(entry.2);
                self.reserved -= segment.bytes;
                segment.buffer
            })
            .collect()
    }

    fn segment(&self, at: usize) -> &Segment<B> {
        self.segments[at].as_ref().expect("a block's segment")
    }

    fn add(&mut self, block: Block<B>) -> usize {
        match self.unused_ids.pop() {
            Some(id) => {
                self.blocks[id] = block;
                id
            }
            None => {
                self.blocks.push(block);
                self.blocks.len() - 1
            }
        }
    }

    fn remove(&mut self, id: usize) {
        self.blocks[id].buffer = None;
        self.blocks[id].state = State::Live;
        self.unused_ids.push(id);
    }
}
