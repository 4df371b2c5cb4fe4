//! One configured tunnel: what runs of it now, and its health.
//!
//! A line is there as long as its tunnel is configured, whether or not this host can run it at the moment. It
//! executes the [`Reaction`]s that concern itself and leaves the others to the supervisor.

mod expiry;
mod start;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use dataplane::ProbeAddresses;
use ike::{Command, Credentials, Input, Notice, Phase};
use model::{Instant, Secret};
use net::netlink::{LinkChange, Netlink};
use routes::NextHop;
use routes::dampening::Dampener;
use tokio::sync::mpsc;
use tunnel::{Effect, ExposedKeys, Tunnel};

use super::bgp::Session;
use super::inbox::{Incoming, LineId};
use super::mtu;
use super::sockets::Sockets;
use super::trial::{Trials, Verdict};
use crate::api::{self, Stage};
use crate::catalog::Code;
use crate::tally::{Reading, Tally};
use crate::translate;
use crate::translate::certificates::{Proof, unix_seconds};
use crate::translate::failure::Finding;
use crate::translate::ike_config::ike_config;
use crate::tunnel::echo;
use crate::tunnel::health::{Health, Outside, Reaction};
use crate::tunnel::probe::Settings;

use expiry::Expiry;
pub(super) use start::Surroundings;

/// A tunnel that this host cannot run is tried again after this time.
const START_RETRY: Duration = Duration::from_secs(2);
/// A child that the data plane refused is negotiated again after this time.
const PLANE_RETRY: Duration = Duration::from_secs(10);

/// One configured tunnel.
pub(super) struct Line {
    pub(super) id: LineId,
    pub(super) connection: Rc<config::Connection>,
    pub(super) config: config::Tunnel,
    pub(super) health: Health,
    pub(super) tally: Tally,
    pub(super) dampener: Dampener,
    pub(super) drained: bool,
    pub(super) egress: bool,
    pub(super) mtu: u16,
    /// How AWS's outside address is reached without the tunnel.
    pub(super) underlay: Option<NextHop>,
    /// Keys on their way to [`super::keylog`].
    exposed: Vec<ExposedKeys>,
    proof: Proof,
    expiry: Expiry,
    trials: Trials,
    state: State,
}

enum State {
    /// This host cannot run it now.
    Waiting {
        retry_at: Instant,
    },
    Running(Box<Running>),
}

/// The running part of a line.
pub(super) struct Running {
    pub(super) local: IpAddr,
    pub(super) glue: Tunnel<dataplane::Tunnel>,
    pub(super) closed: bool,
    pub(super) bgp: Option<Session>,
    probe: Option<ProbeAddresses>,
    path_mtu: u16,
    reset_at: Option<Instant>,
}

impl Line {
    /// A line that is due to start at once.
    pub(super) fn new(
        id: LineId,
        connection: Rc<config::Connection>,
        config: config::Tunnel,
        proof: Proof,
        now: Instant,
    ) -> Self {
        let probe = Settings { interval: config.probe.interval, misses_max: config.probe.loss };
        let settings = (!config.inside.is_empty()).then_some(probe);
        Self {
            id,
            mtu: mtu::before(&config, config.path_mtu),
            connection,
            config,
            health: Health::new(settings, now),
            tally: Tally::default(),
            dampener: Dampener::default(),
            drained: false,
            egress: false,
            underlay: None,
            exposed: Vec::new(),
            proof,
            expiry: Expiry::default(),
            trials: Trials::default(),
            state: State::Waiting { retry_at: now },
        }
    }

    /// The running part.
    pub(super) fn running(&self) -> Option<&Running> {
        match &self.state {
            State::Running(running) => Some(running),
            State::Waiting { .. } => None,
        }
    }

