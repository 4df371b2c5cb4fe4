//! The packages: what is in them, and what a new user's three commands do with one on a clean Debian.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::aws_file::Connection;
use lab::embedded::Embedded;
use lab::machine::{self, Machine, Parts};
use lab::netns;
use lab::topology::{LAN, Side, Topology, VPC, VPC_HOST};
use lab::traffic::{self, Server, binary};
use lab::wait;
use serde_json::Value;

use crate::rig::Rig;

/// `systemctl start` to both tunnels up, on a machine that does other things too.
const UP: Duration = Duration::from_secs(20);
/// A unit may be as exposed as this, by systemd's own measure of 0 to 10.
const EXPOSURE_MAX: f64 = 2.0;

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// `scripts/package` with the binary under test, into `output`; the packages by kind.
fn package(output: &Path, arguments: &[&str]) -> Result<Vec<PathBuf>> {
    let mut command = Command::new(repository().join("scripts/package"));
    command.arg("--quick").arg("--binary").arg(binary("cgwd")?).arg("--output").arg(output).args(arguments);
    Ok(netns::run(&mut command)?.lines().map(PathBuf::from).collect())
}

fn scratch(name: &str) -> Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("cgwdpkg-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

#[test]
fn both_packages_hold_everything_and_no_configuration() -> Result<()> {
    let Some(_rig) = Rig::new() else { return Ok(()) };
    let output = scratch("both")?;
    let packages = package(&output, &[])?;
    let [deb, rpm] = packages.as_slice() else { anyhow::bail!("{packages:?}") };
    let in_deb = netns::run(Command::new("dpkg-deb").arg("--contents").arg(deb))?;
    let in_rpm = netns::run(Command::new("rpm").args(["--query", "--list", "--package"]).arg(rpm))?;
    let info = netns::run(Command::new("dpkg-deb").arg("--info").arg(deb))?;
    let conffiles = netns::run(Command::new("dpkg-deb").arg("--info").arg(deb).arg("conffiles"))?;
    let scriptlets = netns::run(Command::new("rpm").args(["--query", "--scripts", "--package"]).arg(rpm))?;
    std::fs::remove_dir_all(&output)?;

    let wanted = [
        "/usr/bin/cgwd",
        "/usr/lib/systemd/system/cgwd.service",
        "/usr/lib/modules-load.d/cgwd.conf",
        "/usr/lib/sysctl.d/60-cgwd.conf",
        "/usr/lib/systemd/networkd.conf.d/10-cgwd.conf",
        "/usr/lib/systemd/network/10-cgwd.network",
        "/usr/lib/NetworkManager/conf.d/cgwd.conf",
        "/etc/iproute2/rt_protos.d/cgwd.conf",
        "/usr/share/man/man8/cgwd.8.gz",
        "/usr/share/man/man8/cgwd-import.8.gz",
        "/usr/share/man/man5/cgwd.toml.5.gz",
        "/usr/share/bash-completion/completions/cgwd",
        "/usr/share/fish/vendor_completions.d/cgwd.fish",
        "/usr/share/doc/cgwd/examples/cgwd.example.toml",
        "/usr/share/doc/cgwd/third-party.txt",
        "/usr/share/doc/cgwd/troubleshooting.md",
    ];
    for path in wanted {
        ensure!(in_deb.lines().any(|line| line.ends_with(&format!(" .{path}"))), "{path} is not in the .deb");
        ensure!(in_rpm.lines().any(|line| line == path), "{path} is not in the .rpm");
    }
    // An upgrade can only leave alone what no package brings.
    ensure!(!in_deb.contains("/etc/cgwd/cgwd.toml") && !in_rpm.contains("/etc/cgwd/cgwd.toml"));
    ensure!(conffiles.trim() == "/etc/iproute2/rt_protos.d/cgwd.conf", "{conffiles}");
    ensure!(info.contains("Depends: libc6"), "{info}");
    ensure!(scriptlets.contains("try-restart cgwd.service"), "{scriptlets}");
    Ok(())
}

#[test]
fn every_file_for_the_host_is_on_the_list_of_what_is_installed() -> Result<()> {
    let list = std::fs::read_to_string(repository().join("packaging/files"))?;
    let mut folders = vec![repository().join("systemd")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(repository())?.display().to_string();
            ensure!(list.split_whitespace().any(|word| word == name), "packaging/files lacks {name}");
        }
    }
    Ok(())
}

