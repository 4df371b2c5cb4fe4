//! Events in a real systemd journal: found by their fields, explained by the catalog.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::aws_file::Connection;
use lab::process::{Process, Spawn};
use lab::strongswan::Settings;
use lab::topology::Side;
use lab::traffic::binary;
use lab::wait;

use crate::rig::Rig;
use crate::world::World;

/// A journal of its own under a /run of its own, as long as the daemon runs; what it has is printed at the end. The
/// journal asks for control groups, which `ip netns exec` has hidden.
const SCRIPT: &str = "mount -t cgroup2 cgroup2 /sys/fs/cgroup\n\
    mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal/$(cat /etc/machine-id)\n\
    /lib/systemd/systemd-journald & JOURNALD=$!\n\
    until [ -S /run/systemd/journal/socket ]; do sleep 0.05; done\n\
    JOURNAL_STREAM=0:0 CGWD run --config CONFIG --socket SOCKET & DAEMON=$!\n\
    while [ ! -e STOP ]; do sleep 0.05; done\n\
    kill $DAEMON; wait $DAEMON; journalctl --directory /run/log/journal --sync 2>/dev/null; sleep 0.5\n\
    journalctl --directory /run/log/journal -o json --no-pager CGWD_TUNNEL=tunnel1 > OUT.json\n\
    journalctl --directory /run/log/journal -o json --no-pager CGWD_CODE=DAEMON-STARTED >> OUT.json\n\
    kill $JOURNALD; touch OUT.done\n";

#[test]
fn the_journal_finds_the_events_of_one_tunnel_by_its_name() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let world = World::prepare(lab, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let (out, stop) = (lab.scratch().join("journal"), lab.scratch().join("stop"));
    let script = SCRIPT
        .replace("CGWD run", &format!("{} run", binary("cgwd")?.display()))
        .replace("CONFIG", &world.gateway.config().display().to_string())
        .replace("SOCKET", &world.gateway.socket().display().to_string())
        .replace("STOP", &stop.display().to_string())
        .replace("OUT", &out.display().to_string());
    let mut shell = Process::spawn(&Spawn {
        namespace: &lab.gw,
        command: ["unshare", "--mount", "sh", "-c", &script].map(str::to_owned).to_vec(),
        env: Vec::new(),
        log: lab.scratch().join("journald.log"),
        pipes: false,
    })?;
    let up = wait::until(Duration::from_secs(20), "both tunnels", || {
        Side::BOTH.iter().all(|&side| world.gateway.stage(side) == "up")
    });
    std::fs::write(&stop, "")?;
    let log = || std::fs::read_to_string(lab.scratch().join("journald.log")).unwrap_or_default();
    up.with_context(log)?;
    let done = out.with_extension("done");
    wait::until(Duration::from_secs(20), "the journal's answer", || done.exists()).with_context(log)?;
    let _ = shell.wait(Duration::from_secs(5));

    let text = std::fs::read_to_string(out.with_extension("json"))?;
    let entries: Vec<serde_json::Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let of_the_tunnel: Vec<_> = entries.iter().filter(|entry| entry["CGWD_TUNNEL"] == "tunnel1").collect();
    let up = of_the_tunnel
        .iter()
        .find(|entry| entry["CGWD_CODE"] == "TUNNEL-UP")
        .with_context(|| format!("{text}\n{}", log()))?;
    ensure!(up["CGWD_CONNECTION"] == Connection::lab().id.as_str(), "{up}");
    ensure!(up["SYSLOG_IDENTIFIER"] == "cgwd" && up["PRIORITY"] == "5" || up["PRIORITY"] == "6", "{up}");
    ensure!(up["MESSAGE"].as_str().is_some_and(|text| text.starts_with("tunnel1: TUNNEL-UP")), "{up}");
    ensure!(
        entries.iter().any(|entry| entry["CGWD_CODE"] == "DAEMON-STARTED" && entry["CGWD_TUNNEL"].is_null())
    );
    // The shipped catalog knows every message.
    let catalog = include_str!("../../systemd/catalog/cgwd.catalog");
    for entry in &entries {
        let id = entry["MESSAGE_ID"].as_str().with_context(|| format!("{entry}"))?;
        let code = entry["CGWD_CODE"].as_str().unwrap_or_default();
        ensure!(catalog.contains(&format!("-- {id}\nSubject: {code}:")), "{code} {id}");
    }
    Ok(())
}
