//! A run's packets as a file for Wireshark.

use std::net::IpAddr;

use model::Instant;

use crate::world::Packet;

/// LINKTYPE_RAW: the packet begins with its IP header.
const LINKTYPE_RAW: u32 = 101;

/// A pcap file (microsecond format) of UDP datagrams over IPv4; packets of other families are left out.
/// Checksums are zero.
pub fn pcap<'a>(packets: impl IntoIterator<Item = (Instant, &'a Packet)>) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(0xa1b2_c3d4_u32.to_le_bytes());
    out.extend(2_u16.to_le_bytes());
    out.extend(4_u16.to_le_bytes());
    out.extend([0; 8]);
    out.extend(65_535_u32.to_le_bytes());
    out.extend(LINKTYPE_RAW.to_le_bytes());
    for (at, packet) in packets {
        let (IpAddr::V4(from), IpAddr::V4(to)) = (packet.from.ip(), packet.to.ip()) else { continue };
        let Ok(total) = u16::try_from(28 + packet.payload.len()) else { continue };
        let nanos = at.as_nanos();
        out.extend(u32::try_from(nanos / 1_000_000_000).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(u32::try_from(nanos % 1_000_000_000 / 1_000).unwrap_or(0).to_le_bytes());
        out.extend(u32::from(total).to_le_bytes());
        out.extend(u32::from(total).to_le_bytes());
        out.extend([0x45, 0]);
        out.extend(total.to_be_bytes());
        out.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        out.extend(from.octets());
        out.extend(to.octets());
        out.extend(packet.from.port().to_be_bytes());
        out.extend(packet.to.port().to_be_bytes());
        out.extend((total - 20).to_be_bytes());
        out.extend([0, 0]);
        out.extend(&packet.payload);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_header_and_one_record_for_each_packet() {
        let packet = Packet {
            from: "192.0.2.1:500".parse().unwrap(),
            to: "198.51.100.1:500".parse().unwrap(),
            payload: b"abc".to_vec(),
        };
        let file = pcap([(Instant::from_millis(1_500), &packet)]);
        assert_eq!(file.len(), 24 + 16 + 28 + 3);
        assert_eq!(&file[24..28], 1_u32.to_le_bytes());
        assert_eq!(&file[28..32], 500_000_u32.to_le_bytes());
    }
}
