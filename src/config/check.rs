//! Settings that contradict each other.

use std::net::SocketAddr;

use super::{Admin, Bind, Config, ConfigError, KeyPart, KeySource, ReplayMode, Route, Upstream};
use crate::profile::Role;

/// Finds settings that cannot all hold, each well-formed by itself; `in_file` says that the routes are the file's.
pub(super) fn contradictions(config: &Config, in_file: bool) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut error = |field: String, value: &dyn ToString, reason: String| {
        let value = Some(value.to_string());
        let error = ConfigError { field, value, reason };
        // what holds for all routes is looked at for each
        if !errors.contains(&error) {
            errors.push(error);
        }
    };
    if is_own(config.listen, &config.upstream) {
        error("upstream".into(), &config.upstream, OWN.into());
    }
    let admin = match config.admin {
        Admin::Tcp(address) => Some(address),
        _ => None,
    };
    let listeners = [
        ("listen", Some(config.listen)),
        ("admin", admin),
        ("health", config.health),
    ];
    for (index, (name, address)) in listeners.iter().enumerate() {
        let taken = |earlier: &&(&str, Option<SocketAddr>)| earlier.1.zip(*address).is_some_and(|(a, b)| collide(a, b));
        if let (Some(address), Some((earlier, _))) = (address, listeners[..index].iter().find(taken)) {
            error((*name).into(), address, format!("is where {earlier} is"));
        }
    }
    if let Some(file) = config
        .upstream_ca
        .as_ref()
        .filter(|_| config.https_servers().next().is_none())
    {
        let reason = "no upstream and no auth_request is an https:// server";
        error("upstream_ca".into(), &file.display(), reason.into());
    }
    for (index, route) in config.routes.iter().enumerate() {
        let field = |name: &str| {
            if in_file {
                format!("route[{index}].{name}")
            } else {
                name.to_owned()
            }
        };
        if route.upstream != config.upstream && is_own(config.listen, &route.upstream) {
            error(field("upstream"), &route.upstream, OWN.into());
        }
        let mut earlier = config.routes[..index].iter().enumerate();
        if let Some((other, earlier)) = earlier.find(|(_, earlier)| earlier.path.covers(&route.path)) {
            let reason = format!(
                "would never be reached: route[{other}], {}, has all of these paths",
                earlier.path
            );
            error(field("path"), &route.path, reason);
        }
        for part in &route.key {
            let foreign = !config.allow_origins.is_empty() && part.alternatives == [KeySource::Browser];
            if foreign {
                let reason = "pages of an allow_origin do not send the cookie that it is made of: name another key";
                error(field("key"), part, reason.into());
            }
            if let Some(reason) = impossible_part(route, part) {
                error(field("key"), part, reason);
            }
        }
        for bind in &route.bind {
            if let Some(reason) = impossible_bind(route, bind) {
                error(field("bind"), bind, reason.into());
            }
        }
        if let Some(url) = route
            .auth_request
            .as_ref()
            .filter(|_| !route.bind.contains(&Bind::AuthRequest))
        {
            error(
                field("auth_request"),
                url,
                "is asked only with bind = \"auth_request\"".into(),
            );
        }
        if !config.allow_origins.is_empty() && route.bind.is_empty() && !route.profile.is_signed() {
            let reason = "pages of other origins do not send the cookie that proves an owner: name a bind, or say \
                          bind = \"key\", and whoever knows the key has the session";
            let origin = &config.allow_origins[0];
            error("allow_origin".into(), origin, reason.into());
        }
        for (name, mode) in [
            ("replay_refresh", route.replay_refresh),
            ("replay_blip", route.replay_blip),
        ] {
            if mode == ReplayMode::Turn && !route.profile.has(Role::TurnStart) {
                error(field(name), &"turn", "needs a profile with a turn-start rule".into());
            }
        }
        if route.profile.has(Role::HelloAnswer) && !route.profile.has(Role::Hello) {
            let reason = "has a hello-answer rule and no hello rule that it would answer";
            error(field("profile"), &route.profile.name, reason.into());
        }
        if let Some(name) = route.subprotocol.as_ref().filter(|_| !waits_for_first(route)) {
            error(
                field("subprotocol"),
                name,
                "only a route with a first: key names it".into(),
            );
        }
    }
    errors
}

/// Why an upstream cannot be the listener.
const OWN: &str = "is where sessmux itself listens";

/// Why a proof cannot be asked for on this route.
fn impossible_bind(route: &Route, bind: &Bind) -> Option<&'static str> {
    match bind {
        Bind::Key if route.bind.len() > 1 => Some("proves nothing, so it cannot stand beside what does"),
        Bind::Hello if !route.profile.is_signed() => Some("needs a profile whose hello is signed"),
        Bind::AuthRequest if route.auth_request.is_none() => Some("needs an auth_request to ask"),
        Bind::AuthRequest if route.auth_subject.is_none() => {
            Some("needs an auth_subject: without it all who may come in would be one owner")
        }
        _ => None,
    }
}

/// Why a part of the route's key cannot give a value, or some of its alternatives never do.
fn impossible_part(route: &Route, part: &KeyPart) -> Option<String> {
    for source in &part.alternatives {
        match source {
            KeySource::PathCapture(name) if !route.path.captures(name) => {
                return Some(format!("the route's path {} does not capture {name}", route.path));
            }
            KeySource::Answer(_) if !route.profile.has(Role::HelloAnswer) => {
                return Some("needs a profile with a hello-answer rule".into());
            }
            _ => {}
        }
    }
    let mut asked = part
        .alternatives
        .iter()
        .filter(|source| !matches!(source, KeySource::Answer(_)));
    let certain = asked.find(|source| is_always_there(source))?;
    let unused = asked.next()?;
    Some(format!("{unused} never counts: every request has {certain}"))
}

/// Tells whether every request has a value from here, so that no later alternative counts.
fn is_always_there(source: &KeySource) -> bool {
    matches!(source, KeySource::Path | KeySource::PathCapture(_) | KeySource::Query)
}

pub(super) fn waits_for_first(route: &Route) -> bool {
    let mut sources = route.key.iter().flat_map(|part| &part.alternatives);
    sources.any(|source| matches!(source, KeySource::First(_))) || route.profile.is_signed()
}

/// Tells whether of two listeners at these addresses the second finds its port taken.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |wide: SocketAddr, it: SocketAddr| wide.ip().is_unspecified() && wide.is_ipv4() == it.is_ipv4();
    let meet = one.ip() == other.ip() || covers(one, other) || covers(other, one);
    // 0 is whichever is free
    meet && one.port() == other.port() && one.port() != 0
}

/// Tells whether an upstream is the listener, so that a request would run in circles.
fn is_own(listen: SocketAddr, upstream: &Upstream) -> bool {
    let (Upstream::Tcp(authority) | Upstream::Tls(authority)) = upstream else {
        return false;
    };
    let loopback =
        |port: &str| port.parse() == Ok(listen.port()) && (listen.ip().is_loopback() || listen.ip().is_unspecified());
    if let Some(port) = authority.strip_prefix("localhost:") {
        return loopback(port);
    }
    let Ok(address) = authority.parse::<SocketAddr>() else {
        return false;
    };
    // to connect to an unspecified address reaches this machine
    let reaches = address.ip() == listen.ip()
        || (listen.ip().is_unspecified() && address.ip().is_loopback())
        || (address.ip().is_unspecified() && (listen.ip().is_loopback() || listen.ip().is_unspecified()));
    reaches && address.port() == listen.port()
}
