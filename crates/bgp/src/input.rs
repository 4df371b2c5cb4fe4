//! What the shell tells the speaker.
//!
//! Values only. Connections are named so that a late report about a forgotten one is recognised and ignored.

use ipnet::IpNet;

/// A TCP connection between us and the neighbour. The direction is part of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Connection {
    /// We connected; numbered by the speaker in [`crate::Output::Connect`].
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
    /// The connection stands: the answer to [`crate::Output::Connect`], or one the shell accepted. Only connections
    /// from [`crate::Config::peer_addr`] belong here.
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
    /// Hold these limits from now on; announced routes beyond the new one are withdrawn.
    Limits {
        /// As [`crate::Config::max_prefix_in`], bounded by [`crate::config::RIB_PREFIXES_MAX`].
        max_prefix_in: u32,
        /// As [`crate::Config::max_prefix_out`], bounded likewise.
        max_prefix_out: u32,
    },
    /// Accept by this list from now on; received routes are judged again.
    Accept {
        /// As [`crate::Config::accept`].
        accept: Option<Vec<IpNet>>,
        /// As [`crate::Config::accept_default`].
        accept_default: bool,
    },
}
