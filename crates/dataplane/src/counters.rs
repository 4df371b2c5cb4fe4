//! Counters: plain numbers that a worker adds to within a batch, and the shared cells they are published to at its
//! end, so that no packet pays for an atomic operation.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use esp::DropReason;

use crate::{Calls, Drops, Traffic};

/// Why a packet was dropped; a position in the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Auth,
    Replay,
    NoSa,
    Malformed,
    Mtu,
    Queue,
    Selector,
    Ecn,
    Exhausted,
    Send,
    Tun,
    /// Next header 59: counted, not reported as a drop (RFC 4303 §2.6).
    Dummy,
    /// Multicast that must not leave its link: counted, not reported as a drop (RFC 4291 §2.7, RFC 5771 §4).
    LinkScope,
}

const REASONS: usize = Reason::LinkScope as usize + 1;

impl From<DropReason> for Reason {
    fn from(reason: DropReason) -> Self {
        match reason {
            DropReason::NoSa => Self::NoSa,
            DropReason::Malformed | DropReason::Padding | DropReason::Inner => Self::Malformed,
            DropReason::Replay => Self::Replay,
            DropReason::Auth => Self::Auth,
            DropReason::Selector => Self::Selector,
            DropReason::Dummy => Self::Dummy,
            DropReason::Congestion => Self::Ecn,
            DropReason::TooBig => Self::Mtu,
            DropReason::SequenceExhausted => Self::Exhausted,
            DropReason::QueueFull => Self::Queue,
        }
    }
}

/// What a batch did so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) traffic: Traffic,
    drops: [u64; REASONS],
    pub(crate) calls: Calls,
}

impl Tally {
    pub(crate) fn drop(&mut self, reason: impl Into<Reason>) {
        self.drops_of(reason.into(), 1);
    }

    pub(crate) fn drops_of(&mut self, reason: Reason, packets: u64) {
        if let Some(count) = self.drops.get_mut(reason as usize) {
            *count += packets;
        }
    }

    /// Nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.traffic == Traffic::default() && self.drops == [0; REASONS] && self.calls == Calls::default()
    }

    pub(crate) fn received(&mut self, octets: usize) {
        self.traffic.rx_packets += 1;
        self.traffic.rx_bytes += octets as u64;
    }

    pub(crate) fn sent(&mut self, packets: u64, octets: u64) {
        self.traffic.tx_packets += packets;
        self.traffic.tx_bytes += octets;
    }
}

/// What all batches did.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    traffic: [AtomicU64; 4],
    drops: [AtomicU64; REASONS],
    calls: [AtomicU64; 8],
}

impl Cells {
    /// Adds a batch's tally.
    pub(crate) fn publish(&self, tally: &Tally) {
        let t = &tally.traffic;
        add(&self.traffic, &[t.rx_packets, t.rx_bytes, t.tx_packets, t.tx_bytes]);
        add(&self.drops, &tally.drops);
        let c = &tally.calls;
        add(
            &self.calls,
            &[
                c.tun_reads,
                c.tun_read_packets,
                c.tun_writes,
                c.tun_write_packets,
                c.sends,
                c.send_packets,
                c.receives,
                c.receive_packets,
            ],
        );
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let [rx_packets, rx_bytes, tx_packets, tx_bytes] = load(&self.traffic);
        Traffic { rx_packets, rx_bytes, tx_packets, tx_bytes }
    }

    pub(crate) fn drops(&self) -> Drops {
        let [
            auth,
            replay,
            no_sa,
            malformed,
            mtu,
            queue,
            selector,
            ecn,
            exhausted,
            send,
            tun,
            dummy,
            link_scope,
        ] = load(&self.drops);
        Drops {
            auth,
            replay,
            no_sa,
            malformed,
            mtu,
            queue,
            selector,
            ecn,
            exhausted,
            send,
            tun,
            dummy,
            link_scope,
        }
    }

    pub(crate) fn calls(&self) -> Calls {
        let [
            tun_reads,
            tun_read_packets,
            tun_writes,
            tun_write_packets,
            sends,
            send_packets,
            receives,
            receive_packets,
        ] = load(&self.calls);
        Calls {
            tun_reads,
            tun_read_packets,
            tun_writes,
            tun_write_packets,
            sends,
            send_packets,
            receives,
            receive_packets,
        }
    }
}

fn add<const N: usize>(cells: &[AtomicU64; N], values: &[u64; N]) {
    for (cell, value) in cells.iter().zip(values) {
        if *value != 0 {
            cell.fetch_add(*value, Relaxed);
        }
    }
}

fn load<const N: usize>(cells: &[AtomicU64; N]) -> [u64; N] {
    std::array::from_fn(|index| cells.get(index).map_or(0, |cell| cell.load(Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_field_of_its_own() {
        let cells = Cells::default();
        let mut tally = Tally::default();
        for reason in DropReason::ALL {
            tally.drop(reason);
        }
        for reason in [Reason::Send, Reason::Tun, Reason::LinkScope] {
            tally.drop(reason);
        }
        cells.publish(&tally);
        cells.publish(&tally);
        let drops = cells.drops();
        assert_eq!(drops.malformed, 6);
        assert_eq!((drops.auth, drops.replay, drops.no_sa, drops.mtu, drops.queue), (2, 2, 2, 2, 2));
        assert_eq!((drops.selector, drops.ecn, drops.exhausted, drops.send, drops.tun), (2, 2, 2, 2, 2));
        assert_eq!((drops.dummy, drops.link_scope), (2, 2));
        assert_eq!(drops.total(), 26);
    }
}
