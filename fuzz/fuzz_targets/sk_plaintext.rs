//! The inside of an encrypted payload; see `crates/ike/tests/support/sk_plaintext.rs`.
//!
//! `cargo +nightly fuzz run sk_plaintext`
#![no_main]

#[path = "../../crates/ike/tests/support/sk_plaintext.rs"]
mod sk_plaintext;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| sk_plaintext::run(input));
