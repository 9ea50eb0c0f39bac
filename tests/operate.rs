//! What an operator is told of sessions and can do to them: by the admin surface, and by the commands over it.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::capture::Log;
use common::raw::{Raw, RawAgent};
use common::{Agent, HELLO, Proxy, route, soon};
use futures_util::{SinkExt, StreamExt};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sessmux::admin::Admin;
use sessmux::config::{self, KeySource, PathPattern, Route, Upstream};
use sessmux::profile::Profile;
use sessmux::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_util::sync::{CancellationToken, DropGuard};

/// An agent that asks the person, in turns.
const ASKS: &str = r#"
    name = "asks"
    [[rule]]
    from = "client"
    when = { "/type" = "go" }
    role = "turn-start"
    [[rule]]
    from = "server"
    when = { "/type" = "done" }
    role = "turn-end"
    [[rule]]
    from = "server"
    when = { "/type" = "ask" }
    role = "prompt"
    id = "/id"
    [[rule]]
    from = "client"
    when = { "/type" = "say" }
    role = "prompt-answer"
    id = "/id"
"#;

/// A proxy with an admin socket.
struct Operated {
    proxy: Proxy,
    socket: PathBuf,
    _stop: DropGuard,
}

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("operate-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

impl Operated {
    async fn start(name: &str, route: Route) -> Self {
        let socket = folder(name).join("admin.sock");
        let server = Server::bind(common::config(route)).await.unwrap();
        let stop = CancellationToken::new();
        let address = config::Admin::Unix(socket.clone());
        let admin = Admin::bind(&address, &server, stop.clone()).await.unwrap().unwrap();
        tokio::spawn(admin.run(stop.clone()));
        Self {
            proxy: Proxy::of(server),
            socket,
            _stop: stop.drop_guard(),
        }
    }

    /// Status and body of an answer.
    async fn ask(&self, request: &str, lines: &str) -> (u16, String) {
        let mut socket = UnixStream::connect(&self.socket).await.unwrap();
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon("the answer", socket.read_to_string(&mut answer)).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    async fn told(&self, path: &str) -> Value {
        let (status, body) = self.ask(&format!("GET {path}"), "").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Asks until it is told this: what a page or an agent did takes its time.
    async fn tells(&self, path: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        soon(what, async {
            loop {
                let told = self.told(path).await;
                if is(&told) {
                    return told;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// The id of the only session.
    async fn only(&self) -> String {
        let told = self.told("/sessions").await;
        assert_eq!(told["sessions"].as_array().unwrap().len(), 1, "{told}");
        told["sessions"][0]["session"].as_str().unwrap().to_owned()
    }

    /// Runs a command against it.
    async fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let address = format!("unix:{}", self.socket.display());
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        run(args, vec![("SESSMUX_ADMIN", address)]).await
    }
}

/// Exit code, standard output, standard error.
async fn run(args: Vec<String>, variables: Vec<(&'static str, String)>) -> (Option<i32>, String, String) {
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessmux"));
        command.env_remove("SESSMUX_ADMIN").envs(variables).args(args).output()
    };
    // beside the proxy that answers it
    let output: Output = soon("the command", tokio::task::spawn_blocking(run))
        .await
        .unwrap()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn by_query(agent: std::net::SocketAddr, rules: &str) -> Route {
    let mut route = route(agent, vec![KeySource::QueryParam("s".into())]);
    route.profile = Profile::parse(rules).unwrap();
    route
}

/// The entries of a timeline, less when they were.
fn timeline(session: &Value) -> Vec<String> {
    let entries = session["timeline"].as_array().unwrap().iter();
    let shown = entries.map(|entry| {
        assert!(entry["at"].as_str().unwrap().ends_with('Z'));
        assert!(entry["ago"].as_f64().unwrap() < 60.0);
        let fields = entry.as_object().unwrap().iter();
        let more = fields.filter(|(name, _)| !["at", "ago", "what"].contains(&name.as_str()));
        let more = more.map(|(name, value)| format!(" {name}={value}"));
        entry["what"].as_str().unwrap().to_owned() + &more.collect::<String>()
    });
    shown.collect()
}

#[tokio::test]
async fn sessions_are_told_and_who_waits_for_a_person_comes_first() {
    let mut agent = Agent::start().await;
    let operated = Operated::start("told", by_query(agent.address, ASKS)).await;
    assert_eq!(
        operated.told("/sessions").await,
        serde_json::json!({"sessions": [], "ended": []})
    );
    let mut quiet = operated.proxy.page("/ws?s=quiet").await;
    let mut talks = agent.connection().await;
    let mut page = operated.proxy.page("/ws?s=waits").await;
    let mut waits = agent.connection().await;
    talks.send("news").await;
    quiet.text().await;
    page.send(r#"{"type":"go"}"#).await;
    waits.text().await;
    waits.send(r#"{"type":"ask","id":"1"}"#).await;
    page.text().await;
    page.leave().await;

    let told = operated
        .tells("/sessions", "the page's leaving", |told| {
            told["sessions"][0]["state"] == "detached"
        })
        .await;
    let [waits, quiet] = &told["sessions"].as_array().unwrap()[..] else {
        panic!("{told}")
    };
    for session in [waits, quiet] {
        assert_eq!(session["route"], "/{*rest}");
        assert_eq!(session["profile"], "asks");
        assert_eq!(session["epoch"], 1);
        assert_eq!(session["positions"]["newest"], 1);
        assert_eq!(session["positions"]["oldest"], 1);
        assert_eq!(session["log"]["messages"], 1);
        assert!(session["log"]["bytes"].as_u64().unwrap() > 0);
        assert!(session["opened"]["ago"].as_f64().unwrap() < 60.0);
        assert_eq!(session["end"], Value::Null);
        assert_eq!(session["last_error"], Value::Null);
        assert_eq!(session.get("timeline"), None);
    }
    assert_eq!((&waits["turn"], &quiet["turn"]), (&"running".into(), &"idle".into()));
    assert_eq!(
        (&waits["prompts"]["open"], &quiet["prompts"]["open"]),
        (&1.into(), &0.into())
    );
    assert!(waits["prompts"]["oldest"]["ago"].as_f64().unwrap() < 60.0);
    assert_eq!(waits["page"]["what"], "detach");
    assert_eq!(
        (&waits["page"]["cause"], &waits["page"]["code"]),
        (&"closed".into(), &1001.into())
    );
    assert_eq!(
        (&quiet["state"], &quiet["page"]["what"]),
        (&"attached".into(), &"attach".into())
    );
}

#[tokio::test]
async fn a_timeline_tells_what_became_of_a_session() {
    let mut agent = Agent::start().await;
    let mut route = by_query(agent.address, ASKS);
    route.log_bytes = 4096;
    let operated = Operated::start("timeline", route).await;
    let mut page = operated.proxy.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    let id = operated.only().await;
    for asked in ["1", "2"] {
        server.send(format!(r#"{{"type":"ask","id":"{asked}"}}"#)).await;
        page.text().await;
    }
    page.send(r#"{"type":"say","id":"1"}"#).await;
    server.text().await;
    page.leave().await;
    let path = format!("/sessions/{id}");
    operated
        .tells(&path, "the page's leaving", |told| {
            told["sessions"][0]["state"] == "detached"
        })
        .await;
    server.send(r#"{"type":"done"}"#).await;
    for _ in 0..20 {
        server.send("x".repeat(1000)).await;
    }
    operated
        .tells(&path, "all messages", |told| {
            told["sessions"][0]["positions"]["newest"] == 23
        })
        .await;
    let mut page = operated.proxy.page("/ws?s=1").await;
    page.text().await;
    let mut newer = operated.proxy.page("/ws?s=1").await;
    assert_eq!(page.close_code().await, Some(4001));
    newer.text().await;
    server.socket.get_mut().shutdown().await.unwrap();
    assert_eq!(newer.close_code().await, None);

    // it is kept for a page that comes back
    let told = operated
        .tells(&path, "the end", |told| told["sessions"][0]["page"]["what"] == "detach")
        .await;
    let ended = &told["sessions"][0];
    let lost = ended["log"]["evicted"].as_u64().unwrap();
    assert!(lost > 0, "{ended}");
    // the two prompts had been removed before that: they are not lost
    let (from, left) = (lost + 3, 21 - lost);
    assert_eq!(
        timeline(ended),
        [
            "attach epoch=1",
            "prompt position=1",
            "prompt position=2",
            "answer position=1",
            "detach epoch=1 cause=\"closed\" code=1001",
            "withdrawn prompts=1",
            &format!("overflow evicted={lost}"),
            "attach epoch=2 cause=\"refresh\"",
            &format!("gap messages={lost}"),
            &format!("replay from={from} messages={left}"),
            "takeover epoch=2",
            "attach epoch=3 cause=\"refresh\"",
            &format!("gap messages={lost}"),
            &format!("replay from={from} messages={left}"),
            "upstream-end code=null",
            "detach epoch=3 cause=\"cut\"",
        ]
    );
    assert_eq!(ended["state"], "ending");
    assert_eq!(ended["end"]["why"], "upstream ended: it ended without a close frame");
    assert_eq!(ended["last_error"]["what"], "upstream-end");
    // the list has no timelines
    assert_eq!(operated.told("/sessions").await["sessions"][0].get("timeline"), None);
}

#[tokio::test]
async fn a_prompt_that_is_none_any_more_for_too_many_are_open_is_told() {
    let log = Log::capture();
    let mut agent = Agent::start().await;
    let operated = Operated::start("let-go", by_query(agent.address, ASKS)).await;
    let mut page = operated.proxy.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    let id = operated.only().await;
    for asked in 1..=65 {
        server.send(format!(r#"{{"type":"ask","id":"{asked}"}}"#)).await;
        page.text().await;
    }
    log.says(&["too many prompts are open", "position=1"]).await;
    let told = operated.told(&format!("/sessions/{id}")).await;
    assert_eq!(told["sessions"][0]["prompts"]["open"], 64);
    let timeline = timeline(&told["sessions"][0]);
    assert_eq!(
        timeline[timeline.len() - 2..],
        ["prompt position=65", "let-go position=1"]
    );
}

#[tokio::test]
async fn the_agents_own_close_is_why_a_session_ended() {
    let mut agent = Agent::start().await;
    let operated = Operated::start("close", by_query(agent.address, ASKS)).await;
    let mut page = operated.proxy.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    let id = operated.only().await;
    let close = CloseFrame {
        code: 4321.into(),
        reason: "because".into(),
    };
    server.socket.send(Message::Close(Some(close))).await.unwrap();
    assert_eq!(page.close_code().await, Some(4321));
    let told = operated
        .tells("/sessions", "the end", |told| {
            !told["ended"].as_array().unwrap().is_empty()
        })
        .await;
    assert_eq!(told["sessions"].as_array().unwrap().len(), 0);
    assert_eq!(told["ended"][0]["session"], id.as_str());
    assert_eq!(told["ended"][0]["end"]["code"], 4321);
    assert_eq!(told["ended"][0]["end"]["why"], "upstream ended: upstream closed");
    assert!(!told.to_string().contains("because"));
    assert_eq!(told["ended"][0].get("timeline"), None);
    let told = operated.told(&format!("/sessions/{id}")).await;
    assert_eq!(
        timeline(&told["ended"][0]),
        [
            "attach epoch=1",
            "upstream-end code=4321",
            "detach epoch=1 cause=\"closed\" code=4321"
        ]
    );
}

#[tokio::test]
async fn a_session_that_would_end_with_its_page_is_ended_by_an_operator_all_the_same() {
    let mut agent = Agent::start().await;
    let route = Route::one_to_one(PathPattern::any(), Upstream::Tcp(agent.address.to_string()));
    let operated = Operated::start("alone", route).await;
    let mut page = operated.proxy.page("/elsewhere").await;
    let mut server = agent.connection().await;
    let id = operated.only().await;
    assert_eq!(operated.ask(&format!("DELETE /sessions/{id}"), "").await.0, 204);
    assert_eq!(page.close_code().await, Some(1000));
    server.close_code().await;
    let told = operated.told(&format!("/sessions/{id}")).await;
    assert_eq!(told["ended"][0]["end"]["why"], "ended by an operator");
}

#[tokio::test]
async fn an_operator_ends_a_session_and_the_next_page_has_a_new_one() {
    let mut agent = Agent::start().await;
    let operated = Operated::start("end", by_query(agent.address, ASKS)).await;
    let mut page = operated.proxy.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    let id = operated.only().await;
    let path = format!("DELETE /sessions/{id}");
    // a page of whatever origin is no operator
    let (status, _) = operated.ask(&path, "Origin: http://x\r\n").await;
    assert_eq!((status, operated.only().await), (403, id.clone()));
    assert_eq!(operated.ask("POST /drain", "Origin: http://x\r\n").await.0, 403);
    assert_eq!(operated.ask(&path.replace("DELETE", "POST"), "").await.0, 405);
    assert_eq!(operated.ask("GET /drain", "").await.0, 405);
    assert_eq!(operated.ask("GET /ready", "").await.0, 200);

    assert_eq!(operated.ask(&path, "").await, (204, String::new()));
    assert_eq!(page.close_code().await, Some(1000));
    assert_eq!(server.close_code().await, Some(1001));
    let told = operated.told(&format!("/sessions/{id}")).await;
    assert_eq!(
        told["sessions"].as_array().unwrap().len(),
        0,
        "it is forgotten once the answer is there"
    );
    assert_eq!(told["ended"][0]["end"]["why"], "ended by an operator");
    let (status, body) = operated.ask(&path, "").await;
    assert_eq!((status, body.as_str()), (404, "there is no such session\n"));

    let _page = operated.proxy.page("/ws?s=1").await;
    agent.connection().await;
    assert_eq!(agent.count(), 2);
}

#[tokio::test]
async fn a_session_that_is_dialled_for_is_told_and_not_ended() {
    let agent = RawAgent::start().await;
    let operated = Operated::start("dialing", by_query(agent.address, ASKS)).await;
    let mut page = Raw::ask(operated.proxy.address, "/ws?s=1", "").await;
    let mut server = agent.accept().await;
    let told = operated.told("/sessions").await;
    assert_eq!(told["sessions"][0]["state"], "dialing");
    let id = operated.only().await;
    let (status, body) = operated.ask(&format!("DELETE /sessions/{id}"), "").await;
    assert_eq!(
        (status, body.as_str()),
        (409, "the session is still being dialled for\n")
    );
    let (code, out, _) = operated.run(&["sessions"]).await;
    assert!(code == Some(0) && out.contains(&format!("{id}  dialing")), "{out}");
    server.switch("").await;
    page.switched().await;
    assert_eq!(operated.only().await, id);
}

#[tokio::test]
async fn a_hello_that_is_not_answered_is_seen() {
    let mut agent = Agent::start().await;
    let operated = Operated::start("hello", by_query(agent.address, HELLO)).await;
    let mut page = operated.proxy.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    let told = operated.told("/sessions").await;
    assert_eq!(
        (&told["sessions"][0]["state"], &told["sessions"][0]["turn"]),
        (&"opening".into(), &Value::Null)
    );
    page.send(r#"{"type":"hello"}"#).await;
    server.text().await;
    assert_eq!(operated.told("/sessions").await["sessions"][0]["state"], "attached");
}

#[tokio::test]
async fn ids_that_are_none_are_unknown() {
    let agent = Agent::start().await;
    let operated = Operated::start("unknown", by_query(agent.address, ASKS)).await;
    for (id, reason) in [
        ("00000000", "there is no such session, nor did one end lately"),
        ("0", "eight hexadecimal digits"),
        ("+0000001", "eight hexadecimal digits"),
        ("ABCDEF01", "eight hexadecimal digits"),
        ("", "eight hexadecimal digits"),
        ("%00", "eight hexadecimal digits"),
    ] {
        let (status, body) = operated.ask(&format!("GET /sessions/{id}"), "").await;
        assert!(status == 404 && body.contains(reason), "{id}: {status} {body}");
    }
    for (args, code) in [
        (["session", "00000000"], Some(66)),
        (["end", "00000000"], Some(66)),
        (["session", "../metrics"], Some(66)),
        (["end", ""], Some(66)),
    ] {
        let (exit, out, err) = operated.run(&args).await;
        assert_eq!(
            (exit, out.as_str(), err.lines().count()),
            (code, "", 1),
            "{args:?} {err}"
        );
    }
}

#[tokio::test]
async fn commands_tell_who_waits_why_one_ended_and_whether_a_restart_cuts_anything() {
    let mut agent = Agent::start().await;
    let operated = Operated::start("commands", by_query(agent.address, ASKS)).await;
    let (code, out, _) = operated.run(&["sessions"]).await;
    assert_eq!(code, Some(0));
    assert!(out.contains("cut: turns 0, waiting for a person 0."), "{out}");
    let mut page = operated.proxy.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    page.send(r#"{"type":"go"}"#).await;
    server.text().await;
    server.send(r#"{"type":"ask","id":"1"}"#).await;
    page.text().await;
    let id = operated.only().await;

    let (_, out, _) = operated.run(&["sessions"]).await;
    let line = out.lines().find(|line| line.starts_with(&id)).unwrap();
    assert!(
        line.contains("  attached  ") && line.contains("  running  ") && line.contains("  1, "),
        "{out}"
    );
    assert!(out.contains("cut: turns 1, waiting for a person 1."), "{out}");
    let (_, out, _) = operated.run(&["sessions", "--json"]).await;
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap()["sessions"][0]["session"],
        id.as_str()
    );
    let (_, out, _) = operated.run(&["session", &id]).await;
    assert!(
        out.contains("prompts    1 open, the oldest for") && out.contains("Z  prompt position=1\n"),
        "{out}"
    );

    let (code, out, _) = operated.run(&["end", &id]).await;
    assert_eq!((code, out), (Some(0), format!("ended {id}\n")));
    assert_eq!(page.close_code().await, Some(1000));
    let (_, out, _) = operated.run(&["sessions", "--ended"]).await;
    let line = out.lines().find(|line| line.starts_with(&id)).unwrap();
    assert!(line.ends_with("  ended by an operator"), "{out}");
    let (_, out, _) = operated.run(&["session", &id]).await;
    assert!(
        out.contains("ended by an operator") && out.contains("detach epoch=1 cause=dismissed code=1000"),
        "{out}"
    );
}

#[tokio::test]
async fn the_one_socket_in_the_runtime_directory_is_found() {
    let runtime = folder("runtime");
    let variables = || vec![("XDG_RUNTIME_DIR", runtime.display().to_string())];
    let sessions = || vec!["sessions".to_owned()];
    let mut running = Vec::new();
    // left by a crash: nobody listens there
    std::fs::create_dir_all(runtime.join("sessmux")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(runtime.join("sessmux/1.sock")).unwrap());
    for number in 0..2 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sessmux"));
        let child = child
            .env_remove("SESSMUX_ADMIN")
            .envs(variables())
            .args(["--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"])
            .stderr(std::process::Stdio::piped());
        let mut child = Child(child.spawn().unwrap());
        let stderr = child.0.stderr.take().unwrap();
        let said = tokio::task::spawn_blocking(|| {
            let mut lines = BufReader::new(stderr).lines();
            lines.find_map(|line| Some(line.unwrap().split_once("admin on unix:")?.1.to_owned()))
        });
        let path = PathBuf::from(soon("the admin socket", said).await.unwrap().unwrap());
        assert_eq!(path.parent(), Some(&*runtime.join("sessmux")));
        running.push((child, path));
        let (code, out, err) = run(sessions(), variables()).await;
        if number == 0 {
            assert!(code == Some(0) && out.contains("Sessions 0,"), "{out}{err}");
        } else {
            assert_eq!((code, err.lines().count()), (Some(64), 1), "{err}");
            assert!(
                running
                    .iter()
                    .all(|(_, path)| err.contains(&*path.display().to_string())),
                "{err}"
            );
        }
    }
    // it goes with its process
    let (mut child, path) = running.remove(0);
    let pid = child.0.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    assert!(child.0.wait().unwrap().success() && !path.exists());
    assert_eq!(run(sessions(), variables()).await.0, Some(0));
}

#[tokio::test]
async fn an_operator_drains_and_waits_for_the_end() {
    let mut agent = Agent::start().await;
    let socket = folder("drain").join("admin.sock");
    let address = format!("unix:{}", socket.display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessmux"));
    let command = command
        .args([
            "--listen",
            "127.0.0.1:0",
            "--drain-timeout",
            "1h",
            "--admin",
            &address,
            "--upstream",
        ])
        .arg(format!("http://{}", agent.address))
        .stderr(std::process::Stdio::piped());
    let mut child = Child(command.spawn().unwrap());
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    let listening = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        while !line.contains("listening on http://") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0);
        }
        let (_, rest) = line.split_once("listening on http://").unwrap();
        rest.split(',').next().unwrap().to_owned()
    });
    // nobody reads on what it says, and it goes on all the same
    let listening = soon("the address", listening).await.unwrap();
    let target = format!("ws://{listening}/ws");
    let (mut page, _) = soon("a page", tokio_tungstenite::connect_async(&target)).await.unwrap();
    let mut server = agent.connection().await;

    let drain = |more: &[&str]| {
        let args = [&["drain", "--admin", &address], more].concat();
        run(args.into_iter().map(ToOwned::to_owned).collect(), Vec::new())
    };
    let answered = |text: &str| (Some(0), text.to_owned(), String::new());
    assert_eq!(drain(&["--no-wait"]).await, answered("draining\n"));
    let waiting = tokio::spawn(drain(&[]));
    // sessions go on
    server.send("news").await;
    let news = soon("news", page.next()).await;
    assert_eq!(news.unwrap().unwrap().to_string(), "news");
    assert!(!waiting.is_finished());
    server.socket.close(None).await.unwrap();
    while let Some(Ok(_)) = soon("the page's end", page.next()).await {}
    let waited = soon("the end", waiting).await.unwrap();
    assert_eq!(waited, answered("draining already\n"));
    let ended = soon("the process", tokio::task::spawn_blocking(move || child.0.wait())).await;
    assert!(ended.unwrap().unwrap().success() && !socket.exists());
}

/// A process that ends with its test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        // it has ended already where the test went well
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn who_is_not_there_cannot_be_asked() {
    let nobody = folder("nobody").join("admin.sock").display().to_string();
    for (address, code, reason) in [
        (format!("unix:{nobody}"), Some(69), "No such file"),
        ("127.0.0.1:1".into(), Some(69), "refused"),
        ("off".into(), Some(64), "nobody to ask"),
        ("unix".into(), Some(64), "is neither off nor unix:PATH"),
    ] {
        let args = ["sessions", "--admin", &address].map(ToOwned::to_owned).to_vec();
        let (exit, out, err) = run(args, Vec::new()).await;
        assert_eq!((exit, out.as_str(), err.lines().count()), (code, "", 1), "{err}");
        assert!(err.starts_with("admin = ") && err.contains(reason), "{err}");
    }
}

/// Until it is ended, an answer that does not end keeps it.
#[tokio::test]
async fn a_signal_too_many_ends_it_with_the_code_of_that_signal() {
    let agent = RawAgent::start().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessmux"));
    let command = command
        .args(["--listen", "127.0.0.1:0", "--admin", "off", "--upstream"])
        .arg(format!("http://{}", agent.address))
        .stderr(std::process::Stdio::piped());
    let mut child = Child(command.spawn().unwrap());
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    let mut said = move |what: &'static str| {
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "{what}");
        }
        line
    };
    let line = said("listening on http://");
    let (_, rest) = line.split_once("listening on http://").unwrap();
    let address = rest.split(',').next().unwrap().parse().unwrap();
    let mut page = Raw::connect(address).await;
    page.write(format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
        .await;
    let _server = agent.accept().await;
    let process = Pid::from_child(&child.0);
    kill_process(process, Signal::INT).unwrap();
    said("stopping");
    kill_process(process, Signal::INT).unwrap();
    said("ended where it is");
    let ended = tokio::task::spawn_blocking(move || child.0.wait());
    assert_eq!(soon("the end", ended).await.unwrap().unwrap().code(), Some(130));
}
