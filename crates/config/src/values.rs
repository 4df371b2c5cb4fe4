//! The validated configuration: values that can be run as they are.
//!
//! Durations and sizes are in range, lists are not empty, addresses fit together. Nothing here refers back to
//! the file. Two values are equal when running them would be the same, so a reload can compare.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use model::TrafficSelector;

use crate::{
    Authentication, CertificateFiles, DhGroup, EncryptionAlgorithm, IntegrityAlgorithm, Kem, KeySource, Ppk,
};

/// The whole file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// At least one.
    pub connections: Vec<Connection>,
    /// `[control]`
    pub control: Control,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[web]`
    pub web: Web,
    /// `[routes]`
    pub routes: Routes,
    /// `[host]`
    pub host: Host,
    /// `[log]`
    pub log: Log,
    /// `[[hook]]`; often none.
    pub hooks: Vec<Hook>,
}

impl Config {
    /// Every tunnel with its connection, in the order of the file.
    pub fn tunnels(&self) -> impl Iterator<Item = (&Connection, &Tunnel)> {
        self.connections.iter().flat_map(|c| c.tunnels.iter().map(move |t| (c, t)))
    }

    /// The tunnel that a user calls `name`: its name when only one connection has it, `CONNECTION/NAME`, its
    /// interface, or its outside address.
    ///
    /// # Errors
    /// When none or several match.
    pub fn find_tunnel(&self, name: &str) -> Result<(&Connection, &Tunnel), FindError> {
        let matches = |(c, t): &(&Connection, &Tunnel)| {
            t.name == name
                || t.interface == name
                || t.outside.to_string() == name
                || name.split_once('/').is_some_and(|(id, tunnel)| c.id == id && t.name == tunnel)
        };
        let mut found = self.tunnels().filter(matches);
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(FindError::Unknown {
                name: name.to_owned(),
                known: self.tunnels().map(|(_, t)| t.name.clone()).collect(),
            }),
            (Some(first), Some(_)) => Err(FindError::Ambiguous {
                name: name.to_owned(),
                example: format!("{}/{}", first.0.id, first.1.name),
            }),
        }
    }
}

impl Config {
    /// Takes over the interfaces of a running configuration for tunnels that name none: a tunnel added in front of
    /// others in the file must not renumber, and so restart, those that run.
    pub fn keep_interfaces(&mut self, running: &Self) {
        let known: BTreeMap<(&str, &str), &str> = running
            .tunnels()
            .map(|(connection, tunnel)| {
                ((connection.id.as_str(), tunnel.name.as_str()), tunnel.interface.as_str())
            })
            .collect();
        let mut taken: BTreeSet<String> = self
            .tunnels()
            .filter(|(_, tunnel)| tunnel.interface_given)
            .map(|(_, t)| t.interface.clone())
            .collect();
        let implied = |tunnel: &Tunnel| !tunnel.interface_given;
        let mut waiting = Vec::new();
        for (c, connection) in self.connections.iter_mut().enumerate() {
            for (t, tunnel) in connection.tunnels.iter_mut().enumerate().filter(|(_, tunnel)| implied(tunnel))
            {
                match known.get(&(connection.id.as_str(), tunnel.name.as_str())) {
                    Some(interface) if taken.insert((*interface).to_owned()) => {
                        tunnel.interface = (*interface).to_owned();
                    }
                    _ => waiting.push((c, t)),
                }
            }
        }
        let mut free = (0..).map(|number: usize| format!("cgw{number}"));
        for (c, t) in waiting {
            let tunnel = self.connections.get_mut(c).and_then(|connection| connection.tunnels.get_mut(t));
            if let (Some(tunnel), Some(name)) = (tunnel, free.find(|name| !taken.contains(name))) {
                tunnel.interface = name;
            }
        }
    }
}

/// Why [`Config::find_tunnel`] has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FindError {
    /// No tunnel is called so.
    #[error("no tunnel is called `{name}`; the configuration has {}", .known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// Several connections have a tunnel of that name.
    #[error("several connections have a tunnel `{name}`; name the connection too, as in `{example}`")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// One way to say it.
        example: String,
    },
}

/// `[control]`: the control socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Control {
    /// Path of the Unix socket; `/run/cgwd/control.sock` by default.
    pub socket: PathBuf,
}

/// `[metrics]`: OpenMetrics over TCP, beside the control socket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metrics {
    /// Where to listen; `None` (the default) is nowhere.
    pub listen: Option<SocketAddr>,
}

/// `[web]`: the read-only status page.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Web {
    /// Where to listen; `None` (the default) is nowhere. Loopback, unless the file allows another address.
    pub listen: Option<SocketAddr>,
}

/// `[routes]`: where routes go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Routes {
    /// Kernel routing table; 254 (main) by default.
    pub table: u32,
    /// Metric of our routes; 100 by default.
    pub metric: u32,
    /// Priority of the policy rules that lead to `table`; `None` (the default) makes none.
    pub rule_priority: Option<u32>,
    /// Source prefixes for which the rules hold; empty is every packet.
    pub rule_from: Vec<IpNet>,
    /// What becomes of packets to AWS while no tunnel carries them.
    pub when_down: WhenDown,
}

/// What becomes of packets to prefixes behind AWS while no tunnel carries them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenDown {
    /// Our routes go, so that backup routes take over (`withdraw`, the default).
    Withdraw,
    /// Where no other route to the same prefix takes over, senders are told *unreachable* (`unreachable`).
    Unreachable,
}

/// `[host]`: what we may change on the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// `ip_forward`
    pub ip_forward: IpForward,
}

/// What to do about `net.ipv4.ip_forward` and its IPv6 sibling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IpForward {
    /// Switch it on at start, restore it on exit (`enable`, the default).
    Enable,
    /// Leave it, and report when it is off (`report`).
    Report,
}

/// `[log]`: how much is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// `level`
    pub level: LogLevel,
}

/// `[[hook]]`: a program that runs when something changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hook {
    /// What it is told of; not empty.
    pub on: Vec<HookEvent>,
    /// The program, an absolute path, and its arguments.
    pub run: Vec<String>,
    /// It is killed after this time; 10 s by default.
    pub timeout: Duration,
}

/// What a hook can be told of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum HookEvent {
    /// Traffic can pass through a tunnel (`tunnel-up`).
    TunnelUp,
    /// It cannot any more (`tunnel-down`).
    TunnelDown,
    /// Traffic to AWS leaves by another tunnel, or by none (`egress`).
    Egress,
    /// A connection has more or fewer ways to AWS (`redundancy`).
    Redundancy,
    /// Routes were set or removed (`route`).
    Route,
}

impl HookEvent {
    /// All.
    pub const ALL: [Self; 5] =
        [Self::TunnelUp, Self::TunnelDown, Self::Egress, Self::Redundancy, Self::Route];

    /// The word used in the file and in `CGWD_EVENT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TunnelUp => "tunnel-up",
            Self::TunnelDown => "tunnel-down",
            Self::Egress => "egress",
            Self::Redundancy => "redundancy",
            Self::Route => "route",
        }
    }
}

