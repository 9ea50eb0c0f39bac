//! The replay log: a session's upstream messages as they came over the wire.
//!
//! The log is one stream of bytes, numbered by offset from the session's start, that holds whole data frames and, at
//! its tail, the frame being received. It keeps no index: a reader is an offset, and frame headers are walked where a
//! boundary is needed. Bytes live in slabs, sized to what is retained, which are dropped from the front. A message that
//! is removed from the middle leaves a hole between slabs: offsets and positions stay what they were, and readers pass
//! over it. A large log lends its newest slab for a stream to be read into.

mod holes;
mod lend;
mod walk;

use std::collections::VecDeque;
use std::io::IoSlice;

/// Smallest and largest slab, in bytes. A stream is read into the largest, and whoever is read wakes up for each read: a
/// quarter of it costs a saturated stream of 16 KiB messages a fifth of its throughput (benches/peers).
const SLAB: (usize, usize) = (256, 256 * 1024);

/// A point between two messages: every message up to `position` lies before `offset`, every later one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Offset in the log, in bytes from the session's start.
    pub offset: u64,
    /// Position of the last message before it; 0 before the first.
    pub position: u64,
}

/// Bounds of a log; the newest complete message and the one being received are kept even above them.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// In bytes, slabs counted as they are allocated.
    pub bytes: usize,
    /// In messages.
    pub messages: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Log {
    bounds: Bounds,
    slabs: VecDeque<Slab>,
    /// Start of the oldest retained message.
    base: Mark,
    /// Start of the newest complete message.
    newest: u64,
    /// Start of the message being received, or where the next one will start.
    boundary: Mark,
    /// End of the last complete frame; what lies before it may be forwarded.
    end: u64,
    /// End of what was received.
    tail: u64,
    /// Bytes that slabs have allocated.
    allocated: usize,
    /// Bytes kept beside the log that count with it.
    pinned: usize,
    /// Messages removed from behind `base`.
    removed: u64,
    /// The memory of a dropped slab that was full, the next one's if it fits.
    spare: Option<Box<[u8]>>,
}

/// Bytes from offset `start`; full when length reaches capacity.
#[derive(Debug, Clone)]
struct Slab {
    start: u64,
    bytes: Vec<u8>,
    /// Where the first message that begins in it does, from its start, at its end if the next one will; `None` while none
    /// has.
    first: Option<u32>,
    /// The position of the last message before that one.
    position: u64,
}

/// Complete messages of one frame each, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run<'a> {
    /// As they came over the wire.
    pub bytes: &'a [u8],
    /// How many they are.
    pub messages: u64,
    /// Length of the last, in bytes.
    pub last: usize,
}

impl Slab {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// The start of the first message that begins in it.
    fn first(&self) -> Option<Mark> {
        Some(Mark {
            offset: self.start + u64::from(self.first?),
            position: self.position,
        })
    }
}

