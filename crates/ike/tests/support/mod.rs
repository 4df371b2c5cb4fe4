//! Two whole endpoints and the wire between them, under the test's control: every datagram can be delivered,
//! dropped, delayed, repeated or altered, and time moves only when told to.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

pub mod puppet;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use ike::crypto::{IkeCipher, Prf};
use ike::wire::{DhGroup, ExchangeType, Header, parse_header};
use ike::{
    ChildId, ChildSa, Command, Config, Endpoint, EspCipher, EspProposal, IkeProposal, Input, Lifetime,
    Notice, Output, Startup, Timer, Transmit,
};
use model::{Instant, KeyBits, Secret, SecureRng, Spi};

/// Deterministic, and able to push nonces up or down.
pub struct TestRng {
    state: u64,
    bias: Arc<AtomicU8>,
}

impl SecureRng for TestRng {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            // SplitMix64.
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (z ^ (z >> 31)).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        // Nonces (and private keys, where it does no harm) are the only 32-octet draws.
        let bias = self.bias.load(Ordering::Relaxed);
        if out.len() == 32 && bias != 0 {
            out[0] = bias;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A datagram on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    pub from: Side,
    pub transmit: Transmit,
}

impl Datagram {
    pub fn header(&self) -> Header {
        parse_header(&self.transmit.payload).expect("our own messages have a header")
    }

    pub fn is_response(&self) -> bool {
        self.header().flags.response()
    }

    pub fn exchange(&self) -> ExchangeType {
        self.header().exchange
    }
}

/// One endpoint and what its shell would have done.
pub struct Peer {
    pub endpoint: Endpoint,
    pub children: BTreeMap<ChildId, ChildSa>,
    pub active: Option<ChildId>,
    pub notices: Vec<Notice>,
    /// Order of effects, in words.
    pub trace: Vec<String>,
    pub bias: Arc<AtomicU8>,
    seen: BTreeMap<Spi, Vec<u8>>,
    closed: bool,
}

impl Peer {
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        let bias = Arc::new(AtomicU8::new(0));
        let rng = TestRng { state: seed, bias: Arc::clone(&bias) };
        Self {
            endpoint: Endpoint::new(config, Box::new(rng), now),
            children: BTreeMap::new(),
            active: None,
            notices: Vec::new(),
            trace: Vec::new(),
            bias,
            seen: BTreeMap::new(),
            closed: false,
        }
    }

    /// Makes the first octet of every nonce drawn from now on `octet`; 0: random again.
    pub fn bias_nonces(&self, octet: u8) {
        self.bias.store(octet, Ordering::Relaxed);
    }

    /// Executes the effects and gives what is to be sent.
    pub fn drain(&mut self) -> Vec<Transmit> {
        let mut sent = Vec::new();
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Install(child) => {
                    self.trace.push(format!("install {}", child.id.0));
                    let keys =
                        [child.keys_in.encryption.expose(), child.keys_out.encryption.expose()].concat();
                    let known = self.seen.insert(child.spi_in, keys.clone());
                    assert!(known.is_none_or(|known| known == keys), "an SPI was used with two keys");
                    if child.activate_outbound {
                        self.active = Some(child.id);
                    }
                    assert!(self.children.insert(child.id, *child).is_none(), "a child ID was used twice");
                }
                Output::Activate { child } => {
                    self.trace.push(format!("activate {}", child.0));
                    assert!(self.children.contains_key(&child), "activated what is not installed");
                    self.active = Some(child);
                }
                Output::Retire { child } => {
                    self.trace.push(format!("retire {}", child.0));
                    assert!(self.children.remove(&child).is_some(), "retired what is not installed");
                    if self.active == Some(child) {
                        self.active = None;
                    }
                }
                Output::Path { child, local, remote, encapsulation } => {
                    self.trace.push(format!("path {}", child.0));
                    let child = self.children.get_mut(&child).expect("path of what is not installed");
                    (child.local, child.remote, child.encapsulation) = (local, remote, encapsulation);
                }
                Output::Send(transmit) => {
                    assert!(!self.closed, "something was sent after Closed");
                    self.trace.push("send".to_owned());
                    sent.push(transmit);
                }
                Output::Notice(notice) => {
                    self.closed |= notice == Notice::Closed;
                    self.notices.push(notice);
                }
            }
        }
        sent
    }

    pub fn active_child(&self) -> &ChildSa {
        &self.children[&self.active.expect("a child carries outbound traffic")]
    }

    pub fn count(&self, wanted: impl Fn(&Notice) -> bool) -> usize {
        self.notices.iter().filter(|notice| wanted(notice)).count()
    }

    /// Failures in the order of their reports.
    pub fn failures(&self) -> Vec<&ike::Failure> {
        self.notices
            .iter()
            .filter_map(|notice| if let Notice::Failed(failure) = notice { Some(failure) } else { None })
            .collect()
    }

    pub fn digest(&self) -> u64 {
        self.endpoint.state_digest()
    }
}

