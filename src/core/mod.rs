//! The session's state machine: pure. No sockets, no clock, no I/O; events and `now` go in, what to do comes out, and
//! the next deadline can be asked.
//!
//! [`session::Session`] holds one session's state: its replay [`log`], the attachment with its epoch and what it has
//! yet to be sent ([`outgoing`]), its open [`prompts`], the [`proofs`] that were
//! used up, its pages' [`requests`], what its browser acknowledged ([`acks`]), why pages left ([`cause`]), takeover
//! [`fights`], and how the session ends ([`close`]). [`frame`] knows WebSocket frame headers.

pub mod acks;
pub mod cause;
pub mod close;
mod deadlines;
pub mod fights;
pub mod frame;
pub mod log;
pub mod outgoing;
mod policy;
pub mod prompts;
pub mod proofs;
pub mod requests;
pub mod session;

pub use policy::{Overflow, Policy, ReplayMode};
