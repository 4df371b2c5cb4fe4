//! Authenticated peers that do what they should not, or what other implementations do (a puppet with its own
//! keys says it). Numbers are those of the catalogue in `docs/ike-states.md`.

mod support;

use std::time::Duration;

use ike::wire::{
    Delete, ExchangeType, Flags, Notify, NotifyType, Payload, PayloadType, ProtocolId, Transform,
};
use ike::{CloseReason, Command, Failure, Input, Notice, Phase, Stage as At};
use model::TrafficSelector;
use support::puppet::{
    Stage, child, esp_transforms, ike_transforms, notifies, notify, of_kind, rekey_sa, sa, spi_of,
};

use ExchangeType as E;

fn delete(protocol: ProtocolId, spis: &[u32]) -> Payload {
    Payload::Delete(Delete { protocol, spis: spis.iter().map(|spi| spi.to_be_bytes().to_vec()).collect() })
}

const DELETE_IKE: Payload = Payload::Delete(Delete { protocol: ProtocolId::IKE, spis: Vec::new() });

/// The puppet is asked for a rekey of the child; the request is what it gets.
fn asked_for_rekey() -> (Stage, ike::wire::Header, Vec<Payload>) {
    let mut stage = Stage::responded(|_| {});
    stage.input(Input::Command(Command::RekeyChild));
    let (header, payloads) = stage.request();
    assert!(notifies(&payloads).contains(&NotifyType::REKEY_SA));
    (stage, header, payloads)
}

/// Nonce, KE and the child of a good answer.
fn good_answer(stage: &Stage, spi: u32) -> Vec<Payload> {
    let mut payloads = vec![Payload::Nonce(vec![0x66; 32]), stage.puppet.ke()];
    payloads.extend(child(spi, true));
    payloads
}

#[test]
fn the_puppet_can_play_both_roles() {
    let stage = Stage::responded(|_| {});
    assert_eq!(stage.peer.endpoint.status().phase, Phase::Established);
    let stage = Stage::initiated(|_| {});
    assert_eq!(stage.peer.endpoint.status().phase, Phase::Established);
}

#[test]
fn case_26_a_peer_that_lost_the_child_leads_to_a_new_one_without_rekey_sa() {
    let (mut stage, header, _) = asked_for_rekey();
    stage.reply(&header, &[notify(NotifyType::CHILD_SA_NOT_FOUND)]);
    assert!(stage.peer.children.is_empty(), "the old child is dropped silently");
    let (header, payloads) = stage.request();
    assert_eq!(header.exchange, E::CREATE_CHILD_SA);
    assert!(!notifies(&payloads).contains(&NotifyType::REKEY_SA), "not a rekey");
    let answer = good_answer(&stage, 0x2000);
    stage.reply(&header, &answer);
    assert_eq!(stage.peer.children.len(), 1);
    assert!(stage.peer.failures().is_empty());
}

#[test]
fn case_27_a_peer_deletes_the_old_child_just_before_it_answers_the_rekey() {
    let (mut stage, header, _) = asked_for_rekey();
    let answer = stage.ask(E::INFORMATIONAL, &[delete(ProtocolId::ESP, &[0x1000])]).unwrap();
    assert!(of_kind(&answer, PayloadType::DELETE).is_some());
    let answer = good_answer(&stage, 0x2000);
    stage.reply(&header, &answer);
    assert_eq!(stage.peer.children.len(), 1);
    assert_eq!(stage.peer.active_child().spi_out.get(), 0x2000);
    assert!(stage.inbox.is_empty(), "there is nothing left to delete");
}

#[test]
fn case_33_a_peer_deletes_old_and_new_after_a_collision() {
    let (mut stage, header, _) = asked_for_rekey();
    let old = rekey_sa(ProtocolId::ESP, &0x1000_u32.to_be_bytes());
    stage.create_child(vec![old], 0x3000);
    stage.ask(E::INFORMATIONAL, &[delete(ProtocolId::ESP, &[0x1000, 0x3000])]).unwrap();
    let answer = good_answer(&stage, 0x2000);
    stage.reply(&header, &answer);
    assert_eq!(stage.peer.active_child().spi_out.get(), 0x2000, "ours stays: the rival is gone");
    stage.run(Duration::from_secs(6));
    assert_eq!(stage.peer.children.len(), 1);
}

