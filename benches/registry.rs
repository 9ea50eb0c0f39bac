//! Sessions found by name, from several threads at once, among few and many.
//!
//! The sessions are real, and frozen: nothing runs their tasks while they are looked up.

mod load;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use hyper::Request;
use load::agent;
use sessmux::config::{Limits, PathPattern, Route, Upstream};
use sessmux::metrics::Metrics;
use sessmux::session::key::{Key, Owner};
use sessmux::session::registry::Sessions;
use sessmux::transport::tls::Roots;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::TaskTracker;

/// Sessions that there are, and threads that look them up.
const SESSIONS: [usize; 2] = [10, 8_000];
const THREADS: [usize; 3] = [1, 2, 4];

fn offer(server: SocketAddr) -> Request<()> {
    Request::get("/ws")
        .header("host", server.to_string())
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .unwrap()
}

/// An agent server on a runtime of its own.
fn server() -> (Runtime, SocketAddr) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(agent::serve(listener));
    (runtime, address)
}

fn lookups(criterion: &mut Criterion) {
    // as many as the system grants
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let (_running, server) = server();
    let route = Route::one_to_one(PathPattern::any(), Upstream::Tcp(server.to_string()));
    let route = Arc::new(route);
    let mut group = criterion.benchmark_group("registry");
    let few = load::only_tested();
    for count in if few { &SESSIONS[..1] } else { &SESSIONS[..] } {
        let count = *count;
        let frozen = Builder::new_current_thread().enable_all().build().unwrap();
        let roots = Roots::default();
        let metrics = Arc::new(Metrics::default());
        let sessions = Sessions::new(TaskTracker::new(), None, roots, &Limits::default(), metrics);
        let key = |number: usize| {
            let value = format!("session-{number}");
            Arc::new(Key::new(&route, Owner::Bearer, [value.as_bytes()]))
        };
        let keys: Vec<_> = (0..count).map(key).collect();
        frozen.block_on(async {
            for key in &keys {
                let opened = sessions.open(key, &Owner::Bearer, None, &route, || offer(server));
                opened.await.unwrap().created.unwrap().kept();
            }
        });
        for threads in THREADS {
            group.throughput(Throughput::Elements(threads as u64));
            let name = BenchmarkId::new(format!("{count} sessions"), format!("{threads} threads"));
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|times| {
                    let (sessions, keys, route) = (&sessions, &keys, &route);
                    let found: Vec<Duration> = std::thread::scope(|scope| {
                        let look = |thread: usize| {
                            move || {
                                let begin = Instant::now();
                                for at in 0..times as usize {
                                    // each goes through all of them in an order of its own
                                    let key = &keys[(at + thread) * 7919 % keys.len()];
                                    let opened = sessions.open(key, &Owner::Bearer, None, route, || offer(server));
                                    let opened = opened.now_or_never().expect("it is there").unwrap();
                                    assert!(opened.created.is_none());
                                }
                                begin.elapsed()
                            }
                        };
                        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(look(thread))).collect();
                        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
                    });
                    found.into_iter().max().unwrap()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, lookups);
criterion_main!(benches);
