//! IKE fragmentation (RFC 7383): what is cut, what is put together, and what a stranger cannot do to it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/script.rs"]
mod script;
mod support;

use std::time::Duration;

use ike::crypto::FragmentHead;
use ike::wire::{DhGroup, ExchangeType, Notify, NotifyType, Payload, PayloadType, encode_payloads, parse};
use ike::{Command, Config, DropReason};
use script::{Script, Target, notify};
use support::{Datagram, Pair, Side, config};

/// Small enough to cut IKE_AUTH in three.
const SMALL: u16 = 150;
/// Octets of IPv4 and UDP headers.
const HEADERS: usize = 28;

fn small(_: Side, config: &mut Config) {
    config.fragment_size = Some(SMALL);
}

fn is_fragment(datagram: &Datagram) -> bool {
    datagram.header().next_payload == PayloadType::SKF
}

fn announces(datagram: &Datagram) -> bool {
    let message = parse(&datagram.transmit.payload).unwrap();
    message.payloads.iter().any(|payload| {
        matches!(payload, Payload::Notify(Notify { kind: NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, .. }))
    })
}

/// A request of `notifies` unknown status notifications, cut into `total` pieces.
fn pieces(script: &mut Script, notifies: usize, total: u16) -> Vec<Vec<u8>> {
    let filler = Payload::Notify(Notify::new(NotifyType(40_000), vec![7; 60]));
    let encoded = encode_payloads(&vec![filler; notifies]);
    let header = script.header(ExchangeType::INFORMATIONAL, false, script.next);
    let size = encoded.bytes.len().div_ceil(usize::from(total));
    let parts: Vec<_> = encoded.bytes.chunks(size).map(<[u8]>::to_vec).collect();
    assert_eq!(parts.len(), usize::from(total));
    (1..)
        .zip(parts)
        .map(|(number, part)| {
            script.seal_fragment(&header, FragmentHead { first: encoded.first, number, total }, &part)
        })
        .collect()
}

/// A waiting endpoint that has authenticated us, who take fragments.
fn served(seed: u64) -> (Target, Script) {
    served_with(seed, config(Side::B))
}

fn served_with(seed: u64, config: Config) -> (Target, Script) {
    let mut target = Target::new(Side::B, config);
    let mut script = Script::initiator(seed);
    let mut payloads = script.first_payloads();
    payloads.push(notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, &[]));
    let request = script.first(&payloads);
    let answer = target.hear(&request).remove(0);
    script.hear_first(&answer);
    let payloads = script.auth_payloads();
    script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
    assert_eq!(target.holds(), (1, 1));
    (target, script)
}

fn fragments_dropped(target: &Target) -> u64 {
    target.endpoint.status().drops.of(DropReason::Fragment)
}

#[test]
fn rfc7383_2_3_both_announce_it_and_one_that_does_not_gets_whole_messages() {
    let pair = Pair::established_with(small);
    assert!(announces(&pair.history[0]) && announces(&pair.history[1]));
    for silent in [Side::A, Side::B] {
        let mut pair = Pair::established_with(|side, config| {
            config.fragment_size = (side != silent).then_some(SMALL);
        });
        assert_eq!(announces(&pair.history[0]), silent != Side::A);
        assert!(!announces(&pair.history[1]), "only an initiator that announced it is told");
        pair.command(Side::A, Command::RekeyIke);
        pair.settle();
        assert!(!pair.history.iter().any(is_fragment));
    }
}

#[test]
fn a_large_message_is_cut_to_the_size_and_a_small_one_is_not() {
    let mut pair = Pair::established_with(small);
    let cut: Vec<_> = pair.history.iter().filter(|d| is_fragment(d)).collect();
    assert!(cut.iter().any(|d| !d.is_response()) && cut.iter().any(|d| d.is_response()));
    assert!(cut.iter().all(|d| d.transmit.payload.len() + HEADERS <= usize::from(SMALL)));
    assert!(!pair.history[..2].iter().any(is_fragment), "IKE_SA_INIT is never cut (RFC 7383 §2.4)");
    let from = pair.history.len();
    pair.command(Side::A, Command::CheckLiveness);
    pair.deliver_all();
    assert!(!pair.history[from..].iter().any(is_fragment));
}

