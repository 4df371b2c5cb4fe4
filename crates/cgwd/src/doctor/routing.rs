//! Stage routing: routes of the kernel, BGP, and whether packets come back.

use config::{BgpMode, Routing};

use super::facts::{Host, Line};
use super::known::{Known, daemon};
use super::{Facts, Finding, Severity, Stage, history};
use crate::api;
use crate::catalog::Code;

pub(super) const CODES: &[&Known] = &[
    &FOREIGN,
    &MISSING,
    &NOT_USED,
    &TABLE,
    &FAILED,
    &REPAIRED,
    &BGP_SILENT,
    &BAD_AS,
    &PREFIX_LIMIT,
    &HOLD,
    &BGP_DOWN,
    &NO_PREFIXES,
    &FILTERED,
    &NOTHING_TOLD,
    &MANY_PREFIXES,
    &CONSOLE,
    &STEERING,
    &NO_RETURN,
    &ASYMMETRIC,
];

/// The main table.
const MAIN: u32 = 254;
/// So many packets without one coming back are no accident.
const ONE_WAY_LEAST: u64 = 20;
/// With one in so many coming back a way is not one-way.
const ONE_WAY_SHARE: u64 = 20;
/// With one in so few coming back it is worth listening, which costs some seconds.
const LISTEN_SHARE: u64 = 4;
/// A session has this long until it counts as stuck.
const BGP_SECONDS: f64 = 15.0;
/// A fresh session has this long until prefixes count as missing.
const PREFIX_SECONDS: f64 = 15.0;

pub(super) const FOREIGN: Known =
    daemon(Code::RouteForeign, Stage::Routing, &[], "Traffic to AWS leaves elsewhere.");
pub(super) const FAILED: Known =
    daemon(Code::RouteFailed, Stage::Routing, &[], "Traffic to AWS leaves elsewhere.");
pub(super) const REPAIRED: Known =
    daemon(Code::RouteRepaired, Stage::Routing, &[], "Short interruptions again and again.");
pub(super) const MANY_PREFIXES: Known =
    daemon(Code::BgpPrefixes, Stage::Routing, &[24], "Some networks are reached, others are not.");
pub(super) const BGP_DOWN: Known = daemon(
    Code::BgpDown,
    Stage::Routing,
    &[22, 25],
    "The inside address answers, and no routes are exchanged.",
);

pub(super) const MISSING: Known = Known {
    code: "ROUTE-MISSING",
    stage: Stage::Routing,
    severity: Severity::Error,
    symptoms: &[],
    title: "A route to AWS is not in the kernel",
    symptom: "The tunnels are up, and traffic to AWS leaves elsewhere or is refused.",
    cause: "The daemon wants the route and the kernel does not have it: it was refused, or something deletes it as fast as it is set.",
    remedy: "See ROUTE-FAILED in `cgwd events` for the kernel's reason; find out who deletes routes with `ip monitor route`.",
    aws_log: None,
};

pub(super) const NOT_USED: Known = Known {
    code: "ROUTE-NOT-USED",
    stage: Stage::Routing,
    severity: Severity::Error,
    symptoms: &[],
    title: "Packets to AWS do not take the tunnel although its route is there",
    symptom: "The tunnels are up, and traffic to AWS leaves elsewhere or is refused.",
    cause: "A rule (`ip rule`) looks another table up first, or another route is better.",
    remedy: "Look at `ip rule` and at `ip route get ADDRESS`; remove the rule or the route, or put ours into that table with routes.table.",
    aws_log: None,
};

pub(super) const TABLE: Known = Known {
    code: "ROUTE-TABLE-UNUSED",
    stage: Stage::Routing,
    severity: Severity::Error,
    symptoms: &[],
    title: "No rule leads to the table that holds our routes",
    symptom: "The tunnels are up, and traffic to AWS leaves elsewhere or is refused.",
    cause: "routes.table names a table of its own, and the kernel looks into it only when a rule says so.",
    remedy: "Add a rule, such as `ip rule add lookup TABLE priority 100`, or drop routes.table.",
    aws_log: None,
};

