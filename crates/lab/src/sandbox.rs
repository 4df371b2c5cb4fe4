//! The daemon under exactly the sandbox that its unit ships with, for every test that starts one.
//!
//! [`run`] boots a machine and runs a command (the interoperability suite) beside it. There each gateway is started by
//! that machine's systemd, from the text of `systemd/cgwd.service`, in the network namespace of its test. Changed are
//! names and paths, and that a daemon which a test kills stays dead; not one line of the sandbox.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cleanup::{self, Scratch};
use crate::machine::{self, Machine, Parts, enter_machine, root_of};
use crate::netns::{self, Namespace};
use crate::traffic::binary;
use crate::wait;

/// Names the machine to the suite: its first process and its control group.
const VARIABLE: &str = "CGWD_LAB_SANDBOX";
/// Where the machine sees this one's temporary directory.
const TMP: &str = "/lab/tmp";
/// Where it sees the programs under test.
const BIN: &str = "/lab/bin";

static UNITS: AtomicU32 = AtomicU32::new(1);

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Boots a machine, runs `command` while it is up, and returns the command's exit status.
///
/// # Errors
/// When no machine can be booted, or the command not be started.
pub fn run(command: &[String]) -> Result<i32> {
    if let Some(reason) = machine::unavailable() {
        bail!("no machine can be booted: {reason}");
    }
    let Some((program, arguments)) = command.split_first() else { bail!("no command given") };
    let rig = cleanup::new_rig();
    let (namespace, scratch) = (Namespace::create(&rig, "machine")?, Scratch::new(&rig, "machine")?);
    let program_under_test = binary("cgwd")?;
    let programs = program_under_test.parent().context("the program has no directory")?;
    let machine = Machine::boot(&Parts {
        root: &machine::debian_root(&repository().join("target"))?,
        namespace: &namespace,
        name: &rig,
        binds: &[(&std::env::temp_dir(), TMP), (programs, BIN), (Path::new("/run/netns"), "/run/netns")],
        log: scratch.path().join("machine.log"),
    })?;
    let named = format!("{}:{}", machine.leader(), machine.cgroup().display());
    let status = Command::new(program).args(arguments).env(VARIABLE, named).status()?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// The machine that [`run`] booted.
#[derive(Clone, Debug)]
pub struct Sandbox {
    leader: u32,
    cgroup: PathBuf,
    unit: String,
}

/// What a gateway of a test is made of.
#[derive(Debug)]
pub struct Gateway<'a> {
    /// Where it lives.
    pub namespace: &'a Namespace,
    /// Its configuration file.
    pub config: &'a Path,
    /// Its log, appended to.
    pub log: &'a Path,
    /// Further arguments of the daemon; none has a space in it.
    pub arguments: &'a [&'a str],
}

impl Sandbox {
    /// A unit of its own on the machine that this process was started beside; `None` when there is none.
    pub fn here() -> Option<Self> {
        let named = std::env::var(VARIABLE).ok()?;
        let (leader, cgroup) = named.split_once(':')?;
        let number = UNITS.fetch_add(1, Ordering::Relaxed);
        let unit = format!("cgwdlab-{}-{number}", std::process::id());
        Some(Self { leader: leader.parse().ok()?, cgroup: cgroup.into(), unit })
    }

    /// The daemon's control socket.
    pub fn socket(&self) -> PathBuf {
        root_of(self.leader).join(format!("run/{}/control.sock", self.unit))
    }

    /// Starts the daemon, and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it does not start; the log has the reason.
    pub fn start(&self, gateway: &Gateway<'_>) -> Result<Service> {
        let units = root_of(self.leader).join("run/systemd/system");
        let drop_ins = units.join(format!("{}.service.d", self.unit));
        std::fs::create_dir_all(&drop_ins)?;
        let shipped = std::fs::read_to_string(repository().join("systemd/cgwd.service"))?;
        let (config, credentials) = self.translate(gateway.config)?;
        let unit = self.unit_file(&shipped, &seen_there(&config)?, gateway.arguments);
        std::fs::write(units.join(format!("{}.service", self.unit)), unit)?;
        let mut lab = format!(
            "[Service]\nNetworkNamespacePath=/run/netns/{}\nStandardOutput=append:{1}\nStandardError=append:{1}\n",
            gateway.namespace.name(),
            seen_there(gateway.log)?.display()
        );
        lab.push_str(&credentials);
        if let Ok(level) = std::env::var("CGWD_LAB_LOG") {
            lab.push_str(&format!("Environment=CGWD_LOG={level}\n"));
        }
        std::fs::write(drop_ins.join("lab.conf"), lab)?;
        // As the manual tells who imports with --raw-esp.
        if std::fs::read_to_string(gateway.config)?.contains("encapsulation = \"auto\"") {
            let from = repository().join("systemd/cgwd.service.d/raw-esp.conf");
            std::fs::copy(from, drop_ins.join("raw-esp.conf"))?;
        }
        self.systemctl(&["daemon-reload"])?;
        self.systemctl(&["start", &self.unit])?;
        let group = format!("payload/system.slice/{}.service/cgroup.procs", self.unit);
        let all = std::fs::read_to_string(self.cgroup.join(group))?;
        let pid = all.split_whitespace().next().and_then(|pid| pid.parse().ok());
        let service = Service { sandbox: self.clone(), pid: pid.context("the unit has no process")? };
        service.is_confined()?;
        Ok(service)
    }

