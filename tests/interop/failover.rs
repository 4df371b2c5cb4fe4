//! What a user feels: how long LAN to VPC is interrupted, and whether it comes back by itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::topology::{Side, VPC_HOST};
use lab::traffic::{self, Pinger};
use lab::wait;

use crate::rig::Rig;
use crate::world::{BACK, World};

/// Longest interruption after a silent death.
const SILENT_MS: f64 = 3500.0;
/// Longest interruption after an orderly goodbye.
const GOODBYE_MS: f64 = 200.0;

/// How long a path stays cut: beyond the probes' and IKE's patience, and in a soak for a minute.
fn long() -> Duration {
    Duration::from_secs(if Rig::soaking() { 60 } else { 12 })
}

fn stream(world: &World<'_>) -> Result<Pinger> {
    let pinger = Pinger::start(world.lab, &world.lab.lan, VPC_HOST, Duration::from_millis(5))?;
    std::thread::sleep(Duration::from_millis(300));
    Ok(pinger)
}

/// Waits for the egress to leave `side` and for the stream to flow, then reads the interruption.
fn moved(world: &World<'_>, side: Side, pinger: Pinger) -> Result<f64> {
    wait::until(BACK, "the egress to move", || world.gateway.is_egress(side.other()))?;
    traffic::wait_for_echo(&world.lab.lan, VPC_HOST, BACK)?;
    std::thread::sleep(Duration::from_millis(300));
    Ok(pinger.stop()?.longest_outage_ms())
}

#[test]
fn killing_an_endpoint_moves_traffic_within_three_and_a_half_seconds() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::up(&rig.topology)?;
    for trial in 1..=3 {
        let side = world.egress()?;
        let pinger = stream(&world)?;
        world.aws[side.index()].kill();
        let outage = moved(&world, side, pinger)?;
        wait::until(BACK, "the dead tunnel to be noticed", || world.gateway.stage(side) != "up")?;
        world.aws[side.index()].restart()?;
        let back = world.gateway.wait_stage(side, "up", BACK)?;
        println!(
            "trial {trial}: {} killed, traffic moved after {:.2} s, up again {:.2} s after its return",
            side.role(),
            outage / 1000.0,
            back.as_secs_f64()
        );
        ensure!(outage <= SILENT_MS, "{outage:.0} ms");
        world.wait_for_one_pair(side)?;
    }
    Ok(())
}

#[test]
fn an_orderly_delete_moves_traffic_within_a_fifth_of_a_second() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    for trial in 1..=3 {
        let side = world.egress()?;
        let pinger = stream(&world)?;
        world.aws[side.index()].terminate()?;
        traffic::wait_for_echo(&world.lab.lan, VPC_HOST, BACK)?;
        let back = world.gateway.wait_stage(side, "up", BACK)?;
        std::thread::sleep(Duration::from_millis(300));
        let report = pinger.stop()?;
        println!(
            "trial {trial}: {} sent DELETE, {} of {} datagrams lost, {:.0} ms, up again after {:.2} s",
            side.role(),
            report.lost(),
            report.sent,
            report.longest_outage_ms(),
            back.as_secs_f64()
        );
        ensure!(report.longest_outage_ms() <= GOODBYE_MS, "{:?}", report.outages);
    }
    Ok(())
}

#[test]
fn a_path_cut_for_long_mends_by_itself() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let side = world.egress()?;
    let pinger = stream(&world)?;
    world.lab.cut(side)?;
    let outage = moved(&world, side, pinger)?;
    println!("path to {} cut: traffic moved after {:.2} s", side.role(), outage / 1000.0);
    std::thread::sleep(long().saturating_sub(Duration::from_millis(outage as u64)));
    let quiet = Pinger::lan_to_vpc(world.lab)?;
    world.lab.mend()?;
    let back = world.gateway.wait_stage(side, "up", BACK)?;
    std::thread::sleep(Duration::from_millis(500));
    let report = quiet.stop()?;
    println!(
        "mended: up again after {:.2} s, {} datagrams lost meanwhile",
        back.as_secs_f64(),
        report.lost()
    );
    ensure!(outage <= SILENT_MS, "{outage:.0} ms");
    ensure!(report.lost() == 0, "coming back must not hurt: {:?}", report.outages);
    world.wait_for_one_pair(side)
}

#[test]
fn both_paths_cut_for_long_mend_by_themselves() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    world.lab.cut_both()?;
    std::thread::sleep(long());
    for side in Side::BOTH {
        ensure!(world.gateway.stage(side) != "up", "{} cannot be up", side.tunnel());
    }
    ensure!(world.gateway.cli(&["status"])?.status.code() == Some(2), "down is exit status 2");
    world.lab.mend()?;
    let back = world.gateway.wait_all_up(BACK)?;
    traffic::wait_for_echo(&world.lab.lan, VPC_HOST, BACK)?;
    println!("both paths cut for {:?}, both tunnels up {:.2} s after mending", long(), back.as_secs_f64());
    for side in Side::BOTH {
        world.wait_for_one_pair(side)?;
    }
    Ok(())
}

#[test]
fn killing_the_daemon_and_starting_it_again_restores_both_tunnels() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::up(&rig.topology)?;
    let pinger = stream(&world)?;
    world.gateway.kill();
    std::thread::sleep(Duration::from_millis(500));
    let took = world.start()?;
    std::thread::sleep(Duration::from_millis(300));
    let outage = pinger.stop()?.longest_outage_ms();
    println!(
        "cgwd killed and started again half a second later: both tunnels up {:.2} s after the start, traffic \
         interrupted for {:.2} s",
        took.as_secs_f64(),
        outage / 1000.0
    );
    for side in Side::BOTH {
        world.wait_for_one_pair(side)?;
    }
    Ok(())
}

#[test]
fn an_inside_address_or_a_route_that_somebody_removes_is_back_within_a_second() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let gw = &world.lab.gw;
    let there = |what: &[&str], text: &str| gw.run(what).is_ok_and(|printed| printed.contains(text));
    gw.run(&["ip", "address", "del", "169.254.10.2/30", "dev", "cgw0"])?;
    let address = ["ip", "-o", "address", "show", "dev", "cgw0"];
    lab::wait::until(Duration::from_secs(1), "the inside address", || there(&address, "169.254.10.2/30"))?;
    gw.run(&["ip", "route", "flush", "proto", "173"])?;
    let routes = ["ip", "route", "show", "proto", "173"];
    lab::wait::until(Duration::from_secs(1), "the route", || there(&routes, "172.31.0.0/16"))?;
    let events = world.gateway.cli(&["events"])?;
    let events = String::from_utf8_lossy(&events.stdout).into_owned();
    for code in ["HOST-INSIDE-ADDRESS", "ROUTE-REPAIRED"] {
        ensure!(events.contains(code), "{code} in {events}");
    }
    for side in Side::BOTH {
        ensure!(world.gateway.stage(side) == "up", "{} is up", side.tunnel());
    }
    Ok(())
}
