//! Attacks that other IKE daemons took for the peer: nobody is anybody before AUTH is verified.
//!
//! Each test is named after the CVE whose attack it carries out on a real endpoint; the table is in
//! `docs/ike-conformance.md`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/script.rs"]
mod script;
mod support;

use ike::wire::{
    AuthMethod, Authentication, ExchangeType, Flags, Header, IdType, Identification, NotifyType, Payload,
    PayloadType, encode,
};
use ike::{Failure, Identity, Input};
use model::IkeSpi;
use script::{
    PSK, Script, Target, address, authenticating, connected, half_open, half_open_with, ike_delete, notified,
    notify, raw, served,
};
use support::{Side, config};

/// What a peer without an identity yet might ask for.
fn presumptuous(script: &mut Script) -> Vec<(ExchangeType, Vec<Payload>)> {
    vec![
        (ExchangeType::CREATE_CHILD_SA, script.ike_rekey_payloads(0xa77a)),
        (ExchangeType::CREATE_CHILD_SA, script.child_payloads(0x4000, None)),
        (ExchangeType::INFORMATIONAL, vec![]),
        (ExchangeType::INFORMATIONAL, vec![ike_delete()]),
        (ExchangeType::INFORMATIONAL, vec![notify(NotifyType::AUTHENTICATION_FAILED, &[])]),
        (ExchangeType::IKE_INTERMEDIATE, vec![]),
        (ExchangeType::IKE_FOLLOWUP_KE, vec![]),
        (ExchangeType::IKE_SESSION_RESUME, vec![]),
    ]
}

#[test]
fn cve_2014_2338_rekey_before_auth_changes_nothing() {
    // The responder has keys with us, and nobody has proved anything.
    let (mut target, mut script) = half_open(1);
    for (exchange, payloads) in presumptuous(&mut script) {
        for id in 0..3 {
            let request = script.seal(&script.header(exchange, false, id), &payloads);
            target.ignores(&request, &format!("{exchange} with ID {id}"));
        }
    }
    let payloads = script.auth_payloads();
    script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(target.holds(), (1, 1), "the true next message is still welcome");
    // The same towards an initiator whose IKE_AUTH is out.
    let (mut target, mut script, auth) = authenticating(2);
    for (exchange, payloads) in presumptuous(&mut script) {
        for (id, response) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
            let message = script.seal(&script.header(exchange, response, id), &payloads);
            target.ignores(&message, &format!("{exchange} with ID {id}, response: {response}"));
        }
    }
    let payloads = script.auth_payloads();
    script.answer(&mut target, &auth, &payloads);
    assert_eq!(target.holds(), (1, 1));
}

#[test]
fn cve_2019_12312_no_exchange_type_in_any_state_needs_keys_that_are_not_there() {
    let attack = |target: &mut Target, spi_i: IkeSpi, spi_r: IkeSpi| {
        for exchange in 0..=255 {
            for (initiator, response) in [(false, false), (false, true), (true, false), (true, true)] {
                for id in [0, 1, 2, u32::MAX] {
                    let flags = Flags::new(initiator, response);
                    let header = Header::new(spi_i, spi_r, ExchangeType(exchange), flags, id);
                    for payloads in [vec![], vec![raw(PayloadType::SK, &[7; 40])]] {
                        let message = encode(&header, &payloads);
                        // An empty IKE_SA_INIT is refused in the clear; everything else gets no answer.
                        if exchange == 34 && spi_r == IkeSpi::ZERO && initiator && !response && id == 0 {
                            let before = target.digest();
                            target.hear(&message);
                            assert_eq!(target.digest(), before);
                        } else if target.endpoint.status().ike_sas > 0 && response && exchange == 34 {
                            // May be taken as a stranger's refusal of our IKE_SA_INIT: a hint, never an answer.
                            assert!(target.hear(&message).is_empty());
                        } else {
                            target.ignores(&message, &format!("exchange {exchange}"));
                        }
                    }
                }
            }
        }
    };
    // Nothing known at all.
    attack(&mut Target::new(Side::B, config(Side::B)), IkeSpi(5), IkeSpi::ZERO);
    attack(&mut Target::new(Side::B, config(Side::B)), IkeSpi(5), IkeSpi(6));
    // IKE_SA_INIT is out; there are no keys.
    let mut target = Target::new(Side::A, config(Side::A));
    let ours = ike::wire::parse_header(&target.last()).unwrap().spi_i;
    attack(&mut target, ours, IkeSpi::ZERO);
    attack(&mut target, ours, IkeSpi(6));
    // Half-open, authenticating, established: there are keys, and these messages do not have them.
    let (mut target, script) = half_open(1);
    attack(&mut target, script.spi_i, script.spi_r);
    let (mut target, script, _) = authenticating(2);
    attack(&mut target, script.spi_i, script.spi_r);
    let (mut target, script) = served(3);
    attack(&mut target, script.spi_i, script.spi_r);
    let (mut target, script) = connected(4);
    attack(&mut target, script.spi_i, script.spi_r);
}

