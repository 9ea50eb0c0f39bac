//! Who may vouch for agent servers, and the handshake with them.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::{WantsClientCert, WebPkiServerVerifier};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, ConfigBuilder, Error, InvalidMessage, RootCertStore, WantsVerifier,
};

use super::own::{OwnToo, is_authoritys};
use super::stream::TlsStream;
use super::{ALPN, certificates, provider, unreadable, unusable};
use crate::config::{Config, ConfigError, Upstream};

const CA: &str = "upstream_ca";

/// See the module. There is no way around the check of a certificate: `upstream_ca` is for those that no public
/// authority signed.
#[derive(Debug, Clone)]
pub struct Roots(Arc<ClientConfig>);

impl Roots {
    /// Those of the file `upstream_ca`, else the system's; none where no server is reached by TLS.
    ///
    /// # Errors
    ///
    /// The setting that cannot be met.
    pub fn load(config: &Config) -> Result<Self, ConfigError> {
        match (&config.upstream_ca, config.https_servers().next()) {
            (Some(path), _) => Ok(Self::of(of_file(path)?)),
            (None, Some(server)) => Ok(Self::of(builder().with_root_certificates(of_system(server)?))),
            (None, None) => Ok(Self::default()),
        }
    }

    fn of(verifying: ConfigBuilder<ClientConfig, WantsClientCert>) -> Self {
        let mut config = verifying.with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Self(Arc::new(config))
    }

    /// Makes the handshake with the server at `authority`, whose certificate has to name its host.
    ///
    /// # Errors
    ///
    /// What was wrong, with the setting that matters.
    pub(crate) async fn connect(&self, authority: &str, stream: TcpStream) -> io::Result<TlsStream> {
        let connector = TlsConnector::from(Arc::clone(&self.0));
        let name = server_name(authority).map_err(io::Error::other)?;
        match connector.connect(name, stream).await {
            Ok(stream) => Ok(TlsStream::new(stream.into())),
            Err(error) => Err(io::Error::new(error.kind(), explained(&error))),
        }
    }
}

impl Default for Roots {
    /// None: no server is believed.
    fn default() -> Self {
        Self::of(builder().with_root_certificates(RootCertStore::empty()))
    }
}

/// The name that a certificate has to have for the host of an authority.
///
/// # Errors
///
/// It is no name that a certificate could have.
fn server_name(authority: &str) -> Result<ServerName<'static>, String> {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_matches(['[', ']']);
    ServerName::try_from(host.to_owned()).map_err(|_| format!("no certificate has a name such as {host}"))
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3")
}

fn of_file(path: &Path) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, ConfigError> {
    let pem = fs::read(path).map_err(|error| unreadable(CA, path, &error))?;
    let own = certificates(&pem).map_err(|reason| unusable(CA, path, reason))?;
    let bad = |error: &dyn Display| unusable(CA, path, format!("a certificate cannot be used: {error}"));
    let mut roots = RootCertStore::empty();
    for certificate in &own {
        roots.add(certificate.clone()).map_err(|error| bad(&error))?;
    }
    let usual = WebPkiServerVerifier::builder_with_provider(roots.into(), provider()).build();
    let usual = usual.map_err(|error| bad(&error))?;
    Ok(builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OwnToo { usual, own })))
}

fn of_system(server: &Upstream) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable > 0 {
        return Ok(roots);
    }
    let causes: String = found.errors.iter().map(|error| format!(" ({error})")).collect();
    Err(ConfigError {
        field: CA.into(),
        value: None,
        reason: format!("the system has no roots{causes} to judge {server} by; upstream_ca would name a file of them"),
    })
}

/// Says what is wrong in the words of the settings.
fn explained(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let Some(tls) = inner else {
        return format!("TLS: {error}");
    };
    match tls {
        _ if is_authoritys(tls) => {
            "TLS: its certificate is an authority's own; upstream_ca may name a file that has this one".into()
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "TLS: its certificate comes from no trusted root; upstream_ca names roots in place of the system's".into()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("TLS: {tls}; the https:// URL has to name the host as its certificate does"),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "TLS: it does not speak it; http:// is for plain servers".into()
        }
        _ => format!("TLS: {tls}"),
    }
}
