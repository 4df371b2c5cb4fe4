//! The kernel's routes: kept equal to what the tunnels' state asks for.
//!
//! `routes` decides; this file gathers the facts, carries the plan out, and says what changed. Facts are gathered
//! anew only when something happened: a tunnel's state, a second that passed, or the kernel's announcements.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use model::Instant;
use net::netlink::{self, Monitor, Netlink};
use routes::desired::{Desired, Policy, Prefixes};
use routes::{Arrival, Candidate, Change, ConflictEffect, Outcome, Previous, Route};

use super::address;
use super::inbox::LineId;
use super::line::Line;
use crate::catalog::Code;
use crate::translate::failure::Finding;
use crate::translate::routes::{Interfaces, apply, observe};

/// A change of the kernel's that we did not make is looked at after this time, so that a burst is one.
const SETTLE: Duration = Duration::from_millis(50);
/// A change that the kernel refused is tried again after this time.
const RETRY: Duration = Duration::from_secs(1);
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

/// What one connection decided the last time.
#[derive(Default)]
pub(super) struct Decided {
    pub(super) outcome: Outcome,
    /// The tunnels that carry traffic.
    pub(super) egress: BTreeSet<String>,
    previous: BTreeMap<IpNet, Previous>,
}

/// The kernel's routes, and why they are as they are.
pub(super) struct Routing {
    pub(super) netlink: Netlink,
    monitor: Monitor,
    pub(super) decided: BTreeMap<String, Decided>,
    pub(super) desired: Desired,
    /// Our routes as last seen in the kernel.
    pub(super) installed: Vec<Route>,
    /// When to compare with the kernel again; `None` when nothing happened since.
    look_at: Option<Instant>,
    /// The last comparison ended with everything in place.
    settled: bool,
    reported: BTreeSet<String>,
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
            decided: BTreeMap::new(),
            desired: Desired::default(),
            installed: Vec::new(),
            look_at: None,
            settled: false,
            reported: BTreeSet::new(),
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

