//! What is measured against each other: two gateways of one make, one on each side of the rig's middle link, with
//! default settings but for what the rig needs; and plain forwarding, the ceiling.
//!
//! Every peer gets the AES-GCM or ChaCha20-Poly1305 of its make, an inner MTU of 1420 where it takes one, and for the UDP
//! measurements the transmit queue that `cgwd` gives its own interface.

mod nebula;
mod openvpn;
mod ours;
mod strongswan;
mod wireguard;

use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::machine;
use super::rig::{AWS, GW, LAN, Rig, Role, VPC, VPC_HOST};
use crate::netns::Namespace;
use crate::process::{Process, Spawn};
use crate::strongswan::StrongSwan;
use crate::wait;

/// How long a tunnel may take to come up.
const UP: Duration = Duration::from_secs(20);
/// Length of the transmit queue of `cgwd`'s interface, in packets or super-packets.
const TXQUEUELEN: u32 = 10_000;
/// Inner MTU of peers that do not know the path's.
const PEER_MTU: u32 = 1420;

/// One make.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// No tunnel: the kernel forwards.
    Plain,
    /// `cgwd run` and the lab's endpoint, ESP in UDP.
    Cgwd,
    /// The same with IP protocol 50.
    CgwdRaw,
    /// Our data plane alone, ESP in UDP.
    Plane,
    /// Our data plane alone, protocol 50.
    PlaneRaw,
    /// wireguard-go, a newer one built apart.
    WireguardGoNew,
    /// wireguard-go of the distribution.
    WireguardGo,
    /// gotatun, from crates.io.
    Gotatun,
    /// boringtun, from crates.io.
    Boringtun,
    /// nebula of the distribution.
    Nebula,
    /// OpenVPN of the distribution, in user space.
    Openvpn,
    /// strongSwan's user-space ESP, kernel-libipsec.
    Strongswan,
}

/// Where programs are that no distribution installs.
#[derive(Clone, Debug, Default)]
pub(super) struct Programs {
    /// A newer wireguard-go.
    pub(super) wireguard_go: Option<PathBuf>,
    /// Where `cargo install --root` put things.
    pub(super) cargo_root: Option<PathBuf>,
}

impl Programs {
    fn cargo(&self, name: &str) -> Option<PathBuf> {
        self.cargo_root.as_ref().map(|root| root.join("bin").join(name)).filter(|path| path.exists())
    }
}

impl Kind {
    /// What a full comparison runs, in the order of the tables; ours are in it once, as users run them.
    pub(super) const COMPARISON: [Self; 10] = [
        Self::Plain,
        Self::Cgwd,
        Self::CgwdRaw,
        Self::WireguardGoNew,
        Self::WireguardGo,
        Self::Gotatun,
        Self::Boringtun,
        Self::Nebula,
        Self::Openvpn,
        Self::Strongswan,
    ];