#[test]
fn case_37_a_request_finds_old_and_new_gone() {
    let (mut stage, header, _) = asked_for_rekey();
    let old = rekey_sa(ProtocolId::ESP, &0x1000_u32.to_be_bytes());
    stage.create_child(vec![old], 0x3000);
    stage.ask(E::INFORMATIONAL, &[delete(ProtocolId::ESP, &[0x1000])]).unwrap();
    stage.ask(E::INFORMATIONAL, &[delete(ProtocolId::ESP, &[0x3000])]).unwrap();
    stage.reply(&header, &[notify(NotifyType::CHILD_SA_NOT_FOUND)]);
    stage.run(Duration::from_secs(6));
    let (header, payloads) = stage.request();
    assert_eq!(header.exchange, E::CREATE_CHILD_SA);
    assert!(!notifies(&payloads).contains(&NotifyType::REKEY_SA));
}

#[test]
fn case_41_the_loser_of_a_collision_wrongly_deletes_the_old_child() {
    let (mut stage, header, _) = asked_for_rekey();
    let old = rekey_sa(ProtocolId::ESP, &0x1000_u32.to_be_bytes());
    // The puppet's exchange holds the lowest nonce: it loses, and should delete its own child.
    let mut payloads = vec![old, Payload::Nonce(vec![0; 32]), stage.puppet.ke()];
    payloads.extend(child(0x3000, true));
    stage.ask(E::CREATE_CHILD_SA, &payloads).unwrap();
    let answer = good_answer(&stage, 0x2000);
    stage.reply(&header, &answer);
    assert_eq!(stage.peer.count(|n| *n == Notice::Collision { ike: false, won: true }), 1);
    stage.ask(E::INFORMATIONAL, &[delete(ProtocolId::ESP, &[0x1000])]).unwrap();
    assert_eq!(stage.peer.active_child().spi_out.get(), 0x2000, "traffic goes on");
}

#[test]
fn case_46_a_delete_of_the_new_child_overtakes_the_answer_that_tells_it() {
    let (mut stage, header, _) = asked_for_rekey();
    let answer = stage.ask(E::INFORMATIONAL, &[delete(ProtocolId::ESP, &[0x2000])]).unwrap();
    assert!(answer.is_empty(), "nothing of ours to name yet");
    let answer = good_answer(&stage, 0x2000);
    stage.reply(&header, &answer);
    assert_eq!(stage.peer.children.len(), 1);
    assert_eq!(stage.peer.active_child().spi_out.get(), 0x1000, "the old one stays in use");
    assert!(stage.inbox.is_empty());
}

#[test]
fn case_60_a_childless_responder_is_asked_for_a_child() {
    let mut stage = Stage::responding(|_| {});
    let (header, _) = stage.request();
    let payloads = stage.puppet.auth();
    stage.reply(&header, &payloads);
    assert_eq!(stage.peer.endpoint.status().phase, Phase::IkeOnly);
    stage.run(Duration::from_secs(6));
    let (header, _) = stage.request();
    assert_eq!(header.exchange, E::CREATE_CHILD_SA);
}

#[test]
fn case_61_a_childless_initiator_is_served_and_may_add_a_child() {
    let mut stage = Stage::initiating(|_| {});
    let payloads = stage.puppet.auth();
    let answer = stage.ask(E::IKE_AUTH, &payloads).unwrap();
    assert!(of_kind(&answer, PayloadType::AUTH).is_some() && of_kind(&answer, PayloadType::SA).is_none());
    assert_eq!(stage.peer.endpoint.status().phase, Phase::IkeOnly);
    stage.create_child(Vec::new(), 0x2000);
    assert_eq!(stage.peer.endpoint.status().phase, Phase::Established);
}

