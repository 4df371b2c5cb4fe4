//! A changed configuration, applied by difference.

use std::collections::BTreeMap;

use ike::Command;
use model::Instant;

use super::Supervisor;
use super::line::Line;
use super::notify;
use crate::catalog::Code;
use crate::control::{Brought, Outcome, Refusal};
use crate::translate::failure::Finding;

impl Supervisor {
    /// Reads the file again, or takes what a client brought. Tunnels that did not change keep their SAs; on an error nothing changes at all.
    ///
    /// # Errors
    /// What is wrong with the file, as `cgwd check` says it.
    pub(super) fn reload(&mut self, brought: Option<&Brought>, now: Instant) -> Outcome {
        notify::reloading();
        let outcome = self.exchange_file(brought, now);
        notify::ready();
        outcome
    }

    fn exchange_file(&mut self, brought: Option<&Brought>, now: Instant) -> Outcome {
        let loaded = match brought {
            Some(brought) => config::parse(&String::from_utf8_lossy(brought.text.expose()), &brought.name),
            None => config::load(&self.config_path),
        };
        let loaded = loaded.map_err(|report| {
            let finding =
                Finding { code: Code::ConfigRejected, text: "the changed file has errors".to_owned() };
            self.event(None, None, finding, None);
            Refusal::unprocessable(report.render(false))
        })?;
        let fresh = self
            .make_lines(&loaded.config, now)
            .map_err(|error| Refusal::unprocessable(error.to_string()))?;
        let message = self.exchange(fresh, now);
        self.tunnels = super::interfaces(&loaded.config);
        self.config = loaded.config;
        self.routing.reconsider();
        let needed: Vec<_> =
            self.lines.iter().filter_map(Line::running).map(|running| running.local).collect();
        self.sockets.keep_only(&needed);
        self.forwarding();
        self.routes_due = true;
        let finding = Finding { code: Code::ConfigReloaded, text: message.clone() };
        self.event(None, None, finding, None);
        Ok(message)
    }

    /// Keeps the lines that run the same as before, ends the others, and takes the new ones in.
    fn exchange(&mut self, fresh: Vec<Line>, now: Instant) -> String {
        let name = |line: &Line| (line.connection.id.clone(), line.config.name.clone());
        let mut old: BTreeMap<_, Line> = self.lines.drain(..).map(|line| (name(&line), line)).collect();
        let (mut kept, mut changed, mut added) = (0, 0, 0);
        let mut lines = Vec::new();
        for mut line in fresh {
            match old.remove(&name(&line)) {
                Some(mut before) if before.runs_like(&line) => {
                    if let Err(why) = before.follow(&line, &self.inbox, now) {
                        tracing::error!("BGP of {}: {why}", line.config.name);
                    }
                    kept += 1;
                    lines.push(before);
                }
                Some(mut before) => {
                    changed += 1;
                    line.drained = before.drained;
                    before.shut_down_bgp(now);
                    before.command(Command::Close, &self.sockets, now, &mut Vec::new());
                    lines.push(line);
                }
                None => {
                    added += 1;
                    lines.push(line);
                }
            }
        }
        let removed = old.len();
        for mut line in old.into_values() {
            line.shut_down_bgp(now);
            line.command(Command::Close, &self.sockets, now, &mut Vec::new());
        }
        self.lines = lines;
        format!("{kept} tunnels untouched, {changed} changed, {added} added, {removed} removed")
    }
}
