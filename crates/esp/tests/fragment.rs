//! Fragments reassemble to the packet, whatever it was; and the ICMP errors for what may not be fragmented.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::IpAddr;

use esp::checksum::{self, Sum};
use esp::fragment::{Fragments, NotFragmentable, Rules};
use esp::icmp;
use esp::packet::Inner;
use proptest::prelude::*;

mod common;
use common::{finish_checksums, ip_packet, tcp_packet, udp_packet};

const DF: u8 = 0x40;

fn rules(mtu: u16) -> Rules {
    Rules { mtu, clear_df: false, fresh_id: 0x4242 }
}

fn fragments(packet: &[u8], rules: &Rules) -> Vec<Vec<u8>> {
    let mut fragments = Fragments::new(packet, rules).unwrap();
    let mut all = Vec::new();
    let mut out = vec![0xee; usize::from(rules.mtu).max(packet.len())];
    while let Some(len) = fragments.write_next(&mut out) {
        all.push(out[..len].to_vec());
    }
    all
}

fn header_len(packet: &[u8]) -> usize {
    usize::from(packet[0] & 0x0f) * 4
}

/// Offset in octets and whether more follow.
fn place(fragment: &[u8]) -> (usize, bool) {
    let field = u16::from_be_bytes([fragment[6], fragment[7]]);
    (usize::from(field & 0x1fff) * 8, field & 0x2000 != 0)
}

/// The payload that the fragments add up to, checking that they touch and that only the last says so.
fn reassemble(fragments: &[Vec<u8>], start: usize, more_at_end: bool) -> Vec<u8> {
    let mut payload = Vec::new();
    for (i, fragment) in fragments.iter().enumerate() {
        let (offset, more) = place(fragment);
        let last = i + 1 == fragments.len();
        assert_eq!(offset, start + payload.len());
        assert_eq!(more, !last || more_at_end);
        let piece = &fragment[header_len(fragment)..];
        assert!(last || piece.len().is_multiple_of(8));
        assert_eq!(usize::from(u16::from_be_bytes([fragment[2], fragment[3]])), fragment.len());
        assert_eq!(Sum::of(&fragment[..header_len(fragment)]).checksum(), [0, 0]);
        payload.extend(piece);
    }
    payload
}

fn with_options(options: &[u8], payload: &[u8]) -> Vec<u8> {
    let plain = udp_packet(false, 0x1111, payload);
    let mut packet = plain[..20].to_vec();
    packet.extend(options);
    packet.extend(&plain[20..]);
    packet[0] = 0x45 + (options.len() / 4) as u8;
    let total = packet.len() as u16;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    finish_checksums(&mut packet);
    packet
}

proptest! {
    #[test]
    fn fragments_add_up_to_the_packet(
        payload in prop::collection::vec(any::<u8>(), 0..5000), mtu in 68u16..1600,
        offset in 0u16..1000, more: bool, option_words in 0usize..11,
    ) {
        let mut packet = with_options(&vec![1; option_words * 4], &payload);
        packet[6..8].copy_from_slice(&(offset | if more { 0x2000 } else { 0 }).to_be_bytes());
        finish_checksums(&mut packet);
        let pieces = fragments(&packet, &rules(mtu));
        prop_assert!(pieces.iter().all(|piece| piece.len() <= usize::from(mtu)));
        if packet.len() <= usize::from(mtu) {
            prop_assert_eq!(pieces, [packet]);
        } else {
            let whole = reassemble(&pieces, usize::from(offset) * 8, more);
            prop_assert_eq!(&whole, &packet[header_len(&packet)..]);
            prop_assert!(pieces.iter().all(|piece| piece[4..6] == packet[4..6] && piece[8..10] == packet[8..10]));
        }
    }

    #[test]
    fn no_octets_panic(mut packet in prop::collection::vec(any::<u8>(), 0..200), mtu: u16, v4: bool, room in 0usize..300) {
        if v4 && let Some(first) = packet.first_mut() {
            *first = 0x40 | *first & 0x0f;
        }
        if let Ok(mut fragments) = Fragments::new(&packet, &Rules { clear_df: true, ..rules(mtu) }) {
            let mut out = vec![0; room];
            for _ in 0..50 {
                let _ = fragments.write_next(&mut out);
            }
        }
        let mut out = [0; icmp::MAX_LEN];
        for source in ["10.0.0.1", "fd00::1"] {
            let _ = icmp::too_big(&packet, mtu, source.parse().unwrap(), &mut out[..room]);
        }
    }
}

