//! A kernel route as a plain value, and what makes two of them the same.
//!
//! Only what a gateway needs: unicast routes over interfaces, with or without a gateway, and unreachable ones. The kernel's own
//! identity of a route is (table, prefix, metric); everything else is content (rtnetlink(7)).

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// The routing protocol number that marks a route or rule as ours (`proto cgwd` in `ip route`).
///
/// Free in the kernel's header and in FRR. The obvious 186 is RTPROT_BGP: FRR's zebra sweeps routes with
/// that number when it starts and never redistributes them, and we would delete its routes.
pub const PROTOCOL: u8 = 173;

/// The kernel's main routing table.
pub const TABLE_MAIN: u32 = 254;

/// The metric of our routes unless configured: worse than connected routes, as good as the usual DHCP one.
pub const DEFAULT_METRIC: u32 = 100;

/// The worst metric there is: every other route to the same prefix is preferred.
pub const METRIC_WORST: u32 = u32::MAX;

/// What the kernel uses for an IPv6 route that was given metric 0.
const IPV6_DEFAULT_METRIC: u32 = 1024;

/// The most next hops of one multipath route that we ask for.
pub const NEXT_HOPS_MAX: usize = 16;

/// Where a route sends packets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// Interface name, for example `cgw0`. An interface that vanished between dump and translation is
    /// `if<index>`.
    pub interface: String,
    /// The router on that interface; `None` on point-to-point interfaces such as a TUN.
    pub gateway: Option<IpAddr>,
    /// Share of the flows in a multipath route, 1 to 256.
    pub weight: u16,
}

impl NextHop {
    /// The next hop for a point-to-point interface, with weight 1.
    pub fn device(interface: impl Into<String>) -> Self {
        Self { interface: interface.into(), gateway: None, weight: 1 }
    }

    /// The next hop for a router on a shared link, with weight 1.
    pub fn gateway(interface: impl Into<String>, gateway: IpAddr) -> Self {
        Self { interface: interface.into(), gateway: Some(gateway), weight: 1 }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(gateway) = self.gateway {
            write!(f, "via {gateway} ")?;
        }
        write!(f, "dev {}", self.interface)?;
        if self.weight > 1 { write!(f, " weight {}", self.weight) } else { Ok(()) }
    }
}

/// One route: unicast, or one that drops with *unreachable*.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Destination, host bits zero.
    pub prefix: IpNet,
    /// Next hops, sorted; more than one makes a multipath (ECMP) route, none an unreachable one.
    pub via: Vec<NextHop>,
    /// Priority: the lower wins among routes to the same prefix in one table.
    pub metric: u32,
    /// Kernel routing table; [`TABLE_MAIN`] unless configured.
    pub table: u32,
    /// Source address for packets of this machine itself (`src` in `ip route`).
    pub source: Option<IpAddr>,
    /// Who made it: [`PROTOCOL`] for ours.
    pub protocol: u8,
}

/// What the kernel takes for the identity of a route: no two routes share it, and `Replace` acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// Kernel routing table.
    pub table: u32,
    /// Destination.
    pub prefix: IpNet,
    /// Priority, after the kernel's own defaulting.
    pub metric: u32,
}

impl Route {
    /// A route of ours, in canonical form: host bits cleared, next hops sorted.
    pub fn ours(prefix: IpNet, mut via: Vec<NextHop>, metric: u32, table: u32) -> Self {
        via.sort();
        via.dedup();
        via.truncate(NEXT_HOPS_MAX);
        Self { prefix: prefix.trunc(), via, metric, table, source: None, protocol: PROTOCOL }
    }

    /// The kernel's identity of this route.
    pub fn key(&self) -> RouteKey {
        RouteKey { table: self.table, prefix: self.prefix.trunc(), metric: self.effective_metric() }
    }

    /// Whether we made it.
    pub fn is_ours(&self) -> bool {
        self.protocol == PROTOCOL
    }

    /// The metric as the kernel stores it: IPv6 turns 0 into 1024.
    pub fn effective_metric(&self) -> u32 {
        match (self.prefix, self.metric) {
            (IpNet::V6(_), 0) => IPV6_DEFAULT_METRIC,
            (_, metric) => metric,
        }
    }

    /// Whether both send the same packets the same way; the order of next hops does not matter.
    pub fn same_content(&self, other: &Self) -> bool {
        if self.source != other.source || self.via.len() != other.via.len() {
            return false;
        }
        let sorted = |route: &Self| {
            let mut via = route.via.clone();
            via.sort();
            via
        };
        self.via == other.via || sorted(self) == sorted(other)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.via.is_empty() { "unreachable " } else { "" }, self.prefix)?;
        for hop in &self.via {
            write!(f, " {}", if self.via.len() > 1 { "nexthop " } else { "" })?;
            write!(f, "{hop}")?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if self.table != TABLE_MAIN {
            write!(f, " table {}", self.table)?;
        }
        write!(f, " metric {}", self.metric)
    }
}

/// Whether `outer` contains every address of `inner` (same family).
pub(crate) fn covers(outer: &IpNet, inner: &IpNet) -> bool {
    match (outer, inner) {
        (IpNet::V4(outer), IpNet::V4(inner)) => outer.contains(inner),
        (IpNet::V6(outer), IpNet::V6(inner)) => outer.contains(inner),
        _ => false,
    }
}
