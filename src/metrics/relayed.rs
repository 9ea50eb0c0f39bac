//! Messages and bytes, counted from every thread with every turn of every session: threads have counters of their own,
//! which are summed up when somebody asks.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// More threads than this share.
const SHARDS: usize = 16;

/// What was relayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages.
    pub messages: u64,
    /// Bytes on the wire, headers of frames included.
    pub bytes: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Relayed {
    shards: [Shard; SHARDS],
    told: Mutex<[Traffic; 2]>,
}

/// As large as a cache line, so that no two threads write to one: messages and bytes to pages, then to agent servers.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard([AtomicU64; 4]);

thread_local! {
    static SHARD: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

impl Relayed {
    pub(super) fn add(&self, to_page: Traffic, to_agent: Traffic) {
        let Shard(counters) = &self.shards[SHARD.with(|shard| *shard)];
        let new = [to_page.messages, to_page.bytes, to_agent.messages, to_agent.bytes];
        for (counter, new) in counters.iter().zip(new) {
            if new > 0 {
                counter.fetch_add(new, Ordering::Relaxed);
            }
        }
    }

    /// What went to pages and to agent servers since this was last asked.
    pub(super) fn news(&self) -> [Traffic; 2] {
        // locked first, so that whoever comes later finds larger sums
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |index: usize| {
            self.shards
                .iter()
                .map(|shard| shard.0[index].load(Ordering::Relaxed))
                .sum()
        };
        let sums = [0, 2].map(|first| Traffic {
            messages: sum(first),
            bytes: sum(first + 1),
        });
        let before = std::mem::replace(&mut *told, sums);
        [0, 1].map(|way| Traffic {
            messages: sums[way].messages - before[way].messages,
            bytes: sums[way].bytes - before[way].bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_count_adds_up() {
        let relayed = Relayed::default();
        let one = |messages| Traffic {
            messages,
            bytes: 10 * messages,
        };
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| (0..100).for_each(|_| relayed.add(one(1), one(2))));
            }
        });
        let all = 2 * SHARDS as u64 * 100;
        assert_eq!(relayed.news(), [one(all), one(2 * all)]);
        relayed.add(one(1), one(0));
        assert_eq!(relayed.news(), [one(1), one(0)]);
    }
}
