//! Traps of RFC 7296 §2.1 to §2.6, §2.21 and §2.25: who repeats, who may kill, what is ignored.
//!
//! One test for each rule, named after its section; the table is in `docs/ike-conformance.md`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/script.rs"]
mod script;
mod support;

use std::time::Duration;

use ike::wire::{
    Delete, ExchangeType, Flags, Header, NotifyType, Payload, PayloadType, ProtocolId, encode, parse,
    parse_header,
};
use ike::{Command, Failure, Input, Notice};
use model::IkeSpi;
use script::{
    Script, Target, authenticating, connected, esp_delete, half_open, ike_delete, notified, notify, served,
    served_with,
};
use support::{Side, config};

fn command(target: &mut Target, command: Command) -> Vec<u8> {
    target.input(Input::Command(command));
    target.last()
}

#[test]
fn rfc7296_2_1_a_repeated_request_gets_the_identical_octets_and_has_no_effect() {
    let (mut target, mut script) = served(1);
    let mut exchanges = vec![
        (ExchangeType::INFORMATIONAL, vec![]),
        (ExchangeType::CREATE_CHILD_SA, script.child_payloads(0x4000, Some(script.spi.get()))),
        (ExchangeType::INFORMATIONAL, vec![esp_delete(&[script.spi.get()])]),
    ];
    exchanges.push((ExchangeType::CREATE_CHILD_SA, script.ike_rekey_payloads(0xa77a)));
    exchanges.push((ExchangeType::INFORMATIONAL, vec![ike_delete()]));
    for (exchange, payloads) in exchanges {
        let request = script.ask(exchange, &payloads);
        let answer = target.hear(&request);
        assert_eq!(answer.len(), 1);
        let (before, children) = (target.digest(), target.children.len());
        for _ in 0..3 {
            assert_eq!(target.hear(&request), answer);
        }
        assert_eq!((target.digest(), target.children.len()), (before, children));
    }
}

#[test]
fn rfc7296_2_1_only_the_requester_repeats() {
    let (mut target, mut script) = served(2);
    let sent = target.sent.len();
    script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[]);
    target.run(Duration::from_secs(3_000));
    assert_eq!(target.sent.len(), sent + 1, "an answer is sent once for each time it is asked for");
    // Our own request goes out again until it is answered, unchanged.
    let (mut target, mut script) = connected(3);
    let request = command(&mut target, Command::CheckLiveness);
    let sent = target.sent.len();
    target.run(Duration::from_secs(3));
    let repeats: Vec<_> = target.sent[sent..].iter().map(|transmit| transmit.payload.clone()).collect();
    assert!(repeats.len() >= 2 && repeats.iter().all(|repeat| *repeat == request));
    script.answer(&mut target, &request, &[]);
    let sent = target.sent.len();
    target.run(Duration::from_secs(60));
    assert_eq!(target.sent.len(), sent);
}

#[test]
fn rfc7296_2_1_a_refused_ike_auth_is_answered_again_for_a_while() {
    let (mut target, mut script) = half_open(4);
    let payloads = script.auth_payloads_as(script.identity(), b"wrong");
    let request = script.ask(ExchangeType::IKE_AUTH, &payloads);
    let refusal = target.hear(&request);
    for _ in 0..10 {
        target.run(Duration::from_secs(1));
        assert_eq!(target.hear(&request), refusal, "the initiator repeats for some seconds");
    }
}

#[test]
fn rfc7296_2_2_message_ids_count_from_zero_in_each_direction_and_anew_in_a_new_ike_sa() {
    let (mut target, mut script) = connected(5);
    let ids: Vec<_> = target.sent.iter().map(|t| parse_header(&t.payload).unwrap().message_id).collect();
    assert_eq!(ids, [0, 1], "IKE_SA_INIT and IKE_AUTH");
    assert_eq!(script.next, 0, "the peer's own first request has 0");
    script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[]);
    let request = command(&mut target, Command::CheckLiveness);
    assert_eq!(parse_header(&request).unwrap().message_id, 2);
    script.answer(&mut target, &request, &[]);
    // A new IKE SA, made by us: both directions begin at zero.
    let mut pair = support::Pair::established();
    pair.command(Side::A, Command::RekeyIke);
    pair.deliver_all();
    let from = pair.history.len();
    pair.command(Side::A, Command::CheckLiveness);
    pair.command(Side::B, Command::CheckLiveness);
    let next: Vec<_> = pair.history[from..].iter().map(|d| d.header().message_id).collect();
    assert_eq!(next, [0, 0]);
}

