//! A thousand flaps of a connection's tunnels in virtual time: health, damping, BGP at both ends, the egress and the
//! plan, over a kernel that keeps the rules of `NLM_F_EXCL` and `NLM_F_REPLACE`. Silent losses, DELETE and Cease in an
//! order that a seed decides.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bgp::{Command, Connection, Input, Output, Speaker};
use ike::Notice;
use ipnet::IpNet;
use model::Instant;
use routes::dampening::Dampener;
use routes::{Candidate, Change, Observed, PathAttributes, Policy, Prefixes, Previous, Route, RouteKey};

use crate::api::Stage;
use crate::translate;
use crate::tunnel::health::{Health, Outside, Reaction};
use crate::tunnel::probe::Settings;

const FLAPS: usize = 1_000;
const PREFIXES: usize = 20;
/// From one end to the other.
const LATENCY: Duration = Duration::from_millis(5);
/// AWS accepts us again this long after its DELETE, or after the path is back.
const RECONNECT: Duration = Duration::from_millis(300);
/// Both must be up again this long after a flap's end: the longest pause between two attempts of BGP is in it.
const BACK: Duration = Duration::from_secs(60);
/// Moves of a prefix around one flap: away, back, and once more when the other tunnel is no longer held back.
const MOVES_MAX: usize = 3;
/// Events of one flap that a person would have to read.
const EVENTS_MAX: usize = 16;

const OURS: usize = 0;
const AWS: usize = 1;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    fn seconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from * 1_000 + self.below((to - from) * 1_000))
    }
}

/// One TCP connection; the name it has at each end, `None` once that end has closed it.
struct Link {
    names: [Option<Connection>; 2],
    /// Something of it was lost: nothing that follows can be read.
    broken: bool,
}

enum Happening {
    /// Our SYN, of this connection, arrives.
    Arrive(Connection),
    /// The answer arrives.
    Accepted(u64),
    Data {
        link: u64,
        toward: usize,
        bytes: Vec<u8>,
    },
    Close {
        link: u64,
        toward: usize,
    },
    ProbeAnswer(u16),
    Child,
}

struct Tunnel {
    health: Health,
    dampener: Dampener,
    speakers: [Speaker; 2],
    learned: BTreeMap<IpNet, PathAttributes>,
    links: BTreeMap<u64, Link>,
    path: bool,
    child: bool,
    connecting: bool,
    ceased: bool,
    heard: Instant,
    told_up: bool,
}

impl Tunnel {
    fn usable(&self) -> bool {
        self.health.stage() == Stage::Up
    }

    fn counters(&self) -> (u64, u64) {
        let counters = self.speakers[OURS].status().counters;
        (counters.updates_in, counters.updates_out)
    }
}

struct Sim {
    now: Instant,
    tunnels: Vec<Tunnel>,
    queue: BTreeMap<(Instant, u64), (usize, Happening)>,
    serial: u64,
    next_tick: Instant,
    previous: BTreeMap<IpNet, Previous>,
    kernel: BTreeMap<RouteKey, Route>,
    changes: usize,
    events: Vec<String>,
    dirty: bool,
}

fn prefixes() -> Vec<IpNet> {
    (0..PREFIXES).map(|n| format!("172.31.{n}.0/24").parse().unwrap()).collect()
}

fn interface(tunnel: usize) -> String {
    format!("cgw{tunnel}")
}

fn speakers(tunnel: usize, now: Instant) -> [Speaker; 2] {
    let inside = |last| IpAddr::V4(Ipv4Addr::new(169, 254, 10 + tunnel as u8, last));
    let id = |last| Ipv4Addr::new(10, 0, tunnel as u8, last);
    let ours = bgp::Config {
        advertise: vec!["10.10.0.0/16".parse().unwrap()],
        ..bgp::Config::new(65_000, 64_512, inside(2), inside(1), id(2))
    };
    let aws = bgp::Config {
        advertise: prefixes(),
        med_out: Some(100 + 100 * tunnel as u32),
        passive: true,
        ..bgp::Config::new(64_512, 65_000, inside(1), inside(2), id(1))
    };
    [ours, aws].map(|config| Speaker::new(config, now).unwrap())
}

impl Sim {
    fn new() -> Self {
        let now = Instant::from_secs(1_000);
        let tunnel = |index| {
            let mut tunnel = Tunnel {
                health: Health::new(Some(Settings::default()), now),
                dampener: Dampener::default(),
                speakers: speakers(index, now),
                learned: BTreeMap::new(),
                links: BTreeMap::new(),
                path: true,
                child: false,
                connecting: false,
                ceased: false,
                heard: now,
                told_up: false,
            };
            tunnel.speakers[AWS].handle_input(now, Input::TunnelUp);
            tunnel
        };
        Self {
            now,
            tunnels: (0..2).map(tunnel).collect(),
            queue: BTreeMap::new(),
            serial: 0,
            next_tick: now,
            previous: BTreeMap::new(),
            kernel: BTreeMap::new(),
            changes: 0,
            events: Vec::new(),
            dirty: true,
        }
    }

