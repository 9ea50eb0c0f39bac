//! What is counted, for Prometheus. The number of series is fixed: `labels` has what they are told apart by.

mod family;
mod labels;
mod relayed;
mod waiting;

use std::time::Instant;

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

pub use family::{Family, Label};
pub use labels::{Attach, Close, Detach, Dial, Direction, Discarded, Overflow, Replay, Rule, Side, Stage};
use relayed::Relayed;
pub use relayed::Traffic;
use waiting::Waiting;

/// A counter for each value of a label.
pub type Counters<L> = Family<L, IntCounter>;

/// Bounds of replays' durations, in seconds: from what fits one write to what a slow line takes.
const REPLAY_SECONDS: [f64; 9] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];
/// Bounds of logs' sizes, in bytes: the default `log_bytes` is 8 MiB.
const LOG_BYTES: [f64; 8] = [
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// All metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    refused: Counters<Rule>,
    relayed: Relayed,
    relayed_messages: Counters<Direction>,
    relayed_bytes: Counters<Direction>,
    waiting: Waiting,
    oldest_prompt: Gauge,
    /// Sessions at a time, by how they stand.
    pub sessions: Family<Stage, IntGauge>,
    /// Connections that are served HTTP; those that became a session's are none of them.
    pub connections: IntGauge,
    /// Pending attachments at a time.
    pub pending: IntGauge,
    /// Prompts that are open.
    pub prompts: IntGauge,
    /// Bytes that sessions hold.
    pub buffered: IntGauge,
    /// Bytes that they may hold.
    pub buffered_limit: IntGauge,
    /// Bytes of a session's log as its page leaves.
    pub log_bytes: Histogram,
    /// Messages that were evicted from replay logs.
    pub evicted: IntCounter,
    /// Full logs.
    pub overflows: Counters<Overflow>,
    /// Attaches.
    pub attaches: Counters<Attach>,
    /// Detaches.
    pub detaches: Counters<Detach>,
    /// Pages that took a session from another.
    pub takeovers: IntCounter,
    /// Replays.
    pub replays: Counters<Replay>,
    /// Messages of replays.
    pub replayed_messages: Counters<Replay>,
    /// Bytes of replays, on the wire.
    pub replayed_bytes: Counters<Replay>,
    /// From an attach until its replay was handed to the system.
    pub replay_seconds: Family<Replay, Histogram>,
    /// Attaches after which pages lack messages that they should have got.
    pub gaps: IntCounter,
    /// Those messages.
    pub gap_messages: IntCounter,
    /// What was not sent on.
    pub discarded: Counters<Discarded>,
    /// Pings and heartbeats that sessmux answered itself.
    pub heartbeats: Counters<Side>,
    /// Dials.
    pub dials: Counters<Dial>,
    /// Ends of upstream connections.
    pub closes: Counters<Close>,
    /// When the drain began, in seconds since 1970; 0 where none has.
    pub drain_started: Gauge,
    /// How many seconds it may take.
    pub drain_timeout: Gauge,
    /// Sessions that had not ended when sessmux did.
    pub cut: IntCounter,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let to = &registry;
        let opts = Opts::new("sessmux_build_info", "Always 1: the version is a label")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        registered(to, IntGauge::with_opts(opts)).set(1);
        Self {
            refused: counters(
                to,
                "sessmux_refused_total",
                "Requests, connections and pages refused or cut off, by rule",
            ),
            relayed: Relayed::default(),
            relayed_messages: counters(to, "sessmux_relayed_messages_total", "Messages relayed, by direction"),
            relayed_bytes: counters(
                to,
                "sessmux_relayed_bytes_total",
                "Bytes of relayed messages on the wire, by direction",
            ),
            waiting: Waiting::default(),
            oldest_prompt: registered(
                to,
                Gauge::new(
                    "sessmux_oldest_prompt_seconds",
                    "For how long a person has been waited for: the oldest of all open prompts",
                ),
            ),
            drain_started: registered(
                to,
                Gauge::new(
                    "sessmux_drain_started_timestamp_seconds",
                    "When the drain began; 0 where none has",
                ),
            ),
            drain_timeout: registered(
                to,
                Gauge::new(
                    "sessmux_drain_timeout_seconds",
                    "How long a drain may take: drain_timeout",
                ),
            ),
            sessions: Family::new(
                to,
                IntGaugeVec::new(
                    Opts::new("sessmux_sessions", "Sessions, by how they stand"),
                    &[Stage::LABEL],
                ),
            ),
            connections: gauge(to, "sessmux_http_connections", "Connections that are served HTTP"),
            pending: gauge(
                to,
                "sessmux_pending_attachments",
                "Pages that have yet to say their hello or first message, but for those that open a session by it",
            ),
            prompts: gauge(to, "sessmux_open_prompts", "Prompts that wait for an answer"),
            buffered: gauge(
                to,
                "sessmux_buffered_bytes",
                "What sessions hold in memory: logs, unfinished and unsent messages",
            ),
            buffered_limit: gauge(to, "sessmux_buffered_bytes_limit", "What they may hold: max_buffered"),
            log_bytes: registered(
                to,
                Histogram::with_opts(
                    HistogramOpts::new("sessmux_log_bytes", "What a session's log holds as its page leaves")
                        .buckets(LOG_BYTES.into()),
                ),
            ),
            evicted: counter(
                to,
                "sessmux_evicted_messages_total",
                "Messages that replay logs no longer hold: of log_bytes, log_messages or max_buffered",
            ),
            overflows: counters(
                to,
                "sessmux_overflows_total",
                "Sessions whose log was full, by what was done about it",
            ),
            attaches: counters(
                to,
                "sessmux_attaches_total",
                "Pages that came to a session, by what came of it",
            ),
            detaches: counters(to, "sessmux_detaches_total", "Pages that left a session, by how"),
            takeovers: counter(
                to,
                "sessmux_takeovers_total",
                "Pages that took a session from another that was still attached",
            ),
            replays: counters(
                to,
                "sessmux_replays_total",
                "Attaches to sessions that had a page before, by what is replayed",
            ),
            replayed_messages: counters(to, "sessmux_replayed_messages_total", "Messages of replays"),
            replayed_bytes: counters(to, "sessmux_replayed_bytes_total", "Bytes of replays on the wire"),
            replay_seconds: Family::new(
                to,
                HistogramVec::new(
                    HistogramOpts::new(
                        "sessmux_replay_seconds",
                        "From an attach until the last message of its replay was handed to the system",
                    )
                    .buckets(REPLAY_SECONDS.into()),
                    &[Replay::LABEL],
                ),
            ),
            gaps: counter(
                to,
                "sessmux_gaps_total",
                "Attaches after which pages lack messages that they should have got",
            ),
            gap_messages: counter(to, "sessmux_gap_messages_total", "Messages that pages lack"),
            discarded: counters(to, "sessmux_discarded_total", "What was not sent on, by what it was"),
            heartbeats: counters(
                to,
                "sessmux_heartbeats_answered_total",
                "Pings and heartbeats that sessmux answered itself, by who sent them",
            ),
            dials: counters(
                to,
                "sessmux_upstream_dials_total",
                "Dials of agent servers, by what came of them",
            ),
            closes: counters(
                to,
                "sessmux_upstream_closes_total",
                "Upstream connections that ended, by the close code of whoever ended them",
            ),
            cut: counter(
                to,
                "sessmux_cut_sessions_total",
                "Sessions that had not ended when sessmux did",
            ),
            registry,
        }
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

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    registered(registry, IntCounter::new(name, help))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    registered(registry, IntGauge::new(name, help))
}

