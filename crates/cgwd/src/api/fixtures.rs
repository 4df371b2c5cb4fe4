//! What the tests of this crate start from: a tunnel, and the parts of one that is up.

use super::{Bgp, Child, Drops, Ike, Stage, Tunnel};

/// A configured tunnel that is down.
pub(crate) fn tunnel(name: &str) -> Tunnel {
    Tunnel {
        name: name.to_owned(),
        outside_ip: "198.51.100.1".parse().unwrap(),
        interface: "cgw0".to_owned(),
        inside_ip: None,
        mtu: 1438,
        stage: Stage::Down,
        since_seconds: 3.0,
        egress: false,
        drained: false,
        ike: None,
        child: None,
        probe: None,
        bgp: None,
        certificate: None,
        last_error: None,
    }
}

/// An established IKE SA.
pub(crate) fn ike() -> Ike {
    Ike {
        state: "established".to_owned(),
        spi_i: "1".repeat(16),
        spi_r: "2".repeat(16),
        role: "initiator".to_owned(),
        proposal: "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384".to_owned(),
        ppk: false,
        established_seconds: 3.0,
        rekey_in_seconds: 20_000.0,
        expires_in_seconds: 28_800.0,
        rekeys: 0,
    }
}

/// A child SA that has carried little.
pub(crate) fn child() -> Child {
    Child {
        state: "installed".to_owned(),
        spi_in: "1".repeat(8),
        spi_out: "2".repeat(8),
        proposal: "AES_GCM_16_256".to_owned(),
        encapsulation: "udp".to_owned(),
        established_seconds: 3.0,
        rekey_in_seconds: 2_400.0,
        expires_in_seconds: 3_600.0,
        rekeys: 0,
        rx_packets: 1,
        rx_bytes: 84,
        tx_packets: 2,
        tx_bytes: 168,
        drops: Drops::default(),
        aead: String::new(),
        offloads: Default::default(),
        calls: Default::default(),
    }
}

/// An established session.
pub(crate) fn bgp() -> Bgp {
    Bgp {
        state: "Established".to_owned(),
        peer: "169.254.10.1".parse().unwrap(),
        asn: 64_512,
        received: 12,
        accepted: 11,
        advertised: 1,
        uptime_seconds: Some(2.0),
        waiting_for: None,
    }
}
