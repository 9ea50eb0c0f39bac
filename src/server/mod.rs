//! The listener's side: HTTP in and out, the gate, the upgrade.
//!
//! [`Server`] accepts connections; every request goes through the [`gate`], then is either a WebSocket upgrade
//! (`upgrade`: key, session, 101) or plain HTTP that passes through ([`pass`]).

mod accept;
pub mod body;
pub mod cookie;
pub mod gate;
pub mod headers;
mod hold;
pub mod key;
pub mod pages;
pub mod pass;
mod request;
mod upgrade;

pub use accept::Server;
