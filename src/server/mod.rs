//! The listener's side: HTTP in and out, the upgrade, the gate.

pub mod body;
pub mod cookie;
pub mod gate;
pub mod headers;
pub mod key;
pub mod pages;
pub mod pass;
