//! A network of two speakers: TCP without loss, but with latency, segments cut anywhere, refusals, silence.
//!
//! Everything random comes from a seed; everything takes place in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bgp::{Command, Config, Connection, Input, Notice, Output, Path, Speaker, State};
use ipnet::IpNet;
use model::Instant;

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Ours is .2, AWS's is .1, as on a real tunnel.
pub(crate) fn config(local_as: u32, remote_as: u32, local: u8, peer: u8) -> Config {
    let inside = |last| Ipv4Addr::new(169, 254, 10, last);
    Config::new(local_as, remote_as, IpAddr::V4(inside(local)), IpAddr::V4(inside(peer)), inside(local))
}

pub(crate) fn ours() -> Config {
    Config { advertise: vec![net("10.10.0.0/16")], ..config(65000, 64512, 2, 1) }
}

pub(crate) fn aws() -> Config {
    Config {
        advertise: vec![net("172.31.0.0/16"), net("10.20.0.0/16")],
        max_prefix_out: 5_000,
        med_out: Some(100),
        ..config(64512, 65000, 1, 2)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    Accept,
    Refuse,
    Silent,
}

pub(crate) struct Node {
    pub(crate) speaker: Speaker,
    pub(crate) listen: Listen,
    /// What the shell would have in its table.
    pub(crate) routes: BTreeMap<IpNet, Path>,
    pub(crate) notices: Vec<(Instant, Notice)>,
    pub(crate) bytes_sent: Vec<u8>,
    pub(crate) connects: u32,
    /// Live connections, by their name here.
    sockets: BTreeMap<Connection, usize>,
    accepted: u64,
}

enum Happening {
    Arrive,
    Answer { refused: bool },
    Data(Vec<u8>),
    Close,
}

/// One direction of one TCP connection.
struct Pipe {
    queue: VecDeque<(Instant, Happening)>,
    last: Instant,
}

struct Tcp {
    /// Name at each end once known.
    names: [Option<Connection>; 2],
    /// Toward each node.
    pipes: [Pipe; 2],
}

pub(crate) struct Sim {
    pub(crate) now: Instant,
    pub(crate) nodes: [Node; 2],
    tcps: BTreeMap<usize, Tcp>,
    next_tcp: usize,
    /// Nothing arrives any more.
    pub(crate) blackhole: bool,
    seed: u64,
}

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

impl Sim {
    pub(crate) fn new(seed: u64, configs: [Config; 2]) -> Self {
        let now = Instant::from_secs(1_000);
        let node = |config| Node {
            speaker: Speaker::new(config, now).unwrap(),
            listen: Listen::Accept,
            routes: BTreeMap::new(),
            notices: Vec::new(),
            bytes_sent: Vec::new(),
            connects: 0,
            sockets: BTreeMap::new(),
            accepted: 0,
        };
        Self { now, nodes: configs.map(node), tcps: BTreeMap::new(), next_tcp: 0, blackhole: false, seed }
    }

    /// Both tunnels ends up at once.
    pub(crate) fn up(seed: u64, configs: [Config; 2]) -> Self {
        let mut sim = Self::new(seed, configs);
        sim.input(0, Input::TunnelUp);
        sim.input(1, Input::TunnelUp);
        sim
    }

    fn random(&mut self, limit: u64) -> u64 {
        let mut random = Random(self.seed);
        let value = random.below(limit);
        self.seed = random.0;
        value
    }

    pub(crate) fn input(&mut self, node: usize, input: Input<'_>) {
        self.nodes[node].speaker.handle_input(self.now, input);
        self.drain(node);
    }

    pub(crate) fn command(&mut self, node: usize, command: Command) {
        self.input(node, Input::Command(command));
    }

    pub(crate) fn state(&self, node: usize) -> State {
        self.nodes[node].speaker.status().state
    }

    /// The speaker of a node dies without a word and starts anew; the kernel resets its connections.
    pub(crate) fn restart(&mut self, node: usize, config: Config) {
        for tcp in std::mem::take(&mut self.nodes[node].sockets).into_values() {
            self.push(tcp, 1 - node, Happening::Close);
        }
        self.nodes[node].speaker = Speaker::new(config, self.now).unwrap();
        self.nodes[node].routes.clear();
        self.input(node, Input::TunnelUp);
    }

    fn push(&mut self, tcp: usize, toward: usize, happening: Happening) {
        let delay = Duration::from_micros(2_000 + self.random(8_000));
        let Some(tcp) = self.tcps.get_mut(&tcp) else { return };
        let pipe = &mut tcp.pipes[toward];
        pipe.last = pipe.last.max(self.now + delay);
        let at = pipe.last;
        pipe.queue.push_back((at, happening));
    }

    fn drain(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].speaker.poll_output() {
            match output {
                Output::Connect(connection) => {
                    self.nodes[node].connects += 1;
                    let pipe = || Pipe { queue: VecDeque::new(), last: Instant::ZERO };
                    let mut names = [None, None];
                    names[node] = Some(connection);
                    self.next_tcp += 1;
                    let tcp = self.next_tcp;
                    self.tcps.insert(tcp, Tcp { names, pipes: [pipe(), pipe()] });
                    self.nodes[node].sockets.insert(connection, tcp);
                    self.push(tcp, 1 - node, Happening::Arrive);
                }
                Output::Send { connection, bytes } => {
                    self.nodes[node].bytes_sent.extend_from_slice(&bytes);
                    let Some(tcp) = self.nodes[node].sockets.get(&connection).copied() else {
                        panic!("sent on a connection that does not exist: {connection:?}");
                    };
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let cut = 1 + usize::try_from(self.random(rest.len() as u64)).unwrap();
                        let (segment, tail) = rest.split_at(cut);
                        self.push(tcp, 1 - node, Happening::Data(segment.to_vec()));
                        rest = tail;
                    }
                }
                Output::Close(connection) => {
                    if let Some(tcp) = self.nodes[node].sockets.remove(&connection) {
                        self.push(tcp, 1 - node, Happening::Close);
                    }
                }
                Output::RoutesChanged(changes) => {
                    for prefix in changes.withdrawn {
                        self.nodes[node].routes.remove(&prefix);
                    }
                    for path in changes.reachable {
                        self.nodes[node].routes.insert(path.prefix, path);
                    }
                }
                Output::Notice(notice) => self.nodes[node].notices.push((self.now, notice)),
            }
        }
    }

    fn arrive(&mut self, tcp: usize, node: usize, happening: Happening) {
        let name = self.tcps[&tcp].names[node];
        let known = |sim: &Self| name.filter(|name| sim.nodes[node].sockets.get(name) == Some(&tcp));
        match happening {
            Happening::Arrive => match self.nodes[node].listen {
                Listen::Silent => {}
                Listen::Refuse => self.push(tcp, 1 - node, Happening::Answer { refused: true }),
                Listen::Accept => {
                    self.nodes[node].accepted += 1;
                    let connection = Connection::Inbound(self.nodes[node].accepted);
                    self.tcps.get_mut(&tcp).unwrap().names[node] = Some(connection);
                    self.nodes[node].sockets.insert(connection, tcp);
                    self.push(tcp, 1 - node, Happening::Answer { refused: false });
                    self.input(node, Input::Connected(connection));
                }
            },
            Happening::Answer { refused } => {
                let Some(connection) = known(self) else { return };
                if refused {
                    self.nodes[node].sockets.remove(&connection);
                    self.input(node, Input::Closed { connection, why: "connection refused" });
                } else {
                    self.input(node, Input::Connected(connection));
                }
            }
            Happening::Data(bytes) => {
                if let Some(connection) = known(self) {
                    self.input(node, Input::Received { connection, bytes: &bytes });
                }
            }
            Happening::Close => {
                if let Some(connection) = known(self) {
                    self.nodes[node].sockets.remove(&connection);
                    self.input(node, Input::Closed { connection, why: "" });
                }
            }
        }
    }

    /// Does the next thing that is due before `end`; false when there is none.
    fn step(&mut self, end: Instant) -> bool {
        let pipes = self.tcps.iter().flat_map(|(&tcp, it)| {
            let front = |node: usize| it.pipes[node].queue.front().map(|(at, _)| (*at, tcp, node));
            [front(0), front(1)].into_iter().flatten()
        });
        let packet = pipes.min();
        let timer = [0, 1]
            .into_iter()
            .filter_map(|node| Some((self.nodes[node].speaker.poll_timeout()?.0, node)))
            .min();
        let packet_first = match (packet, timer) {
            (Some((packet, ..)), Some((timer, _))) => packet <= timer,
            (packet, _) => packet.is_some(),
        };
        if let (true, Some((at, tcp, node))) = (packet_first, packet) {
            if at > end {
                return false;
            }
            self.now = self.now.max(at);
            let (_, happening) = self.tcps.get_mut(&tcp).unwrap().pipes[node].queue.pop_front().unwrap();
            if !self.blackhole {
                self.arrive(tcp, node, happening);
            }
            return true;
        }
        let Some((at, node)) = timer.filter(|(at, _)| *at <= end) else { return false };
        self.now = self.now.max(at);
        self.nodes[node].speaker.handle_timeout(self.now);
        self.drain(node);
        let again = self.nodes[node].speaker.poll_timeout();
        assert!(
            again.is_none_or(|(next, _)| next > self.now),
            "a timer that is due again at once: {again:?}"
        );
        true
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0_u32;
        while self.step(end) {
            steps += 1;
            assert!(steps < 2_000_000, "no end of events");
        }
        self.now = end;
        let held: Vec<usize> = self.nodes.iter().flat_map(|node| node.sockets.values().copied()).collect();
        let silent = self.blackhole;
        self.tcps.retain(|tcp, it| {
            it.pipes.iter_mut().filter(|_| silent).for_each(|pipe| pipe.queue.clear());
            held.contains(tcp) || it.pipes.iter().any(|pipe| !pipe.queue.is_empty())
        });
    }

    /// Connections that both ends still hold.
    pub(crate) fn live(&self) -> usize {
        let held = |node: usize, tcp: &usize| self.nodes[node].sockets.values().any(|it| it == tcp);
        self.tcps.keys().filter(|tcp| held(0, tcp) && held(1, tcp)).count()
    }

    /// Sockets a node holds.
    pub(crate) fn sockets(&self, node: usize) -> usize {
        self.nodes[node].sockets.len()
    }

    pub(crate) fn established(&self) -> bool {
        (0..2).all(|node| self.state(node) == State::Established) && self.live() == 1
    }

    pub(crate) fn prefixes(&self, node: usize) -> Vec<String> {
        self.nodes[node].routes.keys().map(ToString::to_string).collect()
    }

    pub(crate) fn find<T>(&self, node: usize, pick: impl Fn(&Notice) -> Option<T>) -> Option<(Instant, T)> {
        self.nodes[node].notices.iter().rev().find_map(|(at, notice)| Some((*at, pick(notice)?)))
    }

    /// The last NOTIFICATION at a node: by the peer, code, subcode.
    pub(crate) fn notification(&self, node: usize) -> Option<(bool, u8, u8)> {
        let (_, seen) = self.nodes[node].speaker.status().last_notification?;
        Some((seen.by_peer, seen.code, seen.subcode))
    }
}