/// Least severe message that is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogLevel {
    /// Only what stops us.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And what happened (the default).
    Info,
    /// And why.
    Debug,
    /// And every message.
    Trace,
}

impl LogLevel {
    /// The word used in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// `[[connection]]`: one AWS Site-to-Site VPN connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    /// AWS's identifier (`vpn-…`), or any name.
    pub id: String,
    /// Whose limits hold.
    pub peer: Peer,
    /// How prefixes behind AWS are known.
    pub routing: Routing,
    /// Prefixes on our side: announced over BGP, protected by a static connection. May be empty.
    pub lan: Vec<IpNet>,
    /// Whether `0.0.0.0/0` or `::/0` may be routed into the tunnels; off unless asked for.
    pub allow_default_route: bool,
    /// Usually two.
    pub tunnels: Vec<Tunnel>,
}

/// Whose limits hold for keys, lifetimes, timeouts and inside addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// AWS's (`aws`, the default).
    Aws,
    /// Those of IKEv2 alone (`other`): a laboratory, or another gateway.
    Other,
}

/// How prefixes behind AWS are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Routing {
    /// Written down.
    Static {
        /// Prefixes behind AWS; not empty.
        vpc: Vec<IpNet>,
    },
    /// Learned from AWS.
    Bgp(Bgp),
}

