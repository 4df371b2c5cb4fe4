//! What the speaker wants done and has to tell, in one ordered queue.
//!
//! The shell carries out the first kinds and logs and counts [`Notice`]; it needs to understand no BGP.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::Family;
use crate::explain::Explanation;
use crate::input::Connection;
use crate::path::Path;
use crate::status::State;

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect from [`crate::Config::local_addr`] to port 179 of [`crate::Config::peer_addr`]; answer with
    /// [`crate::Input::Connected`] or [`crate::Input::Closed`] with this name.
    Connect(Connection),
    /// Write these bytes.
    Send {
        /// Where.
        connection: Connection,
        /// Whole messages.
        bytes: Vec<u8>,
    },
    /// Write what is queued, close, and forget the connection. No [`crate::Input::Closed`] is expected.
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
    /// 80 % of [`crate::Config::max_prefix_in`] are reached.
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
