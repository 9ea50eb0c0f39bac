//! `sessmux profiles test`, and the page that teaches to write profiles: what it shows is what the program prints.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use proptest::prelude::*;
use sessmux::capture::{Event, Line, What};
use sessmux::config::{Overflow, ReplayMode, Route};
use sessmux::core::cause::Cause;
use sessmux::profile::{BUILT_IN, Kind, Profile, Side};
use sessmux::rehearse;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn sessmux(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessmux"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SESSMUX_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).args(args).output().unwrap()
}

/// Exit code, standard output, standard error.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A folder of a test's own; it goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sessmux-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The blocks of a page between fences, each with its language.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = text.split("\n```").collect();
    // the first is before all fences; then inside and outside take turns
    let inside = parts.iter().skip(1).step_by(2);
    inside.map(|block| block.split_once('\n').unwrap()).collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap()
}

#[test]
fn every_rule_that_is_shown_is_one() {
    for (name, least) in [("README.md", 2), ("src/profile/README.md", 6)] {
        let text = page(name);
        let blocks = blocks(&text);
        let rules = blocks
            .iter()
            .filter(|(language, block)| *language == "toml" && block.contains("[[rule]]"));
        let mut count = 0;
        for (_, block) in rules {
            if let Err(errors) = Profile::parse(block) {
                panic!("{name}: {errors:?} in\n{block}");
            }
            count += 1;
        }
        assert!(count >= least, "{name} has {count} blocks of rules");
    }
}

/// Whether a text is as it is shown, where `…` alone in a line stands for any lines.
fn is_as_shown(text: &str, shown: &str) -> bool {
    let mut rest: Vec<&str> = text.lines().collect();
    let lines: Vec<&str> = shown.lines().collect();
    let segments: Vec<&[&str]> = lines.split(|line| *line == "…").collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        let at = match (index, last) {
            (0, _) => rest.starts_with(segment).then_some(0),
            (_, true) => rest.ends_with(segment).then(|| rest.len() - segment.len()),
            _ => (0..=rest.len().saturating_sub(segment.len())).find(|at| rest[*at..].starts_with(segment)),
        };
        let Some(at) = at else { return false };
        rest.drain(..at + segment.len());
    }
    rest.is_empty()
}

#[test]
fn shown_lines_are_compared_one_by_one() {
    let text = "a\nb\nc\nd\n";
    for (shown, expected) in [
        ("a\nb\nc\nd", true),
        ("a\n…\nd", true),
        ("…\nb\n…", true),
        ("a\n…\nc\nd", true),
        ("a\nb", false),
        ("b\n…", false),
        ("…\nb", false),
        ("…\nc\n…\nb\n…", false),
        ("a\n…\nx\n…", false),
    ] {
        assert_eq!(is_as_shown(text, shown), expected, "{shown}");
    }
}

#[test]
fn what_the_page_shows_is_what_the_program_prints() {
    let folder = Folder::new("page");
    for (name, fixture) in [("capture.jsonl", "first.jsonl"), ("second.jsonl", "second.jsonl")] {
        let from = Path::new(ROOT).join("tests/fixtures/captures").join(fixture);
        fs::copy(from, folder.0.join(name)).unwrap();
    }
    let text = page("src/profile/README.md");
    // what follows shows other profiles
    let (text, _) = text.split_once("\n## 5.").unwrap();
    let (mut profile, mut commands) = (String::new(), 0);
    for (language, block) in blocks(text) {
        match language {
            "toml" => profile += &format!("{block}\n"),
            "console" => {
                let (command, shown) = block.split_once("$ sessmux ").unwrap().1.split_once('\n').unwrap();
                folder.write("mine.toml", &profile);
                let args: Vec<&str> = command.split_whitespace().collect();
                let (code, out, err) = said(&sessmux(&folder.0, &args));
                assert_eq!((code, err.as_str()), (Some(0), ""), "{command}");
                assert!(
                    is_as_shown(&out, shown),
                    "{command} prints\n{out}\nand the page shows\n{shown}"
                );
                commands += 1;
            }
            _ => {}
        }
    }
    assert_eq!(commands, 7);
}

