//! Bytes: dialling, sockets, WebSocket frames. Nothing here knows of sessions.

pub mod dial;
pub(crate) mod fields;
pub mod socket;
