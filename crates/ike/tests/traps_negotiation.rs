//! Traps of RFC 7296 §2.7 to §2.23, §3.3 and §3.14, and of its companions: what is agreed, and over which
//! octets.
//!
//! One test for each rule, named after its section; the table is in `docs/ike-conformance.md`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/script.rs"]
mod script;
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use ike::crypto::{
    IkeCipher, Integrity, KeyInputs, Prf, Suite, derive_child_keys, derive_rekeyed_sa_keys, derive_sa_keys,
    nat_detection_hash, prf_plus,
};
use ike::wire::{
    Attribute, AttributeType, AttributeValue, DhGroup, EncrId, ExchangeType, NotifyType, Payload,
    PayloadType, Proposal, ProtocolId, SecurityAssociation, Transform, TransformType, parse, parse_header,
};
use ike::{Command, Failure, IkeProposal, Input, Lifetime};
use model::{Encapsulation, IkeSpi, KeyBits, Secret, TrafficSelector};
use script::{
    Script, Target, address, authenticating, connected, connected_with, half_open, half_open_with, notified,
    notify, raw, served,
};
use support::{Side, config};

fn command(target: &mut Target, command: Command) -> Vec<u8> {
    target.input(Input::Command(command));
    target.last()
}

fn change_sa(payloads: &mut [Payload], change: impl Fn(&mut SecurityAssociation)) {
    for payload in payloads {
        if let Payload::Sa(sa) = payload {
            change(sa);
        }
    }
}