#[test]
fn every_exchange_of_a_life_works_in_fragments_from_either_side_and_a_rekeyed_ike_sa_inherits_it() {
    let mut pair = Pair::established_with(small);
    for side in [Side::A, Side::B] {
        for command in [Command::RekeyChild, Command::RekeyIke, Command::RekeyChild] {
            let from = pair.history.len();
            pair.command(side, command);
            pair.settle();
            assert!(pair.history[from..].iter().any(is_fragment), "{side:?} {command:?}");
        }
    }
    assert_eq!(pair.generations(), (2, 4));
    pair.assert_never_down();
}

#[test]
fn fragments_may_come_in_any_order_and_more_than_once() {
    let mut pair = Pair::new(
        Config { fragment_size: Some(SMALL), ..config(Side::A) },
        Config { fragment_size: Some(SMALL), ..config(Side::B) },
    );
    let mut budget = 500;
    while let Some(datagram) = pair.wire.pop_back() {
        pair.deliver(&datagram);
        pair.deliver(&datagram);
        budget -= 1;
        assert!(budget > 0, "the two never fall silent");
    }
    pair.assert_one_tunnel();
}

#[test]
fn a_lost_fragment_is_made_up_for_by_the_repetition_of_all() {
    for lost in 0..3 {
        let mut seen = 0;
        let mut pair = Pair::new(
            Config { fragment_size: Some(SMALL), ..config(Side::A) },
            Config { fragment_size: Some(SMALL), ..config(Side::B) },
        );
        pair.run_with(Duration::from_secs(5), |datagram| {
            let counted = is_fragment(datagram) && !datagram.is_response();
            seen += usize::from(counted);
            !counted || seen != lost + 1
        });
        pair.assert_one_tunnel();
        assert!(seen >= 4, "all fragments go out again, not the lost one alone");
    }
}

#[test]
fn a_message_that_goes_unanswered_is_cut_to_what_every_network_carries() {
    // Group 17 (MODP-6144) makes the rekey 800 octets long; from now on the way takes no more than 576.
    let mut pair = Pair::established_with(|_, config| {
        config.ike_proposals[0].groups = vec![DhGroup::MODP_6144];
    });
    let (passed, limit) = (pair.history.len(), 576 - HEADERS);
    pair.command(Side::A, Command::RekeyIke);
    pair.run_with(Duration::from_secs(14), |datagram| datagram.transmit.payload.len() <= limit);
    pair.assert_one_tunnel();
    assert_eq!(pair.generations().0, 1, "the rekey got through");
    let sent = &pair.history[passed..];
    assert!(sent.iter().any(|d| !is_fragment(d) && d.transmit.payload.len() > limit), "whole at first");
    assert!(sent.iter().any(|d| is_fragment(d) && !d.is_response()), "then in fragments");
}

#[test]
fn rfc7383_2_6_a_larger_total_replaces_what_is_held_and_a_smaller_one_is_ignored() {
    let (mut target, mut script) = served(1);
    let three = pieces(&mut script, 12, 3);
    let five = pieces(&mut script, 12, 5);
    assert!(target.hear(&three[0]).is_empty());
    assert!(target.hear(&five[0]).is_empty());
    // The two others of three no longer complete anything.
    target.ignores(&three[1], "of a smaller total");
    target.ignores(&three[2], "of a smaller total");
    for piece in &five[1..4] {
        assert!(target.hear(piece).is_empty());
    }
    assert_eq!(target.hear(&five[4]).len(), 1, "complete, and answered");
    assert_eq!(fragments_dropped(&target), 2);
}

#[test]
fn rfc7383_2_6_a_doubled_fragment_is_ignored() {
    let (mut target, mut script) = served(2);
    let three = pieces(&mut script, 12, 3);
    assert!(target.hear(&three[1]).is_empty());
    target.ignores(&three[1], "the same fragment again");
    let again = pieces(&mut script, 12, 3);
    target.ignores(&again[1], "the same number in other octets");
    assert!(target.hear(&three[0]).is_empty());
    assert_eq!(target.hear(&three[2]).len(), 1);
}

#[test]
fn a_fragment_is_authenticated_before_it_is_kept() {
    let (mut target, mut script) = served(3);
    let three = pieces(&mut script, 12, 3);
    for piece in &three {
        for at in [0, 20, 28, 33, 35, 40, piece.len() - 1] {
            let mut forged = piece.clone();
            forged[at] ^= 1;
            target.ignores(&forged, "a forged fragment");
        }
        for length in 0..piece.len() {
            target.ignores(&piece[..length], "a truncated fragment");
        }
    }
    assert!(target.hear(&three[0]).is_empty() && target.hear(&three[2]).is_empty());
    assert_eq!(target.hear(&three[1]).len(), 1);
}

