//! The end, as the system asks for it.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How the process is asked to end.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// No new sessions from here on; those that there are go on until they end, or for a time.
    pub drain: CancellationToken,
    /// All of it ends now. Whoever cancels this cancels the other too.
    pub stop: CancellationToken,
}

/// Everything at once.
impl From<CancellationToken> for Shutdown {
    fn from(stop: CancellationToken) -> Self {
        let drain = stop.clone();
        Self { drain, stop }
    }
}

/// What signals ask for: SIGTERM to drain and then to stop, SIGINT to stop at once; one more ends the process where it is,
/// once `last` has returned.
///
/// # Errors
///
/// The system gives no signal handler.
pub fn on_signal(last: impl FnOnce() + Send + 'static) -> io::Result<Shutdown> {
    let asked = Shutdown::default();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let Shutdown { drain, stop } = asked.clone();
    // lives as long as the process: nothing is left for it to outlive
    tokio::spawn(async move {
        loop {
            let signal = tokio::select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            };
            if stop.is_cancelled() {
                tracing::warn!("ended where it is, by another signal");
                last();
                // as shells count
                std::process::exit(128 + signal.as_raw_value());
            }
            if signal == SignalKind::interrupt() || drain.is_cancelled() {
                tracing::info!("stopping; another signal ends the process where it is");
                stop.cancel();
            }
            drain.cancel();
        }
    });
    Ok(asked)
}
