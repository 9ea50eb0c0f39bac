//! Agent servers that are reached by TLS.

use std::net::SocketAddr;
use std::path::PathBuf;

use futures_util::{SinkExt, StreamExt};
use hyper::StatusCode;
use sessmux::config::{Config, Route};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::certs::{Authority, Folder, Minted};
use super::common::capture::Log;
use super::common::raw::{Got, Raw};
use super::common::{Proxy, config, next_text, soon};
use super::{HERE, narrow, route};

/// An agent server inside TLS.
struct Agent {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    address: SocketAddr,
}

impl Agent {
    async fn start(minted: &Minted) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), minted)
    }

    /// One for which little is under way at a time.
    fn narrow(minted: &Minted) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        narrow(&socket);
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self::on(socket.listen(8).unwrap(), minted)
    }

    fn on(listener: TcpListener, minted: &Minted) -> Self {
        Self {
            address: listener.local_addr().unwrap(),
            acceptor: minted.acceptor(),
            listener,
        }
    }

    async fn accept(&self) -> TlsStream<TcpStream> {
        let (stream, _) = soon("a connection at the agent", self.listener.accept()).await.unwrap();
        soon("the handshake of TLS", self.acceptor.accept(stream))
            .await
            .unwrap()
    }

    async fn session(&self) -> WebSocketStream<TlsStream<TcpStream>> {
        let stream = self.accept().await;
        soon("the handshake", accept_async(stream)).await.unwrap()
    }

    /// The next request's head.
    async fn asked(&self) -> (TlsStream<TcpStream>, String) {
        let mut stream = self.accept().await;
        let head = head(&mut stream).await;
        (stream, head)
    }
}

async fn head(stream: &mut TlsStream<TcpStream>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("a head", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A proxy in front of the https server `host` at the agent's port, which believes whoever is in `ca`.
fn https(agent: SocketAddr, host: &str, ca: PathBuf) -> Config {
    let mut route: Route = route(agent);
    route.upstream = format!("https://{host}:{}", agent.port()).parse().unwrap();
    let mut config = config(route);
    config.upstream_ca = Some(ca);
    config
}

/// What a GET is answered with.
async fn get(proxy: &Proxy) -> (u16, String) {
    let mut raw = Raw::connect(proxy.address).await;
    let ask = format!("GET /a HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.address);
    raw.write(ask.as_bytes()).await;
    raw.answered().await
}

#[tokio::test]
async fn a_session_and_plain_http_go_by_tls() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let agent = Agent::start(&authority.mint(&HERE)).await;
    for host in HERE {
        let proxy = Proxy::with(https(agent.address, host, ca.clone())).await;
        let (mut page, mut server) = tokio::join!(proxy.page("/ws?s=1"), agent.session());
        let (_, connection) = server.get_ref().get_ref();
        // an address is no name (RFC 6066 section 3)
        assert_eq!(connection.server_name(), (host == "localhost").then_some(host));
        assert_eq!(connection.alpn_protocol(), None, "the agent names none");
        for number in 0..100 {
            server.send(Message::text(number.to_string())).await.unwrap();
            page.send(format!("page {number}")).await;
            assert_eq!(next_text(&mut server).await, format!("page {number}"));
        }
        page.leave().await;
        let mut page = proxy.page("/ws?s=1").await;
        for number in 0..100 {
            assert_eq!(page.text().await, number.to_string());
        }
        let served = async {
            let (mut stream, head) = agent.asked().await;
            assert!(head.starts_with("GET /a HTTP/1.1\r\n"), "{head}");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                .await
                .unwrap();
        };
        let (answer, ()) = tokio::join!(get(&proxy), served);
        assert_eq!(answer, (200, "hi".into()));
        server.close(None).await.unwrap();
        assert_eq!(page.close_code().await, Some(1005));
    }
}

#[tokio::test]
async fn large_messages_pass_both_ways() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let agent = Agent::start(&authority.mint(&HERE)).await;
    let mut config = https(agent.address, "localhost", folder.write("ca.pem", &authority.pem()));
    let mut route = Route::clone(&config.routes[0]);
    (route.max_message, route.log_bytes) = (16 << 20, 32 << 20);
    config.routes = vec![route.into()];
    let proxy = Proxy::with(config).await;
    let (mut page, mut server) = tokio::join!(proxy.page("/ws?s=1"), agent.session());
    let message = Message::binary(vec![7; 16 << 20]);
    let (sent, got) = tokio::join!(server.send(message.clone()), soon("it", page.socket.next()));
    sent.unwrap();
    assert!(got.unwrap().unwrap() == message);
    let (sent, got) = tokio::join!(page.socket.send(message.clone()), soon("it", server.next()));
    sent.unwrap();
    assert!(got.unwrap().unwrap() == message);
}

#[tokio::test]
async fn what_tls_took_and_the_system_did_not_goes_out_when_there_is_room() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let agent = Agent::narrow(&authority.mint(&HERE));
    let ca = folder.write("ca.pem", &authority.pem());
    let proxy = Proxy::with(https(agent.address, "localhost", ca)).await;
    let (mut page, mut server) = tokio::join!(Raw::upgraded(proxy.address, "/ws?s=1", ""), agent.session());
    // among so many sizes there is one that fills the system's buffers and not TLS's
    for size in (1..24).map(|step| step * (24 << 10)) {
        page.frame(0x82, &vec![7; size]).await;
        page.heard().await;
        let got = soon("the message", server.next()).await.unwrap().unwrap();
        assert_eq!(got.len(), size);
    }
}

