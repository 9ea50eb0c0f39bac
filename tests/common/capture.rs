//! What sessmux logs during one test.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::PATIENCE;

/// Takes the log of its thread; a test's runtime has one thread, so nobody else's lines are in it.
pub struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines {
    bytes: Arc<Mutex<Vec<u8>>>,
    written: Arc<Notify>,
}

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
        let bytes = self.lines.bytes.lock().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        text.lines()
            .filter(|line| words.iter().all(|word| line.contains(word)))
            .count()
    }

    /// Awaits a line that holds all of `words`.
    pub async fn says(&self, words: &[&str]) {
        self.says_times(1, words).await;
    }

    /// Awaits so many lines that hold all of `words`.
    pub async fn says_times(&self, times: usize, words: &[&str]) {
        let said = async {
            loop {
                let more = self.lines.written.notified();
                if self.count(words) >= times {
                    return;
                }
                more.await;
            }
        };
        if timeout(PATIENCE, said).await.is_err() {
            panic!("no line with {words:?} in\n{}", self.text());
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines.bytes.lock().unwrap()).into_owned()
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
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        self.written.notify_one();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
