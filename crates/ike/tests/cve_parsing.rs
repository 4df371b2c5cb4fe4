//! Octets that made other IKE daemons read, write or assert where they should not.
//!
//! Each test is named after the CVE whose attack it carries out on a real endpoint; the table is in
//! `docs/ike-conformance.md`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/script.rs"]
mod script;
mod support;

use ike::crypto::{FragmentHead, GROUPS, KeyPair};
use ike::wire::{
    DhGroup, ExchangeType, HEADER_LEN, KeyExchange, Notify, NotifyType, Payload, PayloadType, Proposal,
    ProtocolId, SecurityAssociation, Transform, TransformType, encode, parse, parse_header,
};
use ike::{DropReason, IkeProposal};
use script::{
    Dice, Script, Target, authenticating, connected, esp_delete, half_open, ike_delete, notified, notify,
    raw, served,
};
use support::{Side, config};

/// A target in every state, with a script that has the keys where there are any.
fn everywhere() -> Vec<(&'static str, Target, Script)> {
    let waiting = (Target::new(Side::B, config(Side::B)), Script::initiator(11));
    let mut initiating = Target::new(Side::A, config(Side::A));
    let mut script = Script::responder(12);
    script.hear_first(&initiating.last());
    initiating.tick();
    let (half, half_script) = half_open(13);
    let (auth, auth_script, _) = authenticating(14);
    let (served, served_script) = served(15);
    let (connected, connected_script) = connected(16);
    vec![
        ("waiting", waiting.0, waiting.1),
        ("initiating", initiating, script),
        ("half-open", half, half_script),
        ("authenticating", auth, auth_script),
        ("established as responder", served, served_script),
        ("established as initiator", connected, connected_script),
    ]
}

/// A first request with its payloads changed; it must be refused without state.
fn first_request_is_refused(change: impl FnOnce(&mut Vec<Payload>), what: &str) -> Vec<NotifyType> {
    let mut target = Target::new(Side::B, config(Side::B));
    let mut script = Script::initiator(17);
    let mut payloads = script.first_payloads();
    change(&mut payloads);
    let before = target.digest();
    let answers = target.hear(&script.first(&payloads));
    assert_eq!(target.digest(), before, "{what}");
    assert_eq!(target.holds(), (0, 0), "{what}");
    answers.iter().flat_map(|answer| notified(&parse(answer).unwrap().payloads)).collect()
}

#[test]
fn cve_2023_41913_a_public_value_of_any_other_length_is_refused_before_arithmetic() {
    let lengths = (0..=70).chain([127, 128, 129, 255, 256, 257, 512, 513, 1024, 4096, 16_384, 60_000]);
    for length in lengths.filter(|length| *length != 32) {
        let bad = Payload::Ke(KeyExchange { group: DhGroup::CURVE25519, data: vec![3; length] });
        // IKE_SA_INIT to the responder, and from it.
        let said = first_request_is_refused(|p| p[1] = bad.clone(), &format!("{length} octets"));
        assert_eq!(said, [NotifyType::INVALID_SYNTAX]);
        let mut target = Target::new(Side::A, config(Side::A));
        let mut script = Script::responder(18);
        script.hear_first(&target.last());
        let mut payloads = script.first_payloads();
        payloads[1] = bad.clone();
        let answer = script.first(&payloads);
        assert!(target.hear(&answer).is_empty(), "no IKE_AUTH follows");
        let good = script.first(&script.first_payloads());
        assert_eq!(target.hear(&good).len(), 1, "the attempt goes on with the true answer");
    }
    // CREATE_CHILD_SA, of a child and of the IKE SA.
    for length in [0, 1, 31, 33, 64, 60_000] {
        for ike in [false, true] {
            let (mut target, mut script) = served(19);
            let mut payloads =
                if ike { script.ike_rekey_payloads(0xa77a) } else { script.child_payloads(0x4000, None) };
            for payload in &mut payloads {
                if let Payload::Ke(ke) = payload {
                    ke.data = vec![3; length];
                }
            }
            let answer = script.exchange(&mut target, ExchangeType::CREATE_CHILD_SA, &payloads);
            assert_eq!(notified(&answer), [NotifyType::INVALID_SYNTAX], "{length} octets");
            assert_eq!(target.children.len(), 0, "INVALID_SYNTAX is fatal, and complete");
        }
    }
}

