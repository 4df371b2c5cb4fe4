//! Merging is the reverse of splitting: whatever is merged comes apart into the packets that were pushed, in
//! their order within each flow.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use esp::merge::{MAX_PACKETS, MAX_SEGMENTS, MergeOptions, Merger};
use esp::segment::{Gso, Segments, VnetHeader};
use proptest::prelude::*;

mod common;
use common::{finish_checksums, ip_packet, tcp_packet, udp_packet};

/// Assembles each write and splits it again, as the kernel would.
fn writes(merger: &mut Merger, packets: &[Vec<u8>]) -> Vec<(VnetHeader, Vec<Vec<u8>>)> {
    merger
        .finish()
        .map(|merged| {
            let vnet = merged.vnet;
            let mut super_packet = merged.header.to_vec();
            let expected = merged.parts;
            for part in merged {
                super_packet.extend(&packets[part.handle as usize][part.start..part.end]);
            }
            let mut segments = Segments::new(&vnet, &super_packet).unwrap();
            assert_eq!(segments.count(), expected);
            let mut out = vec![0; 70_000];
            let mut split = Vec::new();
            while let Some(len) = segments.write_next(&mut out) {
                split.push(out[..len].to_vec());
            }
            (vnet, split)
        })
        .collect()
}

fn merge(options: MergeOptions, packets: &[Vec<u8>]) -> Vec<(VnetHeader, Vec<Vec<u8>>)> {
    let mut merger = Merger::new(options);
    for (handle, packet) in packets.iter().enumerate() {
        assert!(merger.push(handle as u32, packet));
    }
    writes(&mut merger, packets)
}

fn sizes(packets: &[Vec<u8>]) -> Vec<usize> {
    merge(MergeOptions::default(), packets).iter().map(|(_, split)| split.len()).collect()
}

fn tcp(ipv6: bool, id: u16, sequence: u32, flags: u8, len: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..len).map(|i| (i as u8) ^ (sequence as u8)).collect();
    let mut packet = tcp_packet(ipv6, id, sequence, flags, &payload);
    finish_checksums(&mut packet);
    packet
}

fn run(ipv6: bool, count: usize, len: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| tcp(ipv6, i as u16, (i * len) as u32, 0x10, len)).collect()
}

const DATAGRAM: &[u8] = &[9; 500];

fn udp(ipv6: bool, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = udp_packet(ipv6, id, payload);
    finish_checksums(&mut packet);
    packet
}

#[test]
fn adjacent_segments_become_one_super_packet_and_come_apart_unchanged() {
    for ipv6 in [false, true] {
        let packets = run(ipv6, 40, 1386);
        let written = merge(MergeOptions::default(), &packets);
        assert_eq!(written.len(), 1);
        let (vnet, split) = &written[0];
        assert_eq!(split, &packets);
        assert_eq!(vnet.gso, if ipv6 { Gso::Tcp6 } else { Gso::Tcp4 });
        assert_eq!((vnet.gso_size, vnet.checksum_offset), (1386, 16));
    }
}

#[test]
fn a_single_packet_goes_verbatim_with_an_empty_virtio_header() {
    let mut odd = tcp(false, 5, 1, 0x10, 100);
    odd[30] ^= 1; // a wrong checksum stays the sender's
    for packet in [tcp(false, 0, 1, 0x10, 100), udp(true, 0, b"x"), odd, vec![0x12, 3], vec![]] {
        let packets = [packet.clone()];
        assert_eq!(merge(MergeOptions::default(), &packets), [(VnetHeader::default(), vec![packet])]);
    }
}

#[test]
fn a_push_or_a_short_segment_ends_the_run() {
    let mut pushed = run(false, 4, 1000);
    pushed[1] = tcp(false, 1, 1000, 0x18, 1000);
    assert_eq!(sizes(&pushed), [2, 2]);
    let short = [tcp(false, 0, 0, 0x10, 1000), tcp(false, 1, 1000, 0x10, 7), tcp(false, 2, 1007, 0x10, 1000)];
    assert_eq!(sizes(&short), [2, 1]);
    let longer = [tcp(false, 0, 0, 0x10, 900), tcp(false, 1, 900, 0x10, 1000)];
    assert_eq!(sizes(&longer), [1, 1]);
}

