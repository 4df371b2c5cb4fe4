//! The encrypted payload: against messages made elsewhere, against itself, and against forgery.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod vectors;

use aes_gcm::aead::{Aead, KeyInit, Payload as AeadPayload};
use ike::crypto::{
    FragmentHead, IkeCipher, KeyInputs, OpenError, Prf, Protection, SaKeys, Sender, Suite, Verified,
    derive_sa_keys,
};
use ike::wire::{
    self, Delete, DhGroup, ExchangeType, Flags, Header, IntegId, Notify, NotifyType, Payload, PayloadType,
    ProtocolId,
};
use model::{IkeSpi, KeyBits, Secret, SecureRng};
use vectors::{Record, SeededRng, records};

fn suites() -> Vec<Suite> {
    let mut all = Vec::new();
    for cipher in IkeCipher::ALL {
        let integrities = if cipher.is_aead() { vec![None] } else { IntegId::SUPPORTED.map(Some).to_vec() };
        for integrity in integrities {
            all.push(Suite { cipher, prf: Prf::HmacSha2_256, integrity, group: DhGroup::ECP_256 });
        }
    }
    assert_eq!(all.len(), 10);
    all
}

fn keys_for(suite: &Suite) -> SaKeys {
    let shared = Secret::from(&[9; 32][..]);
    let inputs =
        KeyInputs { ni: &[1; 32], nr: &[2; 32], shared: &shared, spi_i: IkeSpi(3), spi_r: IkeSpi(4) };
    derive_sa_keys(suite, &inputs)
}

fn protection(suite: &Suite, sender: Sender) -> Protection {
    Protection::new(suite, &keys_for(suite), sender).unwrap()
}

fn header() -> Header {
    Header::new(IkeSpi(3), IkeSpi(4), ExchangeType::INFORMATIONAL, Flags::new(true, false), 2)
}

fn payloads() -> Vec<Payload> {
    vec![
        Payload::Delete(Delete { protocol: ProtocolId::ESP, spis: vec![vec![1, 2, 3, 4]] }),
        Payload::Notify(Notify::new(NotifyType::COOKIE, b"crumbs".to_vec())),
    ]
}

#[test]
fn what_was_sealed_opens_with_the_same_senders_keys_only() {
    for suite in suites() {
        for sender in [Sender::Initiator, Sender::Responder] {
            let datagram = protection(&suite, sender).seal(&header(), &payloads(), &mut SeededRng(1));
            let opened = protection(&suite, sender).open(&datagram).unwrap();
            assert_eq!(opened.payloads, payloads(), "{suite}");
            assert_eq!(opened.outer, vec![]);
            assert_eq!(opened.header, Header { next_payload: PayloadType::SK, ..header() });
            let other = if sender == Sender::Initiator { Sender::Responder } else { Sender::Initiator };
            // A message reflected to its sender must not pass.
            assert_eq!(protection(&suite, other).open(&datagram).unwrap_err(), OpenError::Integrity);
        }
    }
}

#[test]
fn an_empty_message_is_a_message() {
    for suite in suites() {
        let datagram = protection(&suite, Sender::Initiator).seal(&header(), &[], &mut SeededRng(1));
        let opened = protection(&suite, Sender::Initiator).open(&datagram).unwrap();
        assert_eq!(opened.payloads, vec![], "{suite}: RFC 7296 §2.4, a liveness check");
    }
}

#[test]
fn any_flipped_bit_is_rejected() {
    for suite in suites() {
        let datagram = protection(&suite, Sender::Initiator).seal(&header(), &payloads(), &mut SeededRng(1));
        let opener = protection(&suite, Sender::Initiator);
        for bit in 0..datagram.len() * 8 {
            let mut forged = datagram.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            match opener.open(&forged) {
                Err(OpenError::Outer(_) | OpenError::Integrity | OpenError::NotEncrypted) => {}
                other => panic!("{suite}: bit {bit} flipped gives {other:?}"),
            }
        }
    }
}

#[test]
fn a_datagram_cut_anywhere_is_rejected_even_with_its_lengths_put_right() {
    for suite in suites() {
        let datagram = protection(&suite, Sender::Initiator).seal(&header(), &payloads(), &mut SeededRng(1));
        let opener = protection(&suite, Sender::Initiator);
        for length in 0..datagram.len() {
            let mut cut = datagram[..length].to_vec();
            assert!(matches!(opener.open(&cut), Err(OpenError::Outer(_))), "{suite}: {length} octets");
            if length >= 32 {
                cut[24..28].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
                cut[30..32].copy_from_slice(&u16::try_from(length - 28).unwrap().to_be_bytes());
                let error = opener.open(&cut).unwrap_err();
                let expected = match error {
                    OpenError::Size(size) => size == length - 32,
                    OpenError::Integrity => true,
                    _ => false,
                };
                assert!(expected, "{suite}: {length} octets give {error:?}");
            }
        }
    }
}

