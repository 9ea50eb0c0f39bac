//! The one validated configuration: defaults < TOML file < `SESSMUX_*` environment < flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use crate::core::{Overflow, ReplayMode};
use crate::profile::Profile;

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
    /// The subprotocol that a first-message route answers with, before upstream is dialled.
    pub subprotocol: Option<String>,
}

/// Address of an agent server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// `http://HOST[:PORT]`: the authority to connect to, port included.
    Tcp(String),
    /// `unix:PATH`.
    Unix(PathBuf),
}

/// `scheme://host[:port]`, lower case, the scheme's default port made explicit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: String,
    /// Host without port; IPv6 in brackets.
    pub host: String,
    /// Port, explicit.
    pub port: u16,
}

/// One part of a session key: the first alternative that a request has gives its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart {
    /// Never empty.
    pub alternatives: Vec<KeySource>,
}

/// Where a key value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `path:NAME`: a capture of the route's pattern.
    PathCapture(String),
    /// `path`: the whole path.
    Path,
    /// `query:NAME`: one query parameter, decoded.
    QueryParam(String),
    /// `query`: the whole query string.
    Query,
    /// `header:NAME`, lower case.
    Header(String),
    /// `cookie:NAME`.
    Cookie(String),
    /// `first:/json/pointer` into the first client message.
    First(String),
    /// `answer:/json/pointer` into the server's hello answer.
    Answer(String),
    /// `browser`: the cookie that sessmux mints.
    Browser,
}

/// A path pattern: literal segments, `{name}` captures of one segment, a trailing `{*rest}` for all the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// As written; it names the route in logs and keys.
    pub text: String,
    /// Its segments, in order.
    pub segments: Vec<Segment>,
}

/// One segment of a [`PathPattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Matches itself.
    Literal(String),
    /// Matches one non-empty segment.
    Capture(String),
    /// Matches whatever is left, nothing included; last only.
    Rest(String),
}
/// stub
pub type Captures = Vec<(String, String)>;
impl PathPattern {
    /// stub
    pub fn matches(&self, _p: &str) -> Option<Captures> {
        Some(Vec::new())
    }
}
impl Route {
    /// stub
    pub fn one_to_one(upstream: Upstream) -> Self {
        Route {
            path: PathPattern {
                text: "/{*rest}".into(),
                segments: vec![],
            },
            upstream,
            key: vec![],
            profile: Default::default(),
            replay_refresh: ReplayMode::All,
            replay_blip: ReplayMode::Missed,
            blip_1006: false,
            grace: Duration::ZERO,
            max_message: 16 << 20,
            log_bytes: 8 << 20,
            log_messages: 10000,
            overflow: Overflow::DropOldest,
            acks: true,
            fights: true,
            subprotocol: None,
        }
    }
}
impl PathPattern {
    /// stub
    pub fn parse(t: &str) -> Result<Self, String> {
        Ok(PathPattern {
            text: t.into(),
            segments: vec![],
        })
    }
}
