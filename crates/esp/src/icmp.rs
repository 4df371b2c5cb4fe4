//! The two ICMP errors that a tunnel's entrance owes a sender: "fragmentation needed" (type 3 code 4, with the
//! next hop's MTU) and ICMPv6 "packet too big". It builds them and says when none is due; how often they are
//! sent is the caller's decision (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f ask for a limit).
//! RFC 792, RFC 1191 §4, RFC 1812 §4.3.2, RFC 4443 §2.4 and §3.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum::{self, Sum};
use crate::outer::{Header, MIN_IPV6_MTU};
use crate::packet::{FragmentKind, ICMP, ICMPV6, Inner};

/// The longest message that [`too_big`] builds, in octets.
pub const MAX_LEN: usize = MIN_IPV6_MTU as usize;
//= RFC 1812 §4.3.2.3
//# As much of the offending packet as possible, the error not exceeding 576 octets.
const MAX_LEN_V4: usize = 576;
const ICMP_HEADER_LEN: usize = 8;
const HOP_LIMIT: u8 = 64;
//= RFC 1812 §4.3.2.5
//# ICMP errors are sent with precedence 6 (internetwork control).
const TOS_INTERNETWORK_CONTROL: u8 = 0xc0;

/// Writes the answer to `packet`, which is too large for `mtu` octets, into `out` and returns its length: a
/// whole IP packet from `source` (one of our inside addresses) to the packet's sender.
///
/// `None` when no error is due (the packet is itself an ICMP error or redirect, a later fragment, from or to an
/// address that is no single host's), when `source` is of the other family, or `out` is shorter than
/// [`MAX_LEN`] and than the answer.
pub fn too_big(packet: &[u8], mtu: u16, source: IpAddr, out: &mut [u8]) -> Option<usize> {
    let inner = Inner::parse(packet)?;
    if !deserves_an_error(&inner, packet) {
        return None;
    }
    let packet = packet.get(..inner.total_len)?;
    match (inner.source, source) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let [a, b] = mtu.to_be_bytes();
            build(
                &Reply { icmp: [3, 4, 0, 0, 0, 0, a, b], protocol: ICMP, max: MAX_LEN_V4 },
                source,
                &inner,
                packet,
                out,
            )
        }
        (IpAddr::V6(_), IpAddr::V6(_)) => {
            // RFC 8200 §5: every IPv6 link carries 1280 octets; a host ignores a smaller value (RFC 8201 §4).
            let [a, b] = mtu.max(MIN_IPV6_MTU).to_be_bytes();
            build(
                &Reply { icmp: [2, 0, 0, 0, 0, 0, a, b], protocol: ICMPV6, max: MAX_LEN },
                source,
                &inner,
                packet,
                out,
            )
        }
        _ => None,
    }
}

struct Reply {
    icmp: [u8; ICMP_HEADER_LEN],
    protocol: u8,
    max: usize,
}

fn build(reply: &Reply, source: IpAddr, inner: &Inner, packet: &[u8], out: &mut [u8]) -> Option<usize> {
    let header = Header {
        source,
        destination: inner.source,
        protocol: reply.protocol,
        traffic_class: TOS_INTERNETWORK_CONTROL,
        hop_limit: HOP_LIMIT,
        dont_fragment: true,
        identification: 0,
    };
    let quote_max = reply.max.saturating_sub(header.len() + ICMP_HEADER_LEN);
    let quote = packet.get(..packet.len().min(quote_max))?;
    let icmp_len = ICMP_HEADER_LEN + quote.len();
    let written = header.write(icmp_len, out)?;
    let message = out.get_mut(written..written + icmp_len)?;
    let (head, body) = message.split_at_mut_checked(ICMP_HEADER_LEN)?;
    head.copy_from_slice(&reply.icmp);
    body.copy_from_slice(quote);
    let pseudo = if reply.protocol == ICMPV6 {
        checksum::pseudo_header(header.source, header.destination, ICMPV6, icmp_len)
    } else {
        Sum::default()
    };
    checksum::set(message, 2, pseudo, false);
    Some(written + icmp_len)
}

//= RFC 1812 §4.3.2.7, RFC 4443 §2.4 e
//# Never in answer to an ICMP error, a later fragment, a multicast or broadcast destination, or a source that is
//# not one host. (RFC 4443 would allow packet-too-big for multicast; no multicast goes through this tunnel.)
fn deserves_an_error(inner: &Inner, packet: &[u8]) -> bool {
    if inner.fragment == FragmentKind::Later || !is_one_host(inner.source) || !is_one_host(inner.destination)
    {
        return false;
    }
    let kind = packet.get(inner.transport_offset..inner.total_len).and_then(|transport| transport.first());
    match inner.protocol {
        // Echo, timestamp, information and address mask are queries; anything else may be an error.
        ICMP => kind.is_some_and(|kind| matches!(kind, 0 | 8 | 9 | 10 | 13..=18)),
        // RFC 4443 §2.1: errors are below 128; 137 is the redirect.
        ICMPV6 => kind.is_some_and(|kind| *kind >= 128 && *kind != 137),
        _ => true,
    }
}

fn is_one_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !v4.is_unspecified()
                && !v4.is_loopback()
                && !v4.is_multicast()
                && v4 != Ipv4Addr::BROADCAST
                && v4.octets()[0] < 240
        }
        IpAddr::V6(v6) => !v6.is_multicast() && v6 != Ipv6Addr::UNSPECIFIED && v6 != Ipv6Addr::LOCALHOST,
    }
}
