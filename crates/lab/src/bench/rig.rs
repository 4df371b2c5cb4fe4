//! The network of the benchmarks: four namespaces in a row, nothing else on the links.
//!
//! ```text
//!  lan 10.10.0.2 ── gw 10.10.0.1 | 192.0.2.1 ══ 192.0.2.2 aws 172.31.0.1 ── vpc 172.31.0.10
//! ```
//! A virtual link hands super-packets of 64 KiB through unsegmented, which no cable does. So everything is measured
//! twice: as the links come ([`Mode::Default`]), and with their segmentation switched off so that only packets of
//! the link's MTU cross ([`Mode::WireTrue`]), which is proven by counting octets and packets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::cleanup::{self, Scratch};
use crate::netns::{Namespace, veth};
use crate::process::{Process, Spawn};
use crate::traffic::binary;
use crate::wait;

/// A host behind the first gateway.
pub(super) const LAN_HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 10, 0, 2));
/// A host behind the second.
pub(super) const VPC_HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 31, 0, 10));
/// What lies behind the first gateway.
pub(super) const LAN: &str = "10.10.0.0/16";
/// What lies behind the second.
pub(super) const VPC: &str = "172.31.0.0/16";
/// The first gateway's outside address.
pub(super) const GW: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The second gateway's outside address.
pub(super) const AWS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
/// Ethernet header and MTU of every link: what one packet on a cable has at most.
pub(super) const MAX_FRAME: f64 = 1514.0;

/// Every end of every link.
const ENDS: [(Role, &str); 6] = [
    (Role::Lan, "eth0"),
    (Role::Gw, "lan0"),
    (Role::Gw, "wan0"),
    (Role::Aws, "wan0"),
    (Role::Aws, "vpc0"),
    (Role::Vpc, "eth0"),
];

/// What the links do with packets larger than their MTU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, clap::ValueEnum)]
pub enum Mode {
    /// They hand them through.
    #[serde(rename = "default")]
    Default,
    /// They have no segmentation offload, as a cable; receivers may coalesce (GRO).
    #[serde(rename = "wire-true")]
    WireTrue,
}

impl Mode {
    /// Both, in the order of the tables.
    pub const BOTH: [Self; 2] = [Self::Default, Self::WireTrue];

    /// Its name in tables and results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::WireTrue => "wire-true",
        }
    }
}

/// One of the four hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Lan,
    Gw,
    Aws,
    Vpc,
}

/// The four namespaces; dropping them removes everything.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) lan: Namespace,
    pub(super) gw: Namespace,
    pub(super) aws: Namespace,
    pub(super) vpc: Namespace,
    pub(super) mode: Mode,
    /// The way between the gateways, where it is not a cable.
    way: Option<Way>,
    scratch: Scratch,
}

/// A host between the gateways and the relay on it, which ends with its standard input.
#[derive(Debug)]
struct Way {
    _relay: Process,
    _stdin: Option<std::process::ChildStdin>,
    _host: Namespace,
}

/// What a lossy way does: 10 ms each way, and one packet of a hundred is lost.
const DELAY_MS: u32 = 10;
const LOSE_ONE_IN: u32 = 100;

/// Octets and packets that one interface received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    pub(super) bytes: u64,
    pub(super) packets: u64,
}

impl Received {
    /// Mean octets per packet since `earlier`, Ethernet header included; zero when nothing came.
    pub(super) fn bytes_per_packet(self, earlier: Self) -> f64 {
        let packets = self.packets - earlier.packets;
        if packets == 0 { 0.0 } else { (self.bytes - earlier.bytes) as f64 / packets as f64 }
    }
}

impl Rig {
    /// Builds it; no traffic can pass between the two sides until a contender makes a way.
    pub(super) fn new(mode: Mode) -> Result<Self> {
        Self::build(mode, false)
    }

    /// The same with 20 ms of round trip more between the gateways, and a hundredth of the packets lost each way.
    pub(super) fn lossy(mode: Mode) -> Result<Self> {
        Self::build(mode, true)
    }

