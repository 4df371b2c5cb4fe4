//! The speaker: everything BGP about one neighbour behind one inbox and one ordered outbox.
//!
//! It starts connections and takes the neighbour's, resolves collisions (RFC 4271 §6.8), and ends the session
//! the moment the tunnel is down instead of waiting for the hold timer. What is on a connection is the
//! adapter's business, what is in the routes the RIB's. It never has more than one connection in each direction
//! beside the established one.

mod connect;
mod routes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ipnet::IpNet;
use model::Instant;

use crate::adapter::{Link, Negotiated, Notification, Step, shutdown_communication};
use crate::config::{Config, ConfigError, Family};
use crate::explain::explain;
use crate::input::{Command, Connection, Input};
use crate::output::{Notice, NotificationSeen, Output};
use crate::path::Path;
use crate::rib::Rib;
use crate::status::{Counters, State, Status, Timer};

pub use connect::{
    CONNECT_TIMEOUT, MAX_PREFIX_PAUSE, REFUSED_PREFIXES_PAUSE, RETRY_MAX, RETRY_MIN, STABLE_AFTER,
};

/// Cease and its subcodes (RFC 4486).
const CEASE: u8 = 6;
const MAX_PREFIXES: u8 = 1;
const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
const ADMINISTRATIVE_RESET: u8 = 4;
const CONNECTION_REJECTED: u8 = 5;
const COLLISION: u8 = 7;

/// The speaker for one neighbour.
#[derive(Debug)]
pub struct Speaker {
    config: Config,
    outputs: VecDeque<Output>,
    counters: Counters,
    tunnel_up: bool,
    /// The operator's text while the session is shut down.
    shutdown: Option<String>,
    dial: connect::Dial,
    links: BTreeMap<Connection, Link>,
    session: Option<Session>,
    rib: Rib,
    /// What the neighbour has been told (Adj-RIB-Out).
    advertised: Vec<IpNet>,
    state: State,
    since: Instant,
    /// When the present attempt began: tunnel up, or the last session's end.
    trying_since: Instant,
    last_notification: Option<(Instant, NotificationSeen)>,
    last_end: Option<(Instant, String)>,
}

/// An established session.
#[derive(Debug)]
struct Session {
    connection: Connection,
    negotiated: Negotiated,
    since: Instant,
    end_of_rib: BTreeSet<Family>,
    warned_many: bool,
}

