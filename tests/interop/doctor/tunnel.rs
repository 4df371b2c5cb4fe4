//! The way below the tunnel and the tunnel itself: too narrow, lossy, idle, behind a NAT that forgets.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::aws_file::Connection;
use lab::strongswan::Settings;
use lab::topology::{Side, Topology};
use lab::wait;

use super::{doctor, named_first};
use crate::rig::Rig;
use crate::world::{BACK, World};

#[test]
fn symptom_19_a_way_that_is_too_narrow_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    rig.topology.gw.ip("link set wan0 mtu 1400")?;
    named_first(&world, "UND-MTU", &[]).map(drop)
}

#[test]
fn symptom_30_a_tunnel_that_nothing_keeps_busy_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let text = std::fs::read_to_string(world.gateway.config())?;
    let bare: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("inside = ")).collect();
    std::fs::write(world.gateway.config(), bare.join("\n"))?;
    world.gateway.start()?;
    world.gateway.wait_all_up(BACK)?;
    named_first(&world, "TUN-NO-PROBE", &[]).map(drop)
}

#[test]
fn symptom_34_losses_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    // By chance: every fifth packet could always be the doctor's own.
    rig.topology.internet_drops(&[format!(
        "ip saddr {} udp sport 4500 @th,64,32 != 0 numgen random mod 100 < 15",
        Side::One.outside()
    )])?;
    let named = wait::until(Duration::from_secs(120), "TUN-LOSS first", || {
        doctor(&world, &[]).is_ok_and(|said| said.first() == "TUN-LOSS" && said.status == 1)
    });
    named.with_context(|| format!("{:?}", doctor(&world, &[]).map(|said| said.codes()))).map(drop)
}

/// Puts a NAT before the gateway: a private address outside, and the public one on the router.
fn behind_nat(lab: &Topology) -> Result<()> {
    lab.net.ip_batch(&[
        "addr add 192.168.77.1/24 dev gw0".to_owned(),
        "addr del 192.0.2.254/24 dev gw0".to_owned(),
        "addr add 192.0.2.1/32 dev lo".to_owned(),
    ])?;
    lab.gw.ip_batch(&[
        "addr add 192.168.77.2/24 dev wan0".to_owned(),
        "addr del 192.0.2.1/24 dev wan0".to_owned(),
        "route replace default via 192.168.77.1".to_owned(),
    ])?;
    lab.net.nft(
        "table ip nat {\nchain post {\ntype nat hook postrouting priority 100\nip saddr 192.168.77.2 snat to \
         192.0.2.1\n}\n}\n",
    )
}

#[test]
fn symptom_33_a_nat_that_forgets_at_a_regular_pace_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    behind_nat(lab)?;
    let mut world = World::prepare(lab, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    world.start()?;
    let said = doctor(&world, &[])?;
    said.healthy()?;
    ensure!(said.get("UND-NAT").is_some(), "the NAT is told: {:?}", said.codes());
    // What the NAT does not know any more does not come back in, until it is used again.
    let began = Instant::now();
    for time in 0..3_u32 {
        let due = Duration::from_secs(20) * time;
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        lab.cut(Side::One)?;
        wait::until(BACK, "the tunnel to go down", || world.gateway.stage(Side::One) != "up")?;
        lab.mend()?;
        world.gateway.wait_stage(Side::One, "up", BACK + BACK)?;
    }
    let said = named_first(&world, "UND-NAT-TIMEOUT", &[])?;
    ensure!(said.findings[0]["tunnel"] == "tunnel1", "{:?}", said.codes());
    Ok(())
}

/// A link of 1400 octets between the internet and one endpoint.
fn narrow(lab: &Topology, side: Side) -> Result<()> {
    lab.net.ip(&format!("link set {} mtu 1400", side.role()))?;
    lab.aws(side).ip("link set wan0 mtu 1400")?;
    Ok(())
}

#[test]
fn symptom_19_a_narrow_way_whose_routers_say_so_is_followed() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let lab = &rig.topology;
    narrow(lab, Side::One)?;
    let said = doctor(&world, &[])?;
    said.healthy()?;
    let lowered = said.get("TUN-MTU-LOWERED").with_context(|| format!("{:?}", said.codes()))?;
    println!("{}", lowered["cause"]);
    ensure!(lowered["tunnel"] == "tunnel1", "{lowered}");
    // What the doctor promises for packets of this size, holds.
    ensure!(world.counter(Side::One, "/mtu")? < 1400);
    Ok(())
}

#[test]
fn symptom_19_a_narrow_way_whose_routers_are_silent_is_named_with_its_size() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::up(&rig.topology)?;
    let lab = &rig.topology;
    narrow(lab, Side::One)?;
    // The router's ICMP is filtered, in both directions.
    lab.net.nft(
        "table inet mute {\nchain out {\ntype filter hook output priority 0\nicmp type destination-unreachable \
         drop\n}\n}\n",
    )?;
    let began = Instant::now();
    let said = named_first(&world, "TUN-MTU", &[])?;
    println!("named after {:.1} s: {}", began.elapsed().as_secs_f64(), said.findings[0]["remedy"]);
    let first = &said.findings[0];
    ensure!(first["tunnel"] == "tunnel1" && first["severity"] == "warning", "{first}");
    let cause = first["cause"].as_str().unwrap_or_default().to_owned();
    ensure!(cause.contains("at most 1400 octets"), "{cause}");
    // The remedy is right: with it everything passes, and nothing is found any more.
    let remedy = first["remedy"].as_str().unwrap_or_default().to_owned();
    let words: Vec<&str> = remedy.split_whitespace().take(5).collect();
    let line = words.iter().position(|word| *word == "=").and_then(|at| words.get(at + 1)).copied();
    let path_mtu: u16 = line.context("no number")?.parse()?;
    ensure!((1385..=1400).contains(&path_mtu), "path_mtu = {path_mtu}");
    world.gateway.stop();
    let outside = format!("outside = \"{}\"", Side::One.outside());
    world.gateway.edit(&outside, &format!("{outside}\npath_mtu = {path_mtu}"))?;
    world.gateway.start()?;
    world.gateway.wait_all_up(BACK)?;
    doctor(&world, &[])?.healthy()
}

#[test]
fn a_firewall_that_drops_the_tunnels_large_packets_is_told_from_a_narrow_way() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    rig.topology.internet_drops(&["udp sport 4500 udp length > 1200".to_owned()])?;
    let said = named_first(&world, "TUN-MTU", &[])?;
    let cause = said.findings[0]["cause"].as_str().unwrap_or_default().to_owned();
    ensure!(cause.contains("the way is wide enough"), "{cause}");
    rig.topology.mend()
}
