//! Which of our addresses a tunnel sends from, and which one local programs use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use net::netlink::{Address, Netlink};

/// The address to send from: the configured one; the customer gateway address when it is on this machine; else
/// what the route towards AWS says. A way through one of our own `tunnels` (interface names) is none.
///
/// # Errors
/// In words, when the machine has no way to the outside address at the moment.
pub(super) fn local(
    netlink: &mut Netlink,
    tunnel: &config::Tunnel,
    tunnels: &[String],
) -> Result<IpAddr, String> {
    let ours = netlink.addresses(None).map_err(|error| error.to_string())?;
    let is_ours = |address: IpAddr| ours.iter().any(|known| known.address.addr() == address);
    if let Some(bind) = tunnel.bind {
        return if is_ours(bind) {
            Ok(bind)
        } else {
            Err(format!("the configured local address {bind} is on no interface; add it, or correct `bind`"))
        };
    }
    if is_ours(tunnel.customer_gateway) && tunnel.customer_gateway.is_ipv4() == tunnel.outside.is_ipv4() {
        return Ok(tunnel.customer_gateway);
    }
    let route = netlink
        .route_to(tunnel.outside, None)
        .map_err(|error| format!("no route to {}: {error}", tunnel.outside))?;
    if tunnels.contains(&route.interface) {
        return Err(format!("no route to {} but the one through {}", tunnel.outside, route.interface));
    }
    route.source.ok_or_else(|| {
        format!("the route to {} over {} has no source address", tunnel.outside, route.interface)
    })
}

/// The source addresses for packets of this machine itself: the first of our addresses, of each family, that lies
/// in a `lan` prefix, so that AWS's side sees an address that it routes back.
pub(super) fn lan_sources(
    addresses: &[Address],
    lan: &[IpNet],
    skip: &[u32],
) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let mut inside = addresses
        .iter()
        .filter(|known| !skip.contains(&known.index))
        .map(|known| known.address.addr())
        .filter(|address| lan.iter().any(|net| net.contains(address)));
    let (mut v4, mut v6) = (None, None);
    for address in &mut inside {
        match address {
            IpAddr::V4(address) => v4 = v4.or(Some(address)),
            IpAddr::V6(address) => v6 = v6.or(Some(address)),
        }
    }
    (v4, v6)
}

/// Puts back what somebody took from a tunnel's interface; says which of our `inside` addresses were missing.
///
/// # Errors
/// The kernel's.
pub(super) fn repair(
    netlink: &mut Netlink,
    interface: u32,
    inside: &[IpNet],
) -> Result<Vec<IpNet>, net::Error> {
    let there = netlink.addresses(Some(interface))?;
    let missing: Vec<IpNet> =
        inside.iter().filter(|ours| there.iter().all(|known| known.address != **ours)).copied().collect();
    for address in &missing {
        netlink.add_address(interface, *address)?;
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lan_address_of_ours_is_the_source_of_local_traffic() {
        let address = |index, text: &str| Address { index, address: text.parse().unwrap(), dynamic: false };
        let addresses = [
            address(1, "127.0.0.1/8"),
            address(2, "192.0.2.1/24"),
            address(3, "10.10.0.1/24"),
            address(9, "10.10.7.7/30"),
        ];
        let lan = ["10.10.0.0/16".parse().unwrap()];
        assert_eq!(lan_sources(&addresses, &lan, &[9]).0, Some("10.10.0.1".parse().unwrap()));
        assert_eq!(lan_sources(&addresses, &lan, &[3]).0, Some("10.10.7.7".parse().unwrap()));
        assert_eq!(lan_sources(&addresses, &[], &[]), (None, None));
    }
}