fn counters<L: Label>(registry: &Registry, name: &str, help: &str) -> Counters<L> {
    Family::new(registry, IntCounterVec::new(Opts::new(name, help), &[L::LABEL]))
}

impl Metrics {
    /// Somebody was refused or cut off.
    pub fn refused(&self, rule: Rule) {
        self.refused.of(rule).inc();
    }

    /// So much was relayed.
    pub fn relayed(&self, to_page: Traffic, to_agent: Traffic) {
        self.relayed.add(to_page, to_agent);
    }

    /// A session's oldest prompt was open since `before`, and now since `after`.
    pub fn oldest_prompt(&self, before: Option<Instant>, after: Option<Instant>) {
        self.waiting.changed(before, after);
    }

    /// All of them as text, in version 0.0.4 of Prometheus's format.
    ///
    /// # Errors
    ///
    /// A metric cannot be written, which would be a fault of ours.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let waits = self.waiting.oldest().map(|since| since.elapsed());
        self.oldest_prompt.set(waits.unwrap_or_default().as_secs_f64());
        for (direction, new) in [Direction::ToPage, Direction::ToAgent]
            .into_iter()
            .zip(self.relayed.news())
        {
            self.relayed_messages.of(direction).inc_by(new.messages);
            self.relayed_bytes.of(direction).inc_by(new.bytes);
        }
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
            let count = u64::from(*rule == Rule::Origin);
            let line = format!("sessmux_refused_total{{rule=\"{}\"}} {count}\n", rule.name());
            assert_eq!(text.matches(&line).count(), 1, "{line}in\n{text}");
        }
        assert_eq!(text.matches("sessmux_refused_total{").count(), Rule::ALL.len());
    }

    #[test]
    fn labels_are_what_people_write() {
        // those that name a setting's values are written as the setting's are
        assert_eq!(Close::of(Some(1012)).name(), "1012");
        assert_eq!(Close::of(Some(4321)).name(), "4xxx");
        assert_eq!(Close::of(Some(1005)).name(), "1005");
        assert_eq!(Close::of(None).name(), "none");
    }
}
