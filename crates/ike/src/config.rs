//! What an [`Endpoint`](crate::Endpoint) is told about its peer, once.
//!
//! Plain values without a file format; the shell translates its own configuration into this. Durations are
//! relative to the event that starts them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use model::{EspIntegrity, EspTransform, KeyBits, Secret, TrafficSelector};

use crate::certificate::{Certificates, DistinguishedName};
use crate::crypto::{IkeCipher, Integrity, Prf};
use crate::wire::DhGroup;

/// One configured peer.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our outside address with the IKE port (500).
    pub local: SocketAddr,
    /// Our port for IKE and ESP in UDP (4500, RFC 3948).
    pub local_nat_t_port: u16,
    /// The peer's outside address.
    pub remote: IpAddr,
    /// The peer's IKE port (500).
    pub remote_port: u16,
    /// The peer's port for IKE and ESP in UDP (4500).
    pub remote_nat_t_port: u16,
    /// Who we say we are.
    pub local_identity: Identity,
    /// Who the peer must say it is: exact type and octets (RFC 7296 §3.5).
    pub remote_identity: Identity,
    /// How both sides prove who they are (RFC 7296 §2.15).
    pub credentials: Credentials,
    /// A post-quantum pre-shared key beside them (RFC 8784); AWS has none.
    pub ppk: Option<Ppk>,
    /// What we offer and accept for the IKE SA, in order of preference; each is one proposal.
    pub ike_proposals: Vec<IkeProposal>,
    /// What we offer and accept for the child SA, in order of preference; each is one proposal.
    pub esp_proposals: Vec<EspProposal>,
    /// Addresses behind us.
    pub ts_local: Vec<TrafficSelector>,
    /// Addresses behind the peer.
    pub ts_remote: Vec<TrafficSelector>,
    /// Encapsulate ESP in UDP although no NAT is found, by claiming one (RFC 7296 §2.23).
    pub force_udp_encapsulation: bool,
    /// Who starts.
    pub startup: Startup,
    /// How we choose as responder.
    pub selection: Selection,
    /// When the IKE SA is renewed and when it ends.
    pub ike_lifetime: Lifetime,
    /// When the child SA is renewed and when it ends.
    pub child_lifetime: Lifetime,
    /// Rekey the first child SA soon after it was established, to find a PFS mismatch at once instead
    /// of an hour later. The first child never has a Diffie-Hellman exchange of its own (RFC 7296 §1.2). A peer
    /// that refuses it is asked again when the lifetime says so.
    pub early_rekey: Option<EarlyRekey>,
    /// Octets of the largest IP datagram that carries a part of an IKE message, to peers that take fragments
    /// (RFC 7383); 1280 by default. A message that goes unanswered is cut to 576 octets over IPv4. `None`: IKE
    /// fragmentation is neither announced nor used.
    pub fragment_size: Option<u16>,
    /// How requests are repeated.
    pub retransmit: Retransmit,
    /// When we ask whether the peer is alive.
    pub liveness: Liveness,
    /// How long we wait between attempts.
    pub reconnect: Backoff,
    /// How long a deleted child's inbound SA is kept for packets still under way.
    pub retire_delay: Duration,
    /// Limits on what strangers can make us do.
    pub limits: Limits,
}

impl Config {
    /// A configuration with default timers: forced UDP encapsulation, 0.0.0.0/0 to 0.0.0.0/0 (or ::/0),
    /// identities that are the outside addresses, AES-256-GCM, SHA2-384 and P-384 in both phases.
    pub fn new(local: IpAddr, remote: IpAddr, psk: Secret) -> Self {
        let any = if local.is_ipv4() { TrafficSelector::any_v4() } else { TrafficSelector::any_v6() };
        Self {
            local: SocketAddr::new(local, 500),
            local_nat_t_port: 4500,
            remote,
            remote_port: 500,
            remote_nat_t_port: 4500,
            local_identity: Identity::from(local),
            remote_identity: Identity::from(remote),
            credentials: Credentials::Psk(psk),
            ppk: None,
            ike_proposals: vec![IkeProposal {
                encryption: vec![IkeCipher::AesGcm16(KeyBits::B256)],
                prf: vec![Prf::HmacSha2_384],
                integrity: Vec::new(),
                groups: vec![DhGroup::ECP_384],
                additional: Vec::new(),
            }],
            esp_proposals: vec![EspProposal {
                encryption: vec![EspCipher::AesGcm16(KeyBits::B256)],
                integrity: Vec::new(),
                groups: vec![DhGroup::ECP_384],
                additional: Vec::new(),
                esn: vec![false],
            }],
            ts_local: vec![any],
            ts_remote: vec![any],
            force_udp_encapsulation: true,
            startup: Startup::Initiate,
            selection: Selection::OurOrder,
            ike_lifetime: Lifetime::IKE,
            child_lifetime: Lifetime::CHILD,
            early_rekey: None,
            fragment_size: Some(1280),
            retransmit: Retransmit::default(),
            liveness: Liveness::default(),
            reconnect: Backoff::default(),
            retire_delay: Duration::from_secs(5),
            limits: Limits::default(),
        }
    }
}

