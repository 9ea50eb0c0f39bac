//! What an operator asks, apart from the traffic: over a Unix socket or a TCP port of its own.
//!
//! ```text
//! GET    /live           200 as long as the process turns
//! GET    /ready          200 while new sessions are taken, 503 once sessmux drains; the agent server's health is not its own
//! GET    /metrics        Prometheus's text format
//! GET    /sessions       sessions, and those that ended lately, as JSON
//! GET    /sessions/ID    those of this short hash, with what happened lately
//! DELETE /sessions/ID    ends one
//! POST   /reload         the configuration is read anew: 200 with what changed, 422 with what is wrong with it
//! POST   /drain          no new sessions; sessmux ends when those that there are have ended, or after a time
//! ```

mod listener;
pub mod runtime;
mod sessions;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Admin as Address;
use crate::metrics::{Metrics, Rule};
use crate::server::Server;
use crate::server::gate::Gate;
use crate::server::reload::Reload;
use crate::session::registry::Sessions;
use crate::session::seldom::Seldom;
use listener::Listener;

/// How long a client may take for a request.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Connections at a time: probes, a scraper and operators are a handful, and the traffic's file descriptors are not for
/// whoever opens more.
const MOST: usize = 64;
/// How long accepting rests after an error, which is mostly a lack of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// The bound admin listener.
#[derive(Debug)]
pub struct Admin {
    listener: Listener,
    shared: Shared,
}

#[derive(Debug)]
struct Shared {
    metrics: Arc<Metrics>,
    sessions: Sessions,
    /// Cancelled once sessmux drains or stops; to cancel it makes it drain.
    drain: CancellationToken,
    /// How the configuration is read anew, if it can be.
    reload: Option<Arc<Reload>>,
    /// Who may ask over TCP; a Unix socket has its file's mode.
    gate: Option<Gate>,
    /// Nothing but health and metrics.
    health_only: bool,
    /// Requests for a host that is not served.
    refused: Mutex<Seldom>,
}

impl Admin {
    /// Binds it, if that is wanted; nothing is accepted yet. It tells of `server`, which is to be run until `drain`.
    ///
    /// # Errors
    ///
    /// What the system says; another process that listens there.
    pub async fn bind(address: &Address, server: &Server, drain: CancellationToken) -> io::Result<Option<Self>> {
        let listener = match address {
            Address::Off => return Ok(None),
            Address::Runtime => Listener::bind_in(&runtime::folders(), server.local_addr()?.port()).await?,
            Address::Tcp(address) => Listener::bind_tcp(*address).await?,
            Address::Unix(path) => Listener::bind_unix(path).await?,
        };
        Ok(Some(Self::new(listener, server, drain, false)))
    }

    /// Binds a port that tells of health and metrics, and does nothing for anybody.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub async fn bind_health(address: SocketAddr, server: &Server, drain: CancellationToken) -> io::Result<Self> {
        let listener = Listener::bind_tcp(address).await?;
        Ok(Self::new(listener, server, drain, true))
    }

    fn new(listener: Listener, server: &Server, drain: CancellationToken, health_only: bool) -> Self {
        let (metrics, sessions) = (server.metrics(), server.sessions());
        let gate = listener.local_addr().map(Gate::of_admin);
        Self {
            listener,
            shared: Shared {
                metrics,
                sessions,
                drain,
                reload: None,
                gate,
                health_only,
                refused: Mutex::default(),
            },
        }
    }

    /// An operator may ask for this reload.
    #[must_use]
    pub fn with_reload(mut self, reload: Arc<Reload>) -> Self {
        self.shared.reload = Some(reload);
        self
    }

    /// Where it listens, if it is at a socket.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.listener.path()
    }

    /// Where it listens, if it is on TCP.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, which follows the end of the traffic.
    pub async fn run(self, stop: CancellationToken) {
        let (tracker, shared) = (TaskTracker::new(), Arc::new(self.shared));
        let (mut open, mut failed) = (Open::default(), Seldom::default());
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let socket = match accepted {
                Ok(socket) => socket,
                Err(error) => {
                    if let Some(unlogged) = failed.happened(Instant::now()) {
                        tracing::warn!(cause = %error, unlogged, "cannot accept on the admin or health listener");
                    }
                    sleep(ACCEPT_REST).await;
                    continue;
                }
            };
            open.make_room(&shared.metrics);
            let shared = Arc::clone(&shared);
            let stop = stop.clone();
            let serving = tracker.spawn(async move {
                let service = service_fn(move |request| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, Infallible>(shared.answer(&request).await) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIME)
                    .serve_connection(TokioIo::new(socket), service);
                // one that breaks off is its own affair
                let _ = stop.run_until_cancelled(connection).await;
            });
            open.connections.push_back(serving.abort_handle());
        }
        tracker.close();
        tracker.wait().await;
    }
}

