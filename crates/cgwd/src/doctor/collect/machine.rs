//! The machine: devices, kernel parameters, addresses, routes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::IpNet;
use net::netlink::{Netlink, RouteFilter};

use super::sockets;
use crate::doctor::facts::{Facts, Host, KernelRoute, Lookup, Underlay};

/// Looks at the machine; `process` is the daemon's.
pub(super) fn look(facts: &Facts, process: Option<i32>) -> Result<Host, net::Error> {
    let mut netlink = Netlink::open()?;
    let names: BTreeMap<u32, String> =
        netlink.links()?.into_iter().map(|link| (link.index, link.name)).collect();
    let name = |index: u32| names.get(&index).cloned().unwrap_or_else(|| format!("number {index}"));
    let addresses =
        netlink.addresses(None)?.into_iter().map(|known| (name(known.index), known.address)).collect();
    let routes: Vec<KernelRoute> = netlink
        .routes(&RouteFilter::default())?
        .into_iter()
        .map(|route| KernelRoute {
            destination: route.destination,
            table: route.table,
            protocol: route.protocol,
            metric: route.metric,
            interfaces: route.next_hops.iter().map(|hop| name(hop.index)).collect(),
        })
        .collect();
    let mut tables: Vec<u32> = netlink.rules()?.into_iter().map(|rule| rule.table).collect();
    tables.sort_unstable();
    tables.dedup();
    let mut host = Host {
        tun: Some(tun()),
        listeners: sockets::listeners(process),
        forwarding_v4: flag("net.ipv4.ip_forward"),
        forwarding_v6: flag("net.ipv6.conf.all.forwarding"),
        reverse_path_all: number("net.ipv4.conf.all.rp_filter"),
        reverse_path: reverse_path(facts),
        addresses,
        routes,
        tables,
        networkd_removes_routes: networkd_removes_routes(),
        ..Host::default()
    };
    for line in facts.lines() {
        host.underlay.insert(line.outside, underlay(&mut netlink, line.outside));
    }
    host.lookups = lookups(facts, &host, &mut netlink);
    Ok(host)
}

/// Opening the device makes no interface.
fn tun() -> Result<(), String> {
    let opened = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    opened.map(drop).map_err(|error| error.to_string())
}

fn number(key: &str) -> Option<u8> {
    net::sysctl::read(key).ok()?.trim().parse().ok()
}

fn flag(key: &str) -> Option<bool> {
    number(key).map(|value| value != 0)
}

fn reverse_path(facts: &Facts) -> BTreeMap<String, u8> {
    let lines = facts.lines();
    let interfaces = lines.iter().filter_map(|line| line.status.map(|(_, tunnel)| tunnel.interface.clone()));
    interfaces
        .filter_map(|interface| {
            let key = format!("net.ipv4.conf.{}.rp_filter", interface.replace('.', "/"));
            Some((interface, number(&key)?))
        })
        .collect()
}

fn underlay(netlink: &mut Netlink, outside: IpAddr) -> Result<Underlay, String> {
    let found = netlink.route_to(outside, None).map_err(|error| error.to_string())?;
    Ok(Underlay {
        interface: found.interface,
        gateway: found.gateway,
        source: found.source,
        mtu: found.mtu,
        local: found.local,
    })
}

fn lookups(facts: &Facts, host: &Host, netlink: &mut Netlink) -> Vec<Lookup> {
    let Some(running) = facts.running() else { return Vec::new() };
    let prefixes = running
        .routes
        .routes
        .iter()
        .filter(|route| !route.interfaces.is_empty())
        .filter_map(|route| route.destination.parse::<IpNet>().ok());
    prefixes
        .filter_map(|prefix| {
            let target = target(prefix, host)?;
            let found = netlink.route_to(target, None);
            let interface = found.map(|found| found.interface).map_err(|error| error.to_string());
            Some(Lookup { prefix, target, interface })
        })
        .collect()
}

