//! Two gateways and a host behind each, every one in a network namespace of its own:
//! `lan - a - b - vpc`. What is built here is gone when the [`Rig`] is dropped, also after a failed assertion.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const PREFIX: &str = "cgwdt-";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Whether namespaces can be made; fails instead of skipping when `CGWD_REQUIRE_NETNS=1`.
pub(crate) fn can_run() -> bool {
    let able = std::path::Path::new("/dev/net/tun").exists()
        && net::process::has_capability(12)
        && Command::new("ip").args(["netns", "list"]).output().is_ok_and(|out| out.status.success());
    if !able {
        let required = std::env::var("CGWD_REQUIRE_NETNS").is_ok_and(|value| value == "1");
        assert!(!required, "CGWD_REQUIRE_NETNS=1, but there is no root, no /dev/net/tun or no iproute2");
        eprintln!("skipped: needs root, /dev/net/tun and iproute2");
    }
    able
}

fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Removes namespaces of test processes that were killed.
fn sweep() {
    for line in run("ip", "netns list").lines() {
        let Some(name) = line.split_whitespace().next().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        let pid = name[PREFIX.len()..].split('-').next().unwrap_or("");
        if !std::path::Path::new("/proc").join(pid).exists() {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// The built example. `cargo test -p dataplane` builds it beside the tests; with `--test` cargo leaves it as it was,
/// so build it first then (`cargo build -p dataplane --example rig`).
pub(crate) fn example() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    if path.file_name().is_some_and(|name| name == "rig") {
        return path;
    }
    path.pop();
    path.pop();
    path.join("examples").join("rig")
}

/// The four namespaces.
pub(crate) struct Rig {
    base: String,
}

impl Rig {
    pub(crate) fn new() -> Self {
        sweep();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let rig = Self { base: format!("{PREFIX}{}-{number}", std::process::id()) };
        for host in ["lan", "a", "b", "vpc"] {
            run("ip", &format!("netns add {}", rig.namespace(host)));
            rig.ip(host, "link set lo up");
            rig.sysctl(host, "net.ipv6.conf.all.accept_dad", "0");
            rig.sysctl(host, "net.ipv6.conf.default.accept_dad", "0");
        }
        rig.link(("lan", "eth0", "10.10.0.2/24", "fd10::2/64"), ("a", "lan0", "10.10.0.1/24", "fd10::1/64"));
        rig.link(
            ("a", "wan0", "192.0.2.1/24", "2001:db8::1/64"),
            ("b", "wan0", "192.0.2.2/24", "2001:db8::2/64"),
        );
        rig.link(("vpc", "eth0", "10.20.0.2/24", "fd20::2/64"), ("b", "vpc0", "10.20.0.1/24", "fd20::1/64"));
        for (host, v4, v6) in [("lan", "10.10.0.1", "fd10::1"), ("vpc", "10.20.0.1", "fd20::1")] {
            rig.ip(host, &format!("route add default via {v4}"));
            rig.ip(host, &format!("-6 route add default via {v6}"));
        }
        for gateway in ["a", "b"] {
            rig.sysctl(gateway, "net.ipv4.ip_forward", "1");
            rig.sysctl(gateway, "net.ipv6.conf.all.forwarding", "1");
        }
        rig
    }

    fn link(&self, one: (&str, &str, &str, &str), two: (&str, &str, &str, &str)) {
        let (from, to) = (self.namespace(one.0), self.namespace(two.0));
        run("ip", &format!("link add {} netns {from} type veth peer name {} netns {to}", one.1, two.1));
        for (host, interface, v4, v6) in [one, two] {
            self.ip(host, &format!("addr add {v4} dev {interface}"));
            self.ip(host, &format!("addr add {v6} dev {interface} nodad"));
            self.ip(host, &format!("link set {interface} up"));
        }
    }

    pub(crate) fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.base)
    }

    /// `ip` in a namespace.
    pub(crate) fn ip(&self, host: &str, arguments: &str) -> String {
        run("ip", &format!("-n {} {arguments}", self.namespace(host)))
    }

    pub(crate) fn sysctl(&self, host: &str, key: &str, value: &str) {
        let path = key.replace('.', "/");
        let script = format!("echo {value} > /proc/sys/{path}");
        let status = self.command(host, "sh").args(["-c", &script]).status().unwrap();
        assert!(status.success(), "{key}");
    }

    /// A program in a namespace, not started yet.
    pub(crate) fn command(&self, host: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(host)]).arg(program);
        command
    }

    /// A gateway with the tunnel's interface and the routes through it.
    pub(crate) fn gateway(&self, side: &str, arguments: &str) -> Endpoint {
        let inside = if side == "a" {
            "inside=169.254.10.2/30,fd00:10::2/126 probe=169.254.10.2,169.254.10.1"
        } else {
            "inside=169.254.10.1/30,fd00:10::1/126"
        };
        let mut command = self.command(side, example());
        command.arg("endpoint").args(format!("side={side} {inside} {arguments}").split_whitespace());
        let endpoint = Endpoint::start(command);
        let (v4, v6) =
            if side == "a" { ("10.20.0.0/24", "fd20::/64") } else { ("10.10.0.0/24", "fd10::/64") };
        self.ip(side, &format!("route add {v4} dev cgw0"));
        self.ip(side, &format!("-6 route add {v6} dev cgw0"));
        endpoint
    }

    /// Both gateways with child 1 active; `outer` is 4 or 6.
    pub(crate) fn gateways(&self, outer: u8, arguments: &str) -> (Endpoint, Endpoint) {
        let (a, b) = if outer == 4 {
            ("192.0.2.1:4500", "192.0.2.2:4500")
        } else {
            ("[2001:db8::1]:4500", "[2001:db8::2]:4500")
        };
        let mut one = self.gateway("a", &format!("local={a} remote={b} {arguments}"));
        let mut two = self.gateway("b", &format!("local={b} remote={a} {arguments}"));
        assert_eq!(one.ask("install 1 active"), "ok");
        assert_eq!(two.ask("install 1 active"), "ok");
        (one, two)
    }

    /// Pings from one host, 20 ms apart; how many of the first `count` were answered.
    ///
    /// With a deadline ping goes on until it has `count` answers; without one it stops listening two round trips
    /// after its last packet, and on a busy machine a late answer looks like a lost one.
    pub(crate) fn ping(&self, from: &str, to: &str, count: u32, extra: &str) -> u32 {
        let deadline = 5 + count / 20;
        let arguments = format!("-n -c {count} -i 0.02 -w {deadline} {extra} {to}");
        let output = self.command(from, "ping").args(arguments.split_whitespace()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let answered: std::collections::BTreeSet<u32> = text
            .lines()
            .filter(|line| line.contains("bytes from"))
            .filter_map(|line| line.split_once("icmp_seq=")?.1.split(' ').next()?.parse().ok())
            .filter(|sequence| *sequence <= count)
            .collect();
        answered.len() as u32
    }

    /// Sends `octets` over TCP from one host to the other and compares SHA-256 sums; what the receiver printed.
    pub(crate) fn transfer(&self, from: &str, to: &str, address: &str, octets: usize) -> String {
        let mut server = self.command(from, example());
        let mut server = Endpoint::start({
            server.args(["serve", address, &octets.to_string()]);
            server
        });
        let output =
            self.command(to, example()).args(["fetch", address, &octets.to_string()]).output().unwrap();
        assert!(
            output.status.success(),
            "{from} to {to} at {address}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        server.finish();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for host in ["lan", "a", "b", "vpc"] {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(host)]).output();
        }
    }
}

