//! The benchmarks: us, the peers that can be installed, and plain forwarding, in turn, in one rig of namespaces.
//!
//! `cgwd-lab bench` measures in rounds: in each round every contender is started anew and does everything once, so
//! that a change of the machine's mood hits all of them. Medians and extremes over the rounds are what counts. It
//! never touches the machine's own network. Its tables and pictures are made from the kept JSON ([`results`]), so
//! that a publication can be remade without measuring again.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it reports to a terminal")]

mod chart;
mod contender;
mod machine;
mod measure;
mod report;
pub mod results;
mod rig;
mod tool;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use contender::{Kind, Programs, Running};
use measure::core::Core;
use measure::tcp::{Tcp, Way};
use measure::udp::{Bench, Load};
use measure::{Effort, Values, profile, rtt};
use results::{Failure, Run, Sample};
use rig::{Mode, Rig};

/// Where the results of a run are kept unless told otherwise.
const KEPT_IN: &str = "target/bench";
/// Share of the zero-loss rate at which round trips, loss and order are looked at.
const LOAD: f64 = 0.8;

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Part {
    /// Throughput.
    Tcp,
    /// Round trips, idle and beside a saturating TCP stream.
    Rtt,
    /// UDP at zero loss.
    Udp,
    /// Round trips, loss and order at 80 % of that.
    Load,
    /// What one core seals and opens (ours alone).
    Core,
    /// Where each nanosecond goes (ours alone; needs `perf`).
    Profile,
}

/// `cgwd-lab bench`.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// How often everything is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Short measurements, to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Measurements of half the length: an hour instead of two and a half.
    #[arg(long, conflicts_with = "quick")]
    brief: bool,
    /// Contenders, instead of all that are installed.
    #[arg(long, value_enum, value_delimiter = ',')]
    contenders: Vec<Kind>,
    /// What the links do with super-packets.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [ModeName(Mode::Default), ModeName(Mode::WireTrue)])]
    modes: Vec<ModeName>,
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "tcp,rtt,udp,load,core,profile")]
    parts: Vec<Part>,
    /// Seconds at 80 % load, instead of a few.
    #[arg(long)]
    load_seconds: Option<u64>,
    /// A wireguard-go built apart, measured beside the distribution's.
    #[arg(long, env = "CGWD_BENCH_WIREGUARD_GO")]
    wireguard_go: Option<PathBuf>,
    /// Where peers from crates.io were installed (`cargo install --root`).
    #[arg(long, default_value = "target/peers")]
    cargo_root: PathBuf,
    /// Where to keep the samples.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Write the tables and pictures to docs/performance.md.
    #[arg(long)]
    publish: bool,
    /// Do not measure: make the tables of a kept run, or of several that measured different things.
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
    #[command(subcommand)]
    tool: Option<tool::Tool>,
}

/// A [`Mode`] that can be a default on the command line.
#[derive(Clone, Copy, Debug)]
struct ModeName(Mode);

impl ValueEnum for ModeName {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self(Mode::Default), Self(Mode::WireTrue)]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()))
    }
}

impl std::fmt::Display for ModeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

/// Measures, keeps and prints; or runs one of the hidden tools.
///
/// # Errors
/// When nothing can be measured at all, or results cannot be kept. A contender that fails is reported and passed
/// over.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(tool) = &arguments.tool {
        return tool.run();
    }
    let mut run: Option<Run> = None;
    for path in &arguments.report {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let kept: Run =
            serde_json::from_slice(&text).with_context(|| format!("{} is no kept run", path.display()))?;
        match &mut run {
            Some(run) => run.join(kept)?,
            None => run = Some(kept),
        }
    }
    let run = match run {
        Some(run) => run,
        None => measure_all(arguments)?,
    };
    println!("{}", report::markdown(&run));
    if arguments.publish {
        report::publish(&run, Path::new("docs"))?;
        eprintln!("docs/performance.md and its pictures are written");
    }
    Ok(())
}

struct Session<'a> {
    arguments: &'a Arguments,
    programs: Programs,
    effort: Effort,
    run: Run,
    path: PathBuf,
}

/// Where in a run we are.
#[derive(Clone, Copy)]
struct Place {
    round: u32,
    mode: Mode,
    kind: Kind,
}

fn measure_all(arguments: &Arguments) -> Result<Run> {
    let run = Run::begin(arguments.quick, arguments.rounds);
    let path = arguments
        .output
        .clone()
        .unwrap_or_else(|| Path::new(KEPT_IN).join(format!("{}.json", run.date.replace([' ', ':'], "-"))));
    let mut effort = match (arguments.quick, arguments.brief) {
        (true, _) => Effort::QUICK,
        (false, true) => Effort::BRIEF,
        (false, false) => Effort::FULL,
    };
    effort.load_seconds = arguments.load_seconds.unwrap_or(effort.load_seconds);
    let programs = Programs {
        wireguard_go: arguments.wireguard_go.clone(),
        cargo_root: std::path::absolute(&arguments.cargo_root).ok(),
    };
    let mut session = Session { arguments, programs, effort, run, path };
    let wanted: &[Kind] =
        if arguments.contenders.is_empty() { &Kind::COMPARISON } else { &arguments.contenders };
    let mut kinds = Vec::new();
    for &kind in wanted {
        match kind.version(&session.programs) {
            Some(version) => {
                session.run.versions.insert(kind, version);
                kinds.push(kind);
            }
            None => eprintln!("{} is not installed: left out", kind.name()),
        }
    }
    for round in 1..=arguments.rounds {
        for &ModeName(mode) in &arguments.modes {
            for &kind in &kinds {
                session.contender(Place { round, mode, kind })?;
            }
            session.alone(round, mode)?;
        }
    }
    eprintln!("samples are kept in {}", session.path.display());
    if session.run.samples.is_empty() {
        bail!("nothing could be measured");
    }
    Ok(session.run)
}

