//! One request: the gate, then an upgrade or plain HTTP.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request;
use hyper::{Method, Request, Response, StatusCode};
use tokio_util::task::TaskTracker;

use super::body::{Body, line};
use super::client::{came_by_https, client};
use super::cookie::{self, BrowserId, CookieName};
use super::gate::{Gate, Refusal};
use super::headers::{self, BadUpgrade, Hop, authority, upgrade_asked};
use super::hold::Wire;
use super::limits::Limits;
use super::pages::{Browsers, is_page_request, is_service_worker_script, must_be_rerequested};
use super::pass::Pass;
use super::upgrade;
use crate::capture::Recorder;
use crate::config::{Captures, Config, PathPattern, Route};
use crate::metrics::{Metrics, Rule};
use crate::session::registry::Sessions;
use crate::transport::tls::{Identity, Tls};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    /// For WebSockets that no route claims: one-to-one, for it has no key.
    pub(super) unrouted: Arc<Route>,
    pub(super) gate: Gate,
    port: u16,
    /// Host and port of the one public origin, where there is one, without a port that its scheme implies.
    public_host: Option<String>,
    pub(super) browsers: Browsers,
    pub(super) pass: Pass,
    pub(super) sessions: Sessions,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    /// What the listener speaks TLS with, if it does.
    pub(super) identity: Option<Arc<Identity>>,
    /// Every task that this server starts.
    pub(super) tracker: TaskTracker,
}

/// The client's end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Who it speaks for: itself, unless it is a trusted proxy.
    pub(super) client: IpAddr,
    /// The page is known to come by TLS, to here or to a trusted proxy.
    pub(super) https: bool,
    /// Its connection's socket.
    pub(super) wire: Arc<Wire>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.client == self.address.ip().to_canonical() {
            return self.address.fmt(f);
        }
        self.client.fmt(f)
    }
}

impl Shared {
    pub(super) fn new(config: Config, tls: Tls, recorder: Option<Recorder>, address: SocketAddr) -> Self {
        let tracker = TaskTracker::new();
        let metrics = Arc::<Metrics>::default();
        metrics.drain_timeout.set(config.drain_timeout.as_secs_f64());
        Self {
            unrouted: Arc::new(Route::one_to_one(PathPattern::any(), config.upstream.clone())),
            gate: Gate::new(
                address,
                tls.identity.is_some(),
                &config.public_origins,
                &config.allow_origins,
            ),
            port: address.port(),
            public_host: match &config.public_origins[..] {
                [origin] => Some(origin.authority()),
                _ => None,
            },
            browsers: Browsers::new(),
            // its idle connections are not worth waiting for at the end
            pass: Pass::new(&TaskTracker::new(), tls.roots.clone()),
            sessions: Sessions::new(
                tracker.clone(),
                recorder,
                tls.roots,
                &config.limits,
                Arc::clone(&metrics),
            ),
            limits: Limits::new(&config, &metrics),
            metrics,
            identity: tls.identity.map(Arc::new),
            tracker,
            config,
        }
    }