    /// Our inside addresses, the source of local traffic where no LAN address is ours.
    pub(super) fn inside_sources(&self) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        let (mut v4, mut v6) = (None, None);
        for inside in &self.config.inside {
            match inside.ours.addr() {
                IpAddr::V4(address) => v4 = v4.or(Some(address)),
                IpAddr::V6(address) => v6 = v6.or(Some(address)),
            }
        }
        (v4, v6)
    }

    /// Whether traffic to AWS may leave here.
    pub(super) fn usable(&self) -> bool {
        self.health.stage() == Stage::Up
    }

    /// Whether `other` would run the same tunnel, so that this one may go on.
    pub(super) fn runs_like(&self, other: &Self) -> bool {
        // What BGP and the egress make of it does not concern the tunnel itself.
        let preference = other.config.preference;
        let interface_given = other.config.interface_given;
        let alike = config::Tunnel { preference, interface_given, ..self.config.clone() };
        alike == other.config && self.proof.same(&other.proof)
    }

    /// Keys of SAs made since the last time; none unless they are wanted.
    pub(super) fn take_exposed(&mut self) -> Vec<ExposedKeys> {
        std::mem::take(&mut self.exposed)
    }

    /// When [`Line::turn`] wants to be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { retry_at } => Some(*retry_at),
            State::Running(running) => {
                let negotiator = running.glue.poll_timeout().map(|(at, _)| at);
                let session = running.bgp.as_ref().and_then(Session::deadline);
                let deadlines =
                    [negotiator, session, self.health.deadline(), running.reset_at, self.trials.deadline()];
                deadlines.into_iter().flatten().min()
            }
        }
    }

    /// The pre-shared key, for comparison with another tunnel's.
    pub(super) fn psk(&self) -> Option<&Secret> {
        match &self.proof.credentials {
            Credentials::Psk(key) => Some(key),
            Credentials::Certificates(_) => None,
        }
    }

    /// What the status says of certificates.
    pub(super) fn certificate(&self) -> Option<api::Certificate> {
        self.expiry.status(&self.proof.credentials, unix_seconds())
    }

    /// Tells the negotiator what time it is, and warns of what ends soon.
    pub(super) fn tell_time(&mut self, sockets: &Sockets, now: Instant, out: &mut Vec<Reaction>) {
        if self.proof.credentials.certificates().is_none() {
            return;
        }
        let unix_seconds = unix_seconds();
        self.input(Input::WallClock { unix_seconds }, sockets, now, out);
        let findings = self.expiry.due(&self.proof.credentials, unix_seconds);
        out.extend(findings.into_iter().map(|finding| Reaction::Event(finding, None)));
    }

    /// Whether the tunnel is down with one of these as its last error.
    pub(super) fn fails_with(&self, codes: &[Code]) -> bool {
        let last = self.health.last_error().map(|problem| problem.finding.code);
        self.health.stage() == Stage::Down && last.is_some_and(|code| codes.contains(&code))
    }

    /// Finds out whether the key of the tunnel `of` would be accepted here.
    pub(super) fn try_key(&mut self, of: String, psk: Secret, sockets: &Sockets, now: Instant) {
        if let State::Running(running) = &self.state
            && self.trials.may_try_key(now)
        {
            let proof = Proof { credentials: Credentials::Psk(psk), ppk: self.proof.ppk.clone() };
            let config = ike_config(&self.config, running.local, proof);
            // The first datagram cannot settle anything.
            let _ = self.trials.try_key(config, of, sockets, now);
        }
    }

    /// Finds out why phase 1 fails with the code `of`.
    pub(super) fn ask_version(&mut self, of: Code, sockets: &Sockets, now: Instant) {
        if let State::Running(running) = &self.state {
            // The key is not needed; what never leaves cannot leak.
            let proof = Proof { credentials: Credentials::Psk(Secret::new(Vec::new())), ppk: None };
            let config = ike_config(&self.config, running.local, proof);
            self.trials.ask_version(config, of, sockets, now);
        }
    }

    /// Takes an IKE message from a socket.
    pub(super) fn datagram(
        &mut self,
        (local, remote): (SocketAddr, SocketAddr),
        message: &[u8],
        sockets: &Sockets,
        now: Instant,
        out: &mut Vec<Reaction>,
    ) {
        match self.trials.datagram(local, remote, message, sockets, now) {
            Some(verdict) => self.judge(verdict, now, out),
            None => self.input(Input::Datagram { local, remote, payload: message }, sockets, now, out),
        }
    }

    fn judge(&mut self, verdicts: impl IntoIterator<Item = Verdict>, now: Instant, out: &mut Vec<Reaction>) {
        for Verdict { of, finding } in verdicts {
            out.extend(self.health.diagnosed(of, finding, now));
        }
    }

    /// Feeds the negotiator.
    pub(super) fn input(
        &mut self,
        input: Input<'_>,
        sockets: &Sockets,
        now: Instant,
        out: &mut Vec<Reaction>,
    ) {
        if let State::Running(running) = &mut self.state {
            running.glue.handle_input(now, input);
            self.drain(sockets, now, out);
        }
    }

    /// Tells the negotiator what an operator or the supervisor wants.
    pub(super) fn command(
        &mut self,
        command: Command,
        sockets: &Sockets,
        now: Instant,
        out: &mut Vec<Reaction>,
    ) {
        self.input(Input::Command(command), sockets, now, out);
    }

    /// Takes what a worker thread says.
    pub(super) fn plane_event(
        &mut self,
        event: dataplane::Event,
        sockets: &Sockets,
        now: Instant,
        out: &mut Vec<Reaction>,
    ) {
        match event {
            dataplane::Event::Ike { local, remote, datagram } => {
                self.datagram((local, remote), &datagram, sockets, now, out);
            }
            dataplane::Event::EspReceived { spi_in } => {
                self.health.esp_received(now);
                self.input(Input::EspReceived { spi_in }, sockets, now, out);
            }
            dataplane::Event::SequenceNearlyExhausted { spi_in } => {
                self.input(Input::SequenceNearlyExhausted { spi_in }, sockets, now, out);
            }
            dataplane::Event::ProbeReply { sequence, received_at, .. } => {
                let before = self.health.probes().totals().1;
                out.extend(self.health.probe_answered(sequence, received_at));
                if let Some(rtt) = self.health.probes().rtt()
                    && self.health.probes().totals().1 > before
                {
                    self.tally.answered(rtt);
                }
            }
            dataplane::Event::PathMtu { mtu } => {
                if let State::Running(running) = &mut self.state {
                    running.path_mtu = mtu.min(self.config.path_mtu);
                }
                self.follow_mtu();
            }
            dataplane::Event::Failed { text } => {
                self.stop(now);
                out.extend(self.health.problem(Finding { code: Code::TunDataPlane, text }, now));
            }
        }
    }

    /// Takes what a BGP connection says.
    pub(super) fn bgp_event(&mut self, event: super::bgp::Event, now: Instant, out: &mut Vec<Reaction>) {
        let Some(session) = self.bgp_mut() else { return };
        let findings = session.event(event, now);
        self.say_bgp(findings, now, out);
    }

    fn bgp_mut(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Running(running) => running.bgp.as_mut(),
            State::Waiting { .. } => None,
        }
    }

    /// Takes over what changed around an unchanged tunnel: its connection's settings, BGP among them.
    pub(super) fn follow(
        &mut self,
        fresh: &Self,
        inbox: &mpsc::Sender<Incoming>,
        now: Instant,
    ) -> Result<(), String> {
        let before = translate::bgp::config(&self.connection, &self.config);
        let after = translate::bgp::config(&fresh.connection, &fresh.config);
        self.connection = Rc::clone(&fresh.connection);
        self.config = fresh.config.clone();
        let State::Running(running) = &mut self.state else { return Ok(()) };
        if before == after {
            return Ok(());
        }
        if let (Some(session), Some(after)) = (&mut running.bgp, &after)
            && session.adopt(after, now)
        {
            return Ok(());
        }
        if let Some(mut session) = running.bgp.take() {
            session.shut_down(now);
        }
        running.bgp = after
            .map(|config| Session::new(self.id, config, &self.config.interface, inbox, now))
            .transpose()?;
        Ok(())
    }

    fn say_bgp(&mut self, findings: Vec<Finding>, now: Instant, out: &mut Vec<Reaction>) {
        out.extend(findings.into_iter().map(|finding| self.health.bgp_said(finding, now)));
    }

    /// Takes the tunnel out of service, or puts it back.
    pub(super) fn drain_tunnel(&mut self, drained: bool, now: Instant) {
        self.drained = drained;
        if let Some(session) = self.bgp_mut() {
            session.drain_tunnel(drained, now);
        }
    }

    /// Asks the BGP neighbour for its routes again.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub(super) fn refresh_bgp(&mut self, now: Instant) -> Result<(), String> {
        let session = self.bgp_mut().ok_or("no BGP is spoken here")?;
        session.refresh(now)
    }

    /// Where another program speaks BGP over the interface, its link goes down with the tunnel, so that the program
    /// need not wait for its hold timer.
    pub(super) fn show_carrier(&self, netlink: &mut Netlink) {
        let external = matches!(&self.connection.routing, config::Routing::Bgp(bgp) if bgp.mode == config::BgpMode::External);
        let (true, Some(running)) = (external, self.running()) else { return };
        let change = LinkChange { carrier: Some(self.usable()), ..LinkChange::default() };
        if let Err(error) = netlink.set_link(running.glue.plane().interface_index(), &change) {
            tracing::debug!(tunnel = %self.config.name, "the link's carrier: {error}");
        }
    }

    /// Whether AWS took the tunnel out of service in order, by DELETE or by Cease.
    pub(super) fn said_goodbye(&self) -> bool {
        let ceased = self.running().and_then(|running| running.bgp.as_ref()).is_some_and(Session::ceased);
        ceased || self.health.said_goodbye()
    }

    /// Brings the tally up to date. What does not run counts nothing.
    pub(super) fn count(&mut self) {
        let State::Running(running) = &self.state else { return self.tally.read(&Reading::default()) };
        let stats = running.glue.plane().stats();
        self.tally.read(&Reading {
            rx: (stats.total.rx_packets, stats.total.rx_bytes),
            tx: (stats.total.tx_packets, stats.total.tx_bytes),
            drops: super::status::drops(&stats.drops),
            notifications: running.bgp.as_ref().map(Session::notifications).unwrap_or_default(),
            cookies: running.glue.status().cookies_demanded,
        });
    }

    /// Ends the BGP session with a Cease, which needs the tunnel: so before [`Command::Close`].
    pub(super) fn shut_down_bgp(&mut self, now: Instant) {
        if let Some(session) = self.bgp_mut() {
            session.shut_down(now);
        }
    }

    /// An ESP packet that came to the control socket.
    pub(super) fn deliver(&self, datagram: &[u8], remote: SocketAddr) {
        if let State::Running(running) = &self.state {
            running.glue.plane().deliver(datagram, remote);
        }
    }

    /// Does what is due.
    pub(super) fn turn(&mut self, sockets: &Sockets, now: Instant, out: &mut Vec<Reaction>) {
        let mut outside = Outside::default();
        if let State::Running(running) = &mut self.state {
            if running.reset_at.is_some_and(|at| at <= now) {
                running.reset_at = None;
                running.glue.handle_input(now, Input::Command(Command::Reset));
            }
            if running.glue.poll_timeout().is_some_and(|(at, _)| at <= now) {
                running.glue.handle_timeout(now);
            }
            self.drain(sockets, now, out);
        }
        if let State::Running(running) = &self.state {
            let status = running.glue.status();
            outside.ike = matches!(status.phase, Phase::Established | Phase::IkeOnly);
            outside.ike_heard = status.ike.and_then(|ike| ike.last_heard);
            outside.bgp_established = running.bgp.as_ref().map(Session::established);
        }
        let verdicts = self.trials.turn(sockets, now);
        self.judge(verdicts, now, out);
        for reaction in self.health.poll(outside, now) {
            match reaction {
                Reaction::Probe(sequence) => self.send_probe(sequence),
                Reaction::CheckLiveness => self.command(Command::CheckLiveness, sockets, now, out),
                Reaction::Reset => self.command(Command::Reset, sockets, now, out),
                Reaction::Event(..) | Reaction::StageChanged { .. } => out.push(reaction),
            }
        }
        let answers = self.health.stage() >= Stage::Bgp;
        if let Some(session) = self.bgp_mut() {
            let findings = session.turn(answers, now);
            self.say_bgp(findings, now, out);
        }
    }

    /// Starts anew at once, without a word to AWS: the address it would come from is gone.
    pub(super) fn restart(&mut self, now: Instant) {
        self.health.ended_on_purpose();
        self.health.idle(now);
        self.state = State::Waiting { retry_at: now };
    }

    /// Ends the running part without a word to AWS; it starts again soon.
    pub(super) fn stop(&mut self, now: Instant) {
        self.health.idle(now);
        self.state = State::Waiting { retry_at: now + START_RETRY };
    }

    fn send_probe(&self, sequence: u16) {
        let State::Running(running) = &self.state else { return };
        let Some(probe) = running.probe else { return };
        let Some(packet) = echo::request(probe.local, probe.remote, probe.identifier, sequence) else {
            return;
        };
        // What cannot be sent is not answered, and counts as lost.
        if let Err(error) = running.glue.plane().inject(&packet) {
            tracing::debug!(tunnel = %self.config.name, "probe {sequence} not sent: {error}");
        }
    }

    fn drain(&mut self, sockets: &Sockets, now: Instant, out: &mut Vec<Reaction>) {
        loop {
            let State::Running(running) = &mut self.state else { return };
            let Some(effect) = running.glue.poll() else { return };
            match effect {
                Effect::Send(transmit) => {
                    if let Err(error) = sockets.send(&transmit)
                        && error.kind() != std::io::ErrorKind::WouldBlock
                    {
                        let text = format!("cannot send to {}: {error}", transmit.remote);
                        let finding = Finding { code: Code::IkeSendFailed, text };
                        out.extend(self.health.problem(finding, now));
                    }
                }
                Effect::Notice(notice) => {
                    running.closed |= notice == Notice::Closed;
                    if let Notice::PeerCertificate(certificate) = &notice {
                        self.expiry.shown(certificate);
                    }
                    tracing::debug!(tunnel = %self.config.name, connection = %self.connection.id, "{notice:?}");
                    self.tally.noticed(&notice, now);
                    out.extend(self.health.noticed(&notice, now));
                }
                Effect::Carrying(_) => {
                    self.health.carrying(now);
                    self.follow_mtu();
                }
                Effect::Idle => self.health.idle(now),
                Effect::Keys(keys) => self.exposed.push(*keys),
                Effect::PlaneFailed { error, .. } => {
                    running.reset_at = Some(now + PLANE_RETRY);
                    let finding = Finding { code: Code::TunDataPlane, text: error.to_string() };
                    out.extend(self.health.problem(finding, now));
                }
            }
        }
    }

    fn follow_mtu(&mut self) {
        let State::Running(running) = &self.state else { return };
        let mtu = match running.glue.carrying() {
            Some(carrying) => mtu::negotiated(&self.config, running.path_mtu, carrying),
            None => mtu::before(&self.config, running.path_mtu),
        };
        if mtu == self.mtu {
            return;
        }
        match running.glue.plane().set_mtu(mtu) {
            Ok(()) => self.mtu = mtu,
            Err(error) => tracing::warn!(tunnel = %self.config.name, "{error}"),
        }
    }
}
