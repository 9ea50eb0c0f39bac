//! What a route decides about its sessions.

use std::time::Duration;

use super::cause::Cause;
use super::log::Bounds;

/// What an attachment is sent before live messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayMode {
    /// From the oldest retained message after the hello record.
    All,
    /// Since the turn's start.
    Turn,
    /// After the last acknowledged position.
    Missed,
    /// Nothing.
    None,
}

/// What happens when the log is full while nobody is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Forget the oldest messages: a gap, counted and logged.
    DropOldest,
    /// End the session; the next attach gets what is retained and close 4009.
    Close,
}

/// A route's choices, as its sessions need them.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// What a reloaded page is sent.
    pub replay_refresh: ReplayMode,
    /// What a page is sent whose connection was cut and whose state is intact.
    pub replay_blip: ReplayMode,
    /// Every detach without a close frame is a blip.
    pub blip_1006: bool,
    /// The key names a conversation (it is more than `browser`): a normal close does not end the session.
    pub explicit_id: bool,
    /// Pages say hello, and the session stands once the first was sent upstream, or answered.
    pub hello: bool,
    /// The server answers hellos: the session stands once the first was answered.
    pub hello_answer: bool,
    /// The session ends with its page.
    pub one_to_one: bool,
    /// How long a detached session is kept.
    pub grace: Duration,
    /// And how long while a turn runs or a prompt is open.
    pub grace_open: Duration,
    /// Bounds of the replay log.
    pub log: Bounds,
    /// What happens when it is full while nobody is attached.
    pub overflow: Overflow,
    /// How long a page may keep upstream unread.
    pub slow_reader: Duration,
    /// Ask browsers to acknowledge delivery.
    pub acks: bool,
    /// Damp takeover fights.
    pub fights: bool,
}

impl Policy {
    /// The mode of the replay that follows a detach of this cause.
    pub fn mode(&self, cause: Cause) -> ReplayMode {
        match cause {
            Cause::Blip => self.replay_blip,
            Cause::Refresh | Cause::OnPurpose => self.replay_refresh,
        }
    }
}
