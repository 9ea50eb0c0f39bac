//! What happened in a session lately, for an operator: numbers and causes, and nothing that anybody said.

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::core::cause::{Cause, Parting};
use crate::core::close;

/// Most that is remembered of a session; it is allocated as it comes.
const MOST: usize = 64;

/// See the module. Of what is older than the newest [`MOST`], the last coming or going of a page and the last fault stay.
#[derive(Debug)]
pub(super) struct Timeline {
    opened: Instant,
    /// The first of them alone, until there is another: most sessions are attached to once.
    entries: Vec<Entry>,
}

/// Something that happened; small, for every session has some.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Milliseconds after the session was opened.
    after: u64,
    what: What,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// A page was attached.
    Attach {
        /// Its epoch.
        epoch: u32,
        /// Why the last one left; none on the first attach.
        #[serde(serialize_with = "name", skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
    },
    /// It is sent so many messages, from this position on.
    Replay {
        /// The first position.
        from: u64,
        /// How many.
        messages: u32,
    },
    /// It can no longer get so many messages that it should.
    Gap {
        /// How many.
        messages: u64,
    },
    /// A newer page took the session from the one of this epoch.
    Takeover {
        /// The older one's.
        epoch: u32,
    },
    /// The page left, or was let go.
    Detach {
        /// Its epoch.
        epoch: u32,
        /// How.
        #[serde(flatten)]
        how: Left,
    },
    /// A page was not attached: closed with this code.
    Refused {
        /// The close code.
        code: u16,
    },
    /// The server waits for the person.
    Prompt {
        /// The position of what it asks.
        position: u64,
    },
    /// The page answered the prompt at this position.
    Answer {
        /// The prompt's.
        position: u64,
    },
    /// The server does not wait any more, for so many answers.
    Withdrawn {
        /// How many.
        prompts: u32,
    },
    /// Too many prompts were open: the oldest, at this position, is a message like any other from then on.
    LetGo {
        /// The prompt's.
        position: u64,
    },
    /// The log was full: so many messages were evicted in a row.
    Overflow {
        /// How many.
        evicted: u64,
    },
    /// The server chose the session's id: it had another until now.
    Named,
    /// The agent server broke the protocol; it is closed with this code.
    UpstreamFault {
        /// The close code.
        code: u16,
    },
    /// The upstream connection ended: with this code, or without a close frame.
    UpstreamEnd {
        /// The close code.
        code: Option<u16>,
    },
}

/// How a page left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum Left {
    /// It said so, with this code (1005: with none).
    Closed {
        /// The close code.
        code: u16,
    },
    /// Its connection ended without a close frame.
    Cut,
    /// It was closed by sessmux.
    Dismissed {
        /// The close code that it was told.
        code: u16,
    },
}

impl Left {
    /// That of a page that parted like this, after sessmux said this.
    pub(super) fn of(parting: Parting, said: Option<u16>) -> Self {
        match (parting, said) {
            (Parting::Closed(code), _) => Self::Closed {
                code: code.unwrap_or(close::NO_CODE),
            },
            (_, Some(code)) => Self::Dismissed { code },
            _ => Self::Cut,
        }
    }

    /// What it is called in the log and the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Cut => "cut",
            Self::Dismissed { .. } => "dismissed",
        }
    }

    /// The close code that was said, by whichever side.
    pub(super) fn code(self) -> Option<u16> {
        match self {
            Self::Closed { code } | Self::Dismissed { code } => Some(code),
            Self::Cut => None,
        }
    }
}

impl What {
    /// Whether a page came or went.
    fn is_page(&self) -> bool {
        matches!(self, Self::Attach { .. } | Self::Detach { .. })
    }

    /// Whether something went wrong.
    fn is_fault(&self) -> bool {
        match self {
            Self::Gap { .. } | Self::Refused { .. } | Self::Overflow { .. } | Self::UpstreamFault { .. } => true,
            Self::UpstreamEnd { code } => code.is_none(),
            Self::Detach { how, .. } => matches!(how, Left::Dismissed { code } if *code != close::RESTART),
            _ => false,
        }
    }
}

impl Timeline {
    /// That of a session that is opened now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            opened: now,
            entries: Vec::new(),
        }
    }

    /// When the session was opened.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// This has happened.
    pub(super) fn note(&mut self, now: Instant, what: What) {
        if let (Some(last), What::Overflow { evicted: more }) = (self.entries.last_mut(), what)
            && let What::Overflow { evicted } = &mut last.what
        {
            *evicted += more;
            return;
        }
        if self.entries.len() == MOST {
            let kept = [self.last(What::is_page), self.last(What::is_fault)];
            let oldest = (0..MOST).find(|index| !kept.contains(&Some(*index)));
            self.entries.remove(oldest.unwrap_or(0));
        }
        let after = now.saturating_duration_since(self.opened).as_millis() as u64;
        if self.entries.is_empty() {
            self.entries.reserve_exact(1);
        }
        self.entries.push(Entry { after, what });
    }

    /// What is remembered, oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = (Instant, What)> {
        self.entries.iter().map(|entry| self.told(entry))
    }

    /// When a page last came or went, and how.
    pub(super) fn page(&self) -> Option<(Instant, What)> {
        self.last(What::is_page).map(|index| self.told(&self.entries[index]))
    }

    /// What last went wrong.
    pub(super) fn fault(&self) -> Option<(Instant, What)> {
        self.last(What::is_fault).map(|index| self.told(&self.entries[index]))
    }

    fn last(&self, is: impl Fn(&What) -> bool) -> Option<usize> {
        self.entries.iter().rposition(|entry| is(&entry.what))
    }

    fn told(&self, entry: &Entry) -> (Instant, What) {
        (self.opened + Duration::from_millis(entry.after), entry.what)
    }
}

fn name<S: Serializer>(cause: &Option<Cause>, serializer: S) -> Result<S::Ok, S::Error> {
    cause.map(Cause::name).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: What = What::Refused { code: close::GAP };

    #[test]
    fn it_is_bounded_and_keeps_the_last_fault_and_how_the_page_stands() {
        let now = Instant::now();
        let mut timeline = Timeline::new(now);
        let attach = What::Attach { epoch: 1, cause: None };
        timeline.note(now, attach);
        timeline.note(now, FAULT);
        for position in 0..200 {
            timeline.note(now + Duration::from_secs(1), What::Prompt { position });
        }
        assert_eq!(timeline.all().count(), MOST);
        assert_eq!(timeline.page(), Some((now, attach)));
        assert_eq!(timeline.fault(), Some((now, FAULT)));
        let newest = timeline.all().last().unwrap();
        assert_eq!(newest, (now + Duration::from_secs(1), What::Prompt { position: 199 }));
    }

    #[test]
    fn evictions_in_a_row_are_one_entry() {
        let now = Instant::now();
        let mut timeline = Timeline::new(now);
        for evicted in [3, 4] {
            timeline.note(now, What::Overflow { evicted });
        }
        timeline.note(now, What::Named);
        timeline.note(now, What::Overflow { evicted: 1 });
        let all: Vec<_> = timeline.all().map(|(_, what)| what).collect();
        assert_eq!(
            all,
            [
                What::Overflow { evicted: 7 },
                What::Named,
                What::Overflow { evicted: 1 }
            ]
        );
    }

    #[test]
    fn entries_stay_small() {
        assert!(size_of::<Entry>() <= 24, "{}", size_of::<Entry>());
    }
}
