//! Configuration files: one that is taken, written anew from what it came to, comes to the same.
//!
//! Input: the file's text.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use sessmux::config::{Admin, Config, Flags, ReplayMode, Route};
use sessmux::profile::built_in;
use toml::{Table, Value};

/// The file that is read; each process has its own.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    folder.join(format!("sessmux-fuzz-{}.toml", std::process::id()))
});

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if !names_no_file(text) {
        return;
    }
    match load(text) {
        Ok(config) => {
            let _ = (config.warnings(), config.limits.files());
            assert!(!config.routes.is_empty() && config.to_string().matches("\nroute ").count() >= config.routes.len());
            let written = write(&config, text);
            let again = load(&written).unwrap_or_else(|error| panic!("{written}\n{error}"));
            assert_eq!(format!("{config:?}"), format!("{again:?}"), "{written}");
        }
        Err(error) => assert!(error.lines().all(|line| line.contains(": ")), "{error}"),
    }
}

fn load(text: &str) -> Result<Config, String> {
    fs::write(&*FILE, text).expect("the file can be written");
    Config::load(Some(&FILE), |_| None, &Flags::default()).map_err(|errors| errors.to_string())
}

/// Profiles other than built-in ones are files of this machine, which may be without end.
fn names_no_file(text: &str) -> bool {
    let Ok(table) = text.parse::<Table>() else { return true };
    let routes = table.get("route").and_then(Value::as_array).into_iter().flatten();
    let tables = routes.filter_map(Value::as_table).chain([&table]);
    let given = tables.filter_map(|table| table.get("profile"));
    given
        .flat_map(|value| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice))
        .all(|name| name.as_str().is_none_or(|name| built_in(name).is_some()))
}

/// The file anew: whatever has a form of its own in that, the rest as it was.
fn write(config: &Config, text: &str) -> String {
    let mut table: Table = text.parse().expect("it was read");
    for (name, value) in [
        ("listen", config.listen.to_string()),
        ("upstream", config.upstream.to_string()),
        ("max_head", config.limits.max_head.to_string()),
        ("head_timeout", time(config.limits.head_timeout)),
        ("idle_timeout", time(config.limits.idle_timeout)),
        ("max_pending", config.limits.max_pending.to_string()),
        ("max_buffered", config.limits.max_buffered.to_string()),
        ("attach_rate", config.limits.attach_rate.to_string()),
        ("drain_timeout", time(config.drain_timeout)),
    ] {
        table.insert(name.into(), value.into());
    }
    if config.admin != Admin::Runtime {
        table.insert("admin".into(), config.admin.to_string().into());
    }
    if let Some(address) = config.health {
        table.insert("health".into(), address.to_string().into());
    }
    list(&mut table, "public_origin", &config.public_origins);
    list(&mut table, "allow_origin", &config.allow_origins);
    list(&mut table, "trusted_proxies", &config.trusted_proxies);
    match table
        .get_mut("route")
        .and_then(Value::as_array_mut)
        .filter(|routes| !routes.is_empty())
    {
        Some(routes) => {
            let routes = routes.iter_mut().filter_map(Value::as_table_mut);
            routes.zip(&config.routes).for_each(|(table, it)| route(table, it));
        }
        // without routes there is one, of all that holds for all
        None => route(&mut table, &config.routes[0]),
    }
    table.to_string()
}

/// What a route came to, that which holds for all included.
fn route(table: &mut Table, route: &Route) {
    if table.contains_key("path") {
        table.insert("path".into(), route.path.to_string().into());
    }
    for (name, value) in [
        ("upstream", route.upstream.to_string()),
        ("replay_refresh", mode(route.replay_refresh)),
        ("replay_blip", mode(route.replay_blip)),
        ("max_message", route.max_message.to_string()),
        ("log_bytes", route.log_bytes.to_string()),
        ("log_messages", route.log_messages.to_string()),
        ("slow_reader", time(route.slow_reader)),
        ("acks", route.acks.to_string()),
    ] {
        table.insert(name.into(), value.into());
    }
    if let Some(name) = &route.auth_subject {
        table.insert("auth_subject".into(), name.clone().into());
    }
    list(table, "key", &route.key);
    list(table, "bind", &route.bind);
}

/// An empty list cannot be written.
fn list(table: &mut Table, name: &str, values: &[impl ToString]) {
    if !values.is_empty() {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        table.insert(name.into(), values.into());
    }
}

fn mode(mode: ReplayMode) -> String {
    let name = match mode {
        ReplayMode::All => "all",
        ReplayMode::Turn => "turn",
        ReplayMode::Missed => "missed",
        ReplayMode::None => "none",
    };
    name.to_owned()
}

fn time(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}
