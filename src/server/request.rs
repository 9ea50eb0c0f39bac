//! One request: the gate, then an upgrade or plain HTTP.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::body::{Body, line};
use super::client::{came_by_https, client};
use super::cookie::{self, BrowserId, CookieName};
use super::gate::Refusal;
use super::headers::{self, BadUpgrade, authority, upgrade_asked};
use super::hold::Wire;
use super::limits::Limits;
use super::live::Live;
use super::pages::{Browsers, is_page_request, is_service_worker_script, must_be_rerequested};
use super::upgrade;
use crate::capture::Recorder;
use crate::config::Config;
use crate::metrics::{Metrics, Rule};
use crate::session::registry::Sessions;
use crate::session::seldom::Seldom;
use crate::transport::tls::{Identity, Tls};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    live: RwLock<Arc<Live>>,
    pub(super) address: SocketAddr,
    pub(super) browsers: Browsers,
    pub(super) sessions: Sessions,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    /// What the listener speaks TLS with, if it does.
    pub(super) identity: Option<Arc<Identity>>,
    /// Every task that this server starts.
    pub(super) tracker: TaskTracker,
    /// Tells the drain, if one is under way, of what holds now.
    pub(super) reloaded: Notify,
    /// Requests with a cookie that somebody planted.
    pub(super) planted: Mutex<Seldom>,
}

/// The client's end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Who it speaks for: itself, unless it is a trusted proxy.
    pub(super) client: IpAddr,
    /// The page is known to come by TLS, to here or to a trusted proxy.
    pub(super) https: bool,
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
            address,
            browsers: Browsers::new(),
            sessions: Sessions::new(
                tracker.clone(),
                recorder,
                tls.roots.clone(),
                &config.limits,
                Arc::clone(&metrics),
            ),
            limits: Limits::new(&config.limits, &metrics),
            metrics,
            identity: tls.identity.map(Arc::new),
            tracker,
            reloaded: Notify::new(),
            planted: Mutex::default(),
            live: RwLock::new(Arc::new(Live::new(config, tls.roots, address))),
        }
    }

    /// What holds now.
    pub(super) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has this hold from here on; returns whether the certificate is another. Sessions and connections that there are
    /// keep what they were opened with.
    pub(super) fn replace(&self, config: Config, tls: Tls) -> bool {
        self.limits.bound(&config.limits);
        self.metrics.drain_timeout.set(config.drain_timeout.as_secs_f64());
        self.sessions.reload(&config.limits, tls.roots.clone());
        let shown = self.identity.as_ref().zip(tls.identity);
        let other = shown.is_some_and(|(identity, new)| identity.replace(new));
        let live = Arc::new(Live::new(config, tls.roots, self.address));
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
        self.reloaded.notify_one();
        other
    }

    /// Answers a request that came by `wire`.
    pub(super) async fn answer(
        self: &Arc<Self>,
        peer: Peer,
        wire: &Wire,
        request: Request<Incoming>,
    ) -> Response<Body> {
        if let Some(fault) = wire.fault() {
            self.metrics.refused(Rule::Request);
            tracing::info!(client = %peer, cause = fault, "bad request");
            return last(line(StatusCode::BAD_REQUEST, "bad request\n"));
        }
        // what follows on the connection is not looked at by `framing`, so nothing may
        let watched = [header::TRANSFER_ENCODING, header::UPGRADE]
            .iter()
            .all(|name| !request.headers().contains_key(name));
        let answer = self.serve(peer, wire, request).await;
        if watched || answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return answer;
        }
        last(answer)
    }

    async fn serve(self: &Arc<Self>, mut peer: Peer, wire: &Wire, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let live = self.live();
        let (address, trusted) = (peer.address.ip(), &live.config.trusted_proxies[..]);
        peer.client = client(address, &head.headers, trusted);
        // a public origin says it once and for all
        let asked = live.config.public_origins.is_empty();
        peer.https = live.config.is_https() || (asked && came_by_https(address, &head.headers, trusted));
        if let Err(refusal) = live.gate.check_host(&head.uri, &head.headers) {
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
            Ok(false) => self.pass(&live, &peer, Request::from_parts(head, body)).await,
            Ok(true) => match live.gate.check_origin(&head.uri, &head.headers, peer.https) {
                // counted behind the origin: a foreign page is not to use up what its browser's owner may do
                Ok(class) => match self.limits.attach(peer.client) {
                    Ok(()) => Box::pin(upgrade::answer(Arc::clone(self), live, peer, wire, head, class)).await,
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
                        // RFC 6455 section 4.4, and RFC 9110 section 15.5.22
                        for (name, value) in [
                            (header::SEC_WEBSOCKET_VERSION, "13"),
                            (header::UPGRADE, "websocket"),
                            (header::CONNECTION, "upgrade"),
                        ] {
                            answer.headers_mut().insert(name, HeaderValue::from_static(value));
                        }
                        answer
                    }
                    BadUpgrade::Request(_) => line(StatusCode::BAD_REQUEST, "not a WebSocket upgrade\n"),
                }
            }
        }
    }

    fn refuse(&self, peer: &Peer, rule: Rule, refusal: &Refusal) -> Response<Body> {
        if let Some(unlogged) = self.limits.counted(rule) {
            tracing::warn!(client = %peer, status = refusal.status.as_u16(), unlogged, "{}", refusal.log);
        }
        line(refusal.status, refusal.body)
    }

    /// Plain HTTP: passed through, and noted where it is a page's.
    async fn pass(&self, live: &Live, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        let page = is_page_request(&head.headers);
        let name = self.cookie_name(peer, &head);
        let known = self.browser_id(peer, &name, &head.headers);
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
        let mut answer = live.pass.serve(&live.config.upstream, live.hop(peer), request).await;
        if let (true, Some(browser)) = (page, &browser) {
            browser.page_answered(must_be_rerequested(answer.status(), answer.headers()));
        }
        cookie::drop_foreign(answer.headers_mut());
        if let (None, Some(id)) = (known, id) {
            cookie::give(answer.headers_mut(), &name, id);
        }
        answer
    }

    /// The name of the minted cookie in this request.
    pub(super) fn cookie_name(&self, peer: &Peer, head: &request::Parts) -> CookieName {
        CookieName::of(peer.https, authority(&head.uri, &head.headers), self.address.port())
    }

    /// The browser that a request comes from, if its cookie says one.
    pub(super) fn browser_id(&self, peer: &Peer, name: &CookieName, headers: &HeaderMap) -> Option<BrowserId> {
        name.read(headers).unwrap_or_else(|cookie::Planted| {
            let mut planted = self.planted.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(unlogged) = planted.happened(Instant::now()) {
                tracing::warn!(
                    client = %peer, cookie = %name, unlogged,
                    "two values of the cookie: another host or port plants one; the browser is not known"
                );
            }
            None
        })
    }
}

/// The connection's last answer.
fn last(mut answer: Response<Body>) -> Response<Body> {
    answer
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}
