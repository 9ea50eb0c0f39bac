use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, connect_async};

use super::*;

type Page = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An agent that ends with its test.
struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start() -> Self {
        let mut agent = Agent::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        agent.word = Duration::from_millis(1);
        let (address, shutdown) = (agent.local_addr(), CancellationToken::new());
        let task = tokio::spawn(agent.run(shutdown.clone()));
        Self {
            address,
            shutdown,
            task,
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("the agent ends without a panic");
    }

    async fn page(&self, side: &str) -> Page {
        connect_async(format!("ws://{}/agent/{side}", self.address))
            .await
            .expect("a handshake")
            .0
    }

    /// Status line, headers and body of one request.
    async fn http(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).await.expect("the request leaves");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer in UTF-8");
        answer
    }

    async fn stats(&self, side: &str) -> Value {
        let answer = self.http("GET", "/stats").await;
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        serde_json::from_str::<Value>(body).expect("JSON")[side].take()
    }
}

async fn next(page: &mut Page) -> Value {
    loop {
        if let Message::Text(text) = page.next().await.expect("an open socket").expect("a frame") {
            return serde_json::from_str(&text).expect("JSON");
        }
    }
}

async fn say(page: &mut Page, request: Value) {
    page.send(Message::text(request.to_string()))
        .await
        .expect("an open socket");
}

/// Reads up to the first event of this type and returns all that was read, that event last.
async fn up_to(page: &mut Page, event: &str) -> Vec<Value> {
    let mut read = Vec::new();
    loop {
        read.push(next(page).await);
        if read[read.len() - 1]["type"] == event {
            return read;
        }
    }
}

/// The turn up to its tool call; returns the call's id and what came before it.
async fn ask(page: &mut Page) -> (Value, Vec<Value>) {
    say(page, json!({"type": "prompt", "text": "fix my build"})).await;
    let read = up_to(page, "approval_needed").await;
    (read[read.len() - 1]["id"].clone(), read)
}

fn spoken(events: &[Value]) -> String {
    events
        .iter()
        .filter(|event| event["type"] == "token")
        .filter_map(|event| event["text"].as_str())
        .collect()
}

#[tokio::test]
async fn an_approved_turn_runs_the_tool_once_and_is_not_cancelled() {
    let agent = Running::start().await;
    let mut page = agent.page("sessmux").await;
    assert_eq!(
        next(&mut page).await,
        json!({"session": 1, "seq": 1, "type": "welcome"})
    );
    let (id, mut events) = ask(&mut page).await;
    assert_eq!(events[0]["prompt"], "fix my build");
    assert_eq!(spoken(&events), crate::demo::script::PLAN);

    say(&mut page, json!({"type": "approve", "id": id})).await;
    let rest = up_to(&mut page, "turn_finished").await;
    assert_eq!(
        (&rest[0]["type"], &rest[1]["type"]),
        (&json!("tool_started"), &json!("tool_output"))
    );
    assert_eq!(spoken(&rest), crate::demo::script::DONE);
    say(&mut page, json!({"type": "approve", "id": id})).await;
    assert_eq!(
        next(&mut page).await["type"],
        "refused",
        "a second approval must not run the tool again"
    );

    events.extend(rest);
    let seqs: Vec<_> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(seqs, (2..2 + events.len() as u64).collect::<Vec<_>>());
    let none = json!({"connections": 0, "turns": 0, "cancelled": 0, "tool_runs": 0});
    assert_eq!(
        agent.stats("sessmux").await,
        json!({"connections": 1, "turns": 1, "cancelled": 0, "tool_runs": 1})
    );
    assert_eq!(agent.stats("straight").await, none);
    agent.stop().await;
}

#[tokio::test]
async fn a_denied_call_does_not_run_and_the_next_prompt_is_a_turn_of_its_own() {
    let agent = Running::start().await;
    let mut page = agent.page("straight").await;
    let (first, _) = ask(&mut page).await;
    say(&mut page, json!({"type": "prompt", "text": "meanwhile"})).await;
    assert_eq!(next(&mut page).await["type"], "refused");
    say(&mut page, json!({"type": "deny", "id": first})).await;
    let rest = up_to(&mut page, "turn_finished").await;
    assert_eq!(rest[0]["type"], "tool_denied");
    assert_eq!(spoken(&rest), crate::demo::script::DENIED);

    let (second, _) = ask(&mut page).await;
    assert_ne!(first, second);
    say(&mut page, json!({"type": "deny", "id": second})).await;
    assert_eq!(
        up_to(&mut page, "turn_finished").await.last().expect("an event")["turn"],
        2
    );
    let expected = json!({"connections": 1, "turns": 2, "cancelled": 0, "tool_runs": 0});
    assert_eq!(agent.stats("straight").await, expected);
    agent.stop().await;
}

#[tokio::test]
async fn the_turn_is_cancelled_when_the_socket_goes_away_amid_tokens_or_at_an_approval() {
    let agent = Running::start().await;
    let mut amid_tokens = agent.page("straight").await;
    say(&mut amid_tokens, json!({"type": "prompt", "text": "fix my build"})).await;
    up_to(&mut amid_tokens, "token").await;
    drop(amid_tokens);
    let mut at_approval = agent.page("straight").await;
    ask(&mut at_approval).await;
    at_approval.close(None).await.expect("an open socket");
    let expected = json!({"connections": 2, "turns": 2, "cancelled": 2, "tool_runs": 0});
    // The agent learns of an end by its socket, hence asynchronously: ask until it has.
    while agent.stats("straight").await != expected {}
    agent.stop().await;
}

#[tokio::test]
async fn pages_are_served_uncached_and_what_is_not_there_is_refused() {
    let agent = Running::start().await;
    for path in [
        "/",
        "/straight",
        "/sessmux",
        "/demo.css",
        "/index.js",
        "/half.js",
        "/transcript.js",
        "/stats",
    ] {
        let answer = agent.http("GET", path).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
        assert!(answer.contains("cache-control: no-store\r\n"), "{path}: {answer}");
        assert!(!answer.contains("{{"), "{path} has an unfilled place");
    }
    let straight = agent.http("GET", "/straight").await;
    assert!(
        straight.contains(&format!("ws://{}/agent/straight", agent.address)),
        "{straight}"
    );
    assert!(agent.http("GET", "/nowhere").await.starts_with("HTTP/1.1 404 "));
    assert!(agent.http("POST", "/").await.starts_with("HTTP/1.1 405 "));
    assert!(agent.http("GET", "/agent/sessmux").await.starts_with("HTTP/1.1 426 "));
    agent.stop().await;
}
