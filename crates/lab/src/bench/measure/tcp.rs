//! TCP throughput by iperf3, with what it cost.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::rtt::Pings;
use super::{Effort, Meter, Values};
use crate::bench::contender::{self, Running};
use crate::bench::rig::{MAX_FRAME, Mode, Rig, Role, VPC_HOST};
use crate::wait;

/// The first second, in which windows grow, does not count.
const OMITTED: u32 = 1;
/// iperf3's port, as `/proc/net/tcp6` writes it.
const LISTENING: &str = ":1451 00000000000000000000000000000000:0000 0A";
const LISTENING_V4: &str = ":1451 00000000:0000 0A";

/// Which way the data goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::bench) enum Way {
    /// From the LAN to the VPC: the first gateway encrypts.
    Up,
    /// From the VPC to the LAN.
    Down,
    /// Both at once.
    Both,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Tcp {
    pub(in crate::bench) streams: u32,
    pub(in crate::bench) way: Way,
    /// Measure round trips at the same time.
    pub(in crate::bench) ping: bool,
}

impl Tcp {
    /// Runs it.
    pub(in crate::bench) fn run(self, rig: &Rig, running: &Running<'_>, effort: Effort) -> Result<Values> {
        let seconds = effort.tcp_seconds;
        let mut server =
            contender::spawn(rig, Role::Vpc, &["iperf3", "-s", "-1"].map(str::to_owned), &[], false)?;
        let pid = server.pid();
        wait::until(Duration::from_secs(3), "iperf3's server", || listens(pid))?;
        let before = [rig.received(Role::Aws, "wan0")?, rig.received(Role::Gw, "wan0")?];
        let meter = Meter::start(running)?;
        let mut command = rig.lan.command("iperf3");
        let target = VPC_HOST.to_string();
        let (time, omit, streams) = (seconds.to_string(), OMITTED.to_string(), self.streams.to_string());
        command.args(["-c", &target, "-J", "-t", &time, "-O", &omit, "-P", &streams]);
        match self.way {
            Way::Up => {}
            Way::Down => drop(command.arg("-R")),
            Way::Both => drop(command.arg("--bidir")),
        }
        let client = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut values = Values::new();
        if self.ping {
            std::thread::sleep(Duration::from_secs(u64::from(OMITTED)));
            // Two hundred a second, for as long as the transfer runs.
            Pings::start(rig, (seconds * 200).saturating_sub(100))?.finish(&mut values)?;
        }
        let output = client.wait_with_output()?;
        let report: Value = serde_json::from_slice(&output.stdout).context("iperf3 printed no JSON")?;
        if let Some(error) = report["error"].as_str() {
            bail!("iperf3: {error}");
        }
        let _ = server.wait(Duration::from_secs(2));
        meter.stop(moved_bits(&report), &mut values)?;
        values.insert("gbit".to_owned(), rate(&report)?);
        values.insert("retransmits".to_owned(), retransmits(&report));
        let after = [rig.received(Role::Aws, "wan0")?, rig.received(Role::Gw, "wan0")?];
        // The gateway that receives the data; of two, the far one.
        let side = usize::from(self.way == Way::Down);
        if let (Some(after), Some(before)) = (after.get(side), before.get(side)) {
            values.insert("wan_bytes_per_packet".to_owned(), after.bytes_per_packet(*before));
        }
        check_wire(rig.mode, &values)?;
        Ok(values)
    }
}

/// Proves that no packet longer than the link's MTU crossed a link that claims to be wire-true.
fn check_wire(mode: Mode, values: &Values) -> Result<()> {
    let mean = values.get("wan_bytes_per_packet").copied().unwrap_or(0.0);
    if mode == Mode::WireTrue && mean > MAX_FRAME {
        bail!("the link is not wire-true: {mean:.0} octets a packet crossed it");
    }
    Ok(())
}

fn listens(pid: u32) -> bool {
    let holds = |name: &str, line: &str| {
        std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("net").join(name))
            .is_ok_and(|text| text.contains(line))
    };
    holds("tcp6", LISTENING) || holds("tcp", LISTENING_V4)
}

/// Gbit/s at the receivers, both ways added up.
fn rate(report: &Value) -> Result<f64> {
    let end = &report["end"];
    let forward = end["sum_received"]["bits_per_second"].as_f64().context("iperf3 reported no rate")?;
    let reverse = end["sum_received_bidir_reverse"]["bits_per_second"].as_f64().unwrap_or(0.0);
    Ok((forward + reverse) / 1e9)
}

fn retransmits(report: &Value) -> f64 {
    let sum = |name: &str| report["end"][name]["retransmits"].as_f64().unwrap_or(0.0);
    sum("sum_sent") + sum("sum_sent_bidir_reverse")
}

/// Everything that moved, in the seconds that do not count too: CPU time is measured over all of it.
fn moved_bits(report: &Value) -> f64 {
    let intervals = report["intervals"].as_array().map(Vec::as_slice).unwrap_or_default();
    let bytes = |interval: &Value, name: &str| interval[name]["bytes"].as_f64().unwrap_or(0.0);
    intervals.iter().map(|each| bytes(each, "sum") + bytes(each, "sum_bidir_reverse")).sum::<f64>() * 8.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_directions_count() {
        let report = json!({
            "intervals": [{"sum": {"bytes": 100.0}, "sum_bidir_reverse": {"bytes": 25.0}}],
            "end": {
                "sum_sent": {"retransmits": 3}, "sum_received": {"bits_per_second": 2e9},
                "sum_sent_bidir_reverse": {"retransmits": 4}, "sum_received_bidir_reverse": {"bits_per_second": 1e9},
            },
        });
        assert_eq!((rate(&report).unwrap(), retransmits(&report), moved_bits(&report)), (3.0, 7.0, 1000.0));
    }

    #[test]
    fn a_link_that_carries_super_packets_is_not_wire_true() {
        let values = |mean| Values::from([("wan_bytes_per_packet".to_owned(), mean)]);
        assert!(check_wire(Mode::WireTrue, &values(1480.0)).is_ok());
        assert!(check_wire(Mode::WireTrue, &values(40_000.0)).is_err());
        assert!(check_wire(Mode::Default, &values(40_000.0)).is_ok());
    }
}
