//! Plain HTTP: requests go to the upstream and its answers come back, streamed both ways.

use std::error::Error;
use std::io;
use std::iter;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::http::request;
use hyper::rt::Executor;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tower_service::Service;
use tracing::warn;

use crate::config::Upstream;
use crate::server::body::{Body, line};
use crate::server::headers::{self, Hop};
use crate::transport::dial::{self, CONNECT_TIMEOUT};
use crate::transport::socket::Socket;
use crate::transport::tls::Roots;

/// How long an idle connection is kept: shorter than the 5 s after which common agent servers close one, so
/// that a request seldom meets a connection that is being closed.
const IDLE: Duration = Duration::from_secs(4);

/// Idle connections kept for one upstream; pages fetch some dozens of files at once.
const IDLE_CONNECTIONS: usize = 32;

/// Scheme of the URIs that stand for Unix domain sockets.
const UNIX: &str = "unix";

/// Passes plain HTTP requests through, over connections that are pooled for each upstream.
///
/// An answer may begin as late as the upstream likes: agents are polled with requests that wait for
/// minutes, and a client that is tired of waiting goes away, which cancels the request upstream.
#[derive(Debug, Clone)]
pub struct Pass {
    client: Client<Dialer, Either<Incoming, Empty<Bytes>>>,
}

impl Pass {
    /// Makes a pool whose connections are driven on `tracker`, to servers that `roots` vouch for; idle ones end when the
    /// last clone is dropped.
    #[must_use]
    pub fn new(tracker: &TaskTracker, roots: Roots) -> Self {
        let client = Client::builder(Tracked(tracker.clone()))
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http1_preserve_header_case(true)
            .set_host(false)
            .build(Dialer { roots });
        Self { client }
    }

    /// Sends a request that came by `hop` to `upstream` and gives its answer, or one of our own that tells nothing:
    /// 502 where there is no upstream or it talks nonsense, 504 where it cannot be reached in time.
    ///
    /// Hop-by-hop fields are dropped, an `Upgrade` to whatever protocol among them.
    pub async fn serve(&self, upstream: &Upstream, hop: Hop<'_>, request: Request<Incoming>) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        headers::forward_request(&mut head, hop);
        let method = head.method.clone();
        let sent = match address(upstream, &mut head) {
            Ok(()) => self.send(head, body).await,
            Err(cause) => Err(Failure {
                status: StatusCode::BAD_GATEWAY,
                cause,
            }),
        };
        match sent {
            Ok(mut answer) => {
                headers::forward_response(answer.headers_mut());
                // the version is each hop's own (RFC 9110 2.5)
                *answer.version_mut() = Version::HTTP_11;
                answer.map(Either::Left)
            }
            Err(Failure { status, cause }) => {
                warn!(%method, %upstream, %cause, status = status.as_u16(), "plain HTTP request failed");
                let late = status == StatusCode::GATEWAY_TIMEOUT;
                line(status, if late { "upstream timeout\n" } else { "bad gateway\n" })
            }
        }
    }

    /// Asks a server that is not the upstream: a GET without a body.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub async fn ask(&self, server: &Upstream, mut head: request::Parts) -> Result<Response<Incoming>, String> {
        address(server, &mut head)?;
        if let Some(host) = head
            .uri
            .authority()
            .and_then(|it| HeaderValue::from_str(it.as_str()).ok())
        {
            head.headers.insert(header::HOST, host);
        }
        self.twice(head).await.map_err(|error| Failure::of(&error).cause)
    }

    /// Sends a request that has no body and changes nothing, and where the connection was closed without an answer once
    /// more (RFC 9110 9.2.2): mostly it was a pooled one that the server closed in the moment in which it was used.
    async fn twice(&self, head: request::Parts) -> Result<Response<Incoming>, legacy::Error> {
        let request = |head| Request::from_parts(head, Either::Right(Empty::new()));
        match self.client.request(request(head.clone())).await {
            Err(error) if closed_unanswered(&error) => self.client.request(request(head)).await,
            answer => answer,
        }
    }

    /// Sends once, or [twice](Self::twice) what may be sent twice.
    async fn send(&self, mut head: request::Parts, body: Incoming) -> Result<Response<Incoming>, Failure> {
        let answer = if matches!(head.method, Method::GET | Method::HEAD) && body.is_end_stream() {
            self.twice(head).await
        } else {
            // else a GET, which has mostly no body, is taken for one without
            if !body.is_end_stream() && !head.headers.contains_key(header::CONTENT_LENGTH) {
                let chunked = HeaderValue::from_static("chunked");
                head.headers.insert(header::TRANSFER_ENCODING, chunked);
            }
            self.client.request(Request::from_parts(head, Either::Left(body))).await
        };
        match answer {
            // Nothing was offered to switch to, and what follows would not be HTTP.
            Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => Err(Failure {
                status: StatusCode::BAD_GATEWAY,
                cause: "it switches protocols unasked".into(),
            }),
            Ok(answer) => Ok(answer),
            Err(error) => Err(Failure::of(&error)),
        }
    }
}