    /// Writes the configuration as the manual wants it beside the shipped unit, next to the one of the test; where, and
    /// the unit's lines that hand its secrets over.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn translate(&self, config: &Path) -> Result<(PathBuf, String)> {
        open_to_others(config)?;
        let (text, credentials) = as_credentials(&std::fs::read_to_string(config)?)?;
        let translated = config.with_extension("sandbox.toml");
        std::fs::write(&translated, text)?;
        Ok((translated, credentials))
    }

    /// The unit's state directory, as its daemon and as this machine sees it.
    pub fn state(&self) -> (PathBuf, PathBuf) {
        let there = Path::new("/var/lib").join(&self.unit);
        (there, root_of(self.leader).join("var/lib/private").join(&self.unit))
    }

    /// Runs `cgwd` on the machine as a user who may reach the socket's file, and is nobody else.
    ///
    /// # Errors
    /// When it cannot be started; a non-zero status is in the output.
    pub fn as_nobody(&self, arguments: &[&str]) -> Result<Output> {
        let directory = format!("/run/{}", self.unit);
        let chmod = |arguments: &[&str]| netns::run(enter_machine(self.leader, "chmod").args(arguments));
        chmod(&["-R", "o+rwX", &format!("{directory}/")])?;
        // What dynamic users run in lies below a directory that only root passes; systemd insists on that.
        chmod(&["o+x", "/run/private"])?;
        let mut command = enter_machine(self.leader, "setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            &format!("{BIN}/cgwd"),
            "--socket",
        ]);
        command.arg(format!("{directory}/control.sock")).args(arguments);
        let output = command.output();
        chmod(&["o-x", "/run/private"])?;
        output.context("setpriv cannot be run on the machine")
    }

    /// The shipped unit with other names in it.
    fn unit_file(&self, shipped: &str, config: &Path, arguments: &[&str]) -> String {
        let lines = shipped.lines().filter_map(|line| {
            let key = line.split('=').next().unwrap_or_default();
            match key {
                "ConditionPathExists" | "ExecReload" | "Wants" | "After" => None,
                "LoadCredential" => Some(format!("LoadCredential=cgwd.toml:{}", config.display())),
                "ExecStart" => Some(format!(
                    "ExecStart={BIN}/cgwd run --config ${{CREDENTIALS_DIRECTORY}}/cgwd.toml --socket /run/{}/control.sock {}",
                    self.unit,
                    arguments.join(" ")
                )),
                "RuntimeDirectory" | "StateDirectory" => Some(format!("{key}={}", self.unit)),
                "Restart" => Some("Restart=no".to_owned()),
                _ => Some(line.to_owned()),
            }
        });
        lines.map(|line| line + "\n").collect()
    }

    fn systemctl(&self, arguments: &[&str]) -> Result<String> {
        netns::run(enter_machine(self.leader, "systemctl").args(arguments))
    }
}

/// What the service's user cannot read because it is root's, as a credential, and what everybody may read, where the
/// machine sees it. Also the unit's lines that hand the credentials over.
fn as_credentials(text: &str) -> Result<(String, String)> {
    let (mut config, mut load) = (String::new(), String::new());
    let tmp = std::env::temp_dir();
    for line in text.lines() {
        let (key, value) = line.split_once(" = ").unwrap_or_default();
        let file = Path::new(value.trim_matches('"'));
        let secret = match key {
            "private_key" => Some("private_key_credential"),
            "psk_file" => Some("psk_credential"),
            _ => None,
        };
        match secret {
            Some(credential) if file.starts_with(&tmp) => {
                let named = file.display().to_string().replace('/', "-");
                let named = named.trim_start_matches('-');
                load.push_str(&format!("LoadCredential={named}:{}\n", seen_there(file)?.display()));
                config.push_str(&format!("{credential} = \"{named}\""));
            }
            _ if ["certificate", "ca", "crl"].contains(&key) => {
                config.push_str(&line.replace(&format!("\"{}/", tmp.display()), &format!("\"{TMP}/")));
            }
            _ => config.push_str(line),
        }
        config.push('\n');
    }
    Ok((config, load))
}

