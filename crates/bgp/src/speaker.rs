//! The speaker: everything BGP about one neighbour behind one inbox and one ordered outbox.
//!
//! It starts connections and takes the neighbour's, resolves collisions (RFC 4271 §6.8), and ends the session
//! the moment the tunnel is down instead of waiting for the hold timer. What is on a connection is the
//! adapter's business, what is in the routes the RIB's.

use std::collections::VecDeque;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::IpNet;
use model::Instant;

use crate::config::{Config, ConfigError, Family};
use crate::explain::Explanation;
use crate::path::Path;

/// A TCP connection between us and the neighbour. The direction is part of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Connection {
    /// We connected; numbered by the speaker in [`Output::Connect`].
    Outbound(u64),
    /// The neighbour connected to port 179 here; numbered by the shell, never twice the same.
    Inbound(u64),
}

/// What the shell reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Packets pass through the tunnel: the session may start.
    TunnelUp,
    /// They do not: the session ends at once, without a message that could not arrive anyway.
    TunnelDown,
    /// The connection stands: the answer to [`Output::Connect`], or one the shell accepted. Only connections
    /// from [`Config::peer_addr`] belong here.
    Connected(Connection),
    /// Bytes from the stream, cut anywhere.
    Received {
        /// Where.
        connection: Connection,
        /// What, in order.
        bytes: &'a [u8],
    },
    /// The connection failed to be made, was closed by the neighbour, or broke.
    Closed {
        /// Which.
        connection: Connection,
        /// The system's word for it ("connection refused"); empty when the neighbour just closed.
        why: &'a str,
    },
    /// What the operator or the supervisor wants.
    Command(Command),
}

/// Wishes of the operator or the supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// End the session with Cease / Administrative Reset and this text (RFC 9003), then start again.
    Reset(String),
    /// End the session with Cease / Administrative Shutdown and this text, and stay down.
    Shutdown(String),
    /// Undo [`Command::Shutdown`].
    Resume,
    /// Ask the neighbour for all its routes again (RFC 2918).
    RouteRefresh,
    /// Announce this MED from now on; the announced routes are sent again.
    AdvertiseMed(Option<u32>),
    /// Prepend our AS this often from now on.
    Prepend(u8),
    /// Announce exactly these prefixes from now on.
    Advertise(Vec<IpNet>),
    /// Accept by this list from now on; received routes are judged again.
    Accept {
        /// As [`Config::accept`].
        accept: Option<Vec<IpNet>>,
        /// As [`Config::accept_default`].
        accept_default: bool,
    },
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect from [`Config::local_addr`] to port 179 of [`Config::peer_addr`]; answer with
    /// [`Input::Connected`] or [`Input::Closed`] with this name.
    Connect(Connection),
    /// Write these bytes.
    Send {
        /// Where.
        connection: Connection,
        /// Whole messages.
        bytes: Vec<u8>,
    },
    /// Write what is queued, close, and forget the connection. No [`Input::Closed`] is expected.
    Close(Connection),
    /// The usable routes changed.
    RoutesChanged(RoutesChanged),
    /// Something worth a log line or a counter.
    Notice(Notice),
}

/// A difference of the usable routes of this neighbour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutesChanged {
    /// New or with new attributes.
    pub reachable: Vec<Path>,
    /// Gone.
    pub withdrawn: Vec<IpNet>,
}

/// States as RFC 4271 §8.2.2 names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not trying: the tunnel is down, the operator said so, or a pause after an error.
    #[default]
    Idle,
    /// Trying to connect.
    Connect,
    /// Waiting for the neighbour to connect, or for the next attempt.
    Active,
    /// Sent OPEN, waiting for the neighbour's.
    OpenSent,
    /// OPENs agree, waiting for KEEPALIVE.
    OpenConfirm,
    /// Exchanging routes.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A NOTIFICATION that ended a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationSeen {
    /// Whether the neighbour sent it; else we did.
    pub by_peer: bool,
    /// Error code (RFC 4271 §4.5).
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Shutdown communication (RFC 9003), if there was one; control characters removed.
    pub communication: Option<String>,
    /// The two numbers in words.
    pub explanation: Explanation,
}