#[test]
fn cve_2014_9221_every_number_of_a_group_has_an_answer() {
    for number in (0..=u16::MAX).filter(|n| *n < 1_100 || *n > 65_000 || n % 97 == 0) {
        if DhGroup(number) == DhGroup::CURVE25519 {
            continue;
        }
        let group = DhGroup(number);
        // Offered with ours, and guessed.
        let said = first_request_is_refused(
            |p| {
                if let Payload::Sa(sa) = &mut p[0] {
                    sa.proposals[0].transforms.push(Transform::group(group));
                }
                p[1] = Payload::Ke(KeyExchange { group, data: vec![5; 32] });
            },
            "a strange group",
        );
        assert_eq!(said, [NotifyType::INVALID_KE_PAYLOAD], "group {number}");
        // Offered alone.
        let said = first_request_is_refused(
            |p| {
                if let Payload::Sa(sa) = &mut p[0] {
                    *sa.proposals[0].transforms.last_mut().unwrap() = Transform::group(group);
                }
                p[1] = Payload::Ke(KeyExchange { group, data: vec![5; 32] });
            },
            "a strange group alone",
        );
        assert_eq!(said, [NotifyType::NO_PROPOSAL_CHOSEN], "group {number}");
    }
    // INVALID_KE_PAYLOAD that asks an initiator for any of them leads to no request in that group.
    for number in (0..=u16::MAX).step_by(61).chain(1_020..1_040) {
        let mut target = Target::new(Side::A, config(Side::A));
        let mut script = Script::responder(20);
        script.hear_first(&target.last());
        let answer = script.first(&[notify(NotifyType::INVALID_KE_PAYLOAD, &number.to_be_bytes())]);
        assert!(target.hear(&answer).is_empty(), "group {number} was not offered");
    }
}

/// Public values that no honest peer sends.
fn degenerate(group: DhGroup) -> Vec<Vec<u8>> {
    let length = KeyPair::generate(group, &mut Dice(1)).unwrap().public().len();
    let mut one = vec![0; length];
    one[length - 1] = 1;
    let mut values = vec![vec![0; length]];
    if group == DhGroup::CURVE25519 {
        one[length - 1] = 0;
        one[0] = 1;
        // p - 1, p, p + 1 and the points of order 8, little endian (RFC 7748 §6.1).
        let mut p = vec![0xff; 32];
        (p[0], p[31]) = (0xec, 0x7f);
        values.push(p.clone());
        p[0] = 0xed;
        values.push(p.clone());
        p[0] = 0xee;
        values.push(p);
    } else if group.name().unwrap().starts_with("MODP") {
        // The modulus, one less and one more; all of them end with 64 ones.
        let modulus = modulus(group);
        let last = length - 1;
        let (mut less, mut more) = (modulus.clone(), modulus.clone());
        less[last] -= 1;
        more[last - 7..].fill(0);
        more[last - 8] += 1;
        values.extend([modulus, less, more, vec![0xff; length]]);
    } else {
        values.push(vec![0xff; length]);
        // Off the curve: x = 1 with y = 1.
        let mut off = one.clone();
        off[length / 2 - 1] = 1;
        values.push(off);
    }
    values.push(one);
    values
}

/// The modulus of a MODP group, from the source that `tests/crypto_groups.rs` holds against its definition.
fn modulus(group: DhGroup) -> Vec<u8> {
    let source = include_str!("../src/crypto/kx/primes.rs");
    let name = format!("{}:", group.name().unwrap());
    let rest = &source[source.find(&name).unwrap()..];
    let literal = rest.split('"').nth(1).unwrap();
    let digits: String = literal.chars().filter(char::is_ascii_hexdigit).collect();
    (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap()).collect()
}

