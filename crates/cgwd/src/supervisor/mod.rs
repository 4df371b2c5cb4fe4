//! The control loop: keeps every configured tunnel up for ever.
//!
//! One task owns everything. Sockets, worker threads, clients of the control socket, the kernel's announcements,
//! signals and timers wake it; each time it feeds the cores, carries out what they ask for, in their order, and
//! sleeps until the next deadline. It never waits for a peer, and it gives up on nothing but its own exit.

mod actions;
mod address;
mod bgp;
mod capture;
mod figures;
#[cfg(test)]
mod flaps;
mod hooks;
mod host;
mod inbox;
mod keylog;
mod line;
pub mod mtu;
mod notify;
mod readiness;
mod reload;
mod routing;
mod run;
mod sockets;
mod status;
mod trial;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use ike::Command;
use model::Instant;
use net::MonotonicClock;
use tokio::sync::{mpsc, watch};

use crate::api::Stage;
use crate::catalog::{Code, Severity};
use crate::events::{Subject, Timeline};
use crate::history::Recorder;
use crate::hooks::Hooks;
use crate::translate::certificates::{CredentialError, Proof};
use crate::translate::failure::Finding;
use crate::tunnel::health::Reaction;
use inbox::{Incoming, LineId};
use line::{Line, Surroundings};
use routing::{Routing, Said};
use sockets::Sockets;

pub use run::{Options, StartError, run};

/// The routing decision is looked at at least this often: some of its rules depend on time.
const TICK: Duration = Duration::from_secs(1);
/// Tunnels that the line of `systemctl status` names with the stage they hang in.
const STATUS_DOWN_MAX: usize = 4;

struct Supervisor {
    config: config::Config,
    /// The interfaces of all configured tunnels.
    tunnels: Vec<String>,
    config_path: PathBuf,
    started: Instant,
    lines: Vec<Line>,
    next_line: u64,
    sockets: Sockets,
    inbox: mpsc::Sender<Incoming>,
    /// What worker threads could not say because the inbox was full.
    dropped: Arc<AtomicU64>,
    routing: Routing,
    capture: Option<capture::Current>,
    hooks: Hooks,
    told: hooks::Told,
    keylog: Option<keylog::KeyLog>,
    recorder: Recorder,
    /// When the configuration was last taken over, by the wall clock.
    configured: SystemTime,
    host: host::Changed,
    timeline: Timeline,
    newest: watch::Sender<u64>,
    next_tick: Instant,
    /// Something happened that the routes may depend on.
    routes_due: bool,
    status_said: String,
}

impl Supervisor {
    /// A line for every configured tunnel, with its key.
    ///
    /// # Errors
    /// When a key cannot be fetched.
    fn make_lines(&mut self, config: &config::Config, now: Instant) -> Result<Vec<Line>, CredentialError> {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let mut lines = Vec::new();
        for connection in &config.connections {
            let shared = Rc::new(connection.clone());
            for tunnel in &connection.tunnels {
                let proof = Proof::read(connection, tunnel, credentials.as_deref(), now)?;
                let id = LineId(self.next_line);
                self.next_line += 1;
                lines.push(Line::new(id, Rc::clone(&shared), tunnel.clone(), proof, now));
            }
        }
        Ok(lines)
    }

    /// The earliest moment at which something is due.
    fn deadline(&self) -> Instant {
        let lines = self.lines.iter().filter_map(Line::deadline).min();
        [lines, self.routing.deadline()].into_iter().flatten().fold(self.next_tick, Instant::min)
    }

    fn incoming(&mut self, incoming: Incoming, now: Instant) {
        let incoming = match incoming {
            Incoming::Hook { complaint } => return self.hook_failed(complaint.text),
            other => other,
        };
        let mut out = Vec::new();
        let index = match &incoming {
            Incoming::Ike { local, remote, .. } | Incoming::Esp { local, remote, .. } => {
                // One endpoint for each outside address; what comes from elsewhere belongs to nobody.
                self.lines.iter().position(|line| {
                    line.config.outside == remote.ip()
                        && line.running().is_some_and(|running| running.local == local.ip())
                })
            }
            Incoming::Plane { line: id, .. } | Incoming::Bgp { line: id, .. } => {
                self.lines.iter().position(|line| line.id == *id)
            }
            Incoming::Hook { .. } => None,
        };
        let Some(line) = index.and_then(|index| self.lines.get_mut(index)) else { return };
        match incoming {
            Incoming::Ike { local, remote, message } => {
                line.datagram((local, remote), &message, &self.sockets, now, &mut out);
            }
            Incoming::Esp { remote, datagram, .. } => line.deliver(&datagram, remote),
            Incoming::Plane { event, .. } => line.plane_event(event, &self.sockets, now, &mut out),
            Incoming::Bgp { event, .. } => {
                line.bgp_event(event, now, &mut out);
                self.routes_due = true;
            }
            Incoming::Hook { .. } => {}
        }
        let id = line.id;
        self.take(id, out, now);
    }

