//! Configuration: which source counts, what is accepted, and what is said of that which is not.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Command, FromArgMatches};
use sessmux::config::{Admin, Config, ConfigErrors, Flags, Foreign, Limits, Overflow, ReplayMode, TlsFiles, Upstream};

/// Loads a file with variables and flags given here, whatever the environment of the tests is.
fn load(file: Option<&Path>, variables: &[(&str, &str)], flags: &[&str]) -> Result<Config, ConfigErrors> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let command = Flags::augment_args(Command::new("sessmux").no_binary_name(true));
    let matches = command.try_get_matches_from(flags).unwrap();
    let flags = Flags::from_arg_matches(&matches).unwrap();
    Config::load(file, |name| variables.get(name).map(ToString::to_string), &flags)
}

fn refused(file: Option<&Path>, variables: &[(&str, &str)], flags: &[&str]) -> Vec<String> {
    let errors = load(file, variables, flags).unwrap_err();
    errors.to_string().lines().map(str::to_owned).collect()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/config")
        .join(name)
}

/// The fixtures of a folder; never none, so that no loop over them passes for lack of any.
fn fixtures(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(fixture(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files: Vec<_> = entries
        .filter(|path| path.extension() == Some(OsStr::new("toml")))
        .collect();
    assert!(!files.is_empty(), "no fixtures in {folder}");
    files
}

#[test]
fn valid_files_load() {
    for file in fixtures("valid") {
        if let Err(errors) = load(Some(&file), &[], &[]) {
            panic!("{}:\n{errors}", file.display());
        }
    }
}

#[test]
fn invalid_files_are_refused_for_the_reason_they_expect() {
    for file in fixtures("invalid") {
        let text = fs::read_to_string(&file).unwrap();
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# expect: "));
        let expected = expected.unwrap_or_else(|| panic!("{} expects nothing", file.display()));
        let expected = expected
            .replace("FILE", &file.display().to_string())
            .replace("FOLDER", &file.parent().unwrap().display().to_string());
        let errors = refused(Some(&file), &[], &[]);
        assert!(
            errors.iter().any(|error| error.starts_with(&expected)),
            "{}: expected\n{expected}\nin\n{}",
            file.display(),
            errors.join("\n")
        );
    }
}

#[test]
fn defaults_give_way_to_the_file_the_file_to_the_environment_and_that_to_flags() {
    let file = fixture("valid/everything.toml");
    let variables = [("SESSMUX_GRACE", "2m"), ("SESSMUX_UPSTREAM", "http://from-env")];
    let flags = ["--upstream", "http://from-flag", "--grace", "3m"];

    // `/{*rest}` of the file says nothing itself
    let last = |config: &Config| config.routes.last().unwrap().grace;
    let minutes = |count: u64| Duration::from_secs(60 * count);
    assert_eq!(last(&load(None, &[], &flags[..2]).unwrap()), minutes(60));
    assert_eq!(last(&load(Some(&file), &[], &[]).unwrap()), Duration::from_secs(90));
    assert_eq!(last(&load(Some(&file), &variables, &[]).unwrap()), minutes(2));
    assert_eq!(last(&load(Some(&file), &variables, &flags).unwrap()), minutes(3));
    assert_eq!(last(&load(None, &variables, &flags[..2]).unwrap()), minutes(2));

    let both = load(Some(&file), &variables, &flags).unwrap();
    assert_eq!(both.upstream, Upstream::Tcp("from-flag:80".into()));
    assert_eq!(
        both.routes[0].grace,
        Duration::ZERO,
        "what a route says of itself counts"
    );
    assert_eq!(both.routes[0].upstream, Upstream::Tcp("other:80".into()));
}

#[test]
fn a_session_whose_turns_are_known_waits_longer_while_one_runs() {
    let profile = fixture("profiles/turns.toml");
    let given = [
        "--upstream",
        "http://a",
        "--profile",
        profile.to_str().unwrap(),
        "--replay-refresh",
        "turn",
    ];
    let grace = |flags: &[&str]| {
        let config = load(None, &[], &[&given, flags].concat()).unwrap();
        (config.routes[0].grace, config.routes[0].grace_open)
    };
    let minutes = |count: u64| Duration::from_secs(60 * count);
    assert_eq!(grace(&[]), (minutes(15), minutes(24 * 60)));
    assert_eq!(grace(&["--grace", "2m"]), (minutes(2), minutes(2)));
}

#[test]
fn an_empty_variable_is_none() {
    let config = load(None, &[("SESSMUX_GRACE", ""), ("SESSMUX_UPSTREAM", "http://a")], &[]).unwrap();
    assert_eq!(config.routes[0].grace, Duration::from_secs(3600));
}

#[test]
fn lists_are_repeated_flags_or_separated_by_commas_and_replace_each_other() {
    let key = |variables: &[(&str, &str)], flags: &[&str]| {
        let config = load(None, variables, &[&["--upstream", "http://a"], flags].concat()).unwrap();
        let parts = config.routes[0].key.iter().map(ToString::to_string);
        parts.collect::<Vec<_>>()
    };
    let variables = [("SESSMUX_KEY", "query:a, header:b|browser")];
    assert_eq!(key(&[], &[]), ["browser", "path", "query"]);
    assert_eq!(key(&variables, &[]), ["query:a", "header:b|browser"]);
    assert_eq!(
        key(&variables, &["--key", "cookie:c", "--key", "path"]),
        ["cookie:c", "path"]
    );
    assert_eq!(key(&[], &["--key", "first:/a,b"]), ["first:/a,b"]);
}

#[test]
fn every_setting_of_a_file_arrives() {
    let config = load(Some(&fixture("valid/everything.toml")), &[], &[]).unwrap();
    assert_eq!(config.listen.to_string(), "[::1]:0");
    assert_eq!(
        config.upstream,
        Upstream::Unix(fixture("valid/agent.sock")),
        "relative to the file"
    );
    let files = TlsFiles {
        cert: fixture("valid/cert.pem"),
        key: fixture("valid/key.pem"),
    };
    assert_eq!(config.tls, Some(files));
    assert_eq!(config.upstream_ca, Some(fixture("valid/ca.pem")));
    let shown = config.to_string();
    for (name, file) in [("tls_cert", "cert"), ("tls_key", "key"), ("upstream_ca", "ca")] {
        let line = format!("{name} = {}\n", fixture(&format!("valid/{file}.pem")).display());
        assert!(shown.contains(&line), "{line}in\n{shown}");
    }
    assert_eq!(config.public_origins.len(), 2);
    assert_eq!(config.allow_origins[0].to_string(), "https://embed.example.org:443");

    let limits = Limits {
        max_head: 64 << 10,
        head_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(120),
        max_connections: 1,
        max_client_connections: 2,
        max_pending: 3,
        max_client_pending: 4,
        max_sessions: 5,
        max_client_sessions: 6,
        max_owner_sessions: 7,
        max_buffered: 1 << 20,
        attach_rate: 8,
        session_rate: 9,
    };
    assert_eq!(config.limits, limits);
    assert_eq!(config.drain_timeout, Duration::ZERO);
    let proxies: Vec<_> = config.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);

    let defaults = config.routes.last().unwrap();
    let key: Vec<_> = defaults.key.iter().map(ToString::to_string).collect();
    assert_eq!(key, ["header:x-user", "cookie:sid|query:sid"]);
    assert_eq!(defaults.profile.name, "init");
    assert_eq!(defaults.replay_refresh, ReplayMode::None);
    assert_eq!(defaults.replay_blip, ReplayMode::All);
    assert!(defaults.blip_1006);
    assert_eq!(defaults.max_message, 1 << 30);
    assert_eq!(defaults.log_bytes, 65_536);
    assert_eq!(defaults.log_messages, 10);
    assert_eq!(defaults.overflow, Overflow::Close);
    assert_eq!(
        (defaults.max_fragments, defaults.slow_reader),
        (11, Duration::from_secs(3))
    );
    assert!(!defaults.acks && !defaults.fights);
    assert_eq!(defaults.foreign, Foreign::Refuse);
    assert_eq!(defaults.bind.len(), 3);
    let asked = defaults.auth_request.as_ref().unwrap();
    assert_eq!(
        (asked.server.to_string(), asked.path.as_str()),
        ("https://127.0.0.1:9000".into(), "/auth?for=chat")
    );
    assert_eq!(defaults.auth_subject.as_deref(), Some("x-user"));
    assert_eq!(defaults.subprotocol, None);

    let own = &config.routes[0];
    assert_eq!(own.replay_refresh, ReplayMode::All);
    assert_eq!(own.replay_blip, ReplayMode::Missed);
    assert_eq!(own.max_message, 125);
    assert_eq!(own.log_bytes, 4096);
    assert_eq!(own.log_messages, 1);
    assert_eq!(own.overflow, Overflow::DropOldest);
    assert!(own.acks && own.fights);
    assert_eq!(own.foreign, Foreign::Separate);

    assert_eq!(config.routes[1].profile.name, "answer");
    assert_eq!(config.routes[1].subprotocol.as_deref(), Some("rpc.v1"));
}

#[test]
fn defaults_are_one_route_for_every_path() {
    let config = load(None, &[], &["--upstream", "http://127.0.0.1:8000"]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert!(config.public_origins.is_empty() && config.allow_origins.is_empty());
    let [route] = &config.routes[..] else {
        panic!("{} routes", config.routes.len());
    };
    assert!(route.path.matches("/").is_some() && route.path.matches("/any/path").is_some());
    assert_eq!(route.log_bytes, 8 << 20);
    assert_eq!(route.log_messages, 10_000);
    assert_eq!(route.max_message, 16 << 20);
    assert_eq!(
        (route.replay_refresh, route.replay_blip),
        (ReplayMode::All, ReplayMode::Missed)
    );
    assert!(route.acks && route.fights && !route.blip_1006);
    assert_eq!(config.warnings(), [""; 0]);
    let plain = Config::plain(config.listen, config.upstream.clone());
    assert_eq!(plain.to_string(), config.to_string());
}

#[test]
fn a_relative_path_starts_where_it_was_written() {
    // there is a ../profiles/init.toml beside the file's folder and none beside the working directory
    let file = fixture("valid/routes.toml");
    assert_eq!(load(Some(&file), &[], &[]).unwrap().routes[1].profile.name, "init");
    let profile = "../profiles/init.toml";
    let names = sessmux::profile::BUILT_IN.map(|(name, _)| name).join(", ");
    let expected = format!("there is no file {profile}; built in are {names}");
    for (variables, flags, field) in [
        (&[][..], &["--profile", profile][..], "--profile"),
        (&[("SESSMUX_PROFILE", profile)], &[], "SESSMUX_PROFILE"),
    ] {
        let errors = refused(Some(&fixture("valid/everything.toml")), variables, flags);
        assert_eq!(errors, [format!("{field} = {profile:?}: {expected}")]);
    }
}

#[test]
fn errors_name_the_source_and_come_together_and_once() {
    let file = fixture("invalid/key-pointer.toml");
    assert_eq!(
        refused(
            Some(&file),
            &[("SESSMUX_ACKS", "maybe")],
            &["--grace", "1x", "--listen", "here"]
        ),
        [
            "--listen = \"here\": is not ADDRESS:PORT with an IP address, such as 127.0.0.1:8080 or [::1]:8080",
            "--grace = \"1x\": has none of the units ms, s, m, h",
            "SESSMUX_ACKS = \"maybe\": is neither true nor false",
            "route[1].key = \"first:session_id\": a JSON pointer begins with /",
        ]
    );
}

#[test]
fn an_unreadable_file_is_named() {
    let missing = fixture("nowhere.toml");
    assert_eq!(
        refused(Some(&missing), &[], &[]),
        [format!(
            "config = {:?}: there is no such file",
            missing.display().to_string()
        )]
    );
    let folder = fixture("valid");
    assert!(refused(Some(&folder), &[], &[])[0].contains("the file cannot be read: "));
}

#[test]
fn risky_settings_are_warned_of() {
    let warnings = |flags: &[&str]| {
        // the environment gives way to flags
        let upstream = [("SESSMUX_UPSTREAM", "http://127.0.0.1:8000")];
        load(None, &upstream, flags).unwrap().warnings().join("\n")
    };
    assert_eq!(warnings(&[]), "", "what needs no reading is no risk");
    for (flags, warned) in [
        (
            &["--listen", "0.0.0.0:80"][..],
            "listen = \"0.0.0.0:80\" is reached from other machines, and without",
        ),
        (
            &["--listen", "0.0.0.0:80"],
            "listen = \"0.0.0.0:80\" is reached from other machines in clear",
        ),
        (
            &["--public-origin", "http://a.example"],
            "public_origin = \"http://a.example:80\" is in clear",
        ),
        (&["--public-origin", "https://a.example"], "trusted_proxies is not set"),
        (
            &["--trusted-proxies", "0.0.0.0/0"],
            "trusted_proxies = \"0.0.0.0/0\" believes everybody",
        ),
        (
            &[
                "--allow-origin",
                "http://a.example",
                "--bind",
                "cookie:a",
                "--key",
                "path",
            ],
            "allow_origin = \"http://a.example:80\" is in clear",
        ),
        (
            &["--bind", "key"],
            "route /{*rest}: bind = \"key\": whoever knows a key has its session, in any browser",
        ),
        (
            &["--bind", "key", "--key", "path", "--allow-origin", "https://a.example"],
            "pages of every allow_origin too",
        ),
        (
            &["--bind", "header:x-user"],
            "bind = \"header:x-user\" is as good as the proxy that sets x-user",
        ),
        (
            &[
                "--bind",
                "auth_request",
                "--auth-subject",
                "x",
                "--auth-request",
                "http://10.0.0.1/auth?a",
            ],
            "auth_request = \"http://10.0.0.1:80/auth?…\" sends logins in clear",
        ),
        (
            &["--upstream", "http://10.0.0.1:8000"],
            "upstream = \"http://10.0.0.1:8000\" is in clear",
        ),
        (
            &["--admin", "0.0.0.0:9090"],
            "admin = \"0.0.0.0:9090\" answers whoever reaches it",
        ),
        (
            &["--log-bytes", "2GiB", "--max-buffered", "1GiB"],
            "is more than max_buffered",
        ),
    ] {
        assert!(warnings(flags).contains(warned), "{flags:?}: {}", warnings(flags));
    }
    for safe in [
        &["--public-origin", "http://localhost:3000"][..],
        &["--public-origin", "http://[::1]:3000"],
        &[
            "--listen",
            "0.0.0.0:80",
            "--public-origin",
            "https://a",
            "--trusted-proxies",
            "10.0.0.0/8",
        ],
        &["--upstream", "http://localhost:8000"],
        &["--upstream", "https://agent.example"],
        &["--upstream", "unix:agent.sock"],
        &["--bind", "header:authorization"],
        &["--bind", "cookie:login"],
        &["--admin", "unix:a.sock"],
        &["--admin", "127.0.0.1:9090"],
    ] {
        assert_eq!(warnings(safe), "", "{safe:?}");
    }
    assert!(warnings(&["--grace", "0"]).contains("route /{*rest}: grace"));
    // what no route claims has no bind either
    let guarded = |file: &str| {
        let config = load(Some(&fixture(file)), &[], &[]).unwrap();
        config
            .warnings()
            .join("\n")
            .contains("route /ws: WebSockets that no route claims")
    };
    assert!(guarded("valid/bound.toml"));
    assert!(!guarded("valid/bound-all.toml"));
    assert!(warnings(&["--replay-refresh", "missed"]).contains("replay_refresh"));
    assert_eq!(warnings(&["--acks", "false", "--replay-blip", "missed"]), "");
}

#[test]
fn limits_that_are_none() {
    let upstream = ["--upstream", "http://127.0.0.1:8000"];
    for (flag, text, reason) in [
        ("--max-head", "4KiB", "is below 8192 bytes"),
        ("--head-timeout", "0", "leaves no time at all"),
        ("--idle-timeout", "1d", "has none of the units ms, s, m, h"),
        ("--max-sessions", "0", "is not a number above 0"),
        ("--max-owner-sessions", "x", "is not a number above 0"),
        ("--session-rate", "0", "is not a number above 0, of times a second"),
        (
            "--trusted-proxies",
            "proxy.example",
            "is no IP address, nor a network such as 10.0.0.0/8",
        ),
        (
            "--trusted-proxies",
            "10.1.0.0/8",
            "is an address within its network: 10.0.0.0/8 would be it",
        ),
        ("--max-sessions", "99999999999999999999", "is too large"),
        ("--attach-rate", "4294967296", "is too large"),
        ("--attach-rate", "1.5", "is not a number above 0, of times a second"),
    ] {
        let error = load(None, &[], &[&upstream[..], &[flag, text]].concat()).unwrap_err();
        assert_eq!(error.to_string(), format!("{flag} = {text:?}: {reason}"));
    }
}

#[test]
fn pages_come_by_https_where_public_origins_say_so_or_else_where_the_listener_speaks_it() {
    let by_https = |flags: &[&str]| {
        let flags = [&["--upstream", "http://127.0.0.1:8000"], flags].concat();
        load(None, &[], &flags).unwrap().is_https()
    };
    let (tls, origin) = (["--tls-cert", "c", "--tls-key", "k"], "--public-origin");
    assert!(!by_https(&[]));
    assert!(by_https(&tls));
    assert!(by_https(&[origin, "https://a"]));
    assert!(!by_https(&[origin, "https://a", origin, "http://b"]));
    assert!(!by_https(&[&tls[..], &[origin, "http://a"]].concat()));
}

#[test]
fn where_health_is_told() {
    let upstream = ["--upstream", "http://127.0.0.1:8000"];
    assert_eq!(load(None, &[], &upstream).unwrap().health, None);
    let config = load(None, &[("SESSMUX_HEALTH", "0.0.0.0:8081")], &upstream).unwrap();
    assert_eq!(config.health, Some("0.0.0.0:8081".parse().unwrap()));
    assert!(config.to_string().contains("\nhealth = 0.0.0.0:8081\n"), "{config}");
    for text in ["8081", "localhost:8081", "unix:a.sock", "off"] {
        let error = load(None, &[], &[&upstream[..], &["--health", text]].concat()).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("--health = \"{text}\": ")),
            "{error}"
        );
    }
}