#[test]
fn the_unit_is_exposed_no_more_than_two_of_ten() -> Result<()> {
    let Some(_rig) = Rig::new() else { return Ok(()) };
    for (what, drop_in) in [("as shipped", false), ("with raw-esp.conf", true)] {
        let root = scratch("security")?;
        let unit = root.join("etc/systemd/system/cgwd.service");
        std::fs::create_dir_all(unit.with_extension("service.d"))?;
        std::fs::copy(repository().join("systemd/cgwd.service"), &unit)?;
        if drop_in {
            let from = repository().join("systemd/cgwd.service.d/raw-esp.conf");
            std::fs::copy(from, unit.with_extension("service.d").join("raw-esp.conf"))?;
        }
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager"]).arg(format!("--root={}", root.display()));
        let text = netns::run(command.arg("cgwd.service"));
        std::fs::remove_dir_all(&root)?;
        let text = text?;
        let level = text.split("exposure level for cgwd.service: ").nth(1);
        let level = level.and_then(|rest| rest.split_whitespace().next()).context(text.clone())?;
        println!("the unit {what}: exposure {level}");
        ensure!(level.parse::<f64>()? <= EXPOSURE_MAX, "{what}: {text}");
    }
    Ok(())
}

/// A clean Debian 12 in the place of the gateway, between the LAN and two stand-ins for AWS.
struct FirstUse<'t> {
    lab: &'t Topology,
    machine: Machine,
    packages: PathBuf,
    _aws: [Embedded<'t>; 2],
    _server: Server,
}

impl<'t> FirstUse<'t> {
    fn new(lab: &'t Topology) -> Result<Self> {
        let root = machine::debian_root(&repository().join("target"))?;
        let packages = lab.scratch().join("packages");
        package(&packages, &["deb"])?;
        let json = serde_json::to_string_pretty(&Connection::lab().describe_json())?;
        std::fs::write(packages.join("vpn.json"), json)?;
        let machine = Machine::boot(&Parts {
            root: &root,
            namespace: &lab.gw,
            name: lab.rig(),
            binds: &[(packages.as_path(), "/srv/packages")],
            log: lab.scratch().join("machine.log"),
        })?;
        let aws = [Embedded::start(lab, Side::One, &[])?, Embedded::start(lab, Side::Two, &[])?];
        Ok(Self { lab, machine, packages, _aws: aws, _server: Server::vpc(lab)? })
    }

    fn run(&self, command: &str) -> Result<String> {
        println!("# {command}");
        let output = self.machine.shell(&format!("cd /srv/packages; {command} 2>&1"))?;
        print!("{output}");
        Ok(output)
    }

    /// A command that must fail.
    fn refused(&self, command: &str) -> Result<()> {
        println!("# {command}");
        match self.machine.shell(command) {
            Ok(output) => anyhow::bail!("{command} went well: {output}"),
            Err(_) => Ok(()),
        }
    }

    /// The three commands of the manual.
    fn install(&self) -> Result<()> {
        self.run("apt-get install -y ./cgwd_0.1.0-1_*.deb")?;
        self.run(&format!("cgwd import --lan {LAN} --vpc {VPC} --output /etc/cgwd/cgwd.toml vpn.json"))?;
        self.run("systemctl start cgwd")?;
        Ok(())
    }

