//! From connect to the first replayed message, beside a fresh session: both over real sockets, in one run.
//!
//! A fresh session costs two handshakes, a reattach one and the replay's start. The client is a raw socket that writes
//! a prepared head, so that it costs little of what is measured. The agent server says its first message in one write
//! with its 101, which is the best that a fresh session can have.

#[path = "../tests/common/mod.rs"]
mod common;
mod load;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Proxy, config, route};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sessmux::config::{Config, KeySource, PathPattern};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The key that RFC 6455 uses as its example.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// An unfragmented text message of 256 bytes, with its header.
const MESSAGE: usize = 4 + 256;
/// A masked close frame that says 1001, as a reload does; the mask is zero.
const AWAY: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

/// An agent server that sends as many messages as the query's `messages` says, and then nothing.
async fn agent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let head = String::from_utf8(head).unwrap();
                let line = head.lines().next().unwrap();
                let count = line.split("messages=").nth(1).and_then(|rest| rest.split(' ').next());
                let mut answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {}\r\n\r\n",
                    derive_accept_key(key(&head).as_bytes())
                )
                .into_bytes();
                for _ in 0..count.unwrap().parse().unwrap() {
                    answer.extend_from_slice(&[0x81, 126, 1, 0]);
                    answer.extend_from_slice(&[b'm'; 256]);
                }
                // whoever has gone needs no answer
                let _ = stream.write_all(&answer).await;
                while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    address
}

fn key(head: &str) -> &str {
    let field = |line: &'static str| {
        head.lines().find_map(move |it| {
            it.get(..line.len())?
                .eq_ignore_ascii_case(line)
                .then(|| &it[line.len()..])
        })
    };
    field("sec-websocket-key:").unwrap().trim()
}

/// Connects, upgrades and reads until as many bytes came behind the 101 as wanted; what it took, and the socket.
fn visit(address: SocketAddr, target: &str, wanted: usize) -> (Duration, TcpStream) {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    let mut buffer = vec![0; wanted + 64 * 1024];
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut length = 0;
    loop {
        let read = stream.read(&mut buffer[length..]).unwrap();
        assert!(read > 0, "closed: {}", String::from_utf8_lossy(&buffer[..length]));
        length += read;
        let end = buffer[..length].windows(4).position(|it| it == b"\r\n\r\n");
        if end.is_some_and(|end| length >= end + 4 + wanted) {
            break;
        }
    }
    let took = start.elapsed();
    assert!(
        buffer.starts_with(b"HTTP/1.1 101 "),
        "{}",
        String::from_utf8_lossy(&buffer[..length])
    );
    (took, stream)
}

/// Leaves as a reload does, and waits for the end.
fn leave(mut stream: TcpStream) {
    stream.write_all(&AWAY).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

fn reattach(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (agent, proxy) = runtime.block_on(async {
        let agent = agent().await;
        let session = || vec![KeySource::QueryParam("session".into())];
        let mut fresh = route(agent, session());
        fresh.path = PathPattern::parse("/fresh").unwrap();
        // else detached sessions pile up
        fresh.grace = Duration::from_secs(1);
        let mut kept = route(agent, session());
        kept.log_bytes = 8 << 20;
        let config = Config {
            routes: vec![Arc::new(fresh.clone()), Arc::new(kept)],
            ..config(fresh)
        };
        (agent, Proxy::with(config).await)
    });

    let mut group = criterion.benchmark_group("reattach");
    for gap in [0, 10, 1_000, 10_000] {
        let target = format!("/kept?session={gap}&messages={gap}");
        let (_, first) = visit(proxy.address, &target, gap * MESSAGE);
        leave(first);
        group.bench_with_input(BenchmarkId::new("gap", gap), &gap, |bencher, &gap| {
            bencher.iter_custom(|times| {
                let reattach = || {
                    let (took, stream) = visit(proxy.address, &target, gap.min(1) * MESSAGE);
                    leave(stream);
                    took
                };
                (0..times).map(|_| reattach()).sum()
            });
        });
    }
    let mut number = 0_u64;
    for (messages, what) in [(0, "101 alone"), (1, "101 and first message")] {
        for (name, address) in [("fresh through the proxy", proxy.address), ("fresh straight", agent)] {
            group.bench_function(BenchmarkId::new(name, what), |bencher| {
                bencher.iter_custom(|times| {
                    let mut fresh = || {
                        number += 1;
                        let target = format!("/fresh?session={number}&messages={messages}");
                        let (took, stream) = visit(address, &target, messages * MESSAGE);
                        if address == agent {
                            drop(stream);
                        } else {
                            leave(stream);
                        }
                        took
                    };
                    (0..times).map(|_| fresh()).sum()
                });
            });
        }
    }
    // last, for these stay; as many file descriptors as the system grants: a detached session has one, its server one
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let place = |session: u64| format!("/kept?session=detached-{session}&messages=10");
    let (mut made, detached) = (0, [10, 1_000, 8_000]);
    for count in if load::only_tested() {
        &detached[..1]
    } else {
        &detached[..]
    } {
        for session in made..*count {
            leave(visit(proxy.address, &place(session), 10 * MESSAGE).1);
        }
        made = *count;
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("among detached sessions", count), |bencher| {
            bencher.iter_custom(|times| {
                let mut reattach = || {
                    turn += 1;
                    let (took, stream) = visit(proxy.address, &place(turn * 7919 % count), MESSAGE);
                    leave(stream);
                    took
                };
                (0..times).map(|_| reattach()).sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, reattach);
criterion_main!(benches);
