//! The supervisor: keeps every configured tunnel up for ever, moves routes, and tells people how things stand.
//!
//! It is the shell around the pure cores. `tunnel` and `translate` hold the logic that is worth testing without
//! sockets; `supervisor` is the control loop; `control` the Unix socket; `cli` the commands. It implements no
//! protocol itself: IKE is `ike`'s, ESP `esp`'s and `dataplane`'s, routes are decided by `routes`. A secret never
//! reaches a log, an answer or an event.
#![forbid(unsafe_code)]

pub mod api;
pub mod capture;
pub mod catalog;
pub mod cli;
pub mod control;
pub mod diagnose;
pub mod doctor;
pub mod events;
pub mod history;
pub mod hooks;
pub mod logging;
pub mod metrics;
mod paint;
pub mod supervisor;
pub mod tally;
pub mod translate;
pub mod tunnel;
pub mod web;
