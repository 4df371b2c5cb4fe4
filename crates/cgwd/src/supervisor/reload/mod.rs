//! A changed configuration, applied by difference.

mod plan;

use std::collections::BTreeMap;

use config::Config;
use ike::Command;
use model::Instant;

use super::line::Line;
use super::{Supervisor, hooks, notify};
use crate::catalog::Code;
use crate::control::{Brought, Outcome, Refusal};
use crate::translate::failure::Finding;
use plan::{Fate, Plan};

type Name = (String, String);

fn name(line: &Line) -> Name {
    (line.connection.id.clone(), line.config.name.clone())
}

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

    /// What [`Supervisor::reload`] would do.
    ///
    /// # Errors
    /// The same.
    pub(super) fn reload_plan(&mut self, brought: Option<&Brought>, now: Instant) -> Outcome {
        let config = self.read_again(brought).map_err(Refusal::unprocessable)?;
        let fresh =
            self.make_lines(&config, now).map_err(|error| Refusal::unprocessable(error.to_string()))?;
        Ok(format!("{}; nothing was changed (--dry-run)", self.plan(&config, &fresh).text()))
    }

    fn read_again(&self, brought: Option<&Brought>) -> Result<Config, String> {
        let loaded = match brought {
            Some(brought) => config::parse(&String::from_utf8_lossy(brought.text.expose()), &brought.name),
            None => config::load(&self.config_path),
        };
        let mut config = loaded.map_err(|report| report.render(false))?.config;
        config.keep_interfaces(&self.config);
        Ok(config)
    }

    fn exchange_file(&mut self, brought: Option<&Brought>, now: Instant) -> Outcome {
        let read = self.read_again(brought).map_err(|why| (why, "the changed file has errors".to_owned()));
        let ready = read.and_then(|config| match self.make_lines(&config, now) {
            Ok(fresh) => Ok((config, fresh)),
            Err(error) => Err((error.to_string(), format!("a key of the changed file is missing: {error}"))),
        });
        let (config, fresh) = match ready {
            Ok(ready) => ready,
            Err((why, text)) => {
                self.event(None, None, Finding { code: Code::ConfigRejected, text }, None);
                return Err(Refusal::unprocessable(why));
            }
        };
        let plan = self.plan(&config, &fresh);
        self.step_aside(&plan, now);
        self.exchange(fresh, now);
        if self.config.hooks != config.hooks {
            self.hooks = hooks::start(&config, &self.inbox);
        }
        self.tunnels = super::interfaces(&config);
        self.config = config;
        self.configured = std::time::SystemTime::now();
        self.routing.reconsider();
        let needed: Vec<_> =
            self.lines.iter().filter_map(Line::running).map(|running| running.local).collect();
        self.sockets.keep_only(&needed);
        self.forwarding();
        self.routes_due = true;
        self.event(None, None, Finding { code: Code::ConfigReloaded, text: plan.summary() }, None);
        Ok(plan.text())
    }

    fn plan(&self, config: &Config, fresh: &[Line]) -> Plan {
        let mut old: BTreeMap<Name, &Line> = self.lines.iter().map(|line| (name(line), line)).collect();
        let full = |(connection, tunnel): &Name| format!("{connection}/{tunnel}");
        let mut tunnels = Vec::new();
        for line in fresh {
            let fate = match old.remove(&name(line)) {
                None => Fate::Added,
                Some(before) => {
                    let mut what = plan::differences(&before.config, &line.config);
                    if before.runs_like(line) {
                        what.extend(plan::around(&before.connection, &line.connection));
                        if what.is_empty() { Fate::Untouched } else { Fate::Adjusted(what) }
                    } else {
                        // The same file with another key in it.
                        let what = if what.is_empty() { vec!["the key's content"] } else { what };
                        Fate::Changed(what)
                    }
                }
            };
            tunnels.push((full(&name(line)), fate));
        }
        tunnels.extend(old.keys().map(|gone| (full(gone), Fate::Removed)));
        Plan { tunnels, daemon: plan::daemon(&self.config, config) }
    }

    /// Moves traffic away from tunnels that go or are negotiated anew, while they can still carry it.
    fn step_aside(&mut self, plan: &Plan, now: Instant) {
        let leaving: Vec<&str> = plan
            .tunnels
            .iter()
            .filter(|(_, fate)| matches!(fate, Fate::Changed(_) | Fate::Removed))
            .map(|(name, _)| name.as_str())
            .collect();
        let mut asked = Vec::new();
        for line in &mut self.lines {
            let (connection, tunnel) = name(line);
            if leaving.contains(&format!("{connection}/{tunnel}").as_str()) && !line.drained {
                line.drained = true;
                asked.push(line.id);
            }
        }
        if asked.is_empty() {
            return;
        }
        let said = self.routing.update(&mut self.lines, &self.config, now);
        self.say(said);
        // Nobody asked for that: what follows them is not drained.
        self.lines.iter_mut().filter(|line| asked.contains(&line.id)).for_each(|line| line.drained = false);
    }

    /// Keeps the lines that run the same as before, ends the others, and takes the new ones in.
    fn exchange(&mut self, fresh: Vec<Line>, now: Instant) {
        let mut old: BTreeMap<Name, Line> = self.lines.drain(..).map(|line| (name(&line), line)).collect();
        let mut lines = Vec::new();
        for mut line in fresh {
            match old.remove(&name(&line)) {
                Some(mut before) if before.runs_like(&line) => {
                    if let Err(why) = before.follow(&line, &self.inbox, now) {
                        tracing::error!("BGP of {}: {why}", line.config.name);
                    }
                    lines.push(before);
                }
                Some(mut before) => {
                    line.drained = before.drained;
                    before.shut_down_bgp(now);
                    before.command(Command::Close, &self.sockets, now, &mut Vec::new());
                    lines.push(line);
                }
                None => lines.push(line),
            }
        }
        for mut line in old.into_values() {
            line.shut_down_bgp(now);
            line.command(Command::Close, &self.sockets, now, &mut Vec::new());
        }
        self.lines = lines;
    }
}
