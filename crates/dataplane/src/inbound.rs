//! The worker from the wire to the TUN (RFC 4301 §5.2): receives a batch, opens, applies the inner-packet rules,
//! writes.
//!
//! The inbound SAs with their replay windows belong to this thread alone. The handle changes them by commands,
//! and waits until the worker has taken an `Install`: a window behind a lock would cost every batch, and the peer's
//! first packet must not meet an SA that is still on its way here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use esp::{InboundSa, NatTraversal, Selectors, ecn, mss};
use model::{Instant, Spi};
use net::MonotonicClock;
use net::poll;
use net::raw::{EspSocket, strip_ipv4_header};
use net::udp::{ReceiveBatch, UdpSocket};

use crate::Event;
use crate::counters::{Cells, Reason, Tally};
use crate::deliver::{Delivery, Place};
use crate::device::{Device, Link};
use crate::early::{self, Early};
use crate::pace::{Pace, TIMER_SLACK};
use crate::probe;
use crate::shared::Shared;
use crate::tap::Port;

/// Messages of one receive. Each has room for a train of `UDP_GRO`; a peer that sends zero checksums (RFC 3948 §2.1
/// lets it) gets no trains, and then the number of messages limits how many packets can be merged.
const BATCH: usize = 32;
const SLOT_LEN: usize = 65_536;
/// Receives before the commands and the other socket get their turn.
const MAX_RECEIVES: usize = 8;
/// Commands waiting; more means that the worker is dead or the supervisor mad.
const MAX_COMMANDS: usize = 256;
/// An SA reports that it receives at most this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// A change that the handle asks for.
pub(crate) enum Command {
    Install(Box<Inbound>, SyncSender<()>),
    Retire(u64),
    Udp(Arc<UdpSocket>, SyncSender<()>),
    Raw(Option<Arc<EspSocket>>, SyncSender<()>),
    Datagram(Vec<u8>, SocketAddr),
}

/// The receiving half of a child.
pub(crate) struct Inbound {
    pub(crate) id: u64,
    pub(crate) spi: Spi,
    pub(crate) sa: InboundSa,
    pub(crate) selectors: Arc<Selectors>,
    pub(crate) cells: Arc<Cells>,
    tally: Tally,
    /// Something authenticated came in this batch.
    alive: bool,
    reported: Option<Instant>,
}

impl Inbound {
    pub(crate) fn new(id: u64, sa: InboundSa, selectors: Arc<Selectors>, cells: Arc<Cells>) -> Self {
        let (tally, spi) = (Tally::default(), sa.spi());
        Self { id, spi, sa, selectors, cells, tally, alive: false, reported: None }
    }
}

/// Commands on their way to the worker.
#[derive(Default)]
pub(crate) struct Commands(Mutex<VecDeque<Command>>);

impl Commands {
    /// `false` when there is no room.
    pub(crate) fn push(&self, command: Command) -> bool {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= MAX_COMMANDS {
            return false;
        }
        queue.push_back(command);
        true
    }

    fn pop(&self) -> Option<Command> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

pub(crate) struct InboundWorker<D> {
    shared: Arc<Shared>,
    commands: Arc<Commands>,
    udp: Option<Arc<UdpSocket>>,
    raw: Option<Arc<EspSocket>>,
    batch: ReceiveBatch,
    path: Path<D>,
}

/// Everything behind the receive buffers.
struct Path<D> {
    sas: Vec<Inbound>,
    early: Early,
    delivery: Delivery<D>,
    tally: Tally,
    /// Our address of the UDP socket.
    local: SocketAddr,
    /// Who else wants to see the inner packets; looked up once a batch.
    tap: Option<Port>,
}

impl<D: Device> InboundWorker<D> {
    pub(crate) fn new(shared: Arc<Shared>, commands: Arc<Commands>, delivery: Delivery<D>) -> Self {
        let local = shared.config.local;
        let (sas, early) = (Vec::new(), Early::default());
        let path = Path { sas, early, delivery, tally: Tally::default(), local, tap: None };
        Self { shared, commands, udp: None, raw: None, batch: ReceiveBatch::new(BATCH, SLOT_LEN), path }
    }

    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut pace = Pace::default();
        net::process::set_timer_slack(TIMER_SLACK);
        while !shared.stopping() {
            shared.heart_inbound.beat();
            let ready = {
                // A socket that is not there yet is stood in for by the waker, which is watched anyway.
                let waker = shared.wake_inbound.as_fd();
                let udp: BorrowedFd<'_> = self.udp.as_ref().map_or(waker, |socket| socket.as_fd());
                let raw: BorrowedFd<'_> = self.raw.as_ref().map_or(waker, |socket| socket.as_fd());
                let patience = (!self.path.early.is_empty()).then_some(early::WAIT);
                poll::wait(&[waker, udp, raw], patience)
            };
            match ready {
                Ok(ready) => {
                    self.path.tap = shared.tap.port();
                    if ready.is(0) {
                        shared.wake_inbound.clear();
                        self.take_commands(&shared);
                    }
                    if let Some(socket) = self.udp.clone().filter(|_| ready.is(1)) {
                        self.receive_udp(&shared, &*socket);
                    }
                    if let Some(socket) = self.raw.clone().filter(|_| ready.is(2)) {
                        self.receive_raw(&shared, &*socket);
                    }
                    let packets = self.finish(&shared);
                    if let Some(wait) = pace.after(packets, MonotonicClock::now()) {
                        std::thread::sleep(wait);
                    }
                }
                Err(error) => {
                    let text = format!("waiting for packets of {}: {error}", shared.config.name);
                    return shared.emit(Event::Failed { text });
                }
            }
        }
    }

