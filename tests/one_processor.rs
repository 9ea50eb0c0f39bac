//! Where there is one processor for it, sessmux is one thread, and does what it does with more.
#![cfg(target_os = "linux")]

mod common;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use common::raw::{Raw, RawAgent};
use common::soon;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The process; it is ended when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it on the first processor that there is, and waits until it says where it listens; what it logs behind that is
/// told once it has ended.
fn start(upstream: SocketAddr) -> (Running, SocketAddr, JoinHandle<Vec<String>>) {
    // a child has its thread's, and this thread is the call's own
    let all = sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap());
    sched_setaffinity(None, &one).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_sessmux"))
        .args([
            "--listen=127.0.0.1:0",
            "--key=query:session",
            "--admin=off",
            "--drain-timeout=0",
        ])
        .arg(format!("--upstream=http://{upstream}"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let address = lines.find_map(|line| {
        let line = line.unwrap();
        line.split_once("listening on http://")?
            .1
            .split(',')
            .next()?
            .parse()
            .ok()
    });
    let log = std::thread::spawn(move || lines.map(Result::unwrap).collect());
    (running, address.unwrap(), log)
}

#[tokio::test]
async fn one_thread_relays_replays_and_stops() {
    let agent = RawAgent::start().await;
    let upstream = agent.address;
    let started = std::thread::spawn(move || start(upstream));
    let joined = tokio::task::spawn_blocking(|| started.join().unwrap());
    let (mut running, address, log) = soon("the start", joined).await.unwrap();

    let mut page = Raw::ask(address, "/ws?session=a", "").await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    server.send("one").await;
    assert_eq!(page.text().await, "one");
    page.cut();
    server.send("two").await;
    let mut page = Raw::upgraded(address, "/ws?session=a", "").await;
    while page.text().await != "two" {}
    page.send("three").await;
    assert_eq!(server.text().await, "three");

    let id = running.0.id();
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
    assert_eq!(threads.count(), 1);
    kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
    assert_eq!(page.closed().await.0, 1012);
    assert_eq!(server.closed().await.0, 1001);
    let ended = tokio::task::spawn_blocking(move || running.0.wait());
    assert!(soon("the end", ended).await.unwrap().unwrap().success());

    // lines that waited for others when it ended are there as well
    let log = soon("the log", tokio::task::spawn_blocking(|| log.join())).await;
    let log = log.unwrap().unwrap();
    let told: Vec<_> = log
        .iter()
        .filter_map(|line| Some(line.split_once(" INFO ")?.1.split_once(" session=")?.0))
        .collect();
    assert_eq!(
        told,
        ["new session", "attach", "detach", "attach", "detach", "end"],
        "{log:#?}"
    );
}