/// A change with its name.
type Change<T> = (&'static str, fn(&mut T));

/// Ways in which an answer is not one of our offers.
fn unoffered() -> Vec<Change<SecurityAssociation>> {
    vec![
        ("another number", |sa| sa.proposals[0].number = 2),
        ("number zero", |sa| sa.proposals[0].number = 0),
        ("another protocol", |sa| sa.proposals[0].protocol = ProtocolId::AH),
        ("two proposals", |sa| sa.proposals.push(sa.proposals[0].clone())),
        ("another key length", |sa| {
            sa.proposals[0].transforms[0] = Transform::encryption(EncrId::AES_GCM_16, Some(256));
        }),
        ("no key length", |sa| {
            sa.proposals[0].transforms[0] = Transform::encryption(EncrId::AES_GCM_16, None);
        }),
        ("another cipher", |sa| {
            sa.proposals[0].transforms[0] = Transform::encryption(EncrId::AES_CBC, Some(128));
        }),
        ("two ciphers", |sa| {
            let twice = sa.proposals[0].transforms[0].clone();
            sa.proposals[0].transforms.push(twice);
        }),
        ("an integrity algorithm too", |sa| {
            sa.proposals[0].transforms.push(Transform::new(TransformType::INTEG, 12));
        }),
        ("an unknown attribute", |sa| {
            sa.proposals[0].transforms[0]
                .attributes
                .push(Attribute { kind: AttributeType(15), value: AttributeValue::Short(1) });
        }),
        ("an unknown transform type", |sa| {
            sa.proposals[0].transforms.push(Transform::new(TransformType(6), 1));
        }),
        ("a transform missing", |sa| {
            sa.proposals[0].transforms.remove(0);
        }),
    ]
}

#[test]
fn rfc7296_2_7_an_answer_that_is_not_one_of_our_offers_is_refused_everywhere() {
    for (what, change) in unoffered() {
        // IKE_SA_INIT: dropped as a stranger's, and the true answer still counts.
        let mut target = Target::new(Side::A, config(Side::A));
        let mut script = Script::responder(1);
        script.hear_first(&target.last());
        let mut payloads = script.first_payloads();
        change_sa(&mut payloads, change);
        assert!(target.hear(&script.first(&payloads)).is_empty(), "{what}");
        let auth = target.hear(&script.first(&script.first_payloads())).remove(0);
        // IKE_AUTH: the IKE SA lives, the child does not.
        let mut payloads = script.auth_payloads();
        change_sa(&mut payloads, change);
        script.answer(&mut target, &auth, &payloads);
        assert_eq!(target.children.len(), 0, "{what}");
        // CREATE_CHILD_SA for a child: the old child stays.
        let (mut target, mut script) = connected(2);
        let request = command(&mut target, Command::RekeyChild);
        let mut payloads = script.child_payloads(0x4000, None);
        change_sa(&mut payloads, change);
        script.answer(&mut target, &request, &payloads);
        assert!(target.children.values().all(|child| child.spi_out == script.spi), "{what}");
        // For the IKE SA: the old one stays.
        let (mut target, mut script) = connected(3);
        let request = command(&mut target, Command::RekeyIke);
        let mut payloads = script.ike_rekey_payloads(0xb88b);
        change_sa(&mut payloads, change);
        script.answer(&mut target, &request, &payloads);
        assert_eq!(target.holds(), (1, 1), "{what}");
        assert_eq!(target.endpoint.status().ike.unwrap().spi_i, script.spi_i, "{what}");
    }
}

#[test]
fn rfc7296_2_8_lifetimes_have_jitter_are_not_negotiated_and_the_old_is_deleted_after_the_new_works() {
    let mut config = config(Side::A);
    config.child_lifetime = Lifetime {
        rekey_after: Duration::from_secs(1_000),
        jitter: Duration::from_secs(200),
        hard: Duration::from_secs(2_000),
    };
    let (mut target, mut script) = connected_with(4, config);
    let begun = target.now;
    let sent = target.sent.len();
    while target.sent.len() == sent {
        let (at, _) = target.endpoint.poll_timeout().unwrap();
        target.now = at;
        target.tick();
    }
    let after = (target.now - begun).as_secs();
    assert!((800..=1_000).contains(&after), "after {after} s");
    let request = target.last();
    let asked = script.open(&request);
    assert!(notified(&asked.payloads).contains(&NotifyType::REKEY_SA));
    assert!(!notified(&asked.payloads).contains(&NotifyType::AUTH_LIFETIME));
    let payloads = script.child_payloads(0x4000, None);
    let sent = script.answer(&mut target, &request, &payloads);
    assert_eq!(target.children.len(), 2, "both receive until the old one is deleted");
    let deleting = script.open(&sent[0]);
    let old = target.children.values().find(|child| child.spi_out == script.spi).unwrap().spi_in;
    assert_eq!(deleting.payloads, [script::esp_delete(&[old.get()])], "the rekeyer deletes the old one");
}

#[test]
fn rfc7296_2_9_an_answer_must_lie_within_our_selectors_and_ours_within_theirs() {
    let net = |text: &str| TrafficSelector::from_net(text.parse().unwrap());
    let mut narrow = config(Side::A);
    narrow.ts_local = vec![net("10.1.0.0/16")];
    narrow.ts_remote = vec![net("10.2.0.0/16")];
    let wider = [("10.1.0.0/16", "10.0.0.0/8"), ("0.0.0.0/0", "10.2.0.0/16"), ("10.3.0.0/16", "10.2.0.0/16")];
    for (i, r) in wider {
        let (mut target, mut script, auth) = script::authenticating_with(5, narrow.clone());
        let mut payloads = script.auth_payloads();
        payloads[3] = Payload::TsI(vec![net(i)]);
        payloads[4] = Payload::TsR(vec![net(r)]);
        script.answer(&mut target, &auth, &payloads);
        assert_eq!(target.children.len(), 0, "{i} to {r} was not offered");
    }
    let (mut target, mut script, auth) = script::authenticating_with(5, narrow.clone());
    let mut payloads = script.auth_payloads();
    payloads[3] = Payload::TsI(vec![net("10.1.7.0/24")]);
    payloads[4] = Payload::TsR(vec![net("10.2.0.0/16")]);
    script.answer(&mut target, &auth, &payloads);
    let child = target.children.values().next().expect("a subset is fine");
    assert_eq!(child.ts_local, [net("10.1.7.0/24")]);
    // As responder: a superset is narrowed, 0.0.0.0/0 to 0.0.0.0/0 stays what it is.
    let mut waiting = config(Side::B);
    waiting.ts_local = vec![net("10.2.0.0/16")];
    let (mut target, mut script) = half_open_with(6, waiting);
    let payloads = script.auth_payloads();
    let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
    assert!(answer.contains(&Payload::TsR(vec![net("10.2.0.0/16")])), "{answer:?}");
    assert!(answer.contains(&Payload::TsI(vec![TrafficSelector::any_v4()])));
}

#[test]
fn rfc7296_2_10_nonces_are_fresh_and_long_enough_for_every_prf_offered() {
    let nonce = |payloads: &[Payload]| {
        payloads.iter().find_map(|p| if let Payload::Nonce(n) = p { Some(n.clone()) } else { None }).unwrap()
    };
    let longest = Prf::ALL.iter().map(|prf| prf.output_len()).max().unwrap();
    let target = Target::new(Side::A, config(Side::A));
    assert!(nonce(&parse(&target.last()).unwrap().payloads).len() >= longest / 2);
    let (mut target, mut script) = served(7);
    let mut seen = vec![script.nr.clone()];
    for n in 0..20 {
        let old = if n == 0 { script.spi.get() } else { 0x4000 + n - 1 };
        let payloads = script.child_payloads(0x4000 + n, Some(old));
        let answer = script.exchange(&mut target, ExchangeType::CREATE_CHILD_SA, &payloads);
        assert!(notified(&answer).is_empty(), "{n}: {answer:?} {:?}", target.notices);
        seen.push(nonce(&answer));
        script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[script::esp_delete(&[old])]);
    }
    for nonce in &seen {
        assert!(nonce.len() >= 16 && nonce.len() >= longest / 2, "{} octets", nonce.len());
        assert_eq!(seen.iter().filter(|other| *other == nonce).count(), 1);
    }
    // Fifteen octets are no nonce, 257 neither.
    for length in [0, 1, 15, 257] {
        let mut target = Target::new(Side::B, config(Side::B));
        let mut script = Script::initiator(8);
        let mut payloads = script.first_payloads();
        payloads[2] = raw(PayloadType::NONCE, &vec![1; length]);
        target.ignores(&script.first(&payloads), &format!("a nonce of {length} octets"));
    }
    for length in [16, 17, 256] {
        let mut target = Target::new(Side::B, config(Side::B));
        let mut script = Script::initiator(8);
        script.ni = vec![1; length];
        let answer = target.hear(&script.first(&script.first_payloads())).remove(0);
        script.hear_first(&answer);
        let payloads = script.auth_payloads();
        script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(target.holds(), (1, 1), "{length} octets");
    }
}

