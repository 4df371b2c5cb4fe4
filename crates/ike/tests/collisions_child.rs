//! Rekeys, deletions and creations of child SAs that meet each other or something else (RFC 7296 §2.8.1,
//! §2.25.1).
//!
//! The numbers are those of the catalogue in `docs/ike-states.md`. Cases 20, 22, 30, 31, 34, 38, 43 and 56,
//! with several key exchanges, are in `collisions_multi.rs`.

mod support;

use std::time::Duration;

use ike::wire::{DhGroup, ExchangeType};
use ike::{Command, Lifetime, Notice};
use support::{PLACES, Pair, Side};

const BOTH: [Side; 2] = [Side::A, Side::B];
const REKEY: (Command, Command) = (Command::RekeyChild, Command::RekeyChild);
use ExchangeType as E;

fn groups() -> Pair {
    Pair::established_with(|side, config| {
        let mut groups = vec![DhGroup::CURVE25519, DhGroup::ECP_256];
        config.selection = ike::Selection::LowestValue;
        if side == Side::B {
            groups.reverse();
        }
        config.esp_proposals[0].groups = groups;
    })
}

#[test]
fn case_19_a_plain_rekey_from_either_side() {
    for side in BOTH {
        let mut pair = Pair::established();
        let old = pair.peer(side.other()).active;
        pair.command(side, Command::RekeyChild);
        let request = pair.pop_from(side);
        let answer = pair.exchange(&request);
        assert_eq!(pair.peer(side.other()).active, old);
        let delete = pair.exchange(&answer);
        pair.deliver(&delete);
        assert_ne!(pair.peer(side.other()).active, old, "outbound follows the DELETE");
        assert_eq!(pair.peer(side.other()).children.len(), 2, "inbound stays for a while");
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (0, 1));
    }
}

#[test]
fn case_21_the_responder_wants_another_group() {
    for side in BOTH {
        let mut pair = groups();
        pair.command(side, Command::RekeyChild);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (0, 1));
    }
}

#[test]
fn case_23_the_responders_own_soft_limit_while_it_waits_for_the_delete_is_ignored() {
    let mut pair = Pair::established();
    pair.command(Side::A, Command::RekeyChild);
    let request = pair.pop();
    let answer = pair.exchange(&request);
    let _delayed = pair.exchange(&answer);
    let spi_in = pair.b.children.values().map(|child| child.spi_in).next().unwrap();
    let before = pair.history.len();
    pair.input(Side::B, ike::Input::SequenceNearlyExhausted { spi_in });
    assert!(pair.requests(Side::B, before).is_empty());
    pair.settle();
    pair.assert_never_down();
}

#[test]
fn case_24_the_responders_hard_limit_while_it_waits_removes_the_old_child_silently() {
    let hard = Lifetime {
        rekey_after: Duration::from_secs(1_000),
        jitter: Duration::ZERO,
        hard: Duration::from_secs(100),
    };
    let mut pair = Pair::established_with(|side, config| {
        if side == Side::B {
            config.child_lifetime = hard;
        }
    });
    pair.run(Duration::from_secs(99));
    pair.command(Side::A, Command::RekeyChild);
    let request = pair.pop();
    let answer = pair.exchange(&request);
    let late = pair.exchange(&answer);
    let before = pair.history.len();
    pair.run_silent(Duration::from_millis(1_100));
    assert_eq!(pair.b.children.len(), 1, "the old child is gone, the new one carries traffic");
    assert_eq!(pair.b.active, pair.b.children.keys().next().copied());
    assert!(pair.requests(Side::B, before).is_empty(), "and no DELETE was sent");
    pair.deliver(&late);
    pair.run(Duration::from_secs(10));
    pair.assert_one_tunnel();
}

#[test]
fn case_25_the_responder_deletes_the_new_child_while_the_old_ones_delete_is_under_way() {
    let hard = Lifetime {
        rekey_after: Duration::from_secs(1_000),
        jitter: Duration::ZERO,
        hard: Duration::from_secs(50),
    };
    let mut pair = Pair::established_with(|side, config| {
        if side == Side::B {
            config.child_lifetime = hard;
        }
    });
    pair.command(Side::A, Command::RekeyChild);
    let request = pair.pop();
    let answer = pair.exchange(&request);
    // A's DELETE never arrives; B's hard limit for both comes, and it deletes the new one.
    let _lost = pair.exchange(&answer);
    pair.run_with(Duration::from_secs(51), |d| d.from == Side::B || d.exchange() != E::INFORMATIONAL);
    pair.run(Duration::from_secs(30));
    pair.assert_one_tunnel();
}

