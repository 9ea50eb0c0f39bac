//! `sessmux profiles test`: runs a capture through a profile and shows what comes of it.
//!
//! Each session of the capture has a [`Rehearsal`](crate::session::rehearsal::Rehearsal): the task that a live session
//! has, with nobody at either end. `teller` hands it the lines of the capture; `table` prints what came of them.

mod table;
mod teller;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use crate::capture::{Line, What};
use crate::config::Route;
use crate::profile::{Kind, Role, Side};
use crate::session::rehearsal::{Refresh, Sent};
use teller::Teller;

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
