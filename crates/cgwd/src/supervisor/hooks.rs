//! What the operator's hooks are told, and when.

use std::collections::BTreeMap;
use std::time::SystemTime;

use config::HookEvent;
use routes::{Route, RouteKey};
use tokio::sync::mpsc;

use super::Supervisor;
use super::inbox::Incoming;
use super::line::Line;
use crate::api::{Redundancy, Stage};
use crate::catalog::Code;
use crate::events::rfc3339;
use crate::hooks::{Happening, Hooks, Report};
use crate::translate::failure::Finding;
use crate::tunnel::stage::redundancy;

/// Prefixes named in one variable; of more, only the number.
const PREFIXES_MAX: usize = 200;

/// What hooks were told last, to see what changed.
#[derive(Default)]
pub(super) struct Told {
    redundancy: BTreeMap<String, Redundancy>,
    routes: BTreeMap<RouteKey, Route>,
}

/// A task for each configured hook; their complaints come back through the inbox.
pub(super) fn start(config: &config::Config, inbox: &mpsc::Sender<Incoming>) -> Hooks {
    let inbox = inbox.clone();
    let report: Report = std::sync::Arc::new(move |complaint| {
        // A full inbox has the complaint in the log at least.
        if let Err(lost) = inbox.try_send(Incoming::Hook { complaint })
            && let Incoming::Hook { complaint } = lost.into_inner()
        {
            tracing::warn!("{}", complaint.text);
        }
    });
    Hooks::start(&config.hooks, &report)
}

impl Supervisor {
    /// A tunnel's stage changed.
    pub(super) fn hook_stage(&self, line: &Line, (from, to): (Stage, Stage)) {
        let event = match (from == Stage::Up, to == Stage::Up) {
            (false, true) => HookEvent::TunnelUp,
            (true, false) => HookEvent::TunnelDown,
            _ => return,
        };
        if !self.hooks.wants(event) {
            return;
        }
        let mut variables = common(&line.connection.id);
        variables.extend([
            ("CGWD_TUNNEL", line.config.name.clone()),
            ("CGWD_INTERFACE", line.config.interface.clone()),
            ("CGWD_OUTSIDE_IP", line.config.outside.to_string()),
            ("CGWD_STAGE", to.name().to_owned()),
        ]);
        if let Some(inside) = line.config.inside.first() {
            variables.push(("CGWD_INSIDE_IP", inside.ours.addr().to_string()));
            variables.push(("CGWD_AWS_INSIDE_IP", inside.aws.to_string()));
        }
        if to != Stage::Up
            && let Some(problem) = line.health.last_error()
        {
            variables.push(("CGWD_CODE", problem.finding.code.name().to_owned()));
            variables.push(("CGWD_TEXT", problem.finding.text.clone()));
        }
        self.hooks.tell(&Happening { event, variables });
    }

    /// The daemon stops: what was up goes down.
    pub(super) fn hook_stop(&self) {
        for line in self.lines.iter().filter(|line| line.usable()) {
            self.hook_stage(line, (Stage::Up, Stage::Down));
        }
    }

    /// The routing decision of a connection changed.
    pub(super) fn hook_egress(&self, connection: &str, finding: &Finding) {
        if !matches!(finding.code, Code::EgressMoved | Code::EgressNone)
            || !self.hooks.wants(HookEvent::Egress)
        {
            return;
        }
        let tunnels = self.routing.decided.egress.get(connection);
        let tunnels: Vec<&str> = tunnels.into_iter().flatten().map(String::as_str).collect();
        let mut variables = common(connection);
        variables.push(("CGWD_EGRESS", tunnels.join(" ")));
        variables.push(("CGWD_TEXT", finding.text.clone()));
        self.hooks.tell(&Happening { event: HookEvent::Egress, variables });
    }

    /// Compares redundancy and routes with what hooks were told last.
    pub(super) fn hook_changes(&mut self) {
        for connection in &self.config.connections {
            let stages: Vec<Stage> = self
                .lines
                .iter()
                .filter(|line| line.connection.id == connection.id)
                .map(|line| line.health.stage())
                .collect();
            let now = redundancy([stages.as_slice()]);
            let before = self.told.redundancy.insert(connection.id.clone(), now).unwrap_or(Redundancy::None);
            if before != now {
                let mut variables = common(&connection.id);
                variables.push(("CGWD_REDUNDANCY", now.name().to_owned()));
                variables.push(("CGWD_REDUNDANCY_BEFORE", before.name().to_owned()));
                self.hooks.tell(&Happening { event: HookEvent::Redundancy, variables });
            }
        }
        self.told
            .redundancy
            .retain(|id, _| self.config.connections.iter().any(|connection| connection.id == *id));
        if self.hooks.wants(HookEvent::Route) && self.told.routes != self.routing.installed {
            let before = std::mem::replace(&mut self.told.routes, self.routing.installed.clone());
            let after = &self.told.routes;
            let added =
                after.iter().filter(|(key, route)| before.get(key) != Some(route)).map(|(_, route)| route);
            let removed = before.iter().filter(|(key, _)| !after.contains_key(key)).map(|(_, route)| route);
            let (added, added_count) = prefixes(added);
            let (removed, removed_count) = prefixes(removed);
            let variables = vec![
                ("CGWD_TIME", rfc3339(SystemTime::now())),
                ("CGWD_ROUTES_SET", added),
                ("CGWD_ROUTES_SET_COUNT", added_count.to_string()),
                ("CGWD_ROUTES_REMOVED", removed),
                ("CGWD_ROUTES_REMOVED_COUNT", removed_count.to_string()),
            ];
            self.hooks.tell(&Happening { event: HookEvent::Route, variables });
        }
    }

    /// A hook complained.
    pub(super) fn hook_failed(&mut self, text: String) {
        self.event(None, None, Finding { code: Code::HookFailed, text }, None);
    }
}

fn common(connection: &str) -> Vec<(&'static str, String)> {
    vec![("CGWD_TIME", rfc3339(SystemTime::now())), ("CGWD_CONNECTION", connection.to_owned())]
}

fn prefixes<'r>(routes: impl Iterator<Item = &'r Route>) -> (String, usize) {
    let all: Vec<String> = routes.map(|route| route.prefix.to_string()).collect();
    (all.iter().take(PREFIXES_MAX).map(String::as_str).collect::<Vec<_>>().join(" "), all.len())
}
