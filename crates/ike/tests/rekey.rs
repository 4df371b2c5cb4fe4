//! Rekeys of the child SA and of the IKE SA, from either side (RFC 7296 §2.8).

mod support;

use std::time::Duration;

use ike::wire::ExchangeType;
use ike::{Command, EarlyRekey, Lifetime, Notice, Role};
use support::{Datagram, Pair, START, Side, config};

const BOTH: [Side; 2] = [Side::A, Side::B];

fn settle(pair: &mut Pair) {
    pair.run(Duration::from_secs(10));
    pair.assert_one_tunnel();
}

#[test]
fn a_child_rekey_replaces_the_child_and_keeps_the_ike_sa() {
    for side in BOTH {
        let mut pair = Pair::established();
        let before = pair.a.endpoint.status();
        let old = pair.a.active_child().id;
        pair.command(side, Command::RekeyChild);
        settle(&mut pair);
        let after = pair.a.endpoint.status();
        assert_eq!(before.ike.unwrap().spi_i, after.ike.unwrap().spi_i);
        let child = after.child.unwrap();
        assert_ne!(child.id, old);
        assert_eq!(child.rekeys, 1);
        assert_eq!(child.proposal, "AES_GCM_16_128/CURVE25519", "a rekey has a key exchange of its own");
        assert_eq!(pair.history.len(), 4 + 4, "CREATE_CHILD_SA and the DELETE of the old child");
        for peer in [&pair.a, &pair.b] {
            assert_eq!(peer.count(|n| matches!(n, Notice::ChildRekeyed { .. })), 1);
            assert!(peer.failures().is_empty());
        }
        let by_us = |n: &Notice| matches!(n, Notice::ChildRekeyed { by_us: true, .. });
        assert_eq!(pair.peer(side).count(by_us), 1);
    }
}

#[test]
fn the_responder_moves_its_traffic_when_the_old_child_is_deleted() {
    let mut pair = Pair::established();
    let old = pair.b.active_child().id;
    pair.command(Side::A, Command::RekeyChild);
    pair.step();
    assert_eq!(pair.b.children.len(), 2, "inbound is installed before the answer is sent");
    assert_eq!(pair.b.active, Some(old), "outbound stays on the old child");
    pair.step();
    assert_ne!(pair.a.active, Some(old), "the initiator has both halves now");
    pair.step();
    assert_ne!(pair.b.active, Some(old), "the DELETE proves the new child");
    assert_eq!(pair.b.children.len(), 2, "the old inbound SA stays for packets under way");
    pair.deliver_all();
    pair.run(Duration::from_millis(4_900));
    assert_eq!((pair.a.children.len(), pair.b.children.len()), (2, 2));
    pair.run(Duration::from_millis(200));
    pair.assert_one_tunnel();
}

#[test]
fn the_responder_moves_its_traffic_when_esp_arrives_on_the_new_child() {
    let mut pair = Pair::established();
    let old = pair.b.active_child().id;
    pair.command(Side::A, Command::RekeyChild);
    pair.step();
    pair.step();
    assert_eq!(pair.b.active, Some(old));
    assert!(pair.traffic(Side::A));
    assert_ne!(pair.b.active, Some(old), "ESP proves the new child");
    settle(&mut pair);
    assert_eq!(pair.b.trace.iter().filter(|effect| effect.starts_with("activate")).count(), 1);
}

#[test]
fn an_ike_rekey_takes_the_children_along() {
    for side in BOTH {
        let mut pair = Pair::established();
        let before = pair.a.endpoint.status();
        pair.command(side, Command::RekeyIke);
        settle(&mut pair);
        let after = pair.a.endpoint.status();
        let (old, new) = (before.ike.unwrap(), after.ike.unwrap());
        assert_ne!((old.spi_i, old.spi_r), (new.spi_i, new.spi_r));
        assert_eq!(new.rekeys, 1);
        let role = if side == Side::A { Role::Initiator } else { Role::Responder };
        assert_eq!(new.role, role, "who rekeys is the new initiator");
        assert_eq!(before.child.unwrap().id, after.child.unwrap().id, "the child is the same");
        assert_eq!(pair.history.len(), 4 + 4, "CREATE_CHILD_SA and the DELETE of the old IKE SA");
        pair.command(side.other(), Command::RekeyChild);
        settle(&mut pair);
        pair.command(side.other(), Command::RekeyIke);
        settle(&mut pair);
        assert_eq!(pair.b.endpoint.status().ike.unwrap().rekeys, 2);
    }
}

