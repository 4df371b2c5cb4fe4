//! The last minutes of every tunnel, one sample a second, for the live views: round trip, loss, throughput.
//! Bounded, in memory only, and pure: who samples brings the time along.

use std::collections::{BTreeMap, VecDeque};

use model::Instant;

use crate::api::{History, Tunnel, TunnelHistory};

/// Samples kept of each tunnel.
pub const SAMPLES_MAX: usize = 180;
/// The distance of two samples, in seconds.
pub const INTERVAL_SECONDS: f64 = 1.0;

/// The recorder.
#[derive(Debug, Default)]
pub struct Recorder {
    tunnels: BTreeMap<(String, String), Record>,
}

#[derive(Debug, Default)]
struct Record {
    points: VecDeque<Point>,
    /// The octets in and out at the last sample, and when it was.
    last: Option<(Instant, u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    rtt_ms: Option<f64>,
    loss_ratio: Option<f64>,
    rx: f64,
    tx: f64,
}

impl Recorder {
    /// Takes a sample of one tunnel. `octets`: received and sent since some beginning; a restart of the count is seen.
    pub fn sample(&mut self, connection: &str, tunnel: &Tunnel, octets: (u64, u64), now: Instant) {
        let record = self.tunnels.entry((connection.to_owned(), tunnel.name.clone())).or_default();
        let (rx, tx) = match record.last {
            Some((at, rx, tx)) if now > at => {
                let seconds = (now - at).as_secs_f64();
                let rate = |count: u64, before: u64| (count.saturating_sub(before) as f64 / seconds).round();
                (rate(octets.0, rx), rate(octets.1, tx))
            }
            _ => (0.0, 0.0),
        };
        record.last = Some((now, octets.0, octets.1));
        // A tunnel without an SA is not probed: what was measured before is no news.
        let probe = tunnel.probe.filter(|_| tunnel.child.is_some());
        if record.points.len() == SAMPLES_MAX {
            record.points.pop_front();
        }
        record.points.push_back(Point {
            rtt_ms: probe.filter(|_| tunnel.stage >= crate::api::Stage::Bgp).and_then(|probe| probe.rtt_ms),
            loss_ratio: probe.map(|probe| (probe.loss_ratio * 1e4).round() / 1e4),
            rx,
            tx,
        });
    }

    /// Forgets tunnels that are not configured any more.
    pub fn keep(&mut self, configured: impl Fn(&str, &str) -> bool) {
        self.tunnels.retain(|(connection, tunnel), _| configured(connection, tunnel));
    }

    /// Everything, oldest first.
    pub fn report(&self) -> History {
        let tunnels = self.tunnels.iter().map(|((connection, tunnel), record)| {
            let points = || record.points.iter();
            TunnelHistory {
                connection: connection.clone(),
                tunnel: tunnel.clone(),
                rtt_ms: points().map(|point| point.rtt_ms).collect(),
                loss_ratio: points().map(|point| point.loss_ratio).collect(),
                rx_bytes_per_second: points().map(|point| point.rx).collect(),
                tx_bytes_per_second: points().map(|point| point.tx).collect(),
            }
        });
        History { interval_seconds: INTERVAL_SECONDS, tunnels: tunnels.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixtures;

    fn tunnel() -> Tunnel {
        fixtures::tunnel("tunnel1")
    }

    #[test]
    fn throughput_is_the_difference_of_two_samples_and_a_restarted_count_is_no_flood() {
        let mut recorder = Recorder::default();
        for (ms, octets) in
            [(0, (1_000, 0)), (1_000, (3_000, 500)), (3_000, (3_000, 2_500)), (4_000, (10, 0))]
        {
            recorder.sample("vpn-1", &tunnel(), octets, Instant::from_millis(ms));
        }
        let report = recorder.report();
        assert_eq!(report.tunnels[0].rx_bytes_per_second, [0.0, 2_000.0, 0.0, 0.0]);
        assert_eq!(report.tunnels[0].tx_bytes_per_second, [0.0, 500.0, 1_000.0, 0.0]);
        assert_eq!(report.tunnels[0].rtt_ms, [None; 4]);
    }

    #[test]
    fn the_past_is_bounded_and_forgotten_with_the_tunnel() {
        let mut recorder = Recorder::default();
        for second in 0..2 * SAMPLES_MAX as u64 {
            recorder.sample("vpn-1", &tunnel(), (0, 0), Instant::from_millis(second * 1_000));
        }
        assert_eq!(recorder.report().tunnels[0].rtt_ms.len(), SAMPLES_MAX);
        recorder.keep(|_, _| false);
        assert!(recorder.report().tunnels.is_empty());
    }
}
