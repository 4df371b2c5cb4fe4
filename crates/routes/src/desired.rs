//! The routes we want, and those we refuse to want.
//!
//! [`build`] is the one place where tunnels and prefixes become routes. A [`Desired`] can be made only through
//! its guard, so that no plan can hold a default route nobody asked for or a route that swallows the tunnels'
//! own packets.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use model::Instant;

use crate::egress::{Candidate, Decision, PathAttributes, Previous, choose};
use crate::route::{DEFAULT_METRIC, METRIC_WORST, NextHop, Route, RouteKey, TABLE_MAIN, covers};

/// The most routes we ask the kernel for: AWS announces at most 5,000 on a transit gateway.
pub const ROUTES_MAX: usize = 20_000;

/// The rules that hold for every route of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Priority of our routes.
    pub metric: u32,
    /// Kernel table of our routes.
    pub table: u32,
    /// Source address for packets of this machine itself to IPv4 prefixes.
    pub source_v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub source_v6: Option<Ipv6Addr>,
    /// Whether a default route may be made.
    pub allow_default: bool,
    /// Whether tunnels that rules 1 to 9 hold for equal share the traffic (ECMP; transit gateways only).
    pub multipath: bool,
    /// The addresses the tunnels' own packets go to (AWS outside addresses).
    pub outside: Vec<IpAddr>,
    /// How each outside address is reached without us ([`crate::Observed::underlay`]). With it, a route that
    /// covers the address is made together with a host route; without it, it is refused.
    pub underlay: BTreeMap<IpAddr, NextHop>,
    /// The /30 and /126 nets inside the tunnels.
    pub inside: Vec<IpNet>,
    /// The prefixes on our side.
    pub lan: Vec<IpNet>,
    /// Prefixes that must not leave by another way when no tunnel carries them: each has an unreachable route of
    /// the worst metric for as long as we run.
    pub last_resort: Vec<IpNet>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            metric: DEFAULT_METRIC,
            table: TABLE_MAIN,
            source_v4: None,
            source_v6: None,
            allow_default: false,
            multipath: false,
            outside: Vec::new(),
            underlay: BTreeMap::new(),
            inside: Vec::new(),
            lan: Vec::new(),
            last_resort: Vec::new(),
        }
    }
}

impl Policy {
    /// Whether a route to `prefix` may be thought of at all; where it would lead is another question.
    fn admits(&self, prefix: &IpNet) -> Result<(), RefusalReason> {
        if unroutable(prefix) {
            return Err(RefusalReason::Unroutable);
        }
        if is_default(prefix) && !self.allow_default {
            return Err(RefusalReason::Default);
        }
        if self.inside.iter().any(|inside| covers(inside, prefix)) {
            return Err(RefusalReason::Inside);
        }
        if self.lan.iter().any(|lan| lan.trunc() == *prefix) {
            return Err(RefusalReason::Lan);
        }
        Ok(())
    }
}

/// What a tunnel leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefixes {
    /// Configured prefixes.
    Static(Vec<IpNet>),
    /// What BGP accepted on this tunnel, with its path.
    Bgp(BTreeMap<IpNet, PathAttributes>),
}

/// One tunnel, as the route manager sees it. Tunnels of several connections stand side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Health and preference; the `path` in it is ignored, [`Tunnel::prefixes`] decides per prefix.
    pub candidate: Candidate,
    /// The TUN interface.
    pub interface: String,
    /// Index of its connection's policy.
    pub policy: usize,
    /// What it leads to.
    pub prefixes: Prefixes,
}

/// Why a route is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalReason {
    /// A default route, and nobody allowed one.
    Default,
    /// It covers this outside address and the way to that address is not known.
    Swallows(IpAddr),
    /// It lies within the addresses inside a tunnel.
    Inside,
    /// It is a prefix of our own side.
    Lan,
    /// Loopback, link-local, multicast or unspecified.
    Unroutable,
    /// More than [`ROUTES_MAX`] routes.
    TooMany,
}

/// A route that is not made, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Its destination.
    pub prefix: IpNet,
    /// Why.
    pub reason: RefusalReason,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no route to {}: ", self.prefix)?;
        match self.reason {
            RefusalReason::Default => {
                f.write_str("a default route is made only when allow_default_route = true asks for it")
            }
            RefusalReason::Swallows(outside) => write!(
                f,
                "it would lead the packets that carry the tunnel (to {outside}) into the tunnel, and how \
                 {outside} is reached without it is not known; give this host a route to {outside}"
            ),
            RefusalReason::Inside => {
                f.write_str("it lies within the tunnels' inside addresses, which belong to the interface")
            }
            RefusalReason::Lan => f.write_str("it is one of our own prefixes (lan); the two sides overlap"),
            RefusalReason::Unroutable => {
                f.write_str("loopback, link-local, multicast and unspecified prefixes are not routed")
            }
            RefusalReason::TooMany => write!(f, "the limit of {ROUTES_MAX} routes is reached"),
        }
    }
}