/// Two peers and the wire.
pub struct Pair {
    pub a: Peer,
    pub b: Peer,
    pub now: Instant,
    pub wire: VecDeque<Datagram>,
    /// Every datagram ever sent.
    pub history: Vec<Datagram>,
    /// A sits behind a NAT at [`A_INSIDE`]; the number changes the outside ports.
    pub nat: Option<u16>,
}

/// A's address behind the NAT.
pub const A_INSIDE: &str = "10.11.12.13";

pub const START: Instant = Instant::from_secs(1_000);

pub fn ike_proposal() -> IkeProposal {
    IkeProposal {
        encryption: vec![IkeCipher::AesGcm16(KeyBits::B128)],
        prf: vec![Prf::HmacSha2_256],
        integrity: Vec::new(),
        groups: vec![DhGroup::CURVE25519],
        additional: Vec::new(),
    }
}

pub fn esp_proposal() -> EspProposal {
    EspProposal {
        encryption: vec![EspCipher::AesGcm16(KeyBits::B128)],
        integrity: Vec::new(),
        groups: vec![DhGroup::CURVE25519],
        additional: Vec::new(),
        esn: vec![false],
    }
}

pub const A_IP: &str = "192.0.2.1";
pub const B_IP: &str = "198.51.100.1";

/// Fast algorithms, long lifetimes, raw ESP; A initiates, B waits.
pub fn config(side: Side) -> Config {
    let (local, remote) = match side {
        Side::A => (A_IP, B_IP),
        Side::B => (B_IP, A_IP),
    };
    let mut config = Config::new(
        local.parse().unwrap(),
        remote.parse().unwrap(),
        Secret::from(&b"correct horse battery staple"[..]),
    );
    config.ike_proposals = vec![ike_proposal()];
    config.esp_proposals = vec![esp_proposal()];
    config.force_udp_encapsulation = false;
    config.startup = if side == Side::A { Startup::Initiate } else { Startup::Respond };
    let long = Lifetime {
        rekey_after: Duration::from_secs(1_000_000),
        jitter: Duration::ZERO,
        hard: Duration::from_secs(2_000_000),
    };
    config.ike_lifetime = long;
    config.child_lifetime = long;
    // Liveness checks would only be noise in most stories.
    config.liveness.idle = Duration::from_secs(500_000);
    config
}

/// The pre-shared key of a configuration.
pub fn psk(config: &Config) -> Secret {
    match &config.credentials {
        ike::Credentials::Psk(key) => key.clone(),
        ike::Credentials::Certificates(_) => panic!("by certificates"),
    }
}

impl Pair {
    pub fn new(a: Config, b: Config) -> Self {
        let mut pair = Self {
            a: Peer::new(a, 1, START),
            b: Peer::new(b, 2, START),
            now: START,
            wire: VecDeque::new(),
            history: Vec::new(),
            nat: None,
        };
        if pair.a.endpoint.config().local.ip().to_string() == A_INSIDE {
            pair.nat = Some(0);
        }
        pair.tick();
        pair
    }

    /// With the default configurations.
    pub fn plain() -> Self {
        Self::new(config(Side::A), config(Side::B))
    }

    /// With the default configurations changed by `change`, and established.
    pub fn established_with(change: impl Fn(Side, &mut Config)) -> Self {
        let mut a = config(Side::A);
        let mut b = config(Side::B);
        change(Side::A, &mut a);
        change(Side::B, &mut b);
        let mut pair = Self::new(a, b);
        pair.deliver_all();
        pair.assert_one_tunnel();
        pair
    }

    /// Established with the default configurations.
    pub fn established() -> Self {
        Self::established_with(|_, _| {})
    }

