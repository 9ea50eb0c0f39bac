//! What a running sessmux says of its sessions, for people.

use std::io::{self, Write};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use tabwriter::TabWriter;

/// As `/sessions` has it; of a newer sessmux more may be there.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    sessions: Vec<Session>,
    ended: Vec<Session>,
}

#[derive(Debug, Deserialize)]
struct Session {
    session: String,
    route: String,
    profile: Option<String>,
    state: String,
    turn: Option<String>,
    #[serde(flatten)]
    life: Option<Life>,
}

#[derive(Debug, Deserialize)]
struct Life {
    epoch: u64,
    opened: Moment,
    page: Option<Event>,
    prompts: Prompts,
    positions: Positions,
    log: Log,
    last_error: Option<Event>,
    end: Option<End>,
    #[serde(default)]
    timeline: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Moment {
    at: String,
    ago: f64,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(flatten)]
    moment: Moment,
    what: String,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Prompts {
    open: usize,
    oldest: Option<Moment>,
}

#[derive(Debug, Deserialize)]
struct Positions {
    oldest: u64,
    newest: u64,
    acknowledged: u64,
}

#[derive(Debug, Deserialize)]
struct Log {
    bytes: u64,
    messages: u64,
    evicted: u64,
}

#[derive(Debug, Deserialize)]
struct End {
    #[serde(flatten)]
    moment: Moment,
    why: String,
    code: Option<u16>,
}

/// Those there are, a line each, and what a restart would cut.
pub(super) fn sessions(out: &mut impl Write, listing: &Listing) -> io::Result<()> {
    let mut table = TabWriter::new(&mut *out);
    writeln!(
        table,
        "SESSION\tSTATE\tFOR\tBY\tPROMPTS\tTURN\tPOSITION\tLOG\tAGE\tPROFILE\tROUTE\tLAST ERROR"
    )?;
    for session in &listing.sessions {
        let life = session.life.as_ref();
        let page = life.and_then(|life| life.page.as_ref());
        let prompts = life.and_then(|life| life.prompts.oldest.as_ref().map(|oldest| (life.prompts.open, oldest)));
        writeln!(
            table,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            session.session,
            session.state,
            or_none(page.map(|page| span(&page.moment))),
            or_none(page.map(Event::cause)),
            or_none(prompts.map(|(open, oldest)| format!("{open}, {}", span(oldest)))),
            session.turn.as_deref().unwrap_or("-"),
            or_none(life.map(|life| life.positions.newest.to_string())),
            or_none(life.map(|life| size(life.log.bytes))),
            or_none(life.map(|life| span(&life.opened))),
            session.profile.as_deref().unwrap_or("-"),
            session.route,
            or_none(life.and_then(|life| life.last_error.as_ref()).map(|error| format!(
                "{}, {} ago",
                error.said(),
                span(&error.moment)
            ))),
        )?;
    }
    table.flush()?;
    writeln!(out, "\n{}", restart(&listing.sessions))
}

/// What a restart would cut: whether it is time for one.
fn restart(sessions: &[Session]) -> String {
    let running = sessions
        .iter()
        .filter(|it| it.turn.as_deref() == Some("running"))
        .count();
    let waiting = sessions.iter().filter_map(|it| it.life.as_ref());
    let waiting = waiting.filter(|life| life.prompts.open > 0).count();
    let unknown = sessions.iter().filter(|it| it.turn.is_none()).count();
    let attached = sessions.iter().filter(|it| it.state == "attached").count();
    let unknown = match unknown {
        0 => String::new(),
        _ => format!(", unknown {unknown} (no profile tells)"),
    };
    format!(
        "Sessions {}, with a page {attached}. A restart now would cut: turns {running}, waiting for a person {waiting}{unknown}.",
        sessions.len()
    )
}

/// Those that ended lately, and why.
pub(super) fn ended(out: &mut impl Write, listing: &Listing) -> io::Result<()> {
    let mut table = TabWriter::new(out);
    writeln!(table, "SESSION\tENDED\tAFTER\tEPOCH\tPROFILE\tROUTE\tWHY")?;
    for session in &listing.ended {
        let Some((life, end)) = session.life.as_ref().and_then(|life| Some((life, life.end.as_ref()?))) else {
            continue;
        };
        let after = seconds(life.opened.ago - end.moment.ago);
        writeln!(
            table,
            "{}\t{}\t{after}\t{}\t{}\t{}\t{}",
            session.session,
            end.moment.at,
            life.epoch,
            session.profile.as_deref().unwrap_or("-"),
            session.route,
            end.said()
        )?;
    }
    table.flush()
}

/// All that is known of those of one id.
pub(super) fn session(out: &mut impl Write, listing: &Listing) -> io::Result<()> {
    for (index, session) in listing.sessions.iter().chain(&listing.ended).enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let mut table = TabWriter::new(&mut *out);
        let mut line = |name: &str, value: String| writeln!(table, "{name}\t{value}");
        line("session", session.session.clone())?;
        line("route", session.route.clone())?;
        line("profile", or_none(session.profile.clone()))?;
        line("state", session.state.clone())?;
        let Some(life) = &session.life else {
            table.flush()?;
            continue;
        };
        if let Some(page) = &life.page {
            line("page", format!("{}, {} ago", page.said(), span(&page.moment)))?;
        }
        line("opened", format!("{}, {} ago", life.opened.at, span(&life.opened)))?;
        line("epoch", life.epoch.to_string())?;
        line(
            "turn",
            session.turn.clone().unwrap_or_else(|| "no profile tells".into()),
        )?;
        let oldest = life.prompts.oldest.as_ref();
        let oldest = oldest.map_or_else(String::new, |oldest| format!(", the oldest for {}", span(oldest)));
        line("prompts", format!("{} open{oldest}", life.prompts.open))?;
        let positions = &life.positions;
        line(
            "positions",
            format!(
                "newest {}, acknowledged {}, replayed from {}",
                positions.newest, positions.acknowledged, positions.oldest
            ),
        )?;
        let log = &life.log;
        line(
            "log",
            format!(
                "{}, {} messages, {} evicted",
                size(log.bytes),
                log.messages,
                log.evicted
            ),
        )?;
        if let Some(error) = &life.last_error {
            line("last error", format!("{}, {} ago", error.said(), span(&error.moment)))?;
        }
        if let Some(end) = &life.end {
            line("end", format!("{}, {}", end.moment.at, end.said()))?;
        }
        table.flush()?;
        if !life.timeline.is_empty() {
            writeln!(out)?;
        }
        for event in &life.timeline {
            writeln!(out, "{}  {}", event.moment.at, event.said())?;
        }
    }
    Ok(())
}

