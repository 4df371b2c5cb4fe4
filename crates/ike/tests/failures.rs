//! What an operator gets to know when there is no tunnel, and that trying never ends.

mod support;

use std::time::Duration;

use ike::wire::{DhGroup, ExchangeType, Flags, Header, Notify, NotifyType, Payload, encode, parse_header};
use ike::{Config, Failure, Identity, Input, Notice, Phase, Stage};
use model::{IkeSpi, Secret, TrafficSelector};
use support::{B_IP, Datagram, Pair, Side, config};

fn with(change: impl Fn(&mut Config)) -> Pair {
    let mut b = config(Side::B);
    change(&mut b);
    Pair::new(config(Side::A), b)
}

/// An unprotected answer as anybody on the path could send it.
fn forge(pair: &mut Pair, request: &Datagram, kind: NotifyType, data: &[u8]) {
    let asked = request.header();
    let header =
        Header::new(asked.spi_i, IkeSpi::ZERO, asked.exchange, Flags::new(false, true), asked.message_id);
    let forged = encode(&header, &[Payload::Notify(Notify::new(kind, data.to_vec()))]);
    let (local, remote) = (request.transmit.local, request.transmit.remote);
    pair.input(request.from, Input::Datagram { local, remote, payload: &forged });
}

#[test]
fn a_wrong_key_is_an_authentication_failure_on_both_sides() {
    let mut pair = with(|b| b.credentials = ike::Credentials::Psk(Secret::from(&b"another key"[..])));
    pair.deliver_all();
    assert_eq!(pair.a.failures(), [&Failure::AuthenticationFailed { by_peer: true }]);
    assert_eq!(pair.b.failures(), [&Failure::AuthenticationFailed { by_peer: false }]);
    assert!(pair.a.children.is_empty() && pair.b.children.is_empty());
    assert_eq!(pair.b.endpoint.status().ike_sas, 0);
    pair.run(Duration::from_secs(60));
    assert!(pair.a.endpoint.status().attempts > 10, "it keeps trying");
    assert_eq!(
        pair.a.endpoint.status().last_failure.unwrap().1.notify(),
        Some(NotifyType::AUTHENTICATION_FAILED)
    );
}

#[test]
fn an_initiator_that_does_not_trust_the_responder_tells_it() {
    let mut pair = with(|b| b.local_identity = Identity::Fqdn("somebody.example".to_owned()));
    pair.deliver_all();
    assert_eq!(
        pair.a.failures(),
        [&Failure::PeerIdentityMismatch {
            expected: Identity::Ipv4(B_IP.parse().unwrap()),
            got: Identity::Fqdn("somebody.example".to_owned()),
        }]
    );
    assert_eq!(
        pair.a.endpoint.status().phase,
        Phase::Waiting { until: pair.a.endpoint.poll_timeout().unwrap().0 }
    );
    assert_eq!(pair.b.endpoint.status().ike_sas, 0, "AUTHENTICATION_FAILED ended it there too");
    assert!(pair.b.children.is_empty());
}

#[test]
fn a_wrong_identity_of_the_initiator_is_named_by_the_responder_only() {
    let mut pair = with(|b| b.remote_identity = Identity::KeyId(vec![1, 2, 3]));
    pair.deliver_all();
    assert_eq!(pair.a.failures(), [&Failure::AuthenticationFailed { by_peer: true }]);
    assert!(matches!(pair.b.failures()[..], [Failure::PeerIdentityMismatch { .. }]));
}

#[test]
fn no_common_ike_proposal_is_reported_with_the_offer_after_a_short_grace() {
    let mut pair = with(|b| b.ike_proposals[0].groups = vec![DhGroup::ECP_384]);
    pair.deliver_all();
    assert!(pair.a.failures().is_empty(), "an unauthenticated refusal does not end the attempt at once");
    pair.run(Duration::from_secs(4));
    let Failure::NoProposalChosen { stage, offered, by_peer } = pair.a.failures()[0] else { panic!() };
    assert_eq!((*stage, *by_peer), (Stage::SaInit, true));
    assert_eq!(offered, "AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE25519");
    assert!(pair.a.failures()[0].to_string().contains("NO_PROPOSAL_CHOSEN"));
    pair.run(Duration::from_secs(60));
    assert!(pair.a.endpoint.status().attempts > 5);
}

