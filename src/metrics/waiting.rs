//! Since when sessions wait for a person, all of them together.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How many sessions have an oldest prompt of that age. It changes when a prompt comes or goes, which is rare.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<BTreeMap<Instant, usize>>);

impl Waiting {
    /// A session's oldest prompt was open since `before`, and now since `after`.
    pub(super) fn changed(&self, before: Option<Instant>, after: Option<Instant>) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(after) = after {
            *since.entry(after).or_default() += 1;
        }
        if let Some(before) = before
            && let Some(count) = since.get_mut(&before)
        {
            *count -= 1;
            if *count == 0 {
                since.remove(&before);
            }
        }
    }

    /// Since when the oldest of all is open.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.keys().next().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_of_those_that_still_wait() {
        let waiting = Waiting::default();
        let [one, two] = [0, 1].map(|seconds| Instant::now() + Duration::from_secs(seconds));
        assert_eq!(waiting.oldest(), None);
        waiting.changed(None, Some(two));
        waiting.changed(None, Some(one));
        waiting.changed(None, Some(one));
        assert_eq!(waiting.oldest(), Some(one));
        waiting.changed(Some(one), None);
        assert_eq!(waiting.oldest(), Some(one), "another has waited as long");
        waiting.changed(Some(one), Some(two));
        waiting.changed(Some(two), None);
        assert_eq!(waiting.oldest(), Some(two));
        waiting.changed(Some(two), None);
        assert_eq!(waiting.oldest(), None);
    }
}
