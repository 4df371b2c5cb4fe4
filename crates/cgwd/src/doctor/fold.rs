//! Which finding follows from which, and their order: a root cause first, its consequences right behind it.

use super::facts::Line;
use super::{Finding, Severity, Stage, aws, configuration, host, path, redundancy};

/// Sets `because_of` where it is not set yet, and orders.
pub(super) fn root_cause_first(mut findings: Vec<Finding>, lines: &[Line<'_>]) -> Vec<Finding> {
    blame_host(&mut findings);
    blame_replacement(&mut findings, lines);
    for line in lines {
        blame_within(&mut findings, &line.label);
    }
    blame_tunnels(&mut findings, lines);
    blame_path(&mut findings);
    order(findings, lines)
}

/// What this machine lacks explains what the daemon cannot do.
fn blame_host(findings: &mut [Finding]) {
    let broken = findings.iter().find(|f| f.stage == Stage::Host && f.is(&configuration::INVALID)).cloned();
    let absent = findings.iter().find(|f| f.is(&configuration::ABSENT)).cloned();
    let lacks = [&host::NO_TUN, &host::PORT_TAKEN, &host::NO_CAPABILITY, &host::BIND_ABSENT, &host::CLASH];
    let lack = findings
        .iter()
        .find(|f| f.severity == Severity::Error && lacks.iter().any(|known| f.is(known)))
        .cloned();
    for finding in findings.iter_mut().filter(|f| f.because_of.is_none()) {
        if finding.is(&host::NO_DAEMON) {
            finding.because_of = broken.as_ref().or(absent.as_ref()).map(|root| root.code.clone());
        } else if finding.is(&host::NOT_READY) || finding.is(&super::tunnel::DATA_PLANE) {
            finding.because_of = lack.as_ref().map(|root| root.code.clone());
        }
    }
}

/// Without a daemon or a tunnel there is no route, and what is followed to its end explains what does not come back.
fn blame_path(findings: &mut [Finding]) {
    let of = |findings: &[Finding], known: &[&super::Known]| {
        let found =
            findings.iter().find(|f| f.severity == Severity::Error && known.iter().any(|one| f.is(one)));
        found.map(|f| f.code.clone())
    };
    let down = of(findings, &[&host::NO_DAEMON, &redundancy::NONE]);
    let end = of(findings, &[&path::BEHIND, &path::NO_WAY_BACK, &path::REFUSED]);
    for finding in findings.iter_mut().filter(|f| f.because_of.is_none()) {
        if finding.is(&path::NOT_ROUTED) {
            finding.because_of.clone_from(&down);
        } else if finding.is(&super::routing::NO_RETURN) {
            finding.because_of.clone_from(&end);
        }
    }
}

/// Both endpoints replaced at the same time explain that neither answers.
fn blame_replacement(findings: &mut [Finding], lines: &[Line<'_>]) {
    let Some(root) =
        findings.iter().find(|f| f.is(&redundancy::REPROVISIONED) && f.severity == Severity::Error).cloned()
    else {
        return;
    };
    let labels: Vec<&str> =
        lines.iter().filter(|l| is_about(&root, &l.connection)).map(|l| l.label.as_str()).collect();
    for finding in findings.iter_mut().filter(|f| redundancy::is_of_replacement(&f.code)) {
        if finding.because_of.is_none() && finding.tunnel.as_deref().is_some_and(|t| labels.contains(&t)) {
            finding.because_of = Some(root.code.clone());
        }
    }
}

/// Within one tunnel the lowest rung that is broken explains the ones above it; a difference to AWS's own
/// description explains what it leads to.
fn blame_within(findings: &mut [Finding], label: &str) {
    let of_tunnel = |f: &Finding| f.tunnel.as_deref() == Some(label) && f.severity == Severity::Error;
    let root = findings
        .iter()
        .filter(|f| of_tunnel(f) && f.because_of.is_none())
        .min_by_key(|f| (!aws::explains(f), f.stage))
        .map(|f| (f.code.clone(), f.stage));
    let Some((code, stage)) = root else { return };
    for finding in
        findings.iter_mut().filter(|f| f.tunnel.as_deref() == Some(label) && f.because_of.is_none())
    {
        let above = finding.stage > stage || stage == Stage::Aws;
        let follows = finding.severity == Severity::Error || redundancy_or_aws(finding);
        if finding.code != code && above && follows {
            finding.because_of = Some(code.clone());
        }
    }
}

fn redundancy_or_aws(finding: &Finding) -> bool {
    finding.stage == Stage::Redundancy || aws::is_mirror(finding)
}

/// A tunnel that is down explains the lack of redundancy, and with no tunnel left there are no routes either.
fn blame_tunnels(findings: &mut [Finding], lines: &[Line<'_>]) {
    let root_of = |findings: &[Finding], connection: &str| {
        let labels: Vec<&str> = lines
            .iter()
            .filter(|l| l.connection == connection && !l.up())
            .map(|l| l.label.as_str())
            .collect();
        let host = findings.iter().find(|f| f.is(&host::NO_DAEMON));
        let own = findings
            .iter()
            .filter(|f| f.because_of.is_none() && f.severity == Severity::Error)
            .find(|f| f.tunnel.as_deref().is_some_and(|tunnel| labels.contains(&tunnel)));
        let replaced =
            findings.iter().find(|f| f.is(&redundancy::REPROVISIONED) && f.severity == Severity::Error);
        let below = findings.iter().find(|f| {
            f.because_of.is_none()
                && f.severity == Severity::Error
                && f.stage == Stage::Host
                && f.tunnel.is_none()
        });
        own.or(replaced).or(host).or(below).map(|f| f.code.clone())
    };
    let connections: Vec<String> = lines.iter().map(|line| line.connection.clone()).collect();
    for index in 0..findings.len() {
        let Some(finding) = findings.get(index) else { break };
        if finding.because_of.is_some() {
            continue;
        }
        let lost = finding.is(&redundancy::LOST) || finding.is(&redundancy::NONE);
        if !lost {
            continue;
        }
        let about = connections.iter().find(|id| is_about(finding, id)).cloned();
        let code = about.and_then(|id| root_of(findings, &id));
        if let Some(finding) = findings.get_mut(index) {
            finding.because_of = code;
        }
    }
    let none = findings.iter().find(|f| f.is(&redundancy::NONE)).map(|f| f.code.clone());
    for finding in findings.iter_mut().filter(|f| f.tunnel.is_none() && f.stage == Stage::Routing) {
        if finding.because_of.is_none() {
            finding.because_of.clone_from(&none);
        }
    }
}

/// Findings about a whole connection begin with its name.
fn is_about(finding: &Finding, connection: &str) -> bool {
    finding.cause.strip_prefix(connection).is_some_and(|rest| rest.starts_with(": "))
}

/// Roots by severity, then from the bottom of the ladder up; each followed by its consequences.
fn order(findings: Vec<Finding>, lines: &[Line<'_>]) -> Vec<Finding> {
    let position = |finding: &Finding| {
        lines
            .iter()
            .position(|line| finding.tunnel.as_deref() == Some(line.label.as_str()))
            .map_or(0, |at| at + 1)
    };
    let rank = |finding: &Finding| {
        let below = aws::explains(finding) || finding.is(&redundancy::REPROVISIONED);
        let stage = if below { Stage::Underlay } else { finding.stage };
        // What else the host lacks says more than that nothing runs.
        (std::cmp::Reverse(finding.severity), stage, finding.is(&host::NO_DAEMON), position(finding))
    };
    let (mut roots, mut rest): (Vec<Finding>, Vec<Finding>) =
        findings.into_iter().partition(|finding| finding.because_of.is_none());
    roots.sort_by_key(rank);
    rest.sort_by_key(rank);
    let mut ordered = Vec::new();
    for root in roots {
        // Of two tunnels with the same root cause each keeps its own consequences.
        take_consequences(&root, &mut rest, &mut ordered);
    }
    // What follows from a finding that is not there stands on its own.
    ordered.extend(rest);
    ordered
}

fn take_consequences(root: &Finding, rest: &mut Vec<Finding>, ordered: &mut Vec<Finding>) {
    ordered.push(root.clone());
    let mut at = 0;
    while let Some(candidate) = rest.get(at) {
        let same = candidate.tunnel == root.tunnel || candidate.tunnel.is_none() || root.tunnel.is_none();
        if same && candidate.because_of.as_deref() == Some(root.code.as_str()) {
            let candidate = rest.remove(at);
            take_consequences(&candidate, rest, ordered);
            at = 0;
        } else {
            at += 1;
        }
    }
}