pub(super) const BGP_SILENT: Known = Known {
    code: "BGP-NOT-ESTABLISHED",
    stage: Stage::Routing,
    severity: Severity::Error,
    symptoms: &[22],
    title: "AWS's inside address answers, but BGP does not come up",
    symptom: "The session stays in Idle, Connect, Active or OpenSent; the console shows the tunnel DOWN.",
    cause: "TCP port 179 is refused or filtered (a firewall of this host, another BGP daemon that has the port), or the connection is static at AWS and nobody speaks BGP there.",
    remedy: "Allow TCP 179 from and to AWS's inside address on this host; make sure that the connection uses dynamic routing at AWS (StaticRoutesOnly is false).",
    aws_log: Some("BGPStatus: DOWN"),
};

pub(super) const BAD_AS: Known = Known {
    code: "BGP-BAD-AS",
    stage: Stage::Routing,
    severity: Severity::Error,
    symptoms: &[23],
    title: "NOTIFICATION 2/2: one side expects another AS number",
    symptom: "The session goes down right after OPEN, again and again.",
    cause: "The AS number of the customer gateway resource, or that of the virtual private or transit gateway, is not the one in the configuration.",
    remedy: "Compare local_asn with the customer gateway's BgpAsn and remote_asn with the gateway's AmazonSideAsn, and correct the configuration, or import again.",
    aws_log: Some("bad OPEN remote AS"),
};

pub(super) const PREFIX_LIMIT: Known = Known {
    code: "BGP-PREFIX-LIMIT",
    stage: Stage::Routing,
    severity: Severity::Error,
    symptoms: &[24],
    title: "NOTIFICATION 6/1: AWS was told too many prefixes",
    symptom: "The session goes down after a network was added, and stays down.",
    cause: "A virtual private gateway takes 100 prefixes, a transit gateway 1,000; one more ends the session.",
    remedy: "Aggregate the prefixes in `advertise` or `lan`, and keep max_advertised at AWS's limit.",
    aws_log: Some("Maximum Number of Prefixes Reached"),
};

pub(super) const HOLD: Known = Known {
    code: "BGP-HOLD-EXPIRED",
    stage: Stage::Routing,
    severity: Severity::Error,
    symptoms: &[25],
    title: "NOTIFICATION 4/0: the hold timer ran out",
    symptom: "BGP goes down although the SAs stay up.",
    cause: "No KEEPALIVE came through for the hold time: the tunnel lost packets, or large UPDATEs do not fit the way (MTU).",
    remedy: "See whether the probes were lost at the same time (`cgwd events`); if they were not, lower path_mtu of the tunnel.",
    aws_log: Some("hold timer expired"),
};

pub(super) const NO_PREFIXES: Known = Known {
    code: "BGP-NO-PREFIXES",
    stage: Stage::Routing,
    severity: Severity::Warning,
    symptoms: &[26],
    title: "BGP is established, and AWS announces nothing",
    symptom: "The tunnel is up, and there is no route to the VPC.",
    cause: "The virtual private gateway is not attached to a VPC, or the connection's attachment is not associated with a transit gateway route table, or nothing is propagated into that table.",
    remedy: "Virtual private gateway: aws ec2 describe-vpn-gateways (VpcAttachments must be attached). Transit gateway: aws ec2 get-transit-gateway-route-table-propagations, and associate the attachment with a route table that has the VPC's routes.",
    aws_log: None,
};

