//! From the first tunnel to the last: deletion, reconnection, liveness, closing.

mod support;

use std::time::Duration;

use ike::wire::ExchangeType;
use ike::{CloseReason, Command, Input, Lifetime, Notice, Phase, Startup, Timer};
use support::{Pair, Side};

const BOTH: [Side; 2] = [Side::A, Side::B];

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn an_orderly_close_tells_the_peer_and_then_nothing_is_sent() {
    for side in BOTH {
        let mut pair = Pair::established();
        pair.command(side, Command::Close);
        assert!(pair.peer(side).children.is_empty(), "traffic stops at once");
        pair.deliver_all();
        assert_eq!(pair.peer(side).count(|n| *n == Notice::Closed), 1);
        assert_eq!(pair.peer(side.other()).count(|n| *n == Notice::PeerDeletedIke), 1);
        assert_eq!(pair.peer(side).endpoint.status().phase, Phase::Closed);
        assert_eq!(pair.peer(side).endpoint.poll_timeout(), None);
        assert!(pair.peer(side.other()).children.is_empty());
        let before = pair.history.len();
        pair.command(side.other(), Command::Initiate);
        pair.run(seconds(60));
        assert!(pair.history[before..].iter().all(|datagram| datagram.from == side.other()));
        pair.command(side, Command::Initiate);
        pair.run(seconds(30));
        pair.assert_one_tunnel();
    }
}

#[test]
fn closing_ends_even_if_the_peer_is_gone() {
    let mut pair = Pair::established();
    pair.command(Side::A, Command::Close);
    pair.run_silent(seconds(16));
    assert_eq!(pair.a.count(|n| *n == Notice::Closed), 1);
}

#[test]
fn both_may_close_at_once() {
    let mut pair = Pair::established();
    pair.command(Side::A, Command::Close);
    pair.command(Side::B, Command::Close);
    pair.deliver_all();
    for side in BOTH {
        assert_eq!(pair.peer(side).count(|n| *n == Notice::Closed), 1);
        assert!(pair.peer(side).children.is_empty());
    }
}

#[test]
fn an_orderly_delete_by_the_peer_is_followed_by_a_new_tunnel_at_once() {
    let mut pair = Pair::established();
    let at = pair.now;
    pair.command(Side::B, Command::Reset);
    pair.deliver_all();
    assert_eq!(pair.now, at, "without any wait");
    pair.assert_one_tunnel();
    assert_eq!(pair.a.count(|n| *n == Notice::PeerDeletedIke), 1);
}

#[test]
fn a_reset_of_ours_makes_a_new_tunnel_at_once() {
    let mut pair = Pair::established();
    let old = pair.a.active_child().id;
    pair.command(Side::A, Command::Reset);
    pair.deliver_all();
    pair.assert_one_tunnel();
    assert_ne!(pair.a.active_child().id, old);
}

#[test]
fn a_peer_that_deletes_again_and_again_gets_no_storm() {
    let mut pair = Pair::established();
    for _ in 0..1_000 {
        pair.command(Side::B, Command::Reset);
        pair.run(Duration::from_millis(100));
    }
    // 100 s: one immediate retry, then waits of up to 5 s.
    let attempts = pair.a.endpoint.status().attempts;
    assert!(attempts < 60, "{attempts} attempts in 100 s");
}

#[test]
fn silence_leads_to_a_question_and_an_answer() {
    let mut pair = Pair::established_with(|_, config| config.liveness.idle = seconds(10));
    pair.run(seconds(101));
    pair.assert_one_tunnel();
    let questions = pair.history[4..].iter().filter(|d| !d.is_response()).count();
    assert!((9..=20).contains(&questions), "{questions} questions in 100 s");
    assert!(pair.history[4..].iter().all(|d| d.exchange() == ExchangeType::INFORMATIONAL));
}

#[test]
fn esp_counts_as_a_sign_of_life() {
    let mut pair = Pair::established_with(|_, config| config.liveness.idle = seconds(10));
    for _ in 0..100 {
        pair.run(seconds(1));
        for side in BOTH {
            assert!(pair.traffic(side));
        }
    }
    assert_eq!(pair.history.len(), 4, "no questions while traffic flows");
}