#[test]
fn several_sessions_are_shown_apart_and_numbers_are_the_captures() {
    let folder = Folder::new("apart");
    let line = |session: &str, text: &str| {
        format!("{{\"session\":\"{session}\",\"at\":0,\"from\":\"server\",\"text\":\"{text}\"}}\n")
    };
    folder.write(
        "c.jsonl",
        &[line("a", "one"), line("b", "two"), line("a", "three")].concat(),
    );
    folder.write("p.toml", "");
    let (code, out, _) = said(&sessmux(
        &folder.0,
        &["profiles", "test", "p.toml", "--capture", "c.jsonl"],
    ));
    assert_eq!(code, Some(0));
    let shown: Vec<&str> = out
        .lines()
        .map(|line| line.split("  ").next().unwrap_or_default())
        .collect();
    let words: Vec<String> = out
        .lines()
        .map(|line| line.split_whitespace().take(4).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        words,
        [
            "session a",
            "# from role message",
            "1 server - one",
            "3 server - three",
            "",
            "session b",
            "# from role message",
            "2 server - two"
        ],
        "{shown:?}"
    );
    let at = |number: &str| {
        said(&sessmux(
            &folder.0,
            &["profiles", "test", "p.toml", "--capture", "c.jsonl", "--at", number],
        ))
    };
    let (code, out, _) = at("3");
    assert_eq!(code, Some(0));
    assert!(
        out.starts_with("session a, a refresh behind message 3 replays: 2 messages (1, 3)\n"),
        "{out}"
    );
    assert_eq!(
        at("4"),
        (
            Some(64),
            String::new(),
            "at = \"4\": the capture has no message of this number\n".into()
        )
    );
}

#[test]
fn a_line_that_a_full_disk_cut_short_is_left_out() {
    let folder = Folder::new("cut");
    folder.write("p.toml", "");
    let line = |event: &str| format!("{{\"session\":\"a.1\",\"at\":1,{event}}}\n");
    let cut = "{\"session\":\"a.1\",\"at\":2,\"from\":\"server\",\"text\":\"not who";
    let lines = [
        line("\"event\":\"attach\",\"epoch\":1"),
        format!("{cut}\n"),
        line("\"from\":\"server\",\"text\":\"whole\""),
    ];
    folder.write("c.jsonl", &lines.concat());
    let (code, out, err) = said(&sessmux(
        &folder.0,
        &["profiles", "test", "p.toml", "--capture", "c.jsonl"],
    ));
    assert_eq!(
        (code, err.as_str()),
        (Some(0), "c.jsonl:2: left out, for it was cut short\n")
    );
    assert!(out.contains("whole") && !out.contains("not who"), "{out}");
}

#[test]
fn what_cannot_be_used_is_told_with_its_place_and_is_64() {
    let folder = Folder::new("bad");
    folder.write("p.toml", "");
    folder.write("rules.toml", "[[rule]]\nfrom = \"client\"\nrole = \"hello\"\n");
    folder.write(
        "answer.toml",
        "[[rule]]\nfrom = \"server\"\ntext = \"x\"\nrole = \"hello-answer\"\n",
    );
    folder.write("c.jsonl", "\n{\"session\":\"a\",\"event\":\"end\"}\n[]\n");
    folder.write("binary.jsonl", "\u{1}\n");
    folder.write("empty.jsonl", "");
    let test = |profile: &str, capture: &str| {
        said(&sessmux(
            &folder.0,
            &["profiles", "test", profile, "--capture", capture],
        ))
    };
    for (profile, capture, expected) in [
        ("p.toml", "c.jsonl", "c.jsonl:3: is no JSON object\n"),
        ("p.toml", "binary.jsonl", "binary.jsonl:1: is no JSON object: "),
        ("p.toml", "none.jsonl", "capture = \"none.jsonl\": No such file"),
        ("p.toml", ".", "capture = \".\": "),
        (
            "none.toml",
            "empty.jsonl",
            "profile = \"none.toml\": there is no file none.toml; built in are ",
        ),
        (
            "rules.toml",
            "empty.jsonl",
            "profile = \"rules.toml\": rules.toml:3: rule[0].role: would match every message",
        ),
        (
            "answer.toml",
            "empty.jsonl",
            "profile = \"\": has a hello-answer rule and no hello rule",
        ),
    ] {
        let (code, out, err) = test(profile, capture);
        assert_eq!((code, out.as_str()), (Some(64), ""), "{profile} {capture}");
        assert!(err.starts_with(expected), "{profile} {capture}: {err}");
    }
    assert_eq!(
        test("json-rpc", "empty.jsonl"),
        (Some(0), String::new(), String::new()),
        "nothing, of a built-in one"
    );
}

/// Rules of every role that a message of the generated ones may have.
const RULES: &str = r#"
    [[rule]]
    from = "client"
    when = { "/type" = "a" }
    role = "hello"
    id = "/id"
    [[rule]]
    from = "server"
    when = { "/type" = "a" }
    role = "hello-answer"
    id = "/id"
    set = { "/x" = { running = 1, idle = 2 } }
    [[rule]]
    from = "server"
    when = { "/type" = "b" }
    role = "hello-refused"
    [[rule]]
    from = "client"
    when = { "/type" = "b" }
    role = "turn-start"
    id = "/id"
    [[rule]]
    from = "server"
    when = { "/type" = "c" }
    role = "turn-end"
    id = "/id"
    [[rule]]
    from = "server"
    when = { "/type" = "d" }
    role = "prompt"
    id = "/id"
    [[rule]]
    from = "client"
    when = { "/type" = "d" }
    role = "prompt-answer"
    id = "/id"
    [[rule]]
    from = "server"
    when = { "/type" = "e" }
    role = "latest"
    [[rule]]
    from = "client"
    when = { "/type" = "e" }
    role = "once"
    [[rule]]
    from = "client"
    when = { "/type" = "f" }
    role = "request"
    id = "/id"
    [[rule]]
    from = "server"
    when = { "/type" = "f" }
    role = "answer"
    id = "/id"
    [[rule]]
    from = "server"
    text = "^ping"
    role = "heartbeat"
    answer = "pong"