#[test]
fn cve_2019_10155_an_informational_without_a_good_icv_is_not_looked_at() {
    let (mut target, mut script) = served(1);
    let (_, mut stranger) = served(2);
    let header = script.header(ExchangeType::INFORMATIONAL, false, script.next);
    for payloads in [vec![], vec![ike_delete()], vec![script::esp_delete(&[script.spi.get()])]] {
        let good = script.seal(&header, &payloads);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if bit / 8 == 17 && bit % 8 >= 4 {
                continue; // another major version: answered in the clear, see cve_2015_3991
            }
            target.ignores(&bad, &format!("bit {bit}"));
        }
        // No ICV, a zero ICV, and the ICV of somebody else's keys.
        let mut zero = good.clone();
        let at = zero.len() - 16;
        zero[at..].fill(0);
        target.ignores(&zero, "a zero ICV");
        target.ignores(&stranger.seal(&header, &payloads), "a stranger's ICV");
        target.ignores(&encode(&header, &payloads), "no encryption at all");
    }
    let answer = script.exchange(&mut target, ExchangeType::INFORMATIONAL, &[]);
    assert!(answer.is_empty(), "the true one is answered");
}

#[test]
fn cve_2015_4171_nothing_of_ours_is_shown_to_who_did_not_authenticate_first() {
    let strangers: [(Option<IdType>, &[u8]); 3] =
        [(None, b"wrong key"), (Some(IdType::ID_FQDN), PSK), (Some(IdType::ID_KEY_ID), b"wrong key")];
    for (kind, psk) in strangers {
        let (mut target, mut script) = half_open(3);
        let id = match kind {
            Some(kind) => Identification::new(kind, b"mallory".to_vec()),
            None => script.identity(),
        };
        let payloads = script.auth_payloads_as(id, psk);
        let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(answer.len(), 1, "no IDr, no AUTH, no SA: {answer:?}");
        assert_eq!(notified(&answer), [NotifyType::AUTHENTICATION_FAILED]);
        assert_eq!(target.holds(), (0, 0));
    }
}

#[test]
fn cve_2021_45079_2023_26463_2015_8023_without_auth_nothing_is_ever_established() {
    let eap: [&[u8]; 5] = [&[3, 1, 0, 4], &[1, 1, 0, 5, 1], &[2, 1, 0, 5, 1], &[4, 0, 0, 4], &[]];
    for code in eap {
        // As initiator towards a responder: no AUTH asks for EAP; then EAP-Success by ourselves.
        let (mut target, mut script) = half_open(4);
        let mut payloads = script.auth_payloads();
        payloads.remove(1);
        payloads.push(raw(PayloadType::EAP, code));
        let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(notified(&answer), [NotifyType::AUTHENTICATION_FAILED], "no EAP is begun");
        assert_eq!(target.holds(), (0, 0));
        let again = script.ask(ExchangeType::IKE_AUTH, &[raw(PayloadType::EAP, code)]);
        target.ignores(&again, "a second IKE_AUTH");
        // As responder towards an initiator.
        let (mut target, mut script, auth) = authenticating(5);
        let mut payloads = script.auth_payloads();
        payloads.remove(1);
        payloads.push(raw(PayloadType::EAP, code));
        script.answer(&mut target, &auth, &payloads);
        assert_eq!(target.children.len(), 0);
        assert!(target.endpoint.status().ike.is_none_or(|ike| ike.established.is_none()));
    }
}

#[test]
fn cve_2021_45079_other_authentication_methods_prove_nothing() {
    // NULL authentication (RFC 7619) needs no secret; the others have none with us.
    for method in (0..=255).filter(|method| AuthMethod(*method) != AuthMethod::SHARED_KEY) {
        let (mut target, mut script) = half_open(6);
        let mut payloads = script.auth_payloads();
        let Payload::Auth(Authentication { data, .. }) = payloads[1].clone() else {
            panic!("AUTH is second")
        };
        payloads[1] = Payload::Auth(Authentication { method: AuthMethod(method), data });
        let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(notified(&answer), [NotifyType::AUTHENTICATION_FAILED], "method {method}");
        assert_eq!(target.holds(), (0, 0));
    }
}

/// Identities next to the right one: longer, shorter, of another type, of other octets.
fn near(right: &Identification) -> Vec<Identification> {
    let mut near = Vec::new();
    for length in (0..right.data.len()).chain([right.data.len() + 1, right.data.len() + 100]) {
        let mut data = right.data.clone();
        data.resize(length, 0);
        near.push(Identification::new(IdType::ID_KEY_ID, data));
    }
    for kind in (0..=255).map(IdType).filter(|kind| *kind != right.kind) {
        let fits = !(kind == IdType::ID_IPV4_ADDR || kind == IdType::ID_IPV6_ADDR);
        if fits {
            near.push(Identification::new(kind, right.data.clone()));
        }
    }
    for at in 0..right.data.len() {
        let mut data = right.data.clone();
        data[at] ^= 0x20;
        near.push(Identification::new(right.kind, data));
    }
    near
}

