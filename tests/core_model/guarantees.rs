//! One guarantee at a time, where a random walk would seldom go.

use super::interleavings::{LOAD, POLICY, REDIAL, closes};
use super::world::{Operation, World};
use sessmux::core::cause::{PageFacts, Parting};
use sessmux::core::close;
use sessmux::core::log::Bounds;
use sessmux::core::session::{Admission, Due, Newcomer, UpstreamEnd};
use sessmux::core::{Overflow, Policy, ReplayMode};
use std::time::Duration;

const ALL: Operation = Operation::Write(1 << 20, 16);

fn message(world: &mut World, size: usize) {
    world.apply(&Operation::Frame { size, fin: true });
    world.apply(&Operation::Read(1 << 20));
}

fn seconds(count: u64) -> Operation {
    Operation::Wait(count * 1000)
}

#[test]
fn g2_the_replaced_page_is_cut_in_the_same_step() {
    let mut world = World::new(POLICY);
    world.apply(&LOAD);
    message(&mut world, 100);
    world.apply(&Operation::Write(50, 4));
    world.apply(&LOAD);
    // the old one's pings, pongs and close: nothing moves
    world.apply(&Operation::Stale);
    assert_eq!((world.core.epoch(), world.core.counts().stale), (2, 3));
    world.finish();
}

#[test]
fn g4_a_turns_replay_starts_with_the_turn() {
    let mut world = World::new(Policy {
        replay_refresh: ReplayMode::Turn,
        ..POLICY
    });
    world.apply(&LOAD);
    message(&mut world, 10);
    world.apply(&Operation::TurnStarted);
    message(&mut world, 20);
    message(&mut world, 30);
    world.apply(&LOAD);
    assert_eq!(
        world.page.as_ref().map(|page| page.next),
        Some(1),
        "behind the message before the turn"
    );
    world.finish();
}

#[test]
fn g4_a_blip_replays_what_was_not_acknowledged() {
    // the ping that asks for it rides a message, or follows the last
    for rides in [false, true] {
        let mut world = World::new(POLICY);
        world.apply(&LOAD);
        message(&mut world, 10);
        world.apply(&Operation::Write(if rides { 0 } else { 1 << 20 }, 16));
        // it finds a pong waiting, and is sent all the same
        world.apply(&Operation::PagePing);
        world.apply(&seconds(2));
        world.apply(&ALL);
        world.apply(&ALL);
        world.apply(&ALL);
        assert_eq!(world.page.as_ref().map(|page| page.pings.len()), Some(1));
        world.apply(&Operation::Pong(0));
        message(&mut world, 20);
        world.apply(&ALL);
        world.apply(&Operation::Detach(Parting::Cut));
        world.apply(&REDIAL);
        assert_eq!(
            world.page.as_ref().map(|page| page.next),
            Some(1),
            "the second, which it may lack"
        );
        world.finish();
    }
}

#[test]
fn g5_a_blip_that_lost_messages_is_told_so_once_also_over_a_half_open_connection() {
    for detaches in [false, true] {
        let mut world = World::new(Policy {
            log: Bounds {
                bytes: 1 << 20,
                messages: 1,
            },
            acks: false,
            ..POLICY
        });
        world.apply(&LOAD);
        for _ in 0..3 {
            message(&mut world, 10);
            world.apply(&ALL);
        }
        let facts = PageFacts {
            seen: true,
            rerequested: true,
            last_request: None,
        };
        let redial = |world: &mut World| {
            let newcomer = Newcomer {
                since: world.now,
                facts,
                same_browser: true,
                head: Vec::new(),
                answer: None,
            };
            world.core.attach(world.now, newcomer)
        };
        let told = redial(&mut world);
        assert!(matches!(told, Admission::Refused(_, close) if close.code == Some(close::GAP)));
        if detaches {
            world.core.detach(world.now, 1, Parting::Cut);
        }
        let Admission::Attached(attachment) = redial(&mut world) else {
            panic!("told twice")
        };
        assert_eq!((attachment.gap, attachment.replayed), (2, 1));
    }
}