/// An address of the prefix for which no narrower route exists, so that ours decides.
pub(super) fn target(prefix: IpNet, host: &Host) -> Option<IpAddr> {
    if prefix.prefix_len() == 0 {
        return None;
    }
    let narrower = |address: IpAddr| {
        host.routes.iter().any(|route| {
            route.destination.prefix_len() > prefix.prefix_len() && route.destination.contains(&address)
        })
    };
    let own = |address: IpAddr| host.addresses.iter().any(|(_, known)| known.addr() == address);
    candidates(prefix)
        .into_iter()
        .find(|address| prefix.contains(address) && !narrower(*address) && !own(*address))
}

/// Another address of the network than the one given with it.
pub(in crate::doctor) fn neighbour(network: IpNet) -> Option<IpAddr> {
    candidates(network).into_iter().find(|address| *address != network.addr() && network.contains(address))
}

/// The second, the middle and the last but one address, and the only one of a host route.
fn candidates(prefix: IpNet) -> Vec<IpAddr> {
    match prefix {
        IpNet::V4(net) => {
            let (low, high) = (u32::from(net.network()), u32::from(net.broadcast()));
            let middle = low + (high - low) / 2;
            [low.saturating_add(1), middle, high.saturating_sub(1), low]
                .map(|n| Ipv4Addr::from(n).into())
                .to_vec()
        }
        IpNet::V6(net) => {
            let (low, high) = (u128::from(net.network()), u128::from(net.broadcast()));
            let middle = low + (high - low) / 2;
            [low.saturating_add(1), middle, high.saturating_sub(1), low]
                .map(|n| Ipv6Addr::from(n).into())
                .to_vec()
        }
    }
}

/// networkd runs, and its last word on ManageForeignRoutes is not "no" (networkd.conf(5); the default is yes).
fn networkd_removes_routes() -> bool {
    if !Path::new("/run/systemd/netif/state").exists() {
        return false;
    }
    let mut manages = true;
    let mut files = vec![Path::new("/etc/systemd/networkd.conf").to_owned()];
    // A name in /etc hides the same name in /run, and that one the same in /usr/lib.
    let mut dropins = BTreeMap::new();
    for directory in ["/usr/lib/systemd", "/run/systemd", "/etc/systemd"] {
        let Ok(entries) = std::fs::read_dir(format!("{directory}/networkd.conf.d")) else { continue };
        for entry in entries.flatten() {
            dropins.insert(entry.file_name(), entry.path());
        }
    }
    files.extend(dropins.into_values().filter(|path| path.extension().is_some_and(|end| end == "conf")));
    for file in files {
        if let Some(said) = std::fs::read_to_string(file).ok().as_deref().and_then(manage_foreign_routes) {
            manages = said;
        }
    }
    manages
}

fn manage_foreign_routes(text: &str) -> Option<bool> {
    let value = text.lines().rev().find_map(|line| line.trim().strip_prefix("ManageForeignRoutes"))?;
    let value = value.trim_start().strip_prefix('=')?.trim().to_ascii_lowercase();
    Some(!matches!(value.as_str(), "no" | "false" | "off" | "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_networkd_counts() {
        assert_eq!(manage_foreign_routes("[Network]\nManageForeignRoutes=no\n"), Some(false));
        assert_eq!(manage_foreign_routes("ManageForeignRoutes = yes"), Some(true));
        assert_eq!(manage_foreign_routes("#ManageForeignRoutes=no"), None);
    }

    #[test]
    fn a_lookup_avoids_what_a_narrower_route_takes() {
        let route = |text: &str| KernelRoute {
            destination: text.parse().unwrap(),
            table: 254,
            protocol: 2,
            metric: 0,
            interfaces: vec!["lan0".to_owned()],
        };
        let host = Host { routes: vec![route("10.0.0.0/16"), route("10.0.0.0/8")], ..Host::default() };
        let target = |text: &str| target(text.parse().unwrap(), &host).map(|ip| ip.to_string());
        assert_eq!(target("10.0.0.0/8").as_deref(), Some("10.127.255.255"));
        assert_eq!(target("172.31.0.0/16").as_deref(), Some("172.31.0.1"));
        assert_eq!(target("172.31.0.9/32").as_deref(), Some("172.31.0.9"));
        assert_eq!(target("0.0.0.0/0"), None);
        assert_eq!(target("10.0.0.0/8"), target("10.0.0.0/8"));
    }
}