pub(super) const FILTERED: Known = Known {
    code: "BGP-ALL-FILTERED",
    stage: Stage::Routing,
    severity: Severity::Warning,
    symptoms: &[26],
    title: "AWS announces prefixes, and none is accepted",
    symptom: "The tunnel is up, and there is no route to the VPC.",
    cause: "`vpc` of the connection does not cover what AWS announces, or that is the default route alone, which is not allowed.",
    remedy: "Add the VPC's prefixes to `vpc`, or set allow_default_route if the default route shall be taken.",
    aws_log: None,
};

pub(super) const NOTHING_TOLD: Known = Known {
    code: "BGP-NOTHING-ADVERTISED",
    stage: Stage::Routing,
    severity: Severity::Warning,
    symptoms: &[20],
    title: "Nothing is announced to AWS",
    symptom: "Packets go to AWS, and no answer comes back.",
    cause: "AWS routes back to us only what we announce; `advertise` and `lan` are empty.",
    remedy: "Write the networks on our side into `lan` of the connection (or `advertise`).",
    aws_log: None,
};

pub(super) const CONSOLE: Known = Known {
    code: "BGP-CONSOLE-DOWN",
    stage: Stage::Routing,
    severity: Severity::Info,
    symptoms: &[29],
    title: "The AWS console shows this tunnel DOWN until BGP is established",
    symptom: "Both SAs are up, and the console says DOWN (\"IPSEC IS UP\" in the details).",
    cause: "With dynamic routing AWS counts a tunnel as up only with an established session.",
    remedy: "Mend BGP; the IPsec part needs nothing.",
    aws_log: None,
};

pub(super) const STEERING: Known = Known {
    code: "BGP-STEERING",
    stage: Stage::Routing,
    severity: Severity::Warning,
    symptoms: &[36],
    title: "Traffic stays on a tunnel that AWS wants it to leave",
    symptom: "Interruptions during AWS's maintenance although the other tunnel is up.",
    cause: "AWS moves traffic away from a tunnel by a lower MED on the other one. A higher local_preference counts before MED, so it is not followed.",
    remedy: "Drop local_preference from both tunnels (or give both the same); MED decides then, and AWS's maintenance passes unnoticed.",
    aws_log: None,
};

pub(super) const NO_RETURN: Known = Known {
    code: "VPC-NO-RETURN",
    stage: Stage::Routing,
    severity: Severity::Warning,
    symptoms: &[17, 20],
    title: "Packets go into the tunnel to AWS, and none comes back",
    symptom: "AWS's inside address answers, hosts in the VPC do not.",
    cause: "The tunnel works, so the packets are lost behind AWS's endpoint, or the answers have no way back. Datagrams that nobody need answer (syslog) do not count: connections are tried and hosts are pinged in vain.",
    remedy: super::path::AT_AWS,
    aws_log: None,
};

pub(super) const ASYMMETRIC: Known = Known {
    code: "ROUTE-ASYMMETRIC",
    stage: Stage::Routing,
    severity: Severity::Info,
    symptoms: &[18],
    title: "AWS sends on another tunnel than we do",
    symptom: "TunnelDataIn grows on one tunnel, TunnelDataOut on the other.",
    cause: "AWS chooses its way by itself; packets are accepted on every tunnel.",
    remedy: "Nothing. To make AWS follow us with BGP, see MED in docs/routing.md.",
    aws_log: None,
};

pub(super) fn examine(facts: &Facts, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    if let (Some(host), Some(running)) = (&facts.host, facts.running()) {
        for connection in &running.status.connections {
            if connection.tunnels.iter().any(|tunnel| tunnel.stage == api::Stage::Up) {
                kernel(host, &running.routes, connection, findings);
            }
        }
    }
    said(facts, findings);
    for line in lines {
        bgp(facts, line, findings);
    }
    steering(facts, lines, findings);
    for connection in facts.running().map(|running| running.status.connections.as_slice()).unwrap_or_default()
    {
        one_way(facts, connection, findings);
    }
}

