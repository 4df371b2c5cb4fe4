//! Hybrid key exchange: ML-KEM in IKE_INTERMEDIATE (RFC 9242, RFC 9370, draft-ietf-ipsecme-ikev2-mlkem), with and
//! without fragments, under loss, and what AUTH says of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/script.rs"]
mod script;
mod support;

use std::time::Duration;

use ExchangeType as E;
use ike::crypto::{
    IntermediateAuth, KEMS, KeyInputs, KeyPair, Prf, SignedOctets, auth_psk, derive_rekeyed_sa_keys,
};
use ike::wire::{
    AuthMethod, Authentication, DhGroup, ExchangeType, KeyExchange, NotifyType, Payload, PayloadType,
    SecurityAssociation, Transform, TransformType,
};
use ike::{Command, Config, Failure, Notice, Stage};
use script::{PSK, Script, Target, ike_sa, notify};
use support::{Pair, Side, config};

fn hybrid(methods: &[DhGroup]) -> impl Fn(Side, &mut Config) {
    move |_, config| config.ike_proposals[0].additional = methods.to_vec()
}

#[test]
fn every_ml_kem_and_several_key_exchanges_bring_a_tunnel_up() {
    let several = [DhGroup::ML_KEM_768, DhGroup::ECP_256, DhGroup::ML_KEM_1024];
    for methods in [&KEMS[0..1], &KEMS[1..2], &KEMS[2..3], &several] {
        let pair = Pair::established_with(hybrid(methods));
        let mut asked = vec![E::IKE_SA_INIT];
        asked.extend(methods.iter().map(|_| E::IKE_INTERMEDIATE));
        asked.push(E::IKE_AUTH);
        let mut sent = pair.requests(Side::A, 0);
        sent.dedup();
        asked.dedup();
        assert_eq!(sent, asked);
        let names: Vec<_> = methods.iter().map(ToString::to_string).collect();
        let proposal = pair.a.endpoint.status().ike.unwrap().proposal;
        assert_eq!(proposal, format!("AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE25519/{}", names.join("/")));
    }
}

#[test]
fn a_hybrid_handshake_survives_the_loss_of_any_datagram_in_fragments_too() {
    for size in [1280, 400] {
        for lost in 0..14 {
            let change = |side| Config {
                fragment_size: Some(size),
                ike_proposals: vec![ike::IkeProposal {
                    additional: vec![DhGroup::ML_KEM_768],
                    ..support::ike_proposal()
                }],
                ..config(side)
            };
            let mut pair = Pair::new(change(Side::A), change(Side::B));
            let mut sent = 0;
            pair.run_with(Duration::from_secs(14), |_| {
                sent += 1;
                sent != lost + 1
            });
            pair.assert_one_tunnel();
        }
    }
}

#[test]
fn a_hybrid_handshake_gets_through_a_way_that_takes_576_octets_only() {
    let mut a = config(Side::A);
    let mut b = config(Side::B);
    for config in [&mut a, &mut b] {
        config.ike_proposals[0].additional = vec![DhGroup::ML_KEM_768, DhGroup::ML_KEM_1024];
    }
    let mut pair = Pair::new(a, b);
    pair.run_with(Duration::from_secs(30), |datagram| datagram.transmit.payload.len() <= 576 - 28);
    pair.assert_one_tunnel();
    assert_eq!(pair.a.count(|n| matches!(n, Notice::HandshakeStarted { .. })), 1, "in one attempt");
}

#[test]
fn on_the_nat_t_port_there_is_room_for_the_marker_in_both_directions() {
    let mut a = config(Side::A);
    let mut b = config(Side::B);
    for config in [&mut a, &mut b] {
        config.ike_proposals[0].additional = vec![DhGroup::ML_KEM_768];
        config.force_udp_encapsulation = true;
    }
    let mut pair = Pair::new(a, b);
    pair.run_with(Duration::from_secs(14), |datagram| {
        let marker = if datagram.transmit.non_esp_marker { 4 } else { 0 };
        datagram.transmit.payload.len() + marker <= 576 - 28
    });
    pair.assert_one_tunnel();
    assert_eq!(pair.a.count(|n| matches!(n, Notice::HandshakeStarted { .. })), 1, "in one attempt");
}

