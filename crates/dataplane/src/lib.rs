//! The data plane: one [`Tunnel`] is a TUN interface, a connected UDP socket (or a raw ESP socket), and two worker
//! threads between them, TUN to wire and wire to TUN.
//!
//! Each worker runs a batch to completion: read, check (RFC 4301 §5), seal or open (RFC 4303), write. It never
//! negotiates, never decides a route, knows no configuration file, allocates nothing and logs nothing per packet.
//! What it cannot handle (IKE, probe replies, exhausted counters) goes up as an [`Event`].
#![forbid(unsafe_code)]

// The build that counts instructions without cryptography must never become a worker.
const _: () = assert!(
    !esp::NULL_AEAD,
    "esp's feature `null-aead` is for counting instructions; packets would be in clear"
);

mod config;
mod counters;
mod deliver;
mod device;
mod early;
mod error;
mod event;
mod heartbeat;
mod inbound;
mod offload;
mod outbound;
mod pace;
mod probe;
mod send;
mod shared;
mod stats;
mod tap;
mod tunnel;
#[cfg(test)]
mod worker_tests;

pub use config::{Child, OffloadSwitches, ProbeAddresses, TunnelConfig};
pub use error::{Error, InjectError};
pub use event::Event;
pub use stats::{Calls, ChildStats, Drops, OffloadState, OffloadStates, Stats, Traffic};
pub use tap::{TAP_BYTES_MAX, TAP_PACKETS_MAX, Tap, TapDirection, Tapped};
pub use tunnel::{MAX_CHILDREN, Tunnel};
