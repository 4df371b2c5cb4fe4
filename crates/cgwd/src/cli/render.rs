//! Screens for people. Pure: values in, text out.

use std::fmt::Write as _;

use crate::api::{Child, Event, Ike, Redundancy, Routes, Stage, Status, Tunnel};
use crate::paint::Paint;

/// `cgwd status`.
pub(super) fn status(status: &Status, colour: bool) -> String {
    let paint = Paint { colour };
    let mut text = String::new();
    let word = match status.redundancy {
        Redundancy::Full => paint.green("all tunnels are up"),
        Redundancy::Degraded => paint.yellow("degraded: not all tunnels are up"),
        Redundancy::None => paint.red("down"),
    };
    let _ = writeln!(text, "cgwd {}, running for {}: {word}", status.version, span(status.uptime_seconds));
    for connection in &status.connections {
        let _ = writeln!(text, "\n{} ({})", paint.bold(&connection.id), connection.routing);
        let name = width(connection.tunnels.iter().map(|tunnel| tunnel.name.len()));
        let outside = width(connection.tunnels.iter().map(|tunnel| tunnel.outside_ip.to_string().len()));
        let interface = width(connection.tunnels.iter().map(|tunnel| tunnel.interface.len()));
        for tunnel in &connection.tunnels {
            let mark = if tunnel.egress { "→" } else { " " };
            // Padding counts characters, so it is done before the colour is put on.
            let stage = painted(tunnel.stage, &format!("{:<6}", tunnel.stage.name()), paint);
            let _ = writeln!(
                text,
                "{mark} {:name$}  {stage}  {:>7}  {:outside$}  {:interface$}  {}{}",
                tunnel.name,
                span(tunnel.since_seconds),
                tunnel.outside_ip.to_string(),
                tunnel.interface,
                quality(tunnel),
                if tunnel.drained { "  drained" } else { "" },
            );
            details(&mut text, tunnel, paint);
        }
    }
    if status.connections.iter().any(|connection| connection.tunnels.iter().any(|tunnel| tunnel.egress)) {
        let _ = writeln!(text, "\n→ traffic to AWS leaves here");
    }
    text
}

fn details(text: &mut String, tunnel: &Tunnel, paint: Paint) {
    if let Some(ike) = &tunnel.ike {
        let _ = writeln!(text, "    ike     {}", ike_line(ike));
    }
    if let Some(child) = &tunnel.child {
        let _ = writeln!(text, "    ipsec   {}", child_line(child));
        let _ = writeln!(text, "    traffic {}", traffic_line(child));
    }
    let inside = tunnel.inside_ip.map_or_else(|| "no inside address".to_owned(), |ip| ip.to_string());
    let _ = writeln!(text, "    inside  {inside}, MTU {}", tunnel.mtu);
    if let Some(bgp) = &tunnel.bgp {
        let uptime = bgp.uptime_seconds.map_or_else(String::new, |up| format!(" for {}", span(up)));
        let _ = writeln!(
            text,
            "    bgp     {}{uptime} with {} AS {}, {} received, {} advertised",
            bgp.state, bgp.peer, bgp.asn, bgp.received, bgp.advertised
        );
        if let Some(why) = bgp.waiting_for.as_ref().filter(|_| tunnel.stage == Stage::Bgp) {
            let _ = writeln!(text, "            {why}");
        }
    }
    if let Some(error) = &tunnel.last_error {
        let current = tunnel.stage != Stage::Up;
        let line = format!("{} ({} ago): {}", error.code, span(error.seconds_ago), error.text);
        let _ = writeln!(
            text,
            "    {}   {}",
            if current { "error" } else { "last " },
            if current { paint.red(&line) } else { line }
        );
        if current && !error.remedy.is_empty() {
            let _ = writeln!(text, "    remedy  {}", error.remedy);
        }
    }
}

fn ike_line(ike: &Ike) -> String {
    if ike.proposal.is_empty() {
        return format!("{}, {}", ike.state, ike.role);
    }
    format!(
        "{} for {}, {}, {}{}, rekey in {}, {} so far",
        ike.state,
        span(ike.established_seconds),
        ike.role,
        ike.proposal,
        if ike.ppk { " with PPK" } else { "" },
        span(ike.rekey_in_seconds),
        ike.rekeys
    )
}

fn child_line(child: &Child) -> String {
    format!(
        "{}, {}, {}, rekey in {}, {} so far, SPI in {} out {}",
        child.state,
        child.proposal,
        match child.encapsulation.as_str() {
            "udp" => "UDP 4500",
            _ => "protocol 50",
        },
        span(child.rekey_in_seconds),
        child.rekeys,
        child.spi_in,
        child.spi_out
    )
}

