//! How far a tunnel has come, and how the whole stands: pure functions of what the parts report.
//!
//! The ladder is AWS's own (IKE, IPsec, tunnel, BGP). A stage is the highest one reached, and a tunnel is `up`
//! when traffic can pass.

use std::time::Duration;

use model::Instant;

use crate::api::{Redundancy, Stage};

/// ESP that arrived this recently counts as "something comes through".
pub const ESP_RECENT: Duration = Duration::from_secs(5);

/// What a stage is computed from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// An IKE SA is established.
    pub ike: bool,
    /// A child SA is installed.
    pub child: bool,
    /// An authenticated ESP packet arrived within [`ESP_RECENT`].
    pub esp_received: bool,
    /// AWS's inside address answers the probes.
    pub answering: bool,
    /// For a BGP connection: whether the session is established. `None` on a static one.
    pub bgp_established: Option<bool>,
}

/// The stage that follows from the facts.
pub fn stage(facts: Facts) -> Stage {
    match facts {
        // The child outlives its IKE SA for a moment at most; while it carries traffic the tunnel is not down.
        Facts { child: true, answering: true, bgp_established: None | Some(true), .. } => Stage::Up,
        Facts { child: true, answering: true, bgp_established: Some(false), .. } => Stage::Bgp,
        Facts { child: true, esp_received: true, .. } => Stage::Tunnel,
        Facts { child: true, .. } => Stage::Ipsec,
        Facts { ike: true, .. } => Stage::Ike,
        _ => Stage::Down,
    }
}

/// A stage and since when.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    stage: Stage,
    since: Instant,
}

impl Since {
    /// Down since now.
    pub fn new(now: Instant) -> Self {
        Self { stage: Stage::Down, since: now }
    }

    /// The stage.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Time since it last changed.
    pub fn age(&self, now: Instant) -> Duration {
        now - self.since
    }

    /// Takes over a newly computed stage; returns the one before and how long it had lasted, if it changed.
    pub fn update(&mut self, stage: Stage, now: Instant) -> Option<(Stage, Duration)> {
        if stage == self.stage {
            return None;
        }
        let before = (self.stage, self.age(now));
        *self = Self { stage, since: now };
        Some(before)
    }
}

/// How the connections stand, each given by its tunnels' stages.
pub fn redundancy<'a>(connections: impl IntoIterator<Item = &'a [Stage]>) -> Redundancy {
    connections
        .into_iter()
        .map(|tunnels| {
            let up = tunnels.iter().filter(|stage| **stage == Stage::Up).count();
            match up {
                0 => Redundancy::None,
                _ if up == tunnels.len() => Redundancy::Full,
                _ => Redundancy::Degraded,
            }
        })
        .max()
        .unwrap_or(Redundancy::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_climbs_the_ladder() {
        let mut facts = Facts::default();
        assert_eq!(stage(facts), Stage::Down);
        facts.ike = true;
        assert_eq!(stage(facts), Stage::Ike);
        facts.child = true;
        assert_eq!(stage(facts), Stage::Ipsec);
        facts.esp_received = true;
        assert_eq!(stage(facts), Stage::Tunnel);
        facts.answering = true;
        assert_eq!(stage(facts), Stage::Up);
        facts.bgp_established = Some(false);
        assert_eq!(stage(facts), Stage::Bgp);
        facts.bgp_established = Some(true);
        assert_eq!(stage(facts), Stage::Up);
    }

    #[test]
    fn an_answer_counts_for_nothing_without_a_child() {
        assert_eq!(stage(Facts { ike: true, answering: true, ..Facts::default() }), Stage::Ike);
    }

    #[test]
    fn since_counts_from_the_last_change() {
        let mut since = Since::new(Instant::from_secs(1));
        assert_eq!(since.update(Stage::Down, Instant::from_secs(3)), None);
        assert_eq!(
            since.update(Stage::Ike, Instant::from_secs(4)),
            Some((Stage::Down, Duration::from_secs(3)))
        );
        assert_eq!(since.age(Instant::from_secs(6)), Duration::from_secs(2));
    }

    #[test]
    fn the_worst_connection_counts() {
        use Stage::{Bgp, Down, Up};
        assert_eq!(redundancy([&[Up, Up][..]]), Redundancy::Full);
        assert_eq!(redundancy([&[Up, Bgp][..]]), Redundancy::Degraded);
        assert_eq!(redundancy([&[Down, Bgp][..]]), Redundancy::None);
        assert_eq!(redundancy([&[Up, Up][..], &[Down, Up][..]]), Redundancy::Degraded);
        assert_eq!(redundancy([&[Up, Up][..], &[Down, Down][..]]), Redundancy::None);
        assert_eq!(redundancy([]), Redundancy::None);
    }
}
