//! Requests of pages and their answers over real sockets: ids that start anew with every page, as JSON-RPC and socket.io
//! have them.

mod common;

use common::{Agent, Connection, Page, Proxy, route};
use serde_json::{Value, json};
use sessmux::config::KeySource;
use sessmux::profile::{Profile, built_in};

async fn start(agent: &Agent) -> Proxy {
    let mut route = route(agent.address, vec![KeySource::QueryParam("s".into())]);
    route.profile = Profile::parse(built_in("json-rpc").unwrap()).unwrap();
    Proxy::start(route).await
}

async fn says(page: &mut Page, message: Value) {
    page.send(&message.to_string()).await;
}

async fn heard(server: &mut Connection) -> Value {
    serde_json::from_str(&server.text().await).unwrap()
}

async fn got(page: &mut Page) -> Value {
    serde_json::from_str(&page.text().await).unwrap()
}

/// The server's next message is `method` under some id, which it is answered by.
async fn asked(server: &mut Connection, method: &str) -> Value {
    let message = heard(server).await;
    assert_eq!(message["method"], method, "{message}");
    message["id"].clone()
}

/// A page that says its hello under this id.
async fn hello(proxy: &Proxy, id: Value) -> Page {
    let mut page = proxy.page("/ws?s=1").await;
    says(&mut page, json!({"id": id, "method": "initialize", "params": {}})).await;
    page
}

/// The first page of a session, its hello answered.
async fn first(proxy: &Proxy, agent: &mut Agent) -> (Page, Connection) {
    let mut page = hello(proxy, json!(0)).await;
    let mut server = agent.connection().await;
    let id = asked(&mut server, "initialize").await;
    server
        .send(&json!({"id": id, "result": {"agent": "x"}}).to_string())
        .await;
    assert_eq!(got(&mut page).await, json!({"id": 0, "result": {"agent": "x"}}));
    says(&mut page, json!({"method": "initialized"})).await;
    assert_eq!(heard(&mut server).await, json!({"method": "initialized"}));
    (page, server)
}

#[tokio::test]
async fn the_hello_is_said_once_and_its_answer_comes_under_each_pages_own_id() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent).await;
    let (page, mut server) = first(&proxy, &mut agent).await;
    page.leave().await;
    for id in [json!(7), json!("seven"), json!("a\"b")] {
        let mut page = hello(&proxy, id.clone()).await;
        assert_eq!(got(&mut page).await, json!({"id": id, "result": {"agent": "x"}}));
        says(&mut page, json!({"method": "initialized"})).await;
        // and again on the same socket
        says(&mut page, json!({"id": 99, "method": "initialize"})).await;
        assert_eq!(got(&mut page).await, json!({"id": 99, "result": {"agent": "x"}}));
        says(&mut page, json!({"method": "note", "params": id})).await;
        assert_eq!(
            heard(&mut server).await["method"],
            "note",
            "no second hello, no second initialized"
        );
        page.leave().await;
    }
}

#[tokio::test]
async fn a_late_answer_does_not_reach_a_newer_pages_request_of_the_same_id() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent).await;
    let (mut page, mut server) = first(&proxy, &mut agent).await;
    says(&mut page, json!({"id": 1, "method": "slow"})).await;
    let older = asked(&mut server, "slow").await;
    page.leave().await;
    let mut page = hello(&proxy, json!(0)).await;
    got(&mut page).await;
    says(&mut page, json!({"id": 1, "method": "fast"})).await;
    let newer = asked(&mut server, "fast").await;
    assert_ne!(older, newer);
    server
        .send(&json!({"id": older, "result": "for the older page"}).to_string())
        .await;
    server.send(&json!({"id": newer, "result": "yours"}).to_string()).await;
    assert_eq!(got(&mut page).await, json!({"id": 1, "result": "yours"}));
}

