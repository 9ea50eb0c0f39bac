//! Bytes: dialling, sockets, WebSocket frames. Nothing here knows of sessions.

pub mod dial;
pub mod reader;
pub mod socket;
mod utf8;