#[test]
fn no_iv_is_used_twice_and_cbc_ivs_are_not_predictable() {
    for suite in suites() {
        let mut sealer = protection(&suite, Sender::Initiator);
        let mut rng = SeededRng(7);
        let iv_len = if suite.cipher.is_aead() { 8 } else { 16 };
        let ivs: Vec<Vec<u8>> = (0..200)
            .map(|_| sealer.seal(&header(), &payloads(), &mut rng)[32..32 + iv_len].to_vec())
            .collect();
        let distinct: std::collections::BTreeSet<_> = ivs.iter().collect();
        assert_eq!(distinct.len(), ivs.len(), "{suite}");
        if suite.cipher.is_aead() {
            let expected: Vec<_> = (0..200_u64).map(|counter| counter.to_be_bytes().to_vec()).collect();
            assert_eq!(ivs, expected, "{suite}: a counter");
        } else {
            let mut expected = SeededRng(7);
            let mut first = [0; 16];
            expected.fill(&mut first);
            assert_eq!(ivs[0], first, "{suite}: straight from the generator");
        }
    }
}

fn cipher_of(record: &Record) -> Suite {
    let cipher =
        IkeCipher::ALL.into_iter().find(|cipher| cipher.to_string() == record.text("cipher")).unwrap();
    let integrity = IntegId::SUPPORTED.into_iter().find(|integrity| integrity.name() == record.text("integ"));
    Suite { cipher, prf: Prf::HmacSha2_256, integrity, group: DhGroup::ECP_256 }
}

/// The record's keys for both senders; nothing else of the SA matters here.
fn keys_of(record: &Record) -> SaKeys {
    let none = || Secret::new(Vec::new());
    let (e, a) = (Secret::new(record.bytes("sk_e")), Secret::new(record.bytes("sk_a")));
    SaKeys {
        sk_d: none(),
        sk_ai: a.clone(),
        sk_ar: a,
        sk_ei: e.clone(),
        sk_er: e,
        sk_pi: none(),
        sk_pr: none(),
    }
}

#[test]
fn messages_made_by_an_independent_implementation_open() {
    let (mut whole, mut fragments) = (0, 0);
    let mut parts = Vec::new();
    for record in records(include_str!("vectors/sk.txt")) {
        let suite = cipher_of(&record);
        let opener = Protection::new(&suite, &keys_of(&record), Sender::Responder).unwrap();
        let datagram = record.bytes("datagram");
        if record.text("fragment") == "none" {
            let opened = opener.open(&datagram).unwrap();
            let inside = wire::parse_payloads(PayloadType::VENDOR, &record.bytes("inside")).unwrap();
            assert_eq!(opened.payloads, inside, "{suite}");
            assert_eq!(inside.len(), 2);
            assert_eq!(opener.open_fragment(&datagram).unwrap_err(), OpenError::NotEncrypted);
            whole += 1;
        } else {
            let opened = opener.open_fragment(&datagram).unwrap();
            assert_eq!(format!("{}/{}", opened.number, opened.total), record.text("fragment"));
            assert_eq!(opened.len(), record.bytes("inside").len());
            assert_eq!(opener.open(&datagram).unwrap_err(), OpenError::NotEncrypted);
            parts.push((suite, opened));
            fragments += 1;
        }
    }
    assert_eq!((whole, fragments), (10, 8));
    while let Some((suite, one)) = parts.pop() {
        let index = parts.iter().position(|(other, _)| *other == suite).unwrap();
        let (_, two) = parts.remove(index);
        let message = Verified::from_fragments(vec![one, two]).unwrap();
        assert_eq!(message.payloads.first(), Some(&Payload::Vendor(b"vendor".to_vec())), "{suite}");
        assert_eq!(message.payloads.len(), 2);
    }
}

#[test]
fn aes_gcm_agrees_with_another_crate() {
    let mut rng = SeededRng(77);
    for length in 0..200 {
        let mut data = vec![0; length];
        rng.fill(&mut data);
        let inside = vec![Payload::Vendor(data)];
        let suite = gcm_256();
        let keys = keys_for(&suite);
        let datagram = protection(&suite, Sender::Responder).seal(&header(), &inside, &mut rng);
        let (key, salt) = keys.sk_er.expose().split_at(32);
        let oracle = aes_gcm::Aes256Gcm::new_from_slice(key).unwrap();
        let nonce: [u8; 12] = [salt, &datagram[32..40]].concat().try_into().unwrap();
        let plain = oracle
            .decrypt(&nonce.into(), AeadPayload { msg: &datagram[40..], aad: &datagram[..32] })
            .unwrap();
        let encoded = wire::encode_payloads(&inside);
        assert_eq!(plain, [encoded.bytes, vec![0]].concat(), "payloads, no padding, Pad Length 0");
    }
}

