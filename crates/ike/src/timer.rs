//! Names for what [`Endpoint::poll_timeout`](crate::Endpoint::poll_timeout) waits for.

/// The reason of the next time-out; for logs and traces, the shell need not look at it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// Send an unanswered request once more, or give up (RFC 7296 §2.1).
    Retransmit,
    /// The back-off between two attempts ends.
    Reconnect,
    /// An unauthenticated error has waited long enough for a better answer.
    Hint,
    /// A half-open IKE SA of the peer has had its time.
    HalfOpen,
    /// Nothing was heard for a while: ask (RFC 7296 §2.4).
    Liveness,
    /// NAT keepalive (RFC 3948 §2.3).
    Keepalive,
    /// An IKE or child SA is due for its rekey (RFC 7296 §2.8).
    Rekey,
    /// An IKE or child SA reached its hard limit.
    Expire,
    /// A request that met TEMPORARY_FAILURE is repeated (RFC 7296 §2.25).
    Retry,
    /// A replaced child's inbound SA has been kept long enough.
    Retire,
    /// An incomplete fragmented message of the peer is forgotten (RFC 7383 §2.6).
    Reassembly,
    /// A superfluous SA which the peer should have deleted is cleared away.
    Linger,
}
