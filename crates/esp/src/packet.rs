//! A look at an inner IP packet: addresses, protocol, where the transport header begins, whether it is a
//! fragment. It trusts no length field that the octets at hand do not cover, and follows at most
//! [`MAX_EXTENSION_HEADERS`] IPv6 extension headers. RFC 791 §3.1, RFC 8200 §4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv6 extension headers followed before a packet counts as unreadable.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FragmentKind {
    /// All of it.
    Whole,
    /// The first fragment: the transport header is (usually) there.
    First,
    /// A later fragment: no transport header.
    Later,
}

/// What the headers of an inner packet say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inner {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Transport protocol, extension headers skipped.
    pub protocol: u8,
    /// Where the transport header begins, from the packet's first octet.
    pub transport_offset: usize,
    /// Total length that the IP header announces; never more than the octets at hand.
    pub total_len: usize,
    /// Whole datagram or fragment.
    pub fragment: FragmentKind,
}

impl Inner {
    /// Reads the headers of `packet`; octets behind the announced length are ignored.
    ///
    /// `None` when it is neither IPv4 nor IPv6, when a header or the announced length exceeds the octets at
    /// hand, or when there are too many extension headers.
    #[inline]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse_v4(packet),
            6 => Self::parse_v6(packet),
            _ => None,
        }
    }

    fn parse_v4(packet: &[u8]) -> Option<Self> {
        let header: &[u8; 20] = packet.first_chunk()?;
        let transport_offset = usize::from(header[0] & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if transport_offset < 20 || total_len < transport_offset || total_len > packet.len() {
            return None;
        }
        let fragment_field = u16::from_be_bytes([header[6], header[7]]);
        let fragment = match (fragment_field & 0x1fff, fragment_field & 0x2000) {
            (0, 0) => FragmentKind::Whole,
            (0, _) => FragmentKind::First,
            _ => FragmentKind::Later,
        };
        let (source, destination) = v4_addresses(header);
        Some(Self {
            source: IpAddr::V4(source),
            destination: IpAddr::V4(destination),
            protocol: header[9],
            transport_offset,
            total_len,
            fragment,
        })
    }

    fn parse_v6(packet: &[u8]) -> Option<Self> {
        let header: &[u8; 40] = packet.first_chunk()?;
        let total_len = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
        let packet = packet.get(..total_len)?;
        let (source, destination) = v6_addresses(header);
        let mut inner = Self {
            source: IpAddr::V6(source),
            destination: IpAddr::V6(destination),
            protocol: header[6],
            transport_offset: 40,
            total_len,
            fragment: FragmentKind::Whole,
        };
        for _ in 0..=MAX_EXTENSION_HEADERS {
            if !inner.skip_extension(packet)? {
                return Some(inner);
            }
        }
        None
    }

    /// Steps over one extension header; `false` when the next header is none (or lies in another fragment).
    fn skip_extension(&mut self, packet: &[u8]) -> Option<bool> {
        const HOP_BY_HOP: u8 = 0;
        const ROUTING: u8 = 43;
        const FRAGMENT: u8 = 44;
        const AUTHENTICATION: u8 = 51;
        const DESTINATION_OPTIONS: u8 = 60;
        const MOBILITY: u8 = 135;

        if !matches!(
            self.protocol,
            HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS | MOBILITY
        ) {
            return Some(false);
        }
        // The shortest of them has eight octets (RFC 8200 §4.2).
        let extension: &[u8; 8] = packet.get(self.transport_offset..)?.first_chunk()?;
        let len = match self.protocol {
            FRAGMENT => 8,
            // RFC 4302 §2.2: in 4-octet units, minus two of them.
            AUTHENTICATION => (usize::from(extension[1]) + 2) * 4,
            _ => (usize::from(extension[1]) + 1) * 8,
        };
        if self.protocol == FRAGMENT {
            let field = u16::from_be_bytes([extension[2], extension[3]]);
            self.fragment = match (field >> 3, field & 1) {
                (0, 0) => FragmentKind::Whole, // an atomic fragment, RFC 6946
                (0, _) => FragmentKind::First,
                _ => FragmentKind::Later,
            };
        }
        self.protocol = extension[0];
        self.transport_offset += len;
        if self.transport_offset > packet.len() {
            return None;
        }
        // What follows a later fragment's header is payload, whatever the next-header field says.
        Some(self.fragment != FragmentKind::Later)
    }
}

fn v4_addresses(header: &[u8; 20]) -> (Ipv4Addr, Ipv4Addr) {
    let [.., a, b, c, d, e, f, g, h] = *header;
    (Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h))
}

fn v6_addresses(header: &[u8; 40]) -> (Ipv6Addr, Ipv6Addr) {
    let (mut source, mut destination) = ([0; 16], [0; 16]);
    source.copy_from_slice(&header[8..24]);
    destination.copy_from_slice(&header[24..40]);
    (source.into(), destination.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next_header, 64];
        packet.extend([1; 16]);
        packet.extend([2; 16]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn ipv4_options_and_fragments_are_seen() {
        let mut packet = vec![0x46, 0, 0, 28, 0, 0, 0x20, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0; 8]);
        let inner = Inner::parse(&packet).unwrap();
        assert_eq!((inner.transport_offset, inner.protocol, inner.fragment), (24, UDP, FragmentKind::First));
        assert_eq!(inner.source, "10.0.0.1".parse::<IpAddr>().unwrap());
        packet[7] = 1;
        assert_eq!(Inner::parse(&packet).unwrap().fragment, FragmentKind::Later);
        assert_eq!(Inner::parse(&packet[..27]), None);
    }

    #[test]
    fn ipv6_extension_headers_are_skipped() {
        // Hop-by-hop, destination options of 16 octets, an atomic fragment header, then TCP.
        let mut payload = vec![60, 0, 0, 0, 0, 0, 0, 0];
        payload.extend([44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        payload.extend([6, 0, 0, 0, 0, 0, 0, 9]);
        payload.extend([0xee; 20]);
        let inner = Inner::parse(&ipv6(0, &payload)).unwrap();
        assert_eq!((inner.transport_offset, inner.protocol, inner.fragment), (72, TCP, FragmentKind::Whole));
    }

    #[test]
    fn an_endless_chain_of_extension_headers_is_unreadable() {
        let payload: Vec<u8> = std::iter::repeat_n([60, 0, 0, 0, 0, 0, 0, 0], 20).flatten().collect();
        assert_eq!(Inner::parse(&ipv6(60, &payload)), None);
    }

    #[test]
    fn an_extension_header_longer_than_the_packet_is_unreadable() {
        assert_eq!(Inner::parse(&ipv6(60, &[6, 200, 0, 0, 0, 0, 0, 0])), None);
        assert_eq!(Inner::parse(&ipv6(60, &[6, 0, 0])), None);
    }
}
