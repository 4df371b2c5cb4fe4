//! Rekeys of the IKE SA that meet each other or something else (RFC 7296 §2.8.2, §2.25.2).
//!
//! The numbers are those of the catalogue in `docs/ike-states.md`. Cases 2, 4, 6, 7, 11, 15 and 17,
//! with several key exchanges, are in `collisions_multi.rs`.

mod support;

use ike::wire::{DhGroup, ExchangeType};
use ike::{Command, Notice};
use support::{PLACES, Pair, Side};

const BOTH: [Side; 2] = [Side::A, Side::B];
const REKEY: (Command, Command) = (Command::RekeyIke, Command::RekeyIke);
use ExchangeType as E;

#[test]
fn case_01_a_plain_rekey_from_either_side() {
    for side in BOTH {
        let mut pair = Pair::established();
        let child = pair.a.active_child().spi_in;
        pair.command(side, Command::RekeyIke);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (1, 0));
        assert_eq!(pair.a.active_child().spi_in, child, "children move along");
        assert_eq!(pair.requests(side, 4), [E::CREATE_CHILD_SA, E::INFORMATIONAL], "who rekeys deletes");
        assert!(pair.requests(side.other(), 4).is_empty());
    }
}

#[test]
fn case_03_the_responder_wants_another_group() {
    for side in BOTH {
        let mut pair = groups();
        pair.command(side, Command::RekeyIke);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (1, 0));
    }
}

/// Both allow two groups, each prefers another one when it answers.
fn groups() -> Pair {
    Pair::established_with(|side, config| {
        let mut groups = vec![DhGroup::CURVE25519, DhGroup::ECP_256];
        config.selection = ike::Selection::LowestValue;
        if side == Side::B {
            groups.reverse();
        }
        config.ike_proposals[0].groups = groups.clone();
        config.esp_proposals[0].groups = groups;
    })
}

#[test]
fn case_05_both_rekey_and_agree_on_the_loser() {
    for lowest in PLACES {
        let mut pair = Pair::established();
        let child = pair.a.active_child().spi_in;
        let (ra, rb) = pair.collide(REKEY, lowest);
        let answer_a = pair.exchange(&rb);
        let answer_b = pair.exchange(&ra);
        pair.deliver(&answer_b);
        pair.deliver(&answer_a);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (1, 0), "one rekey, not two");
        assert_eq!(pair.a.active_child().spi_in, child);
        for side in BOTH {
            // Each deletes one IKE SA: the loser its own new one, the winner the old one.
            assert_eq!(pair.requests(side, 4), [E::CREATE_CHILD_SA, E::INFORMATIONAL]);
            let won = (side == Side::A) != Pair::a_loses(lowest);
            assert_eq!(pair.peer(side).count(|n| *n == Notice::Collision { ike: true, won }), 1);
            assert_eq!(pair.peer(side).count(|n| matches!(n, Notice::IkeRekeyed { .. })), 1);
        }
        let deletes: Vec<_> = pair.history[4..]
            .iter()
            .filter(|d| d.exchange() == E::INFORMATIONAL && !d.is_response())
            .map(|d| (d.from, d.header().spi_i))
            .collect();
        let old = ra.header().spi_i;
        let loser = if Pair::a_loses(lowest) { Side::A } else { Side::B };
        for (side, spi) in deletes {
            assert_eq!(spi == old, side != loser, "the loser deletes its own, the winner the old one");
        }
    }
}

#[test]
fn case_08_both_get_invalid_ke_and_only_the_final_nonces_count() {
    for lowest in PLACES {
        let mut pair = groups();
        // First round: whatever the nonces, both are told another group, or not at all.
        let (ra, rb) = pair.collide(REKEY, lowest);
        let answer_a = pair.exchange(&rb);
        let answer_b = pair.exchange(&ra);
        pair.deliver(&answer_b);
        pair.deliver(&answer_a);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations().0, 1);
    }
}

#[test]
fn case_09_a_retry_after_invalid_ke_arrives_when_the_other_rekey_is_complete() {
    let mut pair = groups();
    pair.command(Side::A, Command::RekeyIke);
    pair.command(Side::B, Command::RekeyIke);
    let (ra, rb) = (pair.pop_from(Side::A), pair.pop_from(Side::B));
    // One of the two guesses wrong and retries; hold that retry back until the rest is over.
    let answer_a = pair.exchange(&rb);
    let answer_b = pair.exchange(&ra);
    pair.deliver(&answer_a);
    pair.deliver(&answer_b);
    let held = pair.wire.iter().position(|d| d.exchange() == E::CREATE_CHILD_SA && !d.is_response());
    let held = held.map(|index| pair.wire.remove(index).unwrap());
    pair.deliver_all();
    if let Some(held) = held {
        pair.deliver(&held);
    }
    pair.settle();
    pair.assert_never_down();
    assert_eq!(pair.generations().0, 1);
}