#[test]
fn rfc7296_2_3_our_request_may_be_open_while_we_answer_theirs() {
    // Two windows of one: waiting for each other here is how daemons deadlock.
    for ours in [Command::CheckLiveness, Command::RekeyChild] {
        let (mut target, mut script) = connected(6);
        let open = command(&mut target, ours);
        let answer = script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[]);
        assert!(answer.is_empty());
        let payloads = script.child_payloads(0x4000, Some(script.spi.get()));
        let answer = script.exchange(&mut target, ExchangeType::CREATE_CHILD_SA, &payloads);
        assert!(answer.iter().any(|p| p.kind() == PayloadType::SA), "{ours:?}: {answer:?}");
        let sent = target.sent.len();
        target.run(Duration::from_millis(600));
        assert_eq!(target.sent[sent].payload, open, "ours is still open, and repeated");
    }
}

#[test]
fn rfc7296_2_3_a_request_outside_the_window_is_dropped() {
    let (mut target, mut script) = served(7);
    let next = script.next;
    for id in [next + 1, next + 2, next - 1, 0, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let header = script.header(ExchangeType::INFORMATIONAL, false, id);
        let request = script.seal(&header, &[ike_delete()]);
        target.ignores(&request, &format!("ID {id} where {next} is expected"));
    }
    script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[]);
    assert_eq!(target.holds(), (1, 1));
}

#[test]
fn rfc7296_2_4_nothing_in_the_clear_ends_an_ike_sa() {
    let (mut target, script) = served(8);
    let sets = [
        vec![ike_delete()],
        vec![esp_delete(&[script.spi.get()])],
        vec![notify(NotifyType::INVALID_IKE_SPI, &[])],
        vec![notify(NotifyType::INVALID_SPI, &script.spi.get().to_be_bytes())],
        vec![notify(NotifyType::AUTHENTICATION_FAILED, &[])],
        vec![notify(NotifyType::INVALID_SYNTAX, &[])],
        vec![notify(NotifyType::INITIAL_CONTACT, &[])],
    ];
    for payloads in &sets {
        for (exchange, response, id) in [(37, false, 2), (37, true, 0), (35, true, 1), (36, true, 0)] {
            let header = script.header(ExchangeType(exchange), response, id);
            target.ignores(&encode(&header, payloads), "an unprotected message");
        }
    }
    // While a request of ours is open, an error in the clear is a hint: one question at most, in a while.
    let (mut target, mut script) = connected(9);
    let question = command(&mut target, Command::CheckLiveness);
    let asked = parse_header(&question).unwrap();
    for payloads in &sets {
        for _ in 0..20 {
            let header = script.header(ExchangeType::INFORMATIONAL, true, asked.message_id);
            assert!(target.hear(&encode(&header, payloads)).is_empty());
        }
    }
    assert_eq!(target.holds(), (1, 1));
    let sent = target.sent.len();
    script.answer(&mut target, &question, &[]);
    assert!(target.sent.len() <= sent + 1, "one more question at most");
}

#[test]
fn rfc7296_2_4_death_is_concluded_only_from_an_unanswered_protected_request() {
    let mut config = config(Side::A);
    config.liveness.idle = Duration::from_secs(10);
    let (mut target, mut script) = script::connected_with(10, config);
    let sent = target.sent.len();
    target.run(Duration::from_secs(9));
    assert_eq!(target.sent.len(), sent, "not asked before it has been silent long enough");
    // ESP is a sign of life: the question is put off.
    let spi_in = target.children.values().next().unwrap().spi_in;
    target.input(Input::EspReceived { spi_in });
    target.run(Duration::from_secs(9));
    assert_eq!(target.sent.len(), sent);
    target.run(Duration::from_secs(2));
    let question = target.last();
    assert_eq!(parse_header(&question).unwrap().exchange, ExchangeType::INFORMATIONAL);
    script.answer(&mut target, &question, &[]);
    assert_eq!(target.holds(), (1, 1));
    target.run(Duration::from_secs(60));
    assert!(target.notices.iter().any(|notice| matches!(notice, Notice::PeerUnreachable { .. })));
    assert_eq!(target.children.len(), 0, "the dead peer's child is gone");
}