/// The routes we want. Passed the guard; see [`Desired::insert`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    routes: BTreeMap<RouteKey, Route>,
    protective: BTreeMap<RouteKey, Route>,
}

impl Desired {
    /// The routes that lead into tunnels.
    pub fn routes(&self) -> &BTreeMap<RouteKey, Route> {
        &self.routes
    }

    /// Host routes to outside addresses on the underlay, which must stand before and fall after [`Self::routes`].
    pub fn protective(&self) -> &BTreeMap<RouteKey, Route> {
        &self.protective
    }

    /// Wants `prefix` to go `via`, under `policy`.
    ///
    /// # Errors
    ///
    /// The reason when `policy` forbids it; then nothing changed.
    pub fn insert(&mut self, prefix: IpNet, via: Vec<NextHop>, policy: &Policy) -> Result<(), Refusal> {
        self.insert_at(prefix, via, policy.metric, policy)
    }

    /// Wants what is sent to `prefix` to be answered *unreachable* where no better route takes it.
    fn insert_last_resort(&mut self, prefix: IpNet, policy: &Policy) -> Result<(), Refusal> {
        self.insert_at(prefix, Vec::new(), METRIC_WORST, policy)
    }

    fn insert_at(
        &mut self,
        prefix: IpNet,
        via: Vec<NextHop>,
        metric: u32,
        policy: &Policy,
    ) -> Result<(), Refusal> {
        let prefix = prefix.trunc();
        let refuse = |reason| Err(Refusal { prefix, reason });
        if let Err(reason) = policy.admits(&prefix) {
            return refuse(reason);
        }
        let mut guards = Vec::new();
        for outside in &policy.outside {
            let host = IpNet::from(*outside);
            match policy.underlay.get(outside) {
                _ if !covers(&prefix, &host) => {}
                Some(hop) if host != prefix => {
                    guards.push(Route::ours(host, vec![hop.clone()], policy.metric, policy.table));
                }
                _ => return refuse(RefusalReason::Swallows(*outside)),
            }
        }
        let mut route = Route::ours(prefix, via, metric, policy.table);
        if self.routes.len() >= ROUTES_MAX && !self.routes.contains_key(&route.key()) {
            return refuse(RefusalReason::TooMany);
        }
        route.source = match prefix {
            _ if route.via.is_empty() => None,
            IpNet::V4(_) => policy.source_v4.map(IpAddr::V4),
            IpNet::V6(_) => policy.source_v6.map(IpAddr::V6),
        };
        self.protective.extend(guards.into_iter().map(|guard| (guard.key(), guard)));
        self.routes.insert(route.key(), route);
        Ok(())
    }

    /// Gives routes that lead into `interface` first and have no source address one: the inside address of
    /// that tunnel, where there is no better one.
    pub fn default_source(&mut self, interface: &str, v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) {
        for route in self.routes.values_mut() {
            let leads = route.via.first().is_some_and(|hop| hop.interface == interface);
            if leads && route.source.is_none() {
                route.source = match route.prefix {
                    IpNet::V4(_) => v4.map(IpAddr::V4),
                    IpNet::V6(_) => v6.map(IpAddr::V6),
                };
            }
        }
    }
}

/// A default route, or one of the wide prefixes that amount to it when they come in pairs.
fn is_default(prefix: &IpNet) -> bool {
    match prefix {
        IpNet::V4(prefix) => prefix.prefix_len() <= 1,
        // 2000::/3 is all of the public IPv6 address space.
        IpNet::V6(prefix) => prefix.prefix_len() <= 3,
    }
}

fn unroutable(prefix: &IpNet) -> bool {
    match prefix {
        IpNet::V4(prefix) if prefix.prefix_len() == 0 => false,
        IpNet::V4(prefix) => {
            let network = prefix.network();
            network.is_loopback() || network.is_multicast() || network.octets().first() == Some(&0)
        }
        IpNet::V6(prefix) if prefix.prefix_len() < 8 => false,
        IpNet::V6(prefix) => {
            let network = prefix.network();
            network.is_loopback()
                || network.is_multicast()
                || network.is_unspecified()
                || network.is_unicast_link_local()
        }
    }
}

/// Why a prefix goes where it goes; one line of `cgwd routes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The prefix.
    pub prefix: IpNet,
    /// The tunnel and the reason.
    pub decision: Decision,
    /// Names of the tunnels that offer the prefix.
    pub offers: Vec<String>,
    /// Names of the tunnels that carry it: the chosen one, or all members of an ECMP route.
    pub carriers: Vec<String>,
}

/// What [`build`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The routes to have.
    pub desired: Desired,
    /// Every prefix that any tunnel offers, with its decision; sorted.
    pub choices: Vec<Choice>,
    /// Routes not made.
    pub refusals: Vec<Refusal>,
}

impl Outcome {
    /// What to hand to [`build`] the next time.
    pub fn previous(&self) -> BTreeMap<IpNet, Previous> {
        self.choices.iter().filter_map(|choice| Some((choice.prefix, choice.decision.previous()?))).collect()
    }
}