impl Routing {
    /// The word used in the file and in `status --json`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Static { .. } => "static",
            Self::Bgp(_) => "bgp",
        }
    }
}

/// `[connection.bgp]`: eBGP over the inside addresses of each tunnel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bgp {
    /// Our AS number.
    pub local_asn: u32,
    /// AWS's AS number; differs from ours.
    pub remote_asn: u32,
    /// Hold time we propose; keepalives go at a third of what is agreed. 30 s by default.
    pub hold_time: Duration,
    /// Who speaks BGP.
    pub mode: BgpMode,
    /// What we announce: `advertise`, or `lan` when that is missing.
    pub advertise: Vec<IpNet>,
    /// What we take.
    pub accept: Accept,
    /// Prefixes we announce at most; AWS closes the session above 100 (virtual private gateway) or 1,000.
    pub max_advertised: u32,
    /// Whether tunnels that the rules hold for equal share the traffic (ECMP; only transit gateways do it at the
    /// other end). Off by default.
    pub multipath: bool,
    /// Prefixes we take at most; AWS sends up to 1,000 (virtual private gateway) or 5,000.
    pub max_accepted: u32,
}

/// Who speaks BGP on the tunnel interfaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BgpMode {
    /// We do (`internal`, the default).
    Internal,
    /// FRR, BIRD or another daemon does (`external`); we bring the interfaces and no routes.
    External,
}

/// Which announced prefixes are taken. The default route needs [`Connection::allow_default_route`] besides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Accept {
    /// All.
    Any,
    /// Those equal to, or inside, one of these; not empty.
    Within(Vec<IpNet>),
}

/// Unequal treatment of a connection's tunnels; it defeats AWS's steering, so all of it is off by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Preference {
    /// Rule 6 of the egress: the tunnel with the higher one carries what we send. 100 by default.
    pub local: u32,
    /// MULTI_EXIT_DISC announced to AWS; none by default. AWS prefers the lower.
    pub med: Option<u32>,
    /// How often our AS number is repeated in what we announce; 0 by default, at most 10.
    pub prepend: u8,
}

impl Default for Preference {
    fn default() -> Self {
        Self { local: 100, med: None, prepend: 0 }
    }
}

