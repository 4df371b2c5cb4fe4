//! What a packet costs: no allocation, and few calls.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use allocation_counter::measure;
use net::raw::EspSocket;
use net::udp::{ReceiveBatch, Train, UdpOptions, UdpSocket};

use super::fake::Message;
use super::{Bench, CBC, OFFLOADS, Setup, packet, read, train};
use crate::Tap;
use crate::device::Link;

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
        ("UDP over IPv6", Setup { ipv6: true, ..OFFLOADS }),
        ("protocol 50 over IPv6", Setup { raw: true, ipv6: true, ..OFFLOADS }),
    ]
}

/// As the peer's kernel hands trains over: whole for UDP, packet by packet behind an IP header for protocol 50.
fn received(setup: Setup, sent: Vec<Message>) -> Vec<Vec<Message>> {
    if !setup.raw {
        return sent.chunks(32).map(<[Message]>::to_vec).collect();
    }
    let with_header = |esp: &[u8]| {
        // A raw IPv6 socket keeps the header to itself.
        if setup.ipv6 {
            return (esp.to_vec(), esp.len());
        }
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
            assert_nothing_allocates(&format!("{name}, {setup_name}"), setup, (script, packets), None);
        }
    }
}

#[test]
fn no_packet_allocates_while_somebody_captures() {
    for (name, script, packets) in scripts() {
        let tap = Arc::new(Tap::new(|| {}));
        assert_nothing_allocates(name, OFFLOADS, (script, packets), Some(&tap));
        assert_eq!(tap.dropped(), 0, "{name}");
        assert!(!tap.take().is_empty(), "{name}");
    }
}

/// Sends and receives so often that everything has grown that grows once, then measures.
fn assert_nothing_allocates(
    name: &str,
    setup: Setup,
    (script, packets): (Vec<Vec<u8>>, usize),
    tap: Option<&Arc<Tap>>,
) {
    let mut bench = Bench::new(setup, script);
    bench.shared.tap.plug(tap.map(|tap| (Arc::clone(tap), 1)));
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
    assert_eq!(inward.count_total, 0, "receiving {name}");
    assert!(bench.shared.cells.traffic().rx_packets > before.rx_packets, "{name}");
    bench.link.forget();
    let outward = measure(|| {
        for _ in 0..10 {
            bench.send(packets);
        }
    });
    assert_eq!(outward.count_total, 0, "sending {name}");
    assert!(bench.shared.cells.traffic().tx_packets > before.tx_packets, "{name}");
    assert_eq!(bench.shared.cells.drops().total(), 0, "{name}");
}

#[test]
fn telling_a_sender_that_its_packets_are_too_large_allocates_nothing() {
    for ipv6 in [false, true] {
        let large = read(ipv6, false, 0, &packet(ipv6, None, 1, &vec![3; 1480]));
        let trains = vec![large, train(ipv6, true, 1480, 20)];
        let mut bench = Bench::new(Setup { clear_df: false, ..OFFLOADS }, trains);
        bench.vpc.keep();
        bench.lan.keep();
        bench.send(2);
        let answers = bench.lan.written();
        let too_big = if ipv6 { (6, 40, 2) } else { (4, 20, 3) };
        assert_eq!(answers.len(), 2, "one answer for the packet, one for all of the train");
        for (_, answer) in answers {
            assert_eq!((answer[0] >> 4, answer[too_big.1]), (too_big.0, too_big.2));
        }
        bench.lan.forget();
        let before = bench.lan.state().writes.load(Relaxed);
        let told = measure(|| {
            for _ in 0..10 {
                bench.send(2);
            }
        });
        assert_eq!(told.count_total, 0, "IPv6: {ipv6}");
        assert_eq!(bench.lan.state().writes.load(Relaxed) - before, 20, "each was told");
    }
}

/// Sends `trains` through one socket until the other has `packets` of them; what was allocated meanwhile.
fn allocations_between(from: &dyn Link, to: &dyn Link, trains: &[Train<'_>], packets: usize) -> u64 {
    let mut batch = ReceiveBatch::new(8, 65_536);
    let mut exchange = || {
        assert_eq!(from.send_trains(trains).unwrap(), trains.len());
        let mut came = 0;
        for _ in 0..1000 {
            match to.receive_batch(&mut batch) {
                Ok(count) => {
                    came += (0..count)
                        .filter_map(|i| {
                            batch.message(i).map(|message| message.bytes.len().div_ceil(message.segment))
                        })
                        .sum::<usize>();
                }
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
            if came >= packets {
                break;
            }
        }
        assert_eq!(came, packets);
    };
    exchange();
    measure(exchange).count_total
}

#[test]
fn the_sockets_themselves_allocate_nothing_over_either_family() {
    let octets = vec![0x5a; 3 * 1000];
    let train = Train { bytes: &octets, segment: 1000, tos: 2 };
    let single = Train::single(&octets[..500], 0);
    for host in ["127.0.0.1", "::1"] {
        let address = std::net::SocketAddr::new(host.parse().unwrap(), 0);
        let socket = || UdpSocket::bind(address, &UdpOptions::default()).unwrap();
        let (from, to) = (socket(), socket());
        from.connect(to.local()).unwrap();
        to.connect(from.local()).unwrap();
        to.set_gro(true).unwrap();
        assert_eq!(allocations_between(&from, &to, &[train, single], 4), 0, "UDP, {host}");
        // Protocol 50 needs root.
        let raw = || EspSocket::open(address.ip(), address.ip(), 1 << 20, 1 << 20);
        if let (Ok(from), Ok(to)) = (raw(), raw()) {
            let tagged = Train::single(&octets[..700], 2);
            let _drained = to.receive_batch(&mut ReceiveBatch::new(8, 65_536));
            assert_eq!(allocations_between(&from, &to, &[single, tagged], 2), 0, "protocol 50, {host}");
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