    fn status(&self) -> Result<Value> {
        let output = self.machine.command("cgwd").args(["status", "--json"]).output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn wait_all_up(&self, what: &str) -> Result<Duration> {
        let took = wait::until(UP, what, || self.status().is_ok_and(|status| status["redundancy"] == "full"))
            .with_context(|| {
                self.machine.shell("cgwd status; journalctl -u cgwd --no-pager").unwrap_or_default()
            })?;
        traffic::wait_for_echo(&self.lab.lan, VPC_HOST, Duration::from_secs(5))?;
        Ok(took)
    }

    fn property(&self, name: &str) -> Result<String> {
        let value = self.machine.shell(&format!("systemctl show --value --property {name} cgwd"))?;
        Ok(value.trim().to_owned())
    }

    /// The daemon's process, as this machine numbers it.
    fn host_pid(&self) -> Result<u32> {
        let file = "payload/system.slice/cgwd.service/cgroup.procs";
        let all = std::fs::read_to_string(self.machine.cgroup().join(file))?;
        Ok(all.split_whitespace().next().context("no process in the unit")?.parse()?)
    }
}

/// A machine needs more of its host than namespaces do: where that lacks it, a test says so and is skipped, unless the
/// soak was asked for.
fn can_boot() -> bool {
    let Some(reason) = machine::unavailable() else { return true };
    assert!(std::env::var_os("CGWD_SOAK").is_none(), "no machine can be booted: {reason}");
    println!("skipped: no machine can be booted: {reason}");
    false
}

#[test]
fn three_commands_on_a_clean_debian_bring_both_tunnels_up_and_upgrades_keep_them() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    if !can_boot() {
        return Ok(());
    }
    let began = Instant::now();
    let user = FirstUse::new(&rig.topology)?;
    println!("packages built and Debian booted after {:.1} s", began.elapsed().as_secs_f64());

    // Installed without a configuration it neither runs nor fails.
    user.install()?;
    let started = user.wait_all_up("both tunnels of a first installation")?;
    ensure!(user.property("SubState")? == "running");
    let first = user.property("StatusText")?;
    println!("both tunnels up {:.2} s after systemctl start; {first}", started.as_secs_f64());
    ensure!(first.starts_with("2 of 2 tunnels up"), "{first}");
    user.run("cgwd status && cgwd doctor && ip route show proto cgwd")?;
    ensure!(user.property("UnitFileState")? == "enabled", "it would not come back after a reboot");
    // What the manual goes on with.
    user.run("cgwd check --explain && cgwd wait --for all --timeout 30s && cgwd events")?;
    user.run("cgwd drain tunnel1 && cgwd routes && cgwd undrain tunnel1 && cgwd doctor --aws-json vpn.json")?;

    upgrade(&user)?;
    reload(&user)?;
    remove(&user)
}

/// Another version over a configuration that was edited.
fn upgrade(user: &FirstUse<'_>) -> Result<()> {
    user.run("sed -i '1i # an edit of the administrator' /etc/cgwd/cgwd.toml; sha256sum /etc/cgwd/cgwd.toml > before")?;
    let before = user.property("MainPID")?;
    package(&user.packages, &["deb", "--version", "0.2.0"])?;
    user.run(
        "apt-get install -y ./cgwd_0.2.0-1_*.deb; sha256sum --check before; stat -c %a /etc/cgwd/cgwd.toml",
    )?;
    let took = user.wait_all_up("both tunnels after an upgrade")?;
    ensure!(user.property("MainPID")? != before, "the old daemon still runs");
    println!("both tunnels up {:.2} s after the upgrade", took.as_secs_f64());
    // What an administrator stopped and disabled stays so.
    user.run("systemctl disable --now cgwd")?;
    package(&user.packages, &["deb", "--version", "0.3.0"])?;
    user.run("apt-get install -y ./cgwd_0.3.0-1_*.deb")?;
    ensure!(user.property("ActiveState")? == "inactive", "an upgrade started what was stopped");
    ensure!(user.property("UnitFileState")? == "disabled", "an upgrade enabled what was disabled");
    user.run("systemctl enable --now cgwd")?;
    user.wait_all_up("both tunnels after enable --now")?;
    Ok(())
}