#[test]
fn g6_a_page_that_does_not_read_holds_upstream_for_ten_seconds() {
    let mut world = World::new(Policy {
        log: Bounds {
            bytes: 1000,
            messages: 1000,
        },
        acks: false,
        ..POLICY
    });
    world.apply(&LOAD);
    message(&mut world, 900);
    message(&mut world, 900);
    assert_eq!(world.core.read_budget(world.now), 0);
    world.apply(&Operation::Wait(9_999));
    assert!(world.page.is_some());
    world.apply(&Operation::Wait(1));
    assert!(world.page.is_none(), "too slow");
    assert_eq!(world.core.read_budget(world.now), usize::MAX);
    world.finish();
}

#[test]
fn g6_a_page_that_caught_up_to_the_bound_by_count_holds_nothing_up() {
    let mut world = World::new(Policy {
        log: Bounds {
            bytes: 1 << 20,
            messages: 2,
        },
        acks: false,
        ..POLICY
    });
    world.apply(&LOAD);
    for _ in 0..6 {
        world.apply(&Operation::Frame { size: 10, fin: true });
    }
    world.apply(&Operation::Read(1 << 20));
    assert_eq!(world.core.read_budget(world.now), 0);
    // its head and four messages; two are left
    world.apply(&Operation::Write(10 + 4 * 12, 4));
    assert!(world.core.read_budget(world.now) > 0);
    assert_eq!(world.core.counts().evicted, 4);
    world.finish();
}

#[test]
fn g8_a_redial_amid_a_fight_is_turned_away_and_changes_nothing() {
    let mut world = World::new(Policy { fights: true, ..POLICY });
    // a load, three takeovers, and one that is turned away
    for _ in 0..5 {
        world.apply(&REDIAL);
    }
    assert_eq!(world.core.epoch(), 4);
    world.apply(&LOAD);
    assert_eq!(world.core.epoch(), 5, "a person reloaded");
    world.apply(&seconds(30));
    world.apply(&REDIAL);
    assert_eq!(world.core.epoch(), 6);
    world.finish();
}

#[test]
fn g9_a_close_that_crosses_the_end_is_no_echo() {
    // nothing of the end was sent; all but its last byte; all, but the page left by itself
    for written in [0, 10 + 102 + 13 - 1, 1 << 20] {
        let mut world = World::new(Policy { acks: false, ..POLICY });
        world.apply(&LOAD);
        message(&mut world, 100);
        world.apply(&closes(1000));
        world.apply(&Operation::Write(written, 4));
        world.apply(&Operation::Detach(Parting::Closed(Some(1001))));
        assert!(!world.over, "the reload gets the rest and the end");
        world.finish();
        assert!(world.over);
    }
}

#[test]
fn g9_the_load_after_the_one_that_was_shown_the_end_starts_afresh() {
    let mut world = World::new(POLICY);
    world.apply(&LOAD);
    world.apply(&closes(4000));
    world.apply(&Operation::Detach(Parting::Cut));
    world.apply(&LOAD);
    world.apply(&ALL);
    world.apply(&Operation::Detach(Parting::Cut));
    assert!(world.over);
}

#[test]
fn g9_a_page_that_takes_nothing_of_the_rest_is_let_go() {
    for end in [closes(1000), Operation::UpstreamEnds(UpstreamEnd::Abrupt)] {
        for pings in [false, true] {
            let mut world = World::new(Policy { acks: false, ..POLICY });
            world.apply(&LOAD);
            message(&mut world, 100);
            if pings {
                world.apply(&Operation::PagePing);
            }
            // the heartbeat falls due while the page stands still
            world.apply(&seconds(28));
            world.apply(&end);
            world.apply(&Operation::Write(1, 4));
            world.apply(&seconds(3));
            world.apply(&Operation::Write(1, 4));
            world.apply(&Operation::Wait(14_999));
            world.apply(&Operation::Write(0, 4));
            assert!(world.page.is_some(), "it took a byte 15 s ago");
            world.apply(&Operation::Wait(1));
            assert!(world.page.is_none() && !world.over, "kept for the grace");
            world.finish();
        }
    }
}

#[test]
fn g9_nothing_follows_the_end() {
    let mut world = World::new(POLICY);
    world.apply(&LOAD);
    message(&mut world, 100);
    world.apply(&closes(1000));
    world.apply(&Operation::PagePing);
    world.apply(&Operation::Write(50, 4));
    world.apply(&Operation::PagePing);
    world.apply(&ALL);
    world.apply(&Operation::PagePing);
    world.finish();
    assert!(world.over);
}

