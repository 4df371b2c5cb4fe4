//! Sealing packets into one buffer and sending the whole buffer with one call. Packets of one length, the last of which
//! may be shorter, form a train that the kernel cuts up (`UDP_SEGMENT`); all trains of a round leave together
//! (`sendmmsg`), so that a mix of sizes costs one call too.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use model::Encapsulation;
use net::MonotonicClock;
use net::udp::{MAX_PAYLOAD, MAX_SEGMENTS, Train};

use crate::counters::{Reason, Tally};
use crate::device::Link;
use crate::shared::{Outbound, Shared};
use crate::tap::Port;
use crate::{Event, OffloadState};

/// How long a full socket buffer is waited for before the packet is dropped: what follows stays in the TUN's
/// queue meanwhile, which is where it can best wait.
const SEND_WAIT: Duration = Duration::from_millis(20);
/// Packets sealed and not yet sent. Fewer than the smallest replay window (64): a packet injected meanwhile overtakes
/// them all on the wire, and none of them may have fallen out of the peer's window by then.
const MAX_PENDING: usize = MAX_SEGMENTS;

/// What all packets of one (super-)packet have in common.
pub(crate) struct Flow<'a> {
    pub(crate) out: &'a Outbound,
    pub(crate) shared: &'a Shared,
    /// 4 or 41.
    pub(crate) next_header: u8,
    /// Of the outer header.
    pub(crate) tos: u8,
}

/// Packets of one length, the last perhaps shorter.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    /// Where it begins in the buffer, and where it ends.
    start: usize,
    end: usize,
    /// Length of each packet but the last.
    segment: usize,
    count: usize,
    /// Inner octets.
    inner: u64,
    tos: u8,
    /// A shorter packet went in: it must be the last.
    closed: bool,
}

/// Packets sealed and not yet sent, all for one child.
pub(crate) struct SendBatch {
    buffer: Box<[u8]>,
    used: usize,
    /// Packets in all groups.
    count: usize,
    groups: Vec<Group>,
    gso: bool,
    /// Who else wants to see the inner packets; looked up once a round.
    pub(crate) tap: Option<Port>,
}

impl SendBatch {
    /// An empty batch; `gso` says whether the kernel may be asked to cut trains up.
    pub(crate) fn new(gso: bool) -> Self {
        let buffer = vec![0; MAX_PAYLOAD].into_boxed_slice();
        Self { buffer, used: 0, count: 0, groups: Vec::with_capacity(MAX_PENDING), gso, tap: None }
    }

    /// Seals one inner packet of `len` octets, which `write` puts into the slot it is given, and keeps it for the
    /// next flush. What is already there is sent first when there is no room for one more.
    pub(crate) fn seal(
        &mut self,
        flow: &Flow<'_>,
        tally: &mut Tally,
        len: usize,
        write: impl FnOnce(&mut [u8]) -> bool,
    ) {
        let sa = &flow.out.sa;
        let (sealed, start) = (sa.sealed_len(len), sa.payload_offset());
        if self.count >= MAX_PENDING || self.used + sealed > self.buffer.len() {
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
        self.keep(sealed, len, flow);
    }

    /// Counts the packet of `sealed` octets behind the others into the last group, or into a new one.
    fn keep(&mut self, sealed: usize, len: usize, flow: &Flow<'_>) {
        let cut = self.gso && flow.out.wire.encapsulation() == Encapsulation::Udp;
        let joins = |last: &&mut Group| {
            cut && !last.closed && last.tos == flow.tos && sealed <= last.segment && last.count < MAX_SEGMENTS
        };
        let start = self.used;
        self.used += sealed;
        self.count += 1;
        if let Some(last) = self.groups.last_mut().filter(joins) {
            last.closed = sealed < last.segment;
            last.end = self.used;
            last.count += 1;
            last.inner += len as u64;
            return;
        }
        let inner = len as u64;
        self.groups.push(Group {
            start,
            end: self.used,
            segment: sealed,
            count: 1,
            inner,
            tos: flow.tos,
            closed: false,
        });
    }

    /// Sends what is there.
    pub(crate) fn flush(&mut self, out: &Outbound, shared: &Shared, tally: &mut Tally) {
        let mut sending = Sending { wire: &*out.wire, out, shared, tally, waited: false };
        let mut trains = [Train::single(&[], 0); MAX_PENDING];
        for (train, group) in trains.iter_mut().zip(&self.groups) {
            let bytes = self.buffer.get(group.start..group.end).unwrap_or_default();
            *train =
                Train { bytes, segment: u16::try_from(group.segment).unwrap_or(u16::MAX), tos: group.tos };
        }
        let mut done = 0;
        while let Some(trains) = trains.get(done..self.groups.len()).filter(|trains| !trains.is_empty()) {
            let groups = self.groups.get(done..).unwrap_or_default();
            done += sending.some(trains, groups, &mut self.gso).max(1);
        }
        self.groups.clear();
        self.used = 0;
        self.count = 0;
    }
}

/// One flush.
struct Sending<'a> {
    wire: &'a dyn Link,
    out: &'a Outbound,
    shared: &'a Shared,
    tally: &'a mut Tally,
    /// A full socket buffer was waited for; once is enough for all that is pending.
    waited: bool,
}

