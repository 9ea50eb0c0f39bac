//! What a page has yet to be sent: a head, then the log from a cursor, with control frames at frame boundaries.
//!
//! The log is the queue: backlog, replay and live messages are all the bytes between the cursor and the log's end.

use std::io::IoSlice;

use super::log::{Log, Mark};

/// Most bytes of control frames that wait, what was sent of them included; a page that pings without reading gets no further pongs.
const MAX_CONTROL_WAITING: usize = 4096;

/// When so many bytes of messages of sessmux's own wait, a page that asks without reading gets no further answers.
const MAX_OWN_WAITING: usize = 64 * 1024;

/// Most bytes of the log in the write that starts with the head: the page waits for it, and a larger one takes longer.
const FIRST_BATCH: u64 = 16 * 1024;

/// A page that has more than this to be sent, in bytes, is behind.
const BEHIND: u64 = 64 * 1024;

/// See the module. Bytes leave in the order head, log up to `control_at`, control, log.
#[derive(Debug)]
pub struct Outgoing {
    /// Bytes ahead of the log: the 101 and what sessmux answers itself; whole frames.
    head: Vec<u8>,
    head_sent: usize,
    /// Offset in the log of the next byte to send.
    cursor: u64,
    /// Where the last walk for a frame boundary ended, at most.
    walked: Mark,
    /// Whole control frames.
    control: Vec<u8>,
    control_sent: usize,
    /// The frame boundary, at or after the cursor, at which `control` is due.
    control_at: u64,
    /// Whole messages of sessmux's own, which wait for a message boundary without control frames.
    own: Vec<u8>,
}

impl Outgoing {
    /// A queue that sends `head` and then the log from `start` on.
    pub fn new(head: Vec<u8>, start: Mark) -> Self {
        Self {
            head,
            head_sent: 0,
            cursor: start.offset,
            walked: start,
            control: Vec::new(),
            control_sent: 0,
            control_at: 0,
            own: Vec::new(),
        }
    }

    /// Offset in the log of the next byte to send.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Whether so much is to be sent that what waits behind it waits long.
    pub fn is_behind(&self, log: &Log) -> bool {
        log.end() - self.cursor > BEHIND
    }

    /// The last message boundary that was sent.
    pub fn passed(&mut self, log: &Log) -> Mark {
        (_, self.walked) = log.frame_boundary(self.walked, self.cursor);
        self.walked
    }

    /// Whether everything there is was sent.
    pub fn is_empty(&self, log: &Log) -> bool {
        self.head.is_empty() && self.control.is_empty() && self.own.is_empty() && self.cursor >= log.end()
    }

    /// Whether control frames wait.
    pub fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    /// Whether the page stands in or behind the control frames queued last: then [`Self::rest_of_frame`] has the rest
    /// of them all.
    pub fn has_begun_control(&self) -> bool {
        self.control.is_empty() || self.control_sent > 0
    }

    /// Queues control frames for the next frame boundary; returns whether they were taken.
    pub fn push_control(&mut self, log: &Log, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.control.len() > MAX_CONTROL_WAITING {
            return false;
        }
        if self.control.is_empty() {
            (self.control_at, self.walked) = log.frame_boundary(self.walked, self.cursor);
        }
        write(&mut self.control);
        true
    }

    /// Queues control frames behind all that the log has now; `false`, and nothing is queued, where others wait.
    pub fn push_control_last(&mut self, log: &Log, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if !self.control.is_empty() {
            return false;
        }
        self.control_at = log.end();
        write(&mut self.control);
        true
    }

    /// Queues a whole message for the next message boundary; returns whether it was taken.
    pub fn push_message(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let taken = self.own.len() < MAX_OWN_WAITING;
        if taken {
            write(&mut self.own);
        }
        taken
    }

    /// Gives the messages that wait their place, where that is known.
    pub fn place_messages(&mut self, log: &Log) {
        if self.own.is_empty() || !self.control.is_empty() {
            return;
        }
        if let Some(boundary) = log.message_boundary(self.walked, self.cursor) {
            self.control_at = boundary.offset;
            self.control = std::mem::take(&mut self.own);
        }
    }

