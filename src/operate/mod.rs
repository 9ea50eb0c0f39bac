//! Commands for who operates a sessmux that runs: they ask its admin surface.

mod client;
mod table;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::runtime::Runtime;

use crate::cli::Asked;
use crate::{NO_SESSION, SOFTWARE, UNAVAILABLE, USAGE};
use client::Client;
use table::Listing;

/// How often `--watch` looks.
const WATCH: Duration = Duration::from_secs(2);
/// How often `drain` looks whether it is over.
const LOOK: Duration = Duration::from_millis(200);
/// What takes a terminal to its beginning, and empties it from there.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Why there is no answer to show.
#[derive(Debug, thiserror::Error)]
enum Fault {
    /// What was given names nobody to ask, or what is configured cannot be used.
    #[error("{0}")]
    Usage(String),
    /// There is no such session.
    #[error("{0}")]
    NoSession(String),
    /// Nobody answers, or not as expected.
    #[error("{0}")]
    Unavailable(String),
    /// What there is to say cannot be written.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// Lists sessions, or those that have ended.
pub(crate) fn sessions(asked: &Asked, ended: bool, json: bool, watch: bool) -> ExitCode {
    run(async {
        let client = Client::new(asked).await?;
        let clears = watch && !json && io::stdout().is_terminal();
        loop {
            let text = client.ask(Method::GET, "/sessions").await?;
            let mut out = io::stdout().lock();
            if clears {
                out.write_all(CLEAR.as_bytes())?;
            }
            if json {
                out.write_all(text.as_bytes())?;
            } else if ended {
                table::ended(&mut out, &listing(&text)?)?;
            } else {
                table::sessions(&mut out, &listing(&text)?)?;
            }
            out.flush()?;
            drop(out);
            if !watch {
                return Ok(());
            }
            tokio::time::sleep(WATCH).await;
        }
    })
}

/// Shows what is known of one session.
pub(crate) fn session(asked: &Asked, id: &str, json: bool) -> ExitCode {
    run(async {
        let client = Client::new(asked).await?;
        let text = client.ask(Method::GET, &client::path_of(id)?).await?;
        let mut out = io::stdout().lock();
        if json {
            out.write_all(text.as_bytes())?;
        } else {
            table::session(&mut out, &listing(&text)?)?;
        }
        Ok(out.flush()?)
    })
}

/// Ends a session.
pub(crate) fn end(asked: &Asked, id: &str) -> ExitCode {
    run(async {
        let client = Client::new(asked).await?;
        client.ask(Method::DELETE, &client::path_of(id)?).await?;
        Ok(writeln!(io::stdout(), "ended {id}")?)
    })
}

/// Drains, and waits for the end if that is wanted.
pub(crate) fn drain(asked: &Asked, wait: bool) -> ExitCode {
    run(async {
        let client = Client::new(asked).await?;
        let answer = client.ask(Method::POST, "/drain").await?;
        io::stdout().write_all(answer.as_bytes())?;
        while wait && client.is_there().await {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    })
}

/// Has the configuration read anew, and says what changed.
pub(crate) fn reload(asked: &Asked) -> ExitCode {
    run(async {
        let client = Client::new(asked).await?;
        let answer = client.ask(Method::POST, "/reload").await?;
        Ok(io::stdout().write_all(answer.as_bytes())?)
    })
}

fn listing(text: &str) -> Result<Listing, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::Unavailable(format!("its answer is none of sessmux's: {error}")))
}

fn run(asking: impl Future<Output = Result<(), Fault>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = runtime
        .map_err(Fault::Write)
        .and_then(|runtime: Runtime| runtime.block_on(asking));
    let fault = match asked {
        Ok(()) => return ExitCode::SUCCESS,
        // whoever closes the pipe early has read enough
        Err(Fault::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        Err(fault) => fault,
    };
    eprintln!("{fault}");
    match fault {
        Fault::Usage(_) => USAGE,
        Fault::NoSession(_) => NO_SESSION,
        Fault::Unavailable(_) => UNAVAILABLE,
        Fault::Write(_) => SOFTWARE,
    }
    .into()
}

impl Fault {
    /// That of an answer with this status to a request for `path`.
    fn of(status: StatusCode, path: &str, text: &str) -> Self {
        let text = text.trim_end().to_owned();
        match status {
            StatusCode::NOT_FOUND if path.starts_with("/sessions/") => Self::NoSession(text),
            StatusCode::UNPROCESSABLE_ENTITY => Self::Usage(text),
            _ => Self::Unavailable(format!("{}: {text}", status.as_u16())),
        }
    }
}
