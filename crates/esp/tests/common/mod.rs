//! Packets for tests, built field by field.
#![allow(dead_code, reason = "every test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use esp::checksum::{self, Sum};
use esp::packet::{Inner, TCP, UDP};
use model::{EspIntegrity, EspKeys, EspSuite, EspTransform, KeyBits, Secret, Spi};

/// A TCP packet with a timestamp option and no valid checksums.
pub(crate) fn tcp_packet(ipv6: bool, id: u16, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut tcp = vec![0x30, 0x39, 0x00, 0x50];
    tcp.extend(sequence.to_be_bytes());
    tcp.extend([0, 0, 0, 9, 0x80, flags, 0x20, 0, 0, 0, 0, 0]);
    tcp.extend([1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
    tcp.extend(payload);
    ip_packet(ipv6, id, TCP, &tcp)
}

/// A UDP packet with no valid checksums.
pub(crate) fn udp_packet(ipv6: bool, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut udp = vec![0x30, 0x39, 0x00, 0x35];
    udp.extend((payload.len() as u16 + 8).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    ip_packet(ipv6, id, UDP, &udp)
}

/// An IP packet around `transport`, header checksum zero, don't-fragment clear.
pub(crate) fn ip_packet(ipv6: bool, id: u16, protocol: u8, transport: &[u8]) -> Vec<u8> {
    let mut packet = if ipv6 {
        let mut header = vec![0x60, 0, 0, 0];
        header.extend((transport.len() as u16).to_be_bytes());
        header.extend([protocol, 64]);
        header.extend("fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
        header.extend("fd00:1::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
        header
    } else {
        let mut header = vec![0x45, 0];
        header.extend((transport.len() as u16 + 20).to_be_bytes());
        header.extend(id.to_be_bytes());
        header.extend([0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 172, 16, 0, 2]);
        header
    };
    packet.extend(transport);
    packet
}

/// Computes the IPv4 header's and the transport's checksum the plain way.
pub(crate) fn finish_checksums(packet: &mut [u8]) {
    let inner = Inner::parse(packet).unwrap();
    let at = inner.transport_offset;
    if inner.source.is_ipv4() {
        packet[10..12].copy_from_slice(&[0, 0]);
        let sum = Sum::of(&packet[..at]).checksum();
        packet[10..12].copy_from_slice(&sum);
    }
    let field = match inner.protocol {
        TCP => at + 16,
        UDP => at + 6,
        _ => return,
    };
    packet[field..field + 2].copy_from_slice(&[0, 0]);
    let pseudo = checksum::pseudo_header(inner.source, inner.destination, inner.protocol, packet.len() - at);
    let mut sum = pseudo.plus(Sum::of(&packet[at..])).checksum();
    if sum == [0, 0] && inner.protocol == UDP {
        sum = [0xff, 0xff];
    }
    packet[field..field + 2].copy_from_slice(&sum);
}

/// Every transform that the crate offers.
pub(crate) fn all_transforms() -> Vec<EspTransform> {
    let mut all = Vec::new();
    for bits in [KeyBits::B128, KeyBits::B256] {
        all.push(EspTransform::AesGcm16(bits));
        for integrity in [
            EspIntegrity::HmacSha1_96,
            EspIntegrity::HmacSha2_256_128,
            EspIntegrity::HmacSha2_384_192,
            EspIntegrity::HmacSha2_512_256,
        ] {
            all.push(EspTransform::AesCbc(bits, integrity));
        }
    }
    all
}

/// Every transform, with and without extended sequence numbers.
pub(crate) fn all_suites() -> Vec<EspSuite> {
    let with = |esn| move |transform| EspSuite { transform, esn };
    let all = all_transforms();
    all.iter().copied().map(with(false)).chain(all.iter().copied().map(with(true))).collect()
}

/// Keys that differ from octet to octet and from `seed` to `seed`.
pub(crate) fn keys(transform: EspTransform, seed: u8) -> EspKeys {
    let octets = |len: usize, start: u8| -> Secret {
        Secret::new((0..len).map(|i| (i as u8).wrapping_mul(37).wrapping_add(start)).collect())
    };
    EspKeys {
        encryption: octets(transform.encryption_key_len(), seed),
        integrity: octets(transform.integrity_key_len(), seed ^ 0xa5),
    }
}

/// An SPI that is not reserved.
pub(crate) fn spi() -> Spi {
    Spi::new(0xc0de_1234).unwrap()
}
