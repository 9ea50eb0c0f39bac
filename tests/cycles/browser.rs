//! A browser and its pages, one after the other: what each is sent is checked against what it must be sent.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::agent::{Ledger, number, text};
use crate::common::{Page, Proxy, soon};

/// So soon after a page request a redial may be that of a second page.
const LOADS: Duration = Duration::from_secs(10);

/// About that time sessmux may see it otherwise.
const UNSURE: Duration = Duration::from_secs(1);

/// How a browser's pages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Not through the proxy: whatever happens is a refresh.
    Elsewhere,
    /// Through it, one with most reloads: some ends are blips, a page that is replaced is mostly one of two.
    Often,
    /// Through it, long ago: whatever ends without a close frame is a blip, and so is what replaces it.
    Once,
}

/// Serves pages that browsers must not keep.
pub(crate) struct PageServer {
    pub(crate) address: SocketAddr,
    _stop: DropGuard,
}

impl PageServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            while let Some(Ok((mut stream, _))) = stopped.run_until_cancelled(listener.accept()).await {
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
                        if head.ends_with(b"\r\n\r\n") {
                            head.clear();
                            let answer = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 4\r\n\r\npage";
                            stream.write_all(answer).await.unwrap();
                        }
                    }
                });
            }
        });
        Self {
            address,
            _stop: stop.drop_guard(),
        }
    }
}

/// One page's socket, and what it was sent.
struct Attachment {
    page: Page,
    /// Which message may be the first.
    start: RangeInclusive<u64>,
    /// The last message that came.
    last: Option<u64>,
    /// The newest message that a pong was written for.
    acknowledged: Option<u64>,
    /// The newest one whose pong was certainly read.
    certain: Option<u64>,
}

/// What a page was sent.
enum Sent {
    Message,
    Ping,
    /// Nothing more will come; with the close frame's code, if one came.
    End(Option<u16>),
}

impl Attachment {
    fn socket(&mut self) -> &mut WebSocketStream<MaybeTlsStream<TcpStream>> {
        &mut self.page.socket
    }

    async fn next(&mut self) -> Sent {
        match soon("what the page is sent", self.page.socket.next()).await {
            Some(Ok(Message::Ping(_))) => {
                self.acknowledged = self.last;
                // writes the pong; where the socket is closed by now, nobody waits for it
                let _ = self.page.socket.flush().await;
                Sent::Ping
            }
            Some(Ok(Message::Close(close))) => Sent::End(close.map(|close| close.code.into())),
            Some(Ok(message)) => {
                let number = number(&message);
                match self.last {
                    Some(last) => assert_eq!(number, last + 1, "after {last}"),
                    None => {
                        assert!(
                            self.start.contains(&number),
                            "{number} came first, not {:?}",
                            self.start
                        );
                        self.start = number..=number;
                    }
                }
                self.last = Some(number);
                Sent::Message
            }
            None | Some(Err(_)) => Sent::End(None),
        }
    }

    async fn read_to(&mut self, number: u64) {
        while self.last.is_none_or(|last| last < number) && self.start.start() <= &number {
            if let Sent::End(code) = self.next().await {
                panic!("the page was closed ({code:?}) ahead of message {number}");
            }
        }
    }

    /// Which message a blip's replay may start with: the one after the last that is acknowledged.
    fn resume(&self) -> RangeInclusive<u64> {
        let after = |acknowledged: Option<u64>, start: &u64| acknowledged.map_or(*start, |last| last + 1);
        after(self.certain, self.start.start())..=after(self.acknowledged, self.start.end())
    }
}