#[test]
fn case_62_a_responder_that_refuses_a_childless_start_is_never_given_one() {
    // The puppet does not announce CHILDLESS_IKEV2_SUPPORTED (RFC 6023 §3); nor would it matter if it did.
    let mut stage = Stage::responding(|_| {});
    let (_, payloads) = stage.request();
    for kind in [PayloadType::SA, PayloadType::TSI, PayloadType::TSR] {
        assert!(of_kind(&payloads, kind).is_some(), "{kind:?} is in IKE_AUTH");
    }
}

#[test]
fn case_e_an_answer_of_old_times_delays_a_rekey_and_kills_nothing() {
    for kind in [NotifyType::NO_PROPOSAL_CHOSEN, NotifyType::NO_ADDITIONAL_SAS, NotifyType(99)] {
        let (mut stage, header, _) = asked_for_rekey();
        stage.reply(&header, &[notify(kind)]);
        assert_eq!(stage.peer.children.len(), 1);
        assert!(stage.inbox.is_empty());
        stage.run(Duration::from_secs(13));
        let (header, payloads) = stage.request();
        assert_eq!(header.exchange, E::CREATE_CHILD_SA);
        assert!(notifies(&payloads).contains(&NotifyType::REKEY_SA), "the rekey is tried again");
    }
}

#[test]
fn case_f_a_rekey_answered_without_a_key_exchange_is_refused_and_cleared_away() {
    let (mut stage, header, _) = asked_for_rekey();
    let mut payloads = vec![Payload::Nonce(vec![0x66; 32])];
    payloads.extend(child(0x2000, false));
    stage.reply(&header, &payloads);
    assert!(matches!(stage.peer.failures()[..], [Failure::ProtocolViolation { stage: At::Child, .. }]));
    assert_eq!(stage.peer.active_child().spi_out.get(), 0x1000, "the old one stays in use");
    let (header, payloads) = stage.request();
    assert_eq!(header.exchange, E::INFORMATIONAL);
    assert!(
        matches!(&payloads[..], [Payload::Delete(d)] if d.protocol == ProtocolId::ESP && d.spis.len() == 1)
    );
    stage.reply(&header, &[]);
    assert_eq!(stage.peer.children.len(), 1);
}

#[test]
fn case_f_configuration_and_unknown_notifications_in_a_rekey_answer_are_ignored() {
    let (mut stage, header, _) = asked_for_rekey();
    let mut payloads = good_answer(&stage, 0x2000);
    payloads.push(Payload::Configuration(vec![1, 0, 0, 0]));
    payloads.push(notify(NotifyType(50_000)));
    payloads.push(Payload::Unknown { kind: PayloadType(200), critical: false, data: vec![1] });
    stage.reply(&header, &payloads);
    assert_eq!(stage.peer.active_child().spi_out.get(), 0x2000);
}

#[test]
fn equal_nonces_are_decided_by_the_role() {
    // The same octets in all four places, as far as the puppet can make them so: ours are random, so the
    // puppet repeats ours.
    let (mut stage, header, request) = asked_for_rekey();
    let Some(Payload::Nonce(ours)) = of_kind(&request, PayloadType::NONCE).cloned() else { panic!() };
    let old = rekey_sa(ProtocolId::ESP, &0x1000_u32.to_be_bytes());
    let mut low = ours.clone();
    low[0] = 0;
    let mut payloads = vec![old, Payload::Nonce(low.clone()), stage.puppet.ke()];
    payloads.extend(child(0x3000, true));
    stage.ask(E::CREATE_CHILD_SA, &payloads).unwrap();
    let mut answer = vec![Payload::Nonce(low), stage.puppet.ke()];
    answer.extend(child(0x2000, true));
    stage.reply(&header, &answer);
    // Both exchanges hold the same lowest nonce; the original initiator (the endpoint) keeps its child.
    assert_eq!(stage.peer.count(|n| *n == Notice::Collision { ike: false, won: true }), 1);
}

#[test]
fn a_nonce_that_is_a_prefix_of_the_other_is_the_lower_one() {
    let (mut stage, header, _) = asked_for_rekey();
    let old = rekey_sa(ProtocolId::ESP, &0x1000_u32.to_be_bytes());
    let mut payloads = vec![old, Payload::Nonce(vec![0; 16]), stage.puppet.ke()];
    payloads.extend(child(0x3000, true));
    stage.ask(E::CREATE_CHILD_SA, &payloads).unwrap();
    let mut answer = vec![Payload::Nonce(vec![0; 17]), stage.puppet.ke()];
    answer.extend(child(0x2000, true));
    stage.reply(&header, &answer);
    assert_eq!(stage.peer.count(|n| *n == Notice::Collision { ike: false, won: true }), 1);
}

