//! What strangers can make other IKE daemons spend: memory, time, packets, randomness.
//!
//! Each test is named after the CVE whose attack it carries out on a real endpoint; the table is in
//! `docs/ike-conformance.md`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/script.rs"]
mod script;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ike::crypto::{GROUPS, IkeCipher, Integrity, Protection, Sender, Suite};
use ike::wire::{
    DhGroup, ExchangeType, Flags, Header, KeyExchange, NotifyType, Payload, PayloadType, Proposal,
    ProtocolId, SecurityAssociation, Transform, TransformType, encode, parse,
};
use ike::{Endpoint, Failure, Input, Notice, Output};
use model::{IkeSpi, KeyBits, SecureRng};
use script::{Dice, SUITE, Script, Target, address, half_open, notified, notify, raw, served};
use support::{START, Side, config};

/// Counts what is drawn.
struct Counting(Dice, Arc<AtomicU64>);

impl SecureRng for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.fill(out);
    }
}

#[test]
fn cve_2016_5361_a_responder_never_speaks_unasked_and_never_amplifies() {
    let script = Script::initiator(1);
    let mut small = script.first_payloads();
    small.truncate(3);
    small[2] = Payload::Nonce(vec![1; 16]);
    let mut wrong_group = script.first_payloads();
    wrong_group[1] = Payload::Ke(KeyExchange { group: DhGroup::ECP_256, data: vec![1; 64] });
    let mut nothing_common = script.first_payloads();
    if let Payload::Sa(sa) = &mut nothing_common[0] {
        sa.proposals[0].transforms.truncate(1);
    }
    let critical = vec![Payload::Unknown { kind: PayloadType(200), critical: true, data: vec![] }];
    for payloads in [script.first_payloads(), small, wrong_group, nothing_common, critical, vec![]] {
        for version in [0x10, 0x20, 0x2f, 0x30, 0xf0] {
            let mut target = Target::new(Side::B, config(Side::B));
            let mut request = Script::initiator(1).first(&payloads);
            request[17] = version;
            let answers = target.hear(&request);
            assert!(answers.len() <= 1, "at most one answer to one datagram");
            for answer in &answers {
                assert!(answer.len() <= 2 * request.len(), "{} for {}", answer.len(), request.len());
            }
            // Nothing is ever repeated by the responder itself; the initiator may have been forged.
            target.run(Duration::from_secs(3_600));
            assert_eq!(target.sent.len(), answers.len());
            assert_eq!(target.holds(), (0, 0), "and it is forgotten");
        }
    }
}

#[test]
fn cve_2024_2357_every_failed_authentication_is_cleared_away_and_its_repeat_answered_alike() {
    let (mut target, mut script) = half_open(2);
    let payloads = script.auth_payloads_as(script.identity(), b"wrong");
    let request = script.ask(ExchangeType::IKE_AUTH, &payloads);
    let refusal = target.hear(&request);
    assert_eq!(notified(&script.open(&refusal[0]).payloads), [NotifyType::AUTHENTICATION_FAILED]);
    assert_eq!(target.holds(), (0, 0));
    let before = target.digest();
    for _ in 0..50 {
        assert_eq!(target.hear(&request), refusal, "the very same octets");
        assert_eq!(target.digest(), before);
    }
    // Other messages on the dead IKE SA are nobody's.
    let again = script.ask(ExchangeType::IKE_AUTH, &script.auth_payloads());
    target.ignores(&again, "a second try on the dead IKE SA");
    target.run(Duration::from_secs(3_600));
    target.ignores(&request, "a repeat after all is forgotten");
    // A thousand failures leave nothing behind but the last answers.
    for seed in 0..1_000 {
        let mut script = Script::initiator(1_000 + seed);
        let request = script.first(&script.first_payloads());
        let answer = target.hear(&request).remove(0);
        script.hear_first(&answer);
        let payloads = script.auth_payloads_as(script.identity(), b"wrong");
        script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(target.holds(), (0, 0));
    }
}

