//! What the control socket says: the JSON of `status`, `events` and `routes`, as types.
//!
//! It holds values only; it never computes, reads a clock or does I/O. Both ends of the socket use it: the daemon
//! serialises, the command line deserialises. Adding a field is allowed; changing or dropping one is not, and
//! the schema number is there for the day when it must be.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The version of [`Status`]'s shape.
pub const STATUS_SCHEMA: u32 = 1;

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Always [`STATUS_SCHEMA`].
    pub schema: u32,
    /// The daemon's version.
    pub version: String,
    /// Seconds since the daemon started.
    pub uptime_seconds: f64,
    /// The worst connection's redundancy.
    pub redundancy: Redundancy,
    /// Every configured connection, in the order of the file.
    pub connections: Vec<Connection>,
}

/// How many of the ways to AWS work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redundancy {
    /// Every configured tunnel is up.
    Full,
    /// Each connection has service, but not on all its tunnels.
    Degraded,
    /// A connection has no tunnel up.
    None,
}

impl Redundancy {
    /// The word used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Degraded => "degraded",
            Self::None => "none",
        }
    }

    /// The exit status of `cgwd status`: 0 all tunnels up, 1 degraded, 2 down.
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Full => 0,
            Self::Degraded => 1,
            Self::None => 2,
        }
    }
}

/// One AWS VPN connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// `vpn-…`.
    pub id: String,
    /// `bgp` or `static`.
    pub routing: String,
    /// Its tunnels, in the order of the file; a configured tunnel is never left out.
    pub tunnels: Vec<Tunnel>,
}

/// One tunnel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Unique within its connection.
    pub name: String,
    /// AWS's address, the key by which AWS knows the tunnel.
    pub outside_ip: IpAddr,
    /// The TUN interface.
    pub interface: String,
    /// Our address inside the tunnel.
    pub inside_ip: Option<IpAddr>,
    /// The interface's MTU.
    pub mtu: u16,
    /// How far the tunnel has come.
    pub stage: Stage,
    /// Seconds since `stage` last changed.
    pub since_seconds: f64,
    /// Whether traffic to AWS leaves through this tunnel.
    pub egress: bool,
    /// Whether an operator took it out of service.
    pub drained: bool,
    /// The IKE SA; `null` while there is none.
    pub ike: Option<Ike>,
    /// The child SA; `null` while there is none.
    pub child: Option<Child>,
    /// The in-band probe; `null` before the first one was sent.
    pub probe: Option<Probe>,
    /// The BGP session; `null` on a static connection and before the session exists.
    pub bgp: Option<Bgp>,
    /// Certificates; `null` with a pre-shared key.
    #[serde(default)]
    pub certificate: Option<Certificate>,
    /// What went wrong last; stays after recovery, with its age.
    pub last_error: Option<LastError>,
}

/// The certificates of a tunnel that authenticates by these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The subject of ours.
    pub subject: String,
    /// Seconds until ours ends; negative when it has.
    pub expires_in_seconds: i64,
    /// The same for whatever of ours ends first: certificate, intermediate, CA or revocation list.
    pub first_end_in_seconds: i64,
    /// The subject of the peer's; `null` before it has proved itself.
    pub peer_subject: Option<String>,
    /// Seconds until the peer's ends.
    pub peer_expires_in_seconds: Option<i64>,
}

/// How far a tunnel has come. Each stage includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// No IKE SA.
    Down,
    /// An IKE SA, but no child SA.
    Ike,
    /// A child SA, but nothing arrives through it.
    Ipsec,
    /// Packets arrive through it, but AWS's inside address does not answer (reliably) yet.
    Tunnel,
    /// The inside address answers; the BGP session is not established.
    Bgp,
    /// Traffic can pass.
    Up,
}

impl Stage {
    /// The word used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Ike => "ike",
            Self::Ipsec => "ipsec",
            Self::Tunnel => "tunnel",
            Self::Bgp => "bgp",
            Self::Up => "up",
        }
    }
}

/// An established IKE SA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ike {
    /// The negotiator's own word for its state.
    pub state: String,
    /// Initiator's SPI, 16 hex digits.
    pub spi_i: String,
    /// Responder's SPI, 16 hex digits.
    pub spi_r: String,
    /// `initiator` or `responder`: who we are in this SA.
    pub role: String,
    /// Negotiated algorithms.
    pub proposal: String,
    /// Whether a post-quantum pre-shared key is in its keys (RFC 8784).
    #[serde(default)]
    pub ppk: bool,
    /// Age of the SA, across rekeys of the child but not of itself.
    pub established_seconds: f64,
    /// Until we rekey it.
    pub rekey_in_seconds: f64,
    /// Until it ends when it is not rekeyed.
    #[serde(default)]
    pub expires_in_seconds: f64,
    /// IKE rekeys since the tunnel last came up.
    pub rekeys: u64,
}

