//! A whole Debian, booted with systemd in a container (systemd-nspawn): what a package or a unit does on a machine can
//! only be seen on one. Nothing of it stays: the root file system is an overlay in memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cleanup;
use crate::netns::{self, Namespace};
use crate::process::{Process, Spawn};
use crate::wait;

/// What debootstrap puts beside the essential packages: systemd, and what its first boot asks for.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,kmod,procps,udev";
/// How long it may take to boot.
const BOOT: Duration = Duration::from_secs(60);

/// A running machine; dropping it switches it off.
#[derive(Debug)]
pub struct Machine {
    process: Process,
    leader: u32,
    cgroup: PathBuf,
}

/// What a machine is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The root file system, which is not changed; see [`debian_root`].
    pub root: &'a Path,
    /// The network it lives in.
    pub namespace: &'a Namespace,
    /// A name no other machine has.
    pub name: &'a str,
    /// Directories of this machine that it sees, and where.
    pub binds: &'a [(&'a Path, &'a str)],
    /// Where its console goes.
    pub log: PathBuf,
}

/// Why no machine can be booted here; `None` when one can.
pub fn unavailable() -> Option<String> {
    for (program, package) in
        [("systemd-nspawn", "systemd-container"), ("debootstrap", "debootstrap"), ("nsenter", "util-linux")]
    {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        if !found.is_ok_and(|output| output.status.success()) {
            return Some(format!("{program} is not installed (package {package})"));
        }
    }
    unified().is_none().then(|| "no unified cgroup hierarchy is mounted".to_owned())
}

/// A Debian 12 root file system, made by debootstrap once and kept in `cache`.
///
/// # Errors
/// When debootstrap fails: no package mirror.
pub fn debian_root(cache: &Path) -> Result<PathBuf> {
    let root = cache.join("debian-12");
    if !root.join("etc/os-release").exists() {
        let fresh = cache.join(format!("debian-12.{}", std::process::id()));
        std::fs::create_dir_all(cache)?;
        let include = format!("--include={PACKAGES}");
        let made = netns::run(
            Command::new("debootstrap").args(["--variant=minbase", &include, "bookworm"]).arg(&fresh),
        );
        let renamed = made.and_then(|_| Ok(std::fs::rename(&fresh, &root)?));
        if renamed.is_err() {
            let _ = std::fs::remove_dir_all(&fresh);
        }
        renamed.context("no Debian root file system could be made")?;
    }
    Ok(root)
}

impl Machine {
    /// Boots one and waits until its systemd says so.
    ///
    /// # Errors
    /// When the container does not start or does not come up; the message carries its console.
    pub fn boot(parts: &Parts<'_>) -> Result<Self> {
        let cgroup = unified().context("no unified cgroup hierarchy")?.join(parts.name);
        // `ip netns exec` hides the control groups behind a /sys of its own; back to this process's view.
        let view = format!("--mount=/proc/{}/ns/mnt", std::process::id());
        let mut command = ["nsenter", &view, "sh", "-c", &enter(&cgroup), "sh"].map(str::to_owned).to_vec();
        command.extend(
            [
                "systemd-nspawn",
                "--quiet",
                "--boot",
                "--volatile=overlay",
                "--register=no",
                "--keep-unit",
                "--console=pipe",
                // The unit's own limits are under test, not those of a container around it.
                "--capability=all",
                "--system-call-filter=@known",
                "--bind=/dev/net/tun",
            ]
            .map(str::to_owned),
        );
        command.push(format!("--directory={}", parts.root.display()));
        command.push(format!("--machine={}", parts.name));
        command.push(format!("--network-namespace-path=/run/netns/{}", parts.namespace.name()));
        command.extend(parts.binds.iter().map(|(from, to)| format!("--bind={}:{to}", from.display())));
        let process = Process::spawn(&Spawn {
            namespace: parts.namespace,
            command,
            env: vec![("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY".to_owned(), "1".to_owned())],
            log: parts.log.clone(),
            pipes: false,
        })?;
        let mut machine = Self { process, leader: 0, cgroup };
        machine.wait_for_boot().with_context(|| {
            let console = std::fs::read_to_string(&parts.log).unwrap_or_default();
            format!("the machine did not boot:\n{console}")
        })?;
        Ok(machine)
    }