/// See the module.
pub(crate) struct Browser {
    proxy: Arc<Proxy>,
    target: String,
    ledger: Arc<Ledger>,
    choices: StdRng,
    pages: Pages,
    /// The minted cookie, of a browser whose pages come through the proxy.
    cookie: Option<String>,
    /// When the last page was requested.
    requested: Option<Instant>,
    /// From where a page has to be replayed to that was replaced by the load of another, and may be alive.
    elsewhere: Option<RangeInclusive<u64>>,
    /// How many messages the agent was told to send.
    ordered: u64,
    /// The last client message.
    said: u64,
    /// Client messages that must arrive, with how their page was left, and those that must not.
    sure: Vec<(u64, &'static str)>,
    never: Vec<u64>,
}

impl Browser {
    /// Opens as many pages as told, one after the other, each used for a while and left in one way or another.
    pub(crate) async fn run(
        proxy: Arc<Proxy>,
        target: String,
        ledger: Arc<Ledger>,
        choices: StdRng,
        pages: Pages,
        cycles: usize,
    ) {
        let mut browser = Self {
            proxy,
            target,
            ledger,
            choices,
            pages,
            cookie: None,
            requested: None,
            elsewhere: None,
            ordered: 0,
            said: 0,
            sure: Vec::new(),
            never: Vec::new(),
        };
        if pages != Pages::Elsewhere {
            browser.request_page().await;
        }
        let mut page = browser.attach(1..=1).await;
        if pages == Pages::Once {
            // what is waited for is the time itself
            tokio::time::sleep_until((Instant::now() + LOADS + UNSURE).into()).await;
        }
        for _ in 0..cycles {
            browser.order(4);
            browser.read(&mut page).await;
            browser.order(2);
            page = match browser.choices.random_range(0..10) {
                0..4 => browser.reload(page).await,
                7..10 if !browser.is_perhaps_loading() => browser.overlap(page).await,
                _ => browser.cut(page).await,
            };
        }
        browser.finish(page).await;
    }

    /// The page gets all there is, with or without a ping behind it, or some of it, or reads nothing.
    async fn read(&mut self, page: &mut Attachment) {
        match self.choices.random_range(0..20) {
            0 => self.await_acknowledgement(page).await,
            1..7 => page.read_to(self.ordered).await,
            7..13 => {
                let some = self.choices.random_range(0..=self.ordered);
                page.read_to(some).await;
            }
            _ => {}
        }
    }

    /// Once a client message behind a pong has arrived, so has the pong.
    async fn await_acknowledgement(&mut self, page: &mut Attachment) {
        self.ordered += 1;
        self.ledger.order(1);
        page.read_to(self.ordered).await;
        while page.acknowledged != Some(self.ordered) {
            match page.next().await {
                Sent::Ping => {}
                Sent::Message => unreachable!("all that was ordered has come"),
                Sent::End(code) => panic!("the page was closed ({code:?}) ahead of a ping"),
            }
        }
        let said = self.say(page).await;
        self.ledger.heard(said).await;
        self.sure.push((said, "ping"));
        page.certain = page.acknowledged;
    }

    /// A reload: mostly the page is requested before the socket closes, always the close frame says 1001.
    async fn reload(&mut self, mut page: Attachment) -> Attachment {
        let said = self.say(&mut page).await;
        self.sure.push((said, "reload"));
        if self.pages == Pages::Often && self.choices.random_bool(0.7) {
            self.request_page().await;
        }
        let away = CloseFrame {
            code: 1001.into(),
            reason: "".into(),
        };
        page.socket().send(Message::Close(Some(away))).await.unwrap();
        // else it goes with bytes unread, for which the system sends a reset
        if self.choices.random() {
            while !matches!(page.next().await, Sent::End(_)) {}
        }
        drop(page);
        self.gap().await;
        self.attach(1..=1).await
    }

    /// The connection ends without a close frame; the page stays as it is, unless it is then requested anew.
    async fn cut(&mut self, mut page: Attachment) -> Attachment {
        let said = self.say(&mut page).await;
        if self.choices.random() {
            self.ledger.heard(said).await;
            self.sure.push((said, "cut"));
        }
        let start = self.start_after().await.unwrap_or_else(|| self.resume(&page));
        if self.choices.random() {
            page.page.cut();
        } else {
            drop(page);
        }
        self.gap().await;
        self.attach(start).await
    }

