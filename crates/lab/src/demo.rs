//! The demo: a whole AWS-like connection on this machine, told step by step.
//!
//! Everything happens in namespaces with addresses for documentation; the machine's own network is not touched.
#![allow(clippy::print_stdout, reason = "the demo talks to a person")]

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::aws_file::Connection;
use crate::embedded::Embedded;
use crate::gateway::Gateway;
use crate::topology::{LAN, LAN_HOST, Side, Topology, VPC, VPC_HOST};
use crate::traffic::{self, Direction, Pinger, Server};
use crate::wait;

/// How long the tunnels may take to come up.
const UP: Duration = Duration::from_secs(10);
/// Size of the demo's download.
const DOWNLOAD: u64 = 50_000_000;

/// What the caller wants beyond the story.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Leave everything up until Return is pressed.
    pub hold: bool,
}

/// Tells the story; everything it made is gone when it returns, however it returns.
///
/// # Errors
/// When a step does not work, with what the daemon logged.
pub fn run(options: Options) -> Result<()> {
    let before = links()?;
    let topology = Topology::new().context("cannot build the lab's network (are you root?)")?;
    let rig = topology.rig().to_owned();
    let told = tell(&topology, options);
    step("Cleaning up");
    drop(topology);
    told?;
    nothing_left(&rig, &before)?;
    say("No namespace, interface, route or process is left behind.");
    Ok(())
}

fn tell(lab: &Topology, options: Options) -> Result<()> {
    step("A LAN, a gateway, an internet, two AWS endpoints and a VPC, in network namespaces");
    picture();
    let mut endpoints = [Embedded::start(lab, Side::One, &[])?, Embedded::start(lab, Side::Two, &[])?];
    let _server = Server::vpc(lab)?;

    step("AWS's configuration file goes in");
    let file = lab.scratch().join("vpn-0123456789abcdef0.txt");
    std::fs::write(&file, Connection::lab().generic_text())?;
    let mut gateway = Gateway::new(lab)?;
    command(&format!("cgwd import --lan {LAN} --vpc {VPC} --output cgwd.toml {}", file_name(&file)));
    indent(&gateway.import(&file, &["--lan", LAN, "--vpc", VPC])?);

    step("Two tunnels come out");
    command("cgwd run --config cgwd.toml");
    let began = Instant::now();
    gateway.start()?;
    gateway.wait_all_up(UP)?;
    say(&format!("both tunnels up {:.2} s after the daemon's start", began.elapsed().as_secs_f64()));
    command("cgwd status");
    indent(&String::from_utf8_lossy(&gateway.cli(&["status"])?.stdout));

    step("A host on the LAN reaches a host in the VPC");
    command(&format!("ping -c 3 {VPC_HOST}        (on {LAN_HOST})"));
    indent(&lab.lan.run(&["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", &VPC_HOST.to_string()])?);
    let report = traffic::transfer(&lab.lan, VPC_HOST, Direction::Download, DOWNLOAD)?;
    say(&format!(
        "a download of {} MB over TCP arrived whole, at {:.0} Mbit/s",
        report.bytes / 1_000_000,
        report.mbit_per_second()
    ));
    if options.hold {
        hold(lab, &gateway)?;
    }
    failover(lab, &gateway, &mut endpoints)?;

    step("The daemon stops");
    if !gateway.stop() {
        bail!("cgwd did not stop on SIGTERM:\n{}", gateway.log());
    }
    let routes = gateway.owned_routes()?;
    if !routes.trim().is_empty() {
        bail!("routes of cgwd are left: {routes}");
    }
    say("its tunnels are deleted at AWS, its routes and interfaces are gone");
    Ok(())
}

fn failover(lab: &Topology, gateway: &Gateway<'_>, endpoints: &mut [Embedded<'_>; 2]) -> Result<()> {
    step("One AWS endpoint dies without a word");
    let active = Side::BOTH.into_iter().find(|&side| gateway.is_egress(side)).context("no egress")?;
    let pinger = Pinger::start(lab, &lab.lan, VPC_HOST, Duration::from_millis(10))?;
    std::thread::sleep(Duration::from_millis(500));
    say(&format!("traffic leaves through {}; its endpoint is killed now (SIGKILL)", active.tunnel()));
    endpoints[active.index()].kill();
    wait::until(UP, "the traffic to move", || gateway.is_egress(active.other()))?;
    traffic::wait_for_echo(&lab.lan, VPC_HOST, UP)?;
    std::thread::sleep(Duration::from_millis(300));
    let report = pinger.stop()?;
    say(&format!(
        "traffic goes through {} after {:.2} s ({} of {} datagrams lost, one every 10 ms)",
        active.other().tunnel(),
        report.longest_outage_ms() / 1000.0,
        report.lost(),
        report.sent
    ));
    wait::until(UP, "the dead tunnel to be noticed", || gateway.stage(active) != "up")?;
    command("cgwd status");
    indent(&String::from_utf8_lossy(&gateway.cli(&["status"])?.stdout));

    step("The endpoint returns");
    endpoints[active.index()].restart()?;
    let took = gateway.wait_stage(active, "up", UP)?;
    say(&format!("{} is up again {:.2} s later, with no command given", active.tunnel(), took.as_secs_f64()));
    command("cgwd events");
    let events = gateway.cli(&["events"])?.stdout;
    let events = String::from_utf8_lossy(&events);
    let last: Vec<&str> = events.lines().rev().take(14).collect();
    indent(&last.into_iter().rev().collect::<Vec<_>>().join("\n"));
    Ok(())
}

fn hold(lab: &Topology, gateway: &Gateway<'_>) -> Result<()> {
    step("Everything is up: look around from another terminal, then press Return here");
    say(&format!("export CGWD_SOCKET={}", gateway.socket().display()));
    say(&format!("ip netns exec {} ping {VPC_HOST}", lab.lan.name()));
    say(&format!("ip netns exec {} ip route", lab.gw.name()));
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// Names of the machine's own interfaces.
fn links() -> Result<Vec<String>> {
    let text = crate::netns::run(std::process::Command::new("ip").args(["-o", "link", "show"]))?;
    Ok(text.lines().filter_map(|line| line.split(": ").nth(1)).map(str::to_owned).collect())
}

fn nothing_left(rig: &str, before: &[String]) -> Result<()> {
    let namespaces = crate::netns::run(std::process::Command::new("ip").args(["netns", "list"]))?;
    let new: Vec<String> =
        links()?.into_iter().filter(|link| link.starts_with("cgw") && !before.contains(link)).collect();
    if namespaces.contains(rig) || !new.is_empty() {
        bail!("something is left behind: interfaces {new:?}, namespaces:\n{namespaces}");
    }
    Ok(())
}

fn picture() {
    let lines = [
        "LAN 10.10.0.0/16                              ┌─ 198.51.100.1 ─┐    VPC 172.31.0.0/16",
        "  10.10.0.2 ── gateway 192.0.2.1 ── internet ──┤                ├── 172.31.0.10",
        "                 (cgwd runs here)              └─ 203.0.113.1 ──┘",
    ];
    lines.iter().for_each(|line| println!("    {line}"));
}

fn paint(code: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn step(title: &str) {
    println!("\n{}", paint("1", &format!("== {title}")));
}

fn command(line: &str) {
    println!("  {}", paint("36", &format!("$ {line}")));
}

fn say(text: &str) {
    println!("  {} {text}", paint("32", "->"));
}

fn indent(text: &str) {
    text.trim_end().lines().for_each(|line| println!("    {line}"));
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
