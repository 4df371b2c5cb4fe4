//! Counters, as read by `status` and the metrics.

use esp::DropCounter;
use model::{Encapsulation, Instant, Spi};

/// Packets and octets of inner packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets from the peer.
    pub rx_packets: u64,
    /// Octets from the peer.
    pub rx_bytes: u64,
    /// Packets to the peer.
    pub tx_packets: u64,
    /// Octets to the peer.
    pub tx_bytes: u64,
}

/// Packets dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Wrong integrity check value.
    pub auth: u64,
    /// Seen before, or older than the replay window.
    pub replay: u64,
    /// From the wire: unknown SPI. From the TUN: no SA to send it with.
    pub no_sa: u64,
    /// Truncated, wrong padding, no IP packet inside, ...
    pub malformed: u64,
    /// Larger than the tunnel takes and not to be fragmented; the sender was told by ICMP.
    pub mtu: u64,
    /// No room in a queue or in the kernel's buffers; of the whole tunnel also what the kernel dropped before the
    /// worker saw it, in the socket's receive buffer or in the interface's queue.
    pub queue: u64,
    /// Outside the traffic selectors.
    pub selector: u64,
    /// Congestion marked on a packet that forbids it (RFC 6040 §4.2).
    pub ecn: u64,
    /// The outbound sequence numbers are used up.
    pub exhausted: u64,
    /// The kernel refused to send (no route, interface down, ...).
    pub send: u64,
    /// The kernel refused to take the packet on the TUN.
    pub tun: u64,
    /// Dummy packets (next header 59) of a peer that hides its traffic's shape; normal operation, not a loss.
    pub dummy: u64,
    /// Multicast of link scope that the kernel sends on every interface (MLD, for one); it never leaves its link.
    pub link_scope: u64,
}

impl Drops {
    /// All of them but the dummies and the multicast of link scope, which are no losses.
    pub const fn total(&self) -> u64 {
        self.auth
            + self.replay
            + self.no_sa
            + self.malformed
            + self.mtu
            + self.queue
            + self.selector
            + self.ecn
            + self.exhausted
            + self.send
            + self.tun
    }

    /// The value of one of the six counters of the status document, which fold the finer reasons.
    pub const fn published(&self, counter: DropCounter) -> u64 {
        match counter {
            DropCounter::Auth => self.auth,
            DropCounter::Replay => self.replay,
            DropCounter::NoSa => self.no_sa + self.selector + self.exhausted,
            DropCounter::Malformed => self.malformed,
            DropCounter::Mtu => self.mtu,
            DropCounter::Queue => self.queue + self.ecn + self.send + self.tun,
        }
    }
}

/// One child SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildStats {
    /// The caller's number.
    pub id: u64,
    /// SPI of packets to us.
    pub spi_in: Spi,
    /// SPI of packets to the peer.
    pub spi_out: Spi,
    /// Outbound traffic uses this child.
    pub active: bool,
    /// Packets and octets.
    pub traffic: Traffic,
    /// Drops that belong to this child (auth, replay, malformed, selector, ...).
    pub drops: Drops,
}

/// Whether an offload is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffloadState {
    /// In use.
    On,
    /// Switched off by the configuration.
    #[default]
    Disabled,
    /// The kernel does not offer it; its errno.
    Unavailable(i32),
    /// It worked and then failed; its errno. Not tried again until the tunnel is made anew.
    Failed(i32),
    /// This kernel is known to corrupt packets with it.
    Corrupting,
}

impl std::fmt::Display for OffloadState {
    /// `on`, `disabled`, `unavailable (errno 22)`, `failed (errno 5)` or `corrupting`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Disabled => f.write_str("disabled"),
            Self::Unavailable(errno) => write!(f, "unavailable (errno {errno})"),
            Self::Failed(errno) => write!(f, "failed (errno {errno})"),
            Self::Corrupting => f.write_str("corrupting"),
        }
    }
}

/// State of every offload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OffloadStates {
    /// TCP super-packets from the TUN.
    pub tun_tso: OffloadState,
    /// UDP super-packets from the TUN.
    pub tun_uso: OffloadState,
    /// TCP super-packets written to the TUN.
    pub tun_merge: OffloadState,
    /// UDP super-packets written to the TUN.
    pub tun_merge_udp: OffloadState,
    /// Several ESP packets with one send.
    pub udp_gso: OffloadState,
    /// Several ESP packets with one receive.
    pub udp_gro: OffloadState,
}

impl OffloadStates {
    /// Each with the name that status and metrics call it by.
    pub const fn named(&self) -> [(&'static str, OffloadState); 6] {
        [
            ("tun_tso", self.tun_tso),
            ("tun_uso", self.tun_uso),
            ("tun_merge", self.tun_merge),
            ("tun_merge_udp", self.tun_merge_udp),
            ("udp_gso", self.udp_gso),
            ("udp_gro", self.udp_gro),
        ]
    }
}

impl Calls {
    /// Calls and the packets they moved, by the name of the boundary in the metrics.
    pub const fn named(&self) -> [(&'static str, u64, u64); 4] {
        [
            ("tun_read", self.tun_reads, self.tun_read_packets),
            ("tun_write", self.tun_writes, self.tun_write_packets),
            ("send", self.sends, self.send_packets),
            ("receive", self.receives, self.receive_packets),
        ]
    }
}

/// System calls, and what they moved: packets per call is the measure of every offload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Reads from the TUN that gave something.
    pub tun_reads: u64,
    /// Inner packets they gave, after segmentation.
    pub tun_read_packets: u64,
    /// Writes to the TUN.
    pub tun_writes: u64,
    /// Inner packets they took, before merging.
    pub tun_write_packets: u64,
    /// Sends to the wire.
    pub sends: u64,
    /// ESP packets they took.
    pub send_packets: u64,
    /// Messages received from the wire.
    pub receives: u64,
    /// ESP packets in them.
    pub receive_packets: u64,
}

/// A snapshot of one tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Since the tunnel started, over all its children.
    pub total: Traffic,
    /// Since the tunnel started.
    pub drops: Drops,
    /// The children installed now.
    pub children: Vec<ChildStats>,
    /// When the last authenticated packet came.
    pub last_rx: Option<Instant>,
    /// When the last packet was sent.
    pub last_tx: Option<Instant>,
    /// How the active child travels.
    pub encapsulation: Option<Encapsulation>,
    /// Offloads.
    pub offload: OffloadStates,
    /// System calls.
    pub calls: Calls,
}