#[test]
fn dont_fragment_is_obeyed_unless_it_may_be_cleared() {
    let mut packet = udp_packet(false, 0, &[7; 1450]);
    packet[6] = DF;
    finish_checksums(&mut packet);
    assert_eq!(Fragments::new(&packet, &rules(1438)).map(|_| ()), Err(NotFragmentable::DontFragment));
    let cleared = fragments(&packet, &Rules { clear_df: true, ..rules(1438) });
    assert_eq!(cleared.len(), 2);
    assert_eq!(reassemble(&cleared, 0, false), packet[20..]);
    // Its identification was 0, like that of every such packet; the pieces of two packets must not mix.
    assert!(cleared.iter().all(|piece| piece[4..6] == [0x42, 0x42] && piece[6] & DF == 0));
}

#[test]
fn a_packet_that_fits_keeps_its_dont_fragment_bit() {
    let mut packet = udp_packet(false, 3, &[7; 100]);
    packet[6] = DF;
    finish_checksums(&mut packet);
    assert_eq!(fragments(&packet, &Rules { clear_df: true, ..rules(1438) }), [packet]);
}

#[test]
fn only_options_marked_as_copied_go_into_later_fragments() {
    // Record route (7, not copied), no-operation, a copied option (130), end.
    let options = [7, 7, 4, 0, 0, 0, 0, 1, 130, 3, 9, 0];
    let packet = with_options(&options, &[5; 200]);
    let pieces = fragments(&packet, &rules(100));
    assert_eq!(&pieces[0][20..32], options);
    for piece in &pieces[1..] {
        assert_eq!(piece[0], 0x46);
        assert_eq!(piece[20..24], [130, 3, 9, 0]);
    }
    assert_eq!(reassemble(&pieces, 0, false), packet[32..]);
}

#[test]
fn malformed_options_are_not_copied_further() {
    for options in [[130, 0, 1, 1], [130, 40, 1, 1], [1, 1, 1, 130]] {
        let pieces = fragments(&with_options(&options, &[5; 200]), &rules(100));
        assert!(pieces[1..].iter().all(|piece| piece[0] == 0x45), "{options:?}");
    }
}

#[test]
fn what_cannot_be_fragmented_says_why() {
    let refuse = |packet: &[u8], mtu| Fragments::new(packet, &rules(mtu)).map(|_| ()).unwrap_err();
    assert_eq!(refuse(&udp_packet(true, 0, &[0; 1450]), 1438), NotFragmentable::Ipv6);
    assert_eq!(refuse(&udp_packet(false, 0, &[0; 100]), 27), NotFragmentable::MtuTooSmall);
    assert_eq!(refuse(&[0x45, 0], 1438), NotFragmentable::Malformed);
    assert_eq!(refuse(&[], 1438), NotFragmentable::Malformed);
}

fn too_big(packet: &[u8], mtu: u16, source: &str) -> Option<Vec<u8>> {
    let mut out = [0; icmp::MAX_LEN];
    icmp::too_big(packet, mtu, source.parse().unwrap(), &mut out).map(|len| out[..len].to_vec())
}

