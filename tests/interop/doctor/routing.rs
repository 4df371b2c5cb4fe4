//! Routes, BGP with a real router behind each tunnel, and packets that do not come back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::aws_file::Connection;
use lab::process::{Process, Spawn};
use lab::router::{self, Program};
use lab::strongswan::Settings;
use lab::topology::{LAN, Side, VPC_HOST};
use lab::traffic::{self, Pinger};
use serde_json::json;

use super::{aws_file, doctor, named_first, telemetry};
use crate::bgp_world::BgpWorld;
use crate::rig::Rig;
use crate::world::{BACK, UP, World};

#[test]
fn symptoms_17_and_20_packets_that_do_not_come_back_are_named_with_what_to_check_at_aws() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    // Nothing in the VPC answers: a security group, or no way back.
    lab.vpc.nft(&format!(
        "table inet shut {{\nchain in {{\ntype filter hook input priority 0\nip saddr {LAN} drop\n}}\n}}\n"
    ))?;
    let mut world = World::prepare(lab, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    world.gateway.start()?;
    world.gateway.wait_all_up(UP)?;
    doctor(&world, &[])?.healthy()?;
    // Datagrams that nobody answers are no fault, whatever the counters say.
    let pinger = Pinger::start(lab, &lab.lan, VPC_HOST, Duration::from_millis(20))?;
    std::thread::sleep(Duration::from_secs(2));
    let said = doctor(&world, &[])?;
    said.healthy()?;
    pinger.stop()?;
    // Echo requests that nobody answers are.
    let _ping = Process::spawn(&Spawn {
        namespace: &lab.lan,
        command: ["ping", "-n", "-i", "0.2", &VPC_HOST.to_string()].map(str::to_owned).to_vec(),
        env: Vec::new(),
        log: lab.scratch().join("ping.log"),
        pipes: false,
    })?;
    let said = named_first(&world, "VPC-NO-RETURN", &[])?;
    ensure!(
        said.findings[0]["remedy"].as_str().is_some_and(|remedy| remedy.contains("describe-security-groups"))
            && said.findings[0]["cause"]
                .as_str()
                .is_some_and(|cause| cause.contains("10.10.0.2 to 172.31.0.10")),
        "{:?}",
        said.findings[0]
    );
    let file = aws_file(&world, &Connection::lab(), |connection| connection["Routes"] = json!([]))?;
    named_first(&world, "AWS-STATIC-ROUTE-MISSING", &["--aws-json", &file])?;
    lab.vpc.nft("delete table inet shut")?;
    traffic::wait_for_echo(&lab.lan, VPC_HOST, BACK)?;
    doctor(&world, &[])?.healthy()
}

#[test]
fn symptoms_22_and_29_a_session_that_nobody_answers_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    // Both SAs come up, the inside address answers, and nobody speaks BGP there.
    let mut world = World::prepare(&rig.topology, &Connection::lab_bgp(), Side::BOTH.map(Settings::aws))?;
    world.gateway.start()?;
    for side in Side::BOTH {
        world.gateway.wait_stage(side, "bgp", BACK)?;
    }
    let said = named_first(&world, "BGP-NOT-ESTABLISHED", &[])?;
    let console = said.get("BGP-CONSOLE-DOWN").context("the console is not explained")?;
    ensure!(console["because_of"] == "BGP-NOT-ESTABLISHED" && console["severity"] == "info", "{console}");
    let file = aws_file(&world, &Connection::lab_bgp(), |connection| {
        connection["Options"]["StaticRoutesOnly"] = json!(true);
    })?;
    let said = doctor(&world, &["--aws-json", &file])?;
    ensure!(said.get("AWS-ROUTING-TYPE").is_some(), "{:?}", said.codes());
    Ok(())
}

#[test]
fn symptom_27_equal_as_numbers_are_named_before_anything_starts() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::prepare(&rig.topology, &Connection::lab_bgp(), Side::BOTH.map(Settings::aws))?;
    world.gateway.edit("remote_asn = 64512", "remote_asn = 65000")?;
    let said = named_first(&world, "CONFIG-INVALID", &[])?;
    ensure!(said.findings[0]["cause"].as_str().is_some_and(|cause| cause.contains("CFG-ASN")));
    Ok(())
}

/// Changes what the BGP daemons are told, and waits for neither session.
fn with_routers<'r>(
    rig: &'r Rig,
    change: impl Fn(Side, router::Settings) -> router::Settings,
) -> Result<BgpWorld<'r>> {
    BgpWorld::prepare(&rig.topology, Program::Bird, change)
}

#[test]
fn symptom_23_another_as_number_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut bgp = with_routers(&rig, |_, settings| settings)?;
    bgp.gateway().edit("local_asn = 65000", "local_asn = 65001")?;
    bgp.world.gateway.start()?;
    named_first(&bgp.world, "BGP-BAD-AS", &[])?;
    let file = aws_file(&bgp.world, &Connection::lab_bgp(), |_| {})?;
    named_first(&bgp.world, "AWS-ASN-DIFFERS", &["--aws-json", &file]).map(drop)
}

#[test]
fn symptom_24_more_prefixes_than_the_peer_takes_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut bgp = with_routers(&rig, |_, settings| router::Settings { max_prefix: 1, ..settings })?;
    bgp.advertise(&["10.10.0.0/16".parse()?, "10.11.0.0/16".parse()?])?;
    bgp.world.gateway.start()?;
    named_first(&bgp.world, "BGP-PREFIX-LIMIT", &[]).map(drop)
}

#[test]
fn symptom_25_a_neighbour_that_falls_silent_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut bgp = with_routers(&rig, |_, settings| router::Settings { hold: 9, ..settings })?;
    bgp.start()?;
    // Nothing of the session comes through, the probes do.
    bgp.router(Side::One).freeze(true);
    let said = named_first(&bgp.world, "BGP-HOLD-EXPIRED", &[])?;
    bgp.router(Side::One).freeze(false);
    ensure!(said.findings[0]["tunnel"] == "tunnel1", "{:?}", said.codes());
    Ok(())
}

#[test]
fn symptom_26_a_session_without_prefixes_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut bgp = with_routers(&rig, |_, settings| router::Settings { announce: Vec::new(), ..settings })?;
    bgp.world.gateway.start()?;
    named_first(&bgp.world, "BGP-NO-PREFIXES", &[]).map(drop)
}

#[test]
fn symptom_28_prefixes_that_aws_denies_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let bgp = BgpWorld::up(&rig.topology, Program::Bird)?;
    let file = aws_file(&bgp.world, &Connection::lab_bgp(), |connection| {
        connection["VgwTelemetry"] = telemetry("UP", 0);
    })?;
    named_first(&bgp.world, "AWS-NOTHING-ACCEPTED", &["--aws-json", &file]).map(drop)
}

#[test]
fn symptom_36_a_preference_that_defeats_awss_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    // AWS prefers tunnel 2 before a maintenance of tunnel 1, and somebody preferred tunnel 1 by hand.
    let med = |side| Some(if side == Side::One { 200 } else { 100 });
    let mut bgp = with_routers(&rig, |side, settings| router::Settings { med: med(side), ..settings })?;
    let outside = format!("outside = \"{}\"", Side::One.outside());
    bgp.gateway().edit(&outside, &format!("{outside}\nlocal_preference = 200"))?;
    bgp.start()?;
    let said = named_first(&bgp.world, "BGP-STEERING", &[])?;
    ensure!(said.findings[0]["tunnel"] == "tunnel1", "{:?}", said.codes());
    Ok(())
}
