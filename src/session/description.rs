//! What an operator is told of a session: how it stands, what went wrong, and what happened lately. Keys and owners are not
//! in it, nor anything that a peer said.

use std::time::{Duration, Instant, SystemTime};

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::key::SessionId;
use super::timeline::{Timeline, What};
use crate::core::session::Report;
use crate::metrics::Stage;

/// See the module.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    /// The short hash of its key.
    pub session: SessionId,
    /// The route's path pattern.
    pub route: String,
    /// The route's profile, if it has one.
    pub profile: Option<String>,
    /// How it stands.
    pub state: State,
    /// Whether a turn runs; none where the profile does not tell.
    pub turn: Option<Turn>,
    /// What is known of it once it is dialled for no more.
    #[serde(flatten)]
    pub life: Option<Life>,
}

/// What only a session with an upstream connection has.
#[derive(Debug, Clone, Serialize)]
pub struct Life {
    /// The newest epoch.
    pub epoch: u64,
    /// When it was opened.
    pub opened: Moment,
    /// How its page last came or went.
    pub page: Option<Event>,
    /// Prompts that are open.
    pub prompts: Prompts,
    /// Positions of messages.
    pub positions: Positions,
    /// The replay log.
    pub log: Log,
    /// What last went wrong.
    pub last_error: Option<Event>,
    /// How it ended, or its upstream connection did.
    pub end: Option<End>,
    /// What happened lately, oldest first, where that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<Event>,
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its upstream is being dialled.
    Dialing,
    /// The hello is yet to be said, or to be answered.
    Opening,
    /// A page is attached.
    Attached,
    /// None is.
    Detached,
    /// The upstream connection has ended, and pages get the rest.
    Ending,
    /// It is over.
    Ended,
}

impl From<Stage> for State {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Dialing => Self::Dialing,
            Stage::Opening => Self::Opening,
            Stage::Attached => Self::Attached,
            Stage::Detached => Self::Detached,
            Stage::Ending => Self::Ending,
        }
    }
}

/// Whether a turn runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    /// It does.
    Running,
    /// It does not.
    Idle,
}

/// Prompts that are open.
#[derive(Debug, Clone, Serialize)]
pub struct Prompts {
    /// How many.
    pub open: usize,
    /// Since when the oldest is.
    pub oldest: Option<Moment>,
}

/// Positions of messages.
#[derive(Debug, Clone, Serialize)]
pub struct Positions {
    /// The oldest that can be replayed; one more than the newest where none can.
    pub oldest: u64,
    /// The newest.
    pub newest: u64,
    /// Up to where the attached page, or the last one, has acknowledged receipt.
    pub acknowledged: u64,
}

/// The replay log.
#[derive(Debug, Clone, Serialize)]
pub struct Log {
    /// Bytes that it holds.
    pub bytes: usize,
    /// Messages that it holds.
    pub messages: u64,
    /// Messages that were evicted.
    pub evicted: u64,
}

/// How a session ended.
#[derive(Debug, Clone, Serialize)]
pub struct End {
    /// When.
    #[serde(flatten)]
    pub moment: Moment,
    /// Why.
    pub why: String,
    /// The close code of the upstream connection, if it ended that with one.
    pub code: Option<u16>,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// When.
    #[serde(flatten)]
    pub moment: Moment,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// A time: in words as the log has it, and how many seconds ago that is.
#[derive(Debug, Clone, Copy)]
pub struct Moment(SystemTime);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ago = self.0.elapsed().unwrap_or(Duration::ZERO);
        let mut fields = serializer.serialize_struct("Moment", 2)?;
        fields.serialize_field("at", &humantime::format_rfc3339_millis(self.0).to_string())?;
        // to the millisecond, as the time is
        fields.serialize_field("ago", &(ago.as_millis() as f64 / 1000.0))?;
        fields.end()
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The wall clock beside the clock of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    now: Instant,
    wall: SystemTime,
}

impl Clocks {
    pub(super) fn at(now: Instant) -> Self {
        let wall = SystemTime::now();
        Self { now, wall }
    }

    pub(super) fn moment(self, at: Instant) -> Moment {
        Moment(self.wall - self.now.saturating_duration_since(at))
    }

    fn event(self, (at, what): (Instant, What)) -> Event {
        Event {
            moment: self.moment(at),
            what,
        }
    }
}

impl Description {
    /// One whose upstream is being dialled.
    pub(super) fn dialing(session: SessionId, route: &str) -> Self {
        Self {
            session,
            route: route.to_owned(),
            profile: None,
            state: State::Dialing,
            turn: None,
            life: None,
        }
    }

    /// The same without what happened lately.
    pub(super) fn forget_timeline(&mut self) {
        if let Some(life) = &mut self.life {
            life.timeline = Vec::new();
        }
    }

    /// How long its oldest prompt has been open, then how long it has been there: whoever waits longest comes first.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let life = self.life.as_ref();
        let prompt = life.and_then(|life| life.prompts.oldest).map(|moment| moment.0);
        let opened = life.map(|life| life.opened.0);
        (prompt.is_none(), prompt, opened.is_none(), opened)
    }
}

impl Life {
    pub(super) fn new(clocks: Clocks, report: &Report, timeline: &Timeline, end: Option<End>, whole: bool) -> Self {
        let timeline_shown = whole.then(|| timeline.all()).into_iter().flatten();
        Self {
            epoch: report.epoch,
            opened: clocks.moment(timeline.opened()),
            page: timeline.page().map(|it| clocks.event(it)),
            prompts: Prompts {
                open: report.prompts,
                oldest: report.oldest_prompt.map(|at| clocks.moment(at)),
            },
            positions: Positions {
                oldest: report.oldest,
                newest: report.newest,
                acknowledged: report.acknowledged,
            },
            log: Log {
                bytes: report.bytes,
                messages: report.messages,
                evicted: report.evicted,
            },
            last_error: timeline.fault().map(|it| clocks.event(it)),
            end,
            timeline: timeline_shown.map(|it| clocks.event(it)).collect(),
        }
    }
}
