//! Signed hellos over real sockets: the session is its signer's, and whoever else names it learns nothing.

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::{Agent, Connection, Page, Proxy, route};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use sessmux::config::{Foreign, KeyPart, KeySource};
use sessmux::profile::Profile;

const RULES: &str = r#"
    [[rule]]
    from = "client"
    when = { "/type" = "PROBE" }
    frame = 1
    role = "tunnel"
    [[rule]]
    from = "client"
    when = { "/type" = "CONNECT" }
    role = "hello"
    [rule.signed]
    key = "/from"
    signature = "/signature"
    over = "/payload"
    timestamp = "/payload/timestamp"
    recipient = "/payload/to"
    same = ["/payload/extensions"]
    [[rule]]
    from = "server"
    when = { "/type" = "CONNECTED" }
    role = "hello-answer"
    [[rule]]
    from = "server"
    when = { "/type" = "ERROR" }
    role = "hello-refused"
"#;

async fn start(agent: &Agent, foreign: Foreign) -> Proxy {
    let mut route = route(agent.address, vec![KeySource::First("/session_id".into())]);
    route.profile = Profile::parse(RULES).unwrap();
    route.foreign = foreign;
    // the session's own id, once the server has said it
    route.key = vec![KeyPart {
        alternatives: vec![
            KeySource::Answer("/session_id".into()),
            KeySource::First("/session_id".into()),
        ],
    }];
    Proxy::start(route).await
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn mine() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn theirs() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn signed(key: &SigningKey, session: &str, payload: &Value) -> String {
    // its names are sorted
    let signature = hex(&key.sign(payload.to_string().as_bytes()).to_bytes());
    let from = hex(&key.verifying_key().to_bytes());
    json!({"type": "CONNECT", "session_id": session, "payload": payload, "from": from, "signature": signature})
        .to_string()
}

/// A hello that was not said before: `load` seconds ago.
fn hello(key: &SigningKey, session: &str, load: u64) -> String {
    signed(key, session, &json!({"timestamp": now() - load, "to": "agent"}))
}

async fn says(proxy: &Proxy, first: impl Into<String>) -> Page {
    let mut page = proxy.page("/ws").await;
    page.send(first).await;
    page
}

/// The session `s` of this signer, its hello answered, and something to see in it.
async fn session(proxy: &Proxy, agent: &mut Agent) -> (Page, Connection) {
    let mut page = says(proxy, hello(&mine(), "s", 0)).await;
    let mut server = agent.connection().await;
    assert!(server.text().await.contains("CONNECT"));
    server.send(r#"{"type":"CONNECTED","session_id":"s"}"#).await;
    server.send("secret").await;
    assert!(page.text().await.contains("CONNECTED"));
    assert_eq!(page.text().await, "secret");
    (page, server)
}

/// Still attached, on its one connection.
async fn undisturbed(page: &mut Page, server: &mut Connection) {
    server.send("news").await;
    assert_eq!(page.text().await, "news");
    page.send(r#"{"type":"thanks"}"#).await;
    assert_eq!(server.text().await, r#"{"type":"thanks"}"#);
}

#[tokio::test]
async fn the_owner_comes_back_and_the_server_hears_one_hello() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent, Foreign::Refuse).await;
    let (page, mut server) = session(&proxy, &mut agent).await;
    page.leave().await;
    let mut page = says(&proxy, hello(&mine(), "s", 1)).await;
    assert!(page.text().await.contains("CONNECTED"));
    assert_eq!(page.text().await, "secret");
    undisturbed(&mut page, &mut server).await;
    assert_eq!(agent.count(), 1);
}

#[tokio::test]
async fn whoever_else_names_the_session_is_refused_and_shown_nothing() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent, Foreign::Refuse).await;
    let (mut page, mut server) = session(&proxy, &mut agent).await;
    let forged = hello(&mine(), "s", 2).replace("agent", "agenda");
    let stale = hello(&mine(), "s", 301);
    let other_terms = json!({"extensions": {"x": 1}, "timestamp": now() - 3, "to": "agent"});
    let for_another = json!({"timestamp": now() - 4, "to": "other agent"});
    let named_twice = hello(&theirs(), "mine", 0).replace("{\"type\"", "{\"session_id\":\"s\",\"type\"");
    for first in [
        hello(&theirs(), "s", 0),
        forged,
        stale,
        signed(&mine(), "s", &other_terms),
        signed(&mine(), "s", &for_another),
        named_twice,
        json!({"type": "CONNECT", "session_id": "s"}).to_string(),
        json!({"type": "INPUT", "session_id": "s"}).to_string(),
        // names nobody's, but proves nothing either
        json!({"type": "CONNECT", "session_id": "new"}).to_string(),
    ] {
        let mut stranger = says(&proxy, first.clone()).await;
        // the close is all that it gets
        assert_eq!(stranger.close_code().await, Some(4003), "{first}");
        undisturbed(&mut page, &mut server).await;
    }
    assert_eq!(agent.count(), 1, "and nothing is dialled");
}

