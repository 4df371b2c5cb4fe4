//! What happens when the kernel refuses: nothing is lost that can be sent otherwise, what failed is not tried again,
//! and it can be seen.

use std::sync::atomic::Ordering::Relaxed;

use net::errno::{ECONNREFUSED, EINVAL, EIO, EMSGSIZE, ENOBUFS};

use super::{Bench, OFFLOADS, packet, read, train};
use crate::{Event, OffloadState};

const EAGAIN: i32 = 11;

fn sending() -> Bench {
    Bench::new(OFFLOADS, vec![train(false, true, 1386, 44)])
}

#[test]
fn a_path_that_cannot_cut_trains_up_gets_single_packets_from_then_on() {
    for errno in [EIO, EINVAL] {
        let mut bench = sending();
        bench.link.refuse_cut.store(errno, Relaxed);
        bench.link.keep();
        bench.send(1);
        assert_eq!(bench.shared.offload().udp_gso, OffloadState::Failed(errno));
        assert_eq!(bench.link.sent().len(), 44, "the same packets, one by one");
        let calls = bench.link.calls.load(Relaxed);
        bench.send(1);
        assert_eq!(
            bench.link.calls.load(Relaxed) - calls,
            1,
            "it is not tried again, and one call takes them all"
        );
        assert_eq!(bench.link.sent().len(), 44);
        assert_eq!((bench.shared.cells.traffic().tx_packets, bench.shared.cells.drops().total()), (88, 0));
    }
}

#[test]
fn trains_behind_the_one_that_failed_arrive_too() {
    let script = vec![train(false, true, 1000, 10), train(false, false, 700, 10)];
    let mut bench = Bench::new(OFFLOADS, script);
    bench.link.refuse_cut.store(EIO, Relaxed);
    bench.link.keep();
    bench.send(2);
    let lengths: Vec<usize> = bench.link.sent().iter().map(|(octets, _)| octets.len()).collect();
    assert_eq!(lengths.len(), 20);
    assert!(lengths[..10].iter().all(|len| *len > 1000) && lengths[10..].iter().all(|len| *len < 1000));
    assert_eq!(bench.shared.cells.drops().total(), 0);
}

#[test]
fn a_path_that_has_become_narrower_says_nothing_against_trains() {
    let mut bench = sending();
    bench.link.mtu.store(1300, Relaxed);
    bench.link.refuse_cut.store(EMSGSIZE, Relaxed);
    bench.send(1);
    assert_eq!(bench.shared.offload().udp_gso, OffloadState::On);
    let events = bench.events.lock().unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::PathMtu { mtu: 1300 })), "{events:?}");
}

#[test]
fn a_full_queue_costs_the_packet_and_nothing_else() {
    let mut bench = Bench::new(OFFLOADS, vec![read(false, false, 0, &packet(false, None, 1, &[1; 100]))]);
    bench.link.fail.lock().unwrap().push_back(ENOBUFS);
    bench.send(1);
    assert_eq!((bench.shared.cells.drops().queue, bench.shared.cells.traffic().tx_packets), (1, 0));
    bench.send(1);
    assert_eq!((bench.shared.cells.drops().queue, bench.shared.cells.traffic().tx_packets), (1, 1));
    assert_eq!(bench.shared.offload().udp_gso, OffloadState::On);
}

#[test]
fn a_full_socket_is_waited_for_once_and_then_costs_what_is_pending() {
    let mut bench = sending();
    bench.link.fail.lock().unwrap().push_back(EAGAIN);
    bench.send(1);
    assert_eq!((bench.link.waits.load(Relaxed), bench.shared.cells.traffic().tx_packets), (1, 44));
    bench.link.fail.lock().unwrap().extend([EAGAIN, EAGAIN]);
    bench.send(1);
    assert_eq!((bench.link.waits.load(Relaxed), bench.shared.cells.drops().queue), (2, 44));
}

#[test]
fn an_icmp_error_of_an_earlier_packet_does_not_cost_this_one() {
    let mut bench = sending();
    bench.link.fail.lock().unwrap().push_back(ECONNREFUSED);
    bench.send(1);
    assert_eq!((bench.shared.cells.traffic().tx_packets, bench.shared.cells.drops().total()), (44, 0));
}

#[test]
fn a_device_that_refuses_super_packets_gets_the_packets() {
    for errno in [EINVAL, EIO] {
        let mut bench = sending();
        bench.link.keep();
        bench.send(1);
        let sent = bench.link.sent();
        bench.vpc.state().refuse_super.store(errno, Relaxed);
        bench.receive([sent]);
        assert_eq!(bench.shared.offload().tun_merge, OffloadState::Failed(errno));
        assert_eq!(bench.vpc.state().writes.load(Relaxed), 44);
        bench.vpc.state().refuse_super.store(0, Relaxed);
        bench.send(1);
        let sent = bench.link.sent();
        bench.receive([sent]);
        assert_eq!(bench.vpc.state().writes.load(Relaxed), 88, "it is not tried again");
        assert_eq!(bench.shared.cells.drops().total(), 0);
    }
}
