//! Forged, truncated, replayed and malformed messages change nothing (invariants 1 to 3).
//!
//! The conversation of a whole life is recorded step by step; before each genuine delivery the receiver gets
//! variations of the message, and its state is compared before and after.

mod support;

use std::net::SocketAddr;

use ike::wire::{
    ExchangeType, Flags, Header, Notify, NotifyType, Payload, PayloadType, ProtocolId, encode, parse,
};
use ike::{Command, DropReason, Input, Notice, Phase};
use model::IkeSpi;
use support::{Datagram, Pair, Side};

/// A life: handshake, liveness, child rekey, IKE rekey, close.
const LIFE: [(Side, Option<Command>); 6] = [
    (Side::A, None),
    (Side::A, Some(Command::CheckLiveness)),
    (Side::A, Some(Command::RekeyChild)),
    (Side::B, Some(Command::RekeyIke)),
    (Side::B, Some(Command::RekeyChild)),
    (Side::A, Some(Command::Close)),
];

/// Lives the life, calling `before` with each message just before it is delivered.
fn live(mut before: impl FnMut(&mut Pair, &Datagram)) {
    let mut pair = Pair::plain();
    for (side, command) in LIFE {
        if let Some(command) = command {
            pair.command(side, command);
        }
        while let Some(datagram) = pair.wire.pop_front() {
            before(&mut pair, &datagram);
            pair.deliver(&datagram);
        }
    }
    assert_eq!(pair.a.endpoint.status().phase, Phase::Closed);
    assert_eq!(pair.b.count(|n| *n == Notice::PeerDeletedIke), 1, "the life went its way");
    assert!(pair.a.failures().is_empty() && pair.b.failures().is_empty());
}

fn is_protected(datagram: &Datagram) -> bool {
    datagram.header().next_payload == PayloadType::SK
}

/// Delivers `payload` in place of `datagram`; nothing may change and nothing may be sent.
fn must_change_nothing(pair: &mut Pair, datagram: &Datagram, payload: Vec<u8>, what: &str) {
    let side = datagram.from.other();
    let (before, waiting) = (pair.peer(side).digest(), pair.wire.len());
    let mut altered = datagram.clone();
    altered.transmit.payload = payload;
    pair.deliver(&altered);
    assert_eq!(pair.peer(side).digest(), before, "{what} changed the state");
    assert_eq!(pair.wire.len(), waiting, "{what} was answered");
}

#[test]
fn any_flipped_bit_of_a_protected_message_changes_nothing() {
    live(|pair, datagram| {
        if !is_protected(datagram) {
            return;
        }
        let whole = &datagram.transmit.payload;
        for bit in 0..whole.len() * 8 {
            let mut payload = whole.clone();
            payload[bit / 8] ^= 1 << (bit % 8);
            // The high nibble of the version is answered in the clear, and the state stays as it is.
            if bit / 8 == 17 && bit % 8 >= 4 {
                let before = pair.peer(datagram.from.other()).digest();
                let mut altered = datagram.clone();
                altered.transmit.payload = payload;
                let waiting = pair.wire.len();
                pair.deliver(&altered);
                pair.wire.truncate(waiting);
                assert_eq!(pair.peer(datagram.from.other()).digest(), before);
                continue;
            }
            must_change_nothing(pair, datagram, payload, &format!("bit {bit}"));
        }
    });
}

#[test]
fn any_truncation_or_extension_changes_nothing() {
    live(|pair, datagram| {
        let whole = datagram.transmit.payload.clone();
        for length in 0..whole.len() {
            must_change_nothing(pair, datagram, whole[..length].to_vec(), &format!("length {length}"));
        }
        let mut longer = whole.clone();
        longer.push(0);
        must_change_nothing(pair, datagram, longer, "an octet more");
        // The same with a length field that fits.
        if is_protected(datagram) {
            for length in 28..whole.len() {
                let mut payload = whole[..length].to_vec();
                payload[24..28].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
                must_change_nothing(pair, datagram, payload, &format!("fitting length {length}"));
            }
        }
    });
}