#[test]
fn a_peer_without_ml_kem_refuses_it_unless_it_may_be_left_out() {
    for side in [Side::A, Side::B] {
        let mut pair = {
            let mut a = config(Side::A);
            let mut b = config(Side::B);
            let ours = if side == Side::A { &mut a } else { &mut b };
            ours.ike_proposals[0].additional = vec![DhGroup::ML_KEM_768];
            Pair::new(a, b)
        };
        pair.run(Duration::from_secs(5));
        assert!(pair.a.children.is_empty(), "no silent fall-back");
        let failed =
            |n: &Notice| matches!(n, Notice::Failed(Failure::NoProposalChosen { stage: Stage::SaInit, .. }));
        assert!(pair.a.count(failed) > 0);
        let pair = Pair::established_with(|of, config| {
            if of == side {
                let mut classic = config.ike_proposals[0].clone();
                config.ike_proposals[0].additional = vec![DhGroup::ML_KEM_768];
                classic.additional.clear();
                config.ike_proposals.push(classic);
            }
        });
        let proposal = pair.a.endpoint.status().ike.unwrap().proposal;
        assert_eq!(proposal, "AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE25519");
    }
}

#[test]
fn rfc9370_2_2_1_none_leaves_an_additional_key_exchange_out() {
    let mut target = Target::new(Side::B, config(Side::B));
    let mut script = Script::initiator(9);
    let mut payloads = script.first_payloads();
    let Payload::Sa(mut sa) = ike_sa(&[]) else { panic!("an SA payload") };
    let transforms = &mut sa.proposals[0].transforms;
    transforms.push(Transform::new(TransformType::ADDKE1, DhGroup::ML_KEM_768.0));
    transforms.push(Transform::new(TransformType::ADDKE1, DhGroup::NONE.0));
    payloads[0] = Payload::Sa(sa);
    payloads.push(notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, &[]));
    let request = script.first(&payloads);
    let answer = target.hear(&request).remove(0);
    let Payload::Sa(SecurityAssociation { proposals }) = &ike::wire::parse(&answer).unwrap().payloads[0]
    else {
        panic!("the choice comes first")
    };
    let chosen: Vec<_> =
        proposals[0].transforms.iter().filter(|t| t.kind == TransformType::ADDKE1).map(|t| t.id).collect();
    assert_eq!(chosen, [DhGroup::NONE.0]);
    script.hear_first(&answer);
    let payloads = script.auth_payloads();
    script.exchange(&mut target, E::IKE_AUTH, &payloads);
    assert_eq!(target.holds(), (1, 1), "IKE_AUTH follows at once");
}

/// A waiting endpoint with ML-KEM-768, and we have its answer to our IKE_SA_INIT.
fn half_open(intermediate: bool) -> (Target, Script, Vec<u8>) {
    let mut config = config(Side::B);
    config.ike_proposals[0].additional = vec![DhGroup::ML_KEM_768];
    let mut target = Target::new(Side::B, config);
    let mut script = Script::initiator(10);
    let mut payloads = script.first_payloads();
    let Payload::Sa(mut sa) = ike_sa(&[]) else { panic!("an SA payload") };
    sa.proposals[0].transforms.push(Transform::new(TransformType::ADDKE1, DhGroup::ML_KEM_768.0));
    payloads[0] = Payload::Sa(sa);
    if intermediate {
        payloads.push(notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, &[]));
    }
    let request = script.first(&payloads);
    let answer = target.hear(&request).remove(0);
    (target, script, answer)
}

