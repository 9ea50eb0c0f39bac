//! A session's task that a capture is run through: the same state and the same roles, with nobody at either end.
//!
//! Its sockets stay silent. What they would bring is handed to the task, what they would be sent is taken from it, and
//! the time is the capture's. So nothing is decided here: what comes of a message is what came of it in the task.

mod refresh;
mod wire;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use tokio::net::UnixStream;
use tokio_util::task::TaskTracker;

use super::SessionTask;
use super::hello::replaced;
use crate::capture::Event;
use crate::config::{Limits, Route};
use crate::core::cause::{Cause, Parting};
use crate::core::close::{self, Close};
use crate::core::frame::{self, Opcode, Sender};
use crate::core::session::{Session, UpstreamEnd};
use crate::metrics::Metrics;
use crate::profile::{Kind, Message, Role, Side, State};
use crate::session::attach::Attach;
use crate::session::browser::Browser;
use crate::session::policy::{first_is_hello, needs_first_message, policy};
use crate::session::registry::Sessions;
use crate::transport::socket::Socket;
use crate::transport::tls::Roots;
use wire::{messages, sent_to_page};

pub use refresh::{Refresh, Replay};
pub use wire::Sent;

/// See the module. It needs a tokio runtime, whose tasks are to run between two steps.
pub struct Rehearsal {
    task: SessionTask,
    /// The other end of the task's socket to the server: while it is there, that does not end.
    _server: UnixStream,
    /// And of the attached page's.
    page: Option<UnixStream>,
    /// The id of the hello that was said last.
    hello_id: Option<Vec<u8>>,
    /// Of requests: the id upstream when it was recorded, and here.
    ids: HashMap<String, String>,
}

/// What came of a message.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The number of its rule, from 0.
    pub rule: Option<usize>,
    /// What it is by that, or by being the first of its page.
    pub role: Option<Role>,
    /// The id that it has by its rule.
    pub id: Option<String>,
    /// What the server is sent.
    pub upstream: Vec<Sent>,
    /// What the attached page is sent.
    pub page: Vec<Sent>,
    /// Where it stands in the replay log, if it does.
    pub position: Option<u64>,
}

impl Rehearsal {
    /// A session of this route to which nobody is attached.
    ///
    /// # Errors
    ///
    /// The system gives no sockets.
    pub fn new(route: &Arc<Route>, now: Instant) -> io::Result<Self> {
        let (socket, server) = UnixStream::pair()?;
        let sessions = Sessions::new(
            TaskTracker::new(),
            None,
            Roots::default(),
            &Limits::default(),
            Arc::new(Metrics::default()),
        );
        let membership = sessions.rehearsed(route);
        let core = Session::new(policy(route, &membership.key), now);
        let task = SessionTask::new(core, Arc::clone(route), membership, Socket::Unix(socket), &[], now);
        Ok(Self {
            task,
            _server: server,
            page: None,
            hello_id: None,
            ids: HashMap::new(),
        })
    }

    /// The route, and the number of the rule, where a page's first message makes it a tunnel.
    #[must_use]
    pub fn tunnel(route: &Route, first: &Message<'_>) -> Option<(Arc<Route>, usize)> {
        let rule = route
            .profile
            .rule_for(Side::Client, first, State::BEGINNING)
            .ok()
            .flatten();
        let rule = rule.filter(|rule| rule.role == Role::Tunnel && needs_first_message(route))?;
        Some((Arc::new(route.tunnelled()), rule.number))
    }

    /// Whether the session is over.
    pub fn is_over(&self) -> bool {
        self.task.over
    }

    /// Whether a page is attached.
    pub fn is_attached(&self) -> bool {
        self.task.page.is_some()
    }

    /// Something happens beside messages; `said` is what a page that is attached will say. Returns what it is sent.
    ///
    /// # Errors
    ///
    /// The system gives no sockets.
    pub fn event(&mut self, now: Instant, event: Event, said: &[&[u8]]) -> io::Result<Vec<Sent>> {
        self.pass_time(now);
        match event {
            Event::Attach { cause, .. } => self.attach(now, cause, said)?,
            Event::Detach { code, .. } => {
                let parting = code.map_or(Parting::Cut, |code| Parting::Closed(close_code(code)));
                let close = matches!(parting, Parting::Closed(_)).then(Close::default);
                self.task.close_page(now, close.as_ref(), parting);
                self.page = None;
            }
            Event::End { code } => {
                let how = code.map_or(UpstreamEnd::Abrupt, |code| {
                    UpstreamEnd::Close(Close {
                        code: close_code(code),
                        reason: String::new(),
                    })
                });
                self.task.upstream_ended(now, how, "the capture says so");
            }
            Event::Lost { .. } => {}
        }
        Ok(self.settle(now))
    }

