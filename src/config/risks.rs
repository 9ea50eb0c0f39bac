//! Settings that hold together and are a risk, each by its name, for whoever runs `sessmux check` and for the log.

use std::net::IpAddr;

use super::check::waits_for_first;
use super::{Admin, Bind, Config, Foreign, Origin, PathPattern, ReplayMode, Route, Upstream};
use crate::profile::Role;

impl Config {
    /// What the operator should know about these settings, one line each, though they hold together.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |what: String| warnings.push(what);
        if let Some(file) = &self.record {
            warn(format!(
                "record = {file:?}: EVERY MESSAGE IS RECORDED THERE, IN CLEAR, with all passwords, tokens and secrets in it"
            ));
        }
        let open = !self.listen.ip().to_canonical().is_loopback();
        if open && self.public_origins.is_empty() {
            warn(format!(
                "listen = {:?} is reached from other machines, and without public_origin under any name",
                self.listen.to_string()
            ));
        }
        if open && !self.is_https() {
            warn(format!(
                "listen = {:?} is reached from other machines in clear: set tls_cert, or public_origin to the https origin \
                 of the proxy before it",
                self.listen.to_string()
            ));
        }
        for origin in self.public_origins.iter().filter(|origin| is_clear(origin)) {
            warn(format!(
                "public_origin = \"{origin}\" is in clear: the cookie is not Secure, and sites of its domain can plant one"
            ));
        }
        for origin in self.allow_origins.iter().filter(|origin| is_clear(origin)) {
            warn(format!(
                "allow_origin = \"{origin}\" is in clear: whoever is on the way can have its pages do as they please"
            ));
        }
        let public = self.public_origins.iter().any(|origin| !is_local(&origin.host));
        if public && self.trusted_proxies.is_empty() && self.tls.is_none() {
            warn(
                "trusted_proxies is not set: what a proxy sends counts as one client's, or as this machine's own"
                    .into(),
            );
        }
        for network in self.trusted_proxies.iter().filter(|network| network.prefix_len() == 0) {
            warn(format!(
                "trusted_proxies = \"{network}\" believes everybody who they say they are"
            ));
        }
        if let Admin::Tcp(address) = &self.admin
            && !address.ip().to_canonical().is_loopback()
        {
            warn(format!(
                "admin = \"{address}\" answers whoever reaches it, without asking who it is, and ends sessions for them"
            ));
        }
        warnings.extend(self.routes.iter().flat_map(|route| route.warnings(self)));
        if let Some(guarded) = self.routes.iter().find(|route| route.is_guarded())
            && !self.routes.iter().any(|route| route.path.covers(&PathPattern::any()))
        {
            warnings.push(format!(
                "route {}: WebSockets that no route claims are relayed without its bind or foreign, other spellings of its \
                 path too, where the agent server takes them for the same (//ws, /WS, /ws/): a last route of \
                 \"/{{*rest}}\" with the same closes that",
                guarded.path
            ));
        }
        warnings
    }
}

impl Route {
    /// Whether the operator asks more than the cookie, or the key, of who comes.
    fn is_guarded(&self) -> bool {
        let refuses = self.foreign == Foreign::Refuse && self.profile.foreign.is_none();
        refuses || self.bind.iter().any(|bind| *bind != Bind::Key)
    }

    fn warnings(&self, config: &Config) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |what: String| warnings.push(format!("route {}: {what}", self.path));
        if let Upstream::Tcp(authority) = &self.upstream
            && !is_local(authority)
        {
            warn(format!(
                "upstream = \"{}\" is in clear on the network, and whoever reaches it goes past sessmux",
                self.upstream
            ));
        }
        if let Some(url) = &self.auth_request
            && matches!(&url.server, Upstream::Tcp(authority) if !is_local(authority))
        {
            warn(format!(
                "auth_request = \"{url}\" sends logins in clear over the network"
            ));
        }
        for bind in &self.bind {
            match bind {
                Bind::Key if config.allow_origins.is_empty() => {
                    warn("bind = \"key\": whoever knows a key has its session, in any browser".into());
                }
                Bind::Key => {
                    warn("bind = \"key\": whoever knows a key has its session, pages of every allow_origin too".into());
                }
                Bind::Header(name) if name != "authorization" => warn(format!(
                    "bind = \"{bind}\" is as good as the proxy that sets {name}: whoever reaches sessmux past it can say it"
                )),
                _ => {}
            }
        }
        if self.profile.has(Role::Tunnel) && !waits_for_first(self) {
            warn("the profile's tunnel rules count only where the key has a first: part".into());
        }
        if self.grace.is_zero() {
            warn("grace = \"0\" ends a session with its page: no reload finds it again".into());
        }
        if self.replay_refresh == ReplayMode::Missed {
            warn("replay_refresh = \"missed\" leaves a reloaded page without what it had shown before".into());
        }
        if self.log_bytes > config.limits.max_buffered {
            warn(format!(
                "log_bytes = {} is more than max_buffered = {}: one session could have it all",
                self.log_bytes, config.limits.max_buffered
            ));
        }
        warnings
    }
}

/// Whether an origin is neither by TLS nor of this machine.
fn is_clear(origin: &Origin) -> bool {
    origin.scheme == "http" && !is_local(&origin.host)
}

/// Whether a host, with a port or without, is this machine.
fn is_local(host: &str) -> bool {
    let bare = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = bare.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    bare == "localhost" || bare.ends_with(".localhost") || address.is_ok_and(|it| it.to_canonical().is_loopback())
}
