//! What one speaker is told: who, when, and which routes in and out.
//!
//! Values only; the file format is another crate's. [`Config::check`] names what cannot work.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

/// Hold time and keepalive of AWS Site-to-Site VPN (customer gateway device guide).
pub const AWS_HOLD: Duration = Duration::from_secs(30);
/// See [`AWS_HOLD`].
pub const AWS_KEEPALIVE: Duration = Duration::from_secs(10);
/// Routes a virtual private gateway takes from a customer gateway before it drops the session with Cease 6/1.
pub const VGW_PREFIXES_OUT_MAX: u32 = 100;
/// The same for a transit gateway.
pub const TGW_PREFIXES_OUT_MAX: u32 = 1_000;
/// More routes than any AWS gateway announces (a transit gateway: 5,000).
pub const DEFAULT_PREFIXES_IN_MAX: u32 = 10_000;
/// No configuration may ask to store more received routes than this: the size of the RIB is bounded.
pub const RIB_PREFIXES_MAX: u32 = 100_000;
/// No AS path may be prepended more often than this.
pub const PREPEND_MAX: u8 = 10;

/// An address family; unicast always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4,
    /// AFI 2, SAFI 1.
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// The family of a prefix.
    pub fn of_prefix(prefix: &IpNet) -> Self {
        Self::of(prefix.addr())
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// One neighbour, one hop away through a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Our AS number.
    pub local_as: u32,
    /// The neighbour's AS number; must differ (external BGP only).
    pub remote_as: u32,
    /// Our inside address: the source of the connection and the next hop we announce.
    pub local_addr: IpAddr,
    /// The neighbour's inside address.
    pub peer_addr: IpAddr,
    /// BGP Identifier. Must differ between our own speakers only if one neighbour peers with both.
    pub router_id: Ipv4Addr,
    /// Hold time we offer, whole seconds, 0 or at least 3; the smaller of both sides counts (RFC 4271 §4.2).
    pub hold: Duration,
    /// Longest keepalive interval; a third of the negotiated hold time if that is shorter.
    pub keepalive: Duration,
    /// Prefixes to announce, in order of importance: those beyond [`Config::max_prefix_out`] are withheld.
    pub advertise: Vec<IpNet>,
    /// Accept only prefixes contained in one of these; `None` accepts all but the default route.
    pub accept: Option<Vec<IpNet>>,
    /// Accept 0.0.0.0/0 and ::/0.
    pub accept_default: bool,
    /// Received prefixes (accepted or not) beyond which we end the session with Cease 6/1.
    pub max_prefix_in: u32,
    /// Prefixes we announce at most, so that AWS does not end the session.
    pub max_prefix_out: u32,
    /// MULTI_EXIT_DISC to announce.
    pub med_out: Option<u32>,
    /// How many times to add our AS in front of the one that must be there.
    pub prepend: u8,
    /// Families to offer; usually just that of [`Config::local_addr`].
    pub families: Vec<Family>,
    /// Next hop for IPv4 prefixes when the session itself runs over IPv6.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// Next hop for IPv6 prefixes when the session itself runs over IPv4.
    pub next_hop_v6: Option<Ipv6Addr>,
    /// Never connect, wait for the neighbour to do so.
    pub passive: bool,
}

/// A configuration that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Internal BGP or AS 0.
    #[error("AS {local} here and AS {remote} there: AWS needs two different AS numbers above 0")]
    As {
        /// Ours.
        local: u32,
        /// Theirs.
        remote: u32,
    },
    /// Hold time of 1 or 2 seconds, a fraction, or beyond 16 bits (RFC 4271 §4.2).
    #[error("hold time {0:?}: 0 (never) or 3 to 65535 whole seconds; AWS uses 30")]
    Hold(Duration),
    /// BGP Identifier 0.0.0.0 (RFC 6286 §2.1).
    #[error("the router ID must not be 0.0.0.0; take an address of this gateway")]
    RouterId,
    /// A session between IPv4 and IPv6.
    #[error("inside addresses {local} and {peer} are of different families")]
    Addresses {
        /// Ours.
        local: IpAddr,
        /// Theirs.
        peer: IpAddr,
    },
    /// No family, or prefixes of a family that is not offered.
    #[error("{0} prefixes cannot be exchanged: offer the family {0}, and give a next hop for it")]
    Family(Family),
    /// No family at all.
    #[error("no address family is offered; offer at least that of the inside addresses")]
    NoFamily,
    /// Beyond [`RIB_PREFIXES_MAX`] or zero.
    #[error("max-prefix {0}: 1 to {RIB_PREFIXES_MAX}")]
    MaxPrefix(u32),
    /// Beyond [`PREPEND_MAX`].
    #[error("prepending {0} times: at most {PREPEND_MAX}, and AWS advises against any")]
    Prepend(u8),
}

