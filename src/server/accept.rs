//! The listener, its connections, and their end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::hold::{Hold, Talk, Wire};
use super::listen::listen;
use super::live::Live;
use super::request::{Peer, Shared};
use super::secure;
use crate::capture::Recorder;
use crate::config::{Config, Limits};
use crate::metrics::{Metrics, Rule};
use crate::session::quota::Place;
use crate::session::registry::Sessions;
use crate::session::seldom::Seldom;
use crate::shutdown::Shutdown;
use crate::systemd;
use crate::transport::tls::Tls;

/// Connections that are accepted in a row, of many that come at once, before sessions get their turn.
const IN_A_ROW: usize = 4;
/// How long accepting rests after an error, which is mostly a lack of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How often it is looked whether the client of an answer that rests is still there.
const LOOK: Duration = Duration::from_secs(5);
/// How long sessions and connections may take to end once sessmux stops.
const STOP_TIME: Duration = Duration::from_secs(5);

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    pub(super) shared: Arc<Shared>,
}

impl Server {
    /// Binds the listener; nothing is accepted yet.
    ///
    /// # Errors
    ///
    /// What the system says of `config.listen`, or what is wrong with the files that it names for TLS.
    pub async fn bind(config: Config) -> io::Result<Self> {
        let tls = Tls::load(&config).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Self::bind_with(config, tls, None).await
    }

    /// As [`Self::bind`] with what was loaded for this configuration; the recorder hears all sessions.
    ///
    /// # Errors
    ///
    /// What the system says of `config.listen`.
    #[expect(clippy::unused_async, reason = "a tokio socket needs a runtime")]
    pub async fn bind_with(config: Config, tls: Tls, recorder: Option<Recorder>) -> io::Result<Self> {
        let listener = listen(config.listen)?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            shared: Arc::new(Shared::new(config, tls, recorder, address)),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// The sessions that it has.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        self.shared.sessions.clone()
    }

    /// Serves until it is asked to drain, and then sessions that there are already, until they have ended, the drain's
    /// time is over, or it is asked to stop. Then it tells pages to come back, closes upstreams in order, and returns
    /// when all have ended: answers under way have what is left of the drain's time, and everything 5 s more.
    pub async fn run(self, shutdown: impl Into<Shutdown>) {
        let Shutdown { drain, stop } = shutdown.into();
        let ending = CancellationToken::new();
        if let Some(identity) = self.shared.identity.clone() {
            let watching = ending.clone().run_until_cancelled_owned(identity.watch());
            self.shared.tracker.spawn(watching);
        }
        let began = tokio::select! {
            never = self.accept(&ending) => match never {},
            began = self.drained(&drain, &stop) => began,
        };
        let Self { listener, shared } = self;
        drop(listener);
        ending.cancel();
        shared.sessions.shut_down();
        shared.tracker.close();
        let late = async {
            tokio::select! {
                () = drain_over(&shared, began) => {}
                () = stop.cancelled() => {}
            }
            sleep(STOP_TIME).await;
        };
        tokio::select! {
            () = shared.tracker.wait() => {}
            () = late => tracing::warn!(left = shared.tracker.len(), "stopped with connections still open"),
        }
    }

    /// Returns once no session is to be waited for any more, with when the drain began.
    async fn drained(&self, drain: &CancellationToken, stop: &CancellationToken) -> Instant {
        drain.cancelled().await;
        systemd::stopping();
        let (began, sessions) = (Instant::now(), &self.shared.sessions);
        let timeout = || self.shared.live().config.drain_timeout;
        if !stop.is_cancelled() && !timeout().is_zero() {
            sessions.drain();
            let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            self.shared.metrics.drain_started.set(since.as_secs_f64());
            tracing::info!(
                sessions = sessions.live(), drain_timeout = ?timeout(),
                "draining: no new sessions, and those that there are may go on; another SIGTERM hurries"
            );
            tokio::select! {
                () = sessions.all_ended() => tracing::info!("drained"),
                () = drain_over(&self.shared, began) => {}
                () = stop.cancelled() => {}
            }
        }
        let cut = sessions.live();
        if cut > 0 {
            self.shared.metrics.cut.inc_by(cut as u64);
            tracing::warn!(
                cut, drain_timeout = ?timeout(), "sessions had not ended: their pages are told to come back"
            );
        }
        began
    }

