//! Our own AWS stand-in as a process of the lab: `cgwd-lab endpoint` in the namespace of one side.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ChildStdin;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{Process, Spawn};
use crate::topology::{Families, Side, Topology};
use crate::traffic::binary;
use crate::wait;

/// A running `cgwd-lab endpoint`.
#[derive(Debug)]
pub struct Embedded<'t> {
    topology: &'t Topology,
    side: Side,
    families: Families,
    arguments: Vec<String>,
    process: Option<Process>,
    stdin: Option<ChildStdin>,
}

impl<'t> Embedded<'t> {
    /// Starts one with AWS's defaults and further arguments.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(topology: &'t Topology, side: Side, arguments: &[&str]) -> Result<Self> {
        Self::start_in(topology, side, Families::V4, arguments)
    }

    /// The same in other address families.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_in(
        topology: &'t Topology,
        side: Side,
        families: Families,
        arguments: &[&str],
    ) -> Result<Self> {
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        let mut this = Self { topology, side, families, arguments, process: None, stdin: None };
        this.restart()?;
        Ok(this)
    }

    /// Starts it again after [`Self::kill`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<()> {
        let (side, families) = (self.side, self.families);
        self.process = None;
        let key = self.topology.scratch().join(format!("{}.psk", side.role()));
        std::fs::write(&key, side.psk())?;
        let fixed = [
            binary("cgwd-lab")?.display().to_string(),
            "endpoint".to_owned(),
            format!("--local={}", families.endpoint(side)),
            format!("--peer={}", families.gateway()),
            format!("--psk-file={}", key.display()),
            format!("--inside={}", families.inside(side)),
            "--interface=vti0".to_owned(),
        ];
        // With BGP the customer's announcements say what lies behind it.
        let dynamic = self.arguments.iter().any(|word| word.starts_with("--bgp"));
        let route = (!dynamic).then(|| format!("--route={}", families.lan()));
        let mut process = Process::spawn(&Spawn {
            namespace: self.topology.aws(side),
            command: fixed.into_iter().chain(route).chain(self.arguments.iter().cloned()).collect(),
            env: Vec::new(),
            log: self.log_file(),
            pipes: true,
        })?;
        self.stdin = process.take_stdin();
        let ready = wait::until(Duration::from_secs(5), "the endpoint to be ready", || {
            !process.is_running() || self.log().matches("endpoint ready").count() > 0
        });
        if ready.is_err() || !process.is_running() {
            anyhow::bail!("the embedded endpoint did not start:\n{}", self.log());
        }
        self.process = Some(process);
        Ok(())
    }

    fn log_file(&self) -> PathBuf {
        self.topology.scratch().join(format!("endpoint-{}.log", self.side.role()))
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Says a word to it: `rekey ike`, `rekey child`, `delete`, `initiate`, `med N`, `status`.
    ///
    /// # Errors
    /// When it is not running.
    pub fn say(&mut self, word: &str) -> Result<()> {
        Ok(writeln!(self.stdin.as_mut().context("the endpoint is not running")?, "{word}")?)
    }

    /// SIGKILL: gone without a word.
    pub fn kill(&mut self) {
        self.stdin = None;
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM: it deletes its SAs in order.
    pub fn stop(&mut self) -> bool {
        self.process.take().is_none_or(|mut process| process.stop(Duration::from_secs(5)))
    }
}
