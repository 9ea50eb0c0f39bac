//! Layers to the one configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::SocketAddr as SocketPath;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use super::file::File;
use super::settings::{Given, Layer, Place};
use super::{
    Admin, Bind, Config, ConfigError, ConfigErrors, Flags, KeyPart, KeySource, Limits, Origin, PathPattern, Route,
    TlsFiles, Upstream,
};
use super::{check, units, values};
use crate::profile::{BUILT_IN, Profile, Role, built_in};

/// Shorter than the 30 s that Kubernetes leaves a pod for its end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);
/// Where to listen, if not told otherwise: on this machine only.
const LISTEN: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 8080);

impl Config {
    /// What holds where a listener and an agent server are given and nothing else.
    #[must_use]
    pub fn plain(listen: SocketAddr, upstream: Upstream) -> Self {
        let route = Route {
            key: default_key(),
            ..Route::one_to_one(PathPattern::any(), upstream.clone())
        };
        Self {
            listen,
            tls: None,
            upstream,
            upstream_ca: None,
            public_origins: Vec::new(),
            allow_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
            admin: Admin::default(),
            health: None,
            drain_timeout: DRAIN_TIMEOUT,
            record: None,
            routes: vec![Arc::new(route)],
        }
    }

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
            loader.errors = check::contradictions(&config, !read.routes.is_empty());
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

pub(super) struct Loader {
    /// Folder of the configuration file; relative paths in the file start here.
    pub(super) base: PathBuf,
    pub(super) errors: Vec<ConfigError>,
}

impl Loader {
    /// Makes the configuration; wherever there is an error, it has a default.
    fn config(&mut self, defaults: [&Layer; 3], routes: &[Layer]) -> Config {
        let [flags, environment, file] = defaults;
        let listen = self.value(&defaults, "listen", SocketAddr::from(LISTEN), values::address);
        let upstream = self.upstream(&defaults);
        let public_origins = self.values(&defaults, "public_origin", str::parse::<Origin>);
        let allow_origins = self.values(&defaults, "allow_origin", str::parse::<Origin>);
        let trusted_proxies = self.values(&defaults, "trusted_proxies", values::network);
        let admin = self.admin(&defaults);
        let health = self.value(&defaults, "health", None, |text| values::address(text).map(Some));
        let tls = self.tls(&defaults);
        let upstream_ca = self.file(&defaults, "upstream_ca");
        let record = self.file(&defaults, "record");
        let routes = if routes.is_empty() {
            vec![Arc::new(self.route(None, &defaults))]
        } else {
            let route =
                |(index, route): (usize, &Layer)| Arc::new(self.route(Some(index), &[route, flags, environment, file]));
            routes.iter().enumerate().map(route).collect()
        };
        Config {
            listen,
            tls,
            upstream,
            upstream_ca,
            public_origins: public_origins.unwrap_or_default(),
            allow_origins: allow_origins.unwrap_or_default(),
            trusted_proxies: trusted_proxies.unwrap_or_default(),
            limits: self.limits(&defaults),
            admin,
            health,
            drain_timeout: self.value(&defaults, "drain_timeout", DRAIN_TIMEOUT, units::duration),
            record,
            routes,
        }
    }

