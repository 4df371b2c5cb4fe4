//! Stage tunnel: does AWS's inside address answer, and how well.

use super::facts::Line;
use super::known::{Known, daemon};
use super::{Facts, Finding, Severity, Stage, history};
use crate::api;
use crate::catalog::Code;

pub(super) const CODES: &[&Known] =
    &[&PROBE_LOST, &DATA_PLANE, &WAITING, &NO_PROBE, &LOSSY, &TOO_BIG, &FLAPPING, &GOODBYES, &RATE];

/// A tunnel whose SAs came up has this long until its inside address answers.
const ANSWER_SECONDS: f64 = 10.0;
/// A share of lost probes above this is felt by TCP.
const LOSS: f64 = 0.05;
/// With fewer probes a share says nothing.
const PROBES_LEAST: u64 = 30;
/// So many times down in an hour is too often.
const DOWNS_LEAST: usize = 4;
/// Bits a second that AWS carries in one tunnel, and the share of it that is worth knowing of.
const RATE_MAX: u64 = 1_250_000_000;
const RATE_SHARE: u64 = 80;
/// So many goodbyes in an hour are too many.
const GOODBYES_LEAST: usize = 3;

pub(super) const PROBE_LOST: Known = daemon(
    Code::TunProbeLost,
    Stage::Tunnel,
    &[16, 34],
    "The SAs are up, and a ping of AWS's inside address is not answered.",
);
pub(super) const DATA_PLANE: Known =
    daemon(Code::TunDataPlane, Stage::Tunnel, &[], "The tunnel does not start, or stops.");

pub(super) const WAITING: Known = Known {
    code: "TUN-WAITING",
    stage: Stage::Tunnel,
    severity: Severity::Info,
    symptoms: &[16],
    title: "The SAs are up, and AWS's inside address has not answered yet",
    symptom: "The tunnel came up a moment ago.",
    cause: "The first probe is on its way.",
    remedy: "Wait a few seconds and look again.",
    aws_log: None,
};

pub(super) const NO_PROBE: Known = Known {
    code: "TUN-NO-PROBE",
    stage: Stage::Tunnel,
    severity: Severity::Warning,
    symptoms: &[30],
    title: "The tunnel has no inside address, so nothing keeps it busy",
    symptom: "The tunnel goes down when it is idle, and a dead way is noticed late.",
    cause: "AWS takes an idle tunnel down (DPD with the action `clear`). Usually an echo request every second keeps it up and watches it; without inside addresses there is nobody to ask.",
    remedy: "Add the inside addresses of the tunnel to the configuration: import the Generic download or describe-vpn-connections output, which name them.",
    aws_log: Some("AWS tunnel is sending DELETE"),
};

pub(super) const LOSSY: Known = Known {
    code: "TUN-LOSS",
    stage: Stage::Tunnel,
    severity: Severity::Warning,
    symptoms: &[34],
    title: "Packets are lost in the tunnel",
    symptom: "Everything works, slowly.",
    cause: "The internet access is full or faulty, or this machine drops packets.",
    remedy: "Compare with a ping of the outside address and of another internet host; look at the queue counters in `cgwd status`. Traffic moves to the other tunnel when the loss is total.",
    aws_log: None,
};

pub(super) const TOO_BIG: Known = Known {
    code: "TUN-TOO-BIG",
    stage: Stage::Tunnel,
    severity: Severity::Warning,
    symptoms: &[19],
    title: "Packets that do not fit the tunnel are refused",
    symptom: "Small packets pass, large ones hang.",
    cause: "Packets larger than the tunnel's MTU have the Don't Fragment bit set, the configuration forbids to clear it or to clamp the MSS, and senders that ignore the ICMP answer hang.",
    remedy: "Set clear_df = true and clamp_mss = true for the tunnel (the defaults), or allow ICMP \"fragmentation needed\" through the LAN's firewalls.",
    aws_log: None,
};

pub(super) const FLAPPING: Known = Known {
    code: "TUN-FLAPPING",
    stage: Stage::Tunnel,
    severity: Severity::Warning,
    symptoms: &[11, 30, 33],
    title: "The tunnel goes up and down",
    symptom: "Short interruptions again and again.",
    cause: "The way to AWS is cut again and again, or the SAs are refused when they are renewed.",
    remedy: "Read what came before each TUNNEL-DOWN in `cgwd events`: PEER-DELETED is AWS's doing, TUN-PROBE-LOST and IKE-LIVENESS-LOST the way's, IPSEC-NO-PROPOSAL a rekey's.",
    aws_log: Some("DPD timed out after 3 retransmits"),
};

