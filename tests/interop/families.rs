//! IPv4 and IPv6, inside and outside, in all four combinations.

use anyhow::{Context, Result, ensure};
use lab::aws_file::Connection;
use lab::embedded::Embedded;
use lab::gateway::Gateway;
use lab::strongswan::Settings;
use lab::topology::{Families, Side, Topology};
use lab::traffic::{self, Direction, Server};

use crate::rig::Rig;
use crate::world::{UP, World};

const SIZE: u64 = 5_000_000;

/// Both directions, every octet compared; small and large packets pass.
fn carries(lab: &Topology, families: Families, what: &str) -> Result<()> {
    for direction in [Direction::Download, Direction::Upload] {
        let report = traffic::transfer(&lab.lan, families.vpc_host(), direction, SIZE)
            .with_context(|| format!("{families}, {what}, {direction:?}"))?;
        println!("{families}, {what}: {direction:?} intact, {:.0} Mbit/s", report.mbit_per_second());
    }
    Ok(())
}

#[test]
fn every_combination_of_families_works_with_strongswan() -> Result<()> {
    for families in Families::ALL {
        let Some(rig) = Rig::new() else { return Ok(()) };
        let settings = Side::BOTH.map(|side| Settings::aws_in(side, families));
        let connection = Connection::lab_in(families);
        let mut world = World::prepare_in(&rig.topology, &connection, settings, families)?;
        world.start().with_context(|| format!("{families}"))?;
        carries(&rig.topology, families, "UDP")?;
    }
    Ok(())
}

#[test]
fn every_combination_of_families_works_over_protocol_50() -> Result<()> {
    for families in Families::ALL {
        let Some(rig) = Rig::new() else { return Ok(()) };
        let lab = &rig.topology;
        let _aws = [
            Embedded::start_in(lab, Side::One, families, &[])?,
            Embedded::start_in(lab, Side::Two, families, &[])?,
        ];
        let _server = Server::vpc(lab)?;
        let file = lab.scratch().join("describe-vpn-connections.json");
        std::fs::write(&file, Connection::lab_in(families).describe_json().to_string())?;
        let mut gateway = Gateway::new(lab)?;
        gateway.import(&file, &["--raw-esp", "--lan", families.lan(), "--vpc", families.vpc()])?;
        gateway.start()?;
        gateway.wait_all_up(UP).with_context(|| format!("{families}"))?;
        for side in Side::BOTH {
            let child = gateway.tunnel(side)?["child"].clone();
            ensure!(child["encapsulation"] == "esp", "{child}");
        }
        carries(lab, families, "protocol 50")?;
    }
    Ok(())
}
