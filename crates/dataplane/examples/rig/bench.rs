//! Throughput of one TCP stream, `lan - a - b - vpc` on one machine, by iperf3. Both gateways, both ends and the
//! kernel share its cores, so only rows of one run may be compared.

use std::error::Error;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Endpoint, Rig};

/// Every link of the rig, by namespace.
const LINKS: [(&str, &str); 6] =
    [("lan", "eth0"), ("a", "lan0"), ("a", "wan0"), ("b", "wan0"), ("b", "vpc0"), ("vpc", "eth0")];

/// Arguments: seconds per run, and what to pass to both endpoints.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let seconds: u32 = arguments.first().map_or(Ok(5), |word| word.parse())?;
    let extra = arguments.get(1..).unwrap_or_default().join(" ");
    println!(
        "Gbit/s at the receiver, {seconds} s each; packets per call: TUN read, send, receive, TUN write"
    );
    for wire_true in [false, true] {
        let plain = Rig::new();
        links(&plain, wire_true)?;
        plain.ip("a", "route add 10.20.0.0/24 via 192.0.2.2");
        plain.ip("b", "route add 10.10.0.0/24 via 192.0.2.1");
        report(&plain, "no tunnel", wire_true, seconds, None)?;
        drop(plain);
        for arguments in ["encap=udp", "encap=udp off=tun,gso,gro", "encap=esp"] {
            let rig = Rig::new();
            links(&rig, wire_true)?;
            let (a, b) = rig.gateways(4, &format!("{arguments} {extra}"));
            report(&rig, arguments, wire_true, seconds, Some((a, b)))?;
        }
    }
    Ok(())
}

/// With `wire_true` no link carries more than its MTU at once, as a cable does; a virtual link normally hands
/// super-packets through.
fn links(rig: &Rig, wire_true: bool) -> Result<(), Box<dyn Error>> {
    if !wire_true {
        return Ok(());
    }
    for (host, interface) in LINKS {
        let off = format!("-K {interface} tso off gso off tx-udp-segmentation off gro on");
        let status = rig.command(host, "ethtool").args(off.split(' ')).stdout(Stdio::null()).status()?;
        if !status.success() {
            return Err("ethtool cannot switch the links' offloads off".into());
        }
    }
    Ok(())
}

fn report(
    rig: &Rig,
    name: &str,
    wire_true: bool,
    seconds: u32,
    mut endpoints: Option<(Endpoint, Endpoint)>,
) -> Result<(), Box<dyn Error>> {
    let mode = if wire_true { "wire-true" } else { "default" };
    let up = iperf(rig, ("lan", "vpc"), "10.20.0.2", seconds)?;
    let down = iperf(rig, ("vpc", "lan"), "10.10.0.2", seconds)?;
    let lost = 20 - rig.ping("lan", "10.20.0.2", 20, "");
    let mut calls = String::new();
    if let Some((a, b)) = &mut endpoints {
        let ratio = |endpoint: &mut Endpoint, packets: &str, calls: &str| {
            endpoint.stat(packets) as f64 / endpoint.stat(calls).max(1) as f64
        };
        calls = format!(
            "  {:.1} {:.1} {:.1} {:.1}",
            ratio(a, "tun_read_packets", "tun_reads"),
            ratio(a, "send_packets", "sends"),
            ratio(b, "receive_packets", "receives"),
            ratio(b, "tun_write_packets", "tun_writes"),
        );
        for (side, endpoint) in [("a", a), ("b", b)] {
            for reason in ["auth", "replay", "no_sa", "malformed", "mtu", "queue", "ecn", "send", "tun"] {
                match endpoint.stat(reason) {
                    0 => {}
                    count => calls += &format!("  {side}: {reason} {count}"),
                }
            }
        }
    }
    println!("{mode:9}  {name:26}  lan>vpc {up:5.2}  vpc>lan {down:5.2}  lost pings {lost}{calls}");
    Ok(())
}

fn iperf(rig: &Rig, (from, to): (&str, &str), address: &str, seconds: u32) -> Result<f64, Box<dyn Error>> {
    let mut server = rig.command(to, "iperf3").args(["-s", "-1"]).stdout(Stdio::null()).spawn()?;
    std::thread::sleep(Duration::from_millis(300));
    let client = rig
        .command(from, "iperf3")
        .args(["-c", address, "-f", "m", "-t", &seconds.to_string(), "-O", "1"])
        .output()?;
    let text = String::from_utf8_lossy(&client.stdout).into_owned();
    if !client.status.success() {
        server.kill()?;
        return Err(format!("iperf3: {text}{}", String::from_utf8_lossy(&client.stderr)).into());
    }
    server.wait()?;
    let line = text.lines().find(|line| line.contains("receiver")).ok_or("iperf3 reported nothing")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let unit = words.iter().position(|word| *word == "Mbits/sec").ok_or("iperf3 reported no rate")?;
    let rate = unit.checked_sub(1).and_then(|at| words.get(at)).ok_or("iperf3 reported no rate")?;
    Ok(rate.parse::<f64>()? / 1000.0)
}