#[test]
fn rfc7296_2_11_an_answer_goes_to_where_its_request_came_from() {
    let (mut target, mut script) = served(9);
    let elsewhere: SocketAddr = "192.0.2.1:61234".parse().unwrap();
    let request = script.ask(ExchangeType::INFORMATIONAL, &[]);
    assert_eq!(target.hear_from(elsewhere, &request).len(), 1);
    assert_eq!(target.sent.last().unwrap().remote, elsewhere);
    assert_eq!(target.sent.last().unwrap().local, address(Side::B));
    // No NAT was found, so the path of our own requests does not move.
    let question = command(&mut target, Command::CheckLiveness);
    assert!(parse_header(&question).is_ok());
    assert_eq!(target.sent.last().unwrap().remote, address(Side::A));
}

#[test]
fn rfc7296_2_13_prf_plus_is_a_chain_of_at_most_255_blocks() {
    for prf in Prf::ALL {
        let length = 255 * prf.output_len();
        let all = prf_plus(prf, b"key", &[b"seed"], length).unwrap();
        let first = prf.compute(b"key", &[b"seed", &[1]]);
        let second = prf.compute(b"key", &[first.expose(), b"seed", &[2]]);
        assert!(all.expose().starts_with(&[first.expose(), second.expose()].concat()));
        assert!(prf_plus(prf, b"key", &[b"seed"], length + 1).is_err());
    }
}

