//! sessmux beside nginx and haproxy, each in front of the same agent server: `benches/peers/run`.
//!
//! Figures are ratios within one run. Where a message's cost is measured, everything runs on one processor, for to wake
//! another one of a virtual machine costs more than what is measured; where it is throughput, the proxy has one of its
//! own. In each round each proxy is a fresh process, and all take turns.

#[path = "../load/mod.rs"]
mod load;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use load::agent;
use load::chart::{self, Bars};
use load::process::{self, Process, this};
use load::runs::{self, Figures, Target};

mod proxies;

use proxies::command;

#[derive(Debug, Parser)]
struct Arguments {
    /// How often all is measured; medians are shown.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds that each rate is measured.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only these runs.
    #[arg(long, value_delimiter = ',')]
    runs: Vec<String>,
    /// The sessmux to measure, in place of this one.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sessmux"))]
    sessmux: String,
    /// Where the chart goes.
    #[arg(long, default_value = "target/peers.svg")]
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
    #[command(hide = true)]
    Load {
        run: String,
        address: SocketAddr,
        /// Its process; 0 for none.
        process: u32,
        seconds: f64,
    },
}

/// What is measured; `direct` is the agent server itself.
const NAMES: [&str; 4] = ["sessmux", "nginx", "haproxy", "direct"];

/// Runs, and whether all is on one processor.
const RUNS: [(&str, bool); 10] = [
    ("idle", true),
    ("rtt1", true),
    ("rtt64", true),
    ("paced", true),
    ("stream256", false),
    ("stream16k", false),
    ("churn", true),
    ("churn-same", true),
    ("visits", true),
    ("visits1000", true),
];

/// What is shown: its name, the run and the figure that it is, and whether more of it is better.
const ROWS: [(&str, &str, &str, bool); 12] = [
    ("CPU a message, paced, µs", "paced", "cpu_us", false),
    ("CPU a round trip, 64 pages, µs", "rtt64", "cpu_us", false),
    ("CPU a message, 16 streams of 256 B, µs", "stream256", "cpu_us", false),
    ("16 streams of 256 B, messages a second", "stream256", "rate", true),
    ("16 streams of 16 KiB, MB a second", "stream16k", "mb_s", true),
    ("round trip of one page, µs", "rtt1", "p50_us", false),
    ("the same, without the server's own, µs", "rtt1", "added_us", false),
    ("memory of an idle connection, B", "idle", "bytes", false),
    ("connect to first message, µs", "visits", "first_us", false),
    ("connect to 1,000th message, µs", "visits1000", "all_us", false),
    ("new sessions a second", "churn", "rate", true),
    ("pages that come back a second", "churn-same", "rate", true),
];

/// Figures of each proxy, by run and name.
type Measured = BTreeMap<(&'static str, &'static str, String), Vec<f64>>;