/// How both sides prove who they are (RFC 7296 §2.15): both in the same way.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// By a pre-shared key.
    Psk(Secret),
    /// By certificates and signatures (RFC 7427).
    Certificates(Box<Certificates>),
}

impl Credentials {
    /// The certificates, when it is by these.
    pub fn certificates(&self) -> Option<&Certificates> {
        match self {
            Self::Psk(_) => None,
            Self::Certificates(certificates) => Some(certificates),
        }
    }
}

/// A post-quantum pre-shared key (RFC 8784): mixed into the keys, so that who breaks the key exchange one day still
/// cannot read what was recorded. It proves nothing by itself: [`Credentials`] do.
#[derive(Clone, Debug)]
pub struct Ppk {
    /// What both sides call it; goes out as PPK_ID_FIXED (RFC 8784 §5.1).
    pub id: Vec<u8>,
    /// The key itself; at least 32 random octets (RFC 8784 §6).
    pub key: Secret,
    /// No IKE SA without it. Otherwise a peer that has none is taken as ever, and somebody in between who breaks the
    /// key exchange while it runs can make it so (RFC 8784 §6).
    pub required: bool,
}

/// An identity as it stands in an ID payload (RFC 7296 §3.5).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// ID_IPV4_ADDR.
    Ipv4(Ipv4Addr),
    /// ID_IPV6_ADDR.
    Ipv6(Ipv6Addr),
    /// ID_FQDN.
    Fqdn(String),
    /// ID_RFC822_ADDR.
    Email(String),
    /// ID_KEY_ID, opaque octets.
    KeyId(Vec<u8>),
    /// ID_DER_ASN1_DN, a DER-encoded distinguished name.
    DerDn(Vec<u8>),
    /// Any other type, its number and octets.
    Other(u8, Vec<u8>),
}

impl From<IpAddr> for Identity {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::Ipv4(v4),
            IpAddr::V6(v6) => Self::Ipv6(v6),
        }
    }
}

/// A peer's octets are escaped: they end in logs.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(address) => write!(f, "{address}"),
            Self::Ipv6(address) => write!(f, "{address}"),
            Self::Fqdn(text) | Self::Email(text) => write!(f, "{}", text.escape_debug()),
            Self::KeyId(octets) => write!(f, "key-id:{}", octets.escape_ascii()),
            Self::DerDn(octets) => match DistinguishedName::from_der(octets) {
                Some(name) => write!(f, "\"{name}\""),
                None => write!(f, "dn:{}", octets.escape_ascii()),
            },
            Self::Other(kind, octets) => write!(f, "id-type-{kind}:{}", octets.escape_ascii()),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// One proposal for the IKE SA: any one of each list (RFC 7296 §3.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IkeProposal {
    /// Ciphers; AEAD and others do not mix in one proposal (RFC 5282 §8).
    pub encryption: Vec<IkeCipher>,
    /// Pseudo-random functions.
    pub prf: Vec<Prf>,
    /// Integrity algorithms; empty for AEAD.
    pub integrity: Vec<Integrity>,
    /// Key exchange groups.
    pub groups: Vec<DhGroup>,
    /// Further key exchanges after the first, in this order, all of them; at most seven (RFC 9370). AWS has none.
    pub additional: Vec<DhGroup>,
}

/// An encryption algorithm for ESP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EspCipher {
    /// AES-CBC, with one of the proposal's integrity algorithms.
    AesCbc(KeyBits),
    /// AES-GCM with a 16-octet ICV.
    AesGcm16(KeyBits),
}

impl EspCipher {
    /// The transform this cipher makes with `integrity`; `None` when AEAD and integrity do not fit.
    pub const fn with_integrity(self, integrity: Option<EspIntegrity>) -> Option<EspTransform> {
        match (self, integrity) {
            (Self::AesGcm16(bits), None) => Some(EspTransform::AesGcm16(bits)),
            (Self::AesCbc(bits), Some(integrity)) => Some(EspTransform::AesCbc(bits, integrity)),
            _ => None,
        }
    }
}

