//! Whether an inner packet is inside the traffic selectors of a child SA. It checks and never rewrites.
//! RFC 4301 §5.1 (outbound), §5.2 step 4 (inbound), §4.4.1.1 (ports, OPAQUE), RFC 7296 §3.13.1.

use std::net::IpAddr;

use model::TrafficSelector;

use crate::packet::{FragmentKind, ICMP, ICMPV6, Inner, TCP, UDP};

const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;
const ANY_PORT: (u16, u16) = (0, 65535);
const OPAQUE: (u16, u16) = (65535, 0);

/// The selectors of one child SA, with a shortcut for the route-based case in which everything is permitted:
/// there only the version field of a packet is looked at.
#[derive(Clone, Debug)]
pub struct Selectors {
    local: Box<[TrafficSelector]>,
    remote: Box<[TrafficSelector]>,
    all_v4: bool,
    all_v6: bool,
}

impl Selectors {
    /// `local` are the selectors of our side, `remote` of the peer's side, in any order.
    pub fn new(local: Vec<TrafficSelector>, remote: Vec<TrafficSelector>) -> Self {
        let both = |any: TrafficSelector| local.contains(&any) && remote.contains(&any);
        let (all_v4, all_v6) = (both(TrafficSelector::any_v4()), both(TrafficSelector::any_v6()));
        Self { local: local.into_boxed_slice(), remote: remote.into_boxed_slice(), all_v4, all_v6 }
    }

    /// Whether a packet from our side may be sent through the SA. An unreadable packet may not.
    #[inline]
    pub fn permits_outbound(&self, packet: &[u8]) -> bool {
        self.permits_all(packet) || permits(&self.local, &self.remote, packet)
    }

    /// Whether a packet that came through the SA may be delivered. An unreadable packet may not.
    #[inline]
    pub fn permits_inbound(&self, packet: &[u8]) -> bool {
        self.permits_all(packet) || permits(&self.remote, &self.local, packet)
    }

    #[inline]
    fn permits_all(&self, packet: &[u8]) -> bool {
        match packet.first().map(|octet| octet >> 4) {
            Some(4) => self.all_v4,
            Some(6) => self.all_v6,
            _ => false,
        }
    }
}

fn permits(source: &[TrafficSelector], destination: &[TrafficSelector], packet: &[u8]) -> bool {
    let Some(inner) = Inner::parse(packet) else { return false };
    let ports = ports(&inner, packet);
    let matches = |selector: &TrafficSelector, address: IpAddr, port: Option<u16>| {
        selector.contains(address)
            && (selector.protocol() == 0 || selector.protocol() == inner.protocol)
            && port_matches(selector.ports(), port)
    };
    source.iter().any(|selector| matches(selector, inner.source, ports.map(|p| p.0)))
        && destination.iter().any(|selector| matches(selector, inner.destination, ports.map(|p| p.1)))
}

//= RFC 4301 §4.4.1.1
//# Where a packet has no port (a later fragment, a protocol without ports), ANY and OPAQUE match, a range
//# does not; where it has one, OPAQUE does not.
fn port_matches(range: (u16, u16), port: Option<u16>) -> bool {
    match port {
        _ if range == ANY_PORT => true,
        None => range == OPAQUE,
        Some(port) => range.0 <= port && port <= range.1,
    }
}

/// Source and destination port; for ICMP type and code in both (RFC 7296 §3.13.1).
fn ports(inner: &Inner, packet: &[u8]) -> Option<(u16, u16)> {
    if inner.fragment == FragmentKind::Later {
        return None;
    }
    let transport: &[u8; 4] = packet.get(inner.transport_offset..inner.total_len)?.first_chunk()?;
    let [a, b, c, d] = *transport;
    let first = u16::from_be_bytes([a, b]);
    match inner.protocol {
        TCP | UDP | SCTP | UDP_LITE => Some((first, u16::from_be_bytes([c, d]))),
        ICMP | ICMPV6 => Some((first, first)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(source: [u8; 4], destination: [u8; 4], ports: (u16, u16)) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend(source);
        packet.extend(destination);
        packet.extend(ports.0.to_be_bytes());
        packet.extend(ports.1.to_be_bytes());
        packet.extend([0, 8, 0, 0]);
        packet
    }

    fn ts(protocol: u8, ports: (u16, u16), net: &str) -> TrafficSelector {
        let net = TrafficSelector::from_net(net.parse().unwrap());
        TrafficSelector::new(protocol, ports, net.start(), net.end()).unwrap()
    }

    #[test]
    fn everything_of_a_family_passes_a_route_based_sa_and_nothing_of_the_other() {
        let all = Selectors::new(vec![TrafficSelector::any_v4()], vec![TrafficSelector::any_v4()]);
        assert!(all.permits_outbound(&udp([1, 2, 3, 4], [5, 6, 7, 8], (1, 2))));
        assert!(!all.permits_inbound(&[0x60; 40]));
        assert!(!all.permits_inbound(&[]));
    }

    #[test]
    fn directions_are_mirrored() {
        let narrow =
            Selectors::new(vec![ts(0, ANY_PORT, "10.0.0.0/8")], vec![ts(0, ANY_PORT, "172.16.0.0/12")]);
        let out = udp([10, 1, 1, 1], [172, 16, 0, 1], (5, 6));
        assert!(narrow.permits_outbound(&out));
        assert!(!narrow.permits_inbound(&out));
        let back = udp([172, 16, 0, 1], [10, 1, 1, 1], (6, 5));
        assert!(narrow.permits_inbound(&back));
        assert!(!narrow.permits_inbound(&udp([192, 168, 0, 1], [10, 1, 1, 1], (6, 5))));
    }

    #[test]
    fn ports_and_protocols_narrow_and_a_later_fragment_has_no_port() {
        let web = Selectors::new(vec![ts(0, ANY_PORT, "10.0.0.0/8")], vec![ts(17, (50, 60), "10.0.0.0/8")]);
        let mut packet = udp([10, 1, 1, 1], [10, 2, 2, 2], (1, 53));
        assert!(web.permits_outbound(&packet));
        packet[7] = 9; // fragment offset
        assert!(!web.permits_outbound(&packet));
        let opaque = Selectors::new(vec![ts(0, ANY_PORT, "10.0.0.0/8")], vec![ts(17, OPAQUE, "10.0.0.0/8")]);
        assert!(opaque.permits_outbound(&packet));
        packet[7] = 0;
        assert!(!opaque.permits_outbound(&packet));
        packet[9] = TCP;
        assert!(!web.permits_outbound(&packet));
    }
}
