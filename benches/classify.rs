//! What it costs to tell a message's role by the rules of a built-in profile, as the relay does it.

use criterion::{Criterion, criterion_group, criterion_main};
use sessmux::core::frame::{self, Opcode};
use sessmux::core::log::{Bounds, Log};
use sessmux::profile::{Kind, Message, Profile, Role, Side, State, built_in};

/// A log that holds one message.
fn holding(text: &str) -> Log {
    let mut log = Log::new(Bounds {
        bytes: 8 << 20,
        messages: 10_000,
    });
    let mut wire = Vec::new();
    frame::write(&mut wire, Opcode::Text, text.as_bytes(), None);
    // as it is read from a socket
    wire.chunks(64 * 1024).for_each(|read| log.push(read));
    log.commit(true);
    log
}

fn role(profile: &Profile, log: &Log) -> Option<Role> {
    let (payload, whole, _) = log.beginning(0);
    let message = Message {
        kind: Kind::Text,
        number: 7,
        payload,
        whole,
    };
    let state = State {
        awaits_answer: false,
        asking: false,
        running: false,
    };
    let rule = profile.rule_for(Side::Server, &message, state);
    rule.expect("its beginning is enough").map(|rule| rule.role)
}

fn classify(criterion: &mut Criterion) {
    let profile = Profile::parse(built_in("connectonion").unwrap()).unwrap();
    let mut group = criterion.benchmark_group("classify");
    for (name, kind, size, expected) in [
        ("1 KiB that no rule matches", "tool_result", 1 << 10, None),
        ("1 KiB OUTPUT", "OUTPUT", 1 << 10, Some(Role::TurnEnd)),
        ("1 MiB session_sync", "session_sync", 1 << 20, Some(Role::Latest)),
    ] {
        let log = holding(&format!(
            r#"{{"type":"{kind}","id":"0123","text":"{}"}}"#,
            "x".repeat(size)
        ));
        assert_eq!(role(&profile, &log), expected);
        group.bench_function(name, |bencher| bencher.iter(|| role(&profile, &log)));
    }
    group.finish();
}

criterion_group!(benches, classify);
criterion_main!(benches);
