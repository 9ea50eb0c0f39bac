//! The task that owns a session: a hand-written future that moves messages from socket to socket.
//!
//! One poll takes mail and what is due, then goes round, from upstream to the page and from the page to upstream, until
//! nothing moves or its quantum is used up. Writes are polled, never awaited in line, so a stuck browser never holds the
//! upstream reader.
//! This file has the poll, the mail and the end; [`attach`] lets pages in, [`upstream_side`] and [`page_side`] the traffic, [`client_roles`],
//! [`server_roles`] and [`hello`] what a profile makes of it, [`time`] the deadlines, [`record`] what is written down;
//! [`relief`] what it gives back when memory is short, [`counted`] what metrics have of it, [`operate`] what an operator asks; [`rehearsal`] is a task without
//! traffic.

mod attach;
mod client_roles;
mod counted;
mod hello;
mod operate;
mod page_side;
mod record;
pub mod rehearsal;
mod relief;
mod server_roles;
mod time;
mod upstream_side;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::Sleep;

use counted::{Asked, Counted};

use super::attach::Attach;
use super::browser::Browser;
use super::mailbox::Mail;
use super::page::Page;
use super::policy::bounds;
use super::registry::Membership;
use super::timeline::Timeline;
use super::upstream::Upstream;
use crate::config::Route;
use crate::core::cause::Parting;
use crate::core::close::{self, Close};
use crate::core::proofs::Proofs;
use crate::core::session::Session;
use crate::metrics::{self, Stage};
use crate::transport::socket::Socket;

/// How often one poll goes round before it lets other sessions run.
const QUANTUM: usize = 8;
/// A round that moved so many bytes from upstream or to the page is the poll's last. A session that always has more is
/// one of many: beside 16 such streams, whoever says something small waits for one round of each.
const ENOUGH: u64 = 64 * 1024;
/// Slices per write: the head, a few slabs, a control frame.
const SLICES: usize = 16;

/// The sockets that had nothing to read in this poll.
#[derive(Default)]
struct Quiet {
    upstream: bool,
    page: bool,
}

/// See the module. It ends when the session does.
pub(super) struct SessionTask {
    core: Session,
    route: Arc<Route>,
    membership: Membership,
    upstream: Option<Upstream>,
    /// No write to upstream has failed; here, for in the leg itself it would take eight bytes.
    upstream_writable: bool,
    page: Option<Box<Page>>,
    /// The browser whose page was attached last.
    browser: Option<Arc<Browser>>,
    timer: Option<Pin<Box<Sleep>>>,
    /// The timer fires no later than something is due.
    armed: bool,
    // boxed, for sessions without a profile have nothing of it
    told: Option<Box<Told>>,
    /// What happened lately.
    timeline: Timeline,
    counted: Counted,
    /// How it stands as the metrics have it.
    counted_stage: Stage,
    /// Since when it is over, or its upstream connection, and why.
    why: Option<Box<(Instant, String)>>,
    over: bool,
}

