//! The network of the lab, all on documentation and private addresses.
//!
//! ```text
//!  lan 10.10.0.2 ── gw 10.10.0.1 | 192.0.2.1 ── net ─┬─ 198.51.100.1 aws1 ─┐
//!      fd10:10::2      fd10:10::1 | 2001:db8::1      └─ 203.0.113.1  aws2 ─┴─ vpc 172.31.0.10, fd31::10
//!  inside: 169.254.10.0/30 and 169.254.20.0/30 (AWS .1, us .2); fd00:10::/126 and fd00:20::/126
//! ```
//! The VPC host hangs on both endpoints. Its answers go back through the endpoint the last packet of that flow
//! came from (a connection mark), which is what AWS does for an asymmetric gateway: it follows us. Flows that
//! the VPC begins take the endpoint named by [`Topology::vpc_return_via`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use ipnet::IpNet;

use crate::cleanup::{self, Scratch};
use crate::netns::{Namespace, veth};

/// The LAN behind the gateway.
pub const LAN: &str = "10.10.0.0/16";
/// What lies behind AWS.
pub const VPC: &str = "172.31.0.0/16";
/// The IPv6 LAN.
pub const LAN6: &str = "fd10:10::/64";
/// The IPv6 VPC.
pub const VPC6: &str = "fd31::/64";
/// A host on the LAN.
pub const LAN_HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 10, 0, 2));
/// A host in the VPC.
pub const VPC_HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 31, 0, 10));
/// The LAN host's IPv6 address.
pub const LAN_HOST6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd10, 0x10, 0, 0, 0, 0, 0, 2));
/// The VPC host's IPv6 address.
pub const VPC_HOST6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd31, 0, 0, 0, 0, 0, 0, 0x10));
/// The gateway's outside address.
pub const GW_OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The gateway's outside IPv6 address.
pub const GW_OUTSIDE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// One of the two AWS tunnel endpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Tunnel 1.
    One,
    /// Tunnel 2.
    Two,
}

impl Side {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::One, Self::Two];

    /// 0 or 1.
    pub const fn index(self) -> usize {
        match self {
            Self::One => 0,
            Self::Two => 1,
        }
    }

    /// The other endpoint.
    pub const fn other(self) -> Self {
        match self {
            Self::One => Self::Two,
            Self::Two => Self::One,
        }
    }

    /// `aws1` or `aws2`: the role of its namespace, and the router's interface towards it.
    pub const fn role(self) -> &'static str {
        match self {
            Self::One => "aws1",
            Self::Two => "aws2",
        }
    }

    /// The name that an import gives the tunnel.
    pub const fn tunnel(self) -> &'static str {
        match self {
            Self::One => "tunnel1",
            Self::Two => "tunnel2",
        }
    }

    /// Outside address of the endpoint.
    pub const fn outside(self) -> IpAddr {
        IpAddr::V4(match self {
            Self::One => Ipv4Addr::new(198, 51, 100, 1),
            Self::Two => Ipv4Addr::new(203, 0, 113, 1),
        })
    }

    /// Outside IPv6 address of the endpoint.
    pub const fn outside6(self) -> IpAddr {
        IpAddr::V6(match self {
            Self::One => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
            Self::Two => Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1),
        })
    }

    /// AWS's inside address, in its /30.
    pub fn inside(self) -> IpNet {
        let third = if self == Self::One { 10 } else { 20 };
        net(Ipv4Addr::new(169, 254, third, 1).into(), 30)
    }

    /// Our inside address, without the prefix.
    pub const fn inside_ours(self) -> IpAddr {
        IpAddr::V4(match self {
            Self::One => Ipv4Addr::new(169, 254, 10, 2),
            Self::Two => Ipv4Addr::new(169, 254, 20, 2),
        })
    }

    /// AWS's inside IPv6 address, in its /126.
    pub fn inside6(self) -> IpNet {
        let second = if self == Self::One { 0x10 } else { 0x20 };
        net(Ipv6Addr::new(0xfd00, second, 0, 0, 0, 0, 0, 1).into(), 126)
    }

    /// The key in the files the lab writes.
    pub const fn psk(self) -> &'static str {
        match self {
            Self::One => "lab_Psk.Tunnel1",
            Self::Two => "lab_Psk.Tunnel2",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// The address families of a lab's connection; AWS has all four combinations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Families {
    /// The outside addresses are IPv6.
    pub outside_ipv6: bool,
    /// The inside addresses, the LAN and the VPC are IPv6.
    pub inside_ipv6: bool,
}

