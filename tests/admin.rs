//! The admin surface: what it answers, to whom, and that it stands apart from the traffic.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::capture::Log;
use common::raw::Raw;
use common::{Proxy, route, soon};
use sessmux::admin::Admin;
use sessmux::config::{self, KeySource};
use sessmux::metrics::{Metrics, Rule};
use sessmux::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("admin-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

struct Running {
    stopping: CancellationToken,
    metrics: Arc<Metrics>,
    admin: Option<std::net::SocketAddr>,
    done: JoinHandle<()>,
    stop: DropGuard,
}

/// Beside a server that nobody asks.
async fn start(address: &config::Admin) -> std::io::Result<Running> {
    let (stopping, stop) = (CancellationToken::new(), CancellationToken::new());
    let config = common::config(route("127.0.0.1:9".parse().unwrap(), vec![KeySource::Path]));
    let server = Server::bind(config).await?;
    let admin = Admin::bind(address, &server, stopping.clone()).await?.unwrap();
    Ok(Running {
        stopping,
        metrics: server.metrics(),
        admin: admin.local_addr(),
        done: tokio::spawn(admin.run(stop.clone())),
        stop: stop.drop_guard(),
    })
}

/// Asks, and returns the whole answer.
async fn ask(mut socket: impl AsyncReadExt + AsyncWriteExt + Unpin, request: &str, host: &str) -> String {
    let request = format!("{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("the answer", socket.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn a_unix_socket_is_its_owners_alone_and_goes_with_the_process() {
    let path = folder("mode").join("admin.sock");
    let running = start(&config::Admin::Unix(path.clone())).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let socket = UnixStream::connect(&path).await.unwrap();
    assert!(ask(socket, "GET /live", "x").await.starts_with("HTTP/1.1 200 "));
    drop(running.stop);
    soon("the end", running.done).await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_that_a_crash_left_is_taken_over_and_one_in_use_is_not() {
    let path = folder("leftover").join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let running = start(&config::Admin::Unix(path.clone())).await.unwrap();
    let taken = start(&config::Admin::Unix(path.clone())).await.err().unwrap();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    let socket = UnixStream::connect(&path).await.unwrap();
    assert!(ask(socket, "GET /ready", "x").await.starts_with("HTTP/1.1 200 "));
    drop(running);

    // a file that is no socket is somebody's
    let file = folder("leftover").join("notes.txt");
    std::fs::write(&file, "mine").unwrap();
    assert!(start(&config::Admin::Unix(file.clone())).await.is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

#[tokio::test]
async fn readiness_ends_when_stopping_begins_and_liveness_does_not() {
    let running = start(&config::Admin::Tcp("127.0.0.1:0".parse().unwrap()))
        .await
        .unwrap();
    let address = running.admin.unwrap();
    let get = async |path: &str| {
        let socket = TcpStream::connect(address).await.unwrap();
        let answer = ask(socket, &format!("GET {path}"), "127.0.0.1").await;
        answer[9..12].to_owned()
    };
    assert_eq!((get("/live").await, get("/ready").await), ("200".into(), "200".into()));
    running.stopping.cancel();
    assert_eq!((get("/live").await, get("/ready").await), ("200".into(), "503".into()));
    assert_eq!(get("/sessions/../metrics").await, "404");
    assert_eq!(get("/other").await, "404");
}

#[tokio::test]
async fn what_is_no_socket_stays_where_it_is() {
    let path = folder("file").join("a.sock");
    std::fs::write(&path, "something of somebody's").unwrap();
    let error = start(&config::Admin::Unix(path.clone())).await.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "something is there already, and it is no socket");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "something of somebody's");
}

#[tokio::test]
async fn a_page_that_rebinds_its_name_to_this_machine_reads_nothing() {
    let running = start(&config::Admin::Tcp("127.0.0.1:0".parse().unwrap()))
        .await
        .unwrap();
    let socket = TcpStream::connect(running.admin.unwrap()).await.unwrap();
    let answer = ask(socket, "GET /metrics", "evil.example").await;
    assert!(
        answer.starts_with("HTTP/1.1 421 ") && !answer.contains("sessmux_"),
        "{answer}"
    );
    let socket = TcpStream::connect(running.admin.unwrap()).await.unwrap();
    assert!(
        ask(socket, "POST /metrics", "127.0.0.1")
            .await
            .starts_with("HTTP/1.1 405 ")
    );
}

#[tokio::test]
async fn the_health_port_tells_and_does_nothing() {
    let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
    let config = common::config(route("127.0.0.1:9".parse().unwrap(), vec![KeySource::Path]));
    let server = Server::bind(config).await.unwrap();
    let health = Admin::bind_health("127.0.0.1:0".parse().unwrap(), &server, drain.clone()).await;
    let health = health.unwrap();
    let address = health.local_addr().unwrap();
    let running = tokio::spawn(health.run(stop.clone()));
    let status = async |request: &str, host: &str| {
        let answer = ask(TcpStream::connect(address).await.unwrap(), request, host).await;
        answer[9..12].to_owned()
    };
    let log = Log::capture();
    for path in ["/live", "/ready", "/metrics"] {
        assert_eq!(status(&format!("GET {path}"), "127.0.0.1").await, "200", "{path}");
        assert_eq!(status(&format!("GET {path}"), "evil.example").await, "421", "{path}");
    }
    // whoever asks often fills no log
    log.says(&["health: host", "evil.example"]).await;
    let told = ask(TcpStream::connect(address).await.unwrap(), "GET /metrics", "127.0.0.1").await;
    assert!(told.contains("\nsessmux_refused_total{rule=\"host\"} 3\n"), "{told}");
    for request in [
        "GET /sessions",
        "GET /sessions/0a1b2c3d",
        "DELETE /sessions/0a1b2c3d",
        "POST /drain",
        "POST /reload",
    ] {
        assert_eq!(status(request, "127.0.0.1").await, "404", "{request}");
    }
    // as probes of HTTP/1.0 ask
    let mut probe = TcpStream::connect(address).await.unwrap();
    probe.write_all(b"GET /ready HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon("the answer", probe.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    assert!(!drain.is_cancelled());
    drain.cancel();
    assert_eq!(status("GET /ready", "127.0.0.1").await, "503");
    assert_eq!(status("GET /live", "127.0.0.1").await, "200");
    stop.cancel();
    soon("the end", running).await.unwrap();
}

#[tokio::test]
async fn of_too_many_connections_the_oldest_is_closed_and_who_asks_is_answered() {
    let log = Log::capture();
    let running = start(&config::Admin::Tcp("127.0.0.1:0".parse().unwrap()))
        .await
        .unwrap();
    let address = running.admin.unwrap();
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let asked = ask(TcpStream::connect(address).await.unwrap(), "GET /metrics", "127.0.0.1").await;
    let count = "\nsessmux_refused_total{rule=\"admin_connections\"} 1\n";
    assert!(asked.contains(count), "{asked}");
    log.says(&["WARN", "closed the oldest", "most=64"]).await;
    let oldest = soon("the end", silent[0].read(&mut [0])).await.unwrap();
    assert_eq!(oldest, 0);
    // the next is there as before
    let next = silent.swap_remove(1);
    assert!(ask(next, "GET /live", "127.0.0.1").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn metrics_are_told_as_text() {
    let running = start(&config::Admin::Tcp("127.0.0.1:0".parse().unwrap()))
        .await
        .unwrap();
    running.metrics.refused(Rule::Origin);
    let socket = TcpStream::connect(running.admin.unwrap()).await.unwrap();
    let answer = ask(socket, "GET /metrics", "localhost").await;
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("\nsessmux_refused_total{rule=\"origin\"} 1\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_refused_page_is_counted_by_the_rule_that_refused_it() {
    let proxy = Proxy::start(route("127.0.0.1:9".parse().unwrap(), vec![KeySource::Path])).await;
    let mut page = Raw::ask(proxy.address, "/ws", "Origin: https://evil.example\r\n").await;
    assert_eq!(page.answered().await.0, 403);
    assert_eq!((proxy.refused(Rule::Origin), proxy.refused(Rule::Host)), (1, 0));
}