/// `systemctl reload`: good, broken, good.
fn reload(user: &FirstUse<'_>) -> Result<()> {
    let pid = user.property("MainPID")?;
    user.run("systemctl reload cgwd; cp /etc/cgwd/cgwd.toml good; echo nonsense >> /etc/cgwd/cgwd.toml")?;
    user.refused("systemctl reload cgwd")?;
    user.run("cp good /etc/cgwd/cgwd.toml; systemctl reload cgwd")?;
    ensure!(user.property("ActiveState")? == "active" && user.property("MainPID")? == pid);
    // By signal the daemon itself announces the reload and its end.
    user.run("systemctl kill --signal HUP cgwd")?;
    wait::until(UP, "the end of a reload by signal", || {
        let journal = user.machine.shell("journalctl -u cgwd --no-pager").unwrap_or_default();
        journal.matches("tunnels untouched").count() >= 3
    })?;
    ensure!(user.property("ActiveState")? == "active" && user.property("MainPID")? == pid);
    user.wait_all_up("both tunnels after a reload")?;
    Ok(())
}

/// Removal keeps the keys, purging does not.
fn remove(user: &FirstUse<'_>) -> Result<()> {
    user.run("apt-get remove -y cgwd; test -f /etc/cgwd/cgwd.toml; test -d /var/lib/private/cgwd")?;
    for left in ["pidof cgwd", "ip link show cgw0", "ip -4 route show proto 173 | grep ."] {
        user.refused(left)?;
    }
    user.run("apt-get purge -y cgwd; systemctl daemon-reload")?;
    for path in ["/etc/cgwd", "/var/lib/cgwd", "/var/lib/private/cgwd", "/usr/bin/cgwd"] {
        user.refused(&format!("ls -d {path}"))?;
    }
    user.refused("systemctl list-unit-files | grep cgwd")
}

#[test]
fn systemd_restarts_a_daemon_whose_worker_thread_stands_still() -> Result<()> {
    let Some(rig) = Rig::soak() else { return Ok(()) };
    if !can_boot() {
        return Ok(());
    }
    let user = FirstUse::new(&rig.topology)?;
    user.install()?;
    user.wait_all_up("both tunnels")?;
    let pid = user.host_pid()?;
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
    let worker = threads
        .map(|entry| entry.path())
        .find(|task| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim().ends_with("-in"))
        })
        .context("no receive worker")?;
    let worker = worker.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // A tracer stops that one thread; the control loop goes on. It reaps the thread when systemd ends the process, which
    // otherwise could not go.
    let script = "import ctypes, os, sys\n\
                  thread = int(sys.argv[1])\n\
                  ctypes.CDLL(None).ptrace(16, thread, 0, 0)\n\
                  os.waitpid(thread, 0x40000000)\n\
                  print('stopped', flush=True)\n\
                  os.waitpid(thread, 0x40000000)\n";
    let mut tracer = Command::new("python3");
    tracer.args(["-c", script, &worker]).stdin(std::process::Stdio::piped());
    let mut tracer = tracer.spawn()?;
    let began = Instant::now();
    let restarted = wait::until(Duration::from_secs(120), "systemd to restart the daemon", || {
        user.property("NRestarts").is_ok_and(|count| count == "1")
    });
    tracer.kill()?;
    tracer.wait()?;
    restarted?;
    println!("restarted {:.1} s after a worker thread was stopped", began.elapsed().as_secs_f64());
    let journal = user.machine.shell("journalctl -u cgwd --no-pager")?;
    ensure!(journal.contains("Watchdog timeout"), "{journal}");
    ensure!(journal.contains("stands still"), "{journal}");
    user.wait_all_up("both tunnels after the restart")?;
    Ok(())
}
