//! Tables and pictures of a kept run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::chart::{Bar, Chart, Paint, Panel};
use super::contender::Kind;
use super::measure::core::Core;
use super::measure::udp::Load;
use super::results::{FLOOR, Run, Stat};
use super::rig::Mode;

/// What stands around the generated part of docs/performance.md.
const BEGIN: &str = "<!-- bench: begin; scripts/bench --publish writes this part -->";
const END: &str = "<!-- bench: end -->";

/// A figure with as many digits as it deserves.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A column of a table: its head, and what stands in it.
struct Column {
    head: &'static str,
    test: String,
    value: &'static str,
    /// Figures are multiplied by this.
    factor: f64,
}

fn column(head: &'static str, test: impl Into<String>, value: &'static str) -> Column {
    Column { head, test: test.into(), value, factor: 1.0 }
}

/// All tables of a run, in Markdown.
pub(super) fn markdown(run: &Run) -> String {
    let mut text = preamble(run);
    for mode in run.modes() {
        let title = match mode {
            Mode::Default => "Links as they come (super-packets pass)",
            Mode::WireTrue => "Wire-true links (no packet above 1500 octets passes)",
        };
        let _ = writeln!(text, "## {title}\n");
        let tables: [(&str, Vec<Column>); 4] =
            [throughput(), cost(), latency(), udp()].map(|(title, columns)| (title, columns));
        for (title, columns) in tables {
            table(&mut text, run, mode, title, &columns);
        }
        long_runs(&mut text, run, mode);
        many(&mut text, run, mode);
        cores(&mut text, run, mode);
        floor(&mut text, run, mode);
        profile(&mut text, run, mode);
        verdicts(&mut text, run, mode);
    }
    failures(&mut text, run);
    text
}

fn preamble(run: &Run) -> String {
    let machine = &run.machine;
    let modified = if run.modified { ", with uncommitted changes" } else { "" };
    let quick = if run.quick { " **A quick run: not for publication.**" } else { "" };
    let mut text = format!(
        "Measured {} at commit `{}`{modified}, {} rounds.{quick}\n\n- {} x {}, {}; {} MiB; {}, kernel {}, {}\n",
        run.date,
        run.commit,
        run.rounds,
        machine.cpus,
        machine.cpu,
        machine.crypto_flags.join(" "),
        machine.memory_mib,
        machine.system,
        machine.kernel,
        if machine.virtualization.is_empty() { "no hypervisor known" } else { &machine.virtualization },
    );
    for (name, value) in &machine.sysctl {
        let _ = writeln!(text, "- `{name}` = {value}");
    }
    for (mode, lines) in &run.offloads {
        let _ = writeln!(text, "- link between the gateways, {}: {}", mode.name(), lines.join(", "));
    }
    for (kind, version) in &run.versions {
        let _ = writeln!(text, "- {}: {version}", kind.name());
    }
    let steal: f64 = run.samples.iter().filter_map(|sample| sample.values.get("steal_s")).sum();
    let loads = run.samples.iter().filter_map(|sample| sample.values.get("load").copied());
    let loads = Stat::of(loads.collect());
    let load = loads.map_or_else(|| "unknown".to_owned(), |stat| format!("{} (median)", number(stat.median)));
    let _ = writeln!(
        text,
        "- load average during the measurements: {load}; stolen by the hypervisor: {:.1} s\n",
        steal.abs()
    );
    text
}

fn throughput() -> (&'static str, Vec<Column>) {
    let columns = [
        ("1 stream LAN→VPC", "tcp1_up"),
        ("1 stream VPC→LAN", "tcp1_down"),
        ("4 streams LAN→VPC", "tcp4_up"),
        ("4 streams VPC→LAN", "tcp4_down"),
        ("both ways, sum", "tcp_both"),
    ];
    ("TCP, Gbit/s at the receiver", columns.map(|(head, test)| column(head, test, "gbit")).into())
}

