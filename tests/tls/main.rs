//! TLS end to end: pages by https, and agent servers that are reached by it.

#[path = "../common/mod.rs"]
mod common;

mod certs;
mod files;
mod handshake;
mod pages;
mod upstreams;

use std::net::SocketAddr;

use certs::{Authority, Folder};
use common::{Proxy, config, soon};
use sessmux::config::{KeySource, Route};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, http};
use tokio_tungstenite::{WebSocketStream, client_async};

/// The names of a server on this machine.
const HERE: [&str; 2] = ["localhost", "127.0.0.1"];

/// A page that came by TLS.
#[derive(Debug)]
struct Page {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    answer: http::Response<Option<Vec<u8>>>,
}

/// The proxy with a certificate of `authority`, in `folder`.
struct Secure {
    proxy: Proxy,
    authority: Authority,
    folder: Folder,
}

/// A route to `agent` with a key that names the session.
fn route(agent: SocketAddr) -> Route {
    common::route(agent, vec![KeySource::QueryParam("s".into())])
}

impl Secure {
    async fn start(route: Route) -> Self {
        let (authority, folder) = (Authority::new(), Folder::new());
        let mut config = config(route);
        config.tls = Some(folder.identity(&authority.mint(&HERE)));
        Self {
            proxy: Proxy::with(config).await,
            authority,
            folder,
        }
    }

    /// Makes the handshake of TLS.
    async fn connect(&self) -> TlsStream<TcpStream> {
        connect(self.proxy.address, &self.authority).await
    }

    async fn page(&self, target: &str) -> Page {
        self.page_with(target, &[]).await.unwrap()
    }

    /// A page for which little is under way at a time.
    async fn narrow_page(&self, target: &str) -> Page {
        let socket = TcpSocket::new_v4().unwrap();
        narrow(&socket);
        let stream = socket.connect(self.proxy.address).await.unwrap();
        self.page_on(secured(stream, &self.authority).await, target, &[])
            .await
            .unwrap()
    }

    async fn page_with(&self, target: &str, headers: &[(&'static str, &str)]) -> Result<Page, Error> {
        self.page_on(self.connect().await, target, headers).await
    }

    async fn page_on(
        &self,
        stream: TlsStream<TcpStream>,
        target: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Page, Error> {
        let mut request = format!("wss://{}{target}", self.proxy.address).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, answer) = soon("the handshake", client_async(request, stream)).await?;
        Ok(Page { socket, answer })
    }
}

/// Makes a connection small that belongs to this socket: few bytes are under way at a time.
fn narrow(socket: &TcpSocket) {
    socket.set_recv_buffer_size(4096).unwrap();
    // the system's buffers grow with the size of a segment, which on loopback is 64 KiB
    SockRef::from(socket).set_tcp_mss(536).unwrap();
}

/// Makes the handshake of TLS with a server that has a certificate of `authority`.
async fn connect(address: SocketAddr, authority: &Authority) -> TlsStream<TcpStream> {
    secured(TcpStream::connect(address).await.unwrap(), authority).await
}

async fn secured(stream: TcpStream, authority: &Authority) -> TlsStream<TcpStream> {
    stream.set_nodelay(true).unwrap();
    let name = ServerName::from(stream.peer_addr().unwrap().ip());
    soon("the handshake of TLS", authority.connector().connect(name, stream))
        .await
        .unwrap()
}
