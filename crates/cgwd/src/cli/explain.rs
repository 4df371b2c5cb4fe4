//! `cgwd check --explain`: what will be done, in words.

use std::fmt::Write as _;
use std::path::PathBuf;

use model::Instant;

use crate::supervisor::mtu;
use crate::translate::certificates;
use crate::translate::ike_config::esp_transforms;

/// TCP and IP headers without options, by family: what the MSS leaves out of the MTU.
const HEADERS_V4: u16 = 40;
const HEADERS_V6: u16 = 60;

/// The whole configuration in words; keys never appear.
pub(crate) fn explain(config: &config::Config) -> String {
    let mut text = String::new();
    for connection in &config.connections {
        let _ = writeln!(text, "connection {} ({} routing)", connection.id, connection.routing.name());
        routing(&mut text, connection, &config.routes);
        for tunnel in &connection.tunnels {
            self::tunnel(&mut text, connection, tunnel);
        }
        text.push('\n');
    }
    let down = match config.routes.when_down {
        config::WhenDown::Withdraw => {
            "our routes go, and what is sent to AWS follows the host's other routes"
        }
        config::WhenDown::Unreachable => {
            "senders are told unreachable, unless another route to the same prefix stands"
        }
    };
    let _ = writeln!(text, "while no tunnel carries a prefix: {down}");
    if let Some(priority) = config.routes.rule_priority {
        let from = match config.routes.rule_from.as_slice() {
            [] => "every packet".to_owned(),
            prefixes => format!("packets from {}", list(prefixes)),
        };
        let _ = writeln!(text, "policy rules: {from} to table {}, priority {priority}", config.routes.table);
    }
    let forward = match config.host.ip_forward {
        config::IpForward::Enable => "turned on at the start where it is off, and restored at the end",
        config::IpForward::Report => "left alone, and reported when it is off",
    };
    let _ = writeln!(text, "packet forwarding: {forward}");
    let _ = writeln!(text, "control socket: {}", config.control.socket.display());
    match config.metrics.listen {
        Some(listen) => {
            let _ =
                writeln!(text, "metrics: GET /metrics on the control socket, and on http://{listen}/metrics");
        }
        None => {
            let _ = writeln!(text, "metrics: GET /metrics on the control socket");
        }
    }
    text
}

fn routing(text: &mut String, connection: &config::Connection, routes: &config::Routes) {
    let table = if routes.table == 254 { "main".to_owned() } else { routes.table.to_string() };
    let place = format!("table {table}, metric {}, protocol {}", routes.metric, routes::PROTOCOL);
    match &connection.routing {
        config::Routing::Static { vpc } => {
            let _ = writeln!(text, "  routes to {} through the better tunnel ({place})", list(vpc));
        }
        config::Routing::Bgp(bgp) => {
            let who = match bgp.mode {
                config::BgpMode::Internal => "cgwd speaks BGP",
                config::BgpMode::External => "another program speaks BGP; no routes are set here",
            };
            let accept = match &bgp.accept {
                config::Accept::Any => "anything".to_owned(),
                config::Accept::Within(prefixes) => list(prefixes),
            };
            let _ = writeln!(text, "  {who}: AS {} to AS {}", bgp.local_asn, bgp.remote_asn);
            let _ = writeln!(text, "  announces {}, accepts {accept} ({place})", list(&bgp.advertise));
        }
    }
    if !connection.lan.is_empty() {
        let _ = writeln!(text, "  our side: {}", list(&connection.lan));
    }
    if connection.allow_default_route {
        let _ = writeln!(text, "  a default route into the tunnels is allowed");
    }
}

/// How the tunnel authenticates, and until when it can.
fn proof(text: &mut String, connection: &config::Connection, tunnel: &config::Tunnel) {
    if tunnel.certificates().is_none() {
        return;
    }
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    match certificates::credentials(connection, tunnel, directory.as_deref(), Instant::ZERO) {
        Ok(credentials) => {
            let now = certificates::unix_seconds();
            for end in credentials.certificates().map(certificates::ends).unwrap_or_default() {
                let _ = writeln!(text, "    certificates {}", certificates::when(&end, now));
            }
        }
        Err(error) => {
            let _ = writeln!(text, "    certificates {error}");
        }
    }
}

fn tunnel(text: &mut String, connection: &config::Connection, tunnel: &config::Tunnel) {
    let from = match (tunnel.bind, tunnel.known_gateway()) {
        (Some(bind), _) => bind.to_string(),
        (None, Some(gateway)) => format!("{gateway} if it is on this host, else the route's source"),
        (None, None) => "the route's source".to_owned(),
    };
    let _ = writeln!(text, "  {} on {} to {}", tunnel.name, tunnel.interface, tunnel.outside);
    let _ = writeln!(text, "    sends from   {from}");
    proof(text, connection, tunnel);
    if let Some(ppk) = &tunnel.ppk {
        let need = if ppk.required { "no IKE SA without it" } else { "a peer without it is taken too" };
        let _ = writeln!(text, "    PPK          {}; {need}", ppk.id);
    }
    for inside in &tunnel.inside {
        let _ = writeln!(text, "    inside       {} (AWS {})", inside.ours, inside.aws);
    }
    let _ = writeln!(
        text,
        "    phase 1      {} | {} | DH {}",
        names(&tunnel.ike.encryption),
        names(&tunnel.ike.integrity),
        names(&tunnel.ike.dh_groups)
    );
    let transforms: Vec<String> = esp_transforms(&tunnel.esp).iter().map(ToString::to_string).collect();
    let _ =
        writeln!(text, "    phase 2      {} | PFS {}", transforms.join(", "), names(&tunnel.esp.dh_groups));
    for (what, lifetime, window) in [
        ("IKE SA", tunnel.ike.lifetime, tunnel.ike_rekey()),
        ("child SA", tunnel.esp.lifetime, tunnel.esp_rekey()),
    ] {
        let _ = writeln!(
            text,
            "    {what:<12} rekeyed after {} to {} s of AWS's {} s",
            window.rekey_after.as_secs(),
            (window.rekey_after + window.jitter).as_secs(),
            lifetime.as_secs()
        );
    }
    let mtu = mtu::before(tunnel, tunnel.path_mtu);
    let carried = match tunnel.encapsulation {
        config::Encapsulation::Udp => "UDP 4500 always",
        config::Encapsulation::Auto => "protocol 50 where no NAT is found, else UDP 4500",
    };
    let _ = writeln!(text, "    carried by   {carried}");
    let _ = writeln!(
        text,
        "    MTU          {mtu} at least on a path of {}, TCP MSS {} (IPv4), {} (IPv6)",
        tunnel.path_mtu,
        mtu.saturating_sub(HEADERS_V4),
        mtu.saturating_sub(HEADERS_V6)
    );
    let _ = writeln!(
        text,
        "    probe        every {} ms; {} lost in a row move traffic away",
        tunnel.probe.interval.as_millis(),
        tunnel.probe.loss
    );
}

fn list(prefixes: &[ipnet::IpNet]) -> String {
    if prefixes.is_empty() {
        return "nothing".to_owned();
    }
    names(prefixes)
}

fn names<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
