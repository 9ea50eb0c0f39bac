//! TLS of both legs: the listener's certificate, the roots that agent servers are judged by, and the streams.

mod identity;
mod own;
mod roots;
mod stream;

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::config::{Config, ConfigError, ConfigErrors};

pub use identity::Identity;
pub use roots::Roots;
pub use stream::TlsStream;

/// The only protocol that is spoken inside (RFC 7301): WebSockets over HTTP/2 are another thing (RFC 8441).
const ALPN: &[u8] = b"http/1.1";

/// What the files that a configuration names for TLS come to.
#[derive(Debug)]
pub struct Tls {
    /// What the listener shows, where it speaks TLS.
    pub identity: Option<Identity>,
    /// Who may vouch for agent servers.
    pub roots: Roots,
}

impl Tls {
    /// Reads the files; nothing else happens.
    ///
    /// # Errors
    ///
    /// Each setting whose file cannot be used.
    pub fn load(config: &Config) -> Result<Self, ConfigErrors> {
        let identity = config.tls.clone().map(Identity::load).transpose();
        let roots = Roots::load(config);
        match (identity, roots) {
            (Ok(identity), Ok(roots)) => Ok(Self { identity, roots }),
            (identity, roots) => Err(ConfigErrors(identity.err().into_iter().chain(roots.err()).collect())),
        }
    }
}

/// Named rather than left to the process: it would be chosen by what any dependency happens to switch on.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificates of a PEM file, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|error| format!("the file is not PEM: {error}"))?;
    if certificates.is_empty() {
        return Err("the file has no certificate in PEM".into());
    }
    Ok(certificates)
}

fn unusable(field: &str, path: &Path, reason: impl Into<String>) -> ConfigError {
    ConfigError {
        field: field.into(),
        value: Some(path.display().to_string()),
        reason: reason.into(),
    }
}

fn unreadable(field: &str, path: &Path, error: &io::Error) -> ConfigError {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        _ => format!("the file cannot be read: {error}"),
    };
    unusable(field, path, reason)
}
