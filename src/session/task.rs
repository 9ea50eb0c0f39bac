//! The task that owns a session: a hand-written future that moves messages from socket to socket.
//!
//! One poll goes round mailbox, deadlines, upstream queue, page queue, upstream socket, page socket, until nothing
//! moves or its quantum is used up. Writes are polled, never awaited in line, so a stuck browser never holds the
//! upstream reader.

use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

use super::attach::Attach;
use super::browser::Browser;
use super::farewell::farewell;
use super::mailbox::Mail;
use super::page::{Message, Page, payload};
use super::policy::first_is_hello;
use super::registry::{Membership, Naming};
use super::scratch;
use super::upstream::Upstream;
use crate::config::Route;
use crate::core::cause::{PageFacts, Parting};
use crate::core::close::{self, Close};
use crate::core::frame::Opcode;
use crate::core::session::{Admission, Due, HelloFate, Newcomer, Received, Session, UpstreamEnd};
use crate::profile::{Role, Side};
use crate::transport::reader::Event;
use crate::transport::socket::Socket;

/// How often one poll goes round before it lets other sessions run; 16 reads are 1 MiB.
const QUANTUM: usize = 16;
/// Slices per write: the head, a few slabs, a control frame.
const SLICES: usize = 16;

/// See the module. It ends when the session does.
pub(super) struct SessionTask {
    core: Session,
    route: Arc<Route>,
    membership: Membership,
    upstream: Option<Upstream>,
    page: Option<Page>,
    /// Pages that came before the session stood, and until when each may wait.
    waiting: Vec<(Instant, Box<Attach>)>,
    /// The browser whose page was attached last.
    browser: Option<Arc<Browser>>,
    timer: Option<Pin<Box<Sleep>>>,
    over: bool,
}

/// A page waits so long for a hello answer that another page's hello asked for.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(10);

impl SessionTask {
    /// A session over `socket`, from which `read` was read already.
    pub(super) fn new(
        core: Session,
        route: Arc<Route>,
        membership: Membership,
        socket: Socket,
        read: &[u8],
        now: Instant,
    ) -> Self {
        let upstream = Upstream::new(socket, route.max_message);
        let mut task = Self {
            core,
            route,
            membership,
            upstream: Some(upstream),
            page: None,
            waiting: Vec::new(),
            browser: None,
            timer: None,
            over: false,
        };
        task.from_upstream(read, now);
        task
    }

    fn round(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut moved = self.take_mail(cx, now);
        moved |= self.fire(now);
        moved |= self.flush_upstream(cx, now);
        moved |= self.flush_page(cx, now);
        moved |= self.read_upstream(cx, now);
        moved |= self.read_page(cx, now);
        moved
    }

    // ---- mail

    fn take_mail(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mail = self.membership.mailbox.take(cx.waker());
        let moved = !mail.is_empty();
        for mail in mail {
            match mail {
                Mail::Attach(attach) => self.attach(cx, attach, now),
                Mail::Challenge(asked) => drop(asked.send(self.core.challenge().to_vec())),
                Mail::Shutdown => {
                    self.close_page(
                        now,
                        Some(&Close::new(close::RESTART, "sessmux restarts; try again")),
                        Parting::Cut,
                    );
                    self.end(Some(&Close::new(close::GOING_AWAY, "")), "shutdown");
                }
            }
        }
        moved
    }

    fn attach(&mut self, cx: &mut Context<'_>, attach: Box<Attach>, now: Instant) {
        if self.over {
            return attach.give_back();
        }
        // what the older page sent before this one came belongs to the session (G7): "approve, then reload" approves
        if self.page.is_some() {
            while self.read_page(cx, now) {}
        }
        if self.over {
            return attach.give_back();
        }
        if self.page.is_some() && !self.core.stands() {
            self.waiting.push((now + ANSWER, attach));
            return;
        }
        let mut attach = attach;
        let newcomer = Newcomer {
            since: attach.since,
            facts: attach.facts(),
            head: std::mem::take(&mut attach.head),
        };
        match self.core.attach(now, newcomer) {
            Admission::Attached(it) => {
                let older = self.page.take();
                tracing::info!(
                    session = %self.membership.id, epoch = it.epoch, cause = it.cause.map(|cause| cause.name()),
                    from = it.from.position + 1, replay = it.replayed, gap = it.gap, takeover = older.is_some(), "attach"
                );
                if let (Some(older), Some(mut rest)) = (older, it.replaced) {
                    Close::new(close::REPLACED, "opened elsewhere").write(&mut rest, None);
                    farewell(&self.membership.tracker, older.socket, rest);
                }
                let Attach {
                    socket,
                    unread,
                    browser,
                    ..
                } = *attach;
                self.browser = browser;
                self.page = Some(Page::new(socket, it.epoch, unread, self.route.max_message));
            }
            Admission::Refused(head, close) => {
                tracing::info!(session = %self.membership.id, code = close.code, reason = %close.reason, "attach refused");
                attach.head = head;
                attach.turn_away(&self.membership.tracker, &close);
            }
            Admission::OnPurpose(head, code) => {
                attach.head = head;
                self.end(
                    Some(&Close {
                        code,
                        reason: String::new(),
                    }),
                    "its page closed it",
                );
                attach.give_back();
            }
        }
    }

