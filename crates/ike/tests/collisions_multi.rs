//! The numbered collisions with several key exchanges (RFC 9370 §2.2.4): nothing is made before the last
//! IKE_FOLLOWUP_KE, and whoever has lost just stops.

mod support;

use std::time::Duration;

use ike::wire::{DhGroup, ExchangeType};
use ike::{Command, Config, Lifetime, Notice, Selection};
use support::{Datagram, PLACES, Pair, Side};

const BOTH: [Side; 2] = [Side::A, Side::B];
const IKE: (Command, Command) = (Command::RekeyIke, Command::RekeyIke);
const CHILD: (Command, Command) = (Command::RekeyChild, Command::RekeyChild);
use ExchangeType as E;

/// Two further exchanges, so that there is a middle; small ones, so that no message comes in fragments.
fn further() -> Vec<DhGroup> {
    vec![DhGroup::ML_KEM_512, DhGroup::ECP_256]
}

fn multiple(_: Side, config: &mut Config) {
    config.ike_proposals[0].additional = further();
    config.esp_proposals[0].additional = further();
}

/// Each lets the other's exchange have further key exchanges or not: A's has them, B's has none.
fn mixed(side: Side, config: &mut Config) {
    config.selection = Selection::OurOrder;
    let (mut ike, mut esp) = (config.ike_proposals[0].clone(), config.esp_proposals[0].clone());
    (ike.additional, esp.additional) = (further(), further());
    config.ike_proposals.push(ike);
    config.esp_proposals.push(esp);
    if side == Side::B {
        config.ike_proposals.reverse();
        config.esp_proposals.reverse();
    }
}

/// The two prefer different groups as well.
fn groups(side: Side, config: &mut Config) {
    multiple(side, config);
    let mut groups = vec![DhGroup::CURVE25519, DhGroup::ECP_384];
    config.selection = Selection::LowestValue;
    if side == Side::B {
        groups.reverse();
    }
    config.ike_proposals[0].groups.clone_from(&groups);
    config.esp_proposals[0].groups = groups;
}

/// Messages of a handshake: IKE_SA_INIT, two IKE_INTERMEDIATE, IKE_AUTH.
const HANDSHAKE: usize = 8;
const PLAIN: [ExchangeType; 4] =
    [E::CREATE_CHILD_SA, E::IKE_FOLLOWUP_KE, E::IKE_FOLLOWUP_KE, E::INFORMATIONAL];

fn plain(command: Command, generations: (u64, u64)) {
    for side in BOTH {
        let mut pair = Pair::established_with(multiple);
        pair.command(side, command);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), generations);
        assert_eq!(pair.requests(side, HANDSHAKE), PLAIN);
        assert!(pair.requests(side.other(), HANDSHAKE).is_empty());
    }
}

#[test]
fn case_02_an_ike_rekey_with_several_key_exchanges() {
    plain(Command::RekeyIke, (1, 0));
}

#[test]
fn case_20_a_child_rekey_with_several_key_exchanges() {
    plain(Command::RekeyChild, (0, 1));
}

fn another_group(command: Command, generations: (u64, u64)) {
    for side in BOTH {
        let mut pair = Pair::established_with(groups);
        pair.command(side, command);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), generations);
        let asked = pair.requests(side, HANDSHAKE);
        assert!(asked.ends_with(&PLAIN), "{asked:?}");
    }
}

#[test]
fn case_04_the_responder_wants_another_group_before_several_key_exchanges() {
    another_group(Command::RekeyIke, (1, 0));
}

#[test]
fn case_22_the_responder_wants_another_group_before_several_key_exchanges() {
    another_group(Command::RekeyChild, (0, 1));
}

/// Both start at once and hear each other at once.
fn cross(pair: &mut Pair, commands: (Command, Command), lowest: u8) {
    let (ra, rb) = pair.collide(commands, lowest);
    let answer_a = pair.exchange(&rb);
    let answer_b = pair.exchange(&ra);
    pair.deliver(&answer_b);
    pair.deliver(&answer_a);
    pair.settle();
    pair.assert_never_down();
}

fn both_with_several(commands: (Command, Command), ike: bool) {
    for lowest in PLACES {
        let mut pair = Pair::established_with(multiple);
        cross(&mut pair, commands, lowest);
        assert_eq!(pair.generations(), if ike { (1, 0) } else { (0, 1) }, "one rekey, not two");
        let (loser, winner) = if Pair::a_loses(lowest) { (Side::A, Side::B) } else { (Side::B, Side::A) };
        assert_eq!(pair.requests(loser, HANDSHAKE), [E::CREATE_CHILD_SA], "it stops, and deletes nothing");
        assert_eq!(pair.requests(winner, HANDSHAKE), PLAIN);
        for (side, won) in [(loser, false), (winner, true)] {
            let told = pair.peer(side).count(|n| *n == Notice::Collision { ike, won });
            assert!(told <= 1, "{side:?} {won}: {told}");
        }
    }
}

