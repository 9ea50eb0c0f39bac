//! What is left of a route in a tunnel.

use super::{Foreign, Route};
use crate::profile::Profile;

impl Route {
    /// The route of a connection of its own: nothing is looked into, and nobody comes back to it.
    #[must_use]
    pub fn tunnelled(&self) -> Self {
        Self {
            key: Vec::new(),
            profile: match self.foreign {
                Foreign::Separate => Profile::default(),
                Foreign::Refuse => self.profile.in_tunnel(),
            },
            ..self.clone()
        }
    }
}
