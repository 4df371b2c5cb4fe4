//! What the workers tell the supervisor.

use std::net::SocketAddr;

use model::{Instant, Spi};

/// Something the supervisor must know. Called from a worker thread: the receiver must be quick and must not call
/// back into the [`crate::Tunnel`].
#[derive(Clone, Debug)]
pub enum Event {
    /// An IKE datagram arrived on the tunnel's connected socket; the non-ESP marker is removed.
    Ike {
        /// Our address and port (4500).
        local: SocketAddr,
        /// The sender.
        remote: SocketAddr,
        /// The IKE message.
        datagram: Vec<u8>,
    },
    /// An authenticated ESP packet arrived: the first of an SA, then at most once a second.
    EspReceived {
        /// The SA.
        spi_in: Spi,
    },
    /// The answer to a probe.
    ProbeReply {
        /// ICMP identifier.
        identifier: u16,
        /// ICMP sequence number.
        sequence: u16,
        /// When it was received.
        received_at: Instant,
        /// What follows the ICMP header.
        payload: Vec<u8>,
    },
    /// The outbound counter of the child with this inbound SPI nears its end: rekey now.
    SequenceNearlyExhausted {
        /// The SA.
        spi_in: Spi,
    },
    /// The kernel learnt another path MTU towards the peer, in octets of outer packet.
    PathMtu {
        /// The new one.
        mtu: u16,
    },
    /// A worker cannot go on (the interface was deleted, a socket died). The tunnel must be made anew.
    Failed {
        /// What happened.
        text: String,
    },
}