    /// Its name in tables and results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "no tunnel",
            Self::Cgwd => "cgwd",
            Self::CgwdRaw => "cgwd, protocol 50",
            Self::Plane => "data plane alone",
            Self::PlaneRaw => "data plane alone, protocol 50",
            Self::WireguardGoNew => "wireguard-go, upstream",
            Self::WireguardGo => "wireguard-go, Debian",
            Self::Gotatun => "gotatun",
            Self::Boringtun => "boringtun",
            Self::Nebula => "nebula",
            Self::Openvpn => "OpenVPN",
            Self::Strongswan => "strongSwan libipsec",
        }
    }

    /// Whether it is ours.
    pub(super) const fn is_ours(self) -> bool {
        matches!(self, Self::Cgwd | Self::CgwdRaw | Self::Plane | Self::PlaneRaw)
    }

    /// Whether it is somebody else's tunnel.
    pub(super) const fn is_peer(self) -> bool {
        !self.is_ours() && !matches!(self, Self::Plain)
    }

    /// What stands for this make on this machine, with its version; `None` when it is not installed.
    pub(super) fn version(self, programs: &Programs) -> Option<String> {
        let ask = |program: &Path, argument: &str| {
            let mut command = Command::new(program);
            command.arg(argument);
            machine::said(command)
        };
        let debian = |package: &str| {
            let mut command = Command::new("dpkg-query");
            command.args(["-W", "-f=${Version}\n", package]);
            machine::said(command).filter(|said| !said.contains("no packages found"))
        };
        match self {
            Self::Plain => Some("kernel forwarding".to_owned()),
            Self::Cgwd | Self::CgwdRaw | Self::Plane | Self::PlaneRaw => {
                Some(format!("cgwd {}", env!("CARGO_PKG_VERSION")))
            }
            Self::WireguardGoNew => ask(programs.wireguard_go.as_deref()?, "--version"),
            Self::WireguardGo => debian("wireguard-go").map(|version| format!("Debian {version}")),
            Self::Gotatun => ask(&programs.cargo("gotatun")?, "--version"),
            Self::Boringtun => ask(&programs.cargo("boringtun-cli")?, "--version"),
            Self::Nebula => debian("nebula").map(|version| format!("Debian {version}")),
            Self::Openvpn => debian("openvpn").map(|version| format!("Debian {version}")),
            Self::Strongswan => debian("charon-systemd").map(|version| format!("Debian {version}")),
        }
    }

    /// Starts both gateways and waits until traffic passes.
    pub(super) fn start<'r>(self, rig: &'r Rig, programs: &Programs) -> Result<Running<'r>> {
        let mut running = match self {
            Self::Plain => {
                rig.gw.ip(&format!("route add {VPC} via {AWS}"))?;
                rig.aws.ip(&format!("route add {LAN} via {GW}"))?;
                Running::default()
            }
            Self::Cgwd => ours::cgwd(rig, "udp")?,
            Self::CgwdRaw => ours::cgwd(rig, "auto")?,
            Self::Plane => ours::plane(rig, false)?,
            Self::PlaneRaw => ours::plane(rig, true)?,
            Self::WireguardGoNew => wireguard::start(rig, programs.wireguard_go.as_deref(), &["-f"])?,
            Self::WireguardGo => wireguard::start(rig, Some(Path::new("wireguard-go")), &["-f"])?,
            Self::Gotatun => rust_wireguard(rig, programs.cargo("gotatun"))?,
            Self::Boringtun => rust_wireguard(rig, programs.cargo("boringtun-cli"))?,
            Self::Nebula => nebula::start(rig)?,
            Self::Openvpn => openvpn::start(rig)?,
            Self::Strongswan => strongswan::start(rig)?,
        };
        running.wait_for_traffic(rig)?;
        Ok(running)
    }
}

/// Two gateways at work; dropping it ends them.
#[derive(Debug, Default)]
pub(super) struct Running<'r> {
    processes: Vec<Process>,
    pids: Vec<(Role, u32)>,
    interfaces: Vec<(Role, String)>,
    kept: Vec<Kept<'r>>,
}

/// Something that must live as long as the gateways.
#[derive(Debug)]
enum Kept<'r> {
    /// The writing end of a program's standard input: closing it ends the program.
    Stdin { _pipe: ChildStdin },
    /// A daemon that the lab knows how to run.
    StrongSwan { _daemon: Box<StrongSwan<'r>> },
}

/// Memory of the gateways in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// Resident now, the larger of both.
    pub(super) now: f64,
    /// Resident at most so far, the larger of both.
    pub(super) highest: f64,
}

