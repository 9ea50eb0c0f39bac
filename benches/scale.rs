//! Whether sessions cost the same however many there are: a message, a page that comes back, memory; and whether full logs
//! slow those beside them. Prints a table for each, and writes plots.
//!
//! A real sessmux as a process of its own is measured, in front of an agent server that is another one.

mod load;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use load::agent;
use load::chart::{self, Plot};
use load::process::{self, Process, this};
use load::runs::quantile;
use load::wire::Socket;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

/// How many messages a second all sessions exchange together.
const RATE: usize = 2_000;
/// Messages at a time of that rate.
const AT_A_TIME: usize = 10;
/// How often a page comes back.
const VISITS: usize = 200;
/// Messages of 256 bytes that each session has to replay.
const RETAINED: usize = 10;
/// Handshakes one after the other are too slow for many sessions.
const OPENERS: usize = 16;
/// Sessions with a full log, its size in bytes, and that of their messages.
const FULL: usize = 100;
const LOG: usize = 2 << 20;
const MESSAGE: usize = 1 << 10;
/// Messages a second of each of these.
const FULL_RATE: u64 = 50;

#[derive(Debug, Parser)]
struct Arguments {
    /// Numbers of sessions; each takes two file descriptors of sessmux, and one each of its peers.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1_000, 8_000])]
    sessions: Vec<usize>,
    /// Seconds that each rate is measured.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The sessmux to measure, in place of this one.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sessmux"))]
    sessmux: String,
    /// Where the plots go.
    #[arg(long, default_value = "target/scale.svg")]
    chart: PathBuf,
    /// What cargo passes.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What this program does as a process beside itself.
#[derive(Debug, Subcommand)]
enum Part {
    #[command(hide = true)]
    Agent { address: SocketAddr },
}

fn main() {
    if load::only_tested() {
        return;
    }
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap();
    if let Some(Part::Agent { address }) = arguments.part {
        return runtime.block_on(async {
            agent::serve(TcpListener::bind(address).await.unwrap()).await;
        });
    }
    // as many as the system grants
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let time = Duration::from_secs_f64(arguments.seconds);
    let address = process::free_address();
    let server = Process::start(&this(&["agent", &address.to_string()]), address, None);
    let start = |more: &[String]| proxy(&arguments.sessmux, server.address, more);

    println!(
        "| sessions | CPU a message, µs | CPU of quiet sessions, % | reattach p50, µs | p99, µs | memory a session with page, B | without, B |"
    );
    println!("|---|---|---|---|---|---|---|");
    let found: Vec<_> = arguments
        .sessions
        .iter()
        .map(|&sessions| {
            let found = runtime.block_on(many(&start(&[]), sessions, time)).unwrap();
            println!("{}", found.row());
            found
        })
        .collect();

    println!("\n| {FULL} sessions | CPU a message, µs | round trip beside p50, µs | p99, µs |\n|---|---|---|---|");
    // empty is what has room for all that is said meanwhile
    let room = LOG * 8;
    let full = [("whose logs fill", room, false), ("whose logs are full", LOG, true)].map(|(name, log, fill)| {
        let proxy = start(&[format!("--log-bytes={log}"), "--max-buffered=4GiB".into()]);
        let [cpu, p50, p99] = runtime.block_on(beside(&proxy, fill, time)).unwrap();
        println!("| {name} | {cpu:.1} | {p50:.0} | {p99:.0} |");
        cpu
    });
    println!("\nfull / filling: {:.2}", full[1] / full[0]);
    chart::write(&arguments.chart, &plots(&found)).unwrap();
    println!("\n{}", arguments.chart.display());
}

fn proxy(sessmux: &str, server: SocketAddr, more: &[String]) -> Process {
    let listen = process::free_address();
    let mut command = vec![
        sessmux.to_owned(),
        format!("--listen={listen}"),
        format!("--upstream=http://{server}"),
        "--key=query:session".to_owned(),
        "--log=error".to_owned(),
    ];
    command.extend_from_slice(more);
    Process::start(&command, listen, None)
}

/// What was found with so many sessions.
struct Found {
    sessions: usize,
    cpu_us: f64,
    quiet_percent: f64,
    back_p50: f64,
    back_p99: f64,
    attached: f64,
    detached: f64,
}

impl Found {
    fn row(&self) -> String {
        format!(
            "| {} | {:.1} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0} |",
            self.sessions, self.cpu_us, self.quiet_percent, self.back_p50, self.back_p99, self.attached, self.detached
        )
    }
}

fn place(session: usize) -> String {
    format!("/ws?session={session}&first={RETAINED}")
}

/// A page for each session from `first` to `sessions`, `OPENERS` apart; it has read all that is replayed.
async fn open(address: SocketAddr, first: usize, sessions: usize) -> std::io::Result<Vec<(usize, Socket)>> {
    let mut pages = Vec::new();
    for session in (first..sessions).step_by(OPENERS) {
        let mut page = Socket::open(address, &place(session)).await?;
        page.skip(RETAINED as u64).await?;
        pages.push((session, page));
    }
    Ok(pages)
}

async fn many(proxy: &Process, sessions: usize, time: Duration) -> std::io::Result<Found> {
    let before = process::memory(proxy.id());
    let mut opening = JoinSet::new();
    (0..OPENERS).for_each(|first| drop(opening.spawn(open(proxy.address, first, sessions))));
    let opened: std::io::Result<Vec<_>> = opening.join_all().await.into_iter().collect();
    let mut pages: Vec<_> = opened?.into_iter().flatten().collect();
    sleep(Duration::from_secs(1)).await;
    let each = |held: u64| (held - before) as f64 / sessions as f64;
    let attached = each(process::memory(proxy.id()));

    let (used, begin) = (process::cpu(proxy.id()), Instant::now());
    sleep(time).await;
    let quiet = (process::cpu(proxy.id()) - used).as_secs_f64() / begin.elapsed().as_secs_f64();

    // every session in its turn
    let (used, begin) = (process::cpu(proxy.id()), Instant::now());
    let (mut said, mut pace) = (0, interval(Duration::from_secs(1) / (RATE / AT_A_TIME) as u32));
    while begin.elapsed() < time {
        pace.tick().await;
        for turn in said..said + AT_A_TIME {
            pages[turn % sessions].1.send(&[b'e'; agent::FIRST]).await?;
        }
        for turn in said..said + AT_A_TIME {
            pages[turn % sessions].1.next().await?;
        }
        said += AT_A_TIME;
    }
    let used = (process::cpu(proxy.id()) - used).as_secs_f64() - quiet * begin.elapsed().as_secs_f64();
    let cpu_us = used * 1e6 / said as f64;

    let mut times = Vec::new();
    for visit in 0..VISITS {
        // each time another
        let (session, page) = pages.swap_remove(visit * 7919 % sessions);
        page.leave().await?;
        let begin = Instant::now();
        let mut page = Socket::open(proxy.address, &place(session)).await?;
        page.next().await?;
        pages.push((session, page));
        times.push(begin.elapsed());
    }
    let (back_p50, back_p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));

