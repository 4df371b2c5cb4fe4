//! Long-running programs inside a namespace: started, watched, signalled, and never left behind.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cleanup;
use crate::netns::Namespace;

/// A child process of ours; dropping it kills and reaps it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

/// What to start, and where.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// The namespace it runs in.
    pub namespace: &'a Namespace,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment variables to add.
    pub env: Vec<(String, String)>,
    /// Where standard error goes (and standard output, unless it is captured); appended to.
    pub log: PathBuf,
    /// Keep standard input and output as pipes.
    pub pipes: bool,
}

impl Process {
    /// Starts it. The kernel kills it when this process dies without a word (`setpriv --pdeathsig`), and a
    /// process group of its own keeps the terminal's Ctrl-C for the lab, which then ends it in order.
    ///
    /// # Errors
    /// When the program cannot be started or the log not be written.
    pub fn spawn(spawn: &Spawn<'_>) -> Result<Self> {
        let _leave = cleanup::still_open()?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(&spawn.log)
            .with_context(|| format!("cannot write the log {}", spawn.log.display()))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "ip", "netns", "exec", spawn.namespace.name()])
            .args(&spawn.command)
            .envs(spawn.env.iter().map(|(key, value)| (key, value)))
            .stderr(log.try_clone()?)
            .process_group(0);
        if spawn.pipes {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            command.stdin(Stdio::null()).stdout(log);
        }
        let child = command.spawn().with_context(|| format!("cannot start {:?}", spawn.command))?;
        cleanup::add_process(child.id());
        let name = spawn.command.first().cloned().unwrap_or_default();
        Ok(Self { child, name, log: spawn.log.clone() })
    }

    /// Its process id; every wrapper replaces itself, so this is the program's own.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The writing end of its standard input, when it was started with pipes; only once.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The reading end of its standard output, when it was started with pipes; only once.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Sends a signal, by name without `SIG`.
    pub fn signal(&self, signal: &str) {
        cleanup::send_signal(self.child.id(), signal);
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end; `None` when `timeout` passes first.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if start.elapsed() > timeout {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then SIGKILL after `grace`. True when it ended by itself.
    pub fn stop(&mut self, grace: Duration) -> bool {
        if !self.is_running() {
            return true;
        }
        self.signal("TERM");
        if self.wait(grace).is_some() {
            return true;
        }
        tracing::warn!(program = self.name, "did not end on SIGTERM, killed");
        self.kill();
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        cleanup::forget_process(self.child.id());
    }
}
