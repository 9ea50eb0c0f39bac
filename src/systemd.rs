//! What a service manager is told: readiness, reloads, the end, how many sessions there are, and that sessmux turns
//! (sd_notify(3)). Without `NOTIFY_SOCKET` nobody is told anything.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

/// How often it looks how many sessions there are, where no watchdog wants to hear from it more often.
const STATUS: Duration = Duration::from_secs(5);

/// Requests are served, with what the configuration says now.
pub fn ready() {
    told(sd_notify::notify(&[NotifyState::Ready]));
}

/// The configuration is being read anew; [`ready`] ends it.
pub fn reloading() {
    let since = NotifyState::monotonic_usec_now();
    told(since.and_then(|since| sd_notify::notify(&[NotifyState::Reloading, since])));
}

/// The end has begun, and may take its time.
pub fn stopping() {
    told(sd_notify::notify(&[NotifyState::Stopping]));
}

/// Tells without end how many sessions there are, and at half the watchdog's time that the runtime turns, if it is one
/// of its tasks that runs this.
pub async fn watch(sessions: impl Fn() -> usize) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled();
    let mut ticks = interval(every(watchdog));
    // one that comes late is one only
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = None;
    loop {
        ticks.tick().await;
        let now = sessions();
        let status = format!("Sessions: {now}");
        let mut states = Vec::new();
        if watchdog.is_some() {
            states.push(NotifyState::Watchdog);
        }
        if said.replace(now) != Some(now) {
            states.push(NotifyState::Status(&status));
        }
        if !states.is_empty() {
            told(sd_notify::notify(&states));
        }
    }
}

/// How often [`watch`] has something to tell: twice within the watchdog's time, as sd_watchdog_enabled(3) wants it.
fn every(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(STATUS, |within| within / 2).min(STATUS)
}

fn told(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(cause = %error, "the service manager cannot be told (NOTIFY_SOCKET)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_hears_twice_within_its_time() {
        let second = Duration::from_secs(1);
        assert_eq!(every(Some(second)), second / 2);
        assert_eq!(every(Some(3600 * second)), STATUS);
        assert_eq!(every(None), STATUS);
    }
}