    fn later(&mut self, after: Duration, tunnel: usize, happening: Happening) {
        self.serial += 1;
        self.queue.insert((self.now + after, self.serial), (tunnel, happening));
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Does the next thing that is due until `end`; false when there is none.
    fn step(&mut self, end: Instant) -> bool {
        let mut next = self.next_tick;
        next = self.queue.keys().next().map_or(next, |(at, _)| next.min(*at));
        for tunnel in &self.tunnels {
            let speakers = tunnel.speakers.iter().filter_map(|it| it.poll_timeout()).map(|(at, _)| at);
            next = speakers.chain(tunnel.health.deadline()).fold(next, Instant::min);
        }
        if next > end {
            return false;
        }
        self.now = self.now.max(next);
        let due = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now);
        if let Some((tunnel, happening)) = due.map(|entry| entry.remove()) {
            self.happen(tunnel, happening);
        }
        let now = self.now;
        for tunnel in &mut self.tunnels {
            for speaker in &mut tunnel.speakers {
                if speaker.poll_timeout().is_some_and(|(at, _)| at <= now) {
                    speaker.handle_timeout(now);
                }
            }
        }
        (0..self.tunnels.len()).for_each(|tunnel| self.turn(tunnel));
        let ticked = now >= self.next_tick;
        if ticked {
            self.next_tick = now + Duration::from_secs(1);
        }
        if std::mem::take(&mut self.dirty) || ticked {
            self.decide();
        }
        true
    }

    fn happen(&mut self, index: usize, happening: Happening) {
        let now = self.now;
        let tunnel = &mut self.tunnels[index];
        let passes = tunnel.path && tunnel.child;
        match happening {
            Happening::Child => {
                tunnel.connecting = false;
                if tunnel.path {
                    tunnel.child = true;
                    tunnel.health.carrying(now);
                }
            }
            Happening::ProbeAnswer(sequence) if passes => {
                tunnel.heard = now;
                let reactions = tunnel.health.probe_answered(sequence, now);
                self.events.extend(reactions.iter().map(|it| format!("{now:?} {index} {it:?}")));
            }
            Happening::Arrive(connection) if passes => {
                self.serial += 1;
                let link = self.serial;
                let names = [Some(connection), Some(Connection::Inbound(link))];
                tunnel.links.insert(link, Link { names, broken: false });
                tunnel.speakers[AWS].handle_input(now, Input::Connected(Connection::Inbound(link)));
                self.later(LATENCY, index, Happening::Accepted(link));
            }
            Happening::Accepted(link) => {
                let found = tunnel.links.get_mut(&link);
                if let Some(name) = found.and_then(|link| alive(link, passes, OURS)) {
                    tunnel.speakers[OURS].handle_input(now, Input::Connected(name));
                }
            }
            Happening::Data { link, toward, bytes } => {
                let found = tunnel.links.get_mut(&link);
                if let Some(connection) = found.and_then(|link| alive(link, passes, toward)) {
                    let input = Input::Received { connection, bytes: &bytes };
                    tunnel.speakers[toward].handle_input(now, input);
                }
            }
            // TCP repeats its FIN until the path is back.
            Happening::Close { link, toward } if !passes => {
                self.later(Duration::from_secs(1), index, Happening::Close { link, toward });
            }
            Happening::Close { link, toward } => {
                let name = tunnel.links.remove(&link).and_then(|link| link.names[toward]);
                if let Some(connection) = name {
                    tunnel.speakers[toward].handle_input(now, Input::Closed { connection, why: "" });
                }
            }
            Happening::ProbeAnswer(_) | Happening::Arrive(_) => {}
        }
    }

