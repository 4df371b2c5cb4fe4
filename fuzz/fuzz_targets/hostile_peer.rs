//! A peer with the keys and bad intentions; see `crates/ike/tests/support/hostile_peer.rs`.
//!
//! `cargo +nightly fuzz run hostile_peer`
#![no_main]

#[path = "../../crates/ike/tests/support/hostile_peer.rs"]
mod hostile_peer;
#[path = "../../crates/ike/tests/support/script.rs"]
mod script;
#[path = "../../crates/ike/tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| hostile_peer::run(input));
