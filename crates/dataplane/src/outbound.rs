//! The worker from the TUN to the wire (RFC 4301 §5.1): reads a batch, applies the inner-packet rules, seals, sends.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use esp::fragment::{Fragments, NotFragmentable, Rules};
use esp::segment::{Segments, VnetHeader};
use esp::{ecn, icmp, mss};
use net::MonotonicClock;
use net::poll;
use net::tun::{Tun, VNET_HEADER_LEN};

use crate::Event;
use crate::counters::{Reason, Tally};
use crate::deliver::write_packet;
use crate::device::Device;
use crate::offload;
use crate::pace::{Pace, TIMER_SLACK};
use crate::send::{Flow, SendBatch, after_batch};
use crate::shared::{Outbound, Shared};

/// Packets read before the batch is sent, so that the first of them does not wait for a flood behind it.
const MAX_READS: usize = 64;
/// How often the path MTU is looked at, and how long the worker sleeps at most.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
//= RFC 1812 §4.3.2.8
//# ICMP errors are limited; a hundred a second tells every sender and floods nobody.
const MAX_ICMP_PER_SECOND: u32 = 100;
/// The largest packet, with the header of the TUN's offloads.
const READ_LEN: usize = MAX_PACKET + VNET_HEADER_LEN;
const MAX_PACKET: usize = 65_535;
/// Reads in a row that may fail before the device counts as broken.
const MAX_READ_ERRORS: u32 = 100;

pub(crate) struct OutboundWorker<D> {
    shared: Arc<Shared>,
    tun: D,
    read: Box<[u8]>,
    path: Path,
    read_errors: u32,
}

/// Everything behind the read buffer.
struct Path {
    batch: SendBatch,
    tally: Tally,
    /// One segment of a super-packet that is to be fragmented.
    segment: Box<[u8]>,
    /// One fragment, or one ICMP error.
    scratch: Box<[u8]>,
    /// Identification of the next packet whose DF is cleared.
    identification: u16,
    icmp_left: u32,
}

impl<D: Device> OutboundWorker<D> {
    pub(crate) fn new(shared: Arc<Shared>, tun: D, gso: bool) -> Self {
        let path = Path {
            batch: SendBatch::new(gso),
            tally: Tally::default(),
            segment: vec![0; MAX_PACKET].into_boxed_slice(),
            scratch: vec![0; MAX_PACKET].into_boxed_slice(),
            identification: MonotonicClock::now().as_nanos() as u16,
            icmp_left: MAX_ICMP_PER_SECOND,
        };
        Self { shared, tun, read: vec![0; READ_LEN].into_boxed_slice(), path, read_errors: 0 }
    }

    /// One batch: what the TUN holds now, up to a limit. How many packets it held.
    pub(crate) fn round(&mut self, shared: &Shared) -> std::io::Result<u32> {
        let guard = shared.outbound.load();
        self.path.batch.tap = shared.tap.port();
        let mut result = Ok(());
        for _ in 0..MAX_READS {
            let len = match self.tun.read(&mut self.read) {
                Ok(len) => len,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    self.read_errors += 1;
                    // A deleted interface fails for ever, anything else is worth another try.
                    if e.raw_os_error() == Some(net::errno::EBADFD) || self.read_errors > MAX_READ_ERRORS {
                        result = Err(e);
                    }
                    break;
                }
            };
            self.read_errors = 0;
            self.path.tally.calls.tun_reads += 1;
            let read = self.read.get(..len).unwrap_or_default();
            let Some((vnet, packet)) = split_header(&self.tun, read) else {
                self.path.tally.drop(Reason::Malformed);
                continue;
            };
            if is_link_scope(packet) {
                self.path.tally.drop(Reason::LinkScope);
                continue;
            }
            match guard.as_deref() {
                Some(out) => self.path.packet(shared, out, &self.tun, (vnet, packet)),
                None => self.path.tally.drop(Reason::NoSa),
            }
        }
        if let Some(out) = guard.as_deref() {
            self.path.batch.flush(out, shared, &mut self.path.tally);
            out.cells.publish(&self.path.tally);
            after_batch(out, shared, self.path.tally.traffic.tx_packets > 0);
        }
        shared.cells.publish(&self.path.tally);
        let packets = self.path.tally.calls.tun_read_packets as u32;
        self.path.tally = Tally::default();
        result.map(|()| packets)
    }
}

impl OutboundWorker<Tun> {
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut housekeeping = MonotonicClock::now() + HOUSEKEEPING;
        // The last round found packets: more came while they were sent, and looking is cheaper than polling first.
        let mut busy = false;
        let mut pace = Pace::default();
        net::process::set_timer_slack(TIMER_SLACK);
        while !shared.stopping() {
            shared.heart_outbound.beat();
            let now = MonotonicClock::now();
            if now >= housekeeping {
                housekeeping = now + HOUSEKEEPING;
                self.path.icmp_left = MAX_ICMP_PER_SECOND;
                if let Some(out) = shared.outbound.load().as_deref() {
                    shared.refresh_path_mtu(out);
                }
            }
            if !busy {
                let watched = [self.tun.as_fd(), shared.wake_outbound.as_fd()];
                match poll::wait(&watched, Some(housekeeping - now)) {
                    Ok(ready) => {
                        busy = ready.is(0);
                        if ready.is(1) {
                            shared.wake_outbound.clear();
                        }
                    }
                    Err(error) => {
                        let text = format!("waiting for interface {}: {error}", self.tun.name());
                        return shared.emit(Event::Failed { text });
                    }
                }
            }
            if busy {
                let packets = match self.round(&shared) {
                    Ok(packets) => packets,
                    Err(error) => {
                        let text = format!("reading interface {}: {error}", self.tun.name());
                        return shared.emit(Event::Failed { text });
                    }
                };
                busy = packets > 0;
                if let Some(wait) = pace.after(packets, now) {
                    std::thread::sleep(wait);
                }
            }
        }
    }
}

