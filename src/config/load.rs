//! From settings to a configuration: reading files, merging, validating.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::settings::{ProcessSettings, RouteSettings, Settings};
use super::{Config, KeyPart, KeySource, Origin, Overflow, PathPattern, ReplayMode, Route, Upstream, units};
use crate::profile::{Profile, Role};

/// The key where none is configured.
const DEFAULT_KEY: [&str; 3] = ["browser", "path", "query"];
/// Below this a log holds next to nothing.
const MIN_LOG_BYTES: usize = 4096;

/// What is wrong with a configuration; a line for each, `field = value: reason`.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(Vec<String>);

/// Merges settings with the file that they name, and validates the whole.
///
/// What a `[[route]]` says of itself counts; then flags, environment, the file's top level, defaults.
///
/// # Errors
///
/// All that is wrong, as far as it can be seen at once.
pub fn load(settings: Settings) -> Result<Config, ConfigError> {
    let mut problems = Problems::default();
    let file = match &settings.config {
        Some(path) => FileSettings::read(path).map_err(|problem| ConfigError(vec![problem]))?,
        None => FileSettings::default(),
    };
    let process = settings.process.or(file.process);
    let shared = settings.route.or(&file.shared);

    let listen = process.listen.as_deref().unwrap_or("127.0.0.1:8080");
    let listen = problems.parse("listen", listen, |text| {
        SocketAddr::from_str(text).map_err(|_| "is not ADDRESS:PORT with an IP address".to_owned())
    });
    let upstream = match shared.upstream.as_deref() {
        Some(text) => problems.parse("upstream", text, str::parse::<Upstream>),
        None => {
            problems.add("upstream = \"\": the agent server is needed, e.g. http://127.0.0.1:8000");
            None
        }
    };
    let origins = |field: &str, list: &[String], problems: &mut Problems| -> Vec<Origin> {
        list.iter()
            .filter_map(|text| problems.parse(field, text, str::parse))
            .collect()
    };
    let public_origins = origins("public_origin", &process.public_origin, &mut problems);
    let allow_origins = origins("allow_origin", &process.allow_origin, &mut problems);

    let mut routes = Vec::new();
    let folder = settings
        .config
        .as_deref()
        .and_then(Path::parent)
        .unwrap_or(Path::new(""));
    if file.routes.is_empty() {
        routes.extend(route(
            "",
            "/{*rest}",
            &shared,
            Path::new(""),
            folder,
            &file.shared,
            &mut problems,
        ));
    }
    let mut paths = HashSet::new();
    for (index, (path, own)) in file.routes.into_iter().enumerate() {
        let prefix = format!("route[{index}].");
        if !paths.insert(path.clone()) {
            problems.add(format!(
                "{prefix}path = {path:?}: another route has it, and would never be reached"
            ));
        }
        // a route's own profile is relative to the file
        let base = if own.profile.is_some() { folder } else { Path::new("") };
        let merged = own.or(&shared);
        routes.extend(route(
            &prefix,
            &path,
            &merged,
            base,
            folder,
            &file.shared,
            &mut problems,
        ));
    }
    if !allow_origins.is_empty() {
        for route in &routes {
            foreign(route, &mut problems);
        }
    }
    match (listen, upstream) {
        (Some(listen), Some(upstream)) if problems.0.is_empty() => Ok(Config {
            listen,
            upstream,
            public_origins,
            allow_origins,
            routes,
        }),
        _ => Err(ConfigError(problems.0)),
    }
}