#[test]
fn case_26_a_responder_that_lost_the_child_leads_to_a_new_one() {
    let mut pair = Pair::established();
    // B silently forgets: its hard limit for the replaced child is what makes an SA vanish without a word.
    pair.command(Side::A, Command::RekeyChild);
    let request = pair.pop();
    let answer = pair.exchange(&request);
    pair.deliver(&answer);
    pair.deliver_all();
    pair.run(Duration::from_secs(6));
    // The very request again, as a new one, names a child that B no longer has.
    pair.command(Side::B, Command::RekeyChild);
    let rb = pair.pop_from(Side::B);
    pair.command(Side::A, Command::RekeyChild);
    let ra = pair.pop_from(Side::A);
    let answer_b = pair.exchange(&ra);
    let delete = pair.exchange(&answer_b);
    let deleted = pair.exchange(&delete);
    pair.deliver(&deleted);
    pair.run_with(Duration::from_secs(6), |_| false);
    let refusal = pair.exchange(&rb);
    pair.deliver(&refusal);
    pair.settle();
    pair.assert_never_down();
}

#[test]
fn case_28_a_delete_of_the_old_child_that_is_never_answered_ends_the_ike_sa_once() {
    let mut pair = Pair::established();
    pair.command(Side::A, Command::RekeyChild);
    let request = pair.pop();
    let answer = pair.exchange(&request);
    let _lost = pair.exchange(&answer);
    pair.run_silent(Duration::from_secs(16));
    assert_eq!(pair.a.count(|n| matches!(n, Notice::PeerUnreachable { .. })), 1);
    assert!(pair.a.children.is_empty());
    pair.run(Duration::from_secs(60));
    pair.assert_one_tunnel();
}

#[test]
fn case_29_both_rekey_and_agree_on_the_loser() {
    for lowest in PLACES {
        let mut pair = Pair::established();
        let (ra, rb) = pair.collide(REKEY, lowest);
        let answer_a = pair.exchange(&rb);
        let answer_b = pair.exchange(&ra);
        pair.deliver(&answer_b);
        pair.deliver(&answer_a);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (0, 1), "one rekey, not two");
        for side in BOTH {
            assert_eq!(pair.requests(side, 4), [E::CREATE_CHILD_SA, E::INFORMATIONAL]);
            let won = (side == Side::A) != Pair::a_loses(lowest);
            assert_eq!(pair.peer(side).count(|n| *n == Notice::Collision { ike: false, won }), 1);
        }
        // The child of the winner's exchange carries traffic.
        let winner = if Pair::a_loses(lowest) { &pair.b } else { &pair.a };
        let by_us = |n: &Notice| matches!(n, Notice::ChildRekeyed { by_us: true, new, .. } if Some(*new) == winner.active);
        assert_eq!(winner.count(by_us), 1);
    }
}

#[test]
fn case_32_a_response_is_overtaken_by_the_peers_delete() {
    for lowest in PLACES {
        let mut pair = Pair::established();
        let (ra, rb) = pair.collide(REKEY, lowest);
        let answer_a = pair.exchange(&rb);
        let late = pair.exchange(&ra);
        pair.deliver(&answer_a);
        pair.deliver_all();
        pair.deliver(&late);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (0, 1));
    }
}

#[test]
fn case_35_a_request_reaches_a_peer_that_has_finished() {
    for lowest in PLACES {
        for delete_first in [true, false] {
            let mut pair = Pair::established();
            let (late, rb) = pair.collide(REKEY, lowest);
            let answer_a = pair.exchange(&rb);
            let delete = pair.exchange(&answer_a);
            let refusal = pair.exchange(&late);
            if delete_first {
                pair.deliver(&delete);
                pair.deliver(&refusal);
            } else {
                pair.deliver(&refusal);
                pair.deliver(&delete);
            }
            pair.settle();
            pair.assert_never_down();
            assert_eq!(pair.generations(), (0, 1), "TEMPORARY_FAILURE, and nothing more to do");
        }
    }
}

#[test]
fn case_36_a_request_that_finds_the_child_gone_creates_no_further_child() {
    for lowest in PLACES {
        let mut pair = Pair::established();
        let (late, rb) = pair.collide(REKEY, lowest);
        let answer_a = pair.exchange(&rb);
        let delete = pair.exchange(&answer_a);
        let deleted = pair.exchange(&delete);
        pair.deliver(&deleted);
        let refusal = pair.exchange(&late);
        pair.deliver(&refusal);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (0, 1));
        let installed = pair.a.trace.iter().filter(|effect| effect.starts_with("install")).count();
        assert_eq!(installed, 2, "the first child and its successor");
    }
}

