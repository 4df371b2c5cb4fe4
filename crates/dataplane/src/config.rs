//! What the caller says, in values.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use model::{Encapsulation, EspKeys, EspSuite, Spi, TrafficSelector};

/// One tunnel: its TUN interface and its outside addresses. It outlives every SA.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    /// The name for threads and messages (`tunnel1`).
    pub name: String,
    /// The TUN interface to create (`cgw0`), at most 15 octets.
    pub interface: String,
    /// MTU of the TUN interface, in octets of inner packet.
    pub mtu: u16,
    /// Our inside addresses with their prefix lengths, put on the interface.
    pub inside: Vec<IpNet>,
    /// Whose echo replies are handed up instead of being written to the TUN.
    pub probe: Option<ProbeAddresses>,
    /// Our outside address, with the port for UDP encapsulation (4500).
    pub local: SocketAddr,
    /// The peer's outside address, with its port for UDP encapsulation (4500).
    pub remote: SocketAddr,
    /// Clear DF on inner IPv4 packets and fragment them before encryption, rather than answering ICMP.
    pub clear_df: bool,
    /// Lower the MSS of TCP SYNs, in both directions, to what fits the tunnel.
    pub clamp_mss: bool,
    /// Size of the replay window in packets (AWS: 64-2048).
    pub replay_window: u32,
    /// Largest outer packet the path takes, in octets.
    pub path_mtu: u16,
    /// What may be used where the kernel offers it.
    pub offload: OffloadSwitches,
}

/// An ICMP echo that the daemon sends through the tunnel to see whether it carries traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeAddresses {
    /// Our inside address, the destination of the replies.
    pub local: IpAddr,
    /// The peer's inside address, the source of the replies.
    pub remote: IpAddr,
    /// ICMP identifier that is ours alone.
    pub identifier: u16,
}

/// What may be used; each is still probed, and given up when the kernel fails at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffloadSwitches {
    /// TCP and UDP super-packets from and to the TUN.
    pub tun: bool,
    /// Several ESP packets with one send (`UDP_SEGMENT`).
    pub udp_gso: bool,
    /// Several ESP packets with one receive (`UDP_GRO`).
    pub udp_gro: bool,
}

impl Default for OffloadSwitches {
    fn default() -> Self {
        Self { tun: true, udp_gso: true, udp_gro: true }
    }
}

impl OffloadSwitches {
    /// Everything off: the plain path.
    pub const NONE: Self = Self { tun: false, udp_gso: false, udp_gro: false };
}

/// One child SA, both directions, as IKE negotiated it.
#[derive(Clone, Debug)]
pub struct Child {
    /// Never used twice on one tunnel.
    pub id: u64,
    /// SPI of packets to us.
    pub spi_in: Spi,
    /// SPI of packets to the peer.
    pub spi_out: Spi,
    /// Algorithms and sequence number size.
    pub suite: EspSuite,
    /// Keys of packets to us.
    pub keys_in: EspKeys,
    /// Keys of packets to the peer.
    pub keys_out: EspKeys,
    /// What may lie on our side.
    pub ts_local: Vec<TrafficSelector>,
    /// What may lie on the peer's side.
    pub ts_remote: Vec<TrafficSelector>,
    /// Our outside address, with the port for UDP encapsulation.
    pub local: SocketAddr,
    /// The peer's outside address, with the port for UDP encapsulation.
    pub remote: SocketAddr,
    /// UDP or protocol 50.
    pub encapsulation: Encapsulation,
    /// Outbound traffic moves to this child at once; otherwise at `activate`.
    pub activate_outbound: bool,
}
