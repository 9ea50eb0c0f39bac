//! The upstream leg: connects to an agent server and does the WebSocket handshake with it.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::http::{request, response};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::task::TaskTracker;

use crate::config::Upstream;
use crate::transport::fields::{single, tokens};
use crate::transport::socket::Socket;
use crate::transport::tls::Roots;

/// Bound of name resolution, connect and TLS: an agent is near, and a page waits for the answer.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bound of the handshake's answer: servers that start an agent before their 101 take seconds.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Bound of the answer's head and of what is read ahead with it.
const MAX_HEAD: usize = 64 * 1024;

/// Probes go out after 60 s of silence: a host that vanished is noticed while nobody is attached. Where bytes are under
/// way retransmission finds out, later. No user timeout: Linux counts the time in which a busy agent does not read.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(10));

/// An upstream connection whose 101 was verified.
#[derive(Debug)]
pub struct Upgraded {
    /// Speaks WebSocket frames from here on.
    pub socket: Socket,
    /// Bytes that arrived together with the 101; they come before whatever the socket yields.
    pub read: Bytes,
    /// Head of the 101.
    pub head: response::Parts,
}

/// Why there is no upstream connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No connection came about.
    #[error("upstream cannot be reached: {0}")]
    Connect(#[source] io::Error),
    /// [`CONNECT_TIMEOUT`] or [`HEAD_TIMEOUT`] is over.
    #[error("upstream gave no {what} within {} s", .after.as_secs())]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        after: Duration,
    },
    /// The server answered with another status than 101; the answer is whole, its body still streams.
    #[error("upstream refused the upgrade with {}", .0.status())]
    Refused(Box<Response<Incoming>>),
    /// The server's answer is no WebSocket handshake.
    #[error("upstream broke the handshake: {0}")]
    Bad(String),
}

/// Opens a connection, with TLS where the upstream is reached by it, with `TCP_NODELAY` and TCP keepalive where it is TCP; unbounded in time.
///
/// # Errors
///
/// Whatever name resolution and connect say, of several addresses the last one's error; and whatever TLS finds wrong.
pub async fn connect(upstream: &Upstream, roots: &Roots) -> io::Result<Socket> {
    match upstream {
        Upstream::Tcp(authority) => Ok(Socket::Tcp(connect_tcp(authority).await?)),
        Upstream::Tls(authority) => {
            let stream = connect_tcp(authority).await?;
            // boxed, for an agent is mostly reached without, and it would be a large part of each dial
            Ok(Socket::Tls(Box::pin(roots.connect(authority, stream)).await?))
        }
        Upstream::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
    }
}

async fn connect_tcp(authority: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
    Ok(stream)
}

/// Connects and does the WebSocket handshake with `head`, which goes out as it is but for its URI, of
/// which the path and query go (RFC 9112 3.2.1).
///
/// Dropping the future closes the connection. After [`DialError::Refused`] a task on `tracker` drives the
/// connection until the body is read or dropped.
///
/// # Errors
///
/// See [`DialError`]; a 101 is accepted only as RFC 6455 4.1 asks, and only without extensions, because
/// the relay forwards frames that it could not otherwise judge.
pub async fn upgrade(
    upstream: &Upstream,
    roots: &Roots,
    mut head: request::Parts,
    tracker: &TaskTracker,
) -> Result<Upgraded, DialError> {
    let path = head.uri.path_and_query().cloned();
    head.uri = path.map_or_else(Uri::default, Uri::from);
    // what the answer is to be verified against
    let mut offer = HeaderMap::new();
    for name in [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_PROTOCOL] {
        for value in head.headers.get_all(&name) {
            offer.append(name.clone(), value.clone());
        }
    }

    let socket = timeout(CONNECT_TIMEOUT, connect(upstream, roots))
        .await
        .map_err(|_| late("connection", CONNECT_TIMEOUT))?
        .map_err(DialError::Connect)?;
    let (mut sender, connection) = http1::Builder::new()
        .preserve_header_case(true)
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(bad)?;
    // Driven here and not in a task, so that it ends with this future.
    let mut connection = Box::pin(connection.without_shutdown());
    let request = Request::from_parts(head, Empty::<Bytes>::new());
    let exchange = async {
        let answer = sender.send_request(request);
        tokio::pin!(answer);
        tokio::select! {
            // The answer first: the connection may end in the same breath.
            biased;
            answer = &mut answer => answer.map(|answer| (answer, None)),
            parts = &mut connection => answer.await.map(|answer| (answer, Some(parts))),
        }
    };
    let (answer, parts) = timeout(HEAD_TIMEOUT, exchange)
        .await
        .map_err(|_| late("answer to the upgrade", HEAD_TIMEOUT))?
        .map_err(bad)?;

    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        if parts.is_none() {
            tracker.spawn(connection);
        }
        return Err(DialError::Refused(Box::new(answer)));
    }
    let (head, _) = answer.into_parts();
    verify(&offer, &head.headers).map_err(DialError::Bad)?;
    let parts = match parts {
        Some(parts) => parts,
        None => connection.await,
    }
    .map_err(bad)?;
    Ok(Upgraded {
        socket: parts.io.into_inner(),
        read: parts.read_buf,
        head,
    })
}

fn late(what: &'static str, after: Duration) -> DialError {
    DialError::Timeout { what, after }
}

/// hyper's own words name the kind only; the cause below says what happened.
#[expect(clippy::needless_pass_by_value, reason = "it is passed to map_err")]
fn bad(error: hyper::Error) -> DialError {
    match std::error::Error::source(&error) {
        Some(cause) => DialError::Bad(format!("{error}: {cause}")),
        None => DialError::Bad(error.to_string()),
    }
}

/// Checks a 101 against the request that it answers (RFC 6455 4.1, items 2 to 6).
fn verify(offer: &HeaderMap, answer: &HeaderMap) -> Result<(), String> {
    if !tokens(answer, &header::UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket")) {
        return Err("its 101 has no Upgrade: websocket".into());
    }
    if !tokens(answer, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return Err("its 101 has no Connection: upgrade".into());
    }
    let expected = offer
        .get(header::SEC_WEBSOCKET_KEY)
        .map(|key| derive_accept_key(key.as_bytes()));
    let only = |name: HeaderName| single(answer, &name).map_err(|why| format!("its {name} {why}"));
    let accept = only(header::SEC_WEBSOCKET_ACCEPT)?;
    if accept.is_none() || accept != expected.as_deref() {
        return Err("its Sec-WebSocket-Accept does not belong to the key".into());
    }
    if let Some(chosen) = only(header::SEC_WEBSOCKET_PROTOCOL)?
        && !tokens(offer, &header::SEC_WEBSOCKET_PROTOCOL).any(|offered| offered == chosen)
    {
        // which one is not said: some applications put tokens there
        return Err("it chose a subprotocol that was not offered".into());
    }
    if tokens(answer, &header::SEC_WEBSOCKET_EXTENSIONS).next().is_some() {
        return Err("it negotiated an extension that was not offered".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