/// An installed child SA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Child {
    /// The negotiator's own word for its state.
    pub state: String,
    /// 8 hex digits; what AWS puts into packets to us.
    pub spi_in: String,
    /// 8 hex digits; what we put into packets to AWS.
    pub spi_out: String,
    /// Negotiated algorithms, with the PFS group.
    pub proposal: String,
    /// `udp` or `esp`.
    pub encapsulation: String,
    /// Age of this very SA.
    #[serde(default)]
    pub established_seconds: f64,
    /// Until we rekey it.
    pub rekey_in_seconds: f64,
    /// Until it ends when it is not rekeyed.
    #[serde(default)]
    pub expires_in_seconds: f64,
    /// Child rekeys since the tunnel last came up.
    pub rekeys: u64,
    /// Inner packets decrypted, over all children since the daemon's start.
    pub rx_packets: u64,
    /// Inner octets decrypted.
    pub rx_bytes: u64,
    /// Inner packets encrypted.
    pub tx_packets: u64,
    /// Inner octets encrypted.
    pub tx_bytes: u64,
    /// Packets thrown away, by reason.
    pub drops: Drops,
    /// The library that computes AES-GCM for it: `ring`, `aws-lc` or `aws-lc-fips`.
    #[serde(default)]
    pub aead: String,
    /// `tun_tso`, `tun_uso`, `tun_merge`, `tun_merge_udp`, `udp_gso`, `udp_gro`: `on`, `disabled` by the configuration,
    /// `unavailable` or `failed` with the kernel's errno, or `corrupting` on a kernel that is known to.
    #[serde(default)]
    pub offloads: BTreeMap<String, String>,
    /// System calls on the four boundaries to the kernel, `tun_read`, `tun_write`, `send` and `receive`, and the packets
    /// they moved.
    #[serde(default)]
    pub calls: BTreeMap<String, Calls>,
}

/// System calls and what they moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// How many calls.
    pub calls: u64,
    /// How many packets.
    pub packets: u64,
}

/// Packets that were thrown away, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// The ICV did not verify.
    pub auth: u64,
    /// Replayed, or older than the window.
    pub replay: u64,
    /// Unknown SPI, or no SA to send on.
    pub no_sa: u64,
    /// Not a packet that the SA allows.
    pub malformed: u64,
    /// Too big and not allowed to be fragmented.
    pub mtu: u64,
    /// A full queue or socket buffer.
    pub queue: u64,
}

/// The in-band probe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The newest answer's round trip; `null` before the first one.
    pub rtt_ms: Option<f64>,
    /// Unanswered share of the last minute's probes, 0 to 1.
    pub loss_ratio: f64,
    /// Probes sent since the daemon's start.
    #[serde(default)]
    pub sent: u64,
    /// Answers received since the daemon's start.
    #[serde(default)]
    pub received: u64,
}

/// A BGP session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bgp {
    /// RFC 4271 §8.2.2: `Idle`, `Connect`, `Active`, `OpenSent`, `OpenConfirm`, `Established`.
    pub state: String,
    /// AWS's address inside the tunnel.
    pub peer: IpAddr,
    /// AWS's autonomous system.
    pub asn: u32,
    /// Prefixes received from AWS, used or not.
    pub received: u64,
    /// Of these, used.
    #[serde(default)]
    pub accepted: u64,
    /// Prefixes announced to AWS.
    pub advertised: u64,
    /// Seconds since Established; `null` before.
    pub uptime_seconds: Option<f64>,
    /// Why the session is not Established, in words; `null` when it is.
    #[serde(default)]
    pub waiting_for: Option<String>,
}

/// The version of [`BgpReport`]'s shape.
pub const BGP_SCHEMA: u32 = 1;

/// `GET /v1/bgp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BgpReport {
    /// Always [`BGP_SCHEMA`].
    pub schema: u32,
    /// One for each tunnel of a BGP connection.
    pub sessions: Vec<BgpSession>,
}

/// One tunnel's session in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BgpSession {
    /// `vpn-…`.
    pub connection: String,
    /// The tunnel it runs in.
    pub tunnel: String,
    /// The tunnel's interface.
    pub interface: String,
    /// State, peer and counts, as in `status`.
    pub session: Bgp,
    /// Our address inside the tunnel.
    pub local: IpAddr,
    /// Our autonomous system.
    pub local_asn: u32,
    /// AWS's BGP Identifier, while Established.
    pub router_id: Option<std::net::Ipv4Addr>,
    /// The negotiated hold time, while Established.
    pub hold_seconds: Option<u64>,
    /// Whether AWS has announced all its routes (End-of-RIB).
    pub synchronised: bool,
    /// The last NOTIFICATION in either direction.
    pub last_notification: Option<BgpNotification>,
    /// Why the last session ended.
    #[serde(default)]
    pub last_end: Option<BgpEnd>,
    /// Messages since the daemon's start.
    pub counters: BgpCounters,
    /// What AWS announces, taken or not.
    pub received: Vec<BgpRoute>,
    /// What we announce.
    pub advertised: Vec<String>,
    /// What we do not announce because AWS would end the session for it.
    pub withheld: Vec<String>,
    /// What works but defeats AWS's steering.
    pub warnings: Vec<String>,
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BgpEnd {
    /// Why, in words.
    pub why: String,
    /// Its age.
    pub seconds_ago: f64,
}