impl Event {
    /// What it is, with what belongs to it.
    fn said(&self) -> String {
        let more = self.more.iter().map(|(name, value)| match value {
            Value::String(text) => format!(" {name}={text}"),
            Value::Null => format!(" no {name}"),
            value => format!(" {name}={value}"),
        });
        self.what.clone() + &more.collect::<String>()
    }

    /// Why a page came or went.
    fn cause(&self) -> String {
        let cause = self.more.get("cause").and_then(Value::as_str).unwrap_or("first");
        match self.more.get("code") {
            Some(code) => format!("{cause} {code}"),
            None => cause.to_owned(),
        }
    }
}

impl End {
    fn said(&self) -> String {
        match self.code {
            Some(code) => format!("{}, {code}", self.why),
            None => self.why.clone(),
        }
    }
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

fn span(moment: &Moment) -> String {
    seconds(moment.ago)
}

/// A span in as few words as say enough: seconds below an hour, minutes below a day, else hours.
fn seconds(seconds: f64) -> String {
    // what is negative, and no clock is that exact, is nothing
    let seconds = seconds.max(0.0) as u64;
    let unit = match seconds {
        0..3600 => 1,
        3600..86_400 => 60,
        _ => 3600,
    };
    humantime::format_duration(Duration::from_secs(seconds / unit * unit)).to_string()
}

fn size(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}
