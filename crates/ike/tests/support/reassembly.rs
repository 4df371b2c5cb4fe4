//! Fragments in any order, numbering, total and repetition, sealed with good keys, as the input says.
//!
//! Each operation is four octets: what to do, number, total, length. A simple model says beside it when a message
//! must come out: exactly then the endpoint answers. Driven by the fuzzer and by its seeds.
#![allow(unreachable_pub, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use ike::crypto::FragmentHead;
use ike::wire::{ExchangeType, Notify, NotifyType, Payload, encode_payloads};

use crate::script::{Script, Target, notify};
use crate::support::{Side, config};

/// Operations of one run; a longer input is cut.
const MAX_OPERATIONS: usize = 64;
/// What the endpoint keeps an incomplete message for.
const KEPT: Duration = Duration::from_secs(30);

/// An endpoint that takes fragments and has authenticated us.
fn served() -> (Target, Script) {
    let mut target = Target::new(Side::B, config(Side::B));
    let mut script = Script::initiator(77);
    let mut payloads = script.first_payloads();
    payloads.push(notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, &[]));
    let request = script.first(&payloads);
    let answer = target.hear(&request).remove(0);
    script.hear_first(&answer);
    let payloads = script.auth_payloads();
    script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
    (target, script)
}

/// What the endpoint should hold: the total, and which numbers.
#[derive(Default)]
struct Model {
    total: u16,
    held: BTreeMap<u16, ()>,
}

impl Model {
    /// Whether this fragment completes a message.
    fn add(&mut self, number: u16, total: u16) -> bool {
        if number == 0 || number > total || total > 64 || total < self.total {
            return false;
        }
        if total > self.total {
            *self = Self { total, held: BTreeMap::new() };
        }
        self.held.insert(number, ());
        let complete = self.held.len() == usize::from(total);
        if complete {
            *self = Self::default();
        }
        complete
    }
}

/// Plays one run.
pub fn run(input: &[u8]) {
    let (mut target, mut script) = served();
    let mut model = Model::default();
    for operation in input.chunks_exact(4).take(MAX_OPERATIONS) {
        let [what, number, total, length] = operation else { continue };
        // Any cut of one and the same message, so that any complete set is well-formed: each notification is a
        // piece, and a message of `total` pieces has `total` notifications of the same size.
        let (number, total) = (u16::from(*number), u16::from(*total));
        let filler = Payload::Notify(Notify::new(NotifyType(40_000), vec![*what; 8]));
        let count = if total == 0 { 1 } else { usize::from(total) };
        let encoded = encode_payloads(&vec![filler; count.min(64)]);
        let size = encoded.bytes.len() / count.min(64);
        let at = size * usize::from(number.saturating_sub(1)).min(count.min(64) - 1);
        let piece = encoded.bytes.get(at..at + size).expect("a piece of the message").to_vec();
        let header = script.header(ExchangeType::INFORMATIONAL, false, script.next);
        let head = FragmentHead { first: encoded.first, number, total };
        let mut datagram = script.seal_fragment(&header, head, &piece);
        match what % 8 {
            0 => {
                let whole = script.seal(&header, &[]);
                assert_eq!(target.hear(&whole).len(), 1, "a whole message is answered");
                script.next += 1;
                model = Model::default();
            }
            1 => {
                target.run(KEPT + Duration::from_secs(1));
                model = Model::default();
            }
            2 => {
                // Behind the version, which alone is answered in the clear (RFC 7296 §2.5).
                let at = 18 + usize::from(*length) * (datagram.len() - 18) / 256;
                datagram[at] ^= 1 << (length % 8);
                assert!(target.hear(&datagram).is_empty(), "a forged fragment completes nothing");
            }
            _ => {
                let complete = model.add(number, total);
                let answers = target.hear(&datagram);
                assert_eq!(answers.len(), usize::from(complete), "{number} of {total}");
                if complete {
                    script.next += 1;
                }
            }
        }
        assert_eq!(target.holds(), (1, 1));
    }
    // Whatever happened, the next message gets through.
    let header = script.header(ExchangeType::INFORMATIONAL, false, script.next);
    let whole = script.seal(&header, &[]);
    assert_eq!(target.hear(&whole).len(), 1);
}
