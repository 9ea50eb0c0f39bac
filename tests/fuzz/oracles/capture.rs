//! Captures: a line that is read is written as one that says the same, and sessions made of any lines go through the
//! task of a session as live ones do.
//!
//! Input: the built-in profile in one byte, then lines of a capture.

use std::sync::{Arc, LazyLock};

use sessmux::capture::{Line, What};
use sessmux::config::{PathPattern, Route, Upstream};
use sessmux::profile::{BUILT_IN, Profile};
use sessmux::rehearse;
use tokio::runtime::{Builder, Runtime};

/// A route for each built-in profile.
static ROUTES: LazyLock<Vec<Arc<Route>>> = LazyLock::new(|| {
    let route = |(_, text)| {
        Arc::new(Route {
            profile: Profile::parse(text).expect("a built-in profile"),
            ..Route::one_to_one(PathPattern::any(), Upstream::Tcp("127.0.0.1:9".into()))
        })
    };
    BUILT_IN.map(route).into()
});

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
}

pub fn check(data: &[u8]) {
    let [profile, data @ ..] = data else { return };
    let lines: Vec<Line> = data.split(|byte| *byte == b'\n').filter_map(line).collect();
    if lines.is_empty() {
        return;
    }
    let route = &ROUTES[usize::from(*profile) % ROUTES.len()];
    let messages = lines
        .iter()
        .filter(|line| matches!(line.what, What::Message { .. }))
        .count();
    let run = rehearse::run(route, &lines, Some(messages));
    let stories = RUNTIME.with(|runtime| runtime.block_on(run)).expect("sockets");
    let judged = stories.iter().flat_map(|story| &story.rows);
    let judged = judged.filter(|row| matches!(row, rehearse::Row::Message(_))).count();
    assert_eq!(judged, messages, "every message is judged");
}

fn line(text: &[u8]) -> Option<Line> {
    let line = Line::parse(text).ok()?;
    let again = Line::parse(line.clone().write().as_bytes());
    assert_eq!(again.as_ref(), Ok(&line));
    Some(line)
}
