//! Message ID synchronisation (RFC 6311) is for clusters. We neither offer nor accept it: whatever it asks for, no
//! message ID moves. Played by an authenticated puppet; the numbers are those of `docs/ike-conformance.md`.
#![allow(clippy::unwrap_used)]

mod support;

use ike::Command;
use ike::wire::{ExchangeType, Flags, Notify, NotifyType, Payload, ProtocolId};
use support::puppet::{Stage, notifies, notify};

/// RFC 6311 §5.2.
const MESSAGE_ID_SYNC: NotifyType = NotifyType(16_422);
/// What a peer may claim: its next request, and the next one it expects.
const CLAIMS: [(u32, u32); 6] = [(0, 0), (1, 1), (2, 3), (100, 100), (u32::MAX, 0), (0x8000_0000, u32::MAX)];

/// A nonce and the two message IDs (RFC 6311 §5.2).
fn sync((send, receive): (u32, u32)) -> Payload {
    let mut data = b"once".to_vec();
    data.extend(send.to_be_bytes());
    data.extend(receive.to_be_bytes());
    Payload::Notify(Notify { protocol: ProtocolId::NONE, spi: Vec::new(), kind: MESSAGE_ID_SYNC, data })
}

/// A request as RFC 6311 §5.1 has it, with the message ID 0; or with another one.
fn synchronisation(stage: &mut Stage, id: u32, claim: (u32, u32)) -> Vec<u8> {
    // The puppet is the original initiator in all of these stories.
    let flags = Flags::new(true, false);
    stage.puppet.sealed(ExchangeType::INFORMATIONAL, flags, id, &[sync(claim)])
}

/// The two sides still understand each other, in both directions.
fn assert_in_step(stage: &mut Stage) {
    assert_eq!(
        stage.ask(ExchangeType::INFORMATIONAL, &[]),
        Some(Vec::new()),
        "the peer's requests are answered"
    );
    stage.input(ike::Input::Command(Command::CheckLiveness));
    let (header, _) = stage.request();
    stage.reply(&header, &[]);
    assert!(stage.peer.failures().is_empty() && stage.inbox.is_empty());
}

#[test]
fn case_63_a_synchronisation_moves_no_message_id() {
    let mut stage = Stage::initiated(|_| {});
    assert_in_step(&mut stage);
    for claim in CLAIMS {
        let before = stage.peer.digest();
        let datagram = synchronisation(&mut stage, 0, claim);
        stage.deliver(&datagram);
        assert!(stage.inbox.is_empty(), "{claim:?} is not answered");
        assert_eq!(stage.peer.digest(), before, "{claim:?} changes nothing");
    }
    assert_in_step(&mut stage);
}

#[test]
fn case_64_a_repeated_synchronisation_is_dropped_like_the_first() {
    let mut stage = Stage::initiated(|_| {});
    assert_in_step(&mut stage);
    let before = stage.peer.digest();
    let datagram = synchronisation(&mut stage, 0, (5, 5));
    for _ in 0..3 {
        stage.deliver(&datagram);
        assert!(stage.inbox.is_empty());
    }
    assert_eq!(stage.peer.digest(), before);
    assert_in_step(&mut stage);
}

#[test]
fn case_65_a_synchronisation_replayed_later_changes_nothing() {
    let mut stage = Stage::initiated(|_| {});
    let datagram = synchronisation(&mut stage, 0, (9, 9));
    stage.deliver(&datagram);
    for _ in 0..4 {
        assert_in_step(&mut stage);
    }
    let before = stage.peer.digest();
    stage.deliver(&datagram);
    assert!(stage.inbox.is_empty());
    assert_eq!(stage.peer.digest(), before);
}

#[test]
fn case_66_a_synchronisation_that_was_not_negotiated_is_an_unknown_status() {
    let mut stage = Stage::initiated(|_| {});
    //= RFC 7296 §3.10.1: a status notification that is not understood is ignored; the request is answered.
    for claim in CLAIMS {
        assert_eq!(stage.ask(ExchangeType::INFORMATIONAL, &[sync(claim)]), Some(Vec::new()));
    }
    assert_in_step(&mut stage);
    // Nor is it negotiated when the peer offers it.
    let mut stage = Stage::initiating(|_| {});
    let mut payloads = stage.puppet.auth();
    payloads.push(notify(NotifyType::IKEV2_MESSAGE_ID_SYNC_SUPPORTED));
    payloads.extend(support::puppet::child(0x1000, false));
    let answer = stage.ask(ExchangeType::IKE_AUTH, &payloads).unwrap();
    assert!(!notifies(&answer).contains(&NotifyType::IKEV2_MESSAGE_ID_SYNC_SUPPORTED));
    assert_in_step(&mut stage);
}

#[test]
fn case_67_a_synchronisation_to_lower_message_ids_opens_no_old_ones() {
    let mut stage = Stage::initiated(|_| {});
    for _ in 0..3 {
        assert_in_step(&mut stage);
    }
    let datagram = synchronisation(&mut stage, 0, (1, 1));
    stage.deliver(&datagram);
    let before = stage.peer.digest();
    // A request with an ID that was used before stays outside the window.
    let old = synchronisation(&mut stage, 1, (1, 1));
    stage.deliver(&old);
    assert!(stage.inbox.is_empty());
    assert_eq!(stage.peer.digest(), before);
    assert_in_step(&mut stage);
}

#[test]
fn case_68_a_synchronisation_to_higher_message_ids_opens_no_new_ones() {
    let mut stage = Stage::initiated(|_| {});
    let datagram = synchronisation(&mut stage, 0, (100, 100));
    stage.deliver(&datagram);
    let before = stage.peer.digest();
    let ahead = synchronisation(&mut stage, 100, (100, 100));
    stage.deliver(&ahead);
    assert!(stage.inbox.is_empty(), "request 100 is not the next one");
    assert_eq!(stage.peer.digest(), before);
    assert_in_step(&mut stage);
}

#[test]
fn case_69_a_synchronisation_while_a_request_is_open_leaves_it_open() {
    let mut stage = Stage::initiated(|_| {});
    stage.input(ike::Input::Command(Command::CheckLiveness));
    let (header, _) = stage.request();
    for (id, claim) in [(0, (7, 7)), (stage.puppet.next + 5, (0, 0))] {
        let datagram = synchronisation(&mut stage, id, claim);
        stage.deliver(&datagram);
        assert!(stage.inbox.is_empty());
    }
    stage.reply(&header, &[]);
    assert_in_step(&mut stage);
}
