//! Limits that hold before there is a session: connections, attaches, pending attachments.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use ipnet::IpNet;

use super::body::{self, Body};
use crate::config;
use crate::metrics::{Metrics, Rule};
use crate::session::admission::Limit;
use crate::session::quota::{Over, Place, Quota};
use crate::session::rate::Rate;
use crate::session::seldom::Seldom;

/// A refused connection may be tried again after this: most last no longer.
const CONNECTION: Duration = Duration::from_secs(1);
/// A pending attachment takes no longer than its hello, which has 10 s.
const PENDING: Duration = Duration::from_secs(10);

/// Limits that hold before there is a session.
#[derive(Debug)]
pub(super) struct Limits {
    connections: Arc<Quota<IpAddr>>,
    pending: Arc<Quota<IpAddr>>,
    attaches: Rate,
    metrics: Arc<Metrics>,
    /// When each rule had its last line, and how many refusals had none since.
    lines: Mutex<[Seldom; Rule::ALL.len()]>,
}

impl Limits {
    pub(super) fn new(limits: &config::Limits, metrics: &Arc<Metrics>) -> Self {
        let connections = Some(metrics.connections.clone());
        let pending = Some(metrics.pending.clone());
        Self {
            connections: Arc::new(Quota::new(
                limits.max_connections,
                limits.max_client_connections,
                connections,
            )),
            pending: Arc::new(Quota::new(limits.max_pending, limits.max_client_pending, pending)),
            attaches: Rate::per_second(limits.attach_rate),
            metrics: Arc::clone(metrics),
            lines: Mutex::new([Seldom::default(); Rule::ALL.len()]),
        }
    }

    /// Other bounds from here on.
    pub(super) fn bound(&self, limits: &config::Limits) {
        self.connections
            .bound(limits.max_connections, limits.max_client_connections);
        self.pending.bound(limits.max_pending, limits.max_client_pending);
        self.attaches.bound(limits.attach_rate);
    }

    /// A place for a connection from `address`; the trusted speak for many, so that theirs are bounded in all only.
    pub(super) fn connection(&self, address: IpAddr, trusted: &[IpNet]) -> Result<Place<IpAddr>, Limit> {
        let is_proxy = trusted.iter().any(|network| network.contains(&address.to_canonical()));
        let place = self.connections.take(bounded(address).filter(|_| !is_proxy));
        place.map_err(|over| Limit {
            rule: match over {
                Over::All => Rule::MaxConnections,
                Over::Each => Rule::MaxClientConnections,
            },
            retry: CONNECTION,
        })
    }

    /// A place among the pending attachments.
    pub(super) fn pending(&self, client: IpAddr) -> Result<Place<IpAddr>, Limit> {
        let place = self.pending.take(bounded(client));
        place.map_err(|over| Limit {
            rule: match over {
                Over::All => Rule::MaxPending,
                Over::Each => Rule::MaxClientPending,
            },
            retry: PENDING,
        })
    }

    /// Counts a request for a WebSocket.
    pub(super) fn attach(&self, client: IpAddr) -> Result<(), Limit> {
        let Some(client) = bounded(client) else { return Ok(()) };
        let checked = self.attaches.check(client, Instant::now());
        checked.map_err(|retry| Limit {
            rule: Rule::AttachRate,
            retry,
        })
    }

    /// Counts a refusal, and has its line, if one is due.
    pub(super) fn refused(&self, client: IpAddr, limit: Limit) {
        if let Some(unlogged) = self.counted(limit.rule) {
            tracing::warn!(%client, limit = limit.rule.name(), unlogged, "refused: over a limit");
        }
    }

    /// Counts a refusal by this rule; returns how many had no line since the last that had one, if this is to have one.
    pub(super) fn counted(&self, rule: Rule) -> Option<u64> {
        self.metrics.refused(rule);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let index = Rule::ALL.iter().position(|it| *it == rule)?;
        lines[index].happened(Instant::now())
    }

    /// As [`Self::refused`], with the answer: 429 where the client itself has too much, 503 where all have.
    pub(super) fn refuse(&self, client: IpAddr, limit: Limit) -> Response<Body> {
        self.refused(client, limit);
        let all = matches!(limit.rule, Rule::MaxConnections | Rule::MaxPending | Rule::MaxSessions);
        let status = if all {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::TOO_MANY_REQUESTS
        };
        let mut answer = body::line(status, "over a limit: try again later\n");
        answer.headers_mut().insert(header::RETRY_AFTER, seconds(limit.retry));
        answer
    }
}

/// The client that has this address, if it is bounded by itself: of IPv6 the network of 64 bits, for whoever has one
/// address has them all. The addresses of this machine are its own, or a proxy's that speaks for many.
pub(super) fn bounded(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Some(Ipv6Addr::from_bits(network).into())
        }
        address @ IpAddr::V4(_) => Some(address),
    }
}

/// The value of `Retry-After`: whole seconds, at least one.
fn seconds(time: Duration) -> HeaderValue {
    HeaderValue::from(time.as_millis().div_ceil(1000).max(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_of_them() {
        let client = |text: &str| bounded(text.parse().unwrap()).map(|it| it.to_string());
        assert_eq!(client("192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(client("::ffff:192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(client("2001:db8:1:2:3:4:5:6").as_deref(), Some("2001:db8:1:2::"));
        for own in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(client(own), None, "{own}");
        }
    }

    #[test]
    fn connections_of_one_address_are_bounded_and_those_of_a_trusted_proxy_are_not() {
        let bounds = config::Limits {
            max_client_connections: 2,
            ..config::Limits::default()
        };
        let limits = Limits::new(&bounds, &Arc::default());
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let connection = |address: [u8; 4]| limits.connection(address.into(), &trusted);
        let held: Vec<_> = (0..3).map(|_| connection([192, 0, 2, 1])).collect();
        assert_eq!(held[2].as_ref().unwrap_err().rule, Rule::MaxClientConnections);
        for address in [[192, 0, 2, 2], [10, 1, 2, 3], [127, 0, 0, 1]] {
            let held: Vec<_> = (0..2).map(|_| connection(address)).collect();
            assert!(held.iter().all(Result::is_ok), "{address:?}");
        }
        let proxy: Vec<_> = (0..100).map(|_| connection([10, 0, 0, 1])).collect();
        assert!(proxy.iter().all(Result::is_ok));
    }

    #[test]
    fn retry_after_is_whole_seconds() {
        assert_eq!(seconds(Duration::from_millis(1)), "1");
        assert_eq!(seconds(Duration::ZERO), "1");
        assert_eq!(seconds(Duration::from_millis(1001)), "2");
    }
}
