//! The roles of messages, over real sockets: what a rule says is done to a message is done, and to no other.

mod common;

use common::{Agent, Connection, Page, Proxy, route};
use sessmux::config::{KeySource, ReplayMode, Route};
use sessmux::profile::Profile;

fn with_rules(agent: &Agent, rules: &str) -> Route {
    let mut route = route(agent.address, vec![KeySource::QueryParam("s".into())]);
    route.profile = Profile::parse(rules).unwrap();
    route
}

/// A session of such a route.
async fn session(route: Route, agent: &mut Agent) -> (Proxy, Page, Connection) {
    let proxy = Proxy::start(route).await;
    let page = proxy.page("/ws?s=1").await;
    let server = agent.connection().await;
    (proxy, page, server)
}

#[tokio::test]
async fn heartbeats_of_the_server_are_answered_attached_or_not_and_never_replayed() {
    let mut agent = Agent::start().await;
    let rules = r#"
        [[rule]]
        from = "server"
        when = { "/type" = "PING" }
        role = "heartbeat"
        answer = '{"type":"PONG","n":${/n}}'
        [[rule]]
        from = "client"
        when = { "/type" = "PONG" }
        role = "ignore"
    "#;
    let route = with_rules(&agent, rules);
    let (proxy, mut page, mut server) = session(route, &mut agent).await;
    server.send(r#"{"type":"PING","n":1}"#).await;
    assert_eq!(server.text().await, r#"{"type":"PONG","n":1}"#);
    server.send("news").await;
    assert_eq!(page.text().await, "news");
    // its own answer does not go upstream a second time
    page.send(r#"{"type":"PONG"}"#).await;
    page.send("thanks").await;
    assert_eq!(server.text().await, "thanks");
    page.leave().await;

    server.send(r#"{"type":"PING","n":2}"#).await;
    assert_eq!(server.text().await, r#"{"type":"PONG","n":2}"#);
    server.send("later").await;
    let mut page = proxy.page("/ws?s=1").await;
    assert_eq!((page.text().await, page.text().await), ("news".into(), "later".into()));
}

#[tokio::test]
async fn heartbeats_and_requests_of_the_page_are_answered_here() {
    let mut agent = Agent::start().await;
    let rules = r#"
        [[rule]]
        from = "client"
        text = "^2$"
        role = "heartbeat"
        answer = "3"
        [[rule]]
        from = "client"
        when = { "/method" = "whoami" }
        role = "local"
        answer = '{"id":${/id},"result":"you"}'
    "#;
    let route = with_rules(&agent, rules);
    let (_proxy, mut page, mut server) = session(route, &mut agent).await;
    page.send("2").await;
    assert_eq!(page.text().await, "3");
    page.send(r#"{"id":"x","method":"whoami"}"#).await;
    assert_eq!(page.text().await, r#"{"id":"x","result":"you"}"#);
    page.send("22").await;
    assert_eq!(
        server.text().await,
        "22",
        "only what the rule means is kept from the server"
    );
}

#[tokio::test]
async fn answers_stand_between_messages_though_the_server_sends_fragments() {
    use common::raw::{Got, Raw, RawAgent};
    let agent = RawAgent::start().await;
    let mut it = route(agent.address, vec![KeySource::QueryParam("s".into())]);
    it.profile =
        Profile::parse("[[rule]]\nfrom = \"client\"\ntext = \"^2$\"\nrole = \"heartbeat\"\nanswer = \"3\"\n").unwrap();
    let proxy = Proxy::start(it).await;
    let mut page = Raw::ask(proxy.address, "/ws?s=1", "").await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    server.frame(0x01, b"one ").await;
    page.send("2").await;
    assert_eq!(page.text().await, "3");
    server.frame(0x80, b"message").await;
    assert_eq!(page.next_but_pings().await, Got::Frame(0x01, false, b"one ".to_vec()));
    assert_eq!(
        page.next_but_pings().await,
        Got::Frame(0x80, false, b"message".to_vec())
    );
}

#[tokio::test]
async fn what_is_ignored_is_swallowed_both_ways() {
    let mut agent = Agent::start().await;
    let rules = "[[rule]]\nfrom = \"client\"\ntext = \"^noise\"\nrole = \"ignore\"\n\
                 [[rule]]\nfrom = \"server\"\ntext = \"^noise\"\nrole = \"ignore\"\n";
    let route = with_rules(&agent, rules);
    let (_proxy, mut page, mut server) = session(route, &mut agent).await;
    page.send("noise").await;
    page.send("signal").await;
    assert_eq!(server.text().await, "signal");
    server.send("noise").await;
    server.send("signal").await;
    assert_eq!(page.text().await, "signal");
}

#[tokio::test]
async fn a_turns_replay_starts_where_the_turn_did() {
    for (rules, ask) in [
        (
            "[[rule]]\nfrom = \"client\"\nwhen = { \"/type\" = \"INPUT\" }\nrole = \"turn-start\"\n",
            true,
        ),
        (
            "[[rule]]\nfrom = \"server\"\nwhen = { \"/type\" = \"started\" }\nrole = \"turn-start\"\n",
            false,
        ),
    ] {
        let mut agent = Agent::start().await;
        let mut route = with_rules(&agent, rules);
        route.replay_refresh = ReplayMode::Turn;
        let (proxy, mut page, mut server) = session(route, &mut agent).await;
        server.send("older").await;
        assert_eq!(page.text().await, "older");
        if ask {
            page.send(r#"{"type":"INPUT"}"#).await;
            assert_eq!(server.text().await, r#"{"type":"INPUT"}"#);
        }
        server.send(r#"{"type":"started"}"#).await;
        server.send("token").await;
        assert_eq!(page.text().await, r#"{"type":"started"}"#);
        page.leave().await;
        let mut page = proxy.page("/ws?s=1").await;
        assert_eq!(page.text().await, r#"{"type":"started"}"#);
        assert_eq!(page.text().await, "token");
    }
}

#[tokio::test]
async fn a_rule_may_mean_the_first_frame_of_each_page() {
    let mut agent = Agent::start().await;
    let rules = "[[rule]]\nfrom = \"client\"\nframe = 1\nrole = \"hello\"\n";
    let route = with_rules(&agent, rules);
    let (proxy, mut page, mut server) = session(route, &mut agent).await;
    page.send("rerun").await;
    page.send("rerun").await;
    assert_eq!(
        (server.text().await, server.text().await),
        ("rerun".into(), "rerun".into())
    );
    server.send("screen").await;
    assert_eq!(page.text().await, "screen");
    page.leave().await;
    let mut page = proxy.page("/ws?s=1").await;
    page.send("rerun").await;
    assert_eq!(page.text().await, "screen");
    page.send("click").await;
    assert_eq!(server.text().await, "click");
}

#[tokio::test]
async fn messages_that_are_dropped_count_as_messages() {
    let mut agent = Agent::start().await;
    let route = with_rules(&agent, "[[rule]]\nfrom = \"server\"\nframe = 1\nrole = \"ignore\"\n");
    let (_proxy, mut page, mut server) = session(route, &mut agent).await;
    for text in ["banner", "one", "two"] {
        server.send(text).await;
    }
    assert_eq!((page.text().await, page.text().await), ("one".into(), "two".into()));
}

/// Prompts by id, as an agent with several tools at a time has them.
const PROMPTS: &str = r#"
    [[rule]]
    from = "server"
    when = { "/type" = "approval_needed" }
    role = "prompt"
    id = "/id"
    [[rule]]
    from = "client"
    when = { "/type" = "APPROVAL_RESPONSE" }
    role = "prompt-answer"
    id = "/request_id"
    [[rule]]
    from = "server"
    when = { "/type" = "tool_result" }
    role = "prompt-end"
    id = "/id"
    [[rule]]
    from = "server"
    when = { "/type" = "session_sync" }
    role = "latest"
"#;

fn asks(id: u32) -> String {
    format!(r#"{{"type":"approval_needed","id":{id}}}"#)
}

fn answer(id: u32) -> String {
    format!(r#"{{"type":"APPROVAL_RESPONSE","request_id":{id}}}"#)
}

#[tokio::test]
async fn an_open_prompt_is_shown_again_and_an_answered_one_is_not() {
    let mut agent = Agent::start().await;
    let route = with_rules(&agent, PROMPTS);
    let (proxy, mut page, mut server) = session(route, &mut agent).await;
    server.send(asks(1)).await;
    server.send("token").await;
    server.send(asks(2)).await;
    for expected in [asks(1), "token".into(), asks(2)] {
        assert_eq!(page.text().await, expected);
    }
    page.send(answer(1)).await;
    assert_eq!(server.text().await, answer(1));
    page.leave().await;
    let mut page = proxy.page("/ws?s=1").await;
    assert_eq!((page.text().await, page.text().await), ("token".into(), asks(2)));

    // the first answer wins, also across pages
    page.send(answer(1)).await;
    page.send(answer(2)).await;
    assert_eq!(server.text().await, answer(2));
    // and the server may stop asking by itself
    server.send(asks(3)).await;
    assert_eq!(page.text().await, asks(3));
    server.send(r#"{"type":"tool_result","id":3}"#).await;
    assert_eq!(page.text().await, r#"{"type":"tool_result","id":3}"#);
    page.leave().await;
    let mut page = proxy.page("/ws?s=1").await;
    assert_eq!(page.text().await, "token");
    assert_eq!(page.text().await, r#"{"type":"tool_result","id":3}"#);
    page.send(answer(3)).await;
    page.send("thanks").await;
    assert_eq!(server.text().await, "thanks", "nobody waits for that answer");
}

#[tokio::test]
async fn what_names_no_prompt_answers_none_where_the_rule_wants_a_name() {
    let mut agent = Agent::start().await;
    let route = with_rules(&agent, PROMPTS);
    let (proxy, mut page, mut server) = session(route, &mut agent).await;
    server.send(asks(1)).await;
    assert_eq!(page.text().await, asks(1));
    // as what JSON-RPC says of a message that could not be read
    let nobodys = r#"{"type":"APPROVAL_RESPONSE","request_id":null}"#;
    page.send(nobodys).await;
    assert_eq!(server.text().await, nobodys);
    page.leave().await;
    let mut page = proxy.page("/ws?s=1").await;
    assert_eq!(page.text().await, asks(1));
    page.send(answer(1)).await;
    assert_eq!(server.text().await, answer(1), "it is the first answer");
}

#[tokio::test]
async fn a_prompt_from_before_the_range_comes_just_before_live() {
    let mut agent = Agent::start().await;
    let mut route = with_rules(&agent, PROMPTS);
    route.replay_refresh = ReplayMode::None;
    let (proxy, mut page, mut server) = session(route, &mut agent).await;
    server.send(asks(1)).await;
    server.send("history").await;
    assert_eq!((page.text().await, page.text().await), (asks(1), "history".into()));
    page.leave().await;
    let mut page = proxy.page("/ws?s=1").await;
    assert_eq!(page.text().await, asks(1));
    server.send("live").await;
    assert_eq!(page.text().await, "live");
    page.send(answer(1)).await;
    assert_eq!(server.text().await, answer(1));
    page.leave().await;
    let mut page = proxy.page("/ws?s=1").await;
    server.send("later").await;
    assert_eq!(page.text().await, "later");
}

#[tokio::test]
async fn only_the_newest_full_state_is_replayed() {
    let mut agent = Agent::start().await;
    let mut route = with_rules(&agent, PROMPTS);
    route.log_bytes = 100_000;
    let (proxy, mut page, mut server) = session(route, &mut agent).await;
    let sync = |number: u32| {
        format!(
            r#"{{"type":"session_sync","n":{number},"all":"{}"}}"#,
            "x".repeat(30_000)
        )
    };
    server.send("begin").await;
    assert_eq!(page.text().await, "begin");
    for number in 0..20 {
        server.send(format!("event {number}")).await;
        server.send(sync(number)).await;
        assert_eq!(page.text().await, format!("event {number}"));
        assert_eq!(page.text().await, sync(number));
    }
    page.leave().await;
    let mut page = proxy.page("/ws?s=1").await;
    assert_eq!(
        page.text().await,
        "begin",
        "six times the log went by, and nothing is lost"
    );
    for number in 0..20 {
        assert_eq!(page.text().await, format!("event {number}"));
    }
    assert_eq!(page.text().await, sync(19));
}

#[tokio::test]
async fn a_tunnel_is_nobodys_session_and_nothing_in_it_is_looked_into() {
    let mut agent = Agent::start().await;
    let rules = "[[rule]]\nfrom = \"client\"\nframe = 1\nwhen = { \"/type\" = \"SEAL\" }\nrole = \"tunnel\"\n\
                 [[rule]]\nfrom = \"client\"\ntext = \"^noise\"\nrole = \"ignore\"\n";
    let mut route = route(agent.address, vec![KeySource::First("/s".into())]);
    route.profile = Profile::parse(rules).unwrap();
    let proxy = Proxy::start(route).await;
    let mut page = proxy.page("/ws").await;
    page.send(r#"{"type":"open","s":1}"#).await;
    let mut server = agent.connection().await;
    assert_eq!(server.text().await, r#"{"type":"open","s":1}"#);
    let sealed = r#"{"type":"SEAL","s":1}"#;
    for _ in 0..2 {
        let mut tunnel = proxy.page("/ws").await;
        tunnel.send(sealed).await;
        let mut end = agent.connection().await;
        assert_eq!(end.text().await, sealed);
        tunnel.send("noise, for all that sessmux knows").await;
        assert_eq!(end.text().await, "noise, for all that sessmux knows");
        end.send("answer").await;
        assert_eq!(tunnel.text().await, "answer");
        tunnel.leave().await;
        assert_eq!(end.close_code().await, Some(1001), "it ends with its page");
    }
    // the session of that id is where it was, and looked into
    page.send("noise").await;
    page.send("signal").await;
    assert_eq!(server.text().await, "signal");
}

#[tokio::test]
async fn a_rule_may_hold_only_while_nobody_is_asked() {
    let mut agent = Agent::start().await;
    // such an error is no turn's end while the agent waits
    let end = "[[rule]]\nfrom = \"server\"\nwhen = { \"/type\" = \"ERROR\" }\nasking = false\nrole = \"turn-end\"\n";
    let mut route = with_rules(&agent, &format!("{PROMPTS}{end}"));
    route.replay_refresh = ReplayMode::None;
    let (proxy, page, mut server) = session(route, &mut agent).await;
    let prompt = r#"{"type":"approval_needed","id":"a"}"#;
    server.send(prompt).await;
    server.send(r#"{"type":"ERROR"}"#).await;
    page.leave().await;
    let mut page = proxy.page("/ws?s=1").await;
    assert_eq!(page.text().await, prompt, "it is still open");
    let answer = r#"{"type":"APPROVAL_RESPONSE","request_id":"a"}"#;
    page.send(answer).await;
    assert_eq!(server.text().await, answer);
}

#[tokio::test]
async fn an_echo_goes_upstream_and_is_shown_to_pages_between_messages() {
    use common::raw::{Got, Raw, RawAgent};
    let agent = RawAgent::start().await;
    let mut it = route(agent.address, vec![KeySource::QueryParam("s".into())]);
    it.profile = Profile::parse(
        r#"
        [[rule]]
        from = "client"
        text = '^say (?<what>.*)$'
        role = "echo"
        show = 'said ${what}'
        "#,
    )
    .unwrap();
    let proxy = Proxy::start(it).await;
    let mut page = Raw::ask(proxy.address, "/ws?s=1", "").await;
    let mut server = agent.accept().await;
    server.switch("").await;
    page.switched().await;
    page.send("say one").await;
    assert_eq!(server.text().await, "say one");
    assert_eq!(page.text().await, "said one");
    // amid a message of the server
    server.frame(0x01, b"a ").await;
    page.send("say two").await;
    assert_eq!(server.text().await, "say two");
    server.frame(0x80, b"b").await;
    server.send("c").await;
    let expected = |page: Vec<Got>| {
        let frames = [
            Got::Frame(0x01, false, b"a ".to_vec()),
            Got::Frame(0x80, false, b"b".to_vec()),
            Got::Frame(0x81, false, b"said two".to_vec()),
            Got::Frame(0x81, false, b"c".to_vec()),
        ];
        assert_eq!(page, frames);
    };
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(page.next_but_pings().await);
    }
    expected(got);
    page.close(1001, "").await;
    let mut page = Raw::upgraded(proxy.address, "/ws?s=1", "").await;
    assert_eq!(page.text().await, "said one");
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(page.next_but_pings().await);
    }
    expected(got);
}

#[tokio::test]
async fn a_conversation_that_is_over_ends_with_its_page() {
    for (from, client) in [("client", true), ("server", false)] {
        let mut agent = Agent::start().await;
        let rules = format!("[[rule]]\nfrom = \"{from}\"\nwhen = {{ \"/close\" = true }}\nrole = \"end\"\n");
        let route = with_rules(&agent, &rules);
        let (proxy, mut page, mut server) = session(route, &mut agent).await;
        let over = r#"{"close":true}"#;
        if client {
            page.send(over).await;
            assert_eq!(server.text().await, over);
        } else {
            server.send(over).await;
            assert_eq!(page.text().await, over);
        }
        // until then all is as it was
        server.send("rest").await;
        assert_eq!(page.text().await, "rest");
        page.leave().await;
        assert_eq!(server.close_code().await, Some(1001), "{from}");
        let mut page = proxy.page("/ws?s=1").await;
        agent.connection().await.send("anew").await;
        assert_eq!(page.text().await, "anew");
    }
}

#[tokio::test]
async fn whoever_comes_when_a_conversation_is_over_begins_another_though_its_page_is_still_there() {
    let mut agent = Agent::start().await;
    let rules = "[[rule]]\nfrom = \"client\"\nwhen = { \"/close\" = true }\nrole = \"end\"\n";
    let route = with_rules(&agent, rules);
    let (proxy, mut page, mut server) = session(route, &mut agent).await;
    let over = r#"{"close":true}"#;
    page.send(over).await;
    assert_eq!(server.text().await, over);

    let mut newer = proxy.page("/ws?s=1").await;
    let mut other = agent.connection().await;
    newer.send("hello").await;
    assert_eq!(other.text().await, "hello");
    other.send("anew").await;
    assert_eq!(newer.text().await, "anew");
    // the older one goes on undisturbed, to its own end
    server.send("rest").await;
    assert_eq!(page.text().await, "rest");
    page.leave().await;
    assert_eq!(server.close_code().await, Some(1001));
}

#[tokio::test]
async fn a_conversation_that_is_over_while_nobody_is_there_is_told_whole_to_whoever_comes_next() {
    let mut agent = Agent::start().await;
    let rules = "[[rule]]\nfrom = \"server\"\nwhen = { \"/close\" = true }\nrole = \"end\"\n";
    let (proxy, page, mut server) = session(with_rules(&agent, rules), &mut agent).await;
    page.leave().await;
    for said in ["the result", r#"{"close":true}"#] {
        server.send(said).await;
    }
    assert_eq!(
        server.close_code().await,
        Some(1000),
        "it is the last that is heard of it"
    );
    let mut page = proxy.page("/ws?s=1").await;
    assert_eq!(page.text().await, "the result");
    assert_eq!(page.text().await, r#"{"close":true}"#);
    assert_eq!(page.close_code().await, Some(1000));
    drop(page);
    let _page = proxy.page("/ws?s=1").await;
    let _another = agent.connection().await;
}

#[tokio::test]
async fn a_question_of_a_turn_that_is_over_may_be_answered_yet() {
    let mut agent = Agent::start().await;
    // of two conversations in one session this is the end of the other
    let end = "[[rule]]\nfrom = \"server\"\nwhen = { \"/type\" = \"DONE\" }\nrole = \"turn-end\"\n";
    let (_proxy, mut page, mut server) = session(with_rules(&agent, &format!("{PROMPTS}{end}")), &mut agent).await;
    for said in [r#"{"type":"approval_needed","id":"a"}"#, r#"{"type":"DONE"}"#] {
        server.send(said).await;
        assert_eq!(page.text().await, said);
    }
    let answer = r#"{"type":"APPROVAL_RESPONSE","request_id":"a"}"#;
    page.send(answer).await;
    assert_eq!(server.text().await, answer);
}

#[tokio::test]
async fn a_question_before_the_hello_is_shown_while_it_is_open() {
    let mut agent = Agent::start().await;
    let hello = r#"
        [[rule]]
        from = "client"
        when = { "/type" = "CONNECT" }
        role = "hello"
        [[rule]]
        from = "server"
        when = { "/type" = "CONNECTED" }
        role = "hello-answer"
    "#;
    let (proxy, mut page, mut server) = session(with_rules(&agent, &format!("{PROMPTS}{hello}")), &mut agent).await;
    let (asked, connect, connected) = (
        r#"{"type":"approval_needed","id":"a"}"#,
        r#"{"type":"CONNECT"}"#,
        r#"{"type":"CONNECTED"}"#,
    );
    for said in [asked, "challenge"] {
        server.send(said).await;
        assert_eq!(page.text().await, said);
    }
    page.send(connect).await;
    assert_eq!(server.text().await, connect);
    server.send(connected).await;
    assert_eq!(page.text().await, connected);
    for open in [true, false] {
        page.leave().await;
        page = proxy.page("/ws?s=1").await;
        page.send(connect).await;
        server.send("live").await;
        let mut shown = vec!["challenge", connected];
        shown.extend(open.then_some(asked));
        shown.push("live");
        for expected in shown {
            assert_eq!(page.text().await, expected);
        }
        if open {
            let answer = r#"{"type":"APPROVAL_RESPONSE","request_id":"a"}"#;
            page.send(answer).await;
            assert_eq!(server.text().await, answer);
        }
    }
}
