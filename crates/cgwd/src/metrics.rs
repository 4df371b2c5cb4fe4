//! `GET /metrics`: OpenMetrics text. A configured tunnel is always there, up or not.

use std::fmt::Write as _;

use crate::api::{Stage, Status, Tunnel};

/// All metrics. `lost` counts what found the control loop's inbox full.
pub fn render(status: &Status, lost: u64) -> String {
    let mut page = Page::default();
    let tunnels: Vec<(String, &Tunnel)> = status
        .connections
        .iter()
        .flat_map(|connection| {
            connection.tunnels.iter().map(move |tunnel| {
                let labels = format!(
                    "connection=\"{}\",tunnel=\"{}\",outside_ip=\"{}\"",
                    escape(&connection.id),
                    escape(&tunnel.name),
                    tunnel.outside_ip
                );
                (labels, tunnel)
            })
        })
        .collect();
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&Tunnel) -> Option<f64>| {
        page.family(name, "gauge", help);
        for (labels, tunnel) in &tunnels {
            page.sample(name, labels, value(tunnel));
        }
    };
    gauge("cgwd_tunnel_up", "Whether traffic can pass.", &|t| {
        Some(f64::from(u8::from(t.stage == Stage::Up)))
    });
    gauge("cgwd_tunnel_stage_seconds", "Time since the stage changed.", &|t| Some(t.since_seconds));
    gauge("cgwd_egress_active", "Whether traffic to AWS leaves here.", &|t| {
        Some(f64::from(u8::from(t.egress)))
    });
    gauge("cgwd_tunnel_drained", "Whether an operator took it out of service.", &|t| {
        Some(f64::from(u8::from(t.drained)))
    });
    gauge("cgwd_tunnel_mtu_bytes", "MTU of the interface.", &|t| Some(f64::from(t.mtu)));
    gauge("cgwd_probe_rtt_seconds", "Round trip of the newest probe.", &|t| Some(t.probe?.rtt_ms? / 1e3));
    gauge("cgwd_probe_loss_ratio", "Unanswered share of the last minute's probes.", &|t| {
        Some(t.probe?.loss_ratio)
    });
    gauge("cgwd_ike_rekey_in_seconds", "Until the IKE SA is rekeyed.", &|t| {
        Some(t.ike.as_ref()?.rekey_in_seconds)
    });
    gauge("cgwd_child_rekey_in_seconds", "Until the child SA is rekeyed.", &|t| {
        Some(t.child.as_ref()?.rekey_in_seconds)
    });
    gauge("cgwd_bgp_up", "Whether the BGP session is established.", &|t| {
        Some(f64::from(u8::from(t.bgp.as_ref()?.state == "Established")))
    });
    gauge("cgwd_bgp_prefixes_received", "Prefixes accepted from AWS.", &|t| {
        Some(t.bgp.as_ref()?.received as f64)
    });
    gauge("cgwd_bgp_prefixes_advertised", "Prefixes announced to AWS.", &|t| {
        Some(t.bgp.as_ref()?.advertised as f64)
    });
    gauge(
        "cgwd_certificate_expires_seconds",
        "Until the first of our certificates, CAs and revocation lists ends.",
        &|t| Some(t.certificate.as_ref()?.first_end_in_seconds as f64),
    );
    gauge(
        "cgwd_peer_certificate_expires_seconds",
        "Until the certificate that the peer showed ends.",
        &|t| Some(t.certificate.as_ref()?.peer_expires_in_seconds? as f64),
    );
    stages(&mut page, &tunnels);
    counters(&mut page, &tunnels);
    kernel(&mut page, &tunnels);
    page.family("cgwd_uptime_seconds", "gauge", "Time since the daemon started.");
    page.sample("cgwd_uptime_seconds", "", Some(status.uptime_seconds));
    page.family("cgwd_inbox_dropped", "counter", "Things that found the control loop's inbox full.");
    page.sample("cgwd_inbox_dropped_total", "", Some(lost as f64));
    page.text.push_str("# EOF\n");
    page.text
}