    /// Does everything that is due.
    fn turn(&mut self, now: Instant) {
        let mut all = Vec::new();
        for line in &mut self.lines {
            let mut out = Vec::new();
            let mut around = Surroundings {
                netlink: &mut self.routing.netlink,
                tunnels: &self.tunnels,
                sockets: &mut self.sockets,
                inbox: &self.inbox,
                dropped: &self.dropped,
                expose_keys: self.keylog.is_some(),
            };
            line.start_if_due(&mut around, now, &mut out);
            line.turn(&self.sockets, now, &mut out);
            if !out.is_empty() {
                all.push((line.id, out));
            }
        }
        for (id, out) in all {
            self.take(id, out, now);
        }
        if let Some(keylog) = &mut self.keylog {
            self.lines.iter_mut().flat_map(Line::take_exposed).for_each(|keys| keylog.write(&keys));
        }
        self.end_capture();
        if let Some(capture) = &self.capture {
            capture.plug(&self.lines);
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.routes_due = true;
            self.routing.sample(&self.lines);
            self.tell_time(now);
            self.record(now);
            // A route that comes after the address announces no address; a tunnel that is down looks for itself.
            self.follow_addresses(|line| line.health.stage() == Stage::Down, now);
        }
        if self.routes_due || self.routing.deadline().is_some_and(|at| at <= now) {
            self.routes_due = false;
            let said = self.routing.update(&mut self.lines, &self.config, now);
            self.say(said);
            self.hook_changes();
            self.say_status();
        }
    }

    /// Tunnels with certificates learn what time it is, and say what ends soon.
    fn tell_time(&mut self, now: Instant) {
        let mut all = Vec::new();
        for line in &mut self.lines {
            let mut out = Vec::new();
            line.tell_time(&self.sockets, now, &mut out);
            all.push((line.id, out));
        }
        for (id, out) in all {
            self.take(id, out, now);
        }
    }

    /// The kernel announced changes; whether there were any.
    fn announced(&mut self, now: Instant) -> bool {
        let news = self.routing.announced(now);
        if news.addresses {
            self.follow_addresses(|_| true, now);
            self.repair_addresses(now);
        }
        news.any
    }

    /// Inside addresses stay on their interfaces, whoever removes them.
    fn repair_addresses(&mut self, now: Instant) {
        let mut said = Vec::new();
        for line in &self.lines {
            let Some(running) = line.running() else { continue };
            let inside: Vec<_> = line.config.inside.iter().map(|inside| inside.ours).collect();
            let interface = running.glue.plane().interface_index();
            match address::repair(&mut self.routing.netlink, interface, &inside) {
                Ok(missing) => said.extend(missing.into_iter().map(|address| {
                    let text = format!("{address} was gone from {} and was set again", line.config.interface);
                    (line.id, Finding { code: Code::AddressRepaired, text })
                })),
                // The interface itself is gone: the data plane says so.
                Err(error) => tracing::debug!(tunnel = %line.config.name, "inside addresses: {error}"),
            }
        }
        for (id, finding) in said {
            self.take(id, vec![Reaction::Event(finding, None)], now);
        }
    }

    /// A tunnel whose local address is another one now starts anew from there. While there is none at all, it
    /// stays as it is: the old one may return.
    fn follow_addresses(&mut self, which: fn(&Line) -> bool, now: Instant) {
        let mut moved = Vec::new();
        for line in self.lines.iter_mut().filter(|line| which(line)) {
            let Some(before) = line.running().map(|running| running.local) else { continue };
            match address::local(&mut self.routing.netlink, &line.config, &self.tunnels) {
                Ok(local) if local != before => {
                    line.restart(now);
                    let text =
                        format!("our address was {before} and is {local} now; connecting anew from there");
                    moved.push((line.id, Finding { code: Code::HostAddress, text }));
                }
                _ => {}
            }
        }
        for (id, finding) in moved {
            self.take(id, vec![Reaction::Event(finding, None)], now);
        }
    }

    /// What a line left to the supervisor.
    fn take(&mut self, id: LineId, reactions: Vec<Reaction>, now: Instant) {
        let Some(index) = self.lines.iter().position(|line| line.id == id) else { return };
        for reaction in reactions {
            let Some(line) = self.lines.get_mut(index) else { return };
            match reaction {
                Reaction::Event(finding, took) => {
                    let (connection, tunnel) = (line.connection.id.clone(), line.config.name.clone());
                    match finding.code {
                        Code::IkeNoProposal | Code::IkeNoAnswer => {
                            line.ask_version(finding.code, &self.sockets, now);
                        }
                        _ => {}
                    }
                    let refused = finding.code == Code::IkeAuthFailed;
                    self.event(Some(&connection), Some(&tunnel), finding, took);
                    if refused {
                        self.try_keys(&connection, now);
                    }
                }
                Reaction::StageChanged { from, to } => {
                    self.routes_due = true;
                    line.show_carrier(&mut self.routing.netlink);
                    if from == Stage::Up && !line.said_goodbye() {
                        line.dampener.record_loss(now);
                    }
                    if let Some(line) = self.lines.get(index) {
                        self.hook_stage(line, (from, to));
                    }
                }
                // The line did these itself.
                Reaction::Probe(_) | Reaction::CheckLiveness | Reaction::Reset => {}
            }
        }
    }

