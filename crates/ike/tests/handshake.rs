//! The first two exchanges, from both sides.

mod support;

use std::time::Duration;

use ike::crypto::{IkeCipher, Integrity, Prf};
use ike::wire::{DhGroup, ExchangeType, NotifyType, Payload, parse};
use ike::{Command, EspCipher, EspProposal, Identity, IkeProposal, Notice, Phase, Role, Selection, Startup};
use model::{Encapsulation, EspIntegrity, KeyBits, TrafficSelector};
use support::{A_INSIDE, A_IP, Pair, Peer, Side, config};

const BOTH: [Side; 2] = [Side::A, Side::B];

#[test]
fn four_messages_make_one_ike_sa_and_one_child() {
    let mut pair = Pair::plain();
    pair.deliver_all();
    pair.assert_one_tunnel();
    let exchanges: Vec<_> = pair.history.iter().map(|datagram| datagram.exchange()).collect();
    use ExchangeType as E;
    assert_eq!(exchanges, [E::IKE_SA_INIT, E::IKE_SA_INIT, E::IKE_AUTH, E::IKE_AUTH]);
    let status = pair.a.endpoint.status();
    assert_eq!(status.phase, Phase::Established);
    let ike = status.ike.unwrap();
    assert_eq!(ike.role, Role::Initiator);
    assert_eq!(ike.proposal, "AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE25519");
    assert_eq!(status.child.unwrap().proposal, "AES_GCM_16_128");
    for side in BOTH {
        assert_eq!(pair.peer(side).count(|n| matches!(n, Notice::IkeEstablished { .. })), 1);
        assert_eq!(pair.peer(side).count(|n| matches!(n, Notice::ChildEstablished { .. })), 1);
        assert!(pair.peer(side).failures().is_empty());
    }
}

#[test]
fn the_responder_installs_before_it_answers() {
    let mut pair = Pair::plain();
    pair.deliver_all();
    let install = pair.b.trace.iter().position(|effect| effect == "install 1").unwrap();
    assert_eq!(pair.b.trace[install + 1], "send");
}

#[test]
fn nothing_happens_for_an_hour_afterwards() {
    let mut pair = Pair::established();
    pair.run(Duration::from_secs(3_600));
    pair.assert_one_tunnel();
    assert_eq!(pair.history.len(), 4);
}

#[test]
fn without_a_nat_ike_stays_on_port_500_and_esp_is_bare() {
    let mut pair = Pair::established();
    for side in BOTH {
        let child = pair.peer(side).active_child();
        assert_eq!(child.encapsulation, Encapsulation::Esp);
        assert_eq!((child.local.port(), child.remote.port()), (500, 500));
    }
    assert!(pair.history.iter().all(|datagram| !datagram.transmit.non_esp_marker));
}

#[test]
fn forced_encapsulation_floats_to_port_4500_on_both_sides() {
    for forced in BOTH {
        let mut pair = Pair::established_with(|side, config| config.force_udp_encapsulation = side == forced);
        for side in BOTH {
            let child = pair.peer(side).active_child();
            assert_eq!(child.encapsulation, Encapsulation::Udp);
            assert_eq!((child.local.port(), child.remote.port()), (4500, 4500));
        }
        let markers: Vec<_> = pair.history.iter().map(|datagram| datagram.transmit.non_esp_marker).collect();
        assert_eq!(markers, [false, false, true, true]);
        let status = pair.peer(forced.other()).endpoint.status().ike.unwrap();
        assert!(status.nat_remote, "the other side sees the claimed NAT");
    }
}

