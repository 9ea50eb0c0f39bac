//! Settings that contradict each other, and those that are risky.

use std::net::SocketAddr;

use super::{Config, ConfigError, KeyPart, KeySource, ReplayMode, Route, Upstream};
use crate::profile::Role;

/// Finds settings that cannot all hold, each well-formed by itself.
pub(super) fn contradictions(config: &Config) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut error = |field: String, value: String, reason: String| {
        errors.push(ConfigError {
            field,
            value: Some(value),
            reason,
        });
    };
    let own = "this is where sessmux itself listens";
    if is_own(config.listen, &config.upstream) {
        error("upstream".into(), config.upstream.to_string(), own.into());
    }
    for (index, route) in config.routes.iter().enumerate() {
        let field = |name: &str| format!("route[{index}].{name}");
        if route.upstream != config.upstream && is_own(config.listen, &route.upstream) {
            error(field("upstream"), route.upstream.to_string(), own.into());
        }
        let mut earlier = config.routes[..index].iter().enumerate();
        if let Some((other, earlier)) = earlier.find(|(_, earlier)| earlier.path.covers(&route.path)) {
            let reason = format!("route[{other}] ({}) takes all of these paths before", earlier.path);
            error(field("path"), route.path.to_string(), reason);
        }
        for part in &route.key {
            if let Some(reason) = impossible_part(route, part) {
                error(field("key"), part.to_string(), reason);
            }
        }
        for (name, mode) in [
            ("replay_refresh", route.replay_refresh),
            ("replay_blip", route.replay_blip),
        ] {
            if mode == ReplayMode::Turn {
                let reason = "needs a profile that says where turns start, and none can yet".into();
                error(field(name), mode.to_string(), reason);
            }
        }
        if route.profile.has(Role::HelloAnswer) && !route.profile.has(Role::Hello) && !waits_for_first(route) {
            let reason = "has a hello-answer rule, but neither a hello rule nor a first: key says what it answers";
            error(field("profile"), route.profile.name.clone(), reason.into());
        }
    }
    errors
}

/// Why a part of the route's key cannot give a value, or some of its alternatives never do.
fn impossible_part(route: &Route, part: &KeyPart) -> Option<String> {
    for source in &part.alternatives {
        match source {
            KeySource::PathCapture(name) if !route.path.captures(name) => {
                return Some(format!("the path {} has no {{{name}}}", route.path));
            }
            KeySource::Answer(_) if !route.profile.has(Role::HelloAnswer) => {
                return Some("answer: needs a profile with a hello-answer rule".into());
            }
            _ => {}
        }
    }
    let mut asked = part
        .alternatives
        .iter()
        .filter(|source| !matches!(source, KeySource::Answer(_)));
    // The server can rename a session only after a request has opened or found it.
    if asked.clone().next().is_none() {
        return Some("answer: needs an alternative that the client gives, such as answer:/id|browser".into());
    }
    let certain = asked.find(|source| source.is_always_there())?;
    let unused = asked.next()?;
    Some(format!("{certain} is in every request, so {unused} never counts"))
}

fn waits_for_first(route: &Route) -> bool {
    let mut sources = route.key.iter().flat_map(|part| &part.alternatives);
    sources.any(|source| matches!(source, KeySource::First(_)))
}

/// Tells whether an upstream is the listener, so that a request would run in circles.
fn is_own(listen: SocketAddr, upstream: &Upstream) -> bool {
    let Upstream::Tcp(authority) = upstream else {
        return false;
    };
    let here = authority.replace("localhost:", "127.0.0.1:");
    let Ok(address) = here.parse::<SocketAddr>() else {
        return false;
    };
    let reaches = address.ip() == listen.ip() || (listen.ip().is_unspecified() && address.ip().is_loopback());
    reaches && address.port() == listen.port()
}

impl Config {
    /// What the operator should know about these settings, one line each, though they hold together.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.listen.ip().to_canonical().is_loopback() && self.public_origins.is_empty() {
            warnings.push(format!(
                "listen = {:?} is reached from other machines, and without public_origin under any name",
                self.listen.to_string()
            ));
        }
        for route in &self.routes {
            let mut warn = |what: &str| warnings.push(format!("route {}: {what}", route.path));
            if route.grace.is_zero() {
                warn("grace = \"0\" ends a session with its page: no reload finds it again");
            }
            if route.replay_refresh == ReplayMode::Missed {
                warn("replay_refresh = \"missed\" leaves a reloaded page without what it had shown before");
            }
        }
        warnings
    }
}