    for (_, page) in pages {
        page.leave().await?;
    }
    sleep(Duration::from_secs(1)).await;
    Ok(Found {
        sessions,
        cpu_us,
        quiet_percent: quiet * 100.0,
        back_p50,
        back_p99,
        attached,
        detached: each(process::memory(proxy.id())),
    })
}

/// Many sessions whose logs are `full`, or have room, and what they cost each other: processor time a message, and the
/// round trips of one beside them.
async fn beside(proxy: &Process, full: bool, time: Duration) -> std::io::Result<[f64; 3]> {
    let mut reading = JoinSet::new();
    let (told, mut ready) = tokio::sync::mpsc::channel(FULL);
    for session in 0..FULL {
        let mut page = Socket::open(proxy.address, &format!("/ws?session=full-{session}")).await?;
        let told = told.clone();
        reading.spawn(async move {
            let fill = if full { (LOG / MESSAGE) as u64 * 2 } else { 0 };
            page.send(format!("say {fill} {MESSAGE} 0").as_bytes()).await?;
            page.skip(fill).await?;
            page.send(format!("say {} {MESSAGE} {FULL_RATE}", u32::MAX).as_bytes())
                .await?;
            page.next().await?;
            let _ = told.send(()).await;
            page.skip(u64::MAX).await
        });
    }
    for _ in 0..FULL {
        ready.recv().await;
    }
    let mut page = Socket::open(proxy.address, "/ws?session=beside").await?;
    let (used, begin) = (process::cpu(proxy.id()), Instant::now());
    let (mut times, mut pace) = (Vec::new(), interval(Duration::from_millis(5)));
    while begin.elapsed() < time {
        pace.tick().await;
        let begin = Instant::now();
        page.send(b"beside").await?;
        page.next().await?;
        times.push(begin.elapsed());
    }
    let used = (process::cpu(proxy.id()) - used).as_secs_f64();
    let messages = begin.elapsed().as_secs_f64() * (FULL as u64 * FULL_RATE) as f64 + times.len() as f64;
    reading.shutdown().await;
    Ok([
        used * 1e6 / messages,
        quantile(&mut times, 0.5),
        quantile(&mut times, 0.99),
    ])
}

fn plots(found: &[Found]) -> String {
    let line = |name: &str, of: fn(&Found) -> f64| {
        let points = found.iter().map(|found| (found.sessions as f64, of(found)));
        (name.to_owned(), points.collect())
    };
    let plots = [
        Plot {
            title: "processor time a message, µs".into(),
            lines: vec![line("", |found| found.cpu_us)],
        },
        Plot {
            title: "connect to first replayed message, median, µs".into(),
            lines: vec![line("", |found| found.back_p50)],
        },
        Plot {
            title: "memory a session, bytes".into(),
            lines: vec![
                line("with page", |found| found.attached),
                line("without", |found| found.detached),
            ],
        },
        Plot {
            title: "processor time of quiet sessions, % of one".into(),
            lines: vec![line("", |found| found.quiet_percent)],
        },
    ];
    chart::plots("What sessions cost, by how many there are", "sessions", &plots)
}
