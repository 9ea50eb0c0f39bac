//! Where there is one processor for it, sessmux is one thread, beside that which writes the log, and does what it does with
//! more.
#![cfg(target_os = "linux")]

mod common;

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

use common::raw::{Got, Raw, RawAgent};
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

type Log = Lines<BufReader<ChildStderr>>;

/// Starts it on the first processor that there is, and waits until it says where it listens; the log behind that is read by
/// whoever reads it.
fn start(upstream: SocketAddr) -> (Running, SocketAddr, Log) {
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
    (running, address.unwrap(), lines)
}

async fn started(upstream: SocketAddr) -> (Running, SocketAddr, Log) {
    // a thread of its own, for its processors are the child's
    let started = std::thread::spawn(move || start(upstream));
    let joined = tokio::task::spawn_blocking(|| started.join().unwrap());
    soon("the start", joined).await.unwrap()
}

async fn ended(mut running: Running) -> bool {
    let ended = tokio::task::spawn_blocking(move || running.0.wait());
    soon("the end", ended).await.unwrap().unwrap().success()
}

#[tokio::test]
async fn one_thread_relays_replays_and_stops() {
    let agent = RawAgent::start().await;
    let (running, address, lines) = started(agent.address).await;
    let log = std::thread::spawn(move || lines.map(Result::unwrap).collect::<Vec<_>>());

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
    let names = threads.map(|it| std::fs::read_to_string(it.unwrap().path().join("comm")).unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["log\n", "sessmux\n"]);
    kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
    assert_eq!(page.closed().await.0, 1012);
    assert_eq!(server.closed().await.0, 1001);
    assert!(ended(running).await);

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

/// As a terminal that is held, a pager, a log driver that is stuck.
#[tokio::test]
async fn a_reader_of_the_log_that_stands_still_holds_up_nobody() {
    let agent = RawAgent::start().await;
    let (running, address, unread) = started(agent.address).await;
    let mut page = Raw::ask(address, "/ws?session=a", "").await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    // more lines than a pipe holds
    for _ in 0..600 {
        page.close(1001, "").await;
        while page.next().await != Got::End {}
        page = Raw::upgraded(address, "/ws?session=a", "").await;
    }
    page.send("ask").await;
    assert_eq!(server.text().await, "ask");
    server.send("answer").await;
    assert_eq!(page.text().await, "answer");
    kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
    assert!(ended(running).await);
    let told = unread
        .map(Result::unwrap)
        .filter(|line| line.contains(" attach "))
        .count();
    assert!(
        (100..600).contains(&told),
        "{told}: the pipe was full, and nobody read it before the end"
    );
}
