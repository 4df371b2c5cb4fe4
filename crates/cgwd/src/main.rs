//! Placeholder until the walking skeleton stands.
fn main() {}
