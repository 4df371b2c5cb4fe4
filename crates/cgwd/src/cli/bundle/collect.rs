//! What goes into a bundle: the daemon's answers, the configuration, and how this machine looks. Whatever cannot be
//! had is said to be missing, with the reason; nothing here changes anything.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::cli::{doctor, render};
use crate::control::client::Client;
use crate::doctor::facts::{Configuration, Facts};
use crate::events::{self, Timeline};

/// A program that looks at the machine may take this long.
const PROGRAM_TIME: Duration = Duration::from_secs(10);
/// Octets kept of what one says.
const PROGRAM_BYTES_MAX: u64 = 4 << 20;
/// Lines of the journal.
const JOURNAL_LINES: &str = "5000";

/// One file of the bundle.
pub(in crate::cli) struct Item {
    /// Its name in the archive.
    pub(in crate::cli) name: &'static str,
    /// What it is, for the list of contents.
    pub(in crate::cli) what: &'static str,
    /// Its text, or why there is none.
    pub(in crate::cli) text: Result<String, String>,
}

/// A program, the file its output goes to, and what that is.
type Program = (&'static str, &'static [&'static str], &'static str);

const PROGRAMS: [Program; 12] = [
    ("host/links.txt", &["ip", "-s", "-d", "link"], "network interfaces with their counters"),
    ("host/addresses.txt", &["ip", "address"], "addresses of this machine"),
    ("host/routes-ipv4.txt", &["ip", "-4", "route", "show", "table", "all"], "IPv4 routes of every table"),
    ("host/routes-ipv6.txt", &["ip", "-6", "route", "show", "table", "all"], "IPv6 routes of every table"),
    ("host/rules-ipv4.txt", &["ip", "-4", "rule"], "IPv4 routing rules"),
    ("host/rules-ipv6.txt", &["ip", "-6", "rule"], "IPv6 routing rules"),
    ("host/neighbours.txt", &["ip", "neighbour"], "neighbours on the links"),
    ("host/sockets.txt", &["ss", "-n", "-u", "-l", "-p"], "who listens on which UDP port"),
    ("host/firewall-nft.txt", &["nft", "list", "ruleset"], "packet filter (nftables)"),
    ("host/firewall-iptables.txt", &["iptables-save", "-c"], "packet filter (iptables)"),
    ("host/time.txt", &["timedatectl", "show"], "whether the clock is synchronised"),
    (
        "host/journal.txt",
        &["journalctl", "-u", "cgwd", "-n", JOURNAL_LINES, "-o", "short-iso-precise", "--no-pager"],
        "the daemon's log in the journal",
    ),
];

/// Kernel parameters that decide about a gateway; interfaces add their own.
const PARAMETERS: [&str; 8] = [
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.default.rp_filter",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.core.netdev_max_backlog",
    "net.netfilter.nf_conntrack_max",
];

/// Everything that was collected, and what the redaction needs to know.
pub(super) struct Collected {
    pub(super) items: Vec<Item>,
    /// The configuration as it stands in the file; never goes into the bundle.
    pub(super) source: Option<model::Secret>,
    /// The configuration's values, when it is valid.
    pub(super) config: Option<config::Config>,
    pub(super) host_name: String,
    /// The daemon lives in another network namespace, so the listing of the host is not its own.
    pub(super) elsewhere: bool,
}

/// Looks at everything.
pub(super) async fn collect(socket: &Path, config: Option<&Path>) -> Collected {
    let (facts, doctor_items) = doctor::for_bundle(socket, config).await;
    let (path, values) = configuration(facts.as_ref(), config);
    let source = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()));
    let host_name = kernel("hostname");
    let mut items = vec![
        item("device.txt", "the machine and the versions of what runs on it", Ok(device(&host_name))),
        item(
            "tunnels.txt",
            "connections, tunnels, identifiers and addresses as configured",
            tunnels(values.as_ref()),
        ),
    ];
    let redacted = source.as_ref().map(|bytes| config::redact(&String::from_utf8_lossy(bytes)).text);
    items.push(item(
        "config/cgwd.toml",
        "the configuration file, keys blotted out",
        redacted.map_err(Clone::clone),
    ));
    daemon(&Client::new(socket), &mut items).await;
    items.extend(doctor_items);
    items.push(item("host/parameters.txt", "kernel parameters", Ok(parameters(values.as_ref()))));
    for (name, program, what) in PROGRAMS {
        items.push(item(name, what, run(program).await));
    }
    if let Some(values) = &values {
        items.push(item(
            "host/ways-out.txt",
            "how the outside addresses are reached",
            ways_out(values).await,
        ));
    }
    Collected {
        items,
        source: source.ok().map(model::Secret::new),
        config: values,
        host_name,
        elsewhere: facts.as_ref().and_then(Facts::running).is_some_and(|running| running.elsewhere.is_some()),
    }
}

