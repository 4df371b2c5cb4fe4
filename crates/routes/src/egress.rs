//! Which tunnel carries what we send: the decision, as one page of numbered rules.
//!
//! Arrivals are never judged here: packets are accepted on either tunnel always, since AWS may send on one
//! while we send on the other. The rules follow RFC 4271 §9.1.2.2 where BGP speaks, and AWS's own order for
//! customer gateways (AWS Site-to-Site VPN user guide, "Route tables and VPN route priority"): equal treatment
//! of both tunnels, so that AWS's MED decides. The same list, with the same numbers, is in `docs/routing.md`.
//!
//! 1. **Usable.** A tunnel that cannot carry traffic is out.
//! 2. **Not drained.** A drained tunnel is used only when every other usable one is drained too.
//! 3. **Not flapping.** A tunnel held back for flapping is used only when no steady one is left.
//! 4. **Not lossy.** A tunnel whose probes are lost is left for one whose probes pass.
//! 5. **Settled.** A tunnel that has just come up does not displace one that works.
//! 6. **Local preference**, the higher: what the operator configured; equal unless configured.
//! 7. **AS path**, the shorter. A static route counts as length 0.
//! 8. **Origin**, the lower: IGP, EGP, incomplete.
//! 9. **MED**, the lower, among paths from the same neighbour AS; a missing one counts as 0.
//! 10. **Arrivals.** The tunnel on which AWS sends, when it clearly prefers one.
//! 11. **Stay.** The tunnel in use stays in use.
//! 12. **Age.** The tunnel that has been usable the longest.
//! 13. **Name**, the lower, so that the answer never depends on order.

use std::fmt;
use std::time::Duration;

use model::Instant;

/// Probe loss, in thousandths, from which a tunnel counts as lossy (rule 4).
pub const LOSSY_PERMILLE: u16 = 200;
/// Probe loss, in thousandths, up to which a tunnel is worth leaving a lossy one for (rule 4).
pub const CLEAN_PERMILLE: u16 = 50;
/// How long a tunnel must have been usable to displace one that works (rule 5).
pub const SETTLE: Duration = Duration::from_secs(10);
/// Share of the arriving packets, in thousandths, that shows AWS's choice (rule 10).
pub const ARRIVAL_SHARE_PERMILLE: u16 = 800;
/// Packets that must have arrived on all candidates together before their shares mean anything (rule 10).
pub const ARRIVAL_PACKETS_MIN: u64 = 50;
/// How long after one move arrivals cannot cause the next (rule 10): AWS needs time to follow.
pub const ARRIVAL_HOLD: Duration = Duration::from_secs(30);

/// The BGP path by which a tunnel offers a prefix; what rules 6 to 9 read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathAttributes {
    /// Length of the AS path as RFC 4271 §9.1.2.2 (a) counts it.
    pub as_path_length: u32,
    /// 0 IGP, 1 EGP, 2 incomplete.
    pub origin: u8,
    /// MULTI_EXIT_DISC; `None` counts as 0, the best.
    pub med: Option<u32>,
    /// The first AS of the path: MEDs of different neighbours do not compare.
    pub neighbour_as: u32,
}

/// What arrived through a tunnel in the caller's observation window (some seconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Arrival {
    /// Inner packets from the VPC side, without probe replies.
    pub packets: u64,
}

/// A tunnel that could carry the traffic in question, and what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The tunnel's name, unique among the candidates.
    pub tunnel: String,
    /// Whether traffic can pass: child SA installed, inside address answers, BGP (if any) established.
    pub usable: bool,
    /// Why not usable, in words ("no answer to IKE_SA_INIT"); empty when usable.
    pub down_reason: String,
    /// Usable since; meaningless when not usable.
    pub since: Instant,
    /// The operator asked to move traffic away (`cgwd drain`).
    pub drained: bool,
    /// Held back for flapping until then ([`crate::dampening`]).
    pub dampened_until: Option<Instant>,
    /// Lost probes in thousandths over the last ones.
    pub loss_permille: u16,
    /// Operator's preference for this tunnel; the same for all unless configured.
    pub local_preference: u32,
    /// The BGP path; `None` for a static route.
    pub path: Option<PathAttributes>,
    /// Where AWS's packets come in.
    pub arrival: Arrival,
}

