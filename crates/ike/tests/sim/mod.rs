//! A whole endpoint with a shell that keeps books: the node of the simulation.
#![allow(unreachable_pub)]

pub mod certificates;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::wire::{PayloadType, parse_header};
use ike::{ChildId, ChildSa, Command, Config, Endpoint, Input, Notice, Output};
use model::{EspKeys, Instant, Spi};
use simnet::{Node, Packet, SimRng};

/// The shell reports ESP at most this often for each SA.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Pseudo port of ESP without UDP.
const RAW_ESP: u16 = 0;
/// Marks a pseudo ESP packet after its SPI.
const TAG: usize = 16;

/// SPIs, exchange, initiator flag, response flag, message ID; of a fragment its number and their total.
type Said = (u64, u64, u8, bool, bool, u32, [u8; 4]);

/// What a run is judged by.
#[derive(Default, Clone, Debug)]
pub struct Books {
    pub violations: Vec<String>,
    pub esp_sent: u64,
    pub esp_received: u64,
    /// Intact ESP that found no inbound SA.
    pub esp_lost: u64,
    /// When, and its SPI.
    pub lost_at: Vec<(Instant, u32)>,
    pub ike_rekeys: u64,
    pub child_rekeys: u64,
    pub collisions: u64,
    pub unreachable: u64,
    pub failures: Vec<String>,
    pub closes: u64,
    pub child_losses: u64,
}

/// One endpoint.
pub struct SimNode {
    pub endpoint: Endpoint,
    pub books: Books,
    pub children: BTreeMap<ChildId, ChildSa>,
    pub active: Option<ChildId>,
    config: Config,
    rng: SimRng,
    lives: u64,
    address: IpAddr,
    out: Vec<Packet>,
    keys: BTreeMap<Spi, Vec<u8>>,
    said: BTreeMap<Said, Vec<u8>>,
    reported: BTreeMap<Spi, Instant>,
    /// It sends one "ESP packet" on its active child this often.
    traffic_interval: Duration,
    next_traffic: Instant,
    /// Suspended until then: deaf, and afterwards everything is overdue at once.
    asleep_until: Option<Instant>,
    closed: bool,
}

impl SimNode {
    pub fn new(config: Config, rng: SimRng, now: Instant, traffic_interval: Duration) -> Self {
        let endpoint = Endpoint::new(config.clone(), Box::new(rng.fork(0)), now);
        let address = config.local.ip();
        Self {
            endpoint,
            books: Books::default(),
            children: BTreeMap::new(),
            active: None,
            config,
            rng,
            lives: 0,
            address,
            out: Vec::new(),
            keys: BTreeMap::new(),
            said: BTreeMap::new(),
            reported: BTreeMap::new(),
            traffic_interval,
            next_traffic: now,
            asleep_until: None,
            closed: false,
        }
    }

    /// Loses everything but the configuration, without a word.
    pub fn reboot(&mut self, now: Instant) {
        self.lives += 1;
        self.endpoint = Endpoint::new(self.config.clone(), Box::new(self.rng.fork(self.lives)), now);
        self.children.clear();
        self.active = None;
        self.reported.clear();
        self.out.clear();
        self.asleep_until = None;
        self.closed = false;
    }

    /// Its machine is suspended, or its clock jumps: nothing is heard or done until `end`.
    pub fn sleep(&mut self, end: Instant) {
        self.asleep_until = Some(end);
    }

    pub fn input(&mut self, now: Instant, input: Input<'_>) {
        self.closed &= !matches!(input, Input::Command(Command::Initiate));
        self.endpoint.handle_input(now, input);
        self.drain();
    }

