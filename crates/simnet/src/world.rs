//! The world: nodes, the link between them, and the order of events.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use model::Instant;

use crate::link::Link;
use crate::nat::Nat;
use crate::rng::SimRng;

/// Packets remembered for the trace of a failing run.
const TRACE_LIMIT: usize = 4_000;

/// A datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Source.
    pub from: SocketAddr,
    /// Destination.
    pub to: SocketAddr,
    /// What the network carries.
    pub payload: Vec<u8>,
}

/// Something that receives, waits and sends.
pub trait Node {
    /// Its address; behind a NAT, the inside one.
    fn address(&self) -> IpAddr;
    /// Takes a packet.
    fn receive(&mut self, now: Instant, packet: &Packet);
    /// Does what is due.
    fn wake(&mut self, now: Instant);
    /// When [`Node::wake`] must be called next; may lie in the past.
    fn next_wake(&self) -> Option<Instant>;
    /// What it wants to send since it was last asked.
    fn take_sent(&mut self) -> Vec<Packet>;
}

/// What one step did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happening {
    /// This node got a packet.
    Arrival(usize),
    /// This node's time-out came.
    Timeout(usize),
    /// A packet found nobody.
    Stray,
}

/// Nodes and what lies between them.
pub struct World<N> {
    /// Virtual time.
    pub now: Instant,
    /// The nodes; may be changed or replaced (a reboot) between steps.
    pub nodes: Vec<N>,
    /// The path between any two nodes; may be changed between steps.
    pub link: Link,
    nats: Vec<Option<Nat>>,
    rng: SimRng,
    flying: BTreeMap<(Instant, u64), Packet>,
    serial: u64,
    trace: VecDeque<(Instant, Packet)>,
}

impl<N: Node> World<N> {
    /// A world at `now`.
    pub fn new(now: Instant, nodes: Vec<N>, link: Link, rng: SimRng) -> Self {
        let nats = nodes.iter().map(|_| None).collect();
        Self { now, nodes, link, nats, rng, flying: BTreeMap::new(), serial: 0, trace: VecDeque::new() }
    }

    /// Puts a NAT in front of node `index`.
    pub fn hide(&mut self, index: usize, outside: IpAddr) {
        if let (Some(slot), Some(node)) = (self.nats.get_mut(index), self.nodes.get(index)) {
            *slot = Some(Nat::new(node.address(), outside));
        }
    }