#[test]
fn cve_2013_6076_2016_1287_2026_12413_reassembly_is_bounded_in_number_octets_and_time() {
    let (mut target, mut script) = served(4);
    let header = script.header(ExchangeType::INFORMATIONAL, false, script.next);
    for total in [65, 1_000, 65_535] {
        let head = FragmentHead { first: PayloadType::NOTIFY, number: 1, total };
        let piece = script.seal_fragment(&header, head, &[0; 40]);
        target.ignores(&piece, "more fragments than anybody needs");
    }
    let head = |number| FragmentHead { first: PayloadType::NOTIFY, number, total: 3 };
    let huge = script.seal_fragment(&header, head(1), &vec![0; 40_000]);
    target.ignores(&huge, "a fragment beyond the limit by itself");
    let large = script.seal_fragment(&header, head(1), &vec![0; 20_000]);
    assert!(target.hear(&large).is_empty());
    let more = script.seal_fragment(&header, head(2), &vec![0; 20_000]);
    target.ignores(&more, "beyond the limit together");
    let empty = script.seal_fragment(&header, head(2), &[]);
    target.ignores(&empty, "a piece with nothing in it");
    // What stays incomplete is forgotten; then a smaller total may come.
    target.run(Duration::from_secs(31));
    let two = pieces(&mut script, 12, 2);
    assert!(target.hear(&two[0]).is_empty());
    assert_eq!(target.hear(&two[1]).len(), 1);
}

#[test]
fn one_message_is_put_together_at_a_time_and_a_whole_one_takes_its_place() {
    let (mut target, mut script) = served(5);
    let three = pieces(&mut script, 12, 3);
    assert!(target.hear(&three[0]).is_empty());
    let header = script.header(ExchangeType::INFORMATIONAL, false, script.next);
    let whole = script.seal(&header, &[]);
    assert_eq!(target.hear(&whole).len(), 1, "the same request in one piece");
    target.ignores(&three[1], "answered already");
    script.next += 1;
    let next = pieces(&mut script, 12, 2);
    assert!(target.hear(&next[0]).is_empty());
    assert_eq!(target.hear(&next[1]).len(), 1);
    // A message ID outside the window is not put together (RFC 7296 §2.3).
    script.next += 2;
    for piece in pieces(&mut script, 12, 2) {
        target.ignores(&piece, "a later message");
    }
}

#[test]
fn rfc7383_2_6_1_only_fragment_1_of_a_repeated_request_is_answered_again() {
    let (mut target, mut script) = served(6);
    let three = pieces(&mut script, 12, 3);
    let answers: Vec<_> = three.iter().flat_map(|piece| target.hear(piece)).collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(target.hear(&three[0]), answers, "identical octets");
    target.ignores(&three[1], "not the first");
    target.ignores(&three[2], "not the first");
    // Cut anew by a sender that found the way narrower: the same request still.
    let five = pieces(&mut script, 12, 5);
    assert_eq!(target.hear(&five[0]), answers);
    target.ignores(&five[1], "not the first");
    let mut forged = five[0].clone();
    *forged.last_mut().unwrap() ^= 1;
    target.ignores(&forged, "a forged first fragment");
}

#[test]
fn malformed_payloads_across_fragments_are_refused_like_whole_ones() {
    let (mut target, mut script) = served(7);
    let header = script.header(ExchangeType::INFORMATIONAL, false, script.next);
    let head = |number| FragmentHead { first: PayloadType::NOTIFY, number, total: 2 };
    let one = script.seal_fragment(&header, head(1), &[0, 0, 0, 99]);
    let two = script.seal_fragment(&header, head(2), &[1, 2, 3]);
    assert!(target.hear(&one).is_empty());
    let answers = target.hear(&two);
    let kinds: Vec<_> = script.open(&answers[0]).payloads;
    assert!(
        matches!(&kinds[..], [Payload::Notify(Notify { kind: NotifyType::INVALID_SYNTAX, .. })]),
        "{kinds:?}"
    );
    assert_eq!(target.holds(), (0, 0));
}

#[test]
fn fragments_that_were_not_negotiated_are_not_looked_at() {
    let (mut target, mut script) = served_with(8, Config { fragment_size: None, ..config(Side::B) });
    for piece in pieces(&mut script, 12, 3) {
        target.ignores(&piece, "not negotiated");
    }
}