    pub fn peer(&mut self, side: Side) -> &mut Peer {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    fn collect(&mut self, side: Side) {
        for transmit in self.peer(side).drain() {
            let datagram = Datagram { from: side, transmit };
            self.history.push(datagram.clone());
            self.wire.push_back(datagram);
        }
    }

    /// Lets both do what is due now.
    pub fn tick(&mut self) {
        for side in [Side::A, Side::B] {
            let now = self.now;
            self.peer(side).endpoint.handle_timeout(now);
            self.collect(side);
        }
    }

    pub fn input(&mut self, side: Side, input: Input<'_>) {
        let now = self.now;
        self.peer(side).endpoint.handle_input(now, input);
        self.collect(side);
    }

    pub fn command(&mut self, side: Side, command: Command) {
        self.peer(side).closed &= command != Command::Initiate;
        self.input(side, Input::Command(command));
    }

    /// The first packet of outbound traffic on the sender's active child reaches the other side, if that side
    /// has the SA.
    pub fn traffic(&mut self, from: Side) -> bool {
        let Some(active) = self.peer(from).active else { return false };
        let spi_in = self.peer(from).children[&active].spi_out;
        let known = self.peer(from.other()).children.values().any(|child| child.spi_in == spi_in);
        if known {
            self.input(from.other(), Input::EspReceived { spi_in });
        }
        known
    }

    /// The next datagram leaves the wire and is the test's.
    pub fn pop(&mut self) -> Datagram {
        self.wire.pop_front().expect("a datagram is on the wire")
    }

    /// The next datagram sent by `from` leaves the wire and is the test's.
    pub fn pop_from(&mut self, from: Side) -> Datagram {
        let index = self.wire.iter().position(|d| d.from == from).expect("a datagram is on the wire");
        self.wire.remove(index).unwrap()
    }

    /// Hands a datagram to the side it is for; what comes to a stale NAT port is lost.
    pub fn deliver(&mut self, datagram: &Datagram) {
        let (mut local, mut remote) = (datagram.transmit.remote, datagram.transmit.local);
        if let Some(binding) = self.nat {
            let base = 20_000 + 10 * binding;
            match datagram.from {
                Side::A => {
                    let port = base + u16::from(remote.port() == 4500);
                    remote = SocketAddr::new(A_IP.parse().unwrap(), port);
                }
                Side::B => {
                    let port = match local.port().checked_sub(base) {
                        Some(0) => 500,
                        Some(1) => 4500,
                        _ => return,
                    };
                    local = SocketAddr::new(A_INSIDE.parse().unwrap(), port);
                }
            }
        }
        self.deliver_from(datagram, local, remote);
    }

    /// Hands a datagram over with addresses of the test's choice.
    pub fn deliver_from(&mut self, datagram: &Datagram, local: SocketAddr, remote: SocketAddr) {
        let payload = datagram.transmit.payload.clone();
        self.input(datagram.from.other(), Input::Datagram { local, remote, payload: &payload });
    }

    /// Delivers the next datagram.
    pub fn step(&mut self) {
        let datagram = self.pop();
        self.deliver(&datagram);
    }

    /// Delivers everything, and what comes of it, until the wire is silent.
    pub fn deliver_all(&mut self) {
        let mut budget = 1_000;
        while let Some(datagram) = self.wire.pop_front() {
            self.deliver(&datagram);
            budget -= 1;
            assert!(budget > 0, "the two never fall silent");
        }
    }

    /// Moves to the next time-out of either side, without delivering.
    pub fn next_timeout(&mut self) -> Option<Timer> {
        let due = [&self.a, &self.b].into_iter().filter_map(|peer| peer.endpoint.poll_timeout()).min()?;
        self.now = self.now.max(due.0);
        self.tick();
        Some(due.1)
    }

    /// Lets time pass, delivering at once whatever is sent.
    pub fn run(&mut self, duration: Duration) {
        self.run_with(duration, |_| true);
    }

    /// Lets time pass with every datagram lost.
    pub fn run_silent(&mut self, duration: Duration) {
        self.run_with(duration, |_| false);
    }

    /// Lets time pass; `passes` decides about each datagram.
    pub fn run_with(&mut self, duration: Duration, mut passes: impl FnMut(&Datagram) -> bool) {
        let end = self.now + duration;
        let mut budget = 100_000;
        loop {
            while let Some(datagram) = self.wire.pop_front() {
                if passes(&datagram) {
                    self.deliver(&datagram);
                }
                budget -= 1;
                assert!(budget > 0, "the two never fall silent");
            }
            let due = [&self.a, &self.b].into_iter().filter_map(|peer| peer.endpoint.poll_timeout()).min();
            match due {
                Some((at, _)) if at <= end => {
                    self.now = self.now.max(at);
                    self.tick();
                    budget -= 1;
                    assert!(budget > 0, "a time-out comes again and again");
                }
                _ => break,
            }
        }
        self.now = end;
        self.tick();
    }

    /// Both sides hold the same single tunnel, and each sends on what the other receives on.
    pub fn assert_one_tunnel(&self) {
        let (a, b) = (self.a.endpoint.status(), self.b.endpoint.status());
        let (ike_a, ike_b) = (a.ike.expect("A has an IKE SA"), b.ike.expect("B has an IKE SA"));
        assert_eq!((ike_a.spi_i, ike_a.spi_r), (ike_b.spi_i, ike_b.spi_r), "the same IKE SA");
        assert_ne!(ike_a.role, ike_b.role);
        assert_eq!((a.ike_sas, b.ike_sas), (1, 1), "exactly one IKE SA");
        assert_eq!((self.a.children.len(), self.b.children.len()), (1, 1), "exactly one child");
        let (ours, theirs) = (self.a.active_child(), self.b.active_child());
        assert_eq!((ours.spi_in, ours.spi_out), (theirs.spi_out, theirs.spi_in), "the same child");
        let key =
            |keys: &model::EspKeys| (keys.encryption.expose().to_vec(), keys.integrity.expose().to_vec());
        assert_eq!(key(&ours.keys_in), key(&theirs.keys_out));
        assert_eq!(key(&ours.keys_out), key(&theirs.keys_in));
        assert_eq!(ours.suite, theirs.suite);
        assert_eq!((&ours.ts_local, &ours.ts_remote), (&theirs.ts_remote, &theirs.ts_local));
        let status = a.child.expect("A reports its child");
        assert_eq!((status.spi_in, status.spi_out), (ours.spi_in, ours.spi_out));
    }
}

/// Places of the four nonces of a collision, see [`Pair::collide`].
pub const PLACES: std::ops::Range<u8> = 0..4;

impl Pair {
    /// Both sides start at the same moment; the requests (A's, B's) leave the wire and are the test's. The
    /// lowest nonce will be in A's request (0), B's request (1), A's answer (2) or B's answer (3).
    pub fn collide(&mut self, (a, b): (Command, Command), lowest: u8) -> (Datagram, Datagram) {
        let octet = |place: u8| if place == lowest { 1 } else { 100 + place };
        self.a.bias_nonces(octet(0));
        self.command(Side::A, a);
        self.b.bias_nonces(octet(1));
        self.command(Side::B, b);
        self.a.bias_nonces(octet(2));
        self.b.bias_nonces(octet(3));
        (self.pop_from(Side::A), self.pop_from(Side::B))
    }