    /// Ends a turn: counters, time stamp, signs of life. How many packets came in it.
    pub(crate) fn finish(&mut self, shared: &Shared) -> u32 {
        let packets = self.path.tally.calls.receive_packets as u32;
        self.path.finish(shared);
        packets
    }

    pub(crate) fn take_commands(&mut self, shared: &Shared) {
        while let Some(command) = self.commands.pop() {
            // A requester that stopped waiting does not matter: the change is made all the same.
            match command {
                Command::Install(inbound, done) => {
                    let spi = inbound.spi;
                    self.path.sas.push(*inbound);
                    let _ = done.try_send(());
                    for (tos, mut packet) in self.path.early.take(spi) {
                        self.path.esp(shared, &mut packet, tos, place(0, 0));
                        self.path.deliver(shared, |_| &packet);
                    }
                }
                Command::Retire(id) => self.path.retire(id),
                Command::Udp(socket, done) => {
                    self.path.local = socket.local();
                    self.udp = Some(socket);
                    let _ = done.try_send(());
                }
                Command::Raw(socket, done) => {
                    self.raw = socket;
                    let _ = done.try_send(());
                }
                Command::Datagram(mut datagram, remote) => {
                    self.path.datagram(shared, &mut datagram, (0, Some(remote)), place(0, 0));
                    self.path.deliver(shared, |_| &datagram);
                }
            }
        }
    }

    /// Takes what the UDP socket holds, until it holds nothing: one read too many is cheaper than going to sleep and
    /// being woken for what came meanwhile.
    pub(crate) fn receive_udp(&mut self, shared: &Shared, socket: &dyn Link) {
        for _ in 0..MAX_RECEIVES {
            // An error is an ICMP error of an earlier send, reported once; the next poll tells whether more is
            // there.
            let Ok(count) = socket.receive_batch(&mut self.batch) else { return };
            for index in 0..count {
                let Some(message) = self.batch.message(index) else { break };
                self.path.tally.calls.receives += 1;
                let from = (message.tos, message.remote);
                let mut offset = 0;
                for datagram in message.bytes.chunks_mut(message.segment) {
                    self.path.tally.calls.receive_packets += 1;
                    let len = datagram.len();
                    self.path.datagram(shared, datagram, from, place(index, offset));
                    offset += len;
                }
                if self.path.delivery.is_due() {
                    self.path.deliver(shared, |message| self.batch.bytes(message));
                }
            }
            self.path.deliver(shared, |message| self.batch.bytes(message));
        }
    }

    /// The same for protocol 50.
    pub(crate) fn receive_raw(&mut self, shared: &Shared, socket: &dyn Link) {
        let ipv4 = !socket.is_ipv6();
        for _ in 0..MAX_RECEIVES {
            let Ok(count) = socket.receive_batch(&mut self.batch) else { return };
            for index in 0..count {
                let Some(message) = self.batch.message(index) else { break };
                self.path.tally.calls.receives += 1;
                self.path.tally.calls.receive_packets += 1;
                let total = message.bytes.len();
                let (packet, tos) = if ipv4 {
                    let tos = message.bytes.get(1).copied().unwrap_or(0);
                    (strip_ipv4_header(message.bytes), tos)
                } else {
                    (Some(message.bytes), message.tos)
                };
                match packet {
                    Some(packet) => {
                        let offset = total - packet.len();
                        self.path.esp(shared, packet, tos, place(index, offset));
                    }
                    None => self.path.tally.drop(Reason::Malformed),
                }
            }
            self.path.deliver(shared, |message| self.batch.bytes(message));
        }
    }
}

