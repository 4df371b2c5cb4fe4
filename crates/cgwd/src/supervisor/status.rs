//! The answers to questions: status, routes, metrics. Reads everything, changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Instant;

use super::line::Line;
use super::routing::Routing;
use crate::api::{self, Stage};
use crate::tunnel::stage::redundancy;

/// `GET /v1/status`.
pub(super) fn status(lines: &[Line], config: &config::Config, started: Instant, now: Instant) -> api::Status {
    let connections: Vec<api::Connection> = config
        .connections
        .iter()
        .map(|connection| api::Connection {
            id: connection.id.clone(),
            routing: connection.routing.name().to_owned(),
            tunnels: lines
                .iter()
                .filter(|line| line.connection.id == connection.id)
                .map(|line| tunnel(line, now))
                .collect(),
        })
        .collect();
    let stages: Vec<Vec<Stage>> = connections
        .iter()
        .map(|connection| connection.tunnels.iter().map(|tunnel| tunnel.stage).collect())
        .collect();
    api::Status {
        schema: api::STATUS_SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: seconds(now - started),
        redundancy: redundancy(stages.iter().map(Vec::as_slice)),
        connections,
    }
}

/// One tunnel of it.
pub(super) fn tunnel(line: &Line, now: Instant) -> api::Tunnel {
    let negotiator = line.running().map(|running| running.glue.status());
    let stats = line.running().map(|running| running.glue.plane().stats()).unwrap_or_default();
    let (sent, received) = line.health.probes().totals();
    api::Tunnel {
        name: line.config.name.clone(),
        outside_ip: line.config.outside,
        interface: line.config.interface.clone(),
        inside_ip: line.config.inside.first().map(|inside| inside.ours.addr()),
        mtu: line.mtu,
        stage: line.health.stage(),
        since_seconds: seconds(line.health.stage_age(now)),
        egress: line.egress,
        drained: line.drained,
        ike: negotiator.as_ref().and_then(|status| status.ike.as_ref()).map(|sa| ike(sa, now)),
        child: negotiator.as_ref().and_then(|status| status.child.as_ref()).map(|sa| child(sa, &stats, now)),
        probe: (sent > 0).then(|| api::Probe {
            rtt_ms: line.health.probes().rtt().map(|rtt| (rtt.as_secs_f64() * 1e6).round() / 1e3),
            loss_ratio: line.health.probes().loss_ratio(),
            sent,
            received,
        }),
        bgp: line.running().and_then(|running| running.bgp.as_ref()).map(|session| session.status(now)),
        certificate: line.certificate(),
        last_error: line.health.last_error().map(|problem| api::LastError {
            code: problem.finding.code.name().to_owned(),
            text: problem.finding.text.clone(),
            remedy: problem.finding.code.entry().remedy.to_owned(),
            seconds_ago: seconds(now - problem.at),
        }),
    }
}

fn ike(sa: &ike::IkeStatus, now: Instant) -> api::Ike {
    api::Ike {
        state: sa.state.name().to_owned(),
        spi_i: sa.spi_i.to_string(),
        spi_r: sa.spi_r.to_string(),
        role: sa.role.name().to_owned(),
        proposal: sa.proposal.clone(),
        ppk: sa.ppk,
        established_seconds: sa.established.map_or(0.0, |at| seconds(now - at)),
        rekey_in_seconds: sa.rekey_due.map_or(0.0, |at| seconds(at - now)),
        expires_in_seconds: sa.expires.map_or(0.0, |at| seconds(at - now)),
        rekeys: sa.rekeys,
    }
}

fn child(sa: &ike::ChildStatus, stats: &dataplane::Stats, now: Instant) -> api::Child {
    let (traffic, drops) = (stats.total, stats.drops);
    api::Child {
        state: sa.state.name().to_owned(),
        spi_in: sa.spi_in.to_string(),
        spi_out: sa.spi_out.to_string(),
        proposal: sa.proposal.clone(),
        encapsulation: sa.encapsulation.name().to_owned(),
        established_seconds: seconds(now - sa.established),
        rekey_in_seconds: seconds(sa.rekey_due - now),
        expires_in_seconds: seconds(sa.expires - now),
        rekeys: sa.rekeys,
        rx_packets: traffic.rx_packets,
        rx_bytes: traffic.rx_bytes,
        tx_packets: traffic.tx_packets,
        tx_bytes: traffic.tx_bytes,
        drops: self::drops(&drops),
        aead: esp::AeadProvider::preferred().name().to_owned(),
        offloads: stats.offload.named().map(|(name, state)| (name.to_owned(), state.to_string())).into(),
        calls: stats
            .calls
            .named()
            .map(|(name, calls, packets)| (name.to_owned(), api::Calls { calls, packets }))
            .into(),
    }
}

/// The contract's six reasons; the data plane's finer ones go to the nearest.
pub(super) fn drops(drops: &dataplane::Drops) -> api::Drops {
    api::Drops {
        auth: drops.auth,
        replay: drops.replay,
        no_sa: drops.no_sa + drops.exhausted,
        malformed: drops.malformed + drops.selector + drops.ecn,
        mtu: drops.mtu,
        queue: drops.queue + drops.send + drops.tun,
    }
}

/// `GET /v1/routes`.
pub(super) fn routes(routing: &Routing, config: &config::Config) -> api::Routes {
    let mut answer = api::Routes::default();
    let decided = &routing.decided;
    for connection in &config.connections {
        let first = decided.choices_of(&connection.id).next();
        let reason = first
            .map_or_else(|| "no prefix is offered".to_owned(), |choice| choice.decision.reason.to_string());
        answer.egress.push(api::Egress {
            connection: connection.id.clone(),
            tunnels: decided.egress.get(&connection.id).into_iter().flatten().cloned().collect(),
            reason,
        });
    }
    let why: BTreeMap<_, _> = decided.outcome.choices.iter().map(|choice| (choice.prefix, choice)).collect();
    let first = config.connections.first().map(|connection| connection.id.as_str());
    let protective = routing.desired.protective().iter().map(|(key, route)| (key, route, None));
    let leading =
        routing.desired.routes().iter().map(|(key, route)| (key, route, why.get(&route.prefix).copied()));
    for (key, route, choice) in protective.chain(leading) {
        let carrier = choice.and_then(|choice| decided.owner(choice.decision.tunnel.as_ref()?));
        answer.routes.push(api::Route {
            destination: route.prefix.to_string(),
            interfaces: route.via.iter().map(|hop| hop.interface.clone()).collect(),
            source: route.source,
            metric: route.metric,
            table: route.table,
            installed: routing.installed.contains_key(key),
            connection: carrier.or(first).unwrap_or_default().to_owned(),
            why: match choice {
                _ if route.via.is_empty() => {
                    "keeps packets from leaving by another way while no tunnel carries them".to_owned()
                }
                Some(choice) => choice.decision.to_string(),
                None => "keeps AWS's outside address reachable without the tunnel".to_owned(),
            },
        });
    }
    answer
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
