//! OpenIKED 7.2 on a Linux kernel's own ESP: a third implementation of IKEv2, with CBC and rekeys of ours.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::openiked::OpenIked;
use lab::topology::{LAN, VPC, VPC_HOST};
use lab::traffic::{self, Server};
use lab::wait;
use toml::Value;

use crate::rig::Rig;
use crate::uml_world::{SIDE, UP, alone, set};

const SETTLED: Duration = Duration::from_secs(10);

/// What its portable version can do: CBC, selectors of networks, no inside addresses to probe.
fn as_it_can(tunnel: &mut Value) -> Result<()> {
    set(tunnel, "local_cidr", vec![LAN])?;
    set(tunnel, "remote_cidr", vec![VPC])?;
    tunnel.as_table_mut().context("no table")?.remove("inside");
    let esp = tunnel.get_mut("esp").context("no phase 2")?;
    set(esp, "encryption", vec!["AES256"])?;
    set(esp, "integrity", vec!["SHA2-384"])
}

#[test]
fn openiked_brings_up_both_sas_carries_packets_and_takes_our_rekeys() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let peer = OpenIked::start(lab, SIDE)?;
    let _server = Server::vpc(lab)?;
    let mut gateway = alone(lab, as_it_can)?;
    gateway.start()?;
    gateway.wait_stage(SIDE, "up", UP).with_context(|| peer.log())?;
    traffic::wait_for_echo(&lab.lan, VPC_HOST, SETTLED)?;
    let sas = peer.sas()?;
    ensure!(sas.contains("ESTABLISHED"), "{sas}");
    for (what, pointer) in [("child", "/child/rekeys"), ("ike", "/ike/rekeys")] {
        let output = gateway.cli(&["rekey", what, SIDE.tunnel()])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let done =
            || gateway.tunnel(SIDE).is_ok_and(|tunnel| tunnel.pointer(pointer).is_some_and(|n| n == 1));
        wait::until(SETTLED, &format!("our rekey of {what}"), done).with_context(|| peer.log())?;
        traffic::wait_for_echo(&lab.lan, VPC_HOST, SETTLED)?;
    }
    Ok(())
}
