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
//! 4. **Not lossy.** A tunnel whose probes are lost is left for one whose probes pass, and not returned to
//!    before its own pass again.
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// What speaks against the chosen tunnel, though nothing better is there.
    pub despite: Vec<Despite>,
}

/// A fault of the chosen tunnel that would have ruled it out, had there been another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Despite {
    /// Drained by the operator.
    Drained,
    /// Held back for flapping.
    Flapping,
    /// Losing probes.
    Lossy,
}

impl fmt::Display for Despite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained => "it is drained",
            Self::Flapping => "it has been flapping",
            Self::Lossy => "it loses probes",
        })
    }
}

impl Decision {
    fn none(now: Instant, reason: Reason) -> Self {
        Self { tunnel: None, since: now, equals: Vec::new(), reason, despite: Vec::new() }
    }

    /// What to hand to [`choose`] the next time.
    pub fn previous(&self) -> Option<Previous> {
        self.tunnel.clone().map(|tunnel| Previous { tunnel, since: self.since })
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tunnel {
            Some(tunnel) => write!(f, "{tunnel}: {}", self.reason)?,
            None => write!(f, "no egress: {}", self.reason)?,
        }
        for (index, despite) in self.despite.iter().enumerate() {
            write!(f, "{} {despite}", if index == 0 { ", although" } else { " and" })?;
        }
        Ok(())
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
                    write!(f, "{tunnel}: {}", if why.is_empty() { "down" } else { why })?;
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
/// `previous` is the decision in force; it makes the choice sticky (rules 4, 5, 10 and 11).
pub fn choose(now: Instant, candidates: &[Candidate], previous: Option<&Previous>) -> Decision {
    let mut round = Round::new(now, candidates, previous);
    if candidates.is_empty() {
        return Decision::none(now, Reason::NoCandidate);
    }
    round.keep(Rule::Usable, |candidate| candidate.usable);
    if !round.left.iter().any(|candidate| candidate.usable) {
        let down = round.left.iter().map(|it| (it.tunnel.clone(), it.down_reason.clone())).collect();
        return Decision::none(now, Reason::NoneUsable(down));
    }
    round.keep(Rule::NotDrained, |candidate| !candidate.drained);
    round.keep(Rule::NotFlapping, |candidate| candidate.dampened_until.is_none_or(|until| until <= now));
    round.not_lossy();
    round.settled();
    round.best(Rule::LocalPreference, |candidate| std::cmp::Reverse(candidate.local_preference));
    round.best(Rule::AsPath, as_path_length);
    round.best(Rule::Origin, |candidate| candidate.path.as_ref().map_or(0, |path| path.origin));
    round.lowest_med();
    let equals = round.left.iter().map(|candidate| candidate.tunnel.clone()).collect();
    round.arrivals();
    if let Some(in_use) = round.in_use() {
        round.keep(Rule::Stay, |candidate| candidate.tunnel == in_use.tunnel);
    }
    round.best(Rule::Age, |candidate| candidate.since);
    round.best(Rule::Name, |candidate| &candidate.tunnel);
    round.decision(equals)
}

/// The candidates that are left, and the last one that went.
struct Round<'a> {
    now: Instant,
    previous: Option<&'a Previous>,
    left: Vec<&'a Candidate>,
    lost: Option<(Rule, &'a Candidate)>,
    /// Packets on all tunnels that entered rule 10.
    arrived: u64,
}

impl<'a> Round<'a> {
    fn new(now: Instant, candidates: &'a [Candidate], previous: Option<&'a Previous>) -> Self {
        let mut left: Vec<_> = candidates.iter().collect();
        left.sort_by(|a, b| a.tunnel.cmp(&b.tunnel));
        left.dedup_by(|a, b| a.tunnel == b.tunnel);
        Self { now, previous, left, lost: None, arrived: 0 }
    }

    /// The candidate that carries the traffic now, if it is still in the race.
    fn in_use(&self) -> Option<&'a Candidate> {
        let previous = self.previous?;
        self.left.iter().copied().find(|candidate| candidate.tunnel == previous.tunnel)
    }

    /// Drops those for which `fits` is false, unless that would drop everybody.
    fn keep(&mut self, rule: Rule, fits: impl Fn(&Candidate) -> bool) {
        let (stay, go): (Vec<_>, Vec<_>) = self.left.iter().copied().partition(|candidate| fits(candidate));
        if let (false, Some(loser)) = (stay.is_empty(), go.first()) {
            self.lost = Some((rule, loser));
            self.left = stay;
        }
    }

    /// Keeps those with the lowest key.
    fn best<K: Ord>(&mut self, rule: Rule, key: impl Fn(&'a Candidate) -> K) {
        let Some(lowest) = self.left.iter().map(|candidate| key(candidate)).min() else { return };
        let fits: Vec<_> = self
            .left
            .iter()
            .copied()
            .filter(|candidate| key(candidate) == lowest)
            .map(|it| &it.tunnel)
            .collect();
        self.keep(rule, |candidate| fits.contains(&&candidate.tunnel));
    }

    /// Rule 4, with hysteresis: leave a tunnel at one mark, come back at a lower one.
    fn not_lossy(&mut self) {
        let clean = |candidate: &Candidate| candidate.loss_permille <= CLEAN_PERMILLE;
        let lossy = |candidate: &Candidate| candidate.loss_permille >= LOSSY_PERMILLE;
        if let Some(in_use) = self.in_use().filter(|candidate| !lossy(candidate)) {
            self.keep(Rule::NotLossy, |candidate| candidate.tunnel == in_use.tunnel || clean(candidate));
        } else if self.left.iter().any(|candidate| clean(candidate)) {
            self.keep(Rule::NotLossy, |candidate| !lossy(candidate));
        }
    }

    /// Rule 5.
    fn settled(&mut self) {
        let Some(in_use) = self.in_use() else { return };
        let now = self.now;
        self.keep(Rule::Settled, |candidate| {
            candidate.tunnel == in_use.tunnel || now - candidate.since >= SETTLE
        });
    }

    /// Rule 9. RFC 4271 §9.1.2.2 (c): a path goes when another of the same neighbour AS has a lower MED.
    fn lowest_med(&mut self) {
        let key = |candidate: &Candidate| {
            candidate.path.as_ref().map_or((0, 0), |path| (path.neighbour_as, path.med.unwrap_or(0)))
        };
        let keys: Vec<_> = self.left.iter().map(|candidate| key(candidate)).collect();
        self.keep(Rule::Med, |candidate| {
            let (neighbour, med) = key(candidate);
            !keys.iter().any(|(other, lower)| *other == neighbour && *lower < med)
        });
    }

    /// Rule 10.
    fn arrivals(&mut self) {
        self.arrived = self.left.iter().map(|candidate| candidate.arrival.packets).sum();
        let moved_lately =
            self.in_use().and(self.previous).is_some_and(|it| self.now - it.since < ARRIVAL_HOLD);
        if moved_lately || self.arrived < ARRIVAL_PACKETS_MIN {
            return;
        }
        let arrived = self.arrived;
        self.keep(Rule::Arrivals, |candidate| {
            permille(candidate.arrival.packets, arrived) >= u64::from(ARRIVAL_SHARE_PERMILLE)
        });
    }

    fn decision(self, equals: Vec<String>) -> Decision {
        let Some(chosen) = self.left.first().copied() else {
            return Decision::none(self.now, Reason::NoCandidate);
        };
        let reason = match self.lost {
            None => Reason::OnlyOne,
            Some((rule, loser)) => Reason::Decided {
                rule,
                against: loser.tunnel.clone(),
                detail: self.detail(rule, chosen, loser),
            },
        };
        let since = match self.previous {
            Some(previous) if previous.tunnel == chosen.tunnel => previous.since,
            _ => self.now,
        };
        let faults = [
            (chosen.drained, Despite::Drained),
            (chosen.dampened_until.is_some_and(|until| until > self.now), Despite::Flapping),
            (chosen.loss_permille >= LOSSY_PERMILLE, Despite::Lossy),
        ];
        let despite = faults.into_iter().filter(|(fault, _)| *fault).map(|(_, despite)| despite).collect();
        Decision { tunnel: Some(chosen.tunnel.clone()), since, equals, reason, despite }
    }

    /// The comparison that decided, with its values.
    fn detail(&self, rule: Rule, chosen: &Candidate, loser: &Candidate) -> String {
        let other = &loser.tunnel;
        let med = |candidate: &Candidate| match &candidate.path {
            Some(PathAttributes { med: Some(med), .. }) => med.to_string(),
            _ => "none".to_owned(),
        };
        match rule {
            Rule::Usable if loser.down_reason.is_empty() => format!("{other} is down"),
            Rule::Usable => format!("{other} is down: {}", loser.down_reason),
            Rule::NotDrained => format!("{other} is drained"),
            Rule::NotFlapping => {
                let left = loser.dampened_until.map_or(0, |until| (until - self.now).as_secs());
                format!("{other} has been flapping and is held back for another {left} s")
            }
            Rule::NotLossy => format!(
                "{other} loses {} of its probes, this one {}",
                percent(loser.loss_permille.into()),
                percent(chosen.loss_permille.into())
            ),
            Rule::Settled => format!(
                "{other} came up only {} s ago and must stay up for {} s to take over",
                (self.now - loser.since).as_secs(),
                SETTLE.as_secs()
            ),
            Rule::LocalPreference => format!(
                "local preference {} beats {} of {other}",
                chosen.local_preference, loser.local_preference
            ),
            Rule::AsPath => format!(
                "AS path length {} beats {} of {other}",
                as_path_length(chosen),
                as_path_length(loser)
            ),
            Rule::Origin => format!("origin {} beats {} of {other}", origin(chosen), origin(loser)),
            Rule::Med => format!("MED {} beats {} of {other}", med(chosen), med(loser)),
            Rule::Arrivals => format!(
                "AWS sends here: {} of its packets arrive on this tunnel",
                percent(permille(chosen.arrival.packets, self.arrived))
            ),
            Rule::Stay => format!("as good as {other} and already in use"),
            Rule::Age => format!("as good as {other} and up for longer"),
            Rule::Name => format!("as good as {other}; the first by name"),
        }
    }
}

fn as_path_length(candidate: &Candidate) -> u32 {
    candidate.path.as_ref().map_or(0, |path| path.as_path_length)
}

fn origin(candidate: &Candidate) -> &'static str {
    match candidate.path.as_ref().map_or(0, |path| path.origin) {
        0 => "IGP",
        1 => "EGP",
        _ => "incomplete",
    }
}

fn permille(part: u64, whole: u64) -> u64 {
    part.saturating_mul(1000).checked_div(whole).unwrap_or(0)
}

/// Thousandths as per cent with at most one decimal place.
fn percent(permille: u64) -> String {
    match permille % 10 {
        0 => format!("{} %", permille / 10),
        tenths => format!("{}.{tenths} %", permille / 10),
    }
}

#[cfg(test)]
mod tests;
