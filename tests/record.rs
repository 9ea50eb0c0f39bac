//! A recording has what came, whole and in order, and nothing else; and a profile that is run through it does what it
//! did live.

mod common;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use common::{Agent, Connection, PATIENCE, Page, config, route};
use futures_util::{SinkExt, StreamExt};
use sessmux::capture::{Event, Line, Recording, What};
use sessmux::config::{KeySource, Route};
use sessmux::core::cause::Cause;
use sessmux::profile::{Kind, Profile, Role, Side};
use sessmux::rehearse::{self, Judged, Row};
use sessmux::server::Server;
use sessmux::session::rehearsal::{Refresh, Sent};
use sessmux::transport::tls::Tls;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::{MaybeTlsStream, client_async};
use tokio_util::sync::CancellationToken;

/// What is written, kept.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A proxy that records.
struct Recorded {
    address: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<()>,
    recording: Recording,
    paper: Paper,
}

impl Recorded {
    async fn start(route: Route) -> Self {
        common::capture::install();
        let paper = Paper::default();
        let recording = Recording::start(paper.clone(), Instant::now()).unwrap();
        let config = config(route);
        let tls = Tls::load(&config).unwrap();
        let server = Server::bind_with(config, tls, Some(recording.recorder()))
            .await
            .unwrap();
        let (address, stop) = (server.local_addr().unwrap(), CancellationToken::new());
        let running = tokio::spawn(server.run(stop.clone()));
        Self {
            address,
            stop,
            running,
            recording,
            paper,
        }
    }

    async fn page(&self, target: &str) -> Page {
        page_at(self.address, target).await
    }

    /// Stops it as a signal would; all that was recorded.
    async fn lines(self) -> Vec<Line> {
        self.stop.cancel();
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
        assert_eq!(self.recording.finish(), 0);
        let written = self.paper.0.lock().unwrap();
        let lines = written.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| Line::parse(line).unwrap()).collect()
    }
}

async fn page_at(address: SocketAddr, target: &str) -> Page {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let request = format!("ws://{address}{target}");
    let (socket, answer) = client_async(request, MaybeTlsStream::Plain(socket)).await.unwrap();
    Page { socket, answer }
}

fn with_rules(agent: &Agent, rules: &str) -> Route {
    let mut route = route(agent.address, vec![KeySource::QueryParam("s".into())]);
    route.profile = Profile::parse(rules).unwrap();
    route
}

/// Of one session, what a person would read: messages as `client text`, events by name.
fn read(lines: &[Line], session: &str) -> Vec<String> {
    let lines = lines.iter().filter(|line| &*line.session == session);
    lines
        .map(|line| match &line.what {
            What::Message {
                from, kind, payload, ..
            } => {
                let from = if *from == Side::Client { "client" } else { "server" };
                let kind = if *kind == Kind::Binary { " binary" } else { "" };
                format!("{from}{kind} {}", String::from_utf8_lossy(payload))
            }
            What::Event(Event::Attach { epoch, cause }) => {
                format!("attach {epoch} {}", cause.map_or("", Cause::name))
            }
            What::Event(Event::Detach { epoch, code }) => format!("detach {epoch} {code:?}"),
            What::Event(event) => format!("{event:?}"),
        })
        .collect()
}

/// The next message that is no ping.
async fn message(page: &mut Page) -> Message {
    loop {
        match common::soon("a message", page.socket.next()).await.unwrap().unwrap() {
            Message::Ping(_) => {}
            message => return message,
        }
    }
}