/// A | P by hand (RFC 9242 §3.3.2): the header with the length of what stands there, the generic header of SK with
/// its own, and the payloads inside in the clear.
fn by_hand(message: &[u8], inside: &[u8]) -> Vec<u8> {
    let length = u32::try_from(28 + 4 + inside.len()).unwrap();
    let sk = u16::try_from(4 + inside.len()).unwrap();
    let mut octets = message[..24].to_vec();
    octets[16] = PayloadType::SK.0;
    octets.extend(length.to_be_bytes());
    octets.extend([PayloadType::KE.0, 0]);
    octets.extend(sk.to_be_bytes());
    octets.extend(inside);
    octets
}

/// A KE payload by hand, the last of its message.
fn ke_octets(method: DhGroup, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + data.len()).unwrap();
    [&[0, 0][..], &length.to_be_bytes(), &method.0.to_be_bytes(), &[0, 0], data].concat()
}

/// IKE_INTERMEDIATE with a peer played by hand; gives the target before IKE_AUTH, and what AUTH must cover.
fn exchanged() -> (Target, Script, IntermediateAuth) {
    let (mut target, mut script, answer) = half_open(true);
    script.hear_first(&answer);
    let pair = KeyPair::generate(DhGroup::ML_KEM_768, &mut script.dice).unwrap();
    let data = pair.public().to_vec();
    let ke = Payload::Ke(KeyExchange { group: DhGroup::ML_KEM_768, data: data.clone() });
    let request = script.ask(E::IKE_INTERMEDIATE, &[ke]);
    let response = target.hear(&request).remove(0);
    assert_eq!(
        target.hear(&request),
        std::slice::from_ref(&response),
        "a repeat is answered with the same octets"
    );
    let opened = script.open(&response);
    let [Payload::Ke(theirs)] = &opened.payloads[..] else { panic!("a KE payload alone") };
    let shared = pair.agree(&theirs.data).unwrap();
    let keys = script.keys.clone().unwrap();
    let auth = IntermediateAuth::new().with(
        Prf::HmacSha2_256,
        (&keys.sk_pi, &keys.sk_pr),
        &by_hand(&request, &ke_octets(DhGroup::ML_KEM_768, &data)),
        &by_hand(&response, &ke_octets(DhGroup::ML_KEM_768, &theirs.data)),
    );
    let (spi_i, spi_r) = (script.spi_i, script.spi_r);
    let inputs = KeyInputs { ni: &script.ni, nr: &script.nr, shared: &shared, spi_i, spi_r };
    let new = derive_rekeyed_sa_keys(Prf::HmacSha2_256, &keys.sk_d, &script.suite, &inputs);
    script.take_keys(new);
    (target, script, auth)
}

/// IKE_AUTH whose AUTH covers `intermediate`.
fn authenticate(target: &mut Target, script: &mut Script, intermediate: &[u8]) -> Vec<Payload> {
    let keys = script.keys.clone().unwrap();
    let body = script.identity().body();
    let signed = SignedOctets {
        message: &script.request,
        nonce: &script.nr,
        id_body: &body,
        sk_p: &keys.sk_pi,
        intermediate,
    };
    let data = auth_psk(Prf::HmacSha2_256, &model::Secret::from(PSK), &signed);
    let mut payloads = script.auth_payloads();
    for payload in &mut payloads {
        if let Payload::Auth(auth) = payload {
            *auth = Authentication { method: AuthMethod::SHARED_KEY, data: data.clone() };
        }
    }
    script.exchange(target, E::IKE_AUTH, &payloads)
}

#[test]
fn rfc9242_3_3_2_auth_covers_both_messages_of_ike_intermediate_computed_by_hand() {
    let (mut target, mut script, auth) = exchanged();
    let answer = authenticate(&mut target, &mut script, &auth.octets(2));
    assert_eq!(target.holds(), (1, 1));
    // The answer covers the same octets, under the other key.
    let (mut id, mut data) = (None, None);
    for payload in answer {
        match payload {
            Payload::IdR(got) => id = Some(got.body()),
            Payload::Auth(got) => data = Some(got.data),
            _ => {}
        }
    }
    let keys = script.keys.clone().unwrap();
    let octets = auth.octets(2);
    let signed = SignedOctets {
        message: &script.response,
        nonce: &script.ni,
        id_body: &id.unwrap(),
        sk_p: &keys.sk_pr,
        intermediate: &octets,
    };
    let expected = auth_psk(Prf::HmacSha2_256, &model::Secret::from(PSK), &signed);
    assert_eq!(data.unwrap(), expected);
}