    fn build(mode: Mode, lossy: bool) -> Result<Self> {
        let rig = cleanup::new_rig();
        let create = |role: &str| Namespace::create(&rig, role);
        let mut this = Self {
            lan: create("lan")?,
            gw: create("gw")?,
            aws: create("aws")?,
            vpc: create("vpc")?,
            mode,
            way: None,
            scratch: Scratch::new(&rig, "bench")?,
        };
        veth((&this.lan, "eth0"), (&this.gw, "lan0"))?;
        let wan = if lossy { Some(Namespace::create(&rig, "wan")?) } else { None };
        match &wan {
            None => veth((&this.gw, "wan0"), (&this.aws, "wan0"))?,
            Some(wan) => {
                veth((&this.gw, "wan0"), (wan, "gw0"))?;
                veth((wan, "aws0"), (&this.aws, "wan0"))?;
            }
        }
        veth((&this.aws, "vpc0"), (&this.vpc, "eth0"))?;
        let batch = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        this.lan.ip_batch(&batch(&["addr add 10.10.0.2/16 dev eth0", "route add default via 10.10.0.1"]))?;
        this.gw.ip_batch(&batch(&["addr add 10.10.0.1/16 dev lan0", "addr add 192.0.2.1/24 dev wan0"]))?;
        this.aws.ip_batch(&batch(&["addr add 192.0.2.2/24 dev wan0", "addr add 172.31.0.1/16 dev vpc0"]))?;
        this.vpc
            .ip_batch(&batch(&["addr add 172.31.0.10/16 dev eth0", "route add default via 172.31.0.1"]))?;
        for gateway in [&this.gw, &this.aws] {
            gateway.sysctl(&[("net/ipv4/ip_forward", "1")])?;
        }
        if let Some(wan) = wan {
            this.way = Some(relay(wan, this.scratch.path())?);
        }
        if mode == Mode::WireTrue {
            this.switch_segmentation_off()?;
        }
        Ok(this)
    }

    fn switch_segmentation_off(&self) -> Result<()> {
        for (role, interface) in ENDS {
            let words =
                ["-K", interface, "tso", "off", "gso", "off", "tx-udp-segmentation", "off", "gro", "on"];
            self.host(role).run(&[&["ethtool"], words.as_slice()].concat())?;
        }
        Ok(())
    }

    pub(super) fn host(&self, role: Role) -> &Namespace {
        match role {
            Role::Lan => &self.lan,
            Role::Gw => &self.gw,
            Role::Aws => &self.aws,
            Role::Vpc => &self.vpc,
        }
    }

    /// Where files and logs of this rig go.
    pub(super) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// What an interface received so far.
    pub(super) fn received(&self, role: Role, interface: &str) -> Result<Received> {
        let folder = format!("/sys/class/net/{interface}/statistics");
        let text =
            self.host(role).run(&["cat", &format!("{folder}/rx_bytes"), &format!("{folder}/rx_packets")])?;
        let mut numbers = text.lines().map(str::parse::<u64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(bytes)), Some(Ok(packets))) => Ok(Received { bytes, packets }),
            _ => bail!("cannot read the counters of {interface}: {text:?}"),
        }
    }

    /// The offload settings of the link between the gateways, as `ethtool -k` names them.
    pub(super) fn offloads(&self) -> Result<Vec<String>> {
        const WATCHED: [&str; 6] = [
            "tcp-segmentation-offload",
            "generic-segmentation-offload",
            "generic-receive-offload",
            "tx-udp-segmentation",
            "rx-udp-gro-forwarding",
            "tx-checksumming",
        ];
        let text = self.gw.run(&["ethtool", "-k", "wan0"])?;
        let lines = text.lines().map(str::trim);
        Ok(lines
            .filter(|line| WATCHED.iter().any(|name| line.starts_with(name)))
            .map(str::to_owned)
            .collect())
    }
}

/// Makes `wan` answer for both gateways, and send everything between them through the relay.
fn relay(wan: Namespace, scratch: &Path) -> Result<Way> {
    let mut relay = Process::spawn(&Spawn {
        namespace: &wan,
        command: format!(
            "{} bench relay --interface relay0 --delay-ms {DELAY_MS} --lose-one-in {LOSE_ONE_IN}",
            binary("cgwd-lab")?.display()
        )
        .split_whitespace()
        .map(str::to_owned)
        .collect(),
        env: Vec::new(),
        log: scratch.join("relay.log"),
        pipes: true,
    })?;
    wait::until(Duration::from_secs(3), "the relay's interface", || {
        wan.run(&["test", "-e", "/sys/class/net/relay0"]).is_ok()
    })?;
    wan.sysctl(&[
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/conf/gw0/proxy_arp", "1"),
        ("net/ipv4/conf/aws0/proxy_arp", "1"),
    ])?;
    let lines = [
        "addr add 192.0.2.250/32 dev gw0",
        "addr add 192.0.2.251/32 dev aws0",
        "link set relay0 up",
        "link set relay0 txqueuelen 10000",
        "route add 192.0.2.1 dev gw0",
        "route add 192.0.2.2 dev aws0",
        "route add 10.10.0.0/16 via 192.0.2.1 dev gw0 onlink",
        "route add 172.31.0.0/16 via 192.0.2.2 dev aws0 onlink",
        "rule add iif gw0 lookup 100",
        "rule add iif aws0 lookup 100",
        "route add default dev relay0 table 100",
    ];
    wan.ip_batch(&lines.map(str::to_owned))?;
    Ok(Way { _stdin: relay.take_stdin(), _relay: relay, _host: wan })
}

/// A socket address of the VPC host.
pub(super) const fn vpc(port: u16) -> SocketAddr {
    SocketAddr::new(VPC_HOST, port)
}
