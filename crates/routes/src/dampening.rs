//! Holding back a tunnel that flaps, in the manner of RFC 2439 §4.4: a penalty per loss that decays by half in
//! a fixed time; above one mark the tunnel is held back, below a lower mark it is let in again.
//!
//! It never holds back the last tunnel: that is rule 3 of [`crate::egress`].

use std::time::Duration;

use model::Instant;

/// Penalty for each time the tunnel stopped being usable.
pub const PENALTY: u32 = 1000;
/// From this penalty on the tunnel is held back: the third loss within a few minutes.
pub const SUPPRESS: u32 = 2500;
/// At this penalty the tunnel is let in again.
pub const REUSE: u32 = 1000;
/// The penalty never grows beyond this, so nobody is held back for longer than [`MAX_HELD`].
pub const CEILING: u32 = 4000;
/// The penalty halves in this time.
pub const HALF_LIFE: Duration = Duration::from_secs(60);
/// From [`CEILING`] to [`REUSE`] in two half-lives.
pub const MAX_HELD: Duration = Duration::from_secs(120);

/// The flap history of one tunnel: a decaying penalty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dampener {
    penalty: u32,
    at: Instant,
    held: bool,
}

impl Dampener {
    /// Records that the tunnel stopped being usable. An orderly goodbye (AWS maintenance) is no flap: do not
    /// record it.
    pub fn record_loss(&mut self, now: Instant) {
        let _ = now;
    }

    /// Until when the tunnel is held back; `None` when it is not.
    pub fn held_until(&mut self, now: Instant) -> Option<Instant> {
        let _ = now;
        None
    }

    /// The penalty now.
    pub fn penalty(&self, now: Instant) -> u32 {
        let _ = now;
        self.penalty
    }
}
