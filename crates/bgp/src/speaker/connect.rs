//! Making connections, taking the neighbour's, and choosing between two of them.
//!
//! RFC 4271 §8's Connect and Active, with shorter times: a tunnel that has just come up should have its session
//! in a second, not in two minutes. Failures back off with jitter, so that two speakers do not collide for ever.

use std::net::Ipv4Addr;
use std::time::Duration;

use model::Instant;

use super::{COLLISION, CONNECTION_REJECTED, Speaker};
use crate::adapter::Link;
use crate::config::Config;
use crate::input::Connection;
use crate::output::{Notice, Output};
use crate::status::Timer;

/// First pause after a failure.
pub const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest pause after failures in a row: AWS's end may take some seconds to listen after its tunnel is up.
pub const RETRY_MAX: Duration = Duration::from_secs(15);
/// How long a TCP connection may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A session that lasted this long makes earlier failures forgotten.
pub const STABLE_AFTER: Duration = Duration::from_secs(60);
/// How long we take no connection after ending a session for too many received prefixes.
pub const MAX_PREFIX_PAUSE: Duration = Duration::from_secs(300);
/// How long we do not connect after the neighbour ended a session for too many announced prefixes.
pub const REFUSED_PREFIXES_PAUSE: Duration = Duration::from_secs(60);

/// The side of us that dials.
#[derive(Debug)]
pub(super) struct Dial {
    connecting: Option<(Connection, Instant)>,
    retry_at: Option<Instant>,
    /// No pause before this, whatever the back-off says.
    not_before: Option<Instant>,
    /// Nothing is dialled and nothing accepted before this.
    held_until: Option<Instant>,
    failures: u32,
    next: u64,
    jitter: u64,
    last_failure: Option<String>,
}

impl Dial {
    pub(super) fn new(config: &Config) -> Self {
        let octets = |address: std::net::IpAddr| match address {
            std::net::IpAddr::V4(address) => address.octets().to_vec(),
            std::net::IpAddr::V6(address) => address.octets().to_vec(),
        };
        // The two ends mix the same addresses in different order, and so do not keep step.
        let mix = |hash: u64, octet: u8| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
        let name = octets(config.local_addr).into_iter().chain(octets(config.peer_addr));
        Self {
            connecting: None,
            retry_at: None,
            not_before: None,
            held_until: None,
            failures: 0,
            next: 0,
            jitter: name.fold(0xcbf2_9ce4_8422_2325, mix) | 1,
            last_failure: None,
        }
    }

    pub(super) fn connecting(&self) -> Option<Connection> {
        self.connecting.map(|(connection, _)| connection)
    }

    pub(super) fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    /// Dial without a pause, and forget why there was one.
    pub(super) fn at_once(&mut self, now: Instant) {
        self.forgive();
        self.retry_at = Some(now);
    }

    pub(super) fn forget_failures(&mut self) {
        self.failures = 0;
    }

    /// Forget failures and the pauses they brought.
    pub(super) fn forgive(&mut self) {
        self.failures = 0;
        self.not_before = None;
        self.held_until = None;
        self.last_failure = None;
    }

    pub(super) fn stop(&mut self) {
        self.retry_at = None;
    }

    /// Something went wrong: try again after a pause, which is returned.
    pub(super) fn failed(&mut self, now: Instant, why: &str) -> Duration {
        self.last_failure = Some(why.to_owned());
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let pause = RETRY_MIN.saturating_mul(factor).min(RETRY_MAX);
        // RFC 4271 §10: jitter of 75 to 100 %.
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        let percent = 75 + u32::try_from(self.jitter % 26).unwrap_or(0);
        let at = now + pause * percent / 100;
        let at = self.not_before.map_or(at, |earliest| at.max(earliest));
        self.retry_at = Some(at);
        at - now
    }
}

impl Speaker {
    pub(super) fn tunnel_up(&mut self, now: Instant) {
        if !self.tunnel_up {
            self.tunnel_up = true;
            self.trying_since = now;
            self.dial.at_once(now);
        }
    }

    pub(super) fn tunnel_down(&mut self, now: Instant) {
        if !self.tunnel_up {
            return;
        }
        self.tunnel_up = false;
        self.cancel_connect();
        let connections: Vec<Connection> = std::mem::take(&mut self.links).into_keys().collect();
        for connection in connections {
            // No NOTIFICATION: it could not arrive.
            self.outputs.push_back(Output::Close(connection));
            self.gone(now, connection, "the tunnel is down".to_owned());
        }
        self.dial.stop();
    }

