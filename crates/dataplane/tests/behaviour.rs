//! What the data plane does besides carrying packets: rekeys, probes, sizes, refusals, its own end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::time::{Duration, Instant};

use support::{Endpoint, PATIENCE, Rig, example};

/// Ping's whole output, for its error lines.
fn ping_text(rig: &Rig, from: &str, arguments: &str) -> String {
    let output = rig.command(from, "ping").args(arguments.split_whitespace()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_rekey_loses_no_packet_while_either_side_moves_first() {
    if !support::can_run() {
        return;
    }
    let rig = Rig::new();
    let (mut a, mut b) = rig.gateways(4, "encap=udp");
    std::thread::scope(|scope| {
        let ping = scope.spawn(|| rig.ping("lan", "10.20.0.2", 150, ""));
        for child in 2..=6 {
            std::thread::sleep(Duration::from_millis(300));
            let (first, second) = if child % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
            assert_eq!(first.ask(&format!("install {child}")), "ok");
            assert_eq!(second.ask(&format!("install {child} active")), "ok");
            assert_eq!(first.ask(&format!("activate {child}")), "ok");
            let old = child - 1;
            assert_eq!(first.ask(&format!("retire {old}")), "ok");
            assert_eq!(second.ask(&format!("retire {old}")), "ok");
        }
        assert_eq!(ping.join().unwrap(), 150);
    });
    assert!(a.ask("install 6").starts_with("error"));
    for endpoint in [&mut a, &mut b] {
        assert_eq!((endpoint.stat("no_sa"), endpoint.stat("replay")), (0, 0));
        endpoint.event("event esp");
    }
}

#[test]
fn probes_are_answered_to_the_supervisor_and_other_pings_to_the_kernel() {
    if !support::can_run() {
        return;
    }
    let rig = Rig::new();
    let (mut a, _b) = rig.gateways(4, "encap=udp");
    for sequence in [1, 2, 65535] {
        assert_eq!(a.ask(&format!("probe {sequence}")), "ok");
        assert_eq!(a.event("event probe"), format!("event probe {sequence} 8"));
    }
    assert_eq!(rig.ping("a", "169.254.10.1", 5, ""), 5);
    assert_eq!(a.ask("retire 1"), "ok");
    assert_eq!(a.ask("probe 3"), "error no child SA is active");
}

#[test]
fn idle_and_busy_workers_answer_for_themselves_and_a_stuck_one_does_not() {
    if !support::can_run() {
        return;
    }
    let rig = Rig::new();
    let (mut a, mut b) = rig.gateways(4, "encap=udp hang=1");
    // The first question has nothing before it; the next ones tell of the moment between.
    for gateway in [&mut a, &mut b] {
        for _ in 0..3 {
            assert_eq!(gateway.ask("alive"), "true");
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    assert_eq!(rig.ping("lan", "10.20.0.2", 20, ""), 20);
    assert_eq!((a.ask("alive"), b.ask("alive")), ("true".to_owned(), "true".to_owned()));
    assert_eq!(a.ask("probe 1"), "ok");
    a.event("event probe");
    a.ask("alive");
    std::thread::sleep(Duration::from_millis(300));
    b.ask("alive");
    assert_eq!(a.ask("alive"), "false");
    assert_eq!(a.ask("alive"), "false");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(b.ask("alive"), "true");
}

#[test]
fn tcp_fits_the_tunnel_from_its_first_segment_on() {
    if !support::can_run() {
        return;
    }
    let rig = Rig::new();
    // The interface takes 1500 octets, so nothing but the clamp can make the segments small.
    let (_a, _b) = rig.gateways(4, "encap=udp mtu=1500");
    for (address, mss) in [("10.20.0.2:5001", "mss:1386"), ("[fd20::2]:5001", "mss:1366")] {
        let mut server = rig.command("vpc", example());
        server.args(["serve", address, "400000000"]);
        let _server = Endpoint::start(server);
        let mut fetch = rig.command("lan", example());
        let mut fetch = fetch.args(["fetch", address, "400000000"]).spawn().unwrap();
        let end = Instant::now() + PATIENCE;
        for host in ["lan", "vpc"] {
            loop {
                let output =
                    rig.command(host, "ss").args(["-tinHO", "state", "established"]).output().unwrap();
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                if text.contains(&format!(" {mss} ")) && text.contains(" pmtu:1500 ") {
                    break;
                }
                assert!(Instant::now() < end, "{host}: {text}");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        fetch.kill().unwrap();
        fetch.wait().unwrap();
    }
}

#[test]
fn a_packet_that_does_not_fit_is_answered_with_the_size_that_does() {
    if !support::can_run() {
        return;
    }
    let rig = Rig::new();
    let (mut a, _b) = rig.gateways(4, "encap=udp mtu=1500");
    let text = ping_text(&rig, "lan", "-n -c 3 -i 0.1 -W 1 -M do -s 1472 10.20.0.2");
    assert!(text.contains("mtu = 1438") || text.contains("mtu=1438"), "{text}");
    let text = ping_text(&rig, "lan", "-n -c 3 -i 0.1 -W 1 -M do -s 1452 fd20::2");
    assert!(text.contains("mtu=1438") || text.contains("mtu = 1438"), "{text}");
    assert!(a.stat("mtu") >= 2);
    // What fits, fits to the last octet.
    let exactly = "-n -q -c 3 -i 0.02 -W 2 -M do";
    assert!(ping_text(&rig, "lan", &format!("{exactly} -s 1410 10.20.0.2")).contains("3 received"));
    assert!(ping_text(&rig, "lan", &format!("{exactly} -s 1390 fd20::2")).contains("3 received"));
}

#[test]
fn with_clear_df_it_is_fragmented_before_encryption_instead() {
    if !support::can_run() {
        return;
    }
    for arguments in ["encap=udp", "encap=udp off=tun,gso,gro", "encap=esp"] {
        let rig = Rig::new();
        let (mut a, mut b) = rig.gateways(4, &format!("{arguments} mtu=1500 clear-df=1"));
        assert_eq!(rig.ping("lan", "10.20.0.2", 5, "-M do -s 1472"), 5);
        assert_eq!(rig.ping("vpc", "10.10.0.2", 5, "-M dont -s 4000"), 5);
        assert_eq!((a.stat("mtu"), b.stat("mtu")), (0, 0));
        // Every ESP packet fits the path: the wire saw no outer fragment.
        let snmp = rig.command("a", "cat").arg("/proc/net/snmp").output().unwrap();
        let text = String::from_utf8_lossy(&snmp.stdout).into_owned();
        let ip: Vec<&str> = text.lines().filter(|line| line.starts_with("Ip:")).collect();
        let column = ip[0].split(' ').position(|name| name == "ReasmReqds").unwrap();
        assert_eq!(ip[1].split(' ').nth(column), Some("0"));
    }
}

#[test]
fn a_smaller_path_is_noticed_told_and_obeyed() {
    if !support::can_run() {
        return;
    }
    let rig = Rig::new();
    let (mut a, _b) = rig.gateways(4, "encap=udp mtu=1500 clear-df=1");
    assert_eq!(rig.ping("lan", "10.20.0.2", 1, "-s 1400"), 1);
    // The kernel looks at its routes when something is sent.
    rig.ip("a", "route add 192.0.2.2/32 dev wan0 mtu 1300");
    assert_eq!(rig.ping("lan", "10.20.0.2", 1, "-s 1400"), 1);
    assert_eq!(a.event("event path-mtu"), "event path-mtu 1300");
    assert_eq!(rig.ping("lan", "10.20.0.2", 3, "-s 1400"), 3);
    rig.ip("a", "route del 192.0.2.2/32");
    assert_eq!(rig.ping("lan", "10.20.0.2", 1, ""), 1);
    assert_eq!(a.event("event path-mtu"), "event path-mtu 1500");
}

#[test]
fn a_route_that_goes_and_comes_back_leaves_the_tunnel_as_it_was() {
    if !support::can_run() {
        return;
    }
    let rig = Rig::new();
    let (mut a, _b) = rig.gateways(4, "encap=udp");
    assert_eq!(rig.ping("lan", "10.20.0.2", 2, ""), 2);
    // The kernel forgets the socket's route, and says 68 octets until something is sent along the new one. The
    // worker looks once a second, here while nothing is sent.
    for _ in 0..2 {
        rig.ip("a", "address del 192.0.2.1/24 dev wan0");
        std::thread::sleep(std::time::Duration::from_millis(1_300));
        rig.ip("a", "address add 192.0.2.1/24 dev wan0");
        std::thread::sleep(std::time::Duration::from_millis(1_300));
        assert_eq!(rig.ping("lan", "10.20.0.2", 3, "-s 1400"), 3);
    }
    // Not one packet was found too large for the path.
    assert_eq!(a.stat("mtu"), 0);
}

#[test]
fn a_path_that_moved_is_followed() {
    if !support::can_run() {
        return;
    }
    let rig = Rig::new();
    let mut a = rig.gateway("a", "local=192.0.2.1:4500 remote=192.0.2.2:4500");
    let mut b = rig.gateway("b", "local=192.0.2.2:4500 remote=192.0.2.1:4999");
    assert_eq!(a.ask("install 1 active"), "ok");
    assert_eq!(b.ask("install 1 active"), "ok");
    assert_eq!(rig.ping("lan", "10.20.0.2", 2, "-w 1"), 0);
    assert_eq!(b.ask("path 1 192.0.2.1:4500"), "ok");
    assert_eq!(rig.ping("lan", "10.20.0.2", 3, ""), 3);
    assert_eq!(b.ask("path 77 192.0.2.1:4"), "ok");
    assert_eq!(rig.ping("lan", "10.20.0.2", 3, ""), 3);
}

/// An ESP packet from `a` to `b` on child 1, made by the transform itself.
fn sealed(sequence: u64) -> Vec<u8> {
    use model::{EspKeys, EspSuite, EspTransform, KeyBits, Secret, Spi};
    let suite = EspSuite { transform: EspTransform::AesGcm16(KeyBits::B256), esn: false };
    let keys = EspKeys { encryption: Secret::new(vec![3; 36]), integrity: Secret::new(Vec::new()) };
    let sa = esp::OutboundSa::new(Spi::new(0x1003).unwrap(), suite, &keys).unwrap();
    let mut inner = vec![0x45, 0, 0, 24, 0, 0, 0, 0, 64, 253, 0, 0, 10, 10, 0, 2, 10, 20, 0, 2, 1, 2, 3, 4];
    esp::checksum::set_ipv4_header(&mut inner[..20]);
    let mut out = vec![0; sa.sealed_len(inner.len())];
    assert_ne!(sa.seal_into(sequence, &inner, 4, &mut out), 0);
    out
}

#[test]
fn every_refused_packet_has_its_counter_and_none_changes_anything() {
    if !support::can_run() {
        return;
    }
    let rig = Rig::new();
    let (_a, mut b) = rig.gateways(4, "encap=udp");
    let mut deliver = |datagram: &[u8]| {
        let hex: String = datagram.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(b.ask(&format!("deliver {hex} 203.0.113.9:4500")), "ok");
    };
    let good = sealed(5000);
    let mut forged = sealed(6000);
    *forged.last_mut().unwrap() ^= 1;
    let mut unknown = sealed(7000);
    unknown[1] = 9;
    deliver(&good);
    deliver(&good);
    deliver(&sealed(5000 - 1024));
    deliver(&forged);
    deliver(&unknown);
    deliver(&good[..20]);
    deliver(&[0xff]);
    deliver(&[1, 2]);
    deliver(&[0, 0, 0, 0, 9, 9, 9]);
    assert_eq!(b.event("event ike"), "event ike 203.0.113.9:4500 3");
    let end = Instant::now() + PATIENCE;
    // Commands are carried out in order, but not before they are answered.
    while b.stat("no_sa") < 1 || b.stat("malformed") < 2 {
        assert!(Instant::now() < end, "{}", b.ask("stats"));
    }
    let found = ["rx_packets", "replay", "auth", "no_sa", "malformed"].map(|name| b.stat(name));
    assert_eq!(found, [1, 2, 1, 1, 2]);
    // The forged packet's number is still to be had.
    let hex: String = sealed(6000).iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(b.ask(&format!("deliver {hex} 203.0.113.9:4500")), "ok");
    while b.stat("rx_packets") < 2 {
        assert!(Instant::now() < end, "{}", b.ask("stats"));
    }
}

#[test]
fn udp_encapsulation_works_without_the_right_to_raw_sockets() {
    if !support::can_run() {
        return;
    }
    let rig = Rig::new();
    let start = |side: &str, arguments: &str| {
        let mut command = rig.command(side, "setpriv");
        let words =
            format!("--bounding-set=-net_raw {} endpoint side={side} {arguments}", example().display());
        Endpoint::start({
            command.args(words.split_whitespace());
            command
        })
    };
    let outside = "local=192.0.2.1:4500 remote=192.0.2.2:4500";
    let mut a = start("a", &format!("{outside} inside=169.254.10.2/30"));
    let mut b = start("b", "local=192.0.2.2:4500 remote=192.0.2.1:4500 inside=169.254.10.1/30");
    assert_eq!(a.ask("install 1 active"), "ok");
    assert_eq!(b.ask("install 1 active"), "ok");
    assert_eq!(rig.ping("a", "169.254.10.1", 3, ""), 3);
    a.finish();
    let mut raw = start("a", &format!("{outside} encap=esp"));
    let answer = raw.ask("install 1 active");
    assert!(answer.contains("raw ESP socket") && answer.contains("CAP_NET_RAW"), "{answer}");
}

#[test]
fn the_interface_lives_as_long_as_the_tunnel_and_its_loss_is_reported() {
    if !support::can_run() {
        return;
    }
    let rig = Rig::new();
    let (mut a, mut b) = rig.gateways(4, "encap=udp");
    let shown = rig.ip("a", "-d link show cgw0");
    assert!(shown.contains("mtu 1438") && shown.contains("qlen 10000"), "{shown}");
    assert!(rig.ip("a", "addr show dev cgw0").contains("169.254.10.2/30"));
    let mut second = rig.command("a", example());
    let second = second.args(["endpoint", "local=192.0.2.1:4500", "remote=192.0.2.2:4500"]).output().unwrap();
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("cannot create TUN interface cgw0"), "{text}");
    a.finish();
    assert!(!rig.ip("a", "link show").contains("cgw0"));
    rig.ip("b", "link del cgw0");
    assert!(b.event("event failed").contains("cgw0"));
    b.finish();
}

#[test]
fn udp_trains_arrive_whole_with_and_without_offloads() {
    if !support::can_run() {
        return;
    }
    for arguments in ["encap=udp", "encap=udp off=tun,gso,gro", "encap=esp"] {
        let rig = Rig::new();
        let (mut a, mut b) = rig.gateways(4, arguments);
        // Neighbours must know each other before the first train: the kernel keeps little for an unknown one.
        assert_eq!((rig.ping("lan", "10.20.0.2", 1, ""), rig.ping("lan", "fd20::2", 1, "")), (1, 1));
        for (address, size) in
            [("10.20.0.2:6000", "1400"), ("[fd20::2]:6000", "33"), ("[fd20::2]:6000", "1200")]
        {
            let mut sink = rig.command("vpc", example());
            sink.args(["sink", address, "4000", size]);
            let mut sink = Endpoint::start(sink);
            let status =
                rig.command("lan", example()).args(["blast", address, "4000", size]).status().unwrap();
            assert!(status.success());
            assert_eq!(sink.answer(), "missing 0", "{arguments} {address} {size}");
        }
        for endpoint in [&mut a, &mut b] {
            let found = ["auth", "malformed", "queue", "tun", "send"].map(|name| endpoint.stat(name));
            assert_eq!(found, [0; 5]);
        }
        if arguments == "encap=udp" {
            let (reads, packets) = (a.stat("tun_reads"), a.stat("tun_read_packets"));
            assert!(packets > reads * 5, "{packets} packets in {reads} reads: no UDP super-packets");
        }
    }
}

#[test]
fn tcp_with_ecn_passes_both_ways() {
    if !support::can_run() {
        return;
    }
    let rig = Rig::new();
    let (_a, _b) = rig.gateways(4, "encap=udp");
    for host in ["lan", "vpc"] {
        rig.sysctl(host, "net.ipv4.tcp_ecn", "1");
    }
    rig.transfer("vpc", "lan", "10.20.0.2:5001", 20_000_000);
    rig.transfer("lan", "vpc", "10.10.0.2:5001", 20_000_000);
}
