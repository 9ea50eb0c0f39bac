//! Keys that are guessed, stolen, or chosen by an attacker: a key names a session among its owner's, and opens nothing of
//! anybody else's.

use crate::beside::{browser, session};
use crate::common::raw::{Raw, RawAgent};
use crate::common::{Proxy, route};
use sessmux::config::{Bind, Foreign, KeySource, Route};

fn keyed(agent: &RawAgent) -> Route {
    route(agent.address, vec![KeySource::QueryParam("session".into())])
}

#[tokio::test]
async fn a_stolen_key_opens_a_session_of_the_thiefs_own() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(keyed(&agent)).await;
    let target = "/ws?session=the-victims";
    let mut victim = session(&proxy, &agent, target, &browser(&proxy, 'a')).await;
    victim.server.send("approve rm -rf?").await;
    assert_eq!(victim.page.text().await, "approve rm -rf?");
    // another browser, one without a cookie, and no browser at all
    let origin = format!("Origin: http://{}\r\n", proxy.address);
    for (thief, lines) in [
        ("browser", browser(&proxy, 'b')),
        ("fresh", origin),
        ("script", String::new()),
    ] {
        let mut pair = session(&proxy, &agent, target, &lines).await;
        // its first message is not the victim's question
        pair.server.send("hello thief").await;
        assert_eq!(pair.page.text().await, "hello thief", "{thief}");
        pair.page.send("yes").await;
        assert_eq!(
            pair.server.text().await,
            "yes",
            "{thief}: to a server connection of its own"
        );
    }
    victim.works().await;
}

#[tokio::test]
async fn a_key_that_the_attacker_chose_leads_the_victim_to_no_shared_session() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(keyed(&agent)).await;
    let target = "/ws?session=chosen-by-the-attacker";
    let mut attackers = [
        session(&proxy, &agent, target, &browser(&proxy, 'b')).await,
        session(&proxy, &agent, target, "").await,
    ];
    // the victim follows the link
    let mut victim = session(&proxy, &agent, target, &browser(&proxy, 'a')).await;
    victim.page.send("my secret").await;
    assert_eq!(victim.server.text().await, "my secret");
    victim.server.send("its answer").await;
    assert_eq!(victim.page.text().await, "its answer");
    for attacker in &mut attackers {
        attacker.works().await;
    }
}

#[tokio::test]
async fn keys_are_not_equal_for_being_written_alike() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(keyed(&agent)).await;
    let me = browser(&proxy, 'a');
    let mut mine = session(&proxy, &agent, "/ws?session=a", &me).await;
    for other in [
        "/ws?session=A",
        "/ws?session=a%20",
        "/ws?session=a%00",
        "/ws?session=b&session=a",
        "/ws?session=a%26session%3Db",
    ] {
        let _other = session(&proxy, &agent, other, &me).await;
    }
    // and one that is written otherwise is the same
    mine.page = Raw::upgraded(proxy.address, "/ws?x=1&session=%61", &me).await;
    mine.works().await;
    assert!(!agent.is_dialed());
}

#[tokio::test]
async fn where_strangers_are_refused_they_cost_nothing_and_disturb_nobody() {
    let agent = RawAgent::start().await;
    let mut route = keyed(&agent);
    route.foreign = Foreign::Refuse;
    let proxy = Proxy::start(route).await;
    let mut victim = session(&proxy, &agent, "/ws?session=a", &browser(&proxy, 'a')).await;
    for lines in [browser(&proxy, 'b'), String::new()] {
        for _ in 0..50 {
            let mut stranger = Raw::ask(proxy.address, "/ws?session=a", &lines).await;
            assert_eq!(stranger.answered().await, (403, "the session is another's\n".into()));
        }
    }
    assert!(!agent.is_dialed());
    assert_eq!(proxy.gauge("sessmux_sessions"), 1);
    assert_eq!(proxy.gauge("sessmux_pending_attachments"), 0);
    victim.works().await;
}

#[tokio::test]
async fn a_login_that_was_guessed_wrong_is_another_owners() {
    let agent = RawAgent::start().await;
    let mut route = keyed(&agent);
    route.bind = vec![Bind::Header("authorization".into())];
    let proxy = Proxy::start(route).await;
    let mine = "Authorization: Bearer right\r\n";
    let mut victim = session(&proxy, &agent, "/ws?session=a", mine).await;
    for guess in [
        "Bearer righ",
        "Bearer right2",
        "bearer right",
        "Bearer  right",
        "Basic right",
    ] {
        let lines = format!("Authorization: {guess}\r\n");
        let mut guesser = session(&proxy, &agent, "/ws?session=a", &lines).await;
        guesser.works().await;
    }
    victim.page = Raw::upgraded(proxy.address, "/ws?session=a", mine).await;
    victim.works().await;
}
