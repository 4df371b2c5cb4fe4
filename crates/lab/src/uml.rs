//! A Linux kernel of our own as an AWS endpoint: User-Mode Linux, with the kernel's ESP, XFRM and protocol 50.
//!
//! The kernel of the machine may lack ESP; this one (Debian's `user-mode-linux`) has it. Its root file system is the
//! machine's, read-only; what it writes is in its memory. Its two network cards are TAP devices, bridged with the links that
//! the endpoint's namespace has to the internet and to the VPC. Shell commands go in by its console and come back by it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::path::Path;
use std::process::ChildStdin;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{Process, Spawn};
use crate::topology::{GW_OUTSIDE, LAN, Side, Topology, VPC};

/// The kernel, as Debian installs it.
const KERNEL: &str = "/usr/bin/linux.uml";
const MODULES: &str = "/usr/lib/uml/modules";
/// How long it may take to boot; it takes 2 to 5 s.
const BOOT: Duration = Duration::from_secs(60);
/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(30);
/// A terminal's line, which the kernel cuts at 4,096 octets.
const MAX_COMMAND: usize = 4_000;
/// The mark of what goes through the tunnel interface.
pub const MARK: u32 = 42;

/// The first process. Each line from the console is a number and a command; what the command prints is followed by a line
/// with the number and the exit status.
const INIT: &str = r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ LC_ALL=C
stty -echo -onlcr
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /run/modules/lib /run/lab
ln -s MODULES /run/modules/lib/modules
mount -t hostfs none /run/lab -o SCRATCH
printf '#!/bin/sh\nexec modprobe -d /run/modules "$@"\n' > /run/modprobe
chmod +x /run/modprobe
echo /run/modprobe > /proc/sys/kernel/modprobe
ip link set lo up
printf '\n@0 0\n'
while read -r number line; do
  eval "$line" 2>&1 </dev/null
  printf '\n%s %s\n' "$number" $?
done
echo o > /proc/sysrq-trigger
sleep 10
"#;

/// A running kernel in the place of one endpoint; dropping it switches it off.
#[derive(Debug)]
pub struct Uml {
    _process: Process,
    console: Mutex<Console>,
}

#[derive(Debug)]
struct Console {
    stdin: ChildStdin,
    lines: Receiver<String>,
    number: u64,
}

/// Why there can be none here; `None` when there can.
pub fn unavailable() -> Option<String> {
    let missing = !Path::new(KERNEL).exists() || !Path::new(MODULES).exists();
    missing.then(|| format!("{KERNEL} is not installed: apt-get install user-mode-linux"))
}

impl Uml {
    /// Boots one behind the endpoint `side`, with the addresses of that endpoint, forwarding between internet and VPC.
    ///
    /// # Errors
    /// When it is not installed, or does not boot.
    pub fn boot(topology: &Topology, side: Side) -> Result<Self> {
        if let Some(reason) = unavailable() {
            bail!(reason);
        }
        cards(topology, side)?;
        let scratch = topology.scratch().display().to_string();
        let init = topology.scratch().join(format!("uml-{}.sh", side.role()));
        write_script(&init, &INIT.replace("MODULES", MODULES).replace("SCRATCH", &scratch))?;
        let mut command = vec![KERNEL.to_owned(), format!("init={}", init.display())];
        command.extend(
            [
                "rootfstype=hostfs",
                "rootflags=/",
                "ro",
                "mem=192M",
                "quiet",
                "loglevel=1",
                "con=null",
                "ssl=null",
                "con0=fd:0,fd:1",
                "vec0:transport=tap,ifname=tap0,depth=128",
                "vec1:transport=tap,ifname=tap1,depth=128",
            ]
            .map(str::to_owned),
        );
        command.push(format!("uml_dir={scratch}/uml-{}/", side.role()));
        let mut process = Process::spawn(&Spawn {
            namespace: topology.aws(side),
            command,
            env: Vec::new(),
            log: topology.scratch().join(format!("uml-{}.log", side.role())),
            pipes: true,
        })?;
        let stdin = process.take_stdin().context("no pipe")?;
        let stdout = BufReader::new(process.take_stdout().context("no pipe")?);
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut console = Console { stdin, lines, number: 0 };
        console.answer(BOOT).context("User-Mode Linux did not boot")?;
        let this = Self { _process: process, console: Mutex::new(console) };
        this.addresses(side)?;
        Ok(this)
    }