    // ---- time

    fn facts(&self) -> PageFacts {
        self.browser
            .as_ref()
            .map_or_else(PageFacts::default, |browser| browser.facts())
    }

    fn fire(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while let Some(due) = self.core.due(now, self.facts()) {
            moved = true;
            match due {
                Due::TooSlow => {
                    let close = Close::new(close::TOO_SLOW, "the page did not read for 10 s");
                    self.close_page(now, Some(&close), Parting::Cut);
                }
                Due::IncompleteMessage => {
                    let close = Close::new(close::TRY_LATER, "message incomplete after 30 s");
                    self.close_page(now, Some(&close), Parting::Cut);
                }
                Due::NoEcho => self.drop_page(now, "did not echo the close"),
                Due::OnPurpose(code) => self.end(
                    Some(&Close {
                        code,
                        reason: String::new(),
                    }),
                    "its page closed it",
                ),
                Due::GraceOver => self.end(
                    Some(&Close::new(close::GOING_AWAY, "")),
                    "nobody came back within the grace",
                ),
                Due::PingUpstream => {
                    if let Some(upstream) = &mut self.upstream {
                        upstream.send_control(Opcode::Ping, &[]);
                    }
                }
                Due::PagePing => {}
            }
        }
        while let Some(index) = self.waiting.iter().position(|(until, _)| *until <= now) {
            moved = true;
            let (_, attach) = self.waiting.remove(index);
            let close = Close::new(close::TRY_LATER, "the hello of another page is not answered");
            attach.turn_away(&self.membership.tracker, &close);
        }
        moved
    }

