//! Bytes: dialling, sockets, WebSocket frames. Nothing here knows of sessions.

pub mod dial;
pub(crate) mod fields;
pub mod reader;
pub mod socket;
mod utf8;
