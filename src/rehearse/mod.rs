//! `sessmux profiles test`: runs a capture through a profile and shows what comes of it.
//!
//! Each session of the capture has a [`Rehearsal`]: the task that a live session has, with nobody at either end. This
//! module hands it the lines of the capture; `table` prints what came of them.

mod table;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::capture::{Event, Line, What};
use crate::config::Route;
use crate::profile::{Kind, Message, Role, Side};
use crate::session::rehearsal::{Outcome, Refresh, Rehearsal, Sent};

pub use table::{print, print_refresh};

/// What came of one session of a capture.
#[derive(Debug, Default)]
pub struct Story {
    /// Its name in the capture.
    pub session: Box<str>,
    /// In order.
    pub rows: Vec<Row>,
}

/// Something that is shown.
#[derive(Debug)]
pub enum Row {
    /// A message of the capture.
    Message(Box<Judged>),
    /// A message that sessmux makes itself, to this side.
    Own(Side, Sent),
    /// Something else.
    Note(String),
}

/// A message of the capture, and what came of it.
#[derive(Debug)]
pub struct Judged {
    /// Its number within the capture, from 1.
    pub number: usize,
    /// From whom.
    pub from: Side,
    /// As it was recorded.
    pub sent: Sent,
    /// What it is, and by which rule.
    pub role: Option<Role>,
    /// The number of that rule, from 0.
    pub rule: Option<usize>,
    /// What it is about, by its rule.
    pub id: Option<String>,
    /// Whether the other side is given it.
    pub passed: bool,
    /// What a page would get that is loaded behind it, in short, where that was tried.
    pub summary: String,
    /// And in full, where that was asked for.
    pub refresh: Option<Seen>,
}

/// What a page would get, told by the numbers of the capture.
#[derive(Debug)]
pub struct Seen {
    /// What it is.
    pub refresh: Refresh,
    /// The numbers of messages by their positions.
    numbers: Arc<BTreeMap<u64, usize>>,
    /// The number of the recorded hello answer.
    answer: Option<usize>,
}

/// Runs the lines through a route; of every message, or that of number `at` alone, it is tried what a refresh behind it
/// would show.
///
/// # Errors
///
/// The system gives no sockets.
pub async fn run(route: &Arc<Route>, lines: &[Line], at: Option<usize>) -> io::Result<Vec<Story>> {
    let mut sessions: Vec<(&str, Vec<(usize, &Line)>)> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut number = 0;
    for line in lines {
        number += usize::from(matches!(line.what, What::Message { .. }));
        let index = *known.entry(&line.session).or_insert_with(|| {
            sessions.push((&line.session, Vec::new()));
            sessions.len() - 1
        });
        sessions[index].1.push((number, line));
    }
    let mut stories = Vec::new();
    for (session, lines) in sessions {
        let mut teller = Teller::new(route, &lines, at);
        for index in 0..lines.len() {
            teller.line(index)?;
            // sockets that were let go are closed by tasks of their own
            tokio::task::yield_now().await;
        }
        stories.push(Story {
            session: session.into(),
            rows: teller.rows,
        });
    }
    Ok(stories)
}

/// Tells the story of one session.
struct Teller<'a> {
    route: &'a Arc<Route>,
    lines: &'a [(usize, &'a Line)],
    at: Option<usize>,
    /// When the recording began.
    began: Instant,
    rehearsal: Option<Rehearsal>,
    /// The number of the rule that makes it a tunnel.
    tunnel: Option<usize>,
    numbers: Arc<BTreeMap<u64, usize>>,
    answer: Option<usize>,
    rows: Vec<Row>,
}