/// A running example: commands in, answers and events out.
pub(crate) struct Endpoint {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Event lines not looked at yet.
    pub(crate) events: Vec<String>,
}

impl Endpoint {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take();
        let mut endpoint = Self { child, input, lines, events: Vec::new() };
        assert_eq!(endpoint.answer(), "ready");
        endpoint
    }

    pub(crate) fn answer(&mut self) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("the endpoint died or hangs");
            if !line.starts_with("event ") {
                return line;
            }
            self.events.push(line);
        }
    }

    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
    }

    /// One command and its answer.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer()
    }

    /// Waits for an event that starts with `prefix`.
    pub(crate) fn event(&mut self, prefix: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(index) = self.events.iter().position(|event| event.starts_with(prefix)) {
                return self.events.remove(index);
            }
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no event {prefix:?}"));
            if line.starts_with("event ") {
                self.events.push(line);
            }
        }
    }

    /// A number out of `stats`, by the name before its colon; the first of that name.
    pub(crate) fn stat(&mut self, name: &str) -> u64 {
        let stats = self.ask("stats");
        let at = stats.find(&format!("{name}: ")).unwrap_or_else(|| panic!("no {name} in {stats}"));
        let digits = &stats[at + name.len() + 2..];
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in order.
    pub(crate) fn finish(&mut self) {
        self.input = None;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(status)) => {
                    assert!(status.success() || std::thread::panicking(), "{status}");
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the endpoint does not end");
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.input = None;
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            std::thread::sleep(Duration::from_millis(50));
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
