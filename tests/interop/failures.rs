//! What can be wrong at the other end: each gives its code and remedy within 30 s, and the daemon keeps trying.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::aws_file::{Connection, Tunnel};
use lab::endpoint::{Allowed, Encryption, Hash};
use lab::strongswan::Settings;
use lab::topology::Side;
use lab::wait;
use serde_json::Value;

use crate::rig::Rig;
use crate::world::{BACK, NAMED, World};

/// After the fault is mended, the longest back-off and a handshake may pass.
const MENDED: Duration = Duration::from_secs(15);

/// Waits for an error code on a tunnel, in the status and in the events, and prints what a user would read.
fn named(world: &World<'_>, side: Side, code: &str, words: &[&str]) -> Result<()> {
    let mut seen = Value::Null;
    let waited = wait::until(NAMED, &format!("{code} on {}", side.tunnel()), || {
        seen = world.gateway.tunnel(side).map(|tunnel| tunnel["last_error"].clone()).unwrap_or_default();
        seen["code"] == code
    });
    waited.with_context(|| format!("last_error was {seen}\n{}", tail(&world.gateway.log())))?;
    let took = world.gateway.uptime();
    let text = seen["text"].as_str().unwrap_or_default().to_owned();
    println!("{code} {:.1} s after the daemon's start: {text}", took.as_secs_f64());
    ensure!(took <= NAMED, "too late");
    ensure!(seen["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "no remedy in {seen}");
    for word in words {
        ensure!(text.contains(word), "the text does not say {word:?}: {text}");
    }
    let events = world.gateway.events()?;
    let event = events.iter().find(|event| event["code"] == code).context("no such event")?;
    for field in ["time", "tunnel", "text"] {
        ensure!(event[field].is_string(), "{field} in {event}");
    }
    Ok(())
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(30).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Tunnel 2 is healthy beside a faulty tunnel 1.
fn degraded(world: &World<'_>) -> Result<()> {
    world.gateway.wait_stage(Side::Two, "up", BACK)?;
    ensure!(world.gateway.cli(&["status"])?.status.code() == Some(1), "degraded is exit status 1");
    Ok(())
}

/// Brings the right settings back at AWS: the daemon must come up by itself.
fn recovers(world: &mut World<'_>, side: Side) -> Result<()> {
    world.aws[side.index()].load(Settings::aws(side))?;
    let took = world.gateway.wait_stage(side, "up", MENDED)?;
    println!(
        "  mended at AWS: {} up {:.1} s later, with no command given",
        side.tunnel(),
        took.as_secs_f64()
    );
    Ok(())
}

fn with_fault<'a>(rig: &'a Rig, connection: &Connection, fault: Settings) -> Result<World<'a>> {
    let mut world = World::prepare(&rig.topology, connection, [fault, Settings::aws(Side::Two)])?;
    world.gateway.start()?;
    Ok(world)
}

#[test]
fn a_wrong_key_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings { psk: "not_The.right1".to_owned(), ..Settings::aws(Side::One) };
    let mut world = with_fault(&rig, &Connection::lab(), fault)?;
    named(&world, Side::One, "IKE-AUTH-FAILED", &["AUTHENTICATION_FAILED", "key"])?;
    degraded(&world)?;
    recovers(&mut world, Side::One)
}

#[test]
fn swapped_keys_are_recognised_as_swapped() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let swapped = |side: Side| Settings { psk: side.other().psk().to_owned(), ..Settings::aws(side) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(swapped))?;
    world.gateway.start()?;
    for side in Side::BOTH {
        named(&world, side, "IKE-AUTH-PSK-SWAPPED", &["AUTHENTICATION_FAILED", "swapped"])?;
    }
    ensure!(world.gateway.cli(&["status"])?.status.code() == Some(2), "down is exit status 2");
    recovers(&mut world, Side::One)?;
    recovers(&mut world, Side::Two)
}

#[test]
fn no_common_phase_1_proposal_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings { ike_proposals: "aes192-sha256-modp3072".to_owned(), ..Settings::aws(Side::One) };
    let mut world = with_fault(&rig, &Connection::lab(), fault)?;
    named(&world, Side::One, "IKE-NO-PROPOSAL", &["NO_PROPOSAL_CHOSEN"])?;
    degraded(&world)?;
    recovers(&mut world, Side::One)
}

#[test]
fn no_common_phase_2_proposal_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings { esp_proposals: "aes192-sha256".to_owned(), ..Settings::aws(Side::One) };
    let mut world = with_fault(&rig, &Connection::lab(), fault)?;
    named(&world, Side::One, "IPSEC-NO-PROPOSAL", &["NO_PROPOSAL_CHOSEN"])?;
    degraded(&world)?;
    recovers(&mut world, Side::One)
}

