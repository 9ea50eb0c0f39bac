//! The times of a session's life, and what each of them brings.

use std::time::{Duration, Instant};

/// A client message that is incomplete for this long closes its page.
pub(super) const CLIENT_MESSAGE: Duration = Duration::from_secs(30);
/// A normal close is judged so long after it: a reload's page request comes first, but not at once.
pub(super) const JUDGE: Duration = Duration::from_secs(2);
/// Pings towards upstream and page: keeps paths through NATs and proxies open.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(30);
/// A session that no page was ever attached to is kept this long, whatever the grace: its creator is on the way, or
/// left amid the handshake.
pub(super) const FIRST_ATTACH: Duration = Duration::from_secs(10);
/// How long a page may take nothing of the rest after upstream ended, and how long to echo the close behind it; longer
/// than a live page may take, for what it has yet to read lies in the system's buffers.
pub(super) const ECHO: Duration = Duration::from_secs(15);

/// Something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The attached page kept upstream unread for too long: close 4008.
    TooSlow,
    /// Its message has been incomplete for 30 s: close 1013.
    IncompleteMessage,
    /// It took nothing of the rest, or did not echo the close that ends the session: its connection is dropped.
    NoEcho,
    /// A normal close turned out to be meant: the session ends, upstream gets the page's code.
    OnPurpose(Option<u16>),
    /// Nobody came back within the grace time.
    GraceOver,
    /// Ping upstream.
    PingUpstream,
    /// The page was sent a ping, and is to be sent the heartbeat of its protocol, if that has one.
    PageHeartbeat,
    /// The page was sent a ping that asks for an acknowledgement.
    PagePing,
}

/// When something of an attachment is due next; `None` fields are off.
#[derive(Debug, Clone, Default)]
pub(super) struct Deadlines {
    pub(super) stall: Option<Instant>,
    pub(super) client_message: Option<Instant>,
    pub(super) ping_page: Option<Instant>,
}

impl Deadlines {
    pub(super) fn next(&self) -> Option<Instant> {
        sooner(sooner(self.stall, self.client_message), self.ping_page)
    }
}

/// The earlier of two, where there is one.
pub(super) fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Takes a deadline that has come.
pub(super) fn take(field: &mut Option<Instant>, now: Instant) -> bool {
    field.take_if(|at| *at <= now).is_some()
}
