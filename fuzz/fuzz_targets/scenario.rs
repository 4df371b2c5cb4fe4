//! Whole scenarios decoded from octets against two endpoints; see `crates/ike/tests/support/scenario.rs`.
//!
//! `cargo +nightly fuzz run scenario`
#![no_main]

#[path = "../../crates/ike/tests/support/scenario.rs"]
mod scenario;
#[path = "../../crates/ike/tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| scenario::run(input));
