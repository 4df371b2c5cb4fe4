//! A data plane without IKE, driven by lines on standard input, with keys that depend on nothing but a number:
//! the other half of the integration tests, and of `rig bench`, which measures throughput between namespaces.
//!
//! Never for production: anybody can compute the keys.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal and for pipes")]

mod bench;
mod endpoint;
#[path = "../../tests/support/mod.rs"]
mod support;
mod transfer;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["endpoint", rest @ ..] => endpoint::run(rest),
        ["serve", address, octets] => transfer::serve(address, octets),
        ["fetch", address, octets] => transfer::fetch(address, octets),
        ["blast", address, count, size] => transfer::blast(address, count, size),
        ["sink", address, count, size] => transfer::sink(address, count, size),
        ["bench", rest @ ..] => bench::run(rest),
        _ => Err("usage: rig endpoint KEY=VALUE... | serve ADDRESS OCTETS | fetch ADDRESS OCTETS | \
            blast ADDRESS COUNT SIZE | sink ADDRESS COUNT SIZE | bench [SECONDS [KEY=VALUE...]]"
            .into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rig: {error}");
            ExitCode::FAILURE
        }
    }
}