#[test]
fn rfc9242_3_3_2_an_auth_that_does_not_cover_ike_intermediate_is_refused() {
    let wrong: [fn(&IntermediateAuth) -> Vec<u8>; 3] = [
        |_| Vec::new(),
        |auth| auth.octets(1),
        |auth| auth.with(Prf::HmacSha2_256, (&PSK.into(), &PSK.into()), b"", b"").octets(2),
    ];
    for wrong in wrong {
        let (mut target, mut script, auth) = exchanged();
        let answer = authenticate(&mut target, &mut script, &wrong(&auth));
        assert_eq!(script::notified(&answer), [NotifyType::AUTHENTICATION_FAILED]);
        assert_eq!(target.holds(), (0, 0));
    }
}

#[test]
fn an_initiator_without_ike_intermediate_gets_no_additional_key_exchange() {
    let (target, _, answer) = half_open(false);
    let payloads = ike::wire::parse(&answer).unwrap().payloads;
    assert_eq!(script::notified(&payloads), [NotifyType::NO_PROPOSAL_CHOSEN]);
    assert_eq!(target.holds(), (0, 0));
}

#[test]
fn before_the_additional_key_exchange_ike_auth_is_not_looked_at() {
    let (mut target, mut script, answer) = half_open(true);
    script.hear_first(&answer);
    let payloads = script.auth_payloads();
    let auth = script.ask(E::IKE_AUTH, &payloads);
    target.ignores(&auth, "IKE_AUTH before IKE_INTERMEDIATE");
}

#[test]
fn a_bad_encapsulation_key_or_method_in_ike_intermediate_is_refused_inside_sk() {
    let good = KeyPair::generate(DhGroup::ML_KEM_768, &mut script::Dice(3)).unwrap().public().to_vec();
    let mut unreduced = good.clone();
    unreduced[..3].fill(0xff);
    let cases = [
        (DhGroup::ML_KEM_768, good[1..].to_vec()),
        (DhGroup::ML_KEM_768, unreduced),
        (DhGroup::ML_KEM_512, good[..800].to_vec()),
        (DhGroup::ECP_256, good.clone()),
    ];
    for (group, data) in cases {
        let (mut target, mut script, answer) = half_open(true);
        script.hear_first(&answer);
        let ke = Payload::Ke(KeyExchange { group, data });
        let answer = script.exchange(&mut target, E::IKE_INTERMEDIATE, &[ke]);
        assert_eq!(script::notified(&answer), [NotifyType::INVALID_SYNTAX]);
        assert_eq!(target.holds(), (0, 0));
    }
}

#[test]
fn a_hybrid_ike_sa_is_rekeyed_with_its_additional_key_exchanges_in_fragments() {
    let mut pair = Pair::established_with(|_, config| {
        config.ike_proposals[0].additional = vec![DhGroup::ML_KEM_1024];
        config.esp_proposals[0].additional = vec![DhGroup::ML_KEM_768];
    });
    for side in [Side::A, Side::B] {
        for command in [Command::RekeyIke, Command::RekeyChild] {
            pair.command(side, command);
            pair.settle();
        }
    }
    assert_eq!(pair.generations(), (2, 2));
    pair.assert_never_down();
    let status = pair.b.endpoint.status();
    assert!(status.ike.unwrap().proposal.ends_with("/ML_KEM_1024"));
    assert!(status.child.unwrap().proposal.ends_with("/ML_KEM_768"));
}
