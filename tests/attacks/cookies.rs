//! The minted cookie: guessed, planted, taken to another browser, shared by two people.

use crate::beside::{browser, session, value};
use crate::common::capture::Log;
use crate::common::raw::{Raw, RawAgent};
use crate::common::{Proxy, config, route};
use sessmux::config::{Bind, Config, KeySource, Route};

fn keyed(agent: &RawAgent) -> Route {
    route(agent.address, vec![KeySource::QueryParam("session".into())])
}

/// A same-origin page's lines, with these cookies.
fn with(proxy: &Proxy, cookies: &str) -> String {
    format!("Origin: http://{}\r\nCookie: {cookies}\r\n", proxy.address)
}

#[tokio::test]
async fn what_is_no_cookie_of_ours_makes_a_new_browser() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(keyed(&agent)).await;
    let port = proxy.address.port();
    let mut victim = session(&proxy, &agent, "/ws?session=a", &browser(&proxy, 'a')).await;
    let right = value('a');
    for cookies in [
        format!("sessmux-{port}={}", &right[1..]),
        format!("sessmux-{port}={right}a"),
        format!("sessmux-{port}={}", right.to_uppercase()),
        format!("sessmux-{port}=\"{right}\""),
        format!("sessmux-{port}="),
        format!("Sessmux-{port}={right}"),
        format!("__Host-sessmux={right}"),
        format!("sessmux-{}={right}", port ^ 1),
        format!("sessmux={right}"),
        format!("x=sessmux-{port}={right}"),
        format!("sessmux-{port}-x={right}"),
    ] {
        let mut other = session(&proxy, &agent, "/ws?session=a", &with(&proxy, &cookies)).await;
        let minted = other.page.field("set-cookie").expect("one of its own").to_owned();
        assert!(!minted.contains(&right), "{cookies}: what was shown is not given back");
        other.works().await;
    }
    victim.works().await;
}

/// A page of a sibling host or port can set a cookie of the same name for a longer path: browsers send it first.
#[tokio::test]
async fn a_planted_cookie_beside_the_real_one_leads_to_neither() {
    let log = Log::capture();
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(keyed(&agent)).await;
    let port = proxy.address.port();
    let (real, planted) = (value('a'), value('e'));
    let mut victim = session(&proxy, &agent, "/ws?session=a", &browser(&proxy, 'a')).await;
    let mut attacker = session(&proxy, &agent, "/ws?session=a", &browser(&proxy, 'e')).await;
    for cookies in [
        format!("sessmux-{port}={planted}; sessmux-{port}={real}"),
        format!("sessmux-{port}={real}; sessmux-{port}={planted}"),
        format!("sessmux-{port}={planted}\r\nCookie: sessmux-{port}={real}"),
    ] {
        let mut page = session(&proxy, &agent, "/ws?session=a", &with(&proxy, &cookies)).await;
        page.works().await;
    }
    log.says(&["two values of the cookie", "plants one"]).await;
    victim.works().await;
    attacker.works().await;
    // twice the same is no plant
    let cookies = format!("sessmux-{port}={real}; sessmux-{port}={real}");
    victim.page = Raw::upgraded(proxy.address, "/ws?session=a", &with(&proxy, &cookies)).await;
    victim.works().await;
}

#[tokio::test]
async fn two_instances_of_one_host_have_each_their_own() {
    let agent = RawAgent::start().await;
    let (one, other) = (Proxy::start(keyed(&agent)).await, Proxy::start(keyed(&agent)).await);
    // the browser sends both, for cookies do not know ports
    let both = format!(
        "sessmux-{}={}; sessmux-{}={}",
        one.address.port(),
        value('a'),
        other.address.port(),
        value('b')
    );
    let mut first = session(&one, &agent, "/ws?session=a", &with(&one, &both)).await;
    let mut second = session(&other, &agent, "/ws?session=a", &with(&other, &both)).await;
    assert_eq!(first.page.field("set-cookie"), None);
    assert_eq!(second.page.field("set-cookie"), None);
    // and the agent server behind either hears of neither
    assert!(!first.server.head.contains("sessmux-") && !second.server.head.contains("sessmux-"));
    first.page = Raw::upgraded(one.address, "/ws?session=a", &with(&one, &both)).await;
    first.works().await;
    second.works().await;
}

