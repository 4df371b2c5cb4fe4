//! `cgwd capture` as tcpdump and tshark read it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::netns;
use lab::process::{Process, Spawn};
use lab::topology::{LAN_HOST, Side, Topology, VPC_HOST};
use lab::traffic::{Pinger, binary};
use lab::wait;

use crate::rig::Rig;
use crate::world::World;

/// `cgwd capture ARGUMENTS > FILE`, running.
fn capture(world: &World<'_>, arguments: &str, file: &Path) -> Result<Process> {
    let script = format!(
        "exec {} --socket {} capture {arguments} > {}",
        binary("cgwd")?.display(),
        world.gateway.socket().display(),
        file.display()
    );
    shell(world.lab, &script)
}

fn shell(lab: &Topology, script: &str) -> Result<Process> {
    Process::spawn(&Spawn {
        namespace: &lab.gw,
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: Vec::new(),
        log: lab.scratch().join("capture.log"),
        pipes: false,
    })
}

/// What tcpdump reads in a file.
fn tcpdump(file: &Path) -> Result<String> {
    netns::run(Command::new("tcpdump").args(["-n", "-r"]).arg(file))
}

/// Some fields of every packet, as tshark reads them.
fn tshark(file: &Path, fields: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let text = netns::run(&mut command)?;
    Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

fn ended(world: &World<'_>) -> bool {
    let events = world.gateway.events().unwrap_or_default();
    let last = |code: &str| events.iter().rposition(|event| event["code"] == code);
    last("CAPTURE-ENDED") > last("CAPTURE-STARTED")
}

#[test]
fn a_capture_shows_inner_packets_of_both_directions_to_tcpdump_and_tshark() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let lab = world.lab;
    let (egress, file) = (world.egress()?, lab.scratch().join("inner.pcapng"));
    let pinger = Pinger::start(lab, &lab.lan, VPC_HOST, Duration::from_millis(5))?;

    let mut counted = capture(&world, "--count 200", &file)?;
    let status = counted.wait(Duration::from_secs(20)).context("the capture ends at its count")?;
    ensure!(status.success(), "{status}: {}", std::fs::read_to_string(counted.log())?);
    let text = tcpdump(&file)?;
    ensure!(text.lines().count() == 200, "tcpdump reads {} packets", text.lines().count());
    for way in [format!("Out IP {LAN_HOST}."), format!("In  IP {VPC_HOST}.")] {
        ensure!(text.contains(&way), "no {way} in\n{text}");
    }
    let rows = tshark(&file, &["frame.interface_name", "frame.packet_flags_direction", "ip.src", "ip.dst"])?;
    ensure!(rows.len() == 200, "tshark reads {} packets", rows.len());
    let interface = world.gateway.tunnel(egress)?["interface"].as_str().unwrap_or_default().to_owned();
    let (lan, vpc) = (LAN_HOST.to_string(), VPC_HOST.to_string());
    let direction = |row: &[String]| u32::from_str_radix(row[1].trim_start_matches("0x"), 16).ok();
    for row in rows.iter().filter(|row| row[2] == lan || row[2] == vpc) {
        let outbound = row[2] == lan;
        ensure!(direction(row) == Some(if outbound { 2 } else { 1 }), "{row:?}");
        ensure!(!outbound || row[0] == interface, "{row:?} left by {interface}");
    }

    // One tunnel alone; its probes are in it, and Ctrl-C leaves a file that can be read.
    let other = egress.other();
    let mut running = capture(&world, &format!("--tunnel {}", other.tunnel()), &file)?;
    wait::until(Duration::from_secs(10), "a probe in the capture", || {
        tcpdump(&file).is_ok_and(|t| t.contains("ICMP echo"))
    })?;
    let refused = world.gateway.cli(&["capture", "--tunnel", "tunnel1"])?;
    ensure!(refused.status.code() == Some(2), "a second capture: {}", refused.status);
    running.signal("INT");
    let status = running.wait(Duration::from_secs(5)).context("Ctrl-C ends it")?;
    ensure!(status.success(), "{status}");
    for row in tshark(&file, &["ip.src", "ip.dst"])? {
        let inside = other.inside().addr().to_string();
        ensure!(row.contains(&inside), "{row:?} is no packet of {}", other.tunnel());
    }
    wait::until(Duration::from_secs(5), "the daemon to notice", || ended(&world))?;
    let report = pinger.stop()?;
    ensure!(report.lost() == 0, "the capture costs no packet: {:?}", report.outages);
    Ok(())
}

#[test]
fn a_capture_ends_when_its_reader_goes_and_only_root_gets_one() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let (program, socket) = (binary("cgwd")?, world.gateway.socket());
    let read = world.lab.scratch().join("read.txt");
    let script = format!(
        "{} --socket {} capture | tcpdump -n -c 3 -r - > {}",
        program.display(),
        socket.display(),
        read.display()
    );
    let mut pipe = shell(world.lab, &script)?;
    let status =
        pipe.wait(Duration::from_secs(20)).context("tcpdump has seen enough, and the capture ends")?;
    ensure!(status.success(), "{status}: {}", std::fs::read_to_string(pipe.log())?);
    ensure!(std::fs::read_to_string(&read)?.lines().count() == 3);
    wait::until(Duration::from_secs(5), "the daemon to notice", || ended(&world))?;

    // Whoever may reach the socket file is still asked who he is.
    let stranger = world.gateway.cli_as_nobody(&["capture"])?;
    let complaint = String::from_utf8_lossy(&stranger.stderr);
    ensure!(stranger.status.code() == Some(2) && complaint.contains("only root"), "{complaint}");
    ensure!(stranger.stdout.is_empty());
    ensure!(world.gateway.stage(Side::One) == "up");
    Ok(())
}