#[test]
fn a_real_nat_is_found_from_either_side_and_kept_open() {
    let behind = || {
        let mut a = config(Side::A);
        a.local = format!("{A_INSIDE}:500").parse().unwrap();
        a.local_identity = Identity::Ipv4(A_IP.parse().unwrap());
        Pair::new(a, config(Side::B))
    };
    let mut pair = behind();
    pair.deliver_all();
    pair.assert_one_tunnel();
    let (a, b) = (pair.a.endpoint.status().ike.unwrap(), pair.b.endpoint.status().ike.unwrap());
    assert_eq!((a.nat_local, a.nat_remote), (true, false));
    assert_eq!((b.nat_local, b.nat_remote), (false, true));
    assert_eq!(b.remote, format!("{A_IP}:20001").parse().unwrap());
    assert_eq!(pair.b.active_child().remote, b.remote);
    let before = pair.history.len();
    pair.run(Duration::from_secs(61));
    let keepalives: Vec<_> = pair.history[before..].iter().collect();
    assert_eq!(keepalives.len(), 3, "one in 20 s");
    for keepalive in keepalives {
        assert_eq!(keepalive.transmit.payload, [0xff]);
        assert!(!keepalive.transmit.non_esp_marker);
        assert_eq!(keepalive.from, Side::A);
    }
}

#[test]
fn an_authenticated_message_from_a_new_nat_port_moves_the_path() {
    let mut a = config(Side::A);
    a.local = format!("{A_INSIDE}:500").parse().unwrap();
    a.local_identity = Identity::Ipv4(A_IP.parse().unwrap());
    let mut pair = Pair::new(a, config(Side::B));
    pair.deliver_all();
    pair.nat = Some(1);
    pair.command(Side::A, Command::CheckLiveness);
    let question = pair.pop();
    // A forged one from elsewhere moves nothing.
    let mut forged = question.clone();
    let last = forged.transmit.payload.len() - 1;
    forged.transmit.payload[last] ^= 1;
    let before = pair.b.digest();
    pair.deliver(&forged);
    assert_eq!(pair.b.digest(), before);
    pair.deliver(&question);
    let moved = format!("{A_IP}:20011").parse().unwrap();
    assert_eq!(pair.b.active_child().remote, moved);
    assert_eq!(pair.b.endpoint.status().ike.unwrap().remote, moved);
    assert_eq!(pair.b.count(|n| matches!(n, Notice::PathChanged { .. })), 1);
    pair.deliver_all();
    // A replay of the old one from the old port moves nothing either.
    pair.nat = Some(0);
    pair.deliver(&question);
    assert_eq!(pair.b.active_child().remote, moved);
}

#[test]
fn a_responder_under_load_demands_a_cookie_and_keeps_nothing_meanwhile() {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    a.force_udp_encapsulation = true;
    b.limits.cookie_threshold = 0;
    let mut pair = Pair::new(a, b);
    let before = pair.b.digest();
    pair.step();
    assert_eq!(pair.b.digest(), before, "a cookie costs the responder no state");
    let answer = parse(&pair.wire[0].transmit.payload).unwrap();
    assert!(matches!(&answer.payloads[..], [Payload::Notify(n)] if n.kind == NotifyType::COOKIE));
    pair.step();
    let first = parse(&pair.history[0].transmit.payload).unwrap();
    let second = parse(&pair.wire[0].transmit.payload).unwrap();
    assert!(matches!(&second.payloads[0], Payload::Notify(n) if n.kind == NotifyType::COOKIE));
    assert_eq!(first.header, second.header.with_next(first.header.next_payload));
    assert_eq!(first.payloads, second.payloads[1..], "the rest is unchanged");
    pair.deliver_all();
    pair.assert_one_tunnel();
    assert_eq!(pair.a.count(|n| *n == Notice::CookieRequested), 1);
}

trait WithNext {
    fn with_next(self, next: ike::wire::PayloadType) -> Self;
}

impl WithNext for ike::wire::Header {
    fn with_next(mut self, next: ike::wire::PayloadType) -> Self {
        self.next_payload = next;
        self
    }
}

fn two_groups(config: &mut ike::Config) {
    config.ike_proposals[0].groups = vec![DhGroup::CURVE25519, DhGroup::ECP_256];
}

#[test]
fn the_responder_may_ask_for_another_group() {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    two_groups(&mut a);
    b.ike_proposals[0].groups = vec![DhGroup::ECP_256];
    let mut pair = Pair::new(a, b);
    pair.deliver_all();
    pair.assert_one_tunnel();
    assert!(pair.a.endpoint.status().ike.unwrap().proposal.ends_with("ECP_256"));
    assert_eq!(pair.history.len(), 6);
    assert_eq!(pair.a.count(|n| matches!(n, Notice::GroupRequested { group: 19 })), 1);
}

