//! The decision: which tunnel carries what, from the state of the tunnels, the configuration, and the kernel's
//! addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use model::Instant;
use net::netlink;
use routes::desired::{Choice, Desired, Policy, Prefixes};
use routes::egress::{CLEAN_PERMILLE, LOSSY_PERMILLE};
use routes::{Arrival, Candidate, NextHop, Outcome, PROTOCOL, Previous, Rule};

use super::words::{self, Move};
use super::{Routing, Said, TICK, TOLD_MAX};
use crate::catalog::Code;
use crate::supervisor::address;
use crate::supervisor::bgp::Session;
use crate::supervisor::inbox::LineId;
use crate::supervisor::line::Line;
use crate::tally::{Cause, Failovers};

/// What was decided the last time, for all connections together: they may offer the same prefixes.
#[derive(Default)]
pub(in crate::supervisor) struct Decided {
    pub(in crate::supervisor) outcome: Outcome,
    /// For each connection, the tunnels that carry what its tunnels offer.
    pub(in crate::supervisor) egress: BTreeMap<String, BTreeSet<String>>,
    /// For each connection, how often they changed.
    pub(in crate::supervisor) failovers: BTreeMap<String, Failovers>,
    previous: BTreeMap<IpNet, Previous>,
    /// The connection of each tunnel, by the tunnel's name here.
    owners: BTreeMap<String, String>,
}

impl Decided {
    /// The prefixes that any tunnel of `connection` offers.
    pub(in crate::supervisor) fn choices_of<'a>(
        &'a self,
        connection: &'a str,
    ) -> impl Iterator<Item = &'a Choice> {
        let owned = move |name: &String| self.owners.get(name).is_some_and(|owner| owner == connection);
        self.outcome.choices.iter().filter(move |choice| choice.offers.iter().any(owned))
    }

    /// The connection that a tunnel, as the decisions name it, belongs to.
    pub(in crate::supervisor) fn owner(&self, tunnel: &str) -> Option<&str> {
        self.owners.get(tunnel).map(String::as_str)
    }
}

/// What the decisions call a tunnel: by its connection too, where there are several.
pub(in crate::supervisor) fn label(config: &config::Config, connection: &str, tunnel: &str) -> String {
    if config.connections.len() > 1 { format!("{connection}/{tunnel}") } else { tunnel.to_owned() }
}

/// The policy rules that the configuration asks for.
pub(super) fn rules(config: &config::Config) -> Vec<Rule> {
    let Some(priority) = config.routes.rule_priority else { return Vec::new() };
    let mut rules = Vec::new();
    for ipv6 in [false, true] {
        let carried = |(_, tunnel): (_, &config::Tunnel)| {
            tunnel.inside.iter().any(|inside| inside.aws.is_ipv6() == ipv6)
        };
        if !config.tunnels().any(carried) {
            continue;
        }
        let rule = |from| Rule {
            priority,
            from,
            to: None,
            input_interface: None,
            ipv6,
            table: config.routes.table,
            protocol: PROTOCOL,
        };
        let from = &config.routes.rule_from;
        if from.is_empty() {
            rules.push(rule(None));
        }
        let family = from.iter().filter(|prefix| prefix.addr().is_ipv6() == ipv6);
        rules.extend(family.map(|prefix| rule(Some(prefix.trunc()))));
    }
    rules
}

impl Routing {
    pub(super) fn decide(
        &mut self,
        lines: &mut [Line],
        config: &config::Config,
        now: Instant,
        said: &mut Vec<Said>,
    ) -> Desired {
        // Without an answer local programs send from the inside address, which is no disaster.
        let addresses =
            self.addresses.take().unwrap_or_else(|| self.netlink.addresses(None).unwrap_or_default());
        let common = Common::gather(addresses, &self.ways, lines, config);
        let (mut tunnels, mut policies, mut owners) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (index, connection) in config.connections.iter().enumerate() {
            for line in lines.iter_mut().filter(|line| line.connection.id == connection.id) {
                let arrival = super::arrival(self.arrivals.get(&line.id));
                let name = label(config, &connection.id, &line.config.name);
                owners.insert(name.clone(), connection.id.clone());
                let seen = Seen { name, policy: index, arrival, now };
                tunnels.extend(offer(line, connection, seen));
            }
            policies.push(common.policy(connection, &config.routes));
        }
        let mut outcome = routes::build(now, &tunnels, &policies, &self.decided.previous);
        for line in lines.iter() {
            let (v4, v6) = line.inside_sources();
            outcome.desired.default_source(&line.config.interface, v4, v6);
        }
        self.addresses = Some(common.addresses);
        self.restless(&tunnels, &outcome);
        let refusals = outcome.refusals.iter().map(|it| (None, it.to_string())).collect();
        said.extend(words::news(&mut self.refused, Code::RouteFailed, refusals, TOLD_MAX));
        self.decided.previous = outcome.previous();
        self.decided.owners = owners;
        self.decided.outcome = outcome;
        said.extend(self.moves(lines, config, now));
        self.decided.outcome.desired.clone()
    }

