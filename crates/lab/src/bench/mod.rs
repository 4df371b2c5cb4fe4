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
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use contender::{Kind, Programs, Running};
use measure::core::Core;
use measure::tcp::{Tcp, Way};
use measure::udp::{Bench, Load};
use measure::{Effort, Values, floor, many, profile, rtt, transfer};
use results::{Failure, Run, Sample};
use rig::{Mode, Rig};

/// Where the results of a run are kept unless told otherwise.
const KEPT_IN: &str = "target/bench";
/// Share of the zero-loss rate at which round trips, loss and order are looked at.
const LOAD: f64 = 0.8;
/// How long `--publish` goes on beginning something new.
const MINUTES: u64 = 18;
/// Length of the measurement that shows that nothing is lost in the long run.
const SOAK_SECONDS: u64 = 300;
/// Length of a transfer over the lossy way: long enough that the luck of single losses evens out.
const LOSSY_SECONDS: u32 = 20;

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
    /// Loss and order at 80 % for five minutes.
    Soak,
    /// Gigabytes each way, every octet compared.
    Transfer,
    /// TCP over a way that is slow and loses packets.
    Lossy,
    /// Many connections in one daemon (ours alone).
    Many,
    /// What one core seals and opens (ours alone).
    Core,
    /// What bare raw sockets carry of protocol 50, with nothing of ours.
    Floor,
    /// Where each nanosecond goes (ours alone; needs `perf`).
    Profile,
}