impl Speaker {
    /// A speaker at rest; it begins with [`Input::TunnelUp`].
    ///
    /// # Errors
    ///
    /// What [`Config::check`] says.
    pub fn new(config: Config, now: Instant) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            dial: connect::Dial::new(&config),
            config,
            outputs: VecDeque::new(),
            counters: Counters::default(),
            tunnel_up: false,
            shutdown: None,
            links: BTreeMap::new(),
            session: None,
            rib: Rib::default(),
            advertised: Vec::new(),
            state: State::Idle,
            since: now,
            trying_since: now,
            last_notification: None,
            last_end: None,
        })
    }

    /// Takes one input. Never fails, never panics.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::TunnelUp => self.tunnel_up(now),
            Input::TunnelDown => self.tunnel_down(now),
            Input::Connected(connection) => self.connected(now, connection),
            Input::Received { connection, bytes } => self.received_bytes(now, connection, bytes),
            Input::Closed { connection, why } => self.closed(now, connection, why),
            Input::Command(command) => self.command(now, command),
        }
        self.settle(now);
    }

    /// Does what is due at `now`. Feed bytes that have already arrived first: after a pause of the whole machine
    /// they show that the neighbour is alive, and the hold timer would end the session unread.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.dial_timeout(now);
        let connections: Vec<Connection> = self.links.keys().copied().collect();
        for connection in connections {
            while let Some(link) = self.links.get_mut(&connection) {
                let steps = link.timeout(now);
                if steps.is_empty() {
                    break;
                }
                self.steps(now, connection, steps);
            }
        }
        self.settle(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Speaker::handle_timeout`] is due, and for what.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let holds = self.links.values().filter_map(|link| Some((link.hold_at()?, Timer::Hold)));
        let keepalives =
            self.links.values().filter_map(|link| Some((link.keepalive_at()?, Timer::Keepalive)));
        holds.chain(keepalives).chain(self.dial_timer()).min_by_key(|(at, _)| *at)
    }

    /// A snapshot.
    pub fn status(&self) -> Status {
        let session = self.session.as_ref();
        let synchronised = session.is_some_and(|session| {
            session.negotiated.families.iter().all(|family| session.end_of_rib.contains(family))
        });
        Status {
            state: self.state,
            since: self.since,
            peer_router_id: session.map(|session| session.negotiated.router_id),
            hold: session.map(|session| session.negotiated.hold),
            received: self.rib.received(),
            accepted: self.rib.accepted(),
            advertised: u32::try_from(self.advertised.len()).unwrap_or(u32::MAX),
            synchronised,
            last_notification: self.last_notification.clone(),
            last_end: self.last_end.clone(),
            waiting_for: self.waiting_for(),
            counters: self.counters,
        }
    }

    /// Every received route, used or not, by prefix.
    pub fn received(&self) -> impl Iterator<Item = &Path> {
        self.rib.iter()
    }

    /// The prefixes announced now, the most important first.
    pub fn advertised(&self) -> &[IpNet] {
        &self.advertised
    }

    /// The configuration in force, with commands applied.
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }

    fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Reset(text) => self.reset(now, &text),
            Command::Shutdown(text) => {
                self.dial.stop();
                self.end_all(now, ADMINISTRATIVE_SHUTDOWN, &shutdown_communication(&text));
                self.cancel_connect();
                self.shutdown = Some(text);
            }
            Command::Resume => {
                if self.shutdown.take().is_some() {
                    self.trying_since = now;
                    self.dial.at_once(now);
                }
            }
            Command::RouteRefresh => self.request_refresh(),
            Command::AdvertiseMed(med) => {
                self.config.med_out = med;
                self.announce_again();
            }
            Command::Prepend(times) => {
                self.config.prepend = times.min(crate::config::PREPEND_MAX);
                self.announce_again();
            }
            Command::Limits { max_prefix_in, max_prefix_out } => {
                let bounded = |limit: u32| limit.clamp(1, crate::config::RIB_PREFIXES_MAX);
                self.config.max_prefix_in = bounded(max_prefix_in);
                self.config.max_prefix_out = bounded(max_prefix_out);
                self.advertise(self.config.advertise.clone());
            }
            Command::Advertise(prefixes) => self.advertise(prefixes),
            Command::Accept { accept, accept_default } => {
                self.config.accept = accept;
                self.config.accept_default = accept_default;
                self.rib.judge_again(&self.config);
            }
        }
    }

    fn reset(&mut self, now: Instant, text: &str) {
        let had_links = !self.links.is_empty();
        self.dial.forgive();
        self.end_all(now, ADMINISTRATIVE_RESET, &shutdown_communication(text));
        if !had_links {
            self.cancel_connect();
            self.dial.at_once(now);
        }
    }

    /// Ends every connection with Cease.
    fn end_all(&mut self, now: Instant, subcode: u8, data: &[u8]) {
        let connections: Vec<Connection> = self.links.keys().copied().collect();
        for connection in connections {
            self.end(now, connection, subcode, data);
        }
    }

    /// Ends one connection with Cease.
    fn end(&mut self, now: Instant, connection: Connection, subcode: u8, data: &[u8]) {
        if let Some(link) = self.links.get_mut(&connection) {
            let steps = link.end(CEASE, subcode, data);
            self.steps(now, connection, steps);
        }
    }

    fn received_bytes(&mut self, now: Instant, connection: Connection, bytes: &[u8]) {
        if let Some(link) = self.links.get_mut(&connection) {
            link.feed(bytes);
        }
        while let Some(steps) = self.links.get_mut(&connection).and_then(|link| link.next(now)) {
            self.steps(now, connection, steps);
        }
    }

    /// Carries out what a link wants, as long as the link exists.
    fn steps(&mut self, now: Instant, connection: Connection, steps: Vec<Step>) {
        for step in steps {
            if !self.links.contains_key(&connection) {
                return;
            }
            match step {
                Step::Send(bytes) => self.outputs.push_back(Output::Send { connection, bytes }),
                Step::SentKeepalive => self.counters.keepalives_out += 1,
                Step::Keepalive => self.counters.keepalives_in += 1,
                Step::Opened(negotiated) => self.collide(now, connection, negotiated.router_id),
                Step::Established(negotiated) => self.established(now, connection, negotiated),
                Step::Update(update) => self.update(now, connection, &update),
                Step::Refresh(family) => self.refresh_requested(family),
                Step::Sent(notification) => self.notification(now, notification, false),
                Step::Received(notification) => self.notification(now, notification, true),
                Step::Close => {
                    self.outputs.push_back(Output::Close(connection));
                    self.links.remove(&connection);
                    let why = match &self.last_notification {
                        Some((at, seen)) if *at == now => in_words(seen),
                        _ => "closed".to_owned(),
                    };
                    self.gone(now, connection, why);
                }
            }
        }
    }

    fn notification(&mut self, now: Instant, notification: Notification, by_peer: bool) {
        let Notification { code, subcode, communication } = notification;
        match by_peer {
            true => self.counters.notifications_in += 1,
            false => self.counters.notifications_out += 1,
        }
        if (code, subcode) == (CEASE, MAX_PREFIXES) {
            self.prefixes_refused(now, by_peer);
        }
        let seen =
            NotificationSeen { by_peer, code, subcode, communication, explanation: explain(code, subcode) };
        self.last_notification = Some((now, seen.clone()));
        self.notice(Notice::Notification(seen));
    }

    fn established(&mut self, now: Instant, connection: Connection, negotiated: Negotiated) {
        let rivals: Vec<Connection> =
            self.links.keys().copied().filter(|other| *other != connection).collect();
        for rival in rivals {
            self.collision(now, rival);
        }
        self.cancel_connect();
        self.dial.stop();
        self.counters.established += 1;
        let (router_id, hold, families) =
            (negotiated.router_id, negotiated.hold, negotiated.families.clone());
        let end_of_rib = BTreeSet::new();
        self.session = Some(Session { connection, negotiated, since: now, end_of_rib, warned_many: false });
        self.update_state(now);
        let took = now - self.trying_since;
        self.notice(Notice::Established { router_id, hold, families, took });
        self.announce_all();
    }

    /// A link is no more. If it was the session's, every route goes now.
    fn gone(&mut self, now: Instant, connection: Connection, why: String) {
        let Some(session) = self.session.take_if(|session| session.connection == connection) else {
            if self.session.is_none() && self.links.is_empty() {
                self.counters.connects_failed += 1;
                self.dial.failed(now, &why);
            }
            return;
        };
        let lasted = now - session.since;
        self.rib.clear();
        self.flush_routes();
        self.advertised.clear();
        self.trying_since = now;
        if lasted >= STABLE_AFTER {
            self.dial.forget_failures();
        }
        self.dial.failed(now, &why);
        self.last_end = Some((now, why.clone()));
        self.notice(Notice::Down { why, lasted });
    }

    /// After every input: dial if it is time, report routes and state.
    fn settle(&mut self, now: Instant) {
        self.dial_if_due(now);
        self.flush_routes();
        self.update_state(now);
    }

    fn update_state(&mut self, now: Instant) {
        let state = self.current_state();
        if state != self.state {
            let from = std::mem::replace(&mut self.state, state);
            self.since = now;
            self.notice(Notice::State { from, to: state });
        }
    }

    fn current_state(&self) -> State {
        if self.session.is_some() {
            State::Established
        } else if self.links.values().any(Link::is_open_confirm) {
            State::OpenConfirm
        } else if !self.links.is_empty() {
            State::OpenSent
        } else if self.dial.connecting().is_some() {
            State::Connect
        } else if self.takes_connections() {
            State::Active
        } else {
            State::Idle
        }
    }

    fn waiting_for(&self) -> Option<String> {
        let peer = self.config.peer_addr;
        Some(match self.state {
            State::Established => return None,
            State::Idle if !self.tunnel_up => "the tunnel is down".to_owned(),
            State::Idle => match &self.shutdown {
                Some(text) if text.is_empty() => "shut down by the operator".to_owned(),
                Some(text) => format!("shut down by the operator: {text}"),
                None => "pausing, because more prefixes came than max_accepted allows".to_owned(),
            },
            State::Connect => format!("connecting to {peer} by TCP, port 179"),
            State::Active if self.config.passive => format!("waiting for {peer} to connect to port 179 here"),
            State::Active => match self.dial.last_failure() {
                Some(why) => format!("waiting for the next attempt; the last one: {why}"),
                None => "waiting for the next attempt".to_owned(),
            },
            State::OpenSent => format!("waiting for OPEN from {peer}"),
            State::OpenConfirm => format!("waiting for KEEPALIVE from {peer}"),
        })
    }
}

/// A NOTIFICATION as the reason for a session's end.
fn in_words(seen: &NotificationSeen) -> String {
    let who = if seen.by_peer { "the neighbour" } else { "we" };
    let text = seen.explanation.text;
    match &seen.communication {
        Some(words) if !words.is_empty() => format!("{who} sent {text} (\"{words}\")"),
        _ => format!("{who} sent {text}"),
    }
}
