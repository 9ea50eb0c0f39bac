//! What the tests share: an agent server that does what a test says, the proxy, and pages.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of it")]

pub mod capture;
pub mod raw;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sessmux::config::{Config, KeyPart, KeySource, PathPattern, Route, Upstream};
use sessmux::metrics::{Metrics, Rule};
use sessmux::server::Server;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_hdr_async, client_async, connect_async_with_config};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Nothing that a test awaits takes this long; sessmux's own longest wait is 10 s.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A rule that makes `{"type":"hello"}` the hello.
pub const HELLO: &str = r#"
    [[rule]]
    from = "client"
    when = { "/type" = "hello" }
    role = "hello"
"#;

/// Awaits something that must come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// An agent server; each of its connections is handed to the test.
pub struct Agent {
    pub address: SocketAddr,
    connections: mpsc::UnboundedReceiver<Connection>,
    pub accepted: Arc<AtomicUsize>,
    _stop: DropGuard,
}

/// One connection of the agent server.
pub struct Connection {
    pub uri: String,
    pub headers: tungstenite::http::HeaderMap,
    pub socket: WebSocketStream<TcpStream>,
}

impl Agent {
    pub async fn start() -> Self {
        Self::choosing(None).await
    }

    /// An agent that answers with this subprotocol.
    #[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
    pub async fn choosing(protocol: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = mpsc::unbounded_channel();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (count, stop) = (Arc::clone(&accepted), CancellationToken::new());
        let stopped = stop.clone();
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = stopped.run_until_cancelled(listener.accept()).await {
                stream.set_nodelay(true).unwrap();
                let (sender, count) = (sender.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    let (mut uri, mut headers) = (String::new(), tungstenite::http::HeaderMap::new());
                    let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
                        (uri, headers) = (request.uri().to_string(), request.headers().clone());
                        if let Some(protocol) = protocol {
                            response
                                .headers_mut()
                                .insert("sec-websocket-protocol", protocol.parse().unwrap());
                        }
                        Ok(response)
                    };
                    if let Ok(socket) = accept_hdr_async(stream, answer).await {
                        count.fetch_add(1, Ordering::SeqCst);
                        // the test may be over
                        let _ = sender.send(Connection { uri, headers, socket });
                    }
                });
            }
        });
        Self {
            address,
            connections,
            accepted,
            _stop: stop.drop_guard(),
        }
    }

    pub async fn connection(&mut self) -> Connection {
        soon("a connection at the agent", self.connections.recv())
            .await
            .unwrap()
    }

    pub fn count(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Connection {
    pub async fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        soon("a message at the agent", self.socket.next()).await
    }

    /// The next text message; pings pass unseen.
    pub async fn text(&mut self) -> String {
        next_text(&mut self.socket).await
    }

    pub async fn close_code(&mut self) -> Option<u16> {
        close_code(&mut self.socket).await
    }
}

/// The next text message; pings pass unseen.
pub async fn next_text<S>(socket: &mut WebSocketStream<S>) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        match soon("a text message", socket.next()).await {
            Some(Ok(Message::Text(text))) => return text.to_string(),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => panic!("expected text, got {other:?}"),
        }
    }
}

/// Reads to the end; the code of the close frame, if there was one.
pub async fn close_code<S>(socket: &mut WebSocketStream<S>) -> Option<u16>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut code = None;
    while let Some(Ok(message)) = soon("the end", socket.next()).await {
        if let Message::Close(close) = message {
            code = Some(close.map_or(1005, |close| close.code.into()));
        }
    }
    code
}

/// The proxy; it stops when this is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    pub metrics: Arc<Metrics>,
    _stop: DropGuard,
}

