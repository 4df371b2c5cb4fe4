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
use routes::egress::{ARRIVAL_PACKETS_MIN, ARRIVAL_SHARE_PERMILLE, CLEAN_PERMILLE, LOSSY_PERMILLE};
use routes::{Arrival, Candidate, Change, ConflictEffect, Outcome, Previous, Route, RouteKey};

use super::bgp::Session;
use super::inbox::LineId;
use super::line::Line;
use super::{TICK, address};
use crate::catalog::Code;
use crate::translate::failure::Finding;
use crate::translate::routes::{Interfaces, apply, observe};

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
            installed: BTreeMap::new(),
            facts: Vec::new(),
            stale: true,
            ticked: false,
            restless_until: Instant::ZERO,
            dominant: BTreeSet::new(),
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
        self.stale = true;
        apply(&mut self.netlink, &interfaces, &plan.changes)?.into_iter().collect::<Result<(), _>>()?;
        self.installed.clear();
        Ok(plan.changes.len())
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
                    // Foreign routes matter for conflicts only where they lead to a prefix of ours.
                    let ours = route.protocol == routes::PROTOCOL
                        || self.installed.values().any(|known| known.prefix == route.destination);
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
                    // Sources of routes are chosen among the addresses.
                    self.stale = true;
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
        let desired = self.must_decide(lines, now).then(|| self.decide(lines, config, now, &mut said));
        let due = self.look_at.is_some_and(|at| at <= now);
        let changed = desired.filter(|desired| *desired != self.desired);
        if changed.is_none() && !due {
            return said;
        }
        let repairing = changed.is_none() && self.settled;
        if let Some(desired) = changed {
            self.desired = desired;
        }
        self.look_at = None;
        let result = Interfaces::list(&mut self.netlink).and_then(|mut interfaces| {
            for line in lines.iter().filter(|line| line.config.clear_df) {
                interfaces.forward_up_to(&line.config.interface, line.config.path_mtu);
            }
            self.carry_out(&interfaces, repairing, now, &mut said)
        });
        if let Err(error) = result {
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
        if repairing {
            said.extend(
                repaired(&plan.changes).map(|text| (None, Finding { code: Code::RouteRepaired, text }, None)),
            );
        }
        for conflict in &plan.conflicts {
            if conflict.effect != ConflictEffect::OursWins {
                self.report_once(None, Code::RouteForeign, conflict.to_string(), said);
            }
        }
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
        let mut restless_until = Instant::ZERO;
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
            let carriers = |choice: &routes::desired::Choice| match policy.multipath {
                true => choice.decision.equals.clone(),
                false => choice.decision.tunnel.iter().cloned().collect(),
            };
            let egress: BTreeSet<String> = outcome.choices.iter().flat_map(carriers).collect();
            let reason = outcome.choices.first().map(|choice| choice.decision.reason.to_string());
            if egress != decided.egress {
                said.push(moved(connection, &decided.egress, &egress, reason, lines, now));
            }
            for line in lines.iter_mut().filter(|line| line.connection.id == connection.id) {
                line.egress = egress.contains(&line.config.name);
            }
            decided.egress = egress;
            let moved = decided.previous.values().map(|previous| previous.since).max();
            let settled = tunnels.iter().map(|it| it.candidate.since + routes::egress::SETTLE).max();
            let held = tunnels.iter().filter_map(|it| it.candidate.dampened_until).max();
            let restless = [moved.map(|at| at + routes::egress::ARRIVAL_HOLD), settled, held];
            restless_until = restless.into_iter().flatten().fold(restless_until, Instant::max);
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
        self.restless_until = restless_until + TICK * 2;
        all
    }

    fn report_once(&mut self, connection: Option<String>, code: Code, text: String, said: &mut Vec<Said>) {
        if self.reported.insert(text.clone()) {
            said.push((connection, Finding { code, text }, None));
        }
    }
}

/// What of one line a decision depends on, beside the configuration: when none of it changed, neither does the
/// answer. Arrivals and time are looked at once a second.
#[derive(PartialEq, Eq)]
struct Fact {
    line: LineId,
    usable: bool,
    since: Instant,
    down_reason: String,
    drained: bool,
    held_until: Option<Instant>,
    loss: u8,
    learned: Option<u64>,
    underlay: Option<routes::NextHop>,
}

impl Fact {
    fn of(line: &Line, now: Instant) -> Self {
        Self {
            line: line.id,
            usable: line.usable(),
            since: since(line, now),
            down_reason: line.health.down_reason(),
            drained: line.drained,
            held_until: line.dampener.held_until(now),
            // The marks at which the rules change their answer.
            loss: match loss_permille(line) {
                ..=CLEAN_PERMILLE => 0,
                LOSSY_PERMILLE.. => 2,
                _ => 1,
            },
            learned: line.running().and_then(|running| running.bgp.as_ref()).map(Session::learned),
            underlay: line.underlay.clone(),
        }
    }
}

fn since(line: &Line, now: Instant) -> Instant {
    let age = u64::try_from(line.health.stage_age(now).as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(now.as_nanos().saturating_sub(age))
}

fn loss_permille(line: &Line) -> u16 {
    (line.health.probes().loss_ratio() * 1000.0) as u16
}

/// What to say about routes of ours that somebody changed.
fn repaired(changes: &[Change]) -> impl Iterator<Item = String> {
    let few = changes.len() <= TOLD_MAX;
    let told = changes.iter().filter(move |_| few).map(|change| {
        let (Change::Add(route) | Change::Replace { new: route, .. } | Change::Delete(route)) = change;
        format!("our route {route} was changed by somebody; it is as it was again")
    });
    let counted = (!few).then(|| {
        format!("{} of our routes were changed by somebody; they are as they were again", changes.len())
    });
    told.chain(counted)
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
            multipath: matches!(&connection.routing, config::Routing::Bgp(bgp) if bgp.multipath),
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
    let since = since(line, now);
    let candidate = if line.usable() {
        Candidate {
            drained: line.drained,
            dampened_until: line.dampener.held_until(now),
            loss_permille: loss_permille(line),
            local_preference: line.config.preference.local,
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
