//! The ways through sessmux, each with secrets wherever a peer could put one.

use crate::common::raw::{Raw, RawAgent, upgrade};
use crate::process::Process;
use crate::secret;

/// A session's page and server, made by this request.
async fn session(process: &Process, agent: &RawAgent, target: &str, lines: &str) -> (Raw, Raw) {
    let mut page = Raw::ask(process.address, target, lines).await;
    let mut server = agent.accept().await;
    let said = secret("server-header");
    server
        .switch(&format!("Set-Cookie: theirs={said}\r\nX-Theirs: {said}\r\n"))
        .await;
    page.switched().await;
    (page, server)
}

/// Messages with secrets in them, both ways.
async fn talk(page: &mut Raw, server: &mut Raw) {
    page.send(&secret("page-says")).await;
    assert_eq!(server.text().await, secret("page-says"));
    server.send(&secret("server-says")).await;
    assert_eq!(page.text().await, secret("server-says"));
}

/// Header lines with a secret in each.
fn lines() -> String {
    format!(
        "Authorization: Bearer {}\r\nCookie: app={}\r\nX-Any: {}\r\nReferer: http://127.0.0.1/?{}\r\n\
         Sec-WebSocket-Protocol: {}\r\n",
        secret("authorization"),
        secret("cookie"),
        secret("header"),
        secret("referer"),
        secret("offered"),
    )
}