#[test]
fn rfc7296_2_14_keys_are_cut_in_the_order_d_ai_ar_ei_er_pi_pr() {
    let shared = Secret::from(&[9; 32][..]);
    let inputs =
        KeyInputs { ni: &[1; 32], nr: &[2; 32], shared: &shared, spi_i: IkeSpi(3), spi_r: IkeSpi(4) };
    for (cipher, integrity) in [
        (IkeCipher::AesGcm16(KeyBits::B256), None),
        (IkeCipher::AesCbc(KeyBits::B128), Some(Integrity::HmacSha2_384_192)),
    ] {
        let suite = Suite { cipher, prf: Prf::HmacSha2_512, integrity, group: DhGroup::CURVE25519 };
        let keys = derive_sa_keys(&suite, &inputs);
        let skeyseed = suite.prf.compute(&[[1; 32], [2; 32]].concat(), &[&[9; 32]]);
        let pieces =
            [&keys.sk_d, &keys.sk_ai, &keys.sk_ar, &keys.sk_ei, &keys.sk_er, &keys.sk_pi, &keys.sk_pr];
        let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.expose().to_vec()).collect();
        let seed: [&[u8]; 4] = [&[1; 32], &[2; 32], &3_u64.to_be_bytes(), &4_u64.to_be_bytes()];
        assert_eq!(whole, prf_plus(suite.prf, skeyseed.expose(), &seed, whole.len()).unwrap().expose());
        let a = integrity.map_or(0, Integrity::key_len);
        let e = if cipher.is_aead() { 32 + 4 } else { 16 };
        let lengths: Vec<_> = pieces.iter().map(|piece| piece.len()).collect();
        assert_eq!(lengths, [64, a, a, e, e, 64, 64]);
    }
}

#[test]
fn rfc5282_7_1_an_aead_has_no_integrity_key_and_four_octets_of_salt() {
    let keys = half_open(10).1.keys.unwrap();
    assert!(keys.sk_ai.is_empty() && keys.sk_ar.is_empty());
    assert_eq!((keys.sk_ei.len(), keys.sk_er.len()), (20, 20));
    // RFC 5282 §8: an AEAD with an integrity algorithm is not chosen, in either phase.
    let mut target = Target::new(Side::B, config(Side::B));
    let mut script = Script::initiator(11);
    let mut payloads = script.first_payloads();
    change_sa(&mut payloads, |sa| {
        sa.proposals[0].transforms.push(Transform::new(TransformType::INTEG, 12));
    });
    let answer = target.hear(&script.first(&payloads)).remove(0);
    assert_eq!(notified(&parse(&answer).unwrap().payloads), [NotifyType::NO_PROPOSAL_CHOSEN]);
}

#[test]
fn rfc7296_2_15_auth_is_over_the_last_request_sent_after_cookie_and_invalid_ke() {
    let mut config = config(Side::B);
    config.limits.cookie_threshold = 0;
    config.ike_proposals[0].groups = vec![DhGroup::CURVE25519, DhGroup::ECP_256];
    let request = |script: &mut Script, cookie: &[Payload], group: DhGroup| {
        let mut payloads = cookie.to_vec();
        payloads.extend(script.first_payloads());
        for payload in &mut payloads {
            if let Payload::Ke(ke) = payload
                && group != DhGroup::CURVE25519
            {
                (ke.group, ke.data) = (group, vec![1; 96]);
            }
        }
        script.first(&payloads)
    };
    for stale in [false, true] {
        let mut target = Target::new(Side::B, config.clone());
        let mut script = Script::initiator(12);
        let first = request(&mut script, &[], DhGroup::ECP_384);
        let cookie = parse(&target.hear(&first)[0]).unwrap().payloads;
        assert_eq!(notified(&cookie), [NotifyType::COOKIE]);
        let second = request(&mut script, &cookie, DhGroup::ECP_384);
        let wanted = parse(&target.hear(&second)[0]).unwrap().payloads;
        assert_eq!(notified(&wanted), [NotifyType::INVALID_KE_PAYLOAD]);
        let third = request(&mut script, &cookie, DhGroup::CURVE25519);
        let answer = target.hear(&third).remove(0);
        script.hear_first(&answer);
        if stale {
            script.request = first;
        }
        let payloads = script.auth_payloads();
        let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(notified(&answer).contains(&NotifyType::AUTHENTICATION_FAILED), stale);
        assert_eq!(target.holds().0, usize::from(!stale), "only the last request sent counts");
    }
}

