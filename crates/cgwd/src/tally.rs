//! What is counted for the metrics that nobody else remembers: figures of a tunnel that never fall while it is
//! configured, whether or not it runs, and a connection's changes of egress. It holds numbers; it decides nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use ike::Notice;
use model::Instant;

use crate::api::Drops;

/// Upper bounds of the round-trip histogram, in seconds: a neighbouring region to the other side of the world.
pub const RTT_BOUNDS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// A counter that starts again at zero with its source and goes on here.
#[derive(Clone, Copy, Debug, Default)]
struct Rising {
    before: u64,
    last: u64,
}

impl Rising {
    /// The source stands at `value` now.
    fn see(&mut self, value: u64) {
        if value < self.last {
            self.before += self.last;
        }
        self.last = value;
    }

    const fn total(self) -> u64 {
        self.before + self.last
    }
}

/// What the sources of one tunnel say at a moment; zeros while it does not run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Inner packets and octets decrypted.
    pub rx: (u64, u64),
    /// Inner packets and octets encrypted.
    pub tx: (u64, u64),
    /// Packets thrown away.
    pub drops: Drops,
    /// BGP NOTIFICATIONs received and sent.
    pub notifications: (u64, u64),
    /// First requests answered by a demand for a cookie.
    pub cookies: u64,
}

/// One tunnel's counters since the daemon's start.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    rx: [Rising; 2],
    tx: [Rising; 2],
    drops: [Rising; 6],
    notifications: [Rising; 2],
    cookies: Rising,
    figures: Figures,
}

/// The figures of one tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Inner packets and octets decrypted.
    pub rx: (u64, u64),
    /// Inner packets and octets encrypted.
    pub tx: (u64, u64),
    /// Packets thrown away.
    pub drops: Drops,
    /// BGP NOTIFICATIONs received and sent.
    pub notifications: (u64, u64),
    /// First requests answered by a demand for a cookie.
    pub cookies: u64,
    /// IKE SAs authenticated.
    pub established: u64,
    /// IKE rekeys that we started, and that the peer started.
    pub ike_rekeys: (u64, u64),
    /// Child rekeys that we started, and that the peer started.
    pub child_rekeys: (u64, u64),
    /// When keys were last replaced, by either kind of rekey.
    pub last_rekey: Option<Instant>,
    /// Attempts, children and rekeys that failed.
    pub failures: u64,
    /// Requests sent once more.
    pub retransmits: u64,
    /// Of these, of liveness checks and deletes.
    pub dpd_missed: u64,
    /// Round trips by [`RTT_BOUNDS`], and those above them.
    pub rtt: Histogram,
}

/// Round trips by size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Histogram {
    /// How many were at most as long as the bound of the same place and longer than the one before; the last place
    /// has no bound.
    pub counts: [u64; RTT_BOUNDS.len() + 1],
    /// All of them together, in seconds.
    pub sum: f64,
}

impl Histogram {
    fn observe(&mut self, seconds: f64) {
        let place = RTT_BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(RTT_BOUNDS.len());
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.sum += seconds;
    }
}

impl Tally {
    /// Takes what the sources say now. Called so often that little is lost when a source starts again.
    pub fn read(&mut self, reading: &Reading) {
        let pair = |rising: &mut [Rising; 2], (first, second): (u64, u64)| {
            let [one, two] = rising;
            one.see(first);
            two.see(second);
            (one.total(), two.total())
        };
        self.figures.rx = pair(&mut self.rx, reading.rx);
        self.figures.tx = pair(&mut self.tx, reading.tx);
        self.cookies.see(reading.cookies);
        self.figures.cookies = self.cookies.total();
        self.figures.notifications = pair(&mut self.notifications, reading.notifications);
        let [auth, replay, no_sa, malformed, mtu, queue] = &mut self.drops;
        let told = reading.drops;
        let one = |rising: &mut Rising, value| {
            rising.see(value);
            rising.total()
        };
        self.figures.drops = Drops {
            auth: one(auth, told.auth),
            replay: one(replay, told.replay),
            no_sa: one(no_sa, told.no_sa),
            malformed: one(malformed, told.malformed),
            mtu: one(mtu, told.mtu),
            queue: one(queue, told.queue),
        };
    }

