//! What a page has yet to be sent: a head, then the log from a cursor, with control frames at frame boundaries.
//!
//! The log is the queue: backlog, replay and live messages are all the bytes between the cursor and the log's end.

use std::io::IoSlice;
use std::num::NonZeroU64;

use super::log::{Log, Mark};

/// Most bytes of control frames that wait, what was sent of them included; a page that pings without reading gets no further pongs.
const MAX_CONTROL_WAITING: usize = 4096;

/// When so many bytes of messages of sessmux's own wait, a page that asks without reading gets no further answers.
const MAX_OWN_WAITING: usize = 64 * 1024;

/// Most bytes of the log in the write that starts with the head: the page waits for it, and a larger one takes longer.
const FIRST_BATCH: u64 = 16 * 1024;

/// Most bytes of the log in any write: a page that takes a long replay as fast as it comes keeps its thread from other sessions
/// for no more than some writes of that.
const BATCH: u64 = 256 * 1024;

/// Most bytes that complete the frame in which a page stands that is let go: they are a copy, and one that has to be sent
/// more does not read, or takes so large a message that its line is slow for it.
const MAX_REST: u64 = BATCH;

/// A page that has more than this to be sent, in bytes, is behind.
const BEHIND: u64 = 64 * 1024;

/// See the module. Bytes leave in the order head, log up to `control_at`, control, log.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Bytes ahead of the log: the 101 and what sessmux answers itself; whole frames.
    head: Box<[u8]>,
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
    /// The message boundary at which the owner adds something; never the log's start.
    stop: Option<NonZeroU64>,
    /// Whole messages of sessmux's own, which wait for a message boundary without control frames.
    own: Box<[u8]>,
}

impl Outgoing {
    /// A queue that sends `head` and then the log from `start` on.
    pub fn new(head: Vec<u8>, start: Mark) -> Self {
        Self {
            head: head.into(),
            head_sent: 0,
            cursor: start.offset,
            walked: start,
            control: Vec::new(),
            control_sent: 0,
            control_at: 0,
            stop: None,
            own: Box::default(),
        }
    }

    /// As [`Self::new`], but stops at this message boundary, where [`Self::add`] is to be called.
    pub fn stopping(head: Vec<u8>, start: Mark, stop: Option<NonZeroU64>) -> Self {
        Self {
            stop,
            ..Self::new(head, start)
        }
    }

    /// Whether it stands where it stops: nothing lies between, or only what was removed. Control frames that have begun
    /// are whole first.
    pub fn is_stopped(&self, log: &Log) -> bool {
        let at = |stop: NonZeroU64| log.reach(self.cursor, stop.get(), 1) == 0;
        self.control_sent == 0 && self.stop.is_some_and(at)
    }

    /// Sends these whole messages, and goes on.
    pub fn add(&mut self, messages: &[u8]) {
        more(&mut self.head, |head| head.extend_from_slice(messages));
        self.stop = None;
    }

    /// Offset in the log of the next byte to send.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Whether something of the log is to be sent.
    pub fn lacks_data(&self, log: &Log) -> bool {
        log.reach(self.cursor, log.end(), 1) > 0
    }

    /// Whether so much is to be sent that what waits behind it waits long.
    pub fn is_behind(&self, log: &Log) -> bool {
        log.reach(self.cursor, log.end(), BEHIND + 1) > BEHIND
    }

    /// The last message boundary that was sent.
    pub fn passed(&mut self, log: &Log) -> Mark {
        (_, self.walked) = log.frame_boundary(self.walked, self.cursor);
        self.walked
    }

    /// Whether everything there is was sent.
    pub fn is_empty(&self, log: &Log) -> bool {
        self.head.is_empty()
            && self.control.is_empty()
            && self.own.is_empty()
            && self.stop.is_none()
            && !self.lacks_data(log)
    }

