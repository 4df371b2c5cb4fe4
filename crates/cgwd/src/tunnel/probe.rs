//! The in-band probe: does AWS's inside address answer through the tunnel?
//!
//! One echo request a second, sealed into ESP like any other packet, so it tests exactly the path that traffic
//! takes; no raw socket and no kernel routing is involved. This file decides when to send and what the answers
//! mean; it never sends, never reads a clock. AWS documents the inside address as answering ping, and idle
//! tunnels as liable to be taken down: the probe is the keep-alive too.

use std::collections::VecDeque;
use std::time::Duration;

use model::Instant;

/// Distance of two probes while a fresh tunnel has not answered yet.
pub const INTERVAL_FRESH: Duration = Duration::from_millis(200);
/// How long a fresh tunnel is probed at [`INTERVAL_FRESH`].
pub const FRESH_FOR: Duration = Duration::from_secs(3);
/// So many answers in a row, and a tunnel that was lost is used again.
pub const ANSWERS_MIN: u32 = 2;
/// A probe younger than this is not missed yet, unless the round trip is known to be longer.
const PATIENCE_MIN: Duration = Duration::from_millis(250);
/// A probe older than this is missed, however long the round trip is.
const PATIENCE_MAX: Duration = Duration::from_millis(1000);
/// Probes remembered for the loss ratio, and for matching late answers.
const HISTORY_MAX: usize = 60;

/// How to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Distance of two probes.
    pub interval: Duration,
    /// So many probes in a row without an answer, and the tunnel is not used any more.
    pub misses_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), misses_max: 3 }
    }
}

/// What a probe's answer, or its lack, changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// The inside address answers now.
    Answers {
        /// The answer's round trip.
        rtt: Duration,
        /// Since when it had not, or since the tunnel was there.
        after: Duration,
    },
    /// The inside address does not answer any more.
    Lost {
        /// Since the last answer was received.
        silent: Duration,
    },
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    sequence: u16,
    at: Instant,
    answered: bool,
    /// Counted as a miss already.
    missed: bool,
}

/// The probes of one tunnel.
#[derive(Debug)]
pub struct Tracker {
    settings: Settings,
    state: State,
    next_sequence: u16,
    history: VecDeque<Sent>,
    rtt: Option<Duration>,
    srtt: Option<Duration>,
    sent: u64,
    received: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// No child SA to send through.
    Off,
    On {
        answering: bool,
        /// Misses in a row.
        misses: u32,
        /// Answers in a row since the last miss.
        answers: u32,
        /// Whether it has answered since the child came up.
        ever: bool,
        started: Instant,
        next: Instant,
        last_answer: Instant,
        /// Probes sent since it was turned on, or since the last answer.
        unanswered: u64,
    },
}

