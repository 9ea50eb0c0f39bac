//! Secrets stay secrets: every way through sessmux is driven with marked ones, and nothing that a real process says, at
//! its most talkative, has a mark in it: neither its log, nor its metrics, nor what it tells an operator of sessions, nor
//! what `check` shows.

#[path = "../common/mod.rs"]
mod common;
mod process;
mod ways;

use std::process::Command;

use common::raw::RawAgent;
use process::Process;

/// In every secret, and nowhere else.
const MARK: &str = "xyzzy";

/// A secret of this name.
fn secret(name: &str) -> String {
    format!("{MARK}-{name}-{MARK}")
}

/// The lines that have a secret in them, as it is or as it may be written down.
fn leaks<'a>(said: &'a str, secrets: &[String]) -> Vec<&'a str> {
    let bytes = MARK.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // how Debug shows bytes
    let list = format!("{bytes:?}");
    let list = list.trim_matches(['[', ']']).to_owned();
    // base64 of the mark, by where it begins within three bytes, less what the bytes around it decide
    let encoded = (0..3).map(|shift| {
        let padded = [&vec![b' '; shift][..], bytes].concat();
        let text = data_encoding::BASE64.encode(&padded);
        text[(shift * 8).div_ceil(6)..(shift + bytes.len()) * 8 / 6].to_owned()
    });
    let forms: Vec<String> = [MARK.to_owned(), hex, list]
        .into_iter()
        .chain(encoded)
        .chain(secrets.iter().cloned())
        .collect();
    said.lines()
        .filter(|line| {
            forms
                .iter()
                .any(|form| line.to_lowercase().contains(&form.to_lowercase()))
        })
        .collect()
}

#[test]
fn a_leak_is_found_in_every_form() {
    let text = format!("a {MARK} b");
    for leak in [
        text.clone(),
        text.to_uppercase(),
        format!("{:?}", text.as_bytes()),
        data_encoding::BASE64.encode(text.as_bytes()),
        data_encoding::BASE64.encode(format!("1{text}").as_bytes()),
        data_encoding::BASE64.encode(format!("12{text}").as_bytes()),
        data_encoding::HEXLOWER.encode(text.as_bytes()),
        "the cookie 0123456789abcdef".into(),
    ] {
        assert_eq!(leaks(&leak, &["0123456789abcdef".into()]).len(), 1, "{leak}");
    }
    assert!(leaks("nothing is here", &[]).is_empty());
}

#[tokio::test]
async fn no_secret_is_ever_said() {
    let (agent, authority) = (RawAgent::start().await, RawAgent::start().await);
    let mut process = Process::start(agent.address, authority.address);
    let mut secrets = Vec::new();
    ways::http(&process, &agent, &mut secrets).await;
    ways::keys(&process, &agent, &mut secrets).await;
    ways::first_messages(&process, &agent).await;
    ways::hellos(&process, &agent).await;
    ways::proofs(&process, &agent, &authority).await;
    ways::refusals(&process, &agent).await;
    ways::broken_pages(&process, &agent).await;
    ways::broken_servers(&process, &agent).await;
    ways::overflow(&process, &agent).await;
    let metrics = process.told("/metrics").await;
    let sessions = process.sessions().await;
    process.stop();

    let said = process.said();
    // each of these is said where a secret is near; without them nothing would have been tried
    for expected in [
        "new session",
        "detach",
        "parameter=",
        "the server chose the session's id",
        "no key",
        "no proof",
        "unproved hello",
        "page broke the protocol",
        "upstream ended",
        "dial failed",
        "bad request",
        "bad upgrade request",
        "attach",
        "origin",
        "gap",
        "auth_request=",
        "plain HTTP request failed",
    ] {
        assert!(said.contains(expected), "{expected:?} was never said:\n{said}");
    }
    assert!(
        metrics.contains("sessmux_refused_total{rule=\"origin\"} 1\n"),
        "{metrics}"
    );
    let leaked = leaks(&said, &secrets);
    assert!(leaked.is_empty(), "{}", leaked.join("\n"));
    assert_eq!(leaks(&metrics, &secrets), Vec::<&str>::new());
    // each state and happening that the ways above bring about
    for expected in [
        r#""state":"ended""#,
        r#""state":"ending""#,
        r#""what":"takeover""#,
        r#""what":"prompt""#,
        r#""what":"answer""#,
        r#""what":"replay""#,
        r#""what":"gap""#,
        r#""what":"overflow""#,
        r#""what":"named""#,
        r#""what":"upstream-fault""#,
        r#""cause":"closed","code":1001"#,
        r#""cause":"dismissed","code":1002"#,
    ] {
        assert!(sessions.contains(expected), "{expected} was never told:\n{sessions}");
    }
    assert_eq!(leaks(&sessions, &secrets), Vec::<&str>::new());
}

#[test]
fn check_shows_no_secret_of_the_configuration() {
    let url = format!("http://127.0.0.1:9000/auth?token={}", secret("auth"));
    let good = [
        "check",
        "--upstream",
        "http://127.0.0.1:8000",
        "--bind",
        "auth_request",
        "--auth-subject",
        "x-user",
        "--auth-request",
        &url,
    ];
    let user = format!("http://user:{}@127.0.0.1/", secret("user"));
    let query = format!("ftp://127.0.0.1/?{}", secret("query"));
    let variable = [("SESSMUX_AUTH_REQUEST", url.as_str())];
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 5] = [
        (&[], &good),
        (&variable, &good[..good.len() - 2]),
        (&[], &["check", "--upstream", &user]),
        (
            &[],
            &["check", "--upstream", "http://127.0.0.1:1", "--auth-request", &query],
        ),
        (
            &[],
            &["check", "--upstream", "http://127.0.0.1:1", "--public-origin", &user],
        ),
    ];
    for (variables, args) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessmux"));
        let output = command.envs(variables.iter().copied()).args(args).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains("127.0.0.1"), "{said}");
        assert_eq!(leaks(&said, &[]), Vec::<&str>::new(), "{args:?}");
    }
}
