//! Stage host: the configuration file. It works before the daemon was ever started.

use std::fmt::Write as _;

use super::facts::{Configuration, Problem};
use super::known::{Known, daemon};
use super::{Facts, Finding, Severity, Stage, history};
use crate::catalog;

pub(super) const CODES: &[&Known] = &[&ABSENT, &INVALID, &KEY, &MODE, &ADVICE, &REJECTED, &NOT_APPLIED];

pub(super) const ABSENT: Known = Known {
    code: "CONFIG-ABSENT",
    stage: Stage::Host,
    severity: Severity::Error,
    symptoms: &[],
    title: "There is no configuration",
    symptom: "The daemon was never started, or it ends at once.",
    cause: "Nothing was imported yet, or the file has another name.",
    remedy: "Write it with `cgwd import FILE --lan CIDR --output /etc/cgwd/cgwd.toml`, or name another file with --config.",
    aws_log: None,
};

pub(super) const INVALID: Known = Known {
    code: "CONFIG-INVALID",
    stage: Stage::Host,
    severity: Severity::Error,
    symptoms: &[27],
    title: "The configuration cannot be run",
    symptom: "The daemon ends at once, or a reload is refused.",
    cause: "The file breaks a rule of its own or one of AWS's; nothing starts before it is mended.",
    remedy: "Run `cgwd check`, which shows the lines, and correct them.",
    aws_log: None,
};

pub(super) const KEY: Known = Known {
    code: "CONFIG-KEY",
    stage: Stage::Host,
    severity: Severity::Error,
    symptoms: &[5],
    title: "A pre-shared key cannot be used",
    symptom: "The daemon ends at once, or AUTHENTICATION_FAILED.",
    cause: "The file that holds the key is missing or unreadable, is empty, or has blanks around the key.",
    remedy: "Put the key alone into the file that the configuration names, without blanks, readable by the daemon's user.",
    aws_log: None,
};

pub(super) const MODE: Known = Known {
    code: "CONFIG-MODE",
    stage: Stage::Host,
    severity: Severity::Warning,
    symptoms: &[],
    title: "Others can read the pre-shared keys",
    symptom: "Nobody notices, and that is the trouble.",
    cause: "The configuration holds keys, and its mode lets other users of this machine read it.",
    remedy: "Take the permission away.",
    aws_log: None,
};

pub(super) const ADVICE: Known = Known {
    code: "CONFIG-ADVICE",
    stage: Stage::Host,
    severity: Severity::Info,
    symptoms: &[],
    title: "The configuration works, and could be better",
    symptom: "`cgwd check` prints a warning.",
    cause: "Something in the file is allowed but not advised.",
    remedy: "See `cgwd check --explain`.",
    aws_log: None,
};

pub(super) const REJECTED: Known = Known {
    severity: Severity::Warning,
    ..daemon(catalog::Code::ConfigRejected, Stage::Host, &[], "A change in the file has no effect.")
};

pub(super) const NOT_APPLIED: Known = Known {
    code: "CONFIG-NOT-APPLIED",
    stage: Stage::Host,
    severity: Severity::Info,
    symptoms: &[],
    title: "The file and the running daemon differ",
    symptom: "A change in the file has no effect.",
    cause: "Tunnels stand in the file that the daemon does not run, or the other way round.",
    remedy: "Apply the file with `cgwd reload`.",
    aws_log: None,
};

pub(super) fn examine(facts: &Facts, findings: &mut Vec<Finding>) {
    match &facts.configuration {
        Configuration::Absent { path } if facts.running().is_none() => {
            findings.push(ABSENT.found().seen(format!("{} does not exist", path.display())));
        }
        // The daemon has one, which was not found; nothing can be said about it.
        Configuration::Absent { .. } => {}
        Configuration::Broken { path, problems } => {
            findings.push(INVALID.found().seen(describe(&path.display().to_string(), problems)));
        }
        Configuration::Loaded { path, warnings, .. } => {
            for warning in warnings {
                let known = if warning.code == "CFG-MODE" { &MODE } else { &ADVICE };
                let place = describe(&path.display().to_string(), std::slice::from_ref(warning));
                let mut finding = known.found().seen(place);
                if !warning.remedy.is_empty() {
                    finding = finding.first_do(&warning.remedy);
                }
                findings.push(finding);
            }
        }
    }
    keys(facts, findings);
    applied(facts, findings);
}

fn describe(path: &str, problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems.iter().take(5) {
        if !text.is_empty() {
            text.push_str("; ");
        }
        let _ = match problem.place {
            Some((line, column)) => write!(text, "{path}:{line}:{column}: "),
            None => write!(text, "{path}: "),
        };
        let _ = write!(text, "{} ({})", problem.what, problem.code);
    }
    if problems.len() > 5 {
        let _ = write!(text, "; and {} more", problems.len() - 5);
    }
    text
}

fn keys(facts: &Facts, findings: &mut Vec<Finding>) {
    // A daemon that runs has its keys, whatever this user may read.
    if facts.running().is_some() {
        return;
    }
    for (outside, why) in &facts.keys_missing {
        let label = facts.lines().iter().find(|line| line.outside == *outside).map(|line| line.label.clone());
        let mut finding = KEY.found().seen(why);
        finding.tunnel = label;
        findings.push(finding);
    }
}

fn applied(facts: &Facts, findings: &mut Vec<Finding>) {
    let last = facts.events().iter().rev().find(|event| {
        ["CONFIG-REJECTED", "CONFIG-RELOADED", "DAEMON-STARTED"].contains(&event.code.as_str())
    });
    if let Some(event) = last.filter(|event| event.code == REJECTED.code) {
        let age = history::age(facts, event).map_or_else(String::new, |age| format!(" {} s ago", age / 1000));
        findings.push(REJECTED.found().seen(format!("refused{age}: {}", event.text)));
        return;
    }
    if facts.running().is_none() || facts.config().is_none() {
        return;
    }
    let lines = facts.lines();
    let differ: Vec<&str> = lines
        .iter()
        .filter(|line| line.config.is_some() != line.status.is_some())
        .map(|line| line.label.as_str())
        .collect();
    if !differ.is_empty() {
        findings.push(NOT_APPLIED.found().seen(format!("on one side only: {}", differ.join(", "))));
    }
}