    /// What the supervisor's line does in its turn.
    fn turn(&mut self, index: usize) {
        let now = self.now;
        if !self.tunnels[index].child && self.tunnels[index].path && !self.tunnels[index].connecting {
            self.tunnels[index].connecting = true;
            self.later(RECONNECT, index, Happening::Child);
        }
        self.drain(index);
        let tunnel = &mut self.tunnels[index];
        let outside = Outside {
            ike: tunnel.child,
            ike_heard: Some(tunnel.heard),
            bgp_established: Some(tunnel.speakers[OURS].status().state == bgp::State::Established),
        };
        for reaction in tunnel.health.poll(outside, now) {
            let tunnel = &mut self.tunnels[index];
            match reaction {
                Reaction::Probe(sequence) => self.later(LATENCY * 2, index, Happening::ProbeAnswer(sequence)),
                Reaction::CheckLiveness => {}
                Reaction::Reset => {
                    tunnel.child = false;
                    tunnel.health.idle(now);
                }
                Reaction::Event(finding, _) => self.events.push(format!("{now:?} {index} {}", finding.text)),
                Reaction::StageChanged { from, .. } => {
                    if from == Stage::Up && !tunnel.ceased && !tunnel.health.said_goodbye() {
                        tunnel.dampener.record_loss(now);
                    }
                    self.dirty = true;
                }
            }
        }
        let tunnel = &mut self.tunnels[index];
        let up = tunnel.health.stage() >= Stage::Bgp;
        if up != tunnel.told_up {
            tunnel.told_up = up;
            tunnel.speakers[OURS].handle_input(now, if up { Input::TunnelUp } else { Input::TunnelDown });
        }
        self.drain(index);
    }

    fn drain(&mut self, index: usize) {
        for end in [OURS, AWS] {
            while let Some(output) = self.tunnels[index].speakers[end].poll_output() {
                self.output(index, end, output);
            }
        }
    }

    fn output(&mut self, index: usize, end: usize, output: Output) {
        let tunnel = &mut self.tunnels[index];
        let named = |tunnel: &Tunnel, connection| {
            tunnel.links.iter().find(|(_, link)| link.names[end] == Some(connection)).map(|(id, _)| *id)
        };
        match output {
            Output::Connect(connection) => self.later(LATENCY, index, Happening::Arrive(connection)),
            Output::Send { connection, bytes } => {
                if let Some(link) = named(tunnel, connection) {
                    self.later(LATENCY, index, Happening::Data { link, toward: 1 - end, bytes });
                }
            }
            Output::Close(connection) => {
                let Some(id) = named(tunnel, connection) else { return };
                let Some(link) = tunnel.links.get_mut(&id) else { return };
                link.names[end] = None;
                if link.names == [None, None] {
                    tunnel.links.remove(&id);
                }
                self.later(LATENCY, index, Happening::Close { link: id, toward: 1 - end });
            }
            Output::RoutesChanged(changed) if end == OURS => {
                for prefix in changed.withdrawn {
                    tunnel.learned.remove(&prefix);
                }
                tunnel.learned.extend(changed.reachable.iter().map(translate::bgp::path));
                self.dirty = true;
            }
            Output::Notice(bgp::Notice::Notification(seen)) if end == OURS => {
                tunnel.ceased = seen.by_peer && seen.code == 6;
                self.events.push(format!("{index} NOTIFICATION {}/{}", seen.code, seen.subcode));
            }
            Output::Notice(bgp::Notice::Established { .. }) if end == OURS => {
                tunnel.ceased = false;
                self.events.push(format!("{index} established"));
            }
            Output::Notice(bgp::Notice::Down { why, .. }) if end == OURS => {
                self.events.push(format!("{index} BGP down: {why}"));
            }
            Output::RoutesChanged(_) | Output::Notice(_) => {}
        }
    }

    /// What the supervisor does about the kernel's routes, and what must hold after it at any time.
    fn decide(&mut self) {
        let now = self.now;
        let offers: Vec<routes::Tunnel> =
            self.tunnels.iter().enumerate().map(|(n, it)| offer(n, it, now)).collect();
        let outcome = routes::build(now, &offers, &[Policy::default()], &self.previous);
        self.previous = outcome.previous();
        let observed = Observed::from_dump(self.kernel.values().cloned());
        for change in routes::plan(&outcome.desired, &observed).changes {
            self.changes += 1;
            match change {
                Change::Add(route) => {
                    assert!(self.kernel.insert(route.key(), route).is_none(), "EEXIST");
                }
                Change::Replace { new, .. } => {
                    assert!(self.kernel.insert(new.key(), new).is_some(), "nothing to replace");
                }
                Change::Delete(route) => {
                    assert!(self.kernel.remove(&route.key()).is_some(), "nothing to delete");
                }
            }
        }
        assert_eq!(
            &self.kernel,
            outcome.desired.routes(),
            "the kernel has what is wanted, no more and no less"
        );
        for prefix in prefixes() {
            let carrying = |tunnel: &&Tunnel| tunnel.usable() && tunnel.learned.contains_key(&prefix);
            let routed = self.kernel.values().find(|route| route.prefix == prefix);
            assert_eq!(routed.is_some(), self.tunnels.iter().any(|it| carrying(&it)), "{prefix} at {now:?}");
            if let Some(route) = routed {
                let by = (0..2).find(|n| route.via[0].interface == interface(*n)).unwrap();
                assert!(carrying(&&self.tunnels[by]), "{route} leads into a dead tunnel at {now:?}");
            }
        }
    }

