//! `GET /metrics`: OpenMetrics text. A configured tunnel is always there, up or not: its gauges say 0, its counters
//! stand. Labels name configured things and words of fixed lists only, so the number of series follows the file.

mod page;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::api::{Drops, Stage, Status, Tunnel};
use crate::tally::{Cause, Failovers, Figures, Histogram, RTT_BOUNDS};
use page::{Page, label};

/// Everything that is exported, of one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// As `GET /v1/status`.
    pub status: Status,
    /// One for each tunnel of the status, in its order.
    pub tunnels: Vec<TunnelFigures>,
    /// Changes of each connection's egress, in the order of the status.
    pub failovers: Vec<Failovers>,
    /// What found the control loop's inbox full.
    pub lost: u64,
    /// The wall clock, in seconds since 1970.
    pub unix_seconds: f64,
    /// When the configuration was last taken over, at start or by a reload.
    pub configured_unix_seconds: f64,
}

/// What the status does not say of a tunnel.
#[derive(Clone, Copy, Debug, Default)]
pub struct TunnelFigures {
    /// Counters.
    pub figures: Figures,
    /// Since keys were last replaced; `None` before the first rekey.
    pub last_rekey_seconds: Option<f64>,
    /// How many prefixes we take and announce at most; `None` without BGP.
    pub prefix_limits: Option<(u64, u64)>,
}

impl Snapshot {
    /// A status with nothing counted yet.
    pub fn of(status: Status) -> Self {
        let now = unix_seconds(SystemTime::now());
        let tunnels = status.connections.iter().map(|connection| connection.tunnels.len()).sum();
        Self {
            tunnels: vec![TunnelFigures::default(); tunnels],
            failovers: vec![Failovers::default(); status.connections.len()],
            lost: 0,
            unix_seconds: now,
            configured_unix_seconds: now,
            status,
        }
    }
}

/// Seconds since 1970; zero before.
pub fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| (since.as_secs_f64() * 1e3).round() / 1e3)
}

/// One tunnel with its labels.
struct Row<'a> {
    labels: String,
    bgp: bool,
    tunnel: &'a Tunnel,
    more: TunnelFigures,
}

/// The page.
pub fn render(snapshot: &Snapshot) -> String {
    let mut page = Page::default();
    let mut figures = snapshot.tunnels.iter().copied();
    let mut rows = Vec::new();
    for connection in &snapshot.status.connections {
        for tunnel in &connection.tunnels {
            let labels = [
                label("connection", &connection.id),
                label("tunnel", &tunnel.name),
                label("outside_ip", &tunnel.outside_ip.to_string()),
            ];
            let more = figures.next().unwrap_or_default();
            rows.push(Row { labels: labels.join(","), bgp: connection.routing == "bgp", tunnel, more });
        }
    }
    standing(&mut page, &rows, snapshot.unix_seconds);
    quality(&mut page, &rows);
    lifetimes(&mut page, &rows, snapshot.unix_seconds);
    bgp(&mut page, &rows);
    counters(&mut page, &rows);
    kernel(&mut page, &rows);
    connections(&mut page, snapshot);
    daemon(&mut page, snapshot);
    page.finish()
}

fn flag(value: bool) -> Option<f64> {
    Some(f64::from(u8::from(value)))
}

