//! One speaker against hand-made bytes: what a neighbour says wrong, and what a small neighbour cannot say.

use std::time::Duration;

use bgp::{Config, Connection, Input, Notice, Origin, Output, Rejection, Speaker, State};
use ipnet::IpNet;
use model::Instant;

use crate::sim::{net, ours};

pub(crate) const NOW: Instant = Instant::from_secs(10);
pub(crate) const PEER: Connection = Connection::Inbound(7);

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xff; 16];
    message.extend_from_slice(&u16::try_from(19 + body.len()).unwrap().to_be_bytes());
    message.push(kind);
    message.extend_from_slice(body);
    message
}

/// OPEN of AS 64512, hold 30, ID 169.254.10.1.
pub(crate) fn open(capabilities: &[u8]) -> Vec<u8> {
    let mut body = vec![4];
    body.extend_from_slice(&64512_u16.to_be_bytes());
    body.extend_from_slice(&30_u16.to_be_bytes());
    body.extend_from_slice(&[169, 254, 10, 1]);
    if capabilities.is_empty() {
        body.push(0);
    } else {
        let length = u8::try_from(capabilities.len()).unwrap();
        body.extend_from_slice(&[length + 2, 2, length]);
        body.extend_from_slice(capabilities);
    }
    message(1, &body)
}

/// Multiprotocol IPv4, route refresh, four-octet AS 64512.
pub(crate) const CAPABILITIES: &[u8] = &[1, 4, 0, 1, 0, 1, 2, 0, 65, 4, 0, 0, 0xfc, 0x00];
pub(crate) const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
pub(crate) const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfc, 0x00];
pub(crate) const NEXT_HOP: &[u8] = &[0x40, 3, 4, 169, 254, 10, 1];

pub(crate) fn keepalive() -> Vec<u8> {
    message(4, &[])
}

pub(crate) fn update(withdrawn: &[u8], attributes: &[&[u8]], nlri: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let mut body = u16::try_from(withdrawn.len()).unwrap().to_be_bytes().to_vec();
    body.extend_from_slice(withdrawn);
    body.extend_from_slice(&u16::try_from(attributes.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&attributes);
    body.extend_from_slice(nlri);
    message(2, &body)
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) sent: Vec<u8>,
    pub(crate) closed: bool,
    pub(crate) reachable: Vec<IpNet>,
    pub(crate) withdrawn: Vec<IpNet>,
    pub(crate) notices: Vec<Notice>,
}

pub(crate) fn drain(speaker: &mut Speaker) -> Seen {
    let mut seen = Seen::default();
    while let Some(output) = speaker.poll_output() {
        match output {
            Output::Send { bytes, .. } => seen.sent.extend(bytes),
            Output::Close(connection) => seen.closed |= connection == PEER,
            Output::RoutesChanged(changes) => {
                seen.reachable.extend(changes.reachable.iter().map(|path| path.prefix));
                seen.withdrawn.extend(changes.withdrawn);
            }
            Output::Notice(notice) => seen.notices.push(notice),
            Output::Connect(_) => {}
        }
    }
    seen
}

pub(crate) fn feed(speaker: &mut Speaker, bytes: &[u8]) -> Seen {
    speaker.handle_input(NOW, Input::Received { connection: PEER, bytes });
    drain(speaker)
}

/// A speaker with a neighbour's connection on which nothing was said yet.
pub(crate) fn connected(config: Config) -> Speaker {
    let mut speaker = Speaker::new(Config { passive: true, ..config }, NOW).unwrap();
    speaker.handle_input(NOW, Input::TunnelUp);
    speaker.handle_input(NOW, Input::Connected(PEER));
    speaker
}

pub(crate) fn established(config: Config, capabilities: &[u8]) -> Speaker {
    let mut speaker = connected(config);
    drain(&mut speaker);
    feed(&mut speaker, &open(capabilities));
    feed(&mut speaker, &keepalive());
    assert_eq!(speaker.status().state, State::Established);
    speaker
}

fn notification(seen: &Seen) -> Option<(u8, u8)> {
    seen.notices.iter().find_map(|notice| match notice {
        Notice::Notification(seen) if !seen.by_peer => Some((seen.code, seen.subcode)),
        _ => None,
    })
}

