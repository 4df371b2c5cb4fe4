//! The stage IKE: phase 1 is refused, met with silence, or ended.

use anyhow::{Context, Result, ensure};
use lab::aws_file::{Connection, Tunnel};
use lab::endpoint::{Allowed, Encryption, Hash};
use lab::strongswan::Settings;
use lab::topology::Side;
use lab::wait;
use serde_json::json;

use super::{aws_file, doctor, faulty, named_first};
use crate::rig::Rig;
use crate::world::{BACK, NAMED, World};

#[test]
fn symptom_01_a_blocked_udp_500_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    rig.topology.internet_drops(&[format!("ip daddr {} udp dport 500", Side::One.outside())])?;
    let world = faulty(&rig, &Connection::lab(), Settings::aws(Side::One))?;
    let said = named_first(&world, "IKE-NO-ANSWER", &[])?;
    let cause = said.findings[0]["cause"].as_str().unwrap_or_default().to_owned();
    ensure!(cause.contains("another endpoint answers"), "{cause}");
    let file = aws_file(&world, &Connection::lab(), |connection| {
        let xml = connection["CustomerGatewayConfiguration"].as_str().unwrap_or_default().to_owned();
        connection["CustomerGatewayConfiguration"] = json!(xml.replace("192.0.2.1<", "192.0.2.77<"));
    })?;
    named_first(&world, "AWS-CUSTOMER-GATEWAY", &["--aws-json", &file])?;
    rig.topology.mend()
}

#[test]
fn symptom_02_a_blocked_udp_4500_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let outside = Side::One.outside();
    rig.topology.internet_drops(&[format!("ip daddr {outside} udp dport 4500")])?;
    let world = faulty(&rig, &Connection::lab(), Settings::aws(Side::One))?;
    named_first(&world, "IKE-AUTH-NO-ANSWER", &[])?;
    rig.topology.mend()
}

#[test]
fn symptom_03_no_common_phase_1_algorithms_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings { ike_proposals: "aes192-sha256-modp3072".to_owned(), ..Settings::aws(Side::One) };
    let world = faulty(&rig, &Connection::lab(), fault)?;
    named_first(&world, "IKE-NO-PROPOSAL", &[])?;
    let file = aws_file(&world, &Connection::lab(), |connection| {
        connection["Options"]["TunnelOptions"][0]["Phase1DHGroupNumbers"] = json!([{ "Value": 24 }]);
    })?;
    named_first(&world, "AWS-IKE-ALGORITHMS", &["--aws-json", &file]).map(drop)
}

#[test]
fn symptom_04_another_group_at_the_first_try_is_nothing_to_complain_about() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let other =
        Settings { ike_proposals: "aes256gcm16-prfsha384-modp2048".to_owned(), ..Settings::aws(Side::One) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), [other, Settings::aws(Side::Two)])?;
    world.gateway.edit("dh_groups = [20]", "dh_groups = [20, 14]")?;
    world.start()?;
    let proposal = world.gateway.tunnel(Side::One)?["ike"]["proposal"].clone();
    ensure!(proposal.as_str().is_some_and(|proposal| proposal.contains("MODP_2048")), "{proposal}");
    doctor(&world, &[])?.healthy()
}

#[test]
fn symptom_05_a_wrong_key_is_named_first_and_the_rest_folded_under_it() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings { psk: "not_The.right1".to_owned(), ..Settings::aws(Side::One) };
    let world = faulty(&rig, &Connection::lab(), fault)?;
    let said = named_first(&world, "IKE-AUTH-FAILED", &[])?;
    ensure!(said.findings[0]["tunnel"] == "tunnel1");
    ensure!(
        said.findings[0]["aws_log"].as_str().is_some_and(|line| line.contains("pre-shared key mismatch"))
    );
    world.gateway.wait_stage(Side::Two, "up", BACK)?;
    let said = named_first(&world, "IKE-AUTH-FAILED", &[])?;
    let lost = said.get("REDUNDANCY-LOST").context("no consequence")?;
    ensure!(lost["because_of"] == "IKE-AUTH-FAILED", "{lost}");
    // AWS's own description tells that the key differs, and nobody's key.
    let other = Connection::lab();
    let file = aws_file(&world, &other, |connection| {
        connection["Options"]["TunnelOptions"][0]["PreSharedKey"] = json!("not_The.right1");
    })?;
    let said = named_first(&world, "AWS-PSK-DIFFERS", &["--aws-json", &file])?;
    let text = format!("{:?}", said.findings);
    ensure!(!text.contains("not_The") && !text.contains("lab_Psk"), "a key was shown");
    let human = world.gateway.cli(&["doctor", "--aws-json", &file])?;
    let text = String::from_utf8_lossy(&human.stdout).into_owned();
    println!("{text}");
    ensure!(text.contains("✗ ike") && text.contains("remedy") && !text.contains("lab_Psk"), "{text}");
    Ok(())
}

#[test]
fn symptom_05_swapped_keys_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let swapped = |side: Side| Settings { psk: side.other().psk().to_owned(), ..Settings::aws(side) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(swapped))?;
    world.gateway.start()?;
    let said = named_first(&world, "IKE-AUTH-PSK-SWAPPED", &[])?;
    ensure!(said.get("REDUNDANCY-NONE").is_some_and(|none| none["because_of"] == "IKE-AUTH-PSK-SWAPPED"));
    Ok(())
}