#[test]
fn any_replay_is_answered_with_the_same_octets_or_not_at_all_and_changes_nothing() {
    let mut past: Vec<Datagram> = Vec::new();
    live(|pair, datagram| {
        for old in &past {
            // A first request that was never followed up would be a new one; here all were.
            let side = old.from.other();
            let before = pair.peer(side).digest();
            let waiting = pair.wire.len();
            let sent = pair.history.len();
            pair.deliver(old);
            assert_eq!(pair.peer(side).digest(), before, "a replay changed the state");
            while pair.wire.len() > waiting {
                let again = pair.wire.pop_back().unwrap();
                assert!(pair.history[..sent].contains(&again), "a replay was answered with new octets");
            }
        }
        past.push(datagram.clone());
    });
}

#[test]
fn a_message_sent_back_to_its_sender_changes_nothing() {
    live(|pair, datagram| {
        let before = pair.peer(datagram.from).digest();
        let (local, remote) = (datagram.transmit.local, datagram.transmit.remote);
        let waiting = pair.wire.len();
        let payload = datagram.transmit.payload.clone();
        pair.input(datagram.from, Input::Datagram { local, remote, payload: &payload });
        pair.wire.truncate(waiting);
        assert_eq!(pair.peer(datagram.from).digest(), before);
    });
}

#[test]
fn small_and_random_datagrams_are_dropped_and_counted() {
    let mut pair = Pair::established();
    let (local, remote): (SocketAddr, SocketAddr) =
        ("198.51.100.1:500".parse().unwrap(), "192.0.2.1:500".parse().unwrap());
    let before = pair.b.digest();
    let mut state = 1_u32;
    for length in 0..600 {
        let payload: Vec<u8> = (0..length % 97)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        pair.input(Side::B, Input::Datagram { local, remote, payload: &payload });
    }
    assert_eq!(pair.b.digest(), before);
    assert_eq!(pair.b.endpoint.status().drops.total(), 600);
    assert!(pair.b.count(|n| matches!(n, Notice::Dropped(_))) <= DropReason::KINDS, "one notice a second");
}

#[test]
fn a_stranger_gets_no_half_open_ike_sa() {
    let mut pair = Pair::plain();
    let request = pair.pop();
    let before = pair.b.digest();
    let stranger = "203.0.113.66:500".parse().unwrap();
    pair.deliver_from(&request, request.transmit.remote, stranger);
    assert_eq!(pair.b.digest(), before);
    assert!(pair.wire.is_empty());
    assert_eq!(pair.b.endpoint.status().drops.of(DropReason::UnknownPeer), 1);
}

#[test]
fn a_flood_of_first_requests_is_bounded_and_the_true_one_gets_through() {
    let mut pair = Pair::plain();
    let request = pair.pop();
    for n in 0..1_000_u64 {
        let mut forged = request.clone();
        forged.transmit.payload[..8].copy_from_slice(&(n + 1).to_be_bytes());
        pair.deliver(&forged);
        pair.wire.clear();
    }
    let held = pair.b.endpoint.status().ike_sas;
    assert!(held <= 4, "{held}: beyond the threshold a cookie is asked for");
    pair.deliver(&request);
    pair.deliver_all();
    let (a, b) = (pair.a.endpoint.status(), pair.b.endpoint.status());
    assert_eq!((a.phase, b.phase), (Phase::Established, Phase::Established));
    pair.run(std::time::Duration::from_secs(31));
    pair.assert_one_tunnel();
}

#[test]
fn a_forged_first_request_does_not_block_the_true_one() {
    let mut pair = Pair::plain();
    let request = pair.pop();
    let mut forged = request.clone();
    let last = forged.transmit.payload.len() - 1;
    forged.transmit.payload[last] ^= 1;
    pair.deliver(&forged);
    pair.wire.clear();
    pair.deliver(&request);
    pair.deliver_all();
    assert_eq!(pair.a.endpoint.status().phase, Phase::Established);
}