impl Part {
    /// Whether two gateways of one make are needed for it.
    const fn is_of_a_pair(self) -> bool {
        !matches!(self, Self::Core | Self::Floor | Self::Profile | Self::Lossy | Self::Many)
    }
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
    #[arg(long, value_enum, value_delimiter = ',', default_value = "tcp,rtt,udp,load,core,floor,profile")]
    parts: Vec<Part>,
    /// With `--publish`: measurements of full length, however long they take.
    #[arg(long, conflicts_with_all = ["quick", "brief"])]
    full: bool,
    /// Begin nothing new after so many minutes; with `--publish` and without `--full`, 18.
    #[arg(long)]
    minutes: Option<u64>,
    /// Gigabytes of each transfer that is compared octet by octet.
    #[arg(long, default_value_t = 10)]
    gigabytes: u64,
    /// Connections in one daemon.
    #[arg(long, default_value_t = 50)]
    connections: u32,
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
    /// Several rounds in little time: what is no figure of the comparison is measured in the first alone.
    timed: bool,
    deadline: Option<Instant>,
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
    let timed = arguments.publish && !(arguments.full || arguments.quick || arguments.brief);
    let mut effort = match (arguments.quick, arguments.brief, timed) {
        (true, ..) => Effort::QUICK,
        (_, true, _) => Effort::BRIEF,
        (.., true) => Effort::TIMED,
        _ => Effort::FULL,
    };
    let minutes = arguments.minutes.or(timed.then_some(MINUTES));
    let deadline = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    effort.load_seconds = arguments.load_seconds.unwrap_or(effort.load_seconds);
    let programs = Programs {
        wireguard_go: arguments.wireguard_go.clone(),
        cargo_root: std::path::absolute(&arguments.cargo_root).ok(),
    };
    let mut session = Session { arguments, programs, effort, run, path, timed, deadline };
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
                let place = Place { round, mode, kind };
                if session.is_wanted(place) {
                    session.contender(place)?;
                    session.lossy(place)?;
                }
            }
            if round == 1 || !session.timed {
                session.alone(round, mode)?;
            }
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

    /// Whether to begin with this one: the leaders in every round, the others in the first where time is short.
    fn is_wanted(&self, place: Place) -> bool {
        if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            eprintln!("out of time: round {}, {}, {}", place.round, place.mode.name(), place.kind.name());
            return false;
        }
        let leads = place.kind.is_ours() || matches!(place.kind, Kind::Plain | Kind::WireguardGoNew);
        !self.timed || place.round == 1 || leads
    }

    /// Everything about one contender, on a rig of its own.
    fn contender(&mut self, place: Place) -> Result<()> {
        if !self.arguments.parts.iter().any(|part| part.is_of_a_pair()) {
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
                if self.timed && streams > 1 && (place.round > 1 || place.kind.is_peer()) {
                    continue;
                }
                self.keep(place, name, Tcp { streams, way, ping: false }.run(&rig, &running, effort))?;
            }
        }
        if self.has(Part::Rtt) {
            let beside = Tcp { streams: 1, way: Way::Up, ping: true };
            self.keep(place, "rtt_tcp", beside.run(&rig, &running, effort))?;
        }
        self.udp(place, &rig, &running)?;
        if self.has(Part::Transfer) {
            let bytes = self.arguments.gigabytes * 1_000_000_000;
            self.keep(place, "transfer", transfer::run(&rig, bytes))?;
        }
        let now = running.memory();
        let memory = [("idle_mib", idle.now), ("loaded_mib", now.now), ("highest_mib", now.highest)];
        let memory = memory.map(|(name, value)| (name.to_owned(), value));
        if place.kind != Kind::Plain {
            self.keep(place, results::MEMORY, Ok(Values::from(memory)))?;
        }
        Ok(())
    }

    fn udp(&mut self, place: Place, rig: &Rig, running: &Running<'_>) -> Result<()> {
        let soak = self.has(Part::Soak);
        if !self.has(Part::Udp) && !self.has(Part::Load) && !soak {
            return Ok(());
        }
        // Packet rates do not depend on the links' segmentation, and take the most time.
        if self.timed && place.kind != Kind::Cgwd && (place.round > 1 || place.mode == Mode::WireTrue) {
            return Ok(());
        }
        running.lengthen_queues(rig)?;
        let mut bench = Bench::new(rig)?;
        for load in Load::ALL {
            if !self.has(Part::Udp) && load.name() != Load::AT_80.name() {
                continue;
            }
            if self.timed && load.segment && place.kind.is_peer() {
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
        if let Some(rate) = rate.filter(|_| soak) {
            let load_seconds = self.arguments.load_seconds.unwrap_or(SOAK_SECONDS);
            let effort = Effort { load_seconds, ..self.effort };
            let values = bench.under_load(running, Load::AT_80, rate * LOAD, effort);
            self.keep(place, "soak", values)?;
        }
        Ok(())
    }

    /// Eight streams over a way that is slow and loses packets, for ours and for plain forwarding.
    fn lossy(&mut self, place: Place) -> Result<()> {
        if !self.has(Part::Lossy) || !(place.kind.is_ours() || place.kind == Kind::Plain) {
            return Ok(());
        }
        let rig = Rig::lossy(place.mode)?;
        let effort = Effort { tcp_seconds: LOSSY_SECONDS, ..self.effort };
        let run = place
            .kind
            .start(&rig, &self.programs)
            .and_then(|running| Tcp { streams: 8, way: Way::Up, ping: false }.run(&rig, &running, effort));
        self.keep(place, "tcp8_lossy", run)
    }

    /// The zero-loss rate of the last rounds.
    fn hint(&self, place: Place, test: &str) -> Option<f64> {
        let stat = self.run.stat(place.mode, place.kind, test, "pps")?;
        Some(stat.median).filter(|rate| *rate > 0.0)
    }

    /// What concerns our data plane alone.
    fn alone(&mut self, round: u32, mode: Mode) -> Result<()> {
        if self.has(Part::Many) && round == 1 && mode == Mode::Default {
            let place = Place { round, mode, kind: Kind::Cgwd };
            for connections in [1, self.arguments.connections] {
                let rig = Rig::new(mode)?;
                self.keep(place, &format!("many_{connections}"), many::run(&rig, connections))?;
            }
        }
        if !self.has(Part::Core) && !self.has(Part::Floor) && !self.has(Part::Profile) {
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
        if self.has(Part::Floor) {
            let rig = Rig::new(mode)?;
            self.keep(place, results::FLOOR, floor::run(&rig, effort.tcp_seconds))?;
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
