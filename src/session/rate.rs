//! How often each client may do something.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

/// Clients that are remembered. One that is forgotten begins anew; a flood of addresses cannot take more memory than this.
const CLIENTS: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// A client that was quiet may do at once what the rate allows in this time: all pages of an office come back together
/// when a network does.
const BURST: Duration = Duration::from_secs(10);

/// A leaky bucket for each client, as its theoretical arrival time (GCRA, ATM Forum TM 4.0 section 4.4.2). Own code and
/// no library's, because those that are well kept grow with the number of clients.
#[derive(Debug)]
pub struct Rate(Mutex<Clients>);

#[derive(Debug)]
struct Clients {
    /// Between two of one client.
    period: Duration,
    /// When each would have used up all that it did, at exactly this rate.
    used_up: LruCache<IpAddr, Instant>,
}

impl Rate {
    /// So many a second.
    pub fn per_second(rate: u32) -> Self {
        Self(Mutex::new(Clients {
            period: period(rate),
            used_up: LruCache::new(CLIENTS),
        }))
    }

    /// Another rate from here on; what clients have used up stays.
    pub fn bound(&self, rate: u32) {
        self.lock().period = period(rate);
    }

    /// Counts one of `client`'s at `now`, or says how long it has to wait, and counts nothing.
    pub fn check(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut clients = self.lock();
        let period = clients.period;
        let used_up = clients.used_up.get_or_insert_mut(client, || now);
        let next = (*used_up).max(now) + period;
        let wait = next.saturating_duration_since(now + BURST);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        *used_up = next;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Clients> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn period(rate: u32) -> Duration {
    Duration::from_secs(1) / rate.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_client_has_ten_seconds_at_once_and_then_the_rate() {
        let (rate, now) = (Rate::per_second(20), Instant::now());
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..200 {
            rate.check(one, now).unwrap();
        }
        assert_eq!(rate.check(one, now), Err(Duration::from_millis(50)));
        assert_eq!(
            rate.check(one, now),
            Err(Duration::from_millis(50)),
            "a refused one is not counted"
        );
        rate.check(other, now).unwrap();
        let second = now + Duration::from_secs(1);
        let passed = (0..100).take_while(|_| rate.check(one, second).is_ok()).count();
        assert_eq!(passed, 20);
    }

    #[test]
    fn another_rate_is_for_what_comes_and_forgives_nothing() {
        let (rate, now) = (Rate::per_second(1), Instant::now());
        let client = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..10 {
            rate.check(client, now).unwrap();
        }
        rate.bound(10);
        assert_eq!(rate.check(client, now), Err(Duration::from_millis(100)));
        let second = now + Duration::from_secs(1);
        let passed = (0..100).take_while(|_| rate.check(client, second).is_ok()).count();
        assert_eq!(passed, 10);
    }

    #[test]
    fn no_more_clients_are_remembered_than_there_is_room_for() {
        let (rate, now) = (Rate::per_second(1), Instant::now());
        for client in 0..2 * CLIENTS.get() as u32 {
            rate.check(IpAddr::from(client.to_be_bytes()), now).unwrap();
        }
        assert_eq!(rate.lock().used_up.len(), CLIENTS.get());
    }
}
