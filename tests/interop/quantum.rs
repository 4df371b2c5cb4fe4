//! Against quantum computers: ML-KEM between two of ours over the wire, through a way that takes 576 octets.

use anyhow::{Context as _, Result, ensure};
use lab::aws_file::Connection;
use lab::embedded::Embedded;
use lab::gateway::Gateway;
use lab::topology::{LAN, Side, Topology, VPC};
use lab::traffic::{Pinger, Server};
use lab::wait;

use crate::rig::Rig;
use crate::world::{BACK, UP};

/// A gateway whose file has `lines` in every tunnel's phase 1 and 2.
fn gateway<'t>(lab: &'t Topology, lines: &str) -> Result<Gateway<'t>> {
    let file = lab.scratch().join("aws.txt");
    std::fs::write(&file, Connection::lab().generic_text())?;
    let mut gateway = Gateway::new(lab)?;
    gateway.import(&file, &["--lan", LAN, "--vpc", VPC])?;
    for section in ["[connection.tunnel.ike]\n", "[connection.tunnel.esp]\n"] {
        gateway.edit(section, &format!("{section}{lines}"))?;
    }
    gateway.start()?;
    Ok(gateway)
}

fn proposal(gateway: &Gateway<'_>, side: Side, of: &str) -> Result<String> {
    let tunnel = gateway.tunnel(side)?;
    Ok(tunnel[of]["proposal"].as_str().context("a proposal")?.to_owned())
}

#[test]
fn ml_kem_between_two_of_ours_survives_a_narrow_way_and_rekeys_lose_nothing() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    // Tunnel 1 with one further key exchange, tunnel 2 with two; ML-KEM alone fills more than 576 octets.
    let kem = [vec!["--kem", "ML-KEM-768"], vec!["--kem", "ML-KEM-768"]];
    let _aws = [Embedded::start(lab, Side::One, &kem[0])?, Embedded::start(lab, Side::Two, &kem[1])?];
    let _server = Server::vpc(lab)?;
    lab.internet_drops(&["udp dport 4500 udp length > 700".to_owned()])?;
    let gateway = gateway(lab, "additional_key_exchanges = [\"ML-KEM-768\"]\n")?;
    let took = gateway.wait_all_up(BACK)?;
    for side in Side::BOTH {
        let ike = proposal(&gateway, side, "ike")?;
        ensure!(ike.ends_with("/ML_KEM_768"), "status shows it: {ike}");
    }
    println!("hybrid tunnels up after {:.2} s through a way that drops what is longer", took.as_secs_f64());
    let pinger = Pinger::lan_to_vpc(lab)?;
    for (what, pointer) in [("child", "/child/rekeys"), ("ike", "/ike/rekeys"), ("child", "/child/rekeys")] {
        for side in Side::BOTH {
            let count = || gateway.tunnel(side).ok().and_then(|t| t.pointer(pointer)?.as_u64());
            let before = count();
            let output = gateway.cli(&["rekey", what, side.tunnel()])?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            wait::until(BACK, what, || count() > before)?;
        }
    }
    let report = pinger.stop()?;
    ensure!(report.lost() == 0, "{:?}", report.outages);
    let child = proposal(&gateway, Side::One, "child")?;
    ensure!(child.ends_with("/ML_KEM_768"), "{child}");
    Ok(())
}

#[test]
fn a_peer_without_ml_kem_is_taken_where_the_file_allows_it() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let _aws = [Embedded::start(lab, Side::One, &[])?, Embedded::start(lab, Side::Two, &[])?];
    let gateway = gateway(lab, "additional_key_exchanges = [\"ML-KEM-768\", \"none\"]\n")?;
    gateway.wait_all_up(UP)?;
    let ike = proposal(&gateway, Side::One, "ike")?;
    ensure!(!ike.contains("ML_KEM"), "{ike}");
    Ok(())
}
