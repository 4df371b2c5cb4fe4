//! Stage redundancy: how many of the ways to AWS work.

use super::facts::Line;
use super::{Facts, Finding, Known, Severity, Stage, history, ike, ipsec, tunnel};
use crate::api;

pub(super) const CODES: &[&Known] = &[&NONE, &LOST, &SINGLE, &REPROVISIONED, &DRAINED];

/// Two goodbyes within this time have one reason.
const TOGETHER_MS: u64 = 60_000;
/// A replacement of both endpoints takes minutes.
const REPLACEMENT_MS: u64 = 900_000;

pub(super) const NONE: Known = Known {
    code: "REDUNDANCY-NONE",
    stage: Stage::Redundancy,
    severity: Severity::Error,
    symptoms: &[],
    title: "No tunnel of the connection can carry traffic",
    symptom: "Nothing behind AWS can be reached.",
    cause: "All tunnels are down.",
    remedy: "Mend the first cause above.",
    aws_log: None,
};

pub(super) const LOST: Known = Known {
    code: "REDUNDANCY-LOST",
    stage: Stage::Redundancy,
    severity: Severity::Warning,
    symptoms: &[35],
    title: "Traffic hangs on one tunnel",
    symptom: "Nothing yet: the next failure, or AWS's next maintenance, ends the connection.",
    cause: "Another tunnel of the connection is down.",
    remedy: "Mend the tunnel that is down.",
    aws_log: None,
};

pub(super) const SINGLE: Known = Known {
    code: "REDUNDANCY-SINGLE",
    stage: Stage::Redundancy,
    severity: Severity::Warning,
    symptoms: &[35],
    title: "Only one tunnel is configured",
    symptom: "The connection is down during AWS's maintenance, and AWS Health complains (\"single tunnel\").",
    cause: "AWS gives every connection two endpoints and replaces one of them at a time.",
    remedy: "Import AWS's file again: it has both tunnels.",
    aws_log: None,
};

pub(super) const REPROVISIONED: Known = Known {
    code: "AWS-REPROVISIONS",
    stage: Stage::Redundancy,
    severity: Severity::Warning,
    symptoms: &[32],
    title: "AWS ended both tunnels at the same time",
    symptom: "Both tunnels go down together, and come back after some minutes.",
    cause: "ModifyVpnConnection and ModifyVpnConnectionOptions replace both endpoints; maintenance replaces one at a time.",
    remedy: "Wait some minutes: the daemon connects again by itself. Ask who changed the connection (CloudTrail: ModifyVpnConnection, ModifyVpnConnectionOptions). When keys or addresses were changed, import again.",
    aws_log: Some("AWS tunnel is sending DELETE"),
};

pub(super) const DRAINED: Known = Known {
    code: "TUNNEL-DRAINED",
    stage: Stage::Redundancy,
    severity: Severity::Info,
    symptoms: &[],
    title: "A tunnel was taken out of service by an operator",
    symptom: "It is up and carries no traffic.",
    cause: "`cgwd drain` was used.",
    remedy: "Put it back with `cgwd undrain TUNNEL`.",
    aws_log: None,
};

pub(super) fn examine(facts: &Facts, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    for connection in facts.running().map(|running| running.status.connections.as_slice()).unwrap_or_default()
    {
        together(facts, connection, findings);
        count(connection, findings);
    }
    single(facts, findings);
    for line in lines.iter().filter(|line| line.status.is_some_and(|(_, tunnel)| tunnel.drained)) {
        findings.push(DRAINED.found().at(&line.label));
    }
}

fn count(connection: &api::Connection, findings: &mut Vec<Finding>) {
    let up = connection.tunnels.iter().filter(|tunnel| tunnel.stage == api::Stage::Up).count();
    let all = connection.tunnels.len();
    if up == all {
        return;
    }
    // A start takes a few seconds; the tunnels' own findings say whether it goes well.
    let fresh = connection
        .tunnels
        .iter()
        .filter(|tunnel| tunnel.stage != api::Stage::Up)
        .all(|tunnel| tunnel.last_error.is_none() && tunnel.since_seconds < 15.0);
    let known = if up == 0 { &NONE } else { &LOST };
    let finding = known.found().seen(format!("{}: {up} of {all} tunnels up", connection.id));
    findings.push(if fresh { finding.rated(Severity::Info) } else { finding });
}

fn single(facts: &Facts, findings: &mut Vec<Finding>) {
    let counts: Vec<(String, usize)> = match (facts.config(), facts.running()) {
        (_, Some(running)) => {
            running.status.connections.iter().map(|c| (c.id.clone(), c.tunnels.len())).collect()
        }
        (Some(config), None) => config.connections.iter().map(|c| (c.id.clone(), c.tunnels.len())).collect(),
        (None, None) => Vec::new(),
    };
    for (id, _) in counts.iter().filter(|(_, tunnels)| *tunnels < 2) {
        findings.push(SINGLE.found().seen(id));
    }
}

fn together(facts: &Facts, connection: &api::Connection, findings: &mut Vec<Finding>) {
    if connection.tunnels.len() < 2 {
        return;
    }
    let last: Option<Vec<u64>> = connection
        .tunnels
        .iter()
        .map(|tunnel| {
            let whose = Some((connection.id.as_str(), tunnel.name.as_str()));
            history::recent(facts, "PEER-DELETED", whose).last().map(|(_, age)| age)
        })
        .collect();
    let Some(ages) = last else { return };
    let (Some(newest), Some(oldest)) = (ages.iter().min(), ages.iter().max()) else { return };
    if oldest - newest > TOGETHER_MS || *newest > REPLACEMENT_MS {
        return;
    }
    let mut down = connection.tunnels.iter().filter(|tunnel| tunnel.stage != api::Stage::Up).peekable();
    let any = down.peek().is_some();
    let quiet =
        down.all(|tunnel| tunnel.last_error.as_ref().is_none_or(|error| is_of_replacement(&error.code)));
    let seen = format!("{}: DELETE on every tunnel, {} s ago", connection.id, newest / 1000);
    let finding = REPROVISIONED.found().seen(seen);
    findings.push(finding.rated(match (any, quiet) {
        (true, true) => Severity::Error,
        (true, false) => Severity::Warning,
        (false, _) => Severity::Info,
    }));
}

/// What a tunnel meets while AWS replaces its endpoint.
pub(super) fn is_of_replacement(code: &str) -> bool {
    let known = [
        ike::PEER_DELETED,
        ike::NO_ANSWER,
        ike::AUTH_NO_ANSWER,
        ike::LIVENESS,
        ike::CONNECTING,
        tunnel::PROBE_LOST,
        tunnel::WAITING,
        ipsec::ESP_BLOCKED,
    ];
    known.iter().any(|known| known.code == code)
}
