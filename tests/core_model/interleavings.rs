//! Every point at which something may come in between, gone through one by one.

use super::world::{Operation, PageFactsOf, World};
use sessmux::core::cause::Parting;
use sessmux::core::close::Close;
use sessmux::core::log::Bounds;
use sessmux::core::session::UpstreamEnd;
use sessmux::core::{Overflow, Policy, ReplayMode};
use std::time::Duration;

pub const POLICY: Policy = Policy {
    replay_refresh: ReplayMode::All,
    replay_blip: ReplayMode::Missed,
    blip_1006: false,
    explicit_id: true,
    hello: false,
    hello_answer: false,
    one_to_one: false,
    grace: Duration::from_secs(120),
    grace_open: Duration::from_secs(300),
    log: Bounds {
        bytes: 1 << 20,
        messages: 1000,
    },
    overflow: Overflow::DropOldest,
    slow_reader: Duration::from_secs(10),
    acks: true,
    fights: false,
};

pub const LOAD: Operation = Operation::Attach(PageFactsOf {
    seen: true,
    rerequested: true,
    requests: true,
});
pub const REDIAL: Operation = Operation::Attach(PageFactsOf {
    seen: true,
    rerequested: true,
    requests: false,
});

pub fn closes(code: u16) -> Operation {
    Operation::UpstreamEnds(UpstreamEnd::Close(Close::new(code, "so it is")))
}

fn events() -> Vec<Operation> {
    vec![
        LOAD,
        REDIAL,
        Operation::Hello,
        Operation::PagePing,
        Operation::Pong(0),
        Operation::Detach(Parting::Cut),
        Operation::Detach(Parting::Closed(Some(1000))),
        Operation::Detach(Parting::Closed(Some(1001))),
        closes(1000),
        Operation::UpstreamEnds(UpstreamEnd::Abrupt),
        Operation::Stale,
        Operation::NextDeadline,
    ]
}

/// A message, one in three fragments, and one more: bytes on the wire.
const WIRE: usize = (2 + 1) + (2 + 2) + 2 + (2 + 1) + (2 + 3);
/// Those and the head of a page.
const WRITTEN: usize = WIRE + 10;

fn sends(world: &mut World) {
    for (size, fin) in [(1, true), (2, false), (0, false), (1, true), (3, true)] {
        world.apply(&Operation::Frame { size, fin });
    }
}

/// Two events, with a little written in between, after so many bytes were read and written.
fn run(policy: Policy, (read, write): (usize, usize), (one, between, two): (&Operation, usize, &Operation)) {
    let mut world = World::new(policy);
    sends(&mut world);
    world.apply(&LOAD);
    world.apply(&Operation::Read(read));
    // an acknowledgement ping may ride the write
    world.apply(&Operation::Wait(1500));
    world.apply(&Operation::Write(write, 4));
    world.apply(one);
    world.apply(&Operation::Write(between, 4));
    world.apply(two);
    world.apply(&Operation::Read(WIRE));
    world.finish();
}

fn everywhere(policy: Policy) {
    let mut worlds = 0;
    for read in 0..=WIRE {
        for write in (0..=read + 10).chain([WRITTEN + 30]) {
            for one in events() {
                for two in events() {
                    run(policy, (read, write), (&one, (read + write) % 3, &two));
                    worlds += 1;
                }
            }
        }
    }
    assert!(worlds > 10_000);
}

#[test]
fn g2_to_g9_two_events_at_every_point_of_a_message_in_fragments() {
    everywhere(POLICY);
}

#[test]
fn g2_to_g9_two_events_at_every_point_of_a_hello_in_flight() {
    everywhere(Policy {
        hello: true,
        hello_answer: true,
        ..POLICY
    });
}

#[test]
fn g2_to_g9_two_events_at_every_point_with_a_log_of_one_message() {
    let log = Bounds {
        bytes: 1 << 20,
        messages: 1,
    };
    everywhere(Policy {
        log,
        overflow: Overflow::Close,
        ..POLICY
    });
}

/// About the largest slab of such a log, an eighth of it: slabs end within headers and payloads.
#[test]
fn g4_whole_and_in_order_wherever_slabs_end() {
    for size in (131_072 - 40..131_072 + 20).chain(230..260) {
        let mut world = World::new(POLICY);
        world.apply(&LOAD);
        for size in [size, 200, 140_000, 3] {
            world.apply(&Operation::Frame { size, fin: size != 200 });
            world.apply(&Operation::Read(1 << 20));
        }
        world.apply(&Operation::Write(size, 2));
        world.apply(&LOAD);
        world.apply(&Operation::Write(size + 8, 3));
        world.apply(&Operation::PagePing);
        world.apply(&closes(1000));
        world.finish();
    }
}
