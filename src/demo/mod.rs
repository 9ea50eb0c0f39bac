//! `sessmux demo`: an agent server of our own, so that one reload shows what sessmux is for.

mod agent;
mod conversation;
mod counts;
mod page;
mod script;

pub use agent::Agent;
