//! Child SAs and IKE SAs in each other's way (RFC 7296 §2.25), and the cases that no catalogue has.

mod support;

use std::time::Duration;

use ike::wire::ExchangeType;
use ike::{Command, Lifetime, Notice, Startup};
use support::{PLACES, Pair, Side, config};

const BOTH: [Side; 2] = [Side::A, Side::B];
use ExchangeType as E;

#[test]
fn case_47_a_child_rekey_meets_an_ike_rekey_and_both_are_retried() {
    for (a, b) in [(Command::RekeyChild, Command::RekeyIke), (Command::RekeyIke, Command::RekeyChild)] {
        let mut pair = Pair::established();
        let (ra, rb) = pair.collide((a, b), 0);
        let answer_a = pair.exchange(&rb);
        let answer_b = pair.exchange(&ra);
        pair.deliver(&answer_b);
        pair.deliver(&answer_a);
        assert!(pair.wire.is_empty(), "TEMPORARY_FAILURE on both sides: both wait");
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (1, 1), "and both got what they wanted");
    }
}

#[test]
fn case_48_a_child_rekey_meets_an_ike_delete() {
    for order in [true, false] {
        let mut pair = Pair::established();
        let (rekey, delete) = pair.collide((Command::RekeyChild, Command::Close), 0);
        for datagram in if order { [&rekey, &delete] } else { [&delete, &rekey] } {
            pair.deliver(datagram);
        }
        pair.wire.retain(|d| d.exchange() != E::IKE_SA_INIT);
        pair.deliver_all();
        assert_eq!(pair.b.count(|n| *n == Notice::Closed), 1);
        assert_eq!(pair.a.count(|n| *n == Notice::PeerDeletedIke), 1);
        assert!(pair.a.children.is_empty() && pair.b.children.is_empty());
    }
}

fn expiring(expires: Side) -> Pair {
    let hard = Lifetime {
        rekey_after: Duration::from_secs(1_000),
        jitter: Duration::ZERO,
        hard: Duration::from_secs(100),
    };
    let mut pair = Pair::established_with(|side, config| {
        if side == expires {
            config.child_lifetime = hard;
        }
    });
    pair.run(Duration::from_millis(99_999));
    pair
}

#[test]
fn case_52_a_child_delete_meets_an_ike_rekey() {
    for deleter in BOTH {
        let mut pair = expiring(deleter);
        pair.command(deleter.other(), Command::RekeyIke);
        let rekey = pair.pop_from(deleter.other());
        pair.now += Duration::from_millis(1);
        pair.tick();
        let delete = pair.pop_from(deleter);
        let refusal = pair.exchange(&rekey);
        let deleted = pair.exchange(&delete);
        pair.deliver(&refusal);
        pair.deliver(&deleted);
        pair.run(Duration::from_secs(20));
        pair.assert_one_tunnel();
        assert_eq!(pair.generations().0, 1, "the IKE rekey was retried");
    }
}

#[test]
fn case_53_a_child_delete_meets_an_ike_delete() {
    let mut pair = expiring(Side::A);
    pair.command(Side::B, Command::Close);
    let close = pair.pop_from(Side::B);
    pair.now += Duration::from_millis(1);
    pair.tick();
    let delete = pair.pop_from(Side::A);
    pair.deliver(&delete);
    pair.deliver(&close);
    pair.wire.retain(|d| d.exchange() != E::IKE_SA_INIT);
    pair.deliver_all();
    assert_eq!(pair.b.count(|n| *n == Notice::Closed), 1);
    assert_eq!(pair.a.count(|n| *n == Notice::PeerDeletedIke), 1);
}

#[test]
fn case_55_a_child_creation_meets_an_ike_rekey() {
    let mut pair = expiring(Side::B);
    pair.now += Duration::from_millis(1);
    pair.tick();
    let delete = pair.pop_from(Side::B);
    let deleted = pair.exchange(&delete);
    // A creates the next child at once; B rekeys the IKE SA at the same moment.
    let create = pair.pop_from(Side::A);
    assert_eq!(create.exchange(), E::CREATE_CHILD_SA);
    pair.deliver(&deleted);
    pair.command(Side::B, Command::RekeyIke);
    let rekey = pair.pop_from(Side::B);
    let answer_b = pair.exchange(&create);
    let answer_a = pair.exchange(&rekey);
    pair.deliver(&answer_a);
    pair.deliver(&answer_b);
    pair.run(Duration::from_secs(30));
    pair.assert_one_tunnel();
    assert_eq!(pair.generations().0, 1);
}

#[test]
fn case_a_a_collision_with_one_leg_refused_for_its_traffic_selectors() {
    // B's configuration allows less than A's: its own rekey is narrowed, A's too, and both still meet.
    let mut pair = Pair::established_with(|side, config| {
        if side == Side::B {
            config.ts_local =
                vec![model::TrafficSelector::from_net("10.20.0.0/16".parse().expect("a prefix"))];
        }
    });
    for lowest in PLACES {
        let (ra, rb) = pair.collide((Command::RekeyChild, Command::RekeyChild), lowest);
        pair.deliver(&ra);
        pair.deliver(&rb);
        pair.settle();
        pair.assert_never_down();
    }
}