fn stages(page: &mut Page, tunnels: &[(String, &Tunnel)]) {
    page.family("cgwd_tunnel_stage", "stateset", "How far the tunnel has come.");
    for (labels, tunnel) in tunnels {
        for stage in [Stage::Down, Stage::Ike, Stage::Ipsec, Stage::Tunnel, Stage::Bgp, Stage::Up] {
            let labels = format!("{labels},cgwd_tunnel_stage=\"{}\"", stage.name());
            page.sample("cgwd_tunnel_stage", &labels, Some(f64::from(u8::from(tunnel.stage == stage))));
        }
    }
}

fn counters(page: &mut Page, tunnels: &[(String, &Tunnel)]) {
    let mut counter = |name: &str, help: &str, value: &dyn Fn(&Tunnel) -> Option<u64>| {
        page.family(name, "counter", help);
        for (labels, tunnel) in tunnels {
            page.sample(&format!("{name}_total"), labels, value(tunnel).map(|count| count as f64));
        }
    };
    counter("cgwd_ike_rekeys", "IKE rekeys since the tunnel came up.", &|t| Some(t.ike.as_ref()?.rekeys));
    counter("cgwd_child_rekeys", "Child rekeys since the tunnel came up.", &|t| {
        Some(t.child.as_ref()?.rekeys)
    });
    counter("cgwd_esp_rx_packets", "Inner packets decrypted.", &|t| Some(t.child.as_ref()?.rx_packets));
    counter("cgwd_esp_rx_bytes", "Inner octets decrypted.", &|t| Some(t.child.as_ref()?.rx_bytes));
    counter("cgwd_esp_tx_packets", "Inner packets encrypted.", &|t| Some(t.child.as_ref()?.tx_packets));
    counter("cgwd_esp_tx_bytes", "Inner octets encrypted.", &|t| Some(t.child.as_ref()?.tx_bytes));
    counter("cgwd_probes_sent", "Probes sent.", &|t| Some(t.probe?.sent));
    counter("cgwd_probes_answered", "Probes answered.", &|t| Some(t.probe?.received));
    page.family("cgwd_esp_drops", "counter", "Packets thrown away.");
    for (labels, tunnel) in tunnels {
        let Some(drops) = tunnel.child.as_ref().map(|child| child.drops) else { continue };
        for (reason, count) in [
            ("auth", drops.auth),
            ("replay", drops.replay),
            ("no_sa", drops.no_sa),
            ("malformed", drops.malformed),
            ("mtu", drops.mtu),
            ("queue", drops.queue),
        ] {
            page.sample("cgwd_esp_drops_total", &format!("{labels},reason=\"{reason}\""), Some(count as f64));
        }
    }
}

/// What the kernel does for us, and how often it is called.
fn kernel(page: &mut Page, tunnels: &[(String, &Tunnel)]) {
    let children = || tunnels.iter().filter_map(|(labels, tunnel)| Some((labels, tunnel.child.as_ref()?)));
    page.family(
        "cgwd_offload",
        "gauge",
        "Whether an offload of the kernel is in use; its state says why not.",
    );
    for (labels, child) in children() {
        for (name, state) in &child.offloads {
            let labels = format!("{labels},offload=\"{name}\",state=\"{}\"", escape(state));
            page.sample("cgwd_offload", &labels, Some(f64::from(u8::from(state == "on"))));
        }
    }
    page.family("cgwd_kernel_calls", "counter", "System calls for traffic, by boundary.");
    for (labels, child) in children() {
        for (name, count) in &child.calls {
            let labels = format!("{labels},boundary=\"{name}\"");
            page.sample("cgwd_kernel_calls_total", &labels, Some(count.calls as f64));
        }
    }
    page.family("cgwd_kernel_packets", "counter", "Packets that those calls moved.");
    for (labels, child) in children() {
        for (name, count) in &child.calls {
            let labels = format!("{labels},boundary=\"{name}\"");
            page.sample("cgwd_kernel_packets_total", &labels, Some(count.packets as f64));
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# TYPE {name} {kind}\n# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: Option<f64>) {
        let Some(value) = value else { return };
        let _ = if labels.is_empty() {
            writeln!(self.text, "{name} {value}")
        } else {
            writeln!(self.text, "{name}{{{labels}}} {value}")
        };
    }
}