#[tokio::test]
async fn a_hello_is_used_once_that_of_the_creator_included() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent, Foreign::Refuse).await;
    let first = hello(&mine(), "s", 10);
    let mut page = says(&proxy, first.clone()).await;
    let mut server = agent.connection().await;
    server.text().await;
    server.send(r#"{"type":"CONNECTED","session_id":"s"}"#).await;
    page.text().await;
    // the same second, the same address: a page that was loaded twice
    page.leave().await;
    let mut page = says(&proxy, first.clone()).await;
    assert!(page.text().await.contains("CONNECTED"));
    let second = hello(&mine(), "s", 9);
    page.leave().await;
    let mut page = says(&proxy, second).await;
    assert!(page.text().await.contains("CONNECTED"));
    // from another address it is never the same page
    let mut elsewhere = common::page_from("127.0.0.2", proxy.address, "/ws").await;
    elsewhere.send(first).await;
    assert_eq!(elsewhere.close_code().await, Some(4003));
    undisturbed(&mut page, &mut server).await;
}

#[tokio::test]
async fn no_hello_is_said_in_a_tunnel() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent, Foreign::Refuse).await;
    let (mut page, mut server) = session(&proxy, &mut agent).await;
    let mut probe = says(&proxy, r#"{"type":"PROBE","session_id":"s"}"#).await;
    let mut probed = agent.connection().await;
    assert!(probed.text().await.contains("PROBE"));
    probed.send("state").await;
    assert_eq!(probe.text().await, "state");
    // a server that hands the session to whoever names it would take this one
    probe.send(hello(&theirs(), "s", 0)).await;
    assert_eq!(probe.close_code().await, Some(4003));
    assert_eq!(probed.close_code().await, Some(1001), "it has heard nothing else");
    undisturbed(&mut page, &mut server).await;
}

