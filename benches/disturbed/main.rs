//! What attacks cost a well-behaved session beside them: round trips of one message, calm and amid each attack.
//!
//! Prints a table: medians and 99th percentiles in µs, each the median of several turns of calm and attack, and the ratio
//! of the latter; beside nginx and haproxy too, where they are installed. Attackers have a thread of their own, and so has
//! the agent server that they reach; they share two cores with everything else here, and so does the kernel's work for
//! them. `straight` tells what of it is nobody's doing: without a proxy, a page and a thread of its own beside attackers
//! and the server that they attack.

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../load/mod.rs"]
mod load;
#[path = "../peers/proxies.rs"]
mod proxies;

mod agent;
mod attacks;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use attacks::{ATTACKS, Attack};
use common::raw::{Pair, Raw, RawAgent};
use load::process::{Process, free_address};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

/// How often each attack is measured, and for how long.
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(2);
/// How long an attack takes to begin, and what it leaves to go.
const SETTLE: Duration = Duration::from_millis(500);

/// Between a page's round trips.
const LONGEST_WAIT: Duration = Duration::from_millis(10);
/// Its multiples, without their whole parts, are spread evenly.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// A page, its server, and what is attacked beside them.
struct Beside {
    name: &'static str,
    attacked: SocketAddr,
    pair: Pair,
    _proxy: Option<Process>,
}

fn main() {
    // `cargo test --benches` wants to know only that it builds
    if load::only_tested() {
        return;
    }
    let work = std::env::temp_dir().join(format!("sessmux-disturbed-{}", std::process::id()));
    std::fs::create_dir_all(&work).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut all: Vec<_> = ["sessmux", "nginx", "haproxy", "straight"]
        .into_iter()
        .filter(|name| matches!(*name, "sessmux" | "straight") || is_installed(name))
        .map(|name| runtime.block_on(start(name, &work)))
        .collect();
    println!(
        "{:18} {:10} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "attack", "beside", "calm p50", "amid p50", "calm p99", "amid p99", "ratio"
    );
    for attack in ATTACKS {
        let mut measured: Vec<_> = all.iter_mut().map(|beside| (beside, Vec::new())).collect();
        // in turn, so that what else the machine does meets all
        for _ in 0..ROUNDS {
            for (beside, rounds) in &mut measured {
                let calm = runtime.block_on(round_trips(&mut beside.pair));
                rounds.push((calm, amid(&runtime, &attack, beside)));
            }
        }
        for (beside, rounds) in &measured {
            show(attack.name, beside.name, rounds);
        }
    }
    drop(all);
    // of configurations that nobody needs any more
    let _ = std::fs::remove_dir_all(&work);
}

fn show(attack: &str, name: &str, rounds: &[(Times, Times)]) {
    let median = |of: &dyn Fn(&(Times, Times)) -> u128| {
        let mut all: Vec<_> = rounds.iter().map(of).collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    let (calm, amid) = (median(&|it| it.0.p99), median(&|it| it.1.p99));
    println!(
        "{attack:18} {name:10} {:>9} {:>9} {calm:>9} {amid:>9} {:>9.2}",
        median(&|it| it.0.p50),
        median(&|it| it.1.p50),
        amid as f64 / calm as f64
    );
}

fn is_installed(name: &str) -> bool {
    let asked = Command::new(name)
        .arg("-v")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if asked.is_err() {
        eprintln!("{name} is not installed, and not measured");
    }
    asked.is_ok()
}

async fn start(name: &'static str, work: &Path) -> Beside {
    let agent = RawAgent::start().await;
    let listen = free_address();
    let command = proxies::command(name, env!("CARGO_BIN_EXE_sessmux"), listen, agent.address, work);
    let proxy = command.map(|command| {
        let proxy = Process::start(&command, listen, None);
        // it tried whether the proxy listens, with a connection that nobody may take for a page's
        std::thread::sleep(SETTLE);
        proxy
    });
    let page = proxy.as_ref().map_or(agent.address, |proxy| proxy.address);
    let mut page = Raw::ask(page, "/ws?session=beside", "").await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    let attacked = proxy.as_ref().map_or(agent.address, |proxy| proxy.address);
    agent::serve(agent.into_listener());
    Beside {
        name,
        attacked,
        pair: Pair { page, server },
        _proxy: proxy,
    }
}

/// Round trips while an attack goes on.
fn amid(runtime: &Runtime, attack: &Attack, beside: &mut Beside) -> Times {
    let attackers = Builder::new_current_thread().enable_all().build().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (address, run) = (beside.attacked, attack.run);
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
        round_trips(&mut beside.pair).await
    });
    // one that has ended needs no telling
    let _ = stop.send(());
    thread.join().unwrap();
    // what it leaves behind has gone
    runtime.block_on(async { sleep(SETTLE).await });
    times
}

/// Median and 99th percentile of round trips, page to server and back, 200 a second.
async fn round_trips(pair: &mut Pair) -> Times {
    let mut times = Vec::new();
    let (end, mut part) = (Instant::now() + TIME, 0.0);
    while Instant::now() < end {
        // waits of all lengths by turns, none in step with attackers; nothing else is this thread's
        part = (part + GOLDEN) % 1.0;
        std::thread::sleep(LONGEST_WAIT.mul_f64(part));
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