    /// Until when the passage of time alone may change the answer.
    fn restless(&mut self, tunnels: &[routes::Tunnel], outcome: &Outcome) {
        let moved = outcome.choices.iter().map(|choice| choice.decision.since).max();
        let settled = tunnels.iter().map(|it| it.candidate.since + routes::egress::SETTLE).max();
        let held = tunnels.iter().filter_map(|it| it.candidate.dampened_until).max();
        let restless = [moved.map(|at| at + routes::egress::ARRIVAL_HOLD), settled, held];
        self.restless_until = restless.into_iter().flatten().fold(Instant::ZERO, Instant::max) + TICK * 2;
    }

    /// Takes over which tunnels carry traffic, and says what moved.
    fn moves(&mut self, lines: &mut [Line], config: &config::Config, now: Instant) -> Vec<Said> {
        let mut egress: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut reasons: BTreeMap<String, String> = BTreeMap::new();
        for choice in &self.decided.outcome.choices {
            for name in &choice.offers {
                let Some(owner) = self.decided.owner(name) else { continue };
                let carriers = egress.entry(owner.to_owned()).or_default();
                for carrier in &choice.carriers {
                    if !carriers.contains(carrier) {
                        carriers.insert(carrier.clone());
                    }
                }
                if !reasons.contains_key(owner) {
                    reasons.insert(owner.to_owned(), choice.decision.reason.to_string());
                }
            }
        }
        let mut said: Vec<Said> = Vec::new();
        for connection in &config.connections {
            let id = &connection.id;
            let to = egress.entry(id.clone()).or_default();
            let from = self.decided.egress.get(id).cloned().unwrap_or_default();
            if from == *to {
                continue;
            }
            let reason = reasons.get(id).map_or("no prefix is offered", String::as_str);
            let when_down = config.routes.when_down;
            let finding = Move { from: &from, to, reason, when_down }.finding();
            // It took as long as traffic had nowhere good to go.
            let left = || {
                let on_it =
                    |line: &&Line| from.contains(&label(config, &line.connection.id, &line.config.name));
                lines.iter().filter(on_it)
            };
            let lost = left().filter(|line| !line.usable());
            let took = lost.filter_map(|line| line.health.last_good()).max().map(|good| now - good);
            let cause = left().map(|line| Cause::of(line.drained, line.usable())).min();
            let failovers = self.decided.failovers.entry(id.clone()).or_default();
            failovers.moved(&from, cause.unwrap_or(Cause::Preference), took);
            // Connections to the same prefixes move together.
            if said.iter().all(|(_, earlier, _)| earlier.text != finding.text) {
                said.push((Some(id.clone()), finding, took));
            }
        }
        for line in lines {
            let name = label(config, &line.connection.id, &line.config.name);
            line.egress = egress.values().any(|carriers| carriers.contains(&name));
        }
        self.decided.egress = egress;
        said
    }
}

/// What of one line a decision depends on, beside the configuration: when none of it changed, neither does the
/// answer. Arrivals and time are looked at once a second.
#[derive(PartialEq, Eq)]
pub(super) struct Fact {
    line: LineId,
    pub(super) outside: IpAddr,
    usable: bool,
    since: Instant,
    down_reason: String,
    drained: bool,
    held_until: Option<Instant>,
    loss: u8,
    learned: Option<u64>,
    underlay: Option<NextHop>,
}

impl Fact {
    pub(super) fn of(line: &Line, now: Instant) -> Self {
        Self {
            line: line.id,
            outside: line.config.outside,
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

/// What is the same for all connections.
struct Common {
    outside: Vec<IpAddr>,
    underlay: BTreeMap<IpAddr, NextHop>,
    inside: Vec<IpNet>,
    addresses: Vec<netlink::Address>,
    own_interfaces: Vec<u32>,
}

impl Common {
    fn gather(
        addresses: Vec<netlink::Address>,
        ways: &BTreeMap<IpAddr, NextHop>,
        lines: &[Line],
        config: &config::Config,
    ) -> Self {
        let running = lines.iter().filter_map(Line::running);
        Self {
            outside: config.tunnels().map(|(_, tunnel)| tunnel.outside).collect(),
            underlay: ways.clone(),
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
        let known = match &connection.routing {
            config::Routing::Static { vpc } => vpc.as_slice(),
            config::Routing::Bgp(bgp) => match &bgp.accept {
                config::Accept::Within(prefixes) if bgp.mode == config::BgpMode::Internal => {
                    prefixes.as_slice()
                }
                _ => &[],
            },
        };
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
            last_resort: match routes.when_down {
                config::WhenDown::Withdraw => Vec::new(),
                config::WhenDown::Unreachable => {
                    // A default route in the list means everything AWS announces, not the whole world.
                    known.iter().filter(|prefix| prefix.prefix_len() > 0).copied().collect()
                }
            },
        }
    }
}

/// What the supervisor adds to a line's own state.
struct Seen {
    name: String,
    policy: usize,
    arrival: Arrival,
    now: Instant,
}

/// A line as the route manager sees it; `None` when it offers nothing.
fn offer(line: &Line, connection: &config::Connection, seen: Seen) -> Option<routes::Tunnel> {
    let Seen { name, policy, arrival, now } = seen;
    let prefixes = match &connection.routing {
        config::Routing::Static { vpc } => Prefixes::Static(vpc.clone()),
        config::Routing::Bgp(_) => Prefixes::Bgp(line.running()?.bgp.as_ref()?.routes().clone()),
    };
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
    Some(routes::Tunnel { candidate, interface: line.config.interface.clone(), policy, prefixes })
}