impl Config {
    /// A configuration with AWS's timers and limits, announcing and filtering nothing yet.
    pub fn new(
        local_as: u32,
        remote_as: u32,
        local_addr: IpAddr,
        peer_addr: IpAddr,
        router_id: Ipv4Addr,
    ) -> Self {
        Self {
            local_as,
            remote_as,
            local_addr,
            peer_addr,
            router_id,
            hold: AWS_HOLD,
            keepalive: AWS_KEEPALIVE,
            advertise: Vec::new(),
            accept: None,
            accept_default: false,
            max_prefix_in: DEFAULT_PREFIXES_IN_MAX,
            max_prefix_out: VGW_PREFIXES_OUT_MAX,
            med_out: None,
            prepend: 0,
            families: vec![Family::of(local_addr)],
            next_hop_v4: None,
            next_hop_v6: None,
            passive: false,
        }
    }

    /// Our next hop for a family: the inside address if it is of that family, else the configured one.
    pub fn next_hop(&self, family: Family) -> Option<IpAddr> {
        match (family, self.local_addr) {
            (Family::Ipv4, IpAddr::V4(_)) | (Family::Ipv6, IpAddr::V6(_)) => Some(self.local_addr),
            (Family::Ipv4, IpAddr::V6(_)) => self.next_hop_v4.map(IpAddr::V4),
            (Family::Ipv6, IpAddr::V4(_)) => self.next_hop_v6.map(IpAddr::V6),
        }
    }

    /// # Errors
    ///
    /// The first thing that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.local_as == 0 || self.remote_as == 0 || self.local_as == self.remote_as {
            return Err(ConfigError::As { local: self.local_as, remote: self.remote_as });
        }
        let seconds = self.hold.as_secs();
        if self.hold.subsec_nanos() != 0 || matches!(seconds, 1 | 2) || seconds > u64::from(u16::MAX) {
            return Err(ConfigError::Hold(self.hold));
        }
        if self.router_id.is_unspecified() {
            return Err(ConfigError::RouterId);
        }
        if self.local_addr.is_ipv4() != self.peer_addr.is_ipv4() {
            return Err(ConfigError::Addresses { local: self.local_addr, peer: self.peer_addr });
        }
        if self.families.is_empty() {
            return Err(ConfigError::NoFamily);
        }
        let unusable = |family: &Family| self.next_hop(*family).is_none();
        if let Some(family) = self.families.iter().find(|family| unusable(family)) {
            return Err(ConfigError::Family(*family));
        }
        let wanted = self.advertise.iter().map(Family::of_prefix);
        if let Some(family) = wanted.into_iter().find(|family| !self.families.contains(family)) {
            return Err(ConfigError::Family(family));
        }
        for limit in [self.max_prefix_in, self.max_prefix_out] {
            if limit == 0 || limit > RIB_PREFIXES_MAX {
                return Err(ConfigError::MaxPrefix(limit));
            }
        }
        if self.prepend > PREPEND_MAX {
            return Err(ConfigError::Prepend(self.prepend));
        }
        Ok(())
    }

    /// What will work but defeats AWS's steering, in words; empty for the defaults.
    ///
    /// AWS moves traffic before it replaces a tunnel endpoint by lowering the MED of the other tunnel, which
    /// needs both tunnels to be treated alike (AWS Site-to-Site VPN user guide, "Route tables and VPN route
    /// priority").
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.prepend > 0 {
            warnings.push(format!(
                "AS path prepended {} times on this tunnel: AWS compares path length before MED, so its own \
                 steering during maintenance no longer reaches this tunnel; leave prepend at 0 unless your \
                 network cannot take asymmetric traffic",
                self.prepend
            ));
        }
        if let Some(med) = self.med_out {
            warnings.push(format!(
                "MED {med} announced on this tunnel: AWS takes it for your wish which tunnel to use; give both \
                 tunnels the same unless you mean that"
            ));
        }
        if !self.hold.is_zero() && self.hold > AWS_HOLD {
            warnings.push(format!(
                "hold time {} s: a dead neighbour is noticed later than with AWS's 30 s",
                self.hold.as_secs()
            ));
        }
        warnings
    }
}