#[test]
fn a_child_the_peer_made_is_not_rekeyed_before_the_peer_is_known_to_hold_it() {
    let mut pair = Pair::established();
    pair.command(Side::A, Command::RekeyChild);
    let request = pair.pop();
    let _lost = pair.exchange(&request);
    pair.command(Side::B, Command::RekeyChild);
    assert!(pair.wire.is_empty(), "A would not find the child, and both would drop what they have");
    pair.settle();
    pair.assert_never_down();
    assert_eq!(pair.generations(), (0, 2), "B's turn came after A's DELETE");
}

#[test]
fn case_39_both_get_invalid_ke_and_only_the_final_nonces_count() {
    for lowest in PLACES {
        let mut pair = groups();
        let (ra, rb) = pair.collide(REKEY, lowest);
        let answer_a = pair.exchange(&rb);
        let answer_b = pair.exchange(&ra);
        pair.deliver(&answer_b);
        pair.deliver(&answer_a);
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations().1, 1);
    }
}

#[test]
fn case_40_a_retry_after_invalid_ke_is_late() {
    for a_first in [true, false] {
        let mut pair = groups();
        let (ra, rb) = pair.collide(REKEY, 0);
        let answer_a = pair.exchange(&rb);
        let answer_b = pair.exchange(&ra);
        for answer in if a_first { [&answer_a, &answer_b] } else { [&answer_b, &answer_a] } {
            pair.deliver(answer);
        }
        let retry = pair.wire.iter().position(|d| d.exchange() == E::CREATE_CHILD_SA && !d.is_response());
        let held = retry.map(|index| pair.wire.remove(index).unwrap());
        pair.deliver_all();
        if let Some(held) = held {
            pair.deliver(&held);
        }
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations().1, 1);
    }
}

#[test]
fn case_42_a_rekey_meets_a_delete_of_the_same_child() {
    // B reaches its hard limit at the moment when A rekeys.
    let hard = Lifetime {
        rekey_after: Duration::from_secs(1_000),
        jitter: Duration::ZERO,
        hard: Duration::from_secs(100),
    };
    for delete_first in [true, false] {
        let mut pair = Pair::established_with(|side, config| {
            if side == Side::B {
                config.child_lifetime = hard;
            }
        });
        pair.run(Duration::from_millis(99_999));
        pair.command(Side::A, Command::RekeyChild);
        let rekey = pair.pop_from(Side::A);
        pair.now += Duration::from_millis(1);
        pair.tick();
        let delete = pair.pop_from(Side::B);
        assert_eq!(delete.exchange(), E::INFORMATIONAL);
        if delete_first {
            pair.deliver(&delete);
            pair.deliver(&rekey);
        } else {
            pair.deliver(&rekey);
            pair.deliver(&delete);
        }
        pair.deliver_all();
        pair.run(Duration::from_secs(6));
        pair.assert_one_tunnel();
        assert_eq!(pair.generations(), (0, 0), "the rekey is abandoned, a new child is made");
    }
}

#[test]
fn case_44_the_delete_is_lost_and_the_retry_finds_no_child() {
    let hard = Lifetime {
        rekey_after: Duration::from_secs(1_000),
        jitter: Duration::ZERO,
        hard: Duration::from_secs(100),
    };
    let mut pair = Pair::established_with(|side, config| {
        if side == Side::B {
            config.child_lifetime = hard;
        }
    });
    pair.run(Duration::from_millis(99_999));
    pair.command(Side::A, Command::RekeyChild);
    let rekey = pair.pop_from(Side::A);
    pair.now += Duration::from_millis(1);
    pair.tick();
    let _lost = pair.pop_from(Side::B);
    let refusal = pair.exchange(&rekey);
    pair.deliver(&refusal);
    assert!(pair.wire.is_empty(), "the rekey waits for its retry");
    let before = pair.history.len();
    pair.run(Duration::from_secs(10));
    pair.assert_one_tunnel();
    assert_eq!(pair.requests(Side::A, before), [E::CREATE_CHILD_SA], "a new child, and no rekey");
    assert_eq!(pair.generations(), (0, 0));
}

