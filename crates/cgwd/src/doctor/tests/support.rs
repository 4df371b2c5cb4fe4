//! Facts to start from: a healthy pair, which the tests then break.

use std::collections::BTreeMap;

use crate::api::{self, Redundancy, Stage, fixtures};
use crate::doctor::aws_json::Description;
use crate::doctor::facts::{Configuration, Daemon, Facts, Host, KernelRoute, Lookup, Running, Underlay};
use crate::doctor::measure::Measured;
use crate::doctor::{Finding, Report, Severity, examine};

/// When it was looked at: 2026-08-01T12:00:00Z.
pub(super) const NOW_MS: u64 = 1_785_585_600_000;

/// AWS's two addresses.
pub(super) const OUTSIDE: [&str; 2] = ["198.51.100.1", "203.0.113.1"];

pub(super) fn toml(routing: &str, more: &str) -> String {
    let tunnel = |n: usize| {
        format!(
            "[[connection.tunnel]]\nname = \"tunnel{}\"\noutside = \"{}\"\ncustomer_gateway = \"192.0.2.1\"\n\
             inside = \"169.254.{}.2/30\"\npsk = \"lab_Psk.Tunnel{}\"\n",
            n + 1,
            OUTSIDE[n],
            (n + 1) * 10,
            n + 1
        )
    };
    let bgp = if routing == "bgp" { "[connection.bgp]\nlocal_asn = 65000\nremote_asn = 64512\n" } else { "" };
    format!(
        "[[connection]]\nid = \"vpn-1\"\nrouting = \"{routing}\"\nlan = [\"10.10.0.0/16\"]\n\
         vpc = [\"172.31.0.0/16\"]\n{bgp}{}{}{more}",
        tunnel(0),
        tunnel(1)
    )
}

pub(super) fn load(text: &str) -> config::Config {
    config::parse(text, "cgwd.toml").unwrap_or_else(|report| panic!("{report}")).config
}

fn ike() -> api::Ike {
    api::Ike { established_seconds: 60.0, ..fixtures::ike() }
}

fn child() -> api::Child {
    api::Child {
        proposal: "AES_GCM_16_256/ECP_384".to_owned(),
        established_seconds: 3.2,
        rx_packets: 1_060,
        rx_bytes: 100_000,
        tx_packets: 1_060,
        tx_bytes: 100_000,
        aead: "ring".to_owned(),
        ..fixtures::child()
    }
}

fn status(routing: &str, n: usize) -> api::Tunnel {
    let bgp = api::Bgp {
        peer: format!("169.254.{}.1", (n + 1) * 10).parse().unwrap(),
        received: 1,
        accepted: 1,
        uptime_seconds: Some(60.0),
        ..fixtures::bgp()
    };
    api::Tunnel {
        outside_ip: OUTSIDE[n].parse().unwrap(),
        interface: format!("cgw{n}"),
        inside_ip: Some(format!("169.254.{}.2", (n + 1) * 10).parse().unwrap()),
        stage: Stage::Up,
        since_seconds: 60.0,
        egress: n == 0,
        ike: Some(ike()),
        child: Some(child()),
        probe: Some(api::Probe { rtt_ms: Some(1.2), loss_ratio: 0.0, sent: 60, received: 60 }),
        bgp: (routing == "bgp").then_some(bgp),
        ..fixtures::tunnel(&format!("tunnel{}", n + 1))
    }
}

fn host() -> Host {
    let underlay = |_| {
        Ok(Underlay {
            interface: "wan0".to_owned(),
            gateway: Some("192.0.2.254".parse().unwrap()),
            source: Some("192.0.2.1".parse().unwrap()),
            mtu: 1500,
            local: false,
        })
    };
    Host {
        tun: Some(Ok(())),
        listeners: Vec::new(),
        forwarding_v4: Some(true),
        forwarding_v6: Some(true),
        reverse_path_all: Some(0),
        reverse_path: [("cgw0".to_owned(), 2), ("cgw1".to_owned(), 2)].into(),
        addresses: vec![
            ("wan0".to_owned(), "192.0.2.1/24".parse().unwrap()),
            ("lan0".to_owned(), "10.10.0.1/16".parse().unwrap()),
            ("cgw0".to_owned(), "169.254.10.2/30".parse().unwrap()),
            ("cgw1".to_owned(), "169.254.20.2/30".parse().unwrap()),
        ],
        routes: vec![KernelRoute {
            destination: "172.31.0.0/16".parse().unwrap(),
            table: 254,
            protocol: routes::PROTOCOL,
            metric: 100,
            interfaces: vec!["cgw0".to_owned()],
        }],
        tables: vec![253, 254, 255],
        underlay: OUTSIDE.into_iter().map(|ip| (ip.parse().unwrap(), underlay(ip))).collect(),
        lookups: vec![Lookup {
            prefix: "172.31.0.0/16".parse().unwrap(),
            target: "172.31.0.1".parse().unwrap(),
            interface: Ok("cgw0".to_owned()),
        }],
        networkd_removes_routes: false,
    }
}