#[test]
fn any_single_message_of_a_rekey_may_be_lost() {
    for command in [Command::RekeyChild, Command::RekeyIke] {
        for side in BOTH {
            for lost in 0..4 {
                let mut pair = Pair::established();
                pair.command(side, command);
                let mut number = 0;
                pair.run_with(Duration::from_secs(60), |_| {
                    number += 1;
                    number != lost + 1
                });
                pair.assert_one_tunnel();
                for peer in [&pair.a, &pair.b] {
                    let rekeyed =
                        |n: &Notice| matches!(n, Notice::ChildRekeyed { .. } | Notice::IkeRekeyed { .. });
                    assert_eq!(peer.count(rekeyed), 1, "{command:?} by {side:?}, message {lost} lost");
                }
            }
        }
    }
}

#[test]
fn any_message_of_a_rekey_may_arrive_twice() {
    for command in [Command::RekeyChild, Command::RekeyIke] {
        for side in BOTH {
            let mut pair = Pair::established();
            pair.command(side, command);
            let mut seen: Vec<Datagram> = Vec::new();
            while !pair.wire.is_empty() {
                let datagram = pair.pop();
                pair.deliver(&datagram);
                pair.deliver(&datagram);
                seen.push(datagram);
                assert!(seen.len() < 50, "repeats breed repeats");
            }
            settle(&mut pair);
        }
    }
}

#[test]
fn lifetimes_rekey_by_themselves_with_jitter() {
    let lifetime = Lifetime {
        rekey_after: Duration::from_secs(100),
        jitter: Duration::from_secs(40),
        hard: Duration::from_secs(200),
    };
    let mut pair = Pair::established_with(|_, config| config.child_lifetime = lifetime);
    let due = |peer: &support::Peer| peer.endpoint.status().child.unwrap().rekey_due;
    let (a, b) = (due(&pair.a), due(&pair.b));
    assert_ne!(a, b, "jitter keeps the two apart");
    for at in [a, b] {
        let after = at - support::START;
        assert!(after >= Duration::from_secs(60) && after <= Duration::from_secs(100));
    }
    pair.run(Duration::from_secs(1_000));
    pair.run(Duration::from_secs(6));
    let rekeys = pair.a.endpoint.status().child.unwrap().rekeys;
    assert!((10..=17).contains(&rekeys), "{rekeys} rekeys in 1000 s");
    assert_eq!(pair.a.count(|n| matches!(n, Notice::PeerDeletedChild { .. })), 0);
}

const EARLY: EarlyRekey = EarlyRekey { after: Duration::from_secs(30), jitter: Duration::ZERO };

#[test]
fn early_rekeys_of_tunnels_that_came_up_together_are_spread() {
    let window = 30..=60;
    let mut due = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let change = |side| {
            let mut config = config(side);
            if side == Side::A {
                config.early_rekey = Some(EarlyRekey { jitter: Duration::from_secs(30), ..EARLY });
            }
            config
        };
        let mut pair = Pair::new(change(Side::A), change(Side::B));
        // Another generator for each.
        pair.a = support::Peer::new(change(Side::A), 100 + seed, START);
        pair.wire.clear();
        pair.tick();
        pair.deliver_all();
        let child = pair.a.endpoint.status().child.unwrap();
        let after = (child.rekey_due - child.established).as_secs();
        assert!(window.contains(&after), "{after} s");
        due.insert(after);
    }
    assert!(due.len() > 8, "{due:?}");
}

