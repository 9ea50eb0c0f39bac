//! What is logged, and in which form: lines on standard error.

mod lines;

use std::fmt;
use std::io::{Stderr, stderr};
use std::panic;
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::cli::{LogFormat, Logs};

/// The lines of this process.
pub(crate) type Lines = lines::Lines<Stderr>;

/// Sends all that is logged from here on to standard error.
///
/// # Errors
///
/// What is wrong with `log`: neither a level nor a filter.
pub(crate) fn to_stderr(logs: &Logs) -> Result<Lines, String> {
    // a word alone would be the name of a module that logs nothing
    let level = logs.log.parse::<LevelFilter>();
    if level.is_err() && !logs.log.contains(['=', ',', '[']) {
        return Err("is none of off, error, warn, info, debug, trace, and no filter".into());
    }
    let filter = EnvFilter::builder()
        .parse(&logs.log)
        .map_err(|error| error.to_string())?;
    let lines = Lines::new(stderr());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_timer(Micros)
        // who reads the log may go, and to say so on standard error would end the task that logs: a session, the shutdown
        .log_internal_errors(false)
        .with_writer(lines.clone());
    match logs.log_format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.init(),
    }
    // what is said of a panic stands behind what was before it
    let (before, tell) = (lines.clone(), panic::take_hook());
    panic::set_hook(Box::new(move |fault| {
        before.write_out();
        tell(fault);
    }));
    Ok(lines)
}

/// The time of a log line, as the builder's own timer has it, at a fifth of the cost: lines are much of a new session's.
struct Micros;

impl FormatTime for Micros {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        write!(line, "{}", humantime::format_rfc3339_micros(SystemTime::now()))
    }
}
