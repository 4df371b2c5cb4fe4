//! The kernel's routes: repaired, never somebody else's, whole after a kill, and carried on by FRR.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::cleanup::Scratch;
use lab::router::{Program, Router, Settings};
use lab::topology::{LAN_HOST, Side, VPC, VPC_HOST};
use lab::traffic;
use lab::wait;

use crate::bgp_world::{BGP_UP, BgpWorld, prefixes};
use crate::rig::Rig;
use crate::world::{BACK, UP, World};

/// A route taken away must be back this soon.
const REPAIRED: Duration = Duration::from_secs(1);

#[test]
fn a_route_deleted_by_hand_is_back_within_a_second() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    for _ in 0..5 {
        let began = Instant::now();
        rig.topology.gw.ip(&format!("route del {VPC} proto 173"))?;
        wait::until(REPAIRED, "the route to be back", || {
            world.gateway.owned_routes().is_ok_and(|routes| routes.contains(VPC))
        })?;
        println!("route deleted by hand, back within {} ms", began.elapsed().as_millis());
    }
    let events = world.gateway.events()?;
    ensure!(events.iter().any(|event| event["code"] == "ROUTE-REPAIRED"), "{events:#?}");
    Ok(())
}

#[test]
fn thousands_of_flushed_routes_are_back_within_a_second() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut bgp = BgpWorld::prepare(&rig.topology, Program::Bird, |_, settings| settings)?;
    bgp.accept_any()?;
    for router in &mut bgp.routers {
        router.announce(prefixes(5_000))?;
    }
    bgp.fill(5_000)?;
    rig.topology.gw.ip("route flush proto 173")?;
    let began = Instant::now();
    wait::until(REPAIRED, "5,000 routes to be back", || {
        bgp.kernel_routes().is_ok_and(|count| count == 5_000)
    })
    .with_context(|| format!("{:?}", bgp.kernel_routes()))?;
    println!("5,000 routes flushed, back within {} ms", began.elapsed().as_millis());
    Ok(())
}

#[test]
fn a_foreign_route_is_reported_and_never_touched() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let gw = &rig.topology.gw;
    let foreign = format!("{VPC} via 192.0.2.254 dev wan0 proto static metric 50");
    let world = World::up(&rig.topology)?;
    gw.ip(&format!("route add {foreign}"))?;
    let reported = || {
        let events = world.gateway.events().unwrap_or_default();
        events.iter().any(|event| event["code"] == "ROUTE-FOREIGN")
    };
    wait::until(BACK, "the foreign route to be reported", reported)?;
    let all = gw.ip(&format!("route show {VPC}"))?;
    ensure!(all.contains("metric 50") && all.contains("metric 100"), "both stand: {all}");
    gw.ip(&format!("route del {foreign}"))?;
    traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, BACK).map(drop)
}

#[test]
fn a_kill_in_the_middle_of_a_change_leaves_exactly_the_desired_routes_after_the_restart() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut bgp = BgpWorld::prepare(&rig.topology, Program::Bird, |_, settings| settings)?;
    bgp.accept_any()?;
    for router in &mut bgp.routers {
        router.announce(prefixes(5_000))?;
    }
    for pause in [0, 5, 20, 60] {
        bgp.world.gateway.start()?;
        wait::until(BGP_UP, "the first routes", || bgp.kernel_routes().is_ok_and(|count| count > 0))?;
        std::thread::sleep(Duration::from_millis(pause));
        bgp.world.gateway.kill();
    }
    bgp.fill(5_000)?;
    bgp.routers[0].announce(prefixes(10))?;
    bgp.routers[1].announce(prefixes(10))?;
    wait::until(BGP_UP, "ten routes", || bgp.kernel_routes().is_ok_and(|count| count == 10))?;
    bgp.stop()
}

