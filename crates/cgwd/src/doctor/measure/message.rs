//! ICMP and ICMPv6 messages (RFC 792, RFC 4443), as far as measuring needs them. Pure.

use std::net::IpAddr;

use crate::tunnel::echo::checksum;

/// Octets of an ICMP header.
const HEADER: usize = 8;

/// Octets of the IP header in front of it.
pub(super) const fn ip_header(ipv4: bool) -> u16 {
    if ipv4 { 20 } else { 40 }
}

/// An echo request that makes an IP packet of `size` octets.
pub(super) fn request(ipv4: bool, identifier: u16, sequence: u16, size: u16) -> Vec<u8> {
    let len = usize::from(size.saturating_sub(ip_header(ipv4))).max(HEADER);
    let mut message = vec![if ipv4 { 8 } else { 128 }, 0, 0, 0];
    message.extend(identifier.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.extend(b"cgwd doctor ".iter().cycle().take(len - HEADER));
    // The kernel computes ICMPv6's, which covers the addresses.
    if ipv4 {
        let sum = checksum(&[&message]);
        message.splice(2..4, sum);
    }
    message
}

/// What a message says of one of our requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The answer, with its sequence number.
    Reply(u16),
    /// A router let the request's TTL run out.
    Expired(u16),
    /// A router cannot deliver the request.
    Unreachable(u16, &'static str),
    /// The request is too big for a router's next link.
    TooBig(u16),
}

/// Reads a message; `None` when it concerns no request with this identifier.
pub(super) fn read(ipv4: bool, identifier: u16, message: &[u8]) -> Option<Said> {
    let [kind, code, _, _, id_high, id_low, high, low] = *message.first_chunk::<HEADER>()?;
    let reply = if ipv4 { 0 } else { 129 };
    if kind == reply {
        let ours = u16::from_be_bytes([id_high, id_low]) == identifier;
        return ours.then_some(Said::Reply(u16::from_be_bytes([high, low])));
    }
    let quoted = quoted(ipv4, identifier, message.get(HEADER..)?)?;
    match (ipv4, kind, code) {
        (true, 11, 0) | (false, 3, 0) => Some(Said::Expired(quoted)),
        (true, 3, 4) | (false, 2, _) => Some(Said::TooBig(quoted)),
        (true, 3, code) => Some(Said::Unreachable(quoted, unreachable_v4(code))),
        (false, 1, code) => Some(Said::Unreachable(quoted, unreachable_v6(code))),
        _ => None,
    }
}

/// The sequence number of the request that an error quotes, when it is one of ours.
fn quoted(ipv4: bool, identifier: u16, packet: &[u8]) -> Option<u16> {
    let header = if ipv4 { usize::from(packet.first()? & 0x0f) * 4 } else { 40 };
    let protocol = *packet.get(if ipv4 { 9 } else { 6 })?;
    let [kind, _, _, _, id_high, id_low, high, low] = *packet.get(header..)?.first_chunk::<HEADER>()?;
    let request = if ipv4 { (1, 8) } else { (58, 128) };
    let ours = (protocol, kind) == request && u16::from_be_bytes([id_high, id_low]) == identifier;
    ours.then_some(u16::from_be_bytes([high, low]))
}

const fn unreachable_v4(code: u8) -> &'static str {
    match code {
        0 | 6 | 11 => "network unreachable",
        1 | 7 | 12 => "host unreachable",
        2 => "protocol unreachable",
        3 => "port unreachable",
        9 | 10 | 13 => "administratively prohibited",
        _ => "unreachable",
    }
}

const fn unreachable_v6(code: u8) -> &'static str {
    match code {
        0 => "no route",
        1 | 5 | 6 => "administratively prohibited",
        3 => "address unreachable",
        4 => "port unreachable",
        _ => "unreachable",
    }
}

/// What one packet that passes an interface means for whether answers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Who sent it.
    pub(super) from: IpAddr,
    /// Who is to get it.
    pub(super) to: IpAddr,
    /// It wants an answer: an echo request, or the first packet of a TCP connection to this port.
    pub(super) wants: Option<Option<u16>>,
}

