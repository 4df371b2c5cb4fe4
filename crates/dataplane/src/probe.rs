//! Finding our own echo replies among what the peer sends (RFC 792, RFC 4443 §4.2).

use esp::packet::{FragmentKind, ICMP, ICMPV6, Inner};

use crate::ProbeAddresses;

const ECHO_REPLY: u8 = 0;
const ECHO_REPLY_V6: u8 = 129;

/// An answer to a probe of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply<'p> {
    pub(crate) sequence: u16,
    pub(crate) payload: &'p [u8],
}

/// `Some` when `packet` answers a probe; it is then ours and goes nowhere else.
pub(crate) fn reply<'p>(probe: &ProbeAddresses, packet: &'p [u8]) -> Option<Reply<'p>> {
    // One octet tells nearly all other traffic apart.
    let (protocol, kind) = match packet.first()? >> 4 {
        4 => (*packet.get(9)?, ECHO_REPLY),
        6 => (*packet.get(6)?, ECHO_REPLY_V6),
        _ => return None,
    };
    if !matches!(protocol, ICMP | ICMPV6) {
        return None;
    }
    let inner = Inner::parse(packet)?;
    if (inner.source, inner.destination) != (probe.remote, probe.local)
        || inner.fragment != FragmentKind::Whole
    {
        return None;
    }
    let message = packet.get(inner.transport_offset..inner.total_len)?;
    let ([found, _, _, _, id0, id1, seq0, seq1], payload) = message.split_first_chunk()?;
    if *found != kind || u16::from_be_bytes([*id0, *id1]) != probe.identifier {
        return None;
    }
    Some(Reply { sequence: u16::from_be_bytes([*seq0, *seq1]), payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> ProbeAddresses {
        ProbeAddresses {
            local: "169.254.10.2".parse().unwrap(),
            remote: "169.254.10.1".parse().unwrap(),
            identifier: 0xabcd,
        }
    }

    fn echo(kind: u8, identifier: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 1, 0, 0, 169, 254, 10, 1, 169, 254, 10, 2];
        packet.extend([kind, 0, 0, 0]);
        packet.extend(identifier.to_be_bytes());
        packet.extend([0, 7, 1, 2, 3, 4]);
        packet
    }

    #[test]
    fn only_the_reply_with_our_identifier_is_ours() {
        let ours = echo(0, 0xabcd);
        assert_eq!(reply(&probe(), &ours), Some(Reply { sequence: 7, payload: &[1, 2, 3, 4] }));
        assert_eq!(reply(&probe(), &echo(0, 0xabce)), None);
        assert_eq!(reply(&probe(), &echo(8, 0xabcd)), None);
        let mut other = ours.clone();
        other[15] = 9;
        assert_eq!(reply(&probe(), &other), None);
        let mut tcp = ours.clone();
        tcp[9] = 6;
        assert_eq!(reply(&probe(), &tcp), None);
        for len in 0..ours.len() {
            assert_eq!(reply(&probe(), &ours[..len]), None);
        }
    }
}
