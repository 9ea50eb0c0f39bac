//! Walks from frame to frame: boundaries, payloads.

use super::{Log, Mark};
use crate::core::frame::{self, Header, MAX_HEADER, Opcode, Sender};

impl Log {
    /// The beginning of the payload of the message that starts at `start`, as much as lies in one piece; whether that is
    /// all; and its first frame's opcode.
    pub fn beginning(&self, start: u64) -> (&[u8], bool, Opcode) {
        let header = self.header(start);
        let (from, end) = (start + header.size() as u64, start + header.total());
        let index = self.slabs.partition_point(|slab| slab.end() <= from);
        let here = self.slabs.get(index).filter(|_| from < end).map_or(&[][..], |slab| {
            &slab.bytes[(from - slab.start) as usize..(end.min(slab.end()) - slab.start) as usize]
        });
        (here, header.fin && here.len() as u64 == end - from, header.opcode)
    }

    /// Appends the payload of the message that starts at `start`, all of whose frames were pushed.
    pub fn payload(&self, start: u64, out: &mut Vec<u8>) {
        let mut at = start;
        loop {
            let header = self.header(at);
            self.copy(at + header.size() as u64, at + header.total(), out);
            at += header.total();
            if header.fin {
                return;
            }
        }
    }

    /// The first frame boundary at or after `cursor`, walked from `from`, which is one; and the last message boundary
    /// that the walk has passed. `cursor` must not lie beyond [`Self::end`].
    pub fn frame_boundary(&self, from: Mark, cursor: u64) -> (u64, Mark) {
        let mut mark = if from.offset < self.base.offset {
            self.base
        } else {
            from
        };
        // most of a long way need not be walked
        if let Some(nearer) = self.first_before(cursor).filter(|nearer| nearer.offset > mark.offset) {
            mark = nearer;
        }
        let mut at = mark.offset;
        while at < cursor {
            if at == mark.offset {
                mark = self.settle(mark);
                at = mark.offset;
                if at >= cursor {
                    break;
                }
            }
            let header = self.header(at);
            at += header.total();
            if header.fin {
                mark = Mark {
                    offset: at,
                    position: mark.position + 1,
                };
            }
        }
        (at, mark)
    }

    /// The newest start of a slab's first message that is not beyond `cursor`.
    fn first_before(&self, cursor: u64) -> Option<Mark> {
        let slabs = self.slabs.partition_point(|slab| slab.start <= cursor);
        let mut slabs = self.slabs.range(..slabs).rev();
        slabs.find_map(|slab| slab.first().filter(|first| first.offset <= cursor))
    }

    /// The first message boundary at or after `cursor`, walked from `from`, which is one; `None` where the message that
    /// `cursor` lies in is not whole yet.
    pub fn message_boundary(&self, from: Mark, cursor: u64) -> Option<Mark> {
        let (mut at, mut mark) = self.frame_boundary(from, cursor);
        while mark.offset < at {
            if at >= self.end {
                return None;
            }
            let header = self.header(at);
            at += header.total();
            if header.fin {
                mark = Mark {
                    offset: at,
                    position: mark.position + 1,
                };
            }
        }
        Some(mark)
    }

    /// The mark after the message that starts at `mark`, which must be complete.
    pub fn next_message(&self, mark: Mark) -> Mark {
        let mark = self.settle(mark);
        let mut at = mark.offset;
        loop {
            let header = self.header(at);
            at += header.total();
            if header.fin {
                return Mark {
                    offset: at,
                    position: mark.position + 1,
                };
            }
        }
    }

    /// The positions of the complete messages that are retained from `mark` on.
    pub fn positions(&self, mut mark: Mark) -> Vec<u64> {
        let mut positions = Vec::new();
        loop {
            mark = self.settle(mark);
            if mark.offset >= self.boundary.offset {
                return positions;
            }
            mark = self.next_message(mark);
            positions.push(mark.position);
        }
    }

    /// The header of the complete frame at `offset`.
    fn header(&self, offset: u64) -> Header {
        let index = self.slab_of(offset);
        let slab = &self.slabs[index];
        let here = &slab.bytes[(offset - slab.start) as usize..];
        if let Ok(Some(header)) = frame::parse(here, Sender::Server) {
            return header;
        }
        // it straddles slabs
        let mut bytes = Vec::with_capacity(MAX_HEADER);
        self.copy(offset, self.tail.min(offset + MAX_HEADER as u64), &mut bytes);
        match frame::parse(&bytes, Sender::Server) {
            Ok(Some(header)) => header,
            // every frame was parsed before it was pushed
            other => unreachable!("no frame at log offset {offset}: {other:?}"),
        }
    }
}