    /// What to write next, at most as many slices as `out` takes, which are at least two; returns how many.
    pub fn slices<'a>(&'a self, log: &'a Log, out: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        let mut limit = log.end();
        if self.head_sent < self.head.len() {
            out[0] = IoSlice::new(&self.head[self.head_sent..]);
            count = 1;
            limit = limit.min(self.cursor + FIRST_BATCH);
        }
        if self.control.is_empty() {
            return count + log.slices(self.cursor, limit, &mut out[count..]);
        }
        let last = out.len() - 1;
        count += log.slices(self.cursor, self.control_at.min(limit), &mut out[count..last]);
        let reached: usize = out[..count].iter().map(|slice| slice.len()).sum();
        if reached as u64 == (self.head.len() - self.head_sent) as u64 + (self.control_at - self.cursor) {
            out[count] = IoSlice::new(&self.control[self.control_sent..]);
            count += 1;
        }
        count
    }

    /// `written` bytes of what [`Self::slices`] gave are on their way.
    pub fn wrote(&mut self, mut written: usize, log: &Log) {
        if !self.head.is_empty() {
            let now = written.min(self.head.len() - self.head_sent);
            self.head_sent += now;
            written -= now;
            if self.head_sent == self.head.len() {
                // given back rather than kept: it is used once
                self.head = Vec::new();
                self.head_sent = 0;
            }
        }
        let limit = if self.control.is_empty() {
            log.end()
        } else {
            self.control_at
        };
        let now = (written as u64).min(limit - self.cursor);
        self.cursor += now;
        self.control_sent += written - now as usize;
        if self.control_sent == self.control.len() {
            self.control = Vec::new();
            self.control_sent = 0;
        }
    }

    /// The log ends earlier than it did: an incomplete message was abandoned, of which nothing was sent.
    pub fn rewind(&mut self, log: &Log) {
        self.control_at = self.control_at.min(log.end());
    }

    /// Ends the queue: the bytes that complete the frame that the page stands in, and nothing more.
    pub fn rest_of_frame(mut self, log: &Log) -> Vec<u8> {
        let mut rest = self.head.split_off(self.head_sent);
        if self.control_sent > 0 {
            rest.extend_from_slice(&self.control[self.control_sent..]);
            return rest;
        }
        let (boundary, _) = log.frame_boundary(self.walked, self.cursor);
        log.copy(self.cursor, boundary, &mut rest);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Opcode, write};
    use super::super::log::Bounds;
    use super::*;
    use proptest::prelude::*;

    fn read_all(out: &mut Outgoing, log: &Log, most: usize, into: &mut Vec<u8>) {
        let mut slices = [IoSlice::new(&[]); 4];
        let count = out.slices(log, &mut slices);
        let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
        let taken = bytes.len().min(most);
        into.extend_from_slice(&bytes[..taken]);
        out.wrote(taken, log);
    }

    proptest! {
        /// Whatever is written when, and however little the socket takes at a time: control frames stand between
        /// frames, and without them the bytes are the head and the log.
        #[test]
        fn control_frames_never_split_a_frame(
            steps in proptest::collection::vec((0..4u8, 1..400usize), 1..200),
        ) {
            let mut log = Log::new(Bounds { bytes: 1 << 20, messages: 1000 });
            let mut out = Outgoing::new(b"\x81\x04head".to_vec(), log.boundary());
            let (mut sent, mut expected) = (Vec::new(), b"\x81\x04head".to_vec());
            for (step, size) in steps {
                match step {
                    0 => {
                        let mut frame = Vec::new();
                        write(&mut frame, Opcode::Binary, &vec![b'x'; size], None);
                        log.push(&frame);
                        log.commit(true);
                        expected.extend_from_slice(&frame);
                    }
                    1 => { out.push_control(&log, |out| write(out, Opcode::Pong, b"now", None)); }
                    2 => { out.push_control_last(&log, |out| write(out, Opcode::Ping, b"last", None)); }
                    _ => read_all(&mut out, &log, size, &mut sent),
                }
            }
            while !out.is_empty(&log) {
                read_all(&mut out, &log, 100, &mut sent);
            }
            let mut data = Vec::new();
            let mut rest = &sent[..];
            while let Some(header) = super::super::frame::parse(rest, super::super::frame::Sender::Server).unwrap() {
                let (frame, later) = rest.split_at(header.total() as usize);
                if !header.opcode.is_control() {
                    data.extend_from_slice(frame);
                }
                rest = later;
            }
            prop_assert_eq!(data, expected);
        }
    }
}
