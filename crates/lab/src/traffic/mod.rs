//! Traffic through the tunnels, made and judged by tools of our own.
//!
//! Each tool is a subcommand of `cgwd-lab`, because it must run inside a namespace; the functions here start
//! them there and read what they found. A stream of numbered datagrams shows every single loss and how long an
//! outage lasted; a transfer over TCP compares every octet.

pub mod flood;
pub mod pinger;
pub mod serve;
pub mod transfer;

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ChildStdin;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::netns::{self, Namespace};
use crate::process::{Process, Spawn};
use crate::topology::{LAN_HOST, LAN_HOST6, Topology, VPC_HOST, VPC_HOST6};
use crate::wait;

/// UDP port of the echo server.
pub const ECHO_PORT: u16 = 7007;
/// TCP port of the transfer server.
pub const TRANSFER_PORT: u16 = 7008;

/// A program of this workspace, beside the one that runs now; `CGWD_BIN_DIR` overrides the place.
///
/// # Errors
/// When it has not been built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let directory = match std::env::var_os("CGWD_BIN_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => {
            let exe = std::env::current_exe()?;
            let mut directory = exe.parent().context("no directory")?.to_owned();
            if directory.ends_with("deps") {
                directory.pop();
            }
            directory
        }
    };
    let path = directory.join(name);
    if !path.exists() {
        bail!("{} has not been built: cargo build -p cgwd -p lab", path.display());
    }
    Ok(path)
}

/// The echo and transfer servers of one host.
#[derive(Debug)]
pub struct Server {
    _process: Process,
}

impl Server {
    /// Starts them on the addresses of a host and waits until they answer.
    ///
    /// # Errors
    /// When an address is missing there or a port taken.
    pub fn start(topology: &Topology, namespace: &Namespace, addresses: &[IpAddr]) -> Result<Self> {
        let mut command = vec![binary("cgwd-lab")?.display().to_string(), "serve".to_owned()];
        command.extend(addresses.iter().map(ToString::to_string));
        let mut process = Process::spawn(&Spawn {
            namespace,
            command,
            env: Vec::new(),
            log: topology.scratch().join("serve.log"),
            pipes: true,
        })?;
        // It says one line when every socket is bound.
        let mut stdout = process.take_stdout().context("no pipe")?;
        let mut byte = [0];
        if stdout.read(&mut byte)? == 0 {
            bail!("the traffic server did not start, see {}", process.log().display());
        }
        Ok(Self { _process: process })
    }

    /// The servers of the VPC host.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn vpc(topology: &Topology) -> Result<Self> {
        Self::start(topology, &topology.vpc, &[VPC_HOST, VPC_HOST6])
    }

    /// The servers of the LAN host.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn lan(topology: &Topology) -> Result<Self> {
        Self::start(topology, &topology.lan, &[LAN_HOST, LAN_HOST6])
    }
}

/// A stream of numbered datagrams that runs until it is stopped.
#[derive(Debug)]
pub struct Pinger {
    process: Process,
    stdin: Option<ChildStdin>,
}

impl Pinger {
    /// Starts sending to the echo server of `target`, one datagram per `interval`.
    ///
    /// # Errors
    /// When the tool cannot be started.
    pub fn start(topology: &Topology, from: &Namespace, target: IpAddr, interval: Duration) -> Result<Self> {
        let mut process = Process::spawn(&Spawn {
            namespace: from,
            command: vec![
                binary("cgwd-lab")?.display().to_string(),
                "pinger".to_owned(),
                format!("--interval-us={}", interval.as_micros()),
                SocketAddr::new(target, ECHO_PORT).to_string(),
            ],
            env: Vec::new(),
            log: topology.scratch().join("pinger.log"),
            pipes: true,
        })?;
        let stdin = process.take_stdin();
        Ok(Self { process, stdin })
    }

    /// Twenty a second from the LAN host to the VPC host.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn lan_to_vpc(topology: &Topology) -> Result<Self> {
        Self::start(topology, &topology.lan, VPC_HOST, Duration::from_millis(50))
    }

    /// Stops sending, waits for what is on its way, and reports.
    ///
    /// # Errors
    /// When the tool died.
    pub fn stop(mut self) -> Result<pinger::Report> {
        drop(self.stdin.take());
        let mut text = String::new();
        self.process.take_stdout().context("no pipe")?.read_to_string(&mut text)?;
        serde_json::from_str(&text)
            .with_context(|| format!("the pinger reported {text:?}; see {}", self.process.log().display()))
    }
}

/// Which way a transfer goes, seen from the host that asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the server to us.
    Download,
    /// From us to the server.
    Upload,
}

/// Moves `bytes` between a host and the transfer server of `target` and compares every octet.
///
/// # Errors
/// When the connection fails or stalls, or an octet differs.
pub fn transfer(
    from: &Namespace,
    target: IpAddr,
    direction: Direction,
    bytes: u64,
) -> Result<transfer::Report> {
    let word = if direction == Direction::Download { "download" } else { "upload" };
    let mut command = from.command(binary("cgwd-lab")?);
    command.args(["transfer", word, &SocketAddr::new(target, TRANSFER_PORT).to_string(), &bytes.to_string()]);
    let text = netns::run(&mut command)?;
    serde_json::from_str(&text).with_context(|| format!("the transfer reported {text:?}"))
}

/// Waits until one datagram makes it there and back.
///
/// # Errors
/// When none does within `timeout`.
pub fn wait_for_echo(from: &Namespace, target: IpAddr, timeout: Duration) -> Result<Duration> {
    wait::until(timeout, &format!("an echo from {target}"), || {
        let Ok(program) = binary("cgwd-lab") else { return false };
        let mut command = from.command(program);
        command.args(["pinger", "--count=1", "--grace-ms=200"]);
        command.arg(SocketAddr::new(target, ECHO_PORT).to_string());
        netns::run(&mut command)
            .ok()
            .and_then(|text| serde_json::from_str::<pinger::Report>(&text).ok())
            .is_some_and(|report| report.received == 1)
    })
}
