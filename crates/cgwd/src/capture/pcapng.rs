//! The pcapng file format (draft-ietf-opsawg-pcapng), as much of it as a capture of inner packets needs: one
//! interface a tunnel, nanoseconds, and the direction of each packet. libpcap from 1.1 and Wireshark read it.

use std::time::{SystemTime, UNIX_EPOCH};

use dataplane::{TapDirection, Tapped};

/// Section Header Block.
const SECTION: u32 = 0x0A0D_0D0A;
/// Interface Description Block.
const INTERFACE: u32 = 1;
/// Interface Statistics Block.
pub(crate) const STATISTICS: u32 = 5;
/// Enhanced Packet Block.
pub(crate) const PACKET: u32 = 6;
/// LINKTYPE_LINUX_SLL2: a header of 20 octets with interface and direction stands before the packet, so that tcpdump
/// shows both. With LINKTYPE_RAW, libpcap 1.10 refuses files of several interfaces.
const LINKTYPE_LINUX_SLL2: u16 = 276;
/// Octets of that header.
const SLL2_LEN: usize = 20;
/// A device without link-layer addresses.
const ARPHRD_NONE: u16 = 0xFFFE;
/// Packet types of SLL2: to us, and from us.
const SLL2_HOST: u8 = 0;
const SLL2_OUTGOING: u8 = 4;
/// The two lengths and the type around every block's body.
pub(crate) const BLOCK_OVERHEAD: usize = 12;

const OPTION_END: u16 = 0;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const ISB_IFDROP: u16 = 5;

/// What a file opens with.
pub(super) fn section() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(0x1A2B_3C4D_u32.to_le_bytes());
    body.extend(1_u16.to_le_bytes());
    body.extend(0_u16.to_le_bytes());
    // The section's length is not known.
    body.extend(u64::MAX.to_le_bytes());
    option(&mut body, SHB_USERAPPL, concat!("cgwd ", env!("CARGO_PKG_VERSION")).as_bytes());
    option(&mut body, OPTION_END, &[]);
    block(SECTION, &body)
}

/// The next interface, numbered from 0 in the order of the file.
pub(super) fn interface(name: &str, description: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(LINKTYPE_LINUX_SLL2.to_le_bytes());
    body.extend(0_u16.to_le_bytes());
    // No limit on the length of a packet.
    body.extend(0_u32.to_le_bytes());
    option(&mut body, IF_NAME, name.as_bytes());
    option(&mut body, IF_DESCRIPTION, description.as_bytes());
    // Ten to the minus nine.
    option(&mut body, IF_TSRESOL, &[9]);
    option(&mut body, OPTION_END, &[]);
    block(INTERFACE, &body)
}

/// One packet of the interface that the kernel knows by this number.
pub(super) fn packet(tapped: &Tapped, kernel_index: u32) -> Vec<u8> {
    let len = u32::try_from(SLL2_LEN + tapped.packet.len()).unwrap_or(u32::MAX);
    let mut body = Vec::with_capacity(tapped.packet.len() + 60);
    body.extend(tapped.tunnel.to_le_bytes());
    timestamp(&mut body, tapped.at);
    body.extend(len.to_le_bytes());
    body.extend(len.to_le_bytes());
    link_header(&mut body, tapped, kernel_index);
    body.extend(&tapped.packet);
    pad(&mut body);
    let direction: u32 = match tapped.direction {
        TapDirection::Inbound => 1,
        TapDirection::Outbound => 2,
    };
    option(&mut body, EPB_FLAGS, &direction.to_le_bytes());
    option(&mut body, OPTION_END, &[]);
    block(PACKET, &body)
}

/// How many packets the capture has lost so far, at an interface.
pub(super) fn statistics(interface: u32, at: SystemTime, dropped: u64) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(interface.to_le_bytes());
    timestamp(&mut body, at);
    option(&mut body, ISB_IFDROP, &dropped.to_le_bytes());
    option(&mut body, OPTION_END, &[]);
    block(STATISTICS, &body)
}

/// What [`statistics`] says in the body of its block.
pub(crate) fn dropped(body: &[u8]) -> Option<u64> {
    // Interface, time stamp, the option's head.
    let value = body.get(12 + 4..12 + 4 + 8)?;
    value.try_into().ok().map(u64::from_le_bytes)
}

fn link_header(body: &mut Vec<u8>, tapped: &Tapped, kernel_index: u32) {
    let protocol: u16 = match tapped.packet.first().map(|octet| octet >> 4) {
        Some(6) => 0x86DD,
        _ => 0x0800,
    };
    body.extend(protocol.to_be_bytes());
    body.extend([0; 2]);
    body.extend(kernel_index.to_be_bytes());
    body.extend(ARPHRD_NONE.to_be_bytes());
    body.push(match tapped.direction {
        TapDirection::Inbound => SLL2_HOST,
        TapDirection::Outbound => SLL2_OUTGOING,
    });
    // No link-layer address.
    body.extend([0; 9]);
}

fn timestamp(body: &mut Vec<u8>, at: SystemTime) {
    let nanos = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
    body.extend(((nanos >> 32) as u32).to_le_bytes());
    body.extend((nanos as u32).to_le_bytes());
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).unwrap_or(0);
    body.extend(code.to_le_bytes());
    body.extend(len.to_le_bytes());
    body.extend(value.get(..usize::from(len)).unwrap_or_default());
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    // Bodies are a packet and a few options.
    let len = u32::try_from(body.len() + BLOCK_OVERHEAD).unwrap_or(u32::MAX).to_le_bytes();
    [&kind.to_le_bytes(), &len, body, &len].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_a_multiple_of_four_octets_and_ends_with_its_length() {
        let tapped = Tapped {
            tunnel: 1,
            direction: TapDirection::Outbound,
            at: UNIX_EPOCH,
            packet: vec![0x45, 1, 2, 3, 4],
        };
        for block in
            [section(), interface("cgw0", "vpn-1/tunnel1"), packet(&tapped, 9), statistics(0, UNIX_EPOCH, 7)]
        {
            assert_eq!(block.len() % 4, 0);
            let len = u32::try_from(block.len()).unwrap().to_le_bytes();
            assert_eq!((&block[4..8], &block[block.len() - 4..]), (&len[..], &len[..]));
        }
        let block = packet(&tapped, 9);
        assert_eq!(block[28..48], [8, 0, 0, 0, 0, 0, 0, 9, 0xFF, 0xFE, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(block[48..53], tapped.packet);
        assert_eq!(block[56..64], [2, 0, 4, 0, 2, 0, 0, 0], "the direction is outbound");
    }

    #[test]
    fn the_number_of_lost_packets_is_read_back() {
        let block = statistics(3, SystemTime::now(), 41);
        assert_eq!(dropped(&block[8..block.len() - 4]), Some(41));
        assert_eq!(dropped(&[]), None);
    }
}
