//! Files in the shapes AWS hands out, for the lab's own connection: the input of the demo and of the tests.
//!
//! The labels and the grammar are AWS's, the prose is ours and the keys are lab keys. The *Generic* text and the
//! XML print the minimum algorithms whatever is allowed, as AWS's do; only the JSON carries the real lists.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::endpoint::{Allowed, Encryption, Hash};
use crate::topology::{Families, GW_OUTSIDE, LAN, LAN6, Side};

/// One VPN connection as AWS would describe it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// `vpn-…`.
    pub id: String,
    /// The customer gateway's address.
    pub gateway: IpAddr,
    /// Our and AWS's AS number, for a dynamic connection.
    pub bgp: Option<(u32, u32)>,
    /// `ikev2`, or what else the tunnel options allow.
    pub ike_versions: Vec<String>,
    /// Its tunnels.
    pub tunnels: Vec<Tunnel>,
}

/// One tunnel of it.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// AWS's address.
    pub outside: IpAddr,
    /// AWS's inside IPv4 address with its prefix; there is one on every connection.
    pub inside: IpNet,
    /// AWS's inside IPv6 address, on a connection that carries IPv6.
    pub inside6: Option<IpNet>,
    /// The pre-shared key.
    pub psk: String,
    /// Phase 1 options.
    pub phase1: Allowed,
    /// Phase 2 options.
    pub phase2: Allowed,
}

impl Tunnel {
    /// The lab's tunnel of one side, with AWS's default options.
    pub fn lab(side: Side) -> Self {
        Self::lab_in(side, Families::V4)
    }

    /// The same in other address families.
    pub fn lab_in(side: Side, families: Families) -> Self {
        Self {
            outside: families.endpoint(side),
            inside: side.inside(),
            inside6: families.inside_ipv6.then(|| side.inside6()),
            psk: side.psk().to_owned(),
            phase1: Allowed::phase1(),
            phase2: Allowed::phase2(),
        }
    }

    /// Our inside address: the second host of the /30.
    fn inside_ours(&self) -> IpAddr {
        self.inside.hosts().nth(1).unwrap_or(self.outside)
    }
}

impl Connection {
    /// The lab's static connection.
    pub fn lab() -> Self {
        Self {
            id: "vpn-0123456789abcdef0".to_owned(),
            gateway: GW_OUTSIDE,
            bgp: None,
            ike_versions: vec!["ikev2".to_owned()],
            tunnels: Side::BOTH.map(Tunnel::lab).to_vec(),
        }
    }

    /// The same one in other address families.
    pub fn lab_in(families: Families) -> Self {
        let tunnels = Side::BOTH.map(|side| Tunnel::lab_in(side, families)).to_vec();
        Self { gateway: families.gateway(), tunnels, ..Self::lab() }
    }

    /// The same one with BGP.
    pub fn lab_bgp() -> Self {
        Self { bgp: Some((65_000, 64_512)), ..Self::lab() }
    }

    /// The *Generic* text download.
    pub fn generic_text(&self) -> String {
        let rule = "=".repeat(80);
        let mut text = format!(
            "Amazon Web Services\nVirtual Private Cloud\n\nVPN Connection Configuration\n{rule}\nTwo tunnels, both \
             to be configured.\n\nYour VPN Connection ID\t\t         : {}\nYour Virtual Private Gateway ID          \
             : vgw-0123456789abcdef0\nYour Customer Gateway ID    \t\t : cgw-0123456789abcdef0\n\n",
            self.id
        );
        for (index, tunnel) in self.tunnels.iter().enumerate() {
            let _ = write!(text, "\nIPSec Tunnel #{}\n{rule}\n{}", index + 1, self.generic_tunnel(tunnel));
        }
        text.push_str("\nAdditional Notes and Questions\n");
        let _ = writeln!(text, "{rule}\n  - XSL Version: 2009-07-15-1119716");
        text
    }