#[test]
fn a_first_request_without_one_of_its_payloads_is_refused_without_state() {
    let pair = Pair::plain();
    let whole = parse(&pair.wire[0].transmit.payload).unwrap();
    for missing in [PayloadType::SA, PayloadType::KE, PayloadType::NONCE] {
        for repeated in [false, true] {
            let mut pair = Pair::plain();
            let request = pair.pop();
            let payloads: Vec<_> = whole
                .payloads
                .iter()
                .flat_map(|payload| {
                    let times = match (payload.kind() == missing, repeated) {
                        (true, false) => 0,
                        (true, true) => 2,
                        (false, _) => 1,
                    };
                    std::iter::repeat_n(payload.clone(), times)
                })
                .collect();
            let before = pair.b.digest();
            let mut altered = request.clone();
            altered.transmit.payload = encode(&whole.header, &payloads);
            pair.deliver(&altered);
            assert_eq!(pair.b.digest(), before);
            let answer = parse(&pair.pop().transmit.payload).unwrap();
            assert!(
                matches!(&answer.payloads[..], [Payload::Notify(n)] if n.kind == NotifyType::INVALID_SYNTAX)
            );
        }
    }
}

#[test]
fn unknown_payloads_are_skipped_or_named_by_their_critical_bit() {
    for critical in [false, true] {
        let mut pair = Pair::plain();
        let request = pair.pop();
        let whole = parse(&request.transmit.payload).unwrap();
        for kind in [1, 32, 49, 255] {
            let mut payloads = whole.payloads.clone();
            payloads.insert(1, Payload::Unknown { kind: PayloadType(kind), critical, data: vec![1, 2, 3] });
            let mut altered = request.clone();
            altered.transmit.payload = encode(&whole.header, &payloads);
            let before = pair.b.digest();
            pair.deliver(&altered);
            let answer = parse(&pair.pop().transmit.payload).unwrap();
            if critical {
                assert_eq!(pair.b.digest(), before);
                assert!(matches!(&answer.payloads[..], [Payload::Notify(n)]
                    if n.kind == NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD && n.data == [kind]));
            } else {
                assert!(answer.payloads.iter().any(|payload| payload.kind() == PayloadType::SA));
            }
        }
    }
}

#[test]
fn unknown_notifications_are_ignored() {
    let mut pair = Pair::plain();
    pair.step();
    let answer = pair.pop();
    let whole = parse(&answer.transmit.payload).unwrap();
    let mut payloads = whole.payloads.clone();
    payloads.push(Payload::Notify(Notify::new(NotifyType(40_000), vec![1])));
    payloads.push(Payload::Notify(Notify {
        protocol: ProtocolId(99),
        spi: vec![1; 9],
        kind: NotifyType(30_000),
        data: Vec::new(),
    }));
    let mut altered = answer.clone();
    altered.transmit.payload = encode(&whole.header, &payloads);
    pair.deliver(&altered);
    assert_eq!(pair.pop().exchange(), ExchangeType::IKE_AUTH);
}

#[test]
fn before_authentication_only_ike_auth_is_looked_at() {
    let mut pair = Pair::plain();
    pair.step();
    pair.step();
    let auth = pair.pop();
    let before = pair.b.digest();
    for exchange in (0..=255).filter(|number| *number != 35) {
        let mut other = auth.clone();
        other.transmit.payload[18] = exchange;
        pair.deliver(&other);
        pair.wire.clear();
        assert_eq!(pair.b.digest(), before, "exchange {exchange} changed a half-open IKE SA");
    }
    pair.deliver(&auth);
    pair.deliver_all();
    pair.assert_one_tunnel();
}

#[test]
fn an_answer_that_was_not_offered_is_no_answer() {
    for group in [true, false] {
        let mut pair = Pair::plain();
        pair.step();
        let answer = pair.pop();
        let mut whole = parse(&answer.transmit.payload).unwrap();
        for payload in &mut whole.payloads {
            match payload {
                Payload::Sa(sa) if !group => sa.proposals[0].transforms.truncate(1),
                Payload::Ke(ke) if group => ke.data.push(0),
                _ => {}
            }
        }
        let mut altered = answer.clone();
        altered.transmit.payload = encode(&whole.header, &whole.payloads);
        pair.deliver(&altered);
        assert!(pair.wire.is_empty(), "no IKE_AUTH follows");
        pair.deliver(&answer);
        pair.deliver_all();
        pair.assert_one_tunnel();
    }
}