/// A NOTIFICATION (RFC 4271 §4.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BgpNotification {
    /// Whether AWS sent it; else we did.
    pub by_peer: bool,
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Both in words, with AWS's log line and the remedy.
    pub text: String,
    /// Its age.
    pub seconds_ago: f64,
}

/// Counts of one session's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpCounters {
    /// UPDATEs received.
    pub updates_in: u64,
    /// UPDATEs sent.
    pub updates_out: u64,
    /// ROUTE-REFRESHes received.
    pub refreshes_in: u64,
    /// ROUTE-REFRESHes sent.
    pub refreshes_out: u64,
    /// UPDATEs that were malformed and counted as withdrawals (RFC 7606).
    pub treated_as_withdraw: u64,
    /// Times the session was Established.
    pub established: u64,
    /// Connections closed because two had met.
    pub collisions: u64,
}

/// A received route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BgpRoute {
    /// Destination.
    pub prefix: String,
    /// AS path, nearest first.
    pub as_path: String,
    /// `igp`, `egp` or `incomplete`.
    pub origin: String,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// Next hop.
    pub next_hop: IpAddr,
    /// Whether traffic to the prefix leaves by this tunnel.
    pub used: bool,
    /// Why it does or does not, in one line.
    pub why: String,
}

/// What went wrong last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastError {
    /// A code of `docs/errors.md`.
    pub code: String,
    /// What happened, with the peer's notify by its RFC name where one came.
    pub text: String,
    /// What to do about it.
    #[serde(default)]
    pub remedy: String,
    /// Its age.
    pub seconds_ago: f64,
}

/// One line of `events --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Rises by one with each event; starts again with the daemon when nothing is kept on disk.
    #[serde(default)]
    pub id: u64,
    /// RFC 3339, UTC, milliseconds.
    pub time: String,
    /// `null` when the event concerns the whole daemon.
    pub tunnel: Option<String>,
    /// The connection that the tunnel belongs to.
    #[serde(default)]
    pub connection: Option<String>,
    /// A code of `docs/errors.md`.
    pub code: String,
    /// What happened.
    pub text: String,
    /// How long it took, where that has a meaning.
    pub took_ms: Option<f64>,
}

/// `GET /v1/events`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// Oldest first.
    pub events: Vec<Event>,
    /// What to pass as `after` to get only newer ones.
    pub last_id: u64,
}

/// `GET /v1/overview`: what the live views need, all of one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// As `GET /v1/status`.
    pub status: Status,
    /// The last minutes.
    pub history: History,
    /// As `GET /v1/events`.
    pub events: Events,
}

/// The last minutes of each configured tunnel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The distance of two samples.
    pub interval_seconds: f64,
    /// By connection and name; one that was never sampled is missing.
    pub tunnels: Vec<TunnelHistory>,
}

/// Samples of one tunnel, oldest first, all lists equally long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TunnelHistory {
    /// `vpn-…`.
    pub connection: String,
    /// The tunnel.
    pub tunnel: String,
    /// The newest probe's round trip; `null` while the inside address does not answer.
    pub rtt_ms: Vec<Option<f64>>,
    /// Unanswered share of the minute before; `null` while nothing is probed.
    pub loss_ratio: Vec<Option<f64>>,
    /// Inner octets decrypted in a second.
    pub rx_bytes_per_second: Vec<f64>,
    /// Inner octets encrypted in a second.
    pub tx_bytes_per_second: Vec<f64>,
}

/// `GET /v1/routes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Routes {
    /// Why each connection's traffic leaves where it leaves.
    pub egress: Vec<Egress>,
    /// The routes we own.
    pub routes: Vec<Route>,
}

/// A connection's egress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Egress {
    /// `vpn-…`.
    pub connection: String,
    /// The tunnels that carry traffic to AWS; empty when none can.
    pub tunnels: Vec<String>,
    /// One line for a network engineer.
    pub reason: String,
}

/// A route that we own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Its prefix.
    pub destination: String,
    /// The interfaces it leads to.
    pub interfaces: Vec<String>,
    /// The source address that the kernel takes for local traffic.
    pub source: Option<IpAddr>,
    /// Its metric.
    pub metric: u32,
    /// Its table; 254 is main.
    pub table: u32,
    /// Whether it stands in the kernel now.
    pub installed: bool,
    /// The connection that wants it.
    pub connection: String,
    /// Why it leads there, in one line.
    #[serde(default)]
    pub why: String,
}

/// The answer to an operator's action, and to every failed request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub ok: bool,
    /// What was done, or why it was not and what to do.
    pub message: String,
}

#[cfg(test)]
pub(crate) mod fixtures;