#[test]
fn rfc7296_2_5_unknown_payloads_are_skipped_unless_critical_inside_sk_too() {
    for kind in [1, 32, 49, 52, 54, 127, 128, 255] {
        for critical in [false, true] {
            let unknown = Payload::Unknown { kind: PayloadType(kind), critical, data: vec![1, 2, 3] };
            let (mut target, mut script) = served(11);
            let answer =
                script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[unknown.clone(), ike_delete()]);
            if critical {
                let [Payload::Notify(notify)] = &answer[..] else { panic!("{answer:?}") };
                assert_eq!(notify.kind, NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD);
                assert_eq!(notify.data, [kind], "it names the payload");
                assert_eq!(target.holds(), (1, 1), "the whole request is rejected");
            } else {
                assert!(answer.is_empty());
                assert_eq!(target.holds(), (0, 0), "the rest of the request counts");
            }
            let (mut target, mut script) = half_open(12);
            let mut payloads = script.auth_payloads();
            payloads.insert(0, unknown);
            let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
            assert_eq!(notified(&answer).is_empty(), !critical, "{answer:?}");
            assert_eq!(target.children.len(), usize::from(!critical));
        }
    }
}

#[test]
fn rfc7296_2_5_the_critical_bit_of_known_types_and_the_minor_version_are_ignored() {
    let mut target = Target::new(Side::B, config(Side::B));
    let mut script = Script::initiator(13);
    let mut request = script.first(&script.first_payloads());
    request[17] = 0x2f;
    request[19] |= 0x10; // "I could speak a higher version"
    let mut at = 28;
    while at < request.len() {
        request[at + 1] |= 0x80;
        at += usize::from(u16::from_be_bytes([request[at + 2], request[at + 3]]));
    }
    script.request.clone_from(&request);
    let answer = target.hear(&request).remove(0);
    assert_eq!((answer[17], answer[19]), (0x20, 0x20), "ours says 2.0, and no version bit");
    let message = parse(&answer).unwrap();
    assert!(message.payloads.iter().all(|p| !matches!(p, Payload::Unknown { .. })));
    let mut at = 28;
    while at < answer.len() {
        assert_eq!(answer[at + 1], 0, "we never set the critical bit on what everybody knows");
        at += usize::from(u16::from_be_bytes([answer[at + 2], answer[at + 3]]));
    }
    script.hear_first(&answer);
    let payloads = script.auth_payloads();
    script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(target.holds(), (1, 1));
}

#[test]
fn rfc7296_2_5_payloads_may_come_in_any_order() {
    for rotation in 0..5 {
        let mut target = Target::new(Side::B, config(Side::B));
        let mut script = Script::initiator(14);
        let mut payloads = script.first_payloads();
        payloads.rotate_left(rotation);
        let answer = target.hear(&script.first(&payloads)).remove(0);
        script.hear_first(&answer);
        let mut payloads = script.auth_payloads();
        payloads.rotate_left(rotation);
        script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(target.holds(), (1, 1), "rotated by {rotation}");
    }
}

#[test]
fn rfc7296_2_6_the_cookie_comes_first_and_all_else_is_repeated_unchanged() {
    let mut target = Target::new(Side::A, config(Side::A));
    let mut script = Script::responder(15);
    let first = parse(&target.last()).unwrap();
    script.hear_first(&target.last());
    script.spi_r = IkeSpi::ZERO; // a stateless answer has no responder SPI
    let cookie = notify(NotifyType::COOKIE, &[7; 64]);
    let demand = script.first(std::slice::from_ref(&cookie));
    let second = parse(&target.hear(&demand)[0]).unwrap();
    assert_eq!(second.header, ike::wire::Header { next_payload: PayloadType::NOTIFY, ..first.header });
    assert_eq!(second.payloads[0], cookie);
    assert_eq!(second.payloads[1..], first.payloads[..]);
    // Another cookie replaces the first; a cookie of no or too many octets is none.
    let other = notify(NotifyType::COOKIE, &[8; 1]);
    let third = parse(&target.hear(&script.first(std::slice::from_ref(&other)))[0]).unwrap();
    assert_eq!(third.payloads[0], other);
    assert_eq!(third.payloads[1..], first.payloads[..]);
    for length in [0, 65, 1_000] {
        let bad = script.first(&[notify(NotifyType::COOKIE, &vec![9; length])]);
        target.ignores(&bad, &format!("a cookie of {length} octets"));
    }
}

