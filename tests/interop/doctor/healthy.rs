//! No false alarm: nothing above info, and exit status 0.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::aws_file::Connection;
use lab::router::Program;
use lab::strongswan::Settings;
use lab::topology::{Families, Side};
use lab::traffic::{Pinger, binary};
use lab::wait;
use serde_json::json;

use super::{aws_file, doctor, named_first, telemetry};
use crate::bgp_world::BgpWorld;
use crate::rig::Rig;
use crate::world::{BACK, World};

#[test]
fn a_healthy_static_pair_has_no_finding_above_info() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    doctor(&world, &[])?.healthy()?;
    // Without --config the running daemon's file is found.
    let output = world.gateway.cli(&["doctor"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && text.starts_with("Healthy"), "{text}");
    println!("{text}");
    // From another network namespace the machine says nothing, and that is no alarm.
    let mut outside = std::process::Command::new(binary("cgwd")?);
    let output = outside.arg("--socket").arg(world.gateway.socket()).args(["doctor", "--json"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && text.contains("HOST-ELSEWHERE"), "{text}");
    let connection = Connection::lab();
    let file = aws_file(&world, &connection, |connection| {
        connection["VgwTelemetry"] = telemetry("UP", 1);
    })?;
    doctor(&world, &["--aws-json", &file])?.healthy()?;
    // Both of AWS's answers in one file, one after the other as two commands print them.
    let active = json!({ "ActiveVpnTunnelStatus": { "Phase1EncryptionAlgorithm": "AES256-GCM-16",
        "Phase2EncryptionAlgorithm": "AES256-GCM-16", "Phase1IntegrityAlgorithm": "SHA2-384",
        "Phase1DHGroup": 20, "Phase2DHGroup": 20, "IkeVersion": "ikev2", "ProvisioningStatus": "available" } });
    let both = format!("{}\n{active}\n", std::fs::read_to_string(&file)?);
    std::fs::write(&file, both)?;
    let said = doctor(&world, &["--aws-json", &file])?;
    said.healthy()?;
    ensure!(said.get("AWS-ACTIVE-DIFFERS").is_none(), "{:?}", said.codes());
    let pinger = Pinger::lan_to_vpc(world.lab)?;
    std::thread::sleep(Duration::from_secs(3));
    pinger.stop()?;
    world.gateway.cli(&["rekey", "child", "tunnel1"])?;
    std::thread::sleep(Duration::from_secs(1));
    doctor(&world, &[])?.healthy()?;
    // What AWS's console would show while ours is up.
    let file = aws_file(&world, &connection, |connection| {
        connection["VgwTelemetry"] = json!([{ "OutsideIpAddress": Side::One.outside(), "Status": "DOWN" }]);
    })?;
    named_first(&world, "AWS-TELEMETRY-DOWN", &["--aws-json", &file]).map(drop)
}

/// Just after the start, when up, a while later, and after a failover that was mended.
fn never_alarmed(world: &mut World<'_>, families: Families) -> Result<()> {
    let wait_up = |world: &World<'_>| world.gateway.wait_all_up(BACK + BACK).map(drop);
    world.gateway.start()?;
    doctor(world, &[])?.healthy()?;
    wait_up(world)?;
    doctor(world, &[])?.healthy()?;
    // Measured and followed in this family too.
    let screen = world.gateway.cli(&["doctor"])?;
    let screen = String::from_utf8_lossy(&screen.stdout).into_owned();
    ensure!(screen.matches("octets pass").count() == 2, "{families}: {screen}");
    let said = doctor(world, &["--to", &families.vpc_host().to_string()])?;
    ensure!(said.get("PATH-COMPLETE").is_some(), "{families}: {:?}", said.codes());
    // strongSwan's interface takes 1400 octets, and IPv6 answers cannot be fragmented there: that is told rightly.
    if !families.inside_ipv6 {
        said.healthy()?;
    }
    let egress = world.egress()?;
    world.lab.cut(egress)?;
    wait::until(BACK, "the traffic to move", || world.gateway.is_egress(egress.other()))?;
    world.lab.mend()?;
    wait_up(world)?;
    wait::until(BACK, "the lost probes to be forgotten", || {
        doctor(world, &[]).is_ok_and(|said| said.healthy().is_ok())
    })?;
    Ok(())
}

#[test]
fn a_healthy_static_pair_is_healthy_in_both_families_from_the_start_and_after_a_failover() -> Result<()> {
    for families in [Families::V4, Families { outside_ipv6: true, inside_ipv6: true }] {
        let Some(rig) = Rig::new() else { return Ok(()) };
        let settings = Side::BOTH.map(|side| Settings::aws_in(side, families));
        let mut world = World::prepare_in(&rig.topology, &Connection::lab_in(families), settings, families)?;
        never_alarmed(&mut world, families)?;
    }
    Ok(())
}

#[test]
fn a_healthy_bgp_pair_is_healthy_in_both_families_from_the_start_and_after_a_failover() -> Result<()> {
    for families in [Families::V4, Families { outside_ipv6: false, inside_ipv6: true }] {
        let Some(rig) = Rig::new() else { return Ok(()) };
        let mut bgp = BgpWorld::prepare_in(&rig.topology, Program::Bird, families, |_, settings| settings)?;
        never_alarmed(&mut bgp.world, families)?;
        if families == Families::V4 {
            let file = aws_file(&bgp.world, &Connection::lab_bgp(), |connection| {
                connection["VgwTelemetry"] = telemetry("UP", 1);
            })?;
            doctor(&bgp.world, &["--aws-json", &file])?.healthy()?;
            // Long enough for what is judged only after a while.
            std::thread::sleep(Duration::from_secs(16));
            doctor(&bgp.world, &[])?.healthy()?;
        }
    }
    Ok(())
}
