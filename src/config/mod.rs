//! The one validated configuration: defaults < TOML file < `SESSMUX_*` environment < flags.
//!
//! [`Config::load`] merges and validates what each of them gives; a route's own settings go before all of them.

mod address;
mod bind;
mod changes;
mod check;
mod error;
mod file;
mod flags;
mod key;
mod limits;
mod load;
mod path;
mod rehearsed;
mod risks;
mod settings;
mod show;
mod table;
mod tunnel;
mod units;
mod values;

use std::iter;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use crate::core::{Overflow, ReplayMode};
use crate::profile::Profile;

pub use address::{Admin, Origin, Upstream};
pub use bind::{AuthUrl, Bind};
pub use error::{ConfigError, ConfigErrors};
pub use flags::Flags;
pub use key::{KeyPart, KeySource};
pub use limits::Limits;
pub use path::{Captures, PathPattern};

/// Everything sessmux was told, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// What the listener speaks TLS with, if it does.
    pub tls: Option<TlsFiles>,
    /// Where plain HTTP goes, and WebSockets that no route claims.
    pub upstream: Upstream,
    /// The roots in place of the system's, for servers that are reached by TLS.
    pub upstream_ca: Option<PathBuf>,
    /// The origins under which pages reach sessmux; where any is set, exactly these are same-origin.
    pub public_origins: Vec<Origin>,
    /// Foreign origins that may open WebSockets, compared exactly.
    pub allow_origins: Vec<Origin>,
    /// Proxies before this one, whose word counts on whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
    /// Bounds on what clients may take.
    pub limits: Limits,
    /// Where the admin surface listens, if it does.
    pub admin: Admin,
    /// Where health and metrics alone are told, beside the admin surface.
    pub health: Option<SocketAddr>,
    /// How long sessions may go on once sessmux is asked to end.
    pub drain_timeout: Duration,
    /// Where live traffic is recorded, if it is.
    pub record: Option<PathBuf>,
    /// WebSocket routes; the first whose pattern matches serves a request. Never empty: without
    /// `[[route]]` tables there is one that matches every path.
    pub routes: Vec<Arc<Route>>,
}

/// The listener's certificate, both files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those of the authorities between it and a root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Config {
    /// The servers that are reached by TLS.
    pub fn https_servers(&self) -> impl Iterator<Item = &Upstream> {
        let upstreams = self.routes.iter().map(|route| &route.upstream);
        let asked = self
            .routes
            .iter()
            .filter_map(|route| Some(&route.auth_request.as_ref()?.server));
        let all = iter::once(&self.upstream).chain(upstreams).chain(asked);
        all.filter(|server| matches!(server, Upstream::Tls(_)))
    }

    /// Whether pages reach sessmux by HTTPS, as far as that is known: public origins say it where there are any.
    #[must_use]
    pub fn is_https(&self) -> bool {
        if self.public_origins.is_empty() {
            return self.tls.is_some();
        }
        self.public_origins.iter().all(|origin| origin.scheme == "https")
    }
}

/// What holds for the WebSockets whose path matches one pattern.
#[derive(Debug, Clone)]
pub struct Route {
    /// Which paths.
    pub path: PathPattern,
    /// The agent server.
    pub upstream: Upstream,
    /// Parts of the session key, all together (AND); empty for WebSockets that no route claims, which are one-to-one.
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
    /// And how long while a turn runs or a prompt is open.
    pub grace_open: Duration,
    /// Largest message, both ways, in bytes of payload.
    pub max_message: usize,
    /// Bound of a session's replay log, in bytes.
    pub log_bytes: usize,
    /// Bound of a session's replay log, in messages.
    pub log_messages: usize,
    /// What happens when the log is full while nobody is attached.
    pub overflow: Overflow,
    /// How long a page may keep upstream unread; agent servers drop connections whose pings go unread.
    pub slow_reader: Duration,
    /// Most frames of one message, both ways.
    pub max_fragments: usize,
    /// Ask browsers to acknowledge delivery by ping.
    pub acks: bool,
    /// Damp two pages that take a session from each other without end.
    pub fights: bool,
    /// What a session's owner has to show on every attach, all of it; with nothing, the browser's cookie.
    pub bind: Vec<Bind>,
    /// The server that is asked who a client is.
    pub auth_request: Option<AuthUrl>,
    /// The header of its answer that says it, lower case.
    pub auth_subject: Option<String>,
    /// What becomes of whoever names a session of another owner.
    pub foreign: Foreign,
    /// The subprotocol that a first-message route answers with, before upstream is dialled.
    pub subprotocol: Option<String>,
}

/// What becomes of whoever names a session of another owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// They are a client of their own, with a session of their own, and learn nothing.
    Separate,
    /// They are refused: for servers that hand a session to whoever names it.
    Refuse,
}

impl Route {
    /// The route of WebSockets that no configured route claims; it has no key, so each is on its own.
    #[must_use]
    pub fn one_to_one(path: PathPattern, upstream: Upstream) -> Self {
        Self {
            path,
            upstream,
            key: Vec::new(),
            profile: Profile::default(),
            replay_refresh: ReplayMode::All,
            replay_blip: ReplayMode::Missed,
            blip_1006: false,
            grace: Duration::from_secs(3600),
            grace_open: Duration::from_secs(3600),
            max_message: 16 << 20,
            log_bytes: 8 << 20,
            log_messages: 10_000,
            overflow: Overflow::DropOldest,
            slow_reader: Duration::from_secs(10),
            // 16 MiB in pieces of 1 KiB
            max_fragments: 16_384,
            acks: true,
            fights: true,
            bind: Vec::new(),
            auth_request: None,
            auth_subject: None,
            foreign: Foreign::Separate,
            subprotocol: None,
        }
    }
}