    /// A route; without a path of its own it has its profile's. Where there is none either, the only one has every path, and
    /// one of the file's, which `index` says where it stands, none.
    pub(super) fn route(&mut self, index: Option<usize>, layers: &[&Layer]) -> Route {
        let profile = self.profile(layers);
        let own = profile
            .path
            .iter()
            .find_map(|path| self.of_profile(&profile, "path", path, &PathPattern::parse));
        if let (None, None, Some(index)) = (first(layers, "path"), &profile.path, index) {
            self.error(ConfigError {
                field: format!("route[{index}].path"),
                value: None,
                reason: "not given; \"/{*rest}\" is every path".into(),
            });
        }
        let path = self.value(layers, "path", own.unwrap_or_else(PathPattern::any), PathPattern::parse);
        let default = Route::one_to_one(path, self.upstream(layers));
        let key = self.values(layers, "key", str::parse::<KeyPart>).or_else(|| {
            let parts = profile.key.as_ref()?;
            let parts = parts
                .iter()
                .filter_map(|part| self.of_profile(&profile, "key", part, &str::parse::<KeyPart>));
            Some(parts.collect())
        });
        let mut replay = |name, own: &Option<String>, default| {
            own.as_ref()
                .and_then(|mode| self.of_profile(&profile, name, mode, &values::replay))
                .unwrap_or(default)
        };
        let replay_refresh = replay("replay_refresh", &profile.replay_refresh, default.replay_refresh);
        let replay_blip = replay("replay_blip", &profile.replay_blip, default.replay_blip);
        let log_bytes = profile.log_bytes.as_ref();
        let log_bytes = log_bytes.and_then(|text| self.of_profile(&profile, "log_bytes", text, &values::log_bytes));
        let log_bytes = log_bytes.unwrap_or(default.log_bytes);
        let foreign = profile.foreign.as_ref();
        let foreign = foreign.and_then(|text| self.of_profile(&profile, "foreign", text, &values::foreign));
        let foreign = foreign.unwrap_or(default.foreign);
        let (idle, open) = if profile.has(Role::TurnEnd) || profile.has(Role::Prompt) {
            TURN_GRACE
        } else {
            (default.grace, default.grace_open)
        };
        let grace = self.value(layers, "grace", idle, units::duration);
        let grace_open = if first(layers, "grace").is_some() { grace } else { open };
        Route {
            key: key.unwrap_or_else(default_key),
            profile,
            replay_refresh: self.value(layers, "replay_refresh", replay_refresh, values::replay),
            replay_blip: self.value(layers, "replay_blip", replay_blip, values::replay),
            blip_1006: self.value(layers, "blip", default.blip_1006, values::blip),
            grace,
            grace_open,
            max_message: self.value(layers, "max_message", default.max_message, values::max_message),
            log_bytes: self.value(layers, "log_bytes", log_bytes, values::log_bytes),
            log_messages: self.value(layers, "log_messages", default.log_messages, values::count),
            overflow: self.value(layers, "overflow", default.overflow, values::overflow),
            slow_reader: self.value(layers, "slow_reader", default.slow_reader, values::time),
            max_fragments: self.value(layers, "max_fragments", default.max_fragments, values::count),
            acks: self.value(layers, "acks", default.acks, values::boolean),
            fights: self.value(layers, "fights", default.fights, values::boolean),
            bind: self.values(layers, "bind", str::parse::<Bind>).unwrap_or_default(),
            auth_request: self.value(layers, "auth_request", None, |text| text.parse().map(Some)),
            auth_subject: self.value(layers, "auth_subject", None, values::header),
            foreign: self.value(layers, "foreign", foreign, values::foreign),
            subprotocol: self.value(layers, "subprotocol", default.subprotocol, values::subprotocol),
            path: default.path,
            upstream: default.upstream,
        }
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
        match self.parsed("upstream", given, &str::parse::<Upstream>).pop() {
            Some(Upstream::Unix(path)) => Upstream::Unix(self.socket("upstream", given, &path)),
            Some(upstream) => upstream,
            None => Upstream::Tcp(String::new()),
        }
    }

    fn tls(&mut self, layers: &[&Layer]) -> Option<TlsFiles> {
        let given = (self.file(layers, "tls_cert"), self.file(layers, "tls_key"));
        let lacks = match given {
            (Some(cert), Some(key)) => return Some(TlsFiles { cert, key }),
            (None, None) => return None,
            (Some(_), None) => "tls_key",
            (None, Some(_)) => "tls_cert",
        };
        self.error(ConfigError {
            field: lacks.into(),
            value: None,
            reason: "not given; tls_cert and tls_key go together".into(),
        });
        None
    }

    /// The file that a setting names.
    fn file(&mut self, layers: &[&Layer], name: &'static str) -> Option<PathBuf> {
        let given = first(layers, name)?;
        let text = given.values.first()?;
        if text.is_empty() {
            self.invalid(name, given, text, "names no file".into());
        }
        Some(self.relative(given.place, Path::new(text)))
    }