#[test]
fn malformed_payloads_inside_sk_are_answered_invalid_syntax_and_end_the_ike_sa() {
    let mut stage = Stage::initiated(|_| {});
    let broken = Payload::Unknown { kind: PayloadType::SA, critical: false, data: vec![0; 3] };
    let answer = stage.ask(E::CREATE_CHILD_SA, &[broken]).unwrap();
    assert_eq!(notifies(&answer), [NotifyType::INVALID_SYNTAX]);
    assert!(stage.peer.children.is_empty());
    assert_eq!(stage.peer.count(|n| *n == Notice::IkeClosed { reason: CloseReason::Violation }), 1);
}

#[test]
fn malformed_payloads_in_ike_auth_are_answered_and_establish_nothing() {
    let mut stage = Stage::initiating(|_| {});
    let broken = Payload::Unknown { kind: PayloadType::AUTH, critical: false, data: vec![2] };
    let answer = stage.ask(E::IKE_AUTH, &[broken]).unwrap();
    assert_eq!(notifies(&answer), [NotifyType::INVALID_SYNTAX]);
    assert_eq!(stage.peer.endpoint.status().phase, Phase::Listening);
}

#[test]
fn unknown_critical_payloads_inside_sk_reject_the_request_and_nothing_else() {
    for exchange in [E::INFORMATIONAL, E::CREATE_CHILD_SA] {
        let mut stage = Stage::initiated(|_| {});
        let unknown = Payload::Unknown { kind: PayloadType(201), critical: true, data: vec![9; 9] };
        let answer = stage.ask(exchange, &[DELETE_IKE, unknown]).unwrap();
        assert!(matches!(&answer[..], [Payload::Notify(n)]
            if n.kind == NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD && n.data == [201]));
        assert_eq!(stage.peer.children.len(), 1, "the DELETE beside it was not obeyed");
    }
}

#[test]
fn each_payload_withheld_or_doubled_in_ike_auth_establishes_nothing() {
    for withheld in [PayloadType::IDI, PayloadType::AUTH] {
        for doubled in [false, true] {
            let mut stage = Stage::initiating(|_| {});
            let mut payloads = stage.puppet.auth();
            payloads.extend(child(0x1000, false));
            let index = payloads.iter().position(|payload| payload.kind() == withheld).unwrap();
            if doubled {
                payloads.push(payloads[index].clone());
            } else {
                payloads.remove(index);
            }
            let answer = stage.ask(E::IKE_AUTH, &payloads).unwrap();
            assert!(of_kind(&answer, PayloadType::AUTH).is_none(), "{withheld} {doubled}");
            assert!(stage.peer.children.is_empty());
            assert_eq!(stage.peer.endpoint.status().phase, Phase::Listening);
        }
    }
    for withheld in [PayloadType::IDR, PayloadType::AUTH] {
        let mut stage = Stage::responding(|_| {});
        let (header, _) = stage.request();
        let mut payloads = stage.puppet.auth();
        payloads.extend(child(0x1000, false));
        payloads.retain(|payload| payload.kind() != withheld);
        stage.reply(&header, &payloads);
        assert!(stage.peer.children.is_empty());
        assert!(matches!(stage.peer.failures()[..], [Failure::ProtocolViolation { stage: At::Auth, .. }]));
    }
}

#[test]
fn each_payload_withheld_in_create_child_sa_installs_nothing() {
    for withheld in [PayloadType::SA, PayloadType::NONCE, PayloadType::KE, PayloadType::TSI, PayloadType::TSR]
    {
        let mut stage = Stage::initiated(|_| {});
        let mut payloads = vec![Payload::Nonce(vec![0x55; 32]), stage.puppet.ke()];
        payloads.extend(child(0x2000, true));
        payloads.retain(|payload| payload.kind() != withheld);
        let answer = stage.ask(E::CREATE_CHILD_SA, &payloads).unwrap();
        assert!(notifies(&answer)[0].is_error(), "{withheld}");
        let installed = stage.peer.trace.iter().filter(|effect| effect.starts_with("install")).count();
        assert_eq!(installed, 1);
    }
}

