//! What systemd hears from us (`sd_notify(3)`): readiness, reloads, a line of status, and signs of life.
//!
//! Without systemd nothing is sent. A watchdog that only the control loop feeds would call a gateway alive whose
//! data plane hangs in a lock; ours is fed when the loop *and* every worker thread went round since the last time.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior};

/// Looks for each period of the watchdog. With half of it, one late answer would already be one too many.
const LOOKS: u32 = 4;
/// No shorter than this between two looks, whatever the unit says.
const LOOK_MIN: Duration = Duration::from_millis(100);

/// Sockets are bound, interfaces are there; whether the tunnels come up is the peers' affair too.
pub(super) fn ready() {
    send(&[NotifyState::Ready]);
}

/// The changed file is being looked at; [`ready`] ends it, whatever came of it.
pub(super) fn reloading() {
    // systemd 253 wants the time with it and kills who leaves it out; 252 knows no such field and passes it over.
    match NotifyState::monotonic_usec_now() {
        Ok(time) => send(&[NotifyState::Reloading, time]),
        Err(error) => tracing::debug!("no RELOADING=1 for systemd: {error}"),
    }
}

/// The end has begun.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub(super) fn status(text: &str) {
    send(&[NotifyState::Status(text)]);
}

fn send(states: &[NotifyState<'_>]) {
    // A service manager that does not listen is no reason to stop carrying packets.
    let _ = sd_notify::notify(states);
}

/// When to look, and whether the last look was a good one.
pub(super) struct Watchdog {
    interval: Option<Interval>,
    period: Duration,
    starving: bool,
}

/// What a look came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Everything moves.
    Fed,
    /// Somebody stands still and it was said already.
    Starved,
    /// The same, and it is news.
    StarvedNow,
}

impl Watchdog {
    /// As the unit has it (`WatchdogSec=`).
    pub(super) fn of_the_unit() -> Self {
        Self::new(sd_notify::watchdog_enabled())
    }

    fn new(period: Option<Duration>) -> Self {
        let interval = period.map(|period| {
            let mut interval = tokio::time::interval((period / LOOKS).max(LOOK_MIN));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        Self { interval, period: period.unwrap_or_default(), starving: false }
    }

    /// Silence after which systemd ends the daemon.
    pub(super) const fn period(&self) -> Duration {
        self.period
    }

    /// Waits until it is time to look; for ever when nobody asked for signs of life.
    pub(super) async fn due(&mut self) {
        match &mut self.interval {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Feeds, unless something is `stuck`. A worker that comes back in time is forgiven.
    pub(super) fn look(&mut self, stuck: bool) -> Look {
        if !stuck {
            self.starving = false;
            send(&[NotifyState::Watchdog]);
            return Look::Fed;
        }
        if std::mem::replace(&mut self.starving, true) { Look::Starved } else { Look::StarvedNow }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stuck_worker_ends_the_feeding_once_and_one_that_returns_resumes_it() {
        let mut watchdog = Watchdog::new(Some(Duration::from_millis(400)));
        let seen = [false, true, true, false, true].map(|stuck| watchdog.look(stuck));
        assert_eq!(seen, [Look::Fed, Look::StarvedNow, Look::Starved, Look::Fed, Look::StarvedNow]);
    }

    #[tokio::test]
    async fn it_looks_four_times_in_the_watchdogs_period_and_never_without_one() {
        let began = std::time::Instant::now();
        let mut watchdog = Watchdog::new(Some(Duration::from_millis(800)));
        for _ in 0..4 {
            watchdog.due().await;
        }
        // The first look is at once, three follow; a busy machine may be late, never early.
        assert!(began.elapsed() >= Duration::from_millis(590));
        let mut without = Watchdog::new(None);
        let waited = tokio::time::timeout(Duration::from_millis(50), without.due()).await;
        assert!(waited.is_err(), "looked although nobody asked");
    }
}