/// The causes of an error, the nearest first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(error.source(), |&cause| cause.source())
}

fn is_io(cause: &(dyn Error + 'static), kinds: &[io::ErrorKind]) -> bool {
    cause
        .downcast_ref::<io::Error>()
        .is_some_and(|error| kinds.contains(&error.kind()))
}

/// Tells whether a connection was closed where an answer was due.
fn closed_unanswered(error: &legacy::Error) -> bool {
    // the last of them is TLS that ends unannounced
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    !error.is_connect()
        && causes(error).any(|cause| {
            cause
                .downcast_ref::<hyper::Error>()
                .is_some_and(hyper::Error::is_incomplete_message)
                || is_io(cause, &[BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof])
        })
}

struct Failure {
    status: StatusCode,
    cause: String,
}

impl Failure {
    /// Joins the whole chain of causes: the outermost words name the kind only.
    fn of(error: &legacy::Error) -> Self {
        let late = error.is_connect() && causes(error).any(|cause| is_io(cause, &[io::ErrorKind::TimedOut]));
        let cause = causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        Self {
            status: if late {
                StatusCode::GATEWAY_TIMEOUT
            } else {
                StatusCode::BAD_GATEWAY
            },
            cause,
        }
    }
}

/// Puts the upstream into a request's URI, from where the pool takes its key and [`Dialer`] its target. A
/// path is written in hexadecimal, because an authority has not room for all letters of one.
fn address(upstream: &Upstream, head: &mut request::Parts) -> Result<(), String> {
    use std::os::unix::ffi::OsStrExt;
    let (scheme, authority) = match upstream {
        Upstream::Tcp(authority) => ("http", authority.clone()),
        Upstream::Tls(authority) => ("https", authority.clone()),
        Upstream::Unix(path) => {
            let digits = path.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}"));
            (UNIX, digits.collect())
        }
    };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path);
    head.uri = uri.build().map_err(|error| error.to_string())?;
    Ok(())
}

/// The upstream that [`address`] put into a URI.
fn target(uri: &Uri) -> io::Result<Upstream> {
    use std::os::unix::ffi::OsStringExt;
    let authority = uri.authority().ok_or(io::ErrorKind::InvalidInput)?.as_str();
    match uri.scheme_str() {
        Some(UNIX) => {}
        Some("https") => return Ok(Upstream::Tls(authority.into())),
        _ => return Ok(Upstream::Tcp(authority.into())),
    }
    let digits = (0..authority.len()).step_by(2).map(|at| authority.get(at..at + 2));
    let bytes: Option<Vec<u8>> = digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
    let bytes = bytes.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(Upstream::Unix(PathBuf::from(std::ffi::OsString::from_vec(bytes))))
}

/// Opens the pool's connections.
#[derive(Debug, Clone)]
struct Dialer {
    roots: Roots,
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Socket>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Socket>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let roots = self.roots.clone();
        Box::pin(async move {
            let upstream = target(&uri)?;
            let socket = timeout(CONNECT_TIMEOUT, dial::connect(&upstream, &roots)).await??;
            Ok(TokioIo::new(socket))
        })
    }
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Runs the pool's tasks where a shutdown can await them.
#[derive(Debug, Clone)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_survives_its_way_through_the_uri() {
        for upstream in [
            Upstream::Tcp("127.0.0.1:80".into()),
            Upstream::Tcp("[::1]:8080".into()),
            Upstream::Tls("agent:443".into()),
            Upstream::Unix("/run/an agent/ü.sock".into()),
        ] {
            let mut head = Request::get("/a?b=c").body(()).unwrap().into_parts().0;
            address(&upstream, &mut head).unwrap();
            assert_eq!(head.uri.path_and_query().unwrap(), "/a?b=c");
            assert_eq!(target(&head.uri).unwrap(), upstream);
        }
    }

    #[test]
    fn the_asterisk_form_stays() {
        let mut head = Request::options("*").body(()).unwrap().into_parts().0;
        address(&Upstream::Tcp("127.0.0.1:80".into()), &mut head).unwrap();
        assert_eq!(head.uri.path_and_query().unwrap(), "*");
    }

    #[test]
    fn upstreams_of_other_kinds_share_no_connections() {
        let uri = |upstream| {
            let mut head = Request::get("/").body(()).unwrap().into_parts().0;
            address(&upstream, &mut head).unwrap();
            (head.uri.scheme().cloned(), head.uri.authority().cloned())
        };
        assert_ne!(uri(Upstream::Tcp("2f:80".into())), uri(Upstream::Unix("/".into())));
        assert_ne!(uri(Upstream::Tcp("a:443".into())), uri(Upstream::Tls("a:443".into())));
        assert_ne!(uri(Upstream::Unix("/a".into())), uri(Upstream::Unix("/A".into())));
    }
}
