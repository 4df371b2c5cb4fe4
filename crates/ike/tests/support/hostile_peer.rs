//! A peer that has the keys, and puts into its messages whatever the input says.
//!
//! The first octet chooses the state of the endpoint. Then come messages: exchange type, flags and ID, which good
//! message to start from, the type of the payload to replace, a length, and that many octets for its body. The
//! endpoint must neither panic nor hold more than it may; afterwards a new handshake must succeed. Driven by the
//! fuzzer and by its seeds.
#![allow(unreachable_pub, clippy::expect_used)]

use std::time::Duration;

use ike::wire::{self, ExchangeType, Flags, Header, Payload, PayloadType};
use ike::{Command, Input};

use crate::script::{self, Script, Target, authenticating, connected, half_open, raw, served};
use crate::support;

const MAX_MESSAGES: usize = 12;

fn start(octet: u8) -> (Target, Script) {
    match octet % 6 {
        0 => half_open(1),
        1 => {
            let (target, script, _) = authenticating(2);
            (target, script)
        }
        2 => served(3),
        3 => connected(4),
        4 => {
            let (mut target, script) = connected(5);
            target.input(Input::Command(Command::RekeyChild));
            (target, script)
        }
        _ => {
            let (mut target, script) = connected(6);
            target.input(Input::Command(Command::RekeyIke));
            (target, script)
        }
    }
}

/// The payloads of one message: a good set as the start, some of it replaced by the input.
fn payloads(script: &mut Script, choice: u8, kind: u8, body: &[u8]) -> Vec<Payload> {
    let mut payloads = match choice % 8 {
        0 => script.auth_payloads(),
        1 => script.child_payloads(0x4000, Some(script.spi.get())),
        2 => script.child_payloads(0x5000, None),
        3 => script.ike_rekey_payloads(0xa77a),
        4 => return wire::parse_payloads(PayloadType(kind), body).unwrap_or_default(),
        5 => vec![script::ike_delete()],
        6 => vec![script::esp_delete(&[script.spi.get()])],
        _ => Vec::new(),
    };
    let fresh = raw(PayloadType(kind), body);
    match payloads.iter_mut().find(|payload| payload.kind().0 == kind) {
        Some(payload) => *payload = fresh,
        None if kind == 0 => {}
        None => payloads.push(fresh),
    }
    payloads
}

/// Plays one attack.
pub fn run(input: &[u8]) {
    let Some((first, mut rest)) = input.split_first() else { return };
    let (mut target, mut script) = start(*first);
    for _ in 0..MAX_MESSAGES {
        let Some(([exchange, flags, choice, kind, length], tail)) = rest.split_first_chunk::<5>() else {
            break;
        };
        let (body, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        let exchange = ExchangeType(34 + exchange % 6);
        // Mostly the ID that is expected, so that something happens.
        let asked = target.sent.last().and_then(|sent| wire::parse_header(&sent.payload).ok());
        let response = flags & 1 != 0;
        let id = match (flags >> 1) % 8 {
            7 => u32::from(flags >> 4),
            _ if response => asked.map_or(0, |asked| asked.message_id),
            _ => script.next,
        };
        let payloads = payloads(&mut script, *choice, *kind, body);
        let ours = Flags::new(script.role == ike::Role::Initiator, response);
        let header = Header::new(script.spi_i, script.spi_r, exchange, ours, id);
        let datagram = script.seal(&header, &payloads);
        if !target.hear(&datagram).is_empty() && !response {
            script.next += 1;
        }
        if flags & 0x80 != 0 {
            target.run(Duration::from_millis(700));
        }
        let status = target.endpoint.status();
        assert!(status.ike_sas <= 48 && target.children.len() <= 64, "a table grows");
        let _ = format!("{status:?} {:?}", target.notices);
        target.notices.clear();
    }
    // However it ended: all is forgotten in time, and the true peer can come.
    target.run(Duration::from_secs(90));
    if target.side == support::Side::B {
        let mut fresh = Script::initiator(77);
        let request = fresh.first(&fresh.first_payloads());
        let answer = target.hear(&request);
        fresh.hear_first(answer.first().expect("a first request is answered"));
        let payloads = fresh.auth_payloads();
        fresh.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert!(target.endpoint.status().child.is_some());
    }
}