    /// Waits for the next deadline; `false` if it has come already.
    fn arm(&mut self, cx: &mut Context<'_>) -> bool {
        let next = self
            .core
            .next_deadline()
            .into_iter()
            .chain(self.waiting.iter().map(|(until, _)| *until))
            .min();
        let Some(next) = next.map(tokio::time::Instant::from_std) else {
            return true;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
        // left as it is when it fires earlier than needed: deadlines move back with every message
        if timer.deadline() > next || timer.is_elapsed() {
            timer.as_mut().reset(next);
        }
        timer.as_mut().poll(cx).is_pending()
    }

    // ---- upstream

    fn flush_upstream(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(upstream) = &mut self.upstream else {
            return false;
        };
        match upstream.flush(cx) {
            Ok(moved) => moved,
            Err(error) => {
                self.upstream_ended(now, UpstreamEnd::Abrupt, &format!("write failed: {error}"));
                true
            }
        }
    }

    fn read_upstream(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let budget = self.core.read_budget(now);
        if budget == 0 {
            return false;
        }
        scratch::with(|buffer| {
            let limit = budget.min(buffer.len());
            match self
                .upstream
                .as_mut()
                .and_then(|upstream| upstream.read(cx, &mut buffer[..limit]))
            {
                None => return false,
                Some(Ok(0)) => self.upstream_ended(now, UpstreamEnd::Abrupt, "it ended without a close frame"),
                Some(Ok(read)) => self.from_upstream(&buffer[..read], now),
                Some(Err(error)) => self.upstream_ended(now, UpstreamEnd::Abrupt, &format!("read failed: {error}")),
            }
            true
        })
    }

    fn from_upstream(&mut self, mut bytes: &[u8], now: Instant) {
        let looks = self.route.profile.wants(Side::Server);
        while let Some(upstream) = &mut self.upstream {
            match upstream.reader.next(&mut bytes) {
                Ok(Event::More) => return,
                Ok(Event::Data(piece)) => {
                    self.core.receive(&piece.carried.0[..piece.carried.1]);
                    self.core.receive(piece.raw);
                    if piece.ends_frame {
                        if piece.ends_message && looks {
                            self.look_at_server_message();
                        }
                        self.received(piece.ends_message, now);
                    }
                }
                Ok(Event::Control(Opcode::Ping, payload)) => upstream.send_control(Opcode::Pong, &payload),
                Ok(Event::Control(Opcode::Close, payload)) => match Close::parse(&payload) {
                    Some(close) => self.upstream_ended(now, UpstreamEnd::Close(close), "upstream closed"),
                    None => self.upstream_fault(now, close::PROTOCOL_ERROR, "bad close frame"),
                },
                // a pong: whatever upstream sends shows that it lives
                Ok(Event::Control(..)) => {}
                Err(fault) => self.upstream_fault(now, fault.code(), &fault.to_string()),
            }
        }
    }

    fn received(&mut self, fin: bool, now: Instant) {
        match self.core.received(fin) {
            Received::Logged(0) => {}
            Received::Logged(evicted) => {
                let total = self.core.counts().evicted;
                // the first loss is worth a line; the rest is in the counters and in every attach line
                if total == evicted {
                    tracing::warn!(
                        session = %self.membership.id, log_bytes = self.route.log_bytes,
                        log_messages = self.route.log_messages, "log full: the oldest messages can no longer be replayed"
                    );
                }
            }
            Received::Overflow => {
                let close = Close::new(close::GAP, "the session's log was full");
                self.upstream_ended(now, UpstreamEnd::Close(close), "overflow = close: the log is full");
            }
        }
    }

    /// Gives the message that is complete but not yet committed its role.
    fn look_at_server_message(&mut self) {
        if !self.core.awaits_hello_answer() {
            return;
        }
        let mut text = Vec::new();
        self.core.log().payload(self.core.log().boundary().offset, &mut text);
        if self.route.profile.role(Side::Server, &text) != Some(Role::HelloAnswer) {
            return;
        }
        self.core.hello_answered();
        let naming = self.membership.answered(&self.route, &text);
        if naming == Naming::Taken {
            self.core.stay_one_to_one();
        }
        for (_, attach) in std::mem::take(&mut self.waiting) {
            if naming != Naming::Kept {
                // it asked for another name than the session now has
                attach.give_back();
            } else if let Err(Mail::Attach(attach)) = self.membership.mailbox.post(Mail::Attach(attach)) {
                // as mail it comes in behind the answer
                attach.give_back();
            }
        }
    }

    fn upstream_fault(&mut self, now: Instant, code: u16, what: &str) {
        if let Some(upstream) = self.upstream.take() {
            let (socket, rest) = upstream.finish(Some(&Close::new(code, "")));
            farewell(&self.membership.tracker, socket, rest);
        }
        let close = Close::new(close::UPSTREAM_FAULT, "the agent server broke the protocol");
        self.upstream_ended(now, UpstreamEnd::Close(close), what);
    }

    fn upstream_ended(&mut self, now: Instant, how: UpstreamEnd, why: &str) {
        if let Some(upstream) = self.upstream.take() {
            let echo = match &how {
                UpstreamEnd::Close(close) => Some(close.clone()),
                UpstreamEnd::Abrupt => None,
            };
            let (socket, rest) = upstream.finish(echo.as_ref());
            // a peer that ended without a close frame gets no bytes either
            farewell(
                &self.membership.tracker,
                socket,
                if echo.is_some() { rest } else { Vec::new() },
            );
        }
        tracing::info!(session = %self.membership.id, ?how, why, "upstream ended");
        if self.core.upstream_ended(how) {
            self.drop_page(now, "upstream ended amid a message");
        }
        // before the first attach its page is on the way, and gets the end
        if !self.core.is_attached() && !self.core.stands() && self.core.epoch() > 0 {
            self.over = true;
        }
    }

    // ---- page

    fn flush_page(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut moved = false;
        let mut failed = None;
        while let Some(page) = &mut self.page {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.core.slices(now, &mut slices);
            if count == 0 {
                break;
            }
            match page.write(cx, &slices[..count]) {
                None => return moved,
                Some(Ok(written)) => {
                    self.core.wrote(now, written);
                    moved = true;
                }
                Some(Err(error)) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if let Some(error) = failed {
            self.drop_page(now, &format!("write failed: {error}"));
            return true;
        }
        if self.page.is_some() && self.core.page_ends_abruptly() {
            self.close_page(now, None, Parting::Cut);
            return true;
        }
        moved
    }

    fn read_page(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.upstream.as_ref().is_some_and(|upstream| !upstream.has_room()) {
            return false;
        }
        scratch::with(|buffer| {
            match self.page.as_mut().and_then(|page| page.read(cx, buffer)) {
                None => return false,
                Some(Ok(0)) => self.close_page(now, None, Parting::Cut),
                Some(Ok(read)) => self.from_page(&buffer[..read], now),
                Some(Err(error)) => self.drop_page(now, &format!("read failed: {error}")),
            }
            true
        })
    }

    fn from_page(&mut self, mut bytes: &[u8], now: Instant) {
        while let Some(page) = &mut self.page {
            let epoch = page.epoch;
            match page.reader.next(&mut bytes) {
                Ok(Event::More) => {
                    let open = page.reader.amid_message();
                    self.core.client_message_open(now, open);
                    return;
                }
                Ok(Event::Data(piece)) => {
                    if let Some(message) = page.collect(&piece) {
                        let first = !std::mem::replace(&mut page.spoke, true);
                        self.core.client_message_open(now, false);
                        self.client_message(&message, first);
                    }
                }
                Ok(Event::Control(Opcode::Ping, payload)) => self.core.page_ping(epoch, &payload),
                Ok(Event::Control(Opcode::Close, payload)) => match Close::parse(&payload) {
                    Some(close) => {
                        let parting = Parting::Closed(close.code);
                        self.close_page(now, Some(&close), parting);
                    }
                    None => self.page_fault(now, close::PROTOCOL_ERROR, "bad close frame"),
                },
                Ok(Event::Control(_, payload)) => self.core.page_pong(epoch, &payload),
                Err(fault) => self.page_fault(now, fault.code(), &fault.to_string()),
            }
        }
    }

    fn client_message(&mut self, message: &Message<'_>, first: bool) {
        let Some(upstream) = &mut self.upstream else { return };
        let route = &self.route;
        let is_hello = if route.profile.has(Role::Hello) {
            let mut text = Vec::new();
            payload(message, &mut text);
            route.profile.role(Side::Client, &text) == Some(Role::Hello)
        } else {
            first && first_is_hello(route)
        };
        if is_hello && self.core.hello() == HelloFate::Absorb {
            tracing::debug!(session = %self.membership.id, "hello absorbed");
            return;
        }
        upstream.send(message);
    }

    fn page_fault(&mut self, now: Instant, code: u16, what: &str) {
        tracing::warn!(session = %self.membership.id, code, cause = what, "page broke the protocol");
        // the reason names the offence to whoever debugs the page; it is short and ours
        let reason = if code == close::TOO_BIG {
            "message larger than max_message"
        } else {
            ""
        };
        self.close_page(now, Some(&Close::new(code, reason)), Parting::Cut);
    }

    /// Detaches the page with what completes its frame and `close`, and lets its socket go.
    fn close_page(&mut self, now: Instant, close: Option<&Close>, parting: Parting) {
        let Some(page) = self.page.take() else { return };
        let Some(departure) = self.core.detach(now, page.epoch, parting) else {
            return;
        };
        let mut rest = departure.rest;
        if let Some(close) = close.filter(|_| !departure.closed) {
            close.write(&mut rest, None);
        }
        tracing::info!(
            session = %self.membership.id, epoch = page.epoch, ?parting,
            code = close.and_then(|close| close.code), position = self.core.log().boundary().position, "detach"
        );
        farewell(&self.membership.tracker, page.socket, rest);
        self.departed(departure.over, parting);
    }

    /// Detaches the page and resets its connection.
    fn drop_page(&mut self, now: Instant, why: &str) {
        let Some(page) = self.page.take() else { return };
        let Some(departure) = self.core.detach(now, page.epoch, Parting::Cut) else {
            return;
        };
        tracing::info!(session = %self.membership.id, epoch = page.epoch, why, "detach");
        page.socket.reset();
        self.departed(departure.over, Parting::Cut);
    }

    fn departed(&mut self, over: bool, parting: Parting) {
        if over {
            let code = match parting {
                Parting::Closed(code) => code,
                _ => Some(close::GOING_AWAY),
            };
            self.end(
                Some(&Close {
                    code,
                    reason: String::new(),
                }),
                "its page left",
            );
        }
    }

    // ---- end

    fn end(&mut self, close: Option<&Close>, why: &str) {
        if let Some(upstream) = self.upstream.take() {
            let (socket, rest) = upstream.finish(close);
            farewell(&self.membership.tracker, socket, rest);
        }
        if !self.over {
            self.over = true;
            tracing::info!(
                session = %self.membership.id, why, positions = self.core.log().boundary().position,
                evicted = self.core.counts().evicted, stale = self.core.counts().stale, "end"
            );
        }
    }
}

impl Future for SessionTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        let now = tokio::time::Instant::now().into_std();
        for _ in 0..QUANTUM {
            let moved = task.round(cx, now);
            if task.over {
                return Poll::Ready(());
            }
            if !moved && task.arm(cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for SessionTask {
    /// Also when it panics: the registry forgets the session, and whoever waits for it starts another.
    fn drop(&mut self) {
        let left = self.membership.leave();
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(_, attach)| attach);
        let mail = left.into_iter().filter_map(|mail| match mail {
            Mail::Attach(attach) => Some(attach),
            Mail::Challenge(_) | Mail::Shutdown => None,
        });
        waiting.chain(mail).for_each(|attach| attach.give_back());
    }
}