impl<'a> Teller<'a> {
    fn new(route: &'a Arc<Route>, lines: &'a [(usize, &'a Line)], at: Option<usize>) -> Self {
        Self {
            route,
            lines,
            at,
            began: Instant::now(),
            rehearsal: None,
            tunnel: None,
            numbers: Arc::default(),
            answer: None,
            rows: Vec::new(),
        }
    }

    /// When this line was recorded; a day at most, for what comes later is later all the same.
    fn time(&self, line: &Line) -> Instant {
        self.began + Duration::from_millis(line.at).min(Duration::from_secs(24 * 3600))
    }

    fn line(&mut self, index: usize) -> io::Result<()> {
        let (number, line) = self.lines[index];
        let now = self.time(line);
        let mut rehearsal = match self.rehearsal.take() {
            Some(rehearsal) if !rehearsal.is_over() => rehearsal,
            before => {
                if before.is_some() {
                    self.note("the session is over; what follows is another".into());
                }
                self.begin(index, now)?
            }
        };
        match &line.what {
            What::Event(Event::Lost { lines }) => self.note(format!("{lines} lines were not recorded here")),
            What::Event(event) => self.event(&mut rehearsal, now, *event, index)?,
            What::Message {
                from,
                kind,
                asked,
                payload,
            } => {
                if *from == Side::Client && !rehearsal.is_attached() {
                    let attach = Event::Attach { epoch: 0, cause: None };
                    self.event(&mut rehearsal, now, attach, index)?;
                }
                let outcome = rehearsal.message(now, *from, *kind, *asked, payload);
                let sent = Sent {
                    kind: *kind,
                    payload: payload.clone(),
                };
                self.message(&rehearsal, now, number, *from, sent, outcome);
            }
        }
        self.rehearsal = Some(rehearsal);
        Ok(())
    }

    /// A new session, from this line on.
    fn begin(&mut self, index: usize, now: Instant) -> io::Result<Rehearsal> {
        self.numbers = Arc::default();
        self.answer = None;
        let first = self.lines[index..].iter().find_map(|(_, line)| match &line.what {
            What::Message {
                from: Side::Client,
                kind,
                payload,
                ..
            } => Some((*kind, payload)),
            _ => None,
        });
        let tunnel = first.and_then(|(kind, payload)| {
            let first = Message {
                kind,
                ..Message::text(payload)
            };
            Rehearsal::tunnel(self.route, &first)
        });
        let (route, rule) = tunnel.unzip();
        self.tunnel = rule;
        Rehearsal::new(route.as_ref().unwrap_or(self.route), now)
    }

    fn event(&mut self, rehearsal: &mut Rehearsal, now: Instant, event: Event, index: usize) -> io::Result<()> {
        let later = self.lines[index..].iter().skip(1);
        let said: Vec<&[u8]> = later
            .take_while(|(_, line)| !matches!(line.what, What::Event(Event::Attach { .. })))
            .filter_map(|(_, line)| match &line.what {
                What::Message {
                    from: Side::Client,
                    payload,
                    ..
                } => Some(&payload[..]),
                _ => None,
            })
            .collect();
        let code = |code: Option<u16>| code.map_or("without a close frame".into(), |code| format!("with close {code}"));
        let what = match event {
            Event::Attach { cause, .. } => {
                let cause = cause.map_or(String::new(), |cause| format!(": {}", cause.name()));
                format!("a page is attached{cause}")
            }
            Event::Detach { code: left, .. } => format!("the page leaves, {}", code(left)),
            Event::End { code: ended } => format!("the server ends, {}", code(ended)),
            Event::Lost { .. } => return Ok(()),
        };
        let got = rehearsal.event(now, event, &said)?;
        let got = if got.is_empty() {
            String::new()
        } else {
            format!("; it is sent {}", table::count(got.len(), "message"))
        };
        self.note(what + &got);
        Ok(())
    }

    fn message(
        &mut self,
        rehearsal: &Rehearsal,
        now: Instant,
        number: usize,
        from: Side,
        sent: Sent,
        outcome: Outcome,
    ) {
        if let Some(position) = outcome.position {
            // it is nobody else's, but where one refresh is shown in full
            Arc::make_mut(&mut self.numbers).insert(position, number);
        }
        if outcome.role == Some(Role::HelloAnswer) {
            self.answer = Some(number);
        }
        let (passed, own, to) = match from {
            Side::Client => (!outcome.upstream.is_empty(), outcome.page, Side::Client),
            Side::Server => (outcome.position.is_some(), outcome.upstream, Side::Server),
        };
        let tunnel = self.tunnel.filter(|_| from == Side::Client);
        let refresh = self.at.is_none_or(|at| at == number).then(|| Seen {
            refresh: rehearsal.refresh(now, self.at.is_some()),
            numbers: Arc::clone(&self.numbers),
            answer: self.answer,
        });
        let summary = refresh.as_ref().map(table::summary).unwrap_or_default();
        let judged = Judged {
            number,
            from,
            sent,
            role: tunnel.map(|_| Role::Tunnel).or(outcome.role),
            rule: tunnel.or(outcome.rule),
            id: outcome.id,
            passed,
            summary,
            // of all messages that would be as much as all of them squared
            refresh: refresh.filter(|_| self.at.is_some()),
        };
        self.tunnel = self.tunnel.filter(|_| from == Side::Server);
        self.rows.push(Row::Message(Box::new(judged)));
        self.rows.extend(own.into_iter().map(|sent| Row::Own(to, sent)));
    }

    fn note(&mut self, what: String) {
        self.rows.push(Row::Note(what));
    }
}

impl Sent {
    /// Its payload for people: without control characters, cut to `most` characters.
    #[must_use]
    pub fn show(&self, most: usize) -> String {
        let text = match self.kind {
            Kind::Text => String::from_utf8_lossy(&self.payload),
            Kind::Binary => {
                let some = self.payload.iter().take(most.div_ceil(3));
                let hex: Vec<String> = some.map(|byte| format!("{byte:02x}")).collect();
                format!("{} ({})", hex.join(" "), table::count(self.payload.len(), "byte")).into()
            }
        };
        let mut shown = String::new();
        for (index, letter) in text.chars().enumerate() {
            if index == most {
                shown.push('…');
                break;
            }
            if letter.is_control() {
                shown.extend(letter.escape_debug());
            } else {
                shown.push(letter);
            }
        }
        shown
    }
}
