//! The doctor's screen. Pure: values in, text out.

use std::fmt::Write as _;

use super::{Facts, Finding, Report, Severity, Stage};
use crate::api;
use crate::paint::Paint;

/// Columns of the screen.
const WIDTH: usize = 96;
/// Where the text behind a label begins.
const INDENT: usize = 10;

/// The whole screen: the first cause, the others, and the ladder.
pub fn screen(report: &Report, facts: &Facts, colour: bool) -> String {
    let paint = Paint { colour };
    let mut text = String::new();
    heading(&mut text, report, paint);
    let (told, info): (Vec<&Finding>, Vec<&Finding>) =
        report.findings.iter().partition(|finding| finding.severity > Severity::Info);
    let mut before: Option<&Finding> = None;
    for finding in told {
        if before.is_some() && finding.because_of.is_none() {
            text.push('\n');
        }
        let repeated =
            before.is_some_and(|before| before.code == finding.code && before.remedy == finding.remedy);
        self::finding(&mut text, finding, repeated, paint);
        before = Some(finding);
    }
    if before.is_some() {
        text.push('\n');
    }
    worth_knowing(&mut text, &info, paint);
    ladder(&mut text, report, facts, paint);
    text
}

/// One line per code, with all tunnels that it concerns.
fn worth_knowing(text: &mut String, info: &[&Finding], paint: Paint) {
    if info.is_empty() {
        return;
    }
    let _ = writeln!(text, "{}", paint.bold("Worth knowing"));
    let mut told: Vec<&str> = Vec::new();
    for finding in info {
        if told.contains(&finding.code.as_str()) {
            continue;
        }
        told.push(&finding.code);
        let same = info.iter().filter(|other| other.code == finding.code);
        let tunnels: Vec<&str> = same.filter_map(|other| other.tunnel.as_deref()).collect();
        let whom = if tunnels.is_empty() { String::new() } else { format!("{}: ", tunnels.join(", ")) };
        wrapped(text, "  ", 4, &format!("{whom}{}: {}", finding.code, finding.title));
    }
    text.push('\n');
}