    /// The Unix socket that a setting names.
    fn socket(&mut self, name: &'static str, given: &Given, path: &Path) -> PathBuf {
        let path = self.relative(given.place, path);
        if let Err(error) = SocketPath::from_pathname(&path) {
            self.invalid(name, given, &format!("unix:{}", path.display()), error.to_string());
        }
        path
    }

    fn admin(&mut self, layers: &[&Layer]) -> Admin {
        let Some(given) = first(layers, "admin") else {
            return Admin::default();
        };
        match self.parsed("admin", given, &str::parse::<Admin>).pop() {
            Some(Admin::Unix(path)) => Admin::Unix(self.socket("admin", given, &path)),
            admin => admin.unwrap_or_default(),
        }
    }

    fn profile(&mut self, layers: &[&Layer]) -> Profile {
        let Some(given) = first(layers, "profile") else {
            return Profile::default();
        };
        let mut profile = Profile::default();
        for name in &given.values {
            let read = match built_in(name) {
                Some(text) => Profile::parse(text).map_err(|errors| errors.iter().map(ToString::to_string).collect()),
                None => read_profile(&self.relative(given.place, Path::new(name))),
            };
            match read {
                Ok(read) => profile = read,
                Err(reasons) => {
                    for reason in reasons {
                        self.invalid("profile", given, name, reason);
                    }
                }
            }
        }
        profile
    }

    /// What a profile says where nothing is configured.
    fn of_profile<T>(
        &mut self,
        profile: &Profile,
        name: &str,
        text: &str,
        parse: &impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let parsed = parse(text).map_err(|reason| {
            self.error(ConfigError {
                field: match profile.name.as_str() {
                    "" => format!("profile: {name}"),
                    profile => format!("profile {profile}: {name}"),
                },
                value: Some(text.to_owned()),
                reason,
            });
        });
        parsed.ok()
    }

    /// The value of a setting that has one; the default where none was given, or none that can be used.
    pub(super) fn value<T>(
        &mut self,
        layers: &[&Layer],
        name: &'static str,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let parsed = first(layers, name).and_then(|given| self.parsed(name, given, &parse).pop());
        parsed.unwrap_or(default)
    }

    /// The values of a setting that has a list; `None` where none was given.
    fn values<T>(
        &mut self,
        layers: &[&Layer],
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        first(layers, name).map(|given| self.parsed(name, given, &parse))
    }

    fn parsed<T>(&mut self, name: &'static str, given: &Given, parse: &impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let mut parsed = Vec::with_capacity(given.values.len());
        for text in &given.values {
            match parse(text) {
                Ok(value) => parsed.push(value),
                Err(reason) => self.invalid(name, given, text, reason),
            }
        }
        parsed
    }

    fn invalid(&mut self, name: &'static str, given: &Given, text: &str, reason: String) {
        self.error(ConfigError {
            field: given.place.field(name),
            value: Some(text.to_owned()),
            reason,
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

/// How long a session without a page is kept whose turns are known: when idle, and while one runs, for people go to lunch.
const TURN_GRACE: (Duration, Duration) = (Duration::from_secs(15 * 60), Duration::from_secs(24 * 3600));

/// What the first layer that has the setting gave.
fn first<'a>(layers: &[&'a Layer], name: &str) -> Option<&'a Given> {
    layers.iter().find_map(|layer| layer.get(name))
}

/// The key of a route for which none is configured: the browser, the path and the query.
fn default_key() -> Vec<KeyPart> {
    let sources = [KeySource::Browser, KeySource::Path, KeySource::Query];
    let part = |source| KeyPart {
        alternatives: vec![source],
    };
    sources.map(part).into()
}

/// Reads a profile, or tells all that is wrong with it.
fn read_profile(path: &Path) -> Result<Profile, Vec<String>> {
    let file = path.display();
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let names = BUILT_IN.map(|(name, _)| name).join(", ");
            vec![format!("there is no file {file}; built in are {names}")]
        }
        _ => vec![unreadable(&error)],
    })?;
    Profile::parse(&text).map_err(|errors| errors.iter().map(|error| format!("{file}:{error}")).collect())
}
