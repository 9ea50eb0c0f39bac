//! What is counted, for Prometheus.
//!
//! No label names a session, a client or anything else that clients choose: the number of series is fixed.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// A rule by which somebody was refused or cut off. Where a setting bounds it, the label is that setting's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The request's Host is not served here.
    Host,
    /// The page's origin may not open WebSockets.
    Origin,
    /// What came is no HTTP request, or one that could be read in two ways.
    Request,
    /// The request does not show what the route binds sessions to.
    Bind,
    /// The authorisation server said no, or nothing.
    AuthRequest,
    /// The hello proves nobody.
    Hello,
    /// The session is another's.
    Foreign,
    /// The connection did not come to speak TLS.
    TlsHandshake,
    /// A request head that is too large.
    MaxHead,
    /// A request head, or a handshake of TLS, that did not come in time.
    HeadTimeout,
    /// Connections at a time.
    MaxConnections,
    /// Connections of one address at a time.
    MaxClientConnections,
    /// Pending attachments at a time.
    MaxPending,
    /// Pending attachments of one client at a time.
    MaxClientPending,
    /// Sessions at a time.
    MaxSessions,
    /// Sessions of one client at a time.
    MaxClientSessions,
    /// Sessions of one owner at a time.
    MaxOwnerSessions,
    /// Attaches of one client in a second.
    AttachRate,
    /// New sessions of one client in a second.
    SessionRate,
    /// What all sessions together hold: they were asked to give back.
    MaxBuffered,
    /// A page's message that is too large, or in too many pieces.
    MaxMessage,
    /// A page that kept the agent server waiting.
    SlowReader,
}

impl Rule {
    /// Every rule; each has its series from the start, so that a rate is seen from the first refusal on.
    pub const ALL: [Self; 22] = [
        Self::Host,
        Self::Origin,
        Self::Request,
        Self::Bind,
        Self::AuthRequest,
        Self::Hello,
        Self::Foreign,
        Self::TlsHandshake,
        Self::MaxHead,
        Self::HeadTimeout,
        Self::MaxConnections,
        Self::MaxClientConnections,
        Self::MaxPending,
        Self::MaxClientPending,
        Self::MaxSessions,
        Self::MaxClientSessions,
        Self::MaxOwnerSessions,
        Self::AttachRate,
        Self::SessionRate,
        Self::MaxBuffered,
        Self::MaxMessage,
        Self::SlowReader,
    ];

    /// Its label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Origin => "origin",
            Self::Request => "request",
            Self::Bind => "bind",
            Self::AuthRequest => "auth_request",
            Self::Hello => "hello",
            Self::Foreign => "foreign",
            Self::TlsHandshake => "tls_handshake",
            Self::MaxHead => "max_head",
            Self::HeadTimeout => "head_timeout",
            Self::MaxConnections => "max_connections",
            Self::MaxClientConnections => "max_client_connections",
            Self::MaxPending => "max_pending",
            Self::MaxClientPending => "max_client_pending",
            Self::MaxSessions => "max_sessions",
            Self::MaxClientSessions => "max_client_sessions",
            Self::MaxOwnerSessions => "max_owner_sessions",
            Self::AttachRate => "attach_rate",
            Self::SessionRate => "session_rate",
            Self::MaxBuffered => "max_buffered",
            Self::MaxMessage => "max_message",
            Self::SlowReader => "slow_reader",
        }
    }
}

/// All metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    refused: IntCounterVec,
    /// Sessions at a time, those that are dialled for included.
    pub sessions: IntGauge,
    /// Connections that are served HTTP; those that became a session's are none of them.
    pub connections: IntGauge,
    /// Pending attachments at a time.
    pub pending: IntGauge,
    /// Bytes that sessions hold.
    pub buffered: IntGauge,
    /// Messages that were evicted from replay logs.
    pub evicted: IntCounter,
    /// Sessions that had not ended when sessmux did.
    pub cut: IntCounter,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let gauge = |name, help| registered(&registry, IntGauge::new(name, help));
        let counter = |name, help| registered(&registry, IntCounter::new(name, help));
        let opts = Opts::new(
            "sessmux_refused_total",
            "Requests, connections and pages refused or cut off, by rule",
        );
        let metrics = Self {
            refused: registered(&registry, IntCounterVec::new(opts, &["rule"])),
            sessions: gauge("sessmux_sessions", "Sessions, those that are dialled for included"),
            connections: gauge("sessmux_http_connections", "Connections that are served HTTP"),
            pending: gauge(
                "sessmux_pending_attachments",
                "Pages that have yet to say their hello or first message",
            ),
            buffered: gauge(
                "sessmux_buffered_bytes",
                "What sessions hold in memory: logs, unfinished and unsent messages",
            ),
            evicted: counter(
                "sessmux_evicted_messages_total",
                "Messages that replay logs no longer hold: of log_bytes, log_messages or max_buffered",
            ),
            cut: counter(
                "sessmux_cut_sessions_total",
                "Sessions that had not ended when sessmux did",
            ),
            registry,
        };
        for rule in Rule::ALL {
            let _ = metrics.refused.with_label_values(&[rule.name()]);
        }
        metrics
    }
}

/// A metric of ours is well-formed and has a name of its own; the tests below would tell.
fn registered<M: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<M>) -> M {
    let metric = made.expect("a name and labels that Prometheus takes");
    registry
        .register(Box::new(metric.clone()))
        .expect("a name that is there once");
    metric
}

impl Metrics {
    /// Somebody was refused or cut off.
    pub fn refused(&self, rule: Rule) {
        self.refused.with_label_values(&[rule.name()]).inc();
    }

    /// All of them as text, in version 0.0.4 of Prometheus's format.
    ///
    /// # Errors
    ///
    /// A metric cannot be written, which would be a fault of ours.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_its_own_series() {
        let metrics = Metrics::default();
        metrics.refused(Rule::Origin);
        let text = metrics.text().unwrap();
        for rule in Rule::ALL {
            let count = u64::from(rule == Rule::Origin);
            let line = format!("sessmux_refused_total{{rule=\"{}\"}} {count}\n", rule.name());
            assert_eq!(text.matches(&line).count(), 1, "{line}in\n{text}");
        }
        assert_eq!(text.matches("sessmux_refused_total{").count(), Rule::ALL.len());
    }
}
