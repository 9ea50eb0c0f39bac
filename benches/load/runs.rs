//! What pages do to be measured; each run gives figures by name.

use std::io::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::agent;
use super::process;
use super::wire::{Socket, message};

/// How long connections go on before they are measured.
const WARM: Duration = Duration::from_millis(500);
/// Handshakes at a time, where many connections are made.
const AT_A_TIME: usize = 32;
/// Bytes that a page asks for at a time, where they come as fast as they can.
const ASKED: usize = 64_000_000;
/// How often a page comes back.
const VISITS: usize = 200;

/// Figures by name.
pub type Figures = Vec<(&'static str, f64)>;

/// Whom pages speak with.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// A proxy's address, or the agent server's.
    pub address: SocketAddr,
    /// The proxy's process, if there is one.
    pub process: Option<u32>,
    /// How long is measured.
    pub time: Duration,
}

impl Target {
    /// The page of session `id`.
    async fn page(&self, id: impl std::fmt::Display) -> Result<Socket> {
        Socket::open(self.address, &format!("/ws?session={id}")).await
    }

    /// Pages of as many sessions, named after what is measured.
    async fn pages(&self, run: &str, count: usize) -> Result<Vec<Socket>> {
        let gate = Arc::new(Semaphore::new(AT_A_TIME));
        let mut opening = JoinSet::new();
        for id in 0..count {
            let (target, gate) = (*self, Arc::clone(&gate));
            let id = format!("{run}-{id}");
            opening.spawn(async move {
                let _turn = gate.acquire().await;
                target.page(id).await
            });
        }
        opening.join_all().await.into_iter().collect()
    }

    /// What the proxy has used.
    fn cpu(&self) -> Duration {
        self.process.map_or(Duration::ZERO, process::cpu)
    }

    /// Lets `count` go on for the time; how far it came, and what the proxy used for each, in µs.
    async fn measure(&self, count: &AtomicU64) -> (f64, f64, f64) {
        sleep(WARM).await;
        let (counted, used, begin) = (count.load(Ordering::Relaxed), self.cpu(), Instant::now());
        sleep(self.time).await;
        let took = begin.elapsed().as_secs_f64();
        let used = (self.cpu() - used).as_secs_f64();
        let counted = (count.load(Ordering::Relaxed) - counted) as f64;
        (counted, counted / took, used * 1e6 / counted)
    }
}

/// The value below which this part of `times` lies, in µs.
pub fn quantile(times: &mut [Duration], part: f64) -> f64 {
    times.sort_unstable();
    let at = (times.len() as f64 * part) as usize;
    times[at.min(times.len() - 1)].as_secs_f64() * 1e6
}

/// One message at a time to and fro, on each of `pages` sessions.
pub async fn round_trips(target: Target, pages: usize, size: usize) -> Result<Figures> {
    let count = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for mut page in target.pages("trips", pages).await? {
        let (count, said) = (Arc::clone(&count), vec![b'r'; size]);
        tasks.spawn(async move {
            let frame = message(true, &said);
            let mut times = Vec::new();
            let end = Instant::now() + WARM + target.time;
            while Instant::now() < end {
                let begin = Instant::now();
                page.write(&frame).await?;
                assert_eq!(page.next().await?, said, "it is the echo");
                times.push(begin.elapsed());
                count.fetch_add(1, Ordering::Relaxed);
            }
            page.cut();
            Result::Ok(times)
        });
    }
    let (_, rate, cpu) = target.measure(&count).await;
    let times: Result<Vec<_>> = tasks.join_all().await.into_iter().collect();
    let mut times = times?.concat();
    Ok(vec![
        ("cpu_us", cpu),
        ("rate", rate),
        ("p50_us", quantile(&mut times, 0.5)),
        ("p99_us", quantile(&mut times, 0.99)),
    ])
}