impl Session<'_> {
    fn has(&self, part: Part) -> bool {
        self.arguments.parts.contains(&part)
    }

    /// Everything about one contender, on a rig of its own.
    fn contender(&mut self, place: Place) -> Result<()> {
        if !self.arguments.parts.iter().any(|part| !matches!(part, Part::Core | Part::Profile)) {
            return Ok(());
        }
        eprintln!("round {}, {}, {}", place.round, place.mode.name(), place.kind.name());
        let rig = Rig::new(place.mode)?;
        if let std::collections::btree_map::Entry::Vacant(slot) = self.run.offloads.entry(place.mode) {
            slot.insert(rig.offloads()?);
        }
        let running = match place.kind.start(&rig, &self.programs) {
            Ok(running) => running,
            Err(error) => return self.keep(place, "start", Err(error)),
        };
        let idle = running.memory();
        let effort = self.effort;
        if self.has(Part::Rtt) {
            self.keep(place, "rtt_idle", rtt::idle(&rig, effort.pings))?;
        }
        if self.has(Part::Tcp) {
            for (name, streams, way) in [
                ("tcp1_up", 1, Way::Up),
                ("tcp1_down", 1, Way::Down),
                ("tcp4_up", 4, Way::Up),
                ("tcp4_down", 4, Way::Down),
                ("tcp_both", 1, Way::Both),
            ] {
                self.keep(place, name, Tcp { streams, way, ping: false }.run(&rig, &running, effort))?;
            }
        }
        if self.has(Part::Rtt) {
            let beside = Tcp { streams: 1, way: Way::Up, ping: true };
            self.keep(place, "rtt_tcp", beside.run(&rig, &running, effort))?;
        }
        self.udp(place, &rig, &running)?;
        let now = running.memory();
        let memory = [("idle_mib", idle.now), ("loaded_mib", now.now), ("highest_mib", now.highest)];
        let memory = memory.map(|(name, value)| (name.to_owned(), value));
        if place.kind != Kind::Plain {
            self.keep(place, "memory", Ok(Values::from(memory)))?;
        }
        Ok(())
    }

    fn udp(&mut self, place: Place, rig: &Rig, running: &Running<'_>) -> Result<()> {
        if !self.has(Part::Udp) && !self.has(Part::Load) {
            return Ok(());
        }
        running.lengthen_queues(rig)?;
        let mut bench = Bench::new(rig)?;
        for load in Load::ALL {
            if !self.has(Part::Udp) && load.name() != Load::AT_80.name() {
                continue;
            }
            let hint = self.hint(place, &load.name());
            let found = bench.search(load, self.effort, hint);
            self.keep(place, &load.name(), found)?;
        }
        let rate = self.hint(place, &Load::AT_80.name());
        if let Some(rate) = rate.filter(|_| self.has(Part::Load)) {
            let values = bench.under_load(running, Load::AT_80, rate * LOAD, self.effort);
            self.keep(place, "load80", values)?;
        }
        Ok(())
    }

    /// The zero-loss rate of the last rounds.
    fn hint(&self, place: Place, test: &str) -> Option<f64> {
        let stat = self.run.stat(place.mode, place.kind, test, "pps")?;
        Some(stat.median).filter(|rate| *rate > 0.0)
    }

    /// What concerns our data plane alone.
    fn alone(&mut self, round: u32, mode: Mode) -> Result<()> {
        if !self.has(Part::Core) && !self.has(Part::Profile) {
            return Ok(());
        }
        let kind = Kind::Plane;
        let version = kind.version(&self.programs).unwrap_or_default();
        self.run.versions.entry(kind).or_insert(version);
        let place = Place { round, mode, kind };
        let effort = self.effort;
        if self.has(Part::Core) {
            for core in Core::ALL {
                let rig = Rig::new(mode)?;
                self.keep(place, &core.name(), core.run(&rig, effort.tcp_seconds.div_ceil(2)))?;
            }
        }
        if self.has(Part::Profile) {
            let rig = Rig::new(mode)?;
            let profile =
                kind.start(&rig, &self.programs).and_then(|running| profile::run(&rig, &running, effort));
            self.keep(place, "profile", profile)?;
        }
        Ok(())
    }

    /// Keeps a sample, or why there is none; the file is written anew each time, so that a run that is broken off
    /// is not lost.
    fn keep(&mut self, place: Place, test: &str, values: Result<Values>) -> Result<()> {
        let Place { round, mode, kind } = place;
        let test = test.to_owned();
        match values {
            Ok(values) => {
                eprintln!("    {test:22} {}", one_line(&values));
                self.run.samples.push(Sample { round, mode, kind, test, values });
            }
            Err(error) => {
                let error = format!("{error:#}");
                eprintln!("    {test:22} failed: {error}");
                self.run.failures.push(Failure { round, mode, kind, test, error });
            }
        }
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string(&self.run)?;
        std::fs::write(&self.path, text).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn one_line(values: &BTreeMap<String, f64>) -> String {
    values
        .iter()
        .map(|(name, value)| format!("{name} {}", report::number(*value)))
        .collect::<Vec<_>>()
        .join(", ")
}