#[test]
fn case_45_the_rekey_request_is_lost_and_the_child_is_deleted_meanwhile() {
    let hard = Lifetime {
        rekey_after: Duration::from_secs(1_000),
        jitter: Duration::ZERO,
        hard: Duration::from_secs(100),
    };
    let mut pair = Pair::established_with(|side, config| {
        if side == Side::B {
            config.child_lifetime = hard;
        }
    });
    pair.run(Duration::from_millis(99_900));
    pair.command(Side::A, Command::RekeyChild);
    let _lost = pair.pop_from(Side::A);
    pair.run(Duration::from_secs(10));
    pair.assert_one_tunnel();
    assert_eq!(pair.a.count(|n| matches!(n, Notice::PeerDeletedChild { .. })), 1, "down once");
}

#[test]
fn case_46_a_delete_of_the_new_child_overtakes_the_answer_that_tells_it() {
    // B answers, and then its hard limit (of one second) deletes what it just made.
    let hard = Lifetime {
        rekey_after: Duration::from_secs(1_000),
        jitter: Duration::ZERO,
        hard: Duration::from_secs(1),
    };
    let mut pair = Pair::established_with(|side, config| {
        if side == Side::B {
            config.child_lifetime = Lifetime { hard: Duration::from_secs(100), ..hard };
        }
    });
    pair.run(Duration::from_millis(99_500));
    pair.command(Side::A, Command::RekeyChild);
    let request = pair.pop_from(Side::A);
    let late = pair.exchange(&request);
    // The old child expires at B at 100 s without a DELETE; the new one at 199.5 s with one.
    pair.run_with(Duration::from_millis(14_000), |_| false);
    pair.deliver(&late);
    pair.run(Duration::from_secs(120));
    pair.assert_one_tunnel();
}

#[test]
fn case_49_a_child_delete_from_either_side_is_followed_by_a_new_child() {
    let hard = Lifetime {
        rekey_after: Duration::from_secs(1_000),
        jitter: Duration::ZERO,
        hard: Duration::from_secs(100),
    };
    for side in BOTH {
        let mut pair = Pair::established_with(|other, config| {
            if side == other {
                config.child_lifetime = hard;
            }
        });
        pair.run(Duration::from_secs(107));
        pair.assert_one_tunnel();
        assert_eq!(pair.generations(), (0, 0));
        let initiator = pair.a.count(|n| matches!(n, Notice::ChildEstablished { .. }));
        assert_eq!(initiator, 2);
    }
}

fn both_expire() -> Pair {
    let hard = Lifetime {
        rekey_after: Duration::from_secs(1_000),
        jitter: Duration::ZERO,
        hard: Duration::from_secs(100),
    };
    let mut pair = Pair::established_with(|_, config| config.child_lifetime = hard);
    pair.run(Duration::from_millis(99_999));
    pair.now += Duration::from_millis(1);
    pair.tick();
    pair
}

#[test]
fn case_50_both_delete_the_child_at_once() {
    let mut pair = both_expire();
    let (a, b) = (pair.pop_from(Side::A), pair.pop_from(Side::B));
    pair.deliver(&a);
    pair.deliver(&b);
    pair.deliver_all();
    pair.run(Duration::from_secs(6));
    pair.assert_one_tunnel();
}

#[test]
fn case_51_both_delete_the_child_and_one_delete_is_lost() {
    for lost in BOTH {
        let mut pair = both_expire();
        let _lost = pair.pop_from(lost);
        pair.deliver_all();
        pair.run(Duration::from_secs(10));
        pair.assert_one_tunnel();
    }
}

#[test]
fn case_54_a_child_that_exists_is_not_created_again() {
    let mut pair = Pair::established();
    pair.command(Side::A, Command::Initiate);
    pair.run(Duration::from_secs(100));
    assert_eq!(pair.history.len(), 4);
}

#[test]
fn case_59_an_ike_sa_without_a_child_gets_one_later() {
    use model::TrafficSelector;
    let mut a = support::config(Side::A);
    let mut b = support::config(Side::B);
    // The first offer meets nothing; IKE_AUTH leaves the IKE SA alone, CREATE_CHILD_SA is tried thrice.
    a.ts_remote = vec![TrafficSelector::any_v6()];
    b.ts_local = vec![TrafficSelector::any_v4()];
    let mut pair = Pair::new(a, b);
    pair.deliver_all();
    assert_eq!(pair.requests(Side::A, 0), [E::IKE_SA_INIT, E::IKE_AUTH]);
    pair.run(Duration::from_secs(11));
    let requests = pair.requests(Side::A, 0);
    assert_eq!(requests[2..4], [E::CREATE_CHILD_SA, E::CREATE_CHILD_SA]);
}