#[test]
fn selectors_without_anything_in_common_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings {
        local_ts: "fd99::/64".to_owned(),
        remote_ts: "fd98::/64".to_owned(),
        ..Settings::aws(Side::One)
    };
    let mut world = with_fault(&rig, &Connection::lab(), fault)?;
    named(&world, Side::One, "IPSEC-TS-UNACCEPTABLE", &["TS_UNACCEPTABLE"])?;
    degraded(&world)?;
    recovers(&mut world, Side::One)
}

#[test]
fn a_blocked_udp_4500_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    rig.topology.internet_drops(&[
        format!("ip daddr {} udp dport 4500", Side::One.outside()),
        format!("ip saddr {} udp sport 4500", Side::One.outside()),
    ])?;
    let world = with_fault(&rig, &Connection::lab(), Settings::aws(Side::One))?;
    named(&world, Side::One, "IKE-AUTH-NO-ANSWER", &["4500"])?;
    degraded(&world)?;
    rig.topology.mend()?;
    world.gateway.wait_stage(Side::One, "up", MENDED).map(drop)
}

#[test]
fn a_blocked_udp_500_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    rig.topology.internet_drops(&[format!("ip daddr {} udp dport 500", Side::One.outside())])?;
    let world = with_fault(&rig, &Connection::lab(), Settings::aws(Side::One))?;
    named(&world, Side::One, "IKE-NO-ANSWER", &["500"])?;
    degraded(&world)?;
    rig.topology.mend()?;
    world.gateway.wait_stage(Side::One, "up", MENDED).map(drop)
}

#[test]
fn a_peer_configured_for_ikev1_only_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    // strongSwan without an IKEv2 connection answers NO_PROPOSAL_CHOSEN, whatever is offered: the text must
    // lead to the version all the same.
    let fault = Settings {
        ike_version: 1,
        ike_proposals: "aes256-sha256-modp2048".to_owned(),
        ..Settings::aws(Side::One)
    };
    let mut world = with_fault(&rig, &Connection::lab(), fault)?;
    let mut code = String::new();
    wait::until(NAMED, "an error on tunnel1", || {
        let error =
            world.gateway.tunnel(Side::One).map(|tunnel| tunnel["last_error"].clone()).unwrap_or_default();
        code = error["code"].as_str().unwrap_or_default().to_owned();
        error["text"].as_str().is_some_and(|text| text.contains("IKEv1") || text.contains("ikev2"))
    })?;
    println!("strongSwan with version = 1: {code}");
    degraded(&world)?;
    recovers(&mut world, Side::One)
}

#[test]
fn a_peer_that_begins_with_ikev1_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings {
        ike_version: 1,
        ike_proposals: "aes256-sha256-modp2048".to_owned(),
        initiates: true,
        ..Settings::aws(Side::One)
    };
    let world = with_fault(&rig, &Connection::lab(), fault)?;
    named(&world, Side::One, "IKE-VERSION", &["IKEv1"])
}

#[test]
fn a_peer_that_answers_invalid_major_version_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let old = world.ikev1_only_peer()?;
    world.gateway.start()?;
    named(&world, Side::One, "IKE-VERSION", &["IKEv1"])?;
    degraded(&world)?;
    drop(old);
    world.aws[0].restart()?;
    world.gateway.wait_stage(Side::One, "up", MENDED).map(drop)
}

#[test]
fn weak_algorithms_that_aws_insists_on_are_taken_and_warned_about() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let weak = Allowed { encryption: vec![Encryption::Aes128], integrity: vec![Hash::Sha1], groups: vec![2] };
    let tunnel = |side| Tunnel { phase1: weak.clone(), phase2: weak.clone(), ..Tunnel::lab(side) };
    let connection = Connection { tunnels: Side::BOTH.map(tunnel).to_vec(), ..Connection::lab() };
    let mut world = World::prepare(&rig.topology, &connection, Side::BOTH.map(Settings::aws))?;
    world.start()?;
    let proposal = world.gateway.tunnel(Side::One)?["ike"]["proposal"].clone();
    ensure!(proposal.as_str().is_some_and(|p| p.contains("SHA1")), "{proposal}");
    let events = world.gateway.events()?;
    ensure!(events.iter().any(|event| event["code"] == "IKE-WEAK-ALGORITHM"), "no warning in the events");
    Ok(())
}