impl Candidate {
    /// A usable tunnel about which nothing else is known.
    pub fn usable(tunnel: impl Into<String>, since: Instant) -> Self {
        Self {
            tunnel: tunnel.into(),
            usable: true,
            down_reason: String::new(),
            since,
            drained: false,
            dampened_until: None,
            loss_permille: 0,
            local_preference: 100,
            path: None,
            arrival: Arrival::default(),
        }
    }

    /// A tunnel that cannot carry traffic, and why.
    pub fn down(tunnel: impl Into<String>, why: impl Into<String>) -> Self {
        Self { usable: false, down_reason: why.into(), ..Self::usable(tunnel, Instant::ZERO) }
    }
}

/// The decision in force, as [`choose`] wants it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// The tunnel in use.
    pub tunnel: String,
    /// When traffic moved there.
    pub since: Instant,
}

/// The numbered rules, see the module documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rule {
    /// 1: can carry traffic.
    Usable = 1,
    /// 2: not drained by the operator.
    NotDrained,
    /// 3: not held back for flapping.
    NotFlapping,
    /// 4: probes pass.
    NotLossy,
    /// 5: up long enough to displace a working one.
    Settled,
    /// 6: higher local preference.
    LocalPreference,
    /// 7: shorter AS path.
    AsPath,
    /// 8: lower origin.
    Origin,
    /// 9: lower MED.
    Med,
    /// 10: where AWS sends.
    Arrivals,
    /// 11: the tunnel in use.
    Stay,
    /// 12: usable the longest.
    Age,
    /// 13: lower name.
    Name,
}

impl Rule {
    /// The number in the manual.
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// Why this tunnel: one line, as an engineer would say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing to choose from: no tunnel offers the prefix.
    NoCandidate,
    /// Every candidate is out by rule 1; their names and reasons.
    NoneUsable(Vec<(String, String)>),
    /// There is only this one candidate.
    OnlyOne,
    /// The rule that separated the chosen tunnel from the last other one.
    Decided {
        /// The rule.
        rule: Rule,
        /// The tunnel that lost by it.
        against: String,
        /// The values compared, in words.
        detail: String,
    },
}

/// Where to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The tunnel; `None` when none can carry traffic.
    pub tunnel: Option<String>,
    /// Since when traffic goes there; the time of the decision when it moved just now.
    pub since: Instant,
    /// The tunnels that rules 1 to 9 hold for equal, the chosen one among them, sorted: the members of an
    /// ECMP route where that is configured.
    pub equals: Vec<String>,
    /// Why.
    pub reason: Reason,
}

impl Decision {
    /// What to hand to [`choose`] the next time.
    pub fn previous(&self) -> Option<Previous> {
        self.tunnel.clone().map(|tunnel| Previous { tunnel, since: self.since })
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tunnel {
            Some(tunnel) => write!(f, "{tunnel}: {}", self.reason),
            None => write!(f, "no egress: {}", self.reason),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCandidate => f.write_str("no tunnel offers this prefix"),
            Self::NoneUsable(down) => {
                f.write_str("no tunnel can carry traffic")?;
                for (index, (tunnel, why)) in down.iter().enumerate() {
                    f.write_str(if index == 0 { " (" } else { "; " })?;
                    write!(f, "{tunnel} {}", if why.is_empty() { "down" } else { why })?;
                }
                f.write_str(if down.is_empty() { "" } else { ")" })
            }
            Self::OnlyOne => f.write_str("the only tunnel that offers this prefix"),
            Self::Decided { rule, against: _, detail } => write!(f, "{detail} (rule {})", rule.number()),
        }
    }
}

/// Chooses the egress among `candidates` by the numbered rules. Pure and independent of their order.
///
/// `previous` is the decision in force; it makes the choice sticky (rules 5, 10 and 11).
pub fn choose(now: Instant, candidates: &[Candidate], previous: Option<&Previous>) -> Decision {
    let _ = (now, candidates, previous);
    Decision { tunnel: None, since: now, equals: Vec::new(), reason: Reason::NoCandidate }
}