#[test]
fn a_dead_peer_is_noticed_in_the_documented_time() {
    let mut pair = Pair::established_with(|_, config| config.liveness.idle = seconds(10));
    let start = pair.now;
    while pair.a.count(|n| matches!(n, Notice::PeerUnreachable { .. })) == 0 {
        pair.wire.clear();
        pair.next_timeout();
    }
    assert_eq!((pair.now - start).as_millis(), 25_500);
    assert!(pair.a.children.is_empty());
    assert!(matches!(pair.a.endpoint.status().phase, Phase::Connecting), "the first retry is immediate");
}

#[test]
fn a_question_can_be_asked_at_any_time() {
    let mut pair = Pair::established();
    pair.command(Side::A, Command::CheckLiveness);
    pair.deliver_all();
    assert_eq!(pair.history.len(), 6);
    pair.command(Side::A, Command::CheckLiveness);
    pair.run_silent(seconds(16));
    assert_eq!(pair.a.count(|n| matches!(n, Notice::PeerUnreachable { .. })), 1);
}

#[test]
fn after_a_cut_the_tunnel_comes_back_by_itself() {
    for both_initiate in [false, true] {
        let mut pair = Pair::established_with(|_, config| {
            config.liveness.idle = seconds(10);
            if both_initiate {
                config.startup = Startup::Initiate;
            }
        });
        pair.run_silent(seconds(60));
        assert!(pair.a.children.is_empty() && pair.b.children.is_empty());
        pair.run(seconds(10));
        pair.run(seconds(10));
        pair.assert_one_tunnel();
    }
}

#[test]
fn the_hard_lifetime_ends_what_could_not_be_rekeyed() {
    let lifetime = Lifetime { rekey_after: seconds(1_000), jitter: Duration::ZERO, hard: seconds(100) };
    let mut pair = Pair::established_with(|_, config| config.ike_lifetime = lifetime);
    let old = pair.a.endpoint.status().ike.unwrap();
    pair.run(seconds(101));
    pair.run(seconds(5));
    pair.assert_one_tunnel();
    assert_ne!(pair.a.endpoint.status().ike.unwrap().spi_i, old.spi_i);
    let expired = |n: &Notice| *n == Notice::IkeClosed { reason: CloseReason::Expired };
    assert_eq!((pair.a.count(expired), pair.b.count(expired)), (1, 1), "both had the same limit");
}

#[test]
fn a_child_at_its_hard_limit_is_replaced_by_a_new_one() {
    let lifetime = Lifetime { rekey_after: seconds(1_000), jitter: Duration::ZERO, hard: seconds(100) };
    let mut pair = Pair::established_with(|side, config| {
        if side == Side::A {
            config.child_lifetime = lifetime;
        }
    });
    pair.run(seconds(101));
    pair.run(seconds(6));
    pair.assert_one_tunnel();
    assert_eq!(pair.a.count(|n| matches!(n, Notice::ChildEstablished { .. })), 2);
}

#[test]
fn a_waiting_side_initiates_once_when_told() {
    let mut pair = Pair::established_with(|_, _| {});
    pair.command(Side::A, Command::Close);
    pair.deliver_all();
    let before = pair.history.len();
    pair.command(Side::B, Command::Initiate);
    pair.run_silent(seconds(100));
    let sent: Vec<_> = pair.history[before..].iter().map(|d| d.header().spi_i).collect();
    assert_eq!(sent.len(), 6, "one attempt with its repetitions");
    assert!(sent.iter().all(|spi| *spi == sent[0]));
}

#[test]
fn another_local_address_means_a_new_tunnel_from_there() {
    let mut pair = Pair::established();
    let local = "192.0.2.1:500".parse().unwrap();
    pair.input(Side::A, Input::LocalChanged { local });
    pair.deliver_all();
    pair.assert_one_tunnel();
    assert_eq!(pair.a.endpoint.config().local, local);
}

#[test]
fn timers_are_named_and_never_in_the_past_after_they_were_served() {
    let mut pair = Pair::established();
    for _ in 0..50 {
        pair.next_timeout();
        pair.deliver_all();
        for side in BOTH {
            let now = pair.now;
            if let Some((at, timer)) = pair.peer(side).endpoint.poll_timeout() {
                assert!(at > now, "{timer:?} is due again at once");
                assert_ne!(timer, Timer::HalfOpen);
            }
        }
    }
}
