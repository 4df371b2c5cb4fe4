//! Traffic selectors (RFC 7296 §3.13, RFC 4301 §4.4.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// One address range with a protocol and a port range; both ends inclusive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrafficSelector {
    protocol: u8,
    start_port: u16,
    end_port: u16,
    start: IpAddr,
    end: IpAddr,
}

/// Why a range is no traffic selector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InvalidSelector {
    /// The two ends belong to different address families.
    MixedFamilies,
    /// The first address is above the last one.
    AddressOrder,
    /// The first port is above the last one, and it is not the OPAQUE pair 65535-0.
    PortOrder,
}

impl fmt::Display for InvalidSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MixedFamilies => "the range starts in one address family and ends in the other",
            Self::AddressOrder => "the range's first address is above its last",
            Self::PortOrder => "the range's first port is above its last",
        })
    }
}

impl std::error::Error for InvalidSelector {}

impl TrafficSelector {
    /// A selector from its parts; protocol 0 and ports 0-65535 stand for "any".
    ///
    /// # Errors
    /// When the ends are of different families or out of order.
    pub fn new(protocol: u8, ports: (u16, u16), start: IpAddr, end: IpAddr) -> Result<Self, InvalidSelector> {
        if start.is_ipv4() != end.is_ipv4() {
            return Err(InvalidSelector::MixedFamilies);
        }
        if start > end {
            return Err(InvalidSelector::AddressOrder);
        }
        // RFC 7296 §3.13.1: 65535-0 is OPAQUE, the one pair allowed to run backwards.
        if ports.0 > ports.1 && ports != (65535, 0) {
            return Err(InvalidSelector::PortOrder);
        }
        Ok(Self { protocol, start_port: ports.0, end_port: ports.1, start, end })
    }

    /// All of IPv4, any protocol, any port: what a route-based gateway negotiates.
    pub const fn any_v4() -> Self {
        Self {
            protocol: 0,
            start_port: 0,
            end_port: 65535,
            start: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            end: IpAddr::V4(Ipv4Addr::BROADCAST),
        }
    }

    /// All of IPv6, any protocol, any port.
    pub const fn any_v6() -> Self {
        Self {
            protocol: 0,
            start_port: 0,
            end_port: 65535,
            start: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            end: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
        }
    }

    /// Every address of `net`, any protocol, any port.
    pub fn from_net(net: IpNet) -> Self {
        Self { protocol: 0, start_port: 0, end_port: 65535, start: net.network(), end: net.broadcast() }
    }

    /// IP protocol number; 0 is any.
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// First and last port.
    pub const fn ports(&self) -> (u16, u16) {
        (self.start_port, self.end_port)
    }

    /// First address.
    pub const fn start(&self) -> IpAddr {
        self.start
    }

    /// Last address.
    pub const fn end(&self) -> IpAddr {
        self.end
    }

    /// Whether `address` lies in the range (protocol and ports not looked at).
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.start.is_ipv4() && self.start <= address && address <= self.end
    }

    /// Whether everything that `self` matches is matched by `other` too.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.intersection(other) == Some(*self)
    }

    /// What both match: the narrowing of RFC 7296 §2.9. `None` when nothing is left.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let protocol = match (self.protocol, other.protocol) {
            (0, p) | (p, 0) => p,
            (a, b) if a == b => a,
            _ => return None,
        };
        if self.start.is_ipv4() != other.start.is_ipv4() {
            return None;
        }
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        let ports = if self.is_opaque() || other.is_opaque() {
            // OPAQUE ports are neither any port nor a range; they only match themselves and "any".
            let any = (0, 65535);
            match (self.ports(), other.ports()) {
                (a, b) if a == b => a,
                (a, b) if b == any => a,
                (a, b) if a == any => b,
                _ => return None,
            }
        } else {
            let ports = (self.start_port.max(other.start_port), self.end_port.min(other.end_port));
            if ports.0 > ports.1 {
                return None;
            }
            ports
        };
        if start > end {
            return None;
        }
        Some(Self { protocol, start_port: ports.0, end_port: ports.1, start, end })
    }

    const fn is_opaque(&self) -> bool {
        self.start_port == 65535 && self.end_port == 0
    }
}

impl fmt::Display for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks: Vec<IpNet> = match (self.start, self.end) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                ipnet::Ipv4Subnets::new(a, b, 0).map(IpNet::V4).take(2).collect()
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                ipnet::Ipv6Subnets::new(a, b, 0).map(IpNet::V6).take(2).collect()
            }
            _ => Vec::new(),
        };
        match blocks.as_slice() {
            [net] => write!(f, "{net}")?,
            _ => write!(f, "{}-{}", self.start, self.end)?,
        }
        if self.protocol != 0 {
            write!(f, "[{}]", self.protocol)?;
        }
        if self.ports() != (0, 65535) {
            write!(f, ":{}-{}", self.start_port, self.end_port)?;
        }
        Ok(())
    }
}

impl fmt::Debug for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> TrafficSelector {
        TrafficSelector::from_net(text.parse().unwrap())
    }

    #[test]
    fn narrowing_yields_the_common_part() {
        assert_eq!(net("10.0.0.0/8").intersection(&TrafficSelector::any_v4()), Some(net("10.0.0.0/8")));
        assert_eq!(net("10.0.0.0/8").intersection(&net("10.1.0.0/16")), Some(net("10.1.0.0/16")));
        assert_eq!(net("10.0.0.0/8").intersection(&net("192.168.0.0/16")), None);
        assert_eq!(net("10.0.0.0/8").intersection(&TrafficSelector::any_v6()), None);
    }

    #[test]
    fn protocol_and_ports_narrow_too() {
        let a = TrafficSelector::new(6, (80, 443), "10.0.0.0".parse().unwrap(), "10.0.0.9".parse().unwrap())
            .unwrap();
        let b =
            TrafficSelector::new(17, (0, 65535), "10.0.0.0".parse().unwrap(), "10.0.0.9".parse().unwrap())
                .unwrap();
        assert_eq!(a.intersection(&b), None);
        let any = TrafficSelector::any_v4();
        assert!(a.is_subset_of(&any));
        assert!(!any.is_subset_of(&a));
        assert_eq!(a.intersection(&any).map(|ts| ts.ports()), Some((80, 443)));
    }

    #[test]
    fn a_backward_range_is_refused_but_opaque_is_not() {
        let one = "10.0.0.1".parse().unwrap();
        let two = "10.0.0.2".parse().unwrap();
        assert_eq!(TrafficSelector::new(0, (0, 65535), two, one), Err(InvalidSelector::AddressOrder));
        assert_eq!(TrafficSelector::new(0, (9, 1), one, two), Err(InvalidSelector::PortOrder));
        assert!(TrafficSelector::new(0, (65535, 0), one, two).is_ok());
        let six = "fd00::1".parse().unwrap();
        assert_eq!(TrafficSelector::new(0, (0, 65535), one, six), Err(InvalidSelector::MixedFamilies));
    }

    #[test]
    fn prints_as_a_prefix_where_it_is_one() {
        assert_eq!(TrafficSelector::any_v4().to_string(), "0.0.0.0/0");
        assert_eq!(TrafficSelector::any_v6().to_string(), "::/0");
        assert_eq!(net("10.1.0.0/16").to_string(), "10.1.0.0/16");
    }
}
