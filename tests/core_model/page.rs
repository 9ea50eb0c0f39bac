//! The page side: parses what it was written, and holds it against what it must get.

use std::collections::VecDeque;
use std::time::Instant;

use sessmux::core::close::Close;
use sessmux::core::frame::{self, Opcode, Sender};

/// A page that lacks more of the frame that it stands in, in bytes, is reset when it is let go.
pub const MAX_REST: usize = 256 * 1024;

/// A whole data frame that upstream sent.
pub struct Frame {
    pub wire: Vec<u8>,
    /// Position of its message.
    pub position: u64,
    /// Offset of its end in all that upstream sent.
    pub end: u64,
    pub fin: bool,
}

/// An acknowledgement ping, as a page received it.
#[derive(Clone)]
pub struct Ping {
    pub epoch: u64,
    pub payload: Vec<u8>,
    /// The last message that the page had whole by then.
    pub position: u64,
}

/// One attachment's page.
pub struct Page {
    pub epoch: u64,
    pub since: Instant,
    /// Frames that must come ahead of all others.
    pub head: VecDeque<Vec<u8>>,
    /// Index of the next data frame that must come.
    pub next: usize,
    /// The last message that it has whole, or that was before its replay.
    pub whole: u64,
    /// Part of a frame.
    partial: Vec<u8>,
    /// Acknowledgement pings received; all but the last were answered.
    pub pings: Vec<Ping>,
    pub answered: usize,
    /// Up to where it acknowledged receipt, or where its replay began.
    pub acknowledged: u64,
    /// Pings that it sent and that were not answered yet.
    pub unanswered: VecDeque<Vec<u8>>,
    /// The close frame that it received.
    pub close: Option<Close>,
    /// Its browser was told on another connection that messages were lost.
    pub gap_told: bool,
}

impl Page {
    pub fn new(epoch: u64, since: Instant, head: VecDeque<Vec<u8>>, next: usize, from: u64) -> Self {
        Self {
            epoch,
            since,
            head,
            next,
            whole: from,
            partial: Vec::new(),
            pings: Vec::new(),
            answered: 0,
            acknowledged: from,
            unanswered: VecDeque::new(),
            close: None,
            gap_told: false,
        }
    }

    /// Bytes arrive; `frames` are all that upstream sent whole.
    pub fn receive(&mut self, bytes: &[u8], frames: &[Frame]) {
        self.partial.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.partial);
        let mut rest = &all[..];
        while let Some(header) = frame::parse(rest, Sender::Server).expect("bytes that are no frame") {
            if (rest.len() as u64) < header.total() {
                break;
            }
            let (wire, later) = rest.split_at(header.total() as usize);
            rest = later;
            assert_eq!(self.close, None, "a frame after the close");
            if header.opcode.is_control() {
                assert!(self.head.is_empty(), "a control frame ahead of the head");
                self.control(header.opcode, &wire[header.size()..]);
            } else if let Some(expected) = self.head.pop_front() {
                assert!(expected == wire, "not the head that was given");
            } else {
                let expected = frames.get(self.next).expect("a frame that upstream did not send");
                assert!(
                    expected.wire == wire,
                    "not the next frame in order (that is {} of message {})",
                    self.next,
                    expected.position
                );
                self.next += 1;
                if expected.fin {
                    self.whole = expected.position;
                }
            }
        }
        self.partial = rest.to_vec();
        if let (true, Some(expected)) = (self.amid_data(), frames.get(self.next)) {
            assert!(
                expected.wire.starts_with(&self.partial),
                "not the next frame's beginning"
            );
        }
    }

    fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        match opcode {
            Opcode::Pong => {
                // one that found too many waiting is never answered; those that are, are in order
                let index = self.unanswered.iter().position(|ping| ping == payload);
                let index = index.expect("a pong to nothing, twice or out of order");
                self.unanswered.drain(..=index);
            }
            Opcode::Ping if payload.is_empty() => {}
            Opcode::Ping => {
                assert_eq!(payload[..8], self.epoch.to_be_bytes(), "the ping of another epoch");
                assert_eq!(self.answered, self.pings.len(), "one ping is outstanding");
                self.pings.push(Ping {
                    epoch: self.epoch,
                    payload: payload.to_vec(),
                    position: self.whole,
                });
            }
            Opcode::Close => self.close = Some(Close::parse(payload).expect("a well-formed close")),
            _ => unreachable!("no control frame"),
        }
    }

    /// Whether it stands amid a frame.
    pub fn amid_frame(&self) -> bool {
        !self.partial.is_empty()
    }

    /// How much it lacks of the head, and of the frame of upstream's that it stands in.
    pub fn rest(&self, frames: &[Frame]) -> usize {
        let head: usize = self.head.iter().map(Vec::len).sum();
        let partial = self.partial.len();
        match frames.get(self.next) {
            Some(frame) if self.amid_data() => frame.wire.len() - partial,
            _ if self.head.is_empty() => 0,
            _ => head - partial,
        }
    }

    fn amid_data(&self) -> bool {
        self.head.is_empty() && self.partial.first().is_some_and(|first| first & 0x0f < 8)
    }

    /// Offset of the next byte that it must get, in all that upstream sent.
    pub fn cursor(&self, start: u64) -> u64 {
        start + if self.amid_data() { self.partial.len() as u64 } else { 0 }
    }

    /// Whether it has all of `frames`.
    pub fn has_all(&self, frames: &[Frame]) -> bool {
        self.head.is_empty() && self.partial.is_empty() && self.next == frames.len()
    }
}