/// Things that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The state of the session changed.
    State {
        /// Before.
        from: State,
        /// Now.
        to: State,
    },
    /// OPENs agreed and KEEPALIVEs passed.
    Established {
        /// The neighbour's BGP Identifier.
        router_id: Ipv4Addr,
        /// Negotiated hold time.
        hold: Duration,
        /// Families both offer.
        families: Vec<Family>,
        /// From the tunnel's start, or the end of the last session, until now.
        took: Duration,
    },
    /// The session is over; every route of the neighbour is gone.
    Down {
        /// Why, in words.
        why: String,
        /// How long it was Established.
        lasted: Duration,
    },
    /// A NOTIFICATION was sent or received.
    Notification(NotificationSeen),
    /// No connection could be made; retried by itself.
    ConnectFailed {
        /// The system's word for it.
        why: String,
        /// Time until the next attempt.
        retry_in: Duration,
    },
    /// Two connections met (RFC 4271 §6.8); this one was closed.
    Collision(Connection),
    /// The neighbour sent all its routes of this family (RFC 4724 §2).
    EndOfRib {
        /// Which.
        family: Family,
        /// Prefixes received in it.
        prefixes: u32,
    },
    /// 80 % of [`Config::max_prefix_in`] are reached.
    ManyPrefixesIn {
        /// Received now.
        received: u32,
        /// The limit.
        limit: u32,
    },
    /// More prefixes configured than may be announced; these are not announced.
    PrefixesWithheld {
        /// Not announced.
        withheld: Vec<IpNet>,
        /// The limit.
        limit: u32,
    },
    /// An UPDATE was malformed and its routes count as withdrawn (RFC 7606 §2).
    TreatedAsWithdraw {
        /// What was wrong.
        why: String,
        /// The prefixes it named.
        prefixes: u32,
    },
    /// An attribute without effect on the choice of routes was malformed and dropped (RFC 7606 §2).
    AttributeDiscarded {
        /// What was wrong.
        why: String,
    },
    /// The neighbour asked for our routes again.
    RefreshRequested(Family),
    /// A command could not be carried out now.
    CommandRefused {
        /// Why, and what to do.
        why: String,
    },
}

/// Counts since the speaker was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages received, by kind.
    pub updates_in: u64,
    /// UPDATE messages sent.
    pub updates_out: u64,
    /// KEEPALIVE messages received.
    pub keepalives_in: u64,
    /// KEEPALIVE messages sent.
    pub keepalives_out: u64,
    /// NOTIFICATION messages received.
    pub notifications_in: u64,
    /// NOTIFICATION messages sent.
    pub notifications_out: u64,
    /// ROUTE-REFRESH messages received.
    pub refreshes_in: u64,
    /// ROUTE-REFRESH messages sent.
    pub refreshes_out: u64,
    /// UPDATEs whose routes were treated as withdrawn.
    pub treated_as_withdraw: u64,
    /// Attributes discarded.
    pub attributes_discarded: u64,
    /// Times the session was Established.
    pub established: u64,
    /// Connections closed by collision resolution.
    pub collisions: u64,
    /// Connections that could not be made or broke before Established.
    pub connects_failed: u64,
    /// Connections of the neighbour refused in a state that takes none.
    pub refused: u64,
}

/// A snapshot for `cgwd bgp` and `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The session's state: that of its most advanced connection.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// The neighbour's BGP Identifier while known.
    pub peer_router_id: Option<Ipv4Addr>,
    /// Negotiated hold time while Established.
    pub hold: Option<Duration>,
    /// Received prefixes, used or not.
    pub received: u32,
    /// Of these, used.
    pub accepted: u32,
    /// Prefixes announced now.
    pub advertised: u32,
    /// Whether the neighbour has sent End-of-RIB for every family.
    pub synchronised: bool,
    /// The last NOTIFICATION either way, and when.
    pub last_notification: Option<(Instant, NotificationSeen)>,
    /// Why the session is not Established, in words; `None` when it is.
    pub waiting_for: Option<String>,
    /// Counts.
    pub counters: Counters,
}

/// What the next time-out is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Try to connect again.
    ConnectRetry,
    /// End of the pause after an error.
    IdleHold,
    /// The neighbour was silent for too long.
    Hold,
    /// Time to send KEEPALIVE.
    Keepalive,
}

/// The speaker for one neighbour.
#[derive(Debug)]
pub struct Speaker {
    config: Config,
    outputs: VecDeque<Output>,
    since: Instant,
}

impl Speaker {
    /// A speaker at rest; it begins with [`Input::TunnelUp`].
    ///
    /// # Errors
    ///
    /// What [`Config::check`] says.
    pub fn new(config: Config, now: Instant) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self { config, outputs: VecDeque::new(), since: now })
    }

    /// Takes one input. Never fails, never panics.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        let _ = (now, input);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Speaker::handle_timeout`] is due, and for what.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        None
    }

    /// A snapshot.
    pub fn status(&self) -> Status {
        Status {
            state: State::Idle,
            since: self.since,
            peer_router_id: None,
            hold: None,
            received: 0,
            accepted: 0,
            advertised: 0,
            synchronised: false,
            last_notification: None,
            waiting_for: None,
            counters: Counters::default(),
        }
    }

    /// Every received route, used or not, by prefix.
    pub fn received(&self) -> impl Iterator<Item = &Path> {
        std::iter::empty()
    }

    /// The prefixes announced now.
    pub fn advertised(&self) -> &[IpNet] {
        &[]
    }

    /// The configuration in force, with commands applied.
    pub fn config(&self) -> &Config {
        &self.config
    }
}
