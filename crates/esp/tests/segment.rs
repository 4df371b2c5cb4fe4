//! Super-packets are split into exactly the packets that a host without offloads would have sent.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use esp::checksum::{self, Sum};
use esp::packet::{Inner, UDP};
use esp::segment::{Gso, SegmentError, Segments, VnetHeader};
use proptest::prelude::*;

mod common;
use common::{finish_checksums, tcp_packet, udp_packet};

fn split(vnet: &VnetHeader, packet: &[u8]) -> Vec<Vec<u8>> {
    let mut segments = Segments::new(vnet, packet).unwrap();
    let (count, max) = (segments.count(), segments.max_len());
    let mut packets = Vec::new();
    let mut out = vec![0xee; 70_000];
    while let Some(expected) = segments.next_len() {
        let len = segments.write_next(&mut out).unwrap();
        assert_eq!(len, expected);
        assert!(len <= max);
        packets.push(out[..len].to_vec());
    }
    assert_eq!(packets.len(), count);
    assert_eq!(segments.write_next(&mut out), None);
    packets
}

fn is_consistent(packet: &[u8]) -> bool {
    let inner = Inner::parse(packet).unwrap();
    let header_ok = inner.source.is_ipv6() || Sum::of(&packet[..inner.transport_offset]).checksum() == [0, 0];
    inner.total_len == packet.len() && header_ok && checksum::verify_transport(&inner, packet) == Some(true)
}

/// The plain way: build every segment anew from its parts.
fn naive_tcp(ipv6: bool, flags: u8, payload: &[u8], mss: usize) -> Vec<Vec<u8>> {
    let chunks: Vec<&[u8]> = if payload.is_empty() { vec![payload] } else { payload.chunks(mss).collect() };
    let last = chunks.len() - 1;
    chunks
        .iter()
        .enumerate()
        .map(|(i, chunk)| {
            let mut flags = flags;
            if i != last {
                flags &= !0x09;
            }
            if i != 0 {
                flags &= !0x80;
            }
            let sequence = 0xffff_f000u32.wrapping_add((i * mss) as u32);
            let mut packet = tcp_packet(ipv6, 0xfffe_u16.wrapping_add(i as u16), sequence, flags, chunk);
            finish_checksums(&mut packet);
            packet
        })
        .collect()
}

proptest! {
    #[test]
    fn tcp_is_split_as_the_plain_way_would(
        ipv6: bool, flags: u8, mss in 1usize..3000, payload in prop::collection::vec(any::<u8>(), 0..9000),
    ) {
        let packet = tcp_packet(ipv6, 0xfffe, 0xffff_f000, flags, &payload);
        let gso = if ipv6 { Gso::Tcp6 } else { Gso::Tcp4 };
        let vnet = VnetHeader { needs_checksum: true, gso, gso_size: mss as u16, ..VnetHeader::default() };
        let packets = split(&vnet, &packet);
        prop_assert!(packets.iter().all(|packet| is_consistent(packet)));
        prop_assert_eq!(packets, naive_tcp(ipv6, flags, &payload, mss));
    }

    #[test]
    fn udp_is_split_into_datagrams_of_the_announced_size(
        ipv6: bool, size in 1usize..2000, payload in prop::collection::vec(any::<u8>(), 1..9000),
    ) {
        let packet = udp_packet(ipv6, 7, &payload);
        let vnet = VnetHeader { needs_checksum: true, gso: Gso::Udp, gso_size: size as u16, ..VnetHeader::default() };
        let packets = split(&vnet, &packet);
        prop_assert!(packets.iter().all(|packet| is_consistent(packet)));
        let naive: Vec<Vec<u8>> = payload.chunks(size).enumerate().map(|(i, chunk)| {
            let mut packet = udp_packet(ipv6, 7 + i as u16, chunk);
            finish_checksums(&mut packet);
            packet
        }).collect();
        prop_assert_eq!(packets, naive);
    }

    #[test]
    fn no_header_and_no_octets_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), version in 0usize..3, gso in 0usize..4,
        size: u16, start: u16, offset: u16, needs_checksum: bool, room in 0usize..300,
    ) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = [*first, 0x45, 0x60][version];
        }
        let gso = [Gso::None, Gso::Tcp4, Gso::Tcp6, Gso::Udp][gso];
        let vnet = VnetHeader { needs_checksum, gso, gso_size: size, checksum_start: start,
            checksum_offset: offset, ..VnetHeader::default() };
        if let Ok(mut segments) = Segments::new(&vnet, &bytes) {
            let mut out = vec![0; room];
            for _ in 0..300 {
                if segments.write_next(&mut out).is_none() {
                    break;
                }
            }
        }
    }
}

#[test]
fn an_ordinary_packet_gets_its_checksum_completed() {
    let mut packet = udp_packet(false, 1, b"hello");
    let complete = {
        let mut copy = packet.clone();
        finish_checksums(&mut copy);
        copy
    };
    let inner = Inner::parse(&packet).unwrap();
    let pseudo = checksum::pseudo_header(inner.source, inner.destination, UDP, 13).folded();
    packet[26..28].copy_from_slice(&pseudo);
    packet[10..12].copy_from_slice(&complete[10..12]);
    let vnet =
        VnetHeader { needs_checksum: true, checksum_start: 20, checksum_offset: 6, ..VnetHeader::default() };
    assert_eq!(split(&vnet, &packet), [complete]);
    let verbatim = split(&VnetHeader::default(), &packet);
    assert_eq!(verbatim, [packet]);
}

#[test]
fn a_header_that_contradicts_the_packet_is_refused() {
    let tcp = tcp_packet(false, 0, 0, 0x10, &[0; 100]);
    let udp = udp_packet(false, 0, &[0; 100]);
    let header = |gso, gso_size| VnetHeader { gso, gso_size, ..VnetHeader::default() };
    let refuse = |vnet: VnetHeader, packet: &[u8]| Segments::new(&vnet, packet).map(|_| ()).unwrap_err();
    assert_eq!(refuse(header(Gso::Tcp6, 50), &tcp), SegmentError::WrongKind);
    assert_eq!(refuse(header(Gso::Udp, 50), &tcp), SegmentError::WrongKind);
    assert_eq!(refuse(header(Gso::Tcp4, 50), &udp), SegmentError::WrongKind);
    assert_eq!(refuse(header(Gso::Tcp4, 0), &tcp), SegmentError::ZeroSize);
    assert_eq!(refuse(header(Gso::Udp, 50), &udp[..27]), SegmentError::Malformed);
    let outside = VnetHeader { needs_checksum: true, checksum_start: 127, ..VnetHeader::default() };
    assert_eq!(refuse(outside, &udp), SegmentError::ChecksumOutside);
    let mut short_tcp_header = tcp.clone();
    short_tcp_header[32] = 0x40;
    assert_eq!(refuse(header(Gso::Tcp4, 50), &short_tcp_header), SegmentError::Malformed);
    let mut fragment = tcp;
    fragment[6] = 0x20;
    assert_eq!(refuse(header(Gso::Tcp4, 50), &fragment), SegmentError::Malformed);
}
