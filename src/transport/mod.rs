//! Bytes: dialling, sockets, TLS, WebSocket frames. Nothing here knows of sessions.

pub mod dial;
pub(crate) mod fields;
pub mod reader;
pub mod socket;
pub mod tls;
mod utf8;
