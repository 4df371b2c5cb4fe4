//! Two endpoints and a wire that does whatever the input says: lose, repeat, reorder, alter, replay, wait.
//!
//! Each operation is two octets. Whatever happened, nothing may panic, no SPI may get two keys, and once the wire
//! is sound again both sides must come to one and the same tunnel. Driven by the fuzzer and by its seeds.
#![allow(unreachable_pub, clippy::expect_used)]

use std::time::Duration;

use ike::Command;

use crate::support::{Datagram, Pair, Side, config};

/// Operations of one scenario; a longer input is cut.
const MAX_OPERATIONS: usize = 64;
/// Virtual time in which two healthy endpoints must agree.
const HEALING: Duration = Duration::from_secs(240);

fn side(octet: u8) -> Side {
    if octet & 1 == 0 { Side::A } else { Side::B }
}

/// A datagram of those under way, or of all ever sent.
fn pick(from: &mut dyn ExactSizeIterator<Item = &Datagram>, octet: u8) -> Option<Datagram> {
    let count = from.len();
    if count == 0 { None } else { from.nth(usize::from(octet) % count).cloned() }
}

fn altered(mut datagram: Datagram, octet: u8) -> Datagram {
    let payload = &mut datagram.transmit.payload;
    let at = usize::from(octet) * payload.len() / 256;
    match octet % 3 {
        0 => payload.truncate(at),
        1 => payload.insert(at, octet),
        _ => {
            if let Some(octet) = payload.get_mut(at) {
                *octet ^= 1 << (at % 8);
            }
        }
    }
    datagram
}

fn operate(pair: &mut Pair, operation: u8, octet: u8) {
    match operation % 16 {
        0..=3 => {
            if !pair.wire.is_empty() {
                pair.step();
            }
        }
        4 => drop(pair.wire.pop_front()),
        5 => {
            if let Some(datagram) = pick(&mut pair.wire.iter(), octet) {
                pair.wire.push_back(datagram);
            }
        }
        6 => {
            let length = pair.wire.len().max(1);
            pair.wire.rotate_left(usize::from(octet) % length);
        }
        7 => {
            if let Some(datagram) = pick(&mut pair.wire.iter(), octet) {
                pair.deliver(&altered(datagram, octet));
            }
        }
        8 => {
            if let Some(datagram) = pick(&mut pair.history.iter(), octet) {
                pair.deliver(&datagram);
            }
        }
        9 => {
            if let Some(datagram) = pick(&mut pair.history.iter(), octet) {
                let stranger = "203.0.113.9:500".parse().expect("an address");
                let local = datagram.transmit.remote;
                pair.deliver_from(&altered(datagram, octet), local, stranger);
            }
        }
        10 => drop(pair.next_timeout()),
        11 => {
            let wait = Duration::from_millis(u64::from(octet) * 50);
            pair.run(wait);
        }
        12 => pair.run_silent(Duration::from_millis(u64::from(octet) * 100)),
        13 => pair.command(side(octet), Command::RekeyChild),
        14 => pair.command(side(octet), Command::RekeyIke),
        _ => match octet % 4 {
            0 | 1 => pair.command(side(octet >> 2), Command::CheckLiveness),
            2 => drop(pair.traffic(side(octet >> 2))),
            _ => pair.command(side(octet >> 2), Command::Reset),
        },
    }
}

/// Plays one scenario.
pub fn run(input: &[u8]) {
    let mut configs = [config(Side::A), config(Side::B)];
    for config in &mut configs {
        config.liveness.idle = Duration::from_secs(20);
    }
    let [a, b] = configs;
    let mut pair = Pair::new(a, b);
    for operation in input.chunks_exact(2).take(MAX_OPERATIONS) {
        operate(&mut pair, operation[0], operation[1]);
        for peer in [&pair.a, &pair.b] {
            let status = peer.endpoint.status();
            assert!(status.ike_sas <= 48 && peer.children.len() <= 64, "a table grows");
        }
    }
    pair.run(HEALING);
    pair.assert_one_tunnel();
}
