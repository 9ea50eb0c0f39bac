//! The demo agent's server: the page over plain HTTP, and a WebSocket for each half of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::UPGRADE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::conversation::Conversation;
use super::counts::{Counts, Side};
use super::page;

/// Time between two words: a brisk reading speed.
const WORD: Duration = Duration::from_millis(60);
/// Largest message a page may send, in bytes: a prompt is a few sentences.
const MAX_MESSAGE: usize = 64 * 1024;
/// Unsent bytes after which a page that reads nothing is given up.
const MAX_UNSENT: usize = 256 * 1024;
/// How long a client may take for a request head.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long accepting rests after an error, which is mostly a lack of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// An agent server as they are usually written: one turn per socket, cancelled when the socket goes away.
///
/// | path | answer |
/// |---|---|
/// | `GET /`, `/straight`, `/sessmux` | the demo page and its two halves |
/// | `GET /stats` | what the agent counted on each side, as JSON |
/// | `/agent/straight`, `/agent/sessmux` | a WebSocket, counted on that side; any Origin is let in |
#[derive(Debug)]
pub struct Agent {
    listener: TcpListener,
    address: SocketAddr,
    /// Time between two words.
    word: Duration,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    word: Duration,
    counts: Counts,
    /// Number of the newest WebSocket connection.
    sessions: AtomicU64,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Agent {
    /// Listens on `address`; port 0 lets the system choose.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            address,
            word: WORD,
        })
    }

    /// The address it listens on, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then drops every connection and returns when their tasks have ended.
    pub async fn run(self, shutdown: CancellationToken) {
        let shared = Arc::new(Shared {
            address: self.address,
            word: self.word,
            counts: Counts::default(),
            sessions: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            shutdown: shutdown.clone(),
        });
        shutdown.run_until_cancelled(accept(&self.listener, &shared)).await;
        shared.tasks.close();
        shared.tasks.wait().await;
    }
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                shared.tasks.spawn(serve(stream, shared.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the demo agent cannot accept");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// Serves the requests of one connection, up to its upgrade.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Words leave when they are said; without this each waits for the previous one's acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let shutdown = shared.shutdown.clone();
    let service = service_fn(move |request| std::future::ready(handle(request, &shared)));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Some(Err(error)) = shutdown.run_until_cancelled(connection).await {
        tracing::debug!(%error, "connection to the demo agent");
    }
}

fn handle(mut request: Request<Incoming>, shared: &Arc<Shared>) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    let path = request.uri().path();
    if let Some(side) = path.strip_prefix("/agent/").and_then(Side::named) {
        return upgrade(&mut request, side, shared);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    if path == "/stats" {
        // Numbers in a struct: this cannot fail, and a page that got nothing would only ask again.
        let counts = serde_json::to_vec(&shared.counts).unwrap_or_default();
        return Ok(page::answer("application/json", counts));
    }
    match page::file(path, shared.address) {
        Some(response) => Ok(response),
        None => plain(StatusCode::NOT_FOUND, "no such page\n"),
    }
}

/// Answers a WebSocket handshake and begins the conversation behind it.
fn upgrade(
    request: &mut Request<Incoming>,
    side: Side,
    shared: &Arc<Shared>,
) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    let Ok(response) = create_response_with_body(request, Full::default) else {
        let mut response = plain(StatusCode::UPGRADE_REQUIRED, "a WebSocket handshake is expected here\n")?;
        response
            .headers_mut()
            .insert(UPGRADE, hyper::header::HeaderValue::from_static("websocket"));
        return Ok(response);
    };
    let upgrading = hyper::upgrade::on(request);
    let connection = shared.clone();
    shared.tasks.spawn(async move {
        let shutdown = connection.shutdown.clone();
        shutdown
            .run_until_cancelled(converse(upgrading, side, &connection))
            .await;
    });
    Ok(response)
}

async fn converse(upgrading: hyper::upgrade::OnUpgrade, side: Side, shared: &Shared) {
    let Ok(upgraded) = upgrading.await else { return };
    let config = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_UNSENT)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let session = shared.sessions.fetch_add(1, Ordering::Relaxed) + 1;
    if let Err(end) = Conversation::new(socket, session, shared.word, shared.counts.of(side))
        .serve()
        .await
    {
        tracing::debug!(?side, session, %end, "the demo agent's socket ended");
    }
}

fn plain(status: StatusCode, text: &'static str) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    let mut response = page::answer("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    Ok(response)
}

#[cfg(test)]
mod tests;