#[tokio::test]
async fn a_server_that_cannot_prove_who_it_is_is_not_spoken_to() {
    let (authority, other, folder) = (Authority::new(), Authority::new(), Folder::new());
    let ca = folder.write("ca.pem", &authority.pem());
    for (minted, cause) in [
        (other.mint(&HERE), "upstream_ca names roots in place of the system's"),
        (
            authority.mint(&["agent.example"]),
            "the https:// URL has to name the host as its certificate does",
        ),
        (authority.mint_expired(&HERE), "certificate expired"),
        (
            Minted::self_signed(&HERE, false),
            "upstream_ca names roots in place of the system's",
        ),
        (
            Minted::self_signed(&HERE, true),
            "its certificate is an authority's own; upstream_ca may name",
        ),
    ] {
        let (agent, log) = (Agent::start(&minted).await, Log::capture());
        let proxy = Proxy::with(https(agent.address, "localhost", ca.clone())).await;
        let address = agent.address.port().to_string();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = agent.listener.accept().await.unwrap();
                // it is refused
                assert!(agent.acceptor.accept(stream).await.is_err());
            }
        });
        let mut raw = Raw::ask(proxy.address, "/ws?s=1", "").await;
        assert_eq!(raw.answered().await.0, 502, "{cause}");
        assert_eq!(log.count(&["dial failed", &address, cause]), 1, "{cause}");
        assert_eq!(get(&proxy).await.0, 502, "{cause}");
        assert_eq!(log.count(&["plain HTTP request failed", &address, cause]), 1, "{cause}");
        assert_eq!(log.count(&["WARN"]), 2, "{cause}");
        accepting.abort();
        assert!(accepting.await.unwrap_err().is_cancelled());
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_told_from_one_that_cannot_be_reached() {
    let (authority, folder, log) = (Authority::new(), Folder::new(), Log::capture());
    let ca = folder.write("ca.pem", &authority.pem());
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::with(https(plain.local_addr().unwrap(), "localhost", ca)).await;
    let answering = async {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let (answer, _stream) = tokio::join!(get(&proxy), answering);
    assert_eq!(answer.0, 502);
    log.says(&["plain HTTP request failed", "http:// is for plain servers"])
        .await;
}

#[tokio::test]
async fn a_servers_own_certificate_may_be_given_as_a_root() {
    let folder = Folder::new();
    for is_ca in [false, true] {
        let minted = Minted::self_signed(&HERE, is_ca);
        let agent = Agent::start(&minted).await;
        let ca = folder.write("ca.pem", &minted.cert);
        let proxy = Proxy::with(https(agent.address, "localhost", ca)).await;
        let (mut page, mut server) = tokio::join!(proxy.page("/ws?s=1"), agent.session());
        server.send(Message::text("hello")).await.unwrap();
        assert_eq!(page.text().await, "hello");
    }
}

#[tokio::test]
async fn a_given_certificate_has_to_be_the_one_and_of_this_name_and_time() {
    let folder = Folder::new();
    let named = Minted::self_signed(&HERE, true);
    for (shown, given, cause) in [
        (&named, &Some(Minted::self_signed(&HERE, true)), "an authority's own"),
        (
            &Minted::self_signed(&["agent.example"], true),
            &None,
            "has to name the host as its certificate does",
        ),
        (&Minted::self_signed_expired(&HERE, true), &None, "certificate expired"),
    ] {
        let given = folder.write("ca.pem", &given.as_ref().unwrap_or(shown).cert);
        let (agent, log) = (Agent::start(shown).await, Log::capture());
        let proxy = Proxy::with(https(agent.address, "localhost", given)).await;
        let refused = async {
            let (stream, _) = agent.listener.accept().await.unwrap();
            agent.acceptor.accept(stream).await.unwrap_err();
        };
        let (answer, ()) = tokio::join!(get(&proxy), refused);
        assert_eq!(answer.0, 502, "{cause}");
        log.says(&["plain HTTP request failed", cause]).await;
    }
}

#[tokio::test]
async fn an_end_that_tls_did_not_announce_is_the_end_of_a_session_and_a_fault_of_an_answer() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let agent = Agent::start(&authority.mint(&HERE)).await;
    let proxy = Proxy::with(https(
        agent.address,
        "localhost",
        folder.write("ca.pem", &authority.pem()),
    ))
    .await;
    for announced in [true, false] {
        let target = format!("/ws?s={announced}");
        let (page, mut server) = tokio::join!(Raw::upgraded(proxy.address, &target, ""), agent.session());
        let mut page = page;
        server.send(Message::text("last words")).await.unwrap();
        if announced {
            server.get_mut().shutdown().await.unwrap();
        }
        let log = Log::capture();
        drop(server);
        assert_eq!(page.text().await, "last words");
        assert_eq!(page.next_but_pings().await, Got::End);
        log.says(&["upstream ended", "it ended without a close frame"]).await;
    }
    // an answer that ends with its connection may have been cut by anybody, unless TLS says that it is whole
    for announced in [true, false] {
        let served = async {
            let (mut stream, _) = agent.asked().await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it?")
                .await
                .unwrap();
            if announced {
                stream.shutdown().await.unwrap();
            }
        };
        let asked = async {
            let mut raw = Raw::connect(proxy.address).await;
            let ask = format!(
                "GET /a HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                proxy.address
            );
            raw.write(ask.as_bytes()).await;
            assert_eq!(raw.read_head().await, Some(200));
            let mut body = std::mem::take(&mut raw.buffer);
            // a reset is an end too
            let _ = soon("the end", raw.stream.read_to_end(&mut body)).await;
            body.ends_with(b"\r\n0\r\n\r\n")
        };
        let (whole, ()) = tokio::join!(asked, served);
        assert_eq!(whole, announced);
    }
}

