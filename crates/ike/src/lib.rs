//! The IKEv2 negotiator of one peer: datagrams, commands and ticks in, one ordered queue of effects out.
//!
//! [`Endpoint`] holds everything IKE about one configured peer: attempts, established IKE SAs, rekeys, the
//! child SA. It follows RFC 7296 as initiator and as responder. It never reads a clock, opens a socket or
//! touches a packet of the tunnel: time, randomness and datagrams are arguments, and what has to happen
//! comes out of [`Endpoint::poll_output`] in the order in which it must happen. [`wire`] is the syntax of
//! messages, [`crypto`] the algorithms; neither decides anything.
#![forbid(unsafe_code)]

pub mod crypto;
pub mod wire;

mod auth;
pub mod certificate;
mod config;
mod connect;
mod endpoint;
mod error;
mod expose;
mod fragment;
mod home;
mod input;
mod message;
mod negotiate;
mod output;
mod receive;
mod report;
mod sa;
mod status;
mod timer;
mod window;

pub use config::{
    Backoff, Config, Credentials, EarlyRekey, EspCipher, EspProposal, Identity, IkeProposal, Lifetime,
    Limits, Liveness, Ppk, Retransmit, Selection, Startup,
};
pub use endpoint::Endpoint;
pub use error::{DropReason, Failure, PpkProblem, Stage};
pub use expose::ExposedKeys;
pub use input::{Command, Input};
pub use output::{ChildId, ChildSa, CloseReason, Notice, Output, Transmit};
pub use status::{ChildState, ChildStatus, Drops, IkeState, IkeStatus, Phase, Role, Status};
pub use timer::Timer;
