//! This machine, its routes and its configuration file, with the daemon up, down, and never started.

use anyhow::{Context, Result, ensure};
use lab::aws_file::Connection;
use lab::strongswan::{Settings, StrongSwan};
use lab::topology::Side;
use lab::wait;
use serde_json::json;

use super::{aws_file, doctor, named_first};
use crate::rig::Rig;
use crate::world::{BACK, NAMED, UP, World};

#[test]
fn symptoms_01_and_16_faults_of_the_host_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let gw = &rig.topology.gw;
    // Symptom 16: another interface in the tunnel's inside network.
    gw.ip("addr add 169.254.10.2/30 dev wan0")?;
    named_first(&world, "HOST-ADDRESS-CLASH", &[])?;
    gw.ip("addr del 169.254.10.2/30 dev wan0")?;
    // Symptom 1: no way to the outside address.
    gw.ip("route del default via 192.0.2.254")?;
    let said = named_first(&world, "UND-NO-ROUTE", &[])?;
    ensure!(said.findings.iter().filter(|finding| finding["code"] == "UND-NO-ROUTE").count() == 2);
    gw.ip("route add default via 192.0.2.254")?;
    wait::until(NAMED, "both tunnels to return", || doctor(&world, &[]).is_ok_and(|said| said.status == 0))
        .map(drop)
}

#[test]
fn before_the_daemon_runs_the_host_and_the_file_are_looked_at() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let said = named_first(&world, "HOST-NO-DAEMON", &[])?;
    println!("{:?}", said.codes());
    // Symptom 1: another IKE daemon has the ports.
    let directory = rig.topology.scratch().join("strongswan-gw");
    let other = StrongSwan::start_in(&rig.topology.gw, directory, Settings::aws(Side::One))?;
    let said = named_first(&world, "HOST-PORT-TAKEN", &[])?;
    ensure!(
        said.findings[0]["cause"].as_str().is_some_and(|cause| cause.contains("charon")),
        "{:?}",
        said.codes()
    );
    drop(other);
    let config = std::fs::read_to_string(world.gateway.config())?;
    std::fs::write(world.gateway.config(), config.replace("routing = \"static\"", "routing = \"rip\""))?;
    let said = named_first(&world, "CONFIG-INVALID", &[])?;
    ensure!(said.get("HOST-NO-DAEMON").is_some_and(|down| down["because_of"] == "CONFIG-INVALID"));
    std::fs::remove_file(world.gateway.config())?;
    named_first(&world, "CONFIG-ABSENT", &[])?;
    let output = world.gateway.cli(&["doctor", "--aws-json", "/nonexistent"])?;
    ensure!(output.status.code() == Some(2), "could not look is exit status 2");
    Ok(())
}

#[test]
fn a_gateway_that_does_not_forward_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let config = std::fs::read_to_string(world.gateway.config())?;
    std::fs::write(world.gateway.config(), format!("{config}\n[host]\nip_forward = \"report\"\n"))?;
    rig.topology.gw.sysctl(&[("net/ipv4/ip_forward", "0")])?;
    world.gateway.start()?;
    world.gateway.wait_all_up(UP)?;
    named_first(&world, "HOST-FORWARDING-OFF", &[])?;
    rig.topology.gw.sysctl(&[("net/ipv4/ip_forward", "1")])?;
    doctor(&world, &[])?.healthy()
}

#[test]
fn symptom_18_a_strict_reverse_path_filter_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    rig.topology.gw.sysctl(&[("net/ipv4/conf/all/rp_filter", "1")])?;
    // The interface's own value is loose, and the larger one counts.
    doctor(&world, &[])?.healthy()?;
    rig.topology.gw.sysctl(&[("net/ipv4/conf/cgw0/rp_filter", "1")])?;
    named_first(&world, "HOST-RP-FILTER", &[]).map(drop)
}

#[test]
fn routes_and_rules_that_lead_elsewhere_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let gw = &rig.topology.gw;
    gw.ip("route add 172.31.0.0/16 via 192.0.2.254 metric 1")?;
    named_first(&world, "ROUTE-FOREIGN", &[])?;
    gw.ip("route del 172.31.0.0/16 via 192.0.2.254 metric 1")?;
    gw.ip("route add default via 192.0.2.254 table 77")?;
    gw.ip("rule add to 172.31.0.0/16 lookup 77 priority 50")?;
    named_first(&world, "ROUTE-NOT-USED", &[])?;
    gw.ip("rule del to 172.31.0.0/16 lookup 77 priority 50")?;
    // A route deleted by somebody is set again before anybody can ask.
    gw.ip("route flush proto 186")?;
    let mended =
        wait::until(BACK, "the route to be back", || doctor(&world, &[]).is_ok_and(|said| said.status == 0));
    mended.map(drop)
}

#[test]
fn a_daemon_that_died_is_named_first_whatever_else_is_asked() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::up(&rig.topology)?;
    world.gateway.kill();
    named_first(&world, "HOST-NO-DAEMON", &[])?;
    let file = aws_file(&world, &Connection::lab(), |connection| connection["Routes"] = json!([]))?;
    let said = named_first(&world, "HOST-NO-DAEMON", &["--aws-json", &file, "--to", "172.31.0.10"])?;
    let way = said.get("PATH-NOT-ROUTED").context("the way is not told")?;
    ensure!(way["because_of"] == "HOST-NO-DAEMON", "{way}");
    ensure!(said.get("AWS-STATIC-ROUTE-MISSING").is_some(), "AWS's view needs no daemon: {:?}", said.codes());
    Ok(())
}