/// One proposal for the child SA: any one of each list (RFC 7296 §3.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EspProposal {
    /// Ciphers; AEAD and CBC do not mix in one proposal.
    pub encryption: Vec<EspCipher>,
    /// Integrity algorithms; empty for AEAD.
    pub integrity: Vec<EspIntegrity>,
    /// Groups for perfect forward secrecy in CREATE_CHILD_SA; empty: no exchange of its own.
    pub groups: Vec<DhGroup>,
    /// Further key exchanges after the first in CREATE_CHILD_SA, in this order (RFC 9370).
    pub additional: Vec<DhGroup>,
    /// Extended sequence numbers: what is offered and accepted, in order of preference.
    pub esn: Vec<bool>,
}

/// Who starts a negotiation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Startup {
    /// We do, and again and again until there is a tunnel. The peer's attempts are answered too.
    Initiate,
    /// We wait for the peer.
    Respond,
}

/// How a responder chooses among what is offered and allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selection {
    /// The first of our proposals that the peer offers, each list in our order.
    OurOrder,
    /// The lowest number of each kind that both allow, whatever the orders: what AWS documents of itself.
    LowestValue,
}

/// The life of an SA. Lifetimes are not negotiated in IKEv2 (RFC 7296 §2.8): each side keeps its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetime {
    /// Rekey this long after establishment...
    pub rekey_after: Duration,
    /// ...less a random part of this.
    pub jitter: Duration,
    /// Delete this long after establishment if it was not replaced.
    pub hard: Duration,
}

impl Lifetime {
    /// AWS's IKE default of 28,800 s: rekeyed at 60-75 %, before AWS's own margin begins.
    pub const IKE: Self = Self {
        rekey_after: Duration::from_secs(21_600),
        jitter: Duration::from_secs(4_320),
        hard: Duration::from_secs(28_800),
    };
    /// AWS's child default of 3,600 s: rekeyed at 60-75 %, before AWS's own margin begins.
    pub const CHILD: Self = Self {
        rekey_after: Duration::from_secs(2_700),
        jitter: Duration::from_secs(540),
        hard: Duration::from_secs(3_600),
    };
}

/// When the first child is rekeyed for a test, see [`Config::early_rekey`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EarlyRekey {
    /// This long after establishment...
    pub after: Duration,
    /// ...and a random part of this longer, so that tunnels that came up together do not all do it at once.
    pub jitter: Duration,
}

/// How an unanswered request is repeated (RFC 7296 §2.4). With the defaults a request goes out at 0, 0.5,
/// 1.5, 3.5, 7.5 and 11.5 s and the peer counts as dead at 15.5 s.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retransmit {
    /// Wait before the first repetition; doubled for each further one.
    pub initial: Duration,
    /// The wait never grows beyond this.
    pub max: Duration,
    /// Repetitions after the first transmission.
    pub tries: u32,
}

impl Default for Retransmit {
    fn default() -> Self {
        Self { initial: Duration::from_millis(500), max: Duration::from_secs(4), tries: 5 }
    }
}

impl Retransmit {
    /// The wait after transmission number `sent` (0 is the first one).
    pub fn wait(&self, sent: u32) -> Duration {
        self.initial.saturating_mul(1_u32.checked_shl(sent).unwrap_or(u32::MAX)).min(self.max)
    }

    /// From the first transmission to giving up.
    pub fn total(&self) -> Duration {
        (0..=self.tries).fold(Duration::ZERO, |sum, sent| sum.saturating_add(self.wait(sent)))
    }
}

/// When the peer is asked whether it lives. A dead peer is noticed within `idle` and
/// [`Retransmit::total`] of the last thing heard from it: 25.5 s with the defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Liveness {
    /// Ask when neither IKE nor ESP was heard for this long.
    pub idle: Duration,
    /// NAT keepalive interval while we are behind a NAT (RFC 3948 §4).
    pub nat_keepalive: Duration,
    /// Unauthenticated hints (INVALID_IKE_SPI) cause at most one question in this time (RFC 7296 §2.4).
    pub hint_interval: Duration,
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10),
            nat_keepalive: Duration::from_secs(20),
            hint_interval: Duration::from_secs(2),
        }
    }
}

/// The wait between attempts: doubled from `min` to `max`, less a random half. The first attempt after an
/// orderly end is immediate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// After the first failure.
    pub min: Duration,
    /// At most.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min: Duration::from_millis(500), max: Duration::from_secs(5) }
    }
}

/// Limits on what unauthenticated datagrams can make us hold or do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// From this many half-open IKE SAs on, a new one must return a cookie (RFC 7296 §2.6).
    pub cookie_threshold: usize,
    /// Never more half-open IKE SAs than this.
    pub half_open: usize,
    /// A half-open IKE SA is forgotten after this time.
    pub half_open_timeout: Duration,
    /// An unauthenticated error waits this long for a better answer before it ends the attempt.
    pub hint_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cookie_threshold: 4,
            half_open: 16,
            half_open_timeout: Duration::from_secs(30),
            hint_grace: Duration::from_secs(3),
        }
    }
}
