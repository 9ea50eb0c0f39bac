//! What can be written: flags, environment and file have the same names.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

/// Settings of the whole process.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessSettings {
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, env = "SESSMUX_LISTEN", value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// Origin under which pages reach sessmux, exactly; needed behind an ingress that rewrites Host (repeatable)
    #[arg(long, env = "SESSMUX_PUBLIC_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub public_origin: Vec<String>,
    /// Foreign origin whose pages may open WebSockets, exactly (repeatable)
    #[arg(long, env = "SESSMUX_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub allow_origin: Vec<String>,
}

/// Settings that every route may have for itself.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteSettings {
    /// The agent server: http://HOST:PORT or unix:PATH
    #[arg(long, env = "SESSMUX_UPSTREAM", value_name = "URL")]
    pub upstream: Option<String>,
    /// Part of the session key, all parts together: path:NAME, path, query:NAME, query, header:NAME, cookie:NAME,
    /// first:/POINTER, answer:/POINTER, browser; A|B is the first that is there [default: browser, path, query]
    #[arg(long, env = "SESSMUX_KEY", value_name = "PART", value_delimiter = ',')]
    pub key: Vec<String>,
    /// What messages mean: a profile's file
    #[arg(long, env = "SESSMUX_PROFILE", value_name = "FILE")]
    pub profile: Option<String>,
    /// What a reloaded page is sent: all, turn, missed, none [default: all]
    #[arg(long, env = "SESSMUX_REPLAY_REFRESH", value_name = "MODE")]
    pub replay_refresh: Option<String>,
    /// What a page is sent whose connection was cut: all, turn, missed, none [default: missed]
    #[arg(long, env = "SESSMUX_REPLAY_BLIP", value_name = "MODE")]
    pub replay_blip: Option<String>,
    /// "1006": every end without a close frame leaves the page intact; for pages that do not come through sessmux
    #[arg(long, env = "SESSMUX_BLIP", value_name = "CODE")]
    #[serde(deserialize_with = "text")]
    pub blip: Option<String>,
    /// How long a session without a page is kept [default: 1h]
    #[arg(long, env = "SESSMUX_GRACE", value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub grace: Option<String>,
    /// Largest message, both ways [default: 16MiB]
    #[arg(long, env = "SESSMUX_MAX_MESSAGE", value_name = "SIZE")]
    #[serde(deserialize_with = "text")]
    pub max_message: Option<String>,
    /// Replay log of one session, in bytes [default: 8MiB]
    #[arg(long, env = "SESSMUX_LOG_BYTES", value_name = "SIZE")]
    #[serde(deserialize_with = "text")]
    pub log_bytes: Option<String>,
    /// Replay log of one session, in messages [default: 10000]
    #[arg(long, env = "SESSMUX_LOG_MESSAGES", value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub log_messages: Option<String>,
    /// When the log is full and no page is there: drop-oldest or close [default: drop-oldest]
    #[arg(long, env = "SESSMUX_OVERFLOW", value_name = "POLICY")]
    pub overflow: Option<String>,
    /// Ask browsers to acknowledge delivery by ping: true or false [default: true]
    #[arg(long, env = "SESSMUX_ACKS", value_name = "BOOL")]
    #[serde(deserialize_with = "text")]
    pub acks: Option<String>,
    /// Damp pages that take a session from each other without end: true or false [default: true]
    #[arg(long, env = "SESSMUX_FIGHTS", value_name = "BOOL")]
    #[serde(deserialize_with = "text")]
    pub fights: Option<String>,
    /// The subprotocol that a route with a first: key answers with
    #[arg(long, env = "SESSMUX_SUBPROTOCOL", value_name = "NAME")]
    pub subprotocol: Option<String>,
}

impl RouteSettings {
    /// These, and where they say nothing, what `other` says.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            upstream: self.upstream.or(other.upstream),
            key: if self.key.is_empty() { other.key } else { self.key },
            profile: self.profile.or(other.profile),
            replay_refresh: self.replay_refresh.or(other.replay_refresh),
            replay_blip: self.replay_blip.or(other.replay_blip),
            blip: self.blip.or(other.blip),
            grace: self.grace.or(other.grace),
            max_message: self.max_message.or(other.max_message),
            log_bytes: self.log_bytes.or(other.log_bytes),
            log_messages: self.log_messages.or(other.log_messages),
            overflow: self.overflow.or(other.overflow),
            acks: self.acks.or(other.acks),
            fights: self.fights.or(other.fights),
            subprotocol: self.subprotocol.or(other.subprotocol),
        }
    }
}

impl ProcessSettings {
    /// These, and where they say nothing, what `other` says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let list = |mine: Vec<String>, theirs| if mine.is_empty() { theirs } else { mine };
        Self {
            listen: self.listen.or(other.listen),
            public_origin: list(self.public_origin, other.public_origin),
            allow_origin: list(self.allow_origin, other.allow_origin),
        }
    }
}

/// All that a command line and its environment say.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Settings {
    /// Configuration file (TOML); its names are those of the flags, with _ for -
    #[arg(long, env = "SESSMUX_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Of the whole process.
    #[command(flatten)]
    pub process: ProcessSettings,
    /// Of every route that says nothing itself.
    #[command(flatten)]
    pub route: RouteSettings,
}

/// A string; a number or a boolean as it is written.
fn text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Scalar {
        Text(String),
        Number(i64),
        Boolean(bool),
    }
    Ok(Some(match Scalar::deserialize(value)? {
        Scalar::Text(text) => text,
        Scalar::Number(number) => number.to_string(),
        Scalar::Boolean(boolean) => boolean.to_string(),
    }))
}
