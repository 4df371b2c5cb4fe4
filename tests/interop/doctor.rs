//! Real peers produce the symptoms that people report; `cgwd doctor` names each first, and nothing on a healthy pair.
//!
//! `crates/cgwd/src/doctor/symptoms.rs` says which test shows which symptom; the table in `docs/troubleshooting.md`
//! is printed from there, and a test of `cgwd` holds it to the names here.

mod healthy;
mod host;
mod ike;
mod ipsec;
mod path;
mod redundancy;
mod routing;
mod tunnel;

use anyhow::{Context, Result, ensure};
use lab::aws_file::Connection;
use lab::strongswan::Settings;
use lab::topology::Side;
use lab::wait;
use serde_json::{Value, json};

use crate::rig::Rig;
use crate::world::{NAMED, World};

/// What `cgwd doctor --json` says, and its exit status.
struct Said {
    status: i32,
    findings: Vec<Value>,
}

impl Said {
    fn first(&self) -> &str {
        self.findings.first().and_then(|finding| finding["code"].as_str()).unwrap_or("nothing")
    }

    fn get(&self, code: &str) -> Option<&Value> {
        self.findings.iter().find(|finding| finding["code"] == code)
    }

    fn codes(&self) -> Vec<String> {
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("-").to_owned();
        self.findings
            .iter()
            .map(|f| format!("{} {} {}", text(f, "severity"), text(f, "tunnel"), text(f, "code")))
            .collect()
    }

    /// Nothing worse than worth knowing.
    fn healthy(&self) -> Result<()> {
        let worse: Vec<&Value> =
            self.findings.iter().filter(|finding| finding["severity"] != "info").collect();
        ensure!(worse.is_empty() && self.status == 0, "status {}: {worse:?}", self.status);
        Ok(())
    }
}

fn doctor(world: &World<'_>, arguments: &[&str]) -> Result<Said> {
    let config = world.gateway.config().display().to_string();
    let mut all = vec!["doctor", "--json", "--config", &config];
    all.extend(arguments);
    let output = world.gateway.cli(&all)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text)
        .with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
    ensure!(report["schema"] == 1, "{report}");
    let findings = report["findings"].as_array().cloned().context("no findings")?;
    for finding in &findings {
        check_shape(finding)?;
    }
    Ok(Said { status: output.status.code().unwrap_or(-1), findings })
}

/// The fields that scripts rely on, and no other.
fn check_shape(finding: &Value) -> Result<()> {
    let mut keys: Vec<&str> = finding.as_object().context("no object")?.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected =
        ["aws_log", "because_of", "cause", "code", "remedy", "severity", "stage", "title", "tunnel"];
    ensure!(keys == expected, "{keys:?}");
    for key in ["code", "stage", "severity", "title", "cause", "remedy"] {
        ensure!(finding[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {finding}");
    }
    Ok(())
}

/// Asks until this code is named first, and prints what a user would read.
fn named_first(world: &World<'_>, code: &str, arguments: &[&str]) -> Result<Said> {
    let mut last = String::new();
    let (said, _) = wait::for_value(NAMED, &format!("{code} first"), || {
        let said = doctor(world, arguments).ok()?;
        last = format!("{:?}", said.codes());
        (said.first() == code && said.status == 1).then_some(said)
    })
    .with_context(|| last.clone())?;
    ensure!(said.status == 1, "findings are exit status 1, got {}: {:?}", said.status, said.codes());
    let first = &said.findings[0];
    ensure!(first["because_of"].is_null(), "{first}");
    println!("{code}: {}", first["cause"].as_str().unwrap_or_default());
    Ok(said)
}

fn faulty<'r>(rig: &'r Rig, connection: &Connection, fault: Settings) -> Result<World<'r>> {
    let mut world = World::prepare(&rig.topology, connection, [fault, Settings::aws(Side::Two)])?;
    world.gateway.start()?;
    Ok(world)
}

/// Writes what AWS would say of the connection, changed by `change`; returns the path.
fn aws_file(world: &World<'_>, connection: &Connection, change: impl FnOnce(&mut Value)) -> Result<String> {
    let mut description = connection.describe_json();
    change(&mut description["VpnConnections"][0]);
    let path = world.lab.scratch().join("aws.json");
    std::fs::write(&path, description.to_string())?;
    Ok(path.display().to_string())
}

/// AWS's telemetry of both tunnels.
fn telemetry(status: &str, accepted: u64) -> Value {
    let one = |side: Side| {
        json!({ "OutsideIpAddress": side.outside(), "Status": status, "StatusMessage": "",
            "AcceptedRouteCount": accepted, "LastStatusChange": "2026-08-01T12:00:00Z" })
    };
    Side::BOTH.into_iter().map(one).collect()
}
