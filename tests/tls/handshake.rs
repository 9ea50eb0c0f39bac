//! Who does not come to speak TLS: what they are told, and what is logged of them.

use std::time::{Duration, Instant};

use sessmux::metrics::Rule;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::certs::{Authority, Folder};
use super::common::capture::Log;
use super::common::raw::Raw;
use super::common::{Agent, Proxy, config, soon};
use super::{HERE, Secure, route};

async fn secure() -> Secure {
    // nobody comes so far
    Secure::start(route("127.0.0.1:1".parse().unwrap())).await
}

impl Secure {
    fn refused(&self) -> u64 {
        self.proxy.refused(Rule::TlsHandshake)
    }
}

/// All that comes until the end.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    // a reset is an end too
    let _ = soon("the end", stream.read_to_end(&mut got)).await;
    got
}

#[tokio::test]
async fn plain_http_is_told_so_in_one_line() {
    let (secure, log) = (secure().await, Log::capture());
    let mut raw = Raw::connect(secure.proxy.address).await;
    raw.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let (status, body) = raw.answered().await;
    assert_eq!((status, body.as_str()), (400, "this port speaks HTTPS: use https://\n"));
    assert_eq!(rest(&mut raw.stream).await, b"");
    assert_eq!(log.count(&["plain HTTP", "tls_cert", "client=127.0.0.1"]), 1);
    assert_eq!(log.count(&["client="]), 1);
    assert_eq!(secure.refused(), 1);
}

#[tokio::test]
async fn what_is_neither_is_refused() {
    let (secure, log) = (secure().await, Log::capture());
    let mut raw = Raw::connect(secure.proxy.address).await;
    raw.write(b"\0\0\0 what might this be?").await;
    rest(&mut raw.stream).await;
    log.says(&["no TLS", "corrupt message"]).await;
    assert_eq!(secure.refused(), 1);
}