#[test]
fn rekey_sa_with_any_protocol_and_spi_does_no_harm() {
    for protocol in [0, 1, 2, 3, 4, 255] {
        for spi in [&[][..], &[1], &[0, 0, 0x10, 0], &[0; 4], &[0xff; 4], &[1; 8], &[7; 255]] {
            let mut stage = Stage::initiated(|_| {});
            let right = protocol == 3 && spi == [0, 0, 0x10, 0];
            let answer = stage.create_child(vec![rekey_sa(ProtocolId(protocol), spi)], 0x2000);
            if right {
                assert!(of_kind(&answer, PayloadType::SA).is_some());
            } else {
                assert!(matches!(&answer[..], [Payload::Notify(n)]
                    if n.kind == NotifyType::CHILD_SA_NOT_FOUND && n.spi == spi));
                assert_eq!(stage.peer.children.len(), 1);
            }
        }
    }
}

#[test]
fn deletes_in_any_number_and_order_are_obeyed_once() {
    let mut stage = Stage::initiated(|_| {});
    let answer = stage
        .ask(
            E::INFORMATIONAL,
            &[
                delete(ProtocolId::ESP, &[0x1000, 0x1000, 0x9999]),
                delete(ProtocolId::AH, &[0x1000]),
                delete(ProtocolId::ESP, &[0x1000]),
            ],
        )
        .unwrap();
    assert!(matches!(&answer[..], [Payload::Delete(d)] if d.spis.len() == 1), "named once");
    assert_eq!(stage.peer.count(|n| matches!(n, Notice::PeerDeletedChild { .. })), 1);
    let mut stage = Stage::initiated(|_| {});
    let answer =
        stage.ask(E::INFORMATIONAL, &[delete(ProtocolId::ESP, &[0x1000]), DELETE_IKE, DELETE_IKE]).unwrap();
    assert!(answer.is_empty(), "the answer to a DELETE of the IKE SA is empty");
    assert_eq!(stage.peer.count(|n| matches!(n, Notice::PeerDeletedIke)), 1);
    assert_eq!(stage.peer.endpoint.status().ike_sas, 0);
}

#[test]
fn a_request_may_be_open_while_the_peers_is_answered() {
    let mut stage = Stage::responded(|_| {});
    stage.input(Input::Command(Command::CheckLiveness));
    let (question, _) = stage.request();
    // The puppet asks instead of answering; both windows are independent.
    assert_eq!(stage.ask(E::INFORMATIONAL, &[]), Some(Vec::new()));
    assert_eq!(stage.ask(E::INFORMATIONAL, &[]), Some(Vec::new()));
    stage.reply(&question, &[]);
    stage.run(Duration::from_secs(60));
    assert_eq!(stage.peer.endpoint.status().phase, Phase::Established);
}

#[test]
fn only_the_next_message_id_is_processed() {
    let mut stage = Stage::initiated(|_| {});
    let before = stage.peer.digest();
    for id in [0, 1, 3, 4, 100, u32::MAX] {
        let datagram = stage.puppet.sealed(E::INFORMATIONAL, Flags::new(true, false), id, &[DELETE_IKE]);
        stage.deliver(&datagram);
        assert_eq!(stage.peer.digest(), before, "message ID {id}");
        assert!(stage.inbox.is_empty());
    }
    assert_eq!(stage.ask(E::INFORMATIONAL, &[]), Some(Vec::new()), "2 is next");
}

#[test]
fn an_answer_nobody_asked_for_changes_nothing() {
    let mut stage = Stage::initiated(|_| {});
    let before = stage.peer.digest();
    for id in [0, 1, 2] {
        let datagram = stage.puppet.sealed(E::INFORMATIONAL, Flags::new(true, true), id, &[DELETE_IKE]);
        stage.deliver(&datagram);
        assert_eq!(stage.peer.digest(), before);
    }
}

