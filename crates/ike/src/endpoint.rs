//! One configured peer.

use std::collections::VecDeque;

use model::{Instant, SecureRng};

use crate::config::{Config, Startup};
use crate::input::Input;
use crate::output::Output;
use crate::status::{Drops, Phase, Status};
use crate::timer::Timer;

/// Everything IKE about one configured peer: attempts, established IKE SAs, rekeys, children.
///
/// Drive it like this: after every `handle_` call, take all of [`Endpoint::poll_output`] and execute it in
/// order, then ask [`Endpoint::poll_timeout`] when to come back. Creating one with `Startup::Initiate` makes
/// its first attempt due at once: call [`Endpoint::handle_timeout`].
pub struct Endpoint {
    config: Config,
    #[allow(dead_code)]
    rng: Box<dyn SecureRng>,
    outputs: VecDeque<Output>,
    now: Instant,
}

impl Endpoint {
    /// An endpoint without any SA.
    pub fn new(config: Config, rng: Box<dyn SecureRng>, now: Instant) -> Self {
        Self { config, rng, outputs: VecDeque::new(), now }
    }

    /// Takes one input. Never fails, never panics, on any octets.
    pub fn handle_input(&mut self, now: Instant, _input: Input<'_>) {
        self.now = now;
    }

    /// Does everything that is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
    }

    /// The next effect, in the order in which effects must happen.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Endpoint::handle_timeout`] must be called next, and why. Never without one while there is
    /// something left to wait for; may lie in the past.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        None
    }

    /// A snapshot for `status --json`.
    pub fn status(&self) -> Status {
        let phase = match self.config.startup {
            Startup::Initiate => Phase::Waiting { until: self.now },
            Startup::Respond => Phase::Listening,
        };
        Status {
            phase,
            ike: None,
            child: None,
            ike_sas: 0,
            child_sas: 0,
            last_failure: None,
            attempts: 0,
            failed_attempts: 0,
            retransmits: 0,
            drops: Drops::default(),
        }
    }
}
