//! LAN to VPC interrupted by every kind of failure, measured by a datagram every five milliseconds.
//!
//! The tables run with `CGWD_SOAK=1` only: three trials of each, or `CGWD_TRIALS=50` for the figures of a document. A
//! trial hits whichever tunnel carries the traffic, so both take their turns. What no other test has is in every run
//! too, once and with limits for a slow neighbour.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::router::Program;
use lab::topology::{LAN_HOST, Side, VPC_HOST};
use lab::traffic::pinger::Report;
use lab::traffic::{self, Pinger};
use lab::wait;

use crate::bgp_world::BgpWorld;
use crate::rig::Rig;
use crate::world::{BACK, World};

/// From one datagram to the next.
const EVERY: Duration = Duration::from_millis(5);
/// Longest interruption at the 99th percentile after a silent death.
const SILENT_MS: f64 = 3500.0;
/// Longest interruption after an orderly goodbye.
const GOODBYE_MS: f64 = 100.0;
/// The same where it is looked at once, beside busy neighbours.
const SLOW_GOODBYE_MS: f64 = 500.0;
/// The stream before and after what is measured.
const QUIET: Duration = Duration::from_millis(300);
/// A tunnel has been up for long enough to displace another (rule 5 of the egress).
const SETTLED: Duration = Duration::from_secs(11);

static PHASE: AtomicU64 = AtomicU64::new(0);

