//! Two real endpoints and a wire between them, as one state that can be copied, named and continued in every way.
#![allow(unreachable_pub)]
// The cores must not lock; the checker looks over their shoulder.
#![allow(clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ike::crypto::{IkeCipher, Prf};
use ike::wire::DhGroup;
use ike::{
    ChildId, Command, Config, Endpoint, EspCipher, EspProposal, IkeProposal, Input, Lifetime, Notice, Output,
    Startup, Transmit,
};
use model::{Instant, KeyBits, Secret, SecureRng, Spi};
use simnet::SimRng;

/// When both sides have a tunnel and nothing else.
pub const START: Instant = Instant::from_secs(1_000);
/// Lifetimes and liveness checks lie beyond this: nothing that is due later belongs to the story.
const HORIZON: Duration = Duration::from_secs(10_000);

/// One of the two sides, as an index.
pub type Side = usize;

/// Randomness whose state the checker can see.
#[derive(Clone)]
struct Dice(Arc<Mutex<SimRng>>);

impl Dice {
    fn new(rng: SimRng) -> Self {
        Self(Arc::new(Mutex::new(rng)))
    }

    fn state(&self) -> SimRng {
        self.0.lock().unwrap().clone()
    }
}

impl SecureRng for Dice {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.lock().unwrap().fill(out);
    }
}

/// One side: the endpoint, and what a data plane would hold.
struct Peer {
    endpoint: Endpoint,
    dice: Dice,
    /// Inbound and outbound SPI of each installed child.
    children: BTreeMap<ChildId, (Spi, Spi)>,
    active: Option<ChildId>,
    down: Option<String>,
    collided: bool,
}

impl Peer {
    fn fork(&self) -> Self {
        let dice = Dice::new(self.dice.state());
        Self {
            endpoint: self.endpoint.fork(Box::new(dice.clone())),
            dice,
            children: self.children.clone(),
            active: self.active,
            down: self.down.clone(),
            collided: self.collided,
        }
    }

    fn drain(&mut self) -> Vec<Transmit> {
        let mut sent = Vec::new();
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Install(child) => {
                    if child.activate_outbound {
                        self.active = Some(child.id);
                    }
                    self.children.insert(child.id, (child.spi_in, child.spi_out));
                }
                Output::Activate { child } => self.active = Some(child),
                Output::Retire { child } => {
                    self.children.remove(&child);
                    self.active = self.active.filter(|active| *active != child);
                }
                Output::Send(transmit) => sent.push(transmit),
                Output::Path { .. } => {}
                Output::Notice(notice) => self.note(&notice),
            }
        }
        sent
    }

    /// What no rekey may cause.
    fn note(&mut self, notice: &Notice) {
        match notice {
            Notice::Failed(_)
            | Notice::PeerUnreachable { .. }
            | Notice::PeerDeletedIke
            | Notice::PeerDeletedChild { .. }
            | Notice::IkeClosed { .. } => self.down = Some(format!("{notice:?}")),
            Notice::Collision { .. } => self.collided = true,
            _ => {}
        }
    }
}

/// A message under way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    to: Side,
    transmit: Vec<u8>,
}

/// What may happen to the messages and the clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Budget {
    /// Messages that may get lost.
    pub losses: u8,
    /// Messages that may arrive twice.
    pub duplicates: u8,
    /// Time-outs that may come before a message that is under way.
    pub early: u8,
}

/// Something that can happen next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A side is told to rekey.
    Tell(Side, Command),
    /// A message arrives: its place on the wire.
    Deliver(usize),
    /// A message arrives, and a copy of it is still under way.
    Duplicate(usize),
    /// A message is lost.
    Lose(usize),
    /// The clock moves to the next time-out.
    Expire,
}

/// A state of the whole.
pub struct Whole {
    peers: [Peer; 2],
    /// Sorted: any message may arrive next, so their order means nothing.
    wire: Vec<Flight>,
    orders: Vec<(Side, Command)>,
    budget: Budget,
    now: Instant,
    /// Traffic flows: what a side sends on arrives at once at the other.
    busy: bool,
}

