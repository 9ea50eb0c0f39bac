//! Bytes: dialling, sockets, WebSocket frames. Nothing here knows of sessions.

pub mod dial;
pub mod socket;
