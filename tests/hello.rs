//! Hellos over real sockets: said upstream once, absorbed and answered from the record afterwards.

mod common;

use common::{Agent, Connection, HELLO, Page, Proxy, route};
use sessmux::config::{KeyPart, KeySource, Route};
use sessmux::profile::Profile;

const ANSWER: &str = r#"
    [[rule]]
    from = "server"
    when = { "/type" = "ready" }
    role = "hello-answer"
"#;

fn with_rules(agent: &Agent, key: &str, rules: &[&str]) -> Route {
    let mut route = route(agent.address, Vec::new());
    route.key = vec![key.parse::<KeyPart>().unwrap()];
    route.profile = Profile::parse(&rules.concat()).unwrap();
    route
}

fn hello(page: &str) -> String {
    format!(r#"{{"type":"hello","page":"{page}"}}"#)
}

async fn say(page: &mut Page, text: &str) {
    page.send(text).await;
}

/// A page that has named its session and said no hello, its agent, and a page that has said its own.
async fn one_before_another(proxy: &Proxy, agent: &mut Agent) -> (Page, Connection, Page) {
    let mut first = proxy.page("/ws").await;
    say(&mut first, r#"{"s":"1"}"#).await;
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, r#"{"s":"1"}"#);
    let mut second = proxy.page("/ws").await;
    say(&mut second, r#"{"type":"hello","s":"1"}"#).await;
    (first, server, second)
}

#[tokio::test]
async fn a_second_hello_is_absorbed_and_the_replay_waits_for_it() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(with_rules(&agent, "query:s", &[HELLO])).await;
    let mut page = proxy.page("/ws?s=1").await;
    say(&mut page, &hello("first")).await;
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, hello("first"));
    server.send("approve?").await;
    assert_eq!(page.text().await, "approve?");
    page.leave().await;

    let mut page = proxy.page("/ws?s=1").await;
    // what it says before and after its hello goes upstream, in order; the hello does not
    say(&mut page, "before").await;
    say(&mut page, &hello("second")).await;
    assert_eq!(page.text().await, "approve?");
    say(&mut page, "yes").await;
    assert_eq!(server.text().await, "before");
    assert_eq!(server.text().await, "yes");
    assert_eq!(agent.count(), 1);
}

#[tokio::test]
async fn a_page_that_has_not_said_its_hello_disturbs_nobody_and_sees_only_the_challenge() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(with_rules(&agent, "query:s", &[HELLO])).await;
    let mut page = proxy.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    server.send("challenge").await;
    assert_eq!(page.text().await, "challenge");
    say(&mut page, &hello("first")).await;
    assert_eq!(server.text().await, hello("first"));
    server.send("secret").await;
    assert_eq!(page.text().await, "secret");

    let mut pending = proxy.page("/ws?s=1").await;
    assert_eq!(pending.text().await, "challenge");
    // the attached page goes on, both ways, with the pending one beside it
    say(&mut page, "ping").await;
    assert_eq!(server.text().await, "ping");
    server.send("pong").await;
    assert_eq!(page.text().await, "pong");
    // and the pending one, once it says its hello, gets what it may see, the challenge not twice
    say(&mut pending, &hello("second")).await;
    assert_eq!(pending.text().await, "secret");
    assert_eq!(pending.text().await, "pong");
    assert_eq!(page.close_code().await, Some(4001));
}

#[tokio::test]
async fn a_second_page_is_shown_the_whole_challenge_however_late_it_comes() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(with_rules(&agent, "query:s", &[HELLO])).await;
    let mut first = proxy.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    let both = async {
        let mut second = proxy.page("/ws?s=1").await;
        assert_eq!(second.text().await, "challenge");
        say(&mut second, &hello("second")).await;
        second
    };
    let (mut second, ()) = tokio::join!(both, async {
        proxy.settled().await;
        server.send("challenge").await;
        assert_eq!(first.text().await, "challenge");
        say(&mut first, &hello("first")).await;
        assert_eq!(server.text().await, hello("first"));
    });
    assert_eq!(first.close_code().await, Some(4001));
    server.send("news").await;
    assert_eq!(second.text().await, "news");
    assert_eq!(agent.count(), 1);
}