#[test]
fn rfc7296_2_15_auth_covers_message_nonce_identity_and_direction() {
    // Each ingredient wrong once, with everything else right: nobody is established.
    let spoil: [Change<Script>; 5] = [
        ("the first message", |script| script.request[20] ^= 1),
        ("the peer's nonce", |script| script.nr[0] ^= 1),
        ("SK_pi", |script| {
            let mut keys = script.keys.clone().unwrap();
            std::mem::swap(&mut keys.sk_pi, &mut keys.sk_pr);
            script.keys = Some(keys);
        }),
        ("an octet more", |script| script.request.push(0)),
        ("the other message", |script| script.request.clone_from(&script.response)),
    ];
    for (what, spoil) in spoil {
        let (mut target, mut script) = half_open(13);
        spoil(&mut script);
        let payloads = script.auth_payloads();
        let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(notified(&answer), [NotifyType::AUTHENTICATION_FAILED], "{what}");
        assert_eq!(target.holds(), (0, 0), "{what}");
    }
    // AUTH for one identity, sent with another.
    let (mut target, mut script) = half_open(14);
    let mut payloads = script.auth_payloads();
    let other = ike::wire::Identification::new(ike::wire::IdType::ID_KEY_ID, b"x".to_vec());
    payloads[1] = script.auth(&other, script::PSK);
    script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(target.holds(), (0, 0));
    assert!(matches!(target.failures()[..], [Failure::AuthenticationFailed { by_peer: false }]));
}

#[test]
fn rfc7296_2_17_child_keys_are_initiators_first_and_pfs_comes_first_in_the_seed() {
    // The first child: nonces of IKE_SA_INIT, no exchange of its own.
    let (target, script) = served(15);
    let keys = script.keys.as_ref().unwrap();
    let child = target.children.values().next().unwrap();
    let derived =
        derive_child_keys(script.suite.prf, &keys.sk_d, None, &script.ni, &script.nr, child.suite.transform);
    assert_eq!(child.keys_in.encryption.expose(), derived.initiator.encryption.expose());
    assert_eq!(child.keys_out.encryption.expose(), derived.responder.encryption.expose());
    let raw = prf_plus(script.suite.prf, keys.sk_d.expose(), &[&script.ni, &script.nr], 40).unwrap();
    assert_eq!(child.keys_in.encryption.expose(), &raw.expose()[..20], "initiator to responder first");
    assert_eq!(child.keys_out.encryption.expose(), &raw.expose()[20..]);
    // A rekey that the *responder* of the IKE SA starts: it is the initiator of the exchange.
    let (mut target, mut script) = connected(16);
    let payloads = script.child_payloads(0x4000, Some(script.spi.get()));
    let ni = payloads.iter().find_map(|p| if let Payload::Nonce(n) = p { Some(n.clone()) } else { None });
    let answer = script.exchange(&mut target, ExchangeType::CREATE_CHILD_SA, &payloads);
    let nr = answer.iter().find_map(|p| if let Payload::Nonce(n) = p { Some(n.clone()) } else { None });
    let ke = answer.iter().find_map(|p| if let Payload::Ke(ke) = p { Some(ke.data.clone()) } else { None });
    let shared = script.keypair.agree(&ke.unwrap()).unwrap();
    let sk_d = &script.keys.as_ref().unwrap().sk_d;
    let seed = [shared.expose(), &ni.unwrap(), &nr.unwrap()].concat();
    let raw = prf_plus(script.suite.prf, sk_d.expose(), &[&seed], 40).unwrap();
    let child = target.children.values().find(|child| child.spi_out.get() == 0x4000).unwrap();
    assert_eq!(child.keys_in.encryption.expose(), &raw.expose()[..20]);
    assert_eq!(child.keys_out.encryption.expose(), &raw.expose()[20..]);
}

