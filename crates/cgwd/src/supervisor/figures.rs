//! What is sampled and counted while the daemon runs: the live views' past, and the metrics' snapshot.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use model::Instant;

use super::{Supervisor, status};
use crate::metrics::{Snapshot, TunnelFigures, unix_seconds};

impl Supervisor {
    /// Once a second.
    pub(super) fn record(&mut self, now: Instant) {
        let lines = &self.lines;
        self.recorder.keep(|connection, tunnel| {
            lines.iter().any(|line| line.connection.id == connection && line.config.name == tunnel)
        });
        for line in &mut self.lines {
            line.count();
            let figures = line.tally.figures();
            let octets = (figures.rx.1, figures.tx.1);
            self.recorder.sample(&line.connection.id, &status::tunnel(line, now), octets, now);
        }
    }

    /// Everything that `GET /metrics` tells.
    pub(super) fn snapshot(&mut self, now: Instant) -> Snapshot {
        self.lines.iter_mut().for_each(super::line::Line::count);
        let status = status::status(&self.lines, &self.config, self.started, now);
        // The order of the status: connection by connection.
        let ordered = self
            .config
            .connections
            .iter()
            .flat_map(|connection| self.lines.iter().filter(|line| line.connection.id == connection.id));
        let tunnels = ordered.map(|line| TunnelFigures {
            figures: *line.tally.figures(),
            last_rekey_seconds: line.tally.figures().last_rekey.map(|at| (now - at).as_secs_f64()),
            prefix_limits: match &line.connection.routing {
                config::Routing::Bgp(bgp) => {
                    Some((u64::from(bgp.max_accepted), u64::from(bgp.max_advertised)))
                }
                config::Routing::Static { .. } => None,
            },
        });
        let tunnels = tunnels.collect();
        let known = &self.routing.decided.failovers;
        let failovers = self.config.connections.iter();
        let failovers = failovers.map(|connection| known.get(&connection.id).copied().unwrap_or_default());
        Snapshot {
            status,
            tunnels,
            failovers: failovers.collect(),
            lost: self.sockets.dropped() + self.dropped.load(Ordering::Relaxed),
            unix_seconds: unix_seconds(SystemTime::now()),
            configured_unix_seconds: unix_seconds(self.configured),
        }
    }
}