fn gcm_256() -> Suite {
    suites().into_iter().find(|suite| suite.cipher == IkeCipher::AesGcm16(KeyBits::B256)).unwrap()
}

/// What a peer with the initiator's keys could send: payloads in the clear in `front`, then an SK payload with
/// exactly `plaintext` (padding and Pad Length included), sealed by another crate.
fn sealed_elsewhere(front: &[Payload], first: PayloadType, plaintext: &[u8]) -> Vec<u8> {
    let keys = keys_for(&gcm_256());
    let body_len = 8 + plaintext.len() + 16;
    let closed = wire::Encrypted { first, data: vec![0; body_len] };
    let mut datagram = wire::encode(&header(), &[front, &[Payload::Encrypted(closed)]].concat());
    let body_at = datagram.len() - body_len;
    let (key, salt) = keys.sk_ei.expose().split_at(32);
    let nonce: [u8; 12] = [salt, &[0; 8]].concat().try_into().unwrap();
    let sealed = aes_gcm::Aes256Gcm::new_from_slice(key)
        .unwrap()
        .encrypt(&nonce.into(), AeadPayload { msg: plaintext, aad: &datagram[..body_at] })
        .unwrap();
    datagram[body_at + 8..].copy_from_slice(&sealed);
    datagram
}

#[test]
fn an_authentic_but_malformed_message_is_told_apart_from_a_forged_one() {
    let opener = protection(&gcm_256(), Sender::Initiator);
    let nested = wire::encode_payloads(&[Payload::Encrypted(wire::Encrypted {
        first: PayloadType::NONE,
        data: vec![0; 40],
    })]);
    for (first, plaintext, expected) in [
        (PayloadType::NOTIFY, vec![0, 0, 0, 3, 0], wire::Error::BadLength(PayloadType::NOTIFY)),
        (PayloadType::NOTIFY, vec![0], wire::Error::Truncated(PayloadType::NOTIFY)),
        (PayloadType::NONE, vec![9, 9, 0], wire::Error::Trailing(PayloadType::NONE)),
        (PayloadType::NONE, vec![1], wire::Error::BadLength(PayloadType::SK)),
        (PayloadType::NONE, vec![0, 0, 255], wire::Error::BadLength(PayloadType::SK)),
        (PayloadType::SK, [nested.bytes, vec![0]].concat(), wire::Error::MisplacedEncrypted),
    ] {
        match opener.open(&sealed_elsewhere(&[], first, &plaintext)).unwrap_err() {
            OpenError::Inner { header, error } => {
                assert_eq!(error, expected);
                assert_eq!(header.message_id, 2, "there is something to answer");
            }
            other => panic!("{plaintext:?} gives {other:?}"),
        }
    }
}

#[test]
fn a_malformed_message_in_fragments_is_told_apart_too() {
    for suite in suites() {
        let head = FragmentHead { first: PayloadType::NOTIFY, number: 1, total: 1 };
        let mut sealer = protection(&suite, Sender::Initiator);
        let datagram = sealer.seal_fragment(&header(), head, &[0, 0, 0, 3], &mut SeededRng(1));
        let fragment = protection(&suite, Sender::Initiator).open_fragment(&datagram).unwrap();
        let error = Verified::from_fragments(vec![fragment]).unwrap_err();
        assert!(matches!(error, OpenError::Inner { .. }), "{suite}: {error:?}");
    }
}

#[test]
fn padding_of_any_content_and_length_is_accepted() {
    let opener = protection(&gcm_256(), Sender::Initiator);
    let inside = wire::encode_payloads(&payloads());
    for length in 0..=255_u8 {
        let padding: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37)).collect();
        let plaintext = [&inside.bytes[..], &padding, &[length]].concat();
        let opened = opener.open(&sealed_elsewhere(&[], inside.first, &plaintext)).unwrap();
        assert_eq!(opened.payloads, payloads());
    }
}

