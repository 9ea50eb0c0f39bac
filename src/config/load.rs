//! Layers to the one configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use super::check;
use super::file::File;
use super::settings::{Given, Layer, Place};
use super::units::{duration, size};
use super::{
    Config, ConfigError, ConfigErrors, Flags, Invalid, KeyPart, Origin, Overflow, PathPattern, ReplayMode, Route,
    Upstream,
};
use crate::profile::Profile;

/// Port of a listener that was not told where to listen.
const LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);
/// Long enough for lunch, short enough that forgotten sessions do not pile up.
const GRACE: Duration = Duration::from_secs(60 * 60);
/// Longer than any session lives; a deadline that far can still be reckoned with.
const GRACE_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// What agent servers send at most, with room to spare: their own libraries stop at 1 to 16 MiB.
const MAX_MESSAGE: usize = 16 << 20;
/// The largest payload of a control frame, in bytes (RFC 6455 section 5.5).
const MAX_MESSAGE_MIN: usize = 125;
/// Thousands of streamed tokens.
const LOG_BYTES: usize = 8 << 20;
/// Less would lose what comes within one reload.
const LOG_BYTES_MIN: usize = 4 << 10;
/// As many small messages as take about the time of a long turn.
const LOG_MESSAGES: usize = 10_000;

impl Config {
    /// Reads and validates everything, without any effect: a file if there is one, then the environment, then
    /// flags, each before the ones it follows. A route's own settings go before all of them.
    ///
    /// `variables` looks a variable of the environment up by its name.
    ///
    /// # Errors
    ///
    /// Everything wrong that could be found at once.
    pub fn load(
        file: Option<&Path>,
        variables: impl Fn(&str) -> Option<String>,
        flags: &Flags,
    ) -> Result<Self, ConfigErrors> {
        let read = file.map_or_else(|| Ok(File::default()), read).map_err(ConfigErrors)?;
        let environment = Layer::from_environment(variables);
        let defaults = [&flags.0, &environment, &read.defaults];
        let mut loader = Loader {
            base: file.and_then(Path::parent).unwrap_or(Path::new("")).to_owned(),
            errors: Vec::new(),
        };
        let config = loader.config(defaults, &read.routes);
        if loader.errors.is_empty() {
            loader.errors = check::contradictions(&config);
        }
        if loader.errors.is_empty() {
            Ok(config)
        } else {
            Err(ConfigErrors(loader.errors))
        }
    }
}

fn read(path: &Path) -> Result<File, Vec<ConfigError>> {
    let text = fs::read_to_string(path).map_err(|error| {
        vec![ConfigError {
            field: "config".into(),
            value: Some(path.display().to_string()),
            reason: unreadable(&error),
        }]
    })?;
    File::parse(path, &text)
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::InvalidData => "the file is not UTF-8".into(),
        _ => format!("the file cannot be read: {error}"),
    }
}

struct Loader {
    /// Folder of the configuration file; relative paths in the file start here.
    base: PathBuf,
    errors: Vec<ConfigError>,
}

impl Loader {
    /// Makes the configuration; wherever there is an error, it has a default.
    fn config(&mut self, defaults: [&Layer; 3], routes: &[Layer]) -> Config {
        let [flags, environment, file] = defaults;
        let listen = self.value(&defaults, "listen", LISTEN.into(), listen);
        let upstream = self.upstream(&defaults);
        let public_origins = self.values(&defaults, "public_origin", Origin::parse);
        let allow_origins = self.values(&defaults, "allow_origin", Origin::parse);
        let routes = if routes.is_empty() {
            let every_path = PathPattern::every_path();
            vec![Arc::new(self.route(every_path, &defaults))]
        } else {
            let route = |(index, route): (usize, &Layer)| {
                let path = self.path(index, route);
                Arc::new(self.route(path, &[route, flags, environment, file]))
            };
            routes.iter().enumerate().map(route).collect()
        };
        Config {
            listen,
            upstream,
            public_origins: public_origins.unwrap_or_default(),
            allow_origins: allow_origins.unwrap_or_default(),
            routes,
        }
    }

    fn route(&mut self, path: PathPattern, layers: &[&Layer]) -> Route {
        Route {
            path,
            upstream: self.upstream(layers),
            key: self
                .values(layers, "key", KeyPart::parse)
                .unwrap_or_else(KeyPart::default_key),
            profile: self.profile(layers),
            replay_refresh: self.value(layers, "replay_refresh", ReplayMode::All, ReplayMode::parse),
            replay_blip: self.value(layers, "replay_blip", ReplayMode::Missed, ReplayMode::parse),
            blip_1006: self.value(layers, "blip", false, blip),
            grace: self.value(layers, "grace", GRACE, grace),
            max_message: self.value(layers, "max_message", MAX_MESSAGE, |text| {
                at_least(MAX_MESSAGE_MIN, size(text)?)
            }),
            log_bytes: self.value(layers, "log_bytes", LOG_BYTES, |text| {
                at_least(LOG_BYTES_MIN, size(text)?)
            }),
            log_messages: self.value(layers, "log_messages", LOG_MESSAGES, count),
            overflow: self.value(layers, "overflow", Overflow::DropOldest, Overflow::parse),
            acks: self.value(layers, "acks", true, boolean),
            fights: self.value(layers, "fights", true, boolean),
        }
    }

    fn path(&mut self, index: usize, route: &Layer) -> PathPattern {
        if route.get("path").is_none() {
            self.error(ConfigError {
                field: format!("route[{index}].path"),
                value: None,
                reason: "not given; \"/{*rest}\" is every path".into(),
            });
        }
        self.value(&[route], "path", PathPattern::every_path(), PathPattern::parse)
    }