#[tokio::test]
async fn answers_are_not_replayed_and_all_the_rest_is_as_it_was() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent).await;
    let (mut page, mut server) = first(&proxy, &mut agent).await;
    for id in [json!(1), json!("two")] {
        says(&mut page, json!({"id": id, "method": "list"})).await;
        let upstream = asked(&mut server, "list").await;
        assert_eq!(upstream.is_string(), id.is_string(), "an id keeps its type");
        server
            .send(&format!(r#"{{ "result" : {{"id":9, "x": 1.50}}, "id" : {upstream}}}"#))
            .await;
        // nothing but the id is changed
        assert_eq!(
            page.text().await,
            format!(r#"{{ "result" : {{"id":9, "x": 1.50}}, "id" : {id}}}"#)
        );
        server.send(r#"{"method":"event"}"#).await;
        assert_eq!(got(&mut page).await, json!({"method": "event"}));
    }
    // one that nobody waits for while nobody is there
    says(&mut page, json!({"id": 3, "method": "late"})).await;
    let id = asked(&mut server, "late").await;
    page.leave().await;
    server.send(&json!({"id": id, "error": {}}).to_string()).await;
    server.send(r#"{"method":"last"}"#).await;
    let mut page = hello(&proxy, json!(0)).await;
    assert_eq!(got(&mut page).await["result"]["agent"], "x");
    for method in ["event", "event", "last"] {
        assert_eq!(got(&mut page).await, json!({"method": method}));
    }
}

#[tokio::test]
async fn an_id_that_is_too_long_to_be_kept_goes_upstream_as_it_is() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent).await;
    let long = |end: &str| json!(format!("{}{end}", "x".repeat(300)));
    let mut page = hello(&proxy, long("hello")).await;
    let mut server = agent.connection().await;
    assert_eq!(asked(&mut server, "initialize").await, long("hello"));
    // the answer to another request is none to the hello
    says(&mut page, json!({"id": 1, "method": "early"})).await;
    let early = asked(&mut server, "early").await;
    server.send(&json!({"id": early, "result": "early"}).to_string()).await;
    assert_eq!(got(&mut page).await, json!({"id": 1, "result": "early"}));
    let ready = json!({"id": long("hello"), "result": {"agent": "x"}});
    server.send(&ready.to_string()).await;
    assert_eq!(got(&mut page).await, ready);
    for id in [long("a"), long("b")] {
        says(&mut page, json!({"id": id, "method": "list"})).await;
        assert_eq!(asked(&mut server, "list").await, id);
    }
    let about = json!({"method": "notifications/cancelled", "params": {"requestId": long("b")}});
    says(&mut page, about.clone()).await;
    assert_eq!(heard(&mut server).await, about, "and so does what is about it");
    let answer = json!({"id": long("a"), "result": "yours"});
    server.send(&answer.to_string()).await;
    assert_eq!(got(&mut page).await, answer);
    page.leave().await;
    // nobody is there for this one
    server
        .send(&json!({"id": long("b"), "result": "nobody's"}).to_string())
        .await;
    // later pages have their own hello answered, and see no answers to others
    let mut page = hello(&proxy, json!(0)).await;
    assert_eq!(got(&mut page).await, json!({"id": 0, "result": {"agent": "x"}}));
    server.send(r#"{"method":"event"}"#).await;
    assert_eq!(got(&mut page).await, json!({"method": "event"}));
    page.leave().await;
    let mut page = hello(&proxy, long("hello")).await;
    assert_eq!(got(&mut page).await, ready);
    // prompts are told apart by such ids as by others
    for id in [long("one"), long("two")] {
        server.send(&json!({"id": id, "method": "approve"}).to_string()).await;
    }
    let yes = json!({"id": long("two"), "result": "yes"});
    for _ in 0..2 {
        says(&mut page, yes.clone()).await;
    }
    says(&mut page, json!({"method": "note"})).await;
    assert_eq!(heard(&mut server).await, yes);
    assert_eq!(heard(&mut server).await, json!({"method": "note"}));
    page.leave().await;
    let mut page = hello(&proxy, json!(0)).await;
    got(&mut page).await;
    assert_eq!(got(&mut page).await, json!({"method": "event"}));
    assert_eq!(got(&mut page).await["id"], long("one"));
    server.send(r#"{"method":"last"}"#).await;
    assert_eq!(got(&mut page).await, json!({"method": "last"}));
}

#[tokio::test]
async fn the_servers_requests_wait_for_the_person() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent).await;
    let (page, mut server) = first(&proxy, &mut agent).await;
    let approval = json!({"id": 0, "method": "item/commandExecution/requestApproval", "params": {"command": "make"}});
    server.send(&approval.to_string()).await;
    page.leave().await;
    let mut page = hello(&proxy, json!(0)).await;
    got(&mut page).await;
    assert_eq!(got(&mut page).await, approval);
    let answer = json!({"id": 0, "result": {"decision": "accept"}});
    says(&mut page, answer.clone()).await;
    assert_eq!(heard(&mut server).await, answer, "under the server's own id");
    says(&mut page, json!({"id": 0, "result": {"decision": "decline"}})).await;
    says(&mut page, json!({"method": "note"})).await;
    assert_eq!(
        heard(&mut server).await,
        json!({"method": "note"}),
        "the first answer wins"
    );
    page.leave().await;
    let mut page = hello(&proxy, json!(0)).await;
    got(&mut page).await;
    server.send(r#"{"method":"done"}"#).await;
    assert_eq!(
        got(&mut page).await,
        json!({"method": "done"}),
        "it is not asked again once it was answered"
    );
}

#[tokio::test]
async fn a_prompt_that_the_server_sends_again_is_shown_once() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent).await;
    let (page, mut server) = first(&proxy, &mut agent).await;
    let approval = json!({"id": 0, "method": "approve", "params": {"command": "make"}});
    server.send(&approval.to_string()).await;
    page.leave().await;
    let mut page = hello(&proxy, json!(0)).await;
    got(&mut page).await;
    // as some do for a page that resumes its thread
    server.send(&approval.to_string()).await;
    server.send(r#"{"method":"resumed"}"#).await;
    assert_eq!(got(&mut page).await, approval);
    assert_eq!(got(&mut page).await, json!({"method": "resumed"}));
    // another question of the same id takes its place
    let other = json!({"id": 0, "method": "approve", "params": {"command": "rm"}});
    server.send(&other.to_string()).await;
    assert_eq!(got(&mut page).await, other);
    page.leave().await;
    let mut page = hello(&proxy, json!(0)).await;
    got(&mut page).await;
    assert_eq!(got(&mut page).await, json!({"method": "resumed"}));
    assert_eq!(got(&mut page).await, other);
    says(&mut page, json!({"id": 0, "result": "no"})).await;
    heard(&mut server).await;
    // asked anew, it is asked
    server.send(&other.to_string()).await;
    assert_eq!(got(&mut page).await, other);
}

#[tokio::test]
async fn a_refused_hello_leaves_none_behind_and_other_answers_may_come_first() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent).await;
    let mut page = hello(&proxy, json!(0)).await;
    let mut server = agent.connection().await;
    let refused = asked(&mut server, "initialize").await;
    server
        .send(&json!({"id": refused, "error": {"message": "no"}}).to_string())
        .await;
    assert_eq!(got(&mut page).await, json!({"id": 0, "error": {"message": "no"}}));
    says(&mut page, json!({"id": 1, "method": "initialize"})).await;
    let hello_id = asked(&mut server, "initialize").await;
    says(&mut page, json!({"id": 2, "method": "early"})).await;
    let early = asked(&mut server, "early").await;
    server.send(&json!({"id": early, "result": "early"}).to_string()).await;
    let (news, prompt) = (json!({"method": "news"}), json!({"id": 0, "method": "trust?"}));
    server.send(&news.to_string()).await;
    server.send(&prompt.to_string()).await;
    server
        .send(&json!({"id": hello_id, "result": "welcome"}).to_string())
        .await;
    let welcome = |id: u64| json!({"id": id, "result": "welcome"});
    for expected in [
        json!({"id": 2, "result": "early"}),
        news.clone(),
        prompt.clone(),
        welcome(1),
    ] {
        assert_eq!(got(&mut page).await, expected);
    }
    page.leave().await;
    // what came between hello and answer is of the record, but not what one page alone was answered
    let mut page = hello(&proxy, json!(5)).await;
    for expected in [news.clone(), welcome(5), prompt] {
        assert_eq!(got(&mut page).await, expected);
    }
    says(&mut page, json!({"id": 0, "result": "trusted"})).await;
    assert_eq!(heard(&mut server).await["result"], "trusted");
    page.leave().await;
    let mut page = hello(&proxy, json!(6)).await;
    server.send(r#"{"method":"last"}"#).await;
    for expected in [news, welcome(6), json!({"method": "last"})] {
        assert_eq!(got(&mut page).await, expected);
    }
}

#[tokio::test]
async fn ids_may_be_a_group_of_the_text() {
    let mut agent = Agent::start().await;
    let mut route = route(agent.address, vec![KeySource::QueryParam("s".into())]);
    let rules = r#"
        [[rule]]
        from = "client"
        text = '^42(?<id>\d+)\['
        role = "request"
        [[rule]]
        from = "server"
        text = '^43(?<id>\d+)\['
        role = "answer"
        [[rule]]
        from = "server"
        text = '^42(?<id>\d+)\["ask"'
        role = "prompt"
        [[rule]]
        from = "client"
        text = '^43(?<id>\d+)\['
        role = "prompt-answer"
    "#;
    route.profile = Profile::parse(rules).unwrap();
    let proxy = Proxy::start(route).await;
    let mut page = proxy.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    page.send(r#"420["older"]"#).await;
    let older = server.text().await;
    page.leave().await;
    let mut page = proxy.page("/ws?s=1").await;
    page.send(r#"420["newer",{"n":1.0}]"#).await;
    let newer = server.text().await;
    let number = |text: &str| text[2..].split('[').next().unwrap().to_owned();
    assert_ne!(number(&older), number(&newer));
    assert!(newer.ends_with(r#"["newer",{"n":1.0}]"#), "{newer}");
    server.send(&format!("43{}[\"old\"]", number(&older))).await;
    server.send(&format!("43{}[\"new\"]", number(&newer))).await;
    server.send(r#"427["ask","?"]"#).await;
    server.send(r#"428["ask","!"]"#).await;
    for expected in [r#"430["new"]"#, r#"427["ask","?"]"#, r#"428["ask","!"]"#] {
        assert_eq!(page.text().await, expected);
    }
    page.send(r#"438["yes"]"#).await;
    assert_eq!(server.text().await, r#"438["yes"]"#);
    page.leave().await;
    let mut page = proxy.page("/ws?s=1").await;
    assert_eq!(page.text().await, r#"427["ask","?"]"#);
    server.send(r#"42["end"]"#).await;
    assert_eq!(page.text().await, r#"42["end"]"#);
}

#[tokio::test]
async fn a_page_cancels_its_own_request_and_no_other() {
    let mut agent = Agent::start().await;
    let proxy = start(&agent).await;
    let (mut page, mut server) = first(&proxy, &mut agent).await;
    says(&mut page, json!({"id": 1, "method": "long/job"})).await;
    let long = asked(&mut server, "long/job").await;
    page.leave().await;

    let mut page = hello(&proxy, json!(0)).await;
    assert_eq!(got(&mut page).await, json!({"id": 0, "result": {"agent": "x"}}));
    let about = |id: &Value| json!({"method": "notifications/cancelled", "params": {"requestId": id}});
    // that of the page before, which has the same id there; and one that was never asked
    for id in [&long, &json!(1), &json!("x")] {
        says(&mut page, about(id)).await;
    }
    says(&mut page, json!({"id": 1, "method": "short/job"})).await;
    let short = asked(&mut server, "short/job").await;
    assert_ne!(short, long);
    says(&mut page, about(&json!(1))).await;
    assert_eq!(heard(&mut server).await, about(&short));
    says(&mut page, json!({"id": "a", "method": "other/job"})).await;
    let other = asked(&mut server, "other/job").await;
    says(&mut page, json!({"method": "$/cancelRequest", "params": {"id": "a"}})).await;
    assert_eq!(
        heard(&mut server).await,
        json!({"method": "$/cancelRequest", "params": {"id": other}}),
        "a string stays one"
    );
    // once it is answered there is nothing to cancel
    server.send(&json!({"id": other, "result": 1}).to_string()).await;
    assert_eq!(got(&mut page).await, json!({"id": "a", "result": 1}));
    says(&mut page, about(&json!("a"))).await;
    says(&mut page, json!({"method": "note"})).await;
    assert_eq!(heard(&mut server).await, json!({"method": "note"}));
}