impl Families {
    /// IPv4 in IPv4.
    pub const V4: Self = Self { outside_ipv6: false, inside_ipv6: false };
    /// All four.
    pub const ALL: [Self; 4] = [
        Self::V4,
        Self { outside_ipv6: false, inside_ipv6: true },
        Self { outside_ipv6: true, inside_ipv6: false },
        Self { outside_ipv6: true, inside_ipv6: true },
    ];

    /// The gateway's outside address.
    pub const fn gateway(self) -> IpAddr {
        if self.outside_ipv6 { GW_OUTSIDE6 } else { GW_OUTSIDE }
    }

    /// An endpoint's outside address.
    pub const fn endpoint(self, side: Side) -> IpAddr {
        if self.outside_ipv6 { side.outside6() } else { side.outside() }
    }

    /// AWS's inside address.
    pub fn inside(self, side: Side) -> IpNet {
        if self.inside_ipv6 { side.inside6() } else { side.inside() }
    }

    /// The network behind the gateway.
    pub const fn lan(self) -> &'static str {
        if self.inside_ipv6 { LAN6 } else { LAN }
    }

    /// The network behind AWS.
    pub const fn vpc(self) -> &'static str {
        if self.inside_ipv6 { VPC6 } else { VPC }
    }

    /// The host in the VPC.
    pub const fn vpc_host(self) -> IpAddr {
        if self.inside_ipv6 { VPC_HOST6 } else { VPC_HOST }
    }
}

impl std::fmt::Display for Families {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |ipv6| if ipv6 { "IPv6" } else { "IPv4" };
        write!(f, "{} in {}", name(self.inside_ipv6), name(self.outside_ipv6))
    }
}

fn net(address: IpAddr, prefix: u8) -> IpNet {
    // The prefixes above are literals within range.
    IpNet::new(address, prefix).unwrap_or_else(|_| IpNet::from(address))
}

/// The whole network; dropping it removes it.
#[derive(Debug)]
pub struct Topology {
    /// The LAN host.
    pub lan: Namespace,
    /// The gateway: where `cgwd` runs.
    pub gw: Namespace,
    /// The internet between them: a router.
    pub net: Namespace,
    /// The VPC host.
    pub vpc: Namespace,
    aws: [Namespace; 2],
    scratch: Scratch,
    rig: String,
}

impl Topology {
    /// Builds it. Takes about half a second.
    ///
    /// # Errors
    /// When not root, or the kernel lacks namespaces, veth or nftables.
    pub fn new() -> Result<Self> {
        let rig = cleanup::new_rig();
        let create = |role: &str| Namespace::create(&rig, role);
        let this = Self {
            lan: create("lan")?,
            gw: create("gw")?,
            net: create("net")?,
            vpc: create("vpc")?,
            aws: [create("aws1")?, create("aws2")?],
            scratch: Scratch::new(&rig, "files")?,
            rig: rig.clone(),
        };
        this.build_customer_side()?;
        this.build_aws_side()?;
        Ok(this)
    }

    /// The namespace of an endpoint.
    pub fn aws(&self, side: Side) -> &Namespace {
        &self.aws[side.index()]
    }

    /// The lab's scratch directory: configurations, logs, sockets.
    pub fn scratch(&self) -> &std::path::Path {
        self.scratch.path()
    }

    /// The prefix of this lab's namespaces.
    pub fn rig(&self) -> &str {
        &self.rig
    }

    fn build_customer_side(&self) -> Result<()> {
        veth((&self.lan, "lan0"), (&self.gw, "lan0"))?;
        veth((&self.gw, "wan0"), (&self.net, "gw0"))?;
        self.lan.ip_batch(&lines(&[
            "addr add 10.10.0.2/16 dev lan0",
            "addr add fd10:10::2/64 dev lan0 nodad",
            "route add default via 10.10.0.1",
            "route add default via fd10:10::1",
        ]))?;
        forwarding(&self.gw)?;
        self.gw.ip_batch(&lines(&[
            "addr add 10.10.0.1/16 dev lan0",
            "addr add fd10:10::1/64 dev lan0 nodad",
            "addr add 192.0.2.1/24 dev wan0",
            "addr add 2001:db8::1/64 dev wan0 nodad",
            "route add default via 192.0.2.254",
            "route add default via 2001:db8::fe",
        ]))?;
        forwarding(&self.net)?;
        self.net
            .ip_batch(&lines(&["addr add 192.0.2.254/24 dev gw0", "addr add 2001:db8::fe/64 dev gw0 nodad"]))
    }