#[test]
fn rfc7296_2_18_an_ike_rekey_uses_the_old_sk_d_with_the_old_prf_and_numbers_from_zero() {
    // From SHA2-256 to SHA2-512: the two PRFs cannot be mixed up.
    let mut config = config(Side::B);
    config.ike_proposals.push(IkeProposal { prf: vec![Prf::HmacSha2_512], ..support::ike_proposal() });
    let (mut target, mut script) = script::served_with(17, config);
    let mut payloads = script.ike_rekey_payloads(0xa77a);
    change_sa(&mut payloads, |sa| {
        sa.proposals[0].transforms[1] = Transform::prf(ike::wire::PrfId::PRF_HMAC_SHA2_512);
    });
    let ni = script_nonce(&payloads);
    let answer = script.exchange(&mut target, ExchangeType::CREATE_CHILD_SA, &payloads);
    let nr = script_nonce(&answer);
    let (mut spi_r, mut shared) = (IkeSpi::ZERO, None);
    for payload in &answer {
        match payload {
            Payload::Sa(sa) => {
                let spi: [u8; 8] = sa.proposals[0].spi.clone().try_into().unwrap();
                spi_r = IkeSpi::from_bytes(spi);
            }
            Payload::Ke(ke) => shared = script.keypair.agree(&ke.data).ok(),
            _ => {}
        }
    }
    let suite = Suite { prf: Prf::HmacSha2_512, ..script.suite };
    let old = script.keys.clone().unwrap().sk_d;
    let inputs =
        KeyInputs { ni: &ni, nr: &nr, shared: shared.as_ref().unwrap(), spi_i: IkeSpi(0xa77a), spi_r };
    let keys = derive_rekeyed_sa_keys(Prf::HmacSha2_256, &old, &suite, &inputs);
    (script.spi_i, script.spi_r, script.suite, script.next) = (IkeSpi(0xa77a), spi_r, suite, 0);
    script.take_keys(keys);
    let answer = script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[]);
    assert!(answer.is_empty(), "the new IKE SA speaks, with message ID 0");
    assert_eq!(target.children.len(), 1, "the child moved to it");
}

fn script_nonce(payloads: &[Payload]) -> Vec<u8> {
    payloads.iter().find_map(|p| if let Payload::Nonce(n) = p { Some(n.clone()) } else { None }).unwrap()
}

#[test]
fn rfc7296_2_19_a_configuration_payload_is_ignored() {
    let cp = || raw(PayloadType::CP, &[1, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0]);
    let (mut target, mut script) = half_open(18);
    let mut payloads = script.auth_payloads();
    payloads.insert(2, cp());
    let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
    assert!(answer.iter().all(|payload| payload.kind() != PayloadType::CP));
    assert_eq!(target.holds(), (1, 1));
    let (mut target, mut script, auth) = authenticating(19);
    let mut payloads = script.auth_payloads();
    payloads.insert(2, cp());
    script.answer(&mut target, &auth, &payloads);
    assert_eq!(target.holds(), (1, 1));
    let (mut target, mut script) = connected(20);
    let request = command(&mut target, Command::RekeyChild);
    let mut payloads = script.child_payloads(0x4000, None);
    payloads.push(cp());
    script.answer(&mut target, &request, &payloads);
    assert!(target.children.values().any(|child| child.spi_out.get() == 0x4000), "in a rekey too");
}

#[test]
fn rfc7296_2_22_ipcomp_and_transport_mode_are_neither_offered_nor_taken() {
    let kinds = [NotifyType::IPCOMP_SUPPORTED, NotifyType::USE_TRANSPORT_MODE];
    let (mut target, mut script, auth) = authenticating(21);
    let ours = notified(&script.open(&auth).payloads);
    assert!(kinds.iter().all(|kind| !ours.contains(kind)));
    let payloads = script.auth_payloads();
    script.answer(&mut target, &auth, &payloads);
    assert_eq!(target.holds(), (1, 1));
    let (mut target, mut script) = half_open(22);
    let mut payloads = script.auth_payloads();
    payloads.push(notify(NotifyType::IPCOMP_SUPPORTED, &[0, 1, 2]));
    payloads.push(notify(NotifyType::USE_TRANSPORT_MODE, &[]));
    let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
    assert!(kinds.iter().all(|kind| !notified(&answer).contains(kind)), "tunnel mode, uncompressed");
    assert_eq!(target.holds(), (1, 1));
}

/// What a responder made of an initiator's NAT detection hashes.
fn detected(change: impl Fn(&Script, &mut Vec<Payload>)) -> (bool, bool) {
    let mut target = Target::new(Side::B, config(Side::B));
    let mut script = Script::initiator(23);
    let mut payloads = script.first_payloads();
    change(&script, &mut payloads);
    let answer = target.hear(&script.first(&payloads)).remove(0);
    script.hear_first(&answer);
    let payloads = script.auth_payloads();
    script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
    let ike = target.endpoint.status().ike.unwrap();
    (ike.nat_local, ike.nat_remote)
}

