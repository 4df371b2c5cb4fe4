//! Against quantum computers: ML-KEM and a PPK between two of ours over the wire, through a way that takes 576 octets and
//! loses much of IKE; a PPK with strongSwan.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::aws_file::Connection;
use lab::embedded::Embedded;
use lab::gateway::Gateway;
use lab::strongswan::{Ppk, Settings};
use lab::topology::{LAN, Side, Topology, VPC};
use lab::traffic::{Pinger, Server};
use lab::wait;

use crate::rig::Rig;
use crate::world::{BACK, NAMED, UP, World};

/// What no test of ours may ever meet by chance.
const PPK: &str = "0x6c61622d6f6e6c792d2d6c61622d6f6e6c792d2d6c61622d6f6e6c792d2d3132";
/// The same, as the octets that it stands for.
const PPK_TEXT: &str = "lab-only--lab-only--lab-only--12";
/// IKE on the NAT-T port: the four zero octets that ESP cannot begin with (RFC 3948).
const LOSSY_IKE: &str = "udp dport 4500 @th,64,32 0x0 numgen random mod 100 < 15";
/// A handshake of some ten datagrams at 15 per cent loss, on a busy machine.
const LOSSY_UP: Duration = Duration::from_secs(60);

/// A gateway whose file has `lines` in every tunnel's phase 1 and 2; not started.
fn prepare<'t>(lab: &'t Topology, lines: &str) -> Result<Gateway<'t>> {
    let file = lab.scratch().join("aws.txt");
    std::fs::write(&file, Connection::lab().generic_text())?;
    let gateway = Gateway::new(lab)?;
    gateway.import(&file, &["--lan", LAN, "--vpc", VPC])?;
    for section in ["[connection.tunnel.ike]\n", "[connection.tunnel.esp]\n"] {
        gateway.edit(section, &format!("{section}{lines}"))?;
    }
    Ok(gateway)
}

/// Gives the tunnel of one side a PPK.
fn with_ppk(gateway: &Gateway<'_>, side: Side, key: &str, required: bool) -> Result<()> {
    let name = format!("name = \"{}\"\n", side.tunnel());
    let ppk = format!("ppk_id = \"lab\"\nppk = \"{key}\"\nppk_required = {required}\n");
    gateway.edit(&name, &format!("{name}{ppk}"))
}

fn uses_ppk(gateway: &Gateway<'_>, side: Side) -> Result<bool> {
    gateway.tunnel(side)?["ike"]["ppk"].as_bool().context("the status says whether a PPK is used")
}

/// strongSwan with a PPK of that key.
fn strongswan(side: Side, key: &str, required: bool) -> Settings {
    let ppk = Ppk { id: "lab".to_owned(), secret: key.to_owned(), required };
    Settings { ppk: Some(ppk), ..Settings::aws(side) }
}

fn proposal(gateway: &Gateway<'_>, side: Side, of: &str) -> Result<String> {
    let tunnel = gateway.tunnel(side)?;
    Ok(tunnel[of]["proposal"].as_str().context("a proposal")?.to_owned())
}

#[test]
fn ml_kem_and_a_ppk_come_up_on_a_narrow_way_with_loss_and_their_rekeys_lose_nothing() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    // ML-KEM alone fills more than 576 octets. Tunnel 1 has a PPK too, in hexadecimal here and as text there.
    let ppk = format!("--ppk=lab={PPK_TEXT}");
    let _aws = [
        Embedded::start(lab, Side::One, &["--kem", "ML-KEM-768", &ppk])?,
        Embedded::start(lab, Side::Two, &["--kem", "ML-KEM-768"])?,
    ];
    let _server = Server::vpc(lab)?;
    let narrow = || "udp dport 4500 udp length > 700".to_owned();
    lab.internet_drops(&[narrow(), LOSSY_IKE.to_owned()])?;
    let mut gateway = prepare(lab, "additional_key_exchanges = [\"ML-KEM-768\"]\n")?;
    with_ppk(&gateway, Side::One, PPK, true)?;
    gateway.start()?;
    let took = gateway.wait_all_up(LOSSY_UP)?;
    ensure!(uses_ppk(&gateway, Side::One)? && !uses_ppk(&gateway, Side::Two)?);
    for side in Side::BOTH {
        let ike = proposal(&gateway, side, "ike")?;
        ensure!(ike.ends_with("/ML_KEM_768"), "status shows it: {ike}");
    }
    println!("hybrid tunnels up after {:.2} s through a narrow way with loss", took.as_secs_f64());
    // A request that is lost too often ends the IKE SA, as it must: from here on the way is only narrow.
    lab.internet_drops(&[narrow()])?;
    let pinger = Pinger::lan_to_vpc(lab)?;
    for (what, pointer) in [("child", "/child/rekeys"), ("ike", "/ike/rekeys"), ("child", "/child/rekeys")] {
        for side in Side::BOTH {
            let count = || gateway.tunnel(side).ok().and_then(|t| t.pointer(pointer)?.as_u64());
            let before = count();
            let output = gateway.cli(&["rekey", what, side.tunnel()])?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            wait::until(LOSSY_UP, what, || count() > before)?;
        }
    }
    ensure!(uses_ppk(&gateway, Side::One)?, "a rekey keeps it");
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
    let mut gateway = prepare(lab, "additional_key_exchanges = [\"ML-KEM-768\", \"none\"]\n")?;
    gateway.start()?;
    gateway.wait_all_up(UP)?;
    let ike = proposal(&gateway, Side::One, "ike")?;
    ensure!(!ike.contains("ML_KEM"), "{ike}");
    Ok(())
}

