//! Why a page left, judged from what its browser did (README, "Refresh, blip, end").

use std::time::{Duration, Instant};

use super::log::Mark;

/// A page that was loaded dials within this time, and the one that it replaces is gone: a redial that comes so soon
/// after a page request, while another attachment is still open, may be that of a second page.
const LOADS: Duration = Duration::from_secs(10);

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
    /// Its connection ended or broke without one, or sessmux ended it while the page itself was well: because it read
    /// too slowly, or broke the protocol.
    Cut,
    /// It has not ended: a newer attachment takes over.
    Takeover,
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
    /// The last message boundary up to which whoever may dial again acknowledged receipt, or where a replay of theirs
    /// began.
    pub resume: Mark,
    /// It has perhaps not received the open prompts that it was to be sent out of position.
    pub owed_prompts: bool,
}

impl Detached {
    /// Whether its page may be alive and dial again, although another was loaded since: unless it said that it goes, or
    /// its browser asked for a page shortly before it went, as a reload does.
    pub fn may_return(&self, facts: PageFacts) -> bool {
        let reload = |at: Instant| at >= self.since && at <= self.at && self.at < at + LOADS;
        match self.parting {
            Parting::Takeover => true,
            Parting::Cut => !facts.last_request.is_some_and(reload),
            Parting::Closed(_) | Parting::Gap => false,
        }
    }
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
/// empty page. `blip_1006` declares every cut, though no takeover, a blip; `explicit_id` says that the session's key names a conversation.
pub fn judge(detached: &Detached, facts: PageFacts, blip_1006: bool, explicit_id: bool) -> Cause {
    let requested = facts.last_request.is_some_and(|at| at >= detached.since);
    let loading = facts.last_request.is_some_and(|at| detached.at < at + LOADS);
    let intact = facts.rerequested && !requested;
    match detached.parting {
        Parting::Cut if intact || (blip_1006 && !requested) => Cause::Blip,
        Parting::Takeover if intact && !loading => Cause::Blip,
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
        let before = since - Duration::from_secs(6);
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
        // two tabs that a browser restored at once: both were requested before either dialled
        let restored = facts(true, true, Some(since - Duration::from_secs(1)));
        use Cause::{Blip, OnPurpose, Refresh};
        use Parting::{Closed, Cut, Gap, Takeover};
        for (parting, facts, blip_1006, explicit, expected) in [
            (Cut, ours, false, false, Blip),
            (Cut, reloaded, false, false, Refresh),
            (Cut, cached, false, false, Refresh),
            (Cut, elsewhere, false, false, Refresh),
            (Cut, elsewhere, true, false, Blip),
            (Cut, reloaded, true, false, Refresh),
            (Takeover, ours, false, false, Blip),
            (Takeover, reloaded, false, false, Refresh),
            (Takeover, restored, false, false, Refresh),
            (Takeover, elsewhere, true, false, Refresh),
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
                owed_prompts: false,
            };
            assert_eq!(
                judge(&detached, facts, blip_1006, explicit),
                expected,
                "{parting:?} {facts:?}"
            );
        }
    }
}
