//! Every shape of file that AWS hands out: imported with nothing but the networks given, and run.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lab::gateway::Gateway;
use lab::strongswan::{Settings, StrongSwan};
use lab::topology::{LAN, Side, Topology, VPC, VPC_HOST};
use lab::traffic::{self, Server};

use crate::contract;
use crate::rig::Rig;
use crate::world::UP;

/// Files of the import's own tests that describe the lab's connection, one of each shape.
const SHAPES: [&str; 14] = [
    "generic-2013-bgp.txt",
    "generic-2020-bgp-ikev1.txt",
    "generic-2020-static-ikev1.txt",
    "generic-2026-bgp-ikev2.txt",
    "generic-2026-static-ikev2.txt",
    "generic-transit-crlf-bom.txt",
    "configuration-bgp.xml",
    "configuration-static-swapped.xml",
    "configuration-transit-minified.xml",
    "describe-bgp-custom.json",
    "describe-bgp-defaults.json",
    "describe-static-weak.json",
    "terraform-output-heredoc.txt",
    "terraform-output-json-one.json",
];

/// These, and every file of a directory named by `CGWD_SAMPLES`.
fn samples() -> Result<Vec<PathBuf>> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/fixtures");
    let mut files: Vec<PathBuf> = SHAPES.iter().map(|name| own.join(name)).collect();
    if let Some(directory) = std::env::var_os("CGWD_SAMPLES") {
        let entries = std::fs::read_dir(&directory).with_context(|| format!("{}", directory.display()))?;
        let more = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        files.extend(more.filter(|path| path.file_name().is_some_and(|name| name != "README.md")));
    }
    Ok(files)
}

#[test]
fn every_sample_imports_runs_and_comes_up_within_five_seconds() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let mut aws = [
        StrongSwan::start(lab, Side::One, Settings::aws(Side::One))?,
        StrongSwan::start(lab, Side::Two, Settings::aws(Side::Two))?,
    ];
    let _server = Server::vpc(lab)?;
    println!("{:<48} {:>8} {:>6}  negotiated", "sample", "stage", "s");
    for sample in samples()? {
        let name = sample.file_name().unwrap_or_default().to_string_lossy().into_owned();
        run(lab, &mut aws, &sample)
            .with_context(|| name.clone())
            .map(|line| println!("{name:<48} {line}"))?;
    }
    Ok(())
}

fn run<'t>(lab: &'t Topology, aws: &mut [StrongSwan<'t>; 2], sample: &Path) -> Result<String> {
    let mut gateway = Gateway::new(lab)?;
    gateway.import(sample, &["--lan", LAN, "--vpc", VPC])?;
    let path = gateway.config().display().to_string();
    let check = gateway.cli(&["check", "--config", &path])?;
    ensure!(check.status.success(), "cgwd check: {}", String::from_utf8_lossy(&check.stderr));
    let config: toml::Table = std::fs::read_to_string(gateway.config())?.parse()?;
    let connection = &config["connection"][0];
    let bgp = connection["routing"].as_str() == Some("bgp");
    for (side, aws) in Side::BOTH.into_iter().zip(aws) {
        let psk = key_of(connection, side).with_context(|| format!("no key for {}", side.outside()))?;
        aws.load(Settings { psk, ..Settings::aws(side) })?;
    }
    let stage = if bgp { "bgp" } else { "up" };
    let began = Instant::now();
    gateway.start()?;
    for side in Side::BOTH {
        gateway.wait_stage(side, stage, UP.saturating_sub(began.elapsed()))?;
    }
    let took = began.elapsed();
    let status = gateway.status()?;
    contract::check_status(&status)?;
    if bgp {
        ensure!(gateway.owned_routes()?.trim().is_empty(), "no static fallback unless asked for");
    } else {
        traffic::wait_for_echo(&lab.lan, VPC_HOST, UP)?;
        ensure!(gateway.cli(&["status"])?.status.code() == Some(0), "all tunnels up is exit status 0");
    }
    let tunnel = gateway.tunnel(Side::One)?;
    let [ike, child] =
        ["ike", "child"].map(|object| tunnel[object]["proposal"].as_str().unwrap_or("").to_owned());
    ensure!(gateway.stop(), "the daemon ends on SIGTERM");
    ensure!(gateway.owned_routes()?.trim().is_empty(), "no route is left");
    ensure!(lab.gw.ip("link show cgw0").is_err(), "no interface is left");
    Ok(format!("{stage:>8} {:>6.2}  {ike} + {child}", took.as_secs_f64()))
}

/// The key that the import found for the tunnel to this endpoint.
fn key_of(connection: &toml::Value, side: Side) -> Option<String> {
    let outside = side.outside().to_string();
    let tunnels = connection["tunnel"].as_array()?;
    let tunnel = tunnels.iter().find(|tunnel| tunnel["outside"].as_str() == Some(&outside))?;
    tunnel["psk"].as_str().map(str::to_owned)
}
