//! `[[hook]]`: a program with arguments, and what it is told of.

use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Reader, one_of};
use crate::{Diagnostic, Hook, HookEvent};

/// How long a hook may run unless the file says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that it may be allowed.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// Hooks in one file at most.
pub(super) const MAX_HOOKS: usize = 32;

/// One hook; `None` when something is wrong with it, which was reported.
pub(super) fn hook(reader: &mut Reader<'_, '_>) -> Option<Hook> {
    reader.require("on");
    reader.require("run");
    let on = events(reader);
    let run = program(reader);
    let range = Duration::from_millis(100)..=MAX_TIMEOUT;
    let timeout = reader.duration("timeout", range).map_or(DEFAULT_TIMEOUT, |at| at.value);
    Some(Hook { on: on?, run: run?, timeout })
}

fn events(reader: &mut Reader<'_, '_>) -> Option<Vec<HookEvent>> {
    let words = HookEvent::ALL.map(HookEvent::name);
    let items = reader.list("on")?;
    let mut found = Vec::new();
    for (item, span) in items {
        let DeValue::String(text) = item else {
            reader.bad(span, "`on` must be a list of strings", format!("choose among {}", one_of(&words)));
            continue;
        };
        match HookEvent::ALL.into_iter().find(|event| event.name() == text.as_ref()) {
            Some(event) if found.contains(&event) => {}
            Some(event) => found.push(event),
            None => reader.bad(
                span,
                "`on` has a word that is no event",
                format!("choose among {}", one_of(&words)),
            ),
        }
    }
    if reader.is_empty_list("on") {
        let span = reader.span_of("on").unwrap_or(0..0);
        reader.bad(
            span,
            "`on` is empty, so the hook would never run",
            format!("choose among {}", one_of(&words)),
        );
    }
    (!found.is_empty()).then_some(found)
}

fn program(reader: &mut Reader<'_, '_>) -> Option<Vec<String>> {
    // The slip that everybody makes: a command line.
    if reader.is_string("run") {
        let span = reader.span_of("run").unwrap_or(0..0);
        let remedy = "write `run = [\"/path/to/program\", \"argument\"]`; for a shell, say so: [\"/bin/sh\", \"-c\", \"…\"]";
        let finding =
            Diagnostic::error("CFG-TYPE", "`run` must be a list: the program and its arguments", remedy);
        reader.push(finding.at(span, "").because("no shell splits it into words"));
        return None;
    }
    let span = reader.span_of("run").unwrap_or(0..0);
    let items = reader.list("run")?;
    let mut words = Vec::new();
    for (item, span) in items {
        match item {
            DeValue::String(text) if !text.contains('\0') => words.push(text.as_ref().to_owned()),
            _ => reader.bad(span, "`run` must be a list of strings", "put each argument between quotes"),
        }
    }
    match words.first() {
        Some(program) if program.starts_with('/') => Some(words),
        Some(_) => {
            reader.bad(
                span,
                "the program of `run` has no absolute path",
                "start it with /, as in \"/usr/local/sbin/tell\"",
            );
            None
        }
        None => {
            reader.bad(span, "`run` names no program", "write `run = [\"/path/to/program\", \"argument\"]`");
            None
        }
    }
}
