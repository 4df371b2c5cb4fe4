//! Routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteNextHop, RouteProtocol,
    RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::TABLE_MAIN;
use super::address::family;
use super::socket::Requests;
use crate::Error;

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum RouteKind {
    /// Sends it to a next hop.
    #[default]
    Unicast,
    /// Drops it silently.
    Blackhole,
    /// Drops it with ICMP host unreachable.
    Unreachable,
    /// Drops it with ICMP administratively prohibited.
    Prohibit,
    /// Something this crate does not make (local, broadcast, multicast, ...); the kernel's number.
    Other(u8),
}

/// One way of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// The interface's index; zero lets the kernel find it from the gateway.
    pub index: u32,
    /// The router to send to; `None` on a point-to-point interface.
    pub gateway: Option<IpAddr>,
    /// Share of the flows, 1-255, among the next hops of one route.
    pub weight: u8,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// What it matches.
    pub destination: IpNet,
    /// The table it is in.
    pub table: u32,
    /// Who made it: the protocol number that tells one routing daemon's routes from another's.
    pub protocol: u8,
    /// Preference, the lower the better; zero stands for 0 (IPv4) or 1024 (IPv6).
    pub metric: u32,
    /// What it does.
    pub kind: RouteKind,
    /// Source address for packets that this machine sends itself.
    pub source: Option<IpAddr>,
    /// MTU for this destination, where it is set.
    pub mtu: Option<u32>,
    /// One or several ways; none for a route that drops.
    pub next_hops: Vec<NextHop>,
}

impl Route {
    /// A route of `protocol` in the main table to `destination` through the point-to-point interface `index`.
    pub fn through(destination: IpNet, index: u32, protocol: u8) -> Self {
        Self {
            destination,
            table: TABLE_MAIN,
            protocol,
            metric: 0,
            kind: RouteKind::Unicast,
            source: None,
            mtu: None,
            next_hops: vec![NextHop { index, gateway: None, weight: 1 }],
        }
    }
}

/// Which routes to list; `None` matches all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// Only this table.
    pub table: Option<u32>,
    /// Only routes made by this protocol.
    pub protocol: Option<u8>,
    /// Only routes with a next hop on this interface.
    pub index: Option<u32>,
    /// Only IPv4 (`Some(true)`) or IPv6 (`Some(false)`).
    pub ipv4: Option<bool>,
}

pub(super) fn list(requests: &mut Requests, filter: &RouteFilter) -> Result<Vec<Route>, Error> {
    let families: &[AddressFamily] = match filter.ipv4 {
        Some(true) => &[AddressFamily::Inet],
        Some(false) => &[AddressFamily::Inet6],
        None => &[AddressFamily::Inet, AddressFamily::Inet6],
    };
    let mut routes = Vec::new();
    for family in families {
        let mut message = RouteMessage::default();
        message.header.address_family = *family;
        if let Some(protocol) = filter.protocol {
            message.header.protocol = RouteProtocol::from(protocol);
        }
        if let Some(table) = filter.table {
            message.attributes.push(RouteAttribute::Table(table));
        }
        let answers = requests.dump(RouteNetlinkMessage::GetRoute(message), || "list the routes".to_owned());
        let answers = match answers {
            // Asking for a table that never had a route, with strict checking.
            Err(e) if e.errno() == Some(libc::ENOENT) => continue,
            other => other?,
        };
        routes.extend(answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(message) => from_message(&message),
            _ => None,
        }));
    }
    routes.retain(|route| {
        filter.table.is_none_or(|table| table == route.table)
            && filter.protocol.is_none_or(|protocol| protocol == route.protocol)
            && filter.index.is_none_or(|index| route.next_hops.iter().any(|hop| hop.index == index))
    });
    Ok(routes)
}

pub(super) fn add(requests: &mut Requests, route: &Route, replace: bool) -> Result<(), Error> {
    let message = RouteNetlinkMessage::NewRoute(to_message(route)?);
    let flags = NLM_F_CREATE | if replace { NLM_F_REPLACE } else { NLM_F_EXCL };
    requests.change(message, flags, || {
        format!("{} route {}", if replace { "replace" } else { "add" }, describe(route))
    })
}

