//! The listener's certificate and key, read again whenever their files change.

use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;
use std::{fs, io};

use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::{Error, InconsistentKeys, ServerConfig};

use super::stream::TlsStream;
use super::{ALPN, certificates, provider, unreadable, unusable};
use crate::config::{ConfigError, TlsFiles};

/// How often the files are read: soon enough for whoever waits and watches, and certificates are renewed days before
/// they end. Contents are compared, since a mounted secret changes by a link to another folder and keeps its times.
const POLL: Duration = Duration::from_secs(2);

const CERT: &str = "tls_cert";
const KEY: &str = "tls_key";

/// See the module.
#[derive(Debug)]
pub struct Identity(RwLock<Current>);

/// What is in use.
#[derive(Debug, Clone)]
struct Current {
    files: TlsFiles,
    /// Of the files' contents.
    digest: [u8; 32],
    config: Arc<ServerConfig>,
}

/// What the files hold, not yet understood.
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// The setting whose file cannot be used.
    pub fn load(files: TlsFiles) -> Result<Self, ConfigError> {
        let contents = Contents::read(&files)?;
        Ok(Self(RwLock::new(Current {
            digest: contents.digest(),
            config: Arc::new(contents.config(&files)?),
            files,
        })))
    }

    /// Has what `other` shows be shown from here on, and follows its files; returns whether they hold something else.
    pub(crate) fn replace(&self, other: Self) -> bool {
        let new = other.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut current = self.write();
        let differs = new.digest != current.digest;
        *current = new;
        differs
    }

    /// Makes the handshake with a client, which is shown what holds now; connections that stand keep what they were
    /// shown.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream> {
        let stream = TlsAcceptor::from(self.current().config).accept(stream).await?;
        Ok(TlsStream::new(stream.into()))
    }

    /// Follows the files, without end. A pair that cannot be used changes nothing, is logged once, and tried again:
    /// it may be half written.
    pub async fn watch(self: Arc<Self>) {
        let mut told = None;
        loop {
            sleep(POLL).await;
            let Current { files, digest, .. } = self.current();
            let looked_at = files.clone();
            let looked = spawn_blocking(move || look(&looked_at, &digest)).await;
            // it was cancelled, as the runtime ends
            let Ok(looked) = looked else { return };
            match looked {
                Ok(None) => told = None,
                Ok(Some((digest, config))) => {
                    told = None;
                    let mut current = self.write();
                    // a reload may have named others meanwhile
                    if current.files == files {
                        (current.digest, current.config) = (digest, Arc::new(config));
                        tracing::info!(tls_cert = %files.cert.display(), "new certificate");
                    }
                }
                Err(error) => {
                    if told.as_ref() != Some(&error) {
                        tracing::warn!("{error}; the certificate before it stays");
                    }
                    told = Some(error);
                }
            }
        }
    }

    fn current(&self) -> Current {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Current> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the files come to, unless they are what is in use.
fn look(files: &TlsFiles, used: &[u8; 32]) -> Result<Option<([u8; 32], ServerConfig)>, ConfigError> {
    let contents = Contents::read(files)?;
    let digest = contents.digest();
    if digest == *used {
        return Ok(None);
    }
    Ok(Some((digest, contents.config(files)?)))
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, ConfigError> {
        Ok(Self {
            cert: fs::read(&files.cert).map_err(|error| unreadable(CERT, &files.cert, &error))?,
            key: fs::read(&files.key).map_err(|error| unreadable(KEY, &files.key, &error))?,
        })
    }

    /// Tells contents apart; keeping them would keep the key in memory once more.
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update((self.cert.len() as u64).to_be_bytes());
        hash.update(&self.cert);
        hash.update(&self.key);
        hash.finalize().into()
    }

    fn config(&self, files: &TlsFiles) -> Result<ServerConfig, ConfigError> {
        let of_cert = |reason: String| unusable(CERT, &files.cert, reason);
        let of_key = |reason: String| unusable(KEY, &files.key, reason);
        let chain = certificates(&self.cert).map_err(of_cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound => of_key("the file has no private key in PEM, or an encrypted one".into()),
            error => of_key(format!("the file is not PEM: {error}")),
        })?;
        let made = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = made.and_then(|made| made).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                of_key("the key does not belong to the certificate in tls_cert".into())
            }
            Error::InvalidCertificate(why) => of_cert(format!("the certificate cannot be used: {why}")),
            error => of_key(error.to_string()),
        })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }
}