/// A gauge of every tunnel that has a value.
fn gauge(
    page: &mut Page,
    rows: &[Row<'_>],
    (name, help): (&str, &str),
    value: &dyn Fn(&Row<'_>) -> Option<f64>,
) {
    page.family(name, "gauge", help);
    for row in rows {
        page.sample(name, &row.labels, value(row));
    }
}

fn standing(page: &mut Page, rows: &[Row<'_>], now: f64) {
    gauge(page, rows, ("cgwd_tunnel_up", "Whether traffic can pass."), &|row| {
        flag(row.tunnel.stage == Stage::Up)
    });
    page.family("cgwd_tunnel_stage", "stateset", "How far the tunnel has come.");
    for row in rows {
        for stage in [Stage::Down, Stage::Ike, Stage::Ipsec, Stage::Tunnel, Stage::Bgp, Stage::Up] {
            let labels = format!("{},{}", row.labels, label("cgwd_tunnel_stage", stage.name()));
            page.sample("cgwd_tunnel_stage", &labels, flag(row.tunnel.stage == stage));
        }
    }
    let help = "Time since the stage changed.";
    gauge(page, rows, ("cgwd_tunnel_stage_seconds", help), &|row| Some(row.tunnel.since_seconds));
    let help = "When the tunnel came up; no sample while it is not.";
    gauge(page, rows, ("cgwd_tunnel_established_timestamp_seconds", help), &|row| {
        (row.tunnel.stage == Stage::Up).then_some(now - row.tunnel.since_seconds)
    });
    gauge(page, rows, ("cgwd_egress_active", "Whether traffic to AWS leaves here."), &|row| {
        flag(row.tunnel.egress)
    });
    let help = "Whether an operator took it out of service.";
    gauge(page, rows, ("cgwd_tunnel_drained", help), &|row| flag(row.tunnel.drained));
    let help = "MTU of the interface.";
    gauge(page, rows, ("cgwd_tunnel_mtu_bytes", help), &|row| Some(f64::from(row.tunnel.mtu)));
}

fn quality(page: &mut Page, rows: &[Row<'_>]) {
    let name = "cgwd_probe_rtt_seconds";
    page.family(name, "histogram", "Round trips of the probes through the tunnel.");
    for row in rows {
        histogram(page, name, &row.labels, &row.more.figures.rtt);
    }
    gauge(page, rows, ("cgwd_probe_last_rtt_seconds", "Round trip of the newest answer."), &|row| {
        Some(row.tunnel.probe?.rtt_ms? / 1e3)
    });
    let help = "Unanswered share of the last minute's probes; 1 while nothing can be probed.";
    gauge(page, rows, ("cgwd_probe_loss_ratio", help), &|row| {
        Some(row.tunnel.probe.filter(|_| row.tunnel.child.is_some()).map_or(1.0, |probe| probe.loss_ratio))
    });
}

fn histogram(page: &mut Page, name: &str, labels: &str, histogram: &Histogram) {
    let bounds = RTT_BOUNDS.iter().map(|bound| format!("{bound:?}")).chain(["+Inf".to_owned()]);
    let mut sum = 0;
    for (bound, count) in bounds.zip(histogram.counts) {
        sum += count;
        let labels = format!("{labels},{}", label("le", &bound));
        page.sample(&format!("{name}_bucket"), &labels, Some(sum as f64));
    }
    page.sample(&format!("{name}_count"), labels, Some(sum as f64));
    page.sample(&format!("{name}_sum"), labels, Some(histogram.sum));
}

fn lifetimes(page: &mut Page, rows: &[Row<'_>], now: f64) {
    gauge(page, rows, ("cgwd_ike_rekey_in_seconds", "Until the IKE SA is rekeyed."), &|row| {
        Some(row.tunnel.ike.as_ref()?.rekey_in_seconds)
    });
    gauge(page, rows, ("cgwd_child_rekey_in_seconds", "Until the child SA is rekeyed."), &|row| {
        Some(row.tunnel.child.as_ref()?.rekey_in_seconds)
    });
    page.family("cgwd_sa_expiry_seconds", "gauge", "Until the SA ends when it is not rekeyed.");
    for row in rows {
        let ike = row.tunnel.ike.as_ref().filter(|ike| !ike.proposal.is_empty());
        let child = row.tunnel.child.as_ref();
        for (sa, left) in [
            ("ike", ike.map(|ike| ike.expires_in_seconds)),
            ("child", child.map(|child| child.expires_in_seconds)),
        ] {
            page.sample("cgwd_sa_expiry_seconds", &format!("{},{}", row.labels, label("sa", sa)), left);
        }
    }
    let help = "Until the first of our certificates, CAs and revocation lists ends.";
    gauge(page, rows, ("cgwd_certificate_expires_seconds", help), &|row| {
        Some(row.tunnel.certificate.as_ref()?.first_end_in_seconds as f64)
    });
    let help = "Until the certificate that the peer showed ends.";
    gauge(page, rows, ("cgwd_peer_certificate_expires_seconds", help), &|row| {
        Some(row.tunnel.certificate.as_ref()?.peer_expires_in_seconds? as f64)
    });
    let help = "When keys were last replaced; no sample before the first rekey.";
    gauge(page, rows, ("cgwd_last_rekey_timestamp_seconds", help), &|row| {
        row.more.last_rekey_seconds.map(|ago| now - ago)
    });
}

fn bgp(page: &mut Page, rows: &[Row<'_>]) {
    gauge(page, rows, ("cgwd_bgp_up", "Whether the BGP session is established."), &|row| {
        let established = |bgp: &crate::api::Bgp| bgp.state == "Established";
        row.bgp.then(|| f64::from(u8::from(row.tunnel.bgp.as_ref().is_some_and(established))))
    });
    let count = |row: &Row<'_>, of: fn(&crate::api::Bgp) -> u64| {
        row.bgp.then(|| row.tunnel.bgp.as_ref().map_or(0.0, |bgp| of(bgp) as f64))
    };
    gauge(page, rows, ("cgwd_bgp_prefixes_received", "Prefixes announced by AWS."), &|row| {
        count(row, |bgp| bgp.received)
    });
    gauge(page, rows, ("cgwd_bgp_prefixes_accepted", "Of these, used."), &|row| {
        count(row, |bgp| bgp.accepted)
    });
    gauge(page, rows, ("cgwd_bgp_prefixes_advertised", "Prefixes announced to AWS."), &|row| {
        count(row, |bgp| bgp.advertised)
    });
    let limit = |row: &Row<'_>, of: fn((u64, u64)) -> u64| {
        row.more.prefix_limits.filter(|_| row.bgp).map(|limits| of(limits) as f64)
    };
    let help = "Prefixes taken from AWS at most (max_accepted).";
    gauge(page, rows, ("cgwd_bgp_prefixes_received_limit", help), &|row| limit(row, |limits| limits.0));
    let help = "Prefixes announced to AWS at most (max_advertised).";
    gauge(page, rows, ("cgwd_bgp_prefixes_advertised_limit", help), &|row| limit(row, |limits| limits.1));
}

/// A count with a label of its own, its key and its value; no label when the key is empty.
type Labelled = (&'static str, &'static str, u64);

/// A counter of every tunnel, one sample for each value of the label.
fn counter<const N: usize>(
    page: &mut Page,
    rows: &[Row<'_>],
    (name, help): (&str, &str),
    value: &dyn Fn(&Figures) -> [Labelled; N],
) {
    page.family(name, "counter", help);
    for row in rows {
        for (key, word, count) in value(&row.more.figures) {
            let labels = if key.is_empty() {
                row.labels.clone()
            } else {
                format!("{},{}", row.labels, label(key, word))
            };
            page.sample(&format!("{name}_total"), &labels, Some(count as f64));
        }
    }
}

fn counters(page: &mut Page, rows: &[Row<'_>]) {
    let sides = |(us, peer): (u64, u64)| [("initiator", "us", us), ("initiator", "peer", peer)];
    counter(page, rows, ("cgwd_ike_established", "IKE SAs authenticated."), &|it| [("", "", it.established)]);
    counter(page, rows, ("cgwd_ike_rekeys", "IKE SAs replaced."), &|it| sides(it.ike_rekeys));
    counter(page, rows, ("cgwd_child_rekeys", "Child SAs replaced."), &|it| sides(it.child_rekeys));
    let help = "Handshakes, children and rekeys that failed.";
    counter(page, rows, ("cgwd_ike_failures", help), &|it| [("", "", it.failures)]);
    counter(page, rows, ("cgwd_ike_retransmits", "IKE requests sent once more."), &|it| {
        [("", "", it.retransmits)]
    });
    let help = "Of these, liveness checks (and deletes) that were not answered in time.";
    counter(page, rows, ("cgwd_dpd_missed", help), &|it| [("", "", it.dpd_missed)]);
    let help = "First requests, mostly of strangers, that were answered by a demand for a cookie.";
    counter(page, rows, ("cgwd_ike_cookies", help), &|it| [("", "", it.cookies)]);
    counter(page, rows, ("cgwd_esp_rx_packets", "Inner packets decrypted."), &|it| [("", "", it.rx.0)]);
    counter(page, rows, ("cgwd_esp_rx_bytes", "Inner octets decrypted."), &|it| [("", "", it.rx.1)]);
    counter(page, rows, ("cgwd_esp_tx_packets", "Inner packets encrypted."), &|it| [("", "", it.tx.0)]);
    counter(page, rows, ("cgwd_esp_tx_bytes", "Inner octets encrypted."), &|it| [("", "", it.tx.1)]);
    counter(page, rows, ("cgwd_esp_drops", "Packets thrown away."), &|it| {
        let Drops { auth, replay, no_sa, malformed, mtu, queue } = it.drops;
        [
            ("reason", "auth", auth),
            ("reason", "replay", replay),
            ("reason", "no_sa", no_sa),
            ("reason", "malformed", malformed),
            ("reason", "mtu", mtu),
            ("reason", "queue", queue),
        ]
    });
    for (name, help, value) in [
        ("cgwd_probes_sent", "Probes sent.", (|probe| probe.sent) as fn(crate::api::Probe) -> u64),
        ("cgwd_probes_answered", "Probes answered.", |probe| probe.received),
    ] {
        page.family(name, "counter", help);
        for row in rows {
            page.sample(
                &format!("{name}_total"),
                &row.labels,
                Some(row.tunnel.probe.map_or(0, value) as f64),
            );
        }
    }
    page.family("cgwd_bgp_notifications", "counter", "BGP NOTIFICATIONs.");
    for row in rows.iter().filter(|row| row.bgp) {
        let (received, sent) = row.more.figures.notifications;
        for (direction, count) in [("in", received), ("out", sent)] {
            let labels = format!("{},{}", row.labels, label("direction", direction));
            page.sample("cgwd_bgp_notifications_total", &labels, Some(count as f64));
        }
    }
}

/// What the kernel does for us, and how often it is called; while there is a child SA.
fn kernel(page: &mut Page, rows: &[Row<'_>]) {
    let children = || rows.iter().filter_map(|row| Some((&row.labels, row.tunnel.child.as_ref()?)));
    let help = "Whether an offload of the kernel is in use; its state says why not.";
    page.family("cgwd_offload", "gauge", help);
    for (labels, child) in children() {
        for (name, state) in &child.offloads {
            let labels = format!("{labels},{},{}", label("offload", name), label("state", state));
            page.sample("cgwd_offload", &labels, flag(state == "on"));
        }
    }
    page.family("cgwd_kernel_calls", "counter", "System calls for traffic, by boundary.");
    for (labels, child) in children() {
        for (name, count) in &child.calls {
            let labels = format!("{labels},{}", label("boundary", name));
            page.sample("cgwd_kernel_calls_total", &labels, Some(count.calls as f64));
        }
    }
    page.family("cgwd_kernel_packets", "counter", "Packets that those calls moved.");
    for (labels, child) in children() {
        for (name, count) in &child.calls {
            let labels = format!("{labels},{}", label("boundary", name));
            page.sample("cgwd_kernel_packets_total", &labels, Some(count.packets as f64));
        }
    }
}

fn connections(page: &mut Page, snapshot: &Snapshot) {
    let rows = || snapshot.status.connections.iter().zip(&snapshot.failovers);
    page.family("cgwd_failovers", "counter", "Changes of the egress, by what was wrong with the one before.");
    for (connection, failovers) in rows() {
        for (cause, count) in Cause::ALL.iter().zip(failovers.counts) {
            let labels = [label("connection", &connection.id), label("cause", cause.name())].join(",");
            page.sample("cgwd_failovers_total", &labels, Some(count as f64));
        }
    }
    let help = "How long traffic had nowhere good to go at the last failover; no sample before the first.";
    page.family("cgwd_last_failover_seconds", "gauge", help);
    for (connection, failovers) in rows() {
        let last = failovers.last.map(|last| last.as_secs_f64());
        page.sample("cgwd_last_failover_seconds", &label("connection", &connection.id), last);
    }
}

fn daemon(page: &mut Page, snapshot: &Snapshot) {
    page.family("cgwd_build", "info", "The daemon.");
    page.sample("cgwd_build_info", &label("version", &snapshot.status.version), Some(1.0));
    page.family("cgwd_uptime_seconds", "gauge", "Time since the daemon started.");
    page.sample("cgwd_uptime_seconds", "", Some(snapshot.status.uptime_seconds));
    let name = "cgwd_config_reload_success_timestamp_seconds";
    page.family(name, "gauge", "When the configuration was last taken over, at start or by a reload.");
    page.sample(name, "", Some(snapshot.configured_unix_seconds));
    page.family("cgwd_inbox_dropped", "counter", "Things that found the control loop's inbox full.");
    page.sample("cgwd_inbox_dropped_total", "", Some(snapshot.lost as f64));
}

#[cfg(test)]
mod tests;