fn kernel(host: &Host, routes: &api::Routes, connection: &api::Connection, findings: &mut Vec<Finding>) {
    // Protective routes have no interface of ours; they only keep packets from leaking.
    let own = routes
        .routes
        .iter()
        .filter(|route| route.connection == connection.id && !route.interfaces.is_empty());
    for route in own {
        let there = host.routes.iter().any(|known| {
            known.destination.to_string() == route.destination
                && known.table == route.table
                && known.protocol == ::routes::PROTOCOL
                && known.interfaces.iter().any(|interface| route.interfaces.contains(interface))
        });
        if !there {
            findings.push(MISSING.found().seen(format!(
                "{} via {}",
                route.destination,
                route.interfaces.join(", ")
            )));
            continue;
        }
        if route.table != MAIN && !host.tables.contains(&route.table) {
            if !findings.iter().any(|finding| finding.is(&TABLE)) {
                let finding = TABLE.found().seen(format!("table {}", route.table));
                findings
                    .push(finding.first_do(format!("Run `ip rule add lookup {} priority 100`", route.table)));
            }
            continue;
        }
        let better = host.routes.iter().find(|other| {
            other.destination.to_string() == route.destination
                && other.table == route.table
                && other.protocol != ::routes::PROTOCOL
                && other.metric <= route.metric
        });
        if let Some(other) = better {
            let seen = format!(
                "{} leads to {} with metric {}, ours has {}",
                other.destination,
                if other.interfaces.is_empty() { "nowhere".to_owned() } else { other.interfaces.join(", ") },
                other.metric,
                route.metric
            );
            findings.push(FOREIGN.found().seen(seen));
            continue;
        }
        not_used(host, route, findings);
    }
}

fn not_used(host: &Host, route: &api::Route, findings: &mut Vec<Finding>) {
    let lookup = host.lookups.iter().find(|lookup| lookup.prefix.to_string() == route.destination);
    let Some(lookup) = lookup else { return };
    let seen = match &lookup.interface {
        Ok(interface) if route.interfaces.contains(interface) => return,
        Ok(interface) => format!("a packet to {} leaves over {interface}", lookup.target),
        Err(why) => format!("a packet to {} is refused: {why}", lookup.target),
    };
    let seen =
        format!("{seen}, the route for {} leads to {}", route.destination, route.interfaces.join(", "));
    let finding = NOT_USED.found().seen(seen);
    findings.push(finding.first_do(format!("Try `ip route get {}`", lookup.target)));
}

/// What the daemon said about routes in the last hour.
fn said(facts: &Facts, findings: &mut Vec<Finding>) {
    if let Some((event, age)) =
        history::recent(facts, FAILED.code, None).last().filter(|(_, age)| *age < 60_000)
    {
        findings.push(FAILED.found().seen(format!("{} s ago: {}", age / 1000, event.text)));
    }
    let repaired: Vec<_> = history::recent(facts, REPAIRED.code, None).collect();
    if let Some((event, _)) = repaired.last()
        && repaired.len() >= 3
    {
        findings.push(REPAIRED.found().seen(format!(
            "{} times in the last hour: {}",
            repaired.len(),
            event.text
        )));
    }
}

fn bgp(facts: &Facts, line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some((_, tunnel)) = line.status else { return };
    let Some(session) = &tunnel.bgp else { return };
    let config = line.config.and_then(|(connection, _)| match &connection.routing {
        Routing::Bgp(bgp) => Some(bgp),
        Routing::Static { .. } => None,
    });
    if config.is_some_and(|bgp| bgp.mode == BgpMode::External) {
        return;
    }
    if tunnel.stage == api::Stage::Bgp {
        not_established(facts, line, tunnel, session, findings);
        return;
    }
    let Some(uptime) = session.uptime_seconds.filter(|_| tunnel.stage == api::Stage::Up) else { return };
    if uptime > PREFIX_SECONDS && session.received == 0 {
        findings.push(NO_PREFIXES.found().at(&line.label).seen(format!("established for {uptime:.0} s")));
    } else if uptime > PREFIX_SECONDS && session.accepted == 0 && session.received > 0 {
        findings.push(
            FILTERED.found().at(&line.label).seen(format!("{} received, 0 accepted", session.received)),
        );
    }
    if uptime > PREFIX_SECONDS
        && session.advertised == 0
        && config.is_some_and(|bgp| bgp.advertise.is_empty())
    {
        findings.push(NOTHING_TOLD.found().at(&line.label));
    }
    let whose = Some((line.connection.as_str(), tunnel.name.as_str()));
    if let Some((event, _)) = history::recent(facts, MANY_PREFIXES.code, whose).last() {
        findings.push(MANY_PREFIXES.found().at(&line.label).seen(&event.text));
    }
}

