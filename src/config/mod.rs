//! The one validated configuration: defaults < TOML file < `SESSMUX_*` environment < flags.

mod check;
mod file;
mod flags;
mod invalid;
mod key;
mod load;
mod origin;
mod path;
mod settings;
mod summary;
mod units;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::profile::Profile;

pub use flags::Flags;
pub use invalid::{ConfigError, ConfigErrors, Invalid};
pub use key::{KeyPart, KeySource};
pub use origin::Origin;
pub use path::{Captures, PathPattern, Segment};
pub use upstream::Upstream;

/// Everything sessmux was told, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where requests go that no route claims.
    pub upstream: Upstream,
    /// The origins under which pages reach sessmux; where any is set, exactly these are let in.
    pub public_origins: Vec<Origin>,
    /// Foreign origins that may open WebSockets, compared exactly.
    pub allow_origins: Vec<Origin>,
    /// WebSocket routes; the first whose pattern matches serves a request. Never empty: without
    /// `[[route]]` tables there is one that matches every path.
    pub routes: Vec<Arc<Route>>,
}

/// What holds for the WebSockets whose path matches one pattern.
#[derive(Debug, Clone)]
pub struct Route {
    /// Which paths.
    pub path: PathPattern,
    /// The agent server.
    pub upstream: Upstream,
    /// Parts of the session key, all together (AND); never empty.
    pub key: Vec<KeyPart>,
    /// What messages mean.
    pub profile: Profile,
    /// What a reloaded page is sent.
    pub replay_refresh: ReplayMode,
    /// What a page is sent whose connection was cut and whose state is intact.
    pub replay_blip: ReplayMode,
    /// Judge every detach without a close frame (1006) a blip: for pages served by others, of which
    /// the operator knows that they survive a cut.
    pub blip_1006: bool,
    /// How long a detached session is kept.
    pub grace: Duration,
    /// Largest message, both ways, in bytes of payload.
    pub max_message: usize,
    /// Bound of a session's replay log, in bytes.
    pub log_bytes: usize,
    /// Bound of a session's replay log, in messages.
    pub log_messages: usize,
    /// What happens when the log is full while nobody is attached.
    pub overflow: Overflow,
    /// Ask browsers to acknowledge delivery by ping.
    pub acks: bool,
    /// Damp two pages that take a session from each other without end.
    pub fights: bool,
}

/// What an attachment is sent before live messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayMode {
    /// From the oldest retained message.
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