    fn wait_for_boot(&mut self) -> Result<()> {
        let pid = self.process.pid();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let end = Instant::now() + BOOT;
        while Instant::now() < end {
            if !self.process.is_running() {
                bail!("systemd-nspawn ended");
            }
            let first = std::fs::read_to_string(&children).unwrap_or_default();
            self.leader = first.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
            if self.leader != 0 && self.is_up() {
                cleanup::add_process(self.leader);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("its systemd is not up after {} s", BOOT.as_secs())
    }

    fn is_up(&self) -> bool {
        let output = self.command("systemctl").arg("is-system-running").output();
        output.is_ok_and(|output| {
            ["running", "degraded"].contains(&String::from_utf8_lossy(&output.stdout).trim())
        })
    }

    /// The machine's first process, as this machine numbers it.
    pub const fn leader(&self) -> u32 {
        self.leader
    }

    /// Where its services' control groups are.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// A command that will run on the machine.
    pub fn command(&self, program: &str) -> Command {
        enter_machine(self.leader, program)
    }

    /// Runs a shell script on the machine; what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn shell(&self, script: &str) -> Result<String> {
        netns::run(self.command("sh").args(["-ec", script]))
    }

    /// A file of the machine, as this machine sees it.
    pub fn path(&self, inside: &str) -> PathBuf {
        root_of(self.leader).join(inside.trim_start_matches('/'))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The end of its first process ends every other one.
        if self.leader != 0 {
            cleanup::send_signal(self.leader, "KILL");
            cleanup::forget_process(self.leader);
        }
        let _ = self.process.wait(Duration::from_secs(5));
        self.process.kill();
        let emptied = || !self.cgroup.exists() || remove_groups(&self.cgroup).is_ok();
        let _ = wait::until(Duration::from_secs(5), "the control groups to empty", emptied);
        if let (Some(named), Some(name)) = (mounted("cgroup", "name=systemd"), self.cgroup.file_name()) {
            let _ = remove_groups(&named.join(name));
        }
    }
}

/// A command inside the container whose first process is `leader`.
pub(crate) fn enter_machine(leader: u32, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    let target = leader.to_string();
    command.args(["--target", &target, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root"]);
    command.args(["--wd=/", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]);
    command.args(["DEBIAN_FRONTEND=noninteractive", program]);
    command
}

pub(crate) fn root_of(leader: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{leader}/root"))
}

/// A shell script that goes into a control group of its own and becomes its arguments. Otherwise the container's
/// systemd would take the groups of this machine for its own.
fn enter(cgroup: &Path) -> String {
    let named =
        mounted("cgroup", "name=systemd").map(|root| root.join(cgroup.file_name().unwrap_or_default()));
    let all = std::iter::once(cgroup.to_owned()).chain(named);
    let enter: String =
        all.map(|group| format!("mkdir -p {0} && echo $$ > {0}/cgroup.procs && ", group.display())).collect();
    format!("{enter} exec \"$@\"")
}

fn unified() -> Option<PathBuf> {
    mounted("cgroup2", "")
}

/// Where a file system of this kind is mounted, with this option.
fn mounted(kind: &str, option: &str) -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, place, fs, options, ..] = words.as_slice() else { return None };
        let matches = *fs == kind && (option.is_empty() || options.split(',').any(|one| one == option));
        matches.then(|| PathBuf::from(place))
    })
}

/// Removes a control group and those below it; it must be empty of processes.
fn remove_groups(group: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(group)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path())?;
        }
    }
    std::fs::remove_dir(group)
}
