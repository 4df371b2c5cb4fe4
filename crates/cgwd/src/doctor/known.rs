//! What is known about a code of the doctor, and all codes together.
//!
//! The texts stand beside the checks, one table per stage; codes that the daemon reports too (`last_error`, events)
//! take theirs from the [`catalog`]. `docs/troubleshooting.md` is printed from here.

use super::{
    Finding, Severity, Stage, aws, configuration, host, ike, ipsec, path, redundancy, routing, tunnel,
    underlay,
};
use crate::catalog;

/// What is known about a code.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The stable name.
    pub code: &'static str,
    /// Where in the ladder.
    pub stage: Stage,
    /// How bad it usually is.
    pub severity: Severity,
    /// The numbers of the symptoms in [`super::symptoms`] that it explains.
    pub symptoms: &'static [u8],
    /// One line.
    pub title: &'static str,
    /// What somebody notices.
    pub symptom: &'static str,
    /// Why it happens.
    pub cause: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// The line to look for in the AWS tunnel activity log.
    pub aws_log: Option<&'static str>,
}

impl Known {
    /// A finding with these texts.
    pub(super) fn found(&self) -> Finding {
        Finding {
            code: self.code.to_owned(),
            stage: self.stage,
            severity: self.severity,
            tunnel: None,
            title: self.title.to_owned(),
            cause: self.cause.to_owned(),
            remedy: self.remedy.to_owned(),
            aws_log: self.aws_log.map(str::to_owned),
            because_of: None,
        }
    }
}

/// A code that the daemon reports too.
pub(super) const fn daemon(
    code: catalog::Code,
    stage: Stage,
    symptoms: &'static [u8],
    symptom: &'static str,
) -> Known {
    let entry = code.entry();
    Known {
        code: entry.code,
        stage,
        severity: match entry.severity {
            catalog::Severity::Error => Severity::Error,
            catalog::Severity::Warning => Severity::Warning,
            catalog::Severity::Info => Severity::Info,
        },
        symptoms,
        title: entry.title,
        symptom,
        cause: entry.cause,
        remedy: entry.remedy,
        aws_log: entry.aws_log,
    }
}

/// All codes, in the order of the ladder.
pub fn all() -> impl Iterator<Item = &'static Known> {
    [
        configuration::CODES,
        host::CODES,
        underlay::CODES,
        ike::CODES,
        ipsec::CODES,
        tunnel::CODES,
        routing::CODES,
        path::CODES,
        redundancy::CODES,
        aws::CODES,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The code with this name.
pub fn find(code: &str) -> Option<&'static Known> {
    all().find(|known| known.code == code)
}