    /// Whether the exchange that A started loses, by the rule of the lowest nonce.
    pub fn a_loses(lowest: u8) -> bool {
        matches!(lowest, 0 | 3)
    }

    /// Delivers a datagram and takes what it brought forth from the wire.
    pub fn exchange(&mut self, datagram: &Datagram) -> Datagram {
        let side = datagram.from.other();
        self.deliver(datagram);
        self.pop_from(side)
    }

    /// Delivers what is left, lets time pass for retirement, and expects one tunnel, never interrupted.
    pub fn settle(&mut self) {
        for side in [Side::A, Side::B] {
            self.peer(side).bias_nonces(0);
        }
        self.run(Duration::from_secs(20));
        self.assert_one_tunnel();
    }

    /// The tunnel was never down: no side ever lost its last child or its IKE SA.
    pub fn assert_never_down(&mut self) {
        for side in [Side::A, Side::B] {
            let down = |n: &Notice| {
                matches!(
                    n,
                    Notice::PeerDeletedChild { .. }
                        | Notice::PeerDeletedIke
                        | Notice::IkeClosed { .. }
                        | Notice::PeerUnreachable { .. }
                )
            };
            assert_eq!(self.peer(side).count(down), 0, "{side:?} was down");
            assert!(self.peer(side).failures().is_empty(), "{:?}", self.peer(side).failures());
        }
    }

    /// IKE rekeys and child rekeys by both sides, as the active SAs tell.
    pub fn generations(&self) -> (u64, u64) {
        let status = self.a.endpoint.status();
        (status.ike.map_or(0, |ike| ike.rekeys), status.child.map_or(0, |child| child.rekeys))
    }

    /// Requests that `side` sent since `from` (an index into the history), by exchange, repeats left out.
    pub fn requests(&self, side: Side, from: usize) -> Vec<ExchangeType> {
        let mut seen: Vec<&Datagram> = Vec::new();
        for datagram in self.history[from..].iter().filter(|d| d.from == side && !d.is_response()) {
            if !seen.contains(&datagram) {
                seen.push(datagram);
            }
        }
        seen.iter().map(|datagram| datagram.exchange()).collect()
    }
}
