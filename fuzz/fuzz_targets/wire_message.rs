//! A datagram as it comes from anybody; see `crates/ike/tests/support/wire_message.rs`.
//!
//! `cargo +nightly fuzz run wire_message`
#![no_main]

#[path = "../../crates/ike/tests/support/wire_message.rs"]
mod wire_message;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| wire_message::run(datagram));
