//! What has to hold of bytes from anywhere: one function for each fuzz target, which panics where it does not hold.
//!
//! Each holds the code against something else that reads the same bytes, or against what must come out the same when
//! they come in another way. A normal test runs them over the kept inputs (`main.rs` beside this folder), libFuzzer over
//! whatever it makes of those (`targets`).
#![allow(unreachable_pub, reason = "a test's modules and a library's are not the same crate")]

pub mod capture;
pub mod config;
pub mod frames;
pub mod framing;
pub mod heads;
pub mod hello;
pub mod json;
pub mod log;
pub mod profiles;
pub mod session;

/// Panics where what has to hold of an input does not.
pub type Check = fn(&[u8]);

/// Every target with its name.
pub const ALL: [(&str, Check); 10] = [
    ("capture", capture::check),
    ("config", config::check),
    ("frames", frames::check),
    ("framing", framing::check),
    ("heads", heads::check),
    ("hello", hello::check),
    ("json", json::check),
    ("log", log::check),
    ("profiles", profiles::check),
    ("session", session::check),
];
