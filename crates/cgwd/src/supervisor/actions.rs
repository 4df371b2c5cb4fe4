//! What clients of the control socket ask for.

use ike::Command;
use model::Instant;

use super::{Supervisor, status};
use crate::api;
use crate::catalog::Code;
use crate::control::{Action, Outcome, Refusal, Request};
use crate::translate::failure::Finding;

impl Supervisor {
    /// Answers one request. A client that went away meanwhile is no error.
    pub(super) fn request(&mut self, request: Request, now: Instant) {
        match request {
            Request::Status(reply) => {
                let _ = reply.send(status::status(&self.lines, &self.config, self.started, now));
            }
            Request::Events { after, reply } => {
                let events = self.timeline.after(after).cloned().collect();
                let _ = reply.send(api::Events { events, last_id: self.timeline.last_id() });
            }
            Request::Routes(reply) => {
                let _ = reply.send(status::routes(&self.routing, &self.config));
            }
            Request::Bgp(reply) => {
                let _ = reply.send(super::bgp::report(&self.lines, &self.routing, &self.config, now));
            }
            Request::Config(reply) => {
                let _ = reply.send(crate::cli::explain::explain(&self.config));
            }
            Request::Overview { after, reply } => {
                let events = self.timeline.after(after).cloned().collect();
                let _ = reply.send(api::Overview {
                    status: status::status(&self.lines, &self.config, self.started, now),
                    history: self.recorder.report(),
                    events: api::Events { events, last_id: self.timeline.last_id() },
                });
            }
            Request::Metrics(reply) => {
                let _ = reply.send(crate::metrics::render(&self.snapshot(now)));
            }
            Request::Act { tunnel, action, reply } => {
                let _ = reply.send(self.act(&tunnel, action, now));
            }
            Request::Capture { tunnel, count, reply } => {
                let _ = reply.send(self.capture(tunnel.as_deref(), count));
            }
            Request::Reload { brought, dry_run, reply } => {
                let outcome = if dry_run {
                    self.reload_plan(brought.as_ref(), now)
                } else {
                    self.reload(brought.as_ref(), now)
                };
                let _ = reply.send(outcome);
            }
        }
    }

    fn act(&mut self, name: &str, action: Action, now: Instant) -> Outcome {
        let (connection, tunnel) =
            self.config.find_tunnel(name).map_err(|error| Refusal::not_found(error.to_string()))?;
        let (connection, tunnel) = (connection.id.clone(), tunnel.name.clone());
        let found =
            self.lines.iter_mut().find(|line| line.connection.id == connection && line.config.name == tunnel);
        let line = found.ok_or_else(|| Refusal::not_found(format!("no tunnel is called `{name}`")))?;
        let full = format!("{connection}/{tunnel}");
        let negotiator = line.running().map(|running| running.glue.status());
        let mut out = Vec::new();
        let mut command = |command| line.command(command, &self.sockets, now, &mut out);
        let (message, code) = match action {
            Action::Reset => {
                command(Command::Reset);
                line.health.ended_on_purpose();
                (format!("{full}: everything deleted, connecting anew"), Some(Code::TunnelReset))
            }
            Action::RekeyIke if negotiator.as_ref().is_some_and(|status| status.ike.is_some()) => {
                command(Command::RekeyIke);
                (format!("{full}: IKE SA rekey started"), None)
            }
            Action::RekeyChild if negotiator.as_ref().is_some_and(|status| status.child.is_some()) => {
                command(Command::RekeyChild);
                (format!("{full}: child SA rekey started"), None)
            }
            Action::RekeyIke | Action::RekeyChild => {
                return Err(Refusal::conflict(format!("{full} has no SA to rekey: it is not up")));
            }
            Action::RefreshBgp => {
                line.refresh_bgp(now).map_err(|why| Refusal::conflict(format!("{full}: {why}")))?;
                (format!("{full}: AWS is asked for all its routes again"), None)
            }
            Action::Drain if line.drained => return Ok(format!("{full} was drained already")),
            Action::Undrain if !line.drained => return Ok(format!("{full} was not drained")),
            Action::Drain => {
                line.drain_tunnel(true, now);
                (format!("{full}: drained, traffic leaves by the other tunnel"), Some(Code::TunnelDrained))
            }
            Action::Undrain => {
                line.drain_tunnel(false, now);
                (format!("{full}: back in service"), Some(Code::TunnelUndrained))
            }
        };
        let id = line.id;
        self.routes_due = true;
        if let Some(code) = code {
            let text = message.split_once(": ").map_or(message.as_str(), |(_, rest)| rest).to_owned();
            self.event(Some(&connection), Some(&tunnel), Finding { code, text }, None);
        }
        self.take(id, out, now);
        Ok(message)
    }
}
