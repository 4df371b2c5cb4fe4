//! Asking the kernel how it would send a packet.

use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteType};

use super::address::family;
use super::link::{self, Link};
use super::route;
use super::socket::Requests;
use crate::Error;

/// How the kernel would send to a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteLookup {
    /// The source address it would choose.
    pub source: Option<IpAddr>,
    /// Index of the interface it would use.
    pub index: u32,
    /// That interface's name.
    pub interface: String,
    /// MTU of the path: the route's where it has one (learnt or set), else the interface's.
    pub mtu: u32,
    /// The router, or `None` when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The destination is one of this machine's own addresses.
    pub local: bool,
    /// The table the route was found in.
    pub table: u32,
}

pub(super) fn route_to(
    requests: &mut Requests,
    destination: IpAddr,
    source: Option<IpAddr>,
) -> Result<RouteLookup, Error> {
    let what = || format!("look up the route to {destination}");
    let message = question(destination, source);
    ask(requests, message, source, what)
}

pub(super) fn forwarded(
    requests: &mut Requests,
    destination: IpAddr,
    source: IpAddr,
    arrives: u32,
) -> Result<RouteLookup, Error> {
    let what = || format!("forward a packet from {source} to {destination}");
    let mut message = question(destination, Some(source));
    message.attributes.push(RouteAttribute::Iif(arrives));
    ask(requests, message, Some(source), what)
}

fn question(destination: IpAddr, source: Option<IpAddr>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = if destination.is_ipv4() { 32 } else { 128 };
    message.attributes.push(RouteAttribute::Destination(destination.into()));
    if let Some(source) = source {
        message.header.source_prefix_length = if source.is_ipv4() { 32 } else { 128 };
        message.attributes.push(RouteAttribute::Source(source.into()));
    }
    message
}

fn ask(
    requests: &mut Requests,
    message: RouteMessage,
    source: Option<IpAddr>,
    what: impl Fn() -> String,
) -> Result<RouteLookup, Error> {
    let answer = requests.get(RouteNetlinkMessage::GetRoute(message), &what)?;
    let RouteNetlinkMessage::NewRoute(message) = answer else {
        return Err(Error::Answer { what: what(), detail: "it is no route".to_owned() });
    };
    let found = route::from_message(&message)
        .ok_or_else(|| Error::Answer { what: what(), detail: "it is of another family".to_owned() })?;
    let hop = found
        .next_hops
        .first()
        .ok_or_else(|| Error::Answer { what: what(), detail: "it has no interface".to_owned() })?;
    let Link { name, mtu, .. } = link::list(requests)?
        .into_iter()
        .find(|link| link.index == hop.index)
        .ok_or_else(|| Error::NoInterface(format!("number {}", hop.index)))?;
    Ok(RouteLookup {
        // For an explicit source the kernel repeats it as RTA_SRC and leaves the preferred one out.
        source: found.source.or(source),
        index: hop.index,
        interface: name,
        mtu: learnt_mtu(&message).unwrap_or(mtu).min(mtu),
        gateway: hop.gateway,
        local: message.header.kind == RouteType::Local,
        table: found.table,
    })
}

fn learnt_mtu(message: &RouteMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => metrics.iter().find_map(|metric| match metric {
            RouteMetric::Mtu(mtu) => Some(*mtu),
            _ => None,
        }),
        _ => None,
    })
}
