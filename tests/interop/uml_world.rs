//! One tunnel to a peer on a kernel of its own: the imported file with that tunnel alone, on protocol 50.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::aws_file::Connection;
use lab::gateway::Gateway;
use lab::libreswan::{Libreswan, Settings};
use lab::topology::{LAN_HOST, Side, Topology, VPC_HOST};
use lab::traffic::{Pinger, Server, pinger};
use toml::Value;

/// Its tunnel is the first.
pub const SIDE: Side = Side::One;
/// A kernel that must load its modules first answers late.
pub const UP: Duration = Duration::from_secs(15);
/// Fifty a second.
const EVERY: Duration = Duration::from_millis(20);

/// Where Debian's package is kept unpacked.
fn cache() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")).to_owned()
}

/// Sets a key of a table in a configuration file.
pub fn set(table: &mut Value, key: &str, value: impl Into<Value>) -> Result<()> {
    table.as_table_mut().context("no table")?.insert(key.to_owned(), value.into());
    Ok(())
}

/// Changes the connection in the file of a gateway.
pub fn rewrite(gateway: &Gateway<'_>, change: impl FnOnce(&mut Value) -> Result<()>) -> Result<()> {
    let mut file: toml::Table = toml::from_str(&std::fs::read_to_string(gateway.config())?)?;
    change(file.get_mut("connection").and_then(|all| all.get_mut(0)).context("no connection")?)?;
    Ok(std::fs::write(gateway.config(), toml::to_string(&file)?)?)
}

/// The tunnels of a connection in a configuration file.
pub fn tunnels(connection: &mut Value) -> Result<&mut Vec<Value>> {
    connection.get_mut("tunnel").and_then(Value::as_array_mut).context("no tunnels")
}

/// A gateway with tunnel 1 alone, on protocol 50; `change` does the rest to the tunnel.
pub fn alone<'t>(lab: &'t Topology, change: impl FnOnce(&mut Value) -> Result<()>) -> Result<Gateway<'t>> {
    let gateway = Gateway::new(lab)?;
    let file = lab.scratch().join("describe-vpn-connections.json");
    std::fs::write(&file, Connection::lab().describe_json().to_string())?;
    gateway.import(&file, &["--raw-esp", "--lan", lab::topology::LAN, "--vpc", lab::topology::VPC])?;
    rewrite(&gateway, |connection| {
        set(connection, "peer", "other")?;
        let tunnels = tunnels(connection)?;
        tunnels.truncate(1);
        change(tunnels.first_mut().context("no tunnel")?)
    })?;
    Ok(gateway)
}

/// Lifetimes that only a laboratory has: a child is rekeyed after 4 to 5 s, the IKE SA after 16 to 20.
pub fn shorten(tunnel: &mut Value) -> Result<()> {
    set(tunnel, "rekey_margin", 5)?;
    for (phase, lifetime) in [("ike", 30), ("esp", 10)] {
        set(tunnel.get_mut(phase).context("no such phase")?, "lifetime", lifetime)?;
    }
    Ok(())
}

/// libreswan behind tunnel 1, servers at both ends, the daemon.
pub struct LibreswanWorld<'t> {
    pub peer: Libreswan,
    pub gateway: Gateway<'t>,
    _servers: [Server; 2],
}

impl<'t> LibreswanWorld<'t> {
    /// The tunnel is up.
    pub fn up(
        lab: &'t Topology,
        settings: &Settings,
        change: impl FnOnce(&mut Value) -> Result<()>,
    ) -> Result<Self> {
        let peer = Libreswan::start(lab, SIDE, &cache(), settings)?;
        let mut gateway = alone(lab, |tunnel| {
            set(tunnel.get_mut("esp").context("no phase 2")?, "esn", "yes")?;
            change(tunnel)
        })?;
        lab.vpc_return_via(SIDE)?;
        let servers = [Server::vpc(lab)?, Server::lan(lab)?];
        gateway.start()?;
        gateway.wait_stage(SIDE, "up", UP).with_context(|| peer.log())?;
        Ok(Self { peer, gateway, _servers: servers })
    }

    /// A number in the tunnel's status.
    pub fn counter(&self, pointer: &str) -> Result<u64> {
        let tunnel = self.gateway.tunnel(SIDE)?;
        tunnel
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64)
            .with_context(|| format!("{pointer} in {tunnel}"))
    }
}

/// Fifty numbered datagrams a second from either end to the other and back.
pub struct BothWays([Pinger; 2]);

impl BothWays {
    pub fn start(lab: &Topology) -> Result<Self> {
        Ok(Self([
            Pinger::start(lab, &lab.lan, VPC_HOST, EVERY)?,
            Pinger::start(lab, &lab.vpc, LAN_HOST, EVERY)?,
        ]))
    }

    /// Stops both and says what was lost.
    pub fn stop(self) -> Result<[pinger::Report; 2]> {
        let [out, back] = self.0;
        let reports = [out.stop()?, back.stop()?];
        for (report, from) in reports.iter().zip(["LAN to VPC", "VPC to LAN"]) {
            println!(
                "{from}: {} of {} lost, {} doubled, {} reordered, rtt p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; {:?}",
                report.lost(),
                report.sent,
                report.duplicates,
                report.reordered,
                report.rtt_p50_ms,
                report.rtt_p99_ms,
                report.rtt_max_ms,
                report.outages
            );
        }
        Ok(reports)
    }

    /// The same, and it is a failure when anything was.
    pub fn none_lost(self) -> Result<()> {
        let lost: u64 = self.stop()?.iter().map(pinger::Report::lost).sum();
        ensure!(lost == 0, "{lost} lost");
        Ok(())
    }
}