#[test]
fn a_cookie_survives_a_change_of_group() {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    two_groups(&mut a);
    b.ike_proposals[0].groups = vec![DhGroup::ECP_256];
    b.limits.cookie_threshold = 0;
    let mut pair = Pair::new(a, b);
    pair.deliver_all();
    pair.assert_one_tunnel();
    assert_eq!(pair.history.len(), 8, "cookie, group, agreement, IKE_AUTH");
    assert_eq!(pair.a.count(|n| *n == Notice::CookieRequested), 1, "the cookie is kept");
}

#[test]
fn the_best_common_proposal_of_several_is_chosen() {
    let offers = |ciphers: &[IkeCipher]| -> Vec<IkeProposal> {
        ciphers
            .iter()
            .map(|cipher| IkeProposal {
                encryption: vec![*cipher],
                prf: vec![Prf::HmacSha2_512, Prf::HmacSha2_256],
                integrity: if cipher.is_aead() { Vec::new() } else { vec![Integrity::HmacSha2_256_128] },
                groups: vec![DhGroup::CURVE25519],
                additional: Vec::new(),
            })
            .collect()
    };
    let pair = Pair::established_with(|side, config| {
        config.ike_proposals = match side {
            Side::A => offers(&[
                IkeCipher::AesGcm16(KeyBits::B256),
                IkeCipher::AesCbc(KeyBits::B256),
                IkeCipher::AesCbc(KeyBits::B128),
            ]),
            Side::B => offers(&[IkeCipher::AesCbc(KeyBits::B128), IkeCipher::AesCbc(KeyBits::B256)]),
        };
        config.esp_proposals = vec![EspProposal {
            encryption: vec![EspCipher::AesCbc(KeyBits::B256)],
            integrity: vec![EspIntegrity::HmacSha2_384_192],
            groups: Vec::new(),
            additional: Vec::new(),
            esn: vec![true, false],
        }];
    });
    let status = pair.a.endpoint.status();
    assert_eq!(
        status.ike.unwrap().proposal,
        "AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_512/CURVE25519",
        "the responder's order decides"
    );
    assert_eq!(status.child.unwrap().proposal, "AES_CBC_256/HMAC_SHA2_384_192/ESN");
}

#[test]
fn an_aws_like_responder_takes_the_lowest_value() {
    let pair = Pair::established_with(|side, config| {
        config.ike_proposals[0].encryption =
            vec![IkeCipher::AesGcm16(KeyBits::B256), IkeCipher::AesGcm16(KeyBits::B128)];
        config.esp_proposals[0].encryption =
            vec![EspCipher::AesGcm16(KeyBits::B256), EspCipher::AesGcm16(KeyBits::B128)];
        if side == Side::B {
            config.selection = Selection::LowestValue;
        }
    });
    let status = pair.a.endpoint.status();
    assert!(status.ike.unwrap().proposal.starts_with("AES_GCM_16_128"));
    assert_eq!(status.child.unwrap().proposal, "AES_GCM_16_128");
}

#[test]
fn traffic_selectors_are_narrowed_to_the_common_part() {
    let net = |text: &str| TrafficSelector::from_net(text.parse().unwrap());
    let pair = Pair::established_with(|side, config| {
        if side == Side::B {
            config.ts_local = vec![net("10.20.0.0/16")];
            config.ts_remote = vec![net("10.30.0.0/16"), net("10.40.0.0/16")];
        }
    });
    assert_eq!(pair.a.active_child().ts_remote, vec![net("10.20.0.0/16")]);
    assert_eq!(pair.a.active_child().ts_local, vec![net("10.30.0.0/16"), net("10.40.0.0/16")]);
}

#[test]
fn a_rebooted_initiator_replaces_what_it_left_behind() {
    let mut pair = Pair::established();
    let old = pair.b.endpoint.status().ike.unwrap();
    pair.a = Peer::new(config(Side::A), 77, pair.now);
    pair.run(Duration::from_secs(1));
    pair.assert_one_tunnel();
    assert_ne!(pair.b.endpoint.status().ike.unwrap().spi_i, old.spi_i);
    let sent_delete =
        pair.history.iter().any(|d| d.from == Side::B && d.exchange() == ExchangeType::INFORMATIONAL);
    assert!(!sent_delete, "INITIAL_CONTACT: the old one is dropped without a DELETE");
}

