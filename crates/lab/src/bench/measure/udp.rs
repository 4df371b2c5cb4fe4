//! UDP: the highest rate at which nothing is lost, and what packets see at 80 % of it.
//!
//! A trial passes when every datagram that was sent arrived and the generator kept its rate. One that fails for less
//! than one per cent is tried a second time, because the machine is shared; so is one whose generator fell short. The rate that is found must then hold
//! for three times as long. Generator and sink have a higher priority than the gateways: they stand for other
//! machines, which would not slow down because a gateway is busy.

use std::time::Duration;

use anyhow::{Context, Result};

use super::rtt::Pings;
use super::{Effort, Meter, Talk, Values};
use crate::bench::contender::{self, Running};
use crate::bench::rig::{Rig, Role, VPC_HOST, vpc};
use crate::bench::tool::blast::{self, Size};
use crate::bench::tool::sink;
use crate::traffic::binary;

/// The sink's port.
pub(in crate::bench) const PORT: u16 = 9000;
/// How the load generator is run.
const PRIORITY: [&str; 3] = ["nice", "-n", "-10"];
/// The search begins here when nothing is known.
const FIRST: f64 = 100_000.0;
/// Below this a contender counts as "loses at every rate".
const LOWEST: f64 = 1000.0;
/// The search ends when the bounds are this close.
const CLOSE: f64 = 1.05;
/// Trials of one search.
const MAX_TRIALS: u32 = 16;
/// A generator that reaches less than this share of its rate is the limit, not what it measures.
const KEPT: f64 = 0.95;

/// One trial.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Outcome {
    pub(in crate::bench) sent: blast::Report,
    pub(in crate::bench) got: sink::Report,
}

impl Outcome {
    pub(in crate::bench) const fn lost(&self) -> u64 {
        self.sent.sent.saturating_sub(self.got.received)
    }

    fn goodput(&self) -> f64 {
        if self.sent.seconds > 0.0 { self.got.received as f64 / self.sent.seconds } else { 0.0 }
    }
}

/// A trial's load.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Load {
    pub(in crate::bench) size: Size,
    pub(in crate::bench) segment: bool,
}

impl Load {
    /// All loads of the table.
    pub(in crate::bench) const ALL: [Self; 5] = [
        Self { size: Size::Small, segment: false },
        Self { size: Size::Imix, segment: false },
        Self { size: Size::Large, segment: false },
        Self { size: Size::Small, segment: true },
        Self { size: Size::Large, segment: true },
    ];

    /// The load of the measurement at 80 %.
    pub(in crate::bench) const AT_80: Self = Self { size: Size::Large, segment: false };

    /// Its name in results.
    pub(in crate::bench) fn name(self) -> String {
        format!("udp_{}{}", self.size.name(), if self.segment { "_segmenting" } else { "" })
    }
}

/// The generator's other end, and the trials so far.
#[derive(Debug)]
pub(in crate::bench) struct Bench<'r> {
    rig: &'r Rig,
    sink: Talk,
    trials: u64,
}

impl<'r> Bench<'r> {
    /// Starts the sink on the VPC host.
    pub(in crate::bench) fn new(rig: &'r Rig) -> Result<Self> {
        let (program, address) = (binary("cgwd-lab")?.display().to_string(), vpc(PORT).to_string());
        let command = [&PRIORITY[..], &[&program, "bench", "sink", &address]].concat();
        let command: Vec<String> = command.into_iter().map(str::to_owned).collect();
        let sink = Talk::new(contender::spawn(rig, Role::Vpc, &command, &[], true)?)?;
        Ok(Self { rig, sink, trials: 0 })
    }

    /// Sends at `rate` for a time, and counts.
    pub(in crate::bench) fn trial(&mut self, load: Load, rate: f64, millis: u64) -> Result<Outcome> {
        self.trial_with(load, rate, millis, || Ok(()))
    }