    /// The negotiator reported something.
    pub fn noticed(&mut self, notice: &Notice, now: Instant) {
        let figures = &mut self.figures;
        let side = |counts: &mut (u64, u64), by_us: bool| match by_us {
            true => counts.0 += 1,
            false => counts.1 += 1,
        };
        match notice {
            Notice::IkeEstablished { .. } => figures.established += 1,
            Notice::IkeRekeyed { by_us, .. } => {
                side(&mut figures.ike_rekeys, *by_us);
                figures.last_rekey = Some(now);
            }
            Notice::ChildRekeyed { by_us, .. } => {
                side(&mut figures.child_rekeys, *by_us);
                figures.last_rekey = Some(now);
            }
            Notice::Failed(_) => figures.failures += 1,
            Notice::Retransmit { stage, .. } => {
                figures.retransmits += 1;
                figures.dpd_missed += u64::from(*stage == ike::Stage::Informational);
            }
            _ => {}
        }
    }

    /// A probe was answered.
    pub fn answered(&mut self, rtt: Duration) {
        self.figures.rtt.observe(rtt.as_secs_f64());
    }

    /// As last read.
    pub const fn figures(&self) -> &Figures {
        &self.figures
    }
}

/// Why traffic changed its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The tunnel that carried it cannot any more.
    Down,
    /// An operator drained it.
    Drained,
    /// It could, but another one is to be preferred.
    Preference,
}

impl Cause {
    /// All of them, in the order of [`Failovers::counts`].
    pub const ALL: [Self; 3] = [Self::Down, Self::Drained, Self::Preference];

    /// What was wrong with a tunnel that traffic left.
    pub const fn of(drained: bool, usable: bool) -> Self {
        match (drained, usable) {
            (true, _) => Self::Drained,
            (false, false) => Self::Down,
            (false, true) => Self::Preference,
        }
    }

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Drained => "drained",
            Self::Preference => "preference",
        }
    }
}

/// Changes of one connection's egress.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Failovers {
    /// By cause.
    pub counts: [u64; Cause::ALL.len()],
    /// How long traffic had nowhere good to go at the last one; `None` before the first.
    pub last: Option<Duration>,
}

impl Failovers {
    /// The egress was on `from` and is elsewhere now. The first choice of all is no failover.
    pub fn moved(&mut self, from: &BTreeSet<String>, cause: Cause, without: Option<Duration>) {
        if from.is_empty() {
            return;
        }
        let place = Cause::ALL.iter().position(|known| *known == cause);
        if let Some(count) = place.and_then(|place| self.counts.get_mut(place)) {
            *count += 1;
        }
        self.last = Some(without.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_starts_again_does_not_take_the_counter_back() {
        let mut tally = Tally::default();
        let reading = |packets: u64, replay: u64| Reading {
            rx: (packets, packets * 100),
            drops: Drops { replay, ..Drops::default() },
            ..Reading::default()
        };
        tally.read(&reading(10, 2));
        tally.read(&reading(15, 2));
        tally.read(&Reading::default());
        tally.read(&reading(4, 1));
        assert_eq!(tally.figures().rx, (19, 1900));
        assert_eq!(tally.figures().drops.replay, 3);
    }

    #[test]
    fn a_round_trip_counts_in_the_smallest_bucket_that_holds_it() {
        let mut tally = Tally::default();
        for ms in [1, 3, 30, 5_000] {
            tally.answered(Duration::from_millis(ms));
        }
        assert_eq!(tally.figures().rtt.counts, [1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1]);
        assert!((tally.figures().rtt.sum - 5.034).abs() < 1e-9);
    }

    #[test]
    fn the_first_choice_of_an_egress_is_no_failover() {
        let mut failovers = Failovers::default();
        failovers.moved(&BTreeSet::new(), Cause::Preference, None);
        assert_eq!(failovers, Failovers::default());
        let from = BTreeSet::from(["tunnel1".to_owned()]);
        failovers.moved(&from, Cause::Down, Some(Duration::from_secs(3)));
        assert_eq!(failovers.counts, [1, 0, 0]);
        assert_eq!(failovers.last, Some(Duration::from_secs(3)));
    }
}
