//! What the shell tells an [`Endpoint`](crate::Endpoint).
//!
//! Inputs never fail: what cannot be used is dropped with a reason and counted.

use std::net::SocketAddr;

use model::Spi;

/// One thing that happened outside.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// An IKE datagram arrived. The shell has removed the non-ESP marker of port 4500 (RFC 7296 §3.1); the
    /// port of `local` tells which socket it came in on, so it must be the real one.
    Datagram {
        /// Our address and port.
        local: SocketAddr,
        /// The sender's address and port.
        remote: SocketAddr,
        /// The IKE message.
        payload: &'a [u8],
    },
    /// The operator or the supervisor wants something.
    Command(Command),
    /// An authenticated ESP packet arrived on this inbound SA: the first one on a new SA at once, later ones
    /// at most once a second. It proves that the peer uses the SA and that it is alive (RFC 7296 §2.4).
    EspReceived {
        /// The inbound SPI.
        spi_in: Spi,
    },
    /// The outbound sequence counter of the pair with this inbound SPI nears its end: rekey now.
    SequenceNearlyExhausted {
        /// The inbound SPI of the pair.
        spi_in: Spi,
    },
    /// What time it is: certificates are judged by it. Told when the endpoint is made (in its configuration) and
    /// whenever the system's clock may have been set; without certificates it changes nothing.
    WallClock {
        /// Seconds since 1970-01-01T00:00:00Z.
        unix_seconds: u64,
    },
    /// Our outside address changed: what is established is closed and negotiated anew from there.
    LocalChanged {
        /// The new address, with the IKE port (500).
        local: SocketAddr,
    },
}

/// What can be asked of an endpoint at any time. A command that makes no sense now does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Start to negotiate now (also ends the state after [`Command::Close`]). With `Startup::Respond` one
    /// attempt is made; with `Startup::Initiate` it merely cuts the back-off short.
    Initiate,
    /// Rekey the IKE SA.
    RekeyIke,
    /// Rekey the child SA.
    RekeyChild,
    /// Delete everything, tell the peer, and negotiate anew at once.
    Reset,
    /// Delete everything in order (RFC 7296 §1.4.1), report [`Notice::Closed`](crate::Notice::Closed), and
    /// stay closed: nothing is sent or answered until [`Command::Initiate`].
    Close,
    /// Ask the peer whether it is alive, even if it was heard a moment ago.
    CheckLiveness,
}
