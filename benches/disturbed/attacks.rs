//! The attacks: each without end, in bursts.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::interval;

use super::common::raw::{Raw, frame, upgrade};

type Attacking = Pin<Box<dyn Future<Output = ()>>>;

/// An attack on whoever listens at an address.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) run: fn(SocketAddr) -> Attacking,
}

/// The origin of pages that may not come in.
pub(super) const FOREIGN: &str = "https://evil.example";

pub(super) const ATTACKS: [Attack; 5] = [
    Attack {
        name: "slowloris",
        run: |proxy| Box::pin(slowloris(proxy)),
    },
    Attack {
        name: "connection flood",
        run: |proxy| Box::pin(connections(proxy)),
    },
    Attack {
        name: "attach storm",
        run: |proxy| Box::pin(attaches(proxy)),
    },
    Attack {
        name: "fragment flood",
        run: |proxy| Box::pin(fragments(proxy)),
    },
    Attack {
        name: "origin refused",
        run: |proxy| Box::pin(origins(proxy)),
    },
];

/// 400 connections that say a byte of a head every 100 ms.
async fn slowloris(proxy: SocketAddr) {
    let mut slow = Vec::new();
    for _ in 0..400 {
        let mut raw = TcpStream::connect(proxy).await.unwrap();
        raw.write_all(b"GET / HTTP/1.1\r\nX-").await.unwrap();
        slow.push(raw);
    }
    let mut pace = interval(Duration::from_millis(100));
    loop {
        pace.tick().await;
        for raw in &mut slow {
            // they are cut off in time
            let _ = raw.write_all(b"a").await;
        }
    }
}

/// 2,000 connections a second, each let go at once.
async fn connections(proxy: SocketAddr) {
    let mut pace = interval(Duration::from_millis(5));
    loop {
        pace.tick().await;
        for _ in 0..10 {
            drop(TcpStream::connect(proxy).await);
        }
    }
}

/// 1,000 attaches a second to one session, whose pages stay a while. To a proxy that knows no sessions each is an upgrade
/// like any other.
async fn attaches(proxy: SocketAddr) {
    let request = upgrade(proxy, "/ws?session=stormed", "");
    let mut held = VecDeque::new();
    let mut pace = interval(Duration::from_millis(10));
    loop {
        pace.tick().await;
        for _ in 0..10 {
            if let Ok(mut raw) = TcpStream::connect(proxy).await {
                let _ = raw.write_all(request.as_bytes()).await;
                held.push_back(raw);
            }
            if held.len() > 200 {
                held.pop_front();
            }
        }
    }
}

/// 1,000 pieces of one message every 10 ms, and again once it was cut off.
async fn fragments(proxy: SocketAddr) {
    let pieces = frame(0, b"b", true).repeat(1000);
    let mut pace = interval(Duration::from_millis(10));
    loop {
        let mut raw = Raw::upgraded(proxy, "/ws?session=pieces", "").await;
        raw.frame(0x01, b"a").await;
        loop {
            pace.tick().await;
            if raw.stream.write_all(&pieces).await.is_err() {
                break;
            }
        }
    }
}

/// 1,000 requests a second from a foreign origin. A proxy that knows no origins has the agent server refuse them.
async fn origins(proxy: SocketAddr) {
    let request = upgrade(proxy, "/ws?session=beside", &format!("Origin: {FOREIGN}\r\n"));
    let mut pace = interval(Duration::from_millis(10));
    let mut raw = TcpStream::connect(proxy).await.unwrap();
    loop {
        pace.tick().await;
        for _ in 0..10 {
            // whoever refuses may end the connection with that
            if !refused(&mut raw, &request).await {
                raw = TcpStream::connect(proxy).await.unwrap();
                assert!(refused(&mut raw, &request).await);
            }
        }
    }
}

/// Whether this request was answered, which is by a refusal, on this connection.
async fn refused(raw: &mut TcpStream, request: &str) -> bool {
    let mut answer = [0; 4096];
    if raw.write_all(request.as_bytes()).await.is_err() {
        return false;
    }
    match raw.read(&mut answer).await {
        Ok(some @ 1..) => {
            assert!(answer[..some].starts_with(b"HTTP/1.1 403 "));
            true
        }
        _ => false,
    }
}