    fn upstream(&mut self, layers: &[&Layer]) -> Upstream {
        let Some(given) = first(layers, "upstream") else {
            self.error(ConfigError {
                field: "upstream".into(),
                value: None,
                reason: "not given; --upstream http://127.0.0.1:8000 would name the agent server".into(),
            });
            return Upstream::Tcp(String::new());
        };
        match self.parsed("upstream", given, &Upstream::parse).pop() {
            Some(Upstream::Unix(path)) => Upstream::Unix(self.relative(given.place, &path)),
            Some(upstream) => upstream,
            None => Upstream::Tcp(String::new()),
        }
    }

    fn profile(&mut self, layers: &[&Layer]) -> Profile {
        let Some(given) = first(layers, "profile") else {
            return Profile::default();
        };
        let base = self.relative(given.place, Path::new(""));
        let compiled = given.values.iter().map(|name| profile(&base, name));
        match compiled.last().unwrap_or_else(|| Ok(Profile::default())) {
            Ok(profile) => profile,
            Err(reasons) => {
                for reason in reasons {
                    self.invalid("profile", given, &given.values[0], &reason.into());
                }
                Profile::default()
            }
        }
    }

    /// The value of a setting that has one; the default where none was given, or none that can be used.
    fn value<T>(
        &mut self,
        layers: &[&Layer],
        name: &'static str,
        default: T,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> T {
        let parsed = first(layers, name).and_then(|given| self.parsed(name, given, &parse).pop());
        parsed.unwrap_or(default)
    }

    /// The values of a setting that has a list; `None` where none was given.
    fn values<T>(
        &mut self,
        layers: &[&Layer],
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<Vec<T>> {
        first(layers, name).map(|given| self.parsed(name, given, &parse))
    }

    fn parsed<T>(&mut self, name: &'static str, given: &Given, parse: &impl Fn(&str) -> Result<T, Invalid>) -> Vec<T> {
        let mut parsed = Vec::with_capacity(given.values.len());
        for text in &given.values {
            match parse(text) {
                Ok(value) => parsed.push(value),
                Err(reason) => self.invalid(name, given, text, &reason),
            }
        }
        parsed
    }

    fn invalid(&mut self, name: &'static str, given: &Given, text: &str, reason: &Invalid) {
        self.error(ConfigError {
            field: given.place.field(name),
            value: Some(text.to_owned()),
            reason: reason.to_string(),
        });
    }

    /// Notes an error once: a default is looked at anew for every route that it holds for.
    fn error(&mut self, error: ConfigError) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// A path where it was given: in the file relative to the file, else to the working directory.
    fn relative(&self, place: Place, path: &Path) -> PathBuf {
        match place {
            Place::File | Place::Route(_) => self.base.join(path),
            Place::Environment | Place::Flag => path.to_owned(),
        }
    }
}

/// What the first layer that has the setting gave.
fn first<'a>(layers: &[&'a Layer], name: &str) -> Option<&'a Given> {
    layers.iter().find_map(|layer| layer.get(name))
}

/// Reads a profile, or tells all that is wrong with it.
fn profile(base: &Path, name: &str) -> Result<Profile, Vec<String>> {
    let path = base.join(name);
    let text = fs::read_to_string(&path).map_err(|error| {
        vec![match error.kind() {
            io::ErrorKind::NotFound => {
                format!(
                    "there is no file {}, and no built-in profiles exist yet",
                    path.display()
                )
            }
            _ => unreadable(&error),
        }]
    })?;
    let mut profile = Profile::parse(&text).map_err(|errors| {
        let located = errors.iter().map(|error| format!("{}:{error}", path.display()));
        located.collect::<Vec<_>>()
    })?;
    if profile.name.is_empty() {
        let stem = path.file_stem().unwrap_or_default();
        profile.name = stem.to_string_lossy().into_owned();
    }
    Ok(profile)
}

fn listen(text: &str) -> Result<SocketAddr, Invalid> {
    let address = text.parse();
    address.map_err(|_| "an address is IP:PORT, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080".into())
}

fn blip(text: &str) -> Result<bool, Invalid> {
    if text == "1006" {
        return Ok(true);
    }
    Err("the only cut that can be declared a blip is 1006".into())
}

fn grace(text: &str) -> Result<Duration, Invalid> {
    let grace = duration(text)?;
    if grace > GRACE_MAX {
        return Err("no more than 366d".into());
    }
    Ok(grace)
}

fn at_least(least: usize, bytes: usize) -> Result<usize, Invalid> {
    if bytes < least {
        return Err(format!("no less than {least} bytes").into());
    }
    Ok(bytes)
}

fn count(text: &str) -> Result<usize, Invalid> {
    let count = text.parse().ok().filter(|&count| count > 0);
    count.ok_or_else(|| "a whole number above 0".into())
}

fn boolean(text: &str) -> Result<bool, Invalid> {
    text.parse().map_err(|_| "true or false".into())
}

impl ReplayMode {
    fn parse(text: &str) -> Result<Self, Invalid> {
        Ok(match text {
            "all" => Self::All,
            "turn" => Self::Turn,
            "missed" => Self::Missed,
            "none" => Self::None,
            _ => return Err("one of all, turn, missed, none".into()),
        })
    }
}

impl Overflow {
    fn parse(text: &str) -> Result<Self, Invalid> {
        Ok(match text {
            "drop-oldest" => Self::DropOldest,
            "close" => Self::Close,
            _ => return Err("one of drop-oldest, close".into()),
        })
    }
}