#[test]
fn our_open_offers_what_aws_needs_and_nothing_we_would_have_to_serve() {
    let mut speaker = connected(ours());
    let sent = drain(&mut speaker).sent;
    assert_eq!(&sent[..16], [0xff; 16]);
    assert_eq!(sent[18], 1, "OPEN");
    assert_eq!(&sent[19..28], [4, 0xfd, 0xe8, 0, 30, 169, 254, 10, 2], "version, AS 65000, hold 30, ID");
    let capabilities = &sent[29..];
    for capability in [&[1, 4, 0, 1, 0, 1][..], &[2, 0], &[65, 4, 0, 0, 0xfd, 0xe8]] {
        assert!(capabilities.windows(capability.len()).any(|it| it == capability), "{capability:?}");
    }
    assert!(
        !capabilities.windows(2).any(|it| it == [6, 0] || it == [70, 0]),
        "no extended message or refresh"
    );
}

#[test]
fn our_update_carries_next_hop_self_and_our_as() {
    let mut speaker = connected(Config { med_out: Some(7), prepend: 1, ..ours() });
    drain(&mut speaker);
    feed(&mut speaker, &open(CAPABILITIES));
    let sent = feed(&mut speaker, &keepalive()).sent;
    let as_path: &[u8] = &[0x40, 2, 10, 2, 2, 0, 0, 0xfd, 0xe8, 0, 0, 0xfd, 0xe8];
    let next_hop: &[u8] = &[0x40, 3, 4, 169, 254, 10, 2];
    let med: &[u8] = &[0x80, 4, 4, 0, 0, 0, 7];
    let mut expected = update(&[], &[ORIGIN, as_path, next_hop, med], &[16, 10, 10]);
    expected.extend(update(&[], &[], &[]));
    assert_eq!(sent, expected, "one UPDATE, then End-of-RIB");
}

#[test]
fn a_neighbour_without_four_octet_as_numbers_gets_as_trans_and_as4_path() {
    let big = Config { local_as: 4_200_000_001, ..ours() };
    let mut speaker = connected(big);
    let sent = drain(&mut speaker).sent;
    assert_eq!(&sent[20..22], 23456_u16.to_be_bytes(), "AS_TRANS in OPEN");
    feed(&mut speaker, &open(&[]));
    let sent = feed(&mut speaker, &keepalive()).sent;
    let as_path: &[u8] = &[0x40, 2, 4, 2, 1, 0x5b, 0xa0];
    let as4_path: &[u8] = &[17, 6, 2, 1, 0xfa, 0x56, 0xea, 0x01];
    for attribute in [as_path, as4_path] {
        assert!(sent.windows(attribute.len()).any(|it| it == attribute), "{attribute:?} in {sent:?}");
    }
    // And its two-octet paths are understood, with AS4_PATH put in place (RFC 6793 §4.2.3).
    let theirs: &[u8] = &[0x40, 2, 6, 2, 2, 0xfc, 0x00, 0x5b, 0xa0];
    let behind: &[u8] = &[0xc0, 17, 6, 2, 1, 0xfa, 0x56, 0xea, 0x02];
    feed(&mut speaker, &update(&[], &[ORIGIN, theirs, NEXT_HOP, behind], &[16, 172, 31]));
    let path = speaker.received().next().unwrap();
    assert_eq!(path.attributes.as_path_text(), "64512 4200000002");
    assert_eq!(path.rejected, None);
}