#[test]
fn flaps_of_a_session_leak_nothing() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let (warm_up, flaps) = if Rig::soaking() { (10, 100) } else { (2, 8) };
    let mut bgp = BgpWorld::up(&rig.topology, Program::Bird)?;
    let flap = |bgp: &BgpWorld<'_>| -> Result<()> {
        let router = bgp.router(Side::Two);
        router.cease()?;
        bgp.gateway().wait_stage(Side::Two, "bgp", BGP_UP)?;
        router.resume()?;
        bgp.gateway().wait_stage(Side::Two, "up", BGP_UP).map(drop)
    };
    let pid = bgp.gateway().pid().context("no process")?;
    let used = || -> Result<(usize, u64)> {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok((files, line.trim().trim_end_matches(" kB").parse()?))
    };
    for _ in 0..warm_up {
        flap(&bgp)?;
    }
    let (files, memory) = used()?;
    for _ in 0..flaps {
        flap(&bgp)?;
    }
    // The connection of the last command may take a moment to close.
    let closed =
        wait::until(BGP_UP, "no socket to be left behind", || used().is_ok_and(|now| now.0 <= files));
    let (files_after, memory_after) = used()?;
    println!(
        "{flaps} flaps: {files} files before, {files_after} after; {memory} kB before, {memory_after} after"
    );
    closed.with_context(|| format!("{files} files before, {files_after} after"))?;
    ensure!(memory_after <= memory + 2_048, "no memory is left behind");
    ensure!(bgp.kernel_routes()? == 1, "one route");
    ensure!(bgp.gateway().is_egress(Side::One), "the steady tunnel carries the traffic");
    let updates = bgp.full(Side::One)?["counters"]["updates_out"].as_u64();
    ensure!(updates.is_some_and(|count| count <= 4), "the steady session is not told of it: {updates:?}");
    bgp.stop()
}

#[test]
fn equal_tunnels_share_the_flows_with_multipath_and_one_carries_all_when_the_other_goes() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut bgp = BgpWorld::prepare(&rig.topology, Program::Bird, |_, settings| settings)?;
    bgp.gateway().edit("[connection.bgp]", "[connection.bgp]\nmultipath = true")?;
    bgp.start()?;
    let over = |interface: &str| bgp.gateway().owned_routes().is_ok_and(|routes| routes.contains(interface));
    wait::until(BGP_UP * 2, "a route over both", || over("cgw0") && over("cgw1"))?;
    for side in Side::BOTH {
        ensure!(bgp.gateway().is_egress(side), "{} carries traffic", side.tunnel());
    }
    traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, UP)?;
    bgp.router(Side::One).cease()?;
    wait::until(BGP_UP, "a route over one", || !over("cgw0") && over("cgw1"))?;
    traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, UP).map(drop)
}

/// FRR beside the daemon announces its kernel routes to FRR on a router in the LAN.
#[test]
fn a_lan_router_learns_the_vpc_from_frr_and_loses_it_when_both_tunnels_are_down() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let world = World::up(lab)?;
    let inside: std::net::IpAddr = Ipv4Addr::new(10, 10, 0, 1).into();
    let ours = Settings {
        local_as: 65_010,
        peer_as: 65_020,
        local: inside,
        peer: LAN_HOST,
        router_id: Ipv4Addr::new(10, 10, 0, 1),
        announce: Vec::new(),
        med: None,
        hold: 9,
        max_prefix: 1_000,
        passive: false,
        extra: "redistribute kernel".to_owned(),
    };
    let theirs = Settings {
        local_as: 65_020,
        peer_as: 65_010,
        local: LAN_HOST,
        peer: inside,
        router_id: Ipv4Addr::new(10, 10, 0, 2),
        extra: String::new(),
        ..ours.clone()
    };
    let _ours = Router::start_in(&lab.gw, Scratch::new(lab.rig(), "frr-gw")?, Program::Frr, ours)?;
    let theirs = Router::start_in(&lab.lan, Scratch::new(lab.rig(), "frr-lan")?, Program::Frr, theirs)?;
    let vpc = VPC.parse()?;
    let knows = || theirs.learned().contains(&vpc);
    wait::until(BACK * 2, "the LAN router to learn the VPC", knows).with_context(|| theirs.table())?;
    lab.cut_both()?;
    let took = wait::until(BACK * 2, "the LAN router to forget the VPC", || !knows())?;
    println!("both paths cut: the LAN router lost the VPC after {:.1} s", took.as_secs_f64());
    lab.mend()?;
    world.gateway.wait_all_up(BACK)?;
    let back = wait::until(BACK, "the LAN router to learn the VPC again", knows)?;
    println!("mended: up and learned again, {:.1} s after both tunnels", back.as_secs_f64());
    Ok(())
}
