//! Placeholder until the walking skeleton stands.