fn not_established(
    facts: &Facts,
    line: &Line<'_>,
    tunnel: &api::Tunnel,
    session: &api::Bgp,
    findings: &mut Vec<Finding>,
) {
    let notification = notification(facts, line, tunnel, session);
    let (known, text) = match &notification {
        Some((text, (2, 2))) => (&BAD_AS, text.clone()),
        Some((text, (6, 1))) => (&PREFIX_LIMIT, text.clone()),
        Some((text, (4, _))) => (&HOLD, text.clone()),
        Some((text, _)) => (&BGP_DOWN, text.clone()),
        None => (&BGP_SILENT, session.waiting_for.clone().unwrap_or_default()),
    };
    let seen = format!("{} with {} AS {}, {text}", session.state, session.peer, session.asn);
    let mut finding = known.found().at(&line.label).seen(seen.trim_end_matches([',', ' ']));
    finding.severity = if notification.is_none() && tunnel.since_seconds < BGP_SECONDS {
        Severity::Info
    } else {
        Severity::Error
    };
    findings.push(finding);
    findings.push(CONSOLE.found().at(&line.label).because(known));
}

/// The newest NOTIFICATION of the tunnel, with its code and subcode.
fn notification(
    facts: &Facts,
    line: &Line<'_>,
    tunnel: &api::Tunnel,
    session: &api::Bgp,
) -> Option<(String, (u8, u8))> {
    let whose = Some((line.connection.as_str(), tunnel.name.as_str()));
    let up = history::recent(facts, "BGP-UP", whose).last().map_or(0, |(event, _)| event.id);
    let event = history::recent(facts, "BGP-NOTIFICATION", whose).map(|(event, _)| event).last();
    let texts = [
        session.waiting_for.as_deref(),
        line.failing().filter(|(code, _)| code.starts_with("BGP-")).map(|(_, text)| text),
        event.filter(|event| event.id > up).map(|event| event.text.as_str()),
    ];
    texts.into_iter().flatten().find_map(|text| Some((text.to_owned(), code_of(text)?)))
}

/// `… NOTIFICATION 2/2: …`.
fn code_of(text: &str) -> Option<(u8, u8)> {
    let (_, rest) = text.split_once("NOTIFICATION ")?;
    let number =
        |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u8>().ok();
    let (code, subcode) = rest.split_once('/')?;
    Some((number(code)?, number(subcode)?))
}

