//! Both workers on a kernel that counts: what they cost, what they do when the kernel says no, and that offloads
//! change nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod cost;
mod early;
mod failures;
mod fake;
mod sameness;

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use esp::{InboundSa, OutboundSa, Selectors};
use model::{EspIntegrity, EspKeys, EspSuite, EspTransform, KeyBits, Secret, Spi, TrafficSelector};
use net::tun::{Gso, VNET_HEADER_LEN, VnetHeader};

use crate::counters::Cells;
use crate::deliver::Delivery;
use crate::inbound::{Command, Commands, Inbound, InboundWorker};
use crate::outbound::OutboundWorker;
use crate::shared::{Outbound, Shared, Wire};
use crate::{Event, OffloadState, OffloadStates, OffloadSwitches, TunnelConfig};
use fake::{FakeLink, FakeTun, Message};

pub(crate) const GCM: EspTransform = EspTransform::AesGcm16(KeyBits::B256);
pub(crate) const CBC: EspTransform = EspTransform::AesCbc(KeyBits::B128, EspIntegrity::HmacSha2_256_128);

/// Two gateways' halves: what one sends, the other can open.
pub(crate) struct Bench {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: Arc<Commands>,
    pub(crate) lan: FakeTun,
    pub(crate) vpc: FakeTun,
    pub(crate) link: Arc<FakeLink>,
    pub(crate) out: OutboundWorker<FakeTun>,
    pub(crate) inward: InboundWorker<FakeTun>,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
}

/// How a bench is made.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) transform: EspTransform,
    pub(crate) raw: bool,
    /// The outside addresses are IPv6.
    pub(crate) ipv6: bool,
    /// Fragment what is too large, rather than answer its sender.
    pub(crate) clear_df: bool,
    pub(crate) gso: bool,
    pub(crate) merge: bool,
}

pub(crate) const OFFLOADS: Setup =
    Setup { transform: GCM, raw: false, ipv6: false, clear_df: true, gso: true, merge: true };

impl Bench {
    pub(crate) fn new(setup: Setup, script: Vec<Vec<u8>>) -> Self {
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let heard = Arc::clone(&events);
        let shared =
            Shared::new(config(setup), Arc::new(move |event| heard.lock().unwrap().push(event))).unwrap();
        let (shared, link) = (Arc::new(shared), FakeLink::new(setup.raw, setup.ipv6));
        let (lan, vpc) = (FakeTun::new(script), FakeTun::default());
        let state = if setup.merge { OffloadState::On } else { OffloadState::Disabled };
        let states = OffloadStates { tun_merge: state, tun_merge_udp: state, ..OffloadStates::default() };
        *shared.offload() = OffloadStates { udp_gso: OffloadState::On, ..states };
        let commands = Arc::new(Commands::default());
        let out = OutboundWorker::new(Arc::clone(&shared), lan.clone(), setup.gso);
        let delivery = Delivery::new(vpc.clone(), &states);
        let mut inward = InboundWorker::new(Arc::clone(&shared), Arc::clone(&commands), delivery);
        install(&commands, setup.transform);
        inward.take_commands(&shared);
        let (suite, keys) = (EspSuite { transform: setup.transform, esn: false }, keys(setup.transform));
        let (spi, selectors) = (spi(), selectors());
        let wire = Arc::clone(&link) as Wire;
        shared.publish(Some(Arc::new(Outbound {
            id: 1,
            spi_in: spi,
            sa: Arc::new(OutboundSa::new(spi, suite, &keys).unwrap()),
            selectors,
            cells: Arc::new(Cells::default()),
            wire,
            announced: Arc::new(AtomicBool::new(false)),
        })));
        Self { shared, commands, lan, vpc, link, out, inward, events }
    }

    /// One round of the sender, which finds `packets` in its TUN.
    pub(crate) fn send(&mut self, packets: usize) {
        self.lan.queue(packets);
        self.out.round(&self.shared).unwrap();
    }

    /// One turn of the receiver, for which `receives` lie ready.
    pub(crate) fn receive(&mut self, receives: impl IntoIterator<Item = Vec<Message>>) {
        self.link.inbox.lock().unwrap().extend(receives);
        self.turn();
    }

    /// One turn of the receiver.
    pub(crate) fn turn(&mut self) {
        let link = Arc::clone(&self.link);
        if self.raw() {
            self.inward.receive_raw(&self.shared, &*link);
        } else {
            self.inward.receive_udp(&self.shared, &*link);
        }
        self.inward.finish(&self.shared);
    }

    fn raw(&self) -> bool {
        crate::device::Link::encapsulation(&*self.link) == model::Encapsulation::Esp
    }
}

fn spi() -> Spi {
    Spi::new(0x1000).unwrap()
}