#[test]
fn an_early_rekey_comes_once() {
    let mut pair = Pair::established_with(|side, config| {
        if side == Side::A {
            config.early_rekey = Some(EARLY);
        }
    });
    pair.run(Duration::from_secs(29));
    assert_eq!(pair.a.endpoint.status().child.unwrap().rekeys, 0);
    pair.run(Duration::from_secs(10_000));
    pair.assert_one_tunnel();
    assert_eq!(pair.a.endpoint.status().child.unwrap().rekeys, 1);
}

#[test]
fn a_pfs_mismatch_is_found_by_the_early_rekey_and_the_tunnel_stays() {
    let mut pair = Pair::established_with(|side, config| {
        if side == Side::A {
            config.early_rekey = Some(EARLY);
        } else {
            config.esp_proposals[0].groups = vec![ike::wire::DhGroup::ECP_256];
        }
    });
    pair.run(Duration::from_secs(31));
    assert!(matches!(pair.a.failures()[..], [ike::Failure::NoProposalChosen { by_peer: true, .. }]));
    pair.assert_one_tunnel();
    // Once is enough: it is not repeated every few seconds until the lifetime asks for a rekey.
    pair.run(Duration::from_secs(3_600));
    assert_eq!(pair.a.failures().len(), 1);
    pair.assert_one_tunnel();
}

#[test]
fn a_nearly_exhausted_sequence_counter_brings_a_rekey() {
    let mut pair = Pair::established();
    let spi_in = pair.a.active_child().spi_in;
    pair.input(Side::A, ike::Input::SequenceNearlyExhausted { spi_in });
    settle(&mut pair);
    assert_eq!(pair.a.endpoint.status().child.unwrap().rekeys, 1);
}

#[test]
fn another_group_is_tried_when_the_responder_asks_for_it() {
    use ike::wire::DhGroup;
    let mut pair = Pair::established_with(|side, config| {
        let groups = vec![DhGroup::CURVE25519, DhGroup::ECP_256];
        config.ike_proposals[0].groups = groups.clone();
        config.esp_proposals[0].groups = groups;
        if side == Side::B {
            config.selection = ike::Selection::LowestValue;
        }
    });
    for command in [Command::RekeyChild, Command::RekeyIke] {
        pair.command(Side::A, command);
        settle(&mut pair);
    }
    assert!(pair.a.count(|n| matches!(n, Notice::GroupRequested { group: 19 })) >= 1);
    let status = pair.a.endpoint.status();
    assert!(status.child.unwrap().proposal.ends_with("ECP_256"));
    assert!(status.ike.unwrap().proposal.ends_with("ECP_256"));
    assert!(pair.a.failures().is_empty());
}

#[test]
fn every_rekey_exchange_is_protected_and_numbered_in_order() {
    let mut pair = Pair::established();
    for _ in 0..3 {
        pair.command(Side::A, Command::RekeyChild);
        settle(&mut pair);
    }
    let requests: Vec<_> = pair
        .history
        .iter()
        .filter(|datagram| datagram.from == Side::A && !datagram.is_response())
        .map(|datagram| datagram.header())
        .collect();
    for (index, header) in requests.iter().enumerate() {
        assert_eq!(header.message_id as usize, index);
        let protected = header.next_payload == ike::wire::PayloadType::SK;
        assert_eq!(protected, header.exchange != ExchangeType::IKE_SA_INIT);
    }
}

#[test]
fn rekeys_in_quick_succession_retire_old_children_early_and_are_never_refused() {
    for side in BOTH {
        let mut pair = Pair::established();
        for _ in 0..40 {
            pair.command(side, Command::RekeyChild);
            pair.run(Duration::from_millis(30));
            assert!(pair.a.children.len() <= 7 && pair.b.children.len() <= 7);
        }
        settle(&mut pair);
        assert_eq!(pair.a.endpoint.status().child.unwrap().rekeys, 40);
        assert!(pair.a.failures().is_empty() && pair.b.failures().is_empty());
    }
}
