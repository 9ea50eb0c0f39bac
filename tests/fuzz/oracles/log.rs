//! The replay log against a plain list of messages, with some removed and one reader.
//!
//! Input: the bounds in two bytes, then steps in a few bytes each.

use std::io::IoSlice;

use arbitrary::{Result, Unstructured};
use sessmux::core::frame::{self, Opcode};
use sessmux::core::log::{Bounds, Log, Mark};

/// Each step looks at all messages.
const MOST: usize = 100;

/// So many bytes can be compared after every step.
const LITTLE: u64 = 8 << 10;

/// A message of the list.
struct Known {
    start: u64,
    wire: Vec<u8>,
    gone: bool,
}

/// The log, the list, and the reader: its cursor, how many messages are behind it, how much it has of the next.
struct World {
    log: Log,
    all: Vec<Known>,
    cursor: u64,
    next: usize,
    has: usize,
}

pub fn check(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let Ok(bounds) = bounds(&mut bytes) else { return };
    let mut world = World {
        log: Log::new(bounds),
        all: Vec::new(),
        cursor: 0,
        next: 0,
        has: 0,
    };
    for _ in 0..MOST {
        if bytes.is_empty() || world.step(&mut bytes).is_err() {
            break;
        }
        // of much it is looked at in the end alone
        if world.log.tail() - world.log.base().offset < LITTLE {
            world.check();
        }
    }
    world.check();
}

fn bounds(bytes: &mut Unstructured<'_>) -> Result<Bounds> {
    Ok(Bounds {
        bytes: *bytes.choose(&[0, 700, 5000, 300_000])?,
        messages: *bytes.choose(&[1, 3, 30])?,
    })
}

impl World {
    fn step(&mut self, bytes: &mut Unstructured<'_>) -> Result<()> {
        match bytes.int_in_range(0..=9)? {
            0..=3 => {
                let start = self.log.end();
                let fill = self.all.len() as u8;
                let last = bytes.int_in_range(0..=2)?;
                let mut wire = Vec::new();
                for index in 0..=last {
                    let frame = frame(size(bytes)?, index == last, fill);
                    // in two pieces, as it may be read
                    let (one, two) = frame.split_at(frame.len() / 2);
                    self.log.push(one);
                    self.log.push(two);
                    self.log.commit(index == last);
                    wire.extend_from_slice(&frame);
                }
                let gone = false;
                self.all.push(Known { start, wire, gone });
            }
            4 | 5 => {
                let back = bytes.int_in_range(0..=12)?;
                let Some(index) = self.all.len().checked_sub(1 + back) else {
                    return Ok(());
                };
                if !self.all[index].gone {
                    let mark = Mark {
                        offset: self.all[index].start,
                        position: index as u64,
                    };
                    let amid = index == self.next && self.has > 0;
                    let evicted = (index as u64) < self.log.base().position;
                    self.all[index].gone = self.log.remove(mark, Some(self.cursor));
                    assert_eq!(self.all[index].gone, !amid && !evicted);
                }
            }
            6 => {
                let (most, slices) = (size(bytes)? + 1, bytes.int_in_range(1..=3)?);
                self.read(most, slices);
            }
            7 => {
                self.log.evict(Some(self.cursor));
            }
            8 => {
                self.log.push(&frame(size(bytes)?, false, b'?'));
                self.log.abandon_message();
            }
            _ => self.log.shrink(),
        }
        Ok(())
    }

    /// The reader gets what was there when it came to it, in order and whole.
    fn read(&mut self, most: usize, slices: usize) {
        let mut out = vec![IoSlice::new(&[]); slices];
        let count = self.log.slices(self.cursor, self.log.end(), &mut out);
        let slices = out[..count].iter().flat_map(|slice| slice.iter().copied());
        let bytes: Vec<u8> = slices.take(most).collect();
        assert!(
            !bytes.is_empty() || self.left() == 0,
            "nothing is read, and something is left"
        );
        self.cursor = self.log.advance(self.cursor, bytes.len() as u64);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            while self.has == 0 && self.all[self.next].gone {
                self.next += 1;
            }
            let wire = &self.all[self.next].wire[self.has..];
            let now = wire.len().min(rest.len());
            assert!(rest[..now] == wire[..now], "message {} at {}", self.next, self.has);
            (self.has, rest) = (self.has + now, &rest[now..]);
            if self.has == self.all[self.next].wire.len() {
                (self.next, self.has) = (self.next + 1, 0);
            }
        }
    }

    fn left(&self) -> usize {
        let ahead = self.all[self.next..].iter().enumerate();
        let ahead = ahead.filter(|(index, known)| !known.gone || (*index == 0 && self.has > 0));
        ahead.map(|(_, known)| known.wire.len()).sum::<usize>() - self.has
    }

    fn check(&self) {
        let log = &self.log;
        assert_eq!(log.distance(self.cursor, log.end()), self.left() as u64);
        assert_eq!(log.boundary().position, self.all.len() as u64);
        assert!(!log.amid_message());
        let base = log.base();
        let kept = self.all.iter().enumerate().skip(base.position as usize);
        let kept: Vec<_> = kept.filter(|(_, known)| !known.gone).collect();
        let mut there = Vec::new();
        log.copy(base.offset, log.end(), &mut there);
        let wires: Vec<&[u8]> = kept.iter().map(|(_, known)| &known.wire[..]).collect();
        assert!(there == wires.concat(), "what is kept");
        let positions: Vec<u64> = kept.iter().map(|(index, _)| *index as u64 + 1).collect();
        assert_eq!(log.positions(base), positions);
        for (index, known) in kept {
            let end = known.start + known.wire.len() as u64;
            let position = index as u64 + 1;
            let mark = Mark { offset: end, position };
            assert_eq!(log.frame_boundary(base, end), (end, mark));
            let mut payload = Vec::new();
            log.payload(known.start, &mut payload);
            assert!(payload.iter().all(|byte| *byte == index as u8));
        }
    }
}

fn frame(size: usize, fin: bool, fill: u8) -> Vec<u8> {
    let mut wire = Vec::new();
    frame::write(&mut wire, Opcode::Binary, &vec![fill; size], None);
    if !fin {
        wire[0] &= 0x7f;
    }
    wire
}

fn size(bytes: &mut Unstructured<'_>) -> Result<usize> {
    let small = usize::from(bytes.arbitrary::<u8>()?);
    Ok(match bytes.arbitrary::<u8>()? >> 4 {
        0..=11 => small,
        12..=14 => small * 20,
        _ => 65_400 + small,
    })
}