    /// Bytes that it holds beside the log.
    pub fn held(&self) -> usize {
        self.head.len() + self.own.len() + self.control.capacity()
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
            more(&mut self.own, write);
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
            self.control = std::mem::take(&mut self.own).into_vec();
        }
    }

    /// What to write next, at most as many slices as `out` takes, which are at least two; returns how many.
    pub fn slices<'a>(&'a self, log: &'a Log, out: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        // what it stands before may be a hole
        let mut limit = log.end().min(log.advance(self.cursor, BATCH));
        limit = limit.min(self.stop.map_or(u64::MAX, NonZeroU64::get));
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
        let reached = (reached - (self.head.len() - self.head_sent)) as u64;
        // what acknowledges the messages before the stop must follow what is added there
        let stopped = self.stop.is_some_and(|stop| stop.get() <= self.control_at);
        if !stopped && log.reach(self.cursor, self.control_at, reached + 1) == reached {
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
                self.head = Box::default();
                self.head_sent = 0;
            }
        }
        let limit = if self.control.is_empty() {
            log.end()
        } else {
            self.control_at
        };
        let now = log.reach(self.cursor, limit, written as u64);
        self.cursor = log.advance(self.cursor, now);
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

    /// Ends the queue: the bytes that complete the frame that the page stands in, and nothing more; `None` where they are
    /// too many for a page that is let go.
    pub fn rest_of_frame(self, log: &Log) -> Option<Vec<u8>> {
        let head = &self.head[self.head_sent..];
        let (boundary, _) = log.frame_boundary(self.walked, self.cursor);
        let frame = if self.control_sent == 0 {
            log.distance(self.cursor, boundary)
        } else {
            0
        };
        if head.len() as u64 + frame > MAX_REST {
            return None;
        }
        let mut rest = head.to_vec();
        if self.control_sent > 0 {
            rest.extend_from_slice(&self.control[self.control_sent..]);
        } else {
            log.copy(self.cursor, boundary, &mut rest);
        }
        Some(rest)
    }
}

