//! What differs between the configuration that holds and the one that is to, by the names of settings.
//!
//! Whatever is taken apart here is so whole: a field that nobody compares does not compile.

use super::{Config, ConfigErrors, Limits, Route, TlsFiles, check};

impl Config {
    /// Leaves what cannot change while sessmux runs as it is in `running`; returns the settings that would have.
    ///
    /// # Errors
    ///
    /// What is left does not go together with the rest.
    pub fn keep(&mut self, running: &Self) -> Result<Vec<&'static str>, ConfigErrors> {
        let kept = differing([
            ("listen", self.listen != running.listen),
            // which certificate may change, whether there is one may not
            ("tls_cert", self.tls.is_some() != running.tls.is_some()),
            ("admin", self.admin != running.admin),
            ("health", self.health != running.health),
            ("record", self.record != running.record),
        ]);
        if kept.contains(&"tls_cert") {
            self.tls.clone_from(&running.tls);
        }
        self.listen = running.listen;
        self.admin.clone_from(&running.admin);
        self.health = running.health;
        self.record.clone_from(&running.record);
        match check::contradictions(self, true) {
            errors if errors.is_empty() => Ok(kept),
            errors => Err(ConfigErrors(errors)),
        }
    }

    /// What is other than in `before`: settings, and routes.
    #[must_use]
    pub fn changes(&self, before: &Self) -> Vec<String> {
        let Self {
            listen,
            tls,
            upstream,
            upstream_ca,
            public_origins,
            allow_origins,
            trusted_proxies,
            limits,
            admin,
            health,
            drain_timeout,
            record,
            routes,
        } = self;
        let files = |tls: &Option<TlsFiles>| tls.clone().map(|TlsFiles { cert, key }| (cert, key)).unzip();
        let ((cert, key), (cert_before, key_before)) = (files(tls), files(&before.tls));
        let global = differing([
            ("listen", *listen != before.listen),
            ("tls_cert", cert != cert_before),
            ("tls_key", key != key_before),
            ("upstream", *upstream != before.upstream),
            ("upstream_ca", *upstream_ca != before.upstream_ca),
            ("public_origin", *public_origins != before.public_origins),
            ("allow_origin", *allow_origins != before.allow_origins),
            ("trusted_proxies", *trusted_proxies != before.trusted_proxies),
            ("admin", *admin != before.admin),
            ("health", *health != before.health),
            ("drain_timeout", *drain_timeout != before.drain_timeout),
            ("record", *record != before.record),
        ]);
        let mut changes: Vec<String> = global.into_iter().map(Into::into).collect();
        changes.extend(limits.changes(&before.limits).into_iter().map(Into::into));
        for route in routes {
            match before.routes.iter().find(|it| it.path == route.path) {
                None => changes.push(format!("route {} is new", route.path)),
                Some(it) => {
                    let names = route.changes(it);
                    changes.extend(names.iter().map(|name| format!("route {}: {name}", route.path)));
                }
            }
        }
        let gone = before.routes.iter().filter(|it| !self.has(it));
        changes.extend(gone.map(|it| format!("route {} is gone", it.path)));
        // the first that matches counts
        let stayed = routes.iter().filter(|it| before.has(it)).map(|it| &it.path);
        let stayed_before = before.routes.iter().filter(|it| self.has(it)).map(|it| &it.path);
        if !stayed.eq(stayed_before) {
            changes.push("the order of routes".into());
        }
        changes
    }

    fn has(&self, route: &Route) -> bool {
        self.routes.iter().any(|it| it.path == route.path)
    }
}

impl Limits {
    fn changes(&self, before: &Self) -> Vec<&'static str> {
        let Self {
            max_head,
            head_timeout,
            idle_timeout,
            max_connections,
            max_client_connections,
            max_pending,
            max_client_pending,
            max_sessions,
            max_client_sessions,
            max_owner_sessions,
            max_buffered,
            attach_rate,
            session_rate,
        } = self;
        differing([
            ("max_head", *max_head != before.max_head),
            ("head_timeout", *head_timeout != before.head_timeout),
            ("idle_timeout", *idle_timeout != before.idle_timeout),
            ("max_connections", *max_connections != before.max_connections),
            (
                "max_client_connections",
                *max_client_connections != before.max_client_connections,
            ),
            ("max_pending", *max_pending != before.max_pending),
            ("max_client_pending", *max_client_pending != before.max_client_pending),
            ("max_sessions", *max_sessions != before.max_sessions),
            (
                "max_client_sessions",
                *max_client_sessions != before.max_client_sessions,
            ),
            ("max_owner_sessions", *max_owner_sessions != before.max_owner_sessions),
            ("max_buffered", *max_buffered != before.max_buffered),
            ("attach_rate", *attach_rate != before.attach_rate),
            ("session_rate", *session_rate != before.session_rate),
        ])
    }
}