fn selectors() -> Arc<Selectors> {
    let any = || vec![TrafficSelector::any_v4(), TrafficSelector::any_v6()];
    Arc::new(Selectors::new(any(), any()))
}

/// Asks the receiver to take the SA that the sender seals for; its name is 1.
pub(crate) fn install(commands: &Commands, transform: EspTransform) {
    let suite = EspSuite { transform, esn: false };
    let sa = InboundSa::new(spi(), suite, &keys(transform), 1024).unwrap();
    let (done, _wait) = sync_channel(1);
    let inbound = Inbound::new(1, sa, selectors(), Arc::new(Cells::default()));
    assert!(commands.push(Command::Install(Box::new(inbound), done)));
}

fn config(setup: Setup) -> TunnelConfig {
    let outside = |host: u8| {
        let address =
            if setup.ipv6 { format!("[2001:db8::{host}]:4500") } else { format!("192.0.2.{host}:4500") };
        address.parse().unwrap()
    };
    TunnelConfig {
        name: "test".to_owned(),
        interface: "cgw0".to_owned(),
        mtu: 1438,
        inside: Vec::new(),
        probe: None,
        local: outside(1),
        remote: outside(2),
        clear_df: setup.clear_df,
        clamp_mss: true,
        replay_window: 1024,
        path_mtu: 1500,
        offload: OffloadSwitches::default(),
    }
}

fn keys(transform: EspTransform) -> EspKeys {
    EspKeys {
        encryption: Secret::new(vec![7; transform.encryption_key_len()]),
        integrity: Secret::new(vec![9; transform.integrity_key_len()]),
    }
}

/// A packet of one transport with correct checksums. `tcp` has a sequence number and flags; `None` is UDP.
pub(crate) fn packet(ipv6: bool, tcp: Option<(u32, u8)>, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut transport = vec![0x30, 0x39, 0x00, 0x50];
    match tcp {
        Some((sequence, flags)) => {
            transport.extend(sequence.to_be_bytes());
            transport
                .extend([0, 0, 0, 9, 0x80, flags, 0x20, 0, 0, 0, 0, 0, 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
        None => {
            transport.extend((payload.len() as u16 + 8).to_be_bytes());
            transport.extend([0, 0]);
        }
    }
    transport.extend(payload);
    let protocol = if tcp.is_some() { esp::packet::TCP } else { esp::packet::UDP };
    let mut packet = if ipv6 {
        let mut header = vec![0x60, 0, 0, 0];
        header.extend((transport.len() as u16).to_be_bytes());
        header.extend([protocol, 64]);
        header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        header.extend([0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        header
    } else {
        let mut header = vec![0x45, 0];
        header.extend((transport.len() as u16 + 20).to_be_bytes());
        header.extend(id.to_be_bytes());
        header.extend([0x40, 0, 64, protocol, 0, 0, 10, 10, 0, 2, 172, 31, 0, 10]);
        header
    };
    packet.extend(transport);
    let inner = esp::packet::Inner::parse(&packet).unwrap();
    let at = inner.transport_offset;
    if !ipv6 {
        esp::checksum::set_ipv4_header(&mut packet[..at]);
    }
    let len = packet.len() - at;
    let pseudo = esp::checksum::pseudo_header(inner.source, inner.destination, protocol, len);
    let field = at + if tcp.is_some() { 16 } else { 6 };
    let sum = pseudo.plus(esp::checksum::Sum::of(&packet[at..])).checksum();
    packet[field..field + 2].copy_from_slice(if sum == [0, 0] && tcp.is_none() { &[0xff; 2] } else { &sum });
    packet
}

/// What the kernel hands over: the header, then the packet. `size` is that of a segment, zero for an ordinary packet.
pub(crate) fn read(ipv6: bool, tcp: bool, size: u16, packet: &[u8]) -> Vec<u8> {
    let gso = match (size, tcp, ipv6) {
        (0, ..) => Gso::None,
        (_, true, false) => Gso::Tcp4,
        (_, true, true) => Gso::Tcp6,
        (_, false, _) => Gso::Udp,
    };
    let vnet = VnetHeader { needs_checksum: size > 0, gso, gso_size: size, ..VnetHeader::default() };
    let mut octets = vec![0; VNET_HEADER_LEN];
    octets.copy_from_slice(&vnet.encode());
    octets.extend(packet);
    octets
}

/// A super-packet of `count` segments of `size` octets.
pub(crate) fn train(ipv6: bool, tcp: bool, size: usize, count: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..size * count).map(|i| (i / 7) as u8).collect();
    read(ipv6, tcp, size as u16, &packet(ipv6, tcp.then_some((1, 0x10)), 1, &payload))
}
