//! The answer of `cgwd bgp`: every session with what came in, what of it is used and why, and what went out.

use std::collections::BTreeMap;

use ipnet::IpNet;
use model::Instant;
use routes::desired::Choice;

use super::super::line::Line;
use super::super::routing::{Routing, label};
use super::{Session, words};
use crate::api;

/// `GET /v1/bgp`.
pub(in crate::supervisor) fn report(
    lines: &[Line],
    routing: &Routing,
    config: &config::Config,
    now: Instant,
) -> api::BgpReport {
    let choices: BTreeMap<IpNet, &Choice> =
        routing.decided.outcome.choices.iter().map(|choice| (choice.prefix, choice)).collect();
    let sessions = lines.iter().filter_map(|line| {
        let session = line.running()?.bgp.as_ref()?;
        let name = label(config, &line.connection.id, &line.config.name);
        Some(one((line, &name), session, &choices, now))
    });
    api::BgpReport { schema: api::BGP_SCHEMA, sessions: sessions.collect() }
}

fn one(
    (line, label): (&Line, &String),
    session: &Session,
    choices: &BTreeMap<IpNet, &Choice>,
    now: Instant,
) -> api::BgpSession {
    let (status, config) = (session.speaker.status(), session.speaker.config());
    let received = session.speaker.received().map(|path| {
        let choice = choices.get(&path.prefix);
        let used = path.rejected.is_none() && choice.is_some_and(|choice| choice.carriers.contains(label));
        let why = match (&path.rejected, choice) {
            (Some(rejection), _) => format!("not taken: {rejection}"),
            (None, Some(choice)) => choice.decision.to_string(),
            (None, None) => "not decided yet".to_owned(),
        };
        let attributes = &path.attributes;
        api::BgpRoute {
            prefix: path.prefix.to_string(),
            as_path: attributes.as_path_text(),
            origin: format!("{:?}", attributes.origin).to_lowercase(),
            med: attributes.med,
            next_hop: attributes.next_hop,
            used,
            why,
        }
    });
    let advertised = session.speaker.advertised();
    let withheld =
        config.advertise.iter().filter(|it| session.established() && !advertised.contains(&it.trunc()));
    let counters = status.counters;
    api::BgpSession {
        connection: line.connection.id.clone(),
        tunnel: line.config.name.clone(),
        interface: line.config.interface.clone(),
        local: config.local_addr,
        local_asn: config.local_as,
        router_id: status.peer_router_id,
        hold_seconds: status.hold.map(|hold| hold.as_secs()),
        synchronised: status.synchronised,
        last_notification: status.last_notification.as_ref().map(|(at, seen)| api::BgpNotification {
            by_peer: seen.by_peer,
            code: seen.code,
            subcode: seen.subcode,
            text: words::notification(seen),
            seconds_ago: (now - *at).as_secs_f64(),
        }),
        last_end: status
            .last_end
            .as_ref()
            .map(|(at, why)| api::BgpEnd { why: why.clone(), seconds_ago: (now - *at).as_secs_f64() }),
        counters: api::BgpCounters {
            updates_in: counters.updates_in,
            updates_out: counters.updates_out,
            refreshes_in: counters.refreshes_in,
            refreshes_out: counters.refreshes_out,
            treated_as_withdraw: counters.treated_as_withdraw,
            established: counters.established,
            collisions: counters.collisions,
        },
        received: received.collect(),
        advertised: advertised.iter().map(ToString::to_string).collect(),
        withheld: withheld.map(ToString::to_string).collect(),
        warnings: config.warnings(),
        session: session.status(now),
    }
}
