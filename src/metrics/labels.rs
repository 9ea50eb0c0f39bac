//! By what metrics are told apart. No label names a session, a client or anything else that clients choose.

use super::family::labels;

labels! {
    /// A rule by which somebody was refused or cut off. Where a setting bounds it, the label is that setting's name.
    Rule, "rule" {
        /// The request's Host is not served here.
        Host = "host",
        /// The page's origin may not open WebSockets.
        Origin = "origin",
        /// What came is no HTTP request, or one that could be read in two ways.
        Request = "request",
        /// The request does not show what the route binds sessions to.
        Bind = "bind",
        /// The authorisation server said no, or nothing.
        AuthRequest = "auth_request",
        /// The hello proves nobody.
        Hello = "hello",
        /// The session is another's.
        Foreign = "foreign",
        /// The connection did not come to speak TLS.
        TlsHandshake = "tls_handshake",
        /// A request head that is too large.
        MaxHead = "max_head",
        /// A request head, or a handshake of TLS, that did not come in time.
        HeadTimeout = "head_timeout",
        /// Connections at a time.
        MaxConnections = "max_connections",
        /// Connections of one address at a time.
        MaxClientConnections = "max_client_connections",
        /// Connections to the admin or health listener at a time.
        AdminConnections = "admin_connections",
        /// Pending attachments at a time.
        MaxPending = "max_pending",
        /// Pending attachments of one client at a time.
        MaxClientPending = "max_client_pending",
        /// Sessions at a time.
        MaxSessions = "max_sessions",
        /// Sessions of one client at a time.
        MaxClientSessions = "max_client_sessions",
        /// Sessions of one owner at a time.
        MaxOwnerSessions = "max_owner_sessions",
        /// Attaches of one client in a second.
        AttachRate = "attach_rate",
        /// New sessions of one client in a second.
        SessionRate = "session_rate",
        /// What all sessions together hold: they were asked to give back, or a page that kept too much of it was closed.
        MaxBuffered = "max_buffered",
        /// A page's message that is too large, or in too many pieces.
        MaxMessage = "max_message",
        /// A page's message that was not whole in time.
        IncompleteMessage = "incomplete_message",
        /// A page that kept the agent server waiting.
        SlowReader = "slow_reader",
    }
}

labels! {
    /// How a session stands.
    Stage, "state" {
        /// Its upstream is being dialled.
        Dialing = "dialing",
        /// The hello is yet to be said, or to be answered.
        Opening = "opening",
        /// A page is attached.
        Attached = "attached",
        /// None is.
        Detached = "detached",
        /// The upstream connection has ended, and pages get the rest.
        Ending = "ending",
    }
}

labels! {
    /// What came of an attach.
    Attach, "result" {
        /// It is the session's first.
        First = "first",
        /// The page lost its state.
        Refresh = "refresh",
        /// It has it.
        Blip = "blip",
        /// It has it, and what it needs is no longer retained: closed with 4009.
        Gap = "gap",
        /// Pages replaced each other too often: closed with 4001.
        Fight = "fight",
        /// The hello was used before, or is too old: closed with 4003.
        Hello = "hello",
    }
}

labels! {
    /// How a page left.
    Detach, "cause" {
        /// It sent a close frame.
        Closed = "closed",
        /// Its connection ended without one.
        Cut = "cut",
        /// A newer page took the session.
        Takeover = "takeover",
        /// sessmux closed it.
        Dismissed = "dismissed",
    }
}

labels! {
    /// What a page is sent before live messages, as `replay_refresh` and `replay_blip` name it.
    Replay, "mode" {
        /// All that is retained.
        All = "all",
        /// Since the turn's start.
        Turn = "turn",
        /// What it has not acknowledged.
        Missed = "missed",
        /// Nothing.
        None = "none",
    }
}

labels! {
    /// What happened as a log was full, as `overflow` names it.
    Overflow, "policy" {
        /// The oldest messages were evicted.
        DropOldest = "drop-oldest",
        /// The session ended.
        Close = "close",
    }
}

labels! {
    /// What was not sent on.
    Discarded, "what" {
        /// Something done for an older epoch.
        StaleEpoch = "stale-epoch",
        /// A hello that the server has heard already.
        Hello = "hello",
        /// An answer to a prompt that was answered before.
        LateAnswer = "late-answer",
        /// An answer of the server's to what no attached page asked.
        StrayAnswer = "stray-answer",
        /// What a page said about a request that does not wait, or that was another page's.
        StrayCancel = "stray-cancel",
        /// A message of sessmux's own that the page did not take.
        Unsaid = "unsaid",
    }
}

labels! {
    /// What came of a dial.
    Dial, "result" {
        /// A session.
        Upgraded = "upgraded",
        /// The server answered with another status than 101.
        Refused = "refused",
        /// No connection.
        Unreachable = "unreachable",
        /// Nothing in time.
        Timeout = "timeout",
        /// An answer that is no WebSocket handshake.
        Broken = "broken",
    }
}

labels! {
    /// How an upstream connection ended: the close code of whoever ended it, the agent server or sessmux, where RFC 6455
    /// section 7.4.1 or the registry that it set up knows that, else its range.
    Close, "code" {
        /// Without a close frame.
        None = "none",
        /// With a close frame that has no code.
        NoCode = "1005",
        /// Normal.
        Normal = "1000",
        /// Going away.
        GoingAway = "1001",
        /// Protocol error.
        ProtocolError = "1002",
        /// Unsupported data.
        Unsupported = "1003",
        /// Not UTF-8.
        NotUtf8 = "1007",
        /// Policy violation.
        Policy = "1008",
        /// Message too big.
        TooBig = "1009",
        /// Mandatory extension.
        Extension = "1010",
        /// Internal error.
        Internal = "1011",
        /// Service restart.
        Restart = "1012",
        /// Try again later.
        TryLater = "1013",
        /// Bad gateway.
        BadGateway = "1014",
        /// Of libraries and frameworks.
        Libraries = "3xxx",
        /// Of applications, those of sessmux for a session that it ended among them.
        Applications = "4xxx",
    }
}

impl Close {
    /// That of this code; `None` for no close frame.
    #[must_use]
    pub fn of(code: Option<u16>) -> Self {
        match code {
            None => Self::None,
            Some(1000) => Self::Normal,
            Some(1001) => Self::GoingAway,
            Some(1002) => Self::ProtocolError,
            Some(1003) => Self::Unsupported,
            Some(1007) => Self::NotUtf8,
            Some(1008) => Self::Policy,
            Some(1009) => Self::TooBig,
            Some(1010) => Self::Extension,
            Some(1011) => Self::Internal,
            Some(1012) => Self::Restart,
            Some(1013) => Self::TryLater,
            Some(1014) => Self::BadGateway,
            Some(3000..=3999) => Self::Libraries,
            Some(4000..=4999) => Self::Applications,
            Some(_) => Self::NoCode,
        }
    }
}

labels! {
    /// Who is on the other end.
    Side, "side" {
        /// A page.
        Page = "page",
        /// An agent server.
        Agent = "agent",
    }
}

labels! {
    /// Which way messages go.
    Direction, "direction" {
        /// From agent servers, into logs and so to pages.
        ToPage = "to-page",
        /// From pages to agent servers.
        ToAgent = "to-agent",
    }
}