/// Lets others pass through the directories of a test to files that they may read; they cannot list them.
fn open_to_others(file: &Path) -> Result<()> {
    for directory in file.ancestors().skip(1).take_while(|path| *path != std::env::temp_dir()) {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o711))?;
    }
    Ok(())
}

/// A path below this machine's temporary directory, as the other one has it.
///
/// # Errors
/// When it lies elsewhere.
pub fn seen_there(path: &Path) -> Result<PathBuf> {
    let below = path.strip_prefix(std::env::temp_dir());
    Ok(Path::new(TMP).join(below.with_context(|| format!("{} is not below /tmp", path.display()))?))
}

/// A running daemon; dropping it ends it.
#[derive(Debug)]
pub struct Service {
    sandbox: Sandbox,
    pid: u32,
}

impl Service {
    /// The daemon's process, as this machine numbers it.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// A kernel or a container that cannot do what the unit asks for must not look like a sandbox.
    fn is_confined(&self) -> Result<()> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("").trim();
        // A filter on system calls; no user of root; CAP_NET_BIND_SERVICE (10), CAP_NET_ADMIN (12) and, on request,
        // CAP_NET_RAW (13).
        let bounded = u64::from_str_radix(value("CapBnd:"), 16).is_ok_and(|set| set & !(1 << 13) == 0x1400);
        let user = value("Uid:").split_whitespace().next().unwrap_or("0");
        if value("Seccomp:") == "2" && value("NoNewPrivs:") == "1" && bounded && user != "0" {
            return Ok(());
        }
        bail!("the daemon runs outside of its unit's sandbox:\n{status}")
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        cleanup::send_signal(self.pid, "KILL");
        let _ =
            wait::until(Duration::from_secs(5), "the daemon to be gone", || !cleanup::is_running(self.pid));
        // Also what systemd does after the end of a unit's process is over then.
        let _ = self.sandbox.systemctl(&["stop", &self.sandbox.unit]);
        let _ = self.sandbox.systemctl(&["reset-failed", &self.sandbox.unit]);
    }

    /// `systemctl stop`; true when it ended by itself.
    pub fn stop(&mut self) -> bool {
        let _ = self.sandbox.systemctl(&["stop", &self.sandbox.unit]);
        let result = self.sandbox.systemctl(&["show", "--value", "--property=Result", &self.sandbox.unit]);
        result.is_ok_and(|result| result.trim() == "success")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if cleanup::is_running(self.pid) {
            self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_root_come_as_credentials_and_all_else_as_it_is() {
        let tmp = std::env::temp_dir();
        let text = format!(
            "id = \"x\"\ncertificate = \"{0}/a.pem\"\nprivate_key = \"{0}/a.key\"\ncrl = [\"{0}/a.crl\"]\npsk_file = \
             \"/no/such\"\n",
            tmp.display()
        );
        let (config, load) = as_credentials(&text).expect("paths below /tmp");
        let key = tmp.join("a.key").display().to_string().trim_start_matches('/').replace('/', "-");
        assert_eq!(
            config,
            format!(
                "id = \"x\"\ncertificate = \"/lab/tmp/a.pem\"\nprivate_key_credential = \"{key}\"\ncrl = \
                 [\"/lab/tmp/a.crl\"]\npsk_file = \"/no/such\"\n"
            )
        );
        assert_eq!(load, format!("LoadCredential={key}:/lab/tmp/a.key\n"));
    }

    #[test]
    fn only_names_and_paths_of_the_shipped_unit_are_changed() {
        let shipped = std::fs::read_to_string(repository().join("systemd/cgwd.service")).expect("the unit");
        let sandbox = Sandbox { leader: 1, cgroup: PathBuf::new(), unit: "cgwdlab-1-1".to_owned() };
        let changed = sandbox.unit_file(&shipped, Path::new("/lab/tmp/cgwd.toml"), &[]);
        let gone: Vec<&str> =
            shipped.lines().filter(|line| !changed.lines().any(|other| other == *line)).collect();
        let keys: Vec<&str> = gone.iter().filter_map(|line| line.split('=').next()).collect();
        let wanted = [
            "Wants",
            "After",
            "ConditionPathExists",
            "LoadCredential",
            "ExecStart",
            "ExecReload",
            "Restart",
            "RuntimeDirectory",
            "StateDirectory",
        ];
        assert_eq!(keys, wanted);
    }
}
