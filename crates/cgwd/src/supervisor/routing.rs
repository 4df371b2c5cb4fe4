//! The kernel's routes: kept equal to what the tunnels' state asks for.
//!
//! `routes` decides; this file gathers the facts, carries the plan out, and says what changed. Facts are gathered
//! anew only when something happened: a tunnel's state, a second that passed, or the kernel's announcements.

mod decide;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use model::Instant;
use net::netlink::{self, Monitor, Netlink};
use routes::desired::Desired;
use routes::egress::{ARRIVAL_PACKETS_MIN, ARRIVAL_SHARE_PERMILLE};
use routes::{Arrival, Change, ConflictEffect, NextHop, Route, RouteKey, Rule};

use super::TICK;
use super::inbox::LineId;
use super::line::Line;
use crate::catalog::Code;
use crate::translate::failure::Finding;
use crate::translate::routes::{Interfaces, apply, apply_rules, observe};
use decide::Fact;

pub(super) use decide::{Decided, label};

/// A change of the kernel's that we did not make is looked at after this time, so that a burst is one.
const SETTLE: Duration = Duration::from_millis(50);
/// A change that the kernel refused is tried again after this time.
const RETRY: Duration = Duration::from_secs(1);
/// Changes told one by one in the log and the events; of more, only the number.
const TOLD_MAX: usize = 3;
/// Arriving packets are compared over this many seconds.
const ARRIVAL_SAMPLES: usize = 5;

/// Something worth an event: the connection, what, and how long it took.
pub(super) type Said = (Option<String>, Finding, Option<Duration>);

/// What the kernel announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    /// Anything at all.
    pub(super) any: bool,
    /// Addresses or interfaces among it.
    pub(super) addresses: bool,
}

/// The kernel's routes, and why they are as they are.
pub(super) struct Routing {
    pub(super) netlink: Netlink,
    monitor: Monitor,
    pub(super) decided: Decided,
    pub(super) desired: Desired,
    /// The policy rules to have.
    rules: Vec<Rule>,
    /// Our routes as last seen in the kernel.
    pub(super) installed: BTreeMap<RouteKey, Route>,
    /// What the last decision was made from.
    facts: Vec<Fact>,
    /// Something that is not among the facts changed.
    stale: bool,
    /// A second has passed since the last decision.
    ticked: bool,
    /// Rules that depend on time may change their answer until then.
    restless_until: Instant,
    /// The tunnels on which AWS clearly sends.
    dominant: BTreeSet<LineId>,
    /// When to compare with the kernel again; `None` when nothing happened since.
    look_at: Option<Instant>,
    /// The last comparison ended with everything in place.
    settled: bool,
    /// What stands in the way of our routes and was told: each kind is told again when it comes again.
    refused: BTreeSet<String>,
    conflicting: BTreeSet<String>,
    failing: Option<String>,
    /// Changes refused by the kernel in a row.
    failures: u32,
    /// How each outside address is reached without the tunnels, where the main table says it.
    ways: BTreeMap<IpAddr, NextHop>,
    /// Outside addresses whose way the main table has said once: there, no answer means no way.
    followed: BTreeSet<IpAddr>,
    /// Routes around the outside addresses changed.
    ways_due: bool,
    /// All addresses of this machine; `None` when they changed since.
    addresses: Option<Vec<netlink::Address>>,
    arrivals: BTreeMap<LineId, VecDeque<u64>>,
}

