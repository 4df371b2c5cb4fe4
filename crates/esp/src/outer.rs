//! Outer headers for those sockets that do not write them: IPv4 and IPv6 in front of raw ESP, UDP in front of
//! encapsulated ESP. It writes and reads headers; it never routes and never fragments.
//! RFC 4301 §5.1.2 (field values), RFC 791 §3.1, RFC 8200 §3, RFC 3948 §2.1 and §3.1.2.

use std::net::IpAddr;

use crate::UDP_HEADER_LEN;
use crate::checksum;
use crate::packet::{FragmentKind, Inner, UDP};

/// Protocol number of ESP.
pub const ESP: u8 = 50;
/// The MTU that every IPv6 link has at least (RFC 8200 §5).
pub const MIN_IPV6_MTU: u16 = 1280;

/// An IPv4 header without options or an IPv6 header without extensions, by the family of its addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Our outside address.
    pub source: IpAddr,
    /// The peer's outside address, of the same family.
    pub destination: IpAddr,
    /// [`ESP`] or UDP (17).
    pub protocol: u8,
    /// DSCP and ECN, see [`crate::ecn::encapsulate`].
    pub traffic_class: u8,
    /// Time to live; built anew, not copied from the inner header (RFC 4301 §5.1.2.1).
    pub hop_limit: u8,
    /// The don't-fragment bit; meaningless over IPv6.
    pub dont_fragment: bool,
    /// IPv4 identification; may be 0 when `dont_fragment` (RFC 6864 §4.1).
    pub identification: u16,
}

/// What an outer header said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parsed<'a> {
    /// Sender.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
    /// Protocol, IPv6 extension headers skipped.
    pub protocol: u8,
    /// DSCP and ECN as they arrived.
    pub traffic_class: u8,
    /// What the protocol carries, without link-layer padding.
    pub payload: &'a [u8],
}

impl Header {
    /// Length in octets: 20 or 40.
    #[expect(clippy::len_without_is_empty, reason = "a header is never empty")]
    pub const fn len(&self) -> usize {
        match self.source {
            IpAddr::V4(_) => 20,
            IpAddr::V6(_) => 40,
        }
    }

    /// Writes the header for `payload_len` octets behind it and returns its length. `None` when `out` is too
    /// short, the length does not fit the header, or the addresses are of different families.
    pub fn write(&self, payload_len: usize, out: &mut [u8]) -> Option<usize> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = out.first_chunk_mut::<20>()?;
                let total = u16::try_from(payload_len.checked_add(header.len())?).ok()?;
                *header = [0; 20];
                header[0] = 0x45;
                header[1] = self.traffic_class;
                header[2..4].copy_from_slice(&total.to_be_bytes());
                header[4..6].copy_from_slice(&self.identification.to_be_bytes());
                header[6] = if self.dont_fragment { 0x40 } else { 0 };
                header[8] = self.hop_limit;
                header[9] = self.protocol;
                header[12..16].copy_from_slice(&source.octets());
                header[16..20].copy_from_slice(&destination.octets());
                checksum::set_ipv4_header(header);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = out.first_chunk_mut::<40>()?;
                let payload_len = u16::try_from(payload_len).ok()?;
                header[0] = 0x60 | self.traffic_class >> 4;
                header[1] = self.traffic_class << 4;
                header[2..4].copy_from_slice(&[0, 0]);
                header[4..6].copy_from_slice(&payload_len.to_be_bytes());
                header[6] = self.protocol;
                header[7] = self.hop_limit;
                header[8..24].copy_from_slice(&source.octets());
                header[24..40].copy_from_slice(&destination.octets());
            }
            _ => return None,
        }
        Some(self.len())
    }
}

/// Reads the outer header of a packet from a raw socket or a packet ring. `None` when it is malformed, its
/// header checksum is wrong, or it is a fragment (those never carry a whole ESP packet).
pub fn parse(packet: &[u8]) -> Option<Parsed<'_>> {
    let inner = Inner::parse(packet)?;
    if inner.fragment != FragmentKind::Whole {
        return None;
    }
    if inner.source.is_ipv4() && checksum::Sum::of(packet.get(..inner.transport_offset)?).checksum() != [0, 0]
    {
        return None;
    }
    Some(Parsed {
        source: inner.source,
        destination: inner.destination,
        protocol: inner.protocol,
        traffic_class: crate::ecn::traffic_class(packet)?,
        payload: packet.get(inner.transport_offset..inner.total_len)?,
    })
}

/// Writes a UDP header to the first eight octets of `datagram`, whose payload is in place behind them.
///
/// With `checksum_between` the checksum is computed over the pseudo-header of those addresses. Without, it is
/// zero: RFC 3948 §2.1 asks for that over IPv4, but a zero checksum keeps Linux receivers from coalescing the
/// datagrams, and IPv6 wants one (RFC 8200 §8.1). `None` when `datagram` is too short or too long.
pub fn write_udp(
    datagram: &mut [u8],
    ports: (u16, u16),
    checksum_between: Option<(IpAddr, IpAddr)>,
) -> Option<()> {
    let len = u16::try_from(datagram.len()).ok()?;
    let header = datagram.first_chunk_mut::<UDP_HEADER_LEN>()?;
    *header = [0; UDP_HEADER_LEN];
    header[0..2].copy_from_slice(&ports.0.to_be_bytes());
    header[2..4].copy_from_slice(&ports.1.to_be_bytes());
    header[4..6].copy_from_slice(&len.to_be_bytes());
    if let Some((source, destination)) = checksum_between {
        let pseudo = checksum::pseudo_header(source, destination, UDP, datagram.len());
        checksum::set(datagram, 6, pseudo, true);
    }
    Some(())
}