#[test]
fn cve_2015_3240_degenerate_public_values_are_refused_in_every_group_and_leave_no_state() {
    for group in GROUPS {
        let proposal = || IkeProposal { groups: vec![group], ..support::ike_proposal() };
        for value in degenerate(group) {
            let mut config = config(Side::B);
            config.ike_proposals = vec![proposal()];
            let mut target = Target::new(Side::B, config);
            let mut script = Script::initiator(21);
            let mut payloads = script.first_payloads();
            if let Payload::Sa(sa) = &mut payloads[0] {
                *sa.proposals[0].transforms.last_mut().unwrap() = Transform::group(group);
            }
            payloads[1] = Payload::Ke(KeyExchange { group, data: value });
            let before = target.digest();
            let answers = target.hear(&script.first(&payloads));
            assert_eq!(target.digest(), before, "{group}");
            let said = notified(&parse(&answers[0]).unwrap().payloads);
            assert_eq!(said, [NotifyType::INVALID_SYNTAX], "{group}");
        }
    }
    // From a responder: no IKE_AUTH follows, and the true answer still counts.
    for value in degenerate(DhGroup::CURVE25519) {
        let mut target = Target::new(Side::A, config(Side::A));
        let mut script = Script::responder(22);
        script.hear_first(&target.last());
        let mut payloads = script.first_payloads();
        payloads[1] = Payload::Ke(KeyExchange { group: DhGroup::CURVE25519, data: value });
        let bad = script.first(&payloads);
        assert!(target.hear(&bad).is_empty());
        let good = script.first(&script.first_payloads());
        assert_eq!(target.hear(&good).len(), 1);
    }
}