fn cost() -> (&'static str, Vec<Column>) {
    let columns = vec![
        column("CPU s/Gbit, machine, LAN→VPC", "tcp1_up", "cpu_s_per_gbit"),
        column("CPU s/Gbit, machine, VPC→LAN", "tcp1_down", "cpu_s_per_gbit"),
        column("CPU s/Gbit, gateway processes", "tcp1_up", "gateway_cpu_s_per_gbit"),
        column("RSS idle, MiB", "memory", "idle_mib"),
        column("RSS at most, MiB", "memory", "highest_mib"),
        column("octets per packet on the WAN link", "tcp1_up", "wan_bytes_per_packet"),
        column("retransmits", "tcp1_up", "retransmits"),
    ];
    ("What it costs (one TCP stream)", columns)
}

fn latency() -> (&'static str, Vec<Column>) {
    let columns = vec![
        column("idle p50", "rtt_idle", "rtt_p50_ms"),
        column("idle p99", "rtt_idle", "rtt_p99_ms"),
        column("1 TCP stream: mean", "rtt_tcp", "rtt_mean_ms"),
        column("p50", "rtt_tcp", "rtt_p50_ms"),
        column("p99", "rtt_tcp", "rtt_p99_ms"),
        column("80 % UDP load: p50", "load80", "rtt_p50_ms"),
        column("p99", "load80", "rtt_p99_ms"),
        column("lost", "load80", "lost"),
        column("reordered", "load80", "reordered"),
    ];
    ("Round trips, ms; loss and reordering at 80 % of the own zero-loss rate (1400 octets)", columns)
}