    pub(super) fn connected(&mut self, now: Instant, connection: Connection) {
        match connection {
            Connection::Outbound(_) => {
                if self.dial.connecting() != Some(connection) {
                    return; // Given up meanwhile; the shell was told to close it.
                }
                self.dial.connecting = None;
            }
            Connection::Inbound(_) => {
                if !self.takes_connections() || self.links.contains_key(&connection) {
                    self.counters.refused += 1;
                    self.outputs.push_back(Output::Close(connection));
                    return;
                }
                self.replace_inbound(now);
            }
        }
        let (link, steps) = Link::new(&self.config, now);
        self.links.insert(connection, link);
        self.steps(now, connection, steps);
    }

    /// The neighbour connects again: its earlier connection is dead to it, unless that is the session.
    fn replace_inbound(&mut self, now: Instant) {
        let stale = |(connection, link): (&Connection, &Link)| {
            (matches!(connection, Connection::Inbound(_)) && !link.is_established()).then_some(*connection)
        };
        if let Some(connection) = self.links.iter().find_map(stale) {
            self.end(now, connection, CONNECTION_REJECTED, &[]);
        }
    }

    pub(super) fn closed(&mut self, now: Instant, connection: Connection, why: &str) {
        let why = if why.is_empty() { "the neighbour closed the connection" } else { why };
        if self.dial.connecting() == Some(connection) {
            self.dial.connecting = None;
            self.connect_failed(now, why);
        } else if self.links.remove(&connection).is_some() {
            self.gone(now, connection, why.to_owned());
        }
    }

    fn connect_failed(&mut self, now: Instant, why: &str) {
        self.counters.connects_failed += 1;
        let retry_in = self.dial.failed(now, why);
        self.notice(Notice::ConnectFailed { why: why.to_owned(), retry_in });
    }

    /// Whether a connection may exist at all.
    pub(super) fn takes_connections(&self) -> bool {
        self.tunnel_up && self.shutdown.is_none() && self.dial.held_until.is_none()
    }

    /// When to dial, if nothing stands in the way but time.
    fn dial_at(&self) -> Option<Instant> {
        let free = self.links.is_empty() && self.dial.connecting.is_none() && !self.config.passive;
        self.dial.retry_at.filter(|_| free && self.takes_connections())
    }

    pub(super) fn dial_timer(&self) -> Option<(Instant, Timer)> {
        let connecting = self.dial.connecting.map(|(_, deadline)| (deadline, Timer::ConnectRetry));
        let held = self.dial.held_until.map(|until| (until, Timer::IdleHold));
        let retry = self.dial_at().map(|at| (at, Timer::ConnectRetry));
        [connecting, held, retry].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    pub(super) fn dial_timeout(&mut self, now: Instant) {
        if self.dial.held_until.is_some_and(|until| until <= now) {
            self.dial.held_until = None;
            self.dial.retry_at = Some(now);
        }
        if self.dial.connecting.is_some_and(|(_, deadline)| deadline <= now) {
            self.cancel_connect();
            self.connect_failed(now, "no answer to the TCP connection");
        }
    }

    pub(super) fn dial_if_due(&mut self, now: Instant) {
        if self.dial_at().is_some_and(|at| at <= now) {
            self.dial.next += 1;
            let connection = Connection::Outbound(self.dial.next);
            self.dial.connecting = Some((connection, now + CONNECT_TIMEOUT));
            self.dial.retry_at = None;
            self.outputs.push_back(Output::Connect(connection));
        }
    }

    pub(super) fn cancel_connect(&mut self) {
        if let Some((connection, _)) = self.dial.connecting.take() {
            self.outputs.push_back(Output::Close(connection));
        }
    }

    /// A session ended for too many prefixes: trying at once would end the same way.
    pub(super) fn prefixes_refused(&mut self, now: Instant, by_peer: bool) {
        match by_peer {
            true => self.dial.not_before = Some(now + REFUSED_PREFIXES_PAUSE),
            false => self.dial.held_until = Some(now + MAX_PREFIX_PAUSE),
        }
    }

    //= RFC 4271 §6.8: of two connections whose OPENs have come, the one that the side with the higher BGP
    // Identifier initiated stays; but one that is Established always stays. RFC 6286 §2.3: equal identifiers
    // are followed by the AS numbers.
    pub(super) fn collide(&mut self, now: Instant, new: Connection, peer: Ipv4Addr) {
        let met = |(connection, link): (&Connection, &Link)| {
            let counts = link.is_established() || link.is_open_confirm();
            (*connection != new && counts).then_some((*connection, link.is_established()))
        };
        let Some((old, established)) = self.links.iter().find_map(met) else { return };
        let we_are_higher = (self.config.router_id, self.config.local_as) > (peer, self.config.remote_as);
        let new_is_ours = matches!(new, Connection::Outbound(_));
        let loser = if established || new_is_ours != we_are_higher { new } else { old };
        self.collision(now, loser);
    }

    pub(super) fn collision(&mut self, now: Instant, loser: Connection) {
        self.counters.collisions += 1;
        self.notice(Notice::Collision(loser));
        self.end(now, loser, COLLISION, &[]);
    }
}
