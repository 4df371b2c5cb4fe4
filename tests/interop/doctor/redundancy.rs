//! How many of the ways to AWS work.

use anyhow::{Context, Result};
use lab::aws_file::Connection;
use lab::strongswan::Settings;
use lab::topology::Side;

use super::named_first;
use crate::rig::Rig;
use crate::world::{UP, World};

#[test]
fn symptom_32_a_goodbye_on_both_tunnels_is_named_as_one_thing() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::up(&rig.topology)?;
    for aws in &mut world.aws {
        aws.terminate()?;
        aws.kill();
    }
    named_first(&world, "AWS-REPROVISIONS", &[]).map(drop)
}

#[test]
fn symptom_35_a_single_tunnel_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    // An import refuses one tunnel; somebody who edits the file can still make one.
    let text = std::fs::read_to_string(world.gateway.config())?;
    let second = text.rfind("[[connection.tunnel]]").context("no second tunnel")?;
    std::fs::write(world.gateway.config(), &text[..second])?;
    world.gateway.start()?;
    world.gateway.wait_stage(Side::One, "up", UP)?;
    named_first(&world, "REDUNDANCY-SINGLE", &[]).map(drop)
}