    fn attach(&mut self, now: Instant, cause: Option<Cause>, said: &[&[u8]]) -> io::Result<()> {
        let (socket, page) = UnixStream::pair()?;
        let browser = Arc::new(Browser::default());
        if cause == Some(Cause::Blip) {
            browser.page_answered(true);
        }
        let id = said.iter().find_map(|message| self.id_of_hello(message));
        self.hello_id = id.or(self.hello_id.take());
        let attach = Attach {
            socket: Socket::Unix(socket),
            head: Vec::new(),
            unread: Vec::new(),
            since: now,
            browser: Some(browser),
            key: Some(Arc::clone(&self.task.membership.key)),
            proof: None,
            hello_id: self.hello_id.clone(),
            permit: None,
            share: None,
            retry: None,
        };
        self.task.attach(Box::new(attach), now);
        self.page = Some(page);
        Ok(())
    }

    fn id_of_hello(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let message = Message::text(payload);
        let rule = self
            .task
            .route
            .profile
            .rule_for(Side::Client, &message, State::BEGINNING);
        let rule = rule.ok().flatten().filter(|rule| rule.role == Role::Hello)?;
        Some(payload[rule.id_span(payload)?].to_vec())
    }

    /// A whole message comes; `asked` is the id that it had upstream when it was recorded, where that was another.
    pub fn message(&mut self, now: Instant, from: Side, kind: Kind, asked: Option<u64>, payload: &[u8]) -> Outcome {
        self.pass_time(now);
        let translated = (from == Side::Server).then(|| self.translated(kind, payload)).flatten();
        let payload = translated.as_deref().unwrap_or(payload);
        self.task.told.get_or_insert_default().judged = None;
        let position = self.task.core.log().boundary().position;
        let opcode = match kind {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        };
        let mut wire = Vec::new();
        match from {
            Side::Client => {
                frame::write(&mut wire, opcode, payload, Some([0; 4]));
                self.task.page_bytes(&wire, now);
                if let Some(id) = self.id_of_hello(payload) {
                    self.hello_id = Some(id);
                }
            }
            Side::Server => {
                frame::write(&mut wire, opcode, payload, None);
                self.task.upstream_bytes(&wire, now);
            }
        }
        let route = Arc::clone(&self.task.route);
        let judged = self.task.told.as_ref().and_then(|told| told.judged);
        let rule = judged.and_then(|number| route.profile.rules.get(number));
        let first = from == Side::Client && self.task.page.as_ref().is_some_and(|page| page.messages == 1);
        let role = rule.map(|rule| rule.role);
        let logged = self.task.core.log().boundary().position > position;
        let upstream = self.taken();
        let asks = rule.filter(|rule| rule.asks() && from == Side::Client);
        if let Some((rule, [sent])) = asks.zip(upstream.as_slice().first_chunk())
            && let Some(before) = asked.map(|id| id.to_string()).or(rule.id_of(payload))
            && let Some(now) = rule.id_of(&sent.payload)
        {
            self.ids.insert(before, now);
        }
        Outcome {
            rule: judged,
            role: role.or((first && first_is_hello(&route)).then_some(Role::Hello)),
            id: rule.and_then(|rule| rule.id_of(payload)),
            upstream,
            page: self.settle(now),
            position: logged.then_some(position + 1),
        }
    }

    /// The server's answer to a request that has another id here than it had when that was recorded.
    fn translated(&self, kind: Kind, payload: &[u8]) -> Option<Vec<u8>> {
        let message = Message {
            kind,
            number: self.task.told.as_ref().map_or(0, |told| told.upstream_messages) + 1,
            ..Message::text(payload)
        };
        let rule = self
            .task
            .route
            .profile
            .rule_for(Side::Server, &message, self.task.state());
        let rule = rule.ok().flatten().filter(|rule| rule.answers())?;
        let id = self.ids.get(&rule.id_of(payload)?)?;
        Some(replaced(payload, rule.id_span(payload)?, id.as_bytes()))
    }

    /// What is due by now, mail included.
    fn pass_time(&mut self, now: Instant) {
        self.task.fire(now);
        self.settle(now);
    }

    /// Everything that was to be sent is sent; what the page got, whose browser acknowledges all of it.
    fn settle(&mut self, now: Instant) -> Vec<Sent> {
        self.task.take_mail(&mut Context::from_waker(Waker::noop()), now);
        let (sent, pings) = sent_to_page(&mut self.task.core, now);
        if let Some(page) = &self.task.page {
            for ping in pings {
                self.task.core.page_pong(page.epoch, &ping);
            }
        }
        if self.task.page.is_some() && self.task.core.page_ends_abruptly() {
            self.task.close_page(now, None, Parting::Cut);
        }
        self.taken();
        sent
    }

    /// What the server is sent.
    fn taken(&mut self) -> Vec<Sent> {
        let wire = self.task.upstream.as_mut().map(|upstream| upstream.take());
        messages(&wire.unwrap_or_default(), Sender::Client).0
    }
}

fn close_code(code: u16) -> Option<u16> {
    (code != close::NO_CODE).then_some(code)
}