    /// Answers a request.
    pub(super) async fn answer(self: &Arc<Self>, peer: Peer, request: Request<Incoming>) -> Response<Body> {
        if let Some(fault) = peer.wire.fault() {
            self.metrics.refused(Rule::Request);
            tracing::info!(client = %peer, cause = fault, "bad request");
            return last(line(StatusCode::BAD_REQUEST, "bad request\n"));
        }
        // what follows on the connection is not looked at by `framing`, so nothing may
        let watched = [header::TRANSFER_ENCODING, header::UPGRADE]
            .iter()
            .all(|name| !request.headers().contains_key(name));
        let answer = self.serve(peer, request).await;
        if watched || answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return answer;
        }
        last(answer)
    }

    async fn serve(self: &Arc<Self>, mut peer: Peer, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let (address, trusted) = (peer.address.ip(), &self.config.trusted_proxies[..]);
        peer.client = client(address, &head.headers, trusted);
        // a public origin says it once and for all
        let asked = self.config.public_origins.is_empty();
        peer.https = self.config.is_https() || (asked && came_by_https(address, &head.headers, trusted));
        if let Err(refusal) = self.gate.check_host(&head.uri, &head.headers) {
            // no Host at all, or a bad one, is a bad request
            return if refusal.status == StatusCode::BAD_REQUEST {
                last(self.refuse(&peer, Rule::Request, &refusal))
            } else {
                self.refuse(&peer, Rule::Host, &refusal)
            };
        }
        if let Some(name) = headers::stolen_by_connection(&head.headers) {
            self.metrics.refused(Rule::Request);
            tracing::info!(client = %peer, field = %name, cause = "Connection names a field that is end-to-end", "bad request");
            return last(line(StatusCode::BAD_REQUEST, "bad Connection\n"));
        }
        if head.method == Method::CONNECT {
            self.metrics.refused(Rule::Request);
            tracing::info!(client = %peer, cause = "CONNECT asks for a tunnel", "refused");
            return line(StatusCode::NOT_IMPLEMENTED, "no tunnels here\n");
        }
        match upgrade_asked(&head) {
            Ok(false) => self.pass(&peer, Request::from_parts(head, body)).await,
            Ok(true) => match self.gate.check_origin(&head.uri, &head.headers, peer.https) {
                // counted behind the origin: a foreign page is not to use up what its browser's owner may do
                Ok(class) => match self.limits.attach(peer.client) {
                    Ok(()) => upgrade::answer(Arc::clone(self), peer, Request::from_parts(head, body), class).await,
                    Err(limit) => self.limits.refuse(peer.client, limit),
                },
                Err(refusal) => self.refuse(&peer, Rule::Origin, &refusal),
            },
            Err(bad) => {
                self.metrics.refused(Rule::Request);
                tracing::info!(client = %peer, cause = %bad, "bad upgrade request");
                match bad {
                    BadUpgrade::Version => {
                        let mut answer = line(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 only\n");
                        answer
                            .headers_mut()
                            .insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                        answer
                    }
                    BadUpgrade::Request(_) => line(StatusCode::BAD_REQUEST, "not a WebSocket upgrade\n"),
                }
            }
        }
    }

    fn refuse(&self, peer: &Peer, rule: Rule, refusal: &Refusal) -> Response<Body> {
        if let Some(unsaid) = self.limits.counted(rule) {
            tracing::warn!(client = %peer, status = refusal.status.as_u16(), unsaid, "{}", refusal.log);
        }
        line(refusal.status, refusal.body)
    }

    /// Plain HTTP: passed through, and noted where it is a page's.
    async fn pass(&self, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        let page = is_page_request(&head.headers);
        let name = self.cookie_name(peer, &head);
        let known = name.read(&head.headers);
        cookie::strip(&mut head.headers);
        let id = known.or_else(|| page.then(BrowserId::mint));
        let browser = id.map(|id| self.browsers.of(id));
        if let Some(browser) = &browser {
            if page {
                browser.page_requested(Instant::now());
            }
            if is_service_worker_script(&head.headers) {
                browser.service_worker_fetched();
            }
        }
        let request = Request::from_parts(head, body);
        let mut answer = self.pass.serve(&self.config.upstream, self.hop(peer), request).await;
        if let (true, Some(browser)) = (page, &browser) {
            browser.page_answered(must_be_rerequested(answer.status(), answer.headers()));
        }
        cookie::drop_foreign(answer.headers_mut());
        if let (None, Some(id)) = (known, id) {
            cookie::give(answer.headers_mut(), &name, id);
        }
        answer
    }

    /// What upstream is told of the hop that `peer` came by.
    pub(super) fn hop(&self, peer: &Peer) -> Hop<'_> {
        Hop {
            client: peer.client,
            scheme: if peer.https { "https" } else { "http" },
            host: self.public_host.as_deref(),
        }
    }

    /// The name of the minted cookie in this request.
    pub(super) fn cookie_name(&self, peer: &Peer, head: &request::Parts) -> CookieName {
        CookieName::of(peer.https, authority(&head.uri, &head.headers), self.port)
    }

    /// The first route that claims `path`, and what its pattern captured.
    pub(super) fn route(&self, path: &str) -> (Arc<Route>, Captures) {
        let claimed = self
            .config
            .routes
            .iter()
            .find_map(|route| Some((Arc::clone(route), route.path.matches(path)?)));
        claimed.unwrap_or_else(|| (Arc::clone(&self.unrouted), Captures::default()))
    }
}

/// The connection's last answer.
fn last(mut answer: Response<Body>) -> Response<Body> {
    answer
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}
