//! 100 MB each way, every octet compared, with AES-256-GCM and with AES-128-CBC and SHA2-256.

use anyhow::{Result, ensure};
use lab::aws_file::{Connection, Tunnel};
use lab::endpoint::{Allowed, Encryption, Hash};
use lab::strongswan::Settings;
use lab::topology::{LAN_HOST, Side, VPC_HOST};
use lab::traffic::{self, Direction, Server};

use crate::rig::Rig;
use crate::world::World;

const SIZE: u64 = 100_000_000;

fn only(encryption: Encryption, hash: Hash) -> Connection {
    let allowed = Allowed { encryption: vec![encryption], integrity: vec![hash], groups: vec![19] };
    let tunnel = |side| Tunnel { phase1: allowed.clone(), phase2: allowed.clone(), ..Tunnel::lab(side) };
    Connection { tunnels: Side::BOTH.map(tunnel).to_vec(), ..Connection::lab() }
}

fn moves_whole_files(encryption: Encryption, hash: Hash, proposal: &str) -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let mut world = World::prepare(lab, &only(encryption, hash), Side::BOTH.map(Settings::aws))?;
    world.start()?;
    let side = world.egress()?;
    lab.vpc_return_via(side)?;
    let negotiated = world.gateway.tunnel(side)?["child"]["proposal"].clone();
    ensure!(negotiated.as_str().is_some_and(|p| p.starts_with(proposal)), "negotiated {negotiated}");
    let _lan_server = Server::lan(lab)?;
    for (from, to, direction) in [
        (&lab.lan, VPC_HOST, Direction::Download),
        (&lab.lan, VPC_HOST, Direction::Upload),
        (&lab.vpc, LAN_HOST, Direction::Download),
    ] {
        let report = traffic::transfer(from, to, direction, SIZE)?;
        println!(
            "{proposal}: {direction:?} of {} MB from {to} intact, {:.0} Mbit/s",
            report.bytes / 1_000_000,
            report.mbit_per_second()
        );
    }
    let drops = world.gateway.tunnel(side)?["child"]["drops"].clone();
    ensure!(drops["auth"] == 0 && drops["malformed"] == 0 && drops["no_sa"] == 0, "drops: {drops}");
    Ok(())
}

#[test]
fn a_hundred_megabytes_arrive_intact_each_way_with_aes_256_gcm() -> Result<()> {
    moves_whole_files(Encryption::Aes256Gcm16, Hash::Sha2_384, "AES_GCM_16_256")
}

#[test]
fn a_hundred_megabytes_arrive_intact_each_way_with_aes_128_cbc_and_sha2_256() -> Result<()> {
    moves_whole_files(Encryption::Aes128, Hash::Sha2_256, "AES_CBC_128/HMAC_SHA2_256_128")
}