#[test]
fn malformed_attributes_withdraw_their_routes_and_keep_the_session() {
    let cases: [(&str, &[&[u8]]); 9] = [
        ("origin 7", &[&[0x40, 1, 1, 7], AS_PATH, NEXT_HOP]),
        ("origin too long", &[&[0x40, 1, 2, 0, 0], AS_PATH, NEXT_HOP]),
        ("as path with a bad segment", &[ORIGIN, &[0x40, 2, 6, 9, 1, 0, 0, 0xfc, 0x00], NEXT_HOP]),
        ("as path cut short", &[ORIGIN, &[0x40, 2, 5, 2, 1, 0, 0, 0xfc], NEXT_HOP]),
        ("as path missing", &[ORIGIN, NEXT_HOP]),
        ("next hop missing", &[ORIGIN, AS_PATH]),
        ("next hop of 3 octets", &[ORIGIN, AS_PATH, &[0x40, 3, 3, 169, 254, 10]]),
        ("med of 3 octets", &[ORIGIN, AS_PATH, NEXT_HOP, &[0x80, 4, 3, 0, 0, 1]]),
        ("unknown well-known attribute", &[ORIGIN, AS_PATH, NEXT_HOP, &[0x40, 99, 1, 0]]),
    ];
    let good = update(&[], &[ORIGIN, AS_PATH, NEXT_HOP], &[16, 172, 31, 16, 10, 20]);
    for (what, attributes) in cases {
        let mut speaker = established(ours(), CAPABILITIES);
        assert_eq!(feed(&mut speaker, &good).reachable.len(), 2);
        let seen = feed(&mut speaker, &update(&[], attributes, &[16, 172, 31]));
        assert_eq!(seen.withdrawn, [net("172.31.0.0/16")], "{what}");
        assert!(!seen.closed && seen.sent.is_empty(), "{what}");
        assert!(
            seen.notices.iter().any(|it| matches!(it, Notice::TreatedAsWithdraw { prefixes: 1, .. })),
            "{what}: {:?}",
            seen.notices
        );
        assert_eq!(speaker.status().received, 1, "{what}: the other prefix stays");
        assert_eq!(speaker.status().counters.treated_as_withdraw, 1);
        assert_eq!(
            feed(&mut speaker, &good).reachable,
            [net("172.31.0.0/16")],
            "{what}: and it can come back"
        );
    }
}

#[test]
fn attributes_that_do_not_matter_are_dropped_and_the_route_stays() {
    // RFC 7606 §7.7: an AGGREGATOR of the wrong length is discarded.
    let mut speaker = established(ours(), CAPABILITIES);
    let aggregator: &[u8] = &[0xc0, 7, 3, 1, 2, 3];
    let seen = feed(&mut speaker, &update(&[], &[ORIGIN, AS_PATH, NEXT_HOP, aggregator], &[16, 172, 31]));
    assert_eq!(seen.reachable, [net("172.31.0.0/16")]);
    assert!(seen.notices.iter().any(|it| matches!(it, Notice::AttributeDiscarded { .. })));
    // Unknown optional attributes are nobody's fault.
    let unknown: &[u8] = &[0xc0, 200, 3, 1, 2, 3];
    let seen = feed(&mut speaker, &update(&[], &[ORIGIN, AS_PATH, NEXT_HOP, unknown], &[16, 10, 20]));
    assert_eq!(seen.reachable, [net("10.20.0.0/16")]);
    assert_eq!(speaker.status().counters.treated_as_withdraw, 0);
}

#[test]
fn what_cannot_be_located_ends_the_session_with_the_right_notification() {
    let header = |change: fn(&mut Vec<u8>)| {
        let mut bytes = keepalive();
        change(&mut bytes);
        bytes
    };
    let cases: [(&str, Vec<u8>, (u8, u8)); 7] = [
        ("marker", header(|bytes| bytes[3] = 0), (1, 1)),
        ("length 18", header(|bytes| bytes[17] = 18), (1, 2)),
        ("length 5000", header(|bytes| bytes[16..18].copy_from_slice(&5000_u16.to_be_bytes())), (1, 2)),
        ("type 9", header(|bytes| bytes[18] = 9), (1, 3)),
        ("prefix of 33 bits", update(&[], &[ORIGIN, AS_PATH, NEXT_HOP], &[33, 1, 2, 3, 4, 5]), (3, 10)),
        ("withdrawn beyond the message", message(2, &[0xff, 0, 0, 0]), (3, 1)),
        ("a second OPEN", open(CAPABILITIES), (5, 0)),
    ];
    for (what, bytes, expected) in cases {
        let mut speaker = established(ours(), CAPABILITIES);
        feed(&mut speaker, &update(&[], &[ORIGIN, AS_PATH, NEXT_HOP], &[16, 172, 31]));
        let seen = feed(&mut speaker, &bytes);
        assert_eq!(notification(&seen), Some(expected), "{what}");
        assert!(seen.closed, "{what}");
        assert_eq!(seen.withdrawn, [net("172.31.0.0/16")], "{what}: its routes go with it");
        assert_eq!(&seen.sent[19..21], [expected.0, expected.1], "{what}: the neighbour is told");
    }
}

