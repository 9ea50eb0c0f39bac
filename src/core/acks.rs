//! Delivery acknowledged by the browser itself: a ping whose payload names epoch and cursor, and its pong.

use std::time::{Duration, Instant};

use super::log::Mark;

/// At most one ping in this time, and one follows the last message within it.
const EVERY: Duration = Duration::from_secs(1);

/// What one attachment's browser has acknowledged.
#[derive(Debug, Clone)]
pub struct Acks {
    acknowledged: Mark,
    /// What the ping that is under way would acknowledge; where none is, what is acknowledged.
    outstanding: Mark,
    last_ping: Instant,
}

impl Acks {
    /// Nothing acknowledged beyond `start`, where the attachment's replay begins; the first ping is due one period
    /// after `now`.
    pub fn new(start: Mark, now: Instant) -> Self {
        Self {
            acknowledged: start,
            outstanding: start,
            last_ping: now,
        }
    }

    /// Up to where the browser acknowledged receipt.
    pub fn acknowledged(&self) -> Mark {
        self.acknowledged
    }

    fn is_outstanding(&self) -> bool {
        self.outstanding != self.acknowledged
    }

    /// Whether a ping may be sent now.
    pub fn rested(&self, now: Instant) -> bool {
        !self.is_outstanding() && now >= self.last_ping + EVERY
    }

    /// The payload of a ping that is due now, behind all messages up to `sent`.
    pub fn ping(&mut self, now: Instant, epoch: u64, sent: Mark) -> Option<[u8; 16]> {
        if self.due(sent).is_none_or(|due| now < due) {
            return None;
        }
        self.outstanding = sent;
        self.last_ping = now;
        Some(payload_of(epoch, sent))
    }

    /// When the next ping is due, if messages up to `sent` are not yet acknowledged; it may be in the past.
    pub fn due(&self, sent: Mark) -> Option<Instant> {
        let wanted = !self.is_outstanding() && sent.offset > self.acknowledged.offset;
        wanted.then(|| self.last_ping + EVERY)
    }

    /// A pong came; any other payload than that of the ping under way is not ours and changes nothing.
    pub fn pong(&mut self, epoch: u64, payload: &[u8]) {
        if self.is_outstanding() && payload_of(epoch, self.outstanding) == payload {
            self.acknowledged = self.outstanding;
        }
    }
}

fn payload_of(epoch: u64, mark: Mark) -> [u8; 16] {
    let mut payload = [0; 16];
    payload[..8].copy_from_slice(&epoch.to_be_bytes());
    payload[8..].copy_from_slice(&mark.offset.to_be_bytes());
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_outstanding_one_a_second_and_only_its_own_pong_counts() {
        let start = Instant::now();
        let mark = |offset| Mark {
            offset,
            position: offset,
        };
        let mut acks = Acks::new(mark(0), start);
        assert_eq!(acks.due(mark(0)), None, "nothing to acknowledge");
        assert_eq!(acks.ping(start, 7, mark(5)), None, "too early");
        let later = start + EVERY;
        let payload = acks.ping(later, 7, mark(5)).unwrap();
        assert_eq!(acks.ping(later + EVERY, 7, mark(9)), None, "one is outstanding");
        acks.pong(7, b"somebody else's");
        assert_eq!(acks.acknowledged(), mark(0));
        acks.pong(7, &payload);
        assert_eq!(acks.acknowledged(), mark(5));
        assert_eq!(acks.due(mark(9)), Some(later + EVERY));
        acks.pong(7, &payload);
        assert_eq!(acks.acknowledged(), mark(5), "a repeat is harmless");
    }
}