#[test]
fn case_b_a_collision_and_the_peer_rekeys_the_same_child_once_more() {
    let mut pair = Pair::established();
    let (ra, rb) = pair.collide((Command::RekeyChild, Command::RekeyChild), 0);
    let answer_a = pair.exchange(&rb);
    pair.deliver(&answer_a);
    let _ = ra;
    pair.command(Side::B, Command::RekeyChild);
    pair.settle();
    pair.assert_never_down();
}

#[test]
fn case_c_a_collision_a_lost_delete_and_a_link_bounce() {
    for lowest in PLACES {
        let mut pair = Pair::established();
        let (ra, rb) = pair.collide((Command::RekeyIke, Command::RekeyIke), lowest);
        let answer_a = pair.exchange(&rb);
        let answer_b = pair.exchange(&ra);
        pair.deliver(&answer_a);
        pair.deliver(&answer_b);
        // The link bounces: the DELETEs are lost and repeated.
        pair.run_silent(Duration::from_secs(5));
        pair.settle();
        pair.assert_never_down();
        assert_eq!(pair.generations(), (1, 0));
    }
}

#[test]
fn a_nat_that_rebinds_during_a_collision_moves_the_ike_sa_that_survives() {
    for lowest in PLACES {
        let mut a = config(Side::A);
        a.local = format!("{}:500", support::A_INSIDE).parse().expect("an address");
        a.local_identity = ike::Identity::Ipv4(support::A_IP.parse().expect("an address"));
        let mut pair = Pair::new(a, config(Side::B));
        pair.deliver_all();
        let (ra, _lost) = pair.collide((Command::RekeyIke, Command::RekeyIke), lowest);
        let answer_b = pair.exchange(&ra);
        // A sees no collision, takes its new IKE SA home and deletes the old one, from another port.
        let delete = pair.exchange(&answer_b);
        pair.nat = Some(1);
        let _answer = pair.exchange(&delete);
        let moved = format!("{}:20011", support::A_IP).parse().expect("an address");
        assert_eq!(pair.b.endpoint.status().ike.map(|ike| ike.remote), Some(moved));
        assert_eq!(pair.b.active_child().remote, moved);
    }
}

#[test]
fn case_d_both_sides_initiate_at_boot() {
    for lowest in PLACES {
        let mut b = config(Side::B);
        b.startup = Startup::Initiate;
        let mut pair = Pair::new(config(Side::A), b);
        // Everything crosses: all four requests are answered before any answer arrives.
        let octet = |place: u8| if place == lowest { 1 } else { 100 + place };
        pair.a.bias_nonces(octet(2));
        pair.b.bias_nonces(octet(3));
        let (ra, rb) = (pair.pop_from(Side::A), pair.pop_from(Side::B));
        let (answer_a, answer_b) = (pair.exchange(&rb), pair.exchange(&ra));
        let (auth_a, auth_b) = (pair.exchange(&answer_b), pair.exchange(&answer_a));
        let (done_a, done_b) = (pair.exchange(&auth_b), pair.exchange(&auth_a));
        pair.deliver(&done_a);
        pair.deliver(&done_b);
        pair.settle();
        for side in BOTH {
            assert_eq!(pair.peer(side).count(|n| matches!(n, Notice::DuplicateIke { .. })), 1);
            assert_eq!(pair.peer(side).count(|n| *n == Notice::PeerDeletedIke), 0, "never down");
        }
    }
}

#[test]
fn case_d_a_side_that_has_not_authenticated_yet_gives_way() {
    let mut b = config(Side::B);
    b.startup = Startup::Initiate;
    let mut pair = Pair::new(config(Side::A), b);
    let (ra, _lost) = (pair.pop_from(Side::A), pair.pop_from(Side::B));
    let answer = pair.exchange(&ra);
    let auth = pair.exchange(&answer);
    let done = pair.exchange(&auth);
    pair.deliver(&done);
    pair.settle();
    for side in BOTH {
        assert_eq!(pair.peer(side).count(|n| matches!(n, Notice::IkeEstablished { .. })), 1);
    }
}

#[test]
fn case_g_equal_nonces_still_have_one_winner() {
    for command in [Command::RekeyChild, Command::RekeyIke] {
        // Nonces of one octet's choice differ in the others, so equality cannot be forced from outside; the
        // order of unequal ones is what both must compute alike, a thousand times.
        let mut pair = Pair::established();
        for _ in 0..25 {
            let before = pair.generations();
            pair.command(Side::A, command);
            pair.command(Side::B, command);
            let (ra, rb) = (pair.pop_from(Side::A), pair.pop_from(Side::B));
            pair.deliver(&ra);
            pair.deliver(&rb);
            pair.settle();
            let after = pair.generations();
            assert_eq!((after.0 - before.0) + (after.1 - before.1), 1);
        }
        pair.assert_never_down();
    }
}