impl Log {
    /// An empty log; it allocates nothing before the first message.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            slabs: VecDeque::new(),
            base: Mark::default(),
            newest: 0,
            boundary: Mark::default(),
            end: 0,
            tail: 0,
            allocated: 0,
            pinned: 0,
            removed: 0,
            spare: None,
        }
    }

    /// The start of the oldest retained message; the first position that can be replayed is one more than its.
    pub fn base(&self) -> Mark {
        self.base
    }

    /// The end of the newest complete message.
    pub fn boundary(&self) -> Mark {
        self.boundary
    }

    /// End of the last complete frame: readers go no further.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether a message has begun and is not complete.
    pub fn amid_message(&self) -> bool {
        self.tail > self.boundary.offset
    }

    /// Whether whole frames of a message lie before [`Self::end`] that is not complete.
    pub fn partly_forwardable(&self) -> bool {
        self.end > self.boundary.offset
    }

    /// End of what was received.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Bytes that the log holds on to, a spare slab included.
    pub fn allocated(&self) -> usize {
        self.allocated + self.spare.as_ref().map_or(0, |spare| spare.len())
    }

    /// How many bytes may be received without evicting what a reader at `cursor` has yet to get.
    ///
    /// A reader that stands in the newest complete message or behind it never blocks: that one and the one being
    /// received are held above the bounds. By count it is exact only after [`Self::evict`].
    pub fn room(&self, cursor: u64) -> usize {
        if cursor >= self.newest {
            return usize::MAX;
        }
        let unread = self.distance(cursor, self.tail) as usize;
        if self.messages() > self.bounds.messages {
            return 0;
        }
        self.bytes().saturating_sub(unread)
    }

    /// Counts further bytes that are kept for the log's session beside the log.
    pub fn pin(&mut self, bytes: usize) {
        self.pinned += bytes;
    }

    /// Takes back what [`Self::pin`] counted.
    pub fn unpin(&mut self, bytes: usize) {
        self.pinned -= bytes;
    }

    /// Bytes that the log holds on to, and those that count with it.
    pub fn held(&self) -> usize {
        self.allocated() + self.pinned
    }

    /// Another bound by bytes, from its next eviction on.
    pub fn set_bytes(&mut self, bytes: usize) {
        self.bounds.bytes = bytes;
    }

    /// Evicts as [`Self::evict`] does, but until no more than `bytes` are left.
    pub fn evict_to(&mut self, bytes: usize, cursor: Option<u64>) -> u64 {
        let bound = self.bounds.bytes;
        self.bounds.bytes = bytes.min(bound);
        let evicted = self.evict(cursor);
        self.bounds.bytes = bound;
        self.spare = None;
        evicted
    }

    /// The bound by bytes, less what is pinned; half of it is the log's in any case.
    fn bytes(&self) -> usize {
        let bytes = self.bounds.bytes;
        bytes - self.pinned.min(bytes / 2)
    }

    /// So many bytes come next, of one frame or of many: where a further slab is needed they get one.
    pub fn reserve(&mut self, bytes: usize) {
        if self.free() == 0 {
            self.grow(bytes);
        }
    }

    /// How many bytes the newest slab has room for.
    fn free(&self) -> usize {
        // not one that a hole follows
        let slab = self.slabs.back().filter(|slab| slab.end() == self.tail);
        slab.map_or(0, |slab| slab.bytes.capacity() - slab.bytes.len())
    }

    /// Appends bytes of the frame being received.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let free = self.free();
            if free == 0 {
                self.grow(bytes.len());
                continue;
            }
            let (now, later) = bytes.split_at(free.min(bytes.len()));
            if let Some(slab) = self.slabs.back_mut() {
                slab.bytes.extend_from_slice(now);
            }
            self.tail += now.len() as u64;
            bytes = later;
        }
    }

    /// How many bytes [`Self::push_run`] takes; none amid a message.
    pub fn run_room(&self) -> usize {
        let slab = self.slabs.back().filter(|slab| slab.end() == self.boundary.offset);
        slab.map_or(0, |slab| slab.bytes.capacity() - slab.bytes.len())
    }

    /// Appends complete messages, which [`Self::run_room`] is enough for: what pushing and committing each does, at the
    /// cost of one.
    pub fn push_run(&mut self, run: Run<'_>) {
        debug_assert!(run.bytes.len() <= self.run_room());
        if let Some(slab) = self.slabs.back_mut() {
            slab.bytes.extend_from_slice(run.bytes);
            self.adopt_run(run);
        }
    }

    /// The frames received are complete: readers may have them. With `fin` their message is complete too, and gets
    /// the next position. A caller that wants a message whole before anyone reads it commits at its last frame only.
    pub fn commit(&mut self, fin: bool) {
        self.end = self.tail;
        if fin {
            self.newest = self.boundary.offset;
            self.boundary = Mark {
                offset: self.end,
                position: self.boundary.position + 1,
            };
            if let Some(slab) = self.slabs.back_mut().filter(|slab| slab.first.is_none()) {
                // no larger than SLAB says
                slab.first = Some((self.boundary.offset - slab.start) as u32);
                slab.position = self.boundary.position;
            }
        }
    }

    /// Forgets the message being received, the frames of it that are complete included.
    pub fn abandon_message(&mut self) {
        while let Some(slab) = self.slabs.back_mut() {
            if slab.start >= self.boundary.offset {
                self.allocated -= slab.bytes.capacity();
                self.slabs.pop_back();
            } else {
                slab.bytes.truncate((self.boundary.offset - slab.start) as usize);
                break;
            }
        }
        self.tail = self.boundary.offset;
        self.end = self.tail;
    }

    /// Evicts the oldest messages until the bounds hold, none that a reader at `cursor` has yet to get whole; returns
    /// how many.
    pub fn evict(&mut self, cursor: Option<u64>) -> u64 {
        let limit = cursor.unwrap_or(u64::MAX).min(self.newest);
        let (before, removed) = (self.base.position, self.removed);
        // the oldest message is complete only where it lies before another's start
        while self.over_bounds() && self.base.offset < limit {
            if let Some(next) = self.behind_oldest_slab().filter(|next| next.offset <= limit) {
                self.base = next;
                self.drop_slabs();
                continue;
            }
            let oldest = self.settle(self.base);
            if oldest.offset >= limit {
                break;
            }
            let next = self.next_message(oldest);
            if next.offset > limit {
                break;
            }
            self.removed -= oldest.position - self.base.position;
            self.base = next;
            self.drop_slabs();
        }
        // what had been removed was not evicted
        self.base.position - before - (removed - self.removed)
    }

    /// The start of the first message that does not begin in the oldest slab, where all before it has to go: they are not
    /// walked one by one.
    fn behind_oldest_slab(&self) -> Option<Mark> {
        // with holes positions do not tell how many messages there are
        let slab = self.slabs.get(1).filter(|_| self.removed == 0)?;
        let next = slab.first()?;
        let surplus = self.messages().saturating_sub(self.bounds.messages);
        let goes = self.allocated > self.bytes() || next.position - self.base.position <= surplus;
        goes.then_some(next)
    }

    /// Whether a log without a reader has to evict a message.
    pub fn overflows(&self) -> bool {
        self.over_bounds() && self.base.offset < self.newest
    }

    /// Whether the bounds are exceeded.
    pub fn over_bounds(&self) -> bool {
        self.allocated > self.bytes() || self.messages() > self.bounds.messages
    }

    /// How many complete messages are retained.
    pub fn messages(&self) -> u64 {
        self.boundary.position - self.base.position - self.removed
    }

    /// Gives unused memory back; for a session that nobody is attached to.
    pub fn shrink(&mut self) {
        self.spare = None;
        if let Some(slab) = self.slabs.back_mut() {
            self.allocated -= slab.bytes.capacity();
            slab.bytes.shrink_to_fit();
            self.allocated += slab.bytes.capacity();
        }
    }

    /// The slices from `cursor` to `limit`, at most as many as `out` takes; returns how many.
    pub fn slices<'a>(&'a self, cursor: u64, limit: u64, out: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for slab in self.slabs.range(self.slab_of(cursor)..) {
            if count == out.len() || slab.start >= limit {
                break;
            }
            let from = cursor.saturating_sub(slab.start) as usize;
            let to = (limit.min(slab.end()) - slab.start) as usize;
            if from < to {
                out[count] = IoSlice::new(&slab.bytes[from..to]);
                count += 1;
            }
        }
        count
    }

    /// Copies the bytes from `from` to `to` to the end of `out`; both must be retained.
    pub fn copy(&self, from: u64, to: u64, out: &mut Vec<u8>) {
        for slab in self.slabs.range(self.slab_of(from)..) {
            if slab.start >= to {
                break;
            }
            let first = from.saturating_sub(slab.start) as usize;
            let last = (to.min(slab.end()) - slab.start) as usize;
            // nothing of a slab that a hole follows, where `from` lies in that
            out.extend_from_slice(slab.bytes.get(first..last).unwrap_or_default());
        }
    }

    /// Index of the slab that holds `offset`; the number of slabs at the tail.
    fn slab_of(&self, offset: u64) -> usize {
        // most look at the newest; eviction at the oldest
        match (self.slabs.front(), self.slabs.back()) {
            (_, Some(last)) if last.start <= offset => self.slabs.len() - 1,
            (Some(first), _) if first.end() > offset => 0,
            _ => self.slabs.partition_point(|slab| slab.end() <= offset),
        }
    }

    /// A slab is dropped as a whole: of a small log it is a small part.
    fn largest_slab(&self) -> usize {
        (self.bounds.bytes / 8).next_power_of_two().clamp(SLAB.0, SLAB.1)
    }

    /// The size of a further slab, from a sixteenth to an eighth of what is held, in bytes: a full log's are of one size, for a
    /// spare one to fit.
    fn share(&self) -> usize {
        let share = (self.tail - self.base.offset) as usize / 16;
        share.next_power_of_two().clamp(SLAB.0, self.largest_slab())
    }

    fn grow(&mut self, wanted: usize) {
        // a message that is much of the log has one of its own
        let size = wanted.clamp(self.share(), self.largest_slab());
        let bytes = match self.spare.take() {
            Some(spare) if spare.len() == size => {
                let mut spare = spare.into_vec();
                spare.clear();
                spare
            }
            _ => Vec::with_capacity(size),
        };
        self.allocated += bytes.capacity();
        if self.slabs.len() == self.slabs.capacity() {
            // most sessions never have a second one, and few have many
            self.slabs.reserve_exact(1 + self.slabs.len() / 4);
        }
        self.slabs.push_back(Slab {
            start: self.tail,
            bytes,
            first: (self.tail == self.boundary.offset).then_some(0),
            position: self.boundary.position,
        });
    }

    fn drop_slabs(&mut self) {
        while self.slabs.front().is_some_and(|slab| slab.end() <= self.base.offset) {
            if let Some(slab) = self.slabs.pop_front() {
                self.allocated -= slab.bytes.capacity();
                let full = slab.bytes.len() == slab.bytes.capacity();
                self.spare = full.then(|| slab.bytes.into_boxed_slice());
            }
        }
    }
}

#[cfg(test)]
mod tests;