    fn addresses(&self, side: Side) -> Result<()> {
        let (IpAddr::V4(outside), n) = (side.outside(), side.index() + 1) else { bail!("an IPv4 endpoint") };
        let [a, b, c, _] = outside.octets();
        self.script(&[
            // From here on modules load themselves.
            "modprobe -d /run/modules esp4 xfrm_user".to_owned(),
            format!("ip addr add {outside}/24 dev vec0 && ip link set vec0 up"),
            format!("ip route add default via {a}.{b}.{c}.254"),
            format!("ip addr add 10.255.{n}.1/30 dev vec1 && ip link set vec1 up"),
            format!("ip route add {VPC} via 10.255.{n}.2"),
            "echo 1 > /proc/sys/net/ipv4/ip_forward".to_owned(),
            "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter".to_owned(),
            "echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter".to_owned(),
        ])
    }

    /// A tunnel interface, as AWS has one: what is routed into it gets [`MARK`], which the policies of a peer ask for.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn tunnel_interface(&self, side: Side) -> Result<()> {
        let (local, inside) = (side.outside(), side.inside());
        self.script(&[
            "modprobe -d /run/modules ip_vti".to_owned(),
            format!("ip link add vti1 type vti local {local} remote {GW_OUTSIDE} key {MARK}"),
            format!("ip addr add {inside} dev vti1 && ip link set vti1 mtu 1400 up"),
            "echo 1 > /proc/sys/net/ipv4/conf/vti1/disable_policy".to_owned(),
            format!("ip route add {LAN} dev vti1"),
        ])
    }

    /// Runs shell commands in order; the first that fails ends them.
    ///
    /// # Errors
    /// When one fails or does not end.
    pub fn script(&self, lines: &[String]) -> Result<()> {
        lines.iter().try_for_each(|line| self.shell(line).map(drop))
    }

    /// Runs one line of shell inside; what it printed. What it starts in the background must not write to the console.
    ///
    /// # Errors
    /// When it fails or does not end within half a minute.
    pub fn shell(&self, line: &str) -> Result<String> {
        let (text, status) = self.output(line)?;
        ensure!(status == 0, "{line:?} failed inside User-Mode Linux ({status}): {}", text.trim_end());
        Ok(text)
    }

    /// The same, with its exit status.
    ///
    /// # Errors
    /// When it does not end within half a minute.
    pub fn output(&self, line: &str) -> Result<(String, i32)> {
        ensure!(line.len() < MAX_COMMAND && !line.contains('\n'), "not one line of shell: {line:?}");
        let mut console = self.console.lock().unwrap_or_else(PoisonError::into_inner);
        console.number += 1;
        let number = console.number;
        writeln!(console.stdin, "@{number} {line}").context("User-Mode Linux is gone")?;
        console.answer(COMMAND).with_context(|| format!("no answer to {line:?} from User-Mode Linux"))
    }
}

impl Console {
    /// Everything up to the line that ends the command under way, and its exit status.
    fn answer(&mut self, timeout: Duration) -> Result<(String, i32)> {
        let (end, mark) = (Instant::now() + timeout, format!("@{} ", self.number));
        let mut text = String::new();
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => match line.strip_prefix(&mark) {
                    Some(status) => return Ok((text, status.trim().parse()?)),
                    None => text = text + line.trim_end_matches('\r') + "\n",
                },
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{:.0} s passed; so far: {text}", timeout.as_secs_f64())
                }
                Err(RecvTimeoutError::Disconnected) => bail!("it ended: {text}"),
            }
        }
    }
}

/// TAP devices in the endpoint's namespace, bridged with its two links; its own outside address goes.
fn cards(topology: &Topology, side: Side) -> Result<()> {
    let mut lines = Vec::new();
    for (number, link) in ["wan0", "vpc0"].into_iter().enumerate() {
        lines.extend([
            format!("addr flush dev {link}"),
            format!("link add br{number} type bridge forward_delay 0 mcast_snooping 0"),
            format!("tuntap add tap{number} mode tap"),
            format!("link set tap{number} master br{number} up"),
            format!("link set {link} master br{number}"),
            format!("link set br{number} up"),
        ]);
    }
    topology.aws(side).ip_batch(&lines)
}

fn write_script(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::File::options().create(true).truncate(true).write(true).mode(0o700).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
