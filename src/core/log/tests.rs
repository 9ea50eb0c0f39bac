//! The log against a plain list of messages.

mod holes;
mod lend;

use super::super::frame::{Opcode, write};
use super::*;
use proptest::prelude::*;

const WIDE: Bounds = Bounds {
    bytes: usize::MAX,
    messages: u64::MAX,
};

fn frame(size: usize, fin: bool, fill: u8) -> Vec<u8> {
    let mut wire = Vec::new();
    write(&mut wire, Opcode::Binary, &vec![fill; size], None);
    if !fin {
        wire[0] &= 0x7f;
    }
    wire
}

/// A message of so many bytes in each frame.
fn message(sizes: &[usize], fill: u8) -> Vec<Vec<u8>> {
    let last = sizes.len() - 1;
    sizes
        .iter()
        .enumerate()
        .map(|(index, size)| frame(*size, index == last, fill))
        .collect()
}

fn push(log: &mut Log, message: &[Vec<u8>]) {
    for (index, frame) in message.iter().enumerate() {
        log.push(frame);
        log.commit(index + 1 == message.len());
    }
}

fn holding(bounds: Bounds, messages: &[Vec<Vec<u8>>]) -> Log {
    let mut log = Log::new(bounds);
    messages.iter().for_each(|message| push(&mut log, message));
    log
}

fn contents(log: &Log, from: u64, to: u64) -> Vec<u8> {
    let mut out = Vec::new();
    log.copy(from, to, &mut out);
    out
}

fn slabs(log: &Log) -> usize {
    log.slabs.iter().map(|slab| slab.bytes.capacity()).sum()
}

