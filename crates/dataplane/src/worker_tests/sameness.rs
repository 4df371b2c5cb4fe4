//! Offloads change the price and nothing else: whatever crosses both workers with all of them is, flow by flow, what
//! crosses them with none.

use esp::segment::Segments;
use proptest::prelude::*;

use super::{Bench, OFFLOADS, Setup, packet, read};
use crate::offload::from_device;

/// One read from the sender's TUN.
#[derive(Clone, Debug)]
struct Read {
    ipv6: bool,
    tcp: bool,
    /// Zero for an ordinary packet.
    size: u16,
    len: usize,
    flags: u8,
    tos: u8,
    /// Spoil the transport checksum of an ordinary packet.
    corrupt: bool,
    /// Don't fragment.
    df: bool,
    /// Continues where the last TCP read ended.
    follows: bool,
}

fn reads() -> impl Strategy<Value = Vec<Read>> {
    let one = (
        any::<(bool, bool, bool, bool, bool)>(),
        prop_oneof![Just(0_u16), 200_u16..1300, Just(1366)],
        0_usize..30_000,
        prop_oneof![Just(0x10_u8), Just(0x18), Just(0x11), Just(0x90), Just(0x50), any::<u8>()],
        prop_oneof![Just(0_u8), Just(2), Just(0xb8)],
    );
    let read = one.prop_map(|((ipv6, tcp, corrupt, follows, df), size, len, flags, tos)| Read {
        ipv6,
        tcp,
        size,
        // An ordinary packet fits the tunnel; a super-packet may be as large as IP allows.
        len: if size == 0 { len % 1300 } else { len.max(1).min(usize::from(size) * 40) },
        // A SYN's options may be changed, which is tested elsewhere.
        flags: flags & !0x02,
        tos,
        corrupt: corrupt && size == 0 && len % 3 == 0,
        df,
        follows,
    });
    prop::collection::vec(read, 1..20)
}

/// What the kernel hands over.
fn script(reads: &[Read]) -> Vec<Vec<u8>> {
    let mut next = [1_u32, 1];
    let mut octets = Vec::new();
    for (id, r) in reads.iter().enumerate() {
        let payload: Vec<u8> = (0..r.len).map(|i| (i * 7 + id) as u8).collect();
        let sequence = &mut next[usize::from(r.ipv6)];
        if !r.follows {
            *sequence = sequence.wrapping_add(100_000);
        }
        let tcp = r.tcp.then_some((*sequence, r.flags));
        if r.tcp {
            *sequence = sequence.wrapping_add(r.len as u32);
        }
        let mut inner = packet(r.ipv6, tcp, 1000 * id as u16, &payload);
        set_header(&mut inner, r);
        if r.corrupt && !payload.is_empty() {
            *inner.last_mut().unwrap() ^= 0x40;
        }
        octets.push(read(r.ipv6, r.tcp, r.size, &inner));
    }
    octets
}

fn set_header(packet: &mut [u8], r: &Read) {
    if r.ipv6 {
        packet[0] = 0x60 | r.tos >> 4;
        packet[1] = r.tos << 4;
    } else {
        packet[1] = r.tos;
        packet[6] = if r.df { 0x40 } else { 0 };
        esp::checksum::set_ipv4_header(&mut packet[..20]);
    }
}

/// Without what means nothing: the identification of a packet that must not be fragmented (RFC 6864 §4.1), which the
/// kernel numbers anew when it takes a super-packet apart.
fn meaning(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] >> 4 == 4 && packet[6] & 0x40 != 0 {
        assert_eq!(esp::checksum::Sum::of(&packet[..20]).checksum(), [0, 0]);
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

/// The packets that reach the other host, in order, of one family and protocol.
fn arrived(setup: Setup, script: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut bench = Bench::new(setup, script.to_vec());
    bench.link.keep();
    bench.vpc.keep();
    bench.send(script.len());
    let sent = bench.link.sent();
    bench.receive(sent.chunks(32).map(<[_]>::to_vec));
    while !bench.link.inbox.lock().unwrap().is_empty() {
        bench.turn();
    }
    assert_eq!(bench.shared.cells.drops().total(), 0);
    let mut packets = Vec::new();
    for (vnet, octets) in bench.vpc.written() {
        let mut segments = Segments::new(&from_device(&vnet), &octets).unwrap();
        let mut out = vec![0; 70_000];
        while let Some(len) = segments.write_next(&mut out) {
            packets.push(meaning(out[..len].to_vec()));
        }
    }
    packets
}

/// The naive way to the same packets: each read cut up by itself.
fn naive(script: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for octets in script {
        let vnet = net::tun::VnetHeader::parse(octets).unwrap();
        let mut segments = Segments::new(&from_device(&vnet), &octets[net::tun::VNET_HEADER_LEN..]).unwrap();
        let mut out = vec![0; 70_000];
        while let Some(len) = segments.write_next(&mut out) {
            packets.push(meaning(out[..len].to_vec()));
        }
    }
    packets
}

fn flow(packets: &[Vec<u8>], ipv6: bool, protocol: u8) -> Vec<&Vec<u8>> {
    let of =
        |packet: &&Vec<u8>| (packet[0] >> 4 == 6) == ipv6 && packet[if ipv6 { 6 } else { 9 }] == protocol;
    packets.iter().filter(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_flow_arrives_with_offloads_as_without(reads in reads()) {
        let script = script(&reads);
        let wanted = naive(&script);
        let none = Setup { gso: false, merge: false, ..OFFLOADS };
        prop_assert_eq!(&arrived(none, &script), &wanted, "without offloads");
        let merged = arrived(OFFLOADS, &script);
        prop_assert_eq!(merged.len(), wanted.len());
        for (ipv6, protocol) in [(false, 6), (false, 17), (true, 6), (true, 17)] {
            prop_assert_eq!(flow(&merged, ipv6, protocol), flow(&wanted, ipv6, protocol));
        }
    }
}
