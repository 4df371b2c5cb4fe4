//! Sealing packets into one buffer and sending the whole buffer with one call where the kernel can cut it up
//! (`UDP_SEGMENT`): all packets of a buffer have the same length, only the last may be shorter.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use net::MonotonicClock;
use net::udp::{MAX_PAYLOAD, MAX_SEGMENTS};

use crate::counters::{Reason, Tally};
use crate::shared::{Outbound, Shared, Wire};
use crate::tap::Port;
use crate::{Event, OffloadState};

/// How long a full socket buffer is waited for before the packet is dropped: what follows stays in the TUN's
/// queue meanwhile, which is where it can best wait.
const SEND_WAIT: Duration = Duration::from_millis(20);

/// What all packets of one (super-)packet have in common.
pub(crate) struct Flow<'a> {
    pub(crate) out: &'a Outbound,
    pub(crate) shared: &'a Shared,
    /// 4 or 41.
    pub(crate) next_header: u8,
    /// Of the outer header.
    pub(crate) tos: u8,
}

/// Packets sealed and not yet sent, all for one child. Fewer than the smallest replay window (64): a packet injected
/// meanwhile overtakes them all on the wire, and none of them may have fallen out of the peer's window by then.
pub(crate) struct SendBatch {
    buffer: Box<[u8]>,
    used: usize,
    /// Length of each packet but the last.
    segment: usize,
    count: usize,
    /// Inner octets in the batch.
    inner: u64,
    tos: u8,
    /// A shorter packet went in: it must be the last.
    closed: bool,
    gso: bool,
    /// Who else wants to see the inner packets; looked up once a round.
    pub(crate) tap: Option<Port>,
}

impl SendBatch {
    /// An empty batch; `gso` says whether the kernel may be asked to cut it up.
    pub(crate) fn new(gso: bool) -> Self {
        let buffer = vec![0; MAX_PAYLOAD].into_boxed_slice();
        Self { buffer, used: 0, segment: 0, count: 0, inner: 0, tos: 0, closed: false, gso, tap: None }
    }

    /// Seals one inner packet of `len` octets, which `write` puts into the slot it is given, and keeps it for the
    /// next flush. What is already there is sent first when the packet cannot join it.
    pub(crate) fn seal(
        &mut self,
        flow: &Flow<'_>,
        tally: &mut Tally,
        len: usize,
        write: impl FnOnce(&mut [u8]) -> bool,
    ) {
        let sa = &flow.out.sa;
        let (sealed, start) = (sa.sealed_len(len), sa.payload_offset());
        let joins = !self.closed
            && self.tos == flow.tos
            && sealed <= self.segment
            && self.count < MAX_SEGMENTS
            && self.used + sealed <= self.buffer.len();
        if self.count > 0 && !joins {
            self.flush(flow.out, flow.shared, tally);
        }
        let Some(slot) = self.buffer.get_mut(self.used..self.used + sealed) else {
            return tally.drop(Reason::Malformed);
        };
        if !slot.get_mut(start..start + len).is_some_and(write) {
            return tally.drop(Reason::Malformed);
        }
        if let (Some(tap), Some(inner)) = (&self.tap, slot.get(start..start + len)) {
            tap.outbound(inner);
        }
        //= RFC 4303 §3.3.3
        //# The counter never wraps: an SA that has used its numbers up sends nothing more.
        let Ok(sequence) = sa.reserve(1) else {
            return tally.drop(Reason::Exhausted);
        };
        if sa.seal_in_place(sequence, slot, len, flow.next_header) != sealed {
            return tally.drop(Reason::Malformed);
        }
        if self.count == 0 {
            self.segment = sealed;
            self.tos = flow.tos;
        }
        self.closed |= sealed < self.segment;
        self.used += sealed;
        self.count += 1;
        self.inner += len as u64;
    }

