//! The session's state machine against a naive model: whatever happens in whatever order, the page's bytes, the counts
//! and the deadlines are those that the guarantees G2 to G9 allow.
#![allow(unreachable_pub, reason = "its modules are one crate's")]

mod guarantees;
mod interleavings;
mod page;
mod prompts;
mod world;

use proptest::prelude::*;
use sessmux::core::cause::Parting;
use sessmux::core::close::Close;
use sessmux::core::log::Bounds;
use sessmux::core::session::UpstreamEnd;
use sessmux::core::{Overflow, Policy, ReplayMode};
use std::time::Duration;
use world::{Operation, PageFactsOf, World};

fn policy() -> impl Strategy<Value = Policy> {
    use ReplayMode::{All, Missed, None, Turn};
    let modes = || prop_oneof![3 => Just(All), 3 => Just(Missed), 1 => Just(Turn), 1 => Just(None)];
    let bytes = prop_oneof![Just(1usize), Just(600), Just(5000), Just(300_000), Just(1 << 30)];
    let messages = prop_oneof![Just(1u64), Just(2), Just(7), Just(1_000_000)];
    let hello = prop_oneof![2 => Just((false, false)), 1 => Just((true, false)), 1 => Just((true, true))];
    let overflow = prop_oneof![3 => Just(Overflow::DropOldest), 1 => Just(Overflow::Close)];
    let flags = (
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.8),
        any::<bool>(),
    );
    (modes(), modes(), bytes, messages, hello, overflow, flags).prop_map(
        |(replay_refresh, replay_blip, bytes, messages, (hello, hello_answer), overflow, flags)| Policy {
            replay_refresh,
            replay_blip,
            blip_1006: flags.0,
            explicit_id: flags.1,
            hello,
            hello_answer,
            one_to_one: flags.2,
            grace: Duration::from_secs(120),
            grace_open: Duration::from_secs(300),
            log: Bounds { bytes, messages },
            overflow,
            slow_reader: std::time::Duration::from_secs(10),
            acks: flags.3,
            fights: flags.4,
        },
    )
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..300usize, 2 => 120..130usize, 1 => 65_500..65_600usize, 1 => 0..200_000usize]
}

fn some_bytes() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..20usize, 4 => 1..1000usize, 2 => 1..100_000usize, 2 => Just(1 << 22)]
}

fn end() -> impl Strategy<Value = UpstreamEnd> {
    prop_oneof![
        Just(UpstreamEnd::Abrupt),
        Just(UpstreamEnd::Close(Close::default())),
        Just(UpstreamEnd::Close(Close::new(1000, "done"))),
        Just(UpstreamEnd::Close(Close::new(1001, "away"))),
    ]
}

fn parting() -> impl Strategy<Value = Parting> {
    let code = prop_oneof![Just(None), Just(Some(1000)), Just(Some(1001)), Just(Some(4000))];
    prop_oneof![2 => Just(Parting::Cut), 3 => code.prop_map(Parting::Closed)]
}

fn operation() -> impl Strategy<Value = Operation> {
    let facts = (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(seen, rerequested, requests)| PageFactsOf {
        seen,
        rerequested,
        requests,
    });
    prop_oneof![
        24 => (size(), prop::bool::weighted(0.6)).prop_map(|(size, fin)| Operation::Frame { size, fin }),
        24 => some_bytes().prop_map(Operation::Read),
        24 => (some_bytes(), 2..17usize).prop_map(|(most, slots)| Operation::Write(most, slots)),
        2 => Just(Operation::Request),
        8 => facts.prop_map(Operation::Attach),
        4 => parting().prop_map(Operation::Detach),
        4 => Just(Operation::Hello),
        6 => Just(Operation::PagePing),
        6 => (0..6usize).prop_map(Operation::Pong),
        2 => any::<bool>().prop_map(Operation::ClientMessage),
        2 => Just(Operation::TurnStarted),
        1 => Just(Operation::TurnEnded),
        1 => end().prop_map(Operation::UpstreamEnds),
        2 => Just(Operation::Stale),
        6 => Just(Operation::NextDeadline),
        6 => (0..3000u64).prop_map(Operation::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// G2 to G9 at once: each operation is held against the model as it happens.
    #[test]
    fn g2_to_g9_whatever_happens_in_whatever_order(
        policy in policy(),
        operations in prop::collection::vec(operation(), 1..250),
    ) {
        let mut world = World::new(policy);
        for operation in &operations {
            world.apply(operation);
        }
        world.finish();
    }
}