pub(super) const GOODBYES: Known = Known {
    code: "TUN-DELETED-OFTEN",
    stage: Stage::Tunnel,
    severity: Severity::Warning,
    symptoms: &[13, 30],
    title: "AWS deletes the tunnel again and again",
    symptom: "Short interruptions again and again, each after an orderly goodbye of AWS's.",
    cause: "The tunnel options are being changed, AWS replaces endpoints, another gateway with the same identity connects (each new connection ends the old one), or the tunnel is idle.",
    remedy: "Look for a second gateway with this configuration; look into the maintenance notices of the connection and the AWS tunnel log.",
    aws_log: Some("AWS tunnel is sending DELETE"),
};

pub(super) const RATE: Known = Known {
    code: "TUN-RATE",
    stage: Stage::Tunnel,
    severity: Severity::Info,
    symptoms: &[],
    title: "The tunnel carries nearly as much as AWS takes",
    symptom: "Throughput does not rise any further, with losses in bursts.",
    cause: "AWS carries at most 1.25 Gbit/s in one tunnel, and drops the rest without telling anybody (5 Gbit/s with TunnelBandwidth=large).",
    remedy: "Behind a transit gateway use several tunnels at once: multipath = true for a BGP connection whose VpnEcmpSupport is on, or more connections, or TunnelBandwidth=large (5 Gbit/s a tunnel). A virtual private gateway has no such means; consider Direct Connect.",
    aws_log: None,
};

pub(super) fn examine(facts: &Facts, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    for line in lines {
        failing(line, findings);
        let idle = line.config.is_some_and(|(_, tunnel)| tunnel.inside.is_empty());
        if idle {
            findings.push(NO_PROBE.found().at(&line.label));
        }
        quality(line, findings);
        often(facts, line, findings);
        if let Some(rate) =
            facts.measured.rate.get(&line.outside).filter(|rate| **rate * 100 > RATE_MAX * RATE_SHARE)
        {
            let seen = format!("{} Mbit/s just now", rate / 1_000_000);
            findings.push(RATE.found().at(&line.label).seen(seen));
        }
    }
}

fn failing(line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some((_, tunnel)) = line.status else { return };
    let told = line.failing();
    for known in [&DATA_PLANE, &PROBE_LOST] {
        if let Some((_, text)) = told.filter(|(code, _)| *code == known.code) {
            findings.push(known.found().at(&line.label).seen(text));
            return;
        }
    }
    let waits = matches!(tunnel.stage, api::Stage::Ipsec | api::Stage::Tunnel);
    let blocked = told.is_some_and(|(code, _)| code == super::ipsec::ESP_BLOCKED.code);
    if waits && !blocked {
        let seen = format!("at stage {} for {:.0} s", tunnel.stage.name(), tunnel.since_seconds);
        let finding = WAITING.found().at(&line.label).seen(seen);
        findings.push(if tunnel.since_seconds > ANSWER_SECONDS {
            finding.rated(Severity::Error).first_do(
                "Compare the inside addresses with the tunnel's inside CIDR at AWS, and see `cgwd events`",
            )
        } else {
            finding
        });
    }
}

fn quality(line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some((_, tunnel)) = line.status.filter(|_| line.up()) else { return };
    if let Some(probe) = tunnel.probe.filter(|probe| probe.sent >= PROBES_LEAST && probe.loss_ratio > LOSS) {
        let seen =
            format!("{:.0} % of the last minute's echo requests are unanswered", probe.loss_ratio * 100.0);
        findings.push(LOSSY.found().at(&line.label).seen(seen));
    }
    let forbids = line.config.is_some_and(|(_, config)| !config.clear_df || !config.clamp_mss);
    let refused = tunnel.child.as_ref().map_or(0, |child| child.drops.mtu);
    if refused > 0 && forbids {
        let seen = format!("{refused} packets did not fit the MTU of {}", tunnel.mtu);
        findings.push(TOO_BIG.found().at(&line.label).seen(seen));
    }
}

fn often(facts: &Facts, line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some((connection, tunnel)) = line.status else { return };
    let whose = Some((connection.id.as_str(), tunnel.name.as_str()));
    let count = |code| history::recent(facts, code, whose).count();
    let goodbyes = count("PEER-DELETED");
    if goodbyes >= GOODBYES_LEAST {
        let seen = format!("{goodbyes} times in the last hour");
        findings.push(GOODBYES.found().at(&line.label).seen(seen));
        return;
    }
    // What an operator did is no flapping.
    let downs = count("TUNNEL-DOWN").saturating_sub(count("TUNNEL-RESET"));
    if downs >= DOWNS_LEAST {
        let seen = format!("down {downs} times in the last hour");
        findings.push(FLAPPING.found().at(&line.label).seen(seen));
    }
}