#[test]
fn rfc7296_2_6_a_cookie_is_bound_to_nonce_address_and_spi_and_grows_old() {
    let mut config = config(Side::B);
    config.limits.cookie_threshold = 0;
    let ask = |target: &mut Target, script: &mut Script, cookie: &Payload| {
        let mut payloads = script.first_payloads();
        payloads.insert(0, cookie.clone());
        let request = script.first(&payloads);
        parse(&target.hear(&request)[0]).unwrap().payloads
    };
    let mut target = Target::new(Side::B, config);
    let mut script = Script::initiator(16);
    let request = script.first(&script.first_payloads());
    let before = target.digest();
    let cookie = parse(&target.hear(&request)[0]).unwrap();
    assert_eq!(cookie.header.spi_r, IkeSpi::ZERO);
    assert_eq!(target.digest(), before, "a demand for a cookie keeps nothing");
    let cookie = cookie.payloads[0].clone();
    // Another SPI, another nonce: another initiator.
    let demanded = |payloads: &[Payload]| notified(payloads) == [NotifyType::COOKIE];
    let mut other = Script::initiator(17);
    assert!(demanded(&ask(&mut target, &mut other, &cookie)));
    other.ni.clone_from(&script.ni);
    assert!(demanded(&ask(&mut target, &mut other, &cookie)), "the SPI differs");
    other.spi_i = script.spi_i;
    other.ni[0] ^= 1;
    assert!(demanded(&ask(&mut target, &mut other, &cookie)), "the nonce differs");
    for bit in 0..64 {
        let Payload::Notify(mut forged) = cookie.clone() else { panic!("a cookie") };
        forged.data[bit / 8] ^= 1 << (bit % 8);
        assert!(demanded(&ask(&mut target, &mut script, &Payload::Notify(forged))));
    }
    assert_eq!(target.digest(), before);
    // Old ones are refused, fresh ones are good.
    target.run(Duration::from_secs(59));
    let answer = ask(&mut target, &mut script, &cookie);
    assert!(answer.iter().any(|payload| payload.kind() == PayloadType::KE), "{answer:?}");
    for _ in 0..3 {
        target.run(Duration::from_secs(61));
        ask(&mut target, &mut other, &cookie);
    }
    assert!(demanded(&ask(&mut target, &mut script, &cookie)), "after three minutes it is worthless");
}

#[test]
fn rfc7296_2_6_1_cookie_and_invalid_ke_in_either_order_keep_the_cookie_and_end() {
    let groups = |config: &mut ike::Config| {
        config.ike_proposals[0].groups = vec![ike::wire::DhGroup::ECP_256, ike::wire::DhGroup::CURVE25519];
    };
    for cookie_first in [true, false] {
        let mut config = config(Side::A);
        groups(&mut config);
        let mut target = Target::new(Side::A, config);
        let header = parse_header(&target.last()).unwrap();
        let say = |target: &mut Target, payload: Payload| {
            let header = Header::new(
                header.spi_i,
                IkeSpi::ZERO,
                ExchangeType::IKE_SA_INIT,
                Flags::new(false, true),
                0,
            );
            let answers = target.hear(&encode(&header, &[payload]));
            parse(answers.first().expect("asked once more")).unwrap().payloads
        };
        let cookie = notify(NotifyType::COOKIE, &[7; 20]);
        let group = notify(NotifyType::INVALID_KE_PAYLOAD, &31_u16.to_be_bytes());
        let order = if cookie_first { [cookie.clone(), group] } else { [group, cookie.clone()] };
        say(&mut target, order[0].clone());
        let second = say(&mut target, order[1].clone());
        assert_eq!(second[0], cookie, "the cookie is kept and stands first");
        let ke = second.iter().find_map(|p| if let Payload::Ke(ke) = p { Some(ke.group.0) } else { None });
        assert_eq!(ke, Some(31));
        // A responder that goes on like this comes to an end.
        for n in 0..50_u8 {
            let header = Header::new(
                header.spi_i,
                IkeSpi::ZERO,
                ExchangeType::IKE_SA_INIT,
                Flags::new(false, true),
                0,
            );
            target.hear(&encode(&header, &[notify(NotifyType::COOKIE, &[n; 8])]));
        }
        assert!(target.sent.len() < 12, "{} requests", target.sent.len());
        target.run(Duration::from_secs(4));
        assert!(target.failures().contains(&&Failure::NegotiationLoop));
    }
}