    fn trial_with(
        &mut self,
        load: Load,
        rate: f64,
        millis: u64,
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<Outcome> {
        self.trials += 1;
        let _begun: String = self.sink.ask(&format!("begin {}", self.trials))?;
        let mut command = self.rig.lan.command("setpriv");
        // It must not outlive a benchmark that is killed.
        command.args(["--pdeathsig", "KILL"]).args(PRIORITY).arg(binary("cgwd-lab")?);
        command.args(["bench", "blast", &vpc(PORT).to_string(), "--size", load.size.name()]);
        command.args(["--trial", &self.trials.to_string(), "--millis", &millis.to_string()]);
        command.args(["--rate", &format!("{rate:.0}")]);
        if load.segment {
            command.arg("--segment");
        }
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
        let child = command.spawn().context("cannot start the generator")?;
        meanwhile()?;
        let output = child.wait_with_output()?;
        let sent = serde_json::from_slice(&output.stdout).context("the generator failed")?;
        let got = self.sink.ask("end")?;
        Ok(Outcome { sent, got })
    }

    /// The highest rate without loss. `hint` is where to begin, from an earlier round.
    pub(in crate::bench) fn search(
        &mut self,
        load: Load,
        effort: Effort,
        hint: Option<f64>,
    ) -> Result<Values> {
        // The neighbours' addresses are known and the caches warm.
        self.trial(load, 2000.0, 100)?;
        let mut search = Search::new(hint.unwrap_or(FIRST));
        let mut goodput: f64 = 0.0;
        while let Some(rate) = search.next() {
            let mut outcome = self.trial(load, rate, effort.trial_millis)?;
            goodput = goodput.max(outcome.goodput());
            let hiccup = outcome.lost() * 100 < outcome.sent.sent;
            if hiccup && (outcome.lost() > 0 || outcome.sent.rate() < rate * KEPT) {
                outcome = self.trial(load, rate, effort.trial_millis)?;
            }
            search.take(outcome.sent.rate(), outcome.lost() == 0);
        }
        let mut found = search.passed;
        for _ in 0..6 {
            if found < LOWEST || self.trial(load, found, effort.trial_millis * 3)?.lost() == 0 {
                break;
            }
            found *= 0.95;
        }
        if found < LOWEST {
            found = 0.0;
        }
        Ok(Values::from([
            ("pps".to_owned(), found),
            ("gbit".to_owned(), found * load.size.mean() * 8.0 / 1e9),
            ("peak_goodput_pps".to_owned(), goodput),
            ("generator_bound".to_owned(), f64::from(u8::from(search.generator_bound))),
        ]))
    }

    /// `rate` for a time, with round trips beside it.
    pub(in crate::bench) fn under_load(
        &mut self,
        running: &Running<'_>,
        load: Load,
        rate: f64,
        effort: Effort,
    ) -> Result<Values> {
        let (rig, seconds) = (self.rig, effort.load_seconds);
        let mut values = Values::new();
        let meter = Meter::start(running)?;
        let outcome = self.trial_with(load, rate, seconds * 1000, || {
            std::thread::sleep(Duration::from_millis(200));
            let count = u32::try_from(seconds * 200).unwrap_or(u32::MAX).saturating_sub(80);
            Pings::start(rig, count)?.finish(&mut values)
        })?;
        meter.stop(outcome.got.received as f64 * load.size.mean() * 8.0, &mut values)?;
        let shares = [
            ("offered_pps", outcome.sent.rate()),
            ("lost", outcome.lost() as f64),
            ("reordered", outcome.got.reordered as f64),
            ("duplicates", outcome.got.duplicates as f64),
            ("sent", outcome.sent.sent as f64),
            ("one_way_p50_us", outcome.got.p50_us),
            ("one_way_p99_us", outcome.got.p99_us),
            ("one_way_max_us", outcome.got.max_us),
            ("datagrams_per_message", outcome.got.per_message),
        ];
        values.extend(shares.map(|(name, value)| (name.to_owned(), value)));
        Ok(values)
    }
}

/// The address the sink listens on, for tools that route to it.
pub(in crate::bench) fn target() -> String {
    format!("{VPC_HOST}:{PORT}")
}

/// Doubling until something is lost, then halving the gap.
#[derive(Debug)]
struct Search {
    rate: f64,
    /// The highest rate that passed.
    passed: f64,
    /// The lowest that failed.
    failed: f64,
    trials: u32,
    generator_bound: bool,
}

impl Search {
    const fn new(first: f64) -> Self {
        Self { rate: first, passed: 0.0, failed: f64::INFINITY, trials: 0, generator_bound: false }
    }

    /// The next rate to try; `None` when the answer is close enough.
    fn next(&mut self) -> Option<f64> {
        let near = self.passed > 0.0 && self.failed / self.passed < CLOSE;
        if self.generator_bound || near || self.rate < LOWEST || self.trials >= MAX_TRIALS {
            return None;
        }
        self.trials += 1;
        Some(self.rate)
    }

    /// What came of it: the rate really offered, and whether nothing was lost.
    fn take(&mut self, offered: f64, whole: bool) {
        if whole {
            self.passed = self.passed.max(offered);
            self.generator_bound = offered < self.rate * KEPT;
        } else {
            // A generator that fell short did not test the rate it was asked for.
            self.failed = self.failed.min(self.rate.min(offered / KEPT));
        }
        self.rate = if self.failed.is_infinite() {
            self.rate * 1.6
        } else if self.passed > 0.0 {
            (self.passed * self.failed).sqrt()
        } else {
            self.failed / 2.5
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(first: f64, capacity: f64, generator: f64) -> (Search, u32) {
        let mut search = Search::new(first);
        let mut trials = 0;
        while let Some(rate) = search.next() {
            trials += 1;
            let offered = rate.min(generator);
            search.take(offered, offered <= capacity);
        }
        (search, trials)
    }

    #[test]
    fn the_search_closes_in_on_the_capacity_from_below() {
        for capacity in [3_000.0, 90_000.0, 310_000.0, 2e6] {
            let (search, trials) = find(FIRST, capacity, 1e9);
            assert!(search.passed <= capacity && search.passed * CLOSE > capacity * 0.999, "{search:?}");
            assert!(trials <= MAX_TRIALS);
        }
    }

    #[test]
    fn a_good_hint_saves_trials() {
        assert!(find(300_000.0, 310_000.0, 1e9).1 < find(FIRST, 310_000.0, 1e9).1 + 2);
    }

    #[test]
    fn a_slow_generator_is_told_from_a_slow_tunnel() {
        let (search, _) = find(FIRST, 1e6, 400_000.0);
        assert!(search.generator_bound && (search.passed - 400_000.0).abs() < 1.0);
        assert!(!find(FIRST, 200_000.0, 1e6).0.generator_bound);
    }

    #[test]
    fn what_loses_at_every_rate_finds_nothing() {
        assert_eq!(find(FIRST, 0.0, 1e9).0.passed, 0.0);
    }
}
