//! The MTU of a tunnel's interface: AWS's table as a formula (`esp::inner_mtu`).

use model::Encapsulation;
use tunnel::Carrying;

use crate::translate::ike_config::esp_transforms;

/// Before anything is negotiated: the smallest that the configuration may lead to.
pub fn before(tunnel: &config::Tunnel, path_mtu: u16) -> u16 {
    let outer_ipv6 = tunnel.outside.is_ipv6();
    // `auto` may still end up encapsulated, where a NAT is found.
    let udp = Encapsulation::Udp;
    let each = esp_transforms(&tunnel.esp);
    each.into_iter()
        .map(|transform| esp::inner_mtu(path_mtu, outer_ipv6, udp, transform))
        .min()
        .unwrap_or(1280)
}

/// What was negotiated.
pub(super) fn negotiated(tunnel: &config::Tunnel, path_mtu: u16, carrying: Carrying) -> u16 {
    esp::inner_mtu(path_mtu, tunnel.outside.is_ipv6(), carrying.encapsulation, carrying.suite.transform)
}
