//! What a built-in profile costs: to tell one message's role by its rules, as the relay does it, and the whole relay with
//! and without it, in time on a processor.

#[path = "../tests/common/mod.rs"]
mod common;
mod load;

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{config, route};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::{Signer, SigningKey};
use load::process;
use load::wire::{Socket, message};
use serde_json::json;
use sessmux::config::KeySource;
use sessmux::core::frame::{self, Opcode};
use sessmux::core::log::{Bounds, Log};
use sessmux::profile::{Kind, Message, Profile, Role, Side, State, built_in};
use sessmux::server::Server;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// Events that the server writes at a time, as they come from a model: few.
const AT_A_TIME: u64 = 4;

/// A log that holds one message.
fn holding(text: &str) -> Log {
    let mut log = Log::new(Bounds {
        bytes: 8 << 20,
        messages: 10_000,
    });
    let mut wire = Vec::new();
    frame::write(&mut wire, Opcode::Text, text.as_bytes(), None);
    // as it is read from a socket
    wire.chunks(64 * 1024).for_each(|read| log.push(read));
    log.commit(true);
    log
}

fn role(profile: &Profile, log: &Log) -> Option<Role> {
    let (payload, whole, _) = log.beginning(0);
    let message = Message {
        kind: Kind::Text,
        number: 7,
        payload,
        whole,
    };
    let state = State {
        awaits_answer: false,
        asking: false,
        running: false,
    };
    let rule = profile.rule_for(Side::Server, &message, state);
    rule.expect("its beginning is enough").map(|rule| rule.role)
}

fn classify(criterion: &mut Criterion) {
    let profile = Profile::parse(built_in("connectonion").unwrap()).unwrap();
    let mut group = criterion.benchmark_group("classify");
    for (name, kind, size, expected) in [
        ("1 KiB that no rule matches", "tool_result", 1 << 10, None),
        ("1 KiB OUTPUT", "OUTPUT", 1 << 10, Some(Role::TurnEnd)),
        ("1 MiB session_sync", "session_sync", 1 << 20, Some(Role::Latest)),
    ] {
        let log = holding(&format!(
            r#"{{"type":"{kind}","id":"0123","text":"{}"}}"#,
            "x".repeat(size)
        ));
        assert_eq!(role(&profile, &log), expected);
        group.bench_function(name, |bencher| bencher.iter(|| role(&profile, &log)));
    }
    group.finish();
}

/// A JSON event of 1 KiB.
fn event(kind: &str) -> Vec<u8> {
    let mut event = format!(r#"{{"type":"{kind}","id":"0123","text":""#);
    event.push_str(&"x".repeat((1 << 10) - event.len() - 2));
    (event + r#""}"#).into_bytes()
}

/// A proxy on a thread of its own.
struct OneThread {
    address: SocketAddr,
    /// Asks the thread what processor time it has used.
    ask: tokio::sync::mpsc::UnboundedSender<mpsc::Sender<Duration>>,
}

impl OneThread {
    fn start(upstream: SocketAddr, profile: Option<&str>) -> Self {
        let mut route = route(upstream, vec![KeySource::First("/session_id".into())]);
        if let Some(name) = profile {
            route.profile = Profile::parse(built_in(name).unwrap()).unwrap();
        }
        let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel::<mpsc::Sender<Duration>>();
        let (sender, address) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(config(route)).await.unwrap();
                sender.send(server.local_addr().unwrap()).unwrap();
                tokio::spawn(server.run(CancellationToken::new()));
                while let Some(answer) = asked.recv().await {
                    answer.send(process::cpu_of_thread()).unwrap();
                }
            });
        });
        let address = address.recv().unwrap();
        Self { address, ask }
    }

    fn used(&self) -> Duration {
        let (sender, used) = mpsc::channel();
        self.ask.send(sender).unwrap();
        used.recv().unwrap()
    }
}

/// The first message of a page: a signed CONNECT.
fn hello() -> String {
    let key = SigningKey::from_bytes(&[1; 32]);
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let payload = json!({"timestamp": now, "to": "agent"});
    let signature = hex(&key.sign(payload.to_string().as_bytes()).to_bytes());
    let from = hex(&key.verifying_key().to_bytes());
    json!({"type": "CONNECT", "session_id": "s", "payload": payload, "from": from, "signature": signature}).to_string()
}

/// A page and the server's end of its session, beyond the hello.
async fn session(proxy: SocketAddr, listener: &TcpListener) -> (Socket, Socket) {
    let mut page = Socket::open(proxy, "/ws").await.unwrap();
    page.send(hello().as_bytes()).await.unwrap();
    let stream = listener.accept().await.unwrap().0;
    let mut server = Socket::accept(stream, |_| Vec::new()).await.unwrap();
    server.skip(1).await.unwrap();
    server
        .send(br#"{"type":"CONNECTED","session_id":"s","status":"connected"}"#)
        .await
        .unwrap();
    page.skip(1).await.unwrap();
    (page, server)
}

/// Processor time of the relay for each event of 1 KiB, a few in a write: what a profile adds is a ratio of these.
fn relay(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let events = message(false, &event("tool_result")).repeat(AT_A_TIME as usize);
    let mut group = criterion.benchmark_group("relay of 1 KiB events");
    group.throughput(Throughput::Elements(1));
    for profile in [None, Some("connectonion")] {
        let proxy = OneThread::start(listener.local_addr().unwrap(), profile);
        let (mut page, mut server) = runtime.block_on(session(proxy.address, &listener));
        group.bench_function(profile.unwrap_or("no profile"), |bencher| {
            bencher.iter_custom(|times| {
                let before = proxy.used();
                let writes = times.div_ceil(AT_A_TIME);
                runtime.block_on(async {
                    for _ in 0..writes {
                        server.write(&events).await.unwrap();
                        page.skip(AT_A_TIME).await.unwrap();
                    }
                });
                let used = (proxy.used() - before).as_secs_f64();
                Duration::from_secs_f64(used / (writes * AT_A_TIME) as f64 * times as f64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, classify, relay);
criterion_main!(benches);