#[test]
fn case_10_a_response_is_overtaken_by_the_peers_delete() {
    for lowest in PLACES {
        let mut pair = Pair::established();
        let (ra, rb) = pair.collide(REKEY, lowest);
        let answer_a = pair.exchange(&rb);
        let late = pair.exchange(&ra);
        // B finishes, and its DELETE (of the old or of its own redundant IKE SA) comes before its answer.
        pair.deliver(&answer_a);
        pair.deliver_all();
        pair.deliver(&late);
        pair.run(std::time::Duration::from_secs(60));
        pair.assert_one_tunnel();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (1, 0));
    }
}

#[test]
fn case_12_one_request_is_lost_and_only_one_side_sees_a_collision() {
    for lowest in PLACES {
        let mut pair = Pair::established();
        let (_lost, rb) = pair.collide(REKEY, lowest);
        let answer_a = pair.exchange(&rb);
        pair.deliver(&answer_a);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (1, 0), "what A asked for has happened already");
    }
}

#[test]
fn case_13_a_delayed_request_reaches_a_peer_that_is_deleting_the_old_ike_sa() {
    for lowest in PLACES {
        let mut pair = Pair::established();
        let (late, rb) = pair.collide(REKEY, lowest);
        let answer_a = pair.exchange(&rb);
        let delete = pair.exchange(&answer_a);
        let refusal = pair.exchange(&late);
        pair.deliver(&delete);
        pair.deliver(&refusal);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (1, 0));
    }
}

#[test]
fn case_14_temporary_failure_comes_before_the_delete_and_schedules_nothing() {
    for lowest in PLACES {
        let mut pair = Pair::established();
        let (late, rb) = pair.collide(REKEY, lowest);
        let answer_a = pair.exchange(&rb);
        let delete = pair.exchange(&answer_a);
        let refusal = pair.exchange(&late);
        pair.deliver(&refusal);
        pair.deliver(&delete);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (1, 0), "no second rekey");
    }
}

#[test]
fn case_16_a_rekey_meets_a_delete_and_the_delete_wins() {
    for order in [true, false] {
        let mut pair = Pair::established();
        let (rekey, delete) = pair.collide((Command::RekeyIke, Command::Close), 0);
        for datagram in if order { [&rekey, &delete] } else { [&delete, &rekey] } {
            pair.deliver(datagram);
        }
        pair.wire.retain(|d| d.exchange() != E::IKE_SA_INIT);
        let fresh = pair.a.endpoint.status().ike.unwrap().spi_i;
        assert_ne!(fresh, rekey.header().spi_i, "A starts anew");
        pair.deliver_all();
        assert_eq!(pair.b.count(|n| *n == Notice::Closed), 1);
        assert_eq!(pair.a.count(|n| *n == Notice::PeerDeletedIke), 1);
        assert_eq!(pair.a.count(|n| matches!(n, Notice::IkeRekeyed { .. })), 0);
        assert!(pair.a.children.is_empty() && pair.b.children.is_empty());
    }
}

#[test]
fn case_18_the_delete_is_lost_and_the_rekeyer_retries_until_it_comes() {
    let mut pair = Pair::established();
    let (rekey, _lost) = pair.collide((Command::RekeyIke, Command::Close), 0);
    let refusal = pair.exchange(&rekey);
    pair.deliver(&refusal);
    assert!(pair.wire.is_empty(), "the rekey waits for its retry");
    pair.run(std::time::Duration::from_secs(1));
    assert_eq!(pair.b.count(|n| *n == Notice::Closed), 1, "the repeated DELETE ends it");
    assert_eq!(pair.a.count(|n| *n == Notice::PeerDeletedIke), 1);
    assert_eq!(pair.a.count(|n| matches!(n, Notice::IkeRekeyed { .. })), 0);
}

#[test]
fn case_57_an_ike_delete_from_either_side() {
    for side in BOTH {
        let mut pair = Pair::established();
        pair.command(side, Command::Close);
        let delete = pair.pop_from(side);
        pair.deliver(&delete);
        assert_eq!(pair.peer(side.other()).count(|n| *n == Notice::PeerDeletedIke), 1);
        assert!(pair.peer(side.other()).children.is_empty());
    }
}

#[test]
fn case_58_both_delete_the_ike_sa_at_once() {
    let mut pair = Pair::established();
    let (a, b) = pair.collide((Command::Close, Command::Close), 0);
    pair.deliver(&a);
    pair.deliver(&b);
    pair.deliver_all();
    for side in BOTH {
        assert_eq!(pair.peer(side).count(|n| *n == Notice::Closed), 1, "one event, once");
        assert_eq!(pair.peer(side).count(|n| matches!(n, Notice::IkeClosed { .. })), 1);
    }
}