#[test]
fn a_route_without_a_path_has_its_profiles() {
    let config = load(Some(&fixture("valid/path-of-profile.toml")), &[], &[]).unwrap();
    let paths: Vec<_> = config.routes.iter().map(|route| route.path.to_string()).collect();
    assert_eq!(paths, ["/ws", "/terminal"]);
}

#[test]
fn what_holds_for_all_routes_is_refused_once() {
    assert_eq!(
        refused(Some(&fixture("invalid/allow-origin-of-routes.toml")), &[], &[]).len(),
        1
    );
}

#[test]
fn where_the_admin_surface_listens() {
    let upstream = ["--upstream", "http://127.0.0.1:8000"];
    assert_eq!(load(None, &[], &upstream).unwrap().admin, Admin::Runtime);
    for (text, shown) in [("127.0.0.1:9090", "127.0.0.1:9090"), ("unix:a.sock", "unix:a.sock")] {
        let config = load(None, &[], &[&upstream[..], &["--admin", text]].concat()).unwrap();
        assert!(config.to_string().contains(&format!("admin = {shown}\n")), "{config}");
    }
    let file = fixture("valid/everything.toml");
    let config = load(Some(&file), &[], &[]).unwrap();
    assert_eq!(
        config.admin,
        Admin::Unix(fixture("valid/admin.sock")),
        "relative to the file"
    );
    for text in ["9090", "localhost:9090", "unix:"] {
        let error = load(None, &[], &[&upstream[..], &["--admin", text]].concat()).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("--admin = \"{text}\": ")),
            "{error}"
        );
    }
}

#[test]
fn a_recording_is_off_unless_it_is_asked_for_and_then_warned_of() {
    let upstream = ["--upstream", "http://127.0.0.1:8000"];
    assert_eq!(load(None, &[], &upstream).unwrap().record, None);
    let by_flag = [&upstream[..], &["--record", "a.jsonl"]].concat();
    for (variables, flags) in [(&[][..], &by_flag[..]), (&[("SESSMUX_RECORD", "a.jsonl")], &upstream)] {
        let config = load(None, variables, flags).unwrap();
        assert_eq!(config.record.as_deref(), Some(Path::new("a.jsonl")));
        assert!(config.warnings()[0].starts_with("record = \"a.jsonl\": EVERY MESSAGE IS RECORDED"));
        assert!(config.to_string().contains("record = a.jsonl\n"));
    }
    let file = fixture("valid/everything.toml");
    let config = load(Some(&file), &[], &[]).unwrap();
    assert_eq!(
        config.record,
        Some(fixture("valid/capture.jsonl")),
        "relative to the file"
    );
}