impl Route {
    /// Of two routes with the same path.
    fn changes(&self, before: &Self) -> Vec<&'static str> {
        let Self {
            path: _,
            upstream,
            key,
            profile,
            replay_refresh,
            replay_blip,
            blip_1006,
            grace,
            grace_open,
            max_message,
            log_bytes,
            log_messages,
            overflow,
            slow_reader,
            max_fragments,
            acks,
            fights,
            bind,
            auth_request,
            auth_subject,
            foreign,
            subprotocol,
        } = self;
        differing([
            ("upstream", *upstream != before.upstream),
            ("key", *key != before.key),
            ("profile", *profile != before.profile),
            ("replay_refresh", *replay_refresh != before.replay_refresh),
            ("replay_blip", *replay_blip != before.replay_blip),
            ("blip", *blip_1006 != before.blip_1006),
            ("grace", (*grace, *grace_open) != (before.grace, before.grace_open)),
            ("max_message", *max_message != before.max_message),
            ("log_bytes", *log_bytes != before.log_bytes),
            ("log_messages", *log_messages != before.log_messages),
            ("overflow", *overflow != before.overflow),
            ("slow_reader", *slow_reader != before.slow_reader),
            ("max_fragments", *max_fragments != before.max_fragments),
            ("acks", *acks != before.acks),
            ("fights", *fights != before.fights),
            ("bind", *bind != before.bind),
            ("auth_request", *auth_request != before.auth_request),
            ("auth_subject", *auth_subject != before.auth_subject),
            ("foreign", *foreign != before.foreign),
            ("subprotocol", *subprotocol != before.subprotocol),
        ])
    }
}

fn differing<const N: usize>(settings: [(&'static str, bool); N]) -> Vec<&'static str> {
    let differing = settings.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::{PathPattern, Upstream};
    use crate::profile::Profile;

    fn plain() -> Config {
        Config::plain(([127, 0, 0, 1], 8080).into(), Upstream::Tcp("127.0.0.1:8000".into()))
    }

    fn with_routes(paths: &[&str]) -> Config {
        let mut config = plain();
        let upstream = config.upstream.clone();
        let route = |path: &&str| Route::one_to_one(PathPattern::parse(path).unwrap(), upstream.clone()).into();
        config.routes = paths.iter().map(route).collect();
        config
    }

    #[test]
    fn settings_are_told_by_their_names() {
        let (before, mut after) = (with_routes(&["/a"]), with_routes(&["/a"]));
        assert!(after.changes(&before).is_empty());
        after.allow_origins = vec!["https://a".parse().unwrap()];
        after.limits.max_pending += 1;
        let route = Arc::get_mut(&mut after.routes[0]).unwrap();
        route.grace_open += Duration::from_secs(1);
        route.profile = Profile::parse("[[rule]]\nfrom = \"server\"\ntext = \"^a\"\nrole = \"ignore\"").unwrap();
        assert_eq!(
            after.changes(&before),
            ["allow_origin", "max_pending", "route /a: profile", "route /a: grace"]
        );
        // rules are compared, and a regular expression by how it is written
        let mut other = after.clone();
        assert!(other.changes(&after).is_empty());
        let text = "[[rule]]\nfrom = \"server\"\ntext = \"^b\"\nrole = \"ignore\"";
        Arc::make_mut(&mut other.routes[0]).profile = Profile::parse(text).unwrap();
        assert_eq!(other.changes(&after), ["route /a: profile"]);
    }

    #[test]
    fn routes_come_and_go_and_their_order_counts() {
        let before = with_routes(&["/a", "/b", "/c"]);
        let told = |paths: &[&str]| with_routes(paths).changes(&before);
        assert_eq!(told(&["/a", "/new", "/c"]), ["route /new is new", "route /b is gone"]);
        assert_eq!(told(&["/b", "/c", "/a"]), ["the order of routes"]);
    }

    #[test]
    fn what_cannot_change_is_kept_and_goes_together_with_the_rest() {
        let running = plain();
        let mut config = Config::plain(([127, 0, 0, 1], 9090).into(), running.upstream.clone());
        config.record = Some("capture".into());
        config.health = Some(([127, 0, 0, 1], 8081).into());
        assert_eq!(config.keep(&running).unwrap(), ["listen", "health", "record"]);
        assert!(config.changes(&running).is_empty());
        // where it listens stays, so that would be the agent server
        let mut own = Config::plain(([127, 0, 0, 1], 9090).into(), Upstream::Tcp("127.0.0.1:8080".into()));
        let refused = own.keep(&running).unwrap_err().to_string();
        assert_eq!(
            refused,
            "upstream = \"http://127.0.0.1:8080\": is where sessmux itself listens"
        );
    }
}
