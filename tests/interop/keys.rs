//! Exported keys decrypt in tshark what was captured outside: IKE and ESP, over rekeys.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::aws_file::Connection;
use lab::netns;
use lab::process::{Process, Spawn};
use lab::strongswan::Settings;
use lab::topology::{Side, VPC_HOST};
use lab::wait;

use crate::rig::Rig;
use crate::world::{UP, World};

/// Some fields of the packets that a filter lets through, with the profile in `keys` and without it.
fn tshark(capture: &Path, keys: Option<&Path>, filter: &str, fields: &[&str]) -> Result<Vec<String>> {
    let mut command = Command::new("tshark");
    if let Some(keys) = keys {
        command.env("WIRESHARK_CONFIG_DIR", keys);
    }
    command.arg("-r").arg(capture).args(["-Y", filter, "-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    Ok(netns::run(&mut command)?.lines().map(str::to_owned).collect())
}

#[test]
fn exported_keys_decrypt_a_capture_of_the_outside_in_tshark() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let mut world = World::prepare(lab, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let (state, outside) = (world.gateway.state(), lab.scratch().join("outside.pcap"));
    let keys = state.here.join("keys");
    let mut tcpdump = Process::spawn(&Spawn {
        namespace: &lab.gw,
        command: ["tcpdump", "-i", "wan0", "--immediate-mode", "-U", "-w"]
            .map(str::to_owned)
            .into_iter()
            .chain([outside.display().to_string()])
            .collect(),
        env: Vec::new(),
        log: lab.scratch().join("tcpdump.log"),
        pipes: false,
    })?;
    wait::until(Duration::from_secs(5), "tcpdump to listen", || {
        outside.metadata().is_ok_and(|meta| meta.len() > 0)
    })?;
    let directory = state.seen_by_daemon.join("keys").display().to_string();
    world.gateway.start_with(&["--export-keys-to", &directory])?;
    world.gateway.wait_all_up(UP)?;
    let side = world.egress()?;
    let ping =
        ["ping", "-c", "3", "-i", "0.2", "-s", "256", "-W", "2", &VPC_HOST.to_string()].map(str::to_owned);
    let ping: Vec<&str> = ping.iter().map(String::as_str).collect();
    lab.lan.run(&ping)?;
    // Fresh keys of both kinds are exported too.
    for what in ["ike", "child"] {
        let pointer = format!("/{what}/rekeys");
        let before = world.counter(side, &pointer)?;
        let output = world.gateway.cli(&["rekey", what, side.tunnel()])?;
        ensure!(output.status.success(), "rekey {what}: {}", String::from_utf8_lossy(&output.stderr));
        wait::until(UP, "the rekey", || world.counter(side, &pointer).is_ok_and(|count| count > before))?;
    }
    lab.lan.run(&ping)?;
    std::thread::sleep(Duration::from_millis(300));
    ensure!(tcpdump.stop(Duration::from_secs(5)), "tcpdump ends");

    // Six echo requests of the LAN host, in the clear, under two generations of keys.
    let inner = format!("icmp.type == 8 && ip.dst == {VPC_HOST}");
    ensure!(tshark(&outside, None, &inner, &["esp.spi"])?.is_empty(), "nothing is seen without the keys");
    let seen = tshark(&outside, Some(&keys), &inner, &["esp.spi", "icmp.seq"])?;
    ensure!(seen.len() == 6, "the inner pings: {seen:?}");
    let spis: std::collections::BTreeSet<&str> =
        seen.iter().filter_map(|row| row.split('\t').next()).collect();
    ensure!(spis.len() == 2, "before and after the rekey: {seen:?}");
    // Our identity in IKE_AUTH, and the traffic selectors of the rekey, are readable: exchanges 35 and 36.
    for (exchange, field) in [("35", "isakmp.id.data.ipv4_addr"), ("36", "isakmp.ts.start_ipv4")] {
        let filter = format!("isakmp.exchangetype == {exchange} && {field}");
        ensure!(
            !tshark(&outside, Some(&keys), &filter, &["frame.number"])?.is_empty(),
            "{filter} shows nothing"
        );
        ensure!(tshark(&outside, None, &filter, &["frame.number"])?.is_empty(), "{filter} needs no keys");
    }

    // Private, and loud about it.
    let mode = |path: &Path| -> Result<u32> { Ok(path.metadata()?.permissions().mode() & 0o777) };
    ensure!(mode(&keys)? == 0o700);
    for name in ["esp_sa", "ikev2_decryption_table"] {
        ensure!(mode(&keys.join(name))? == 0o600, "{name}");
    }
    let events = world.gateway.events()?;
    let warned = events.iter().find(|event| event["code"] == "KEYS-EXPORTED").context("an event says so")?;
    ensure!(warned["text"].as_str().is_some_and(|text| text.contains(&directory)), "{warned}");
    ensure!(world.gateway.log().contains("KEYS-EXPORTED"), "and the log");
    Ok(())
}

#[test]
fn no_keys_are_exported_unless_the_daemon_was_started_so() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    ensure!(!world.gateway.log().contains("KEYS-EXPORTED"));
    world.gateway.edit("[connection.bgp]", "[connection.bgp]").ok();
    let text = std::fs::read_to_string(world.gateway.config())?;
    std::fs::write(world.gateway.config(), format!("{text}\n[log]\nexport_keys_to = \"/tmp\"\n"))?;
    let output = world.gateway.cli(&["reload"])?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(2) && complaint.contains("has no key `export_keys_to`"),
        "{complaint}"
    );
    Ok(())
}
