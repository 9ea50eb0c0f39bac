//! What comes from upstream: messages into the log, and the end.

use std::time::Instant;

use super::Session;
use crate::core::Overflow;
use crate::core::close::Close;
use crate::core::log::Run;

/// Once a page has made upstream wait, it has to make room for so many bytes in its time: one that takes a few at a
/// time would keep upstream's pings unread without end.
const PACE: u32 = 64 * 1024;

/// Most bytes of echoes that wait for a message of upstream's to be whole.
const MAX_ECHOES: usize = 64 * 1024;

/// How the upstream connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamEnd {
    /// With this close frame, or for this reason of ours; the page gets the same.
    Close(Close),
    /// It broke the protocol, for which the page gets this close.
    Fault(Close),
    /// Without one, and so does the page's.
    Abrupt,
}

impl UpstreamEnd {
    /// The close that the page gets.
    pub fn close(&self) -> Option<&Close> {
        match self {
            Self::Close(close) | Self::Fault(close) => Some(close),
            Self::Abrupt => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) how: UpstreamEnd,
    /// A page has attached since, and gets replay and end: when it leaves, the session is forgotten.
    pub(super) reattached: bool,
    /// Until when the attached page has to take some of the rest, or to echo the close behind it.
    pub(super) echo: Option<Instant>,
}

/// What it took to bring the log within its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// So many messages were evicted for it, and before it since the last time.
    Logged(u64),
    /// Nobody is attached, the log is full and the route ends sessions then: call [`Session::upstream_ended`] with
    /// close 4009.
    Overflow,
}

impl Session {
    /// How many bytes may be read from upstream now; 0 while the page has too much to catch up on.
    pub fn read_budget(&mut self, now: Instant) -> usize {
        let attached = self.attached.as_ref().filter(|_| self.end.is_none());
        let Some(cursor) = attached.map(|attached| attached.out.cursor()) else {
            return usize::MAX;
        };
        if self.log.room(cursor) == 0 {
            // what the page has taken since may go
            self.evict();
        }
        let room = self.log.room(cursor);
        if let Some(attached) = &mut self.attached {
            if room == 0 && attached.deadlines.stall.is_none() {
                attached.deadlines.stall = Some(now + self.policy.slow_reader);
                attached.owed = PACE;
            } else if room == usize::MAX {
                attached.deadlines.stall = None;
            }
        }
        room
    }

    /// Upstream had nothing more to read: no page keeps it waiting.
    pub fn upstream_idle(&mut self) {
        if let Some(attached) = &mut self.attached {
            attached.deadlines.stall = None;
        }
    }

    /// So many bytes are to be received next, all that was read: they get [memory in one piece](crate::core::log::Log::reserve).
    pub fn reserve(&mut self, bytes: usize) {
        self.log.reserve(bytes);
    }

