//! The route that a profile makes by itself, for captures that are run through it.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use super::load::Loader;
use super::settings::{Layer, Place};
use super::table::setting;
use super::{Config, ConfigErrors, Route, check};

impl Route {
    /// What `--profile NAME` comes to where nothing else is configured; `name` is a built-in profile's, or a file's.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the profile.
    pub fn of_profile(name: &str) -> Result<Arc<Self>, ConfigErrors> {
        let mut layer = Layer::default();
        // nobody is dialled
        for (known, value) in [("profile", name), ("upstream", "http://127.0.0.1:1")] {
            if let Some(setting) = setting(known) {
                layer.set(setting, vec![value.to_owned()], Place::File);
            }
        }
        let mut loader = Loader {
            base: PathBuf::new(),
            errors: Vec::new(),
        };
        let route = Arc::new(loader.route(None, &[&layer]));
        if loader.errors.is_empty() {
            let config = Config {
                routes: vec![Arc::clone(&route)],
                ..Config::plain((Ipv4Addr::LOCALHOST, 0).into(), route.upstream.clone())
            };
            loader.errors = check::contradictions(&config, false);
        }
        if loader.errors.is_empty() {
            Ok(route)
        } else {
            Err(ConfigErrors(loader.errors))
        }
    }
}