#[test]
fn a_forged_first_answer_does_not_cost_the_attempt() {
    // The octets of the nonce are somebody else's: well-formed, and the keys will not fit.
    let mut pair = Pair::plain();
    pair.step();
    let answer = pair.pop();
    let mut whole = parse(&answer.transmit.payload).unwrap();
    whole.header.spi_r = IkeSpi(0xbad);
    for payload in &mut whole.payloads {
        if let Payload::Nonce(nonce) = payload {
            nonce[0] ^= 1;
        }
    }
    let mut forged = answer.clone();
    forged.transmit.payload = encode(&whole.header, &whole.payloads);
    pair.deliver(&forged);
    pair.deliver(&answer);
    let to_each: Vec<_> = pair.wire.iter().map(|d| d.header().spi_r).collect();
    assert_eq!(to_each, [IkeSpi(0xbad), answer.header().spi_r], "each answer is followed");
    for _ in 0..10 {
        whole.header.spi_r = IkeSpi(whole.header.spi_r.0 + 1);
        forged.transmit.payload = encode(&whole.header, &whole.payloads);
        pair.deliver(&forged);
    }
    assert_eq!(pair.wire.len(), 3, "but not without limit");
    pair.deliver_all();
    pair.assert_one_tunnel();
    assert!(pair.a.failures().is_empty());
}

#[test]
fn an_answer_that_was_refused_once_is_not_followed_again() {
    // Its keys would be the same, and the IVs used under them would begin anew. B answers a copy of A's first
    // request that was altered on the way, and A follows both answers.
    let mut pair = Pair::plain();
    let request = pair.pop();
    let mut altered = request.clone();
    let last = altered.transmit.payload.len() - 1;
    altered.transmit.payload[last] ^= 1;
    let wrong = pair.exchange(&altered);
    let right = pair.exchange(&request);
    let to_wrong = pair.exchange(&wrong);
    let to_right = pair.exchange(&right);
    let refusal = pair.exchange(&to_wrong);
    pair.deliver(&refusal);
    let before = pair.a.digest();
    pair.deliver(&wrong);
    assert_eq!(pair.a.digest(), before);
    assert!(pair.wire.is_empty(), "no second IKE_AUTH under the same keys");
    pair.deliver(&to_right);
    pair.deliver_all();
    pair.assert_one_tunnel();
    assert!(pair.a.failures().is_empty());
}

#[test]
fn hints_in_the_clear_lead_to_a_question_at_most() {
    let mut pair = Pair::established();
    pair.command(Side::A, Command::CheckLiveness);
    let question = pair.pop();
    let asked = question.header();
    for kind in [NotifyType::INVALID_IKE_SPI, NotifyType::AUTHENTICATION_FAILED, NotifyType::INVALID_SYNTAX] {
        for _ in 0..50 {
            let header = Header::new(
                asked.spi_i,
                asked.spi_r,
                ExchangeType::INFORMATIONAL,
                Flags::new(false, true),
                asked.message_id,
            );
            let forged = encode(&header, &[Payload::Notify(Notify::new(kind, Vec::new()))]);
            let (local, remote) = (question.transmit.local, question.transmit.remote);
            pair.input(Side::A, Input::Datagram { local, remote, payload: &forged });
        }
    }
    assert!(pair.wire.is_empty());
    pair.deliver(&question);
    pair.deliver_all();
    pair.run(std::time::Duration::from_secs(5));
    pair.assert_one_tunnel();
    let questions = pair.history[4..].iter().filter(|d| !d.is_response()).count();
    assert!(questions <= 2, "{questions}");
}

#[test]
fn zero_spis_and_impossible_flags_are_dropped() {
    let mut pair = Pair::plain();
    let request = pair.pop();
    let before = pair.b.digest();
    let whole = parse(&request.transmit.payload).unwrap();
    let with = |change: &dyn Fn(&mut Header)| {
        let mut header = whole.header;
        change(&mut header);
        encode(&header, &whole.payloads)
    };
    let variants = [
        with(&|h| h.spi_i = IkeSpi::ZERO),
        with(&|h| h.spi_r = IkeSpi(5)),
        with(&|h| h.message_id = 1),
        with(&|h| h.flags = Flags::new(false, false)),
        with(&|h| h.flags = Flags::new(true, true)),
        with(&|h| h.exchange = ExchangeType::IKE_AUTH),
    ];
    for payload in variants {
        let mut altered = request.clone();
        altered.transmit.payload = payload;
        pair.deliver(&altered);
        assert_eq!(pair.b.digest(), before);
        assert!(pair.wire.is_empty());
    }
}