#[test]
fn what_differs_is_not_merged() {
    let seed = || tcp(false, 0, 0, 0x10, 100);
    let next = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = tcp(false, 1, 100, 0x10, 100);
        change(&mut packet);
        finish_checksums(&mut packet);
        sizes(&[seed(), packet]).len()
    };
    assert_eq!(next(&|_| ()), 1);
    for at in [1, 5, 6, 8, 15, 19, 20, 23, 27, 31, 34, 39, 45] {
        // TOS with ECN, identification, DF, TTL, addresses, ports, sequence, acknowledgement, window, options.
        assert_eq!(next(&|packet| packet[at] ^= if at == 6 { 0x40 } else { 1 }), 2, "octet {at}");
    }
    for flags in [0x11, 0x12, 0x14, 0x30, 0x50, 0x90, 0x00] {
        assert_eq!(next(&|packet| packet[33] = flags), 2, "flags {flags:02x}");
    }
    let gap = [seed(), tcp(false, 1, 101, 0x10, 100)];
    assert_eq!(sizes(&gap), [1, 1]);
}

#[test]
fn a_corrupted_segment_is_never_laundered() {
    let mut packets = run(false, 3, 1000);
    packets[1][500] ^= 4;
    let written = merge(MergeOptions::default(), &packets);
    let all: Vec<Vec<u8>> = written.into_iter().flat_map(|(_, split)| split).collect();
    assert_eq!(all, packets, "verbatim, so that the receiver sees the wrong checksum");
}

#[test]
fn the_identification_matters_only_without_dont_fragment() {
    let mut packets = run(false, 2, 100);
    packets[1][5] = 77;
    finish_checksums(&mut packets[1]);
    assert_eq!(sizes(&packets), [1, 1]);
    for packet in &mut packets {
        packet[6] = 0x40;
        finish_checksums(packet);
    }
    assert_eq!(sizes(&packets), [2]);
}

#[test]
fn a_pure_acknowledgement_keeps_its_place_in_its_flow() {
    let packets = [
        tcp(false, 0, 0, 0x10, 100),
        tcp(false, 1, 100, 0x10, 0),
        tcp(false, 2, 100, 0x10, 100),
        tcp(false, 3, 200, 0x10, 100),
    ];
    assert_eq!(sizes(&packets), [1, 1, 2]);
}

