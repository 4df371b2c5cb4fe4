//! One table entry per symptom: what is seen, and the code that must come first.

mod aws;
mod daemon;
mod hosts;
mod order;
mod path;
mod support;
