//! Every message of a life under fire: cut, altered, replayed, misaddressed, from anywhere, just before it arrives.
//!
//! Invariant 2 of `docs/ike-states.md`: a datagram that fails its check changes nothing. The state is compared
//! before and after each of some ten thousand variations.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/script.rs"]
mod script;
mod support;

use std::net::SocketAddr;

use ike::wire::{ExchangeType, Payload, PayloadType, parse, parse_header};
use ike::{Command, Drops, Notice, Phase, Status};
use model::IkeSpi;
use script::Dice;
use support::{Datagram, Pair, Side};

/// Delivers a variation from the right and from a wrong address: same digest, no new octets sent.
struct Fire<'a> {
    pair: &'a mut Pair,
    datagram: &'a Datagram,
    variations: &'a mut u64,
}

/// What an operator sees of a side, counters of drops left out.
fn seen(pair: &mut Pair, side: Side) -> Status {
    let status = pair.peer(side).endpoint.status();
    Status { drops: Drops::default(), last_failure: None, ..status }
}

impl Fire<'_> {
    fn at(&mut self, payload: Vec<u8>, what: &str) {
        let side = self.datagram.from.other();
        let mut altered = self.datagram.clone();
        altered.transmit.payload = payload;
        let (local, remote) = (altered.transmit.remote, altered.transmit.local);
        let wrong_port = SocketAddr::new(remote.ip(), 33_333);
        let stranger = "203.0.113.66:500".parse().unwrap();
        // From another port of the peer's address the first request is a first request once more.
        let opens = parse_header(&altered.transmit.payload)
            .is_ok_and(|h| h.exchange == ExchangeType::IKE_SA_INIT && !h.flags.response());
        for from in [remote, wrong_port, stranger].into_iter().filter(|from| !opens || *from != wrong_port) {
            let (digest, children) = (self.pair.peer(side).digest(), self.pair.peer(side).children.len());
            let seen = seen(self.pair, side);
            let (waiting, sent) = (self.pair.wire.len(), self.pair.history.len());
            self.pair.deliver_from(&altered, local, from);
            assert_eq!(self.pair.peer(side).digest(), digest, "{what} from {from} changed the state");
            assert_eq!(self.pair.peer(side).children.len(), children, "{what} from {from}");
            assert!(self::seen(self.pair, side) == seen, "{what} from {from} shows in the status");
            let answers: Vec<_> = self.pair.wire.drain(waiting..).collect();
            for answer in answers {
                // A refusal in the clear keeps nothing, and an answer is repeated octet by octet.
                let known = self.pair.history[..sent]
                    .iter()
                    .any(|old| old.transmit.payload == answer.transmit.payload);
                let clear = parse(&answer.transmit.payload)
                    .is_ok_and(|message| matches!(&message.payloads[..], [Payload::Notify(_)]));
                assert!(known || clear, "{what} from {from} was answered");
            }
            *self.variations += 1;
        }
    }

    /// Everything that can be done to one message without its keys.
    fn everything(&mut self, past: &[Vec<u8>], dice: &mut Dice) {
        let whole = self.datagram.transmit.payload.clone();
        let protected = self.datagram.header().next_payload == PayloadType::SK;
        for length in 0..whole.len() {
            self.at(whole[..length].to_vec(), "a truncation");
            if length >= 28 && protected {
                let mut fitting = whole[..length].to_vec();
                fitting[24..28].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
                self.at(fitting, "a truncation with its length put right");
            }
        }
        self.at([&whole[..], &[0]].concat(), "an octet more");
        if protected {
            for _ in 0..200 {
                let mut flipped = whole.clone();
                let at = dice.below(whole.len());
                flipped[at] ^= 1 << dice.below(8);
                self.at(flipped, "a flipped bit");
            }
            for half in [0..8, 8..16] {
                for spi in [IkeSpi::ZERO, IkeSpi(1), IkeSpi(dice.word())] {
                    let mut other = whole.clone();
                    other[half.clone()].copy_from_slice(&spi.to_bytes());
                    self.at(other, "a wrong SPI");
                }
            }
            let mut swapped = whole.clone();
            swapped[..8].copy_from_slice(&whole[8..16]);
            swapped[8..16].copy_from_slice(&whole[..8]);
            self.at(swapped, "SPIs the other way round");
            let mut noise = whole.clone();
            noise[28..].fill_with(|| dice.octet());
            self.at(noise, "noise");
        }
        for old in past {
            self.at(old.clone(), "a replay");
        }
    }
}

#[test]
fn every_message_of_a_life_is_safe_from_truncation_forgery_replay_and_wrong_spis_from_anywhere() {
    let life = [
        (Side::A, None),
        (Side::A, Some(Command::CheckLiveness)),
        (Side::B, Some(Command::CheckLiveness)),
        (Side::A, Some(Command::RekeyChild)),
        (Side::B, Some(Command::RekeyChild)),
        (Side::A, Some(Command::RekeyIke)),
        (Side::B, Some(Command::RekeyIke)),
        (Side::B, Some(Command::Close)),
    ];
    let mut dice = Dice(5);
    let mut pair = Pair::plain();
    let (mut messages, mut variations) = (0, 0);
    // What each side has received, for replays.
    let mut past: [Vec<Vec<u8>>; 2] = Default::default();
    for (side, command) in life {
        if let Some(command) = command {
            pair.command(side, command);
        }
        while let Some(datagram) = pair.wire.pop_front() {
            let to = usize::from(datagram.from == Side::A);
            Fire { pair: &mut pair, datagram: &datagram, variations: &mut variations }
                .everything(&past[to], &mut dice);
            pair.deliver(&datagram);
            past[to].push(datagram.transmit.payload);
            messages += 1;
        }
    }
    println!("{messages} messages under fire, {variations} variations");
    assert!(messages >= 25 && variations > 20_000, "{messages} messages, {variations} variations");
    assert_eq!(pair.b.endpoint.status().phase, Phase::Closed);
    assert_eq!(pair.a.count(|notice| *notice == Notice::PeerDeletedIke), 1, "the life went its way");
}
