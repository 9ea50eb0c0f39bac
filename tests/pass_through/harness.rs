//! The two ends of a connection through sessmux, and sessmux between them.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sessmux::config::Upstream;
use sessmux::server::headers::Hop;
use sessmux::server::pass::Pass;
use sessmux::transport::tls::Roots;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server that passes everything to one upstream; it ends with the test.
pub(crate) struct Front {
    address: SocketAddr,
    pub(crate) tracker: TaskTracker,
    pub(crate) tasks: JoinSet<()>,
}

impl Front {
    pub(crate) async fn new(upstream: Upstream) -> Self {
        let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tracker = TaskTracker::new();
        let pass = Pass::new(&tracker, Roots::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let (pass, upstream) = (pass.clone(), upstream.clone());
                let hop = Hop {
                    client: peer.ip(),
                    scheme: "http",
                    host: None,
                };
                connections.spawn(async move {
                    let service =
                        service_fn(|request| async { Ok::<_, Infallible>(pass.serve(&upstream, hop, request).await) });
                    // A body that breaks off ends its connection with an error, which is what is tested.
                    let _ = http1::Builder::new()
                        .preserve_header_case(true)
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            tracker,
            tasks,
        }
    }

    pub(crate) async fn connect(&self) -> Peer<TcpStream> {
        Peer(TcpStream::connect(self.address).await.unwrap())
    }

    /// Sends a request and reads all that comes back until the connection ends.
    pub(crate) async fn ask(&self, request: &str) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.rest().await
    }
}

/// One end of a connection, in words.
pub(crate) struct Peer<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads up to and including `end`, and not a byte more.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            match self.0.read_u8().await {
                Ok(byte) => read.push(byte),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&read)),
            }
        }
        String::from_utf8(read).unwrap()
    }

    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = String::new();
        // A reset is an end, too: bytes that were read stay.
        let _ = self.0.read_to_string(&mut rest).await;
        rest
    }
}

pub(crate) struct Agent(pub(crate) TcpListener);

impl Agent {
    pub(crate) async fn new() -> (Self, Front) {
        let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
        let front = Front::new(Upstream::Tcp(listener.local_addr().unwrap().to_string())).await;
        (Self(listener), front)
    }

    pub(crate) async fn accept(&self) -> Peer<TcpStream> {
        Peer(self.0.accept().await.unwrap().0)
    }
}