#[test]
fn fragments_come_together_in_any_order_and_only_as_one_whole_set() {
    let big: Vec<Payload> = (0..6).map(|n| Payload::Vendor(vec![n; 300])).collect();
    let encoded = wire::encode_payloads(&big);
    for suite in suites() {
        let mut sealer = protection(&suite, Sender::Initiator);
        let opener = protection(&suite, Sender::Initiator);
        let mut rng = SeededRng(2);
        let pieces: Vec<&[u8]> = encoded.bytes.chunks(500).collect();
        let total = u16::try_from(pieces.len()).unwrap();
        let mut seal = |header: &Header| -> Vec<Vec<u8>> {
            (1..)
                .zip(&pieces)
                .map(|(number, piece)| {
                    let head = FragmentHead { first: encoded.first, number, total };
                    sealer.seal_fragment(header, head, piece, &mut rng)
                })
                .collect()
        };
        let sealed = seal(&header());
        let other = seal(&Header { message_id: 3, ..header() });
        let open = |index: usize| opener.open_fragment(&sealed[index]).unwrap();
        assert_eq!(total, 4);

        let message = Verified::from_fragments(vec![open(2), open(0), open(3), open(1)]).unwrap();
        assert_eq!(message.payloads, big);

        let refused = |fragments| Verified::from_fragments(fragments).unwrap_err() == OpenError::FragmentSet;
        assert!(refused(vec![]), "none");
        assert!(refused(vec![open(0), open(1), open(2)]), "the last one missing");
        assert!(refused(vec![open(1), open(2), open(3)]), "the first one missing");
        assert!(refused(vec![open(0), open(1), open(1), open(3)]), "one twice");
        assert!(refused(vec![open(0), open(1), open(2), open(3), open(3)]), "one too many");
        let stranger = opener.open_fragment(&other[2]).unwrap();
        assert!(refused(vec![open(0), open(1), stranger, open(3)]), "of another message");

        for bit in 0..sealed[0].len().min(64) * 8 {
            let mut forged = sealed[0].clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(opener.open_fragment(&forged).is_err(), "{suite}: bit {bit}");
        }
    }
}

#[test]
fn payloads_before_the_encrypted_one_are_kept_apart_and_covered_by_the_check() {
    // libreswan's "add-unknown-v2-payload-to" does this.
    let inside = wire::encode_payloads(&payloads());
    let stray = Payload::Unknown { kind: PayloadType(200), critical: true, data: vec![1, 2, 3] };
    let plaintext = [inside.bytes, vec![0]].concat();
    let datagram = sealed_elsewhere(std::slice::from_ref(&stray), inside.first, &plaintext);
    let opener = protection(&gcm_256(), Sender::Initiator);
    let opened = opener.open(&datagram).unwrap();
    assert_eq!(opened.payloads, payloads());
    assert_eq!(opened.outer, vec![stray]);
    for index in [29, 32] {
        let mut forged = datagram.clone();
        forged[index] ^= 0x80;
        assert_eq!(opener.open(&forged).unwrap_err(), OpenError::Integrity, "octet {index}");
    }
}

#[test]
fn a_suite_that_is_no_combination_protects_nothing() {
    let group = DhGroup::ECP_256;
    let prf = Prf::HmacSha2_256;
    let bare = Suite { cipher: IkeCipher::AesCbc(KeyBits::B256), prf, integrity: None, group };
    assert!(Protection::new(&bare, &keys_for(&bare), Sender::Initiator).is_err(), "CBC without integrity");
    let both = Suite {
        cipher: IkeCipher::AesGcm16(KeyBits::B256),
        integrity: Some(IntegId::SUPPORTED[0]),
        prf,
        group,
    };
    assert!(Protection::new(&both, &keys_for(&both), Sender::Initiator).is_err(), "AEAD with integrity");
    let good = Suite { integrity: None, ..both };
    let smaller = Suite { cipher: IkeCipher::AesGcm16(KeyBits::B128), ..good };
    assert!(Protection::new(&good, &keys_for(&smaller), Sender::Initiator).is_err(), "another suite's keys");
}

#[test]
fn a_message_that_no_datagram_can_hold_is_not_sent_at_all() {
    let suite = suites()[0];
    let huge: Vec<Payload> = (0..2).map(|_| Payload::Vendor(vec![0; 40_000])).collect();
    let datagram = protection(&suite, Sender::Initiator).seal(&header(), &huge, &mut SeededRng(1));
    assert!(datagram.is_empty(), "nothing leaves in the clear");
}

#[test]
fn nothing_secret_is_printed() {
    for suite in suites() {
        let keys = keys_for(&suite);
        let text = format!("{keys:?} {:?}", protection(&suite, Sender::Initiator));
        assert!(text.contains("Secret(") && !text.contains('['), "{text}");
    }
}

#[test]
fn random_mutations_of_protected_messages_change_nothing_and_panic_nowhere() {
    let mut rng = SeededRng(0xfeed);
    for suite in suites() {
        let datagram = protection(&suite, Sender::Initiator).seal(&header(), &payloads(), &mut rng);
        let opener = protection(&suite, Sender::Initiator);
        for _ in 0..300 {
            let mutated = vectors::mutate(&datagram, &mut rng);
            if mutated != datagram {
                assert!(opener.open(&mutated).is_err());
                assert!(opener.open_fragment(&mutated).is_err());
            }
        }
    }
}