fn frames(opcode: Data, parts: [&'static str; 2]) -> [Message; 2] {
    let [first, second] = parts;
    let frame = |text: &'static str, opcode, last| Message::Frame(Frame::message(text, OpCode::Data(opcode), last));
    [frame(first, opcode, false), frame(second, Data::Continue, true)]
}

#[tokio::test]
async fn whole_messages_of_every_kind_in_order_of_each_session() {
    let mut agent = Agent::start().await;
    let proxy = Recorded::start(with_rules(&agent, "")).await;
    let (mut one, mut server) = (proxy.page("/ws?s=1").await, agent.connection().await);
    let (mut two, mut other) = (proxy.page("/ws?s=2").await, agent.connection().await);

    one.send("text").await;
    assert_eq!(server.text().await, "text");
    two.send("elsewhere").await;
    assert_eq!(other.text().await, "elsewhere");
    one.socket.send(Message::binary(&b"bytes"[..])).await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::binary(&b"bytes"[..]));
    for frame in frames(Data::Text, ["frag", "ments"]) {
        one.socket.send(frame).await.unwrap();
    }
    assert_eq!(server.text().await, "fragments");
    for frame in frames(Data::Binary, ["of ", "the server"]) {
        server.socket.send(frame).await.unwrap();
    }
    server.send("x".repeat(100_000)).await;
    assert_eq!(message(&mut one).await, Message::binary(&b"of the server"[..]));
    assert_eq!(one.text().await.len(), 100_000);
    one.leave().await;
    let mut one = proxy.page("/ws?s=1").await;
    assert_eq!(message(&mut one).await, Message::binary(&b"of the server"[..]));
    assert_eq!(one.text().await.len(), 100_000);
    one.cut();
    other.socket.close(None).await.unwrap();
    assert_eq!(two.close_code().await, Some(1005));

    let lines = proxy.lines().await;
    let sessions: Vec<&str> = {
        let mut names: Vec<&str> = lines.iter().map(|line| &*line.session).collect();
        names.dedup_by(|one, other| one == other);
        names.sort_unstable();
        names.dedup();
        names
    };
    let [one, two] = ["text", "elsewhere"].map(|text| {
        let holds = |session: &&&str| read(&lines, session).iter().any(|line| line.ends_with(text));
        *sessions.iter().find(holds).unwrap()
    });
    let long = format!("server {}", "x".repeat(100_000));
    let expected = [
        "attach 1 ",
        "client text",
        "client binary bytes",
        "client fragments",
        "server binary of the server",
        &long,
        "detach 1 Some(1001)",
        "attach 2 refresh",
        "detach 2 None",
    ];
    assert_eq!(read(&lines, one), expected);
    let expected = [
        "attach 1 ",
        "client elsewhere",
        "End { code: Some(1005) }",
        "detach 1 Some(1005)",
    ];
    assert_eq!(read(&lines, two), expected);
    assert_eq!(sessions.len(), 2);
    assert!(lines.is_sorted_by_key(|line| line.at));
}

const RULES: &str = r#"
    [[rule]]
    from = "client"
    when = { "/type" = "init" }
    role = "hello"
    [[rule]]
    from = "server"
    when = { "/type" = "ready" }
    role = "hello-answer"
    [[rule]]
    from = "server"
    when = { "/type" = "ping" }
    role = "heartbeat"
    answer = '{"type":"pong"}'
    [[rule]]
    from = "client"
    when = { "/type" = "whoami" }
    role = "local"
    answer = '{"you":1}'
    [[rule]]
    from = "client"
    when = { "/type" = "prompt" }
    role = "turn-start"
    [[rule]]
    from = "server"
    when = { "/type" = "approval" }
    role = "prompt"
    id = "/id"
    [[rule]]
    from = "client"
    when = { "/type" = "answer" }
    role = "prompt-answer"
    id = "/id"
    [[rule]]
    from = "server"
    when = { "/type" = "done" }
    role = "turn-end"
    [[rule]]
    from = "client"
    present = ["/method"]
    role = "request"
    id = "/id"
    [[rule]]
    from = "server"
    present = ["/result"]
    role = "answer"
    id = "/id"
"#;

/// The messages of the one session of a capture, run through a profile.
async fn judged(rules: &str, lines: &[Line], at: Option<usize>) -> (Vec<Judged>, Vec<(Side, String)>) {
    let mut route = route("127.0.0.1:1".parse().unwrap(), vec![KeySource::QueryParam("s".into())]);
    route.profile = Profile::parse(rules).unwrap();
    let stories = rehearse::run(&Arc::new(route), lines, at).await.unwrap();
    let [story] = stories.try_into().unwrap_or_else(|_| panic!("not one session"));
    let (mut messages, mut own) = (Vec::new(), Vec::new());
    for row in story.rows {
        match row {
            Row::Message(message) => messages.push(*message),
            Row::Own(to, sent) => own.push((to, text(&sent))),
            Row::Note(_) => {}
        }
    }
    (messages, own)
}

fn text(sent: &Sent) -> String {
    String::from_utf8(sent.payload.clone()).unwrap()
}