    fn generic_tunnel(&self, tunnel: &Tunnel) -> String {
        let (aws, ours, prefix) = (tunnel.inside.addr(), tunnel.inside_ours(), tunnel.inside.prefix_len());
        let routing = match self.bgp {
            None => format!("#4: Static Routing Configuration:\n\n  - Next hop       : {aws}\n"),
            Some((our_as, aws_as)) => format!(
                "#4: Border Gateway Protocol (BGP) Configuration:\n\n  - Customer Gateway ASN\t          : {our_as} \n  \
                 - Virtual Private  Gateway ASN          : {aws_as}\n  - Neighbor IP Address     \t\t  : {aws}\n  - \
                 Neighbor Hold Time       : 30\n"
            ),
        };
        format!(
            "#1: Internet Key Exchange Configuration\n\n  - IKE version              : IKEv2 \n  - Authentication \
             Method    : Pre-Shared Key \n  - Pre-Shared Key           : {psk}\n  - Authentication Algorithm : \
             sha1\n  - Encryption Algorithm     : aes-128-cbc\n  - Lifetime                 : 28800 seconds\n  - \
             Phase 1 Negotiation Mode : main\n  - Diffie-Hellman           : Group 2\n\n#2: IPSec \
             Configuration\n\n  - Protocol                 : esp\n  - Authentication Algorithm : hmac-sha1-96\n  \
             - Encryption Algorithm     : aes-128-cbc\n  - Lifetime                 : 3600 seconds\n  - Mode      \
             \x20              : tunnel\n  - Perfect Forward Secrecy  : Diffie-Hellman Group 2\n\n  - DPD Interval  \
             \x20          : 10\n  - DPD Retries              : 3\n\n  - TCP MSS Adjustment       : 1379 bytes\n  - \
             Clear Don't Fragment Bit : enabled\n  - Fragmentation            : Before encryption\n\n#3: Tunnel \
             Interface Configuration\n\nOutside IP Addresses:\n  - Customer Gateway \t\t        : {gateway} \n  - \
             Virtual Private Gateway\t        : {outside}\n\nInside IP Addresses\n  - Customer Gateway         : \
             {ours}/{prefix}\n  - Virtual Private Gateway             : {aws}/{prefix}\n\nConfigure your tunnel to \
             fragment at the optimal size:\n  - Tunnel interface MTU     : 1436 bytes\n\n{routing}\n",
            psk = tunnel.psk,
            gateway = self.gateway,
            outside = tunnel.outside,
        )
    }

    /// The `CustomerGatewayConfiguration` XML.
    pub fn xml(&self) -> String {
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<vpn_connection id=\"{}\">\n  \
             <customer_gateway_id>cgw-0123456789abcdef0</customer_gateway_id>\n  \
             <vpn_gateway_id>vgw-0123456789abcdef0</vpn_gateway_id>\n  \
             <vpn_connection_type>ipsec.1</vpn_connection_type>\n",
            self.id
        );
        if self.bgp.is_none() {
            text.push_str("  <vpn_connection_attributes>NoBGPVPNConnection</vpn_connection_attributes>\n");
        }
        for tunnel in &self.tunnels {
            let (our_as, aws_as) = self.bgp.map_or((None, None), |(a, b)| (Some(a), Some(b)));
            let ours = end_xml("customer_gateway", self.gateway, tunnel.inside_ours(), our_as);
            let aws = end_xml("vpn_gateway", tunnel.outside, tunnel.inside.addr(), aws_as);
            let _ =
                write!(text, "  <ipsec_tunnel>\n{ours}{aws}{}  </ipsec_tunnel>\n", phases_xml(&tunnel.psk));
        }
        text.push_str("</vpn_connection>\n");
        text
    }

    /// The answer of `describe-vpn-connections`.
    pub fn describe_json(&self) -> Value {
        let tunnels: Vec<Value> = self.tunnels.iter().map(|tunnel| self.tunnel_json(tunnel)).collect();
        let inside_ipv6 = self.tunnels.iter().any(|tunnel| tunnel.inside6.is_some());
        let routes = match self.bgp {
            None => {
                json!([{"DestinationCidrBlock": if inside_ipv6 { LAN6 } else { LAN }, "Source": "Static", "State": "available"}])
            }
            Some(_) => json!([]),
        };
        json!({"VpnConnections": [{
            "CustomerGatewayConfiguration": self.xml(),
            "CustomerGatewayId": "cgw-0123456789abcdef0",
            "Category": "VPN",
            "State": "available",
            "Type": "ipsec.1",
            "VpnConnectionId": self.id,
            "VpnGatewayId": "vgw-0123456789abcdef0",
            "Options": {
                "EnableAcceleration": false,
                "StaticRoutesOnly": self.bgp.is_none(),
                "LocalIpv4NetworkCidr": "0.0.0.0/0",
                "RemoteIpv4NetworkCidr": "0.0.0.0/0",
                "LocalIpv6NetworkCidr": "::/0",
                "RemoteIpv6NetworkCidr": "::/0",
                "OutsideIpAddressType": if self.gateway.is_ipv4() { "PublicIpv4" } else { "Ipv6" },
                "TunnelInsideIpVersion": if inside_ipv6 { "ipv6" } else { "ipv4" },
                "TunnelOptions": tunnels,
            },
            "Routes": routes,
            "VgwTelemetry": [],
        }]})
    }

    fn tunnel_json(&self, tunnel: &Tunnel) -> Value {
        let words =
            |list: Vec<&str>| list.into_iter().map(|word| json!({ "Value": word })).collect::<Value>();
        let encryption = |all: &[Encryption]| words(all.iter().map(|e| e.aws()).collect());
        let integrity = |all: &[Hash]| words(all.iter().map(|h| h.aws()).collect());
        let groups = |all: &[u16]| all.iter().map(|group| json!({ "Value": group })).collect::<Value>();
        json!({
            "OutsideIpAddress": tunnel.outside,
            "TunnelInsideCidr": tunnel.inside.trunc().to_string(),
            "TunnelInsideIpv6Cidr": tunnel.inside6.map(|net| net.trunc().to_string()),
            "PreSharedKey": tunnel.psk,
            "Phase1LifetimeSeconds": 28_800,
            "Phase2LifetimeSeconds": 3_600,
            "RekeyMarginTimeSeconds": 270,
            "RekeyFuzzPercentage": 100,
            "ReplayWindowSize": 1024,
            "DpdTimeoutSeconds": 40,
            "DpdTimeoutAction": "clear",
            "Phase1EncryptionAlgorithms": encryption(&tunnel.phase1.encryption),
            "Phase2EncryptionAlgorithms": encryption(&tunnel.phase2.encryption),
            "Phase1IntegrityAlgorithms": integrity(&tunnel.phase1.integrity),
            "Phase2IntegrityAlgorithms": integrity(&tunnel.phase2.integrity),
            "Phase1DHGroupNumbers": groups(&tunnel.phase1.groups),
            "Phase2DHGroupNumbers": groups(&tunnel.phase2.groups),
            "IkeVersions": words(self.ike_versions.iter().map(String::as_str).collect()),
            "StartupAction": "add",
        })
    }
}