    /// The next page comes while the socket is open; the older one is told, and can say nothing any more.
    async fn overlap(&mut self, mut page: Attachment) -> Attachment {
        let said = self.say(&mut page).await;
        self.sure.push((said, "overlap"));
        let blip = self.resume(&page);
        let loaded = match self.start_after().await {
            None if self.is_loading() => Some(1..=1),
            loaded => loaded,
        };
        if loaded.is_some() {
            self.elsewhere = Some(blip.clone());
        }
        let next = self.attach(loaded.unwrap_or(blip)).await;
        if self.choices.random() {
            self.said += 1;
            self.never.push(self.said);
            // it may be closed by now
            let _ = page.socket().send(Message::text(text(self.said))).await;
        } else if self.choices.random() {
            let code = loop {
                if let Sent::End(code) = page.next().await {
                    break code;
                }
            };
            assert_eq!(code, Some(4001), "the replaced page is told");
        }
        next
    }

    /// A page that dials so soon after one was requested, while another is attached, may be a second one.
    fn is_loading(&self) -> bool {
        self.requested.is_some_and(|at| at.elapsed() < LOADS)
    }

    /// Whether sessmux may see [`Self::is_loading`] otherwise.
    fn is_perhaps_loading(&self) -> bool {
        let unsure = LOADS - UNSURE..LOADS + UNSURE;
        self.requested.is_some_and(|at| unsure.contains(&at.elapsed()))
    }

    /// What the next page's first message may be, should `page` end without a close frame and not be a blip.
    async fn start_after(&mut self) -> Option<RangeInclusive<u64>> {
        if self.pages == Pages::Elsewhere {
            return Some(1..=1);
        }
        if self.pages == Pages::Often && self.choices.random_bool(0.2) {
            self.request_page().await;
            return Some(1..=1);
        }
        None
    }

    /// Which message a blip's replay may start with, given that the page that dials is perhaps an older one.
    fn resume(&self, page: &Attachment) -> RangeInclusive<u64> {
        let here = page.resume();
        match &self.elsewhere {
            Some(there) => *here.start().min(there.start())..=*here.end().min(there.end()),
            None => here,
        }
    }

    /// The agent goes on while nobody is attached; sometimes it is waited for.
    async fn gap(&mut self) {
        self.order(3);
        if self.choices.random() {
            self.ledger.sent(self.ordered).await;
        }
    }

    /// All that was sent must be there at the end, and what pages said must have arrived as it had to.
    async fn finish(mut self, mut page: Attachment) {
        page.read_to(self.ordered).await;
        let last = self.say(&mut page).await;
        self.ledger.heard(last).await;
        let heard = self.ledger.all_heard();
        for (number, how) in &self.sure {
            assert!(
                heard.binary_search(number).is_ok(),
                "client message {number} was lost in a {how}"
            );
        }
        for number in &self.never {
            assert!(
                heard.binary_search(number).is_err(),
                "client message {number} of a replaced page"
            );
        }
    }

    fn order(&mut self, most: u64) {
        let count = self.choices.random_range(0..=most);
        self.ordered += count;
        self.ledger.order(count);
    }

    /// Says something; a large message is waited for, since part of it may be on its way for long.
    async fn say(&mut self, page: &mut Attachment) -> u64 {
        self.said += 1;
        let text = text(self.said);
        let large = text.len() > 10_000;
        page.page.send(text).await;
        if large {
            self.ledger.heard(self.said).await;
        }
        self.said
    }

    async fn attach(&self, start: RangeInclusive<u64>) -> Attachment {
        let origin = format!("http://{}", self.proxy.address);
        let headers = [
            ("origin", origin.as_str()),
            ("cookie", self.cookie.as_deref().unwrap_or_default()),
        ];
        let headers = if self.cookie.is_some() { &headers[..] } else { &[] };
        Attachment {
            page: self.proxy.page_with(&self.target, headers).await.unwrap(),
            start,
            last: None,
            acknowledged: None,
            certain: None,
        }
    }

    /// Requests the page; the first answer names the browser.
    async fn request_page(&mut self) {
        let mut stream = TcpStream::connect(self.proxy.address).await.unwrap();
        let cookie = self.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n"));
        let head = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nAccept: text/html\r\nConnection: close\r\n{}\r\n",
            self.proxy.address,
            cookie.as_deref().unwrap_or_default()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon("the page", stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        self.requested = Some(Instant::now());
        if self.cookie.is_none() {
            let minted = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
            let minted = minted.expect("a cookie is minted").split(';').next();
            self.cookie = minted.map(ToOwned::to_owned);
        }
    }
}
