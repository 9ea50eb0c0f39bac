//! Stories as text.

use std::io::{self, Write};

use super::{Judged, Row, Seen, Story};
use crate::capture::line::side_name;
use crate::profile::Role;
use crate::session::rehearsal::{Refresh, Replay, Sent};

/// Most characters of a payload in a table.
const PAYLOAD: usize = 44;
/// Most ranges of numbers in a table.
const RANGES: usize = 5;

/// Prints the stories: a line for every message.
///
/// # Errors
///
/// What `out` says.
pub fn print(out: &mut impl Write, stories: &[Story]) -> io::Result<()> {
    for (index, story) in stories.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        print_story(out, story)?;
    }
    Ok(())
}

fn print_story(out: &mut impl Write, story: &Story) -> io::Result<()> {
    let messages = story.rows.iter().filter_map(|row| match row {
        Row::Message(message) => Some(message),
        _ => None,
    });
    let roles = messages.map(|message| role(message).chars().count());
    let wide = roles.max().unwrap_or(0).max("to the server".len());
    writeln!(out, "session {}", Sent::text(&story.session).show(80))?;
    let columns = ["#", "from", "role", "message"];
    let [number, from, role_, message] = columns;
    let heading = "a refresh here replays";
    writeln!(
        out,
        "{number:>4}  {from:7}  {role_:wide$}  {message:PAYLOAD$}   {heading}"
    )?;
    for row in &story.rows {
        match row {
            Row::Message(it) => {
                let (from, shown) = (side_name(it.from), it.sent.show(PAYLOAD));
                let (number, role, summary) = (it.number, role(it), &it.summary);
                let line = format!("{number:>4}  {from:7}  {role:wide$}  {shown:PAYLOAD$}   {summary}");
                writeln!(out, "{}", line.trim_end())?;
            }
            Row::Own(to, sent) => {
                let to = match side_name(*to) {
                    "client" => "to the page",
                    _ => "to the server",
                };
                writeln!(out, "      sessmux  {to:wide$}  {}", sent.show(PAYLOAD))?;
            }
            Row::Note(what) => writeln!(out, "   -- {what}")?,
        }
    }
    Ok(())
}

impl Sent {
    fn text(text: &str) -> Self {
        Self {
            kind: crate::profile::Kind::Text,
            payload: text.into(),
        }
    }
}

/// What a message is, by which rule, about what, and whether it ends there.
fn role(message: &Judged) -> String {
    let name = message.role.map_or("-", role_name);
    let rule = message.rule.map_or(String::new(), |rule| format!(" rule[{rule}]"));
    let id = message
        .id
        .as_ref()
        .map_or(String::new(), |id| format!(" id {}", Sent::text(id).show(20)));
    let end = match message.role {
        _ if message.passed => "",
        Some(role) if role.absorbs() => ", absorbed",
        _ => ", dropped",
    };
    format!("{name}{rule}{id}{end}")
}

fn role_name(role: Role) -> &'static str {
    let named = Role::ALL.iter().find(|(_, known, _)| *known == role);
    // the one that no profile can name
    named.map_or("refused", |(name, ..)| name)
}

pub(super) fn summary(seen: &Seen) -> String {
    let replay = match &seen.refresh {
        Refresh::Over => return "nothing: the session ends with its page".into(),
        Refresh::Refused(code) => return format!("nothing: close {}", code.unwrap_or_default()),
        Refresh::Replay(replay) => replay,
    };
    let mut parts = Vec::new();
    match (replay.hello, seen.answer) {
        (0, _) => {}
        (1, Some(_)) => parts.push("hello answer".into()),
        (count, Some(_)) => parts.push(format!("hello answer and {} before it", count - 1)),
        (count, None) => parts.push(format!("{} from before the hello", count)),
    }
    if !replay.log.is_empty() {
        let numbers: Vec<usize> = replay.log.iter().filter_map(|at| seen.number(*at)).collect();
        parts.push(format!("{} ({})", count(replay.log.len(), "message"), ranges(&numbers)));
    }
    for at in &replay.prompts {
        parts.push(format!("then prompt {}", seen.name(*at)));
    }
    if parts.is_empty() {
        parts.push("nothing".into());
    }
    if replay.gap > 0 {
        parts.push(format!("{} missing", replay.gap));
    }
    if let Some(open) = open(seen, replay) {
        parts.push(open);
    }
    if replay.running {
        parts.push("turn runs".into());
    }
    parts.join(", ")
}

