//! What an [`Endpoint`](crate::Endpoint) wants done, in the order in which it must be done.
//!
//! The order is part of correctness: a child SA is installed before the answer that lets the peer use it is
//! sent, and a replaced one is retired after its successor carries traffic.

use std::net::SocketAddr;
use std::time::Duration;

use model::{Encapsulation, EspKeys, EspSuite, IkeSpi, Spi, TrafficSelector};

use crate::certificate::PeerCertificate;
use crate::error::{DropReason, Failure, Stage};
use crate::status::Role;

/// One effect.
#[derive(Debug)]
pub enum Output {
    /// Install both directions. Traffic moves to the outbound SA at once iff `activate_outbound`, otherwise
    /// with [`Output::Activate`].
    Install(Box<ChildSa>),
    /// Outbound traffic moves to this child now: the peer proved that it uses it.
    Activate {
        /// An installed child.
        child: ChildId,
    },
    /// Remove both directions of this child now.
    Retire {
        /// An installed child.
        child: ChildId,
    },
    /// The peer's authenticated address moved (RFC 7296 §2.23).
    Path {
        /// An installed child.
        child: ChildId,
        /// Our address and port.
        local: SocketAddr,
        /// The peer's new address and port.
        remote: SocketAddr,
        /// What carries ESP.
        encapsulation: Encapsulation,
    },
    /// Send a datagram.
    Send(Transmit),
    /// Something to log and count.
    Notice(Notice),
}

/// A datagram to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// From this address and port.
    pub local: SocketAddr,
    /// To this address and port.
    pub remote: SocketAddr,
    /// Whether four zero octets go in front (RFC 7296 §2.23): IKE on the NAT-T port, but no keepalive.
    pub non_esp_marker: bool,
    /// The UDP payload without the marker.
    pub payload: Vec<u8>,
}

/// Names a child SA within its endpoint; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChildId(pub u64);

/// A negotiated pair of ESP SAs.
#[derive(Clone, Debug)]
pub struct ChildSa {
    /// Its name.
    pub id: ChildId,
    /// What the peer puts into packets to us.
    pub spi_in: Spi,
    /// What we put into packets to the peer.
    pub spi_out: Spi,
    /// Algorithms.
    pub suite: EspSuite,
    /// Keys of the inbound SA.
    pub keys_in: EspKeys,
    /// Keys of the outbound SA.
    pub keys_out: EspKeys,
    /// Addresses on our side.
    pub ts_local: Vec<TrafficSelector>,
    /// Addresses on the peer's side.
    pub ts_remote: Vec<TrafficSelector>,
    /// Our outside address and, for UDP encapsulation, port.
    pub local: SocketAddr,
    /// The peer's outside address and, for UDP encapsulation, port.
    pub remote: SocketAddr,
    /// What carries ESP.
    pub encapsulation: Encapsulation,
    /// Whether outbound traffic moves to it at once.
    pub activate_outbound: bool,
    /// The child it succeeds.
    pub replaces: Option<ChildId>,
    /// The group of its own Diffie-Hellman exchange, if it had one (IANA transform type 4).
    pub pfs_group: Option<u16>,
}

/// Something that happened. The shell logs and counts; nothing depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// An attempt of ours began.
    HandshakeStarted {
        /// Counts from 1 since the endpoint was made.
        attempt: u64,
        /// Where the first datagram goes.
        remote: SocketAddr,
    },
    /// The peer began an attempt (unauthenticated so far).
    HandshakeReceived {
        /// Where it came from.
        remote: SocketAddr,
    },
    /// The responder demanded a cookie.
    CookieRequested,
    /// The responder wants another key exchange group.
    GroupRequested {
        /// Its number.
        group: u16,
    },
    /// NAT detection's result (RFC 7296 §2.23).
    Nat {
        /// We are behind one.
        local: bool,
        /// The peer is behind one, or claims it.
        remote: bool,
    },
    /// An IKE SA was authenticated.
    IkeEstablished {
        /// The initiator's SPI.
        spi_i: IkeSpi,
        /// The responder's SPI.
        spi_r: IkeSpi,
        /// Our part.
        role: Role,
        /// Algorithms, as in `status --json`.
        proposal: String,
        /// A PPK is in its keys (RFC 8784).
        ppk: bool,
        /// Since the attempt's first datagram.
        took: Duration,
    },
    /// The peer proved itself with this certificate.
    PeerCertificate(Box<PeerCertificate>),
    /// A child SA is installed which replaces none.
    ChildEstablished {
        /// Its name.
        child: ChildId,
        /// Inbound SPI.
        spi_in: Spi,
        /// Outbound SPI.
        spi_out: Spi,
        /// Algorithms, as in `status --json`.
        proposal: String,
    },
    /// A new IKE SA replaced the old one.
    IkeRekeyed {
        /// The new initiator's SPI.
        spi_i: IkeSpi,
        /// The new responder's SPI.
        spi_r: IkeSpi,
        /// Whether we started it.
        by_us: bool,
        /// Algorithms.
        proposal: String,
    },
    /// A new child SA replaced the old one.
    ChildRekeyed {
        /// The replaced child.
        old: ChildId,
        /// The new child.
        new: ChildId,
        /// Inbound SPI.
        spi_in: Spi,
        /// Outbound SPI.
        spi_out: Spi,
        /// Whether we started it.
        by_us: bool,
        /// Algorithms.
        proposal: String,
    },
    /// Both sides rekeyed at once; the redundant SA goes (RFC 7296 §2.8.1).
    Collision {
        /// Of the IKE SA (or of a child SA).
        ike: bool,
        /// Whether ours survives.
        won: bool,
    },
    /// Two IKE SAs came up side by side; one goes.
    DuplicateIke {
        /// The inbound SPI half of the one that goes.
        spi: IkeSpi,
    },
    /// A request was sent once more.
    Retransmit {
        /// Which exchange.
        stage: Stage,
        /// Repetitions so far, from 1.
        n: u32,
    },
    /// A protected request was never answered: the peer counts as dead.
    PeerUnreachable {
        /// What was asked.
        stage: Stage,
    },
    /// An attempt, a child or a rekey failed.
    Failed(Failure),
    /// The peer deleted the IKE SA.
    PeerDeletedIke,
    /// The peer deleted a child SA that nothing replaces.
    PeerDeletedChild {
        /// Which.
        child: ChildId,
    },
    /// An SA ended without the peer's doing.
    IkeClosed {
        /// Why.
        reason: CloseReason,
    },
    /// The authenticated peer sends from another address now.
    PathChanged {
        /// The new address.
        remote: SocketAddr,
    },
    /// The next attempt is due.
    RetryScheduled {
        /// In this time.
        after: Duration,
    },
    /// [`Command::Close`](crate::Command::Close) is done; nothing will be sent any more.
    Closed,
    /// A datagram changed nothing. At most one notice for each kind of reason in a second.
    Dropped(DropReason),
}

/// Why we ended an IKE SA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// By command.
    Command,
    /// The hard lifetime ended.
    Expired,
    /// The peer is dead.
    Unreachable,
    /// Another IKE SA took its place.
    Replaced,
    /// The peer broke the protocol.
    Violation,
    /// The peer refused a child SA again and again.
    NoChild,
}