impl Running<'_> {
    fn add(&mut self, rig: &Rig, role: Role, command: &[String], env: &[(&str, &str)]) -> Result<()> {
        let mut process = spawn(rig, role, command, env, true)?;
        self.kept.extend(process.take_stdin().map(|pipe| Kept::Stdin { _pipe: pipe }));
        self.pids.push((role, process.pid()));
        self.processes.push(process);
        Ok(())
    }

    fn interface(&mut self, role: Role, name: &str) {
        self.interfaces.push((role, name.to_owned()));
    }

    /// Waits until the gateway has made its interface.
    fn wait_for_interface(&mut self, rig: &Rig, role: Role, name: &str) -> Result<()> {
        let path = format!("/sys/class/net/{name}");
        let what = format!("the interface {name}");
        wait::until(UP, &what, || {
            self.ended().is_some() || rig.host(role).run(&["test", "-e", &path]).is_ok()
        })?;
        self.check()
    }

    /// Routes `net` into the tunnel, once the gateway has made its interface.
    fn route(&mut self, rig: &Rig, role: Role, interface: &str, net: &str) -> Result<()> {
        self.wait_for_interface(rig, role, interface)?;
        rig.host(role).ip(&format!("link set {interface} up"))?;
        rig.host(role).ip(&format!("route replace {net} dev {interface}")).map(drop)
    }

    fn ended(&mut self) -> Option<&Process> {
        self.processes.iter_mut().find_map(|process| (!process.is_running()).then_some(&*process))
    }

    fn check(&mut self) -> Result<()> {
        match self.ended() {
            Some(process) => bail!("a gateway ended at once:\n{}", tail(process.log())),
            None => Ok(()),
        }
    }

    fn wait_for_traffic(&mut self, rig: &Rig) -> Result<()> {
        let start = Instant::now();
        while !pings(&rig.lan) {
            self.check()?;
            if start.elapsed() > UP {
                let logs: Vec<String> = self.processes.iter().map(|process| tail(process.log())).collect();
                bail!("no traffic after {} s:\n{}", UP.as_secs(), logs.join("\n--\n"));
            }
        }
        Ok(())
    }

    /// Gives every tunnel interface the queue that ours has.
    pub(super) fn lengthen_queues(&self, rig: &Rig) -> Result<()> {
        for (role, interface) in &self.interfaces {
            rig.host(*role).ip(&format!("link set {interface} txqueuelen {TXQUEUELEN}"))?;
        }
        Ok(())
    }

    /// CPU seconds of both gateways' processes so far.
    pub(super) fn cpu(&self) -> f64 {
        self.pids.iter().map(|(_, pid)| machine::process(*pid)).sum()
    }

    /// Memory of the gateways; of two the larger one.
    pub(super) fn memory(&self) -> Memory {
        self.pids.iter().fold(Memory::default(), |all, (_, pid)| {
            let (now, highest) = machine::memory(*pid);
            Memory { now: all.now.max(now), highest: all.highest.max(highest) }
        })
    }
}

/// Starts a program in one of the rig's namespaces, with a log of its own.
pub(super) fn spawn(
    rig: &Rig,
    role: Role,
    command: &[String],
    env: &[(&str, &str)],
    pipes: bool,
) -> Result<Process> {
    let name = command.first().and_then(|path| Path::new(path).file_name()).unwrap_or_default();
    Process::spawn(&Spawn {
        namespace: rig.host(role),
        command: command.to_vec(),
        env: env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        log: rig.scratch().join(format!("{}-{role:?}.log", name.to_string_lossy())),
        pipes,
    })
}

/// The relatives of boringtun take its arguments; nobody is logged in here whose user they could become.
fn rust_wireguard(rig: &Rig, program: Option<PathBuf>) -> Result<Running<'_>> {
    wireguard::start(rig, program.as_deref(), &["-f", "--disable-drop-privileges"])
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn pings(lan: &Namespace) -> bool {
    let mut command = lan.command("ping");
    command.args(["-n", "-c", "1", "-W", "1", &VPC_HOST.to_string()]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let answered = command.status().is_ok_and(|status| status.success());
    if !answered {
        // It fails at once while there is no route.
        std::thread::sleep(Duration::from_millis(50));
    }
    answered
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(25)..).unwrap_or_default().join("\n")
}
