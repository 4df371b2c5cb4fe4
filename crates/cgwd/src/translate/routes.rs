//! `routes` to `net::netlink` and back.

use std::collections::BTreeMap;

use net::netlink::{self, Netlink, RouteChange, RouteFilter, RouteKind};
use routes::{Change, NextHop, Observed, Route, Rule, RuleChange};

/// The interfaces of this network namespace by name and by index.
#[derive(Clone, Debug, Default)]
pub struct Interfaces {
    by_name: BTreeMap<String, u32>,
    by_index: BTreeMap<u32, String>,
    /// What the routes over an interface say about packet size, where it is not the interface's MTU.
    packets: BTreeMap<String, u32>,
}

impl Interfaces {
    /// Asks the kernel.
    ///
    /// # Errors
    /// The kernel's.
    pub fn list(netlink: &mut Netlink) -> Result<Self, net::Error> {
        let mut interfaces = Self::default();
        for link in netlink.links()? {
            interfaces.by_index.insert(link.index, link.name.clone());
            interfaces.by_name.insert(link.name, link.index);
        }
        Ok(interfaces)
    }

    /// Lets forwarded IPv4 packets of up to `mtu` octets into `interface`, whose own MTU is smaller: the kernel
    /// goes by the route's MTU when it forwards, and the data plane fragments what does not fit.
    pub fn forward_up_to(&mut self, interface: &str, mtu: u16) {
        self.packets.insert(interface.to_owned(), u32::from(mtu));
    }

    fn mtu(&self, route: &Route) -> Option<u32> {
        let ways = route.via.iter().map(|hop| self.packets.get(&hop.interface).copied());
        // No way at all: no size.
        ways.collect::<Option<Vec<_>>>()?.into_iter().min().filter(|_| route.prefix.addr().is_ipv4())
    }

    fn index(&self, name: &str) -> Result<u32, net::Error> {
        // `routes` calls an interface without a name `if<index>`.
        let numbered = || name.strip_prefix("if").and_then(|number| number.parse().ok());
        self.by_name
            .get(name)
            .copied()
            .or_else(numbered)
            .ok_or_else(|| net::Error::NoInterface(name.to_owned()))
    }

    fn name(&self, index: u32) -> String {
        self.by_index.get(&index).cloned().unwrap_or_else(|| format!("if{index}"))
    }
}

/// All routes of the kernel that say where packets go, or that they go nowhere.
///
/// # Errors
/// The kernel's.
pub fn observe(netlink: &mut Netlink, interfaces: &Interfaces) -> Result<Observed, net::Error> {
    let found = netlink.routes(&RouteFilter::default())?;
    let known = found.iter().filter(|route| !matches!(route.kind, RouteKind::Other(_)));
    Ok(Observed::from_dump(known.map(|route| from_kernel(route, interfaces))))
}

/// Makes the policy rules of ours equal to `wanted`; how many were changed.
///
/// # Errors
/// The kernel's.
pub fn apply_rules(netlink: &mut Netlink, wanted: &[Rule]) -> Result<usize, net::Error> {
    let observed: Vec<Rule> = netlink.rules()?.into_iter().map(rule_from_kernel).collect();
    let changes = routes::plan_rules(wanted, &observed);
    for change in &changes {
        match change {
            RuleChange::Add(rule) => netlink.add_rule(&rule_to_kernel(rule))?,
            RuleChange::Delete(rule) => netlink.delete_rule(&rule_to_kernel(rule))?,
        }
    }
    Ok(changes.len())
}

fn rule_to_kernel(rule: &Rule) -> netlink::Rule {
    netlink::Rule {
        ipv4: !rule.ipv6,
        priority: rule.priority,
        table: rule.table,
        from: rule.from,
        to: rule.to,
        mark: None,
        iif: rule.input_interface.clone(),
        protocol: rule.protocol,
    }
}

fn rule_from_kernel(rule: netlink::Rule) -> Rule {
    Rule {
        priority: rule.priority,
        from: rule.from,
        to: rule.to,
        input_interface: rule.iif,
        ipv6: !rule.ipv4,
        table: rule.table,
        protocol: rule.protocol,
    }
}