"#;

fn line() -> impl Strategy<Value = Line> {
    let side = prop_oneof![Just(Side::Client), Just(Side::Server)];
    let json = ("[a-f]", 0..4u8).prop_map(|(kind, id)| format!(r#"{{"type":"{kind}","id":{id}}}"#).into_bytes());
    let rpc = (0..4u8, "(initialize|x|session/prompt)")
        .prop_map(|(id, method)| format!(r#"{{"id":{id},"method":"{method}"}}"#).into_bytes());
    let result = (0..4u8).prop_map(|id| format!(r#"{{"id":{id},"result":{{}}}}"#).into_bytes());
    let other = prop_oneof![
        Just(b"ping".to_vec()),
        Just(Vec::new()),
        any::<String>().prop_map(String::into_bytes)
    ];
    let text = prop_oneof![4 => json, 2 => rpc, 1 => result, 1 => other].prop_map(|text| (Kind::Text, text));
    let payload = prop_oneof![8 => text, 1 => any::<Vec<u8>>().prop_map(|bytes| (Kind::Binary, bytes))];
    let message = (side, payload, prop::option::of(0..5u64)).prop_map(|(from, (kind, payload), asked)| What::Message {
        from,
        kind,
        asked,
        payload,
    });
    let code = prop::option::of(prop_oneof![Just(1000), Just(1001), Just(1005), any::<u16>()]);
    let cause = prop::option::of(prop_oneof![
        Just(Cause::Blip),
        Just(Cause::Refresh),
        Just(Cause::OnPurpose)
    ]);
    let event = prop_oneof![
        4 => cause.prop_map(|cause| Event::Attach { epoch: 1, cause }),
        4 => code.clone().prop_map(|code| Event::Detach { epoch: 1, code }),
        1 => code.prop_map(|code| Event::End { code }),
        1 => any::<u64>().prop_map(|lines| Event::Lost { lines }),
    ];
    let what = prop_oneof![3 => message, 1 => event.prop_map(What::Event)];
    let at = prop_oneof![8 => 0..100_000u64, 1 => any::<u64>()];
    ("[ab]", at, what).prop_map(|(session, at, what)| Line {
        session: session.into(),
        at,
        what,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    /// Whatever a capture says, in whatever order, every message of it is told of, once.
    #[test]
    fn any_capture_can_be_run_through_any_profile(lines in prop::collection::vec(line(), 0..60), which: prop::sample::Index, at in 0..60usize, turn: bool, small: bool) {
        let profiles: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).chain(["", "rules"]).collect();
        let name = *which.get(&profiles);
        let mut route = (*Route::of_profile(if name == "rules" || name.is_empty() { "json-rpc" } else { name }).unwrap()).clone();
        match name {
            "" => route.profile = Profile::default(),
            "rules" => {
                route.profile = Profile::parse(RULES).unwrap();
                route.replay_refresh = if turn { ReplayMode::Turn } else { ReplayMode::All };
            }
            _ => {}
        }
        if small {
            (route.log_messages, route.overflow) = (3, if turn { Overflow::Close } else { Overflow::DropOldest });
        }
        let route = Arc::new(route);
        let messages = lines.iter().filter(|line| matches!(line.what, What::Message { .. })).count();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let all = runtime.block_on(rehearse::run(&route, &lines, None)).unwrap();
        let mut out = Vec::new();
        rehearse::print(&mut out, &all).unwrap();
        let told = all.iter().flat_map(|story| &story.rows).filter(|row| matches!(row, rehearse::Row::Message(_)));
        prop_assert_eq!(told.count(), messages);
        let one = runtime.block_on(rehearse::run(&route, &lines, Some(at))).unwrap();
        let found = rehearse::print_refresh(&mut out, &one, at).unwrap();
        prop_assert_eq!(found, (1..=messages).contains(&at));
        // the table, for which the messages are not made, says the same as they do
        let summary = |stories: &[rehearse::Story]| stories.iter().flat_map(|story| &story.rows).find_map(|row| match row {
            rehearse::Row::Message(message) if message.number == at => Some(message.summary.clone()),
            _ => None,
        });
        prop_assert_eq!(summary(&all), summary(&one));
        prop_assert!(String::from_utf8(out).is_ok());
    }
}
