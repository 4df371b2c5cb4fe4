//! Who begins: AWS's startup action `start`, and both at once.

use anyhow::{Result, ensure};
use lab::aws_file::Connection;
use lab::strongswan::Settings;
use lab::topology::{GW_OUTSIDE, Side, VPC_HOST};
use lab::traffic;

use crate::rig::Rig;
use crate::world::{BACK, UP, World};

/// IKE requests (the response bit is clear, RFC 7296 §3.1) from us to port 500: our own attempts.
fn our_attempts() -> String {
    format!("ip saddr {GW_OUTSIDE} udp dport 500 @th,216,8 & 0x20 == 0")
}

#[test]
fn strongswan_as_initiator_brings_both_tunnels_up() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    lab.internet_drops(&[our_attempts()])?;
    let mut world = World::prepare(lab, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    world.gateway.start()?;
    for aws in &mut world.aws {
        aws.initiate()?;
    }
    let took = world.gateway.wait_all_up(BACK)?;
    for side in Side::BOTH {
        let role = world.gateway.tunnel(side)?["ike"]["role"].clone();
        ensure!(role == "responder", "{}: {role}", side.tunnel());
    }
    traffic::wait_for_echo(&lab.lan, VPC_HOST, UP)?;
    println!("strongSwan initiated, both tunnels up after {:.2} s, we are the responder", took.as_secs_f64());
    lab.mend()?;
    Ok(())
}

#[test]
fn both_sides_beginning_at_once_end_with_one_pair() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let starts = |side| Settings { initiates: true, ..Settings::aws(side) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(starts))?;
    let took = world.start()?;
    for side in Side::BOTH {
        world.wait_for_one_pair(side)?;
        ensure!(world.gateway.stage(side) == "up");
    }
    println!("both sides began at once: up after {:.2} s, one pair each", took.as_secs_f64());
    Ok(())
}
