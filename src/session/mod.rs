//! Sessions at work: the [`registry`] that finds or creates them, and the task that owns one.
//!
//! A session's task owns its state machine, its upstream socket and the attached page's socket; a message goes from
//! socket to socket inside it. Everything else reaches it through its [`mailbox`].

pub mod admission;
pub mod attach;
pub mod browser;
pub mod budget;
pub mod description;
mod farewell;
pub mod key;
mod lookalike;
pub mod mailbox;
mod page;
pub mod pending;
pub mod policy;
pub mod query;
pub mod quota;
pub mod rate;
pub mod registry;
mod replaying;
mod scratch;
pub mod seldom;
mod task;
pub mod timeline;
mod upstream;

pub use task::rehearsal;
