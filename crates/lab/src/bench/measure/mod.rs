//! The measurements: TCP throughput, round-trip times, UDP at zero loss, and the cost per core.

pub(super) mod core;
pub(super) mod floor;
pub(super) mod many;
pub(super) mod profile;
pub(super) mod rtt;
pub(super) mod tcp;
pub(super) mod transfer;
pub(super) mod udp;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use super::contender::Running;
use super::machine::{self, CpuTime};
use crate::process::Process;

/// Named figures of one measurement.
pub(super) type Values = BTreeMap<String, f64>;

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Seconds of one TCP measurement, the first of them not counted.
    pub(super) tcp_seconds: u32,
    /// Echo requests of one round-trip measurement.
    pub(super) pings: u32,
    /// Milliseconds of one UDP trial; the confirming one takes three times as long.
    pub(super) trial_millis: u64,
    /// Seconds of the measurement under 80 % load.
    pub(super) load_seconds: u64,
}

impl Effort {
    /// What results are published from.
    pub(super) const FULL: Self = Self { tcp_seconds: 8, pings: 1000, trial_millis: 1200, load_seconds: 6 };
    /// Half of that.
    pub(super) const BRIEF: Self = Self { tcp_seconds: 5, pings: 500, trial_millis: 600, load_seconds: 4 };
    /// What fits several rounds into twenty minutes.
    pub(super) const TIMED: Self = Self { tcp_seconds: 3, pings: 300, trial_millis: 300, load_seconds: 2 };
    /// Enough to see that everything works.
    pub(super) const QUICK: Self = Self { tcp_seconds: 3, pings: 200, trial_millis: 400, load_seconds: 2 };
}

/// A tool that answers each line with a line of JSON.
#[derive(Debug)]
pub(super) struct Talk {
    process: Process,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Talk {
    /// Takes over a process that was started with pipes, and waits for its first line.
    pub(super) fn new(mut process: Process) -> Result<Self> {
        let (stdin, stdout) =
            (process.take_stdin().context("no pipe")?, process.take_stdout().context("no pipe")?);
        let mut this = Self { process, stdin, stdout: BufReader::new(stdout) };
        let _ready: String = this.hear()?;
        Ok(this)
    }

    /// Says a line and reads the answer.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, line: &str) -> Result<T> {
        self.say(line)?;
        self.hear()
    }

    /// Says a line whose answer may take its time.
    pub(super) fn say(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.stdin, "{line}")?)
    }

    /// Reads an answer.
    pub(super) fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            let log = std::fs::read_to_string(self.process.log()).unwrap_or_default();
            bail!("a tool of the benchmark ended: {log}");
        }
        serde_json::from_str(&line).with_context(|| format!("a tool of the benchmark said {line:?}"))
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// CPU time over a measurement: the machine's, and that of the gateways' processes.
#[derive(Debug)]
pub(super) struct Meter<'a, 'r> {
    running: &'a Running<'r>,
    machine: CpuTime,
    gateways: f64,
}

impl<'a, 'r> Meter<'a, 'r> {
    pub(super) fn start(running: &'a Running<'r>) -> Result<Self> {
        Ok(Self { running, machine: CpuTime::now()?, gateways: running.cpu() })
    }

    /// CPU seconds for each Gbit of the given bits, and what the hypervisor took meanwhile.
    pub(super) fn stop(self, bits: f64, values: &mut Values) -> Result<()> {
        let time = CpuTime::now()?.since(self.machine);
        let per_gbit = |seconds: f64| if bits > 0.0 { seconds / (bits / 1e9) } else { 0.0 };
        values.insert("cpu_s_per_gbit".to_owned(), per_gbit(time.busy));
        values.insert("gateway_cpu_s_per_gbit".to_owned(), per_gbit(self.running.cpu() - self.gateways));
        values.insert("steal_s".to_owned(), time.steal);
        values.insert("load".to_owned(), machine::load());
        Ok(())
    }
}
