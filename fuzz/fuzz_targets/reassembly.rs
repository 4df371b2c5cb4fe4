//! Fragments of an authenticated peer in any order, numbering, total and repetition, against a whole endpoint.
//!
//! See `crates/ike/tests/support/reassembly.rs`. `cargo +nightly fuzz run reassembly`
#![no_main]

#[path = "../../crates/ike/tests/support/reassembly.rs"]
mod reassembly;
#[path = "../../crates/ike/tests/support/script.rs"]
mod script;
#[path = "../../crates/ike/tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| reassembly::run(input));