/// A conversation with one reload; what the server heard, what the second page was sent ahead of the end.
async fn conversation(proxy: &Recorded, agent: &mut Agent) -> (Vec<String>, Vec<String>) {
    let mut heard = Vec::new();
    async fn hear(server: &mut Connection, heard: &mut Vec<String>) {
        heard.push(server.text().await);
    }
    let mut page = proxy.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    page.send(r#"{"type":"init"}"#).await;
    hear(&mut server, &mut heard).await;
    server.send(r#"{"type":"ready"}"#).await;
    page.text().await;
    server.send(r#"{"type":"ping"}"#).await;
    hear(&mut server, &mut heard).await;
    page.send(r#"{"type":"whoami"}"#).await;
    page.text().await;
    page.send(r#"{"type":"prompt"}"#).await;
    hear(&mut server, &mut heard).await;
    for id in ["a", "b"] {
        server.send(format!(r#"{{"type":"approval","id":"{id}"}}"#)).await;
        page.text().await;
    }
    page.send(r#"{"type":"answer","id":"a"}"#).await;
    hear(&mut server, &mut heard).await;
    page.send(r#"{"id":0,"method":"list"}"#).await;
    let asked = server.text().await;
    let id: serde_json::Value = serde_json::from_str(&asked).unwrap();
    server.send(format!(r#"{{"id":{},"result":[]}}"#, id["id"])).await;
    assert_eq!(page.text().await, r#"{"id":0,"result":[]}"#);
    server.send(r#"{"type":"token"}"#).await;
    page.text().await;
    page.leave().await;

    let mut page = proxy.page("/ws?s=1").await;
    page.send(r#"{"type":"init"}"#).await;
    let replayed = vec![page.text().await, page.text().await, page.text().await];
    page.send(r#"{"id":0,"method":"list"}"#).await;
    let asked: serde_json::Value = serde_json::from_str(&server.text().await).unwrap();
    server.send(format!(r#"{{"id":{},"result":[1]}}"#, asked["id"])).await;
    assert_eq!(page.text().await, r#"{"id":0,"result":[1]}"#);
    for ok in [true, false] {
        page.send(format!(r#"{{"type":"answer","id":"b","ok":{ok}}}"#)).await;
    }
    hear(&mut server, &mut heard).await;
    server.send(r#"{"type":"done"}"#).await;
    assert_eq!(page.text().await, r#"{"type":"done"}"#);
    (heard, replayed)
}

#[tokio::test]
async fn a_profile_does_on_a_recording_what_it_did_live() {
    let mut agent = Agent::start().await;
    let proxy = Recorded::start(with_rules(&agent, RULES)).await;
    let (heard, replayed) = conversation(&proxy, &mut agent).await;
    let lines = proxy.lines().await;

    let (messages, own) = judged(RULES, &lines, None).await;
    let roles: Vec<Option<Role>> = messages.iter().map(|message| message.role).collect();
    use Role::{Answer, Heartbeat, Hello, HelloAnswer, Local, Prompt, PromptAnswer, Request, TurnEnd, TurnStart};
    let expected = [
        Some(Hello),
        Some(HelloAnswer),
        Some(Heartbeat),
        Some(Local),
        Some(TurnStart),
        Some(Prompt),
        Some(Prompt),
        Some(PromptAnswer),
        Some(Request),
        Some(Answer),
        None,
        Some(Hello),
        Some(Request),
        Some(Answer),
        Some(PromptAnswer),
        Some(PromptAnswer),
        Some(TurnEnd),
    ];
    assert_eq!(roles, expected);

    // the server heard the same: what pages said and was passed on, and what sessmux said itself
    let passed = |message: &&Judged| message.from == Side::Client && message.passed;
    let mut told: Vec<String> = messages
        .iter()
        .filter(passed)
        .map(|message| text(&message.sent))
        .collect();
    told.retain(|text| !text.contains("method"));
    told.insert(1, own.iter().find(|(to, _)| *to == Side::Server).unwrap().1.clone());
    assert_eq!(told, heard);
    assert!(own.contains(&(Side::Client, r#"{"you":1}"#.into())), "{own:?}");
    assert_eq!(
        messages
            .iter()
            .filter(|message| message.role == Some(Answer) && message.passed)
            .count(),
        2
    );

    // and a reload after the token is sent the same
    let (messages, _) = judged(RULES, &lines, Some(11)).await;
    let seen = messages[10].refresh.as_ref().unwrap();
    let Refresh::Replay(replay) = &seen.refresh else {
        panic!("{seen:?}")
    };
    assert_eq!(replay.sent.iter().map(text).collect::<Vec<_>>(), replayed);
    assert_eq!((replay.open.len(), replay.running), (1, true));
}

#[tokio::test]
async fn a_recording_without_a_profile_serves_to_try_one() {
    let mut agent = Agent::start().await;
    let proxy = Recorded::start(with_rules(&agent, "")).await;
    let (mut page, mut server) = (proxy.page("/ws?s=1").await, agent.connection().await);
    // ids are the page's own here: no rule gave it others
    for (id, answer) in [(7, 1), (8, 2)] {
        page.send(format!(r#"{{"id":{id},"method":"list"}}"#)).await;
        server.text().await;
        server.send(format!(r#"{{"id":{id},"result":{answer}}}"#)).await;
        page.text().await;
    }
    let lines = proxy.lines().await;
    let (messages, _) = judged(RULES, &lines, None).await;
    let passed: Vec<bool> = messages.iter().map(|message| message.passed).collect();
    assert_eq!(passed, [true; 4], "each answer finds its request");
}

/// sessmux as a program.
fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessmux"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SESSMUX_") {
            command.env_remove(name);
        }
    }
    // it keeps to the test: no socket in the runtime directory
    command.env("SESSMUX_ADMIN", "off");
    command.args(args).stderr(Stdio::piped());
    command
}

/// Its log, up to the first line that holds `word`.
fn log_until(log: &mut impl BufRead, word: &str) -> String {
    let mut text = String::new();
    while !text.contains(word) {
        assert_ne!(log.read_line(&mut text).unwrap(), 0, "no {word} in\n{text}");
    }
    text
}

#[tokio::test]
async fn the_program_warns_records_and_writes_the_rest_when_it_stops() {
    let mut agent = Agent::start().await;
    let file = std::env::temp_dir().join(format!("sessmux-capture-{}.jsonl", std::process::id()));
    let upstream = format!("http://{}", agent.address);
    let path = file.to_str().unwrap();
    let mut child = program(&["--upstream", &upstream, "--listen", "127.0.0.1:0", "--record", path])
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let (said, mut log) = tokio::task::spawn_blocking(move || (log_until(&mut log, "EVERY MESSAGE IS RECORDED"), log))
        .await
        .unwrap();
    let address = said.split_once("http://").unwrap().1.split_once(',').unwrap().0;
    let address: SocketAddr = address.parse().unwrap();
    let mut page = page_at(address, "/ws").await;
    let mut server = agent.connection().await;
    page.send("secret").await;
    assert_eq!(server.text().await, "secret");
    server.send("known").await;
    assert_eq!(page.text().await, "known");

    let pid = child.id().to_string();
    let terminate = || assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    terminate();
    let draining = move || (log_until(&mut log, "another SIGTERM hurries"), log);
    let (_, mut log) = tokio::task::spawn_blocking(draining).await.unwrap();
    server.send("still there").await;
    assert_eq!(page.text().await, "still there");
    terminate();
    assert_eq!(page.close_code().await, Some(1012));
    assert_eq!(server.close_code().await, Some(1001));
    let status = tokio::task::spawn_blocking(move || {
        let mut rest = String::new();
        log.read_to_string(&mut rest).unwrap();
        child.wait().unwrap()
    });
    assert!(timeout(PATIENCE, status).await.unwrap().unwrap().success());
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (lines, _) = sessmux::capture::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let expected = [
        "attach 1 ",
        "client secret",
        "server known",
        "server still there",
        "detach 1 None",
    ];
    assert_eq!(read(&lines, &lines[0].session), expected);
}

#[test]
fn a_file_that_cannot_be_opened_is_a_bad_configuration_and_nothing_is_bound() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let folder = std::env::temp_dir();
    let missing = folder.join("sessmux-no-such-folder/capture.jsonl");
    for (file, reason) in [(missing.as_path(), "No such file"), (&folder, "Is a directory")] {
        let file = file.to_str().unwrap();
        let output = program(&[
            "--upstream",
            "http://127.0.0.1:1",
            "--listen",
            &listen,
            "--record",
            file,
        ])
        .output()
        .unwrap();
        assert_eq!(output.status.code(), Some(64), "69 would say that it tried to listen");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with(&format!("record = {file:?}: {reason}")), "{said}");
    }
}
