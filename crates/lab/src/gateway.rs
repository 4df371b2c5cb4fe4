//! `cgwd` as a user runs it: its command line, its daemon, its control socket. Nothing of it is linked in.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::netns::{self, Namespace};
use crate::process::{Process, Spawn};
use crate::sandbox::{self, Sandbox, Service};
use crate::topology::{Side, Topology};
use crate::traffic::binary;
use crate::wait;

/// One `cgwd` in the gateway's namespace.
#[derive(Debug)]
pub struct Gateway<'t> {
    namespace: &'t Namespace,
    directory: PathBuf,
    sandbox: Option<Sandbox>,
    daemon: Option<Daemon>,
    started: Option<Instant>,
}

/// A directory with two names.
#[derive(Clone, Debug)]
pub struct Place {
    /// What the daemon calls it.
    pub seen_by_daemon: PathBuf,
    /// What this machine calls it.
    pub here: PathBuf,
}

/// Who started the daemon.
#[derive(Debug)]
enum Daemon {
    /// We did.
    Process(Process),
    /// The systemd of a machine, with the shipped unit's sandbox around it.
    Service(Service),
}

impl<'t> Gateway<'t> {
    /// A gateway that has no configuration yet.
    ///
    /// # Errors
    /// When its directory cannot be made.
    pub fn new(topology: &'t Topology) -> Result<Self> {
        let directory = topology.scratch().join("cgwd");
        std::fs::create_dir_all(directory.join("state"))?;
        Ok(Self { namespace: &topology.gw, directory, sandbox: Sandbox::here(), daemon: None, started: None })
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.directory.join("cgwd.toml")
    }

    /// Its state directory, which outlives the daemon.
    pub fn state(&self) -> Place {
        let (seen_by_daemon, here) = self
            .sandbox
            .as_ref()
            .map_or_else(|| (self.directory.join("state"), self.directory.join("state")), Sandbox::state);
        Place { seen_by_daemon, here }
    }

    /// A file of the test as the daemon names it; others may read it.
    ///
    /// # Errors
    /// When it is not below this machine's temporary directory.
    pub fn seen_by_daemon(&self, file: &Path) -> Result<PathBuf> {
        if self.sandbox.is_some() { sandbox::seen_there(file) } else { Ok(file.to_owned()) }
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.sandbox.as_ref().map_or_else(|| self.directory.join("control.sock"), Sandbox::socket)
    }