#[test]
fn rfc7296_2_23_nat_detection_hashes_cover_spis_address_and_port_and_one_of_several_may_match() {
    let right = |script: &Script| {
        notify(
            NotifyType::NAT_DETECTION_SOURCE_IP,
            &nat_detection_hash(script.spi_i, IkeSpi::ZERO, address(Side::A)),
        )
    };
    let wrong = || notify(NotifyType::NAT_DETECTION_SOURCE_IP, &[7; 20]);
    assert_eq!(detected(|_, _| {}), (false, false));
    assert_eq!(detected(|_, p| p[3] = wrong()), (false, true));
    assert_eq!(
        detected(|script, p| {
            p[3] = wrong();
            p.insert(4, wrong());
            p.push(right(script));
        }),
        (false, false),
        "several interfaces, one of them is the one"
    );
    assert_eq!(
        detected(|_, p| p[4] = notify(NotifyType::NAT_DETECTION_DESTINATION_IP, &[7; 20])),
        (true, false)
    );
    assert_eq!(detected(|_, p| p.truncate(3)), (false, false), "no NAT traversal at all");
    let mut other_port = address(Side::A);
    other_port.set_port(501);
    let hash = move |script: &Script| nat_detection_hash(script.spi_i, IkeSpi::ZERO, other_port);
    assert_eq!(
        detected(|s, p| p[3] = notify(NotifyType::NAT_DETECTION_SOURCE_IP, &hash(s))),
        (false, true),
        "a changed port is a NAT too"
    );
    for length in [0, 19, 21, 255] {
        let odd = notify(NotifyType::NAT_DETECTION_SOURCE_IP, &vec![1; length]);
        assert_eq!(detected(|_, p| p[3] = odd.clone()), (false, true), "{length} octets match nothing");
    }
}

#[test]
fn rfc7296_2_23_behind_a_nat_both_move_to_port_4500_with_the_marker_and_keep_it_open() {
    let mut target = Target::new(Side::A, config(Side::A));
    let mut script = Script::responder(24);
    script.hear_first(&target.last());
    let mut payloads = script.first_payloads();
    payloads[4] = notify(NotifyType::NAT_DETECTION_DESTINATION_IP, &[7; 20]);
    assert!(!target.sent[0].non_esp_marker, "port 500 has none");
    let auth = target.hear(&script.first(&payloads)).remove(0);
    let transmit = target.sent.last().unwrap();
    assert_eq!((transmit.local.port(), transmit.remote.port()), (4500, 4500));
    assert!(transmit.non_esp_marker);
    let mut from = address(Side::B);
    from.set_port(4500);
    let asked = parse_header(&auth).unwrap();
    let answer = script.header(asked.exchange, true, asked.message_id);
    let payloads = script.auth_payloads();
    let answer = script.seal(&answer, &payloads);
    target.hear_from(from, &answer);
    assert_eq!(target.children.values().next().unwrap().encapsulation, Encapsulation::Udp);
    let sent = target.sent.len();
    target.run(Duration::from_secs(61));
    let keepalives = &target.sent[sent..];
    assert!(keepalives.len() >= 3, "every 20 s");
    assert!(keepalives.iter().all(|k| k.payload == [0xff] && !k.non_esp_marker && k.local.port() == 4500));
}