#[test]
fn a_close_judged_a_refresh_in_its_time_stays_one() {
    let mut world = World::new(Policy {
        explicit_id: false,
        ..POLICY
    });
    world.apply(&LOAD);
    let elsewhere = PageFacts::default();
    let later = world.now + Duration::from_secs(2);
    let departure = world.core.detach(world.now, 1, Parting::Closed(Some(1000)));
    assert!(departure.is_some_and(|departure| !departure.over));
    assert_eq!(world.core.due(later, elsewhere), None);
    let facts = PageFacts {
        seen: true,
        rerequested: true,
        last_request: None,
    };
    let newcomer = Newcomer {
        since: later,
        facts,
        same_browser: true,
        head: Vec::new(),
        answer: None,
    };
    assert!(matches!(world.core.attach(later, newcomer), Admission::Attached(_)));
}

#[test]
fn a_close_that_is_meant_ends_the_session_after_two_seconds() {
    let mut world = World::new(Policy {
        explicit_id: false,
        ..POLICY
    });
    world.apply(&REDIAL);
    let facts = PageFacts {
        seen: true,
        ..PageFacts::default()
    };
    world.core.detach(world.now, 1, Parting::Closed(None));
    let at = |milliseconds| world.now + Duration::from_millis(milliseconds);
    let (early, then) = (at(1999), at(2000));
    assert_eq!(world.core.due(early, facts), None);
    assert_eq!(world.core.due(then, facts), Some(Due::OnPurpose(None)));
}

/// How many messages the attached page is not replayed.
fn left_out(world: &World) -> usize {
    world.page.as_ref().expect("a page").next
}

fn acknowledge(world: &mut World) {
    world.apply(&ALL);
    world.apply(&seconds(2));
    world.apply(&ALL);
    world.apply(&Operation::Pong(0));
}

#[test]
fn g4_a_page_that_was_replaced_by_another_and_dials_again_gets_what_only_that_one_got() {
    // the older tab is still attached when the newer one comes, or its connection was cut before
    for cut in [false, true] {
        let mut world = World::new(POLICY);
        world.apply(&LOAD);
        message(&mut world, 10);
        acknowledge(&mut world);
        if cut {
            world.apply(&Operation::Detach(Parting::Cut));
            world.apply(&seconds(1));
        }
        world.apply(&LOAD);
        message(&mut world, 20);
        acknowledge(&mut world);
        // the older tab, which never got the second message
        world.apply(&seconds(60));
        world.apply(&REDIAL);
        assert_eq!(left_out(&world), 1, "that is what the older tab has");
        message(&mut world, 30);
        acknowledge(&mut world);
        // whichever of them this is
        world.apply(&Operation::Detach(Parting::Cut));
        world.apply(&REDIAL);
        assert_eq!(left_out(&world), 1);
        world.finish();
    }
}

#[test]
fn g4_the_second_of_two_tabs_that_were_restored_at_once_is_no_blip_of_the_first() {
    let mut world = World::new(POLICY);
    world.apply(&LOAD);
    message(&mut world, 10);
    acknowledge(&mut world);
    // requested before the first one dialled, so that nothing was requested since
    world.apply(&REDIAL);
    assert_eq!(left_out(&world), 0);
    world.finish();
}

#[test]
fn g4_a_page_that_was_reloaded_without_a_close_frame_does_not_return() {
    let mut world = World::new(POLICY);
    world.apply(&LOAD);
    message(&mut world, 10);
    acknowledge(&mut world);
    // the page request comes first, then the old connection's end, then the new one
    world.apply(&Operation::Request);
    world.apply(&Operation::Detach(Parting::Cut));
    world.apply(&REDIAL);
    assert_eq!(left_out(&world), 0, "a load");
    message(&mut world, 20);
    acknowledge(&mut world);
    world.apply(&Operation::Detach(Parting::Cut));
    world.apply(&REDIAL);
    assert_eq!(left_out(&world), 2, "what its predecessor had does not matter");
    world.finish();
}

#[test]
fn g4_a_redial_over_a_half_open_connection_is_a_blip() {
    let mut world = World::new(POLICY);
    world.apply(&LOAD);
    message(&mut world, 10);
    acknowledge(&mut world);
    message(&mut world, 20);
    world.apply(&seconds(10));
    world.apply(&REDIAL);
    assert_eq!(left_out(&world), 1, "only the second comes again");
    world.finish();
}