#[test]
fn an_answer_of_another_exchange_type_changes_nothing() {
    let (mut stage, mut header, _) = asked_for_rekey();
    let before = stage.peer.digest();
    header.exchange = E::INFORMATIONAL;
    stage.reply(&header, &[]);
    assert_eq!(stage.peer.digest(), before);
}

#[test]
fn wider_selectors_or_other_algorithms_in_an_answer_are_not_accepted() {
    let wide = |payloads: &mut Vec<Payload>| {
        for payload in payloads {
            if let Payload::TsR(selectors) = payload {
                *selectors = vec![TrafficSelector::any_v4(), TrafficSelector::any_v6()];
            }
        }
    };
    let two = |payloads: &mut Vec<Payload>| {
        for payload in payloads {
            if let Payload::Sa(sa) = payload {
                sa.proposals[0].transforms.push(Transform::esn(true));
            }
        }
    };
    let number = |payloads: &mut Vec<Payload>| {
        for payload in payloads {
            if let Payload::Sa(sa) = payload {
                sa.proposals[0].number = 9;
            }
        }
    };
    let reserved = |payloads: &mut Vec<Payload>| {
        for payload in payloads {
            if let Payload::Sa(sa) = payload {
                sa.proposals[0].spi = vec![0, 0, 0, 7];
            }
        }
    };
    for change in [&wide as &dyn Fn(&mut Vec<Payload>), &two, &number, &reserved] {
        let (mut stage, header, _) = asked_for_rekey();
        let mut answer = good_answer(&stage, 0x2000);
        change(&mut answer);
        stage.reply(&header, &answer);
        assert_eq!(stage.peer.active_child().spi_out.get(), 0x1000);
        assert_eq!(stage.peer.children.len(), 1);
    }
}

#[test]
fn an_ike_rekey_with_a_part_missing_makes_no_ike_sa() {
    for withheld in 0..4 {
        let mut stage = Stage::initiated(|_| {});
        let spi = if withheld == 3 { &[][..] } else { &[1, 2, 3, 4, 5, 6, 7, 8] };
        let mut payloads = vec![
            sa(ProtocolId::IKE, spi, ike_transforms()),
            Payload::Nonce(vec![0x44; 32]),
            stage.puppet.ke(),
        ];
        if withheld < 3 {
            // Without SA it is no IKE rekey at all; without the others it is a broken one.
            payloads.remove(withheld);
        }
        let answer = stage.ask(E::CREATE_CHILD_SA, &payloads).unwrap();
        assert!(notifies(&answer)[0].is_error());
        assert!(stage.peer.endpoint.status().ike_sas <= 1);
    }
    for cut in 0..3 {
        let mut stage = Stage::initiated(|_| {});
        let mut transforms = ike_transforms();
        transforms.remove(cut);
        let payloads =
            [sa(ProtocolId::IKE, &[1; 8], transforms), Payload::Nonce(vec![0x44; 32]), stage.puppet.ke()];
        let answer = stage.ask(E::CREATE_CHILD_SA, &payloads).unwrap();
        assert_eq!(notifies(&answer), [NotifyType::NO_PROPOSAL_CHOSEN]);
    }
}

#[test]
fn a_rekeyed_ike_sa_that_nobody_deletes_is_cleared_away() {
    let mut stage = Stage::initiated(|_| {});
    let payloads =
        [sa(ProtocolId::IKE, &[1; 8], ike_transforms()), Payload::Nonce(vec![0x44; 32]), stage.puppet.ke()];
    let answer = stage.ask(E::CREATE_CHILD_SA, &payloads).unwrap();
    assert_eq!(spi_of(&answer).len(), 8);
    assert_eq!(stage.peer.endpoint.status().ike_sas, 2);
    assert_eq!(stage.peer.children.len(), 1, "the child moved to the new one");
    // The old one still answers, with TEMPORARY_FAILURE to what belongs to the new one.
    let answer = stage.create_child(Vec::new(), 0x2000);
    assert_eq!(notifies(&answer), [NotifyType::TEMPORARY_FAILURE]);
    stage.run(Duration::from_secs(48));
    assert_eq!(stage.peer.endpoint.status().ike_sas, 1);
    assert_eq!(stage.peer.children.len(), 1);
}

