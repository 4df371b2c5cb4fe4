//! An external BGP speaker for one neighbour: session, received routes, policy and decision.
//!
//! It speaks what AWS Site-to-Site VPN needs (RFC 4271, 4760, 2918, 5492, 6793, 7606, 8203/9003) and nothing
//! else: one hop, unicast IPv4 and IPv6, no reflection, no re-advertisement of what was learned. It is sans-IO:
//! the shell owns the TCP connections and the clock, feeds [`Input`] and carries out [`Output`] in order. It
//! never opens a socket, never reads a clock, never panics on a peer's bytes, and never holds more than its
//! named limits.
//!
//! The codec and the connection state machine come from crates.io and are used in one file only (`adapter.rs`;
//! see ADR 0003).
#![forbid(unsafe_code)]

mod adapter;
pub mod config;
pub mod decision;
pub mod explain;
pub mod input;
pub mod output;
pub mod path;
mod rib;
pub mod speaker;
pub mod status;

pub use config::{Config, ConfigError, Family};
pub use explain::{Explanation, explain};
pub use input::{Command, Connection, Input};
pub use output::{Notice, NotificationSeen, Output, RoutesChanged};
pub use path::{AsSegment, Attributes, Origin, Path, Rejection};
pub use speaker::Speaker;
pub use status::{Counters, State, Status, Timer};
