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

/// The flap history of one tunnel: a decaying penalty, and until when it holds the tunnel back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dampener {
    penalty: u32,
    at: Instant,
    held_until: Option<Instant>,
}

impl Dampener {
    /// Records that the tunnel stopped being usable. An orderly goodbye (AWS maintenance) is no flap: do not
    /// record it.
    pub fn record_loss(&mut self, now: Instant) {
        let still_held = self.held_until(now).is_some();
        self.penalty = self.penalty(now).saturating_add(PENALTY).min(CEILING);
        self.at = now;
        if still_held || self.penalty >= SUPPRESS {
            self.held_until = Some(now + decay_time(self.penalty));
        }
    }

    /// Until when the tunnel is held back; `None` when it is not.
    pub fn held_until(&self, now: Instant) -> Option<Instant> {
        self.held_until.filter(|until| *until > now)
    }

    /// The penalty now.
    pub fn penalty(&self, now: Instant) -> u32 {
        let elapsed = (now - self.at).as_millis();
        let half_life = HALF_LIFE.as_millis();
        let halvings = u32::try_from(elapsed / half_life).unwrap_or(u32::MAX);
        let whole = self.penalty.checked_shr(halvings).unwrap_or(0);
        // Linear within one half-life: integers only, so that every machine agrees.
        let part = u128::from(whole) * (elapsed % half_life) / (2 * half_life);
        whole - u32::try_from(part).unwrap_or(whole)
    }
}

/// How long `penalty` takes to decay to [`REUSE`].
fn decay_time(mut penalty: u32) -> Duration {
    let mut time = Duration::ZERO;
    while penalty / 2 > REUSE {
        penalty /= 2;
        time += HALF_LIFE;
    }
    let above = penalty.saturating_sub(REUSE);
    time + HALF_LIFE * 2 * above / penalty.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(seconds)
    }

    #[test]
    fn two_losses_are_bad_luck_the_third_holds_the_tunnel_back() {
        let mut dampener = Dampener::default();
        dampener.record_loss(at(100));
        assert_eq!(dampener.held_until(at(100)), None);
        dampener.record_loss(at(110));
        assert_eq!(dampener.held_until(at(110)), None);
        dampener.record_loss(at(120));
        let until = dampener.held_until(at(120)).expect("held back");
        assert!(until > at(180) && until < at(240), "{until:?}");
        assert_eq!(dampener.held_until(until), None, "let in again when the penalty has decayed");
    }

    #[test]
    fn losses_an_hour_apart_never_hold_it_back() {
        let mut dampener = Dampener::default();
        for hour in 1..100 {
            dampener.record_loss(at(hour * 3600));
            assert_eq!(dampener.held_until(at(hour * 3600)), None);
        }
    }

    #[test]
    fn the_penalty_halves_in_a_half_life_and_never_rises_by_itself() {
        let mut dampener = Dampener::default();
        dampener.record_loss(at(0));
        assert_eq!(dampener.penalty(at(60)), 500);
        assert_eq!(dampener.penalty(at(30)), 750);
        assert_eq!(dampener.penalty(at(120)), 250);
        assert_eq!(dampener.penalty(at(1_000_000)), 0);
        let series: Vec<u32> = (0..600).map(|second| dampener.penalty(at(second))).collect();
        assert!(series.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn a_thousand_flaps_hold_it_back_no_longer_than_two_half_lives() {
        let mut dampener = Dampener::default();
        for second in 0..1000 {
            dampener.record_loss(at(second));
        }
        let until = dampener.held_until(at(999)).expect("held back");
        assert!(until - at(999) <= MAX_HELD, "{until:?}");
    }
}