fn messages() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let size = prop_oneof![6 => 0..200usize, 1 => 262_000..262_200usize, 1 => 0..100_000usize];
    let sizes = prop::collection::vec(prop::collection::vec(size, 1..4), 1..20);
    sizes.prop_map(|all| {
        all.iter()
            .enumerate()
            .map(|(index, sizes)| message(sizes, index as u8))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn eviction_by_count_is_exact(messages in messages(), bound in 1..20u64, cursor in 0..20usize) {
        let mut log = holding(Bounds { messages: bound, ..WIDE }, &messages);
        let wire: Vec<u8> = messages.iter().flatten().flatten().copied().collect();
        let starts: Vec<u64> = messages.iter().scan(0, |at, message| {
            let start = *at;
            *at += message.iter().map(Vec::len).sum::<usize>() as u64;
            Some(start)
        }).collect();
        let reader = starts.get(cursor).copied();
        let unread = reader.map_or(0, |_| messages.len() - cursor) as u64;
        let kept = (messages.len() as u64).min(bound.max(unread));
        let evicted = log.evict(reader);
        prop_assert_eq!(evicted, messages.len() as u64 - kept);
        let base = starts[evicted as usize];
        prop_assert_eq!(log.base(), Mark { offset: base, position: evicted });
        prop_assert_eq!(contents(&log, base, log.end()), &wire[base as usize..]);
        prop_assert_eq!(log.allocated, slabs(&log));
        prop_assert_eq!(log.evict(reader), 0, "once is enough");
    }

    #[test]
    fn eviction_by_bytes_takes_no_message_too_many(messages in messages(), bound in 0..400_000usize) {
        let mut log = holding(Bounds { bytes: bound, ..WIDE }, &messages);
        let evicted = log.evict(None);
        prop_assert!(log.allocated <= bound || log.base().offset == log.newest);
        prop_assert_eq!(log.allocated, slabs(&log));
        if evicted > 0 {
            // the same log with one message more, for a reader lacks it
            let before = &messages[..evicted as usize - 1];
            let start: usize = before.iter().flatten().map(Vec::len).sum();
            let mut other = holding(Bounds { bytes: bound, ..WIDE }, &messages);
            prop_assert_eq!(other.evict(Some(start as u64)), evicted - 1);
            prop_assert!(other.allocated > bound);
        }
    }

    #[test]
    fn what_is_asked_back_is_the_oldest_and_nothing_unread(
        messages in messages(), bytes in 0..400_000usize, read in 0..20usize, cap: bool
    ) {
        let read = read.min(messages.len());
        let wire = |messages: &[Vec<Vec<u8>>]| messages.concat().concat();
        let cursor = Some(wire(&messages[..read]).len() as u64);
        let mut log = holding(WIDE, &messages);
        let evicted = if cap {
            log.set_bytes(bytes);
            log.evict(cursor)
        } else {
            log.evict_to(bytes, cursor)
        };
        prop_assert_eq!(log.base().position, evicted);
        prop_assert!(evicted as usize <= read);
        prop_assert_eq!(contents(&log, log.base().offset, log.end()), wire(&messages[evicted as usize..]));
        let more = read.min(messages.len() - 1) as u64 > evicted;
        prop_assert!(!more || slabs(&log) <= bytes, "{} held", slabs(&log));
        // its own bound holds again
        log.set_bytes(usize::MAX);
        push(&mut log, &messages[0]);
        prop_assert_eq!(log.evict(None), 0);
    }

    #[test]
    fn boundaries_payloads_and_slices_are_those_of_the_messages(messages in messages(), count in 1..5usize) {
        let log = holding(WIDE, &messages);
        let wire: Vec<u8> = messages.iter().flatten().flatten().copied().collect();
        let (mut at, mut mark) = (0, Mark::default());
        for message in &messages {
            let mut payload = Vec::new();
            log.payload(mark.offset, &mut payload);
            let total: usize = message.iter().map(Vec::len).sum();
            prop_assert!(payload.len() < total && payload.iter().all(|byte| u64::from(*byte) == mark.position));
            for frame in message {
                let end = at + frame.len() as u64;
                prop_assert_eq!(log.frame_boundary(Mark::default(), at), (at, mark));
                let fin = frame[0] & 0x80 != 0;
                let after = if fin { Mark { offset: end, position: mark.position + 1 } } else { mark };
                for inside in [at + 1, end - 1, end] {
                    prop_assert_eq!(log.frame_boundary(mark, inside), (end, after));
                }
                (at, mark) = (end, after);
            }
        }
        let mut out = vec![IoSlice::new(&[]); count];
        let mut cursor = 0;
        while cursor < log.end() {
            let limit = log.end().min(cursor + 70_000);
            let given = log.slices(cursor, limit, &mut out);
            prop_assert!(given > 0);
            for slice in &out[..given] {
                prop_assert_eq!(&**slice, &wire[cursor as usize..cursor as usize + slice.len()]);
                cursor += slice.len() as u64;
            }
            prop_assert!(cursor <= limit);
        }
    }

    #[test]
    fn what_is_abandoned_leaves_no_trace(messages in messages(), part in message_part(), shrinks: bool) {
        let mut log = holding(WIDE, &messages);
        if shrinks {
            log.shrink();
        }
        let (end, boundary) = (log.end(), log.boundary());
        let before = contents(&log, 0, end);
        let (sizes, cut) = part;
        let mut left = cut;
        for size in sizes {
            let frame = frame(size, false, b'?');
            let now = left.min(frame.len());
            log.push(&frame[..now]);
            left -= now;
            if now < frame.len() {
                break;
            }
            log.commit(false);
        }
        log.abandon_message();
        prop_assert!(!log.amid_message() && !log.partly_forwardable());
        prop_assert_eq!((log.end(), log.tail(), log.boundary()), (end, end, boundary));
        prop_assert_eq!(contents(&log, 0, end), before);
        prop_assert_eq!(log.allocated, slabs(&log));
        push(&mut log, &message(&[5, 70_000], b'!'));
        let mut payload = Vec::new();
        log.payload(end, &mut payload);
        prop_assert_eq!(payload, vec![b'!'; 70_005]);
    }
}

/// Sizes of frames of a message that is never complete, and after how many bytes it stops.
fn message_part() -> impl Strategy<Value = (Vec<usize>, usize)> {
    prop::collection::vec(prop_oneof![0..200usize, 0..100_000usize], 1..4)
        .prop_flat_map(|sizes| (Just(sizes.clone()), 0..sizes.iter().sum::<usize>() + 40))
}

#[test]
fn nothing_is_allocated_before_the_first_message() {
    let mut log = Log::new(WIDE);
    assert_eq!((log.allocated(), log.slabs.capacity()), (0, 0));
    log.abandon_message();
    log.shrink();
    assert_eq!((log.allocated(), log.room(0), log.evict(None)), (0, usize::MAX, 0));
}

#[test]
fn what_comes_at_once_has_memory_in_one_piece() {
    let mut log = Log::new(Bounds {
        bytes: 1 << 20,
        messages: 100,
    });
    let messages: Vec<_> = (0..10).map(|fill| message(&[256], fill)).collect();
    let size: usize = messages.iter().flatten().map(Vec::len).sum();
    log.reserve(size);
    for message in &messages {
        push(&mut log, message);
    }
    assert_eq!((log.slabs.len(), log.slabs.capacity(), log.allocated()), (1, 1, size));
    // and no more than a log of these bounds may have
    let bounds = Bounds {
        bytes: 1 << 14,
        messages: 100,
    };
    let mut log = Log::new(bounds);
    log.reserve(1 << 14);
    assert_eq!(log.allocated(), 1 << 11);
}

#[test]
fn a_run_needs_a_message_boundary_and_a_slab_with_room() {
    let mut log = Log::new(WIDE);
    assert_eq!(log.run_room(), 0, "no slab yet");
    log.push(&frame(10, false, 1));
    assert_eq!(log.run_room(), 0, "amid a message");
    log.commit(false);
    log.push(&frame(10, true, 1));
    log.commit(true);
    assert_eq!(log.run_room(), SLAB.0 - 2 * 12);
    log.push(&frame(10, true, 1)[..5]);
    assert_eq!(log.run_room(), 0, "amid a frame");
}

#[test]
fn the_newest_message_and_the_one_being_received_are_kept_above_the_bounds() {
    for bounds in [Bounds { bytes: 10, ..WIDE }, Bounds { messages: 1, ..WIDE }] {
        let mut log = Log::new(bounds);
        let long = message(&[100, 90_000, 3], 1);
        for frame in &long[..2] {
            log.push(frame);
            log.commit(false);
            assert_eq!(log.evict(None), 0, "the first, which is being received");
            assert!(!log.overflows());
        }
        log.push(&long[2]);
        log.commit(true);
        assert_eq!(log.evict(None), 0, "the newest");
        log.push(&long[0]);
        log.commit(false);
        assert_eq!(log.evict(None), 0, "both");
        log.push(&frame(1, true, 1));
        log.commit(true);
        assert!(log.overflows());
        assert_eq!(log.evict(Some(log.base().offset + 1)), 0, "a reader has yet to get it");
        assert_eq!(log.evict(None), 1);
        assert_eq!((log.base().position, log.boundary().position), (1, 2));
    }
}

#[test]
fn memory_returns_to_what_is_held() {
    let mut log = Log::new(Bounds { bytes: 100_000, ..WIDE });
    for fill in 0..200 {
        push(&mut log, &message(&[3000], fill));
        log.evict(None);
        let spare = log.spare.as_ref().map_or(0, |spare| spare.len());
        assert_eq!(log.allocated(), slabs(&log) + spare);
        assert!(log.allocated() <= 100_000 + SLAB.1);
    }
    log.shrink();
    let front = log.slabs.front().map_or(0, |slab| log.base.offset - slab.start);
    assert!(log.allocated() as u64 <= log.tail() - log.base().offset + front + SLAB.1 as u64);
    let mut empty = Log::new(WIDE);
    empty.push(&frame(90_000, false, 0));
    empty.abandon_message();
    assert_eq!(empty.allocated(), 0);
}

#[test]
fn a_reader_of_the_newest_message_never_blocks() {
    let two = [message(&[50], 0), message(&[60], 1)];
    let mut log = holding(Bounds { bytes: 300, ..WIDE }, &two);
    assert_eq!(log.room(0), 300 - 52 - 62);
    assert_eq!(log.room(52), usize::MAX, "the newest is held above the bounds");
    log.push(&frame(400, false, 2));
    assert_eq!(log.room(51), 0);
    assert_eq!(log.room(60), usize::MAX, "and so is what is being received");
    log.commit(false);
    assert_eq!(log.room(60), usize::MAX);
    log.push(&frame(10, true, 2));
    log.commit(true);
    assert_eq!(log.room(60), 0, "not the newest any more");
    assert_eq!(log.room(log.end()), usize::MAX);
}