fn main() {
    if load::only_tested() {
        return;
    }
    let arguments = Arguments::parse();
    match &arguments.part {
        Some(Part::Agent { address }) => block_on(async {
            agent::serve(tokio::net::TcpListener::bind(address).await.unwrap()).await;
        }),
        Some(Part::Load {
            run,
            address,
            process,
            seconds,
        }) => {
            let target = Target {
                address: *address,
                process: (*process != 0).then_some(*process),
                time: Duration::from_secs_f64(*seconds),
            };
            for (name, value) in block_on(figures(run, target)).unwrap() {
                println!("{name} {value}");
            }
        }
        None => compare(&arguments),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

async fn figures(run: &str, target: Target) -> std::io::Result<Figures> {
    match run {
        "idle" => runs::idle(target, 5000).await,
        "rtt1" => runs::round_trips(target, 1, 128).await,
        "rtt64" => runs::round_trips(target, 64, 128).await,
        "paced" => runs::streams(target, 100, 256, 200).await,
        "stream256" => runs::streams(target, 16, 256, 0).await,
        "stream16k" => runs::streams(target, 16, 16 * 1024, 0).await,
        "churn" => runs::churn(target, 4000, false).await,
        "churn-same" => runs::churn(target, 4000, true).await,
        "visits" => runs::visits(target, 1).await,
        "visits1000" => runs::visits(target, 1000).await,
        other => panic!("no run is called {other}"),
    }
}

fn compare(arguments: &Arguments) {
    let work = std::env::temp_dir().join(format!("sessmux-peers-{}", std::process::id()));
    std::fs::create_dir_all(&work).unwrap();
    let address = process::free_address();
    let server = Process::start(&this(&["agent", &address.to_string()]), address, Some(1));
    let mut measured = Measured::new();
    for round in 0..arguments.rounds {
        let proxies: Vec<_> = NAMES
            .iter()
            .map(|name| {
                let listen = process::free_address();
                let command = command(name, &arguments.sessmux, listen, server.address, &work);
                (*name, command.map(|command| Process::start(&command, listen, Some(0))))
            })
            .collect();
        for (run, one) in RUNS {
            if !arguments.runs.is_empty() && !arguments.runs.iter().any(|it| it == run) {
                continue;
            }
            // nobody always goes first
            for turn in 0..proxies.len() {
                let (name, proxy) = &proxies[(turn + round) % proxies.len()];
                if let Some(proxy) = proxy {
                    proxy.place(usize::from(one));
                } else if run == "idle" {
                    continue;
                }
                eprintln!("round {} {run} {name}", round + 1);
                for (figure, value) in one_run(run, proxy.as_ref(), &server, arguments.seconds) {
                    measured.entry((run, name, figure)).or_default().push(value);
                }
            }
        }
    }
    drop(server);
    // of configurations that nobody needs any more
    let _ = std::fs::remove_dir_all(&work);
    show(&measured, &arguments.chart);
}

fn one_run(run: &str, proxy: Option<&Process>, server: &Process, seconds: f64) -> Vec<(String, f64)> {
    let address = proxy.map_or(server.address, |proxy| proxy.address).to_string();
    let process = proxy.map_or(0, Process::id).to_string();
    let command = this(&["load", run, &address, &process, &seconds.to_string()]);
    let figure = |line: String| {
        let (name, value) = line.split_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    process::lines(&command, Some(1)).into_iter().map(figure).collect()
}

/// The median of a figure.
fn median(measured: &Measured, run: &'static str, name: &'static str, figure: &str) -> Option<f64> {
    if figure == "added_us" {
        let direct = median(measured, run, "direct", "p50_us")?;
        return (name != "direct").then_some(median(measured, run, name, "p50_us")? - direct);
    }
    if name == "direct" && figure == "cpu_us" {
        return None;
    }
    let mut values = measured.get(&(run, name, figure.to_owned()))?.clone();
    values.sort_unstable_by(f64::total_cmp);
    Some(values[values.len() / 2])
}

/// Prints the table, and writes the chart.
fn show(measured: &Measured, path: &std::path::Path) {
    println!("| | sessmux | nginx | haproxy | no proxy | sessmux / nginx | sessmux / haproxy |");
    println!("|---|---|---|---|---|---|---|");
    let mut groups = Vec::new();
    for (label, run, figure, more) in ROWS {
        let of = |name| median(measured, run, name, figure);
        let (Some(ours), Some(nginx), Some(haproxy)) = (of("sessmux"), of("nginx"), of("haproxy")) else {
            continue;
        };
        let direct = of("direct").map_or_else(String::new, shown);
        let ratios = [ours / nginx, ours / haproxy];
        println!(
            "| {label} | {} | {} | {} | {direct} | {:.2} | {:.2} |",
            shown(ours),
            shown(nginx),
            shown(haproxy),
            ratios[0],
            ratios[1]
        );
        // shorter bars are better throughout
        let (label, values) = if more {
            (format!("1 / {label}"), ratios.map(f64::recip))
        } else {
            (label.to_owned(), ratios)
        };
        groups.push(Bars {
            label,
            values: values.into(),
        });
    }
    let series = ["sessmux / nginx".to_owned(), "sessmux / haproxy".to_owned()];
    let bars = chart::bars("sessmux beside nginx and haproxy: less is better", &series, &groups);
    chart::write(path, &bars).unwrap();
    println!("\n{}", path.display());
}

fn shown(value: f64) -> String {
    match value {
        large if large >= 1000.0 => {
            let digits = format!("{large:.0}");
            let (start, rest) = digits.split_at(digits.len() % 3);
            let rest = rest.as_bytes().chunks(3).map(|part| std::str::from_utf8(part).unwrap());
            let parts: Vec<_> = [start].into_iter().filter(|it| !it.is_empty()).chain(rest).collect();
            parts.join(",")
        }
        medium if medium >= 10.0 => format!("{medium:.1}"),
        small => format!("{small:.2}"),
    }
}
