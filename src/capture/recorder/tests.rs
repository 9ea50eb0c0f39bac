//! What is written, what is not, and what is said of that.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::*;

/// A file that writes when it is let, and shows what it has.
#[derive(Clone)]
struct Disk {
    written: Arc<Mutex<Vec<u8>>>,
    let_go: Arc<Mutex<Option<Receiver<()>>>>,
}

impl Disk {
    fn new() -> Self {
        Self {
            written: Arc::default(),
            let_go: Arc::default(),
        }
    }

    /// Blocks every write until the sender is dropped.
    fn stuck() -> (Self, Sender<()>) {
        let (hold, let_go) = channel();
        let disk = Self::new();
        *disk.let_go.lock().unwrap() = Some(let_go);
        (disk, hold)
    }

    fn lines(&self) -> Vec<Line> {
        let written = self.written.lock().unwrap();
        let lines = written.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| Line::parse(line).unwrap()).collect()
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let let_go = self.let_go.lock().unwrap().take();
        if let Some(let_go) = let_go {
            // an error is that the sender was dropped
            let _ = let_go.recv();
        }
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn say(tape: &Tape, now: Instant, text: &str) {
    tape.message(now, Side::Client, Kind::Text, None, text.len(), |out| {
        out.extend_from_slice(text.as_bytes());
    });
}

#[test]
fn sessions_of_one_name_are_told_apart_and_times_count_from_the_beginning() {
    let (disk, now) = (Disk::new(), Instant::now());
    let recording = Recording::start(disk.clone(), now).unwrap();
    let (one, two) = (recording.recorder().tape("a"), recording.recorder().tape("a"));
    say(&one, now, "1");
    two.event(now + Duration::from_millis(7), Event::End { code: None });
    assert_eq!(recording.finish(), 0);
    let lines: Vec<(String, u64)> = disk
        .lines()
        .iter()
        .map(|line| (line.session.to_string(), line.at))
        .collect();
    assert_eq!(lines, [("a.1".into(), 0), ("a.2".into(), 7)]);
}

#[test]
fn what_does_not_fit_is_counted_where_it_is_missing() {
    let ((disk, hold), now) = (Disk::stuck(), Instant::now());
    let recording = Recording::start(disk.clone(), now).unwrap();
    let tape = recording.recorder().tape("a");
    say(&tape, now, "first");
    while disk.let_go.lock().unwrap().is_some() {
        std::thread::yield_now();
    }
    for number in 0..MAX_LINES + 100 {
        say(&tape, now, &number.to_string());
    }
    let lost = tape.lost.load(Ordering::Relaxed);
    assert_eq!(lost, 100);
    drop(hold);
    while tape.shared.waiting.load(Ordering::Relaxed) > 0 {
        std::thread::yield_now();
    }
    say(&tape, now, "later");
    assert_eq!(recording.finish(), lost);
    let lines = disk.lines();
    let [.., missing, later] = &lines[..] else { panic!() };
    assert_eq!(missing.what, What::Event(Event::Lost { lines: lost }));
    assert!(matches!(&later.what, What::Message { payload, .. } if payload == b"later"));
    assert_eq!(lines.len(), 1 + MAX_LINES + 2);
}

#[test]
fn bytes_are_bounded_too_but_one_message_may_be_larger_than_that() {
    let ((disk, hold), now) = (Disk::stuck(), Instant::now());
    let recording = Recording::start(disk.clone(), now).unwrap();
    let tape = recording.recorder().tape("a");
    tape.message(now, Side::Server, Kind::Binary, None, MAX_BYTES + 1, |out| {
        out.resize(MAX_BYTES + 1, 0);
    });
    tape.message(now, Side::Server, Kind::Binary, None, 1, |_| {
        panic!("copied though there is no room")
    });
    drop(hold);
    assert_eq!(recording.finish(), 1);
    assert_eq!(disk.lines().len(), 1);
}

#[test]
fn a_file_that_stands_still_keeps_nobody_at_the_end() {
    let ((disk, hold), now) = (Disk::stuck(), Instant::now());
    let recording = Recording::start(disk.clone(), now).unwrap();
    let tape = recording.recorder().tape("a");
    for number in 0..2 * MAX_LINES {
        say(&tape, now, &number.to_string());
    }
    assert!(recording.finish_within(Duration::from_millis(1)) > 0);
    assert_eq!(disk.lines().len(), 0);
    drop(hold);
}

#[test]
fn a_file_that_cannot_be_written_ends_the_recording_and_nobody_waits() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let now = Instant::now();
    let recording = Recording::start(Full, now).unwrap();
    let tape = recording.recorder().tape("a");
    while tape.lost.load(Ordering::Relaxed) == 0 {
        say(&tape, now, "1");
        std::thread::yield_now();
    }
    assert!(recording.finish() > 0);
}

#[test]
fn the_file_is_its_owners_alone_also_if_it_was_there_before() {
    let folder = std::env::temp_dir().join(format!("sessmux-record-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("capture.jsonl");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    std::fs::write(&path, "before\n").unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    open(&path).unwrap().write_all(b"after\n").unwrap();
    assert_eq!(
        (std::fs::read_to_string(&path).unwrap().as_str(), mode(&path)),
        ("before\nafter\n", 0o600)
    );
    let new = folder.join("new.jsonl");
    open(&new).unwrap();
    assert_eq!(mode(&new), 0o600);
    assert!(open(&folder).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_recording_goes_on_behind_a_line_that_was_cut_short() {
    let path = std::env::temp_dir().join(format!("sessmux-{}-cut.jsonl", std::process::id()));
    for (before, after) in [("", "new\n"), ("whole\n", "whole\nnew\n"), ("cut", "cut\nnew\n")] {
        std::fs::write(&path, before).unwrap();
        open(&path).unwrap().write_all(b"new\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
    }
    std::fs::remove_file(&path).unwrap();
}