#[test]
fn a_replaced_child_that_nobody_deletes_is_cleared_away() {
    let mut stage = Stage::initiated(|_| {});
    let old = rekey_sa(ProtocolId::ESP, &0x1000_u32.to_be_bytes());
    stage.create_child(vec![old], 0x2000);
    assert_eq!(stage.peer.children.len(), 2);
    stage.run(Duration::from_secs(32));
    let (header, payloads) = stage.request();
    assert!(matches!(&payloads[..], [Payload::Delete(d)] if d.protocol == ProtocolId::ESP));
    stage.reply(&header, &[]);
    stage.run(Duration::from_secs(6));
    assert_eq!(stage.peer.children.len(), 1);
    assert_eq!(stage.peer.active_child().spi_out.get(), 0x2000);
}

#[test]
fn authentication_failed_in_an_informational_ends_the_ike_sa() {
    let mut stage = Stage::initiated(|_| {});
    let answer = stage.ask(E::INFORMATIONAL, &[notify(NotifyType::AUTHENTICATION_FAILED)]);
    assert_eq!(answer, Some(Vec::new()));
    assert_eq!(stage.peer.endpoint.status().ike_sas, 0);
    assert!(stage.peer.children.is_empty());
}

#[test]
fn after_the_end_a_repeated_request_is_answered_identically_for_a_while() {
    let mut stage = Stage::initiated(|_| {});
    let id = stage.puppet.next;
    let delete = stage.puppet.sealed(E::INFORMATIONAL, Flags::new(true, false), id, &[DELETE_IKE]);
    stage.deliver(&delete);
    let first = stage.take();
    stage.deliver(&delete);
    assert_eq!(stage.take(), first);
    stage.run(Duration::from_secs(32));
    stage.deliver(&delete);
    assert!(stage.inbox.is_empty(), "and then it is forgotten");
}

#[test]
fn random_authentic_nonsense_never_panics_and_never_grows_without_limit() {
    let kinds = [33, 34, 35, 36, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 53, 99];
    let exchanges = [E::INFORMATIONAL, E::CREATE_CHILD_SA, E::IKE_AUTH, ExchangeType(40)];
    let mut stage = Stage::initiated(|_| {});
    for round in 0..4_000_usize {
        let spice = stage.puppet.random(16);
        let mut payloads = Vec::new();
        for pair in spice.chunks(4).take(usize::from(spice[0] % 5)) {
            let length = usize::from(pair[1]);
            let data = stage.puppet.random(length);
            let kind = PayloadType(kinds[usize::from(pair[0]) % kinds.len()]);
            payloads.push(Payload::Unknown { kind, critical: pair[2] > 250, data });
        }
        match spice[4] % 8 {
            0 => payloads.extend(child(0x1000 + u32::from(spice[5]), spice[6] < 128)),
            1 => payloads.push(Payload::Nonce(vec![spice[5]; 32])),
            2 => payloads.push(stage.puppet.ke()),
            3 => payloads.push(rekey_sa(ProtocolId::ESP, &0x1000_u32.to_be_bytes())),
            4 => payloads.push(delete(ProtocolId::ESP, &[0x1000 + u32::from(spice[5])])),
            5 => payloads.push(sa(ProtocolId::IKE, &[spice[5]; 8], ike_transforms())),
            6 => payloads.push(sa(ProtocolId::ESP, &[spice[5]; 4], esp_transforms(true))),
            _ => payloads.push(Payload::Notify(Notify::new(NotifyType(u16::from(spice[5])), Vec::new()))),
        }
        let exchange = exchanges[usize::from(spice[7]) % exchanges.len()];
        let answered = stage.ask(exchange, &payloads).is_some();
        stage.inbox.clear();
        let status = stage.peer.endpoint.status();
        assert!(status.ike_sas <= 10 && status.child_sas <= 16, "round {round}");
        if !answered || status.ike_sas == 0 {
            stage = Stage::initiated(|_| {});
        }
    }
}