fn udp() -> (&'static str, Vec<Column>) {
    let heads = ["64", "IMIX", "1400", "64, segmenting sender", "1400, segmenting sender"];
    let kilo =
        |(head, load): (&'static str, Load)| Column { factor: 1e-3, ..column(head, load.name(), "pps") };
    (
        "UDP at zero loss, thousand packets/s by inner packet size",
        heads.into_iter().zip(Load::ALL).map(kilo).collect(),
    )
}

fn table(text: &mut String, run: &Run, mode: Mode, title: &str, columns: &[Column]) {
    let rows: Vec<(Kind, Vec<Option<Stat>>)> = run
        .kinds(mode)
        .into_iter()
        .map(|kind| (kind, columns.iter().map(|c| run.stat(mode, kind, &c.test, c.value)).collect()))
        .collect();
    let rows: Vec<_> =
        rows.into_iter().filter(|(_, cells): &(_, Vec<_>)| cells.iter().any(Option::is_some)).collect();
    if rows.is_empty() {
        return;
    }
    let heads: Vec<&str> = columns.iter().map(|column| column.head).collect();
    let _ =
        writeln!(text, "**{title}**\n\n| | {} |\n|---|{}", heads.join(" | "), "---:|".repeat(heads.len()));
    for (kind, cells) in rows {
        let cells: Vec<String> = cells.iter().zip(columns).map(|(stat, c)| cell(*stat, c.factor)).collect();
        let name = if kind.is_ours() { format!("**{}**", kind.name()) } else { kind.name().to_owned() };
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text.push('\n');
}

fn cell(stat: Option<Stat>, factor: f64) -> String {
    let Some(Stat { median, min, max }) = stat else { return "-".to_owned() };
    let [median, min, max] = [median, min, max].map(|value| number(value * factor));
    if min == max { median } else { format!("{median} [{min}..{max}]") }
}

fn cores(text: &mut String, run: &Run, mode: Mode) {
    let columns = [
        ("Gbit/s per busy core", "gbit_per_core"),
        ("ns/packet", "ns_per_packet"),
        ("packets per TUN read", "packets_per_tun_read"),
        ("per send", "packets_per_send"),
        ("per receive", "packets_per_receive"),
        ("per TUN write", "packets_per_tun_write"),
    ];
    let row = |core: &Core| {
        let test = core.name();
        run.stat(mode, Kind::Plane, &test, "gbit_per_core")?;
        let cell = |name| run.stat(mode, Kind::Plane, &test, name).filter(|stat| stat.max > 0.0);
        let cells: Vec<String> = columns.iter().map(|(_, name)| self::cell(cell(name), 1.0)).collect();
        Some(format!("| {} | {} |\n", core.title(), cells.join(" | ")))
    };
    let rows: String = Core::ALL.iter().filter_map(row).collect();
    if rows.is_empty() {
        return;
    }
    let heads = columns.map(|(head, _)| head);
    let _ = writeln!(
        text,
        "**One direction alone, AES-256-GCM, time of the worker's thread**\n\n| | {} |\n|---|{}\n{rows}",
        heads.join(" | "),
        "---:|".repeat(heads.len())
    );
}

/// What bare raw sockets carry, and what that is beside a stream in UDP.
fn floor(text: &mut String, run: &Run, mode: Mode) {
    let value = |name| run.stat(mode, Kind::Plane, FLOOR, name).map(|stat| stat.median);
    let (Some(gbit), Some(send), Some(receive)) =
        (value("gbit"), value("send_ns_per_packet"), value("receive_ns_per_packet"))
    else {
        return;
    };
    let _ = write!(
        text,
        "Bare packets of protocol 50 from one raw socket to another, nothing encrypted and no TUN: {} Gbit/s of a TCP \
         stream's payload, {send:.0} ns of CPU time to send one, {receive:.0} ns to receive one",
        number(gbit)
    );
    let udp = [Kind::Cgwd, Kind::Plane].into_iter().find_map(|kind| run.stat(mode, kind, "tcp1_up", "gbit"));
    match udp {
        Some(udp) => {
            let _ = writeln!(text, "; {:.0} % of one stream through us in UDP.\n", gbit / udp.median * 100.0);
        }
        None => text.push_str(".\n\n"),
    }
}

/// What takes minutes: five at 80 % load, gigabytes compared octet by octet, a slow way that loses packets.
fn long_runs(text: &mut String, run: &Run, mode: Mode) {
    let columns = [
        column("80 % load for minutes: datagrams", "soak", "sent"),
        column("lost", "soak", "lost"),
        column("reordered", "soak", "reordered"),
        column("round trip p99, ms", "soak", "rtt_p99_ms"),
        column("transfer up, GB, all octets right", "transfer", "upload_gb"),
        column("down, GB", "transfer", "download_gb"),
        column("20 ms and 1 % loss: 8 streams, Gbit/s", "tcp8_lossy", "gbit"),
    ];
    table(text, run, mode, "Long runs, and a lossy way", &columns);
    let lossy = |kind| run.stat(mode, kind, "tcp8_lossy", "gbit").map(|stat| stat.median);
    for kind in run.kinds(mode).into_iter().filter(|kind| kind.is_ours()) {
        if let (Some(ours), Some(plain)) = (lossy(kind), lossy(Kind::Plain)) {
            let share = ours / plain * 100.0;
            let _ =
                writeln!(text, "Over the lossy way, {}: {share:.0} % of plain forwarding.\n", kind.name());
        }
    }
}

/// Many connections in one daemon, beside one.
fn many(text: &mut String, run: &Run, mode: Mode) {
    const COLUMNS: [(&str, &str); 6] = [
        ("tunnels", "tunnels"),
        ("all up after, s", "all_up_s"),
        ("RSS, MiB", "rss_mib"),
        ("RSS at most, MiB", "highest_mib"),
        ("idle CPU, ms/s", "idle_cpu_ms_per_s"),
        ("idle CPU, us/s for each tunnel", "idle_cpu_us_per_s_and_tunnel"),
    ];
    let tests: std::collections::BTreeSet<&str> = run
        .samples
        .iter()
        .filter(|sample| sample.mode == mode)
        .filter_map(|sample| Some(sample.test.as_str()).filter(|test| test.starts_with("many_")))
        .collect();
    if tests.is_empty() {
        return;
    }
    let heads = COLUMNS.map(|(head, _)| head);
    let _ = writeln!(
        text,
        "**Many connections in one daemon, two tunnels each**\n\n| {} |\n|{}",
        heads.join(" | "),
        "---:|".repeat(heads.len())
    );
    for test in tests {
        let cells = COLUMNS.map(|(_, value)| cell(run.stat(mode, Kind::Cgwd, test, value), 1.0));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text.push('\n');
}

/// Nanoseconds for each segment, the dearest first within its thread.
fn profile(text: &mut String, run: &Run, mode: Mode) {
    let found = |sample: &&super::results::Sample| sample.mode == mode && sample.test == "profile";
    let Some(sample) = run.samples.iter().rfind(found) else { return };
    let stat = |name: &str| run.stat(mode, Kind::Plane, "profile", name).map_or(0.0, |stat| stat.median);
    let mut threads: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
    for name in sample.values.keys().filter(|name| *name != "gbit") {
        let (thread, part) = name.split_once(": ").unwrap_or((name, ""));
        threads.entry(thread).or_default().push((part, stat(name)));
    }
    let _ = writeln!(
        text,
        "**Where each nanosecond goes: one TCP stream LAN→VPC through our data plane alone at {} Gbit/s, ns of CPU time \
         for each segment of 1386 octets**\n\n| | ns |\n|---|---:|",
        number(stat("gbit"))
    );
    for (thread, mut parts) in threads {
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        let sum: f64 = parts.iter().map(|(_, nanos)| nanos).sum();
        let title = match thread {
            "plane-out" => "**first gateway, TUN to wire**",
            "plane-in" => "**second gateway, wire to TUN**",
            other => other,
        };
        let _ = writeln!(text, "| {title} | **{sum:.0}** |");
        for (part, nanos) in parts.into_iter().filter(|(part, nanos)| !part.is_empty() && *nanos >= 0.5) {
            let _ = writeln!(text, "| {part} | {nanos:.0} |");
        }
    }
    text.push('\n');
}

/// Ratios that say at once where we stand.
fn verdicts(text: &mut String, run: &Run, mode: Mode) {
    let gbit = |kind, test: &str| run.stat(mode, kind, test, "gbit").map(|stat| stat.median);
    let ours = [Kind::Cgwd, Kind::Plane].into_iter().find(|&kind| gbit(kind, "tcp1_up").is_some());
    let Some((kind, rate)) = ours.and_then(|kind| Some((kind, gbit(kind, "tcp1_up")?))) else { return };
    let mut lines = Vec::new();
    if let Some(plain) = gbit(Kind::Plain, "tcp1_up") {
        lines.push(format!("{:.0} % of plain forwarding", rate / plain * 100.0));
    }
    for peer in run.kinds(mode).into_iter().filter(|kind| kind.is_peer()) {
        if let Some(theirs) = gbit(peer, "tcp1_up").filter(|theirs| *theirs > 0.0) {
            lines.push(format!("{:.1} x {}", rate / theirs, peer.name()));
        }
    }
    if !lines.is_empty() {
        let _ = writeln!(text, "One stream LAN→VPC, {}: {}.\n", kind.name(), lines.join(", "));
    }
}

fn failures(text: &mut String, run: &Run) {
    if run.failures.is_empty() {
        return;
    }
    text.push_str("**Not measured**\n\n");
    for failure in &run.failures {
        let error: String = failure.error.lines().next().unwrap_or_default().chars().take(200).collect();
        let _ = writeln!(
            text,
            "- round {}, {}, {}, {}: {error}",
            failure.round,
            failure.mode.name(),
            failure.kind.name(),
            failure.test
        );
    }
    text.push('\n');
}

/// Writes the generated part of `docs/performance.md`, the pictures, and the samples they were made from.
pub(super) fn publish(run: &Run, docs: &Path) -> Result<()> {
    let folder = docs.join("performance");
    std::fs::create_dir_all(&folder)?;
    let mut pictures = String::new();
    for (name, chart) in charts(run) {
        std::fs::write(folder.join(format!("{name}.svg")), chart.svg())?;
        let _ = writeln!(pictures, "![{}](performance/{name}.svg)\n", chart.title);
    }
    std::fs::write(folder.join("results.json"), serde_json::to_string_pretty(run)? + "\n")?;
    let path = docs.join("performance.md");
    let page =
        std::fs::read_to_string(&path).unwrap_or_else(|_| format!("# Performance\n\n{BEGIN}\n{END}\n"));
    let (before, rest) = page.split_once(BEGIN).context("docs/performance.md has lost its begin mark")?;
    let (_, after) = rest.split_once(END).context("docs/performance.md has lost its end mark")?;
    let page = format!("{before}{BEGIN}\n\n{pictures}{}{END}{after}", markdown(run));
    Ok(std::fs::write(path, page)?)
}

fn charts(run: &Run) -> Vec<(&'static str, Chart)> {
    let note = format!(
        "{}, commit {}, {} x {}; median of {} interleaved rounds, whiskers: extremes",
        run.date, run.commit, run.machine.cpus, run.machine.cpu, run.rounds
    );
    let chart = |title: &str, unit, panels: Vec<Panel>| Chart {
        title: title.to_owned(),
        note: note.clone(),
        unit,
        panels: panels.into_iter().filter(|panel| !panel.bars.is_empty()).collect(),
    };
    let by_mode = |test: &str, value: &str, all: bool| -> Vec<Panel> {
        let panel = |mode: Mode| Panel {
            title: mode.name().to_owned(),
            bars: bars(run, mode, (test, value, 1.0), all),
        };
        run.modes().into_iter().map(panel).collect()
    };
    let udp = Load::ALL.iter().filter(|load| !load.segment).map(|load| Panel {
        title: format!("{} octets, links as they come", load.size.name()),
        bars: bars(run, Mode::Default, (&load.name(), "pps", 1e-3), false),
    });
    let all = vec![
        ("tcp", chart("One TCP stream through two gateways", "Gbit/s", by_mode("tcp1_up", "gbit", true))),
        ("cpu", chart("CPU time of the whole machine", "s/Gbit", by_mode("tcp1_up", "cpu_s_per_gbit", true))),
        ("rtt", chart("Round trip beside one TCP stream, p99", "ms", by_mode("rtt_tcp", "rtt_p99_ms", true))),
        ("udp", chart("UDP at zero loss, one ordinary sender", "thousand packets/s", udp.collect())),
    ];
    all.into_iter().filter(|(_, chart)| !chart.panels.is_empty()).collect()
}

fn bars(run: &Run, mode: Mode, (test, value, factor): (&str, &str, f64), with_plain: bool) -> Vec<Bar> {
    let bar = |kind: Kind| {
        let stat = run.stat(mode, kind, test, value)?;
        let paint = match kind {
            Kind::Plain => Paint::Ceiling,
            _ if kind.is_ours() => Paint::Ours,
            _ => Paint::Peer,
        };
        Some(Bar {
            label: kind.name().to_owned(),
            value: stat.median * factor,
            range: (stat.min * factor, stat.max * factor),
            paint,
        })
    };
    run.kinds(mode).into_iter().filter(|kind| with_plain || *kind != Kind::Plain).filter_map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_significant_digits() {
        assert_eq!([0.0, 0.0123, 1.234, 12.34, 123.4].map(number), ["0.00", "0.012", "1.23", "12.3", "123"]);
    }

    #[test]
    fn a_cell_shows_the_spread_only_where_there_is_one() {
        let stat = |median, min, max| Some(Stat { median, min, max });
        assert_eq!(cell(stat(6.5, 6.0, 7.0), 1.0), "6.50 [6.00..7.00]");
        assert_eq!(cell(stat(300_000.0, 300_000.0, 300_000.0), 1e-3), "300");
        assert_eq!(cell(None, 1.0), "-");
    }
}