/// Adds to what is seldom added to: a box, for a vector's spare room would be a word more of every session.
fn more(bytes: &mut Box<[u8]>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut all = std::mem::take(bytes).into_vec();
    write(&mut all);
    *bytes = all.into();
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

    /// The data frames of `sent`, in order; all of its frames are whole.
    fn data_frames(sent: &[u8]) -> Vec<Vec<u8>> {
        let (mut data, mut rest) = (Vec::new(), sent);
        while let Some(header) = super::super::frame::parse(rest, super::super::frame::Sender::Server).unwrap() {
            let (frame, later) = rest.split_at(header.total() as usize);
            if !header.opcode.is_control() {
                data.push(frame.to_vec());
            }
            rest = later;
        }
        assert!(rest.is_empty());
        data
    }

    #[test]
    fn what_is_added_where_it_stops_splits_no_control_frame() {
        let mut log = Log::new(Bounds {
            bytes: 1 << 20,
            messages: 1000,
        });
        let (first, mut frame) = (log.boundary(), Vec::new());
        write(&mut frame, Opcode::Binary, b"first", None);
        log.push(&frame);
        log.commit(true);
        let stop = NonZeroU64::new(log.boundary().offset);
        let mut out = Outgoing::stopping(Vec::new(), Mark::default(), stop);
        out.push_control(&log, |out| write(out, Opcode::Pong, b"now", None));
        let mut sent = Vec::new();
        read_all(&mut out, &log, 1, &mut sent);
        // all that lies before the stop goes while the page stands in the pong
        assert!(log.remove(first, Some(out.cursor())));
        assert!(!out.is_stopped(&log));
        read_all(&mut out, &log, 100, &mut sent);
        assert_eq!(sent, b"\x8a\x03now");
        assert!(out.is_stopped(&log));
    }

    proptest! {
        /// Whatever is written or removed when, and however little the socket takes at a time: control frames stand
        /// between frames, sessmux's own messages between messages, and the rest is the head and the log, in order.
        #[test]
        fn nothing_splits_a_frame_and_only_what_was_removed_is_missing(
            before in 0..4usize,
            steps in proptest::collection::vec((0..7u8, 1..400usize), 1..200),
        ) {
            let mut log = Log::new(Bounds { bytes: 1 << 20, messages: 1000 });
            // of each message its frames, where it starts, and whether it was removed
            let mut messages: Vec<(Vec<Vec<u8>>, Mark, bool)> = Vec::new();
            for number in 0..before as u64 {
                let (mark, mut frame) = (log.boundary(), Vec::new());
                write(&mut frame, Opcode::Binary, &number.to_be_bytes(), None);
                log.push(&frame);
                log.commit(true);
                messages.push((vec![frame], mark, false));
            }
            // what is there already is to be followed by something
            let stop = NonZeroU64::new(log.boundary().offset);
            let mut out = Outgoing::stopping(b"\x81\x04head".to_vec(), Mark::default(), stop);
            let (mut sent, mut own) = (Vec::new(), 0);
            for (step, size) in steps {
                if out.is_stopped(&log) {
                    out.add(b"\x82\x05added");
                }
                match step {
                    0 | 1 => {
                        let (mark, number) = (log.boundary(), messages.len() as u64);
                        let mut frames = Vec::new();
                        for part in 0..=usize::from(step) {
                            let mut frame = Vec::new();
                            write(&mut frame, Opcode::Binary, &[&number.to_be_bytes()[..], &vec![b'x'; size]].concat(), None);
                            if step == 1 && part == 0 {
                                frame[0] &= 0x7f;
                            }
                            log.push(&frame);
                            frames.push(frame);
                        }
                        log.commit(true);
                        messages.push((frames, mark, false));
                    }
                    2 => { out.push_control(&log, |out| write(out, Opcode::Pong, b"now", None)); }
                    3 => { out.push_control_last(&log, |out| write(out, Opcode::Ping, b"last", None)); }
                    4 => {
                        let taken = out.push_message(|out| write(out, Opcode::Text, b"own", None));
                        own += usize::from(taken);
                        out.place_messages(&log);
                    }
                    5 => {
                        let Some(index) = messages.len().checked_sub(1 + size % 8) else { continue };
                        let (_, mark, gone) = &mut messages[index];
                        if !*gone {
                            *gone = log.remove(*mark, Some(out.cursor()));
                        }
                    }
                    _ => {
                        out.place_messages(&log);
                        read_all(&mut out, &log, size, &mut sent);
                    }
                }
            }
            while !out.is_empty(&log) {
                if out.is_stopped(&log) {
                    out.add(b"\x82\x05added");
                }
                out.place_messages(&log);
                let before = sent.len();
                read_all(&mut out, &log, 100, &mut sent);
                prop_assert!(sent.len() > before, "there is something to send, and nothing is sent");
            }
            let mut got = data_frames(&sent).into_iter();
            prop_assert_eq!(got.next(), Some(b"\x81\x04head".to_vec()));
            let mut got: Vec<Vec<u8>> = got.collect();
            let is_own = |frame: &Vec<u8>| frame[0] == 0x81;
            prop_assert_eq!(got.iter().filter(|frame| is_own(frame)).count(), own);
            for (index, _) in got.iter().enumerate().filter(|(_, frame)| is_own(frame)) {
                let begun = index.checked_sub(1).is_some_and(|before| got[before][0] & 0x80 == 0);
                prop_assert!(!begun, "amid a message");
            }
            got.retain(|frame| !is_own(frame));
            let mut got = &got[..];
            for (index, (frames, _, gone)) in messages.iter().enumerate() {
                if index == before && stop.is_some() {
                    prop_assert_eq!(&got[0], b"\x82\x05added");
                    got = &got[1..];
                }
                if got.starts_with(frames) {
                    got = &got[frames.len()..];
                } else {
                    prop_assert!(gone, "a message that was not removed is missing");
                }
            }
            if messages.len() == before && stop.is_some() {
                prop_assert_eq!(&got[0], b"\x82\x05added");
                got = &got[1..];
            }
            prop_assert!(got.is_empty(), "more than there was");
        }
    }
}
