//! What is logged, and in which form: lines on standard error.

mod aside;
mod lines;

use std::fmt;
use std::io::stderr;
use std::panic;
use std::time::SystemTime;

use sessmux::config::ConfigError;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::cli::Logs;
use aside::Aside;

/// The lines of this process.
pub(crate) type Lines = lines::Lines<Aside>;

/// Sends all that is logged from here on to standard error.
///
/// # Errors
///
/// What is wrong with them.
pub(crate) fn to_stderr(logs: &Logs) -> Result<Lines, ConfigError> {
    // as of every variable, an empty one is none
    let given = |text: &'static str, value: &String| {
        if value.is_empty() {
            text.to_owned()
        } else {
            value.clone()
        }
    };
    let (log, form) = (given("info", &logs.log), given("text", &logs.log_format));
    let bad = |field: &str, value: &str, reason: String| ConfigError {
        field: field.into(),
        value: Some(value.into()),
        reason,
    };
    // a word alone would be the name of a module that logs nothing
    if log.parse::<LevelFilter>().is_err() && !log.contains(['=', ',', '[']) {
        let reason = "is none of off, error, warn, info, debug, trace, and no filter";
        return Err(bad("log", &log, reason.into()));
    }
    let filter = EnvFilter::builder().parse(&log);
    let filter = filter.map_err(|error| bad("log", &log, error.to_string()))?;
    if form != "text" && form != "json" {
        return Err(bad("log_format", &form, "is neither text nor json".into()));
    }
    let lines = Lines::new(Aside::new(stderr()));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_timer(Micros)
        // who reads the log may go, and to say so on standard error would end the task that logs: a session, the shutdown
        .log_internal_errors(false)
        .with_writer(lines.clone());
    if form == "json" {
        builder.json().init();
    } else {
        builder.init();
    }
    // what is said of a panic stands behind what was before it
    let (before, tell) = (lines.clone(), panic::take_hook());
    panic::set_hook(Box::new(move |fault| {
        before.flush();
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
