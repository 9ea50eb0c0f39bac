//! Plain HTTP passes through: streamed both ways, whole, and with honest ends.

mod harness;

use sessmux::config::Upstream;
use tokio::net::{TcpSocket, TcpStream, UnixListener};

use crate::harness::{Agent, Front, LOCALHOST, Peer};

#[tokio::test]
async fn an_answer_arrives_before_it_ends() {
    let (agent, front) = Agent::new().await;
    let mut client = front.connect().await;
    client.send("GET /events?x=1 HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    let mut agent = agent.accept().await;
    let head = agent.head().await;
    assert!(head.starts_with("GET /events?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("Host: a.example\r\n") && head.contains("x-forwarded-for: 127.0.0.1\r\n"),
        "{head}"
    );
    agent
        .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let head = client.head().await;
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Type: text/event-stream"),
        "{head}"
    );
    for event in ["one", "two"] {
        agent.send(&format!("3\r\n{event}\r\n")).await;
        client.until(event).await;
    }
    agent.send("0\r\n\r\n").await;
    assert_eq!(client.until("0\r\n\r\n").await, "\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_request_arrives_before_it_ends() {
    let (agent, front) = Agent::new().await;
    let mut client = front.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        .await;
    let mut agent = agent.accept().await;
    agent.until("one").await;
    client.send("3\r\ntwo\r\n").await;
    agent.until("two").await;
    client.send("0\r\n\r\n").await;
    agent.until("0\r\n\r\n").await;
    agent.send("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok").await;
    assert!(client.until("ok").await.starts_with("HTTP/1.1 201 Created\r\n"));
}

#[tokio::test]
async fn a_get_with_a_body_keeps_it() {
    let (agent, front) = Agent::new().await;
    let mut client = front.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        .await;
    let mut agent = agent.accept().await;
    let head = agent.head().await.to_ascii_lowercase();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert!(agent.until("0\r\n\r\n").await.contains("hello"));
    // an older upstream's answer is one of this hop's version
    agent.send("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert!(client.until("ok").await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_the_bodys() {
    let (agent, front) = Agent::new().await;
    let mut client = front.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut agent = agent.accept().await;
    agent.head().await;
    agent
        .send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        .await;
    let head = client.head().await.to_ascii_lowercase();
    assert!(
        !head.contains("content-length") && head.contains("transfer-encoding: chunked"),
        "{head}"
    );
    assert!(client.until("0\r\n\r\n").await.contains("hello"));
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_ends() {
    let (agent, front) = Agent::new().await;
    let mut client = front.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\none")
        .await;
    let mut agent = agent.accept().await;
    agent.until("one").await;
    agent
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n")
        .await;
    client.until("yes").await;
    client.send("two").await;
    agent.until("two").await;
    agent.send("0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let (agent, front) = Agent::new().await;
    let mut client = front.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTrailer: x-asked\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.send("1\r\na\r\n0\r\nx-asked: 1\r\n\r\n").await;
    let mut agent = agent.accept().await;
    let head = agent.head().await;
    assert!(
        head.contains("TE: trailers\r\n") && head.contains("Connection: te\r\n"),
        "{head}"
    );
    assert!(agent.until("\r\n\r\n").await.contains("x-asked: 1"));
    agent
        .send(
            "HTTP/1.1 200 OK\r\nTrailer: x-told\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-told: 1\r\n\r\n",
        )
        .await;
    client.head().await;
    assert!(client.until("\r\n\r\n").await.contains("x-told: 1"));
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it() {
    let (agent, front) = Agent::new().await;
    let mut client = front.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .await;
    let mut agent = agent.accept().await;
    assert!(agent.head().await.contains("Expect: 100-continue"));
    agent.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body").await;
    agent.until("body").await;
    agent.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert!(client.until("ok").await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn upstream_connections_are_kept() {
    let (agent, front) = Agent::new().await;
    let mut upstream = None;
    for _ in 0..3 {
        let mut client = front.connect().await;
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
        if upstream.is_none() {
            upstream = Some(agent.accept().await);
        }
        let upstream = upstream.as_mut().unwrap();
        let head = upstream.head().await;
        assert!(
            !head.contains("close"),
            "one client's wish is not the upstream's: {head}"
        );
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert!(client.rest().await.ends_with("ok"));
    }
}

#[tokio::test]
async fn a_page_survives_a_kept_connection_that_is_just_being_closed() {
    let (agent, front) = Agent::new().await;
    let mut client = front.connect().await;
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(get).await;
    let mut first = agent.accept().await;
    first.head().await;
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    client.until("ok").await;
    client.send(get).await;
    first.head().await;
    drop(first);
    let mut second = agent.accept().await;
    second.head().await;
    second.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nokay").await;
    client.until("okay").await;
}

#[tokio::test]
async fn what_may_have_done_something_is_sent_once() {
    let (agent, front) = Agent::new().await;
    let mut client = front.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await;
    let mut first = agent.accept().await;
    first.head().await;
    drop(first);
    tokio::select! {
        _ = agent.accept() => panic!("sent twice"),
        answer = client.rest() => assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}"),
    }
}

#[tokio::test]
async fn answers_without_a_body_stay_without() {
    for (method, answer, length) in [
        ("HEAD", "200 OK\r\nContent-Length: 12", Some("12")),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked", None),
        ("GET", "204 No Content", None),
        ("GET", "304 Not Modified\r\nETag: x", None),
    ] {
        let (agent, front) = Agent::new().await;
        let mut client = front.connect().await;
        client
            .send(&format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
            .await;
        let mut agent = agent.accept().await;
        agent.head().await;
        agent.send(&format!("HTTP/1.1 {answer}\r\n\r\n")).await;
        let answer = client.rest().await.to_lowercase();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "", "{head}");
        let found = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!(found, length, "{head}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_down_is_a_502() {
    let (agent, front) = Agent::new().await;
    let address = agent.0.local_addr().unwrap();
    drop(agent);
    let answer = front
        .ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nbad gateway\n"), "{answer}");
    assert!(!answer.contains(&address.port().to_string()), "{answer}");
}

#[tokio::test]
async fn an_upstream_that_accepts_nobody_is_a_504() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((LOCALHOST, 0).into()).unwrap();
    // One waits to be accepted; the kernel lets the next one knock unheard.
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _first = TcpStream::connect(address).await.unwrap();
    let front = Front::new(Upstream::Tcp(address.to_string())).await;
    tokio::time::pause();
    let answer = front
        .ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nupstream timeout\n"), "{answer}");
}

#[tokio::test]
async fn nonsense_and_unasked_upgrades_are_a_502() {
    for nonsense in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ] {
        let (agent, front) = Agent::new().await;
        let mut client = front.connect().await;
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, upgrade\r\nUpgrade: h2c\r\n\r\n")
            .await;
        let mut agent = agent.accept().await;
        let head = agent.head().await.to_lowercase();
        assert!(!head.contains("upgrade"), "{head}");
        agent.send(nonsense).await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off() {
    let (agent, front) = Agent::new().await;
    for framing in [
        "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        "Content-Length: 10\r\n\r\nfirst",
    ] {
        let mut client = front.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut agent = agent.accept().await;
        agent.head().await;
        agent.send(&format!("HTTP/1.1 200 OK\r\n{framing}")).await;
        client.until("first").await;
        drop(agent);
        let rest = client.rest().await;
        assert!(!rest.contains('0'), "no last chunk: {rest:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let (agent, front) = Agent::new().await;
    let mut client = front.connect().await;
    client.send("GET /poll HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut agent = agent.accept().await;
    agent.head().await;
    drop(client);
    assert_eq!(agent.rest().await, "");
}

#[tokio::test]
async fn a_unix_socket_is_an_upstream() {
    let name = format!("sessmux-pass-{}-{:x}.sock", std::process::id(), rand::random::<u64>());
    let path = std::env::temp_dir().join(name);
    let listener = UnixListener::bind(&path).unwrap();
    let front = Front::new(Upstream::Unix(path.clone())).await;
    let mut client = front.connect().await;
    client
        .send("GET /a HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        .await;
    let mut agent = Peer(listener.accept().await.unwrap().0);
    std::fs::remove_file(path).unwrap();
    let head = agent.head().await;
    assert!(
        head.starts_with("GET /a HTTP/1.1\r\n") && head.contains("Host: a.example\r\n"),
        "{head}"
    );
    agent.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert!(client.rest().await.ends_with("ok"));
}

#[tokio::test]
async fn no_task_outlives_the_pool() {
    let (agent, mut front) = Agent::new().await;
    let mut client = front.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut agent = agent.accept().await;
    agent.head().await;
    agent.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    client.until("ok").await;
    assert!(!front.tracker.is_empty());
    front.tasks.shutdown().await;
    front.tracker.close();
    front.tracker.wait().await;
    assert_eq!(agent.rest().await, "");
}