/// Pages and calls: one that is answered, one that the server breaks off, one that is no HTTP.
pub(crate) async fn http(process: &Process, agent: &RawAgent, secrets: &mut Vec<String>) {
    let request = |what: &str| {
        format!(
            "GET /{}?token={} HTTP/1.1\r\nHost: {}\r\nSec-Fetch-Dest: document\r\nCookie: app={}\r\n\
             Authorization: Basic {}\r\n\r\n",
            secret("path"),
            secret("query"),
            process.address,
            secret("cookie"),
            secret(what)
        )
    };
    let mut page = Raw::connect(process.address).await;
    page.write(request("answered").as_bytes()).await;
    let mut server = agent.accept().await;
    let body = secret("body");
    let length = body.len();
    // this connection is not kept for what follows: a POST that it ends under is not sent again
    server
        .write(
            format!(
                "HTTP/1.1 200 OK\r\nX-Secret: {body}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .as_bytes(),
        )
        .await;
    assert_eq!(page.answered().await.0, 200);
    // the cookie that sessmux mints is one too
    let minted = page.field("set-cookie").unwrap();
    secrets.push(minted.split(['=', ';']).nth(1).unwrap().to_owned());
    drop((page, server));

    for answer in ["", &format!("{} is no HTTP\r\n\r\n", secret("garbage"))] {
        let mut page = Raw::connect(process.address).await;
        page.write(request("broken").replacen("GET", "POST", 1).as_bytes())
            .await;
        let mut server = agent.accept().await;
        server.write(answer.as_bytes()).await;
        drop(server);
        assert_eq!(page.answered().await.0, 502);
    }
    process.says(&["plain HTTP request failed"]).await;
}

/// Every kind of key; refresh, takeover, and one that rotates.
pub(crate) async fn keys(process: &Process, agent: &RawAgent, secrets: &mut Vec<String>) {
    let key = secret("key");
    for (target, with) in [
        (format!("/path/{key}"), String::new()),
        (format!("/query?s={key}"), lines()),
        ("/header".into(), format!("X-Key: {key}\r\n")),
        ("/cookie".into(), format!("Cookie: sid={key}\r\n")),
    ] {
        let (mut page, mut server) = session(process, agent, &target, &with).await;
        talk(&mut page, &mut server).await;
        let mut newer = Raw::upgraded(process.address, &target, &with).await;
        assert_eq!(newer.text().await, secret("server-says"));
        assert_eq!(page.closed().await.0, 4001);
        newer.close(1000, &secret("page-reason")).await;
        newer.closed().await;
        server.close(4321, &secret("server-reason")).await;
        let mut last = Raw::upgraded(process.address, &target, &with).await;
        assert_eq!(last.text().await, secret("server-says"));
        assert_eq!(last.closed().await.0, 4321);
    }
    // a token that rotates: the line that says so names the parameter
    let origin = format!("Origin: http://{}\r\n", process.address);
    let mut page = Raw::ask(process.address, &format!("/any?a=1&token={}", secret("old")), &origin).await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    let cookie = page.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    secrets.push(cookie.split_once('=').unwrap().1.to_owned());
    drop(page);
    process.nobody_is_attached().await;
    let with = format!("{origin}Cookie: {cookie}\r\n");
    let rotated = session(process, agent, &format!("/any?a=1&token={}", secret("new")), &with).await;
    process.says(&["new session", "parameter=\"token\""]).await;
    drop((rotated, server));
    for query in [secret("bare"), format!("{}=1", secret("name"))] {
        drop(session(process, agent, &format!("/any?{query}"), &with).await);
    }
}

/// First messages: with a key, without one, no JSON, and a subprotocol that is a secret.
pub(crate) async fn first_messages(process: &Process, agent: &RawAgent) {
    let mut page = Raw::upgraded(process.address, "/first", "").await;
    page.send(&format!(
        r#"{{"s":"{}","token":"{}"}}"#,
        secret("first"),
        secret("token")
    ))
    .await;
    let mut server = agent.accept().await;
    server
        .switch(&format!("Sec-WebSocket-Protocol: {}\r\n", secret("chosen")))
        .await;
    page.closed().await;
    let mut page = Raw::upgraded(process.address, "/first", "").await;
    page.close(1000, &secret("before-it")).await;
    page.closed().await;
    for message in [secret("no-json"), format!(r#"{{"{}":1}}"#, secret("no-key"))] {
        let mut page = Raw::upgraded(process.address, "/first", "").await;
        page.send(&message).await;
        assert_eq!(page.closed().await.0, 1008);
    }
    let offered = format!("Sec-WebSocket-Protocol: {}\r\n", secret("offered"));
    let mut page = Raw::ask(process.address, "/first", &offered).await;
    assert_eq!(page.answered().await.0, 400);
    // a session that speaks one, and a page that does not
    let target = format!("/query?s={}", secret("protocol"));
    let mut page = Raw::ask(process.address, &target, &offered).await;
    let mut server = agent.accept().await;
    server.switch(&offered).await;
    page.switched().await;
    let mut other = Raw::ask(process.address, &target, "").await;
    assert_eq!(other.answered().await.0, 400);
}

/// Hellos and what a profile does with messages: ids that the server chooses, prompts, local answers.
pub(crate) async fn hellos(process: &Process, agent: &RawAgent) {
    let hello = format!(r#"{{"type":"hello","token":"{}"}}"#, secret("hello"));
    let ready = format!(r#"{{"type":"ready","id":"{}"}}"#, secret("chosen-id"));
    for again in [false, true] {
        let mut page = Raw::upgraded(process.address, "/answer", "").await;
        page.send(&hello).await;
        let mut server = agent.accept().await;
        server.switch("").await;
        assert_eq!(server.text().await, hello);
        server.send(&ready).await;
        assert_eq!(page.text().await, ready);
        let ask = format!(r#"{{"type":"ask","id":"{}"}}"#, secret("prompt"));
        // once more: it is open already
        server.send(&ask).await;
        server.send(&ask).await;
        assert_eq!(page.text().await, ask);
        let say = ask.replace("ask", "say");
        page.send(&say).await;
        page.send(&say).await;
        assert_eq!(server.text().await, say);
        page.send(&format!(r#"{{"type":"local","said":"{}"}}"#, secret("said")))
            .await;
        assert_eq!(page.text().await, format!(r#"{{"you":"{}"}}"#, secret("said")));
        process
            .says(if again { &["is taken"] } else { &["the server chose"] })
            .await;
        page.close(1001, &secret("leaves")).await;
        // its server is still there as it is heard
        page.closed().await;
    }
    for message in [
        format!(
            r#"{{"type":"CONNECT","from":"0x{0}","signature":"{0}","payload":{{"timestamp":1,"to":"{0}"}}}}"#,
            secret("signed")
        ),
        format!(r#"{{"type":"CONNECT","{}":1}}"#, secret("unsigned")),
        secret("nothing"),
    ] {
        let mut page = Raw::upgraded(process.address, "/signed", "").await;
        page.send(&message).await;
        page.closed().await;
    }
    process.says(&["unproved hello"]).await;
}

/// What binds a session: there, not there, another's; and the authorisation server's answers.
pub(crate) async fn proofs(process: &Process, agent: &RawAgent, authority: &RawAgent) {
    let target = format!("/bound?s={}", secret("bound"));
    let held = session(process, agent, &target, &lines()).await;
    for (with, status) in [("", 403), (&format!("Authorization: {}\r\n", secret("another")), 403)] {
        let mut page = Raw::ask(process.address, &target, with).await;
        assert_eq!(page.answered().await.0, status);
    }
    drop(held);
    let target = format!("/asked?s={}", secret("asked"));
    for (answer, status) in [
        (format!("HTTP/1.1 200 OK\r\nX-User: {}", secret("subject")), 101),
        (format!("HTTP/1.1 200 OK\r\nX-Other: {}", secret("subject")), 403),
        (format!("HTTP/1.1 401 Unauthorized\r\nX-Why: {}", secret("why")), 401),
        (format!("HTTP/1.1 500 Oh\r\nX-Why: {}", secret("why")), 503),
        (format!("{} is no HTTP", secret("why")), 503),
    ] {
        let mut page = Raw::ask(process.address, &target, &lines()).await;
        let mut asked = authority.accept().await;
        asked
            .write(format!("{answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
            .await;
        drop(asked);
        if status == 101 {
            let mut server = agent.accept().await;
            server.switch("").await;
            page.switched().await;
        } else {
            assert_eq!(page.answered().await.0, status);
        }
    }
}

/// What the gate and hyper refuse.
pub(crate) async fn refusals(process: &Process, agent: &RawAgent) {
    let target = format!("/query?s={}", secret("refused"));
    let good = upgrade(process.address, &target, &lines());
    for (request, status) in [
        (
            upgrade(process.address, &target, "Origin: https://evil.example\r\n"),
            403,
        ),
        (good.replace("Version: 13", "Version: 8"), 426),
        (good.replace("GET", "POST"), 400),
        (
            good.replace(&format!("Host: {}", process.address), "Host: evil.example"),
            421,
        ),
        (upgrade(process.address, "/header", &lines()), 400),
        (format!("{} / HTTP/1.1\r\n\r\n", secret("method")), 400),
        (format!("GET /{} HTTP/7\r\n\r\n", secret("version")), 400),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\n{} : 1\r\n\r\n", secret("name")),
            400,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\u{1}\r\n\r\n", secret("value")),
            400,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                secret("long").repeat(2000)
            ),
            431,
        ),
        (
            format!(
                "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {}\r\n\r\n",
                secret("tunnel")
            ),
            501,
        ),
    ] {
        let mut page = Raw::connect(process.address).await;
        page.write(request.as_bytes()).await;
        assert_eq!(page.read_head().await, Some(status), "{request}");
    }
    // what the agent server refuses, and one that is not there
    let mut page = Raw::ask(process.address, &target, &lines()).await;
    let mut server = agent.accept().await;
    let refusal = format!(
        "HTTP/1.1 401 {0}\r\nSet-Cookie: a={0}\r\nContent-Length: 0\r\n\r\n",
        secret("reason")
    );
    server.write(refusal.as_bytes()).await;
    assert_eq!(page.answered().await.0, 401);
    let mut page = Raw::ask(process.address, &format!("/nobody?s={}", secret("nobody")), &lines()).await;
    assert_eq!(page.answered().await.0, 502);
}

/// Pages that break the protocol, with a secret in what breaks it.
pub(crate) async fn broken_pages(process: &Process, agent: &RawAgent) {
    let text = secret("broken-page");
    let bad_text = [text.as_bytes(), &[0xff]].concat();
    let long = text.repeat(5000);
    let reason = [&1000u16.to_be_bytes()[..], &bad_text].concat();
    for (index, (first, payload)) in [
        (0x83, text.as_bytes()),
        (0xc1, text.as_bytes()),
        (0x81, &bad_text[..]),
        (0x88, &reason[..]),
        (0x81, long.as_bytes()),
        (0x80, text.as_bytes()),
    ]
    .into_iter()
    .enumerate()
    {
        let (mut page, server) = session(process, agent, &format!("/query?s={index}-{text}"), &lines()).await;
        page.frame(first, payload).await;
        page.closed().await;
        process.says(&["page broke the protocol"]).await;
        drop(server);
    }
}

/// Servers that do.
pub(crate) async fn broken_servers(process: &Process, agent: &RawAgent) {
    let text = secret("broken-server");
    let bad_text = [text.as_bytes(), &[0xff]].concat();
    for (index, (first, payload)) in [(0x83, text.as_bytes()), (0x81, &bad_text[..]), (0x80, text.as_bytes())]
        .into_iter()
        .enumerate()
    {
        let (mut page, mut server) = session(process, agent, &format!("/query?s=server-{index}"), "").await;
        server.frame(first, payload).await;
        assert_eq!(page.closed().await.0, 1011);
    }
    // a 101 that is none
    let mut page = Raw::ask(process.address, "/query?s=none", "").await;
    let mut server = agent.accept().await;
    let head = format!(
        "HTTP/1.1 101 {0}\r\nUpgrade: {0}\r\nSec-WebSocket-Accept: {0}\r\n\r\n{0}",
        secret("switch")
    );
    server.write(head.as_bytes()).await;
    assert_eq!(page.answered().await.0, 502);
}

/// A log that runs over while nobody is there.
pub(crate) async fn overflow(process: &Process, agent: &RawAgent) {
    let target = format!("/query?s={}", secret("overflow"));
    let (page, mut server) = session(process, agent, &target, "").await;
    drop(page);
    process.nobody_is_attached().await;
    for _ in 0..16 {
        server.send(&secret("much").repeat(50)).await;
    }
    process.says(&["log full"]).await;
    let mut page = Raw::upgraded(process.address, &target, "").await;
    assert_eq!(page.text().await, secret("much").repeat(50));
    process.says(&["gap"]).await;
}
