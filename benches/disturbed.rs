//! What attacks cost a well-behaved session beside them: round trips of one message, calm and amid each attack.
//!
//! Prints a table: medians and 99th percentiles in µs, each the median of several turns of calm and attack, and the ratio
//! of the latter. Attackers have a thread of their own and share two cores with everything else here, so they pace themselves: what is measured is
//! what sessmux lets them take, not who gets the processor.

#[path = "../tests/common/mod.rs"]
mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::raw::{Pair, Raw, RawAgent, frame, upgrade};
use common::{Proxy, config, route};
use sessmux::config::{Config, KeySource, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{interval, sleep};

/// How often each attack is measured, and for how long.
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(2);
/// How long an attack takes to begin, and what it leaves to go.
const SETTLE: Duration = Duration::from_millis(500);

fn main() {
    // `cargo test --benches` wants to know only that it builds
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let (proxy, _agent, mut pair) = runtime.block_on(start());
    println!(
        "{:20} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "attack", "calm p50", "amid p50", "calm p99", "amid p99", "ratio"
    );
    for attack in ATTACKS {
        // in turn, so that what else the machine does meets both
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let calm = runtime.block_on(round_trips(&mut pair));
                (calm, amid(&runtime, &attack, &proxy, &mut pair))
            })
            .collect();
        let median = |of: &dyn Fn(&(Times, Times)) -> u128| {
            let mut all: Vec<_> = rounds.iter().map(of).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        let (calm, amid) = (median(&|it| it.0.p99), median(&|it| it.1.p99));
        println!(
            "{:20} {:>9} {:>9} {calm:>9} {amid:>9} {:>9.2}",
            attack.name,
            median(&|it| it.0.p50),
            median(&|it| it.1.p50),
            amid as f64 / calm as f64
        );
    }
}

/// Round trips while an attack goes on.
fn amid(runtime: &Runtime, attack: &Attack, proxy: &Proxy, pair: &mut Pair) -> Times {
    let attackers = Builder::new_current_thread().enable_all().build().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (address, run) = (proxy.address, attack.run);
    let thread = std::thread::spawn(move || {
        attackers.block_on(async {
            tokio::select! {
                () = run(address) => {}
                _ = stopped => {}
            }
        });
    });
    let times = runtime.block_on(async {
        // it is under way
        sleep(SETTLE).await;
        round_trips(pair).await
    });
    // one that has ended needs no telling
    let _ = stop.send(());
    thread.join().unwrap();
    // what it leaves behind has gone
    runtime.block_on(async { sleep(SETTLE).await });
    times
}

async fn start() -> (Proxy, RawAgent, Pair) {
    let agent = RawAgent::start().await;
    let route = route(agent.address, vec![KeySource::QueryParam("session".into())]);
    let limits = Limits {
        max_connections: 500,
        max_sessions: 500,
        ..Limits::default()
    };
    let config = Config {
        limits,
        ..config(route)
    };
    let proxy = Proxy::with(config).await;
    let pair = agent.session(&proxy, "/ws?session=beside").await;
    (proxy, agent, pair)
}

/// Median and 99th percentile of round trips, page to server and back, 200 a second.
async fn round_trips(pair: &mut Pair) -> Times {
    let mut times = Vec::new();
    let mut pace = interval(Duration::from_millis(5));
    let end = Instant::now() + TIME;
    while Instant::now() < end {
        pace.tick().await;
        let begin = Instant::now();
        pair.works().await;
        times.push(begin.elapsed().as_micros());
    }
    times.sort_unstable();
    Times {
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
    }
}

/// Of round trips, in µs.
struct Times {
    p50: u128,
    p99: u128,
}

type Attacking = std::pin::Pin<Box<dyn Future<Output = ()>>>;

struct Attack {
    name: &'static str,
    run: fn(SocketAddr) -> Attacking,
}

const ATTACKS: [Attack; 5] = [
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

/// 1,000 attaches a second to one session that is not there: each is dialled for, or waits.
async fn attaches(proxy: SocketAddr) {
    let request = upgrade(proxy, "/ws?session=beside-not", "");
    let mut held = std::collections::VecDeque::new();
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

/// 1,000 pieces of one message every 10 ms.
async fn fragments(proxy: SocketAddr) {
    let pieces = frame(0, b"b", true).repeat(1000);
    let mut pace = interval(Duration::from_millis(10));
    loop {
        let mut raw = Raw::connect(proxy).await;
        raw.write(upgrade(proxy, "/ws?session=pieces", "").as_bytes()).await;
        raw.frame(0x01, b"a").await;
        loop {
            pace.tick().await;
            if raw.stream.write_all(&pieces).await.is_err() {
                break;
            }
        }
    }
}

/// 1,000 requests a second from a foreign origin.
async fn origins(proxy: SocketAddr) {
    let request = upgrade(proxy, "/ws?session=beside", "Origin: https://evil.example\r\n");
    let mut raw = TcpStream::connect(proxy).await.unwrap();
    let mut pace = interval(Duration::from_millis(10));
    let mut answers = vec![0; 64 << 10];
    loop {
        pace.tick().await;
        for _ in 0..10 {
            if raw.write_all(request.as_bytes()).await.is_err() || raw.read(&mut answers).await.unwrap_or(0) == 0 {
                raw = TcpStream::connect(proxy).await.unwrap();
            }
        }
    }
}
