//! `cgwd`, the customer gateway daemon and its command line in one binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    cgwd::cli::main()
}