#[test]
fn equal_datagrams_merge_and_a_shorter_one_is_the_last() {
    for ipv6 in [false, true] {
        let packets = [
            udp(ipv6, 0, DATAGRAM),
            udp(ipv6, 1, DATAGRAM),
            udp(ipv6, 2, &DATAGRAM[..20]),
            udp(ipv6, 3, DATAGRAM),
        ];
        let written = merge(MergeOptions::default(), &packets);
        assert_eq!(written.iter().map(|(_, split)| split.len()).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(written[0].0.gso, Gso::Udp);
        let all: Vec<Vec<u8>> = written.into_iter().flat_map(|(_, split)| split).collect();
        assert_eq!(all, packets);
        let off = MergeOptions { udp: false, ..MergeOptions::default() };
        assert_eq!(merge(off, &packets).len(), 4);
    }
}

#[test]
fn datagrams_without_checksum_and_fragments_go_verbatim() {
    let mut bare = [udp(false, 0, DATAGRAM), udp(false, 1, DATAGRAM)];
    for packet in &mut bare {
        packet[26..28].copy_from_slice(&[0, 0]);
    }
    assert_eq!(sizes(&bare), [1, 1]);
    let mut fragments = run(false, 2, 100);
    for packet in &mut fragments {
        packet[6] = 0x20;
    }
    assert_eq!(sizes(&fragments), [1, 1]);
}

#[test]
fn super_packets_and_batches_have_limits() {
    assert_eq!(sizes(&run(false, 100, 100)), [usize::from(MAX_SEGMENTS), 36]);
    let large = sizes(&run(false, 60, 1386));
    assert_eq!(large, [47, 13], "65535 octets at most");
    let mut merger = Merger::new(MergeOptions::default());
    for _ in 0..MAX_PACKETS {
        assert!(merger.push(0, &[]));
    }
    assert!(!merger.push(0, &[]));
    merger.clear();
    assert!(merger.is_empty());
    assert!(merger.push(0, &[]));
}

/// A packet of one of a few flows, at or off the place where its flow stands.
#[derive(Clone, Debug)]
struct Step {
    flow: u8,
    ipv6: bool,
    kind: u8,
    flags: u8,
    len: usize,
    skip: bool,
    corrupt: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![8 => Just(0x10u8), 2 => Just(0x18), 1 => any::<u8>()];
    let len = prop_oneof![6 => Just(700usize), 1 => 0usize..900];
    let rare = || prop::bool::weighted(0.05);
    (0u8..3, any::<bool>(), 0u8..9, flags, len, rare(), rare()).prop_map(
        |(flow, ipv6, kind, flags, len, skip, corrupt)| Step { flow, ipv6, kind, flags, len, skip, corrupt },
    )
}

fn build(steps: &[Step]) -> Vec<Vec<u8>> {
    let mut sequence = BTreeMap::new();
    let mut identification = BTreeMap::new();
    steps
        .iter()
        .map(|step| {
            let id = identification.entry((step.flow, step.ipv6)).or_insert(u16::MAX - 3);
            *id = id.wrapping_add(1 + u16::from(step.skip));
            let payload: Vec<u8> = (0..step.len).map(|i| (i as u8).wrapping_mul(step.flow + 3)).collect();
            let mut packet = match step.kind {
                0 | 1 => udp_packet(step.ipv6, *id, &payload),
                2 => ip_packet(step.ipv6, *id, 1, &payload),
                _ => {
                    let next = sequence.entry((step.flow, step.ipv6)).or_insert(u32::MAX - 2000);
                    let at = next.wrapping_add(u32::from(step.skip));
                    *next = at.wrapping_add(step.len as u32);
                    tcp_packet(step.ipv6, *id, at, step.flags, &payload)
                }
            };
            let last_address_octet = if step.ipv6 { 39 } else { 19 };
            packet[last_address_octet] = step.flow;
            finish_checksums(&mut packet);
            if step.corrupt {
                *packet.last_mut().unwrap() ^= 0x55;
            }
            packet
        })
        .collect()
}

/// The flow of a packet that `build` made: family, protocol, last octet of the destination.
fn flow(packet: &[u8]) -> (u8, u8, u8) {
    if packet[0] >> 4 == 6 { (6, packet[6], packet[39]) } else { (4, packet[9], packet[19]) }
}

fn by_flow(packets: &[Vec<u8>]) -> BTreeMap<(u8, u8, u8), Vec<Vec<u8>>> {
    let mut flows: BTreeMap<_, Vec<Vec<u8>>> = BTreeMap::new();
    for packet in packets {
        flows.entry(flow(packet)).or_default().push(packet.clone());
    }
    flows
}

proptest! {
    #[test]
    fn every_packet_comes_back_in_the_order_of_its_flow(steps in prop::collection::vec(step(), 0..120)) {
        let packets = build(&steps);
        let written = merge(MergeOptions::default(), &packets);
        let all: Vec<Vec<u8>> = written.into_iter().flat_map(|(_, split)| split).collect();
        prop_assert_eq!(by_flow(&all), by_flow(&packets));
    }

    #[test]
    fn no_octets_panic(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 0..20),
        version in 0usize..3, protocol in 0usize..2)
    {
        let packets: Vec<Vec<u8>> = packets.into_iter().map(|mut packet| {
            if let Some(first) = packet.first_mut() { *first = [*first, 0x45, 0x60][version]; }
            let at = if version == 2 { 6 } else { 9 };
            if let Some(octet) = packet.get_mut(at) { *octet = [6, 17][protocol]; }
            packet
        }).collect();
        let mut merger = Merger::new(MergeOptions { verify: false, ..MergeOptions::default() });
        for (handle, packet) in packets.iter().enumerate() {
            prop_assert!(merger.push(handle as u32, packet));
        }
        let parts: usize = merger.finish().map(|merged| merged.count()).sum();
        prop_assert_eq!(parts, packets.len());
    }
}
