//! The only file that knows the codec and state machine crates.
