//! Interface addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::socket::Requests;
use crate::Error;

/// One address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub index: u32,
    /// Address and prefix length; not cut to the prefix.
    pub address: IpNet,
    /// Made by the kernel (link-local, autoconfiguration), not by an administrator.
    pub dynamic: bool,
}

pub(super) fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

pub(super) fn list(requests: &mut Requests, index: Option<u32>) -> Result<Vec<Address>, Error> {
    let mut message = AddressMessage::default();
    message.header.index = index.unwrap_or(0);
    let message = RouteNetlinkMessage::GetAddress(message);
    let answers = requests.dump(message, || "list the addresses".to_owned())?;
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => from_message(&message),
            _ => None,
        })
        .filter(|address| index.is_none_or(|index| index == address.index))
        .collect())
}

pub(super) fn add(requests: &mut Requests, index: u32, address: IpNet) -> Result<(), Error> {
    let message = RouteNetlinkMessage::NewAddress(message(index, address));
    let result = requests
        .change(message, NLM_F_CREATE | NLM_F_EXCL, || format!("add address {address} to interface {index}"));
    match result {
        Err(e) if e.errno() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

pub(super) fn delete(requests: &mut Requests, index: u32, address: IpNet) -> Result<(), Error> {
    let message = RouteNetlinkMessage::DelAddress(message(index, address));
    let result = requests.change(message, 0, || format!("remove address {address} from interface {index}"));
    match result {
        Err(e) if matches!(e.errno(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => Ok(()),
        other => other,
    }
}

fn message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.index = index;
    message.header.prefix_len = address.prefix_len();
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message.attributes.push(AddressAttribute::Address(address.addr()));
    if address.addr().is_ipv6() {
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}

pub(super) fn from_message(message: &AddressMessage) -> Option<Address> {
    let mut local = None;
    let mut peer = None;
    let mut permanent = message.header.flags.bits() & libc::IFA_F_PERMANENT as u8 != 0;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => peer = Some(*ip),
            AddressAttribute::Flags(flags) => permanent = flags.contains(AddressFlags::Permanent),
            _ => {}
        }
    }
    // IPv4 point-to-point: Local is ours, Address the peer's. IPv6 has Address only.
    let address = IpNet::new(local.or(peer)?, message.header.prefix_len).ok()?;
    let kernel_made = matches!(address, IpNet::V6(net) if net.addr().is_unicast_link_local());
    Some(Address { index: message.header.index, address, dynamic: !permanent || kernel_made })
}