impl Tracker {
    /// Sends nothing until [`Tracker::start`].
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Off,
            next_sequence: 0,
            history: VecDeque::with_capacity(HISTORY_MAX),
            rtt: None,
            srtt: None,
            sent: 0,
            received: 0,
        }
    }

    /// A child SA can carry probes now; a no-op when it could before (a rekey changes nothing).
    pub fn start(&mut self, now: Instant) {
        if matches!(self.state, State::Off) {
            self.history.clear();
            self.rtt = None;
            self.srtt = None;
            self.state = State::On {
                answering: false,
                misses: 0,
                answers: 0,
                ever: false,
                started: now,
                next: now,
                last_answer: now,
                unanswered: 0,
            };
        }
    }

    /// No child SA is left.
    pub fn stop(&mut self) {
        self.state = State::Off;
    }

    /// Whether the inside address answers.
    pub fn answering(&self) -> bool {
        matches!(self.state, State::On { answering: true, .. })
    }

    /// The newest answer's round trip.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Probes sent and answered since the daemon's start.
    pub fn totals(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    /// Probes sent since the last answer, and the time since then; `None` while it answers or is off.
    pub fn silence(&self, now: Instant) -> Option<(u64, Duration)> {
        match self.state {
            State::On { answering: false, last_answer, unanswered, .. } => {
                Some((unanswered, now - last_answer))
            }
            _ => None,
        }
    }

    /// The share of the last minute's probes that were missed, 0 to 1.
    pub fn loss_ratio(&self) -> f64 {
        let decided = self.history.iter().filter(|probe| probe.answered || probe.missed).count();
        let missed = self.history.iter().filter(|probe| probe.missed && !probe.answered).count();
        if decided == 0 { 0.0 } else { missed as f64 / decided as f64 }
    }

    /// When [`Tracker::poll`] wants to be called next.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Off => None,
            State::On { next, .. } => {
                Some(self.oldest_open().map_or(next, |probe| next.min(probe.at + self.patience())))
            }
        }
    }

    /// Marks overdue probes as missed. The second value is the sequence number of a probe to send now.
    pub fn poll(&mut self, now: Instant) -> (Option<Change>, Option<u16>) {
        let change = self.expire(now);
        (change, self.due(now))
    }

    /// An answer came. Unknown sequence numbers and second answers change nothing.
    pub fn answered(&mut self, sequence: u16, at: Instant) -> Option<Change> {
        let probe = self.history.iter_mut().find(|probe| probe.sequence == sequence && !probe.answered)?;
        probe.answered = true;
        let rtt = at - probe.at;
        self.received += 1;
        self.rtt = Some(rtt);
        self.srtt = Some(self.srtt.map_or(rtt, |srtt| (srtt * 7 + rtt) / 8));
        let State::On { answering, misses, answers, ever, last_answer, unanswered, .. } = &mut self.state
        else {
            return None;
        };
        *misses = 0;
        *answers += 1;
        *unanswered = 0;
        let after = at - *last_answer;
        *last_answer = at;
        // A fresh tunnel is believed at its first answer; one that was lost has to prove itself.
        let enough = if *ever { ANSWERS_MIN } else { 1 };
        if !*answering && *answers >= enough {
            *answering = true;
            *ever = true;
            return Some(Change::Answers { rtt, after });
        }
        None
    }

    fn patience(&self) -> Duration {
        self.srtt.map_or(PATIENCE_MIN, |srtt| (srtt * 3).clamp(PATIENCE_MIN, PATIENCE_MAX))
    }

    fn oldest_open(&self) -> Option<&Sent> {
        self.history.iter().find(|probe| !probe.answered && !probe.missed)
    }

    fn expire(&mut self, now: Instant) -> Option<Change> {
        let patience = self.patience();
        let mut overdue = 0;
        for probe in self.history.iter_mut().filter(|probe| !probe.answered && !probe.missed) {
            if probe.at + patience <= now {
                probe.missed = true;
                overdue += 1;
            }
        }
        let State::On { answering, misses, answers, last_answer, .. } = &mut self.state else { return None };
        if overdue == 0 {
            return None;
        }
        *misses += overdue;
        *answers = 0;
        if *answering && *misses >= self.settings.misses_max {
            *answering = false;
            return Some(Change::Lost { silent: now - *last_answer });
        }
        None
    }

    fn due(&mut self, now: Instant) -> Option<u16> {
        let State::On { ever, started, next, unanswered, .. } = &mut self.state else { return None };
        if *next > now {
            return None;
        }
        let usual = self.settings.interval;
        let interval = if !*ever && now - *started < FRESH_FOR { INTERVAL_FRESH.min(usual) } else { usual };
        // Kept on the grid, unless the loop was held up for longer than a whole interval.
        *next = if now - *next < interval { *next + interval } else { now + interval };
        *unanswered += 1;
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(Sent { sequence, at: now, answered: false, missed: false });
        self.sent += 1;
        Some(sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the tracker from `from` to `to` in milliseconds; probes are answered after `rtt` when given.
    fn run(tracker: &mut Tracker, from: u64, to: u64, rtt: Option<u64>, changes: &mut Vec<(u64, Change)>) {
        let mut answers: VecDeque<(u64, u16)> = VecDeque::new();
        for ms in from..to {
            let now = Instant::from_millis(ms);
            while answers.front().is_some_and(|(at, _)| *at <= ms) {
                let (_, sequence) = answers.pop_front().unwrap();
                changes.extend(tracker.answered(sequence, now).map(|change| (ms, change)));
            }
            if tracker.deadline().is_some_and(|deadline| deadline <= now) {
                let (change, send) = tracker.poll(now);
                changes.extend(change.map(|change| (ms, change)));
                if let (Some(sequence), Some(rtt)) = (send, rtt) {
                    answers.push_back((ms + rtt, sequence));
                }
            }
        }
    }

    #[test]
    fn a_fresh_tunnel_is_believed_at_its_first_answer() {
        let mut tracker = Tracker::new(Settings::default());
        tracker.start(Instant::from_millis(10));
        let mut changes = Vec::new();
        run(&mut tracker, 10, 100, Some(20), &mut changes);
        assert_eq!(
            changes,
            [(30, Change::Answers { rtt: Duration::from_millis(20), after: Duration::from_millis(20) })]
        );
        assert_eq!(tracker.rtt(), Some(Duration::from_millis(20)));
    }

    #[test]
    fn a_dead_path_is_noticed_within_3_3_seconds_whenever_it_dies() {
        for phase in (0..1000).step_by(50) {
            let mut tracker = Tracker::new(Settings::default());
            tracker.start(Instant::ZERO);
            let mut changes = Vec::new();
            let cut = 10_000 + phase;
            run(&mut tracker, 0, cut, Some(5), &mut changes);
            changes.clear();
            run(&mut tracker, cut, cut + 5_000, None, &mut changes);
            let [(at, Change::Lost { .. })] = changes.as_slice() else { panic!("{changes:?}") };
            assert!(at - cut <= 3_300, "cut at {cut}, noticed at {at}");
            assert!(at - cut >= 2_000, "cut at {cut}, noticed at {at}");
        }
    }

    #[test]
    fn two_lost_probes_in_a_row_are_no_reason_to_leave() {
        let mut tracker = Tracker::new(Settings::default());
        tracker.start(Instant::ZERO);
        let mut changes = Vec::new();
        run(&mut tracker, 0, 10_010, Some(5), &mut changes);
        run(&mut tracker, 10_010, 12_150, None, &mut changes);
        run(&mut tracker, 12_150, 30_000, Some(5), &mut changes);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(tracker.loss_ratio() > 0.0 && tracker.loss_ratio() < 0.2);
    }

    #[test]
    fn a_lost_tunnel_returns_after_two_answers_in_a_row() {
        let mut tracker = Tracker::new(Settings::default());
        tracker.start(Instant::ZERO);
        let mut changes = Vec::new();
        run(&mut tracker, 0, 5_010, Some(5), &mut changes);
        run(&mut tracker, 5_010, 15_000, None, &mut changes);
        changes.clear();
        run(&mut tracker, 15_000, 20_000, Some(5), &mut changes);
        let [(at, Change::Answers { .. })] = changes.as_slice() else { panic!("{changes:?}") };
        assert!((16_000..=17_100).contains(at), "{at}");
    }

    #[test]
    fn a_long_round_trip_is_not_loss() {
        let mut tracker = Tracker::new(Settings::default());
        tracker.start(Instant::ZERO);
        let mut changes = Vec::new();
        run(&mut tracker, 0, 60_000, Some(600), &mut changes);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!(tracker.answering());
        assert!(tracker.loss_ratio() < 0.1, "{}", tracker.loss_ratio());
    }

    #[test]
    fn a_second_answer_and_an_unknown_one_count_for_nothing() {
        let mut tracker = Tracker::new(Settings::default());
        tracker.start(Instant::ZERO);
        let (_, sequence) = tracker.poll(Instant::ZERO);
        let sequence = sequence.unwrap();
        assert!(tracker.answered(sequence.wrapping_add(9), Instant::from_millis(1)).is_none());
        assert!(tracker.answered(sequence, Instant::from_millis(2)).is_some());
        assert!(tracker.answered(sequence, Instant::from_millis(3)).is_none());
        assert_eq!(tracker.totals(), (1, 1));
    }

    #[test]
    fn a_rekey_does_not_restart_the_probe_and_a_lost_child_stops_it() {
        let mut tracker = Tracker::new(Settings::default());
        tracker.start(Instant::ZERO);
        let mut changes = Vec::new();
        run(&mut tracker, 0, 5_000, Some(5), &mut changes);
        tracker.start(Instant::from_millis(5_000));
        assert!(tracker.answering());
        tracker.stop();
        assert!(!tracker.answering());
        assert_eq!(tracker.deadline(), None);
    }
}