#[test]
fn cve_2013_6076_2016_1287_2026_12413_fragments_of_any_numbering_change_nothing_unless_negotiated() {
    // The script does not announce that it takes fragments: an SKF payload counts as unprotected.
    for (state, mut target, mut script) in everywhere() {
        let next = script.next;
        for exchange in [ExchangeType::IKE_SA_INIT, ExchangeType::IKE_AUTH, ExchangeType::INFORMATIONAL] {
            for (number, total) in
                [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (1, 2), (2, 2), (1, 65_535), (65_535, 65_535)]
            {
                for response in [false, true] {
                    let header = script.header(exchange, response, next);
                    let body = [&u16::to_be_bytes(number)[..], &u16::to_be_bytes(total), &[5; 60]].concat();
                    let forged = encode(&header, &[raw(PayloadType::SKF, &body)]);
                    let before = target.holds();
                    if exchange == ExchangeType::IKE_SA_INIT {
                        // The first exchange is never fragmented (RFC 7383 §2.5): refused like any bad one.
                        target.hear(&forged);
                    } else {
                        target.ignores(&forged, &format!("{state}: fragment {number} of {total}"));
                    }
                    assert_eq!(target.holds(), before, "{state}");
                    if script.keys.is_some() && state != "initiating" && number > 0 && number <= total {
                        let head = FragmentHead { first: PayloadType::DELETE, number, total };
                        let sealed = script.seal_fragment(&header, head, &[0, 0, 0, 8, 1, 0, 0, 0]);
                        if exchange != ExchangeType::IKE_SA_INIT {
                            target.ignores(&sealed, &format!("{state}: authentic {number} of {total}"));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn cve_2015_3991_another_major_version_is_never_read_as_ours() {
    for (state, mut target, script) in everywhere() {
        let header = script.header(ExchangeType::INFORMATIONAL, false, 0);
        for major in (0..16_u8).filter(|major| *major != 2) {
            for exchange in [2, 4, 5, 6, 34, 35, 36, 37] {
                for kind in 0..=255 {
                    let mut message = encode(&header, &[raw(PayloadType(kind), &[0; 24])]);
                    message[17] = major << 4;
                    message[18] = exchange;
                    let before = target.holds();
                    let digest = target.digest();
                    let answers = target.hear(&message);
                    if state != "initiating" {
                        assert_eq!(target.digest(), digest, "{state}: version {major}");
                    }
                    assert_eq!(target.holds(), before);
                    // IKEv1 gets nothing; a later version learns which one we speak (RFC 7296 §2.5).
                    assert_eq!(answers.len(), usize::from(major > 2), "{state}: version {major}");
                    for answer in answers {
                        let said = notified(&parse(&answer).unwrap().payloads);
                        assert_eq!(said, [NotifyType::INVALID_MAJOR_VERSION]);
                    }
                }
            }
        }
    }
}

#[test]
fn cve_2013_4564_datagrams_shorter_than_they_say_or_than_a_header_are_dropped() {
    for (state, mut target, script) in everywhere() {
        for length in 0..HEADER_LEN {
            for fill in [0, 0x20, 0xff] {
                target.ignores(&vec![fill; length], &format!("{state}: {length} octets"));
            }
        }
        let header = script.header(ExchangeType::INFORMATIONAL, false, 0);
        let whole = encode(&header, &[raw(PayloadType::SK, &[5; 64])]);
        let lengths = (0..200_u32).chain([0x7fff_ffff, 0x8000_0000, u32::MAX - 27, u32::MAX]);
        for length in lengths.filter(|length| usize::try_from(*length) != Ok(whole.len())) {
            let mut wrong = whole.clone();
            wrong[24..28].copy_from_slice(&length.to_be_bytes());
            target.ignores(&wrong, &format!("{state}: a length of {length}"));
            assert!(parse_header(&wrong).is_err());
        }
    }
}

/// Bodies of TS payloads that are wrong one way each (RFC 7296 §3.13).
fn bad_selectors() -> Vec<Vec<u8>> {
    let v4: &[u8] = &[7, 0, 0, 16, 0, 0, 0xff, 0xff, 10, 0, 0, 0, 10, 255, 255, 255];
    let v6: Vec<u8> = [&[8, 0, 0, 40, 0, 0, 0xff, 0xff][..], &[0; 16], &[0xff; 16]].concat();
    let head = |count: u8| vec![count, 0, 0, 0];
    let edit = |at: usize, value: u8| {
        let mut one = v4.to_vec();
        one[at] = value;
        [head(1), one].concat()
    };
    let mut bad = vec![
        vec![],
        vec![1],
        head(0),
        head(1),
        head(255),
        [head(2), v4.to_vec()].concat(),
        [head(0), v4.to_vec()].concat(),
        [head(1), v4.to_vec(), v4.to_vec()].concat(),
        edit(0, 8),    // IPv6 with the length of IPv4
        edit(3, 0),    // length 0
        edit(3, 3),    // shorter than its own head
        edit(3, 15),   // an octet short
        edit(3, 17),   // an octet long
        edit(2, 0xff), // far beyond the payload
        edit(12, 9),   // end below start
        [head(1), vec![7, 0, 0, 16, 0xff, 0xff, 0, 1, 10, 0, 0, 0, 10, 0, 0, 1]].concat(),
        [head(1), v6[..39].to_vec()].concat(),
    ];
    let mut seven = v6.clone();
    seven[0] = 7;
    bad.push([head(1), seven].concat());
    let mut cut = [head(1), v4.to_vec()].concat();
    while cut.pop().is_some() {
        bad.push(cut.clone());
    }
    bad
}

#[test]
fn cve_2023_23009_malformed_traffic_selectors_get_invalid_syntax_and_no_child() {
    for body in bad_selectors() {
        for kind in [PayloadType::TSI, PayloadType::TSR] {
            let swap = |payloads: &mut Vec<Payload>| {
                for payload in payloads.iter_mut().filter(|payload| payload.kind() == kind) {
                    *payload = raw(kind, &body);
                }
            };
            let (mut target, mut script) = half_open(23);
            let mut payloads = script.auth_payloads();
            swap(&mut payloads);
            let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
            assert_eq!(notified(&answer), [NotifyType::INVALID_SYNTAX], "{body:?}");
            assert_eq!(target.holds(), (0, 0));
            let (mut target, mut script) = served(24);
            let mut payloads = script.child_payloads(0x4000, None);
            swap(&mut payloads);
            let answer = script.exchange(&mut target, ExchangeType::CREATE_CHILD_SA, &payloads);
            assert_eq!(notified(&answer), [NotifyType::INVALID_SYNTAX], "{body:?}");
            assert_eq!(target.children.len(), 0);
            // In an answer: the initiator has no tunnel, and does not crash.
            let (mut target, mut script, auth) = authenticating(25);
            let mut payloads = script.auth_payloads();
            swap(&mut payloads);
            script.answer(&mut target, &auth, &payloads);
            assert_eq!(target.children.len(), 0, "{body:?}");
        }
    }
}

#[test]
fn cve_2023_38710_rekey_sa_with_any_protocol_and_spi_size_is_answered() {
    for protocol in 0..=255_u8 {
        for size in [0, 1, 2, 3, 4, 5, 8, 16, 255] {
            let (mut target, mut script) = if protocol < 8 || size == 4 { served(26) } else { continue };
            let mut payloads = script.child_payloads(0x4000, None);
            let right = protocol == 3 && size == 4;
            let mut spi = script.spi.get().to_be_bytes().to_vec();
            spi.resize(size, 0xaa);
            let kind = NotifyType::REKEY_SA;
            let rekey = Notify { protocol: ProtocolId(protocol), spi, kind, data: vec![] };
            payloads.insert(0, Payload::Notify(rekey));
            let answer = script.exchange(&mut target, ExchangeType::CREATE_CHILD_SA, &payloads);
            if right {
                assert_eq!(target.children.len(), 2, "the one right combination rekeys");
            } else {
                assert_eq!(notified(&answer), [NotifyType::CHILD_SA_NOT_FOUND], "{protocol}/{size}");
                assert_eq!(target.holds(), (1, 1), "nothing is lost");
            }
        }
    }
}

#[test]
fn cve_2016_5391_an_ike_proposal_with_a_part_missing_is_refused() {
    for kind in [TransformType::ENCR, TransformType::PRF, TransformType::DH] {
        let said = first_request_is_refused(
            |p| {
                if let Payload::Sa(sa) = &mut p[0] {
                    sa.proposals[0].transforms.retain(|transform| transform.kind != kind);
                }
            },
            "a part is missing",
        );
        assert_eq!(said, [NotifyType::NO_PROPOSAL_CHOSEN], "{kind}");
    }
    // CBC without integrity, and in an IKE rekey inside an established IKE SA too.
    for kind in [TransformType::ENCR, TransformType::PRF, TransformType::DH] {
        let (mut target, mut script) = served(27);
        let mut payloads = script.ike_rekey_payloads(0xa77a);
        if let Payload::Sa(sa) = &mut payloads[0] {
            sa.proposals[0].transforms.retain(|transform| transform.kind != kind);
        }
        let answer = script.exchange(&mut target, ExchangeType::CREATE_CHILD_SA, &payloads);
        assert_eq!(notified(&answer), [NotifyType::NO_PROPOSAL_CHOSEN], "{kind}");
        assert_eq!(target.holds(), (1, 1));
    }
    let mut cbc = config(Side::B);
    cbc.ike_proposals = vec![IkeProposal {
        encryption: vec![ike::crypto::IkeCipher::AesCbc(model::KeyBits::B128)],
        integrity: vec![ike::crypto::Integrity::HmacSha2_256_128],
        ..support::ike_proposal()
    }];
    let mut target = Target::new(Side::B, cbc);
    let mut script = Script::initiator(28);
    let mut payloads = script.first_payloads();
    payloads[0] = Payload::Sa(SecurityAssociation {
        proposals: vec![Proposal {
            number: 1,
            protocol: ProtocolId::IKE,
            spi: vec![],
            transforms: vec![
                Transform::encryption(ike::wire::EncrId::AES_CBC, Some(128)),
                Transform::prf(ike::wire::PrfId::PRF_HMAC_SHA2_256),
                Transform::group(DhGroup::CURVE25519),
            ],
        }],
    });
    let answer = target.hear(&script.first(&payloads)).remove(0);
    assert_eq!(notified(&parse(&answer).unwrap().payloads), [NotifyType::NO_PROPOSAL_CHOSEN]);
}

#[test]
fn cve_2013_6467_any_payload_may_be_missing_from_any_message() {
    // IKE_AUTH and CREATE_CHILD_SA to a responder.
    let auth = half_open(29).1.auth_payloads();
    for missing in 0..auth.len() {
        let (mut target, mut script) = half_open(29);
        let mut payloads = script.auth_payloads();
        let gone = payloads.remove(missing).kind();
        let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(target.children.len(), 0, "without {gone} there is no child");
        let identity = gone == PayloadType::IDI || gone == PayloadType::AUTH;
        assert_eq!(target.holds().0, usize::from(!identity), "{gone}: {answer:?}");
    }
    for ike in [false, true] {
        let count = if ike { 3 } else { 5 };
        for missing in 0..count {
            let (mut target, mut script) = served(30);
            let mut payloads =
                if ike { script.ike_rekey_payloads(0xa77a) } else { script.child_payloads(0x4000, None) };
            let gone = payloads.remove(missing).kind();
            let answer = script.exchange(&mut target, ExchangeType::CREATE_CHILD_SA, &payloads);
            assert!(!notified(&answer).is_empty(), "{gone}: {answer:?}");
            assert!(target.holds().1 <= 1, "{gone}: no second child");
        }
    }
    // IKE_AUTH answers to an initiator.
    let auth = authenticating(31).1.auth_payloads();
    for missing in 0..auth.len() {
        let (mut target, mut script, request) = authenticating(31);
        let mut payloads = script.auth_payloads();
        let gone = payloads.remove(missing).kind();
        script.answer(&mut target, &request, &payloads);
        assert_eq!(target.children.len(), 0, "without {gone} there is no child");
    }
    // CREATE_CHILD_SA answers: a rekey of ours that comes back incomplete leaves the old child in use.
    for missing in 0..5 {
        let (mut target, mut script) = connected(32);
        target.input(ike::Input::Command(ike::Command::RekeyChild));
        let request = target.last();
        let mut payloads = script.child_payloads(0x5000, None);
        let gone = payloads.remove(missing).kind();
        script.answer(&mut target, &request, &payloads);
        assert_eq!(target.children.len(), 1, "without {gone} the old child stays");
    }
    for missing in 0..3 {
        let (mut target, mut script) = connected(33);
        target.input(ike::Input::Command(ike::Command::RekeyIke));
        let request = target.last();
        let mut payloads = script.ike_rekey_payloads(0xb88b);
        let gone = payloads.remove(missing).kind();
        script.answer(&mut target, &request, &payloads);
        assert_eq!(target.holds(), (1, 1), "without {gone} the old IKE SA stays");
    }
}

#[test]
fn cve_2023_38712_a_delete_may_name_what_the_same_message_already_deleted() {
    for tail in [vec![], vec![ike_delete()], vec![ike_delete(), ike_delete()]] {
        let (mut target, mut script) = served(34);
        let spi = script.spi.get();
        let mut payloads =
            vec![esp_delete(&[spi, spi, spi]), esp_delete(&[spi]), esp_delete(&[1, 0, 0xffff_ffff])];
        let ends = !tail.is_empty();
        payloads.extend(tail);
        let answer = script.exchange(&mut target, ExchangeType::INFORMATIONAL, &payloads);
        let named: usize = answer
            .iter()
            .map(|payload| if let Payload::Delete(delete) = payload { delete.spis.len() } else { 0 })
            .sum();
        assert_eq!(named, usize::from(!ends), "our own SPI once, and none with the IKE SA");
        assert_eq!(target.children.len(), 0);
        assert_eq!(target.holds().0, usize::from(!ends));
    }
}

#[test]
fn libreswan_issue_67_deletes_of_any_order_and_number_are_taken() {
    let (_, script) = served(35);
    let spi = script.spi.get();
    let ah = || raw(PayloadType::DELETE, &[2, 4, 0, 1, 0, 0, 0, 9]);
    let orders: Vec<Vec<Payload>> = vec![
        vec![ike_delete(), esp_delete(&[spi])],
        vec![esp_delete(&[spi]), ike_delete()],
        vec![ah(), esp_delete(&[spi]), ah(), ike_delete(), esp_delete(&[spi])],
        vec![ike_delete(), ike_delete(), ike_delete()],
        (0..60).map(|n| esp_delete(&[n, spi])).chain([ike_delete()]).collect(),
        (0..30).flat_map(|n| [ike_delete(), esp_delete(&[spi + n])]).collect(),
    ];
    for payloads in orders {
        let (mut target, mut script) = served(35);
        let answer = script.exchange(&mut target, ExchangeType::INFORMATIONAL, &payloads);
        assert!(answer.is_empty(), "{answer:?}");
        assert_eq!(target.holds(), (0, 0));
    }
}

#[test]
fn cve_2015_3204_reserved_bits_are_ignored_and_any_next_payload_is_survived() {
    // Reserved octets of generic headers, of SA, KE, TS, ID and AUTH, and the flags' undefined bits.
    let mut target = Target::new(Side::B, config(Side::B));
    let mut script = Script::initiator(36);
    let mut request = script.first(&script.first_payloads());
    request[19] |= 0b1100_0111;
    let mut at = HEADER_LEN;
    let mut kind = request[16];
    while kind != 0 {
        request[at + 1] |= 0x7f;
        if kind == PayloadType::SA.0 {
            request[at + 5] = 0xff;
        }
        if kind == PayloadType::KE.0 {
            request[at + 6..at + 8].fill(0xff);
        }
        kind = request[at];
        at += usize::from(u16::from_be_bytes([request[at + 2], request[at + 3]]));
    }
    script.request = request.clone();
    let answer = target.hear(&request).remove(0);
    assert_eq!(answer[19] & 0b1100_0111, 0, "sent as zero");
    script.hear_first(&answer);
    let id = script.identity();
    let mut body = id.body();
    body[1..4].fill(0xff);
    let mut payloads = script.auth_payloads();
    // AUTH is over the ID payload's octets as they are sent, reserved ones included (RFC 7296 §2.15).
    payloads[0] = raw(PayloadType::IDI, &body);
    let keys = script.keys.clone().unwrap();
    let signed = ike::crypto::SignedOctets {
        message: &script.request,
        nonce: &script.nr,
        id_body: &body,
        sk_p: &keys.sk_pi,
        intermediate: &[],
    };
    let mut auth = vec![2, 0xff, 0xff, 0xff];
    auth.extend(ike::crypto::auth_psk(script.suite.prf, &script::PSK.into(), &signed));
    payloads[1] = raw(PayloadType::AUTH, &auth);
    let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
    assert!(answer.iter().any(|payload| payload.kind() == PayloadType::AUTH), "{answer:?}");
    assert_eq!(target.holds(), (1, 1));
    // Every Next Payload number at every place of a first request, with every critical and reserved bit.
    let whole = script.first(&script.first_payloads());
    for number in 0..=255 {
        for flags in [0, 0x80, 0x7f, 0xff] {
            let mut target = Target::new(Side::B, config(Side::B));
            let mut changed = whole.clone();
            changed[16] = number;
            changed[HEADER_LEN + 1] = flags;
            target.hear(&changed);
            let mut changed = whole.clone();
            changed[HEADER_LEN] = number;
            changed[HEADER_LEN + 1] = flags;
            target.hear(&changed);
            assert_eq!(target.children.len(), 0);
        }
    }
}

#[test]
fn cve_2025_9242_identities_of_any_length_are_compared_and_refused() {
    let lengths = (0..300).chain([512, 520, 521, 1_024, 4_096, 16_384, 60_000]);
    for length in lengths {
        let (mut target, mut script) = half_open(37);
        let id = ike::wire::Identification::new(ike::wire::IdType::ID_KEY_ID, vec![0x41; length]);
        let payloads = script.auth_payloads_as(id, script::PSK);
        let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(notified(&answer), [NotifyType::AUTHENTICATION_FAILED], "{length} octets");
        assert_eq!(target.holds(), (0, 0));
    }
}

#[test]
fn cve_2020_1763_2022_23094_everything_received_can_be_printed() {
    let mut dice = Dice(38);
    for (state, mut target, script) in everywhere() {
        let header = script.header(ExchangeType::INFORMATIONAL, false, 0);
        for _ in 0..300 {
            let kind = dice.octet();
            let body: Vec<u8> = (0..dice.below(60)).map(|_| dice.octet()).collect();
            let mut message = encode(&header, &[raw(PayloadType(kind), &body)]);
            message[18] = dice.octet();
            message[19] = dice.octet();
            let text = format!("{:?} {:?}", parse_header(&message), parse(&message));
            assert!(!text.is_empty());
            target.hear(&message);
            let text = format!("{:?} {:?}", target.endpoint.status(), target.notices);
            assert!(!text.contains('\u{1b}'), "{state}: no control characters in logs");
            for notice in &target.notices {
                if let ike::Notice::Dropped(reason) = notice {
                    assert!(!reason.to_string().is_empty());
                }
            }
        }
    }
    for name in DropReason::NAMES {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    }
}

#[test]
fn cve_2023_28771_what_a_peer_calls_itself_is_escaped_wherever_it_is_printed() {
    let nasty = b"x\x1b[31m$(reboot);`id`\n\r\0\xff\xfe' OR 1=1".to_vec();
    for kind in [2, 3, 9, 10, 11, 200] {
        let (mut target, mut script) = half_open(39);
        let id = ike::wire::Identification::new(ike::wire::IdType(kind), nasty.clone());
        let payloads = script.auth_payloads_as(id, script::PSK);
        script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        let failure = target.failures()[0];
        for text in [failure.to_string(), format!("{failure:?}")] {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
}

#[test]
fn cve_2026_14957_no_assertion_or_unwrap_is_left_in_the_sources() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut directories = vec![root];
    let mut files = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            if path.ends_with("tests.rs") || path.ends_with("wycheproof.rs") {
                continue; // compiled for tests only
            }
            files += 1;
            let shipped = text.split("#[cfg(test)]").next().unwrap();
            for (number, line) in shipped.lines().enumerate() {
                let code = line.split("//").next().unwrap();
                for word in [".unwrap()", ".expect(", "panic!", "assert!(", "assert_eq!(", "unreachable!"] {
                    assert!(!code.contains(word), "{}:{}: {line}", path.display(), number + 1);
                }
            }
        }
    }
    assert!(files > 40, "the sources were found");
}

#[test]
fn cve_2018_10811_2016_3071_whatever_can_be_negotiated_can_be_run() {
    ike::crypto::self_test(&GROUPS, &mut Dice(40)).unwrap();
    // Whatever number a peer picks, it is one that we can run or one that is refused.
    for kind in [TransformType::ENCR, TransformType::PRF, TransformType::INTEG] {
        let ours = [(TransformType::ENCR, 20), (TransformType::PRF, 5), (TransformType::INTEG, 0)];
        for id in (0..=1_100).filter(|id| !ours.contains(&(kind, *id))) {
            let said = first_request_is_refused(
                |p| {
                    if let Payload::Sa(sa) = &mut p[0] {
                        for transform in &mut sa.proposals[0].transforms {
                            if transform.kind == kind {
                                transform.id = id;
                            }
                        }
                        if kind == TransformType::INTEG {
                            sa.proposals[0].transforms.push(Transform::new(kind, id));
                        }
                    }
                },
                "an algorithm we cannot run",
            );
            assert_eq!(said, [NotifyType::NO_PROPOSAL_CHOSEN], "{kind} {id}");
        }
    }
}
