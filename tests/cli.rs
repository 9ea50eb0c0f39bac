//! The command line: what it prints and how it exits, where nothing is listened on.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

/// Runs sessmux in the folder of the configuration fixtures, without the variables of whoever runs the tests.
fn sessmux(variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessmux"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SESSMUX_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config"))
        .envs(variables.iter().copied())
        .args(args)
        .output()
        .unwrap()
}

/// Exit code, standard output, standard error.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn check_shows_what_a_file_comes_to() {
    let (code, out, err) = said(&sessmux(&[], &["check", "--config", "valid/routes.toml"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for line in [
        "listen = 127.0.0.1:8080",
        "upstream = http://127.0.0.1:8000",
        "route /ws/{id}",
        "  key = path:id",
        "route /ws-first",
        "  key = first:/session_id",
    ] {
        assert!(out.lines().any(|shown| shown == line), "{line}\n{out}");
    }
    assert!(out.contains("profile = init"), "{out}");
}

#[test]
fn check_reads_the_environment_and_flags_go_before_it() {
    let variables = [
        ("SESSMUX_CONFIG", "valid/minimal.toml"),
        ("SESSMUX_LISTEN", "127.0.0.1:1111"),
        ("SESSMUX_KEY", "query:sid"),
    ];
    let (code, out, _) = said(&sessmux(&variables, &["check", "--listen", "127.0.0.1:2222"]));
    assert_eq!(code, Some(0));
    assert!(
        out.contains("listen = 127.0.0.1:2222\n") && out.contains("key = query:sid\n"),
        "{out}"
    );
}

#[test]
fn check_does_not_listen() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let output = sessmux(&[], &["check", "--config", "valid/minimal.toml", "--listen", &listen]);
    assert_eq!(said(&output).0, Some(0));
}

#[test]
fn check_warns_and_still_succeeds() {
    let output = sessmux(&[], &["check", "--config", "valid/minimal.toml", "--grace", "0"]);
    let (code, _, err) = said(&output);
    assert_eq!(code, Some(0));
    assert!(err.starts_with("warning: route /{*rest}: grace"), "{err}");
}

#[test]
fn a_bad_configuration_is_64_with_or_without_check() {
    for command in [&["check"][..], &[]] {
        let args = [command, &["--config", "invalid/key-pointer.toml", "--acks", "maybe"]].concat();
        let (code, out, err) = said(&sessmux(&[], &args));
        assert_eq!((code, out.as_str()), (Some(64), ""));
        assert_eq!(
            err,
            "--acks = \"maybe\": is neither true nor false\n\
             route[1].key = \"first:session_id\": a JSON pointer begins with /\n"
        );
    }
}

#[test]
fn a_profile_of_the_file_does_not_lend_its_folder_to_a_flag() {
    let output = sessmux(
        &[],
        &[
            "check",
            "--config",
            "valid/routes.toml",
            "--profile",
            "../profiles/init.toml",
        ],
    );
    let (code, _, err) = said(&output);
    assert_eq!(code, Some(64));
    assert!(
        err.starts_with("--profile = \"../profiles/init.toml\": there is no file"),
        "{err}"
    );
}

#[test]
fn a_bad_command_line_is_64() {
    for args in [
        &["--bogus"][..],
        &["serve"],
        &["--upstream"],
        &["--upstream", "http://a", "--upstream", "http://b"],
        &["--upstream", "http://a", "check"],
        &["check", "--log-format", "xml"],
        &["check", "--log", "a=b=c"],
        &["demo", "--listen", "here"],
    ] {
        let (code, out, err) = said(&sessmux(&[], args));
        assert_eq!((code, out.as_str()), (Some(64), ""), "{args:?}: {err}");
        assert!(!err.is_empty(), "{args:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let (code, out, _) = said(&sessmux(&[], &["--help"]));
    assert_eq!(code, Some(0));
    for flag in [
        "--config",
        "--upstream",
        "--listen",
        "--key",
        "--replay-refresh",
        "--log-bytes",
        "--public-origin",
    ] {
        assert!(out.contains(flag), "{flag}\n{out}");
    }
    let (code, out, _) = said(&sessmux(&[], &["--version"]));
    assert_eq!(
        (code, out.trim()),
        (Some(0), concat!("sessmux ", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn a_port_in_use_is_69_and_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let (code, _, err) = said(&sessmux(
        &[],
        &["--upstream", "http://127.0.0.1:9", "--listen", &listen],
    ));
    assert_eq!(code, Some(69));
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains(&format!("listen = \"{listen}\"")), "{err}");
    let (code, _, err) = said(&sessmux(
        &[],
        &[
            "--upstream",
            "http://127.0.0.1:9",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "off",
            "--health",
            &listen,
        ],
    ));
    assert_eq!(code, Some(69));
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains(&format!("health = \"{listen}\"")), "{err}");
}

#[test]
fn log_flags_stand_on_either_side_of_a_command_and_settings_behind_it() {
    let check = ["check", "--config", "valid/minimal.toml"];
    for args in [
        [&["--log", "debug", "--log-format", "json"], &check[..]].concat(),
        [&check[..], &["--log", "debug", "--log-format", "json"]].concat(),
    ] {
        assert_eq!(said(&sessmux(&[], &args)).0, Some(0), "{args:?}");
    }
    let (code, _, err) = said(&sessmux(&[], &["--grace", "1m", "check"]));
    assert_eq!(code, Some(64));
    assert!(err.contains("sessmux check --grace"), "{err}");
    let (code, _, err) = said(&sessmux(&[], &["--config", "valid/minimal.toml", "check"]));
    assert_eq!(code, Some(64));
    assert!(err.contains("sessmux check --config"), "{err}");
    let (code, _, err) = said(&sessmux(&[], &["--config", "valid/minimal.toml", "sessions"]));
    assert_eq!(code, Some(64));
    assert!(err.contains("sessmux sessions has no --config"), "{err}");
}

#[test]
fn what_cannot_be_printed_is_70_and_no_panic() {
    for args in [
        &["check", "--config", "valid/minimal.toml"][..],
        &["profiles"],
        &["profiles", "terminal"],
        &["completions", "bash"],
        &["man"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessmux"));
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config"));
        let (code, _, err) = said(&command.args(args).stdout(full).output().unwrap());
        assert_eq!(code, Some(70), "{args:?}: {err}");
        assert!(err.starts_with("cannot write: No space left"), "{args:?}: {err}");
    }
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    let (code, _, err) = said(&sessmux(
        &[],
        &["check", "--config", "valid/minimal.toml", "--log", "verbose"],
    ));
    assert_eq!(code, Some(64));
    assert!(err.starts_with("log = \"verbose\": is none of"), "{err}");
    let filter = ["check", "--config", "valid/minimal.toml", "--log", "sessmux=trace,warn"];
    assert_eq!(said(&sessmux(&[], &filter)).0, Some(0));
}

#[test]
fn an_empty_variable_names_no_file() {
    let variables = [("SESSMUX_CONFIG", ""), ("SESSMUX_UPSTREAM", "http://127.0.0.1:8000")];
    assert_eq!(said(&sessmux(&variables, &["check"])).0, Some(0));
}

#[test]
fn built_in_profiles_are_listed_printed_and_used_by_name() {
    let (code, out, _) = said(&sessmux(&[], &["profiles"]));
    assert_eq!(code, Some(0));
    assert!(
        out.lines()
            .any(|line| line.starts_with("connectonion  ") && line.contains("0.8.5")),
        "{out}"
    );
    let (code, text, _) = said(&sessmux(&[], &["profiles", "connectonion"]));
    assert_eq!(code, Some(0));
    assert!(text.contains("role = \"prompt\""), "{text}");
    let (code, _, err) = said(&sessmux(&[], &["profiles", "other"]));
    assert_eq!(code, Some(64));
    assert!(err.contains("is none of ") && err.contains("connectonion"), "{err}");

    let given = [
        "check",
        "--upstream",
        "http://127.0.0.1:8000",
        "--profile",
        "connectonion",
    ];
    let (code, out, err) = said(&sessmux(&[], &given));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.contains("route /ws\n") && out.contains("key = answer:/session_id|first:/session_id\n"),
        "{out}"
    );
    let (code, out, err) = said(&sessmux(&[], &[&given[..], &["--key", "query:session"]].concat()));
    assert_eq!(code, Some(0));
    assert!(out.contains("key = query:session\n"), "{out}");
    assert_eq!(err, "", "a signed hello is awaited, so its tunnels are found");
    let (code, out, _) = said(&sessmux(&[], &[&given[..], &["--key", "first:/room"]].concat()));
    assert_eq!(code, Some(0));
    assert!(out.contains("key = first:/room\n"), "{out}");
}

#[test]
fn the_bound_of_a_profiles_log_holds_where_none_is_configured() {
    let given = ["check", "--upstream", "http://127.0.0.1:8000", "--profile", "terminal"];
    let (code, out, err) = said(&sessmux(&[], &given));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("log = 262144 bytes"), "{out}");
    let (_, out, _) = said(&sessmux(&[("SESSMUX_LOG_BYTES", "1MiB")], &given));
    assert!(out.contains("log = 1048576 bytes"), "{out}");
}

#[test]
fn completions_and_manual_pages_are_made_of_the_command_line() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, err) = said(&sessmux(&[], &["completions", shell]));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{shell}");
        assert!(out.contains("sessions") && out.contains("log-bytes"), "{shell}: {out}");
    }
    assert_eq!(said(&sessmux(&[], &["completions", "csh"])).0, Some(64));
    let (code, out, _) = said(&sessmux(&[], &["man"]));
    assert_eq!(code, Some(0));
    assert!(
        out.contains(".TH sessmux 1") && out.contains("sessmux\\-sessions(1)"),
        "{out}"
    );
    let (code, out, _) = said(&sessmux(&[], &["man", "sessions"]));
    assert_eq!(code, Some(0));
    assert!(
        out.contains(".TH sessmux-sessions 1") && out.contains("\\-\\-watch"),
        "{out}"
    );
    // a command of a command, as one word or as two
    for name in [&["man", "profiles", "test"][..], &["man", "profiles test"]] {
        let (code, out, _) = said(&sessmux(&[], name));
        assert_eq!(code, Some(0), "{name:?}");
        assert!(out.contains(".TH sessmux-profiles-test 1"), "{out}");
    }
    for name in ["bogus", "profiles bogus"] {
        let (code, _, err) = said(&sessmux(&[], &["man", name]));
        let expected = format!("man = \"{name}\": is no command of sessmux\n");
        assert_eq!((code, err), (Some(64), expected));
    }
}