/// The connections that are served, the oldest first.
#[derive(Debug, Default)]
struct Open {
    connections: VecDeque<AbortHandle>,
    closed: Seldom,
}

impl Open {
    /// Closes the oldest where there are as many as there may be: were it the newest, whoever holds that many silently
    /// would keep probes out, and a process whose probes fail is restarted.
    fn make_room(&mut self, metrics: &Metrics) {
        self.connections.retain(|it| !it.is_finished());
        if self.connections.len() < MOST {
            return;
        }
        if let Some(oldest) = self.connections.pop_front() {
            oldest.abort();
        }
        metrics.refused(Rule::AdminConnections);
        if let Some(unlogged) = self.closed.happened(Instant::now()) {
            tracing::warn!(
                most = MOST,
                unlogged,
                "too many connections to the admin or health listener: closed the oldest"
            );
        }
    }
}

impl Shared {
    fn drain(&self) -> Response<Full<Bytes>> {
        let already = self.drain.is_cancelled();
        if !already {
            tracing::info!("an operator asks to drain");
            self.drain.cancel();
        }
        line(
            StatusCode::ACCEPTED,
            if already { "draining already\n" } else { "draining\n" },
        )
    }

    async fn reload(&self) -> Response<Full<Bytes>> {
        let Some(reload) = &self.reload else {
            return line(
                StatusCode::NOT_IMPLEMENTED,
                "there is nothing that could be read anew\n",
            );
        };
        match reload.run().await {
            Ok(reloaded) => line(StatusCode::OK, reloaded.to_string()),
            Err(errors) => line(StatusCode::UNPROCESSABLE_ENTITY, format!("{errors}\n")),
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        // a probe of HTTP/1.0 need not name a host (RFC 9112 section 3.2), and no browser speaks that
        let nameless = request.version() == Version::HTTP_10 && !request.headers().contains_key(header::HOST);
        if let Some(gate) = self.gate.as_ref().filter(|_| !(self.health_only && nameless))
            && let Err(refusal) = gate.check_host(request.uri(), request.headers())
        {
            self.metrics.refused(Rule::Host);
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(unlogged) = refused.happened(Instant::now()) {
                let listener = if self.health_only { "health" } else { "admin" };
                tracing::warn!(unlogged, "{listener}: {}", refusal.log);
            }
            return line(refusal.status, refusal.body);
        }
        // a page says where it comes from, and no page is an operator
        if request.headers().contains_key(header::ORIGIN) {
            return line(StatusCode::FORBIDDEN, "not for pages\n");
        }
        let (path, asks) = (
            request.uri().path(),
            matches!(*request.method(), Method::GET | Method::HEAD),
        );
        if self.health_only && !matches!(path, "/live" | "/ready" | "/metrics") {
            return line(StatusCode::NOT_FOUND, "there are /live, /ready and /metrics\n");
        }
        if let Some(id) = path.strip_prefix("/sessions/") {
            return match *request.method() {
                _ if asks => sessions::tell(&self.sessions, id).await,
                Method::DELETE => sessions::end(&self.sessions, id).await,
                _ => not_allowed("GET, HEAD, DELETE"),
            };
        }
        if matches!(path, "/drain" | "/reload") {
            return match *request.method() {
                Method::POST if path == "/drain" => self.drain(),
                Method::POST => self.reload().await,
                _ => not_allowed("POST"),
            };
        }
        if !asks {
            return not_allowed("GET, HEAD");
        }
        match path {
            "/sessions" => sessions::list(&self.sessions).await,
            "/live" => line(StatusCode::OK, "ok\n"),
            "/ready" if self.drain.is_cancelled() => line(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            "/ready" => line(StatusCode::OK, "ok\n"),
            "/metrics" => match self.metrics.text() {
                Ok(text) => text_of(StatusCode::OK, text, prometheus::TEXT_FORMAT),
                Err(error) => {
                    tracing::error!(cause = %error, "cannot write the metrics");
                    line(StatusCode::INTERNAL_SERVER_ERROR, "see the log\n")
                }
            },
            _ => line(
                StatusCode::NOT_FOUND,
                "there are /live, /ready, /metrics, /sessions, /sessions/ID, /reload and /drain\n",
            ),
        }
    }
}

fn not_allowed(methods: &'static str) -> Response<Full<Bytes>> {
    let mut answer = line(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed here\n");
    answer
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

fn line(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    text_of(status, text.into(), "text/plain; charset=utf-8")
}

fn text_of(status: StatusCode, text: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