    fn build_aws_side(&self) -> Result<()> {
        self.vpc.ip_batch(&[
            format!("addr add {VPC_HOST}/32 dev lo"),
            format!("addr add {VPC_HOST6}/128 dev lo nodad"),
        ])?;
        for side in Side::BOTH {
            let (aws, n, role) = (self.aws(side), side.number(), side.role());
            let v4 = if side == Side::One { "198.51.100" } else { "203.0.113" };
            veth((&self.net, role), (aws, "wan0"))?;
            veth((aws, "vpc0"), (&self.vpc, role))?;
            self.net.ip_batch(&[
                format!("addr add {v4}.254/24 dev {role}"),
                format!("addr add 2001:db8:{n}::fe/64 dev {role} nodad"),
            ])?;
            forwarding(aws)?;
            aws.ip_batch(&[
                format!("addr add {v4}.1/24 dev wan0"),
                format!("addr add 2001:db8:{n}::1/64 dev wan0 nodad"),
                format!("addr add 10.255.{n}.1/30 dev vpc0"),
                format!("addr add fd99:{n}::1/64 dev vpc0 nodad"),
                format!("route add default via {v4}.254"),
                format!("route add default via 2001:db8:{n}::fe"),
                format!("route add {VPC} via 10.255.{n}.2"),
                format!("route add {VPC6} via fd99:{n}::2"),
                // With its tunnel down an endpoint drops what is meant for the customer; it does not leak it.
                format!("route add blackhole {LAN} metric 4000"),
                format!("route add blackhole {LAN6} metric 4000"),
            ])?;
            self.vpc.ip_batch(&[
                format!("addr add 10.255.{n}.2/30 dev {role}"),
                format!("addr add fd99:{n}::2/64 dev {role} nodad"),
                format!("route add default via 10.255.{n}.1 dev {role} src {VPC_HOST} table 10{n}"),
                format!("route add default via fd99:{n}::1 dev {role} src {VPC_HOST6} table 10{n}"),
                format!("rule add fwmark {n} lookup 10{n} pref 10{n}"),
            ])?;
            self.vpc.ip(&format!("-6 rule add fwmark {n} lookup 10{n} pref 10{n}"))?;
        }
        self.vpc.nft(
            "table inet lab {
               chain in { type filter hook prerouting priority -150;
                 iifname aws1 ct mark set 1
                 iifname aws2 ct mark set 2
               }
               chain out { type route hook output priority -150;
                 ct mark != 0 meta mark set ct mark
               }
             }",
        )?;
        self.vpc_return_via(Side::One)
    }

    /// The endpoint that takes what the VPC begins by itself.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn vpc_return_via(&self, side: Side) -> Result<()> {
        let (n, role) = (side.number(), side.role());
        self.vpc.ip_batch(&[
            format!("route replace default via 10.255.{n}.1 dev {role} src {VPC_HOST}"),
            format!("route replace default via fd99:{n}::1 dev {role} src {VPC_HOST6}"),
        ])
    }

    /// What the internet drops from now on: rules for nftables' forward hook, without the verdict
    /// (`udp dport 4500`, `ip saddr 198.51.100.1`). An empty list lets everything through again.
    ///
    /// # Errors
    /// When nftables refuses a rule.
    pub fn internet_drops(&self, matches: &[String]) -> Result<()> {
        let rules: String = matches.iter().map(|m| format!("    {m} counter drop\n")).collect();
        self.net.nft(&format!(
            "table inet lab {{ }}\ndelete table inet lab\ntable inet lab {{\n  chain forward {{\n    type \
             filter hook forward priority 0;\n{rules}  }}\n}}\n"
        ))
    }

    /// A silent black hole between the gateway and one endpoint, in both directions.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn cut(&self, side: Side) -> Result<()> {
        self.internet_drops(&both_ways(side))
    }

    /// Black holes on both paths.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn cut_both(&self) -> Result<()> {
        self.internet_drops(&[both_ways(Side::One), both_ways(Side::Two)].concat())
    }

    /// Everything passes again.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn mend(&self) -> Result<()> {
        self.internet_drops(&[])
    }
}

fn both_ways(side: Side) -> Vec<String> {
    let (v4, v6) = (side.outside(), side.outside6());
    vec![
        format!("ip saddr {v4}"),
        format!("ip daddr {v4}"),
        format!("ip6 saddr {v6}"),
        format!("ip6 daddr {v6}"),
    ]
}

fn forwarding(namespace: &Namespace) -> Result<()> {
    namespace.sysctl(&[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")])
}

fn lines(all: &[&str]) -> Vec<String> {
    all.iter().map(|line| (*line).to_owned()).collect()
}