/// A healthy pair with this routing.
pub(super) fn healthy(routing: &str) -> Facts {
    let config = load(&toml(routing, ""));
    let keys =
        config.tunnels().map(|(_, tunnel)| (tunnel.outside, tunnel.psk().unwrap().load().unwrap())).collect();
    let route = api::Route {
        destination: "172.31.0.0/16".to_owned(),
        interfaces: vec!["cgw0".to_owned()],
        source: None,
        metric: 100,
        table: 254,
        installed: true,
        connection: "vpn-1".to_owned(),
        why: String::new(),
    };
    let running = Running {
        status: api::Status {
            schema: 1,
            version: "0.1.0".to_owned(),
            uptime_seconds: 60.0,
            redundancy: Redundancy::Full,
            connections: vec![api::Connection {
                id: "vpn-1".to_owned(),
                routing: routing.to_owned(),
                tunnels: vec![status(routing, 0), status(routing, 1)],
            }],
        },
        events: Vec::new(),
        routes: api::Routes { egress: Vec::new(), routes: vec![route] },
        bgp: api::BgpReport::default(),
        capabilities: Some(u64::MAX),
        elsewhere: None,
    };
    Facts {
        now_ms: NOW_MS,
        host: Some(host()),
        configuration: Configuration::Loaded {
            path: "cgwd.toml".into(),
            config: Box::new(config),
            warnings: Vec::new(),
        },
        daemon: Daemon::Running(Box::new(running)),
        keys,
        keys_missing: Vec::new(),
        aws: None,
        measured: Measured::default(),
    }
}

/// A machine with a configuration whose daemon was never started.
pub(super) fn never_started() -> Facts {
    let mut facts = healthy("static");
    facts.daemon = Daemon::Silent { why: "/run/cgwd/control.sock: No such file or directory".to_owned() };
    if let Some(host) = &mut facts.host {
        host.reverse_path = BTreeMap::new();
        host.lookups.clear();
        host.routes.clear();
        host.addresses.retain(|(interface, _)| !interface.starts_with("cgw"));
    }
    facts
}

impl Facts {
    pub(super) fn running_mut(&mut self) -> &mut Running {
        match &mut self.daemon {
            Daemon::Running(running) => running,
            Daemon::Silent { .. } => panic!("no daemon"),
        }
    }

    pub(super) fn tunnel_mut(&mut self, n: usize) -> &mut api::Tunnel {
        &mut self.running_mut().status.connections[0].tunnels[n]
    }

    pub(super) fn host_mut(&mut self) -> &mut Host {
        self.host.as_mut().unwrap()
    }

    /// Another configuration file.
    pub(super) fn with_config(mut self, text: &str) -> Self {
        self.configuration = Configuration::Loaded {
            path: "cgwd.toml".into(),
            config: Box::new(load(text)),
            warnings: Vec::new(),
        };
        self
    }

    /// A tunnel that is at `stage` with this last error.
    pub(super) fn failing(mut self, n: usize, stage: Stage, code: &str, text: &str) -> Self {
        let tunnel = self.tunnel_mut(n);
        tunnel.stage = stage;
        tunnel.egress = false;
        tunnel.since_seconds = 40.0;
        if stage < Stage::Ipsec {
            tunnel.child = None;
            tunnel.probe = None;
        }
        if stage < Stage::Ike {
            tunnel.ike = None;
        }
        tunnel.last_error = Some(api::LastError {
            code: code.to_owned(),
            text: text.to_owned(),
            remedy: String::new(),
            seconds_ago: 2.0,
        });
        self
    }