#[test]
fn symptom_05_identities_that_do_not_fit_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let outside = format!("outside = \"{}\"", Side::One.outside());
    let id = format!("{outside}\nremote_id = \"198.51.100.99\"");
    world.gateway.edit(&outside, &id)?;
    world.gateway.start()?;
    named_first(&world, "IKE-ID-MISMATCH", &[])?;
    world.gateway.stop();
    world.gateway.edit(&id, &format!("{outside}\nlocal_id = \"gateway.example\""))?;
    world.gateway.start()?;
    let said = named_first(&world, "IKE-AUTH-FAILED", &[])?;
    ensure!(said.get("IKE-LOCAL-ID").is_some(), "{:?}", said.codes());
    Ok(())
}

#[test]
fn symptom_07_both_sides_beginning_is_nothing_to_complain_about() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let starts = |side| Settings { initiates: true, ..Settings::aws(side) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(starts))?;
    world.start()?;
    doctor(&world, &[])?.healthy()
}

#[test]
fn symptom_08_a_peer_that_speaks_ikev1_only_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let old = world.ikev1_only_peer()?;
    world.gateway.start()?;
    named_first(&world, "IKE-VERSION", &[])?;
    let file = aws_file(&world, &Connection::lab(), |connection| {
        connection["Options"]["TunnelOptions"][0]["IkeVersions"] = json!([{ "Value": "ikev1" }]);
    })?;
    named_first(&world, "AWS-IKEV1-ONLY", &["--aws-json", &file])?;
    drop(old);
    Ok(())
}

#[test]
fn symptom_13_goodbyes_again_and_again_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    for time in 1..=3 {
        world.aws[0].terminate()?;
        wait::until(BACK, "the goodbye to be told", || {
            let events = world.gateway.events().unwrap_or_default();
            events.iter().filter(|event| event["code"] == "PEER-DELETED").count() >= time
        })?;
        world.gateway.wait_stage(Side::One, "up", BACK)?;
    }
    named_first(&world, "TUN-DELETED-OFTEN", &[]).map(drop)
}

#[test]
fn symptoms_21_31_and_34_a_dead_endpoint_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::up(&rig.topology)?;
    world.aws[0].kill();
    let (first, _) = wait::for_value(NAMED, "the dead endpoint to be named", || {
        let said = doctor(&world, &[]).ok()?;
        let names = ["TUN-PROBE-LOST", "IKE-LIVENESS-LOST", "IKE-NO-ANSWER"];
        names.contains(&said.first()).then(|| said.first().to_owned())
    })?;
    println!("named first as {first}");
    let said = named_first(&world, "IKE-NO-ANSWER", &[])?;
    let lost = said.get("REDUNDANCY-LOST").context("no consequence")?;
    ensure!(lost["because_of"] == "IKE-NO-ANSWER", "{lost}");
    let file = aws_file(&world, &Connection::lab(), |connection| {
        connection["VgwTelemetry"] = json!([{ "OutsideIpAddress": Side::One.outside(), "Status": "UP",
            "StatusMessage": "IPSEC IS UP", "LastStatusChange": "2026-08-01T12:00:00Z" }]);
    })?;
    // Symptom 21: AWS has not noticed yet.
    let said = doctor(&world, &["--aws-json", &file])?;
    ensure!(
        said.get("AWS-TELEMETRY-UP").is_some_and(|up| up["because_of"] == "IKE-NO-ANSWER"),
        "{:?}",
        said.codes()
    );
    Ok(())
}

#[test]
fn symptom_31_two_sides_that_wait_for_each_other_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let outside = format!("outside = \"{}\"", Side::One.outside());
    world.gateway.edit(&outside, &format!("{outside}\nstartup = \"respond\""))?;
    world.gateway.start()?;
    let file = aws_file(&world, &Connection::lab(), |_| {})?;
    named_first(&world, "AWS-NOBODY-BEGINS", &["--aws-json", &file])?;
    named_first(&world, "IKE-CONNECTING", &[]).map(drop)
}

#[test]
fn weak_algorithms_that_aws_chose_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let weak = Allowed { encryption: vec![Encryption::Aes128], integrity: vec![Hash::Sha1], groups: vec![2] };
    let tunnel = |side| Tunnel { phase1: weak.clone(), phase2: weak.clone(), ..Tunnel::lab(side) };
    let connection = Connection { tunnels: Side::BOTH.map(tunnel).to_vec(), ..Connection::lab() };
    let mut world = World::prepare(&rig.topology, &connection, Side::BOTH.map(Settings::aws))?;
    world.start()?;
    named_first(&world, "IKE-WEAK-ALGORITHM", &[]).map(drop)
}

#[test]
fn symptom_06_a_peer_that_wants_a_certificate_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    // The last word on a key of swanctl's sections counts: this peer takes no pre-shared key.
    let extra = "remote {\n auth = pubkey\n}".to_owned();
    let fault = Settings { extra, ..Settings::aws(Side::One) };
    let world = faulty(&rig, &Connection::lab(), fault)?;
    named_first(&world, "IKE-AUTH-FAILED", &[])?;
    let file = aws_file(&world, &Connection::lab(), |connection| {
        connection["Options"]["TunnelOptions"][0]["PreSharedKey"] = json!(null);
    })?;
    let said = named_first(&world, "AWS-NO-KEY", &["--aws-json", &file])?;
    let folded = said.get("IKE-AUTH-FAILED").context("the refusal is not told")?;
    ensure!(folded["because_of"] == "AWS-NO-KEY", "{folded}");
    Ok(())
}
