//! As many file descriptors as limits come to: what systems grant by default is far from what they allow.

use crate::config::Limits;

/// Asks for them; a warning says where they are not granted.
pub fn allow(limits: &Limits) {
    let wanted = limits.files();
    match rlimit::increase_nofile_limit(wanted) {
        Ok(granted) if granted < wanted => {
            tracing::warn!(
                granted,
                wanted,
                "too few file descriptors for max_connections and max_sessions"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(cause = %error, "cannot raise the limit of file descriptors"),
    }
}