#[test]
fn rfc7296_2_21_1_an_unauthenticated_error_never_ends_an_attempt_that_can_succeed() {
    let kinds = [1, 4, 5, 7, 9, 11, 14, 17, 24, 34, 35, 36, 37, 38, 43, 44, 8_192, 16_383];
    for kind in kinds.map(NotifyType) {
        // IKE_SA_INIT is out.
        let mut target = Target::new(Side::A, config(Side::A));
        let mut script = Script::responder(18);
        script.hear_first(&target.last());
        let lie = script.first(&[notify(kind, &[])]);
        assert!(target.hear(&lie).is_empty());
        let truth = script.first(&script.first_payloads());
        let auth = target.hear(&truth).remove(0);
        // IKE_AUTH is out.
        let header = script.header(ExchangeType::IKE_AUTH, true, 1);
        assert!(target.hear(&encode(&header, &[notify(kind, &[])])).is_empty());
        let payloads = script.auth_payloads();
        script.answer(&mut target, &auth, &payloads);
        assert_eq!(target.holds(), (1, 1), "{kind} in the clear ended an attempt");
    }
}

#[test]
fn rfc7296_2_21_2_a_refused_child_leaves_the_ike_sa_and_auth_failure_is_inside_sk() {
    let refusals = [NotifyType::NO_PROPOSAL_CHOSEN, NotifyType::TS_UNACCEPTABLE, NotifyType(8_192)];
    for kind in refusals {
        let (mut target, mut script, auth) = authenticating(19);
        let mut payloads = script.auth_payloads();
        payloads.truncate(2);
        payloads.push(notify(kind, &[]));
        script.answer(&mut target, &auth, &payloads);
        assert_eq!((target.endpoint.status().ike_sas, target.children.len()), (1, 0), "{kind}");
        assert!(target.endpoint.status().ike.unwrap().established.is_some());
    }
    // As responder: no common ESP algorithm, or no common selector.
    for (missing, said) in [(2, NotifyType::NO_PROPOSAL_CHOSEN), (3, NotifyType::TS_UNACCEPTABLE)] {
        let (mut target, mut script) = half_open(20);
        let mut payloads = script.auth_payloads();
        match &mut payloads[missing] {
            Payload::Sa(sa) => sa.proposals[0].transforms[0].id = 999,
            Payload::TsI(selectors) => selectors[0] = model::TrafficSelector::any_v6(),
            _ => panic!("SA and TSi stand third and fourth"),
        }
        let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(notified(&answer), [said]);
        assert!(answer.iter().any(|p| p.kind() == PayloadType::AUTH), "the IKE SA is established");
        assert_eq!(target.holds(), (1, 0));
    }
}

#[test]
fn rfc7296_2_21_3_invalid_syntax_inside_sk_is_fatal_and_answered() {
    let (mut target, mut script) = served(21);
    let answer = script.exchange(
        &mut target,
        ExchangeType::INFORMATIONAL,
        &[script::raw(PayloadType::DELETE, &[3, 4, 0, 9])],
    );
    assert_eq!(notified(&answer), [NotifyType::INVALID_SYNTAX]);
    assert_eq!(target.holds(), (0, 0));
}

#[test]
fn rfc7296_2_21_4_a_message_of_an_unknown_ike_sa_gets_no_answer() {
    let mut target = Target::new(Side::B, config(Side::B));
    let (_, mut stranger) = served(22);
    for (exchange, response) in [
        (ExchangeType::INFORMATIONAL, false),
        (ExchangeType::INFORMATIONAL, true),
        (ExchangeType::IKE_AUTH, false),
    ] {
        let message = stranger.seal(&stranger.header(exchange, response, 5), &[ike_delete()]);
        target.ignores(&message, "a message of an IKE SA that is not ours");
    }
}

