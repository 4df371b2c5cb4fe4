//! The stage IPsec: phase 2, and the encrypted packets themselves.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::aws_file::Connection;
use lab::process::{Process, Spawn};
use lab::strongswan::Settings;
use lab::topology::{Side, VPC_HOST};
use lab::traffic::Pinger;
use serde_json::json;

use super::{aws_file, doctor, faulty, named_first};
use crate::rig::Rig;
use crate::world::{BACK, World};

#[test]
fn symptom_09_no_common_phase_2_algorithms_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings { esp_proposals: "aes192-sha256".to_owned(), ..Settings::aws(Side::One) };
    let world = faulty(&rig, &Connection::lab(), fault)?;
    named_first(&world, "IPSEC-NO-PROPOSAL", &[]).map(drop)
}

#[test]
fn symptom_10_selectors_without_anything_in_common_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings {
        local_ts: "fd99::/64".to_owned(),
        remote_ts: "fd98::/64".to_owned(),
        ..Settings::aws(Side::One)
    };
    let world = faulty(&rig, &Connection::lab(), fault)?;
    named_first(&world, "IPSEC-TS-UNACCEPTABLE", &[])?;
    let file = aws_file(&world, &Connection::lab(), |connection| {
        connection["Options"]["LocalIpv4NetworkCidr"] = json!("192.168.0.0/16");
    })?;
    named_first(&world, "AWS-NETWORK-CIDR", &["--aws-json", &file]).map(drop)
}

#[test]
fn symptom_11_a_group_that_only_the_rekey_meets_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings { esp_proposals: "aes256gcm16-ecp521".to_owned(), ..Settings::aws(Side::One) };
    let world = faulty(&rig, &Connection::lab(), fault)?;
    world.gateway.wait_all_up(BACK)?;
    let file = aws_file(&world, &Connection::lab(), |connection| {
        connection["Options"]["TunnelOptions"][0]["Phase2DHGroupNumbers"] = json!([{ "Value": 21 }]);
    })?;
    named_first(&world, "AWS-PFS-GROUPS", &["--aws-json", &file])?;
    world.gateway.cli(&["rekey", "child", "tunnel1"])?;
    named_first(&world, "IPSEC-REKEY-FAILED", &[]).map(drop)
}

#[test]
fn symptom_12_both_sides_rekeying_at_once_is_nothing_to_complain_about() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    for _ in 0..3 {
        std::thread::scope(|scope| {
            let theirs = scope.spawn(|| world.aws[0].rekey_child());
            let ours = world.gateway.cli(&["rekey", "child", "tunnel1"]);
            // Either may be refused for the other's sake; what counts is how it ends.
            drop((theirs.join(), ours));
        });
    }
    world.wait_for_one_pair(Side::One)?;
    doctor(&world, &[])?.healthy()
}

/// Sends every ESP packet for the gateway a second time: a packet socket does not hear what it sent itself. The
/// checksum is cleared (RFC 768: none), because on a virtual link it is not filled in yet.
const REPEATER: &str = "
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(('gw0', 0))
while True:
    frame, source = s.recvfrom(65535)
    frame = bytearray(frame)
    if source[2] == 4 and frame[12:14] == b'\\x08\\x00' and frame[23] == 17 and frame[34:36] == b'\\x11\\x94':
        frame[40:42] = b'\\x00\\x00'
        s.send(frame)
";

#[test]
fn symptom_15_repeated_packets_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let _repeater = Process::spawn(&Spawn {
        namespace: &rig.topology.net,
        command: ["python3", "-c", REPEATER].map(str::to_owned).to_vec(),
        env: Vec::new(),
        log: rig.topology.scratch().join("repeater.log"),
        pipes: false,
    })?;
    let pinger = Pinger::start(world.lab, &world.lab.lan, VPC_HOST, Duration::from_millis(5))?;
    let said = named_first(&world, "IPSEC-REPLAY", &[])?;
    ensure!(said.findings[0]["severity"] == "warning");
    // Nothing was lost by it.
    ensure!(pinger.stop()?.lost() == 0);
    Ok(())
}

#[test]
fn symptom_16_blocked_esp_beside_a_living_ike_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    // IKE has four zero octets behind the UDP header on port 4500 (RFC 3948 §2.2), ESP its SPI.
    rig.topology
        .internet_drops(&[format!("ip daddr {} udp dport 4500 @th,64,32 != 0", Side::One.outside())])?;
    let world = faulty(&rig, &Connection::lab(), Settings::aws(Side::One))?;
    named_first(&world, "IPSEC-ESP-BLOCKED", &[])?;
    rig.topology.mend()
}

#[test]
fn symptom_14_several_selectors_where_aws_has_one_pair_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    for side in Side::BOTH {
        let outside = format!("outside = \"{}\"", side.outside());
        let selectors = "local_cidr = [\"10.10.0.0/16\", \"10.20.0.0/16\", \"169.254.0.0/16\"]";
        world.gateway.edit(&outside, &format!("{outside}\n{selectors}"))?;
    }
    world.gateway.start()?;
    let said = named_first(&world, "IPSEC-SEVERAL-SELECTORS", &[])?;
    ensure!(
        said.findings[0]["cause"].as_str().is_some_and(|cause| cause.contains("10.20.0.0/16")),
        "{:?}",
        said.codes()
    );
    Ok(())
}
