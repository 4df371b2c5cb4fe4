//! What a run of the benchmarks found, as it is kept in JSON: every sample of every round, and what it must be read
//! with. Tables and pictures are made from this alone.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::contender::Kind;
use super::machine::{self, Machine};
use super::rig::Mode;

/// The test under which resident memory is kept.
pub(super) const MEMORY: &str = "memory";
/// The name of the test of bare raw sockets.
pub(super) const FLOOR: &str = "floor_protocol_50";

/// One whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// When it began, UTC.
    pub date: String,
    /// The commit that was measured.
    pub commit: String,
    /// Files differed from that commit.
    pub modified: bool,
    /// A short run, to see that everything works; its figures are not for publication.
    pub quick: bool,
    /// How often everything was measured, interleaved.
    pub rounds: u32,
    /// Where.
    pub machine: Machine,
    /// `ethtool -k` of the link between the gateways, by mode.
    pub offloads: BTreeMap<Mode, Vec<String>>,
    /// What was measured, with versions.
    pub versions: BTreeMap<Kind, String>,
    /// Every measurement.
    pub samples: Vec<Sample>,
    /// What could not be measured, and why.
    pub failures: Vec<Failure>,
}

/// One measurement of one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// From one.
    pub round: u32,
    /// What the links did.
    pub mode: Mode,
    /// Who was measured.
    pub kind: Kind,
    /// What was measured: `tcp1_up`, `udp_64`, ...
    pub test: String,
    /// Named figures.
    pub values: BTreeMap<String, f64>,
}

/// A measurement that did not come about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// From one.
    pub round: u32,
    /// What the links did.
    pub mode: Mode,
    /// Who was measured.
    pub kind: Kind,
    /// What was measured; `start` when the gateways did not come up.
    pub test: String,
    /// Why not.
    pub error: String,
}

/// Median and extremes over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stat {
    /// The middle one; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Stat {
    /// `None` of nothing.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let high = *values.get(middle)?;
        let low = if values.len().is_multiple_of(2) { *values.get(middle - 1)? } else { high };
        Some(Self { median: f64::midpoint(low, high), min, max })
    }
}

impl Run {
    pub(super) fn begin(quick: bool, rounds: u32) -> Self {
        let ask = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments);
            machine::said(command).unwrap_or_default()
        };
        Self {
            date: ask("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            commit: ask("git", &["rev-parse", "--short=12", "HEAD"]),
            modified: !ask("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty(),
            quick,
            rounds,
            machine: Machine::look(),
            offloads: BTreeMap::new(),
            versions: BTreeMap::new(),
            samples: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Adds a run of the same commit that measured something else.
    ///
    /// # Errors
    /// When it is of another commit, or a quick one, or measured the same again. Memory is looked at in every run, and
    /// the most that any saw counts.
    pub(super) fn join(&mut self, other: Self) -> Result<()> {
        if (&self.commit, self.quick) != (&other.commit, other.quick) {
            bail!("runs of different commits or lengths do not belong into one table");
        }
        let (memory, rest) = other.samples.into_iter().partition::<Vec<_>, _>(|sample| sample.test == MEMORY);
        let same = |a: &Sample, b: &Sample| (a.mode, a.kind, &a.test) == (b.mode, b.kind, &b.test);
        if let Some(twice) = rest.iter().find(|b| self.samples.iter().any(|a| same(a, b))) {
            bail!("both runs measured {} of {}", twice.test, twice.kind.name());
        }
        self.modified |= other.modified;
        self.offloads.extend(other.offloads);
        self.versions.extend(other.versions);
        self.rounds = self.rounds.max(other.rounds);
        self.samples.extend(rest);
        for sample in memory {
            self.remember(sample);
        }
        self.failures.extend(other.failures);
        Ok(())
    }

    /// Adds memory figures to those of the same contender in the same round, the larger ones being kept.
    fn remember(&mut self, sample: Sample) {
        let known = self.samples.iter_mut().find(|known| {
            (known.round, known.mode, known.kind, known.test.as_str())
                == (sample.round, sample.mode, sample.kind, MEMORY)
        });
        let Some(known) = known else { return self.samples.push(sample) };
        for (name, value) in sample.values {
            let kept = known.values.entry(name).or_insert(value);
            *kept = kept.max(value);
        }
    }

    /// Median and extremes of one figure.
    pub fn stat(&self, mode: Mode, kind: Kind, test: &str, value: &str) -> Option<Stat> {
        let samples = self.samples.iter().filter(|s| s.mode == mode && s.kind == kind && s.test == test);
        Stat::of(samples.filter_map(|sample| sample.values.get(value).copied()).collect())
    }

    /// The makes that were measured in a mode, in the order of the tables.
    pub fn kinds(&self, mode: Mode) -> Vec<Kind> {
        let measured =
            |kind: &Kind| self.samples.iter().any(|sample| sample.mode == mode && sample.kind == *kind);
        self.versions.keys().copied().filter(measured).collect()
    }

    /// The modes that were measured.
    pub fn modes(&self) -> Vec<Mode> {
        Mode::BOTH.into_iter().filter(|&mode| self.samples.iter().any(|sample| sample.mode == mode)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_with(test: &str, value: f64) -> Run {
        let mut run = Run::begin(false, 1);
        run.samples.push(Sample {
            round: 1,
            mode: Mode::Default,
            kind: Kind::Cgwd,
            test: test.to_owned(),
            values: BTreeMap::from([("highest_mib".to_owned(), value)]),
        });
        run
    }

    #[test]
    fn partial_runs_join_with_the_most_memory_that_any_of_them_saw() {
        let mut run = run_with(MEMORY, 5.0);
        run.join(run_with(MEMORY, 7.0)).unwrap();
        run.join(run_with(MEMORY, 6.0)).unwrap();
        run.join(run_with("tcp1_up", 1.0)).unwrap();
        assert_eq!(run.samples.len(), 2);
        assert_eq!(run.stat(Mode::Default, Kind::Cgwd, MEMORY, "highest_mib").unwrap().max, 7.0);
        assert!(run.join(run_with("tcp1_up", 2.0)).is_err(), "a figure measured twice is no join");
    }

    #[test]
    fn a_median_is_the_middle_of_the_rounds() {
        let stat = Stat::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!(stat, Stat { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Stat::of(vec![4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Stat::of(Vec::new()), None);
    }
}
