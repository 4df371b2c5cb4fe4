//! The probe's packet: an ICMP or ICMPv6 echo request (RFC 792, RFC 4443 §4.1) between the inside addresses.
//!
//! It is sealed into ESP like any packet of the tunnel; the data plane recognises the answer by the identifier.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What follows the ICMP header, so that a person who captures it knows whose it is.
const PAYLOAD: &[u8; 16] = b"cgwd tunnel echo";
const ICMP_LEN: usize = 8 + PAYLOAD.len();
const TTL: u8 = 64;

/// The packet, IP header first; `None` when the addresses are of two families.
pub fn request(local: IpAddr, remote: IpAddr, identifier: u16, sequence: u16) -> Option<Vec<u8>> {
    match (local, remote) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => Some(v4(local, remote, identifier, sequence)),
        (IpAddr::V6(local), IpAddr::V6(remote)) => Some(v6(local, remote, identifier, sequence)),
        _ => None,
    }
}

fn icmp(kind: u8, identifier: u16, sequence: u16) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(identifier.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.extend(PAYLOAD);
    message
}

fn v4(local: Ipv4Addr, remote: Ipv4Addr, identifier: u16, sequence: u16) -> Vec<u8> {
    let mut message = icmp(8, identifier, sequence);
    let sum = checksum(&[&message]);
    message.splice(2..4, sum);
    let total = (20 + ICMP_LEN) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, TTL, 1, 0, 0]);
    packet.extend(local.octets());
    packet.extend(remote.octets());
    let sum = checksum(&[&packet]);
    packet.splice(10..12, sum);
    packet.extend(message);
    packet
}

fn v6(local: Ipv6Addr, remote: Ipv6Addr, identifier: u16, sequence: u16) -> Vec<u8> {
    let mut message = icmp(128, identifier, sequence);
    let length = ICMP_LEN as u16;
    // RFC 4443 §2.3: the checksum covers a pseudo-header.
    let pseudo = [0, 0, length.to_be_bytes()[0], length.to_be_bytes()[1], 0, 0, 0, 58];
    let sum = checksum(&[&local.octets(), &remote.octets(), &pseudo, &message]);
    message.splice(2..4, sum);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([58, TTL]);
    packet.extend(local.octets());
    packet.extend(remote.octets());
    packet.extend(message);
    packet
}

/// RFC 1071; every part but the last must have an even length.
pub(crate) fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += match pair {
                [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
                [high] => u32::from(*high) << 8,
                _ => 0,
            };
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_request_sums_up_to_nothing() {
        let packet =
            request("169.254.10.2".parse().unwrap(), "169.254.10.1".parse().unwrap(), 0xbeef, 7).unwrap();
        assert_eq!(packet.len(), 44);
        assert_eq!(checksum(&[&packet[..20]]), [0, 0]);
        assert_eq!(checksum(&[&packet[20..]]), [0, 0]);
        assert_eq!((packet[20], &packet[24..28]), (8, &[0xbe, 0xef, 0, 7][..]));
    }

    #[test]
    fn an_ipv6_request_sums_up_to_nothing_with_its_pseudo_header() {
        let packet = request("fd00::2".parse().unwrap(), "fd00::1".parse().unwrap(), 1, 2).unwrap();
        assert_eq!(packet.len(), 64);
        let pseudo = [0, 0, 0, ICMP_LEN as u8, 0, 0, 0, 58];
        assert_eq!(checksum(&[&packet[8..40], &pseudo, &packet[40..]]), [0, 0]);
    }

    #[test]
    fn two_families_make_no_packet() {
        assert_eq!(request("169.254.10.2".parse().unwrap(), "fd00::1".parse().unwrap(), 1, 2), None);
    }
}
