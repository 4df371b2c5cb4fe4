//! The worker from the TUN to the wire (RFC 4301 §5.1): reads a batch, applies the inner-packet rules, seals, sends.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use esp::fragment::{Fragments, NotFragmentable, Rules};
use esp::{DropReason, ecn, icmp, mss};
use net::MonotonicClock;
use net::poll;
use net::tun::Tun;

use crate::Event;
use crate::counters::{Reason, Tally};
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
const READ_LEN: usize = 65_535 + net::tun::VNET_HEADER_LEN;

/// Errors the kernel answers a bad packet with, not a bad device.
const MAX_READ_ERRORS: u32 = 100;

pub(crate) struct OutboundWorker {
    shared: Arc<Shared>,
    tun: Tun,
    read: Box<[u8]>,
    path: Path,
    read_errors: u32,
}

/// Everything behind the read buffer.
struct Path {
    batch: SendBatch,
    tally: Tally,
    scratch: Box<[u8]>,
    /// Identification of the next packet whose DF is cleared.
    identification: u16,
    icmp_left: u32,
}

impl OutboundWorker {
    pub(crate) fn new(shared: Arc<Shared>, tun: Tun, gso: bool) -> Self {
        let path = Path {
            batch: SendBatch::new(gso),
            tally: Tally::default(),
            scratch: vec![0; 65_535].into_boxed_slice(),
            identification: MonotonicClock::now().as_nanos() as u16,
            icmp_left: MAX_ICMP_PER_SECOND,
        };
        Self { shared, tun, read: vec![0; READ_LEN].into_boxed_slice(), path, read_errors: 0 }
    }

    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut housekeeping = MonotonicClock::now() + HOUSEKEEPING;
        while !shared.stopping() {
            let now = MonotonicClock::now();
            if now >= housekeeping {
                housekeeping = now + HOUSEKEEPING;
                self.path.icmp_left = MAX_ICMP_PER_SECOND;
                if let Some(out) = shared.outbound.load().as_deref() {
                    shared.refresh_path_mtu(out);
                }
            }
            let watched = [self.tun.as_fd(), shared.wake_outbound.as_fd()];
            match poll::wait(&watched, Some(housekeeping - now)) {
                Ok(ready) if ready.is(0) => {
                    if let Err(error) = self.round(&shared) {
                        let text = format!("reading interface {}: {error}", self.tun.name());
                        return shared.emit(Event::Failed { text });
                    }
                }
                Ok(ready) => {
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
    }

    /// One batch: what the TUN holds now, up to a limit.
    fn round(&mut self, shared: &Shared) -> std::io::Result<()> {
        let guard = shared.outbound.load();
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
            let Some(packet) = self.read.get_mut(..len) else { break };
            match guard.as_deref() {
                Some(out) => self.path.packet(shared, out, &self.tun, packet),
                None => self.path.tally.drop(Reason::NoSa),
            }
        }
        if let Some(out) = guard.as_deref() {
            self.path.batch.flush(out, shared, &mut self.path.tally);
            out.cells.publish(&self.path.tally);
            after_batch(out, shared, self.path.tally.traffic.tx_packets > 0);
        }
        shared.cells.publish(&self.path.tally);
        self.path.tally = Tally::default();
        result
    }
}

impl Path {
    /// One packet from the TUN.
    fn packet(&mut self, shared: &Shared, out: &Outbound, tun: &Tun, packet: &mut [u8]) {
        self.tally.calls.tun_read_packets += 1;
        let (Some(next_header), Some(tos)) = (esp::next_header_of(packet), ecn::traffic_class(packet)) else {
            return self.tally.drop(Reason::Malformed);
        };
        if !out.selectors.permits_outbound(packet) {
            return self.tally.drop(DropReason::Selector);
        }
        if shared.config.clamp_mss {
            mss::clamp_tcp_mss(packet, shared.limits.clamp());
        }
        let flow = Flow { out, shared, next_header, tos: ecn::encapsulate(tos) };
        if packet.len() > shared.limits.inner() {
            return self.oversize(&flow, tun, packet);
        }
        self.batch.seal(&flow, &mut self.tally, packet.len(), |slot| {
            slot.copy_from_slice(packet);
            true
        });
    }

    /// A packet that does not fit: fragments before encryption, or an answer to its sender.
    fn oversize(&mut self, flow: &Flow<'_>, tun: &Tun, packet: &[u8]) {
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
            }
            Err(NotFragmentable::Malformed) => self.tally.drop(Reason::Malformed),
            Err(_) => {
                self.tally.drop(Reason::Mtu);
                self.answer_too_big(flow.shared, tun, packet, mtu);
            }
        }
    }

    fn answer_too_big(&mut self, shared: &Shared, tun: &Tun, packet: &[u8], mtu: u16) {
        let Some(left) = self.icmp_left.checked_sub(1) else { return };
        let Some(inner) = esp::packet::Inner::parse(packet) else { return };
        // Without an inside address of that family the destination's own stands in: hosts accept it.
        let source = shared.inside_address(inner.source.is_ipv4()).unwrap_or(inner.destination);
        if let Some(len) = icmp::too_big(packet, mtu, source, &mut self.scratch) {
            self.icmp_left = left;
            if self.scratch.get(..len).is_none_or(|answer| tun.write(answer).is_err()) {
                self.tally.drop(Reason::Tun);
            }
        }
    }
}
