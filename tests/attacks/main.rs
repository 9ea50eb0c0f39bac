//! Attacks by name: what each tries, and that it gets nowhere while a well-behaved session beside it goes on.

#[path = "../common/mod.rs"]
mod common;

mod beside;
mod cookies;
mod floods;
mod hijack;
mod keys;
mod smuggling;