#[test]
fn bytes_after_the_fatal_ones_are_not_read() {
    let mut speaker = established(ours(), CAPABILITIES);
    let mut bytes = message(9, &[]);
    bytes.extend(update(&[], &[ORIGIN, AS_PATH, NEXT_HOP], &[16, 172, 31]));
    let seen = feed(&mut speaker, &bytes);
    assert!(seen.closed && seen.reachable.is_empty());
    assert!(feed(&mut speaker, &keepalive()).sent.is_empty(), "nothing is said on a forgotten connection");
}

#[test]
fn opens_that_cannot_work_are_answered_by_their_number() {
    let patched = |offset: usize, bytes: &[u8]| {
        let mut message = open(CAPABILITIES);
        message[19 + offset..19 + offset + bytes.len()].copy_from_slice(bytes);
        message
    };
    for (what, bytes, expected) in [
        ("version 3", patched(0, &[3]), (2, 1)),
        ("hold time 2", patched(3, &[0, 2]), (2, 6)),
        ("router ID 0", patched(5, &[0, 0, 0, 0]), (2, 3)),
        ("other AS", patched(24, &64513_u16.to_be_bytes()), (2, 2)),
    ] {
        let mut speaker = connected(ours());
        drain(&mut speaker);
        let seen = feed(&mut speaker, &bytes);
        assert_eq!(notification(&seen), Some(expected), "{what}");
        assert!(seen.closed, "{what}");
    }
    let mut speaker = connected(ours());
    drain(&mut speaker);
    assert_eq!(notification(&feed(&mut speaker, &keepalive())), Some((5, 0)), "KEEPALIVE before OPEN");
}

#[test]
fn a_neighbour_that_says_nothing_is_dropped_after_a_minute() {
    let mut speaker = connected(ours());
    drain(&mut speaker);
    let (at, _) = speaker.poll_timeout().unwrap();
    assert_eq!(at - NOW, Duration::from_secs(60));
    speaker.handle_timeout(at);
    let seen = drain(&mut speaker);
    assert_eq!(notification(&seen), Some((4, 0)));
    assert!(seen.closed);
}

#[test]
fn looped_and_foreign_paths_are_kept_but_not_used() {
    let mut speaker = established(ours(), CAPABILITIES);
    let looped: &[u8] = &[0x40, 2, 10, 2, 2, 0, 0, 0xfc, 0x00, 0, 0, 0xfd, 0xe8];
    let foreign: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfc, 0x01];
    let empty: &[u8] = &[0x40, 2, 0];
    let to_us: &[u8] = &[0x40, 3, 4, 169, 254, 10, 2];
    for (attributes, prefix, reason) in [
        ([ORIGIN, looped, NEXT_HOP], [16, 10, 21], Rejection::Loop),
        ([ORIGIN, foreign, NEXT_HOP], [16, 10, 22], Rejection::FirstAs),
        ([ORIGIN, empty, NEXT_HOP], [16, 10, 23], Rejection::FirstAs),
        ([ORIGIN, AS_PATH, to_us], [16, 10, 24], Rejection::NextHopIsUs),
    ] {
        let seen = feed(&mut speaker, &update(&[], &attributes, &prefix));
        assert!(seen.reachable.is_empty() && !seen.closed, "{reason:?}");
        assert_eq!(speaker.received().last().unwrap().rejected, Some(reason));
    }
    assert_eq!((speaker.status().received, speaker.status().accepted), (4, 0));
    // A good path that turns bad is withdrawn.
    feed(&mut speaker, &update(&[], &[ORIGIN, AS_PATH, NEXT_HOP], &[16, 172, 31]));
    let seen = feed(&mut speaker, &update(&[], &[ORIGIN, looped, NEXT_HOP], &[16, 172, 31]));
    assert_eq!(seen.withdrawn, [net("172.31.0.0/16")]);
}