fn heading(text: &mut String, report: &Report, paint: Paint) {
    let roots = |severity| {
        report.findings.iter().filter(|f| f.severity == severity && f.because_of.is_none()).count()
    };
    let (errors, warnings) = (roots(Severity::Error), roots(Severity::Warning));
    let line = match (errors, warnings) {
        (0, 0) => paint.green("Healthy: nothing to do."),
        (0, n) => paint.yellow(&format!("It works; {n} thing{} to look at.", plural(n))),
        (n, 0) => paint.red(&format!("{n} cause{} of trouble.", plural(n))),
        (n, m) => paint.red(&format!("{n} cause{} of trouble, and {m} more to look at.", plural(n))),
    };
    let _ = writeln!(text, "{line}\n");
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn whom(finding: &Finding) -> String {
    finding.tunnel.as_ref().map_or_else(String::new, |tunnel| format!("{tunnel}  "))
}

fn finding(text: &mut String, finding: &Finding, repeated: bool, paint: Paint) {
    let mark = painted(finding.severity, mark(Some(finding.severity)), paint);
    let headline = format!("{}{}: {}", whom(finding), finding.code, finding.title);
    if let Some(root) = &finding.because_of {
        wrapped(text, &format!("  {mark} "), 4, &format!("{headline} (because of {root})"));
        return;
    }
    let _ = writeln!(text, "{mark} {}", paint.bold(&headline));
    labelled(text, "cause", &finding.cause);
    if repeated {
        labelled(text, "remedy", "as above");
    } else {
        labelled(text, "remedy", &finding.remedy);
        if let Some(line) = &finding.aws_log {
            labelled(text, "AWS log", &format!("\"{line}\""));
        }
    }
}

fn labelled(text: &mut String, label: &str, body: &str) {
    if !body.is_empty() {
        wrapped(text, &format!("  {label:<w$}", w = INDENT - 2), INDENT, body);
    }
}

/// Wraps at blanks; a long command stays in one piece.
fn wrapped(text: &mut String, first: &str, indent: usize, body: &str) {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in body.split_whitespace() {
        let length = line.chars().count();
        if !empty && length + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

const fn mark(worst: Option<Severity>) -> &'static str {
    match worst {
        Some(Severity::Error) => "✗",
        Some(Severity::Warning) => "!",
        Some(Severity::Info) | None => "✓",
    }
}

/// One rung per stage, from the bottom up as AWS's guide reads: what was looked at, and how it stands.
fn ladder(text: &mut String, report: &Report, facts: &Facts, paint: Paint) {
    for stage in Stage::ALL {
        let worst = report
            .findings
            .iter()
            .filter(|f| f.stage == stage && f.severity > Severity::Info)
            .map(|f| f.severity)
            .max();
        let (mark, what) = if let Some(worst) = worst {
            (painted(worst, mark(Some(worst)), paint), codes(report, stage))
        } else if let Some(why) = not_looked_at(stage, facts) {
            ("-".to_owned(), why)
        } else {
            (paint.green("✓"), standing(stage, facts))
        };
        let _ = writeln!(text, "{mark} {:<11} {what}", stage.name());
    }
}

fn codes(report: &Report, stage: Stage) -> String {
    let mut codes: Vec<String> = report
        .findings
        .iter()
        .filter(|f| f.stage == stage && f.severity > Severity::Info)
        .map(|f| format!("{}{}", whom(f), f.code))
        .collect();
    codes.dedup();
    codes.join(", ")
}

fn not_looked_at(stage: Stage, facts: &Facts) -> Option<String> {
    let elsewhere = "not looked at: the daemon lives in another network namespace";
    match stage {
        Stage::Host => None,
        Stage::Underlay if facts.host.is_none() => Some(elsewhere.to_owned()),
        Stage::Underlay if facts.lines().is_empty() => Some("no tunnel is configured".to_owned()),
        Stage::Underlay => None,
        Stage::Redundancy if facts.config().is_some() || facts.running().is_some() => None,
        Stage::Aws if facts.aws.is_none() => {
            Some("not looked at: give --aws-json FILE (aws ec2 describe-vpn-connections)".to_owned())
        }
        Stage::Aws => None,
        _ if facts.running().is_none() => Some("the daemon does not run".to_owned()),
        _ if facts.lines().iter().all(|line| reached(line.stage()) < stage) => Some("not reached".to_owned()),
        _ => None,
    }
}

/// The highest rung that a tunnel stands on or is trying.
const fn reached(stage: Option<api::Stage>) -> Stage {
    match stage {
        None => Stage::Host,
        Some(api::Stage::Down) => Stage::Ike,
        Some(api::Stage::Ike | api::Stage::Ipsec) => Stage::Ipsec,
        Some(api::Stage::Tunnel) => Stage::Tunnel,
        Some(api::Stage::Bgp | api::Stage::Up) => Stage::Redundancy,
    }
}

/// A few words on a rung that is sound.
fn standing(stage: Stage, facts: &Facts) -> String {
    let lines = facts.lines();
    let tunnels = lines.iter().filter_map(|line| line.status.map(|(_, tunnel)| tunnel));
    let list = |words: Vec<String>| {
        let mut words = words;
        words.dedup();
        words.join("; ")
    };
    match stage {
        Stage::Host => "device, ports, capabilities, configuration".to_owned(),
        Stage::Underlay => list(
            lines
                .iter()
                .filter_map(|line| facts.host.as_ref()?.underlay.get(&line.outside)?.as_ref().ok())
                .map(|found| format!("over {}, MTU {}", found.interface, found.mtu))
                .collect(),
        ),
        Stage::Ike => list(tunnels.filter_map(|t| t.ike.as_ref()).map(|ike| ike.proposal.clone()).collect()),
        Stage::Ipsec => {
            list(tunnels.filter_map(|t| t.child.as_ref()).map(|child| child.proposal.clone()).collect())
        }
        Stage::Tunnel => list(
            tunnels
                .filter_map(|tunnel| Some((tunnel, tunnel.probe?.rtt_ms?)))
                .map(|(tunnel, rtt)| match facts.measured.mtu.get(&tunnel.outside_ip) {
                    Some(mtu) => {
                        format!("{} answers in {rtt:.1} ms, {} octets pass", tunnel.name, mtu.passes)
                    }
                    None => format!("{} answers in {rtt:.1} ms", tunnel.name),
                })
                .collect(),
        ),
        Stage::Routing => {
            let count = facts.running().map_or(0, |running| running.routes.routes.len());
            format!("{count} route{}", plural(count))
        }
        Stage::Redundancy => {
            let up = lines.iter().filter(|line| line.up()).count();
            if facts.running().is_some() {
                format!("{up} of {} tunnels up", lines.len())
            } else {
                format!("{} tunnels configured", lines.len())
            }
        }
        Stage::Aws => "its description fits".to_owned(),
    }
}

fn painted(severity: Severity, text: &str, paint: Paint) -> String {
    match severity {
        Severity::Error => paint.red(text),
        Severity::Warning => paint.yellow(text),
        Severity::Info => paint.green(text),
    }
}