    /// Sends what is there.
    pub(crate) fn flush(&mut self, out: &Outbound, shared: &Shared, tally: &mut Tally) {
        let Some(packets) = self.buffer.get(..self.used).filter(|packets| !packets.is_empty()) else {
            return;
        };
        let count = self.count as u64;
        let lost = match &out.wire {
            Wire::Udp(socket) if self.gso && self.count > 1 => {
                let segment = u16::try_from(self.segment).unwrap_or(u16::MAX);
                tally.calls.sends += 1;
                match patiently(socket, || socket.send_segments(packets, segment, self.tos)) {
                    Ok(()) => 0,
                    Err(error) if is_full(&error) => {
                        tally.drops_of(Reason::Queue, count);
                        count
                    }
                    Err(error) => {
                        shared.refresh_path_mtu(out);
                        if let Some(errno) = gso_broken(&error)
                            && !exceeds_path(self.segment, out, shared)
                        {
                            // Devices without checksum offload, xfrm policies on the route, some virtual NICs.
                            self.gso = false;
                            shared.offload().udp_gso = OffloadState::Failed(errno);
                        }
                        send_each(packets, self.segment, self.tos, &out.wire, tally)
                    }
                }
            }
            wire => send_each(packets, self.segment, self.tos, wire, tally),
        };
        tally.calls.send_packets += count - lost;
        // Octets of lost packets are not told apart; a partial loss is rare and counted as a drop.
        tally.sent(count - lost, self.inner * (count - lost) / count);
        self.used = 0;
        self.count = 0;
        self.inner = 0;
        self.closed = false;
    }
}

/// Sends one packet by itself; for other threads than the outbound worker's.
pub(crate) fn send_one(packet: &[u8], tos: u8, wire: &Wire) -> io::Result<()> {
    match wire {
        Wire::Udp(socket) => patiently(socket, || socket.send_segments(packet, u16::MAX, tos)),
        Wire::Esp(socket) => patiently(socket, || socket.send(packet, tos)),
    }
}

/// The number of packets that could not be sent.
fn send_each(packets: &[u8], segment: usize, tos: u8, wire: &Wire, tally: &mut Tally) -> u64 {
    let mut lost = 0;
    let mut left = packets.chunks(segment.max(1));
    while let Some(packet) = left.next() {
        tally.calls.sends += 1;
        let Err(error) = send_one(packet, tos, wire) else { continue };
        lost += 1;
        tally.drop(reason(&error));
        if is_full(&error) {
            // It was waited for already; waiting again for each packet would hold up everything.
            let rest = left.len() as u64;
            tally.drops_of(Reason::Queue, rest);
            return lost + rest;
        }
    }
    lost
}

/// Waits once for a full socket buffer, and passes over an ICMP error that an earlier packet caused: the kernel
/// reports it on the next send, which then was not tried.
fn patiently(socket: &impl std::os::fd::AsFd, mut send: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    match send() {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            net::poll::wait_writable(socket.as_fd(), SEND_WAIT)?;
            send()
        }
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::Interrupted
            ) =>
        {
            send()
        }
        other => other,
    }
}

/// The socket's buffer is still full after the wait.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

fn reason(error: &io::Error) -> Reason {
    match error.raw_os_error() {
        _ if is_full(error) || error.kind() == io::ErrorKind::OutOfMemory => Reason::Queue,
        // The device's queue is full.
        Some(net::errno::ENOBUFS) => Reason::Queue,
        Some(net::errno::EMSGSIZE) => Reason::Mtu,
        _ => Reason::Send,
    }
}

/// Segments larger than the path are refused too, and that says nothing against segmentation as such.
fn exceeds_path(segment: usize, out: &Outbound, shared: &Shared) -> bool {
    let headers = if out.wire.is_ipv6() { 48 } else { 28 };
    segment + headers > usize::from(shared.limits.path.load(Relaxed))
}

fn gso_broken(error: &io::Error) -> Option<i32> {
    error.raw_os_error().filter(|errno| matches!(*errno, net::errno::EIO | net::errno::EINVAL))
}

/// What follows every batch: time stamp, and the warning before the counter ends.
pub(crate) fn after_batch(out: &Outbound, shared: &Shared, sent: bool) {
    if sent {
        shared.last_tx.store(MonotonicClock::now().as_nanos(), Relaxed);
    }
    if out.sa.nearly_exhausted() && !out.announced.swap(true, Relaxed) {
        shared.emit(Event::SequenceNearlyExhausted { spi_in: out.spi_in });
    }
}