/// Where a datagram begins; its end does not matter here.
const fn place(message: usize, start: usize) -> Place {
    Place { message, start, end: start }
}

impl<D: Device> Path<D> {
    /// One datagram from UDP port 4500 (RFC 3948 §2), with its outer TOS and sender.
    fn datagram(
        &mut self,
        shared: &Shared,
        datagram: &mut [u8],
        (tos, remote): (u8, Option<SocketAddr>),
        place: Place,
    ) {
        match esp::classify(datagram) {
            NatTraversal::Esp(_) => self.esp(shared, datagram, tos, place),
            NatTraversal::Ike(message) => {
                let remote = remote.unwrap_or(shared.config.remote);
                shared.emit(Event::Ike { local: self.local, remote, datagram: message.to_vec() });
            }
            NatTraversal::Keepalive => {}
            NatTraversal::Malformed => self.tally.drop(Reason::Malformed),
        }
    }

    /// One ESP packet, which begins at `place`.
    fn esp(&mut self, shared: &Shared, packet: &mut [u8], tos: u8, place: Place) {
        let Some(spi) = esp::peek_spi(packet) else {
            return self.tally.drop(Reason::Malformed);
        };
        let Some((order, inbound)) = self.sas.iter_mut().enumerate().find(|(_, inbound)| inbound.spi == spi)
        else {
            let dropped = self.early.hold(spi, tos, packet, MonotonicClock::now());
            return self.tally.drops_of(Reason::NoSa, dropped);
        };
        let (inner, sequence) = match inbound.sa.open_in_place(packet) {
            Ok(opened) => (opened.inner, opened.sequence),
            Err(reason) => {
                inbound.alive |= reason.is_authenticated();
                return inbound.tally.drop(reason);
            }
        };
        inbound.alive = true;
        inbound.tally.received(inner.len());
        if !inbound.selectors.permits_inbound(inner) {
            return inbound.tally.drop(Reason::Selector);
        }
        if let Err(reason) = ecn::decapsulate_packet(tos, inner) {
            return inbound.tally.drop(reason);
        }
        if let Some(tap) = &self.tap {
            tap.inbound(inner);
        }
        if let Some(probe) = shared.probe()
            && let Some(reply) = probe::reply(&probe, inner)
        {
            return shared.emit(Event::ProbeReply {
                identifier: probe.identifier,
                sequence: reply.sequence,
                received_at: MonotonicClock::now(),
                payload: reply.payload.to_vec(),
            });
        }
        if shared.config.clamp_mss {
            mss::clamp_tcp_mss(inner, shared.limits.clamp());
        }
        self.delivery.add(place.inner(inbound.sa.payload_offset(), inner.len()), order, sequence);
    }

    /// Writes what was opened to the TUN; `bytes` finds a message by its number.
    fn deliver<'b>(&mut self, shared: &Shared, bytes: impl Fn(usize) -> &'b [u8]) {
        self.delivery.write_out(shared, &mut self.tally, bytes);
    }

    fn retire(&mut self, id: u64) {
        self.sas.retain(|inbound| inbound.id != id);
    }

    /// What follows every batch: counters, time stamp, signs of life.
    fn finish(&mut self, shared: &Shared) {
        if !self.early.is_empty() {
            let dropped = self.early.expire(MonotonicClock::now());
            self.tally.drops_of(Reason::NoSa, dropped);
        }
        shared.cells.publish(&self.tally);
        self.tally = Tally::default();
        if self.sas.iter().all(|inbound| !inbound.alive && inbound.tally.is_empty()) {
            return;
        }
        let now = MonotonicClock::now();
        for inbound in &mut self.sas {
            shared.cells.publish(&inbound.tally);
            inbound.cells.publish(&inbound.tally);
            inbound.tally = Tally::default();
            if !std::mem::take(&mut inbound.alive) {
                continue;
            }
            shared.last_rx.store(now.as_nanos(), Relaxed);
            if inbound.reported.is_none_or(|last| now - last >= REPORT_EVERY) {
                inbound.reported = Some(now);
                shared.emit(Event::EspReceived { spi_in: inbound.spi });
            }
        }
    }
}
