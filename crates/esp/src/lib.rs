//! The ESP transform of one tunnel: seal and open packets, replay protection, sequence-number lifetimes,
//! and the rules for the inner packets on their way in and out (MSS, fragmentation, ICMP errors, ECN, DSCP).
//!
//! It never does input or output, never reads a clock, never allocates per packet and never changes state
//! before a packet's ICV is verified. RFC 4303 (ESP), RFC 4301 §5 (processing), RFC 4106 (AES-GCM),
//! RFC 3602 (AES-CBC), RFC 4868 and RFC 2404 (HMAC), RFC 3948 (UDP encapsulation), RFC 6040 (ECN).
//!
//! Buffers: every "ESP packet" here starts at the SPI and ends with the ICV. UDP and outer IP headers are the
//! caller's (module [`outer`] helps with them).
//!
//! ```text
//! | SPI 4 | seq 4 | IV 8 or 16 | inner packet | 1 2 3 .. | pad len 1 | next header 1 | ICV 12..32 |
//! ^ 0             ^ 8          ^ payload_offset()                                    ^ sealed_len()
//! ```
#![forbid(unsafe_code)]

mod crypt;
mod drop_reason;
mod encap;
mod inbound;
mod lifetime;
mod mtu;
mod outbound;
mod replay;
mod selector;
mod trailer;

pub mod checksum;
pub mod ecn;
pub mod fragment;
pub mod icmp;
pub mod merge;
pub mod mss;
pub mod outer;
pub mod packet;
pub mod segment;

pub use crypt::{AeadProvider, KeyError};
pub use drop_reason::{DropCounter, DropReason};
pub use encap::{NatTraversal, classify, peek_spi};
pub use inbound::{InboundSa, Opened};
pub use lifetime::{Lifetime, SequenceExhausted};
pub use mtu::inner_mtu;
pub use outbound::OutboundSa;
pub use replay::{MAX_REPLAY_WINDOW, MIN_REPLAY_WINDOW, ReplayWindow};
pub use selector::Selectors;

/// Packets are not encrypted in this build: it only serves to count instructions, and no daemon is made of it.
pub const NULL_AEAD: bool = cfg!(feature = "null-aead");

/// Octets of SPI and sequence number in front of the IV (RFC 4303 §2).
pub const ESP_HEADER_LEN: usize = 8;
/// Next header of an IPv4 packet in tunnel mode (RFC 4303 §2.6).
pub const NEXT_HEADER_IPV4: u8 = 4;
/// Next header of an IPv6 packet in tunnel mode.
pub const NEXT_HEADER_IPV6: u8 = 41;
/// Next header of a dummy packet, discarded by the receiver (RFC 4303 §2.6).
pub const NEXT_HEADER_NONE: u8 = 59;
/// Length of the UDP header in front of encapsulated ESP (RFC 3948 §2.1).
pub const UDP_HEADER_LEN: usize = 8;

/// The next-header value that carries `packet`: 4 or 41 by its version field, `None` for anything else.
pub fn next_header_of(packet: &[u8]) -> Option<u8> {
    match packet.first()? >> 4 {
        4 => Some(NEXT_HEADER_IPV4),
        6 => Some(NEXT_HEADER_IPV6),
        _ => None,
    }
}