#[test]
fn case_06_both_rekey_with_several_key_exchanges_and_the_loser_stops() {
    both_with_several(IKE, true);
}

#[test]
fn case_30_both_rekey_with_several_key_exchanges_and_the_loser_stops() {
    both_with_several(CHILD, false);
}

fn one_with_several(commands: (Command, Command), generations: (u64, u64)) {
    for lowest in PLACES {
        let mut pair = Pair::established_with(mixed);
        cross(&mut pair, commands, lowest);
        assert_eq!(pair.generations(), generations, "one rekey, not two");
        let followed = pair.requests(Side::A, HANDSHAKE).contains(&E::IKE_FOLLOWUP_KE);
        assert_eq!(followed, !Pair::a_loses(lowest), "place {lowest}");
        assert!(!pair.requests(Side::B, HANDSHAKE).contains(&E::IKE_FOLLOWUP_KE));
    }
}

#[test]
fn case_07_one_side_rekeys_with_several_key_exchanges_and_the_other_with_one() {
    one_with_several(IKE, (1, 0));
}

#[test]
fn case_31_one_side_rekeys_with_several_key_exchanges_and_the_other_with_one() {
    one_with_several(CHILD, (0, 1));
}

fn overtaken(commands: (Command, Command), generations: (u64, u64)) {
    for lowest in PLACES {
        let mut pair = Pair::established_with(multiple);
        let (ra, rb) = pair.collide(commands, lowest);
        let answer_a = pair.exchange(&rb);
        let late = pair.exchange(&ra);
        // B finishes, its DELETE included, before its answer comes.
        pair.deliver(&answer_a);
        pair.deliver_all();
        pair.deliver(&late);
        pair.run(Duration::from_secs(60));
        pair.assert_one_tunnel();
        pair.assert_never_down();
        assert_eq!(pair.generations(), generations);
    }
}

#[test]
fn case_11_a_response_is_overtaken_by_the_peers_delete_after_several_key_exchanges() {
    overtaken(IKE, (1, 0));
}

#[test]
fn case_34_a_response_is_overtaken_by_the_peers_delete_after_several_key_exchanges() {
    overtaken(CHILD, (0, 1));
}

/// B's exchange goes on until its DELETE is on the wire.
fn until_delete(pair: &mut Pair, answer: &Datagram) -> Datagram {
    let mut request = pair.exchange(answer);
    while request.exchange() == E::IKE_FOLLOWUP_KE {
        let answer = pair.exchange(&request);
        request = pair.exchange(&answer);
    }
    assert_eq!(request.exchange(), E::INFORMATIONAL);
    request
}

fn late_request(commands: (Command, Command), generations: (u64, u64)) {
    for lowest in PLACES {
        for delete_first in [true, false] {
            let mut pair = Pair::established_with(multiple);
            let (late, rb) = pair.collide(commands, lowest);
            let answer_a = pair.exchange(&rb);
            let delete = until_delete(&mut pair, &answer_a);
            let refusal = pair.exchange(&late);
            let order = if delete_first { [&delete, &refusal] } else { [&refusal, &delete] };
            order.into_iter().for_each(|datagram| pair.deliver(datagram));
            pair.settle();
            pair.assert_never_down();
            assert_eq!(pair.generations(), generations, "TEMPORARY_FAILURE, and nothing more to do");
        }
    }
}

#[test]
fn case_15_a_delayed_request_reaches_a_peer_that_is_done_with_several_key_exchanges() {
    late_request(IKE, (1, 0));
}

#[test]
fn case_38_a_request_reaches_a_peer_that_has_finished_several_key_exchanges() {
    late_request(CHILD, (0, 1));
}

#[test]
fn case_17_a_rekey_in_its_further_key_exchanges_meets_a_delete_and_the_delete_wins() {
    for delete_first in [true, false] {
        let mut pair = Pair::established_with(multiple);
        pair.command(Side::A, Command::RekeyIke);
        let request = pair.pop();
        let answer = pair.exchange(&request);
        let followup = pair.exchange(&answer);
        assert_eq!(followup.exchange(), E::IKE_FOLLOWUP_KE);
        pair.command(Side::B, Command::Close);
        let delete = pair.pop_from(Side::B);
        for datagram in if delete_first { [&delete, &followup] } else { [&followup, &delete] } {
            pair.deliver(datagram);
        }
        pair.deliver_all();
        assert_eq!(pair.b.count(|n| *n == Notice::Closed), 1);
        assert_eq!(pair.a.count(|n| *n == Notice::PeerDeletedIke), 1);
        assert_eq!(pair.a.count(|n| matches!(n, Notice::IkeRekeyed { .. })), 0);
        assert!(pair.a.children.is_empty() && pair.b.children.is_empty());
    }
}