/// A route; `None` if something is wrong with it.
fn route(
    prefix: &str,
    path: &str,
    settings: &RouteSettings,
    base: &Path,
    folder: &Path,
    in_file: &RouteSettings,
    problems: &mut Problems,
) -> Option<Arc<Route>> {
    let field = |name: &str| format!("{prefix}{name}");
    let path = problems.parse(&field("path"), path, PathPattern::parse)?;
    // what is missing was said of the top level
    let upstream = problems.parse(
        &field("upstream"),
        settings.upstream.as_deref()?,
        str::parse::<Upstream>,
    )?;
    let mut route = Route::one_to_one(path, upstream);

    let default: Vec<String> = DEFAULT_KEY.map(String::from).into();
    let key = if settings.key.is_empty() {
        &default
    } else {
        &settings.key
    };
    route.key = key
        .iter()
        .filter_map(|text| problems.parse(&field("key"), text, str::parse::<KeyPart>))
        .collect();
    if let Some(name) = &settings.profile {
        // a name from the file is relative to the file, one from a flag to the working directory
        let base = if in_file.profile.as_ref() == Some(name) {
            folder
        } else {
            base
        };
        let read = |name: &str| read_profile(&base.join(name));
        route.profile = problems.parse(&field("profile"), name, read).unwrap_or_default();
    }
    let r = &mut route;
    problems.set(
        &field("replay_refresh"),
        settings.replay_refresh.as_ref(),
        &mut r.replay_refresh,
        mode,
    );
    problems.set(
        &field("replay_blip"),
        settings.replay_blip.as_ref(),
        &mut r.replay_blip,
        mode,
    );
    problems.set(
        &field("blip"),
        settings.blip.as_ref(),
        &mut r.blip_1006,
        |text| match text {
            "1006" => Ok(true),
            _ => Err("is not \"1006\", an end without a close frame".into()),
        },
    );
    problems.set(&field("grace"), settings.grace.as_ref(), &mut r.grace, units::duration);
    problems.set(
        &field("max_message"),
        settings.max_message.as_ref(),
        &mut r.max_message,
        units::size,
    );
    problems.set(
        &field("log_bytes"),
        settings.log_bytes.as_ref(),
        &mut r.log_bytes,
        log_bytes,
    );
    problems.set(
        &field("log_messages"),
        settings.log_messages.as_ref(),
        &mut r.log_messages,
        log_messages,
    );
    problems.set(
        &field("overflow"),
        settings.overflow.as_ref(),
        &mut r.overflow,
        overflow,
    );
    problems.set(&field("acks"), settings.acks.as_ref(), &mut r.acks, boolean);
    problems.set(&field("fights"), settings.fights.as_ref(), &mut r.fights, boolean);
    problems.set(
        &field("subprotocol"),
        settings.subprotocol.as_ref(),
        &mut r.subprotocol,
        token,
    );
    contradictions(&field, &route, problems);
    Some(Arc::new(route))
}

/// What is well-formed and still cannot work.
fn contradictions(field: &dyn Fn(&str) -> String, route: &Route, problems: &mut Problems) {
    let sources = || route.key.iter().flat_map(|part| &part.alternatives);
    for source in sources() {
        let reason = match source {
            KeySource::PathCapture(name) if !route.path.captures(name) => {
                format!("the route's path {} does not capture {name}", route.path)
            }
            KeySource::Answer(_) if !route.profile.has(Role::HelloAnswer) => {
                "needs a profile with a hello-answer rule".to_owned()
            }
            _ => continue,
        };
        problems.add(format!("{} = \"{source}\": {reason}", field("key")));
    }
    if route.profile.has(Role::HelloAnswer) && !route.profile.has(Role::Hello) {
        problems.add(format!(
            "{} = {:?}: has a hello-answer rule and no hello rule that it would answer",
            field("profile"),
            route.profile.name
        ));
    }
    let first = sources().any(|source| matches!(source, KeySource::First(_)));
    if let Some(name) = route.subprotocol.as_ref().filter(|_| !first) {
        problems.add(format!(
            "{} = {name:?}: only a route with a first: key names it",
            field("subprotocol")
        ));
    }
    for (name, mode) in [
        ("replay_refresh", route.replay_refresh),
        ("replay_blip", route.replay_blip),
    ] {
        if mode == ReplayMode::Turn {
            problems.add(format!("{} = \"turn\": needs a profile that knows turns", field(name)));
        }
    }
}

/// Pages of a foreign origin do not send the minted cookie, so a key cannot be made of it.
fn foreign(route: &Route, problems: &mut Problems) {
    let only_browser = |part: &&KeyPart| part.alternatives == [KeySource::Browser];
    if route.key.iter().any(|part| only_browser(&part)) {
        problems.add(format!(
            "key = \"browser\" of route {}: pages of an allow_origin do not send the cookie it is made of; name another key",
            route.path
        ));
    }
}