/// Which prompts are open.
fn open(seen: &Seen, replay: &Replay) -> Option<String> {
    let numbers: Vec<String> = replay.open.iter().map(|at| seen.name(*at)).collect();
    (!numbers.is_empty()).then(|| format!("asks {}", numbers.join(" and ")))
}

/// Prints what a page would get that is loaded behind the message of this number, in full; `false` where there is no
/// such message.
///
/// # Errors
///
/// What `out` says.
pub fn print_refresh(out: &mut impl Write, stories: &[Story], at: usize) -> io::Result<bool> {
    let rows = stories
        .iter()
        .flat_map(|story| story.rows.iter().map(move |row| (story, row)));
    let found = rows.into_iter().find_map(|(story, row)| match row {
        Row::Message(message) if message.number == at => Some((story, message)),
        _ => None,
    });
    let Some((story, message)) = found else {
        return Ok(false);
    };
    let Some(seen) = &message.refresh else { return Ok(false) };
    let session = Sent::text(&story.session).show(80);
    writeln!(
        out,
        "session {session}, a refresh behind message {at} replays: {}",
        message.summary
    )?;
    if let Refresh::Replay(replay) = &seen.refresh {
        let (hello, behind) = (replay.hello, replay.hello + replay.log.len());
        for (index, sent) in replay.sent.iter().enumerate() {
            let position = replay.log.iter().chain(&replay.prompts).nth(index.wrapping_sub(hello));
            let name = position.map_or("-".into(), |position| seen.name(*position));
            let answer = seen
                .answer
                .filter(|_| index + 1 == hello)
                .map(|number| number.to_string());
            let what = match position {
                Some(_) if index >= behind => "prompt",
                Some(position) if replay.open.contains(position) => "open prompt",
                Some(_) => "",
                None if answer.is_some() => "hello answer",
                None => "hello",
            };
            let name = answer.unwrap_or(name);
            writeln!(out, "  {what:12}  {name:>4}  {}", sent.show(usize::MAX))?;
        }
    }
    Ok(true)
}

impl Seen {
    fn number(&self, position: u64) -> Option<usize> {
        self.numbers.get(&position).copied()
    }

    fn name(&self, position: u64) -> String {
        self.number(position).map_or("-".into(), |number| number.to_string())
    }
}

/// `1 message`, `2 messages`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Rising numbers, those that follow one another as `first-last`; the newest where they are too many.
fn ranges(numbers: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let skipped = ranges.len().saturating_sub(RANGES);
    let shown = ranges[skipped..].iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    let more = (skipped > 0).then(|| "…".to_owned());
    more.into_iter().chain(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_one_another_are_a_range() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[1, 2, 3, 5, 7, 8]), "1-3, 5, 7-8");
        assert_eq!(ranges(&[1, 3, 5, 7, 9, 11, 12]), "…, 3, 5, 7, 9, 11-12");
    }

    #[test]
    fn what_is_shown_of_a_payload_is_one_line() {
        assert_eq!(Sent::text("a\nb\u{1b}[31m").show(80), "a\\nb\\u{1b}[31m");
        assert_eq!(Sent::text("ääää").show(3), "äää…");
        let binary = Sent {
            kind: crate::profile::Kind::Binary,
            payload: vec![1, 255],
        };
        assert_eq!(binary.show(80), "01 ff (2 bytes)");
    }
}
