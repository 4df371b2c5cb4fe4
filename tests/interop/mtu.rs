//! Packets that are too large: fragmented before encryption or reported to their sender, and TCP never meets them.

use anyhow::{Result, ensure};
use lab::aws_file::Connection;
use lab::strongswan::Settings;
use lab::topology::{Side, VPC_HOST};

use crate::rig::Rig;
use crate::world::World;

/// Three echoes of `size` octets of payload from the LAN host; what `ping` said.
fn ping(world: &World<'_>, size: u32, df: &str) -> String {
    let (size, host) = (size.to_string(), VPC_HOST.to_string());
    let arguments = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", "-M", df, "-s", &size, &host];
    world.lab.lan.run(&arguments).unwrap_or_else(|error| error.to_string())
}

#[test]
fn large_packets_are_fragmented_before_encryption() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    // The default clears DF, as AWS recommends: 1500 octets pass even where the sender forbids fragments.
    for (size, df) in [(1372, "do"), (1472, "dont"), (4000, "dont"), (1472, "do")] {
        let said = ping(&world, size, df);
        ensure!(said.contains(" 0% packet loss"), "{size} octets, DF {df}: {said}");
    }
    Ok(())
}

#[test]
fn a_sender_that_forbids_fragmentation_is_told_the_size_that_fits() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    // Off: a packet with DF is not fragmented but answered.
    world.gateway.edit("name = \"tunnel1\"", "name = \"tunnel1\"\nclear_df = false")?;
    world.gateway.edit("name = \"tunnel2\"", "name = \"tunnel2\"\nclear_df = false")?;
    world.start()?;
    let side = world.egress()?;
    let mtu = world.counter(side, "/mtu")?;
    let said = ping(&world, 1472, "do");
    ensure!(said.contains(&format!("mtu = {mtu}")) || said.contains(&format!("mtu={mtu}")), "{said}");
    Ok(())
}
