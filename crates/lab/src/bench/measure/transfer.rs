//! Gigabytes each way, every octet compared with the one that must stand there.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Values;
use crate::bench::contender;
use crate::bench::rig::{Rig, Role, VPC_HOST};
use crate::netns;
use crate::traffic::{TRANSFER_PORT, binary, transfer};
use crate::wait;

/// Moves `bytes` up and then down. It fails when one octet is wrong.
pub(in crate::bench) fn run(rig: &Rig, bytes: u64) -> Result<Values> {
    let program = binary("cgwd-lab")?.display().to_string();
    let command = [program.clone(), "serve".to_owned(), VPC_HOST.to_string()];
    let _server = contender::spawn(rig, Role::Vpc, &command, &[], true)?;
    let target = format!("{VPC_HOST}:{TRANSFER_PORT}");
    let transfer = |way: &str, bytes: u64| -> Result<transfer::Report> {
        let mut command = rig.lan.command(&program);
        let text = netns::run(command.args(["transfer", way, &target, &bytes.to_string()]))?;
        serde_json::from_str(&text).with_context(|| format!("the transfer reported {text:?}"))
    };
    wait::until(Duration::from_secs(5), "the transfer server", || transfer("download", 1).is_ok())?;
    let mut values = Values::new();
    for way in ["upload", "download"] {
        let report = transfer(way, bytes)?;
        values.insert(format!("{way}_gb"), report.bytes as f64 / 1e9);
        values.insert(format!("{way}_gbit"), report.mbit_per_second() / 1e3);
    }
    Ok(values)
}
