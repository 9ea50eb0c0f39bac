//! The listener's side: HTTP in and out, the gate, the upgrade.
//!
//! [`Server`] accepts connections; every request goes through the [`gate`], then is either a WebSocket upgrade
//! (`upgrade`: route, 101; `owner`; `newcomer`: key, session; `hello`: what a pending page says first) or plain HTTP that passes through ([`pass`]).

mod accept;
pub mod body;
pub mod client;
pub mod cookie;
pub mod files;
pub mod framing;
pub mod gate;
pub mod headers;
mod hello;
mod hold;
pub mod key;
mod limits;
mod listen;
mod live;
mod newcomer;
mod owner;
pub mod pages;
pub mod pass;
pub mod reload;
mod request;
mod secure;
mod upgrade;

pub use accept::Server;
