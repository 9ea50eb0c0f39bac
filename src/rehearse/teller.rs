//! Runs the lines of one session through its rehearsal, one after the other.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Judged, Row, Seen, table};
use crate::capture::{Event, Line, What};
use crate::config::Route;
use crate::profile::{Message, Role, Side};
use crate::session::rehearsal::{Outcome, Rehearsal, Sent};

/// Tells the story of one session.
pub(super) struct Teller<'a> {
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
    /// What is told so far.
    pub(super) rows: Vec<Row>,
}

impl<'a> Teller<'a> {
    /// Of a session with these lines, each with its number.
    pub(super) fn new(route: &'a Arc<Route>, lines: &'a [(usize, &'a Line)], at: Option<usize>) -> Self {
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

    /// What happens by the line of this index.
    pub(super) fn line(&mut self, index: usize) -> io::Result<()> {
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
