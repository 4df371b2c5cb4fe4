//! `config` to `bgp::Config`, and what the speaker learnt to what the route manager reads.

use std::net::{IpAddr, Ipv4Addr};

use bgp::Family;
use ipnet::IpNet;
use routes::PathAttributes;

/// The speaker of one tunnel; `None` on a static connection, when another program speaks, and without an inside
/// address. Prefixes of a family that the tunnel has no inside address for cannot be announced and are left out.
pub fn config(connection: &config::Connection, tunnel: &config::Tunnel) -> Option<bgp::Config> {
    let config::Routing::Bgp(session) = &connection.routing else { return None };
    if session.mode != config::BgpMode::Internal {
        return None;
    }
    let inside = tunnel.inside.first()?;
    let (mut v4, mut v6) = (None, None);
    for address in tunnel.inside.iter().map(|inside| inside.ours.addr()) {
        match address {
            IpAddr::V4(address) => v4 = v4.or(Some(address)),
            IpAddr::V6(address) => v6 = v6.or(Some(address)),
        }
    }
    let families: Vec<Family> =
        [v4.map(|_| Family::Ipv4), v6.map(|_| Family::Ipv6)].into_iter().flatten().collect();
    let advertise =
        session.advertise.iter().filter(|prefix| families.contains(&Family::of_prefix(prefix))).copied();
    let ours = inside.ours.addr();
    Some(bgp::Config {
        hold: session.hold_time,
        keepalive: session.hold_time / 3,
        advertise: advertise.collect(),
        accept: match &session.accept {
            config::Accept::Any => None,
            config::Accept::Within(prefixes) => Some(prefixes.clone()),
        },
        accept_default: connection.allow_default_route,
        max_prefix_in: session.max_accepted,
        max_prefix_out: session.max_advertised,
        med_out: tunnel.preference.med,
        prepend: tunnel.preference.prepend,
        families,
        next_hop_v4: v4,
        next_hop_v6: v6,
        ..bgp::Config::new(
            session.local_asn,
            session.remote_asn,
            ours,
            inside.aws,
            router_id(v4, tunnel, ours),
        )
    })
}

/// An IPv4 address that is ours; where there is none, four octets that tell our tunnels apart.
fn router_id(inside: Option<Ipv4Addr>, tunnel: &config::Tunnel, ours: IpAddr) -> Ipv4Addr {
    match (inside, tunnel.known_gateway(), ours) {
        (Some(address), _, _) => address,
        (None, Some(IpAddr::V4(address)), _) | (None, _, IpAddr::V4(address)) => address,
        (None, _, IpAddr::V6(address)) => {
            let [.., a, b, c, d] = address.octets();
            // RFC 6286 §2.1 allows any value but zero.
            Ipv4Addr::from([a, b, c, d | 1])
        }
    }
}

/// What the rules of egress read of a received path.
pub fn path(path: &bgp::Path) -> (IpNet, PathAttributes) {
    let attributes = &path.attributes;
    let read = PathAttributes {
        as_path_length: attributes.as_path_length(),
        origin: attributes.origin as u8,
        med: attributes.med,
        neighbour_as: attributes.neighbour_as().unwrap_or(0),
    };
    (path.prefix, read)
}
