//! The snapshot behind `status --json`.

use std::net::SocketAddr;

use model::{Encapsulation, IkeSpi, Instant, Spi};

use crate::error::{DropReason, Failure};
use crate::output::ChildId;

/// Our part in an IKE SA (RFC 7296 §2.2: the *original* initiator of that very SA).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// We sent the first message of the exchange that made the SA.
    Initiator,
    /// The peer did.
    Responder,
}

impl Role {
    /// The word used in `status --json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initiator => "initiator",
            Self::Responder => "responder",
        }
    }
}

/// What the endpoint as a whole is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Closed by command.
    Closed,
    /// Waiting for the peer to start.
    Listening,
    /// Between two attempts.
    Waiting {
        /// The next one.
        until: Instant,
    },
    /// An attempt is live and no IKE SA is established.
    Connecting,
    /// An IKE SA is established, without a child.
    IkeOnly,
    /// An IKE SA and a child SA are established.
    Established,
}

/// Where the IKE SA stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IkeState {
    /// IKE_SA_INIT is under way.
    Init,
    /// IKE_AUTH is under way.
    Auth,
    /// Established.
    Established,
    /// Established, its rekey is under way.
    Rekeying,
    /// A DELETE is under way.
    Closing,
}

impl IkeState {
    /// The word used in `status --json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Auth => "auth",
            Self::Established => "established",
            Self::Rekeying => "rekeying",
            Self::Closing => "closing",
        }
    }
}

/// Where the child SA stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChildState {
    /// Installed.
    Installed,
    /// Installed, its rekey is under way.
    Rekeying,
    /// Replaced or deleted, the inbound SA is kept for packets under way.
    Retiring,
}

impl ChildState {
    /// The word used in `status --json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Rekeying => "rekeying",
            Self::Retiring => "retiring",
        }
    }
}

/// The IKE SA that counts: the established one, or else the attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IkeStatus {
    /// Where it stands.
    pub state: IkeState,
    /// The initiator's SPI.
    pub spi_i: IkeSpi,
    /// The responder's SPI; zero before it is known.
    pub spi_r: IkeSpi,
    /// Our part.
    pub role: Role,
    /// `AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384`; empty before it is negotiated.
    pub proposal: String,
    /// A PPK is in its keys, or in those of an IKE SA that it replaced (RFC 8784).
    pub ppk: bool,
    /// Since when; `None` before that.
    pub established: Option<Instant>,
    /// When we rekey it.
    pub rekey_due: Option<Instant>,
    /// When it ends if it is not rekeyed.
    pub expires: Option<Instant>,
    /// Rekeys since the authentication, by either side.
    pub rekeys: u64,
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// We are behind a NAT.
    pub nat_local: bool,
    /// The peer is behind a NAT, or claims it.
    pub nat_remote: bool,
    /// When an authenticated message or ESP packet was last heard.
    pub last_heard: Option<Instant>,
}

/// The child SA that carries outbound traffic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChildStatus {
    /// Its name.
    pub id: ChildId,
    /// Where it stands.
    pub state: ChildState,
    /// Inbound SPI.
    pub spi_in: Spi,
    /// Outbound SPI.
    pub spi_out: Spi,
    /// `AES_GCM_16_256/ECP_384`; without the group when it had no key exchange of its own.
    pub proposal: String,
    /// What carries ESP.
    pub encapsulation: Encapsulation,
    /// Since when.
    pub established: Instant,
    /// When we rekey it.
    pub rekey_due: Instant,
    /// When it ends if it is not rekeyed.
    pub expires: Instant,
    /// Rekeys since the first child of this IKE SA's line, by either side.
    pub rekeys: u64,
}

/// Datagrams that changed nothing, by [`DropReason::index`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drops(pub [u64; DropReason::KINDS]);

impl Drops {
    /// How many were dropped for reasons of this kind.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0.get(reason.index()).copied().unwrap_or(0)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// A snapshot of an endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The whole.
    pub phase: Phase,
    /// The IKE SA that counts.
    pub ike: Option<IkeStatus>,
    /// The child SA that carries outbound traffic.
    pub child: Option<ChildStatus>,
    /// IKE SAs held, half-open and closing ones included.
    pub ike_sas: usize,
    /// Child SAs installed, retiring ones included.
    pub child_sas: usize,
    /// The last failure and when it was; kept after success.
    pub last_failure: Option<(Instant, Failure)>,
    /// Attempts begun by us.
    pub attempts: u64,
    /// Attempts since the last success.
    pub failed_attempts: u64,
    /// Requests sent once more.
    pub retransmits: u64,
    /// First requests that were answered by a demand for a cookie (RFC 7296 §2.6).
    pub cookies_demanded: u64,
    /// Datagrams dropped.
    pub drops: Drops,
}