fn traffic_line(child: &Child) -> String {
    let drops = child.drops;
    let mut line = format!(
        "in {} packets, {}; out {} packets, {}",
        child.rx_packets,
        octets(child.rx_bytes),
        child.tx_packets,
        octets(child.tx_bytes)
    );
    let dropped: Vec<String> = [
        ("auth", drops.auth),
        ("replay", drops.replay),
        ("no SA", drops.no_sa),
        ("malformed", drops.malformed),
        ("MTU", drops.mtu),
        ("queue", drops.queue),
    ]
    .iter()
    .filter(|(_, count)| *count > 0)
    .map(|(name, count)| format!("{name} {count}"))
    .collect();
    if !dropped.is_empty() {
        let _ = write!(line, "; dropped: {}", dropped.join(", "));
    }
    // What the kernel never had, or the operator switched off, is no news.
    let given_up = |(_, state): &(&String, &String)| state.starts_with("failed") || *state == "corrupting";
    let given_up: Vec<String> =
        child.offloads.iter().filter(given_up).map(|(name, state)| format!("{name} {state}")).collect();
    if !given_up.is_empty() {
        let _ = write!(line, "; offloads given up: {}", given_up.join(", "));
    }
    line
}

fn quality(tunnel: &Tunnel) -> String {
    match &tunnel.probe {
        Some(probe) => {
            let rtt = probe.rtt_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
            format!("RTT {rtt:>8}  loss {:>3.0} %", probe.loss_ratio * 100.0)
        }
        None => String::from("RTT        -  loss   - %"),
    }
}

/// One event, for `cgwd events`.
pub(super) fn event(text: &mut String, event: &Event) {
    let whom = match (&event.connection, &event.tunnel) {
        (_, Some(tunnel)) => tunnel.as_str(),
        (Some(connection), None) => connection.as_str(),
        (None, None) => "-",
    };
    let _ = write!(text, "{}  {whom:<10}  {:<22}  {}", event.time, event.code, event.text);
    if let Some(took) = event.took_ms {
        let _ = write!(text, " ({})", milliseconds(took));
    }
    text.push('\n');
}

/// `cgwd routes`.
pub(super) fn routes(routes: &Routes) -> String {
    let mut text = String::new();
    for egress in &routes.egress {
        let way = match egress.tunnels.as_slice() {
            [] => "no egress".to_owned(),
            tunnels => format!("by {}", tunnels.join(", ")),
        };
        let _ = writeln!(text, "{} {way}: {}", egress.connection, egress.reason);
        let own: Vec<_> =
            routes.routes.iter().filter(|route| route.connection == egress.connection).collect();
        let destination = width(own.iter().map(|route| route.destination.len()));
        // One reason for all is told once, above.
        let differ = own.windows(2).any(|pair| matches!(pair, [a, b] if a.why != b.why));
        for route in own {
            let way = match route.interfaces.as_slice() {
                [] => "unreachable".to_owned(),
                interfaces => format!("dev {}", interfaces.join(", ")),
            };
            let _ = write!(text, "  {:destination$}  {way}", route.destination);
            if let Some(source) = route.source {
                let _ = write!(text, "  src {source}");
            }
            let _ = write!(text, "  metric {}", route.metric);
            if route.table != 254 {
                let _ = write!(text, "  table {}", route.table);
            }
            let _ = write!(text, "{}", if route.installed { "" } else { "  (not in the kernel)" });
            let _ = writeln!(text, "{}", if differ { format!("  {}", route.why) } else { String::new() });
        }
    }
    if text.is_empty() {
        text.push_str("no connection has routes\n");
    }
    text
}

fn width(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.max().unwrap_or(0)
}

/// Two units at most: `3.2s`, `4m 05s`, `5h 10m`, `3d 4h`.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..10 => format!("{:.1}s", seconds.max(0.0)),
        10..60 => format!("{whole}s"),
        60..3_600 => format!("{}m {:02}s", whole / 60, whole % 60),
        3_600..86_400 => format!("{}h {:02}m", whole / 3_600, whole / 60 % 60),
        _ => format!("{}d {}h", whole / 86_400, whole / 3_600 % 24),
    }
}

pub(super) fn milliseconds(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 10_000.0 {
        format!("{ms:.0} ms")
    } else {
        span(ms / 1e3)
    }
}

pub(super) fn octets(count: u64) -> String {
    let mut value = count as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}

fn painted(stage: Stage, text: &str, paint: Paint) -> String {
    match stage {
        Stage::Up => paint.green(text),
        Stage::Down => paint.red(text),
        _ => paint.yellow(text),
    }
}

#[cfg(test)]
mod tests;