#[test]
fn an_empty_variable_of_the_log_is_none() {
    let variables = [("SESSMUX_LOG_FORMAT", ""), ("SESSMUX_LOG", "")];
    let (code, _, err) = said(&sessmux(&variables, &["check", "--config", "valid/minimal.toml"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let variables = [("SESSMUX_LOG_FORMAT", "xml")];
    let (code, _, err) = said(&sessmux(&variables, &["check", "--config", "valid/minimal.toml"]));
    let expected = "log_format = \"xml\": is neither text nor json\n";
    assert_eq!((code, err.as_str()), (Some(64), expected));
}

#[test]
fn check_finds_what_could_not_be_recorded_to() {
    let check = ["check", "--config", "valid/minimal.toml", "--record"];
    let there = |record: &'static str| said(&sessmux(&[], &[&check[..], &[record]].concat()));
    assert_eq!(there("capture.jsonl").0, Some(0));
    assert_eq!(there("/dev/null").0, Some(0));
    for (record, reason) in [("valid", "Is a directory"), ("nowhere/capture.jsonl", "No such file")] {
        let (code, _, err) = there(record);
        assert_eq!(code, Some(64), "{record}");
        assert!(err.starts_with(&format!("record = \"{record}\": {reason}")), "{err}");
    }
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config/capture.jsonl");
    assert!(!made.exists(), "nothing is made");
}
