//! A session's state against the model of `tests/core_model`, whatever happens in whatever order.
//!
//! Input: the policy in ten bytes, then operations in a few bytes each.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use sessmux::core::cause::Parting;
use sessmux::core::close::Close;
use sessmux::core::log::Bounds;
use sessmux::core::session::UpstreamEnd;
use sessmux::core::{Overflow, Policy, ReplayMode};

#[path = "../../core_model/page.rs"]
mod page;
#[path = "../../core_model/world/mod.rs"]
mod world;

use world::{Operation, PageFactsOf, World};

/// The model compares with all that was ever sent, so a long story takes long.
const MOST: usize = 150;

pub fn check(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let Ok(policy) = policy(&mut bytes) else { return };
    let mut world = World::new(policy);
    for _ in 0..MOST {
        let Ok(next) = operation(&mut bytes) else { break };
        world.apply(&next);
    }
    world.finish();
}

fn policy(bytes: &mut Unstructured<'_>) -> Result<Policy> {
    let modes = [ReplayMode::All, ReplayMode::Missed, ReplayMode::Turn, ReplayMode::None];
    let (hello, hello_answer) = *bytes.choose(&[(false, false), (true, false), (true, true)])?;
    Ok(Policy {
        replay_refresh: *bytes.choose(&modes)?,
        replay_blip: *bytes.choose(&modes)?,
        blip_1006: flag(bytes)?,
        explicit_id: flag(bytes)?,
        hello,
        hello_answer,
        one_to_one: bytes.ratio(1, 10)?,
        grace: Duration::from_secs(120),
        grace_open: Duration::from_secs(300),
        log: Bounds {
            bytes: *bytes.choose(&[1, 600, 5000, 300_000, 1 << 30])?,
            messages: *bytes.choose(&[1, 2, 7, 1_000_000])?,
        },
        overflow: if flag(bytes)? {
            Overflow::Close
        } else {
            Overflow::DropOldest
        },
        slow_reader: Duration::from_secs(10),
        acks: flag(bytes)?,
        fights: flag(bytes)?,
    })
}

fn operation(bytes: &mut Unstructured<'_>) -> Result<Operation> {
    if bytes.is_empty() {
        return Err(arbitrary::Error::NotEnoughData);
    }
    Ok(match bytes.int_in_range(0..=15)? {
        0 | 1 => Operation::Frame {
            size: size(bytes)?,
            fin: flag(bytes)?,
        },
        2 => Operation::Read(most(bytes)?),
        3 => Operation::Write(most(bytes)?, bytes.int_in_range(2..=16)?),
        4 => Operation::Request,
        5 => Operation::Attach(PageFactsOf {
            seen: flag(bytes)?,
            rerequested: flag(bytes)?,
            requests: flag(bytes)?,
        }),
        6 => Operation::Detach(match bytes.int_in_range(0..=4)? {
            0 => Parting::Cut,
            1 => Parting::Closed(None),
            2 => Parting::Closed(Some(1000)),
            3 => Parting::Closed(Some(1001)),
            _ => Parting::Closed(Some(4000)),
        }),
        7 => Operation::Hello,
        8 => Operation::PagePing,
        9 => Operation::Pong(bytes.int_in_range(0..=5)?),
        10 => Operation::ClientMessage(flag(bytes)?),
        11 if flag(bytes)? => Operation::TurnStarted,
        11 => Operation::TurnEnded,
        12 => Operation::UpstreamEnds(match bytes.int_in_range(0..=3)? {
            0 => UpstreamEnd::Abrupt,
            1 => UpstreamEnd::Close(Close::default()),
            2 => UpstreamEnd::Close(Close::new(1000, "done")),
            _ => UpstreamEnd::Close(Close::new(1001, "away")),
        }),
        13 => Operation::Stale,
        14 => Operation::NextDeadline,
        _ => Operation::Wait(bytes.int_in_range(0..=3000)?),
    })
}

fn flag(bytes: &mut Unstructured<'_>) -> Result<bool> {
    Ok(bytes.arbitrary::<u8>()? & 1 == 1)
}

/// Small ones mostly, and those about which lengths and slabs change their form.
fn size(bytes: &mut Unstructured<'_>) -> Result<usize> {
    let small = usize::from(bytes.arbitrary::<u8>()?);
    Ok(match bytes.arbitrary::<u8>()? >> 4 {
        0..=9 => small,
        10..=12 => 100 + small % 40,
        13 | 14 => small * 20,
        _ => 65_500 + small,
    })
}

/// As much as a socket takes or gives: some bytes, or all that there are.
fn most(bytes: &mut Unstructured<'_>) -> Result<usize> {
    let some = usize::from(bytes.arbitrary::<u8>()?);
    Ok(match bytes.arbitrary::<u8>()? >> 4 {
        0..=9 => 1 + some,
        10..=12 => 1 + some * 100,
        _ => 1 << 20,
    })
}
