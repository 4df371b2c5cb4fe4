//! `routes` to `net::netlink` and back.

use std::collections::BTreeMap;

use net::netlink::{self, Netlink, RouteFilter, RouteKind};
use routes::{Change, NextHop, Observed, Route};

/// The interfaces of this network namespace by name and by index.
#[derive(Clone, Debug, Default)]
pub struct Interfaces {
    by_name: BTreeMap<String, u32>,
    by_index: BTreeMap<u32, String>,
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

/// All unicast routes of the kernel.
///
/// # Errors
/// The kernel's.
pub fn observe(netlink: &mut Netlink, interfaces: &Interfaces) -> Result<Observed, net::Error> {
    let found = netlink.routes(&RouteFilter::default())?;
    let unicast = found.iter().filter(|route| route.kind == RouteKind::Unicast);
    Ok(Observed::from_dump(unicast.map(|route| from_kernel(route, interfaces))))
}

/// Carries out one change.
///
/// # Errors
/// When an interface is gone; the kernel's.
pub fn apply(netlink: &mut Netlink, interfaces: &Interfaces, change: &Change) -> Result<(), net::Error> {
    match change {
        Change::Add(route) => netlink.add_route(&to_kernel(route, interfaces)?),
        Change::Replace { new, .. } => netlink.replace_route(&to_kernel(new, interfaces)?),
        Change::Delete(route) => match to_kernel(route, interfaces) {
            Ok(route) => netlink.delete_route(&route),
            // The interface took its routes with it.
            Err(net::Error::NoInterface(_)) => Ok(()),
            Err(error) => Err(error),
        },
    }
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
        kind: RouteKind::Unicast,
        source: route.source,
        mtu: None,
        next_hops: route.via.iter().map(hop).collect::<Result<_, net::Error>>()?,
    })
}

fn from_kernel(route: &netlink::Route, interfaces: &Interfaces) -> Route {
    let hop = |hop: &netlink::NextHop| NextHop {
        interface: interfaces.name(hop.index),
        gateway: hop.gateway,
        weight: u16::from(hop.weight),
    };
    Route {
        prefix: route.destination,
        via: route.next_hops.iter().map(hop).collect(),
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
