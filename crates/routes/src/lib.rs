//! The route manager: which tunnel each remote prefix leaves by, and which kernel routes that takes.
//!
//! Three pure steps, each readable on its own: [`egress`] chooses a tunnel from what is known about the
//! candidates; [`desired`] turns tunnels and prefixes into the set of routes we want, refusing the dangerous
//! ones; [`mod@plan`] compares that set with what the kernel has and gives an ordered list of changes.
//!
//! It never talks to the kernel (the shell translates a [`Change`] into netlink), never touches a route that
//! does not carry [`PROTOCOL`], never makes a default route unless it was asked to, and never makes a route
//! that would swallow the packets which carry the tunnels themselves.
#![forbid(unsafe_code)]

pub mod dampening;
pub mod desired;
pub mod egress;
pub mod observed;
pub mod plan;
pub mod route;
pub mod rule;

pub use desired::{Desired, Outcome, Policy, Prefixes, Refusal, RefusalReason, Tunnel, build};
pub use egress::{Arrival, Candidate, Decision, Despite, PathAttributes, Previous, Reason, choose};
pub use observed::Observed;
pub use plan::{Change, Conflict, ConflictEffect, Plan, cleanup, plan};
pub use route::{METRIC_WORST, NextHop, PROTOCOL, Route, RouteKey, TABLE_MAIN};
pub use rule::{Rule, RuleChange, plan_rules};
