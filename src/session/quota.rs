//! Places that are taken and given back: in all, and for each of those who take them.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use prometheus::IntGauge;

/// See the module. Whoever takes a place without a name counts in all only.
#[derive(Debug)]
pub struct Quota<K: Eq + Hash> {
    all: AtomicUsize,
    each: AtomicUsize,
    taken: AtomicUsize,
    /// How many places each has that has any.
    by: DashMap<K, usize>,
    gauge: Option<IntGauge>,
}

/// Which bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// That in all.
    All,
    /// That of each.
    Each,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    quota: Arc<Quota<K>>,
    who: Option<K>,
}

impl<K: Eq + Hash> Quota<K> {
    /// At most `all` places, and `each` for every name; `gauge` shows how many are taken.
    pub fn new(all: usize, each: usize, gauge: Option<IntGauge>) -> Self {
        Self {
            all: AtomicUsize::new(all),
            each: AtomicUsize::new(each),
            taken: AtomicUsize::new(0),
            by: DashMap::new(),
            gauge,
        }
    }

    /// Other bounds from here on; whoever has more keeps what it has, and gets no more.
    pub fn bound(&self, all: usize, each: usize) {
        self.all.store(all, Ordering::Relaxed);
        self.each.store(each, Ordering::Relaxed);
    }
}

impl<K: Eq + Hash + Clone> Quota<K> {
    /// Takes a place for `who`.
    pub fn take(self: &Arc<Self>, who: Option<K>) -> Result<Place<K>, Over> {
        let all = self.all.load(Ordering::Relaxed);
        let more = |taken| (taken < all).then_some(taken + 1);
        // only its own value is published by it
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| Over::All)?;
        if let Some(gauge) = &self.gauge {
            gauge.inc();
        }
        // from here on it is given back, come what may
        let mut place = Place {
            quota: Arc::clone(self),
            who: None,
        };
        if let Some(who) = who {
            let mut has = self.by.entry(who.clone()).or_insert(0);
            if *has >= self.each.load(Ordering::Relaxed) {
                return Err(Over::Each);
            }
            *has += 1;
            place.who = Some(who);
        }
        Ok(place)
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        self.quota.taken.fetch_sub(1, Ordering::Relaxed);
        if let Some(gauge) = &self.quota.gauge {
            gauge.dec();
        }
        if let Some(who) = &self.who {
            // who has none any more is forgotten, so that the map is no larger than what is taken
            self.quota.by.remove_if_mut(who, |_, has| {
                *has -= 1;
                *has == 0
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken<K: Eq + Hash>(quota: &Quota<K>) -> usize {
        quota.taken.load(Ordering::Relaxed)
    }

    #[test]
    fn other_bounds_take_nothing_away() {
        let quota = Arc::new(Quota::new(2, 2, None));
        let held = [quota.take(Some("a")).unwrap(), quota.take(Some("a")).unwrap()];
        quota.bound(1, 1);
        assert_eq!(quota.take(Some("b")).unwrap_err(), Over::All);
        quota.bound(4, 2);
        assert_eq!(quota.take(Some("a")).unwrap_err(), Over::Each);
        quota.bound(4, 3);
        let more = quota.take(Some("a")).unwrap();
        assert_eq!(taken(&quota), 3);
        drop((held, more));
        assert_eq!(taken(&quota), 0);
    }

    #[test]
    fn places_are_bounded_in_all_and_for_each_and_given_back() {
        let quota = Arc::new(Quota::new(3, 2, None));
        let first = quota.take(Some("a")).unwrap();
        let second = quota.take(Some("a")).unwrap();
        assert_eq!(quota.take(Some("a")).unwrap_err(), Over::Each);
        assert_eq!(taken(&quota), 2, "what was refused holds no place");
        let third = quota.take(None).unwrap();
        assert_eq!(quota.take(Some("b")).unwrap_err(), Over::All);
        drop(first);
        let again = quota.take(Some("b")).unwrap();
        drop((second, third, again));
        assert_eq!((taken(&quota), quota.by.len()), (0, 0));
    }

    #[test]
    fn the_bound_holds_for_many_threads() {
        let quota = Arc::new(Quota::new(50, 10, None));
        std::thread::scope(|scope| {
            for who in 0..4 {
                let quota = Arc::clone(&quota);
                scope.spawn(move || {
                    for _ in 0..1000 {
                        let places: Vec<_> = (0..20).map_while(|_| quota.take(Some(who)).ok()).collect();
                        assert!(places.len() <= 10 && taken(&quota) <= 50);
                    }
                });
            }
        });
        assert_eq!((taken(&quota), quota.by.len()), (0, 0));
    }
}