/// What messages have told by the rules of the profile, and who waits for what they will tell.
#[derive(Default)]
struct Told {
    /// Pages that came before the session stood, and until when each may wait.
    waiting: Vec<(Instant, Box<Attach>)>,
    /// Pending pages that ask for the challenge before the first hello was said: it is not whole yet.
    asking: Vec<oneshot::Sender<Vec<u8>>>,
    /// The rule by which the hello answer was recorded.
    answer_rule: Option<usize>,
    /// The id upstream of the hello, where it has one.
    hello_id: Option<u64>,
    /// How many whole messages upstream has sent, those that were dropped included.
    upstream_messages: u64,
    /// The rule of the message that was looked at last.
    judged: Option<usize>,
    /// The rules of what was said upstream once, and is not said again.
    said_once: Vec<usize>,
    /// Upstream said that the conversation is over while no page was there.
    over: bool,
    /// Signed hellos that were used.
    proofs: Proofs,
    /// The open prompts that were counted.
    asked: Asked,
}

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
        let upstream = Upstream::new(socket, bounds(&route));
        let counted_stage = Stage::Opening;
        membership.metrics().sessions.of(counted_stage).inc();
        let mut task = Self {
            core,
            route,
            membership,
            upstream: Some(upstream),
            upstream_writable: true,
            page: None,
            browser: None,
            timer: None,
            armed: false,
            told: None,
            timeline: Timeline::new(now),
            counted: Counted::default(),
            counted_stage,
            why: None,
            over: false,
        };
        task.upstream_bytes(read, now);
        task
    }

    /// Goes round once; returns whether something moved. `quiet` are the sockets that had nothing to read in this poll, and
    /// wake the task when they do.
    fn round(&mut self, cx: &mut Context<'_>, now: Instant, quiet: &mut Quiet) -> bool {
        let mut moved = false;
        if !quiet.upstream {
            match self.read_upstream(cx, now) {
                Poll::Ready(read) => moved |= read,
                Poll::Pending => quiet.upstream = true,
            }
        }
        moved |= self.flush_page(cx, now);
        if !quiet.page {
            match self.read_page(cx, now) {
                Poll::Ready(read) => moved |= read,
                Poll::Pending => quiet.page = true,
            }
        }
        moved |= self.flush_upstream(cx);
        moved
    }

    /// How far the log has come, and the page in it.
    fn progress(&self) -> [u64; 2] {
        [self.core.log().tail(), self.core.sent()]
    }

    fn take_mail(&mut self, cx: &mut Context<'_>, now: Instant) {
        for mail in self.membership.mailbox.take(cx.waker()) {
            match mail {
                Mail::Attach(attach) => {
                    if let Some(came) = self.attach(attach, now) {
                        // the page waits for its 101, and not for the log's line
                        self.write_page(cx, now);
                        came.log(&self.membership.id);
                        self.page_bytes(&came.unread, now);
                    }
                }
                Mail::Challenge(asked) => self.challenge(asked),
                Mail::Abandoned => {
                    if self.core.epoch() == 0 && self.core.ends_with_page() {
                        self.end(
                            Some(&Close::new(close::GOING_AWAY, "")),
                            "its page left before it was attached",
                        );
                    }
                }
                Mail::Relieve(relief, _done) => self.relieve(relief, now),
                Mail::Describe(to, whole) => {
                    // who has gone does not want it
                    let _ = to.send(self.describe(now, whole));
                }
                Mail::End(done) => self.end_by_operator(now, done),
                Mail::Shutdown => {
                    self.note_end("shutdown");
                    self.close_page(
                        now,
                        Some(&Close::new(close::RESTART, "sessmux restarts; try again")),
                        Parting::Cut,
                    );
                    self.end(Some(&Close::new(close::GOING_AWAY, "")), "shutdown");
                }
            }
        }
    }

    fn challenge(&mut self, asked: oneshot::Sender<Vec<u8>>) {
        let asking = &mut self.told.get_or_insert_default().asking;
        asking.retain(|other| !other.is_closed());
        asking.push(asked);
        self.answer_askers();
    }

    /// Shows the pending pages that ask what they need to say their hello, once all of that has come.
    fn answer_askers(&mut self) {
        if self.core.awaits_hello() {
            return;
        }
        let asking = self.told.as_mut().map(|told| std::mem::take(&mut told.asking));
        for asked in asking.unwrap_or_default() {
            // who has left does not want it
            let _ = asked.send(self.core.challenge().to_vec());
        }
    }

    fn end(&mut self, close: Option<&Close>, why: &str) {
        if let Some(upstream) = self.upstream.take() {
            let (socket, rest) = upstream.finish(close);
            let code = close.map(|close| close.code.unwrap_or(close::NO_CODE));
            // what upstream says itself, and what ends it for its fault, is noted where that happens
            self.membership.metrics().closes.of(metrics::Close::of(code)).inc();
            self.membership.farewell(socket, rest);
        }
        if !self.over {
            self.over = true;
            self.note_end(why);
            // some end with their page, which may be closed for the reason that was noted
            let noted = self.why.as_deref().filter(|_| self.core.end().is_none());
            let why = noted.map_or(why, |(_, noted)| noted);
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
        // once, for further mail wakes the task
        task.take_mail(cx, now);
        if task.may_be_due(now) {
            task.fire(now);
        }
        let mut quiet = Quiet::default();
        for _ in 0..QUANTUM {
            let before = task.progress();
            let moved = task.round(cx, now, &mut quiet);
            if task.over {
                return Poll::Ready(());
            }
            if !moved {
                task.armed = task.arm(cx);
                if task.armed {
                    task.account();
                    return Poll::Pending;
                }
                task.fire(now);
            }
            let [read, sent] = task.progress();
            if read.saturating_sub(before[0]) + sent.saturating_sub(before[1]) >= ENOUGH {
                break;
            }
        }
        task.armed = false;
        task.account();
        // behind whoever has something to do by now: to be woken at once would leave it to chance when the runtime looks
        // who that is
        let _ = pin!(yield_now()).poll(cx);
        Poll::Pending
    }
}

impl Drop for SessionTask {
    /// Also when it panics: the registry forgets the session, and whoever waits for it starts another.
    fn drop(&mut self) {
        // with what an operator may ask later; the moment of its end is the last in which it can tell
        let now = tokio::time::Instant::now().into_std();
        let description = self.describe_end(now);
        self.count_out();
        self.membership.remember(description);
        let left = self.membership.leave();
        let waiting = self.told.take().into_iter().flat_map(|told| told.waiting);
        let waiting = waiting.map(|(_, attach)| attach);
        let mail = left.into_iter().filter_map(|mail| match mail {
            Mail::Attach(attach) => Some(attach),
            _ => None,
        });
        waiting.chain(mail).for_each(|attach| attach.give_back());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The runtime adds 120 bytes and takes a multiple of 128: a session that outgrew them would cost 128 more.
    #[test]
    fn a_task_fits_into_the_runtimes_blocks() {
        assert!(size_of::<SessionTask>() + 120 <= 6 * 128);
    }
}