#[tokio::test]
async fn who_somebody_is_may_be_asked_by_tls() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let mut plain = super::common::Agent::start().await;
    for trusted in [true, false] {
        let login = Agent::start(&authority.mint(&HERE)).await;
        let signer = if trusted {
            authority.pem()
        } else {
            Authority::new().pem()
        };
        let mut route = route(plain.address);
        route.bind = vec!["auth_request".parse().unwrap()];
        route.auth_request = Some(
            format!("https://localhost:{}/auth", login.address.port())
                .parse()
                .unwrap(),
        );
        route.auth_subject = Some("x-user".into());
        let mut config = config(route);
        config.upstream_ca = Some(folder.write("ca.pem", &signer));
        let (proxy, log) = (Proxy::with(config).await, Log::capture());
        if !trusted {
            let served = async {
                let (stream, _) = login.listener.accept().await.unwrap();
                login.acceptor.accept(stream).await.unwrap_err();
            };
            let (mut raw, ()) = tokio::join!(Raw::ask(proxy.address, "/ws?s=1", ""), served);
            assert_eq!(raw.answered().await.0, StatusCode::SERVICE_UNAVAILABLE);
            log.says(&["refused", "auth_request=https://localhost", "upstream_ca"])
                .await;
            continue;
        }
        let answer = b"HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n";
        let served = async {
            let (mut stream, head) = login.asked().await;
            assert!(head.starts_with("GET /auth HTTP/1.1\r\n"), "{head}");
            stream.write_all(answer).await.unwrap();
            stream
        };
        let (mut page, mut kept) = tokio::join!(proxy.page("/ws?s=1"), served);
        let mut server = plain.connection().await;
        server.send("hello ann").await;
        assert_eq!(page.text().await, "hello ann");
        page.leave().await;

        // A kept connection that is closed as it is used, with no word of TLS, keeps nobody out.
        let served = async {
            head(&mut kept).await;
            drop(kept);
            login.asked().await.0.write_all(answer).await.unwrap();
        };
        let (mut page, ()) = tokio::join!(proxy.page("/ws?s=1"), served);
        server.send("hello again").await;
        assert_eq!(page.text().await, "hello ann");
        assert_eq!(page.text().await, "hello again");
    }
}