pub(super) fn delete(requests: &mut Requests, route: &Route) -> Result<(), Error> {
    let message = RouteNetlinkMessage::DelRoute(to_message(route)?);
    match requests.change(message, 0, || format!("remove route {}", describe(route))) {
        Err(e) if matches!(e.errno(), Some(libc::ESRCH | libc::ENODEV)) => Ok(()),
        other => other,
    }
}

/// One change of many, see [`super::Netlink::change_routes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// As [`super::Netlink::add_route`].
    Add(Route),
    /// As [`super::Netlink::replace_route`].
    Replace(Route),
    /// As [`super::Netlink::delete_route`].
    Delete(Route),
}

pub(super) fn change_all(
    requests: &mut Requests,
    changes: &[RouteChange],
) -> Result<Vec<Result<(), Error>>, Error> {
    let mut messages = Vec::with_capacity(changes.len());
    for change in changes {
        messages.push(match change {
            RouteChange::Add(route) => {
                (RouteNetlinkMessage::NewRoute(to_message(route)?), NLM_F_CREATE | NLM_F_EXCL)
            }
            RouteChange::Replace(route) => {
                (RouteNetlinkMessage::NewRoute(to_message(route)?), NLM_F_CREATE | NLM_F_REPLACE)
            }
            RouteChange::Delete(route) => (RouteNetlinkMessage::DelRoute(to_message(route)?), 0),
        });
    }
    let answers = requests.change_all(messages, || format!("change {} routes", changes.len()))?;
    Ok(changes.iter().zip(answers).map(|(change, errno)| outcome(change, errno)).collect())
}

fn outcome(change: &RouteChange, errno: Option<i32>) -> Result<(), Error> {
    let (verb, route) = match (change, errno) {
        (_, None) | (RouteChange::Delete(_), Some(libc::ESRCH | libc::ENODEV)) => return Ok(()),
        (RouteChange::Add(route), _) => ("add", route),
        (RouteChange::Replace(route), _) => ("replace", route),
        (RouteChange::Delete(route), _) => ("remove", route),
    };
    let error = std::io::Error::from_raw_os_error(errno.unwrap_or_default());
    Err(Error::system(format!("{verb} route {}", describe(route)), error))
}

fn describe(route: &Route) -> String {
    format!("to {} in table {} with metric {}", route.destination, route.table, route.metric)
}

fn to_message(route: &Route) -> Result<RouteMessage, Error> {
    let mut message = RouteMessage::default();
    let destination = route.destination.trunc();
    message.header.address_family = family(destination.addr());
    message.header.destination_prefix_length = destination.prefix_len();
    message.header.table = u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.header.protocol = RouteProtocol::from(route.protocol);
    message.header.kind = match route.kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Blackhole => RouteType::BlackHole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Prohibit => RouteType::Prohibit,
        RouteKind::Other(kind) => RouteType::from(kind),
    };
    let direct = route.next_hops.iter().all(|hop| hop.gateway.is_none());
    // IPv4 wants link scope for a route without a gateway; IPv6 knows no scopes.
    message.header.scope = if direct && route.kind == RouteKind::Unicast && destination.addr().is_ipv4() {
        RouteScope::Link
    } else {
        RouteScope::Universe
    };
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Destination(destination.addr().into()));
    attributes.push(RouteAttribute::Table(route.table));
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    if let Some(source) = route.source {
        attributes.push(RouteAttribute::PrefSource(source.into()));
    }
    if let Some(mtu) = route.mtu {
        attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
    }
    match route.next_hops.as_slice() {
        [] if route.kind == RouteKind::Unicast => {
            return Err(Error::Argument(format!("the route to {} leads nowhere", route.destination)));
        }
        [] => {}
        [hop] => attributes.extend(hop_attributes(hop, destination.addr())),
        hops => attributes.push(RouteAttribute::MultiPath(
            hops.iter()
                .map(|hop| {
                    let mut next = RouteNextHop::default();
                    next.hops = hop.weight.saturating_sub(1);
                    next.interface_index = hop.index;
                    next.attributes = gateway_attribute(hop, destination.addr()).into_iter().collect();
                    next
                })
                .collect(),
        )),
    }
    Ok(message)
}

