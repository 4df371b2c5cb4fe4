//! Clamping the TCP maximum segment size of connections through the tunnel, so that their segments fit without
//! fragmentation. It lowers the option of SYN and SYN-ACK segments; it never adds one and never raises one.
//! RFC 9293 §3.7.1, RFC 6691 (the value does not count options), RFC 1624 for the checksum.

use crate::checksum;
use crate::packet::{FragmentKind, Inner, TCP};

const TCP_HEADER_LEN: usize = 20;
const SYN: u8 = 0x02;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;

/// The largest segment for a tunnel of `mtu` octets: 40 octets less over IPv4, 60 over IPv6.
pub const fn max_segment_size(mtu: u16, ipv6: bool) -> u16 {
    mtu.saturating_sub(if ipv6 { 60 } else { 40 })
}

/// Lowers the MSS option of a TCP SYN or SYN-ACK in `packet` to what `mtu` (the inner MTU, octets) allows.
///
/// The TCP checksum is updated, so it must be complete: run [`checksum::complete`] first on a packet that the
/// kernel handed over with an unfinished one. Returns whether the packet was changed; a packet that is
/// something else, has no such option or has malformed options is left alone.
pub fn clamp_tcp_mss(packet: &mut [u8], mtu: u16) -> bool {
    clamp(packet, mtu).is_some()
}

fn clamp(packet: &mut [u8], mtu: u16) -> Option<()> {
    let inner = Inner::parse(packet)?;
    if inner.protocol != TCP || inner.fragment == FragmentKind::Later {
        return None;
    }
    let limit = max_segment_size(mtu, inner.source.is_ipv6());
    let segment = packet.get_mut(inner.transport_offset..inner.total_len)?;
    let header: &[u8; TCP_HEADER_LEN] = segment.first_chunk()?;
    if header[13] & SYN == 0 {
        return None;
    }
    let header_len = usize::from(header[12] >> 4) * 4;
    let at = TCP_HEADER_LEN + find_mss(segment.get(TCP_HEADER_LEN..header_len)?)?;
    let old = *segment.get(at..)?.first_chunk::<2>()?;
    if u16::from_be_bytes(old) <= limit {
        return None;
    }
    let new = limit.to_be_bytes();
    segment.get_mut(at..at + 2)?.copy_from_slice(&new);
    // An option at an odd place straddles two words of the sum; there its octets count swapped.
    let swap = |[a, b]: [u8; 2]| if at.is_multiple_of(2) { [a, b] } else { [b, a] };
    let field = segment.get_mut(16..18)?;
    let sum = checksum::update(*field.first_chunk()?, swap(old), swap(new));
    field.copy_from_slice(&sum);
    Some(())
}

/// Where the MSS value stands in `options`; `None` when there is none before the first malformed option.
fn find_mss(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *options.get(at)? {
            OPTION_END => return None,
            OPTION_NOP => at += 1,
            kind => {
                let len = usize::from(*options.get(at + 1)?);
                if len < 2 || at + len > options.len() {
                    return None;
                }
                if kind == OPTION_MSS && len == 4 {
                    return Some(at + 2);
                }
                at += len;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN_ACK: u8 = 0x12;

    fn segment(flags: u8, options: &[u8]) -> Vec<u8> {
        let mut tcp = vec![0x04, 0, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0];
        tcp.extend([(5 + options.len().div_ceil(4) as u8) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(options);
        tcp.resize(tcp.len().next_multiple_of(4), 0);
        tcp
    }

    fn with_checksum(mut packet: Vec<u8>) -> Vec<u8> {
        let inner = Inner::parse(&packet).unwrap();
        let len = packet.len() - inner.transport_offset;
        let pseudo = checksum::pseudo_header(inner.source, inner.destination, TCP, len);
        checksum::set(&mut packet[inner.transport_offset..], 16, pseudo, false);
        packet
    }

    fn ipv4(tcp: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 20 + tcp.len() as u8, 0, 0, 0, 0, 64, TCP, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(tcp);
        with_checksum(packet)
    }

    fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next_header, 64];
        packet.extend([0xfd; 32]);
        packet.extend(payload);
        with_checksum(packet)
    }

    fn is_valid(packet: &[u8]) -> bool {
        checksum::verify_transport(&Inner::parse(packet).unwrap(), packet).unwrap()
    }

    #[test]
    fn syn_and_syn_ack_are_clamped_over_ipv4() {
        for flags in [SYN, SYN_ACK] {
            let mut packet = ipv4(&segment(flags, &[2, 4, 0x05, 0xb4, 1, 3, 3, 7]));
            assert!(clamp_tcp_mss(&mut packet, 1438));
            assert_eq!(packet[42..44], 1398u16.to_be_bytes());
            assert!(is_valid(&packet));
            assert!(!clamp_tcp_mss(&mut packet, 1438), "a second time changes nothing");
        }
    }

    #[test]
    fn an_option_at_an_odd_place_keeps_the_checksum_right() {
        let mut packet = ipv4(&segment(SYN, &[1, 2, 4, 0x05, 0xb4, 1, 3, 3, 7]));
        assert!(clamp_tcp_mss(&mut packet, 1406));
        assert_eq!(packet[43..45], 1366u16.to_be_bytes());
        assert!(is_valid(&packet));
    }

    #[test]
    fn ipv6_costs_twenty_octets_more_and_extension_headers_are_skipped() {
        let syn = segment(SYN, &[2, 4, 0x05, 0xa0]);
        let mut plain = ipv6(TCP, &syn);
        assert!(clamp_tcp_mss(&mut plain, 1438));
        assert_eq!(plain[62..64], 1378u16.to_be_bytes());
        assert!(is_valid(&plain));
        let mut extended = vec![TCP, 0, 1, 4, 0, 0, 0, 0];
        extended.extend(&syn);
        let mut extended = ipv6(0, &extended);
        assert!(clamp_tcp_mss(&mut extended, 1438));
        assert_eq!(extended[70..72], 1378u16.to_be_bytes());
        assert!(is_valid(&extended));
    }

    #[test]
    fn everything_else_is_left_alone() {
        let mss = [2, 4, 0x05, 0xb4];
        let mut udp = ipv4(&segment(SYN, &mss));
        udp[9] = 17;
        let mut later_fragment = ipv4(&segment(SYN, &mss));
        later_fragment[7] = 1;
        let mut truncated = ipv4(&segment(SYN, &mss));
        truncated.truncate(41);
        let mut header_beyond_packet = ipv4(&segment(SYN, &mss));
        header_beyond_packet[32] = 0xf0;
        let unchanged = [
            ipv4(&segment(0x10, &mss)),
            ipv4(&segment(SYN, &[2, 4, 0x02, 0x18])),
            ipv4(&segment(SYN, &[])),
            ipv4(&segment(SYN, &[0, 2, 4, 5, 0xb4, 0, 0, 0])),
            ipv4(&segment(SYN, &[3, 0, 2, 4, 5, 0xb4, 0, 0])),
            ipv4(&segment(SYN, &[3, 200, 2, 4, 5, 0xb4, 0, 0])),
            ipv4(&segment(SYN, &[2, 3, 5, 0xb4])),
            ipv4(&segment(SYN, &[1, 1, 1, 2])),
            udp,
            later_fragment,
            truncated,
            header_beyond_packet,
            vec![],
            vec![0x45],
        ];
        for packet in unchanged {
            let mut copy = packet.clone();
            assert!(!clamp_tcp_mss(&mut copy, 1438), "{packet:02x?}");
            assert_eq!(copy, packet);
        }
    }
}