#[test]
fn rfc7296_2_23_without_a_nat_ike_auth_from_another_address_is_not_taken() {
    // Whoever copies IKE_AUTH and is faster could lead the tunnel to an address of his choice.
    let elsewhere: SocketAddr = "203.0.113.9:500".parse().unwrap();
    let (mut target, mut script) = half_open(28);
    let payloads = script.auth_payloads();
    let auth = script.ask(ExchangeType::IKE_AUTH, &payloads);
    let before = target.digest();
    assert!(target.hear_from(elsewhere, &auth).is_empty());
    assert_eq!(target.digest(), before);
    assert_eq!(target.hear(&auth).len(), 1, "the original still counts");
    assert_eq!(target.endpoint.status().ike.unwrap().remote, address(Side::A));
    // Behind a NAT ports move, and where it has several addresses those too.
    let mut target = Target::new(Side::B, config(Side::B));
    let mut script = Script::initiator(30);
    let mut payloads = script.first_payloads();
    payloads[3] = notify(NotifyType::NAT_DETECTION_SOURCE_IP, &[9; 20]);
    let answer = target.hear(&script.first(&payloads)).remove(0);
    script.hear_first(&answer);
    let payloads = script.auth_payloads();
    let auth = script.ask(ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(target.hear_from(elsewhere, &auth).len(), 1);
    assert_eq!(target.holds(), (1, 1));
}

#[test]
fn rfc7296_3_3_2_the_key_length_of_aes_is_mandatory_and_exact() {
    let odd: [fn() -> Transform; 6] = [
        || Transform::encryption(EncrId::AES_GCM_16, None),
        || Transform::encryption(EncrId::AES_GCM_16, Some(0)),
        || Transform::encryption(EncrId::AES_GCM_16, Some(129)),
        || Transform::encryption(EncrId::AES_GCM_16, Some(192)),
        || {
            let mut twice = Transform::encryption(EncrId::AES_GCM_16, Some(128));
            let again = twice.attributes[0].clone();
            twice.attributes.push(again);
            twice
        },
        || {
            let mut long = Transform::encryption(EncrId::AES_GCM_16, Some(128));
            long.attributes[0].value = AttributeValue::Long(vec![0, 128]);
            long
        },
    ];
    for odd in odd {
        let mut target = Target::new(Side::B, config(Side::B));
        let mut script = Script::initiator(25);
        let mut payloads = script.first_payloads();
        change_sa(&mut payloads, |sa| sa.proposals[0].transforms[0] = odd());
        let answer = target.hear(&script.first(&payloads)).remove(0);
        assert_eq!(notified(&parse(&answer).unwrap().payloads), [NotifyType::NO_PROPOSAL_CHOSEN]);
        let (mut target, mut script) = half_open(26);
        let mut payloads = script.auth_payloads();
        change_sa(&mut payloads, |sa| sa.proposals[0].transforms[0] = odd());
        let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(notified(&answer), [NotifyType::NO_PROPOSAL_CHOSEN]);
        assert_eq!(target.holds(), (1, 0));
    }
    // Ours always carry it.
    let target = Target::new(Side::A, config(Side::A));
    for payload in parse(&target.last()).unwrap().payloads {
        if let Payload::Sa(sa) = payload {
            let encryption = sa.proposals[0].transforms.iter().find(|t| t.kind == TransformType::ENCR);
            assert_eq!(encryption.unwrap().key_bits(), Some(128));
        }
    }
}

#[test]
fn rfc7296_3_3_6_a_proposal_with_an_unknown_transform_type_is_passed_over_for_the_next() {
    let mut target = Target::new(Side::B, config(Side::B));
    let mut script = Script::initiator(27);
    let mut payloads = script.first_payloads();
    change_sa(&mut payloads, |sa| {
        let mut strange: Proposal = sa.proposals[0].clone();
        strange.transforms.push(Transform::new(TransformType(6), 36)); // ADDKE1
        let mut plain = sa.proposals[0].clone();
        plain.number = 2;
        sa.proposals = vec![strange, plain];
    });
    let answer = target.hear(&script.first(&payloads)).remove(0);
    let Some(Payload::Sa(sa)) = parse(&answer).unwrap().payloads.into_iter().next() else { panic!("SA") };
    assert_eq!(sa.proposals[0].number, 2);
    script.hear_first(&answer);
    let payloads = script.auth_payloads();
    script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(target.holds(), (1, 1));
}

#[test]
fn rfc7383_2_3_fragments_of_an_answer_that_did_not_announce_them_are_ignored() {
    let (mut target, mut script, auth) = authenticating(29);
    let first = parse(&target.sent[0].payload).unwrap();
    assert!(notified(&first.payloads).contains(&NotifyType::IKEV2_FRAGMENTATION_SUPPORTED));
    let asked = parse_header(&auth).unwrap();
    let header = script.header(ExchangeType::IKE_AUTH, true, asked.message_id);
    let encoded = ike::wire::encode_payloads(&script.auth_payloads());
    let head = ike::crypto::FragmentHead { first: encoded.first, number: 1, total: 1 };
    let fragment = script.seal_fragment(&header, head, &encoded.bytes);
    target.ignores(&fragment, "a fragment that was not negotiated");
    let payloads = script.auth_payloads();
    script.answer(&mut target, &auth, &payloads);
    assert_eq!(target.holds(), (1, 1));
}
