//! Pages that come by TLS.

use std::io;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::common::capture::Log;
use super::common::raw::{RawAgent, upgrade};
use super::common::{Agent, close_code, next_text, soon};
use super::{Page, Secure, route};

/// Less than the 64 KiB that TLS takes when the system takes no more.
const STEP: usize = 24 << 10;

/// More than all buffers between a page and sessmux hold.
const MUCH: usize = 16 << 20;

impl Page {
    async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text.to_owned())).await.unwrap();
    }

    async fn text(&mut self) -> String {
        next_text(&mut self.socket).await
    }

    async fn leave(mut self) {
        let (code, reason) = (1001.into(), "".into());
        self.socket.close(Some(CloseFrame { code, reason })).await.unwrap();
        assert_eq!(close_code(&mut self.socket).await, Some(1001));
    }

    /// Leaves without a close frame, and without TLS's own.
    fn cut(self) {
        self.socket.get_ref().get_ref().0.set_zero_linger().unwrap();
    }
}

fn status(refused: Result<Page, Error>) -> u16 {
    match refused.unwrap_err() {
        Error::Http(answer) => answer.status().as_u16(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_page_that_comes_back_is_shown_what_it_missed_in_order() {
    let mut agent = Agent::start().await;
    let secure = Secure::start(route(agent.address)).await;
    let mut page = secure.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    assert_eq!(server.headers["x-forwarded-proto"], "https");
    for number in 0..100 {
        server.send(number.to_string()).await;
        page.send(&format!("page {number}")).await;
        assert_eq!(server.text().await, format!("page {number}"));
    }
    for (number, how) in ["leave", "cut", "leave"].into_iter().enumerate() {
        for number in 0..100 + number {
            assert_eq!(page.text().await, number.to_string());
        }
        if how == "leave" {
            page.leave().await;
        } else {
            page.cut();
        }
        server.send((100 + number).to_string()).await;
        page = secure.page("/ws?s=1").await;
    }
    page.send("and on").await;
    assert_eq!(server.text().await, "and on");
    assert_eq!(agent.count(), 1);
}

#[tokio::test]
async fn large_messages_pass_both_ways() {
    let mut agent = Agent::start().await;
    let mut route = route(agent.address);
    (route.max_message, route.log_bytes) = (MUCH, 2 * MUCH);
    let secure = Secure::start(route).await;
    let mut page = secure.page("/ws?s=1").await;
    let mut server = agent.connection().await;
    let message = Message::binary(Bytes::from(vec![7; MUCH]));
    let (sent, got) = tokio::join!(server.socket.send(message.clone()), soon("it", page.socket.next()));
    sent.unwrap();
    assert!(got.unwrap().unwrap() == message);
    let (sent, got) = tokio::join!(page.socket.send(message.clone()), server.next());
    sent.unwrap();
    assert!(got.unwrap().unwrap() == message);
}

#[tokio::test]
async fn what_tls_took_and_the_system_did_not_goes_out_when_there_is_room() {
    let agent = RawAgent::start().await;
    let mut route = route(agent.address);
    // a ping would take the rest along
    route.acks = false;
    let secure = Secure::start(route).await;
    let (page, server) = tokio::join!(secure.narrow_page("/ws?s=1"), async {
        let mut server = agent.accept().await;
        server.switch("").await;
        server
    });
    let (mut page, mut server) = (page, server);
    // among so many sizes there is one that fills the system's buffers and not TLS's
    for size in (1..24).map(|step| step * STEP) {
        server.frame(0x82, &vec![7; size]).await;
        server.heard().await;
        let got = soon("the message", page.socket.next()).await.unwrap().unwrap();
        assert_eq!(got.len(), size);
    }
}

#[tokio::test]
async fn the_cookie_is_secure_and_belongs_to_this_host_alone() {
    let mut agent = Agent::start().await;
    let secure = Secure::start(route(agent.address)).await;
    let own = format!("https://{}", secure.proxy.address);
    let page = secure.page_with("/ws?s=1", &[("origin", &own)]).await.unwrap();
    let server = agent.connection().await;
    let set = page.answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.starts_with("__Host-sessmux=") && set.ends_with("; Secure"), "{set}");
    // it finds the browser's session again, and goes no further
    page.leave().await;
    let cookie = set.split(';').next().unwrap();
    let same = [("origin", own.as_str()), ("cookie", cookie)];
    let page = secure.page_with("/ws?s=1", &same).await.unwrap();
    assert!(!page.answer.headers().contains_key("set-cookie"));
    assert_eq!(agent.count(), 1);
    drop(server);
    // another browser has another
    let _page = secure.page_with("/ws?s=1", &same[..1]).await.unwrap();
    let server = agent.connection().await;
    assert!(!server.headers.contains_key("cookie"));
}

#[tokio::test]
async fn a_page_that_came_by_plain_http_is_of_another_origin() {
    let agent = Agent::start().await;
    let secure = Secure::start(route(agent.address)).await;
    let log = Log::capture();
    let plain = format!("http://{}", secure.proxy.address);
    assert_eq!(status(secure.page_with("/ws?s=1", &[("origin", &plain)]).await), 403);
    log.says(&["by https", "allow_origin"]).await;
    assert_eq!(agent.count(), 0);
}

#[tokio::test]
async fn an_orderly_end_is_announced_by_tls_too() {
    let mut agent = Agent::start().await;
    let secure = Secure::start(route(agent.address)).await;
    let mut stream = secure.connect().await;
    stream
        .write_all(upgrade(secure.proxy.address, "/ws?s=1", "").as_bytes())
        .await
        .unwrap();
    let server = agent.connection().await;
    drop(server);
    let mut all = Vec::new();
    // which is an error where the end was not announced
    soon("the end", stream.read_to_end(&mut all)).await.unwrap();
    assert!(all.starts_with(b"HTTP/1.1 101 "));
}

#[tokio::test]
async fn a_message_that_will_never_be_whole_ends_in_a_way_that_cannot_be_taken_for_an_end() {
    let agent = RawAgent::start().await;
    let secure = Secure::start(route(agent.address)).await;
    let mut stream = secure.connect().await;
    stream
        .write_all(upgrade(secure.proxy.address, "/ws?s=1", "").as_bytes())
        .await
        .unwrap();
    let mut server = agent.accept().await;
    server.switch("").await;
    // the first fragment of a message goes out as it is complete
    server.frame(0x01, b"half").await;
    let mut got = Vec::new();
    while !got.ends_with(b"half") {
        assert!(soon("the fragment", stream.read_buf(&mut got)).await.unwrap() > 0);
    }
    server.cut();
    let ended = soon("the end", stream.read_buf(&mut got)).await;
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn pages_and_what_they_fetch_pass_too() {
    let agent = RawAgent::start().await;
    let secure = Secure::start(route(agent.address)).await;
    let mut stream = secure.connect().await;
    let ask = format!(
        "GET /a HTTP/1.1\r\nHost: {}\r\nAccept: text/html\r\n\r\n",
        secure.proxy.address
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut server = agent.accept().await;
    assert_eq!(server.field("x-forwarded-proto"), Some("https"));
    let body = "x".repeat(1 << 20);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    server.write(answer.as_bytes()).await;
    let mut got = Vec::new();
    while !got.ends_with(body.as_bytes()) {
        assert!(soon("the page", stream.read_buf(&mut got)).await.unwrap() > 0);
    }
    let head = String::from_utf8_lossy(&got[..got.len() - body.len()]).to_ascii_lowercase();
    assert!(head.contains("set-cookie: __host-sessmux="), "{head}");
}