    fn violation(&mut self, what: String) {
        self.books.violations.push(what);
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Install(child) => self.install(*child),
                Output::Activate { child } => {
                    if !self.children.contains_key(&child) {
                        self.violation(format!("{child:?} activated, not installed"));
                    }
                    self.active = Some(child);
                }
                Output::Retire { child } => {
                    if self.children.remove(&child).is_none() {
                        self.violation(format!("{child:?} retired, not installed"));
                    }
                    self.active = self.active.filter(|active| *active != child);
                }
                Output::Path { child, local, remote, encapsulation } => match self.children.get_mut(&child) {
                    Some(child) => {
                        (child.local, child.remote, child.encapsulation) = (local, remote, encapsulation);
                    }
                    None => self.violation(format!("path of {child:?}, not installed")),
                },
                Output::Send(transmit) => {
                    if self.closed {
                        self.violation("something sent after Closed".to_owned());
                    }
                    self.check_said(&transmit.payload);
                    let mut payload = if transmit.non_esp_marker { vec![0; 4] } else { Vec::new() };
                    payload.extend(&transmit.payload);
                    self.out.push(Packet { from: transmit.local, to: transmit.remote, payload });
                }
                Output::Notice(notice) => self.note(notice),
            }
        }
        if self.children.len() > 12 {
            self.violation(format!("{} children installed", self.children.len()));
        }
    }

    fn install(&mut self, child: ChildSa) {
        let keys = [child.keys_in.encryption.expose(), child.keys_out.encryption.expose()].concat();
        if self.keys.insert(child.spi_in, keys.clone()).is_some_and(|known| known != keys) {
            self.violation(format!("{} used with two keys", child.spi_in));
        }
        if child.activate_outbound {
            self.active = Some(child.id);
        }
        if self.children.insert(child.id, child).is_some() {
            self.violation("a child ID was used twice".to_owned());
        }
    }

    /// A message ID carries the same octets each time (RFC 7296 §2.1). What is unprotected may change
    /// its form (IKE_SA_INIT) or be about somebody else's words (INVALID_MAJOR_VERSION).
    fn check_said(&mut self, payload: &[u8]) {
        let Ok(header) = parse_header(payload) else { return };
        let fragment = match header.next_payload {
            PayloadType::SK => [0; 4],
            PayloadType::SKF => payload.get(32..36).and_then(|n| n.try_into().ok()).unwrap_or_default(),
            _ => return,
        };
        let flags = header.flags;
        let key: Said = (
            header.spi_i.0,
            header.spi_r.0,
            header.exchange.0,
            flags.initiator(),
            flags.response(),
            header.message_id,
            fragment,
        );
        let known = self.said.entry(key).or_insert_with(|| payload.to_vec());
        if known != payload {
            self.violation(format!("message {} said twice in different words", header.message_id));
        }
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::IkeRekeyed { by_us: true, .. } => self.books.ike_rekeys += 1,
            Notice::ChildRekeyed { by_us: true, .. } => self.books.child_rekeys += 1,
            Notice::Collision { .. } => self.books.collisions += 1,
            Notice::PeerUnreachable { .. } => self.books.unreachable += 1,
            Notice::PeerDeletedChild { .. } => self.books.child_losses += 1,
            Notice::IkeClosed { .. } | Notice::PeerDeletedIke => self.books.closes += 1,
            Notice::Failed(failure) => self.books.failures.push(failure.to_string()),
            Notice::Closed => self.closed = true,
            _ => {}
        }
    }

    fn receive_esp(&mut self, now: Instant, payload: &[u8]) {
        let Some((spi, rest)) = payload.split_first_chunk::<4>() else { return };
        let spi = u32::from_be_bytes(*spi);
        let child = self.children.values().find(|child| child.spi_in.get() == spi);
        let Some(child) = child else {
            // Before its first child a side cannot receive what the other already sends.
            if !self.children.is_empty() {
                self.books.esp_lost += 1;
                self.books.lost_at.push((now, spi));
            }
            return;
        };
        if rest != tag(&child.keys_in) {
            return;
        }
        self.books.esp_received += 1;
        let spi_in = child.spi_in;
        let due = self.reported.get(&spi_in).is_none_or(|last| now - *last >= REPORT_INTERVAL);
        if due {
            self.reported.insert(spi_in, now);
            self.input(now, Input::EspReceived { spi_in });
        }
    }

    fn send_esp(&mut self) {
        let Some(child) = self.active.and_then(|active| self.children.get(&active)) else { return };
        let udp = child.encapsulation == model::Encapsulation::Udp;
        let port =
            |address: SocketAddr| SocketAddr::new(address.ip(), if udp { address.port() } else { RAW_ESP });
        let mut payload = child.spi_out.get().to_be_bytes().to_vec();
        payload.extend(tag(&child.keys_out));
        self.books.esp_sent += 1;
        self.out.push(Packet { from: port(child.local), to: port(child.remote), payload });
    }
}

/// Stands for encryption: only who has the key makes and accepts it.
fn tag(keys: &EspKeys) -> Vec<u8> {
    keys.encryption.expose().iter().take(TAG).copied().collect()
}

impl Node for SimNode {
    fn address(&self) -> IpAddr {
        self.address
    }

    fn receive(&mut self, now: Instant, packet: &Packet) {
        if self.asleep_until.is_some() {
            return;
        }
        let (local, remote) = (packet.to, packet.from);
        match (local.port(), packet.payload.as_slice()) {
            (4500, [0, 0, 0, 0, payload @ ..]) | (500, payload) => {
                self.input(now, Input::Datagram { local, remote, payload });
            }
            (4500, [0xff]) => {}
            (4500 | RAW_ESP, payload) => self.receive_esp(now, payload),
            _ => {}
        }
    }

    fn wake(&mut self, now: Instant) {
        self.asleep_until = self.asleep_until.filter(|end| *end > now);
        if self.next_traffic <= now {
            self.next_traffic = now + self.traffic_interval;
            self.send_esp();
        }
        self.endpoint.handle_timeout(now);
        self.drain();
    }

    fn next_wake(&self) -> Option<Instant> {
        if self.asleep_until.is_some() {
            return self.asleep_until;
        }
        let timer = self.endpoint.poll_timeout().map(|(at, _)| at);
        Some(timer.map_or(self.next_traffic, |at| at.min(self.next_traffic)))
    }

    fn take_sent(&mut self) -> Vec<Packet> {
        std::mem::take(&mut self.out)
    }
}
