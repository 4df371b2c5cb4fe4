//! Policy rules (`ip rule`).

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::socket::Requests;
use crate::Error;

/// A rule that sends matching packets to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// IPv4 or IPv6.
    pub ipv4: bool,
    /// Order, the lower the earlier.
    pub priority: u32,
    /// The table to look in; zero for rules of other kinds, which this crate only lists.
    pub table: u32,
    /// Source prefix.
    pub from: Option<IpNet>,
    /// Destination prefix.
    pub to: Option<IpNet>,
    /// Firewall mark and its mask.
    pub mark: Option<(u32, u32)>,
    /// Incoming interface.
    pub iif: Option<String>,
    /// Who made it.
    pub protocol: u8,
}

pub(super) fn list(requests: &mut Requests) -> Result<Vec<Rule>, Error> {
    let mut rules = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RuleMessage::default();
        message.header.family = family;
        let answers = requests.dump(RouteNetlinkMessage::GetRule(message), || "list the rules".to_owned())?;
        rules.extend(answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRule(message) => from_message(&message),
            _ => None,
        }));
    }
    Ok(rules)
}

pub(super) fn add(requests: &mut Requests, rule: &Rule) -> Result<(), Error> {
    let message = RouteNetlinkMessage::NewRule(to_message(rule));
    requests.change(message, NLM_F_CREATE | NLM_F_EXCL, || format!("add rule {}", rule.priority))
}

pub(super) fn delete(requests: &mut Requests, rule: &Rule) -> Result<(), Error> {
    let message = RouteNetlinkMessage::DelRule(to_message(rule));
    match requests.change(message, 0, || format!("remove rule {}", rule.priority)) {
        Err(e) if e.errno() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

fn to_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if rule.ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.action = RuleAction::ToTable;
    message.header.table = u8::try_from(rule.table).unwrap_or(0);
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::from(rule.protocol)));
    if let Some(from) = rule.from {
        message.header.src_len = from.prefix_len();
        attributes.push(RuleAttribute::Source(from.network()));
    }
    if let Some(to) = rule.to {
        message.header.dst_len = to.prefix_len();
        attributes.push(RuleAttribute::Destination(to.network()));
    }
    if let Some((mark, mask)) = rule.mark {
        attributes.push(RuleAttribute::FwMark(mark));
        attributes.push(RuleAttribute::FwMask(mask));
    }
    if let Some(iif) = &rule.iif {
        attributes.push(RuleAttribute::Iifname(iif.clone()));
    }
    message
}

fn from_message(message: &RuleMessage) -> Option<Rule> {
    let ipv4 = match message.header.family {
        AddressFamily::Inet => true,
        AddressFamily::Inet6 => false,
        _ => return None,
    };
    let mut rule = Rule {
        ipv4,
        priority: 0,
        table: u32::from(message.header.table),
        from: None,
        to: None,
        mark: None,
        iif: None,
        protocol: 0,
    };
    let net = |ip: &IpAddr, len| IpNet::new(*ip, len).ok();
    let (mut mark, mut mask) = (None, u32::MAX);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Source(ip) => rule.from = net(ip, message.header.src_len),
            RuleAttribute::Destination(ip) => rule.to = net(ip, message.header.dst_len),
            RuleAttribute::FwMark(value) => mark = Some(*value),
            RuleAttribute::FwMask(value) => mask = *value,
            RuleAttribute::Iifname(name) => rule.iif = Some(name.clone()),
            RuleAttribute::Protocol(protocol) => rule.protocol = u8::from(*protocol),
            _ => {}
        }
    }
    rule.mark = mark.map(|mark| (mark, mask));
    Some(rule)
}