    /// Removes the routes of a predecessor that was killed; how many.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn remove_leftovers(&mut self) -> Result<usize, net::Error> {
        let interfaces = Interfaces::list(&mut self.netlink)?;
        let observed = observe(&mut self.netlink, &interfaces)?;
        let plan = routes::cleanup(&observed);
        for change in &plan.changes {
            apply(&mut self.netlink, &interfaces, change)?;
        }
        Ok(plan.changes.len())
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
                    // Foreign routes matter for conflicts only where they lead to a prefix of ours.
                    let ours = route.protocol == routes::PROTOCOL
                        || self.installed.iter().any(|known| known.prefix == route.destination);
                    if !ours {
                        continue;
                    }
                }
                netlink::Change::Address(_)
                | netlink::Change::AddressGone(_)
                | netlink::Change::Link(_)
                | netlink::Change::LinkGone { .. }
                | netlink::Change::Overrun => {
                    news.addresses = true;
                    self.addresses = None;
                }
            }
            self.look_at = Some(self.look_at.map_or(now + SETTLE, |at| at.min(now + SETTLE)));
        }
        news
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
    }

    /// Decides anew and makes the kernel follow.
    pub(super) fn update(&mut self, lines: &mut [Line], config: &config::Config, now: Instant) -> Vec<Said> {
        let mut said = Vec::new();
        let desired = self.decide(lines, config, now, &mut said);
        let due = self.look_at.is_some_and(|at| at <= now);
        if desired == self.desired && !due {
            return said;
        }
        let repairing = desired == self.desired && self.settled;
        self.desired = desired;
        self.look_at = None;
        if let Err(error) = self.carry_out(repairing, now, &mut said) {
            self.settled = false;
            self.look_at = Some(now + RETRY);
            self.report_once(None, Code::RouteFailed, error.to_string(), &mut said);
        }
        said
    }

    /// Removes all our routes.
    pub(super) fn remove_all(&mut self) {
        self.desired = Desired::default();
        match self.remove_leftovers() {
            Ok(count) => tracing::debug!("{count} routes removed"),
            Err(error) => {
                tracing::warn!("{error}; remove them by hand: ip route flush proto {}", routes::PROTOCOL)
            }
        }
    }

    fn carry_out(&mut self, repairing: bool, now: Instant, said: &mut Vec<Said>) -> Result<(), net::Error> {
        let interfaces = Interfaces::list(&mut self.netlink)?;
        let observed = observe(&mut self.netlink, &interfaces)?;
        let plan = routes::plan(&self.desired, &observed);
        let mut failed = None;
        for change in &plan.changes {
            tracing::info!("route: {change}");
            match apply(&mut self.netlink, &interfaces, change) {
                Ok(()) if repairing => {
                    let (Change::Add(route) | Change::Replace { new: route, .. } | Change::Delete(route)) =
                        change;
                    let text = format!("our route {route} was changed by somebody; it is as it was again");
                    said.push((None, Finding { code: Code::RouteRepaired, text }, None));
                }
                Ok(()) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        for conflict in &plan.conflicts {
            if conflict.effect != ConflictEffect::OursWins {
                self.report_once(None, Code::RouteForeign, conflict.to_string(), said);
            }
        }
        let after = if plan.changes.is_empty() { observed } else { observe(&mut self.netlink, &interfaces)? };
        self.installed = after.ours().values().cloned().collect();
        self.settled = failed.is_none();
        if failed.is_some() {
            self.look_at = Some(now + RETRY);
        }
        failed.map_or(Ok(()), Err)
    }

    fn decide(
        &mut self,
        lines: &mut [Line],
        config: &config::Config,
        now: Instant,
        said: &mut Vec<Said>,
    ) -> Desired {
        let mut all = Desired::default();
        // Without an answer local programs send from the inside address, which is no disaster.
        let addresses =
            self.addresses.take().unwrap_or_else(|| self.netlink.addresses(None).unwrap_or_default());
        let common = Common::gather(addresses, lines, config);
        self.decided.retain(|id, _| config.connections.iter().any(|connection| connection.id == *id));
        for connection in &config.connections {
            let mut tunnels = Vec::new();
            for line in lines.iter_mut().filter(|line| line.connection.id == connection.id) {
                let arrival = arrival(self.arrivals.get(&line.id));
                tunnels.extend(offer(line, connection, arrival, now));
            }
            let decided = self.decided.entry(connection.id.clone()).or_default();
            let policy = common.policy(connection, &config.routes);
            let outcome = routes::build(now, &tunnels, &policy, &decided.previous);
            decided.previous = outcome.previous();
            let egress: BTreeSet<String> =
                outcome.choices.iter().filter_map(|choice| choice.decision.tunnel.clone()).collect();
            let reason = outcome.choices.first().map(|choice| choice.decision.reason.to_string());
            if egress != decided.egress {
                said.push(moved(connection, &decided.egress, &egress, reason, lines, now));
            }
            for line in lines.iter_mut().filter(|line| line.connection.id == connection.id) {
                line.egress = egress.contains(&line.config.name);
            }
            decided.egress = egress;
            let mut refusals = outcome.refusals.clone();
            let mut wanted = outcome.desired.clone();
            for line in lines.iter().filter(|line| line.connection.id == connection.id) {
                let (v4, v6) = line.inside_sources();
                wanted.default_source(&line.config.interface, v4, v6);
            }
            refusals.extend(all.merge(wanted));
            decided.outcome = outcome;
            for refusal in refusals {
                let id = Some(connection.id.clone());
                self.report_once(id, Code::RouteFailed, refusal.to_string(), said);
            }
        }
        self.addresses = Some(common.addresses);
        all
    }

    fn report_once(&mut self, connection: Option<String>, code: Code, text: String, said: &mut Vec<Said>) {
        if self.reported.insert(text.clone()) {
            said.push((connection, Finding { code, text }, None));
        }
    }
}

/// What is the same for all connections.
struct Common {
    outside: Vec<IpAddr>,
    underlay: BTreeMap<IpAddr, routes::NextHop>,
    inside: Vec<IpNet>,
    addresses: Vec<netlink::Address>,
    own_interfaces: Vec<u32>,
}

impl Common {
    fn gather(addresses: Vec<netlink::Address>, lines: &[Line], config: &config::Config) -> Self {
        let running = lines.iter().filter_map(Line::running);
        Self {
            outside: config.tunnels().map(|(_, tunnel)| tunnel.outside).collect(),
            underlay: lines
                .iter()
                .filter_map(|line| Some((line.config.outside, line.underlay.clone()?)))
                .collect(),
            inside: config
                .tunnels()
                .flat_map(|(_, tunnel)| tunnel.inside.iter().map(|inside| inside.ours.trunc()))
                .collect(),
            addresses,
            own_interfaces: running.map(|running| running.glue.plane().interface_index()).collect(),
        }
    }

    fn policy(&self, connection: &config::Connection, routes: &config::Routes) -> Policy {
        let (source_v4, source_v6) =
            address::lan_sources(&self.addresses, &connection.lan, &self.own_interfaces);
        Policy {
            metric: routes.metric,
            table: routes.table,
            source_v4,
            source_v6,
            allow_default: connection.allow_default_route,
            multipath: false,
            outside: self.outside.clone(),
            underlay: self.underlay.clone(),
            inside: self.inside.clone(),
            lan: connection.lan.clone(),
        }
    }
}

/// A line as the route manager sees it; `None` when it offers nothing.
fn offer(
    line: &mut Line,
    connection: &config::Connection,
    arrival: Arrival,
    now: Instant,
) -> Option<routes::Tunnel> {
    let prefixes = match &connection.routing {
        config::Routing::Static { vpc } => Prefixes::Static(vpc.clone()),
        config::Routing::Bgp(_) => Prefixes::Bgp(line.running()?.bgp.as_ref()?.routes().clone()),
    };
    let name = line.config.name.clone();
    let since = Instant::from_nanos(
        now.as_nanos()
            .saturating_sub(u64::try_from(line.health.stage_age(now).as_nanos()).unwrap_or(u64::MAX)),
    );
    let candidate = if line.usable() {
        Candidate {
            drained: line.drained,
            dampened_until: line.dampener.held_until(now),
            loss_permille: (line.health.probes().loss_ratio() * 1000.0) as u16,
            arrival,
            ..Candidate::usable(name, since)
        }
    } else {
        Candidate::down(name, line.health.down_reason())
    };
    Some(routes::Tunnel { candidate, interface: line.config.interface.clone(), prefixes })
}

fn arrival(samples: Option<&VecDeque<u64>>) -> Arrival {
    let packets = samples.and_then(|samples| Some(samples.back()?.saturating_sub(*samples.front()?)));
    Arrival { packets: packets.unwrap_or(0) }
}

/// The event of a changed egress. It took as long as traffic had nowhere good to go.
fn moved(
    connection: &config::Connection,
    from: &BTreeSet<String>,
    to: &BTreeSet<String>,
    reason: Option<String>,
    lines: &[Line],
    now: Instant,
) -> Said {
    let join = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    let reason = reason.unwrap_or_default();
    let (code, text) = match (from.is_empty(), to.is_empty()) {
        (_, true) => {
            (Code::EgressNone, format!("traffic has no egress any more (was {}): {reason}", join(from)))
        }
        (true, false) => (Code::EgressMoved, format!("traffic leaves by {}: {reason}", join(to))),
        (false, false) => {
            (Code::EgressMoved, format!("traffic moved from {} to {}: {reason}", join(from), join(to)))
        }
    };
    let took = lines
        .iter()
        .filter(|line| {
            line.connection.id == connection.id && from.contains(&line.config.name) && !line.usable()
        })
        .filter_map(|line| line.health.last_good())
        .max()
        .map(|good| now - good);
    (Some(connection.id.clone()), Finding { code, text }, took)
}