fn mode(text: &str) -> Result<ReplayMode, String> {
    Ok(match text {
        "all" => ReplayMode::All,
        "turn" => ReplayMode::Turn,
        "missed" => ReplayMode::Missed,
        "none" => ReplayMode::None,
        _ => return Err("is none of all, turn, missed, none".into()),
    })
}

fn log_bytes(text: &str) -> Result<usize, String> {
    let bytes = units::size(text)?;
    if bytes < MIN_LOG_BYTES {
        Err(format!("is below {MIN_LOG_BYTES}"))
    } else {
        Ok(bytes)
    }
}

fn log_messages(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("is not a number above 0".into()),
        Ok(messages) => Ok(messages),
    }
}

fn overflow(text: &str) -> Result<Overflow, String> {
    match text {
        "drop-oldest" => Ok(Overflow::DropOldest),
        "close" => Ok(Overflow::Close),
        _ => Err("is neither drop-oldest nor close".into()),
    }
}

/// RFC 9110 section 5.6.2.
fn token(text: &str) -> Result<Option<String>, String> {
    let letter = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    let valid = !text.is_empty() && text.bytes().all(letter);
    if valid {
        Ok(Some(text.to_owned()))
    } else {
        Err("is not a token".into())
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "is neither true nor false".into())
}

fn read_profile(path: &Path) -> Result<Profile, String> {
    let file = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{file}: {error}"))?;
    Profile::parse(&text).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|error| format!("{file}:{error}")).collect();
        lines.join("; ")
    })
}

/// What a file says.
#[derive(Default)]
struct FileSettings {
    process: ProcessSettings,
    shared: RouteSettings,
    routes: Vec<(String, RouteSettings)>,
}

impl FileSettings {
    fn read(path: &PathBuf) -> Result<Self, String> {
        let problem = |reason: &dyn std::fmt::Display| format!("config = {:?}: {reason}", path.display().to_string());
        let text = std::fs::read_to_string(path).map_err(|error| problem(&error))?;
        let mut shared: toml::Table = toml::from_str(&text).map_err(|error| problem(&error.to_string().trim_end()))?;
        let mut process = toml::Table::new();
        for name in ["listen", "public_origin", "allow_origin"] {
            process.extend(shared.remove(name).map(|value| (name.to_owned(), value)));
        }
        let routes = match shared.remove("route") {
            None => Vec::new(),
            Some(toml::Value::Array(routes)) if !routes.is_empty() => routes,
            Some(_) => return Err(problem(&"route: is written as [[route]] tables")),
        };
        let mut read = Self {
            process: process
                .try_into()
                .map_err(|error: toml::de::Error| problem(&error.to_string().trim_end()))?,
            shared: shared
                .try_into()
                .map_err(|error: toml::de::Error| problem(&error.to_string().trim_end()))?,
            routes: Vec::new(),
        };
        for (index, table) in routes.into_iter().enumerate() {
            let problem = |reason: &dyn std::fmt::Display| problem(&format!("route[{index}]: {reason}"));
            let toml::Value::Table(mut table) = table else {
                return Err(problem(&"is written as [[route]]"));
            };
            let Some(toml::Value::String(path)) = table.remove("path") else {
                return Err(problem(&"path is missing"));
            };
            let own = table
                .try_into()
                .map_err(|error: toml::de::Error| problem(&error.to_string().trim_end()))?;
            read.routes.push((path, own));
        }
        Ok(read)
    }
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// What `parse` makes of `value`, or a problem on record.
    fn parse<T>(&mut self, field: &str, value: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        parse(value)
            .map_err(|reason| self.add(format!("{field} = {value:?}: {reason}")))
            .ok()
    }

    /// As [`Self::parse`], into `target`, where there is a value.
    fn set<T>(
        &mut self,
        field: &str,
        value: Option<&String>,
        target: &mut T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) {
        if let Some(parsed) = value.and_then(|value| self.parse(field, value, parse)) {
            *target = parsed;
        }
    }
}