    /// Accepts without end.
    async fn accept(&self, ending: &CancellationToken) -> Infallible {
        let (mut accepted, mut failed) = (0_usize, Seldom::default());
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    self.admit(stream, address, ending);
                    accepted = accepted.wrapping_add(1);
                    if accepted.is_multiple_of(IN_A_ROW) {
                        // behind whoever has something to do by then
                        yield_now().await;
                    }
                }
                Err(error) => {
                    if let Some(unlogged) = failed.happened(Instant::now().into_std()) {
                        let max_connections = self.shared.live().config.limits.max_connections;
                        tracing::warn!(cause = %error, max_connections, unlogged, "cannot accept");
                    }
                    sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    /// Serves a connection, if there is a place for one.
    fn admit(&self, stream: TcpStream, address: SocketAddr, ending: &CancellationToken) {
        let live = self.shared.live();
        match self
            .shared
            .limits
            .connection(address.ip(), &live.config.trusted_proxies)
        {
            Ok(place) => {
                let (shared, ending) = (Arc::clone(&self.shared), ending.clone());
                // boxed, for it is large, and on its way into its task is moved five times
                let serving = Box::pin(serve(stream, address, place, shared, live, ending));
                self.shared.tracker.spawn(serving);
            }
            Err(limit) => {
                self.shared.limits.refused(address.ip(), limit);
                // by TLS this could not be told without work
                if self.shared.identity.is_none() {
                    // into an empty buffer, so it need not be waited for
                    let _ = stream.try_write(TOO_MANY);
                }
            }
        }
    }
}

/// What a connection is told that is one too many.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Returns when a drain that began then has had its time, as the configuration has it by now.
async fn drain_over(shared: &Shared, began: Instant) {
    loop {
        let left = shared.live().config.drain_timeout.saturating_sub(began.elapsed());
        if left.is_zero() {
            return;
        }
        tokio::select! {
            () = sleep(left) => {}
            () = shared.reloaded.notified() => {}
        }
    }
}

/// Serves one connection until it ends or becomes a session's; then it gives up its place.
async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    place: Place<IpAddr>,
    shared: Arc<Shared>,
    live: Arc<Live>,
    shutdown: CancellationToken,
) {
    let secured = shutdown.run_until_cancelled(secure::socket(
        stream,
        address,
        &shared,
        live.config.limits.head_timeout,
    ));
    let Some(Some(socket)) = secured.await else { return };
    let wire = Arc::new(Wire::default());
    let limits = live.config.limits.clone();
    // a connection may outlive it
    drop(live);
    let hold = Hold::new(socket, Arc::clone(&wire), limits.max_head);
    let io = TokioIo::new(hold);
    let (talk, serving) = (Arc::clone(&wire), Arc::clone(&shared));
    let service = service_fn(move |request| {
        wire.ask();
        let peer = Peer {
            address,
            client: address.ip(),
            https: false,
        };
        let (shared, wire) = (Arc::clone(&serving), Arc::clone(&wire));
        // boxed, so that a connection that is idle keeps nothing of it
        Box::pin(async move { Ok::<_, Infallible>(shared.answer(peer, &wire, request).await) })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // it begins to run when a connection waits for its next request, and it runs on while a head comes
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(limits.max_head)
        .preserve_header_case(true)
        .serve_connection(io, service);
    let ended = tokio::select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
        why = overdue(&talk, limits.head_timeout) => {
            match why {
                Overdue::Head => {
                    shared.metrics.refused(Rule::HeadTimeout);
                    let head_timeout = limits.head_timeout;
                    tracing::info!(client = %address, ?head_timeout, cause = late(talk.talk()), "closed");
                }
                Overdue::Client => tracing::debug!(client = %address, "connection ended: the client left"),
            }
            return;
        }
        () = shutdown.cancelled() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    let Parts { io, read_buf, .. } = connection.into_parts();
    let Some(released) = io.into_inner().release() else {
        return;
    };
    if let Err(error) = ended {
        report(address, &error, &talk, &shared, &limits);
    } else if let Some(arrival) = talk.brought() {
        drop(place);
        // boxed, for a connection has long been something else
        return Box::pin(arrival.arrive(released, &read_buf)).await;
    }
    Box::pin(secure::close(released.socket)).await;
}

/// Why a connection is not waited for any longer.
enum Overdue {
    /// The time for its first head is over, and that has not come. Whoever has asked once is an idle connection, at no
    /// greater cost with half a head than with none.
    Head,
    /// The client left amid an answer. hyper sees that of those that sent nothing beyond their request.
    Client,
}

/// Ends when a connection is overdue, its first head in `time`.
async fn overdue(wire: &Wire, time: Duration) -> Overdue {
    sleep(time).await;
    if !wire.has_asked() {
        return Overdue::Head;
    }
    loop {
        sleep(LOOK).await;
        if wire.is_left() {
            return Overdue::Client;
        }
    }
}

/// What a connection that was closed for its silence has not done.
fn late(talk: Talk) -> &'static str {
    match talk {
        Talk::Silent => "no request came in time",
        _ => "a request head was not whole in time",
    }
}

/// A client that broke the protocol or let us wait has its line; one that left is its own affair.
fn report(client: SocketAddr, error: &hyper::Error, wire: &Wire, shared: &Shared, limits: &Limits) {
    match wire.talk() {
        _ if error.is_parse() => {
            let too_large = error.is_parse_too_large();
            let many = too_large && wire.is_head_whole();
            let max_head = (too_large && !many).then_some(limits.max_head);
            let rule = max_head.map_or(Rule::Request, |_| Rule::MaxHead);
            shared.metrics.refused(rule);
            let fault = wire.fault().or(many.then_some("more than 100 fields in a head"));
            tracing::info!(%client, cause = %error, fault, max_head, "bad request");
        }
        talk @ (Talk::Silent | Talk::Heard) if error.is_timeout() => {
            shared.metrics.refused(Rule::HeadTimeout);
            let idle_timeout = limits.idle_timeout;
            tracing::info!(%client, ?idle_timeout, cause = late(talk), "closed");
        }
        _ => {
            // hyper's own words name the kind only
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::debug!(%client, %error, cause, "connection ended");
        }
    }
}
