//! The replay log alone: messages come, the oldest go, a page that comes back is led through. What a message costs must
//! not depend on how many there are.

use std::hint::black_box;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sessmux::core::frame::{self, Opcode};
use sessmux::core::log::{Bounds, Log};

/// How many messages are retained.
const RETAINED: [u64; 3] = [10, 1_000, 20_000];
/// Size of a message's payload, in bytes.
const SIZE: usize = 256;
/// Slices that one write takes.
const SLICES: usize = 64;

fn wire() -> Vec<u8> {
    let mut wire = Vec::new();
    frame::write(&mut wire, Opcode::Text, &[b'm'; SIZE], None);
    wire
}

/// A log with room for `messages`, and as many in it.
fn full(messages: u64, wire: &[u8]) -> Log {
    let mut log = Log::new(Bounds {
        bytes: 64 << 20,
        messages,
    });
    for _ in 0..messages {
        append(&mut log, wire);
    }
    log
}

fn append(log: &mut Log, wire: &[u8]) {
    log.push(wire);
    log.commit(true);
}

fn append_and_evict(criterion: &mut Criterion) {
    let wire = wire();
    let mut group = criterion.benchmark_group("replay_log");
    group.throughput(Throughput::Elements(1));
    for retained in RETAINED {
        // the log is made anew before it is fuller than it is to be
        group.bench_function(BenchmarkId::new("append", retained), |bencher| {
            bencher.iter_custom(|times| {
                let mut took = Duration::ZERO;
                let mut left = times;
                while left > 0 {
                    let now = left.min(retained);
                    let mut log = full(0, &wire);
                    let begin = Instant::now();
                    (0..now).for_each(|_| append(&mut log, &wire));
                    took += begin.elapsed();
                    black_box(log);
                    left -= now;
                }
                took
            });
        });
        let mut log = full(retained, &wire);
        group.bench_function(BenchmarkId::new("append and evict the oldest", retained), |bencher| {
            bencher.iter(|| {
                append(&mut log, &wire);
                log.evict(None)
            });
        });
        assert_eq!(log.boundary().position - log.base().position, retained);
    }
    group.finish();
}

/// All that a replay asks of the log, for each message of it.
fn replay(criterion: &mut Criterion) {
    let wire = wire();
    let mut group = criterion.benchmark_group("replay_log");
    for retained in RETAINED {
        let log = full(retained, &wire);
        group.throughput(Throughput::Elements(retained));
        group.bench_function(BenchmarkId::new("gather for writes", retained), |bencher| {
            bencher.iter(|| {
                let (mut cursor, mut written) = (log.base().offset, 0);
                while cursor < log.end() {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let count = log.slices(cursor, log.end(), &mut slices);
                    let bytes: usize = slices[..count].iter().map(|slice| slice.len()).sum();
                    (cursor, written) = (cursor + bytes as u64, written + bytes);
                }
                written
            });
        });
        group.bench_function(BenchmarkId::new("walk from message to message", retained), |bencher| {
            bencher.iter(|| {
                let mut mark = log.base();
                while mark.offset < log.boundary().offset {
                    mark = log.next_message(mark);
                }
                mark
            });
        });
        let cut = log.boundary().offset - 1;
        group.bench_function(BenchmarkId::new("find where a page was cut", retained), |bencher| {
            bencher.iter(|| log.message_boundary(log.base(), cut));
        });
    }
    group.finish();
}

criterion_group!(benches, append_and_evict, replay);
criterion_main!(benches);