#[tokio::test]
async fn over_https_no_sibling_can_set_it() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::with(Config {
        public_origins: vec!["https://agent.example".parse().unwrap()],
        ..config(keyed(&agent))
    })
    .await;
    let lines = "Origin: https://agent.example\r\n";
    let page = session(&proxy, &agent, "/ws?session=a", lines).await.page;
    let minted = page.field("set-cookie").unwrap();
    // the prefix: browsers take it from this host alone, over HTTPS, for all of its paths
    assert!(minted.starts_with("__Host-sessmux="), "{minted}");
    for part in ["Path=/", "HttpOnly", "SameSite=Lax", "Secure"] {
        assert!(minted.split("; ").any(|it| it == part), "{part}: {minted}");
    }
    assert!(!minted.contains("Domain"), "{minted}");
    // a name that a sibling can set is not read
    let port = proxy.address.port();
    let planted = format!("{lines}Cookie: sessmux-{port}={}\r\n", value('e'));
    let page = session(&proxy, &agent, "/ws?session=a", &planted).await.page;
    assert!(page.field("set-cookie").is_some());
}

#[tokio::test]
async fn behind_a_trusted_proxy_that_says_https_neither() {
    let agent = RawAgent::start().await;
    let trusting = |networks: &[&str]| Config {
        trusted_proxies: networks.iter().map(|network| network.parse().unwrap()).collect(),
        ..config(keyed(&agent))
    };
    let (trusted, other) = (
        Proxy::with(trusting(&["127.0.0.0/8"])).await,
        Proxy::with(trusting(&[])).await,
    );
    for (proxy, https) in [(&trusted, true), (&other, false)] {
        let lines = format!("Origin: https://{}\r\nX-Forwarded-Proto: https\r\n", proxy.address);
        let pair = session(proxy, &agent, "/ws?session=a", &lines).await;
        let minted = pair.page.field("set-cookie").unwrap();
        assert_eq!(minted.starts_with("__Host-sessmux="), https, "{minted}");
        assert_eq!(
            pair.server.field("x-forwarded-proto"),
            Some(if https { "https" } else { "http" })
        );
    }
    // and then a page that came without is of another origin
    let lines = format!("Origin: http://{}\r\nX-Forwarded-Proto: https\r\n", trusted.address);
    let mut page = Raw::ask(trusted.address, "/ws?session=a", &lines).await;
    assert_eq!(page.answered().await.0, 403);
}

/// Said plainly in README: who has the cookie is the browser. What the application's own login adds is a `bind`.
#[tokio::test]
async fn a_cookie_in_another_browser_is_that_browser_unless_the_login_is_asked_too() {
    let agent = RawAgent::start().await;
    let proxy = Proxy::start(keyed(&agent)).await;
    let mut victim = session(&proxy, &agent, "/ws?session=a", &browser(&proxy, 'a')).await;
    victim.page = Raw::upgraded(proxy.address, "/ws?session=a", &browser(&proxy, 'a')).await;
    victim.works().await;
    assert!(!agent.is_dialed());

    let mut route = keyed(&agent);
    route.bind = vec![Bind::Cookie("login".into())];
    let proxy = Proxy::start(route).await;
    let port = proxy.address.port();
    let mine = format!("login=mine; sessmux-{port}={}", value('a'));
    let mut victim = session(&proxy, &agent, "/ws?session=a", &with(&proxy, &mine)).await;
    let mut thief = Raw::ask(proxy.address, "/ws?session=a", &browser(&proxy, 'a')).await;
    assert_eq!(thief.answered().await.0, 403);
    assert!(!agent.is_dialed());
    victim.works().await;
}

/// One browser profile, one minted cookie, two logins one after the other.
#[tokio::test]
async fn two_people_in_one_browser_are_two_owners_where_the_login_is_bound() {
    let agent = RawAgent::start().await;
    let mut route = keyed(&agent);
    route.bind = vec![Bind::Cookie("login".into())];
    let proxy = Proxy::start(route).await;
    let port = proxy.address.port();
    let person = |login: &str| with(&proxy, &format!("sessmux-{port}={}; login={login}", value('a')));
    let mut ann = session(&proxy, &agent, "/ws?session=a", &person("ann")).await;
    ann.server.send("ann's secret").await;
    assert_eq!(ann.page.text().await, "ann's secret");
    let mut bob = session(&proxy, &agent, "/ws?session=a", &person("bob")).await;
    bob.works().await;
    ann.works().await;
}
