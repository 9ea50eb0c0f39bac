//! Prompts and full states: which of them a later page is sent, where, and how often.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sessmux::core::cause::{PageFacts, Parting};
use sessmux::core::frame::{self, Opcode, Sender};
use sessmux::core::log::Bounds;
use sessmux::core::prompts::Answer;
use sessmux::core::session::{Admission, Due, Newcomer, Session, UpstreamEnd};
use sessmux::core::{Policy, ReplayMode};

use super::interleavings::POLICY;

/// A session, and what its attached page has read.
struct Plain {
    core: Session,
    now: Instant,
    facts: PageFacts,
    epoch: u64,
    /// How many messages its replay was said to hold, and how many it should have been sent besides.
    replayed: u64,
    gap: u64,
    bytes: Vec<u8>,
}

impl Plain {
    fn new(policy: Policy) -> Self {
        let now = Instant::now();
        let mut it = Self {
            core: Session::new(policy, now),
            now,
            facts: PageFacts {
                seen: true,
                rerequested: true,
                last_request: None,
            },
            epoch: 0,
            replayed: 0,
            gap: 0,
            bytes: Vec::new(),
        };
        it.load();
        it
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn attach(&mut self) {
        self.attach_of(true);
    }

    fn attach_of(&mut self, same_browser: bool) {
        let newcomer = Newcomer {
            since: self.now,
            facts: self.facts,
            same_browser,
            head: Vec::new(),
            answer: None,
        };
        let Admission::Attached(attachment) = self.core.attach(self.now, newcomer) else {
            panic!("not attached")
        };
        self.epoch = attachment.epoch;
        (self.replayed, self.gap) = (attachment.replayed, attachment.gap);
        self.bytes.clear();
    }

    /// A page is requested, and attached.
    fn load(&mut self) {
        self.facts.last_request = Some(self.now);
        self.wait(1);
        self.attach();
    }

    /// The page leaves as a reload does, and is loaded.
    fn reload(&mut self) {
        self.core.detach(self.now, self.epoch, Parting::Closed(Some(1001)));
        self.load();
    }

    /// The page's connection is cut, and it dials again.
    fn blip(&mut self) {
        self.core.detach(self.now, self.epoch, Parting::Cut);
        self.wait(20);
        self.attach();
    }

    /// What the page has read is asked for, and acknowledged.
    fn acknowledges(&mut self) {
        self.wait(2);
        while self.core.due(self.now, self.facts).is_some() {}
        self.reads(true);
    }

    fn receive(&mut self, text: &str, role: impl FnOnce(&mut Session, Instant)) {
        let mut wire = Vec::new();
        frame::write(&mut wire, Opcode::Text, text.as_bytes(), None);
        self.core.receive(&wire);
        role(&mut self.core, self.now);
        self.core.received(true);
        self.core.fit_log();
    }

    fn says(&mut self, text: &str) {
        self.receive(text, |_, _| {});
    }

    fn asks(&mut self, id: &str) {
        let id = id.to_owned();
        self.receive(&format!("{id}?"), |core, now| {
            assert_eq!(core.prompt(now, Some(id)), None, "there are not too many");
        });
    }

    fn answers(&mut self, id: &str) -> Answer {
        self.core.prompt_answered(self.now, Some(id))
    }

    /// The page's socket takes at most so many bytes.
    fn write(&mut self, most: usize) -> bool {
        let mut slices = [IoSlice::new(&[]); 4];
        let count = self.core.slices(self.now, &mut slices);
        let all = slices[..count].iter().flat_map(|slice| slice.iter().copied());
        let bytes: Vec<u8> = all.take(most).collect();
        self.core.wrote(self.now, bytes.len());
        self.bytes.extend_from_slice(&bytes);
        !bytes.is_empty()
    }

    /// The texts that the page gets, all that there are; it answers pings where told.
    fn reads(&mut self, pongs: bool) -> Vec<String> {
        while self.write(100) {}
        let (mut texts, bytes) = (Vec::new(), std::mem::take(&mut self.bytes));
        let mut rest = &bytes[..];
        while let Some(header) = frame::parse(rest, Sender::Server).unwrap() {
            let (wire, later) = rest.split_at(header.total() as usize);
            let payload = &wire[header.size()..];
            match header.opcode {
                Opcode::Ping if pongs => self.core.page_pong(self.epoch, payload),
                Opcode::Text => texts.push(String::from_utf8(payload.to_vec()).unwrap()),
                _ => {}
            }
            rest = later;
        }
        assert_eq!(rest, b"", "all frames are whole");
        texts
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]
    /// Whatever comes when: each page reads all plain messages in order, and of the answers those to what it asked.
    #[test]
    fn an_answer_is_read_by_the_page_that_asked_alone(steps in proptest::collection::vec((0..6u8, 0..8usize), 1..80)) {
        let mut it = Plain::new(POLICY);
        let (mut said, mut asked, mut page) = (Vec::new(), Vec::new(), 0);
        // what the attached page is yet to read, and what of that is for it alone
        let mut due: Vec<String> = Vec::new();
        for (number, (step, which)) in steps.into_iter().enumerate() {
            match step {
                0 => {
                    let text = format!("plain {number}");
                    it.says(&text);
                    said.push(text.clone());
                    due.push(text);
                }
                1 => {
                    let own = format!("{which}");
                    asked.push((page, it.core.requested(own.as_bytes()), own));
                }
                2 | 3 if !asked.is_empty() => {
                    let (by, id, own) = asked.remove(which % asked.len());
                    let answered = it.core.answered(Some(id));
                    prop_assert_eq!(answered.as_deref(), (by == page).then_some(own.as_bytes()));
                    if by == page {
                        let text = format!("answer {number}");
                        it.receive(&text, |core, _| core.answer());
                        due.push(text);
                    }
                }
                4 => {
                    page += 1;
                    it.reload();
                    due.clone_from(&said);
                }
                _ => {
                    prop_assert_eq!(&it.reads(true), &due);
                    due.clear();
                }
            }
        }
        prop_assert_eq!(&it.reads(true), &due);
        it.reload();
        prop_assert_eq!(&it.reads(true), &said);
    }
}

#[test]
fn an_open_prompt_stays_in_its_place_and_an_answered_one_is_left_out() {
    let mut it = Plain::new(POLICY);
    it.says("one");
    it.asks("a");
    it.says("two");
    it.asks("b");
    it.says("three");
    assert_eq!(it.reads(true), ["one", "a?", "two", "b?", "three"]);
    it.reload();
    assert_eq!(it.reads(true), ["one", "a?", "two", "b?", "three"], "once, in place");
    assert!(matches!(it.answers("a"), Answer::First(_)));
    it.says("four");
    assert_eq!(it.reads(true), ["four"]);
    it.reload();
    assert_eq!(it.reads(true), ["one", "two", "b?", "three", "four"]);
    assert!(matches!(it.answers("a"), Answer::Late));
    assert_eq!(it.core.counts().late_answers, 1);
    it.core.prompts_ended(it.now, None);
    it.reload();
    assert_eq!(it.reads(true), ["one", "two", "three", "four"]);
}

#[test]
fn one_from_before_the_range_comes_once_just_before_live() {
    let mut it = Plain::new(Policy {
        replay_refresh: ReplayMode::Turn,
        ..POLICY
    });
    it.says("old");
    it.asks("a");
    it.asks("b");
    it.core.turn_started(it.now);
    it.says("new");
    it.says("newer");
    it.reload();
    // it is answered from elsewhere before it is written
    it.write(3);
    assert!(matches!(it.answers("a"), Answer::First(_)));
    it.says("live");
    assert_eq!(it.reads(true), ["new", "newer", "b?", "live"]);
    it.says("on");
    assert_eq!(it.reads(true), ["on"]);
}

#[test]
fn a_page_that_was_replaced_before_it_had_one_is_shown_it_when_it_dials_again() {
    let mut it = Plain::new(Policy {
        replay_refresh: ReplayMode::None,
        ..POLICY
    });
    it.asks("a");
    it.reload();
    // its line takes nothing, and another tab is opened
    it.load();
    assert_eq!(it.reads(true), ["a?"]);
    it.says("one");
    assert_eq!(it.reads(true), ["one"]);
    it.acknowledges();
    it.wait(20);
    it.attach();
    assert_eq!(it.reads(true), ["one", "a?"]);
}

#[test]
fn another_browsers_page_request_is_no_reload_of_a_page_that_was_cut() {
    for same_browser in [true, false] {
        let mut it = Plain::new(POLICY);
        it.says("one");
        assert_eq!(it.reads(true), ["one"]);
        it.acknowledges();
        it.says("two");
        it.wait(60);
        let before = it.facts.last_request;
        it.facts.last_request = Some(it.now);
        it.core.detach(it.now, it.epoch, Parting::Cut);
        it.wait(1);
        it.attach_of(same_browser);
        assert_eq!(it.reads(true), ["one", "two"]);
        it.acknowledges();
        it.wait(60);
        it.facts.last_request = before.filter(|_| !same_browser).or(it.facts.last_request);
        it.blip();
        let missed: &[&str] = if same_browser { &[] } else { &["two"] };
        assert_eq!(it.reads(true), missed);
    }
}

#[test]
fn one_that_was_evicted_is_still_shown() {
    let mut it = Plain::new(Policy {
        log: Bounds {
            bytes: 1 << 20,
            messages: 2,
        },
        ..POLICY
    });
    it.asks("a");
    for text in ["one", "two", "three"] {
        it.says(text);
        it.reads(true);
    }
    it.reload();
    assert_eq!(it.reads(true), ["two", "three", "a?"]);
    it.reload();
    assert_eq!(it.reads(true), ["two", "three", "a?"], "as often as a page is loaded");
}

#[test]
fn of_too_many_the_oldest_is_a_message_like_any_other() {
    let mut it = Plain::new(POLICY);
    let asked: Vec<String> = (0..70).map(|number| format!("{number}")).collect();
    for (number, id) in asked.iter().enumerate() {
        let mut let_go = None;
        it.receive(&format!("{id}?"), |core, now| {
            let_go = core.prompt(now, Some(id.clone()));
        });
        // positions are counted from 1
        assert_eq!(let_go, number.checked_sub(64).map(|index| index as u64 + 1));
    }
    let all: Vec<String> = asked.iter().map(|id| format!("{id}?")).collect();
    assert_eq!(it.reads(true), all);
    it.reload();
    assert_eq!(it.reads(true), all, "none is lost");
    for _ in 0..2 {
        assert!(matches!(it.answers("0"), Answer::Unknown), "it goes upstream");
    }
    assert!(matches!(it.answers("6"), Answer::First(_)));
    it.reload();
    let left: Vec<String> = all.into_iter().filter(|text| text != "6?").collect();
    assert_eq!(it.reads(true), left);
    // what was kept beside the log for it is given back
    it.core.prompts_ended(it.now, None);
    assert_eq!(it.core.held(), it.core.log().allocated());
}

#[test]
fn a_blip_repeats_only_what_was_not_acknowledged() {
    let mut it = Plain::new(Policy {
        replay_refresh: ReplayMode::None,
        ..POLICY
    });
    it.asks("a");
    it.reload();
    assert_eq!(it.reads(true), ["a?"]);
    // nothing shows that it was received
    it.blip();
    assert_eq!(it.reads(true), ["a?"]);
    it.says("one");
    assert_eq!(it.reads(true), ["one"]);
    it.acknowledges();
    it.blip();
    assert_eq!(it.reads(true), [""; 0], "what came behind it was acknowledged");
    it.says("two");
    it.asks("b");
    it.blip();
    assert_eq!(it.reads(true), ["two", "b?"]);
}

#[test]
fn only_the_newest_full_state_is_kept() {
    let mut it = Plain::new(Policy {
        log: Bounds {
            bytes: 1 << 20,
            messages: 1000,
        },
        ..POLICY
    });
    let state = |it: &mut Plain, kind: &str, number: u32| {
        let kind = kind.to_owned();
        let text = format!("{kind}{number}{}", "x".repeat(50_000));
        it.receive(&text, |core, _| core.latest(&kind));
    };
    it.says("begin");
    for number in 0..500 {
        state(&mut it, "s", number);
        if number % 100 == 0 {
            state(&mut it, "t", number);
            it.says(&format!("event {number}"));
        }
        it.reads(true);
    }
    assert_eq!(it.core.counts().evicted, 0, "25 MB went by");
    it.reload();
    let texts = it.reads(true);
    let starts: Vec<&str> = texts.iter().map(|text| text.split('x').next().unwrap()).collect();
    assert_eq!(
        starts,
        [
            "begin",
            "event 0",
            "event 100",
            "event 200",
            "event 300",
            "t400",
            "event 400",
            "s499"
        ]
    );
}

#[test]
fn of_too_many_kinds_the_one_sent_longest_ago_is_forgotten() {
    let mut it = Plain::new(POLICY);
    let state = |it: &mut Plain, kind: usize, number: u32| {
        it.receive(&format!("{kind}: {number}"), |core, _| core.latest(&kind.to_string()));
    };
    // as servers do that name a state by its call: many that are over, and one that goes on
    for kind in 0..500 {
        state(&mut it, kind, 0);
        state(&mut it, 0, kind as u32);
        state(&mut it, kind, 1);
    }
    it.reload();
    let texts = it.reads(true);
    let newest: Vec<String> = (1..500).map(|kind| format!("{kind}: 1")).collect();
    assert_eq!(
        texts.iter().filter(|text| text.ends_with(": 0")).count(),
        0,
        "{texts:?}"
    );
    assert!(newest.iter().all(|text| texts.contains(text)));
    assert_eq!(texts.iter().filter(|text| text.starts_with("0: ")).count(), 1);
    // of one that was forgotten both are kept: nothing is lost by it
    state(&mut it, 1, 2);
    it.reload();
    let texts = it.reads(true);
    assert!(texts.contains(&"1: 1".into()) && texts.contains(&"1: 2".into()));
}

#[test]
fn a_page_amid_a_superseded_state_gets_it_whole() {
    let mut it = Plain::new(POLICY);
    for number in 0..3 {
        it.receive(&format!("state {number}"), |core, _| core.latest("s"));
        if number == 0 {
            it.write(4);
        }
    }
    assert_eq!(it.reads(true), ["state 0", "state 2"]);
    it.acknowledges();
    it.says("after");
    it.blip();
    assert_eq!(
        it.reads(true),
        ["after"],
        "acknowledged across what is not there any more"
    );
}

#[test]
fn whoever_is_at_lunch_finds_the_prompt() {
    let mut it = Plain::new(POLICY);
    it.asks("a");
    it.core.detach(it.now, it.epoch, Parting::Closed(Some(1001)));
    it.wait(POLICY.grace.as_secs() + 1);
    while let Some(due) = it.core.due(it.now, it.facts) {
        assert_ne!(due, Due::GraceOver, "it waits longer for an answer");
    }
    // the server does not wait any more
    it.core.prompts_ended(it.now, Some("a"));
    it.wait(POLICY.grace.as_secs() - 1);
    while let Some(due) = it.core.due(it.now, it.facts) {
        assert_ne!(due, Due::GraceOver);
    }
    it.wait(1);
    assert!(std::iter::from_fn(|| it.core.due(it.now, it.facts)).any(|due| due == Due::GraceOver));
}

#[test]
fn nobody_waits_for_an_answer_at_the_end() {
    let mut it = Plain::new(Policy {
        replay_refresh: ReplayMode::None,
        ..POLICY
    });
    it.asks("a");
    it.reload();
    // the server goes before the prompt is written
    it.core.upstream_ended(it.now, UpstreamEnd::Abrupt);
    assert_eq!(it.reads(true), [""; 0]);
    it.reload();
    assert_eq!(it.reads(true), [""; 0]);
}

#[test]
fn a_prompt_from_before_the_range_comes_though_the_end_of_the_range_was_removed() {
    let mut it = Plain::new(Policy {
        replay_refresh: ReplayMode::Turn,
        ..POLICY
    });
    it.asks("a");
    it.receive("turn", |core, now| core.turn_started(now));
    // for the page that asked alone
    it.receive("answer", |core, _| core.answer());
    it.reload();
    assert_eq!(it.reads(true), ["turn", "a?"]);
    it.says("live");
    assert_eq!(it.reads(true), ["live"]);
    it.core.upstream_ended(it.now, UpstreamEnd::Abrupt);
    assert!(it.core.page_ends_abruptly(), "and so does the end");
}

#[test]
fn what_was_superseded_while_a_page_stood_in_it_is_not_replayed() {
    let mut it = Plain::new(POLICY);
    it.receive("state 1", |core, _| core.latest("state"));
    assert!(it.write(3));
    it.receive("state 2", |core, _| core.latest("state"));
    it.reload();
    assert_eq!((it.reads(true), it.replayed), (vec!["state 2".into()], 1));

    it.asks("a");
    assert!(it.write(3));
    it.core.prompts_ended(it.now, Some("a"));
    // another takes its place amid that
    it.load();
    assert_eq!((it.reads(true), it.replayed), (vec!["state 2".into()], 1));
}

#[test]
fn what_was_removed_is_neither_replayed_nor_lost() {
    let mut it = Plain::new(Policy {
        log: Bounds {
            messages: 3,
            ..POLICY.log
        },
        ..POLICY
    });
    it.core.detach(it.now, it.epoch, Parting::Closed(Some(1001)));
    it.says("one");
    for number in 0..100 {
        it.receive(&format!("state {number}"), |core, _| core.latest("state"));
    }
    it.says("two");
    it.says("three");
    assert_eq!(it.core.counts().evicted, 1, "that is one, not what was superseded");
    it.load();
    assert_eq!((it.replayed, it.gap), (3, 1));
    assert_eq!(it.reads(true), ["state 99", "two", "three"]);
}