/// The header of the TUN's offloads, where the device has one, and the packet.
fn split_header<'r>(tun: &impl Device, read: &'r [u8]) -> Option<(VnetHeader, &'r [u8])> {
    if !tun.has_vnet_header() {
        return Some((VnetHeader::default(), read));
    }
    let vnet = net::tun::VnetHeader::parse(read)?;
    Some((offload::from_device(&vnet), read.get(VNET_HEADER_LEN..)?))
}

/// Multicast to the neighbours on a link: 224.0.0.0/24 and ff02::/16.
fn is_link_scope(packet: &[u8]) -> bool {
    match packet.first().map(|octet| octet >> 4) {
        Some(4) => packet.get(16..19) == Some(&[224, 0, 0]),
        Some(6) => matches!(packet.get(24..26), Some([0xff, scope]) if scope & 0x0f == 2),
        _ => false,
    }
}

impl Path {
    /// One packet or super-packet from the TUN.
    fn packet(
        &mut self,
        shared: &Shared,
        out: &Outbound,
        tun: &impl Device,
        (vnet, packet): (VnetHeader, &[u8]),
    ) {
        let (Some(next_header), Some(tos)) = (esp::next_header_of(packet), ecn::traffic_class(packet)) else {
            return self.tally.drop(Reason::Malformed);
        };
        let Ok(mut segments) = Segments::new(&vnet, packet) else {
            return self.tally.drop(Reason::Malformed);
        };
        let count = segments.count();
        self.tally.calls.tun_read_packets += count as u64;
        if !out.selectors.permits_outbound(packet) {
            return self.tally.drops_of(Reason::Selector, count as u64);
        }
        let flow = Flow { out, shared, next_header, tos: ecn::encapsulate(tos) };
        if segments.max_len() > shared.limits.inner() {
            return self.oversize_segments(&flow, tun, &mut segments);
        }
        // A SYN never comes in a super-packet.
        let clamp = (shared.config.clamp_mss && count == 1).then(|| shared.limits.clamp());
        while let Some(len) = segments.next_len() {
            self.batch.seal(&flow, &mut self.tally, len, |slot| {
                let written = segments.write_next(slot).is_some();
                if let Some(mtu) = clamp {
                    mss::clamp_tcp_mss(slot, mtu);
                }
                written
            });
        }
    }

    fn oversize_segments(&mut self, flow: &Flow<'_>, tun: &impl Device, segments: &mut Segments<'_>) {
        let mut buffer = std::mem::take(&mut self.segment);
        while let Some(len) = segments.write_next(&mut buffer) {
            let Some(packet) = buffer.get_mut(..len) else { break };
            if flow.shared.config.clamp_mss {
                mss::clamp_tcp_mss(packet, flow.shared.limits.clamp());
            }
            if !self.oversize(flow, tun, packet) {
                // One answer is enough for all of them.
                self.tally.drops_of(Reason::Mtu, segments.remaining() as u64);
                break;
            }
        }
        self.segment = buffer;
    }

    /// A packet that does not fit: fragments before encryption, or (`false`) an answer to its sender.
    fn oversize(&mut self, flow: &Flow<'_>, tun: &impl Device, packet: &[u8]) -> bool {
        let mtu = u16::try_from(flow.shared.limits.inner()).unwrap_or(u16::MAX);
        let rules = Rules { mtu, clear_df: flow.shared.config.clear_df, fresh_id: self.identification };
        match Fragments::new(packet, &rules) {
            Ok(mut fragments) => {
                self.identification = self.identification.wrapping_add(1);
                while let Some(len) = fragments.write_next(&mut self.scratch) {
                    let Some(fragment) = self.scratch.get(..len) else { break };
                    self.batch.seal(flow, &mut self.tally, len, |slot| {
                        slot.copy_from_slice(fragment);
                        true
                    });
                }
                true
            }
            Err(NotFragmentable::Malformed) => {
                self.tally.drop(Reason::Malformed);
                true
            }
            Err(_) => {
                self.tally.drop(Reason::Mtu);
                self.answer_too_big(tun, packet, mtu);
                false
            }
        }
    }

    fn answer_too_big(&mut self, tun: &impl Device, packet: &[u8], mtu: u16) {
        let Some(left) = self.icmp_left.checked_sub(1) else { return };
        let Some(inner) = esp::packet::Inner::parse(packet) else { return };
        // From the packet's own destination: the kernel drops what comes in with one of its own addresses, and a
        // host asks of such an error only that it quotes a packet of its own.
        let source = inner.destination;
        if let Some(len) = icmp::too_big(packet, mtu, source, &mut self.scratch) {
            self.icmp_left = left;
            if self.scratch.get(..len).is_none_or(|answer| write_packet(tun, answer).is_err()) {
                self.tally.drop(Reason::Tun);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_multicast_of_link_scope_stays_behind() {
        let v4 = |last: [u8; 4]| {
            let mut packet = [0x45; 20];
            packet[16..].copy_from_slice(&last);
            is_link_scope(&packet)
        };
        assert!(v4([224, 0, 0, 22]));
        assert!(!v4([224, 0, 1, 1]));
        assert!(!v4([10, 0, 0, 1]));
        let v6 = |a: u8, b: u8| {
            let mut packet = [0x60; 40];
            (packet[24], packet[25]) = (a, b);
            is_link_scope(&packet)
        };
        assert!(v6(0xff, 0x02));
        assert!(v6(0xff, 0x12));
        assert!(!v6(0xff, 0x05));
        assert!(!v6(0xfe, 0x02));
        assert!(!is_link_scope(&[]));
    }
}
