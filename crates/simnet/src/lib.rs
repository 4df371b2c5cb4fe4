//! Deterministic simulation of nodes that exchange datagrams: virtual time, seeded links, NAT, partitions.
//!
//! For tests only. A [`World`] always does the earliest thing next: the arrival of a packet or a node's
//! time-out; it feeds that one thing, collects what the node sends, and repeats. Everything random comes from
//! one master seed, forked once for each user of randomness, so that a run is repeated by its seed alone. It
//! knows no protocol, reads no clock and opens no socket.
#![forbid(unsafe_code)]

mod link;
mod nat;
mod pcap;
mod rng;
mod world;

pub use link::{Fate, Link};
pub use nat::Nat;
pub use pcap::pcap;
pub use rng::SimRng;
pub use world::{Happening, Node, Packet, World};