#[test]
fn fragmentation_needed_names_the_mtu_and_quotes_the_packet() {
    let packet = udp_packet(false, 9, &[7; 1450]);
    let reply = too_big(&packet, 1438, "169.254.10.2").unwrap();
    assert_eq!(reply.len(), 576);
    let inner = Inner::parse(&reply).unwrap();
    assert_eq!(inner.source, "169.254.10.2".parse::<IpAddr>().unwrap());
    assert_eq!(inner.destination, "10.0.0.1".parse::<IpAddr>().unwrap());
    assert_eq!((inner.protocol, inner.total_len), (1, 576));
    assert_eq!(reply[20..22], [3, 4]);
    assert_eq!(reply[24..28], [0, 0, 0x05, 0x9e]);
    assert_eq!(reply[28..], packet[..548]);
    assert_eq!(Sum::of(&reply[..20]).checksum(), [0, 0]);
    assert_eq!(Sum::of(&reply[20..]).checksum(), [0, 0]);
}

#[test]
fn packet_too_big_fills_the_minimum_mtu_and_never_names_less() {
    let packet = udp_packet(true, 0, &[7; 1450]);
    let reply = too_big(&packet, 1438, "fd00::2").unwrap();
    assert_eq!(reply.len(), 1280);
    let inner = Inner::parse(&reply).unwrap();
    assert_eq!(inner.destination, "fd00::1".parse::<IpAddr>().unwrap());
    assert_eq!(reply[40..42], [2, 0]);
    assert_eq!(reply[44..48], 1438u32.to_be_bytes());
    assert_eq!(reply[48..], packet[..1232]);
    let pseudo = checksum::pseudo_header(inner.source, inner.destination, 58, 1240);
    assert_eq!(pseudo.plus(Sum::of(&reply[40..])).checksum(), [0, 0]);
    let low = too_big(&packet, 600, "fd00::2").unwrap();
    assert_eq!(low[44..48], 1280u32.to_be_bytes());
}

#[test]
fn no_error_answers_an_error_a_later_fragment_or_a_crowd() {
    let icmp_of = |ipv6, kind| ip_packet(ipv6, 0, if ipv6 { 58 } else { 1 }, &[kind, 0, 0, 0, 0, 0, 0, 0]);
    for kind in [3, 4, 5, 11, 12, 200] {
        assert_eq!(too_big(&icmp_of(false, kind), 20, "10.9.9.9"), None, "ICMP type {kind}");
    }
    for kind in [1, 2, 3, 4, 127, 137] {
        assert_eq!(too_big(&icmp_of(true, kind), 20, "fd00::9"), None, "ICMPv6 type {kind}");
    }
    assert!(too_big(&icmp_of(false, 8), 20, "10.9.9.9").is_some());
    assert!(too_big(&icmp_of(true, 128), 20, "fd00::9").is_some());
    let mut later = udp_packet(false, 0, &[0; 100]);
    later[7] = 1;
    assert_eq!(too_big(&later, 20, "10.9.9.9"), None);
    for (at, address) in [
        (12, [0, 0, 0, 0]),
        (12, [127, 0, 0, 1]),
        (12, [224, 0, 0, 1]),
        (12, [240, 0, 0, 1]),
        (16, [239, 1, 2, 3]),
        (16, [255, 255, 255, 255]),
    ] {
        let mut packet = udp_packet(false, 0, &[0; 100]);
        packet[at..at + 4].copy_from_slice(&address);
        assert_eq!(too_big(&packet, 20, "10.9.9.9"), None, "{address:?}");
    }
    for at in [8, 24] {
        let mut packet = udp_packet(true, 0, &[0; 100]);
        packet[at] = 0xff;
        assert_eq!(too_big(&packet, 20, "fd00::9"), None, "multicast at {at}");
    }
}

#[test]
fn a_source_of_the_other_family_or_too_little_room_yields_nothing() {
    let packet = tcp_packet(false, 0, 1, 0x10, &[0; 100]);
    assert_eq!(too_big(&packet, 20, "fd00::9"), None);
    let mut small = [0; 100];
    assert_eq!(icmp::too_big(&packet, 20, "10.9.9.9".parse().unwrap(), &mut small), None);
}
