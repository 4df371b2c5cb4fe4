//! A hundred thousand first requests from forged addresses and ports against the running daemon.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::aws_file::Connection;
use lab::process::{Process, Spawn};
use lab::strongswan::Settings;
use lab::topology::{GW_OUTSIDE, LAN_HOST, Side, VPC_HOST};
use lab::traffic::{Pinger, Server, binary, wait_for_echo};
use lab::wait;

use crate::rig::Rig;
use crate::world::{BACK, World};

const FLOOD: u64 = 100_000;
/// A second; one core of a small machine is busy with it.
const RATE: u64 = 8_000;
/// How much the flood may add to the daemon's memory; stated in docs/reliability.md.
const MEMORY_BOUND_KIB: u64 = 8 * 1024;
/// 50 a second.
const PING_EVERY: Duration = Duration::from_millis(20);

/// Resident memory of the daemon, KiB.
fn resident(world: &World<'_>) -> Result<u64> {
    let pid = world.gateway.pid().context("no process")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Cookies that the tunnels of both sides demanded, by the metrics.
fn cookies(world: &World<'_>) -> Result<u64> {
    let mut control = UnixStream::connect(world.gateway.socket())?;
    control.set_read_timeout(Some(Duration::from_secs(5)))?;
    control.write_all(b"GET /metrics HTTP/1.1\r\nHost: cgwd\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    control.read_to_string(&mut page)?;
    let lines = page.lines().filter(|line| line.starts_with("cgwd_ike_cookies_total{"));
    let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(counts.sum::<f64>() as u64)
}

#[test]
fn a_flood_of_forged_first_requests_costs_no_packet_little_memory_and_no_new_handshake() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    // Tunnel 2 waits for its peer, whose handshake must get through the flood; tunnel 1 carries the traffic.
    let two = Settings { initiates: true, ..Settings::aws(Side::Two) };
    let mut world = World::prepare(lab, &Connection::lab(), [Settings::aws(Side::One), two])?;
    let name = format!("name = \"{}\"\n", Side::Two.tunnel());
    world.gateway.edit(&name, &format!("{name}startup = \"respond\"\n"))?;
    world.gateway.start()?;
    world.gateway.wait_all_up(BACK * 2)?;
    ensure!(world.gateway.cli(&["drain", Side::Two.tunnel()])?.status.success());
    lab.vpc_return_via(Side::One)?;
    let _server = Server::lan(lab)?;
    wait_for_echo(&lab.lan, VPC_HOST, Duration::from_secs(5))?;
    wait_for_echo(&lab.vpc, LAN_HOST, Duration::from_secs(5))?;
    let pingers = [
        Pinger::start(lab, &lab.lan, VPC_HOST, PING_EVERY)?,
        Pinger::start(lab, &lab.vpc, LAN_HOST, PING_EVERY)?,
    ];
    let before = resident(&world)?;
    let began = Instant::now();
    let mut flood = Process::spawn(&Spawn {
        namespace: &lab.net,
        command: [
            binary("cgwd-lab")?.display().to_string(),
            "flood".to_owned(),
            format!("--count={FLOOD}"),
            format!("--rate={RATE}"),
            GW_OUTSIDE.to_string(),
            Side::One.outside().to_string(),
            Side::Two.outside().to_string(),
        ]
        .to_vec(),
        env: Vec::new(),
        log: lab.scratch().join("flood.log"),
        pipes: false,
    })?;
    wait::until(BACK, "cookies to be demanded", || cookies(&world).is_ok_and(|count| count > 1_000))?;
    // A true peer begins anew in the middle of it; it shows a cookie like everybody.
    world.aws[1].terminate()?;
    let handshake = Instant::now();
    world.aws[1].initiate()?;
    world.gateway.wait_stage(Side::Two, "up", BACK)?;
    let took = handshake.elapsed();
    ensure!(flood.is_running(), "the handshake took longer than the flood");
    wait::until(Duration::from_secs(60), "the flood to end", || !flood.is_running())?;
    let lasted = began.elapsed();
    let (grown, cookies) = (resident(&world)?.saturating_sub(before), cookies(&world)?);
    let sent = std::fs::read_to_string(lab.scratch().join("flood.log"))?;
    println!(
        "flood: {} in {:.1} s; {cookies} cookies; resident memory {before} KiB + {grown} KiB; \
         a handshake in the middle took {:.2} s",
        sent.trim(),
        lasted.as_secs_f64(),
        took.as_secs_f64()
    );
    for (pinger, way) in pingers.into_iter().zip(["LAN to VPC", "VPC to LAN"]) {
        let report = pinger.stop()?;
        println!("{way}: {} pings, {} lost, slowest {:.1} ms", report.sent, report.lost(), report.rtt_max_ms);
        ensure!(report.sent > 200 && report.lost() == 0, "{way}: {:?}", report.outages);
    }
    ensure!(grown <= MEMORY_BOUND_KIB, "{grown} KiB");
    for side in Side::BOTH {
        ensure!(world.gateway.tunnel(side)?["stage"] == "up", "{}", world.gateway.tunnel(side)?);
    }
    world.wait_for_one_pair(Side::One)?;
    Ok(())
}
