//! Network namespaces, their links, addresses, routes and packet filters, by way of `ip` and `nft`.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::cleanup;

/// One network namespace; dropping it ends everything that runs in it and deletes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace `<rig>-<role>` with its loopback up and duplicate address detection off.
    ///
    /// # Errors
    /// When `ip` fails: not root, or no namespaces in this kernel.
    pub fn create(rig: &str, role: &str) -> Result<Self> {
        let name = format!("{rig}-{role}");
        let this = {
            let _leave = cleanup::still_open()?;
            cleanup::add_namespace(&name);
            let this = Self { name };
            run(Command::new("ip").args(["netns", "add", &this.name]))?;
            this
        };
        this.ip("link set lo up")?;
        this.sysctl(&[
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
        ])?;
        Ok(this)
    }

    /// The name `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a command inside and returns what it printed on standard output.
    ///
    /// # Errors
    /// When it cannot be run or ends with a non-zero status.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let Some((program, rest)) = arguments.split_first() else { bail!("no command given") };
        run(self.command(program).args(rest))
    }

    /// `ip -n NAME ...`; the arguments are split at blanks.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments.split_whitespace()))
    }

    /// Several `ip` commands in one process, in order.
    ///
    /// # Errors
    /// When `ip` refuses one of them.
    pub fn ip_batch(&self, lines: &[String]) -> Result<()> {
        feed(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), &lines.join("\n")).map(drop)
    }

    /// Feeds a ruleset to `nft -f -` inside.
    ///
    /// # Errors
    /// When `nft` refuses it.
    pub fn nft(&self, ruleset: &str) -> Result<()> {
        feed(self.command("nft").args(["-f", "-"]), ruleset).map(drop)
    }

    /// Writes values under /proc/sys, keys with slashes.
    ///
    /// # Errors
    /// When a key does not exist or may not be written.
    pub fn sysctl(&self, values: &[(&str, &str)]) -> Result<()> {
        let script: Vec<String> =
            values.iter().map(|(key, value)| format!("echo {value} > /proc/sys/{key}")).collect();
        self.run(&["sh", "-ec", &script.join("\n")]).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        cleanup::remove_namespace(&self.name);
    }
}

/// A veth pair between two namespaces, both ends up.
///
/// # Errors
/// When a name is taken or `ip` refuses.
pub fn veth(left: (&Namespace, &str), right: (&Namespace, &str)) -> Result<()> {
    let ((left_ns, left_name), (right_ns, right_name)) = (left, right);
    run(Command::new("ip")
        .args(["link", "add", left_name, "netns", left_ns.name(), "type", "veth"])
        .args(["peer", "name", right_name, "netns", right_ns.name()]))?;
    left_ns.ip(&format!("link set {left_name} up"))?;
    right_ns.ip(&format!("link set {right_name} up"))?;
    Ok(())
}

/// Runs to the end; what it printed on standard output.
///
/// # Errors
/// When it cannot be started or fails; the message carries the command and what it said.
pub fn run(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    checked(command, &output)
}

fn feed(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    checked(command, &output).with_context(|| format!("its input was:\n{input}"))
}

fn checked(command: &Command, output: &Output) -> Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "{command:?} failed ({}): {}{}",
            output.status,
            stdout.trim_end(),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(stdout)
}