#[test]
fn cve_2013_6075_an_identity_is_compared_by_type_and_every_octet() {
    let right = Identification::new(IdType::ID_KEY_ID, b"branch-7".to_vec());
    for id in near(&right) {
        let mut expecting = config(Side::B);
        expecting.remote_identity = Identity::KeyId(right.data.clone());
        let (mut target, mut script) = half_open_with(7, expecting);
        let payloads = script.auth_payloads_as(id.clone(), PSK);
        let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(notified(&answer), [NotifyType::AUTHENTICATION_FAILED], "{id:?}");
        assert_eq!(target.holds(), (0, 0));
        assert!(matches!(target.failures()[..], [Failure::PeerIdentityMismatch { .. }]));
    }
    let mut expecting = config(Side::B);
    expecting.remote_identity = Identity::KeyId(right.data.clone());
    let (mut target, mut script) = half_open_with(7, expecting);
    let payloads = script.auth_payloads_as(right, PSK);
    script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(target.holds(), (1, 1));
}

#[test]
fn deviation_attack_hal_01980276_a_proven_but_unexpected_identity_leaves_no_state() {
    // Initiator side: the responder knows the key and calls itself somebody else.
    let (mut target, mut script, auth) = authenticating(8);
    let id = Identification::new(IdType::ID_FQDN, b"another.example".to_vec());
    let payloads = script.auth_payloads_as(id, PSK);
    let farewell = script.answer(&mut target, &auth, &payloads);
    assert_eq!(target.children.len(), 0);
    assert!(matches!(target.failures()[..], [Failure::PeerIdentityMismatch { .. }]));
    // The peer learns that there is no SA (RFC 7296 §2.21.2).
    let said = script.open(farewell.first().expect("a farewell"));
    assert_eq!(notified(&said.payloads), [NotifyType::AUTHENTICATION_FAILED]);
    assert!(target.endpoint.status().ike.is_none_or(|ike| ike.established.is_none()));
}

#[test]
fn reflection_an_endpoint_never_talks_to_itself() {
    // Both sides share one identity, so that only the reflection itself is left to notice.
    for shared in [false, true] {
        let mut config = config(Side::A);
        if shared {
            config.local_identity = Identity::Fqdn("site.example".into());
            config.remote_identity = config.local_identity.clone();
        }
        let mut target = Target::new(Side::A, config);
        let mut pending = vec![target.last()];
        for _ in 0..10 {
            let mut next = Vec::new();
            for datagram in &pending {
                next.extend(target.hear(datagram));
            }
            pending = next;
        }
        assert!(target.children.is_empty(), "a tunnel to itself (same identity: {shared})");
        assert!(target.endpoint.status().ike.is_none_or(|ike| ike.established.is_none()));
    }
}

#[test]
fn openiked_befeaef_baf0c8e_nothing_moves_before_the_icv_is_good() {
    // The peer is behind a NAT, so its address may move: by an authenticated message, and by nothing else.
    let behind_nat = |script: &Script| {
        let mut payloads = script.first_payloads();
        payloads[3] = notify(NotifyType::NAT_DETECTION_SOURCE_IP, &[9; 20]);
        payloads
    };
    let mut target = Target::new(Side::B, config(Side::B));
    let mut script = Script::initiator(9);
    let request = script.first(&behind_nat(&script));
    let answer = target.hear(&request).remove(0);
    script.hear_first(&answer);
    let mut from = address(Side::A);
    from.set_port(4500);
    let auth = script.auth_payloads();
    let auth = script.ask(ExchangeType::IKE_AUTH, &auth);
    assert_eq!(target.hear_from(from, &auth).len(), 1);
    assert_eq!(target.endpoint.status().ike.unwrap().remote, from);
    let elsewhere = "203.0.113.9:31337".parse().unwrap();
    let probe = script.ask(ExchangeType::INFORMATIONAL, &[]);
    let before = (target.digest(), target.endpoint.status().ike);
    for at in 18..probe.len() {
        let mut forged = probe.clone();
        forged[at] ^= 1;
        assert!(target.hear_from(elsewhere, &forged).is_empty());
        assert!(target.hear_from(elsewhere, &auth).len() <= 1, "a replay gets the old answer");
        assert_eq!((target.digest(), target.endpoint.status().ike), before, "octet {at}");
    }
    target.hear_from(elsewhere, &probe);
    assert_eq!(target.endpoint.status().ike.unwrap().remote, elsewhere, "the authenticated one moves it");
    // And EspReceived of an SPI nobody has.
    let before = target.digest();
    target.input(Input::EspReceived { spi_in: model::Spi::new(0x1000).unwrap() });
    assert_eq!(target.digest(), before);
}
