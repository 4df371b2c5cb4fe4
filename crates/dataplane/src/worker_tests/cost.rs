//! What a packet costs: no allocation, and few calls.

use std::sync::atomic::Ordering::Relaxed;

use allocation_counter::measure;

use super::fake::Message;
use super::{Bench, CBC, OFFLOADS, Setup, packet, read, train};

/// UDP packets of these whole lengths.
fn plain(lengths: &[usize]) -> Vec<Vec<u8>> {
    lengths.iter().map(|len| read(false, false, 0, &packet(false, None, 1, &vec![3; len - 28]))).collect()
}

const IMIX: [usize; 12] = [64, 570, 64, 64, 570, 64, 1418, 64, 570, 64, 570, 64];

/// What the sender meets: name, script, packets of one round.
fn scripts() -> Vec<(&'static str, Vec<Vec<u8>>, usize)> {
    vec![
        ("64 octets", plain(&[64]), 40),
        ("a mix", plain(&IMIX), 48),
        ("TCP trains", vec![train(false, true, 1300, 44)], 3),
        ("TCP trains over IPv6", vec![train(true, true, 1300, 44)], 3),
        ("UDP trains", vec![train(false, false, 1300, 20)], 3),
        ("acknowledgements", vec![read(false, true, 0, &packet(false, Some((1, 0x10)), 1, &[]))], 20),
        ("too large, to be fragmented", plain(&[1490]), 3),
    ]
}

fn setups() -> Vec<(&'static str, Setup)> {
    vec![
        ("offloads", OFFLOADS),
        ("no offloads", Setup { gso: false, merge: false, ..OFFLOADS }),
        ("protocol 50", Setup { raw: true, ..OFFLOADS }),
        ("AES-CBC", Setup { transform: CBC, ..OFFLOADS }),
    ]
}

/// As the peer's kernel hands trains over: whole for UDP, packet by packet behind an IP header for protocol 50.
fn received(setup: Setup, sent: Vec<Message>) -> Vec<Vec<Message>> {
    if !setup.raw {
        return sent.chunks(32).map(<[Message]>::to_vec).collect();
    }
    let with_header = |esp: &[u8]| {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        packet.extend(esp);
        let len = packet.len();
        (packet, len)
    };
    let packets: Vec<Message> = sent.iter().map(|(octets, _)| with_header(octets)).collect();
    packets.chunks(32).map(<[Message]>::to_vec).collect()
}

#[test]
fn no_packet_allocates_whatever_way_it_takes() {
    for (setup_name, setup) in setups() {
        for (name, script, packets) in scripts() {
            let mut bench = Bench::new(setup, script);
            // The first rounds grow what grows once.
            bench.link.keep();
            for _ in 0..3 {
                bench.send(packets);
            }
            bench.receive(received(setup, bench.link.sent()));
            let mut inbox = Vec::new();
            for _ in 0..4 {
                bench.send(packets);
                inbox.extend(received(setup, bench.link.sent()));
            }
            bench.link.inbox.lock().unwrap().extend(inbox);
            let before = bench.shared.cells.traffic();
            let inward = measure(|| bench.turn());
            assert_eq!(inward.count_total, 0, "receiving {name}, {setup_name}");
            assert!(bench.shared.cells.traffic().rx_packets > before.rx_packets, "{name}, {setup_name}");
            bench.link.forget();
            let outward = measure(|| {
                for _ in 0..10 {
                    bench.send(packets);
                }
            });
            assert_eq!(outward.count_total, 0, "sending {name}, {setup_name}");
            assert!(bench.shared.cells.traffic().tx_packets > before.tx_packets, "{name}, {setup_name}");
            assert_eq!(bench.shared.cells.drops().total(), 0, "{name}, {setup_name}");
        }
    }
}

/// Packets, reads, sends of one round, and receives, writes of its way through the peer.
fn calls(setup: Setup, script: Vec<Vec<u8>>, packets: usize) -> [u64; 5] {
    let mut bench = Bench::new(setup, script);
    bench.link.keep();
    bench.send(packets);
    let sent = received(setup, bench.link.sent());
    let receives = sent.len() as u64;
    bench.receive(sent);
    let counted = bench.shared.cells.calls();
    let (lan, vpc, link) = (bench.lan.state(), bench.vpc.state(), &bench.link);
    assert_eq!(counted.tun_reads, lan.reads.load(Relaxed));
    assert_eq!(counted.sends, link.calls.load(Relaxed));
    assert_eq!(counted.tun_writes, vpc.writes.load(Relaxed));
    let through = bench.shared.cells.traffic();
    assert_eq!(
        (through.tx_packets, through.rx_packets),
        (link.packets.load(Relaxed), counted.receive_packets)
    );
    assert_eq!(counted.tun_write_packets, through.rx_packets);
    [through.tx_packets, counted.tun_reads, counted.sends, receives, counted.tun_writes]
}

#[test]
fn a_tcp_train_crosses_each_boundary_with_one_call() {
    assert_eq!(calls(OFFLOADS, vec![train(false, true, 1386, 44)], 1), [44, 1, 1, 1, 1]);
    assert_eq!(calls(OFFLOADS, vec![train(true, true, 1366, 44)], 1), [44, 1, 1, 1, 1]);
}

#[test]
fn a_udp_train_crosses_each_boundary_with_one_call() {
    assert_eq!(calls(OFFLOADS, vec![train(false, false, 1410, 40)], 1), [40, 1, 1, 1, 1]);
}

#[test]
fn single_packets_of_one_flow_are_sent_and_written_together() {
    assert_eq!(calls(OFFLOADS, plain(&[64]), 60), [60, 60, 1, 1, 1]);
    assert_eq!(calls(OFFLOADS, plain(&[1400]), 40), [40, 40, 1, 1, 1]);
}

#[test]
fn a_mix_of_sizes_leaves_with_one_call_for_all_trains() {
    let [packets, reads, sends, receives, writes] = calls(OFFLOADS, plain(&IMIX), 60);
    assert_eq!((packets, reads, sends, receives), (60, 60, 1, 2));
    assert!(writes < 60, "{writes} writes: small ones behind a larger one end its train");
}

#[test]
fn protocol_50_is_sent_and_received_in_batches_and_written_as_super_packets() {
    let raw = Setup { raw: true, ..OFFLOADS };
    assert_eq!(calls(raw, vec![train(false, true, 1386, 44)], 1), [44, 1, 1, 2, 2]);
}

#[test]
fn without_offloads_only_sends_and_receives_are_shared() {
    let none = Setup { gso: false, merge: false, ..OFFLOADS };
    assert_eq!(calls(none, plain(&[1400]), 40), [40, 40, 1, 2, 40]);
}
