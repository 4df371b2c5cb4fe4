//! When to try: one attempt of ours at a time, again and again, with a capped and jittered wait between.
//!
//! The first try after an orderly end is immediate; what comes up and goes down at once counts as a failure,
//! so that a peer that accepts and deletes does not get a storm.

use std::time::Duration;

use model::Instant;

use crate::config::{Backoff, Startup};
use crate::endpoint::{Endpoint, Mode};
use crate::error::Failure;
use crate::output::Notice;
use crate::sa::initiator::Initiator;
use crate::sa::state::Sa;
use crate::timer::Timer;

/// An IKE SA that lived this long was a success.
const STABLE: Duration = Duration::from_secs(10);

/// The plan for the next attempt.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct Reconnect {
    at: Option<Instant>,
    /// Failures since the last success.
    pub(crate) failures: u32,
    /// Attempts begun.
    pub(crate) attempts: u64,
}

impl Reconnect {
    pub(crate) fn new(startup: Startup, now: Instant) -> Self {
        let at = (startup == Startup::Initiate).then_some(now);
        Self { at, failures: 0, attempts: 0 }
    }

    /// The next attempt is due now.
    pub(crate) fn now(&mut self, now: Instant) {
        self.at = Some(now);
        self.failures = 0;
    }

    /// No further attempt.
    pub(crate) fn stop(&mut self) {
        self.at = None;
    }

    /// When the next attempt is due.
    pub(crate) const fn at(&self) -> Option<Instant> {
        self.at
    }

    /// What [`Endpoint::state_digest`] sees.
    pub(crate) fn digest(&self, out: &mut Vec<u64>) {
        out.extend([self.at.map_or(0, Instant::as_nanos), self.failures.into(), self.attempts]);
    }
}

/// The wait before attempt number `failures + 1`.
fn backoff(backoff: &Backoff, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    backoff.min.saturating_mul(1 << doublings).min(backoff.max)
}

impl Endpoint {
    /// Plans the next attempt after `failures` failures; none yet: at once.
    fn plan(&mut self) {
        if self.ctx.config.startup != Startup::Initiate || self.mode != Mode::Open {
            return self.reconnect.stop();
        }
        let mut wait = Duration::ZERO;
        if self.reconnect.failures > 0 {
            let full = backoff(&self.ctx.config.reconnect, self.reconnect.failures);
            wait = full.saturating_sub(self.ctx.random(full / 2));
        }
        self.reconnect.at = Some(self.ctx.now + wait);
        self.ctx.notice(Notice::RetryScheduled { after: wait });
    }

    /// An attempt of ours ended in nothing.
    pub(crate) fn attempt_failed(&mut self, failure: Failure) {
        self.ctx.failed(failure);
        self.reconnect.failures = self.reconnect.failures.saturating_add(1);
        self.plan();
    }

    /// The IKE SA that counted is gone, and nothing takes its place.
    pub(crate) fn lost_home(&mut self, lived: Duration) {
        if lived >= STABLE {
            self.reconnect.failures = 0;
        }
        self.plan();
        self.reconnect.failures = self.reconnect.failures.saturating_add(1);
    }

    /// Starts the attempt that is due, if nothing speaks against it.
    pub(crate) fn connect(&mut self) {
        if self.mode != Mode::Open || self.reconnect.at.is_none_or(|at| at > self.ctx.now) {
            return;
        }
        self.reconnect.at = None;
        if self.home().is_some() || self.sas.values().any(Sa::is_attempt) {
            return;
        }
        self.reconnect.attempts += 1;
        let remote = (self.ctx.config.remote, self.ctx.config.remote_port).into();
        let attempt = self.reconnect.attempts;
        self.ctx.notice(Notice::HandshakeStarted { attempt, remote });
        match Initiator::start(&mut self.ctx) {
            Ok(sa) => self.hold(Sa::Initiator(Box::new(sa))),
            Err(failure) => self.attempt_failed(failure),
        }
    }

    /// The time-out for the next attempt.
    pub(crate) fn connect_due(&self) -> Option<(Instant, Timer)> {
        self.reconnect.at.map(|at| (at, Timer::Reconnect))
    }
}
