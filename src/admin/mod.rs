//! What an operator asks, apart from the traffic: `GET`s over a Unix socket or a TCP port of its own.
//!
//! ```text
//! /live      200 as long as the process turns
//! /ready     200 while new sessions are taken, 503 once sessmux drains; the agent server's health is not its own
//! /metrics   Prometheus's text format
//! ```

mod listener;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Admin as Address;
use crate::metrics::Metrics;
use crate::server::gate::Gate;
use listener::Listener;

/// How long a client may take for a request.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long accepting rests after an error, which is mostly a lack of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// The bound admin listener.
#[derive(Debug)]
pub struct Admin {
    listener: Listener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    metrics: Arc<Metrics>,
    /// Cancelled once sessmux drains or stops.
    stopping: CancellationToken,
    /// Who may ask over TCP; a Unix socket has its file's mode.
    gate: Option<Gate>,
}

impl Admin {
    /// Binds it; nothing is accepted yet. Its readiness ends with `stopping`.
    ///
    /// # Errors
    ///
    /// What the system says; another process that listens there.
    pub async fn bind(address: &Address, metrics: Arc<Metrics>, stopping: CancellationToken) -> io::Result<Self> {
        let listener = Listener::bind(address).await?;
        let gate = listener.local_addr().map(|address| Gate::new(address, false, &[], &[]));
        Ok(Self {
            listener,
            shared: Arc::new(Shared {
                metrics,
                stopping,
                gate,
            }),
        })
    }

    /// Where it listens, if it is on TCP.
    #[must_use]
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, which follows the end of the traffic.
    pub async fn run(self, stop: CancellationToken) {
        let tracker = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let socket = match accepted {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::warn!(cause = %error, "cannot accept on the admin listener");
                    sleep(ACCEPT_REST).await;
                    continue;
                }
            };
            let shared = Arc::clone(&self.shared);
            let stop = stop.clone();
            tracker.spawn(async move {
                let service = service_fn(move |request| {
                    let answer = shared.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIME)
                    .serve_connection(TokioIo::new(socket), service);
                // one that breaks off is its own affair
                let _ = stop.run_until_cancelled(connection).await;
            });
        }
        tracker.close();
        tracker.wait().await;
    }
}

impl Shared {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if let Some(gate) = &self.gate
            && let Err(refusal) = gate.check_host(request.uri(), request.headers())
        {
            tracing::warn!("admin: {}", refusal.log);
            return line(refusal.status, refusal.body);
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return line(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        }
        match request.uri().path() {
            "/live" => line(StatusCode::OK, "ok\n"),
            "/ready" if self.stopping.is_cancelled() => line(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            "/ready" => line(StatusCode::OK, "ok\n"),
            "/metrics" => match self.metrics.text() {
                Ok(text) => text_of(StatusCode::OK, text, prometheus::TEXT_FORMAT),
                Err(error) => {
                    tracing::error!(cause = %error, "cannot write the metrics");
                    line(StatusCode::INTERNAL_SERVER_ERROR, "see the log\n")
                }
            },
            _ => line(StatusCode::NOT_FOUND, "there are /live, /ready and /metrics\n"),
        }
    }
}

fn line(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    text_of(status, text.to_owned(), "text/plain; charset=utf-8")
}

fn text_of(status: StatusCode, text: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