#[test]
fn cve_2024_3652_2023_30570_an_ikev1_header_is_dropped_before_anything_is_read_or_kept() {
    let draws = Arc::new(AtomicU64::new(0));
    let rng = Counting(Dice(3), Arc::clone(&draws));
    let mut endpoint = Endpoint::new(config(Side::B), Box::new(rng), START);
    let drawn = draws.load(Ordering::Relaxed);
    let (local, remote) = (address(Side::B), address(Side::A));
    let header = Header::new(IkeSpi(1), IkeSpi::ZERO, ExchangeType(2), Flags::new(false, false), 0);
    let mut main_mode = encode(&header, &[raw(PayloadType(1), &[0; 200])]);
    main_mode[17] = 0x10;
    let before = endpoint.state_digest();
    let mut notices = 0;
    let count = 20_000_u32;
    #[allow(clippy::disallowed_methods, reason = "the figure is printed, nothing depends on it")]
    let start = std::time::Instant::now();
    for _ in 0..count {
        endpoint.handle_input(START, Input::Datagram { local, remote, payload: &main_mode });
        while let Some(output) = endpoint.poll_output() {
            assert!(matches!(output, Output::Notice(Notice::Dropped(_))), "{output:?}");
            notices += 1;
        }
    }
    println!("an IKEv1 datagram costs {} ns here", start.elapsed().as_nanos() / u128::from(count));
    assert_eq!(endpoint.state_digest(), before);
    assert_eq!(notices, 1, "one notice in a second");
    assert_eq!(draws.load(Ordering::Relaxed), drawn, "no randomness is spent");
}

#[test]
fn cve_2022_46397_no_iv_repeats_and_cbc_ivs_are_random() {
    let ivs = |suite: &Suite, keys: u64, count: usize| -> Vec<Vec<u8>> {
        let mut script = half_open(keys).1;
        script.suite = *suite;
        let keys = ike::crypto::derive_sa_keys(
            suite,
            &ike::crypto::KeyInputs {
                ni: &script.ni,
                nr: &script.nr,
                shared: &model::Secret::from(&keys.to_be_bytes()[..]),
                spi_i: script.spi_i,
                spi_r: script.spi_r,
            },
        );
        let mut seal = Protection::new(suite, &keys, Sender::Initiator).unwrap();
        let header = script.header(ExchangeType::INFORMATIONAL, false, 0);
        let length = if suite.cipher.is_aead() { 8 } else { 16 };
        (0..count).map(|_| seal.seal(&header, &[], &mut script.dice)[32..32 + length].to_vec()).collect()
    };
    let cbc = Suite {
        cipher: IkeCipher::AesCbc(KeyBits::B256),
        integrity: Some(Integrity::HmacSha2_256_128),
        ..SUITE
    };
    let drawn = ivs(&cbc, 4, 2_000);
    let distinct: std::collections::BTreeSet<_> = drawn.iter().collect();
    assert_eq!(distinct.len(), drawn.len());
    let ones: u32 = drawn.iter().flatten().map(|octet| octet.count_ones()).sum();
    let bits = 2_000 * 128;
    assert!((bits * 49 / 100..=bits * 51 / 100).contains(&ones), "{ones} of {bits} bits are set");
    for pair in drawn.windows(2) {
        let differ: u32 = pair[0].iter().zip(&pair[1]).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert!((30..=98).contains(&differ), "neighbours differ in {differ} of 128 bits");
    }
    // GCM counts. A restart means another Diffie-Hellman, so the same IV never meets the same key again.
    let counted = ivs(&SUITE, 5, 2_000);
    assert!(counted.windows(2).all(|pair| pair[0] < pair[1]));
    let keys = |seed| half_open(seed).1.keys.unwrap().sk_ei.expose().to_vec();
    assert_ne!(keys(6), keys(7));
}

/// A first request of nearly the largest size whose parts are as many as the limits allow.
fn monsters() -> Vec<(&'static str, Vec<Payload>)> {
    let script = Script::initiator(8);
    let transforms = |count: usize, kind| {
        (0..count).map(|id| Transform::new(kind, u16::try_from(id).unwrap())).collect::<Vec<_>>()
    };
    let offer = |proposals: u8, count, kind| {
        let proposals = (1..=proposals)
            .map(|number| Proposal {
                number,
                protocol: ProtocolId::IKE,
                spi: vec![],
                transforms: transforms(count, kind),
            })
            .collect();
        Payload::Sa(SecurityAssociation { proposals })
    };
    let with = |sa| {
        let mut payloads = script.first_payloads();
        payloads[0] = sa;
        payloads
    };
    let mut many = script.first_payloads();
    many.extend((0..59).map(|_| raw(PayloadType(200), &[7; 900])));
    let mut notifies = script.first_payloads();
    notifies.extend((0..59).map(|_| notify(NotifyType::NAT_DETECTION_SOURCE_IP, &[7; 1_000])));
    vec![
        ("groups", with(offer(32, 96, TransformType::DH))),
        ("ciphers", with(offer(32, 96, TransformType::ENCR))),
        ("unknown kinds", with(offer(32, 96, TransformType(99)))),
        ("too many proposals", with(offer(33, 96, TransformType::DH))),
        ("too many transforms", with(offer(1, 97, TransformType::DH))),
        ("payloads", many),
        ("notifications", notifies),
    ]
}

