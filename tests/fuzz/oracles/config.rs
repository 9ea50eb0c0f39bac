//! Configuration files: one that is taken, written anew from what it came to, comes to the same.
//!
//! Input: the file's text.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use sessmux::config::{Config, Flags, Foreign, Overflow, ReplayMode, Route};
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
            assert!(!config.routes.is_empty() && config.to_string().matches("\nroute ").count() == config.routes.len());
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

/// The configuration as a file; of the grace what the first one says of it, for it cannot all be told.
fn write(config: &Config, text: &str) -> String {
    let before: Table = text.parse().expect("it was read");
    let mut table = Table::new();
    let mut put = |name: &str, value: String| table.insert(name.into(), value.into());
    put("listen", config.listen.to_string());
    put("upstream", config.upstream.to_string());
    let limits = &config.limits;
    put("max_head", limits.max_head.to_string());
    put("head_timeout", time(limits.head_timeout));
    put("idle_timeout", time(limits.idle_timeout));
    put("max_connections", limits.max_connections.to_string());
    put("max_client_connections", limits.max_client_connections.to_string());
    put("max_pending", limits.max_pending.to_string());
    put("max_client_pending", limits.max_client_pending.to_string());
    put("max_sessions", limits.max_sessions.to_string());
    put("max_client_sessions", limits.max_client_sessions.to_string());
    put("max_owner_sessions", limits.max_owner_sessions.to_string());
    put("attach_rate", limits.attach_rate.to_string());
    put("session_rate", limits.session_rate.to_string());
    if let Some(admin) = &config.admin {
        put("admin", admin.to_string());
    }
    if let Some(file) = &config.record {
        put("record", file.to_str().expect("it came out of text").to_owned());
    }
    list(&mut table, "public_origin", &config.public_origins);
    list(&mut table, "allow_origin", &config.allow_origins);
    list(&mut table, "trusted_proxies", &config.trusted_proxies);
    let in_file = before
        .get("route")
        .and_then(Value::as_array)
        .filter(|routes| !routes.is_empty());
    let routes = config.routes.iter().enumerate().map(|(index, it)| {
        let own = in_file.and_then(|routes| routes.get(index)).and_then(Value::as_table);
        let given = |name| own.and_then(|own| own.get(name)).or_else(|| before.get(name)).cloned();
        let mut written = route(it, own.is_some());
        for name in ["grace", "profile", "auth_request"] {
            if let Some(value) = given(name) {
                written.insert(name.into(), value);
            }
        }
        written
    });
    let mut routes: Vec<Table> = routes.collect();
    if in_file.is_some() {
        table.insert("route".into(), routes.into());
    } else {
        // without routes there is one, of all that holds for all
        table.extend(routes.remove(0));
    }
    table.to_string()
}

fn route(route: &Route, in_file: bool) -> Table {
    let mut table = Table::new();
    let mut put = |name: &str, value: String| table.insert(name.into(), value.into());
    if in_file {
        put("path", route.path.to_string());
    }
    put("upstream", route.upstream.to_string());
    put("replay_refresh", mode(route.replay_refresh));
    put("replay_blip", mode(route.replay_blip));
    if route.blip_1006 {
        put("blip", "1006".into());
    }
    put("max_message", route.max_message.to_string());
    put("log_bytes", route.log_bytes.to_string());
    put("log_messages", route.log_messages.to_string());
    let overflow = match route.overflow {
        Overflow::DropOldest => "drop-oldest",
        Overflow::Close => "close",
    };
    put("overflow", overflow.into());
    put("acks", route.acks.to_string());
    put("fights", route.fights.to_string());
    if let Some(name) = &route.auth_subject {
        put("auth_subject", name.clone());
    }
    let foreign = match route.foreign {
        Foreign::Separate => "separate",
        Foreign::Refuse => "refuse",
    };
    put("foreign", foreign.into());
    if let Some(name) = &route.subprotocol {
        put("subprotocol", name.clone());
    }
    list(&mut table, "key", &route.key);
    list(&mut table, "bind", &route.bind);
    table
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
