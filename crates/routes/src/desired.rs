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
use crate::route::{DEFAULT_METRIC, NextHop, Route, RouteKey, TABLE_MAIN, covers};

/// The most routes we ask the kernel for: AWS announces at most 5,000 on a transit gateway.
pub const ROUTES_MAX: usize = 20_000;

/// The rules that hold for every route.
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
        }
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
    /// What it leads to.
    pub prefixes: Prefixes,
}

/// Why a route is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Another connection routes the same prefix already.
    Taken,
}

/// A route that is not made, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
            RefusalReason::Taken => f.write_str(
                "another connection routes it already; make the prefixes of the connections disjoint, or give \
                 them different metrics",
            ),
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
        let prefix = prefix.trunc();
        let refuse = |reason| Err(Refusal { prefix, reason });
        if unroutable(&prefix) {
            return refuse(RefusalReason::Unroutable);
        }
        if is_default(&prefix) && !policy.allow_default {
            return refuse(RefusalReason::Default);
        }
        if policy.inside.iter().any(|inside| covers(inside, &prefix)) {
            return refuse(RefusalReason::Inside);
        }
        if policy.lan.iter().any(|lan| lan.trunc() == prefix) {
            return refuse(RefusalReason::Lan);
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
        let mut route = Route::ours(prefix, via, policy.metric, policy.table);
        if self.routes.len() >= ROUTES_MAX && !self.routes.contains_key(&route.key()) {
            return refuse(RefusalReason::TooMany);
        }
        route.source = match prefix {
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

    /// Takes the routes of another connection too, decided under its own policy. Where both want the same key,
    /// the one that is here stays and the other is returned as refused.
    pub fn merge(&mut self, other: Self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        self.protective.extend(other.protective);
        for (key, route) in other.routes {
            let reason = match self.routes.get(&key) {
                Some(_) => RefusalReason::Taken,
                None if self.routes.len() >= ROUTES_MAX => RefusalReason::TooMany,
                None => {
                    self.routes.insert(key, route);
                    continue;
                }
            };
            refusals.push(Refusal { prefix: key.prefix, reason });
        }
        refusals
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
/// `previous` is [`Outcome::previous`] of the last call; prefixes missing there are decided afresh.
pub fn build(
    now: Instant,
    tunnels: &[Tunnel],
    policy: &Policy,
    previous: &BTreeMap<IpNet, Previous>,
) -> Outcome {
    let mut deciding = Deciding { now, tunnels, previous, known: BTreeMap::new() };
    let mut outcome = Outcome::default();
    for (prefix, offers) in offers(tunnels) {
        let decision = deciding.decide(prefix, offers);
        let chosen = |tunnel: &&Tunnel| match policy.multipath {
            true => decision.equals.contains(&tunnel.candidate.tunnel),
            false => decision.tunnel.as_ref() == Some(&tunnel.candidate.tunnel),
        };
        let via: Vec<_> =
            tunnels.iter().filter(chosen).map(|it| NextHop::device(it.interface.clone())).collect();
        if !via.is_empty()
            && let Err(refusal) = outcome.desired.insert(prefix, via, policy)
        {
            outcome.refusals.push(refusal);
        }
        outcome.choices.push(Choice { prefix, decision });
    }
    outcome
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