/// A client hello (RFC 5246 section 7.4.1.2) of this version at most, otherwise good for TLS 1.2.
fn hello(version: [u8; 2]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend_from_slice(&[7; 32]); // random
    // no session; ECDHE with ECDSA and AES-128 alone; no compression
    body.extend_from_slice(&[0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let extensions = [
        &[0, 10, 0, 4, 0, 2, 0, 0x17][..], // groups: P-256
        &[0, 11, 0, 2, 1, 0],              // points: uncompressed
        &[0, 13, 0, 4, 0, 2, 4, 3],        // signatures: ECDSA with SHA-256
        &[0, 23, 0, 0],                    // extended master secret
    ]
    .concat();
    body.extend_from_slice(&[0, extensions.len() as u8]);
    body.extend_from_slice(&extensions);
    let length = body.len() as u8;
    let mut message = vec![1, 0, 0, length];
    message.extend_from_slice(&body);
    let mut record = vec![22, 3, 1, 0, message.len() as u8];
    record.extend_from_slice(&message);
    record
}

#[tokio::test]
async fn tls_1_1_is_refused() {
    let (secure, log) = (secure().await, Log::capture());
    let mut good = Raw::connect(secure.proxy.address).await;
    good.write(&hello([3, 3])).await;
    let mut first = [0; 6];
    soon("an answer", good.stream.read_exact(&mut first)).await.unwrap();
    // a server's hello
    assert_eq!((first[0], first[5]), (22, 2), "{first:?}");
    drop(good);
    let mut raw = Raw::connect(secure.proxy.address).await;
    raw.write(&hello([3, 2])).await;
    let got = rest(&mut raw.stream).await;
    // a fatal alert, protocol_version (RFC 5246 section 7.2)
    assert_eq!((got.first(), got.last()), (Some(&21), Some(&70)), "{got:?}");
    log.says(&["no TLS"]).await;
    assert_eq!(secure.refused(), 1);
}

#[tokio::test]
async fn http_2_alone_is_refused_and_beside_http_1_not_chosen() {
    let (secure, log) = (secure().await, Log::capture());
    for (offered, chosen) in [
        (&["h2"][..], None),
        (&["h2", "http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let mut client = secure.authority.client();
        client.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client));
        let stream = TcpStream::connect(secure.proxy.address).await.unwrap();
        let connected = soon(
            "TLS",
            connector.connect(ServerName::try_from("localhost").unwrap(), stream),
        )
        .await;
        if offered == ["h2"] {
            // RFC 7301 section 3.2
            assert!(connected.unwrap_err().to_string().contains("NoApplicationProtocol"));
            log.says(&["no TLS", "another protocol than http/1.1"]).await;
        } else {
            let stream = connected.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), chosen.map(str::as_bytes));
        }
    }
    assert_eq!(secure.refused(), 1);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate_says_so() {
    let (secure, log) = (secure().await, Log::capture());
    let stream = TcpStream::connect(secure.proxy.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connected = Authority::new().connector().connect(name, stream).await;
    assert!(connected.unwrap_err().to_string().contains("UnknownIssuer"));
    log.says(&["no TLS", "does not trust the certificate in tls_cert"])
        .await;
}

#[tokio::test]
async fn who_does_not_finish_the_handshake_is_closed_and_so_is_who_does_not_ask_then() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let mut config = config(route("127.0.0.1:1".parse().unwrap()));
    config.tls = Some(folder.identity(&authority.mint(&HERE)));
    config.limits.head_timeout = Duration::from_millis(300);
    let (proxy, log) = (Proxy::with(config).await, Log::capture());
    let begun = Instant::now();
    let mut silent = Raw::connect(proxy.address).await;
    let mut half = Raw::connect(proxy.address).await;
    half.write(&hello([3, 3])[..20]).await;
    assert_eq!(rest(&mut silent.stream).await, b"");
    assert_eq!(rest(&mut half.stream).await, b"");
    assert!(begun.elapsed() >= Duration::from_millis(300), "not at once");
    log.says_times(2, &["no handshake of TLS came in time", "head_timeout=300ms"])
        .await;
    let mut stream = super::connect(proxy.address, &authority).await;
    let mut got = Vec::new();
    soon("the end", stream.read_to_end(&mut got)).await.unwrap_err();
    log.says(&["no request came in time"]).await;
    assert_eq!(proxy.refused(Rule::HeadTimeout), 3);
}

#[tokio::test]
async fn one_too_many_is_closed_without_a_plain_word() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let mut config = config(route("127.0.0.1:1".parse().unwrap()));
    config.tls = Some(folder.identity(&authority.mint(&HERE)));
    config.limits.max_connections = 1;
    let proxy = Proxy::with(config).await;
    // a handshake is a connection like any other
    let half = Raw::connect(proxy.address).await;
    let mut second = Raw::connect(proxy.address).await;
    assert_eq!(rest(&mut second.stream).await, b"");
    assert_eq!(proxy.refused(Rule::MaxConnections), 1);
    drop(half);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_handshakes() {
    let agent = Agent::start().await;
    let secure = Secure::start(route(agent.address)).await;
    let mut half = Raw::connect(secure.proxy.address).await;
    half.write(&hello([3, 3])[..20]).await;
    let _standing = secure.connect().await;
    let begun = Instant::now();
    drop(secure);
    rest(&mut half.stream).await;
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "it is not the time for a head that ended it"
    );
}

#[tokio::test]
async fn a_client_that_leaves_amid_the_handshake_is_its_own_affair() {
    let (secure, log) = (secure().await, Log::capture());
    let mut half = Raw::connect(secure.proxy.address).await;
    half.write(&hello([3, 3])[..20]).await;
    half.stream.shutdown().await.unwrap();
    rest(&mut half.stream).await;
    log.says(&["DEBUG", "connection ended"]).await;
    assert_eq!(secure.refused(), 0);
}
