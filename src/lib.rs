//! sessmux keeps agent sessions alive across page refreshes.
//!
//! Layers; imports point down only.
//!
//! ```text
//! main, cli                 start-up, commands, exit codes
//!   server, demo            listener, HTTP, upgrade, gate / demo agent
//!     session               registry and the task that owns a session
//!       transport           dial, frames <-> sockets
//!       profile             rules -> roles (pure)
//!       core                the state machine (pure)
//! config, shutdown          leaves that those above may use; core and profile use neither
//! ```

pub mod config;
pub mod core;
pub mod demo;
pub mod profile;
pub mod server;
pub mod session;
pub mod shutdown;
pub mod transport;