    fn whole(&self) -> bool {
        self.tunnels.iter().all(Tunnel::usable)
    }

    fn flap(&mut self, index: usize, kind: u64, random: &mut Random) {
        let now = self.now;
        let tunnel = &mut self.tunnels[index];
        match kind {
            0 => {
                tunnel.path = false;
                self.run(random.seconds(4, 20));
                self.tunnels[index].path = true;
            }
            1 => {
                let said = tunnel.health.noticed(&Notice::PeerDeletedIke, now);
                self.events.extend(said.iter().map(|it| format!("{index} {it:?}")));
                tunnel.child = false;
                tunnel.health.idle(now);
                // AWS's router loses its interface with the tunnel.
                tunnel.speakers[AWS].handle_input(now, Input::TunnelDown);
                tunnel.speakers[AWS].handle_input(now, Input::TunnelUp);
            }
            _ => {
                let bye = Input::Command(Command::Shutdown("maintenance".to_owned()));
                tunnel.speakers[AWS].handle_input(now, bye);
                self.run(random.seconds(1, 5));
                let resume = Input::Command(Command::Resume);
                self.tunnels[index].speakers[AWS].handle_input(self.now, resume);
            }
        }
    }
}

/// The name of a connection at the end where something arrives; a packet lost on the way breaks the connection.
fn alive(link: &mut Link, passes: bool, toward: usize) -> Option<Connection> {
    link.broken |= !passes;
    link.names[toward].filter(|_| !link.broken)
}

fn offer(index: usize, tunnel: &Tunnel, now: Instant) -> routes::Tunnel {
    let name = format!("tunnel{}", index + 1);
    let age = u64::try_from(tunnel.health.stage_age(now).as_nanos()).unwrap();
    let candidate = if tunnel.usable() {
        Candidate {
            dampened_until: tunnel.dampener.held_until(now),
            ..Candidate::usable(name, Instant::from_nanos(now.as_nanos() - age))
        }
    } else {
        Candidate::down(name, tunnel.health.down_reason())
    };
    let prefixes = Prefixes::Bgp(tunnel.learned.clone());
    routes::Tunnel { candidate, interface: interface(index), policy: 0, prefixes }
}

#[test]
fn a_thousand_flaps_leak_nothing_loop_nothing_and_never_leave_a_route_into_a_dead_tunnel() {
    let mut random = Random(173);
    let mut sim = Sim::new();
    sim.run(BACK);
    assert!(sim.whole());
    let mut all_changes = 0;
    for flap in 0..FLAPS {
        let (index, kind) = (random.below(2) as usize, random.below(3));
        let steady = sim.tunnels[1 - index].counters();
        sim.changes = 0;
        sim.events.clear();
        sim.flap(index, kind, &mut random);
        let began = sim.now;
        while !sim.whole() {
            assert!(sim.now - began < BACK, "flap {flap} of kind {kind} does not heal");
            sim.run(Duration::from_millis(100));
        }
        sim.run(random.seconds(1, 25));
        assert_eq!(sim.tunnels[1 - index].counters(), steady, "flap {flap}: the steady session is not told");
        assert!(sim.changes <= MOVES_MAX * PREFIXES, "flap {flap}: {} route changes", sim.changes);
        all_changes += sim.changes;
        assert!(sim.events.len() <= EVENTS_MAX, "flap {flap} of kind {kind}: {:#?}", sim.events);
        assert_eq!(sim.kernel.len(), PREFIXES);
        assert_eq!(sim.previous.len(), PREFIXES);
        assert!(sim.queue.len() < 32, "flap {flap}: {} things are on their way", sim.queue.len());
        for tunnel in &sim.tunnels {
            // The one in use, and one that AWS has not given up yet.
            assert!(tunnel.links.len() <= 3, "flap {flap}: {} connections", tunnel.links.len());
            assert_eq!(tunnel.learned.len(), PREFIXES);
        }
    }
    assert!(all_changes <= 2 * PREFIXES * FLAPS, "{all_changes} route changes");
    sim.tunnels.iter_mut().for_each(|tunnel| tunnel.path = false);
    sim.run(BACK);
    assert!(sim.kernel.is_empty(), "with both tunnels dead no route is left");
    assert!(sim.tunnels.iter().all(|tunnel| tunnel.links.is_empty()), "and no connection");
}
