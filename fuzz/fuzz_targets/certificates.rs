//! Certificates and signatures of a stranger; see `crates/ike/tests/support/certificate_input.rs`.
//!
//! `cargo +nightly fuzz run certificates`
#![no_main]

#[path = "../../crates/ike/tests/support/certificate_input.rs"]
mod certificate_input;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| certificate_input::run(input));