#[test]
fn strongswan_and_we_mix_in_the_same_ppk_and_rekeys_from_both_sides_lose_nothing() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    // Tunnel 1: required on both sides. Tunnel 2: optional here, and strongSwan has none.
    let settings = [strongswan(Side::One, PPK, true), Settings::aws(Side::Two)];
    let mut world = World::prepare(lab, &Connection::lab(), settings)?;
    with_ppk(&world.gateway, Side::One, PPK, true)?;
    with_ppk(&world.gateway, Side::Two, PPK, false)?;
    world.start()?;
    ensure!(uses_ppk(&world.gateway, Side::One)? && world.aws[0].sa()?.ppk, "both say so");
    ensure!(!uses_ppk(&world.gateway, Side::Two)? && !world.aws[1].sa()?.ppk, "taken without");
    let status = world.gateway.cli(&["status"])?;
    ensure!(String::from_utf8_lossy(&status.stdout).contains("with PPK"), "status says it");
    // All traffic on the tunnel with the PPK.
    ensure!(world.gateway.cli(&["drain", Side::Two.tunnel()])?.status.success());
    let pinger = Pinger::lan_to_vpc(lab)?;
    for (what, pointer) in [("child", "/child/rekeys"), ("ike", "/ike/rekeys"), ("child", "/child/rekeys")] {
        let mut before = world.counter(Side::One, pointer)?;
        for by_us in [true, false] {
            match (by_us, what) {
                (true, what) => {
                    let output = world.gateway.cli(&["rekey", what, Side::One.tunnel()])?;
                    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                }
                (false, "ike") => world.aws[0].rekey_ike()?,
                (false, _) => world.aws[0].rekey_child()?,
            }
            wait::until(BACK, what, || world.counter(Side::One, pointer).is_ok_and(|now| now > before))?;
            before = world.counter(Side::One, pointer)?;
        }
    }
    world.wait_for_one_pair(Side::One)?;
    ensure!(uses_ppk(&world.gateway, Side::One)? && world.aws[0].sa()?.ppk, "rekeys keep it");
    let report = pinger.stop()?;
    ensure!(report.received > 50 && report.lost() == 0, "{:?}", report.outages);
    println!("PPK with strongSwan: 6 rekeys, {} pings, 0 lost", report.sent);
    Ok(())
}

#[test]
fn a_ppk_that_strongswan_has_not_or_has_otherwise_is_named_by_status_and_doctor() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let other = "0x6f746865722d6f746865722d6f746865722d6f746865722d6f746865722d2d2d";
    // Tunnel 1: strongSwan has none, and ours is required. Tunnel 2: the same name and another key.
    let settings = [Settings::aws(Side::One), strongswan(Side::Two, other, true)];
    let mut world = World::prepare(lab, &Connection::lab(), settings)?;
    for side in Side::BOTH {
        with_ppk(&world.gateway, side, PPK, true)?;
    }
    world.gateway.start()?;
    let error = |side| world.gateway.tunnel(side).map(|tunnel| tunnel["last_error"].to_string());
    for (side, text) in [(Side::One, "has no PPK for us"), (Side::Two, "compare the PPK first")] {
        wait::until(NAMED, text, || {
            error(side).is_ok_and(|error| error.contains("IKE-PPK-MISMATCH") && error.contains(text))
        })
        .with_context(|| format!("{:?}", error(side)))?;
    }
    let doctor = world.gateway.cli(&["doctor", "--json"])?;
    let found: serde_json::Value = serde_json::from_slice(&doctor.stdout)?;
    ensure!(found["findings"][0]["code"] == "IKE-PPK-MISMATCH", "{found}");
    ensure!(!String::from_utf8_lossy(&doctor.stdout).contains(PPK), "and shows no key");
    // strongSwan gets the PPK, and the tunnel comes up with no command here.
    world.aws[0].load(strongswan(Side::One, PPK, true))?;
    wait::until(LOSSY_UP, "tunnel 1 to come up", || {
        world.gateway.tunnel(Side::One).is_ok_and(|tunnel| tunnel["stage"] == "up")
    })?;
    ensure!(uses_ppk(&world.gateway, Side::One)?);
    // A strongSwan that needs one refuses us without, in its own words.
    let text = std::fs::read_to_string(world.gateway.config())?;
    let without: String =
        text.lines().filter(|line| !line.starts_with("ppk")).map(|l| format!("{l}\n")).collect();
    std::fs::write(world.gateway.config(), without)?;
    ensure!(world.gateway.cli(&["reload"])?.status.success());
    wait::until(NAMED, "the refusal", || {
        error(Side::One).is_ok_and(|e| e.contains("AUTHENTICATION_FAILED"))
    })?;
    Ok(())
}