/// `[[connection.tunnel]]`: one tunnel to one AWS endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// Unique in its connection, such as `tunnel1`.
    pub name: String,
    /// TUN interface, `cgw0` and up by position in the file unless set; unique, at most 15 octets.
    pub interface: String,
    /// Whether the file names the interface.
    pub interface_given: bool,
    /// AWS's outside address.
    pub outside: IpAddr,
    /// Our outside address as AWS knows it; behind NAT, the NAT's. Unspecified (0.0.0.0 or ::) when AWS has none,
    /// which only certificates allow.
    pub customer_gateway: IpAddr,
    /// Local address to send from; `None` leaves it to the route towards `outside`.
    pub bind: Option<IpAddr>,
    /// IPv4, IPv6 or both (in this order). Empty only in a static connection whose download names none
    /// (Openswan's): then there is no address for the interface, and nothing to probe.
    pub inside: Vec<Inside>,
    /// How both sides prove who they are.
    pub authentication: Authentication,
    /// A post-quantum pre-shared key beside that (RFC 8784).
    pub ppk: Option<Ppk>,
    /// How we call ourselves in IKE; `customer_gateway` by default, as AWS expects; with certificates the subject of
    /// ours.
    pub local_id: Identity,
    /// What AWS calls itself; `outside` by default; with certificates the subject that AWS gives its own.
    pub remote_id: Identity,
    /// Phase 1.
    pub ike: Ike,
    /// Phase 2.
    pub esp: Esp,
    /// AWS rekeys by itself within this time of the end of a lifetime; we do it earlier. 270 s by default.
    pub rekey_margin: Duration,
    /// Silence after which the peer is taken for dead by IKE. 40 s by default, at least 30.
    pub dpd_timeout: Duration,
    /// Who starts.
    pub startup: Startup,
    /// What carries ESP.
    pub encapsulation: Encapsulation,
    /// Largest packet the way to AWS takes, octets; 1500 by default.
    pub path_mtu: u16,
    /// Clear the Don't Fragment bit of inner IPv4 packets that are too big, and fragment before encryption.
    pub clear_df: bool,
    /// Lower the MSS of TCP handshakes to what fits.
    pub clamp_mss: bool,
    /// Our side of the traffic selectors; any of each inside family by default.
    pub ts_local: Vec<TrafficSelector>,
    /// AWS's side of the traffic selectors; any of each inside family by default.
    pub ts_remote: Vec<TrafficSelector>,
    /// How the tunnel is preferred to the others of its connection.
    pub preference: Preference,
    /// Kernel offloads that may be used where they are found.
    pub offload: Offload,
    /// In-band probes of AWS's inside address.
    pub probe: Probe,
}

impl Tunnel {
    /// Where the pre-shared key is, when it authenticates by one.
    pub fn psk(&self) -> Option<&KeySource> {
        match &self.authentication {
            Authentication::Psk(source) => Some(source),
            Authentication::Certificates(_) => None,
        }
    }

    /// The certificates, when it authenticates by these.
    pub fn certificates(&self) -> Option<&CertificateFiles> {
        match &self.authentication {
            Authentication::Psk(_) => None,
            Authentication::Certificates(files) => Some(files),
        }
    }

    /// Our outside address as AWS knows it, if it knows one.
    pub fn known_gateway(&self) -> Option<IpAddr> {
        Some(self.customer_gateway).filter(|address| !address.is_unspecified())
    }

    /// When to rekey the IKE SA.
    pub fn ike_rekey(&self) -> RekeyWindow {
        RekeyWindow::before_aws(self.ike.lifetime, self.rekey_margin)
    }

    /// When to rekey the child SA.
    pub fn esp_rekey(&self) -> RekeyWindow {
        RekeyWindow::before_aws(self.esp.lifetime, self.rekey_margin)
    }
}

/// When we rekey: at a random point between `rekey_after` and `rekey_after + jitter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RekeyWindow {
    /// Earliest.
    pub rekey_after: Duration,
    /// Width of the window.
    pub jitter: Duration,
    /// When the SA must be gone: AWS's lifetime.
    pub hard: Duration,
}

impl RekeyWindow {
    /// A window that ends before AWS starts to rekey.
    ///
    /// AWS rekeys up to twice its margin before the end (fuzz of 100 %), so ours closes before that, at three
    /// quarters of the lifetime at the latest and at half of it at the earliest; it opens at four fifths of that.
    pub fn before_aws(lifetime: Duration, margin: Duration) -> Self {
        let latest = lifetime.saturating_sub(margin * 2).clamp(lifetime / 2, lifetime * 3 / 4);
        let rekey_after = latest * 4 / 5;
        Self { rekey_after, jitter: latest - rekey_after, hard: lifetime }
    }
}

/// Inside addresses of one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inside {
    /// Ours, with the prefix length of the link (/30 or /126): `169.254.10.2/30`.
    pub ours: IpNet,
    /// AWS's: the first usable address of the same link.
    pub aws: IpAddr,
}

