//! Why a page left, judged from what its browser did (README, "Refresh, blip, end").

use std::time::Instant;

use super::log::Mark;

/// What is known of the page requests of a page's browser.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PageFacts {
    /// Whether its pages come through sessmux at all.
    pub seen: bool,
    /// Whether they do, and have to be requested again on every load, so that no reload goes unnoticed.
    pub rerequested: bool,
    /// When it last began to request one.
    pub last_request: Option<Instant>,
}

/// How an attachment ended, as far as the wire tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// The page sent a close frame, with this code if it gave one.
    Closed(Option<u16>),
    /// Its connection ended or broke without one, or sessmux ended it while the page itself was well: because a newer
    /// attachment took over, it read too slowly, or it broke the protocol.
    Cut,
    /// It was told that what it needs is no longer retained, and to reload.
    Gap,
}

/// An attachment that ended.
#[derive(Debug, Clone, Copy)]
pub struct Detached {
    /// When.
    pub at: Instant,
    /// When its 101 was sent.
    pub since: Instant,
    /// How.
    pub parting: Parting,
    /// The last message boundary up to which its browser acknowledged receipt, or where its replay began.
    pub resume: Mark,
}

/// What a detach turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The connection was cut and the page's state is intact.
    Blip,
    /// The page's state is gone, or may be.
    Refresh,
    /// The page ended the conversation.
    OnPurpose,
}

impl Cause {
    /// The name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blip => "blip",
            Self::Refresh => "refresh",
            Self::OnPurpose => "on-purpose",
        }
    }
}

/// Judges a detach; uncertain ones are refreshes, for a false refresh shows something twice and a false blip shows an
/// empty page. `blip_1006` declares every cut a blip; `explicit_id` says that the session's key names a conversation.
pub fn judge(detached: &Detached, facts: PageFacts, blip_1006: bool, explicit_id: bool) -> Cause {
    let requested = facts.last_request.is_some_and(|at| at >= detached.since);
    match detached.parting {
        Parting::Cut if blip_1006 || (facts.rerequested && !requested) => Cause::Blip,
        Parting::Closed(None | Some(1000)) if facts.seen && !requested && !explicit_id => Cause::OnPurpose,
        _ => Cause::Refresh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_table() {
        let since = Instant::now();
        let before = since - Duration::from_secs(5);
        let after = since + Duration::from_secs(5);
        let facts = |seen, rerequested, last_request| PageFacts {
            seen,
            rerequested,
            last_request,
        };
        let (ours, cached, elsewhere) = (
            facts(true, true, Some(before)),
            facts(true, false, Some(before)),
            PageFacts::default(),
        );
        let reloaded = facts(true, true, Some(after));
        use Cause::{Blip, OnPurpose, Refresh};
        use Parting::{Closed, Cut, Gap};
        for (parting, facts, blip_1006, explicit, expected) in [
            (Cut, ours, false, false, Blip),
            (Cut, reloaded, false, false, Refresh),
            (Cut, cached, false, false, Refresh),
            (Cut, elsewhere, false, false, Refresh),
            (Cut, elsewhere, true, false, Blip),
            (Gap, ours, true, false, Refresh),
            (Closed(Some(1001)), ours, true, false, Refresh),
            (Closed(Some(1000)), ours, false, false, OnPurpose),
            (Closed(None), cached, false, false, OnPurpose),
            (Closed(Some(1000)), ours, false, true, Refresh),
            (Closed(Some(1000)), reloaded, false, false, Refresh),
            (Closed(Some(1000)), elsewhere, false, false, Refresh),
            (Closed(Some(4000)), ours, false, false, Refresh),
        ] {
            let detached = Detached {
                at: after,
                since,
                parting,
                resume: Mark::default(),
            };
            assert_eq!(
                judge(&detached, facts, blip_1006, explicit),
                expected,
                "{parting:?} {facts:?}"
            );
        }
    }
}
