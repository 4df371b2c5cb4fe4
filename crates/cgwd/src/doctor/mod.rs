//! `cgwd doctor`: what is wrong, why, and what to do, stage by stage.
//!
//! [`facts`] is everything that was looked at, as values; [`examine`] turns it into findings and is pure, one file
//! per stage; [`collect`] looks, reading files and asking the kernel and the daemon, and changes nothing. The
//! stages are AWS's own troubleshooting ladder (IKE, IPsec, tunnel, BGP) with the host and the path below it and
//! redundancy and AWS's own view above. A key is compared and never shown.

mod aws;
pub mod aws_json;
pub mod collect;
mod configuration;
pub mod docs;
pub mod facts;
mod fold;
mod history;
mod host;
mod ike;
mod ipsec;
pub mod known;
pub mod measure;
mod path;
mod redundancy;
pub mod render;
mod routing;
pub mod symptoms;
mod tunnel;
mod underlay;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use facts::Facts;
pub use known::Known;

/// The version of [`Report`]'s shape.
pub const SCHEMA: u32 = 1;

/// Where in the ladder a finding belongs; each rung stands on the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// This machine and the configuration file.
    Host,
    /// The way to AWS's outside addresses.
    Underlay,
    /// Phase 1.
    Ike,
    /// Phase 2, and the encrypted packets themselves.
    Ipsec,
    /// AWS's inside address.
    Tunnel,
    /// Routes and BGP.
    Routing,
    /// How many of the ways to AWS work.
    Redundancy,
    /// What AWS says of itself.
    Aws,
}

impl Stage {
    /// All, from the bottom up.
    pub const ALL: [Self; 8] = [
        Self::Host,
        Self::Underlay,
        Self::Ike,
        Self::Ipsec,
        Self::Tunnel,
        Self::Routing,
        Self::Redundancy,
        Self::Aws,
    ];

    /// The word used in JSON and on the screen.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Underlay => "underlay",
            Self::Ike => "ike",
            Self::Ipsec => "ipsec",
            Self::Tunnel => "tunnel",
            Self::Routing => "routing",
            Self::Redundancy => "redundancy",
            Self::Aws => "aws",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// It works, but not as it should.
    Warning,
    /// It does not work.
    Error,
}

impl Severity {
    /// The word used in JSON and on the screen.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One finding, as in `doctor --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable; `docs/troubleshooting.md` has each.
    pub code: String,
    /// Where in the ladder.
    pub stage: Stage,
    /// How bad.
    pub severity: Severity,
    /// The tunnel it concerns (`CONNECTION/NAME` where there are several connections); `null` for all.
    pub tunnel: Option<String>,
    /// One line.
    pub title: String,
    /// What was seen, and why that happens.
    pub cause: String,
    /// What to do.
    pub remedy: String,
    /// The line to look for in the AWS tunnel activity log.
    pub aws_log: Option<String>,
    /// The code of the finding that this one follows from.
    pub because_of: Option<String>,
}

impl Finding {
    /// Concerns this tunnel only.
    #[must_use]
    fn at(mut self, tunnel: impl Into<String>) -> Self {
        self.tunnel = Some(tunnel.into());
        self
    }

    /// Says what was seen, before the general cause.
    #[must_use]
    fn seen(mut self, what: impl AsRef<str>) -> Self {
        let what = what.as_ref().trim_end_matches('.');
        if !what.is_empty() {
            self.cause =
                if self.cause.is_empty() { format!("{what}.") } else { format!("{what}. {}", self.cause) };
        }
        self
    }

    /// A more exact remedy, before the general one.
    #[must_use]
    fn first_do(mut self, what: impl AsRef<str>) -> Self {
        let what = what.as_ref().trim_end_matches('.');
        self.remedy =
            if self.remedy.is_empty() { format!("{what}.") } else { format!("{what}. {}", self.remedy) };
        self
    }

    /// As bad as this, here.
    #[must_use]
    fn rated(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Follows from the finding with this code.
    #[must_use]
    fn because(mut self, known: &Known) -> Self {
        self.because_of = Some(known.code.to_owned());
        self
    }

    /// Whether its code is this one.
    fn is(&self, known: &Known) -> bool {
        self.code == known.code
    }
}

/// `doctor --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// Root causes first, each followed by what follows from it.
    pub findings: Vec<Finding>,
}

impl Report {
    /// 0 when nothing is worse than worth knowing, else 1.
    pub fn exit_status(&self) -> u8 {
        u8::from(self.findings.iter().any(|finding| finding.severity > Severity::Info))
    }
}

/// What follows from the facts, root cause first.
pub fn examine(facts: &Facts) -> Report {
    let lines = facts.lines();
    let mut findings = Vec::new();
    configuration::examine(facts, &mut findings);
    host::examine(facts, &lines, &mut findings);
    underlay::examine(facts, &lines, &mut findings);
    ike::examine(&lines, &mut findings);
    ipsec::examine(facts, &lines, &mut findings);
    tunnel::examine(facts, &lines, &mut findings);
    routing::examine(facts, &lines, &mut findings);
    path::examine(facts, &lines, &mut findings);
    redundancy::examine(facts, &lines, &mut findings);
    aws::examine(facts, &lines, &mut findings);
    for finding in &mut findings {
        name_the_connection(finding, &lines);
    }
    Report { schema: SCHEMA, findings: fold::root_cause_first(findings, &lines) }
}

/// AWS's commands, ready to be copied: the connection and the tunnel's outside address stand in them.
fn name_the_connection(finding: &mut Finding, lines: &[facts::Line<'_>]) {
    let line = match &finding.tunnel {
        Some(tunnel) => lines.iter().find(|line| line.label == *tunnel),
        // Of several connections a finding without a tunnel may be about any.
        None => lines.first().filter(|first| lines.iter().all(|line| line.connection == first.connection)),
    };
    let Some(line) = line.filter(|line| line.connection.starts_with("vpn-")) else { return };
    for flag in ["--vpn-connection-id", "--vpn-connection-ids"] {
        finding.remedy =
            finding.remedy.replace(&format!("{flag} ID"), &format!("{flag} {}", line.connection));
    }
    if finding.tunnel.is_some() {
        let flag = "--vpn-tunnel-outside-ip-address";
        finding.remedy =
            finding.remedy.replace(&format!("{flag} ADDRESS"), &format!("{flag} {}", line.outside));
    }
}