    /// Runs one `cgwd` command in the gateway's namespace, with `--socket` where the command takes it.
    ///
    /// # Errors
    /// When the program cannot be started; a non-zero status is in the output.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.namespace.command(binary("cgwd")?);
        command.env("CGWD_SOCKET", self.socket()).args(arguments);
        // A service's own file is a copy that systemd made, on that machine.
        if let Some(sandbox) = &self.sandbox
            && !arguments.contains(&"--config")
        {
            match arguments.first() {
                // The shipped unit reloads in the same way.
                Some(&"reload") => command.arg("--config").arg(sandbox.translate(&self.config())?.0),
                Some(&"doctor") => command.arg("--config").arg(self.config()),
                _ => &mut command,
            };
        }
        command.output().with_context(|| format!("cannot run cgwd {arguments:?}"))
    }

    /// Runs one `cgwd` command as a user who may reach the socket's file, and is nobody else.
    ///
    /// # Errors
    /// When the program cannot be started; a non-zero status is in the output.
    pub fn cli_as_nobody(&self, arguments: &[&str]) -> Result<Output> {
        if let Some(sandbox) = &self.sandbox {
            return sandbox.as_nobody(arguments);
        }
        netns::run(Command::new("chmod").args(["-R", "o+rwX"]).arg(&self.directory))?;
        // Nobody need be able to reach the directory that it was built in.
        let copy = self.directory.join("cgwd-of-nobody");
        std::fs::copy(binary("cgwd")?, &copy)?;
        for directory in self.directory.ancestors().take_while(|path| *path != std::env::temp_dir()) {
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o711))?;
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
        command.arg("--socket").arg(self.socket()).args(arguments);
        command.output().context("setpriv cannot be run")
    }

    /// `cgwd import` of an AWS file; returns what it said on standard error.
    ///
    /// # Errors
    /// When the import is refused.
    pub fn import(&self, input: &Path, arguments: &[&str]) -> Result<String> {
        let (config, input) = (self.config().display().to_string(), input.display().to_string());
        let mut all = vec!["import"];
        all.extend(arguments);
        all.extend(["--output", &config, &input]);
        let _ = std::fs::remove_file(self.config());
        let output = self.cli(&all)?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            bail!("cgwd import failed ({}): {stderr}", output.status);
        }
        Ok(stderr)
    }

    /// Changes the configuration file by hand, as an operator would.
    ///
    /// # Errors
    /// When it does not hold `from`, or cannot be written.
    pub fn edit(&self, from: &str, to: &str) -> Result<()> {
        let text = std::fs::read_to_string(self.config())?;
        if !text.contains(from) {
            bail!("the configuration does not hold {from:?}:\n{text}");
        }
        Ok(std::fs::write(self.config(), text.replace(from, to))?)
    }

    /// Starts the daemon and waits for its control socket.
    ///
    /// # Errors
    /// When it ends at once.
    pub fn start(&mut self) -> Result<()> {
        self.start_with(&[])
    }

    /// The same with further arguments.
    ///
    /// # Errors
    /// When it ends at once.
    pub fn start_with(&mut self, arguments: &[&str]) -> Result<()> {
        let [config, socket] = [self.config(), self.socket()].map(|path| path.display().to_string());
        let command =
            [&binary("cgwd")?.display().to_string(), "run", "--config", &config, "--socket", &socket];
        let state = ("STATE_DIRECTORY".to_owned(), self.state().seen_by_daemon.display().to_string());
        let log = std::env::var("CGWD_LAB_LOG").map(|level| ("CGWD_LOG".to_owned(), level));
        self.started = Some(Instant::now());
        if let Some(sandbox) = &self.sandbox {
            let (config, log) = (self.config(), self.log_file());
            let parts = sandbox::Gateway { namespace: self.namespace, config: &config, log: &log, arguments };
            let service =
                sandbox.start(&parts).with_context(|| format!("cgwd did not start:\n{}", self.log()))?;
            self.daemon = Some(Daemon::Service(service));
            return Ok(());
        }
        let mut process = Process::spawn(&Spawn {
            namespace: self.namespace,
            command: command.iter().chain(arguments).map(|word| (*word).to_owned()).collect(),
            env: std::iter::once(state).chain(log).collect(),
            log: self.log_file(),
            pipes: false,
        })?;
        let mut ended = None;
        let waited = wait::until(Duration::from_secs(5), "cgwd's control socket", || {
            ended = (!process.is_running()).then(|| process.wait(Duration::ZERO)).flatten();
            ended.is_some() || self.status().is_ok()
        });
        if waited.is_err() || ended.is_some() {
            bail!("cgwd did not start ({ended:?}):\n{}", self.log());
        }
        self.daemon = Some(Daemon::Process(process));
        Ok(())
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("cgwd.log")
    }

    /// What the daemon logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Time since the daemon was started.
    pub fn uptime(&self) -> Duration {
        self.started.map_or(Duration::ZERO, |started| started.elapsed())
    }

    /// The daemon's process id.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(|daemon| match daemon {
            Daemon::Process(process) => process.pid(),
            Daemon::Service(service) => service.pid(),
        })
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        match self.daemon.take() {
            Some(Daemon::Process(mut process)) => process.kill(),
            Some(Daemon::Service(mut service)) => service.kill(),
            None => {}
        }
    }

    /// SIGTERM; true when it ended by itself within ten seconds.
    pub fn stop(&mut self) -> bool {
        self.daemon.take().is_none_or(|daemon| match daemon {
            Daemon::Process(mut process) => process.stop(Duration::from_secs(10)),
            Daemon::Service(mut service) => service.stop(),
        })
    }

    /// `cgwd status --json`.
    ///
    /// # Errors
    /// When the daemon is not reachable or prints no JSON.
    pub fn status(&self) -> Result<Value> {
        let output = self.cli(&["status", "--json"])?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!("cgwd status --json ({}): {}", output.status, String::from_utf8_lossy(&output.stderr))
        })
    }

    /// One tunnel's object in the status, found by its outside address.
    ///
    /// # Errors
    /// When the status has no such tunnel.
    pub fn tunnel(&self, side: Side) -> Result<Value> {
        let status = self.status()?;
        let outside = [side.outside(), side.outside6()].map(|address| address.to_string());
        let connections = status["connections"].as_array().cloned().unwrap_or_default();
        let mut tunnels = connections.iter().filter_map(|c| c["tunnels"].as_array()).flatten();
        tunnels
            .find(|tunnel| outside.iter().any(|address| tunnel["outside_ip"] == *address))
            .cloned()
            .with_context(|| format!("no tunnel to {outside:?} in {status}"))
    }

    /// One tunnel's stage, `unknown` when the daemon does not answer.
    pub fn stage(&self, side: Side) -> String {
        self.tunnel(side)
            .ok()
            .and_then(|tunnel| tunnel["stage"].as_str().map(str::to_owned))
            .unwrap_or_else(|| "unknown".to_owned())
    }

    /// Whether the egress lies on this tunnel.
    pub fn is_egress(&self, side: Side) -> bool {
        self.tunnel(side).is_ok_and(|tunnel| tunnel["egress"] == true)
    }

    /// Waits until a tunnel reaches a stage; how long that took.
    ///
    /// # Errors
    /// When it does not in time; the message carries the tunnel's status and the log's end.
    pub fn wait_stage(&self, side: Side, stage: &str, timeout: Duration) -> Result<Duration> {
        let what = format!("{} to reach {stage}", side.tunnel());
        wait::until(timeout, &what, || self.stage(side) == stage).with_context(|| self.picture(side))
    }

    /// Waits until both tunnels are up; how long that took.
    ///
    /// # Errors
    /// As [`Self::wait_stage`].
    pub fn wait_all_up(&self, timeout: Duration) -> Result<Duration> {
        let first = self.wait_stage(Side::One, "up", timeout)?;
        Ok(first + self.wait_stage(Side::Two, "up", timeout.saturating_sub(first))?)
    }

    fn picture(&self, side: Side) -> String {
        let log = self.log();
        let tail: Vec<&str> = log.lines().rev().take(30).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        let status = self.tunnel(side).map_or_else(|error| error.to_string(), |tunnel| tunnel.to_string());
        format!("status: {status}\nthe end of its log:\n{}", tail.join("\n"))
    }

    /// `cgwd events --json`, oldest first.
    ///
    /// # Errors
    /// When the daemon is not reachable or a line is no JSON.
    pub fn events(&self) -> Result<Vec<Value>> {
        let output = self.cli(&["events", "--json"])?;
        if !output.status.success() {
            bail!("cgwd events --json: {}", String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Routes of the gateway that carry `cgwd`'s protocol number.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn owned_routes(&self) -> Result<String> {
        let v4 = netns::run(Command::new("ip").args([
            "-n",
            self.namespace.name(),
            "route",
            "show",
            "table",
            "all",
            "proto",
            "173",
        ]))?;
        let v6 = self.namespace.ip("-6 route show table all proto 173")?;
        Ok(format!("{v4}{v6}"))
    }
}
