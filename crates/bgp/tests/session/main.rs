//! Two speakers against each other in virtual time, and one speaker against hand-made bytes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod hostile;
mod pair;
mod raw;
mod sim;