fn item(name: &'static str, what: &'static str, text: Result<String, String>) -> Item {
    Item { name, what, text }
}

fn configuration(facts: Option<&Facts>, asked: Option<&Path>) -> (PathBuf, Option<config::Config>) {
    match facts.map(|facts| &facts.configuration) {
        Some(Configuration::Loaded { path, config, .. }) => (path.clone(), Some((**config).clone())),
        Some(Configuration::Broken { path, .. } | Configuration::Absent { path }) => (path.clone(), None),
        None => {
            let path = asked.map_or_else(|| PathBuf::from(crate::cli::args::CONFIG_DEFAULT), Path::to_owned);
            let values = config::load(&path).ok().map(|loaded| loaded.config);
            (path, values)
        }
    }
}

/// What a running daemon says; of one that is down, the events it left.
async fn daemon(client: &Client, items: &mut Vec<Item>) {
    fn json<T: serde::Serialize>(value: &T) -> String {
        serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
    }
    let say = |error: crate::control::client::Error| error.to_string();
    let status = client.status().await.map_err(say);
    let screen = status.as_ref().map(|status| render::status(status, false)).map_err(Clone::clone);
    items.push(item("daemon/status.txt", "cgwd status", screen));
    items.push(item("daemon/status.json", "cgwd status --json", status.map(|status| json(&status))));
    let running = client.config().await.map_err(say);
    items.push(item(
        "daemon/running-configuration.txt",
        "what the daemon makes of its configuration",
        running,
    ));
    let routes = client.routes().await.map_err(say);
    items.push(item(
        "daemon/routes.json",
        "routes owned, and why each egress was chosen",
        routes.map(|routes| json(&routes)),
    ));
    let bgp = client.bgp().await.map_err(say);
    items.push(item("daemon/bgp.json", "BGP sessions and prefixes", bgp.map(|report| json(&report))));
    let metrics = client.metrics().await.map_err(say);
    items.push(item("daemon/metrics.txt", "counters, as OpenMetrics", metrics));
    let history = match client.events(0, None).await {
        Ok(answer) => Ok(answer.events),
        Err(error) => kept_events().ok_or_else(|| error.to_string()),
    };
    let text = history.as_ref().map_err(Clone::clone).map(|all| {
        let mut text = String::new();
        all.iter().for_each(|event| render::event(&mut text, event));
        text
    });
    items.push(item("daemon/events.txt", "connection history", text));
    let lines = history.map(|all| {
        all.iter().map(|event| serde_json::to_string(event).unwrap_or_default() + "\n").collect::<String>()
    });
    items.push(item("daemon/events.jsonl", "connection history, one JSON object a line", lines));
}

fn kept_events() -> Option<Vec<crate::api::Event>> {
    let timeline = Timeline::read(&events::state_directory()).ok()?;
    Some(timeline.after(0).cloned().collect())
}

fn kernel(name: &str) -> String {
    let text = std::fs::read_to_string(Path::new("/proc/sys/kernel").join(name)).unwrap_or_default();
    text.trim().to_owned()
}

