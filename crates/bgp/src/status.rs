//! Snapshots of the speaker for `cgwd bgp`, `status` and metrics.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use model::Instant;

use crate::output::NotificationSeen;

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
    /// When and why the last session ended, in words; a NOTIFICATION is in it.
    pub last_end: Option<(Instant, String)>,
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