/// AWS's lowest MED lies on another tunnel than the traffic, and a preference set by hand is why.
fn steering(facts: &Facts, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    let preference = |connection: &str, tunnel: &str| {
        let of = |line: &&Line<'_>| {
            line.connection == connection && line.config.is_some_and(|(_, config)| config.name == tunnel)
        };
        let line = lines.iter().find(of)?;
        Some((line, line.config?.1.preference.local))
    };
    let sessions = facts.running().map(|running| running.bgp.sessions.as_slice()).unwrap_or_default();
    for session in sessions {
        let Some((line, own)) = preference(&session.connection, &session.tunnel).filter(|(l, _)| l.up())
        else {
            continue;
        };
        let better = session.received.iter().filter(|route| route.used).find_map(|route| {
            let med = route.med.unwrap_or(0);
            let others = sessions
                .iter()
                .filter(|other| other.connection == session.connection && other.tunnel != session.tunnel);
            others
                .filter(|other| {
                    preference(&other.connection, &other.tunnel).is_some_and(|(l, p)| l.up() && p < own)
                })
                .find_map(|other| {
                    let theirs = other.received.iter().find(|theirs| theirs.prefix == route.prefix)?;
                    let lower = theirs.med.unwrap_or(0);
                    (lower < med).then(|| (route.prefix.clone(), med, other.tunnel.clone(), lower))
                })
        });
        if let Some((prefix, med, other, lower)) = better {
            let seen = format!(
                "{prefix} has MED {lower} on {other} and MED {med} on {}, which carries the traffic because of \
                 local_preference = {own}",
                session.tunnel
            );
            findings.push(STEERING.found().at(&line.label).seen(seen));
        }
    }
}

/// Packets beside the probes: sent and received by a tunnel since the daemon's start.
fn carried(tunnel: &api::Tunnel) -> (u64, u64) {
    let Some(child) = &tunnel.child else { return (0, 0) };
    let (sent, received) = tunnel.probe.map_or((0, 0), |probe| (probe.sent, probe.received));
    (child.tx_packets.saturating_sub(sent), child.rx_packets.saturating_sub(received))
}

/// Packets sent beside the probes when hardly one came back. A session's own messages come back always, so with BGP the
/// counters say nothing; a few that the doctor asked for itself are among those that came.
pub(super) fn looks_one_way(connection: &api::Connection) -> Option<(u64, u64)> {
    let up = connection.tunnels.iter().any(|tunnel| tunnel.stage == api::Stage::Up);
    let (out, back) = connection.tunnels.iter().map(carried).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    let few = back.saturating_mul(LISTEN_SHARE) < out;
    (up && connection.routing == "static" && out >= ONE_WAY_LEAST && few).then_some((out, back))
}

fn one_way(facts: &Facts, connection: &api::Connection, findings: &mut Vec<Finding>) {
    if let Some((out, back)) = looks_one_way(connection) {
        let seen = format!("{out} packets sent beside the probes, {back} received");
        let finding = NO_RETURN.found().seen(seen);
        match facts.measured.unanswered.get(&connection.id).map(Vec::as_slice) {
            // Listened, and whatever wanted an answer got one.
            Some([]) => {}
            Some(talks) => {
                let words: Vec<String> = talks.iter().take(3).map(talk).collect();
                let more =
                    if talks.len() > 3 { format!(" and {} more", talks.len() - 3) } else { String::new() };
                findings.push(finding.seen(format!("unanswered just now: {}{more}", words.join(", "))));
            }
            None => findings.push(finding.rated(Severity::Info)),
        }
    }
    let up = || connection.tunnels.iter().filter(|tunnel| tunnel.stage == api::Stage::Up);
    let (here, elsewhere): (Vec<_>, Vec<_>) = up().partition(|tunnel| tunnel.egress);
    let sent: u64 = here.iter().map(|tunnel| carried(tunnel).0).sum();
    let came: u64 = here.iter().map(|tunnel| carried(tunnel).1).sum();
    let other: u64 = elsewhere.iter().map(|tunnel| carried(tunnel).1).sum();
    let one_sided =
        sent >= ONE_WAY_LEAST && other >= ONE_WAY_LEAST && came.saturating_mul(ONE_WAY_SHARE) < sent;
    if connection.routing == "static" && one_sided {
        findings.push(ASYMMETRIC.found().seen(format!("{other} packets came on the other tunnel")));
    }
}

fn talk(talk: &super::measure::Talk) -> String {
    match talk.port {
        Some(port) => format!("TCP from {} to {} port {port}", talk.from, talk.to),
        None => format!("echo requests from {} to {}", talk.from, talk.to),
    }
}