fn device(host_name: &str) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.trim_start_matches(name).trim_matches([' ', '\t', ':', '=', '"']).to_owned()
    };
    let cpu = read("/proc/cpuinfo");
    let cpus = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let product = |file: &str| read(&format!("/sys/class/dmi/id/{file}")).trim().to_owned();
    let uptime = read("/proc/uptime");
    let mut text = String::new();
    for (label, value) in [
        ("made", events::rfc3339(SystemTime::now())),
        ("cgwd", env!("CARGO_PKG_VERSION").to_owned()),
        ("host name", host_name.to_owned()),
        ("machine", format!("{} {}", product("sys_vendor"), product("product_name"))),
        ("system", field(&read("/etc/os-release"), "PRETTY_NAME")),
        ("kernel", format!("{} {} {}", kernel("ostype"), kernel("osrelease"), kernel("version"))),
        ("architecture", std::env::consts::ARCH.to_owned()),
        ("processors", format!("{cpus} x {}", field(&cpu, "model name"))),
        ("memory", field(&read("/proc/meminfo"), "MemTotal")),
        ("load", read("/proc/loadavg").trim().to_owned()),
        ("seconds since boot", uptime.split(' ').next().unwrap_or_default().to_owned()),
    ] {
        let _ = writeln!(text, "{label:<20}{value}");
    }
    text
}

/// What AWS Support asks for first, on one page.
fn tunnels(config: Option<&config::Config>) -> Result<String, String> {
    let config = config.ok_or("the configuration is missing or has errors; see doctor.txt")?;
    let mut text = String::new();
    for (connection, tunnel) in config.tunnels() {
        let _ = writeln!(text, "{}/{} ({} routing)", connection.id, tunnel.name, connection.routing.name());
        let _ = writeln!(text, "  AWS outside address      {}", tunnel.outside);
        let _ = writeln!(text, "  customer gateway         {}", tunnel.customer_gateway);
        if let Some(bind) = tunnel.bind {
            let _ = writeln!(text, "  sends from               {bind}");
        }
        for inside in &tunnel.inside {
            let _ = writeln!(text, "  inside, ours and AWS's   {} {}", inside.ours, inside.aws);
        }
        let _ = writeln!(text, "  interface                {}", tunnel.interface);
    }
    Ok(text)
}

fn parameters(config: Option<&config::Config>) -> String {
    let interfaces = config
        .into_iter()
        .flat_map(config::Config::tunnels)
        .map(|(_, tunnel)| format!("net.ipv4.conf.{}.rp_filter", tunnel.interface.replace('.', "/")));
    let mut text = String::new();
    for name in PARAMETERS.into_iter().map(str::to_owned).chain(interfaces) {
        let value = net::sysctl::read(&name).unwrap_or_else(|error| format!("({error})"));
        let _ = writeln!(text, "{name} = {value}");
    }
    text
}

async fn ways_out(config: &config::Config) -> Result<String, String> {
    let mut text = String::new();
    for (_, tunnel) in config.tunnels() {
        let outside = tunnel.outside.to_string();
        let answer = run(&["ip", "route", "get", &outside]).await.unwrap_or_else(|error| error + "\n");
        let _ = write!(text, "{outside}:\n{answer}");
    }
    Ok(text)
}

/// What a program says on standard output, within limits.
async fn run(command: &[&str]) -> Result<String, String> {
    let Some((program, arguments)) = command.split_first() else { return Err("no program".to_owned()) };
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|error| format!("cannot run {program}: {error}"))?;
    let (mut out, mut complaint) = (Vec::new(), Vec::new());
    let whole = async {
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            let (mut stdout, mut stderr) = (stdout.take(PROGRAM_BYTES_MAX), stderr.take(PROGRAM_BYTES_MAX));
            let both = (stdout.read_to_end(&mut out), stderr.read_to_end(&mut complaint));
            let _ = tokio::join!(both.0, both.1);
        }
        child.wait().await
    };
    let ended = tokio::time::timeout(PROGRAM_TIME, whole).await;
    let ended = ended.map_err(|_| format!("{program} did not end within {} s", PROGRAM_TIME.as_secs()))?;
    let status = ended.map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8_lossy(&out).into_owned();
    if text.is_empty() && !status.success() {
        return Err(format!(
            "{}: {status}: {}",
            command.join(" "),
            String::from_utf8_lossy(&complaint).trim()
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_is_missing_or_fails_is_a_reason_and_no_error() {
        assert!(run(&["no-such-program-here"]).await.unwrap_err().contains("cannot run"));
        assert!(run(&["sh", "-c", "echo no >&2; exit 3"]).await.unwrap_err().ends_with("no"));
        assert_eq!(run(&["echo", "yes"]).await, Ok("yes\n".to_owned()));
    }

    #[test]
    fn the_device_is_described() {
        let text = device("gw1");
        for part in ["gw1", env!("CARGO_PKG_VERSION"), "Linux", "processors"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