#[test]
fn attributes_are_read_as_they_are_written() {
    let mut speaker = established(ours(), CAPABILITIES);
    let as_path: &[u8] = &[0x40, 2, 14, 2, 3, 0, 0, 0xfc, 0x00, 0, 0, 0xfd, 0xf2, 0, 1, 0, 0];
    let med: &[u8] = &[0x80, 4, 4, 0, 0, 0, 100];
    let communities: &[u8] = &[0xc0, 8, 4, 0xfc, 0, 0, 9];
    feed(
        &mut speaker,
        &update(&[], &[&[0x40, 1, 1, 2], as_path, NEXT_HOP, med, communities], &[16, 172, 31]),
    );
    let path = speaker.received().next().unwrap();
    assert_eq!(path.attributes.as_path_text(), "64512 65010 65536");
    assert_eq!(path.attributes.as_path_length(), 3);
    assert_eq!((path.attributes.origin, path.attributes.med), (Origin::Incomplete, Some(100)));
    assert_eq!(path.attributes.communities, [0xfc00_0009]);
}

#[test]
fn a_prefix_both_withdrawn_and_announced_is_announced() {
    let mut speaker = established(ours(), CAPABILITIES);
    let seen = feed(&mut speaker, &update(&[16, 172, 31], &[ORIGIN, AS_PATH, NEXT_HOP], &[16, 172, 31]));
    assert_eq!((seen.reachable, seen.withdrawn), (vec![net("172.31.0.0/16")], vec![]));
}

#[test]
fn routes_of_a_family_that_was_not_agreed_on_are_ignored() {
    let mut speaker = established(ours(), CAPABILITIES);
    let mut reach = vec![0x80, 14, 26, 0, 2, 1, 16];
    reach.extend_from_slice(&[0xfd, 0, 0, 0xa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    reach.extend_from_slice(&[0, 32, 0x20, 0x01, 0x0d, 0xb8]);
    let seen = feed(&mut speaker, &update(&[], &[ORIGIN, AS_PATH, &reach], &[]));
    assert!(seen.reachable.is_empty() && !seen.closed, "{:?}", seen.notices);
    assert_eq!(speaker.status().received, 0);
}

#[test]
fn connections_are_refused_while_the_tunnel_is_down_and_a_new_one_replaces_a_stale_one() {
    let mut speaker = Speaker::new(ours(), NOW).unwrap();
    speaker.handle_input(NOW, Input::Connected(PEER));
    assert!(drain(&mut speaker).closed);
    assert_eq!(speaker.status().counters.refused, 1);

    let mut speaker = connected(ours());
    drain(&mut speaker);
    speaker.handle_input(NOW, Input::Connected(Connection::Inbound(8)));
    assert!(drain(&mut speaker).closed, "the neighbour gave the first one up");
    assert_eq!(speaker.status().state, State::OpenSent);
}

#[test]
fn a_new_connection_does_not_disturb_an_established_session() {
    let mut speaker = established(ours(), CAPABILITIES);
    let rival = Connection::Inbound(8);
    speaker.handle_input(NOW, Input::Connected(rival));
    drain(&mut speaker);
    speaker.handle_input(NOW, Input::Received { connection: rival, bytes: &open(CAPABILITIES) });
    let seen = drain(&mut speaker);
    assert!(seen.notices.contains(&Notice::Collision(rival)));
    assert!(!seen.closed, "the old one stays");
    assert_eq!(notification(&seen), Some((6, 7)));
    assert_eq!((seen.sent[18], seen.sent.len()), (3, 21), "a NOTIFICATION and no KEEPALIVE before it");
    assert_eq!(speaker.status().state, State::Established);
}

#[test]
fn the_neighbours_words_reach_the_log_without_control_characters() {
    let mut speaker = established(ours(), CAPABILITIES);
    let text = "maintenance\u{1b}[31m at 03:00";
    let mut body = vec![6, 2, u8::try_from(text.len()).unwrap()];
    body.extend_from_slice(text.as_bytes());
    let seen = feed(&mut speaker, &message(3, &body));
    assert!(seen.closed && seen.sent.is_empty(), "a NOTIFICATION is not answered");
    let words = seen.notices.iter().find_map(|it| match it {
        Notice::Notification(seen) => seen.communication.clone(),
        _ => None,
    });
    assert_eq!(words.as_deref(), Some("maintenance[31m at 03:00"));
}