impl Routing {
    /// Opens the sockets.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub(super) fn open() -> Result<Self, net::Error> {
        Ok(Self {
            netlink: Netlink::open()?,
            monitor: Monitor::open()?,
            decided: Decided::default(),
            desired: Desired::default(),
            rules: Vec::new(),
            installed: BTreeMap::new(),
            facts: Vec::new(),
            stale: true,
            ticked: false,
            restless_until: Instant::ZERO,
            dominant: BTreeSet::new(),
            look_at: None,
            settled: false,
            refused: BTreeSet::new(),
            conflicting: BTreeSet::new(),
            failing: None,
            failures: 0,
            ways: BTreeMap::new(),
            followed: BTreeSet::new(),
            ways_due: true,
            addresses: None,
            arrivals: BTreeMap::new(),
        })
    }

    /// The descriptor that is readable when the kernel announces something.
    pub(super) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// When [`Routing::update`] has something to do although nothing happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.look_at
    }

    /// Removes the routes and rules of a predecessor that was killed; how many.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn remove_leftovers(&mut self) -> Result<usize, net::Error> {
        let interfaces = Interfaces::list(&mut self.netlink)?;
        let observed = observe(&mut self.netlink, &interfaces)?;
        let plan = routes::cleanup(&observed);
        self.stale = true;
        let rules = apply_rules(&mut self.netlink, &[])?;
        apply(&mut self.netlink, &interfaces, &plan.changes)?.into_iter().collect::<Result<(), _>>()?;
        self.installed.clear();
        Ok(plan.changes.len() + rules)
    }

    /// The configuration changed: decide anew.
    pub(super) fn reconsider(&mut self) {
        self.stale = true;
    }

    /// Takes the kernel's announcements.
    pub(super) fn announced(&mut self, now: Instant) -> News {
        let changes = match self.monitor.receive() {
            Ok(changes) => changes,
            Err(error) => {
                tracing::warn!("cannot watch routes: {error}");
                Vec::new()
            }
        };
        let mut news = News { any: !changes.is_empty(), addresses: false };
        for change in changes {
            match change {
                netlink::Change::Route(route) | netlink::Change::RouteGone(route) => {
                    if !self.concerns_us(&route) {
                        continue;
                    }
                }
                netlink::Change::Rules if self.rules.is_empty() => continue,
                netlink::Change::Rules => {}
                netlink::Change::Address(_)
                | netlink::Change::AddressGone(_)
                | netlink::Change::Link(_)
                | netlink::Change::LinkGone { .. }
                | netlink::Change::Overrun => {
                    news.addresses = true;
                    self.addresses = None;
                    self.ways_due = true;
                    // Sources of routes are chosen among the addresses.
                    self.stale = true;
                }
            }
            self.look_at = Some(self.look_at.map_or(now + SETTLE, |at| at.min(now + SETTLE)));
        }
        news
    }

    /// Foreign routes matter where they lead to a prefix of ours, and where they lead to AWS's outside addresses.
    fn concerns_us(&mut self, route: &netlink::Route) -> bool {
        if route.protocol == routes::PROTOCOL {
            return true;
        }
        let way = self.facts.iter().any(|fact| route.destination.contains(&fact.outside));
        self.ways_due |= way;
        way || self.installed.values().any(|known| known.prefix == route.destination)
    }

    /// Once a second: how much arrived on each tunnel.
    pub(super) fn sample(&mut self, lines: &[Line]) {
        self.arrivals.retain(|id, _| lines.iter().any(|line| line.id == *id));
        for line in lines {
            let Some(running) = line.running() else { continue };
            let answers = line.health.probes().totals().1;
            let arrived = running.glue.plane().stats().total.rx_packets.saturating_sub(answers);
            let samples = self.arrivals.entry(line.id).or_default();
            if samples.len() > ARRIVAL_SAMPLES {
                samples.pop_front();
            }
            samples.push_back(arrived);
        }
        self.ticked = true;
    }

    /// The tunnels that get most of what arrives on their connection; the others' share does not count.
    fn dominant(&self, lines: &[Line]) -> BTreeSet<LineId> {
        let packets = |line: &Line| arrival(self.arrivals.get(&line.id)).packets;
        let clear = |line: &&Line| {
            let all: u64 =
                lines.iter().filter(|other| other.connection.id == line.connection.id).map(packets).sum();
            all >= ARRIVAL_PACKETS_MIN && packets(line) * 1000 >= all * u64::from(ARRIVAL_SHARE_PERMILLE)
        };
        lines.iter().filter(clear).map(|line| line.id).collect()
    }

    /// Whether another decision than the last one is possible.
    fn must_decide(&mut self, lines: &[Line], now: Instant) -> bool {
        let ticked = std::mem::take(&mut self.ticked);
        let mut must = std::mem::take(&mut self.stale) || (ticked && now < self.restless_until);
        let facts: Vec<Fact> = lines.iter().map(|line| Fact::of(line, now)).collect();
        if facts != self.facts {
            self.facts = facts;
            must = true;
        }
        if ticked {
            let dominant = self.dominant(lines);
            must |= dominant != self.dominant;
            self.dominant = dominant;
        }
        must
    }

    /// Decides anew and makes the kernel follow.
    pub(super) fn update(&mut self, lines: &mut [Line], config: &config::Config, now: Instant) -> Vec<Said> {
        let mut said = Vec::new();
        let result = self.follow_ways(lines).and_then(|()| self.follow(lines, config, now, &mut said));
        match result {
            Ok(()) if self.settled => (self.failing, self.failures) = (None, 0),
            Ok(()) => {}
            Err(error) => {
                self.settled = false;
                self.failures = self.failures.saturating_add(1);
                // An address or interface may have gone between the look and the change: look at everything anew
                // at once, and complain only when that fails too.
                (self.stale, self.ways_due, self.addresses) = (true, true, None);
                self.look_at = Some(now + if self.failures == 1 { SETTLE } else { RETRY });
                let text = Some(error.to_string());
                if self.failures > 1 && text != self.failing {
                    said.extend(
                        text.clone().map(|text| (None, Finding { code: Code::RouteFailed, text }, None)),
                    );
                    self.failing = text;
                }
            }
        }
        said
    }

    fn follow(
        &mut self,
        lines: &mut [Line],
        config: &config::Config,
        now: Instant,
        said: &mut Vec<Said>,
    ) -> Result<(), net::Error> {
        let desired = self.must_decide(lines, now).then(|| self.decide(lines, config, now, said));
        let rules = decide::rules(config);
        let changed = desired.filter(|desired| *desired != self.desired);
        let due = rules != self.rules || self.look_at.is_some_and(|at| at <= now);
        if changed.is_none() && !due {
            return Ok(());
        }
        let repairing = changed.is_none() && rules == self.rules && self.settled;
        self.rules = rules;
        if let Some(desired) = changed {
            self.desired = desired;
        }
        self.look_at = None;
        let mut interfaces = Interfaces::list(&mut self.netlink)?;
        for line in lines.iter().filter(|line| line.config.clear_df) {
            interfaces.forward_up_to(&line.config.interface, line.config.path_mtu);
        }
        self.carry_out(&interfaces, repairing, now, said)
    }

    /// Finds out anew how AWS's outside addresses are reached without the tunnels.
    fn follow_ways(&mut self, lines: &[Line]) -> Result<(), net::Error> {
        if !self.ways_due {
            return Ok(());
        }
        let interfaces = Interfaces::list(&mut self.netlink)?;
        let observed = observe(&mut self.netlink, &interfaces)?;
        let tunnels: Vec<String> = lines.iter().map(|line| line.config.interface.clone()).collect();
        let mut ways = BTreeMap::new();
        for line in lines {
            let outside = line.config.outside;
            let main = observed.underlay(outside, routes::TABLE_MAIN, &tunnels);
            if main.is_some() {
                self.followed.insert(outside);
            }
            // Where policy rules lead there by another table, what the kernel answered at the start holds.
            let kept = || line.underlay.clone().filter(|_| !self.followed.contains(&outside));
            if let Some(way) = main.or_else(kept) {
                ways.insert(outside, way);
            }
        }
        self.ways_due = false;
        if ways != self.ways {
            self.ways = ways;
            self.stale = true;
        }
        Ok(())
    }

    /// Removes all our routes.
    pub(super) fn remove_all(&mut self) {
        self.desired = Desired::default();
        match self.remove_leftovers() {
            Ok(count) => tracing::debug!("{count} routes and rules removed"),
            Err(error) => {
                tracing::warn!("{error}; remove them by hand: ip route flush proto {}", routes::PROTOCOL);
            }
        }
    }

    fn carry_out(
        &mut self,
        interfaces: &Interfaces,
        repairing: bool,
        now: Instant,
        said: &mut Vec<Said>,
    ) -> Result<(), net::Error> {
        let observed = observe(&mut self.netlink, interfaces)?;
        let plan = routes::plan(&self.desired, &observed);
        let outcomes = apply(&mut self.netlink, interfaces, &plan.changes)?;
        self.installed = observed.ours().clone();
        let mut failed = None;
        for (change, outcome) in plan.changes.iter().zip(outcomes) {
            if plan.changes.len() <= TOLD_MAX {
                tracing::info!("route: {change}");
            } else {
                tracing::debug!("route: {change}");
            }
            match (outcome, change) {
                (Ok(()), Change::Add(route) | Change::Replace { new: route, .. }) => {
                    self.installed.insert(route.key(), route.clone());
                }
                (Ok(()), Change::Delete(route)) => _ = self.installed.remove(&route.key()),
                (Err(error), _) => failed = failed.or(Some(error)),
            }
        }
        if plan.changes.len() > TOLD_MAX {
            tracing::info!("{} routes changed, {} are ours now", plan.changes.len(), self.installed.len());
        }
        let rules = apply_rules(&mut self.netlink, &self.rules);
        if repairing {
            let rules = rules.as_ref().copied().unwrap_or(0);
            let found = |text| (None, Finding { code: Code::RouteRepaired, text }, None);
            said.extend(words::repaired(&plan.changes, rules, TOLD_MAX).map(found));
        }
        let failed = failed.or(rules.err());
        let blocking = plan.conflicts.iter().filter(|conflict| conflict.effect != ConflictEffect::OursWins);
        let blocking = blocking.map(|conflict| (None, conflict.to_string())).collect();
        said.extend(words::news(&mut self.conflicting, Code::RouteForeign, blocking, TOLD_MAX));
        self.settled = failed.is_none();
        if failed.is_some() {
            self.look_at = Some(now + RETRY);
        }
        failed.map_or(Ok(()), Err)
    }
}

fn arrival(samples: Option<&VecDeque<u64>>) -> Arrival {
    let packets = samples.and_then(|samples| Some(samples.back()?.saturating_sub(*samples.front()?)));
    Arrival { packets: packets.unwrap_or(0) }
}
