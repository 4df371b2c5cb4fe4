//! What can go wrong, by who is at fault.

/// Why a tunnel could not be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// A worker thread could not be started.
    #[error("cannot start a worker thread for {tunnel}: {source}")]
    Thread {
        /// The tunnel.
        tunnel: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// Keys do not fit the suite.
    #[error("the keys of child SA {id} do not fit its algorithms: {text}")]
    Keys {
        /// The child.
        id: u64,
        /// What does not fit.
        text: String,
    },
    /// More children than a tunnel ever needs.
    #[error("{limit} child SAs are installed already; retire one first")]
    TooManyChildren {
        /// The limit.
        limit: usize,
    },
    /// The id or the inbound SPI is in use.
    #[error("a child SA with the same id or inbound SPI is installed already")]
    Duplicate,
    /// Outside addresses of two families, or not the tunnel's.
    #[error("{0}")]
    Address(String),
    /// The worker did not answer in time; it died or the machine is overloaded.
    #[error("the data-plane worker of {tunnel} did not answer within {seconds} s")]
    Worker {
        /// The tunnel.
        tunnel: String,
        /// How long it was waited for.
        seconds: u64,
    },
}

/// Why a packet could not be sent by [`crate::Tunnel::inject`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// No child SA is active.
    #[error("no child SA is active")]
    NoSa,
    /// It is no IP packet, or longer than the tunnel's MTU.
    #[error("not an IP packet that fits the tunnel")]
    Packet,
    /// Outside the traffic selectors.
    #[error("outside the traffic selectors of the child SA")]
    Selector,
    /// The sequence numbers are used up.
    #[error("the child SA's sequence numbers are used up")]
    Exhausted,
    /// The kernel refused; its errno.
    #[error("the kernel refused to send (errno {0})")]
    Send(i32),
}