fn trials() -> usize {
    std::env::var("CGWD_TRIALS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// What a kind of failure did to the stream, over all its trials.
struct Table {
    name: &'static str,
    outages_ms: Vec<f64>,
    lost: u64,
    sent: u64,
}

impl Table {
    fn new(name: &'static str) -> Self {
        Self { name, outages_ms: Vec::new(), lost: 0, sent: 0 }
    }

    fn add(&mut self, report: &Report) {
        self.outages_ms.push(report.longest_outage_ms());
        self.lost += report.lost();
        self.sent += report.sent;
    }

    /// By the nearest rank.
    fn quantile(&self, per_cent: usize) -> f64 {
        let mut sorted = self.outages_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * per_cent).div_ceil(100).max(1) - 1;
        sorted.get(rank).copied().unwrap_or_default()
    }

    /// Prints the row and holds it against the limit.
    fn judge(&self, limit_ms: f64) -> Result<()> {
        println!(
            "| {} | {} | {:.0} | {:.0} | {:.0} | {} of {} |",
            self.name,
            self.outages_ms.len(),
            self.quantile(50),
            self.quantile(99),
            self.quantile(100),
            self.lost,
            self.sent
        );
        ensure!(self.quantile(99) <= limit_ms, "{}: {:?}", self.name, self.outages_ms);
        Ok(())
    }
}

fn stream(world: &World<'_>) -> Result<Pinger> {
    traffic::wait_for_echo(&world.lab.lan, VPC_HOST, BACK)?;
    let pinger = Pinger::start(world.lab, &world.lab.lan, VPC_HOST, EVERY)?;
    // Failures strike at every phase of the probes' second.
    let phase = PHASE.fetch_add(1, Ordering::Relaxed) * 137 % 1000;
    std::thread::sleep(QUIET + Duration::from_millis(phase));
    Ok(pinger)
}

/// Waits until traffic has left `side` and flows.
fn moved(world: &World<'_>, side: Side) -> Result<()> {
    wait::until(BACK, "the egress to move", || world.gateway.is_egress(side.other()))?;
    traffic::wait_for_echo(&world.lab.lan, VPC_HOST, BACK)?;
    std::thread::sleep(QUIET);
    Ok(())
}

/// What the lab's internet drops: everything to and from an endpoint, or only what is not IKE on port 4500.
fn drops(side: Side, esp_only: bool) -> Vec<String> {
    let address = side.outside();
    ["saddr", "daddr"]
        .into_iter()
        .map(|which| match esp_only {
            // The non-ESP marker: four zero octets after the UDP header.
            true => format!("ip {which} {address} udp dport 4500 udp length > 12 @th,64,32 != 0"),
            false => format!("ip {which} {address}"),
        })
        .collect()
}

/// A black hole in the internet, mended after traffic has moved.
fn black_hole(world: &World<'_>, table: &mut Table, esp_only: bool) -> Result<()> {
    let side = world.egress()?;
    let pinger = stream(world)?;
    world.lab.internet_drops(&drops(side, esp_only))?;
    moved(world, side)?;
    table.add(&pinger.stop()?);
    world.lab.mend()?;
    world.gateway.wait_stage(side, "up", BACK * 2)?;
    Ok(())
}

#[test]
fn a_silent_black_hole_costs_at_most_three_and_a_half_seconds() -> Result<()> {
    let Some(rig) = Rig::soak() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let mut table = Table::new("silent black hole of one tunnel");
    for _ in 0..trials() {
        black_hole(&world, &mut table, false)?;
    }
    table.judge(SILENT_MS)
}

#[test]
fn esp_lost_while_ike_answers_costs_at_most_three_and_a_half_seconds() -> Result<()> {
    let Some(rig) = Rig::soak() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let mut table = Table::new("ESP black hole, IKE answers");
    for _ in 0..trials() {
        black_hole(&world, &mut table, true)?;
    }
    table.judge(SILENT_MS)
}

#[test]
fn a_silent_black_hole_under_bgp_costs_at_most_three_and_a_half_seconds() -> Result<()> {
    let Some(rig) = Rig::soak() else { return Ok(()) };
    let bgp = BgpWorld::up(&rig.topology, Program::Bird)?;
    let mut table = Table::new("silent black hole of one tunnel, BGP");
    for _ in 0..trials() {
        black_hole(&bgp.world, &mut table, false)?;
    }
    table.judge(SILENT_MS)
}

#[test]
fn the_peers_delete_costs_at_most_a_tenth_of_a_second() -> Result<()> {
    let Some(rig) = Rig::soak() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let mut table = Table::new("DELETE from AWS");
    for _ in 0..trials() {
        let side = world.egress()?;
        let pinger = stream(&world)?;
        world.aws[side.index()].terminate()?;
        traffic::wait_for_echo(&world.lab.lan, VPC_HOST, BACK)?;
        world.gateway.wait_stage(side, "up", BACK)?;
        std::thread::sleep(QUIET);
        table.add(&pinger.stop()?);
    }
    table.judge(GOODBYE_MS)
}

#[test]
fn bgp_cease_costs_at_most_a_tenth_of_a_second() -> Result<()> {
    let Some(rig) = Rig::soak() else { return Ok(()) };
    let bgp = BgpWorld::up(&rig.topology, Program::Bird)?;
    let mut table = Table::new("BGP Cease from AWS");
    for _ in 0..trials() {
        let side = bgp.world.egress()?;
        let pinger = stream(&bgp.world)?;
        bgp.router(side).cease()?;
        moved(&bgp.world, side)?;
        table.add(&pinger.stop()?);
        bgp.router(side).resume()?;
        bgp.gateway().wait_stage(side, "up", BACK)?;
    }
    table.judge(GOODBYE_MS)
}

fn drain(world: &World<'_>, table: &mut Table) -> Result<()> {
    let side = world.egress()?;
    let pinger = stream(world)?;
    let run = |verb: &str| -> Result<()> {
        let output = world.gateway.cli(&[verb, side.tunnel()])?;
        ensure!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    run("drain")?;
    moved(world, side)?;
    run("undrain")?;
    std::thread::sleep(QUIET);
    table.add(&pinger.stop()?);
    Ok(())
}

#[test]
fn draining_a_tunnel_loses_nothing() -> Result<()> {
    let Some(rig) = Rig::soak() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let mut table = Table::new("`cgwd drain`, static");
    for _ in 0..trials() {
        drain(&world, &mut table)?;
    }
    table.judge(0.0)
}

#[test]
fn draining_a_tunnel_with_bgp_loses_nothing() -> Result<()> {
    let Some(rig) = Rig::soak() else { return Ok(()) };
    let bgp = BgpWorld::up(&rig.topology, Program::Bird)?;
    let mut table = Table::new("`cgwd drain`, BGP");
    for _ in 0..trials() {
        drain(&bgp.world, &mut table)?;
    }
    table.judge(0.0)
}

/// AWS replaces an endpoint: it lowers the MED of the other tunnel, waits, and takes the first one away.
#[test]
fn maintenance_as_aws_does_it_loses_nothing() -> Result<()> {
    let Some(rig) = Rig::soak() else { return Ok(()) };
    let mut bgp = BgpWorld::up(&rig.topology, Program::Bird)?;
    let mut table = Table::new("AWS maintenance: lower MED on the other tunnel, then DELETE");
    for _ in 0..trials() {
        std::thread::sleep(SETTLED);
        let side = bgp.world.egress()?;
        let pinger = stream(&bgp.world)?;
        bgp.routers[side.other().index()].med(50)?;
        moved(&bgp.world, side).context("after the lower MED")?;
        bgp.world.aws[side.index()].terminate()?;
        bgp.gateway().wait_stage(side, "up", BACK)?;
        std::thread::sleep(QUIET);
        table.add(&pinger.stop()?);
        bgp.routers[side.other().index()].med(100)?;
        bgp.routers[side.index()].med(100)?;
    }
    table.judge(0.0)
}

/// The VPC's packets arrive as soon as AWS sends them by the tunnel that works, whichever we send on: what is counted
/// begins when the far side has moved. MED holds our own direction on tunnel 1.
#[test]
fn what_the_vpc_sends_arrives_as_soon_as_the_far_side_moves() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let (trials, limit) = if Rig::soaking() { (trials(), GOODBYE_MS) } else { (1, SLOW_GOODBYE_MS) };
    let mut bgp = BgpWorld::prepare(lab, Program::Bird, |side, settings| lab::router::Settings {
        med: Some(if side == Side::One { 100 } else { 200 }),
        ..settings
    })?;
    bgp.start()?;
    std::thread::sleep(SETTLED);
    wait::until(BACK, "tunnel1 to carry what we send", || bgp.gateway().is_egress(Side::One))?;
    let _server = traffic::Server::lan(lab)?;
    // AWS does not follow us here.
    lab.vpc.nft("delete chain inet lab out")?;
    let mut table = Table::new("VPC to LAN, after the far side has moved");
    for _ in 0..trials {
        lab.vpc_return_via(Side::Two)?;
        traffic::wait_for_echo(&lab.vpc, LAN_HOST, BACK)?;
        let pinger = Pinger::start(lab, &lab.vpc, LAN_HOST, EVERY)?;
        std::thread::sleep(QUIET);
        lab.cut(Side::Two)?;
        let cut = std::time::Instant::now();
        std::thread::sleep(QUIET * 2);
        let before = cut.elapsed();
        lab.vpc_return_via(Side::One)?;
        std::thread::sleep(QUIET);
        let report = pinger.stop()?;
        let outage = report.longest_outage_ms() - before.as_secs_f64() * 1e3;
        ensure!(outage > 0.0, "the cut was felt: {:?}", report.outages);
        table.outages_ms.push(outage);
        (table.lost, table.sent) = (table.lost + report.lost(), table.sent + report.sent);
        lab.mend()?;
        bgp.gateway().wait_stage(Side::Two, "up", BACK * 3)?;
    }
    table.judge(limit)
}

/// Lean, for every run: ESP lost while IKE answers, three times in a row, and a drain.
#[test]
fn a_tunnel_lost_three_times_is_left_in_seconds_and_then_held_back_with_the_reason() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let mut table = Table::new("`cgwd drain`, once");
    drain(&world, &mut table)?;
    table.judge(SLOW_GOODBYE_MS)?;
    let side = world.egress()?;
    let mut table = Table::new("ESP black hole, IKE answers, once");
    black_hole(&world, &mut table, true)?;
    table.judge(SILENT_MS * 3.0)?;
    for _ in 0..2 {
        rig.topology.internet_drops(&drops(side, true))?;
        wait::until(BACK * 2, "the loss to be noticed", || world.gateway.stage(side) != "up")?;
        rig.topology.mend()?;
        world.gateway.wait_stage(side, "up", BACK * 2)?;
    }
    let routes = || String::from_utf8(world.gateway.cli(&["routes"])?.stdout).context("no text");
    let held = format!("{} has been flapping and is held back for another", side.tunnel());
    wait::until(BACK, "the reason", || routes().is_ok_and(|text| text.contains(&held)))
        .with_context(|| routes().unwrap_or_default())?;
    println!("{}", routes()?);
    ensure!(world.gateway.is_egress(side.other()), "the steady one carries the traffic");
    Ok(())
}

/// `CGWD_DEAD_SECONDS=600` for the ten minutes of the document.
#[test]
fn both_tunnels_dead_for_long_come_back_by_themselves_with_one_pair_each() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let seconds = std::env::var("CGWD_DEAD_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds = seconds.unwrap_or(if Rig::soaking() { 45 } else { 10 });
    let bgp = BgpWorld::up(&rig.topology, Program::Bird)?;
    rig.topology.cut_both()?;
    std::thread::sleep(Duration::from_secs(seconds));
    for side in Side::BOTH {
        ensure!(bgp.gateway().stage(side) != "up", "{} cannot be up", side.tunnel());
    }
    ensure!(bgp.kernel_routes()? == 0, "no route leads into dead tunnels");
    rig.topology.mend()?;
    let back = bgp.gateway().wait_all_up(BACK)?;
    traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, BACK)?;
    println!("both tunnels dead for {seconds} s, up with BGP {:.1} s after mending", back.as_secs_f64());
    for side in Side::BOTH {
        bgp.world.wait_for_one_pair(side)?;
    }
    Ok(())
}