#[test]
fn cve_2025_20182_2022_21889_no_datagram_costs_or_says_more_than_its_share() {
    for (what, payloads) in monsters() {
        let mut target = Target::new(Side::B, config(Side::B));
        let request = Script::initiator(8).first(&payloads);
        assert!(request.len() < 65_508, "{what}");
        #[allow(clippy::disallowed_methods, reason = "a bound with a wide margin")]
        let start = std::time::Instant::now();
        let answers = target.hear(&request);
        let took = start.elapsed();
        println!("{what}: {} octets, {took:?}", request.len());
        assert!(took < Duration::from_millis(500), "{what}: {took:?}");
        assert!(answers.iter().all(|answer| answer.len() < 500), "{what}");
        for notice in &target.notices {
            let text = format!("{notice:?}");
            assert!(text.len() <= 2_048, "{what}: a notice of {} octets", text.len());
        }
        let failure = target.endpoint.status().last_failure.map(|(_, failure)| failure.to_string());
        assert!(failure.is_none_or(|text| text.len() <= 2_048));
    }
}

#[test]
fn strangers_without_a_common_proposal_do_not_fill_the_log() {
    let mut target = Target::new(Side::B, config(Side::B));
    for seed in 0..1_000 {
        let mut script = Script::initiator(seed);
        let mut payloads = script.first_payloads();
        if let Payload::Sa(sa) = &mut payloads[0] {
            sa.proposals[0].transforms.truncate(1);
        }
        let request = script.first(&payloads);
        assert_eq!(target.hear(&request).len(), 1, "each is told");
    }
    let failures = target.failures().len();
    assert!((1..=2).contains(&failures), "{failures} notices of one kind within one instant");
    target.now += Duration::from_secs(2);
    let mut script = Script::initiator(5_000);
    let mut payloads = script.first_payloads();
    if let Payload::Sa(sa) = &mut payloads[0] {
        sa.proposals[0].transforms.truncate(1);
    }
    let request = script.first(&payloads);
    target.hear(&request);
    assert!(matches!(target.failures().last(), Some(Failure::NoProposalChosen { by_peer: false, .. })));
    assert!(target.failures().len() > failures, "later it is said again");
}

#[test]
fn a_useless_public_value_costs_no_key_pair() {
    // Else anybody who can forge the peer's address makes us exponentiate for nothing, without a cookie.
    for group in GROUPS {
        let draws = Arc::new(AtomicU64::new(0));
        let mut config = config(Side::B);
        config.ike_proposals[0].groups = vec![group];
        let rng = Counting(Dice(9), Arc::clone(&draws));
        let mut endpoint = Endpoint::new(config, Box::new(rng), START);
        let length = ike::crypto::KeyPair::generate(group, &mut Dice(1)).unwrap().public().len();
        let drawn = draws.load(Ordering::Relaxed);
        for data in [vec![], vec![1; length - 1], vec![1; length + 1], vec![0; length]] {
            let mut script = Script::initiator(9);
            let mut payloads = script.first_payloads();
            if let Payload::Sa(sa) = &mut payloads[0] {
                *sa.proposals[0].transforms.last_mut().unwrap() = Transform::group(group);
            }
            payloads[1] = Payload::Ke(KeyExchange { group, data });
            let request = script.first(&payloads);
            let (local, remote) = (address(Side::B), address(Side::A));
            endpoint.handle_input(START, Input::Datagram { local, remote, payload: &request });
            let mut said = Vec::new();
            while let Some(output) = endpoint.poll_output() {
                if let Output::Send(transmit) = output {
                    said.extend(notified(&parse(&transmit.payload).unwrap().payloads));
                }
            }
            assert_eq!(said, [NotifyType::INVALID_SYNTAX], "{group}");
        }
        assert_eq!(draws.load(Ordering::Relaxed), drawn, "{group}: a key pair was made for nothing");
    }
}

#[test]
fn an_authenticated_peer_cannot_grow_us_either() {
    let (mut target, mut script) = served(10);
    for n in 0..300 {
        let old = if n == 0 { script.spi.get() } else { 0x6000 + n - 1 };
        let payloads = script.child_payloads(0x6000 + n, Some(old));
        script.exchange(&mut target, ExchangeType::CREATE_CHILD_SA, &payloads);
        assert!(target.children.len() <= 8, "{}", target.children.len());
        assert!(target.endpoint.status().ike_sas <= 8);
    }
    for n in 0..300 {
        let payloads = script.ike_rekey_payloads(0x7000 + n);
        let answer = script.exchange(&mut target, ExchangeType::CREATE_CHILD_SA, &payloads);
        assert!(!answer.is_empty());
        assert!(target.endpoint.status().ike_sas <= 8);
    }
}
