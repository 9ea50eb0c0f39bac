//! Two pages that take a session from each other without end are damped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many takeovers …
const TAKEOVERS: usize = 3;
/// … within this time are a fight, …
const WITHIN: Duration = Duration::from_secs(10);
/// … and redials are turned away for this long.
const DAMPED: Duration = Duration::from_secs(30);

/// Recent takeovers; a takeover replaces a still-open attachment.
#[derive(Debug, Clone, Default)]
pub struct Fights {
    recent: VecDeque<Instant>,
    until: Option<Instant>,
}

impl Fights {
    /// Whether an attach that would take over is a redial in a fight, to be turned away. `requested` says whether
    /// its browser requested a page since the current attach: then a person stands behind it.
    pub fn turns_away(&self, now: Instant, requested: bool) -> bool {
        !requested && self.until.is_some_and(|until| now < until)
    }

    /// Notes a takeover.
    pub fn takeover(&mut self, now: Instant) {
        while self
            .recent
            .front()
            .is_some_and(|&first| now.duration_since(first) > WITHIN)
        {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        if self.recent.len() >= TAKEOVERS {
            self.recent.clear();
            self.until = Some(now + DAMPED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_takeover_within_ten_seconds_damps_redials_for_thirty() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut fights = Fights::default();
        fights.takeover(at(0));
        fights.takeover(at(5));
        fights.takeover(at(11));
        assert!(!fights.turns_away(at(11), false), "the first is too long ago");
        fights.takeover(at(12));
        assert!(fights.turns_away(at(12), false));
        assert!(!fights.turns_away(at(12), true), "a person reloaded");
        assert!(fights.turns_away(at(41), false));
        assert!(!fights.turns_away(at(42), false));
    }
}
