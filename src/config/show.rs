//! What a configuration comes to, for `sessmux check`.

use std::fmt;

use super::{Config, Foreign, Overflow, ReplayMode, Route, TlsFiles};

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listen = {}\nupstream = {}", self.listen, self.upstream)?;
        if let Some(TlsFiles { cert, key }) = &self.tls {
            writeln!(f, "tls_cert = {}\ntls_key = {}", cert.display(), key.display())?;
        }
        if let Some(file) = &self.upstream_ca {
            writeln!(f, "upstream_ca = {}", file.display())?;
        }
        for origin in &self.public_origins {
            writeln!(f, "public_origin = {origin}")?;
        }
        for origin in &self.allow_origins {
            writeln!(f, "allow_origin = {origin}")?;
        }
        for network in &self.trusted_proxies {
            writeln!(f, "trusted_proxies = {network}")?;
        }
        let limits = &self.limits;
        writeln!(
            f,
            "max_head = {} within {:?}, idle_timeout = {:?}\nmax_connections = {}, {} of a client\nmax_pending = {}, {} of a client\n\
             max_sessions = {}, {} of a client, {} of an owner\nmax_buffered = {}\nattach_rate = {}, session_rate = {}, of a client a second",
            limits.max_head,
            limits.head_timeout,
            limits.idle_timeout,
            limits.max_connections,
            limits.max_client_connections,
            limits.max_pending,
            limits.max_client_pending,
            limits.max_sessions,
            limits.max_client_sessions,
            limits.max_owner_sessions,
            limits.max_buffered,
            limits.attach_rate,
            limits.session_rate,
        )?;
        writeln!(f, "drain_timeout = {:?}\nadmin = {}", self.drain_timeout, self.admin)?;
        if let Some(address) = self.health {
            writeln!(f, "health = {address}")?;
        }
        if let Some(file) = &self.record {
            writeln!(f, "record = {}", file.display())?;
        }
        self.routes.iter().try_for_each(|route| write!(f, "{route}"))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<String> = self.key.iter().map(ToString::to_string).collect();
        writeln!(
            f,
            "\nroute {}\n  upstream = {}\n  key = {}",
            self.path,
            self.upstream,
            key.join(" + ")
        )?;
        if !self.profile.name.is_empty() {
            writeln!(
                f,
                "  profile = {} ({} rules)",
                self.profile.name,
                self.profile.rules.len()
            )?;
        }
        writeln!(
            f,
            "  replay = {} after a refresh, {} after a blip{}",
            name(self.replay_refresh),
            name(self.replay_blip),
            if self.blip_1006 { "; every 1006 is a blip" } else { "" }
        )?;
        let overflow = match self.overflow {
            Overflow::DropOldest => "drop-oldest",
            Overflow::Close => "close",
        };
        writeln!(
            f,
            "  grace = {:?} ({:?} while something is open), max_message = {} in {} frames, log = {} bytes or {} messages, overflow = {overflow}, slow_reader = {:?}",
            self.grace,
            self.grace_open,
            self.max_message,
            self.max_fragments,
            self.log_bytes,
            self.log_messages,
            self.slow_reader
        )?;
        let foreign = match self.foreign {
            Foreign::Separate => "separate",
            Foreign::Refuse => "refuse",
        };
        if !self.bind.is_empty() {
            let binds: Vec<_> = self.bind.iter().map(ToString::to_string).collect();
            writeln!(f, "  bind = {}", binds.join(", "))?;
        }
        if let (Some(url), Some(subject)) = (&self.auth_request, &self.auth_subject) {
            writeln!(f, "  auth_request = {url}, auth_subject = {subject}")?;
        }
        write!(
            f,
            "  acks = {}, fights = {}, foreign = {foreign}",
            self.acks, self.fights
        )?;
        if let Some(name) = &self.subprotocol {
            write!(f, ", subprotocol = {name}")?;
        }
        writeln!(f)
    }
}

fn name(mode: ReplayMode) -> &'static str {
    match mode {
        ReplayMode::All => "all",
        ReplayMode::Turn => "turn",
        ReplayMode::Missed => "missed",
        ReplayMode::None => "none",
    }
}