/// Reads an inner packet from its IP header on; `None` when it is none.
pub(super) fn seen(packet: &[u8]) -> Option<Seen> {
    let (from, to, protocol, body): (IpAddr, IpAddr, u8, &[u8]) = match packet.first()? >> 4 {
        4 => {
            let header = packet.first_chunk::<20>()?;
            let [.., a, b, c, d, e, f, g, h] = *header;
            let body = packet.get(usize::from(header[0] & 0x0f) * 4..)?;
            ([a, b, c, d].into(), [e, f, g, h].into(), header[9], body)
        }
        6 => {
            let header = packet.first_chunk::<40>()?;
            let from: [u8; 16] = *header.get(8..24)?.first_chunk()?;
            let to: [u8; 16] = *header.get(24..40)?.first_chunk()?;
            (from.into(), to.into(), header[6], packet.get(40..)?)
        }
        _ => return None,
    };
    let wants = match protocol {
        // SYN without ACK (RFC 9293 §3.1).
        6 if body.get(13).is_some_and(|flags| flags & 0x12 == 0x02) => {
            body.get(2..4).map(|port| Some(u16::from_be_bytes([port[0], port[1]])))
        }
        1 if body.first() == Some(&8) => Some(None),
        58 if body.first() == Some(&128) => Some(None),
        _ => None,
    };
    Some(Seen { from, to, wants })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_size_that_was_asked_for_and_a_sound_checksum() {
        for size in [84, 553, 1438] {
            let message = request(true, 0xbeef, 7, size);
            assert_eq!(message.len() + 20, usize::from(size));
            assert_eq!(checksum(&[&message]), [0, 0]);
            assert_eq!(request(false, 0xbeef, 7, size).len() + 40, usize::from(size));
        }
        assert_eq!(request(true, 1, 1, 3).len(), 8);
    }

    #[test]
    fn only_what_concerns_our_own_request_is_read() {
        let mut reply = request(true, 0xbeef, 7, 84);
        assert_eq!(read(true, 0xbeef, &reply), None, "a request is no answer");
        reply[0] = 0;
        assert_eq!(read(true, 0xbeef, &reply), Some(Said::Reply(7)));
        assert_eq!(read(true, 0xbee0, &reply), None);
        let error = |kind, code, protocol| {
            let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0, 0x45, 0, 0, 84, 0, 0, 0, 0, 1, protocol];
            message.extend([0; 10]);
            message.extend(&request(true, 0xbeef, 9, 84)[..8]);
            message
        };
        assert_eq!(read(true, 0xbeef, &error(11, 0, 1)), Some(Said::Expired(9)));
        assert_eq!(read(true, 0xbeef, &error(3, 4, 1)), Some(Said::TooBig(9)));
        assert_eq!(
            read(true, 0xbeef, &error(3, 13, 1)),
            Some(Said::Unreachable(9, "administratively prohibited"))
        );
        assert_eq!(read(true, 0xbeef, &error(3, 1, 17)), None, "somebody else's UDP");
        let whole = error(11, 0, 1);
        for cut in 0..whole.len() {
            assert_eq!(read(true, 0xbeef, &whole[..cut]), None);
        }
    }

    #[test]
    fn a_handshake_and_an_echo_want_an_answer_and_a_datagram_does_not() {
        let packet = |protocol: u8, body: &[u8]| {
            let mut packet =
                vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 10, 0, 2, 172, 31, 0, 10];
            packet.extend(body);
            packet
        };
        let mut tcp = [0; 20];
        tcp[2..4].copy_from_slice(&443_u16.to_be_bytes());
        tcp[13] = 0x02;
        let seen_of = |packet: &[u8]| seen(packet).and_then(|seen| seen.wants);
        assert_eq!(seen_of(&packet(6, &tcp)), Some(Some(443)));
        tcp[13] = 0x12;
        assert_eq!(seen_of(&packet(6, &tcp)), None, "SYN with ACK is an answer");
        assert_eq!(seen_of(&packet(1, &[8, 0])), Some(None));
        assert_eq!(seen_of(&packet(17, &[0; 8])), None);
        let seen = seen(&packet(17, &[])).unwrap();
        assert_eq!((seen.from.to_string(), seen.to.to_string()), ("10.10.0.2".into(), "172.31.0.10".into()));
        assert_eq!(super::seen(&[0x45, 0]), None);
        assert_eq!(super::seen(&[]), None);
    }
}