/// Messages from the server on each of `pages` sessions, `rate` a second, or as fast as they go where that is 0; their
/// order is checked.
pub async fn streams(target: Target, pages: usize, size: usize, rate: u64) -> Result<Figures> {
    let count = Arc::new(AtomicU64::new(0));
    let each = if rate == 0 {
        (ASKED / size) as u64
    } else {
        u64::from(u32::MAX)
    };
    let mut tasks = JoinSet::new();
    for mut page in target.pages("streams", pages).await? {
        page.widen(256 * 1024);
        let count = Arc::clone(&count);
        tasks.spawn(async move {
            let end = Instant::now() + WARM + target.time;
            let ask = format!("say {each} {size} {rate}");
            'asked: loop {
                page.send(ask.as_bytes()).await?;
                for wanted in 0..each {
                    let payload = page.next().await?;
                    assert_eq!(agent::number(payload), Some(wanted), "messages come in order");
                    assert_eq!(payload.len(), size);
                    count.fetch_add(1, Ordering::Relaxed);
                    if wanted % 16 == 0 && Instant::now() >= end {
                        break 'asked;
                    }
                }
            }
            page.cut();
            Result::Ok(())
        });
    }
    let (_, per_second, cpu) = target.measure(&count).await;
    let done: Result<Vec<()>> = tasks.join_all().await.into_iter().collect();
    done?;
    Ok(vec![
        ("cpu_us", cpu),
        ("rate", per_second),
        ("mb_s", per_second * size as f64 / 1e6),
    ])
}

/// Pages that come, get one message and leave, eight at a time: each has a session of its own, or comes back to one of eight.
pub async fn churn(target: Target, count: usize, same: bool) -> Result<Figures> {
    let (begin, used) = (Instant::now(), target.cpu());
    let mut tasks = JoinSet::new();
    for worker in 0..8 {
        tasks.spawn(async move {
            for visit in 0..count / 8 {
                // the server says a message of itself, which whoever comes back is replayed
                let mut page = if same {
                    target.page(format!("again-{worker}&first=1")).await?
                } else {
                    target.page(format!("churn-{worker}-{visit}")).await?
                };
                if !same {
                    page.send(b"hello").await?;
                }
                page.next().await?;
                page.leave().await?;
            }
            Result::Ok(())
        });
    }
    let done: Result<Vec<()>> = tasks.join_all().await.into_iter().collect();
    done?;
    let used = (target.cpu() - used).as_secs_f64();
    Ok(vec![
        ("rate", count as f64 / begin.elapsed().as_secs_f64()),
        ("cpu_us", used * 1e6 / count as f64),
    ])
}

/// Sessions that have exchanged one message of 1 KiB and are quiet.
pub async fn idle(target: Target, count: usize) -> Result<Figures> {
    let process = target.process.expect("it is a proxy that holds memory");
    let before = process::memory(process);
    let mut pages = target.pages("idle", count).await?;
    for page in &mut pages {
        page.send(&[b'i'; 1024]).await?;
        page.next().await?;
    }
    sleep(target.time).await;
    let held = process::memory(process) - before;
    pages.into_iter().for_each(Socket::cut);
    Ok(vec![("bytes", held as f64 / count as f64)])
}

/// From connect to the first message of a page that comes back, and to the last of `messages`. Where no proxy keeps them,
/// the server says them anew.
pub async fn visits(target: Target, messages: u64) -> Result<Figures> {
    let place = format!("/ws?session=visits-{messages}&first={messages}");
    let (mut first, mut all) = (Vec::new(), Vec::new());
    for visit in 0..=VISITS {
        let begin = Instant::now();
        let mut page = Socket::open(target.address, &place).await?;
        page.next().await?;
        let to_first = begin.elapsed();
        page.skip(messages - 1).await?;
        // the first visit makes the session
        if visit > 0 {
            first.push(to_first);
            all.push(begin.elapsed());
        }
        page.leave().await?;
    }
    Ok(vec![
        ("first_us", quantile(&mut first, 0.5)),
        ("all_us", quantile(&mut all, 0.5)),
    ])
}