#[test]
fn case_43_a_rekey_in_its_further_key_exchanges_meets_a_delete_of_the_same_child() {
    for delete_first in [true, false] {
        let mut pair = Pair::established_with(|side, config| {
            multiple(side, config);
            if side == Side::B {
                config.child_lifetime = Lifetime {
                    rekey_after: Duration::from_secs(1_000),
                    jitter: Duration::ZERO,
                    hard: Duration::from_secs(100),
                };
            }
        });
        pair.run(Duration::from_millis(99_999));
        pair.command(Side::A, Command::RekeyChild);
        let request = pair.pop_from(Side::A);
        let answer = pair.exchange(&request);
        let followup = pair.exchange(&answer);
        assert_eq!(followup.exchange(), E::IKE_FOLLOWUP_KE);
        pair.now += Duration::from_millis(1);
        pair.tick();
        let delete = pair.pop_from(Side::B);
        assert_eq!(delete.exchange(), E::INFORMATIONAL);
        for datagram in if delete_first { [&delete, &followup] } else { [&followup, &delete] } {
            pair.deliver(datagram);
        }
        pair.deliver_all();
        pair.run(Duration::from_secs(6));
        pair.assert_one_tunnel();
        assert_eq!(pair.generations(), (0, 0), "the rekey is abandoned, a new child is made");
    }
}

#[test]
fn case_56_a_child_is_created_with_several_key_exchanges() {
    let mut pair = Pair::established_with(|side, config| {
        multiple(side, config);
        if side == Side::A {
            config.child_lifetime = Lifetime {
                rekey_after: Duration::from_secs(1_000),
                jitter: Duration::ZERO,
                hard: Duration::from_secs(100),
            };
        }
    });
    pair.run(Duration::from_secs(107));
    pair.assert_one_tunnel();
    assert_eq!(pair.generations(), (0, 0), "a new child, no rekey");
    let asked = pair.requests(Side::A, HANDSHAKE);
    assert!(asked.ends_with(&[E::CREATE_CHILD_SA, E::IKE_FOLLOWUP_KE, E::IKE_FOLLOWUP_KE]), "{asked:?}");
    let proposal = pair.a.endpoint.status().child.unwrap().proposal;
    assert_eq!(proposal, "AES_GCM_16_128/CURVE25519/ML_KEM_512/ECP_256");
}

#[test]
fn rfc9370_2_2_4_a_follow_up_that_comes_too_late_is_told_state_not_found_and_the_rekey_is_tried_again() {
    for command in [Command::RekeyIke, Command::RekeyChild] {
        let mut pair = Pair::established_with(|side, config| {
            multiple(side, config);
            if side == Side::A {
                config.retransmit.tries = 20;
            }
        });
        pair.command(Side::A, command);
        let request = pair.pop();
        let answer = pair.exchange(&request);
        let followup = pair.exchange(&answer);
        // B keeps what was begun for 31 seconds; A, more patient, repeats for longer.
        pair.run_silent(Duration::from_secs(33));
        let refusal = pair.exchange(&followup);
        pair.deliver(&refusal);
        pair.settle();
        pair.assert_never_down();
        let (ike, child) = pair.generations();
        assert_eq!(ike + child, 1);
    }
}

#[test]
fn a_lost_message_anywhere_in_a_rekey_with_several_key_exchanges_is_made_up_for() {
    for command in [Command::RekeyIke, Command::RekeyChild] {
        for lost in 0..8 {
            let mut pair = Pair::established_with(multiple);
            pair.command(Side::A, command);
            let mut sent = 0;
            pair.run_with(Duration::from_secs(20), |_| {
                sent += 1;
                sent != lost + 1
            });
            pair.assert_one_tunnel();
            pair.assert_never_down();
            let (ike, child) = pair.generations();
            assert_eq!(ike + child, 1, "{command:?}, message {lost}");
        }
    }
}

#[test]
fn a_peer_that_falls_silent_amid_its_rekey_is_asked_whether_it_lives() {
    let mut pair = Pair::established_with(|side, config| {
        multiple(side, config);
        config.liveness.idle = Duration::from_secs(10);
    });
    pair.command(Side::A, Command::RekeyIke);
    pair.step();
    let from = pair.history.len();
    pair.run_silent(Duration::from_secs(11));
    assert!(pair.requests(Side::B, from).contains(&ExchangeType::INFORMATIONAL));
}