#[test]
fn a_forged_refusal_does_not_end_an_attempt() {
    for kind in
        [NotifyType::NO_PROPOSAL_CHOSEN, NotifyType::AUTHENTICATION_FAILED, NotifyType::INVALID_SYNTAX]
    {
        let mut pair = Pair::plain();
        let request = pair.wire[0].clone();
        forge(&mut pair, &request, kind, &[]);
        pair.deliver_all();
        pair.assert_one_tunnel();
        assert!(pair.a.failures().is_empty());
    }
    // The same in IKE_AUTH.
    let mut pair = Pair::plain();
    pair.step();
    pair.step();
    let request = pair.wire[0].clone();
    assert_eq!(request.exchange(), ExchangeType::IKE_AUTH);
    let asked = request.header();
    let header = Header::new(asked.spi_i, asked.spi_r, asked.exchange, Flags::new(false, true), 1);
    let forged =
        encode(&header, &[Payload::Notify(Notify::new(NotifyType::AUTHENTICATION_FAILED, Vec::new()))]);
    let (local, remote) = (request.transmit.local, request.transmit.remote);
    pair.input(Side::A, Input::Datagram { local, remote, payload: &forged });
    pair.deliver_all();
    pair.assert_one_tunnel();
}

#[test]
fn a_forged_wish_for_a_group_that_was_not_offered_changes_nothing() {
    let mut pair = Pair::plain();
    let request = pair.wire[0].clone();
    for group in [DhGroup::ECP_384, DhGroup(1025), DhGroup(0)] {
        forge(&mut pair, &request, NotifyType::INVALID_KE_PAYLOAD, &group.0.to_be_bytes());
    }
    assert_eq!(pair.wire.len(), 1, "no new request");
    pair.deliver_all();
    pair.assert_one_tunnel();
}

#[test]
fn endless_cookies_and_groups_are_bounded() {
    let mut a = config(Side::A);
    a.ike_proposals[0].groups = vec![DhGroup::CURVE25519, DhGroup::ECP_256];
    let mut pair = Pair::new(a, config(Side::B));
    for round in 0..50_u16 {
        let request = pair.history.iter().rev().find(|d| d.from == Side::A).unwrap().clone();
        let group = if round % 2 == 0 { DhGroup::ECP_256 } else { DhGroup::CURVE25519 };
        forge(&mut pair, &request, NotifyType::COOKIE, &[7; 8]);
        forge(&mut pair, &request, NotifyType::INVALID_KE_PAYLOAD, &group.0.to_be_bytes());
    }
    let sent = pair.history.iter().filter(|d| d.from == Side::A).count();
    assert!(sent <= 10, "{sent} requests");
    pair.wire.clear();
    pair.run_silent(Duration::from_secs(4));
    assert_eq!(pair.a.failures(), [&Failure::NegotiationLoop]);
}

#[test]
fn no_common_child_proposal_leaves_the_ike_sa_and_is_reported() {
    let mut pair =
        with(|b| b.esp_proposals[0].encryption = vec![ike::EspCipher::AesGcm16(model::KeyBits::B256)]);
    pair.deliver_all();
    let Failure::NoProposalChosen { stage: Stage::Child, offered, by_peer: true } = pair.a.failures()[0]
    else {
        panic!()
    };
    assert_eq!(offered, "AES_GCM_16_128/NO_ESN");
    assert_eq!(pair.a.endpoint.status().phase, Phase::IkeOnly);
    pair.run(Duration::from_secs(60));
    assert!(pair.a.endpoint.status().attempts > 1, "after three refusals a new IKE SA is tried");
}

#[test]
fn unacceptable_traffic_selectors_are_reported_by_both() {
    let net = |text: &str| vec![TrafficSelector::from_net(text.parse().unwrap())];
    let mut a = config(Side::A);
    a.ts_remote = net("10.1.0.0/16");
    let mut b = config(Side::B);
    b.ts_local = net("10.2.0.0/16");
    let mut pair = Pair::new(a, b);
    pair.deliver_all();
    let Failure::TsUnacceptable { offered, by_peer: true } = pair.a.failures()[0] else { panic!() };
    assert_eq!(offered, "0.0.0.0/0 to 10.1.0.0/16");
    let Failure::TsUnacceptable { by_peer: false, .. } = pair.b.failures()[0] else { panic!() };
}

#[test]
fn nobody_home_is_told_apart_by_stage() {
    let mut pair = Pair::plain();
    pair.run_silent(Duration::from_secs(20));
    assert_eq!(pair.a.failures(), [&Failure::NoAnswer { stage: Stage::SaInit }]);
    let mut pair = Pair::plain();
    pair.run_with(Duration::from_secs(20), |datagram| datagram.exchange() == ExchangeType::IKE_SA_INIT);
    assert_eq!(pair.a.failures(), [&Failure::NoAnswer { stage: Stage::Auth }]);
}

