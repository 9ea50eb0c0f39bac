//! Every setting there is.
//!
//! The file, the environment and the flags all read this table, so a setting has the same name everywhere:
//! `log_bytes` in the file, `SESSMUX_LOG_BYTES`, `--log-bytes`.

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// Its name, as the file has it.
    pub(super) name: &'static str,
    /// Its flag, without the dashes; none where it cannot be one.
    pub(super) flag: Option<&'static str>,
    /// Where it may stand.
    pub(super) scope: Scope,
    /// It has a list of values.
    pub(super) many: bool,
    /// What its value is, in the help of its flag.
    pub(super) value: &'static str,
    /// What it does, in the help of its flag.
    pub(super) help: &'static str,
}

/// Where a setting may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Once, for all routes.
    Global,
    /// Once as the default of all routes, and in each.
    Both,
    /// In each route only.
    Route,
}

/// Every setting there is.
pub(super) static SETTINGS: [Setting; 45] = {
    use Scope::{Both, Global, Route};
    [
        one(
            "listen",
            "listen",
            Global,
            "ADDRESS",
            "Where to listen [default: 127.0.0.1:8080]",
        ),
        one("tls_cert", "tls-cert", Global, "FILE", TLS_CERT),
        one(
            "tls_key",
            "tls-key",
            Global,
            "FILE",
            "The private key of tls_cert, in PEM",
        ),
        one(
            "upstream",
            "upstream",
            Both,
            "URL",
            "The agent server: http://HOST[:PORT], https://HOST[:PORT] or unix:PATH",
        ),
        one("upstream_ca", "upstream-ca", Global, "FILE", UPSTREAM_CA),
        many("public_origin", "public-origin", Global, "ORIGIN", PUBLIC_ORIGIN),
        many(
            "allow_origin",
            "allow-origin",
            Global,
            "ORIGIN",
            "Foreign origin that may open WebSockets (repeatable)",
        ),
        Setting {
            flag: None,
            ..one("path", "", Route, "PATTERN", "")
        },
        many("key", "key", Both, "SOURCE", KEY),
        one(
            "profile",
            "profile",
            Both,
            "NAME|FILE",
            "What messages mean: a built-in profile (sessmux profiles) or a file",
        ),
        one("replay_refresh", "replay-refresh", Both, "MODE", REPLAY_REFRESH),
        one("replay_blip", "replay-blip", Both, "MODE", REPLAY_BLIP),
        one("blip", "blip", Both, "CODE", BLIP),
        one(
            "grace",
            "grace",
            Both,
            "TIME",
            "How long a session without a page is kept [default: 1h]",
        ),
        one(
            "max_message",
            "max-message",
            Both,
            "SIZE",
            "Largest message, both ways [default: 16MiB]",
        ),
        one(
            "log_bytes",
            "log-bytes",
            Both,
            "SIZE",
            "Bound of a session's replay log [default: 8MiB]",
        ),
        one("log_messages", "log-messages", Both, "COUNT", LOG_MESSAGES),
        one("max_fragments", "max-fragments", Both, "COUNT", MAX_FRAGMENTS),
        one("slow_reader", "slow-reader", Both, "TIME", SLOW_READER),
        one("overflow", "overflow", Both, "POLICY", OVERFLOW),
        one(
            "acks",
            "acks",
            Both,
            "BOOL",
            "Let browsers acknowledge delivery by ping [default: true]",
        ),
        one("fights", "fights", Both, "BOOL", FIGHTS),
        many("bind", "bind", Both, "PROOF", BIND),
        one("auth_request", "auth-request", Both, "URL", AUTH_REQUEST),
        one("auth_subject", "auth-subject", Both, "HEADER", AUTH_SUBJECT),
        one("foreign", "foreign", Both, "POLICY", FOREIGN),
        one("subprotocol", "subprotocol", Both, "NAME", SUBPROTOCOL),
        many("trusted_proxies", "trusted-proxies", Global, "NETWORK", TRUSTED_PROXIES),
        one("max_head", "max-head", Global, "SIZE", MAX_HEAD),
        one("head_timeout", "head-timeout", Global, "TIME", HEAD_TIMEOUT),
        one("idle_timeout", "idle-timeout", Global, "TIME", IDLE_TIMEOUT),
        one("max_connections", "max-connections", Global, "COUNT", MAX_CONNECTIONS),
        one(
            "max_client_connections",
            "max-client-connections",
            Global,
            "COUNT",
            MAX_CLIENT_CONNECTIONS,
        ),
        one("max_pending", "max-pending", Global, "COUNT", MAX_PENDING),
        one(
            "max_client_pending",
            "max-client-pending",
            Global,
            "COUNT",
            MAX_CLIENT_PENDING,
        ),
        one("max_sessions", "max-sessions", Global, "COUNT", MAX_SESSIONS),
        one(
            "max_client_sessions",
            "max-client-sessions",
            Global,
            "COUNT",
            MAX_CLIENT_SESSIONS,
        ),
        one(
            "max_owner_sessions",
            "max-owner-sessions",
            Global,
            "COUNT",
            MAX_OWNER_SESSIONS,
        ),
        one("max_buffered", "max-buffered", Global, "SIZE", MAX_BUFFERED),
        one("attach_rate", "attach-rate", Global, "COUNT", ATTACH_RATE),
        one("session_rate", "session-rate", Global, "COUNT", SESSION_RATE),
        one("drain_timeout", "drain-timeout", Global, "TIME", DRAIN_TIMEOUT),
        one("admin", "admin", Global, "ADDRESS", ADMIN),
        one("health", "health", Global, "ADDRESS", HEALTH),
        one("record", "record", Global, "FILE", RECORD),
    ]
};

