//! The configuration read anew: it holds for what comes from then on, or, where anything is wrong with it, nothing changes.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::request::Shared;
use super::{Server, files};
use crate::config::{Config, ConfigError, ConfigErrors};
use crate::systemd;
use crate::transport::tls::Tls;

/// Reads the configuration of a server anew, from where it came from.
pub struct Reload {
    shared: Arc<Shared>,
    load: Arc<Load>,
    /// One at a time: what is read last is what holds.
    turn: Mutex<()>,
}

type Load = dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync;

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// What is other than before: settings and routes, by name.
    pub changed: Vec<String>,
    /// Settings that differ and hold from the next start on only.
    pub kept: Vec<&'static str>,
    /// Sessions that no page finds any more, because their route has gone or finds by another key or owner.
    pub stranded: usize,
    /// What the operator should know about settings that hold now and did not before.
    pub warnings: Vec<String>,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}

impl Reload {
    /// For this server, whose configuration `load` reads.
    pub fn new(server: &Server, load: impl Fn() -> Result<Config, ConfigErrors> + Send + Sync + 'static) -> Self {
        Self {
            shared: Arc::clone(&server.shared),
            load: Arc::new(load),
            turn: Mutex::new(()),
        }
    }

    /// Reads it, has it hold, and logs what became of it; the service manager hears of it too.
    ///
    /// # Errors
    ///
    /// What is wrong with it; then all is as it was.
    pub async fn run(self: &Arc<Self>) -> Result<Reloaded, ConfigErrors> {
        let this = Arc::clone(self);
        let stopping = self.shared.sessions.stopping().clone();
        // to its end, even if whoever asked leaves: the service manager waits for it
        let told = self.shared.tracker.spawn(async move {
            let told = stopping.run_until_cancelled(this.told()).await;
            told.unwrap_or_else(|| Err(unread("sessmux is stopping".into())))
        });
        told.await.unwrap_or_else(|fault| Err(of_ours(&fault)))
    }

    async fn told(&self) -> Result<Reloaded, ConfigErrors> {
        let _turn = self.turn.lock().await;
        systemd::reloading();
        let reloaded = self.reload().await;
        match &reloaded {
            Ok(reloaded) => reloaded.log(),
            Err(errors) => {
                let causes: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
                tracing::error!(cause = causes.join("; "), "not reloaded: all is as it was");
            }
        }
        systemd::ready();
        reloaded
    }

    async fn reload(&self) -> Result<Reloaded, ConfigErrors> {
        let (before, load) = (self.shared.live(), Arc::clone(&self.load));
        let running = Arc::clone(&before);
        // files may be on a disk that takes its time
        let read = spawn_blocking(move || {
            let mut config = load()?;
            // what holds from the next start on only is to be good as well
            let mut tls = Tls::load(&config)?;
            let kept = config.keep(&running.config)?;
            if kept.contains(&"tls_cert") {
                tls = Tls::load(&config)?;
            }
            Ok((config, tls, kept))
        });
        let (config, tls, kept) = read.await.unwrap_or_else(|fault| Err(of_ours(&fault)))?;
        let mut changed = config.changes(&before.config);
        let warned = before.config.warnings();
        let mut warnings = config.warnings();
        warnings.retain(|it| !warned.contains(it));
        if config.limits.files() > before.config.limits.files() {
            files::allow(&config.limits);
        }
        let stranded = self.shared.sessions.stranded(&config.routes);
        if self.shared.replace(config, tls) && !changed.iter().any(|it| it.starts_with("tls_")) {
            changed.push("the certificate in tls_cert".into());
        }
        Ok(Reloaded {
            changed,
            kept,
            stranded,
            warnings,
        })
    }
}

/// A panic, or the end of the runtime.
fn of_ours(fault: &tokio::task::JoinError) -> ConfigErrors {
    unread(format!("cannot be read, by a fault of sessmux's own: {fault}"))
}

fn unread(reason: String) -> ConfigErrors {
    ConfigErrors(vec![ConfigError {
        field: "config".into(),
        value: None,
        reason,
    }])
}

impl Reloaded {
    fn log(&self) {
        let changed = self.changed.join(", ");
        let stranded = (self.stranded > 0).then_some(self.stranded);
        if changed.is_empty() {
            tracing::info!(
                stranded,
                "reloaded: no setting differs, and the files that they name were read anew"
            );
        } else {
            tracing::info!(changed, stranded, "reloaded");
        }
        if !self.kept.is_empty() {
            let settings = self.kept.join(", ");
            tracing::warn!(settings, "these differ, and hold from the next start on only");
        }
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }
}

/// For the operator who asked, a line each.
impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changed.is_empty() {
            writeln!(f, "reloaded: no setting differs")?;
        } else {
            writeln!(f, "reloaded: {}", self.changed.join(", "))?;
        }
        if !self.kept.is_empty() {
            writeln!(f, "from the next start on only: {}", self.kept.join(", "))?;
        }
        if self.stranded > 0 {
            writeln!(f, "sessions that no page finds any more: {}", self.stranded)?;
        }
        self.warnings
            .iter()
            .try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}