    /// Appends bytes of the data frame being received, as they came over the wire.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.progress(bytes.len());
        self.log.push(bytes);
    }

    /// How many bytes [`Self::receive_run`] takes now, if any.
    pub fn run_room(&self) -> usize {
        // nothing waits for a message's end but amid a message
        self.log.run_room()
    }

    /// Appends complete messages that [`Self::run_room`] is enough for, as if each was [received](Self::received).
    pub fn receive_run(&mut self, run: Run<'_>) {
        self.progress(run.bytes.len());
        self.log.push_run(run);
    }

    /// Lends the log's memory for what comes next to be read straight into it, [where that is worth it](crate::core::log::Log::lend).
    /// Until it is [given back](Self::give_back) nothing but [`Self::adopt`], [`Self::adopt_run`] and [`Self::received`] may be
    /// called.
    pub fn lend(&mut self) -> Option<Vec<u8>> {
        // an echo follows the message that ends
        if self.has_echoes() { None } else { self.log.lend() }
    }

    /// So many more bytes of the memory lent are of the data frame being received.
    pub fn adopt(&mut self, bytes: usize) {
        self.progress(bytes);
        self.log.adopt(bytes);
    }

    /// What follows in the memory lent are these complete messages, each [received](Self::received).
    pub fn adopt_run(&mut self, run: Run<'_>) {
        self.progress(run.bytes.len());
        self.log.adopt_run(run);
    }

    /// Takes back what was lent, and forgets what it has beyond what was adopted.
    pub fn give_back(&mut self, memory: Vec<u8>) {
        self.log.give_back(memory);
    }

    /// The page has made room for so many bytes.
    fn progress(&mut self, bytes: usize) {
        if let Some(attached) = &mut self.attached {
            let taken = u32::try_from(bytes).unwrap_or(u32::MAX);
            attached.owed = attached.owed.saturating_sub(taken);
            if attached.owed == 0 {
                attached.deadlines.stall = None;
            }
        }
    }

    /// The frames received are complete; with `fin` their message is. Once all that was read is in the log, that is to be
    /// [brought within its bounds](Self::fit_log).
    pub fn received(&mut self, fin: bool) {
        self.log.commit(fin);
        if fin && self.has_echoes() {
            self.log_echoes();
        }
    }

    /// Brings the log within its bounds.
    pub fn fit_log(&mut self) -> Received {
        let closes = self.attached.is_none() && self.end.is_none() && self.policy.overflow == Overflow::Close;
        if closes && self.log.overflows() {
            // what the last page has acknowledged is not lost by its absence
            let resume = self.last().map_or(self.log.base(), |last| last.resume);
            self.evict_before(Some(resume.offset));
            if self.log.overflows() {
                return Received::Overflow;
            }
        }
        self.evict();
        let Some(tally) = &mut self.counts else {
            return Received::Logged(0);
        };
        let known = std::mem::replace(&mut tally.logged, tally.all.evicted);
        Received::Logged(tally.all.evicted - known)
    }

    /// The attached page and later ones are shown this whole message, as if upstream had sent it: at the next message
    /// boundary, with a position of its own.
    pub fn echo(&mut self, wire: Vec<u8>) {
        let echoes = &mut self.kept.get_or_insert_default().echoes;
        let waiting: usize = echoes.iter().map(Vec::len).sum();
        if self.end.is_some() || waiting > MAX_ECHOES {
            self.count().unsaid += 1;
            return;
        }
        echoes.push(wire);
        if self.log.tail() == self.log.boundary().offset {
            self.log_echoes();
        }
    }

    fn has_echoes(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| !kept.echoes.is_empty())
    }

    /// No message is under way.
    fn log_echoes(&mut self) {
        let echoes = self.kept.as_mut().map(|kept| std::mem::take(&mut kept.echoes));
        for wire in echoes.unwrap_or_default() {
            self.log.push(&wire);
            self.log.commit(true);
        }
        self.evict();
    }

    fn evict(&mut self) {
        if !self.log.over_bounds() {
            return;
        }
        self.evict_before(self.attached.as_ref().map(|attached| attached.out.cursor()));
    }

    fn evict_before(&mut self, cursor: Option<u64>) {
        let evicted = self.log.evict(cursor);
        self.count_evicted(evicted);
    }

    pub(super) fn count_evicted(&mut self, evicted: u64) {
        if evicted > 0 {
            self.count().evicted += evicted;
        }
    }

    /// The upstream connection is over; only the first call counts. Returns whether the attached page has part of a
    /// message that will never be complete, and no close to come behind it: its connection must be aborted, and it be detached as [`Parting::Cut`](crate::core::cause::Parting::Cut).
    pub fn upstream_ended(&mut self, now: Instant, how: UpstreamEnd) -> bool {
        if self.end.is_some() {
            return false;
        }
        // nobody waits for an answer any more
        if let Some(kept) = &mut self.kept {
            (kept.running, kept.open) = (false, false);
        }
        let soon = now + self.policy.grace;
        self.grace = self.grace.map(|at| at.min(soon));
        let whole = self.log.boundary().offset;
        let amid = self
            .attached
            .as_ref()
            .is_some_and(|attached| attached.out.cursor() > whole);
        // a close frame may stand between the frames of a message (RFC 6455 section 5.4): there the page gets it too
        let torn = amid && !matches!(how, UpstreamEnd::Close(_));
        if !amid {
            self.log.abandon_message();
            if let Some(attached) = &mut self.attached {
                attached.out.rewind(&self.log);
            }
        }
        // from here on the page is sent the rest and the end, and nothing else
        self.ping_upstream = None;
        if let Some(attached) = &mut self.attached {
            attached.deadlines.ping_page = None;
            attached.deadlines.stall = None;
        }
        self.end = Some(Box::new(End {
            how,
            reattached: false,
            echo: None,
        }));
        torn
    }

    /// The message being received, whole or not, is none for pages: it gets no position.
    pub fn drop_message(&mut self) {
        self.log.abandon_message();
        if self.has_echoes() {
            self.log_echoes();
        }
    }

    /// A turn begins with the message being received, or else the next one.
    pub fn turn_started(&mut self, now: Instant) {
        self.kept.get_or_insert_default().turn = Some(self.log.boundary());
        self.set_running(now, true);
    }

    /// Whether a turn runs.
    pub fn is_running(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.running)
    }

    /// The turn is over, and nobody is waited for any more.
    pub fn turn_ended(&mut self, now: Instant) {
        self.prompts_given_up(now);
        self.set_running(now, false);
    }

    fn set_running(&mut self, now: Instant, running: bool) {
        if let Some(kept) = &mut self.kept {
            kept.running = running;
        }
        self.regrace(now);
    }

    /// Something has begun or ended that a person is waited for: whoever is away has anew another time to come back.
    pub(super) fn regrace(&mut self, now: Instant) {
        let open = self.end.is_none() && (self.is_running() || self.is_asking());
        let kept = self.kept.as_mut();
        let changes = kept.is_some_and(|kept| std::mem::replace(&mut kept.open, open) != open);
        if changes && self.epoch > 0 && self.attached.is_none() {
            self.grace = Some(now + self.grace());
        }
    }

    /// How long nobody may be attached.
    pub(super) fn grace(&self) -> std::time::Duration {
        if self.kept.as_ref().is_some_and(|kept| kept.open) {
            self.policy.grace_open
        } else {
            self.policy.grace
        }
    }
}
