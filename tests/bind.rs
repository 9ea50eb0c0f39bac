//! What binds a session to its owner, on every attach: headers, cookies, and a server that is asked.

mod common;

use std::sync::{Arc, Mutex};

use common::raw::RawAgent;
use common::{Agent, Connection, Page, Proxy, config, route};
use sessmux::config::{Foreign, KeySource, Route};
use tokio_tungstenite::tungstenite::Error;

fn bound(agent: &Agent, bind: &[&str]) -> Route {
    let mut route = route(agent.address, vec![KeySource::QueryParam("s".into())]);
    route.bind = bind.iter().map(|bind| bind.parse().unwrap()).collect();
    route
}

fn status(refused: Result<Page, Error>) -> u16 {
    match refused.unwrap_err() {
        Error::Http(answer) => answer.status().as_u16(),
        other => panic!("{other}"),
    }
}

/// A session that has said something, and its page.
async fn session(proxy: &Proxy, agent: &mut Agent, headers: &[(&'static str, &str)]) -> (Page, Connection) {
    let mut page = proxy.page_with("/ws?s=1", headers).await.unwrap();
    let mut server = agent.connection().await;
    server.send("secret").await;
    assert_eq!(page.text().await, "secret");
    (page, server)
}

#[tokio::test]
async fn who_shows_the_same_values_is_the_owner_and_who_does_not_is_another_client() {
    for (bind, mine, theirs) in [
        (
            "header:authorization",
            ("authorization", "Bearer mine"),
            ("authorization", "Bearer theirs"),
        ),
        ("cookie:sid", ("cookie", "a=b; sid=mine"), ("cookie", "sid=theirs")),
    ] {
        let mut agent = Agent::start().await;
        let proxy = Proxy::start(bound(&agent, &[bind])).await;
        let (page, mut server) = session(&proxy, &mut agent, &[mine]).await;
        let (other, _) = session(&proxy, &mut agent, &[theirs]).await;
        assert_eq!(agent.count(), 2, "{bind}");
        // nor is that a matter of the browser: pages of one have two owners
        assert_eq!(status(proxy.page_with("/ws?s=1", &[]).await), 403, "{bind}");
        page.leave().await;
        let mut page = proxy.page_with("/ws?s=1", &[mine]).await.unwrap();
        assert_eq!(page.text().await, "secret");
        server.send("news").await;
        assert_eq!(page.text().await, "news");
        assert_eq!(agent.count(), 2, "{bind}");
        other.leave().await;
    }
}

#[tokio::test]
async fn all_of_several_proofs_are_needed_in_their_own_places() {
    let mut agent = Agent::start().await;
    let proxy = Proxy::start(bound(&agent, &["header:x-tenant", "cookie:sid"])).await;
    let (page, _server) = session(&proxy, &mut agent, &[("x-tenant", "a"), ("cookie", "sid=bc")]).await;
    page.leave().await;
    assert_eq!(status(proxy.page_with("/ws?s=1", &[("x-tenant", "a")]).await), 403);
    assert_eq!(status(proxy.page_with("/ws?s=1", &[("cookie", "sid=bc")]).await), 403);
    // the same letters, otherwise divided
    for (tenant, sid) in [("ab", "sid=c"), ("bc", "sid=a"), ("a", "sid=b")] {
        let headers = [("x-tenant", tenant), ("cookie", sid)];
        drop(session(&proxy, &mut agent, &headers).await);
    }
    assert_eq!(agent.count(), 4);
}

#[tokio::test]
async fn a_stranger_may_be_refused_before_anything_is_dialled() {
    let mut agent = Agent::start().await;
    let mut route = bound(&agent, &["cookie:sid"]);
    route.foreign = Foreign::Refuse;
    let proxy = Proxy::start(route).await;
    let (mut page, mut server) = session(&proxy, &mut agent, &[("cookie", "sid=mine")]).await;
    assert_eq!(
        status(proxy.page_with("/ws?s=1", &[("cookie", "sid=theirs")]).await),
        403
    );
    server.send("news").await;
    assert_eq!(page.text().await, "news", "its page is not disturbed");
    assert_eq!(agent.count(), 1);
}

#[tokio::test]
async fn pages_of_an_allowed_origin_have_what_the_key_names_where_that_is_said() {
    let mut agent = Agent::start().await;
    let mut config = config(bound(&agent, &["key"]));
    config.allow_origins = vec!["https://embed.example".parse().unwrap()];
    let proxy = Proxy::with(config).await;
    let foreign = [("origin", "https://embed.example")];
    let (page, _server) = session(&proxy, &mut agent, &foreign).await;
    page.leave().await;
    let own = format!("http://{}", proxy.address);
    let mut page = proxy.page_with("/ws?s=1", &[("origin", &own)]).await.unwrap();
    assert_eq!(page.text().await, "secret");
}

/// A server that is asked who a client is, and says what the test says.
struct Authority {
    says: Arc<Mutex<&'static str>>,
    asked: Arc<Mutex<Vec<String>>>,
    url: String,
}

impl Authority {
    async fn start() -> Self {
        let server = RawAgent::start().await;
        let (says, asked) = (Arc::new(Mutex::new("")), Arc::new(Mutex::new(Vec::new())));
        let url = format!("http://{}/auth?for=chat", server.address);
        let it = Self {
            says: Arc::clone(&says),
            asked: Arc::clone(&asked),
            url,
        };
        tokio::spawn(async move {
            loop {
                let mut asker = server.accept().await;
                asked.lock().unwrap().push(asker.head.clone());
                let says = *says.lock().unwrap();
                if says.is_empty() {
                    // never an answer
                    std::mem::forget(asker);
                    continue;
                }
                let answer = format!("HTTP/1.1 {says}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                asker.write(answer.as_bytes()).await;
            }
        });
        it
    }

    fn says(&self, what: &'static str) {
        *self.says.lock().unwrap() = what;
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn route(&self, agent: &Agent) -> Route {
        let mut route = bound(agent, &["auth_request"]);
        route.auth_request = Some(self.url.parse().unwrap());
        route.auth_subject = Some("x-user".into());
        route
    }
}

const ANN: &str = "200 OK\r\nX-User: ann";

#[tokio::test]
async fn the_server_that_is_asked_says_who_it_is_on_every_attach() {
    let mut agent = Agent::start().await;
    let authority = Authority::start().await;
    let proxy = Proxy::start(authority.route(&agent)).await;
    authority.says(ANN);
    let ours = format!("sessmux-{}=0123456789abcdef0123456789abcdef", proxy.address.port());
    let cookie = format!("login=secret; {ours}");
    let (page, _server) = session(&proxy, &mut agent, &[("cookie", &cookie)]).await;
    let asked = authority.asked();
    let [head] = &asked[..] else { panic!("{asked:?}") };
    let lower = head.to_ascii_lowercase();
    assert!(lower.starts_with("get /auth?for=chat http/1.1\r\n"), "{head}");
    for line in [
        "cookie: login=secret\r\n",
        "x-forwarded-method: get\r\n",
        "x-forwarded-uri: /ws?s=1\r\n",
        "x-forwarded-for: 127.0.0.1\r\n",
    ] {
        assert!(lower.contains(line), "{line} in {head}");
    }
    let host = authority.url.split('/').nth(2).unwrap();
    assert!(lower.contains(&format!("host: {host}\r\n")), "{head}");
    assert!(!lower.contains("sec-websocket") && !lower.contains("upgrade"), "{head}");

    // who is no longer let in does not come back, though the session lives
    page.leave().await;
    for (says, expected) in [
        ("401 Unauthorized", 401),
        ("403 Forbidden", 403),
        ("302 Found\r\nLocation: /login", 503),
        ("500 Oops", 503),
        ("204 No Content", 403),
        ("200 OK\r\nX-User: ", 403),
    ] {
        authority.says(says);
        assert_eq!(status(proxy.page_with("/ws?s=1", &[]).await), expected, "{says}");
    }
    // how to log in is part of the no
    authority.says("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\"");
    let mut page = common::raw::Raw::ask(proxy.address, "/ws?s=1", "").await;
    assert_eq!(page.answered().await.0, 401);
    assert_eq!(page.field("www-authenticate"), Some("Basic realm=\"a\""));
    // somebody else is somebody else
    authority.says("200 OK\r\nX-User: bob");
    drop(session(&proxy, &mut agent, &[]).await);
    authority.says(ANN);
    let mut page = proxy.page_with("/ws?s=1", &[]).await.unwrap();
    assert_eq!(page.text().await, "secret");
    assert_eq!(agent.count(), 2);
}

#[tokio::test]
async fn where_nobody_answers_nobody_gets_in() {
    let agent = Agent::start().await;
    let authority = Authority::start().await;
    let proxy = Proxy::start(authority.route(&agent)).await;
    // it takes the question and says nothing
    assert_eq!(status(proxy.page_with("/ws?s=1", &[]).await), 503);
    let mut route = authority.route(&agent);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    route.auth_request = Some(format!("http://{}/", closed.local_addr().unwrap()).parse().unwrap());
    drop(closed);
    let proxy = Proxy::start(route).await;
    assert_eq!(status(proxy.page_with("/ws?s=1", &[]).await), 503);
    assert_eq!(agent.count(), 0);
}