#[tokio::test]
async fn a_page_that_said_its_hello_first_waits_for_that_of_the_creator() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(with_rules(&agent, "first:/s", &[HELLO])).await;
    let (mut first, mut server, mut second) = one_before_another(&proxy, &mut agent).await;
    proxy.settled().await;
    // the session stands once this is on its way, for this server does not answer hellos
    say(&mut first, &hello("first")).await;
    assert_eq!(server.text().await, hello("first"));
    assert_eq!(first.close_code().await, Some(4001));
    server.send("news").await;
    assert_eq!(second.text().await, "news");
    assert_eq!(agent.count(), 1);
}

#[tokio::test]
async fn a_page_that_said_its_hello_has_the_session_of_a_creator_that_says_none() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(with_rules(&agent, "first:/s", &[HELLO])).await;
    let (mut first, mut server, mut second) = one_before_another(&proxy, &mut agent).await;
    assert_eq!(first.close_code().await, Some(1008));
    assert_eq!(server.close_code().await, Some(1001));
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, r#"{"type":"hello","s":"1"}"#);
    server.send("news").await;
    assert_eq!(second.text().await, "news");
}

#[tokio::test]
async fn the_answer_is_shown_again_from_the_record() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(with_rules(&agent, "query:s", &[HELLO, ANSWER])).await;
    let mut page = proxy.page("/ws?s=1").await;
    say(&mut page, &hello("first")).await;
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, hello("first"));
    server.send("loading").await;
    server.send(r#"{"type":"ready","n":1}"#).await;
    server.send("approve?").await;
    for expected in ["loading", r#"{"type":"ready","n":1}"#, "approve?"] {
        assert_eq!(page.text().await, expected);
    }
    page.leave().await;
    let mut page = proxy.page("/ws?s=1").await;
    say(&mut page, &hello("second")).await;
    for expected in ["loading", r#"{"type":"ready","n":1}"#, "approve?"] {
        assert_eq!(page.text().await, expected);
    }
    assert_eq!(agent.count(), 1);
}

#[tokio::test]
async fn a_second_page_waits_for_the_answer_to_the_first_hello() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(with_rules(&agent, "query:s", &[HELLO, ANSWER])).await;
    let mut first = proxy.page("/ws?s=1").await;
    say(&mut first, &hello("first")).await;
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, hello("first"));
    let mut second = proxy.page("/ws?s=1").await;
    say(&mut second, &hello("second")).await;
    server.send(r#"{"type":"ready"}"#).await;
    assert_eq!(second.text().await, r#"{"type":"ready"}"#);
    assert_eq!(agent.count(), 1);
    assert_eq!(first.close_code().await, Some(4001));
}

#[tokio::test]
async fn a_session_whose_hello_is_not_answered_dies_with_its_page_and_the_next_page_creates_its_own() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(with_rules(&agent, "query:s", &[HELLO, ANSWER])).await;
    let mut first = proxy.page("/ws?s=1").await;
    say(&mut first, &hello("first")).await;
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, hello("first"));
    let mut second = proxy.page("/ws?s=1").await;
    say(&mut second, &hello("second")).await;
    first.leave().await;
    assert_eq!(server.close_code().await, Some(1001));
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, hello("second"));
    server.send(r#"{"type":"ready"}"#).await;
    assert_eq!(second.text().await, r#"{"type":"ready"}"#);
    assert_eq!(agent.count(), 2);
}

#[tokio::test]
async fn a_page_that_was_challenged_by_a_session_that_ended_is_told_to_come_again() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(with_rules(&agent, "query:s", &[HELLO, ANSWER])).await;
    let mut first = proxy.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    server.send("challenge A").await;
    assert_eq!(first.text().await, "challenge A");
    say(&mut first, &hello("first")).await;
    assert_eq!(server.text().await, hello("first"));
    let mut second = proxy.page("/ws?s=1").await;
    assert_eq!(second.text().await, "challenge A");
    first.leave().await;
    assert_eq!(server.close_code().await, Some(1001));
    // no other connection would take that, nor may this socket be shown what another says from its beginning
    say(&mut second, &hello("answer to A")).await;
    assert_eq!(second.close_code().await, Some(1012));
    assert_eq!(agent.count(), 1);

    let mut again = proxy.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    server.send("challenge B").await;
    assert_eq!(again.text().await, "challenge B");
    say(&mut again, &hello("answer to B")).await;
    assert_eq!(server.text().await, hello("answer to B"));
}

