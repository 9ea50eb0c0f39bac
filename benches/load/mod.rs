//! What the benches put around a proxy: pages and an agent server that cost little beside it, what a process has used,
//! and charts.
#![allow(dead_code, unreachable_pub, reason = "each bench uses its part of it")]

pub mod agent;
pub mod chart;
pub mod process;
pub mod runs;
pub mod wire;

/// Whether `cargo test --benches` asks only if it builds and runs: there is to be little of everything.
pub fn only_tested() -> bool {
    std::env::args().any(|argument| argument == "--test")
}