impl Sending<'_> {
    /// Sends the first of `trains`, and as many more as go with it; how many are dealt with.
    fn some(&mut self, trains: &[Train<'_>], groups: &[Group], gso: &mut bool) -> usize {
        self.tally.calls.sends += 1;
        let (sent, lost) = match patiently(self.wire, &mut self.waited, || self.wire.send_trains(trains)) {
            Ok(sent) => (sent, 0),
            Err(error) if is_full(&error) => {
                // It was waited for already; waiting again for each packet would hold up everything.
                self.tally.drops_of(Reason::Queue, packets(groups));
                return trains.len();
            }
            Err(error) => {
                self.shared.refresh_path_mtu(self.out);
                (1, self.first(trains, groups, &error, gso))
            }
        };
        let sent_groups = groups.get(..sent).unwrap_or(groups);
        let (count, inner) = (packets(sent_groups), sent_groups.iter().map(|group| group.inner).sum::<u64>());
        self.tally.calls.send_packets += count - lost;
        // Octets of lost packets are not told apart; a partial loss is rare and counted as a drop.
        self.tally.sent(count - lost, inner * (count - lost) / count.max(1));
        sent
    }

    /// What to do with the first train, which the kernel refused: the number of packets that are lost.
    fn first(&mut self, trains: &[Train<'_>], groups: &[Group], error: &io::Error, gso: &mut bool) -> u64 {
        let (Some(train), Some(group)) = (trains.first(), groups.first()) else { return 0 };
        if group.count == 1 {
            self.tally.drop(reason(error));
            return 1;
        }
        if let Some(errno) = gso_broken(error)
            && !exceeds_path(group.segment, self.out, self.shared)
        {
            // Devices without checksum offload, xfrm policies on the route, some virtual NICs.
            *gso = false;
            self.shared.offload().udp_gso = OffloadState::Failed(errno);
        }
        let mut lost = 0;
        let mut left = train.bytes.chunks(group.segment.max(1));
        while let Some(packet) = left.next() {
            self.tally.calls.sends += 1;
            let one = [Train::single(packet, train.tos)];
            let Err(error) = patiently(self.wire, &mut self.waited, || self.wire.send_trains(&one)) else {
                continue;
            };
            lost += 1;
            self.tally.drop(reason(&error));
            if is_full(&error) {
                let rest = left.len() as u64;
                self.tally.drops_of(Reason::Queue, rest);
                return lost + rest;
            }
        }
        lost
    }
}

fn packets(groups: &[Group]) -> u64 {
    groups.iter().map(|group| group.count as u64).sum()
}

/// Sends one packet by itself; for other threads than the outbound worker's.
pub(crate) fn send_one(packet: &[u8], tos: u8, wire: &dyn Link) -> io::Result<()> {
    let one = [Train::single(packet, tos)];
    patiently(wire, &mut false, || wire.send_trains(&one)).map(drop)
}

/// Waits once for a full socket buffer, and passes over an ICMP error that an earlier packet caused: the kernel
/// reports it on the next send, which then was not tried.
fn patiently(
    wire: &dyn Link,
    waited: &mut bool,
    mut send: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    match send() {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock && !*waited => {
            *waited = true;
            wire.wait_writable(SEND_WAIT)?;
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
