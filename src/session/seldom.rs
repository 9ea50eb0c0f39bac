//! What may happen often, and has a line in the log once a second: a flood of it is to be no flood of lines.

use std::time::{Duration, Instant};

/// So much time has one line, which counts what had none.
const LINE: Duration = Duration::from_secs(1);

/// Counts what happens without a line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seldom {
    last: Option<Instant>,
    unlogged: u64,
}

impl Seldom {
    /// It happened: returns how many had no line since the last that had one, if this is to have one.
    pub fn happened(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < LINE) {
            self.unlogged += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_counts_the_others() {
        let (mut seldom, start) = (Seldom::default(), Instant::now());
        let told: Vec<_> = [0, 10, 999, 1000, 1500, 5000]
            .map(|after| seldom.happened(start + Duration::from_millis(after)))
            .into();
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