/// An IKE identity (RFC 7296 §3.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    /// ID_IPV4_ADDR or ID_IPV6_ADDR.
    Address(IpAddr),
    /// ID_FQDN.
    Fqdn(String),
    /// ID_RFC822_ADDR.
    Email(String),
    /// ID_DER_ASN1_DN, as text: `C=US, O=Example, CN=gw.example`. With certificates only.
    Name(String),
    /// The subject of our certificate. With certificates only.
    Subject,
}

/// `[connection.tunnel.ike]`: phase 1. What is offered, best first; no list is empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ike {
    /// Ciphers.
    pub encryption: Vec<EncryptionAlgorithm>,
    /// Hashes: the PRF, and the integrity algorithm beside CBC.
    pub integrity: Vec<IntegrityAlgorithm>,
    /// Key exchange groups.
    pub dh_groups: Vec<DhGroup>,
    /// AWS's lifetime of the IKE SA; 28,800 s by default.
    pub lifetime: Duration,
    /// Octets of the largest packet that carries a part of an IKE message (RFC 7383); 1,280 by default.
    pub fragment_size: u16,
    /// Key exchanges after the first; none by default, for AWS has none.
    pub additional: Additional,
}

/// Key exchanges after the first (RFC 9370): `additional_key_exchanges`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Additional {
    /// In their order; all of them are done.
    pub methods: Vec<Kem>,
    /// A peer that has none of it is taken all the same.
    pub optional: bool,
}

/// `[connection.tunnel.esp]`: phase 2. What is offered, best first; no list is empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Esp {
    /// Ciphers.
    pub encryption: Vec<EncryptionAlgorithm>,
    /// Hashes, used beside CBC ciphers only.
    pub integrity: Vec<IntegrityAlgorithm>,
    /// Groups for perfect forward secrecy, which AWS always asks for.
    pub dh_groups: Vec<DhGroup>,
    /// Key exchanges after the first in CREATE_CHILD_SA; none by default.
    pub additional: Additional,
    /// AWS's lifetime of the child SA; 3,600 s by default.
    pub lifetime: Duration,
    /// Extended sequence numbers.
    pub esn: Esn,
    /// Anti-replay window, packets; 1,024 by default, 64 to 2,048.
    pub replay_window: u32,
}

/// Whether extended sequence numbers are offered (RFC 4303 §2.2.1). AWS does not document them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Esn {
    /// 32-bit numbers only (`no`, the default).
    No,
    /// 64-bit numbers only (`yes`).
    Yes,
    /// Either (`both`).
    Both,
}

impl Esn {
    /// Values to offer, preferred first.
    pub const fn offers(self) -> &'static [bool] {
        match self {
            Self::No => &[false],
            Self::Yes => &[true],
            Self::Both => &[true, false],
        }
    }
}

/// Who opens the IKE SA. We answer AWS in both cases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Startup {
    /// We do, for ever (`initiate`, the default).
    Initiate,
    /// AWS does (`respond`); needs startup action *start* there.
    Respond,
}

/// What carries ESP between the outside addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encapsulation {
    /// UDP port 4500 always (`udp`, the default): passes every NAT and firewall that IKE passes.
    Udp,
    /// IP protocol 50 where IKE finds no NAT on the way, UDP otherwise (`auto`).
    Auto,
}

/// `[connection.tunnel.offload]`: each may be switched off; a missing kernel feature is found out by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offload {
    /// Super-packets from and to the TUN interface (TSO, USO).
    pub tun: bool,
    /// Many datagrams per send (UDP_SEGMENT).
    pub udp_send: bool,
    /// Many datagrams per receive (UDP_GRO).
    pub udp_receive: bool,
}

/// `[connection.tunnel.probe]`: echo requests to AWS's inside address through the tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Time between two; 1 s by default.
    pub interval: Duration,
    /// Lost in a row before the tunnel is taken for dead; 3 by default.
    pub loss: u32,
}
