//! Messages through a real proxy on loopback, beside the same without one: either way as fast as they go, and to and fro
//! one at a time.

#[path = "../tests/common/mod.rs"]
mod common;
mod load;

use std::net::SocketAddr;
use std::time::Instant;

use common::{Proxy, route};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use load::agent;
use load::wire::{Socket, message};
use sessmux::config::KeySource;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// Sizes of payloads, in bytes.
const SIZES: [usize; 5] = [64, 256, 1 << 10, 16 << 10, 1 << 20];
/// A page writes so many bytes at a time.
const BATCH: usize = 64 << 10;

/// Where pages connect to, by name.
fn places(runtime: &Runtime) -> [(&'static str, SocketAddr); 2] {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(agent::serve(listener));
        let mut route = route(server, vec![KeySource::QueryParam("session".into())]);
        (route.max_message, route.log_bytes) = (16 << 20, 8 << 20);
        let proxy = Proxy::start(route).await;
        let address = proxy.address;
        // for as long as the benches run
        std::mem::forget(proxy);
        [("sessmux", address), ("no proxy", server)]
    })
}

fn relay(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let places = places(&runtime);
    let pages = Builder::new_current_thread().enable_all().build().unwrap();
    for size in SIZES {
        for (name, address) in places {
            let open = || pages.block_on(Socket::open(address, &format!("/ws?session={size}")));
            let mut page = open().unwrap();
            page.widen(256 << 10);

            let mut group = criterion.benchmark_group("relay to the page");
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter_custom(|times| {
                    pages.block_on(async {
                        let begin = Instant::now();
                        page.send(format!("say {times} {size} 0").as_bytes()).await.unwrap();
                        page.skip(times).await.unwrap();
                        begin.elapsed()
                    })
                });
            });
            group.finish();

            let mut group = criterion.benchmark_group("relay to the server");
            group.throughput(Throughput::Bytes(size as u64));
            let batch = (BATCH / size).max(1);
            let one = message(true, &b"hush".repeat(size / 4));
            let batched = one.repeat(batch);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter_custom(|times| {
                    pages.block_on(async {
                        let begin = Instant::now();
                        for _ in 0..times / batch as u64 {
                            page.write(&batched).await.unwrap();
                        }
                        for _ in 0..times % batch as u64 {
                            page.write(&one).await.unwrap();
                        }
                        // the echo says that the server has read them all
                        page.send(b"that was all").await.unwrap();
                        assert_eq!(page.next().await.unwrap(), b"that was all");
                        begin.elapsed()
                    })
                });
            });
            group.finish();

            let mut group = criterion.benchmark_group("relay to and fro");
            let echoed = message(true, &vec![b'e'; size]);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter_custom(|times| {
                    pages.block_on(async {
                        let begin = Instant::now();
                        for _ in 0..times {
                            page.write(&echoed).await.unwrap();
                            assert_eq!(page.next().await.unwrap().len(), size);
                        }
                        begin.elapsed()
                    })
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, relay);
criterion_main!(benches);