#[test]
fn retransmission_follows_the_documented_schedule() {
    let mut pair = Pair::plain();
    let mut times = vec![0];
    let start = pair.now;
    let mut seen = pair.history.len();
    while pair.a.failures().is_empty() {
        pair.wire.clear();
        pair.next_timeout();
        if pair.history.len() > seen {
            seen = pair.history.len();
            times.push((pair.now - start).as_millis());
        }
    }
    assert_eq!(times, [0, 500, 1_500, 3_500, 7_500, 11_500]);
    assert_eq!((pair.now - start).as_millis(), 15_500);
    let first = &pair.history[0].transmit;
    assert!(pair.history.iter().all(|datagram| datagram.transmit == *first), "identical octets");
}

#[test]
fn attempts_never_end_and_the_wait_between_them_is_capped() {
    let mut pair = Pair::plain();
    pair.run_silent(Duration::from_secs(3_600));
    let attempts = pair.a.endpoint.status().attempts;
    // 15.5 s of trying and at most 5 s of waiting.
    assert!((170..=240).contains(&attempts), "{attempts}");
    for notice in &pair.a.notices {
        if let Notice::RetryScheduled { after } = notice {
            assert!(*after <= Duration::from_secs(5));
        }
    }
    pair.run(Duration::from_secs(30));
    pair.assert_one_tunnel();
}

#[test]
fn a_peer_that_speaks_only_ikev1_is_named() {
    // As an answer, with the initiator's cookie, or as an attempt of its own.
    for own_attempt in [false, true] {
        let mut pair = Pair::plain();
        let request = pair.pop();
        let mut header = request.header();
        if own_attempt {
            header.spi_i = IkeSpi(77);
        }
        let mut datagram = encode(&header, &[]);
        datagram[17] = 0x10;
        assert_eq!(parse_header(&datagram).unwrap().major_version(), 1);
        let (local, remote) = (request.transmit.local, request.transmit.remote);
        pair.input(Side::A, Input::Datagram { local, remote, payload: &datagram });
        pair.run_silent(Duration::from_secs(4));
        assert_eq!(pair.a.failures(), [&Failure::UnsupportedVersion]);
    }
    let mut pair = Pair::plain();
    let request = pair.pop();
    forge(&mut pair, &request, NotifyType::INVALID_MAJOR_VERSION, &[1]);
    pair.run_silent(Duration::from_secs(4));
    assert_eq!(pair.a.failures(), [&Failure::UnsupportedVersion]);
}

#[test]
fn a_message_of_a_later_major_version_is_told_ours() {
    let mut pair = Pair::plain();
    let request = pair.pop();
    let mut datagram = request.transmit.payload.clone();
    datagram[17] = 0x30;
    let (local, remote) = (request.transmit.remote, request.transmit.local);
    let before = pair.b.digest();
    pair.input(Side::B, Input::Datagram { local, remote, payload: &datagram });
    assert_eq!(pair.b.digest(), before);
    let answer = ike::wire::parse(&pair.pop().transmit.payload).unwrap();
    assert!(matches!(&answer.payloads[..], [Payload::Notify(n)]
        if n.kind == NotifyType::INVALID_MAJOR_VERSION && n.data == [2]));
}

#[test]
fn a_later_minor_version_is_ignored() {
    let mut pair = Pair::plain();
    // Not the first message: AUTH covers it octet by octet, so only an answer can be altered.
    pair.step();
    let mut answer = pair.pop();
    answer.transmit.payload[17] = 0x21;
    pair.deliver(&answer);
    assert_eq!(pair.wire.len(), 1, "IKE_AUTH follows");
}

#[test]
fn identities_of_every_kind_are_compared_exactly() {
    let identities = [
        Identity::Fqdn("gateway.example".to_owned()),
        Identity::Email("vpn@gateway.example".to_owned()),
        Identity::KeyId(vec![0, 1, 2, 255]),
        Identity::DerDn(vec![0x30, 0]),
        Identity::Ipv6("2001:db8::1".parse().unwrap()),
    ];
    for identity in &identities {
        let mut a = config(Side::A);
        let mut b = config(Side::B);
        a.local_identity = identity.clone();
        b.remote_identity = identity.clone();
        let mut pair = Pair::new(a, b);
        pair.deliver_all();
        pair.assert_one_tunnel();
    }
    // Same octets, other type; a prefix; another case.
    let pairs = [
        (Identity::Fqdn("a.example".to_owned()), Identity::KeyId(b"a.example".to_vec())),
        (Identity::Fqdn("a.example".to_owned()), Identity::Fqdn("a.example.".to_owned())),
        (Identity::Fqdn("a.example".to_owned()), Identity::Fqdn("A.example".to_owned())),
    ];
    for (says, expected) in pairs {
        let mut a = config(Side::A);
        let mut b = config(Side::B);
        a.local_identity = says;
        b.remote_identity = expected;
        let mut pair = Pair::new(a, b);
        pair.deliver_all();
        assert!(pair.b.children.is_empty());
        assert!(matches!(pair.b.failures()[..], [Failure::PeerIdentityMismatch { .. }]));
    }
}
