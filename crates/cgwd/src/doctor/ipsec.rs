//! Stage IPsec: phase 2, and the encrypted packets themselves.

use super::facts::Line;
use super::known::{Known, daemon};
use super::{Facts, Finding, Severity, Stage, history, ike};
use crate::api;
use crate::catalog::Code;

pub(super) const CODES: &[&Known] =
    &[&NO_PROPOSAL, &TS, &SINGLE_PAIR, &FAILED, &REKEY, &ESP_BLOCKED, &REPLAY, &FORGED, &SEVERAL, &SELECTORS];

/// Replays below this number say nothing.
const REPLAYS_LEAST: u64 = 50;
/// One in this many packets replayed is too many.
const REPLAYS_SHARE: u64 = 1000;

pub(super) const NO_PROPOSAL: Known = daemon(
    Code::IpsecNoProposal,
    Stage::Ipsec,
    &[9],
    "IKE comes up, the tunnel does not; NO_PROPOSAL_CHOSEN.",
);
pub(super) const TS: Known = daemon(
    Code::IpsecTsUnacceptable,
    Stage::Ipsec,
    &[10],
    "IKE comes up, the tunnel does not; TS_UNACCEPTABLE.",
);
pub(super) const FAILED: Known =
    daemon(Code::IpsecFailed, Stage::Ipsec, &[9], "IKE comes up, the tunnel does not.");
pub(super) const ESP_BLOCKED: Known = daemon(
    Code::IpsecEspBlocked,
    Stage::Ipsec,
    &[16],
    "Both SAs are up at both ends, and nothing comes through.",
);

pub(super) const SINGLE_PAIR: Known = Known {
    code: "IPSEC-SINGLE-PAIR",
    stage: Stage::Ipsec,
    severity: Severity::Error,
    symptoms: &[14],
    title: "AWS refuses a second SA pair",
    symptom: "Of several networks only one passes traffic; SINGLE_PAIR_REQUIRED or NO_ADDITIONAL_SAS.",
    cause: "AWS allows one pair of SAs per tunnel. A policy-based gateway makes one for each pair of networks.",
    remedy: "Use one selector that covers everything: drop local_cidr and remote_cidr from the configuration, so that 0.0.0.0/0 is negotiated and routes decide.",
    aws_log: Some("AWS tunnel Phase 2 was unable to establish while keeping Phase 1"),
};

pub(super) const REKEY: Known = Known {
    code: "IPSEC-REKEY-FAILED",
    stage: Stage::Ipsec,
    severity: Severity::Error,
    symptoms: &[11],
    title: "Fresh keys for traffic are refused",
    symptom: "The tunnel comes up, and drops after about an hour, again and again.",
    cause: "The group for perfect forward secrecy is used at the first rekey only, so a group that AWS does not allow shows only then.",
    remedy: "Allow one of the groups offered here in the tunnel options at AWS (Phase2DHGroupNumbers), or take AWS's into dh_groups of the tunnel's phase 2. Try it with `cgwd rekey child TUNNEL` without waiting an hour.",
    aws_log: Some("AWS tunnel Phase 2 was unable to establish while keeping Phase 1"),
};

pub(super) const REPLAY: Known = Known {
    code: "IPSEC-REPLAY",
    stage: Stage::Ipsec,
    severity: Severity::Warning,
    symptoms: &[15],
    title: "Packets are dropped as replays",
    symptom: "Throughput is poor under load, with losses in one direction only.",
    cause: "Packets arrive later than the anti-replay window is wide (a way with several links, traffic shaping by class), or somebody sends them again.",
    remedy: "Raise replay_window of the tunnel (up to 2048) here, and ReplayWindowSize in the tunnel options at AWS for the other direction.",
    aws_log: None,
};

pub(super) const FORGED: Known = Known {
    code: "IPSEC-AUTH-DROPS",
    stage: Stage::Ipsec,
    severity: Severity::Warning,
    symptoms: &[],
    title: "Many encrypted packets do not verify",
    symptom: "Losses in one direction only.",
    cause: "Something on the way changes packets (a broken offload, a middlebox), or somebody sends forged ones.",
    remedy: "Turn the offloads of the network card off for a trial (ethtool -K IFACE gro off lro off), and look at who sends to UDP 4500.",
    aws_log: None,
};

pub(super) const SELECTORS: Known = Known {
    code: "IPSEC-SELECTORS",
    stage: Stage::Ipsec,
    severity: Severity::Info,
    symptoms: &[14],
    title: "The traffic selectors are narrower than everything",
    symptom: "Nothing, until a network is added that no selector covers.",
    cause: "All selectors go into one SA pair, as AWS wants; what they do not cover is dropped even when a route leads into the tunnel.",
    remedy: "Drop local_cidr and remote_cidr unless the CIDR options of the connection at AWS are narrowed as well.",
    aws_log: None,
};

pub(super) const SEVERAL: Known = Known {
    code: "IPSEC-SEVERAL-SELECTORS",
    stage: Stage::Ipsec,
    severity: Severity::Warning,
    symptoms: &[14],
    title: "More traffic selectors than AWS's one SA pair can hold",
    symptom: "Of several networks only one passes traffic; the others get no answer, without any error.",
    cause: "AWS makes one pair of SAs per tunnel, with one network on each side (Local and Remote network CIDR of the connection). What is offered beyond these is cut off when the SA is made, as with every policy-based gateway.",
    remedy: "Drop local_cidr and remote_cidr, so that 0.0.0.0/0 is negotiated and routes decide; or give one network that covers all of them, here and in the CIDR options at AWS.",
    aws_log: None,
};

pub(super) fn examine(facts: &Facts, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    for line in lines {
        failing(facts, line, findings);
        rekeying(facts, line, findings);
        drops(line, findings);
        selectors(line, findings);
    }
}