fn hop_attributes(hop: &NextHop, destination: IpAddr) -> impl Iterator<Item = RouteAttribute> {
    let oif = (hop.index != 0).then_some(RouteAttribute::Oif(hop.index));
    oif.into_iter().chain(gateway_attribute(hop, destination))
}

/// An IPv4 destination may have an IPv6 gateway (RFC 5549), which travels as "via".
fn gateway_attribute(hop: &NextHop, destination: IpAddr) -> Option<RouteAttribute> {
    let gateway = hop.gateway?;
    Some(match (destination, gateway) {
        (IpAddr::V4(_), IpAddr::V6(via)) => RouteAttribute::Via(RouteVia::Inet6(via)),
        _ => RouteAttribute::Gateway(gateway.into()),
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

fn gateway_of(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(via)) => Some(IpAddr::V4(*via)),
        RouteAttribute::Via(RouteVia::Inet6(via)) => Some(IpAddr::V6(*via)),
        _ => None,
    })
}

/// `None` for other address families and for cache entries.
pub(super) fn from_message(message: &RouteMessage) -> Option<Route> {
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut destination = any;
    let mut route = Route {
        destination: IpNet::new(any, 0).ok()?,
        table: u32::from(message.header.table),
        protocol: u8::from(message.header.protocol),
        metric: 0,
        kind: match message.header.kind {
            RouteType::Unicast => RouteKind::Unicast,
            RouteType::BlackHole => RouteKind::Blackhole,
            RouteType::Unreachable => RouteKind::Unreachable,
            RouteType::Prohibit => RouteKind::Prohibit,
            other => RouteKind::Other(u8::from(other)),
        },
        source: None,
        mtu: None,
        next_hops: Vec::new(),
    };
    let mut oif = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address)?,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::PrefSource(address) => route.source = ip(address),
            RouteAttribute::Oif(index) => oif = Some(*index),
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            RouteAttribute::MultiPath(hops) => {
                route.next_hops = hops
                    .iter()
                    .map(|hop| NextHop {
                        index: hop.interface_index,
                        gateway: gateway_of(&hop.attributes),
                        weight: hop.hops.saturating_add(1),
                    })
                    .collect();
            }
            _ => {}
        }
    }
    if let Some(index) = oif.filter(|_| route.next_hops.is_empty()) {
        route.next_hops.push(NextHop { index, gateway: gateway_of(&message.attributes), weight: 1 });
    }
    route.destination = IpNet::new(destination, message.header.destination_prefix_length).ok()?;
    Some(route)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(route: &Route) {
        assert_eq!(from_message(&to_message(route).unwrap()).as_ref(), Some(route));
    }

    #[test]
    fn routes_survive_the_kernel_form() {
        let mut route = Route::through("10.1.0.0/16".parse().unwrap(), 7, 173);
        round_trip(&route);
        route.metric = 100;
        route.table = 1000;
        route.source = Some("192.0.2.1".parse().unwrap());
        route.mtu = Some(1400);
        round_trip(&route);
        route.next_hops.push(NextHop { index: 8, gateway: Some("10.9.9.9".parse().unwrap()), weight: 3 });
        round_trip(&route);
        let mut drop = Route::through("2001:db8::/32".parse().unwrap(), 1, 173);
        drop.kind = RouteKind::Blackhole;
        drop.next_hops.clear();
        round_trip(&drop);
    }

    #[test]
    fn a_unicast_route_without_a_way_is_refused_before_the_kernel_sees_it() {
        let mut route = Route::through("10.1.0.0/16".parse().unwrap(), 7, 173);
        route.next_hops.clear();
        assert!(matches!(to_message(&route), Err(Error::Argument(_))));
    }
}
