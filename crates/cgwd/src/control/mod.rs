//! The control socket: HTTP/1.1 with JSON over a Unix socket, both ends.
//!
//! The server turns a request into a [`Request`] for the control loop and the answer back into JSON; it decides
//! nothing and holds no state of a tunnel. Only root and the daemon's own user get an answer, whatever the
//! socket file's mode says.

pub mod client;
pub mod server;

use tokio::sync::oneshot;

use crate::api;
use crate::capture::Stream;

/// Where the socket is unless somebody says otherwise.
pub const SOCKET_DEFAULT: &str = "/run/cgwd/control.sock";

/// The header that names a configuration in a request's body.
pub(crate) const CONFIG_NAME: &str = "cgwd-config-name";

/// What the control loop is asked.
#[derive(Debug)]
pub enum Request {
    /// `GET /v1/status`.
    Status(oneshot::Sender<api::Status>),
    /// `GET /v1/events?after=N`.
    Events {
        /// Only events with a higher number.
        after: u64,
        /// Where the answer goes.
        reply: oneshot::Sender<api::Events>,
    },
    /// `GET /v1/overview?after=N`.
    Overview {
        /// Only events with a higher number.
        after: u64,
        /// Where the answer goes.
        reply: oneshot::Sender<api::Overview>,
    },
    /// `GET /v1/routes`.
    Routes(oneshot::Sender<api::Routes>),
    /// `GET /v1/bgp`.
    Bgp(oneshot::Sender<api::BgpReport>),
    /// `GET /v1/config`: what the daemon makes of its configuration, in words.
    Config(oneshot::Sender<String>),
    /// `GET /metrics`.
    Metrics(oneshot::Sender<String>),
    /// `POST /v1/tunnels/NAME/ACTION`.
    Act {
        /// As the user wrote it.
        tunnel: String,
        /// What to do.
        action: Action,
        /// Where the answer goes.
        reply: oneshot::Sender<Outcome>,
    },
    /// `GET /v1/capture?tunnel=NAME&count=N`.
    Capture {
        /// As the user wrote it; all when missing.
        tunnel: Option<String>,
        /// The capture ends after this many packets.
        count: Option<u64>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Stream, Refusal>>,
    },
    /// `POST /v1/reload`.
    Reload {
        /// The new configuration when the client brought it; else the daemon reads its file again.
        brought: Option<Brought>,
        /// Only say what would be done.
        dry_run: bool,
        /// Where the answer goes.
        reply: oneshot::Sender<Outcome>,
    },
}

/// A configuration that a client read for the daemon, which may not be able to read it itself. Wiped when dropped.
#[derive(Debug)]
pub struct Brought {
    /// What messages call it.
    pub name: String,
    /// The file's text.
    pub text: model::Secret,
}

/// What an operator can do with a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Delete everything and negotiate anew.
    Reset,
    /// Replace the IKE SA.
    RekeyIke,
    /// Replace the child SA.
    RekeyChild,
    /// Take it out of service.
    Drain,
    /// Put it back into service.
    Undrain,
    /// Ask the BGP neighbour for all its routes again.
    RefreshBgp,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Reset, Self::RekeyIke, Self::RekeyChild, Self::Drain, Self::Undrain, Self::RefreshBgp];

    /// The last part of the path.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::RekeyIke => "rekey-ike",
            Self::RekeyChild => "rekey-child",
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::RefreshBgp => "refresh-bgp",
        }
    }
}

/// What became of an action: a sentence, or why not.
pub type Outcome = Result<String, Refusal>;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Why, and what to do.
    pub message: String,
}

impl Refusal {
    /// The user named something that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { status: 404, message: message.into() }
    }

    /// It makes no sense now.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self { status: 409, message: message.into() }
    }

    /// The file has errors.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self { status: 422, message: message.into() }
    }
}
