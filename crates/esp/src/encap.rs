//! What arrives on UDP port 4500, and the SPI of an ESP packet. It never looks behind the first octets and
//! decides nothing about validity. RFC 3948 §2.

use model::Spi;

/// The three kinds of datagram on the NAT-traversal port (RFC 3948 §2.1-2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NatTraversal<'a> {
    /// ESP, from the SPI on.
    Esp(&'a [u8]),
    /// IKE, the non-ESP marker removed.
    Ike(&'a [u8]),
    /// One octet 0xFF; to be ignored.
    Keepalive,
    /// Too short to be any of them.
    Malformed,
}

/// Sorts a datagram from UDP port 4500.
pub fn classify(datagram: &[u8]) -> NatTraversal<'_> {
    match datagram {
        [0xff] => NatTraversal::Keepalive,
        [0, 0, 0, 0, ike @ ..] => NatTraversal::Ike(ike),
        [_, _, _, _, ..] => NatTraversal::Esp(datagram),
        _ => NatTraversal::Malformed,
    }
}

/// The SPI of an ESP packet; `None` when it is too short or the SPI is a reserved one (RFC 4303 §2.1).
pub fn peek_spi(packet: &[u8]) -> Option<Spi> {
    Spi::new(u32::from_be_bytes(*packet.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_on_port_4500_are_told_apart() {
        assert_eq!(classify(&[0xff]), NatTraversal::Keepalive);
        assert_eq!(classify(&[0, 0, 0, 0, 7]), NatTraversal::Ike(&[7]));
        assert_eq!(classify(&[0, 0, 1, 0, 7]), NatTraversal::Esp(&[0, 0, 1, 0, 7]));
        assert_eq!(classify(&[0, 0, 0]), NatTraversal::Malformed);
        assert_eq!(classify(&[]), NatTraversal::Malformed);
        assert_eq!(classify(&[0xff, 0xff, 0xff, 0xff]), NatTraversal::Esp(&[0xff; 4]));
    }

    #[test]
    fn a_reserved_spi_is_none() {
        assert_eq!(peek_spi(&[0, 0, 0, 255, 1]), None);
        assert_eq!(peek_spi(&[0, 0, 1, 0]).map(Spi::get), Some(256));
        assert_eq!(peek_spi(&[1, 2, 3]), None);
    }
}
