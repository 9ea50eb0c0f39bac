//! What sessmux logs during one test.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::PATIENCE;

/// Takes the log of its thread; a test's runtime has one thread, so nobody else's lines are in it.
pub struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn capture() -> Self {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(lines.clone())
            .finish();
        Self {
            lines,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    /// How many lines hold all of `words`.
    pub fn count(&self, words: &[&str]) -> usize {
        let bytes = self.lines.0.lock().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        text.lines()
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .count()
    }

    /// Awaits a line that holds all of `words`.
    pub async fn says(&self, words: &[&str]) {
        let start = Instant::now();
        while self.count(words) == 0 {
            assert!(start.elapsed() < PATIENCE, "no line with {words:?} in\n{}", self.text());
            tokio::task::yield_now().await;
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines.0.lock().unwrap()).into_owned()
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
