//! Real packets through two data planes back to back, in network namespaces.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod support;

use support::Rig;

const OCTETS: usize = 50_000_000;

/// Pings and a file each way, over IPv4 and IPv6 inside; the two gateways' counters must show no loss.
fn everything_passes(outer: u8, arguments: &str) {
    if !support::can_run() {
        return;
    }
    let rig = Rig::new();
    let (mut a, mut b) = rig.gateways(outer, arguments);
    for (lan, vpc) in [("10.10.0.2", "10.20.0.2"), ("fd10::2", "fd20::2")] {
        assert_eq!(rig.ping("lan", vpc, 10, ""), 10, "{lan} to {vpc}");
        assert_eq!(rig.ping("vpc", lan, 10, "-s 1200"), 10, "{vpc} to {lan}");
        let at =
            |host: &str| if host.contains(':') { format!("[{host}]:5001") } else { format!("{host}:5001") };
        let down = rig.transfer("vpc", "lan", &at(vpc), OCTETS);
        let up = rig.transfer("lan", "vpc", &at(lan), OCTETS);
        println!("outer {outer} {arguments}: {lan} - {vpc}: {down}, {up}");
    }
    for endpoint in [&mut a, &mut b] {
        let stats = endpoint.ask("stats");
        println!("{stats}");
        for name in ["auth", "replay", "malformed", "queue", "ecn", "exhausted", "send", "tun"] {
            assert_eq!(endpoint.stat(name), 0, "{name} in {stats}");
        }
        endpoint.finish();
    }
}

#[test]
fn udp_over_ipv4_plain() {
    everything_passes(4, "encap=udp off=tun,gso,gro");
}

#[test]
fn udp_over_ipv4_with_offloads() {
    everything_passes(4, "encap=udp");
}

#[test]
fn udp_over_ipv6_plain() {
    everything_passes(6, "encap=udp off=tun,gso,gro suite=cbc128-sha256");
}

#[test]
fn udp_over_ipv6_with_offloads() {
    everything_passes(6, "encap=udp suite=gcm128 esn=1");
}

#[test]
fn protocol_50_over_ipv4_plain() {
    everything_passes(4, "encap=esp off=tun,gso,gro suite=cbc256-sha512");
}

#[test]
fn protocol_50_over_ipv4_with_offloads() {
    everything_passes(4, "encap=esp");
}

#[test]
fn protocol_50_over_ipv6_plain() {
    everything_passes(6, "encap=esp off=tun,gso,gro");
}

#[test]
fn protocol_50_over_ipv6_with_offloads() {
    everything_passes(6, "encap=esp suite=cbc128-sha1 esn=1");
}
