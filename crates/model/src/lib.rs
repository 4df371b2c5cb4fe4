//! The vocabulary every crate shares: time, SPIs, traffic selectors, ESP suites, key material, randomness.
//!
//! It holds values and the rules that make them valid; it never does input or output, never reads a clock,
//! and knows no protocol message. Terms follow RFC 4301, RFC 4303 and RFC 7296.
#![forbid(unsafe_code)]

mod rng;
mod secret;
mod selector;
mod spi;
mod suite;
mod time;

pub use rng::SecureRng;
pub use secret::{EspKeys, Secret};
pub use selector::{InvalidSelector, TrafficSelector};
pub use spi::{IkeSpi, Spi};
pub use suite::{Encapsulation, EspIntegrity, EspSuite, EspTransform, KeyBits};
pub use time::Instant;