#[test]
fn g4_a_page_amid_a_long_backlog_acknowledges_what_it_has() {
    let mut world = World::new(POLICY);
    world.apply(&LOAD);
    for _ in 0..100 {
        message(&mut world, 5000);
    }
    world.apply(&seconds(1));
    // each a part of the backlog
    for _ in 0..4 {
        world.apply(&Operation::Write(20_000, 4));
    }
    world.apply(&Operation::Pong(0));
    world.apply(&Operation::Detach(Parting::Cut));
    world.apply(&REDIAL);
    assert!((1..20).contains(&left_out(&world)), "resumes amid it");
    world.finish();
}

#[test]
fn g6_a_page_that_takes_a_little_at_a_time_is_too_slow() {
    let mut world = World::new(Policy {
        log: Bounds {
            bytes: 1000,
            messages: 1000,
        },
        acks: false,
        ..POLICY
    });
    world.apply(&LOAD);
    for _ in 0..1000 {
        world.apply(&Operation::Frame { size: 100, fin: true });
    }
    for _ in 0..4 {
        world.apply(&Operation::Read(500));
    }
    for _ in 0..9 {
        world.apply(&Operation::Write(200, 4));
        world.apply(&Operation::Read(500));
        world.apply(&seconds(1));
        assert!(world.page.is_some());
    }
    world.apply(&seconds(1));
    assert!(world.page.is_none(), "its pace keeps upstream unread");
    world.finish();
}

#[test]
fn g6_a_slow_page_holds_nothing_up_while_upstream_has_nothing_to_say() {
    let mut world = World::new(Policy {
        log: Bounds {
            bytes: 1000,
            messages: 1000,
        },
        acks: false,
        ..POLICY
    });
    world.apply(&LOAD);
    // one that is larger than the log
    message(&mut world, 5000);
    for _ in 0..10 {
        world.apply(&Operation::Write(100, 4));
        world.apply(&seconds(9));
        world.apply(&Operation::Read(1 << 20));
    }
    assert!(world.page.is_some());
    world.finish();
}

#[test]
fn g6_a_pause_is_over_when_upstream_was_read_dry() {
    let mut world = World::new(Policy {
        log: Bounds {
            bytes: 1000,
            messages: 1000,
        },
        acks: false,
        ..POLICY
    });
    world.apply(&LOAD);
    for _ in 0..12 {
        message(&mut world, 100);
    }
    assert_eq!(world.core.read_budget(world.now), 0);
    world.apply(&Operation::Write(500, 4));
    world.apply(&Operation::Read(1 << 20));
    world.apply(&seconds(20));
    assert!(world.page.is_some(), "it keeps nobody waiting");
    world.finish();
}

#[test]
fn g9_an_end_that_was_not_sent_whole_is_kept() {
    for end in [closes(4000), Operation::UpstreamEnds(UpstreamEnd::Abrupt)] {
        let mut world = World::new(Policy { acks: false, ..POLICY });
        world.apply(&LOAD);
        message(&mut world, 100);
        world.apply(&Operation::Detach(Parting::Cut));
        world.apply(&end);
        // its head and half of the replay
        for _ in 0..2 {
            world.apply(&LOAD);
            world.apply(&Operation::Write(50, 4));
            world.apply(&Operation::Detach(Parting::Closed(Some(1001))));
            assert!(!world.over, "the next load gets replay and end");
        }
        world.finish();
    }
}

#[test]
fn overflow_close_loses_nothing_that_was_acknowledged() {
    let mut world = World::new(Policy {
        overflow: Overflow::Close,
        log: Bounds {
            bytes: 1 << 20,
            messages: 3,
        },
        ..POLICY
    });
    world.apply(&LOAD);
    for _ in 0..10 {
        message(&mut world, 10);
        world.apply(&ALL);
    }
    acknowledge(&mut world);
    world.apply(&Operation::Detach(Parting::Closed(Some(1001))));
    for _ in 0..3 {
        message(&mut world, 10);
        assert!(world.end.is_none(), "there is room for what nobody has");
    }
    message(&mut world, 10);
    assert!(world.end.is_some());
    world.finish();
}