fn config(side: Side) -> Config {
    let addresses = ["192.0.2.1", "198.51.100.1"];
    let key = Secret::from(&b"a key for nothing but this"[..]);
    let ip = |side: Side| addresses[side].parse().unwrap();
    let mut config = Config::new(ip(side), ip(1 - side), key);
    config.ike_proposals = vec![IkeProposal {
        encryption: vec![IkeCipher::AesGcm16(KeyBits::B128)],
        prf: vec![Prf::HmacSha2_256],
        integrity: Vec::new(),
        groups: vec![DhGroup::CURVE25519],
        additional: Vec::new(),
    }];
    config.esp_proposals = vec![EspProposal {
        encryption: vec![EspCipher::AesGcm16(KeyBits::B128)],
        integrity: Vec::new(),
        groups: Vec::new(),
        additional: Vec::new(),
        esn: vec![false],
    }];
    config.startup = if side == 0 { Startup::Initiate } else { Startup::Respond };
    let far = Lifetime { rekey_after: HORIZON * 2, jitter: Duration::ZERO, hard: HORIZON * 4 };
    (config.ike_lifetime, config.child_lifetime) = (far, far);
    config.liveness.idle = HORIZON * 3;
    config
}

impl Whole {
    /// Both sides up, with these orders and this budget left; the seed decides who wins a collision.
    pub fn new(seed: u64, orders: &[(Side, Command)], budget: Budget, busy: bool) -> Self {
        let peer = |side: Side| {
            let dice = Dice::new(SimRng::new(seed).fork(side as u64));
            let endpoint = Endpoint::new(config(side), Box::new(dice.clone()), START);
            Peer { endpoint, dice, children: BTreeMap::new(), active: None, down: None, collided: false }
        };
        let none = Budget { losses: 0, duplicates: 0, early: 0 };
        let peers = [peer(0), peer(1)];
        let mut whole = Self { peers, wire: Vec::new(), orders: Vec::new(), budget: none, now: START, busy };
        whole.tick();
        while !whole.wire.is_empty() {
            whole.take(Step::Deliver(0));
        }
        assert_eq!(whole.judge(), Ok(()), "the story begins with a tunnel");
        assert_eq!(whole.now, START);
        (whole.orders, whole.budget) = (orders.to_vec(), budget);
        whole
    }

    /// A copy, to be continued in another way.
    pub fn fork(&self) -> Self {
        Self {
            peers: [self.peers[0].fork(), self.peers[1].fork()],
            wire: self.wire.clone(),
            orders: self.orders.clone(),
            budget: self.budget,
            now: self.now,
            busy: self.busy,
        }
    }