fn end_xml(element: &str, outside: IpAddr, inside: IpAddr, asn: Option<u32>) -> String {
    let bgp = asn.map_or_else(String::new, |asn| {
        format!("      <bgp>\n        <asn>{asn}</asn>\n        <hold_time>30</hold_time>\n      </bgp>\n")
    });
    format!(
        "    <{element}>\n      <tunnel_outside_address>\n        <ip_address>{outside}</ip_address>\n      \
         </tunnel_outside_address>\n      <tunnel_inside_address>\n        <ip_address>{inside}</ip_address>\n        \
         <network_mask>255.255.255.252</network_mask>\n        <network_cidr>30</network_cidr>\n      \
         </tunnel_inside_address>\n{bgp}    </{element}>\n"
    )
}

fn phases_xml(psk: &str) -> String {
    format!(
        "    <ike>\n      <authentication_protocol>sha1</authentication_protocol>\n      \
         <encryption_protocol>aes-128-cbc</encryption_protocol>\n      <lifetime>28800</lifetime>\n      \
         <perfect_forward_secrecy>group2</perfect_forward_secrecy>\n      <mode>main</mode>\n      \
         <pre_shared_key>{psk}</pre_shared_key>\n    </ike>\n    <ipsec>\n      <protocol>esp</protocol>\n      \
         <authentication_protocol>hmac-sha1-96</authentication_protocol>\n      \
         <encryption_protocol>aes-128-cbc</encryption_protocol>\n      <lifetime>3600</lifetime>\n      \
         <perfect_forward_secrecy>group2</perfect_forward_secrecy>\n      <mode>tunnel</mode>\n      \
         <clear_df_bit>true</clear_df_bit>\n      \
         <fragmentation_before_encryption>true</fragmentation_before_encryption>\n      \
         <tcp_mss_adjustment>1379</tcp_mss_adjustment>\n      <dead_peer_detection>\n        \
         <interval>10</interval>\n        <retries>3</retries>\n      </dead_peer_detection>\n    </ipsec>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_inside_address_is_the_second_host() {
        assert_eq!(Tunnel::lab(Side::One).inside_ours().to_string(), "169.254.10.2");
    }

    #[test]
    fn a_static_file_says_so_in_every_shape() {
        let connection = Connection::lab();
        assert!(connection.generic_text().contains("#4: Static Routing Configuration"));
        assert!(connection.xml().contains("NoBGPVPNConnection"));
        assert_eq!(connection.describe_json()["VpnConnections"][0]["Options"]["StaticRoutesOnly"], true);
    }

    #[test]
    fn every_shape_names_both_tunnels_and_keys() {
        let connection = Connection::lab_bgp();
        for text in [connection.generic_text(), connection.xml(), connection.describe_json().to_string()] {
            for side in Side::BOTH {
                assert!(text.contains(&side.outside().to_string()) && text.contains(side.psk()), "{text}");
            }
        }
    }
}
