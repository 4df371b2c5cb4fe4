//! One hot function at a time, for `scripts/instructions`, which counts its instructions under callgrind. The packets
//! are not encrypted (feature `null-aead`): what is counted is ours, and the same on every CPU.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool of the tests")]

use std::hint::black_box;

use esp::merge::{MergeOptions, Merger};
use esp::packet::Inner;
use esp::segment::{Gso, Segments, VnetHeader};
use esp::{InboundSa, NEXT_HEADER_IPV4, OutboundSa, Selectors, checksum, ecn, mss};
use model::{EspKeys, EspSuite, EspTransform, KeyBits, Secret, Spi, TrafficSelector};

/// Segments of a super-packet, and packets of everything else.
const PACKETS: usize = 44;
const SEGMENT: usize = 1386;

type Work = Box<dyn FnMut()>;

/// What callgrind collects: nothing else has this in its name.
#[inline(never)]
fn measured_region(work: &mut dyn FnMut()) {
    work();
}

fn main() {
    let scenarios: [(&str, fn() -> Work); 9] = [
        ("seal_1400", || seal(1400)),
        ("seal_64", || seal(64)),
        ("open_1400", || open(1400)),
        ("open_64", || open(64)),
        ("segment_tcp_44", segment),
        ("merge_tcp_44", || merge(true)),
        ("merge_tcp_44_unverified", || merge(false)),
        ("verify_checksum_1400", verify),
        ("rules_64", rules),
    ];
    assert!(esp::NULL_AEAD, "build with --features null-aead");
    match std::env::args().nth(1) {
        Some(name) => {
            let (_, prepare) = scenarios.iter().find(|(known, _)| *known == name).expect("a known scenario");
            let mut work = prepare();
            // What is done once (relocations, detection of the CPU) does not count.
            work();
            measured_region(&mut work);
        }
        None => scenarios.iter().for_each(|(name, _)| println!("{name} {PACKETS}")),
    }
}

fn sas() -> (OutboundSa, InboundSa) {
    let transform = EspTransform::AesGcm16(KeyBits::B256);
    let suite = EspSuite { transform, esn: false };
    let encryption = Secret::new(vec![7; transform.encryption_key_len()]);
    let keys = EspKeys { encryption, integrity: Secret::new(Vec::new()) };
    let spi = Spi::new(4096).unwrap();
    (OutboundSa::new(spi, suite, &keys).unwrap(), InboundSa::new(spi, suite, &keys, 1024).unwrap())
}

/// A TCP packet of `len` octets with correct checksums.
fn tcp(sequence: u32, len: usize) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((len as u16).to_be_bytes());
    packet.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 10, 10, 0, 2, 172, 31, 0, 10, 0x30, 0x39, 0, 80]);
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 9, 0x80, 0x10, 0x20, 0, 0, 0, 0, 0, 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
    packet.resize(len, 0x5a);
    checksum::set_ipv4_header(&mut packet[..20]);
    let inner = Inner::parse(&packet).unwrap();
    let pseudo = checksum::pseudo_header(inner.source, inner.destination, 6, len - 20);
    let sum = pseudo.plus(checksum::Sum::of(&packet[20..])).checksum();
    packet[36..38].copy_from_slice(&sum);
    packet
}

fn seal(len: usize) -> Work {
    let (sender, inner, mut slot) = (sas().0, tcp(1, len), vec![0; 2048]);
    Box::new(move || {
        for _ in 0..PACKETS {
            let sequence = sender.reserve(1).unwrap();
            black_box(sender.seal_into(sequence, black_box(&inner), NEXT_HEADER_IPV4, &mut slot));
        }
    })
}

fn open(len: usize) -> Work {
    let ((sender, mut receiver), inner) = (sas(), tcp(1, len));
    let mut packets: Vec<Vec<u8>> = (0..2 * PACKETS)
        .map(|_| {
            let mut packet = vec![0; sender.sealed_len(len)];
            assert!(sender.seal_into(sender.reserve(1).unwrap(), &inner, NEXT_HEADER_IPV4, &mut packet) > 0);
            packet
        })
        .collect();
    let mut next = 0;
    Box::new(move || {
        for packet in &mut packets[next..next + PACKETS] {
            assert!(black_box(receiver.open_in_place(packet)).is_ok());
        }
        next += PACKETS;
    })
}

fn segment() -> Work {
    let packet = tcp(1, 52 + SEGMENT * PACKETS);
    let vnet = VnetHeader {
        needs_checksum: true,
        gso: Gso::Tcp4,
        gso_size: SEGMENT as u16,
        ..VnetHeader::default()
    };
    let mut out = vec![0; 2048];
    Box::new(move || {
        let mut segments = Segments::new(&vnet, black_box(&packet)).unwrap();
        while let Some(len) = segments.write_next(&mut out) {
            black_box(len);
        }
    })
}

fn merge(verify: bool) -> Work {
    let packets: Vec<Vec<u8>> = (0..PACKETS).map(|i| tcp((1 + i * SEGMENT) as u32, 52 + SEGMENT)).collect();
    let mut merger = Merger::new(MergeOptions { verify, ..MergeOptions::default() });
    Box::new(move || {
        merger.clear();
        for (handle, packet) in packets.iter().enumerate() {
            assert!(merger.push(handle as u32, black_box(packet)));
        }
        assert_eq!(merger.finish().count(), 1);
    })
}

fn verify() -> Work {
    let packet = tcp(1, 1400);
    Box::new(move || {
        for _ in 0..PACKETS {
            let inner = Inner::parse(black_box(&packet)).unwrap();
            assert_eq!(black_box(checksum::verify_transport(&inner, &packet)), Some(true));
        }
    })
}

/// What is asked of every packet besides its cryptography.
fn rules() -> Work {
    let mut packet = tcp(1, 64);
    let selectors = Selectors::new(vec![TrafficSelector::any_v4()], vec![TrafficSelector::any_v4()]);
    Box::new(move || {
        for _ in 0..PACKETS {
            let packet = black_box(&mut packet);
            assert!(selectors.permits_outbound(packet));
            black_box(ecn::traffic_class(packet));
            mss::clamp_tcp_mss(packet, 1438);
        }
    })
}
