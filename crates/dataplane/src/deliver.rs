//! Writing opened packets to the TUN: in the order of their sequence numbers, merged into super-packets where they
//! continue each other, without copying a payload.

use std::io::{self, IoSlice};

use esp::merge::{MAX_PACKETS, MAX_SEGMENTS, MergeOptions, Merged, Merger, Part};
use net::tun::VnetHeader;

use crate::counters::{Reason, Tally};
use crate::device::Device;
use crate::offload;
use crate::shared::Shared;
use crate::{OffloadState, OffloadStates};

/// Packets that one message can add: a train of the kernel has no more.
const MAX_TRAIN: usize = 128;
/// Octets opened before they are written: enough for whole super-packets, and still in the cache.
const MAX_PENDING: usize = 128 << 10;
/// Parts of one write: the device's header, the packet's headers, the payloads.
const MAX_PARTS: usize = 2 + MAX_SEGMENTS as usize;

/// Writes one ordinary packet.
pub(crate) fn write_packet(tun: &impl Device, packet: &[u8]) -> io::Result<()> {
    if tun.has_vnet_header() {
        tun.write_vectored(&[IoSlice::new(&VnetHeader::default().encode()), IoSlice::new(packet)])
    } else {
        tun.write_vectored(&[IoSlice::new(packet)])
    }
}

/// Where an octet string lies in the receive buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) message: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Place {
    /// The place of an inner packet of `len` octets, `offset` octets into an ESP packet that begins here.
    pub(crate) const fn inner(self, offset: usize, len: usize) -> Self {
        let start = self.start + offset;
        Self { message: self.message, start, end: start + len }
    }
}

#[derive(Clone, Copy, Debug)]
struct Opened {
    place: Place,
    /// Position of the SA: an older one stands before a newer one.
    order: usize,
    sequence: u64,
}

/// The packets of one receive.
pub(crate) struct Delivery<D> {
    tun: D,
    merger: Merger,
    merge: bool,
    opened: Vec<Opened>,
    /// Octets in `opened`.
    pending: usize,
    sorted: bool,
}

impl<D: Device> Delivery<D> {
    pub(crate) fn new(tun: D, states: &OffloadStates) -> Self {
        let options = MergeOptions {
            tcp: states.tun_merge == OffloadState::On,
            udp: states.tun_merge_udp == OffloadState::On,
            verify: true,
        };
        let merge = options.tcp || options.udp;
        let opened = Vec::with_capacity(MAX_PACKETS);
        Self { tun, merger: Merger::new(options), merge, opened, pending: 0, sorted: true }
    }

    /// Adds one opened packet of the SA at position `order`.
    pub(crate) fn add(&mut self, place: Place, order: usize, sequence: u64) {
        self.sorted &= self.opened.last().is_none_or(|last| (last.order, last.sequence) < (order, sequence));
        self.pending += place.end - place.start;
        self.opened.push(Opened { place, order, sequence });
    }

    /// Whether it is time to write: the next message might not find room, or enough is pending for super-packets.
    pub(crate) const fn is_due(&self) -> bool {
        self.opened.len() + MAX_TRAIN > MAX_PACKETS || self.pending >= MAX_PENDING
    }

    /// Writes everything; `bytes` finds a message by its number.
    pub(crate) fn write_out<'b>(
        &mut self,
        shared: &Shared,
        tally: &mut Tally,
        bytes: impl Fn(usize) -> &'b [u8],
    ) {
        if self.opened.is_empty() {
            return;
        }
        if !self.sorted {
            // The wire reordered: put right here, a TCP run stays whole and its receiver sees no gap.
            self.opened.sort_unstable_by_key(|opened| (opened.order, opened.sequence));
            self.sorted = true;
        }
        tally.calls.tun_write_packets += self.opened.len() as u64;
        let packet = |place: Place| bytes(place.message).get(place.start..place.end).unwrap_or_default();
        // One packet cannot be merged with anything.
        if self.merge && self.opened.len() > 1 {
            self.write_merged(shared, tally, packet);
        } else {
            for opened in &self.opened {
                write_counted(&self.tun, packet(opened.place), tally);
            }
        }
        self.opened.clear();
        self.pending = 0;
    }

    fn write_merged<'b>(
        &mut self,
        shared: &Shared,
        tally: &mut Tally,
        packet: impl Fn(Place) -> &'b [u8] + Copy,
    ) {
        let Self { tun, merger, opened, merge, .. } = self;
        merger.clear();
        for (handle, opened) in opened.iter().enumerate() {
            // `opened` is never longer than what the merger takes.
            if !merger.push(handle as u32, packet(opened.place)) {
                tally.drop(Reason::Queue);
            }
        }
        let find =
            |part: &Part| opened.get(part.handle as usize).map_or(&[][..], |opened| packet(opened.place));
        for merged in merger.finish() {
            if !*merge || merged.header.is_empty() {
                merged.for_each(|part| write_counted(tun, find(&part), tally));
                continue;
            }
            tally.calls.tun_writes += 1;
            if let Err(error) = write_super(tun, merged.clone(), find) {
                // Some kernels refuse what they took before; the packets themselves are untouched.
                *merge = false;
                let errno = error.raw_os_error().unwrap_or(0);
                let mut states = shared.offload();
                states.tun_merge = OffloadState::Failed(errno);
                states.tun_merge_udp = OffloadState::Failed(errno);
                drop(states);
                merged.for_each(|part| write_counted(tun, find(&part), tally));
            }
        }
    }
}

fn write_counted(tun: &impl Device, packet: &[u8], tally: &mut Tally) {
    tally.calls.tun_writes += 1;
    if write_packet(tun, packet).is_err() {
        tally.drop(Reason::Tun);
    }
}

/// One super-packet: the device's header, the packet's, then the payloads where they lie.
fn write_super<'b>(
    tun: &impl Device,
    merged: Merged<'_>,
    find: impl Fn(&Part) -> &'b [u8],
) -> io::Result<()> {
    let vnet = offload::to_device(&merged.vnet).encode();
    let mut parts = [IoSlice::new(&[]); MAX_PARTS];
    let mut used = 0;
    let header = merged.header;
    let payloads = merged.map(|part| find(&part).get(part.start..part.end).unwrap_or_default());
    for (slot, part) in parts.iter_mut().zip([&vnet[..], header].into_iter().chain(payloads)) {
        *slot = IoSlice::new(part);
        used += 1;
    }
    tun.write_vectored(parts.get(..used).unwrap_or_default())
}