#[test]
fn both_initiating_at_once_end_with_one_tunnel() {
    for lowest in [0, 1, 2, 3] {
        let mut b = config(Side::B);
        b.startup = Startup::Initiate;
        let mut pair = Pair::new(config(Side::A), b);
        // Both requests are out; every message crosses its counterpart.
        pair.a.bias_nonces(if lowest == 0 { 1 } else { 200 });
        pair.b.bias_nonces(if lowest == 1 { 1 } else { 201 });
        let mut rounds = 0;
        while !pair.wire.is_empty() {
            let crossing: Vec<_> = pair.wire.drain(..).collect();
            let order: Vec<_> = if lowest % 2 == 0 { crossing } else { crossing.into_iter().rev().collect() };
            for datagram in &order {
                pair.deliver(datagram);
            }
            rounds += 1;
            assert!(rounds < 100);
        }
        pair.run(Duration::from_secs(10));
        pair.assert_one_tunnel();
        for side in BOTH {
            assert!(pair.peer(side).failures().is_empty());
            assert_eq!(pair.peer(side).count(|n| matches!(n, Notice::PeerDeletedIke)), 0, "never down");
        }
    }
}

#[test]
fn an_ike_sa_survives_the_refusal_of_its_first_child() {
    let mut b = config(Side::B);
    b.ts_local = vec![TrafficSelector::any_v6()];
    let mut pair = Pair::new(config(Side::A), b);
    pair.deliver_all();
    assert_eq!(pair.a.endpoint.status().phase, Phase::IkeOnly);
    assert!(pair.a.children.is_empty() && pair.b.children.is_empty());
}

#[test]
fn every_common_pair_of_algorithms_works() {
    let integrities = [
        Integrity::HmacSha1_96,
        Integrity::HmacSha2_256_128,
        Integrity::HmacSha2_384_192,
        Integrity::HmacSha2_512_256,
    ];
    let groups =
        [DhGroup::MODP_1024, DhGroup::MODP_2048, DhGroup::ECP_256, DhGroup::ECP_384, DhGroup::ECP_521];
    let mut group = groups.into_iter().cycle();
    for bits in [KeyBits::B128, KeyBits::B256] {
        for prf in Prf::ALL {
            for integrity in integrities.map(Some).into_iter().chain([None]) {
                let cipher =
                    if integrity.is_some() { IkeCipher::AesCbc(bits) } else { IkeCipher::AesGcm16(bits) };
                let esp =
                    if integrity.is_some() { EspCipher::AesCbc(bits) } else { EspCipher::AesGcm16(bits) };
                let dh = group.next().unwrap();
                let mut pair = Pair::established_with(|_, config| {
                    config.ike_proposals = vec![IkeProposal {
                        encryption: vec![cipher],
                        prf: vec![prf],
                        integrity: integrity.into_iter().collect(),
                        groups: vec![dh],
                        additional: Vec::new(),
                    }];
                    config.esp_proposals = vec![EspProposal {
                        encryption: vec![esp],
                        integrity: integrity.into_iter().collect(),
                        groups: vec![dh],
                        additional: Vec::new(),
                        esn: vec![false],
                    }];
                });
                pair.command(Side::B, Command::RekeyChild);
                pair.run(Duration::from_secs(10));
                pair.assert_one_tunnel();
            }
        }
    }
}

#[test]
fn the_endpoint_has_nothing_to_do_before_its_first_time_out() {
    let mut peer = Peer::new(config(Side::B), 1, support::START);
    assert!(peer.endpoint.poll_output().is_none());
    assert_eq!(peer.endpoint.poll_timeout(), None, "who waits has no timer");
    assert_eq!(peer.endpoint.status().phase, Phase::Listening);
    peer.endpoint.handle_timeout(support::START);
    assert!(peer.endpoint.poll_output().is_none());
}
