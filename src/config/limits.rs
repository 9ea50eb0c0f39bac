//! Bounds on what clients may take of sessmux, in all and each.

use std::time::Duration;

use super::load::Loader;
use super::settings::Layer;
use super::{units, values};

/// hyper's smallest buffer, in bytes: it takes no smaller bound for a head.
const MAX_HEAD_MIN: usize = 8 << 10;

/// Below this not even a few sessions have room.
const MAX_BUFFERED_MIN: usize = 1 << 20;

/// Bounds on what clients may take. A client is an address; of IPv6 a network of 64 bits, for that is what one is given.
/// The addresses of this machine are bounded in all only: they are its own, or a proxy's that speaks for many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest request head, in bytes.
    pub max_head: usize,
    /// How long a new connection may take for its first request head.
    pub head_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// Connections at a time that are served HTTP; those that became a session's are none of them.
    pub max_connections: usize,
    /// The same, of one address.
    pub max_client_connections: usize,
    /// Pending attachments at a time.
    pub max_pending: usize,
    /// The same, of one client.
    pub max_client_pending: usize,
    /// Sessions at a time, those that are dialled for included.
    pub max_sessions: usize,
    /// The same, created by one client.
    pub max_client_sessions: usize,
    /// The same, of one owner that was proved.
    pub max_owner_sessions: usize,
    /// What all sessions together hold, in bytes: logs, messages that are not whole, what waits to be sent.
    pub max_buffered: usize,
    /// Upgrade requests of one client, a second.
    pub attach_rate: u32,
    /// New sessions of one client, a second.
    pub session_rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_head: 16 << 10,
            head_timeout: Duration::from_secs(5),
            // longer than the 60 s for which nginx keeps a connection to an upstream: it should be the one to close
            idle_timeout: Duration::from_secs(75),
            max_connections: 10_000,
            max_client_connections: 1000,
            max_pending: 1024,
            max_client_pending: 128,
            max_sessions: 10_000,
            max_client_sessions: 1000,
            max_owner_sessions: 256,
            max_buffered: 512 << 20,
            attach_rate: 50,
            session_rate: 20,
        }
    }
}

/// File descriptors beside those of clients: listeners, pooled connections to the agent server, the log.
const OTHER_FILES: u64 = 256;

impl Limits {
    /// How many file descriptors these limits come to; a session has two.
    #[must_use]
    pub fn files(&self) -> u64 {
        (self.max_connections as u64)
            .saturating_add((self.max_sessions as u64).saturating_mul(2))
            .saturating_add(OTHER_FILES)
    }
}

/// What the container may have in memory, in bytes, where it is bounded (Linux, cgroup v2).
fn container_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?;
    text.trim().parse().ok()
}

impl Loader {
    /// The limits, each with its default where none is given.
    pub(super) fn limits(&mut self, layers: &[&Layer]) -> Limits {
        let default = Limits::default();
        let max_buffered = container_memory().map_or(default.max_buffered, |all| default.max_buffered.min(all / 2));
        let buffered = |text: &str| values::at_least(MAX_BUFFERED_MIN, units::size(text)?);
        let mut count = |name, default| self.value(layers, name, default, values::count);
        let max_connections = count("max_connections", default.max_connections);
        let max_client_connections = count("max_client_connections", default.max_client_connections);
        let max_pending = count("max_pending", default.max_pending);
        let max_client_pending = count("max_client_pending", default.max_client_pending);
        let max_sessions = count("max_sessions", default.max_sessions);
        let max_client_sessions = count("max_client_sessions", default.max_client_sessions);
        let max_owner_sessions = count("max_owner_sessions", default.max_owner_sessions);
        let head = |text: &str| values::at_least(MAX_HEAD_MIN, units::size(text)?);
        Limits {
            max_head: self.value(layers, "max_head", default.max_head, head),
            head_timeout: self.value(layers, "head_timeout", default.head_timeout, values::time),
            idle_timeout: self.value(layers, "idle_timeout", default.idle_timeout, values::time),
            max_connections,
            max_client_connections,
            max_pending,
            max_client_pending,
            max_sessions,
            max_client_sessions,
            max_owner_sessions,
            max_buffered: self.value(layers, "max_buffered", max_buffered, buffered),
            attach_rate: self.value(layers, "attach_rate", default.attach_rate, values::rate),
            session_rate: self.value(layers, "session_rate", default.session_rate, values::rate),
        }
    }
}