#[tokio::test]
async fn nothing_is_forwarded_that_the_server_may_read_otherwise() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent, Foreign::Refuse).await;
    let (mut page, mut server) = session(&proxy, &mut agent).await;
    let named = hello(&theirs(), "s", 0);
    for (number, ambiguous) in [
        named.replacen('{', r#"{"type":"INPUT","#, 1),
        named.replacen('{', r#"{"x":NaN,"#, 1),
        named.replacen('{', r#"{"x":"\ud800","#, 1),
        format!("[{named}"),
        // far behind the beginning
        format!(
            r#"{{"type":"INPUT","image":"{}","type":"CONNECT"}}"#,
            "i".repeat(100_000)
        ),
    ]
    .into_iter()
    .enumerate()
    {
        // in a session of its own, and in a tunnel
        let session = format!("t{number}");
        for first in [hello(&theirs(), &session, 5), r#"{"type":"PROBE"}"#.to_owned()] {
            let mut stranger = says(&proxy, first).await;
            let mut other = agent.connection().await;
            other.text().await;
            stranger.send(ambiguous.clone()).await;
            assert_eq!(stranger.close_code().await, Some(4003), "{ambiguous:.80}");
            assert_eq!(other.close_code().await, Some(1001), "it has heard nothing else");
        }
    }
    let mut stranger = says(&proxy, r#"{"type":"PROBE","type":"CONNECT","session_id":"s"}"#).await;
    let mut other = agent.connection().await;
    assert_eq!(stranger.close_code().await, Some(4003));
    assert_eq!(other.close_code().await, Some(1001), "it has heard nothing");
    undisturbed(&mut page, &mut server).await;
}

#[tokio::test]
async fn no_second_hello_is_said_after_one_that_the_server_refused() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent, Foreign::Refuse).await;
    let (mut page, mut server) = session(&proxy, &mut agent).await;
    let mut stranger = says(&proxy, hello(&theirs(), "t", 0)).await;
    let mut judge = agent.connection().await;
    assert!(judge.text().await.contains("CONNECT"));
    judge.send(r#"{"type":"ERROR"}"#).await;
    assert!(stranger.text().await.contains("ERROR"));
    // it proves its signer, but names another's session
    stranger.send(hello(&theirs(), "s", 1)).await;
    assert_eq!(stranger.close_code().await, Some(4003));
    assert_eq!(judge.close_code().await, Some(1001), "it has heard nothing else");
    undisturbed(&mut page, &mut server).await;
}

#[tokio::test]
async fn where_strangers_are_not_refused_they_have_sessions_of_their_own() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent, Foreign::Separate).await;
    let (mut page, mut server) = session(&proxy, &mut agent).await;
    let mut other = says(&proxy, hello(&theirs(), "s", 0)).await;
    let mut others = agent.connection().await;
    assert!(others.text().await.contains("CONNECT"));
    others.send(r#"{"type":"CONNECTED","session_id":"s"}"#).await;
    assert!(other.text().await.contains("CONNECTED"));
    other.leave().await;
    let mut other = says(&proxy, hello(&theirs(), "s", 1)).await;
    assert!(other.text().await.contains("CONNECTED"));
    undisturbed(&mut other, &mut others).await;
    // what proves nothing is the server's to judge, and nobody comes back to it
    let mut nobody = says(&proxy, json!({"type": "CONNECT", "session_id": "s"}).to_string()).await;
    let mut judge = agent.connection().await;
    assert!(judge.text().await.contains("CONNECT"));
    judge.send(r#"{"type":"ERROR"}"#).await;
    assert!(nobody.text().await.contains("ERROR"));
    undisturbed(&mut page, &mut server).await;
}

#[tokio::test]
async fn a_browser_may_be_refused_anothers_session_too() {
    let mut agent = Agent::start().await;
    let mut route = route(agent.address, vec![KeySource::QueryParam("s".into())]);
    route.foreign = Foreign::Refuse;
    let proxy = Proxy::start(route).await;
    let origin = format!("http://{}", proxy.address);
    let mut page = proxy.page_with("/ws?s=1", &[("origin", &origin)]).await.unwrap();
    let mut server = agent.connection().await;
    for headers in [vec![], vec![("origin", origin.as_str())]] {
        let refused = proxy.page_with("/ws?s=1", &headers).await.unwrap_err().to_string();
        assert!(refused.contains("403"), "{refused}");
    }
    undisturbed(&mut page, &mut server).await;
    let cookie = page.answer.headers()["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    page.leave().await;
    let headers = [("origin", origin.as_str()), ("cookie", cookie.as_str())];
    let mut page = proxy.page_with("/ws?s=1", &headers).await.unwrap();
    for text in ["news", "more"] {
        if text == "more" {
            server.send(text).await;
        }
        assert_eq!(page.text().await, text);
    }
    assert_eq!(agent.count(), 1);
}
