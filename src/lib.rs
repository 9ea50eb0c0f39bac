//! sessmux keeps agent sessions alive across page refreshes: it stands beside an agent server, holds one upstream
//! connection per session, and attaches whichever browser socket is there now.
//!
//! # Layers
//!
//! Imports point down only.
//!
//! ```text
//! main, cli, logging        start-up, commands, exit codes, log lines
//!   operate                 the commands that ask a running sessmux, over HTTP
//!   server, admin, demo     listener, HTTP, upgrade, gate / health and metrics / demo agent
//!   rehearse                captures run through profiles
//!     session               registry and the task that owns a session
//!       capture             recordings of live traffic
//!       transport           dial, TLS, frames <-> sockets
//!       profile             rules -> roles (pure)
//!       core                the state machine (pure)
//! config, metrics, shutdown, systemd  leaves that those above may use; core and profile use none
//! ```
//!
//! # The way of a request
//!
//! [`server::Server`] accepts a connection, if there is a place for one, and hands it to hyper; [`server::framing`] looks at
//! the heads that hyper reads, and what can be read in two ways is refused. Each request passes the [`server::gate`] (Host,
//! Origin) and the limits. What is no WebSocket upgrade goes through [`server::pass`] to the agent server, and [`server::pages`] notes
//! which browser asked for a page and when: that tells a reload from a cut later on. An upgrade finds its route, its
//! owner and its key ([`server::key`]), then its session in [`session::registry`]: creation belongs to the registry's
//! entry, so any number of first attaches dial once, and [`session::admission`] says whether there may be one more. The page's 101 follows the upstream's ([`transport::dial`]); a
//! page that comes back gets its 101 in one write with the start of its replay. Pages whose key or hello is yet to come
//! are [`session::pending`].
//!
//! # The way of a message
//!
//! One task owns a session: its state, its upstream socket and its attached page's socket. It is a hand-written future
//! (`session::task`) that moves bytes from socket to socket; there is no queue between tasks, and writes are polled, so
//! that a stuck browser never holds the upstream reader.
//!
//! [`transport::reader`] finds where frames end and checks them (RFC 6455: masks, bits, lengths, UTF-8). Server frames
//! go as they came into the replay log ([`core::log`]), and *the log is the queue to the page*: an attachment is a
//! cursor into it, so live messages, backlog and replay are one flush. Client messages are held until they are whole,
//! then queued upstream under the mask they came with; from then on they are the session's, whatever becomes of the
//! page. What all of this takes of memory is counted in one [`session::budget`]; where it is too much, the sessions that have
//! most give back first.
//!
//! # The state
//!
//! [`core::session::Session`] is pure: events and times go in, what to do comes out, the next deadline can be asked. It
//! has the epochs (whatever acts for an older one is discarded and counted), the one step in which an attach takes
//! effect, the cause of a detach ([`core::cause`]) and so the replay, acknowledgements by ping ([`core::acks`]),
//! take-over fights, pauses, and the end. `tests/core_model` checks it against a reference model, with generated
//! interleavings; `tests/guarantees` checks the same promises over real sockets.
//!
//! # The rest
//!
//! [`config`] makes one validated [`config::Config`] from defaults, a TOML file, the environment and flags. [`profile`]
//! gives messages their roles by rules. [`capture`] records live traffic beside the relay, and [`rehearse`] runs such a
//! recording through a profile, with the very task that a live session has. [`demo`] is the agent of `sessmux demo`. [`metrics`] counts, and
//! [`admin`] tells an operator, by mail to the sessions' tasks ([`session::mailbox`]): each keeps a bounded
//! [`session::timeline`], and [`session::registry`] keeps what was known of those that ended. [`server::reload`] reads the configuration
//! anew, [`shutdown`] tells when to stop, and [`systemd`] hears of all this.

pub mod admin;
pub mod capture;
pub mod config;
pub mod core;
pub mod demo;
pub mod metrics;
pub mod profile;
pub mod rehearse;
pub mod server;
pub mod session;
pub mod shutdown;
pub mod systemd;
pub mod transport;