/// A route of every path to `upstream` with this key.
pub fn route(upstream: SocketAddr, key: Vec<KeySource>) -> Route {
    let mut route = Route::one_to_one(PathPattern::any(), Upstream::Tcp(upstream.to_string()));
    route.key = key
        .into_iter()
        .map(|source| KeyPart {
            alternatives: vec![source],
        })
        .collect();
    route.max_message = 1 << 20;
    route.log_bytes = 1 << 20;
    route
}

/// A listener with this route alone.
pub fn config(route: Route) -> Config {
    let plain = Config::plain("127.0.0.1:0".parse().unwrap(), route.upstream.clone());
    Config {
        routes: vec![Arc::new(route)],
        ..plain
    }
}

impl Proxy {
    /// In front of `route`'s upstream alone.
    pub async fn start(route: Route) -> Self {
        Self::with(config(route)).await
    }

    pub async fn with(config: Config) -> Self {
        capture::install();
        Self::of(Server::bind(config).await.unwrap())
    }

    /// The one that this server makes.
    pub fn of(server: Server) -> Self {
        let address = server.local_addr().unwrap();
        let stop = CancellationToken::new();
        let metrics = server.metrics();
        tokio::spawn(server.run(stop.clone()));
        Self {
            address,
            metrics,
            _stop: stop.drop_guard(),
        }
    }

    /// How often this rule has refused somebody.
    pub fn refused(&self, rule: Rule) -> u64 {
        let text = self.metrics.text().unwrap();
        let series = format!("sessmux_refused_total{{rule=\"{}\"}} ", rule.name());
        let count = text.lines().find_map(|line| line.strip_prefix(&series)).unwrap();
        count.parse().unwrap()
    }

    /// What this metric shows, which has one series or, told by its labels, is one; of many series their sum.
    pub fn gauge(&self, name: &str) -> i64 {
        let text = self.metrics.text().unwrap();
        let of_this = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let value = rest
                .strip_prefix(' ')
                .or_else(|| Some(rest.strip_prefix('{')?.split_once("} ")?.1))?;
            Some(value.parse::<i64>().unwrap())
        };
        let values: Vec<i64> = text.lines().filter_map(of_this).collect();
        assert!(!values.is_empty(), "{name} in\n{text}");
        values.iter().sum()
    }

    /// A page that is not a browser's: no Origin, no cookie.
    pub async fn page(&self, target: &str) -> Page {
        self.page_with(target, &[]).await.unwrap()
    }

    pub async fn page_with(&self, target: &str, headers: &[(&'static str, &str)]) -> Result<Page, Error> {
        let mut request = format!("ws://{}{target}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        // without Nagle's algorithm, as browsers do
        let (socket, answer) = soon("the handshake", connect_async_with_config(request, None, true)).await?;
        Ok(Page { socket, answer })
    }
}

/// A page that comes from this loopback address.
pub async fn page_from(address: &str, proxy: SocketAddr, target: &str) -> Page {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    let stream = MaybeTlsStream::Plain(soon("a connection", socket.connect(proxy)).await.unwrap());
    let request = format!("ws://{proxy}{target}");
    let (socket, answer) = soon("the handshake", client_async(request, stream)).await.unwrap();
    Page { socket, answer }
}

/// A page's socket.
#[derive(Debug)]
pub struct Page {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub answer: tungstenite::handshake::client::Response,
}

impl Page {
    pub async fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    pub async fn text(&mut self) -> String {
        next_text(&mut self.socket).await
    }

    pub async fn close_code(&mut self) -> Option<u16> {
        close_code(&mut self.socket).await
    }

    /// Leaves as a reload does: close frame 1001.
    pub async fn leave(mut self) {
        let frame = CloseFrame {
            code: 1001.into(),
            reason: "".into(),
        };
        self.socket.close(Some(frame)).await.unwrap();
        self.close_code().await;
    }

    /// Leaves as a cut does: a reset, no close frame.
    pub fn cut(self) {
        if let MaybeTlsStream::Plain(stream) = self.socket.get_ref() {
            stream.set_zero_linger().unwrap();
        }
    }
}