    /// Adds an event of `tunnelN` so many seconds ago.
    pub(super) fn event(mut self, n: usize, code: &str, text: &str, seconds_ago: u64) -> Self {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(NOW_MS - seconds_ago * 1000);
        let events = &mut self.running_mut().events;
        let id = events.len() as u64 + 1;
        events.push(api::Event {
            id,
            time: crate::events::rfc3339(at),
            tunnel: Some(format!("tunnel{}", n + 1)),
            connection: Some("vpn-1".to_owned()),
            code: code.to_owned(),
            text: text.to_owned(),
            took_ms: None,
        });
        self
    }

    /// AWS's description, given as the fields of the connection that differ from the usual ones.
    pub(super) fn described(mut self, change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let tunnel = |n: usize| {
            serde_json::json!({
                "OutsideIpAddress": OUTSIDE[n],
                "TunnelInsideCidr": format!("169.254.{}.0/30", (n + 1) * 10),
                "PreSharedKey": format!("lab_Psk.Tunnel{}", n + 1),
                "StartupAction": "start",
                "LogOptions": { "CloudWatchLogOptions": { "LogEnabled": true } },
            })
        };
        let telemetry = |n: usize| serde_json::json!({ "OutsideIpAddress": OUTSIDE[n], "Status": "UP", "AcceptedRouteCount": 1 });
        let dynamic = self.running().is_some_and(|running| running.status.connections[0].routing == "bgp");
        let xml: String = OUTSIDE
            .iter()
            .map(|outside| {
                format!(
                    "<ipsec_tunnel><customer_gateway><tunnel_outside_address><ip_address>192.0.2.1</ip_address>\
                     </tunnel_outside_address><bgp><asn>65000</asn></bgp></customer_gateway><vpn_gateway>\
                     <tunnel_outside_address><ip_address>{outside}</ip_address></tunnel_outside_address><bgp>\
                     <asn>64512</asn></bgp></vpn_gateway></ipsec_tunnel>"
                )
            })
            .collect();
        let mut connection = serde_json::json!({
            "VpnConnectionId": "vpn-1",
            "State": "available",
            "CustomerGatewayConfiguration": xml,
            "VpnGatewayId": "vgw-1",
            "Options": {
                "StaticRoutesOnly": !dynamic,
                "LocalIpv4NetworkCidr": "0.0.0.0/0",
                "RemoteIpv4NetworkCidr": "0.0.0.0/0",
                "TunnelOptions": [tunnel(0), tunnel(1)],
            },
            "Routes": [{ "DestinationCidrBlock": "10.10.0.0/16", "State": "available" }],
            "VgwTelemetry": [telemetry(0), telemetry(1)],
        });
        change(&mut connection);
        self.aws = Some(Description::parse(&connection.to_string()).unwrap());
        self
    }
}

/// The codes above info, in order, with what they follow from.
pub(super) fn told(report: &Report) -> Vec<String> {
    report
        .findings
        .iter()
        .filter(|finding| finding.severity > Severity::Info)
        .map(|finding| match &finding.because_of {
            Some(root) => format!("{} < {root}", finding.code),
            None => finding.code.clone(),
        })
        .collect()
}

/// The first finding, which must have this code.
#[track_caller]
pub(super) fn first(facts: &Facts, code: &str) -> Finding {
    let report = examine(facts);
    let first =
        report.findings.first().unwrap_or_else(|| panic!("nothing was found instead of {code}")).clone();
    assert_eq!(first.code, code, "{:#?}", report.findings);
    assert_eq!(first.because_of, None);
    first
}

/// A finding that need not be the first.
#[track_caller]
pub(super) fn found(facts: &Facts, code: &str) -> Finding {
    let report = examine(facts);
    let found = report.findings.iter().find(|finding| finding.code == code);
    found.unwrap_or_else(|| panic!("no {code} in {:#?}", report.findings)).clone()
}

/// Nothing above info.
#[track_caller]
pub(super) fn quiet(facts: &Facts) {
    let report = examine(facts);
    assert_eq!(told(&report), Vec::<String>::new(), "{:#?}", report.findings);
    assert_eq!(report.exit_status(), 0);
}