#[tokio::test]
async fn the_recorded_answer_is_changed_by_rule_and_by_state() {
    let mut agent = Agent::start().await;
    let rules = r#"
        [[rule]]
        from = "server"
        when = { "/type" = "ready" }
        role = "hello-answer"
        set = { "/status" = { running = "busy", idle = "idle" } }
        remove = ["/history"]
        [[rule]]
        from = "client"
        when = { "/type" = "input" }
        role = "turn-start"
    "#;
    let proxy = Proxy::start(with_rules(&agent, "query:s", &[HELLO, rules])).await;
    let mut page = proxy.page("/ws?s=1").await;
    say(&mut page, &hello("first")).await;
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, hello("first"));
    server.send("loading").await;
    let answer = r#"{"type":"ready","status":"new","history":[1,2]}"#;
    server.send(answer).await;
    assert_eq!(page.text().await, "loading");
    assert_eq!(page.text().await, answer, "the first page gets it as it is");
    for status in ["idle", "busy"] {
        page.leave().await;
        page = proxy.page("/ws?s=1").await;
        say(&mut page, &hello("again")).await;
        assert_eq!(page.text().await, "loading");
        assert_eq!(page.text().await, format!(r#"{{"type":"ready","status":"{status}"}}"#));
        say(&mut page, r#"{"type":"input"}"#).await;
        assert_eq!(server.text().await, r#"{"type":"input"}"#);
    }
}

#[tokio::test]
async fn a_hello_that_was_refused_leaves_no_session_and_may_be_said_again() {
    let mut agent = Agent::start().await;
    let refused = "[[rule]]\nfrom = \"server\"\nwhen = { \"/type\" = \"ERROR\" }\nrole = \"hello-refused\"\n";
    let proxy = Proxy::start(with_rules(&agent, "query:s", &[HELLO, ANSWER, refused])).await;
    let mut page = proxy.page("/ws?s=1").await;
    for attempt in ["wrong", "right"] {
        say(&mut page, &hello(attempt)).await;
        if attempt == "wrong" {
            let mut server = agent.connection().await;
            assert_eq!(server.text().await, hello("wrong"));
            server.send(r#"{"type":"ERROR"}"#).await;
            assert_eq!(page.text().await, r#"{"type":"ERROR"}"#);
            // it leaves, and nothing is left of that
            page.leave().await;
            assert_eq!(server.close_code().await, Some(1001));
            page = proxy.page("/ws?s=1").await;
        }
    }
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, hello("right"));
    server.send(r#"{"type":"ERROR"}"#).await;
    assert_eq!(page.text().await, r#"{"type":"ERROR"}"#);
    // or says it again over the same connection
    say(&mut page, &hello("better")).await;
    assert_eq!(server.text().await, hello("better"));
    server.send(r#"{"type":"ready"}"#).await;
    assert_eq!(page.text().await, r#"{"type":"ready"}"#);
    server.send(r#"{"type":"ERROR"}"#).await;
    page.leave().await;
    let mut page = proxy.page("/ws?s=1").await;
    say(&mut page, &hello("later")).await;
    assert_eq!(page.text().await, r#"{"type":"ready"}"#);
    assert_eq!(
        page.text().await,
        r#"{"type":"ERROR"}"#,
        "one that comes later is plain"
    );
}

#[tokio::test]
async fn a_server_that_asks_for_more_may_answer_the_same_hello_later() {
    let mut agent = Agent::start().await;
    let refused = "[[rule]]\nfrom = \"server\"\nwhen = { \"/type\" = [\"ERROR\", \"invite?\", \"welcome\"] }\n\
                   role = \"hello-refused\"\n";
    let proxy = Proxy::start(with_rules(&agent, "query:s", &[HELLO, ANSWER, refused])).await;
    let mut page = proxy.page("/ws?s=1").await;
    say(&mut page, &hello("stranger")).await;
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, hello("stranger"));
    for (asked, submitted) in [("invite?", "wrong"), ("ERROR", "right"), ("welcome", "")] {
        let asked = format!(r#"{{"type":"{asked}"}}"#);
        server.send(&asked).await;
        assert_eq!(page.text().await, asked);
        if !submitted.is_empty() {
            say(&mut page, submitted).await;
            assert_eq!(server.text().await, submitted);
        }
    }
    server.send(r#"{"type":"ready"}"#).await;
    server.send("news").await;
    assert_eq!(
        (page.text().await, page.text().await),
        (r#"{"type":"ready"}"#.into(), "news".into())
    );
    page.leave().await;
    let mut page = proxy.page("/ws?s=1").await;
    say(&mut page, &hello("known")).await;
    assert_eq!(
        page.text().await,
        r#"{"type":"ready"}"#,
        "and nothing of what came before"
    );
    assert_eq!(page.text().await, "news");
    assert_eq!(agent.count(), 1);
}

#[tokio::test]
async fn the_server_may_choose_the_id() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(with_rules(&agent, "answer:/id|first:/id", &[HELLO, ANSWER])).await;
    let mut page = proxy.page("/ws").await;
    say(&mut page, &hello("first")).await;
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, hello("first"));
    server.send(r#"{"type":"ready","id":"chosen"}"#).await;
    assert_eq!(page.text().await, r#"{"type":"ready","id":"chosen"}"#);
    page.leave().await;

    let mut page = proxy.page("/ws").await;
    say(&mut page, r#"{"type":"hello","id":"chosen"}"#).await;
    assert_eq!(page.text().await, r#"{"type":"ready","id":"chosen"}"#);
    assert_eq!(agent.count(), 1);

    // a newcomer to whom the server gives an id that is taken stays on its own, and leaves the other alone
    let mut other = proxy.page("/ws").await;
    say(&mut other, &hello("other")).await;
    let mut second = agent.connection().await;
    assert_eq!(second.text().await, hello("other"));
    second.send(r#"{"type":"ready","id":"chosen"}"#).await;
    assert_eq!(other.text().await, r#"{"type":"ready","id":"chosen"}"#);
    say(&mut page, "still mine").await;
    assert_eq!(server.text().await, "still mine");
    other.leave().await;
    assert_eq!(second.close_code().await, Some(1001));
}

#[tokio::test]
async fn a_session_that_its_server_should_have_named_and_did_not_dies_with_its_page() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(with_rules(&agent, "answer:/id|query:s", &[HELLO, ANSWER])).await;
    let mut page = proxy.page("/ws").await;
    say(&mut page, &hello("first")).await;
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, hello("first"));
    server.send(r#"{"type":"ready"}"#).await;
    assert_eq!(page.text().await, r#"{"type":"ready"}"#);
    page.leave().await;
    // nobody could ever come back to it
    assert_eq!(server.close_code().await, Some(1001));
}

#[tokio::test]
async fn a_page_that_came_for_another_name_than_the_server_chose_gets_its_own_session() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(with_rules(&agent, "answer:/id|query:s", &[HELLO, ANSWER])).await;
    let mut first = proxy.page("/ws?s=1").await;
    say(&mut first, &hello("first")).await;
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, hello("first"));
    // it has found the session, and has yet to say its hello, when that is named
    let mut second = proxy.page("/ws?s=1").await;
    server.send(r#"{"type":"ready","id":"2"}"#).await;
    assert_eq!(first.text().await, r#"{"type":"ready","id":"2"}"#);
    say(&mut second, &hello("second")).await;
    let mut its_own = agent.connection().await;
    assert_eq!(its_own.text().await, hello("second"));
    say(&mut first, "still here").await;
    assert_eq!(server.text().await, "still here");
    assert_eq!(agent.count(), 2);
}

#[tokio::test]
async fn on_a_first_message_route_without_rules_the_first_message_is_the_hello() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(route(agent.address, vec![KeySource::First("/id".into())])).await;
    let mut page = proxy.page("/ws").await;
    say(&mut page, r#"{"id":7}"#).await;
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, r#"{"id":7}"#);
    server.send("welcome").await;
    assert_eq!(page.text().await, "welcome");
    page.leave().await;
    let mut page = proxy.page("/ws").await;
    say(&mut page, r#"{"id":7}"#).await;
    assert_eq!(page.text().await, "welcome");
    say(&mut page, "next").await;
    assert_eq!(server.text().await, "next");

    for wrong in ["no json", "{}", r#"{"id":null}"#] {
        let mut page = proxy.page("/ws").await;
        say(&mut page, wrong).await;
        assert_eq!(page.close_code().await, Some(1008), "{wrong}");
    }
    assert_eq!(agent.count(), 1);
}