fn failing(facts: &Facts, line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some((code, text)) = line.failing() else { return };
    let stage = line.stage().unwrap_or(api::Stage::Down);
    if code == ESP_BLOCKED.code && uncovered(line).is_some() {
        return;
    }
    if code == ESP_BLOCKED.code {
        let Some((_, tunnel)) = line.status else { return };
        let mut finding = ESP_BLOCKED.found().at(&line.label).seen(text);
        if let Some(child) = &tunnel.child {
            let carried = if child.encapsulation == "udp" { "UDP 4500" } else { "protocol 50" };
            finding = finding.seen(format!(
                "carried by {carried}: {} packets sent, {} received",
                child.tx_packets, child.rx_packets
            ));
            if child.encapsulation == "esp" {
                finding = finding
                    .first_do("Set encapsulation = \"udp\" for the tunnel, which passes wherever IKE passes");
            }
        }
        findings.push(finding);
        return;
    }
    // With a child installed an older refusal is history.
    if stage > api::Stage::Ike {
        return;
    }
    // The first child may be asked for by CREATE_CHILD_SA too, after IKE_AUTH refused it.
    let was_up = line.status.is_some_and(|(connection, tunnel)| {
        let whose = Some((connection.id.as_str(), tunnel.name.as_str()));
        history::recent(facts, "IPSEC-UP", whose).next().is_some()
    });
    let pair = text.contains("SINGLE_PAIR_REQUIRED") || text.contains("NO_ADDITIONAL_SAS");
    let known = match code {
        code if code == NO_PROPOSAL.code && was_up && text.contains("CREATE_CHILD_SA") => &REKEY,
        code if code == NO_PROPOSAL.code => &NO_PROPOSAL,
        code if code == TS.code => &TS,
        code if code == FAILED.code && pair => &SINGLE_PAIR,
        code if code == FAILED.code => &FAILED,
        _ => return,
    };
    let mut finding = known.found().at(&line.label).seen(text);
    if let Some((_, tunnel)) = line.config {
        finding = finding.seen(if known.code == TS.code {
            format!("offered here: {} to {}", ike::list(&tunnel.ts_local), ike::list(&tunnel.ts_remote))
        } else {
            format!(
                "offered here: {} | {} | PFS {}",
                ike::list(&tunnel.esp.encryption),
                ike::list(&tunnel.esp.integrity),
                ike::list(&tunnel.esp.dh_groups)
            )
        });
    }
    findings.push(finding);
}

/// A rekey that was refused while the tunnel still carries traffic: it will drop.
fn rekeying(facts: &Facts, line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some((connection, tunnel)) = line.status.filter(|_| line.up()) else { return };
    let whose = Some((connection.id.as_str(), tunnel.name.as_str()));
    let refused = history::recent(facts, NO_PROPOSAL.code, whose)
        .filter(|(event, _)| event.text.contains("CREATE_CHILD_SA"))
        .last();
    let mended = history::recent(facts, "IPSEC-REKEYED", whose).map(|(event, _)| event.id).max().unwrap_or(0);
    if let Some((event, age)) = refused.filter(|(event, _)| event.id > mended) {
        let seen = format!("{} s ago: {}", age / 1000, event.text);
        findings.push(REKEY.found().at(&line.label).rated(Severity::Warning).seen(seen));
    }
}

fn drops(line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some(child) = line.status.and_then(|(_, tunnel)| tunnel.child.as_ref()) else { return };
    let many = |count: u64| count >= REPLAYS_LEAST && count.saturating_mul(REPLAYS_SHARE) >= child.rx_packets;
    for (known, count) in [(&REPLAY, child.drops.replay), (&FORGED, child.drops.auth)] {
        if many(count) {
            let seen = format!("{count} dropped of {} received", child.rx_packets.saturating_add(count));
            findings.push(known.found().at(&line.label).seen(seen));
        }
    }
}

/// The inside addresses that no selector covers.
fn uncovered<'f>(line: &Line<'f>) -> Option<&'f config::Inside> {
    let (_, tunnel) = line.config?;
    let covers = |all: &[model::TrafficSelector], address| all.iter().any(|one| one.contains(address));
    let inside = tunnel.inside.first()?;
    let covered = covers(&tunnel.ts_local, inside.ours.addr()) && covers(&tunnel.ts_remote, inside.aws);
    (!covered).then_some(inside)
}

fn selectors(line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some((_, tunnel)) = line.config else { return };
    let any = [model::TrafficSelector::any_v4(), model::TrafficSelector::any_v6()];
    let narrow = |all: &[model::TrafficSelector]| all.iter().any(|selector| !any.contains(selector));
    let several = |all: &[model::TrafficSelector]| {
        let v4 = all.iter().filter(|selector| selector.start().is_ipv4()).count();
        v4.max(all.len() - v4) > 1
    };
    let known = if several(&tunnel.ts_local) || several(&tunnel.ts_remote) {
        &SEVERAL
    } else if narrow(&tunnel.ts_local) || narrow(&tunnel.ts_remote) {
        &SELECTORS
    } else {
        return;
    };
    let seen = format!("offered: {} to {}", ike::list(&tunnel.ts_local), ike::list(&tunnel.ts_remote));
    let finding = known.found().at(&line.label).seen(seen);
    let silent = matches!(line.stage(), Some(api::Stage::Ipsec | api::Stage::Tunnel));
    findings.push(match uncovered(line).filter(|_| silent) {
        Some(inside) => finding.rated(Severity::Error).seen(format!(
            "{} and {} are not among the selectors, so AWS's inside address cannot be asked through the tunnel",
            inside.ours.addr(),
            inside.aws
        )),
        None => finding,
    });
}