    /// Makes the NAT in front of node `index` forget its mappings.
    pub fn rebind(&mut self, index: usize) {
        if let Some(Some(nat)) = self.nats.get_mut(index) {
            nat.rebind();
        }
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Instant> {
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        let wake = self.nodes.iter().filter_map(Node::next_wake).min();
        [arrival, wake].into_iter().flatten().min().map(|at| at.max(self.now))
    }

    /// Does the one thing that comes first: an arrival, or a time-out. `None`: nothing will ever happen.
    pub fn step(&mut self) -> Option<Happening> {
        let wake = (0..self.nodes.len())
            .filter_map(|index| self.nodes.get(index)?.next_wake().map(|at| (at, index)))
            .min();
        let arrival = self.flying.keys().next().copied();
        match (arrival, wake) {
            (Some(key), wake) if wake.is_none_or(|(at, _)| key.0 <= at.max(self.now)) => {
                let packet = self.flying.remove(&key)?;
                self.now = self.now.max(key.0);
                Some(self.arrive(&packet))
            }
            (_, Some((at, index))) => {
                self.now = self.now.max(at);
                let now = self.now;
                self.nodes.get_mut(index)?.wake(now);
                self.collect(index);
                Some(Happening::Timeout(index))
            }
            _ => None,
        }
    }

    fn arrive(&mut self, packet: &Packet) -> Happening {
        let targets = self.nats.iter().map(|nat| match nat {
            Some(nat) => nat.enter(packet.to).filter(|to| *to != packet.to),
            None => Some(packet.to),
        });
        let target = targets
            .zip(&self.nodes)
            .enumerate()
            .find_map(|(index, (to, node))| to.filter(|to| to.ip() == node.address()).map(|to| (index, to)));
        let Some((index, to)) = target else { return Happening::Stray };
        let packet = Packet { to, ..packet.clone() };
        let now = self.now;
        if let Some(node) = self.nodes.get_mut(index) {
            node.receive(now, &packet);
        }
        self.collect(index);
        Happening::Arrival(index)
    }

    /// Takes what node `index` wants to send and puts it on its way. [`World::step`] does this itself; call it
    /// after touching a node directly.
    pub fn collect(&mut self, index: usize) {
        let sent = self.nodes.get_mut(index).map(Node::take_sent).unwrap_or_default();
        for mut packet in sent {
            if let Some(Some(nat)) = self.nats.get_mut(index) {
                packet.from = nat.leave(packet.from);
            }
            if self.trace.len() >= TRACE_LIMIT {
                self.trace.pop_front();
            }
            self.trace.push_back((self.now, packet.clone()));
            for (delay, payload) in self.link.carry(&mut self.rng, &packet.payload) {
                self.serial += 1;
                let copy = Packet { payload, ..packet.clone() };
                self.flying.insert((self.now + delay, self.serial), copy);
            }
        }
    }

    /// Packets under way.
    pub fn flying(&self) -> usize {
        self.flying.len()
    }

    /// The last packets sent, with their times, whatever became of them.
    pub fn trace(&self) -> impl Iterator<Item = (Instant, &Packet)> {
        self.trace.iter().map(|(at, packet)| (*at, packet))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Sends a number every second and remembers what comes.
    struct Counter {
        address: SocketAddr,
        peer: SocketAddr,
        next: Instant,
        sent: u8,
        got: Vec<(Instant, u8, SocketAddr)>,
        out: Vec<Packet>,
    }

    impl Node for Counter {
        fn address(&self) -> IpAddr {
            self.address.ip()
        }
        fn receive(&mut self, now: Instant, packet: &Packet) {
            self.got.push((now, packet.payload[0], packet.from));
        }
        fn wake(&mut self, now: Instant) {
            self.next = now + Duration::from_secs(1);
            self.sent += 1;
            self.out.push(Packet { from: self.address, to: self.peer, payload: vec![self.sent] });
        }
        fn next_wake(&self) -> Option<Instant> {
            Some(self.next)
        }
        fn take_sent(&mut self) -> Vec<Packet> {
            std::mem::take(&mut self.out)
        }
    }

    fn world(seed: u64, link: Link) -> World<Counter> {
        let (a, b) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
        let node = |address, peer| Counter {
            address,
            peer,
            next: Instant::ZERO,
            sent: 0,
            got: Vec::new(),
            out: Vec::new(),
        };
        World::new(Instant::ZERO, vec![node(a, b), node(b, a)], link, SimRng::new(seed))
    }

    #[test]
    fn the_earliest_thing_happens_next_and_time_never_runs_back() {
        let mut world = world(1, Link::perfect(Duration::from_millis(10)));
        let mut last = Instant::ZERO;
        for _ in 0..100 {
            world.step().unwrap();
            assert!(world.now >= last);
            last = world.now;
        }
        let first = world.nodes[1].got[0];
        assert_eq!((first.0, first.1), (Instant::from_millis(10), 1));
    }

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let mut link = Link::perfect(Duration::from_millis(5));
        link.delay_max = Duration::from_secs(3);
        (link.loss, link.duplicate, link.corrupt) = (200, 200, 100);
        let run = |seed| {
            let mut world = world(seed, link);
            for _ in 0..500 {
                world.step();
            }
            world.nodes[1].got.clone()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn a_node_behind_nat_is_seen_and_reached_under_another_address() {
        let mut world = world(1, Link::perfect(Duration::from_millis(10)));
        world.hide(0, "192.0.2.9".parse().unwrap());
        world.step();
        world.step();
        let seen = loop {
            world.step();
            if let Some((_, _, from)) = world.nodes[1].got.first() {
                break *from;
            }
        };
        assert_eq!(seen.ip().to_string(), "192.0.2.9");
        world.nodes[1].peer = seen;
        let before = world.nodes[0].got.len();
        for _ in 0..10 {
            world.step();
        }
        assert!(world.nodes[0].got.len() > before);
        world.rebind(0);
    }
}