/// Carries out changes in their order; what became of each.
///
/// # Errors
/// When nothing could be asked of the kernel at all.
pub fn apply(
    netlink: &mut Netlink,
    interfaces: &Interfaces,
    changes: &[Change],
) -> Result<Vec<Result<(), net::Error>>, net::Error> {
    let mut outcomes = Vec::with_capacity(changes.len());
    let mut asked = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        let translated = match change {
            Change::Add(route) => to_kernel(route, interfaces).map(RouteChange::Add),
            Change::Replace { new, .. } => to_kernel(new, interfaces).map(RouteChange::Replace),
            Change::Delete(route) => to_kernel(route, interfaces).map(RouteChange::Delete),
        };
        match translated {
            Ok(change) => {
                outcomes.push(Ok(()));
                asked.push((index, change));
            }
            // The interface took its routes with it.
            Err(net::Error::NoInterface(_)) if matches!(change, Change::Delete(_)) => outcomes.push(Ok(())),
            Err(error) => outcomes.push(Err(error)),
        }
    }
    let (places, asked): (Vec<usize>, Vec<RouteChange>) = asked.into_iter().unzip();
    for (place, answer) in places.into_iter().zip(netlink.change_routes(&asked)?) {
        if let Some(outcome) = outcomes.get_mut(place) {
            *outcome = answer;
        }
    }
    Ok(outcomes)
}

fn to_kernel(route: &Route, interfaces: &Interfaces) -> Result<netlink::Route, net::Error> {
    let hop = |hop: &NextHop| {
        Ok(netlink::NextHop {
            index: interfaces.index(&hop.interface)?,
            gateway: hop.gateway,
            weight: u8::try_from(hop.weight).unwrap_or(u8::MAX),
        })
    };
    Ok(netlink::Route {
        destination: route.prefix,
        table: route.table,
        protocol: route.protocol,
        metric: route.metric,
        kind: if route.via.is_empty() { RouteKind::Unreachable } else { RouteKind::Unicast },
        source: route.source,
        mtu: interfaces.mtu(route),
        next_hops: route.via.iter().map(hop).collect::<Result<_, net::Error>>()?,
    })
}

fn from_kernel(route: &netlink::Route, interfaces: &Interfaces) -> Route {
    let hop = |hop: &netlink::NextHop| NextHop {
        interface: interfaces.name(hop.index),
        gateway: hop.gateway,
        weight: u16::from(hop.weight),
    };
    // A route that drops hangs on the loopback interface in IPv6.
    let ways = if route.kind == RouteKind::Unicast { route.next_hops.as_slice() } else { &[] };
    Route {
        prefix: route.destination,
        via: ways.iter().map(hop).collect(),
        metric: route.metric,
        table: route.table,
        source: route.source,
        protocol: route.protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces() -> Interfaces {
        let mut interfaces = Interfaces::default();
        interfaces.by_name.insert("cgw0".to_owned(), 7);
        interfaces.by_index.insert(7, "cgw0".to_owned());
        interfaces
    }

    #[test]
    fn a_route_survives_the_way_to_the_kernel_and_back() {
        let mut route = Route::ours(
            "10.1.0.0/16".parse().unwrap(),
            vec![NextHop::device("cgw0")],
            100,
            routes::TABLE_MAIN,
        );
        route.source = Some("10.10.0.1".parse().unwrap());
        let there = to_kernel(&route, &interfaces()).unwrap();
        assert_eq!(there.protocol, routes::PROTOCOL);
        assert_eq!(from_kernel(&there, &interfaces()), route);
    }

    #[test]
    fn an_unreachable_route_survives_too_though_ipv6_hangs_it_on_the_loopback_interface() {
        let route = Route::ours("fd31::/64".parse().unwrap(), Vec::new(), routes::METRIC_WORST, 254);
        let mut there = to_kernel(&route, &interfaces()).unwrap();
        assert_eq!((there.kind, there.mtu), (RouteKind::Unreachable, None));
        there.next_hops.push(netlink::NextHop { index: 1, gateway: None, weight: 1 });
        assert_eq!(from_kernel(&there, &interfaces()), route);
    }

    #[test]
    fn a_route_over_a_missing_interface_is_refused_by_name() {
        let route = Route::ours(
            "10.1.0.0/16".parse().unwrap(),
            vec![NextHop::device("cgw9")],
            100,
            routes::TABLE_MAIN,
        );
        let error = to_kernel(&route, &interfaces()).unwrap_err();
        assert!(error.to_string().contains("cgw9"), "{error}");
    }
}
