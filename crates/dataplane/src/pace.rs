//! When it pays to wait a little before looking again.
//!
//! A worker that drains its queue goes to sleep, and the next packet wakes it for itself alone: in a virtual machine
//! two microseconds for a packet that costs half of one. At tens of thousands of packets a second the worker therefore
//! leaves the queue alone for some ten microseconds, and takes what came meanwhile as one batch: fewer calls, longer
//! trains, larger super-packets. Below that rate, and where packets come in trains already, it never waits.

use std::time::Duration;

use model::Instant;

/// How exactly the workers' short sleeps end.
pub(crate) const TIMER_SLACK: Duration = Duration::from_micros(1);
/// Packets that make a batch worth its calls.
const ENOUGH: u32 = 32;
/// The longest wait: a tenth of what a path to AWS varies by, and the time in which 10 Gbit/s fill 3 % of the socket's
/// buffer.
const LONGEST: Duration = Duration::from_micros(100);
/// Over how long the rate is taken.
const WINDOW: Duration = Duration::from_millis(1);
/// Packets in that time below which waiting would cost more than it saves: 30,000 a second.
const BUSY: u32 = 30;

/// One worker's.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the window began.
    since: Option<Instant>,
    /// Packets since then.
    packets: u32,
    /// How long `ENOUGH` packets took in the last full window; `None` when they were too few.
    wait: Option<Duration>,
}

impl Pace {
    /// A round took `packets`; how long to leave the queue alone now.
    pub(crate) fn after(&mut self, packets: u32, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        self.packets = self.packets.saturating_add(packets);
        let passed = now - since;
        if passed >= WINDOW {
            let busy = u128::from(self.packets) * WINDOW.as_nanos() >= u128::from(BUSY) * passed.as_nanos();
            self.wait = busy.then(|| (passed * ENOUGH / self.packets.max(1)).min(LONGEST));
            (self.since, self.packets) = (Some(now), 0);
        }
        self.wait.filter(|_| packets > 0 && packets < ENOUGH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(pace: &mut Pace, count: u64, packets: u32, apart: Duration) -> Vec<Option<Duration>> {
        (1..=count)
            .map(|i| pace.after(packets, Instant::from_nanos(1_000_000_000 + i * apart.as_nanos() as u64)))
            .collect()
    }

    #[test]
    fn a_quiet_tunnel_never_waits() {
        for (packets, apart) in [(1, 200), (1, 40), (5, 1000)] {
            let waits = rounds(&mut Pace::default(), 1000, packets, Duration::from_micros(apart));
            assert!(waits.iter().all(Option::is_none), "{packets} packets every {apart} us");
        }
    }

    #[test]
    fn many_single_packets_are_waited_for_as_long_as_a_batch_takes() {
        let waits = rounds(&mut Pace::default(), 1000, 1, Duration::from_micros(2));
        assert!(waits[999].is_some_and(|wait| (60..=64).contains(&wait.as_micros())), "{:?}", waits[999]);
        let slower = rounds(&mut Pace::default(), 1000, 1, Duration::from_micros(20));
        assert_eq!(slower[999], Some(LONGEST));
    }

    #[test]
    fn trains_are_taken_at_once() {
        let waits = rounds(&mut Pace::default(), 1000, 45, Duration::from_micros(50));
        assert!(waits.iter().all(Option::is_none));
    }

    #[test]
    fn a_flood_that_ends_is_forgotten_within_a_window() {
        let mut pace = Pace::default();
        rounds(&mut pace, 1000, 1, Duration::from_micros(2));
        let later = Instant::from_nanos(9_000_000_000);
        assert_eq!(pace.after(1, later), None);
    }
}
