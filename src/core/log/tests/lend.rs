//! Memory that is lent and given back, against bytes that are pushed.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    /// What is read into the memory lent is as if it was pushed, and what is not adopted leaves no trace.
    #[test]
    fn what_is_adopted_is_as_if_it_was_pushed(
        messages in messages(), cuts in prop::collection::vec(1..300_000usize, 1..20), runs: bool, not: bool
    ) {
        let mut log = holding(WIDE, &[message(&[2_500_000], 7)]);
        let mut other = log.clone();
        let mut cuts = cuts.into_iter().cycle();
        // whole messages of one frame at a time where that may be, else what there is room for of a frame
        for message in &messages {
            push(&mut other, message);
            for (index, frame) in message.iter().enumerate() {
                let mut rest = &frame[..];
                while !rest.is_empty() {
                    let mut memory = log.lend().unwrap();
                    let free = memory.capacity() - memory.len();
                    let now = rest.len().min(free).min(cuts.next().unwrap());
                    memory.extend_from_slice(&rest[..now]);
                    if not {
                        memory.resize(memory.capacity(), b'?');
                    }
                    if runs && message.len() == 1 && now == frame.len() {
                        log.adopt_run(Run { bytes: frame, messages: 1, last: now });
                    } else {
                        log.adopt(now);
                        if now == rest.len() {
                            log.commit(index + 1 == message.len());
                        }
                    }
                    rest = &rest[now..];
                    log.give_back(memory);
                }
            }
        }
        let seen = |log: &Log| (log.base, log.newest, log.boundary, log.end, log.tail, log.removed);
        prop_assert_eq!(seen(&log), seen(&other));
        prop_assert_eq!(log.allocated, slabs(&log));
        prop_assert!(contents(&log, 0, log.tail) == contents(&other, 0, log.tail));
        let walked = |log: &Log| (0..=log.end).step_by(999).map(|at| log.frame_boundary(Mark::default(), at)).collect::<Vec<_>>();
        prop_assert_eq!(walked(&log), walked(&other));
        prop_assert_eq!(log.evict_to(300_000, None) > 0, true);
        prop_assert!(slabs(&log) <= 300_000 || log.base.offset == log.newest);
        let base = log.base.offset;
        prop_assert!(contents(&log, base, log.tail) == contents(&other, base, other.tail));
    }
}

#[test]
fn a_small_log_lends_nothing() {
    let mut log = holding(WIDE, &[message(&[1_900_000], 0)]);
    assert_eq!(log.lend(), None);
    // nor does one that may not be large
    let bounds = Bounds { bytes: 1 << 20, ..WIDE };
    let mut log = holding(bounds, &[message(&[3_000_000], 0)]);
    assert_eq!(log.lend(), None);
}
