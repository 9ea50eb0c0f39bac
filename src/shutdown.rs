//! Signals that end the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two signals that ask a process to end.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over; from here on they no longer end the process by themselves.
    ///
    /// # Errors
    ///
    /// Whatever keeps the handlers from being installed.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancels the token at the first signal and returns at the second, with the exit status that a shell gives
    /// a process which that signal ended.
    pub async fn cancel_then_wait(mut self, token: &CancellationToken) -> i32 {
        let first = self.next().await;
        tracing::info!("{first}: shutting down; a second signal exits at once");
        token.cancel();
        match self.next().await {
            "SIGINT" => 128 + SignalKind::interrupt().as_raw_value(),
            _ => 128 + SignalKind::terminate().as_raw_value(),
        }
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
