//! Messages removed from the middle, and a reader that passes over the holes, against a list of what is there.

use super::*;

/// What may happen to a log with a reader.
#[derive(Debug, Clone)]
enum Step {
    Push(Vec<usize>),
    /// Messages of one frame each, those that fit in one go.
    Run(Vec<usize>),
    /// The one so many messages back goes.
    Remove(usize),
    /// The reader takes at most so many bytes, of so many slices.
    Read(usize, usize),
    Evict,
    Abandon(usize),
    Shrink,
}

fn step() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![6 => 0..200usize, 1 => 0..40_000usize];
    prop_oneof![
        6 => prop::collection::vec(size(), 1..4).prop_map(Step::Push),
        3 => prop::collection::vec(size(), 1..6).prop_map(Step::Run),
        5 => (0..12usize).prop_map(Step::Remove),
        4 => (prop_oneof![1..50usize, 1..2000usize, 1..100_000usize], 1..4usize).prop_map(|(most, slices)| Step::Read(most, slices)),
        2 => Just(Step::Evict),
        1 => (1..3000usize).prop_map(Step::Abandon),
        1 => Just(Step::Shrink),
    ]
}

/// A message of the list that the log is held against.
struct Known {
    start: u64,
    wire: Vec<u8>,
    gone: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// Whatever is removed when: the reader gets what was there when it came to it, in order and whole; positions stay.
    #[test]
    fn what_is_removed_is_passed_over(steps in prop::collection::vec(step(), 1..120), messages in 1..30u64) {
        let mut log = Log::new(Bounds { bytes: 300_000, messages });
        let mut all: Vec<Known> = Vec::new();
        // the reader: its cursor, how many messages are behind it, and how much it has of the next
        let (mut cursor, mut next, mut has) = (0, 0, 0);
        for step in steps {
            match step {
                Step::Push(sizes) => {
                    let wire = message(&sizes, all.len() as u8);
                    all.push(Known { start: log.end(), wire: wire.concat(), gone: false });
                    push(&mut log, &wire);
                }
                Step::Run(sizes) => {
                    let mut run = Vec::new();
                    let (mut messages, mut last) = (0, 0);
                    for size in sizes {
                        let wire = frame(size, true, all.len() as u8);
                        all.push(Known { start: log.end() + run.len() as u64, wire: wire.clone(), gone: false });
                        if run.len() + wire.len() <= log.run_room() {
                            run.extend_from_slice(&wire);
                            (messages, last) = (messages + 1, wire.len());
                        } else {
                            if messages > 0 {
                                log.push_run(Run { bytes: &std::mem::take(&mut run), messages, last });
                                messages = 0;
                            }
                            push(&mut log, &[wire]);
                        }
                    }
                    if messages > 0 {
                        log.push_run(Run { bytes: &run, messages, last });
                    }
                    prop_assert_eq!((log.newest, log.end()), (all[all.len() - 1].start, log.tail()));
                }
                Step::Remove(back) => {
                    let Some(index) = all.len().checked_sub(1 + back) else { continue };
                    let mark = Mark { offset: all[index].start, position: index as u64 };
                    let stands_in_it = index == next && has > 0;
                    let evicted = (index as u64) < log.base().position;
                    if all[index].gone {
                        continue;
                    }
                    let removed = log.remove(mark, Some(cursor));
                    prop_assert_eq!(removed, !stands_in_it && !evicted);
                    all[index].gone = removed;
                }
                Step::Read(most, slices) => {
                    let mut out = vec![IoSlice::new(&[]); slices];
                    let count = log.slices(cursor, log.end(), &mut out);
                    let bytes: Vec<u8> = out[..count].iter().flat_map(|slice| slice.iter().copied()).take(most).collect();
                    cursor = log.advance(cursor, bytes.len() as u64);
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        while has == 0 && all[next].gone {
                            next += 1;
                        }
                        let wire = &all[next].wire[has..];
                        let now = wire.len().min(rest.len());
                        prop_assert!(rest[..now] == wire[..now], "message {next} at {has}");
                        has += now;
                        rest = &rest[now..];
                        if has == all[next].wire.len() {
                            (next, has) = (next + 1, 0);
                        }
                    }
                    let left = all[next..].iter().enumerate().filter(|(index, known)| !known.gone || (*index == 0 && has > 0));
                    let left: usize = left.map(|(_, known)| known.wire.len()).sum::<usize>() - has;
                    prop_assert_eq!(log.distance(cursor, log.end()), left as u64);
                }
                Step::Evict => {
                    let (before, messages) = (log.base().position as usize, log.messages());
                    let evicted = log.evict(Some(cursor));
                    prop_assert_eq!(log.messages(), messages - evicted);
                    let passed = &all[before..log.base().position as usize];
                    prop_assert_eq!(evicted, passed.iter().filter(|known| !known.gone).count() as u64);
                }
                Step::Abandon(size) => {
                    log.push(&frame(size, false, b'?'));
                    log.abandon_message();
                }
                Step::Shrink => log.shrink(),
            }
            prop_assert_eq!(log.allocated, slabs(&log));
            prop_assert_eq!(log.boundary().position, all.len() as u64);
            let base = log.base();
            let kept = all.iter().enumerate().skip(base.position as usize).filter(|(_, known)| !known.gone);
            let (indices, kept): (Vec<_>, Vec<_>) = kept.map(|(index, known)| (index, &known.wire[..])).unzip();
            prop_assert!(contents(&log, base.offset, log.end()) == kept.concat(), "what is kept");
            prop_assert_eq!(log.messages(), kept.len() as u64);
            let positions: Vec<u64> = indices.iter().map(|index| *index as u64 + 1).collect();
            prop_assert_eq!(log.positions(base), positions);
            for index in indices {
                let end = all[index].start + all[index].wire.len() as u64;
                let mark = Mark { offset: end, position: index as u64 + 1 };
                prop_assert_eq!(log.frame_boundary(base, end), (end, mark));
            }
        }
    }
}
