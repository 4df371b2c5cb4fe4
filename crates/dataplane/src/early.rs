//! Packets that come before the SA they belong to.
//!
//! Who answers CREATE_CHILD_SA has the new keys before the answer is on its way, and some (libreswan) send by them at once:
//! such a packet overtakes the answer, or comes while the answer is still being worked on. RFC 7296 §2.8 has the initiator be
//! ready for that, which it cannot be: it lacks the peer's half of the keys. So packets of an unknown SPI wait a moment.

use std::collections::VecDeque;
use std::time::Duration;

use model::{Instant, Spi};

/// How long a packet waits; the answer may have been lost once and been asked for again.
pub(crate) const WAIT: Duration = Duration::from_secs(1);
/// Packets waiting at most. Whoever can forge the peer's address can fill this; then the oldest go.
const MAX_PACKETS: usize = 64;
/// Their octets at most: as many packets of an ordinary size.
const MAX_OCTETS: usize = MAX_PACKETS * 1500;

#[derive(Default)]
pub(crate) struct Early {
    held: VecDeque<Held>,
    octets: usize,
}

struct Held {
    spi: Spi,
    tos: u8,
    packet: Vec<u8>,
    since: Instant,
}

impl Early {
    /// Keeps a packet. How many are given up for it, itself included when it is too large.
    pub(crate) fn hold(&mut self, spi: Spi, tos: u8, packet: &[u8], now: Instant) -> u64 {
        if packet.len() > MAX_OCTETS {
            return 1;
        }
        let mut dropped = 0;
        while self.held.len() >= MAX_PACKETS || self.octets + packet.len() > MAX_OCTETS {
            dropped += u64::from(self.pop());
        }
        self.octets += packet.len();
        self.held.push_back(Held { spi, tos, packet: packet.to_vec(), since: now });
        dropped
    }

    /// Gives up what has waited long enough; how many that were.
    pub(crate) fn expire(&mut self, now: Instant) -> u64 {
        let mut dropped = 0;
        while self.held.front().is_some_and(|oldest| now - oldest.since >= WAIT) {
            dropped += u64::from(self.pop());
        }
        dropped
    }

    /// The packets for an SA that is here now, each with its outer TOS, in the order they came.
    pub(crate) fn take(&mut self, spi: Spi) -> Vec<(u8, Vec<u8>)> {
        let mut taken = Vec::new();
        for held in std::mem::take(&mut self.held) {
            if held.spi == spi {
                self.octets -= held.packet.len();
                taken.push((held.tos, held.packet));
            } else {
                self.held.push_back(held);
            }
        }
        taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn pop(&mut self) -> bool {
        let oldest = self.held.pop_front();
        self.octets -= oldest.as_ref().map_or(0, |held| held.packet.len());
        oldest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spi(number: u32) -> Spi {
        Spi::new(0x1000 + number).unwrap()
    }

    #[test]
    fn packets_wait_for_their_own_sa_and_keep_their_order() {
        let (mut early, now) = (Early::default(), Instant::from_nanos(1));
        for number in 0..6_u8 {
            assert_eq!(early.hold(spi(u32::from(number) % 2), number, &[number], now), 0);
        }
        let taken: Vec<u8> = early.take(spi(1)).into_iter().map(|(tos, _)| tos).collect();
        assert_eq!(taken, [1, 3, 5]);
        assert!(early.take(spi(1)).is_empty());
        assert_eq!(early.take(spi(0)).len(), 3);
        assert!(early.is_empty() && early.octets == 0);
    }

    #[test]
    fn nothing_waits_longer_than_its_time() {
        let (mut early, start) = (Early::default(), Instant::from_nanos(1));
        let half = start + WAIT / 2;
        early.hold(spi(0), 0, &[0; 100], start);
        early.hold(spi(0), 0, &[0; 100], half);
        assert_eq!(early.expire(half), 0);
        assert_eq!(early.expire(start + WAIT), 1);
        assert_eq!(early.expire(half + WAIT), 1);
        assert!(early.is_empty() && early.octets == 0);
    }

    #[test]
    fn a_flood_pushes_the_oldest_out_and_every_packet_is_accounted_for() {
        let (mut early, now) = (Early::default(), Instant::from_nanos(1));
        let mut dropped = 0;
        for number in 0..10_000_u32 {
            dropped += early.hold(spi(number), 0, &vec![0; (number as usize * 37) % 9000], now);
            assert!(early.held.len() <= MAX_PACKETS && early.octets <= MAX_OCTETS);
        }
        assert_eq!(dropped as usize + early.held.len(), 10_000);
        assert_eq!(early.hold(spi(1), 0, &vec![0; MAX_OCTETS + 1], now), 1, "too large for any room");
        assert_eq!(early.take(spi(9_999)).len(), 1, "the newest is there");
    }
}