/// Chooses the egress of every prefix that any of `tunnels` offers and makes the routes.
///
/// Tunnels of several connections may offer the same prefix: then they are candidates side by side, and share the
/// flows where all of their connections ask for it. `policies` has the rules of each connection,
/// [`Tunnel::policy`] says whose a tunnel is. `previous` is [`Outcome::previous`] of the last call; prefixes missing
/// there are decided afresh.
pub fn build(
    now: Instant,
    tunnels: &[Tunnel],
    policies: &[Policy],
    previous: &BTreeMap<IpNet, Previous>,
) -> Outcome {
    let mut deciding = Deciding { now, tunnels, previous, known: BTreeMap::new() };
    let mut outcome = Outcome::default();
    let policy_of = |tunnel: &Tunnel| policies.get(tunnel.policy);
    for (prefix, mut offers) in offers(tunnels) {
        let named = |(index, _): &(usize, _)| Some(tunnels.get(*index)?.candidate.tunnel.clone());
        let names: Vec<String> = offers.iter().filter_map(named).collect();
        offers.retain(|(index, _)| {
            let admitted = tunnels.get(*index).and_then(policy_of).map(|policy| policy.admits(&prefix));
            if let Some(Err(reason)) = admitted {
                outcome.refusals.push(Refusal { prefix, reason });
            }
            admitted == Some(Ok(()))
        });
        if offers.is_empty() {
            continue;
        }
        let decision = deciding.decide(prefix, offers);
        let chosen = tunnels.iter().find(|tunnel| decision.tunnel.as_ref() == Some(&tunnel.candidate.tunnel));
        let carriers = chosen.map_or_else(Vec::new, |chosen| carriers(chosen, &decision, tunnels, policies));
        if let Some(policy) = chosen.and_then(policy_of) {
            let via = carriers.iter().map(|tunnel| NextHop::device(tunnel.interface.clone())).collect();
            outcome.refusals.extend(outcome.desired.insert(prefix, via, policy).err());
        }
        let carriers = carriers.into_iter().map(|tunnel| tunnel.candidate.tunnel.clone()).collect();
        outcome.choices.push(Choice { prefix, decision, offers: names, carriers });
    }
    for policy in policies {
        for prefix in &policy.last_resort {
            // What may have no route at all is refused above, where a tunnel offers it.
            let _ = outcome.desired.insert_last_resort(*prefix, policy);
        }
    }
    outcome.refusals.sort();
    outcome.refusals.dedup();
    outcome
}

/// The chosen tunnel, or all that share its flows.
fn carriers<'a>(
    chosen: &'a Tunnel,
    decision: &Decision,
    tunnels: &'a [Tunnel],
    policies: &[Policy],
) -> Vec<&'a Tunnel> {
    let shares = |tunnel: &Tunnel| policies.get(tunnel.policy).is_some_and(|policy| policy.multipath);
    if !shares(chosen) {
        return vec![chosen];
    }
    let equal = |tunnel: &&Tunnel| decision.equals.contains(&tunnel.candidate.tunnel) && shares(tunnel);
    tunnels.iter().filter(equal).collect()
}

/// Who offers a prefix: indices into the tunnels, with the path each has.
type Offers = Vec<(usize, Option<PathAttributes>)>;

fn offers(tunnels: &[Tunnel]) -> BTreeMap<IpNet, Offers> {
    let mut offers: BTreeMap<IpNet, Offers> = BTreeMap::new();
    for (index, tunnel) in tunnels.iter().enumerate() {
        match &tunnel.prefixes {
            Prefixes::Static(prefixes) => {
                for prefix in prefixes {
                    offers.entry(prefix.trunc()).or_default().push((index, None));
                }
            }
            Prefixes::Bgp(paths) => {
                for (prefix, path) in paths {
                    offers.entry(prefix.trunc()).or_default().push((index, Some(path.clone())));
                }
            }
        }
    }
    offers
}

/// Decides each distinct question once: thousands of prefixes share a handful of them.
struct Deciding<'a> {
    now: Instant,
    tunnels: &'a [Tunnel],
    previous: &'a BTreeMap<IpNet, Previous>,
    known: BTreeMap<(Offers, Option<&'a Previous>), Decision>,
}

impl Deciding<'_> {
    fn decide(&mut self, prefix: IpNet, offers: Offers) -> Decision {
        let key = (offers, self.previous.get(&prefix));
        if let Some(decision) = self.known.get(&key) {
            return decision.clone();
        }
        let candidates: Vec<_> = key
            .0
            .iter()
            .filter_map(|(index, path)| {
                let tunnel = self.tunnels.get(*index)?;
                Some(Candidate { path: path.clone(), ..tunnel.candidate.clone() })
            })
            .collect();
        let decision = choose(self.now, &candidates, key.1);
        self.known.insert(key, decision.clone());
        decision
    }
}