const TLS_CERT: &str = "Speak HTTPS with this certificate and its chain, in PEM; read again when it changes";
const UPSTREAM_CA: &str =
    "Roots in PEM that https:// servers are judged by, a server's own certificate among them [default: the system's]";
const PUBLIC_ORIGIN: &str =
    "Origin under which pages reach sessmux, exactly; needed behind an ingress that rewrites Host (repeatable)";
const KEY: &str = "Part of the session key: path[:NAME], query[:NAME], header:NAME, cookie:NAME, first:/POINTER, \
    answer:/POINTER or browser; A|B is the first that is there (repeatable) [default: browser, path, query]";
const REPLAY_REFRESH: &str = "What a reloaded page is sent: all, turn, missed or none [default: all]";
const REPLAY_BLIP: &str = "What a page is sent whose connection was cut: all, turn, missed or none [default: missed]";
const BLIP: &str = "1006 judges every end without a close frame a blip; for pages that do not come through sessmux";
const LOG_MESSAGES: &str = "Bound of a session's replay log in messages [default: 10000]";
const OVERFLOW: &str = "When the log is full and no page is there: drop-oldest or close [default: drop-oldest]";
const FIGHTS: &str = "Damp two pages that take a session from each other without end [default: true]";

const BIND: &str = "What a session's owner shows on every attach: header:NAME, cookie:NAME, hello, auth_request or key \
    (repeatable) [default: the browser's cookie]";
const AUTH_REQUEST: &str =
    "Who is asked, by a GET with the client's headers, for bind = auth_request: http[s]://HOST[:PORT]/PATH";
const AUTH_SUBJECT: &str = "The header of its answer that says who the client is";
const FOREIGN: &str = "Whoever names another's session: separate (has one of their own) or refuse [default: separate]";
const TRUSTED_PROXIES: &str =
    "Proxy whose X-Forwarded-For says who the client is: an address or a network (repeatable)";
const MAX_HEAD: &str = "Largest request head [default: 16KiB]";
const HEAD_TIMEOUT: &str = "How long a new connection may take for its first request head [default: 5s]";
const IDLE_TIMEOUT: &str = "How long a connection may wait for its next request [default: 75s]";
const MAX_CONNECTIONS: &str = "HTTP connections at a time [default: 10000]";
const MAX_CLIENT_CONNECTIONS: &str = "HTTP connections of one address at a time [default: 1000]";
const MAX_PENDING: &str = "Pages at a time that have yet to say their hello or first message [default: 1024]";
const MAX_CLIENT_PENDING: &str = "The same, of one client [default: 128]";
const MAX_SESSIONS: &str = "Sessions at a time [default: 10000]";
const MAX_CLIENT_SESSIONS: &str = "Sessions at a time that one client created [default: 1000]";
const MAX_OWNER_SESSIONS: &str = "Sessions at a time of one owner that was proved [default: 256]";
const MAX_BUFFERED: &str = "What all sessions together may hold in memory, logs above all [default: 512MiB, or half of what \
    the container may have]";
const MAX_FRAGMENTS: &str = "Most frames of one message, both ways [default: 16384]";
const SLOW_READER: &str =
    "How long a page may keep the agent server unread before it is closed with 4008 [default: 10s]";
const ATTACH_RATE: &str = "WebSocket requests of one client a second, in the mean over 10 s [default: 50]";
const SESSION_RATE: &str = "New sessions of one client a second, in the mean over 10 s [default: 20]";
const DRAIN_TIMEOUT: &str = "How long sessions may go on after SIGTERM [default: 25s]";
const ADMIN: &str = "Where operators ask for health, metrics and sessions: unix:PATH, ADDRESS:PORT or off [default: a socket in the \
    runtime directory]";
const HEALTH: &str = "Where /live, /ready and /metrics alone are told too, to whoever asks: ADDRESS:PORT";
const RECORD: &str =
    "Record every message, secrets included, in this file, to write a profile by: sessmux profiles test";
const SUBPROTOCOL: &str = "The subprotocol that a route with a first: key answers with";

const fn one(name: &'static str, flag: &'static str, scope: Scope, value: &'static str, help: &'static str) -> Setting {
    Setting {
        name,
        flag: Some(flag),
        scope,
        many: false,
        value,
        help,
    }
}

const fn many(
    name: &'static str,
    flag: &'static str,
    scope: Scope,
    value: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        many: true,
        ..one(name, flag, scope, value, help)
    }
}

/// The setting of this name.
pub(super) fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}