    /// When all tunnels of a connection fail authentication, their keys may be swapped: tries each with another's.
    fn try_keys(&mut self, connection: &str, now: Instant) {
        let all: Vec<usize> = (0..self.lines.len())
            .filter(|index| self.lines.get(*index).is_some_and(|line| line.connection.id == connection))
            .collect();
        let failing = |line: &Line| line.fails_with(&[Code::IkeAuthFailed, Code::IkeAuthPskSwapped]);
        if !all.iter().all(|index| self.lines.get(*index).is_some_and(failing)) {
            return;
        }
        for index in &all {
            let other = all.iter().filter_map(|other| self.lines.get(*other)).find_map(|other| {
                let (ours, theirs) = (self.lines.get(*index)?.psk()?, other.psk()?);
                (theirs.expose() != ours.expose()).then(|| (other.config.name.clone(), theirs.clone()))
            });
            let (Some((name, psk)), Some(line)) = (other, self.lines.get_mut(*index)) else { continue };
            line.try_key(name, psk, &self.sockets, now);
        }
    }

    fn say(&mut self, said: Vec<Said>) {
        for (connection, finding, took) in said {
            if let Some(connection) = &connection {
                self.hook_egress(connection, &finding);
            }
            self.event(connection.as_deref(), None, finding, took);
        }
    }

    fn event(
        &mut self,
        connection: Option<&str>,
        tunnel: Option<&str>,
        finding: Finding,
        took: Option<Duration>,
    ) {
        let Finding { code, text } = finding;
        let whom = tunnel.or(connection).unwrap_or("-");
        let message_id = code.message_id();
        // The fields are the journal's; on a terminal the words are enough.
        match code.entry().severity {
            Severity::Error | Severity::Warning => tracing::warn!(
                message_id,
                cgwd_code = code.name(),
                cgwd_connection = connection,
                cgwd_tunnel = tunnel,
                "{whom}: {code}: {text}"
            ),
            Severity::Info => tracing::info!(
                message_id,
                cgwd_code = code.name(),
                cgwd_connection = connection,
                cgwd_tunnel = tunnel,
                "{whom}: {code}: {text}"
            ),
        }
        self.timeline.push(SystemTime::now(), code, Subject { connection, tunnel }, text, took);
        self.newest.send_replace(self.timeline.last_id());
    }

    /// One line for `systemctl status`.
    fn say_status(&mut self) {
        let down: Vec<String> = self
            .lines
            .iter()
            .filter(|line| line.health.stage() != Stage::Up)
            .take(STATUS_DOWN_MAX)
            .map(|line| format!("; {}: {}", line.config.name, line.health.stage().name()))
            .collect();
        let up = self.lines.iter().filter(|line| line.usable()).count();
        let text = format!(
            "{up} of {} tunnels up, {} routes{}",
            self.lines.len(),
            self.routing.installed.len(),
            down.concat()
        );
        if text != self.status_said {
            notify::status(&text);
            self.status_said = text;
        }
    }

    fn shut_down_bgp(&mut self, now: Instant) {
        for line in &mut self.lines {
            line.shut_down_bgp(now);
        }
    }

    fn bgp_quiet(&self) -> bool {
        let mut sessions =
            self.lines.iter().filter_map(Line::running).filter_map(|running| running.bgp.as_ref());
        sessions.all(bgp::Session::quiet)
    }

    fn close_all(&mut self, now: Instant) {
        let mut out = Vec::new();
        for line in &mut self.lines {
            line.command(Command::Close, &self.sockets, now, &mut out);
        }
    }

    /// A turn of the end: timers only, so that a lost DELETE is repeated.
    fn close_turn(&mut self, now: Instant) {
        let mut out = Vec::new();
        for line in &mut self.lines {
            line.turn(&self.sockets, now, &mut out);
        }
    }

    fn all_closed(&self) -> bool {
        self.lines.iter().filter_map(Line::running).all(|running| running.closed)
    }
}

/// The interfaces of all configured tunnels.
fn interfaces(config: &config::Config) -> Vec<String> {
    config.tunnels().map(|(_, tunnel)| tunnel.interface.clone()).collect()
}

fn now() -> Instant {
    MonotonicClock::now()
}