    /// Everything that can happen next; nothing at the end of a story.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<_> = self.orders.iter().map(|(side, order)| Step::Tell(*side, *order)).collect();
        for place in 0..self.wire.len() {
            // Equal messages are one choice.
            if place > 0 && self.wire[place] == self.wire[place - 1] {
                continue;
            }
            steps.push(Step::Deliver(place));
            if self.budget.duplicates > 0 {
                steps.push(Step::Duplicate(place));
            }
            if self.budget.losses > 0 {
                steps.push(Step::Lose(place));
            }
        }
        // "At once": every order is given before the first time-out.
        let free = self.orders.is_empty() && (self.wire.is_empty() || self.budget.early > 0);
        if free && self.due().is_some() {
            steps.push(Step::Expire);
        }
        steps
    }

    fn due(&self) -> Option<Instant> {
        let timers = self.peers.iter().filter_map(|peer| peer.endpoint.poll_timeout());
        timers.map(|(at, _)| at).min().filter(|at| *at < START + HORIZON)
    }

    /// Lets one thing happen.
    pub fn take(&mut self, step: Step) {
        match step {
            Step::Tell(side, order) => {
                self.orders.retain(|known| *known != (side, order));
                self.peers[side].endpoint.handle_input(self.now, Input::Command(order));
                self.collect(side);
            }
            Step::Deliver(place) => self.deliver(place),
            Step::Duplicate(place) => {
                self.budget.duplicates -= 1;
                self.wire.push(self.wire[place].clone());
                self.deliver(place);
            }
            Step::Lose(place) => {
                self.budget.losses -= 1;
                self.wire.remove(place);
            }
            Step::Expire => {
                if !self.wire.is_empty() {
                    self.budget.early -= 1;
                }
                self.now = self.due().unwrap();
                self.tick();
            }
        }
        if self.busy {
            self.traffic();
        }
        self.wire.sort();
    }

    fn deliver(&mut self, place: usize) {
        let Flight { to, transmit } = self.wire.remove(place);
        let peer = &mut self.peers[to];
        let (local, remote) = (peer.endpoint.config().local, peer.endpoint.config().remote);
        let remote = (remote, peer.endpoint.config().remote_port).into();
        peer.endpoint.handle_input(self.now, Input::Datagram { local, remote, payload: &transmit });
        self.collect(to);
    }

    fn tick(&mut self) {
        for side in [0, 1] {
            self.peers[side].endpoint.handle_timeout(self.now);
            self.collect(side);
        }
    }

    fn collect(&mut self, side: Side) {
        let sent = self.peers[side].drain();
        self.wire.extend(sent.into_iter().map(|sent| Flight { to: 1 - side, transmit: sent.payload }));
    }

    /// A packet in each direction, on whatever carries traffic now.
    fn traffic(&mut self) {
        for side in [0, 1] {
            let Some((_, spi_in)) = self.peers[side].active.and_then(|id| self.peers[side].children.get(&id))
            else {
                continue;
            };
            let spi_in = *spi_in;
            if self.peers[1 - side].children.values().any(|(known, _)| *known == spi_in) {
                self.peers[1 - side].endpoint.handle_input(self.now, Input::EspReceived { spi_in });
                self.collect(1 - side);
            }
        }
    }

    /// Whether a collision was seen on the way.
    pub fn collided(&self) -> bool {
        self.peers.iter().any(|peer| peer.collided)
    }

    /// What holds in every state.
    ///
    /// # Errors
    /// What does not.
    pub fn judge(&self) -> Result<(), String> {
        for side in [0, 1] {
            let (peer, other) = (&self.peers[side], &self.peers[1 - side]);
            if let Some(down) = &peer.down {
                return Err(format!("side {side} was down: {down}"));
            }
            let active = peer.active.and_then(|id| peer.children.get(&id));
            let Some((_, spi_out)) = active else {
                return Err(format!("side {side} has no child to send on"));
            };
            if !other.children.values().any(|(spi_in, _)| spi_in == spi_out) {
                return Err(format!("side {side} sends on a child that the other side does not have"));
            }
        }
        Ok(())
    }

    /// What holds when nothing more happens: both sides have the same one IKE SA and the same one child.
    ///
    /// # Errors
    /// What does not.
    pub fn judge_end(&self) -> Result<(), String> {
        let [a, b] = [0, 1].map(|side: Side| self.peers[side].endpoint.status());
        let ike = |status: &ike::Status| status.ike.as_ref().map(|ike| (ike.spi_i, ike.spi_r));
        if ike(&a).is_none() || ike(&a) != ike(&b) || (a.ike_sas, b.ike_sas) != (1, 1) {
            return Err(format!("IKE SAs {} and {}: {:?}, {:?}", a.ike_sas, b.ike_sas, ike(&a), ike(&b)));
        }
        let children =
            [0, 1].map(|side: Side| self.peers[side].children.values().copied().collect::<Vec<_>>());
        match (children[0].as_slice(), children[1].as_slice()) {
            ([(a_in, a_out)], [(b_in, b_out)]) if (a_in, a_out) == (b_out, b_in) => Ok(()),
            other => Err(format!("children at the end: {other:?}")),
        }
    }

    /// The name of this state: equal names continue alike.
    pub fn name(&self) -> u128 {
        let mut hasher = Hasher::default();
        for peer in &self.peers {
            let _ = peer.endpoint.describe(&mut hasher);
            let _ = write!(hasher, "{:?} {:?} {:?}", peer.dice.state(), peer.children, peer.active);
        }
        for flight in &self.wire {
            let _ = write!(hasher, "{}", flight.to);
            hasher.octets(&flight.transmit);
        }
        let _ = write!(hasher, "{:?} {:?} {:?}", self.orders, self.budget, self.now);
        hasher.finish()
    }
}

/// FNV-1a, 128 bits, over words.
struct Hasher {
    state: u128,
    /// The value that follows is left out: `turn` counts inputs, and is compared only between two IKE SAs that
    /// both came from IKE_SA_INIT.
    skip: bool,
}

impl Default for Hasher {
    fn default() -> Self {
        Self { state: 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, skip: false }
    }
}

impl Hasher {
    fn octets(&mut self, octets: &[u8]) {
        for octet in octets {
            self.state =
                (self.state ^ u128::from(*octet)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }

    fn finish(&self) -> u128 {
        self.state
    }
}

impl Write for Hasher {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if text == "turn" {
            self.skip = true;
        } else if self.skip && text != ": " {
            self.skip = false;
            return Ok(());
        }
        self.octets(text.as_bytes());
        Ok(())
    }
}
