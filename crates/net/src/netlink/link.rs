//! Interfaces.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};

use super::socket::Requests;
use crate::Error;

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// MTU in octets.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Up, with a carrier.
    pub running: bool,
    /// Loopback.
    pub loopback: bool,
    /// Length of the transmit queue, in packets.
    pub txqueuelen: u32,
    /// Packets that were to leave through it and did not, mostly because its queue was full.
    pub tx_dropped: u64,
    /// `tun`, `veth`, `vlan`, ...; `None` for hardware.
    pub kind: Option<String>,
}

/// What to change on an interface; `None` leaves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkChange {
    /// Administratively up or down.
    pub up: Option<bool>,
    /// MTU in octets.
    pub mtu: Option<u32>,
    /// Length of the transmit queue, in packets.
    pub txqueuelen: Option<u32>,
    /// Whether the link has a carrier, where its driver lets that be set (TUN does).
    pub carrier: Option<bool>,
}

pub(super) fn list(requests: &mut Requests) -> Result<Vec<Link>, Error> {
    let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let answers = requests.dump(message, || "list the interfaces".to_owned())?;
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(message) => from_message(&message),
            _ => None,
        })
        .collect())
}

pub(super) fn by_name(requests: &mut Requests, name: &str) -> Result<Link, Error> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    let answer = requests
        .get(RouteNetlinkMessage::GetLink(message), || format!("look up interface {name}"))
        .map_err(|e| if e.errno() == Some(libc::ENODEV) { Error::NoInterface(name.to_owned()) } else { e })?;
    match answer {
        RouteNetlinkMessage::NewLink(message) => from_message(&message),
        _ => None,
    }
    .ok_or_else(|| Error::NoInterface(name.to_owned()))
}

pub(super) fn set(requests: &mut Requests, index: u32, change: &LinkChange) -> Result<(), Error> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    if let Some(up) = change.up {
        message.header.change_mask = LinkFlags::Up;
        if up {
            message.header.flags = LinkFlags::Up;
        }
    }
    if let Some(mtu) = change.mtu {
        message.attributes.push(LinkAttribute::Mtu(mtu));
    }
    if let Some(len) = change.txqueuelen {
        message.attributes.push(LinkAttribute::TxQueueLen(len));
    }
    if let Some(carrier) = change.carrier {
        message.attributes.push(LinkAttribute::Carrier(u8::from(carrier)));
    }
    requests
        .change(RouteNetlinkMessage::SetLink(message), 0, || format!("set {change:?} on interface {index}"))
}

pub(super) fn delete(requests: &mut Requests, index: u32) -> Result<(), Error> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    requests.change(RouteNetlinkMessage::DelLink(message), 0, || format!("remove interface {index}"))
}

pub(super) fn from_message(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::Running),
        loopback: flags.contains(LinkFlags::Loopback),
        txqueuelen: 0,
        tx_dropped: 0,
        kind: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::TxQueueLen(len) => link.txqueuelen = *len,
            LinkAttribute::Stats64(stats) => link.tx_dropped = stats.tx_dropped,
            LinkAttribute::LinkInfo(infos) => link.kind = infos.iter().find_map(kind),
            _ => {}
        }
    }
    if link.name.is_empty() { None } else { Some(link) }
}

fn kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(InfoKind::Tun) => Some("tun".to_owned()),
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}
