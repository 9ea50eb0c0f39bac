//! Messages that are removed from the middle, and readers that pass over the holes they leave.

use super::{Log, Mark, Slab};

impl Log {
    /// Removes the complete message that starts at `mark`, unless it was evicted, or a reader at `cursor` stands amid
    /// it; returns whether it did. Positions stay what they were.
    pub fn remove(&mut self, mark: Mark, cursor: Option<u64>) -> bool {
        if !self.holds(mark) {
            return false;
        }
        let end = self.next_message(mark);
        if cursor.is_some_and(|cursor| mark.offset < cursor && cursor < end.offset) {
            return false;
        }
        let mut index = self.slabs.partition_point(|slab| slab.end() <= mark.offset);
        while let Some(slab) = self.slabs.get_mut(index).filter(|slab| slab.start < end.offset) {
            self.allocated -= slab.bytes.capacity();
            let behind = (slab.end() > end.offset).then(|| Slab {
                start: end.offset,
                bytes: slab.bytes[(end.offset - slab.start) as usize..].to_vec(),
                first: Some(0),
                position: end.position,
            });
            slab.bytes.truncate(mark.offset.saturating_sub(slab.start) as usize);
            slab.bytes.shrink_to_fit();
            if slab.bytes.is_empty() {
                self.slabs.remove(index);
            } else {
                self.allocated += slab.bytes.capacity();
                index += 1;
            }
            if let Some(behind) = behind {
                self.allocated += behind.bytes.capacity();
                self.slabs.insert(index, behind);
                break;
            }
        }
        self.removed += 1;
        true
    }

    /// Whether the message that starts at `mark` was complete, and is not evicted yet.
    pub fn holds(&self, mark: Mark) -> bool {
        mark.offset >= self.base.offset && mark.offset < self.boundary.offset
    }

    /// How many bytes there are from `from` to `to`.
    pub fn distance(&self, from: u64, to: u64) -> u64 {
        self.reach(from, to, u64::MAX)
    }

    /// As [`Self::distance`], but no more than `most`: what lies beyond that is not walked.
    pub fn reach(&self, from: u64, to: u64, most: u64) -> u64 {
        if self.removed == 0 {
            to.saturating_sub(from).min(most)
        } else {
            self.reach_over_holes(from, to, most)
        }
    }

    // apart, so that logs without holes, which most are, do not pay for a call
    #[cold]
    fn reach_over_holes(&self, from: u64, to: u64, most: u64) -> u64 {
        let mut reached = 0;
        for slab in self.slabs.range(self.slab_of(from)..) {
            if slab.start >= to || reached >= most {
                break;
            }
            reached += slab.end().min(to).saturating_sub(slab.start.max(from));
        }
        reached.min(most)
    }

    /// How many complete messages are retained from `mark` on.
    pub fn messages_from(&self, mark: Mark) -> u64 {
        if self.removed == 0 {
            self.boundary.position - mark.position
        } else {
            self.positions(mark).len() as u64
        }
    }

    /// Where a reader at `cursor` stands once it has read so many bytes, which there are.
    pub fn advance(&self, cursor: u64, bytes: u64) -> u64 {
        if self.removed == 0 {
            cursor + bytes
        } else {
            self.advance_over_holes(cursor, bytes)
        }
    }

    #[cold]
    fn advance_over_holes(&self, cursor: u64, bytes: u64) -> u64 {
        let (mut at, mut left) = (cursor, bytes);
        for slab in self.slabs.range(self.slab_of(cursor)..) {
            if left == 0 {
                break;
            }
            let here = slab.start.max(at);
            let now = left.min(slab.end().saturating_sub(here));
            if now > 0 {
                at = here + now;
                left -= now;
            }
        }
        at
    }

    /// The mark behind the hole that `mark` lies in; itself where it lies in none.
    pub(super) fn settle(&self, mark: Mark) -> Mark {
        if self.removed == 0 {
            return mark;
        }
        match self
            .slabs
            .get(self.slabs.partition_point(|slab| slab.end() <= mark.offset))
        {
            Some(slab) if slab.start <= mark.offset => mark,
            // behind a hole a slab begins with a message
            Some(slab) => Mark {
                offset: slab.start,
                position: slab.position,
            },
            // at the tail
            None => self.boundary,
        }
    }
}