#[test]
fn rfc7296_2_25_temporary_failure_means_again_soon_and_not_for_ever_at_once() {
    let (mut target, mut script) = connected(23);
    let mut request = command(&mut target, Command::RekeyChild);
    let begun = target.now;
    for _ in 0..10 {
        script.answer(&mut target, &request, &[notify(NotifyType::TEMPORARY_FAILURE, &[])]);
        assert_eq!(target.holds(), (1, 1));
        let sent = target.sent.len();
        while target.sent.len() == sent {
            let (at, _) = target.endpoint.poll_timeout().unwrap();
            target.now = target.now.max(at);
            target.tick();
        }
        request = target.last();
    }
    let took = target.now - begun;
    assert!((10..=40).contains(&took.as_secs()), "ten refusals cost {took:?}");
}

#[test]
fn rfc7296_2_25_child_sa_not_found_drops_the_old_child_silently_and_makes_one_new() {
    let (mut target, mut script) = connected(24);
    let request = command(&mut target, Command::RekeyChild);
    script.answer(&mut target, &request, &[notify(NotifyType::CHILD_SA_NOT_FOUND, &[])]);
    assert_eq!(target.children.len(), 0);
    let next = script.open(&target.last());
    assert_eq!(next.header.exchange, ExchangeType::CREATE_CHILD_SA);
    assert!(!notified(&next.payloads).contains(&NotifyType::REKEY_SA), "a new child, not a rekey");
    assert!(next.payloads.iter().all(|p| p.kind() != PayloadType::DELETE), "nothing to delete");
    let payloads = script.child_payloads(0x4000, None);
    let request = target.last();
    script.answer(&mut target, &request, &payloads);
    assert_eq!(target.holds(), (1, 1));
}

#[test]
fn rfc7296_3_10_an_unknown_error_refuses_the_request_and_an_unknown_status_is_ignored() {
    // In an answer: an unknown error type means that the request failed.
    let (mut target, mut script) = connected(25);
    let request = command(&mut target, Command::RekeyChild);
    let mut payloads = script.child_payloads(0x4000, None);
    payloads.insert(0, notify(NotifyType(9_999), &[]));
    script.answer(&mut target, &request, &payloads);
    assert_eq!(target.children.len(), 1);
    assert_eq!(target.children.values().next().unwrap().spi_out, script.spi, "the old one stays");
    // An unknown status type says nothing.
    let (mut target, mut script) = connected(26);
    let request = command(&mut target, Command::RekeyChild);
    let mut payloads = script.child_payloads(0x4000, None);
    payloads.insert(0, notify(NotifyType(40_959), &[1; 30]));
    script.answer(&mut target, &request, &payloads);
    assert!(target.children.values().any(|child| child.spi_out.get() == 0x4000));
    // In a request both are ignored where they decide nothing.
    let (mut target, mut script) = served(27);
    for kind in [9_999, 16_383, 40_959, 65_535] {
        let answer =
            script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[notify(NotifyType(kind), &[])]);
        assert!(answer.is_empty(), "{kind}: {answer:?}");
    }
    assert_eq!(target.holds(), (1, 1));
}

#[test]
fn rfc7296_3_11_a_delete_is_answered_with_our_own_spis_and_crossing_ones_are_left_out() {
    let (mut target, mut script) = served(28);
    let ours = target.children.values().next().unwrap().spi_in.get();
    let theirs = script.spi.get();
    let answer = script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[esp_delete(&[theirs])]);
    assert_eq!(answer, [esp_delete(&[ours])]);
    let answer = script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[esp_delete(&[theirs])]);
    assert!(answer.is_empty(), "deleted twice, named once");
    // Crossing: we have asked to delete it ourselves.
    let mut config = config(Side::B);
    config.child_lifetime.hard = Duration::from_secs(10);
    config.child_lifetime.rekey_after = Duration::from_secs(9_000_000);
    let (mut target, mut script) = served_with(29, config);
    target.run(Duration::from_secs(10));
    let deleting = script.open(&target.last());
    assert!(matches!(&deleting.payloads[..], [Payload::Delete(Delete { protocol: ProtocolId::ESP, .. })]));
    let theirs = script.spi.get();
    let answer = script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[esp_delete(&[theirs])]);
    assert!(answer.is_empty(), "{answer:?}");
    // For the IKE SA the SPI size is zero, and the answer is empty.
    let answer = script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[ike_delete()]);
    assert!(answer.is_empty());
    assert_eq!(target.endpoint.status().ike_sas, 0);
}
